"""A script of diffusers with one line added: all its calls are on the light table.

``make test-diffusers`` sets up what it needs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backends.diffusers_engine.tiny_pipeline import save_tiny_pipeline
from command_line import call
from integrations.watched_table import LONG, beside, settings_of_all

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytest.importorskip("torch", reason="no diffusers here: run `make test-diffusers`")
pytest.importorskip("diffusers", reason="no diffusers here: run `make test-diffusers`")
sync_api = pytest.importorskip("playwright.sync_api")

LINE = 'from safelight import autolog; autolog("output")\n'
SCRIPT = """
import os, signal, sys
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline

pipe = StableDiffusionPipeline.from_pretrained(sys.argv[1])
pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config, use_karras_sigmas=True)
pipe.set_progress_bar_config(disable=True)

def draw(seed, **options):
    return pipe("a cat", width=64, height=64, generator=torch.Generator().manual_seed(seed),
                **options).images[0]

for steps, scale in ((2, 7.0), (3, 7.0), (3, 1.5)):
    draw(77, num_inference_steps=steps, guidance_scale=scale).save(
        f"output/{steps}-{scale}.png")
draw(78, num_inference_steps=2).save("output/other.webp", lossless=True)
draw(79, num_inference_steps=2)
try:
    pipe("a dog", width=60, height=64, num_inference_steps=2)
except ValueError:
    print("went on")

def interrupt(*_):
    os.kill(os.getpid(), signal.SIGINT)
    return {}

draw(80, num_inference_steps=3, callback_on_step_end=interrupt)
"""


def test_every_call_of_a_script_is_on_the_light_table(tmp_path: Path, browser: Browser) -> None:
    """Pictures that say nothing have true settings, and what failed is told, with its settings."""
    model, output = save_tiny_pipeline(tmp_path / "tiny"), tmp_path / "output"
    output.mkdir()
    (tmp_path / "sweep.py").write_text(LINE + SCRIPT)
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(LONG)
    with beside(output, tmp_path / "archive") as address:
        page.goto(address)
        ran = subprocess.run(
            [sys.executable, "sweep.py", str(model)],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.stdout == "went on\n", ran.stderr
        assert ran.stderr.rstrip().endswith("KeyboardInterrupt")
        blanks = "3 executions without a picture: 1 failed, 1 stopped, 1 no new picture"
        sync_api.expect(page.locator("#count")).to_have_text("4 pictures", timeout=LONG)
        sync_api.expect(page.locator("#blanks")).to_have_text(blanks, timeout=LONG)
        told = settings_of_all(page)
        assert sorted((one["Steps"], one["CFG"], one["Seed"]) for one in told) == [
            ("2", "7", "77"), ("2", "7.5", "78"), ("3", "1.5", "77"), ("3", "7", "77"),
        ]  # fmt: skip
        assert {(one["Prompt"], one["Sampler"], one["Scheduler"], one["Size"]) for one in told} == {
            ("a cat", "Euler", "Karras", "64 × 64")
        }
        page.goto(address)
        page.click("#blanks")
        lines = page.locator(".blank-list li").all_inner_texts()
        assert [words in line for words, line in zip(
            ("seed 80", "divisible by 8", "was not saved"), lines, strict=True
        )] == [True] * 3  # fmt: skip
        page.get_by_role("link", name="Failed 1").click()
        page.locator(".blank-list li a").click()
        sync_api.expect(page.locator("h1")).to_have_text("Failed in diffusers")
        assert "60 × 64" in page.locator(".settings").first.inner_text()
    found = call("find", "--no-picture", "--json", "--archive", str(tmp_path / "archive"), "dog")
    (row,) = json.loads(found.output)["rows"]
    assert (row["status"], row["settings"]["steps"]) == ("failed", "2")
