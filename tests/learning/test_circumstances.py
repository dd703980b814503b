"""What went with pictures beside their settings is named where it may be the cause, only there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from learning.simulated_ratings import digest, star_events
from safelight.learning.evidence.circumstances import Circumstances
from safelight.learning.evidence.effects import find_effects
from safelight.learning.evidence.findings import Comparison
from safelight.learning.evidence.scores import fit_scores
from safelight.learning.evidence.trials import join_trials
from safelight.learning.ratings import Identity, RatingEvent

Row = dict[str, Any]

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(days: float) -> str:
    return (START + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def model_y_is_better(row: Row) -> float:
    return 1.2 if row["model"] == "y" else 0.0


def told_of(
    rows: Sequence[Row],
    order: Sequence[int] | None = None,
    *,
    rater: Callable[[Row], str] = lambda row: "ann",
    seconds: float = 5.0,
    source: str = "safelight",
    knob: str = "model",
    score: Callable[[Row], float] | None = None,
) -> Mapping[str, Comparison]:
    """Return what is told of a knob's levels, of rows that somebody gave stars in this order."""
    chance = np.random.default_rng(len(rows))
    score = score or model_y_is_better
    felt = [score(row) + chance.normal(0, 0.9) for row in rows]
    stars = 1 + np.searchsorted([-1.4, -0.5, 0.4, 1.3], felt)
    events = [
        RatingEvent(
            event_id=f"{place:06}", timestamp=at(200 + seconds * place / 86_400), kind="stars",
            image=Identity(sha256=digest(number)), value=int(stars[number]),
            rater=rater(rows[number]), source=source,
        )
        for place, number in enumerate(chance.permutation(len(rows)) if order is None else order)
    ]  # fmt: skip
    columns = {name: [row.get(name) for row in rows] for name in rows[0]}
    columns["sha256"] = [digest(number) for number in range(len(rows))]
    effects = find_effects(join_trials(columns, fit_scores(events)))
    (effect,) = (each for each in effects.knobs if each.knob == knob)
    return {comparison.level: comparison for comparison in reversed(effect.comparisons)}


def only(told: Mapping[str, Comparison]) -> Comparison:
    (comparison,) = told.values()
    return comparison


def scattered(count: int = 160, **fixed: Callable[[int, str], object]) -> list[Row]:
    """Return pictures of 40 prompts with a model by chance; *fixed* are of number and model."""
    chance = np.random.default_rng(11)
    rows = []
    for number in range(count):
        model = "xy"[int(chance.integers(2))]
        row: Row = {"prompt": f"thing {chance.integers(40)}", "seed": number, "model": model}
        rows.append(row | {name: of(number, model) for name, of in fixed.items()})
    return rows


def paired(prompts: int = 24) -> list[Row]:
    return [
        {"prompt": f"thing {number}", "seed": 1, "model": model}
        for model in "xy"
        for number in range(prompts)
    ]


@pytest.mark.parametrize("rows", [scattered(), paired()], ids=["scattered", "paired"])
def test_what_was_rated_folder_by_folder_is_never_told(rows: list[Row]) -> None:
    """The difference of the models is that of early and late; in a chance order it is told."""
    by_model = sorted(range(len(rows)), key=lambda number: rows[number]["model"])
    one = only(told_of(rows, by_model))
    assert (one.status, one.difference) == ("confounded", None)
    assert "it may be the order of rating" in one.notes[0]
    mixed = only(told_of(rows))
    assert mixed.told
    assert ((mixed.difference or 0) > 0) is (mixed.level == "y")


def test_ratings_of_one_moment_have_no_order() -> None:
    """A file of ratings that is read at once does not say what was looked at first."""
    rows = scattered()
    by_model = sorted(range(len(rows)), key=lambda number: rows[number]["model"])
    assert only(told_of(rows, by_model, seconds=0.0)).told


