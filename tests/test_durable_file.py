"""Whole-or-absent is a promise to every reader, so each system call is made to fail here."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from safelight import durable_file
from safelight.durable_file import (
    TEMPORARY_SUFFIX,
    AppendOnlyFile,
    OpenFolder,
    copy_new_file,
    hidden_folder,
    is_held,
    make_folder,
    remove_abandoned,
    replace_file,
    sync_folder,
    write_new_file,
)

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and /proc")


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def fail_nth_call(
    monkeypatch: pytest.MonkeyPatch, function: str, nth: int, code: int = errno.ENOSPC
) -> None:
    """Let the *nth* call of ``os.<function>`` from now on, and it alone, fail."""
    real: Callable[..., Any] = getattr(os, function)
    calls = 0

    def failing(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth:
            if function == "close":
                real(*arguments)
            raise OSError(code, os.strerror(code))
        return real(*arguments, **options)

    monkeypatch.setattr(os, function, failing)


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start *code* in a Python of its own, with pipes in both directions."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


# -- write_new_file --------------------------------------------------------------------


def test_a_new_file_gets_its_name_and_all_its_bytes(tmp_path: Path) -> None:
    """Nothing else is left in the folder, whatever the size."""
    data = os.urandom(3_000_001)
    path = write_new_file(tmp_path, "a", ".bin", data)
    assert (path, path.read_bytes()) == (tmp_path / "a.bin", data)
    assert names(tmp_path) == ["a.bin"]


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    """Whoever comes later gets the next free name; both contents stay."""
    paths = [write_new_file(tmp_path, "a", ".txt", data) for data in (b"one", b"two", b"three")]
    assert [path.name for path in paths] == ["a.txt", "a-2.txt", "a-3.txt"]
    assert [path.read_bytes() for path in paths] == [b"one", b"two", b"three"]


def test_the_same_bytes_take_no_second_name(tmp_path: Path) -> None:
    """Trying again after a failure that was none must not double a record."""
    first = write_new_file(tmp_path, "a", ".txt", b"one")
    second = write_new_file(tmp_path, "a", ".txt", b"two")
    assert write_new_file(tmp_path, "a", ".txt", b"one") == first
    assert write_new_file(tmp_path, "a", ".txt", b"two") == second
    assert names(tmp_path) == ["a-2.txt", "a.txt"]


def test_what_a_killed_writer_left_blocks_nobody(tmp_path: Path) -> None:
    """The temporary file of a dead process costs a name, never a file."""
    leftover = tmp_path / f".a.txt{TEMPORARY_SUFFIX}"
    leftover.write_bytes(b"ha")
    path = write_new_file(tmp_path, "a", ".txt", b"half and half")
    assert path.read_bytes() == b"half and half"
    assert write_new_file(tmp_path, "a", ".txt", b"half and half") == path
    assert leftover.read_bytes() == b"ha"


def test_the_bytes_reach_the_disk_before_the_name_and_the_name_before_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any other order can leave an empty or a nameless file after a power cut."""
    order: list[str] = []
    for function in ("write", "fsync", "rename"):

        def noted(*arguments: Any, _f: str = function, _real: Any = getattr(os, function)) -> Any:
            order.append(_f)
            return _real(*arguments)

        monkeypatch.setattr(os, function, noted)
    write_new_file(tmp_path, "a", ".txt", b"one")
    folder_flush = [] if sys.platform == "win32" else ["fsync"]
    assert order == ["write", "fsync", "rename", *folder_flush]


def test_a_disk_that_takes_little_at_a_time_gets_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short write is no error, and must not make a short file."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:7]))
    data = os.urandom(1000)
    assert write_new_file(tmp_path, "a", ".bin", data).read_bytes() == data


CALLS = [
    ("open", 1),  # the temporary file
    ("write", 1),
    ("write", 2),  # after a short write
    ("fsync", 1),  # of the file
    ("close", 1),  # where network file systems report a full disk
]


@pytest.mark.parametrize(("function", "nth"), [*CALLS, ("rename", 1)])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_new_file_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, nth: int, code: int
) -> None:
    """Readers see no half file, and the disk gets its space back."""
    write_new_file(tmp_path, "old", ".txt", b"old")
    with monkeypatch.context() as patch:
        real = os.write
        patch.setattr(os, "write", lambda handle, data: real(handle, data[:2]))
        fail_nth_call(patch, function, nth, code)
        with pytest.raises(OSError, match=os.strerror(code)):
            write_new_file(tmp_path, "new", ".txt", b"new")
    assert names(tmp_path) == ["old.txt"]


