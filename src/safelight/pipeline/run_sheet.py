"""write_contact_sheet: lay out a finished run's last pictures as its plan varied them."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from safelight.archive_layout import CONTACT_SHEET
from safelight.config import PipelineConfig
from safelight.durable_file import read_regular_file, replace_file
from safelight.pipeline.contact_sheet import Heading, SheetCell, contact_sheet
from safelight.pipeline.picture_saver import RunImage
from safelight.pipeline.run_result import RunResult
from safelight.randomizer import Axis, RandomizerPlanResult
from safelight.randomizer.short_labels import ShortLabels, headings

__all__ = ["PlanTable", "plan_table", "row_length", "write_contact_sheet"]

_MOST_COLUMNS = 12
_WIDE = 8
"""Several axes share a row as long as it has no more pictures than this."""

_WIDEST = 24
"""Columns of a table whose other axis is no shorter."""

_log = logging.getLogger(__name__)


def write_contact_sheet(
    result: RunResult, config: PipelineConfig, plan: RandomizerPlanResult
) -> Path | None:
    """Write ``contact_sheet.png`` into the run's folder, and return its path.

    None when the config wants none, the plan has one variant, nothing was drawn, or the sheet
    could not be made: that is logged, and the run is as good as it was.
    """
    if not config.output.sheet or result.folder is None or plan.plan_size < 2 or not result.images:
        return None
    path = result.folder / f"{CONTACT_SHEET}.png"
    try:
        replace_file(path, _sheet(result, config, plan))
    except (OSError, ValueError) as error:
        _log.warning("the contact sheet could not be made: %s", error)
        return None
    return path


def _sheet(result: RunResult, config: PipelineConfig, plan: RandomizerPlanResult) -> bytes:
    pictures = _last_pictures(result)
    layout = plan_table(config, plan, len(pictures))
    order = range(len(pictures)) if layout is None else layout.order
    places = list(itertools.islice(order, config.output.sheet_cells))
    if layout is None or not layout.row_heads:
        shown = [place for place in places if place is not None]
        labels = ShortLabels([plan.variants[pictures[place][0]].choices for place in shown])
        numbers = itertools.count()
        texts = ["" if place is None else labels.of(next(numbers)) for place in places]
    else:
        texts = [""] * len(places)
    title = config.name
    if result.parts > 1:
        title = f"{title}  part {result.part} of {result.parts}".strip()
    return contact_sheet(
        [
            SheetCell(is_empty=True)
            if place is None
            else SheetCell(image=_bytes(pictures[place][1]), label=text)
            for place, text in zip(places, texts, strict=True)
        ],
        title=title,
        columns=None if layout is None else layout.columns,
        column_heads=() if layout is None else layout.column_heads,
        row_heads=() if layout is None else layout.row_heads,
        pictures=len(pictures),
        most=config.output.sheet_cells,
        side=config.output.sheet_side,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTable:
    """A plan as a table.

    Attributes:
        columns: Pictures per row.
        order: Places of the pictures, row by row; lazy, a part has many. None is an empty cell.
        column_heads: Above the columns, level by level, the outermost first.
        row_heads: Beside the rows; with none there is one row, and pictures have labels.
    """

    columns: int
    order: Iterable[int | None]
    column_heads: Sequence[Sequence[Heading]]
    row_heads: Sequence[Sequence[Heading]]


def plan_table(
    config: PipelineConfig, plan: RandomizerPlanResult, pictures: int
) -> PlanTable | None:
    """Return how *plan* makes a table; None where it makes none.

    It does where every combination of all axes is there, once, or is left out by a condition;
    sub-sweeps share no axes.

    Args:
        config: What the plan was made of.
        plan: What was drawn.
        pictures: How many pictures there are of it.
    """
    varied = [axis for axis in plan.axes if axis.size > 1]
    sizes = [axis.size for axis in varied]
    is_whole = pictures == plan.plan_size == plan.full_size
    if plan.mode != "fanout" or not is_whole or len(config.randomizer.sub_sweeps) > 1:
        return None
    places_of = _places_with_holes(varied, plan) if plan.left_out else None
    if places_of is None and math.prod(sizes) != plan.full_size:
        return None
    order = _in_rows(sizes)
    columns = row_length([sizes[axis] for axis in order])
    if columns is None:
        return None
    inner = 0
    while math.prod(sizes[axis] for axis in order[len(order) - inner :]) < columns:
        inner += 1
    rows, across = order[: len(order) - inner], order[len(order) - inner :]
    strides = [math.prod(sizes[axis + 1 :]) for axis in range(len(sizes))]
    steps = [[n * strides[axis] for n in range(sizes[axis])] for axis in order]
    places: Iterable[int | None] = map(sum, itertools.product(*steps))
    if places_of is not None:
        places = map(places_of.get, places)
        texts = [headings(axis.name, list(axis.values or ())) for axis in varied]
    elif not all(map(partial(_means_one, plan), varied, strides)):
        return PlanTable(columns=columns, order=places, column_heads=(), row_heads=())
    else:
        texts = [
            _headings(axis, stride, config, plan)
            for axis, stride in zip(varied, strides, strict=True)
        ]
    return PlanTable(
        columns=columns,
        order=places,
        column_heads=_levels([texts[axis] for axis in across]) if rows else (),
        row_heads=_levels([texts[axis] for axis in rows]),
    )


def _places_with_holes(
    axes: Sequence[Axis], plan: RandomizerPlanResult
) -> dict[int | None, int] | None:
    """Return place among all combinations of *axes* -> place in a plan that some were left out of.

    None where that is no table worth looking at: more than half of it would be empty, or some
    choice has no place on an axis.
    """
    size = math.prod(axis.size for axis in axes)
    if size > 2 * plan.full_size or any(axis.values is None for axis in axes):
        return None
    on_axis = [{repr(v): n for n, v in enumerate(axis.values or ())} for axis in axes]
    places: dict[int | None, int] = {}
    for variant in plan.variants:
        place = 0
        for axis, known in zip(axes, on_axis, strict=True):
            at = known.get(repr(variant.choices.get(axis.name)))
            if at is None:
                return None
            place = place * axis.size + at
        places[place] = variant.index
    return places if len(places) == plan.full_size else None


def _in_rows(sizes: Sequence[int]) -> list[int]:
    """Return the axes in the order in which a table nests them, the one of its columns last.

    That is the order of the plan, unless its last axis is too long for a row and another is not.
    """
    order = list(range(len(sizes)))
    if sizes and sizes[-1] > _MOST_COLUMNS:
        short = [axis for axis in order if sizes[axis] <= _MOST_COLUMNS]
        if short:
            order.remove(short[-1])
            order.append(short[-1])
    return order


def row_length(sizes: Sequence[int]) -> int | None:
    """Return how many pictures make a row: a value of the outer axes, when that is not too many.

    Axes that together are few share a row, so that a plan of many small axes is no tower.
    """
    if not sizes or sizes[-1] > (_MOST_COLUMNS if len(sizes) == 1 else _WIDEST):
        return None
    columns = sizes[-1]
    for size in reversed(sizes[1:-1]):
        if columns * size > _WIDE:
            break
        columns *= size
    return columns


def _means_one(plan: RandomizerPlanResult, axis: Axis, stride: int) -> bool:
    """Return whether a place on *axis* is the same value everywhere, so that a heading is true."""
    if axis.values is not None:
        return True
    values: dict[int, object] = {}
    return all(
        values.setdefault(variant.index // stride % axis.size, chosen) == chosen
        for variant in plan.variants
        for chosen in [variant.choices.get(axis.name)]
    )


def _headings(
    axis: Axis, stride: int, config: PipelineConfig, plan: RandomizerPlanResult
) -> list[str]:
    """Return a short name for each value of *axis*, whose values are *stride* variants apart."""
    if axis.name == "settings":
        return headings(axis.name, config.randomizer.settings)
    chosen = [plan.variants[number * stride].choices for number in range(axis.size)]
    if all(axis.name in choices for choices in chosen):
        return headings(axis.name, [choices[axis.name] for choices in chosen])
    labels = ShortLabels(chosen)
    return [labels.of(number) for number in range(axis.size)]


def _levels(texts: Sequence[Sequence[str]]) -> list[list[Heading]]:
    """Return the headings of axes that nest, the outermost first."""
    levels = []
    for place, names in enumerate(texts):
        span = math.prod(map(len, texts[place + 1 :]))
        times = math.prod(map(len, texts[:place]))
        levels.append([Heading(name, span) for _ in range(times) for name in names])
    return levels


_Cell = tuple[int, RunImage | None]
"""The place of a variant in the plan, and its picture."""


def _last_pictures(result: RunResult) -> list[_Cell]:
    """Return of every variant the pictures of its last stage, and None for one that failed.

    A variant that failed in a later stage keeps its place, crossed out: its earlier
    pictures are not what the plan asked for.
    """
    last: dict[int, list[RunImage]] = {}
    for image in result.images:
        same = last.get(image.variant)
        if same and same[0].output.stage == image.output.stage:
            same.append(image)
        else:
            last[image.variant] = [image]
    cells: dict[int, list[_Cell]] = {
        variant: [(variant, image) for image in images] for variant, images in last.items()
    }
    cells |= {failure.variant: [(failure.variant, None)] for failure in result.failures}
    return [cell for variant in sorted(cells) for cell in cells[variant]]


def _bytes(image: RunImage | None) -> bytes | None:
    if image is None:
        return None
    return image.png if image.path is None else read_regular_file(image.path)
