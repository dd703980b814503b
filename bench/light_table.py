"""What the light table costs with many pictures, in a real browser.

Makes an archive of COUNT pictures (four a record, packed, their files shared from a small pool),
serves it with ``safelight serve`` as a process of its own, and measures: from the start of the
process to the first page on the screen, with the disk warm; a filter change, from the key to the
new tiles; frames while the grid scrolls; memory; and a crowd of 50 readers and 5 raters.
Bars at 500,000: first page 1 s, filter 300 ms, 60 frames a second, 1 GB, 50 ms a rating.

Usage: ``PYTHONPATH=tests python bench/light_table.py [COUNT] [SECONDS] [ARCHIVE]``; 500,000
and 60 when not given. An ARCHIVE that is there already is used again.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

import archive_scale
from gui_v2.crowd import visit
from safelight.archive import Archive
from safelight.archive.packs import write_pack
from safelight.archive_layout import packs_folder
from safelight.learning import LearningRecord

POOL = 400
FILTERS = (
    "steps > 30", "model = 'model-3'", "prompt has 'lighthouse'", "cfg_scale between 5 and 8",
    "sampler = 'Euler a' and steps < 20", "stars is missing",
)  # fmt: skip
SCROLL = """async ([speed, seconds]) => {
  const scroller = document.querySelector("#scroller"), deltas = [];
  let last = performance.now(), empty = 0;
  const end = last + seconds * 1000;
  while (last < end) {
    const now = await new Promise(requestAnimationFrame);
    const moment = performance.now();
    deltas.push(moment - last);
    scroller.scrollTop += speed * (moment - last) / 1000;
    last = moment;
    if (!document.querySelector(".line:not([hidden])")) empty += 1;
  }
  const boxes = document.querySelectorAll(".cell-box").length;
  return [deltas.slice(1), empty, boxes, scroller.scrollTop];
}"""


def fill(archive: Path, count: int, unlike: int = POOL) -> None:
    """Pack *count* pictures whose files come from a pool of *unlike*."""
    chance = random.Random(0)
    pool = archive / "images" / "pool"
    pool.mkdir(parents=True)
    for number in range(unlike):
        small = np.random.default_rng(number).integers(0, 255, (8, 8, 3), np.uint8)
        Image.fromarray(small).resize((512, 512), Image.Resampling.BICUBIC).save(
            pool / f"{number}.png"
        )
    packs_folder(archive).mkdir(parents=True)
    records = count // 4
    for first in range(0, records, archive_scale.BATCH):
        batch = []
        for number in range(first, min(first + archive_scale.BATCH, records)):
            text = archive_scale.document(chance, number).decode()
            for place in range(4):
                old = f'"images/2026-01-01/{number}/{place}.png"'
                text = text.replace(old, f'"images/pool/{(number * 4 + place) % unlike}.png"')
            batch.append(LearningRecord.from_json(text).to_document())  # with its own digest
        write_pack(packs_folder(archive), batch)


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
        return port


def start(archive: Path, port: int) -> subprocess.Popen[bytes]:
    """Start the server as a user would."""
    command = [sys.executable, "-m", "safelight", "serve", "--no-token", "--port", str(port)]
    return subprocess.Popen([*command, "--archive", str(archive)], stderr=subprocess.DEVNULL)


def answered(address: str) -> None:
    """Wait until the first page is there."""
    while True:
        try:
            httpx.get(address, timeout=60).raise_for_status()
            return
        except httpx.TransportError:
            time.sleep(0.005)


def peak_memory(process: int) -> float:
    """Return the most memory that the process ever had, in MB."""
    for line in Path(f"/proc/{process}/status").read_text("utf-8").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return float("nan")


def processor_seconds(process: int) -> float:
    """Return how long the process was served by processors so far, in seconds."""
    fields = Path(f"/proc/{process}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def change_filter(page: Page, text: str) -> tuple[float, float]:
    """Return the milliseconds to the new tiles, and to the new counts."""
    seconds: list[float] = page.evaluate(
        """async (text) => {
          const field = document.querySelector("#q"), count = document.querySelector("#count");
          const before = count.textContent, begun = performance.now();
          let tiles = 0;
          field.value = text;
          document.querySelector("#search").requestSubmit();
          await new Promise(requestAnimationFrame);
          while (document.body.classList.contains("busy")) await new Promise(requestAnimationFrame);
          tiles = performance.now() - begun;
          const end = begun + 20000;
          while (count.textContent === before && performance.now() < end) {
            await new Promise(requestAnimationFrame);
          }
          return [tiles, performance.now() - begun];
        }""",
        text,
    )
    return seconds[0], seconds[1]


def in_browser(address: str) -> None:
    """Measure what a person at the page sees."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        begun = time.perf_counter()
        page.goto(address)
        page.wait_for_selector(".tile img.there")
        print(f"  page to first thumbnail   {time.perf_counter() - begun:8.2f} s, in Chromium")
        while not page.inner_text("#count"):
            page.wait_for_timeout(20)
        timings = [change_filter(page, text) for text in FILTERS]
        for text, (tiles, counts) in zip(FILTERS, timings, strict=True):
            print(f"  filter {text:40.40} {tiles:6.0f} ms to tiles, {counts:6.0f} ms to counts")
        page.goto(address)
        page.wait_for_selector(".tile img.there")
        page.wait_for_timeout(1500)
        for speed in (1000, 4000):
            deltas, empty, boxes, far = page.evaluate(SCROLL, [speed, 6])
            slow = sum(delta > 25 for delta in deltas) / len(deltas)
            print(
                f"  scroll at {speed} px/s        {len(deltas) / sum(deltas) * 1000:8.1f} frames/s,"
                f" median {statistics.median(deltas):.1f} ms, {slow:.1%} over 25 ms,"
                f" {empty} empty frames, {boxes} tiles in the page, {far:,.0f} px far"
            )
        browser.close()


