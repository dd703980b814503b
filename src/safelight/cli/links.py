"""Links: the addresses that let this terminal's owner in to the page, and how a browser gets one.

The secret stands behind the ``#`` of an address, which browsers send to no server, and never in a
command line, which other users of the machine can read.
"""

from __future__ import annotations

import contextlib
import html
import secrets
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import click

from safelight.cli.terminal import tell
from safelight.durable_file import make_folder, remove_file, replace_file
from safelight.web.admission import LINK_LIFE, Admission

__all__ = ["Links"]

_LISTENING = 0.5
"""Seconds after which the server listens."""

_PAGE = (
    '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
    '<title>safelight</title><meta http-equiv="refresh" content="0;url={0}">'
    '<p><a href="{0}">Open safelight</a></p>'
)


class Links:
    """Writes links into the terminal.

    Args:
        address: Of the page, with a slash at its end.
        admission: Lets people in; None lets everybody in.
        folder: Where files of this user may be, to be opened by a browser.
    """

    def __init__(self, address: str, admission: Admission | None, folder: Path) -> None:
        self._address = address
        self._admission = admission
        self._folder = folder
        self._files: list[Path] = []
        self._page = ""

    def tell(self, *, opens: bool, page: str = "") -> None:
        """Write a link, and another whenever somebody presses Enter.

        Args:
            opens: Whether to open it in the browser, too.
            page: Where it leads, from the first slash; empty is the beginning.
        """
        self._page = page
        if self._admission is None:
            tell("everyone with an account on this machine can see all of it and start runs"
                 " (--no-token)")  # fmt: skip
            if opens:
                _soon(lambda: click.launch(self._address + page.lstrip("/")))
            return
        link = self._write()
        if opens:
            _soon(lambda: self._open(link))
        if sys.stdin is not None and sys.stdin.isatty():
            threading.Thread(target=self._write_when_asked, daemon=True).start()

    def close(self) -> None:
        """Take away what browsers were given to open."""
        for file in self._files:
            with contextlib.suppress(OSError):
                remove_file(file)

    def _write(self) -> str:
        assert self._admission is not None
        to = f"?{urlencode({'next': self._page})}" if self._page else ""
        link = f"{self._address}login{to}#{self._admission.new_link()}"
        enter = "; Enter writes another" if sys.stdin is not None and sys.stdin.isatty() else ""
        tell(f"open it with this link, once, within {LINK_LIFE // 60} minutes{enter}:")
        tell(f"  {link}")
        return link

    def _write_when_asked(self) -> None:
        for _ in sys.stdin:
            self._write()

    def _open(self, link: str) -> None:
        """Open a file of the user's own that leads on: a command line would tell the secret."""
        text = _PAGE.format(html.escape(link)).encode()
        try:
            make_folder(self._folder)
            file = self._folder / f"open-{secrets.token_hex(8)}.html"
            replace_file(file, text, private=True)
        except OSError as error:
            tell(f"the browser could not be given the link: {error}")
            return
        self._files.append(file)
        click.launch(str(file))


def _soon(act: Callable[[], object]) -> None:
    timer = threading.Timer(_LISTENING, act)
    timer.daemon = True
    timer.start()
