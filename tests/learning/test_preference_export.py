"""Preference export: what trainers get is what raters said, and nothing else."""

from __future__ import annotations

import csv
import errno
import hashlib
import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.errors import StorageError
from safelight.learning.ratings import Identity, RatingEvent
from safelight.learning.ratings.picture_labels import (
    kto_rows,
    label_card,
    label_card_markdown,
    picture_labels,
)
from safelight.learning.ratings.preference_export import (
    FileCopy,
    PreferencePair,
    RatedPicture,
    card_markdown,
    hpd_test_rows,
    hpd_train_rows,
    image_reward_rows,
    kohya_layout,
    pickapic_rows,
    preference_card,
    preference_pairs,
    write_jsonl,
)

NOON = "2026-01-31T12:00:00.000000Z"
_numbers = itertools.count()


def _picture(letter: str, prompt: str = "a lighthouse", width: int = 512) -> RatedPicture:
    identity = Identity(sha256=letter * 64)
    return RatedPicture(
        identity=identity, path=f"{letter}.png", prompt=prompt, width=width, height=512
    )


A, B, C = (_picture(letter) for letter in "abc")


def _stars(picture: RatedPicture, value: int, rater: str = "ann") -> RatingEvent:
    return RatingEvent.now("stars", picture.identity, value=value, rater=rater, timestamp=NOON)


def _pick(shown: tuple[RatedPicture, ...], *won: int, rater: str = "ann") -> RatingEvent:
    identities = tuple(identity.identity for identity in shown)
    name = f"{next(_numbers):06d}"
    return RatingEvent(
        event_id=name, timestamp=NOON, kind="pick", shown=identities, won=won, rater=rater
    )


def _preferences(pairs: list[PreferencePair]) -> list[tuple[str, str, float]]:
    return sorted((pair.first.path, pair.second.path, pair.preference) for pair in pairs)


def _pairs(
    *events: RatingEvent, pictures: tuple[RatedPicture, ...] = (A, B, C)
) -> list[PreferencePair]:
    return list(preference_pairs(events, pictures))


def test_a_pick_pairs_winners_with_losers_and_never_losers_with_each_other() -> None:
    """Nobody said which of the two losers is better."""
    assert _preferences(_pairs(_pick((C, B, A), 0))) == [
        ("a.png", "c.png", 0.0),
        ("b.png", "c.png", 0.0),
    ]
    tied = _pairs(_pick((A, B, C), 0, 1))
    assert _preferences(tied) == [
        ("a.png", "b.png", 0.5),
        ("a.png", "c.png", 1.0),
        ("b.png", "c.png", 1.0),
    ]
    assert _pairs(_pick((A, B))) == []


def test_stars_pair_what_one_rater_rated() -> None:
    """Ann's four stars are not Bob's."""
    events = [_stars(A, 5), _stars(B, 3), _stars(C, 3), _stars(A, 1, "bob"), _stars(B, 0, "cy")]
    assert _preferences(_pairs(*events)) == [
        ("a.png", "b.png", 1.0),
        ("a.png", "c.png", 1.0),
        ("b.png", "c.png", 0.5),
    ]


def test_only_one_prompt_and_one_size_are_compared() -> None:
    """Otherwise the prompt wins, not the picture."""
    other, wide = _picture("d", prompt="a cat"), _picture("e", width=768)
    events = [_stars(A, 5), _stars(other, 1), _stars(wide, 1), _pick((A, other, wide), 0)]
    assert _pairs(*events, pictures=(A, other, wide)) == []


def test_what_was_taken_back_or_is_not_there_gives_no_pair() -> None:
    """The export is of the ratings of now and of the pictures that were asked for."""
    pick = _pick((A, B), 0)
    undo = RatingEvent.now("undo", undoes=pick.event_id)
    assert _pairs(pick, undo) == []
    assert _pairs(pick, pictures=(A,)) == []


def test_copies_of_one_picture_are_not_compared() -> None:
    """A re-encoded copy has the same pixels: rating both says nothing."""
    pixels = "f" * 64
    one = Identity(sha256="a" * 64, pixel_sha256=pixels)
    two = Identity(sha256="b" * 64, pixel_sha256=pixels)
    shown = tuple(
        RatedPicture(identity=i, path=f"{n}.png", prompt="p", width=8, height=8)
        for n, i in enumerate((one, two))
    )
    assert _pairs(_stars(shown[0], 5), _stars(shown[1], 2), _pick(shown, 0), pictures=shown) == []


