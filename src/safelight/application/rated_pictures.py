"""rated_pictures: what was rated, joined to what it was made with, and what that teaches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from safelight.application.people_kinds import people_kinds
from safelight.archive import Archive
from safelight.errors import RequestError, UnknownSettingError
from safelight.knobs import did_you_mean
from safelight.learning.evidence.scores import ImageScores, fit_scores, is_automatic
from safelight.learning.evidence.trials import TRIAL_COLUMNS, Trials, join_trials
from safelight.learning.ratings.rating_event import (
    PART_OF_MANY,
    SAME,
    SCORE,
    Identity,
    RatingEvent,
)
from safelight.recorded_settings import EARLIER, EXTRA, LORA, Setting, comparable_name

if TYPE_CHECKING:
    from safelight.learning.evidence.effects import Effects

__all__ = ["only_knobs", "rated_settings", "rated_trials", "whose"]


def rated_trials(
    archive: Archive, condition: str, raters: Sequence[str] = (), ignored: Sequence[str] = ()
) -> tuple[ImageScores, Trials, str]:
    """Return the scores, the rated pictures that meet *condition*, and who rated, in words.

    Args:
        archive: Whose ratings and pictures.
        condition: In the filter language.
        raters: Only ratings by these; with none, people's, and a program's where there are no
            people's.
        ignored: Settings ``extra.NAME`` that do not count, because they cannot change pixels.

    Raises:
        RequestError: As :func:`whose`.
        UnknownSettingError: Some of *ignored* are not there.
        FilterError: The condition cannot be read.
        ArchiveError: The archive cannot answer.
    """
    asked = (*TRIAL_COLUMNS, "image_sha256", "run_id", "place")
    answer = archive.query(condition, columns=asked, sort="timestamp", limit=None)
    columns: dict[str, Sequence[Any]] = dict.fromkeys(answer.columns, ())
    if answer.rows:
        columns = dict(zip(answer.columns, zip(*answer.rows, strict=True), strict=True))
    images = columns.pop("image_sha256")
    digests = zip(columns["sha256"], columns["pixel_sha256"], images, strict=True)
    known = (Identity(sha256=a, pixel_sha256=b, image_sha256=c) for a, b, c in digests)
    every = archive.ratings().events()
    events, rated_by = whose(every, raters)
    scores = fit_scores(events, known)
    kinds = people_kinds(archive, every, {**columns, "image_sha256": images}, scores)
    keys = list(zip(columns["run_id"], columns.pop("place"), strict=True))
    settings = rated_settings(archive, keys, columns, scores)
    there = {comparable_name(name) for name in settings}
    unknown = tuple(name for name in ignored if comparable_name(name) not in there)
    if unknown:
        some = [name for name in settings if name.startswith((EXTRA, EARLIER))]
        hint = did_you_mean(unknown[0], some) or f"; there are: {', '.join(sorted(some)) or 'none'}"
        raise UnknownSettingError(
            f"no setting {unknown[0]!r} among the rated pictures{hint}", unknown
        )
    passed_over = {comparable_name(name) for name in ignored}
    settings = {n: rows for n, rows in settings.items() if comparable_name(n) not in passed_over}
    if condition.strip():
        columns["run_id"] = _whole_runs(archive, columns["run_id"], scores)
    return scores, join_trials(columns, scores, settings, kinds), rated_by


def _whole_runs(archive: Archive, runs: Sequence[Any], scores: ImageScores) -> list[Any]:
    """Return *runs*, None for those of which a filter may have left out what nobody rated."""
    every = archive.query(columns=("run_id", "sha256", "pixel_sha256"), limit=None).rows
    open_ones = {run for run, *pair in every if scores.place(*pair) is None}
    return [None if run in open_ones else run for run in runs]


def rated_settings(
    archive: Archive,
    keys: Sequence[tuple[str, int]],
    columns: Mapping[str, Sequence[Any]],
    scores: ImageScores,
) -> dict[str, dict[int, list[Setting]]]:
    """Return the settings beside knobs of the rated pictures: name -> row -> its values.

    Args:
        archive: Which.
        keys: (run_id, place) of each row.
        columns: ``sha256`` and ``pixel_sha256`` of each row.
        scores: What was rated.

    Raises:
        ArchiveError: The archive cannot answer.
    """
    digests = zip(columns["sha256"], columns["pixel_sha256"], strict=True)
    row_of = {
        key: row
        for row, (key, pair) in enumerate(zip(keys, digests, strict=True))
        if scores.place(*pair) is not None
    }
    values_of: dict[str, dict[int, list[Setting]]] = {}
    for run_id, place, *setting in archive.settings(run for run, _ in row_of):
        row = row_of.get((run_id, place))
        if row is not None:
            one = Setting(*setting)
            values_of.setdefault(one.name, {}).setdefault(row, []).append(one)
    return values_of


def whose(
    events: Sequence[RatingEvent], raters: Sequence[str] = ()
) -> tuple[Sequence[RatingEvent], str]:
    """Return the events that count and who said them, in words; see :func:`rated_trials`.

    Raises:
        RequestError: Nobody of that name rated, or people are to be mixed with programs.
    """
    beside = [event for event in events if event.kind in ("undo", SAME, PART_OF_MANY)]
    silent = ("undo", SAME, PART_OF_MANY, SCORE, "note", "tags", "albums")
    judgements = [event for event in events if event.statement not in silent]
    people = [event for event in judgements if not is_automatic(event)]
    if raters:
        known = {event.rater for event in judgements}
        for rater in raters:
            if rater not in known:
                there = ", ".join(repr(name) for name in sorted(known)) or "nobody"
                hint = did_you_mean(rater, known) or f"; there are: {there}"
                raise RequestError(f"nobody called {rater!r} rated here{hint}")
        chosen = [event for event in judgements if event.rater in raters]
    else:
        chosen = people or judgements
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
    return [*chosen, *beside], rated_by


def only_knobs(effects: Effects, knobs: Iterable[str]) -> Effects:
    """Return *effects* with nothing but *knobs*, and what these depend on.

    Raises:
        RequestError: The rated pictures have no such knob.
    """
    # Effects of before called a LoRA lora:NAME.
    wanted = {LORA + k[len("lora:") :] if k.startswith("lora:") else k for k in knobs}
    known = {effect.knob: effect for effect in effects.knobs}
    for knob in wanted:
        if knob not in known and not effects.reason:
            hint = did_you_mean(knob, known) or f"; there are: {', '.join(sorted(known))}"
            raise RequestError(f"no knob {knob!r} among the rated pictures{hint}")
    chosen = tuple(effect for effect in effects.knobs if effect.knob in wanted)
    pairs = tuple(i for i in effects.interactions if {i.knob, i.other} & wanted)
    return replace(effects, knobs=chosen, interactions=pairs)
