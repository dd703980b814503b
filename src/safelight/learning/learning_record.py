"""LearningRecord: the durable account of one run, and the writer that never breaks a run.

The JSON form is a contract: UTF-8, keys sorted, no NaN, every number as it was (``7`` stays
``7``). The schema grows only by optional fields, and a reader keeps the fields that it does
not know, so that an old program can carry a new record without harming it.

A record is a snapshot of plain values: it is cut off from the caller's dicts when it is made,
what JSON cannot hold becomes plain (paths and enums their text, numpy scalars numbers, NaN
null), and secrets are blanked.

A record's file carries a digest of the rest of its text, so that rot is seen. A timestamp is what
the caller says, be it a time or not: it is kept as it is, and becomes neither name nor order
without having been read as a time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import operator
import os
import re
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import msgspec
from msgspec import UNSET, UnsetType

from safelight.durable_file import make_folder, read_regular_file, write_new_file
from safelight.errors import RecordError
from safelight.knobs import primary_knobs
from safelight.learning.snapshot import plain_snapshot
from safelight.timestamps import as_utc, compact, utc_timestamp

__all__ = [
    "SCHEMA",
    "ImageOutput",
    "LearningRecord",
    "LearningRecordWriter",
    "Mismatch",
    "VariantFailure",
    "check_digest",
    "new_run_id",
    "read_document",
    "read_record",
    "read_records",
    "record_stem",
    "utc_timestamp",
]

SCHEMA = 1
"""Number of the newest schema that this module writes."""

STATUSES = ("completed", "partial", "failed", "cancelled", "interrupted", "imported")
"""How a run can have ended; ``imported`` is a record made from another tool's images."""

_log = logging.getLogger(__name__)


class Mismatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One knob for which the engine used another value than it was asked for.

    Attributes:
        knob: ``stage.knob``.
        requested: What was sent.
        effective: What the engine says it used.
    """

    knob: str
    requested: Any
    effective: Any


class ImageOutput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One image file of a run.

    Attributes:
        variant: Place in the record's ``variant_configs``, from 0.
        stage: The stage that made it.
        path: File, relative to the archive folder, ``/`` between its parts; whole when an
            imported picture lies outside; None when the image was never written to a file.
        sha256: SHA-256 of the file's bytes, 64 hex digits.
        pixel_sha256: SHA-256 of the decoded pixels (``docs/records.md`` says which bytes); empty
            for an imported picture, whose pixels nobody has decoded yet.
        width: In pixels.
        height: In pixels.
        seed: Seed that the engine says it used; None when the stage has none.
        seconds: Time that the engine took for the whole request.
        mismatches: Knobs that the engine did not honour.
        parent: SHA-256 of the bytes of the image that this one was made from.
    """

    variant: int
    stage: str
    sha256: str
    pixel_sha256: str
    width: int
    height: int
    path: str | None = None
    seed: int | None = None
    seconds: int | float = 0.0
    mismatches: tuple[Mismatch, ...] = ()
    parent: str | None = None


class VariantFailure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One variant that did not get through all its stages.

    Attributes:
        variant: Place in the record's ``variant_configs``, from 0.
        stage: The stage that failed.
        error: What went wrong, in a sentence.
    """

    variant: int
    stage: str
    error: str


class _Form(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The JSON form of a record: exactly the fields that this schema knows."""

    run_id: str
    timestamp: str
    base_config: dict[str, Any]
    variant_configs: list[dict[str, Any]]
    randomizer_mode: str
    randomizer_plan_size: int
    primary_model: str
    primary_sampler: str
    primary_scheduler: str
    primary_steps: int
    primary_cfg_scale: int | float
    schema: int = SCHEMA
    status: str = "completed"
    error: str | None = None
    name: str = ""
    plan_id: str | None = None
    plan_seed: int | None = None
    part: int = 1
    parts: int = 1
    first_variant: int = 0
    outputs: tuple[ImageOutput, ...] = ()
    failures: tuple[VariantFailure, ...] = ()
    warnings: tuple[str, ...] = ()
    backend: dict[str, Any] = {}
    environment: dict[str, Any] = {}
    template: dict[str, Any] = {}
    seconds: dict[str, int | float] = {}
    metadata: dict[str, Any] = {}
    # Left out of the text where there is none, so that older records stay as they are.
    plan: dict[str, Any] | UnsetType = UNSET
    digest: str | UnsetType | None = UNSET


