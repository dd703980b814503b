"""Shapes of one sampler: what steers it, what it begins with, and how its steps are told."""

from __future__ import annotations

from typing import Any

from backends.comfyui.core_shapes import GONE, SOURCE, Graph, Shape, node, plain
from backends.comfyui.real_server import LORA, SECOND_CHECKPOINT, SECOND_LORA

__all__ = ["SAMPLER_SHAPES"]

_LOAD = {
    "load": node("LoadImage", image=SOURCE),
    "enc": node("VAEEncode", pixels="load/0", vae="ckpt/2"),
}


def _advanced(**changes: Any) -> dict[str, Any]:
    inputs = {
        "add_noise": "enable", "noise_seed": 42, "steps": 2, "cfg": 6.5, "sampler_name": "euler",
        "scheduler": "normal", "start_at_step": 0, "end_at_step": 10000,
        "return_with_leftover_noise": "disable", "model": "ckpt/0", "positive": "pos/0",
        "negative": "neg/0", "latent_image": "latent/0",
    }  # fmt: skip
    return node("KSamplerAdvanced", **inputs | changes)


def _custom(sigmas: dict[str, Any], *, ks: dict[str, Any] | None = None, **more: Any) -> Graph:
    """Return the plain graph with SamplerCustom in the place of KSampler."""
    inputs = {
        "add_noise": True, "noise_seed": 42, "cfg": 6.5, "model": "ckpt/0", "positive": "pos/0",
        "negative": "neg/0", "sampler": "how/0", "sigmas": "sigmas/0", "latent_image": "latent/0",
    }  # fmt: skip
    how = node("KSamplerSelect", sampler_name="dpmpp_2m")
    sampler = node("SamplerCustom", **inputs | (ks or {}))
    return plain(**{"ks": sampler, "how": how, "sigmas": sigmas, **more})


def _guided(guider: dict[str, Any], **more: Any) -> Graph:
    """Return the plain graph with SamplerCustomAdvanced in the place of KSampler."""
    return plain(**{
        "ks": node("SamplerCustomAdvanced", noise="noise/0", guider="guider/0", sampler="how/0",
                   sigmas="sigmas/0", latent_image="latent/0"),
        "noise": node("RandomNoise", noise_seed=42),
        "how": node("KSamplerSelect", sampler_name="euler"),
        "sigmas": node("BasicScheduler", scheduler="normal", steps=2, denoise=1.0, model="ckpt/0"),
        "guider": guider,
        **more,
    })  # fmt: skip


_BASIC = node("BasicScheduler", scheduler="karras", steps=2, denoise=1.0, model="ckpt/0")
_DPM = {"sampler": "DPM++ 2M", "scheduler": "Karras"}
_SECOND = node("CLIPTextEncode", text="a blue door", clip="ckpt/1")
_MIXED = "a red barn\na blue door"
_UNRESOLVED = {"prompt": "unresolved"}


def _steered(**more: Any) -> Graph:
    return plain(ks={"positive": "mix/0"}, pos2=_SECOND, **more)


