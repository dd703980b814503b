"""ratable_pictures: which pictures of an archive can be shown to who rates, without arithmetic.

What is worked out of them is in :mod:`.to_rate`; a server that must answer at once draws from
them by chance.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from safelight.archive import Archive
from safelight.archive.grids import grid_files
from safelight.archive_layout import picture_file
from safelight.filter_tokens import quoted
from safelight.knobs import COMPARED, STAGES
from safelight.learning.ratings.rating_event import Identity

__all__ = [
    "FOUR",
    "KNOBS",
    "POOL_COLUMNS",
    "Row",
    "fours",
    "identity_of",
    "is_there",
    "looked_at",
    "results",
    "unrated_by_chance",
]

Row = Mapping[str, Any]

FOUR = 4
"""Pictures to choose the best of."""

KNOBS = ("sha256", "pixel_sha256", "stage", *COMPARED)
POOL_COLUMNS = (*KNOBS, "path", "gone", "parent", "run_id", "variant")
"""Columns of the view ``images`` that are known of each picture."""

_UNRATED = "stars is missing and not rejected = true"
_WINDOWS = 6


def unrated_by_chance(
    archive: Archive,
    *,
    together: int,
    count: int,
    condition: str = "",
    passed_over: Callable[[Identity], bool] = lambda _: False,
    seed: int = 0,
) -> list[tuple[Row, ...]]:
    """Return sets of pictures that nobody rated, drawn by chance, without thinking about them.

    They are for who cannot wait for :func:`next_to_rate`, and leave out what that leaves out, but
    for what somebody else rated.

    Args:
        archive: Whose pictures.
        together: As there.
        count: Sets at most.
        condition: Only pictures that meet this, in the filter language.
        passed_over: Which pictures come last.
        seed: Of what is drawn by chance.

    Raises:
        FilterError: The condition cannot be read.
        ArchiveError: The archive cannot answer.
    """
    chance = random.Random(seed)
    own = f"({condition}) and {_UNRATED}" if condition.strip() else _UNRATED
    most = count * (2 if together == 1 else 4)
    some = [
        row for row in looked_at(archive, own, most, chance, windows=2)
        if row["path"] and not row["gone"]
    ]  # fmt: skip
    if not some:
        return []
    # Of what was rated nothing was looked at, so that an earlier stage of it may be among these.
    left_out = grid_files(archive) | _gone_on_with(archive, some)
    unlike = {row["pixel_sha256"] or row["sha256"]: row for row in results(some)}
    rows = [
        row for row in unlike.values()
        if row["sha256"] not in left_out and is_there(archive, row)
    ]  # fmt: skip
    chance.shuffle(rows)
    if together == 1:
        rows.sort(key=lambda row: passed_over(identity_of(row)))
        return [(row,) for row in rows[:count]]
    if together == FOUR:
        return [
            tuple(rows[place] for place in places)
            for places in fours(rows, set(), count, chance, ())
        ]
    rows.sort(key=lambda row: (row["prompt"] or "", str(row["seed"])))
    pairs = list(zip(rows[::2], rows[1::2], strict=False))
    chance.shuffle(pairs)
    pairs.sort(key=lambda pair: pair[0]["prompt"] != pair[1]["prompt"])
    return [tuple(chance.sample(pair, 2)) for pair in pairs[:count]]


def identity_of(row: Row) -> Identity:
    """Return by what a picture is known."""
    return Identity(sha256=row["sha256"], pixel_sha256=row["pixel_sha256"])


def looked_at(
    archive: Archive,
    condition: str,
    most: int | None,
    chance: random.Random,
    windows: int = _WINDOWS,
) -> list[Row]:
    """Return the pictures that meet *condition*; of more than *most*, *windows* of time.

    Pictures of one time share their prompts, so that there are some to compare.

    Raises:
        FilterError: The condition cannot be read.
        ArchiveError: The archive cannot answer.
    """
    newest = archive.query(condition, columns=POOL_COLUMNS, limit=most)
    if most is None or newest.after is None:
        return list(newest.dicts())
    own = f"({condition}) and " if condition.strip() else ""
    rows = {row["sha256"]: row for row in list(newest.dicts())[: most // windows]}
    # Hashes are even: the first ones beyond any are pictures drawn by chance.
    start = f"{chance.getrandbits(32):08x}"
    anchors: list[str] = []
    for bound in (f"sha256 >= '{start}'", f"sha256 < '{start}'"):
        answer = archive.query(
            own + bound, columns=["timestamp"], sort="sha256", limit=windows - 1 - len(anchors)
        )
        anchors += [timestamp for (timestamp,) in answer.rows]
        if len(anchors) == windows - 1:
            break
    for anchor in anchors:
        window = archive.query(
            f"{own}timestamp <= '{anchor}'", columns=POOL_COLUMNS, limit=most // windows
        )
        rows |= {row["sha256"]: row for row in window.dicts()}
    return list(rows.values())


def results(rows: Sequence[Row]) -> list[Row]:
    """Return the pictures of each variant's last stage; earlier ones are not its result."""
    last: dict[tuple[str, int], int] = {}
    for row in rows:
        key = (row["run_id"], row["variant"])
        last[key] = max(last.get(key, 0), _stage(row))
    parents = {row["parent"] for row in rows}
    return [
        row for row in rows
        if _stage(row) == last[row["run_id"], row["variant"]] and row["sha256"] not in parents
    ]  # fmt: skip


def _gone_on_with(archive: Archive, rows: Sequence[Row]) -> frozenset[str]:
    """Return which of *rows* later stages were made from."""
    digests = ", ".join(quoted(row["sha256"]) for row in rows if row["sha256"])
    if not digests:
        return frozenset()
    later = archive.query(f"parent in ({digests})", columns=["parent"], limit=None)
    return frozenset(parent for (parent,) in later.rows)


def _stage(row: Row) -> int:
    return STAGES.index(row["stage"]) if row["stage"] in STAGES else 0


def is_there(archive: Archive, row: Row) -> bool:
    """Return whether the file of *row* is where it was."""
    file = picture_file(archive.path, row["path"])
    return os.path.isfile(file)  # noqa: PTH113 - what may not be looked at, too


def fours(
    rows: Sequence[Row],
    gone: set[int],
    count: int,
    chance: random.Random,
    compared: Collection[frozenset[int]],
) -> list[tuple[int, ...]]:
    """Return places of pictures, four at a time: of one prompt and size as long as there are any.

    Pictures that others made seldom share a prompt; then those of one size, and at last any. What
    was shown together already, also when that was passed over, comes last.
    """

    def met(places: tuple[int, ...]) -> int:
        pairs = itertools.combinations(places, 2)
        return sum(frozenset(pair) in compared for pair in pairs)

    sets: list[tuple[int, ...]] = []
    for alike in (("prompt", "width", "height"), ("width", "height"), ()):
        groups: dict[object, list[int]] = {}
        for place, row in enumerate(rows):
            if place not in gone:
                groups.setdefault(tuple(row[name] for name in alike), []).append(place)
        for places in groups.values():
            chance.shuffle(places)
            sets += [tuple(places[at : at + FOUR]) for at in range(0, len(places) - FOUR + 1, FOUR)]
        if sets:
            break
    chance.shuffle(sets)
    return sorted(sets, key=met)[:count]
