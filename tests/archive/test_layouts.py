"""Packs of earlier versions answer as new ones do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from archives import verified
from safelight.archive import Archive
from safelight.archive.packs import read_packs, write_pack
from safelight.archive_layout import packs_folder, records_folder

KEPT = Path(__file__).parents[1] / "data" / "archive_first_layout"
QUESTIONS = (
    ("", "images", "-timestamp"),
    ("prompt has 'LIGHTHOUSE 3'", "images", "-timestamp"),
    ("not prompt has 'lighthouse'", "images", "timestamp"),
    ("prompt has 'lighthouse' and steps < 13", "images", "cfg_scale"),
    ("prompt has 'ink'", "runs", "-run_id"),
    ("weight >= 0.5", "loras", "run_id"),
)


def documents() -> list[bytes]:
    return (KEPT / "records.jsonl").read_bytes().splitlines()


@pytest.mark.parametrize("mixed", [False, True])
def test_packs_of_the_first_layout_answer_alike(tmp_path: Path, mixed: bool) -> None:
    """Alone, and beside packs and loose records of today."""
    old, new = Archive(tmp_path / "old"), Archive(tmp_path / "new")
    shutil.copytree(KEPT / "packs", packs_folder(old.path))
    assert [pack.tables for pack in read_packs(packs_folder(old.path))[0]] == [None]
    write_pack(packs_folder(new.path), documents())
    if mixed:
        later = [line.replace(b"2026-01", b"2026-02") for line in documents()]
        later = [line.replace(b'"run_id":"00', b'"run_id":"ff') for line in later]
        for archive in (old, new):
            write_pack(packs_folder(archive.path), later[:6])
            records_folder(archive.path).mkdir(parents=True)
            for number, line in enumerate(later[6:]):
                (records_folder(archive.path) / f"2026_{number}.json").write_bytes(line)
    for condition, view, sort in QUESTIONS:
        there = new.query(condition, view=view, sort=sort, limit=None)
        assert there.rows
        assert old.query(condition, view=view, sort=sort, limit=None) == there
        for limit in (1, 5):
            assert (
                old.query(condition, view=view, sort=sort, limit=limit).rows == there.rows[:limit]
            )
    statement = "SELECT model, count(*), sum(cfg_scale) FROM images GROUP BY model ORDER BY model"
    assert old.sql(statement) == new.sql(statement)
    assert old.sql("SELECT * FROM images LIMIT 0").columns == new.query(limit=1).columns
    assert verified(old) == verified(new)
    assert verified(old)[1] == []


def test_a_run_in_an_old_and_a_new_pack_counts_once(tmp_path: Path) -> None:
    """As after a merge with somebody who packed the same records."""
    shutil.copytree(KEPT / "packs", packs_folder(tmp_path))
    write_pack(packs_folder(tmp_path), documents())
    assert len(Archive(tmp_path).query(view="runs").rows) == 12
    assert len(Archive(tmp_path).query("prompt has 'lighthouse'").rows) == 12


def test_records_come_back_from_an_old_pack_to_the_letter(tmp_path: Path) -> None:
    """The canonical JSON is the record; the columns only find it."""
    shutil.copytree(KEPT / "packs", packs_folder(tmp_path))
    for number, line in enumerate(documents()):
        assert Archive(tmp_path).record(f"{number:016x}").to_json().encode() == line
