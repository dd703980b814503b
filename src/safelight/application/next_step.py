"""next_step: what to do next with the pictures of an archive, in one sentence and one act."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from safelight.archive.contents import PAIRS_WANTED, Contents, Question

__all__ = ["NextStep", "next_step", "pictures_of", "question_text"]

_ENOUGH_RATED, _FEW_PAIRS = 20, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """What to do next.

    Attributes:
        act: Which room it leads to.
        sentence: Why, for people.
        q: The pictures that it is about, in the filter language; empty for all.
    """

    act: Literal["import", "rate", "learn"]
    sentence: str
    q: str = ""


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
    if not contents.questions:
        return NextStep(
            act="rate",
            sentence="No two pictures differ in one setting alone, so answers will be less sure."
            " Rate some anyway.",
        )
    return NextStep(act="rate", sentence="Rate some pictures, and see which settings do better.")


def question_text(knob: str, question: Question) -> str:
    """Return *question* as people would ask it."""
    one, other = (value or "none" for value in question.values)
    name = knob.removeprefix("lora.") + " (LoRA)" if knob.startswith("lora.") else knob
    pairs = f"{question.pairs:,} pairs differ" if question.pairs != 1 else "1 pair differs"
    return f"{name.replace('_', ' ')}: {one} or {other}? {pairs} in nothing else."


def pictures_of(question: Question) -> str:
    """Return the pictures to rate for *question*, in the filter language."""
    digests = ", ".join(f"'{digest}'" for digest in dict.fromkeys(question.pictures))
    return f"sha256 in ({digests})" if digests else ""
