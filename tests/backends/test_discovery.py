"""Engines are found by name: the built-in ones in a table, others by entry point."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from safelight.backends import GROUP, backend_names, create_backend
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
    with pytest.raises(BackendError, match="installed: bundled, .*fake"):
        create_backend("zzz")


def test_a_missing_package_is_told_with_the_install_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An engine that is an extra may be listed before it can be loaded."""
    import sys

    monkeypatch.setitem(sys.modules, "safelight.backends.fake", None)
    with pytest.raises(BackendNotInstalled, match="pip install"):
        create_backend("fake")


def test_an_engine_of_another_package_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an installed package says of itself is all that it takes."""
    metadata = tmp_path / "darkroom-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: darkroom\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        f"[{GROUP}]\nred = safelight.backends.fake:FakeBackend\nlost = darkroom_lost:Engine\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "red" in backend_names()
    assert create_backend("red", {"seconds_per_step": 0.0}).name == "fake"
    with pytest.raises(BackendNotInstalled, match=r"pip install darkroom\[lost\]"):
        create_backend("lost")


def test_a_built_in_engine_is_found_without_reading_what_is_installed() -> None:
    """Reading every package's metadata would be a tenth of planning a small config."""
    code = (
        "import sys\n"
        "from safelight.backends import create_backend\n"
        "create_backend('bundled')\n"
        "print('importlib.metadata' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
