"""plan_variants: base config and seed in, plan out; the same plan on every machine.

Axes, outermost first: prompts of the pack, other swept prompts, search/replace rules, inline
tokens, matrix slots, template choices (prompt, negative prompt, then img2img's), knob sweeps in
file order, settings, sub-sweeps, seeds.

The plan's mode says which combinations come:

* ``off``: one variant per prompt, prompts as written.
* ``fanout``: every combination.
* ``random``: ``draws`` combinations, by the templates' weights, none twice while new ones
  remain. Every choice is drawn for itself, so prompts of a pack come equally often. Once all
  have come, every further draw has seeds of its own, so it is another picture.
* ``sequential``: variant i has value i of every axis, going round; as many as the longest axis.
* ``rotate``: prompt j has combination ``start + j`` of all its other axes.

Each combination comes ``seeds_per_variant`` times; where a variant draws a batch, which takes
seeds in a row, the seeds of the next one begin after it. Search/replace rules, tokens and the
matrix have a mode of their own; in a mode other than ``fanout`` they take one value per prompt
(``sequential``) or per combination (``random``, ``rotate``) and do not multiply. Rules and tokens
move on only where they are met.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safelight.config import PipelineConfig, plain
from safelight.errors import PlanError
from safelight.knobs import PROMPT_KNOBS
from safelight.randomizer.decided_knobs import DecidedKnobs
from safelight.randomizer.draws import DrawnOrder
from safelight.randomizer.made_variant import Made
from safelight.randomizer.plan import Axis, RandomizerPlanResult, Variant, Variants
from safelight.randomizer.plan_bounds import (
    PlanWork,
    refuse_uncountable,
)
from safelight.randomizer.plan_seeds import PlanSeeds
from safelight.randomizer.prompt_pack import all_prompts, pack_axis, varying_names
from safelight.randomizer.prompt_rules import PromptRules
from safelight.randomizer.prompt_sources import SweptText
from safelight.randomizer.rule_spaces import Ending, Piece, RuledSpace, template_axes
from safelight.randomizer.source_turns import SourceTurns
from safelight.randomizer.spaces import Product, Union
from safelight.randomizer.sub_sweeps import (
    SubSweeps,
    all_sweeps,
    refuse_many,
    space_of_values,
    sub_sweeps_of,
)
from safelight.randomizer.sweeps import (
    SETTINGS,
    SUB_SWEEPS,
    short_name,
    short_text,
)
from safelight.randomizer.template_signs import is_template
from safelight.randomizer.templates import Templates
from safelight.randomizer.text_spaces import Literal, Moment, numbered
from safelight.randomizer.unused_settings import (
    literal_texts,
    shorter_sweeps,
    without_effect,
    without_text,
)
from safelight.randomizer.wildcard_files import WildcardFiles
from safelight.varied_names import drawing_stages, first_drawing

if TYPE_CHECKING:
    from safelight.randomizer.restricted_space import Restricted

__all__ = ["Planner", "plan_variants"]

_PROMPT = 100
"""What a prompt of the pack counts of the work of a plan."""


def plan_variants(config: PipelineConfig, seed: int = 0) -> RandomizerPlanResult:
    """Return the plan of *config*.

    Wildcard files under ``config.randomizer.wildcards_dir`` (relative to ``config.folder``) are
    read; nothing else is.

    Args:
        config: The checked config.
        seed: Seed of everything drawn, unless ``config.randomizer.seed`` is set.

    Raises:
        TemplateError: A template cannot be read, or needs a wildcard that is unknown or empty.
        PlanError: The prompt rules act on each other in too many ways, batches of swept seeds
            overlap, a prompt may become longer than 100,000 characters, or the plan takes too much
            to be made.
    """
    try:
        return Planner(config, seed).result()
    except RecursionError as error:
        raise PlanError("the sources of the plan stand inside each other too deep") from error


class Planner:
    """Builds the space of combinations once, then makes variants of it one at a time."""

    def __init__(self, config: PipelineConfig, seed: int) -> None:
        self._config, self._options = config, config.randomizer
        self._mode = self._options.mode
        self._seed = self._own_seed(seed)
        self.first = 0
        self._warnings: list[str] = list(config.warnings)
        self._decided = DecidedKnobs(config.stages)
        self._first = first_drawing(config.stages)
        self._sweeps: dict[str, Sequence[Any]] = {}
        if self._mode != "off":
            self._sweeps = all_sweeps(self._options, self._seed, self._warnings)
        first = f"{self._first}.prompt"
        swept = {first: self._sweeps.pop(first)} if first in self._sweeps else {}
        self._pack, self._prompt_file = all_prompts(config, swept, self._seed, self._warnings)
        self._varying = varying_names(self._pack, first)
        self._short = self._short_names()
        order = [
            f"{stage}.{knob}" for stage in drawing_stages(config.stages) for knob in PROMPT_KNOBS
        ]
        self._swept = {
            where: SweptText(self._sweeps.pop(where), self._short[where])
            for where in list(self._sweeps)
            if where in order
        }
        folder = self._options.wildcards_dir
        self._files = WildcardFiles(
            None if folder is None else Path(config.folder, folder), config.files
        )
        self._work = PlanWork()
        self._templates = Templates(
            self._files, self._mode, keep=self._kept_tokens(), work=self._work
        )
        self._expanding = bool(self._options.templates) and self._mode != "off"
        templates = self._templates if self._expanding else None
        self._rules = PromptRules(
            self._options,
            self._seed,
            templates,
            self._work,
            order=order,
            swept=self._swept,
        )
        self._texts = [self._prompt_texts(place) for place in range(len(self._pack))]
        self._together = [source for source in (SETTINGS, SUB_SWEEPS) if source in self._sweeps]
        longest = max(texts.most_characters for texts in self._texts)
        refuse_many(self._sweeps, self._first, longest)
        lines = [space_of_values(values) for values in self._sweeps.values()]
        self._spaces: list[Product | Restricted] = [
            Product([texts, *lines]) for texts in self._texts
        ]
        self._source_turns = SourceTurns(self._mode, self._texts, Product(lines).size)
        self._places: Sequence[int] = range(len(self._pack))
        self._turns: Sequence[int] | None = None
        self._left_out = self._exclude()
        self._space = Union([self._spaces[place] for place in self._places], nested=False)
        self._drawn = DrawnOrder(self._space, self._seed)
        self._seeds = PlanSeeds(config, self._seed, self._sweeps, self._pack, self._warnings)

    def _exclude(self) -> int:
        """Leave out what conditions say, and return how many combinations, or turns, that is."""
        if not self._options.exclude or self._mode == "off":
            return 0
        # Few plans have conditions, and all would wait for the language that they are in.
        from safelight.randomizer.exclusions import Exclusions

        left = Exclusions(self._config, self._pack, self._texts, self._sweeps, self._work)
        self._warnings += left.warnings
        if self._mode == "sequential":  # it steps through all there is, and passes over turns
            longest = Union(self._spaces, nested=False).longest
            self._turns = left.turns(longest)
            return longest - len(self._turns)
        self._places = left.places
        for place, space in enumerate(left.spaces):
            self._spaces[place] = space or self._spaces[place]
        return left.left_out

    def result(self) -> RandomizerPlanResult:
        """Return the plan."""
        self._check()
        full = self._combinations() * self._seeds.each
        cap = self._options.max_variants if self._mode != "off" else 0
        size = min(full, cap) if cap else full
        if size < full:
            self._warnings.append(
                f"kept the first {size:,} of {full:,} combinations "
                f"(randomizer.max_variants = {cap})"
            )
        if self._options.part:
            self.first, size = self._part_of(size)
        return RandomizerPlanResult(
            mode=self._mode,
            plan_size=size,
            full_size=full,
            variants=Variants(self._variant, range(size)),
            seed=self._seed,
            warnings=tuple(dict.fromkeys(self._warnings)),
            axes=tuple(self._axes()),
            wildcard_files=dict(sorted(self._files.used.items())),
            prompt_file=self._prompt_file,
            left_out=self._left_out,
        )

    def _own_seed(self, seed: int) -> int:
        """Return the seed of everything drawn.

        Of parts that machines draw apart from each other it hangs on the config alone.
        """
        if self._options.seed is not None:
            return self._options.seed
        if not self._options.part:
            return seed
        whole = replace(self._options, part="")
        named = repr((sorted(self._config.stages.items()), whole))
        return int.from_bytes(hashlib.sha256(named.encode("utf-8", "replace")).digest()[:4])

    def _part_of(self, size: int) -> tuple[int, int]:
        """Return the first variant of this part of *size*, and how many there are."""
        number, parts = map(int, self._options.part.split("/"))
        first, end = (number - 1) * size // parts, number * size // parts
        if first == end:
            raise PlanError(
                f"part {number} of {parts} is empty: there are {size:,} variants (randomizer.part)"
            )
        self._warnings.append(
            f"part {number} of {parts}: variants {first + 1:,} to {end:,} of {size:,}"
            " (randomizer.part)"
        )
        return first, end - first

    # -- reading the config -------------------------------------------------------------

    def _short_names(self) -> dict[str, str]:
        """Return what a label calls each sweep: the knob alone where that says which."""
        knobs = (name for name in self._varying if name not in self._pack[0].texts)
        listed = (*self._sweeps, *sub_sweeps_of(self._sweeps).knobs(), *knobs)
        names = {key: short_name(key) for key in listed}
        taken = Counter([*names.values(), *(["prompt"] if len(self._pack) > 1 else [])])
        return {key: name if taken[name] == 1 else key for key, name in names.items()}

    def _kept_tokens(self) -> frozenset[str] | None:
        """Return the wildcards that may stay in the text; None for all."""
        tokens = self._options.wildcards.tokens
        if tokens and self._options.wildcards_dir is None:
            return None
        return frozenset(token.token.strip("_") for token in tokens)

    def _prompt_texts(self, place: int) -> RuledSpace:
        """Return the space of what the texts of prompt number *place* come to."""
        self._work.spend(_PROMPT, "the prompts")
        texts = self._pack[place].texts
        if self._mode != "off":
            return self._rules.space(texts, place)
        for where, text in texts.items():
            if is_template(text):
                self._warnings.append(
                    f"{where}: the mode is off, so template syntax was left as it is; "
                    "add a [randomizer] table to expand it"
                )
        return Ending([Piece(where, Literal(text)) for where, text in texts.items()])

    def _check(self) -> None:
        self._templates.check()
        refuse_uncountable(self._space.size, "the prompts and what is swept")
        refuse_uncountable(
            self._combinations() * self._seeds.each, "all choices and randomizer.draws"
        )
        self._seeds.refuse_overlapping()
        if self._mode == "off":
            options = self._options
            named = options.varied() or options.exclude or options.prompts or self._rules.listed
            if named:
                self._warnings.append("randomizer.mode is off, so its sources were not used")
        else:
            self._rules.check()
        if self._mode == "random" and self._options.draws > self._space.size:
            seeds = "with other seeds" if self._seeds.movable else "and their seeds may be the same"
            self._warnings.append(
                f"there are only {self._space.size:,} combinations for "
                f"{self._options.draws:,} draws (randomizer.draws), so some come again, {seeds}"
            )
        self._warnings += [*without_effect(self._options), *self._moving_alone()]
        if self._mode != "off":
            self._warnings += literal_texts(self._options, self._rules.acts_in)
            there = {where for prompt in self._pack for where in prompt.texts} | {*self._swept}
            based = {f"{self._first}.prompt"} if self._rules.based else set()
            self._warnings += without_text(self._options, there | based)
        if self._mode == "sequential":
            texts = {where: swept.values for where, swept in self._swept.items()}
            lengths = {k: space_of_values(v).longest for k, v in (texts | self._sweeps).items()}
            self._warnings += shorter_sweeps(lengths)
        self._warnings += [
            *self._files.warnings, *self._templates.warnings, *self._rules.warnings
        ]  # fmt: skip

    def _moving_alone(self) -> Iterator[str]:
        """Yield a warning where sources go along with prompts or combinations: there is one."""
        if self._mode != "fanout":
            return
        for axis in self._rules.moving_axes():
            of_prompts, drawn = axis.mode == "sequential", axis.mode == "random"
            if self._options.start and not drawn:
                continue  # who says where to start means to come again for the next value
            if (len(self._pack) if of_prompts else self._space.size) == 1:
                yield (
                    f"{axis.name.removesuffix('->')!r} takes one value for each"
                    f" {'prompt' if of_prompts else 'combination'} (mode {axis.mode}), and there is"
                    f' one, so it has one of its {axis.size:,} values; set its mode to "fanout" for'
                    f" all of them, or randomizer.{'seed' if drawn else 'start'} for another"
                )
        if self._space.size > 1:
            return
        endings = (ending for texts in self._texts for ending in texts.endings())
        pieces = (piece for ending in endings for piece in ending.pieces)
        for where in dict.fromkeys(piece.where for piece in pieces if piece.node.moving):
            yield (
                f"{where}: ~ and @ take one value for each combination and make none, and there is"
                " one combination; leave the sign out for a picture of each value, or set"
                ' randomizer.mode = "random" with draws'
            )

    # -- which combination --------------------------------------------------------------

    def _combinations(self) -> int:
        if self._mode == "fanout":
            return self._space.size
        if self._mode == "random":
            return self._options.draws
        if self._mode == "sequential":
            return self._space.longest if self._turns is None else len(self._turns)
        return len(self._places)

    def _combination(self, number: int) -> tuple[int, int]:
        """Return the prompt of combination *number*, and the rank in that prompt's space."""
        if self._mode == "off":
            return number, 0
        if self._mode == "rotate":
            place = self._places[number]
            return place, (self._options.start + place) % self._spaces[place].size
        rank = number
        if self._mode == "random":
            rank = self._drawn[number]
        elif self._mode == "sequential":
            rank = self._space.step(number if self._turns is None else self._turns[number])
        place, within = self._space.locate(rank)
        return self._places[place], within

    # -- one variant --------------------------------------------------------------------

    def made(self, index: int) -> Made:
        """Return what variant *index* is made of."""
        number, repeat = divmod(index, self._seeds.each)
        place, rank = self._combination(number)
        of_texts, *of_sweeps = self._spaces[place].split(rank)
        ranks = dict(zip(self._sweeps, of_sweeps, strict=True))
        swept = {key: plain(self._sweeps[key][at]) for key, at in ranks.items()}
        for source in self._together:
            swept |= swept.pop(source)
        shift = self._times_again(number) * self._seeds.each + repeat
        seeds = self._seeds.of(index, place, rank, shift)
        return Made(
            seed=self._seed,
            number=number,
            place=place,
            written=self._pack[place],
            texts=self._texts[place],
            of_texts=of_texts,
            # Where some are left out nobody counts, and sources move on with every variant.
            met=None if self._left_out else self._source_turns.at(number, place, rank),
            ranks=ranks,
            swept=swept,
            seeds={name: seed for name, seed in seeds.items() if name not in swept},
            first_seeds=lambda: self._seeds.of(0, place, 0, 0),
            rules=self._rules,
            files=self._files,
            templates=self._templates if self._expanding else None,
        )

    def _variant(self, index: int) -> Variant:
        made = self.made(self.first + index)
        place, moment = made.place, made.moment()
        texts = moment.texts
        seeds_vary = self._seeds.each > 1 or self._times_again(made.number) > 0
        choices, labels = self._choices_and_labels(
            place, moment, made.swept, made.seeds if seeds_vary else {}
        )
        return Variant(
            index=index,
            config=self._decided.of(texts, {**made.knobs(), **made.swept}, made.seeds),
            label="; ".join(labels) or None,
            choices=choices,
            templates={
                where: written
                for where, text in texts.items()
                if (written := self._written(where, place, choices)) != text
            },
        )

    def _times_again(self, number: int) -> int:
        """Return how many draws, this one included, were made after all combinations had come."""
        if self._mode != "random":
            return 0
        return max(number - self._space.size + 1, 0)

    def _choices_and_labels(
        self,
        place: int,
        moment: Moment,
        swept: Mapping[str, Any],
        seeds: Mapping[str, int],
    ) -> tuple[dict[str, Any], list[str]]:
        """Return the choices of a variant by name, and the parts of its label.

        *seeds* are those that tell it from other variants of the same combination, if any.
        """
        choices: dict[str, Any] = {}
        labels: list[str] = []
        first = f"{self._first}.prompt"
        for name in self._varying if len(self._pack) > 1 else ():
            value = plain(self._pack[place].of(name))
            if value is not None and name not in seeds:
                choices[name] = value
                shown = "prompt" if name == first else self._short.get(name, name)
                labels.append(f"{shown}={short_text(value) if isinstance(value, str) else value}")
        choices.update(moment.choices)
        labels += moment.labels
        names = numbered([chosen.where + chosen.slot for chosen in moment.chosen])
        for chosen, name in zip(moment.chosen, names, strict=True):
            choices[name] = chosen.text
            if chosen.depth == 0:
                shown = name.removeprefix(first) if chosen.where == first else name
                labels.append(f"{shown}={chosen.text}")
        for key, value in swept.items():
            choices[key] = plain(value)
            shown = short_text(value) if isinstance(value, str) else value
            labels.append(f"{self._short.get(key, short_name(key))}={shown}")
        if (key := f"{self._first}.seed") in seeds:
            choices[key] = seeds[key]
            labels.append(f"seed={seeds[key]}")
        return choices, labels

    def _written(self, where: str, place: int, choices: Mapping[str, Any]) -> str:
        """Return the text *where* before anything acted on it."""
        return choices[where] if where in self._swept else self._pack[place].texts.get(where, "")

    # -- axes ---------------------------------------------------------------------------

    def _axes(self) -> Iterator[Axis]:
        if len(self._pack) > 1:
            yield pack_axis(self._pack, self._varying)
        yield from self._rules.shown_axes()
        yield from template_axes(self._texts)
        for key, values in self._sweeps.items():
            if isinstance(values, SubSweeps):
                yield from values.axes()
                continue
            if key == SETTINGS:
                values = tuple(map(_setting_text, values))
            yield Axis(name=key, size=len(values), values=values)
        if self._seeds.each > 1:
            yield self._seeds.axis(come_again=self._times_again(self._combinations() - 1) > 0)


def _setting_text(setting: Mapping[str, Any]) -> str:
    return ", ".join(f"{short_name(key)}={value}" for key, value in setting.items())
