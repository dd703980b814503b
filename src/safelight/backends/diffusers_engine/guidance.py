"""Guidance: what ``cfg_scale`` means to a pipeline, in both directions.

Recorded is the multiple of (prompt - negative prompt), in AUTOMATIC1111's measure: 1 is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from safelight.backends.diffusers_engine.families import Convention, family_of

__all__ = ["Guidance", "guidance_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guidance:
    """How one pipeline is guided.

    Attributes:
        convention: What it does with its number.
        argument: Of its call; None where there is none.
        distilled: Argument that goes into a model distilled for it; None where the model was not.
        default: What its number is by itself; None where that is no single number.
        is_known: Whether the class is in the table, or this is what most classes do.
        guiders: The objects that hold the number, where it is no argument.
        cleared: Arguments that must be None beside a stated one.
    """

    convention: Convention
    argument: str | None
    distilled: str | None
    default: float | None
    is_known: bool
    guiders: tuple[Any, ...] = ()
    cleared: tuple[str, ...] = ()

    def arguments(self, cfg_scale: float | None) -> dict[str, Any]:
        """Return what the pipeline is called with for *cfg_scale*; None leaves it its own."""
        if cfg_scale is None or self.argument is None:
            return {}
        return {self.argument: self._own(cfg_scale), **dict.fromkeys(self.cleared)}

    def acting(self, cfg_scale: float | None) -> float | None:
        """Return the multiple that acts when *cfg_scale* is asked for, None being the default.

        None where the pipeline's own is no single number.
        """
        if self.convention == "none":
            return 1.0
        own = self.default if cfg_scale is None else self._own(cfg_scale)
        if own is None:
            return None
        if self.convention == "off at 0":
            return round(max(0.0, own) + 1, 10)
        return max(1.0, own) if self.convention == "off at 1" else own

    def takes_negative(self, cfg_scale: float | None) -> bool:
        """Whether a negative prompt acts at *cfg_scale*."""
        return self.convention not in ("none", "taught") and self.acting(cfg_scale) != 1

    @contextmanager
    def held(self, cfg_scale: float | None) -> Iterator[None]:
        """Put *cfg_scale* into the guiders for a while, which are the model's own."""
        before = [guider.guidance_scale for guider in self.guiders]
        try:
            if cfg_scale is not None:
                for guider in self.guiders:
                    guider.guidance_scale = cfg_scale - guider.use_original_formulation
            yield
        finally:
            for guider, scale in zip(self.guiders, before, strict=True):
                guider.guidance_scale = scale

    def _own(self, cfg_scale: float) -> float:
        return max(0.0, cfg_scale - 1) if self.convention == "off at 0" else float(cfg_scale)


def guidance_of(pipe: Any, defaults: Mapping[str, Any]) -> Guidance:
    """Return how *pipe* is guided.

    Args:
        pipe: Any pipeline of diffusers.
        defaults: Arguments of its call -> their defaults.
    """
    family = family_of(pipe)
    embeds = bool(_configured(pipe, "transformer", "guidance_embeds"))
    if family is not None:
        convention, argument, distilled = family.guidance, family.argument, family.distilled
    elif "true_cfg_scale" in defaults:
        convention, argument, distilled = "off at 1", "true_cfg_scale", "guidance_scale"
    elif embeds:
        convention, argument, distilled = "none", "", "guidance_scale"
    else:
        convention, argument, distilled = "off at 1", "guidance_scale", None
    if convention == "guider":
        return _guided_by_object(pipe, distilled if embeds else None)
    if pipe.config.get("is_distilled") and convention == "off at 1":
        convention = "none"  # its code leaves the second prediction out, whatever is asked
    if _configured(pipe, "unet", "time_cond_proj_dim") is not None:
        convention = "taught"
    if convention == "none" or argument not in defaults:
        convention, argument = "none", ""
    default = defaults.get(argument)
    return Guidance(
        convention=convention,
        argument=argument or None,
        distilled=distilled if embeds and distilled in defaults else None,
        default=None if default is None else float(default),
        is_known=family is not None,
        cleared=("guidance_schedule",) if "guidance_schedule" in defaults else (),
    )


def _guided_by_object(pipe: Any, distilled: str | None) -> Guidance:
    found = (getattr(pipe, name, None) for name in ("guider", "ocr_guider"))
    guiders = tuple(guider for guider in found if guider is not None and guider._enabled)
    own = {guider.guidance_scale + guider.use_original_formulation for guider in guiders}
    return Guidance(
        convention="guider" if guiders else "none",
        argument=None,
        distilled=distilled,
        default=float(own.pop()) if len(own) == 1 else None,
        is_known=True,
        guiders=guiders,
    )


def _configured(pipe: Any, part: str, name: str) -> Any:
    model = getattr(pipe, part, None)
    return None if model is None else getattr(model.config, name, None)
