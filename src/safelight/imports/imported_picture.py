"""One picture file -> the record that it becomes, and the ratings that lie in it.

Runs in the worker processes: what comes out is plain bytes and text.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from safelight.durable_file import open_regular_file
from safelight.errors import SafelightError
from safelight.formats.bounded_json import json_object
from safelight.formats.containers import file_texts, sidecar_texts
from safelight.formats.file_texts import FileTexts, decoded
from safelight.formats.hidden_text import hidden_text
from safelight.formats.image_data import PictureHashes, hash_picture
from safelight.imports.picture_reader import read_texts, read_told
from safelight.imports.reading import Outcome, Reading
from safelight.imports.told_pictures import ToldPicture
from safelight.knobs import STAGES, primary_knobs
from safelight.learning.learning_record import ImageOutput, LearningRecord, utc_timestamp
from safelight.learning.ratings import Identity, RatingEvent
from safelight.learning.ratings.existing_ratings import (
    ratings_from_exif,
    ratings_from_sdnext,
    ratings_from_swarmui,
    ratings_from_xmp,
)
from safelight.version import __version__

__all__ = ["LEFT_OUT", "READER", "ImportedPicture", "import_picture", "read_loose_picture",
           "record_of", "run_id_of", "shown_path"]  # fmt: skip

READER = 5
"""Raised when a picture would be read better than before.

5: tags of LoRAs in prompts that only ComfyUI's own nodes, or a pipeline of diffusers, read are
words.
4: what steers a picture beside its prompt is told: control nets, adapters, references; and of
ComfyUI pictures that several samplers drew, texts that are mixed or limited, steps that are left
out, and what patches a model or alters a drawn picture.

3: graphs of ComfyUI are followed by what their slots mean, and say what they do not tell.
"""

_MAX_RAW = 2 * 2**20
"""Characters of raw metadata that a record keeps; more stays in the picture only."""

_SHORT = 1000
"""Characters of a text that is kept where all together are too many."""

LEFT_OUT = "left in the picture"
"""Stands among the raw texts of a record in place of those that were too long."""

_MAX_SIDECAR = 4 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedPicture:
    """What became of one file.

    Attributes:
        path: As it was found.
        size: In bytes.
        modified: When its bytes were written last, as its file says, nanoseconds.
        changed: When anything of the file was changed last, as the disk says, nanoseconds.
        sha256: Of its bytes, hex; empty when it could not be read.
        image_sha256: Of its image data, hex; empty when the file ends before its picture.
        document: The record, in canonical JSON; empty when there is a fault.
        generator: The tool that made it; empty when nothing says so.
        outcome: How much was read.
        missing: Knobs that are unresolved or conflicting: ``seed unresolved``.
        events: Ratings found in it, as lines.
        told_by: The execution whose line told of it.
        fault: Why nothing could be read; empty otherwise.
    """

    path: str
    size: int = 0
    modified: int = 0
    changed: int = 0
    sha256: str = ""
    image_sha256: str = ""
    document: bytes = b""
    generator: str = ""
    outcome: Outcome = "none"
    missing: tuple[str, ...] = ()
    events: tuple[bytes, ...] = ()
    told_by: str = ""
    fault: str = ""


def run_id_of(sha256: str) -> str:
    """Return the run that a picture becomes: the same wherever and whenever it is imported."""
    return f"import-{sha256[:40]}"


def shown_path(path: str, archive: str = "") -> str:
    r"""Return a path as records hold it: relative inside the archive, whole outside.

    Bytes that are no UTF-8 are written as ``\xff``; :func:`.archive_layout.picture_file` finds it.
    """
    if archive and path.startswith(archive + os.sep):
        path = path[len(archive) + 1 :]
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return text.replace(os.sep, "/")


def import_picture(
    path: str, archive: str = "", rater: str = "", told: ToldPicture | None = None
) -> ImportedPicture:
    """Read one file; whatever is wrong with it is told in the answer, nothing is raised.

    Args:
        path: An absolute path.
        archive: The archive's absolute path.
        rater: Whose the ratings in the file are.
        told: What a line says of it. Where the file is another one by now, that counts only if
            what it says itself is the same.
    """
    try:
        with open_regular_file(path) as file:
            status = os.fstat(file.fileno())
            place = _Place(
                path=path, shown=shown_path(path, archive), size=status.st_size,
                made=status.st_mtime, written=status.st_mtime_ns, changed=status.st_ctime_ns,
                lies=Path(path), told=told, is_told=told is not None and told.is_of(status),
            )  # fmt: skip
            return _imported(file, place, rater)
    except OSError as error:
        return ImportedPicture(path=path, fault=error.strerror or str(error))


def read_loose_picture(file: BinaryIO, name: str, written: float) -> ImportedPicture:
    """Read a picture that lies nowhere on this machine; nothing beside it is looked at.

    Args:
        file: Its bytes, which can be sought in.
        name: What it is called.
        written: When, seconds of the epoch.
    """
    size = file.seek(0, os.SEEK_END)
    place = _Place(path=name, shown=shown_path(name), size=size, made=written, written=0, changed=0)
    return _imported(file, place, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where the bytes of a picture came from.

    Attributes:
        path: As it was found.
        shown: As records hold it.
        size: In bytes.
        made: When its bytes were written last, seconds of the epoch.
        written: The same, nanoseconds.
        changed: When anything of the file was changed last, nanoseconds.
        lies: Its file, beside which there may be others; None where there is none.
        told: What a line says of what was there.
        is_told: Whether that was this file, by size and time.
    """

    path: str
    shown: str
    size: int
    made: float
    written: int
    changed: int
    lies: Path | None = None
    told: ToldPicture | None = None
    is_told: bool = False


