"""questions: what the light table has worked out in a process of its own, and what comes back.

They travel as msgpack between two processes of ours, which keeps infinities that JSON has no
word for; no code travels, as it would with pickle.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import IO, Any

import msgspec

from safelight import errors
from safelight.application.effects_answer import EffectsAnswer
from safelight.archive.contents import Contents
from safelight.errors import ArchiveError

__all__ = [
    "Answer",
    "ContentsQuestion",
    "EffectsQuestion",
    "NextQuestion",
    "NextSets",
    "Question",
    "Reply",
    "ReportPage",
    "ReportQuestion",
    "packed",
    "read_message",
    "unpacked",
    "write_message",
]

_LENGTH = struct.Struct(">I")


class EffectsQuestion(msgspec.Struct, frozen=True, tag="effects"):
    """What do settings do to ratings, and what should be tried next?

    Attributes:
        q: Only pictures that meet this, in the filter language.
        model: For which to suggest; empty is the most rated one.
        ignored: Settings that do not count.
    """

    q: str = ""
    model: str = ""
    ignored: tuple[str, ...] = ()


class NextQuestion(msgspec.Struct, frozen=True, tag="next"):
    """Which pictures would teach most when they are rated?

    Attributes:
        q: Only pictures that meet this, in the filter language.
        together: Pictures of a set.
        count: Sets at most.
        most: Pictures to look at.
        rater: Who will rate.
    """

    q: str = ""
    together: int = 1
    count: int = 24
    most: int | None = None
    rater: str = ""


class ContentsQuestion(msgspec.Struct, frozen=True, tag="contents"):
    """What is in the archive?

    Attributes:
        q: Only pictures that meet this, in the filter language.
    """

    q: str = ""


class ReportQuestion(msgspec.Struct, frozen=True, tag="report"):
    """What do ratings say, as one page in one file?

    Attributes:
        q: Only pictures that meet this, in the filter language.
        told: The filter as it is shown.
        guest: Whether no place of this machine may stand in it.
    """

    q: str = ""
    told: str = ""
    guest: bool = False


Question = EffectsQuestion | NextQuestion | ContentsQuestion | ReportQuestion


class NextSets(msgspec.Struct, frozen=True):
    """Sets of pictures to rate.

    Attributes:
        columns: Of each row.
        sets: Set -> picture -> its row.
        after: Set -> picture -> the highest ``after`` of what had been said about it.
    """

    columns: tuple[str, ...] = ()
    sets: tuple[tuple[tuple[Any, ...], ...], ...] = ()
    after: tuple[tuple[int, ...], ...] = ()


class ReportPage(msgspec.Struct, frozen=True):
    """A report.

    Attributes:
        html: In UTF-8.
    """

    html: bytes = b""


Answer = EffectsAnswer | NextSets | Contents | ReportPage


class Reply(msgspec.Struct, frozen=True):
    """What came of a question.

    Attributes:
        answer: What was asked for, packed; empty when it could not be worked out.
        error: Why not, in a sentence.
        kind: Name of the error's class in :mod:`safelight.errors`.
        spent: Whether memory ran out, so that the process had better be a new one.
        doing: What is being done, in a few words, where nothing has come of it yet.
    """

    answer: bytes = b""
    doing: str = ""
    error: str = ""
    kind: str = ""
    spent: bool = False


_ANSWERS: dict[type, type] = {
    EffectsQuestion: EffectsAnswer, NextQuestion: NextSets, ContentsQuestion: Contents,
    ReportQuestion: ReportPage,
}  # fmt: skip


def unpacked(question: Question, reply: Reply) -> Answer:
    """Return the answer in *reply*.

    Raises:
        SafelightError: It could not be worked out; as it was raised in the other process.
    """
    if reply.error:
        kind = getattr(errors, reply.kind, None)
        # Some errors take more than a sentence; what they say is what counts here.
        known = kind in (errors.FilterError, errors.RequestError, errors.PlanError)
        raise (kind if known and kind is not None else ArchiveError)(reply.error)
    answer: Answer = msgspec.msgpack.decode(reply.answer, type=_ANSWERS[type(question)])
    return answer


def packed(value: Any) -> bytes:
    """Return *value* packed, numbers of numpy as those that they stand for."""
    return msgspec.msgpack.encode(value, enc_hook=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "item"):
        return value.item()
    raise NotImplementedError(f"{type(value).__name__} does not travel")


def write_message(stream: IO[bytes], message: bytes) -> None:
    """Write *message* with its length before it."""
    stream.write(_LENGTH.pack(len(message)) + message)
    stream.flush()


def read_message(stream: IO[bytes]) -> bytes | None:
    """Return the next message; None when the other end is gone."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    message = stream.read(length)
    return message if len(message) == length else None
