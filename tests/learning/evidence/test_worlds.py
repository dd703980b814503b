"""Effects tell the truth in worlds whose truth is planted: the short form.

``bench/evidence_worlds.py`` draws four hundred archives of every world. Here are forty of a few,
always the same ones, and a count fails only where chance would give it less than once in 250 times
if what is promised were true.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from scipy.stats import binom

from learning.evidence.judgement import Outcome, effects_of, outcome
from learning.evidence.oracle import oracle_answers, oracle_finds
from learning.evidence.simulated_archive import SimulatedArchive
from learning.evidence.worlds import WORLDS, archive_of
from safelight.learning.evidence.findings import Comparison, Effects, KnobEffect

ARCHIVES = 40
ALARM = 0.004
MOST_FALSE = int(binom.isf(ALARM, ARCHIVES, 0.05))
"""In so many archives of forty a promise of one in twenty may be broken by chance."""

HOLDING = (
    "archive_skill_null", "ceiling", "epochs_8x12_picks_null", "epochs_8x4_stars_null", "few_100",
    "knobs_20_null", "moods_of_sittings_null", "raters_of_halves", "sampler_of_one_model",
    "tired_in_sittings_null",
)  # fmt: skip
FOUND = ("few_100", "ceiling", "raters_of_halves", "sampler_of_one_model")

UNTOLD = (
    "folders_2_null", "in_order", "months_of_models", "prompt_groups", "raters_by_model",
    "sampler_of_one_model",
)  # fmt: skip
"""Where something beside the setting may be the cause: the folder, the order of rating, the month,
the prompt, the rater, another setting."""


@cache
def outcomes(world: str) -> tuple[Outcome, ...]:
    return tuple(outcome(archive_of(world, run)) for run in range(ARCHIVES))


@pytest.mark.parametrize("world", HOLDING)
def test_hardly_anything_false_is_told(world: str) -> None:
    """In one archive of twenty at most; and what is clear is never the wrong way round."""
    false = [made.false_likely for made in outcomes(world) if made.false_likely]
    assert len(false) <= MOST_FALSE, false
    assert sum(made.wrong_sign for made in outcomes(world)) == 0


@pytest.mark.parametrize("worlds", [*((world,) for world in HOLDING), HOLDING])
def test_intervals_hold_the_truth_as_often_as_they_say(worlds: tuple[str, ...]) -> None:
    """93 % at least. Intervals of one archive go together: each counts as half a one."""
    every = [made for world in worlds for made in outcomes(world)]
    held, intervals = (
        sum(made.held for made in every) // 2,
        sum(made.intervals for made in every) // 2,
    )
    assert intervals >= ARCHIVES
    assert binom.cdf(held, intervals, 0.93) > ALARM, f"{held} of {intervals}"


def test_what_is_there_is_found() -> None:
    """Saying nothing would be true as well: three of four that an oracle finds."""
    every = [made for world in FOUND for made in outcomes(world)]
    found, oracle = (sum(getattr(made, name) for made in every) for name in ("likely", "oracle"))
    assert oracle >= ARCHIVES
    assert found >= 0.75 * oracle, f"{found} of {oracle}"


@pytest.mark.parametrize("world", ["best_first", "flags_only"])
def test_an_order_that_follows_liking_is_not_held_against_it(world: str) -> None:
    """Favourites in one pass, rejects in another: the order says what the marks say."""
    made = [outcome(archive_of(world, run)) for run in range(8)]
    found, oracle, held, intervals = (
        sum(getattr(one, name) for one in made)
        for name in ("likely", "oracle", "held", "intervals")
    )
    assert held >= 0.85 * intervals > 0
    assert found >= 0.5 * oracle > 0


@pytest.mark.parametrize("world", UNTOLD)
def test_what_cannot_be_told_is_named_and_not_claimed(world: str) -> None:
    made = [outcome(archive_of(world, run)) for run in range(8)]
    assert [one.named for one in made] == [one.untold for one in made]
    assert sum(one.untold for one in made) >= 8


@pytest.mark.parametrize("world", ["few_100_null", "knobs_20_null", "tired_in_sittings_null"])
def test_where_nothing_matters_nothing_is_called_best(world: str) -> None:
    """Of many values some would leave by chance."""
    archives = (archive_of(world, run) for run in range(ARCHIVES))
    every = [effects_of(archive, archive.events) for archive in archives]
    named = [any(knob.may_be_best for knob in effects.knobs) for effects in every]
    assert sum(named) <= MOST_FALSE


def test_of_an_interaction_only_what_it_is_about_has_parts() -> None:
    """Of five guidances four are alike with either sampler; so many chances make none of them."""
    false = 0
    for archive in (archive_of("strong_guidance", run) for run in range(ARCHIVES)):
        effects = effects_of(archive, archive.events)
        (cfg,) = (knob for knob in effects.knobs if knob.knob == "cfg_scale")
        depending = [one for one in cfg.comparisons if one.status == "depends"]
        assert depending
        false += any("12" not in (one.level, one.against) for one in depending)
    assert false <= ARCHIVES * 0.05


def test_ratings_that_never_differ_say_nothing() -> None:
    for world in ("constant_stars", "favourites_only"):
        assert outcome(archive_of(world, 0)).intervals == 0


@pytest.mark.parametrize("world", WORLDS)
def test_an_archive_is_decided_by_its_world_and_number(world: str) -> None:
    first, again, other = (archive_of(world, run) for run in (1, 1, 2))
    assert (first.columns, first.events) == (again.columns, again.events)
    assert (first.columns, first.events) != (other.columns, other.events)
    assert len({len(values) for values in first.columns.values()}) == 1
    assert {event.image.sha256 for event in first.events if event.image} <= {
        *first.columns["sha256"]
    }


@pytest.mark.parametrize("world", WORLDS)
def test_a_world_without_effects_has_none(world: str) -> None:
    """And one that is not called so has some, or something that cannot be told."""
    archive = archive_of(world, 0)
    nothing = not any(any((worth or {}).values()) for worth in archive.truth.values())
    assert nothing or not world.endswith("_null")
    assert bool(archive.secret.matters) != nothing


@pytest.mark.parametrize("world", ["few_100", "heavy_noise", "learn_4_tastes_of_these"])
def test_the_oracle_errs_as_much_as_it_says(world: str) -> None:
    """Else it would be no measure of what could be found."""
    held, asked = 0, 0
    for archive in (archive_of(world, run) for run in range(ARCHIVES)):
        answers = oracle_answers(archive.secret, _questions(archive))
        for question, (difference, error) in answers.items():
            truth = archive.true_difference(*question)
            assert truth is not None
            held += abs(difference - truth) < 1.96 * error
            asked += 1
    assert asked >= 4 * ARCHIVES
    assert binom.cdf(held, asked, 0.93) > ALARM, f"{held} of {asked}"
    assert binom.sf(held - 1, asked, 0.97) > ALARM, f"{held} of {asked}"


def test_the_oracle_finds_what_is_large_and_nothing_that_is_not_there() -> None:
    archive = archive_of("order_by_chance", 0)
    question = ("model", "Y", "X")
    assert oracle_finds(archive, [question, ("sampler", "DDIM", "Euler")], 2) == {question}
    assert oracle_finds(archive, [("sampler", "DDIM", "Euler")], 2) == set()


def _questions(archive: SimulatedArchive) -> list[tuple[str, str, str]]:
    return [
        (knob, level, first)
        for knob, levels in archive.secret.matters.items()
        for first, *others in [sorted(set(levels))]
        for level in others
    ]


def _said(status: Any, difference: float | None, *notes: str) -> Effects:
    """Return effects that say one thing, of the sampler DDIM against Euler a."""
    low, high = (None, None) if difference is None else (difference - 0.2, difference + 0.2)
    comparison = Comparison(
        level="DDIM", against="Euler a", status=status, difference=difference, low=low, high=high,
        notes=notes,
    )  # fmt: skip
    knob = KnobEffect(knob="sampler", status="open", summary="", comparisons=(comparison,))
    return Effects(pictures=50, ratings=50, prompts=10, gone=0, knobs=(knob,))


def test_the_judge_tells_right_from_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """DDIM is worse; a claim counts when it says so, at either sureness."""
    archive = archive_of("few_50", 0)
    truth = archive.true_difference("sampler", "DDIM", "Euler a")
    assert truth is not None
    assert truth < -0.1

    def judged(effects: Effects) -> Outcome:
        monkeypatch.setattr("learning.evidence.judgement.effects_of", lambda *_: effects)
        return outcome(archive)

    right, likely = judged(_said("clear", truth)), judged(_said("likely", truth))
    assert (right.held, right.clear, right.likely, right.false_clear) == (1, 1, 1, [])
    assert (likely.clear, likely.likely, likely.false_likely) == (0, 1, [])
    wrong, unsure = judged(_said("clear", 0.5)), judged(_said("likely", 0.5))
    assert (wrong.held, wrong.wrong_sign, wrong.clear) == (0, 1, 0)
    assert (wrong.false_clear, wrong.false_likely) == (["sampler"], ["sampler"])
    assert (unsure.false_clear, unsure.false_likely) == ([], ["sampler"])
    assert judged(_said("small", 0.0)).false_small == (abs(truth) >= 0.2)


def test_the_judge_wants_the_confounder_named(monkeypatch: pytest.MonkeyPatch) -> None:
    archive = archive_of("sampler_of_one_model", 0)
    untold = SimulatedArchive(
        **{name: getattr(archive, name) for name in SimulatedArchive.__slots__}
        | {"untold": {"sampler": "order"}}
    )

    def judged(effects: Effects) -> Outcome:
        monkeypatch.setattr("learning.evidence.judgement.effects_of", lambda *_: effects)
        return outcome(untold)

    note = "DDIM was rated before Euler a: the order of rating may be the cause"
    assert judged(_said("confounded", None, note)).named == 1
    assert judged(_said("confounded", None)).named == 0
    claimed = judged(_said("clear", -0.5, note))
    assert (claimed.named, claimed.false_clear) == (0, ["sampler"])
