"""Learn and Rate say that they think, go on as soon as there is an answer, and swallow no key."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from gui_v2.light_table import SWEEP, draw, served
from gui_v2.test_light_table_page import eventually, ratings, wait
from safelight.archive import Archive
from safelight.learning.ratings import Identity, RatingEvent

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
PICTURES = 60
WAIT = {"prefer": "wait=300"}
READY = "#stage:not([aria-busy]) img"


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive with more pictures than are chosen at once."""
    archive = tmp_path_factory.mktemp("many") / "archive"
    draw(archive, {**SWEEP, "randomizer": {**SWEEP["randomizer"], "seeds_per_variant": 10}})
    return archive


@pytest.fixture
def archive(many: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(many, tmp_path / "archive"))


@pytest.fixture
def address(archive: Path) -> Iterator[str]:
    """Where it is served, its other process started already."""
    with served(archive) as url:
        yield url


def process_of(archive: Path) -> int | None:
    """Return the process that works things out about *archive*."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"safelight.web.answering" in words and str(archive).encode() in words:
                return int(folder.name)
    return None


@contextlib.contextmanager
def thinking(address: str, archive: Path) -> Iterator[None]:
    """Hold what is worked out until the block ends."""
    httpx.get(f"{address}/api/next-to-rate?rater=nobody", headers=WAIT, timeout=300)
    number = process_of(archive)
    assert number is not None
    os.kill(number, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(number, signal.SIGCONT)


def was_rated(page: Page, number: int) -> None:
    """Wait until the page says that it has rated as many."""
    wait(page, lambda: f"{number} rated now" in page.inner_text("#status"))


def rate_all(archive: Path, rater: str) -> None:
    rows = Archive(archive).query(columns=["sha256", "steps", "cfg_scale"], limit=None).rows
    with Archive(archive).ratings() as store:
        for sha256, steps, cfg in rows:
            value = (4 if steps == 4 else 2) + (cfg == 3)
            store.add(RatingEvent.now("stars", Identity(sha256=sha256), value=value, rater=rater))


def test_learn_is_there_at_once_and_its_answer_follows(
    page: Page, address: str, archive: Path
) -> None:
    """With a sign that it thinks; what was typed meanwhile stays."""
    rate_all(archive, "ann")
    with thinking(address, archive):
        page.goto(f"{address}/learn")
        assert "Working out what your ratings say" in page.inner_text("#learned [role=status]")
        page.fill("input[type=search]", "steps > 2")
        plain = httpx.get(f"{address}/learn", timeout=60).text
        assert '<noscript><meta http-equiv="refresh" content="3; url=/learn?kept=1">' in plain
    page.wait_for_selector("#learned:not([aria-busy])")
    assert f"{PICTURES} ratings by ann of {PICTURES} pictures" in page.inner_text("main")
    assert page.input_value("input[type=search]") == "steps > 2"
    assert page.locator("#learned [role=status]").count() == 0
    assert httpx.get(f"{address}/learn?kept=1", timeout=60).text.count("noscript") == 0


def test_the_last_answer_stands_until_the_new_one_is_there(
    page: Page, address: str, archive: Path
) -> None:
    rate_all(archive, "ann")
    page.goto(f"{address}/learn")
    page.wait_for_selector("#learned:not([aria-busy])")
    rate_all(archive, "bob")
    with thinking(address, archive):
        page.reload()
        told = page.inner_text("#learned [role=status]")
        assert told.startswith("From 60 ratings ago; a new answer is being worked out…")
        assert "60 ratings by ann" in page.inner_text("main")
        page.evaluate("scrollTo(0, 200)")
        next_step = "document.querySelector('.next-step').getBoundingClientRect().top"
        before = page.evaluate(next_step)
    page.wait_for_selector("#learned:not([aria-busy])")
    assert "120 ratings by ann and bob" in page.inner_text("main")
    assert abs(page.evaluate(next_step) - before) < 2  # what is read stays where it is


def test_a_key_before_there_is_a_picture_is_told_to_have_done_nothing(
    page: Page, address: str, archive: Path
) -> None:
    held: list[Route] = []
    page.route("**/api/next-to-rate?*", lambda route: held.append(route))
    page.goto(f"{address}/rate")
    wait(page, lambda: bool(held))
    assert "Choosing what teaches most…" in page.inner_text("#stage")
    for key in ("5", "x", "s"):
        page.keyboard.press(key)
    assert "3 keys did nothing" in page.inner_text("#stage")
    for route in held:
        route.continue_()
    page.unroute("**/api/next-to-rate?*")
    page.wait_for_selector(READY)
    page.keyboard.press("4")
    wait(page, lambda: [rating.stars for rating in ratings(archive).values()] == [4])
    assert not any(rating.rejected for rating in ratings(archive).values())


def test_more_is_asked_for_while_there_is_enough(page: Page, address: str, archive: Path) -> None:
    """When 15 are left; and who rates on comes to the end without a key that was in vain."""
    asked: list[str] = []
    page.on("request", lambda made: asked.append(made.url) if "next-to" in made.url else None)
    with page.expect_response("**/api/next-to-rate?*kept=1*"):  # the choice, after those by chance
        page.goto(f"{address}/rate")
    page.wait_for_selector(READY)
    first = len(asked)
    for number in range(1, 26):
        page.keyboard.press("3")
        was_rated(page, number)
        page.wait_for_selector(READY)
    assert len(asked) == first
    with thinking(address, archive):
        for number in range(26, 36):
            page.keyboard.press("3")
            was_rated(page, number)
            page.wait_for_selector(READY)
        assert len(asked) == first + 1
    for _ in range(36, PICTURES + 1):
        page.wait_for_selector(READY)
        page.keyboard.press("3")
        wait(page, lambda: not page.locator("#stage[aria-busy]").count(), 60)
    wait(page, lambda: f"Done: {PICTURES} rated" in page.inner_text("#stage"), 60)
    eventually(lambda: len(ratings(archive)) == PICTURES)


def test_a_picture_that_is_dimmed_is_not_rated(page: Page, address: str, archive: Path) -> None:
    """The last one stays, dimmed, until the next is there; its own rating stands."""
    rows = Archive(archive).query(columns=["sha256"], limit=None).rows
    with Archive(archive).ratings() as store:
        for (sha256,) in rows[:-2]:
            store.add(RatingEvent.now("stars", Identity(sha256=sha256), value=1, rater=""))
    page.goto(f"{address}/rate")
    page.wait_for_selector(READY)
    with thinking(address, archive):
        page.keyboard.press("5")
        wait(page, lambda: "1 rated now" in page.inner_text("#status"))
        page.wait_for_selector(READY)
        page.keyboard.press("5")
        page.wait_for_selector("#stage[aria-busy] .empty-text")
        page.keyboard.press("2")
        assert "That key did nothing" in page.inner_text("#stage")
    wait(page, lambda: "Every picture here has been rated" in page.inner_text("#stage"), 60)
    page.keyboard.press("1")
    assert "There is nothing to rate here." in page.inner_text("#notices")
    mine = {row[0] for row in rows[-2:]}
    eventually(lambda: {ratings(archive)[d].stars for d in mine if d in ratings(archive)} == {5})
