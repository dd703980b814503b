"""An import that loses a process, or is ended, loses at most a few hundred pictures."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from archives import verified
from imports import killed_import
from safelight.archive import Archive
from safelight.cli import main
from safelight.errors import RequestError, StorageError
from safelight.imports import folder_import, import_journal
from safelight.imports.folder_import import ImportSummary, import_folders
from safelight.imports.worker_processes import DIED, read_files

_SOURCE = Path(__file__).parents[2] / "src"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "many").mkdir()
    for seed in range(400):
        Image.new("RGB", (4, 4), (seed % 256, seed // 256, 9)).save(
            tmp_path / "many" / f"{seed:03}.png"
        )
    return tmp_path / "many"


def test_a_file_that_ends_its_process_is_named_and_the_rest_is_read() -> None:
    paths = [f"{number:03}" for number in range(150)]
    paths[70] = paths[99] = "deadly"
    read = list(read_files(paths, killed_import.dies_at, 2, lambda path, why: f"{path}: {why}"))
    told = [text for batch in read for text in batch]
    assert sorted(text for text in told if text.isdigit()) == sorted(set(paths) - {"deadly"})
    assert [text for text in told if not text.isdigit()] == [f"deadly: {DIED}"] * 2


def test_a_worker_that_is_killed_costs_nothing(folder: Path, tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    killed: list[int] = []

    def kill(summary: ImportSummary) -> None:
        children = [child for child in multiprocessing.active_children() if child.pid]
        if children and len(killed) < 2 and 100 * len(killed) < summary.files < 300:
            pid = int(children[0].pid or 0)
            with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    summary = import_folders([folder], archive, jobs=2, on_progress=kill)
    assert killed
    again = import_folders([folder], archive)
    assert (summary.imported + again.imported, again.unchanged) == (400, summary.imported)
    assert summary.imported + summary.fault_count == 400
    assert all(fault.reason == DIED for fault in summary.faults)
    assert verified(archive) == (400, [])


def test_no_process_that_can_be_started_is_said_truly(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(ProcessPoolExecutor, "submit", refused)
    with pytest.raises(RequestError, match="can be started: no more processes.*--jobs 1"):
        import_folders([folder], Archive(tmp_path / "archive"), jobs=2)


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_was_read_before_control_c_is_kept(folder: Path, tmp_path: Path, jobs: int) -> None:
    archive = Archive(tmp_path / "archive")

    def stop(summary: ImportSummary) -> None:
        if summary.files > 200:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_folders([folder], archive, jobs=jobs, on_progress=stop)
    kept = len(archive.query("", columns=["run_id"], limit=None).rows)
    assert kept > 60
    summary = import_folders([folder], archive)
    assert (summary.unchanged, summary.imported) == (kept, 400 - kept)
    assert not list((archive.path / "imports").glob(".read-*"))


def test_an_import_that_is_killed_leaves_what_it_read_to_the_next(
    folder: Path, tmp_path: Path
) -> None:
    """No pack was full yet; what the journal has need not be read again."""
    archive = Archive(tmp_path / "archive")
    code = (
        "import os, signal, sys; from pathlib import Path; from safelight.archive import Archive;"
        "from safelight.imports.folder_import import import_folders\n"
        "def kill(summary):\n"
        "    if summary.files > 350: os.kill(os.getpid(), signal.SIGKILL)\n"
        "import_folders([Path(sys.argv[1])], Archive(Path(sys.argv[2])), on_progress=kill)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), str(archive.path)], check=False,
        env={**os.environ, "PYTHONPATH": str(_SOURCE)},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    assert archive.query("", columns=["run_id"], limit=None).rows == ()
    (journal,) = (archive.path / "imports").glob(".read-*")
    with journal.open("ab") as file:
        file.write(b'{"path":"torn')
    read: list[str] = []

    def once(paths: Iterator[str], *more: object) -> Iterator[list[object]]:
        read.extend(paths)
        return iter(read_files(read, *more))  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder_import, "read_files", lambda *given: _generated(once(*given)))
        summary = import_folders([folder], archive)
    assert summary.taken_in == 256
    assert len(read) == 400 - 256
    assert len(archive.query("", columns=["run_id"], limit=None).rows) == 400
    assert not journal.exists()
    assert verified(archive) == (400, [])


def _generated(batches: Iterator[list[object]]) -> Iterator[list[object]]:
    yield from batches


def test_a_living_imports_journal_is_left_alone(folder: Path, tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    inner: list[ImportSummary] = []

    def meanwhile(summary: ImportSummary) -> None:
        if summary.files > 300 and not inner:
            inner.append(import_folders([folder], archive))

    outer = import_folders([folder], archive, on_progress=meanwhile)
    assert inner[0].taken_in == outer.taken_in == 0
    assert len(archive.query("", columns=["run_id"], limit=None).rows) == 400


def test_control_c_at_the_terminal_has_no_traceback(folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from safelight.imports import folder_import as f\n"
        "whole = f.import_folders\n"
        "def stops(*given, on_progress, **more):\n"
        "    def stop(summary):\n"
        "        if summary.files > 200: raise KeyboardInterrupt\n"
        "    return whole(*given, on_progress=stop, **more)\n"
        "f.import_folders = stops\n"
        "from safelight.cli import main; main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "import", str(folder), "--archive", str(tmp_path / "a"),
         "--jobs", "2"],
        check=False, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(_SOURCE)},
    )  # fmt: skip
    assert done.returncode == 130
    assert "the same command goes on" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_an_archive_that_cannot_be_written_is_told_once(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost with the process: the pictures are where they were."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safelight.archive.archive.write_new_file", full)
    some = sorted(folder.iterdir())[:3]
    with pytest.raises(Exception, match="No space left on device") as told:
        import_folders(some, Archive(tmp_path / "archive"))
    assert "lost" not in str(told.value) + caplog.text
    monkeypatch.setattr(import_journal, "AppendOnlyFile", full)
    with pytest.raises(StorageError, match="the pictures are as they were"):
        import_folders([folder], Archive(tmp_path / "other"))


def test_the_archive_itself_and_files_of_other_kinds_are_told(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "p.png")
    archive = tmp_path / "archive"
    for name in ("a.mp4", "b.WEBM", "c.jxl", "d.heic", "e.tiff", "f.bmp", "g.json", "h.txt"):
        (tmp_path / name).write_bytes(b"x")
    asked = ["import", str(tmp_path), "--archive", str(archive), "--jobs", "1"]
    told = CliRunner().invoke(main, asked).output
    assert "not read: 1 BMP, 1 HEIC, 1 JPEG XL, 1 JSON, 1 TIFF, 2 video" in told
    answer = json.loads(CliRunner().invoke(main, [*asked, "--json"]).output)
    assert answer["other_kinds"]["video"] == 2
    of_itself = ["import", str(archive), "--archive", str(archive), "--jobs", "1"]
    told = CliRunner().invoke(main, of_itself).output
    assert f"{archive} is the archive itself and was passed over" in told


def test_the_table_is_shown_at_any_time(tmp_path: Path) -> None:
    data = Path(__file__).parents[1] / "data" / "imports"
    archive = ["--archive", str(tmp_path / "a")]
    asked = ["import", str(data), "--jobs", "1", "--json", *archive]
    first = json.loads(CliRunner().invoke(main, asked).output)
    again = json.loads(CliRunner().invoke(main, ["import", "--summary", "--json", *archive]).output)
    assert again["read"] == first["read"]
    assert again["missing"] == first["missing"]
    CliRunner().invoke(main, ["archive", "pack", *archive])
    told = CliRunner().invoke(main, ["import", "--summary", *archive]).output
    assert "what is missing" in told
    assert "a1111" in told
    assert CliRunner().invoke(main, ["import", *archive]).exit_code == 2
