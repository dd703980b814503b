"""The diffusers engine keeps the contract, and says what it really used."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason='needs pip install "safelight[diffusers]"')
pytest.importorskip("diffusers", reason='needs pip install "safelight[diffusers]"')

from backends.backend_contract import BackendContract, Steps, pixels
from backends.diffusers_engine.tiny_pipeline import save_tiny_pipeline
from safelight.allowed_files import RULE, FilesUnder
from safelight.backends.diffusers_engine import DiffusersBackend
from safelight.backends.diffusers_engine.loaded_model import quiet
from safelight.errors import BackendError, GenerationCancelled
from safelight.pipeline.backend import EngineSetup, Img2ImgRequest, Txt2ImgRequest

SMALL: dict[str, Any] = {
    "prompt": "a red fox", "seed": 3, "steps": 4, "width": 64, "height": 64, "sampler": "Euler",
}  # fmt: skip


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    torch.set_num_threads(1)  # threads cost more than they save on so small a model
    with quiet():
        return save_tiny_pipeline(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def engine(tiny: Path) -> DiffusersBackend:
    return DiffusersBackend(model=str(tiny), device="cpu")


def generate(engine: DiffusersBackend, **changes: Any) -> Any:
    return engine.generate(Txt2ImgRequest(**{**SMALL, **changes}), Steps())


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


class TestDiffusersBackend(BackendContract):
    @pytest.fixture
    def backend(self, engine: DiffusersBackend) -> DiffusersBackend:
        return engine

    @pytest.fixture
    def request_fields(self) -> dict[str, Any]:
        return SMALL


@pytest.mark.parametrize(
    ("sampler", "scheduler"),
    [("Euler a", "Karras"), ("DDIM", "Beta"), ("LCM", "Simple"), ("DPM++ 2S a", "Normal")],
)
def test_a_pair_that_the_class_cannot_do_is_refused_before_drawing(
    engine: DiffusersBackend, sampler: str, scheduler: str
) -> None:
    """The library drops the option and draws something else."""
    steps = Steps()
    request = Txt2ImgRequest(**{**SMALL, "sampler": sampler, "scheduler": scheduler})
    with pytest.raises(BackendError, match="it can do"):
        engine.generate(request, steps)
    assert steps.seen == []


def test_a_lora_without_effect_is_not_in_the_prompt_that_is_recorded(
    engine: DiffusersBackend,
) -> None:
    """Records tell weights of LoRAs by the prompt that was used, and effects are learnt of them."""
    generation = generate(engine, prompt="a red fox <lora:ink:0.8>")
    assert generation.images[0].effective["prompt"] == "a red fox"
    assert "the LoRA 'ink' had no effect: the option lora_dir is not set" in generation.warnings


def test_what_the_model_does_by_itself_is_reported(engine: DiffusersBackend) -> None:
    """A defaulted knob shapes the picture as much as a stated one."""
    (image,) = engine.generate(Txt2ImgRequest(prompt="a"), Steps()).images
    effective = dict(image.effective)
    assert effective.pop("model").endswith("model")
    assert effective == {
        "prompt": "a", "negative_prompt": "", "sampler": "PLMS", "scheduler": "DDIM",
        "steps": 50, "cfg_scale": 7.5, "seed": 0, "width": 64, "height": 64, "clip_skip": 1,
    }  # fmt: skip


def test_automatic_is_the_schedule_that_the_field_pairs_with_the_sampler(
    engine: DiffusersBackend,
) -> None:
    """And the record says which."""
    (image,) = generate(engine, sampler="DPM++ 2M", scheduler="Automatic").images
    assert image.effective["scheduler"] == "Karras"


@pytest.mark.parametrize("sampler", ["Euler", "DPM++ SDE", "DPM++ 2M SDE", "Euler a"])
@pytest.mark.parametrize("together", [True, False])
def test_a_batch_is_its_single_pictures(tiny: Path, sampler: str, together: bool) -> None:
    """Seeds seed, seed + 1: whoever draws one of them alone later finds it again."""
    engine = DiffusersBackend(
        model=str(tiny), device="cpu", batches="together" if together else "apart"
    )
    batch = generate(engine, sampler=sampler, batch_size=2).images
    for place, image in enumerate(batch):
        assert image.effective["seed"] == 3 + place
        (alone,) = generate(engine, sampler=sampler, seed=3 + place).images
        difference = np.abs(pixels(alone.png) - pixels(image.png)).max()
        assert difference <= (1 if together else 0)


def test_the_largest_seed_works_where_noise_has_a_source_of_its_own(
    engine: DiffusersBackend,
) -> None:
    """DPM++ SDE takes no generator; without a seed of its own no picture could be repeated."""
    first, second = (generate(engine, sampler="DPM++ SDE", seed=2**64 - 1) for _ in range(2))
    assert (pixels(first.images[0].png) == pixels(second.images[0].png)).all()


@pytest.mark.parametrize(("sampler", "calls"), [("Heun", 7), ("PLMS", 5), ("Euler", 4)])
def test_the_total_is_what_the_sampler_needs(
    engine: DiffusersBackend, sampler: str, calls: int
) -> None:
    """Not what was asked for: some samplers call the model twice a step."""
    steps = Steps()
    engine.generate(Txt2ImgRequest(**{**SMALL, "sampler": sampler}), steps)
    assert steps.seen == [(number, calls) for number in range(1, calls + 1)]


def test_hires_fix_enlarges_and_redraws_with_all_its_steps(engine: DiffusersBackend) -> None:
    """The first pass's size stays that of the request; steps of both passes are one row."""
    steps = Steps()
    request = Txt2ImgRequest(
        **SMALL, hires_scale=1.5, hires_denoising_strength=0.4, hires_steps=3, batch_size=2
    )
    first, _ = engine.generate(request, steps).images
    assert pixels(first.png).shape == (96, 96, 3)
    size = {name: first.effective[name] for name in ("width", "height")}
    assert size == {"width": 64, "height": 64}
    assert {n: v for n, v in first.effective.items() if n.startswith("hires")} == {
        "hires_scale": 1.5, "hires_upscaler": "Lanczos", "hires_steps": 3,
        "hires_denoising_strength": 0.4,
    }  # fmt: skip
    assert steps.seen == [(number, 14) for number in range(1, 15)]


