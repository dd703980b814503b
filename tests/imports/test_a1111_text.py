from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.formats.infotext import parse_infotext
from safelight.imports.a1111_text import read_infotext
from safelight.imports.reading import Draft

_CASES_FILE = Path(__file__).parents[3] / "shared" / "data" / "cases" / "a1111_infotext.json"
_CASES = json.loads(_CASES_FILE.read_text())["cases"] if _CASES_FILE.is_file() else []
_LINE = "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x768"


def _knobs(text: str) -> dict[str, Any]:
    draft = Draft()
    assert read_infotext(draft, text)
    return draft.knobs


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


_AWAY = pytest.param(None, marks=pytest.mark.skip(reason="the real texts are not beside it"))


@pytest.mark.parametrize("case", _CASES or [_AWAY])
def test_real_texts_read_as_the_web_ui_reads_them_or_better(case: dict[str, Any]) -> None:
    info = parse_infotext(case["text"])
    expected = {**case["fields"], **case.get("a_careful_importer_should_give", {})}
    actual = {**info.pairs, "Prompt": info.prompt, "Negative prompt": info.negative_prompt or ""}
    for key, value in list(actual.items()):
        if key not in ("Prompt", "Negative prompt") and re.fullmatch(r"\d+x\d+", value):
            actual[f"{key}-1"], actual[f"{key}-2"] = value.split("x")
    for key, value in expected.items():
        if key in case.get("baseline_truncates_json_in", ()):
            assert actual[key].startswith(value)
            json.loads(actual[key])
        elif key == "Negative prompt" and "Template" in info.pairs:
            assert _lines(value)[: len(_lines(actual[key]))] == _lines(actual[key])
        else:
            assert _lines(actual[key]) == _lines(str(value)), key


def test_values_with_commas_are_quoted_as_json() -> None:
    text = 'a cat\nSteps: 20, Sampler: Euler, Lora hashes: "a: 1b, c: 2d", Seed: 5, Note: "x\\"y"'
    pairs = parse_infotext(text).pairs
    assert pairs["Lora hashes"] == "a: 1b, c: 2d"
    assert (pairs["Seed"], pairs["Note"]) == ("5", 'x"y')


def test_the_line_of_parameters_may_be_followed_by_templates() -> None:
    templates = "Template: a {red|blue} cat\nNegative Template: dog"
    text = f"a red cat\nNegative prompt: dog\n{_LINE}\n{templates}"
    info = parse_infotext(text)
    assert (info.prompt, info.negative_prompt) == ("a red cat", "dog")
    assert info.pairs["Template"] == "a {red|blue} cat"
    assert info.pairs["Negative Template"] == "dog"


def test_parameters_glued_to_the_prompt_are_found() -> None:
    info = parse_infotext(
        "a cat, ink.Steps: 50, Sampler: Euler a, CFG scale: 4, Seed: 9, Size: 8x8"
    )
    assert (info.prompt, info.pairs["Seed"]) == ("a cat, ink.", "9")


@pytest.mark.parametrize("text", [
    "", "a cat", "a cat\nNegative prompt: dog", "ratio 3:2, time: noon, mood: calm",
    "https://example.org/a, b", "Steps", "Steps: many, Sampler: Euler",
])  # fmt: skip
def test_prose_is_no_parameter_text(text: str) -> None:
    assert parse_infotext(text).pairs == {}
    assert not read_infotext(Draft(), text)


def test_a_left_out_key_is_defaulted_and_said_to_be() -> None:
    draft = Draft()
    read_infotext(draft, f"a cat\n{_LINE}, Model: m, Version: v1.10.1")
    assert (draft.knobs["clip_skip"], draft.knobs["scheduler"]) == (1, "Automatic")
    assert draft.statuses["clip_skip"] == draft.statuses["scheduler"] == "defaulted"
    assert draft.statuses["negative_prompt"] == "defaulted"
    assert draft.generator == "a1111"


def test_an_old_name_holds_the_schedule() -> None:
    draft = Draft()
    read_infotext(draft, "a cat\nSteps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 1")
    assert (draft.knobs["sampler"], draft.knobs["scheduler"]) == ("DPM++ 2M", "Karras")
    assert draft.native["sampler"] == "DPM++ 2M Karras"


