"""Effects: what is named is so, what is not known is called unknown, and everything has an n."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from safelight.learning.evidence.confounding import TogetherCounts
from safelight.learning.evidence.effect_plot import Drawing, draw_effects
from safelight.learning.evidence.effects import (
    FEWEST_PAIRS,
    MATTERS,
    Comparison,
    Effects,
    find_effects,
)
from safelight.learning.evidence.knob_levels import knob_levels
from safelight.learning.evidence.scores import ImageScores
from safelight.learning.evidence.trials import Trials, join_trials

Row = dict[str, Any]


def scores_of(rows: list[Row], score: Callable[[Row], float], noise: float = 0.5) -> Any:
    """Return the scores of *rows*, with noise that is the same every time."""
    chance = np.random.default_rng(len(rows))
    return np.array([score(row) for row in rows]) + chance.normal(0, noise, len(rows))


def trials_of(rows: list[Row], score: Callable[[Row], float], noise: float = 0.5) -> Trials:
    """Return *rows* as rated pictures, whose scores are known but for noise."""
    values = scores_of(rows, score, noise)
    digests = tuple(f"{number:064x}" for number in range(len(rows)))
    scores = ImageScores(
        identities=digests, scores=values, deviations=np.full(len(rows), 0.3), readings=values,
        ratings=np.ones(len(rows), np.int64), places={d: p for p, d in enumerate(digests)},
    )  # fmt: skip
    columns: dict[str, Any] = {"sha256": digests}
    for name in dict.fromkeys(name for row in rows for name in row):
        columns[name] = [row.get(name) for row in rows]
    return join_trials(columns, scores)


def effects_of(rows: list[Row], score: Callable[[Row], float], noise: float = 0.5) -> Effects:
    return find_effects(trials_of(rows, score, noise))


def sweep(prompts: int = 12, **knobs: list[Any]) -> list[Row]:
    """Return every combination of *knobs* for every prompt, with one seed."""
    rows: list[Row] = [{"prompt": f"thing {n}", "seed": 1} for n in range(prompts)]
    for knob, values in knobs.items():
        rows = [{**row, knob: value} for row in rows for value in values]
    return rows


def scatter(count: int, **knobs: list[Any]) -> list[Row]:
    """Return pictures with a prompt and seed of their own and knobs by chance."""
    chance = np.random.default_rng(7)
    return [
        {"prompt": f"thing {n}", "seed": n}
        | {knob: values[chance.integers(len(values))] for knob, values in knobs.items()}
        for n in range(count)
    ]


def comparisons(effects: Effects, knob: str) -> Mapping[str, Comparison]:
    (effect,) = (each for each in effects.knobs if each.knob == knob)
    return {comparison.level: comparison for comparison in reversed(effect.comparisons)}


def better_with_steps(row: Row) -> float:
    return {8: -0.8, 20: 0.0, 30: 0.0}[row["steps"]]


def test_a_sweep_is_read_in_pairs() -> None:
    """Each pair differs in the one knob only; what matters is clear, and has the right size."""
    effects = effects_of(sweep(steps=[8, 20, 30], sampler=["a", "b"]), better_with_steps)
    assert [effect.knob for effect in effects.likely] == ["steps"]
    comparison = comparisons(effects, "steps")["20"]
    assert (comparison.basis, comparison.n, comparison.prompts) == ("pairs", 24, 12)
    assert comparison.low is not None
    assert comparison.high is not None
    assert comparison.low < 0.8 < comparison.high
    assert comparison.low > 0
    sampler = next(iter(comparisons(effects, "sampler").values()))
    assert sampler.status in ("open", "small")
    assert "24" not in sampler.against


def test_pictures_with_seeds_of_their_own_are_adjusted() -> None:
    """No two are alike in all else; the other knobs are held in mind."""
    rows = scatter(300, steps=[8, 20, 30], sampler=["a", "b"], cfg_scale=[3.0, 7.0])
    effects = effects_of(rows, lambda row: better_with_steps(row) + 0.5 * (row["sampler"] == "b"))
    assert {effect.knob for effect in effects.likely} == {"steps", "sampler"}
    assert comparisons(effects, "steps")["8"].basis == "adjusted"


def test_a_mix_up_that_can_be_undone_is_undone() -> None:
    """Sampler b was mostly used with few steps; by itself it is no worse."""
    chance = np.random.default_rng(3)
    rows = scatter(600, steps=[8, 20])
    for row in rows:
        row["sampler"] = "b" if chance.random() < (0.85 if row["steps"] == 8 else 0.15) else "a"
    effects = effects_of(rows, better_with_steps)
    assert [effect.knob for effect in effects.likely] == ["steps"]


def test_a_confounder_is_named() -> None:
    """The sampler changed whenever the model did: no figure for either, but the reason."""
    rows = scatter(200, sampler=["Euler a", "DPM++ 2M"], steps=[8, 20])
    for row in rows:
        row["model"] = "X" if row["sampler"] == "DPM++ 2M" else "Y"
    effects = effects_of(rows, lambda row: 1.0 * (row["model"] == "X"))
    for knob in ("sampler", "model"):
        (comparison,) = comparisons(effects, knob).values()
        assert comparison.status == "confounded"
        assert comparison.difference is None
    (summary,) = (effect.summary for effect in effects.knobs if effect.knob == "sampler")
    assert "sampler DPM++ 2M" in summary
    assert "with model X" in summary


def test_a_confounder_of_one_of_many_values_is_named() -> None:
    """Of many samplers each is compared with all others; one came with a model of its own."""
    rows = scatter(300, sampler=list("abcdefghijklmn"))
    for row in rows:
        row["model"] = "X" if row["sampler"] == "c" else "Y"
    compared = comparisons(effects_of(rows, lambda row: 1.0 * (row["model"] == "X")), "sampler")
    assert compared["c"].status == "confounded"
    assert compared["c"].notes == (
        "sampler c was only ever used with model X, and sampler everything else only with model Y",
    )
    assert {comparison.status for level, comparison in compared.items() if level != "c"} <= {
        "open",
        "small",
    }


@pytest.mark.parametrize(("shared", "named"), [(0, True), (1, True), (2, False), (9, False)])
def test_what_shares_nearly_no_picture_is_a_confounder(shared: int, named: bool) -> None:
    """As good as nothing is less than one picture in fifty; one in fifty can be told from."""
    rows: list[Row] = [{"sampler": "a", "model": "X" if n < shared else "Y"} for n in range(100)]
    rows += [{"sampler": "b", "model": "X"}] * 99
    levels = knob_levels(trials_of(rows, lambda row: 0.0))
    own = levels["sampler"]
    at = own.names.index("b")
    confounders = TogetherCounts(levels).confounders("sampler", at, own.reference)
    assert [confounder.knob for confounder in confounders] == ["model"] * named


def test_what_a_value_was_only_used_with_is_noted_unless_it_is_a_part_of_the_prompt() -> None:
    """Another model may be the cause; which words came along is no setting to blame."""
    rows = scatter(300, sampler=["a", "a", "b", "c"], model=["X", "Y", "Z"])
    for number, row in enumerate(rows):
        if row["sampler"] == "c":
            row["model"] = "X"
        row["prompt"] += ", golden hour" * (row["sampler"] == "c" or number % 2)
        row["prompt"] += " <lora:ink:0.5>" * (row["sampler"] == "c" or number % 3 > 0)
    effects = effects_of(rows, lambda row: 0.5 * (row["sampler"] == "b"))
    assert {"term:golden hour", "lora.ink"} < {effect.knob for effect in effects.knobs}
    compared = comparisons(effects, "sampler")
    assert compared["c"].notes == ("sampler c was only ever used with model X",)
    assert [comparison.notes for level, comparison in compared.items() if level != "c"] == [()]


def test_what_a_value_was_only_used_with_is_no_wall_of_words() -> None:
    knobs = [f"extra.k{number}" for number in range(9)]
    rows: list[Row] = [
        {
            "sampler": "c" if n % 3 else "a",
            **dict.fromkeys(knobs, "X" if n % 3 else "XYZ"[n // 3 % 3]),
        }
        for n in range(90)
    ]
    levels = knob_levels(trials_of(rows, lambda row: 0.0))
    at = levels["sampler"].names.index("c")
    told = TogetherCounts(levels).only_used_with("sampler", at)
    assert told[0] == "sampler c was only ever used with extra.k0 X"
    assert told[3:] == ("the same holds of sampler c and 6 other settings",)


def test_pairs_see_through_a_confounder_elsewhere() -> None:
    """One small sweep tells what a thousand mixed-up pictures cannot."""
    mixed = scatter(200, steps=[8, 20])
    for row in mixed:
        row["sampler"] = "a" if row["steps"] == 8 else "b"
    effects = effects_of(mixed + sweep(prompts=16, steps=[8, 20], sampler=["a"]), better_with_steps)
    (comparison,) = comparisons(effects, "steps").values()
    assert (comparison.told, comparison.basis) == (True, "pairs")


def test_a_knob_that_only_some_samplers_have_is_counted_with_the_sampler() -> None:
    """Engines tell eta where it applies; that is no confounder."""
    rows = sweep(sampler=["Euler a", "DPM++ 2M"], steps=[8, 20])
    for row in rows:
        if row["sampler"] == "Euler a":
            row["eta"] = 1.0
    effects = effects_of(rows, lambda row: 0.8 * (row["sampler"] == "Euler a"))
    assert [effect.knob for effect in effects.likely] == ["sampler"]
    (eta,) = (effect for effect in effects.knobs if effect.knob == "eta")
    assert (eta.status, eta.follows) == ("constant", "sampler")


def test_an_interaction_is_found() -> None:
    """High guidance is good with one sampler and bad with the other; neither matters alone."""
    rows = scatter(400, cfg_scale=[3.0, 9.0], sampler=["a", "b"], steps=[8, 20])
    effects = effects_of(
        rows, lambda row: 0.6 * (2 * ((row["cfg_scale"] > 5) == (row["sampler"] == "a")) - 1)
    )
    (interaction,) = effects.interactions
    assert {interaction.knob, interaction.other} == {"cfg_scale", "sampler"}
    assert abs(interaction.difference) == pytest.approx(2.4, abs=0.5)
    both = [
        row
        for row in rows
        if row["cfg_scale"] == 9.0 and row["sampler"] == interaction.other_change[1]
    ]
    assert (interaction.knob, interaction.n, interaction.pictures) == ("cfg_scale", len(both), 400)
    assert f"(n = {len(both)} of 400 pictures)" in interaction.summary


@pytest.mark.parametrize(
    ("worth", "prompts", "word"),
    [(0.8, 12, "likely better"), (-0.8, 12, "likely worse"), (0.8, 60, "better")],
)
def test_what_is_told_is_told_in_a_sentence(worth: float, prompts: int, word: str) -> None:
    """What is compared with what, which way, by how much, and what that rests on."""
    rows = sweep(prompts, steps=[8, 20])
    effects = effects_of(rows, lambda row: worth * (row["steps"] == 20))
    comparison = comparisons(effects, "steps")["20"]
    figure = f"{comparison.difference:+.2f} [{comparison.low:+.2f}, {comparison.high:+.2f}]"
    wanted = f"steps 20 against 8 is {word}: {figure}, {prompts} pairs alike in all else"
    assert [effect.summary for effect in effects.likely] == [wanted]


def test_each_of_many_values_is_compared_with_all_others() -> None:
    """And says so; of few each is compared with the one used most."""
    rows = scatter(600, sampler=list("abcdefghijklmn"), vae=["x", "x", "y", "z"])
    effects = effects_of(rows, lambda row: 0.0)
    assert {comparison.against for comparison in comparisons(effects, "sampler").values()} == {
        "all others"
    }
    assert {comparison.against for comparison in comparisons(effects, "vae").values()} == {"x"}


def test_a_picture_drawn_again_is_no_further_evidence() -> None:
    """Of three prompts the draws are the witnesses: whoever draws each five times is no surer."""
    once = scatter(200, sampler=["a", "b"])
    worth = np.random.default_rng(9).normal(size=len(once)).tolist()
    for number, row in enumerate(once):
        row["prompt"] = f"thing {number % 3}"
    one, five = (
        comparisons(effects_of(rows, lambda row: worth[row["seed"]], noise=0.0), "sampler")["a"]
        for rows in (once, once * 5)
    )
    assert one.basis == five.basis == "adjusted"
    assert five.difference == pytest.approx(one.difference, abs=0.02)
    assert (five.low, five.high) == pytest.approx((one.low, one.high), abs=0.04)


def test_three_lucky_pictures_recommend_nothing() -> None:
    """Too few for a figure; told how many more ratings it takes."""
    rows = scatter(100, steps=[8, 20]) + [
        {"prompt": f"lucky {n}", "seed": n, "steps": 30} for n in range(3)
    ]
    effects = effects_of(rows, lambda row: 3.0 * (row["steps"] == 30))
    lucky = comparisons(effects, "steps")["30"]
    assert (lucky.status, lucky.difference, lucky.n) == ("few", None, 3)
    assert lucky.more == 7


@pytest.mark.parametrize("prompts", [8, 14, 40])
def test_an_interval_of_pairs_is_students(prompts: int) -> None:
    """One pair of every prompt is the textbook's paired t test, to the last digit."""
    rows = sweep(prompts, steps=[8, 20])
    values = scores_of(rows, better_with_steps).reshape(prompts, 2)
    wanted = stats.ttest_rel(values[:, 1], values[:, 0])
    low, high = wanted.confidence_interval(0.95)
    ((level, comparison),) = comparisons(effects_of(rows, better_with_steps), "steps").items()
    sign = 1 if level == "20" else -1
    assert comparison.difference == pytest.approx(sign * (values[:, 1] - values[:, 0]).mean())
    assert sorted((sign * low, sign * high)) == pytest.approx([comparison.low, comparison.high])
    assert comparison.chance == pytest.approx(
        wanted.pvalue
    )  # one knob, one comparison: nothing to mend


