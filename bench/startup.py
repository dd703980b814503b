"""How long a cold command takes: ``safelight --help`` and ``safelight plan``.

Each is a process of its own, in turns with two floors: the bare interpreter (``python -c pass``)
and the command-line library that safelight is built on (``python -c "import click"``). Counted
is processor time, the best of 15 rounds, because wall time is the neighbours' too; modules have
their bytecode, as those of an installed program have.

Bars: ``safelight plan`` of a small config takes at most 4 times ``import click``, and
``import safelight`` at most 1.3 times the bare interpreter.

Usage: ``python bench/startup.py [ROUNDS]``
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

PLAN_BAR = 4.0
IMPORT_BAR = 1.3
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


def milliseconds(command: list[str], environ: dict[str, str]) -> tuple[float, float]:
    """Run *command* to its end and return its processor and its wall time."""
    nowhere = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
    began = time.perf_counter()
    process = os.posix_spawn(command[0], command, environ, file_actions=[nowhere])
    _, status, used = os.wait4(process, 0)
    wall = time.perf_counter() - began
    assert status == 0, command
    return (used.ru_utime + used.ru_stime) * 1e3, wall * 1e3


def main() -> None:
    """Print the times and their ratios to the floors, and check the bars."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.toml")
        config.write_text(CONFIG, "utf-8")
        Path(folder, "wildcards").mkdir()
        Path(folder, "wildcards", "surface.txt").write_text("wood\nstone\n", "utf-8")
        environ = {**os.environ, "PYTHONPYCACHEPREFIX": str(Path(folder, "bytecode"))}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        safelight = [sys.executable, "-c", "from safelight.cli import main; main()"]
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            'python -c "import click"': [sys.executable, "-c", "import click"],
            'python -c "import safelight"': [sys.executable, "-c", "import safelight"],
            "safelight --help": [*safelight, "--help"],
            "safelight plan": [*safelight, "plan", str(config)],
            "safelight plan --json": [*safelight, "plan", str(config), "--json"],
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for command in commands.values():
            milliseconds(command, environ)  # bytecode and the disk's cache are there from here on
        for _ in range(rounds):
            for name, command in commands.items():
                times[name].append(milliseconds(command, environ))
    best = {name: min(processor for processor, _ in each) for name, each in times.items()}
    bare, click, imported, *_ = best.values()
    print(f"processor time of a process, best of {rounds}; beside it the median wall time")
    for name, processor in best.items():
        wall = statistics.median(wall for _, wall in times[name])
        print(
            f"  {name:29} {processor:6.1f} ms, {processor / bare:5.2f} x python,"
            f" {processor / click:5.2f} x click; wall {wall:6.1f} ms"
        )
    planned = max(best["safelight plan"], best["safelight plan --json"]) / click
    assert planned <= PLAN_BAR, f"safelight plan takes {planned:.2f} x import click"
    assert imported / bare <= IMPORT_BAR, f"import safelight takes {imported / bare:.2f} x python"


if __name__ == "__main__":
    main()
