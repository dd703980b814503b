"""api_workflow: what ComfyUI's editor saves, as the graph that the editor would post for it.

The editor's file holds nodes with their widgets' values in order, links, and definitions of
subgraphs; a server takes nodes with named inputs only. What belongs where follows from the
server's /object_info (:mod:`~safelight.backends.comfyui.node_widgets`); muted nodes fall away,
bypassed ones are passed through, subgraphs are unfolded with the values that their nodes show,
all as the editor does it. Where its versions differ, the file is read as its newest reads it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from safelight.backends.comfyui.editor_canvas import INSIDE, Canvas, Node, Port
from safelight.backends.comfyui.node_widgets import NodeForm, Widget, is_typed
from safelight.errors import BackendError

__all__ = ["ApiWorkflow", "api_workflow", "is_editor_workflow"]

_MUTED, _BYPASSED = 2, 4
_MOST_NODES = 20_000
_DEEPEST = 20
_LONGEST_WAY = 150
_MOST_CHOICES = 1000
_RENAMED = {
    "T2IAdapterLoader": "ControlNetLoader", "ConditioningAverage ": "ConditioningAverage",
    "SDV_img2vid_Conditioning": "SVD_img2vid_Conditioning", "Load3DAnimation": "Load3D",
    "Preview3DAnimation": "Preview3D",
}  # fmt: skip
_UNPOSTED = frozenset({
    "Note", "MarkdownNote", "PrimitiveNode", "Reroute", "SetNode", "GetNode", "Label (rgthree)",
    "Bookmark (rgthree)", "Fast Groups Muter (rgthree)", "Fast Groups Bypasser (rgthree)",
    "Fast Muter (rgthree)", "Fast Bypasser (rgthree)", "Mute / Bypass Repeater (rgthree)",
    "Mute / Bypass Relay (rgthree)", "Fast Actions Button (rgthree)", "Node Collector (rgthree)",
    "Reroute (rgthree)",
})  # fmt: skip
"""Classes that are nodes in the editor only."""
_PASSING = ("Reroute", "Reroute (rgthree)", "SetNode")
_EVERYWHERE = re.compile(r"(Anything|Prompts|Seed) Everywhere")
_PROXIED = re.compile(r"\s*(\d+)\s*:\s*(.+)", re.DOTALL)
_NOT_IN_NAMES = re.compile(r'[/?<>\\:*|"\x00-\x1f\x7f]')
_DATES = re.compile(r"yyyy|MM|dd|hh|mm|ss")
_SERVER_DATES = {
    "yyyy": "%year%", "MM": "%month%", "dd": "%day%", "hh": "%hour%", "mm": "%minute%",
    "ss": "%second%",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiWorkflow:
    """A workflow in the API format.

    Attributes:
        nodes: Node id -> ``class_type``, ``inputs``, ``_meta``; inside of subgraphs an id is
            ``12:34``: node 34 of the subgraph that node 12 is.
        notes: What the user should know of the conversion, whole sentences.
    """

    nodes: Mapping[str, Any]
    notes: tuple[str, ...]


def is_editor_workflow(loaded: object) -> bool:
    """Return whether *loaded* is what the editor's *Save* writes."""
    return isinstance(loaded, dict) and isinstance(loaded.get("nodes"), list)


def api_workflow(
    workflow: Mapping[str, Any], object_info: Mapping[str, Any], called: str
) -> ApiWorkflow:
    """Return *workflow* as the editor would post it.

    Args:
        workflow: What the editor's *Save* wrote.
        object_info: What the server answers to ``/object_info``.
        called: What messages call the workflow.

    Raises:
        BackendError: The workflow is faulty, or needs node classes that the server lacks.
    """
    return _Conversion(workflow, object_info, called).result()


@dataclass(eq=False, slots=True)
class _Level:
    """A canvas as it stands at one place: the outermost, or inside of one subgraph's node.

    Attributes:
        path: Ids of the subgraphs' nodes that it stands in, outermost first.
        outer: The level that its node stands on.
        host: Its node there.
        shown: Name of the host's input -> the value that the host shows for it.
        given: (node, widget) -> the value that is put over the node's own.
        inner: Node -> the level inside of it.
    """

    canvas: Canvas
    path: tuple[str, ...] = ()
    outer: _Level | None = None
    host: Node | None = None
    shown: dict[str, Any] = field(default_factory=dict)
    given: dict[tuple[str, str], Any] = field(default_factory=dict)
    inner: dict[str, _Level] = field(default_factory=dict)

    def id_of(self, node: Node) -> str:
        return ":".join((*self.path, node.id))


