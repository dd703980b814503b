"""AllowedFolders: the folders below which configs from a page may name files, beside pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safelight.application.user_folder import change_settings, read_settings
from safelight.errors import ConfigError, RequestError

__all__ = ["NO_FOLDERS", "AllowedFolders"]


class AllowedFolders:
    """The list that the owner keeps in ``folders.toml``: ``folders = ["/data/wildcards"]``.

    Args:
        folder: The user's configuration folder; None where there is none.
    """

    def __init__(self, folder: Path | None) -> None:
        self.path = None if folder is None else folder / "folders.toml"

    def read(self) -> tuple[Path, ...]:
        """Return the folders, as they were added.

        Raises:
            ConfigError: The list is at fault.
        """
        return () if self.path is None else _listed(read_settings(self.path), self.path)

    def add(self, folder: Path) -> Path:
        """Add *folder*, with its links followed; return it.

        Raises:
            RequestError: It is no folder, or far too much.
            ConfigError: The list is at fault.
            StorageError: The list cannot be written.
        """
        real = Path() if "\0" in str(folder) else Path(os.path.realpath(folder))
        if real == Path() or not real.is_dir():
            raise RequestError(f"{str(folder)!r} is no folder that there is")
        if real == Path(real.anchor):
            raise RequestError(f"{real} is the whole disk; add the folder that is meant")
        if not str(real).isprintable():
            raise RequestError(f"the name of {str(real)!r} cannot be written down; rename it")
        self._change(lambda folders: folders if real in folders else [*folders, real])
        return real

    def remove(self, folder: Path) -> None:
        """Take *folder* out again.

        Raises:
            RequestError: It is not in the list.
            ConfigError: The list is at fault.
            StorageError: The list cannot be written.
        """
        named = (folder, Path(os.path.realpath(folder)))
        if not set(named) & set(self.read()):
            raise RequestError(f"{str(folder)!r} is not among the added folders")
        self._change(lambda folders: [each for each in folders if each not in named])

    def _change(self, change: Any) -> None:
        if self.path is None:
            raise RequestError("there is no configuration folder to keep the list in")
        path = self.path
        change_settings(path, lambda _, data: _text(change(list(_listed(data, path)))))


def _listed(data: dict[str, Any], path: Path) -> tuple[Path, ...]:
    folders = data.get("folders", [])
    if set(data) - {"folders"} or not isinstance(folders, list):
        raise ConfigError('must hold folders = ["/a/folder"] and nothing else', source=str(path))
    for folder in folders:
        if not isinstance(folder, str) or not Path(folder).is_absolute():
            raise ConfigError(f"folders: must be whole paths, got {folder!r}", source=str(path))
    return tuple(map(Path, folders))


def _text(folders: Sequence[Path]) -> str:
    import tomli_w

    return tomli_w.dumps({"folders": [str(folder) for folder in folders]})


NO_FOLDERS = AllowedFolders(None)