_FIELDS = _Form.__struct_fields__
_KNOWN = frozenset(_FIELDS)
_field_values = operator.attrgetter(*_FIELDS)
_encoder = msgspec.json.Encoder(order="sorted")
_AFTER_DIGEST = b',"environment":'
_decoder = msgspec.json.Decoder(_Form)


@dataclass(frozen=True, slots=True)
class LearningRecord:
    """What actually ran: one per run, however it ended.

    Attributes:
        run_id: Unique name of the run.
        timestamp: When the run began: UTC, ISO 8601, microseconds. Whatever else a caller gives
            is kept; such a record is sorted by when it was written.
        base_config: Stage -> knobs as the user asked, before anything was varied.
        variant_configs: Stage -> knobs of each variant that ran, in order: what the engine
            says it used, else what it was asked for.
        randomizer_mode: ``off``, ``fanout``, ``random``, ``sequential`` or ``rotate``.
        randomizer_plan_size: Variants in the whole plan, those that never ran included.
        primary_model: Checkpoint of the stage that draws; empty when unknown.
        primary_sampler: Its sampler; empty when unknown.
        primary_scheduler: Its schedule type; empty when unknown.
        primary_steps: Its denoising steps; 0 when unknown.
        primary_cfg_scale: Its guidance weight; 0.0 when unknown.
        schema: Number of the schema that the record was written with.
        status: How the run ended, one of :data:`STATUSES`.
        error: Why the run as a whole ended early, or None.
        name: The config's name.
        plan_id: Same for all runs of one plan.
        plan_seed: Seed of everything that the plan drew.
        part: This run is part *part* of *parts* of the plan, from 1.
        parts: See *part*.
        first_variant: Place in the plan of the first of ``variant_configs``, from 0.
        outputs: The image files.
        failures: The variants that failed.
        warnings: What the user should know although it was no error.
        backend: Name and version of the engine.
        environment: What else changes pixels: library versions, device, precision.
        template: ``prompts`` (``stage.knob`` -> text as written), ``wildcard_files`` (name ->
            SHA-256) and ``variants`` (label and chosen values of each of ``variant_configs``).
        seconds: Stage -> seconds that the engine took, all variants together.
        metadata: The caller's own.
        plan: What the plan varied: axes with their values, rules, seeds, caps, wildcard hashes and
            the config as stated, secrets removed; of a large plan counts and a hash.
        digest: SHA-256 of the canonical JSON without it, 64 hex digits, as the text had it that
            the record was read from; empty when that had none, as texts of earlier versions;
            None for a record that was not read.
        unknown: Fields of later schemas, carried along unread.

    Raises:
        RecordError: A field has a type that the record cannot hold.
    """

    run_id: str
    timestamp: str
    base_config: Mapping[str, dict[str, Any]]
    variant_configs: list[Mapping[str, Any]]
    randomizer_mode: str
    randomizer_plan_size: int
    primary_model: str
    primary_sampler: str
    primary_scheduler: str
    primary_steps: int
    primary_cfg_scale: float
    _: dataclasses.KW_ONLY
    schema: int = SCHEMA
    status: str = "completed"
    error: str | None = None
    name: str = ""
    plan_id: str | None = None
    plan_seed: int | None = None
    part: int = 1
    parts: int = 1
    first_variant: int = 0
    outputs: tuple[ImageOutput, ...] = ()
    failures: tuple[VariantFailure, ...] = ()
    warnings: tuple[str, ...] = ()
    backend: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    template: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    unknown: Mapping[str, Any] = field(default_factory=dict)
    digest: str | None = field(default=None, init=False, compare=False)

    def __post_init__(self) -> None:
        values = {name: getattr(self, name) for name in _FIELDS}
        form = _checked(plain_snapshot(values))
        unknown = plain_snapshot({k: v for k, v in self.unknown.items() if k not in _KNOWN})
        _fill(self, form, unknown)

    def __hash__(self) -> int:
        return hash((self.run_id, self.timestamp))

    def to_json(self) -> str:
        """Return the canonical JSON form: UTF-8 text, sorted keys, no NaN, with its digest.

        A record that was read gives back the text that it was read from, digest or no digest.
        """
        if self.digest is None:
            return self.to_document().decode()
        return self._encoded(self.digest).decode()

    def to_document(self) -> bytes:
        """Return what the record's file holds: the canonical JSON form with a digest of it."""
        text = self._encoded("")
        digest = hashlib.sha256(text).hexdigest()
        # The digest comes third, where no later field stands before it: no need to encode twice.
        head = _encoder.encode({"backend": self.backend, "base_config": self.base_config})
        place = len(head) - 1
        if text.startswith(_AFTER_DIGEST, place) and text.startswith(head[:-1]):
            return b'%b,"digest":"%b"%b' % (head[:-1], digest.encode(), text[place:])
        return self._encoded(digest)

    def _encoded(self, digest: str) -> bytes:
        form = _Form(*_field_values(self))
        form.digest = digest or UNSET
        form.plan = form.plan or UNSET
        if not self.unknown:
            return _encoder.encode(form)
        merged = {**msgspec.to_builtins(form), **self.unknown}
        if "outputs" in self.unknown:  # per-image fields of later schemas, kept in place
            merged["outputs"] = self.unknown["outputs"]
        return _encoder.encode(merged)

    @staticmethod
    def from_json(text: str | bytes) -> LearningRecord:
        """Read a record; fields of later schemas are kept in :attr:`unknown`.

        Raises:
            RecordError: *text* is not a record; the message says which field and why.
        """
        try:
            try:
                return _from_form(_decoder.decode(text), {})
            except (msgspec.ValidationError, UnicodeDecodeError):
                return _from_unfamiliar_json(text)
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            raise RecordError(f"a learning record must be JSON: {error}") from error
        except RecursionError as error:
            raise RecordError("a learning record must not nest that deep") from error

    @staticmethod
    def from_pipeline_context(
        base_config: Mapping[str, Any],
        variant_configs: Sequence[Mapping[str, Any]],
        randomizer_metadata: Mapping[str, Any] | object | None = None,
        knobs_metadata: Mapping[str, Any] | object | None = None,
        **fields: Any,
    ) -> LearningRecord:
        """Return the record of a run from what the pipeline knows about it.

        Args:
            base_config: Stage -> knobs before anything was varied.
            variant_configs: Stage -> effective knobs of each variant that ran.
            randomizer_metadata: ``mode`` and ``plan_size``, as a mapping or as the plan
                itself; without them the mode is ``off`` and the size the number of variants.
            knobs_metadata: ``model``, ``sampler``, ``scheduler``, ``steps``, ``cfg_scale``;
                what it leaves out is taken from the first variant, then the base config.
            **fields: Any other field of the record; ``run_id`` and ``timestamp`` are made
                when they are not given.

        Raises:
            RecordError: A field has a type that the record cannot hold.
            TypeError: A field is not one of the record's.
        """
        mode = _lookup(randomizer_metadata, "mode", "randomizer_mode")
        size = _lookup(randomizer_metadata, "plan_size", "randomizer_plan_size")
        stated = {
            name: _lookup(knobs_metadata, name, f"primary_{name}")
            for name in ("model", "sampler", "scheduler", "steps", "cfg_scale")
        }
        primary = primary_knobs([{"txt2img": stated}, *variant_configs[:1], base_config])
        fields.setdefault("run_id", new_run_id())
        fields.setdefault("timestamp", utc_timestamp())
        return LearningRecord(
            base_config=base_config,
            variant_configs=list(variant_configs),
            randomizer_mode="off" if mode is None else str(mode),
            randomizer_plan_size=len(variant_configs) if size is None else int(size),
            primary_model=primary.model,
            primary_sampler=primary.sampler,
            primary_scheduler=primary.scheduler,
            primary_steps=primary.steps,
            primary_cfg_scale=primary.cfg_scale,
            **fields,
        )


