"""CancelToken and RunProgress: how a caller stops a run and hears how far it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from safelight.errors import GenerationCancelled

__all__ = ["CancelToken", "ProgressCallback", "RunProgress"]


class CancelToken:
    """A switch that one thread sets and a run obeys, between stages and between steps."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the run to stop; asking twice is harmless."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait for *seconds*, or until somebody asks; return whether somebody did."""
        return self._event.wait(seconds)

    def check(self) -> None:
        """Go on, or stop.

        Raises:
            GenerationCancelled: Somebody asked.
        """
        if self._event.is_set():
            raise GenerationCancelled("the run was cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """How far a run is.

    Attributes:
        run_id: The run.
        event: ``step`` (the engine moved on), ``variant`` (a variant is finished, its files
            are safe), ``failure`` (a variant failed) or ``retry`` (an engine did not answer; the
            variant is tried again).
        variant: Place of the variant in the plan, from 1.
        variants: Size of the plan.
        label: What was chosen for the variant, or None.
        stage: The stage that is running; empty for ``variant``.
        step: Steps done in this stage, from 1; 0 for other events than ``step``.
        steps: Steps of this stage.
        preview: A PNG of the picture so far, when the engine gives one.
        message: The error of a ``failure`` or ``retry``.
        worker: Who draws it, where several do; else empty.
        recorded: Of a ``variant``: whether its line in the journal is safe as well; when the disk
            is full, only its pictures are.
    """

    run_id: str
    event: Literal["step", "variant", "failure", "retry"]
    variant: int
    variants: int
    label: str | None = None
    stage: str = ""
    step: int = 0
    steps: int = 0
    preview: bytes | None = field(default=None, repr=False)
    message: str = ""
    worker: str = ""
    recorded: bool = True


ProgressCallback = Callable[[RunProgress], None]
