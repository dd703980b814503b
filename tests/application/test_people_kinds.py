"""Tags and saved searches tell kinds of pictures: by command, page, JSON and Python alike."""

from __future__ import annotations

import html
import json
import random
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qs

from starlette.testclient import TestClient

import safelight
from command_line import Safelight
from gui_v2.test_facets import record
from safelight.application.people_kinds import people_kinds
from safelight.application.rated_pictures import rated_trials
from safelight.application.rating import rate_chosen
from safelight.application.saved_searches import SavedSearch, keep_searches, saved_searches
from safelight.archive import Archive
from safelight.learning.evidence.picture_kinds import PictureKind
from safelight.learning.ratings import Identity, RatingEvent
from safelight.web import create_app

WAIT = {"accept": "text/html", "prefer": "wait=300"}


def made(
    folder: Path, *, tag: str = "Red Hat", searches: Sequence[SavedSearch] = (), count: int = 200
) -> Archive:
    """Return an archive where dream is better for some prompts, which only people can tell apart.

    Those are tagged, unless *tag* is empty.
    """
    chance = random.Random(5)
    archive = Archive(folder)
    records, events = [], []
    for number in range(count):
        model, scene = chance.choice(["dream", "real"]), chance.randrange(24)
        own = scene % 2 == 0
        drawn = record(
            number + 1, {}, prompt=f"scene {scene}", model=model, seed=number,
            cfg_scale=chance.choice([4.0, 7.0, 9.0]),
        )  # fmt: skip
        records.append(drawn)
        image = Identity(sha256=drawn.outputs[0].sha256)
        stars = 3 + (0.9 if own == (model == "dream") else -0.9) + chance.gauss(0, 0.6)
        stars = min(5, max(1, round(stars)))
        events.append(RatingEvent.now("stars", image, value=stars, rater="ann"))
        if own and tag:
            events.append(RatingEvent.now("tags", image, added=(tag,), rater="ann"))
        if stars > 3:
            events.append(RatingEvent.now("tags", image, added=("best",), rater="ann"))
    archive.add_pack([each.to_document() for each in records])
    with archive.ratings() as store:
        store.add(*events)
    if searches:
        keep_searches(folder, searches)
    return archive


def test_a_tag_is_a_kind_at_every_door(command: Safelight, tmp_path: Path) -> None:
    """With the same sentence, which leads to its pictures; the tag by stars is told of by name."""
    archive = made(tmp_path / "safelight")
    effects = safelight.open(archive.path).effects()
    first = effects.sentences[0]
    assert "pictures tagged 'red hat'" in first.text
    assert "pictures not tagged 'red hat'" in first.text
    assert "other way round" in first.text
    assert effects.following == ("tag:best",)
    told = " ".join(command("effects").stdout.split())
    assert first.text in told
    assert "tells no kind of pictures: the tag 'best'." in told
    page = json.loads(command("effects", "--json").stdout)
    assert page["sentences"][0]["text"] == first.text
    assert page["following"] == ["tag:best"]
    with TestClient(create_app(archive), base_url="http://127.0.0.1") as client:
        shown = html.unescape(client.get("/learn", headers=WAIT).text)
    assert first.text in re.sub("<[^>]*>", "", shown)
    assert "tells no kind of pictures: the tag 'best'." in shown
    link = shown.split(first.claim, 1)[1].split('href="/?', 1)[1].split('"', 1)[0]
    found = archive.query(parse_qs(link)["q"][0], columns=["tags"], limit=None).rows
    assert {"red hat" in (tags or "").lower() for (tags,) in found} == {
        "not tagged" not in first.text.split(",")[0]
    }
    told = command("suggest", "--kinds", "--n", "1").stdout
    assert "for pictures tagged 'red hat'" in told.lower()


