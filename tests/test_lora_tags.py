"""LoRA tags are taken out of a prompt as AUTOMATIC1111 reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.lora_tags import Lora, split_loras


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