@posix_only
@pytest.mark.parametrize(("function", "nth"), [*CALLS[:-1], ("rename", 1), ("fsync", 2)])
def test_failures_leave_no_descriptor_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, nth: int
) -> None:
    """A disk that stays full for a night must not end in 'too many open files'."""
    before = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        real = os.write
        patch.setattr(os, "write", lambda handle, data: real(handle, data[:2]))
        fail_nth_call(patch, function, nth)
        with pytest.raises(OSError, match="No space"):
            write_new_file(tmp_path, "new", ".txt", b"new")
    assert len(os.listdir("/proc/self/fd")) == before


@posix_only
def test_a_folder_in_the_way_costs_a_name_and_no_descriptor(tmp_path: Path) -> None:
    """The wanted name can be taken by something that cannot be read, too."""
    (tmp_path / "a.txt").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    path = write_new_file(tmp_path, "a", ".txt", b"one")
    assert (path.name, path.read_bytes()) == ("a-2.txt", b"one")
    assert len(os.listdir("/proc/self/fd")) == before


@posix_only
def test_a_retry_flushes_the_folder_that_could_not_be_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is only in memory is lost by a power cut, also when the bytes are safe."""
    with monkeypatch.context() as patch:
        fail_nth_call(patch, "fsync", 2)
        with pytest.raises(OSError, match="No space"):
            write_new_file(tmp_path, "a", ".txt", b"one")
    flushed: list[bool] = []
    real = os.fsync

    def noted(handle: int) -> None:
        flushed.append(stat.S_ISDIR(os.fstat(handle).st_mode))
        real(handle)

    monkeypatch.setattr(os, "fsync", noted)
    assert write_new_file(tmp_path, "a", ".txt", b"one").name == "a.txt"
    assert flushed[-1:] == [True]


WRITING_CHILD = """
import sys
from pathlib import Path
from safelight.durable_file import write_new_file
print("ready", flush=True); sys.stdin.readline()
for number in range(int(sys.argv[2])):
    write_new_file(Path(sys.argv[1]), "same", ".txt", f"{sys.argv[3]} {number}\\n".encode() * 50)
"""


def test_processes_that_want_one_name_each_get_their_own(tmp_path: Path) -> None:
    """Two runs can begin in the same microsecond; neither may lose its record."""
    children = [child(WRITING_CHILD, tmp_path, 30, name) for name in ("a", "b", "c")]
    for process in children:
        assert process.stdout is not None
        process.stdout.readline()
    for process in children:
        process.communicate("go\n", timeout=120)
        assert process.returncode == 0
    wanted = {f"{name} {n}\n" * 50 for name in ("a", "b", "c") for n in range(30)}
    contents = [path.read_text() for path in tmp_path.iterdir()]
    assert (len(contents), set(contents)) == (90, wanted)


# -- copy_new_file ---------------------------------------------------------------------


def test_a_copy_has_bytes_time_and_hash_of_the_original(tmp_path: Path) -> None:
    """Imported pictures are told by their time, and packs by their hash."""
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3_000_001))
    os.utime(source, ns=(1, 1_700_000_000_123_456_789))
    (tmp_path / "to").mkdir()
    target = tmp_path / "to" / "copy"
    assert copy_new_file(source, target) == hashlib.sha256(source.read_bytes()).hexdigest()
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_mtime_ns == source.stat().st_mtime_ns
    assert names(tmp_path / "to") == ["copy"]
    assert copy_new_file(tmp_path / "missing", target) is None, "the name is taken"


@pytest.mark.parametrize(("function", "nth"), [*CALLS, ("rename", 1), ("utime", 1)])
def test_a_copy_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, nth: int
) -> None:
    """And can be made again."""
    (tmp_path / "source").write_bytes(b"content")
    (tmp_path / "to").mkdir()
    target = tmp_path / "to" / "copy"
    with monkeypatch.context() as patch:
        real = os.write
        patch.setattr(os, "write", lambda handle, data: real(handle, data[:2]))
        fail_nth_call(patch, function, nth)
        with pytest.raises(OSError, match="No space"):
            copy_new_file(tmp_path / "source", target)
    assert names(tmp_path / "to") == []
    assert copy_new_file(tmp_path / "source", target) is not None


WAITING_CHILD = """
import os, sys
from pathlib import Path
import safelight.durable_file as durable_file
real = os.fsync
def fsync(handle):
    print("writing", flush=True); sys.stdin.readline()
    real(handle)
os.fsync = fsync
what, folder = sys.argv[1], Path(sys.argv[2])
if what == "new":
    durable_file.write_new_file(folder, "a", ".txt", b"from the child")
elif what == "replace":
    durable_file.replace_file(folder / "a.txt", b"from the child")
elif what == "copy":
    durable_file.copy_new_file(folder / "source", folder / "a.txt")
else:
    with durable_file.hidden_folder(folder) as hidden:
        (hidden / "half").write_bytes(b"ha")
        os.fsync(0)
