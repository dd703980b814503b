"""What is handed out is what somebody installs: whole, licensed, and nothing of ours beside it."""

from __future__ import annotations

import email
import email.message
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import safelight
from safelight.config import PipelineConfig

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "safelight"
BUILT = os.environ.get("SAFELIGHT_DISTRIBUTIONS", "")
built = pytest.mark.skipif(not BUILT, reason="make wheel-test builds a wheel and an sdist first")


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def kept(folder: Path) -> set[str]:
    """The files below *folder* that are no caches."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def wheel() -> zipfile.ZipFile:
    (path,) = Path(BUILT).glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def source_distribution() -> tarfile.TarFile:
    (path,) = Path(BUILT).glob("*.tar.gz")
    return tarfile.open(path)


@pytest.fixture(scope="module")
def about(wheel: zipfile.ZipFile) -> email.message.Message:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(name))


# -- licences ---------------------------------------------------------------------------


def test_every_file_that_is_shipped_has_a_licence_whose_text_is_shipped() -> None:
    """Whoever adds a font, an icon or a model says where it is from."""
    told = tomllib.loads((ROOT / "LICENSES" / "SHIPPED.toml").read_text("utf-8"))
    for file in sorted(kept(SOURCE)):
        if not file.endswith(".py"):
            hits = [e for e in told["files"] if any(fnmatchcase(file, m) for m in e["match"])]
            assert len(hits) == 1, f"{file} meets {len(hits)} entries of LICENSES/SHIPPED.toml"
    for entry in told["files"]:
        for match in entry["match"]:
            assert any(fnmatchcase(file, match) for file in kept(SOURCE)), f"{match} is nothing"
    sources = {source["name"]: source for source in told["sources"]}
    assert {name for entry in told["files"] for name in entry.get("fitted_to", ())} == set(sources)
    listed = project()["project"]["license-files"]
    for entry in (*told["files"], *sources.values()):
        assert (ROOT / entry["text"]).read_text("utf-8").strip()
        assert any(fnmatchcase(entry["text"], pattern) for pattern in listed)
        first_words = (ROOT / entry["text"]).read_text("utf-8")[:400]
        assert {"MIT": "MIT License", "Apache-2.0": "Apache License"}[
            entry["licence"]
        ] in first_words


# -- one version ------------------------------------------------------------------------


def test_the_changelog_begins_with_what_is_not_released_and_then_with_this_version() -> None:
    heads = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert heads[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(safelight.__version__)} - \d{{4}}-\d\d-\d\d", heads[1])


def test_the_version_is_written_in_one_place() -> None:
    assert project()["project"]["dynamic"] == ["version"]
    assert "version" not in project()["project"]
    assert project()["tool"]["hatch"]["version"]["path"] == "src/safelight/version.py"
    cited = (ROOT / "CITATION.cff").read_text("utf-8")
    assert not re.search(r"^version:", cited, re.MULTILINE)


@built
def test_what_is_installed_tells_the_same_version(about: email.message.Message) -> None:
    assert metadata.version("safelight") == safelight.__version__ == about["Version"]


# -- the wheel --------------------------------------------------------------------------


@built
def test_the_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """Examples, model, page, types and licences; no tests, no path of the machine that built it."""
    names = {name for name in wheel.namelist() if not name.endswith("/")}
    package = {name.removeprefix("safelight/") for name in names if name.startswith("safelight/")}
    assert package == kept(SOURCE)
    (info,) = {name.split("/")[0] for name in names if not name.startswith("safelight/")}
    licences = {name.rpartition("licenses/")[2] for name in names if "/licenses/" in name}
    texts = {f"LICENSES/{path.name}" for path in (ROOT / "LICENSES").iterdir()}
    assert licences == {"LICENSE", "NOTICE", *texts}
    assert f"{info}/entry_points.txt" in names
    here = str(ROOT).encode()
    assert [name for name in names if here in wheel.read(name)] == []


@built
def test_the_wheel_says_for_whom_it_is(about: email.message.Message) -> None:
    assert about["Requires-Python"] == ">=3.11"
    assert about["License-Expression"] == "MIT"
    assert about["Metadata-Version"] == "2.4"
    pythons = {c.rpartition(" ")[2] for c in about.get_all("Classifier", []) if ":: 3." in c}
    assert {"3.11", "3.12", "3.13"} <= pythons


@built
def test_the_examples_that_are_installed_are_configs() -> None:
    """They are read from where the package is, not from a clone."""
    folder = Path(safelight.__file__).parent / "examples"
    assert ROOT / "src" not in folder.parents
    for example in folder.glob("*.toml"):
        PipelineConfig.from_file(example)


# -- the sdist --------------------------------------------------------------------------


@built
def test_the_sdist_is_enough_to_build_and_to_test(source_distribution: tarfile.TarFile) -> None:
    """Whoever packages it elsewhere has all that make check needs."""
    names = {member.name.partition("/")[2] for member in source_distribution if member.isfile()}
    for folder in ("src", "tests", "docs", "LICENSES"):
        missing = {f"{folder}/{name}" for name in kept(ROOT / folder)} - names
        assert sorted(missing) == []
    tops = {name.partition("/")[0] for name in names}
    assert {"Makefile", "pyproject.toml", "CHANGELOG.md", "LICENSE", "NOTICE"} <= tops
    assert tops.isdisjoint({"build", "dist", "training", ".venv", ".git"})
    outside = [m.name for m in source_distribution if m.issym() or ".." in m.name.split("/")]
    assert outside == []


# -- types ------------------------------------------------------------------------------


@built
def test_a_strict_script_is_checked_against_the_types_that_are_installed(tmp_path: Path) -> None:
    """``py.typed`` works, and a wrong argument is an error."""
    script = tmp_path / "typed_user.py"
    script.write_bytes((Path(__file__).parent / "typed_user.py").read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores",
         "--config-file", os.devnull, script.name],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
