"""Pipelines of sixteen kinds with random weights: built offline, small enough to draw at once.

Sizes are the smallest that each class takes; what a picture shows means nothing, that it changes
does. The weights of a family are the same every time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backends.diffusers_engine.tiny_pipeline import byte_characters, tiny_tokenizer

_DOWN, _UP = ("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4
_SPECIAL = ("<pad>", "<eos>", "<bos>", "<|im_start|>", "<|im_end|>")
_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}"
    "{% else %}{% for c in m['content'] %}{{ c['text'] }}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def save_tiny_family(name: str, folder: Path) -> Path:
    """Write the random pipeline of one family in diffusers' layout to *folder*, and return it."""
    import torch

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as scratch:
        FAMILIES[name](Path(scratch)).save_pretrained(str(folder))
    return folder


def _clip_words(folder: Path) -> Any:
    return tiny_tokenizer(folder / f"words{len(list(folder.iterdir()))}")


def _byte_words() -> Any:
    """Return a tokenizer of single bytes with a chat template."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    words = {word: number for number, word in enumerate([*_SPECIAL, *byte_characters()])}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>",
        model_max_length=2048,
    )  # fmt: skip
    fast.chat_template = _CHAT
    return fast


def _clip(*, projected: bool = False, positions: int = 77) -> Any:
    import transformers

    cls = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return cls(
        transformers.CLIPTextConfig(
            vocab_size=514, hidden_size=32, intermediate_size=64, num_hidden_layers=3,
            num_attention_heads=4, max_position_embeddings=positions, projection_dim=32,
            bos_token_id=512, eos_token_id=513, pad_token_id=513,
        )
    )  # fmt: skip


def _t5(width: int = 32) -> Any:
    import transformers

    return transformers.T5EncoderModel(
        transformers.T5Config(
            d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=4, vocab_size=400,
            feed_forward_proj="gated-gelu",
        )
    )  # fmt: skip


def _qwen_vl() -> Any:
    import transformers

    rope = {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"}
    text = {
        "vocab_size": 400, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 2, "rope_scaling": rope,
        "rope_theta": 1e6, "bos_token_id": 2, "eos_token_id": 1,
    }  # fmt: skip
    eyes = {"depth": 2, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2,
            "out_hidden_size": 16}  # fmt: skip
    return transformers.Qwen2_5_VLForConditionalGeneration(
        transformers.Qwen2_5_VLConfig(
            text_config=text, vision_config=eyes, vision_end_token_id=399,
            vision_start_token_id=398, vision_token_id=397, image_token_id=396,
            video_token_id=395,
        )
    ).eval()  # fmt: skip


def _qwen3(layers: int) -> Any:
    import transformers

    return transformers.Qwen3Config(
        hidden_size=16, intermediate_size=16, num_hidden_layers=layers, num_attention_heads=2,
        num_key_value_heads=2, vocab_size=400, max_position_embeddings=2048, head_dim=8,
        bos_token_id=2, eos_token_id=1,
    )  # fmt: skip


def _gemma2() -> Any:
    import transformers

    return transformers.Gemma2Model(
        transformers.Gemma2Config(
            head_dim=8, hidden_size=16, intermediate_size=32, num_attention_heads=2,
            num_hidden_layers=2, num_key_value_heads=2, vocab_size=400,
            max_position_embeddings=2048,
        )
    )  # fmt: skip


def _vae(latent: int = 4, shift: float | None = None, *, blocks: int = 4) -> Any:
    from diffusers import AutoencoderKL

    plain = {} if shift is None else {
        "shift_factor": shift, "use_quant_conv": False, "use_post_quant_conv": False,
    }  # fmt: skip
    return AutoencoderKL(
        block_out_channels=(16,) * blocks, norm_num_groups=8, latent_channels=latent,
        layers_per_block=1, down_block_types=_DOWN[:blocks], up_block_types=_UP[:blocks], **plain,
    )  # fmt: skip


def _flow(**options: Any) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(**options)


def _unet(**options: Any) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=8, layers_per_block=1, block_out_channels=(32, 64), norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=8,
        **{"cross_attention_dim": 32, **options},
    )  # fmt: skip


def _sdxl(scratch: Path) -> Any:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    return StableDiffusionXLPipeline(
        vae=_vae(), text_encoder=_clip(), text_encoder_2=_clip(projected=True),
        tokenizer=_clip_words(scratch), tokenizer_2=_clip_words(scratch),
        unet=_unet(
            cross_attention_dim=64, addition_embed_type="text_time", addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=80, use_linear_projection=True,
        ),
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
            timestep_spacing="leading",
        ),
    )  # fmt: skip


def _lcm(scratch: Path) -> Any:
    from diffusers import LatentConsistencyModelPipeline, LCMScheduler

    return LatentConsistencyModelPipeline(
        vae=_vae(), text_encoder=_clip(), tokenizer=_clip_words(scratch),
        unet=_unet(time_cond_proj_dim=32), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
        scheduler=LCMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
        ),
    )  # fmt: skip


def _sd3(scratch: Path) -> Any:
    from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline

    return StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=32, patch_size=2, in_channels=16, num_layers=2, attention_head_dim=8,
            num_attention_heads=4, caption_projection_dim=32, joint_attention_dim=64,
            pooled_projection_dim=64, out_channels=16, pos_embed_max_size=32,
        ),
        scheduler=_flow(shift=3.0), vae=_vae(16, 0.0609),
        text_encoder=_clip(projected=True), tokenizer=_clip_words(scratch),
        text_encoder_2=_clip(projected=True), tokenizer_2=_clip_words(scratch),
        text_encoder_3=_t5(64), tokenizer_3=_byte_words(),
    )  # fmt: skip


def _kontext(scratch: Path) -> Any:
    from diffusers import FluxKontextPipeline, FluxTransformer2DModel

    return FluxKontextPipeline(
        transformer=FluxTransformer2DModel(
            patch_size=1, in_channels=64, num_layers=1, num_single_layers=1,
            attention_head_dim=16, num_attention_heads=2, joint_attention_dim=32,
            pooled_projection_dim=32, axes_dims_rope=(4, 4, 8), guidance_embeds=True,
        ),
        scheduler=_flow(use_dynamic_shifting=True, shift=3.0), vae=_vae(16, 0.1159),
        text_encoder=_clip(), tokenizer=_clip_words(scratch),
        text_encoder_2=_t5(), tokenizer_2=_byte_words(),
    )  # fmt: skip


def _flux(scratch: Path) -> Any:
    from diffusers import FluxPipeline

    return FluxPipeline(**_kontext(scratch).components)


def _chroma(_: Path) -> Any:
    from diffusers import ChromaPipeline, ChromaTransformer2DModel

    return ChromaPipeline(
        transformer=ChromaTransformer2DModel(
            patch_size=1, in_channels=64, num_layers=1, num_single_layers=1,
            attention_head_dim=16, num_attention_heads=2, joint_attention_dim=32,
            axes_dims_rope=(4, 4, 8), approximator_hidden_dim=32, approximator_layers=1,
            approximator_num_channels=16,
        ),
        scheduler=_flow(), vae=_vae(16, 0.1159), text_encoder=_t5(), tokenizer=_byte_words(),
    )  # fmt: skip


def _qwen_image(_: Path) -> Any:
    from diffusers import AutoencoderKLQwenImage, QwenImagePipeline, QwenImageTransformer2DModel

    return QwenImagePipeline(
        transformer=QwenImageTransformer2DModel(
            patch_size=2, in_channels=64, out_channels=16, num_layers=2, attention_head_dim=16,
            num_attention_heads=3, joint_attention_dim=16, guidance_embeds=False,
            axes_dims_rope=(8, 4, 4),
        ),
        scheduler=_flow(use_dynamic_shifting=True),
        vae=AutoencoderKLQwenImage(
            base_dim=24, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
            temperal_downsample=[False, True, True], latents_mean=[0.0] * 16,
            latents_std=[1.0] * 16,
        ),
        text_encoder=_qwen_vl(), tokenizer=_byte_words(),
    )  # fmt: skip


def _z_image(_: Path) -> Any:
    import torch
    import transformers
    from diffusers import ZImagePipeline, ZImageTransformer2DModel

    transformer = ZImageTransformer2DModel(
        all_patch_size=(2,), all_f_patch_size=(1,), in_channels=16, dim=32, n_layers=2,
        n_refiner_layers=1, n_heads=2, n_kv_heads=2, norm_eps=1e-5, qk_norm=True,
        cap_feat_dim=16, rope_theta=256.0, t_scale=1000.0, axes_dims=[8, 4, 4],
        axes_lens=[1024, 64, 64],
    )  # fmt: skip
    with torch.no_grad():  # they are made empty, and hold whatever memory held
        transformer.x_pad_token.fill_(1)
        transformer.cap_pad_token.fill_(1)
    return ZImagePipeline(
        transformer=transformer, scheduler=_flow(shift=3.0), vae=_vae(16, 0.1159),
        text_encoder=transformers.Qwen3Model(_qwen3(2)), tokenizer=_byte_words(),
    )  # fmt: skip


def _sana(_: Path) -> Any:
    from diffusers import (
        AutoencoderDC,
        DPMSolverMultistepScheduler,
        SanaPipeline,
        SanaTransformer2DModel,
    )

    blocks = ("ResBlock", "EfficientViTBlock")
    return SanaPipeline(
        transformer=SanaTransformer2DModel(
            patch_size=1, in_channels=4, out_channels=4, num_layers=1, num_attention_heads=2,
            attention_head_dim=4, num_cross_attention_heads=2, cross_attention_head_dim=4,
            cross_attention_dim=8, caption_channels=16, sample_size=32,
        ),
        vae=AutoencoderDC(
            in_channels=3, latent_channels=4, attention_head_dim=2, encoder_block_types=blocks,
            decoder_block_types=blocks, encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8), encoder_qkv_multiscales=((), (5,)),
            decoder_qkv_multiscales=((), (5,)), encoder_layers_per_block=(1, 1),
            decoder_layers_per_block=(1, 1), downsample_block_type="conv",
            upsample_block_type="interpolate", decoder_norm_types="rms_norm",
            decoder_act_fns="silu", scaling_factor=0.41407,
        ),
        scheduler=DPMSolverMultistepScheduler(
            use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0
        ),
        text_encoder=_gemma2(), tokenizer=_byte_words(),
    )  # fmt: skip


def _lumina2(_: Path) -> Any:
    from diffusers import Lumina2Pipeline, Lumina2Transformer2DModel

    return Lumina2Pipeline(
        transformer=Lumina2Transformer2DModel(
            sample_size=4, patch_size=2, in_channels=16, hidden_size=24, num_layers=2,
            num_refiner_layers=1, num_attention_heads=3, num_kv_heads=1, multiple_of=2,
            ffn_dim_multiplier=None, norm_eps=1e-5, scaling_factor=1.0, axes_dim_rope=(4, 2, 2),
            cap_feat_dim=16,
        ),
        vae=_vae(16, 0.1159), scheduler=_flow(shift=6.0), text_encoder=_gemma2(),
        tokenizer=_byte_words(),
    )  # fmt: skip


def _klein(_: Path, *, distilled: bool = False) -> Any:
    import transformers
    from diffusers import AutoencoderKLFlux2, Flux2KleinPipeline, Flux2Transformer2DModel

    return Flux2KleinPipeline(
        transformer=Flux2Transformer2DModel(
            patch_size=1, in_channels=16, num_layers=1, num_single_layers=1,
            attention_head_dim=16, num_attention_heads=2, joint_attention_dim=48,
            timestep_guidance_channels=256, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=False,
        ),
        vae=AutoencoderKLFlux2(
            sample_size=32, in_channels=3, out_channels=3, down_block_types=_DOWN,
            up_block_types=_UP, block_out_channels=(16,) * 4, layers_per_block=1,
            latent_channels=4, norm_num_groups=8, use_quant_conv=False,
            use_post_quant_conv=False,
        ),
        # It reads the 27th layer.
        text_encoder=transformers.Qwen3ForCausalLM(_qwen3(28)), tokenizer=_byte_words(),
        scheduler=_flow(use_dynamic_shifting=True), is_distilled=distilled,
    )  # fmt: skip


def _klein_distilled(scratch: Path) -> Any:
    return _klein(scratch, distilled=True)


def _pixart(_: Path) -> Any:
    from diffusers import (
        DPMSolverMultistepScheduler,
        PixArtSigmaPipeline,
        PixArtTransformer2DModel,
    )

    return PixArtSigmaPipeline(
        transformer=PixArtTransformer2DModel(
            sample_size=32, num_layers=2, patch_size=2, attention_head_dim=8,
            num_attention_heads=3, caption_channels=32, in_channels=4, cross_attention_dim=24,
            out_channels=8, attention_bias=True, activation_fn="gelu-approximate",
            num_embeds_ada_norm=1000, norm_type="ada_norm_single",
            norm_elementwise_affine=False, norm_eps=1e-6,
        ),
        vae=_vae(), scheduler=DPMSolverMultistepScheduler(), text_encoder=_t5(),
        tokenizer=_byte_words(),
    )  # fmt: skip


def _hidream(scratch: Path) -> Any:
    import transformers
    from diffusers import HiDreamImagePipeline, HiDreamImageTransformer2DModel

    llama = transformers.LlamaConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, vocab_size=400,
    )  # fmt: skip
    return HiDreamImagePipeline(
        transformer=HiDreamImageTransformer2DModel(
            patch_size=2, in_channels=4, out_channels=4, num_layers=1, num_single_layers=1,
            attention_head_dim=8, num_attention_heads=4, caption_channels=[32, 16],
            text_emb_dim=64, num_routed_experts=4, num_activated_experts=2,
            axes_dims_rope=(4, 2, 2), max_resolution=(128, 128), llama_layers=(0, 1),
        ),
        # Every picture has 128 x 128 latents: with fewer blocks that are fewer pixels.
        vae=_vae(4, 0.1159, blocks=2), scheduler=_flow(),
        text_encoder=_clip(projected=True, positions=128), tokenizer=_clip_words(scratch),
        text_encoder_2=_clip(projected=True, positions=128), tokenizer_2=_clip_words(scratch),
        text_encoder_3=_t5(), tokenizer_3=_byte_words(),
        text_encoder_4=transformers.LlamaForCausalLM(llama), tokenizer_4=_byte_words(),
    )  # fmt: skip


def _kandinsky5(scratch: Path) -> Any:
    import torch
    from diffusers import Kandinsky5T2IPipeline, Kandinsky5Transformer3DModel

    transformer = Kandinsky5Transformer3DModel(
        in_visual_dim=16, in_text_dim=16, in_text_dim2=32, time_dim=16, out_visual_dim=16,
        patch_size=(1, 2, 2), model_dim=16, ff_dim=32, num_text_blocks=1, num_visual_blocks=1,
        axes_dims=(1, 1, 2), visual_cond=False, attention_type="regular",
    )  # fmt: skip
    with torch.no_grad():  # its gates begin shut, and nothing would come through
        for values in transformer.parameters():
            values.normal_(std=0.3)
    return Kandinsky5T2IPipeline(
        vae=_vae(16, 0.1159), text_encoder=_qwen_vl(), tokenizer=_byte_words(),
        text_encoder_2=_clip(), tokenizer_2=_clip_words(scratch), transformer=transformer,
        scheduler=_flow(shift=7.0),
    )  # fmt: skip


def _hunyuan_image(_: Path) -> Any:
    import transformers
    from diffusers import (
        AutoencoderKLHunyuanImage,
        HunyuanImagePipeline,
        HunyuanImageTransformer2DModel,
    )
    from diffusers.guiders import AdaptiveProjectedMixGuidance

    return HunyuanImagePipeline(
        transformer=HunyuanImageTransformer2DModel(
            in_channels=4, out_channels=4, num_attention_heads=4, attention_head_dim=8,
            num_layers=1, num_single_layers=1, num_refiner_layers=1, patch_size=(1, 1),
            guidance_embeds=False, text_embed_dim=16, text_embed_2_dim=32, rope_axes_dim=(4, 4),
        ),
        vae=AutoencoderKLHunyuanImage(
            in_channels=3, out_channels=3, latent_channels=4,
            block_out_channels=(32, 64, 64, 64), layers_per_block=1, scaling_factor=0.476986,
            spatial_compression_ratio=8, sample_size=128,
        ),
        scheduler=_flow(shift=7.0), text_encoder=_qwen_vl(), tokenizer=_byte_words(),
        text_encoder_2=_t5(), tokenizer_2=transformers.ByT5Tokenizer(),
        guider=AdaptiveProjectedMixGuidance(), ocr_guider=AdaptiveProjectedMixGuidance(),
    )  # fmt: skip


FAMILIES: dict[str, Callable[[Path], Any]] = {
    "sdxl": _sdxl, "lcm": _lcm, "sd3": _sd3, "flux": _flux, "kontext": _kontext, "chroma": _chroma,
    "qwen-image": _qwen_image, "z-image": _z_image, "sana": _sana, "lumina2": _lumina2,
    "klein": _klein, "klein-distilled": _klein_distilled, "pixart": _pixart,
    "hidream": _hidream, "kandinsky5": _kandinsky5, "hunyuan-image": _hunyuan_image,
}  # fmt: skip
