"""Finding in the page: what the field offers, what is set, and the facets, by keys and by touch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from archives import held_in_memory
from gui_v2.light_table import served
from gui_v2.test_light_table_page import SWEEP_Q, opened, shown, wait
from safelight.archive import Archive
from safelight.filter_completion import complete
from safelight.learning.ratings import Identity, RatingEvent
from safelight.web import completing

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture
def phone(browser: Browser) -> Iterator[Page]:
    """A narrow screen that is touched."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    yield context.new_page()
    context.close()


def offered(page: Page) -> list[str]:
    return page.locator("#completions li > span").all_inner_texts()


def test_the_field_offers_columns_values_and_tags(page: Page, address: str, archive: Path) -> None:
    """By keys alone: Tab takes the first, arrows choose, Enter searches, Escape closes."""
    (digest,) = Archive(archive).query(SWEEP_Q, columns=["sha256"], limit=1).rows[0]
    with Archive(archive).ratings() as store:
        tagged = RatingEvent.now("tags", Identity(sha256=digest), added=("hands",), rater="ann")
        store.add(tagged)
    opened(page, address)
    page.click("#q")
    page.keyboard.type("samp")
    wait(page, lambda: offered(page) == ["sampler"])
    page.keyboard.press("Tab")
    wait(page, lambda: "has" in offered(page))
    assert page.input_value("#q") == "sampler "
    page.keyboard.type("= ")
    wait(page, lambda: "'Euler a'" in offered(page))
    place = offered(page).index("'Euler a'")
    for _ in range(place + 1):
        page.keyboard.press("ArrowDown")
    active = page.get_attribute("#q", "aria-activedescendant")
    assert page.inner_text(f"#{active} > span") == "'Euler a'"
    page.keyboard.press("Enter")
    assert page.input_value("#q") == "sampler = 'Euler a' "
    assert page.get_attribute("#q", "aria-expanded") == "false"
    page.keyboard.type("han")
    wait(page, lambda: offered(page) == ["tag = 'hands'"])
    page.keyboard.press("Escape")
    assert not page.is_visible("#completions")
    assert page.input_value("#q") == "sampler = 'Euler a' han"
    page.keyboard.press("Enter")
    wait(page, lambda: "han" in page.url)


def test_what_is_offered_and_what_is_set_can_be_touched(phone: Page, address: str) -> None:
    opened(phone, address)
    phone.tap("#q")
    phone.keyboard.type("stage = up")
    wait(phone, lambda: offered(phone) == ["'upscale'"])
    phone.tap("#completions li")
    assert phone.input_value("#q") == "stage = 'upscale' "
    phone.keyboard.press("Enter")
    wait(phone, lambda: phone.inner_text("#count") == "1 picture")
    phone.tap("#chips button")
    wait(phone, lambda: phone.inner_text("#count") == "11 pictures")
    assert phone.input_value("#q") == ""
    assert not phone.is_visible("#chips")
    phone.tap("#facets-toggle")
    wait(phone, lambda: phone.is_visible("#facets"))
    phone.touchscreen.tap(370, 600)  # beside it; no picture opens
    wait(phone, lambda: not phone.is_visible("#facets"))
    assert not phone.is_visible("#viewer")


def test_each_part_that_is_set_is_left_out_by_click_and_by_key(page: Page, address: str) -> None:
    opened(page, address, "lighthouse steps = 4 and cfg_scale > 2")
    chips = page.locator("#chips .chip > span:first-child")
    assert chips.all_inner_texts() == ["lighthouse", "steps = 4", "cfg_scale > 2"]
    page.click("#chips .chip >> nth=1")
    wait(page, lambda: chips.all_inner_texts() == ["lighthouse", "cfg_scale > 2"])
    assert page.input_value("#q") == "lighthouse and cfg_scale > 2"
    page.focus("#chips .chip >> nth=1")
    page.keyboard.press("Delete")
    wait(page, lambda: chips.all_inner_texts() == ["lighthouse"])
    assert page.evaluate("document.activeElement.className") == "chip"
    assert page.input_value("#q") == "lighthouse"


