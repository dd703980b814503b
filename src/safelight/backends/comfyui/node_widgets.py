"""NodeForm: the sockets and widgets that ComfyUI's editor gives a node, from /object_info.

The editor saves the values of widgets in their order and mostly without names, so whoever reads
its files must know which widgets it makes of a class: one for each input of a type that can be
typed in, one more beside a seed (what becomes of it after a run), one for an upload button, and
below a dynamic combo those of the option that is chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

__all__ = ["NodeForm", "Widget", "is_typed"]

_TYPED = frozenset({
    "INT", "FLOAT", "BOOLEAN", "STRING", "COMBO", "MARKDOWN", "TEXTAREA", "COLOR", "COLORS",
    "CURVE", "RANGE", "BOUNDING_BOX", "BOUNDING_BOXES", "CHART", "GALLERIA", "PAINTER",
    "COMPOSITOR",
    "IMAGECOMPARE", "VIDEO_EDIT", "RESOLUTION_PREVIEW", "LIGHT_INFO_PREVIEW", "WEBCAM",
    "AUDIO_RECORD", "LOAD_3D", "LOAD_3D_ANIMATION", "LOAD_3D_ADVANCED", "PREVIEW_3D",
    "CAMERA_INFO_STATE", "CAMERA_ANGLE_VIEW", "COMFY_DYNAMICCOMBO_V3", "COMFY_DYNAMICGROUP_V3",
})  # fmt: skip
"""Types whose inputs are widgets; all others are sockets."""
_KINDS: Mapping[str, tuple[type, ...]] = MappingProxyType({
    "INT": (int, float), "FLOAT": (int, float), "BOOLEAN": (bool,), "STRING": (str,),
    "COMBO": (str, int, float), "COMFY_DYNAMICCOMBO_V3": (str,), "CONTROL": (str,),
})  # fmt: skip
_SEEDS = ("seed", "noise_seed")
_UPLOADS = ("image_upload", "video_upload", "animated_image_upload")
_EMPTY: Mapping[str, Any] = MappingProxyType({})
_DEFAULTS: Mapping[str, Any] = MappingProxyType({
    "INT": 0, "FLOAT": 0, "BOOLEAN": False, "STRING": "", "TEXTAREA": "", "MARKDOWN": "",
    "IMAGECOMPARE": ["", ""],
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Widget:
    """One widget of a node.

    Attributes:
        name: Its input's name, ``group.input`` below a dynamic combo.
        type: Its input's type: ``INT``, ``COMBO``.
        default: The value that a new node has; None where there is none.
        posted: Whether its value is an input of the node; else the editor keeps it for itself.
        spec: What the server says of the input: ``multiline``, ``step``.
        below: Option -> the widgets that are there as long as it is chosen.
    """

    name: str
    type: str
    default: Any = None
    posted: bool = True
    spec: Mapping[str, Any] = field(default_factory=dict)
    below: Mapping[str, tuple[Widget, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeForm:
    """What the editor makes of one class.

    Attributes:
        sockets: (name, type) of the inputs that only take a link, in the editor's order.
        widgets: In the order in which their values are saved.
        forced: Where among the saved values older editors kept one for an input that has none now.
        grown: Groups of inputs that grow as they are connected: name -> (type, specification).
        outputs: Types.
        title: What a node is called that nobody named.
    """

    sockets: tuple[tuple[str, str], ...]
    widgets: tuple[Widget, ...]
    forced: tuple[bool, ...]
    grown: Mapping[str, tuple[str, Mapping[str, Any]]]
    outputs: tuple[str, ...]
    title: str

    @classmethod
    def of(cls, kind: str, info: Mapping[str, Any]) -> NodeForm:
        """Return the form of the class *kind* that /object_info describes as *info*."""
        inputs = _ordered(info)
        sockets: list[tuple[str, str]] = []
        widgets: list[Widget] = []
        forced: list[bool] = []
        grown = {}
        for name, (kind_of, spec) in inputs.items():
            if kind_of == "COMFY_AUTOGROW_V3":
                grown[name] = _grown(spec)
            elif not _is_widget(kind_of, spec):
                sockets.append((name, kind_of))
                forced += [True] if spec.get("forceInput") else []
            else:
                made = list(_widgets(name, kind_of, spec))
                widgets += made
                forced += [False] * len(made)
        if _uploads(info):
            widgets.append(Widget(name="upload", type="IMAGEUPLOAD", posted=False))
            forced.append(False)
        outputs = info.get("output")
        return cls(
            sockets=tuple(sockets),
            widgets=tuple(widgets),
            forced=tuple(forced),
            grown=grown,
            outputs=tuple(
                "COMBO" if isinstance(output, list) else str(output)
                for output in (outputs if isinstance(outputs, list) else ())
            ),
            title=str(info.get("display_name") or kind),
        )

    def values(self, saved: object, inputs: Iterable[str]) -> tuple[dict[str, Any], int]:
        """Return the widgets' values by name, and how many saved ones are left over.

        Args:
            saved: By name, or in the widgets' order.
            inputs: Names of the node's inputs, which tell how far its groups have grown.
        """
        widgets = (*self._grown_widgets(inputs), *self.widgets)
        if isinstance(saved, Mapping):
            return dict(_by_name(widgets, saved)), 0
        left = self._in_order(saved)
        named = {
            widget.name: widget.default if value is _MISSING else value
            for widget, value in _paired(widgets, left)
        }
        return named, sum(1 for value in left if value not in (None, ""))

    def fits(self, saved: object, inputs: Iterable[str]) -> bool:
        """Return whether *saved* is a list with one value for each widget, of its type."""
        left = self._in_order(saved)
        widgets = (*self._grown_widgets(inputs), *self.widgets)
        each_fits = all(_fits(widget, value) for widget, value in _paired(widgets, left))
        return each_fits and all(value in (None, "") for value in left)

    def _in_order(self, saved: object) -> Iterator[Any]:
        """Yield the values of a list, without those that older editors kept for links."""
        rest = saved if isinstance(saved, list) else []
        if any(self.forced) and len(rest) == len(self.forced):
            rest = [value for value, old in zip(rest, self.forced, strict=True) if not old]
        return iter(rest)

    def widget(self, name: str) -> Widget | None:
        """Return the widget of that name, those below dynamic combos included."""
        todo = list(self.widgets)
        while todo:
            widget = todo.pop()
            if widget.name == name:
                return widget
            todo += [inner for inners in widget.below.values() for inner in inners]
        return None

    def takes(self, name: str) -> bool:
        """Return whether the server knows of an input of that name, widget or socket."""
        is_socket = any(name == socket for socket, _ in self.sockets)
        return is_socket or name.rpartition(".")[0] in self.grown or self.widget(name) is not None

    def _grown_widgets(self, inputs: Iterable[str]) -> Iterator[Widget]:
        for name in inputs:
            kind, spec = self.grown.get(name.rpartition(".")[0], ("", _EMPTY))
            if _is_widget(kind, spec):
                yield from _widgets(name, kind, spec)


_MISSING = object()


def is_typed(kind: str) -> bool:
    """Return whether the values of an input of this type can be typed in."""
    return kind in _TYPED


def _paired(widgets: Sequence[Widget], values: Iterator[Any]) -> Iterator[tuple[Widget, Any]]:
    for widget in widgets:
        value = next(values, _MISSING)
        yield widget, value
        yield from _paired(_below(widget, widget.default if value is _MISSING else value), values)


def _fits(widget: Widget, value: object) -> bool:
    """Whether a widget may have had that value; of choices, files may be gone and others new."""
    if value is None or widget.type not in _KINDS:
        return value is not _MISSING
    return isinstance(value, _KINDS[widget.type]) and (
        isinstance(value, bool) == (widget.type == "BOOLEAN")
        and (not widget.below or value in widget.below)
    )


def _by_name(widgets: Sequence[Widget], values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for widget in widgets:
        value = values.get(widget.name, widget.default)
        yield widget.name, value
        yield from _by_name(_below(widget, value), values)


def _below(widget: Widget, value: object) -> tuple[Widget, ...]:
    return widget.below.get(value, ()) if isinstance(value, str) else ()


def _is_widget(kind: str, spec: Mapping[str, Any]) -> bool:
    return str(spec.get("widgetType") or kind) in _TYPED and not spec.get("forceInput")


def _widgets(name: str, kind: str, spec: Mapping[str, Any]) -> Iterator[Widget]:
    """Yield the widget of an input, and what the editor puts beside it."""
    kind = str(spec.get("widgetType") or kind)
    below = {}
    if kind == "COMFY_DYNAMICCOMBO_V3":
        options = [o for o in _listed(spec.get("options")) if isinstance(o, Mapping)]
        below = {str(option.get("key")): _inner(name, option) for option in options}
        spec = {**spec, "options": list(below)}
    yield Widget(name=name, type=kind, default=_default(kind, spec), spec=spec, below=below)
    control = spec.get("control_after_generate")
    if control is None:
        control = kind == "INT" and name in _SEEDS
    if control and kind in ("INT", "FLOAT", "COMBO"):
        yield Widget(name=f"{name}.control_after_generate", type="CONTROL", posted=False)
        if kind == "COMBO":
            yield Widget(name=f"{name}.control_filter_list", type="CONTROL", posted=False)


def _inner(group: str, option: Mapping[str, Any]) -> tuple[Widget, ...]:
    inputs = option.get("inputs")
    return tuple(
        widget
        for name, (kind, spec) in _ordered({"input": inputs}).items()
        if _is_widget(kind, spec)
        for widget in _widgets(f"{group}.{name}", kind, spec)
    )


def _default(kind: str, spec: Mapping[str, Any]) -> Any:
    if kind in ("COMBO", "COMFY_DYNAMICCOMBO_V3"):
        return spec.get("default") or next(iter(_listed(spec.get("options"))), None)
    default = spec.get("default")
    return _DEFAULTS.get(kind) if default is None else default


def _ordered(info: Mapping[str, Any]) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Return input -> (type, specification): as ``input_order`` says, then what it leaves out."""
    groups, orders = _table(info.get("input")), _table(info.get("input_order"))
    ordered: dict[Any, Any] = {}
    for group in ("required", "optional"):
        specs = _table(groups.get(group))
        named = [n for n in _listed(orders.get(group)) if isinstance(n, str) and n in specs]
        ordered |= {n: specs[n] for n in (*named, *(n for n in specs if n not in named))}
    return {str(name): _type_and_spec(spec) for name, spec in ordered.items()}


def _type_and_spec(spec: object) -> tuple[str, Mapping[str, Any]]:
    """Return an input's type and the rest of its specification, combos in one shape."""
    parts = _listed(spec)
    options = parts[1] if len(parts) > 1 and isinstance(parts[1], Mapping) else _EMPTY
    if parts and isinstance(parts[0], list):
        return "COMBO", {**options, "options": parts[0]}
    return (str(parts[0]) if parts else "*"), options


def _grown(spec: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the type and specification of each input of a group that grows."""
    inputs = _ordered({"input": _table(spec.get("template")).get("input")})
    return next(iter(inputs.values()), ("*", _EMPTY))


def _uploads(info: Mapping[str, Any]) -> bool:
    """Whether the editor adds a button for uploading, which has a place among the values."""
    required = _table(_table(info.get("input")).get("required"))
    specs = {str(name): _type_and_spec(spec) for name, spec in required.items()}
    combos = [spec for kind, spec in specs.values() if kind == "COMBO"]
    if any(spec.get(upload) is True for spec in combos for upload in _UPLOADS):
        return True
    return "audio" in specs and specs["audio"][1].get("audio_upload") is True


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else _EMPTY


def _listed(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()
