"""The guide to scorers is true: the package on that page keeps the contract, and scores."""

from __future__ import annotations

import importlib
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from application.scored_pictures import archive_of, flat, textured
from application.scorer_contract import ScorerContract
from application.small_network import mean_network
from command_line import Safelight
from safelight.application.scorers import BUILT_IN, GROUP, Scorer, create_scorer
from safelight.errors import ScorerError

GUIDE = Path(__file__).parents[2] / "docs" / "scorers.md"


def block(language: str) -> str:
    (code,) = re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    assert isinstance(code, str)
    return code


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package as pip leaves it, by its own pyproject.toml; gives the weights' file."""
    project = tomllib.loads(block("toml"))["project"]
    packages = tmp_path / "packages"
    about = packages / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    points = project["entry-points"][GROUP]
    lines = [f"[{GROUP}]", *(f"{name} = {value}" for name, value in points.items())]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")
    (only,) = tomllib.loads(block("toml"))["tool"]["hatch"]["build"]["targets"]["wheel"][
        "only-include"
    ]
    (packages / only).write_text(block("python"), "utf-8")
    monkeypatch.syspath_prepend(str(packages))
    weights = tmp_path / "mine.onnx"
    weights.write_bytes(mean_network(224))
    yield weights
    importlib.invalidate_caches()
    sys.modules.pop("my_aesthetics", None)


class TestOfTheGuide(ScorerContract):
    @pytest.fixture
    def scorer(self, installed: Path) -> Scorer:
        return create_scorer("aesthetics", {"weights": str(installed)})


def test_it_scores_an_archive(command: Safelight, installed: Path, tmp_path: Path) -> None:
    """As the page says: listed, run with weights, found, and its version is of the weights."""
    archive = archive_of(tmp_path / "safelight", [("a", flat(100)), ("b", textured(1, 300))])
    listed = command("score")
    assert "name your network: --option weights=FILE.onnx" in listed.output
    done = command("score", "aesthetics", "--option", "weights=mine.onnx", "--batch", "32")
    assert done.exit_code == 0, done.output
    rows = json.loads(command("find", "--columns", "score.aesthetics", "--json").stdout)["rows"]
    colour = np.array([100, 10, 20]) / 255
    mean, spread = (
        np.array([0.48145466, 0.4578275, 0.40821073]),
        (0.26862954, 0.26130258, 0.27577711),
    )
    assert rows[1]["score.aesthetics"] == pytest.approx(np.mean((colour - mean) / spread), rel=1e-4)
    before = archive.picture_scores().newest["aesthetics"]
    installed.write_bytes(mean_network(224) + b"\x12\x01m")  # who made it: other bytes
    command("score", "aesthetics", "--option", "weights=mine.onnx")
    assert archive.picture_scores().newest["aesthetics"] != before
    assert len(archive.picture_scores().every) == 4


@pytest.mark.usefixtures("installed")
def test_without_weights_it_says_what_it_wants() -> None:
    with pytest.raises(ScorerError, match="'aesthetics' cannot be made: .*weights=FILE.onnx"):
        create_scorer("aesthetics")


def test_the_page_says_of_each_shipped_scorer_what_it_says_itself() -> None:
    """Its name and its unit."""
    page = GUIDE.read_text("utf-8")
    for name in BUILT_IN:
        (row,) = re.findall(rf"^\| `{name}` \|.*\|$", page, re.MULTILINE)
        assert row.endswith(f"| {create_scorer(name).unit} |")
