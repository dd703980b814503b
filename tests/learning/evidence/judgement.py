"""What effects say of a simulated archive, held against its truth."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from learning.evidence.oracle import Question, oracle_finds
from learning.evidence.simulated_archive import SimulatedArchive
from safelight.learning.evidence.effects import MATTERS, find_effects
from safelight.learning.evidence.findings import Comparison, Effects, KnobEffect
from safelight.learning.evidence.picture_kinds import WORD
from safelight.learning.evidence.scores import fit_scores
from safelight.learning.evidence.trials import join_trials
from safelight.learning.ratings.rating_event import RatingEvent

__all__ = ["Outcome", "claim", "effects_of", "outcome"]

_SMALLEST = 0.05
"""True differences below are none that could be found."""

_WORDS = {
    "order": r"\border\b",
    "rater": r"\braters?\b|\brated by\b",
    "month": r"\bmonths?\b|\btime\b|\btimestamp\b",
    "prompt": r"\bprompts?\b",
    "folder": r"\bfolders?\b",
}
"""By what words something beside knobs is named."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of one archive.

    Attributes:
        intervals: 95 % intervals about something that is true.
        held: How many of them hold it.
        false_clear: What is called clear, at any look, and is not so.
        false_likely: What is called likely or clear, at any look, and is not so.
        wrong_sign: Clear ones that truly go the other way.
        false_small: Said to make no difference that matters, and do.
        untold: Knobs that cannot be told from something.
        named: How many of them have that named, and are not claimed.
        effects: True differences.
        likely: How many of them are called likely or clear, the right way round.
        clear: How many are called clear.
        oracle: How many the oracle finds.
        planted: Pairs of knobs that do not act side by side.
        found: How many of them are named.
    """

    intervals: int = 0
    held: int = 0
    false_clear: list[str] = field(default_factory=list)
    false_likely: list[str] = field(default_factory=list)
    wrong_sign: int = 0
    false_small: int = 0
    untold: int = 0
    named: int = 0
    effects: int = 0
    likely: int = 0
    clear: int = 0
    oracle: int = 0
    planted: int = 0
    found: int = 0


def claim(comparison: Comparison) -> Literal["clear", "likely", "small", ""]:
    """Return how surely something is said; code that knows no ``likely`` says ``clear`` or not."""
    status: str = comparison.status
    if status == "clear":
        return "clear"
    if status == "likely":
        return "likely"
    return "small" if status == "small" else ""


def effects_of(archive: SimulatedArchive, events: Sequence[RatingEvent]) -> Effects:
    """Return what the command ``effects`` would say after *events*."""
    columns = dict(archive.columns)
    if "folder" in columns:
        folders = columns.pop("folder")
        columns["path"] = [f"{folder}/{place}.png" for place, folder in enumerate(folders)]
        columns["status"] = ["imported"] * len(folders)
    return find_effects(join_trials(columns, fit_scores(events)))


def outcome(archive: SimulatedArchive) -> Outcome:
    """Return how what is said of *archive* compares with its truth."""
    made = Outcome()
    for look in archive.looks:
        effects = effects_of(archive, archive.events[:look])
        _note_false(made, archive, effects)
    _note_intervals(made, archive, effects)
    _note_power(made, archive, effects)
    made.untold = len(archive.untold)
    by_name = {knob.knob: knob for knob in effects.knobs}
    made.named = sum(
        knob in by_name and _names(effects, by_name[knob], other)
        for knob, other in archive.untold.items()
    )
    made.planted = len(archive.planted)
    pairs = {frozenset((found.knob, found.other)) for found in effects.interactions}
    made.found = len(archive.planted & pairs)
    return made


def _note_false(made: Outcome, archive: SimulatedArchive, effects: Effects) -> None:
    for knob in effects.knobs:
        for comparison in knob.comparisons:
            said = claim(comparison)
            if said not in ("clear", "likely"):
                continue
            truth = archive.true_difference(knob.knob, comparison.level, comparison.against)
            if truth is None and knob.knob not in archive.untold:
                continue
            if (truth or 0.0) * (comparison.difference or 0.0) <= 0:
                made.false_likely.append(knob.knob)
                if said == "clear":
                    made.false_clear.append(knob.knob)
    for found in effects.interactions:
        pair = (found.knob, found.other)
        if frozenset(pair) in archive.planted or _may_interact(archive, pair):
            continue
        made.false_likely.append(" x ".join(pair))
        made.false_clear.append(" x ".join(pair))


def _may_interact(archive: SimulatedArchive, pair: tuple[str, str]) -> bool:
    if any(knob.startswith(archive.interacting) for knob in pair):
        return True
    words = [knob.removeprefix(WORD) for knob in pair if knob.startswith(WORD)]
    return any(word in planted for word in words for planted in archive.interacting)


def _note_intervals(made: Outcome, archive: SimulatedArchive, effects: Effects) -> None:
    for knob in effects.knobs:
        for comparison in knob.comparisons:
            truth = archive.true_difference(knob.knob, comparison.level, comparison.against)
            if truth is None or comparison.low is None or comparison.high is None:
                continue
            made.intervals += 1
            made.held += comparison.low <= truth <= comparison.high
            said = claim(comparison)
            made.wrong_sign += said == "clear" and truth * (comparison.difference or 0.0) < 0
            made.false_small += said == "small" and abs(truth) >= MATTERS


def _note_power(made: Outcome, archive: SimulatedArchive, effects: Effects) -> None:
    questions: list[Question] = []
    for knob in effects.knobs:
        for comparison in knob.comparisons:
            question = (knob.knob, comparison.level, comparison.against)
            truth = archive.true_difference(*question)
            if truth is None or abs(truth) <= _SMALLEST:
                continue
            questions.append(question)
            right = truth * (comparison.difference or 0.0) > 0
            made.likely += right and claim(comparison) in ("likely", "clear")
            made.clear += right and claim(comparison) == "clear"
    made.effects = len(questions)
    looked_at = sum(bool(knob.comparisons) for knob in effects.knobs)
    made.oracle = len(oracle_finds(archive, questions, looked_at))


def _names(effects: Effects, knob: KnobEffect, other: str) -> bool:
    """Return whether it is said that *knob* cannot be told from *other*, and nothing is claimed."""
    if any(claim(comparison) in ("clear", "likely") for comparison in knob.comparisons):
        return False
    notes = [note for comparison in knob.comparisons for note in comparison.notes]
    notes += [*getattr(knob, "notes", ())]
    notes += [note for note in getattr(effects, "notes", ()) if knob.knob in note]
    pattern = re.compile(_WORDS.get(other, rf"\b{re.escape(other)}\b"))
    return any(pattern.search(note) for note in notes)
