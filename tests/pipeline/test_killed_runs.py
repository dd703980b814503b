"""A run that is killed at any moment becomes a record of what it had finished, exactly once."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from safelight.archive import Archive
from safelight.archive_layout import JOURNAL_NAME
from safelight.backends.fake import FakeBackend
from safelight.errors import RecordError
from safelight.imports.lost_records import rebuild_lost_records
from safelight.learning import LearningRecord, LearningRecordWriter, read_records
from safelight.learning.learning_record import ImageOutput, VariantFailure
from safelight.pipeline import PipelineRunner, RunProgress, RunResult, recover_interrupted_runs
from safelight.pipeline.journal import VariantEntry, fold, read_journal

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 and fork")

CONFIG: dict[str, Any] = {
    "txt2img": {
        "prompt": "a {red|green|blue} apple, 灯台", "steps": 2, "width": 64, "height": 64,
    },
    "upscale": {"upscaler": "Nearest", "scale": 2},
    "randomizer": {"mode": "fanout"},
    "metadata": {"half": 0.5, "whole": 7, "big": 2**70},
}  # fmt: skip

COMMON = """
import json, os, random, signal, sys, time
from pathlib import Path
from safelight.backends.fake import FakeBackend
from safelight.learning import LearningRecordWriter
from safelight.pipeline import PipelineRunner, recover_interrupted_runs
archive, config = Path(sys.argv[1]), json.loads(sys.argv[2])
writer = LearningRecordWriter(archive / "records")
def runner(seconds_per_step, **hooks):
    return PipelineRunner(
        FakeBackend(seconds_per_step=seconds_per_step),
        archive_dir=archive, learning_record_writer=writer, **hooks)
"""


def child(code: str, archive: Path, *arguments: object) -> subprocess.Popen[str]:
    """Start *code* in a Python of its own, with pipes in both directions."""
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            COMMON + code,
            str(archive),
            json.dumps(CONFIG),
            *map(str, arguments),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


class LostWriter:
    """Loses every record, as a disk does that dies at the end of a run."""

    def write(self, record: LearningRecord) -> None:
        raise OSError("the disk is gone")


def lost_run(archive: Path, config: Any = None) -> RunResult:
    """Carry out a run that leaves pictures and journal, and no record."""
    runner = PipelineRunner(FakeBackend(), archive_dir=archive, learning_record_writer=LostWriter())
    return runner.run(config or CONFIG)


def recover(archive: Path) -> tuple[LearningRecord, ...]:
    with LearningRecordWriter(archive / "records") as writer:
        recovered = recover_interrupted_runs(archive, writer)
    assert writer.failures == 0
    return recovered


def records_by_run(archive: Path) -> dict[str, LearningRecord]:
    """Return the records, and prove that no run has two."""
    records = list(read_records(archive / "records"))
    by_run = {record.run_id: record for record in records}
    assert len(by_run) == len(records)
    return by_run


def markers(archive: Path) -> set[str]:
    """The runs whose record is not safe yet."""
    try:
        return {name for name in os.listdir(archive / "running") if not name.startswith(".")}
    except FileNotFoundError:
        return set()


def assert_whole(archive: Path, records: Iterable[LearningRecord]) -> None:
    """Every picture that a record names is there and is the one that it means."""
    for record in records:
        for output in record.outputs:
            assert output.path is not None
            data = (archive / output.path).read_bytes()
            assert hashlib.sha256(data).hexdigest() == output.sha256


# -- killed for real -------------------------------------------------------------------

KILLED = """
chance = random.Random(int(sys.argv[3]))
for number in range(30):
    pid = os.fork()
    if pid == 0:
        while True:
            runner(0.001).run(config)
    time.sleep(chance.uniform(0.01, 0.15))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
"""


@posix_only
def test_runs_killed_at_random_moments_become_interrupted_records(tmp_path: Path) -> None:
    """Every finished variant is in the record, and every picture in it is whole."""
    process = child(KILLED, tmp_path, 20260131)
    _, trouble = process.communicate(timeout=120)
    assert (process.returncode, trouble) == (0, "")
    before = records_by_run(tmp_path)
    open_runs = markers(tmp_path)
    journals = {
        header["run_id"]: (entries, ending)
        for header, entries, ending in map(read_journal, journal_files(tmp_path))
    }
    assert open_runs <= set(journals)

    recovered = recover(tmp_path)
    assert {record.run_id for record in recovered} == open_runs - set(before)
    assert markers(tmp_path) == set()
    after = records_by_run(tmp_path)
    assert set(after) == set(before) | open_runs
    assert any(record.status == "interrupted" for record in recovered)
    for record in recovered:
        entries, ending = journals[record.run_id]
        assert record.status == (ending["status"] if ending else "interrupted")
        assert record.variant_configs == [entry.config for entry in entries]
        assert list(record.outputs) == [out for entry in entries for out in entry.outputs]
        assert len(record.outputs) == 2 * len(record.variant_configs)
        assert record.randomizer_plan_size == 3
        assert record.metadata == CONFIG["metadata"]
    assert_whole(tmp_path, after.values())
    for run_id in set(journals) - set(after):
        assert journals[run_id] == ([], None)  # killed before it had begun

    assert recover(tmp_path) == ()
    assert records_by_run(tmp_path) == after


def journal_files(archive: Path) -> list[Path]:
    """Journals that have begun: one that is empty belongs to a run that never did."""
    return [path for path in archive.rglob(JOURNAL_NAME) if b"\n" in path.read_bytes()]


SLOW = """
def tell(progress):
    if progress.event == "variant":
        print(progress.run_id, flush=True)
        sys.stdin.readline()
