"""The denoiser: a small U-Net that reads a caption and removes noise from a picture.

The network sees unit-variance input at every noise level (Karras et al. 2022, EDM,
arXiv:2206.00364). The U-Net is the usual one of residual blocks with scale-and-shift
modulation and attention (Ho et al. 2020, arXiv:2006.11239; Dhariwal and Nichol 2021,
arXiv:2105.05233).

Three decisions make it learn in little time. The picture is folded by 4 (pixel unshuffle), so
that the largest feature map is a quarter of the picture's side. The network predicts the clean
picture itself, where EDM predicts a mix with the noise: each place has 48 numbers and 64
channels, too few to carry the noise through as well, and what is lost stays in the picture as
grain (Li and He 2025, arXiv:2511.13720, make the point for transformers). And the caption also
draws directly on the feature maps through two linear "layout" layers, a shorter way than
cross-attention for a short training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.captions import MAX_TOKENS, PADDING

HEAD_CHANNELS = 32
LAYOUT_CHANNELS = 48
LOWEST_FREQUENCY, HIGHEST_FREQUENCY = 0.5, 60.0
MASKED = -1e4
"""Added to attention logits of padding; finite, so that half precision stays finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """Everything that decides the network's shape.

    Attributes:
        vocabulary: Number of known words.
        image_size: Side of the square picture in pixels.
        fold: Pixel-unshuffle factor; the largest feature map is ``image_size / fold`` wide.
        channels: Channels at each of the three resolutions, large to small.
        embedding: Width of the joint noise-level and caption vector.
        context: Width of a caption token.
        sigma_data: Standard deviation of the normalised pictures.
    """

    vocabulary: int
    image_size: int = 64
    fold: int = 4
    channels: tuple[int, int, int] = (64, 128, 192)
    embedding: int = 256
    context: int = 160
    sigma_data: float = 0.5


def group_norm(channels: int) -> nn.GroupNorm:
    """Return the normalisation used throughout."""
    return nn.GroupNorm(8, channels, eps=1e-5)


def zero(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    """Make *layer* start as zero, so that its block starts as the identity."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Multi-head dot-product attention over (batch, places, channels)."""
    batch, places, channels = query.shape
    heads = channels // HEAD_CHANNELS

    def split(tensor: Tensor) -> Tensor:
        return tensor.view(batch, -1, heads, HEAD_CHANNELS).transpose(1, 2)

    logits = split(query) @ split(key).transpose(-1, -2) * HEAD_CHANNELS**-0.5
    if mask is not None:
        logits = logits + mask
    mixed = logits.softmax(-1) @ split(value)
    result: Tensor = mixed.transpose(1, 2).reshape(batch, places, channels)
    return result


class ResidualBlock(nn.Module):
    """Two convolutions around a scale and shift that the embedding decides."""

    def __init__(self, inputs: int, outputs: int, embedding: int) -> None:
        super().__init__()
        self.norm_in = group_norm(inputs)
        self.conv_in = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * outputs)
        self.norm_out = group_norm(outputs)
        self.conv_out = zero(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, features: Tensor, embedding: Tensor) -> Tensor:
        """Return the changed *features* (batch, outputs, height, width)."""
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, 1)
        hidden = self.conv_in(functional.silu(self.norm_in(features)))
        hidden = self.norm_out(hidden) * (1 + scale) + shift
        result: Tensor = self.shortcut(features) + self.conv_out(functional.silu(hidden))
        return result


