"""refusals: what a server says when it refuses, in words: OpenAI's form and FastAPI's."""

from __future__ import annotations

from typing import Any

from safelight.backends.engine_server import Answer
from safelight.formats.bounded_json import json_object

__all__ = ["is_out_of_money", "refusal"]

_LONGEST = 300


def refusal(answer: Answer) -> str | None:
    """Return what *answer* says, at most 300 characters; None when it is no such answer."""
    body = _body(answer)
    words = _words(body.get("error")) or _words(body.get("detail")) or _words(body)
    if not words and answer.status == 404:
        words = "it has no such interface; is it a server of pictures?"
    return " ".join(words.split())[:_LONGEST] or None


def is_out_of_money(answer: Answer) -> bool:
    """Whether a 429 means that no waiting helps."""
    error = _body(answer).get("error")
    told = error if isinstance(error, dict) else {}
    return "insufficient_quota" in (told.get("code"), told.get("type"))


def _body(answer: Answer) -> dict[str, Any]:
    return json_object(answer.text)


def _words(part: Any) -> str:
    """Return a sentence, a ``{"message": …}`` or pydantic's list of faults as text; else empty."""
    if isinstance(part, str):
        return part
    if isinstance(part, list):
        return "; ".join(_fault(fault) for fault in part if isinstance(fault, dict))
    if not isinstance(part, dict):
        return ""
    message, name = part.get("message"), part.get("param")
    if not isinstance(message, str):
        return ""
    return f"{name}: {message}" if isinstance(name, str) and name not in message else message


def _fault(fault: dict[str, Any]) -> str:
    where = fault.get("loc")
    place = ".".join(str(p) for p in where if p != "body") if isinstance(where, list) else ""
    return f"{place}: {fault.get('msg', 'is wrong')}".lstrip(": ")
