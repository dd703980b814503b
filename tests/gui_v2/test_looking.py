"""One picture with all that is known of it, and the sheet, as a person walks through them.

All tests of this module share an archive, its server and a browser's page; each says where it
begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest

from gui_v2.light_table import draw, served
from gui_v2.test_light_table_page import AXE, ratings, wait
from safelight.archive import Archive
from safelight.archive.contents import contents_of
from safelight.learning.ratings import Identity, RatingEvent

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PICTURE = {"prompt": "a lighthouse <lora:ink:0.7>", "negative_prompt": "fog", "seed": 7,
           "cfg_scale": 3, "width": 64, "height": 64}  # fmt: skip
SAMPLERS = ("DDIM", "Euler", "Euler a")
SAMPLED, SWAPPED = "name = 'samplers'", "name = 'swapped'"
SWEEP_Q = quote(SAMPLED)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three samplers at two counts of steps with four seeds; one whose engine did otherwise."""
    archive = tmp_path_factory.mktemp("looking") / "archive"
    draw(archive, {
        "name": "samplers", "txt2img": {**PICTURE, "seed": 7},
        "randomizer": {"mode": "fanout", "seeds_per_variant": 4, "sweep": {
            "txt2img.sampler": list(SAMPLERS), "txt2img.steps": [2, 4]}},
    })  # fmt: skip
    alone = {**PICTURE, "prompt": "a fox <lora:ink:0.7>", "sampler": "Euler", "steps": 3}
    draw(archive, {"name": "swapped", "txt2img": alone}, substitute={"sampler": "Euler a"})
    return archive


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with served(folder) as url:
        yield url


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": 1280, "height": 800}, reduced_motion="reduce", bypass_csp=True
    )
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened = context.new_page()
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    yield opened
    context.close()
    assert faults == []


def digest(folder: Path, condition: str) -> str:
    rows = Archive(folder).query(condition, columns=["sha256"], limit=1).rows
    return str(rows[0][0])


def violations(page: Page) -> list[Any]:
    page.evaluate(AXE)
    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    return [(one["id"], one["nodes"][0]["html"][:140]) for one in found]


# -- one picture -------------------------------------------------------------------------


def test_settings_stand_once_in_the_order_people_think(
    page: Page, address: str, folder: Path
) -> None:
    page.goto(f"{address}/look/{digest(folder, SWAPPED)}")
    page.wait_for_selector(".settings")
    assert page.inner_text(".info .prompt") == "a fox"
    assert page.inner_text(".loras .chip").split() == ["ink", "0.7"]
    assert page.locator(".settings dt").all_inner_texts()[:7] == [
        "Model", "Sampler", "Scheduler", "Steps", "CFG", "Size", "Seed",
    ]  # fmt: skip
    told = page.locator(".settings .value").all_inner_texts()
    assert told[1:7] == ["Euler a", "Normal", "3", "3", "64 × 64", "7"]
    assert page.locator(".asked-for").all_inner_texts() == ["Asked for Euler."]
    assert page.locator(".facts:has-text('Engine') >> text=fake").count() == 1
    assert violations(page) == []


def test_a_value_is_copied_by_a_button_that_keys_reach_too(page: Page) -> None:
    copy = page.get_by_role("button", name="Copy Seed")
    assert copy.evaluate("one => getComputedStyle(one).opacity") == "0"
    copy.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#notices:has-text('Copied')")
    assert page.evaluate("navigator.clipboard.readText()") == "7"
    assert copy.evaluate("one => getComputedStyle(one).opacity") == "1"


def test_two_samplers_with_the_same_seed_are_two_actions_away(page: Page, address: str) -> None:
    """Job (c) of the study: it was a filter of forty characters and four clicks."""
    page.goto(f"{address}/?q={SWEEP_Q}")
    page.click(".tile:visible >> nth=0")
    page.click("[data-beside=sampler]")
    page.wait_for_selector(".unlike b")
    shown = page.locator(".unlike").all_inner_texts()
    assert sorted(shown) == [f"Sampler {sampler}" for sampler in SAMPLERS]
    assert page.locator(".panes img").count() == 3
    assert violations(page) == []


