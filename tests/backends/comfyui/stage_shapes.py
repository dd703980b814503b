"""Shapes of several samplers, and of what happens to a picture behind them."""

from __future__ import annotations

from typing import Any

from backends.comfyui.core_shapes import GONE, PLAIN, SOURCE, Graph, Shape, node, plain
from backends.comfyui.real_server import UPSCALER

__all__ = ["STAGE_SHAPES"]

_ESSENTIAL = ("prompt", "model", "sampler", "steps", "cfg_scale", "seed")
_UPSCALE = node("UpscaleModelLoader", model_name=UPSCALER)


def _second(latent: str, **changes: Any) -> dict[str, Any]:
    inputs = {
        "seed": 42, "steps": 2, "cfg": 6.5, "sampler_name": "euler", "scheduler": "normal",
        "denoise": 0.5, "model": "ckpt/0", "positive": "pos/0", "negative": "neg/0",
        "latent_image": latent,
    }  # fmt: skip
    return node("KSampler", **inputs | changes)


def _redrawn(latent: str, *, second: dict[str, Any] | None = None, **more: Any) -> Graph:
    """Return the plain graph with a second pass; *more* makes *latent* of the first one's."""
    return plain(
        **more, ks2=_second(latent, **second or {}),
        dec2=node("VAEDecode", samples="ks2/0", vae="ckpt/2"), save={"images": "dec2/0"},
    )  # fmt: skip


def _hires(upscaler: str, scale: float = 1.5) -> dict[str, Any]:
    return {"hires_upscaler": upscaler, "hires_scale": scale, "hires_steps": 2,
            "hires_denoising_strength": 0.5}  # fmt: skip


def _half(**changes: Any) -> dict[str, Any]:
    inputs = {
        "add_noise": "enable", "noise_seed": 42, "steps": 4, "cfg": 6.5, "sampler_name": "euler",
        "scheduler": "normal", "start_at_step": 0, "end_at_step": 2,
        "return_with_leftover_noise": "enable", "model": "ckpt/0", "positive": "pos/0",
        "negative": "neg/0", "latent_image": "latent/0",
    }  # fmt: skip
    return node("KSamplerAdvanced", **inputs | changes)


_REFINED = {
    "add_noise": "disable", "noise_seed": 0, "start_at_step": 2, "end_at_step": 10000,
    "return_with_leftover_noise": "disable", "latent_image": "ks/0",
}  # fmt: skip
_LOWER = {"noise": "still/0", "guider": "guider/0", "sampler": "how/0", "sigmas": "split/1"}
_LARGER = node("LatentUpscaleBy", samples="ks/0", upscale_method="nearest-exact", scale_by=1.5)
_PASSES = (
    Shape(
        name="base_and_refiner",
        graph=plain(ks=_half(), ref=_half(**_REFINED), dec={"samples": "ref/0"}),
        says={"steps": 4}, odd={"passes": "unresolved"},
        extra={"start_at_step": "0", "end_at_step": "2", "pass_2_start_at_step": "2",
               "pass_2_end_at_step": "10000", "pass_2_seed": "0", "pass_2_add_noise": "disable"},
    ),
    Shape(
        name="sigmas_in_two_halves",
        graph=plain(
            ks=node("SamplerCustomAdvanced", **_LOWER | {"noise": "noise/0", "sigmas": "split/0"},
                    latent_image="latent/0"),
            low=node("SamplerCustomAdvanced", **_LOWER, latent_image="ks/0"),
            noise=node("RandomNoise", noise_seed=42), still=node("DisableNoise"),
            how=node("KSamplerSelect", sampler_name="euler"),
            all=node("BasicScheduler", scheduler="normal", steps=2, denoise=1.0, model="ckpt/0"),
            split=node("SplitSigmas", sigmas="all/0", step=1),
            guider=node("CFGGuider", model="ckpt/0", positive="pos/0", negative="neg/0", cfg=6.5),
            dec={"samples": "low/0"},
        ),
        odd={"passes": "unresolved"},
        extra={"changed_sigmas": "SplitSigmas step 1, high_sigmas",
               "pass_2_changed_sigmas": "SplitSigmas step 1, low_sigmas",
               "pass_2_add_noise": "disable"},
    ),
    Shape(
        name="second_pass_over_latents",
        graph=_redrawn("up/0", up=_LARGER),
        says=_hires("Latent (nearest-exact)"), size=(48, 72),
    ),
    Shape(
        name="second_pass_to_a_size",
        graph=_redrawn("up/0", up=node("LatentUpscale", samples="ks/0", upscale_method="bilinear",
                                       width=64, height=96, crop="disabled")),
        says=_hires("Latent", 2), size=(64, 96),
    ),
    Shape(
        name="second_pass_over_pixels",
        graph=_redrawn(
            "enc/0", up=node("ImageScaleBy", image="dec/0", upscale_method="lanczos",
                             scale_by=1.5),
            enc=node("VAEEncode", pixels="up/0", vae="ckpt/2"),
        ),
        says=_hires("Lanczos"), size=(48, 72),
    ),
    Shape(
        name="second_pass_by_model",
        graph=_redrawn(
            "enc/0", net=_UPSCALE,
            up=node("ImageUpscaleWithModel", upscale_model="net/0", image="dec/0"),
            less=node("ImageScale", image="up/0", upscale_method="area", width=48, height=72,
                      crop="disabled"),
            enc=node("VAEEncode", pixels="less/0", vae="ckpt/2"),
        ),
        says=_hires(UPSCALER), size=(48, 72),
    ),
    Shape(
        name="second_pass_with_another_seed",
        graph=_redrawn("up/0", up=_LARGER, second={"seed": 7, "cfg": 3.0}),
        says=_hires("Latent (nearest-exact)"), odd={"passes": "unresolved"},
        extra={"pass_2_seed": "7", "pass_2_cfg_scale": "3"}, size=(48, 72),
    ),
    Shape(
        name="second_pass_of_the_same_size",
        graph=_redrawn("ks/0"),
        odd={"passes": "unresolved"}, extra={"pass_2_denoising_strength": "0.5"},
    ),
    Shape(
        name="third_pass",
        graph=_redrawn(
            "up/0", up=_LARGER,
            up2=node("LatentUpscaleBy", samples="ks2/0", upscale_method="bislerp",
                     scale_by=2.0),
            ks3=_second("up2/0", denoise=0.25),
            dec3=node("VAEDecode", samples="ks3/0", vae="ckpt/2"),
        ) | {"save": node("SaveImage", images="dec3/0", filename_prefix="safelight")},
        odd={"passes": "unresolved"},
        extra={"pass_2_denoising_strength": "0.5", "pass_2_scale": "1.5",
               "pass_2_upscaler": "Latent (nearest-exact)", "pass_3_denoising_strength": "0.25",
               "pass_3_scale": "2", "pass_3_upscaler": "Latent (bislerp)"},
        size=(96, 144),
    ),
)  # fmt: skip

