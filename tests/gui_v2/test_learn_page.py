"""The page about effects leads to the pictures that its figures are of."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from starlette.testclient import TestClient

from gui_v2.light_table import draw, served
from gui_v2.test_facets import record
from gui_v2.test_light_table_page import AXE, wait
from gui_v2.test_waiting_pages import process_of, thinking
from safelight.application.carrying_out import EngineRunner
from safelight.application.effects_answer import spans_of
from safelight.application.level_filters import RATED, level_clause
from safelight.application.rated_pictures import rated_trials
from safelight.application.scorer_comparison import compare_scorer
from safelight.archive import Archive
from safelight.controller import PipelineController
from safelight.learning import LearningRecord
from safelight.learning.evidence.effects import find_effects
from safelight.learning.ratings import SCORE, Identity, RatingEvent
from safelight.web import create_app, learn

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

LONG = (
    "juggernautXL_v8Rundiffusionphoto2_inpainting_fp16",
    "juggernautXL_v9Rundiffusionphoto2_ema_fp16_pruned",
)
"""Names that differ in their middle and at their end."""

PROMPTS = "a {tower|boat|lamp|mask|forest|bridge|cat|door|hill|rose|train|chair}"
ANSWERED = "#learned:not([aria-busy])"


def rated(folder: Path, records: Sequence[LearningRecord]) -> Archive:
    archive = Archive(folder)
    archive.add_pack([each.to_document() for each in records])
    with archive.ratings() as store:
        for number, each in enumerate(records):
            digest = each.outputs[0].sha256
            store.add(
                RatingEvent.now("stars", Identity(sha256=digest), value=1 + number % 4, rater="ann")
            )
    return archive


def varied(number: int) -> LearningRecord:
    """Numbers of many digits, few and many of them, texts, LoRAs and an extra of a knob's name."""
    extra = {
        "big": 1234567 + number % 2, "tiny": 0.123456789 + number * 1e-9, "opt": "xy"[number % 2],
        "guidance": ("auto", "off")[number % 2], "mixed": ("a", 0.5)[number % 2],
    }  # fmt: skip
    return record(
        number, extra, ["ink"] if number % 3 else [], prompt=f"thing {number // 8}", seed=1,
        steps=20 + number % 2, cfg_scale=5 + number / 7, sampler=("Euler", "Heun")[number % 2],
    )  # fmt: skip


def test_every_name_leads_to_as_many_pictures_as_it_is_of(tmp_path: Path) -> None:
    """To the last digit, and those without a LoRA among those of weight 0."""
    archive = rated(tmp_path, [varied(number) for number in range(48)])
    _, trials, _ = rated_trials(archive, "")
    followed, spans = set(), spans_of(trials)
    for knob in find_effects(trials).knobs:
        for comparison in knob.comparisons:
            clause = level_clause(knob.knob, comparison.level, spans.get(knob.knob))
            if clause is not None:
                found = archive.query(f"{clause} and {RATED}", limit=None).rows
                assert len(found) == comparison.pictures, (knob.knob, clause)
                followed.add(knob.knob)
    assert followed >= {
        "steps", "cfg_scale", "sampler", "lora.ink", "extra.big", "extra.tiny", "extra.opt",
        "extra.guidance", "extra.mixed",
    }  # fmt: skip


def test_values_that_are_called_like_none_lead_to_their_own_pictures(tmp_path: Path) -> None:
    """Somebody's negative prompt may be the very word that the table has for its absence."""
    texts = [None, "(none)", "", "(empty)", "'(none)'", "all others", "it's"]
    records = [
        record(number, {}, [], prompt=f"thing {number // 7}", seed=1, negative_prompt=text)
        for number in range(70)
        for text in [texts[number % len(texts)]]
    ]
    archive = rated(tmp_path, records)
    _, trials, _ = rated_trials(archive, "")
    (plot,) = (
        plot for plot in learn._plots(find_effects(trials), spans_of(trials), "")
        if plot["knob"].knob == "negative_prompt"
    )  # fmt: skip
    followed = set()
    for row in plot["rows"]:
        (q,) = parse_qs(row.href.removeprefix("/?"))["q"]
        found = archive.query(q, columns=["negative_prompt"], limit=None).rows
        assert len(found) == row.comparison.pictures == 10
        followed |= set(found)
    assert len(followed) == len(plot["rows"]) >= len(texts) - 1


