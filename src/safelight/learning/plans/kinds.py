"""kinds: kinds of pictures for which other settings are good, as effects have found them.

Where what a setting does depends on a word of the prompt, a tag or a saved search, an average over
all pictures is true of none of them, and so is what is best on average.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from safelight.learning.evidence.findings import Effects, Interaction, Part
from safelight.learning.evidence.picture_kinds import sort_of

__all__ = ["Kind", "kinds_of", "told_kinds"]

_MOST_TOLD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Some pictures.

    Attributes:
        name: What they are called, ``prompts with 'portrait'``.
        condition: Which they are, in the filter language.
    """

    name: str
    condition: str


def kinds_of(effects: Effects) -> tuple[Kind, ...]:
    """Return the kinds of pictures between which a setting's difference changes most.

    Where no comparison has a figure in both, those of the interaction that was found first. None
    where nothing depends on kinds that a filter finds.
    """
    splits = _splits(effects)
    if splits:
        most = max(splits, key=_change)
        return tuple(Kind(name=part.name, condition=part.condition) for part in most)
    for interaction in _by_kinds(effects):
        sort = sort_of(interaction.other)
        assert sort is not None
        lacking, having = (
            Kind(name=f"{sort.noun} {name}", condition=condition)
            for name, condition in zip(
                interaction.other_change, interaction.conditions, strict=True
            )
        )
        return having, lacking
    return ()


def told_kinds(effects: Effects) -> tuple[str, ...]:
    """Return what depends on kinds of pictures, a sentence each."""
    conditions = {part.condition for parts in _splits(effects) for part in parts}
    told = tuple(one.text for one in effects.sentences if one.condition in conditions)
    return told or tuple(f"{one.summary}." for one in _by_kinds(effects)[:_MOST_TOLD])


def _by_kinds(effects: Effects) -> list[Interaction]:
    return [one for one in effects.interactions if sort_of(one.other) and all(one.conditions)]


def _splits(effects: Effects) -> list[Sequence[Part]]:
    """Return the parts of comparisons that are told for kinds which a filter finds."""
    every = (comparison.parts for knob in effects.knobs for comparison in knob.comparisons)
    return [
        parts for parts in every
        if len(parts) > 1 and all(sort_of(part.knob) and part.condition for part in parts)
    ]  # fmt: skip


def _change(parts: Sequence[Part]) -> float:
    differences = [part.difference for part in parts]
    return max(differences) - min(differences)
