"""answering: the process beside the server that works out what takes long.

``python -m safelight.web.answering ARCHIVE NICENESS MEGABYTES`` reads questions from its input and
writes replies to its output, one after the other. It lets everything else on the machine go first,
ends when the other end of its input is closed, whatever it is busy with, and knows no server.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue

import msgspec

from safelight.application.effects_answer import effects_answer
from safelight.archive.contents import contents_of
from safelight.archive.pack_check import lacks_memory
from safelight.errors import SafelightError, sentence_of
from safelight.learning.ratings.rating_store import HighestAfter
from safelight.operating_system import (
    bound_memory,
    end_with_parent,
    ignore_interrupts,
    step_far_behind,
)
from safelight.web.held_archive import HeldArchive
from safelight.web.questions import (
    Answer,
    ContentsQuestion,
    EffectsQuestion,
    NextQuestion,
    NextSets,
    Question,
    Reply,
    ReportPage,
    ReportQuestion,
    packed,
    read_message,
    write_message,
)

__all__ = ["replied"]

_NO_ROOM = re.compile("map (segment|zero-fill)|allocat|memory", re.IGNORECASE)
"""What the system says of a library that it cannot load for want of memory."""


def replied(
    archive: HeldArchive, message: bytes, doing: Callable[[str], None] = lambda _: None
) -> Reply:
    """Return the reply to the question in *message*; *doing* is told what is being done."""
    try:
        question = msgspec.msgpack.decode(message, type=Question)
        archive.hold()
        return Reply(answer=packed(_answer(archive, question, doing)))
    except Exception as error:  # noqa: BLE001 - told to whoever asked
        kind = type(error).__name__ if isinstance(error, SafelightError) else ""
        # SystemError is what an extension says that forgot to say it lacks memory.
        spent = lacks_memory(error) or isinstance(error, SystemError) or _has_no_room(error)
        return Reply(error=sentence_of(error), kind=kind, spent=spent)


def _has_no_room(error: Exception) -> bool:
    """Whether a library could not be loaded because there is no memory left for it."""
    return isinstance(error, ImportError) and bool(_NO_ROOM.search(str(error)))


def _answer(archive: HeldArchive, question: Question, doing: Callable[[str], None]) -> Answer:
    if isinstance(question, EffectsQuestion):
        return effects_answer(
            archive, archive.models_rated(), condition=question.q, model=question.model,
            ignored=question.ignored, doing=doing,
        )  # fmt: skip
    if isinstance(question, ContentsQuestion):
        return contents_of(archive, question.q)
    if isinstance(question, ReportQuestion):
        return _report(archive, question, doing)
    return _next_sets(archive, question)


def _report(
    archive: HeldArchive, question: ReportQuestion, doing: Callable[[str], None]
) -> ReportPage:
    from datetime import UTC, datetime

    from safelight.application.reporting import made_report, moment_text, report_page

    made = moment_text(datetime.now(UTC))
    report = made_report(archive, question.q, made=made, told=question.told, doing=doing)
    if question.guest:  # before the pictures are in the text, which have letters as paths have
        from safelight.web.roles import without_places

        report = without_places(report)
    return ReportPage(html=report_page(report))


def _next_sets(archive: HeldArchive, question: NextQuestion) -> NextSets:
    import secrets

    from safelight.application.to_rate import (
        POOL_COLUMNS,
        NothingToRate,
        identity_of,
        next_to_rate,
    )

    events = archive.ratings().events()
    known = HighestAfter()
    for event in events:
        known.take(event)
    try:
        sets = next_to_rate(
            archive, events, together=question.together, count=question.count,
            condition=question.q, rater=question.rater, seed=secrets.randbits(32),
            most=question.most,
        )  # fmt: skip
    except NothingToRate:
        return NextSets(columns=POOL_COLUMNS)
    return NextSets(
        columns=POOL_COLUMNS,
        sets=tuple(tuple(tuple(map(row.get, POOL_COLUMNS)) for row in group) for group in sets),
        after=tuple(tuple(known.of([identity_of(row)]) for row in group) for group in sets),
    )


def _main() -> None:
    folder, niceness, megabytes = sys.argv[1:]
    ignore_interrupts()
    end_with_parent()
    step_far_behind(int(niceness), dispensable=True)
    bound_memory(int(megabytes))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed must not come between
    questions: SimpleQueue[bytes] = SimpleQueue()

    def listen() -> None:
        while (message := read_message(sys.stdin.buffer)) is not None:
            questions.put(message)
        os._exit(0)  # nobody is there any more; nothing here would be missed

    threading.Thread(target=listen, daemon=True).start()
    archive = HeldArchive(folder, rest=0)

    def tell(doing: str) -> None:
        write_message(answers, packed(Reply(doing=doing)))

    while True:
        write_message(answers, packed(replied(archive, questions.get(), tell)))


if __name__ == "__main__":
    _main()
