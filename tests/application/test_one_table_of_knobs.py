"""A knob that stands in the table, and nowhere else, is a knob everywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from safelight.knobs import COMPARED, KNOBS

WITH_ONE_MORE = """
import safelight.knobs as knobs
sweetness = knobs.Knob(name="sweetness", kind="number", stages=("txt2img", "img2img"), minimum=0,
                       maximum=10, infotext="Sweetness", is_inherited=True, summary="How sweet.")
table = (*knobs.KNOBS.values(), sweetness)
source = open(knobs.__file__, encoding="utf-8").read()
begin, end = source.index("KNOBS: Mapping"), source.index("def knob_fault")
knobs._KNOBS = table
exec(compile(source[begin:end], knobs.__file__, "exec"), vars(knobs))

import io, json, sys, tomllib
from click.testing import CliRunner
from PIL import Image
from starlette.testclient import TestClient
import safelight
from safelight.cli import main
from safelight.web import create_app

archive = safelight.open("a")
config = {
    "backend": "fake",
    "txt2img": {"prompt": "a {fox|boat|hill|tree}", "steps": 2, "width": 64, "height": 64,
                "seed": 1},
    "img2img": {"denoising_strength": 0.5},
    "randomizer": {"mode": "fanout", "seeds_per_variant": 4, "seed_policy": "per_prompt",
                   "sweep": {"txt2img.sweetness": [1, 2.5, 9]}},
}
result = safelight.run(config, archive)
assert result.status == "completed", result.failures
assert not result.warnings, result.warnings
record = archive.record()
assert {one["txt2img"]["sweetness"] for one in record.variant_configs} == {1, 2.5, 9}, "recorded"
assert {one["img2img"]["sweetness"] for one in record.variant_configs} == {1, 2.5, 9}, "inherited"
sweet = archive.find("sweetness > 2 and stage = 'img2img'", columns=["sweetness", "sha256", "path"])
assert {row[0] for row in sweet.rows} == {2.5, 9}, "found"
texts = Image.open(archive.path / sweet.rows[0][2]).text["parameters"]
assert "Sweetness: " in texts, texts
for row in archive.find("stage = 'img2img'").dicts():
    archive.rate(row["sha256"], stars=5 if row["sweetness"] == 9 else 2)
effects = archive.effects("stage = 'img2img'")
assert effects.knobs, effects
(known,) = [one for one in effects.knobs if one.knob == "sweetness"]
assert known.status == "clear", known
suggested = archive.suggest(condition="stage = 'img2img'").suggestions.suggestions
assert suggested and all("sweetness" in one.setting for one in suggested), suggested
with TestClient(create_app(archive.path), base_url="http://127.0.0.1") as page:
    assert "sweetness" in page.get("/sheet").text, "compared"
    assert "sweetness" in page.get("/runs/new").text, "in the form"
    assert page.get("/api/pictures?q=sweetness%20%3D%209").json()["rows"], "asked in the page"
schema = json.loads(CliRunner().invoke(main, ["schema"]).stdout)
assert "sweetness" in schema["properties"]["txt2img"]["properties"]
wrong = CliRunner().invoke(main, ["plan", "wrong.toml"])
assert "must be a number from 0 to 10" in wrong.output, wrong.output
learned = CliRunner().invoke(main, ["learn", "c.toml", "--knob", "sweetness=1,9", "--archive", "a"])
assert learned.exit_code == 0, learned.output
archive.archive.pack()
assert len(archive.find("sweetness = 2.5 and stage = 'img2img'").rows) == 16, "packed"
print("everywhere")
"""


def test_a_knob_of_the_table_alone_is_a_knob_everywhere(tmp_path: Path) -> None:
    """Drawn, inherited, recorded, found, packed, learned, suggested, compared, offered."""
    (tmp_path / "wrong.toml").write_text("[txt2img]\nsweetness = 11\n", "utf-8")
    (tmp_path / "c.toml").write_text(
        'backend = "fake"\n[txt2img]\nprompt = "a"\nsteps = 2\nwidth = 64\nheight = 64\n', "utf-8"
    )
    done = subprocess.run(
        [sys.executable, "-c", WITH_ONE_MORE], cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.endswith("everywhere\n")


def test_what_evidence_does_not_look_at_is_said_in_the_table() -> None:
    """By its knob, not by a list somewhere else."""
    assert set(KNOBS) - set(COMPARED) == {"batch_size", "init_image", "mask"}


def test_a_knob_that_the_engine_does_not_know_is_told_and_not_recorded(tmp_path: Path) -> None:
    """Else it would be learned from as if it had done something."""
    code = (
        WITH_ONE_MORE[: WITH_ONE_MORE.index("import io, json")]
        + """
import safelight
from safelight.backends.fake import FakeBackend
generate = FakeBackend.generate

def deaf(self, request, on_step):
    import dataclasses
    return generate(self, dataclasses.replace(request, others={}), on_step)

FakeBackend.generate = deaf
archive = safelight.open("a")
knobs = {"prompt": "a", "steps": 2, "width": 64, "height": 64, "sweetness": 2}
result = safelight.run({"backend": "fake", "txt2img": knobs}, archive)
assert result.warnings == ("fake does not know sweetness",), result.warnings
assert not archive.find("sweetness = 2").rows
print("told")
"""
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "told\n"