def test_scorers_stand_beside_people_as_the_command_has_them(tmp_path: Path) -> None:
    """With n and interval, of all pictures and of each model; the server works nothing out."""
    chance = random.Random(4)
    records = [
        record(n, {}, [], prompt=f"thing {n // 8}", seed=n, model=("oil", "ink")[n % 2])
        for n in range(64)
    ]
    archive = rated(tmp_path, records)
    with archive.scores() as store:
        for number, each in enumerate(records):
            store.add(
                RatingEvent.now(
                    SCORE, Identity(sha256=each.outputs[0].sha256), rater="looks", version="2",
                    number=number % 4 + chance.gauss(0, 1), unit="points", source="automatic:looks",
                )
            )  # fmt: skip
    overall = compare_scorer(archive, "looks").agreement.overall
    assert overall.tau is not None
    assert overall.low is not None
    with TestClient(create_app(archive), base_url="http://127.0.0.1") as client:
        headers = {"accept": "text/html", "prefer": "wait=300"}
        told = client.get("/learn", headers=headers).text
    assert "looks 2</h2>" in told
    for figure in (f"{overall.tau:+.2f}", f"{overall.low:+.2f} to {overall.high:+.2f}"):
        assert f"<td>{figure}</td>" in told
    assert '<th scope="row">oil</th>' in told
    assert "In points; 64 pictures have a number, 64 of them" in told


def test_what_is_not_there_to_leave_out_is_told_on_the_page(tmp_path: Path) -> None:
    """A link of yesterday, or one with another filter, still shows the page."""
    archive = rated(tmp_path, [varied(number) for number in range(16)])
    with TestClient(create_app(archive), base_url="http://127.0.0.1") as client:
        asked = {"ignore": ["extra.gone", "extra.opt", "extra.OPT"]}
        headers = {"accept": "text/html", "prefer": "wait=300"}
        answer = client.get("/learn", params=asked, headers=headers)
        assert answer.status_code == 200
        assert "so nothing of it could be left out: extra.gone." in answer.text
        assert "Left out: extra.opt, extra.OPT." in answer.text
        assert "ignore=extra.gone" not in answer.text


# -- in the browser ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two samplers, of which one is better, and two models that are alike; twelve are left."""
    folder = tmp_path_factory.mktemp("judged") / "archive"
    stage = {"prompt": PROMPTS, "seed": 3, "steps": 4, "width": 32, "height": 32}
    sweep = {"txt2img.sampler": ["Euler a", "DDIM"], "txt2img.model": list(LONG),
             "txt2img.cfg_scale": [3, 7]}  # fmt: skip
    draw(folder, {"name": "judged", "txt2img": stage,
                  "randomizer": {"mode": "fanout", "sweep": sweep}})  # fmt: skip
    rate_samplers(folder, 84)
    return folder


def rate_samplers(folder: Path, count: int, rater: str = "ann") -> None:
    archive = Archive(folder)
    rows = archive.query(columns=["sha256", "sampler"], sort="prompt", limit=None).rows
    chance = random.Random(5)
    with archive.ratings() as store:
        for digest, sampler in rows[:count]:
            value = (4 if sampler == "Euler a" else 2) + chance.choice((-1, 0, 1))
            store.add(RatingEvent.now("stars", Identity(sha256=digest), value=value, rater=rater))


@pytest.fixture(scope="module")
def shown(judged: Path, browser: Browser) -> Iterator[Page]:
    """Learn over them, as its owner sees it; what it complains of fails the module."""
    with served(judged) as address:
        context = browser.new_context(base_url=address, reduced_motion="reduce")
        page = context.new_page()
        page.set_default_timeout(180_000)
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        yield page
        context.close()
        assert faults == []


