"""Graphs of ComfyUI's core nodes, each with what a reader of the picture must say.

What they say is what was sent: it was written down from the graph and from what its nodes do, not
from what a reader made of it. ``test_real_shapes.py`` sends them to ComfyUI itself, and
``tests/imports/test_comfyui_drawn.py`` reads the pictures that it drew then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from backends.comfyui.real_server import CHECKPOINT
from safelight.imports.reading import Reading

__all__ = ["GONE", "PLAIN", "SOURCE", "Shape", "differences", "node", "plain"]

Graph = dict[str, dict[str, Any]]

SOURCE = "safelight_source.png"
"""A picture of 32x48 pixels in the server's folder of inputs."""
PLAIN: Mapping[str, Any] = {
    "prompt": "a red barn", "negative_prompt": "blurry", "seed": 42, "steps": 2, "cfg_scale": 6.5,
    "sampler": "Euler", "scheduler": "Normal", "model": CHECKPOINT, "clip_skip": 1,
    "width": 32, "height": 48,
}  # fmt: skip
"""What the plain graph says."""
GONE: Any = object()
"""In place of a knob that has no value."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One graph, and what its picture says.

    Attributes:
        name: Of the shape, and of its picture's file.
        graph: As it is posted.
        workflow: The editor's graph, which is posted with it; None without.
        save: The node whose picture is meant.
        says: Knobs other than the plain graph's; :data:`GONE` for one without a value.
        odd: Knob -> status, where it is not ``read``; clip skip apart, which is defaulted.
        extra: What is no knob.
        loras: (name, weight), in whatever order.
        stage: That drew the picture.
        then: The stage that enlarged it at the end.
        then_odd: Its knobs whose status is not ``read``.
        size: Of the file, in pixels.
        warns: Part of a warning.
    """

    name: str
    graph: Graph
    workflow: Mapping[str, Any] | None = None
    save: str = "save"
    says: Mapping[str, Any] = field(default_factory=dict)
    odd: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)
    loras: tuple[tuple[str, float], ...] = ()
    stage: str = "txt2img"
    then: Mapping[str, Any] = field(default_factory=dict)
    then_odd: Mapping[str, str] = field(default_factory=dict)
    size: tuple[int, int] = (32, 48)
    warns: str = ""

    @property
    def config(self) -> dict[str, dict[str, Any]]:
        """Stage -> knobs."""
        knobs = {k: v for k, v in {**PLAIN, **self.says}.items() if v is not GONE}
        then = {"upscale": dict(self.then)} if self.then else {}
        return {self.stage: knobs, **then}

    @property
    def statuses(self) -> dict[str, str]:
        """Path of a knob -> status, those that are not ``read``."""
        clip = {} if self.says.get("clip_skip") else {"clip_skip": "defaulted"}
        own = {f"{self.stage}.{knob}": state for knob, state in {**clip, **self.odd}.items()}
        return own | {f"upscale.{knob}": state for knob, state in self.then_odd.items()}


def differences(shape: Shape, reading: Reading) -> dict[str, tuple[Any, Any]]:
    """Return what *reading* says otherwise: what -> (sent, read)."""
    statuses = {path: state for path, state in reading.fields.items() if state != "read"}
    doubtful = {"unresolved", "conflicting"} & set(shape.statuses.values())
    loras = sorted((lora.name, lora.weight) for lora in reading.loras)
    both = {
        "generator": ("comfyui", reading.generator),
        "config": (shape.config, {stage: dict(knobs) for stage, knobs in reading.config.items()}),
        "statuses": (shape.statuses, statuses),
        "extra": (dict(shape.extra), dict(reading.extra)),
        "loras": (sorted(shape.loras), loras),
        "size": (shape.size, (reading.width, reading.height)),
        "outcome": ("partly" if doubtful else "full", reading.outcome),
        "warned": (True, any(shape.warns in text for text in (*reading.warnings, ""))),
    }
    return {what: pair for what, pair in both.items() if pair[0] != pair[1]}


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    """Return one node in the API's form; a name with ``/`` is a link (``"ckpt/1"``)."""
    linked = {
        key: [value.partition("/")[0], int(value.partition("/")[2])]
        if isinstance(value, str) and value[-2:-1] == "/" and value[-1].isdigit()
        else value
        for key, value in inputs.items()
    }
    return {"class_type": kind, "inputs": linked}


def plain(**changes: Any) -> Graph:
    """Return the plain graph with nodes added or replaced, or inputs of its nodes changed."""
    graph = {
        "ckpt": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT),
        "pos": node("CLIPTextEncode", text="a red barn", clip="ckpt/1"),
        "neg": node("CLIPTextEncode", text="blurry", clip="ckpt/1"),
        "latent": node("EmptyLatentImage", width=32, height=48, batch_size=1),
        "ks": node(
            "KSampler", seed=42, steps=2, cfg=6.5, sampler_name="euler", scheduler="normal",
            denoise=1.0, model="ckpt/0", positive="pos/0", negative="neg/0",
            latent_image="latent/0",
        ),
        "dec": node("VAEDecode", samples="ks/0", vae="ckpt/2"),
        "save": node("SaveImage", images="dec/0", filename_prefix="safelight"),
    }  # fmt: skip
    for name, change in changes.items():
        if "class_type" in change:
            graph[name] = change
        else:
            graph[name]["inputs"] |= node("", **change)["inputs"]
    return graph
