"""Side by side, variants are told by what differs between them, in few words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from randomizer.small_plans import plan_of
from safelight.randomizer.short_labels import ShortLabels, headings, told_apart


def labels(prompt: str | list[str], **options: Any) -> list[str]:
    variants = plan_of(prompt, **options).variants
    short = ShortLabels([variant.choices for variant in variants])
    return [short.of(place) for place in range(len(variants))]


def test_settings_come_first_and_by_short_names() -> None:
    """The prompt is the longest, so whatever has to be cut is cut of it."""
    sweep = {"txt2img.cfg_scale": [7.0, 3.5], "txt2img.sampler": ["Euler a"]}
    first, *_ = labels(["a {red|green} cat", "a dog"], sweep=sweep, seeds_per_variant=2)
    assert first == "cfg 7 · red · seed 1 · a {red|green} cat"
    # The sampler is the same everywhere, so it tells nothing.


def test_what_all_share_is_left_out() -> None:
    """Also when it was chosen, or stands in a part of the plan only."""
    choices = [{"txt2img.steps": 4, "txt2img.cfg_scale": 7}, {"txt2img.steps": 4}]
    short = ShortLabels(choices)
    assert [short.of(0), short.of(1)] == ["cfg 7", ""]


def test_a_variant_alone_is_told_whole() -> None:
    """Nothing stands beside it, so nothing is left out."""
    assert ShortLabels([{"txt2img.steps": 4, "[place]": "beach"}]).of(0) == "steps 4 · beach"


@pytest.mark.parametrize(
    ("name", "values", "shown"),
    [
        ("txt2img.model", ["a/x.pt", "b/y.pt"], ["x.pt", "y.pt"]),
        ("txt2img.model", ["a/x.pt", "b/x.pt"], ["a/x.pt", "b/x.pt"]),
        ("lora.ink", [0, 0.5], ["ink 0", "ink 0.5"]),
        ("txt2img.extra.tiling", [True, False], ["tiling true", "tiling false"]),
        ("img2img.denoising_strength", [0.4, 0.75], ["denoise 0.4", "denoise 0.75"]),
        ("cat->", ["dog", ""], ["dog", "no cat"]),
        ("__mood__", ["calm", ""], ["calm", "no mood"]),
        ("txt2img.prompt{1}", ["at dawn", ""], ["at dawn", "(nothing)"]),
        ("txt2img.negative_prompt{1}", ["low", ""], ["negative low", "negative (nothing)"]),
        ("txt2img.negative_prompt", ["", "low"], ["negative (nothing)", "negative low"]),
        (
            "settings",
            [{"txt2img.steps": 4, "txt2img.sampler": "Heun"}, {"txt2img.steps": 8}],
            ["steps 4 · Heun", "steps 8"],
        ),
    ],
)  # fmt: skip
def test_every_kind_of_choice_has_a_short_name(
    name: str, values: list[Any], shown: list[str]
) -> None:
    """As they stand above the columns of a sheet."""
    assert headings(name, values) == shown


def test_sides_are_a_size_and_stages_are_named_where_both_vary() -> None:
    """Short must not mean ambiguous."""
    sizes = [
        {"txt2img.width": 512, "txt2img.height": 768},
        {"txt2img.width": 768, "txt2img.height": 512},
    ]
    assert ShortLabels(sizes).of(0) == "512×768"
    both = [{"txt2img.steps": 4, "img2img.steps": 8}, {"txt2img.steps": 5, "img2img.steps": 9}]
    assert ShortLabels(both).of(1) == "txt2img steps 5 · img2img steps 9"


def test_of_long_texts_that_part_is_shown_in_which_they_differ() -> None:
    """Wherever that is; the first forty letters are the same in all of a series."""
    scene = "a photo of a very old {} on a rocky coast at dawn, {}, film grain, 35 mm"
    texts = [scene.format(*pair) for pair in (("mill", "red"), ("mill", "blue"), ("barn", "red"))]
    assert list(told_apart(texts).values()) == [
        "… mill … red, …", "… mill … blue, …", "… barn … red, …",
    ]  # fmt: skip
    names = [f"a-model-with-a-very-long-name-{n}-of-many.safetensors" for n in ("one", "two")]
    assert list(told_apart(names).values()) == [
        f"…-a-very-long-name-{n}-of-many.safetensor…" for n in ("one", "two")
    ]


@given(st.lists(st.text("ab …\n(2)", max_size=90), max_size=8), st.integers(12, 40))
def test_no_two_texts_are_shown_alike(texts: list[str], most: int) -> None:
    """And none of them at length."""
    short = told_apart(texts, most)
    assert set(short) == set(texts)
    assert len(set(short.values())) == len(short)
    assert all(len(form) <= most + 6 for form in short.values())
