"""Whether anything is lost when a server is killed while people rate, tag, collect and discard.

Kills it KILLS times with SIGKILL, each at a random moment, starts it again, and looks at what is
there: what was acknowledged is kept, nothing is half done, every file is in its place or in the
trash, whole.

Usage: ``PYTHONPATH=tests python bench/killed_server.py [KILLS] [SEED]``; 50 and 0 when not given.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from gui_v2.killed_server import kill_among_acts
from gui_v2.light_table import SWEEP, draw


def main() -> None:
    """Kill, look and print."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "archive"
        for number in range(8):
            draw(archive, {**SWEEP, "txt2img": {**SWEEP["txt2img"], "seed": number}})
        begun = time.monotonic()
        told = kill_among_acts(archive, kills, seed, seconds=3.0)
        seconds = time.monotonic() - begun
    print(f"killed {kills} times in {seconds:,.0f} s; nothing lost, nothing half done")
    print("  acknowledged: " + ", ".join(f"{n:,} {kind}" for kind, n in told.items()))


if __name__ == "__main__":
    main()
