"""Everything that was drawn is found, once, wherever its record is, and nothing is ever lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from archives import verified
from safelight.archive import Archive, views
from safelight.archive import packs as packs_module
from safelight.archive.folder_copy import merge_archives
from safelight.archive.packing import delete_files, pack_in_batches, share_out
from safelight.archive.packs import read_documents, read_packs, write_pack, write_tables
from safelight.archive_layout import packs_folder, records_folder
from safelight.errors import ArchiveError, FilterError, RecordError
from safelight.learning import LearningRecord
from safelight.learning.learning_record import ImageOutput


def record(number: int, **knobs: Any) -> LearningRecord:
    prompt = knobs.pop("prompt", f"picture {number} <lora:ink:0.{number % 9 + 1}>")
    config = {
        "txt2img": {
            "prompt": prompt, "model": f"model-{number % 3}", "sampler": "Euler a",
            "steps": 10 + number % 5, "cfg_scale": number % 10 + 0.5, "seed": 2**64 - 1 - number,
            **knobs,
        },
        "upscale": {"upscaler": "Lanczos", "scale": 2},
    }  # fmt: skip
    outputs = tuple(
        ImageOutput(
            variant=0, stage=stage, sha256=f"{number:064x}", pixel_sha256=f"{place}{number:063x}",
            width=64, height=64, path=f"images/{number}-{stage}.png", seed=2**64 - 1 - number,
        )
        for place, stage in enumerate(("txt2img", "upscale"))
    )  # fmt: skip
    return LearningRecord.from_pipeline_context(
        config, [config], run_id=f"{number:016x}", outputs=outputs,
        timestamp=f"2026-01-{number // 86_400 + 1:02d}T{number // 3600 % 24:02d}"
        f":{number // 60 % 60:02d}:{number % 60:02d}.000000Z",
        backend={"name": "bundled", "version": "1"},
    )  # fmt: skip


def cut_short(whole: LearningRecord) -> LearningRecord:
    """Return the record that recovery makes of a copy from while the run went on."""
    return replace(
        whole, status="interrupted", outputs=whole.outputs[:1],
        variant_configs=list(whole.variant_configs[:1]),
    )  # fmt: skip


def edited(text: str, old: str, new: str) -> str:
    """Return a record's text with something else in it, and the digest that fits."""
    assert old in text
    return LearningRecord.from_json(text.replace(old, new)).to_document().decode()


def filled(path: Path, numbers: range) -> Archive:
    archive = Archive(path)
    with archive.writer() as writer:
        for number in numbers:
            writer.write(record(number))
    assert writer.failures == 0
    return archive


def run_ids(archive: Archive, condition: str = "", **options: Any) -> list[str]:
    answer = archive.query(condition, view="runs", columns=["run_id"], limit=None, **options)
    return [row[0] for row in answer.rows]


def test_loose_and_packed_records_answer_alike(tmp_path: Path) -> None:
    """Packing changes where a record is, and nothing else."""
    archive = filled(tmp_path, range(30))
    questions = [
        ("", "images"),
        ("cfg_scale between 5 and 8 and sampler = 'Euler a' and prompt has 'PICTURE 1'", "images"),
        ("stage = 'upscale' and upscaler is not missing", "images"),
        ("steps in (10, 12) or not model = 'model-1'", "runs"),
        ("weight > 0.5", "loras"),
    ]

    def answers() -> list[Any]:
        return [
            archive.query(text, view=view, sort="run_id", limit=None) for text, view in questions
        ]

    loose = answers()
    assert [bool(answer.rows) for answer in loose] == [True] * 5
    report = archive.pack(per_pack=12)
    assert (report.records, len(report.packs), report.left) == (30, 3, ())
    assert not list(records_folder(tmp_path).glob("*.json"))
    assert answers() == loose
    filled(tmp_path, range(30, 40))
    assert len(run_ids(archive)) == 40


