"""Ratings: nothing said about a picture is lost, doubled, or dependent on where a file lies."""

from __future__ import annotations

import errno
import json
import logging
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight import durable_file
from safelight.errors import StorageError
from safelight.learning.ratings import (
    Identity,
    RatingEvent,
    RatingStore,
    current_ratings,
    events_in_force,
    ratings_folder,
)
from safelight.learning.ratings.existing_ratings import (
    ratings_from_exif,
    ratings_from_invokeai,
    ratings_from_swarmui,
    ratings_from_xmp,
)
from strategies import digests, text

A, B, C, D = (Identity(sha256=letter * 64) for letter in "abcd")
NOON = "2026-01-31T12:00:00.000000Z"

# Few pictures, raters and moments, so that events meet.
_hashes = st.sampled_from(["a" * 64, "b" * 64, "c" * 64])
_pictures = st.one_of(
    st.builds(Identity, sha256=_hashes),
    st.builds(Identity, pixel_sha256=_hashes),
    st.builds(Identity, sha256=_hashes, pixel_sha256=_hashes),
    st.builds(Identity, sha256=digests, pixel_sha256=digests),
)
_ids = st.sampled_from([f"{number:032x}" for number in range(12)])
_moments = st.sampled_from([NOON, "2026-01-31T12:00:01Z", "2026-02-01T00:00:00+00:00"])
_common: dict[str, st.SearchStrategy[Any]] = {
    "event_id": _ids,
    "timestamp": _moments,
    "rater": st.sampled_from(["", "ann"]) | text,
    "source": st.sampled_from(["safelight", "imported:xmp"]),
    "shown_beside": st.lists(_pictures, max_size=2).map(tuple),
    "after": st.integers(0, 2),
}


def _about(kind: str, **fields: st.SearchStrategy) -> st.SearchStrategy[RatingEvent]:
    return st.builds(RatingEvent, kind=st.just(kind), image=_pictures, **_common, **fields)


@st.composite
def _picks(draw: st.DrawFn) -> RatingEvent:
    shown = draw(st.lists(_pictures, min_size=2, max_size=4).map(tuple))
    won = draw(st.sets(st.integers(0, len(shown) - 1)).map(lambda places: tuple(sorted(places))))
    common = {name: draw(strategy) for name, strategy in _common.items()}
    return RatingEvent(kind="pick", shown=shown, won=won, **common)


_tags = st.lists(st.sampled_from(["sea", "night"]) | text, max_size=2).map(tuple)
rating_events = st.one_of(
    _about("stars", value=st.integers(0, 5)),
    _about("reject", value=st.booleans()),
    _about("favourite", value=st.booleans()),
    _about("note", value=text),
    _about("tags", added=_tags, removed=_tags),
    _picks(),
    st.builds(
        RatingEvent,
        kind=st.just("seen"),
        shown=st.lists(_pictures, min_size=1).map(tuple),
        **_common,
    ),
    st.builds(RatingEvent, kind=st.just("undo"), undoes=_ids, **_common),
)
event_lists = st.lists(rating_events, max_size=12)


def _stars(image: Identity, value: int, second: int = 0, **fields: object) -> RatingEvent:
    made: dict[str, Any] = {
        "event_id": f"{image.keys[0][1][0]}{value}{second}",
        "timestamp": f"2026-01-31T12:00:{second:02d}Z",
        **fields,
    }
    return RatingEvent(kind="stars", image=image, value=value, **made)


def _undo(event: RatingEvent, name: str) -> RatingEvent:
    return RatingEvent(kind="undo", event_id=name, timestamp=NOON, undoes=event.event_id)


def _view(events: list[RatingEvent]) -> dict[Identity, object]:
    return dict(current_ratings(events))


@given(rating_events)
def test_any_event_is_the_same_after_it_was_written_and_read(event: RatingEvent) -> None:
    """The log is the only copy of a judgement."""
    assert RatingEvent.from_json(event.to_json()) == event


@given(event_lists, st.randoms(use_true_random=False))
def test_ratings_do_not_depend_on_order_or_on_repetition(
    events: list[RatingEvent], chance: random.Random
) -> None:
    """Segments of many machines are read in any order, and copied ones twice."""
    shuffled = events + [event for event in events if chance.random() < 0.5]
    chance.shuffle(shuffled)
    assert _view(shuffled) == _view(events)


