"""Fifty pictures are fifty keys, in Rate, in the grid and in the view of one, and fifty touches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gui_v2.light_table import served
from gui_v2.test_light_table_page import eventually, wait
from gui_v2.test_waiting_pages import READY, thinking
from safelight.archive import Archive
from safelight.cli import main
from safelight.imports.folder_import import import_folders
from safelight.learning.ratings import RatingEvent

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PICTURES = 290
LOADED = """performance.getEntriesByType("resource")
  .filter((one) => /pictures.[0-9a-f]{64}/.test(one.name)).length"""
SHOWN = "document.querySelector('#stage [data-digest]')?.dataset.digest"
LOOKED_AT = "(one => one.complete && one.naturalWidth)(document.querySelector('img.zoomed'))"
TARGETS = """(within) => [...document.querySelectorAll(within)]
  .filter((one) => one.offsetParent && !one.hidden)
  .map((one) => [one.textContent.trim() || one.ariaLabel, one.getBoundingClientRect()])
  .filter(([, box]) => box.width < 44 || box.height < 44 || box.right > 391 || box.bottom > 845)
  .map(([name, box]) => `${name}: ${box.width} x ${box.height}, to ${box.right}, ${box.bottom}`)"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of another tool, no two of one prompt, none rated."""
    folder = tmp_path_factory.mktemp("outputs")
    for number in range(PICTURES):
        about = PngInfo()
        steps = 20 + number % 4 if number else 99
        about.add_text("parameters", f"prompt {number}\nSteps: {steps}, Seed: {number}")
        colour = (number % 256, 255 - number % 256, 128)
        Image.new("RGB", (48, 32), colour).save(folder / f"{number:03}.png", pnginfo=about)
    archive = tmp_path_factory.mktemp("imports") / "archive"
    import_folders([folder], Archive(archive))
    return archive


@pytest.fixture(scope="module")
def address(imported: Path) -> Iterator[str]:
    with served(imported) as url:
        yield url


