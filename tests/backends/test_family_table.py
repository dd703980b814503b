"""What the documentation says of families of models is what came of drawing with them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from backends.family_pipelines import FAMILIES, save_family, what_diffusers_does
from backends.family_table import read_families, table, written_table


def test_the_table_is_what_was_drawn() -> None:
    """A table that is kept by hand is wrong after the next change."""
    families = read_families()
    assert set(families["diffusers"]) == set(FAMILIES)
    assert written_table() == table(families)


@pytest.mark.skipif(importlib.util.find_spec("diffusers") is None, reason="needs the extra")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_does_what_the_table_says(family: str, tmp_path: Path) -> None:
    """Each feature is tried with a pipeline of random weights; what is refused, in which words."""
    drawn = what_diffusers_does(family, save_family(family, tmp_path / "m"))
    assert drawn == read_families()["diffusers"][family]
