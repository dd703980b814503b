"""columns: what of a record is always asked for, as rows of flat tables.

One table, :data:`TABLES`, says which columns there are; packing, queries, the filter language
and the documentation all read it. A column is added at the end; packs that lack it are answered
from their documents until their tables are made anew.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from safelight.archive.run_copies import (
    IMPORTED,
    NOT_READ,
    Rank,
    ReadingNumber,
    number_of_reading,
    rank_of,
)
from safelight.errors import RecordError
from safelight.knobs import FILE_KNOBS, KNOBS, STAGES, knobs_and_extras
from safelight.learning.learning_record import check_digest
from safelight.recorded_settings import (
    LORA_TAGS,
    Setting,
    earlier_setting,
    extra_settings,
    lora_settings,
)
from safelight.timestamps import as_utc, utc_timestamp

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "DOUBTS",
    "INTERNAL",
    "LORAS",
    "OF_THE_RUN",
    "PLACED",
    "RATINGS",
    "ROWS",
    "TABLES",
    "Batch",
    "Decoded",
    "Run",
    "as_one_picture",
    "columns_of",
    "decoded",
    "numpy_columns",
    "run_of",
]

_RUNS = {
    "run_id": "VARCHAR", "timestamp": "VARCHAR", "name": "VARCHAR", "status": "VARCHAR",
    "backend": "VARCHAR", "backend_version": "VARCHAR", "mode": "VARCHAR",
    "plan_size": "BIGINT", "plan_id": "VARCHAR", "part": "BIGINT", "parts": "BIGINT",
    "model": "VARCHAR", "sampler": "VARCHAR", "scheduler": "VARCHAR", "steps": "BIGINT",
    "cfg_scale": "DOUBLE", "prompt": "VARCHAR", "variants": "BIGINT", "pictures": "BIGINT",
    "failures": "BIGINT", "warnings": "BIGINT", "seconds": "DOUBLE", "error": "VARCHAR",
    "stated_time": "VARCHAR", "digest": "VARCHAR", "reader": "BIGINT", "reading": "BIGINT",
    "picture_key": "UBIGINT",
}  # fmt: skip

ROWS = 3
"""Raised when a column comes to hold something else, or a setting becomes a row otherwise."""

_KINDS: Mapping[str, str] = {"text": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE"}
_OF_PICTURES = frozenset({"seed", "width", "height"})
"""Knobs whose column tells of the picture what came of them."""

_KNOBS = tuple(
    knob.name for knob in KNOBS.values() if knob.has_column and knob.name not in _OF_PICTURES
)

DOUBTS = ("defaulted", "unresolved", "conflicting")
"""Columns of ``images`` that list knobs by how an import learned them, with commas between."""

_IMAGES = {
    "run_id": "VARCHAR", "place": "BIGINT", "timestamp": "VARCHAR", "variant": "BIGINT",
    "stage": "VARCHAR", "path": "VARCHAR", "sha256": "VARCHAR", "pixel_sha256": "VARCHAR",
    "parent": "VARCHAR", "width": "BIGINT", "height": "BIGINT", "seed": "UBIGINT",
    "seconds": "DOUBLE", "mismatches": "BIGINT", "backend": "VARCHAR", "status": "VARCHAR",
    "name": "VARCHAR", **{name: _KINDS[KNOBS[name].kind] for name in _KNOBS},
    "prompt_id": "BIGINT", "identity": "VARCHAR", "drawn_by": "VARCHAR",
    "outcome": "VARCHAR", **dict.fromkeys(DOUBTS, "VARCHAR"),
    "image_sha256": "VARCHAR", "gone": "BOOLEAN",
}  # fmt: skip

_SETTINGS = {
    "run_id": "VARCHAR", "place": "BIGINT", "stage": "VARCHAR", "name": "VARCHAR",
    "number": "DOUBLE", "text": "VARCHAR",
}  # fmt: skip

LORAS: Mapping[str, str] = {
    "run_id": "VARCHAR", "place": "BIGINT", "name": "VARCHAR", "weight": "DOUBLE"
}  # fmt: skip
"""Columns of the view of LoRAs, which are settings."""

_PROMPTS = {"prompt_id": "BIGINT", "lower_prompt": "VARCHAR"}

_DOCUMENTS = {"run_id": "VARCHAR", "json": "VARCHAR"}

TABLES: Mapping[str, Mapping[str, str]] = {
    "runs": _RUNS, "images": _IMAGES, "settings": _SETTINGS, "prompts": _PROMPTS,
    "documents": _DOCUMENTS,
}  # fmt: skip
"""Table -> column -> SQL type.

