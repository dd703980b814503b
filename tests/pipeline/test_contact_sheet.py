"""A contact sheet shows every picture of a plan at a glance."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from safelight.config import PipelineConfig
from safelight.pipeline.contact_sheet import MOST_CELLS, Heading, SheetCell, contact_sheet
from safelight.pipeline.run_sheet import plan_table, row_length
from safelight.randomizer import plan_variants

RED, BLUE = (200, 0, 0), (0, 0, 200)


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (32, 32)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def opened(sheet: bytes) -> Image.Image:
    return Image.open(io.BytesIO(sheet)).convert("RGB")


def area(sheet: Image.Image, colour: tuple[int, int, int]) -> int:
    return int((np.asarray(sheet) == np.array(colour)).all(axis=2).sum())


def test_small_pictures_are_enlarged_by_whole_factors() -> None:
    """A 32-pixel picture is seen as it was drawn, five times as large."""
    sheet = opened(contact_sheet([SheetCell(image=picture(RED)), SheetCell(image=picture(BLUE))]))
    assert area(sheet, RED) == area(sheet, BLUE) == 160 * 160


def test_large_pictures_are_made_smaller_and_keep_their_shape() -> None:
    """A sheet of 4K pictures is still a sheet."""
    sheet = opened(contact_sheet([SheetCell(image=picture(RED, (2048, 1024)))]))
    assert 0.9 < area(sheet, RED) / (256 * 128) < 1.1


def test_rows_and_columns_follow_the_plan() -> None:
    """Columns as asked, in reading order."""
    cells = [SheetCell(image=picture(c), label="x") for c in (RED, RED, BLUE, BLUE)]
    sheet = opened(
        contact_sheet(cells, columns=2, column_names=["a", "b"], row_names=["red", "blue"])
    )
    pixels = np.asarray(sheet)
    red_rows = np.flatnonzero((pixels == RED).all(axis=2).any(axis=1))
    blue_rows = np.flatnonzero((pixels == BLUE).all(axis=2).any(axis=1))
    assert red_rows.max() < blue_rows.min()


@pytest.mark.parametrize("label", ["", "灯台 🗼", "a very long label " * 30, "x" * 500, "a\nb"])
def test_any_label_fits(label: str) -> None:
    """Labels are wrapped and cut; the sheet's width does not depend on them."""
    cells = [SheetCell(image=picture(RED), label=label)] * 2
    plain = opened(contact_sheet([SheetCell(image=picture(RED))] * 2))
    assert opened(contact_sheet(cells, title=label)).width == plain.width


def test_a_failed_variant_leaves_a_crossed_cell() -> None:
    """The others keep their places."""
    sheet = opened(contact_sheet([SheetCell(image=None), SheetCell(image=picture(BLUE))]))
    assert area(sheet, BLUE) == 160 * 160


def test_a_sheet_has_a_limit() -> None:
    """Of ten thousand pictures the first few hundred are shown."""
    cells = [SheetCell(image=picture(RED, (8, 8)))] * (MOST_CELLS + 5)
    sheet = opened(contact_sheet(cells, columns=40))
    assert area(sheet, RED) == MOST_CELLS * 160 * 160


@pytest.mark.parametrize(
    ("sizes", "columns"),
    [([], None), ([3], 3), ([4, 3], 3), ([3, 4, 2], 8), ([2, 5, 2], 2), ([2, 2, 2, 2], 8),
     ([2, 13], 13), ([30, 30], None), ([13], None), ([5, 12], 12)],
)  # fmt: skip
def test_rows_are_as_long_as_the_inner_axes_allow(sizes: list[int], columns: int | None) -> None:
    """The outer axes go down, so that a row differs in little."""
    assert row_length(sizes) == columns