_SCHEDULES = (
    Shape(name="plain", graph=plain()),
    Shape(
        name="another_sampler",
        graph=plain(ks={"sampler_name": "dpmpp_2m", "scheduler": "karras"}),
        says=_DPM,
    ),
    Shape(
        name="steps_left_out",
        graph=plain(ks={"denoise": 0.5}),
        odd={"denoising_strength": "unresolved"}, extra={"denoise": "0.5"},
    ),
    Shape(name="advanced", graph=plain(ks=_advanced())),
    Shape(
        name="advanced_without_noise",
        graph=plain(ks=_advanced(add_noise="disable")),
        odd={"passes": "unresolved"},
        extra={"add_noise": "disable", "start_at_step": "0", "end_at_step": "10000"},
    ),
    Shape(name="custom", graph=_custom(_BASIC), says=_DPM),
    Shape(
        name="custom_without_noise",
        graph=_custom(_BASIC, ks={"add_noise": False}),
        says=_DPM, odd={"passes": "unresolved"}, extra={"add_noise": "disable"},
    ),
    Shape(
        name="custom_karras",
        graph=_custom(node("KarrasScheduler", steps=2, sigma_max=14.5, sigma_min=0.03, rho=7.0)),
        says=_DPM, extra={"KarrasScheduler": "sigma_max 14.5, sigma_min 0.03, rho 7"},
    ),
    Shape(
        name="custom_of_a_node_with_knobs",
        graph=_custom(_BASIC, how=node("SamplerEulerAncestral", eta=0.5, s_noise=1.0)),
        says={"sampler": "Euler a", "scheduler": "Karras"},
        extra={"SamplerEulerAncestral": "eta 0.5, s_noise 1"},
    ),
    Shape(
        name="high_sigmas_alone",
        graph=_custom(node("SplitSigmas", sigmas="all/0", step=1), all=_BASIC),
        says=_DPM, odd={"passes": "unresolved"},
        extra={"changed_sigmas": "SplitSigmas step 1, high_sigmas"},
    ),
    Shape(
        name="sigmas_changed",
        graph=_custom(node("SetFirstSigma", sigmas="all/0", sigma=9.0), all=_BASIC),
        says=_DPM, odd={"passes": "unresolved"}, extra={"changed_sigmas": "SetFirstSigma sigma 9"},
    ),
)  # fmt: skip

_GUIDERS = (
    Shape(
        name="basic_guider",
        graph=_guided(node("BasicGuider", model="ckpt/0", conditioning="pos/0")),
        says={"cfg_scale": 1, "negative_prompt": ""},
        odd={"cfg_scale": "defaulted", "negative_prompt": "defaulted"},
    ),
    Shape(
        name="cfg_guider",
        graph=_guided(
            node("CFGGuider", model="ckpt/0", positive="pos/0", negative="neg/0", cfg=6.5)
        ),
    ),
    Shape(
        name="dual_cfg_guider",
        graph=_guided(
            node("DualCFGGuider", model="ckpt/0", cond1="pos/0", cond2="pos2/0", negative="neg/0",
                 cfg_conds=6.5, cfg_cond2_negative=3.0, style="regular"),
            pos2=_SECOND,
        ),
        says={"prompt": GONE, "cfg_scale": GONE},
        odd={"prompt": "unresolved", "cfg_scale": "unresolved"},
        extra={"prompt_given": _MIXED,
               "DualCFGGuider": "cfg_conds 6.5, cfg_cond2_negative 3, style regular"},
    ),
    Shape(
        name="perp_neg_guider",
        graph=_guided(
            node("PerpNegGuider", model="ckpt/0", positive="pos/0", negative="neg/0",
                 empty_conditioning="none/0", cfg=6.5, neg_scale=1.5),
            none=node("CLIPTextEncode", text="", clip="ckpt/1"),
        ),
        extra={"PerpNegGuider": "neg_scale 1.5"},
    ),
    Shape(
        name="guided_without_noise",
        graph=_guided(
            node("CFGGuider", model="ckpt/0", positive="pos/0", negative="neg/0", cfg=6.5),
            noise=node("DisableNoise"),
        ),
        says={"seed": GONE}, odd={"seed": "unresolved", "passes": "unresolved"},
        extra={"add_noise": "disable"},
    ),
)  # fmt: skip