@pytest.mark.parametrize("source", ["automatic:judge", "imported:xmp"])
def test_programs_and_files_are_in_no_mood(source: str) -> None:
    """When a program rated, or a rating was read from a file, says nothing about its standard."""
    rows = scattered()
    by_model = sorted(range(len(rows)), key=lambda number: rows[number]["model"])
    assert only(told_of(rows, by_model, source=source)).told


@pytest.mark.parametrize("rows", [scattered(), paired()], ids=["scattered", "paired"])
def test_a_model_for_each_rater_is_the_rater(rows: list[Row]) -> None:
    """His scale is centred on what he saw; who both saw half of both tell them apart."""
    one = only(told_of(rows, rater=lambda row: f"rater of {row['model']}"))
    assert (one.status, one.difference) == ("confounded", None)
    assert "it may be the rater: rater of " in one.notes[0]
    half = only(told_of(rows, rater=lambda row: "ab"[int(row["prompt"].split()[1]) % 2]))
    assert half.told


def test_a_rater_of_mostly_one_model_bends_nothing() -> None:
    """Nine of ten of Ann's are x, of Bob's y: what is left is told without bias, less surely."""
    chance = np.random.default_rng(2)
    rows = scattered(400)
    who = ["ann" if (row["model"] == "x") == (chance.random() < 0.85) else "bob" for row in rows]
    of_seed = {row["seed"]: name for row, name in zip(rows, who, strict=True)}

    def who_of(row: Row) -> str:
        return of_seed[row["seed"]]

    told = only(told_of(rows, rater=who_of))
    sign = 1 if told.level == "y" else -1
    assert told.low is not None
    assert told.high is not None
    truth = sign * 1.2 / (0.9**2 + 0.36) ** 0.5
    assert told.low <= truth <= told.high
    assert abs(told.difference or 0) > 0.6


def test_a_month_for_each_model_is_the_month() -> None:
    """Unless the pictures are alike in all else, or the months have both."""
    rows = scattered(timestamp=lambda number, model: at(40 * (model == "y") + number / 100))
    one = only(told_of(rows))
    assert one.status == "confounded"
    assert "it may be the month: model " in one.notes[0]
    assert "2026-01" in one.notes[0]
    assert "2026-02" in one.notes[0]
    mixed = scattered(timestamp=lambda number, model: at(number))
    assert only(told_of(mixed)).told
    pairs = [{**row, "timestamp": at(40 * (row["model"] == "y"))} for row in paired()]
    assert only(told_of(pairs)).told


def test_a_model_of_the_last_month_is_compared_in_that_month() -> None:
    """That the other lies in twelve months, where it is not, keeps nothing apart."""
    rows = scattered(480, timestamp=lambda number, model: at(number / 480 * 360))
    for number, row in enumerate(rows):
        row["model"] = "y" if number > 440 and number % 2 else "x"
    assert only(told_of(rows)).status != "confounded"


def test_one_wrong_clock_stretches_no_trend() -> None:
    """A picture of 1980 among those of a year leaves the year as long as it was."""
    rows = scattered(200, timestamp=lambda number, model: at(number))
    rows[0]["timestamp"] = "1980-01-01T00:00:00Z"
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    columns["sha256"] = [digest(number) for number in range(len(rows))]
    trials = join_trials(columns, fit_scores(star_events(dict.fromkeys(range(200), 3))))
    steady = Circumstances(trials, np.arange(200)).steady
    assert max(np.ptp(column[1:]) for column in steady.T) > 1.8


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z", "soon"])
def test_a_moment_at_the_end_of_all_time_is_one(moment: str) -> None:
    rows = scattered(timestamp=lambda number, model: moment if number % 2 else at(number))
    assert only(told_of(rows)).told