def new_run_id() -> str:
    """Return a run id that no other process will draw: 16 hex digits."""
    return uuid.uuid4().hex[:16]


def _lookup(source: Mapping[str, Any] | object | None, *names: str) -> Any:
    for name in names:
        value = source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
        if value is not None:
            return value
    return None


# -- reading ---------------------------------------------------------------------------


def _from_form(form: _Form, unknown: Mapping[str, Any]) -> LearningRecord:
    """Build a record without taking a second snapshot: the form is already ours and plain."""
    record = object.__new__(LearningRecord)
    _fill(record, form, unknown)
    object.__setattr__(record, "digest", form.digest or "")
    return record


def _fill(record: LearningRecord, form: _Form, unknown: Mapping[str, Any]) -> None:
    for name, value in zip(_FIELDS, _field_values(form), strict=True):
        object.__setattr__(record, name, value)
    if form.plan is UNSET:
        object.__setattr__(record, "plan", {})
    object.__setattr__(record, "digest", None)
    object.__setattr__(record, "unknown", unknown)


def _checked(values: Mapping[str, Any]) -> _Form:
    try:
        return msgspec.convert(values, _Form)
    except msgspec.ValidationError as error:
        raise RecordError(f"not a learning record: {error}") from error


def _from_unfamiliar_json(text: str | bytes) -> LearningRecord:
    try:
        data = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordError(f"a learning record must be JSON: {error}") from error
    if not isinstance(data, dict):
        raise RecordError(f"a learning record must be a JSON object, got {type(data).__name__}")
    unknown = {key: value for key, value in data.items() if key not in _KNOWN}
    known = {key: value for key, value in data.items() if key in _KNOWN}
    for name, entry in (("outputs", ImageOutput), ("failures", VariantFailure)):
        stripped = _strip_unknown(known.get(name), entry)
        if stripped is not None:
            unknown[name] = known[name]
            known[name] = stripped
    return _from_form(_checked(known), unknown)


