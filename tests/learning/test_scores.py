"""Scores: what raters say, whoever and however, is one number per picture, and its doubt."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from safelight.learning.evidence.agreement import krippendorff_alpha
from safelight.learning.evidence.scores import ImageScores, _Pick, fit_scores, is_automatic
from safelight.learning.ratings import Identity, RatingEvent

NOON = "2026-01-31T12:00:00.000000Z"


def picture(number: int) -> Identity:
    return Identity(sha256=f"{number:064x}")


def stars(number: int, value: int, rater: str = "", name: str = "") -> RatingEvent:
    return RatingEvent(
        event_id=name or f"s{rater}{number}", timestamp=NOON, kind="stars", image=picture(number),
        value=value, rater=rater,
    )  # fmt: skip


def pick(name: str, shown: tuple[int, ...], won: tuple[int, ...], rater: str = "") -> RatingEvent:
    return RatingEvent(
        event_id=name, timestamp=NOON, kind="pick", shown=tuple(map(picture, shown)), won=won,
        rater=rater,
    )  # fmt: skip


def flag(kind: str, number: int) -> RatingEvent:
    return RatingEvent(
        event_id=f"{kind}{number}", timestamp=NOON, kind=kind, image=picture(number), value=True
    )


def seen(name: str, shown: tuple[int, ...], rater: str = "") -> RatingEvent:
    return RatingEvent(
        event_id=name, timestamp=NOON, kind="seen", shown=tuple(map(picture, shown)), rater=rater
    )


def of(scores: ImageScores, number: int) -> float:
    place = scores.place(f"{number:064x}")
    assert place is not None
    return float(scores.scores[place])


events = st.lists(
    st.one_of(
        st.builds(
            stars, st.integers(0, 5), st.integers(0, 5), st.sampled_from("ab"),
            st.uuids().map(str),
        ),
        st.builds(
            pick, st.uuids().map(str),
            st.lists(st.integers(0, 5), min_size=3, max_size=3).map(tuple),
            st.sets(st.integers(0, 2)).map(tuple), st.sampled_from("ab"),
        ),
        st.builds(flag, st.sampled_from(["favourite", "reject"]), st.integers(0, 5)),
        st.builds(
            seen, st.uuids().map(str), st.tuples(st.integers(0, 5), st.integers(0, 5)),
            st.sampled_from(["", "a"]),
        ),
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(events, st.randoms(use_true_random=False))
def test_the_same_events_give_the_same_bits(
    judgements: list[RatingEvent], chance: random.Random
) -> None:
    """In any order, and met twice; every figure is a number."""
    shuffled = judgements + judgements[:3]
    chance.shuffle(shuffled)
    one, other = fit_scores(judgements), fit_scores(shuffled)
    assert one.identities == other.identities
    for name in ("scores", "deviations", "readings", "ratings"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()
        assert np.isfinite(getattr(one, name)).all()
    assert (one.deviations > 0).all()
    assert (one.deviations <= 1.0001).all()


def test_more_stars_are_a_higher_score_and_more_raters_a_surer_one() -> None:
    """The plainest thing that a score must do."""
    judgements = [stars(n, 1 + n // 4, rater) for n in range(20) for rater in ("ann", "bob")]
    judgements += [stars(n, 1 + n // 4, "cem") for n in range(0, 20, 4)]
    scores = fit_scores(judgements)
    assert of(scores, 0) < of(scores, 4) < of(scores, 9) < of(scores, 13) < of(scores, 18)
    assert scores.scores.mean() == pytest.approx(0, abs=1e-9)
    twice, thrice = scores.place(f"{1:064x}"), scores.place(f"{0:064x}")
    assert twice is not None
    assert thrice is not None
    assert scores.ratings[twice] == 2
    assert scores.ratings[thrice] == 3
    assert scores.deviations[thrice] < scores.deviations[twice]


def test_a_stingy_rater_is_read_on_his_own_scale() -> None:
    """His three stars are his best; they weigh as a generous rater's five."""
    chance = np.random.default_rng(0)
    taste = chance.normal(size=80)
    order = np.argsort(np.argsort(taste)) * 5 // 80
    judgements = [stars(n, 1 + int(order[n]), "generous") for n in range(40)]
    judgements += [stars(n, 1 + min(int(order[n]) // 2, 2), "stingy") for n in range(40, 80)]
    scores = fit_scores(judgements)
    places = [scores.place(f"{n:064x}") or 0 for n in range(80)]
    generous, stingy = scores.scores[places[:40]], scores.scores[places[40:]]
    assert abs(generous.mean() - stingy.mean()) < 0.35
    assert scores.raters["stingy"].scale is not None


def test_favourites_and_rejects_count_and_taking_them_back_undoes_it() -> None:
    """A flag is evidence; a flag put down is none."""
    scores = fit_scores([flag("favourite", 1), flag("reject", 2), stars(3, 3)])
    assert of(scores, 1) > of(scores, 3) > of(scores, 2)
    down = RatingEvent(
        event_id="z", timestamp=NOON, kind="favourite", image=picture(1), value=False
    )
    assert fit_scores([flag("favourite", 1), down]).identities == ()


def culled(favourites: float, rejects: float, seed: int) -> tuple[ImageScores, NDArray[Any]]:
    """Return the scores of 600 culled pictures, and which of them belong to the better half.

    The half that is better is so by half of the spread of all pictures. The rest is left unsaid.
    """
    chance = np.random.default_rng(seed)
    better = np.arange(600) % 2
    taste = np.where(better, 0.25, -0.25) + np.sqrt(1 - 0.0625) * chance.normal(size=600)
    felt = np.argsort(np.argsort(taste + chance.logistic(size=600) / 2.2)) / 600
    judgements = [flag("favourite", n) for n in np.flatnonzero(felt >= 1 - favourites).tolist()]
    judgements += [flag("reject", n) for n in np.flatnonzero(felt < rejects).tolist()]
    scores = fit_scores(judgements)
    return scores, better[[int(name, 16) for name in scores.identities]]


@pytest.mark.parametrize(("favourites", "rejects"), [(0.2, 0.35), (0.3, 0.4), (0.2, 0.5)])
def test_flags_alone_are_read_as_far_apart_as_pictures_are(
    favourites: float, rejects: float
) -> None:
    """Their scores have the spread of 1 that is told, and differences their true size."""
    differences, spreads = [], []
    for seed in range(12):
        scores, better = culled(favourites, rejects, seed)
        readings = scores.readings
        differences.append(readings[better == 1].mean() - readings[better == 0].mean())
        spreads.append(scores.scores.var() + np.mean(scores.deviations**2))
    assert np.mean(spreads) == pytest.approx(1, abs=0.05)
    assert np.mean(differences) == pytest.approx(0.5, abs=0.07)


def test_favourites_alone_tell_nothing_apart() -> None:
    """Nobody knows what they were chosen from: their scores are one, but for rounding."""
    scores = fit_scores([flag("favourite", number) for number in range(30)])
    assert np.ptp(scores.scores) < 1e-9
    assert np.ptp(scores.readings) < 1e-9


def test_flags_of_one_rater_stand_beside_stars_of_another() -> None:
    """Where they are mostly rejects they lie below on the whole, and by no more than they tell."""
    judgements = [flag("favourite" if n % 5 == 0 else "reject", n) for n in range(100)]
    judgements += [stars(n, 1 + n % 5, "bob") for n in range(100, 200)]
    scores = fit_scores(judgements)
    of_bob = np.array([int(name, 16) >= 100 for name in scores.identities])
    apart = scores.readings[of_bob].mean() - scores.readings[~of_bob].mean()
    told = scores.scores[of_bob].mean() - scores.scores[~of_bob].mean()
    assert 0 < told == pytest.approx(apart, abs=0.05)


def test_what_was_passed_over_lies_between_rejects_and_favourites() -> None:
    """Also where a rater has no rejects: then it lies below."""
    judgements = [*(flag("favourite", n) for n in range(20)), seen("s", tuple(range(20, 60)))]
    scores = fit_scores(judgements)
    assert of(scores, 0) > of(scores, 20)
    scores = fit_scores([*judgements, *(flag("reject", n) for n in range(60, 80))])
    assert of(scores, 0) > of(scores, 20) > of(scores, 60)
    assert len(scores.identities) == 80


def test_passing_over_lowers_nothing_that_was_judged() -> None:
    """Whatever he said of a picture, stars, a flag or a pick, stands; before and after."""
    judgements = [*(stars(n, 1 + n % 5) for n in range(20)), flag("favourite", 20)]
    judgements += [flag("reject", 21), pick("p", (22, 23), (0,))]
    looked = [seen("s", tuple(range(24))), seen("t", (20, 21))]
    one, other = fit_scores(judgements), fit_scores([*judgements, *looked])
    assert one.scores.tobytes() == other.scores.tobytes()
    assert one.readings.tobytes() == other.readings.tobytes()


def test_who_does_not_flag_has_passed_over_nothing() -> None:
    """A look alone is no judgement; nor is one of a rater beside another's flags."""
    assert fit_scores([seen("s", (1, 2, 3), "ann")]).identities == ()
    scores = fit_scores([flag("favourite", 1), flag("reject", 2), seen("s", (3,), "ann")])
    assert len(scores.identities) == 2


def test_raters_of_flags_have_a_scale_of_their_own() -> None:
    """So that the mean of their readings hangs on nothing that they were shown."""
    flags = [flag("favourite" if n % 3 else "reject", n) for n in range(30)]
    few = [stars(n, 3, "bob") for n in range(40, 44)]
    judgements = fit_scores([*flags, *few]).judgements
    own = dict(zip(judgements.rater_names, judgements.own_scale, strict=True))
    assert own == {"": True, "bob": False}


def test_picks_order_pictures_and_winners_that_tie_beat_the_rest() -> None:
    """One pick of four with two winners."""
    scores = fit_scores([pick("a", (1, 2, 3, 4), (0, 2)), pick("b", (1, 3), (0, 1))])
    assert of(scores, 1) == pytest.approx(of(scores, 3), abs=1e-6)
    assert of(scores, 1) > of(scores, 2) == pytest.approx(of(scores, 4), abs=1e-6)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_tie_of_all_counts_as_one_comparison_less_than_there_are_pictures(count: int) -> None:
    """As a chain of them would; each two have the same part in it."""
    keys = tuple(("sha256", f"{number}") for number in range(count))
    rows = {key: row for row, key in enumerate(keys)}
    choices = list(_Pick("ann", won=keys, lost=()).choices(rows))
    assert all(choice.tie for choice in choices)
    pairs = {frozenset((choice.winner, *choice.losers)) for choice in choices}
    assert len(pairs) == len(choices) == count * (count - 1) // 2
    assert len({choice.weight for choice in choices}) == 1
    assert sum(choice.weight for choice in choices) == pytest.approx(count - 1)


def test_a_picture_that_a_thousand_people_rated_has_a_score() -> None:
    """However unlikely all that they said is together."""
    judgements = [stars(0, 1 + number % 5, f"r{number:04}") for number in range(1000)]
    scores = fit_scores([*judgements, stars(1, 5, "r0000")])
    assert np.isfinite(scores.scores).all()
    assert 0 < scores.deviations[scores.place(f"{0:064x}") or 0] < 0.1


def test_a_rater_who_contradicts_himself_says_nothing_and_is_told() -> None:
    """Both picks count, and cancel out; the fit says how often it happened."""
    scores = fit_scores([pick("a", (1, 2), (0,), "cem"), pick("b", (1, 2), (1,), "cem")])
    assert of(scores, 1) == pytest.approx(0, abs=1e-9)
    assert scores.raters["cem"].contradictions == 1


def test_a_skipped_pick_and_a_picture_against_itself_are_no_evidence() -> None:
    """Nothing was said."""
    assert fit_scores([pick("a", (1, 2), ()), pick("b", (1, 1), (0,))]).identities == ()


def test_readings_are_not_drawn_to_zero() -> None:
    """The slope of scores on the truth is below one, that of readings about one."""
    chance = np.random.default_rng(1)
    taste = chance.normal(size=600)
    judgements = []
    for rater in ("ann", "bob"):
        felt = taste + chance.logistic(size=600) / 2.2
        values = 1 + np.searchsorted([-1.5, -0.5, 0.5, 1.5], felt)
        judgements += [stars(n, int(values[n]), rater) for n in range(600)]
    scores = fit_scores(judgements)
    truth = taste[[int(name, 16) for name in scores.identities]]
    assert np.polyfit(truth, scores.scores, 1)[0] < 0.85
    assert np.polyfit(truth, scores.readings, 1)[0] == pytest.approx(1, abs=0.08)
    assert np.mean(((truth - scores.scores) / scores.deviations) ** 2) == pytest.approx(1, abs=0.2)


def test_picks_of_two_read_as_far_apart_as_they_are() -> None:
    """Only differences are known of pairs; they are neither halved nor doubled."""
    chance = np.random.default_rng(2)
    judgements = []
    for pair in range(300):
        better = chance.random(4) < 1 / (1 + np.exp(-1.5))
        judgements += [
            pick(f"{pair}-{turn}", (2 * pair, 2 * pair + 1), (0 if won else 1,))
            for turn, won in enumerate(better)
        ]
    scores = fit_scores(judgements)
    order = np.argsort([int(name, 16) for name in scores.identities])
    readings = scores.readings[order]
    assert np.mean(readings[0::2] - readings[1::2]) * scores.pick_sharpness == pytest.approx(
        1.5, abs=0.5
    )


@pytest.mark.parametrize(
    ("source", "automatic"),
    [
        ("automatic:aesthetic-1", True),
        ("", False),
        ("light table", False),
        ("an automatic:", False),
    ],
)
def test_what_a_program_said_is_known_by_how_its_source_begins(
    source: str, automatic: bool
) -> None:
    """So that it never mixes with what people say."""
    event = RatingEvent(
        event_id="e", timestamp=NOON, kind="stars", image=picture(1), value=3, source=source
    )
    assert is_automatic(event) is automatic


def test_alpha_is_krippendorffs() -> None:
    """The ordinal example of Krippendorff 2011: four raters, twelve units, 0.815."""
    table = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
        [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
    ]
    judgements = [(unit, value) for row in table for unit, value in enumerate(row) if value]
    units, values = np.array(judgements).T
    alpha, pictures = krippendorff_alpha(units, values)
    assert alpha == pytest.approx(0.815, abs=0.001)
    assert pictures == 11


def test_nobody_agrees_with_nobody() -> None:
    """No figure without two raters of one picture."""
    assert fit_scores([stars(n, 3) for n in range(9)]).agreement.alpha is None
    assert fit_scores([]).agreement.tau is None