"""


@posix_only
def test_a_second_copier_waits_for_the_first(tmp_path: Path) -> None:
    """Any number of merges may run at once: each leaves the file whole, whoever copied it."""
    (tmp_path / "source").write_bytes(b"content")
    process = child(WAITING_CHILD, "copy", tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(copy_new_file, tmp_path / "source", tmp_path / "a.txt")
        process.communicate("\n" * 9, timeout=60)
        assert second.result(60) is None
    assert (tmp_path / "a.txt").read_bytes() == b"content"


@posix_only
def test_a_copier_takes_over_from_one_that_was_killed(tmp_path: Path) -> None:
    """The name of the file is what everybody wants; it cannot be given up."""
    (tmp_path / "source").write_bytes(b"content")
    process = child(WAITING_CHILD, "copy", tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.communicate()
    assert copy_new_file(tmp_path / "source", tmp_path / "a.txt") is not None
    assert names(tmp_path) == ["a.txt", "source"]


# -- what killed writers leave ---------------------------------------------------------


@posix_only
@pytest.mark.parametrize("what", ["new", "replace", "copy", "folder"])
def test_only_what_nobody_writes_any_more_is_removed(tmp_path: Path, what: str) -> None:
    """A living writer must get its file through, and a dead one leaves no litter."""
    (tmp_path / "source").write_bytes(b"content")
    (tmp_path / ".mine").write_bytes(b"not a temporary file")
    process = child(WAITING_CHILD, what, tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    assert len(names(tmp_path)) == 3
    assert remove_abandoned(tmp_path) == 0
    process.kill()
    process.communicate()
    assert len(names(tmp_path)) == 3
    assert remove_abandoned(tmp_path) == 1
    assert names(tmp_path) == [".mine", "source"]
    assert remove_abandoned(tmp_path / "missing") == 0


@posix_only
def test_a_writer_whose_file_was_removed_before_it_was_locked_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between creating and locking there is a moment in which anybody may take it away."""
    real, taken = os.dup, list[int]()

    def dup(handle: int) -> int:
        if not taken:
            taken.append(remove_abandoned(tmp_path))
        return real(handle)

    monkeypatch.setattr(os, "dup", dup)
    assert write_new_file(tmp_path, "a", ".txt", b"one").read_bytes() == b"one"
    assert taken == [1]


def test_a_hidden_folder_gets_a_name_or_goes(tmp_path: Path) -> None:
    with hidden_folder(tmp_path / "packs") as folder:
        (folder / "a").write_bytes(b"one")
        folder.rename(tmp_path / "packs" / "whole")
    with hidden_folder(tmp_path / "packs") as folder:
        (folder / "b").write_bytes(b"two")
    assert names(tmp_path / "packs") == ["whole"]


# -- folders ---------------------------------------------------------------------------


def test_a_new_folder_is_flushed_by_its_name_all_the_way_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut must not take a folder whose files were flushed."""
    flushed: list[int] = []
    real = os.fsync

    def noted(handle: int) -> None:
        flushed.append(os.fstat(handle).st_ino)
        real(handle)

    monkeypatch.setattr(os, "fsync", noted)
    make_folder(tmp_path / "a" / "b" / "c")
    above = [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    assert flushed == ([] if sys.platform == "win32" else [path.stat().st_ino for path in above])
    make_folder(tmp_path / "a" / "b")
    assert len(flushed) in (0, 3), "nothing new, nothing to flush"
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        make_folder(tmp_path / "file" / "a")
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file")


# -- replace_file ----------------------------------------------------------------------


def test_replacing_leaves_the_new_content_and_nothing_else(tmp_path: Path) -> None:
    """The file is the old one or the new one at any moment; afterwards it is the new one."""
    path = tmp_path / "a.txt"
    for data in (b"one", b"", b"three"):
        replace_file(path, data)
        assert path.read_bytes() == data
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(("function", "nth"), [*CALLS, ("replace", 1)])
def test_a_failed_replacement_keeps_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, nth: int
) -> None:
    """A full disk may cost the new content, never both."""
    path = tmp_path / "a.txt"
    replace_file(path, b"old")
    with monkeypatch.context() as patch:
        real = os.write
        patch.setattr(os, "write", lambda handle, data: real(handle, data[:2]))
        fail_nth_call(patch, function, nth)
        with pytest.raises(OSError, match="No space"):
            replace_file(path, b"new content")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.txt"]


def test_flushing_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    """Only Windows, which cannot do it, passes over it in silence."""
    if sys.platform != "win32":
        with pytest.raises(FileNotFoundError):
            sync_folder(tmp_path / "missing")


# -- AppendOnlyFile --------------------------------------------------------------------


def test_lines_follow_each_other_also_after_opening_again(tmp_path: Path) -> None:
    """Nothing that is in the file is ever touched."""
    path = tmp_path / "log"
    with AppendOnlyFile(path) as file:
        file.append(b"one")
        file.append(b"two", flush=False)
    with AppendOnlyFile(path) as file:
        file.append(b"three")
        file.close()
    file.close()
    assert path.read_bytes() == b"one\ntwo\nthree\n"


def test_a_held_file_is_refused_to_everyone_else(tmp_path: Path) -> None:
    """Also to another part of the same process, and readers are not shut out."""
    with AppendOnlyFile(tmp_path / "log") as held:
        with pytest.raises(BlockingIOError):
            AppendOnlyFile(tmp_path / "log")
        held.append(b"still mine")
        assert is_held(tmp_path / "log")
        assert (tmp_path / "log").read_bytes() == b"still mine\n"
    AppendOnlyFile(tmp_path / "log").close()
    assert not is_held(tmp_path / "log")


@posix_only
def test_a_new_log_is_flushed_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that are safe in a file without a name are lost all the same."""
    flushed: list[bool] = []
    real = os.fsync

    def noted(handle: int) -> None:
        flushed.append(stat.S_ISDIR(os.fstat(handle).st_mode))
        real(handle)

    monkeypatch.setattr(os, "fsync", noted)
    for _ in range(2):
        with AppendOnlyFile(tmp_path / "log") as file:
            file.append(b"one")
    assert flushed == [True, False, False]


