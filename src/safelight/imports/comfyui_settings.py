"""What nodes of a ComfyUI graph were set to, in a few words, where no knob of ours says it.

Two pictures that differ in nothing else are not alike, so it is kept under the node's class.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from safelight.imports.comfyui_links import Graph
from safelight.imports.reading import as_number

__all__ = ["alters", "settings", "settings_by_class"]

_ALTERS = re.compile(
    r"blend|composite|sharpen|blur|crop|flip|rotate|invert|quantiz|addnoise|grain|colou?r|bright"
    r"|contrast|adjust|filter|levels|vignette|bloom|outpaint|padfor|andpad|stitch|concat|overlay"
    r"|watermark|latent(?:add|subtract|multiply|interpolate|applyoperation|cut)\b|porterduff|grid",
    re.IGNORECASE,
)
_MAX_LENGTH = 500


def alters(kind: str) -> bool:
    """Whether nodes of a class make another picture or latent of one, not only another size."""
    return bool(_ALTERS.search(kind)) and "SEGS" not in kind


def settings(graph: Graph, node: str, *, without: Iterable[str] = ()) -> str:
    """Return what *node* was set to: ``b1 1.3, b2 1.4``; empty where it has no values.

    Args:
        graph: Where it stands.
        node: Its id.
        without: Inputs that are said elsewhere.
    """
    left_out = set(without)
    said: list[str] = []
    for key, value in graph.nodes[node].items():
        link = graph.linked(value)
        if link and graph.classes.get(link[0], "").startswith("Primitive"):
            value = graph.scalar(value, ("value",))
        text = _plain(value)
        if text and key not in left_out:
            said.append(f"{key} {text}")
    return ", ".join(said)[:_MAX_LENGTH]


def settings_by_class(
    graph: Graph, nodes: Iterable[str], *, without: Iterable[str] = ()
) -> dict[str, str]:
    """Return class -> what its nodes were set to; switches and those without values left out."""
    left_out = tuple(without)
    said: dict[str, list[str]] = {}
    for node in nodes:
        if graph.switched(node)[1] or node not in graph.nodes:
            continue
        if text := settings(graph, node, without=left_out):
            said.setdefault(graph.classes[node], []).append(text)
    return {kind: "; ".join(texts)[:_MAX_LENGTH] for kind, texts in said.items()}


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    number = as_number(value) if isinstance(value, int | float) else None
    if number is not None:
        return str(round(number, 6))
    return " ".join(value.split())[:100] if isinstance(value, str) else ""
