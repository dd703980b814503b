"""How long a cold command takes: ``safelight --help`` and ``safelight plan``.

Each is a process of its own, timed from start to end by the wall clock, in turns with two
floors: the bare interpreter (``python -c pass``) and the command-line library that safelight
is built on (``python -c "import click"``). Medians of 15 rounds.

Bar: 150 ms for ``safelight --help``.

Usage: ``python bench/startup.py [ROUNDS]``
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BAR = 150.0
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


def milliseconds(command: list[str]) -> float:
    """Run *command* to its end and return its wall time."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1e3


def main() -> None:
    """Print the medians and their ratios to the floors."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.toml")
        config.write_text(CONFIG, "utf-8")
        Path(folder, "wildcards").mkdir()
        Path(folder, "wildcards", "surface.txt").write_text("wood\nstone\n", "utf-8")
        safelight = [str(Path(sys.executable).with_name("safelight"))]
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            'python -c "import click"': [sys.executable, "-c", "import click"],
            'python -c "import safelight"': [sys.executable, "-c", "import safelight"],
            "safelight --help": [*safelight, "--help"],
            "safelight plan": [*safelight, "plan", str(config)],
            "safelight plan --json": [*safelight, "plan", str(config), "--json"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for command in commands.values():
            milliseconds(command)  # the disk's cache is warm from here on
        for _ in range(rounds):
            for name, command in commands.items():
                times[name].append(milliseconds(command))
    medians = {name: statistics.median(values) for name, values in times.items()}
    bare, click, *_ = medians.values()
    print(f"wall time of a process, median of {rounds} (bar for --help: {BAR:.0f} ms)")
    for name, median in medians.items():
        best = min(times[name])
        print(
            f"  {name:25} {median:7.1f} ms, best {best:6.1f};"
            f" {median / bare:5.2f} x python, {median / click:5.2f} x click"
        )


if __name__ == "__main__":
    main()
