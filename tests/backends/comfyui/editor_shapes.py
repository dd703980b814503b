"""Shapes that the editor makes of a workflow: subgraphs, muted, bypassed and rerouted nodes.

Each has the workflow and the graph that the editor posts for it, side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backends.comfyui.core_shapes import Shape, node
from backends.comfyui.real_server import CHECKPOINT, LORA

__all__ = ["EDITOR_SHAPES", "Canvas"]

_SUBGRAPH = "5c0f1d3e-0b8e-4c07-9f44-2f5a5a6d3f10"
_MUTED, _BYPASSED = 2, 4


class Canvas:
    """Nodes and links as the editor's file has them.

    Args:
        rows: Whether links are rows, as outside of subgraphs, or objects.
    """

    def __init__(self, *, rows: bool = True) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.links: list[Any] = []
        self._rows = rows

    def add(
        self, number: int, kind: str, values: list[Any], inputs: dict[str, tuple[Any, int, str]],
        outputs: str = "", *, widgets: str = "", mode: int = 0, **properties: Any,
    ) -> None:  # fmt: skip
        """Add a node: *inputs* are name -> (node, slot, type), *outputs* types."""
        ports: list[dict[str, Any]] = []
        for slot, (name, (origin, of, kind_of)) in enumerate(inputs.items()):
            link = self.link(origin, of, number, slot, kind_of)
            widget = {"widget": {"name": name}} if name in widgets.split() else {}
            ports.append({"name": name, "type": kind_of, **widget, "link": link})
        ports += [
            {"name": name, "type": "X", "widget": {"name": name}, "link": None}
            for name in widgets.split() if name not in inputs
        ]  # fmt: skip
        out = [{"name": name, "type": name, "links": []} for name in outputs.split()]
        self.nodes.append({
            "id": number, "type": kind, "pos": [0, 0], "size": [200, 80], "flags": {},
            "order": len(self.nodes), "mode": mode, "inputs": ports, "outputs": out,
            "properties": properties, "widgets_values": values,
        })  # fmt: skip

    def link(self, origin: int, slot: int, target: int, target_slot: int, kind: str) -> int:
        """Connect two nodes, and return the link's number."""
        number = len(self.links) + 1
        row = [number, origin, slot, target, target_slot, kind]
        names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
        self.links.append(row if self._rows else dict(zip(names, row, strict=True)))
        return number

    def leaving(self, node: int, slot: int) -> list[int]:
        """Return the numbers of the links that leave a node's output."""
        rows = [row if self._rows else list(row.values()) for row in self.links]
        return [row[0] for row in rows if row[1:3] == [node, slot]]

    def _finished(self) -> list[dict[str, Any]]:
        for each in self.nodes:
            for slot, output in enumerate(each["outputs"]):
                output["links"] = self.leaving(each["id"], slot)
        return self.nodes

    def subgraph(
        self, uuid: str, name: str, inputs: Mapping[str, str], outputs: Mapping[str, str]
    ) -> dict[str, Any]:
        """Return the canvas as a subgraph's; *inputs* and *outputs* are name -> type."""
        arriving = {link["target_slot"]: link["id"] for link in self.links
                    if link["target_id"] == -20}  # fmt: skip
        return {
            "id": uuid, "version": 1, "revision": 0, "name": name, "config": {}, "widgets": [],
            "state": {"lastGroupId": 0, "lastNodeId": 99, "lastLinkId": 99, "lastRerouteId": 0},
            "inputNode": {"id": -10, "bounding": [0, 0, 1, 1]},
            "outputNode": {"id": -20, "bounding": [0, 0, 1, 1]},
            "inputs": [
                {"id": f"{uuid}-in-{slot}", "name": port, "type": kind,
                 "linkIds": self.leaving(-10, slot), "pos": [0, 0]}
                for slot, (port, kind) in enumerate(inputs.items())
            ],
            "outputs": [
                {"id": f"{uuid}-out-{slot}", "name": port, "type": kind,
                 "linkIds": [arriving[slot]], "pos": [0, 0]}
                for slot, (port, kind) in enumerate(outputs.items())
            ],
            "nodes": self._finished(), "links": self.links, "groups": [], "extra": {},
        }  # fmt: skip

    def file(self, *subgraphs: dict[str, Any]) -> dict[str, Any]:
        """Return the workflow."""
        self._finished()
        return {"id": "0", "revision": 0, "last_node_id": 99, "last_link_id": 99,
                "nodes": self.nodes, "links": self.links, "groups": [],
                "definitions": {"subgraphs": list(subgraphs)}, "config": {}, "extra": {},
                "version": 0.4}  # fmt: skip


_KNOBS = [42, "fixed", 2, 6.5, "euler", "normal", 1]
_SAMPLER_WIDGETS = "seed steps cfg sampler_name scheduler denoise"


def _sampler(canvas: Canvas, model: tuple[Any, int, str], **others: tuple[Any, int, str]) -> None:
    inputs = {
        "model": model, "positive": (6, 0, "CONDITIONING"), "negative": (7, 0, "CONDITIONING"),
        "latent_image": (4, 0, "LATENT"), **others,
    }  # fmt: skip
    canvas.add(3, "KSampler", _KNOBS, inputs, "LATENT", widgets=_SAMPLER_WIDGETS)


