"""Windows and macOS are nowhere near: what must hold there is shown by what their rules are.

Nothing here proves that it runs there. It shows that no module needs what is not there, that all
that a person does goes through where what is open can be neither renamed nor removed, and that
no name or path means something else.
"""

from __future__ import annotations

import ast
import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import safelight
from safelight.archive.transfer import oddity_of
from safelight.archive_layout import marked_folder
from safelight.file_system import WindowsFiles
from safelight.imports import imported_picture

HERE = Path(__file__).parent
SOURCE = Path(safelight.__file__).parents[1]
DATA = HERE.parent / "data"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it plays the others on Linux")


def run_as_if(
    system: str, below: Path, program: Sequence[str], typed: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    """Run Python on *program* as if on *system*, whose files are those below *below*."""
    search = os.pathsep.join(map(str, (HERE / "as_if", SOURCE, HERE.parent)))
    environment = {
        **os.environ, "AS_IF": system, "AS_IF_BELOW": str(below), "PYTHONPATH": search, **more,
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, *program],
        input=typed, env=environment, capture_output=True, text=True, errors="replace",
        check=False, timeout=300,
    )  # fmt: skip


# -- what is not there ------------------------------------------------------------------


IMPORT_ALL = """
import importlib, pkgutil, sys
import safelight
failed = []
for module in pkgutil.walk_packages(safelight.__path__, "safelight."):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in {"torch", "diffusers", "ray", "obstore", "ncnn",
                                                   "spandrel", "transformers", "safetensors"}:
            failed.append(f"{module.name}: {error!r}")
    except Exception as error:
        failed.append(f"{module.name}: {error!r}")
sys.exit("\\n".join(failed) or 0)
"""


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_every_module_is_imported_without_what_the_system_lacks(
    tmp_path: Path, system: str
) -> None:
    done = run_as_if(system, tmp_path, ["-c", IMPORT_ALL])
    assert (done.returncode, done.stderr) == (0, "")


SYSTEM_MODULES = frozenset(
    ("fcntl", "grp", "msvcrt", "posix", "pty", "pwd", "resource", "select", "syslog", "termios",
     "tty", "winreg", "ctypes")
)  # fmt: skip
ASKING = frozenset(
    ("sys.platform", "sys.getwindowsversion", "os.name", "os.uname", "os.fork", "os.kill",
     "os.killpg", "os.geteuid", "os.getuid", "os.nice", "os.chown", "os.chmod", "os.set_blocking",
     "os.sysconf", "os.rename", "os.replace", "os.unlink", "os.remove", "os.O_NOFOLLOW",
     "os.O_DIRECTORY", "os.O_NONBLOCK", "os.getpriority", "os.setpriority", "os.sched_getaffinity",
     "os.sched_setscheduler", "signal.SIGKILL", "signal.SIGHUP", "signal.SIGBREAK", "signal.alarm",
     "signal.setitimer", "signal.pause", "socket.SO_REUSEADDR", "socket.AF_UNIX")
)  # fmt: skip
KNOWING = ("durable_file.py", "file_system.py", "operating_system.py", "spool.py")
RENAMING = frozenset(("rename", "unlink"))