@dataclass(frozen=True, slots=True)
class _Value:
    """A widget's value where a link might have been."""

    value: Any


_Source = list[Any] | _Value | None
"""What an input gets: another node's output, a value, or nothing."""


class _Conversion:
    def __init__(
        self, workflow: Mapping[str, Any], object_info: Mapping[str, Any], called: str
    ) -> None:
        self._called = called
        self._info = object_info
        self._forms: dict[str, NodeForm] = {}
        self._values: dict[tuple[str, ...], dict[str, Any]] = {}
        self._notes: dict[str, None] = {}
        self._surplus: dict[str, None] = {}
        self._count = 0
        self._canvases = Canvas.definitions(workflow, called)
        self._all: list[tuple[_Level, Node]] = []
        self._root = _Level(Canvas.of(workflow, called))
        self._unfold(self._root, ())
        self._apply_primitives(self._root)

    def result(self) -> ApiWorkflow:
        drawn = [pair for pair in self._all if self._is_posted(pair[1])]
        self._refuse_unknown([node for _, node in drawn])
        for level, node in drawn:
            if _EVERYWHERE.match(node.kind):
                raise BackendError(
                    f"{self._called}: {self._named(level, node)} adds links while the editor posts,"
                    " which only its page knows; turn them into real links, and save it again"
                )
        if not drawn:
            raise BackendError(
                f"{self._called} has no node that is run: all are muted, bypassed or notes"
            )
        nodes = {level.id_of(node): self._posted(level, node) for level, node in drawn}
        if self._surplus:
            self._note(
                f"values of {', '.join(self._surplus)} have no place in the server's nodes and"
                " were left out; the file may be of a newer ComfyUI"
            )
        return ApiWorkflow(nodes=nodes, notes=tuple(self._notes))

    # -- nodes ---------------------------------------------------------------------------

    def _unfold(self, level: _Level, inside: tuple[str, ...]) -> None:
        """List the nodes of *level* that are run, and those of the subgraphs on it."""
        hosts = []
        for node in level.canvas.nodes.values():
            self._count += 1
            if self._count > _MOST_NODES:
                raise BackendError(f"{self._called} unfolds to more than {_MOST_NODES:,} nodes")
            if node.mode in (_MUTED, _BYPASSED):
                continue
            self._all.append((level, node))
            if node.kind in self._canvases:
                hosts.append(node)
        for node in hosts:
            if node.kind in inside or len(inside) >= _DEEPEST:
                raise BackendError(
                    f"{self._called}: the subgraph of {self._named(level, node)} holds itself,"
                    f" or stands in more than {_DEEPEST} others"
                )
            level.inner[node.id] = _Level(
                self._canvases[node.kind], (*level.path, node.id), level, node
            )
            self._unfold(level.inner[node.id], (*inside, node.kind))
        # Those inside have shown theirs by now: what the outer ones show is put over it.
        for node in hosts:
            self._show(level.inner[node.id], node)

    def _is_posted(self, node: Node) -> bool:
        return node.kind not in self._canvases and node.kind not in _UNPOSTED

    def _refuse_unknown(self, nodes: Sequence[Node]) -> None:
        unknown = Counter(node.kind for node in nodes if self._kind(node) not in self._info)
        if not unknown:
            return
        groups = [kind for kind in unknown if re.match(r"workflow[>/]", kind)]
        if groups:
            raise BackendError(
                f"{self._called} has group nodes ({', '.join(groups)}), which ComfyUI gave up for"
                " subgraphs; open it in ComfyUI, take them apart, and save it again"
            )
        packs = {node.kind: node.pack for node in nodes if node.pack}
        named = [
            kind + (f" ({count} times)" if count > 1 else "")
            + (f" of {packs[kind]}" if kind in packs else "")
            for kind, count in unknown.most_common()
        ]  # fmt: skip
        raise BackendError(
            f"{self._called} needs {len(unknown)} node"
            f" {'class' if len(unknown) == 1 else 'classes'} that the server lacks:"
            f" {', '.join(named)}; install the custom nodes there, or update it"
        )

    def _kind(self, node: Node) -> str:
        return _RENAMED.get(node.kind, node.kind)

    def _form(self, node: Node) -> NodeForm | None:
        """Return what the editor makes of a node's class; None where only the file knows it."""
        kind = self._kind(node)
        if kind not in self._forms:
            info = self._info.get(kind)
            if not isinstance(info, Mapping) or kind in self._canvases:
                return None
            self._forms[kind] = NodeForm.of(kind, info)
        return self._forms[kind]

    def _ports(self, node: Node) -> Sequence[Port]:
        """Return a node's inputs in the editor's order, with the links that the file has."""
        if node.kind in self._canvases:
            return node.ports_as(self._canvases[node.kind].inputs.items(), others=False)
        form = self._form(node)
        if form is None:
            return node.ports
        widgets = [(widget.name, widget.type) for widget in form.widgets if widget.posted]
        return node.ports_as((*form.sockets, *widgets))

    def _posted(self, level: _Level, node: Node) -> dict[str, Any]:
        form = self._form(node)
        inputs: dict[str, Any] = {}
        for name, value in self._values_of(level, node).items():
            widget = form.widget(name) if form else None
            posted = value if widget is None else self._as_posted(level, node, widget, value)
            if posted is not None:
                inputs[name] = _wrapped(posted, widget)
        for slot, port in enumerate(self._ports(node)):
            source = self._source(level, node, slot, "", ())
            if isinstance(source, _Value):
                if form is not None and form.takes(port.name):
                    inputs[port.name] = _wrapped(source.value, form.widget(port.name))
            elif source is not None:
                inputs[port.name] = source
        title = node.title or (form.title if form else node.kind)
        return {"class_type": self._kind(node), "inputs": inputs, "_meta": {"title": title}}

    # -- values --------------------------------------------------------------------------

    def _values_of(self, level: _Level, node: Node) -> dict[str, Any]:
        """Return the values of a node's widgets that are posted, by name."""
        key = (*level.path, node.id)
        if key not in self._values:
            self._values[key] = self._saved_values(node)
        given = {name: v for (place, name), v in level.given.items() if place == node.id}
        values = self._values[key]
        return {**values, **{name: v for name, v in given.items() if name in values}}

    def _saved_values(self, node: Node) -> dict[str, Any]:
        form = self._form(node)
        if form is None:
            return {}
        if node.kind.startswith("Power Lora Loader") and isinstance(node.values, list):
            rows = [row for row in node.values if isinstance(row, Mapping) and "lora" in row]
            return {f"lora_{number}": row for number, row in enumerate(rows, 1)}
        ports = [port.name for port in node.ports]
        # The editor goes by their order; names that say otherwise were left behind by a program.
        by_name = node.values_by_name is not None and not form.fits(node.values, ports)
        values, surplus = form.values(node.values_by_name if by_name else node.values, ports)
        if surplus:
            self._surplus[node.kind] = None
        kept = {}
        for name, value in values.items():
            widget = form.widget(name)
            if widget is None or widget.posted:
                kept[name] = value
        if isinstance(node.values, Mapping):  # such nodes have widgets that no server tells of
            kept |= {
                str(name): value
                for name, value in node.values.items()
                if name not in values and not isinstance(value, Mapping)
            }
        return kept

    def _as_posted(self, level: _Level, node: Node, widget: Widget, value: Any) -> Any:
        """Return a widget's own value as the editor posts it."""
        if widget.type == "STRING" and widget.spec.get("multiline") and not isinstance(value, str):
            value = "" if value is None else str(value)
        if widget.type == "STRING" and isinstance(value, str):
            if widget.spec.get("dynamicPrompts") is True:
                if value.count("{") > _MOST_CHOICES:
                    raise BackendError(
                        f"{self._called}: {self._named(level, node)} has {value.count('{'):,}"
                        f" braces in {widget.name}, {_MOST_CHOICES:,} may be"
                    )
                value, chosen = _without_choices(value)
                if chosen:
                    self._note(
                        f"{self._named(level, node)}: of each {{a|b}} in {widget.name} the first"
                        " is taken; the editor would take one by chance"
                    )
            if widget.name == "filename_prefix" and "%" in value:
                value = self._filled_in(value)
        if any(widget.spec.get(upload) for upload in ("image_upload", "video_upload")):
            folder = widget.spec.get("image_folder", "input")
            value = value or widget.default
            if folder != "input" and isinstance(value, str) and not value.endswith("]"):
                value = f"{value} [{folder}]"
        return value

    def _filled_in(self, text: str) -> str:
        """Return *text* with ``%Node.widget%`` as that widget's value, and dates as the server's.

        Dates are left to the server, which has signs of its own for them: a date that is filled
        in here would be another workflow every day.
        """

        def filled(found: re.Match[str]) -> str:
            name, dot, widget = found[1].partition(".")
            if name.startswith("date:"):
                return _DATES.sub(lambda part: _SERVER_DATES[part[0]], found[0][6:-1])
            named = [
                (level, node)
                for attribute in ("called_in_texts", "title")
                for level, node in self._all
                if dot and getattr(node, attribute) == name
            ]
            value = self._values_of(*named[0]).get(widget) if named else None
            return found[0] if value is None else _NOT_IN_NAMES.sub("_", str(value))

        return re.sub(r"%([^%]+)%", filled, text)

    def _apply_primitives(self, level: _Level) -> None:
        """Put the values of primitive nodes over those of the widgets that they are linked to."""
        for node in level.canvas.nodes.values():
            if node.kind != "PrimitiveNode" or not isinstance(node.values, list) or not node.values:
                continue
            value = level.given.get((node.id, "value"), node.values[0])
            widgets = {}
            for target, port in level.canvas.targets(node.id, 0):
                form = self._form(target)
                if target.id in level.inner:
                    level.inner[target.id].shown[port.name] = value
                elif form is not None and (widget := form.widget(port.name)) is not None:
                    widgets[target.id, port.name] = widget
            shared = _fitting(value, list(widgets.values()))
            for place, widget in widgets.items():
                level.given[place] = _fitting(shared, [widget])
        for inner in level.inner.values():
            self._apply_primitives(inner)

    def _show(self, level: _Level, host: Node) -> None:
        """Put what a subgraph's node shows over what is inside of it."""
        proxied = [
            (str(entry[0]), entry[1])
            for entry in host.shown_widgets
            if isinstance(entry, list) and len(entry) >= 2 and isinstance(entry[1], str)
        ]
        values = host.values if isinstance(host.values, list) else []
        if host.values_by_name is not None:
            for name, value in host.values_by_name.items():
                self._show_at(level, "-1", name, value)
        elif proxied:
            for (node, widget), value in zip(proxied, values, strict=False):
                self._show_at(level, node, widget, value)
        else:
            names = [n for n in level.canvas.inputs if self._shown(level, n) is not None]
            typed = [n for n, kind in level.canvas.inputs.items() if is_typed(kind)]
            if len(values) == len(typed):  # some of them may be widgets that this server lacks
                names = typed
            for name, value in zip(names, values, strict=False):
                self._show_at(level, "-1", name, value)
        for node, widget, value in host.quarantined:
            if node == "-1":
                self._show_at(level, node, widget, value)

    def _show_at(self, level: _Level, node: str, widget: str, value: Any) -> None:
        """Put *value* over a widget inside of *level*: of a node there, or of an input (-1)."""
        if value is None:
            return
        if node == "-1":
            level.shown[widget] = value
            return
        inside = level.canvas.nodes.get(node)
        if inside is None:
            return
        for port in inside.ports:
            origin = level.canvas.links.get(port.link) if port.link is not None else None
            if port.name == widget and origin is not None and origin[0] == INSIDE:
                level.shown[level.canvas.input_name(origin[1])] = value
                return
        deeper = level.inner.get(node)
        if deeper is None:
            level.given[node, widget] = value
        elif widget in deeper.canvas.inputs:
            deeper.shown[widget] = value
        elif proxied := _PROXIED.fullmatch(widget):
            self._show_at(deeper, proxied[1], proxied[2], value)
        else:
            for entry in inside.shown_widgets:
                if isinstance(entry, list) and len(entry) >= 2 and entry[1] == widget:
                    self._show_at(deeper, str(entry[0]), widget, value)
                    return

    def _shown(self, level: _Level, name: str) -> _Value | None:
        """Return what a subgraph's node shows for its input *name*, None where it is no widget."""
        if name in level.shown:
            return _Value(level.shown[name])
        if name not in level.canvas.inputs:
            return None
        for node, port in level.canvas.reached_from(name):
            if node.id in level.inner:
                value = self._shown(level.inner[node.id], port)
            else:
                values = self._values_of(level, node)
                value = _Value(values[port]) if port in values else None
            if value is not None:
                return value
        return None

    # -- links ---------------------------------------------------------------------------

    def _source(
        self, level: _Level, node: Node, slot: int, kind: str, way: tuple[object, ...]
    ) -> _Source:
        """Return what comes in at the input number *slot* of *node*.

        *kind* is the type that is wanted, empty for the input's own; *way* is what was passed on
        the way here.
        """
        ports = self._ports(node)
        if not 0 <= slot < len(ports) or (link := ports[slot].link) is None:
            return None
        port = ports[slot]
        origin = level.canvas.links.get(link)
        if origin is None:
            raise BackendError(
                f"{self._called} is damaged: input {port.name} of {self._named(level, node)} hangs"
                f" on link {link}, which the file lacks; open it in ComfyUI and save it again"
            )
        way = self._further(level, node, (level.path, node.id, slot), way)
        name, output = origin
        if name == INSIDE and level.host is not None:
            return self._from_outside(level, output, way)
        source = level.canvas.nodes.get(name)
        if source is None:
            raise BackendError(
                f"{self._called} is damaged: input {port.name} of {self._named(level, node)} comes"
                f" from node {name}, which the file lacks; open it in ComfyUI and save it again"
            )
        return self._output(level, source, output, kind or port.type, way)

    def _from_outside(self, level: _Level, slot: int, way: tuple[object, ...]) -> _Source:
        """Return what comes in through the input number *slot* of the subgraph *level*."""
        assert level.outer is not None
        assert level.host is not None
        ports = self._ports(level.host)
        if not 0 <= slot < len(ports):
            return None
        name = ports[slot].name
        if ports[slot].link is None:
            return self._shown(level, name)
        source = self._source(level.outer, level.host, slot, "", way)
        if source is None and name in level.shown:
            return _Value(level.shown[name])
        return source

    def _output(
        self, level: _Level, node: Node, slot: int, kind: str, way: tuple[object, ...]
    ) -> _Source:
        """Return what leaves *node* at its output number *slot*, for an input of type *kind*."""
        if node.mode == _MUTED:
            return None
        if node.mode == _BYPASSED:
            through = self._passed_through(node, slot, kind)
            return None if through is None else self._source(level, node, through, "", way)
        if node.id in level.inner:
            inner = level.inner[node.id]
            origin = inner.canvas.output(slot)
            if origin is None:
                return None
            if origin[0] == INSIDE:
                return self._from_outside(inner, origin[1], self._further(level, node, (), way))
            source = inner.canvas.nodes.get(origin[0])
            if source is None:
                raise BackendError(
                    f"{self._called} is damaged: output {slot} of {self._named(level, node)} comes"
                    f" from node {origin[0]} inside of it, which the file lacks"
                )
            return self._output(inner, source, origin[1], kind, self._further(level, node, (), way))
        if node.kind == "GetNode":
            node = self._setter(level, node)
            slot = 0
        if node.kind in _PASSING:
            return self._source(level, node, slot, kind, way)
        if node.kind in _UNPOSTED:
            return None
        return [level.id_of(node), slot]

    def _setter(self, level: _Level, getter: Node) -> Node:
        wanted = getter.values[0] if isinstance(getter.values, list) and getter.values else None
        for node in level.canvas.nodes.values():
            set_here = isinstance(node.values, list) and node.values[:1] == [wanted]
            if node.kind == "SetNode" and set_here:
                return node
        raise BackendError(
            f"{self._called}: {self._named(level, getter)} gets {wanted!r}, which no SetNode of"
            " its canvas sets"
        )

    def _passed_through(self, node: Node, slot: int, kind: str) -> int | None:
        """Return the number of the input that a bypassed node gives on at output *slot*."""
        ports = self._ports(node)
        if kind in ("*", ""):
            return slot if slot < len(ports) else 0
        form = self._form(node)
        outputs = form.outputs if form is not None else node.outputs
        output = outputs[slot] if slot < len(outputs) else "*"

        def fits(port: Port) -> bool:
            return _connects(port.type, output) and _connects(port.type, kind)

        if slot < len(ports) and fits(ports[slot]):
            return slot
        same = [number for number, port in enumerate(ports) if port.type == kind]
        near = [number for number, port in enumerate(ports) if fits(port)]
        return next(iter((*same, *near)), None)

    def _further(
        self, level: _Level, node: Node, place: object, way: tuple[object, ...]
    ) -> tuple[object, ...]:
        if (place and place in way) or len(way) >= _LONGEST_WAY:
            raise BackendError(
                f"{self._called}: the links go round in a circle at {self._named(level, node)}"
            )
        return (*way, place)

    def _named(self, level: _Level, node: Node) -> str:
        title = f"{node.title}, " if node.title not in ("", node.kind) else ""
        kind = "subgraph" if node.kind in self._canvases else node.kind
        return f"node {level.id_of(node)} ({title}{kind})"

    def _note(self, sentence: str) -> None:
        self._notes.setdefault(f"{self._called}: {sentence}.")