def _api(prefix: str, *, text: str = "a red barn", seed: int = 42, **model: Any) -> dict[str, Any]:
    """Return the nodes that draw, as the editor posts them."""
    links = {key: f"{prefix}{key}/0" for key in ("3", "4", "6", "7", "8")}
    loader = {"model": "1/0", "clip": "1/1", "vae": "1/2", **model}
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT),
        f"{prefix}4": node("EmptyLatentImage", width=32, height=48, batch_size=1),
        f"{prefix}6": node("CLIPTextEncode", text=text, clip=loader["clip"]),
        f"{prefix}7": node("CLIPTextEncode", text="blurry", clip=loader["clip"]),
        f"{prefix}3": node(
            "KSampler", seed=seed, steps=2, cfg=6.5, sampler_name="euler", scheduler="normal",
            denoise=1, model=loader["model"], positive=links["6"], negative=links["7"],
            latent_image=links["4"],
        ),
        f"{prefix}8": node("VAEDecode", samples=links["3"], vae=loader["vae"]),
        "9": node("SaveImage", images=links["8"], filename_prefix="safelight"),
    }  # fmt: skip


def _bypassed() -> dict[str, Any]:
    """Return a workflow with a bypassed LoRA, a muted preview and sampler, and a reroute."""
    canvas = Canvas()
    canvas.add(1, "CheckpointLoaderSimple", [CHECKPOINT], {}, "MODEL CLIP VAE",
               widgets="ckpt_name")  # fmt: skip
    canvas.add(11, "LoraLoader", [LORA, 1, 1], {"model": (1, 0, "MODEL"), "clip": (1, 1, "CLIP")},
               "MODEL CLIP", widgets="lora_name strength_model strength_clip",
               mode=_BYPASSED)  # fmt: skip
    canvas.add(12, "Reroute", [], {"": (11, 1, "*")}, "CLIP", showOutputText=False)
    canvas.add(4, "EmptyLatentImage", [32, 48, 1], {}, "LATENT", widgets="width height batch_size")
    for number, text in ((6, "a red barn"), (7, "blurry")):
        canvas.add(number, "CLIPTextEncode", [text], {"clip": (12, 0, "CLIP")}, "CONDITIONING",
                   widgets="text")  # fmt: skip
    _sampler(canvas, (11, 0, "MODEL"))
    canvas.add(8, "VAEDecode", [], {"samples": (3, 0, "LATENT"), "vae": (1, 2, "VAE")}, "IMAGE")
    canvas.add(9, "SaveImage", ["safelight"], {"images": (8, 0, "IMAGE")},
               widgets="filename_prefix")  # fmt: skip
    canvas.add(13, "PreviewImage", [], {"images": (8, 0, "IMAGE")}, mode=_MUTED)
    canvas.add(14, "KSampler", [7, "fixed", 9, 3, "heun", "karras", 1],
               {"model": (1, 0, "MODEL"), "positive": (7, 0, "CONDITIONING"),
                "negative": (6, 0, "CONDITIONING"), "latent_image": (3, 0, "LATENT")}, "LATENT",
               widgets=_SAMPLER_WIDGETS, mode=_MUTED)  # fmt: skip
    return canvas.file()


def _inner() -> dict[str, Any]:
    """Return a subgraph that draws: its inputs are model, clip, vae, a text and a seed."""
    canvas = Canvas(rows=False)
    canvas.add(4, "EmptyLatentImage", [32, 48, 1], {}, "LATENT", widgets="width height batch_size")
    canvas.add(6, "CLIPTextEncode", ["inside"], {"clip": (-10, 1, "CLIP"),
                                                 "text": (-10, 3, "STRING")}, "CONDITIONING",
               widgets="text")  # fmt: skip
    canvas.add(7, "CLIPTextEncode", ["blurry"], {"clip": (-10, 1, "CLIP")}, "CONDITIONING",
               widgets="text")  # fmt: skip
    _sampler(canvas, (-10, 0, "MODEL"), seed=(-10, 4, "INT"))
    canvas.add(8, "VAEDecode", [], {"samples": (3, 0, "LATENT"), "vae": (-10, 2, "VAE")}, "IMAGE")
    canvas.link(8, 0, -20, 0, "IMAGE")
    ports = {"model": "MODEL", "clip": "CLIP", "vae": "VAE", "text": "STRING", "seed": "INT"}
    return canvas.subgraph(_SUBGRAPH, "Draw", ports, {"IMAGE": "IMAGE"})


def _folded() -> dict[str, Any]:
    """Return a workflow with a subgraph, whose node shows two of its widgets."""
    canvas = Canvas()
    canvas.add(1, "CheckpointLoaderSimple", [CHECKPOINT], {}, "MODEL CLIP VAE",
               widgets="ckpt_name")  # fmt: skip
    canvas.add(5, _SUBGRAPH, ["a fox", 77],
               {"model": (1, 0, "MODEL"), "clip": (1, 1, "CLIP"), "vae": (1, 2, "VAE")}, "IMAGE",
               widgets="text seed", proxyWidgets=[["-1", "text"], ["-1", "seed"]])  # fmt: skip
    canvas.add(9, "SaveImage", ["safelight"], {"images": (5, 0, "IMAGE")},
               widgets="filename_prefix")  # fmt: skip
    return canvas.file(_inner())


EDITOR_SHAPES = (
    Shape(name="bypassed_and_muted", graph=_api(""), workflow=_bypassed(), save="9"),
    Shape(
        name="subgraph", graph=_api("5:", text="a fox", seed=77), workflow=_folded(), save="9",
        says={"prompt": "a fox", "seed": 77},
    ),
)  # fmt: skip
