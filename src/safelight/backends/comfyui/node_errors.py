"""What ComfyUI says against a graph, told in our knobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from safelight.backends.comfyui.bound_graph import BoundGraph
from safelight.backends.comfyui.native_names import canonical_names
from safelight.backends.engine_server import Answer
from safelight.formats.bounded_json import json_object
from safelight.sampler_names import name_hint

__all__ = ["execution_fault", "node_faults", "refusal"]

Listed = Callable[[str, str], Sequence[str]]
"""``listed("KSampler", "sampler_name")``: the values that an input takes."""


def refusal(answer: Answer, graph: BoundGraph, listed: Listed) -> str | None:
    """Return what an answer that is not 2xx says of *graph*, None when it says nothing."""
    body = json_object(answer.text)
    faults = node_faults(body.get("node_errors"), graph, listed)
    if faults:
        return faults
    error = body.get("error")
    if not isinstance(error, dict):
        return str(error) if error else None
    message, details = str(error.get("message", "")), str(error.get("details", ""))
    if error.get("type") == "invalid_prompt" and "does not exist" in message:
        details += "; install the custom node that has it, or update ComfyUI"
    return f"{message} {details}".strip()


def node_faults(node_errors: object, graph: BoundGraph, listed: Listed) -> str:
    """Return every fault of every node in one sentence; empty when there is none."""
    if not isinstance(node_errors, Mapping):
        return ""
    return "; ".join(
        _fault(str(node), node_error, error, graph, listed)
        for node, node_error in node_errors.items()
        for error in _errors(node_error)
    )


def _errors(node_error: object) -> Iterator[Mapping[str, Any]]:
    errors = node_error.get("errors") if isinstance(node_error, Mapping) else None
    yield from (e for e in errors if isinstance(e, Mapping)) if isinstance(errors, list) else ()


def _fault(
    node: str, node_error: Any, error: Mapping[str, Any], graph: BoundGraph, listed: Listed
) -> str:
    told = error.get("extra_info")
    info: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
    name = str(info.get("input_name", ""))
    knob = graph.knob_at(node, name)
    kind = str(node_error.get("class_type") or graph.class_of(node))
    where = f"{graph.stage}.{knob}" if knob else f"node {node} ({kind}) {name}".strip()
    if error.get("type") == "value_not_in_list":
        return f"{where}: {_not_listed(kind, name, knob, info, listed, graph, node)}"
    message = str(error.get("message", "is refused"))
    details = str(error.get("details", ""))
    tail = f" ({details})" if details and details != name else ""
    return f"{where}: {message}{tail}"


def _not_listed(
    kind: str,
    name: str,
    knob: str | None,
    info: Mapping[str, Any],
    listed: Listed,
    graph: BoundGraph,
    node: str,
) -> str:
    value = info.get("received_value", "")
    for place in graph.places.get(knob or "", ()):
        if place.node == node and place.native == value:
            value = place.value
    known: Sequence[str] = listed(kind, name)
    if knob in ("sampler", "scheduler"):
        known = canonical_names(knob, known)
    return f"the server has no {value!r}{name_hint(knob or '', str(value), known)}"


def execution_fault(messages: object) -> str | None:
    """Return why a job failed while it ran, None when its messages tell of no failure."""
    for kind, data in _messages(messages):
        if kind == "execution_interrupted":
            return "the job was interrupted on the server, and not by this run"
        if kind == "execution_error":
            return _failure(data)
    return None


def _messages(messages: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, list) and len(message) == 2 and isinstance(message[1], Mapping):
            yield str(message[0]), message[1]


def _failure(data: Mapping[str, Any]) -> str:
    kind = str(data.get("exception_type", "an error"))
    message = " ".join(str(data.get("exception_message", "")).split())[:600]
    node = f"node {data.get('node_id')} ({data.get('node_type')})"
    if "OutOfMemory" in kind or "out of memory" in message.lower():
        return (
            f"{node} ran out of memory ({message[:200]}); ask for a smaller picture or batch,"
            " or start ComfyUI with --lowvram"
        )
    return f"{node} failed: {kind}: {message}"
