"""next_step: what to do next with the pictures of an archive, in one sentence and one act.

Before anything is known, what is in the archive says it (:func:`next_step`); afterwards what is
undecided does, too (:func:`step_after`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from safelight.application.epochs import TRAINERS
from safelight.application.level_filters import NOT_RATED, Spans, level_clause, within
from safelight.application.picture_settings import label_of
from safelight.archive.contents import PAIRS_WANTED, Contents, Question
from safelight.learning.evidence.findings import (
    ALL_OTHERS,
    Comparison,
    Effects,
    KnobEffect,
    one_line,
)
from safelight.learning.plans.suggested import FEWEST_ALIKE, Suggestions, setting_words
from safelight.recorded_settings import LORA

__all__ = ["NextStep", "has_samples", "next_step", "pictures_of", "question_text", "step_after"]

_ENOUGH_RATED, _FEW_PAIRS = 20, 4
_MOST_MORE = 200
"""Ratings for one answer that somebody may be asked for; for more, drawing is the shorter way."""

_LOOKED_AT, _FEWEST_AT_ONCE = 8, 8
_CHOSEN = frozenset(("model", "sampler", "scheduler", "steps", "cfg_scale", "guidance"))


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """What to do next.

    Attributes:
        act: Which room it leads to.
        sentence: Why, for people.
        q: The pictures that it is about, in the filter language; empty for all.
        count: How many of them to rate; 0 where nobody knows.
        pairs: Two of them at a time.
    """

    act: Literal["import", "rate", "learn", "draw", "nothing"]
    sentence: str
    q: str = ""
    count: int = 0
    pairs: bool = False


def next_step(contents: Contents) -> NextStep:
    """Return what teaches most next about the pictures that *contents* counts."""
    if not contents.pictures:
        return NextStep(act="import", sentence="There are no pictures yet. Import a folder.")
    is_rated = contents.rated >= _ENOUGH_RATED
    for knob, question in contents.questions:
        if question.ratings and not (is_rated and question.pairs < _FEW_PAIRS):
            what = "to know" if question.pairs >= PAIRS_WANTED else "for a first hint"
            sentence = f"{question_text(knob, question)} Rate {question.ratings} pictures {what}."
            return NextStep(act="rate", sentence=sentence, q=pictures_of(question))
    if is_rated:
        return NextStep(
            act="learn", sentence=f"{contents.rated:,} pictures are rated. See what they say."
        )
    if not contents.questions and has_samples(contents):
        return NextStep(
            act="rate", pairs=True,
            sentence="Samples of a training that share prompt and seed differ in the epoch or step"
            " alone. Rate them in pairs.",
        )  # fmt: skip
    if not contents.questions:
        return NextStep(
            act="rate",
            sentence="No two pictures differ in one setting alone (seeds aside), so answers will be"
            " less sure. Rate some anyway.",
        )
    return NextStep(act="rate", sentence="Rate some pictures, and see which settings do better.")


def has_samples(contents: Contents) -> bool:
    """Return whether trainers drew some of the pictures."""
    return not TRAINERS.isdisjoint(one.name for one in contents.made_by.listed)


def question_text(knob: str, question: Question) -> str:
    """Return *question* as people would ask it."""
    one, other = (value or "none" for value in question.values)
    pairs = f"{question.pairs:,} pairs differ" if question.pairs != 1 else "1 pair differs"
    return f"{label_of(knob)}: {one} or {other}? {pairs} in nothing else."


def pictures_of(question: Question) -> str:
    """Return the pictures to rate for *question*, in the filter language."""
    digests = ", ".join(f"'{digest}'" for digest in dict.fromkeys(question.pictures))
    return f"sha256 in ({digests})" if digests else ""


def step_after(
    effects: Effects,
    contents: Contents,
    suggestions: Suggestions | None,
    *,
    q: str = "",
    spans: Mapping[str, Spans],
    count_of: Callable[[str], int],
) -> NextStep:
    """Return what to do after *effects* is known: rate these, draw these, or nothing.

    First comes the question that pairs of pictures could answer and ratings have not: it takes the
    fewest ratings. Then a comparison that some more ratings would settle, where there are pictures
    to rate; then what may be better than all that is known.

    Args:
        effects: What is known.
        contents: Of the same pictures.
        suggestions: What to try next; None where nothing is known of it.
        q: The pictures that all is about, in the filter language.
        spans: Knob -> the spans of its levels, of knobs that are numbers.
        count_of: Returns how many pictures meet a condition.
    """
    if not contents.pictures:
        if q.strip():
            return NextStep(act="nothing", sentence="No picture meets this filter.")
        return next_step(contents)
    settled = {knob.knob for knob in effects.knobs if knob.settled}
    is_rated = contents.rated >= _ENOUGH_RATED
    for knob, question in contents.questions:
        is_worth = question.pairs >= (_FEW_PAIRS if is_rated else 1)
        if knob not in settled and question.ratings and is_worth:
            what = "to know" if question.pairs >= PAIRS_WANTED else "for a first hint"
            count = len(dict.fromkeys(question.pictures))  # one may be of two pairs
            return NextStep(
                act="rate", q=pictures_of(question), count=count,
                sentence=f"{question_text(knob, question)} Rate {_pictures(count)} {what}.",
            )  # fmt: skip
    unrated = count_of(within(q, NOT_RATED)) if contents.rated < contents.pictures else 0
    if not is_rated and unrated:
        count = min(_ENOUGH_RATED - contents.rated, unrated)
        return NextStep(
            act="rate", q=within(q, NOT_RATED), count=count,
            sentence=f"Rate {_pictures(count)}{' more' * bool(contents.rated)}: from about"
            f" {_ENOUGH_RATED} on, first answers may be told.",
        )  # fmt: skip
    if unrated and (step := _settling(effects, q, spans, count_of)) is not None:
        return step
    explores = suggestions is not None and suggestions.exploring
    if suggestions is not None and suggestions.suggestions and not (explores and unrated):
        first = suggestions.suggestions[0]
        why = "to explore what was never tried" if explores else "what may be better"
        return NextStep(act="draw", sentence=f"Draw {why}: {setting_words(first.setting)}.")
    if unrated:
        return NextStep(
            act="rate", q=within(q, NOT_RATED), count=min(unrated, _ENOUGH_RATED),
            sentence=f"Rate on: {_pictures(unrated)} here {'are' if unrated > 1 else 'is'} not"
            " rated yet.",
        )  # fmt: skip
    return NextStep(act="nothing", sentence="Everything here is rated. Draw or import more.")


def _settling(
    effects: Effects, q: str, spans: Mapping[str, Spans], count_of: Callable[[str], int]
) -> NextStep | None:
    """Return which pictures to rate to settle what takes the fewest ratings."""
    lacking = [
        (comparison.more, knob, comparison)
        for knob in effects.knobs
        for comparison in knob.comparisons
        if comparison.more is not None and comparison.more <= _MOST_MORE
    ]
    # Too few for any figure is a beginning, and settles nothing.
    lacking.sort(key=lambda one: (one[2].status == "few", *_rank(one[1].knob), one[0]))
    for more, knob, comparison in lacking[:_LOOKED_AT]:
        clause = _either(knob, comparison, spans.get(knob.knob))
        if clause is None:
            continue
        these = within(q, f"{clause} and {NOT_RATED}")
        there = count_of(these)
        few = comparison.status == "few"
        if not there or (few and not _can_have_figure(knob, comparison, q, spans, count_of)):
            continue
        what = _named(knob.knob, comparison)
        count = min(max(more, _FEWEST_AT_ONCE), there)
        wanted = "1 more is" if more == 1 else f"about {more:,} more are"
        goal = "for a first figure" if few else "to settle which is better"
        return NextStep(
            act="rate", q=these, count=count,
            sentence=f"Rate {_pictures(count)} with {what}: {wanted} wanted {goal}.",
        )  # fmt: skip
    return None


def _can_have_figure(
    knob: KnobEffect,
    comparison: Comparison,
    q: str,
    spans: Mapping[str, Spans],
    count_of: Callable[[str], int],
) -> bool:
    """Return whether there are enough pictures of a level for any figure of it."""
    own = level_clause(knob.knob, comparison.level, spans.get(knob.knob))
    left = 0 if own is None else count_of(within(q, f"{own} and {NOT_RATED}"))
    return comparison.pictures + left >= FEWEST_ALIKE


def _named(knob: str, comparison: Comparison) -> str:
    """Return which pictures are of either side, after the word with."""
    level, against = one_line(comparison.level), one_line(comparison.against)
    if knob.startswith(LORA):
        name = f"the LoRA {one_line(knob[len(LORA) :])}"
        other = f"at {against}" if against != "0" else "without it"
        return f"{name} at {level}" + (f" or {other}" if comparison.against != ALL_OTHERS else "")
    if knob.startswith("term:"):
        return f"{one_line(knob.partition(':')[2])!r} in their prompt, or without it"
    other = f" or {against}" if comparison.against != ALL_OTHERS else ""
    return f"{one_line(knob)} {level}{other}"


def _rank(knob: str) -> tuple[bool, bool]:
    """Return what puts those settings first of which people ask which value to take."""
    # LoRAs are many, and of most of them there are few pictures.
    return knob not in _CHOSEN, not knob.startswith(LORA)


def _either(knob: KnobEffect, comparison: Comparison, spans: Spans | None) -> str | None:
    """Return the filter for pictures of both sides; None where none says it."""
    own = level_clause(knob.knob, comparison.level, spans)
    if comparison.against == ALL_OTHERS:
        return own
    other = level_clause(knob.knob, comparison.against, spans)
    if own is None or other is None:
        return None
    return f"({own} or {other})"


def _pictures(count: int) -> str:
    return f"{count:,} picture{'' if count == 1 else 's'}"
