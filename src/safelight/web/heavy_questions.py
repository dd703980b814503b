"""Answers: questions that take long are worked out once, for all who ask, while they wait for it.

Whoever asks has the last answer at once, and how old it is; where the archive has changed since,
a new one is worked out, one question at a time, and told of when it is there. What nobody waits
for any more is ended. Those who ask take turns, so that one of them with many questions does not
stand before the others; owners and guests do so first, as a guest may come as many.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request

from safelight.errors import ArchiveError, SafelightError, sentence_of
from safelight.web.guard import asker_of, role_of
from safelight.web.questions import Answer, Question, Reply, packed, unpacked
from safelight.web.sessions import Role

__all__ = ["Answers", "Asked", "Listening", "TooManyQuestions", "Worker", "asked"]

GRACE = 10.0
"""Seconds that a question counts as waited for after somebody asked it, or stopped to listen."""

_FAILED = 10.0
"""Seconds until a question that failed may be worked out again."""

_LONGEST = 3600.0
"""Seconds until a question is given up, however many wait: the process may be stuck."""

_LOOK = 0.5
"""Seconds between two looks whether anybody still waits."""

_IDLE = 60.0
"""Seconds without a question after which the other process is ended."""

_OF_ONE, _ASKERS = 4, 64
"""Questions of one asker that wait at once, and owners, and guests, whose questions do."""

_KEPT = 64
"""Questions that do not wait, of which it is kept how they stand."""

_LONGEST_WAIT = 600.0
_PATIENCE = re.compile(r"\bwait=(\d{1,3})\b")
"""Of the header ``Prefer``, RFC 7240."""

_log = logging.getLogger(__name__)


class TooManyQuestions(SafelightError):
    """One asker has so many that wait that no other is taken."""


class Worker(Protocol):
    """Works out one question at a time; see :class:`.answering_process.AnsweringProcess`."""

    def begin(self, question: Question) -> None:
        """Begin with *question*.

        Raises:
            SafelightError: That is not possible.
        """
        ...

    def reply(self, seconds: float) -> Reply | None:
        """Return what came of it; None when it is not there within *seconds*.

        Raises:
            SafelightError: It will never be there.
        """
        ...

    def end(self) -> None:
        """Let go of what it is busy with, and of all that it holds."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How things stand with a question.

    Attributes:
        key: By which the question is called.
        answer: The last one, None while there was none.
        number: Of that answer; a later one has a larger number, 0 while there was none.
        age: Seconds since it was begun.
        fresh: Whether the archive is as it was then.
        waiting: Whether a new one is being worked out.
        failure: Why the last try came to nothing, when it came after the answer.
        since: Ratings that were given since the answer was begun.
        doing: What is being done about a new one, where that is told.
    """

    key: str
    answer: Answer | None = None
    number: int = 0
    age: float = 0.0
    fresh: bool = False
    waiting: bool = False
    failure: SafelightError | None = None
    since: int = 0
    doing: str = ""


@dataclass(slots=True, kw_only=True)
class _Entry:
    """A question, and what is known of it."""

    key: str
    question: Question
    wanted_until: float = 0.0
    answer: Answer | None = None
    number: int = 0
    signature: object = None
    begun: float = 0.0
    ratings: int = 0
    doing: str = ""
    handed: bool = False
    waiting: bool = False
    failure: SafelightError | None = None
    failed: float = 0.0
    listeners: list[Callable[[], None]] = field(default_factory=list)


class _Asker(NamedTuple):
    """One of those who take turns."""

    name: str
    guest: bool


class Answers:
    """The last answers to questions, and the questions that wait.

    Args:
        worker: Who works them out.
        signature: What changes when the archive does.
        ratings: How many were given, ever more.
        clock: Seconds, of any origin.
        look: Seconds between two looks whether anybody still waits.
        idle: Seconds without a question after which *worker* is let go.
    """

    def __init__(
        self,
        worker: Worker,
        signature: Callable[[], object],
        *,
        ratings: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.monotonic,
        look: float = _LOOK,
        idle: float = _IDLE,
    ) -> None:
        self._worker = worker
        self._signature = signature
        self._ratings = ratings
        self._clock = clock
        self._look, self._idle = look, idle
        self._changed = threading.Condition()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._queues: OrderedDict[_Asker, OrderedDict[str, _Entry]] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._current: _Entry | None = None
        self._was_guests = False
        self._number = 0
        self._closed = False

    @property
    def worker(self) -> Worker:
        """Who works them out."""
        return self._worker

    def ask(
        self,
        question: Question,
        asker: str = "",
        *,
        guest: bool = False,
        after: int = 0,
        only_kept: bool = False,
        changing: bool = False,
    ) -> Asked:
        """Return how things stand with *question*; begin to work it out where that is due.

        Args:
            question: Which.
            asker: Who; those who ask take turns.
            guest: Whether that is a guest: they take turns with owners, whatever they are called.
            after: Number of the answer that the asker has already, and is done with.
            only_kept: Whether any answer that the asker has not will do.
            changing: Whether an answer serves once: the next who asks has it, too, and another
                is worked out meanwhile.

        Raises:
            TooManyQuestions: So many of the asker's wait already.
        """
        signature, ratings = self._signature(), self._ratings()
        now = self._clock()
        key = _key(question)
        with self._changed:
            entry = self._entries.get(key)
            if entry is None:
                self._forget_some()
                entry = self._entries[key] = _Entry(key=key, question=question)
            self._entries.move_to_end(key)
            entry.wanted_until = now + GRACE
            new = entry.number > after
            fresh = new and entry.signature == signature
            failed = entry.failure is not None and now - entry.failed < _FAILED
            due = not new if only_kept else (not fresh or (changing and entry.handed))
            if due and not failed and not self._closed:
                self._queue(entry, _Asker(asker, guest))
            if changing and new:
                entry.handed = True
            return Asked(
                key=key,
                answer=entry.answer if new else None,
                number=entry.number,
                age=max(0.0, now - entry.begun) if new else 0.0,
                fresh=fresh,
                waiting=entry.waiting,
                failure=None if entry.waiting else entry.failure,
                since=max(0, ratings - entry.ratings) if new else 0,
                doing=entry.doing if entry.waiting else "",
            )

    def doing(self, key: str) -> str:
        """Return what is being done about question *key*; empty where nothing is told of it."""
        with self._changed:
            entry = self._entries.get(key)
            return "" if entry is None or not entry.waiting else entry.doing

    def listen(self, key: str, call: Callable[[], None]) -> Callable[[], None]:
        """Call *call* once, from any thread, when question *key* does not wait any more.

        That may be at once. Until then it counts as waited for.

        Returns:
            What stops it.
        """
        with self._changed:
            entry = self._entries.get(key)
            if entry is None or not entry.waiting:
                call()
                return lambda: None
            entry.listeners.append(call)

        def stop() -> None:
            with self._changed:
                if call in entry.listeners:
                    entry.listeners.remove(call)
                    entry.wanted_until = max(entry.wanted_until, self._clock() + GRACE)

        return stop

    def close(self) -> None:
        """Work out nothing any more, and let *worker* go."""
        with self._changed:
            self._closed = True
            self._drop(lambda _: True)
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()

    # -- waiting in turn -----------------------------------------------------------------

    def _queue(self, entry: _Entry, asker: _Asker) -> None:
        if entry is self._current:
            return
        self._drop(lambda one: not self._is_wanted(one))
        queue = self._queues.get(asker, OrderedDict())
        if entry.key not in queue:
            if len(queue) >= _OF_ONE:
                unheard = next((one for one in queue.values() if not one.listeners), None)
                self._drop(lambda one: one is unheard)
                queue = self._queues.get(asker, OrderedDict())
            others = sum(other.guest is asker.guest for other in self._queues)
            if len(queue) >= _OF_ONE or (not queue and others >= _ASKERS):
                raise TooManyQuestions(
                    f"{_OF_ONE} questions wait already; ask again when one of them is answered"
                )
            queue[entry.key] = entry
            self._queues[asker] = queue
        entry.waiting, entry.failure = True, None
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True, name="heavy questions")
            self._thread.start()
        self._changed.notify_all()

    def _drop(self, which: Callable[[_Entry], bool]) -> None:
        """Take the questions of *which* out of all queues."""
        for asker, queue in list(self._queues.items()):
            for key, entry in list(queue.items()):
                if which(entry):
                    del queue[key]
                    _settle(entry)
            if not queue:
                del self._queues[asker]

    def _is_wanted(self, entry: _Entry) -> bool:
        return bool(entry.listeners) or self._clock() < entry.wanted_until

    def _forget_some(self) -> None:
        """Forget what was not asked for the longest, what was never answered first."""
        resting = [entry for entry in self._entries.values() if not entry.waiting]
        resting.sort(key=lambda entry: entry.number > 0)
        for entry in resting[: max(0, len(resting) - _KEPT + 1)]:
            del self._entries[entry.key]

    # -- working -------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._changed:
                some = self._changed.wait_for(lambda: self._closed or self._queues, self._idle)
                if not some or self._closed:
                    self._worker.end()
                    self._thread = None
                    return
                self._drop(lambda one: not self._is_wanted(one))
                if not self._queues:
                    continue
                asker = self._whose_turn()
                self._queues.move_to_end(asker)  # the next is another's
                self._was_guests = asker.guest
                entry = self._current = next(iter(self._queues[asker].values()))
                for other in list(self._queues):
                    self._queues[other].pop(entry.key, None)
                    if not self._queues[other]:
                        del self._queues[other]
            begun, signature, ratings = self._clock(), self._signature(), self._ratings()
            answer, failure = self._worked_out(entry)
            with self._changed:
                self._current = None
                if answer is not None:
                    self._number += 1
                    entry.answer, entry.number, entry.handed = answer, self._number, False
                    entry.signature, entry.begun = signature, begun
                    entry.ratings = ratings
                entry.failure, entry.failed = failure, self._clock()
                _settle(entry)

    def _whose_turn(self) -> _Asker:
        others = (asker for asker in self._queues if asker.guest is not self._was_guests)
        return next(others, next(iter(self._queues)))

    def _worked_out(self, entry: _Entry) -> tuple[Answer | None, SafelightError | None]:
        """Return the answer, or why there is none; neither when nobody waits for it any more."""
        try:
            self._worker.begin(entry.question)
            patience = self._clock() + _LONGEST
            while (reply := self._worker.reply(self._look)) is None or reply.doing:
                with self._changed:
                    entry.doing = reply.doing if reply else entry.doing
                    wanted = self._is_wanted(entry) and not self._closed
                if not wanted:
                    self._worker.end()
                    return None, None
                if self._clock() > patience:
                    self._worker.end()
                    raise ArchiveError(
                        f"the answer was not there after {_LONGEST / 60:g} minutes; ask about"
                        " fewer pictures, with a filter"
                    )
            return unpacked(entry.question, reply), None
        except SafelightError as error:
            return None, error
        except Exception as error:  # noqa: BLE001 - the thread has others to serve
            _log.info("where it happened", exc_info=True)
            return None, ArchiveError(sentence_of(error))


def _settle(entry: _Entry) -> None:
    """Tell those who listen that it does not wait any more."""
    entry.waiting, entry.doing = False, ""
    listeners, entry.listeners = entry.listeners, []
    for call in listeners:
        call()


def _key(question: Question) -> str:
    return hashlib.sha256(packed(question)).hexdigest()[:32]


# -- over HTTP ---------------------------------------------------------------------------


class Listening:
    """Which of some questions do not wait any more, for one who listens until :meth:`end`.

    Args:
        answers: Where they were asked.
        keys: Of the questions.
    """

    def __init__(self, answers: Answers, keys: Sequence[str]) -> None:
        self._answers, self._keys = answers, keys
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._settled: list[str] = []
        self._stops: list[Callable[[], None]] = []

    def begin(self) -> None:
        """Listen from here on."""
        self._stops = [self._answers.listen(key, partial(self._tell, key)) for key in self._keys]

    def end(self) -> None:
        """Listen no more."""
        for stop in self._stops:
            stop()

    def settled(self) -> list[str]:
        """Return the keys that were not returned yet."""
        some, self._settled = self._settled, []
        self._news.clear()
        return some

    async def rest(self, seconds: float) -> None:
        """Return when there is one, or after *seconds*."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)

    def _tell(self, key: str) -> None:
        with suppress(RuntimeError):  # the server has stopped
            self._loop.call_soon_threadsafe(self._note, key)

    def _note(self, key: str) -> None:
        self._settled.append(key)
        self._news.set()