def test_a_long_column_name_keeps_its_value_in_sight() -> None:
    """The name may be cut; what varies may not."""
    cell = SheetCell(image=picture(RED, (64, 64)))
    short, long = (
        opened(contact_sheet([cell], columns=1, column_names=[name]))
        for name in ("cfg_scale 3", "hires_denoising_strength 0.3")
    )
    assert long.height == short.height + 17, "the value has a line of its own"


def table(prompt: str | list[str], **options: Any) -> tuple[list[int | None], list[Any], list[Any]]:
    """Return the order of the pictures, and what stands above columns and beside rows."""
    stage = {"prompt": prompt, "seed": 1}
    config = PipelineConfig.from_mapping({"txt2img": stage, "randomizer": options})
    plan = plan_variants(config, 0)
    laid = plan_table(config, plan, plan.plan_size)
    assert laid is not None
    above, beside = (
        [[(head.text, head.span) for head in level] for level in levels]
        for levels in (laid.column_heads, laid.row_heads)
    )
    return list(laid.order), above, beside


def test_two_axes_are_a_table_with_headed_rows_and_columns() -> None:
    """What varies is read at the edge, and not sought in every label."""
    order, above, beside = table("a {red|green} cat", sweep={"txt2img.cfg_scale": [1, 7]})
    assert order == [0, 1, 2, 3]
    assert above == [[("cfg 1", 1), ("cfg 7", 1)]]
    assert beside == [[("red", 1), ("green", 1)]]


def test_a_long_last_axis_goes_down() -> None:
    """Fifteen seeds of two prompts are two columns."""
    order, above, beside = table("a {red|green} cat", seeds_per_variant=15)
    assert order[:4] == [0, 15, 1, 16]
    assert above == [[("red", 1), ("green", 1)]]
    assert [text for text, _ in beside[0]][:2] == ["seed 1", "seed 2"]


def test_more_axes_have_headings_that_nest() -> None:
    """Those that are few share the columns."""
    sweep = {"txt2img.cfg_scale": [1, 3, 7], "txt2img.steps": [4, 8]}
    order, above, beside = table("a cat", sweep=sweep, seeds_per_variant=5)
    assert order == list(range(30))
    assert above == [[(f"seed {n}", 1) for n in range(1, 6)]]
    assert beside == [
        [("cfg 1", 2), ("cfg 3", 2), ("cfg 7", 2)], [("steps 4", 1), ("steps 8", 1)] * 3,
    ]  # fmt: skip
    _, above, beside = table("a {red|green} cat", sweep=sweep)
    assert above == [
        [("cfg 1", 2), ("cfg 3", 2), ("cfg 7", 2)], [("steps 4", 1), ("steps 8", 1)] * 3,
    ]  # fmt: skip
    assert beside == [[("red", 1), ("green", 1)]]


def test_settings_that_come_together_head_one_row() -> None:
    """By all that they set."""
    settings = [{"txt2img.steps": 4, "txt2img.cfg_scale": 1}, {"txt2img.steps": 8}]
    _, above, _ = table("a {red|green} cat", settings=settings)
    assert above == [[("steps 4 · cfg 1", 1), ("steps 8", 1)]]


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        ("a {red|green} cat", {"mode": "random", "draws": 4}),
        ("a {red|green} {cat|dog}", {"max_variants": 3}),
        (["a {red|green} cat", "a dog"], {"seeds_per_variant": 2}),
        ("a", {"sub_sweeps": [{"txt2img.steps": [1, 2]}, {"txt2img.eta": [0, 1]}]}),
    ],
)
def test_what_is_not_every_combination_is_no_table(prompt: Any, options: dict[str, Any]) -> None:
    """A heading must be true of all that it stands over."""
    config = PipelineConfig.from_mapping(
        {"txt2img": {"prompt": prompt, "seed": 1}, "randomizer": options}
    )
    plan = plan_variants(config, 0)
    assert plan_table(config, plan, plan.plan_size) is None


