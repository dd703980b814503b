"""Our stages as ComfyUI graphs, in the API format, with the node ids of ComfyUI's default graph.

What KSampler cannot do is not imitated: ``eta``, ``sigmas`` and ``cache`` are left out with a
warning, and schedules that only custom sampling nodes have (Align Your Steps) are refused; all
work in a workflow of the user's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from safelight.backends.comfyui.bound_graph import BoundGraph
from safelight.backends.comfyui.graph_draft import GraphDraft, Link
from safelight.backends.comfyui.native_names import (
    LATENT_METHODS,
    PIXEL_METHODS,
    native_name,
    resolved_scheduler,
)
from safelight.backends.comfyui.uploaded_pictures import encoded_picture, mask_picture
from safelight.backends.input_picture import input_picture
from safelight.errors import BackendError
from safelight.knobs import did_you_mean
from safelight.lora_tags import Lora, split_loras
from safelight.pipeline.backend import (
    ImageRequest,
    Img2ImgRequest,
    Txt2ImgRequest,
    UpscaleRequest,
)

__all__ = ["MOST_TEXT_ENCODERS", "Loaders", "StageWorkflows"]

_Value = TypeVar("_Value")
Upload = Callable[[bytes], str]

_REVISION = 1
"""Of the graphs themselves: one more whenever they draw other pixels from the same request."""

_CLIP_LOADERS = ("CLIPLoader", "DualCLIPLoader", "TripleCLIPLoader", "QuadrupleCLIPLoader")
MOST_TEXT_ENCODERS = len(_CLIP_LOADERS)

_CELL = 8
"""Pixels per latent cell along one side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaders:
    """Which files the graphs load; empty means: out of the checkpoint.

    Attributes:
        unet: A diffusion model loaded apart from its text encoders and VAE.
        clip: Its text encoders, where a request names none, one to four.
        clip_type: What ComfyUI calls their kind.
        vae: The VAE, where a request names none.
    """

    unet: str = ""
    clip: tuple[str, ...] = ()
    clip_type: str = "stable_diffusion"
    vae: str = ""


_SHIFTING_NODES = {
    "sd3": "ModelSamplingSD3",
    "hidream": "ModelSamplingSD3",
    "wan": "ModelSamplingSD3",
    "lumina2": "ModelSamplingAuraFlow",
    "qwen_image": "ModelSamplingAuraFlow",
}
"""Kind of text encoder -> the node that shifts the models it comes with, as in ComfyUI's templates.

The two count time from 0 to 1000 and to 1: the wrong one draws noise, so others are not guessed.
"""