def test_what_belongs_to_a_picture_is_one_click_away(
    page: Page, address: str, folder: Path
) -> None:
    own = digest(folder, "name = 'samplers'")
    page.goto(f"{address}/look/{own}")
    page.click("button.same-seed:has-text('5 more')")
    page.wait_for_selector(".tile:visible")
    wait(page, lambda: page.inner_text("#count") == "6 pictures")
    page.goto(f"{address}/look/{own}")
    page.click(".actions >> text=Same prompt")
    wait(page, lambda: page.inner_text("#count") == "24 pictures")
    page.goto(f"{address}/look/{own}")
    page.click(".facts >> text=images/")
    wait(page, lambda: page.inner_text("#count") == "24 pictures")
    page.goto(f"{address}/look/{digest(folder, SWAPPED)}")
    page.click("button.same-seed")
    page.wait_for_selector("#notices:has-text('No other picture here has this seed and prompt.')")


def test_one_star_is_one_star(page: Page, address: str, folder: Path) -> None:
    with Archive(folder).ratings() as store:
        one = Identity(sha256=digest(folder, "name = 'swapped'"))
        store.add(RatingEvent.now("stars", one, value=1, rater="ann"))
    page.goto(f"{address}/?q={quote(SWAPPED)}")
    wait(page, lambda: "(1 star, " in (page.get_attribute(".tile:visible img", "alt") or ""))


def test_a_discarded_picture_says_so_and_comes_back(page: Page, address: str, folder: Path) -> None:
    own = digest(folder, "name = 'swapped'")
    plan = httpx.post(f"{address}/api/trash/plan", json={"sha256s": [own]}).json()
    moved = httpx.post(
        f"{address}/api/trash", json={"sha256s": [own], "snapshot": plan["snapshot"]}
    ).json()
    day = moved["discard"].partition("/")[0]
    there = httpx.get(f"{address}/api/facets").json()["total"]
    counted = contents_of(Archive(folder))
    assert (counted.pictures, counted.discarded) == (there, 1)
    page.goto(f"{address}/look/{own}")
    page.wait_for_selector(f"text=This picture is in the trash since {day}.")
    assert page.locator("text=Move to trash").count() == 0
    page.click("text=Restore it")
    page.wait_for_selector("#notices:has-text('1 file restored.')")
    wait(page, lambda: page.locator(".in-trash").count() == 0)
    counted = contents_of(Archive(folder))
    assert (counted.pictures, counted.discarded) == (there + 1, 0)


def test_a_picture_that_does_not_come_is_told_in_words(
    page: Page, address: str, folder: Path
) -> None:
    own = digest(folder, "name = 'samplers'")
    page.goto(f"{address}/?q={SWEEP_Q}")
    page.wait_for_selector(".tile:visible")
    page.route("**/pictures/*", lambda route: route.abort())
    page.click(".tile:visible >> nth=1")
    page.wait_for_selector(".pane-told:has-text('safelight is not running.')")
    assert page.locator(".pane img.under").is_visible()  # small as it is, it was here already
    assert page.locator(".info .fault").inner_text().startswith("safelight is not running.")
    page.unroute("**/pictures/*")
    page.route(f"**/pictures/{own}", lambda route: route.fulfill(status=404))
    page.route(f"**/api/pictures/{own}*", lambda route: route.continue_())
    page.goto(f"{address}/look/{own}")
    page.wait_for_selector(".pane-told:has-text('The file of this picture is not where it was')")
    page.unroute_all()


def test_on_a_phone_nothing_is_cut_and_all_can_be_touched(
    browser: Browser, address: str, folder: Path
) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True, bypass_csp=True,
        reduced_motion="reduce",
    )  # fmt: skip
    page = context.new_page()
    page.goto(f"{address}/look/{digest(folder, SAMPLED)}")
    page.tap("button[aria-label='Settings (I)']")
    page.wait_for_selector(".beside:visible")
    boxes = page.evaluate(
        """[...document.querySelectorAll(
             ".viewer-bar button, .info button, .info .actions a, .info .beside a, .info summary")]
           .map((one) => one.getBoundingClientRect()).filter((box) => box.width)
           .map(({ left, right, width, height }) => [left, right, width, height])"""
    )
    assert len(boxes) > 20
    for left, right, width, height in boxes:
        assert left >= 0
        assert right <= 390
        assert min(width, height) >= 43.5
    assert violations(page) == []
    page.goto(f"{address}/sheet?q={SWEEP_Q}")
    page.wait_for_selector(".sheet .cell")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.tap(".cell >> nth=1")
    page.wait_for_selector("#viewer .prompt", state="attached")
    context.close()


# -- the sheet ---------------------------------------------------------------------------


