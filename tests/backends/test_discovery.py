"""Engines are found by name: the built-in ones in a table, others by entry point."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from safelight.allowed_files import RULE, FilesUnder
from safelight.backends import (
    BUILT_IN,
    GROUP,
    backend_names,
    create_backend,
    engine_factory,
    option_kinds,
)
from safelight.backends.diffusers_engine.loras import find_lora
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


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_option_of_an_engine_says_what_it_is(name: str) -> None:
    """One that names a file or an address and does not say so could come from a page."""
    parameters = inspect.signature(engine_factory(name)).parameters
    kinds = option_kinds(name)
    assert set(kinds) == set(parameters) - {"files"}
    for option, kind in kinds.items():
        if re.search(r"url|user|password|token|key|verify|headers|local_files_only", option):
            assert kind == "owner", option
        if re.search(r"_dir$|_config$|workflow|path|file(?!s_only)", option):
            assert kind == "file", option
        if kind == "file":
            assert "files" in parameters, f"{name} opens {option} itself"


def test_how_files_are_opened_is_no_option() -> None:
    with pytest.raises(BackendError, match="has no option 'files'"):
        create_backend("comfyui", {"files": "x"})


@pytest.mark.parametrize(("name", "option"), [
    ("comfyui", "workflow"), ("bundled", "model_dir"), ("diffusers", "lora_dir"),
    ("diffusers", "upscaler_dir"), ("diffusers", "single_file_config"),
])  # fmt: skip
@pytest.mark.parametrize("value", ["/etc/passwd", "/etc/none", "/root", "../up", "none.json"])
def test_a_file_out_of_reach_is_refused_whether_it_is_there_or_not(
    tmp_path: Path, name: str, option: str, value: str
) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "up").mkdir()
    with pytest.raises(BackendError) as caught:
        create_backend(
            name, {option: value}, folder=tmp_path / "root", files=FilesUnder((tmp_path / "root",))
        )
    if value != "none.json" or option not in ("lora_dir", "upscaler_dir"):
        assert str(caught.value).endswith(RULE)


def test_loras_and_upscalers_come_from_where_they_may(tmp_path: Path) -> None:
    folder = tmp_path / "loras"
    folder.mkdir()
    for name in ("ink.safetensors", "old.pt"):
        (folder / name).write_bytes(b"x")
    (tmp_path / "out.safetensors").write_bytes(b"x")
    (folder / "link.safetensors").symlink_to(tmp_path / "out.safetensors")
    files = FilesUnder((folder,))
    assert find_lora("ink", folder, files) == (folder / "ink.safetensors").resolve()
    assert find_lora(str(folder / "ink.safetensors"), None, files)
    assert find_lora("old", folder) == folder / "old.pt"
    for name in ("old", "link", "none"):
        with pytest.raises(BackendError, match=f"there is no LoRA '{name}' in lora_dir.*ink"):
            find_lora(name, folder, files)
    told = set()
    for name in ("out.safetensors", "none.safetensors"):
        with pytest.raises(BackendError) as caught:
            find_lora(f"{tmp_path}/{name}", folder, files)
        told.add(str(caught.value).replace(name, "X"))
    assert len(told) == 1
