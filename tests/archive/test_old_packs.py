"""Packs of earlier versions: what is damaged of them costs itself only, and tables made of them.

They are asked through their documents until ``archive pack`` has made tables of today, which lie
in a hidden folder beside them and may go at any time.
"""

from __future__ import annotations

import json
import logging
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from archive.test_archive import filled, record
from archives import verified
from safelight.archive import Archive
from safelight.archive import packs as packs_module
from safelight.archive.packs import Pack, read_packs, renew_tables, write_pack
from safelight.archive.recovery import recover_archive
from safelight.archive.verification import verify_archive
from safelight.archive.views import Views
from safelight.archive_layout import packs_folder
from safelight.cli import main
from safelight.errors import ArchiveError
from safelight.web.held_archive import HeldArchive

RUNS = 30


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pack:
    """A pack that was made by the rules of before, in an archive of two."""
    with monkeypatch.context() as before:
        before.setattr(packs_module, "_ROWS", "the rules of before")
        filled(tmp_path, range(RUNS)).pack()
    write_pack(packs_folder(tmp_path), [record(n).to_document() for n in range(100, 103)])
    packs, trouble = read_packs(packs_folder(tmp_path))
    assert trouble == {}
    assert [pack.tables is None for pack in packs] == [True, False]
    return packs[0]


def archive_of(pack: Pack) -> Path:
    return pack.path.parents[1]


def tables_of(pack: Pack) -> Path:
    tables = read_packs(pack.path.parent)[0][0].tables
    assert tables is not None
    assert tables != pack.path
    return tables


def damage_one_document(pack: Pack) -> str:
    """Change a document so that only its own digest tells; return its run."""
    file = pack.path / "documents.parquet"
    duckdb.execute(f"CREATE OR REPLACE TEMP TABLE it AS FROM '{file}'")
    duckdb.execute("UPDATE it SET json = replace(json, 'picture 7 ', 'picture 8 ')")
    duckdb.execute(f"COPY it TO '{file}' (FORMAT parquet)")
    manifest = json.loads((pack.path / "manifest.json").read_bytes())
    manifest["sizes"]["documents"] = file.stat().st_size
    manifest.pop("digest")
    packs_module.write_manifest(pack.path, manifest)
    return f"{7:016x}"


