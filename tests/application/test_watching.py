"""What comes to a watched folder is in the archive once it is whole, each once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import safelight_spool
from PIL import Image, PngImagePlugin
from safelight_spool import Spool

from safelight.application import watching
from safelight.application.watching import WatchBeside, WatchedBatch, Watcher
from safelight.archive import Archive
from safelight.cli import watch_command
from safelight.imports.folder_import import import_folders
from safelight.imports.tree_looks import TreeLooks

_PATIENCE = 60.0


def _picture(path: Path, seed: int) -> Path:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", (
        f"a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: {seed}, Size: 8x8, Model: m,"
        " Version: v1.10.1"
    ))  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (seed % 256, seed // 256, 0)).save(path, pnginfo=info)
    return path


class Watched:
    """A watcher in a thread, and what it has told."""

    def __init__(self, folder: Path, archive: Path, poll: float | None) -> None:
        self.archive = Archive(archive)
        self.batches: list[WatchedBatch] = []
        self._changed = threading.Condition()
        self.watcher = Watcher([folder], self.archive, poll=poll)
        self._thread = threading.Thread(target=self.watcher.run, args=(self._take,))
        self._thread.start()
        self.wait(lambda: bool(self.batches), "what is there is taken in")

    def _take(self, batch: WatchedBatch) -> None:
        with self._changed:
            self.batches.append(batch)
            self._changed.notify_all()

    def wait(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until a batch makes something true."""
        with self._changed:
            assert self._changed.wait_for(holds, _PATIENCE), what

    def count(self, name: str) -> int:
        return sum(getattr(batch.summary, name) for batch in self.batches)

    def news(self) -> str:
        return "\n".join(batch.news for batch in self.batches)

    def seeds(self) -> list[int]:
        return sorted(int(row["seed"]) for row in self.archive.query(limit=None).dicts())

    def end(self) -> None:
        self.watcher.stop()
        self._thread.join(_PATIENCE)
        assert not self._thread.is_alive()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "output"
    path.mkdir()
    return path


@pytest.fixture(params=["notices", "looks"])
def watched(request: pytest.FixtureRequest, tmp_path: Path, folder: Path) -> Iterator[Watched]:
    if request.param == "notices":
        pytest.importorskip("watchfiles")
    _picture(folder / "there.png", 1)
    watched = Watched(folder, tmp_path / "archive", None if request.param == "notices" else 0.1)
    assert watched.watcher.how.startswith("by notices") == (request.param == "notices")
    yield watched
    watched.end()


def test_what_comes_is_taken_in_when_it_is_whole(watched: Watched, folder: Path) -> None:
    """Half a file that lies still is not taken for a picture; folders come and go as well."""
    assert watched.count("imported") == 1
    whole = _picture(folder.parent / "whole.png", 2).read_bytes()
    cut = folder / "cut.png"
    cut.write_bytes(whole[:-20])
    (folder / "empty.png").touch()
    _picture(folder / "new" / "deep" / "a.png", 3)
    outside = folder.parent / "outside"
    _picture(outside / "b.png", 4)
    old = time.time() - 10**6
    os.utime(outside / "b.png", (old, old))
    outside.rename(folder / "moved")
    watched.wait(lambda: watched.count("imported") == 3, "two more are whole")
    assert watched.seeds() == [1, 3, 4]
    cut.write_bytes(whole)
    watched.wait(lambda: watched.count("imported") == 4, "and now the third is")
    assert watched.seeds() == [1, 2, 3, 4]
    assert watched.count("fault_count") == 0


def test_lines_are_taken_in_with_their_pictures(watched: Watched, folder: Path) -> None:
    spool = Spool(folder / safelight_spool.FOLDER, tool="forge")
    spool.append(status="failed", error="out of memory")
    spool.append(outputs=[_picture(folder / "a.png", 2)], seconds=3)
    watched.wait(lambda: watched.count("lines") == 2, "both lines")
    watched.wait(lambda: watched.count("imported") + watched.count("superseded") >= 2, "a picture")
    rows = watched.archive.query("seed = 2", limit=None)
    (row,) = rows.dicts()
    assert row["seconds"] == 3
    failed = list(watched.archive.query("status = 'failed'", view="runs", limit=None).dicts())
    assert [each["error"] for each in failed] == ["out of memory"]