@posix_only
def test_a_refused_file_leaves_no_descriptor_open(tmp_path: Path) -> None:
    """Recovery knocks at every living run, again and again."""
    with AppendOnlyFile(tmp_path / "log"):
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(BlockingIOError):
            AppendOnlyFile(tmp_path / "log")
        assert len(os.listdir("/proc/self/fd")) == before


HOLDING_CHILD = """
import sys
from pathlib import Path
from safelight.durable_file import AppendOnlyFile
file = AppendOnlyFile(Path(sys.argv[1]))
file.append(b"from the child")
print("ready", flush=True); sys.stdin.readline()
"""


@posix_only
def test_the_lock_holds_across_processes_and_goes_with_kill_9(tmp_path: Path) -> None:
    """A lock that outlives its owner would hide a killed run for ever."""
    path = tmp_path / "log"
    process = child(HOLDING_CHILD, path)
    assert process.stdout is not None
    assert process.stdin is not None
    process.stdout.readline()
    with pytest.raises(BlockingIOError):
        AppendOnlyFile(path)
    process.send_signal(signal.SIGKILL)
    process.wait(120)
    with AppendOnlyFile(path) as file:
        file.append(b"after")
    assert path.read_bytes() == b"from the child\nafter\n"
    process.stdin.close()
    process.stdout.close()


def test_a_full_disk_tears_at_most_the_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came before is safe; the caller hears of it."""
    with AppendOnlyFile(tmp_path / "log") as file:
        file.append(b"one")
        with monkeypatch.context() as patch:
            real = os.write
            patch.setattr(os, "write", lambda handle, data: real(handle, data[:2]))
            fail_nth_call(patch, "write", 2)
            with pytest.raises(OSError, match="No space"):
                file.append(b"two and more")
    assert (tmp_path / "log").read_bytes() == b"one\ntw"


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot open a folder")
def test_a_folder_that_is_held_open_is_flushed_when_no_more_files_may_be_opened(
    tmp_path: Path,
) -> None:
    """What lies in it is whole; it must not be called lost for want of a handle."""
    resource = pytest.importorskip("resource")
    held, fresh = OpenFolder(tmp_path), OpenFolder(tmp_path / "later")
    (tmp_path / "later").mkdir()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        held.flush()
        with pytest.raises(OSError, match="Too many open files"):
            fresh.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    fresh.flush()
    held.close()
    held.flush()


@pytest.mark.parametrize("in_one_step", [True, False])
def test_a_file_is_moved_under_a_free_name_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_one_step: bool
) -> None:
    """Also where the system has no rename that replaces nothing."""
    if not in_one_step:
        monkeypatch.setattr(durable_file._system, "rename_if_free", lambda *_: False)
    source, taken, link = tmp_path / "a", tmp_path / "taken", tmp_path / "link"
    source.write_bytes(b"mine")
    taken.write_bytes(b"theirs")
    link.symlink_to(tmp_path / "nowhere")
    for target in (taken, link):
        with pytest.raises(FileExistsError):
            durable_file.move_file(source, target)
    assert (source.read_bytes(), taken.read_bytes()) == (b"mine", b"theirs")
    durable_file.move_file(source, tmp_path / "free")
    assert (tmp_path / "free").read_bytes() == b"mine"
    with pytest.raises(FileNotFoundError):
        durable_file.move_file(source, tmp_path / "other")