def spread_of_effects(squares: list[float], noise: list[float]) -> float:
    """Return tau^2 for which sum d_i^2 / (tau^2 + s_i^2) is the number of effects, by halving.

    Two imagined effects of a fifth, known for sure, are among them (Paule and Mandel 1982).
    """
    squares, noise = [*squares, MATTERS**2, MATTERS**2], [*noise, 0.0, 0.0]
    low, high = 1e-6, max(squares) + 1e-6
    for _ in range(200):
        middle = (low + high) / 2
        excess = sum(d / (middle + s) for d, s in zip(squares, noise, strict=True))
        low, high = (middle, high) if excess > len(squares) else (low, middle)
    return low


@pytest.mark.parametrize(("count", "size"), [(1600, 0.0), (1600, 0.1), (3200, 0.6)])
def test_what_is_expected_is_drawn_to_nothing_as_far_as_the_spread_says(
    count: int, size: float
) -> None:
    """D tau^2 / (tau^2 + s^2), Efron and Morris 1975; the more so the less is known."""
    worth = dict(zip("abcdefghij", np.linspace(-1, 1, 10), strict=True))
    rows = scatter(count, sampler=list(worth))
    effects = effects_of(rows, lambda row: size * worth[row["sampler"]], noise=1.0)
    with_figure = [
        comparison
        for comparison in comparisons(effects, "sampler").values()
        if comparison.difference is not None
    ]
    assert len(with_figure) >= 8
    errors = []
    for comparison in with_figure:
        assert comparison.low is not None
        assert comparison.high is not None
        assert comparison.chance is not None
        errors.append((comparison.high - comparison.low) / 2 / 1.96)  # many pictures: nearly normal
    squares = [(comparison.difference or 0) ** 2 for comparison in with_figure]
    spread = spread_of_effects(squares, [error**2 for error in errors])
    for comparison, error in zip(with_figure, errors, strict=True):
        shrunk = (comparison.difference or 0) * spread / (spread + error**2)
        assert comparison.expected == pytest.approx(shrunk, rel=0.03, abs=1e-4)
        assert abs(comparison.expected or 0) < 0.99 * abs(comparison.difference or 0)


