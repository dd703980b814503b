"""A contact sheet shows every picture of a plan at a glance."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from safelight.pipeline.contact_sheet import MOST_CELLS, SheetCell, contact_sheet
from safelight.pipeline.run_sheet import row_length

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
     ([2, 13], None), ([5, 12], 12)],
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