class StageWorkflows:
    """Turns requests into graphs.

    Args:
        loaders: Which files to load.
        listed: Returns the values that an input takes: ``listed("VAELoader", "vae_name")``.
        upload: Puts a PNG file on the server and returns its name there.
    """

    def __init__(
        self, loaders: Loaders, listed: Callable[[str, str], Sequence[str]], upload: Upload
    ) -> None:
        self._loaders = loaders
        self._listed = listed
        self._upload = upload

    def setup(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what the graphs depend on besides knobs, and what they take for knobs not stated.

        Raises:
            BackendUnavailable: The server does not answer.
        """
        loaders = self._loaders
        facts: dict[str, Any] = {"graphs": _REVISION}
        if loaders.unet:
            facts |= {"clip": list(loaders.clip), "clip_type": loaders.clip_type}
        files = self._listed("CheckpointLoaderSimple", "ckpt_name") if not loaders.unet else ()
        model = loaders.unet or next(iter(files), "")
        defaults = {"model": model, "vae": loaders.vae}
        return facts, {knob: name for knob, name in defaults.items() if name}

    def graph(self, request: ImageRequest) -> BoundGraph:
        """Return the graph that carries out *request*, once.

        Raises:
            BackendError: It asks for what ComfyUI's own nodes cannot do.
        """
        draft = GraphDraft()
        if isinstance(request, UpscaleRequest):
            self._upscale(draft, request)
        else:
            self._draw(draft, request)
        _warn_of_extra(draft, request)
        return draft.bound(request.stage, output="9")

    # -- txt2img and img2img -------------------------------------------------------------

    def _draw(self, draft: GraphDraft, request: Txt2ImgRequest | Img2ImgRequest) -> None:
        model, clip, vae = self._load(draft, request)
        text, loras = split_loras(request.prompt)
        model, clip = self._bend(draft, model, clip, loras)
        model = self._resample(draft, request, model)
        if request.clip_skip is not None:
            clip = draft.add(
                "11", "CLIPSetLastLayer", clip=clip, stop_at_clip_layer=-request.clip_skip
            )
            draft.place("clip_skip", "11", "stop_at_clip_layer", request.clip_skip)
        positive = draft.add("6", "CLIPTextEncode", title="Prompt", text=text, clip=clip)
        draft.place("prompt", "6", "text", request.prompt)
        negative = draft.add(
            "7", "CLIPTextEncode", title="Negative prompt", text=request.negative_prompt, clip=clip
        )
        draft.place("negative_prompt", "7", "text", request.negative_prompt)
        positive = self._guide(draft, request, positive)
        sampling = self._sampling(draft, request, model, positive, negative)
        if isinstance(request, Txt2ImgRequest):
            latent = draft.add(
                "5",
                "EmptyLatentImage",
                width=_or(request.width, 512),
                height=_or(request.height, 512),
                batch_size=1,
            )
            draft.place("width", "5", "width", _or(request.width, 512))
            draft.place("height", "5", "height", _or(request.height, 512))
            latent = self._sample(draft, "3", sampling, latent, 1.0)
            latent = self._hires(draft, request, sampling, latent, vae)
            pixels = draft.add("8", "VAEDecode", samples=latent, vae=vae)
        else:
            pixels = self._redraw(draft, request, sampling, vae)
        draft.add("9", "SaveImage", images=pixels, filename_prefix="safelight")

    def _load(
        self, draft: GraphDraft, request: Txt2ImgRequest | Img2ImgRequest
    ) -> tuple[Link, Link, Link]:
        loaders = self._loaders
        vae: Link = ["4", 2]
        if loaders.unet:
            name = request.model or loaders.unet
            dtype = request.others.get("weight_dtype", "default")
            model = draft.add("4", "UNETLoader", unet_name=name, weight_dtype=dtype)
            draft.place("model", "4", "unet_name", name)
            draft.place("weight_dtype", "4", "weight_dtype", dtype)
            clip = _add_clip_loader(draft, loaders, request.others.get("text_encoders"))
        else:
            name = request.model or self._first_checkpoint()
            model = draft.add("4", "CheckpointLoaderSimple", ckpt_name=name)
            draft.place("model", "4", "ckpt_name", name)
            clip = ["4", 1]
        vae_name = request.vae or loaders.vae
        if vae_name:
            vae = draft.add("10", "VAELoader", vae_name=vae_name)
            draft.place("vae", "10", "vae_name", vae_name)
        return model, clip, vae

    def _resample(
        self, draft: GraphDraft, request: Txt2ImgRequest | Img2ImgRequest, model: Link
    ) -> Link:
        """Chain what changes how the model is sampled; what no node here can do is told."""
        others = request.others
        undone = {"sigmas": "KSampler takes none", "cache": "ComfyUI has several"}
        if not self._loaders.unet:
            undone["weight_dtype"] = "a checkpoint is loaded as it is; set the option unet"
            undone["text_encoders"] = "those of the checkpoint are used; set the option unet"
        kind = _SHIFTING_NODES.get(self._loaders.clip_type)
        if "shift" in others and kind is not None:
            model = draft.add("25", kind, model=model, shift=others["shift"])
            draft.place("shift", "25", "shift", others["shift"])
        else:
            kinds = ", ".join(_SHIFTING_NODES)
            undone["shift"] = f"it is done for models with a clip_type of {kinds}"
        if "cfg_rescale" in others:
            model = draft.add("26", "RescaleCFG", model=model, multiplier=others["cfg_rescale"])
            draft.place("cfg_rescale", "26", "multiplier", others["cfg_rescale"])
        for knob, why in undone.items():
            if knob in others:
                draft.warnings.append(
                    f"{knob} = {others[knob]!r} was left out: {why}. A workflow of your own can."
                )
        return model

    def _guide(
        self, draft: GraphDraft, request: Txt2ImgRequest | Img2ImgRequest, positive: Link
    ) -> Link:
        if "guidance" not in request.others:
            return positive
        guidance = request.others["guidance"]
        positive = draft.add("27", "FluxGuidance", conditioning=positive, guidance=guidance)
        draft.place("guidance", "27", "guidance", guidance)
        if not self._loaders.clip_type.startswith("flux"):
            draft.warnings.append(
                "ComfyUI does not say whether the model was distilled for guidance;"
                " most pass over it."
            )
        return positive

    def _first_checkpoint(self) -> str:
        names = self._listed("CheckpointLoaderSimple", "ckpt_name")
        if not names:
            raise BackendError(
                "ComfyUI lists no checkpoint: put one into its models/checkpoints,"
                " or name a diffusion model in the option unet"
            )
        return names[0]

    def _bend(
        self,
        draft: GraphDraft,
        model: Link,
        clip: Link,
        loras: Sequence[Lora],
    ) -> tuple[Link, Link]:
        """Chain a loader for every LoRA.

        Raises:
            BackendError: The server has none of that name.
        """
        if not loras:
            return model, clip
        files = self._listed("LoraLoader", "lora_name")
        for number, lora in enumerate(loras):
            file = _lora_file(lora.name, files)
            if file is None:
                hint = did_you_mean(lora.name, files) or f"; it has: {', '.join(files[:20])}"
                raise BackendError(f"there is no LoRA {lora.name!r} on ComfyUI{hint}")
            node = str(100 + number)
            draft.add(
                node,
                "LoraLoader",
                lora_name=file,
                strength_model=lora.unet,
                strength_clip=lora.text_encoder,
                model=model,
                clip=clip,
            )
            model, clip = [node, 0], [node, 1]
        return model, clip

    def _sampling(
        self,
        draft: GraphDraft,
        request: Txt2ImgRequest | Img2ImgRequest,
        model: Link,
        positive: Link,
        negative: Link,
    ) -> dict[str, Any]:
        """Return the inputs that every sampling pass shares, and note where they will stand."""
        sampler = request.sampler or "Euler"
        scheduler = resolved_scheduler(request.scheduler or "Normal", sampler)
        native_sampler, nearly = native_name("sampler", sampler)
        native_scheduler, nearly_too = native_name("scheduler", scheduler)
        draft.warnings.extend((*nearly, *nearly_too))
        if request.eta is not None:
            draft.warnings.append(
                f"ComfyUI's KSampler has no eta; eta = {request.eta:g} was left out."
            )
        draft.shared.update(
            seed=("seed", request.seed),
            sampler_name=("sampler", sampler),
            scheduler=("scheduler", scheduler),
            cfg=("cfg_scale", _or(request.cfg_scale, 8.0)),
        )
        return {
            "seed": request.seed,
            "steps": _or(request.steps, 20),
            "cfg": _or(request.cfg_scale, 8.0),
            "sampler_name": native_sampler,
            "scheduler": native_scheduler,
            "model": model,
            "positive": positive,
            "negative": negative,
        }

    def _sample(
        self, draft: GraphDraft, node: str, sampling: dict[str, Any], latent: Link, denoise: float
    ) -> Link:
        pixels = draft.add(node, "KSampler", **sampling, latent_image=latent, denoise=denoise)
        for name, (knob, value) in draft.shared.items():
            draft.place(knob, node, name, value)
        if node == "3":
            draft.place("steps", node, "steps", sampling["steps"])
        return pixels

    def _hires(
        self,
        draft: GraphDraft,
        request: Txt2ImgRequest,
        sampling: dict[str, Any],
        latent: Link,
        vae: Link,
    ) -> Link:
        scale = request.hires_scale
        if scale is None:
            return latent
        upscaler = request.hires_upscaler or "Latent"
        sides = [_or(side, 512) for side in (request.width, request.height)]
        wanted = [round(side * scale) for side in sides]
        # As LatentUpscaleBy rounds; LatentUpscale would make every side at least 64 px.
        width, height = (max(1, round(side // _CELL * scale)) * _CELL for side in sides)
        if [width, height] != wanted:
            draft.warnings.append(
                f"hires_scale {scale:g} makes {wanted[0]} x {wanted[1]} px; latents are whole cells"
                f" of {_CELL} px, so {width} x {height} was drawn."
            )
        if upscaler in LATENT_METHODS:
            method = LATENT_METHODS[upscaler]
            larger = draft.add(
                "20", "LatentUpscaleBy", samples=latent, upscale_method=method, scale_by=scale
            )
            draft.place("hires_upscaler", "20", "upscale_method", upscaler)
            draft.place("hires_scale", "20", "scale_by", scale)
        else:
            first = draft.add("21", "VAEDecode", samples=latent, vae=vae)
            grown = _enlarge(draft, first, upscaler, (width, height), "hires_upscaler")
            draft.place("hires_scale", "31", "width", scale)
            larger = draft.add("22", "VAEEncode", pixels=grown, vae=vae)
        strength = _or(request.hires_denoising_strength, 0.7)
        again = {**sampling, "steps": _or(request.hires_steps, sampling["steps"])}
        redrawn = self._sample(draft, "23", again, larger, strength)
        draft.place("hires_steps", "23", "steps", again["steps"])
        draft.place("hires_denoising_strength", "23", "denoise", strength)
        return redrawn

    def _redraw(
        self, draft: GraphDraft, request: Img2ImgRequest, sampling: dict[str, Any], vae: Link
    ) -> Link:
        given = input_picture(request.init_image)
        loaded = draft.add("14", "LoadImage", image=self._upload(encoded_picture(given)))
        size = (
            _whole_cells(request.width or given.width),
            _whole_cells(request.height or given.height),
        )
        if size != given.size:
            loaded = draft.add(
                "15", "ImageScale", image=loaded, upscale_method="lanczos",
                width=size[0], height=size[1], crop="disabled",
            )  # fmt: skip
        latent = draft.add("16", "VAEEncode", pixels=loaded, vae=vae)
        mask: Link | None = None
        if request.mask is not None:
            blurred = mask_picture(request.mask, given.size, request.mask_blur)
            name = self._upload(blurred)
            mask = draft.add("17", "LoadImageMask", image=name, channel="red")
            latent = draft.add("18", "SetLatentNoiseMask", samples=latent, mask=mask)
        strength = _or(request.denoising_strength, 0.75)
        latent = self._sample(draft, "3", sampling, latent, strength)
        draft.place("denoising_strength", "3", "denoise", strength)
        pixels = draft.add("8", "VAEDecode", samples=latent, vae=vae)
        if mask is None:
            return pixels
        return draft.add(
            "19", "ImageCompositeMasked", destination=loaded, source=pixels, mask=mask,
            x=0, y=0, resize_source=False,
        )  # fmt: skip

    # -- upscale -------------------------------------------------------------------------

    def _upscale(self, draft: GraphDraft, request: UpscaleRequest) -> None:
        given = input_picture(request.init_image)
        scale = _or(request.scale, 2.0)
        size = (max(1, round(given.width * scale)), max(1, round(given.height * scale)))
        loaded = draft.add("14", "LoadImage", image=self._upload(encoded_picture(given)))
        pixels = _enlarge(draft, loaded, request.upscaler or "Lanczos", size, "upscaler")
        draft.place("scale", "31", "width", scale)
        draft.add("9", "SaveImage", images=pixels, filename_prefix="safelight")


def _enlarge(
    draft: GraphDraft, pixels: Link, upscaler: str, size: tuple[int, int], knob: str
) -> Link:
    """Enlarge with a model or a filter, then to the pixel; the last step is node 31."""
    method = PIXEL_METHODS.get(upscaler)
    if method is None:
        loader = draft.add("29", "UpscaleModelLoader", model_name=upscaler)
        draft.place(knob, "29", "model_name", upscaler)
        pixels = draft.add("30", "ImageUpscaleWithModel", upscale_model=loader, image=pixels)
    grown = draft.add(
        "31", "ImageScale", image=pixels, upscale_method=method or "lanczos",
        width=size[0], height=size[1], crop="disabled",
    )  # fmt: skip
    if method is not None:
        draft.place(knob, "31", "upscale_method", upscaler)
    return grown


def _add_clip_loader(draft: GraphDraft, loaders: Loaders, asked: str | None) -> Link:
    names = loaders.clip
    if asked is not None:
        names = tuple(name for part in asked.split(",") if (name := part.strip()))
    if not 1 <= len(names) <= MOST_TEXT_ENCODERS:
        raise BackendError(
            f"text_encoders must name 1 to {MOST_TEXT_ENCODERS} files, got {asked!r}"
        )
    inputs = {f"clip_name{place}": name for place, name in enumerate(names, 1)}
    if len(names) == 1:
        inputs = {"clip_name": names[0]}
    if len(names) <= 2:  # the others are told by their files
        inputs["type"] = loaders.clip_type
    loaded = draft.add("12", _CLIP_LOADERS[len(names) - 1], **inputs)
    for name in inputs:
        if name != "type":
            draft.place("text_encoders", "12", name, inputs[name])
    return loaded


def _lora_file(name: str, files: Sequence[str]) -> str | None:
    """Return the server's file for a LoRA that a prompt calls by its path or by its stem."""
    for file in files:
        path = file.replace("\\", "/")
        stem = path.rsplit(".", 1)[0]
        if name in (file, path, stem, stem.rsplit("/", 1)[-1]):
            return file
    return None


def _warn_of_extra(draft: GraphDraft, request: ImageRequest) -> None:
    if request.extra:
        draft.warnings.append(
            f"The comfyui engine ignores extra knobs without a workflow of your own:"
            f" {', '.join(request.extra)}."
        )


def _or(value: _Value | None, default: _Value) -> _Value:
    return default if value is None else value


def _whole_cells(pixels: int) -> int:
    return max(_CELL, pixels // _CELL * _CELL)
