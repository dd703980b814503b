"""ComfyUI's nodes that let pictures steer a sampler: control nets, adapters, references.

They stand on the way of the conditioning or of the model, whatever they are called, and take a
control net, an adapter, a style model or a picture beside it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from safelight.imports.comfyui_links import Graph

__all__ = ["control_settings", "steers"]

_MAX_CONTROLS, _MAX_SETTINGS = 6, 20
_NETS = re.compile(
    r"(?:.*_)?control_?nets?(?:_\w+)?|cnet_stack|control_lora|style_model|clip_vision\w*"
    r"|ip_?adapter\w*|instant_?id\w*|pulid\w*|photomaker\w*|model_patch|gligen\w*"
)
_PICTURES = re.compile(r"(?:\w+_)?images?_?\d*|reference\w*|(?:reference_)?latents?|pixels")
_CARRIES = re.compile(r"pipe|context|switch|reroute|\bany\b|stack", re.IGNORECASE)
_STRENGTHS = ("strength", "weight", "conditioning_strength")
_PASSED_ON = re.compile(
    r"model|clip|vae|(?:base_)?(?:positive|negative)|conditioning\w*|cond_?\d?|text|prompt"
)
_OF_THE_EDITOR = frozenset({"upload", "choose file to upload"})
_KNOBS = frozenset({"text", "prompt", "width", "height", "batch_size"})
"""What a node that steers may say too, and a knob says already."""


def control_settings(
    graph: Graph, walked: Iterable[str], drawn: Collection[str]
) -> dict[str, str | float]:
    """Return what steers a picture, as settings: ``control_1``, ``control_1_strength``, ...

    A node of strength 0 does nothing and is passed over.

    Args:
        graph: Where it stands.
        walked: The nodes between the samplers and their models and texts.
        drawn: The nodes that the picture itself came through.
    """
    settings: dict[str, str | float] = {}
    walked = dict.fromkeys(walked)
    steering = [node for node in walked if steers(graph, node, drawn)]
    for number, node in enumerate(steering[:_MAX_CONTROLS], 1):
        settings[f"control_{number}"] = graph.classes[node] or "an unknown node"
        own: dict[str, str | float] = {}
        for key, value in _values(graph, node, {*walked, *drawn}):
            place = next(n for n in range(1, _MAX_SETTINGS + 2) if _numbered(key, n) not in own)
            own[_numbered(key, place)] = value
            if len(own) == _MAX_SETTINGS:
                break
        settings |= {f"control_{number}_{key}": value for key, value in own.items()}
    return settings


def _numbered(key: str, number: int) -> str:
    return key if number == 1 else f"{key}_{number}"


def steers(graph: Graph, node: str, drawn: Collection[str] = ()) -> bool:
    """Return whether *node* lets a picture steer a sampler; of strength 0 it does not."""
    if next((graph.number(node, key) for key in _STRENGTHS if key in graph.nodes[node]), 1) == 0:
        return False
    carries = _CARRIES.search(graph.classes[node]) or graph.switched(node)[1]
    keys = {key for key, _ in graph.links(node)}
    if node in drawn:  # a picture to begin with, or, without a mask, one for the model to look at
        pictures = {"pixels"} if "mask" not in keys else set()
    else:
        pictures = set() if carries else {key for key in keys if _PICTURES.fullmatch(key)}
    return bool(pictures & keys) or any(_NETS.fullmatch(key) for key in keys)


def _values(graph: Graph, node: str, known: Collection[str]) -> Iterator[tuple[str, str | float]]:
    """Yield what a node is set to, and those that feed it with nets and pictures, but *known*."""
    waiting, seen = [node], {node, *known}
    for place in waiting:
        for key, value in graph.nodes[place].items():
            link = graph.linked(value)
            if link is not None:
                if link[0] in graph.nodes and link[0] not in seen and not _PASSED_ON.fullmatch(key):
                    seen.add(link[0])
                    waiting.append(link[0])
            elif key not in (_KNOBS | _OF_THE_EDITOR if place == node else _OF_THE_EDITOR):
                if isinstance(value, bool | str):
                    yield key, str(value)
                elif isinstance(value, int | float):
                    yield key, round(value, 6)  # sliders write 1.0000000000000004
