"""What one variant is made of, before anything of it is text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from safelight.config import plain
from safelight.randomizer.prompt_pack import PackPrompt
from safelight.randomizer.prompt_rules import PromptRules
from safelight.randomizer.rule_spaces import RuledSpace
from safelight.randomizer.templates import Templates
from safelight.randomizer.text_spaces import Moment
from safelight.randomizer.wildcard_files import WildcardFiles

__all__ = ["Made"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What one variant is made of.

    Attributes:
        seed: The seed of everything drawn.
        number: Of its combination, from 0.
        place: Of its prompt in the pack, from 0.
        written: That prompt and what goes with it.
        texts: The space of its texts.
        of_texts: The rank in it.
        met: Number of a rule -> how often it was met before; None where that is not counted.
        ranks: Name of a sweep -> which of its values it has, from 0; ``settings`` for the
            settings.
        swept: ``stage.knob`` -> that value.
        seeds: ``stage.seed`` -> seed.
        first_seeds: Returns the same of the first variant.
        rules: The rules, tokens and slots.
        files: The wildcard files.
        templates: Reads templates so that their texts tell of everything that is put in; None
            where prompts are no templates.
    """

    seed: int
    number: int
    place: int
    written: PackPrompt
    texts: RuledSpace
    of_texts: int
    met: Callable[[int], int] | None
    ranks: Mapping[str, int]
    swept: Mapping[str, Any]
    seeds: Mapping[str, int]
    first_seeds: Callable[[], Mapping[str, int]]
    rules: PromptRules
    files: WildcardFiles
    templates: Templates | None

    def knobs(self) -> dict[str, Any]:
        """Return the knobs that come with its prompt, as values of its own."""
        return plain(self.written.knobs) if self.written.knobs else {}

    def moment(self) -> Moment:
        """Return its texts, and what was chosen for them."""
        moment = Moment(seed=self.seed, turn=self.number, met=self.met)
        self.texts.fill(self.of_texts, self.number, moment)
        return moment
