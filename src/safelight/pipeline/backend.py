"""Backend: the port between the pipeline and the engines, with its requests and answers.

A request is fully decided and frozen; an answer is encoded PNG plus what the engine says it
really used. An engine is one file that satisfies :class:`Backend`; what else it can do it
says by satisfying a second, smaller protocol (:class:`ListsChoices`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Literal, Protocol, runtime_checkable

__all__ = [
    "ALWAYS_LOADED",
    "Backend",
    "BackendDescription",
    "Closes",
    "DrawingRequest",
    "DrawsInParallel",
    "EngineSetup",
    "GeneratedImage",
    "Generation",
    "GivesOneByOne",
    "ImageRequest",
    "Img2ImgRequest",
    "KnowsKnobs",
    "KnowsSides",
    "KnowsWords",
    "ListsChoices",
    "ListsLoras",
    "Named",
    "StepCallback",
    "TellsSetup",
    "TellsWhetherLoras",
    "Txt2ImgRequest",
    "UpscaleRequest",
    "requested_knobs",
    "unused_knobs",
]

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawingRequest:
    """What txt2img and img2img share. None means: the engine's own default, to be reported.

    Attributes:
        prompt: What to show, in the engine's own prompt syntax, wildcards already drawn.
        negative_prompt: What not to show.
        seed: Seed of all chance in this request, 0 to 2**64 - 1; already drawn.
        model: Checkpoint, as the engine names it.
        vae: VAE, as the engine names it.
        sampler: Sampler in AUTOMATIC1111's spelling.
        scheduler: Schedule type in AUTOMATIC1111's spelling.
        steps: Denoising steps, at least 1.
        cfg_scale: Classifier-free guidance weight; 1 means no guidance.
        eta: Noise put back at each step, 0 to 1, by samplers that can.
        width: Image width in pixels, a multiple of 8; img2img's default is the input's.
        height: Image height in pixels, a multiple of 8; img2img's default is the input's.
        clip_skip: Text-encoder layers to stop before the end; 1 uses all.
        batch_size: Pictures to draw, with the seeds seed, seed + 1, and so on; None is 1.
        extra: Knobs that only this engine knows, untouched.
        others: Knobs of the table that have no field here, by name.
        job_id: Names this request uniquely, for an engine that can look a job up again: the
            same when it is tried again. It shapes no picture and is no knob.
    """

    prompt: str = ""
    negative_prompt: str = ""
    seed: int = 0
    model: str | None = None
    vae: str | None = None
    sampler: str | None = None
    scheduler: str | None = None
    steps: int | None = None
    cfg_scale: float | None = None
    eta: float | None = None
    width: int | None = None
    height: int | None = None
    clip_skip: int | None = None
    batch_size: int | None = None
    extra: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    others: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    job_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Txt2ImgRequest(DrawingRequest):
    """Draw a picture from a text.

    Attributes:
        hires_scale: Hires fix when not None: draw at width x height, enlarge both sides by
            this, then redraw; width and height stay those of the first pass.
        hires_upscaler: What enlarges, in AUTOMATIC1111's spelling.
        hires_steps: Steps of the second pass; None is as many as *steps*.
        hires_denoising_strength: How much of the enlarged picture is redrawn, 0 to 1.
    """

    stage: Literal["txt2img"] = field(default="txt2img", init=False)
    hires_scale: float | None = None
    hires_upscaler: str | None = None
    hires_steps: int | None = None
    hires_denoising_strength: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Img2ImgRequest(DrawingRequest):
    """Redraw a picture.

    Attributes:
        init_image: The picture to start from, an encoded image file.
        denoising_strength: How much is redrawn: 0 keeps the input, 1 replaces it.
        mask: What may change, an encoded image file: white is redrawn, black is kept.
        mask_blur: How far the mask's edge is softened, in pixels.
    """

    stage: Literal["img2img"] = field(default="img2img", init=False)
    init_image: bytes = field(repr=False)
    denoising_strength: float | None = None
    mask: bytes | None = field(default=None, repr=False)
    mask_blur: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpscaleRequest:
    """Enlarge a picture.

    Attributes:
        init_image: The picture to enlarge, an encoded image file.
        upscaler: Upscaler in AUTOMATIC1111's spelling (``Lanczos``, ``R-ESRGAN 4x+``).
        scale: Factor by which both sides grow, above 0.
        extra: Knobs that only this engine knows, untouched.
        others: As in :class:`DrawingRequest`.
        job_id: As in :class:`DrawingRequest`.
    """

    stage: Literal["upscale"] = field(default="upscale", init=False)
    init_image: bytes = field(repr=False)
    upscaler: str | None = None
    scale: float | None = None
    extra: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    others: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    job_id: str = ""


ImageRequest = Txt2ImgRequest | Img2ImgRequest | UpscaleRequest


def requested_knobs(request: DrawingRequest | UpscaleRequest) -> dict[str, Any]:
    """Return the knobs that *request* states, by name; defaults left to the engine are absent."""
    left_out = ("stage", "init_image", "mask", "job_id")
    knobs = {f.name: getattr(request, f.name) for f in fields(request) if f.name not in left_out}
    extra, others = knobs.pop("extra"), knobs.pop("others")
    stated = {k: v for k, v in {**knobs, **others}.items() if v is not None}
    return {**stated, "extra": dict(extra)} if extra else stated


def unused_knobs(
    request: DrawingRequest | UpscaleRequest, used: Collection[str]
) -> tuple[str, ...]:
    """Return the knobs that *request* states although the engine did not use them.

    An engine warns of each, or refuses it: no knob is ignored in silence.

    Args:
        request: What was asked.
        used: The names of the knobs that were used, usually those of ``effective``.
    """
    knobs = requested_knobs(request)
    knobs |= {f"extra.{name}": value for name, value in knobs.pop("extra", {}).items()}
    stated = [name for name, value in knobs.items() if value != ""]
    if getattr(request, "mask", None) is not None:
        stated.append("mask")
    return tuple(name for name in stated if name not in used)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedImage:
    """One picture as the engine made it.

    Attributes:
        png: The encoded PNG file, exactly as the engine gave it.
        effective: Knob -> the value that the engine says it used. Every knob that shaped the
            picture and that the engine knows belongs here, the defaulted ones above all;
            a knob that the engine does not report is left out, never guessed.
        unused: Knobs that the request states and that certainly had no effect, such as a seed
            that the engine cannot be sent: the record leaves them out. A warning tells of each.
    """

    png: bytes = field(repr=False)
    effective: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    unused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """The answer to one request.

    Attributes:
        images: The pictures, at least one.
        warnings: What the user should know although it is no error, whole sentences.
    """

    images: tuple[GeneratedImage, ...]
    warnings: tuple[str, ...] = ()

    @classmethod
    def joined(cls, parts: Iterable[Generation]) -> Generation:
        """Return one answer that holds all of *parts*, each warning once."""
        given = tuple(parts)
        return cls(
            images=tuple(image for part in given for image in part.images),
            warnings=tuple(dict.fromkeys(w for part in given for w in part.warnings)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendDescription:
    """What changes pixels besides the knobs; goes into the record.

    Attributes:
        name: The engine, for example ``bundled``.
        version: The engine's version; empty when it does not say.
        environment: Library versions, device, precision: plain JSON values, no secrets.
    """

    name: str
    version: str = ""
    environment: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)


Named = Mapping[str, Collection[str]]
"""Kind of file (``model``, ``vae``, ``upscaler``, ``lora``) -> the names that configs give."""

ALWAYS_LOADED = "file"
"""The kind of files in a setup that count whatever a config names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSetup:
    """What changes pixels besides the knobs that a config states, as the engine tells it.

    It decides whether a picture was drawn before. Everything in it is plain JSON without secrets.

    Attributes:
        facts: What always counts: options, precision, the content of a workflow, the settings of a
            server, and ``address``, where the names that configs give mean something.
        defaults: Knob (of every stage that draws) or ``stage.knob`` -> what the engine takes
            where a config states none.
        contents: Kind of file -> name -> hash of its content, or what is known of it.
        states: Kind of file -> name -> what tells its content from another one of that name at the
            same address, and means nothing elsewhere: when the file was changed.
        untold: What may change pixels and cannot be known before drawing, in words; with any of
            it nothing is ever known to be drawn before.
    """

    facts: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    defaults: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    contents: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: _EMPTY)
    states: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: _EMPTY)
    untold: tuple[str, ...] = ()


