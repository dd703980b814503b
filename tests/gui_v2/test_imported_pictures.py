"""Pictures of other tools on the light table, wherever they lie."""

from __future__ import annotations

import hashlib
from pathlib import Path

from PIL import Image
from starlette.testclient import TestClient

from safelight.archive import Archive
from safelight.imports.folder_import import import_folders
from safelight.learning.learning_record import ImageOutput, LearningRecord
from safelight.web import create_app

BASE = "http://127.0.0.1:7860"


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
        told = client.get(f"/pictures/{digest}")
        assert told.status_code == 404, "another picture took its place"


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
