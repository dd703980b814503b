"""Lets the nth call of the operating system below an archive fail, and checks what is left.

A *trial* carries out a command in a process of its own in which one call (``open``, ``write``,
``fsync``, ``rename``, ...) fails: with a disk that is full from then on, with an error of the
device, or with no more files to open. Whatever the command then says, it must say it in a
sentence; what the archive held before must still be there; nothing may be torn; and the same
command without the trouble must end where it would have ended.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import os
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from breaking.children import children
from breaking.folder_store import FolderStore
from breaking.killed import command, make_other, make_pictures
from safelight.archive import Archive
from safelight.archive.recovery import recover_archive
from safelight.archive.verification import verify_archive
from safelight.archive_layout import ratings_folder
from safelight.durable_file import TEMPORARY_SUFFIX
from safelight.learning.ratings import RatingStore
from safelight.pipeline import recover_interrupted_runs

__all__ = ["CALLS", "COMMANDS", "TROUBLES", "Bench", "Injection"]

CALLS = ("open", "write", "fsync", "rename", "replace", "link", "unlink", "mkdir", "listdir",
         "scandir", "stat", "utime", "ftruncate", "file")  # fmt: skip
"""Functions of ``os`` that fail; ``file`` is what Python's own ``open`` opens for writing."""

TROUBLES = {"disk full": errno.ENOSPC, "device error": errno.EIO, "too many files": errno.EMFILE}
_OPENING = ("open", "file", "listdir", "scandir", "mkdir")


@dataclass(frozen=True, slots=True)
class Injection:
    """One call that fails.

    Attributes:
        call: Of :data:`CALLS`.
        number: Which of its calls below the archive, from 1.
        trouble: Of :data:`TROUBLES`; a full disk stays full.
    """

    call: str
    number: int
    trouble: str


