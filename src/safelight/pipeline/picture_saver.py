"""PictureSaver: turn what the engine made of one variant into safe files and a journal entry."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from safelight.durable_file import OpenFolder, write_new_file
from safelight.errors import ImageError
from safelight.formats.infotext import parameters_text
from safelight.knobs import Stage
from safelight.learning.learning_record import (
    SCHEMA,
    ImageOutput,
    VariantFailure,
)
from safelight.learning.snapshot import plain_snapshot
from safelight.picture_names import PictureNames
from safelight.pipeline.backend import ImageRequest
from safelight.pipeline.images import (
    PixelIdentity,
    embed_metadata,
    identify_pixels,
)
from safelight.pipeline.journal import VariantEntry
from safelight.pipeline.odd_pictures import OddPictures
from safelight.pipeline.stages import mismatches
from safelight.randomizer import Variant

__all__ = ["DrawnVariant", "Picture", "PictureSaver", "RunImage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunImage:
    """One picture of a run.

    Attributes:
        variant: Place of its variant in the plan, from 0.
        label: What was chosen for the variant, or None.
        output: Stage, identity, size, seed, seconds and mismatches.
        path: Its file; None when the runner has no archive folder.
        png: Its bytes, only when the runner has no archive folder.
    """

    variant: int
    label: str | None
    output: ImageOutput
    path: Path | None = None
    png: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One answer of the engine on its way to the disk.

    Attributes:
        request: What was asked.
        png: The engine's file.
        effective: What the engine says it used, plain values.
        config: Stage -> effective knobs of the stages that led to it, its own last.
        seconds: How long the whole request took.
        number: Its place in the engine's answer, from 0.
        parent: Place, among the variant's pictures, of the one that this was made from.
        unused: Knobs of the request that had no effect, as the engine says.
    """

    request: ImageRequest
    png: bytes
    effective: Mapping[str, Any]
    config: Mapping[Stage, Mapping[str, Any]]
    seconds: float
    number: int = 0
    parent: int | None = None
    unused: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class DrawnVariant:
    """What the engine made of one variant; filled while the variant runs.

    Attributes:
        variant: The variant as planned.
        position: Its place in the run, from 0.
        identity: What makes it the same as another variant.
        begun: Whether the engine that did not answer may have begun.
        outcome_unknown: Whether it may even have finished, and nobody can tell.
        unavailable: Stage and message, when the engine did not answer and the variant is
            nowhere near its end.
        tries: How often it was begun.
        worker: Who draws it.
        lost_seconds: Time spent on tries that came to nothing.
        answers: Name of a request -> how many answers to it there are.
        answered: The names of the requests that are carried out whole.
        drawn_on: Who drew pictures of it.
    """

    variant: Variant
    position: int
    pictures: list[Picture] = field(default_factory=list)
    failure: VariantFailure | None = None
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    finished: bool = True
    identity: str = ""
    unavailable: tuple[str, str] | None = None
    begun: bool = True
    outcome_unknown: bool = False
    tries: int = 0
    worker: str = ""
    lost_seconds: float = 0.0
    answers: dict[str, int] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    drawn_on: set[str] = field(default_factory=set)

    def fail(self, stage: str, message: str) -> None:
        """Note that *stage* failed."""
        self.failure = VariantFailure(variant=self.position, stage=stage, error=message)


