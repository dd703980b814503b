"""What the record of diffusers' pictures says is enough to draw the same pixels again."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason='needs pip install "safelight[diffusers]"')
pytest.importorskip("diffusers", reason='needs pip install "safelight[diffusers]"')

from backends.backend_contract import Steps
from backends.diffusers_engine.tiny_pipeline import save_tiny_pipeline
from safelight.backends.diffusers_engine import DiffusersBackend
from safelight.backends.diffusers_engine.loaded_model import quiet
from safelight.learning import LearningRecord
from safelight.pipeline import PipelineRunner
from safelight.pipeline.backend import Txt2ImgRequest
from safelight.pipeline.images import identify_pixels


@pytest.mark.parametrize("knob", ["sampler", "scheduler"])
def test_what_the_record_says_draws_the_same_pixels_again(tmp_path: Path, knob: str) -> None:
    """Over all samplers with one schedule, and all schedules with one sampler.

    A schedule that a sampler's class lacks is refused, and a refused picture is in no record.
    """
    with quiet():
        engine = DiffusersBackend(model=str(save_tiny_pipeline(tmp_path / "tiny")), device="cpu")
    names = engine.choices()[knob]
    config = {
        "txt2img": {"prompt": "a red fox", "seed": 5, "steps": 3, "width": 64, "height": 64,
                    "sampler": "Euler", "scheduler": "Karras"},
        "randomizer": {"mode": "fanout", "sweep": {f"txt2img.{knob}": list(names)}},
    }  # fmt: skip
    records: list[LearningRecord] = []
    runner = PipelineRunner(
        engine, archive_dir=tmp_path / "archive", on_learning_record=records.append
    )
    result = runner.run(config)
    (record,) = records
    assert all("does not" in f.error or "cannot" in f.error for f in result.failures)
    assert len(record.outputs) + len(result.failures) == len(names)
    assert len(record.outputs) > len(names) // 2
    for output in record.outputs:
        knobs = record.variant_configs[output.variant]["txt2img"]
        assert output.mismatches == ()
        (again,) = engine.generate(Txt2ImgRequest(**knobs), Steps()).images
        assert identify_pixels(again.png).pixel_sha256 == output.pixel_sha256
