"""Imports from the page go on beside it, one after the other, and nothing that ends them costs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from safelight.archive import Archive
from safelight.errors import RequestError
from safelight.imports.folder_import import import_folders
from safelight.imports.import_accounts import import_accounts
from safelight.web.import_queue import ImportQueue

_LONG = 300.0


def pictures(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        colour = (number % 256, number // 256, len(folder.name))
        Image.new("RGB", (8, 8), colour).save(folder / f"{number:04}.png")
    return folder


def in_archive(archive: Path) -> int:
    rows = Archive(archive).query(columns=["sha256"], limit=None).rows
    assert len({row[0] for row in rows}) == len(rows)
    return len(rows)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "archive"


def test_a_folder_is_imported_and_what_was_found_is_told(archive: Path, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "mine", 5)
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "empty").mkdir()
    queue = ImportQueue(archive)
    one = queue.start((str(folder),), expected=6)
    assert queue.wait(one.number, _LONG)
    (state,) = queue.state()
    queue.close()
    assert (state["status"], state["error"]) == ("done", "")
    assert (state["summary"]["imported"], state["summary"]["fault_count"]) == (5, 1)
    (fault,) = state["summary"]["faults"]
    assert fault["path"].endswith("broken.png")
    assert "not a PNG" in fault["told"]
    assert in_archive(archive) == 5


def test_one_follows_the_other_and_the_same_is_not_asked_for_twice(
    archive: Path, tmp_path: Path
) -> None:
    first, second = (str(pictures(tmp_path / name, 40)) for name in ("a", "bb"))
    queue = ImportQueue(archive)
    one, again, two = (queue.start((folder,)) for folder in (first, first, second))
    assert one.number == again.number != two.number
    assert queue.wait(two.number, _LONG)
    assert [state["status"] for state in queue.state()] == ["done", "done"]
    queue.close()
    assert in_archive(archive) == 80
    with pytest.raises(RequestError):
        queue.start((first,))


def test_what_waits_can_be_cancelled_and_what_goes_on_keeps_what_it_read(
    archive: Path, tmp_path: Path
) -> None:
    folder = pictures(tmp_path / "a", 400)
    queue = ImportQueue(archive)
    one = queue.start((str(folder),))
    two = queue.start((str(tmp_path),))
    assert queue.stop(two.number)
    assert queue.stop(one.number)
    assert not queue.stop(99)
    assert queue.wait(one.number, _LONG)
    assert [state["status"] for state in queue.state()] == ["stopped", "stopped"]
    queue.close()
    kept = in_archive(archive)
    summary = import_folders([folder], Archive(archive))
    assert kept + summary.imported == 400 == in_archive(archive)


def test_a_folder_that_is_not_there_any_more_is_told_and_not_the_end(
    archive: Path, tmp_path: Path
) -> None:
    queue = ImportQueue(archive)
    gone = queue.start((str(tmp_path / "gone"),))
    assert queue.wait(gone.number, _LONG)
    (state,) = queue.state()
    assert state["status"] == "done"
    assert "No such file" in state["summary"]["faults"][0]["told"]
    there = queue.start((str(pictures(tmp_path / "there", 2)),))
    assert queue.wait(there.number, _LONG)
    queue.close()
    assert in_archive(archive) == 2


def test_an_import_whose_process_is_killed_says_so_and_the_next_goes_on(
    archive: Path, tmp_path: Path
) -> None:
    folder = pictures(tmp_path / "a", 600)
    queue = ImportQueue(archive)
    one = queue.start((str(folder),))
    while queue.process_id is None:
        assert not queue.wait(one.number, 0.01)
    os.kill(queue.process_id, signal.SIGKILL)
    assert queue.wait(one.number, _LONG)
    (state,) = queue.state()
    assert state["status"] == "failed"
    assert "import the folder again to go on" in state["error"]
    again = queue.start((str(folder),))
    assert queue.wait(again.number, _LONG)
    queue.close()
    assert in_archive(archive) == 600


_SERVER = """
import sys
from pathlib import Path
from safelight.web.import_queue import ImportQueue
queue = ImportQueue(Path(sys.argv[1]))
one = queue.start((sys.argv[2],))
while queue.process_id is None:
    queue.wait(one.number, 0.01)
print(queue.process_id, flush=True)
queue.wait(one.number, 600)
"""


def test_when_the_server_is_killed_nothing_comes_twice_and_nothing_is_left_out(
    archive: Path, tmp_path: Path
) -> None:
    """Its process sees that nobody is there, keeps what it read, and the same import goes on."""
    folder = pictures(tmp_path / "a", 600)
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(archive), str(folder)], stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    assert server.stdout.readline().strip().isdigit()
    server.kill()
    server.wait()
    server.stdout.close()
    import_folders([folder], Archive(archive))
    assert in_archive(archive) == 600


def test_an_import_from_the_page_is_one_account_like_any_other(
    archive: Path, tmp_path: Path
) -> None:
    folder = pictures(tmp_path / "a", 3)
    queue = ImportQueue(archive)
    assert queue.wait(queue.start((str(folder),)).number, _LONG)
    queue.close()
    (account,) = import_accounts(archive)
    assert account.folders == (folder.as_posix(),)
    assert (account.count("imported"), bool(account.ended)) == (3, True)
