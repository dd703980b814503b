"""One event may bear on any number of pictures: it counts whole or not at all, and is undone so."""

from __future__ import annotations

import errno
import os
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from safelight.errors import StorageError
from safelight.learning.ratings import (
    MANY,
    Identity,
    PictureSet,
    RatingEvent,
    RatingStore,
    current_ratings,
    rating_event,
)
from safelight.learning.ratings.followed_ratings import FollowedRatings
from safelight.learning.ratings.picture_set import HashKeys, HashTable
from safelight.learning.ratings.rating_event import PER_LINE


def picture(number: int) -> Identity:
    return Identity(sha256=f"{number:064x}")


PICTURES = PictureSet.of([picture(number) for number in range(1, 2 * PER_LINE + 11)])
SOME = PictureSet.of([picture(number) for number in range(1, 5011)])
TAGGED: dict[str, Any] = {"says": "tags", "added": ("fog",), "many": PICTURES}


def tagged(folder: Path) -> int:
    """Return how many pictures have the tag, as both ways of reading say."""
    ratings = current_ratings(RatingStore(folder).events())
    count = sum(rating.tags == ("fog",) for rating in ratings.values())
    change = FollowedRatings(folder).news()
    followed = sum(rating.tags == ("fog",) for rating in change.ratings)
    for alike in change.alike:
        if alike.rating is not None and alike.rating.tags == ("fog",):
            followed += len(alike.pictures)
    assert followed == count
    return count


def test_what_is_said_of_very_many_is_one_event_with_one_undo(tmp_path: Path) -> None:
    with RatingStore(tmp_path) as store:
        (event,) = store.add(RatingEvent.now(MANY, None, **TAGGED))
        (segment,) = tmp_path.iterdir()
        assert segment.read_bytes().count(b"\n") == 3
        assert tagged(tmp_path) == len(PICTURES)
        assert store.has_set(event.event_id)
        assert not store.has_set("0" * 32)
        store.add(RatingEvent.now("undo", undoes=event.event_id))
    assert tagged(tmp_path) == 0


