"""picture_settings: what a picture file says of how it was made, in the order people read it.

Any tool's picture, whether an archive has it or not; nothing of it is kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from safelight.application.configs_again import config_of_picture, engine_of, stages_of_picture
from safelight.application.engine_list import EngineList, own_engine
from safelight.errors import ImageError
from safelight.imports.imported_picture import ImportedPicture, import_picture, read_loose_picture
from safelight.imports.knobs_read import ReadKnob, import_notes, knobs_read
from safelight.knobs import STAGES
from safelight.learning import LearningRecord
from safelight.learning.learning_record import ImageOutput

__all__ = ["ALIKE", "PictureSettings", "Setting", "read_picture_bytes", "read_picture_file",
           "settings_of"]  # fmt: skip

ALIKE = ("model", "lora", "sampler", "scheduler", "steps", "cfg_scale", "size")
"""Settings by which others like a picture are looked for, the one that counts most first."""

_FIRST = ("model", "sampler", "scheduler", "steps", "cfg_scale", "size", "seed")
_APART = ("prompt", "negative_prompt", "width", "height")
_NO_OUTPUT = ImageOutput(variant=0, stage=STAGES[0], sha256="", pixel_sha256="", width=0, height=0)
_CALLED = {"cfg_scale": "CFG", "model": "Model", "size": "Size"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting of a picture.

    Attributes:
        name: The knob's, ``lora.NAME``, or what the tool calls it.
        label: What people call it.
        value: As a text; empty where it is not known.
        native: The tool's own spelling, where it is another one.
        status: ``read``, ``defaulted``, ``unresolved`` or ``conflicting``.
        others: What other places in the file say.
    """

    name: str
    label: str
    value: str
    native: str = ""
    status: str = "read"
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSettings:
    """What one picture says of itself.

    Attributes:
        name: Of its file.
        sha256: Of its bytes.
        tool: Which wrote it; empty where nothing says so.
        version: Of the tool.
        outcome: ``full`` when it could be drawn again, else ``partly`` or ``none``.
        made: When its file was written, ISO 8601.
        width: Pixels.
        height: Pixels.
        prompt: What was asked for.
        negative: What was not to be there.
        settings: Model, LoRAs, sampler, scheduler, steps, CFG, size and seed, as far as they are
            known or missing.
        rest: All others.
        unread: Settings that could not be read, or of which places disagree.
        warnings: What was odd.
        engine: Of ours, that speaks to the tool; empty where none does.
        config: Draws it again; names *engine* where there is one.
        record: What an import would make of it.
    """

    name: str
    sha256: str
    tool: str
    version: str
    outcome: str
    made: str
    width: int
    height: int
    prompt: str
    negative: str
    settings: tuple[Setting, ...]
    rest: tuple[Setting, ...]
    unread: tuple[str, ...]
    warnings: tuple[str, ...]
    engine: str
    config: Mapping[str, Any]
    record: LearningRecord

    def named_engine(self, engines: EngineList) -> PictureSettings:
        """Return the same with the engine that the owner's list has of that kind, if it is one."""
        own = own_engine(engines, self.engine)
        if own is None:
            return self
        return replace(self, engine=own, config={**self.config, "backend": own})


def read_picture_file(path: Path) -> PictureSettings:
    """Return what the picture at *path* says of itself, and what lies beside it says of it.

    Raises:
        ImageError: It cannot be read as a picture.
    """
    return _read(import_picture(os.path.abspath(path)))  # noqa: PTH100 - a link stays the name given


def read_picture_bytes(file: BinaryIO, name: str, written: float) -> PictureSettings:
    """Return what a picture that lies nowhere on this machine says of itself.

    Args:
        file: Its bytes, which can be sought in.
        name: What it is called.
        written: When, seconds of the epoch.

    Raises:
        ImageError: It cannot be read as a picture.
    """
    return _read(read_loose_picture(file, name, written))


def _read(picture: ImportedPicture) -> PictureSettings:
    if picture.fault:
        raise ImageError(f"{picture.path}: {picture.fault}")
    return settings_of(LearningRecord.from_json(picture.document))


def settings_of(record: LearningRecord) -> PictureSettings:
    """Return what the record of an imported picture says, which has one output."""
    output = record.outputs[0] if record.outputs else _NO_OUTPUT
    notes = import_notes(record)
    known: dict[str, Setting] = {}
    apart: dict[str, str] = {}
    rest: list[Setting] = []
    unread: list[str] = []
    for knob in knobs_read(record):
        stage, _, name = knob.name.partition(".")
        if knob.status in ("unresolved", "conflicting"):
            unread.append(name)
        if name in _APART:
            apart.setdefault(name, str(knob.value if knob.value is not None else ""))
        elif name in _FIRST and name not in known:
            known[name] = _setting(knob, name)
        else:
            rest.append(_setting(knob, name if stage == output.stage else knob.name))
    says_something = bool(known or apart)
    known["size"] = Setting(
        name="size", label="Size",
        value=f"{apart.get('width') or output.width} × {apart.get('height') or output.height}",
    )  # fmt: skip
    loras = list(_loras(notes))
    ordered = [known[name] for name in _FIRST if name in known]
    place = 1 if "model" in known else 0
    config = dict(record.variant_configs[0]) if record.variant_configs else {}
    again = config_of_picture(stages_of_picture(config, output.stage, record), record)
    return PictureSettings(
        name=_text(notes, "file", "name"), sha256=output.sha256,
        tool=str(record.backend.get("name") or ""),
        version=str(record.backend.get("version") or ""),
        outcome=str(notes.get("outcome") or "none"), made=record.timestamp,
        width=output.width, height=output.height,
        prompt=apart.get("prompt", ""), negative=apart.get("negative_prompt", ""),
        settings=(*ordered[:place], *loras, *ordered[place:]) if says_something else (),
        rest=(*rest, *_extras(notes)), unread=tuple(dict.fromkeys(unread)),
        warnings=tuple(record.warnings), engine=engine_of(record.backend.get("name")) or "",
        config=again, record=record,
    )  # fmt: skip


def _setting(knob: ReadKnob, name: str) -> Setting:
    value = "" if knob.value is None else str(knob.value)
    return Setting(
        name=name, label=_CALLED.get(name, name.replace("_", " ").capitalize()), value=value,
        native=knob.native if knob.native.lower() != value.lower() else "", status=knob.status,
        others=tuple(map(str, knob.others)),
    )  # fmt: skip


def _loras(notes: Mapping[str, Any]) -> Iterator[Setting]:
    listed = notes.get("loras")
    for lora in listed if isinstance(listed, Sequence) else ():
        weight, name = lora.get("weight"), str(lora.get("name"))
        told = "weight not known" if weight is None else f"{weight:g}"
        yield Setting(name=f"lora.{name}", label=f"LoRA {name}", value=told)


def _extras(notes: Mapping[str, Any]) -> Iterator[Setting]:
    extra = notes.get("extra")
    for name, value in extra.items() if isinstance(extra, Mapping) else ():
        yield Setting(name=str(name), label=str(name), value=str(value))


def _text(notes: Mapping[str, Any], table: str, name: str) -> str:
    held = notes.get(table)
    return str(held.get(name, "")) if isinstance(held, Mapping) else ""