``settings`` holds what is recorded of a picture beside knobs (:mod:`.recorded_settings`), a row
for each. ``prompts`` holds each prompt of a pack once, in lower case: pictures share prompts, and
a word is looked for in each of them once. ``documents`` holds each record's canonical JSON text.
"""

OF_THE_RUN = frozenset({"run_id", "place", "variant", "name", "status"})
"""Columns of ``images`` that a picture which is used again has another value of in each run."""

INTERNAL = frozenset({"prompt_id", "lower_prompt", "digest", "picture_key"})
"""Columns that only serve searching, and telling copies apart; the views do not show them."""

PLACED: Mapping[str, str] = {"discarded": "BOOLEAN"}
"""What the view ``images`` adds of where files are; true for those that are in the trash, or were
before it was emptied, NULL for all others."""

RATINGS: Mapping[str, str] = {
    "stars": "DOUBLE", "favourite": "BOOLEAN", "rejected": "BOOLEAN", "tags": "VARCHAR",
    "notes": "VARCHAR", "picks_won": "BIGINT", "picks_lost": "BIGINT", "album": "VARCHAR",
}  # fmt: skip
"""What the view ``images`` adds of ratings: column -> SQL type; NULL where nobody said anything.

``album`` has the names of all albums that a picture is in, with ``; `` between them.
"""

_TEXTS = frozenset(name for name in _KNOBS if _IMAGES[name] == "VARCHAR")


_KNOB_KINDS = tuple((name, str if name in _TEXTS else None) for name in _KNOBS)


class _Output(msgspec.Struct, gc=False):
    variant: int
    stage: str
    sha256: str
    pixel_sha256: str
    width: int
    height: int
    path: str | None = None
    seed: int | None = None
    seconds: float = 0.0
    mismatches: list[msgspec.Raw] = []
    parent: str | None = None


class _About(msgspec.Struct, gc=False):
    identity: str | None = None
    drawn_by: str | None = None


class _Template(msgspec.Struct, gc=False):
    variants: list[_About] = []


class _Import(msgspec.Struct, gc=False):
    outcome: Any = None
    fields: Any = {}
    reader: Any = 0
    reading: Any = 0
    image_sha256: Any = None
    extra: dict[str, Any] = {}
    hashes: list[tuple[str, str]] = []
    loras: list[dict[str, Any]] = []


class _Metadata(msgspec.Struct, gc=False):
    imported: _Import = msgspec.field(name="import", default_factory=_Import)


class Decoded(msgspec.Struct, gc=False):
    """The fields that are asked for; the rest of a record is not even decoded."""

    run_id: str
    timestamp: str
    variant_configs: list[dict[str, dict[str, Any]]]
    randomizer_mode: str = ""
    randomizer_plan_size: int = 0
    primary_model: str = ""
    primary_sampler: str = ""
    primary_scheduler: str = ""
    primary_steps: int = 0
    primary_cfg_scale: float = 0.0
    schema: int = 1
    status: str = "completed"
    error: str | None = None
    name: str = ""
    plan_id: str | None = None
    part: int = 1
    parts: int = 1
    outputs: list[_Output] = []
    failures: list[msgspec.Raw] = []
    warnings: list[msgspec.Raw] = []
    backend: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    template: msgspec.Raw = msgspec.Raw(b"{}")
    metadata: msgspec.Raw = msgspec.Raw(b"{}")
    digest: str | None = None


class Run(NamedTuple):
    """What tells one record from another.

    Attributes:
        run_id: Of its run.
        timestamp: By which it is sorted.
        untimely: Whether that may be another one in another copy of the record: the time of an
            imported file, or of writing.
        status: How it ended.
        pictures: How many there are.
        digest: Of the record.
        reading: Which reading of its picture it is; see :func:`.run_copies.rank_of`.
        picture_key: Of an imported picture: eight bytes of what its image data and settings are.
    """

    run_id: str
    timestamp: str
    untimely: bool
    status: str
    pictures: int
    digest: str | None
    reading: ReadingNumber = NOT_READ
    picture_key: int | None = None

    @property
    def rank(self) -> Rank:
        """Of two records of one run the higher counts; see :func:`.run_copies.rank_of`."""
        return rank_of(self.status, self.pictures, self.digest, self.reading)


_PROMPT = _KNOBS.index("prompt")
_COUNTED, _STATED, _DIGEST = (
    list(_RUNS).index(name) for name in ("pictures", "stated_time", "digest")
)
_decoder = msgspec.json.Decoder(Decoded)
_template_decoder = msgspec.json.Decoder(_Template)
_metadata_decoder = msgspec.json.Decoder(_Metadata)

Row = tuple[Any, ...]

_DRAWS = {
    "draw": "BIGINT", **{name: _IMAGES[name] for name in ("timestamp", "run_id", "backend",
    "status", "name", *_KNOBS, "prompt_id", "identity", "drawn_by", "outcome", *DOUBTS)},
}  # fmt: skip
_PICTURES = {
    "draw": "BIGINT", **{name: _IMAGES[name] for name in ("place", "variant", "stage", "path",
    "sha256", "pixel_sha256", "parent", "width", "height", "seed", "seconds", "mismatches",
    "image_sha256", "gone")},
}  # fmt: skip
_IMAGES_OF_BATCH = (
    "SELECT "
    + ", ".join(f'{"p" if name in _PICTURES else "d"}."{name}"' for name in _IMAGES)
    + " FROM batch_pictures p JOIN batch_draws d ON d.draw = p.draw"
)


_DRAW_SETTINGS = {"draw": "BIGINT", **{
    name: kind for name, kind in _SETTINGS.items() if name not in ("run_id", "place")
}}  # fmt: skip
_SETTINGS_OF_BATCH = (
    "SELECT d.run_id, p.place, s.stage, s.name, s.number, s.text FROM batch_draw_settings s"
    " JOIN batch_pictures p ON p.draw = s.draw JOIN batch_draws d ON d.draw = s.draw"
)


def run_of(record: Decoded, written: Callable[[], str] = utc_timestamp) -> Run:
    """Return what tells *record* from others; arguments as those of :meth:`Batch.add`."""
    timestamp = as_utc(record.timestamp)
    untimely = timestamp is None or record.status == IMPORTED
    imported = _imported(record)
    return Run(
        record.run_id, timestamp or written(), untimely, record.status, len(record.outputs),
        record.digest, number_of_reading(imported.reader, imported.reading),
        _picture_key(record, imported),
    )  # fmt: skip


def decoded(document: bytes) -> Decoded:
    """Return what is asked for of one record, checked against its digest.

    Args:
        document: The record's file.

    Raises:
        RecordError: It is no record, or not as it was written.
    """
    try:
        record = _decoder.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordError(f"is no learning record: {error}") from error
    except RecursionError as error:
        raise RecordError("is no learning record: it nests too deep") from error
    check_digest(document, record.digest)
    return record


def as_one_picture(record: Decoded) -> Decoded:
    """Return *record*, of an execution without pictures, as though one had been imported of it."""
    config = record.variant_configs[0] if record.variant_configs else {}
    stage = next((stage for stage in reversed(STAGES) if stage in config), STAGES[0])
    own = config.get(stage)
    knobs = own if isinstance(own, Mapping) else _NONE
    width, height, seed = (
        value if type(value := knobs.get(name)) is int else None
        for name in ("width", "height", "seed")
    )
    output = _Output(
        variant=0, stage=stage, sha256="", pixel_sha256="", width=width or 0, height=height or 0,
        seed=seed,
    )  # fmt: skip
    return msgspec.structs.replace(record, status=IMPORTED, outputs=[output])


class Batch:
    """Some records taken apart into rows, to become tables of a database.

    Of several records of one run the one that counts is there (:func:`.run_copies.rank_of`), of
    equal ones the first.

    Attributes:
        doubled: Runs that have several, but for imported pictures.
        older_readings: How many records of imported pictures are not there.

    Args:
        first_prompt_id: The prompts are numbered from here on; an id is unique in an archive.
    """

    def __init__(self, first_prompt_id: int = 0) -> None:
        self._first_prompt_id = first_prompt_id
        self.doubled: set[str] = set()
        self.older_readings = 0
        self._ranks: dict[str, Rank] = {}
        self._at: dict[str, list[range]] = {}
        self._superseded: list[list[range]] = []
        self._prompts: dict[str, int] = {}
        self._runs: list[Row] = []
        self._draws: list[Row] = []
        self._pictures: list[Row] = []
        self._settings: list[Row] = []
        self._setting_count: Counter[str] = Counter()
        self._next_draw = 0

    @property
    def runs(self) -> tuple[Run, ...]:
        """What tells the records apart."""
        self._settle()
        return tuple(
            Run(
                row[0],
                row[1],
                row[3] == IMPORTED or row[_STATED] is not None,
                row[3],
                row[_COUNTED],
                row[_DIGEST],
                (row[_DIGEST + 1], row[_DIGEST + 2]),
                row[_DIGEST + 3],
            )
            for row in self._runs
        )

    def sizes(self) -> dict[str, int]:
        """Return table -> how many rows it has."""
        self._settle()
        return {
            "runs": len(self._runs), "images": len(self._pictures),
            "settings": self._setting_count.total(), "prompts": len(self._prompts),
            "documents": len(self._runs),
        }  # fmt: skip

    def add(
        self,
        record: Decoded,
        written: Callable[[], str] = utc_timestamp,
        *,
        behind: tuple[int, int] = (0, 0),
    ) -> None:
        """Add one record.

        Args:
            record: What is asked for of it.
            written: Tells when it was written, which it is sorted by when its own timestamp is
                no time.
            behind: How many pictures and variants its run has before those of *record*.
        """
        imported = _imported(record)
        reading = number_of_reading(imported.reader, imported.reading)
        rank = rank_of(record.status, len(record.outputs), record.digest, reading)
        known = self._ranks.get(record.run_id)
        if known is not None:
            if record.status != IMPORTED:
                self.doubled.add(record.run_id)
            self.older_readings += record.status == IMPORTED and rank != known
            if rank <= known:
                return
            self._superseded.append(self._at[record.run_id])
            del self._setting_count[record.run_id]
        self._ranks[record.run_id] = rank
        before = [len(rows) for rows in self._tables()]
        timestamp, stated = as_utc(record.timestamp), None
        if timestamp is None:
            timestamp, stated = written(), record.timestamp
        configs = record.variant_configs
        first = _text(_drawn(configs[0])[0].get("prompt")) if configs else None
        backend, version = (_text(record.backend.get(key)) for key in ("name", "version"))
        self._runs.append((
            record.run_id, timestamp, record.name, record.status, backend, version,
            record.randomizer_mode, record.randomizer_plan_size, record.plan_id, record.part,
            record.parts, record.primary_model, record.primary_sampler, record.primary_scheduler,
            record.primary_steps, record.primary_cfg_scale, first, len(configs),
            len(record.outputs), len(record.failures), len(record.warnings),
            sum(record.seconds.values()), record.error, stated, record.digest, *reading,
            _picture_key(record, imported),
        ))  # fmt: skip
        # What the pictures of one variant and stage share is told once, and joined to them.
        about = _variants(record.template)
        image, leftover = _image_sha256(imported), _leftover(imported)
        draws: dict[tuple[int, str], tuple[int, int]] = {}
        for place, output in enumerate(record.outputs):
            drawn = draws.get((output.variant, output.stage))
            if drawn is None:
                config, settings = _drawn_with(configs, output, leftover)
                knobs = _knobs_of(config)
                prompt = knobs[_PROMPT]
                self._settings += [(self._next_draw, *setting) for setting in settings]
                drawn = self._next_draw, len(settings)
                draws[output.variant, output.stage] = drawn
                own = about[output.variant] if 0 <= output.variant < len(about) else _NOTHING
                self._draws.append((
                    self._next_draw, timestamp, record.run_id, backend, record.status,
                    record.name, *knobs, None if prompt is None else self._prompt_id(prompt),
                    own.identity, own.drawn_by, *_learned(imported, output.stage),
                ))  # fmt: skip
                self._next_draw += 1
            draw, setting_count = drawn
            self._setting_count[record.run_id] += setting_count
            self._pictures.append((
                draw, behind[0] + place, behind[1] + output.variant, output.stage, output.path,
                output.sha256, output.pixel_sha256 or None, output.parent, output.width,
                output.height, output.seed, output.seconds, len(output.mismatches), image, None,
            ))  # fmt: skip
        self._at[record.run_id] = [
            range(start, len(rows)) for start, rows in zip(before, self._tables(), strict=True)
        ]

    def _tables(self) -> tuple[list[Row], ...]:
        return self._runs, self._draws, self._pictures, self._settings

    def _settle(self) -> None:
        """Take out the rows of records that better ones came after, all at once."""
        if not self._superseded:
            return
        for number, rows in enumerate(self._tables()):
            gone = {place for ranges in self._superseded for place in ranges[number]}
            starts = list(
                itertools.accumulate((n not in gone for n in range(len(rows))), initial=0)
            )
            rows[:] = [row for place, row in enumerate(rows) if place not in gone]
            for ranges in self._at.values():
                ranges[number] = range(starts[ranges[number].start], starts[ranges[number].stop])
        self._superseded.clear()

    def sort(self) -> None:
        """Put the records in the order of their times, then their runs; no more may follow."""
        self._settle()
        ordered = sorted(self._runs, key=lambda run: (run[1], run[0]))
        if ordered == self._runs:
            return
        self._runs = ordered
        of_run = {run[0]: place for place, run in enumerate(ordered)}
        of_draw = {draw[0]: of_run[draw[2]] for draw in self._draws}
        # A join walks whichever side is larger.
        self._draws.sort(key=lambda draw: of_draw[draw[0]])
        self._pictures.sort(key=lambda picture: of_draw[picture[0]])
        self._settings.sort(key=lambda setting: of_draw[setting[0]])

    def _prompt_id(self, prompt: str) -> int:
        return self._prompts.setdefault(prompt.lower(), self._first_prompt_id + len(self._prompts))

    def create_tables(
        self, connection: duckdb.DuckDBPyConnection, *, read_once: bool = False
    ) -> None:
        """Create ``batch_TABLE`` for each of :data:`TABLES` but the documents.

        Args:
            connection: The database.
            read_once: Hand over the columns as they are, for who reads them once and casts them.
        """
        self._settle()
        prompts = [(number, text) for text, number in self._prompts.items()]
        for name, kinds, columns in (
            ("runs", _RUNS, columns_of(self._runs)), ("draws", _DRAWS, columns_of(self._draws)),
            ("pictures", _PICTURES, columns_of(self._pictures)),
            ("draw_settings", _DRAW_SETTINGS, columns_of(self._settings)),
            ("prompts", _PROMPTS, columns_of(prompts)),
        ):  # fmt: skip
            if read_once:
                connection.register(f"batch_{name}", numpy_columns(kinds, columns))
                continue
            if not columns or not columns[0]:  # most questions: everything is packed
                named = ", ".join(f'"{n}" {kind}' for n, kind in kinds.items())
                connection.execute(f"CREATE TABLE batch_{name} ({named})")
                continue
            connection.register("given", numpy_columns(kinds, columns))
            casts = ", ".join(f'CAST("{n}" AS {kind}) AS "{n}"' for n, kind in kinds.items())
            connection.execute(f"CREATE TABLE batch_{name} AS SELECT {casts} FROM given")
            connection.unregister("given")
        kind = "VIEW" if read_once else "TABLE"
        connection.execute(f"CREATE {kind} batch_images AS {_IMAGES_OF_BATCH}")
        connection.execute(f"CREATE {kind} batch_settings AS {_SETTINGS_OF_BATCH}")


_NUMBERS = {"BIGINT": "int64", "UBIGINT": "uint64", "DOUBLE": "float64", "BOOLEAN": "bool"}


def columns_of(rows: Sequence[Row]) -> list[Sequence[Any]]:
    """Return the columns of *rows*; none when there are no rows."""
    return list(zip(*rows, strict=True))


def numpy_columns(kinds: Mapping[str, str], columns: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Return column -> numpy array, for DuckDB to read as a table.

    Args:
        kinds: Column -> SQL type. Whole numbers that it cannot hold become missing.
        columns: The values of each, None where one is missing; without any, there are no rows.
    """
    import numpy as np

    arrays: dict[str, Any] = {}
    for (name, kind), column in zip(kinds.items(), columns or [()] * len(kinds), strict=True):
        number = _NUMBERS.get(kind)
        if number is None or (number == "bool" and None in column):  # DuckDB overlooks its mask
            arrays[name] = np.fromiter(column, object, len(column))
            continue
        try:
            arrays[name] = np.fromiter(column, number, len(column))
        except (TypeError, OverflowError):  # something is missing, or too large
            arrays[name] = _masked(column, kind)
    return arrays