def test_of_many_looks_the_best_is_no_find() -> None:
    """Holm's correction: the least of k chances counts k times, the next k - 1 times."""
    rows = sweep(10, steps=[8, 20], cfg_scale=[4.0, 7.0], sampler=["a", "b"])
    effects = effects_of(rows, lambda row: 0.25 * (row["steps"] == 20), noise=0.6)
    plain, corrected = [], []
    for knob in ("steps", "cfg_scale", "sampler"):
        (comparison,) = comparisons(effects, knob).values()
        assert comparison.low is not None
        assert comparison.high is not None
        reach = stats.t.ppf(0.975, comparison.prompts - 1)
        error = (comparison.high - comparison.low) / 2 / reach
        plain.append(
            2 * stats.t.sf(abs(comparison.difference or 0) / error, comparison.prompts - 1)
        )
        corrected.append(comparison.chance)
    order = np.argsort(plain)
    wanted = np.maximum.accumulate([plain[p] * (3 - i) for i, p in enumerate(order)])
    np.testing.assert_allclose([corrected[p] for p in order], np.minimum(wanted, 1), rtol=1e-6)


@pytest.mark.parametrize("size", [0.0, 0.8, 1.7])
def test_the_ratings_that_are_lacking_are_the_textbooks_sample_size(size: float) -> None:
    """Four of five such studies would see it at 3 %, shared by all looks; one more pair at least.

    Pairs have two pictures each; the figure is rounded up to two digits.
    """
    rows = sweep(8, sampler=list("abcdefgh"))
    effects = effects_of(rows, lambda row: -size * (row["sampler"] == "a"), noise=0.8)
    compared = comparisons(effects, "sampler").values()
    clear = stats.norm.isf(0.03 / 2 / len(compared)) + stats.norm.ppf(0.8)
    lacking = []
    for comparison in compared:
        assert (comparison.status == "open") is (comparison.more is not None)
        if comparison.more is not None:
            assert comparison.low is not None
            assert comparison.high is not None
            error = (
                (comparison.high - comparison.low) / 2 / stats.t.ppf(0.975, comparison.prompts - 1)
            )
            target = max(abs(comparison.expected or 0), MATTERS)
            wanted = max(2 * comparison.n * ((clear * error / target) ** 2 - 1), 2)
            assert wanted - 0.01 <= comparison.more <= 1.1 * wanted + 1
            lacking.append(comparison.more)
    assert lacking
    assert (min(lacking) == 2) is (size == 1.7)  # some are so near that a pair settles them


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no rated pictures"),
        (scatter(1, steps=[8, 20]), "only one rated picture"),
        (scatter(30, steps=[8, 20]), "all 30 rated pictures have the same score"),
    ],
)
def test_where_nothing_can_be_said_it_says_why(rows: list[Row], message: str) -> None:
    """A sentence, and no figure."""
    effects = effects_of(rows, lambda row: 0.25, noise=0.0)
    assert message in effects.reason
    assert effects.knobs == ()


