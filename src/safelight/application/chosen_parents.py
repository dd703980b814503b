"""chosen_parents: which pictures somebody went on with, by setting; apart from all ratings.

Where a later picture was made from a picture (img2img, an upscale, an input), somebody chose that.
What a plan hands on from stage to stage nobody chose, and a run of which every picture was gone on
with is no choice between them: both are left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from safelight.archive import Archive
from safelight.archive.grids import grid_files
from safelight.knobs import KNOBS
from safelight.learning.evidence.findings import ChosenParents

__all__ = ["chosen_parents"]

_NOT_COMPARED = ("prompt", "negative_prompt", "seed", "init_image", "mask")
_KNOBS = tuple(n for n, knob in KNOBS.items() if knob.has_column and n not in _NOT_COMPARED)


def chosen_parents(archive: Archive, condition: str = "") -> ChosenParents:
    """Return how often pictures of each setting were gone on with.

    Args:
        archive: Whose pictures.
        condition: Only pictures that meet this, in the filter language.

    Raises:
        FilterError: The condition cannot be read.
        ArchiveError: The archive cannot answer.
    """
    if not archive.path.is_dir():
        return ChosenParents(pictures=0, chosen=0, handed_on=0)
    used = archive.rows("SELECT DISTINCT parent FROM images WHERE parent IS NOT NULL", rated=False)
    parents = {parent for (parent,) in used}
    if not parents:
        return ChosenParents(pictures=0, chosen=0, handed_on=0)
    handed_on = _handed_on(archive, parents)
    asked = ("sha256", "prompt", "run_id", "stage", *_KNOBS)
    grids = grid_files(archive)
    rows: dict[str, Mapping[str, Any]] = {}
    for row in archive.query(condition, columns=asked, sort="timestamp", limit=None).dicts():
        if row["sha256"] and row["sha256"] not in grids:
            rows.setdefault(row["sha256"], row)
    seen = [row for digest, row in rows.items() if digest not in handed_on]
    chosen = [row["sha256"] in parents for row in seen]
    left_out = len(rows) - len(seen)
    if not any(chosen):
        return ChosenParents(pictures=len(seen), chosen=0, handed_on=left_out)
    from safelight.learning.evidence.parent_shares import parent_shares

    columns = {name: [row[name] for row in seen] for name in _KNOBS}
    shares = parent_shares(columns, chosen, _groups(seen))
    return ChosenParents(pictures=len(seen), chosen=sum(chosen), handed_on=left_out, shares=shares)


def _handed_on(archive: Archive, parents: set[str]) -> set[str]:
    """Return those of *parents* that nobody chose."""
    of_runs: defaultdict[str, set[str]] = defaultdict(set)
    made_from: defaultdict[str, set[str]] = defaultdict(set)
    # Of every run all pictures, those that it used again, too: it may have handed on these.
    statement = "SELECT run_id, sha256, parent FROM run_images WHERE sha256 IS NOT NULL"
    for run_id, sha256, parent in archive.rows(statement, rated=False):
        of_runs[run_id].add(sha256)
        if parent:
            made_from[run_id].add(parent)
    handed_on = set[str]()
    for run_id, own in of_runs.items():
        handed_on |= own & made_from[run_id]
    for own in of_runs.values():
        ends = own - handed_on
        if len(ends) > 1 and ends <= parents:
            handed_on |= ends
    return handed_on


def _groups(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return among which pictures each was chosen: of its prompt, or its run, and stage."""
    prompts = Counter((row["prompt"], row["stage"]) for row in rows)
    return [
        ("prompt", row["prompt"], row["stage"])
        if row["prompt"] and prompts[row["prompt"], row["stage"]] > 1
        else ("run", row["run_id"], row["stage"])
        for row in rows
    ]