class StepCallback(Protocol):
    """How an engine reports a step and learns that it must stop."""

    def __call__(self, step: int, steps: int, preview: bytes | None = None) -> None:
        """Report that *step* of *steps* is done (counted from 1), perhaps with a PNG preview.

        Raises:
            GenerationCancelled: Stop now: undo what must be undone, and let it pass through.
        """
        ...


class Backend(Protocol):
    """Something that turns a request into pictures.

    Every backend promises, and ``tests/backends/backend_contract.py`` checks, that all chance
    comes from ``request.seed``, that engine trouble arrives as a
    :class:`~safelight.errors.BackendError` with the engine's own error as its cause, and
    that *on_step* is called at least once per request. It need not be thread-safe: one
    runner makes one call at a time.
    """

    @property
    def name(self) -> str:
        """What learning records call it, for example ``bundled``."""
        ...

    def describe(self) -> BackendDescription:
        """Return what is known of the engine, without starting it where that is costly.

        Raises:
            BackendUnavailable: The engine did not answer; trying again may help.
        """
        ...

    def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
        """Carry out *request*.

        Raises:
            BackendUnavailable: The engine did not answer; trying again may help.
            BackendError: The engine answered and refused; the message names knob and rule.
            GenerationCancelled: *on_step* asked to stop.
        """
        ...


