"""The real diffusers library, with a tiny model of random weights, keeps the contract."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="the extra safelight[diffusers] is not installed")
pytest.importorskip("diffusers", reason="the extra safelight[diffusers] is not installed")

from backends.backend_contract import BackendContract, Steps, pixels
from backends.diffusers_engine.tiny_model import write_tiny_model
from safelight.backends.diffusers_engine import DiffusersBackend
from safelight.errors import BackendError
from safelight.pipeline import Backend, PipelineRunner
from safelight.pipeline.backend import Generation, Img2ImgRequest, Txt2ImgRequest

pytestmark = pytest.mark.filterwarnings("ignore")  # the libraries warn of each other


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def engine(tiny: Path) -> DiffusersBackend:
    return DiffusersBackend(model=str(tiny), device="cpu")


FIELDS: dict[str, Any] = {"prompt": "a cat", "seed": 3, "steps": 3, "width": 64, "height": 64}


class TestDiffusersBackend(BackendContract):
    @pytest.fixture
    def backend(self, engine: DiffusersBackend) -> DiffusersBackend:
        return engine

    @pytest.fixture
    def request_fields(self) -> dict[str, Any]:
        return {**FIELDS, "sampler": "Euler"}

    def test_redrawing_keeps_the_more_the_lower_the_strength(
        self, backend: Backend, request_fields: dict[str, Any]
    ) -> None:
        """Random weights keep nothing by half; at 0 the input comes back whole."""
        given = self.draw(backend, request_fields)
        for strength in (0.0, 0.5, 1.0):
            request = Img2ImgRequest(
                init_image=given.png, denoising_strength=strength, **request_fields
            )
            (image,) = backend.generate(request, Steps()).images
            same = bool((pixels(image.png) == pixels(given.png)).all())
            assert same == (strength == 0)


def drawn(engine: DiffusersBackend, **knobs: Any) -> Generation:
    return engine.generate(Txt2ImgRequest(**{**FIELDS, **knobs}), Steps())


@pytest.mark.parametrize(
    ("sampler", "scheduler", "shown"),
    [
        ("DPM++ 2M", "Karras", "Karras"),
        ("DPM++ 2M", "Automatic", "Karras"),
        ("Euler", "SGM Uniform", "SGM Uniform"),
        ("Euler", "Simple", "Simple"),
        ("Euler a", "Automatic", "Uniform"),
        ("PLMS", None, "DDIM"),
    ],
)
def test_what_sampled_is_read_back(
    engine: DiffusersBackend, sampler: str, scheduler: str | None, shown: str
) -> None:
    """In AUTOMATIC1111's spelling, from the scheduler object that was used."""
    effective = drawn(engine, sampler=sampler, scheduler=scheduler).images[0].effective
    assert (effective["sampler"], effective["scheduler"]) == (sampler, shown)


def test_the_models_own_scheduler_is_named(engine: DiffusersBackend) -> None:
    """A default is reported like a choice."""
    assert drawn(engine).images[0].effective["sampler"] == "PLMS"


def test_a_combination_that_the_library_would_drop_is_refused(engine: DiffusersBackend) -> None:
    """from_config drops an option that a class lacks, and draws something else."""
    with pytest.raises(BackendError) as error:
        drawn(engine, sampler="Euler a", scheduler="Karras")
    assert "scheduler 'Karras' cannot be done with sampler 'Euler a'" in str(error.value)
    assert "it can do: Normal, Uniform" in str(error.value)


def test_a_name_that_is_only_nearly_the_same_is_told(engine: DiffusersBackend) -> None:
    """The record keeps the warning."""
    (warning,) = drawn(engine, sampler="DPM++ 2S a").warnings
    assert warning == (
        "sampler 'DPM++ 2S a' is only nearly that in diffusers:"
        " DPMSolverSinglestepScheduler is not ancestral"
    )


@pytest.mark.parametrize("sampler", ["PLMS", "Heun", "DPM2", "Euler"])
def test_progress_counts_what_the_library_really_does(
    engine: DiffusersBackend, sampler: str
) -> None:
    """PLMS takes one step more than asked, Heun nearly twice as many; the bar ends full."""
    steps = Steps()
    engine.generate(Txt2ImgRequest(**FIELDS, sampler=sampler), steps)
    assert steps.seen[-1][0] == steps.seen[-1][1]
    assert len({of for _, of in steps.seen}) == 1


def test_the_hires_fix_and_a_batch_are_one_bar(engine: DiffusersBackend) -> None:
    """Two pictures of two passes each."""
    steps = Steps()
    request = Txt2ImgRequest(
        **FIELDS, sampler="Euler", batch_size=2, hires_scale=1.5, hires_denoising_strength=0.5
    )
    images = engine.generate(request, steps).images
    assert [pixels(image.png).shape[:2] for image in images] == [(96, 96), (96, 96)]
    assert images[0].effective["hires_steps"] == 3
    assert [step for step, _ in steps.seen] == sorted(step for step, _ in steps.seen)
    assert steps.seen[-1][0] == steps.seen[-1][1]


