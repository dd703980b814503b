"""InvokeAI's queue: what failed or was cancelled there, of which no picture tells.

Its database (``databases/invokeai.db``) is opened read-only and as it lies on the disk, so that
nothing is written beside it, not even a lock; what a running InvokeAI has not yet moved out of its
journal is not seen, and that is told. The table's columns say whether its form is a known one.

Source: ``invokeai/app/services/shared/sqlite_migrator`` and ``session_queue_common.py``, InvokeAI
3.4 to 6.14: one table since its first version, with one column for errors and, later, three.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safelight.archive import Archive
from safelight.errors import StorageError
from safelight.formats.bounded_json import json_object, json_value
from safelight.imports.imported_picture import READER
from safelight.imports.invokeai import read_invokeai
from safelight.imports.reading import Draft
from safelight.knobs import primary_knobs
from safelight.learning.learning_record import LearningRecord, VariantFailure
from safelight.timestamps import as_utc, utc_timestamp
from safelight.version import __version__

__all__ = ["QueueSummary", "import_queue"]

_NEEDED = ("item_id", "session_id", "batch_id", "queue_id", "session", "status", "field_values",
           "created_at", "started_at", "completed_at")  # fmt: skip
_ERRORS = (("error_type", "error_message", "error_traceback"), ("error",))
_ENDED = {"failed": "failed", "canceled": "cancelled"}
_OTHERS = frozenset({"pending", "in_progress", "completed", "waiting"})
_PRIMITIVES = frozenset({"string", "integer", "float"})

_MOST_ITEMS = 100_000
_LARGEST_SESSION, _LARGEST_VALUE = 8 * 2**20, 128 * 2**20
_MOST_STEPS, _STEPS_TOGETHER = 5_000, 100_000
_LONGEST_ERROR = 2000
_TOGETHER = 500


@dataclass(slots=True)
class QueueSummary:
    """What came of a queue.

    Attributes:
        failed: New records of what failed.
        cancelled: New records of what was cancelled.
        known: Failed and cancelled ones that the archive had.
        unread: Those of which nothing but the error could be read: no metadata in the graph.
        warnings: What was odd, one sentence each.
    """

    failed: int = 0
    cancelled: int = 0
    known: int = 0
    unread: int = 0
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "failed": self.failed, "cancelled": self.cancelled, "known": self.known,
            "unread": self.unread, "warnings": list(self.warnings),
        }  # fmt: skip


def import_queue(place: Path | str, archive: Archive) -> QueueSummary:
    """Write a record for each failed or cancelled item of InvokeAI's queue that is not there yet.

    Args:
        place: The database, or InvokeAI's folder.
        archive: Where the records go.

    Raises:
        StorageError: It is no database of a known form, or the archive cannot be written.
        ArchiveError: The archive cannot be read.
    """
    database = Path(place)
    if database.is_dir():
        database = database / "databases" / "invokeai.db"
    if not database.is_file():
        raise StorageError(f"{database} is no file; name InvokeAI's folder or its invokeai.db")
    summary = QueueSummary()
    journal = database.with_name(f"{database.name}-wal")
    if journal.is_file() and journal.stat().st_size:
        summary.warnings.append(
            f"{journal.name} holds what InvokeAI wrote last, which is not read; end InvokeAI first"
        )
    known = {row[0] for row in archive.query(view="runs", columns=["run_id"], limit=None).rows}
    waiting: list[LearningRecord] = []
    try:
        with closing(_opened(database)) as connection:
            for item in _items(connection, summary):
                record, read = _record(item)
                if record.run_id in known:
                    summary.known += 1
                    continue
                known.add(record.run_id)
                waiting.append(record)
                summary.failed += record.status == "failed"
                summary.cancelled += record.status == "cancelled"
                summary.unread += not read
                if len(waiting) == _TOGETHER:
                    _keep(archive, waiting)
    except sqlite3.Error as error:
        raise StorageError(f"{database} cannot be read as InvokeAI's database: {error}") from error
    _keep(archive, waiting)
    return summary


def _opened(database: Path) -> sqlite3.Connection:
    """Open a file of anyone: nothing is written, nothing in it is trusted, and work is counted."""
    connection = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    connection.row_factory = sqlite3.Row
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST_VALUE)
    rounds = iter(range(_MOST_STEPS))
    connection.set_progress_handler(lambda: next(rounds, None) is None, _STEPS_TOGETHER)
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA query_only=ON")
    return connection


def _items(connection: sqlite3.Connection, summary: QueueSummary) -> Iterator[dict[str, Any]]:
    """Yield what has ended badly, oldest first."""
    kind = connection.execute(
        "SELECT type FROM sqlite_master WHERE name = 'session_queue'"
    ).fetchone()
    columns = {row["name"] for row in connection.execute("PRAGMA table_info(session_queue)")}
    errors = next((names for names in _ERRORS if columns.issuperset(names)), None)
    missing = [name for name in _NEEDED if name not in columns]
    if kind is None or kind["type"] != "table" or missing or errors is None:
        lacking = ", ".join(missing) or "a column of errors that is known"
        raise StorageError(
            f"the table session_queue lacks {lacking}: no InvokeAI of 3.4 to 6.14 wrote"
            " that, and nothing of it was read"
        )
    for status, count in connection.execute(
        "SELECT status, count(*) FROM session_queue GROUP BY status LIMIT 100"
    ):
        if status not in _ENDED and status not in _OTHERS:
            told = str(status)[:40]
            summary.warnings.append(f"{count:,} items of status {told!r}, which is not known")
    wanted = ", ".join((*(name for name in _NEEDED if name != "session"), *errors))
    rows = connection.execute(
        f"SELECT {wanted}, iif(length(session) <= ?, session, '') AS session"  # noqa: S608
        " FROM session_queue WHERE status IN ('failed', 'canceled') ORDER BY item_id LIMIT ?",
        (_LARGEST_SESSION, _MOST_ITEMS),
    )  # fmt: skip
    for row in rows:
        yield dict(row)


def _record(item: Mapping[str, Any]) -> tuple[LearningRecord, bool]:
    """Return the record of an item, and whether its settings could be read."""
    metadata = _metadata(item)
    draft = Draft(generator="invokeai")
    if metadata:
        read_invokeai(draft, {"invokeai_metadata": json.dumps(metadata)})
    draft.name_extras()
    session = str(item["session_id"])
    config = {draft.stage: dict(draft.knobs)} if draft.knobs else {}
    if draft.loras and config:
        config[draft.stage]["loras"] = [{"name": x.name, "weight": x.weight} for x in draft.loras]
    status, primary = _ENDED[str(item["status"])], primary_knobs([config])
    error = _error(item) or ("it failed" if status == "failed" else "it was cancelled")
    notes: dict[str, Any] = {
        "reader": READER, "safelight": __version__, "outcome": draft.outcome(),
        "fields": draft.fields(), "native": draft.native, "extra": draft.extra,
        "raw": {"core_metadata": json.dumps(metadata, ensure_ascii=False)[:100_000]},
    }  # fmt: skip
    times = {key: as_utc(str(item[key] or "")) for key in
             ("created_at", "started_at", "completed_at")}  # fmt: skip
    about = {"session": session, "batch": str(item["batch_id"]), "queue": str(item["queue_id"])}
    record = LearningRecord(
        run_id=f"import-{hashlib.sha256(f'invokeai {session}'.encode()).hexdigest()[:40]}",
        timestamp=times["started_at"] or times["created_at"] or utc_timestamp(),
        base_config=config,
        variant_configs=[config],
        randomizer_mode="off",
        randomizer_plan_size=1,
        primary_model=primary.model,
        primary_sampler=primary.sampler,
        primary_scheduler=primary.scheduler,
        primary_steps=primary.steps,
        primary_cfg_scale=primary.cfg_scale,
        status=status,
        error=error,
        failures=(VariantFailure(variant=0, stage=draft.stage, error=error),),
        warnings=tuple(draft.warnings[:50]),
        backend={"name": "invokeai", "version": draft.extra.get("app_version", "")},
        metadata={
            "import": {key: value for key, value in notes.items() if value},
            "invokeai": {**about, **{key: value for key, value in times.items() if value}},
        },
    )
    return record, bool(config)


def _metadata(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the picture would have said: the graph's metadata node, with what leads to it."""
    graph = json_object(str(item["session"] or "")).get("graph")
    graph = graph if isinstance(graph, dict) else {}
    listed = graph.get("nodes")
    listed = listed if isinstance(listed, dict) else {}
    nodes = {key: dict(node) for key, node in listed.items() if isinstance(node, dict)}
    values = json_value(str(item["field_values"] or ""))
    for value in values if isinstance(values, list) else ():
        node = nodes.get(str(value.get("node_path"))) if isinstance(value, dict) else None
        if node is not None and isinstance(value.get("field_name"), str):
            node[value["field_name"]] = value.get("value")
    told = next((key for key, n in nodes.items() if n.get("type") == "core_metadata"), None)
    if told is None:
        return {}
    metadata = {k: v for k, v in nodes[told].items() if v is not None and k not in ("id", "type")}
    edges = graph.get("edges")
    for edge in edges if isinstance(edges, list) else ():
        source, target = (_end(edge, side) for side in ("source", "destination"))
        node = nodes.get(source[0], {})
        if target[0] == told and node.get("type") in _PRIMITIVES and source[1] == "value":
            metadata[target[1]] = node.get("value")
    return metadata


def _end(edge: object, side: str) -> tuple[str, str]:
    end = edge.get(side) if isinstance(edge, dict) else None
    end = end if isinstance(end, dict) else {}
    return str(end.get("node_id")), str(end.get("field"))


def _error(item: Mapping[str, Any]) -> str:
    if item.get("error_message"):
        text = f"{item.get('error_type') or 'error'}: {item['error_message']}"
    else:
        lines = str(item.get("error_traceback") or item.get("error") or "").strip().splitlines()
        text = lines[-1] if lines else ""
    return text[:_LONGEST_ERROR]


def _keep(archive: Archive, waiting: list[LearningRecord]) -> None:
    if not waiting:
        return
    with archive.writer() as writer:
        for record in waiting:
            writer.write(record)
        writer.close()
        if writer.pending:
            raise StorageError("records could not be written; see the log for the cause")
    waiting.clear()