_OTHER = {"prompt": ("a red barn", "a blue door"), "seed": (42, 7), "steps": (2, 3)}
_TWO = {
    "pos2": node("CLIPTextEncode", text="a blue door", clip="ckpt/1"),
    "ks2": _second("latent2/0", seed=7, steps=3, denoise=1.0, positive="pos2/0"),
    "latent2": node("EmptyLatentImage", width=32, height=48, batch_size=1),
    "dec2": node("VAEDecode", samples="ks2/0", vae="ckpt/2"),
}
_SAVES = plain(**_TWO, save2=node("SaveImage", images="dec2/0", filename_prefix="safelight"))
_SIZES = {**_SAVES, "latent2": node("EmptyLatentImage", width=64, height=48, batch_size=1)}
_DIFFER = dict.fromkeys(_OTHER, "conflicting")
_MIXED = _DIFFER | {"passes": "unresolved"}


def _both(**more: Any) -> Graph:
    return plain(**_TWO, **more)


_TOGETHER = (
    Shape(name="two_saved_first", graph=_SAVES, odd=_DIFFER),
    Shape(name="two_saved_second", graph=_SAVES, save="save2", odd=_DIFFER),
    Shape(name="two_sizes_first", graph=_SIZES),
    Shape(
        name="two_sizes_second", graph=_SIZES, save="save2",
        says={"prompt": "a blue door", "seed": 7, "steps": 3, "width": 64}, size=(64, 48),
    ),
    Shape(
        name="blended",
        graph=_both(
            mix=node("ImageBlend", image1="dec/0", image2="dec2/0", blend_factor=0.5,
                     blend_mode="normal"),
            save={"images": "mix/0"},
        ),
        odd=_MIXED, extra={"ImageBlend": "blend_factor 0.5, blend_mode normal"},
        warns="ImageBlend",
    ),
    Shape(
        name="composed",
        graph=_both(
            mix=node("ImageCompositeMasked", destination="dec/0", source="dec2/0", x=8, y=0,
                     resize_source=False),
            save={"images": "mix/0"},
        ),
        odd=_MIXED, extra={"ImageCompositeMasked": "x 8, y 0, resize_source false"},
        warns="ImageCompositeMasked",
    ),
    Shape(
        name="composed_latents",
        graph=_both(
            mix=node("LatentComposite", samples_to="ks/0", samples_from="ks2/0", x=8, y=0,
                     feather=0),
            dec={"samples": "mix/0"},
        ),
        odd=_MIXED, extra={"LatentComposite": "x 8, y 0, feather 0"}, warns="LatentComposite",
    ),
    Shape(
        name="composed_and_redrawn",
        graph=_both(
            mix=node("LatentComposite", samples_to="ks/0", samples_from="ks2/0", x=8, y=0,
                     feather=0),
            last=_second("mix/0"), dec={"samples": "last/0"},
        ),
        odd=_MIXED,
        extra={"LatentComposite": "x 8, y 0, feather 0", "pass_3_denoising_strength": "0.5"},
        warns="LatentComposite",
    ),
    Shape(
        name="two_in_one_save",
        graph=_both(
            mix=node("ImageBatch", image1="dec/0", image2="dec2/0"), save={"images": "mix/0"}
        ),
        odd=_MIXED, warns="ImageBatch",
    ),
    Shape(
        name="blended_with_a_file",
        graph=plain(
            load=node("LoadImage", image=SOURCE),
            mix=node("ImageBlend", image1="dec/0", image2="load/0", blend_factor=0.5,
                     blend_mode="normal"),
            save={"images": "mix/0"},
        ),
        odd={"passes": "unresolved"}, extra={"ImageBlend": "blend_factor 0.5, blend_mode normal"},
        warns="ImageBlend",
    ),
)  # fmt: skip

