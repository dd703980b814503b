"""How large ComfyUI's graphs draw, and what enlarges a picture between samplers and at the end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from safelight.formats.comfyui_nodes import LATENT_METHODS, PIXEL_METHODS
from safelight.imports.comfyui_links import Graph
from safelight.imports.comfyui_passes import LATENTS
from safelight.imports.comfyui_settings import alters, settings
from safelight.imports.reading import as_number

__all__ = ["Beginning", "Resizing", "Size", "beginning", "places_behind", "resizing",
           "samplers_behind"]  # fmt: skip

Size = tuple[int, int]

_SIZE_TEXT = re.compile(r"(?<!\d)(\d{2,5})\s*[x×*]\s*(\d{2,5})(?!\d)", re.IGNORECASE)
_SIZE_KEYS = ("dimensions", "resolution", "size", "size_selected", "aspect_ratio", "preset")
_BENT_SIZE = re.compile(r"swap\w*|orientation|invert\w*|flip|upscale_factor|multiplier|scale")
_NOT_THE_PICTURE = re.compile(
    r"model\w*|clip\w*|vae\w*|(?:base_)?(?:positive|negative)|conditioning\w*|cond_?\d?|text\w*"
    r"|prompt\w*|seed|noise|noise_seed|width|height|steps|cfg|denoise|sampler\w*|scheduler|sigmas"
    r"|guider|control\w*|mask\w*|lora\w*|upscale_model|filename\w*|scale_by|\w*detector\w*|sam_\w+"
)
_RESIZES = re.compile(
    r"scale|resize|crop|pad|outpaint|stitch|concat|grid|rotate|composite|tile|blend", re.IGNORECASE
)
_METHODS = {
    kind: {method: name for name, method in methods.items()}
    for kind, methods in (("pixels", PIXEL_METHODS), ("latents", LATENT_METHODS))
}
_DECODES = re.compile(r"VAE(?:Decode|Encode)\w*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What the first sampler began with.

    Attributes:
        size: Of the empty latent in pixels; None where the graph does not say.
        empty: Whether it was an empty latent.
        image: Name of the picture that was loaded instead; empty when there was none.
        batch: How many pictures were drawn together.
        mask: Where it was redrawn: the name of the picture that says it, else what made the mask.
    """

    size: Size | None = None
    empty: bool = False
    image: str = ""
    batch: int = 1
    mask: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resizing:
    """What some nodes make of a picture's size.

    Attributes:
        factor: By which both sides grow; None where that is not told.
        size: In pixels, where the nodes name it.
        upscaler: What enlarges: a model's file, else a method; empty when nothing does.
        grows: Whether it is larger afterwards, by whatever factor.
        altered: Class -> settings of nodes that make another picture of it, not only another size.
    """

    factor: float | None = 1.0
    size: Size | None = None
    upscaler: str = ""
    grows: bool = False
    altered: Mapping[str, str] = field(default_factory=dict)

    @property
    def changes(self) -> bool:
        """Whether the size may be another one afterwards."""
        return self.factor != 1.0 or self.size is not None

    def of(self, size: Size | None) -> Size | None:
        """Return the size that comes out when *size* goes in; None where that is not told."""
        if self.size is not None or size is None or self.factor is None:
            return self.size
        return round(size[0] * self.factor), round(size[1] * self.factor)


def places_behind(graph: Graph, end: str) -> list[str]:
    """Return the nodes that a picture came through, first to run first, *end* last."""
    order: list[str] = []
    seen = {end}
    stack = [(end, _pictures(graph, end))]
    while stack:
        node, targets = stack[-1]
        target = next((t for t in targets if t not in seen and t in graph.nodes), None)
        if target is None:
            order.append(node)
            stack.pop()
        elif len(seen) < 5_000:
            seen.add(target)
            stack.append((target, _pictures(graph, target)))
        else:
            seen.add(target)
    return order


def samplers_behind(
    graph: Graph, places: Iterable[str], samplers: Iterable[str]
) -> dict[str, frozenset[str]]:
    """Return place -> those of *samplers* that drew what comes into it.

    *places* are in the order of :func:`places_behind`.
    """
    drawing = frozenset(samplers)
    behind: dict[str, frozenset[str]] = {}
    for place in places:
        taken = [node for node in _pictures(graph, place) if node in behind]
        behind[place] = frozenset().union(drawing & {*taken}, *(behind[node] for node in taken))
    return behind


def _pictures(graph: Graph, node: str) -> Iterator[str]:
    """Yield what stands behind the inputs that may carry a picture or a latent."""
    chosen, switches = graph.switched(node)
    if switches:
        if link := graph.linked(chosen):
            yield link[0]
        return
    for key, (target, _) in graph.links(node):
        if not _NOT_THE_PICTURE.fullmatch(key):
            yield target


