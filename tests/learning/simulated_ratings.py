"""Trials as an archive would give them, from rows of knobs and somebody's stars."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from safelight.learning.evidence.scores import fit_scores
from safelight.learning.evidence.trials import Trials, join_trials
from safelight.learning.ratings import Identity, RatingEvent

__all__ = ["digest", "star_events", "trials_of"]

Row = Mapping[str, Any]


def digest(number: int) -> str:
    """Return the hash of picture *number*."""
    return f"{number:064x}"


def star_events(stars: Mapping[int, int], rater: str = "ann") -> list[RatingEvent]:
    """Return one event per picture number."""
    return [
        RatingEvent(
            event_id=f"{rater}-{number}",
            timestamp="2026-01-01T00:00:00Z",
            kind="stars",
            image=Identity(sha256=digest(number)),
            value=value,
            rater=rater,
        )
        for number, value in stars.items()
    ]


def trials_of(
    rows: Sequence[Row], stars: Callable[[Row], int | None], *, hidden: str = ""
) -> Trials:
    """Return *rows* as rated pictures; a row whose stars are None was not rated.

    The column *hidden* is for *stars* only and no knob.
    """
    given = {number: stars(row) for number, row in enumerate(rows)}
    events = star_events({number: value for number, value in given.items() if value is not None})
    names = dict.fromkeys(name for row in rows for name in row if name != hidden)
    columns: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in names}
    columns["sha256"] = [digest(number) for number in range(len(rows))]
    return join_trials(columns, fit_scores(events))
