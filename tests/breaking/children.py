"""Children: processes that can be killed at any moment, forked from one that has all imported.

A fresh interpreter takes half a second to begin; a fork of one that is ready takes a hundredth of
that, so that hundreds of trials are made where a dozen would be.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = ["Child", "began", "children"]

_FORKS = multiprocessing.get_context("forkserver")
_PRELOADED = [
    "duckdb", "numpy", "PIL.Image", "PIL.PngImagePlugin", "uvicorn", "starlette.applications",
    "safelight.cli", "safelight.archive", "safelight.archive.packing", "safelight.pipeline",
    "safelight.archive.verification", "safelight.archive.recovery",
    "safelight.imports.lost_records", "safelight.archive.folder_copy",
    "safelight.object_archive", "safelight.backends.fake",
    "safelight.imports.folder_import", "safelight.learning.ratings", "safelight.web.app",
    *(f"safelight.cli.{name}_command" for name in
      ("run", "import", "rate", "archive", "export", "serve")),
]  # fmt: skip


class Child:
    """One process that calls *work*.

    Args:
        work: A function of a module, called with *arguments*.
        arguments: Plain values.
        output: A file that takes what the process prints.
    """

    def __init__(self, work: Callable[..., object], arguments: Sequence[Any], output: Path) -> None:
        self.output = output
        _FORKS.set_forkserver_preload([*_PRELOADED, __name__])
        self._process = _FORKS.Process(target=_work, args=(work, tuple(arguments), str(output)))
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.exitcode is not None

    def kill(self) -> None:
        """Kill it with what no process survives, and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.join()

    def wait(self, seconds: float = 120) -> int:
        """Return its exit status."""
        self._process.join(seconds)
        if self._process.exitcode is None:
            self.kill()
            raise AssertionError(f"a process did not end: {self.text()[-2000:]}")
        return self._process.exitcode

    def text(self) -> str:
        """Return what it has printed so far."""
        return self.output.read_text("utf-8", "replace") if self.output.exists() else ""


@contextlib.contextmanager
def children(folder: Path) -> Iterator[Callable[..., Child]]:
    """Give a function that begins a process; none outlives the context."""
    made: list[Child] = []

    def begin(work: Callable[..., object], *arguments: Any) -> Child:
        made.append(Child(work, arguments, folder / f"said-{len(made)}"))
        return made[-1]

    try:
        yield begin
    finally:
        for child in made:
            child.kill()


def began(child: Child, holds: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until *holds* or the process has ended."""
    until = time.monotonic() + seconds
    while not holds() and not child.ended:
        if time.monotonic() > until:
            raise AssertionError(f"it does not come forward: {child.text()[-2000:]}")
        time.sleep(0.001)


def _work(work: Callable[..., object], arguments: tuple[Any, ...], output: str) -> None:
    os.setsid()
    handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    logging.getLogger().handlers.clear()
    work(*arguments)