@pytest.fixture(scope="module")
def table(browser: Browser) -> Iterator[Page]:
    """One page for all; what it complains of fails the last test."""
    opened = browser.new_page(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    opened.set_default_timeout(180_000)
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    yield opened
    opened.close()
    assert faults == []


def events(archive: Path, kind: str) -> list[RatingEvent]:
    return [event for event in Archive(archive).ratings().events() if event.kind == kind]


def stars(archive: Path) -> dict[str, int]:
    """Return the stars of every picture, said once."""
    said = [(event.image.sha256, event.value) for event in events(archive, "stars") if event.image]
    assert len(said) == len(dict(said))
    return dict(said)  # type: ignore[arg-type]


def test_fifty_keys_at_ten_a_second_rate_fifty_pictures(
    table: Page, address: str, imported: Path
) -> None:
    """Each the one that was on the screen, and none of them was waited for."""
    table.goto(f"{address}/rate?q=steps+%3C+90")
    table.wait_for_selector(READY)
    wait(table, lambda: table.evaluate(LOADED) >= 15)  # a second and a half of keys
    assert table.locator(".choices kbd").all_inner_texts() == ["1–5", "X", "F", "T", "S", "←", "U"]
    given = {}
    for number in range(50):
        assert not table.locator("#stage[aria-busy]").count()
        given[table.evaluate(SHOWN)] = 1 + number % 5
        table.keyboard.press(str(1 + number % 5), delay=10)
        table.wait_for_timeout(80)
    assert table.inner_text("#status") == "50 rated now"
    eventually(lambda: stars(imported) == given, 300)
    assert len(given) == 50


def test_while_the_next_are_worked_out_others_are_rated(
    table: Page, address: str, imported: Path
) -> None:
    """Unrated ones from the whole archive, as fast as keys come; none of them twice."""
    before = stars(imported)
    with thinking(address, imported):
        table.goto(f"{address}/rate?q=steps+%3C+90")
        table.wait_for_selector(READY)
        given = {}
        for _ in range(50):
            table.wait_for_selector(READY)
            given[table.evaluate(SHOWN)] = 2
            table.keyboard.press("2")
        assert table.inner_text("#status") == "50 rated now"
        eventually(lambda: stars(imported) == before | given, 300)
    assert len(given) == 50
    assert not given.keys() & before.keys()


def test_what_is_passed_over_is_kept_and_comes_last(
    table: Page, address: str, imported: Path
) -> None:
    """At the page and in the command; undo takes it back, and a skipped picture is not rated."""
    table.goto(f"{address}/rate?q=steps+%3C+90")
    table.wait_for_selector(READY)
    passed = []
    for key in ("s", "ArrowRight", "k", "s"):
        passed.append(table.evaluate(SHOWN))
        table.keyboard.press(key)
        table.wait_for_selector(READY)
    assert table.inner_text("#status") == "0 rated now, 4 skipped"
    table.keyboard.press("u")
    assert table.evaluate(SHOWN) == passed.pop()
    assert table.inner_text("#status") == "0 rated now, 3 skipped"
    eventually(lambda: len(events(imported, "undo")) == 1)
    assert [event.shown[0].sha256 for event in events(imported, "seen")][:3] == passed
    command = ["rate", "--next", "--json", "--n", "200", "--archive", str(imported)]
    listed = json.loads(CliRunner().invoke(main, command).stdout)["pictures"]
    order = [picture["sha256"] for picture in listed]
    unrated = PICTURES - len(stars(imported))
    assert len(order) == min(200, unrated)
    last = set(order[-3:]) if unrated <= 200 else set(passed) - set(order)
    assert last == set(passed)
    table.keyboard.press("ArrowLeft")
    assert table.evaluate(SHOWN) == passed[-1]
    table.keyboard.press("s")  # not said twice
    table.wait_for_selector(READY)
    table.goto(f"{address}/rate?q=steps+%3D+99")
    table.wait_for_selector(READY)
    table.keyboard.press("s")
    again = table.get_by_role("button", name="Show again")
    again.click()
    table.wait_for_selector(READY)
    table.keyboard.press("5")
    table.wait_for_selector("text=Done: 1 rated. Every picture here has been rated.")
    eventually(lambda: len(events(imported, "seen")) == 5)


def test_a_key_that_is_held_down_counts_once(table: Page, address: str, imported: Path) -> None:
    table.goto(f"{address}/rate?q=steps+%3C+90")
    table.wait_for_selector(READY)
    before = len(stars(imported))
    for _ in range(5):
        table.keyboard.down("3")
    table.keyboard.up("3")
    table.wait_for_selector("text=A key that is held down counts once.")
    assert table.inner_text("#status") == "1 rated now"
    eventually(lambda: len(stars(imported)) == before + 1)


def test_fifty_keys_in_the_grid_and_fifty_in_the_viewer(
    table: Page, address: str, imported: Path
) -> None:
    """Also beyond the pages that were there at first; ``A`` makes rating stay."""
    table.goto(f"{address}/?q=stars+is+missing&sort=seed")
    table.wait_for_selector(".tile img.there")
    rows = Archive(imported).query("stars is missing", sort="seed", limit=None).dicts()
    order = [row["sha256"] for row in rows]
    before = stars(imported)
    keys = [str(1 + number % 5) for number in range(80)]
    table.keyboard.press("Home")
    for key in keys[:50]:
        table.keyboard.press(key)
    table.keyboard.press("Enter")
    for key in keys[50:]:
        wait(table, lambda: table.evaluate(LOOKED_AT))
        table.keyboard.press(key)
    given = dict(zip(order, map(int, keys), strict=False))
    eventually(lambda: stars(imported) == before | given, 300)
    table.keyboard.press("a")
    at = table.url
    table.keyboard.press("x")
    eventually(lambda: len(events(imported, "reject")) == 1)
    assert table.url == at
    table.keyboard.press("u")
    table.keyboard.press("a")


def test_fifty_touches_rate_fifty_pictures(browser: Browser, address: str, imported: Path) -> None:
    """And a wipe goes on; whatever keys do has a place of 44 pixels on a phone."""
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    for mode in ("four", "pair", "one"):
        page.goto(f"{address}/rate?mode={mode}")
        page.wait_for_selector(READY)
        assert page.evaluate(TARGETS, "#rate button, #rate a, #rate input") == []
    before = stars(imported)
    box = page.get_by_role("button", name="4 stars").bounding_box()
    assert box
    given = {}
    for _ in range(50):
        page.wait_for_selector(READY)
        given[page.evaluate(SHOWN)] = 4
        page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    eventually(lambda: stars(imported) == before | given, 300)
    assert len(given) == 50
    page.wait_for_selector(READY)
    first, passed = page.evaluate(SHOWN), len(events(imported, "seen"))
    touch = context.new_cdp_session(page)
    for kind, x in (("touchStart", 300), ("touchMove", 180), ("touchEnd", None)):
        points = [] if x is None else [{"x": x, "y": 300}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    wait(page, lambda: page.evaluate(SHOWN) != first)
    eventually(lambda: len(events(imported, "seen")) == passed + 1)
    page.goto(address)
    page.tap(".tile >> nth=0")
    page.wait_for_selector(".viewer-bar .star")
    assert page.evaluate(TARGETS, ".viewer-bar button") == []
    context.close()


def test_a_key_that_stands_for_two_things_is_told_and_all_are_put_back(
    table: Page, address: str
) -> None:
    table.goto(address)
    table.wait_for_selector(".tile img.there")
    table.keyboard.press("?")
    reject = table.locator("dialog.keys dl > div", has_text="Reject")
    reject.locator("button").click()
    table.keyboard.press("1")
    assert table.inner_text("dialog.keys [role=status]").startswith("1 also stands for: 1 star")
    table.click("dialog.keys button:has-text('Usual keys')")
    assert reject.locator("kbd").all_inner_texts() == ["X", "Delete"]
    assert table.evaluate("localStorage.getItem('safelight.keys')") == "{}"
    table.keyboard.press("Escape")


def test_one_left_out_of_all_says_what_stays_selected(table: Page, address: str) -> None:
    table.goto(address)
    table.wait_for_selector(".tile img.there")
    table.keyboard.press("Control+a")
    table.wait_for_selector(f".selected:has-text('{PICTURES} selected')")
    table.keyboard.press("Home")
    table.keyboard.press("c")
    table.wait_for_selector(f"#notices :has-text('Of all {PICTURES}, only those')")


def test_a_reject_is_seen_again_and_one_thing_is_told_once(table: Page, address: str) -> None:
    table.goto(f"{address}/rate?q=not+rejected+%3D+true")
    reject = table.locator(".choices button:has-text('Reject')")
    for _ in range(2):
        rated = table.wait_for_selector("#stage:not([aria-busy]) [data-digest]")
        assert rated is not None
        name = rated.get_attribute("data-digest")
        table.keyboard.press("x")
        table.wait_for_selector(
            f"#stage:not([aria-busy]) [data-digest]:not([data-digest='{name}'])"
        )
        assert reject.get_attribute("aria-pressed") == "false"
    table.keyboard.press("ArrowLeft")
    assert reject.get_attribute("aria-pressed") == "true"
    table.keyboard.press("u")
    table.keyboard.press("u")
    table.wait_for_selector("#notices p")
    assert table.locator("#notices p").all_inner_texts() == ["Undone."]
    assert reject.get_attribute("aria-pressed") == "false"


def test_nothing_to_rate_is_said_as_it_is(table: Page, tmp_path: Path) -> None:
    with served(tmp_path / "empty") as url:
        table.goto(f"{url}/rate")
        table.wait_for_selector("text=There are no pictures here yet.")
        table.goto(f"{url}/rate?mode=pair")
        table.wait_for_selector("text=There are no pictures here yet.")
        table.goto(f"{url}/rate?q=stars+%3E")
        change = table.get_by_role("link", name="Change the filter")
        change.wait_for()
        assert table.inner_text("#stage").startswith("The filter ends where a value is expected")
        assert change.get_attribute("href") == "/?q=stars+%3E"
