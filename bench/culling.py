"""What culling is like in a real browser: keys that were lost, and frames that came late.

Makes an archive of COUNT pictures of a megapixel and more (their files shared from a small pool),
serves it with ``safelight serve`` as a process of its own, and rates KEYS pictures in Chromium at
1440 x 900, ten keys a second, in Rate (begun while the choice is still being worked out), in the
grid and in the view of one picture; then in Rate as fast as keys can be sent. Whatever is on the
disk afterwards is compared with what was on the screen at each key: **no key may be lost, and none
may rate another picture**; a key that comes before its picture must be told. The grid is scrolled,
too. Gaps between frames stand beside those of an empty page in the same browser, measured before
and after; the bar is 1.5 times its 99th percentile while keys come, and at 1,000 px/s.

Usage: ``PYTHONPATH=tests python bench/culling.py [COUNT] [KEYS] [ARCHIVE]``; 4,000 and 50 when not
given. An ARCHIVE that is there already is used again; its ratings are added to.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

import light_table
from safelight.archive import Archive

SIDE, UNLIKE = 1216, 24
"""Pixels of a picture's longer side, and how many pictures look different."""

EVERY_S = 0.1
FRAMES = """() => {
  const gaps = (window.gapsBetweenFrames = []);
  let last = performance.now();
  const next = () => {
    const now = performance.now();
    gaps.push(now - last);
    last = now;
    if (window.gapsBetweenFrames === gaps) requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
}"""
TAKEN = """() => {
  const gaps = window.gapsBetweenFrames;
  window.gapsBetweenFrames = null;
  return gaps;
}"""
WATCH = """() => {
  const shown = SHOWN;
  window.keysSeen = [];
  if (window.watching) removeEventListener("keydown", window.watching, true);
  window.watching = (event) => window.keysSeen.push([shown() ?? null, Number(event.key)]);
  addEventListener("keydown", window.watching, true);
}"""
RATED_NOW = "() => document.querySelector('#stage:not([aria-busy]) [data-digest]')?.dataset.digest"
IN_GRID = "() => document.querySelector('.is-at .tile')?.href.split('/look/')[1].slice(0, 64)"
IN_VIEWER = """() => {
  const image = document.querySelector("img.zoomed");
  return image.complete && image.naturalWidth ? image.src.match(/[0-9a-f]{64}/)[0] : null;
}"""


