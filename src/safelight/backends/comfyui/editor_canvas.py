"""Canvas: one sheet of ComfyUI's editor as its file has it, the outermost or a subgraph's.

Of the several shapes that editors have saved (links as rows or as objects, ids as numbers or
texts, inputs of widgets with and without a mark) one is made here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from safelight.errors import BackendError

__all__ = ["INSIDE", "Canvas", "Node", "Port"]

INSIDE = "-10"
"""On a subgraph's canvas, the id of where its inputs come from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One input of a node: its name, its type, and the link that comes in, if any."""

    name: str
    type: str
    link: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node as the file has it.

    Attributes:
        id: Unique on its canvas.
        kind: Its class, or the id of the subgraph that it is.
        mode: 2 is muted, 4 is bypassed.
        title: Empty where nobody named it.
        ports: Its inputs, in the file's order.
        outputs: Their types.
        values: Its widgets' values: a list in their order, or by name.
        values_by_name: The same by name, where the file says that, too.
        properties: What editors and nodes keep beside.
    """

    id: str
    kind: str
    mode: int = 0
    title: str = ""
    ports: tuple[Port, ...] = ()
    outputs: tuple[str, ...] = ()
    values: Sequence[Any] | Mapping[str, Any] = ()
    values_by_name: Mapping[str, Any] | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def called_in_texts(self) -> str:
        """What ``%name.widget%`` in the name of a file calls it."""
        return str(self.properties.get("Node name for S&R", self.kind))

    @property
    def pack(self) -> str:
        """The pack of custom nodes that it comes from, empty where that is not said."""
        pack = self.properties.get("cnr_id") or self.properties.get("aux_id") or ""
        return "" if pack == "comfy-core" else str(pack)

    @property
    def shown_widgets(self) -> list[Any]:
        """Of a subgraph's node: which inner widgets it shows, in the order of its values."""
        return _listed(self.properties.get("proxyWidgets"))

    @property
    def quarantined(self) -> Iterator[tuple[str, str, Any]]:
        """Of a subgraph's node: (inner node, widget, value) that an editor could not place."""
        for entry in _listed(self.properties.get("proxyWidgetErrorQuarantine")):
            shown = _listed(entry.get("originalEntry")) if isinstance(entry, Mapping) else []
            if len(shown) >= 2 and "hostValue" in entry:
                yield str(shown[0]), str(shown[1]), entry["hostValue"]

    def ports_as(
        self, defined: Iterable[tuple[str, str]], *, others: bool = True
    ) -> tuple[Port, ...]:
        """Return the inputs as they are *defined* (name, type), and after them the file's others.

        A type that the server tells of is more than the file's, but for those that follow what is
        connected.
        """
        saved = {port.name: port for port in self.ports}
        ports = []
        for name, kind in defined:
            port = saved.pop(name, Port(name=name, type=kind))
            ports.append(port if kind.startswith("COMFY_") else replace(port, type=kind))
        return (*ports, *(saved.values() if others else ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """One sheet.

    Attributes:
        nodes: By id.
        links: Number -> (id of the node that it comes from, number of its output). What comes
            into a subgraph from outside comes from :data:`INSIDE`.
        inputs: Of a subgraph, name -> type, in order.
        outputs: Of a subgraph, the number of each output's link.
    """

    nodes: Mapping[str, Node]
    links: Mapping[int, tuple[str, int]]
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[int | None, ...] = ()

    @classmethod
    def of(cls, canvas: Mapping[str, Any], called: str) -> Canvas:
        """Read a sheet.

        Raises:
            BackendError: A node has no id or no class; the message names it.
        """
        nodes = {}
        for number, node in enumerate(_listed(canvas.get("nodes")), 1):
            if not isinstance(node, Mapping) or not _is_id(node.get("id")):
                raise BackendError(f"{called} is damaged: its node number {number} has no id")
            if not isinstance(node.get("type"), str):
                raise BackendError(f"{called} is damaged: its node {node['id']} has no class")
            nodes[str(node["id"])] = _node(node)
        links = dict(_links(_listed(canvas.get("links"))))
        inputs = {
            str(port.get("name", "")): _type(port.get("type"))
            for port in _listed(canvas.get("inputs"))
            if isinstance(port, Mapping)
        }
        outputs = tuple(
            next((n for n in _numbers(port.get("linkIds")) if n in links), None)
            for port in _listed(canvas.get("outputs"))
            if isinstance(port, Mapping)
        )
        return cls(nodes=nodes, links=links, inputs=inputs, outputs=outputs)

    @classmethod
    def definitions(cls, workflow: Mapping[str, Any], called: str) -> dict[str, Canvas]:
        """Return id -> canvas of the subgraphs that *workflow* defines, nested ones included."""
        found: dict[str, Canvas] = {}
        todo = [workflow]
        while todo:
            defined = todo.pop().get("definitions")
            listed = defined.get("subgraphs") if isinstance(defined, Mapping) else None
            for subgraph in _listed(listed):
                if isinstance(subgraph, Mapping) and isinstance(subgraph.get("id"), str):
                    found.setdefault(subgraph["id"], cls.of(subgraph, called))
                    todo.append(subgraph)
        return found

    def output(self, slot: int) -> tuple[str, int] | None:
        """Return what a subgraph's output number *slot* is linked to inside."""
        link = self.outputs[slot] if 0 <= slot < len(self.outputs) else None
        return None if link is None else self.links.get(link)

    def input_name(self, slot: int) -> str:
        """Return the name of a subgraph's input number *slot*, empty where it has none."""
        names = list(self.inputs)
        return names[slot] if 0 <= slot < len(names) else ""

    def targets(self, node: str, slot: int) -> Iterator[tuple[Node, Port]]:
        """Yield the inputs that are linked to output number *slot* of *node*."""
        for target in self.nodes.values():
            for port in target.ports:
                if port.link is not None and self.links.get(port.link) == (node, slot):
                    yield target, port

    def reached_from(self, name: str) -> Iterator[tuple[Node, str]]:
        """Yield (node, its input) for all that a subgraph's input *name* is linked to."""
        slot = list(self.inputs).index(name)
        for node, port in self.targets(INSIDE, slot):
            yield node, port.name


def _node(node: Mapping[str, Any]) -> Node:
    mode, title, named = node.get("mode"), node.get("title"), node.get("widgets_values_named")
    values, properties = node.get("widgets_values"), node.get("properties")
    return Node(
        id=str(node["id"]),
        kind=node["type"],
        mode=mode if isinstance(mode, int) else 0,
        title=title if isinstance(title, str) else "",
        ports=tuple(
            Port(
                name=str(port.get("name", "")),
                type=_type(port.get("type")),
                link=port["link"] if isinstance(port.get("link"), int) else None,
            )
            for port in _listed(node.get("inputs"))
            if isinstance(port, Mapping)
        ),
        outputs=tuple(
            _type(output.get("type")) if isinstance(output, Mapping) else "*"
            for output in _listed(node.get("outputs"))
        ),
        values=values if isinstance(values, (list, Mapping)) else [],
        values_by_name=named if isinstance(named, Mapping) else None,
        properties=properties if isinstance(properties, Mapping) else {},
    )


def _links(listed: list[Any]) -> Iterator[tuple[int, tuple[str, int]]]:
    """Yield (number, (origin, its output)), whichever shape a link has."""
    for link in listed:
        names = ("id", "origin_id", "origin_slot")
        row = [link.get(name) for name in names] if isinstance(link, Mapping) else _listed(link)
        if len(row) >= len(names) and _is_id(row[1]):
            numbers = [*_numbers([row[0], row[2]])]
            if len(numbers) == 2:
                yield numbers[0], (str(row[1]), numbers[1])


def _numbers(listed: object) -> Iterator[int]:
    for number in _listed(listed):
        if isinstance(number, int):
            yield number


def _type(kind: object) -> str:
    """Return a port's type; choices of old files, and 0 for any type, as they are called now."""
    if isinstance(kind, list):
        return "COMBO"
    return kind if isinstance(kind, str) else "*"


def _is_id(value: object) -> bool:
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