@given(event_lists)
def test_undoing_an_undo_brings_back_what_was_said(events: list[RatingEvent]) -> None:
    """Redo is undo of undo, however often."""
    first = _stars(D, 3, event_id="first")
    undos = [first]
    for name in ("u1", "u2", "u3", "u4"):
        undos.append(_undo(undos[-1], name))
        standing = [e for e in events_in_force([*events, *undos]) if e.event_id == "first"]
        assert bool(standing) is (len(undos) % 2 == 1)


def test_undos_in_a_ring_change_nothing() -> None:
    """A hand-made or damaged log must not hang a reader."""
    first = RatingEvent(kind="undo", event_id="1", timestamp=NOON, undoes="2")
    second = RatingEvent(kind="undo", event_id="2", timestamp=NOON, undoes="1")
    selfish = RatingEvent(kind="undo", event_id="3", timestamp=NOON, undoes="3")
    assert events_in_force([first, second, selfish, _stars(A, 4)]) == (_stars(A, 4),)


def test_the_last_word_of_each_rater_counts() -> None:
    """People change their minds, and disagree with each other."""
    events = [
        _stars(A, 5, 1, rater="ann"),
        _stars(A, 2, 3, rater="ann"),
        _stars(A, 3, 2, rater="bob"),
        _stars(B, 4, 1),
        _stars(B, 0, 2),
    ]
    ratings = current_ratings(events)
    assert ratings[A].stars == 2.5
    assert ratings[A].stars_by_rater == {"ann": 2, "bob": 3}
    assert ratings[A].raters == ("ann", "bob")
    assert ratings[B].stars is None
    assert C not in ratings


def test_flags_notes_and_tags_are_of_their_own() -> None:
    """A reject is no low rating, and a favourite no high one."""

    def say(kind: str, second: int, **fields: object) -> RatingEvent:
        moment = f"2026-01-31T12:00:{second:02d}Z"
        return RatingEvent.now(kind, A, timestamp=moment, **fields)

    events = [
        say("reject", 0, value=True),
        say("favourite", 0, value=True),
        say("favourite", 1, value=False),
        say("note", 0, value="the hands"),
        say("tags", 0, added=("sea", "night")),
        say("tags", 1, removed=("night",)),
        say("tags", 0, added=("boat",), rater="bob"),
    ]
    rating = current_ratings(events)[A]
    assert (rating.stars, rating.rejected, rating.favourite) == (None, True, False)
    assert rating.notes == {"": "the hands"}
    assert rating.tags == ("boat", "sea")


def test_picks_count_wins_losses_and_ties_and_a_skip_counts_nothing() -> None:
    """A comparison says something about every picture that was shown."""
    shown = (A, B, C)
    outcomes = ((0,), (0, 1), (0, 1, 2), ())
    ratings = current_ratings([RatingEvent.now("pick", shown=shown, won=won) for won in outcomes])
    counts = [
        (ratings[identity].picks_won, ratings[identity].picks_lost, ratings[identity].picks_tied)
        for identity in shown
    ]
    assert counts == [(2, 0, 1), (1, 1, 1), (0, 2, 1)]


def test_a_re_encoded_picture_keeps_its_rating() -> None:
    """Metadata was added: other bytes, the same pixels, one picture."""
    pixels = "e" * 64
    before = Identity(sha256="a" * 64, pixel_sha256=pixels)
    after = Identity(sha256="b" * 64, pixel_sha256=pixels)
    events = [_stars(before, 4, 1), _stars(after, 5, 2)]
    ratings = current_ratings(events)
    assert len(ratings) == 1
    for identity in (A, B, before, after, Identity(pixel_sha256=pixels)):
        assert ratings[identity].stars == 5
    assert ratings[A].sha256s == ("a" * 64, "b" * 64)


def test_a_record_that_knows_both_hashes_joins_two_ratings() -> None:
    """One rating was given by bytes, the other by pixels, and neither knew of the other."""
    by_pixels = Identity(pixel_sha256="e" * 64)
    events = [_stars(A, 4, 1), _stars(by_pixels, 2, 2)]
    assert len(current_ratings(events)) == 2
    both = Identity(sha256=A.sha256, pixel_sha256="e" * 64)
    ratings = current_ratings(events, known=[both])
    assert len(ratings) == 1
    assert ratings[A].stars == ratings[by_pixels].stars == 2


