"""RandomizerPlanResult: the variants of one base config, counted without being listed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, overload

from safelight.config import RandomizerMode
from safelight.knobs import Stage

__all__ = [
    "Axis",
    "PromptFileRead",
    "RandomizerPlanResult",
    "Variant",
    "Variants",
    "repeated_variants",
]

_MOST_COMPARED = 10_000
_MOST_TEXT = 20_000_000
_EACH_AXIS = 8
"""Characters that are made in the time in which one axis has its value chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One fully decided config: every wildcard drawn, every seed a number.

    Names in *choices* say where a value went: ``knight->`` for a search/replace rule,
    ``__token__`` for an inline token, ``[slot]`` for a matrix slot, ``txt2img.prompt{1}`` for
    the first ``{...}`` of a template, ``txt2img.prompt__colors__`` for a wildcard in it,
    ``txt2img.prompt__animal__ > __cats__`` for a wildcard inside that one's value, ``... #2``
    when the same place comes twice, ``txt2img.steps`` for a knob (of ``txt2img.prompt``: which
    prompt of the pack, as written).

    Attributes:
        index: Its place in the plan, from 0.
        config: Stage -> knobs; img2img's inherited knobs are written out.
        label: What was chosen, ``prompt=a cat; search->replacement; __token__=value;
            [slot]=value; {1}=red; steps=20; seed=3``; None when there was nothing to choose.
            The prompt is there when the pack has several, as written, at most 40 characters;
            the seed when a combination comes with several.
        choices: Name of each source -> the value chosen for this variant.
        templates: ``stage.knob`` -> the prompt as written, for prompts that were changed.
    """

    index: int
    config: Mapping[Stage, Mapping[str, Any]]
    label: str | None = None
    choices: Mapping[str, Any] = field(default_factory=dict)
    templates: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One thing that varies.

    Attributes:
        name: Its name in :attr:`Variant.choices`.
        size: How many values it has.
        values: The values, read as they are asked for; None where they depend on the variant.
    """

    name: str
    size: int
    values: Sequence[Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFileRead:
    """What a plan was made of that came from a file of prompts.

    Attributes:
        file: As the config names it.
        sha256: Of the file, hexadecimal.
        prompts: How many it holds, repeated ones included.
        knobs: ``stage.knob`` that its rows set -> of a name of the engine's, such as a sampler,
            the names, each once; of all else nothing.
    """

    file: str
    sha256: str
    prompts: int
    knobs: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def to_metadata(self) -> dict[str, Any]:
        """Return its name -> how many prompts it holds, and its hash."""
        return {self.file: {"prompts": self.prompts, "sha256": self.sha256}}


class Variants(Sequence[Variant]):
    """The variants of a plan, made one at a time when they are asked for.

    A slice is as lazy as the whole. ``len()`` works up to ``sys.maxsize``;
    :attr:`RandomizerPlanResult.plan_size` and iteration have no limit.
    """

    def __init__(self, make: Callable[[int], Variant], places: range) -> None:
        self._make, self._places = make, places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Variant: ...
    @overload
    def __getitem__(self, place: slice) -> Variants: ...
    def __getitem__(self, place: int | slice) -> Variant | Variants:
        if isinstance(place, slice):
            return Variants(self._make, self._places[place])
        try:
            number = self._places[place]
        except IndexError:
            raise IndexError(f"the plan has no variant {place}") from None
        return self._make(number)

    def __iter__(self) -> Iterator[Variant]:
        return map(self._make, self._places)

    def __reversed__(self) -> Iterator[Variant]:
        return map(self._make, reversed(self._places))


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomizerPlanResult:
    """What a randomizer makes of one base config.

    Attributes:
        mode: How the sources were combined.
        plan_size: Number of variants, after the cap.
        full_size: Number of variants before the cap.
        variants: The variants, lazy.
        seed: The seed behind everything drawn.
        warnings: What was cut, left in place or never matched, in sentences.
        axes: What varies, outermost first. Values that a template chooses inside other values
            are not axes of their own.
        wildcard_files: Wildcard name -> SHA-256 (hexadecimal) of its file, for all files used.
        prompt_file: The file of prompts, or None.
        left_out: Number of combinations that conditions leave out; where sources step together,
            of turns.
    """

    mode: RandomizerMode
    plan_size: int
    full_size: int
    variants: Sequence[Variant] = field(repr=False)
    seed: int
    warnings: tuple[str, ...] = ()
    axes: tuple[Axis, ...] = ()
    wildcard_files: Mapping[str, str] = field(default_factory=dict)
    prompt_file: PromptFileRead | None = None
    left_out: int = 0

    def to_metadata(self) -> dict[str, Any]:
        """Return everything but the variants as plain JSON values."""
        return {
            "mode": self.mode,
            "plan_size": self.plan_size,
            "full_size": self.full_size,
            "left_out": self.left_out,
            "seed": self.seed,
            "warnings": list(self.warnings),
            "axes": [{"name": axis.name, "size": axis.size} for axis in self.axes],
            "wildcard_files": dict(self.wildcard_files),
            "prompt_files": self.prompt_file.to_metadata() if self.prompt_file else {},
        }


def repeated_variants(plan: RandomizerPlanResult, most: int = _MOST_COMPARED) -> str | None:
    """Return how many of *plan* are equal to earlier ones, in a sentence; None when none is.

    Such variants are drawn once. Of a plan of more than *most* variants, or of more text than can
    be compared while somebody waits, it is not told.
    """
    if plan.plan_size > most:
        return None
    different, characters = set(), 0
    for variant in plan.variants:
        text = json.dumps(variant.config, sort_keys=True, default=str)
        characters += len(text) + _EACH_AXIS * len(plan.axes)
        if characters > _MOST_TEXT:
            return None
        different.add(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest())
    repeated = plan.plan_size - len(different)
    if not repeated:
        return None
    equal = "is equal to an earlier one" if repeated == 1 else "are equal to earlier ones"
    return f"{repeated:,} of {plan.plan_size:,} variants {equal}: each is drawn once"
