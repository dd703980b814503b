"""Tiny random pipelines of every family of models, and what the engine diffusers does with each.

Run by itself, in a virtual environment with the extra ``diffusers``, this draws with all of them
and writes what came out into ``tests/data/families/families.json`` and the table in
``docs/backends.md``::

    PYTHONPATH=src:tests build/diffusers-venv/bin/python tests/backends/family_pipelines.py
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from backends.backend_contract import pixels
from backends.diffusers_engine.tiny_families import save_tiny_family
from backends.diffusers_engine.tiny_pipeline import save_tiny_pipeline
from backends.family_table import FEATURES, read_families, write_families, write_table
from safelight.backends import create_backend
from safelight.errors import BackendError
from safelight.pipeline.backend import Img2ImgRequest, Txt2ImgRequest

__all__ = ["FAMILIES", "save_family", "save_lora", "what_diffusers_does"]

_TINY = {
    "SDXL": "sdxl", "SD 3": "sd3", "Flux": "flux", "Chroma": "chroma", "Qwen-Image": "qwen-image",
    "Z-Image": "z-image", "Sana": "sana", "Lumina2": "lumina2", "Flux2-Klein": "klein",
    "PixArt": "pixart", "HiDream": "hidream", "Kandinsky 5": "kandinsky5",
    "HunyuanImage": "hunyuan-image", "LCM": "lcm",
}  # fmt: skip
_SIDES = {"PixArt": 256, "HiDream": 256, "Kandinsky 5": 1024}
"""Sides in pixels that a family must have, where 64 is none."""

FAMILIES: tuple[str, ...] = ("SD 1.x", *_TINY)


def save_family(name: str, folder: Path) -> Path:
    """Write a random pipeline of the family *name* to *folder*, and return it."""
    if name not in _TINY:
        return save_tiny_pipeline(folder)
    return save_tiny_family(_TINY[name], folder)


def save_lora(model: Path, file: Path) -> None:
    """Write a random LoRA for the Stable Diffusion in the folder *model* to *file*."""
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    pipeline = StableDiffusionPipeline.from_pretrained(str(model), local_files_only=True)
    pipeline.unet.add_adapter(
        LoraConfig(r=4, target_modules=["to_q", "to_v"], init_lora_weights=False)
    )
    layers = get_peft_model_state_dict(pipeline.unet)
    StableDiffusionPipeline.save_lora_weights(
        str(file.parent), unet_lora_layers=layers, weight_name=file.name
    )


def what_diffusers_does(family: str, model: Path) -> dict[str, str]:
    """Return feature -> ``works``, or the sentence with which it is refused, by drawing.

    Args:
        family: One of :data:`FAMILIES`.
        model: The folder of its pipeline.
    """
    backend = create_backend("diffusers", {"model": str(model), "device": "cpu"})
    drawn: dict[str, bytes] = {}

    def draw(request: Any, name: str = "") -> None:
        images = backend.generate(request, lambda step, steps, preview=None: None).images
        assert len(images) == (getattr(request, "batch_size", None) or 1)
        if len({tuple(map(int, pixel)) for pixel in pixels(images[0].png).reshape(-1, 3)}) == 1:
            raise BackendError("it is drawn, and the picture is of one colour")
        drawn[name] = images[0].png

    def guided() -> None:
        draw(Txt2ImgRequest(**knobs, cfg_scale=3.0, negative_prompt="blurry"), "3")
        draw(Txt2ImgRequest(**knobs, cfg_scale=6.0, negative_prompt="blurry"), "6")
        if drawn["3"] == drawn["6"]:
            raise BackendError("cfg_scale has no effect")

    side = _SIDES.get(family, 64)
    knobs: dict[str, Any] = {
        "prompt": "a red fox", "width": side, "height": side, "steps": 2 if side == 64 else 1,
        "seed": 5,
    }  # fmt: skip
    redrawn = {**knobs, "init_image": _picture(side), "denoising_strength": 0.6}
    tries: Mapping[str, Callable[[], None]] = {
        "txt2img": lambda: draw(Txt2ImgRequest(**knobs)),
        "cfg_scale": guided,
        "another sampler": lambda: draw(
            Txt2ImgRequest(**knobs, sampler="DPM++ 2M", scheduler="Karras")
        ),
        "batch_size": lambda: draw(Txt2ImgRequest(**knobs, batch_size=2)),
        "img2img": lambda: draw(Img2ImgRequest(**redrawn)),
        "mask": lambda: draw(Img2ImgRequest(**redrawn, mask=_picture(side))),
        "hires fix": lambda: draw(Txt2ImgRequest(**knobs, hires_scale=2.0)),
    }
    assert tries.keys() == set(FEATURES)
    return {feature: _outcome(attempt, model) for feature, attempt in tries.items()}


def _outcome(attempt: Callable[[], None], model: Path) -> str:
    try:
        attempt()
    except BackendError as error:
        return re.sub(rf"'?{re.escape(str(model))}'?", "the model", str(error))
    return "works"


def _picture(side: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((side, side)).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def main() -> None:
    """Draw with all of them, or with those that are named, and write what came out."""
    families = read_families()
    for name in sys.argv[1:] or FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            families["diffusers"][name] = what_diffusers_does(
                name, save_family(name, Path(folder) / "m")
            )
        sys.stdout.write(f"{name}: {families['diffusers'][name]}\n")
    write_families(families)
    write_table(families)


if __name__ == "__main__":
    main()