def flip(file: Path, chance: random.Random) -> None:
    """Flip one bit of what *file* holds."""
    data = bytearray(file.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    file.write_bytes(data)


@pytest.fixture
def held(old: Pack) -> Iterator[HeldArchive]:
    archive = HeldArchive(archive_of(old))
    yield archive
    archive.close()


def load(held: HeldArchive) -> None:
    held.query("")
    deadline = time.monotonic() + 60
    while held._memory is None and held._loader is not None and time.monotonic() < deadline:
        time.sleep(0.01)
        if not held.is_loading:
            break
    assert held._memory is not None


# -- damaged documents ---------------------------------------------------------------------


def test_a_damaged_document_costs_itself_only(old: Pack, held: HeldArchive) -> None:
    """On the disk and in memory, each time it is asked; and it is told with its run."""
    lost = damage_one_document(old)
    archive = Archive(archive_of(old))
    load(held)
    for asked in (archive, archive, held):
        answer = asked.query("", limit=None)
        assert len(answer.rows) == 2 * (RUNS - 1 + 3)
        (fault,) = answer.left_out
        assert fault.path == old.path
        assert fault.reason == f"holds 1 damaged record of {RUNS}: {lost}"
    assert verified(archive)[0] == RUNS - 1 + 3


def test_a_damaged_part_of_the_documents_costs_no_record_beside_it(tmp_path: Path) -> None:
    """Neither asked by its id, nor on the page, which has the others in memory."""
    archive = Archive(tmp_path)
    archive.add_pack([record(number).to_document() for number in range(2048 + 50)])
    (pack,) = read_packs(packs_folder(tmp_path))[0]
    file = pack.path / "documents.parquet"
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    file.write_bytes(data)
    whole = record(2048 + 20)
    assert archive.record(whole.run_id) == whole
    assert archive.records([record(1).run_id, whole.run_id]) == [whole]
    held = HeldArchive(tmp_path)
    try:
        load(held)
        assert held.record(whole.run_id) == whole
    finally:
        held.close()


def test_no_tables_are_made_that_would_hide_a_loss(old: Pack) -> None:
    lost = damage_one_document(old)
    archive = Archive(archive_of(old))
    with pytest.raises(ArchiveError, match=f"holds 1 damaged record of {RUNS}: {lost}; repair"):
        renew_tables(read_packs(old.path.parent)[0][0])
    (left,) = archive.pack().left
    assert (left.path, "safelight archive recover" in left.reason) == (old.path, True)
    assert not list((old.path.parent / ".tables").glob("*"))
    assert len(archive.query("", view="runs", limit=None).rows) == RUNS - 1 + 3


def test_recovery_makes_a_pack_of_what_is_whole(old: Pack) -> None:
    damage_one_document(old)
    archive = Archive(archive_of(old))
    report = recover_archive(archive)
    assert (report.repaired, report.left) == ([old.path], [])
    assert verified(archive) == (RUNS - 1 + 3, [])
    packs, _ = read_packs(old.path.parent)
    assert [pack.tables == pack.path for pack in packs] == [True, True]
    answer = archive.query("", view="runs", limit=None)
    assert (len(answer.rows), answer.left_out) == (RUNS - 1 + 3, ())
    assert len(list((old.path.parent / ".damaged").iterdir())) == 1


def test_documents_that_rot_after_tables_were_made_cost_no_answer(old: Pack) -> None:
    """As with packs of today, what is asked for most is whole."""
    archive = Archive(archive_of(old))
    archive.pack()
    before = archive.query("", limit=None)
    file = old.path / "documents.parquet"
    good = file.read_bytes()
    file.write_bytes(good[:100] + bytes([good[100] ^ 1]) + good[101:])
    report = recover_archive(archive)
    assert (report.repaired, len(report.left)) == ([], 1)
    assert archive.query("", limit=None) == before


def test_a_pack_without_one_whole_document_is_told(old: Pack, held: HeldArchive) -> None:
    file = old.path / "documents.parquet"
    file.write_bytes(bytes(file.stat().st_size))
    load(held)
    for asked in (Archive(archive_of(old)), held):
        answer = asked.query("", limit=None)
        assert len(answer.rows) == 6
        assert [(f.path, f.reason) for f in answer.left_out] == [
            (old.path, f"cannot be read: none of its {RUNS} records is whole")
        ]
    (left,) = recover_archive(Archive(archive_of(old))).left
    assert left.path == old.path


def test_a_damaged_table_of_before_keeps_nothing_out_of_memory(
    old: Pack, held: HeldArchive
) -> None:
    """The documents are whole, and asked; the tables of before are not."""
    file = old.path / "images.parquet"
    file.write_bytes(file.read_bytes()[:-200] + bytes(200))
    load(held)
    answer = held.query("", limit=None)
    assert (len(answer.rows), answer.left_out) == (2 * (RUNS + 3), ())


# -- tables that were made of them ---------------------------------------------------------


def test_every_flip_in_tables_made_anew_is_found_and_mended(old: Pack) -> None:
    """They are answered from, so verify looks at them; nothing is lost when they go."""
    archive = Archive(archive_of(old))
    archive.pack()
    before = archive.query("", limit=None)
    tables = tables_of(old)
    shutil.copytree(tables, copy := archive.path / "copy")
    files = sorted(tables.iterdir())
    chance = random.Random(7)
    for turn in range(20):
        file = files[turn % len(files)]
        flip(file, chance)
        (fault,) = verify_archive(archive).faults
        assert fault.path == tables
        shutil.copytree(copy, tables, dirs_exist_ok=True)
    shutil.rmtree(copy)
    assert verified(archive) == (RUNS + 3, [])
    flip(tables / "images.parquet", chance)
    result = CliRunner().invoke(main, ["archive", "recover", "--archive", str(archive.path)])
    assert "1 folders of tables" in result.output
    assert verified(archive) == (RUNS + 3, [])
    assert archive.query("", limit=None) == before
    assert read_packs(old.path.parent)[0][0].tables is None
    archive.pack()
    assert archive.query("", limit=None) == before


@pytest.mark.parametrize("mended", ["packed", "recovered"])
def test_tables_of_packs_that_are_gone_go_too(old: Pack, mended: str) -> None:
    archive = Archive(archive_of(old))
    archive.pack()
    tables = tables_of(old)
    shutil.copytree(tables, other := tables.with_name(f"{old.path.name}-{'0' * 16}"))
    _ = archive.pack() if mended == "packed" else recover_archive(archive)
    assert (tables.exists(), other.exists()) == (True, False), "its manifest is another one now"
    shutil.rmtree(old.path)
    _ = archive.pack() if mended == "packed" else recover_archive(archive)
    assert list((old.path.parent / ".tables").iterdir()) == []
    assert len(archive.query("", limit=None).rows) == 6


def test_whoever_comes_second_leaves_the_tables_that_are_there(
    old: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether they were there before it began, or came while it wrote: others read them."""
    renew_tables(old)
    tables = tables_of(old)
    made = tables.stat().st_ino
    renew_tables(old)
    assert tables.stat().st_ino == made
    shutil.rmtree(tables)
    write_tables = packs_module.write_tables

    def slowly(*given: Any) -> None:
        monkeypatch.setattr(packs_module, "write_tables", write_tables)
        renew_tables(old)  # somebody else, and faster
        nonlocal made
        made = tables.stat().st_ino
        write_tables(*given)

    monkeypatch.setattr(packs_module, "write_tables", slowly)
    renew_tables(old)
    assert tables.stat().st_ino == made
    assert [path.name for path in tables.parent.iterdir()] == [tables.name]


def test_tables_by_other_rules_stay_until_new_ones_are_written(
    old: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as between:
        between.setattr(packs_module, "_ROWS", "rules between")
        renew_tables(old)
    (tables,) = (old.path.parent / ".tables").iterdir()
    assert read_packs(old.path.parent)[0][0].tables is None
    there: list[bool] = []
    verify_tables = packs_module.verify_tables

    def look(*given: Any) -> None:
        there.append(tables.is_dir())
        verify_tables(*given)

    monkeypatch.setattr(packs_module, "verify_tables", look)
    renew_tables(old)
    assert there == [True]
    assert tables_of(old) == tables
    assert [path.name for path in tables.parent.iterdir()] == [tables.name]


def test_a_question_whose_tables_go_meanwhile_is_asked_again(old: Pack) -> None:
    """Of the documents, or of other tables: they may go at any time."""
    archive = Archive(archive_of(old))
    archive.pack()
    tables = tables_of(old)
    asked = 0

    def work(connection: duckdb.DuckDBPyConnection, views: Views) -> int:
        nonlocal asked
        asked += 1
        if asked == 1:
            shutil.rmtree(tables)
        views.show()
        return len(connection.execute("SELECT run_id, steps FROM images").fetchall())

    assert archive.asked(work, rated=False) == 2 * (RUNS + 3)
    assert asked == 2
    archive.pack()
    connection = archive.connect()
    assert connection.execute("SELECT count(*) FROM images").fetchone() == (2 * (RUNS + 3),)


def test_a_question_that_cannot_be_answered_is_asked_once(old: Pack) -> None:
    asked = 0

    def work(connection: duckdb.DuckDBPyConnection, _: Views) -> None:
        nonlocal asked
        asked += 1
        connection.execute("SELECT nothing FROM nowhere")

    with pytest.raises(ArchiveError, match="nowhere"):
        Archive(archive_of(old)).asked(work, rated=False)
    assert asked == 1


# -- what it costs -------------------------------------------------------------------------


def test_that_questions_are_slow_is_told_once_with_what_to_do(
    old: Pack, caplog: pytest.LogCaptureFixture
) -> None:
    archive = Archive(archive_of(old))
    with caplog.at_level(logging.WARNING, "safelight"):
        for _ in range(3):
            archive.query("")
    (told,) = [entry.getMessage() for entry in caplog.records]
    assert told == (
        f"one pack is of an earlier version: questions read {RUNS} records one by one, which is"
        " slow; make tables of them with: safelight archive pack"
    )
    archive.pack()
    caplog.clear()
    Archive(archive_of(old)).query("")
    assert not caplog.records


def test_packing_tells_how_far_its_tables_are(old: Pack) -> None:
    archive = filled(archive_of(old), range(200, 205))
    told: list[tuple[int, int]] = []
    archive.pack(on_progress=lambda done, total: told.append((done, total)))
    assert told == [(RUNS, RUNS + 5), (RUNS + 5, RUNS + 5)]
