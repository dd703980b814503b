"""Where in a ComfyUI graph each thing stands that the reader of graphs reads.

There is one reader of graphs, and it tells values. So a place is found by changing it: where
another value at an input changes what the reader tells of a knob, the knob stands there. Only
inputs are tried that hold what was read, which are few.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from safelight.imports.comfyui_graph import Graph, read_graph
from safelight.imports.reading import Draft
from safelight.knobs import KNOBS

__all__ = ["PlacedKnob", "PlacedReading", "placed_reading"]

Nodes = Mapping[str, Mapping[str, Any]]
Place = tuple[str, str]
"""A node's id and the name of its input."""

_MOST_TRIED = 400
_OTHER_TEXT = "safelight 7c1e"
_BATCH = ("batch_size", "amount")
_TEXTS = ("prompt", "negative_prompt", "text_encoders")
_SPELT = ("sampler", "scheduler")
_ORDER = {name: place for place, name in enumerate(KNOBS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedKnob:
    """One thing that the graph says, and where.

    Attributes:
        name: The knob; of a LoRA's weight its name.
        value: As the graph has it, in ComfyUI's spelling.
        places: The inputs that hold it, all of them together; none where it stands in no input of
            its own.
        parts: The inputs that it is put together from, where it is.
        of: Which pass of the graph's samplers says it, from 1; 0 for a LoRA's weight.
    """

    name: str
    value: Any
    places: tuple[Place, ...] = ()
    parts: tuple[Place, ...] = ()
    of: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedReading:
    """What a graph says, and where.

    Attributes:
        stage: ``txt2img``, ``img2img`` or ``upscale``.
        knobs: Those of the picture first, then LoRAs, then what later samplers say.
        warnings: What the reader found odd.
    """

    stage: str
    knobs: tuple[PlacedKnob, ...]
    warnings: tuple[str, ...]


_Key = tuple[int, str]
"""Pass and knob; 0 for LoRAs."""


def placed_reading(nodes: Nodes, end: str, *, most: int = _MOST_TRIED) -> PlacedReading:
    """Read what stands behind the node *end* of an API graph, and find where it stands.

    Args:
        nodes: The graph: node id -> ``class_type`` and ``inputs``.
        end: The node that saves the picture.
        most: Inputs that are tried; each costs a reading of the graph.
    """
    behind = set(Graph.of(nodes).upstream(end))
    own: Nodes = {name: node for name, node in nodes.items() if name in behind}
    batches = {place: many for place in _batches(own) if (many := _at(own, place)) > 1}
    own = _with(own, [(place, 1) for place in batches])  # a picture of several tells no seed
    draft, told = _read(own)
    found: dict[_Key, list[tuple[Place, bool]]] = {}
    candidates = list(_candidates(own, told))
    for place, literal in candidates[:most]:
        other = _other(literal)
        _, changed = _read(_with(own, [(place, other)]))
        for key, value in list(told.items()):
            new = changed.get(key)
            if new not in (None, value) and _holds(key, value, literal):
                found.setdefault(key, []).append((place, bool(new == _said(key, other))))
        if place[1] in _BATCH and changed.get((1, "batch_size")) == other:
            found[1, "batch_size"] = [(place, True)]  # one picture is no batch, and is not told
            told[1, "batch_size"] = batches.get(place, literal)
    knobs = [_placed(own, key, told[key], found.get(key, [])) for key in told]
    knobs.sort(key=lambda knob: (knob.of > 1, knob.of == 0, knob.of, _ORDER.get(knob.name, 99)))
    warnings = list(draft.warnings)
    if len(candidates) > most:
        warnings.append(
            f"{len(candidates)} inputs of the workflow could be knobs and {most} were tried;"
            " what is missing can be mapped by hand"
        )
    return PlacedReading(stage=draft.stage, knobs=_apart(knobs), warnings=tuple(warnings))


def _batches(nodes: Nodes) -> Iterator[Place]:
    """Yield the inputs that may say how many pictures are drawn together."""
    for node, known in nodes.items():
        for name in _BATCH:
            if type(known["inputs"].get(name)) is int:
                yield node, name


def _at(nodes: Nodes, place: Place) -> Any:
    return nodes[place[0]]["inputs"][place[1]]


def _read(nodes: Nodes) -> tuple[Draft, dict[_Key, Any]]:
    """Return what the reader says of a graph, each thing by its key."""
    draft = Draft()
    read_graph(draft, nodes)
    told: dict[_Key, Any] = {}
    for knob, value in draft.knobs.items():
        told[1, knob] = draft.native.get(knob, value) if knob in _SPELT else value
    for knob in ("init_image", "mask"):
        if knob in draft.extra:
            told[1, knob] = draft.extra[knob].partition(" (")[0]
    for number, sampling in enumerate(draft.passes[1:], 2):
        told |= {(number, k): v for k, v in sampling.items() if isinstance(v, str | int | float)}
    told |= {(0, lora.name): lora.weight for lora in draft.loras if lora.weight is not None}
    return draft, told


def _candidates(nodes: Nodes, told: Mapping[_Key, Any]) -> Iterator[tuple[Place, Any]]:
    """Yield the inputs that may hold something that was read, each with its value."""
    for node, known in nodes.items():
        for name, literal in known["inputs"].items():
            if isinstance(literal, bool) or not isinstance(literal, str | int | float):
                continue
            held = any(_holds(key, value, literal) for key, value in told.items())
            if held or name in _BATCH:
                yield (node, name), literal


def _holds(key: _Key, value: Any, literal: Any) -> bool:
    """Whether an input with *literal* may be where *value* comes from."""
    if isinstance(literal, str) != isinstance(value, str):
        return False
    if isinstance(literal, str):
        inside = key[1] in _TEXTS and literal.strip() != "" and literal.strip() in value
        return inside or literal == value
    return bool(_said(key, literal) == value)


def _said(key: _Key, literal: Any) -> Any:
    """Return what the reader says where an input has *literal*."""
    return abs(literal) if key[1] == "clip_skip" and not isinstance(literal, str) else literal


def _other(literal: Any) -> Any:
    """Return another value of the kind that *literal* is, which no rule refuses."""
    if isinstance(literal, str):
        return _OTHER_TEXT
    if isinstance(literal, int):
        return (
            literal + 8
            if literal > 0 and literal % 8 == 0
            else literal + (1 if literal >= 0 else -1)
        )
    return round(literal * 0.875, 4) or 0.5


def _with(nodes: Nodes, changes: Sequence[tuple[Place, Any]]) -> Nodes:
    changed = dict(nodes)
    for (node, name), value in changes:
        known = changed[node]
        changed[node] = {**known, "inputs": {**known["inputs"], name: value}}
    return changed


def _placed(nodes: Nodes, key: _Key, value: Any, found: Sequence[tuple[Place, bool]]) -> PlacedKnob:
    places = tuple(place for place, _ in found)
    if len(found) == 1 and found[0][1]:
        ((node, name),) = places
        beside = "strength_clip" if name == "strength_model" else ""
        if nodes[node]["inputs"].get(beside) == value:  # a LoRA's weight on the text encoder
            places = (*places, (node, beside))
    if not places or (len(found) == 1 and found[0][1]):
        return PlacedKnob(name=key[1], value=value, places=places, of=key[0])
    # Several inputs may hold the same value, such as both texts of a model with two encoders.
    literals = [_at(nodes, place) for place in places]
    others = [_other(literal) for literal in literals]
    _, changed = _read(_with(nodes, list(zip(places, others, strict=True))))
    same = all(literal == value for literal in literals) and changed.get(key) == others[0]
    listed = key[1] == "text_encoders" and changed.get(key) == ", ".join(map(str, others))
    if same or listed:
        return PlacedKnob(name=key[1], value=value, places=places, of=key[0])
    return PlacedKnob(name=key[1], value=value, parts=places, of=key[0])


def _apart(knobs: Sequence[PlacedKnob]) -> tuple[PlacedKnob, ...]:
    """Leave out what a later pass says at a place that is told already."""
    told: set[Place] = set()
    kept = []
    for knob in knobs:
        if knob.of > 1 and (not knob.places or told.issuperset(knob.places)):
            continue
        told.update(knob.places)
        kept.append(knob)
    return tuple(kept)