_MODELS = (
    Shape(
        name="two_loras",
        graph=plain(
            one=node("LoraLoader", lora_name=LORA, strength_model=0.8, strength_clip=0.8,
                     model="ckpt/0", clip="ckpt/1"),
            two=node("LoraLoaderModelOnly", lora_name=SECOND_LORA, strength_model=0.25,
                     model="one/0"),
            ks={"model": "two/0"}, pos={"clip": "one/1"}, neg={"clip": "one/1"},
        ),
        loras=((LORA, 0.8), (SECOND_LORA, 0.25)),
    ),
    Shape(
        name="lora_with_another_weight_on_texts",
        graph=plain(
            one=node("LoraLoader", lora_name=LORA, strength_model=0.8, strength_clip=0.5,
                     model="ckpt/0", clip="ckpt/1"),
            ks={"model": "one/0"}, pos={"clip": "one/1"}, neg={"clip": "one/1"},
        ),
        loras=((LORA, 0.8),), extra={f"strength_clip {LORA}": "0.5"},
    ),
    Shape(
        name="lora_on_texts_alone",
        graph=plain(
            one=node("LoraLoader", lora_name=LORA, strength_model=0.8, strength_clip=0.5,
                     model="ckpt/0", clip="ckpt/1"),
            pos={"clip": "one/1"}, neg={"clip": "one/1"},
        ),
        loras=((LORA, 0),), extra={f"strength_clip {LORA}": "0.5"},
    ),
    Shape(
        name="clip_skip",
        graph=plain(
            skip=node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip="ckpt/1"),
            pos={"clip": "skip/0"}, neg={"clip": "skip/0"},
        ),
        says={"clip_skip": 2},
    ),
    Shape(
        name="clip_skip_of_one_text",
        graph=plain(
            skip=node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip="ckpt/1"),
            neg={"clip": "skip/0"},
        ),
        odd={"clip_skip": "conflicting"},
    ),
    Shape(
        name="merged_models",
        graph=plain(
            other=node("CheckpointLoaderSimple", ckpt_name=SECOND_CHECKPOINT),
            mix=node("ModelMergeSimple", model1="ckpt/0", model2="other/0", ratio=0.25),
            ks={"model": "mix/0"},
        ),
        says={"model": GONE}, odd={"model": "unresolved"},
        extra={"model_merge": f"tiny.safetensors + {SECOND_CHECKPOINT} (ModelMergeSimple ratio"
               " 0.25)"},
    ),
    Shape(
        name="texts_of_another_checkpoint",
        graph=plain(
            other=node("CheckpointLoaderSimple", ckpt_name=SECOND_CHECKPOINT),
            pos={"clip": "other/1"}, neg={"clip": "other/1"},
        ),
        says={"text_encoders": SECOND_CHECKPOINT},
    ),
    Shape(
        name="patched_model",
        graph=plain(
            free=node("FreeU_V2", model="ckpt/0", b1=1.3, b2=1.4, s1=0.9, s2=0.2),
            less=node("RescaleCFG", model="free/0", multiplier=0.7),
            shift=node("ModelSamplingSD3", model="less/0", shift=3.0),
            ks={"model": "shift/0"},
        ),
        says={"cfg_rescale": 0.7, "shift": 3},
        extra={"FreeU_V2": "b1 1.3, b2 1.4, s1 0.9, s2 0.2"},
    ),
    Shape(
        name="model_told_how_to_sample",
        graph=plain(
            how=node("ModelSamplingDiscrete", model="ckpt/0", sampling="v_prediction", zsnr=True),
            ks={"model": "how/0"},
        ),
        extra={"ModelSamplingDiscrete": "sampling v_prediction, zsnr true"},
    ),
)  # fmt: skip