def main() -> None:
    """Print the numbers."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500_000
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 60.0
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(sys.argv[3] if len(sys.argv) > 3 else Path(folder) / "archive")
        begun = time.perf_counter()
        if not archive.exists():
            fill(archive, count)
        load = os.getloadavg()[0] / (os.cpu_count() or 1)
        print(
            f"{count:,} pictures, made in {time.perf_counter() - begun:.0f} s; {load:.1f} processes"
            " wait for each processor of this machine (1 is one that is ours alone)",
            flush=True,
        )
        port = free_port()
        address = f"http://127.0.0.1:{port}/"
        times: list[float] = []
        busy: list[float] = []
        for _ in range(4):
            begun = time.perf_counter()
            process = start(archive, port)
            answered(address)
            times.append(time.perf_counter() - begun)
            busy.append(processor_seconds(process.pid))
            process.terminate()
            process.wait()
        warm = statistics.median(times[1:])
        print(
            f"  process to first page     {warm:8.2f} s, warm (first {times[0]:.2f} s);"
            f" {statistics.median(busy[1:]):.2f} s of processor"
        )
        process = start(archive, port)
        try:
            answered(address)
            if shutil.which("chromium") or shutil.which("google-chrome"):
                in_browser(address)
            else:
                print("  no Chromium here: what a browser shows was not measured")
            crowd(address, archive, seconds)
            print(f"  memory of the server      {peak_memory(process.pid):8.0f} MB at most")
        finally:
            process.terminate()
            process.wait()


def crowd(address: str, archive: Path, seconds: float) -> None:
    """Let raters in alone, then a crowd."""
    for readers, raters, for_ in ((0, 1, min(seconds, 10.0)), (50, 5, seconds)):
        before = len(Archive(archive).ratings().events())
        came: Any = visit(address, readers=readers, raters=raters, seconds=for_, think=0.1)
        kept = len(Archive(archive).ratings().events()) - before
        print(
            f"  {readers:2} readers, {raters} raters       "
            f"{statistics.median(came.waited) * 1000:8.1f} ms a rating in the middle,"
            f" {came.percentile(0.95) * 1000:.1f} ms at 95 %;"
            f" {len(came.acknowledged)} acknowledged, {kept} on the disk, {came.pages} pages,"
            f" {len(came.faults)} faults"
        )


if __name__ == "__main__":
    main()
