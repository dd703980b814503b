"""Engines are found by entry point, the built-in ones by the same door."""

from __future__ import annotations

import pytest

from safelight.backends import backend_names, create_backend
from safelight.errors import BackendError, BackendNotInstalled


def test_the_built_in_engines_are_found() -> None:
    """A fresh installation can draw."""
    assert {"bundled", "fake"} <= set(backend_names())
    assert create_backend("fake").name == "fake"
    assert create_backend("bundled").name == "bundled"


def test_options_are_handed_on_and_wrong_ones_named() -> None:
    """A typo in an option is said, with near ones."""
    create_backend("fake", {"seconds_per_step": 0.0, "fail_on": ["x"]})
    with pytest.raises(BackendError, match="no option 'secnds_per_step'.*'seconds_per_step'"):
        create_backend("fake", {"secnds_per_step": 1})


def test_an_unknown_engine_is_refused_with_near_names() -> None:
    """Or with the list of all."""
    with pytest.raises(BackendError, match="did you mean 'bundled'"):
        create_backend("bundeld")
    with pytest.raises(BackendError, match="installed: bundled, "):
        create_backend("zzz")


def test_a_missing_package_is_told_with_the_install_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An engine that is an extra may be listed before it can be loaded."""
    import sys

    monkeypatch.setitem(sys.modules, "safelight.backends.fake", None)
    with pytest.raises(BackendNotInstalled, match="pip install"):
        create_backend("fake")