_AT_THE_END = (
    Shape(
        name="enlarged_to_a_size",
        graph=plain(
            up=node("ImageScale", image="dec/0", upscale_method="lanczos", width=64, height=96,
                    crop="disabled"),
            save={"images": "up/0"},
        ),
        then={"upscaler": "Lanczos", "scale": 2}, size=(64, 96),
    ),
    Shape(
        name="enlarged_one_way",
        graph=plain(
            up=node("ImageScale", image="dec/0", upscale_method="bicubic", width=64, height=48,
                    crop="disabled"),
            save={"images": "up/0"},
        ),
        then={"upscaler": "Bicubic"}, then_odd={"scale": "unresolved"}, size=(64, 48),
    ),
    Shape(
        name="enlarged_by_model",
        graph=plain(
            net=_UPSCALE, up=node("ImageUpscaleWithModel", upscale_model="net/0", image="dec/0"),
            save={"images": "up/0"},
        ),
        then={"upscaler": UPSCALER, "scale": 4}, size=(128, 192),
    ),
    Shape(
        name="made_smaller",
        graph=plain(
            less=node("ImageScaleBy", image="dec/0", upscale_method="area", scale_by=0.5),
            save={"images": "less/0"},
        ),
        then={"upscaler": "Area", "scale": 0.5}, size=(16, 24),
    ),
    Shape(
        name="cut",
        graph=plain(
            cut=node("ImageCrop", image="dec/0", width=24, height=32, x=4, y=8),
            save={"images": "cut/0"},
        ),
        odd={"passes": "unresolved"}, extra={"ImageCrop": "width 24, height 32, x 4, y 8"},
        size=(24, 32), warns="ImageCrop",
    ),
    Shape(
        name="sharpened",
        graph=plain(
            sharp=node("ImageSharpen", image="dec/0", sharpen_radius=1, sigma=1.0, alpha=0.5),
            save={"images": "sharp/0"},
        ),
        odd={"passes": "unresolved"},
        extra={"ImageSharpen": "sharpen_radius 1, sigma 1, alpha 0.5"}, warns="ImageSharpen",
    ),
    Shape(
        name="turned",
        graph=plain(
            turn=node("ImageRotate", image="dec/0", rotation="90 degrees"),
            save={"images": "turn/0"},
        ),
        odd={"passes": "unresolved"}, extra={"ImageRotate": "rotation 90 degrees"}, size=(48, 32),
        warns="ImageRotate",
    ),
    Shape(
        name="saved_and_shown",
        graph=plain(show=node("PreviewImage", images="dec/0"),
                    tiled=node("VAEDecodeTiled", samples="ks/0", vae="ckpt/2", tile_size=64,
                               overlap=16, temporal_size=64, temporal_overlap=8),
                    save={"images": "tiled/0"}),
    ),
    Shape(
        name="a_file_enlarged",
        graph={
            "load": node("LoadImage", image=SOURCE), "net": _UPSCALE,
            "up": node("ImageUpscaleWithModel", upscale_model="net/0", image="load/0"),
            "save": node("SaveImage", images="up/0", filename_prefix="safelight"),
        },
        stage="upscale", says=dict.fromkeys(PLAIN, GONE) | {"upscaler": UPSCALER},
        odd=dict.fromkeys(("scale", *_ESSENTIAL), "unresolved"), extra={"init_image": SOURCE},
        size=(128, 192),
    ),
)  # fmt: skip

STAGE_SHAPES = (*_PASSES, *_TOGETHER, *_AT_THE_END)
