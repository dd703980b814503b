"""picture_settings: what is known of how a picture was made, in the order people read it.

Of a picture in an archive its record tells; any other file is read as an import would, and nothing
of it is kept. Page and command show what stands here, and in this order.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from safelight.application.configs_again import config_of_picture, engine_of, stages_of_picture
from safelight.application.engine_list import EngineList, own_engine
from safelight.archive import Archive
from safelight.errors import ImageError
from safelight.filter_tokens import quoted
from safelight.imports.imported_picture import ImportedPicture, import_picture, read_loose_picture
from safelight.imports.knobs_read import ReadKnob, import_notes, knobs_read
from safelight.knobs import EXTRA, KNOBS, STAGES
from safelight.learning import LearningRecord
from safelight.learning.learning_record import ImageOutput
from safelight.lora_tags import split_loras
from safelight.recorded_settings import LORA, LORA_TAGS, WORDS, lora_settings
from safelight.varied_names import dotted, drawing_stages

__all__ = [
    "ALIKE", "PictureSettings", "Setting", "label_of", "read_picture_bytes", "read_picture_file",
    "settings_in_archive", "settings_of", "settings_of_picture", "shown_value",
]  # fmt: skip

ALIKE = ("model", "lora", "sampler", "scheduler", "steps", "cfg_scale", "size")
"""Settings by which others like a picture are looked for, the one that counts most first."""

_FIRST = ("model", "sampler", "scheduler", "steps", "cfg_scale", "size", "seed")
_APART = ("prompt", "negative_prompt", "width", "height")
_NO_OUTPUT = ImageOutput(variant=0, stage=STAGES[0], sha256="", pixel_sha256="", width=0, height=0)
_CALLED = {"cfg_scale": "CFG", "cfg_rescale": "CFG rescale", "vae": "VAE", "prompt": "Prompt"}
_IN_ORDER = {name: place for place, name in enumerate(KNOBS)}
_OWN_BOOKS = ("loras", "enabled", LORA_TAGS)
"""What records of a stage keep beside its settings."""


def label_of(name: str) -> str:
    """Return what people call a setting, of whichever stage: ``CFG``, ``LoRA ink``, ``Seed``."""
    stage, _, own = name.partition(".")
    if stage in STAGES and own:
        name = own
    if name.startswith(LORA):
        return f"LoRA {name.removeprefix(LORA)}"
    if name.startswith(EXTRA):
        return name.removeprefix(EXTRA)
    words = name.replace("_", " ")
    return _CALLED.get(name, words[:1].upper() + words[1:])


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
        asked: What the engine was asked for, where it used another value.
    """

    name: str
    label: str
    value: str
    native: str = ""
    status: str = "read"
    others: tuple[str, ...] = ()
    asked: str | None = None

    def is_like(self, other: Setting) -> bool:
        """Return whether *other* says the same of another stage."""
        mine, its = (self.value, self.others, self.asked), (other.value, other.others, other.asked)
        return mine == its


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
        record: Of its run, or what an import would make of it; None while its run goes on.
        tags_are_words: Whether tags of LoRAs in the prompt did nothing.
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
    record: LearningRecord | None
    tags_are_words: bool = False

    @property
    def words(self) -> str:
        """The prompt without its LoRAs, which are settings of their own."""
        if self.tags_are_words:
            return self.prompt
        return split_loras(self.prompt)[0].strip(" ,\n")

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
    config = record.variant_configs[0] if record.variant_configs else {}
    return settings_of_picture(output, stages_of_picture(config, output.stage, record), record)


def settings_of_picture(
    output: ImageOutput,
    stages: Mapping[str, Mapping[str, Any]],
    record: LearningRecord | None = None,
) -> PictureSettings:
    """Return what is known of a picture, each setting once.

    What an earlier stage did with another value is told after all else, with the stage's name.

    Args:
        output: The picture, as its record has it.
        stages: Stage -> effective knobs that led to it.
        record: Of its run; None while that goes on.
    """
    notes = import_notes(record) if record is not None else {}
    backend = record.backend if record is not None else {}
    known: dict[str, Setting] = {}
    apart: dict[str, Setting] = {}
    rest: dict[str, Setting] = {}
    unread: list[str] = []
    for stage, one in _stated(output, stages, record):
        if one.status in ("unresolved", "conflicting"):
            unread.append(one.name)
        place = apart if one.name in _APART else known if one.name in _FIRST else rest
        first = place.setdefault(one.name, one)
        if first is not one and not first.is_like(one):
            other = f"{one.label} of {stage}"
            rest[f"{stage}.{one.name}"] = replace(one, name=f"{stage}.{one.name}", label=other)
    says_something = bool(known or apart)
    known["size"] = _size(output, apart)
    prompt = apart["prompt"].value if "prompt" in apart else ""
    ordered = [known[name] for name in _FIRST if name in known]
    after_model = 1 if "model" in known else 0
    words = any(own.get(LORA_TAGS) == WORDS for own in stages.values())
    loras = _loras("" if words else prompt, notes, stages)
    return PictureSettings(
        name=_text(notes, "file", "name"), sha256=output.sha256,
        tool=str(backend.get("name") or ""), version=str(backend.get("version") or ""),
        outcome=str(notes.get("outcome") or ("none" if notes else "full")),
        made=record.timestamp if record is not None else "",
        width=output.width, height=output.height, prompt=prompt,
        negative=apart["negative_prompt"].value if "negative_prompt" in apart else "",
        settings=(*ordered[:after_model], *loras, *ordered[after_model:])
        if says_something else (),
        rest=tuple(rest.values()), unread=tuple(dict.fromkeys(unread)),
        warnings=tuple(record.warnings) if record is not None else (),
        engine=engine_of(backend.get("name")) or "",
        config=config_of_picture(stages, record), record=record, tags_are_words=words,
    )  # fmt: skip


