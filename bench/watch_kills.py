"""watch_kills: is any execution lost or doubled when tool and watcher are killed at any moment?

A tool writes pictures and lines into a spool, and notes each line whose ``append`` has returned.
It and a watcher are killed with ``kill -9`` after a random time, again and again; then one import
reads what is left. Every line that was noted must be in the archive, none twice, and no picture
twice.

    python bench/watch_kills.py 100
"""

from __future__ import annotations

import argparse
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from PIL import Image, PngImagePlugin

from safelight.archive import Archive
from safelight.imports.folder_import import import_folders

_PATIENCE = 5.0
"""Seconds that a watcher is given to say what was there already; beside a tool that goes on writing
a busy machine never comes to that."""

sys.path.append(str(Path(__file__).parents[1] / "integrations" / "spool"))


def _write(folder: Path, noted: Path, first: int, pause: float) -> None:
    """Be a tool: draw pictures, most of which say how, until killed."""
    from safelight_spool import Spool

    spool = Spool(folder / ".safelight-spool", tool="a1111", largest_file=20_000)
    chance = random.Random(first)
    notes = os.open(noted, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    number = first
    while True:
        number += 1
        text = (f"a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: {number},"
                " Size: 32x32, Model: m, Version: v1.10.1")  # fmt: skip
        outputs = []
        status = chance.choice(("completed", "completed", "failed", "cancelled"))
        if status == "completed":
            path = folder / f"{number // 200:05}" / f"{number:08}.png"
            path.parent.mkdir(exist_ok=True)
            info = PngImagePlugin.PngInfo()
            if chance.random() < 0.7:
                info.add_text("parameters", text)
            colour = (number % 256, number // 256 % 256, number // 65536 % 256)
            Image.new("RGB", (32, 32), colour).save(path, pnginfo=info)
            outputs.append(path)
        name = spool.append(status=status, infotexts=[text], outputs=outputs, seconds=0.1)
        if name is not None:
            os.write(notes, f"{name}\n".encode())
        time.sleep(chance.uniform(0, pause))


def _names(archive: Archive) -> Counter[str]:
    """Return how many records tell of each execution."""
    rows = archive.rows("SELECT run_id FROM runs", rated=False)
    names: Counter[str] = Counter()
    for start in range(0, len(rows), 500):
        for record in archive.records(run_id for (run_id,) in rows[start : start + 500]):
            told = record.metadata.get("import", {}).get("spool")
            if told:
                names[str(told["id"])] += 1
    return names


def main() -> None:
    """Kill both as often as is asked for, and count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("times", type=int, nargs="?", default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause", type=float, default=0.06,
                        help="Most seconds between two lines; more on a busy machine.")  # fmt: skip
    parser.add_argument("--write", nargs=3, metavar=("FOLDER", "NOTED", "FIRST"))
    asked = parser.parse_args()
    if asked.write:
        _write(Path(asked.write[0]), Path(asked.write[1]), int(asked.write[2]), asked.pause)
    chance, began = random.Random(asked.seed), time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        folder, noted, archive = (Path(work) / name for name in ("output", "noted", "archive"))
        folder.mkdir()
        watch = [sys.executable, "-m", "safelight", "watch", str(folder), "--archive",
                 str(archive), "--poll", "0.2"]  # fmt: skip
        if asked.times < 10:  # without processes that read
            watch += ["--jobs", "1"]
        for number in range(asked.times):
            write = [sys.executable, __file__, "--write", str(folder), str(noted),
                     str(number * 10_000), "--pause", str(asked.pause)]  # fmt: skip
            processes = [
                subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                for words in (write, watch)
            ]
            told = processes[1].stdout
            if number % 3 and told is not None:  # else it is killed while it begins
                select.select([told], [], [], _PATIENCE)  # or while it takes in what is there
            time.sleep(chance.uniform(0.3, 3.0))
            for process in chance.sample(processes, 2):
                time.sleep(chance.uniform(0, 0.3))
                process.send_signal(signal.SIGKILL)
                process.communicate()
        kept = Archive(archive)
        watched = _names(kept) if archive.is_dir() else Counter[str]()
        import_folders([folder], kept)
        found, names = _names(kept), set(noted.read_text().split())
        lost, doubled = names - found.keys(), [n for n, count in found.items() if count > 1]
        pictures = kept.rows("SELECT sha256, count(*) FROM images GROUP BY 1 HAVING count(*) > 1",
                             rated=False)  # fmt: skip
        print(f"{asked.times} kills in {time.monotonic() - began:.0f} s: {len(names):,} lines whose"
              f" append had returned, {len(watched):,} met by watchers; {len(lost)} lost,"
              f" {len(doubled)} doubled, {len(pictures)} pictures doubled,"
              f" {len(found.keys() - names)} more that nobody was told of")  # fmt: skip
        if lost or doubled or pictures:
            sys.exit(1)


if __name__ == "__main__":
    main()