def test_a_line_that_comes_before_its_picture_is_one_with_it(
    watched: Watched, folder: Path
) -> None:
    spool = Spool(folder / safelight_spool.FOLDER, tool="forge")
    spool.append(outputs=[folder / "late.png"], seconds=3)
    deadline = time.monotonic() + _PATIENCE
    while watched.watcher._later is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert watched.count("lines") == 0
    _picture(folder / "late.png", 2)
    watched.wait(lambda: watched.count("lines") == 1, "the line")
    watched.wait(lambda: 2 in watched.seeds(), "its picture")
    (row,) = watched.archive.query("seed = 2", limit=None).dicts()
    assert row["seconds"] == 3
    assert watched.count("alone") == 0


def test_what_somebody_else_has_taken_in_is_said_to_be_there(
    watched: Watched, folder: Path, tmp_path: Path
) -> None:
    """Another watch, or an import: nobody is left waiting for word of a picture."""
    other = _picture(tmp_path / "elsewhere" / "a.png", 2)
    import_folders([other.parent], watched.archive)
    shutil.copy(other, folder / "a.png")
    watched.wait(lambda: watched.count("known") == 1, "it is known")
    assert watched.count("imported") == 1


def test_what_cannot_be_read_is_told_once(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not at each start again; that it is there still is."""
    (folder / "stub.png").write_bytes(_picture(tmp_path / "a.png", 1).read_bytes()[:20])
    for _ in range(2):
        watched = Watched(folder, tmp_path / "archive", 0.1)
        watched.end()
        watch_command._say(watched.batches[0])
    first, reason, again = capsys.readouterr().out.splitlines()
    assert first == "there already: 1 could not be read"
    assert "stub.png: a PNG file must begin" in reason
    assert again == "there already: 1 still cannot be read"


def test_a_picture_that_is_written_over_is_read_again(watched: Watched, folder: Path) -> None:
    """Its tool writes each picture to the same name."""
    if watched.watcher.how.startswith("by looking"):
        pytest.skip("only a whole look sees that, once a minute")
    _picture(folder / "there.png", 2)
    watched.wait(lambda: watched.count("imported") == 2, "another picture")
    rows = watched.archive.query(limit=None).dicts()
    assert {(row["seed"], row["gone"]) for row in rows} == {(1, True), (2, None)}


def test_a_folder_that_vanishes_is_waited_for(watched: Watched, folder: Path) -> None:
    """As a disk that is not there for a while."""
    away = folder.with_name("away")
    folder.rename(away)
    watched.wait(lambda: "is not there" in watched.news(), "it is told")
    _picture(away / "meanwhile.png", 2)
    away.rename(folder)
    watched.wait(lambda: "there again" in watched.news(), "and that it is back")
    watched.wait(lambda: watched.count("imported") == 2, "what came meanwhile")
    _picture(folder / "after.png", 3)
    watched.wait(lambda: watched.count("imported") == 3, "and what comes")
    assert watched.seeds() == [1, 2, 3]


def test_an_archive_that_cannot_be_written_is_tried_again(
    watched: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_REST", 0.1)
    with monkeypatch.context() as full:
        full.setattr("safelight.durable_file._fill", _raise_no_space)
        _picture(folder / "a.png", 2)
        watched.wait(lambda: "No space" in watched.news(), "it is told")
    watched.wait(lambda: watched.count("imported") == 2, "there is room again")
    assert watched.seeds() == [1, 2]


def _raise_no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_look_tells_what_came_newest_first(tmp_path: Path) -> None:
    """Nothing that lies as it lay, also where files say that they are old."""
    for name in ("a", "b"):
        _picture(tmp_path / name / "old.png", 1)
    looks = TreeLooks([str(tmp_path)], str(tmp_path / "archive"))
    assert list(looks.look()) == []
    assert list(looks.look(whole=True)) == [], "not even what came just before"
    _picture(tmp_path / "a" / "new.png", 2)
    (tmp_path / "archive").mkdir()
    _picture(tmp_path / "archive" / "own.png", 5)
    _picture(tmp_path / "c" / "new.png", 3)
    os.utime(tmp_path / "c" / "new.png", (0, 0))
    os.utime(tmp_path / "a", ns=(0, 1))
    _picture(tmp_path / "thumbnails" / "small.png", 4)
    found = [str(Path(path).relative_to(tmp_path)) for path, *_ in looks.look()]
    assert found == ["c/new.png", "a/new.png"]
    assert list(looks.look()) == []
    _picture(tmp_path / "b" / "old.png", 7)
    assert [path for path, *_ in looks.look(whole=True)] == [str(tmp_path / "b" / "old.png")]


def test_a_look_tells_nothing_again_that_was_there_just_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safelight.imports.tree_looks._MARGIN", 10**7)
    _picture(tmp_path / "there.png", 1)
    looks = TreeLooks([str(tmp_path)], str(tmp_path / "archive"))
    assert list(looks.look()) == []
    time.sleep(0.05)  # longer than the margin
    _picture(tmp_path / "new.png", 2)
    assert [path for path, *_ in looks.look()] == [str(tmp_path / "new.png")]


def _command(*words: str) -> tuple[list[str], dict[str, str]]:
    search = os.pathsep.join(path for path in sys.path if path)
    return [sys.executable, "-m", "safelight", *words], {**os.environ, "PYTHONPATH": search}


def test_the_command_tells_and_ends_cleanly(tmp_path: Path, folder: Path) -> None:
    words, environ = _command("watch", str(folder), "--archive", str(tmp_path / "a"), "--json")
    with subprocess.Popen(
        words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["first"]
        _picture(folder / "a.png", 2)
        told = json.loads(process.stdout.readline())
        assert (told["imported"], told["newest"]) == (1, str(folder / "a.png"))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 0
    assert "watching" in errors
    assert "Traceback" not in errors


def test_a_process_beside_a_server_ends_with_it(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And with nothing else: one that was killed is there again."""
    monkeypatch.setattr(watching, "_REST", 0.1)
    _, environ = _command()
    errors = tmp_path / "errors"
    with errors.open("w") as told:
        beside = WatchBeside([folder], tmp_path / "a", environ, poll=0.2, output=told.fileno())
        _picture(folder / "a.png", 2)
        archive = Archive(tmp_path / "a")
        deadline = time.monotonic() + _PATIENCE
        while not (tmp_path / "a" / "records").is_dir() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(first := beside.process_id, signal.SIGKILL)
        _picture(folder / "b.png", 3)
        while len(archive.query(limit=None).rows) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert beside.process_id != first
        beside.close()
    assert len(archive.query(limit=None).rows) == 2
    assert not Path(f"/proc/{beside.process_id}").exists()
    shutil.rmtree(folder)


def test_a_process_beside_that_ends_at_once_is_tried_less_and_less_and_never_given_up(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even when it cannot be started: the machine is out of memory, or of processes."""
    monkeypatch.setattr(watching, "_REST", 0.01)
    monkeypatch.setattr(watching, "_LONGEST_REST", 0.04)
    starts: list[str] = []
    well = threading.Event()

    def started(_: WatchBeside) -> subprocess.Popen[bytes]:
        starts.append("try")
        if len(starts) == 3:
            raise BlockingIOError(11, "no more processes")
        if len(starts) == 5:
            well.set()
        program = "import sys; sys.stdin.read()" if well.is_set() else "raise SystemExit(3)"
        return subprocess.Popen([sys.executable, "-S", "-c", program], stdin=subprocess.PIPE)

    monkeypatch.setattr(WatchBeside, "_started", started)
    beside = WatchBeside([folder], tmp_path / "a", {})
    assert well.wait(_PATIENCE)
    beside.close()
    assert [record.getMessage().partition("watches ")[2] for record in caplog.records] == [
        "ended with 3; it is started in 0.01 s",
        "ended with 3; it is started in 0.02 s",
        "could not be started: [Errno 11] no more processes; it is started in 0.04 s",
        "ended with 3; it is started in 0.04 s",
    ]


def test_a_process_beside_that_is_told_to_end_ends_well(tmp_path: Path, folder: Path) -> None:
    """As systemd tells it: the server still holds its standard input."""
    command, environ = _command()
    beside = subprocess.Popen(
        [*command, "watch", "--archive", str(tmp_path / "a"), "--beside", "--", str(folder)],
        env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    with beside:
        assert beside.stdout is not None
        assert beside.stdout.readline().startswith(b"watching ")
        assert b"there already" in beside.stdout.readline()
        beside.terminate()
        assert (beside.wait(_PATIENCE), beside.stdout.read()) == (0, b"")
