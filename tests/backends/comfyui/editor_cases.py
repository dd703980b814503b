"""Workflows as the editor saves them, each for one thing that conversion must do right.

What it posts for them was read from the editor itself; ``test_real_editor.py`` asks it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backends.comfyui.core_shapes import node
from backends.comfyui.editor_shapes import EDITOR_SHAPES, Canvas
from backends.comfyui.real_server import CHECKPOINT

__all__ = ["EDITOR_CASES"]

_MUTED, _BYPASSED = 2, 4
_PICTURE = "0a9d3c62-6ac8-4a4b-9f0e-0f1f6b4d7a01"
_OUTER = "0a9d3c62-6ac8-4a4b-9f0e-0f1f6b4d7a02"
_SIZE = "width height batch_size color"


def _picture(canvas: Canvas, number: int, **links: tuple[Any, int, str]) -> None:
    """Add a node that makes a picture of one colour."""
    canvas.add(number, "EmptyImage", [64, 48, 1, 255], links, "IMAGE", widgets=_SIZE)


def _save(canvas: Canvas, origin: Any, prefix: str = "x") -> None:
    canvas.add(9, "SaveImage", [prefix], {"images": (origin, 0, "IMAGE")},
               widgets="filename_prefix")  # fmt: skip


def _saved(images: str, prefix: str = "x") -> dict[str, Any]:
    return node("SaveImage", images=images, filename_prefix=prefix)


def _plain(width: int = 64, height: int = 48, color: int = 255) -> dict[str, Any]:
    return node("EmptyImage", width=width, height=height, batch_size=1, color=color)


def _primitives() -> dict[str, Any]:
    """One number for several widgets, which takes the coarsest of their steps; a text."""
    canvas = Canvas()
    canvas.add(1, "PrimitiveNode", [37, "fixed"], {}, "INT")
    canvas.add(2, "PrimitiveNode", ["a red barn"], {}, "STRING")
    _picture(canvas, 3, width=(1, 0, "INT"), height=(1, 0, "INT"))
    canvas.add(4, "CheckpointLoaderSimple", [CHECKPOINT], {}, "MODEL CLIP VAE", widgets="ckpt_name")
    canvas.add(5, "CLIPTextEncode", ["old"], {"clip": (4, 1, "CLIP"), "text": (2, 0, "STRING")},
               "CONDITIONING", widgets="text")  # fmt: skip
    canvas.add(6, "EmptyLatentImage", [512, 512, 1], {"width": (1, 0, "INT")}, "LATENT",
               widgets="width height batch_size")  # fmt: skip
    _save(canvas, 3)
    return canvas.file()


def _one_picture() -> dict[str, Any]:
    """Return a subgraph that makes a picture: its width goes into both sides."""
    canvas = Canvas(rows=False)
    _picture(canvas, 1, width=(-10, 0, "INT"), height=(-10, 0, "INT"), color=(-10, 1, "INT"))
    canvas.add(2, "ImageInvert", [], {"image": (1, 0, "IMAGE")}, "IMAGE")
    canvas.link(2, 0, -20, 0, "IMAGE")
    return canvas.subgraph(_PICTURE, "One", {"side": "INT", "color": "INT"}, {"IMAGE": "IMAGE"})


def _two_of_one() -> dict[str, Any]:
    """The same subgraph twice: one shows values of its own, the other is linked and shows one."""
    canvas = Canvas()
    canvas.add(1, _PICTURE, [80, 7], {}, "IMAGE", widgets="side color",
               proxyWidgets=[["-1", "side"], ["-1", "color"]])  # fmt: skip
    canvas.add(2, "PrimitiveInt", [96, "fixed"], {}, "INT", widgets="value")
    canvas.add(3, _PICTURE, [None, 9], {"side": (2, 0, "INT")}, "IMAGE", widgets="side color",
               proxyWidgets=[["-1", "side"], ["-1", "color"]])  # fmt: skip
    canvas.add(4, "ImageBatch", [], {"image1": (1, 0, "IMAGE"), "image2": (3, 0, "IMAGE")}, "IMAGE")
    _save(canvas, 4)
    return canvas.file(_one_picture())


def _nested() -> dict[str, Any]:
    """A subgraph in a subgraph; the outer node shows what the inner one has, linked and not."""
    inside = Canvas(rows=False)
    inside.add(5, _PICTURE, [64, 3], {"side": (-10, 0, "INT")}, "IMAGE", widgets="side color",
               proxyWidgets=[["-1", "side"], ["-1", "color"]])  # fmt: skip
    inside.link(5, 0, -20, 0, "IMAGE")
    outer = inside.subgraph(_OUTER, "Outer", {"edge": "INT"}, {"IMAGE": "IMAGE"})
    canvas = Canvas()
    canvas.add(7, _OUTER, [112], {}, "IMAGE", widgets="edge", proxyWidgets=[["-1", "edge"]])
    _save(canvas, 7)
    return canvas.file(_one_picture(), outer)


def _controlled(canvas: Canvas) -> None:
    """Add a bypassed node with two ways through, of one type."""
    canvas.add(20, "CheckpointLoaderSimple", [CHECKPOINT], {}, "MODEL CLIP VAE",
               widgets="ckpt_name")  # fmt: skip
    for number, text in ((21, "a barn"), (22, "blurry")):
        canvas.add(number, "CLIPTextEncode", [text], {"clip": (20, 1, "CLIP")}, "CONDITIONING",
                   widgets="text")  # fmt: skip
    canvas.add(23, "ControlNetApplyAdvanced", [1, 0, 1],
               {"positive": (21, 0, "CONDITIONING"), "negative": (22, 0, "CONDITIONING")},
               "CONDITIONING CONDITIONING", widgets="strength start_percent end_percent",
               mode=_BYPASSED)  # fmt: skip
    canvas.add(24, "ConditioningZeroOut", [], {"conditioning": (23, 1, "CONDITIONING")},
               "CONDITIONING")  # fmt: skip


def _bypassed() -> dict[str, Any]:
    """Nodes that are passed through by type, one of them a subgraph; one that nothing fits."""
    canvas = Canvas()
    _picture(canvas, 1)
    _picture(canvas, 2)
    canvas.add(3, "ImageBatch", [], {"image1": (1, 0, "IMAGE"), "image2": (2, 0, "IMAGE")}, "IMAGE",
               mode=_BYPASSED)  # fmt: skip
    canvas.add(4, "ImageToMask", ["red"], {"image": (3, 0, "IMAGE")}, "MASK", widgets="channel",
               mode=_BYPASSED)  # fmt: skip
    canvas.add(5, "ImageCompositeMasked", [0, 0, False],
               {"destination": (3, 0, "IMAGE"), "source": (2, 0, "IMAGE"), "mask": (4, 0, "MASK")},
               "IMAGE", widgets="x y resize_source")  # fmt: skip
    canvas.add(6, _PICTURE, [64, 3], {}, "IMAGE", widgets="side color", mode=_BYPASSED)
    canvas.add(7, "PreviewImage", [], {"images": (6, 0, "IMAGE")})
    _controlled(canvas)
    _save(canvas, 5)
    return canvas.file(_one_picture())


def _numbered() -> dict[str, Any]:
    """Return a subgraph with a primitive node, and a widget that only its host shows."""
    canvas = Canvas(rows=False)
    canvas.add(1, "PrimitiveNode", [72, "fixed"], {}, "INT")
    _picture(canvas, 2, width=(1, 0, "INT"), height=(1, 0, "INT"), color=(-10, 0, "INT"))
    canvas.link(2, 0, -20, 0, "IMAGE")
    return canvas.subgraph(_PICTURE, "Numbered", {"color": "INT"}, {"IMAGE": "IMAGE"})


def _shown(values: list[Any], *proxied: list[str]) -> dict[str, Any]:
    """The subgraph's node shows its input, and whatever inside of it is *proxied*."""
    canvas = Canvas()
    canvas.add(5, _PICTURE, values, {}, "IMAGE", widgets="color",
               proxyWidgets=[["-1", "color"], *proxied])  # fmt: skip
    _save(canvas, 5)
    return canvas.file(_numbered())


