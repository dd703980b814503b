"""The ComfyUI pack as a user installs it, and graphs that end in every way."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx

from backends.comfyui.real_server import CHECKPOINT

__all__ = ["PACK", "base_of", "graph", "load_pack", "posted", "wait_for"]

PACK = Path(__file__).resolve().parents[2] / "integrations" / "comfyui"

_FAULTS = '''
"""Nodes that raise, and that wait to be interrupted."""
import time

class Raises:
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"
    CATEGORY = "faults"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",)}}

    def run(self, image):
        raise ValueError("no room at https://me:hidden-word@example.org/models")

class Waits(Raises):
    def run(self, image):
        import comfy.model_management
        for _ in range(6000):
            comfy.model_management.throw_exception_if_processing_interrupted()
            time.sleep(0.01)
        return (image,)

NODE_CLASS_MAPPINGS = {"Raises": Raises, "Waits": Waits}
'''


def base_of(prepared: Path, base: Path, *, with_pack: bool = True) -> Path:
    """Make a base directory of a ComfyUI: the models of another, the pack, and nodes that fail."""
    base.mkdir(parents=True)
    (base / "models").symlink_to(prepared.resolve() / "base" / "models")
    (base / "custom_nodes").mkdir()
    (base / "custom_nodes" / "faults.py").write_text(_FAULTS)
    (base / "output").mkdir()
    if with_pack:
        shutil.copytree(PACK, base / "custom_nodes" / "safelight")
    return base


def graph(seed: int, *, through: str = "", steps: int = 2, prefix: str = "p") -> dict[str, Any]:
    """Return an API graph; *through* is a node between decoding and saving."""
    nodes: dict[str, Any] = {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": CHECKPOINT}},
        "5": {"class_type": "EmptyLatentImage",
              "inputs": {"width": 32, "height": 32, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "fog", "clip": ["4", 1]}},
        "3": {"class_type": "KSampler", "inputs": {
            "seed": seed, "steps": steps, "cfg": 7.0, "sampler_name": "euler",
            "scheduler": "karras", "denoise": 1.0, "model": ["4", 0], "positive": ["6", 0],
            "negative": ["7", 0], "latent_image": ["5", 0]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": prefix}},
    }  # fmt: skip
    if through:
        nodes["20"] = {"class_type": through, "inputs": {"image": ["8", 0]}}
        nodes["9"]["inputs"]["images"] = ["20", 0]
    return nodes


def posted(url: str, prompt: dict[str, Any], **more: Any) -> str:
    """Queue a prompt as a client of the API does; return its id."""
    answer = httpx.post(f"{url}/prompt", json={"prompt": prompt, **more}, timeout=60)
    assert answer.status_code == 200, answer.text[:2000]
    return str(answer.json()["prompt_id"])


def wait_for(is_so: Callable[[], Any], seconds: float = 120) -> Any:
    """Wait until *is_so* says something; return that."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if answer := is_so():
            return answer
        time.sleep(0.01)
    raise AssertionError(f"not so after {seconds} s")


def load_pack(folder: Path = PACK, name: str = "safelight_pack") -> ModuleType:
    """Load the pack as ComfyUI loads what is in ``custom_nodes``."""
    for loaded in [key for key in sys.modules if key == name or key.startswith(f"{name}.")]:
        del sys.modules[loaded]
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