def _connects(one: str, other: str) -> bool:
    """Whether the editor lets outputs and inputs of these types be linked."""
    if {one, other} & {"*", ""}:
        return True
    return bool({*one.lower().split(",")} & {*other.lower().split(",")})


def _wrapped(value: Any, widget: Widget | None) -> Any:
    """Return a value so that no server takes it for a link."""
    if widget is not None and widget.type == "CURVE":
        return {"__type__": "CURVE", "__value__": value}
    return {"__value__": value} if isinstance(value, list) else value


def _fitting(value: Any, widgets: Sequence[Widget]) -> Any:
    """Return what a primitive node's number becomes in whole-number widgets that share it."""
    if not isinstance(value, (int, float)) or any(widget.type != "INT" for widget in widgets):
        return value
    specs = [widget.spec for widget in widgets]
    least = max((spec["min"] for spec in specs if _whole(spec.get("min"))), default=0)
    most = min((spec["max"] for spec in specs if _whole(spec.get("max"))), default=2**64)
    if len(widgets) > 1 and least <= most:
        value = min(max(value, least), most)
    step = math.lcm(*(spec["step"] for spec in specs if _whole(spec.get("step")))) or 1
    if step == 1 and isinstance(value, int):
        return value  # a seed is more than a fraction can hold
    return math.floor((value - least % step) / step + 0.5) * step + least % step


def _whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _without_comments(text: str) -> str:
    """Return *text* without comments; one that is never closed is none."""
    pieces, at, begin, last = list[str](), 0, 0, text.rfind("*/")
    sign = re.compile(r"/\*|//.*")
    while found := sign.search(text, begin):
        if found[0] != "/*":
            end = found.end()
        elif found.end() <= last:
            end = text.index("*/", found.end()) + 2
        else:
            begin = found.start() + 1
            continue
        pieces.append(text[at : found.start()])
        at = begin = end
    return "".join((*pieces, text[at:]))


def _without_choices(text: str) -> tuple[str, bool]:
    r"""Return a prompt without comments and with the first of each ``{a|b}``, and whether one was.

    ``\{`` is a brace, as the editor has it.
    """
    text, chosen = _without_comments(text), False
    inner = re.compile(r"(?<!\\)\{((?:\\.|[^{}\\])*)\}")
    while found := inner.search(text):
        first = re.match(r"(?:\\.|[^|\\])*", found[1])
        kept = first[0] if first else ""
        chosen = chosen or kept != found[1]
        text = text[: found.start()] + kept + text[found.end() :]
    return re.sub(r"\\([{}|])", r"\1", text), chosen
