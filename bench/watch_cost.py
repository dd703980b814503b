"""watch_cost: what ``safelight watch`` costs when nothing happens, and when very much does.

Idle: the share of a core that it takes beside a tree of pictures in which nothing changes. Flood:
pictures appear as fast as they can be copied, and the time from the first of them until the archive
has all, beside that of ``safelight import`` of the same files; memory is that of the process that
watches, in its first and its last third. Noted: what a line costs the tool that writes it.

    python bench/watch_cost.py --files 10000 --seconds 60
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, PngImagePlugin

from safelight.archive import Archive

_TEXT = "a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: {}, Size: 16x16, Model: m, Version: v1.10.1"  # noqa: E501


def _pictures(folder: Path, count: int) -> None:
    for number in range(count):
        path = folder / f"{number // 500:03}" / f"{number:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        info = PngImagePlugin.PngInfo()
        info.add_text("parameters", _TEXT.format(number))
        colour = (number % 256, number // 256 % 256, number // 65536)
        Image.new("RGB", (16, 16), colour).save(path, pnginfo=info)


@contextlib.contextmanager
def _watching(folder: Path, archive: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "safelight", "watch", str(folder), "--archive", str(archive),
         "--json", *options],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process
    finally:
        process.terminate()
        process.wait(600)


def _schedule_seconds(process: int) -> float:
    """Return what a process has taken, its threads included; Linux alone tells it so."""
    total = 0
    for thread in Path(f"/proc/{process}/task").iterdir():
        total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def _resident(process: int) -> float:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * 4096 / 2**20


def _idle(work: Path, files: int, seconds: float, *options: str) -> None:
    folder, archive = work / "idle", work / f"idle-archive{len(options)}"
    if not folder.is_dir():
        _pictures(folder, files)
    with _watching(folder, archive, *options, *_jobs(files)) as process:
        time.sleep(min(5.0, seconds))
        before, began = _schedule_seconds(process.pid), time.monotonic()
        time.sleep(seconds)
        took = _schedule_seconds(process.pid) - before
        share = took / (time.monotonic() - began)
        how = " ".join(options) or "notices, where watchfiles is installed"
        print(f"idle, {files:,} pictures, {how}: {share:.3%} of a core,"
              f" {_resident(process.pid):.0f} MB")  # fmt: skip


def _jobs(files: int) -> list[str]:
    """Few files need no processes that read."""
    return ["--jobs", "1"] if files < 1000 else []


def _count(archive: Path) -> int:
    ((count,),) = Archive(archive).rows("SELECT count(*) FROM images", rated=False)
    return int(count)


def _flood(work: Path, files: int) -> None:
    source, folder = work / "source", work / "flood"
    _pictures(source, files)
    folder.mkdir()
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "safelight", "import", str(source), "--archive",
         str(work / "imported"), *_jobs(files)], check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    imported = time.monotonic() - began
    archive = work / "watched"
    sizes: list[float] = []
    with _watching(folder, archive, *_jobs(files)) as process:
        began = time.monotonic()
        shutil.copytree(source, folder, dirs_exist_ok=True)
        copied = time.monotonic() - began
        done = 0
        assert process.stdout is not None
        while done < files and time.monotonic() - began < 600:
            done += json.loads(process.stdout.readline()).get("imported", 0)
            sizes.append(_resident(process.pid))
        took = time.monotonic() - began
    third = max(1, len(sizes) // 3)
    assert _count(archive) == _count(work / "imported") == files
    print(f"flood, {files:,} pictures: import {imported:.1f} s; watch {took:.1f} s"
          f" ({took / imported:.2f} x, {copied:.1f} s of it copying);"
          f" {len(sizes)} batches, {max(sizes[:third]):.0f} MB, then"
          f" {max(sizes[-third:]):.0f} MB; each once")  # fmt: skip


def _note(work: Path) -> None:
    """Tell what a line costs the tool that writes it, of one picture in memory."""
    sys.path.append(str(Path(__file__).parents[1] / "integrations" / "spool"))
    from safelight_spool import observe

    class Pipeline:
        def __call__(self, _prompt: str, _steps: int = 30) -> list[list[Image.Image]]:
            """Draw nothing at all."""
            return [[picture]]

    picture = Image.effect_noise((1024, 1024), 50).convert("RGB")
    pipeline, took = Pipeline(), []
    for is_noted in (False, True):
        if is_noted:
            observe(pipeline, work)
            pipeline("the first")  # makes the file
        began = time.process_time()
        for _ in range(20):
            pipeline("a cat")
        took.append((time.process_time() - began) / 20)
    cost = took[1] - took[0]
    print(f"noting a call, one picture of 1024 x 1024 in memory: {cost * 1000:.1f} ms of"
          f" processor time, {cost / 2:.2%} of a call of 2 s")  # fmt: skip


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--only", choices=("idle", "flood"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if asked.only != "flood":
            for options in ((), ("--poll", "1")):
                _idle(Path(folder), asked.files, asked.seconds, *options)
        if asked.only is None:
            _note(Path(folder))
        if asked.only != "idle":
            _flood(Path(folder), asked.files)


if __name__ == "__main__":
    main()