def _masked(column: Sequence[Any], kind: str) -> Any:
    import numpy as np

    rows = len(column)
    if column.count(None) == rows:  # most knobs of most batches
        return np.ma.masked_array(np.zeros(rows, _NUMBERS[kind]), mask=True)
    fits = [_fits(value, kind) for value in column]
    filled = (value if fit else 0 for value, fit in zip(column, fits, strict=True))
    return np.ma.masked_array(np.fromiter(filled, _NUMBERS[kind], rows), [not fit for fit in fits])


def _fits(value: Any, kind: str) -> bool:
    if value is None or kind not in ("BIGINT", "UBIGINT"):
        return value is not None
    return bool(0 <= value < 2**64 if kind == "UBIGINT" else -(2**63) <= value < 2**63)


_NOTHING = _About()
_NOT_IMPORTED = _Import()
_SHA256 = re.compile(r"[0-9a-f]{64}")
_settings_encoder = msgspec.json.Encoder(order="sorted")
_NONE: Mapping[str, Any] = {}
_OWN_BOOKS = ("enabled", "loras", LORA_TAGS)
_NO_SETTINGS = frozenset({"extra", *_OWN_BOOKS})
_ONLY_KNOBS = frozenset({*KNOBS, *_OWN_BOOKS}.difference(FILE_KNOBS))


