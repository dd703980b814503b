"""Reading: what a picture made by another tool says about how it was made.

Nothing is guessed. Every knob carries how it was learned: ``read`` from the picture,
``defaulted`` where the tool leaves a key out to mean a known value, ``unresolved`` where the
picture names it in a way that this reader cannot follow, or not at all, and ``conflicting``
where two places in the picture disagree.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from safelight.knobs import KNOBS, knobs_and_extras
from safelight.lora_tags import split_loras
from safelight.recorded_settings import LORA_TAGS, WORDS
from safelight.sampler_names import SCHEDULERS, canonical_name

__all__ = [
    "Draft",
    "FieldStatus",
    "Given",
    "ImportedLora",
    "Outcome",
    "Reader",
    "Reading",
    "as_number",
    "as_whole",
]

FieldStatus = Literal["read", "defaulted", "unresolved", "conflicting"]
Outcome = Literal["full", "partly", "none"]

_ESSENTIAL = ("prompt", "model", "sampler", "steps", "cfg_scale", "seed")
"""Without one of these the picture cannot be drawn again, so it was read only partly."""

_WHOLE = frozenset(knob.name for knob in KNOBS.values() if knob.kind == "integer")
_FRACTIONS = frozenset(knob.name for knob in KNOBS.values() if knob.kind == "number")
_LARGEST_WHOLE = 2**64 - 1
_LONGEST_TEXT = 100_000
_MAX_EXTRA = 200
_QUERY = re.compile(r"(\b[a-z][a-z0-9+.-]{0,30}://[^\s?#\"'\\<>]+)\?[^\s\"'<>]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedLora:
    """One LoRA that took part in a picture.

    Attributes:
        name: As the tool writes it.
        weight: On the image network; None when the picture does not say.
        hash: As the tool writes it, empty when it does not.
    """

    name: str
    weight: float | None = None
    hash: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one picture file says.

    Attributes:
        generator: The tool that made it (``a1111``, ``forge``, ``comfyui``, ...); empty when
            nothing in the file says so.
        config: Stage -> effective knobs in our names, the stage that made the picture last. A
            sampler or scheduler has its canonical spelling where that is known.
        native: Knob -> the tool's own spelling, where ``config`` has another one.
        extra: What the tool says beyond our knobs, in its own words: key -> value.
        fields: Knob path (``txt2img.steps``) -> how its value was learned.
        conflicts: Knob path -> the values that places disagree on, that of ``config`` first.
        passes: Every sampler of a graph, base first, as knobs; empty for other tools.
        loras: In the order in which they are named.
        hashes: (kind, value) of the model; kinds are never comparable to one another.
        raw: Place in the file -> text, as found and bounded, to be read again later.
        width: Of the picture in pixels, from its header; 0 when the header does not say.
        height: Of the picture in pixels, from its header; 0 when the header does not say.
        sha256: SHA-256 of the file's bytes, hex.
        warnings: What was odd, one sentence each.
        outcome: ``full`` when the picture could be drawn again, else ``partly`` or ``none``.
        own: Of a picture that safelight drew: ``run_id``, ``variant``, ``parent``, ``identity``,
            ``pixel_sha256`` and ``engine`` (``name``, ``version``), as far as it says them.
    """

    generator: str
    config: Mapping[str, Mapping[str, Any]]
    native: Mapping[str, str]
    extra: Mapping[str, str]
    fields: Mapping[str, FieldStatus]
    passes: tuple[Mapping[str, Any], ...]
    loras: tuple[ImportedLora, ...]
    hashes: tuple[tuple[str, str], ...]
    raw: Mapping[str, str]
    width: int
    height: int
    sha256: str
    warnings: tuple[str, ...]
    outcome: Outcome
    conflicts: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    own: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a reader is given to read.

    Attributes:
        texts: Place -> text of the whole file: a PNG chunk's key, ``exif:UserComment``, ...
        size: Width and height in pixels.
        comment: The one text that a reader of comments is asked about.
        data: Its JSON object; empty when it is none.
    """

    texts: Mapping[str, str]
    size: tuple[int, int] = (0, 0)
    comment: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reader:
    """One tool's reader.

    Attributes:
        name: Of the tool.
        read: Puts what the tool says into a fresh draft, and returns True; False when the texts
            are not this tool's, and then the next reader is asked.
    """

    name: str
    read: Callable[[Draft, Given], bool]


@dataclass(slots=True, kw_only=True)
class Draft:
    """A reading in the making: what one generator's reader has understood so far.

    ``then`` is the stage that followed, if one did: a picture that was enlarged at the end.

    Attributes:
        earlier: Stage -> knobs of the stages before :attr:`stage`, all of them read.
        says_all: Whether a knob that is not there was not used, so that none is missing.
        tags_are_words: Whether ``<lora:...>`` in the prompt did nothing.
    """

    generator: str = ""
    stage: str = "txt2img"
    knobs: dict[str, Any] = field(default_factory=dict)
    native: dict[str, str] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, FieldStatus] = field(default_factory=dict)
    passes: list[dict[str, Any]] = field(default_factory=list)
    loras: list[ImportedLora] = field(default_factory=list)
    hashes: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    conflicts: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    then: Draft | None = None
    earlier: dict[str, dict[str, Any]] = field(default_factory=dict)
    says_all: bool = False
    tags_are_words: bool = False
    own: dict[str, Any] = field(default_factory=dict)

    def read(self, knob: str, value: object, *, status: FieldStatus = "read") -> None:
        """Take the value of a knob; one that does not fit its kind becomes ``unresolved``.

        None and, but for texts, the empty string say nothing and change nothing.
        """
        if value is None or (value == "" and knob not in ("prompt", "negative_prompt")):
            return
        if isinstance(value, str) and len(value) > _LONGEST_TEXT:
            self.unresolved(knob)
            self.warnings.append(
                f"{knob} is {len(value)} characters long and was left in the raw text"
            )
            return
        plain = _plain_value(knob, value)
        if plain is None:
            self.unresolved(knob)
            self.warnings.append(f"{knob} is not a usable value: {str(value)[:80]!r}")
            return
        if knob in ("sampler", "scheduler"):
            self._name(knob, str(plain), status)
        else:
            self.knobs[knob], self.statuses[knob] = plain, status

    def also(self, key: str, value: object) -> None:
        """Keep something that is no knob of ours, in the tool's own words.

        Addresses lose what is behind their question mark: it may be signed for whoever holds it.
        """
        if len(self.extra) < _MAX_EXTRA and key and value not in (None, ""):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            if "://" in text:
                text = _QUERY.sub(r"\1", text)
            self.extra[key[:100]] = text[:2000]

    def name_extras(self) -> None:
        """Read each extra that a knob stands for as that knob, unless something was said of it."""
        if self.stage == "upscale" or not self.knobs:
            return
        stated = {**dict.fromkeys(self.statuses, "unresolved"), **self.knobs}
        known, self.extra = knobs_and_extras({**stated, "extra": self.extra})
        for knob, value in known.items():
            if knob not in stated:
                self.read(knob, value)

    def default(self, knob: str, value: object) -> None:
        """Fill in what the tool means by leaving the knob out."""
        if knob not in self.statuses:
            self.read(knob, value, status="defaulted")

    def unresolved(self, knob: str) -> None:
        """Say that the picture does not tell the knob's value in a way that can be followed."""
        self.knobs.pop(knob, None)
        self.statuses[knob] = "unresolved"

    def conflicting(self, knob: str, *others: object) -> None:
        """Say that places disagree; the value taken, if any, stays, and *others* are told."""
        if knob in self.knobs or knob not in KNOBS:
            self.statuses[knob] = "conflicting"
        told = self.conflicts.get(knob, (self.knobs.get(knob),))
        self.conflicts[knob] = (*told, *(value for value in others if value not in told))[:20]

    def add_lora(self, name: object, weight: object = None, digest: object = "") -> None:
        """Add a LoRA, unless it is already there with this weight."""
        if not isinstance(name, str) or not name.strip() or name == "None":
            return
        lora = ImportedLora(
            name=name.strip(),
            weight=as_number(weight),
            hash=digest if isinstance(digest, str) else "",
        )
        if len(self.loras) < 1000 and lora not in self.loras:
            self.loras.append(lora)

    def add_prompt_loras(self, hashes: Mapping[str, str] | None = None) -> None:
        """Add the LoRAs that the prompt's ``<lora:...>`` tags name."""
        prompt = str(self.knobs.get("prompt", ""))
        if "<lora:" in prompt and not self.tags_are_words:
            for lora in split_loras(prompt)[1]:
                self.add_lora(lora.name, lora.unet, (hashes or {}).get(lora.name, ""))

    def add_hash(self, kind: str, value: object) -> None:
        """Add a hash of the model, when it is one."""
        if isinstance(value, str) and value.strip():
            self.hashes.append((kind, value.strip()))

    def fields(self) -> dict[str, FieldStatus]:
        """Knob path -> status; an essential knob that nothing told is ``unresolved``."""
        statuses = dict(self.statuses)
        if statuses and not self.says_all:
            for knob in _ESSENTIAL:
                statuses.setdefault(knob, "unresolved")
        before: dict[str, FieldStatus] = {
            f"{stage}.{knob}": "read" for stage, knobs in self.earlier.items() for knob in knobs
        }
        fields = before | {f"{self.stage}.{knob}": status for knob, status in statuses.items()}
        for knob, status in self.then.statuses.items() if self.then else ():
            fields[f"{self.then.stage}.{knob}"] = status  # type: ignore[union-attr]
        return fields

    def config(self) -> dict[str, dict[str, Any]]:
        """Stage -> knobs, in the order in which the stages ran."""
        stages = [draft for draft in (self, self.then) if draft and draft.knobs]
        own = {draft.stage: dict(draft.knobs) for draft in stages}
        if self.tags_are_words and self.stage in own:
            own[self.stage][LORA_TAGS] = WORDS
        return {**self.earlier, **own} if self.knobs else {}

    def says_something(self) -> bool:
        """Return whether a knob was read, and not filled in alone."""
        return any(
            self.statuses.get(knob) != "defaulted" and value != ""
            for knob, value in self.knobs.items()
        )

    def outcome(self) -> Outcome:
        """``full`` when every knob is read or defaulted, ``none`` when there is none."""
        if not self.knobs:
            return "none"
        whole = all(status in ("read", "defaulted") for status in self.fields().values())
        return "full" if whole else "partly"

    def _name(self, knob: str, name: str, status: FieldStatus) -> None:
        path = f"{self.stage}.{knob}"
        known = canonical_name(knob, name)
        self.statuses[knob] = status
        self.native.pop(knob, None)
        if known is None and knob == "sampler":
            stem, scheduler = _without_suffix(name)
            known = canonical_name("sampler", stem) if scheduler else None
            if known and "scheduler" not in self.knobs:
                self.knobs["scheduler"], self.statuses["scheduler"] = scheduler, status
        self.knobs[knob] = known or name
        if known not in (None, name):
            self.native[knob] = name
        if len(name) > 200:
            self.warnings.append(f"{path} is {len(name)} characters long")