class _Counter:
    """Replaces the calls of this process; the wanted one fails."""

    def __init__(self, below: str, injection: Injection | None) -> None:
        self._below = below
        self._injection = injection
        self.counts: dict[str, int] = dict.fromkeys(CALLS, 0)
        for call in CALLS:
            if call == "file":
                builtins.open = io.open = self._wrapped(call, io.open)
            else:
                setattr(os, call, self._wrapped(call, getattr(os, call)))

    def _wrapped(self, call: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            if arguments and self._is_below(arguments[0]) and self._counts(call, arguments):
                self.counts[call] += 1
                self._fail_if_it_is_time(call, arguments[0])
            return original(*arguments, **options)

        return wrapper

    def _counts(self, call: str, arguments: Sequence[Any]) -> bool:
        if call == "file":
            return len(arguments) > 1 and any(letter in str(arguments[1]) for letter in "wax+")
        return True

    def _is_below(self, target: Any) -> bool:
        try:
            if isinstance(target, int):
                target = Path(f"/proc/self/fd/{target}").readlink()
            return os.fsdecode(os.fspath(target)).startswith(self._below)
        except (OSError, TypeError, ValueError):
            return False

    def _fail_if_it_is_time(self, call: str, target: Any) -> None:
        wanted = self._injection
        if wanted is None or wanted.call != call:
            return
        number = self.counts[call]
        sticky = wanted.trouble == "disk full" and number > wanted.number
        if number == wanted.number or sticky:
            code = TROUBLES[wanted.trouble]
            raise OSError(code, os.strerror(code), str(target))


def failing(below: str, injection: Injection | None, counts: str, *words: str) -> None:
    """Carry out *words* with a call that fails; write how often each call was made."""
    import json

    write = os.write
    handle = os.open(counts, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    counter = _Counter(below, injection)
    try:
        _carry_out(words)
    finally:
        write(handle, json.dumps(counter.counts).encode())


def _carry_out(words: Sequence[str]) -> None:
    if words[0] == "push-and-pull":
        _push_and_pull(*words[1:])
    else:
        command(*words)


def _push_and_pull(archive: str, store: str) -> None:
    """Do what ``safelight sync`` does, with a store that is a folder."""
    import click

    from safelight.errors import SafelightError, sentence_of
    from safelight.object_archive import pull_archive, push_archive

    try:
        for carried in (
            push_archive(Path(archive), FolderStore(Path(store))),
            pull_archive(Path(archive), FolderStore(Path(store))),
        ):
            if carried.bad_count or carried.conflicts:
                raise SystemExit(1)
    except (SafelightError, OSError) as error:
        click.echo(f"Error: {sentence_of(error)}", err=True)
        raise SystemExit(1) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What an archive holds, as far as a command may change it."""

    pictures: int
    ratings: int
    runs: int


@dataclass(slots=True)
class Bench:
    """Makes trials of one command; what they begin with is made once.

    Attributes:
        name: Of :data:`COMMANDS`.
        folder: Where everything is made.
        counts: Call -> how often the command makes it below the archive when all is well.
    """

    name: str
    folder: Path
    counts: dict[str, int] = field(default_factory=dict)
    _wanted: State | None = None
    _out: bytes = b""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        base = self.folder / "base"
        if not base.exists():
            make_other(base)
        if not (self.folder / "few").exists():
            make_pictures(self.folder / "few", 8)
        self._fresh()
        output, self.counts, status = self._carried_out(None)
        assert status == 0, output
        self._wanted = self._state()
        self._out = self._output()

    def injections(self, most: int, seed: int) -> list[Injection]:
        """Return the trials: all there are, or *most* of them as chance has it."""
        every = [
            Injection(call, number, trouble)
            for call, count in self.counts.items()
            for number in range(1, count + 1)
            for trouble in TROUBLES
            if trouble != "too many files" or call in _OPENING
        ]
        return every if len(every) <= most else random.Random(seed).sample(every, most)

    def trial(self, injection: Injection) -> list[str]:
        """Make one trial, and return what must not be."""
        faults: list[str] = []
        self._fresh()
        before = self._state()
        output, _, status = self._carried_out(injection)
        if "Traceback" in output:
            faults.append(f"a traceback: {output.strip().splitlines()[-1][:200]}")
        now = self._state()
        if now.pictures < before.pictures or now.ratings < before.ratings:
            faults.append(f"lost: {before} -> {now}")
        faults += [
            fault for fault in self._torn("torn")
            if not (status and fault.endswith("is not there"))  # it says that some are missing
        ]  # fmt: skip
        complete = (now, self._output()) == (self._wanted, self._out)
        admitted = any(words in output for words in ("left out", "passed over", "NOT WRITTEN"))
        if status == 0 and not complete and not admitted and self.name != "run":
            faults.append(f"it says that all is well, and has {now} of {self._wanted}")
        output, _, status = self._carried_out(None)
        if status:
            faults.append(f"the same again ends with {status}: {output.strip()[-200:]}")
        after = self._state()
        if self._wanted is not None and not self._is_complete(after):
            faults.append(f"the same again has {after} of {self._wanted}")
        if self._output() != self._out:
            faults.append("the same again writes something else")
        self._recover()
        faults += self._torn("torn in the end")
        if left := self._unfinished():
            faults.append(f"unfinished and not removed: {left[:3]}")
        return [f"{injection}: {fault}" for fault in faults]

    def _is_complete(self, after: State) -> bool:
        wanted = self._wanted
        assert wanted is not None
        if self.name == "run":  # one that failed has its record, too
            return after.pictures >= wanted.pictures
        if self.name == "rate":  # what was said twice is there twice
            return after.ratings >= wanted.ratings
        return after == wanted

    @property
    def _archive(self) -> Path:
        return self.folder / "a"

    def _fresh(self) -> None:
        for name in ("a", "store"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        (self.folder / "out.csv").unlink(missing_ok=True)
        if self.name in ("pack", "rate", "export", "push-and-pull"):
            shutil.copytree(self.folder / "base", self._archive)
        if self.name == "export":
            (self.folder / "a-out").mkdir(exist_ok=True)

    def _carried_out(self, injection: Injection | None) -> tuple[str, dict[str, int], int]:
        import json

        counts = self.folder / "counts"
        counts.unlink(missing_ok=True)
        words = [word.format(here=self.folder) for word in COMMANDS[self.name]]
        with children(self.folder) as begin:
            child = begin(failing, str(self._archive), injection, str(counts), *words)
            status = child.wait()
            output = child.text()
            child.output.unlink()
        return output, json.loads(counts.read_text() or "{}"), status

    def _state(self) -> State:
        if not self._archive.exists():
            return State(pictures=0, ratings=0, runs=0)
        opened = Archive(self._archive)
        pictures = len(opened.query(limit=None, columns=["sha256"]).rows)
        runs = len(opened.query(view="runs", limit=None, columns=["run_id"]).rows)
        with RatingStore(ratings_folder(self._archive)) as store:
            return State(pictures=pictures, ratings=len(store.events()), runs=runs)

    def _output(self) -> bytes:
        """Return what the command leaves beside the archive's own."""
        with contextlib.suppress(OSError):
            return (self._archive / "out.csv").read_bytes()
        return b""

    def _torn(self, what: str) -> list[str]:
        if not self._archive.exists():
            return []
        report = verify_archive(Archive(self._archive), pictures=True)
        return [f"{what}: {fault.path.name}: {fault.reason[:120]}" for fault in report.faults]

    def _recover(self) -> None:
        if self._archive.exists():
            opened = Archive(self._archive)
            with opened.writer() as writer:
                recover_interrupted_runs(self._archive, writer)
            recover_archive(opened)

    def _unfinished(self) -> list[str]:
        return [path.name for path in self._archive.rglob(f".*{TEMPORARY_SUFFIX}")]


COMMANDS: dict[str, tuple[str, ...]] = {
    "run": ("run", "{here}/base.toml", "--archive", "{here}/a", "--seed", "3"),
    "import": ("import", "{here}/few", "--jobs", "1", "--archive", "{here}/a"),
    "rate": ("rate", "--where", "seed = 1", "--stars", "4", "--archive", "{here}/a"),
    "pack": ("archive", "pack", "--archive", "{here}/a"),
    "merge": ("archive", "merge", "{here}/base", "--archive", "{here}/a"),
    "export": ("export", "{here}/a/out.csv", "", "--archive", "{here}/a"),
    "push-and-pull": ("push-and-pull", "{here}/a", "{here}/store"),
}
"""Name -> the words of the command."""