def test_pick_a_pic_rows_have_its_columns_and_ties_only_when_asked_for() -> None:
    """Diffusion-DPO's trainer stops at a label that is neither 0 nor 1."""
    pairs = _pairs(_stars(A, 3), _stars(B, 3), _stars(C, 4))
    rows = list(pickapic_rows(pairs))
    assert len(rows) == 2
    assert rows[0] == {
        "caption": "a lighthouse",
        "jpg_0": "a.png",
        "jpg_1": "c.png",
        "label_0": 0.0,
        "label_1": 1.0,
        "are_different": True,
        "has_label": True,
        "num_example_per_prompt": 2,
        "image_0_uid": "a" * 64,
        "image_1_uid": "c" * 64,
        "best_image_uid": "c" * 64,
        "user_id": hashlib.sha256(b"ann").hexdigest()[:16],
        "created_at": NOON,
    }
    tie = next(row for row in pickapic_rows(pairs, ties=True) if row["best_image_uid"] == "tie")
    assert (tie["label_0"], tie["label_1"], tie["num_example_per_prompt"]) == (0.5, 0.5, 3)


def test_hpd_rows_prefer_one_or_rank_all() -> None:
    """Its training file knows no ties, its test file ranks."""
    pairs = _pairs(_stars(A, 3), _stars(B, 3), _stars(C, 4))
    ann = hashlib.sha256(b"ann").hexdigest()[:16]
    assert next(hpd_train_rows(pairs)) == {
        "prompt": "a lighthouse",
        "file_path": ["a.png", "c.png"],
        "image_path": ["a.png", "c.png"],
        "human_preference": [0, 1],
        "user_hash": ann,
    }
    assert len(list(hpd_train_rows(pairs))) == 2
    assert list(hpd_test_rows(pairs)) == [
        {
            "prompt": "a lighthouse",
            "image_path": ["a.png", "b.png", "c.png"],
            "rank": [2, 2, 1],
            "raw_annotations": [{"rank": [2, 2, 1], "user_hash": ann}],
        }
    ]


def test_image_reward_ranks_each_judgement_and_ties_share_a_rank() -> None:
    """A ranking is one rater's, of one prompt, once."""
    rows = list(image_reward_rows(_pairs(_pick((A, B, C), 1), _stars(A, 1), _stars(B, 2))))
    assert [(row["generations"], row["ranking"]) for row in rows] == [
        (["a.png", "b.png", "c.png"], [2, 1, 2]),
        (["a.png", "b.png"], [2, 1]),
    ]
    assert rows[0].keys() == {"id", "prompt", "generations", "ranking"}
    assert len({row["id"] for row in rows}) == 2


def test_kohya_folders_hold_winner_and_loser_under_one_name() -> None:
    """The trainer finds the loser by the winner's file name; a tie has no place there."""
    assert list(kohya_layout(_pairs(_pick((A, B), 1), _pick((A, C), 0, 1)))) == [
        FileCopy(target="w/000001.png", source="b.png"),
        FileCopy(target="w/000001.txt", text="a lighthouse"),
        FileCopy(target="l/000001.png", source="a.png"),
        FileCopy(target="l/000001.txt", text="a lighthouse"),
    ]


def test_the_card_says_how_many_who_when_and_what_was_asked() -> None:
    """A data set without its origin cannot be judged."""
    pairs = _pairs(_pick((A, B), 1), _stars(A, 3, "bob"), _stars(B, 3, "bob"))
    card = preference_card(pairs, query="stars >= 3", layout="pickapic")
    assert {name: value for name, value in card.items() if name != "pairs_by_rater"} == {
        "layout": "pickapic",
        "pairs": 2,
        "ties": 1,
        "pairs_from_picks": 1,
        "pairs_from_stars": 1,
        "pictures": 2,
        "prompts": 1,
        "raters": 2,
        "first_rated": NOON,
        "last_rated": NOON,
        "query": "stars >= 3",
        "query_sha256": hashlib.sha256(b"stars >= 3").hexdigest(),
    }
    page = card_markdown(card)
    assert "2 pairs (1 ties)" in page
    assert "stars >= 3" in page
    assert "bob" not in json.dumps(card) + page
    assert preference_card([], query="", layout="hpd")["first_rated"] is None


