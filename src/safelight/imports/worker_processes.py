"""worker_processes: files read in several processes, of which any may die at any file.

A process that is killed takes the others of its pool along. What it left undone is then read one
file at a time in a process of its own: the file that ends that one is named, the rest goes on.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Generic, TypeVar

from safelight.errors import RequestError
from safelight.escaped_output import escape_standard_streams
from safelight.operating_system import ignore_interrupts

__all__ = ["DIED", "read_files"]

_T = TypeVar("_T")
_TOGETHER = 32
_AHEAD = 2
"""Batches for each process that are asked for ahead; they are lost when this one is killed."""

DIED = "the process that read it was killed, or ran out of memory; import it again to try again"


def read_files(
    paths: Iterable[str], read: Callable[[str], _T], jobs: int, died: Callable[[str, str], _T]
) -> Generator[list[_T], None, None]:
    """Yield what *read* returns of each path, in batches, never far ahead of who takes them.

    Args:
        paths: Files.
        read: Reads one, in another process; it must be possible to pickle it.
        jobs: Processes; 1 reads in this one.
        died: Makes a result of a path and the reason, for a file that ended its process.

    Raises:
        RequestError: No process can be started.
    """
    if jobs <= 1:
        for batch in _batches(paths):
            yield [read(path) for path in batch]
        return
    readers = _Readers(read, died, jobs)
    try:
        for batch in _batches(paths):
            yield from readers.submit(batch)
        yield from readers.rest()
    finally:
        readers.close()


class _Readers(Generic[_T]):
    def __init__(
        self, read: Callable[[str], _T], died: Callable[[str, str], _T], jobs: int
    ) -> None:
        self._read, self._died, self._jobs = read, died, jobs
        self._pool: ProcessPoolExecutor | None = None  # none is needed when all is unchanged
        self._running: deque[tuple[list[str], Future[list[_T]]]] = deque()

    def submit(self, batch: list[str]) -> Iterator[list[_T]]:
        """Ask for a batch; yield those that are due."""
        self._pool = self._pool or _pool(self._jobs)
        try:
            future = self._pool.submit(_read_batch, self._read, batch)
        except BrokenProcessPool:
            yield from self._mend()
            self._pool = _pool(self._jobs)
            future = self._pool.submit(_read_batch, self._read, batch)
        self._running.append((batch, future))
        while len(self._running) >= self._jobs * _AHEAD:
            yield from self._next()

    def rest(self) -> Iterator[list[_T]]:
        """Yield all that is still to come."""
        while self._running:
            yield from self._next()

    def _next(self) -> Iterator[list[_T]]:
        try:
            result = self._running[0][1].result()
        except BrokenProcessPool:
            yield from self._mend()
        else:
            self._running.popleft()
            yield result

    def _mend(self) -> Iterator[list[_T]]:
        """Read what the dead pool left undone, file by file, and forget it."""
        undone: list[str] = []
        while self._running:
            batch, future = self._running.popleft()
            if future.done() and not future.cancelled() and future.exception() is None:
                yield future.result()
            else:
                undone += batch
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
        alone = _pool(1)
        try:
            for path in undone:
                try:
                    yield alone.submit(_read_batch, self._read, [path]).result()
                except BrokenProcessPool:
                    alone.shutdown(wait=False)
                    alone = _pool(1)
                    yield [self._died(path, DIED)]
        finally:
            alone.shutdown(cancel_futures=True)

    def close(self) -> None:
        for _, future in self._running:
            future.cancel()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _pool(jobs: int) -> ProcessPoolExecutor:
    """Return a pool of which one process has started."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_become_worker)
    try:
        pool.submit(os.getpid).result()
    except (OSError, BrokenProcessPool) as error:
        pool.shutdown(wait=False, cancel_futures=True)
        raise RequestError(
            f"no process that reads pictures can be started: {error}; read in this one with:"
            " --jobs 1"
        ) from error
    return pool


def _batches(paths: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for path in paths:
        batch.append(path)
        if len(batch) == _TOGETHER:
            yield batch
            batch = []
    if batch:
        yield batch


def _read_batch(read: Callable[[str], _T], paths: list[str]) -> list[_T]:
    return [read(path) for path in paths]


def _become_worker() -> None:
    """Make this process a worker: it ends with its parent, and what it says steers no terminal.

    A killed parent cannot tell its workers, which would wait for work for ever. Control-C is the
    parent's, who keeps what was read.
    """
    ignore_interrupts()
    escape_standard_streams()
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
