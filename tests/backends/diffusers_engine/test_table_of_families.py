"""The table of families that the diffusers engine goes by, where nothing heavy is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from safelight.backends import create_backend
from safelight.backends.diffusers_engine.families import FAMILIES, Family
from safelight.config import PipelineConfig
from safelight.errors import ConfigError
from safelight.pipeline import refuse_unknown_choices
from safelight.randomizer import plan_variants

_PAGE = Path(__file__).parents[3] / "docs" / "backend-diffusers.md"
_GUIDANCE = {
    "off at 1": "`{}`, off at 1", "off at 0": "`{}` + 1, off at 0", "always": "`{}`, always",
    "taught": "`{}`, taught", "guider": "its guider's, always", "none": "none",
}  # fmt: skip
_HEAD = (
    "| family | diffusers class | `cfg_scale` is | `guidance` is | img2img | mask | hires fix"
    " | edits | sides |\n|---|---|---|---|---|---|---|---|---|\n"
)


def _row(family: Family) -> str:
    cells = (
        family.name,
        f"`{family.draws or family.edits}`",
        _GUIDANCE[family.guidance].format(family.argument),
        f"`{family.distilled}`" if family.distilled else "",
        "yes" if family.redraws else "",
        "yes" if family.inpaints else "",
        "yes" if family.redraws and family.draws else "",
        "yes" if family.edits else "",
        "a few sizes" if family.sides is None else str(family.sides),
    )
    return f"| {' | '.join(cells)} |\n".replace("|  |", "| |").replace("|  |", "| |")


def test_the_page_lists_every_family() -> None:
    """Word for word; the row to write is in the message."""
    page = _PAGE.read_text("utf-8")
    table = _HEAD + "".join(map(_row, FAMILIES))
    assert table in page, f"docs/backend-diffusers.md must hold this table:\n{table}"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """What the engine reads of two models: Z-Image's sides are multiples of 16, Sana's of 32."""
    for name, cls in (("z", "ZImagePipeline"), ("sana", "SanaPipeline"), ("odd", "NoPipeline")):
        (tmp_path / name / "vae").mkdir(parents=True)
        (tmp_path / name / "model_index.json").write_text(json.dumps({"_class_name": cls}))
        (tmp_path / name / "vae" / "config.json").write_text('{"block_out_channels": [8, 8, 8, 8]}')
    return tmp_path


def _faults(default: Path | str, **config: Any) -> list[str]:
    parsed = PipelineConfig.from_mapping({"backend": "diffusers", **config})
    plan = plan_variants(parsed, 0)
    try:
        refuse_unknown_choices(create_backend("diffusers", {"model": str(default)}), parsed, plan)
    except ConfigError as error:
        return [f"{fault.path}: {fault.message}" for fault in error.faults]
    return []


def test_a_swept_size_that_no_model_takes_is_refused_before_the_run(models: Path) -> None:
    """And not variant by variant, once each was loaded; what one of the models takes is drawn."""
    sweep = {"mode": "fanout", "sweep": {"txt2img.height": [64, 72, 80, 88]}}
    stage = {"prompt": "a", "width": 64}
    assert _faults(models / "z", txt2img=stage, randomizer=sweep) == [
        "txt2img.height: must be a multiple of 16 px for this model, got 72; the nearest: 64 or 80",
        "txt2img.height: must be a multiple of 16 px for this model, got 88; the nearest: 80 or 96",
    ]
    named = {**stage, "height": 80, "model": str(models / "sana")}
    assert _faults(models / "z", txt2img=named) == [
        "txt2img.height: must be a multiple of 32 px for this model, got 80; the nearest: 64 or 96",
    ]
    both = {"mode": "fanout", "sweep": {"txt2img.model": [str(models / n) for n in ("z", "sana")]}}
    assert _faults("", txt2img={**stage, "height": 80}, randomizer=both) == []
    assert len(_faults("", txt2img={**stage, "height": 72}, randomizer=both)) == 1


def test_a_model_that_only_loading_tells_refuses_no_size(models: Path) -> None:
    """A class without a place in the table, or files that are not here."""
    for default in (models / "odd", models / "nowhere", "owner/name", ""):
        assert _faults(default, txt2img={"prompt": "a", "height": 72}) == []
