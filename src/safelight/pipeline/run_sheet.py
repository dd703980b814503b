"""write_contact_sheet: lay out a finished run's last pictures as its plan varied them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from safelight.archive_layout import CONTACT_SHEET
from safelight.config import PipelineConfig
from safelight.durable_file import replace_file
from safelight.pipeline.contact_sheet import MOST_CELLS, SheetCell, contact_sheet
from safelight.pipeline.picture_saver import RunImage
from safelight.pipeline.run_result import RunResult
from safelight.randomizer import Axis, RandomizerPlanResult

__all__ = ["row_length", "write_contact_sheet"]

_MOST_COLUMNS = 12
_WIDE = 8
"""Several axes share a row as long as it has no more pictures than this."""

_SELF_EXPLAINING = ("prompt", "sampler", "scheduler", "model")
"""Values of these need no name before them."""

_log = logging.getLogger(__name__)


def write_contact_sheet(
    result: RunResult, config: PipelineConfig, plan: RandomizerPlanResult
) -> Path | None:
    """Write ``contact_sheet.png`` into the run's folder, and return its path.

    None when the plan has one variant, nothing was drawn, or the sheet could not be made:
    that is logged, and the run is as good as it was.
    """
    if result.folder is None or plan.plan_size < 2 or not result.images:
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
    varied = [axis for axis in plan.axes if axis.size > 1]
    whole = plan.mode == "fanout" and len(pictures) == plan.full_size
    columns = row_length([axis.size for axis in varied]) if whole else None
    names: list[list[str]] = [[], []]
    if columns and len(varied) == 2:
        names = [_names(axis) for axis in varied]
    cells = [
        SheetCell(image=_bytes(image), label="" if names[1] else label or "")
        for image, label in pictures[:MOST_CELLS]
    ]
    title = config.name
    if result.parts > 1:
        title = f"{title}  part {result.part} of {result.parts}".strip()
    return contact_sheet(
        cells,
        title=title,
        columns=columns,
        column_names=names[1],
        row_names=names[0],
        pictures=len(pictures),
    )


def row_length(sizes: Sequence[int]) -> int | None:
    """Return how many pictures make a row: a value of the outer axes, when that is not too many.

    Axes that together are few share a row, so that a plan of many small axes is no tower.
    """
    if not sizes or sizes[-1] > _MOST_COLUMNS:
        return None
    columns = sizes[-1]
    for size in reversed(sizes[1:-1]):
        if columns * size > _WIDE:
            break
        columns *= size
    return columns


def _names(axis: Axis) -> list[str]:
    """Return a short name for each value of *axis*; all of them or none."""
    if axis.values is None:
        return []
    knob = axis.name.rpartition(".")[2]
    named = "" if knob.startswith(_SELF_EXPLAINING) else f"{knob} "
    texts = [f"{named}{value}" for value in axis.values]
    return [text if len(text) <= 28 else f"{text[:27]}…" for text in texts]


def _last_pictures(result: RunResult) -> list[tuple[RunImage | None, str | None]]:
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
    cells: dict[int, list[tuple[RunImage | None, str | None]]] = {
        variant: [(image, image.label) for image in images] for variant, images in last.items()
    }
    cells |= {failure.variant: [(None, failure.label)] for failure in result.failures}
    return [cell for variant in sorted(cells) for cell in cells[variant]]


def _bytes(image: RunImage | None) -> bytes | None:
    if image is None:
        return None
    return image.png if image.path is None else image.path.read_bytes()
