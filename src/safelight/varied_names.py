"""varied_names: what sweeps, settings and learning plans name, and which names exclude each other.

Beside ``stage.knob`` they name the weight of a LoRA, ``lora.NAME`` or ``stage.lora.NAME``, and what
only the engine knows, ``stage.extra.NAME`` with a dot for each level of what nests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from safelight.knobs import EXTRA
from safelight.lora_tags import LORA, MOST_WEIGHT, lora_of

__all__ = ["dotted", "extra_fault", "first_drawing", "lora_fault", "plain_name"]


def dotted(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ``a.b`` -> value, whether the file nests tables or quotes dotted keys."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def first_drawing(stages: Iterable[str]) -> str:
    """Return the first of *stages* that draws, or an empty text."""
    return next((stage for stage in stages if stage != "upscale"), "")


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
    drawing = [stage for stage in stages if stage != "upscale"]
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
