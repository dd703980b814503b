"""Where the knobs of one variant come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safelight.config import PipelineConfig
from safelight.knobs import INHERITED_BY_IMG2IMG, PROMPT_KNOBS
from safelight.randomizer.made_variant import Made
from safelight.randomizer.plan import Variant
from safelight.randomizer.sub_sweeps import SubSweeps
from safelight.randomizer.sweeps import SETTINGS, SUB_SWEEPS

__all__ = ["KnobOrigin", "knob_origins", "shown_path", "stated_origin", "swept_origin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnobOrigin:
    """One knob of a variant.

    Attributes:
        name: ``stage.knob``.
        value: What the engine is asked for.
        origin: Where that comes from, for a person.
    """

    name: str
    value: Any
    origin: str


WITH_PROMPT = "comes with the prompt"
"""Of what a row of a file of prompts sets."""


def knob_origins(config: PipelineConfig, made: Made, variant: Variant) -> Iterator[KnobOrigin]:
    """Yield every knob of *variant* but its prompts."""
    for stage, knobs in variant.config.items():
        stated = dict(_flat(stage, config.stages[stage]))
        for name, value in _flat(stage, knobs):
            if name.partition(".")[2] in PROMPT_KNOBS:
                continue
            if name in made.swept:
                origin = swept_origin(config, made, name)
            elif name in made.seeds:
                origin = _seed_origin(config, made, name)
            elif name in made.written.knobs:
                origin = WITH_PROMPT
            elif name in stated:
                origin = "stated"
            else:
                origin = _taken_over(name)
            yield KnobOrigin(name=name, value=value, origin=origin)


def _flat(prefix: str, knobs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in knobs.items():
        if isinstance(value, Mapping) and name == "extra":
            yield from _flat(f"{prefix}.{name}", value)
        else:
            yield f"{prefix}.{name}", value


def _taken_over(name: str) -> str:
    knob = name.partition(".")[2]
    return f"taken over from txt2img.{knob}" if knob in INHERITED_BY_IMG2IMG else "put in"


def swept_origin(config: PipelineConfig, made: Made, name: str) -> str:
    """Return which value of which sweep, or of the settings or sub-sweeps, *name* has."""
    settings = config.randomizer.settings
    if (place := made.ranks.get(SETTINGS)) is not None and name in settings[place]:
        return f"randomizer.settings, number {place + 1} of {len(settings)}"
    place = made.ranks.get(name)
    if place is None and (combination := made.ranks.get(SUB_SWEEPS)) is not None:
        tables = config.randomizer.sub_sweeps
        read = SubSweeps(tables, made.seed, [] if config.randomizer.multiplies else None)
        number, _ = read.space.locate(combination)
        return f"randomizer.sub_sweeps, number {number + 1} of {len(tables)}"
    return "randomizer.sweep" + ("" if place is None else f", value {place + 1}")


def _seed_origin(config: PipelineConfig, made: Made, name: str) -> str:
    stage = name.partition(".")[0]
    stated = config.stages[stage].get("seed")  # type: ignore[index]
    drawn = stated in (None, -1)
    begin = made.first_seeds()[name]
    said = f"drawn from the plan's seed {made.seed}" if drawn else "stated"
    said = WITH_PROMPT if name in made.written.knobs else said
    if begin == made.seeds[name]:
        return said
    return f"counted from {begin}, which {said if said == WITH_PROMPT else f'is {said}'}"


def stated_origin(config: PipelineConfig, where: str, written: str) -> str:
    """Return which prompt of the config *written* is, or that there is one alone."""
    stage, _, knob = where.partition(".")
    texts = config.randomizer.sweep.get(where)
    source = f"randomizer.sweep.{where}" if texts is not None else where
    if texts is None:
        texts = config.stages[stage].get(knob)  # type: ignore[index]
    listed = (texts,) if isinstance(texts, str) else tuple(texts or ())
    if config.randomizer.prompts is not None and written not in listed:
        return shown_path(config, Path(config.folder, config.randomizer.prompts.file))
    if isinstance(texts, (list, tuple)) and len(texts) > 1 and written in texts:
        return f"{source}, number {texts.index(written) + 1} of {len(texts)}"
    return source if where in config.randomizer.sweep else "stated"


def shown_path(config: PipelineConfig, path: Path) -> str:
    """Return *path* from the config's folder on, where it is below that."""
    try:
        return path.relative_to(config.folder).as_posix()
    except ValueError:
        return str(path)