def test_half_of_what_was_written_says_nothing(tmp_path: Path) -> None:
    """Wherever a crash cuts the lines: nothing counts without the last, and all when said again."""
    with RatingStore(tmp_path / "whole") as store:
        (event,) = store.add(RatingEvent.now(MANY, None, **TAGGED))
    (segment,) = (tmp_path / "whole").iterdir()
    data = segment.read_bytes()
    ends = [place for place, byte in enumerate(data) if byte == ord("\n")]
    folder = tmp_path / "cut"
    folder.mkdir()
    for cut in (0, ends[0] // 2, ends[0] + 1, ends[1] + 1, ends[2] - 20):
        (folder / segment.name).write_bytes(data[:cut])
        assert tagged(folder) == 0
        assert not RatingStore(folder).has_set(event.event_id)
    with RatingStore(folder) as store:
        store.add(event)
    assert tagged(folder) == len(PICTURES)


def test_lines_may_come_in_any_order(tmp_path: Path) -> None:
    """Archives are united line by line."""
    with RatingStore(tmp_path / "whole") as store:
        store.add(RatingEvent.now(MANY, None, **TAGGED))
    (segment,) = (tmp_path / "whole").iterdir()
    lines = segment.read_bytes().splitlines(keepends=True)
    folder = tmp_path / "united"
    folder.mkdir()
    followed = FollowedRatings(folder)
    said: dict[Identity, bool] = {}
    for line in reversed(lines):
        with (folder / segment.name).open("ab") as file:
            file.write(line)
        for alike in followed.news().alike:
            said |= dict.fromkeys(alike.pictures.identities(), alike.rating is not None)
    assert sum(said.values()) == len(PICTURES) == tagged(folder)


def test_what_is_said_of_the_same_pictures_is_a_line_more(tmp_path: Path) -> None:
    """However many they are; and what is undone takes nothing from what refers to its pictures."""
    with RatingStore(tmp_path) as store:
        (first,) = store.add(RatingEvent.now(MANY, says="stars", value=1, many=PICTURES))
        (second,) = store.add(RatingEvent.now(MANY, says="stars", value=3, many=PICTURES))
        (segment,) = tmp_path.iterdir()
        before = segment.stat().st_size
        (event,) = store.add(RatingEvent.now(MANY, None, **TAGGED))
        assert segment.stat().st_size < before + 500
        assert event.many == PICTURES
        for each in (first, second):
            store.add(RatingEvent.now("undo", undoes=each.event_id))
        assert tagged(tmp_path) == len(PICTURES)
        assert store.highest_after(picture(7)) == event.after > first.after
        assert RatingStore(tmp_path).highest_after(picture(7)) == event.after
        store.add(RatingEvent.now(MANY, says="stars", value=2, many=PICTURES.parts(5000)[0]))
        assert segment.stat().st_size > before + 5000 * 32
    with RatingStore(tmp_path) as store:  # a file of its own: each can be understood alone
        store.add(RatingEvent.now(MANY, says="note", value="soft", many=PICTURES))
    sizes = sorted(file.stat().st_size for file in tmp_path.iterdir())
    assert sizes[0] > before * 0.45


@pytest.fixture
def segment_of_acts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five things said of the same pictures, each set in three lines."""
    monkeypatch.setattr(rating_event, "PER_LINE", 2500)
    with RatingStore(tmp_path / "whole") as store:
        for name in "abcde":
            store.add(RatingEvent.now(MANY, says="tags", added=(name,), many=SOME))
    (segment,) = (tmp_path / "whole").iterdir()
    return segment


def all_tags(folder: Path) -> Counter[str]:
    """Return how many pictures have each tag, as both ways of reading say."""
    ratings = current_ratings(RatingStore(folder).events()).values()
    told = Counter(tag for rating in ratings for tag in rating.tags)
    followed: Counter[str] = Counter()
    for alike in FollowedRatings(folder).news().alike:
        for tag in alike.rating.tags if alike.rating else ():
            followed[tag] += len(alike.pictures)
    assert followed == told
    return told


def test_a_line_that_is_lost_takes_no_more_along_than_what_it_says(
    tmp_path: Path, segment_of_acts: Path
) -> None:
    """Whichever it is, of several acts on the same pictures."""
    lines = segment_of_acts.read_bytes().splitlines(keepends=True)
    held = [RatingEvent.from_json(line) for line in lines]
    for number, (line, lost) in enumerate(zip(lines, held, strict=True)):
        folder = tmp_path / f"lost {number}"
        folder.mkdir()
        rotten = bytes([*line[:-30], line[-30] ^ 1, *line[-29:]])
        data = b"".join([*lines[:number], rotten, *lines[number + 1 :]])
        (folder / "one.jsonl").write_bytes(data)
        (name,) = {tag for e in held if e is lost or lost.event_id in e.parts for tag in e.added}
        gone = len(lost.many) if lost.kind == "part" and lost.many else len(SOME)
        assert all_tags(folder) == Counter(dict.fromkeys("abcde", len(SOME))) - Counter(
            {name: gone}
        )
        after = max(event.after for event in held if event is not lost)
        assert RatingStore(folder).highest_after(picture(7)) == after


def test_pictures_of_a_file_that_was_replaced_are_written_again(tmp_path: Path) -> None:
    """By one of before, as a backup is; what refers to it would be about nothing."""
    with RatingStore(tmp_path) as store:
        store.add(RatingEvent.now("stars", picture(9000), value=1))
        (segment,) = tmp_path.iterdir()
        before = segment.read_bytes()
        for name in "ab":
            (gone,) = store.add(RatingEvent.now(MANY, says="tags", added=(name,), many=SOME))
        assert store.has_set(gone.event_id)
        segment.unlink()
        segment.write_bytes(before)
        assert not store.has_set(gone.event_id), "who was not answered may say it again"
        store.add(RatingEvent.now(MANY, says="tags", added=("c",), many=SOME))
    assert all_tags(tmp_path) == Counter({"c": len(SOME)})


def test_what_is_said_after_a_part_came_late_follows_all_that_refers_to_it(
    tmp_path: Path, segment_of_acts: Path
) -> None:
    """A damaged line that another archive has whole stands behind what refers to it."""
    lines = segment_of_acts.read_bytes().splitlines(keepends=True)
    parts = [line for line in lines if b'"kind":"part"' in line]
    folder = tmp_path / "united"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(b"".join(line for line in lines if line not in parts))
    (folder / "b.jsonl").write_bytes(b"".join(parts))
    assert all_tags(folder) == Counter(dict.fromkeys("abcde", len(SOME)))
    with RatingStore(folder) as store:
        store.add(RatingEvent.now("tags", picture(7), removed=("e",)))
        assert store.add(RatingEvent.now("tags", picture(1), removed=("e",)))
    ratings = current_ratings(RatingStore(folder).events())
    assert ratings[picture(1)].tags == ratings[picture(7)].tags == ("a", "b", "c", "d")


def test_what_refers_to_pictures_that_are_not_there_waits_for_them(tmp_path: Path) -> None:
    """Meanwhile nothing that is said can lose to it unread, and nothing fails."""
    with RatingStore(tmp_path / "whole") as store:
        for note in ("soft", "hard"):
            store.add(RatingEvent.now(MANY, says="note", value=note, many=PICTURES))
        (event,) = store.add(RatingEvent.now(MANY, None, **TAGGED))
    (segment,) = (tmp_path / "whole").iterdir()
    lines = segment.read_bytes().splitlines(keepends=True)
    folder = tmp_path / "united"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(lines[-1])
    assert tagged(folder) == 0
    assert RatingStore(folder).highest_after(picture(7)) == event.after
    followed = FollowedRatings(folder)
    assert followed.news().alike == ()
    (folder / "b.jsonl").write_bytes(b"".join(lines[:-1]))
    (alike,) = followed.news().alike
    assert alike.pictures == PICTURES
    assert alike.rating is not None
    assert alike.rating.tags == ("fog",)
    assert tagged(folder) == len(PICTURES)


def test_pictures_of_what_could_not_be_written_are_written_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RatingStore(tmp_path) as store:
        with monkeypatch.context() as full_disk:
            full_disk.setattr(os, "fsync", no_space)
            with pytest.raises(StorageError):
                store.add(RatingEvent.now(MANY, says="stars", value=3, many=PICTURES))
        store.add(RatingEvent.now("stars", picture(1), value=3))
        with pytest.raises(StorageError):
            store.add(RatingEvent.now(MANY, says="note", value="\ud800", many=PICTURES))
        store.add(RatingEvent.now(MANY, None, **TAGGED))
    newest = max(tmp_path.iterdir(), key=lambda file: file.stat().st_mtime_ns)
    for file in tmp_path.iterdir():
        if file != newest:
            file.unlink()
    assert tagged(tmp_path) == len(PICTURES)


def no_space(_handle: int) -> None:
    raise OSError(errno.ENOSPC, "no space left")


def test_what_is_said_after_it_follows_it(tmp_path: Path) -> None:
    """Also when the clock of who says it is behind."""
    early = {"timestamp": "2020-01-01T00:00:00Z"}
    with RatingStore(tmp_path) as store:
        store.add(RatingEvent.now(MANY, says="stars", value=5, many=PICTURES))
        assert store.highest_after(picture(7)) > 0
        assert store.highest_after(Identity(sha256="f" * 64)) == 0
    with RatingStore(tmp_path) as store:
        store.add(RatingEvent.now("stars", picture(7), value=2, **early))
        ratings = current_ratings(store.events())
        assert ratings[picture(7)].stars == 2
        assert ratings[picture(8)].stars == 5


class EarlierEvent(msgspec.Struct, kw_only=True):
    """What versions before this one read of a line."""

    event_id: str
    timestamp: str
    kind: str
    image: Identity | None = None
    added: tuple[str, ...] = ()
    after: int = 0


def test_earlier_versions_read_the_lines_and_pass_over_what_they_say(tmp_path: Path) -> None:
    """They know neither kind, and carry what they do not know along."""
    with RatingStore(tmp_path) as store:
        store.add(RatingEvent.now(MANY, None, **TAGGED))
    (segment,) = tmp_path.iterdir()
    read = [msgspec.json.decode(line, type=EarlierEvent) for line in segment.read_bytes().split()]
    assert [(event.kind, event.image) for event in read] == [
        ("part", None),
        ("part", None),
        ("many", None),
    ]


def test_an_album_is_one_for_all_and_the_last_word_counts() -> None:
    """Tags are each rater's; an album is everybody's."""

    def said(second: int, rater: str, **names: Any) -> RatingEvent:
        time = f"2026-01-01T00:00:{second:02d}Z"
        return RatingEvent.now("albums", picture(1), rater=rater, timestamp=time, **names)

    events = [said(1, "ada", added=("best", "fog")), said(2, "bob", removed=("fog",))]
    assert current_ratings(events)[picture(1)].albums == ("best",)


@pytest.mark.parametrize("name", ["", " best", "a;b", "two\nlines"])
def test_an_album_has_a_name_of_one_line(name: str) -> None:
    with pytest.raises(ValueError, match="name of an album"):
        RatingEvent.now("albums", picture(1), added=(name,))
    with pytest.raises(ValueError, match="name of an album"):
        RatingEvent.now(MANY, says="albums", many=PictureSet.of([picture(1)]), added=(name,))


def test_a_set_holds_each_of_three_hashes_where_it_is_known() -> None:
    pictures = (
        Identity(sha256="a" * 64, image_sha256="b" * 64),
        Identity(pixel_sha256="c" * 64),
        Identity(sha256="d" * 64, pixel_sha256="e" * 64),
    )
    assert tuple(PictureSet.of(pictures).identities()) == pictures
    parts = PictureSet.of(pictures).parts(2)
    assert [tuple(part.identities()) for part in parts] == [pictures[:2], pictures[2:]]
    table = HashTable(PictureSet.of(pictures).sha256)
    keys = HashKeys(PictureSet.of(pictures).sha256)
    asked = PictureSet.of([Identity(sha256=digit * 64) for digit in "abd0"]).sha256
    assert table.places(asked).tolist() == [0, -1, 2, -1]
    assert [keys.may_hold(digit * 64) for digit in "abd0"] == [True, False, True, False]


@pytest.mark.parametrize("columns", [{}, {"sha256": b"short"},
                                     {"sha256": bytes(32), "pixel_sha256": bytes(64)}])  # fmt: skip
def test_a_set_that_makes_no_sense_is_refused(columns: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match="32 bytes each"):
        PictureSet(**columns)
