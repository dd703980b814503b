"""Who follows the ratings step by step knows what reading all of them again would tell."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from safelight.learning.ratings import (
    Identity,
    PictureSet,
    Rating,
    RatingEvent,
    RatingStore,
    current_ratings,
)
from safelight.learning.ratings.followed_ratings import FollowedRatings
from safelight.learning.ratings.rating_event import LARGE

RATERS = ("", "ada", "bob")


def hashed(kind: str, number: int) -> str:
    return f"{kind}{number:063x}"


FILLING = [Identity(sha256=hashed("c", number)) for number in range(LARGE)]
OFTEN = PictureSet.of([Identity(sha256=hashed("b", 1)), *FILLING])
"""Pictures of which several things are said."""


def event_about(chance: random.Random, number: int, earlier: list[str]) -> RatingEvent:
    """Return an event about one of few pictures, known by one hash, the other, or both."""

    def image() -> Identity:
        picture = chance.randrange(6)
        both = {
            "sha256": hashed("b", picture),
            "pixel_sha256": hashed("f", chance.choice([picture, picture // 2])),
        }
        return Identity(**chance.choice([both, *({name: both[name]} for name in both)]))

    kind = chance.choice(
        ["stars", "stars", "reject", "favourite", "tags", "albums", "note", "pick", "undo", "many"]
    )
    fields: dict[str, Any] = {
        "event_id": chance.choice([f"e{number}", f"e{number}", chance.choice([*earlier, "e0"])]),
        "timestamp": f"2026-01-01T00:00:{chance.randrange(20):02d}Z",
        "kind": kind,
        "rater": chance.choice(RATERS),
    }
    if kind == "pick":
        fields |= {"shown": tuple(image() for _ in range(chance.randint(2, 4))),
                   "won": tuple(chance.sample([0, 1], chance.randint(0, 2)))}  # fmt: skip
    elif kind == "undo":
        fields["undoes"] = chance.choice([*earlier, f"e{number + 1}", "nowhere"])
    elif kind == "many":
        named = [image() for _ in range(chance.randint(1, 3))]
        more = chance.choice([0, 0, LARGE])
        fields |= {"says": "tags", "added": (chance.choice("xyz"),)}
        if chance.random() < 0.3:
            others = [*earlier, f"e{number + 1}", "nowhere"]
            fields["same_pictures"] = tuple(chance.sample(others, chance.randint(1, 2)))
        elif chance.random() < 0.5:
            fields["many"] = OFTEN
        else:
            fields["many"] = PictureSet.of([*named, *FILLING[:more]])
    else:
        fields["image"] = image()
        fields["shown_beside"] = tuple(image() for _ in range(chance.randrange(2)))
        if kind in ("tags", "albums"):
            fields |= {"added": (chance.choice("xyz"),), "removed": (chance.choice("xyz"),)}
        else:
            yes, text = chance.random() < 0.5, chance.choice(["", "soft"])
            fields["value"] = {"stars": chance.randrange(6), "note": text}.get(kind, yes)
    return RatingEvent(**fields)


def by_hash(ratings: Any) -> dict[str, Rating]:
    return {
        digest: rating for rating in ratings for digest in (*rating.sha256s, *rating.pixel_sha256s)
    }


@settings(max_examples=100, deadline=None)
# Two events of one id, the second of very many pictures, or taken back before it counted.
@example(seed=921, steps=[2, 3, 0, 4, 1, 0])
@example(seed=150, steps=[3, 1, 1, 2, 3, 1])
@example(seed=2009, steps=[4, 1, 3, 0, 2])
@given(seed=st.integers(0, 2**32), steps=st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_every_step_adds_up_to_the_whole(
    seed: int, steps: list[int], tmp_path_factory: Any
) -> None:
    """Events of several writers, with undos of undos, ids met twice, and half a line at the end."""
    folder: Path = tmp_path_factory.mktemp("ratings")
    chance = random.Random(seed)
    stores = [RatingStore(folder), RatingStore(folder)]
    followed = FollowedRatings(folder)
    known: dict[str, Rating] = {}
    earlier: list[str] = []
    number = 0
    torn = folder / "torn.jsonl"
    for step in steps:
        for _ in range(step):
            event = event_about(chance, number, earlier)
            number += 1
            earlier.append(event.event_id)
            line = event.to_json()
            if chance.random() < 0.2:
                cut = chance.randrange(len(line))
                with torn.open("ab") as file:
                    file.write(line[:cut])
                followed_now(followed, known)
                with torn.open("ab") as file:
                    file.write(line[cut:] + chance.choice([b"\n", b"\nno rating\n"]))
            else:
                chance.choice(stores).add(event)
        if chance.random() < 0.1:
            torn.unlink(missing_ok=True)
        followed_now(followed, known)
        assert known == said(by_hash(current_ratings(RatingStore(folder).events()).values()))
    for store in stores:
        store.close()


def followed_now(followed: FollowedRatings, known: dict[str, Rating]) -> None:
    change = followed.news()
    if change.hashes is None:
        known.clear()
    for digest in change.hashes or ():
        known.pop(digest, None)
    assert change.hashes is None or by_hash(change.ratings).keys() <= change.hashes
    known |= said(by_hash(change.ratings))
    for alike in change.alike:
        for digest in (d for each in alike.pictures.identities() for _, d in each.keys):
            known.pop(digest, None)
            if alike.rating is not None:
                known[digest] = alike.rating


def said(ratings: dict[str, Rating]) -> dict[str, Rating]:
    """Return *ratings* without hashes, of which pictures that are rated alike have none."""
    return {
        digest: replace(rating, sha256s=(), pixel_sha256s=(), image_sha256s=())
        for digest, rating in ratings.items()
    }


def test_nothing_new_costs_nothing(tmp_path: Path) -> None:
    with RatingStore(tmp_path) as store:
        store.add(RatingEvent.now("stars", Identity(sha256="a" * 64), value=3))
        followed = FollowedRatings(tmp_path)
        assert [rating.stars for rating in followed.news().ratings] == [3]
        assert followed.news().hashes == frozenset()
        store.add(RatingEvent.now("stars", Identity(sha256="b" * 64), value=5))
        change = followed.news()
        assert change.hashes == frozenset({"b" * 64})
        assert [rating.stars for rating in change.ratings] == [5]


def test_damaged_lines_are_told_as_by_who_reads_everything(tmp_path: Path) -> None:
    """As they come, each once; half a line is still being written."""
    with RatingStore(tmp_path) as store:
        for number in range(3):
            image = Identity(sha256=hashed("b", number))
            store.add(RatingEvent.now("stars", image, value=4))
        (segment,) = tmp_path.iterdir()
        followed = FollowedRatings(tmp_path)
        whole = segment.read_bytes()
        segment.write_bytes(whole.replace(b"stars", b"stirs", 1) + b"{half")
        assert len(followed.news().ratings) == 2
        rotten = whole.splitlines(keepends=True)[-1].replace(b"stars", b"stirs")
        for line, message in ((b" of it\n", "1 line is"), (rotten, "2 lines are")):
            with segment.open("ab") as file:
                file.write(line)
            followed.news()
            store.events()
            assert followed.trouble == store.passed_over
            assert f"{message} no rating" in followed.trouble[segment]
        with segment.open("ab") as file:
            file.write(rotten.rstrip())
        followed.news()
        store.events()
        assert followed.trouble == store.passed_over
        assert "3 lines are" in followed.trouble[segment]
