"""GraphDraft: a ComfyUI graph while it is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from safelight.backends.comfyui.bound_graph import BoundGraph, Place

__all__ = ["GraphDraft", "Link"]

Link = list[Any]
"""One output of a node: its id and which of its outputs."""


@dataclass(slots=True)
class GraphDraft:
    """Nodes, where knobs stand in them, and what there is to say about them.

    Attributes:
        nodes: Node id -> node.
        places: Knob -> where its value stands.
        warnings: Whole sentences for the user.
        shared: Input of every sampler -> its knob, and what we call the value.
    """

    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    places: dict[str, list[Place]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    shared: dict[str, tuple[str, Any]] = field(default_factory=dict)

    def add(self, node: str, kind: str, title: str = "", **inputs: Any) -> Link:
        """Add a node and return its first output."""
        meta = {"_meta": {"title": title}} if title else {}
        self.nodes[node] = {"class_type": kind, "inputs": inputs, **meta}
        return [node, 0]

    def place(self, knob: str, node: str, name: str, value: Any) -> None:
        """Note that *knob*, which we call *value*, stands at input *name* of *node*."""
        native = self.nodes[node]["inputs"][name]
        place = Place(node=node, input=name, native=native, value=value)
        self.places.setdefault(knob, []).append(place)

    def bound(self, stage: str, *, output: str) -> BoundGraph:
        """Return the finished graph."""
        return BoundGraph(
            stage=stage,
            nodes=self.nodes,
            places={knob: tuple(places) for knob, places in self.places.items()},
            output=output,
            warnings=tuple(dict.fromkeys(self.warnings)),
        )
