"""rated_pictures: what was rated, joined to what it was made with, and what that teaches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from safelight.archive import Archive
from safelight.errors import RequestError
from safelight.knobs import did_you_mean
from safelight.learning.evidence.effects import Effects
from safelight.learning.evidence.scores import ImageScores, fit_scores, is_automatic
from safelight.learning.evidence.trials import TRIAL_COLUMNS, Trials, join_trials
from safelight.learning.ratings.rating_event import Identity, RatingEvent

__all__ = ["only_knobs", "rated_trials", "whose"]


def rated_trials(
    archive: Archive, condition: str, raters: Sequence[str] = ()
) -> tuple[ImageScores, Trials, str]:
    """Return the scores, the rated pictures that meet *condition*, and who rated, in words.

    Args:
        archive: Whose ratings and pictures.
        condition: In the filter language.
        raters: Only ratings by these; with none, people's, and a program's where there are no
            people's.

    Raises:
        RequestError: As :func:`whose`.
        FilterError: The condition cannot be read.
        ArchiveError: The archive cannot answer.
    """
    answer = archive.query(condition, columns=TRIAL_COLUMNS, sort="timestamp", limit=None)
    columns: dict[str, Sequence[Any]] = dict.fromkeys(answer.columns, ())
    if answer.rows:
        columns = dict(zip(answer.columns, zip(*answer.rows, strict=True), strict=True))
    known = (
        Identity(sha256=a, pixel_sha256=b)
        for a, b in zip(columns["sha256"], columns["pixel_sha256"], strict=True)
    )
    events, rated_by = whose(archive.ratings().events(), raters)
    scores = fit_scores(events, known)
    return scores, join_trials(columns, scores), rated_by


def whose(
    events: Sequence[RatingEvent], raters: Sequence[str] = ()
) -> tuple[Sequence[RatingEvent], str]:
    """Return the events that count and who said them, in words; see :func:`rated_trials`.

    Raises:
        RequestError: Nobody of that name rated, or people are to be mixed with programs.
    """
    undone = [event for event in events if event.kind == "undo"]
    said = [event for event in events if event.kind not in ("undo", "note", "tags")]
    people = [event for event in said if not is_automatic(event)]
    if raters:
        known = {event.rater for event in said}
        for rater in raters:
            if rater not in known:
                there = ", ".join(repr(name) for name in sorted(known)) or "nobody"
                hint = did_you_mean(rater, known) or f"; there are: {there}"
                raise RequestError(f"nobody called {rater!r} rated here{hint}")
        chosen = [event for event in said if event.rater in raters]
    else:
        chosen = people or said
    kinds = {is_automatic(event) for event in chosen}
    if len(kinds) > 1:
        raise RequestError(
            "people's ratings and a program's are not mixed: name raters of one kind"
        )
    names = sorted({event.rater for event in chosen})
    count = len(names)
    if kinds == {True}:
        rated_by = f"a program, not people ({', '.join(names)}, automatic)"
    elif count <= 3:
        rated_by = " and ".join(name or "one without a name" for name in names) or "nobody"
    else:
        rated_by = f"{count:,} people"
    return [*chosen, *undone], rated_by


def only_knobs(effects: Effects, knobs: Iterable[str]) -> Effects:
    """Return *effects* with nothing but *knobs*, and what these depend on.

    Raises:
        RequestError: The rated pictures have no such knob.
    """
    wanted = set(knobs)
    known = {one.knob: one for one in effects.knobs}
    for knob in wanted:
        if knob not in known and not effects.told:
            hint = did_you_mean(knob, known) or f"; there are: {', '.join(sorted(known))}"
            raise RequestError(f"no knob {knob!r} among the rated pictures{hint}")
    chosen = tuple(one for one in effects.knobs if one.knob in wanted)
    pairs = tuple(i for i in effects.interactions if {i.knob, i.other} & wanted)
    return replace(effects, knobs=chosen, interactions=pairs)