_TEXTS = (
    Shape(
        name="combined",
        graph=_steered(
            mix=node("ConditioningCombine", conditioning_1="pos/0", conditioning_2="pos2/0")
        ),
        says={"prompt": "a red barn AND a blue door"},
    ),
    Shape(
        name="concatenated",
        graph=_steered(
            mix=node("ConditioningConcat", conditioning_to="pos/0", conditioning_from="pos2/0")
        ),
        says={"prompt": "a red barn BREAK a blue door"},
    ),
    Shape(
        name="concatenated_the_other_way",
        graph=_steered(
            mix=node("ConditioningConcat", conditioning_to="pos2/0", conditioning_from="pos/0")
        ),
        says={"prompt": "a blue door BREAK a red barn"},
    ),
    Shape(
        name="averaged",
        graph=_steered(
            mix=node("ConditioningAverage", conditioning_to="pos/0", conditioning_from="pos2/0",
                     conditioning_to_strength=0.5)
        ),
        says={"prompt": GONE}, odd=_UNRESOLVED,
        extra={"prompt_given": _MIXED, "ConditioningAverage": "conditioning_to_strength 0.5"},
        warns="ConditioningAverage",
    ),
    Shape(
        name="in_an_area",
        graph=_steered(
            area=node("ConditioningSetAreaPercentage", conditioning="pos/0", width=0.5, height=1.0,
                      x=0.0, y=0.0, strength=1.0),
            mix=node("ConditioningCombine", conditioning_1="area/0", conditioning_2="pos2/0"),
        ),
        says={"prompt": GONE}, odd=_UNRESOLVED,
        extra={"prompt_given": _MIXED,
               "ConditioningSetAreaPercentage": "width 0.5, height 1, x 0, y 0, strength 1"},
    ),
    Shape(
        name="one_after_the_other",
        graph=_steered(
            early=node("ConditioningSetTimestepRange", conditioning="pos/0", start=0.0, end=0.5),
            late=node("ConditioningSetTimestepRange", conditioning="pos2/0", start=0.5, end=1.0),
            mix=node("ConditioningCombine", conditioning_1="early/0", conditioning_2="late/0"),
        ),
        says={"prompt": GONE}, odd=_UNRESOLVED,
        extra={"prompt_given": _MIXED,
               "ConditioningSetTimestepRange": "start 0, end 0.5; start 0.5, end 1"},
    ),
    Shape(
        name="stronger",
        graph=plain(
            mix=node("ConditioningSetAreaStrength", conditioning="pos/0", strength=1.5),
            ks={"positive": "mix/0"},
        ),
        says={"prompt": GONE}, odd=_UNRESOLVED,
        extra={"prompt_given": "a red barn", "ConditioningSetAreaStrength": "strength 1.5"},
    ),
    Shape(
        name="set_to_zero",
        graph=plain(
            zero=node("ConditioningZeroOut", conditioning="neg/0"), ks={"negative": "zero/0"}
        ),
        says={"negative_prompt": ""},
    ),
    Shape(
        name="guidance_of_flux",
        graph=plain(
            strong=node("FluxGuidance", conditioning="pos/0", guidance=3.5),
            ks={"positive": "strong/0"},
        ),
        says={"guidance": 3.5},
    ),
    Shape(
        name="values_of_primitives",
        graph=plain(
            seed=node("PrimitiveInt", value=1234567890123), text=node("PrimitiveString", value="a"),
            steps=node("PrimitiveInt", value=3), scale=node("PrimitiveFloat", value=4.5),
            more=node("PrimitiveStringMultiline", value="red barn"),
            joined=node("StringConcatenate", string_a="text/0", string_b="more/0", delimiter=" "),
            side=node("PrimitiveInt", value=64),
            ks={"seed": "seed/0", "steps": "steps/0", "cfg": "scale/0"},
            pos={"text": "joined/0"}, latent={"width": "side/0"},
        ),
        says={"seed": 1234567890123, "steps": 3, "cfg_scale": 4.5, "width": 64},
        size=(64, 48),
    ),
    Shape(
        name="text_that_a_node_changes",
        graph=plain(
            text=node("StringReplace", string="a red barn", find="red", replace="blue"),
            pos={"text": "text/0"},
        ),
        says={"prompt": GONE}, odd=_UNRESOLVED, extra={"prompt_given": "a red barn"},
        warns="StringReplace",
    ),
)  # fmt: skip