def test_a_record_comes_back_to_the_letter(tmp_path: Path) -> None:
    """A pack holds the canonical JSON, large seeds and all; an id may be shortened."""
    archive = filled(tmp_path, range(3))
    before = [archive.record(f"{number:016x}").to_json() for number in range(3)]
    archive.pack()
    assert [archive.record(f"{number:016x}").to_json() for number in range(3)] == before
    assert archive.record("last") == record(2)
    with pytest.raises(ArchiveError, match="3 runs begin with '0000'"):
        archive.record("0000")
    with pytest.raises(ArchiveError, match="no run in .* begins with 'f'"):
        archive.record("f")


def test_seeds_up_to_the_largest_are_found(tmp_path: Path) -> None:
    """ComfyUI's seeds do not fit a signed number."""
    archive = filled(tmp_path, range(2))
    for _ in range(2):
        (row,) = archive.query("seed = 18446744073709551615 and stage = 'txt2img'").dicts()
        assert row["seed"] == 2**64 - 1
        archive.pack()


@pytest.mark.parametrize("sort", ["-timestamp", "cfg_scale", "-model", "upscaler"])
def test_pages_put_together_are_the_whole(tmp_path: Path, sort: str) -> None:
    """Ties and missing values included; what comes in between moves nothing."""
    archive = filled(tmp_path, range(25))
    whole = archive.query(sort=sort, limit=None).rows
    rows: list[Any] = []
    after = None
    for page in range(20):
        answer = archive.query(sort=sort, limit=7, after=after)
        rows += answer.rows
        after = answer.after
        if after is None:
            break
        if page == 0:
            archive.pack()
    assert tuple(rows) == whole
    with pytest.raises(FilterError, match="--after"):
        archive.query(after="nonsense")


def test_a_run_in_two_places_counts_once(tmp_path: Path) -> None:
    """As after a crash between the pack and the deletion, or two that packed at once."""
    archive = filled(tmp_path, range(10))
    kept = {path: path.read_bytes() for path in records_folder(tmp_path).iterdir()}
    archive.pack()
    for path, data in kept.items():
        path.write_bytes(data)
    assert sorted(run_ids(archive)) == [f"{number:016x}" for number in range(10)]
    archive.pack()
    assert len(read_packs(packs_folder(tmp_path))[0]) == 2
    assert sorted(run_ids(archive)) == [f"{number:016x}" for number in range(10)]
    assert len(archive.query(limit=None).rows) == 20


