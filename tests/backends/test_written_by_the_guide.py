"""The guide to writing an engine is true: the engine on that page keeps the contract."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from backends.backend_contract import BackendContract
from safelight.pipeline import Backend, PipelineRunner

GUIDE = Path(__file__).parent.parent.parent / "docs" / "writing-a-backend.md"


def backend_of_the_guide() -> Backend:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, GUIDE.name, "exec"), names)
    backend: Backend = names["GradientBackend"]()
    return backend


class TestGradientBackend(BackendContract):
    @pytest.fixture
    def backend(self) -> Backend:
        return backend_of_the_guide()

    @pytest.fixture
    def request_fields(self) -> dict[str, Any]:
        return {"prompt": "a lighthouse", "seed": 3, "steps": 3, "width": 64, "height": 48}


def test_it_carries_a_run() -> None:
    """Not only the contract: a whole run through three stages."""
    config = {
        "txt2img": {"prompt": "a", "seed": 1},
        "img2img": {"denoising_strength": 0.4},
        "upscale": {"scale": 2},
    }
    result = PipelineRunner(backend_of_the_guide()).run(config)
    assert result.status == "completed"
    assert [image.output.width for image in result.images] == [64, 64, 128]
