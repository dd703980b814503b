"""Settings of one picture or preset, as the commands print them for other tools."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from safelight.cli.terminal import say_text, tell

if TYPE_CHECKING:
    from safelight.application.settings_texts import Form

__all__ = ["form_option", "print_settings"]


def form_option(told: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option ``--as``, whose help begins with *told*."""
    return click.option(
        "--as", "form", type=click.Choice(["infotext", "comfyui", "json"]),
        help=f"{told} infotext is A1111's, comfyui a graph in the API format.",
    )  # fmt: skip


def print_settings(
    path: Path, archive: Path, form: Form, written: Path | None = None, *, as_json: bool
) -> None:
    """Print the settings of the picture or preset at *path*, or write them to *written*.

    Raises:
        ImageError: It cannot be read as a picture.
        RequestError: Its settings cannot be said so.
        StorageError: There is such a file, or it cannot be written.
    """
    from safelight.application.config_text import write_config_text
    from safelight.application.settings_texts import settings_in_file

    try:
        told = settings_in_file(path, archive).text(form)
    except OSError as error:
        raise click.ClickException(f"{path} cannot be read: {error}") from error
    if written is not None:
        write_config_text(written, told.text)
    if as_json:
        page = {**asdict(told), "written": None if written is None else str(written)}
        say_text(json.dumps(page, ensure_ascii=False, indent=2))
        return
    if written is None:
        say_text(told.text.rstrip("\n"))
    else:
        tell(f"written: {written}")
    for note in told.notes:
        tell(f"- {note}")