def test_only_the_white_of_a_mask_changes(engine: DiffusersBackend) -> None:
    """Black is kept to the pixel, which latents alone cannot do."""
    given = generate(engine).images[0].png
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (0, 0, 32, 64))
    fields = {**SMALL, "seed": 99, "denoising_strength": 1.0}
    (image,) = engine.generate(
        Img2ImgRequest(**fields, init_image=given, mask=png(mask), mask_blur=0), Steps()
    ).images
    change = np.abs(pixels(image.png) - pixels(given))
    assert change[:, 32:].max() == 0
    assert change[:, :32].mean() > 1
    assert image.effective["mask_blur"] == 0


def test_less_than_one_step_keeps_the_input_and_says_so(engine: DiffusersBackend) -> None:
    """What was asked for and what happened differ, so the run shows a mismatch."""
    given = generate(engine).images[0].png
    fields = {**SMALL, "denoising_strength": 0.1}
    answer = engine.generate(Img2ImgRequest(**fields, init_image=given), Steps())
    assert answer.images[0].effective["denoising_strength"] == 0
    assert "less than one step" in answer.warnings[0]


def test_clip_skip_counts_as_the_field_counts(engine: DiffusersBackend) -> None:
    """1 is all layers; a model has only so many."""
    plain, first, two = (generate(engine, clip_skip=n).images[0] for n in (None, 1, 2))
    assert (pixels(plain.png) == pixels(first.png)).all()
    assert (pixels(plain.png) != pixels(two.png)).any()
    assert two.effective["clip_skip"] == 2
    with pytest.raises(BackendError, match="clip_skip must be at most 2"):
        generate(engine, clip_skip=3)


def test_knobs_without_effect_are_named(engine: DiffusersBackend) -> None:
    """Nothing that was asked for disappears in silence."""
    answer = generate(
        engine, prompt="a (red:1.3) fox", vae="x", eta=0.5, extra={"latents": 1, "eta": 1}
    )
    text = "\n".join(answer.warnings)
    for words in (
        "does not weigh",
        "vae had no effect",
        "eta had no effect",
        "'latents'",
        "knob eta decides",
    ):
        assert words in text
    assert "eta" not in answer.images[0].effective
    assert generate(engine, sampler="DDIM", eta=0.5).images[0].effective["eta"] == 0.5
    assert "extra" not in answer.images[0].effective


