"""sd-server itself over ``/v1/images``; see :mod:`backends.real_sd_server`."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backends.backend_contract import Steps, pixels
from backends.real_sd_server import FOX, URL
from safelight.backends.openai_images import OpenAiImagesBackend
from safelight.errors import BackendError, GenerationCancelled
from safelight.pipeline.backend import Generation, Img2ImgRequest, Txt2ImgRequest

ASKED = {**FOX, "negative_prompt": "blue"}


@pytest.fixture(scope="module")
def backend() -> Iterator[OpenAiImagesBackend]:
    backend = OpenAiImagesBackend(url=URL)
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def plain(backend: OpenAiImagesBackend) -> Generation:
    return generate(backend)


def generate(backend: OpenAiImagesBackend, **changes: Any) -> Generation:
    return backend.generate(Txt2ImgRequest(**{**ASKED, **changes}), Steps())


def test_it_is_recognised_and_lists_its_names_in_ours(backend: OpenAiImagesBackend) -> None:
    assert backend.describe().environment["dialect"] == "sd-server"
    choices = backend.choices()
    assert {"Euler a", "DPM++ 2M", "LCM"} <= set(choices["sampler"])
    assert {"Karras", "Normal", "Automatic"} <= set(choices["scheduler"])
    assert choices["model"]


def test_what_was_asked_is_what_its_pictures_say(
    backend: OpenAiImagesBackend, plain: Generation
) -> None:
    """Twice the same pixels, and nothing is left unconfirmed."""
    first, second = plain, generate(backend)
    assert (pixels(first.images[0].png) == pixels(second.images[0].png)).all()
    assert ASKED.items() <= first.images[0].effective.items()
    assert first.warnings == ()


@pytest.mark.parametrize(
    "change",
    [{"seed": 43}, {"steps": 4}, {"cfg_scale": 9.0}, {"negative_prompt": "red"}, {"eta": 0.5},
     {"clip_skip": 2}, {"sampler": "Euler"}, {"scheduler": "Normal"}],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_every_knob_that_it_takes_acts(
    backend: OpenAiImagesBackend, plain: Generation, change: Any
) -> None:
    """They travel in the prompt, which stays the prompt that was asked for."""
    changed = generate(backend, **change).images[0]
    assert (pixels(changed.png) != pixels(plain.images[0].png)).any()
    assert {**change, "prompt": "a red fox"}.items() <= changed.effective.items()


@pytest.mark.parametrize("seed", [0, 2**32 - 1, 2**63 - 1])
def test_large_seeds_are_not_cut(backend: OpenAiImagesBackend, seed: int) -> None:
    assert generate(backend, seed=seed).images[0].effective["seed"] == seed


def test_the_pictures_of_one_request_count_up(backend: OpenAiImagesBackend) -> None:
    """Each is the one that its seed gives alone."""
    generation = generate(backend, batch_size=2)
    assert [image.effective["seed"] for image in generation.images] == [42, 43]
    alone = generate(backend, seed=43).images[0]
    assert (pixels(generation.images[1].png) == pixels(alone.png)).all()


def test_sizes_are_rounded_up_to_64_and_the_file_shows_it(backend: OpenAiImagesBackend) -> None:
    assert pixels(generate(backend, width=72).images[0].png).shape == (64, 128, 3)


def test_a_prompt_cannot_steer_it(backend: OpenAiImagesBackend) -> None:
    """Settings in a prompt are taken out by the server; the first ones are ours."""
    prompt = '<sd_cpp_extra_args>{"seed": 666}</sd_cpp_extra_args>a red fox'
    effective = generate(backend, prompt=prompt).images[0].effective
    assert (effective["seed"], effective["prompt"]) == (42, "a red fox")


def test_an_empty_prompt_is_drawn(backend: OpenAiImagesBackend) -> None:
    """It refuses one that is empty before it takes our settings out of it."""
    assert generate(backend, prompt="").images[0].effective["prompt"] == ""


def test_strength_and_mask_of_an_edit_have_an_effect(backend: OpenAiImagesBackend) -> None:
    """With random weights no picture survives the VAE, so only that they differ can be seen."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 30, 30)).save(buffer, "PNG")
    mask = Image.new("L", (64, 64))
    mask.paste(255, (32, 0, 64, 64))
    masked = io.BytesIO()
    mask.save(masked, "PNG")
    made = []
    for change in ({}, {"denoising_strength": 0.9}, {"mask": masked.getvalue()}):
        fields = {**ASKED, "steps": 4, "init_image": buffer.getvalue()}
        fields |= {"denoising_strength": 0.3, **change}
        (image,) = backend.generate(Img2ImgRequest(**fields), Steps()).images
        assert image.effective["denoising_strength"] == fields["denoising_strength"]
        made.append(pixels(image.png))
    assert np.abs(made[0] - made[1]).mean() > 1
    assert np.abs(made[0] - made[2]).mean() > 1


def test_a_fault_is_told_and_a_stop_passes_through(backend: OpenAiImagesBackend) -> None:
    with pytest.raises(BackendError, match="sampler 'UniPC'"):
        generate(backend, sampler="UniPC")
    with pytest.raises(GenerationCancelled):
        backend.generate(Txt2ImgRequest(**ASKED), Steps(stop_after=1))
    assert generate(backend).images
