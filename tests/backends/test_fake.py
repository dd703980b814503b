"""The fake engine keeps the contract, and rehearses what real engines do wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backends.backend_contract import BackendContract, Steps, pixels
from safelight.backends.fake import FakeBackend
from safelight.errors import BackendError, BackendUnavailable
from safelight.pipeline.backend import Txt2ImgRequest


class TestFakeBackend(BackendContract):
    @pytest.fixture
    def backend(self) -> FakeBackend:
        return FakeBackend()

    @pytest.fixture
    def request_fields(self) -> dict[str, Any]:
        return {"prompt": "a lighthouse", "seed": 3, "steps": 3, "width": 128, "height": 96}

    @pytest.mark.parametrize(
        "change",
        [
            {"prompt": "a tower"},
            {"negative_prompt": "blurry"},
            {"steps": 30},
            {"cfg_scale": 12},
            {"sampler": "Heun"},
            {"scheduler": "Karras"},
            {"model": "other"},
        ],
    )
    def test_every_knob_shows(
        self, backend: FakeBackend, request_fields: dict[str, Any], change: dict[str, Any]
    ) -> None:
        """A rehearsal in which a knob does nothing would hide a mistake in it."""
        plain = self.draw(backend, request_fields)
        changed = self.draw(backend, request_fields, **change)
        assert (pixels(plain.png) != pixels(changed.png)).any()

    @pytest.mark.parametrize(
        ("knob", "one", "other"),
        [
            ("guidance", 2.5, 3.5), ("cfg_rescale", 0, 1), ("shift", 1, 3),
            ("sigmas", "1, 0", "1, 0.5, 0"), ("text_encoders", "a", "b"),
            ("weight_dtype", "fp8", "default"), ("cache", "TeaCache 0.1", "TeaCache 0.4"),
        ],
    )  # fmt: skip
    def test_knobs_without_a_field_are_used_and_reported(
        self, backend: FakeBackend, request_fields: dict[str, Any], knob: str, one: Any, other: Any
    ) -> None:
        """It pretends to have them all."""
        first, second = (
            self.draw(backend, request_fields, others={knob: value}) for value in (one, other)
        )
        assert (first.effective[knob], second.effective[knob]) == (one, other)
        assert (pixels(first.png) != pixels(second.png)).any()

    def test_tiny_pictures_work(self, backend: FakeBackend) -> None:
        """The smallest size that a config allows."""
        image = self.draw(backend, {"prompt": "a", "width": 8, "height": 8})
        assert pixels(image.png).shape == (8, 8, 3)


def test_trouble_comes_on_request() -> None:
    """Refusals, absent engines and substitutions, each by a word in the prompt or an option."""
    backend = FakeBackend(
        fail_on=["bad"], unavailable_on=["gone"], substitute={"sampler": "DPM++ 2M"}
    )
    with pytest.raises(BackendError, match="bad"):
        backend.generate(Txt2ImgRequest(prompt="a bad one"), Steps())
    with pytest.raises(BackendUnavailable, match="gone"):
        backend.generate(Txt2ImgRequest(prompt="it is gone"), Steps())
    (image,) = backend.generate(Txt2ImgRequest(prompt="a", sampler="Heun"), Steps()).images
    assert image.effective["sampler"] == "DPM++ 2M"
    assert np.ptp(pixels(image.png)) > 0


@pytest.mark.parametrize("seconds", ["1", -1, True, float("nan")])
def test_a_wrong_option_is_refused_before_anything_is_drawn(seconds: Any) -> None:
    """Not in the middle of the first picture."""
    with pytest.raises(BackendError, match="seconds_per_step"):
        FakeBackend(seconds_per_step=seconds)


def test_a_single_text_is_one_text() -> None:
    """``fail_on = "zebra"`` must not fail on every z."""
    backend = FakeBackend(fail_on="zebra")
    assert backend.generate(Txt2ImgRequest(prompt="a zoo", steps=1), Steps()).images
    with pytest.raises(BackendError):
        backend.generate(Txt2ImgRequest(prompt="a zebra", steps=1), Steps())