def test_a_batch_is_the_same_pictures_as_its_seeds_alone(engine: DiffusersBackend) -> None:
    """A good one can be drawn again by its seed."""
    first, second = drawn(engine, batch_size=2).images
    assert (pixels(drawn(engine, seed=4).images[0].png) == pixels(second.png)).all()
    assert (pixels(drawn(engine).images[0].png) == pixels(first.png)).all()


def test_what_the_tokenizer_cuts_and_what_it_reads_as_text_is_told(
    engine: DiffusersBackend,
) -> None:
    """77 tokens, and no attention syntax."""
    warnings = drawn(engine, prompt="(cat:1.2) " + "x" * 200).warnings
    assert any("(word:1.2) as plain text" in warning for warning in warnings)
    assert any("the prompt has" in w and "had no effect" in w for w in warnings)


@pytest.mark.parametrize(
    ("knobs", "told"),
    [
        ({"steps": 0}, "steps must be from 1 to 1000, got 0"),
        ({"width": 60}, "divisible by 8"),
        ({"seed": -1}, "seed must lie in 0"),
        ({"model": "no/such-model"}, "model 'no/such-model' cannot be loaded.*local_files_only"),
        ({"scheduler": "KL Optimal"}, "no scheduler 'KL Optimal'"),
    ],
)
def test_what_it_cannot_do_is_refused(
    engine: DiffusersBackend, knobs: dict[str, Any], told: str
) -> None:
    """With the knob, the rule, the value, and the way out."""
    with pytest.raises(BackendError, match=told):
        drawn(engine, **knobs)


def test_a_model_must_be_named() -> None:
    """In the config or in the engine's table."""
    with pytest.raises(BackendError, match="model must be stated"):
        drawn(DiffusersBackend(device="cpu"))


def test_a_lora_changes_the_picture_and_leaves_no_trace(
    engine: DiffusersBackend, tiny: Path, tmp_path: Path
) -> None:
    """The next picture without it is what it was before."""
    peft = pytest.importorskip("peft")
    from diffusers import StableDiffusionPipeline

    other = StableDiffusionPipeline.from_pretrained(tiny, local_files_only=True)
    other.unet.add_adapter(
        peft.LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=["to_q", "to_v"])
    )
    layers = peft.get_peft_model_state_dict(other.unet)
    StableDiffusionPipeline.save_lora_weights(tmp_path, layers, weight_name="ink.safetensors")
    with_loras = DiffusersBackend(model=str(tiny), device="cpu", lora_dir=str(tmp_path))
    before = pixels(drawn(with_loras).images[0].png)
    changed = drawn(with_loras, prompt="a cat <lora:ink:2>")
    after = pixels(drawn(with_loras).images[0].png)
    assert changed.images[0].effective["prompt"] == "a cat <lora:ink:2>"
    assert (pixels(changed.images[0].png) != before).any()
    assert (after == before).all()
    (warning,) = drawn(engine, prompt="a cat <lora:ink:2>").warnings
    assert warning == "LoRAs had no effect (ink): set lora_dir in the backend's table"
    with pytest.raises(BackendError, match="no LoRA 'inc' in .*did you mean 'ink'"):
        drawn(with_loras, prompt="a cat <lora:inc:2>")


def test_an_input_of_any_size_is_brought_to_multiples_of_eight(engine: DiffusersBackend) -> None:
    """The latent needs them; the record says what the picture came to."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((70, 61, 3), 128, np.uint8)).save(buffer, "PNG")
    request = Img2ImgRequest(
        prompt="a", seed=1, steps=4, init_image=buffer.getvalue(), denoising_strength=0.01
    )
    (image,) = engine.generate(request, Steps()).images
    assert pixels(image.png).shape == (72, 64, 3)
    assert image.effective["denoising_strength"] == 0.01


def test_a_run_records_what_diffusers_did(tiny: Path, tmp_path: Path) -> None:
    """Three stages, through the runner, with versions and device in the record."""
    config = {
        "txt2img": {k: v for k, v in FIELDS.items() if k != "seed"} | {"seed": 5},
        "img2img": {"denoising_strength": 0.5},
        "upscale": {"scale": 2},
    }
    records: list[Any] = []
    runner = PipelineRunner(
        DiffusersBackend(model=str(tiny), device="cpu"),
        archive_dir=tmp_path,
        on_learning_record=records.append,
    )
    result = runner.run(config)
    assert result.status == "completed", result.failures
    assert [image.output.width for image in result.images] == [64, 64, 128]
    (record,) = records
    assert {"torch", "transformers", "device", "dtype"} <= record.environment.keys()
    assert record.backend["name"] == "diffusers"
    assert record.primary_sampler == "PLMS"