def test_guidance_below_one_is_none(engine: DiffusersBackend) -> None:
    """The library does the same at 0.3 as at 1; the record says 1."""
    answer = generate(engine, cfg_scale=0.3, negative_prompt="blue")
    assert answer.images[0].effective["cfg_scale"] == 1
    assert "the negative prompt has no effect at cfg_scale 1" in answer.warnings


@pytest.fixture(scope="session")
def lora_dir(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    folder = tmp_path_factory.mktemp("loras")
    torch.manual_seed(5)
    with quiet():
        pipeline = StableDiffusionPipeline.from_pretrained(str(tiny), local_files_only=True)
        pipeline.unet.add_adapter(
            LoraConfig(r=4, target_modules=["to_q", "to_v"], init_lora_weights=False)
        )
        layers = get_peft_model_state_dict(pipeline.unet)
        StableDiffusionPipeline.save_lora_weights(str(folder), unet_lora_layers=layers)
    (folder / "pytorch_lora_weights.safetensors").rename(folder / "crooked.safetensors")
    return folder


def test_a_lora_acts_by_its_weight_and_leaves_no_trace(tiny: Path, lora_dir: Path) -> None:
    """Plain, with it, plain again: the third picture is the first."""
    engine = DiffusersBackend(model=str(tiny), device="cpu", lora_dir=lora_dir)
    prompts = ("a fox", "a fox <lora:crooked:1>", "a fox <lora:crooked:0.2>", "a fox")
    plain, full, little, after = (
        pixels(generate(engine, prompt=prompt).images[0].png) for prompt in prompts
    )
    assert (plain == after).all()
    assert np.abs(plain - full).mean() > np.abs(plain - little).mean() > 0


def test_files_that_were_replaced_are_loaded_again_and_count(
    tiny: Path, lora_dir: Path, tmp_path: Path
) -> None:
    """An engine that stays ready draws what the files hold now, and says that they changed."""
    from safetensors.torch import load_file, save_file

    loras = Path(shutil.copytree(lora_dir, tmp_path / "loras"))
    model = Path(shutil.copytree(tiny, tmp_path / "model"))
    engine = DiffusersBackend(model=str(model), device="cpu", lora_dir=loras)
    named = {"model": [str(model)], "lora": ["crooked"]}

    def drawn() -> tuple[EngineSetup, bytes, bytes]:
        setup = engine.setup(named)
        assert setup.untold == ()
        plain, bent = (generate(engine, prompt=p) for p in ("a fox", "a fox <lora:crooked:1>"))
        return setup, plain.images[0].png, bent.images[0].png

    before = drawn()
    assert drawn() == before
    file = loras / "crooked.safetensors"
    save_file({name: 2 * tensor for name, tensor in load_file(file).items()}, file)
    trained = drawn()
    assert trained[0].contents["model"] == before[0].contents["model"]
    assert trained[0].contents["lora"] != before[0].contents["lora"]
    assert trained[1] == before[1]
    assert trained[2] != before[2]
    with quiet():
        other = save_tiny_pipeline(tmp_path / "other", seed=1)
    shutil.copytree(other, model, dirs_exist_ok=True)
    replaced = drawn()
    assert replaced[0].contents["model"] != before[0].contents["model"]
    assert replaced[1] != before[1]


def test_a_model_that_is_nowhere_is_not_known(tiny: Path) -> None:
    """Nor is a repository that a newer commit may replace; options count."""
    engine = DiffusersBackend(device="cpu")
    assert engine.setup({"model": ["someone/nothing"]}).untold == (
        "what is in the model 'someone/nothing'",
    )
    half = DiffusersBackend(model=str(tiny), device="cpu", dtype="bfloat16", variant="fp16")
    whole = DiffusersBackend(model=str(tiny), device="cpu")
    assert half.setup({}).facts != whole.setup({}).facts
    assert half.setup({}).defaults == {"model": str(tiny)}


def test_a_picture_of_a_processor_is_not_that_of_a_gpu_nor_of_one_without_bfloat16(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same config means float32 here and bfloat16 there; no model is loaded to tell."""
    import torch

    def facts(device: str, *, bfloat16: bool = True, dtype: str = "auto") -> Any:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: device == "cuda")
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: bfloat16)
        return DiffusersBackend(model=str(tiny), dtype=dtype).setup({}).facts

    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    processor, newer, older = facts("cpu"), facts("cuda"), facts("cuda", bfloat16=False)
    assert (processor["device_type"], newer["device_type"]) == ("cpu", "cuda")
    assert len({tuple(sorted(each.items())) for each in (processor, newer, older)}) == 3
    assert older["auto_dtype"] == "float32"
    stated = [facts("cuda", bfloat16=has, dtype="bfloat16") for has in (True, False)]
    assert stated[0] == stated[1]


def test_a_lora_that_is_not_there_is_refused_with_the_nearest(tiny: Path, lora_dir: Path) -> None:
    """A picture without it would look like one with it."""
    engine = DiffusersBackend(model=str(tiny), device="cpu", lora_dir=lora_dir)
    with pytest.raises(BackendError, match="'croked'.*did you mean 'crooked'"):
        generate(engine, prompt="a <lora:croked:1>")


def test_cancelling_inside_a_batch_stops_at_once(engine: DiffusersBackend) -> None:
    """And never comes back as a half-drawn picture."""
    steps = Steps(stop_after=6)
    with pytest.raises(GenerationCancelled):
        engine.generate(Txt2ImgRequest(**SMALL, batch_size=3), steps)
    assert steps.seen[-1] == (6, 12)


@pytest.mark.parametrize(
    ("model", "words"),
    [("", "model must be stated"), ("/no/such.safetensors", "there is no"), (".", "no diffusers")],
)
def test_a_model_that_is_not_there_is_refused(model: str, words: str) -> None:
    """With what a model may be."""
    with pytest.raises(BackendError, match=words):
        generate(DiffusersBackend(model=model, device="cpu"))


@pytest.mark.parametrize(
    "options",
    [{"dtype": "int8"}, {"batches": "x"}, {"model": 3}, {"local_files_only": "no"},
     {"lora_dir": "/no/such/folder"}],
)  # fmt: skip
def test_a_wrong_option_is_refused_at_once(options: dict[str, Any]) -> None:
    """Before anything heavy is imported."""
    with pytest.raises(BackendError, match=next(iter(options))):
        DiffusersBackend(**options)


def test_models_that_a_page_names_come_from_where_they_may(
    tiny: Path, lora_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the form of what it says, and never by what there is elsewhere."""
    model = Path(shutil.copytree(tiny, tmp_path / "root" / "tiny"))
    loras = Path(shutil.copytree(lora_dir, tmp_path / "root" / "loras"))
    files = FilesUnder((tmp_path / "root",))
    engine = DiffusersBackend(device="cpu", lora_dir=loras, files=files)
    drawn = generate(engine, model=str(model), prompt="a fox <lora:crooked:1>")
    assert pixels(drawn.images[0].png).shape == (64, 64, 3)
    (tmp_path / "owner").mkdir()
    shutil.copytree(tiny, tmp_path / "owner" / "name")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BackendError, match="'owner/name' of the hub is not on this machine"):
        generate(engine, model="owner/name")
    for name in (str(tiny), "/no/such/model", f"{tmp_path}/owner/name", "./owner/name"):
        with pytest.raises(BackendError, match="is no file that a page may name") as caught:
            generate(engine, model=name)
        assert str(caught.value) == f"model {name!r} {RULE}"
    for prompt in (f"<lora:{lora_dir}/crooked.safetensors:1>", "<lora:/no/such.safetensors:1>"):
        with pytest.raises(BackendError, match="is no file that a page may name"):
            generate(engine, model=str(model), prompt=prompt)
    (model / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(BackendError, match="can run code when it is loaded"):
        generate(DiffusersBackend(device="cpu", files=files), model=str(model))


def test_a_hub_model_on_this_machine_is_drawn_with_unless_it_can_run_code(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0" * 40
    repository = tmp_path / "hub" / "models--owner--name"
    snapshot = Path(shutil.copytree(tiny, repository / "snapshots" / commit))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit, "utf-8")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    files = FilesUnder((tmp_path / "root",))
    engine = DiffusersBackend(device="cpu", files=files)
    assert pixels(generate(engine, model="owner/name").images[0].png).shape == (64, 64, 3)
    (snapshot / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(BackendError, match="can run code when it is loaded"):
        generate(DiffusersBackend(device="cpu", files=files), model="owner/name")
