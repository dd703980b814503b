"""to_rate: which pictures to show a person next, of the whole archive, settings hidden.

What somebody was shown and passed over comes again, but behind all that he has not seen, whoever
asks: a command, the page, and the page while the choice is still being worked out.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from safelight.application.ratable_pictures import (
    FOUR,
    KNOBS,
    POOL_COLUMNS,
    Row,
    fours,
    identity_of,
    is_there,
    looked_at,
    results,
)
from safelight.archive import Archive
from safelight.archive.grids import grid_files
from safelight.errors import ArchiveError, RequestError
from safelight.learning.evidence.next_to_rate import next_pairs, next_pictures, rating_pool
from safelight.learning.evidence.scores import fit_scores, is_automatic
from safelight.learning.ratings.rating_event import Pictures, RatingEvent, events_in_force

__all__ = [
    "POOL_COLUMNS",
    "NothingToRate",
    "Row",
    "identity_of",
    "next_to_rate",
]

_TRIES = 20


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
    stages of what came further, nor grids of several pictures. What *rater* passed over comes
    last, and only where there is little else.

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
    if together not in (1, 2, FOUR):
        raise RequestError(f"together must be 1, 2 or {FOUR}, got {together!r}")
    chance = random.Random(seed)
    grids = grid_files(archive)
    some = looked_at(archive, condition, most, chance)
    # In the place of a picture that is gone another one may lie.
    there = (row for row in some if row["path"] and not row["gone"])
    rows = results([row for row in there if row["sha256"] not in grids])
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
    judged, passed_over, compared = set[int](), set[int](), set[frozenset[int]]()
    for event in events_in_force(judgements):
        if event.rater == rater:
            places = {place_of.get(known.key(identity), -1) for identity in event.pictures} - {-1}
            if event.kind in ("stars", "reject") and event.value:
                judged |= places
            elif event.kind == "seen":
                passed_over |= places
            elif event.kind == "pick":
                compared |= {frozenset((a, b)) for a in places for b in places if a < b}
    columns = {name: [row[name] for row in rows] for name in KNOBS}
    pool = rating_pool(columns, fit_scores(judgements, identities))
    gone: set[int] = set()
    for _ in range(_TRIES):  # a file that was moved or deleted cannot be shown; choose another
        sets: Sequence[tuple[int, ...]]
        if together == 1:
            chosen = next_pictures(
                pool, count, leave_out=gone | judged, passed_over=passed_over, seed=seed
            )
            sets = [(place,) for place in chosen]
        elif together == 2:
            sets = next_pairs(pool, count, leave_out=gone, compared=compared, seed=seed)
        else:
            sets = fours(rows, gone, count, chance, compared)
        missing = {place for group in sets for place in group if not is_there(archive, rows[place])}
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
