"""The page's colours can be read: contrast after WCAG 2.2, of both sets of roles."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

from safelight import web

GROUNDS = ("ground", "surface", "raised")
LEAST = {"text": 7.0} | dict.fromkeys(
    ("quiet", "accent", "amber", "evidence", "warn", "bad", "good"), 4.5
)


def sets() -> list[dict[str, str]]:
    """Return role -> colour of each block that sets roles: dark, light by wish, light by choice."""
    css = (Path(web.__file__).parent / "static" / "style.css").read_text("utf-8")
    blocks = re.findall(r"color-scheme: (?:dark|light);([^}]*)", css)
    return [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", block)) for block in blocks]


def luminance(colour: str) -> float:
    """Relative luminance: 0.2126 R + 0.7152 G + 0.0722 B of linear sRGB."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_light_is_the_same_by_wish_and_by_choice() -> None:
    dark, wished, chosen = sets()
    assert wished == chosen
    assert dark.keys() == wished.keys()


@pytest.mark.parametrize(("role", "ground"), list(product(LEAST, GROUNDS)))
def test_words_stand_out(role: str, ground: str) -> None:
    for colours in sets():
        assert contrast(colours[role], colours[ground]) >= LEAST[role]


def test_contrast_is_measured_as_it_is_defined() -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#fff") == pytest.approx(4.48, abs=0.01)
