"""Numbers of scorers are events as good as ratings, and a kind that readers of before pass over."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.test_ratings import NOON, rating_events
from safelight.learning.evidence import scores
from safelight.learning.ratings import (
    AUTOMATIC,
    KINDS,
    SCORE,
    Identity,
    RatingEvent,
    RatingStore,
    current_ratings,
    picture_scores,
)
from safelight.learning.ratings.followed_ratings import FollowedRatings
from strategies import text

A, B = (Identity(sha256=letter * 64) for letter in "ab")
_hashes = st.sampled_from(["a" * 64, "b" * 64, "c" * 64])
_pictures = st.one_of(
    st.builds(Identity, sha256=_hashes),
    st.builds(Identity, sha256=_hashes, image_sha256=_hashes),
)
_numbers = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def score_events(draw: st.DrawFn) -> RatingEvent:
    scorer = draw(st.sampled_from(["sharp", "aesthetic-v2"]))
    return RatingEvent(
        kind=SCORE, event_id=draw(st.sampled_from([f"s{n}" for n in range(12)])),
        timestamp=draw(st.sampled_from([NOON, "2026-02-01T00:00:00Z"])), image=draw(_pictures),
        number=draw(_numbers), version=draw(st.sampled_from(["1", "2"])),
        unit=draw(text.filter(bool)), rater=scorer, source=AUTOMATIC + scorer,
        after=draw(st.integers(0, 2)),
    )  # fmt: skip


def say(image: Identity, number: float, **fields: object) -> RatingEvent:
    given_fields: dict[str, Any] = {"rater": "sharp", "version": "1", "unit": "u", **fields}
    return RatingEvent.now(
        SCORE, image, number=number, source=AUTOMATIC + given_fields["rater"], **given_fields
    )


@given(score_events())
def test_a_number_is_the_same_after_it_was_written_and_read(event: RatingEvent) -> None:
    """To the last bit, also 0, whole numbers and those with 300 digits."""
    read = RatingEvent.from_json(event.to_json())
    assert read == event
    assert repr(read.number) == repr(event.number)


class EventOfBefore(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The fields of an event as they were before there were scores."""

    event_id: str
    timestamp: str
    kind: str
    image: Identity | None = None
    value: bool | int | str | None = None
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    shown: tuple[Identity, ...] = ()
    won: tuple[int, ...] = ()
    undoes: str | None = None
    shown_beside: tuple[Identity, ...] = ()
    rater: str = ""
    after: int = 0
    client_timestamp: str = ""
    source: str = "safelight"
    schema: int = 1


@given(score_events())
def test_who_reads_with_the_version_before_finds_an_event_that_it_does_not_know(
    event: RatingEvent,
) -> None:
    """Not a damaged line: ``value`` may be no fraction there. Unknown kinds it passes over."""
    before = msgspec.json.decode(event.to_json(), type=EventOfBefore)
    assert before.kind not in KINDS
    assert (before.event_id, before.image, before.value) == (event.event_id, event.image, None)


@given(rating_events)
def test_ratings_are_written_as_before(event: RatingEvent) -> None:
    """No field of scores stands in them, and what was written before reads the same."""
    line = event.to_json()
    fields = msgspec.json.decode(line)
    assert not {"number", "version", "unit"} & fields.keys()
    before = msgspec.json.decode(line, type=EventOfBefore)
    assert RatingEvent.from_json(msgspec.json.encode(before)) == event


@given(st.lists(score_events() | rating_events, max_size=12), st.randoms(use_true_random=False))
def test_numbers_do_not_depend_on_order_or_on_repetition(
    events: list[RatingEvent], chance: random.Random
) -> None:
    """Segments of many machines are read in any order, and copied ones twice."""
    shuffled = events + [event for event in events if chance.random() < 0.5]
    chance.shuffle(shuffled)
    assert set(picture_scores(shuffled).every) == set(picture_scores(events).every)
    assert picture_scores(shuffled).newest == picture_scores(events).newest


@given(st.lists(score_events() | rating_events, max_size=12))
def test_no_number_is_among_ratings(events: list[RatingEvent]) -> None:
    """Whatever people said, scorers change nothing of it but which files are one picture."""
    pictures = [event.image for event in events if event.kind == SCORE and event.image]
    ratings = [event for event in events if event.kind != SCORE]
    assert dict(current_ratings(events)) == dict(current_ratings(ratings, known=pictures))


@pytest.mark.parametrize(
    "fields",
    [
        {"number": None}, {"number": float("nan")}, {"number": float("inf")}, {"version": ""},
        {"rater": ""}, {"source": "safelight"}, {"source": "automatic:other"}, {"image": None},
    ],
)  # fmt: skip
def test_a_number_that_makes_no_sense_is_refused(fields: dict[str, object]) -> None:
    whole: dict[str, object] = {"image": A, "number": 0.5, "version": "1", "rater": "sharp",
                                "source": "automatic:sharp", **fields}  # fmt: skip
    with pytest.raises(ValueError, match="score must"):
        RatingEvent.now(SCORE, **whole)  # type: ignore[arg-type]


def test_the_beginning_of_a_source_is_one() -> None:
    """Who tells programs from people by it must not miss a scorer."""
    assert AUTOMATIC == scores.AUTOMATIC
    assert scores.is_automatic(say(A, 1.0))


def test_the_last_number_of_each_version_counts(tmp_path: Path) -> None:
    with RatingStore(tmp_path, scores=True) as store:
        store.add(say(A, 1.0), say(B, 2.0))
        store.add(say(A, 3.0, timestamp="2020-01-01T00:00:00Z"))  # a clock that is behind
        store.add(say(A, 4.0, version="2"), say(A, 5.0, rater="other"))
    found = picture_scores(RatingStore(tmp_path, scores=True).events())
    numbers = {(one.scorer, one.version, one.digests): one.number for one in found.every}
    a, b = A.sha256, B.sha256
    assert numbers == {
        ("sharp", "1", (a,)): 3.0, ("sharp", "1", (b,)): 2.0, ("sharp", "2", (a,)): 4.0,
        ("other", "1", (a,)): 5.0,
    }  # fmt: skip
    assert found.newest == {"sharp": "2", "other": "1"}
    of_a, of_b = found.of_each([(None, a), (b,)])
    assert {one.number for one in of_a} == {4.0, 5.0}
    assert of_b == ()


def test_who_asks_for_ratings_does_not_read_numbers(tmp_path: Path) -> None:
    """There is one for every picture and scorer, and people wait for their ratings."""
    with RatingStore(tmp_path) as ratings, RatingStore(tmp_path, scores=True) as numbers:
        numbers.add(say(A, 1.0))
        ratings.add(RatingEvent.now("stars", A, value=3))
        numbers.add(say(B, 1.0))
        followed = FollowedRatings(tmp_path)
        assert [rating.stars for rating in followed.news().ratings] == [3]
        numbers.add(say(A, 2.0))
        assert followed.news().hashes == frozenset()
        assert [event.kind for event in ratings.events()] == ["stars"]
        assert [event.number for event in numbers.events()] == [1.0, 1.0, 2.0]
    names = sorted(path.name for path in tmp_path.iterdir())
    assert sum(name.endswith(".scores.jsonl") for name in names) == 1
    part = next(name for name in names if name.endswith(".scores.jsonl"))
    (tmp_path / part).rename(tmp_path / part.replace(".jsonl", "~0123456789ab.jsonl"))
    assert len(RatingStore(tmp_path, scores=True).events()) == 3  # a part that a merge made
    assert len(RatingStore(tmp_path).events()) == 1
