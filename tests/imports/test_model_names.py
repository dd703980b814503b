"""One model is one model wherever it is counted, however tools spell it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from safelight.application.rated_pictures import rated_trials
from safelight.application.rating import rate_chosen
from safelight.application.suggestions import find_evidence
from safelight.archive import Archive
from safelight.archive.contents import contents_of
from safelight.imports.folder_import import import_folders
from safelight.web.held_archive import HeldArchive

_NAMES = ("wai_v160", "wai_v160", "SDXL/wai_v160.safetensors", "sdxl\\WAI_v160.ckpt",
          "wai_v160.gguf [abcdef1234]")  # fmt: skip


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    (tmp_path / "p").mkdir()
    for seed, name in enumerate((*_NAMES, "other")):
        info = PngImagePlugin.PngInfo()
        ending = ".safetensors" if seed % 2 else ""
        text = f"a cat <lora:Ink{ending}:1>\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, "
        info.add_text("parameters", f"{text}Size: 8x8, Model: {name}")
        Image.new("RGB", (8, 8), (seed, 0, 0)).save(tmp_path / "p" / f"{seed}.png", pnginfo=info)
    archive = Archive(tmp_path / "archive")
    import_folders([tmp_path / "p"], archive)
    rate_chosen(archive, "model != 'other'", stars=4)
    return archive


def test_contents_count_what_effects_compare(archive: Archive) -> None:
    """Before, five spellings were five models of one picture each, which varied."""
    contents = contents_of(archive)
    assert [(one.name, one.pictures) for one in contents.models.listed] == [
        ("wai_v160", 5), ("other", 1),
    ]  # fmt: skip
    assert [(one.pictures) for one in contents.loras.listed] == [6]
    _, trials, _ = rated_trials(archive, "")
    assert trials.levels["model"].names == ("wai_v160",)
    one = contents_of(archive, "model != 'other'")
    assert "model" not in [varied.knob for varied in one.varied]


def test_what_to_try_next_knows_one_model(archive: Archive) -> None:
    for name in (None, "SDXL/wai_v160.safetensors"):
        evidence = find_evidence(archive, model=name)
        assert (evidence.model, len(evidence.trials)) == ("wai_v160", 5)


def test_the_pages_facet_has_one_model_and_chooses_all_its_pictures(archive: Archive) -> None:
    held = HeldArchive(archive.path)
    total, facets = held.facets("")
    assert total == 6
    (models,) = (facet for facet in facets if facet.name == "model")
    assert [(one.value, one.count) for one in models.values] == [("wai_v160", 5), ("other", 1)]
    assert len(archive.query(models.values[0].clause, limit=None).rows) == 5
