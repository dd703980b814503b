"""Hires fix: the second pass, and how many steps a strength leaves of a schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from safelight.backends.upscalers import DEFAULT_UPSCALER
from safelight.pipeline.backend import Txt2ImgRequest

__all__ = ["Hires", "steps_run"]

_STRENGTH = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Hires:
    """The second pass of hires fix.

    Attributes:
        scale: Factor of both sides.
        upscaler: What enlarges.
        strength: How much is redrawn.
        schedule_steps: Steps of a schedule of which *strength* leaves as many as were asked.
        rounds_up: As in :func:`steps_run`.
    """

    scale: float
    upscaler: str
    strength: float
    schedule_steps: int
    rounds_up: bool

    @classmethod
    def of(cls, request: Txt2ImgRequest, steps: int, *, rounds_up: bool) -> Hires | None:
        """Return the second pass that *request* asks for; None where it asks for none."""
        if request.hires_scale is None:
            return None
        strength = request.hires_denoising_strength
        strength = _STRENGTH if strength is None else strength
        wanted = request.hires_steps or steps
        counts = range(wanted, 1001)  # 1000 is all that a model was trained on
        enough = (count for count in counts if steps_run(count, strength, rounds_up) >= wanted)
        return cls(
            scale=request.hires_scale,
            upscaler=request.hires_upscaler or DEFAULT_UPSCALER,
            strength=strength,
            schedule_steps=next(enough, max(1000, wanted)),
            rounds_up=rounds_up,
        )

    @property
    def steps_done(self) -> int:
        """How many steps it takes."""
        return steps_run(self.schedule_steps, self.strength, self.rounds_up)

    def effective(self) -> dict[str, Any]:
        """Return its knobs as they were used."""
        used = {"hires_scale": self.scale, "hires_upscaler": self.upscaler}
        done = {"hires_steps": self.steps_done} if self.steps_done else {}
        return {**used, **done, "hires_denoising_strength": self.strength}


def steps_run(steps: int, strength: float, rounds_up: bool) -> int:
    """Return how many of *steps* diffusers runs.

    Args:
        steps: Of the whole schedule.
        strength: How much is redrawn.
        rounds_up: Whether its pipeline rounds up; those of UNets round down.
    """
    return steps - int(steps - steps * strength) if rounds_up else int(steps * strength)