def read_document(document: str | bytes) -> LearningRecord:
    """Read and check a record that is in a file or a pack.

    Raises:
        RecordError: *document* is not a record, or not what its digest was made of.
    """
    record = LearningRecord.from_json(document)
    check_digest(document, record.digest)
    return record


def check_digest(document: str | bytes, digest: str | None) -> bool:
    """Check that *document*, the text of a record, is what its *digest* was made of.

    Returns:
        Whether it could be checked. Nothing can be said about a text of an earlier version, which
        has no digest, and about one that another program has written anew.

    Raises:
        RecordError: It is not.
    """
    text = document if isinstance(document, bytes) else document.encode()
    if digest:
        part = b'"digest":"%b",' % digest.encode()
        if text.count(part) == 1:
            actual = hashlib.sha256(text.replace(part, b"", 1)).hexdigest()
            if actual == digest:
                return True
        if sum(a != b for a, b in zip(text, _BEGINNING, strict=False)) > _FEW:
            return False
    elif _NEARLY_DIGEST.search(text) is None:
        return False
    raise RecordError(
        "is damaged or was edited: its digest is that of another text; who edited it takes the"
        " digest out"
    )


_BEGINNING = b'{"backend":{'
"""How every text of ours begins: another program's JSON has other blanks, or another order."""

_FEW = 2
"""Bytes of it that may be damaged."""

_NEARLY_DIGEST = re.compile(rb'"(.igest|d.gest|di.est|dig.st|dige.t|diges.)":"[0-9a-f]{64}"')
"""One bit of the name is enough to hide the digest."""


def _strip_unknown(entries: Any, entry: type[msgspec.Struct]) -> list[Any] | None:
    """Return *entries* without the keys that *entry* lacks, or None when there are none."""
    if not isinstance(entries, list) or not all(isinstance(item, dict) for item in entries):
        return None
    names = set(entry.__struct_fields__)
    if all(item.keys() <= names for item in entries):
        return None
    return [{k: v for k, v in item.items() if k in names} for item in entries]


