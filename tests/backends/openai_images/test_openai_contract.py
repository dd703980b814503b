"""The contract of every engine, with each kind of server behind it, as far as it can be held."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from backends.backend_contract import BackendContract, Steps
from backends.openai_images.openai_server import ImagesServer
from safelight.backends.openai_images import OpenAiImagesBackend
from safelight.errors import BackendError
from safelight.pipeline.backend import Backend, Img2ImgRequest, Txt2ImgRequest


class _Contract(BackendContract):
    kind = ""

    @pytest.fixture
    def backend(
        self, serve: Callable[..., ImagesServer], connect: Callable[..., OpenAiImagesBackend]
    ) -> OpenAiImagesBackend:
        return connect(serve(self.kind))

    @pytest.fixture
    def request_fields(self) -> dict[str, Any]:
        return {"prompt": "a red fox", "seed": 3, "steps": 3, "width": 128, "height": 64}


class TestSdServer(_Contract):
    """The one that says what it used holds all of it."""

    kind = "sd-server"


class _Silent(_Contract):
    """What nobody confirms is not claimed, and what cannot be asked for is told."""

    def test_what_is_reported_are_knobs_with_right_values(
        self, backend: Backend, request_fields: dict[str, Any]
    ) -> None:
        """Defaults are unknown: of what was not sent nothing is said."""
        generation = backend.generate(Txt2ImgRequest(prompt="a fox", seed=3), Steps())
        assert generation.images[0].effective.keys() == {"prompt", "model", "seed"}
        generation = backend.generate(Txt2ImgRequest(**request_fields, cfg_scale=2.5), Steps())
        (said,) = [w for w in generation.warnings if "does not say which" in w]
        assert "recorded is what was asked" in said

    def test_redrawing_keeps_the_more_the_lower_the_strength(
        self, backend: Backend, request_fields: dict[str, Any]
    ) -> None:
        """They edit, or cannot; either is told, and no strength is recorded."""
        given = self.draw(backend, request_fields)
        request = Img2ImgRequest(init_image=given.png, denoising_strength=0.5, **request_fields)
        try:
            generation = backend.generate(request, Steps())
        except BackendError as error:
            assert "img2img" in str(error)
            return
        assert any("denoising_strength" in warning for warning in generation.warnings)
        assert "denoising_strength" in generation.images[0].unused


class TestVllmOmni(_Silent):
    kind = "vllm-omni"


class TestSglang(_Silent):
    kind = "sglang"


class TestLocalAi(_Silent):
    kind = "localai"


class TestDynamo(_Silent):
    kind = "dynamo"