def beginning(graph: Graph, sampler: str) -> Beginning:
    """Return what *sampler* began with."""
    start = next((t for k, (t, _) in graph.links(sampler) if k in LATENTS), None)
    start = start or next((t for k, (t, _) in graph.links(sampler) if k == "image"), None)
    pipe = graph.pipe(sampler)
    start = start or (pipe[0] if pipe else None)
    if start is None or start not in graph.nodes:
        sized = "width" in graph.nodes[sampler] and "height" in graph.nodes[sampler]
        return _empty(graph, sampler) if sized else Beginning()
    places = places_behind(graph, start)
    batch = _batch(graph, places)
    mask = next((m for place in reversed(places) if (m := _mask(graph, place))), "")
    for place in reversed(places):
        inputs = graph.nodes[place]
        name = inputs.get("image")
        if isinstance(name, str) and re.search("load", graph.classes[place], re.I):
            return Beginning(image=name, batch=batch, mask=mask)
        linked = {key for key, _ in graph.links(place)}
        if not linked & {"image", "pixels", "samples"} and (
            ("width" in inputs and "height" in inputs)
            or "empty_latent_width" in inputs
            or _size_text(graph, place)
        ):
            return _empty(graph, place, batch)
    return Beginning(batch=batch, mask=mask)


def _empty(graph: Graph, node: str, batch: int = 1) -> Beginning:
    sides = (
        graph.number(node, "width", "empty_latent_width"),
        graph.number(node, "height", "empty_latent_height"),
    )
    told = (int(sides[0]), int(sides[1])) if sides[0] and sides[1] else _size_text(graph, node)
    return Beginning(size=told, empty=True, batch=max(batch, _batch(graph, [node])))


def _batch(graph: Graph, places: Iterable[str]) -> int:
    """Return how many pictures come out of the last of *places*, each behind those it takes."""
    made: dict[str, int] = {}
    last = 1
    for place in places:
        inputs = graph.nodes[place]
        taken = [made[t] for k, (t, _) in graph.links(place) if t in made]
        joins = re.search(r"Batch$", graph.classes[place]) and len(taken) > 1
        number = sum(taken) if joins else max(taken, default=1)
        repeats = "amount" in inputs and ("samples" in inputs or "image" in inputs)
        own = graph.number(place, "amount" if repeats else "batch_size")
        if own and own >= 1:
            number = number * int(own) if repeats else max(number, int(own))
        made[place] = last = number
    return last


def _mask(graph: Graph, node: str) -> str:
    """Return what says where a node lets a picture be redrawn; empty where it does not."""
    link = graph.link(node, "mask")
    if link is None or not {"samples", "pixels"} & {key for key, _ in graph.links(node)}:
        return ""
    for place in graph.upstream(link[0]):
        name = graph.nodes[place].get("image")
        if isinstance(name, str):
            channel = graph.nodes[place].get("channel")
            return f"{name} ({channel})" if isinstance(channel, str) else name
    return graph.classes.get(link[0], "")


def _size_text(graph: Graph, node: str) -> Size | None:
    """Return a size that is chosen by its name: ``1216 x 832   (landscape)``."""
    inputs = graph.nodes[node]
    bent = any(
        value not in (False, None, 0, 1, "Off", "off", "None", "no", "disable")
        for key, value in inputs.items()
        if _BENT_SIZE.fullmatch(key)
    )
    for key in _SIZE_KEYS:
        value = inputs.get(key)
        match = _SIZE_TEXT.search(value) if isinstance(value, str) else None
        if match and not bent:
            own = [graph.number(node, f"{side}_override") for side in ("width", "height")]
            return int(own[0] or match[1]), int(own[1] or match[2])
    return None


def resizing(graph: Graph, nodes: Iterable[str]) -> Resizing:
    """Return what *nodes*, first to run first, make of a picture's size."""
    factor: float | None = 1.0
    size: Size | None = None
    models: list[str] = []
    methods: list[str] = []
    altered: dict[str, list[str]] = {}
    shrinks = False
    for node in nodes:
        inputs, kind = graph.nodes[node], graph.classes[node]
        by = graph.number(node, "scale_by", "upscale_by")
        if by is None and inputs.get("mode") == "rescale":
            by = graph.number(node, "rescale_factor")
        model = _upscale_model(graph, node)
        methods += [m for m in (_method(graph, node),) if m and by != 1]
        models += [model] if model else []
        if by is not None:
            factor = factor * by if factor is not None else None
            size = (round(size[0] * by), round(size[1] * by)) if size else None
            shrinks |= by < 1
        elif sides := _named_size(graph, node):
            size, factor = sides, None
        elif model:
            size = factor = None
        elif _RESIZES.search(kind) and not _DECODES.fullmatch(kind):
            size, factor, shrinks = None, None, True
        if alters(kind) and "steps" not in inputs:
            altered.setdefault(kind, []).append(settings(graph, node))
    return Resizing(
        factor=factor, size=size, upscaler=(models or methods or [""])[-1],
        grows=bool(models) and not shrinks and size is None,
        altered={kind: "; ".join(said) for kind, said in altered.items()},
    )  # fmt: skip


def _method(graph: Graph, node: str) -> str:
    """Return our name of the method by which a node enlarges; one of latents is another."""
    method = graph.text(node, "upscale_method") or ""
    names = _METHODS["latents" if graph.link(node, "samples") else "pixels"]
    return names.get(method, method)


def _upscale_model(graph: Graph, node: str) -> str:
    value = graph.nodes[node].get("upscale_model")
    if isinstance(value, str):
        return value
    link = graph.linked(value)
    return (graph.text(link[0], "model_name", "upscale_model") or "a model") if link else ""


def _named_size(graph: Graph, node: str) -> Size | None:
    """Return the size that a node gives to a picture which goes in."""
    if not {key for key, _ in graph.links(node)} & {"image", "images", "samples", "pixels"}:
        return None
    width, height = (as_number(graph.number(node, side)) for side in ("width", "height"))
    return (int(width), int(height)) if width and height else None