@runtime_checkable
class ListsChoices(Protocol):
    """A backend that can say beforehand which values some knobs may have."""

    def choices(self) -> Mapping[str, Sequence[str]]:
        """Return knob -> every value it takes, such as ``sampler`` -> ``("Euler", ...)``.

        Raises:
            BackendUnavailable: The engine did not answer.
        """
        ...


@runtime_checkable
class KnowsKnobs(Protocol):
    """A backend that knows beforehand which knobs it has no place for."""

    def knob_faults(self, stage: str, knobs: Mapping[str, Any]) -> Mapping[str, str]:
        """Return knob -> why it cannot be asked for, and what to do.

        Args:
            stage: Which stage.
            knobs: What a config states there; a seed is always asked for where pictures are drawn.

        Raises:
            BackendUnavailable: The engine did not answer.
        """
        ...


@runtime_checkable
class KnowsSides(Protocol):
    """A backend whose models take some sizes only, which it knows before it loads them."""

    def side_multiple(self, model: str | None) -> int | None:
        """Return what width and height in pixels must be multiples of.

        None where only loading the model tells.

        Args:
            model: As a config names it; None is the engine's own default.
        """
        ...


@runtime_checkable
class ListsLoras(Protocol):
    """A backend that can say which LoRAs a prompt may name."""

    def loras(self) -> Sequence[str]:
        """Return their names, as ``<lora:NAME:1>`` takes them.

        Raises:
            BackendUnavailable: The engine did not answer.
            BackendError: It does not tell.
        """
        ...


@runtime_checkable
class TellsWhetherLoras(Protocol):
    """A backend that knows beforehand whether ``<lora:NAME:1>`` in a prompt does anything."""

    @property
    def takes_loras(self) -> bool:
        """Whether it does."""
        ...


@runtime_checkable
class TellsSetup(Protocol):
    """A backend that can say before it draws what its pictures depend on besides the knobs.

    Of one that cannot, nothing is known to be drawn before but by the run that goes on.
    """

    def setup(self, named: Named) -> EngineSetup:
        """Return what the engine's pictures depend on now; asked once for every run.

        Args:
            named: The files that the run's variants name.

        Raises:
            BackendUnavailable: The engine did not answer.
        """
        ...


@runtime_checkable
class Closes(Protocol):
    """A backend that holds connections or memory until it is closed."""

    def close(self) -> None:
        """Let go of everything; nothing can be drawn afterwards."""
        ...


@runtime_checkable
class DrawsInParallel(Protocol):
    """A backend that carries out several requests at once, each from a thread of its own."""

    @property
    def lanes(self) -> int:
        """How many requests it can use at a time, at least 1."""
        ...


@runtime_checkable
class GivesOneByOne(Protocol):
    """A backend that draws the pictures of one request apart, and gives each when it is there.

    What it gave stays, whatever becomes of the others: only those are asked for again.
    """

    def generate_rest(
        self, request: ImageRequest, on_step: StepCallback, done: int
    ) -> Iterator[Generation]:
        """Yield the answers to *request*, with its pictures in their order.

        Args:
            request: What to carry out, whole.
            on_step: As in :meth:`Backend.generate`.
            done: How many of its first answers are there already, fewer than all.

        Raises:
            BackendError: As :meth:`Backend.generate` does, between any two of them.
        """
        ...


@runtime_checkable
class KnowsWords(Protocol):
    """A backend whose model understands a limited list of words."""

    def words(self) -> Sequence[str]:
        """Return the words that it understands, sorted."""
        ...
