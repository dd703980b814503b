"""The diffusers engine without its packages: known, listed, and clear about what is missing."""

from __future__ import annotations

import sys

import pytest

from safelight.backends import create_backend
from safelight.errors import BackendNotInstalled
from safelight.pipeline.backend import ListsChoices


def test_a_missing_package_is_told_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Plans can be made without it; only drawing needs it."""
    monkeypatch.setitem(sys.modules, "diffusers", None)
    engine = create_backend("diffusers", {"model": "x"})
    assert isinstance(engine, ListsChoices)
    assert "Euler a" in engine.choices()["sampler"]
    with pytest.raises(BackendNotInstalled, match=r'pip install "safelight\[diffusers\]"'):
        engine.describe()
