"""Grids: a file of several pictures is found, and is nobody's one picture."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin
from starlette.testclient import TestClient

from command_line import Safelight
from safelight.application.exporting import write_pairs
from safelight.application.suggestions import find_evidence
from safelight.application.to_rate import NothingToRate, next_to_rate
from safelight.archive import Archive
from safelight.archive.contents import contents_of
from safelight.imports.folder_import import import_folders
from safelight.imports.picture_reader import read_picture
from safelight.learning.ratings import Identity, RatingEvent
from safelight.web import create_app

_WAIT = {"prefer": "wait=300"}


def _save(path: Path, side: int, line: str, text: str = "a barn") -> None:
    info = PngImagePlugin.PngInfo()
    if line:
        info.add_text("parameters", f"{text}\n{line}")
    Image.new("L", (side, side), sum(path.name.encode()) % 256).save(path, pnginfo=info)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with two pictures, and five grids: two by text, two by name, one by size."""
    place = tmp_path / "project" / "pictures"
    place.mkdir(parents=True)
    line = "Sampler: Euler a, CFG scale: 7, Seed: 77, Size: 64x64, Model: m, Version: v1.10.1"
    _save(place / "00001-77.png", 64, f"Steps: 20, {line}")
    _save(place / "00002-77.png", 64, f"Steps: 30, {line}")
    _save(place / "xyz_grid-0001.png", 128, f"Steps: 40, {line}, Script: X/Y/Z plot, X Type: Seed")
    _save(place / "grid-0001.png", 192, f"Steps: 50, {line}")
    _save(place / "00003-77.png", 128, f"Steps: 60, {line}")
    _save(place / "grid-0002.png", 128, "")
    _save(place / "contact_sheet.png", 128, "")
    return place


@pytest.fixture
def archive(folder: Path, tmp_path: Path) -> Archive:
    archive = Archive(tmp_path / "safelight")
    import_folders([folder], archive)
    return archive


def _names(archive: Archive, condition: str = "") -> set[str]:
    return {Path(row["path"]).name for row in archive.query(condition, limit=None).dicts()}


_PICTURES = {"00001-77.png", "00002-77.png"}


def test_grids_are_kept_and_found(archive: Archive) -> None:
    assert len(_names(archive)) == 7
    assert _names(archive, "extra('grid of pictures') is missing") == _PICTURES


@pytest.mark.parametrize(("name", "is_grid"), [
    ("grid-0001.png", True), ("xy_grid-0012-5.jpg", True), ("contact_sheet.png", True),
    ("contact_sheet-2.png", True), ("grid-1.png", False), ("a grid-0001.png", False),
    ("my-grid.png", False), ("contact_sheets/x.png", False),
])  # fmt: skip
def test_where_nothing_is_read_the_name_alone_tells(
    tmp_path: Path, name: str, is_grid: bool
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    Image.new("L", (8, 8)).save(path)
    reading = read_picture(path)
    assert ("grid of pictures" in reading.extra) == is_grid
    assert reading.outcome == "none"
    assert any("its name says so" in warning for warning in reading.warnings) == is_grid


@pytest.mark.parametrize("most", [None, 3])
@pytest.mark.parametrize("together", [1, 2])
def test_only_single_pictures_are_to_be_rated(
    archive: Archive, together: int, most: int | None
) -> None:
    for seed in range(5):
        try:
            sets = next_to_rate(archive, (), together=together, count=20, seed=seed, most=most)
        except NothingToRate:  # of three files that are looked at, not all are pictures
            assert most
            continue
        assert {Path(row["path"]).name for group in sets for row in group} <= _PICTURES
        assert most or len(sets) == (2 if together == 1 else 1)


def test_neither_door_offers_a_grid(
    archive: Archive, folder: Path, command: Safelight, tmp_path: Path
) -> None:
    asked = json.loads(command("rate", "--next", "--json", "--n", "20").stdout)
    hashes = {row["sha256"] for row in archive.query(limit=None).dicts()
              if Path(row["path"]).name in _PICTURES}  # fmt: skip
    assert hashes == set(_all_hashes(asked))
    app = create_app(archive.path, allow=[folder])
    with TestClient(app, base_url="http://127.0.0.1") as page:
        sets = page.get("/api/next-to-rate", params={"mode": "one"}, headers=_WAIT).json()["sets"]
    assert {picture["sha256"] for group in sets for picture in group} == hashes


def _all_hashes(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "sha256":
                yield inner
            else:
                yield from _all_hashes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _all_hashes(inner)


def test_a_rated_grid_is_no_evidence_and_in_no_pair(archive: Archive, tmp_path: Path) -> None:
    for stars, row in enumerate(archive.query(limit=None).dicts(), 1):
        image = Identity(sha256=row["sha256"])
        archive.ratings().add(RatingEvent.now("stars", image, value=1 + stars % 5, rater="ann"))
    assert sorted(find_evidence(archive).trials.numbers["steps"]) == [20, 30]
    rows, pairs = write_pairs(archive, "", tmp_path / "pairs.jsonl", "pickapic")
    assert (rows, pairs) == (1, 1)


def test_contents_counts_grids_and_groups_none_of_them(archive: Archive) -> None:
    contents = contents_of(archive)
    (steps,) = [one for one in contents.varied if one.knob == "steps"]
    assert (contents.pictures, steps.groups, steps.pictures) == (7, 1, 2)
