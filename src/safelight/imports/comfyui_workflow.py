"""ComfyUI's editor graphs, turned into the API form that the server runs.

The editor's file lists nodes with their widgets' values in order, without names in old
versions; names come from the node's own inputs where they are told, else from a small table of
the nodes that everyone uses. Muted nodes fall away, bypassed ones are passed through, and
subgraphs are unfolded with the values of the widgets that they show outside, all as the editor
does it when it queues a prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from safelight.formats.comfyui_nodes import WIDGETS

__all__ = ["EditorGraph"]

_MAX_NODES = 20_000
_SEEDS = ("seed", "noise_seed")
_NUMBERS = frozenset({*_SEEDS, "steps", "cfg", "denoise"})
_MAX_DEPTH = 8
_CONTROL = ("fixed", "increment", "decrement", "randomize", "increment-wrap")


class EditorGraph:
    """An editor graph in the API form; what cannot be understood is left out.

    Attributes:
        unnamed: Classes of nodes whose widgets' values have no names that are known.
    """

    def __init__(self, workflow: Mapping[str, Any]) -> None:
        definitions = workflow.get("definitions")
        listed = definitions.get("subgraphs") if isinstance(definitions, Mapping) else None
        self._subgraphs = {
            graph["id"]: graph
            for graph in (listed if isinstance(listed, list) else ())
            if isinstance(graph, Mapping) and isinstance(graph.get("id"), str)
        }
        self._graph: dict[str, dict[str, Any]] = {}
        self._through: dict[tuple[str, int], Any] = {}
        self.unnamed: list[str] = []
        self._add(workflow, "", {}, {}, 0)

    def api(self) -> dict[str, Any]:
        """Return the API form, with links to what passes through replaced by what is behind it."""
        for node in self._graph.values():
            for key, value in list(node["inputs"].items()):
                if isinstance(value, list) and len(value) == 2:
                    target = self._behind(value)
                    if target is None:
                        del node["inputs"][key]
                    else:
                        node["inputs"][key] = target
        return dict(self._graph)

    def _behind(self, link: Any) -> Any:
        for _ in range(100):
            if not (isinstance(link, list) and len(link) == 2):
                return link
            place = (str(link[0]), link[1])
            if place not in self._through:
                return link if place[0] in self._graph else None
            link = self._through[place]
        return None

    def _add(
        self, graph: Mapping[str, Any], prefix: str, given: Mapping[int, Any],
        shown: Mapping[tuple[str, str], Any], depth: int,
    ) -> None:  # fmt: skip
        """Add the nodes of a graph.

        Args:
            graph: The editor's, or a subgraph.
            prefix: What its nodes' ids begin with.
            given: What a subgraph's inputs are connected to.
            shown: (node, widget) -> value of the widgets that the subgraph's node shows.
            depth: How many subgraphs it stands in.
        """
        links = _links(graph)
        nodes = graph.get("nodes")
        listed = [
            node for node in (nodes if isinstance(nodes, list) else ())[:_MAX_NODES]
            if isinstance(node, Mapping) and isinstance(node.get("id"), int | str)
        ]  # fmt: skip
        for node in listed:
            self._add_node(node, links, prefix, given, shown, depth)
        self._join_variables(listed, links, prefix)

    def _add_node(
        self, node: Mapping[str, Any], links: Mapping[Any, tuple[Any, int]], prefix: str,
        given: Mapping[int, Any], shown: Mapping[tuple[str, str], Any], depth: int,
    ) -> None:  # fmt: skip
        name, kind = f"{prefix}{node['id']}", str(node.get("type", ""))
        inputs: dict[str, Any] = {}
        order: list[str] = []
        ports = node.get("inputs")
        for port in ports if isinstance(ports, list) else ():
            if not isinstance(port, Mapping) or not isinstance(port.get("name"), str):
                continue
            if isinstance(port.get("widget"), Mapping):
                order.append(port["name"])
            source = links.get(port.get("link")) if isinstance(port.get("link"), int) else None
            if source is not None:
                inputs[port["name"]] = (
                    given.get(source[1])
                    if source[0] == -10
                    else [f"{prefix}{source[0]}", source[1]]
                )
        inputs = {key: value for key, value in inputs.items() if value is not None}
        mode = node.get("mode", 0)
        if mode == 2 or len(self._graph) >= _MAX_NODES or kind in ("SetNode", "GetNode"):
            return
        if mode == 4 or kind == "Reroute":
            self._pass_through(name, node, inputs)
            return
        if kind in self._subgraphs and depth < _MAX_DEPTH:
            self._unfold(self._subgraphs[kind], name, node, inputs, depth)
            return
        values = node.get("widgets_values")
        named = _widgets(kind, values, order)
        if values and not named:
            self.unnamed.append(kind)
        named |= {widget: v for (place, widget), v in shown.items() if place == str(node["id"])}
        self._graph[name] = {"class_type": kind, "inputs": {**named, **inputs}}

    def _join_variables(
        self, nodes: list[Mapping[str, Any]], links: Mapping[Any, tuple[Any, int]], prefix: str
    ) -> None:
        """Connect each ``GetNode`` to what the ``SetNode`` of its name holds."""
        held: dict[str, Any] = {}
        for kind in ("SetNode", "GetNode"):
            for node in nodes:
                values, ports = node.get("widgets_values"), node.get("inputs")
                called = str(values[0]) if isinstance(values, list) and values else ""
                if node.get("type") != kind or not called or node.get("mode", 0) == 2:
                    continue
                if kind == "GetNode":
                    self._through[f"{prefix}{node['id']}", 0] = held.get(called)
                    continue
                port = ports[0] if isinstance(ports, list) and ports else None
                link = port.get("link") if isinstance(port, Mapping) else None
                if isinstance(link, int) and link in links:
                    held[called] = [f"{prefix}{links[link][0]}", links[link][1]]
                    self._through[f"{prefix}{node['id']}", 0] = held[called]

    def _pass_through(self, name: str, node: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
        """Connect each output to the first input of its type."""
        outputs, ports = node.get("outputs"), node.get("inputs")
        for slot, output in enumerate(outputs if isinstance(outputs, list) else ()):
            kind = output.get("type") if isinstance(output, Mapping) else None
            for port in ports if isinstance(ports, list) else ():
                if (
                    isinstance(port, Mapping)
                    and port.get("name") in inputs
                    and (port.get("type") == kind or "*" in (port.get("type"), kind))
                ):
                    self._through[name, slot] = inputs[port["name"]]
                    break

    def _unfold(
        self, graph: Mapping[str, Any], name: str, node: Mapping[str, Any],
        inputs: dict[str, Any], depth: int,
    ) -> None:  # fmt: skip
        ports = graph.get("inputs")
        names = [
            port.get("name") if isinstance(port, Mapping) else None
            for port in (ports if isinstance(ports, list) else ())
        ]
        outside, shown = _shown_widgets(node, graph, names)
        inputs = {**outside, **inputs}
        given = {slot: inputs.get(port) for slot, port in enumerate(names) if isinstance(port, str)}
        self._add(graph, f"{name}:", given, shown, depth + 1)
        for origin, slot, target, target_slot in _raw_links(graph):
            if target == -20:
                self._through[name, target_slot] = [f"{name}:{origin}", slot]


def _shown_widgets(
    node: Mapping[str, Any], graph: Mapping[str, Any], ports: list[Any]
) -> tuple[dict[str, Any], dict[tuple[str, str], Any]]:
    """Return what a subgraph's node shows: port -> value, and (inner node, widget) -> value.

    ``proxyWidgets`` lists them in the order of the values; an inner node of ``-1`` means a port,
    or the one node inside that has such a widget. Before there was such a list, the ports that
    have widgets stood in the order of the values.
    """
    properties, values = node.get("properties"), node.get("widgets_values")
    listed = properties.get("proxyWidgets") if isinstance(properties, Mapping) else None
    if not isinstance(listed, list):
        own = node.get("inputs")
        order = [
            port["name"] for port in (own if isinstance(own, list) else ())
            if isinstance(port, Mapping) and isinstance(port.get("widget"), Mapping)
            and isinstance(port.get("name"), str)
        ]  # fmt: skip
        return _widgets("", values, order), {}
    pairs = [
        (str(pair[0]), pair[1]) for pair in listed
        if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[1], str)
    ]  # fmt: skip
    left = list(values) if isinstance(values, list) else []
    outside: dict[str, Any] = {}
    shown: dict[tuple[str, str], Any] = {}
    for place, widget in pairs:
        if not left:
            break
        value = left.pop(0)
        if widget in _SEEDS and left and _controls(left[0]):
            left.pop(0)
        if place == "-1" and widget in ports:
            outside[widget] = value
        elif place != "-1":
            shown[place, widget] = value
        elif len(having := _having(graph, widget)) == 1:
            shown[having[0], widget] = value
    return outside, shown


def _having(graph: Mapping[str, Any], widget: str) -> list[str]:
    """Return the nodes of a subgraph that have a widget of this name."""
    nodes = graph.get("nodes")
    having = []
    for node in nodes if isinstance(nodes, list) else ():
        if not isinstance(node, Mapping):
            continue
        ports = node.get("inputs")
        named = [
            port.get("name") for port in (ports if isinstance(ports, list) else ())
            if isinstance(port, Mapping) and isinstance(port.get("widget"), Mapping)
        ]  # fmt: skip
        if widget in named or widget in WIDGETS.get(str(node.get("type")), ()):
            having.append(str(node.get("id")))
    return having


def _raw_links(graph: Mapping[str, Any]) -> list[tuple[Any, int, Any, int]]:
    listed = graph.get("links")
    raw: list[tuple[Any, int, Any, int]] = []
    for link in listed if isinstance(listed, list) else ():
        if isinstance(link, Mapping):
            row = [link.get(k) for k in ("origin_id", "origin_slot", "target_id", "target_slot")]
        elif isinstance(link, list) and len(link) >= 5:
            row = link[1:5]
        else:
            continue
        if isinstance(row[1], int) and isinstance(row[3], int):
            raw.append((row[0], row[1], row[2], row[3]))
    return raw


def _links(graph: Mapping[str, Any]) -> dict[Any, tuple[Any, int]]:
    listed = graph.get("links")
    sources: dict[Any, tuple[Any, int]] = {}
    for link in listed if isinstance(listed, list) else ():
        if isinstance(link, Mapping):
            if isinstance(link.get("id"), int) and isinstance(link.get("origin_slot"), int):
                sources[link["id"]] = (link.get("origin_id"), link["origin_slot"])
        elif isinstance(link, list) and len(link) >= 5 and isinstance(link[0], int):
            sources[link[0]] = (link[1], link[2] if isinstance(link[2], int) else 0)
    return sources


def _widgets(kind: str, values: object, order: list[str]) -> dict[str, Any]:
    """Name a node's widget values; empty where their names are not known."""
    if isinstance(values, Mapping):
        return {key: value for key, value in values.items() if isinstance(key, str)}
    if not isinstance(values, list):
        return {}
    if kind.startswith("Power Lora Loader"):
        rows = [v for v in values if isinstance(v, Mapping) and "lora" in v]
        return {f"lora_{number}": row for number, row in enumerate(rows, 1)}
    table = WIDGETS.get(kind)
    rest = list(values)
    named: dict[str, Any] = {}
    for name in table or order:
        if not rest:
            break
        if name != "*":
            named[name] = rest.pop(0)
        beside = name == "*" or (name in _SEEDS and not table)
        if beside and rest and (_controls(rest[0]) or (name == "*" and rest[0] is None)):
            rest.pop(0)
    return named if all(_fits(*item) for item in named.items()) else {}


def _controls(value: object) -> bool:
    """Whether a value is what the editor adds to a seed: what becomes of it after a run."""
    return isinstance(value, bool) or (isinstance(value, str) and value in _CONTROL)


def _fits(name: str, value: object) -> bool:
    """Whether a value can be what its place says; versions of a node order widgets differently."""
    if name in _NUMBERS:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return name not in ("sampler_name", "scheduler") or isinstance(value, str)
