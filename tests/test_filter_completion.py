"""What a filter may go on with, wherever the cursor is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.filter_completion import Known, complete
from safelight.filters import compile_filter

COLUMNS = {
    "sha256": "VARCHAR", "prompt": "VARCHAR", "model": "VARCHAR", "sampler": "VARCHAR",
    "steps": "BIGINT", "stars": "DOUBLE", "status": "VARCHAR", "tags": "VARCHAR", "path": "VARCHAR",
}  # fmt: skip
KNOWN = Known(
    columns={**COLUMNS, "tag": "VARCHAR"},
    values={
        "model": [("realB", 9), ("dreamA", 3), ("it's", 1)], "sampler": [("Euler a", 5)],
        "steps": [("20", 4), ("30", 2)], "tag": [("hands", 2)],
    },
    loras=[("my ink", 4), ("ink_v2", 2)],
    weights={"my ink": [("0.5", 3), ("0.7", 1)]},
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("st", ["steps ", "stars ", "status "]),
        ("fog s", ["fog sampler ", "fog steps ", "fog stars ", "fog status "]),
        ("model = ", ["model = 'realB'", "model = 'dreamA'", "model = 'it''s'"]),
        ("model = 'd", ["model = 'dreamA'"]), ("model has real", ["model has 'realB'"]),
        ("model in ('realB', '", ["model in ('realB', 'realB'", "model in ('realB', 'dreamA'",
                                  "model in ('realB', 'it''s'"]),
        ("steps = ", ["steps = 20", "steps = 30"]), ("steps > 3", ["steps > 30"]),
        ("lora = 'in", ["lora = 'ink_v2'", "lora = 'my ink'"]),
        ("lora('m", ["lora('my ink')"]), ("lora.", ["lora('my ink')", "lora.ink_v2"]),
        ("lora('my ink') >= ", ["lora('my ink') >= 0.5", "lora('my ink') >= 0.7"]),
        ("tags has ", ["tags has 'hands'"]), ("fog han", ["fog tag = 'hands'"]),
        ("ink", ["lora = 'ink_v2'", "lora = 'my ink'"]), ("eul", ["sampler = 'Euler a'"]),
        ("model ", ["model = ", "model != ", "model has ", "model in (", "model is missing"]),
        ("steps ", ["steps = ", "steps >= ", "steps <= ", "steps between ", "steps is missing"]),
        ("", []), ("fog ", []), ("'at ni", []), ("model = 'realB'", []), ("zzz", []),
    ],
)  # fmt: skip
def test_what_may_come_next(text: str, whole: list[str]) -> None:
    completion = complete(text, KNOWN)
    assert [text[: completion.start] + one.text for one in completion.candidates] == whole


@given(st.text() | st.text(alphabet="model lora steps tag='\"(),.<>=! has in", max_size=40))
def test_whatever_is_typed_is_no_fault(text: str) -> None:
    completion = complete(text, KNOWN)
    assert 0 <= completion.start <= len(text)
    assert len(completion.candidates) <= 12


def test_a_whole_condition_that_is_offered_is_read() -> None:
    for text in ("eul", "han", "ink", "lora.", "model = ", "steps = "):
        completion = complete(text, KNOWN)
        for one in completion.candidates:
            compile_filter(text[: completion.start] + one.text, COLUMNS)