def focused(page: Page) -> list[int]:
    place: list[int] = page.evaluate(
        "['line', 'column'].map((name) => Number(document.activeElement.dataset[name]))"
    )
    return place


def test_a_sheet_is_walked_in_two_dimensions_and_rated_in_place(
    page: Page, address: str, folder: Path
) -> None:
    page.goto(f"{address}/sheet?q={SWEEP_Q}")
    assert page.locator(".sheet thead .value").all_inner_texts() == list(SAMPLERS)
    assert page.locator(".sheet tbody .value").all_inner_texts() == ["2", "4"]
    assert page.locator(".chip.held").all_inner_texts()[0].startswith("Seed")
    page.locator(".cell >> nth=0").focus()
    for way, place in (("Right", [0, 1]), ("Down", [1, 1]), ("Right", [1, 2]), ("Right", [1, 2]),
                       ("Up", [0, 2]), ("Left", [0, 1])):  # fmt: skip
        page.keyboard.press(f"Arrow{way}")
        assert focused(page) == place
    page.keyboard.press("4")
    page.keyboard.press("f")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("x")
    assert focused(page) == [1, 1]
    kept = wait(page, lambda: len(own := ratings(folder)) >= 2 and own)
    about = {
        (sampler, steps): kept.get(sha256)
        for sha256, sampler, steps in Archive(folder).query(
            "name = 'samplers'", columns=["sha256", "sampler", "steps"], limit=None
        ).rows
        if sha256 in kept
    }  # fmt: skip
    assert about["Euler", 2].stars == 4
    wait(page, lambda: any(one.favourite for one in ratings(folder).values()))
    wait(page, lambda: any(one.rejected for one in ratings(folder).values()))
    assert page.locator(".cell .stars").nth(1).inner_text() == "★★★★"
    assert page.locator(".cell").nth(4).evaluate("one => one.classList.contains('rejected')")


def test_a_picture_of_a_sheet_is_walked_on_from_and_zoom_stays(page: Page, address: str) -> None:
    page.goto(f"{address}/sheet?q={SWEEP_Q}")
    page.locator(".cell >> nth=0").focus()
    page.keyboard.press("Enter")
    value = page.locator("#viewer .settings .value")
    wait(page, lambda: value.nth(1).inner_text() == "DDIM")
    page.keyboard.press(" ")
    large = page.get_attribute("#viewer .zoomed", "style")
    assert "scale(1)" not in (large or "scale(1)")
    page.keyboard.press("ArrowRight")
    wait(page, lambda: value.nth(1).inner_text() == "Euler")
    page.keyboard.press("ArrowDown")
    wait(page, lambda: value.nth(3).inner_text() == "4")
    assert page.get_attribute("#viewer .zoomed", "style") == large
    page.keyboard.press("Escape")
    page.wait_for_selector("#viewer", state="hidden")
    assert focused(page) == [1, 1]
    for key in ("c", "ArrowLeft", "c", "v"):
        page.keyboard.press(key)
    page.wait_for_selector(".unlike b")
    assert sorted(page.locator(".unlike").all_inner_texts()) == ["Sampler DDIM", "Sampler Euler"]


def test_evidence_stands_beside_the_values_when_it_is_there(
    page: Page, address: str, folder: Path
) -> None:
    """On one scale, the pictures first; what ratings say is put in when it was worked out."""
    rows = (
        Archive(folder)
        .query("name = 'samplers'", columns=["sha256", "sampler", "steps"], limit=None)
        .rows
    )
    with Archive(folder).ratings() as store:
        for sha256, sampler, _ in rows:
            value = {"DDIM": 1, "Euler": 3, "Euler a": 5}[sampler]
            store.add(RatingEvent.now("stars", Identity(sha256=sha256), value=value, rater="ann"))
    page.goto(f"{address}/sheet?q={SWEEP_Q}")
    page.locator(".cell img").nth(0).wait_for()
    page.wait_for_selector("thead .evidence svg", timeout=180_000)
    told = page.locator("thead .evidence svg").evaluate_all(
        "all => all.map((one) => one.getAttribute('aria-label'))"
    )
    assert told
    assert all(one.startswith("Against ") and "between" in one for one in told)
    widths = page.evaluate(
        "[...document.querySelectorAll('.evidence .zero')].map((one) => one.getAttribute('x1'))"
    )
    assert len(set(widths)) == 1
    assert violations(page) == []
    page.select_option("select[name='only.seed']", "8")
    page.wait_for_url("**only.seed=8**")
    assert page.locator(".cell").count() == 6
