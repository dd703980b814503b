"""BoundGraph: a ComfyUI graph, and where in it our knobs stand."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from safelight.backends.comfyui.native_names import named_by_us
from safelight.formats.comfyui_nodes import node_knobs

__all__ = ["BoundGraph", "Nodes", "Place", "called", "is_link", "title_of"]

Nodes = Mapping[str, Mapping[str, Any]]
"""A graph in ComfyUI's API format: node id -> ``class_type``, ``inputs`` and ``_meta``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One input of one node that holds a knob's value.

    Attributes:
        node: Id of the node.
        input: Name of the input.
        native: The value that was put there, as ComfyUI says it.
        value: The same as we say it.
    """

    node: str
    input: str
    native: Any
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundGraph:
    """What is posted for one picture.

    Attributes:
        stage: The stage that it carries out.
        nodes: The graph.
        places: Knob -> where its value stands.
        output: Id of the node whose pictures are taken.
        warnings: What the user should know, whole sentences.
        beside: What is recorded beside knobs.
    """

    stage: str
    nodes: Nodes
    places: Mapping[str, tuple[Place, ...]]
    output: str
    warnings: tuple[str, ...] = field(default=())
    beside: Mapping[str, Any] = field(default_factory=dict)

    def with_seed(self, seed: int) -> BoundGraph:
        """Return the same graph with another seed wherever the seed stands."""
        nodes: dict[str, Any] = copy.deepcopy(dict(self.nodes))
        moved = []
        for place in self.places.get("seed", ()):
            nodes[place.node]["inputs"][place.input] = seed
            moved.append(replace(place, native=seed, value=seed))
        places = {**self.places, "seed": tuple(moved)} if moved else self.places
        return replace(self, nodes=nodes, places=MappingProxyType(dict(places)))

    def knob_at(self, node: str, name: str) -> str | None:
        """Return the knob whose value stands at input *name* of *node*."""
        for knob, places in self.places.items():
            if any(place.node == node and place.input == name for place in places):
                return knob
        return None

    def class_of(self, node: str) -> str:
        """Return the class of *node*, empty when the graph lacks it."""
        return str(self.nodes.get(node, {}).get("class_type", ""))

    def sampling_steps(self) -> Mapping[str, int]:
        """Return node -> steps, for the nodes that state how many steps they take."""
        steps_of = {}
        for node_id, node in self.nodes.items():
            steps = node["inputs"].get("steps")
            if isinstance(steps, int) and not isinstance(steps, bool) and steps > 0:
                steps_of[node_id] = steps
        return steps_of

    def effective(self, ran: Nodes) -> dict[str, Any]:
        """Return knob -> value as read from the graph that the server says it ran.

        A knob in several places is reported from the first that is not as it was posted. What the
        nodes behind the picture say of guidance, shift and their like is reported, too, wherever
        it stands.
        """
        used: dict[str, Any] = {**self.beside, **_bent(ran, self.output)}
        for knob, places in self.places.items():
            if knob == "text_encoders" and len(places) > 1 and knob in used:
                continue  # each place holds one of them
            values = [_value(ran, place, knob) for place in places]
            known = [value for value in values if value is not None]
            posted = [place.value for place in places]
            if known:
                used[knob] = next((v for v in known if v not in posted), known[0])
        extra = {knob[6:]: used.pop(knob) for knob in list(used) if knob.startswith("extra.")}
        return {**used, "extra": extra} if extra else used


def _bent(ran: Nodes, output: str) -> dict[str, Any]:
    """Return what the nodes behind *output* say; what two of them say differently is left out."""
    knobs: dict[str, Any] = {}
    unclear: set[str] = set()
    seen, todo = set[str](), [output]
    while todo:
        node = todo.pop()
        known = ran.get(node)
        if node in seen or known is None:
            continue
        seen.add(node)
        inputs: Mapping[str, Any] = known.get("inputs", {})
        todo.extend(value[0] for value in inputs.values() if is_link(value))
        kind = str(known.get("class_type", ""))
        own_knobs = node_knobs(kind, inputs, partial(_number, inputs), partial(_text, inputs))
        for knob, value in own_knobs.items():
            if knobs.setdefault(knob, value) != value:
                unclear.add(knob)
    return {knob: value for knob, value in knobs.items() if knob not in unclear}


def _number(inputs: Mapping[str, Any], name: str) -> float | None:
    value = inputs.get(name)
    right = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if right else None


def _text(inputs: Mapping[str, Any], name: str) -> str | None:
    value = inputs.get(name)
    return value if isinstance(value, str) else None


def _value(ran: Nodes, place: Place, knob: str) -> Any:
    """Return what stands at *place* in our words, None where the server reports no value."""
    value = ran.get(place.node, {}).get("inputs", {}).get(place.input)
    if value is None or is_link(value):
        return None
    return place.value if value == place.native else named_by_us(knob, value)


def is_link(value: Any) -> bool:
    """Return whether *value* is another node's output, ``["4", 0]``, rather than a value."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int)
    )


def title_of(node: Mapping[str, Any]) -> str:
    """Return what the user called *node*; empty when nothing."""
    meta = node.get("_meta")
    return str(meta.get("title", "")) if isinstance(meta, Mapping) else ""


def called(nodes: Nodes, node: str) -> str:
    """Return what to call a node in messages: ``node 3 (My sampler, KSampler)``."""
    known = nodes.get(node, {})
    title, kind = title_of(known), str(known.get("class_type", ""))
    return f"node {node} ({kind if title in ('', kind) else f'{title}, {kind}'})"
