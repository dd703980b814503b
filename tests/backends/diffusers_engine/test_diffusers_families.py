"""Families of models draw, redraw and edit as diffusers can, and say truly with what."""

from __future__ import annotations

import inspect
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason='needs pip install "safelight[diffusers]"')
pytest.importorskip("diffusers", reason='needs pip install "safelight[diffusers]"')

import diffusers
import torch

from backends.backend_contract import Steps, pixels
from backends.diffusers_engine.tiny_families import FAMILIES as TINY
from backends.diffusers_engine.tiny_families import save_tiny_family
from backends.diffusers_engine.tiny_pipeline import save_tiny_flux
from safelight.backends.diffusers_engine import DiffusersBackend
from safelight.backends.diffusers_engine.drawing import Drawing
from safelight.backends.diffusers_engine.families import FAMILIES, Family, side_multiple
from safelight.backends.diffusers_engine.loaded_model import LoadedModel, ModelSource, quiet
from safelight.errors import BackendError
from safelight.pipeline.backend import Generation, Img2ImgRequest, Txt2ImgRequest

_SIDES = {"pixart": 256, "hidream": 256, "kandinsky5": 1024}
_ONE_STEP = ("hidream", "kandinsky5")
"""They draw large pictures only."""
_NO_NEGATIVE = ("lcm", "klein", "klein-distilled")

