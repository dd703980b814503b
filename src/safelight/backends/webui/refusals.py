"""refusals: what a server of the family says when it refuses, in words of ours.

Three shapes are in use: a list of faults from pydantic, one sentence under ``detail``, and the
name of a Python exception beside its message.
"""

from __future__ import annotations

from typing import Any

from safelight.backends.engine_server import Answer
from safelight.backends.webui.payloads import KNOB_OF_FIELD
from safelight.formats.bounded_json import json_object

__all__ = ["refusal"]

_LONGEST = 300


def refusal(answer: Answer) -> str | None:
    """Return what *answer* says, knobs under their own names; None when it is no such answer."""
    body = json_object(answer.text)
    detail = body.get("detail")
    if isinstance(detail, list):
        faults = [_fault(fault) for fault in detail if isinstance(fault, dict)]
        return "; ".join(faults)[:_LONGEST] or None
    if isinstance(detail, str) and detail:
        return _with_hint(detail, answer)
    words = [str(body[k]) for k in ("error", "message", "errors") if body.get(k)]
    return _with_hint(": ".join(dict.fromkeys(words)), answer) if words else None


def _fault(fault: dict[str, Any]) -> str:
    where = fault.get("loc")
    place = [str(p) for p in where if p != "body"] if isinstance(where, list) else []
    name = KNOB_OF_FIELD.get(place[0], place[0]) if place else ""
    got = fault.get("input")
    value = f", got {got!r}" if isinstance(got, (str, int, float, bool)) else ""
    return f"{name}: {fault.get('msg', 'is wrong')}{value}".lstrip(": ")


def _with_hint(words: str, answer: Answer) -> str:
    words = " ".join(words.split())[:_LONGEST]
    if answer.status == 404 and words == "Not Found":
        return "it has no such interface; start AUTOMATIC1111 or Forge with --api"
    if "could not find upscaler" in words:
        return f"{words}; set upscaler or hires_upscaler to one that it lists"
    if words.startswith("Sampler not found"):
        return f"{words}; set sampler to one that it lists"
    if "out of memory" in words.lower():
        return f"{words}; draw smaller, or fewer at a time"
    return words
