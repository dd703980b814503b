"""Rot is found, one bad thing costs itself only, and what is there twice counts once."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from archive.test_archive import cut_short, filled, record, run_ids
from archives import verified
from safelight.application.archived_pictures import ArchivedPictures
from safelight.archive import Archive
from safelight.archive.columns import Batch, decoded
from safelight.archive.folder_copy import merge_archives
from safelight.archive.packs import Pack, read_packs, write_pack
from safelight.archive.recovery import recover_archive, set_pictures_aside
from safelight.archive.verification import verify_archive
from safelight.archive_layout import files_below, packs_folder, ratings_folder, records_folder
from safelight.backends.fake import FakeBackend
from safelight.cli import main
from safelight.errors import ArchiveError
from safelight.learning import LearningRecord, LearningRecordWriter
from safelight.learning.ratings import Identity, RatingEvent, RatingStore
from safelight.pipeline import PipelineRunner
from safelight.web import create_app

BEFORE = Path(__file__).parents[1] / "data" / "archive_before_hashes"


def flip(path: Path, place: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)


def packs_of(archive: Path) -> list[Pack]:
    packs, trouble = read_packs(packs_folder(archive))
    assert trouble == {}
    return packs


# -- packs ---------------------------------------------------------------------------------


def test_every_flip_in_a_pack_is_found(tmp_path: Path) -> None:
    """In every file, the manifest included; whoever deletes the other copy relies on it."""
    archive = filled(tmp_path, range(40))
    archive.pack()
    (pack,) = packs_of(tmp_path)
    chance = random.Random(5)
    files = sorted(pack.path.iterdir())
    assert len(files) == 6
    for turn in range(120):
        file = files[turn % len(files)]
        good = file.read_bytes()
        flip(file, chance.randrange(len(good)), chance.randrange(8))
        assert verified(archive)[1] != [], (file.name, turn)
        file.write_bytes(good)
    assert verified(archive) == (40, [])


def test_every_flip_in_a_manifest_is_found(tmp_path: Path) -> None:
    archive = filled(tmp_path, range(2))
    archive.pack()
    manifest = packs_of(tmp_path)[0].path / "manifest.json"
    good = manifest.read_bytes()
    for place in range(0, len(good), 3):  # odd: every place within a byte comes
        flip(manifest, place, place % 8)
        assert verified(archive)[1] != [], place
        manifest.write_bytes(good)


def test_a_damaged_document_is_told_with_its_run(tmp_path: Path) -> None:
    """And the tables go on answering; only the record itself is gone."""
    archive = filled(tmp_path, range(3))
    archive.pack()
    (pack,) = packs_of(tmp_path)
    import duckdb

    file = pack.path / "documents.parquet"
    duckdb.execute(f"CREATE OR REPLACE TEMP TABLE it AS FROM '{file}'")
    duckdb.execute("UPDATE it SET json = replace(json, 'model-1', 'model-9')")
    duckdb.execute(f"COPY it TO '{file}' (FORMAT parquet)")
    manifest = json.loads((pack.path / "manifest.json").read_bytes())
    manifest["sizes"]["documents"] = file.stat().st_size
    del manifest["sha256"], manifest["digest"]  # nobody but the document itself can tell
    (pack.path / "manifest.json").write_text(json.dumps(manifest))
    whole, (fault,) = verified(archive)
    assert whole == 2
    assert f"1 records are damaged: {1:016x}" in fault.reason
    assert len(archive.query(limit=None).rows) == 6
    result = call("show", f"{1:016x}", "--archive", str(tmp_path))
    assert (result.exit_code, "is damaged; another copy" in result.output) == (1, True)
    assert archive.record(f"{2:016x}") == record(2)
    report = recover_archive(archive)
    assert (report.repaired, len(report.left)) == ([], 1)
    other = filled(tmp_path / "other", range(3))
    merge_archives(tmp_path, other.path)
    assert archive.record(f"{1:016x}") == record(1)
    assert len(archive.query(limit=None).rows) == 6


def call(*arguments: str) -> Any:
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


DAMAGES: dict[str, Callable[[Pack], object]] = {
    "a table is torn": lambda pack: os.truncate(pack.path / "images.parquet", 300),
    "a table is rotten": lambda pack: rot(pack.path / "images.parquet"),
    "a table is gone": lambda pack: (pack.path / "runs.parquet").unlink(),
    "the manifest is no text": lambda pack: (pack.path / "manifest.json").write_bytes(b"\xff\xfe"),
    "the manifest is gone": lambda pack: (pack.path / "manifest.json").unlink(),
    "the manifest nests": lambda pack: (pack.path / "manifest.json").write_bytes(b"[" * 100_000),
}


def rot(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[20:200] = bytes(180)
    file.write_bytes(data)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_pack_costs_itself_only_and_is_made_again(tmp_path: Path, damage: str) -> None:
    """On the command line and in the page; the answer says what was left out."""
    archive = filled(tmp_path, range(6))
    archive.pack(per_pack=3)
    bad, _ = packs_of(tmp_path)
    DAMAGES[damage](bad)
    asked = Archive(tmp_path)
    answer = asked.query(limit=None)
    assert len(answer.rows) == 6
    assert [fault.path for fault in answer.left_out] == [bad.path]
    assert asked.sql("SELECT count(*) FROM runs").rows == ((3,),)
    assert ArchivedPictures(asked).find(["x"], FakeBackend().describe()) == {}
    assert asked.record(f"{4:016x}") == record(4)
    result = call("find", "--archive", str(tmp_path), "--json")
    assert len(json.loads(result.stdout)["rows"]) == 6
    for command in (("archive", "stats"), ("effects",), ("rate", "--next", "--json"), ("show",)):
        call(*command, "--archive", str(tmp_path))
    with TestClient(create_app(tmp_path), base_url="http://127.0.0.1") as page:
        response = page.get("/api/pictures").json()
        assert (len(response["rows"]), response["left_out"]) == (6, 1)
        assert page.get("/api/facets").json()["total"] == 6
        for path in ("/", "/runs", "/learn", "/rate", "/sheet"):
            shown = page.get(path, headers={"accept": "text/html"})
            assert shown.status_code == 200
            assert "1 file of this archive cannot be read" in shown.text
    verify = call("archive", "verify", "--archive", str(tmp_path))
    assert (verify.exit_code, bad.path.name in verify.stdout) == (1, True)
    assert "Traceback" not in verify.output
    recovered = call("archive", "recover", "--archive", str(tmp_path))
    assert "made again from its records" in recovered.stdout
    assert verified(Archive(tmp_path)) == (6, [])
    assert sorted(run_ids(Archive(tmp_path))) == [f"{n:016x}" for n in range(6)]
    assert archive.record(f"{0:016x}") == record(0)
    assert len(list((packs_folder(tmp_path) / ".damaged").iterdir())) == 1
    again = json.loads(call("archive", "recover", "--archive", str(tmp_path), "--json").stdout)
    assert (again["repaired"], again["left"]) == ([], [])


def test_no_pack_is_blamed_for_want_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer without a pack that is whole would be wrong; that it cannot be had is told."""
    archive = filled(tmp_path, range(3))
    archive.pack()

    def exhausted(*_: object, **__: object) -> None:
        raise duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate data")

    with monkeypatch.context() as patched:
        patched.setattr(duckdb, "connect", exhausted)
        with pytest.raises(ArchiveError, match="Out of Memory"):
            archive.query()
    answer = archive.query()
    assert (len(answer.rows), answer.left_out) == (6, ())


