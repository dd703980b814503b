"""Many pictures are chosen, and what is said of them is said of just these, at once."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from gui_v2.light_table import SWEEP, draw
from gui_v2.test_light_table_page import SWEEP_Q, at, opened, ratings, shown, wait
from safelight.archive import Archive
from safelight.learning.ratings import Identity, RatingEvent
from safelight.web import create_app

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture
def client(archive: Path) -> Iterator[TestClient]:
    with TestClient(create_app(archive), base_url="http://127.0.0.1") as asked:
        yield asked


def said(client: TestClient, q: str, **more: Any) -> Any:
    """Say something of all that *q* finds, and return the answer."""
    chosen = client.get("/api/chosen", params={"q": q}).json()
    body = {"event_id": secrets.token_hex(16), "q": q, "snapshot": chosen["snapshot"], **more}
    return client.post("/api/ratings/many", json=body)


def tagged(archive: Path, tag: str) -> int:
    return len(Archive(archive).query(f"tags has '{tag}'", limit=None).rows)


def test_one_order_tags_all_that_a_filter_finds(client: TestClient, archive: Path) -> None:
    answer = said(client, SWEEP_Q, says="tags", added=["fog", "golden hour"])
    assert answer.json()["count"] == 6 == tagged(archive, "fog")
    for q, count in [("tag = 'golden hour'", 6), ("tag = 'golden'", 0), ("has note", 0),
                     ("tag in ('hour', 'golden hour')", 6)]:  # fmt: skip
        assert client.get("/api/chosen", params={"q": q}).json()["count"] == count, q
    assert sorted(client.get("/api/tags").json()["tags"]) == ["fog", "golden hour"]
    facets = {each["name"]: each for each in client.get("/api/facets").json()["facets"]}
    assert {value["value"] for value in facets["tag"]["values"]} == {"fog", "golden hour"}
    (segment,) = (archive / "ratings").iterdir()
    assert segment.read_bytes().count(b"\n") == 1
    undo = RatingEvent.now("undo", undoes=answer.json()["accepted"][0])
    sent = {"events": [{"event_id": undo.event_id, "timestamp": undo.timestamp, "kind": "undo",
                        "undoes": undo.undoes}]}  # fmt: skip
    assert client.post("/api/ratings", json=sent).json()["refused"] == []
    assert tagged(archive, "fog") == 0


def test_said_twice_it_is_said_once(client: TestClient, archive: Path) -> None:
    """Who had no answer says it again, and the filter may find nothing any more by then."""
    q = f"{SWEEP_Q} and tags is missing"
    chosen = client.get("/api/chosen", params={"q": q}).json()
    body = {"event_id": "a" * 32, "q": q, "snapshot": chosen["snapshot"], "says": "tags",
            "added": ["fog"]}  # fmt: skip
    answers = [client.post("/api/ratings/many", json=body) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert tagged(archive, "fog") == 6
    (segment,) = (archive / "ratings").iterdir()
    assert segment.read_bytes().count(b"\n") == 1


def test_what_was_not_counted_is_not_touched(client: TestClient, archive: Path) -> None:
    """Another process draws between the count and the act: it is told, and nothing is done."""
    chosen = client.get("/api/chosen", params={"q": "lighthouse"}).json()
    draw(archive, {**SWEEP, "txt2img": {**SWEEP["txt2img"], "seed": 8}})
    body = {"event_id": "a" * 32, "q": "lighthouse", "says": "reject", "value": True}
    answer = client.post("/api/ratings/many", json={**body, "snapshot": chosen["snapshot"]})
    assert answer.status_code == 409
    assert answer.json()["count"] == chosen["count"] + 6
    assert not (archive / "ratings").exists()
    again = client.post("/api/ratings/many", json={**body, "snapshot": answer.json()["snapshot"]})
    assert again.json()["count"] == chosen["count"] + 6
    assert len(Archive(archive).query("rejected = true", limit=None).rows) == chosen["count"] + 6


def test_as_many_others_are_not_the_same(client: TestClient, archive: Path) -> None:
    """A count alone would not tell: one picture more and one less."""
    sweep = [row[0] for row in Archive(archive).query(SWEEP_Q, columns=["sha256"]).rows]
    with Archive(archive).ratings() as store:
        store.add(RatingEvent.now("favourite", Identity(sha256=sweep[0]), value=True))
        chosen = client.get("/api/chosen", params={"q": "favourite = true"}).json()
        store.add(RatingEvent.now("favourite", Identity(sha256=sweep[0]), value=False))
        store.add(RatingEvent.now("favourite", Identity(sha256=sweep[1]), value=True))
    body = {"event_id": "a" * 32, "q": "favourite = true", "says": "stars", "value": 5}
    answer = client.post("/api/ratings/many", json={**body, "snapshot": chosen["snapshot"]})
    assert (answer.status_code, answer.json()["count"]) == (409, chosen["count"])


@pytest.mark.parametrize(
    "more",
    [{"says": "stars", "value": 6}, {"says": "stars"}, {"says": "pick"}, {"says": "tags"},
     {"says": "tags", "added": [" "]}, {"says": "tags", "added": ["a, b"]},
     {"says": "albums", "added": ["a;b"]},
     {"says": "tags", "added": ["x" * 201]}, {"says": "stars", "value": 3, "event_id": "no id"}],
)  # fmt: skip
def test_what_cannot_be_said_is_refused(
    client: TestClient, archive: Path, more: dict[str, Any]
) -> None:
    answer = said(client, SWEEP_Q, **more)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert not (archive / "ratings").exists()


def test_albums_are_filled_listed_found_renamed_and_emptied(
    client: TestClient, archive: Path
) -> None:
    def listed() -> dict[str, int]:
        return {one["name"]: one["pictures"] for one in client.get("/api/albums").json()["albums"]}

    said(client, f"{SWEEP_Q} and steps = 2", says="albums", added=["best of may"])
    said(client, f"{SWEEP_Q} and cfg_scale = 3", says="albums", added=["it's; no"[:4], "sea"])
    assert listed() == {"best of may": 3, "it's": 2, "sea": 2}
    for q, count in [("album = 'best of may'", 3), ("has album", 4), ("album = 'best'", 0),
                     ("album has 'BEST'", 3), ("album in ('sea', 'best of may')", 4),
                     (f"{SWEEP_Q} and album != 'sea'", 4), ("album = 'it''s' and steps = 2", 1),
                     (f"{SWEEP_Q} and album is missing", 2)]:  # fmt: skip
        assert client.get("/api/chosen", params={"q": q}).json()["count"] == count, q
        assert len(Archive(archive).query(q, limit=None).rows) == count, q
    said(client, "album = 'sea'", says="albums", added=["ocean"], removed=["sea"])
    assert listed() == {"best of may": 3, "it's": 2, "ocean": 2}
    said(client, "album = 'ocean'", says="albums", removed=["ocean"])
    assert listed() == {"best of may": 3, "it's": 2}


# -- the page ------------------------------------------------------------------------------


def tick(page: Page, digest: str, *modifiers: Any) -> None:
    page.click(f".tile[href^='/look/{digest}']:visible", modifiers=list(modifiers))


def selected(page: Page) -> str:
    return page.inner_text(".selection .selected")


def test_a_range_is_selected_starred_and_taken_back_with_one_key(
    page: Page, address: str, archive: Path
) -> None:
    opened(page, address, SWEEP_Q)
    order = shown(page)
    tick(page, order[1], "Control")
    tick(page, order[4], "Shift")
    assert selected(page) == "4 selected"
    tick(page, order[2], "Control")
    assert selected(page) == "3 selected"
    page.keyboard.press("4")
    wait(page, lambda: len(ratings(archive)) == 3)
    assert {d for d, r in ratings(archive).items() if r.stars == 4} == {
        order[place] for place in (1, 3, 4)
    }
    assert at(page)
    page.keyboard.press("u")
    wait(page, lambda: all(r.stars is None for r in ratings(archive).values()))
    page.keyboard.press("Escape")
    assert not page.locator("#selection").is_visible()


def test_all_of_a_filter_is_told_before_it_is_tagged(
    page: Page, address: str, archive: Path
) -> None:
    opened(page, address, SWEEP_Q)
    page.keyboard.press("Control+a")
    page.wait_for_selector(".selection .selected:has-text('6 selected')")
    page.keyboard.press("t")
    page.fill("dialog input[name=tags]", "fog")
    page.click("dialog button:has-text('Save')")
    page.wait_for_selector("dialog .asked:has-text('6 pictures')")
    page.click("dialog button:has-text('Cancel')")
    assert ratings(archive) == {}
    page.keyboard.press("x")
    page.click("dialog button:has-text('Yes')")
    wait(page, lambda: sum(r.rejected for r in ratings(archive).values()) == 6)
    page.click("#notices button:has-text('Undo')")
    wait(page, lambda: not any(r.rejected for r in ratings(archive).values()))
    for button, all_have in (("Reject", 6), ("Reject", 0)):  # said, and taken back by the bar
        page.click(f"#selection button:has-text('{button}')")
        asked = "Reject 6" if all_have else "Take back the reject of 6"
        page.wait_for_selector(f"dialog .asked:has-text('{asked} pictures?')")
        page.click("dialog button:has-text('Yes')")
        while sum(rating.rejected for rating in ratings(archive).values()) != all_have:
            page.wait_for_timeout(50)
        page.wait_for_selector("dialog", state="detached")


def test_what_a_key_says_of_all_is_not_said_of_what_is_chosen_meanwhile(
    page: Page, address: str
) -> None:
    """The server is asked what all of a filter have; that takes a moment in a large archive."""
    opened(page, address, SWEEP_Q)
    order = shown(page)
    page.keyboard.press("Control+a")
    page.wait_for_selector(".selection .selected:has-text('6 selected')")
    held: list[Any] = []
    page.route("**/api/chosen?*", lambda route: held.append(route))
    page.keyboard.press("x")
    wait(page, lambda: bool(held))
    page.keyboard.press("Escape")
    tick(page, order[0], "Control")
    with page.expect_response("**/api/chosen?*") as answered:
        held[0].continue_()
    answered.value.finished()
    page.evaluate("new Promise((done) => setTimeout(done))")
    assert selected(page) == "1 selected"
    waiting = "Object.keys(localStorage).filter((key) => key.startsWith('safelight.rating.'))"
    assert page.evaluate(waiting) == []
    page.unroute_all()


def test_the_page_says_that_the_filter_finds_others(
    page: Page, address: str, archive: Path
) -> None:
    opened(page, address, "lighthouse")
    page.keyboard.press("Control+a")
    page.wait_for_selector(".selection .selected")
    count = int(selected(page).split()[0])
    draw(archive, {**SWEEP, "txt2img": {**SWEEP["txt2img"], "seed": 8}})
    page.keyboard.press("x")
    page.click("dialog button:has-text('Yes')")
    page.wait_for_selector(f"dialog .asked:has-text('{count + 6} pictures now, not {count}')")
    page.click("dialog button:has-text('Cancel')")
    assert ratings(archive) == {}


def test_an_album_is_made_of_what_is_selected_and_opened(
    page: Page, address: str, archive: Path
) -> None:
    opened(page, address, SWEEP_Q)
    order = shown(page)
    tick(page, order[0], "Control")
    tick(page, order[5], "Control")
    page.click(".selection button:has-text('Album')")
    page.fill("dialog input[name=name]", "best; of may")
    page.click("dialog button:has-text('Save')")
    assert page.locator("dialog input:invalid").count() == 1, (
        "it would be refused after it was told"
    )
    page.fill("dialog input[name=name]", "best of may")
    page.click("dialog button:has-text('Save')")
    wait(page, lambda: len(ratings(archive)) == 2)
    page.click(".albums summary")
    page.click("#albums a:has-text('best of may')")
    wait(page, lambda: page.inner_text("#count") == "2 pictures")
    assert {*shown(page)} == {order[0], order[5]}


def test_known_tags_are_offered_and_shown_in_the_grid(
    page: Page, address: str, archive: Path
) -> None:
    with Archive(archive).ratings() as store:
        store.add(RatingEvent.now("tags", Identity(sha256="f" * 64), added=("fog",)))
        sweep = Archive(archive).query(SWEEP_Q, columns=["sha256"]).rows[0][0]
        store.add(RatingEvent.now("tags", Identity(sha256=sweep), added=("lighthouse", "fog")))
    opened(page, address, SWEEP_Q)
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.wait_for_selector("#viewer .star-row .star")
    page.click("button[aria-label='Tags and note (T)']")
    page.fill("dialog input[name=tags]", '"golden hour", li')
    page.click("dialog .offers button:has-text('lighthouse')")
    assert page.input_value("dialog input[name=tags]") == "golden hour, lighthouse, "
    page.fill("dialog input[name=tags]", "golden hour, li")
    page.wait_for_selector("dialog .offers button:has-text('lighthouse')")
    page.focus("dialog input[name=tags]")
    page.keyboard.press("End")
    page.keyboard.press("Tab")
    page.click("dialog button:has-text('Save')")
    page.keyboard.press("Escape")
    page.wait_for_selector(".tile .tags:has-text('golden hour, lighthouse')")
    wait(page, lambda: len(Archive(archive).query("tag = 'golden hour'").rows) == 1)


def test_tags_are_given_while_rating(page: Page, address: str, archive: Path) -> None:
    page.goto(f"{address}/rate?q={SWEEP_Q}")
    page.wait_for_selector("#stage img")
    wait(page, lambda: page.get_attribute("#stage", "aria-busy") is None)
    page.keyboard.press("t")
    page.fill("dialog input[name=tags]", "fog")
    page.click("dialog button:has-text('Save')")
    wait(page, lambda: [r.tags for r in ratings(archive).values()] == [("fog",)])