def asking(file: Path) -> Iterator[str]:
    """Yield where *file* depends on which system it is, or renames or removes by itself."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        said = ""
        if isinstance(node, ast.Import):
            said = " ".join(n.name for n in node.names if n.name in SYSTEM_MODULES)
        elif isinstance(node, ast.ImportFrom):
            said = node.module if node.module in SYSTEM_MODULES else ""
        elif isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            said = name if name in ASKING else ""
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            said = node.value if node.value.startswith(("/proc/", "/sys/", "/dev/")) else ""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            said = said or (ast.unparse(node.func) if node.func.attr in RENAMING else "")
        if said:
            yield f"{file.name}:{getattr(node, 'lineno', 0)} {said}"


def test_two_modules_know_which_system_it_is() -> None:
    """Whoever else asked would have an answer for one system only."""
    package = Path(safelight.__file__).parent
    found = [
        fault
        for file in sorted(package.rglob("*.py"))
        if file.name not in KNOWING
        for fault in asking(file)
    ]
    places = {fault.split(":")[0] for fault in found}
    assert places == {"accounts.py"}, found


# -- what is done there -----------------------------------------------------------------


CONFIG = """
backend = "fake"
[txt2img]
prompt = "{frog|rocket}"
steps = 3
seed = 7
[randomizer]
mode = "fanout"
seeds_per_variant = 3
"""
LIFE = """
run a.toml
run a.toml --set txt2img.steps=4
run --resume last
import pics --jobs 1
import pics --jobs 2
rate --where steps=4 --stars 4
rate --where steps=3 --stars 2
rate --where 'steps = 4 and seed = 7' --reject
archive pack
score sharpness
archive discard rejected=true --yes
archive restore --yes
archive discard rejected=true --yes
archive empty-trash --yes
run a.toml --archive other --set txt2img.steps=6
archive merge other
archive pack
archive merge other
contents
effects
export all.csv
albums
replay last
folders add pics
archive recover
archive verify
"""


def test_a_life_goes_on_where_nothing_open_is_renamed_or_removed(tmp_path: Path) -> None:
    """Runs, imports, ratings, packs, the trash, merges: by the rules of Windows."""
    (tmp_path / "a.toml").write_text(CONFIG)
    (tmp_path / "pics").mkdir()
    for name in ("plain.png", "batch.png"):
        (tmp_path / "pics" / name).write_bytes((DATA / "comfyui_drawn" / name).read_bytes())
    done = run_as_if("win32", tmp_path, [str(HERE / "a_life.py"), str(tmp_path)], LIFE)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line for line, *_ in told] == LIFE.strip().split("\n")
    assert [(line, output) for line, code, output in told if code] == []
    assert [out for _, _, out in told if "cannot" in out or "could not" in out] == []
    left = [path.name for path in tmp_path.rglob(".*") if path.name.endswith(".tmp")]
    assert (left, os.listdir(tmp_path / "safelight" / "running")) == ([], [])


ANSWER = """
from pathlib import Path
from safelight.web.answering_process import AnsweringProcess
from safelight.web.questions import ContentsQuestion
process = AnsweringProcess(Path({!r}))
process.begin(ContentsQuestion(q=""))
while (reply := process.reply(60)).doing:
    pass
process.end()
print(reply.error, len(reply.answer) > 0, process.megabytes())
"""


def test_the_process_beside_the_server_answers_there(tmp_path: Path) -> None:
    """It can neither be ranked behind others nor be bounded, and works all the same."""
    archive = tmp_path / "archive"
    archive.mkdir()
    done = run_as_if("win32", tmp_path, ["-c", ANSWER.format(str(archive))])
    assert (done.stdout, done.stderr) == (" True None\n", "")


def test_what_is_told_goes_through_a_console_of_one_alphabet(tmp_path: Path) -> None:
    """Windows' consoles may know some 200 signs; what they lack is shown escaped."""
    prompt = "{日本の灯台|лягушка|🚀 “café” ✓}"
    (tmp_path / "a.toml").write_text(CONFIG.replace("{frog|rocket}", prompt), "utf-8")
    commands = ["run a.toml", "show", "find steps=3", "contents", "plan a.toml", "stats"]
    for command in commands:
        done = run_as_if(
            "win32", tmp_path,
            ["-c", "import os, sys; os.chdir(os.environ['AS_IF_BELOW']);"
             " from safelight.__main__ import start; start()", *command.split()],
            PYTHONIOENCODING="cp1252", PYTHONUTF8="0",
        )  # fmt: skip
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


# -- Windows' own way with files ---------------------------------------------------------