def _plain_value(knob: str, value: object) -> object:
    if knob in _WHOLE:
        return as_whole(value)
    if knob in _FRACTIONS:
        return as_number(value)
    return value if isinstance(value, str) else None


def as_whole(value: object) -> int | None:
    """Return a whole number of 0 to 2**64 - 1, also from its text; None for anything else."""
    number: float | int | None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and re.fullmatch(r"\s*\d{1,20}\s*", value, re.ASCII):
        number = int(value)
    else:
        number = as_number(value)
    if number is None or number != int(number) or not 0 <= number <= _LARGEST_WHOLE:
        return None
    return int(number)


def as_number(value: object) -> float | int | None:
    """Return a finite number, also from its text; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and len(value) <= 64:
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, int):
        return value if abs(value) <= _LARGEST_WHOLE else None
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    return None


def _without_suffix(name: str) -> tuple[str, str]:
    """Split ``DPM++ 2M Karras``, as AUTOMATIC1111 before 1.9, InvokeAI and others write it."""
    for scheduler in SCHEDULERS:
        for ending in (f" {scheduler}", f"_{scheduler}"):
            if name.lower().endswith(ending.lower()):
                return name[: -len(ending)], scheduler
    stem, _, last = name.rpartition(" ")
    if stem and (scheduler := canonical_name("scheduler", last) or ""):
        return stem, scheduler
    if name.endswith("_k"):  # InvokeAI
        return name[:-2], "Karras"
    return name, ""