def settings_in_archive(archive: Archive, sha256: str) -> PictureSettings | None:
    """Return what the record of the run that made a picture says; None where none is known.

    It knows what the engine was asked for, which a file does not say.

    Raises:
        ArchiveError: The archive cannot answer.
    """
    rows = archive.query(f"sha256 = {quoted(sha256)}", columns=["run_id"], limit=1).rows
    if not rows:
        return None
    record = archive.record(rows[0][0])
    output = next((each for each in record.outputs if each.sha256 == sha256), None)
    if output is None or not 0 <= output.variant < len(record.variant_configs):
        return None
    config = record.variant_configs[output.variant]
    return settings_of_picture(output, stages_of_picture(config, output.stage, record), record)


def _stated(
    output: ImageOutput, stages: Mapping[str, Mapping[str, Any]], record: LearningRecord | None
) -> Iterator[tuple[str, Setting]]:
    """Yield the stage and the setting of all that is known; the stage that drew last comes first.

    Of a knob that two stages have, that one's value made the picture what it is.
    """
    read = {knob.name: knob for knob in knobs_read(record)} if record is not None else {}
    asked = {mismatch.knob: mismatch.requested for mismatch in output.mismatches}
    stated = {
        f"{stage}.{name}": value
        for stage, knobs in stages.items() for name, value in dotted(knobs)
        if name not in _OWN_BOOKS
    }  # fmt: skip
    names = dict.fromkeys([*stated, *asked, *read])
    there = [stage for stage in STAGES if any(name.startswith(f"{stage}.") for name in names)]
    drew = drawing_stages(there)[::-1]
    for stage in (*drew, *(each for each in there if each not in drew)):
        own = [name.removeprefix(f"{stage}.") for name in names if name.startswith(f"{stage}.")]
        for name in sorted(own, key=lambda each: _IN_ORDER.get(each, len(_IN_ORDER))):
            full = f"{stage}.{name}"
            knob = read.get(full) or ReadKnob(name=full, value=stated.get(full), status="read")
            wanted = shown_value(asked[full]) if full in asked else None
            yield stage, _setting(knob, name.removeprefix(EXTRA), wanted)


def _setting(knob: ReadKnob, name: str, asked: str | None) -> Setting:
    value = shown_value(knob.value)
    return Setting(
        name=name, label=label_of(knob.name), value=value,
        native=knob.native if knob.native.lower() != value.lower() else "", status=knob.status,
        others=tuple(map(shown_value, knob.others)), asked=asked,
    )  # fmt: skip


def shown_value(value: Any) -> str:
    """Return the value of a setting as a text: a whole number without its fraction."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return msgspec.json.encode(value).decode()


def _size(output: ImageOutput, apart: Mapping[str, Setting]) -> Setting:
    """Return the size that was asked of the stage that drew, or that of the picture."""
    sides = [apart[name].value if name in apart else "" for name in ("width", "height")]
    width, height = sides[0] or output.width, sides[1] or output.height
    return Setting(name="size", label=label_of("size"), value=f"{width} × {height}")


def _loras(
    prompt: str, notes: Mapping[str, Any], stages: Mapping[str, Mapping[str, Any]]
) -> Iterator[Setting]:
    """Yield each LoRA once: those that the prompt names, then those that a graph does."""
    listed = [notes.get("loras"), *(own.get("loras") for own in stages.values())]
    named = [one for some in listed if isinstance(some, (list, tuple)) for one in some]
    for name, weight in dict.fromkeys(_weighed(prompt, named)):
        yield Setting(name=name, label=label_of(name), value=weight)


def _weighed(prompt: str, named: list[Any]) -> Iterator[tuple[str, str]]:
    for lora in lora_settings(STAGES[0], prompt, named):
        weight = "weight not known" if lora.number is None else f"{lora.number:g}"
        is_apart = lora.number is not None and lora.text
        yield lora.name, f"{weight}, {lora.text}" if is_apart else weight


def _text(notes: Mapping[str, Any], table: str, name: str) -> str:
    held = notes.get(table)
    return str(held.get(name, "")) if isinstance(held, Mapping) else ""
