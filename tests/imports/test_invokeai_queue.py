from __future__ import annotations

import json
import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from safelight.archive import Archive
from safelight.cli import main
from safelight.errors import StorageError
from safelight.imports import invokeai_queue as module
from safelight.imports.invokeai_queue import import_queue

_COLUMNS = """item_id INTEGER PRIMARY KEY, batch_id TEXT, queue_id TEXT, session_id TEXT UNIQUE,
    field_values TEXT, session TEXT, status TEXT, priority INTEGER DEFAULT 0, created_at DATETIME,
    updated_at DATETIME, started_at DATETIME, completed_at DATETIME"""
_NEWER = f"{_COLUMNS}, error_type TEXT, error_message TEXT, error_traceback TEXT, workflow TEXT"
_OLDER = f"{_COLUMNS}, error TEXT"
_METADATA = {
    "id": "told", "type": "core_metadata", "generation_mode": "sdxl_txt2img",
    "negative_prompt": "fog", "width": 1024, "height": 1024, "steps": 30, "cfg_scale": 5.5,
    "scheduler": "euler", "app_version": "6.0.0",
    "model": {"name": "juggernaut", "hash": "blake3:ab"},
    "loras": [{"model": {"name": "ink"}, "weight": 0.75}], "clip_skip": None,
}  # fmt: skip
_NODES = {
    "told": _METADATA,
    "words": {"id": "words", "type": "string", "value": "a lighthouse,\nat night"},
    "seed": {"id": "seed", "type": "integer", "value": 0},
    "noise": {"id": "noise", "type": "noise", "value": 5},
}


def _edge(source: str, target: str) -> dict[str, Any]:
    return {"source": {"node_id": source, "field": "value"},
            "destination": {"node_id": "told", "field": target}}  # fmt: skip


_EDGES = [_edge("words", "positive_prompt"), _edge("seed", "seed"), _edge("noise", "steps")]
_SESSION = json.dumps({"id": "s", "graph": {"id": "g", "nodes": _NODES, "edges": _EDGES}})
_VALUES = json.dumps([{"node_path": "seed", "field_name": "value", "value": 4242}])


def _item(session_id: str, status: str = "failed", **other: Any) -> dict[str, Any]:
    return {
        "batch_id": "b", "queue_id": "default", "session_id": session_id, "status": status,
        "session": _SESSION, "field_values": _VALUES, "created_at": "2026-05-01 10:00:00.000",
        "started_at": "2026-05-01 10:05:00.250", "completed_at": "2026-05-01 10:06:00.000", **other,
    }  # fmt: skip


def _database(path: Path, *items: dict[str, Any], columns: str = _NEWER) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE session_queue ({columns})")
        for item in items:
            marks = ", ".join("?" * len(item))
            connection.execute(
                f"INSERT INTO session_queue ({', '.join(item)}) VALUES ({marks})",
                list(item.values()),
            )
        connection.commit()
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive")


@pytest.mark.parametrize(("columns", "error"), [
    (_NEWER, {"error_type": "OutOfMemoryError", "error_message": "CUDA out of memory",
              "error_traceback": "Traceback\n..."}),
    (_OLDER, {"error": "Traceback\n  line 1\nOutOfMemoryError: CUDA out of memory\n"}),
], ids=["newer", "older"])  # fmt: skip
def test_what_failed_becomes_a_record_without_pictures(
    tmp_path: Path, archive: Archive, columns: str, error: dict[str, str]
) -> None:
    database = _database(
        tmp_path / "databases" / "invokeai.db", _item("a", **error), _item("b", "canceled"),
        _item("c", "completed"), _item("d", "pending"), columns=columns,
    )  # fmt: skip
    before = database.read_bytes(), os.listdir(database.parent)
    summary = import_queue(tmp_path, archive)
    assert (summary.failed, summary.cancelled, summary.known, summary.warnings) == (1, 1, 0, [])
    runs = {row["status"]: row for row in archive.query(view="runs", limit=None).dicts()}
    assert runs.keys() == {"failed", "cancelled"}
    record = archive.record(str(runs["failed"]["run_id"]))
    assert record.error == "OutOfMemoryError: CUDA out of memory"
    assert (record.outputs, record.backend) == ((), {"name": "invokeai", "version": "6.0.0"})
    assert record.timestamp == "2026-05-01T10:05:00.250000Z"
    (config,) = record.variant_configs
    assert config["txt2img"]["prompt"] == "a lighthouse,\nat night"
    assert (config["txt2img"]["seed"], config["txt2img"]["steps"]) == (4242, 30)
    assert config["txt2img"]["model"] == "juggernaut"
    assert config["txt2img"]["loras"] == [{"name": "ink", "weight": 0.75}]
    assert record.metadata["invokeai"]["session"] == "a"
    assert record.failures[0].error == record.error
    assert (database.read_bytes(), os.listdir(database.parent)) == before, "nothing was written"


def test_a_queue_is_taken_in_once(tmp_path: Path, archive: Archive) -> None:
    database = _database(tmp_path / "invokeai.db", _item("a"), _item("b"))
    import_queue(database, archive)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE session_queue SET session_id = 'new' WHERE session_id = 'b'")
        connection.commit()
    summary = import_queue(database, archive)
    assert (summary.failed, summary.known) == (1, 1)