def _shown_through_two() -> dict[str, Any]:
    """The outer node shows what the inner one shows, its input and a widget inside of it."""
    inside = Canvas(rows=False)
    inside.add(5, _PICTURE, [None], {}, "IMAGE", widgets="color",
               proxyWidgets=[["2", "batch_size"]])  # fmt: skip
    inside.link(5, 0, -20, 0, "IMAGE")
    canvas = Canvas()
    canvas.add(7, _OUTER, [6, 11], {}, "IMAGE",
               proxyWidgets=[["5", "2: batch_size"], ["5", "color"]])  # fmt: skip
    _save(canvas, 7)
    return canvas.file(_numbered(), inside.subgraph(_OUTER, "Outer", {}, {"IMAGE": "IMAGE"}))


def _primitive_outside() -> dict[str, Any]:
    """A primitive node's value goes through the subgraph's node that it is linked to."""
    canvas = Canvas()
    canvas.add(2, "PrimitiveNode", [96, "fixed"], {}, "INT")
    canvas.add(3, _PICTURE, [80, 9], {"side": (2, 0, "INT")}, "IMAGE", widgets="side color",
               proxyWidgets=[["-1", "side"], ["-1", "color"]])  # fmt: skip
    _save(canvas, 3)
    return canvas.file(_one_picture())


def _muted() -> dict[str, Any]:
    """What hangs on a muted node loses that link, and the widget under it shows again."""
    canvas = Canvas()
    canvas.add(1, "PrimitiveInt", [96, "fixed"], {}, "INT", widgets="value", mode=_MUTED)
    _picture(canvas, 2, width=(1, 0, "INT"))
    _picture(canvas, 3)
    canvas.nodes[-1]["mode"] = _MUTED
    canvas.add(4, "ImageBatch", [], {"image1": (2, 0, "IMAGE"), "image2": (3, 0, "IMAGE")}, "IMAGE")
    _save(canvas, 4)
    return canvas.file()