class AttentionBlock(nn.Module):
    """Every place looks at every place, and at the caption."""

    def __init__(self, channels: int, context: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.self_in = nn.Linear(channels, 3 * channels)
        self.self_out = zero(nn.Linear(channels, channels))
        self.cross_query = nn.Linear(channels, channels)
        self.cross_in = nn.Linear(context, 2 * channels)
        self.cross_out = zero(nn.Linear(channels, channels))

    def forward(self, features: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """Return *features* plus what they found in each other and in *context*."""
        batch, channels, height, width = features.shape
        places = self.norm(features).flatten(2).transpose(1, 2)
        query, key, value = self.self_in(places).chunk(3, -1)
        update = self.self_out(attend(query, key, value))
        key, value = self.cross_in(context).chunk(2, -1)
        update = update + self.cross_out(attend(self.cross_query(places), key, value, mask))
        result: Tensor = features + update.transpose(1, 2).reshape(batch, channels, height, width)
        return result


def stretched(features: Tensor, like: Tensor) -> Tensor:
    """Return *features* (batch, channels, height, width) with the height and width of *like*."""
    return functional.interpolate(features, size=like.shape[-2:], mode="bilinear")


class TextEncoder(nn.Module):
    """Word embeddings and one transformer block."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        width = settings.context
        self.words = nn.Embedding(settings.vocabulary, width)
        nn.init.normal_(self.words.weight, std=0.7)
        self.places = nn.Parameter(torch.randn(1, MAX_TOKENS, width) * 0.1)
        self.norm_attention = nn.LayerNorm(width)
        self.attention_in = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, 2 * width)
        self.mlp_out = nn.Linear(2 * width, width)
        self.norm_out = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read *tokens* (batch, MAX_TOKENS).

        Returns:
            context: One vector per token (batch, MAX_TOKENS, context).
            pooled: Their mean without padding (batch, context).
            mask: What to add to attention logits (batch, 1, 1, MAX_TOKENS).
        """
        is_padding = tokens == PADDING
        mask = is_padding[:, None, None, :].float() * MASKED
        hidden = self.words(tokens) + self.places
        query, key, value = self.attention_in(self.norm_attention(hidden)).chunk(3, -1)
        hidden = hidden + self.attention_out(attend(query, key, value, mask))
        hidden = hidden + self.mlp_out(functional.silu(self.mlp_in(self.norm_mlp(hidden))))
        context = self.norm_out(hidden)
        weight = (~is_padding).float()[..., None]
        pooled = (context * weight).sum(1) / weight.sum(1)
        return context, pooled, mask


class UNet(nn.Module):
    """Three resolutions, one residual block on the way down and two on the way up."""

    frequencies: Tensor

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        large, middle, small = settings.channels
        width, context = settings.embedding, settings.context
        self.fold = settings.fold
        self.side = settings.image_size // settings.fold
        pixels = 3 * settings.fold**2

        frequencies = torch.linspace(math.log(LOWEST_FREQUENCY), math.log(HIGHEST_FREQUENCY), 32)
        self.register_buffer("frequencies", frequencies.exp())
        self.noise_in = nn.Linear(64, width)
        self.caption_in = nn.Linear(context, width)
        self.embedding_out = nn.Linear(width, width)

        self.picture_in = nn.Conv2d(pixels, large, 3, padding=1)
        self.position = nn.Parameter(torch.zeros(1, large, self.side, self.side))
        self.down_large = ResidualBlock(large, large, width)
        self.shrink_large = nn.Conv2d(large, large, 3, stride=2, padding=1)
        self.down_middle = ResidualBlock(large, middle, width)
        self.down_middle_attention = AttentionBlock(middle, context)
        self.shrink_middle = nn.Conv2d(middle, middle, 3, stride=2, padding=1)
        self.down_small = ResidualBlock(middle, small, width)
        self.down_small_attention = AttentionBlock(small, context)

        self.layout_small = zero(nn.Linear(width, small * (self.side // 4) ** 2))
        self.layout_middle = nn.Linear(width, LAYOUT_CHANNELS * (self.side // 2) ** 2)
        self.layout_middle_out = zero(nn.Conv2d(LAYOUT_CHANNELS, middle, 1))

        self.bottom_in = ResidualBlock(small, small, width)
        self.bottom_attention = AttentionBlock(small, context)
        self.bottom_out = ResidualBlock(small, small, width)

        self.up_small = nn.ModuleList(
            [ResidualBlock(2 * small, small, width), ResidualBlock(small + middle, small, width)]
        )
        self.up_small_attention = nn.ModuleList(AttentionBlock(small, context) for _ in range(2))
        self.grow_small = nn.Conv2d(small, middle, 3, padding=1)
        self.up_middle = nn.ModuleList(
            [ResidualBlock(2 * middle, middle, width), ResidualBlock(middle + large, middle, width)]
        )
        self.up_middle_attention = nn.ModuleList(AttentionBlock(middle, context) for _ in range(2))
        self.grow_middle = nn.Conv2d(middle, large, 3, padding=1)
        self.up_large = nn.ModuleList(ResidualBlock(2 * large, large, width) for _ in range(2))
        self.norm_out = group_norm(large)
        self.picture_out = zero(nn.Conv2d(large, pixels, 3, padding=1))

    def forward(
        self, picture: Tensor, noise: Tensor, context: Tensor, pooled: Tensor, mask: Tensor
    ) -> Tensor:
        """Return the raw output, as large as *picture*.

        Args:
            picture: (batch, 3, height, width), sides multiples of four times the fold. It may
                be larger than those of training; what the network learned about places is
                then stretched, which serves to redraw a picture a little, not to draw one.
            noise: The noise level (batch,).
            context: From :class:`TextEncoder`, like the next two.
            pooled: The caption as one vector.
            mask: Hides the caption's padding.
        """
        angles = noise[:, None] * self.frequencies[None]
        waves = torch.cat([angles.cos(), angles.sin()], 1)
        embedding = functional.silu(self.noise_in(waves) + self.caption_in(pooled))
        embedding = functional.silu(self.embedding_out(embedding))
        batch = picture.shape[0]

        folded = functional.pixel_unshuffle(picture, self.fold)
        entry = self.picture_in(folded) + stretched(self.position, folded)
        large = self.down_large(entry, embedding)
        middle_entry = self.shrink_large(large)
        middle = self.down_middle(middle_entry, embedding)
        middle = self.down_middle_attention(middle, context, mask)
        small_entry = self.shrink_middle(middle)
        small = self.down_small(small_entry, embedding)
        small = self.down_small_attention(small, context, mask)

        side = self.side // 4
        layout = self.layout_small(embedding).view(batch, -1, side, side)
        hidden = small + stretched(layout, small)
        hidden = self.bottom_in(hidden, embedding)
        hidden = self.bottom_attention(hidden, context, mask)
        hidden = self.bottom_out(hidden, embedding)

        for skip, block, attention in zip(
            (small, small_entry), self.up_small, self.up_small_attention, strict=True
        ):
            hidden = attention(block(torch.cat([hidden, skip], 1), embedding), context, mask)
        hidden = self.grow_small(functional.interpolate(hidden, scale_factor=2.0))

        side = self.side // 2
        layout = self.layout_middle(embedding).view(batch, LAYOUT_CHANNELS, side, side)
        hidden = hidden + self.layout_middle_out(stretched(layout, hidden))
        for skip, block, attention in zip(
            (middle, middle_entry), self.up_middle, self.up_middle_attention, strict=True
        ):
            hidden = attention(block(torch.cat([hidden, skip], 1), embedding), context, mask)
        hidden = self.grow_middle(functional.interpolate(hidden, scale_factor=2.0))

        for skip, block in zip((large, entry), self.up_large, strict=True):
            hidden = block(torch.cat([hidden, skip], 1), embedding)
        hidden = self.picture_out(functional.silu(self.norm_out(hidden)))
        return functional.pixel_shuffle(hidden, self.fold)


class Denoiser(nn.Module):
    """Caption and noisy picture in, estimate of the clean picture out."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        self.text = TextEncoder(settings)
        self.unet = UNet(settings)

    def forward(self, noisy: Tensor, sigma: Tensor, tokens: Tensor) -> Tensor:
        """Read the caption, then :meth:`denoise`."""
        return self.denoise(noisy, sigma, *self.text(tokens))

    def denoise(
        self, noisy: Tensor, sigma: Tensor, context: Tensor, pooled: Tensor, mask: Tensor
    ) -> Tensor:
        """Estimate the clean picture.

        Args:
            noisy: Normalised picture plus noise (batch, 3, side, side).
            sigma: The noise's standard deviation (batch,).
            context: From :class:`TextEncoder`, like the next two.
            pooled: The caption as one vector.
            mask: Hides the caption's padding.

        Input scale and noise coordinate: table 1, column "Ours", of Karras et al. 2022.
        """
        deviation = self.settings.sigma_data
        scale = (sigma**2 + deviation**2).rsqrt()[:, None, None, None]
        output = self.unet(noisy * scale, sigma.log() / 4, context, pooled, mask).float()
        result: Tensor = deviation * output
        return result

    def layout_parameters(self) -> set[int]:
        """Return ids of the parameters that carry the caption; they learn at a higher rate."""
        unet = self.unet
        carriers: tuple[nn.Module, ...] = (
            self.text,
            unet.caption_in,
            unet.layout_small,
            unet.layout_middle,
            unet.layout_middle_out,
        )
        ids = {id(parameter) for module in carriers for parameter in module.parameters()}
        return ids | {id(unet.position)}
