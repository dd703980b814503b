"""varied_names: what sweeps, settings and learning plans name, and which names exclude each other.

Beside ``stage.knob`` they name the weight of a LoRA, ``lora.NAME`` or ``stage.lora.NAME``, and what
only the engine knows, ``stage.extra.NAME`` with a dot for each level of what nests. The columns of
a file may leave the stage out, and write a knob as people do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from safelight.knobs import EXTRA, KNOBS, PROMPT_KNOBS, STAGES, did_you_mean
from safelight.lora_tags import LORA, MOST_WEIGHT, lora_of

__all__ = [
    "dotted",
    "drawing_stages",
    "extra_fault",
    "first_drawing",
    "lora_fault",
    "meant_by",
    "plain_name",
    "prompt_names_fault",
    "same_word",
    "unmet_needs",
    "unpaired",
]

StageName = TypeVar("StageName", bound=str)


def dotted(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ``a.b`` -> value, whether the file nests tables or quotes dotted keys."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def drawing_stages(stages: Iterable[StageName]) -> list[StageName]:
    """Return those of *stages* that draw, which have prompts and seeds."""
    return [stage for stage in stages if stage != "upscale"]


def first_drawing(stages: Iterable[str]) -> str:
    """Return the first of *stages* that draws, or an empty text."""
    return next(iter(drawing_stages(stages)), "")


def plain_name(name: str, first: str = "") -> str:
    """Return *name* as it is told from others: that of a LoRA without blanks around it.

    Args:
        name: Any.
        first: The stage that a LoRA without a stage belongs to; empty leaves it without.
    """
    lora = lora_of(name, first)
    return name if lora is None else f"{lora[0]}.{LORA}{lora[1]}".lstrip(".")


def lora_fault(name: str, value: object, stages: Iterable[str]) -> str | None:
    """Return why the weight of a LoRA may not be *value*, or None.

    Args:
        name: ``lora.NAME`` or ``stage.lora.NAME``.
        value: Its weight.
        stages: Those that run.
    """
    drawing = drawing_stages(stages)
    stage, lora = lora_of(name, first_drawing(drawing)) or ("", "")
    if stage not in drawing:
        return "is the weight of a LoRA, and belongs to txt2img or img2img, which does not run"
    if not lora or set(lora) & set("<>:"):
        return f"must name a LoRA, as its tag in a prompt does, got {lora!r}"
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not abs(value) <= MOST_WEIGHT:  # type: ignore[arg-type]
        return (
            f"every weight must be a number from {-MOST_WEIGHT:g} to {MOST_WEIGHT:g}, got {value!r}"
        )
    return None


def prompt_names_fault(names: object, stages: Iterable[str]) -> str | None:
    """Return why *names* cannot be a list of prompts to act on, or None.

    Args:
        names: To be ``stage.prompt`` and ``stage.negative_prompt``.
        stages: Those that run.
    """
    drawing = drawing_stages(stages)
    known = [f"{stage}.{knob}" for stage in drawing for knob in PROMPT_KNOBS]
    if not isinstance(names, (list, tuple)) or not names:
        return f"must be a list of prompts, such as [{', '.join(map(repr, known))}], got {names!r}"
    for name in names:
        stage, _, knob = str(name).partition(".")
        if stage in STAGES and stage not in drawing and knob in PROMPT_KNOBS:
            lacks = "has no prompts" if stage == "upscale" else "does not run"
            return f"names {name!r}, and {stage} {lacks}; leave it out"
        if name not in known:
            near = did_you_mean(str(name), known)
            return f"must name prompts among {', '.join(known)}; got {name!r}{near}"
    return None


def unpaired(lengths: Mapping[str, int]) -> tuple[str, str] | None:
    """Return the first list that is not as long as the longest, and why that may not be.

    Args:
        lengths: ``stage.knob`` -> number of its texts; a single one goes with every other.
    """
    longest = max(lengths, key=lambda where: lengths[where], default="")
    for where, length in lengths.items():
        if length not in (1, lengths[longest]):
            return where, (
                f"has {length:,} texts and {longest} has {lengths[longest]:,}: lists of prompts"
                " go together one by one; give both as many, or one of them a single text"
            )
    return None


def extra_fault(name: str, others: Iterable[str], stages: Mapping[Any, Any]) -> str | None:
    """Return why ``stage.extra.NAME`` cannot be varied; None when it can, or is none.

    Args:
        name: Of what is varied.
        others: What else is varied.
        stages: Stage -> knobs, as stated.
    """
    stage, _, path = name.partition(".")
    if not path.startswith(EXTRA):
        return None
    for other in others:
        if name.startswith(f"{other}."):
            return f"lies in {other}, which is varied as a whole; leave one of them out"
        if other.startswith(f"{name}."):
            return f"holds {other}, which is varied by itself; leave one of them out"
    at, value = stage, stages.get(stage, {})
    for step in path.split(".")[:-1]:
        if step not in value:
            return None
        at, value = f"{at}.{step}", value[step]
        if not isinstance(value, Mapping):
            return (
                f"cannot be put into {at}, which must be a table for that, got {value!r}; change"
                " it, or leave one of them out"
            )
    return None


def unmet_needs(
    stages: Mapping[Any, Mapping[str, Any]], varied: Iterable[str]
) -> Iterator[tuple[str, str]]:
    """Yield (``stage.knob``, why) of knobs that mean nothing without another, which is not there.

    Args:
        stages: Stage -> knobs, as stated.
        varied: ``stage.knob`` of what has a value beside these.
    """
    named = [path.partition(".") for path in varied]
    for stage, knobs in stages.items():
        stated = dict.fromkeys([*knobs, *(name for at, _, name in named if at == stage)])
        for knob in (KNOBS[name] for name in stated if name in KNOBS):
            if knob.needs and knob.needs not in stated:
                message = f"has no effect without {stage}.{knob.needs}; set it too"
                yield f"{stage}.{knob.name}", message


# -- names of columns --------------------------------------------------------------------------


def same_word(name: str) -> str:
    """Return *name* without case, blanks and ``_``, in which names of columns may differ."""
    return "".join(name.replace("_", " ").casefold().split())


_WRITTEN_AS = {
    **{
        same_word(word): knob.name
        for knob in KNOBS.values()
        for word in (*knob.aliases, knob.infotext)
        if word
    },
    "samplername": "sampler",
    "sdmodel": "model",
    **{same_word(name): name for name in KNOBS},
}
"""What knobs are called in pictures and by AUTOMATIC1111's script -> the knob."""