def test_a_file_is_whole_or_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export that failed must not look like a small one."""
    path = tmp_path / "pairs.jsonl"
    rows: list[dict[str, Any]] = [
        {"caption": "ein Größenvergleich", "label_0": 1.0},
        {"caption": "b\nc"},
    ]
    assert write_jsonl(path, rows) == 2
    assert [json.loads(line) for line in path.read_text("utf-8").splitlines()] == rows

    def full(*details: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(StorageError, match="No space left"):
            write_jsonl(path, [])
    with pytest.raises(StorageError, match="surrogates"):
        write_jsonl(path, [{"caption": "\ud800"}])
    assert len(path.read_text("utf-8").splitlines()) == 2
    assert list(tmp_path.iterdir()) == [path]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 5)), max_size=12))
def test_every_decided_pair_agrees_with_the_last_stars(given_stars: list[tuple[str, int]]) -> None:
    """The winner of a pair has more stars than its loser, and no pair is missing or doubled."""
    pictures = {letter: _picture(letter) for letter in "abcdef"}
    events = [
        RatingEvent(
            event_id=f"{number:04d}",
            timestamp=NOON,
            kind="stars",
            image=pictures[letter].identity,
            value=value,
        )
        for number, (letter, value) in enumerate(given_stars)
    ]
    last = {f"{letter}.png": value for letter, value in given_stars}
    pairs = list(preference_pairs(reversed(events), pictures.values()))
    for pair in pairs:
        better = last[pair.winner.path] - last[pair.loser.path]
        assert better == 0 if pair.tie else better > 0
        assert pair.first.path < pair.second.path
    rated = sum(value > 0 for value in last.values())
    assert len({(p.first.path, p.second.path) for p in pairs}) == len(pairs)
    assert len(pairs) == rated * (rated - 1) // 2


def test_a_published_set_of_ratings_gives_the_pairs_it_implies(
    agiqa_rows: list[dict[str, str]],
) -> None:
    """Real prompts, six generators each: opinion scores as stars, paired by prompt."""
    rows = agiqa_rows[:600]
    pictures = []
    for row in rows:
        identity = Identity(sha256=hashlib.sha256(row["name"].encode()).hexdigest())
        pictures.append(
            RatedPicture(
                identity=identity, path=row["name"], prompt=row["prompt"], width=512, height=512
            )
        )
    scores = {row["name"]: 1 + min(4, int(float(row["mos_quality"]))) for row in rows}
    events = [_stars(picture, scores[picture.path]) for picture in pictures]
    pairs = list(preference_pairs(events, pictures))
    per_prompt: dict[str, int] = {}
    for row in rows:
        per_prompt[row["prompt"]] = per_prompt.get(row["prompt"], 0) + 1
    assert len(pairs) == sum(n * (n - 1) // 2 for n in per_prompt.values())
    assert all(scores[pair.winner.path] >= scores[pair.loser.path] for pair in pairs)


@pytest.fixture
def agiqa_rows() -> list[dict[str, str]]:
    for folder in Path(__file__).resolve().parents:
        path = folder / "shared" / "data" / "ratings" / "agiqa3k.csv"
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                return list(csv.DictReader(file))
    pytest.skip("the AGIQA-3K scores are not beside this checkout")


def _said(kind: str, picture: RatedPicture, rater: str = "ann") -> RatingEvent:
    return RatingEvent.now(kind, picture.identity, value=True, rater=rater, timestamp=NOON)


def test_stars_are_good_or_bad_on_the_scale_of_who_gave_them() -> None:
    """Three stars are much from Ann, little from Bob, and nothing from who gives nothing else."""
    d = _picture("d")
    events = [_stars(A, 1), _stars(B, 2), _stars(C, 3), _stars(A, 3, "bob"), _stars(C, 5, "bob"),
              _stars(B, 3, "cy"), _stars(d, 3, "cy")]  # fmt: skip
    labels = picture_labels(events, (A, B, C, d))
    assert [(row["image"], row["label"], row["raters"]) for row in kto_rows(labels)] == [
        ("a.png", False, 2),
        ("c.png", True, 2),
    ]
    assert (labels.middle, labels.contradicting, labels.raters) == (2, 0, 2)


def test_a_scale_is_that_of_all_that_was_rated_not_of_what_is_exported() -> None:
    events = [_stars(A, 4), _stars(B, 5), _stars(C, 5)]
    assert [one.good for one in picture_labels(events, (A,)).labels] == [False]


def test_favourites_are_good_rejects_bad_and_contradictions_are_counted() -> None:
    d, e = _picture("d"), _picture("e")
    events = [
        _said("favourite", A), _said("reject", B), _said("reject", B, "bob"),
        _said("favourite", C), _said("reject", C, "bob"),  # two raters
        _stars(d, 5), _stars(e, 1), _said("reject", d),  # one rater
    ]  # fmt: skip
    labels = picture_labels(events, (A, B, C, d, e))
    assert [(row["image"], row["label"], row["said"]) for row in kto_rows(labels)] == [
        ("a.png", True, ["favourite"]),
        ("b.png", False, ["reject"]),
        ("e.png", False, ["stars"]),
    ]
    assert labels.contradicting == 2
    undone = RatingEvent.now("undo", undoes=events[4].event_id, timestamp=NOON)
    assert [one.good for one in picture_labels([*events, undone], (C,)).labels] == [True]
    card = label_card(labels, query="stars > 1", layout="kto")
    assert (card["good"], card["bad"], card["left_out_contradicting"]) == (1, 2, 2)
    assert "2 of which good and bad were said" in label_card_markdown(card)
    assert "ann" not in label_card_markdown(card)