runner(0.0, on_progress=tell).run(config)
"""


@posix_only
def test_a_living_run_is_left_alone(tmp_path: Path) -> None:
    """Recovery belongs to the dead: a second program may start at any time."""
    process = child(SLOW, tmp_path)
    run_id = wait_for_line(process).strip()
    assert recover(tmp_path) == ()
    assert markers(tmp_path) == {run_id}

    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=120)
    [record] = recover(tmp_path)
    assert (record.run_id, record.status) == (run_id, "interrupted")
    assert len(record.variant_configs) >= 1
    assert_whole(tmp_path, [record])


def test_a_living_run_of_the_same_process_is_left_alone(tmp_path: Path) -> None:
    """The controller may look for interrupted runs while it runs one."""
    seen: list[tuple[LearningRecord, ...]] = []
    with LearningRecordWriter(tmp_path / "records") as writer:
        PipelineRunner(
            FakeBackend(),
            archive_dir=tmp_path,
            learning_record_writer=writer,
            on_progress=lambda _: seen.append(recover_interrupted_runs(tmp_path, writer)),
        ).run(CONFIG)
    assert set(seen) == {()}
    assert [record.status for record in records_by_run(tmp_path).values()] == ["completed"]


@posix_only
def test_control_c_leaves_a_cancelled_record(tmp_path: Path) -> None:
    """The signal itself, in a program of its own, while the engine works."""
    process = child(
        """
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
def tell(progress):
    if progress.event == "variant" and progress.variant == 1:
        print("one is safe", flush=True)
