"""Tiny random pipelines of every family of models, and what the engine diffusers does with each.

``tests/data/families/tiny_pipelines.json`` says what each is made of: its class, and for every
part a class with its settings, or the name of a part that several share. Run by itself, in a
virtual environment with the extra ``diffusers``, this draws with all of them and writes what came
out into ``tests/data/families/families.json`` and the table in ``docs/backends.md``::

    PYTHONPATH=src:tests build/diffusers-venv/bin/python tests/backends/family_pipelines.py
"""

from __future__ import annotations

import io
import json
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from backends.backend_contract import pixels
from backends.family_table import DRAWN, FEATURES, read_families, write_families, write_table
from safelight.backends import create_backend
from safelight.errors import BackendError
from safelight.pipeline.backend import Img2ImgRequest, Txt2ImgRequest

__all__ = ["FAMILIES", "save_family", "save_lora", "what_diffusers_does"]

_MADE_OF: dict[str, Any] = json.loads((DRAWN.parent / "tiny_pipelines.json").read_text("utf-8"))
FAMILIES: tuple[str, ...] = tuple(_MADE_OF["families"])


def save_family(name: str, folder: Path) -> Path:
    """Write a random pipeline of the family *name* to *folder*, which is new, and return it."""
    import diffusers
    import torch

    cls, parts = _MADE_OF["families"][name]
    folder.mkdir(parents=True)
    made: dict[str, Any] = {}
    for part, spec in parts.items():
        torch.manual_seed(0)
        made[part] = _part(spec, folder / f"words of {part}")
    for pad in ("x_pad_token", "cap_pad_token"):  # made empty, never drawn by chance
        if (token := getattr(made.get("transformer"), pad, None)) is not None:
            with torch.no_grad():
                token.fill_(1)
    if "safety_checker" in made:
        made["requires_safety_checker"] = False
    getattr(diffusers, cls)(**made).save_pretrained(str(folder / "model"))
    return folder / "model"


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


def _part(spec: Any, folder: Path) -> Any:
    """Return a part: none, a tokenizer, one that several share, or one of class and settings."""
    import diffusers
    import diffusers.guiders
    import transformers

    if spec is None:
        return None
    if isinstance(spec, str) and spec.endswith(" words"):
        return _tokenizer(spec, folder)
    cls, settings, *config = _MADE_OF["shared"][spec] if isinstance(spec, str) else spec
    if config:
        return getattr(transformers, cls)(getattr(transformers, config[0])(**settings)).eval()
    return (getattr(diffusers, cls, None) or getattr(diffusers.guiders, cls))(**settings)


def _tokenizer(kind: str, folder: Path) -> Any:
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    from backends.diffusers_engine.tiny_pipeline import byte_characters, tiny_tokenizer

    if kind == "clip words":
        return tiny_tokenizer(folder)
    if kind == "byte 5 words":
        return transformers.ByT5Tokenizer()
    special = ("<pad>", "<eos>", "<bos>", "<|im_start|>", "<|im_end|>")
    vocabulary = {word: n for n, word in enumerate((*special, *byte_characters()))}
    bytewise = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=bytewise, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>",
        model_max_length=2048,
    )  # fmt: skip
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}"
        "{{ m['content'] }}{% else %}{% for c in m['content'] %}{{ c['text'] }}{% endfor %}"
        "{% endif %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return tokenizer


def what_diffusers_does(model: Path) -> dict[str, str]:
    """Return feature -> ``works``, or the sentence with which it is refused, by drawing."""
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

    knobs: dict[str, Any] = {
        "prompt": "a red fox", "width": 64, "height": 64, "steps": 2, "seed": 5,
    }  # fmt: skip
    redrawn = {**knobs, "init_image": _picture(), "denoising_strength": 0.6}
    tries: Mapping[str, Callable[[], None]] = {
        "txt2img": lambda: draw(Txt2ImgRequest(**knobs)),
        "cfg_scale": guided,
        "another sampler": lambda: draw(
            Txt2ImgRequest(**knobs, sampler="DPM++ 2M", scheduler="Karras")
        ),
        "batch_size": lambda: draw(Txt2ImgRequest(**knobs, batch_size=2)),
        "img2img": lambda: draw(Img2ImgRequest(**redrawn)),
        "mask": lambda: draw(Img2ImgRequest(**redrawn, mask=_picture())),
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


def _picture() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((64, 64)).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def main() -> None:
    """Draw with all of them, or with those that are named, and write what came out."""
    families = read_families()
    for name in sys.argv[1:] or FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            families["diffusers"][name] = what_diffusers_does(save_family(name, Path(folder) / "m"))
        sys.stdout.write(f"{name}: {families['diffusers'][name]}\n")
    write_families(families)
    write_table(families)


if __name__ == "__main__":
    main()
