"""sd-server itself over AUTOMATIC1111's API; see :mod:`backends.real_sd_server`."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backends.backend_contract import Steps, pixels
from backends.real_sd_server import FOX, URL
from safelight.backends.webui import WebuiBackend
from safelight.errors import BackendError, GenerationCancelled
from safelight.pipeline.backend import (
    GeneratedImage,
    Generation,
    Img2ImgRequest,
    Txt2ImgRequest,
    UpscaleRequest,
)


@pytest.fixture(scope="module")
def backend() -> Iterator[WebuiBackend]:
    backend = WebuiBackend(url=URL)
    yield backend
    backend.close()


def generate(backend: WebuiBackend, **changes: Any) -> Generation:
    return backend.generate(Txt2ImgRequest(**{**FOX, **changes}), Steps())


def draw(backend: WebuiBackend, **changes: Any) -> GeneratedImage:
    return generate(backend, **changes).images[0]


def test_it_is_recognised_and_lists_its_names_in_ours(backend: WebuiBackend) -> None:
    """Its own names are euler_a and discrete."""
    assert backend.describe().environment["dialect"] == "sdcpp"
    choices = backend.choices()
    assert {"Euler a", "DPM++ 2M", "LCM", "ER SDE"} <= set(choices["sampler"])
    assert {"Karras", "Normal", "Automatic", "Align Your Steps"} <= set(choices["scheduler"])


def test_the_same_request_gives_the_same_picture_and_what_was_asked_was_used(
    backend: WebuiBackend,
) -> None:
    """Read from the picture itself: the answer's info is an empty string."""
    first, second = draw(backend), draw(backend)
    assert (pixels(first.png) == pixels(second.png)).all()
    assert (pixels(draw(backend, seed=43).png) != pixels(first.png)).any()
    assert FOX.items() <= first.effective.items()


@pytest.mark.parametrize("seed", [0, 2**31, 2**32 - 1, 2**63 - 1])
def test_large_seeds_are_not_cut(backend: WebuiBackend, seed: int) -> None:
    """The request's own field wraps at 2**31 in silence."""
    assert draw(backend, seed=seed, steps=2).effective["seed"] == seed


def test_every_sampler_is_reported_by_the_name_it_was_asked_by(backend: WebuiBackend) -> None:
    """An unknown one would become the default."""
    for knob in ("sampler", "scheduler"):
        for name in backend.choices()[knob]:
            assert draw(backend, **{knob: name, "steps": 2}).effective[knob] == name


def test_eta_and_clip_skip_change_the_picture(backend: WebuiBackend) -> None:
    """Eta travels in the prompt, which stays the prompt that was asked for."""
    plain = draw(backend)
    for change in ({"eta": 0.5}, {"clip_skip": 2}):
        changed = draw(backend, **change)
        assert (pixels(changed.png) != pixels(plain.png)).any()
        assert {**change, "prompt": "a red fox"}.items() <= changed.effective.items()


def test_a_batch_has_its_seeds(backend: WebuiBackend) -> None:
    """And each picture is the one that its seed gives alone."""
    generation = generate(backend, batch_size=2)
    assert [image.effective["seed"] for image in generation.images] == [42, 43]
    alone = draw(backend, seed=43)
    assert (pixels(generation.images[1].png) == pixels(alone.png)).all()


def test_sizes_are_rounded_up_to_64_and_reported(backend: WebuiBackend) -> None:
    """The file is the witness."""
    image = draw(backend, width=72, steps=2)
    assert pixels(image.png).shape == (64, 128, 3)
    assert (image.effective["width"], image.effective["height"]) == (128, 64)


def test_hires_fix_enlarges(backend: WebuiBackend) -> None:
    """Under its own name for the second pass's steps."""
    hires = {"hires_scale": 2.0, "hires_upscaler": "Latent", "hires_steps": 2}
    image = draw(backend, **hires, hires_denoising_strength=0.6)
    assert pixels(image.png).shape == (128, 128, 3)
    assert {**hires, "hires_denoising_strength": 0.6}.items() <= image.effective.items()
    assert image.effective["width"] == 64


def test_an_empty_prompt_is_drawn_and_an_unknown_lora_refused(backend: WebuiBackend) -> None:
    """It refuses the first itself, and draws the second without it."""
    assert draw(backend, prompt="", steps=2).effective["prompt"] == ""
    with pytest.raises(BackendError, match="no LoRA 'nosuch'"):
        generate(backend, prompt="a fox <lora:nosuch:1>", steps=2)


def test_img2img_and_its_mask_have_an_effect(backend: WebuiBackend) -> None:
    """With random weights no picture survives the VAE, so only that they differ can be seen."""
    given = draw(backend)
    fields = {**FOX, "seed": 7, "init_image": given.png, "denoising_strength": 0.5}
    whole = backend.generate(Img2ImgRequest(**fields), Steps()).images[0]
    assert whole.effective["denoising_strength"] == 0.5
    mask = Image.new("L", (64, 64))
    mask.paste(255, (32, 0, 64, 64))
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    masked = backend.generate(Img2ImgRequest(**fields, mask=buffer.getvalue()), Steps()).images[0]
    assert np.abs(pixels(masked.png) - pixels(whole.png)).mean() > 1


def test_what_it_cannot_do_is_refused_or_done_here(backend: WebuiBackend) -> None:
    """By name."""
    with pytest.raises(BackendError, match="sampler 'UniPC'"):
        draw(backend, sampler="UniPC")
    with pytest.raises(BackendError, match="hires_upscaler"):
        draw(backend, hires_scale=2.0, hires_upscaler="nosuch")
    given = draw(backend, steps=2)
    generation = backend.generate(UpscaleRequest(init_image=given.png, scale=1.5), Steps())
    assert pixels(generation.images[0].png).shape == (96, 96, 3)
    assert generation.warnings


def test_a_stop_passes_through_and_the_server_lives_on(backend: WebuiBackend) -> None:
    """It cannot be interrupted."""
    with pytest.raises(GenerationCancelled):
        backend.generate(Txt2ImgRequest(**FOX), Steps(stop_after=1))
    assert draw(backend).png