def _texts() -> dict[str, Any]:
    """Comments in prompts go, braces that are escaped stay; a file is called by a widget."""
    canvas = Canvas()
    _picture(canvas, 1)
    canvas.add(4, "CheckpointLoaderSimple", [CHECKPOINT], {}, "MODEL CLIP VAE", widgets="ckpt_name")
    text = "a barn /* red\nor not */, \\{sky\\} // and more\nlast"
    canvas.add(5, "CLIPTextEncode", [text], {"clip": (4, 1, "CLIP")}, "CONDITIONING",
               widgets="text")  # fmt: skip
    _save(canvas, 1, "%EmptyImage.width%/%5.text%_%year%")
    return canvas.file()


def _of_2024() -> dict[str, Any]:
    """Inputs of widgets stood in the file only where they were linked, after the others."""
    canvas = Canvas()
    canvas.add(2, "PrimitiveInt", [96, "fixed"], {}, "INT")
    canvas.add(1, "EmptyImage", [64, 48, 1, 255], {"color": (2, 0, "INT")}, "IMAGE")
    canvas.nodes[-1]["inputs"][0]["widget"] = {"name": "color"}
    canvas.add(3, "Reroute", [], {"": (1, 0, "*")}, "IMAGE", showOutputText=False)
    canvas.add(4, "Reroute", [], {"": (3, 0, "*")}, "IMAGE", showOutputText=False)
    canvas.add(9, "SaveImage", ["x"], {"images": (4, 0, "IMAGE")})
    canvas.add(10, "Note", ["read this"], {})
    canvas.add(11, "MarkdownNote", ["# read this"], {})
    file = canvas.file()
    link = canvas.links[-1][0]
    file["extra"] = {
        "reroutes": [{"id": 1, "pos": [0, 0], "linkIds": [link]}],
        "linkExtensions": [{"id": link, "parentId": 1}],
    }
    return file


_LOADED = {"4": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT)}
EDITOR_CASES: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    **{shape.name: (dict(shape.workflow or {}), shape.graph) for shape in EDITOR_SHAPES},
    "primitives": (_primitives(), {
        "3": _plain(40, 40), **_LOADED, "5": node("CLIPTextEncode", text="a red barn", clip="4/1"),
        "6": node("EmptyLatentImage", width=40, height=512, batch_size=1), "9": _saved("3/0"),
    }),
    "two_of_one": (_two_of_one(), {
        "1:1": _plain(80, 80, 7), "1:2": node("ImageInvert", image="1:1/0"),
        "2": node("PrimitiveInt", value=96),
        "3:1": node("EmptyImage", width="2/0", height="2/0", batch_size=1, color=9),
        "3:2": node("ImageInvert", image="3:1/0"),
        "4": node("ImageBatch", image1="1:2/0", image2="3:2/0"), "9": _saved("4/0"),
    }),
    "nested": (_nested(), {
        "7:5:1": _plain(112, 112, 3), "7:5:2": node("ImageInvert", image="7:5:1/0"),
        "9": _saved("7:5:2/0"),
    }),
    "bypassed": (_bypassed(), {
        "1": _plain(), "2": _plain(), "7": node("PreviewImage"),
        "5": node("ImageCompositeMasked", x=0, y=0, resize_source=False, destination="1/0",
                  source="2/0"),
        "20": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT),
        "21": node("CLIPTextEncode", text="a barn", clip="20/1"),
        "22": node("CLIPTextEncode", text="blurry", clip="20/1"),
        "24": node("ConditioningZeroOut", conditioning="22/0"),
        "9": _saved("5/0"),
    }),
    "primitive_outside": (_primitive_outside(), {
        "3:1": _plain(96, 96, 9), "3:2": node("ImageInvert", image="3:1/0"), "9": _saved("3:2/0"),
    }),
    "primitive_inside": (_shown([4]), {"5:2": _plain(72, 72, 4), "9": _saved("5:2/0")}),
    "shown_primitive": (_shown([4, 120, 3], ["1", "value"], ["2", "batch_size"]), {
        "5:2": node("EmptyImage", width=120, height=120, batch_size=3, color=4),
        "9": _saved("5:2/0"),
    }),
    "shown_through_two": (_shown_through_two(), {
        "7:5:2": node("EmptyImage", width=72, height=72, batch_size=6, color=11),
        "9": _saved("7:5:2/0"),
    }),
    "muted": (_muted(), {
        "2": _plain(), "4": node("ImageBatch", image1="2/0"), "9": _saved("4/0"),
    }),
    "texts": (_texts(), {
        "1": _plain(), **_LOADED,
        "5": node("CLIPTextEncode", text="a barn , {sky} \nlast", clip="4/1"),
        "9": _saved("1/0", "64/%5.text%_%year%"),
    }),
    "of_2024": (_of_2024(), {
        "2": node("PrimitiveInt", value=96),
        "1": node("EmptyImage", width=64, height=48, batch_size=1, color="2/0"),
        "9": _saved("1/0"),
    }),
}  # fmt: skip
"""Name -> (what the editor saves, what it posts)."""