def test_a_recovery_that_was_killed_in_between_is_finished_by_the_next(tmp_path: Path) -> None:
    """The new pack was there, and the old one not yet set aside."""
    archive = filled(tmp_path, range(3))
    archive.pack()
    (bad,) = packs_of(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(bad.path, copy)
    rot(bad.path / "images.parquet")
    assert len(recover_archive(archive).repaired) == 1
    shutil.copytree(copy, packs_folder(tmp_path) / bad.path.name)
    rot(packs_folder(tmp_path) / bad.path.name / "images.parquet")
    assert len(recover_archive(archive).repaired) == 1
    assert len(packs_of(tmp_path)) == 1
    assert verified(archive) == (3, [])


def test_of_a_rotten_pack_what_is_whole_is_saved(tmp_path: Path) -> None:
    """A table and some documents: the other documents go into a pack of their own."""
    documents = [record(number, prompt=os.urandom(600).hex()) for number in range(4500)]
    write_pack(packs_folder(tmp_path), [document.to_json().encode() for document in documents])
    (pack,) = packs_of(tmp_path)
    rot(pack.path / "runs.parquet")
    file = pack.path / "documents.parquet"
    data = bytearray(file.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    file.write_bytes(data)
    report = recover_archive(Archive(tmp_path))
    assert report.repaired == [pack.path]
    (saved,) = packs_of(tmp_path)
    assert 2000 < saved.records < 4500
    assert verified(Archive(tmp_path)) == (saved.records, [])


def test_packs_of_before_are_told_and_sealed(tmp_path: Path) -> None:
    """They read; from then on rot is found in them, too."""
    archive = Archive(shutil.copytree(BEFORE, tmp_path / "old"))
    output = call("archive", "verify", "--archive", str(archive.path)).stdout
    assert "4 records are whole" in output
    assert "4 of them are from before there were hashes, of 1 packs" in output
    assert "--seal" in output
    sealed = json.loads(
        call("archive", "verify", "--seal", "--json", "--archive", str(archive.path)).stdout
    )
    assert (sealed["unsealed_packs"], sealed["unchecked_records"]) == (0, 2)
    (pack,) = packs_of(archive.path)
    flip(pack.path / "images.parquet", 2000)
    assert len(verified(archive)[1]) == 1


def test_an_archive_of_before_opens_and_answers(tmp_path: Path) -> None:
    """Its ratings, its reused pictures, its searches; and it goes on from there."""
    archive = Archive(shutil.copytree(BEFORE, tmp_path / "old"))
    assert len(archive.query(limit=None).rows) == 7, "a picture that was reused counts once"
    assert len(archive.query("stars = 2", limit=None).rows) == 3
    assert len(archive.query("lighthouse").rows) == 1
    with RatingStore(ratings_folder(archive.path)) as store:
        (row,) = archive.query("stars = 2", columns=["sha256"], limit=1).rows
        (event,) = store.add(
            RatingEvent.now("stars", Identity(sha256=row[0]), value=5, rater="ann")
        )
    assert event.after == 1
    assert len(archive.query("stars = 5", limit=None).rows) == 1
    report = verify_archive(archive, pictures=True)
    assert (report.faults, report.pictures, report.pictures_away) == ([], 6, 1)
    assert (report.unchecked_lines, report.lines) == (21, 22)
    archive.pack()
    assert len(archive.query(limit=None).rows) == 7
    new = filled(tmp_path / "new", range(3))
    assert merge_archives(new.path, archive.path).bad == []
    assert len(new.query(limit=None).rows) == 13


# -- pictures --------------------------------------------------------------------------------


def test_pictures_are_compared_with_their_records(tmp_path: Path) -> None:
    """One is gone, one is cut short, one was changed; the others are theirs."""
    config = {
        "txt2img": {"prompt": "{a|b|c|d|e}", "steps": 2, "width": 64, "height": 64},
        "randomizer": {"mode": "fanout"},
    }
    with LearningRecordWriter(records_folder(tmp_path)) as writer:
        PipelineRunner(FakeBackend(), archive_dir=tmp_path, learning_record_writer=writer).run(
            config
        )
    gone, cut, changed, *_ = sorted(tmp_path.rglob("0*.png"))
    gone.unlink()
    os.truncate(cut, 500)
    flip(changed, 100)
    plain = call("archive", "verify", "--archive", str(tmp_path))
    assert (plain.exit_code, "1 records are whole" in plain.stdout) == (0, True)
    result = call("archive", "verify", "--pictures", "--archive", str(tmp_path))
    assert result.exit_code == 1
    assert "2 pictures are those of their records" in result.stdout
    for path, why in ((gone, "is not there"), (cut, "is not the"), (changed, "is not the")):
        assert f"{path}: {why}" in result.stdout


# -- records ---------------------------------------------------------------------------------

HOSTILE: dict[str, Any] = {
    "deep": lambda text: text[:-1] + ',"later":' + '{"a":' * 2000 + "1" + "}" * 2001,
    "deeper": lambda text: text[:-1] + ',"metadata":' + '{"a":' * 99_000 + "1" + "}" * 99_001,
    "empty": lambda text: "",
    "cut": lambda text: text[: len(text) // 2],
    "a list": lambda text: "[]",
    "stages that are none": lambda text: text.replace('configs":[{', 'configs":[{"txt2img":5,', 1),
    "not text": lambda text: text.encode().replace(b"picture", b"pict\xffre"),
    "another time": lambda text: LearningRecord.from_json(
        text.replace("2026-01-01", "../../../EV")
    ).to_document(),
    "a time with a zero": lambda text: LearningRecord.from_json(
        text.replace("2026-01-01", "2026\\u0000-01-")
    ).to_document(),
    "an id that leads out": lambda text: LearningRecord.from_json(
        text.replace(f"{7:016x}", "../../../evil")
    ).to_document(),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_strange_record_costs_itself_only(tmp_path: Path, name: str) -> None:
    """Whoever shares a folder or a bucket puts what he likes there."""
    archive = filled(tmp_path / "a", range(3))
    made = HOSTILE[name](record(7).to_json())
    evil = records_folder(archive.path) / "20260109T000000.000000Z_evil.json"
    evil.write_bytes(made.encode() if isinstance(made, str) else made)
    readable = name in ("another time", "a time with a zero", "an id that leads out")
    expected = 4 if readable else 3
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))

    def asked() -> None:
        assert len(run_ids(archive)) == expected
        assert len(archive.query(limit=None).rows) == 2 * expected
        for number in range(3):
            assert archive.record(f"{number:016x}") == record(number)
        with TestClient(create_app(archive.path), base_url="http://127.0.0.1") as page:
            assert len(page.get("/api/pictures").json()["rows"]) == 2 * expected
            for path in ("/", "/runs", "/api/facets"):
                assert page.get(path).status_code == 200
        for command in (("find",), ("show",), ("archive", "verify"), ("archive", "stats")):
            assert "Traceback" not in call(*command, "--archive", str(archive.path)).output

    asked()
    assert len(verified(archive)[1]) == (0 if readable else 1)
    report = archive.pack()
    assert report.records == expected
    assert [fault.path for fault in report.left] == ([] if readable else [evil])
    asked()
    (pack,) = packs_of(archive.path)
    assert set(pack.path.name) <= set("0123456789abcdefTZ._")
    outside = [
        path for path in tmp_path.rglob("*")
        if not path.is_relative_to(archive.path) and path.relative_to(tmp_path) not in before
    ]  # fmt: skip
    assert outside == []


def test_a_record_with_a_strange_time_is_sorted_by_when_it_was_written(tmp_path: Path) -> None:
    """Its name tells, also when it is carried elsewhere; the record keeps what was written."""
    archive = filled(tmp_path, range(3))
    strange = dataclasses.replace(record(7), timestamp="yesterday")
    with archive.writer() as writer:
        writer.write(strange)
    assert archive.record("last") == strange
    before = archive.query(view="runs", columns=["run_id", "timestamp", "stated_time"]).rows
    assert before[0][2] == "yesterday"
    assert before[0][1] > "2026-11"
    archive.pack()
    after = archive.query(view="runs", columns=["run_id", "timestamp", "stated_time"]).rows
    assert after == before
    assert archive.record(f"{7:016x}").timestamp == "yesterday"


@settings(max_examples=25, deadline=None)
@given(times=st.lists(st.text(max_size=30) | st.datetimes().map(str), min_size=1, max_size=5))
def test_any_timestamp_can_be_written_found_and_packed(
    tmp_path_factory: pytest.TempPathFactory, times: list[str]
) -> None:
    archive = Archive(tmp_path_factory.mktemp("times"))
    with archive.writer() as writer:
        for number, timestamp in enumerate(times):
            writer.write(dataclasses.replace(record(number), timestamp=timestamp))
    assert writer.failures == 0
    for _ in range(2):
        assert sorted(run_ids(archive)) == [f"{number:016x}" for number in range(len(times))]
        assert verified(archive) == (len(times), [])
        archive.pack()


# -- a run, and a picture, once -----------------------------------------------------------------


def test_a_run_counts_once_whatever_its_files_are_called(tmp_path: Path) -> None:
    """Two loose files, of which one is named after nothing."""
    archive = filled(tmp_path, range(2))
    first, second = sorted(records_folder(tmp_path).iterdir())
    shutil.copy(first, records_folder(tmp_path) / "theirs.json")
    second.rename(records_folder(tmp_path) / "mine.json")
    with TestClient(create_app(tmp_path), base_url="http://127.0.0.1") as page:
        for _ in range(2):
            assert sorted(run_ids(archive)) == [f"{number:016x}" for number in range(2)]
            assert len(archive.query(limit=None).rows) == 4
            assert len(page.get("/api/pictures").json()["rows"]) == 4
            for number in range(2):
                assert archive.record(f"{number:016x}") == record(number)
            assert len(archive.records([f"{n:016x}" for n in range(3)])) == 2
            first.unlink()
            assert sorted(run_ids(archive)) == [f"{number:016x}" for number in range(2)]
            assert len(page.get("/api/pictures").json()["rows"]) == 4
            archive.pack()
            first.write_text(record(0).to_json())


def imported(number: int, day: int) -> LearningRecord:
    """An imported picture's record, which has the time of the file that it was read from."""
    return dataclasses.replace(
        record(number), status="imported", timestamp=f"2026-05-{day:02d}T00:00:00.000000Z"
    )


@pytest.mark.parametrize("packed", [(False, False), (True, False), (True, True)])
def test_a_picture_that_two_archives_imported_counts_once(
    tmp_path: Path, packed: tuple[bool, bool]
) -> None:
    """Copies of one file have different times on different disks."""
    for name, day, pack in (("a", 1, packed[0]), ("b", 20, packed[1])):
        archive = Archive(tmp_path / name)
        with archive.writer() as writer:
            for number in range(3):
                writer.write(imported(number, day + number))
        if pack:
            archive.pack()
    merge_archives(tmp_path / "a", tmp_path / "b")
    archive = Archive(tmp_path / "a")
    assert sorted(run_ids(archive)) == [f"{number:016x}" for number in range(3)]
    assert len(archive.query(limit=None).rows) == 6
    with TestClient(create_app(archive.path), base_url="http://127.0.0.1") as page:
        assert page.get("/api/facets").json()["total"] == 6
        archive.pack()
        assert page.get("/api/facets").json()["total"] == 6
    assert len(run_ids(archive)) == 3


CONFIG = {
    "name": "first",
    "txt2img": {"prompt": "{a|b}", "seed": 1, "steps": 2, "width": 64, "height": 64},
    "randomizer": {"mode": "fanout"},
}


def draw(archive: Path, **changes: Any) -> None:
    with LearningRecordWriter(records_folder(archive)) as writer:
        result = PipelineRunner(
            FakeBackend(), archive_dir=archive, learning_record_writer=writer,
            library=ArchivedPictures(Archive(archive)),
        ).run({**CONFIG, **changes})  # fmt: skip
    assert result.status == "completed"


@pytest.mark.parametrize("packed", ["not", "between", "after"])
def test_a_picture_that_is_used_again_counts_once(tmp_path: Path, packed: str) -> None:
    """Asked for by its run it is there for each; the original's record may be gone, too."""
    draw(tmp_path)
    archive = Archive(tmp_path)
    if packed == "between":
        archive.pack()
    sweep = {"mode": "fanout", "sweep": {"txt2img.steps": [2, 3]}}
    draw(tmp_path, name="second", randomizer=sweep)
    draw(tmp_path, name="third", randomizer=sweep)
    if packed == "after":
        archive.pack()
    first, second, third = sorted(
        archive.query(view="runs", columns=["timestamp", "run_id"], limit=None).rows
    )

    def paths_and_users(condition: str, total: int) -> None:
        for limit in (None, 50, 1):
            rows = archive.query(condition, columns=["path", "run_id"], limit=limit).rows
            assert len(rows) == (total if limit is None else min(total, limit)), condition
            assert len({row[0] for row in rows}) == len(rows)
        with TestClient(create_app(tmp_path), base_url="http://127.0.0.1") as page:
            for _ in range(2):
                shown = page.get("/api/pictures", params={"q": condition}).json()["rows"]
                assert len(shown) == total
                counted = page.get("/api/facets", params={"q": condition}).json()
                assert counted["total"] == total
                page.app.state.table.archive._loader.join()  # type: ignore[attr-defined]

    assert len(list(tmp_path.rglob("0*.png"))) == 4
    paths_and_users("", 4)
    paths_and_users("steps = 2", 2)
    paths_and_users("not steps = 3", 2)
    paths_and_users("name = 'first'", 2)
    paths_and_users("name = 'second'", 4)
    paths_and_users(f"run_id = '{third[1]}'", 4)
    paths_and_users("name in ('second', 'third') and steps = 2", 2)
    paths_and_users("status = 'completed'", 4)
    paths_and_users("name = 'third' or steps = 2", 4)
    owners = archive.query("steps = 2", columns=["run_id"]).rows
    assert {row[0] for row in owners} == {first[1]}
    stats = json.loads(call("archive", "stats", "--archive", str(tmp_path), "--json").stdout)
    assert (stats["runs"], stats["pictures"]) == (3, 4)
    assert archive.sql("SELECT count(*) FROM images").rows == ((4,),)
    other = Archive(tmp_path / "other")
    with other.writer() as writer:
        for record in archive.records([second[1], third[1]]):
            writer.write(record)
    assert len(other.query(limit=None).rows) == 4
    assert {row[0] for row in other.query("steps = 2", columns=["run_id"]).rows} == {second[1]}


# -- what killed writers left ---------------------------------------------------------------------


KILLED = """
import os, sys
from pathlib import Path
from archive.test_archive import record
from safelight.archive import Archive
real = os.fsync
def fsync(handle):
    print("writing", flush=True)
    sys.stdin.readline()
os.fsync = fsync
archive = Archive(sys.argv[1])
if sys.argv[2] == "pack":
    archive.pack()
else:
    archive.writer().write(record(9))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
@pytest.mark.parametrize("what", ["record", "pack"])
def test_what_killed_writers_left_is_cleared(tmp_path: Path, what: str) -> None:
    """At once, and never under the hands of one that lives."""
    filled(tmp_path, range(3))
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), what],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip

    def unfinished() -> list[Path]:
        return list(tmp_path.rglob(".*.tmp"))

    assert process.stdout is not None
    assert process.stdin is not None
    while process.stdout.readline() and not unfinished():
        process.stdin.write("\n")
        process.stdin.flush()
    assert len(unfinished()) == 1
    assert recover_archive(Archive(tmp_path)).abandoned == 0
    assert len(unfinished()) == 1
    process.kill()
    process.communicate()
    assert recover_archive(Archive(tmp_path)).abandoned == 1
    assert unfinished() == []
    assert len(run_ids(Archive(tmp_path))) == 3


# -- several records of one run ---------------------------------------------------------------


@pytest.mark.parametrize("packed", [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("turned", [False, True])
def test_the_record_that_came_further_counts_and_the_other_is_told(
    tmp_path: Path, packed: tuple[bool, bool], turned: bool
) -> None:
    """In every answer: find, show, the page, evidence."""
    whole = record(1)
    assert len(whole.outputs) == 2
    archive = Archive(tmp_path)
    with TestClient(create_app(tmp_path), base_url="http://127.0.0.1") as page:
        for number, (copy, in_pack) in enumerate(
            zip((whole, cut_short(whole))[:: -1 if turned else 1], packed, strict=True)
        ):
            with LearningRecordWriter(records_folder(tmp_path)) as writer:
                writer.write(copy)
            if in_pack:
                archive.pack()
            shown = 2 if number or not turned else 1
            assert len(page.get("/api/pictures").json()["rows"]) == shown
    (run,) = archive.query(view="runs", limit=None).dicts()
    assert (run["status"], run["pictures"]) == (whole.status, 2)
    assert len(archive.query(limit=None).rows) == 2
    assert archive.record("last").status == whole.status
    (records,) = archive.records([whole.run_id])
    assert records == whole
    verification = verify_archive(archive)
    assert (verification.records, verification.faults, verification.differing_count) == (2, [], 1)
    (sentences,) = verification.differing
    assert f"run {whole.run_id} has 2 records that differ" in sentences
    assert f"counts is {whole.status}, with 2 pictures" in sentences
    other = Archive(tmp_path / "other")
    merged = merge_archives(other.path, tmp_path)
    assert (merged.differing, merged.differing_count) == ([sentences], 1)
    shown = call("archive", "verify", "--archive", str(tmp_path))
    assert shown.exit_code == 0
    assert sentences in shown.output


def test_imports_of_the_same_pictures_from_two_places_are_no_fault(tmp_path: Path) -> None:
    """They differ in where the pictures lie and in little else."""
    first = dataclasses.replace(record(1), status="imported")
    second = dataclasses.replace(
        first, timestamp="2026-02-02T00:00:00.000000Z",
        outputs=tuple(msgspec.structs.replace(each, path="/x.png") for each in first.outputs),
    )  # fmt: skip
    for each in (first, second):
        with LearningRecordWriter(records_folder(tmp_path)) as writer:
            writer.write(each)
    assert verified(Archive(tmp_path))[1] == []
    Archive(tmp_path).pack()
    Archive(tmp_path).pack()
    assert verified(Archive(tmp_path))[1] == []
    assert len(Archive(tmp_path).query(view="runs", limit=None).rows) == 1


def test_a_pack_that_lacks_what_ranks_its_records_is_asked(tmp_path: Path) -> None:
    """Whoever wrote it left the columns empty."""
    archive = filled(tmp_path, range(3))
    for _ in range(2):
        archive.pack()
        with LearningRecordWriter(records_folder(tmp_path)) as writer:
            writer.write(record(1))
    archive.pack()
    for pack in packs_of(tmp_path):
        file, manifest = pack.path / "runs.parquet", pack.path / "manifest.json"
        empty = pack.path / "empty.parquet"
        duckdb.sql(
            f"COPY (SELECT * REPLACE (NULL::VARCHAR AS status, NULL::BIGINT AS pictures)"
            f" FROM '{file}') TO '{empty}'"
        )
        empty.rename(file)
        content = json.loads(manifest.read_bytes())
        content["sizes"]["runs"] = file.stat().st_size
        content.pop("sha256")
        content.pop("digest")
        manifest.write_text(json.dumps(content))
    assert sorted(run_ids(archive)) == [f"{number:016x}" for number in range(3)]


@pytest.mark.parametrize("name", ["{} (1)", "copy", "{}-2-3", "zz2"])
def test_a_copy_counts_whatever_its_file_is_called(tmp_path: Path, name: str) -> None:
    """As a browser, a person or a sync program names it; every answer knows it."""
    archive, whole = Archive(tmp_path), record(1)
    with archive.writer() as writer:
        writer.write(cut_short(whole))
        writer.write(record(2))
    own = next(path for path in records_folder(tmp_path).iterdir() if whole.run_id in path.name)
    own.with_name(f"{name.format(own.stem)}.json").write_bytes(whole.to_document())
    assert len(archive.query(f"run_id = '{whole.run_id}'", limit=None).rows) == 2
    assert archive.record(whole.run_id) == whole
    assert archive.records([whole.run_id]) == [whole]
    assert verify_archive(archive).differing_count == 1


@pytest.mark.parametrize("statuses", [("completed", "completed"), ("partial", "completed")])
def test_of_equal_records_the_same_counts_everywhere(
    tmp_path: Path, statuses: tuple[str, str]
) -> None:
    """In both of two merged archives, loose and packed, however often."""
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, status, name in zip((one, two), statuses, "ab", strict=True):
        with LearningRecordWriter(records_folder(folder)) as writer:
            writer.write(dataclasses.replace(record(1), status=status, name=name))
    digests = set()
    for _ in range(2):
        merge_archives(two, one)
        merge_archives(one, two)
        for folder in (one, two):
            archive = Archive(folder)
            (row,) = archive.query(view="runs", columns=["name", "status"]).rows
            counting = archive.record("last")
            assert (counting.name, counting.status) == row
            assert archive.records([counting.run_id]) == [counting]
            digests.add(row)
        Archive(one).pack()
        Archive(one).pack()
    assert len(digests) == 1
    assert digests.pop()[1] == "completed"


def test_many_doubled_records_are_taken_in_at_once() -> None:
    """What lesser records brought is taken out together, and sizes, rows and prompts agree."""
    batch, alone = Batch(), Batch()
    for number in range(50):
        if number % 3:
            batch.add(decoded(cut_short(record(number)).to_document()))
        batch.add(decoded(record(number).to_document()))
        alone.add(decoded(record(number).to_document()))
    assert batch.runs == alone.runs
    batch.add(decoded(dataclasses.replace(record(4), status="partial").to_document()))
    batch.add(decoded(cut_short(record(60)).to_document()))
    batch.add(decoded(record(60).to_document()))
    alone.add(decoded(record(60).to_document()))
    assert batch.runs == alone.runs
    assert batch.sizes() == alone.sizes()
    shown = "run_id, place, timestamp, stage, path, sha256, prompt, seed"
    with duckdb.connect() as first, duckdb.connect() as second:
        for connection, folder in ((first, batch), (second, alone)):
            folder.create_tables(connection)
        for rows in (f"SELECT {shown} FROM batch_images", "SELECT * FROM batch_settings",
                     "SELECT * FROM batch_prompts"):  # fmt: skip
            ordered = f"{rows} ORDER BY ALL"
            assert first.execute(ordered).fetchall() == second.execute(ordered).fetchall()


def test_a_page_that_has_seen_a_run_sees_its_better_record(tmp_path: Path) -> None:
    """A copy where the run went on to its end is merged while the page is open."""
    here, there = tmp_path / "here", tmp_path / "there"
    whole = record(1)
    outputs = [msgspec.structs.replace(o, sha256=f"{n:064x}") for n, o in enumerate(whole.outputs)]
    whole = dataclasses.replace(whole, outputs=tuple(outputs))
    for folder, where in ((here, cut_short(whole)), (there, whole)):
        with LearningRecordWriter(records_folder(folder)) as writer:
            writer.write(where)
    with TestClient(create_app(here), base_url="http://127.0.0.1") as page:
        asked = f"/api/records/{whole.run_id}"
        assert page.get(asked).json()["status"] == "interrupted"
        merge_archives(here, there)
        assert page.get(asked).json()["status"] == whole.status
        assert len(page.get("/api/pictures").json()["rows"]) == 2
        assert page.get(f"/api/pictures/{1:064x}").status_code == 200
        assert page.get(f"/look/{1:064x}").status_code == 200


def test_loose_records_that_a_pack_holds_are_all_removed(tmp_path: Path) -> None:
    """Also where another record of the run lies beside them."""
    archive = filled(tmp_path, range(1))
    (own,) = records_folder(tmp_path).iterdir()
    document = own.read_bytes()
    archive.pack()
    own.write_bytes(document)
    own.with_stem(f"{own.stem}~{'a' * 12}").write_bytes(cut_short(record(0)).to_document())
    assert recover_archive(archive).doubled == 1
    assert not own.exists()


# -- damaged pictures ---------------------------------------------------------------------------


def drawn(archive: Path, prompts: str) -> list[Path]:
    """Draw a picture for each letter of *prompts*; return their files, by name."""
    with LearningRecordWriter(records_folder(archive)) as writer:
        runner = PipelineRunner(FakeBackend(), archive_dir=archive, learning_record_writer=writer)
        for prompt in prompts:
            knobs = {"prompt": prompt, "steps": 2, "width": 64, "height": 64}
            runner.run({"txt2img": knobs})
    return sorted(archive.glob("images/*/*/0*.png"))


def test_a_damaged_picture_makes_room_for_a_whole_one(tmp_path: Path) -> None:
    """It is told, set aside when somebody says so, and comes back from another copy."""
    archive = tmp_path / "a"
    (picture,) = drawn(archive, "a")
    shutil.copytree(archive, tmp_path / "b")
    good = picture.read_bytes()
    flip(picture, len(good) // 2)
    result = call("archive", "verify", "--pictures", "--archive", str(archive))
    assert result.exit_code == 1
    assert "safelight archive recover --pictures" in result.output
    done = call("archive", "recover", "--pictures", "--archive", str(archive), "--json")
    place = str(picture.relative_to(archive))
    assert json.loads(done.stdout)["pictures_aside"] == [place]
    assert not picture.exists()
    assert len(list(archive.glob("images/.damaged/**/*.png-*"))) == 1
    assert call("archive", "merge", str(tmp_path / "b"), "--archive", str(archive)).exit_code == 0
    assert picture.read_bytes() == good
    assert verify_archive(Archive(archive), pictures=True).faults == []
    again = call("archive", "recover", "--pictures", "--archive", str(archive), "--json")
    assert json.loads(again.stdout)["pictures_aside"] == []


def test_damaged_pictures_on_another_disk_are_set_aside_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that cannot be moved costs itself only."""
    there, stuck, here = drawn(tmp_path, "abc")
    for picture in (there, stuck, here):
        flip(picture, 300)
    rename = os.rename

    def across(path: str, target: str) -> None:
        if path == str(stuck):
            raise PermissionError(errno.EACCES, "no")
        if path == str(there) and Path(target).parents[1] != there.parent:
            raise OSError(errno.EXDEV, "another disk")
        rename(path, target)

    monkeypatch.setattr(os, "rename", across)
    done = call("archive", "recover", "--pictures", "--archive", str(tmp_path), "--json")
    answer = json.loads(done.stdout)
    assert answer["pictures_aside"] == [str(p.relative_to(tmp_path)) for p in (there, here)]
    assert [fault["path"] for fault in answer["left"]] == [str(stuck)]
    assert len(list(there.parent.glob(".damaged/*.png-*"))) == 1
    assert len(list(tmp_path.glob("images/.damaged/*/*/*.png-*"))) == 1
    assert stuck.exists()


@pytest.mark.parametrize("path", ["records/x.json", "images\\a.png", "images/../ratings/a.jsonl"])
def test_only_pictures_are_set_aside(tmp_path: Path, path: str) -> None:
    """A record may name any file."""
    outputs = tuple(msgspec.structs.replace(output, path=path) for output in record(1).outputs)
    with LearningRecordWriter(records_folder(tmp_path)) as writer:
        writer.write(dataclasses.replace(record(1), outputs=outputs))
    (tmp_path / "ratings").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / path).write_bytes(b"mine")
    assert set_pictures_aside(Archive(tmp_path)) == ([], [])
    assert (tmp_path / path).read_bytes() == b"mine"


def test_what_a_record_says_that_does_not_count_is_true_of_its_pictures(tmp_path: Path) -> None:
    """A picture that only it names is read, too; one that it knows is whole stays."""
    (picture,) = drawn(tmp_path, "a")
    own = Archive(tmp_path).record("last")
    (output,) = own.outputs
    wrong = msgspec.structs.replace(output, sha256="f" * 64)
    named = msgspec.structs.replace(output, path="images/b.png")
    (tmp_path / "images" / "b.png").write_bytes(b"rotten")
    with LearningRecordWriter(records_folder(tmp_path)) as writer:
        writer.write(dataclasses.replace(own, outputs=(wrong, wrong)))
        writer.write(dataclasses.replace(own, outputs=(output, named), status="interrupted"))
    (fault,) = verify_archive(Archive(tmp_path), pictures=True).faults
    assert fault.path == tmp_path / "images" / "b.png"
    merged = merge_archives(tmp_path / "other", tmp_path)
    assert [key for key, _ in merged.bad] == ["images/b.png"]
    assert set_pictures_aside(Archive(tmp_path)) == (["images/b.png"], [])
    assert picture.exists()


def test_a_hash_that_is_none_in_a_second_record_says_nothing(tmp_path: Path) -> None:
    """Nor does it shift the hashes beside it."""
    (picture,) = drawn(tmp_path, "a")
    own = Archive(tmp_path).record("last")
    (output,) = own.outputs
    short = msgspec.structs.replace(output, sha256="ab")
    alone = msgspec.structs.replace(output, sha256="ab", path="images/b.png")
    (tmp_path / "images" / "b.png").write_bytes(b"mine")
    with LearningRecordWriter(records_folder(tmp_path)) as writer:
        writer.write(dataclasses.replace(own, outputs=(short, output, alone), status="interrupted"))
    merged = merge_archives(tmp_path / "other", tmp_path)
    assert merged.bad == []
    assert (tmp_path / "other" / picture.relative_to(tmp_path)).exists()
    assert set_pictures_aside(Archive(tmp_path)) == ([], [])


@pytest.mark.parametrize("change", [str.upper, lambda _: "", lambda _: "unknown"])
def test_a_hash_that_is_written_otherwise_damages_nothing(
    tmp_path: Path, change: Callable[[str], str]
) -> None:
    (picture,) = drawn(tmp_path, "a")
    (path,) = records_folder(tmp_path).iterdir()
    own = Archive(tmp_path).record("last")
    outputs = tuple(msgspec.structs.replace(o, sha256=change(o.sha256)) for o in own.outputs)
    path.write_bytes(dataclasses.replace(own, outputs=outputs).to_document())
    assert set_pictures_aside(Archive(tmp_path)) == ([], [])
    assert picture.exists()


def test_a_picture_that_one_of_two_records_says_is_whole_stays(tmp_path: Path) -> None:
    (picture,) = drawn(tmp_path, "a")
    (other,) = record(1).outputs[:1]
    other = msgspec.structs.replace(other, path=str(picture.relative_to(tmp_path)))
    with LearningRecordWriter(records_folder(tmp_path)) as writer:
        writer.write(dataclasses.replace(record(1), outputs=(other,)))
    assert set_pictures_aside(Archive(tmp_path)) == ([], [])
    assert verify_archive(Archive(tmp_path), pictures=True).faults == []


def test_links_to_one_another_are_not_walked_in_every_order(tmp_path: Path) -> None:
    """Of eight folders each links to all: that would be a hundred thousand."""
    folders = [tmp_path / f"{number}" for number in range(8)]
    for folder in folders:
        folder.mkdir()
        (folder / "a.png").write_bytes(b"png")
    for folder in folders:
        for other in folders:
            (folder / f"to-{other.name}").symlink_to(other)
    faults: list[str] = []
    keys = [key for key, _ in files_below(tmp_path, lambda place, _: faults.append(place))]
    assert keys[:8] == [f"{number}/a.png" for number in range(8)]
    assert keys[8:] == [f"{a}/to-{b}/a.png" for a in range(8) for b in range(8) if a != b]
    assert len(faults) == 8 + 56 * 8