runner(0.02, on_progress=tell).run({**config, "txt2img": {**config["txt2img"], "steps": 30}})
""",
        tmp_path,
    )
    assert wait_for_line(process) == "one is safe\n"
    process.send_signal(signal.SIGINT)
    _, trouble = process.communicate(timeout=120)
    assert process.returncode != 0
    assert trouble.rstrip().endswith("KeyboardInterrupt")
    [record] = records_by_run(tmp_path).values()
    assert (record.status, record.error) == ("cancelled", "KeyboardInterrupt")
    assert record.outputs != ()
    assert_whole(tmp_path, [record])
    assert markers(tmp_path) == set()


# -- many recoveries -------------------------------------------------------------------

RECOVERING = """
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps([record.run_id for record in recover_interrupted_runs(archive, writer)]))
print(writer.failures)
"""


def test_recoveries_at_once_give_one_record_of_each_run(tmp_path: Path) -> None:
    """Two terminals are opened after a crash, and both tidy up."""
    runs = {lost_run(tmp_path).run_id for _ in range(12)}
    assert markers(tmp_path) == runs
    processes = [child(RECOVERING, tmp_path) for _ in range(3)]
    for process in processes:
        assert wait_for_line(process) == "ready\n"
    printed = [process.communicate("go\n", timeout=120)[0].split("\n") for process in processes]
    assert set().union(*(json.loads(lines[0]) for lines in printed)) == runs
    assert [lines[1] for lines in printed] == ["0"] * 3
    assert set(records_by_run(tmp_path)) == runs
    assert markers(tmp_path) == set()


def test_recoveries_by_several_threads_give_one_record_of_each_run(tmp_path: Path) -> None:
    """The same inside one program."""
    runs = {lost_run(tmp_path).run_id for _ in range(8)}
    threads = [threading.Thread(target=recover, args=[tmp_path]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(records_by_run(tmp_path)) == runs
    assert markers(tmp_path) == set()


def test_a_recovery_that_was_killed_after_writing_is_finished_by_the_next(tmp_path: Path) -> None:
    """Between the record and the end of its marker there is a moment, too."""
    run_id = lost_run(tmp_path).run_id
    marker = tmp_path / "running" / run_id
    content = marker.read_bytes()
    assert len(recover(tmp_path)) == 1
    marker.write_bytes(content)
    assert recover(tmp_path) == ()
    assert set(records_by_run(tmp_path)) == {run_id}
    assert markers(tmp_path) == set()


def test_how_a_run_ended_is_recovered_with_the_reason(tmp_path: Path) -> None:
    """A run that was stopped, and whose record then could not be written, says why it was."""

    def stop(progress: RunProgress) -> None:
        if progress.event == "variant":
            raise KeyboardInterrupt

    runner = PipelineRunner(
        FakeBackend(), archive_dir=tmp_path, learning_record_writer=LostWriter(), on_progress=stop
    )
    with pytest.raises(KeyboardInterrupt):
        runner.run(CONFIG)
    [record] = recover(tmp_path)
    assert (record.status, record.error) == ("cancelled", "KeyboardInterrupt")
    assert record.outputs != ()


def test_a_half_written_record_of_the_killed_run_does_not_block_its_recovery(
    tmp_path: Path,
) -> None:
    """The kill can hit the very write of the record."""
    result = lost_run(tmp_path)
    assert result.learning_record is not None
    stamp = result.learning_record.timestamp.replace("-", "").replace(":", "")
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / f".{stamp}_{result.run_id}.json.tmp").write_bytes(b'{"run_id"')
    assert recover(tmp_path) == (result.learning_record,)
    assert recover(tmp_path) == ()
    assert records_by_run(tmp_path) == {result.run_id: result.learning_record}


# -- damaged journals ------------------------------------------------------------------


def journal_of(archive: Path, result: RunResult) -> Path:
    assert result.folder is not None
    assert result.folder.is_relative_to(archive)
    return result.folder / JOURNAL_NAME


@pytest.mark.parametrize("lines_left", [1, 2, 3, 4])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99, 1.0])
def test_a_torn_last_line_is_passed_over(tmp_path: Path, lines_left: int, share: float) -> None:
    """A power cut can leave any part of a line; what is before it counts."""
    result = lost_run(tmp_path)
    journal = journal_of(tmp_path, result)
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + 3 + 1
    torn = lines[lines_left].rstrip()
    journal.write_bytes(b"".join(lines[:lines_left]) + torn[: int(len(torn) * share)])

    [record] = recover(tmp_path)
    # A line that lacks nothing but its newline is whole.
    kept, status = lines_left - 1, "interrupted"
    if share == 1.0:
        kept, status = min(lines_left, 3), "interrupted" if lines_left < 4 else "completed"
    assert (record.status, len(record.variant_configs)) == (status, kept)
    assert result.learning_record is not None
    assert record.variant_configs == result.learning_record.variant_configs[:kept]
    assert_whole(tmp_path, [record])
    assert recover(tmp_path) == ()


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"\0" * 4096, id="zeros, as some file systems leave"),
        pytest.param(
            b'{"position": 9, "config": {"txt2img": {"prompt": "\xff"}}}\n', id="no UTF-8"
        ),
        pytest.param(b"[]\n", id="a list"),
        pytest.param(b"{}\n", id="an empty object"),
        pytest.param(b"7\n", id="a number"),
        pytest.param(
            b'{"position": 9, "config": {}, "outputs": [{"new": 1}]}\n', id="later schema"
        ),
        pytest.param(b'{"status": 7}\n', id="status that is no text"),
    ],
)
def test_garbage_behind_the_last_line_costs_no_finished_variant(
    tmp_path: Path, garbage: bytes
) -> None:
    """And it never keeps the other runs from being recovered."""
    damaged, healthy = lost_run(tmp_path), lost_run(tmp_path)
    journal = journal_of(tmp_path, damaged)
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]) + garbage)
    assert {record.run_id for record in recover(tmp_path)} == {damaged.run_id, healthy.run_id}
    record = records_by_run(tmp_path)[damaged.run_id]
    assert (record.status, len(record.variant_configs)) == ("interrupted", 3)


def test_every_flip_in_a_line_is_seen_and_costs_its_variant(tmp_path: Path) -> None:
    """A flipped bit in a seed or a hash would be a record of something that never was."""
    result = lost_run(tmp_path)
    journal = journal_of(tmp_path, result)
    good = journal.read_bytes()
    header, entries, _ = read_journal(journal)
    start = good.index(b"\n") + 1
    for place in range(start, good.index(b"\n", start)):
        flipped = bytearray(good)
        flipped[place] ^= 1 << place % 8
        journal.write_bytes(flipped)
        assert read_journal(journal)[:2] == (header, entries[1:]), place
    for place in range(0, start - 1, 3):
        flipped = bytearray(good)
        flipped[place] ^= 1 << place % 8
        journal.write_bytes(flipped)
        with pytest.raises(RecordError, match="first line"):
            read_journal(journal)


def test_a_journal_of_before_reads_without_checksums(tmp_path: Path) -> None:
    """Runs that an earlier version began are recovered."""
    result = lost_run(tmp_path)
    journal = journal_of(tmp_path, result)
    lines = [json.loads(line) for line in journal.read_bytes().splitlines()]
    for line in lines:
        assert len(line.pop("check")) == 8
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    [record] = recover(tmp_path)
    assert result.learning_record is not None
    assert record.variant_configs == result.learning_record.variant_configs


def test_no_damage_to_a_journal_makes_recovery_raise(tmp_path: Path) -> None:
    """Recovery runs at every start of the program; it must never be what stops it."""
    result = lost_run(tmp_path)
    journal, marker = journal_of(tmp_path, result), tmp_path / "running" / result.run_id
    data, place = journal.read_bytes(), marker.read_bytes()
    chance = random.Random(20260131)
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        journal.write_bytes(damaged)
        marker.write_bytes(place)
        with LearningRecordWriter(tmp_path / "records") as writer:
            recover_interrupted_runs(tmp_path, writer)
        assert writer.failures == 0
        for path in (tmp_path / "records").glob("*"):
            path.unlink()


@pytest.mark.parametrize(
    "header", [b"", b"\n", b"{}\n", b"[]\n", b'{"template": null}\n', b'{"run_id": 3}\n']
)
def test_a_journal_without_a_head_is_kept_and_others_are_recovered(
    tmp_path: Path, header: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be understood is not thrown away, and the log names it."""
    damaged, healthy = lost_run(tmp_path), lost_run(tmp_path)
    journal = journal_of(tmp_path, damaged)
    journal.write_bytes(header)
    assert {record.run_id for record in recover(tmp_path)} == {healthy.run_id}
    assert markers(tmp_path) == {damaged.run_id}
    assert journal.read_bytes() == header
    assert damaged.run_id in caplog.text
    rebuilt = rebuild_lost_records(Archive(tmp_path))
    assert [record.run_id for record in rebuilt] == [damaged.run_id]
    assert markers(tmp_path) == set()


