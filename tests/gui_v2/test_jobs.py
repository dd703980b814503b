"""What people come for, each with the keys, clicks and touches that it may take at most."""

from __future__ import annotations

import base64
import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gui_v2.light_table import SWEEP, draw, served
from gui_v2.test_doors import DROP
from gui_v2.test_light_table_page import opened, shown, wait
from safelight.application.discarding import in_trash
from safelight.application.handing_over import ToHandOver
from safelight.archive import Archive
from safelight.imports.folder_import import import_folders
from safelight.learning.ratings import Identity, RatingEvent, current_ratings
from safelight.web import hand_over

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

IMPORTED = Path(__file__).parents[1] / "data" / "imports"
SMALL = 12_000
"""Bytes of the pictures of other tools that are taken."""

TEXT = """{prompt}
Steps: 24, Sampler: Euler a, CFG scale: 6, Seed: {seed}, Size: 32x32, Model: dreamshaper_8"""


def imported(archive: Path, folder: Path) -> Path:
    summary = import_folders([folder], Archive(archive))
    assert summary.imported > 0
    return archive


@pytest.fixture(scope="module")
def imports_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of a dozen pictures that other tools made."""
    home = tmp_path_factory.mktemp("imports")
    (home / "pictures").mkdir()
    small = [path for path in sorted(IMPORTED.rglob("*.png")) if path.stat().st_size < SMALL]
    for path in small[:12]:
        shutil.copy(path, home / "pictures" / path.name)
    return imported(home / "archive", home / "pictures")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of our own runs and of imports, of which ten are the best and four are rejects."""
    home = tmp_path_factory.mktemp("mixed")
    for seed in range(24):
        prompt = "a lighthouse at dusk" if seed % 2 else "a fox in the snow"
        weight = (0.4, 0.7, None)[seed % 3]
        info = PngInfo()
        lora = f" <lora:ink:{weight}>" if weight else ""
        info.add_text("parameters", TEXT.format(prompt=prompt + lora, seed=seed))
        path = home / "pictures" / f"{seed}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (32, 32), (10 * seed, 40, 90)).save(path, pnginfo=info)
    archive = imported(home / "archive", home / "pictures")
    draw(archive, SWEEP)
    rows = Archive(archive).query(columns=["sha256"], sort="timestamp", limit=None).rows
    with Archive(archive).ratings() as store:
        for place, (sha256,) in enumerate(rows):
            image = Identity(sha256=sha256)
            kind, value = ("stars", 5) if place < 10 else ("reject", True)
            if place < 14:
                store.add(RatingEvent.now(kind, image, value=value))
    return archive


@pytest.fixture(scope="module")
def table(mixed: Path) -> Iterator[str]:
    with served(mixed) as address:
        yield address


@dataclass
class Hand:
    """Somebody at the page, whose keys, clicks and touches are counted."""

    page: Page
    did: int = 0

    def key(self, name: str) -> None:
        self.page.keyboard.press(name)
        self.did += 1

    def writes(self, text: str) -> None:
        self.page.keyboard.type(text)
        self.did += len(text)

    def says(self, text: str) -> None:
        """Write what nobody could shorten: a name, a tag, a note."""
        self.page.keyboard.type(text)
        self.did += 1

    def click(self, selector: str) -> None:
        self.page.locator(f"{selector} >> visible=true").first.click()
        self.did += 1

    def tap(self, selector: str) -> None:
        self.page.locator(f"{selector} >> visible=true").first.tap()
        self.did += 1


@pytest.fixture(scope="module")
def desk(browser: Browser) -> Iterator[Page]:
    """One page for all that is done with a mouse and keys."""
    yield from _page(browser, viewport={"width": 1440, "height": 900})


@pytest.fixture(scope="module")
def phone(browser: Browser) -> Iterator[Page]:
    yield from _page(browser, viewport={"width": 390, "height": 844}, has_touch=True)


def _page(browser: Browser, **options: Any) -> Iterator[Page]:
    context = browser.new_context(reduced_motion="reduce", accept_downloads=True, **options)
    page = context.new_page()
    page.set_default_timeout(180_000)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    context.close()
    assert faults == []


