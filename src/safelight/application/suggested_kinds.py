"""suggested_kinds: what to try next, for all prompts or for each kind of them.

Where what a setting does depends on words of the prompt, one answer for all prompts is right for
none: that is said first, and each kind may be asked for, by its own pictures alone. Finding kinds
takes all effects, which is only done unasked where it takes less than half a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from safelight.application.suggestion_config import Wanted, prompts_of, wanted_config
from safelight.application.suggestions import Evidence
from safelight.learning.plans.kinds import Kind, kinds_of, told_kinds
from safelight.learning.plans.knob_space import SpaceKnob
from safelight.learning.plans.space_of_trials import MODEL
from safelight.learning.plans.suggest import suggest
from safelight.learning.plans.suggested import Suggestions

__all__ = ["OfKind", "ToTry", "suggested"]

_FEWEST, _MOST_UNASKED = 40, 2000
"""Rated pictures from which kinds can be told at all, and up to which they are looked for unasked.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfKind:
    """What to try for one kind of pictures.

    Attributes:
        kind: Which.
        evidence: Its rated pictures.
        suggestions: What they say.
    """

    kind: Kind
    evidence: Evidence
    suggestions: Suggestions


@dataclass(frozen=True, slots=True, kw_only=True)
class ToTry:
    """What to try next.

    Attributes:
        suggestions: For all prompts together.
        depends: What depends on the kind of pictures, sentences.
        kinds: What to try for each kind; empty where that was not asked for, or none is known.
        looked: Whether kinds were looked for.
    """

    suggestions: Suggestions
    depends: tuple[str, ...] = ()
    kinds: tuple[OfKind, ...] = ()
    looked: bool = True

    def by_evidence(self, evidence: Evidence) -> list[tuple[Evidence, Suggestions]]:
        """Return what a config of these draws: for each kind, or of *evidence*, for all."""
        return [(k.evidence, k.suggestions) for k in self.kinds] or [(evidence, self.suggestions)]

    def settings(self, evidence: Evidence) -> list[Mapping[str, Any]]:
        """Return every setting that a config of these draws, a kind's with its model."""
        return [
            {MODEL: own.model, **one.setting} if self.kinds and own.model else one.setting
            for own, result in self.by_evidence(evidence)
            for one in result.suggestions
        ]

    def config(self, evidence: Evidence, prompts: Sequence[str], seeds: int) -> dict[str, Any]:
        """Return the config that draws these: each kind's settings with that kind's prompts.

        Args:
            evidence: Of all prompts.
            prompts: To draw with all settings; those that were rated most when there are none.
            seeds: Pictures of every setting and prompt.

        Raises:
            ConfigError: It would not be one.
        """
        drawn_with = [
            (prompts_of(own, prompts), result.fixed)
            for own, result in self.by_evidence(evidence)
            for _ in result.suggestions
        ]
        wanted = [
            Wanted(setting=setting, prompts=texts, fixed=fixed)
            for setting, (texts, fixed) in zip(self.settings(evidence), drawn_with, strict=True)
        ]
        return wanted_config(evidence, wanted, seeds)


def suggested(
    evidence: Evidence,
    evidence_for: Callable[[str], Evidence],
    count: int,
    knobs: Sequence[SpaceKnob] = (),
    *,
    kinds: bool = False,
) -> ToTry:
    """Return what to try next.

    Args:
        evidence: Of all prompts.
        evidence_for: Returns the evidence of those of its pictures that meet a condition.
        count: How many settings, for each kind.
        knobs: As for :func:`~safelight.learning.plans.suggest.suggest`.
        kinds: Whether to suggest for each kind of pictures, too.
    """
    result = suggest(evidence.trials, count, knobs=knobs)
    if len(evidence.trials) < _FEWEST:
        return ToTry(suggestions=result)
    if not kinds and len(evidence.trials) > _MOST_UNASKED:
        return ToTry(suggestions=result, looked=False)
    from safelight.learning.evidence.effects import find_effects

    effects = find_effects(evidence.trials)
    found = []
    for kind in kinds_of(effects) if kinds else ():
        within = f"({evidence.condition}) and " if evidence.condition.strip() else ""
        own = evidence_for(f"{within}{kind.condition}")
        found.append(
            OfKind(kind=kind, evidence=own, suggestions=suggest(own.trials, count, knobs=knobs))
        )
    return ToTry(suggestions=result, depends=told_kinds(effects), kinds=tuple(found))
