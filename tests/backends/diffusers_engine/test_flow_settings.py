"""Guidance, shift, noise levels and rescale reach the models that have them, and only those."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason='needs pip install "safelight[diffusers]"')
pytest.importorskip("diffusers", reason='needs pip install "safelight[diffusers]"')

from backends.backend_contract import Steps, pixels
from backends.diffusers_engine.tiny_pipeline import save_tiny_flux, save_tiny_pipeline
from safelight.backends.diffusers_engine import DiffusersBackend
from safelight.backends.diffusers_engine.loaded_model import quiet
from safelight.errors import BackendError
from safelight.pipeline.backend import Generation, Img2ImgRequest, Txt2ImgRequest

SMALL: dict[str, Any] = {"prompt": "a red fox", "seed": 3, "steps": 3, "width": 64, "height": 64}


def _engine(folder: Path) -> DiffusersBackend:
    return DiffusersBackend(model=str(folder), device="cpu")


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> DiffusersBackend:
    with quiet():
        return _engine(save_tiny_flux(tmp_path_factory.mktemp("dev")))


@pytest.fixture(scope="module")
def schnell(tmp_path_factory: pytest.TempPathFactory) -> DiffusersBackend:
    with quiet():
        return _engine(save_tiny_flux(tmp_path_factory.mktemp("schnell"), distilled=False))


@pytest.fixture(scope="module")
def sd1(tmp_path_factory: pytest.TempPathFactory) -> DiffusersBackend:
    with quiet():
        return _engine(save_tiny_pipeline(tmp_path_factory.mktemp("sd1")))


def draw(engine: DiffusersBackend, **changes: Any) -> Generation:
    return engine.generate(Txt2ImgRequest(**{**SMALL, **changes}), Steps())


def effective(generation: Generation) -> dict[str, Any]:
    return dict(generation.images[0].effective)


def differ(one: Generation, other: Generation) -> bool:
    return bool((pixels(one.images[0].png) != pixels(other.images[0].png)).any())


def test_guidance_is_the_one_that_the_model_was_distilled_for(dev: DiffusersBackend) -> None:
    """cfg_scale is the true one beside it; what the library takes by itself is reported."""
    plain, little = draw(dev), draw(dev, others={"guidance": 1.0})
    assert effective(plain)["guidance"] == 3.5
    used = effective(little)
    assert (used["guidance"], used["cfg_scale"]) == (1.0, 1.0)
    assert differ(plain, little)
    by_name = draw(dev, extra={"guidance_scale": 1.0})
    assert not differ(little, by_name)
    assert effective(by_name)["guidance"] == 1.0, "as before the knob was one"
    both = draw(dev, others={"guidance": 1.0}, extra={"guidance_scale": 5.0})
    assert not differ(little, both)
    assert any("'guidance_scale'" in warning for warning in both.warnings)


def test_a_model_without_distilled_guidance_says_so(
    schnell: DiffusersBackend, sd1: DiffusersBackend
) -> None:
    """The argument exists with both, and with neither it means guidance."""
    for engine in (schnell, sd1):
        generation = draw(engine, others={"guidance": 1.0})
        assert "guidance" not in effective(generation)
        assert any("guidance had no effect" in warning for warning in generation.warnings)
        assert not differ(generation, draw(engine))


def test_shift_moves_the_steps_of_a_flow(
    dev: DiffusersBackend, schnell: DiffusersBackend, sd1: DiffusersBackend
) -> None:
    """Also of one whose own shift follows the size of the picture, which has no number to tell."""
    assert effective(draw(schnell))["shift"] == 3
    assert "shift" not in effective(draw(dev))
    for engine in (dev, schnell):
        one, seven = (draw(engine, others={"shift": shift}) for shift in (1.0, 7.0))
        assert (effective(one)["shift"], effective(seven)["shift"]) == (1.0, 7.0)
        assert differ(one, seven)
    assert not differ(draw(schnell), draw(schnell, others={"shift": 3.0}))
    with pytest.raises(BackendError, match="shift must be above 0"):
        draw(dev, others={"shift": 0})
    assert any("shift had no effect" in w for w in draw(sd1, others={"shift": 2.0}).warnings)


@pytest.mark.parametrize("name", ["dev", "schnell", "sd1"])
def test_noise_levels_are_taken_as_they_are(name: str, request: pytest.FixtureRequest) -> None:
    """Nothing shifts or respaces them; the last 0 may be left out."""
    engine: DiffusersBackend = request.getfixturevalue(name)
    changes: dict[str, Any] = {"sampler": "Euler"}
    sigmas = "10, 3, 0.5, 0" if name == "sd1" else "1.0, 0.7, 0.25, 0"
    whole = draw(engine, **changes, others={"sigmas": sigmas})
    used = effective(whole)
    assert (used["sigmas"], used["steps"]) == (sigmas, 3)
    assert "scheduler" not in used
    assert "shift" not in used
    short = draw(engine, **changes, others={"sigmas": sigmas.removesuffix(", 0")})
    assert not differ(whole, short)
    assert differ(whole, draw(engine, **changes))


def test_noise_levels_go_alone(dev: DiffusersBackend, sd1: DiffusersBackend) -> None:
    """A schedule or a shift would make others of them."""
    with pytest.raises(BackendError, match="that shift would make"):
        draw(dev, others={"sigmas": "1, 0.5", "shift": 2.0})
    with pytest.raises(BackendError, match="that scheduler would make"):
        draw(sd1, sampler="Euler", scheduler="Karras", others={"sigmas": "10, 1"})
    with pytest.raises(BackendError, match="sigmas"):
        draw(sd1, sampler="DDIM", others={"sigmas": "10, 1"})
    given = draw(dev).images[0].png
    request = Img2ImgRequest(**SMALL, init_image=given, others={"sigmas": "1, 0.5"})
    warnings = dev.generate(request, Steps()).warnings
    assert any("sigmas had no effect: img2img" in warning for warning in warnings)


def test_guidance_is_rescaled_where_the_pipeline_can(
    dev: DiffusersBackend, sd1: DiffusersBackend
) -> None:
    """The library has it for some, and of these for the first pass only."""
    plain = draw(sd1, cfg_scale=9.0)
    half = draw(sd1, cfg_scale=9.0, others={"cfg_rescale": 0.5})
    assert effective(half)["cfg_rescale"] == 0.5
    assert "cfg_rescale" not in effective(plain)
    assert np.abs(pixels(plain.images[0].png) - pixels(half.images[0].png)).max() > 0
    second = draw(sd1, hires_scale=1.5, others={"cfg_rescale": 0.5})
    assert any("second pass" in warning for warning in second.warnings)
    alone = draw(sd1, cfg_scale=1, others={"cfg_rescale": 0.5})
    assert "cfg_rescale has no effect at cfg_scale 1" in alone.warnings
    none = draw(dev, others={"cfg_rescale": 0.5})
    assert any("cfg_rescale had no effect" in warning for warning in none.warnings)


@pytest.mark.parametrize("knob", ["text_encoders", "weight_dtype", "cache"])
def test_what_the_engine_has_no_use_for_is_told(sd1: DiffusersBackend, knob: str) -> None:
    """A knob of the table may be stated for every engine."""
    generation = draw(sd1, others={knob: "x"})
    assert any(warning.startswith(f"{knob} had no effect") for warning in generation.warnings)
