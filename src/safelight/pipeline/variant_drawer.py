"""VariantDrawer: carry one variant through its stages on one engine."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypedDict

from safelight.errors import (
    BackendError,
    BackendOutcomeUnknown,
    BackendUnavailable,
    BackendUnreachable,
    GenerationCancelled,
    SafelightError,
    sentence_of,
)
from safelight.knobs import Stage
from safelight.learning.snapshot import plain_values
from safelight.pipeline.backend import (
    Backend,
    GeneratedImage,
    Generation,
    GivesOneByOne,
    ImageRequest,
    StepCallback,
)
from safelight.pipeline.input_files import InputFiles
from safelight.pipeline.picture_saver import DrawnVariant, Picture
from safelight.pipeline.progress import CancelToken
from safelight.pipeline.stages import stage_request, stages_of

__all__ = ["Step", "VariantDrawer"]

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
        files: The pictures that a config names.
        run_id: Goes into the name of every job.
        cancel: Obeyed between stages.
    """

    def __init__(
        self, backend: Backend, files: InputFiles, run_id: str, cancel: CancelToken
    ) -> None:
        self._backend = backend
        self._files = files
        self._run_id = run_id
        self._cancel = cancel

    def draw(self, drawn: DrawnVariant, on_step: Callable[[Stage, Step], None]) -> None:
        """Fill *drawn*; trouble ends the variant, not the run.

        A variant whose engine did not answer says so in ``unavailable`` and keeps the pictures
        that are there: drawing it again, here or on another engine, goes on after them.

        Raises:
            GenerationCancelled: Somebody asked to stop; what is drawn so far stays.
        """
        drawn.unavailable = None
        drawn.tries += 1
        for stage in stages_of(drawn.variant.config):
            try:
                self._cancel.check()
                self._draw_stage(stage, drawn, on_step)
            except BackendUnavailable as error:
                drawn.unavailable = (stage, sentence_of(error))
                drawn.begun = not isinstance(error, BackendUnreachable)
                drawn.outcome_unknown = isinstance(error, BackendOutcomeUnknown)
                return
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
        mask = self._files.read("mask", knobs)
        for place, (parent, init_image) in enumerate(self._inputs(stage, knobs, drawn)):
            job_id = f"{self._run_id}-{drawn.variant.index}-{stage}-{place}"
            if job_id in drawn.answered:
                continue
            request = stage_request(stage, knobs, init_image, mask=mask, job_id=job_id)
            self._carry_out(request, parent, drawn, _for_stage(stage, on_step))
            drawn.answered.add(job_id)

    def _carry_out(
        self, request: ImageRequest, parent: int | None, drawn: DrawnVariant, on_step: StepCallback
    ) -> None:
        """Add the pictures of *request* to *drawn*, as far as they are not there already."""
        job_id = request.job_id
        number = sum(picture.request.job_id == job_id for picture in drawn.pictures)
        began = time.perf_counter()
        try:
            for generation in self._answers(request, on_step, drawn.answers.get(job_id, 0)):
                drawn.answers[job_id] = drawn.answers.get(job_id, 0) + 1
                spent, began = time.perf_counter() - began, time.perf_counter()
                _spend(drawn, request, spent)
                drawn.warnings.extend(generation.warnings)
                if unknown := _unknown(request, generation):
                    names = ", ".join(unknown)
                    drawn.warnings.append(f"{self._backend.name} does not know {names}")
                drawn.drawn_on.add(drawn.worker)
                for image in generation.images:
                    drawn.pictures.append(
                        self._picture(request, image, number, spent, parent, drawn)
                    )
                    number += 1
        except BackendUnavailable:
            drawn.lost_seconds += time.perf_counter() - began
            raise
        except BaseException:
            _spend(drawn, request, time.perf_counter() - began)
            raise
        if not number:
            raise BackendError(f"{self._backend.name} answered without a picture")

    def _answers(
        self, request: ImageRequest, on_step: StepCallback, done: int
    ) -> Iterator[Generation]:
        if isinstance(self._backend, GivesOneByOne):
            yield from self._backend.generate_rest(request, on_step, done)
        else:
            yield self._backend.generate(request, on_step)

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
        # What the engine did not say that it used, or says it was not sent, had no effect.
        for name in (*request.others, *image.unused):
            knobs.pop(name, None)
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
            unused=tuple(image.unused),
        )

    def _inputs(
        self, stage: Stage, knobs: Mapping[str, Any], drawn: DrawnVariant
    ) -> list[tuple[int | None, bytes | None]]:
        """Return the pictures that *stage* starts from, each with its place among the drawn."""
        if stage == "txt2img":
            return [(None, None)]
        stages = stages_of(drawn.variant.config)
        if before := stages[: stages.index(stage)][-1:]:
            pictures = enumerate(drawn.pictures)
            return [(place, p.png) for place, p in pictures if p.request.stage == before[0]]
        return [(None, self._files.read("init_image", knobs))]


def _for_stage(stage: Stage, on_step: Callable[[Stage, Step], None]) -> StepCallback:
    def on_stage_step(step: int, steps: int, preview: bytes | None = None) -> None:
        on_step(stage, Step(step=step, steps=steps, preview=preview))

    return on_stage_step


def _spend(drawn: DrawnVariant, request: ImageRequest, seconds: float) -> None:
    drawn.seconds[request.stage] = drawn.seconds.get(request.stage, 0.0) + seconds


def _unknown(request: ImageRequest, generation: Generation) -> list[str]:
    """Return the knobs of the table that the engine does not say it used."""
    used = {name for image in generation.images for name in image.effective}
    return [name for name in request.others if name not in used]