_BEGINNINGS = (
    Shape(
        name="img2img",
        graph=plain(**_LOAD, ks={"latent_image": "enc/0", "denoise": 0.6}),
        stage="img2img", says={"denoising_strength": 0.6}, extra={"init_image": SOURCE},
    ),
    Shape(
        name="inpainted",
        graph=plain(
            **_LOAD | {"enc": node("VAEEncodeForInpaint", pixels="load/0", vae="ckpt/2",
                                   mask="mask/0", grow_mask_by=6)},
            mask=node("LoadImageMask", image=SOURCE, channel="red"),
            ks={"latent_image": "enc/0"},
        ),
        stage="img2img", says={"denoising_strength": 1},
        extra={"init_image": SOURCE, "mask": f"{SOURCE} (red)"},
    ),
    Shape(
        name="inpainted_by_noise_mask",
        graph=plain(
            **_LOAD, only=node("SetLatentNoiseMask", samples="enc/0", mask="load/1"),
            ks={"latent_image": "only/0", "denoise": 0.6},
        ),
        stage="img2img", says={"denoising_strength": 0.6},
        extra={"init_image": SOURCE, "mask": SOURCE},
    ),
    Shape(
        name="advanced_on_an_image",
        graph=plain(**_LOAD, ks=_advanced(start_at_step=1, latent_image="enc/0")),
        stage="img2img", odd={"denoising_strength": "unresolved", "passes": "unresolved"},
        extra={"init_image": SOURCE, "start_at_step": "1", "end_at_step": "10000"},
    ),
    Shape(
        name="low_sigmas_on_an_image",
        graph=_custom(
            _BASIC, ks={"latent_image": "enc/0", "sigmas": "low/1"},
            low=node("SplitSigmas", sigmas="sigmas/0", step=1), **_LOAD,
        ),
        stage="img2img", says=_DPM,
        odd={"denoising_strength": "unresolved", "passes": "unresolved"},
        extra={"init_image": SOURCE, "changed_sigmas": "SplitSigmas step 1, low_sigmas"},
    ),
    Shape(
        name="batch",
        graph=plain(latent={"batch_size": 4}),
        says={"seed": GONE, "batch_size": 4}, odd={"seed": "unresolved"},
        extra={"batch_seed": "42"},
    ),
    Shape(
        name="repeated_batch",
        graph=plain(
            rep=node("RepeatLatentBatch", samples="latent/0", amount=3),
            ks={"latent_image": "rep/0"},
        ),
        says={"seed": GONE, "batch_size": 3}, odd={"seed": "unresolved"},
        extra={"batch_seed": "42"},
    ),
    Shape(
        name="batch_repeated",
        graph=plain(
            latent={"batch_size": 2}, rep=node("RepeatLatentBatch", samples="latent/0", amount=2),
            ks={"latent_image": "rep/0"},
        ),
        says={"seed": GONE, "batch_size": 4}, odd={"seed": "unresolved"},
        extra={"batch_seed": "42"},
    ),
    Shape(
        name="one_of_a_batch",
        graph=plain(
            latent={"batch_size": 4},
            pick=node("LatentFromBatch", samples="latent/0", batch_index=2, length=1),
            ks={"latent_image": "pick/0"},
        ),
        says={"seed": GONE, "batch_size": 4}, odd={"seed": "unresolved"},
        extra={"batch_seed": "42"},
    ),
    Shape(
        name="joined_batch",
        graph=plain(
            latent2=node("EmptyLatentImage", width=32, height=48, batch_size=1),
            both=node("LatentBatch", samples1="latent/0", samples2="latent2/0"),
            ks={"latent_image": "both/0"},
        ),
        says={"seed": GONE, "batch_size": 2}, odd={"seed": "unresolved"},
        extra={"batch_seed": "42"},
    ),
)  # fmt: skip

SAMPLER_SHAPES = (*_SCHEDULES, *_GUIDERS, *_MODELS, *_TEXTS, *_BEGINNINGS)