Folder = Callable[[str], Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Return where the pipeline of a family is; it is built when it is first asked for."""
    torch.set_num_threads(1)
    where = tmp_path_factory.mktemp("families")

    def built(name: str) -> Path:
        if not (where / name).exists():
            with quiet():
                save_tiny_family(name, where / name)
        return where / name

    return built


@pytest.fixture(scope="module")
def engine() -> DiffusersBackend:
    return DiffusersBackend(device="cpu")


class Draws:
    """Draws small pictures with one family."""

    def __init__(self, engine: DiffusersBackend, name: str, where: Path) -> None:
        self._engine, side = engine, _SIDES.get(name, 64)
        self._fields: dict[str, Any] = {
            "prompt": "a red fox", "model": str(where), "seed": 5, "width": side, "height": side,
            "steps": 1 if name in _ONE_STEP else 2,
        }  # fmt: skip
        if name == "sana":  # it would draw the nearest of larger sizes, and make that smaller
            self._fields["extra"] = {"use_resolution_binning": False}
        self.steps = Steps()

    def __call__(self, **changes: Any) -> Generation:
        self.steps = Steps()
        return self._engine.generate(Txt2ImgRequest(**{**self._fields, **changes}), self.steps)

    def from_picture(self, **changes: Any) -> Generation:
        self.steps = Steps()
        fields = {n: v for n, v in self._fields.items() if n not in ("width", "height")}
        noise = (np.random.default_rng(0).random((64, 64, 3)) * 255).astype(np.uint8)
        picture = io.BytesIO()
        Image.fromarray(noise).save(picture, "PNG")
        request = Img2ImgRequest(init_image=picture.getvalue(), **{**fields, **changes})
        return self._engine.generate(request, self.steps)


@pytest.fixture
def draws(engine: DiffusersBackend, folder: Folder) -> Callable[[str], Draws]:
    return lambda name: Draws(engine, name, folder(name))


def effective(answer: Generation) -> dict[str, Any]:
    return dict(answer.images[0].effective)


def same(one: Generation, other: Generation) -> bool:
    return bool((pixels(one.images[0].png) == pixels(other.images[0].png)).all())


def warned(answer: Generation, words: str) -> bool:
    return any(words in warning for warning in answer.warnings)


# -- guidance ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TINY)
def test_equal_records_of_guidance_are_equal_pictures(
    draws: Callable[[str], Draws], name: str
) -> None:
    """And different ones different pictures, whatever the pipeline calls no guidance."""
    draw = draws(name)
    none, one, two = (draw(cfg_scale=scale) for scale in (0, 1, 2))
    for first, second in ((none, one), (one, two), (none, two)):
        equal = effective(first)["cfg_scale"] == effective(second)["cfg_scale"]
        assert same(first, second) == equal
    assert effective(one)["cfg_scale"] == 1
    assert not warned(one, "is not in the table")
    pushed = draw(cfg_scale=1, negative_prompt="dog")
    assert same(one, pushed)
    assert warned(pushed, "no effect at cfg_scale 1") or warned(pushed, "had no effect")
    if name == "klein-distilled":
        assert effective(two)["cfg_scale"] == 1
        return
    assert effective(two)["cfg_scale"] == 2
    if name not in _NO_NEGATIVE:
        assert not same(two, draw(cfg_scale=2, negative_prompt="dog"))


def test_the_default_guidance_is_told_in_our_measure(draws: Callable[[str], Draws]) -> None:
    """Z-Image's own 5 is 6 to everybody else; a stated number comes back as it was."""
    draw = draws("z-image")
    plain = draw()
    assert effective(plain)["cfg_scale"] == 6
    assert same(plain, draw(cfg_scale=6))
    assert effective(draw(cfg_scale=7.1))["cfg_scale"] == 7.1
    assert effective(draws("qwen-image")())["cfg_scale"] == 4
    assert effective(draws("hunyuan-image")())["cfg_scale"] == 3.5


def test_a_guider_is_left_as_it_was(draws: Callable[[str], Draws]) -> None:
    """HunyuanImage keeps its guidance in an object that every picture shares."""
    draw = draws("hunyuan-image")
    plain = draw()
    draw(cfg_scale=2)
    assert same(plain, draw())


def test_a_distilled_model_says_that_it_is_not_guided(draws: Callable[[str], Draws]) -> None:
    """The library passes over the number and says nothing."""
    answer = draws("klein-distilled")(cfg_scale=4)
    assert effective(answer)["cfg_scale"] == 1
    assert warned(answer, "cfg_scale had no effect")


def test_a_negative_prompt_that_a_model_lacks_was_empty(draws: Callable[[str], Draws]) -> None:
    """So that an empty one is as asked, and another is a mismatch."""
    draw = draws("klein")
    assert effective(draw(negative_prompt=""))["negative_prompt"] == ""
    answer = draw(negative_prompt="blurry")
    assert effective(answer)["negative_prompt"] == ""
    assert warned(answer, "negative_prompt had no effect")


@pytest.mark.parametrize(
    ("name", "known", "scale"), [("chroma", "Chroma", 5), ("kontext", "FluxKontext", 1)]
)
def test_a_class_that_no_table_knows_says_what_is_assumed(
    folder: Folder, name: str, known: str, scale: float
) -> None:
    """It draws as it was loaded, also if it may be given a picture; guidance may be another."""
    unknown: Any = type("SomebodysPipeline", (getattr(diffusers, f"{known}Pipeline"),), {})
    with quiet():
        pipe = unknown.from_pretrained(str(folder(name)), local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    model = LoadedModel(
        name="m", content=None, pipe=pipe, own=pipe.scheduler, model_hash=None, notes=("a note",)
    )
    request = Txt2ImgRequest(prompt="a", steps=1, width=64, height=64)
    answer = Drawing(
        model, request, Steps(), lora_dir=None, networks_dir=None, together=False
    ).carry_out()
    assert warned(answer, "of 1 is none was assumed")
    assert "a note" in answer.warnings
    assert effective(answer)["cfg_scale"] == scale


_COMBINED = re.compile(
    r"(\w+) \+ [\w.]*?(true_cfg_scale|guidance_scale) \* \(\s*(\w+) - (\w+)\s*\)"
)
_TAKEN_APART = ("Ideogram4Pipeline",)
"""Classes whose formula is written otherwise: g * pos + (1 - g) * neg."""


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_table_says_what_the_sources_say(family: Family) -> None:
    """Classes, their arguments, from where on guidance acts, and which prediction it adds to."""
    roles = {
        "draws": family.draws, "redraws": family.redraws, "inpaints": family.inpaints,
        "edits": family.edits,
    }  # fmt: skip
    for role, name in roles.items():
        cls = getattr(diffusers, name, None) if name else None
        if cls is None or "dummy" in cls.__module__:
            assert name is None or "Kolors" in name  # needs a package that the engine does not
            continue
        taken = inspect.signature(cls.__call__).parameters
        assert "prompt" in taken
        assert ("strength" in taken) == (role in ("redraws", "inpaints"))
        assert ("mask_image" in taken) == (role == "inpaints")
        assert "image" in taken or role == "draws"
        source = re.sub(r'""".*?"""|#[^\n]*', "", inspect.getsource(cls), flags=re.DOTALL)
        acts = re.search(rf"{family.argument} > ([01])\b", source)
        formulas = {m for m in _COMBINED.findall(source) if m[1] == family.argument}
        if family.guidance == "off at 0":
            assert acts is not None
            assert acts[1] == "0"
            assert all(base == pos for base, _, pos, _ in formulas)
        elif family.guidance == "off at 1":
            assert acts is not None
            assert acts[1] == "1"
            assert all(base == neg for base, _, _, neg in formulas)
        elif family.guidance == "always":
            assert acts is None
            assert all(base == neg for base, _, _, neg in formulas)
        else:
            assert not formulas
            continue
        assert formulas or name in _TAKEN_APART


# -- precision -----------------------------------------------------------------------------


@pytest.mark.parametrize("has_bfloat16", [True, False])
@pytest.mark.parametrize("name", TINY)
def test_flows_are_never_drawn_in_float16(
    folder: Folder, name: str, has_bfloat16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In which Z-Image and Qwen-Image draw black; what a model is, its own files say."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has_bfloat16)
    source = ModelSource(
        dtype="auto", device="cuda", local_files_only=True, variant=None, revision=None,
        single_file_config=None,
    )  # fmt: skip
    with quiet():
        dtype, note = source.dtype_of(str(folder(name)))
    if name in ("sdxl", "lcm"):
        assert (dtype, note) == (torch.float16, "")
    elif has_bfloat16:
        assert (dtype, note) == (torch.bfloat16, "")
    else:
        assert dtype == torch.float32
        assert "has no bfloat16" in note


# -- schedules -----------------------------------------------------------------------------


def test_a_flow_of_dpm_keeps_to_what_it_can_do(draws: Callable[[str], Draws]) -> None:
    """Karras would blacken Sana's picture, and its own steps are not called Normal."""
    draw = draws("sana")
    plain = draw()
    assert effective(plain)["sampler"] == "DPM++ 2M"
    assert effective(plain)["shift"] == 3
    assert "scheduler" not in effective(plain)
    assert not same(plain, draw(others={"shift": 1.0}))
    with pytest.raises(BackendError, match="'Euler' does not fit .* it can do: .*UniPC") as caught:
        draw(sampler="Euler")
    assert draw.steps.seen == []
    for schedule in ("Karras", "Normal", "Beta", "Exponential"):
        with pytest.raises(BackendError, match=f"{schedule!r} does not fit a flow-matching"):
            draw(sampler="DPM++ 2M", scheduler=schedule)
        assert draw.steps.seen == []
    able = str(caught.value).rpartition("it can do: ")[2].split(", ")
    assert {"DPM++ 2M", "DPM++ 2M SDE", "UniPC"} <= set(able)
    for sampler in able:
        answer = draw(sampler=sampler, steps=3)
        assert effective(answer)["sampler"] == sampler
        assert pixels(answer.images[0].png).std() > 1
        assert not warned(answer, "all black")


def test_a_sampler_that_a_latent_consistency_model_cannot_use_is_refused(
    draws: Callable[[str], Draws],
) -> None:
    """In our words, before drawing."""
    draw = draws("lcm")
    with pytest.raises(BackendError, match="'Euler' does not fit .*; it can do: LCM"):
        draw(sampler="Euler")
    assert draw.steps.seen == []
    assert effective(draw(sampler="LCM", extra={"original_inference_steps": 20}))["extra"] == {
        "original_inference_steps": 20
    }


# -- what a family can do ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["chroma", "qwen-image", "z-image", "sd3", "lcm", "sdxl"])
def test_redrawing_and_hires_fix_go_where_diffusers_can(
    draws: Callable[[str], Draws], name: str
) -> None:
    """Also where its automatic search finds nothing."""
    draw = draws(name)
    little, much = (draw.from_picture(denoising_strength=s, steps=4) for s in (0.3, 1.0))
    assert effective(little)["denoising_strength"] == 0.3
    assert not same(little, much)
    high = draw(hires_scale=1.5, hires_denoising_strength=0.5)
    assert pixels(high.images[0].png).shape == (96, 96, 3)
    assert effective(high)["hires_denoising_strength"] == 0.5
    assert draw.steps.seen[-1][0] == draw.steps.seen[-1][1]


@pytest.mark.parametrize("name", ["sana", "lumina2", "pixart", "hidream", "klein"])
def test_what_a_family_cannot_do_is_refused_before_drawing(
    draws: Callable[[str], Draws], name: str
) -> None:
    """In one sentence, with what to do."""
    draw = draws(name)
    with pytest.raises(BackendError, match=r"hires_scale needs img2img.*stage upscale"):
        draw(hires_scale=2)
    assert draw.steps.seen == []
    with pytest.raises(BackendError, match="denoising_strength 0.5 means nothing|has no img2img"):
        draw.from_picture(denoising_strength=0.5)
    assert draw.steps.seen == []


@pytest.mark.parametrize("name", ["klein", "kontext"])
def test_a_model_that_edits_takes_the_picture_and_no_strength(
    draws: Callable[[str], Draws], name: str
) -> None:
    """It draws in the picture's size, and the record claims no strength."""
    draw = draws(name)
    extra = {"_auto_resize": False} if name == "kontext" else {}
    one, other = (draw.from_picture(prompt=prompt, extra=extra) for prompt in ("a", "b"))
    used = effective(one)
    assert "denoising_strength" not in used
    assert (used["width"], used["height"]) == (64, 64)
    assert not same(one, other)
    assert not same(one, draw(prompt="a", width=64, height=64))
    with pytest.raises(BackendError, match="which edits the picture"):
        draw.from_picture(denoising_strength=0.5)
    assert draw.steps.seen == []


@pytest.mark.parametrize("name", ["z-image", "qwen-image", "sd3", "sdxl", "klein", "kontext"])
def test_a_mask_keeps_what_is_black(draws: Callable[[str], Draws], name: str) -> None:
    """Editing models have a strength here; a path beside the picture is opened by nobody."""
    mask, file = Image.new("L", (64, 64), 0), io.BytesIO()
    mask.paste(255, (0, 0, 32, 64))
    mask.save(file, "PNG")
    extra: dict[str, Any] = {"image_reference": "/etc/hostname"} if name == "klein" else {}
    extra |= {"_auto_resize": False} if name == "kontext" else {}
    changes: dict[str, Any] = {"mask": file.getvalue(), "mask_blur": 0, "extra": extra}
    draw = draws(name)
    one, other = (draw.from_picture(prompt=p, denoising_strength=1, **changes) for p in "ab")
    assert effective(one)["denoising_strength"] == 1
    change = np.abs(pixels(one.images[0].png) - pixels(other.images[0].png))
    assert change[:, 32:].max() == 0
    assert change[:, :32].max() > 0
    assert name != "klein" or warned(one, "'image_reference' had no effect: no config can write")


def test_the_second_pass_is_guided_like_the_first(engine: DiffusersBackend, tmp_path: Path) -> None:
    """FLUX.1's two pipelines have different defaults, and only one can be recorded."""
    with quiet():
        draw = Draws(engine, "flux", save_tiny_flux(tmp_path))
    high: dict[str, Any] = {"hires_scale": 2, "hires_denoising_strength": 0.9}
    plain = draw(**high)
    assert effective(plain)["guidance"] == 3.5
    assert same(plain, draw(**high, others={"guidance": 3.5}))


def test_one_model_after_its_img2img_draws_as_before(folder: Folder) -> None:
    """Pipelines share their parts; making another one must not convert them."""
    engine = DiffusersBackend(device="cpu", dtype="bfloat16")
    draw = Draws(engine, "chroma", folder("chroma"))
    plain = draw()
    draw.from_picture(denoising_strength=0.5)
    assert engine.describe().environment["dtype"] == "bfloat16"
    assert same(plain, draw())


# -- sizes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "height", "near"),
    [("z-image", 72, "64 and 80"), ("sd3", 72, "64 and 80"), ("lumina2", 72, "64 and 80"),
     ("chroma", 72, "64 and 80"), ("qwen-image", 88, "80 and 96"), ("klein", 8, "16"),
     ("sana", 80, "64 and 96"), ("hunyuan-image", 72, "64 and 80")],
)  # fmt: skip
def test_a_size_that_a_family_does_not_take_is_refused_before_drawing(
    draws: Callable[[str], Draws], name: str, height: int, near: str
) -> None:
    """With the nearest that it takes; none is cut in silence."""
    draw = draws(name)
    with pytest.raises(BackendError, match=rf"height must be a multiple .* nearest: {near}$"):
        draw(height=height)
    assert draw.steps.seen == []
    assert effective(draw(height=96))["height"] == 96


def test_a_family_with_a_few_sizes_names_them(draws: Callable[[str], Draws]) -> None:
    """It would draw the one of the nearest shape instead."""
    with pytest.raises(BackendError, match="got 512 x 512; the nearest first: 1024 x 1024, "):
        draws("kandinsky5")(width=512, height=512)
    with pytest.raises(BackendError, match="got 640 x 1024; the nearest first: 768 x 1280, "):
        draws("kandinsky5")(width=640, height=None)


@pytest.mark.parametrize("name", TINY)
def test_the_files_of_a_model_tell_its_sides_before_it_is_loaded(
    engine: DiffusersBackend, folder: Folder, name: str
) -> None:
    """As the loaded one does, so that a plan is refused for what its pictures would be."""
    with quiet():
        pipe = diffusers.DiffusionPipeline.from_pretrained(str(folder(name)), local_files_only=True)
    told = engine.side_multiple(str(folder(name)))
    assert told == (None if name == "kandinsky5" else side_multiple(pipe))


# -- further arguments ---------------------------------------------------------------------


def test_every_argument_of_the_call_may_be_stated_and_is_recorded(
    draws: Callable[[str], Draws],
) -> None:
    """One that it does not take is refused with the nearest; one that a knob decides is told."""
    draw = draws("z-image")
    plain, cut = draw(), draw(extra={"cfg_truncation": 0.1})
    assert not same(plain, cut)
    assert effective(cut)["extra"] == {"cfg_truncation": 0.1}
    assert "extra" not in effective(plain)
    with pytest.raises(BackendError, match="'cfg_truncatoin'; did you mean 'cfg_truncation'"):
        draw(extra={"cfg_truncatoin": 0.5})
    assert draw.steps.seen == []
    owned = draw(extra={"guidance_scale": 9.0})
    assert same(plain, owned)
    assert warned(owned, "'guidance_scale' had no effect: the knob cfg_scale decides it")
