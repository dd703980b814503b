"""Who cannot wait is shown unrated pictures by chance; what was passed over comes last."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from gui_v2.light_table import STAGED, SWEEP, draw
from safelight.application.ratable_pictures import fours, unrated_by_chance
from safelight.application.rating import rate
from safelight.application.to_rate import next_to_rate
from safelight.archive import Archive
from safelight.learning.ratings import Identity, RatingEvent


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Twelve pictures of one prompt, and one that went through three stages."""
    folder = tmp_path_factory.mktemp("ratable") / "archive"
    draw(folder, {**SWEEP, "randomizer": {**SWEEP["randomizer"], "seeds_per_variant": 2}})
    draw(folder, STAGED)
    return Archive(folder)


def digests(archive: Archive, condition: str = "") -> set[str]:
    return {row[0] for row in archive.query(condition, columns=["sha256"], limit=None).rows}


def by_chance(archive: Archive, together: int = 1, condition: str = "") -> list[set[str]]:
    store = archive.ratings()
    sets = unrated_by_chance(
        archive, together=together, count=60, condition=condition,
        passed_over=lambda picture: store.was_passed_over("ann", picture),
    )  # fmt: skip
    return [{str(row["sha256"]) for row in group} for group in sets]


def test_every_unrated_result_comes_once_and_nothing_else(drawn: Archive, tmp_path: Path) -> None:
    """No earlier stage, not even of a picture that is rated itself; nothing whose file is gone."""
    last = digests(drawn, "stage = 'upscale'")
    sweep = digests(drawn, "name = 'sweep'")
    assert set().union(*by_chance(drawn)) == sweep | last
    assert len(by_chance(drawn)) == len(sweep | last) == 13
    assert {len(pair) for pair in by_chance(drawn, 2)} == {2}
    fours = by_chance(drawn, 4)
    assert {len(four) for four in fours} == {4}
    assert set().union(*fours) <= sweep
    assert by_chance(drawn, 1, "steps > 1000") == []
    mended = sorted(sweep)[:3]
    events = rate(drawn, [Identity(sha256=digest) for digest in (*last, mended[0])], stars=3)
    events += rate(drawn, [Identity(sha256=mended[1])], reject=True)
    path = drawn.query(f"sha256 = '{mended[2]}'", columns=["path"]).rows[0][0]
    there = drawn.path / path
    there.rename(tmp_path / "elsewhere.png")
    try:
        assert set().union(*by_chance(drawn)) == sweep - set(mended)
    finally:
        (tmp_path / "elsewhere.png").rename(there)
        for event in events:
            rate(drawn, [], undo=event.event_id)


def test_what_was_passed_over_comes_last_whoever_asks(drawn: Archive) -> None:
    """By chance and by choice; of one rater only, and not when it was taken back."""
    passed = sorted(digests(drawn, "name = 'sweep'"))[:5]
    with drawn.ratings() as store:
        shown = tuple(Identity(sha256=digest) for digest in passed)
        (seen,) = store.add(RatingEvent.now("seen", shown=shown, rater="ann"))
        assert store.was_passed_over("ann", shown[0])
        assert not store.was_passed_over("bob", shown[0])

    def chosen(rater: str, count: int) -> list[str]:
        events = drawn.ratings().events()
        sets = next_to_rate(drawn, events, together=1, count=count, rater=rater)
        return [str(row["sha256"]) for (row,) in sets]

    assert set(chosen("ann", 13)[-5:]) == set(passed)
    assert not set(chosen("ann", 8)) & set(passed)
    assert set(chosen("bob", 8)) & set(passed)
    assert set().union(*by_chance(drawn)[-5:]) == set(passed)
    rate(drawn, [], undo=seen.event_id)
    assert set(chosen("ann", 8)) & set(passed)
    assert not drawn.ratings().was_passed_over("ann", shown[0])


def test_four_that_were_shown_together_come_behind_others() -> None:
    """Also when nothing was said of them."""
    rows = [{"prompt": "a", "width": 8, "height": 8}] * 12
    met = {frozenset(pair) for pair in itertools.combinations(range(4), 2)}
    for seed in range(20):
        sets = fours(rows, set(), 9, random.Random(seed), met)
        assert sorted(itertools.chain(*sets)) == list(range(12))
        together = [sum(place < 4 for place in group) for group in sets]
        assert [max(n, 1) for n in together] == sorted(max(n, 1) for n in together)
