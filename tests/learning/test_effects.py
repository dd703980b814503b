"""Effects: what is named is so, what is not known is called unknown, and everything has an n."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from safelight.learning.effect_plot import draw_effects
from safelight.learning.effects import FEWEST_PAIRS, Comparison, Effects, find_effects
from safelight.learning.scores import ImageScores
from safelight.learning.trials import join_trials

Row = dict[str, Any]


def effects_of(rows: list[Row], score: Callable[[Row], float], noise: float = 0.5) -> Effects:
    """Return the effects among *rows*, whose scores are known but for noise."""
    chance = np.random.default_rng(len(rows))
    values = np.array([score(row) for row in rows]) + chance.normal(0, noise, len(rows))
    digests = tuple(f"{number:064x}" for number in range(len(rows)))
    scores = ImageScores(
        identities=digests, scores=values, deviations=np.full(len(rows), 0.3), readings=values,
        ratings=np.ones(len(rows), np.int64), places={d: p for p, d in enumerate(digests)},
    )  # fmt: skip
    columns: dict[str, Any] = {"sha256": digests}
    for name in dict.fromkeys(name for row in rows for name in row):
        columns[name] = [row.get(name) for row in rows]
    return find_effects(join_trials(columns, scores))


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
    (found,) = (one for one in effects.knobs if one.knob == knob)
    return {one.level: one for one in found.comparisons}


def better_with_steps(row: Row) -> float:
    return {8: -0.8, 20: 0.0, 30: 0.0}[row["steps"]]


def test_a_sweep_is_read_in_pairs() -> None:
    """Each pair differs in the one knob only; what matters is clear, and has the right size."""
    effects = effects_of(sweep(steps=[8, 20, 30], sampler=["a", "b"]), better_with_steps)
    assert [one.knob for one in effects.clear] == ["steps"]
    found = comparisons(effects, "steps")["20"]
    assert (found.basis, found.n, found.prompts) == ("pairs", 24, 12)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.8 < found.high
    assert found.low > 0
    sampler = next(iter(comparisons(effects, "sampler").values()))
    assert sampler.status in ("open", "small")
    assert "24" not in sampler.against


def test_pictures_with_seeds_of_their_own_are_adjusted() -> None:
    """No two are alike in all else; the other knobs are held in mind."""
    rows = scatter(300, steps=[8, 20, 30], sampler=["a", "b"], cfg_scale=[3.0, 7.0])
    effects = effects_of(rows, lambda row: better_with_steps(row) + 0.5 * (row["sampler"] == "b"))
    assert {one.knob for one in effects.clear} == {"steps", "sampler"}
    assert comparisons(effects, "steps")["8"].basis == "adjusted"


def test_a_mix_up_that_can_be_undone_is_undone() -> None:
    """Sampler b was mostly used with few steps; by itself it is no worse."""
    chance = np.random.default_rng(3)
    rows = scatter(600, steps=[8, 20])
    for row in rows:
        row["sampler"] = "b" if chance.random() < (0.85 if row["steps"] == 8 else 0.15) else "a"
    effects = effects_of(rows, better_with_steps)
    assert [one.knob for one in effects.clear] == ["steps"]


def test_a_confounder_is_named() -> None:
    """The sampler changed whenever the model did: no figure for either, but the reason."""
    rows = scatter(200, sampler=["Euler a", "DPM++ 2M"], steps=[8, 20])
    for row in rows:
        row["model"] = "X" if row["sampler"] == "DPM++ 2M" else "Y"
    effects = effects_of(rows, lambda row: 1.0 * (row["model"] == "X"))
    for knob in ("sampler", "model"):
        (one,) = comparisons(effects, knob).values()
        assert one.status == "confounded"
        assert one.difference is None
    (told,) = (one.told for one in effects.knobs if one.knob == "sampler")
    assert "sampler DPM++ 2M" in told
    assert "with model X" in told


def test_pairs_see_through_a_confounder_elsewhere() -> None:
    """One small sweep tells what a thousand mixed-up pictures cannot."""
    mixed = scatter(200, steps=[8, 20])
    for row in mixed:
        row["sampler"] = "a" if row["steps"] == 8 else "b"
    effects = effects_of(mixed + sweep(prompts=16, steps=[8, 20], sampler=["a"]), better_with_steps)
    (one,) = comparisons(effects, "steps").values()
    assert (one.status, one.basis) == ("clear", "pairs")


def test_a_knob_that_only_some_samplers_have_is_counted_with_the_sampler() -> None:
    """Engines tell eta where it applies; that is no confounder."""
    rows = sweep(sampler=["Euler a", "DPM++ 2M"], steps=[8, 20])
    for row in rows:
        if row["sampler"] == "Euler a":
            row["eta"] = 1.0
    effects = effects_of(rows, lambda row: 0.8 * (row["sampler"] == "Euler a"))
    assert [one.knob for one in effects.clear] == ["sampler"]
    (eta,) = (one for one in effects.knobs if one.knob == "eta")
    assert (eta.status, eta.follows) == ("constant", "sampler")


def test_an_interaction_is_found() -> None:
    """High guidance is good with one sampler and bad with the other; neither matters alone."""
    rows = scatter(400, cfg_scale=[3.0, 9.0], sampler=["a", "b"], steps=[8, 20])
    effects = effects_of(
        rows, lambda row: 0.6 * (2 * ((row["cfg_scale"] > 5) == (row["sampler"] == "a")) - 1)
    )
    (found,) = effects.interactions
    assert {found.knob, found.other} == {"cfg_scale", "sampler"}
    assert abs(found.difference) == pytest.approx(2.4, abs=0.5)
    assert f"n = {found.n}" in found.told


def test_three_lucky_pictures_recommend_nothing() -> None:
    """Too few for a figure; told how many more ratings it takes."""
    rows = scatter(100, steps=[8, 20]) + [
        {"prompt": f"lucky {n}", "seed": n, "steps": 30} for n in range(3)
    ]
    effects = effects_of(rows, lambda row: 3.0 * (row["steps"] == 30))
    lucky = comparisons(effects, "steps")["30"]
    assert (lucky.status, lucky.difference, lucky.n) == ("few", None, 3)
    assert lucky.more == 7


def test_what_is_expected_is_nearer_to_nothing_than_what_was_seen() -> None:
    """And the more so the less is known."""
    for count in (60, 600):
        effects = effects_of(scatter(count, sampler=list("abcdefgh")), lambda row: 0.0)
        for one in comparisons(effects, "sampler").values():
            if one.difference is not None and one.expected is not None:
                assert abs(one.expected) <= abs(one.difference)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], "no rated pictures"),
        (scatter(1, steps=[8, 20]), "only one rated picture"),
        (scatter(30, steps=[8, 20]), "all 30 rated pictures have the same score"),
    ],
)
def test_where_nothing_can_be_said_it_says_why(rows: list[Row], told: str) -> None:
    """A sentence, and no figure."""
    effects = effects_of(rows, lambda row: 0.25, noise=0.0)
    assert told in effects.told
    assert effects.knobs == ()


def test_a_constant_knob_and_one_with_a_thousand_values_are_told_so() -> None:
    """Neither has a figure, and neither disturbs the knob that matters."""
    rows = scatter(1000, steps=[8, 20, 30], model=["only"])
    for number, row in enumerate(rows):
        row["vae"] = f"vae {number}"
    effects = effects_of(rows, better_with_steps)
    assert [one.knob for one in effects.clear] == ["steps"]
    by_name = {one.knob: one for one in effects.knobs}
    assert by_name["model"].told == "model was always only: nothing to compare"
    assert by_name["vae"].told.startswith("not enough evidence about vae: 1000 values")
    assert by_name["vae"].unused == 800


def test_few_pairs_have_no_figure() -> None:
    """One pair less than the threshold, and nothing else to go by."""
    effects = effects_of(sweep(prompts=FEWEST_PAIRS - 1, steps=[8, 20]), better_with_steps)
    (one,) = comparisons(effects, "steps").values()
    assert (one.status, one.difference) == ("few", None)


def test_the_plot_shows_every_figure_with_its_n() -> None:
    """As a picture and as SVG, whatever the names are."""
    rows = sweep(steps=[8, 20, 30], sampler=["<b>&\x07", "灯台 " * 40])
    effects = effects_of(rows, better_with_steps)
    drawing = draw_effects(effects, title="What works & <why>", rated_by="ann")
    root = ElementTree.fromstring(drawing.svg())
    texts = [node.text or "" for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("n = 24 pairs") == 2
    assert texts.count("n = 36 pairs") == 1
    picture = Image.open(io.BytesIO(drawing.png()))
    assert picture.size == (drawing.width * 2, drawing.height * 2)


def test_a_plot_of_nothing_says_so() -> None:
    """No empty axes."""
    drawing = draw_effects(effects_of([], lambda row: 0.0), title="t", rated_by="nobody")
    assert b"no rated pictures" in drawing.svg()
