"""engine_check: what works on an engine and what does not, found out by asking it.

Little pictures are drawn, so it takes an engine some seconds; nothing is written anywhere.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from safelight.errors import (
    BackendUnavailable,
    GenerationCancelled,
    SafelightError,
    sentence_of,
    shortened,
)
from safelight.pipeline.backend import (
    Backend,
    Generation,
    ImageRequest,
    Img2ImgRequest,
    ListsChoices,
    ListsLoras,
    Txt2ImgRequest,
    UpscaleRequest,
)
from safelight.pipeline.images import identify
from safelight.pipeline.stages import mismatches

__all__ = ["Finding", "check_engine"]

_SIDE = 64
_LONGEST_REFUSAL = 200
_SAMPLERS = ("Euler a", "DPM++ 2M", "Euler", "DDIM")
_SCHEDULERS = ("Karras", "Simple", "Normal", "Uniform")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of one question.

    Attributes:
        question: What was tried, a word or two.
        verdict: ``works``, ``differs`` (a picture came, but not quite as asked) or ``fails``.
        message: What was seen, a sentence or a list; may be empty.
        seconds: How long it took.
    """

    question: str
    verdict: Literal["works", "differs", "fails"]
    message: str = ""
    seconds: float = 0.0


def check_engine(backend: Backend, prompt: str = "a red apple") -> Iterator[Finding]:
    """Ask *backend* one thing after another and yield what came of each.

    An engine that does not answer is asked nothing more.
    """
    examination = _Examination(backend, prompt)
    for question, ask in examination.questions().items():
        began = time.perf_counter()
        try:
            verdict, message = ask()
            gone = False
        except Exception as error:  # noqa: BLE001 - an engine may raise anything
            verdict, message = "fails", sentence_of(error)
            gone = isinstance(error, BackendUnavailable)
        seconds = time.perf_counter() - began
        yield Finding(question=question, verdict=verdict, message=message, seconds=seconds)
        if gone:
            return


_Answer = tuple[Literal["works", "differs", "fails"], str]


