"""An archive on the light table, and a real browser to sit at it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gui_v2.light_table import fill, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive that nobody writes to."""
    return fill(tmp_path_factory.mktemp("light-table") / "archive")


@pytest.fixture
def archive(drawn: Path, tmp_path: Path) -> Path:
    """An archive of the test's own."""
    return Path(shutil.copytree(drawn, tmp_path / "archive"))


@pytest.fixture
def address(archive: Path) -> Iterator[str]:
    """Where that archive is served."""
    with served(archive) as url:
        yield url


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh profile; anything that the page complains of fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened = context.new_page()
    opened.set_default_timeout(180_000)
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("dialog", lambda dialog: faults.append(dialog.message))
    opened.on(
        "console",
        lambda message: faults.append(message.text) if _is_refused(message.text) else None,
    )
    yield opened
    context.close()
    assert faults == []


def _is_refused(message: str) -> bool:
    return "Content Security Policy" in message or "Refused to" in message
