"""Columns of a condition, for one prompt of a plan: which parts of its space decide each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from safelight.condition_names import column_value
from safelight.config import PipelineConfig
from safelight.knobs import EXTRA, INHERITED_BY_IMG2IMG, KNOBS, loose_name
from safelight.lora_tags import LORA
from safelight.randomizer.prompt_pack import PackPrompt
from safelight.randomizer.rule_spaces import Factor, RuledSpace
from safelight.randomizer.spaces import Space
from safelight.randomizer.sweeps import SETTINGS, SUB_SWEEPS
from safelight.randomizer.text_spaces import Moment, numbered
from safelight.varied_names import dotted, first_drawing, plain_name

__all__ = ["Column", "Part", "PromptColumns", "parts_of"]

Ranks = Mapping[int, int]
"""Place of a part -> rank within it."""

_TOGETHER = (SETTINGS, SUB_SWEEPS)
_AGAIN = re.compile(r" #([1-9]\d{0,5})\Z")


@dataclass(frozen=True, slots=True)
class Part:
    """A factor of a prompt's space.

    Attributes:
        space: Its combinations.
        source: What it is called where it has no names: that of a sweep, or of the prompts.
        node: What notes the choices of a prompt; None for a sweep.
        names: What its texts note.
    """

    space: Space
    source: str
    node: Factor | None = None
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Column:
    """A value that depends on a few parts.

    Attributes:
        parts: Their places, in order.
        value: Of what is chosen in them.
    """

    parts: tuple[int, ...]
    value: Callable[[Ranks], Any]


def parts_of(texts: RuledSpace, sweeps: Mapping[str, Space]) -> list[Part]:
    """Return the factors of a prompt's space, the outermost first.

    Args:
        texts: What its texts come to.
        sweeps: Name of a sweep -> its space.
    """
    parts = []
    for factor in texts.factors():
        names = frozenset(name for name, _ in factor.names())
        if names or factor.size > 1:
            parts.append(Part(cast("Space", factor), "the prompts", factor, names))
    return [*parts, *(Part(space, name) for name, space in sweeps.items())]


@dataclass(frozen=True, kw_only=True)
class PromptColumns:
    """The columns of one prompt.

    Attributes:
        config: The config.
        pack: The prompt.
        parts: The factors of its space.
        sweeps: Name of a sweep -> its values.
        types: Column -> SQL type.
    """

    config: PipelineConfig
    pack: PackPrompt
    parts: Sequence[Part]
    sweeps: Mapping[str, Sequence[Any]]
    types: Mapping[str, str]
    _places: dict[str, int] = field(init=False, default_factory=dict)
    _varied: dict[str, tuple[str, str]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._places.update((p.source, n) for n, p in enumerate(self.parts) if p.node is None)
        randomizer, first = self.config.randomizer, first_drawing(self.config.stages)
        for source in (source for source in _TOGETHER if source in self.sweeps):
            for knob in (knob for table in getattr(randomizer, source) for knob in table):
                self._varied[plain_name(knob, first)] = (source, knob)
        for knob in self.sweeps:
            self._varied[plain_name(knob, first)] = (knob, knob)

    def column(self, name: str) -> Column:
        """Return the column *name*, of NULL where this prompt has nothing of that name."""
        stage, _, knob = name.partition(".")
        kind = self.types[name]
        if stage in self.config.stages and knob.startswith((EXTRA, LORA)):
            column = self._knob(name)
        elif stage in self.config.stages and knob in KNOBS:
            column = self._inherited(stage, knob)
        else:
            column = self._choice(name)
        return Column(column.parts, lambda ranks: column_value(column.value(ranks), kind))

    # -- knobs --------------------------------------------------------------------------

    def _inherited(self, stage: str, knob: str) -> Column:
        own = self._knob(f"{stage}.{knob}")
        inherits = stage == "img2img" and knob in INHERITED_BY_IMG2IMG
        if not inherits or "txt2img" not in self.config.stages:
            return own
        drawn = self._knob(f"txt2img.{knob}")

        def value(ranks: Ranks) -> Any:
            mine = own.value(ranks)
            return drawn.value(ranks) if mine is None else mine

        return Column(tuple(sorted({*own.parts, *drawn.parts})), value)

    def _knob(self, name: str) -> Column:
        stated = self._stated(name)
        if name not in self._varied:
            return Column((), lambda _: stated)
        source, knob = self._varied[name]
        place, values = self._places[source], self.sweeps[source]
        if source not in _TOGETHER:
            return Column((place,), lambda ranks: values[ranks[place]])
        first = first_drawing(self.config.stages)

        def value(ranks: Ranks) -> Any:
            chosen = values[ranks[place]]
            if knob not in chosen:  # a LoRA may be written otherwise in another setting
                chosen = {plain_name(key, first): each for key, each in chosen.items()}
            return chosen.get(knob, chosen.get(name, stated))

        return Column((place,), value)

    def _stated(self, name: str) -> Any:
        """Return what is stated of a knob; of a prompt as it is written."""
        stage, _, knob = name.partition(".")
        if name in self.pack.texts:
            return self.pack.texts[name]
        if name in self.pack.knobs:
            return self.pack.knobs[name]
        knobs = self.config.stages.get(stage, {})  # type: ignore[call-overload]
        if knob.startswith(EXTRA):
            return dict(dotted(knobs.get("extra", {}))).get(knob.removeprefix(EXTRA))
        return None if knob == "seed" else knobs.get(knob)

    # -- choices ------------------------------------------------------------------------

    def _choice(self, name: str) -> Column:
        again = _AGAIN.search(name)
        base, number = (name[: again.start()], again[1]) if again else (name, "")
        named = {n: each for n, part in enumerate(self.parts) for each in part.names
                 if each == base or _is_slot(each, base)}  # fmt: skip
        places = tuple(named)
        alone = [p for p in places if self._comes_once(p, named[p])]
        if len(alone) == len(places) and places:
            at = int(number or 1) - 1
            places = places[at : at + 1]
            number = ""
        wanted = f"{next(iter(named.values()), base)}{f' #{number}' if number else ''}"

        def value(ranks: Ranks) -> Any:
            return _noted([(self.parts[place].node, ranks[place]) for place in places]).get(wanted)

        return Column(places, value)

    def _comes_once(self, place: int, name: str) -> bool:
        """Whether every text of a part notes *name* exactly once."""
        node = self.parts[place].node
        assert node is not None
        return [each for each, _ in node.choices()] == [name] and sum(
            each == name for each, _ in node.names()
        ) == 1  # fmt: skip


def _is_slot(name: str, base: str) -> bool:
    """Whether both are the same slot, however it is spelled."""
    return name[:1] == base[:1] == "[" and loose_name(name) == loose_name(base)


def _noted(chosen: Sequence[tuple[Factor | None, int]]) -> dict[str, Any]:
    """Return what the texts of *chosen* note, by its name in a variant's choices."""
    moment = Moment(0, 0)
    for node, rank in chosen:
        if node is not None:
            node.note(rank, moment)
    names = numbered([each.where + each.slot for each in moment.chosen])
    texts = (each.text for each in moment.chosen)
    return moment.choices | dict(zip(names, texts, strict=True))