def packing(path: Path, program: str) -> subprocess.Popen[str]:
    """Start a process that packs, and return once it is about to."""
    start = "import sys; from safelight.archive import Archive; import duckdb, numpy;"
    start += " archive = Archive(sys.argv[1]); print('go', flush=True)\n"
    command = [sys.executable, "-c", start + program, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "go\n"
    return process


FORKS = """
import os, sys
import duckdb, numpy
from safelight.archive import Archive
for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        archive = Archive(sys.argv[1])
        while True:
            archive.pack()
    print(child, flush=True)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX's")
def test_packing_that_is_killed_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """A hundred times, at any moment, while records still come in."""
    chance = random.Random(1)
    archive = filled(tmp_path, range(4))
    assert len(run_ids(archive)) == 4
    began = time.perf_counter()
    archive.pack()
    longest = time.perf_counter() - began
    command = [sys.executable, "-c", FORKS, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        for round_ in range(1, 101):
            filled(tmp_path, range(round_ * 4, round_ * 4 + 4))
            server.stdin.write("go\n")
            child = int(server.stdout.readline())
            time.sleep(chance.uniform(0.0, longest))
            os.kill(child, signal.SIGKILL)
            assert server.stdout.readline() == "ended\n"
            # However busy the machine is, about half of them are killed before they are done.
            longest *= 1.15 if any(records_folder(tmp_path).iterdir()) else 1 / 1.15
            expected = [f"{number:016x}" for number in range(round_ * 4 + 4)]
            assert sorted(run_ids(archive)) == expected
        server.stdin.close()
    assert len(read_packs(packs_folder(tmp_path))[0]) > 10, "many got as far as a pack"
    archive.pack()
    whole, faults = verified(archive)
    assert faults == []
    assert whole >= 404


def test_two_processes_pack_at_once(tmp_path: Path) -> None:
    """Each may pack what the other packs; the answers are the same."""
    archive = filled(tmp_path, range(60))
    workers = [packing(tmp_path, "archive.pack(per_pack=7)") for _ in range(3)]
    for worker in workers:
        worker.communicate()
        assert worker.returncode == 0
    assert sorted(run_ids(archive)) == [f"{number:016x}" for number in range(60)]


def test_what_is_damaged_or_foreign_is_told_passed_over_and_kept(tmp_path: Path) -> None:
    """A zero-byte record, one of a future schema, a torn pack, somebody's notes."""
    archive = filled(tmp_path, range(6))
    archive.pack(per_pack=3)
    (torn, _), _ = read_packs(packs_folder(tmp_path))
    data = (torn.path / "images.parquet").read_bytes()
    (torn.path / "images.parquet").write_bytes(data[: len(data) // 2])
    filled(tmp_path, range(6, 8))
    records = records_folder(tmp_path)
    (records / "2026_empty.json").write_bytes(b"")
    future = record(50).to_json().replace('"schema":1', '"schema":9').replace("{", '{"later":1,', 1)
    (records / "2026_future.json").write_text(future, "utf-8")
    (packs_folder(tmp_path) / "notes").mkdir()
    (records / "notes.txt").write_text("mine", "utf-8")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    whole, faults = verified(archive)
    assert whole == 3 + 2 + 1, "the future record is read, its new field kept"
    assert {fault.path.name for fault in faults} == {
        torn.path.name, "2026_empty.json", "notes", "notes.txt"
    }  # fmt: skip
    known = run_ids(archive)
    assert f"{50:016x}" in known
    assert {path: path.read_bytes() for path in before} == before
    report = archive.pack()
    assert [fault.path.name for fault in report.left] == ["2026_empty.json"]


def test_a_full_disk_keeps_the_records_loose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is deleted before the pack is whole on the disk."""
    archive = filled(tmp_path, range(4))

    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full_disk:
        full_disk.setattr(os, "fsync", no_room)
        with pytest.raises(ArchiveError, match="No space left"):
            archive.pack()
    assert len(list(records_folder(tmp_path).glob("*.json"))) == 4
    assert list(packs_folder(tmp_path).iterdir()) == []
    assert archive.pack().records == 4


def test_two_archives_merge_to_their_union(tmp_path: Path) -> None:
    """Records, packs and pictures; a second merge copies nothing."""
    here, there = filled(tmp_path / "a", range(5)), filled(tmp_path / "b", range(5, 12))
    there.pack(per_pack=4)
    (tmp_path / "b" / "images").mkdir()
    (tmp_path / "b" / "images" / "x.png").write_bytes(b"png")
    assert merge_archives(here.path, there.path).files > 0
    assert sorted(run_ids(here)) == [f"{number:016x}" for number in range(12)]
    assert (tmp_path / "a" / "images" / "x.png").read_bytes() == b"png"
    assert merge_archives(here.path, there.path).files == 0


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_text('{outside}')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '{outside}'",
        "COPY runs TO '{outside}'",
        "ATTACH '{outside}' AS x",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SELECT 1; SELECT 2",
        "DROP VIEW runs",
        "PRAGMA database_list",
        "SELECT * FROM read_parquet('{packs}/../secret.parquet')",
        "SELECT getenv('HOME')",
    ],
)
def test_sql_reaches_nothing_outside(tmp_path: Path, statement: str) -> None:
    """No files, no settings, no second statement."""
    archive = filled(tmp_path / "archive", range(2))
    archive.pack()
    outside = tmp_path / "secret.txt"
    outside.write_text("secret", "utf-8")
    (tmp_path / "archive" / "secret.parquet").write_bytes(b"PAR1")
    packs = packs_folder(tmp_path / "archive").absolute()
    with pytest.raises(ArchiveError):
        archive.sql(statement.format(outside=outside, packs=packs))
    assert outside.read_text("utf-8") == "secret"


def test_sql_answers_over_the_views(tmp_path: Path) -> None:
    """For the questions that the filter language has no words for."""
    archive = filled(tmp_path, range(9))
    answer = archive.sql("SELECT model, count(*) AS n FROM runs GROUP BY model ORDER BY model")
    assert answer.columns == ("model", "n")
    assert answer.rows == (("model-0", 3), ("model-1", 3), ("model-2", 3))


def test_an_empty_archive_has_no_answers_and_no_faults(tmp_path: Path) -> None:
    """Nothing is made by asking."""
    archive = Archive(tmp_path / "new")
    assert archive.query().rows == ()
    assert verified(archive) == (0, [])
    assert archive.pack().records == 0
    assert not (tmp_path / "new").exists()
    with pytest.raises(ArchiveError, match="no records in"):
        archive.record("last")


@pytest.mark.parametrize(
    ("table", "wrong"),
    [
        ("documents", "SELECT run_id, json || ' ' AS json FROM it"),
        ("documents", "SELECT run_id, json FROM it LIMIT 2"),
        ("documents", "FROM it UNION ALL FROM it"),
        ("documents", "SELECT reverse(run_id) AS run_id, json FROM it"),
        ("documents", "SELECT run_id, NULL::VARCHAR AS json FROM it"),
        ("images", "FROM it LIMIT 1"),
        ("runs", "FROM it UNION ALL FROM it"),
    ],
)
def test_a_pack_is_verified_before_anything_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, wrong: str
) -> None:
    """What reads back otherwise than it was given is thrown away, and the records stay."""
    archive = filled(tmp_path, range(3))

    def written_wrongly(
        connection: duckdb.DuckDBPyConnection, folder: Path, tables: Iterable[str]
    ) -> None:
        write_tables(connection, folder, tables)
        file = folder / f"{table}.parquet"
        duckdb.execute(f"CREATE OR REPLACE TEMP TABLE it AS FROM '{file}'")
        duckdb.execute(f"COPY ({wrong}) TO '{file}' (FORMAT parquet)")

    with monkeypatch.context() as disk:
        disk.setattr(packs_module, "write_tables", written_wrongly)
        with pytest.raises(ArchiveError, match="nothing is deleted"):
            archive.pack()
    assert len(run_ids(archive)) == 3
    assert list(packs_folder(tmp_path).iterdir()) == []
    assert archive.pack().records == 3


def test_a_large_record_is_packed_whole(tmp_path: Path) -> None:
    """Whatever its size beside what is read at a time."""
    archive = Archive(tmp_path)
    with archive.writer() as writer:
        for size in (65_000, 131_072, 1_000_000):
            writer.write(record(size, prompt="x" * size))
    texts = sorted(path.read_bytes() for path in records_folder(tmp_path).iterdir())
    exact = records_folder(tmp_path) / "20270101T000000.000000Z_exact.json"
    text = record(1).to_json()
    long = edited(text, '"name":""', f'"name":"{"n" * (65_536 - len(text))}"')
    exact.write_text(long, "utf-8")
    assert exact.stat().st_size == 65_536
    texts = sorted([*texts, exact.read_bytes()])
    (pack,) = archive.pack().packs
    assert sorted(text for _, text in read_documents(pack)) == texts


@pytest.mark.parametrize("pictures", [1, 4])
def test_a_pack_is_in_order_of_time_however_its_records_came(tmp_path: Path, pictures: int) -> None:
    """Questions for the newest rest on it; a copy among them is there once."""
    records = [
        replace(made, outputs=made.outputs[:1] * pictures)
        for made in (record(number, prompt=f"<lora:ink:0.5> {number % 7}") for number in range(500))
    ]
    ordered = [made.to_json().encode() for made in records]
    mixed = [*ordered, ordered[3]]
    random.Random(5).shuffle(mixed)
    assert rows_of_pack(tmp_path / "mixed", mixed) == rows_of_pack(tmp_path / "ordered", ordered)


def rows_of_pack(folder: Path, documents: list[bytes]) -> dict[str, list[Any]]:
    pack = write_pack(folder, documents)
    rows: dict[str, list[Any]] = {"pack": [(pack.records, pack.first, pack.last)]}
    with duckdb.connect() as connection:
        for table in ("runs", "images", "settings", "documents"):
            numbered = " EXCLUDE prompt_id" if table == "images" else ""  # its own in each pack
            rows[table] = connection.execute(
                f"SELECT *{numbered} FROM '{pack.path / table}.parquet'"
            ).fetchall()
            assert len(rows[table]) >= 500
        prompts = connection.execute(
            f"SELECT run_id, lower_prompt FROM '{pack.path}/images.parquet'"
            f" JOIN '{pack.path}/prompts.parquet' USING (prompt_id) ORDER BY ALL"
        ).fetchall()
        assert len(prompts) == len(rows["images"])
    return rows | {"prompts": prompts}


def test_a_pack_of_two_records_of_one_run_is_refused(tmp_path: Path) -> None:
    """Nobody could say which of them ran."""
    one = record(1).to_json()
    other = edited(one, '"name":""', '"name":"x"')
    with pytest.raises(RecordError, match="is another record of run 0000000000000001"):
        write_pack(tmp_path, [one.encode(), other.encode()])
    assert not list(tmp_path.iterdir())


def test_two_records_of_one_run_do_not_stop_packing(tmp_path: Path) -> None:
    """A copy goes with the first; one that says something else stays loose and is told."""
    archive = filled(tmp_path, range(3))
    first, second, _ = sorted(records_folder(tmp_path).iterdir())
    copy = first.with_name("20270101T000000.000000Z_copy.json")
    copy.write_bytes(first.read_bytes())
    other = first.with_name("20270101T000000.000000Z_other.json")
    other.write_text(edited(second.read_text("utf-8"), '"name":""', '"name":"x"'), "utf-8")
    report = archive.pack()
    assert [(fault.path, fault.reason) for fault in report.left] == [
        (other, f"is another record of run {1:016x}")
    ]
    assert list(records_folder(tmp_path).iterdir()) == [other]
    assert sorted(run_ids(archive)) == [f"{number:016x}" for number in range(3)]


def test_text_that_is_none_stays_loose(tmp_path: Path) -> None:
    """Half a character in a field that nobody asks for does not keep the others from a pack."""
    archive = filled(tmp_path, range(3))
    odd = records_folder(tmp_path) / "20270101T000000.000000Z_odd.json"
    text = record(7).to_json().encode()
    odd.write_bytes(text.replace(b'"environment":{', b'"environment":{"x":"\xff",'))
    assert odd.read_bytes() != text
    report = archive.pack()
    assert report.records == 3
    assert [fault.path for fault in report.left] == [odd]


def test_what_cannot_be_deleted_is_told(tmp_path: Path) -> None:
    """The others go; what is gone already is no trouble."""
    files = [tmp_path / f"{number}.json" for number in range(9)]
    for file in files[1:]:
        file.write_text("{}", "utf-8")
    files[4].unlink()
    files[4].mkdir()
    ((stays, faults),) = delete_files(tmp_path, [file.name for file in files])
    assert stays == files[4]
    assert "is packed but cannot be deleted" in faults
    assert list(tmp_path.iterdir()) == [files[4]]


def test_batches_are_shared_out_evenly() -> None:
    """No process waits for another that has a whole pack more to do."""
    names = [str(number) for number in range(100)]
    assert share_out([], 20, 2) == []
    assert list(map(len, share_out(names, 20, 1))) == [20] * 5
    assert list(map(len, share_out(names, 20, 2))) == [17] * 5 + [15]
    assert [name for batch in share_out(names, 7, 4) for name in batch] == names


def test_packing_by_several_processes_is_packing(tmp_path: Path) -> None:
    """Which processes do it is of no consequence: every batch is told, nothing stays behind."""
    archive = filled(tmp_path, range(30))
    (records_folder(tmp_path) / "2026_empty.json").write_bytes(b"")
    before = archive.query(limit=None)
    names = sorted(os.listdir(records_folder(tmp_path)))
    batches = [names[start : start + 8] for start in range(0, len(names), 8)]
    reports: list[int] = []
    results = pack_in_batches(
        packs_folder(tmp_path),
        records_folder(tmp_path),
        batches,
        lambda packed: reports.append(packed.records),
        processes=2,
    )
    assert [result.records for result in results] == [8, 8, 8, 6]
    assert sorted(reports) == [6, 8, 8, 8]
    assert [path.name for result in results for path, _ in result.left] == ["2026_empty.json"]
    assert [path.name for path in records_folder(tmp_path).iterdir()] == ["2026_empty.json"]
    assert archive.query(limit=None) == before


def test_trouble_of_another_process_is_told(tmp_path: Path) -> None:
    """A folder that cannot be written to: the records stay loose."""
    filled(tmp_path, range(4))
    packs_folder(tmp_path).write_text("in the way", "utf-8")
    packs, records = packs_folder(tmp_path), records_folder(tmp_path)
    names = sorted(os.listdir(records))
    with pytest.raises(ArchiveError, match="could not be written"):
        pack_in_batches(packs, records, [names[:2], names[2:]], processes=2)
    assert sorted(os.listdir(records)) == names


def test_one_odd_value_among_many_is_kept(tmp_path: Path) -> None:
    """Kinds come from the columns, not from a sample; what does not fit is missing."""
    documents = [record(number).to_json() for number in range(3000)]
    documents[2711] = edited(documents[2711], '"error":null', '"error":"late"')
    documents[2712] = edited(documents[2712], '"steps":12', '"steps":98765432109876543210')
    write_pack(packs_folder(tmp_path), [text.encode() for text in documents])
    archive = Archive(tmp_path)
    assert len(archive.query("error = 'late'", view="runs").rows) == 1
    assert len(archive.query("steps is missing").rows) == 2
    assert verified(archive) == (3000, [])


@pytest.mark.parametrize("sort", ["-timestamp", "timestamp"])
def test_pages_over_many_packs_of_any_times(
    tmp_path: Path, sort: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest packs are asked first; it shows in no answer, however the packs overlap."""
    monkeypatch.setattr(views, "_FIRST_LOOK", 10)
    monkeypatch.setattr(views, "_GROWTH", 2)
    chance = random.Random(3)
    numbers = list(range(90))
    chance.shuffle(numbers)
    archive = Archive(tmp_path)
    for start in range(0, 80, 10):
        some = numbers[start : start + 10]
        write_pack(packs_folder(tmp_path), [record(n).to_json().encode() for n in some])
    with archive.writer() as writer:
        for number in numbers[80:]:
            writer.write(record(number))
    for condition in ("", "cfg_scale > 4", "prompt has 'picture 3'", "model = 'none'"):
        whole = archive.query(condition, sort=sort, limit=None)
        rows: list[Any] = []
        answer = archive.query(condition, sort=sort, limit=7)
        rows += answer.rows
        while answer.after:
            answer = archive.query(condition, sort=sort, limit=7, after=answer.after)
            rows += answer.rows
        assert tuple(rows) == whole.rows
    assert len(archive.query(view="runs", limit=None).rows) == 90


_ENDLESS = "SELECT count(*) FROM range(10000000000) AS a WHERE a.range % 7 = sqrt(a.range)"
_STOPPED = """
import os, signal, sys, threading
from safelight.archive import Archive
from safelight.archive.packs import connected

def ask(database):
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    database.execute(sys.argv[2])

try:
    if sys.argv[3] == "archive":
        Archive(sys.argv[1]).asked(lambda database, views: ask(database), rated=False)
    else:
        with connected() as database:
            ask(database)
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.parametrize("what", ["archive", "pack"])
def test_control_c_stops_a_query_as_it_stops_anything(tmp_path: Path, what: str) -> None:
    """DuckDB makes an error of its own of it, which nobody would take for a stop."""
    words = [sys.executable, "-c", _STOPPED, str(tmp_path), _ENDLESS, what]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("stopped\n", 0), done.stderr