def test_the_lighthouses_with_a_lora_at_a_weight_are_found(desk: Page, table: str) -> None:
    opened(desk, table)
    hand = Hand(desk)
    hand.key("/")
    hand.writes("lighth")
    hand.key("Enter")
    wait(desk, lambda: desk.inner_text("#count").startswith("18 "))
    hand.click("#facets button[aria-label='Weights of ink']")
    hand.click("#facets .weights a:has-text('0.7')")
    wait(desk, lambda: desk.inner_text("#count").startswith("4 "))
    assert len(shown(desk)) == 4
    assert hand.did <= 14


def test_the_best_go_into_one_file(desk: Page, table: str, tmp_path: Path) -> None:
    opened(desk, table)
    hand = Hand(desk)
    hand.click("#facets a[data-clause*='stars >= 5']")
    wait(desk, lambda: desk.inner_text("#count") == "10 pictures")
    hand.click("#hand-over")
    with desk.expect_download() as told:
        hand.click("dialog button:has-text('Download')")
    told.value.save_as(tmp_path / "best.zip")
    assert (tmp_path / "best.zip").stat().st_size > 0
    assert hand.did <= 4


@pytest.mark.parametrize("by", ["mouse", "touch"])
def test_rejects_are_got_rid_of(by: str, desk: Page, phone: Page, mixed: Path, table: str) -> None:
    page = desk if by == "mouse" else phone
    opened(page, table)
    hand = Hand(page)
    act = hand.click if by == "mouse" else hand.tap
    if by == "touch":  # the facets are in a drawer there
        act("#facets-toggle")
    act("#facets a[data-clause='rejected = true']")
    wait(page, lambda: page.inner_text("#count") == "4 pictures")
    if by == "touch":
        page.touchscreen.tap(384, 500)  # beside the drawer
        hand.did += 1
    act("#discard")
    act("dialog button:has-text('Move to trash')")
    page.wait_for_selector("#notices :has-text('4 files moved to the trash.')")
    assert len(in_trash(Archive(mixed))) == 4
    page.click("#notices button:has-text('Undo')")
    wait(page, lambda: not in_trash(Archive(mixed)))
    assert hand.did <= (3 if by == "mouse" else 5)


@pytest.mark.parametrize(
    ("what", "holds"),
    [("tag", lambda rating: rating.tags == ("golden hour",)),
     ("note", lambda rating: "soft" in rating.notes.values()),
     ("album", lambda rating: rating.albums == ("best",))],
)  # fmt: skip
def test_one_picture_gets_a_tag_a_note_an_album(
    what: str, holds: Callable[[Any], bool], desk: Page, mixed: Path, table: str
) -> None:
    opened(desk, table, "fox")
    first = shown(desk)[0]
    desk.keyboard.press("Home")
    hand = Hand(desk)
    if what == "album":
        hand.key("c")
        hand.click("#selection button:has-text('Album')")
        desk.wait_for_selector("dialog input[name=name]")
    else:
        hand.key("t")
        desk.wait_for_selector("dialog input[name=tags]")
    if what == "note":
        desk.keyboard.press("Tab")  # by hand it is one touch of the field
        desk.focus("dialog textarea")
    hand.says({"tag": "golden hour", "note": "soft", "album": "best"}[what])
    if what == "note":
        hand.click("dialog button:has-text('Save')")
    else:
        desk.keyboard.press("Enter")  # ends what was written

    def said() -> bool:
        now = current_ratings(Archive(mixed).ratings().events())
        return any(i.sha256 == first and holds(rating) for i, rating in now.items())

    wait(desk, said)
    assert hand.did <= 3


def test_nothing_overlaps_what_is_selected(desk: Page, table: str) -> None:
    """However wide the screen: all that can be done is seen or reached, and notices stand clear."""
    opened(desk, table)
    for width, height in ((1440, 900), (1024, 768), (390, 844), (3840, 2160)):
        desk.set_viewport_size({"width": width, "height": height})
        desk.keyboard.press("Escape")
        desk.keyboard.press("Home")
        desk.keyboard.press("c")
        desk.keyboard.press("f")
        desk.wait_for_selector("#notices p:has-text('favourite')")
        boxes = desk.evaluate(
            """() => [...document.querySelectorAll(
                "#selection .selected, #selection button, #selection a, #notices p"
              )].filter((one) => one.offsetParent || one.closest("#notices")).map((one) => {
                const box = one.getBoundingClientRect();
                return [box.left, box.top, box.right, box.bottom, one.textContent];
              })"""
        )
        for place, one in enumerate(boxes):
            for other in boxes[place + 1 :]:
                apart = (
                    one[2] <= other[0] + 1 or other[2] <= one[0] + 1
                    or one[3] <= other[1] + 1 or other[3] <= one[1] + 1
                )  # fmt: skip
                assert apart or width < 640, f"{width}: {one} and {other}"
        notices = [box for box in boxes if "favourite" in box[4] and "pictures" in box[4]]
        bar = desk.locator("#selection").bounding_box()
        assert bar is not None
        assert all(box[3] <= bar["y"] + 1 for box in notices)
        desk.evaluate("document.querySelector('#notices').replaceChildren()")
    desk.set_viewport_size({"width": 1440, "height": 900})


