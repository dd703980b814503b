"""plan_variants: base config and seed in, plan out; the same plan on every machine.

Axes, outermost first: prompts of the pack, search/replace rules, inline tokens, matrix slots,
template choices (prompt, negative prompt, then img2img's), knob sweeps in file order, settings,
seeds.

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
(``sequential``) or per combination (``random``, ``rotate``) and do not multiply.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from safelight.config import PipelineConfig, inherited_by_img2img, plain
from safelight.errors import PlanError
from safelight.knobs import MAX_SEED, Stage
from safelight.lora_tags import lora_of, with_lora
from safelight.randomizer.draws import DrawnOrder
from safelight.randomizer.plan import Axis, RandomizerPlanResult, Variant, Variants
from safelight.randomizer.plan_bounds import (
    MOST_SOURCES,
    PlanWork,
    refuse_long,
    refuse_uncountable,
)
from safelight.randomizer.prompt_rules import PromptRules
from safelight.randomizer.spaces import Line, Product, Union
from safelight.randomizer.sweeps import (
    DRAWN_SEEDS,
    LazyValues,
    decided_seed,
    read_sweeps,
    short_name,
)
from safelight.randomizer.template_signs import is_template
from safelight.randomizer.templates import Templates
from safelight.randomizer.text_spaces import Literal, Moment, Node
from safelight.randomizer.unused_settings import shorter_sweeps, without_effect
from safelight.randomizer.wildcard_files import WildcardFiles

__all__ = ["plan_variants"]

_TOGETHER = "settings"
_MOST_COMPARED = 100_000
_MOST_LORAS = 100
_LONGEST_WEIGHT = 30
"""Characters of a LoRA in a prompt beside its name."""
_PROMPT = 100
"""What a prompt of the pack counts of the work of a plan."""
_LONGEST_PROMPT = 40
"""Characters of a prompt that a label shows, the sign of a cut included."""


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
        return _Planner(config, seed).result()
    except RecursionError as error:
        raise PlanError("the sources of the plan stand inside each other too deep") from error


class _Planner:
    """Builds the space of combinations once, then makes variants of it one at a time."""

    def __init__(self, config: PipelineConfig, seed: int) -> None:
        self._config, self._options = config, config.randomizer
        self._mode = self._options.mode
        self._seed = seed if self._options.seed is None else self._options.seed
        self._warnings: list[str] = list(config.warnings)
        self._stages: dict[Stage, dict[str, Any]] = {s: plain(k) for s, k in config.stages.items()}
        self._first = next((s for s in config.stages if s != "upscale"), None)
        self._sweeps: dict[str, Sequence[Any]] = {}
        if self._mode != "off":
            self._sweeps = read_sweeps(self._options.sweep, self._seed, self._warnings)
            if self._options.settings:
                self._sweeps[_TOGETHER] = self._options.settings
        self._pack = self._read_pack()
        self._short = self._short_names()
        folder = self._options.wildcards_dir
        self._files = WildcardFiles(
            None if folder is None else Path(config.folder, folder), config.files
        )
        self._work = PlanWork()
        self._templates = Templates(
            self._files, self._mode, keep=self._kept_tokens(), work=self._work
        )
        expanding = self._options.templates and self._mode != "off"
        templates = self._templates if expanding else None
        self._rules = PromptRules(self._options, self._seed, templates, self._work)
        self._expanding = expanding
        self._nodes = [self._prompt_nodes(place) for place in range(len(self._pack))]
        self._refuse_many_sweeps()
        lines = [Line(len(values)) for values in self._sweeps.values()]
        self._spaces = [Product([*nodes.values(), *lines]) for nodes in self._nodes]
        self._space = Union(self._spaces, nested=False)
        self._drawn = DrawnOrder(self._space, self._seed)
        self._seeds = {stage: self._base_seed(stage) for stage in self._drawing()}
        self._apart = self._largest_batch()
        self._per_combination = self._seeds_each()

    def result(self) -> RandomizerPlanResult:
        """Return the plan."""
        self._check()
        full = self._combinations() * self._per_combination
        cap = self._options.max_variants if self._mode != "off" else 0
        size = min(full, cap) if cap else full
        if size < full:
            self._warnings.append(
                f"kept the first {size:,} of {full:,} combinations "
                f"(randomizer.max_variants = {cap})"
            )
        return RandomizerPlanResult(
            mode=self._mode,
            plan_size=size,
            full_size=full,
            variants=Variants(self._variant, range(size)),
            seed=self._seed,
            warnings=tuple(dict.fromkeys(self._warnings)),
            axes=tuple(self._axes()),
            wildcard_files=dict(sorted(self._files.used.items())),
        )

    # -- reading the config -------------------------------------------------------------

    def _drawing(self) -> list[Stage]:
        return [stage for stage in self._config.stages if stage != "upscale"]

    def _short_names(self) -> dict[str, str]:
        """Return what a label calls each sweep: the knob alone where that says which."""
        names = {key: short_name(key) for key in self._sweeps}
        taken = Counter([*names.values(), *(["prompt"] if len(self._pack) > 1 else [])])
        return {key: name if taken[name] == 1 else key for key, name in names.items()}

    def _read_pack(self) -> list[dict[Stage, str]]:
        """Return the prompts as written, stage by stage, for each prompt of the pack."""
        packs: dict[Stage, tuple[str, ...]] = {}
        for stage in self._drawing():
            swept = self._sweeps.pop(f"{stage}.prompt", None) if stage == self._first else None
            prompt = self._config.stages[stage].get("prompt") if swept is None else tuple(swept)
            if prompt is not None:
                packs[stage] = (prompt,) if isinstance(prompt, str) else tuple(prompt)
        count = max((len(prompts) for prompts in packs.values()), default=1)
        pack = [
            {s: prompts[n % len(prompts)] for s, prompts in packs.items()} for n in range(count)
        ]
        return self._without_equal_prompts(pack)

    def _without_equal_prompts(self, pack: list[dict[Stage, str]]) -> list[dict[Stage, str]]:
        """Drop prompts that would only repeat an earlier one's variants."""
        options = self._options
        modes = (options.prompt_sr.mode, options.wildcards.mode, options.matrix.mode)
        if self._mode in ("off", "rotate") or set(modes) != {"fanout"}:
            return pack
        kept = list({tuple(prompts.items()): prompts for prompts in pack}.values())
        if len(kept) < len(pack):
            self._warnings.append(f"{len(pack) - len(kept)} repeated prompts were left out")
        return kept

    def _kept_tokens(self) -> frozenset[str] | None:
        """Return the wildcards that may stay in the text; None for all."""
        tokens = self._options.wildcards.tokens
        if tokens and self._options.wildcards_dir is None:
            return None
        return frozenset(token.token.strip("_") for token in tokens)

    def _refuse_many_sweeps(self) -> None:
        """Refuse swept LoRAs that make a prompt too long.

        Raises:
            PlanError: They do, or there are too many.
        """
        if len(self._sweeps) > MOST_SOURCES:
            raise PlanError(
                f"randomizer.sweep: at most {MOST_SOURCES:,} knobs can be swept, got"
                f" {len(self._sweeps):,}"
            )
        loras = [key for key in self._sweeps if lora_of(key, self._first or "")]
        if len(loras) > _MOST_LORAS:
            raise PlanError(
                f"randomizer.sweep: at most {_MOST_LORAS} LoRAs can be swept, got {len(loras):,}"
            )
        longest = max(
            (node.most_characters for nodes in self._nodes for node in nodes.values()), default=0
        )
        added = sum(len(key) + _LONGEST_WEIGHT for key in loras)
        refuse_long(longest + added if loras else 0, "randomizer.sweep: the LoRAs")

    def _prompt_nodes(self, place: int) -> dict[str, Node]:
        """Return the spaces of prompt number *place* and of what goes with it, by name."""
        self._work.spend(_PROMPT, "the prompts")
        nodes: dict[str, Node] = {}
        for stage in self._drawing():
            written = self._pack[place].get(stage)
            based = self._mode != "off" and self._rules.based("") != ""
            if stage == self._first and (written is not None or based):
                nodes[f"{stage}.prompt"] = self._first_prompt(written or "", place)
            elif written is not None and f"{stage}.prompt" not in self._sweeps:
                nodes[f"{stage}.prompt"] = self._read(written, f"{stage}.prompt")
            negative = self._config.stages[stage].get("negative_prompt")
            if negative is not None and f"{stage}.negative_prompt" not in self._sweeps:
                nodes[f"{stage}.negative_prompt"] = self._read(negative, f"{stage}.negative_prompt")
        return nodes

    def _first_prompt(self, written: str, place: int) -> Node:
        if self._mode == "off":
            return self._read(written, f"{self._first}.prompt")
        return self._rules.space(written, place, f"{self._first}.prompt")

    def _read(self, text: str, where: str) -> Node:
        if self._expanding:
            return self._templates.read(text, where)
        if self._mode == "off" and is_template(text):
            self._warnings.append(
                f"{where}: the mode is off, so template syntax was left as it is; "
                "add a [randomizer] table to expand it"
            )
        return Literal(text)

    def _base_seed(self, stage: Stage) -> int | None:
        """Return the seed that *stage* starts from; None when it takes txt2img's or is swept."""
        seed = self._config.stages[stage].get("seed")
        if f"{stage}.seed" in self._sweeps or (seed is None and stage != self._first):
            return None
        return decided_seed(seed, self._seed, f"{stage}.seed", 0)

    def _largest_batch(self) -> int:
        """Return how many seeds in a row the first stage draws at most for one variant."""
        first = self._first
        knob = f"{first}.batch_size"
        sizes = [self._config.stages[first].get("batch_size")] if first is not None else []
        sizes += self._sweeps.get(knob, ())
        sizes += [setting.get(knob) for setting in self._sweeps.get(_TOGETHER, ())]
        return max((size for size in sizes if isinstance(size, int)), default=1)

    def _refuse_overlapping_seeds(self) -> None:
        """Refuse swept seeds of which batches would draw some twice.

        Raises:
            PlanError: Two of them lie closer together than a batch is large.
        """
        seeds = self._sweeps.get(f"{self._first}.seed", ())
        if self._apart == 1 or not 1 < len(seeds) <= _MOST_COMPARED:
            return
        ordered = sorted(seeds)
        for low, high in pairwise(ordered):
            if high - low < self._apart:
                raise PlanError(
                    f"{self._first}.seed is swept over {low} and {high}, and batch_size is"
                    f" {self._apart}: seed {high} would be drawn twice; put swept seeds at least"
                    f" {self._apart} apart"
                )

    def _seeds_each(self) -> int:
        count = self._options.seeds_per_variant
        if count == 1 or self._first is None or self._mode == "off":
            return 1
        if self._seeds[self._first] is None:
            self._warnings.append(
                f"{self._first}.seed is swept, so randomizer.seeds_per_variant is not used"
            )
            return 1
        return count

    def _check(self) -> None:
        self._templates.check()
        refuse_uncountable(self._space.size, "the prompts and what is swept")
        refuse_uncountable(
            self._combinations() * self._per_combination, "all choices and randomizer.draws"
        )
        self._refuse_overlapping_seeds()
        if self._mode == "off":
            if self._options.sweep or self._options.settings or self._rules.listed:
                self._warnings.append("randomizer.mode is off, so its sources were not used")
        else:
            self._rules.check()
        if self._mode == "random" and self._options.draws > self._space.size:
            movable = self._first is not None and self._seeds[self._first] is not None
            seeds = "with other seeds" if movable else "and their seeds may be the same"
            self._warnings.append(
                f"there are only {self._space.size:,} combinations for "
                f"{self._options.draws:,} draws (randomizer.draws), so some come again, {seeds}"
            )
        self._warnings += [*without_effect(self._options), *self._moving_alone()]
        if self._mode == "sequential":
            self._warnings += shorter_sweeps({k: len(v) for k, v in self._sweeps.items()})
        self._warnings += [
            *self._files.warnings, *self._templates.warnings, *self._rules.warnings
        ]  # fmt: skip

    def _moving_alone(self) -> Iterator[str]:
        """Yield a warning where choices go along with combinations, of which there is one."""
        if self._mode != "fanout" or self._space.size > 1:
            return
        for where in dict.fromkeys(
            where for nodes in self._nodes for where, node in nodes.items() if node.moving
        ):
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
            return self._space.longest
        return len(self._pack)

    def _combination(self, number: int) -> tuple[int, int]:
        """Return the prompt of combination *number*, and the rank in that prompt's space."""
        if self._mode == "off":
            return number, 0
        if self._mode == "rotate":
            return number, (self._options.start + number) % self._spaces[number].size
        if self._mode == "random":
            return self._space.locate(self._drawn[number])
        if self._mode == "sequential":
            return self._space.locate(self._space.step(number))
        return self._space.locate(number)

    # -- one variant --------------------------------------------------------------------

    def _variant(self, index: int) -> Variant:
        number, repeat = divmod(index, self._per_combination)
        place, rank = self._combination(number)
        nodes, space = self._nodes[place], self._spaces[place]
        ranks = iter(space.split(rank))
        moment = Moment(seed=self._seed, turn=number)
        texts = {w: node.text(next(ranks), number, moment) for w, node in nodes.items()}
        swept = {key: plain(values[next(ranks)]) for key, values in self._sweeps.items()}
        swept |= swept.pop(_TOGETHER, {})
        again = self._times_again(number)
        seeds = self._seeds_of(index, again * self._per_combination + repeat)
        seeds_vary = self._per_combination > 1 or again > 0
        choices, labels = self._choices_and_labels(
            place, moment, swept, seeds if seeds_vary else {}
        )
        return Variant(
            index=index,
            config=self._decided(texts, swept, seeds),
            label="; ".join(labels) or None,
            choices=choices,
            templates={w: self._written(w, place) for w in texts if self._changed(w, place, texts)},
        )

    def _times_again(self, number: int) -> int:
        """Return how many draws, this one included, were made after all combinations had come."""
        if self._mode != "random":
            return 0
        return max(number - self._space.size + 1, 0)

    def _seeds_of(self, index: int, shift: int) -> dict[str, int]:
        if self._options.seed_policy == "per_prompt" and self._mode != "off":
            shift = index
        seeds = {}
        for stage, seed in self._seeds.items():
            if seed is not None:
                wrap = DRAWN_SEEDS if seed < DRAWN_SEEDS else MAX_SEED + 1
                moved = (seed + shift * self._apart) % wrap if stage == self._first else seed
                seeds[f"{stage}.seed"] = moved
        return seeds

    def _decided(
        self, texts: Mapping[str, str], swept: Mapping[str, Any], seeds: Mapping[str, int]
    ) -> dict[Stage, dict[str, Any]]:
        stages: dict[Stage, dict[str, Any]] = {
            stage: {n: plain(v) if isinstance(v, (dict, list)) else v for n, v in knobs.items()}
            for stage, knobs in self._stages.items()
        }
        loras: dict[tuple[str, str], Any] = {}
        for key, value in (*texts.items(), *swept.items(), *seeds.items()):
            if lora := lora_of(key, self._first or ""):
                loras[lora] = value
                continue
            stage, *path, name = key.split(".")
            table = stages[cast("Stage", stage)]
            for step in path:
                table = table.setdefault(step, {})
            table[name] = value
        # Once prompts are decided, and the stage that draws before the one that inherits from it.
        for drawing in (stage for stage in stages if stage != "upscale"):
            for (stage, name), weight in loras.items():
                if stage == drawing:
                    _set_lora(stages, drawing, name, weight)
        if "img2img" in stages:
            stages["img2img"].update(inherited_by_img2img(stages))
        return stages

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
        if len(self._pack) > 1 and self._first in self._pack[place]:
            choices[first] = self._pack[place][cast("Stage", self._first)]
            labels.append(f"prompt={_cut(choices[first])}")
        choices.update(moment.choices)
        labels += moment.labels
        times: dict[str, int] = {}
        for chosen in moment.chosen:
            name = chosen.where + chosen.slot
            times[name] = times.get(name, 0) + 1
            again = f" #{times[name]}" if times[name] > 1 else ""
            choices[name + again] = chosen.text
            if chosen.depth == 0:
                shown = chosen.slot if chosen.where == first else name
                labels.append(f"{shown}{again}={chosen.text}")
        for key, value in swept.items():
            choices[key] = plain(value)
            shown = _cut(value) if isinstance(value, str) else value
            labels.append(f"{self._short.get(key, short_name(key))}={shown}")
        if (key := f"{self._first}.seed") in seeds:
            choices[key] = seeds[key]
            labels.append(f"seed={seeds[key]}")
        return choices, labels

    def _written(self, where: str, place: int) -> str:
        stage, _, name = where.partition(".")
        if name == "prompt":
            return self._pack[place].get(cast("Stage", stage), "")
        return cast("str", self._config.stages[cast("Stage", stage)][name])

    def _changed(self, where: str, place: int, texts: Mapping[str, str]) -> bool:
        return texts[where] != self._written(where, place)

    # -- axes ---------------------------------------------------------------------------

    def _axes(self) -> Iterator[Axis]:
        if len(self._pack) > 1:
            prompts = tuple(prompts.get(cast("Stage", self._first), "") for prompts in self._pack)
            yield Axis(name=f"{self._first}.prompt", size=len(self._pack), values=prompts)
        yield from self._rules.shown_axes()
        seen: set[str] = set()
        for nodes in self._nodes:
            for node in nodes.values():
                for slot, choice in node.choices():
                    if slot not in seen:
                        seen.add(slot)
                        texts = None if choice.moving else _Texts(choice)
                        yield Axis(name=slot, size=choice.size, values=texts)
        for key, values in self._sweeps.items():
            if key == _TOGETHER:
                values = tuple(map(_setting_text, values))
            yield Axis(name=key, size=len(values), values=values)
        if self._per_combination > 1:
            first = self._seeds[cast("Stage", self._first)]
            seeds = None
            same = self._options.seed_policy == "per_iteration"
            if same and first is not None and not self._times_again(self._combinations() - 1):
                seeds = range(first, first + self._per_combination * self._apart, self._apart)
            yield Axis(name=f"{self._first}.seed", size=self._per_combination, values=seeds)


def _set_lora(
    stages: Mapping[Stage, dict[str, Any]], stage: Stage, name: str, weight: float
) -> None:
    """Put the LoRA *name* at *weight* into the prompt of *stage*, stated or inherited."""
    inherited = inherited_by_img2img(stages) if stage == "img2img" else {}
    prompt = stages[stage].get("prompt", inherited.get("prompt", ""))
    changed = with_lora(prompt, name, weight)
    if changed != prompt:
        stages[stage]["prompt"] = changed


def _setting_text(setting: Mapping[str, Any]) -> str:
    return ", ".join(f"{short_name(key)}={value}" for key, value in setting.items())


def _cut(prompt: str) -> str:
    return prompt if len(prompt) <= _LONGEST_PROMPT else f"{prompt[: _LONGEST_PROMPT - 1]}…"


class _Texts(LazyValues):
    """The texts of one choice of a template."""

    def __init__(self, node: Node) -> None:
        super().__init__(node.size)
        self._node = node

    def at(self, place: int) -> str:
        """Return text number *place*."""
        return self._node.text(place, 0, Moment(0, 0))