def _variants(template: msgspec.Raw) -> list[_About]:
    """Return what a record says of each variant; nothing for records that say none."""
    if b'"identity"' not in bytes(template):
        return []
    try:
        return _template_decoder.decode(template).variants
    except (msgspec.DecodeError, RecursionError):
        return []  # somebody else's template


def _imported(record: Decoded) -> _Import:
    """Return what an import says of its picture; nothing for other records."""
    if record.status != IMPORTED:
        return _NOT_IMPORTED
    try:
        return _metadata_decoder.decode(record.metadata).imported
    except (msgspec.DecodeError, RecursionError):
        return _NOT_IMPORTED  # somebody else's metadata


def _learned(read: _Import, stage: str) -> Row:
    """Return the outcome of a reading, and the knobs of each of ``DOUBTS``.

    A knob has the status of the last stage up to *stage* that states it, as it has its value.
    """
    learned: dict[str, str] = {}
    fields = read.fields if isinstance(read.fields, dict) else {}
    for owner in STAGES[: STAGES.index(stage) + 1] if stage in STAGES else (stage,):
        for path, status in fields.items():
            own, _, knob = path.partition(".")
            if own == owner and isinstance(status, str):
                learned[knob] = status
    doubts = (sorted(knob for knob, own in learned.items() if own == doubt) for doubt in DOUBTS)
    return (_text(read.outcome), *(", ".join(knobs) or None for knobs in doubts))


