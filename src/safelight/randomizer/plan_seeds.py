"""PlanSeeds: which seeds a variant has, and how far those of one combination lie apart.

A batch takes seeds in a row, so that the next variant's begin after the largest batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, pairwise
from typing import Any

from safelight.config import PipelineConfig
from safelight.errors import PlanError
from safelight.knobs import MAX_SEED, Stage
from safelight.randomizer.plan import Axis
from safelight.randomizer.prompt_pack import PackPrompt
from safelight.randomizer.sub_sweeps import sub_sweeps_of
from safelight.randomizer.sweeps import DRAWN_SEEDS, MOST_COMPARED, SETTINGS, decided_seed
from safelight.varied_names import drawing_stages, first_drawing

__all__ = ["PlanSeeds"]


class PlanSeeds:
    """The seeds of a plan.

    Attributes:
        each: How many variants each combination has, every one with seeds of its own.

    Args:
        config: The checked config.
        seed: The plan's.
        sweeps: Name of a sweep -> its values.
        pack: The prompts.
        warnings: Where to say what is not used.
    """

    def __init__(
        self,
        config: PipelineConfig,
        seed: int,
        sweeps: Mapping[str, Sequence[Any]],
        pack: Sequence[PackPrompt],
        warnings: list[str],
    ) -> None:
        self._config, self._seed, self._sweeps, self._pack = config, seed, sweeps, pack
        options, self._first = config.randomizer, first_drawing(config.stages)
        self._by_variant = options.seed_policy == "per_prompt" and options.mode != "off"
        self._name = f"{self._first}.seed"
        drawing = drawing_stages(config.stages)
        self._begin = {f"{stage}.seed": self._base_seed(stage) for stage in drawing}
        self._apart = self._largest_batch()
        self.each = 1 if options.mode == "off" else options.seeds_per_variant
        if self.each > 1 and (not self.movable or self._lists_of(self._name)):
            self.each = 1
            if self._first:
                warnings.append(
                    f"{self._name} is swept, so randomizer.seeds_per_variant is not used"
                )

    def _base_seed(self, stage: Stage) -> int | None:
        """Return the seed that *stage* starts from; None when it takes txt2img's or is swept."""
        seed = self._config.stages[stage].get("seed")
        if f"{stage}.seed" in self._sweeps or (seed is None and stage != self._first):
            return None
        return decided_seed(seed, self._seed, f"{stage}.seed", 0)

    def _lists_of(self, knob: str) -> list[Sequence[Any]]:
        """Return the values of *knob* in each sub-sweep that varies it."""
        return sub_sweeps_of(self._sweeps).lists_of(knob)

    def _largest_batch(self) -> int:
        """Return how many seeds in a row the first stage draws at most for one variant."""
        knob, stages = f"{self._first}.batch_size", self._config.stages
        sizes = chain(
            (knobs.get("batch_size") for stage, knobs in stages.items() if stage == self._first),
            self._sweeps.get(knob, ()),
            (setting.get(knob) for setting in self._sweeps.get(SETTINGS, ())),
            *self._lists_of(knob),
            (prompt.knobs.get(knob) for prompt in self._pack),
        )
        return max((size for size in sizes if isinstance(size, int)), default=1)

    def refuse_overlapping(self) -> None:
        """Refuse swept seeds of which batches would draw some twice.

        Raises:
            PlanError: Two of them lie closer together than a batch is large.
        """
        for seeds in (self._sweeps.get(self._name, ()), *self._lists_of(self._name)):
            if self._apart > 1 and 1 < len(seeds) <= MOST_COMPARED:
                self._refuse_near(sorted(seeds))

    def _refuse_near(self, ordered: Sequence[int]) -> None:
        for low, high in pairwise(ordered):
            if high - low < self._apart:
                raise PlanError(
                    f"{self._name} is swept over {low} and {high}, and batch_size is"
                    f" {self._apart}: seed {high} would be drawn twice; put swept seeds at least"
                    f" {self._apart} apart"
                )

    @property
    def movable(self) -> bool:
        """Whether a combination that comes again can have other seeds."""
        return self._begin.get(self._name) is not None

    def of(self, index: int, place: int, rank: int, shift: int) -> dict[str, int]:
        """Return ``stage.seed`` -> seed of a variant, for stages that have one of their own.

        Args:
            index: The variant's place in the plan.
            place: Its prompt.
            rank: Its combination among those of the prompt.
            shift: Variants of the same combination before it.
        """
        seeds = {}
        for name, begin in self._begin.items():
            own = self._pack[place].knobs.get(name)
            seed, steps = begin if own is None else own, shift
            if self._by_variant:
                # A prompt with a seed of its own begins there, wherever it is in the plan.
                steps = index if own is None else rank * self.each + shift
            if seed is not None:
                wrap = DRAWN_SEEDS if seed < DRAWN_SEEDS else MAX_SEED + 1
                moved = name == self._name
                seeds[name] = (seed + steps * self._apart) % wrap if moved else seed
        return seeds

    def axis(self, *, come_again: bool) -> Axis:
        """Return the seeds of a combination as an axis.

        Args:
            come_again: Whether some combinations come again, with other seeds.
        """
        begin, seeds = self._begin[self._name], None
        own = any(self._name in prompt.knobs for prompt in self._pack)
        if begin is not None and not (own or come_again or self._by_variant):
            seeds = range(begin, begin + self.each * self._apart, self._apart)
        return Axis(name=self._name, size=self.each, values=seeds)
