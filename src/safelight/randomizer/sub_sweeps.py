"""Sub-sweeps: several small sweeps in one plan, one after the other, as one source of variants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from safelight.errors import PlanError
from safelight.lora_tags import lora_of
from safelight.randomizer.plan import Axis
from safelight.randomizer.plan_bounds import MOST_LORAS, MOST_SOURCES, refuse_long
from safelight.randomizer.spaces import Line, Product, Space, Succession
from safelight.randomizer.sweeps import MOST_COMPARED, SETTINGS, SUB_SWEEPS, LazyValues, read_sweeps
from safelight.randomizer_config import RandomizerConfig
from safelight.value_ranges import distinct

__all__ = ["SubSweeps", "all_sweeps", "refuse_many", "space_of_values", "sub_sweeps_of"]

_LONGEST_WEIGHT = 30
"""Characters of a LoRA in a prompt beside its name."""


class SubSweeps(LazyValues):
    """``stage.knob`` -> value of every combination of every sub-sweep, the first sub-sweep first.

    Attributes:
        tables: Of each sub-sweep, ``stage.knob`` -> values.
        space: Of their combinations.

    Args:
        specs: Of each sub-sweep, as checked.
        seed: The plan's seed.
        warnings: Where to say that repeated values were left out; None keeps them.
    """

    def __init__(
        self, specs: Sequence[Mapping[str, Any]], seed: int, warnings: list[str] | None
    ) -> None:
        self.tables = [read_sweeps(spec, seed, warnings) for spec in specs]
        self._products = [Product([Line(len(v)) for v in t.values()]) for t in self.tables]
        # Without any there is one combination, of nothing.
        self.space = Succession(self._products or [Product(())])
        super().__init__(self.space.size)

    def at(self, place: int) -> dict[str, Any]:
        """Return the combination at *place*."""
        number, rank = self.space.locate(place)
        ranks = self._products[number].split(rank)
        table = self.tables[number].items()
        return {key: values[rank] for (key, values), rank in zip(table, ranks, strict=True)}

    def knobs(self) -> list[str]:
        """Return every knob that some sub-sweep varies, in the order of the file."""
        return list(dict.fromkeys(chain.from_iterable(self.tables)))

    def lists_of(self, knob: str) -> list[Sequence[Any]]:
        """Return the values of *knob*, one list for each sub-sweep that varies it."""
        return [table[knob] for table in self.tables if knob in table]

    def axes(self) -> Iterator[Axis]:
        """Yield one axis for each knob, with the values that it has in any sub-sweep."""
        for knob in self.knobs():
            lists = self.lists_of(knob)
            size = sum(map(len, lists))
            values: Sequence[Any] | None = lists[0] if len(lists) == 1 else None
            if values is None and size <= MOST_COMPARED:
                values = distinct(list(chain.from_iterable(lists)))
                size = len(values)
            yield Axis(name=knob, size=size, values=values)


_NONE = SubSweeps((), 0, [])


def all_sweeps(
    options: RandomizerConfig, seed: int, warnings: list[str]
) -> dict[str, Sequence[Any]]:
    """Return the values of every sweep by its name, of the settings and of the sub-sweeps.

    Args:
        options: What varies.
        seed: The plan's seed.
        warnings: Where to say that repeated values were left out, as those that multiply are.
    """
    told = warnings if options.multiplies else None
    sweeps = read_sweeps(options.sweep, seed, told)
    if options.settings:
        sweeps[SETTINGS] = options.settings
    if options.sub_sweeps:
        sweeps[SUB_SWEEPS] = SubSweeps(options.sub_sweeps, seed, told)
    return sweeps


def sub_sweeps_of(sweeps: Mapping[str, Sequence[Any]]) -> SubSweeps:
    """Return the sub-sweeps among *sweeps*, or none of them."""
    found = sweeps.get(SUB_SWEEPS)
    return found if isinstance(found, SubSweeps) else _NONE


def space_of_values(values: Sequence[Any]) -> Space:
    """Return the space of what a sweep, the settings or the sub-sweeps step through."""
    return values.space if isinstance(values, SubSweeps) else Line(len(values))


def refuse_many(sweeps: Mapping[str, Sequence[Any]], first: str, longest: int) -> None:
    """Refuse too many swept knobs, and swept LoRAs that make a prompt too long.

    Args:
        sweeps: Name -> values, the sub-sweeps among them.
        first: The stage that a LoRA without a stage belongs to.
        longest: Characters of the longest prompt without them.

    Raises:
        PlanError: There are too many, or they do.
    """
    tables = sub_sweeps_of(sweeps).tables
    swept = len(sweeps) + sum(map(len, tables))
    if swept > MOST_SOURCES:
        raise PlanError(
            f"randomizer.sweep: at most {MOST_SOURCES:,} knobs can be swept, got {swept:,}"
        )
    for table in (*tables, {}):
        loras = [key for key in (*sweeps, *table) if lora_of(key, first)]
        if len(loras) > MOST_LORAS:
            raise PlanError(
                f"randomizer.sweep: at most {MOST_LORAS} LoRAs can be swept, got {len(loras):,}"
            )
        added = sum(len(key) + _LONGEST_WEIGHT for key in loras)
        refuse_long(longest + added if loras else 0, "randomizer.sweep: the LoRAs")
