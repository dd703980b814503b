"""Pictures of other tools on the light table, wherever they lie."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from starlette.testclient import TestClient

from safelight.archive import Archive
from safelight.imports.folder_import import import_folders
from safelight.learning.learning_record import ImageOutput, LearningRecord
from safelight.learning.ratings import Identity, RatingEvent
from safelight.web import create_app

BASE = "http://127.0.0.1:7860"
WAIT = {"prefer": "wait=300"}


def test_an_imported_picture_is_shown_from_where_it_lies(archive: Path, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere" / "picture.png"
    place.parent.mkdir()
    Image.new("RGB", (30, 20), "red").save(place)
    import_folders([place.parent], Archive(archive))
    digest = hashlib.sha256(place.read_bytes()).hexdigest()
    with TestClient(create_app(archive), base_url=BASE) as client:
        assert client.get(f"/pictures/{digest}").content == place.read_bytes()
        assert client.get(f"/thumbnails/{digest}").status_code == 200
        assert client.get(f"/look/{digest}").status_code == 200
        Image.new("RGB", (30, 20), "blue").save(place)
        response = client.get(f"/pictures/{digest}")
        assert response.status_code == 404, "another picture took its place"


@pytest.mark.skipif(sys.platform != "linux", reason="names of files that are no text")
def test_a_picture_whose_name_is_no_text_is_shown(archive: Path, tmp_path: Path) -> None:
    """Its record has the name as letters, and finds the file by its bytes."""
    place = tmp_path / "elsewhere" / os.fsdecode(b"caf\xe9 \\x41.png")
    place.parent.mkdir()
    Image.new("RGB", (30, 20), "red").save(place)
    import_folders([place.parent], Archive(archive))
    digest = hashlib.sha256(place.read_bytes()).hexdigest()
    with TestClient(create_app(archive), base_url=BASE) as client:
        assert client.get(f"/pictures/{digest}").content == place.read_bytes()
        assert client.get(f"/thumbnails/{digest}").status_code == 200
        assert client.get(f"/look/{digest}").status_code == 200
        place.unlink()
        assert client.get(f"/pictures/{digest}").status_code == 404


def test_a_record_cannot_lead_to_a_file_that_is_not_its_picture(
    archive: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"not what the record says")
    digest = "ab" * 32
    record = LearningRecord(
        run_id="hostile", timestamp="2026-01-01T00:00:00.000000Z", base_config={},
        variant_configs=[{}], randomizer_mode="off", randomizer_plan_size=1, primary_model="",
        primary_sampler="", primary_scheduler="", primary_steps=0, primary_cfg_scale=0.0,
        status="imported",
        outputs=(ImageOutput(variant=0, stage="txt2img", sha256=digest, pixel_sha256="",
                             width=8, height=8, path=str(secret)),),
    )  # fmt: skip
    with Archive(archive).writer() as writer:
        writer.write(record)
    with TestClient(create_app(archive), base_url=BASE) as client:
        assert client.get(f"/pictures/{digest}").status_code == 404


@pytest.fixture
def imports_only(tmp_path: Path) -> Path:
    """Nine pictures of another tool, no two of one prompt, none decoded."""
    folder = tmp_path / "outputs"
    folder.mkdir()
    for number in range(9):
        about = PngInfo()
        about.add_text("parameters", f"prompt {number}\nSteps: {20 + number}, Seed: {number}")
        Image.new("RGB", (16, 16), (number, 0, 0)).save(folder / f"{number}.png", pnginfo=about)
    archive = tmp_path / "imports"
    import_folders([folder], Archive(archive))
    return archive


def test_all_imported_pictures_are_served_to_rate(imports_only: Path) -> None:
    """Nobody has looked at their pixels, which makes them no less different."""
    with TestClient(create_app(imports_only), base_url=BASE) as client:

        def sets(mode: str) -> list[list[str]]:
            answer = client.get(
                "/api/next-to-rate", params={"mode": mode, "rater": "ann"}, headers=WAIT
            ).json()
            return [[row["sha256"] for row in group] for group in answer["sets"]]

        assert len({digest for group in sets("one") for digest in group}) == 9
        assert {len(group) for group in sets("pair")} == {2}
        assert {len(group) for group in sets("four")} == {4}
        left = 9
        while served := sets("one"):
            assert len(served) == left
            event = RatingEvent.now("stars", Identity(sha256=served[0][0]), value=3, rater="ann")
            client.post(
                "/api/ratings",
                content=b'{"events":[' + event.to_json() + b"]}",
                headers={"content-type": "application/json"},
            ).raise_for_status()
            left -= 1
        assert left == 0


def test_a_picture_that_was_imported_twice_is_served_once(
    imports_only: Path, tmp_path: Path
) -> None:
    """A rating that names bytes and pixels says which copies are one picture."""
    first, second = (row[0] for row in Archive(imports_only).query(columns=["sha256"]).rows[:2])
    with Archive(imports_only).ratings() as ratings:
        for digest in (first, second):
            image = Identity(sha256=digest, pixel_sha256="ab" * 32)
            ratings.add(RatingEvent.now("favourite", image, value=True, rater="bob"))
    with TestClient(create_app(imports_only), base_url=BASE) as client:
        answer = client.get(
            "/api/next-to-rate", params={"mode": "one", "rater": "ann"}, headers=WAIT
        ).json()
    assert len(answer["sets"]) == 8
