"""Every flipped bit of a line is seen, and lines of before are told from damaged ones."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from safelight.line_checksums import line_state, with_checksum
from strategies import json_values, text

objects = st.dictionaries(text, json_values, min_size=1, max_size=4)


@given(objects)
def test_a_line_with_its_checksum_is_the_same_object_and_one_field_more(
    content: dict[str, object],
) -> None:
    """Programs that know nothing of it read on."""
    content.pop("check", None)
    line = json.dumps(content or {"a": 1}).encode()
    checked = with_checksum(line)
    assert line_state(checked) == "whole"
    assert line_state(line) == "unchecked"
    read = json.loads(checked)
    assert len(read.pop("check")) == 8
    assert read == json.loads(line)


@given(objects, st.data())
def test_every_flip_is_seen(content: dict[str, object], data: st.DataObject) -> None:
    """Also one in the checksum, in its name, and in the sign that ends the line."""
    line = with_checksum(json.dumps(content).encode())
    place = data.draw(st.integers(0, len(line) - 1))
    bit = data.draw(st.integers(0, 7))
    flipped = bytearray(line)
    flipped[place] ^= 1 << bit
    assert line_state(bytes(flipped)) == "damaged"


def test_every_flip_of_one_line_is_seen() -> None:
    """All of them, once."""
    line = with_checksum(b'{"event_id":"ab","kind":"stars","value":4}')
    for place in range(len(line)):
        for bit in range(8):
            flipped = bytearray(line)
            flipped[place] ^= 1 << bit
            assert line_state(bytes(flipped)) == "damaged", (place, bit)


@given(st.binary(max_size=80))
def test_anything_else_has_no_checksum(line: bytes) -> None:
    assert line_state(line) == "unchecked"
