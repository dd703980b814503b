"""Nodes that pictures are taken from: which of a graph's nodes they are, and what they write."""

from __future__ import annotations

import re
from collections.abc import Callable

from safelight.backends.comfyui.bound_graph import Nodes

__all__ = ["other_format", "saving_nodes"]

_SAVES = re.compile(r"SaveImage(?!Websocket)")
"""How classes begin that save pictures; the websocket's leaves no file behind."""

_SHOWS = re.compile(r"PreviewImage")
_FORMAT = re.compile(
    r"(?:(?:image|file|save|output)_?)?(?:format|extension|ext)|(?:image|file)_?type", re.IGNORECASE
)
_OTHERS = (
    "avif", "bmp", "exr", "gif", "hdr", "jfif", "jp2", "jpeg", "jpg", "jxl", "psd", "tga", "tif",
    "tiff", "webp",
)  # fmt: skip
_ENDS = re.compile(f"({'|'.join(_OTHERS)})$", re.IGNORECASE)


def saving_nodes(nodes: Nodes, is_output: Callable[[str], bool]) -> list[str]:
    """Return the nodes whose pictures can be taken.

    Those that save some; where there is none those that show some, and where there is none of
    these either those of whose class *is_output* says so.
    """
    classes = {node: str(known["class_type"]) for node, known in nodes.items()}
    for fits in (_SAVES.match, _SHOWS.match, is_output):
        if found := [node for node, kind in classes.items() if fits(kind)]:
            return found
    return []


def other_format(nodes: Nodes, node: str) -> str:
    """Return which files *node* says that it writes, where they are no PNG files; else nothing.

    Told by an input that names the format (``format = "exr"``), else by how its class ends.
    """
    known = nodes[node]
    said = [
        re.findall(r"[a-z0-9]+", value.lower())
        for name, value in known["inputs"].items()
        if isinstance(value, str) and _FORMAT.fullmatch(name)
    ]
    named = [word for words in said if "png" not in words for word in words if word in _OTHERS]
    if said:
        return named[0].upper() if named else ""
    ends = _ENDS.search(str(known["class_type"]))
    return ends[1].upper() if ends else ""