def test_a_torn_line_and_foreign_files_are_passed_over_and_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A power cut must not cost the ratings before it, nor a stranger's file its life."""
    folder = ratings_folder(tmp_path)
    with RatingStore(folder) as store:
        added = store.add(_stars(A, 4))
    (segment,) = folder.iterdir()
    segment.write_bytes(segment.read_bytes() + _stars(B, 5).to_json()[:30])
    (folder / "notes.txt").write_text("mine")
    (folder / "foreign.jsonl").write_bytes(b'\xff\xfe\n[1]\n{"a":1}\n' + b"[" * 5000 + b"\n\n")
    (folder / "folder.jsonl").mkdir()
    before = {path: path.stat().st_size for path in folder.iterdir()}
    with caplog.at_level(logging.WARNING):
        assert RatingStore(folder).events() == added
    assert "foreign.jsonl: 1 line is no rating" in caplog.text
    assert {path: path.stat().st_size for path in folder.iterdir()} == before


def test_events_of_a_later_schema_are_read_as_far_as_they_are_known(tmp_path: Path) -> None:
    """An old program must not stumble over a new one's events."""
    later = json.loads(_stars(A, 4).to_json()) | {"mood": "blue", "schema": 9}
    unheard = {"event_id": "x", "timestamp": NOON, "kind": "smell", "value": {"n": 1}}
    lines = [json.dumps(later), json.dumps(unheard)]
    (tmp_path / "new.jsonl").write_text("\n".join(lines) + "\n")
    assert current_ratings(RatingStore(tmp_path).events())[A].stars == 4


# --- What its writer had read -----------------------------------------------------------------


def test_a_clock_that_is_ahead_does_not_win_for_ever(tmp_path: Path) -> None:
    """One laptop that is in the year 2031 must not spoil an archive."""
    with RatingStore(tmp_path) as store:
        store.add(_stars(A, 1, timestamp="2031-01-01T00:00:00Z"))
        store.add(_stars(A, 5, 1))
        assert current_ratings(store.events())[A].stars == 5
        with RatingStore(tmp_path) as other:
            other.add(_stars(A, 0, 2))
        assert current_ratings(store.events())[A].stars is None
        store.add(RatingEvent.now("favourite", A, value=True))
    assert sorted(event.after for event in RatingStore(tmp_path).events()) == [1, 2, 3, 4]


def test_ratings_of_before_give_way_to_what_is_said_now(tmp_path: Path) -> None:
    """Also when they are dated in the future; their writers could not say what they had read."""
    before = _stars(A, 1, timestamp="2031-01-01T00:00:00Z", rater="ann")
    (tmp_path / "old.jsonl").write_bytes(before.to_json() + b"\n")
    with RatingStore(tmp_path) as store:
        (event,) = store.add(_stars(A, 4, 1, rater="ann"))
    assert event.after == 1
    assert current_ratings(store.events())[A].stars == 4


def test_of_two_that_did_not_know_of_each_other_the_later_counts(tmp_path: Path) -> None:
    """Two machines rated while they were apart."""
    with RatingStore(tmp_path / "one") as one, RatingStore(tmp_path / "two") as two:
        apart = [*one.add(_stars(A, 2, 9)), *two.add(_stars(A, 4, 3))]
    assert [event.after for event in apart] == [1, 1]
    assert current_ratings(apart)[A].stars == 2


def test_a_picture_is_one_by_whatever_hash_it_was_rated(tmp_path: Path) -> None:
    """Bytes, pixels, and whatever joins them later."""
    by_pixels = Identity(pixel_sha256="e" * 64)
    both = Identity(sha256=A.sha256, pixel_sha256="e" * 64)
    with RatingStore(tmp_path) as store:
        events = store.add(
            _stars(A, 1, 1), _stars(A, 2, 2), _stars(by_pixels, 3, 3), _stars(both, 4, 4),
            _stars(by_pixels, 5, 5), _stars(B, 1, 1),
        )  # fmt: skip
        assert [event.after for event in events] == [1, 2, 1, 3, 4, 1]
        (pick,) = store.add(RatingEvent.now("pick", shown=(A, B), won=(0,)))
        assert pick.after == 5
        assert store.highest_after(B) == 5
        assert store.highest_after(C) == 0