def test_what_a_running_invokeai_wrote_last_is_told(tmp_path: Path, archive: Archive) -> None:
    database = _database(tmp_path / "invokeai.db", _item("a"))
    (tmp_path / "invokeai.db-wal").write_bytes(b"something")
    (warning,) = import_queue(database, archive).warnings
    assert "end InvokeAI first" in warning
    assert (tmp_path / "invokeai.db-wal").read_bytes() == b"something"


def test_a_form_that_is_not_known_is_told_and_not_guessed(tmp_path: Path, archive: Archive) -> None:
    without = _database(tmp_path / "a.db", columns=_NEWER.replace("session_id TEXT UNIQUE,", ""))
    with pytest.raises(StorageError, match="lacks session_id"):
        import_queue(without, archive)
    with pytest.raises(StorageError, match="lacks a column of errors"):
        import_queue(_database(tmp_path / "b.db", columns=_COLUMNS), archive)
    view = tmp_path / "c.db"
    with closing(sqlite3.connect(view)) as connection:
        connection.execute(f"CREATE TABLE other ({_NEWER})")
        connection.execute("CREATE VIEW session_queue AS SELECT * FROM other")
    with pytest.raises(StorageError, match="nothing of it was read"):
        import_queue(view, archive)
    strange = _database(tmp_path / "d.db", _item("a"), _item("b", "on_holiday"))
    assert import_queue(strange, archive).warnings == [
        "1 items of status 'on_holiday', which is not known"
    ]


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + bytes(84)])
def test_no_database_is_refused(tmp_path: Path, archive: Archive, content: bytes) -> None:
    path = tmp_path / "invokeai.db"
    path.write_bytes(content)
    with pytest.raises(StorageError):
        import_queue(path, archive)
    with pytest.raises(StorageError, match="is no file"):
        import_queue(tmp_path / "nowhere", archive)


def test_a_graph_without_metadata_keeps_its_error(tmp_path: Path, archive: Archive) -> None:
    session = json.dumps({"graph": {"nodes": {}, "edges": []}})
    database = _database(tmp_path / "a.db", _item("a", session=session, error_message="no"))
    assert import_queue(database, archive).unread == 1
    (row,) = archive.query(view="runs", limit=None).dicts()
    assert archive.record(str(row["run_id"])).error == "error: no"


def test_whatever_a_queue_holds_stops_nobody(tmp_path: Path, archive: Archive) -> None:
    chance = random.Random(8)
    odd: tuple[Any, ...] = (
        None, "", "x", "[]", "[7]", '{"graph": 7}', '{"graph": {"nodes": [], "edges": 7}}',
        '{"graph": {"nodes": {"a": {"type": "core_metadata", "steps": [], "seed": {}}},'
        ' "edges": [7, {"source": 7}]}}', "[" * 5000, 7, b"\xff\xfe", '[{"node_path": "a"}]',
    )  # fmt: skip
    items = [
        _item(str(number), **{
            key: chance.choice(odd) for key in ("session", "field_values", "started_at",
                                                "created_at", "batch_id", "error_message")
        })
        for number in range(60)
    ]  # fmt: skip
    summary = import_queue(_database(tmp_path / "a.db", *items), archive)
    assert (summary.failed, len(list(archive.query(view="runs", limit=None).rows))) == (60, 60)


def test_a_column_that_is_computed_is_not_asked(tmp_path: Path, archive: Archive) -> None:
    """It can be anything, for any time."""
    endless = "session TEXT GENERATED ALWAYS AS (zeroblob(90000000)) VIRTUAL, status TEXT"
    columns = _NEWER.replace("session TEXT, status TEXT", endless)
    item = {key: value for key, value in _item("a").items() if key != "session"}
    with pytest.raises(StorageError, match="lacks session: "):
        import_queue(_database(tmp_path / "a.db", item, columns=columns), archive)


def test_work_is_counted_and_too_large_a_session_left(
    tmp_path: Path, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LARGEST_SESSION", len(_SESSION))
    database = _database(tmp_path / "a.db", _item("a"), _item("b", session=_SESSION + " "))
    assert import_queue(database, archive).unread == 1
    monkeypatch.setattr(module, "_MOST_STEPS", 1)
    monkeypatch.setattr(module, "_STEPS_TOGETHER", 10)
    with pytest.raises(StorageError, match="interrupted"):
        import_queue(database, archive)


def test_the_command_takes_a_queue_with_or_without_folders(tmp_path: Path) -> None:
    database = _database(tmp_path / "invokeai" / "databases" / "invokeai.db", _item("a"))
    (tmp_path / "pictures").mkdir()
    runner, kept = CliRunner(), ["--archive", str(tmp_path / "archive")]
    alone = runner.invoke(main, ["import", "--invokeai", str(tmp_path / "invokeai"), *kept])
    assert "1 failed and 0 cancelled runs" in alone.output
    both = runner.invoke(
        main, ["import", str(tmp_path / "pictures"), "--invokeai", str(database), "--json", *kept]
    )
    told = json.loads(both.stdout)
    assert (told["files"], told["invokeai"]["known"]) == (0, 1)
    assert runner.invoke(main, ["import", *kept]).exit_code == 2