def test_a_faulty_filter_is_told_in_words_where_it_is_downloaded(desk: Page, table: str) -> None:
    opened(desk, table)
    desk.goto(f"{table}/?q=stepz > 3")
    desk.click("#hand-over")
    desk.wait_for_selector("#notices p:has-text(\"there is no column 'stepz'; did you mean\")")


def test_what_takes_long_shows_how_far_it_is(
    desk: Page, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that are moved, and a download, which can be broken off."""
    opened(desk, table, "fox")
    desk.route("**/api/trash/progress", lambda r: r.fulfill(json={"done": 1200, "of": 5000}))

    def after_a_while(route: Any) -> None:
        desk.wait_for_selector("#notices p:has-text('1,200 of 5,000 files')")
        route.fulfill(json={"files": 0, "left": [], "left_count": 0, "discard": "x"})

    desk.route("**/api/trash", after_a_while)
    desk.keyboard.press("Home")
    desk.keyboard.press("c")
    desk.click("#selection [data-action=trash]")
    desk.click("dialog button:has-text('Move to trash')")
    desk.wait_for_selector("#notices p:has-text('0 files moved')")
    assert desk.locator(".progress-line").count() == 0
    desk.unroute("**/api/trash")

    going: list[ToHandOver] = []

    def endless(carried: Any, chosen: ToHandOver, how: Any) -> Iterator[bytes]:
        del carried, how
        going.append(chosen)
        chosen.files = 3
        while True:
            yield bytes(1000)

    monkeypatch.setattr(hand_over, "zipped", endless)
    name = "a" * 32
    with httpx.Client(base_url=table) as client, contextlib.suppress(httpx.RemoteProtocolError):
        with client.stream("POST", "/hand-over", data={"q": "fox", "name": name}) as answer:
            parts = answer.iter_bytes()
            next(parts)
            told = httpx.get(f"{table}/api/hand-over/progress", params={"name": name}).json()
            assert told == {"files": 3, "of": 12}
            httpx.post(f"{table}/api/hand-over/cancel", json={"name": name}).raise_for_status()
            for _ in parts:
                pass
        pytest.fail("a download that was cancelled looks whole")
    told = httpx.get(f"{table}/api/hand-over/progress", params={"name": name}).json()
    assert told == {"files": None, "of": None}


def test_imports_alone_are_found_rated_and_dropped_in(
    desk: Page, imports_only: Path, mixed: Path
) -> None:
    """No run of ours is needed for anything: a dropped picture shows its settings at once."""
    dropped = next((mixed.parent / "pictures").iterdir()).read_bytes()
    with served(imports_only) as address:
        opened(desk, address)
        count = len(shown(desk))
        assert count >= 8
        assert desk.evaluate(DROP, [base64.b64encode(dropped).decode(), "mine.png"])
        desk.wait_for_selector("dialog.dropped .facts:has-text('dreamshaper_8')")
        desk.keyboard.press("Escape")
        for view in ("/rate", "/learn", "/runs"):
            desk.goto(address + view)
            desk.wait_for_load_state("load")
            assert desk.locator("main a, main button").count() > 0


def test_an_empty_archive_has_no_dead_end(desk: Page, tmp_path: Path) -> None:
    """From every view the three ways in are reached."""
    with served(tmp_path / "archive") as address:
        for view in ("/", "/rate", "/learn", "/runs", "/sheet", "/contents", "/trash"):
            desk.goto(address + view)
            desk.wait_for_load_state("load")
            if view != "/":
                desk.locator("a[href='/']").first.click()
            desk.wait_for_selector(".door")
            assert desk.locator(".door").count() == 3