def read_record(path: Path) -> LearningRecord:
    """Read one record file.

    Raises:
        RecordError: It is missing, unreadable or no record; the file is left as it is.
    """
    try:
        return read_document(read_regular_file(path))
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error}") from error
    except RecordError as error:
        raise RecordError(f"{path}: {error}") from error


def read_records(folder: Path) -> Iterator[LearningRecord]:
    """Yield every record in *folder*, oldest first; broken files are logged and passed over."""
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return
    for name in names:
        if name.endswith(".json") and not name.startswith("."):
            try:
                yield read_record(folder / name)
            except RecordError as error:
                _log.warning("passed over: %s", error)


# -- writing ---------------------------------------------------------------------------


class LearningRecordWriter:
    """Writes each record as a file of its own, whole or not at all, and never raises.

    A record that cannot be written is logged once with its cause, counted in
    :attr:`failures`, kept in memory, and tried again with the next write and at
    :meth:`close`. Any number of threads, processes and machines may write to one folder.

    Attributes:
        base_dir: The folder; made when the first record comes. It is for its owner alone, unless
            it is below *root*, an archive that may be shared: then it takes after its parent.
        failures: Records whose first write failed, also those that got through later.
    """

    def __init__(self, base_dir: Path | str, *, root: Path | None = None) -> None:
        self.base_dir = Path(base_dir)
        self._root = root
        self.failures = 0
        self._pending: list[tuple[LearningRecord, str]] = []
        self._lock = threading.Lock()

    @property
    def pending(self) -> tuple[LearningRecord, ...]:
        """Records that are still only in memory."""
        return tuple(record for record, _ in self._pending)

    def write(self, record: LearningRecord) -> None:
        """Write *record* to disk, and those that failed before. Never raises."""
        with self._lock:
            if self._pending:
                self._retry()
            stem = _stem_of(record)
            if not self._try(record, stem, first=True):
                self._pending.append((record, stem))

    def close(self) -> None:
        """Try once more what is still in memory. Never raises; closing twice is harmless."""
        with self._lock:
            self._retry()
            if count := len(self._pending):
                _log.error(
                    "%s could not be written to %s and will be lost with this process, unless a"
                    " run's journal holds them: %s",
                    "1 learning record" if count == 1 else f"{count:,} learning records",
                    self.base_dir,
                    ", ".join(str(getattr(record, "run_id", record)) for record in self.pending),
                )

    def _retry(self) -> None:
        self._pending = [
            attempt for attempt in self._pending if not self._try(*attempt, first=False)
        ]

    def _try(self, record: LearningRecord, stem: str, *, first: bool) -> bool:
        try:
            data = record.to_document()
            try:
                write_new_file(self.base_dir, stem, ".json", data)
            except FileNotFoundError:
                make_folder(self.base_dir, root=self._root)
                write_new_file(self.base_dir, stem, ".json", data)
        except Exception as error:  # noqa: BLE001 - recording must never break a run
            if first:
                self.failures += 1
                _log.warning(
                    "learning record %s is not written yet, the run goes on: %s",
                    getattr(record, "run_id", "?"),
                    error,
                )
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


def _stem_of(record: LearningRecord) -> str:
    """Return the name of the record's file; it is chosen once, however often it is tried."""
    try:
        stem = record_stem(record.timestamp, record.run_id)
        if as_utc(record.timestamp) is None:
            _log.warning(
                "the timestamp of record %s is no ISO 8601 time: %.100r; it is kept as it is, and"
                " the record is sorted by when it was written",
                record.run_id,
                record.timestamp,
            )
    except Exception:  # noqa: BLE001 - writing it will say what is wrong
        return ""
    return stem


_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9_.-]")


def record_stem(timestamp: str, run_id: str) -> str:
    """Return the name of a record's file without ``.json``: sortable, safe on every disk.

    It begins with the digits of *timestamp*, in UTC; of this moment where that is no time.
    """
    moment = compact(as_utc(timestamp) or utc_timestamp())
    return _NOT_IN_NAME.sub("-", f"{moment}_{run_id}")[:200]