def test_a_fault_is_said_once_beside_the_field(page: Page, address: str) -> None:
    """Nothing covers the pictures, and those of before stay; a word that is no column is none."""
    opened(page, address)
    before = shown(page)
    page.fill("#q", "stepz > 3")
    page.keyboard.press("Enter")
    wait(page, lambda: "did you mean 'steps'" in page.inner_text("#fault"))
    assert page.locator("text=did you mean").count() == 1
    assert page.inner_text("#notices") == ""
    assert shown(page) == before
    page.fill("#q", "stepz")
    page.keyboard.press("Enter")
    wait(page, lambda: page.inner_text("#count") == "0 pictures")
    assert page.inner_text("#fault") == ""


def test_a_facet_lists_eight_and_the_whole_list_searches_itself(
    page: Page, address: str, archive: Path
) -> None:
    for (digest,) in Archive(archive).query(SWEEP_Q, columns=["sha256"], limit=6).rows:
        with Archive(archive).ratings() as store:
            for number in range(0, 60, 5):
                names = tuple(f"tag-{n}-{digest[:6]}" for n in range(number, number + 5))
                store.add(RatingEvent.now("tags", Identity(sha256=digest), added=names))
    opened(page, address)
    values = page.locator("[data-facet=tag] li:visible")
    wait(page, lambda: values.count() == 8)
    page.click("[data-facet=tag] .more-values")
    wait(page, lambda: values.count() == 360)
    page.keyboard.type("tag-41-")
    wait(page, lambda: values.count() == 6)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    wait(page, lambda: page.inner_text("#count") == "1 picture")


def counted(page: Page, name: str) -> list[str]:
    """Return what the facet of stars counts for *name*."""
    return page.locator(f"[data-facet=rating] a:has-text('{name}') .n").all_inner_texts()


def test_counts_follow_ratings_at_once_and_in_another_tab_that_comes_to_the_front(
    page: Page, address: str
) -> None:
    opened(page, address, SWEEP_Q)
    other = page.context.new_page()
    opened(other, address, SWEEP_Q)
    wait(other, lambda: counted(other, "not rated") == ["6"])
    page.bring_to_front()
    page.keyboard.press("Home")
    with page.expect_request(lambda request: "/api/facets?" in request.url) as asked:
        page.keyboard.press("5")
        page.keyboard.press("4")
    assert "fresh=1" in asked.value.url
    wait(page, lambda: counted(page, "4 stars and more") == ["2"])
    assert counted(page, "not rated") == ["4"]
    other.bring_to_front()
    other.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    wait(other, lambda: counted(other, "not rated") == ["4"])
    page.click("[data-facet=rating] a:has-text('and more')")
    wait(page, lambda: page.inner_text("#count") == "2 pictures")


def test_ratings_of_this_moment_count_where_they_are_asked_for(archive: Path) -> None:
    """Others may rest: they are told what was counted a moment ago."""
    with held_in_memory(archive) as held:
        (digest,) = held.query(SWEEP_Q, columns=["sha256"], limit=1).rows[0]

        def good(**how: bool) -> int:
            ratings = next(f for f in held.facets("", **how)[1] if f.name == "rating")
            return sum(value.count for value in ratings.values if value.value == "4+")

        assert good() == 0
        with Archive(archive).ratings() as store:
            store.add(RatingEvent.now("stars", Identity(sha256=digest), value=5, rater="ann"))
        held._look_again = held._rest_until = float("inf")
        assert good() == 0
        assert good(fresh=True) == 1


def test_what_was_asked_while_nobody_answered_is_asked_again(page: Page, archive: Path) -> None:
    with served(archive) as address:
        port = int(address.rpartition(":")[2])
        opened(page, address)
    wait(page, lambda: page.is_visible("#away"))
    page.fill("#q", "stage = 'upscale'")
    page.keyboard.press("Enter")
    with served(archive, port=port):
        wait(page, lambda: page.inner_text("#count") == "1 picture", 20)
    assert page.inner_text("#fault") == ""


def test_a_key_asks_the_archive_nothing(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is offered was counted before; twenty keys count nothing."""
    with held_in_memory(archive) as held:
        snapshot = completing._Snapshot(held)
        while not snapshot.is_there:
            snapshot.known(shows_places=True)
        asked: list[Any] = []
        monkeypatch.setattr(held, "facets", lambda *a, **k: asked.append(a))
        for end in range(20):
            known = snapshot.known(shows_places=True)
            complete("sampler = 'Euler a'"[:end], known)
        assert known.values["sampler"]
        assert asked == []
        assert "folder" not in snapshot.known(shows_places=False).columns