def test_a_saved_search_is_a_kind_unless_it_asks_for_ratings(tmp_path: Path) -> None:
    """One by stars, by scores, by folder or of yesterday's language is passed over."""
    even = " or ".join(f"prompt = 'scene {n}'" for n in range(0, 24, 2))
    archive = made(tmp_path, tag="", searches=[
        SavedSearch(name="hats", q=even), SavedSearch(name="good", q="stars >= 4"),
        SavedSearch(name="sharp", q="score.sharpness > 3"), SavedSearch(name="all"),
        SavedSearch(name="here", q="path has 'images'"), SavedSearch(name="odd", q="nothing = ="),
        SavedSearch(name="best ones", q="tags has 'best'"),
    ])  # fmt: skip
    _, trials, _ = rated_trials(archive, "")
    assert [kind.name for kind in trials.kinds] == ["tag:best", "search:hats", "search:best ones"]
    effects = safelight.open(archive.path).effects("cfg_scale > 0")
    assert "pictures found by 'hats'" in effects.sentences[0].text
    assert effects.sentences[0].condition in (f"({even})", f"not ({even})")
    assert effects.following == ("tag:best",)


def kinds_by_name(archive: Archive) -> dict[str, PictureKind]:
    scores, _, _ = rated_trials(archive, "")
    rows = archive.query(columns=["sha256", "pixel_sha256"], limit=None).rows
    columns = dict(zip(("sha256", "pixel_sha256"), zip(*rows, strict=True), strict=True))
    events = archive.ratings().events()
    return {kind.name: kind for kind in people_kinds(archive, events, columns, scores)}


def test_a_tag_leads_to_its_pictures_only(tmp_path: Path) -> None:
    """What has 'hat' in a tag may have 'chat'; and spelled in two ways no filter says it."""
    archive = made(tmp_path, tag="hat", count=120)
    with archive.ratings() as store:
        for (sha256,) in archive.query(columns=["sha256"], limit=50).rows:
            image = Identity(sha256=sha256)
            store.add(RatingEvent.now("tags", image, added=("chat",), rater="bob"))
    found = kinds_by_name(archive)
    assert found["tag:hat"].conditions[1] == "tag = 'hat'"
    assert found["tag:chat"].conditions[1] == "tag = 'chat'"
    assert found["tag:chat"].has.sum() == 50
    with archive.ratings() as store:
        ((sha256,),) = archive.query("not tag = 'hat'", columns=["sha256"], limit=1).rows
        store.add(RatingEvent.now("tags", Identity(sha256=sha256), added=("HAT",), rater="bob"))
    assert kinds_by_name(archive)["tag:hat"].conditions == ("", "")


def test_albums_and_what_is_said_of_many_at_once_are_kinds(tmp_path: Path) -> None:
    archive = made(tmp_path, tag="x", count=120)
    rate_chosen(archive, "cfg_scale = 4", tags=("calm",), rater="bob")
    rate_chosen(archive, "cfg_scale > 4", albums=("of may",), rater="bob")
    found = kinds_by_name(archive)
    assert found["tag:calm"].has.sum() == len(archive.query("cfg_scale = 4", limit=None).rows)
    assert found["album:of may"].conditions[1] == "album = 'of may'"
    assert found["album:of may"].parts == ("not in the album 'of may'", "in the album 'of may'")


def test_a_tag_taken_back_is_none(tmp_path: Path) -> None:
    archive = made(tmp_path, count=80)
    with archive.ratings() as store:
        for event in store.events():
            if event.kind == "tags" and event.added == ("Red Hat",):
                store.add(RatingEvent.now("undo", undoes=event.event_id, rater="ann"))
    assert "tag:red hat" not in kinds_by_name(archive)


def test_searches_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    made(tmp_path, count=2, searches=[SavedSearch(name="x", q="seed = 1")])
    assert [search.name for search in saved_searches(tmp_path)] == ["x"]
    (tmp_path / "searches.json").write_bytes(b"[{")
    assert saved_searches(tmp_path) == []
