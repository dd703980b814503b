"""A filter is put together and taken apart piece by piece, and always means what it showed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.archive.answer import columns_of_view
from safelight.filter_parts import FilterParts
from safelight.filters import compile_filter

COLUMNS = columns_of_view("images")


@pytest.mark.parametrize(
    ("text", "parts", "without_the_first"),
    [
        ("", (), ""),
        ("lighthouse at dusk", ("lighthouse", "at", "dusk"), "at dusk"),
        ("'golden hour' steps > 20, model = 'x'", ("'golden hour'", "steps > 20", "model = 'x'"),
         "steps > 20 and model = 'x'"),
        ("steps between 1 and 5 and (a or b)", ("steps between 1 and 5", "(a or b)"), "(a or b)"),
        ("a or b c", ("a or b c",), ""),
        ("model = 'a and b' and not fox", ("model = 'a and b'", "not fox"), "not fox"),
        ("x tags in boxes", ("x", "tags", "in", "boxes"), "tags and in and boxes"),
    ],
)  # fmt: skip
def test_what_must_all_hold_is_told_as_it_was_written(
    text: str, parts: tuple[str, ...], without_the_first: str
) -> None:
    apart = FilterParts.of(text, COLUMNS)
    assert apart.parts == parts
    assert not parts or apart.without(0) == without_the_first


def test_what_is_put_in_stands_beside_all_of_it() -> None:
    """Also where it was a choice; a second time takes it out."""
    clause = "model = 'x'"
    on, q = FilterParts.of("fox or hen", COLUMNS).toggled(clause)
    assert (on, q) == (False, f"(fox or hen) and {clause}")
    assert FilterParts.of(q, COLUMNS).toggled(clause) == (True, "(fox or hen)")
    assert FilterParts.of("fox", COLUMNS).toggled(clause) == (False, f"fox and {clause}")


pieces = st.sampled_from([
    "fox", "tags", "has", "in", "is", "missing", "between", "'at night'", "steps > 20", "lora.ink",
    "(a or b)", "not hen", "model in ('a', 'b')", "50", "lora('x') = 0.5", "<lora:ink:1>", "(ink)",
])  # fmt: skip


@given(st.lists(pieces, max_size=6), st.data())
def test_without_one_the_others_stay_as_they_were(chosen: list[str], data: st.DataObject) -> None:
    """Taking out a chip changes no other."""
    apart = FilterParts.of(" and ".join(chosen), COLUMNS)
    if apart.parts:
        place = data.draw(st.integers(0, len(apart.parts) - 1))
        left = [*apart.parts[:place], *apart.parts[place + 1 :]]
        assert compile_filter(apart.without(place), COLUMNS).parts == tuple(left)
