"""Random weights in the shape of Stable Diffusion 1.x, as small as ComfyUI still recognises.

ComfyUI tells a model by its keys and shapes: context width 768, 320 channels, convolutional
projections. Depth and width multipliers are read from the keys, so a network of 41 million
weights passes; the text encoder's shape is fixed, and a tiny autoencoder stands in for the VAE.
Nothing here is trained: what it draws are deterministic blotches, which is what tests need.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

__all__ = ["write_checkpoint", "write_lora", "write_upscaler"]


class _Tensors:
    """Names, shapes and the spread of the values, in the order they are written."""

    def __init__(self) -> None:
        self.shapes: dict[str, tuple[tuple[int, ...], float | None]] = {}

    def weight(self, name: str, *shape: int, scale: float = 1.0) -> None:
        fan_in = max(1, int(np.prod(shape[1:])))
        self.shapes[name] = (shape, scale / fan_in**0.5)

    def filled(self, name: str, value: float, *shape: int) -> None:
        self.shapes[name] = (shape, None if value else 0.0)

    def linear(self, name: str, into: int, out: int, *, bias: bool = True) -> None:
        self.weight(f"{name}.weight", out, into)
        if bias:
            self.filled(f"{name}.bias", 0, out)

    def conv(
        self,
        name: str,
        into: int,
        out: int,
        kernel: int = 3,
        *,
        bias: bool = True,
        scale: float = 1.0,
    ) -> None:
        self.weight(f"{name}.weight", out, into, kernel, kernel, scale=scale)
        if bias:
            self.filled(f"{name}.bias", 0, out)

    def norm(self, name: str, channels: int) -> None:
        self.filled(f"{name}.weight", 1, channels)
        self.filled(f"{name}.bias", 0, channels)


def write_checkpoint(path: Path, *, seed: int = 1) -> None:
    """Write a checkpoint of UNet, CLIP-L and TAESD; about 340 MB, 3 seconds."""
    tensors = _Tensors()
    _unet(tensors)
    _text_encoder(tensors)
    _autoencoder(tensors)
    _write(path, tensors, seed)


def write_upscaler(path: Path, *, seed: int = 1) -> None:
    """Write a Real-ESRGAN x4 network of one block; under 2 MB."""
    tensors = _Tensors()
    tensors.conv("conv_first", 3, 64)
    for rdb in (1, 2, 3):
        for k in range(5):
            out = 32 if k < 4 else 64
            tensors.conv(f"body.0.rdb{rdb}.conv{k + 1}", 64 + k * 32, out, scale=0.2)
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        tensors.conv(name, 64, 64)
    tensors.conv("conv_last", 64, 3)
    _write(path, tensors, seed)


def write_lora(path: Path, *, seed: int = 1) -> None:
    """Write a LoRA that bends one attention layer hard enough to be seen."""
    tensors = _Tensors()
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0"
    tensors.weight(f"{layer}.lora_down.weight", 4, 320, scale=20.0)
    tensors.weight(f"{layer}.lora_up.weight", 320, 4, scale=20.0)
    _write(path, tensors, seed)


def _residual(tensors: _Tensors, name: str, into: int, out: int) -> None:
    tensors.norm(f"{name}.in_layers.0", into)
    tensors.conv(f"{name}.in_layers.2", into, out)
    tensors.linear(f"{name}.emb_layers.1", 1280, out)
    tensors.norm(f"{name}.out_layers.0", out)
    tensors.conv(f"{name}.out_layers.3", out, out)
    if into != out:
        tensors.conv(f"{name}.skip_connection", into, out, 1)


def _attention(tensors: _Tensors, name: str) -> None:
    tensors.norm(f"{name}.norm", 320)
    tensors.conv(f"{name}.proj_in", 320, 320, 1)
    block = f"{name}.transformer_blocks.0"
    for attention, context in (("attn1", 320), ("attn2", 768)):
        tensors.linear(f"{block}.{attention}.to_q", 320, 320, bias=False)
        tensors.linear(f"{block}.{attention}.to_k", context, 320, bias=False)
        tensors.linear(f"{block}.{attention}.to_v", context, 320, bias=False)
        tensors.linear(f"{block}.{attention}.to_out.0", 320, 320)
    tensors.linear(f"{block}.ff.net.0.proj", 320, 2560)
    tensors.linear(f"{block}.ff.net.2", 1280, 320)
    for number in (1, 2, 3):
        tensors.norm(f"{block}.norm{number}", 320)
    tensors.conv(f"{name}.proj_out", 320, 320, 1)


def _unet(tensors: _Tensors) -> None:
    """Two levels of one residual block each, multipliers (1, 1)."""
    root = "model.diffusion_model."
    tensors.linear(f"{root}time_embed.0", 320, 1280)
    tensors.linear(f"{root}time_embed.2", 1280, 1280)
    tensors.conv(f"{root}input_blocks.0.0", 4, 320)
    for number in (1, 3):
        _residual(tensors, f"{root}input_blocks.{number}.0", 320, 320)
        _attention(tensors, f"{root}input_blocks.{number}.1")
    tensors.conv(f"{root}input_blocks.2.0.op", 320, 320)
    _residual(tensors, f"{root}middle_block.0", 320, 320)
    _attention(tensors, f"{root}middle_block.1")
    _residual(tensors, f"{root}middle_block.2", 320, 320)
    for number in range(4):
        _residual(tensors, f"{root}output_blocks.{number}.0", 640, 320)
        _attention(tensors, f"{root}output_blocks.{number}.1")
    tensors.conv(f"{root}output_blocks.1.2.conv", 320, 320)
    tensors.norm(f"{root}out.0", 320)
    tensors.conv(f"{root}out.2", 320, 4)


def _text_encoder(tensors: _Tensors) -> None:
    root = "cond_stage_model.transformer.text_model."
    tensors.shapes[f"{root}embeddings.token_embedding.weight"] = ((49408, 768), 0.02)
    tensors.shapes[f"{root}embeddings.position_embedding.weight"] = ((77, 768), 0.02)
    for layer in range(12):
        block = f"{root}encoder.layers.{layer}."
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            tensors.linear(f"{block}self_attn.{projection}", 768, 768)
        tensors.norm(f"{block}layer_norm1", 768)
        tensors.norm(f"{block}layer_norm2", 768)
        tensors.linear(f"{block}mlp.fc1", 768, 3072)
        tensors.linear(f"{block}mlp.fc2", 3072, 768)
    tensors.norm(f"{root}final_layer_norm", 768)


def _autoencoder(tensors: _Tensors) -> None:
    """TAESD: its encoder and its decoder, numbered as torch.nn.Sequential numbers them."""

    def block(name: str) -> None:
        for number in (0, 2, 4):
            tensors.conv(f"{name}.conv.{number}", 64, 64, scale=0.7)

    encoder = "first_stage_model.taesd_encoder."
    tensors.conv(f"{encoder}0", 3, 64)
    block(f"{encoder}1")
    for start in (2, 6, 10):
        tensors.conv(f"{encoder}{start}", 64, 64, bias=False)
        for number in range(start + 1, start + 4):
            block(f"{encoder}{number}")
    tensors.conv(f"{encoder}14", 64, 4)
    decoder = "first_stage_model.taesd_decoder."
    tensors.conv(f"{decoder}1", 4, 64)
    for start in (3, 8, 13):
        for number in range(start, start + 3):
            block(f"{decoder}{number}")
        tensors.conv(f"{decoder}{start + 4}", 64, 64, bias=False)
    block(f"{decoder}18")
    tensors.conv(f"{decoder}19", 64, 3, scale=0.3)
    tensors.filled("first_stage_model.vae_scale", 1)
    tensors.filled("first_stage_model.vae_shift", 0)


def _write(path: Path, tensors: _Tensors, seed: int) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, (shape, _) in tensors.shapes.items():
        size = 2 * int(np.prod(shape))
        header[name] = {
            "dtype": "F16",
            "shape": list(shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for data in _values(tensors, np.random.default_rng(seed)):
            file.write(data)
    unfinished.replace(path)


def _values(tensors: _Tensors, rng: np.random.Generator) -> Iterator[bytes]:
    for shape, spread in tensors.shapes.values():
        count = int(np.prod(shape))
        if spread is None:
            yield np.ones(count, np.float16).tobytes()
        else:
            normal = rng.standard_normal(count, dtype=np.float32) * np.float32(spread)
            yield normal.astype(np.float16).tobytes()