def _leftover(read: _Import) -> Mapping[str, Any]:
    """Return what an import read and no knob stands for."""
    more: dict[str, Any] = {}
    if read.hashes:
        more["Model hash"] = ", ".join(f"{kind} {value}" for kind, value in read.hashes)
    if hashes := {str(x.get("name")): x["hash"] for x in read.loras if x.get("hash")}:
        more["Lora hashes"] = ", ".join(f"{name}: {value}" for name, value in hashes.items())
    return {**more, **read.extra}


def _image_sha256(imported: _Import) -> str | None:
    image = imported.image_sha256
    return image if isinstance(image, str) and _SHA256.fullmatch(image) else None


def _picture_key(record: Decoded, imported: _Import) -> int | None:
    """Return what is the same for all records of a picture, wherever it lies; None if unknown.

    Eight bytes of a hash: of ten million pictures two would share one by chance in one archive of
    four hundred thousand.
    """
    image = _image_sha256(imported)
    if image is None:
        return None
    said = _settings_encoder.encode([image, record.variant_configs])
    return int.from_bytes(hashlib.sha256(said).digest()[:8], "big")


def _drawn_with(
    configs: Sequence[Mapping[str, Any]], output: _Output, imported: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Setting]]:
    """Return the effective knobs that led to a picture, and its other settings."""
    if 0 <= output.variant < len(configs):
        return _drawn(configs[output.variant], output.stage, imported)
    return {}, []


