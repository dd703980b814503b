"""What is known is told in a few sentences first, and nothing else is told for known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from learning.evidence.judgement import effects_of as effects_of_archive
from learning.evidence.worlds import archive_of
from learning.simulated_ratings import trials_of
from learning.test_effects import effects_of, scatter, sweep
from safelight.learning.evidence.effects import find_effects
from safelight.learning.evidence.findings import Comparison, Effects, KnobEffect, Part

Row = dict[str, Any]


def kinds_of(count: int = 300) -> list[Row]:
    """Return portraits and landscapes by two models, by chance."""
    chance = np.random.default_rng(1)
    return [
        {
            "prompt": f"{'portrait' if number % 2 else 'landscape'} of thing {chance.integers(40)}",
            "seed": number,
            "model": "dreamA" if chance.random() < 0.5 else "realB",
            "cfg_scale": float(chance.choice([4, 7, 10])),
        }
        for number in range(count)
    ]


def crossing(row: Row) -> float:
    """DreamA is better at portraits, realB at landscapes."""
    return 1.2 if ("portrait" in row["prompt"]) == (row["model"] == "dreamA") else 0.0


def test_what_reverses_is_told_for_its_parts_and_never_for_all() -> None:
    effects = effects_of(kinds_of(), crossing, noise=1.0)
    (model,) = (knob for knob in effects.knobs if knob.knob == "model")
    (comparison,) = model.comparisons
    assert (comparison.status, comparison.verdict) == ("depends", "depends on the prompt")
    assert {part.value for part in comparison.parts} == {"with 'portrait'", "with 'landscape'"}
    assert all(part.low * part.high > 0 for part in comparison.parts)
    first = effects.sentences[0]
    assert first.text.startswith(
        "For prompts with 'portrait', model dreamA is better than realB: +"
    )
    assert "it is the other way round" in first.text
    assert first.condition == "prompt has 'portrait'"
    assert "model" not in " ".join(effects.undecided)


def test_stars_that_follow_settings_to_the_letter_depend_on_nothing() -> None:
    """Two more with many steps, one less with much guidance: whole stars say no more than that."""
    rows = sweep(10, steps=[2, 10], cfg_scale=[3.0, 7.0])

    def stars(row: Any) -> int:
        return 3 + 2 * int(row["steps"] == 10) - int(row["cfg_scale"] == 7)

    effects = find_effects(trials_of(rows, stars))
    assert {knob.knob for knob in effects.clear} == {"steps", "cfg_scale"}
    assert effects.interactions == ()


def test_what_is_alike_everywhere_has_no_parts() -> None:
    def better(row: Row) -> float:
        return 1.0 if row["model"] == "dreamA" else 0.0

    effects = effects_of(kinds_of(), better, noise=1.0)
    (model,) = (knob for knob in effects.knobs if knob.knob == "model")
    assert [(c.status, c.parts) for c in model.comparisons] == [("clear", ())]
    assert effects.sentences[0].text.startswith("Model dreamA is better than realB: +")


def test_nothing_known_is_said_and_what_would_settle_it() -> None:
    effects = effects_of(scatter(60, sampler=["a", "b"], steps=[8, 20]), lambda row: 0.0)
    assert [one.text for one in effects.sentences] == [
        "Nothing is known yet: no difference is sure enough to be told."
    ]
    assert {line.partition(":")[0] for line in effects.undecided} == {"sampler", "steps"}
    assert all("about" in line and "more ratings of" in line for line in effects.undecided)


def test_where_nothing_varied_that_is_said_and_of_one_setting_what_it_was() -> None:
    effects = effects_of(scatter(40, sampler=["a"], steps=[8]), lambda row: 0.0)
    assert effects.summary == (
        "No setting varied in the rated pictures: there is nothing to compare."
    )
    (steps,) = (knob for knob in effects.knobs if knob.knob == "steps")
    assert replace(effects, knobs=(steps,)).summary == "steps was always 8: nothing to compare."


def test_too_few_for_a_figure_settle_nothing_and_come_last() -> None:
    rows = scatter(69, steps=[8, 20], sampler=["a", "b"])
    for number, row in enumerate(rows):
        row["vae"] = "x" if number < 9 else "y"
    lines = effects_of(rows, lambda row: 0.0).undecided
    assert lines[-1] == "vae: about 1 more rating of x and y before there is any figure"
    assert not any("before" in line for line in lines[:-1])


def test_reasons_beside_settings_are_all_said() -> None:
    """The order of rating, and the folder: both may be what it is."""
    archive = archive_of("folders_2_null", 1)
    text = effects_of_archive(archive, archive.events).summary
    assert "it may be the order of rating" in text
    assert "it may be the folder" in text


def test_the_best_are_named_where_some_are_known_not_to_be() -> None:
    """Three samplers are alike, two are far behind."""
    worth = {"a": 0.0, "b": 0.0, "c": 0.0, "d": -2.0, "e": -2.0}
    rows = sweep(14, sampler=list(worth))
    effects = effects_of(rows, lambda row: worth[row["sampler"]])
    (sampler,) = effects.knobs
    assert set(sampler.may_be_best) == {"a", "b", "c"}
    assert any("a, b, c may be best" in one.text for one in effects.sentences)


def test_a_reason_why_something_cannot_be_told_is_said_once() -> None:
    rows = scatter(120, cfg_scale=[4.0, 7.0])
    for row in rows:
        row["model"], row["sampler"] = ("X", "a") if row["seed"] % 2 else ("Y", "b")
    texts = [one.text for one in effects_of(rows, lambda row: 0.0).sentences]
    (untold,) = (text for text in texts if text.startswith("What cannot be told"))
    assert untold.count("only ever used with") == 2  # of the model, and of the sampler


def test_a_part_that_is_not_sure_is_never_claimed() -> None:
    """However large its difference is: the sure one goes before."""
    unsure = Part(knob="vae", value="a", condition="", difference=0.9, low=-0.2, high=2.0, n=11,
                  basis="adjusted")  # fmt: skip
    sure = replace(unsure, value="b", difference=-0.3, low=-0.5, high=-0.1, n=90)
    comparison = Comparison(
        level="X", against="Y", status="depends", parts=(unsure, sure), n=101, difference=0.0,
        low=-0.2, high=0.2,
        notes=("for these 4 prompts",),
    )  # fmt: skip
    knob = KnobEffect(knob="model", status="depends", summary="", comparisons=(comparison,))
    (one,) = Effects(pictures=101, ratings=101, prompts=4, gone=0, knobs=(knob,)).sentences
    assert one.text == (
        "For vae b, model Y is better than X: +0.30, between +0.10 and +0.50, from 90 pictures; for"
        " vae a no difference is known: -0.90, between -2.00 and +0.20, from 11 pictures (for these"
        " 4 prompts)."
    )


def test_where_it_depends_no_value_is_called_best_for_all() -> None:
    worth = {"dreamA": 0.0, "realB": 0.0, "animeC": -2.0}
    rows = [*kinds_of(), *({**row, "model": "animeC"} for row in kinds_of(100))]
    effects = effects_of(rows, lambda row: crossing(row) + worth[row["model"]], noise=0.8)
    (model,) = (knob for knob in effects.knobs if knob.knob == "model")
    assert {"clear", "depends"} <= {comparison.status for comparison in model.comparisons}
    assert not model.may_be_best


def test_many_reasons_are_told_by_some_and_counted() -> None:
    rows = scatter(240, cfg_scale=[4.0, 7.0])
    for row in rows:
        for knob in "abcdef":
            row[knob] = f"{knob}{row['seed'] % 5}"
    (untold,) = (
        one.text for one in effects_of(rows, lambda row: 0.0).sentences
        if one.text.startswith("What cannot be told")
    )  # fmt: skip
    assert untold.count("only ever used with") == 4
    assert "more reasons" in untold


def test_a_sentence_is_one_line_and_its_names_are_short() -> None:
    """Also where values are texts of many lines, and where two would have one name."""
    names = [None, "(none)", "", "(empty)", "long " * 100, "a\nb\x1b[2J", "all others"]
    rows = scatter(420, negative_prompt=names)
    worth = {name: 1.5 * place for place, name in enumerate(names)}
    effects = effects_of(rows, lambda row: worth[row["negative_prompt"]])
    (knob,) = effects.knobs
    levels = {knob.comparisons[0].against, *(one.level for one in knob.comparisons)}
    assert len(levels) == len(names)
    assert len(effects.sentences) > 1
    for one in effects.sentences:
        assert one.text.isprintable()
        assert len(one.text) < 400


def test_what_beats_the_mean_of_many_is_not_called_better_than_each() -> None:
    """Two of fourteen samplers are better than the others, and not than each other."""
    effects = effects_of(
        scatter(600, sampler=list("abcdefghijklmn")), lambda row: 2.0 * (row["sampler"] in "ab")
    )
    told = [one.claim for one in effects.sentences if one.better in ("a", "b")]
    assert sorted(told) == [f"Sampler {name} is better than all others together" for name in "ab"]


def test_prompts_are_many() -> None:
    """A part of the prompt of which every prompt has one: prompts are, not is."""
    rows = scatter(300)
    for number, row in enumerate(rows):
        row["prompt"] += ", oil" if number % 2 else ", ink"
    first = effects_of(rows, lambda row: 1.0 * ("oil" in row["prompt"])).sentences[0].text
    assert first.startswith(("Prompts with 'oil' are", "Prompts with 'ink' are"))


def test_whoever_rates_only_what_is_good_is_warned() -> None:
    chance = np.random.default_rng(5)
    rows = [{"prompt": f"thing {n % 20}", "seed": n, "steps": int(chance.choice([8, 20]))}
            for n in range(200)]  # fmt: skip

    def stars(row: Any) -> int | None:
        return 4 + row["seed"] % 2 if row["seed"] < 60 else None

    effects = find_effects(trials_of(rows, stars))
    assert effects.unrated == 140
    assert "60 of 200 pictures are rated" in effects.sentences[-1].text
