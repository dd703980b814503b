"""The light table beside a tool, as a person has it: ``serve --watch`` and a browser."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["LONG", "beside", "settings_of_all"]

LONG = 600_000
"""Milliseconds that a page may take beside a tool that draws."""


@contextlib.contextmanager
def beside(output: Path, archive: Path) -> Iterator[str]:
    """Serve *archive*, which a process of its own fills from *output*; give the page's address."""
    home = {name: str(archive.parent / name) for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME")}
    words = ("serve", "--port", "0", "--no-token", "--archive", str(archive), "--watch")
    log = archive.parent / "serve.log"
    with log.open("w") as told, subprocess.Popen(
        [sys.executable, "-m", "safelight", *words, str(output)],
        stdin=subprocess.DEVNULL, stdout=told, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **home},
    ) as server:  # fmt: skip
        assert server.stderr is not None
        try:
            address = re.search(r"http://\S+?(?=/\s)", server.stderr.readline())
            assert address is not None
            yield address[0]
        finally:
            server.terminate()
            server.stderr.read()


def settings_of_all(page: Page) -> list[dict[str, str]]:
    """Open each picture that the grid shows, the newest first; return what is told of it."""
    pictures = page.locator("#grid a[href^='/look/']:visible")
    hrefs = pictures.evaluate_all("every => every.map(one => one.href)")
    told: list[dict[str, str]] = []
    for href in hrefs:
        page.goto(href)
        page.locator(".info .settings").first.wait_for(timeout=LONG)
        names = page.locator(".info .settings dt").all_inner_texts()
        values = page.locator(".info .settings .value").all_inner_texts()
        prompt = page.inner_text(".info .prompt")
        told.append({"Prompt": prompt, **dict(zip(names, values, strict=True))})
    return told