def test_a_constant_knob_and_one_with_a_thousand_values_are_told_so() -> None:
    """Neither has a figure, and neither disturbs the knob that matters."""
    rows = scatter(1000, steps=[8, 20, 30], model=["only"])
    for number, row in enumerate(rows):
        row["vae"], row["cfg_scale"] = f"vae {number}", 1 + number * 7 % 1000 / 50
    effects = effects_of(rows, better_with_steps)
    assert [effect.knob for effect in effects.likely] == ["steps"]
    by_name = {effect.knob: effect for effect in effects.knobs}
    assert by_name["model"].summary == "model was always only: nothing to compare"
    assert by_name["vae"].summary.startswith("not enough evidence about vae: 1000 values")
    assert by_name["vae"].unused == 800
    assert by_name["steps"].unused == by_name["cfg_scale"].unused == 0  # all are in a range


def test_few_pairs_have_no_figure() -> None:
    """One pair less than the threshold, and nothing else to go by."""
    effects = effects_of(sweep(prompts=FEWEST_PAIRS - 1, steps=[8, 20]), better_with_steps)
    (comparison,) = comparisons(effects, "steps").values()
    assert (comparison.status, comparison.difference) == ("few", None)


def test_the_plot_shows_every_figure_with_its_n() -> None:
    """As a picture and as SVG, whatever the names are."""
    rows = sweep(steps=[8, 20, 30], sampler=["<b>&\x07", "灯台 " * 40])
    effects = effects_of(rows, better_with_steps)
    drawing = draw_effects(effects, title="What works & <why>", rated_by="ann")
    root = ElementTree.fromstring(drawing.svg())
    texts = [node.text or "" for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("n = 24 pairs") == 3  # all three pairs of a balanced plan's three values
    assert texts.count("n = 36 pairs") == 1
    picture = Image.open(io.BytesIO(drawing.png()))
    assert picture.size == (drawing.width * 2, drawing.height * 2)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("clear", "clearly better"), ("likely", "likely better"), ("open", "not enough evidence"),
        ("small", f"surely less than {MATTERS:g}"), ("depends", "depends on another setting"),
    ],
)  # fmt: skip
def test_the_key_of_a_plot_names_what_is_drawn_and_nothing_else(
    status: Literal["clear", "likely", "open", "small", "depends"], said: str
) -> None:
    """What depends on another setting is not shown by the mark of what is surely small."""
    effects = effects_of(sweep(steps=[8, 20]), better_with_steps)
    (knob,) = (knob for knob in effects.knobs if knob.knob == "steps")
    (one,) = knob.comparisons
    shown = replace(effects, knobs=(replace(knob, comparisons=(replace(one, status=status),)),))
    drawn = draw_effects(shown, title="t", rated_by="ann").svg().decode()
    key = {"better", "worse", "surely", "evidence", "depends"}
    assert [t for t in re.findall(r">([^<]+)</text>", drawn) if key & set(t.split())] == [said]


