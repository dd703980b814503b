"""Swept knobs: their values, lazy, without repeats, every seed of -1 drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, overload

from safelight.errors import shortened
from safelight.knobs import KNOBS, KnobKind
from safelight.lora_tags import LORA, lora_of
from safelight.randomizer.draws import Dice
from safelight.value_ranges import distinct, values_of

__all__ = [
    "DRAWN_SEEDS",
    "MOST_COMPARED",
    "SETTINGS",
    "SUB_SWEEPS",
    "LazyValues",
    "decided_seed",
    "read_sweeps",
    "short_name",
    "short_text",
]

SETTINGS, SUB_SWEEPS = "settings", "sub_sweeps"
"""What these sources, which vary several knobs at once, are called among the swept knobs."""

DRAWN_SEEDS = 2**32
"""Drawn seeds lie below this, AUTOMATIC1111's limit."""

MOST_COMPARED = 100_000
"""Values of a sweep up to which they are compared with each other."""

_LONGEST_TEXT = 40
"""Characters of a text that a label shows, the sign of a cut included."""


def read_sweeps(
    specs: Mapping[str, Any], seed: int, warnings: list[str] | None
) -> dict[str, Sequence[Any]]:
    """Return ``stage.knob`` -> values, in the order of the file.

    Args:
        specs: ``stage.knob`` -> list or range text, as checked.
        seed: The plan's seed.
        warnings: Where to say that repeated values were left out; None keeps them.
    """
    sweeps: dict[str, Sequence[Any]] = {}
    for key, spec in specs.items():
        knob = KNOBS.get(key.partition(".")[2])
        kind: KnobKind = knob.kind if knob else "number" if lora_of(key, "") else "text"
        values = values_of(spec, kind)
        if key in ("txt2img.seed", "img2img.seed"):
            values = _DecidedSeeds(values, seed, key)
        sweeps[key] = _without_repeats(key, values, warnings)
    return sweeps


def short_name(key: str) -> str:
    """Return what a sweep is called without its stage."""
    return key if key.startswith(LORA) else key.partition(".")[2]


def short_text(text: str) -> str:
    """Return *text* as a label shows it."""
    return shortened(text, _LONGEST_TEXT)


def _without_repeats(key: str, values: Sequence[Any], warnings: list[str] | None) -> Sequence[Any]:
    if warnings is None or not 1 < len(values) <= MOST_COMPARED:
        return values
    kept = distinct(values)
    if len(kept) == len(values):
        return values
    warnings.append(f"{key}: {len(values) - len(kept)} repeated values were left out")
    return kept


class LazyValues(Sequence[Any]):
    """A sequence that makes its values when they are asked for."""

    def __init__(self, size: int) -> None:
        self._size = size

    def at(self, place: int) -> Any:
        """Return the value at *place*."""
        raise NotImplementedError

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, place: int) -> Any: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Any]: ...
    def __getitem__(self, place: int | slice) -> Any:
        places = range(self._size)[place]
        if isinstance(places, range):
            return tuple(self.at(each) for each in places)
        return self.at(places)


class _DecidedSeeds(LazyValues):
    """Swept seeds, every -1 among them drawn."""

    def __init__(self, values: Sequence[Any], seed: int, key: str) -> None:
        super().__init__(len(values))
        self._values, self._seed, self._key = values, seed, key

    def at(self, place: int) -> int:
        """Return the seed at *place*, drawn where it is -1."""
        return decided_seed(self._values[place], self._seed, self._key, place)


def decided_seed(value: int | None, seed: int, key: str, place: int) -> int:
    """Return *value*, or a drawn seed when it is -1 or missing."""
    if value is None or value == -1:
        return Dice(seed, key, place).below(DRAWN_SEEDS)
    return value
