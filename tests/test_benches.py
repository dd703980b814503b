"""Every benchmark still runs, in a short form; what it says of speed is for a quiet machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHORT = {
    "archive_scale": ("200",),
    "breaking_archives": ("kill", "1", "0", "writer"),
    "breaking_runs": ("1", "1", "disk"),
    "bundled_model": (),
    "comfyui_overhead": ("3", "32", "1"),
    "culling": ("120", "8"),
    "effects_speed": ("2000",),
    "effects_truth": ("3", "null"),
    "evidence_worlds": ("--runs", "2", "--worlds", "few_50", "prompt_groups"),
    "finding": ("200", "2"),
    "heavy_questions": (
        "--pictures",
        "200",
        "--seconds",
        "4",
        "--stretch",
        "1",
        "--readers",
        "4",
        "--raters",
        "2",
    ),
    "import_speed": ("--pictures", "40", "--megabytes", "0.1"),
    "killed_server": ("1",),
    "many_at_once": ("3000", "1"),
    "next_to_rate": ("--size", "2000", "--repeats", "1"),
    "picture_hashes": ("--rounds", "1", "--megabytes", "0.05"),
    "plan_space": (),
    "record_json": (),
    "record_writer": ("10",),
    "runner_overhead": ("1",),
    "scale_simulation": (),
    "startup": ("5",),
    "suggest_peers": ("--repeats", "2", "--only", "random", "--landscape", "flat"),
    "suggest_truth": ("--repeats", "1", "--ratings", "20"),
    "watch_cost": ("--files", "60", "--seconds", "0.5"),
    "watch_kills": ("2",),
    "webui_overhead": ("1",),
}
ELSEWHERE = {
    "bundled_quality": "takes the training prompts and many minutes",
    "comfyui_pack_cost": "needs ComfyUI: make test-comfyui sets one up",
    "effects_on_human_ratings": "needs a file of human ratings",
    "effects_on_human_stars": "needs a file of human ratings",
    "import_fuzz": "needs a fuzzer",
    "light_table": "needs a browser",
    "mutants": "make mutants",
    "pool_overhead": "needs Ray",
    "suggest_landscapes": "is what suggest_peers and suggest_truth share",
}


def test_every_bench_is_run_or_said_why_not() -> None:
    there = {path.stem for path in (ROOT / "bench").glob("*.py")}
    assert there == SHORT.keys() | ELSEWHERE.keys()


@pytest.mark.skipif(not (ROOT / "bench").is_dir(), reason="needs the source tree")
@pytest.mark.parametrize("name", SHORT)
def test_a_bench_runs_in_its_short_form(name: str, tmp_path: Path) -> None:
    path = (str(ROOT / "tests"), os.environ.get("PYTHONPATH"))
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / f"{name}.py"), *SHORT[name]],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip()
