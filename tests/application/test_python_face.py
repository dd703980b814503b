"""``import safelight`` is a door like the others: its page is true, and it costs nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import safelight
from safelight.errors import ConfigError, RequestError, SafelightError
from safelight.pipeline import RunResult

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
CONFIG: dict[str, Any] = {
    "backend": "fake",
    "txt2img": {"prompt": "a {fox|boat}", "steps": 2, "width": 64, "height": 64, "seed": 1},
    "randomizer": {"mode": "fanout"},
}


def test_the_page_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Block after block, as a reader pastes them."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 6
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert names["result"].status == "completed"
    assert len(names["archive"].find().rows) > 6
    assert len(safelight.open("everything").find().rows) == len(names["archive"].find().rows)


def test_to_import_it_imports_nothing_else() -> None:
    code = (
        "import sys; before = set(sys.modules); import safelight;"
        " print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["__future__", "safelight", "safelight.version"]


@pytest.mark.parametrize("package", ["pandas", "polars", "pyarrow"])
def test_answers_are_frames_of_the_right_kinds(tmp_path: Path, package: str) -> None:
    """Also where a column is empty, and where there are no rows."""
    pytest.importorskip(package)
    archive = safelight.open(tmp_path)
    assert isinstance(safelight.run(CONFIG, archive), RunResult)
    for condition, size in (("", 2), ("steps > 99", 0)):
        rows = archive.find(condition, columns=["prompt", "steps", "seed", "stars", "favourite"])
        frame = rows.arrow() if package == "pyarrow" else getattr(rows, package)()
        names = frame.column_names if package == "pyarrow" else frame.columns
        assert list(names) == list(rows.columns)
        assert len(frame) == size
    kinds = {"pandas": "int64", "polars": "Int64", "pyarrow": "int64"}
    steps = frame.schema.field("steps").type if package == "pyarrow" else frame["steps"].dtype
    assert str(steps) == kinds[package]


def test_a_package_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(RequestError, match="pip install polars"):
        safelight.open(tmp_path).find().polars()


def test_configs_and_archives_may_be_given_as_one_has_them(tmp_path: Path) -> None:
    """A file or a mapping, an opened archive or its folder; what is wrong is told."""
    path = tmp_path / "c.json"
    path.write_text(json.dumps(CONFIG), "utf-8")
    first = safelight.run(path, tmp_path / "a", seed=3)
    again = safelight.run(CONFIG, safelight.open(tmp_path / "a"), seed=3)
    assert (len(first.images), again.reused) == (2, 2)
    with pytest.raises(ConfigError, match="steps"):
        safelight.run({"txt2img": {"prompt": "a", "steps": 0}}, tmp_path / "a")
    archive = safelight.open(tmp_path / "a")
    with pytest.raises(RequestError, match="no file, and no SHA-256"):
        archive.rate("nowhere.png", stars=3)
    with pytest.raises(RequestError, match="say something"):
        archive.rate(first.images[0].path or "")
    assert archive.record().run_id == again.run_id


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda a: a.rate("a" * 64, stars=9), "stars"),
        (lambda a: a.rate("a" * 64, stars=True), "stars"),
        (lambda a: a.rate("a" * 64, tags=["a", " "]), "a tag must be a text"),
        (lambda a: a.merge("nowhere"), "there is no archive"),
        (lambda a: a.next_to_rate(together=3), "together must be"),
        (lambda a: safelight.run(None, a), "a config must be"),  # type: ignore[arg-type]
        (lambda a: safelight.run(CONFIG, a, seed=1.5), "seed must be a whole number"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_done(
    tmp_path: Path, wrong: Any, message: str
) -> None:
    """By an error of ours, which says what is right."""
    with pytest.raises(SafelightError, match=message):
        wrong(safelight.open(tmp_path / "a"))
    assert not (tmp_path / "a" / "images").exists()


def test_one_tag_is_one_tag(tmp_path: Path) -> None:
    archive = safelight.open(tmp_path)
    safelight.run(CONFIG, archive)
    (first, *_) = archive.find().dicts()
    (event,) = archive.rate(first["sha256"], tags="keep")
    assert event.added == ("keep",)