def test_what_an_import_joins_by_two_hashes_is_one_picture_for_who_rates_next(
    tmp_path: Path,
) -> None:
    """The last word counts, also when the same process wrote the import."""
    by_file, by_pixels = Identity(sha256="a" * 64), Identity(pixel_sha256="b" * 64)
    both = Identity(sha256="a" * 64, pixel_sha256="b" * 64)
    with RatingStore(tmp_path) as store:
        for stars in (1, 2, 3):
            store.add(RatingEvent.now("stars", by_file, value=stars))
        long_ago = {"source": "imported:xmp", "timestamp": "2020-01-01T00:00:00Z"}
        store.add(RatingEvent.now("stars", both, value=4, **long_ago))
        store.add(RatingEvent.now("stars", by_pixels, value=5))
    (rating,) = current_ratings(RatingStore(tmp_path).events()).values()
    assert rating.stars == 5


def test_what_a_writer_says_that_it_had_read_is_believed_and_no_more(tmp_path: Path) -> None:
    """A browser that was away knew less than the server; nobody knows more than there is."""
    with RatingStore(tmp_path) as store:
        store.add(_stars(A, 1, 1), _stars(A, 2, 2))
        late, wild = store.add(_stars(A, 3, 3, after=1), _stars(A, 4, 4, after=10**15))
    assert (late.after, wild.after) == (1, 3)


def test_a_rating_of_another_program_counts_by_its_time(tmp_path: Path) -> None:
    """Nobody knows what that program had read."""
    with RatingStore(tmp_path) as store:
        store.add(_stars(A, 1, 5), _stars(A, 2, 20))
        early, later, last = store.add(
            *(_stars(A, 3, second, source="imported:xmp") for second in (3, 10, 30))
        )
        assert (early.after, later.after, last.after) == (0, 1, 2)
        assert current_ratings([*store.events()])[A].stars == 3
        store.add(_stars(A, 4, 40))
        assert current_ratings(store.events())[A].stars == 4


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(0, 59)), min_size=1))
def test_who_has_read_everything_has_the_last_word(
    tmp_path_factory: pytest.TempPathFactory, triples: list[tuple[int, int, int]]
) -> None:
    """Whatever the clocks: each writer opens the archive, looks, and rates."""
    folder = tmp_path_factory.mktemp("ratings")
    for number, (picture, value, second) in enumerate(triples):
        with RatingStore(folder) as store:
            store.add(_stars((A, B, C)[picture], value, second, event_id=str(number)))
    last = {picture: value for picture, value, _ in triples}
    ratings = current_ratings(RatingStore(folder).events())
    for picture, value in last.items():
        assert (ratings[(A, B, C)[picture]].stars or 0) == value


def test_every_flip_of_a_bit_is_seen_and_costs_one_rating(tmp_path: Path) -> None:
    """A flipped bit in a hash is somebody else's picture."""
    with RatingStore(tmp_path) as store:
        store.add(_stars(A, 4), _stars(B, 5))
    (segment,) = tmp_path.iterdir()
    good = segment.read_bytes()
    first = good.index(b"\n")
    for place in range(first):
        flipped = bytearray(good)
        flipped[place] ^= 1 << place % 8
        segment.write_bytes(flipped)
        assert [event.image for event in RatingStore(tmp_path).events()] == [B]


