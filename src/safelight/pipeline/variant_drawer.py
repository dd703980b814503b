"""VariantDrawer: carry one variant through its stages, alone or several at a time."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypedDict

from safelight.errors import (
    BackendError,
    GenerationCancelled,
    SafelightError,
    StorageError,
    sentence_of,
)
from safelight.knobs import Stage
from safelight.learning.snapshot import plain_values
from safelight.pipeline.backend import Backend, GeneratedImage, ImageRequest, StepCallback
from safelight.pipeline.picture_saver import DrawnVariant, Picture
from safelight.pipeline.progress import CancelToken
from safelight.pipeline.stages import stage_request, stages_of

__all__ = ["Finished", "Lanes", "Moved", "Step", "VariantDrawer"]

_log = logging.getLogger(__name__)


class Step(TypedDict):
    """What an engine says of its progress; see :class:`~.backend.StepCallback`."""

    step: int
    steps: int
    preview: bytes | None


class VariantDrawer:
    """Carries variants through their stages on one engine.

    Args:
        backend: The engine.
        folder: Where the files that a config names are.
        run_id: Goes into the name of every job.
        cancel: Obeyed between stages.
    """

    def __init__(self, backend: Backend, folder: Path, run_id: str, cancel: CancelToken) -> None:
        self._backend = backend
        self._folder = folder
        self._run_id = run_id
        self._cancel = cancel
        self._files: dict[str, tuple[str, bytes]] = {}

    def draw(self, drawn: DrawnVariant, on_step: Callable[[Stage, Step], None]) -> None:
        """Fill *drawn*; trouble ends the variant, not the run.

        Raises:
            GenerationCancelled: Somebody asked to stop; what is drawn so far stays.
        """
        for stage in stages_of(drawn.variant.config):
            try:
                self._cancel.check()
                self._draw_stage(stage, drawn, on_step)
            except SafelightError as error:
                if isinstance(error, GenerationCancelled):
                    drawn.finished = False
                    raise
                drawn.fail(stage, sentence_of(error))
                return
            except Exception as error:  # noqa: BLE001 - an engine may raise anything
                message = sentence_of(error)
                _log.warning(
                    "variant %d failed in %s: %s", drawn.variant.index, stage, message,
                    exc_info=_log.isEnabledFor(logging.DEBUG),
                )  # fmt: skip
                drawn.fail(stage, message)
                return
            except BaseException:
                drawn.finished = False
                raise

    def _draw_stage(
        self, stage: Stage, drawn: DrawnVariant, on_step: Callable[[Stage, Step], None]
    ) -> None:
        knobs = drawn.variant.config[stage]
        mask = self._file("mask", knobs)
        for place, (parent, init_image) in enumerate(self._inputs(stage, knobs, drawn)):
            job_id = f"{self._run_id}-{drawn.variant.index}-{stage}-{place}"
            request = stage_request(stage, knobs, init_image, mask=mask, job_id=job_id)
            began = time.perf_counter()
            try:
                generation = self._backend.generate(request, _for_stage(stage, on_step))
            finally:
                spent = time.perf_counter() - began
                drawn.seconds[stage] = drawn.seconds.get(stage, 0.0) + spent
            drawn.warnings.extend(generation.warnings)
            if not generation.images:
                raise BackendError(f"{self._backend.name} answered without a picture")
            for number, image in enumerate(generation.images):
                drawn.pictures.append(self._picture(request, image, number, spent, parent, drawn))

    def _picture(
        self,
        request: ImageRequest,
        image: GeneratedImage,
        number: int,
        spent: float,
        parent: int | None,
        drawn: DrawnVariant,
    ) -> Picture:
        png: Any = image.png  # engines of other people are not type-checked
        if not isinstance(png, bytes):
            kind = type(png).__name__
            raise BackendError(f"{self._backend.name} answered with {kind} instead of a PNG file")
        effective = plain_values(dict(image.effective))
        knobs = dict(drawn.variant.config[request.stage])
        if parent is not None:
            knobs.pop("init_image", None)  # stated, but an earlier stage made the input
        before = {} if parent is None else drawn.pictures[parent].config
        return Picture(
            request=request,
            png=png,
            effective=effective,
            config={**before, request.stage: {**knobs, **effective}},
            seconds=spent,
            number=number,
            parent=parent,
        )

    def _inputs(
        self, stage: Stage, knobs: Mapping[str, Any], drawn: DrawnVariant
    ) -> list[tuple[int | None, bytes | None]]:
        """Return the pictures that *stage* starts from, each with its place among the drawn."""
        if stage == "txt2img":
            return [(None, None)]
        if drawn.pictures:
            last = drawn.pictures[-1].request.stage
            pictures = enumerate(drawn.pictures)
            return [(place, p.png) for place, p in pictures if p.request.stage == last]
        return [(None, self._file("init_image", knobs))]

    def _file(self, knob: str, knobs: Mapping[str, Any]) -> bytes | None:
        """Return what is in the file that *knob* names, None where it names none."""
        name = knobs.get(knob)
        if name is None:
            return None
        last_name, data = self._files.get(knob, ("", b""))
        if name != last_name:
            try:
                data = (self._folder / name).read_bytes()
            except OSError as error:
                raise StorageError(f"{knob} {name!r} cannot be read: {error}") from error
            self._files[knob] = (name, data)
        return data


def _for_stage(stage: Stage, on_step: Callable[[Stage, Step], None]) -> StepCallback:
    def told(step: int, steps: int, preview: bytes | None = None) -> None:
        on_step(stage, Step(step=step, steps=steps, preview=preview))

    return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A variant has come a step further."""

    drawn: DrawnVariant
    stage: Stage
    progress: Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A variant is over, well or badly.

    Attributes:
        drawn: The variant.
        stopped: What ended it from outside: a cancellation, or what no run survives.
    """

    drawn: DrawnVariant
    stopped: BaseException | None = None


class Lanes:
    """Threads that draw one variant each; all they tell arrives in one place, in order.

    Args:
        lanes: How many.
        drawer: What they draw with.
        cancel: Obeyed at every step.
    """

    def __init__(self, lanes: int, drawer: VariantDrawer, cancel: CancelToken) -> None:
        self._pool = ThreadPoolExecutor(lanes, thread_name_prefix="safelight-lane")
        self._drawer = drawer
        self._cancel = cancel
        self._news: queue.SimpleQueue[Moved | Finished] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self.busy = 0

    def __enter__(self) -> Lanes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        self._pool.shutdown()

    def start(self, drawn: DrawnVariant) -> None:
        """Draw *drawn* as soon as a thread is free."""
        self.busy += 1
        self._pool.submit(self._draw, drawn)

    def next_news(self) -> Moved | Finished:
        """Wait for the next that any lane has to tell."""
        news = self._news.get()
        if isinstance(news, Finished):
            self.busy -= 1
        return news

    def stop(self) -> None:
        """Make every lane stop at its next step."""
        self._stopped.set()

    def _draw(self, drawn: DrawnVariant) -> None:
        def on_step(stage: Stage, progress: Step) -> None:
            self._news.put(Moved(drawn=drawn, stage=stage, progress=progress))
            self._cancel.check()
            if self._stopped.is_set():
                raise GenerationCancelled("the run was stopped")

        try:
            self._drawer.draw(drawn, on_step)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever hears of it
            self._news.put(Finished(drawn=drawn, stopped=error))
        else:
            self._news.put(Finished(drawn=drawn))