def test_what_conditions_leave_out_is_an_empty_cell_of_the_table() -> None:
    """Headings stay true, and nothing looks as if it had failed."""
    sweep = {"txt2img.steps": [1, 2, 3], "txt2img.cfg_scale": [4, 5]}
    options: dict[str, Any] = {
        "sweep": sweep,
        "exclude": [{"where": "steps = 2 and cfg_scale = 4"}],
    }
    order, above, beside = table("a", **options)
    assert order == [0, 1, None, 2, 3, 4]
    assert above == [[("cfg 4", 1), ("cfg 5", 1)]]
    assert beside == [[("steps 1", 1), ("steps 2", 1), ("steps 3", 1)]]
    options["seeds_per_variant"] = 2
    assert table("a", **options)[0] == [0, 1, 2, 3, None, None, 4, 5, 6, 7, 8, 9]
    cells = [
        SheetCell(image=picture(RED)),
        SheetCell(is_empty=True),
        SheetCell(image=picture(BLUE)),
    ]
    sheet = opened(contact_sheet(cells, columns=2, column_names=["a", "b"]))
    assert area(sheet, RED) == area(sheet, BLUE) == 160 * 160
    assert area(sheet, (236, 233, 226)) == 0


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        ("a", {"sweep": {"txt2img.steps": "1-4", "txt2img.eta": [0, 1]},
               "exclude": [{"where": "eta = 0 or steps > 3"}]}),
        ("{x|y}", {"settings": [{"txt2img.steps": 1}, {"txt2img.steps": 2}],
                   "exclude": [{"where": "{1} = 'y' and steps = 2"}]}),
    ],
)  # fmt: skip
def test_a_table_that_would_be_mostly_empty_is_a_list(prompt: str, options: dict[str, Any]) -> None:
    """And so is what has no place in it."""
    config = PipelineConfig.from_mapping(
        {"txt2img": {"prompt": prompt, "seed": 1}, "randomizer": options}
    )
    plan = plan_variants(config, 0)
    assert plan_table(config, plan, plan.plan_size) is None


def test_a_place_that_means_another_value_in_every_row_has_no_heading() -> None:
    """Seeds that no two combinations share stand below their pictures."""
    prompt, each = "a {red|green} cat", {"seeds_per_variant": 3, "seed_policy": "per_prompt"}
    assert table(prompt, **each) == (list(range(6)), [], [])


def test_headings_of_every_level_have_room() -> None:
    """Levels stand side by side and above each other, however long their texts are."""
    cells = [SheetCell(image=picture(RED, (64, 64)))] * 4
    short, long = (
        opened(
            contact_sheet(
                cells, columns=2,
                column_heads=[[Heading(text, 2)], [Heading(text), Heading(text)]],
                row_heads=[[Heading(text, 2)], [Heading(text), Heading(text)]],
            )
        )
        for text in ("a", "word " * 200 + "x" * 500)
    )  # fmt: skip
    assert area(short, RED) == area(long, RED) == 4 * 128 * 128
    assert long.width - short.width < 2 * 150
    assert opened(contact_sheet(cells, most=3, side=64)).size[0] < short.width
    assert area(opened(contact_sheet(cells, most=3, side=64)), RED) == 3 * 64 * 64


@pytest.mark.parametrize("side", [48, 160])
@pytest.mark.parametrize("where", ["column_names", "row_names", "label"])
def test_names_that_differ_in_their_middle_are_seen_to_differ(side: int, where: str) -> None:
    """To cut them there would leave two rows of one name."""
    sheets = []
    for number in (10, 20):
        name = f"…-very-long-name-epoch-{number}-fp16.safetensors"
        cell = SheetCell(image=picture(RED, (side, side)), label=name if where == "label" else "")
        names: dict[str, Any] = {} if where == "label" else {where: [name]}
        sheets.append(np.asarray(opened(contact_sheet([cell], columns=1, side=side, **names))))
    if side == 160 or where != "label":  # three lines of 48 pixels hold no such name
        assert sheets[0].shape == sheets[1].shape
        assert (sheets[0] != sheets[1]).any()