def test_processes_write_at_once_without_losing_anything(tmp_path: Path) -> None:
    """Each writer has a segment of its own; there is no lock to wait for."""
    script = (
        "import sys\n"
        "from safelight.learning.ratings import Identity, RatingEvent, RatingStore\n"
        "store = RatingStore(sys.argv[1])\n"
        "for n in range(20):\n"
        "    store.add(RatingEvent.now('stars', Identity(sha256='a' * 64), value=n % 6))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    writers = [subprocess.Popen(command) for _ in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(RatingStore(tmp_path).events()) == 60
    assert len(list(tmp_path.iterdir())) == 3


def test_a_full_disk_is_told_and_the_next_rating_is_not_glued_to_half_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever rates must know that it did not hold; trying again must work."""
    store = RatingStore(tmp_path)
    store.add(_stars(A, 1, 1))
    whole = durable_file._write_all

    def half(handle: int, data: bytes) -> None:
        whole(handle, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(durable_file, "_write_all", half)
        with pytest.raises(StorageError, match="No space left"):
            store.add(_stars(A, 2, 2))
    store.add(_stars(A, 2, 2))
    store.close()
    assert current_ratings(store.events())[A].stars == 2


@pytest.mark.skipif(sys.platform == "win32", reason="there an open file keeps its name")
@pytest.mark.parametrize("how", ["replaced", "removed", "folder removed"])
def test_what_is_said_after_a_file_was_replaced_is_not_said_to_nobody(
    tmp_path: Path, how: str
) -> None:
    """Tools that sync or restore put another file under its name while a page writes it."""
    with RatingStore(tmp_path / "r") as store:
        store.add(_stars(A, 1))
        segment = store.segment
        assert segment is not None
        kept = segment.read_bytes()
        segment.unlink()
        if how == "replaced":
            segment.write_bytes(kept)
        elif how == "folder removed":
            segment.parent.rmdir()
        store.add(_stars(B, 2))
        store.add(_stars(C, 3))
    said = {e.image: e.value for e in RatingStore(tmp_path / "r").events()}
    assert said == {**({A: 1} if how == "replaced" else {}), B: 2, C: 3}


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """A file lies where the folder should be."""
    (tmp_path / "ratings").write_text("")
    with pytest.raises(StorageError, match="rate again"):
        RatingStore(tmp_path / "ratings").add(_stars(A, 1))


def test_a_text_with_half_a_character_is_told(tmp_path: Path) -> None:
    """What cannot be written must not look as if it had been."""
    with pytest.raises(StorageError):
        RatingStore(tmp_path).add(RatingEvent.now("note", A, value="\ud800"))


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "stars", "image": A, "value": 6},
        {"kind": "stars", "image": A, "value": True},
        {"kind": "stars", "value": 3},
        {"kind": "reject", "image": A, "value": 1},
        {"kind": "note", "image": A},
        {"kind": "undo"},
        {"kind": "seen"},
        {"kind": "seen", "image": A, "shown": (A,)},
        {"kind": "pick", "shown": (A,), "won": (0,)},
        {"kind": "pick", "shown": (A, B), "won": (2,)},
        {"kind": "pick", "shown": (A, B), "won": (0, 0)},
        {"kind": "stars", "image": A, "value": 3, "timestamp": "2026-01-31T12:00:00"},
        {"kind": "stars", "image": A, "value": 3, "timestamp": "yesterday"},
        {"kind": "stars", "image": A, "value": 3, "event_id": ""},
        {"kind": "stars", "image": A, "value": 3, "after": -1},
        {"kind": "stars", "image": A, "value": 3, "after": 2**53},
    ],
)
def test_an_event_that_makes_no_sense_is_refused(fields: dict[str, object]) -> None:
    """Faults are found where they are made, not years later in the log."""
    with pytest.raises(ValueError):  # noqa: PT011 - each says something else
        RatingEvent(**{"event_id": "1", "timestamp": NOON, **fields})  # type: ignore[arg-type]


def test_that_pictures_were_seen_is_kept_and_says_nothing_of_them(tmp_path: Path) -> None:
    """It follows what was said before, as all does, and rates nothing by itself."""
    with RatingStore(tmp_path) as store:
        store.add(_stars(A, 4))
        (seen,) = store.add(RatingEvent.now("seen", shown=(A, B), rater="ann"))
        events = store.events()
    assert seen.after == 2
    assert seen in events
    ratings = current_ratings(events)
    assert [ratings[A].stars, ratings.get(B)] == [4, None]
    assert "ann" not in ratings[A].raters


@pytest.mark.parametrize("digest", ["", "A" * 64, "a" * 63, "a" * 64 + "\n"])
def test_an_identity_is_a_whole_hash(digest: str) -> None:
    """A cut or upper-case hash would never meet its picture again."""
    with pytest.raises(ValueError, match="hex"):
        Identity(sha256=digest)
    with pytest.raises(ValueError, match="neither"):
        Identity()


# --- Ratings that were there before ----------------------------------------------------------

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"


def _packet(attributes: str = "", elements: str = "") -> str:
    return (
        '\ufeff<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">'
        '<rdf:Description xmlns:xap="http://ns.adobe.com/xap/1.0/"'
        f' xmlns:MicrosoftPhoto="http://ns.microsoft.com/photo/1.0/" {attributes}>{elements}'
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>\n  \0'
    )


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (_packet('xap:Rating="4"'), ("stars", 4)),
        (_packet(elements="<xap:Rating>5</xap:Rating>"), ("stars", 5)),
        (_packet('xap:Rating="-1"'), ("reject", True)),
        (_packet('xap:Rating="3.5"'), ("stars", 4)),
        (_packet('MicrosoftPhoto:Rating="75"'), ("stars", 4)),
        (_packet('MicrosoftPhoto:Rating="99" xap:Rating="2"'), ("stars", 2)),
        (_packet('xap:Rating="0"'), None),
        (_packet('xap:Rating="six"'), None),
        (_packet('xap:Rating="nan"'), None),
        (_packet('xap:Label="Red"'), None),
        ('<!DOCTYPE a [<!ENTITY r "4">]>' + _packet('xap:Rating="&r;"')[1:], None),
        ("<x", None),
        ("", None),
    ],
)
def test_stars_and_rejects_of_photo_programs_are_read(
    packet: str, expected: tuple[str, object] | None
) -> None:
    """Years of ratings in Lightroom, darktable or Windows are not given again by hand."""
    events = ratings_from_xmp(packet, A, timestamp=NOON)
    assert [(event.kind, event.value) for event in events] == ([expected] if expected else [])
    assert all(event.source == "imported:xmp" for event in events)


def test_the_date_in_the_packet_counts() -> None:
    """A rating that was changed and changed back in another program is a new statement."""
    dated = _packet('xap:Rating="4" xap:MetadataDate="2024-05-01T10:00:00+02:00"')
    (event,) = ratings_from_xmp(dated, A, timestamp=NOON)
    (undated,) = ratings_from_xmp(_packet('xap:Rating="4"'), A, timestamp=NOON)
    assert event.timestamp == "2024-05-01T08:00:00.000000Z"
    assert event.event_id != undated.event_id


def test_importing_a_rating_twice_is_one_event_and_later_words_stand(tmp_path: Path) -> None:
    """Importing a folder again must not bring back a rating that was changed since."""
    (first,) = ratings_from_xmp(_packet('xap:Rating="4"'), A, timestamp="2026-01-31T12:00:01Z")
    (again,) = ratings_from_xmp(_packet('xap:Rating="4"'), A, timestamp="2026-01-31T12:00:09Z")
    store = RatingStore(tmp_path)
    store.add(first, _stars(A, 2, 5), again)
    store.close()
    assert first.event_id == again.event_id
    assert len(store.events()) == 2
    assert current_ratings(store.events())[A].stars == 2


def test_a_pixel_hash_that_is_computed_later_makes_no_second_event() -> None:
    """Pixels are hashed lazily; the import before knew only the bytes."""
    both = Identity(sha256=A.sha256, pixel_sha256="e" * 64)
    packet = _packet('xap:Rating="4"')
    (first,) = ratings_from_xmp(packet, A, timestamp=NOON)
    (second,) = ratings_from_xmp(packet, both, timestamp=NOON)
    assert first.event_id == second.event_id


def test_exif_stars_and_stars_of_generators_are_read() -> None:
    """Half the tools know only a star, and a star is a favourite, never 5 of 5."""

    def values_of(events: tuple[RatingEvent, ...]) -> list[tuple[str, object, str]]:
        return [(event.kind, event.value, event.source) for event in events]

    assert values_of(ratings_from_exif(3, image=A, timestamp=NOON)) == [
        ("stars", 3, "imported:exif")
    ]
    assert values_of(ratings_from_exif(None, 99, image=A, timestamp=NOON))[0][1] == 5
    assert ratings_from_exif(b"3", 7000, image=A, timestamp=NOON) == ()
    swarm = ratings_from_swarmui({"is_starred": True}, A, timestamp=NOON)
    assert values_of(swarm) == [("favourite", True, "imported:swarmui")]
    invoke = ratings_from_invokeai({"starred": 1}, A, timestamp=NOON)
    assert values_of(invoke) == [("favourite", True, "imported:invokeai")]
    assert ratings_from_swarmui({"is_starred": False}, A, timestamp=NOON) == ()
    assert ratings_from_invokeai({}, A, timestamp=NOON) == ()


@given(st.text(max_size=200) | text.map(lambda value: _packet(elements=value)))
def test_no_packet_breaks_the_reader(packet: str) -> None:
    """Packets come from strangers' files."""
    for event in ratings_from_xmp(packet, A, timestamp=NOON):
        assert event.kind in ("stars", "reject")