def fill(archive: Path, count: int) -> None:
    """Make the archive, its pictures as large as those that people look at."""
    light_table.fill(archive, count, UNLIKE)
    for number, path in enumerate(sorted((archive / "images" / "pool").glob("*.png"))):
        small = np.random.default_rng(number).integers(0, 255, (12, 8, 3), np.uint8)
        large = Image.fromarray(small).resize((SIDE * 2 // 3, SIDE), Image.Resampling.BICUBIC)
        large.save(path, compress_level=1)


def stars(archive: Path) -> dict[str, object]:
    """Return the stars of every picture as they are on the disk now."""
    events = Archive(archive).ratings().events()
    return {str(e.image.sha256): e.value for e in events if e.kind == "stars" and e.image}


def line(name: str, gaps: list[float], empty: list[float], more: str = "") -> None:
    """Print how late frames came, beside those of an empty page."""
    late, bare = np.percentile(gaps, 99), np.percentile(empty, 99)
    print(
        f"  {name:34} {len(gaps) / sum(gaps) * 1000:5.1f} frames/s, 99 % within {late:5.1f} ms,"
        f" {late / bare:4.2f} of an empty page's {bare:.1f}, at most {max(gaps):.0f} ms{more}",
        flush=True,
    )


def quiet(page: Page, seconds: float) -> list[float]:
    """Return the gaps between frames while nothing happens."""
    page.evaluate(FRAMES)
    page.wait_for_timeout(seconds * 1000)
    gaps: list[float] = page.evaluate(TAKEN)
    return gaps[2:]


def culled(
    page: Page, archive: Path, keys: int, shown: str, every: float = EVERY_S
) -> tuple[list[float], int, int]:
    """Rate *keys* pictures; return the gaps, how many keys were told to do nothing, and lost.

    Args:
        page: Where.
        archive: Where ratings go.
        keys: How many.
        shown: JavaScript that tells the picture on the screen; null when there is none.
        every: Seconds from one key to the next.
    """
    before = stars(archive)
    page.evaluate(WATCH.replace("SHOWN", shown))
    page.evaluate(FRAMES)
    begun = time.perf_counter()
    for number in range(keys):
        page.keyboard.press(str(1 + number % 5))
        rest = begun + (number + 1) * every - time.perf_counter()
        if rest > 0:
            page.wait_for_timeout(rest * 1000)
    gaps: list[float] = page.evaluate(TAKEN)
    seen = page.evaluate("() => window.keysSeen")
    told = sum(digest is None for digest, _ in seen)
    given = {digest: value for digest, value in seen if digest is not None}
    deadline = time.monotonic() + 60
    while (now := stars(archive)) != before | given and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    right = sum(now.get(digest) == value for digest, value in given.items())
    others = len(now.keys() - before.keys() - given.keys())
    return gaps[2:], told, keys - told - right + others


def in_browser(address: str, archive: Path, keys: int) -> int:
    """Measure; return how many keys were lost."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    lost = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        seconds = keys * EVERY_S / 2
        empty = quiet(page, seconds)

        def measure(name: str, shown: str, every: float = EVERY_S) -> None:
            nonlocal lost
            gaps, told, now_lost = culled(page, archive, keys, shown, every)
            lost += now_lost
            more = f"; {keys} keys, {now_lost} lost, {told} told that there was no picture yet"
            line(name, gaps, empty, more)

        page.goto(f"{address}rate")
        page.wait_for_selector("#stage:not([aria-busy]) img")
        measure("Rate, ten keys a second", RATED_NOW)
        page.wait_for_timeout(500)
        measure("Rate, as fast as keys are sent", RATED_NOW, 0.0)
        page.goto(f"{address}?q=stars+is+missing")
        page.wait_for_selector(".tile img.there")
        page.keyboard.press("Home")
        page.wait_for_timeout(1000)
        measure("Grid, ten keys a second", IN_GRID)
        page.keyboard.press("Enter")
        page.wait_for_selector(".viewer-bar .star")
        page.wait_for_timeout(500)
        measure("View of one, ten keys a second", IN_VIEWER)
        scrolled(page, address, empty, seconds)
        page.goto("about:blank")
        empty += quiet(page, seconds)
        line("empty page, before and after", empty, empty)
        browser.close()
    return lost


def scrolled(page: Page, address: str, empty: list[float], seconds: float) -> None:
    """Scroll the grid."""
    for speed in (1000, 4000):
        page.goto(address)
        page.wait_for_selector(".tile img.there")
        page.wait_for_timeout(1000)
        gaps, bare, _, _ = page.evaluate(light_table.SCROLL, [speed, seconds])
        line(f"Grid, scrolled at {speed:,} px/s", gaps, empty, f"; {bare} frames without a picture")


def main() -> None:
    """Print the numbers."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 4_000
    keys = int(sys.argv[2]) if len(sys.argv) > 2 else 50
    if not (shutil.which("chromium") or shutil.which("google-chrome")):
        print("no Chromium here: culling was not measured")
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(sys.argv[3] if len(sys.argv) > 3 else Path(folder) / "archive")
        if not archive.exists():
            fill(archive, count)
        load = os.getloadavg()[0] / (os.cpu_count() or 1)
        print(f"{count:,} pictures; {load:.1f} processes wait for each processor (1: all is ours)")
        port = light_table.free_port()
        address = f"http://127.0.0.1:{port}/"
        process = light_table.start(archive, port)
        try:
            light_table.answered(address)
            httpx.get(f"{address}api/facets", timeout=60)  # all is in memory
            lost = in_browser(address, archive, keys)
        finally:
            process.terminate()
            process.wait()
    if lost:
        raise SystemExit(f"{lost} keys were lost")


if __name__ == "__main__":
    main()
