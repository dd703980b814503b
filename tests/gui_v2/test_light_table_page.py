"""The page as a person uses it, keyboard included, in a real browser."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest

from gui_v2.light_table import HOSTILE, SWEEP, draw, served
from safelight.archive import Archive
from safelight.learning.ratings import Identity, Rating, RatingEvent, current_ratings
from safelight.web.admission import Admission
from safelight.web.sessions import Role

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

AXE = Path(__file__).with_name("axe.min.js").read_text("utf-8")
SWEEP_Q = "name = 'sweep'"


def eventually(holds: Callable[[], Any], seconds: float = 120.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (outcome := holds()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert outcome
    return outcome


def wait(page: Page, holds: Callable[[], Any], seconds: float = 120.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (outcome := holds()) and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    assert outcome
    return outcome


def ratings(archive: Path) -> dict[str, Rating]:
    kept = current_ratings(Archive(archive).ratings().events())
    return {identity.sha256 or "": rating for identity, rating in kept.items()}


def opened(page: Page, address: str, q: str = "") -> None:
    page.goto(f"{address}/?q={quote(q)}")
    page.wait_for_selector(".tile:visible")
    wait(page, lambda: page.inner_text("#count"))


def shown(page: Page) -> list[str]:
    """Return the identities of the tiles, in reading order."""
    names: list[str] = page.evaluate(
        """[...document.querySelectorAll('.line:not([hidden]) .cell-box:not([hidden])')]
        .map((box) => [box.getBoundingClientRect(), box.querySelector('a').pathname.slice(6)])
        .sort(([a], [b]) => a.top - b.top || a.left - b.left).map(([, name]) => name)"""
    )
    return names


def at(page: Page) -> str:
    path: str = page.evaluate("document.activeElement.pathname.slice(6)")
    return path


# -- browse ------------------------------------------------------------------------------


def test_the_grid_shows_every_picture_with_its_thumbnail(page: Page, address: str) -> None:
    opened(page, address)
    assert page.inner_text("#count") == "11 pictures"
    assert len(shown(page)) == 11
    wait(page, lambda: page.locator(".tile img.there:visible").count() == 11)


def test_a_filter_is_typed_shared_by_its_address_and_faults_are_told(
    page: Page, address: str
) -> None:
    opened(page, address)
    page.keyboard.press("/")
    page.keyboard.type("cfg_scale > 2 and steps = 4")
    page.keyboard.press("Enter")
    wait(page, lambda: page.inner_text("#count") == "3 pictures")
    assert "q=cfg_scale+%3E+2" in page.url
    page.reload()
    wait(page, lambda: page.inner_text("#count") == "3 pictures")
    page.fill("#q", "setps = 4")
    page.keyboard.press("Enter")
    wait(page, lambda: "steps" in page.inner_text("#fault"))
    page.go_back()
    page.go_back()
    wait(page, lambda: page.inner_text("#count") == "11 pictures")


def test_a_facet_narrows_and_widens_again(page: Page, address: str) -> None:
    opened(page, address)
    page.click(".facets summary:has-text('Stage')")
    page.click(".facets a:has-text('upscale')")
    wait(page, lambda: page.inner_text("#count") == "1 picture")
    assert page.input_value("#q") == "stage = 'upscale'"
    page.click(".facets a[aria-current]:has-text('upscale')")
    wait(page, lambda: page.inner_text("#count") == "11 pictures")


def test_sorting_and_grouping(page: Page, address: str) -> None:
    opened(page, address, SWEEP_Q)
    newest = shown(page)
    page.select_option("#sort", "timestamp")
    wait(page, lambda: shown(page) == newest[::-1])
    page.goto(f"{address}/?group=run")
    page.wait_for_selector(".group-head")
    heads = page.locator(".group-head:not([hidden])").all_inner_texts()
    assert len(heads) == 4
    assert any("sweep ·" in head for head in heads)


def test_a_search_is_saved_found_again_and_forgotten(page: Page, address: str) -> None:
    opened(page, address, SWEEP_Q)
    page.click(".searches summary")
    page.fill("#save-search input", "my sweep")
    page.keyboard.press("Enter")
    page.wait_for_selector("#searches a:has-text('my sweep')")
    page.goto(address)
    page.click(".searches summary")
    page.click("#searches a:has-text('my sweep')")
    wait(page, lambda: page.inner_text("#count") == "6 pictures")
    page.click(".searches summary")
    page.click("#searches button")
    wait(page, lambda: page.locator("#searches li").count() == 0)


def test_new_pictures_appear_by_themselves(page: Page, address: str, archive: Path) -> None:
    opened(page, address)
    page.wait_for_timeout(700)  # the stream is open
    draw(archive, {"name": "new", "txt2img": {"prompt": "new", "width": 64, "height": 64}})
    wait(page, lambda: len(shown(page)) == 12)
    wait(page, lambda: page.inner_text("#count") == "12 pictures")


def test_only_what_is_near_the_screen_exists(page: Page, address: str, archive: Path) -> None:
    """However many pictures there are."""
    many = {**SWEEP, "name": "many", "txt2img": {**SWEEP["txt2img"], "steps": 1}}
    draw(archive, {**many, "randomizer": {"seeds_per_variant": 600}})
    opened(page, address, "name = 'many'")
    page.evaluate("document.querySelector('#size').value = 120")
    page.evaluate("document.querySelector('#size').dispatchEvent(new Event('input'))")
    for _ in range(30):
        page.evaluate("document.querySelector('#scroller').scrollTop += 1500")
        page.wait_for_timeout(60)
        if page.evaluate("document.querySelector('#grid').clientHeight") > 600 / 8 * 120:
            break
    page.keyboard.press("End")
    wait(page, lambda: page.evaluate(
        "document.querySelector('#scroller').scrollTop > 3000"
    ))  # fmt: skip
    assert page.locator(".cell-box").count() < 300


# -- look --------------------------------------------------------------------------------


def test_looking_walks_through_the_grid_by_keyboard(page: Page, address: str) -> None:
    opened(page, address, SWEEP_Q)
    order = shown(page)
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert at(page) == order[1]
    page.keyboard.press("Enter")
    page.wait_for_selector(".info .prompt")
    assert f"/look/{order[1]}" in page.url
    page.keyboard.press("k")
    wait(page, lambda: f"/look/{order[2]}" in page.url)
    page.wait_for_selector(".changes li")
    assert page.inner_text(".changes b").split()[0] in ("CFG", "Steps")
    page.keyboard.press("j")
    wait(page, lambda: f"/look/{order[1]}" in page.url)
    page.keyboard.press(" ")
    wait(page, lambda: page.locator(".is-zoomed").count() == 1)
    page.keyboard.press("i")
    wait(page, lambda: not page.locator(".info").is_visible())
    page.keyboard.press("Escape")
    page.wait_for_selector("#viewer", state="hidden")
    assert at(page) == order[1]


def test_a_setting_that_the_engine_changed_is_marked(page: Page, address: str) -> None:
    opened(page, address, "name = 'swapped'")
    page.click(".tile:visible")
    row = page.locator(".settings > div", has=page.locator(".asked-for"))
    row.wait_for()
    assert row.inner_text().split("\n") == ["Sampler", "Euler a", "Asked for Euler."]


def test_lineage_leads_from_picture_to_picture(page: Page, address: str) -> None:
    opened(page, address, "stage = 'img2img'")
    page.click(".tile:visible")
    page.wait_for_selector(".kin")
    kin = page.locator(".kin").all_inner_texts()
    assert [text.split()[0] for text in kin] == ["txt2img", "upscale"]
    page.click(".kin:has-text('upscale')")
    page.wait_for_selector(".facts:has-text('128 × 128')")


def test_the_settings_are_copied_as_a1111_text(page: Page, address: str) -> None:
    opened(page, address, SWEEP_Q)
    page.click(".tile:visible")
    page.click("text=Copy as A1111 text")
    page.wait_for_selector("#notices:has-text('Copied')")
    text = page.evaluate("navigator.clipboard.readText()")
    assert text.startswith("a lighthouse\n")
    assert "CFG scale: " in text


def test_raw_metadata_and_the_file_itself(page: Page, address: str) -> None:
    opened(page, address, SWEEP_Q)
    page.click(".tile:visible")
    page.click(".raw summary")
    page.wait_for_selector(".raw pre")
    assert "a lighthouse" in page.inner_text(".raw")
    with page.expect_download() as download:
        page.click("text=Save file")
    assert download.value.suggested_filename.endswith(".png")


def test_hostile_texts_do_nothing(page: Page, address: str) -> None:
    """The page fixture fails on a dialog, a script error or a refused script."""
    opened(page, address, "prompt has 'onerror'")
    page.click(".tile:visible")
    page.wait_for_selector(".info .prompt")
    assert page.inner_text(".info .prompt") == HOSTILE
    page.keyboard.press("Escape")
    page.keyboard.press("t")
    page.fill("dialog input", "<b>bold</b>")
    page.keyboard.press("Enter")
    for path in ("/runs", "/?group=prompt", "/sheet", "/rate?fair=0"):
        page.goto(address + path)
        page.wait_for_timeout(300)
    assert page.locator("b:has-text('bold'), img[src='x']").count() == 0


# -- compare -----------------------------------------------------------------------------


def test_chosen_pictures_are_compared_and_only_differences_told(page: Page, address: str) -> None:
    opened(page, address, SWEEP_Q)
    page.keyboard.press("Home")
    for key in ("c", "ArrowRight", "c", "v"):
        page.keyboard.press(key)
    page.wait_for_selector(".differences table")
    names = page.locator(".differences tbody th").all_inner_texts()
    assert names
    assert set(names) <= {"CFG", "Steps"}
    page.mouse.move(400, 300)
    page.mouse.wheel(0, -300)
    turned = page.locator("img.zoomed").evaluate_all("all => all.map((one) => one.style.transform)")
    assert len(turned) == 2
    assert len(set(turned)) == 1
    assert "scale(1)" not in turned[0]
    page.click("text=Slider")
    page.wait_for_url("**as=slider")
    page.wait_for_selector(".differences table")
    page.locator("#edge").fill("20")
    assert (
        page.evaluate("document.querySelector('#slider').style.getPropertyValue('--edge')") == "20%"
    )


def test_a_sheet_takes_any_two_knobs(page: Page, address: str) -> None:
    page.goto(f"{address}/sheet?q={quote(SWEEP_Q)}&x=cfg_scale&y=steps")
    assert page.locator(".sheet thead th").all_inner_texts() == ["1", "3", "6"]
    assert page.locator(".sheet tbody th").all_inner_texts() == ["2", "4"]
    assert page.locator(".sheet td img").count() == 6
    page.wait_for_timeout(300)
    page.select_option("select[name=y]", "cfg_scale")  # the axes change places
    page.wait_for_url("**x=steps&y=cfg_scale**")
    assert page.locator(".sheet thead th").all_inner_texts() == ["2", "4"]


# -- rate --------------------------------------------------------------------------------


def test_rating_by_keyboard_goes_on_and_can_be_undone(
    page: Page, address: str, archive: Path
) -> None:
    opened(page, address, SWEEP_Q)
    order = shown(page)
    page.keyboard.press("Home")
    for key in ("4", "2", "x", "f"):
        page.keyboard.press(key)
    wait(page, lambda: len(ratings(archive)) == 4)
    kept = ratings(archive)
    assert kept[order[0]].stars == 4
    assert kept[order[1]].stars == 2
    assert kept[order[2]].rejected
    assert kept[order[3]].favourite
    page.keyboard.press("Control+z")  # the favourite
    page.keyboard.press("Control+z")  # the reject
    wait(page, lambda: not any(r.rejected or r.favourite for r in ratings(archive).values()))
    page.keyboard.press("Home")
    page.keyboard.press("4")  # the same digit again
    wait(page, lambda: ratings(archive)[order[0]].stars is None)


def test_digits_in_a_text_field_rate_nothing(page: Page, address: str, archive: Path) -> None:
    opened(page, address)
    page.keyboard.press("/")
    page.keyboard.type("steps = 4 x f 0")
    page.wait_for_timeout(300)
    assert ratings(archive) == {}


def test_tags_and_notes_are_given(page: Page, address: str, archive: Path) -> None:
    opened(page, address, SWEEP_Q)
    page.keyboard.press("Home")
    page.keyboard.press("t")
    page.fill("dialog input", "keep, golden hour")
    page.fill("dialog textarea", "the best <i>one</i>")
    page.click("dialog button:has-text('Save')")
    wait(page, lambda: any(r.notes for r in ratings(archive).values()))
    (rating,) = ratings(archive).values()
    assert rating.tags == ("golden hour", "keep")
    assert list(rating.notes.values()) == ["the best <i>one</i>"]


def test_nothing_is_lost_when_the_server_restarts(
    page: Page, browser: Browser, archive: Path
) -> None:
    """Rated while it was away, the page even closed in between."""
    with served(archive) as address:
        port = int(address.rpartition(":")[2])
        opened(page, address, SWEEP_Q)
        order = shown(page)
        page.keyboard.press("Home")
        page.keyboard.press("Home")
        page.keyboard.press("5")
        wait(page, lambda: len(ratings(archive)) == 1)
    for key in ("3", "x", "1"):
        page.keyboard.press(key)
    wait(page, lambda: "3 ratings waiting" in page.inner_text("#saving"))
    assert len(ratings(archive)) == 1
    with served(archive, port=port):
        wait(page, lambda: len(ratings(archive)) == 4, 20)
        wait(page, lambda: page.inner_text("#saving") == "")
    page.keyboard.press("2")
    page.close()
    with served(archive, port=port):
        other = page.context.new_page()
        other.goto(f"http://127.0.0.1:{port}/rate")
        eventually(lambda: len(ratings(archive)) == 5)
    kept = ratings(archive)
    assert [kept[digest].stars for digest in order[:2]] == [5, 3]
    assert kept[order[2]].rejected
    assert [kept[digest].stars for digest in order[3:5]] == [1, 2]


def test_fair_mode_rates_without_names_in_any_order(
    page: Page, address: str, archive: Path
) -> None:
    page.goto(f"{address}/rate")
    page.wait_for_selector("#stage:not([aria-busy]) img")
    text = page.inner_text("main")
    assert "lighthouse" not in text
    assert "cfg" not in text
    for key in ("5", "3", "x", "s", "1"):
        page.keyboard.press(key)
        page.wait_for_timeout(50)
    wait(page, lambda: len(ratings(archive)) == 4)
    page.keyboard.press("u")
    wait(page, lambda: sorted(r.stars or 0 for r in ratings(archive).values()) == [0, 3, 5])


def test_pairs_and_fours_are_picked_tied_and_skipped(
    page: Page, address: str, archive: Path
) -> None:
    def picks() -> list[tuple[int, ...]]:
        return [event.won for event in Archive(archive).ratings().events() if event.kind == "pick"]

    page.goto(f"{address}/rate?mode=pair")
    page.wait_for_selector("#stage:not([aria-busy]) img")
    for key in ("ArrowLeft", "ArrowRight", "ArrowDown", "s"):
        if page.locator("#stage img").count():
            page.keyboard.press(key)
            page.wait_for_timeout(100)
    wait(page, lambda: len(picks()) >= 3)
    assert picks()[:3] == [(0,), (1,), (0, 1)]
    page.goto(f"{address}/rate?mode=four")
    page.wait_for_selector("#stage:not([aria-busy]) img")
    page.keyboard.press("3")
    wait(page, lambda: picks()[-1] == (2,))
    assert len(Archive(archive).ratings().events()[-1].shown) == 4


def test_who_rates_is_told(page: Page, address: str, archive: Path) -> None:
    page.goto(f"{address}/rate")
    page.wait_for_selector("#stage:not([aria-busy]) img")
    page.fill("#rater", "ann")
    page.keyboard.press("Tab")
    page.locator("#stage").click()
    page.keyboard.press("4")
    wait(page, lambda: [r.raters for r in ratings(archive).values()] == [("ann",)])


def test_rating_works_in_full_screen(page: Page, address: str, archive: Path) -> None:
    page.goto(f"{address}/rate")
    page.wait_for_selector("#stage:not([aria-busy]) img")
    page.keyboard.press("z")
    wait(page, lambda: page.evaluate("document.fullscreenElement !== null"))
    page.keyboard.press("5")
    wait(page, lambda: len(ratings(archive)) == 1)


def test_keys_are_shown_and_can_be_changed(page: Page, address: str, archive: Path) -> None:
    opened(page, address, SWEEP_Q)
    page.keyboard.press("?")
    page.click("dialog dl > div:has-text('Favourite') button.caps")
    page.keyboard.press("q")
    page.click("dialog button:has-text('Close')")
    page.reload()
    page.wait_for_selector(".tile:visible")
    page.keyboard.press("Home")
    page.keyboard.press("q")
    wait(page, lambda: [r.favourite for r in ratings(archive).values()] == [True])


# -- runs --------------------------------------------------------------------------------


def fill_form(page: Page, address: str, backend: str = "fake", **fields: str) -> None:
    page.goto(f"{address}/runs/new")
    page.fill("[name=backend]", backend)
    page.fill("[name='txt2img.width']", "64")
    page.fill("[name='txt2img.height']", "64")
    for name, value in fields.items():
        page.fill(f"[name='txt2img.{name}']", value)


def test_a_run_is_planned_started_and_found(page: Page, address: str, archive: Path) -> None:
    fill_form(page, address, prompt="{one|two} hats", cfg_scale="2; 4; 8", steps="2")
    wait(page, lambda: "6 pictures" in page.inner_text("#plan"))
    assert "About" in page.inner_text("#plan")
    page.click("#start")
    page.wait_for_url("**/runs")
    wait(page, lambda: page.locator("#queue .mark-completed").count() == 1)
    rows = Archive(archive).query("prompt has 'hats'", columns=["cfg_scale"]).rows
    assert sorted(row[0] for row in rows) == [2, 2, 4, 4, 8, 8]
    page.click("#queue h3 a")
    page.wait_for_selector(".strip img")
    assert page.locator(".strip img").count() == 6
    assert "hats" in page.inner_text("pre.toml")


def test_a_faulty_setting_is_told_before_anything_starts(page: Page, address: str) -> None:
    fill_form(page, address, prompt="x", width="63")
    wait(page, lambda: "multiple of 8" in page.inner_text("#plan"))
    assert page.is_disabled("#start")


def test_a_run_is_watched_and_cancelled(page: Page, address: str, archive: Path) -> None:
    page.goto(f"{address}/runs/new")
    page.click("#as-toml")
    page.fill(
        "#toml",
        """