def test_a_plot_of_nothing_says_so() -> None:
    """No empty axes."""
    drawing = draw_effects(effects_of([], lambda row: 0.0), title="t", rated_by="nobody")
    assert b"no rated pictures" in drawing.svg()


def with_doubts(rows: list[Row], knob: str, status: str = "conflicting") -> list[Row]:
    """Return *rows* with copies of the first third, better by far, whose *knob* is in doubt."""
    doubted = [{**row, knob: 8, status: f"cfg_scale_x, {knob}"} for row in rows[: len(rows) // 3]]
    return [*({**row, status: None} for row in rows), *doubted]


@pytest.mark.parametrize("status", ["conflicting", "unresolved"])
def test_a_value_in_doubt_takes_no_part_and_is_counted(status: str) -> None:
    rows = with_doubts(sweep(12, steps=[8, 20, 30]), "steps", status)
    effects = effects_of(rows, lambda row: 5 if row[status] else better_with_steps(row))
    (steps,) = (knob for knob in effects.knobs if knob.knob == "steps")
    assert steps.left_out == 12
    assert {c.level for c in steps.comparisons} <= {"8", "20", "30"}
    assert all(c.pictures == 12 for c in steps.comparisons)
    assert "12 pictures are left out that do not say which steps it was" in steps.summary
    at_20 = comparisons(effects, "steps").get("20") or comparisons(effects, "steps")["8"]
    assert at_20.difference == pytest.approx(0.8 if at_20.level == "20" else -0.8, abs=0.4)


def test_what_is_in_doubt_of_one_knob_is_like_no_other_in_the_rest() -> None:
    rows = sweep(12, steps=[20, 30])
    rows = [{**row, "conflicting": "model" if row["steps"] == 30 else None} for row in rows]
    effects = effects_of(rows, lambda row: row["steps"] / 10)
    assert all(c.basis != "pairs" for c in comparisons(effects, "steps").values())
    rows = [{**row, "conflicting": row["conflicting"] and "seed"} for row in rows]
    effects = effects_of(rows, lambda row: row["steps"] / 10)
    assert {c.basis for c in comparisons(effects, "steps").values()} == {"pairs"}


def test_a_knob_that_no_picture_tells_is_nothing_to_compare() -> None:
    rows = [{**row, "steps": 8, "unresolved": "steps"} for row in sweep(12, cfg_scale=[3, 7])]
    (steps,) = (
        k for k in effects_of(rows, lambda row: row["cfg_scale"]).knobs if k.knob == "steps"
    )
    assert (steps.status, steps.left_out) == ("constant", 24)
    assert steps.summary.startswith("steps is not known of any picture")


@pytest.mark.parametrize(
    ("unrated", "status", "told"),
    [
        (0, "completed", "clear"), (0, "partial", "clear"), (1, "completed", "likely"),
        (0, "cancelled", "likely"), (0, "interrupted", "likely"), (0, "imported", "likely"),
    ],
)  # fmt: skip
def test_a_run_that_is_rated_to_its_end_has_been_looked_at_once(
    unrated: int, status: str, told: str
) -> None:
    """Then a difference that is likely is clear; as long as pictures of it wait it is not.

    Nor where somebody ended it when he had seen enough, or chose what to import.
    """
    rows = [{**row, "run_id": "run 1", "status": status} for row in sweep(12, steps=[8, 20])]
    known = trials_of(rows, better_with_steps)
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    columns["sha256"] = list(known.identities)
    for _ in range(unrated):
        for name, values in columns.items():
            values.append("f" * 64 if name == "sha256" else values[0])
    scores = ImageScores(
        identities=known.identities, scores=known.scores, deviations=known.deviations,
        readings=known.readings, ratings=known.ratings,
        places={digest: place for place, digest in enumerate(known.identities)},
    )  # fmt: skip
    effects = find_effects(join_trials(columns, scores))
    (comparison,) = comparisons(effects, "steps").values()
    assert comparison.status == told


def test_numbers_beyond_all_measure_are_values_like_others() -> None:
    rows = scatter(200, steps=[8, 20])
    for number, row in enumerate(rows):
        row["few"] = [1e308, -1e308, 1.7e308, 0.0, 5e-324][number % 5]
        row["many"] = number * 8e305 * (-1) ** number
    with np.errstate(all="raise", under="ignore"):
        effects = effects_of(rows, better_with_steps)
    assert [effect.knob for effect in effects.likely] == ["steps"]


def test_a_name_on_a_plot_keeps_its_end() -> None:
    """Versions of models differ there."""
    drawing = Drawing(width=200, height=40)
    drawing.text(0, 10, "juggernautXL_v8Rundiffusionphoto2_fp16", room=120)
    drawing.text(0, 30, "short", room=120)
    told = drawing.svg().decode()
    assert "…" in told
    assert "_fp16</text>" in told
    assert ">short</text>" in told