async def asked(
    answers: Answers,
    request: Request,
    question: Question,
    *,
    after: int = 0,
    only_kept: bool = False,
    changing: bool = False,
    patience: float = 0.0,
) -> Asked:
    """Return how things stand with what *request* asks; no thread waits for an answer.

    Who sends ``Prefer: wait=SECONDS`` is answered when the new answer is there, or then.

    Args:
        answers: Where it is asked.
        request: By whom.
        question: What.
        after: As in :meth:`Answers.ask`, like the others.
        only_kept: As there.
        changing: As there.
        patience: Seconds to wait for a new answer, also of who does not say how long.

    Raises:
        HTTPException: 429, the asker has too many questions.
    """
    ask = partial(
        answers.ask, question, asker_of(request.scope),
        guest=role_of(request.scope) is not Role.OWNER,
        after=after, only_kept=only_kept, changing=changing,
    )  # fmt: skip
    try:
        state = await run_in_threadpool(ask)
        if said := _PATIENCE.search(request.headers.get("prefer", "")):
            patience = float(said[1])
        if not state.waiting or not patience:
            return state
        listening = Listening(answers, [state.key])
        listening.begin()
        try:
            await listening.rest(min(patience, _LONGEST_WAIT))
        finally:
            listening.end()
        return await run_in_threadpool(ask, only_kept=True)
    except TooManyQuestions as error:
        raise HTTPException(429, str(error), {"Retry-After": "5"}) from error