name = "slow"
backend = {name = "fake", seconds_per_step = 0.05}
[txt2img]
prompt = "slow"
width = 64
height = 64
steps = 20
[randomizer]
seeds_per_variant = 50
""",
    )
    wait(page, lambda: "50 pictures" in page.inner_text("#plan"))
    page.click("#start")
    page.wait_for_url("**/runs")
    wait(page, lambda: "of 50" in page.inner_text("#queue"))
    page.wait_for_selector("#queue .now-strip img", timeout=180_000)
    page.goto(address)
    page.wait_for_selector("#now img", timeout=180_000)  # made now, before the record is written
    page.goto(f"{address}/runs")
    page.click("#queue button:has-text('Cancel')")
    wait(page, lambda: page.locator("#queue .mark-cancelled").count() == 1)
    rows = Archive(archive).query("name = 'slow'", view="runs", columns=["status"]).rows
    assert rows == (("cancelled",),)


def test_a_failure_tells_its_reason(page: Page, address: str) -> None:
    page.goto(f"{address}/runs/new")
    page.click("#as-toml")
    page.fill("#toml", 'backend = {name = "fake", fail_on = ["bad"]}\n[txt2img]\nprompt = "bad"')
    wait(page, lambda: page.is_enabled("#start"))
    page.click("#start")
    page.wait_for_url("**/runs")
    wait(page, lambda: page.locator("#queue .mark-failed").count() == 1)
    wait(page, lambda: "bad" in page.inner_text("#queue"))


def test_run_again_with_changes_begins_with_what_was_used(page: Page, address: str) -> None:
    opened(page, address, "name = 'sweep' and cfg_scale = 6 and steps = 4")
    page.click(".tile:visible")
    page.click(".actions >> text=Run again")
    page.wait_for_url("**/runs/new?like=*")
    assert page.input_value("[name='txt2img.prompt']") == "a lighthouse"
    assert page.input_value("[name='txt2img.cfg_scale']") == "6"
    assert page.input_value("[name=backend]") == "fake"
    wait(page, lambda: "1 picture" in page.inner_text("#plan"))


# -- learn -------------------------------------------------------------------------------


def test_effects_lead_to_their_pictures_and_suggestions_to_a_run(
    page: Page, address: str, archive: Path
) -> None:
    page.goto(f"{address}/learn")
    page.wait_for_selector("#learned:not([aria-busy])")
    assert "Nothing is rated yet." in page.inner_text("main")
    assert page.inner_text(".next-step .button") == "Rate 6 pictures"
    seeds = {**SWEEP["randomizer"], "seeds_per_variant": 4}
    draw(archive, {**SWEEP, "name": "more", "randomizer": seeds})
    rows = Archive(archive).query("name = 'more'", columns=["sha256", "steps", "cfg_scale"],
                                  limit=None).rows  # fmt: skip
    with Archive(archive).ratings() as store:
        for sha256, steps, cfg in rows:
            value = (4 if steps == 4 else 2) + (cfg == 3)
            store.add(RatingEvent.now("stars", Identity(sha256=sha256), value=value, rater="ann"))
    page.goto(f"{address}/learn")
    page.wait_for_selector("#learned:not([aria-busy])")
    text = page.inner_text("main")
    assert "24 ratings by ann of 24 pictures (29 are there)" in text
    assert "Steps 4 is likely better than 2: +" in text
    page.click(".row .name a:text-is('4')")
    page.wait_for_selector(".tile:visible")
    wait(page, lambda: page.inner_text("#count") == "12 pictures")
    page.goto(f"{address}/learn")
    page.click(".suggestion >> nth=0 >> summary")
    assert "[txt2img]" in page.inner_text(".suggestion pre >> nth=0")
    page.click(".suggestion >> nth=0 >> text=Draw these")
    page.wait_for_url("**/runs/new?toml=*")
    wait(page, lambda: page.is_enabled("#start"))
    assert "a lighthouse" in page.input_value("#toml")


# -- for everyone ------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("width", [390, 1440])
def test_axe_finds_no_violation(browser: Browser, archive: Path, scheme: Any, width: int) -> None:
    """Contrast, names of buttons, order of headings: for screen readers and tired eyes."""
    violations = []
    with served(archive) as address:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True,
            reduced_motion="reduce",
        )  # fmt: skip
        page = context.new_page()
        row = Archive(archive).query(columns=["sha256", "run_id"], limit=2).rows
        both = ",".join(violation[0] for violation in row)
        for path in ("/", "/?group=run", f"/look/{row[0][0]}", f"/compare?pictures={both}",
                     f"/sheet?q={quote(SWEEP_Q)}", "/rate", "/rate?mode=pair", "/runs",
                     "/runs/new", f"/runs/{row[0][1]}", "/learn"):  # fmt: skip
            page.goto(address + path)
            page.wait_for_timeout(400)
            page.evaluate(AXE)
            faults = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
            violations += [
                (path, violation["id"], node["html"][:140])
                for violation in faults
                for node in violation["nodes"][:2]
            ]
        context.close()
    assert violations == []


@pytest.mark.parametrize("width", [360, 1280, 3840])
def test_nothing_is_wider_than_the_screen(page: Page, address: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    for path in ("/", "/rate", "/rate?mode=four", "/runs", "/runs/new", "/learn", "/sheet"):
        page.goto(address + path)
        page.wait_for_timeout(150)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, path


def test_pictures_can_be_veiled_until_hovered(page: Page, address: str) -> None:
    opened(page, address)
    page.keyboard.press("b")
    blurred = "getComputedStyle(document.querySelectorAll('.tile img')[3]).filter"
    assert "blur" in page.evaluate(blurred)
    page.reload()
    page.wait_for_selector(".tile:visible")
    assert "blur" in page.evaluate(blurred)


def test_signing_in_with_the_token(page: Page, archive: Path) -> None:
    admission = Admission(tokens={Role.GUEST: "a long enough token"})
    with served(archive, admission=admission) as address:
        page.goto(f"{address}/rate")
        assert page.url.endswith("/login?next=/rate")
        page.fill("[name=token]", "wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector(".login [role=alert]")
        admission._guesses.clear()
        page.fill("[name=token]", "a long enough token")
        page.keyboard.press("Enter")
        page.wait_for_selector("#stage img")
        assert page.url == f"{address}/rate"
        assert page.inner_text(".bar nav").split() == [
            "Browse",
            "Rate",
            "Sheet",
            "Contents",
            "Learn",
        ]
        page.click(".who summary")
        assert page.locator("text=Sign out everywhere").count() == 0
        page.click("text=Sign out")
        page.wait_for_url("**/login")


def test_the_link_of_the_terminal_lets_in_without_typing(page: Page, archive: Path) -> None:
    """And nothing of it stays in the address, nor anything to go back to."""
    admission = Admission()
    with served(archive, admission=admission) as address:
        link = f"{address}/login#{admission.new_link()}"
        page.goto(link)
        page.wait_for_selector(".tile:visible")
        assert page.url == f"{address}/"
        page.go_back()
        assert "#" not in page.url
        page.goto(f"{address}/rate")
        page.click(".who summary")
        page.click("text=Sign out everywhere")
        page.wait_for_url("**/login")
        page.goto(link)
        page.wait_for_selector("text=This link was used")
        assert "#" not in page.url


def test_who_is_in_and_comes_from_another_site_stays_in(
    page: Page, archive: Path, tmp_path: Path
) -> None:
    """Browsers send no strict cookie with the first request of such a visit."""
    admission = Admission()
    with served(archive, admission=admission) as address:
        page.goto(f"{address}/login#{admission.new_link()}")
        page.wait_for_selector(".tile:visible")
        letter = tmp_path / "letter.html"
        letter.write_text(f'<a href="{address}/rate">rate these</a>')
        page.goto(letter.as_uri())
        page.click("text=rate these")
        page.wait_for_selector("#stage img")
        assert page.url == f"{address}/rate"


def test_the_page_says_that_nobody_answers_and_what_is_safe(page: Page, archive: Path) -> None:
    with served(archive) as address:
        port = int(address.rpartition(":")[2])
        opened(page, address, SWEEP_Q)
    page.keyboard.press("Home")
    for key in ("3", "x"):
        page.keyboard.press(key)
    wait(page, lambda: "2 ratings are kept" in page.inner_text("#away"))
    assert page.inner_text("#away") == (
        "safelight is not running. Your 2 ratings are kept here. Start it again with: safelight"
        " serve"
    )
    page.fill("#q", "lighthouse")
    page.keyboard.press("Enter")
    page.wait_for_selector("body:not(.busy)")
    assert page.inner_text("#fault") == ""
    assert page.get_attribute("#q", "aria-invalid") is None
    with served(archive, port=port):
        wait(page, lambda: not page.is_visible("#away"), 20)
        wait(page, lambda: len(ratings(archive)) == 2, 20)


def test_ratings_wait_while_one_is_signed_out(page: Page, archive: Path) -> None:
    admission = Admission()
    with served(archive, admission=admission) as address:
        page.goto(f"{address}/login#{admission.new_link()}")
        page.wait_for_selector(".tile:visible")
        admission.sessions.end_all()
        page.keyboard.press("Home")
        page.keyboard.press("4")
        wait(page, lambda: "You are signed out. Your 1 rating is kept" in page.inner_text("#away"))
        assert ratings(archive) == {}
        other = page.context.new_page()
        other.goto(f"{address}/login#{admission.new_link()}")
        other.wait_for_selector(".tile:visible")
        eventually(lambda: len(ratings(archive)) == 1)


def test_signing_out_ends_what_a_page_listens_to(archive: Path) -> None:
    admission = Admission()
    with served(archive, admission=admission) as address:
        bearer = {"authorization": f"Bearer {admission.by_link(admission.new_link())}"}
        with httpx.stream("GET", f"{address}/events", headers=bearer, timeout=60) as news:
            lines = news.iter_lines()
            assert next(lines) == "retry: 1000"
            admission.sessions.end_all()
            assert list(lines)  # and no more: it ends
