"""The families of models that diffusers draws with, and what their pipelines do, class by class.

Signatures do not tell whether a guidance of 1 is none or acts, whether a pipeline draws without a
picture, or by what its sides must divide: that stands in the code of each class, and here in one
table. Conventions, classes and sides were read in diffusers 0.42.1; a test reads its sources again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safelight.errors import BackendError

__all__ = [
    "FAMILIES",
    "Convention",
    "Family",
    "Task",
    "family_of",
    "refuse_size",
    "side_multiple",
    "side_multiple_of_folder",
]

Task = Literal["Text2Image", "Image2Image", "Inpainting"]
"""As diffusers calls them."""

Convention = Literal["off at 1", "off at 0", "always", "taught", "guider", "none"]
"""What a pipeline does with its guidance g, for predictions pos (prompt) and neg (negative prompt):

``off at 1``: neg + g * (pos - neg) above 1, else pos. ``off at 0``: pos + g * (pos - neg) above 0,
else pos. ``always``: neg + g * (pos - neg). ``taught``: g goes into the model, which imitates
guidance by it. ``guider``: as ``always``, with a g that an object beside the pipeline holds.
``none``: there is only pos.
"""

Sides = int | Literal["vae", "vae x 2", "vae x patch"] | None
"""Sides are multiples of so many pixels: a number, or the VAE's factor times so much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Pipelines that share weights.

    Attributes:
        name: As people say it.
        draws: Class that draws from a text.
        redraws: Class that redraws a picture by a strength.
        inpaints: Class that redraws what a mask shows.
        edits: Class that takes a picture beside the text and no strength.
        guidance: What all of them do with *argument*.
        argument: Of the call, which ``cfg_scale`` decides.
        distilled: Argument that models take which were distilled for it; ``guidance`` decides it.
        sides: What width and height are multiples of; None where any is taken.
    """

    name: str
    draws: str | None = None
    redraws: str | None = None
    inpaints: str | None = None
    edits: str | None = None
    guidance: Convention = "off at 1"
    argument: str = "guidance_scale"
    distilled: str | None = None
    sides: Sides = "vae x 2"

    def class_for(self, task: Task) -> str | None:
        """Return the class that carries out *task*; None where there is none."""
        if task == "Text2Image":
            return self.draws
        return self.inpaints if task == "Inpainting" else self.redraws or self.edits


_TRUE_CFG: Mapping[str, Any] = {"argument": "true_cfg_scale", "distilled": "guidance_scale"}

FAMILIES: tuple[Family, ...] = (
    Family(name="Stable Diffusion 1, 2", draws="StableDiffusionPipeline",
           redraws="StableDiffusionImg2ImgPipeline", inpaints="StableDiffusionInpaintPipeline",
           sides=8),
    Family(name="Stable Diffusion XL", draws="StableDiffusionXLPipeline",
           redraws="StableDiffusionXLImg2ImgPipeline", inpaints="StableDiffusionXLInpaintPipeline",
           sides=8),
    Family(name="Stable Diffusion 3", draws="StableDiffusion3Pipeline",
           redraws="StableDiffusion3Img2ImgPipeline", inpaints="StableDiffusion3InpaintPipeline",
           sides="vae x patch"),
    Family(name="Latent Consistency", draws="LatentConsistencyModelPipeline",
           redraws="LatentConsistencyModelImg2ImgPipeline", guidance="taught", sides=8),
    Family(name="FLUX.1", draws="FluxPipeline", redraws="FluxImg2ImgPipeline",
           inpaints="FluxInpaintPipeline", **_TRUE_CFG),
    Family(name="FLUX.1 Kontext", draws="FluxKontextPipeline", edits="FluxKontextPipeline",
           inpaints="FluxKontextInpaintPipeline", **_TRUE_CFG),
    Family(name="FLUX.2", draws="Flux2Pipeline", edits="Flux2Pipeline", guidance="none",
           distilled="guidance_scale"),
    Family(name="FLUX.2 klein", draws="Flux2KleinPipeline", edits="Flux2KleinPipeline",
           inpaints="Flux2KleinInpaintPipeline"),
    Family(name="FLUX.2 klein KV", draws="Flux2KleinKVPipeline", edits="Flux2KleinKVPipeline",
           guidance="none"),
    # ChromaInpaintPipeline of 0.42 asks its model for an option that it never has.
    Family(name="Chroma", draws="ChromaPipeline", redraws="ChromaImg2ImgPipeline"),
    Family(name="Qwen-Image", draws="QwenImagePipeline", redraws="QwenImageImg2ImgPipeline",
           inpaints="QwenImageInpaintPipeline", **_TRUE_CFG),
    Family(name="Qwen-Image-Edit", edits="QwenImageEditPipeline",
           inpaints="QwenImageEditInpaintPipeline", **_TRUE_CFG),
    Family(name="Qwen-Image-Edit Plus", edits="QwenImageEditPlusPipeline", **_TRUE_CFG),
    Family(name="Qwen-Image 2.1", draws="QwenImage21Pipeline", edits="QwenImage21Pipeline",
           argument="true_cfg_scale"),
    Family(name="Z-Image", draws="ZImagePipeline", redraws="ZImageImg2ImgPipeline",
           inpaints="ZImageInpaintPipeline", guidance="off at 0"),
    Family(name="Z-Image Omni", draws="ZImageOmniPipeline", edits="ZImageOmniPipeline",
           guidance="off at 0"),
    Family(name="Krea 2", draws="Krea2Pipeline", guidance="off at 0"),
    Family(name="Sana", draws="SanaPipeline", sides=32),
    Family(name="Sana Sprint", draws="SanaSprintPipeline", redraws="SanaSprintImg2ImgPipeline",
           guidance="none", distilled="guidance_scale", sides=32),
    Family(name="Lumina", draws="LuminaPipeline"),
    Family(name="Lumina 2", draws="Lumina2Pipeline"),
    Family(name="PixArt alpha", draws="PixArtAlphaPipeline", sides=8),
    Family(name="PixArt Sigma", draws="PixArtSigmaPipeline", sides=8),
    Family(name="HiDream", draws="HiDreamImagePipeline"),
    Family(name="Kandinsky 5", draws="Kandinsky5T2IPipeline", sides=None),
    Family(name="Kandinsky 5 editing", edits="Kandinsky5I2IPipeline", sides=None),
    Family(name="HunyuanImage 2.1", draws="HunyuanImagePipeline", guidance="guider",
           distilled="distilled_guidance_scale"),
    Family(name="HunyuanDiT", draws="HunyuanDiTPipeline", sides=8),
    Family(name="AuraFlow", draws="AuraFlowPipeline"),
    Family(name="CogView 3 Plus", draws="CogView3PlusPipeline", sides=8),
    Family(name="CogView 4", draws="CogView4Pipeline", sides=16),
    Family(name="Kolors", draws="KolorsPipeline", redraws="KolorsImg2ImgPipeline", sides=8),
    Family(name="OmniGen", draws="OmniGenPipeline", guidance="always"),
    Family(name="Ideogram 4", draws="Ideogram4Pipeline", guidance="always"),
    Family(name="PRX", draws="PRXPipeline", sides="vae x patch"),
    Family(name="Ovis-Image", draws="OvisImagePipeline"),
    Family(name="LongCat-Image", draws="LongCatImagePipeline"),
    Family(name="LongCat-Image-Edit", edits="LongCatImageEditPipeline"),
    Family(name="ERNIE-Image", draws="ErnieImagePipeline", sides="vae"),
    Family(name="GLM-Image", draws="GlmImagePipeline", edits="GlmImagePipeline", sides=32),
    Family(name="NucleusMoE-Image", draws="NucleusMoEImagePipeline"),
    Family(name="Bria", draws="BriaPipeline"),
    Family(name="Bria FIBO", draws="BriaFiboPipeline", sides=16),
    Family(name="Bria FIBO 2", draws="BriaFibo2Pipeline", edits="BriaFibo2Pipeline"),
)  # fmt: skip

_BY_CLASS = {
    cls: family
    for family in FAMILIES
    for cls in (family.draws, family.redraws, family.inpaints, family.edits)
    if cls is not None
}


def family_of(pipe: Any) -> Family | None:
    """Return the family of a pipeline; None where the table has none."""
    # Perturbed-attention variants differ from their plain class by that only.
    return _BY_CLASS.get(type(pipe).__name__.replace("PAG", ""))


def side_multiple(pipe: Any) -> int:
    """Return what width and height in pixels must be multiples of."""
    family = family_of(pipe)
    if family is None:
        processor = getattr(pipe, "image_processor", None)
        factor = processor.config.get("vae_scale_factor", 8) if processor is not None else 8
        return max(8, int(factor))
    if family.sides is None:
        return 8
    if isinstance(family.sides, int):
        return family.sides
    _, _, times = family.sides.partition(" x ")
    count = pipe.transformer.config.patch_size if times == "patch" else int(times or 1)
    return max(8, int(pipe.vae_scale_factor) * int(count))


def side_multiple_of_folder(folder: Path) -> int | None:
    """Return the same for a model on disk; None where only loading it tells.

    Args:
        folder: In diffusers' layout.
    """
    family = _BY_CLASS.get(str(_saved(folder / "model_index.json").get("_class_name")))
    if family is None or family.sides is None:
        return None
    if isinstance(family.sides, int):
        return family.sides
    vae = _saved(folder / "vae" / "config.json")
    _, _, times = family.sides.partition(" x ")
    if times == "patch":
        count = _saved(folder / "transformer" / "config.json").get("patch_size")
    else:
        count = int(times) if times else None
    if "spatial_compression_ratio" in vae:
        factor = vae["spatial_compression_ratio"]
    elif isinstance(halvings := vae.get("temperal_downsample"), list):
        factor = 2 ** len(halvings)
    elif isinstance(blocks := vae.get("block_out_channels"), list):
        factor = 2 ** (len(blocks) - 1)
    else:
        return None
    return max(8, factor * count) if isinstance(factor, int) and isinstance(count, int) else None


def _saved(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):  # loading the model will say so
        return {}
    return found if isinstance(found, dict) else {}


def refuse_size(pipe: Any, width: int | None, height: int | None) -> None:
    """Refuse a size that the pipeline would change or fail at.

    Raises:
        BackendError: The message names the nearest sizes.
    """
    kind, step = type(pipe).__name__, side_multiple(pipe)
    for name, value in (("width", width), ("height", height)):
        if value is not None and value % step:
            below = value // step * step
            near = f"{below} and {below + step}" if below else str(step)
            raise BackendError(
                f"{name} must be a multiple of {step} px for {kind}, got {value};"
                f" the nearest: {near}"
            )
    known = getattr(pipe, "resolutions", None)
    if known and width and height and (width, height) not in known:
        ratio = width / height
        by_nearness = sorted(known, key=lambda size: abs(size[0] / size[1] - ratio))
        listed = ", ".join(f"{w} x {h}" for w, h in by_nearness)
        raise BackendError(
            f"width and height must be one of the sizes of {kind}, got {width} x {height};"
            f" the nearest first: {listed}"
        )
