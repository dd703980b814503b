"""The user's configuration folder: what the owner of this machine has decided for all archives.

It lies apart from archives, which travel and come from elsewhere. Files in it are read whole each
time, so that a change counts at once, and written whole or not at all, for their owner only.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safelight.errors import ConfigError, StorageError
from safelight.operating_system import account

__all__ = ["change_settings", "read_settings"]

_LARGEST = 2**20


def read_settings(path: Path) -> dict[str, Any]:
    """Return what the TOML file *path* holds; nothing when it is not there.

    Raises:
        ConfigError: It cannot be read, is not TOML, or others may write to it.
    """
    return _parsed(_text(path), path)


def change_settings(path: Path, change: Callable[[str, dict[str, Any]], str]) -> None:
    """Replace the text of the file *path* by what *change* makes of it and of what it holds.

    Two who change it do so one after the other. The file and its folder are made for their owner
    only.

    Raises:
        ConfigError: As :func:`read_settings`, or what *change* raises.
        StorageError: It cannot be written.
    """
    from safelight.durable_file import held_folder, make_folder, replace_file

    try:
        make_folder(path.parent)
        with held_folder(path.parent):
            text = _text(path)
            changed = change(text, _parsed(text, path))
            replace_file(path, changed.encode(), private=True)
    except OSError as error:
        raise StorageError(f"{path} could not be written: {error}") from error


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            _refuse_foreign(path, os.fstat(file.fileno()))
            return file.read(_LARGEST).decode("utf-8-sig")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", source=str(path)) from error


def _parsed(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"is not TOML: {error}", source=str(path)) from error


def _refuse_foreign(path: Path, status: os.stat_result) -> None:
    """Refuse a file that others may have written: it decides where secrets go."""
    own = account()
    if own is None:  # who may write there is told by no mode
        return
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError("must be a file", source=str(path))
    if mode & 0o022:
        raise ConfigError(
            f"others may write to it (mode {mode:o}), and it says where requests and secrets go:"
            f" chmod 600 {path}",
            source=str(path),
        )
    if status.st_uid not in (0, own):
        raise ConfigError("belongs to somebody else; make one of your own", source=str(path))
