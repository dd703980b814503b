"""to_rate: which pictures to show a person next, of the whole archive, settings hidden."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from safelight.archive import Archive
from safelight.archive.grids import grid_files
from safelight.archive_layout import picture_file
from safelight.errors import ArchiveError, RequestError
from safelight.knobs import COMPARED, STAGES
from safelight.learning.evidence.next_to_rate import next_pairs, next_pictures, rating_pool
from safelight.learning.evidence.scores import fit_scores, is_automatic
from safelight.learning.ratings.rating_event import Identity, Pictures, RatingEvent, events_in_force

__all__ = ["POOL_COLUMNS", "NothingToRate", "Row", "identity_of", "next_to_rate"]

Row = Mapping[str, Any]

_KNOBS = ("sha256", "pixel_sha256", "stage", *COMPARED)
POOL_COLUMNS = (*_KNOBS, "path", "gone", "parent", "run_id", "variant")
"""Columns of the view ``images`` that are known of each picture."""

_WINDOWS = 6
_TRIES = 20
_FOUR = 4


class NothingToRate(ArchiveError):
    """There is no picture left, or none at all."""


def next_to_rate(
    archive: Archive,
    events: Iterable[RatingEvent],
    *,
    together: int,
    count: int,
    condition: str = "",
    rater: str = "",
    seed: int = 0,
    most: int | None = None,
) -> list[tuple[Row, ...]]:
    """Return sets of pictures whose rating would teach most, in an order that tells nothing.

    Pictures whose files are gone do not come, nor those that *rater* has judged, nor earlier
    stages of what came further, nor grids of several pictures.

    Args:
        archive: Whose pictures.
        events: What was said so far.
        together: Pictures of a set: 1 for stars, 2 for a pick, 4 for the best of four.
        count: Sets at most.
        condition: Only pictures that meet this, in the filter language.
        rater: Who will rate.
        seed: Of what is drawn by chance.
        most: Pictures to look at; of a larger archive some stretches of time from all over it.
            None looks at everything.

    Raises:
        RequestError: *together* is none of these.
        FilterError: The condition cannot be read.
        NothingToRate: The message says among how many.
        ArchiveError: The archive cannot answer.
    """
    if together not in (1, 2, _FOUR):
        raise RequestError(f"together must be 1, 2 or {_FOUR}, got {together!r}")
    chance = random.Random(seed)
    grids = grid_files(archive)
    looked_at = _looked_at(archive, condition, most, chance)
    # In the place of a picture that is gone another one may lie.
    there = (row for row in looked_at if row["path"] and not row["gone"])
    rows = _results([row for row in there if row["sha256"] not in grids])
    if not rows:
        raise NothingToRate(
            f"there is no picture to rate in {archive.path}"
            + (" that meets the filter" if condition else "; draw some with: safelight run CONFIG")
        )
    judgements = [event for event in events if not is_automatic(event)]
    known = Pictures(
        [
            *map(identity_of, rows),
            *(identity for event in judgements for identity in event.pictures),
        ]
    )
    # The same picture may lie in several runs; one of them is enough. Pixels alone do not tell:
    # those of imported pictures are not known.
    rows = list({known.key(identity_of(row)): row for row in rows}.values())
    identities = [identity_of(row) for row in rows]
    place_of = {known.key(identity): place for place, identity in enumerate(identities)}
    judged, compared = set[int](), set[frozenset[int]]()
    for event in events_in_force(judgements):
        if event.rater == rater:
            places = {place_of.get(known.key(identity), -1) for identity in event.pictures} - {-1}
            if event.kind in ("stars", "reject") and event.value:
                judged |= places
            elif event.kind == "pick":
                compared |= {frozenset((a, b)) for a in places for b in places if a < b}
    columns = {name: [row[name] for row in rows] for name in _KNOBS}
    pool = rating_pool(columns, fit_scores(judgements, identities))
    gone: set[int] = set()
    for _ in range(_TRIES):  # a file that was moved or deleted cannot be shown; choose another
        sets: Sequence[tuple[int, ...]]
        if together == 1:
            left_out = gone | judged
            sets = [(p,) for p in next_pictures(pool, count, leave_out=left_out, seed=seed)]
        elif together == 2:
            sets = next_pairs(pool, count, leave_out=gone, compared=compared, seed=seed)
        else:
            sets = _fours(rows, gone, count, chance)
        missing = {
            place for group in sets for place in group if not _is_there(archive, rows[place])
        }
        if not missing:
            break
        gone |= missing
    whole = [group for group in sets if not missing.intersection(group)]
    if not whole:
        what = "picture that you have not rated" if together == 1 else (
            "two pictures to compare" if together == 2 else "four pictures to choose from"
        )  # fmt: skip
        raise NothingToRate(
            f"there is no {what} among the {len(rows):,} in {archive.path} whose files are there"
        )
    return [tuple(rows[place] for place in group) for group in whole]


def identity_of(row: Row) -> Identity:
    """Return by what a picture is known."""
    return Identity(sha256=row["sha256"], pixel_sha256=row["pixel_sha256"])


def _looked_at(
    archive: Archive, condition: str, most: int | None, chance: random.Random
) -> list[Row]:
    """Return the pictures that meet *condition*; of more than *most*, stretches of time.

    Pictures of one time share their prompts, so that there are some to compare.
    """
    newest = archive.query(condition, columns=POOL_COLUMNS, limit=most)
    if most is None or newest.after is None:
        return list(newest.dicts())
    own = f"({condition}) and " if condition.strip() else ""
    rows = {row["sha256"]: row for row in list(newest.dicts())[: most // _WINDOWS]}
    # Hashes are even: the first ones beyond any are pictures drawn by chance.
    start = f"{chance.getrandbits(32):08x}"
    anchors: list[str] = []
    for bound in (f"sha256 >= '{start}'", f"sha256 < '{start}'"):
        answer = archive.query(
            own + bound, columns=["timestamp"], sort="sha256", limit=_WINDOWS - 1 - len(anchors)
        )
        anchors += [timestamp for (timestamp,) in answer.rows]
        if len(anchors) == _WINDOWS - 1:
            break
    for anchor in anchors:
        window = archive.query(
            f"{own}timestamp <= '{anchor}'", columns=POOL_COLUMNS, limit=most // _WINDOWS
        )
        rows |= {row["sha256"]: row for row in window.dicts()}
    return list(rows.values())


def _results(rows: Sequence[Row]) -> list[Row]:
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


def _stage(row: Row) -> int:
    return STAGES.index(row["stage"]) if row["stage"] in STAGES else 0


def _is_there(archive: Archive, row: Row) -> bool:
    file = picture_file(archive.path, row["path"])
    return os.path.isfile(file)  # noqa: PTH113 - what may not be looked at, too


def _fours(
    rows: Sequence[Row], gone: set[int], count: int, chance: random.Random
) -> list[tuple[int, ...]]:
    """Return places of pictures, four at a time: of one prompt and size as long as there are any.

    Pictures that others made seldom share a prompt; then those of one size, and at last any.
    """
    sets: list[tuple[int, ...]] = []
    for alike in (("prompt", "width", "height"), ("width", "height"), ()):
        groups: dict[object, list[int]] = {}
        for place, row in enumerate(rows):
            if place not in gone:
                groups.setdefault(tuple(row[name] for name in alike), []).append(place)
        for places in groups.values():
            chance.shuffle(places)
            sets += [
                tuple(places[at : at + _FOUR]) for at in range(0, len(places) - _FOUR + 1, _FOUR)
            ]
        if sets:
            break
    chance.shuffle(sets)
    return sets[:count]