def opened(page: Page, width: int = 1440, q: str = "") -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"/learn?{urlencode({'q': q})}")
    page.wait_for_selector(ANSWERED)


def pictures_in(page: Page, archive: Path, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return what the address of Browse finds."""
    (q,) = parse_qs(urlsplit(page.url).query)["q"]
    return list(Archive(archive).query(q, columns=list(columns), limit=None).rows)


def test_what_is_being_done_is_told_while_it_is_done(shown: Page) -> None:
    """It follows the other process, in words of the page."""
    shown.goto("/learn")
    shown.evaluate(
        """() => {
            window.told = [];
            const look = () => window.told.push(document.querySelector("#doing")?.textContent);
            new MutationObserver(look).observe(document.querySelector("#learned"),
                { childList: true, characterData: true, subtree: true });
        }"""
    )
    shown.wait_for_selector(ANSWERED)
    told = [text for text in shown.evaluate("window.told") if text]
    assert told
    assert set(told) <= {
        "Reading ratings and settings.", "Comparing 84 rated pictures.",
        "Looking for what to try next.", "Looking for what to rate next.",
    }  # fmt: skip


def test_a_sentence_comes_first_and_opens_the_pictures_it_rests_on(
    shown: Page, judged: Path
) -> None:
    """Large, in plain words, with both sides of two pairs; all of them are one click away."""
    opened(shown, q="cfg_scale = 3")
    first = shown.locator(".sentence").first
    text = first.inner_text()
    assert text.startswith("Sampler Euler a is better than DDIM: +")
    assert ", between +" in text
    assert " pairs." in text
    size = first.locator("p").first.evaluate("p => parseFloat(getComputedStyle(p).fontSize)")
    assert size >= 19.5
    assert first.locator("small").all_inner_texts() == ["Euler a", "DDIM"] * 2
    loaded = "images => images.every((one) => one.complete && one.naturalWidth > 0)"
    wait(shown, lambda: first.locator("img").evaluate_all(loaded))
    pairs = int(text.split("from ")[1].split()[0])
    first.locator(".open a").click()
    shown.wait_for_url("**/?q=**")
    rows = pictures_in(shown, judged, ["prompt", "model", "sampler"])
    assert text.split("\n\n")[1].startswith(f"Show all {pairs} pairs")
    assert len(rows) == len(set(rows)) == 2 * pairs
    assert len({row[:2] for row in rows}) == pairs
    opened(shown)
    digests = (
        shown.locator(".duel")
        .first.locator("img")
        .evaluate_all("images => images.map((one) => one.src.split('/').pop().split('?')[0])")
    )
    shown.locator(".duel").first.click()
    shown.wait_for_url("**/compare?pictures=**")
    assert shown.url.endswith(f"?pictures={','.join(digests)}")
    told = [Archive(judged).query(f"sha256 = '{one}'", columns=["sampler"]).rows[0][0]
            for one in digests]  # fmt: skip
    assert told == ["Euler a", "DDIM"]


@pytest.mark.parametrize("width", [390, 1440])
def test_pictures_that_come_late_have_their_place_from_the_start(shown: Page, width: int) -> None:
    """A box of their size stands there, that can be seen; nothing moves when they come."""
    held: list[Route] = []
    shown.route("**/thumbnails/**", lambda route: held.append(route))
    opened(shown, width, q="cfg_scale = 3")
    pictures = shown.locator(".behind img, .nearest img")
    for picture in pictures.all()[:4]:
        picture.scroll_into_view_if_needed()
    wait(shown, lambda: held)
    places = "images => images.map((one) => { const r = one.getBoundingClientRect();"
    places += " return [r.x, r.y + scrollY, r.width, r.height].map(Math.round); })"
    waiting = pictures.evaluate_all(places)
    assert len(waiting) >= 4
    assert all(abs(width - height) <= 1 and width > 40 for _, _, width, height in waiting)
    behind = pictures.first.evaluate(
        """one => [one, document.body].map((each) => getComputedStyle(each).backgroundColor)"""
    )
    assert behind[0] not in (behind[1], "rgba(0, 0, 0, 0)"), "an empty place looks like nothing"
    tall = shown.evaluate("document.documentElement.scrollHeight")
    for route in held:
        route.continue_()
    shown.unroute_all(behavior="ignoreErrors")
    wait(shown, lambda: pictures.first.evaluate("one => one.complete && one.naturalWidth > 0"))
    assert pictures.evaluate_all(places) == waiting
    assert shown.evaluate("document.documentElement.scrollHeight") == tall


@pytest.mark.parametrize("width", [390, 1440, 3840])
def test_names_are_whole_and_figures_are_on_the_screen(shown: Page, width: int) -> None:
    opened(shown, width)
    shown.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    names = shown.locator(".row .name")
    assert " ".join(LONG) in " ".join(names.all_inner_texts()).replace(" against", "") or (
        " ".join(LONG[::-1]) in " ".join(names.all_inner_texts()).replace(" against", "")
    )
    cut = "all => all.filter((one) => one.scrollWidth > one.clientWidth + 1).length"
    assert names.evaluate_all(cut) == 0
    inside = """all => all.every((one) => {
        const { left, right, width } = one.getBoundingClientRect();
        return left >= 0 && right <= innerWidth && width > 0;
    })"""
    for part in (".row .figure", ".row .name", ".row .scale", ".sentence p", ".behind"):
        assert shown.locator(part).evaluate_all(inside), part
    # One scale for all: nothing lies at the same place everywhere.
    zeros = "all => new Set(all.map((one) => Math.round(one.getBoundingClientRect().left))).size"
    assert shown.locator(".row .zero").evaluate_all(zeros) == 1


def test_what_is_undecided_is_one_line_that_opens(shown: Page) -> None:
    opened(shown)
    folded = shown.locator("#undecided")
    assert folded.locator("summary").inner_text() == "2 settings undecided"
    assert not folded.locator("li").first.is_visible()
    folded.locator("summary").click()
    lines = folded.locator("ul").first.locator("li").all_inner_texts()
    assert {line.split(":")[0] for line in lines} == {"model", "cfg_scale"}
    assert all("about" in line and "more ratings of" in line for line in lines)


def test_a_suggestion_is_shown_by_pictures_and_drawn_by_nobody_but_its_owner(
    shown: Page,
) -> None:
    """Draw these opens the form with the config in it; until somebody starts it nothing runs.

    It is the one button of what to do next, as no rating would settle anything soon.
    """
    opened(shown)
    step = shown.locator(".next-step")
    assert step.locator(".button").count() == shown.locator("#learned .button").count() == 1
    assert "Draw what may be better: " in step.inner_text()
    one = shown.locator(".suggestion").first
    captions = one.locator(".nearest small").all_inner_texts()
    assert len(captions) == 3
    assert all("not " in text or text == "the same settings" for text in captions)
    one.get_by_role("link", name="Draw these").click()
    shown.wait_for_url("**/runs/new?toml=**")
    assert shown.inner_text("h1") == "New run"  # nothing ran so yet
    wait(shown, lambda: "[txt2img]" in shown.input_value("#toml"))
    state = shown.request.get("/api/runs").json()
    assert [run for run in state["runs"] if run.get("state") not in (None, "done")] == []


def test_the_best_setting_is_copied_and_the_page_saved_as_one_file(
    shown: Page, judged: Path
) -> None:
    shown.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened(shown)

    def copied(name: str) -> str:
        shown.evaluate("navigator.clipboard.writeText('')")
        shown.get_by_role("button", name=name).click()
        wait(shown, lambda: shown.evaluate("navigator.clipboard.readText()") != "")
        return str(shown.evaluate("navigator.clipboard.readText()"))

    assert "Sampler: Euler a, " in copied("Copy as A1111 text")
    with shown.expect_download() as download:
        shown.get_by_role("link", name="Save as one file").click()
    assert download.value.suggested_filename == "report.html"
    saved = Path(download.value.path()).read_text("utf-8")
    assert saved.startswith("<!doctype html>")
    assert "data:image/webp;base64," in saved
    ((digest, seed),) = Archive(judged).query(columns=["sha256", "seed"], limit=1).rows
    shown.goto(f"/look/{digest}")
    graph = json.loads(copied("Copy as ComfyUI graph"))
    assert graph["3"]["inputs"]["seed"] == seed


def test_axe_finds_nothing_in_any_state_and_trouble_is_told(
    judged: Path, drawn: Path, browser: Browser, tmp_path: Path
) -> None:
    """Nothing rated, thinking, answered, trouble; and the server away."""
    archive = Path(shutil.copytree(judged, tmp_path / "archive"))
    violations: list[tuple[str, str, str]] = []

    def look(page: Page, state: str) -> None:
        page.evaluate(AXE)
        faults = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        violations.extend((state, fault["id"], fault["nodes"][0]["html"][:140]) for fault in faults)

    context = browser.new_context(
        viewport={"width": 390, "height": 844}, bypass_csp=True, reduced_motion="reduce"
    )
    page = context.new_page()
    with served(drawn) as address:
        page.goto(f"{address}/learn")
        page.wait_for_selector(ANSWERED)
        assert page.inner_text(".lead") == "Nothing is rated yet."
        href = page.locator(".next-step .button").get_attribute("href")
        assert (href or "").startswith("/rate?q=")
        look(page, "nothing rated")
    with served(archive) as address:
        with thinking(address, archive):
            page.goto(f"{address}/learn")
            assert page.get_attribute("#learned", "aria-busy") == "true"
            look(page, "thinking")
        page.wait_for_selector(ANSWERED)
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        look(page, "answered")
        rate_samplers(archive, 96, "bob")
        number = process_of(archive)
        assert number is not None
        os.kill(number, signal.SIGSTOP)
        page.reload()
        assert page.inner_text("#learned [role=status]").startswith("From 96 ratings ago;")
        while page.locator("#learned[aria-busy]").count():  # one that dies is started again once
            if number := process_of(archive):
                os.kill(number, signal.SIGKILL)
            page.wait_for_timeout(50)
        told = page.inner_text("#learned [role=status]")
        assert "A new answer could not be worked out" in told
        assert "Sampler Euler a is better" in page.inner_text(".sentences")
        look(page, "trouble")
        httpx.get(f"{address}/api/next-to-rate", headers={"prefer": "wait=300"}, timeout=300)
        number = process_of(archive)
        assert number is not None
        os.kill(number, signal.SIGSTOP)
        page.goto(f"{address}/learn?q=steps>1")
        page.wait_for_selector("#learned[aria-busy]")
    wait(page, lambda: "safelight is not running" in page.inner_text("#away"), 30)
    context.close()
    assert violations == []


def test_what_no_engine_of_ours_drew_asks_for_one(tmp_path: Path) -> None:
    """Whoever draws it says which; where nothing can be run there is nothing to press."""
    records = [
        replace(record(n, {}, [], prompt=f"thing {n // 6}", seed=1, model="nai-diffusion-3",
                       steps=20 + n % 3, sampler=("Euler", "DDIM")[n % 2]),
                backend={"name": "novelai"})
        for n in range(24)
    ]  # fmt: skip
    archive = rated(tmp_path, records)
    headers = {"accept": "text/html", "prefer": "wait=300"}
    controller = PipelineController(EngineRunner(tmp_path, {}))
    with TestClient(create_app(archive, controller), base_url="http://127.0.0.1") as client:
        told = client.get("/learn", headers=headers).text
    assert "The nearest pictures there are" in told
    assert "Which engine draws them" in told
    assert "<option>webui</option>" in told
    with TestClient(create_app(archive), base_url="http://127.0.0.1") as client:
        assert "Draw these" not in client.get("/learn", headers=headers).text
