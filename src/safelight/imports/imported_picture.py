"""One picture file -> the record that it becomes, and the ratings that lie in it.

Runs in the worker processes: what comes out is plain bytes and text.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safelight.durable_file import open_regular_file
from safelight.errors import SafelightError
from safelight.formats.bounded_json import json_object
from safelight.formats.file_texts import FileTexts, decoded
from safelight.imports.containers import file_texts, sidecar_text
from safelight.imports.picture_reader import read_texts
from safelight.imports.reading import Outcome, Reading
from safelight.knobs import STAGES, primary_knobs
from safelight.learning.learning_record import ImageOutput, LearningRecord, utc_timestamp
from safelight.learning.ratings import Identity, RatingEvent
from safelight.learning.ratings.existing_ratings import (
    ratings_from_exif,
    ratings_from_swarmui,
    ratings_from_xmp,
)
from safelight.version import __version__

__all__ = ["READER", "ImportedPicture", "import_picture", "run_id_of", "shown_path"]

READER = 2
"""Raised when a picture would be read better than before."""

_MAX_RAW = 2 * 2**20
"""Characters of raw metadata that a record keeps; more stays in the picture only."""

_MAX_SIDECAR = 4 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedPicture:
    """What became of one file.

    Attributes:
        path: As it was found.
        size: In bytes.
        modified: Time of its last change, nanoseconds.
        sha256: Of its bytes, hex; empty when it could not be read.
        document: The record, in canonical JSON; empty when there is a fault.
        generator: The tool that made it; empty when nothing says so.
        outcome: How much was read.
        missing: Knobs that are unresolved or conflicting: ``seed unresolved``.
        events: Ratings found in it, as lines.
        fault: Why nothing could be read; empty otherwise.
    """

    path: str
    size: int = 0
    modified: int = 0
    sha256: str = ""
    document: bytes = b""
    generator: str = ""
    outcome: Outcome = "none"
    missing: tuple[str, ...] = ()
    events: tuple[bytes, ...] = ()
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


def import_picture(path: str, archive: str = "", rater: str = "") -> ImportedPicture:
    """Read one file; whatever is wrong with it is told in the answer, nothing is raised.

    Args:
        path: An absolute path.
        archive: The archive's absolute path.
        rater: Whose the ratings in the file are.
    """
    try:
        with open_regular_file(path) as file:
            status = os.fstat(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            metadata = file_texts(file)
        reading = read_texts(metadata, digest, sidecar=sidecar_text(Path(path)))
        made = utc_timestamp(datetime.fromtimestamp(max(0, status.st_mtime), UTC))
        document = _record(reading, path, archive, status, made).to_json().encode()
        events = _ratings(reading, metadata, path, made, rater)
    except (OSError, SafelightError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        return ImportedPicture(path=path, fault=reason)
    except Exception as error:  # noqa: BLE001 - one bad file must not end the import of the rest
        return ImportedPicture(path=path, fault=f"{type(error).__name__}: {error}"[:500])
    return ImportedPicture(
        path=path, size=status.st_size, modified=status.st_mtime_ns, sha256=digest,
        document=document, generator=reading.generator, outcome=reading.outcome,
        missing=tuple(
            f"{knob.rpartition('.')[2]} {state}"
            for knob, state in reading.fields.items() if state in ("unresolved", "conflicting")
        ),
        events=tuple(event.to_json() for event in events),
    )  # fmt: skip


def _record(
    reading: Reading, path: str, archive: str, status: os.stat_result, made: str
) -> LearningRecord:
    config: dict[str, dict[str, Any]] = {stage: dict(k) for stage, k in reading.config.items()}
    stage = next(iter(config), STAGES[0])
    loras = [{"name": lora.name, "weight": lora.weight} for lora in reading.loras]
    if loras and config:
        config[stage]["loras"] = loras
    primary = primary_knobs([config])
    seed = config.get(stage, {}).get("seed")
    return LearningRecord(
        run_id=run_id_of(reading.sha256),
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
                variant=0, stage=stage, sha256=reading.sha256, pixel_sha256="",
                path=shown_path(path, archive), width=reading.width, height=reading.height,
                seed=seed if isinstance(seed, int) else None,
            ),
        ),
        warnings=reading.warnings,
        backend={"name": reading.generator, "version": reading.extra.get("Version", "")},
        metadata={"import": _import_metadata(reading, path, status)},
    )  # fmt: skip


def _import_metadata(reading: Reading, path: str, status: os.stat_result) -> dict[str, Any]:
    raw = dict(reading.raw)
    if sum(map(len, raw.values())) > _MAX_RAW:
        raw = {key: text for key, text in raw.items() if len(text) <= 1000}
        raw["left in the picture"] = ", ".join(k for k in reading.raw if k not in raw)[:1000]
    file: dict[str, Any] = {
        "name": shown_path(os.path.basename(path)), "bytes": status.st_size
    }  # fmt: skip
    if not _is_text(path):
        file["name_bytes"] = os.fsencode(os.path.basename(path)).hex()
    own: dict[str, Any] = {
        "reader": READER,
        "safelight": __version__,
        "outcome": reading.outcome,
        "fields": dict(reading.fields),
        "native": dict(reading.native),
        "extra": dict(reading.extra),
        "passes": [dict(knobs) for knobs in reading.passes] if len(reading.passes) > 1 else [],
        "loras": [{"name": x.name, "weight": x.weight, "hash": x.hash} for x in reading.loras],
        "hashes": [list(pair) for pair in reading.hashes],
        "raw": {_clean(key): _clean(text) for key, text in raw.items()},
        "file": file,
    }  # fmt: skip
    return {key: value for key, value in own.items() if value not in ({}, [])}


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
    reading: Reading, metadata: FileTexts, path: str, made: str, rater: str
) -> list[RatingEvent]:
    """Return what somebody said about the picture in other programs."""
    image = Identity(sha256=reading.sha256)
    events: list[RatingEvent] = []
    packets = [metadata.texts[key] for key in ("xmp", "XML:com.adobe.xmp") if key in metadata.texts]
    for packet in (*packets, *_sidecar_packets(path)):
        events.extend(ratings_from_xmp(packet, image, timestamp=made, rater=rater))
    if not events:
        events.extend(ratings_from_exif(
            metadata.ratings.get("Rating"), metadata.ratings.get("RatingPercent"),
            image=image, timestamp=made, rater=rater,
        ))  # fmt: skip
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