def test_a_model_has_not_the_merit_of_longer_prompts() -> None:
    """Who has the new model has learned to write prompts; nothing says when a picture was made."""
    held = 0
    for seed in range(12):
        chance = np.random.default_rng(seed)
        rows, felt = [], []
        for number in range(240):
            part = number / 240
            if number % 4 == 0:
                own = chance.choice(30, int(2 + 12 * part + chance.integers(4)), replace=False)
                words = [f"word{chr(97 + n % 26)}{'x' * (n // 26)}" for n in own]
                text = ", ".join([f"scene {number}", *words])
            model = "y" if chance.random() < min(max(2 * part - 0.5, 0.05), 0.95) else "x"
            rows.append({"prompt": text, "seed": number, "model": model})
            felt.append(0.15 * len(words) - 1.4 + chance.normal(0, 0.6))
        stars = 1 + np.searchsorted([-1.4, -0.5, 0.4, 1.3], felt)
        events = star_events({number: int(value) for number, value in enumerate(stars)})
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        columns["sha256"] = [digest(number) for number in range(len(rows))]
        effects = find_effects(join_trials(columns, fit_scores(events)))
        (one,) = (knob for knob in effects.knobs if knob.knob == "model")
        (comparison,) = one.comparisons
        held += (comparison.low or 0) <= 0 <= (comparison.high or 0)
    assert held >= 10


def test_folders_of_an_import_are_named_and_those_of_runs_are_not() -> None:
    for status, named in (("imported", True), ("completed", False)):
        rows = scattered(
            path=lambda number, model: f"pictures/of {model}/{number}.png",
            status=lambda number, model, s=status: s,  # type: ignore[misc]
        )
        one = only(told_of(rows))
        assert (one.status == "confounded") is named
        if named:
            assert "lies in pictures/of " in one.notes[0]


def test_prompts_for_each_model_are_the_prompt() -> None:
    """Twelve portraits of one, twelve views of the other: portraits may be better."""
    chance = np.random.default_rng(4)
    rows = [
        {"prompt": f"{'portrait' if model == 'x' else 'view'} {prompt}", "seed": number,
         "model": model}
        for model in "xy" for prompt in range(12) for number in chance.integers(10**6, size=4)
    ]  # fmt: skip
    one = only(told_of(rows))
    assert one.status == "confounded"
    assert "it may be the prompt" in one.notes[0]


def test_words_of_prompts_that_were_drawn_once_are_named() -> None:
    rows = scattered(120)
    for number, row in enumerate(rows):
        row["prompt"] = f"a {'portrait' if row['model'] == 'x' else 'view'} of thing {number}"
    one = only(told_of(rows))
    assert one.status == "confounded"
    assert "'portrait'" in one.notes[0] or "'view'" in one.notes[0]
    for number, row in enumerate(rows):
        row["prompt"] = f"a {'portrait' if number % 2 else 'view'} of thing {number}"
    assert only(told_of(rows)).told


def test_a_part_of_the_prompt_goes_with_prompts_and_is_told() -> None:
    """A setting that prompts decide cannot be told from them; what a prompt says is the prompt."""
    rows = scattered(400)
    for row in rows:
        row["hour"] = "golden hour" if int(row["prompt"].split()[1]) % 2 else "noon"
        row["prompt"] += f", {row['hour']}"

    def score(row: Row) -> float:
        return 2.5 * ("golden hour" in row["prompt"])

    assert only(told_of(rows, knob="hour", score=score)).status == "confounded"
    for row in rows:
        del row["hour"]
    assert only(told_of(rows, knob="term:golden hour|noon", score=score)).told


def test_stars_that_never_vary_within_a_level_are_not_known_for_sure() -> None:
    """Every x has three stars and every y four: whole stars are rounded."""
    rows = paired(20)
    events = [
        RatingEvent(
            event_id=f"{number:04}", timestamp=at(0), kind="stars", rater="ann",
            image=Identity(sha256=digest(number)), value=3 if row["model"] == "x" else 4,
        )
        for number, row in enumerate(rows)
    ]  # fmt: skip
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    columns["sha256"] = [digest(number) for number in range(len(rows))]
    effects = find_effects(join_trials(columns, fit_scores(events)))
    (effect,) = (each for each in effects.knobs if each.knob == "model")
    (comparison,) = effect.comparisons
    assert comparison.low is not None
    assert comparison.high is not None
    assert comparison.high - comparison.low > 0.1