class _Examination:
    def __init__(self, backend: Backend, prompt: str) -> None:
        self._backend = backend
        self._base: dict[str, Any] = {"prompt": prompt, "seed": 1, "steps": 4}
        self._base |= {"width": _SIDE, "height": _SIDE}
        self._first: Generation | None = None

    def questions(self) -> Mapping[str, Callable[[], _Answer]]:
        return {
            "answers": self._answers,
            "lists names": self._lists,
            "txt2img": self._draws,
            "same seed": self._repeats,
            "unknown names": self._unknown_name,
            "sampler": self._samples,
            "cfg scale": self._is_guided,
            "clip skip": self._skips,
            "LoRA": self._bends,
            "batch": self._batch,
            "hires fix": lambda: self._asked(Txt2ImgRequest(**self._base, hires_scale=2)),
            "img2img": lambda: self._asked(
                Img2ImgRequest(**self._base, init_image=self._picture(), denoising_strength=0.5)
            ),
            "mask": lambda: self._asked(
                Img2ImgRequest(
                    **self._base, init_image=self._picture(), mask=_half_white(),
                    denoising_strength=0.5,
                )
            ),
            "upscale": lambda: self._asked(
                UpscaleRequest(init_image=self._picture(), scale=2)
            ),
            "stop": self._stops,
        }  # fmt: skip

    def _answers(self) -> _Answer:
        description = self._backend.describe()
        facts = [f"{key} {value}" for key, value in description.environment.items()]
        return "works", ", ".join([f"{description.name} {description.version}".strip(), *facts])

    def _lists(self) -> _Answer:
        if not isinstance(self._backend, ListsChoices):
            return "differs", "it lists no names, so a wrong one is only seen in the picture"
        choices = self._backend.choices()
        counts = ((len(names), knob.replace("_", " ")) for knob, names in choices.items())
        return "works", ", ".join(f"{n:,} {what}{'' if n == 1 else 's'}" for n, what in counts)

    def _draws(self) -> _Answer:
        reports: list[tuple[int, int]] = []
        previews: list[bytes] = []

        def on_step(step: int, steps: int, preview: bytes | None = None) -> None:
            reports.append((step, steps))
            if preview is not None:
                previews.append(preview)

        self._first = self._backend.generate(request := Txt2ImgRequest(**self._base), on_step)
        verdict, differing = _judged(request, self._first)
        steps = len({step for step, _ in reports if step})  # the rest are signs of life
        seen = f"{steps} steps were told, {len(previews)} previews"
        return verdict, "; ".join(filter(None, [differing, seen]))

    def _repeats(self) -> _Answer:
        # Another picture in between: some servers hand out what they still have.
        self._backend.generate(Txt2ImgRequest(**{**self._base, "seed": 2}), _ignore)
        again = self._backend.generate(Txt2ImgRequest(**self._base), _ignore)
        if identify(again.images[0].png).pixel_sha256 == identify(self._picture()).pixel_sha256:
            return "works", "gives the same pixels"
        return "differs", "gives other pixels: pictures of this engine cannot be drawn again"

    def _samples(self) -> _Answer:
        """State names that the engine lists: what it says it used must be called the same."""
        if not isinstance(self._backend, ListsChoices):
            return "differs", "it lists no names to state"
        choices = self._backend.choices()
        stated: dict[str, Any] = {
            knob: name
            for knob, wanted in (("sampler", _SAMPLERS), ("scheduler", _SCHEDULERS))
            for name in [name for name in wanted if name in choices.get(knob, ())][:1]
        }
        if not stated:
            return "differs", "it has none of the usual names"
        verdict, differing = self._asked(Txt2ImgRequest(**self._base, **stated))
        return verdict, "; ".join(filter(None, [", ".join(stated.values()), differing]))

    def _is_guided(self) -> _Answer:
        generations = [
            (request, self._backend.generate(request, _ignore))
            for request in (Txt2ImgRequest(**self._base, cfg_scale=scale) for scale in (1, 7))
        ]
        judged = [differing for one in generations for differing in [_judged(*one)[1]] if differing]
        if len({_pixels(generation) for _, generation in generations}) == 1:
            judged.append("1 and 7 give the same pixels: it has no effect here")
        return ("differs" if judged else "works"), "; ".join(dict.fromkeys(judged))

    def _skips(self) -> _Answer:
        request = Txt2ImgRequest(**self._base, clip_skip=2)
        generation = self._backend.generate(request, _ignore)
        verdict, differing = _judged(request, generation)
        # Models of several encoders, or of another kind, may take it and have no use for it.
        idle = "2 changes no pixel here" if self._is_first(generation) else ""
        return verdict, "; ".join(filter(None, [differing, idle]))

    def _is_first(self, generation: Generation) -> bool:
        return _pixels(generation) == identify(self._picture()).pixel_sha256

    def _bends(self) -> _Answer:
        if not isinstance(self._backend, ListsLoras):
            return "works", "not tried: it lists none"
        loras = self._backend.loras()
        if not loras:
            return "works", "not tried: there is none"
        tag = f"<lora:{loras[0]}:1>"
        request = Txt2ImgRequest(**{**self._base, "prompt": f"{self._base['prompt']} {tag}"})
        generation = self._backend.generate(request, _ignore)
        verdict, differing = _judged(request, generation)
        told = [f"{len(loras)} there, {loras[0]}", differing]
        if self._is_first(generation):
            verdict = "differs"
            told.append("it changes no pixel: it may not fit the model that is loaded")
        return verdict, "; ".join(filter(None, told))

    def _unknown_name(self) -> _Answer:
        request = Txt2ImgRequest(**self._base, sampler="no such sampler")
        try:
            generation = self._backend.generate(request, _ignore)
        except BackendUnavailable:
            raise
        except SafelightError as error:
            return "works", f"refused: {shortened(sentence_of(error), _LONGEST_REFUSAL)}"
        _, differing = _judged(request, generation)
        if differing:
            return "differs", f"replaced, and seen: {differing}"
        return "fails", "a sampler that does not exist draws a picture, and nothing tells"

    def _batch(self) -> _Answer:
        request = Txt2ImgRequest(**self._base, batch_size=2)
        generation = self._backend.generate(request, _ignore)
        seeds = [image.effective.get("seed") for image in generation.images]
        if seeds == [1, 2]:
            return _judged(request, generation)
        return "differs", f"{len(seeds)} pictures with the seeds {seeds} instead of [1, 2]"

    def _stops(self) -> _Answer:
        def at_once(*_step: object, **_more: object) -> None:
            raise GenerationCancelled("stopped by the check")

        try:
            self._backend.generate(Txt2ImgRequest(**{**self._base, "steps": 20}), at_once)
        except GenerationCancelled:
            self._backend.generate(Txt2ImgRequest(**self._base), _ignore)
            return "works", "and the next picture is drawn"
        return "fails", "the picture was finished all the same"

    def _asked(self, request: ImageRequest) -> _Answer:
        return _judged(request, self._backend.generate(request, _ignore))

    def _picture(self) -> bytes:
        if self._first is None:
            raise SafelightError("not tried: txt2img made no picture to start from")
        return self._first.images[0].png


def _judged(request: ImageRequest, generation: Generation) -> _Answer:
    """Return whether the picture is as asked for, and what differs."""
    image = generation.images[0]
    identity = identify(image.png)
    differing = [
        f"asked for {m.knob} = {m.requested!r}, it used {m.effective!r}"
        for m in mismatches(request, image.effective)
    ]
    grown = getattr(request, "hires_scale", None) or getattr(request, "scale", None) or 1
    wanted = round(_SIDE * grown)
    if (identity.width, identity.height) != (wanted, wanted):
        differing.append(f"asked for {wanted}x{wanted}, got {identity.width}x{identity.height}")
    differing += generation.warnings
    return ("differs" if differing else "works"), "; ".join(differing)


def _pixels(generation: Generation) -> str:
    return identify(generation.images[0].png).pixel_sha256


def _ignore(*_step: object, **_more: object) -> None:
    """Hear of a step and go on."""


def _half_white() -> bytes:
    from PIL import Image

    mask = Image.new("RGB", (_SIDE, _SIDE))
    mask.paste((255, 255, 255), (0, 0, _SIDE // 2, _SIDE))
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    return buffer.getvalue()