def meant_by(name: str, stages: Iterable[str]) -> str:
    """Return the ``stage.knob`` that the name of a column means, ``stage.lora.NAME`` of a LoRA.

    Args:
        name: ``steps``, ``txt2img.Sampler``, ``lora.ink``, ``extra.tiling``; one without a stage
            belongs to the first that has it.
        stages: Those that run.

    Raises:
        ValueError: It is no knob, or that of a stage that does not run.
    """
    running = list(stages)
    head, _, rest = name.strip().partition(".")
    stage = same_word(head)
    if stage not in STAGES or not rest:
        stage, rest = "", name.strip()
    if stage and stage not in running:
        raise ValueError(f"belongs to {stage}, which does not run")
    head, _, inner = (part.strip() for part in rest.partition("."))
    table = f"{same_word(head)}."
    if inner and table in (LORA, EXTRA):
        return f"{stage or first_drawing(running) or running[0]}.{table}{inner}"
    knob = KNOBS.get(_WRITTEN_AS.get(same_word(rest), ""))
    if knob is None:
        raise ValueError(f"is no knob{did_you_mean(rest, KNOBS)}")
    having = [each for each in (running if not stage else [stage]) if each in knob.stages]
    if not having:
        owners = " or ".join(knob.stages)
        if stage:
            raise ValueError(f"is no knob of {stage}; it belongs to {owners}")
        raise ValueError(f"belongs to {owners}, which does not run")
    return f"{having[0]}.{knob.name}"