class Locks:
    """Stands for :mod:`msvcrt`: one byte of one file, held by one handle."""

    LK_NBLCK = 2

    def __init__(self) -> None:
        self.holder: int | None = None
        self.at: list[int] = []

    def locking(self, handle: int, mode: int, count: int, /) -> None:
        assert (mode, count) == (2, 1)
        self.at.append(os.lseek(handle, 0, os.SEEK_CUR))
        if self.holder not in (None, handle):
            raise PermissionError(errno.EACCES, "Permission denied")
        self.holder = handle


def test_a_lock_is_behind_the_content_and_moves_nothing(tmp_path: Path) -> None:
    """Else what holds a file would write its own name behind a hole of a terabyte."""
    locks = Locks()
    files = WindowsFiles(locks)
    path = tmp_path / "a"
    path.write_bytes(b"some text")
    one, two = (os.open(path, os.O_RDWR) for _ in range(2))
    os.lseek(one, 4, os.SEEK_SET)
    files.lock(one)
    with pytest.raises(BlockingIOError):
        files.lock(two)
    assert (os.read(one, 9), os.read(two, 9)) == (b" text", b"some text")
    assert min(locks.at) > 2**32
    os.close(one)
    os.close(two)


@pytest.mark.parametrize("step", ["rename", "replace", "remove", "rename_if_free"])
def test_whoever_has_a_file_open_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """An indexer lets go in a moment; who does not is told of, and the file stays."""
    call = {"remove": "unlink", "rename_if_free": "rename"}.get(step, step)
    real, refusals, rests = getattr(os, call), [3], list[float]()

    def refusing(*arguments: Any) -> None:
        if refusals[0]:
            refusals[0] -= 1
            raise PermissionError(errno.EACCES, "is open")
        real(*arguments)

    monkeypatch.setattr(os, call, refusing)
    source, target = str(tmp_path / "a"), str(tmp_path / "b")
    arguments = (source,) if step == "remove" else (source, target)
    Path(source).write_bytes(b"one")
    getattr(WindowsFiles(Locks(), rests.append), step)(*arguments)
    assert (os.path.exists(source), len(rests)) == (False, 3)

    Path(source).write_bytes(b"two")
    refusals[0] = 1_000
    with pytest.raises(PermissionError):
        getattr(WindowsFiles(Locks(), rests.append), step)(*arguments)
    assert Path(source).read_bytes() == b"two"
    assert 0.5 < sum(rests[3:]) < 2


def test_an_unfinished_file_is_taken_away_once_it_is_nobodys(tmp_path: Path) -> None:
    path = tmp_path / ".a.tmp"
    path.write_bytes(b"half")
    files = WindowsFiles(Locks(), lambda _: None)
    with pytest.raises(BlockingIOError, match="in a minute"):
        files.outlast(str(path))
    os.utime(path, (1, 1))
    files.outlast(str(path))
    files.outlast(str(path))
    assert not path.exists()


# -- names and paths ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    ["/etc/images", "images/../../a", r"C:\Users\a", "C:/Users/a", r"images\..\..\a", r"\\host\a",
     "//host/share/a"],
)  # fmt: skip
def test_no_marker_leads_out_on_any_system(tmp_path: Path, place: str) -> None:
    """What is a name on one system is a way on another."""
    marker = tmp_path / "marker"
    marker.write_text(place)
    with pytest.raises(ValueError, match="leads out"):
        marked_folder(marker)


@pytest.mark.parametrize("key", [r"images\a.png", "images/c:a.png", "images/../a", "images/a?.png"])
def test_no_name_is_carried_that_leads_elsewhere_on_windows(key: str) -> None:
    assert oddity_of(key)


def test_places_of_imports_are_written_the_same_on_every_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So an archive that was filled on Windows is read elsewhere."""
    monkeypatch.setattr(os, "sep", "\\")
    assert imported_picture.shown_path(r"C:\pics\a.png", r"C:\mine") == "C:/pics/a.png"
    assert imported_picture.shown_path(r"C:\mine\images\a.png", r"C:\mine") == "images/a.png"
