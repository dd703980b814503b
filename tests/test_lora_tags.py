"""LoRA tags are taken out of a prompt as AUTOMATIC1111 reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.lora_tags import Lora, LoraFamily, lora_family, split_loras


@pytest.mark.parametrize(
    ("prompt", "rest", "loras"),
    [
        ("a cat", "a cat", ()),
        ("a cat <lora:ink>", "a cat", (Lora(name="ink"),)),
        ("a, <lora:ink:0.5>, b", "a, b", (Lora(name="ink", unet=0.5, text_encoder=0.5),)),
        ("<lora:ink:0.5:0.8> a", "a", (Lora(name="ink", text_encoder=0.5, unet=0.8),)),
        ("a <lora:x:te=0.5:unet=1>", "a", (Lora(name="x", text_encoder=0.5, unet=1),)),
        ("a <lora:x:-1><lora:y v2:2>", "a", (
            Lora(name="x", unet=-1, text_encoder=-1), Lora(name="y v2", unet=2, text_encoder=2),
        )),
        ("a <lora:x:much> (b:1.2)", "a <lora:x:much> (b:1.2)", ()),
        ("a <lyco:x:1>, <b", "a <lyco:x:1>, <b", ()),
    ],
)  # fmt: skip
def test_tags_are_split_off(prompt: str, rest: str, loras: tuple[Lora, ...]) -> None:
    assert split_loras(prompt) == (rest, loras)


@given(st.text(alphabet="<>lora:x=1.- ,", max_size=40))
def test_any_text_is_read(prompt: str) -> None:
    rest, loras = split_loras(prompt)
    assert split_loras(rest)[1] == () or loras
    if not loras:
        assert rest == prompt


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("mylora-000004", LoraFamily("mylora", "epoch", 4)),
        ("MyLora-000012.safetensors", LoraFamily("mylora", "epoch", 12)),
        ("mylora-step00000500", LoraFamily("mylora", "step", 500)),
        ("sdxl/mylora_000001500", LoraFamily("mylora", "step", 1500)),
        ("mylora-e4", LoraFamily("mylora", "epoch", 4)),
        ("mylora", LoraFamily("mylora")),
        ("style-v2", LoraFamily("style-v2")),
        ("girl-231105", LoraFamily("girl-231105")),
        ("pony_v6-000010-000004", LoraFamily("pony_v6-000010", "epoch", 4)),
        ("-000004", LoraFamily("-000004")),
    ],
)
def test_a_file_of_a_training_tells_its_family_and_state(name: str, family: LoraFamily) -> None:
    """One of a training's files is in each picture, so they are values of one knob."""
    assert lora_family(name) == family


@given(st.text("abc-_0", min_size=1, max_size=12), st.integers(0, 99_999))
def test_every_state_of_a_training_is_of_one_family(stem: str, number: int) -> None:
    states = [f"{stem}-{number:06}", f"{stem}-step{number:08}", f"{stem}_{number:09}"]
    assert {lora_family(name).name for name in states} == {stem}
    assert {lora_family(name).number for name in states} == {number}
