"""AnsweringProcess: the process beside the server, as the server sees it.

It is started by the first question and ended when there have been none for a while, so that who
only looks at pictures pays for neither its memory nor its start.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO

import msgspec

from safelight.errors import ArchiveError
from safelight.operating_system import machine_megabytes, resident_megabytes
from safelight.web.questions import Question, Reply, packed, read_message, write_message

__all__ = ["NICENESS", "AnsweringProcess", "most_memory"]

NICENESS = 19
"""The last: whatever else wants the processor has it first."""

_LEAST_MEMORY = 2048
"""Megabytes that it may have on any machine; on larger ones half of what there is."""

_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_BEYOND = 2
"""By how much its system refuses it more memory, if it is taken too fast to be seen."""

_STARVED = re.compile(rb"emory|start new thread")
"""What libraries say that end their process when they get no memory."""

_LOOK = 0.1
"""Seconds between two looks at its memory."""

_END = 5.0
"""Seconds for a process that was killed to be gone."""


class AnsweringProcess:
    """Works out one question at a time, somewhere else.

    It is for one thread that asks; any thread may look at its memory.

    Args:
        archive: The folder that questions are about.
        niceness: How far it steps behind; tests on busy machines would wait for ever.
        megabytes: Memory that it may have, where the system tells how much it has.
    """

    def __init__(
        self, archive: Path, *, niceness: int = NICENESS, megabytes: int | None = None
    ) -> None:
        self._arguments = (str(archive.absolute()), str(niceness))
        self._megabytes = megabytes or most_memory()
        self._process: subprocess.Popen[bytes] | None = None
        self._messages: SimpleQueue[bytes | None] = SimpleQueue()
        self._errors: IO[bytes] | None = None
        self._again: bytes | None = None

    def begin(self, question: Question) -> None:
        """Let it work on *question*; the process is started if there is none.

        Raises:
            ArchiveError: It cannot be started.
        """
        message = packed(question)
        if self._process is not None:
            with suppress(OSError):  # it died while it had nothing to do
                self._send(self._process, message)
                self._again = message  # it may be dying, and the message read by nobody
                return
        self._begin_anew(message)

    def _begin_anew(self, message: bytes) -> None:
        self.end()
        try:
            process = self._started()
            self._send(process, message)
        except OSError as error:
            raise ArchiveError(
                f"the process that works this out cannot be started: {error}; everything else"
                " goes on"
            ) from error

    def reply(self, seconds: float) -> Reply | None:
        """Return what came of the question, None when it is not there within *seconds*.

        Raises:
            ArchiveError: The process ended before it had replied.
        """
        deadline = time.monotonic() + seconds
        message: bytes | None = b""
        while message == b"":
            try:
                message = self._messages.get(timeout=max(0.0, min(seconds, _LOOK)))
            except Empty:
                if (self.megabytes() or 0.0) > self._megabytes:
                    self.end()
                    return Reply(error=self._too_much())
                if time.monotonic() >= deadline:
                    return None
        if message is None and self._again is not None:
            self._begin_anew(self._again)
            return self.reply(deadline - time.monotonic())
        if message is None:
            raise ArchiveError(self._how_it_ended())
        reply = msgspec.msgpack.decode(message, type=Reply)
        if reply.spent:
            self.end()
            return Reply(error=self._too_much())
        return reply

    def end(self) -> None:
        """End the process, whatever it is busy with; the next question starts another."""
        process, self._process, self._again = self._process, None, None
        if process is None:
            return
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END)
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
        if self._errors is not None:
            self._errors.close()

    @property
    def process_id(self) -> int | None:
        """The process, None while there is none."""
        process = self._process
        return None if process is None else process.pid

    def megabytes(self) -> float | None:
        """Return the memory that it has now; None while there is none, or nobody knows."""
        number = self.process_id
        return None if number is None else resident_megabytes(number)

    def _started(self) -> subprocess.Popen[bytes]:
        source = str(Path(__file__).parents[2])
        search = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH", ""))))
        self._errors = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - closed by end()
        self._process = process = subprocess.Popen(  # noqa: S603 - our own program
            # -P: what lies in the folder that somebody serves from is no module of ours.
            [sys.executable, "-P", "-m", "safelight.web.answering", *self._arguments,
             str(_BEYOND * self._megabytes)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            env={**os.environ, "PYTHONPATH": search, **dict.fromkeys(_ONE_THREAD, "1")},
        )  # fmt: skip
        messages: SimpleQueue[bytes | None] = SimpleQueue()
        self._messages = messages
        answers = process.stdout
        assert answers is not None

        def read() -> None:
            with suppress(OSError), answers:
                while (message := read_message(answers)) is not None:
                    messages.put(message)
            messages.put(None)

        threading.Thread(target=read, daemon=True, name="answers").start()
        return process

    def _send(self, process: subprocess.Popen[bytes], message: bytes) -> None:
        assert process.stdin is not None
        write_message(process.stdin, message)

    def _how_it_ended(self) -> str:
        process, errors = self._process, self._errors
        code = process.wait(_END) if process is not None else None
        said = b""
        if errors is not None:
            errors.seek(0)
            said = errors.read()[-2000:]
        last = said.decode(errors="replace").strip().splitlines()[-1:]
        self.end()
        if _STARVED.search(said):
            return self._too_much()
        return (
            f"the process that worked this out ended with {code}"
            f"{': ' + last[0] if last else ''}; ask again and another is started"
        )

    def _too_much(self) -> str:
        return (
            f"the answer takes more than {self._megabytes:,} MB of memory; ask about fewer"
            " pictures, with a filter"
        )


def most_memory() -> int:
    """Return the megabytes that the process may have on this machine."""
    return max(_LEAST_MEMORY, (machine_megabytes() or 0) // 2)