def _drawn(
    config: Mapping[str, Any], last: str = "upscale", imported: Mapping[str, Any] = _NONE
) -> tuple[dict[str, Any], list[Setting]]:
    """Return the knobs that led to a picture of stage *last*, later stages over earlier ones.

    With them come the other settings of all its stages.
    """
    knobs: dict[str, Any] = {}
    settings: list[Setting] = []
    stated: dict[str, str] = {}
    drawing, named, tags = last, None, None
    if imported:
        own = config.get(last)
        own = own if isinstance(own, Mapping) else _NONE
        extra = own.get("extra")
        config = {
            **config,
            last: {**own, "extra": {**imported, **(extra if isinstance(extra, Mapping) else {})}},
        }
    for stage in STAGES:
        own = config.get(stage)
        if isinstance(own, Mapping):
            mine, extras = knobs_and_extras(own)
            for knob, value in mine.items():
                if knob in stated and knobs[knob] != value:
                    settings += earlier_setting(stated[knob], knob, knobs[knob])
                stated[knob] = stage
            knobs.update(mine)
            settings += extra_settings(stage, {**extras, **_beside(own)})
            if "prompt" in mine or "loras" in own:
                drawing, named, tags = stage, own.get("loras"), own.get(LORA_TAGS)
        if stage == last:
            break
    settings += lora_settings(drawing, knobs.get("prompt"), named, tags)
    return knobs, settings


def _beside(own: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a stage has that is no knob, and the files that it began with."""
    if own.keys() <= _ONLY_KNOBS:
        return {}
    rest = {name: own[name] for name in own if name not in KNOBS and name not in _NO_SETTINGS}
    rest |= {name: own[name] for name in FILE_KNOBS if name in own}
    extra = own.get("extra")
    return rest if extra is None or isinstance(extra, Mapping) else {**rest, "extra": extra}


def _knobs_of(config: Mapping[str, Any]) -> Row:
    """Return the value of each of ``_KNOBS``; most are texts or not there, and need no look."""
    get = config.get
    return tuple([
        value if (value := get(name)) is None or type(value) is kind else _plain(name, value)
        for name, kind in _KNOB_KINDS
    ])  # fmt: skip


def _plain(name: str, value: Any) -> Any:
    """Return *value* when it is of its column's kind; what an engine invented stays out."""
    if name in _TEXTS:
        return _text(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) >= 2**63:
        return None
    return round(value) if _IMAGES[name] == "BIGINT" else value


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