def test_strength_means_hires_fix_beside_hires_keys_and_img2img_without() -> None:
    drawn = _knobs(f"a\n{_LINE}, Denoising strength: 0.4, Hires upscale: 2, Hires upscaler: Latent")
    assert drawn["hires_denoising_strength"] == 0.4
    assert drawn["hires_steps"] == 20, "left out, it means as many as steps"
    draft = Draft()
    read_infotext(draft, f"a\n{_LINE}, Denoising strength: 0.4")
    assert (draft.stage, draft.knobs["denoising_strength"]) == ("img2img", 0.4)


def test_before_2023_the_size_was_that_of_the_second_pass() -> None:
    line = _LINE.replace("512x768", "1024x1536")
    knobs = _knobs(f"a\n{line}, Denoising strength: 0.7, First pass size: 512x768")
    assert (knobs["width"], knobs["height"], knobs["hires_scale"]) == (512, 768, 2)


def test_civitai_undefined_names_no_sampler_and_its_clip_skip_means_nothing() -> None:
    draft = Draft()
    read_infotext(draft, "a\nSteps: 20, Sampler: Undefined, CFG scale: 3.5, Seed: 1, Clip skip: 2")
    assert draft.statuses["sampler"] == "unresolved"
    assert draft.knobs["clip_skip"] == 1


@pytest.mark.parametrize(("digest", "kind"), [
    ("6ce01616", "autov1"), ("6ce0161689", "autov2"), ("6ce0161689ab", "autov3"),
    ("a" * 64, "sha256"), ("zz", "unknown"),
])  # fmt: skip
def test_a_hash_keeps_its_kind(digest: str, kind: str) -> None:
    draft = Draft()
    read_infotext(draft, f"a\n{_LINE}, Model hash: {digest}, Model: m")
    assert draft.hashes == [(kind, digest)]


def test_forge_hashed_names_for_half_a_year() -> None:
    digest = hashlib.sha256(b"dreamshaper_8.safetensors").hexdigest()[:10]
    draft = Draft()
    read_infotext(draft, f"a\n{_LINE}, Model hash: {digest}, Model: dreamshaper_8")
    assert draft.hashes == [("forge-name-hash", digest)]


def test_loras_of_the_prompt_get_their_hashes() -> None:
    draft = Draft()
    read_infotext(draft, f'a <lora:ink:0.6> <lora:gone:1:0.5>\n{_LINE}, Lora hashes: "ink: 1a2b3c"')
    assert [(lora.name, lora.weight, lora.hash) for lora in draft.loras] == [
        ("ink", 0.6, "1a2b3c"), ("gone", 0.5, "")
    ]  # fmt: skip


_words = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=60).map(
    str.strip
)


@given(
    prompt=_words, negative=_words, steps=st.integers(1, 150), seed=st.integers(0, 2**32),
    cfg=st.floats(0, 30).map(lambda v: round(v, 2)), model=_words.filter(lambda t: bool(t)),
)  # fmt: skip
def test_what_the_web_ui_writes_is_read_back(
    prompt: str, negative: str, steps: int, seed: int, cfg: float, model: str
) -> None:
    quoted = json.dumps(model, ensure_ascii=False) if re.search(r"[,:\n\"]", model) else model
    if prompt.lower().startswith("negative prompt:") or re.match(r"[{\[]", model):
        return
    text = (
        f"{prompt}\nNegative prompt: {negative}\nSteps: {steps}, Sampler: Euler a, "
        f"CFG scale: {cfg}, Seed: {seed}, Size: 512x512, Model: {quoted}, Version: v1.10.1"
    )
    info = parse_infotext(text)
    assert _lines(info.prompt) == _lines(prompt)
    assert (info.negative_prompt or "").strip() == negative.strip()
    assert (info.pairs["Steps"], info.pairs["Seed"]) == (str(steps), str(seed))
    assert info.pairs["Model"] == model


@given(st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    parse_infotext(text)
    read_infotext(Draft(), f"{text}\n{_LINE}, {text}")