class PictureSaver:
    """Writes pictures into one run's folder, or keeps them when there is none.

    Args:
        run_id: Goes into every picture.
        timestamp: When the run began; goes into every picture.
        folder: The run's folder, or None.
        relative: The same folder relative to the archive.
        strict: Whether a picture that was made otherwise than asked for fails its variant;
            it is kept all the same.
        names: Of the files; the usual ones when not given.
        engine: ``name`` and ``version`` of what draws, as far as known; goes into every picture.
    """

    def __init__(
        self,
        run_id: str,
        timestamp: str,
        folder: Path | None,
        relative: str,
        *,
        strict: bool = False,
        names: PictureNames | None = None,
        engine: Mapping[str, str] | None = None,
    ) -> None:
        self._strict = strict
        self._names = names or PictureNames()
        self._engine = dict(engine or {})
        self._run_id = run_id
        self._timestamp = timestamp
        self._folder = folder
        self._open = None if folder is None else OpenFolder(folder)
        self._relative = relative
        self._odd = OddPictures()

    def oddities(self) -> list[str]:
        """Return what is odd about the pictures that were saved, whole sentences."""
        return self._odd.sentences()

    def close(self) -> None:
        """Let go of the folder."""
        if self._open is not None:
            self._open.close()

    def save(self, drawn: DrawnVariant) -> tuple[VariantEntry, tuple[RunImage, ...]]:
        """Write the pictures of *drawn*, and return its journal entry and the pictures.

        A picture that cannot be decoded or written fails the variant, not the run.
        """
        images: list[RunImage] = []
        config = {stage: dict(knobs) for stage, knobs in drawn.variant.config.items()}
        stage: Stage | None = None
        try:
            for picture in drawn.pictures:
                stage = picture.request.stage
                identity = identify_pixels(picture.png)
                effective = _with_size(picture, identity)
                self._odd.saw(drawn.position, picture.request, effective, identity)
                if picture.number == 0 and (picture.parent or 0) == 0:
                    config[stage] = {**picture.config[stage], **effective}
                images.append(self._save_picture(picture, identity, effective, drawn, images))
            if self._open is not None and images:
                self._open.flush()
        except ImageError as error:
            assert stage is not None
            drawn.fail(stage, f"the engine answered with a damaged picture: {error}")
        except OSError as error:
            assert stage is not None
            drawn.fail(stage, f"the picture could not be written: {error}")
        if self._strict and drawn.failure is None:
            _fail_on_mismatch(drawn, images)
        return _entry(drawn, config, images), tuple(images)

    def _save_picture(
        self,
        picture: Picture,
        identity: PixelIdentity,
        effective: Mapping[str, Any],
        drawn: DrawnVariant,
        before: Sequence[RunImage],
    ) -> RunImage:
        request, stage = picture.request, picture.request.stage
        parent = _parent(picture, before)
        config = dict(picture.config)
        about = {
            "schema": SCHEMA,
            "run_id": self._run_id,
            "timestamp": self._timestamp,
            "variant": drawn.position,
            "stage": stage,
            "parent": parent,
            "config": config,
            "engine": self._engine,
            "identity": drawn.identity,
            "width": identity.width,
            "height": identity.height,
            "pixel_sha256": identity.pixel_sha256,
        }
        text = parameters_text(config, identity.width, identity.height)
        png = embed_metadata(picture.png, text, plain_snapshot(about))
        asked = None if "seed" in picture.unused else getattr(request, "seed", None)
        seed = effective.get("seed", asked)
        path = None
        if self._folder is not None:
            stem = self._names.name(drawn.variant.index, stage, seed, config)
            path = write_new_file(self._folder, stem, ".png", png, flush=False)
        output = ImageOutput(
            variant=drawn.position,
            stage=stage,
            path=f"{self._relative}/{path.name}" if path else None,
            sha256=hashlib.sha256(png).hexdigest(),
            pixel_sha256=identity.pixel_sha256,
            width=identity.width,
            height=identity.height,
            seed=seed if isinstance(seed, int) else None,
            seconds=round(picture.seconds, 6),
            mismatches=mismatches(request, effective, batch_place=picture.number),
            parent=parent,
        )
        return RunImage(
            variant=drawn.variant.index,
            label=drawn.variant.label,
            output=output,
            path=path,
            png=png if path is None else None,
        )


def _fail_on_mismatch(drawn: DrawnVariant, images: Sequence[RunImage]) -> None:
    for image in images:
        differing = [
            f"asked for {m.knob} = {m.requested!r}, the engine used {m.effective!r}"
            for m in image.output.mismatches
        ]
        if differing:
            drawn.fail(image.output.stage, "; ".join(differing))
            return


def _with_size(picture: Picture, identity: PixelIdentity) -> Mapping[str, Any]:
    """Return what was really used: of the size the file is the better witness."""
    if picture.request.stage == "upscale":
        return picture.effective
    grown = picture.effective.get("hires_scale") or 1
    sides = {"width": identity.width, "height": identity.height}
    return {**picture.effective, **{side: round(px / grown) for side, px in sides.items()}}


def _parent(picture: Picture, before: Sequence[RunImage]) -> str | None:
    """Return the identity of the picture that *picture* was made from, as its file has it."""
    if picture.parent is not None:
        return before[picture.parent].output.sha256
    given: bytes | None = getattr(picture.request, "init_image", None)
    return None if given is None else hashlib.sha256(given).hexdigest()


def _entry(
    drawn: DrawnVariant, config: Mapping[Stage, Mapping[str, Any]], images: Sequence[RunImage]
) -> VariantEntry:
    """Return the journal entry of *drawn*: plain values only, whatever the engine sent."""
    entry = plain_snapshot(
        {
            "position": drawn.position,
            "config": config,
            "label": drawn.variant.label,
            "choices": drawn.variant.choices,
            "templates": drawn.variant.templates,
            "outputs": [image.output for image in images],
            "failures": [drawn.failure] if drawn.failure else [],
            "warnings": list(dict.fromkeys(map(str, drawn.warnings))),
            "seconds": {stage: round(spent, 6) for stage, spent in drawn.seconds.items()},
            "finished": drawn.finished,
            "identity": drawn.identity,
            "worker": drawn.worker,
            "lost_seconds": round(drawn.lost_seconds, 6),
        }
    )
    return msgspec.convert(entry, VariantEntry)
