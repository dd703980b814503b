"""A real Stable Diffusion pipeline with random weights: 4 MB, built in seconds, offline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def byte_characters() -> list[str]:
    """Return CLIP's printable stand-ins for the 256 bytes (the rule of byte-level BPE)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    shifted = [byte for byte in range(256) if byte not in printable]
    codes = printable + [256 + place for place in range(len(shifted))]
    return [chr(code) for code in codes]


def tiny_tokenizer(folder: Path) -> Any:
    """Return a CLIP tokenizer that knows single characters only."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True)
    signs = byte_characters()
    words = [*signs, *(sign + "</w>" for sign in signs), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    return CLIPTokenizer.from_pretrained(str(folder), model_max_length=77)


def save_tiny_pipeline(folder: Path, seed: int = 0) -> Path:
    """Write a random Stable Diffusion 1 in diffusers' layout to *folder*, and return it."""
    import torch
    from diffusers import (
        AutoencoderKL,
        PNDMScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=8, layers_per_block=1, block_out_channels=(32, 64), norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32, attention_head_dim=8,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(16,) * 4, norm_num_groups=8, latent_channels=4, layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=514, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=77, projection_dim=32,
            bos_token_id=512, eos_token_id=513, pad_token_id=513,
        )
    )  # fmt: skip
    scheduler = PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        skip_prk_steps=True, steps_offset=1, set_alpha_to_one=False,
    )  # fmt: skip
    pipeline = StableDiffusionPipeline(
        vae=vae, text_encoder=text_encoder, tokenizer=tiny_tokenizer(folder / "raw"), unet=unet,
        scheduler=scheduler, safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(str(folder / "model"))
    return folder / "model"


def save_tiny_flux(folder: Path, *, distilled: bool = True) -> Path:
    """Write a random FLUX.1 in diffusers' layout to *folder*, and return it.

    Args:
        folder: Where to.
        distilled: Whether it takes guidance as FLUX.1-dev does; FLUX.1-schnell takes none.
    """
    import torch
    from diffusers import (
        AutoencoderKL,
        FlowMatchEulerDiscreteScheduler,
        FluxPipeline,
        FluxTransformer2DModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

    torch.manual_seed(0)
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8), guidance_embeds=distilled,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(16,) * 4, norm_num_groups=8, latent_channels=4, layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.0609, scaling_factor=1.5,
    )  # fmt: skip
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=514, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=77, projection_dim=32,
            bos_token_id=512, eos_token_id=513, pad_token_id=513,
        )
    )  # fmt: skip
    second = T5EncoderModel(
        T5Config(vocab_size=514, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4)
    )
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=distilled),
        vae=vae, text_encoder=text_encoder, tokenizer=tiny_tokenizer(folder / "raw"),
        text_encoder_2=second, tokenizer_2=tiny_tokenizer(folder / "raw_2"),
        transformer=transformer,
    )  # fmt: skip
    pipeline.save_pretrained(str(folder / "model"))
    return folder / "model"
