"""How long a cold command takes: ``safelight --help``, ``plan`` and ``suggest``.

Each is a process of its own, in turns with floors: the bare interpreter (``python -c pass``), the
command-line library that safelight is built on (``import click``), and, for suggestions from 30
rated pictures, the libraries that hold and calculate what was rated (``import click, duckdb,
numpy`` and one query). Counted is processor time, the best of 15 rounds, because wall time is the
neighbours' too; modules have their bytecode, as those of an installed program have. A neighbour
that empties the processor's caches makes the best of few rounds too large, never too small (2.4
becomes 2.7): with fewer than 15 rounds the bars are a quarter higher.

Bars: ``safelight plan`` of a small config takes at most 4 times ``import click``,
``safelight suggest`` at most 2.8 times its floor, and ``import safelight`` at most 1.3 times the
bare interpreter.

Usage: ``python bench/startup.py [ROUNDS]``
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import safelight
from safelight.archive import Archive
from safelight.learning.ratings import Identity, RatingEvent

PLAN_BAR, SUGGEST_BAR, IMPORT_BAR = 4.0, 2.8, 1.3
ROUNDS = 15
CONFIG = """
[txt2img]
prompt = "a {red|green|blue} apple on __surface__"
steps = 20
seed = 1

[randomizer]
mode = "fanout"
wildcards_dir = "wildcards"

[randomizer.sweep]
"txt2img.cfg_scale" = [3, 5, 7]
"""
RATED = {
    "backend": "fake",
    "txt2img": {"prompt": "a fox", "seed": 7, "width": 64, "height": 64},
    "randomizer": {
        "mode": "fanout",
        "sweep": {
            "txt2img.steps": [4, 8, 12, 20, 30],
            "txt2img.sampler": ["Euler", "Heun", "LMS"],
            "txt2img.cfg_scale": [3, 7],
        },
    },
}


def milliseconds(command: list[str], environ: dict[str, str]) -> tuple[float, float]:
    """Run *command* to its end and return its processor and its wall time."""
    nowhere = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
    began = time.perf_counter()
    process = os.posix_spawn(command[0], command, environ, file_actions=[nowhere])
    _, status, used = os.wait4(process, 0)
    wall = time.perf_counter() - began
    assert status == 0, command
    return (used.ru_utime + used.ru_stime) * 1e3, wall * 1e3


def small_config(folder: Path) -> Path:
    """Write a config with a template, a wildcard and a sweep, and return its path."""
    config = folder / "config.toml"
    config.write_text(CONFIG, "utf-8")
    (folder / "wildcards").mkdir()
    (folder / "wildcards" / "surface.txt").write_text("wood\nstone\n", "utf-8")
    return config


def rated_archive(folder: Path) -> Path:
    """Draw and rate 30 pictures in an archive below *folder*: Heun is liked, and more steps."""
    path = folder / "rated"
    safelight.run(RATED, path, seed=1)
    archive = Archive(path)
    columns = ["sha256", "pixel_sha256", "steps", "sampler"]
    chance = random.Random(1)
    events = []
    for sha256, pixels, steps, sampler in archive.query(columns=columns, limit=None).rows:
        score = 1.2 + 0.08 * steps + 1.3 * (sampler == "Heun") + chance.gauss(0, 0.4)
        picture = Identity(sha256=sha256, pixel_sha256=pixels)
        stars = min(5, max(1, round(score)))
        events.append(RatingEvent.now("stars", picture, value=stars, rater="ann"))
    assert len(events) == 30
    with archive.ratings() as store:
        store.add(*events)
    return path


def best_of(times: dict[str, list[tuple[float, float]]]) -> dict[str, float]:
    """Return the least processor time of each command, in milliseconds."""
    return {name: min(processor for processor, _ in each) for name, each in times.items()}


def compared(
    times: dict[str, list[tuple[float, float]]], margin: float
) -> dict[str, tuple[float, float]]:
    """Return each ratio and its bar, *margin* times what it is."""
    bare, imported, click, _, plan, plan_json, floor, suggest = best_of(times).values()
    return {
        "import safelight / python -c pass": (imported / bare, margin * IMPORT_BAR),
        "safelight plan / import click": (max(plan, plan_json) / click, margin * PLAN_BAR),
        "safelight suggest / its libraries and one query": (suggest / floor, margin * SUGGEST_BAR),
    }


def main() -> None:
    """Print the times and their ratios to the floors, and check the bars."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environ = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        python = [sys.executable, "-c"]
        command = [*python, "from safelight.cli import main; main()"]
        config, rated = str(small_config(folder)), str(rated_archive(folder))
        query = "import click, duckdb, numpy; duckdb.sql('SELECT 1').fetchall()"
        commands = {
            "python -c pass": [*python, "pass"],
            "import safelight": [*python, "import safelight"],
            "import click": [*python, "import click"],
            "safelight --help": [*command, "--help"],
            "safelight plan": [*command, "plan", config],
            "safelight plan --json": [*command, "plan", config, "--json"],
            "click, duckdb, numpy, 1 query": [*python, query],
            "safelight suggest": [*command, "suggest", "--archive", rated],
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for each in commands.values():
            milliseconds(each, environ)  # bytecode and the disk's cache are there from here on
        for _ in range(rounds):
            for name, each in commands.items():
                times[name].append(milliseconds(each, environ))
    best, ratios = best_of(times), compared(times, 1.0 if rounds >= ROUNDS else 1.25)
    print(f"processor time of a process, best of {rounds}; beside it the median wall time")
    for name, processor in best.items():
        wall = statistics.median(wall for _, wall in times[name])
        print(f"  {name:30} {processor:6.1f} ms; wall {wall:6.1f} ms")
    for name, (ratio, bar) in ratios.items():
        print(f"{name}: {ratio:.2f} (bar {bar:.2f})")
    for name, (ratio, bar) in ratios.items():
        assert ratio <= bar, f"{name}: {ratio:.2f} is above {bar}"


if __name__ == "__main__":
    main()