def _imported(file: BinaryIO, place: _Place, rater: str) -> ImportedPicture:
    path = place.path
    try:
        hashes = hash_picture(file)
        metadata = file_texts(file)
        reading = read_texts(
            metadata, hashes.sha256, path=place.lies, name=os.path.basename(path),
            sidecars=() if place.lies is None else sidecar_texts(place.lies),
            told=place.told.texts if place.told is not None and place.is_told else (),
            hidden=lambda: hidden_text(file),
        )  # fmt: skip
        told = place.told
        if told is not None and not (place.is_told or _says_what_is_told(reading, told)):
            told = None
        made = utc_timestamp(datetime.fromtimestamp(max(0, place.made), UTC))
        record = record_of(
            reading, made, place.shown,
            {**_about_file(path, place.size, hashes), "file_warnings": list(metadata.warnings)},
        )  # fmt: skip
        if told is not None:
            record = told.added_to(record)
        document = record.to_document()
        image = Identity(sha256=hashes.sha256, image_sha256=_image_of(hashes) or None)
        beside = () if place.lies is None else _sidecar_packets(path)
        events = _ratings(reading, metadata, beside, image, made, rater)
    except (OSError, SafelightError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        return ImportedPicture(path=path, fault=reason)
    except Exception as error:  # noqa: BLE001 - one bad file must not end the import of the rest
        return ImportedPicture(path=path, fault=f"{type(error).__name__}: {error}"[:500])
    return ImportedPicture(
        path=path, size=place.size, modified=place.written,
        changed=place.changed, sha256=hashes.sha256,
        image_sha256=_image_of(hashes), document=document, generator=reading.generator,
        outcome=reading.outcome,
        missing=tuple(
            f"{knob.rpartition('.')[2]} {state}"
            for knob, state in reading.fields.items() if state in ("unresolved", "conflicting")
        ),
        events=tuple(event.to_json() for event in events),
        told_by="" if told is None else told.run,
    )  # fmt: skip


def _says_what_is_told(reading: Reading, told: ToldPicture) -> bool:
    """Return whether a file that has changed since says itself what its line says."""
    return bool(reading.config) and reading.config == read_told(told.texts).config


def record_of(
    reading: Reading, made: str, place: str, about: Mapping[str, Any], run_id: str = ""
) -> LearningRecord:
    """Return the record of a reading.

    Args:
        reading: What the picture says.
        made: When it was made, as far as its file knows.
        place: Where it lies, as records hold it.
        about: What ``metadata.import`` holds of its file.
        run_id: Of its run; made of its bytes where empty.
    """
    config: dict[str, dict[str, Any]] = {stage: dict(k) for stage, k in reading.config.items()}
    last = next(reversed(config), STAGES[0])
    stage = next((stage for stage in reversed(config) if stage != "upscale"), last)
    engine = reading.own.get("engine", {})
    loras = [{"name": lora.name, "weight": lora.weight} for lora in reading.loras]
    if loras and config:
        config[stage]["loras"] = loras
    primary = primary_knobs([config])
    seed = next((k["seed"] for k in reversed(config.values()) if "seed" in k), None)
    return LearningRecord(
        run_id=run_id or run_id_of(reading.sha256),
        timestamp=made,
        base_config=config,
        variant_configs=[config],
        randomizer_mode="off",
        randomizer_plan_size=1,
        primary_model=primary.model,
        primary_sampler=primary.sampler,
        primary_scheduler=primary.scheduler,
        primary_steps=primary.steps,
        primary_cfg_scale=primary.cfg_scale,
        status="imported",
        outputs=(
            ImageOutput(
                variant=0, stage=last, sha256=reading.sha256, pixel_sha256="",
                path=place, width=reading.width, height=reading.height,
                seed=seed if isinstance(seed, int) else None, parent=reading.own.get("parent"),
            ),
        ),
        warnings=reading.warnings,
        backend={
            "name": engine.get("name") or reading.generator,
            "version": engine.get("version") or reading.extra.get("Version", ""),
        },
        metadata={"import": _import_metadata(reading, about)},
    )  # fmt: skip


def _image_of(hashes: PictureHashes) -> str:
    return "" if hashes.is_cut else hashes.image_sha256


def _about_file(path: str, size: int, hashes: PictureHashes) -> dict[str, Any]:
    file: dict[str, Any] = {"name": shown_path(os.path.basename(path)), "bytes": size}
    if not _is_text(path):
        file["name_bytes"] = os.fsencode(os.path.basename(path)).hex()
    if hashes.is_cut:
        file["cut"] = True
    about: dict[str, Any] = {"file": file, "image_sha256": _image_of(hashes)}
    if not hashes.is_split:
        about["image_is"] = "the whole file"
    return about


def _import_metadata(reading: Reading, about: Mapping[str, Any]) -> dict[str, Any]:
    raw = _bounded(reading.raw)
    own: dict[str, Any] = {
        **about,
        "reader": READER,
        "safelight": __version__,
        "outcome": reading.outcome,
        "fields": dict(reading.fields),
        "conflicts": {knob: list(values) for knob, values in reading.conflicts.items()},
        "native": dict(reading.native),
        "extra": dict(reading.extra),
        "passes": [dict(knobs) for knobs in reading.passes] if len(reading.passes) > 1 else [],
        "loras": [{"name": x.name, "weight": x.weight, "hash": x.hash} for x in reading.loras],
        "hashes": [list(pair) for pair in reading.hashes],
        "raw": {_clean(key): _clean(text) for key, text in raw.items()},
        "own": dict(reading.own),
    }  # fmt: skip
    return {key: value for key, value in own.items() if value not in ({}, [], "")}


def _bounded(raw: Mapping[str, str]) -> dict[str, str]:
    """Return texts as a record keeps them: all, or the short ones as far as there is room."""
    if sum(len(key) + len(text) for key, text in raw.items()) <= _MAX_RAW:
        return dict(raw)
    kept: dict[str, str] = {}
    room = _MAX_RAW
    for key, text in raw.items():
        if len(text) <= _SHORT and len(key) + len(text) <= room:
            kept[key] = text
            room -= len(key) + len(text)
    kept[LEFT_OUT] = ", ".join(key[:80] for key in raw if key not in kept)[:_SHORT]
    return kept


def _clean(text: str) -> str:
    """Half characters, which some tools write, cannot be kept in UTF-8."""
    return text if _is_text(text) else text.encode("utf-8", "backslashreplace").decode()


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _ratings(
    reading: Reading,
    metadata: FileTexts,
    beside: Sequence[str],
    image: Identity,
    made: str,
    rater: str,
) -> list[RatingEvent]:
    """Return what somebody said about the picture in other programs."""
    events: list[RatingEvent] = []
    packets = [metadata.texts[key] for key in ("xmp", "XML:com.adobe.xmp") if key in metadata.texts]
    for packet in (*packets, *beside):
        events.extend(ratings_from_xmp(packet, image, timestamp=made, rater=rater))
    if not events:
        events.extend(ratings_from_exif(
            metadata.ratings.get("Rating"), metadata.ratings.get("RatingPercent"),
            image=image, timestamp=made, rater=rater,
        ))  # fmt: skip
    if not events and reading.generator == "sdnext":
        events.extend(ratings_from_sdnext(reading.extra, image, timestamp=made, rater=rater))
    if reading.generator == "swarmui":
        for text in reading.raw.values():
            if "is_starred" in text and (data := json_object(text)):
                events.extend(_swarm_star(data, image, made, rater))
    return list({event.event_id: event for event in events}.values())


def _swarm_star(
    data: Mapping[str, Any], image: Identity, made: str, rater: str
) -> tuple[RatingEvent, ...]:
    for holder in (data, data.get("sui_extra_data")):
        if isinstance(holder, dict) and "is_starred" in holder:
            return ratings_from_swarmui(holder, image, timestamp=made, rater=rater)
    return ()


def _sidecar_packets(path: str) -> list[str]:
    """Return the XMP sidecars beside a picture: darktable's name and Adobe's."""
    packets = []
    for beside in (f"{path}.xmp", f"{os.path.splitext(path)[0]}.xmp"):
        with contextlib.suppress(OSError):
            status = os.stat(beside)
            if status.st_size <= _MAX_SIDECAR and os.path.isfile(beside):
                with open_regular_file(beside) as file:
                    packets.append(decoded(file.read(_MAX_SIDECAR)))
    return packets