def test_an_archive_without_runs_has_nothing_to_recover(tmp_path: Path) -> None:
    """The first command of a new user."""
    assert recover(tmp_path) == recover(tmp_path / "missing") == ()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("what", ["folder", "journal"])
def test_a_run_whose_folder_was_deleted_stops_nobody(tmp_path: Path, what: str) -> None:
    """Somebody threw the pictures away; there is nothing left to record."""
    gone, healthy = lost_run(tmp_path), lost_run(tmp_path)
    assert gone.folder is not None
    if what == "folder":
        shutil.rmtree(gone.folder)
    else:
        (gone.folder / JOURNAL_NAME).unlink()
    assert {record.run_id for record in recover(tmp_path)} == {healthy.run_id}
    assert not (gone.folder / JOURNAL_NAME).exists()


@pytest.mark.parametrize("marker", [b"", b"\xff", b"a\0b", b"x" * 5000, b"../aside", b"{aside}"])
def test_a_marker_that_makes_no_sense_stops_nobody(tmp_path: Path, marker: bytes) -> None:
    """Nor does it lead recovery out of the archive."""
    archive, aside = tmp_path / "archive", tmp_path / "aside"
    aside.mkdir()
    run_id = lost_run(archive).run_id
    content = marker.replace(b"{aside}", os.fsencode(aside))
    (archive / "running" / "nonsense").write_bytes(content)
    assert [record.run_id for record in recover(archive)] == [run_id]
    assert os.listdir(aside) == []


def test_what_was_never_finished_leaves_no_gap_in_the_record() -> None:
    """Of several that were drawn at a time the second was not done: the third is in its place."""
    output = ImageOutput(
        variant=2, stage="txt2img", path="images/c.png", sha256="c" * 64, pixel_sha256="d" * 64,
        width=8, height=8,
    )  # fmt: skip
    failure = VariantFailure(variant=3, stage="txt2img", error="no")
    entries = [
        VariantEntry(position=3, config={"txt2img": {"steps": 3}}, failures=(failure,)),
        VariantEntry(position=2, config={"txt2img": {"steps": 2}}, outputs=(output,)),
        VariantEntry(position=0, config={"txt2img": {"steps": 0}}),
    ]
    header = {
        "run_id": "a", "timestamp": "2026-01-01T00:00:00.000000Z", "base_config": {},
        "randomizer_mode": "fanout", "randomizer_plan_size": 4, "first_variant": 0,
    }  # fmt: skip
    record = fold(header, entries, "interrupted", None)
    assert [config["txt2img"]["steps"] for config in record.variant_configs] == [0, 2, 3]
    assert [(each.variant, each.path) for each in record.outputs] == [(1, "images/c.png")]
    assert [each.variant for each in record.failures] == [2]
