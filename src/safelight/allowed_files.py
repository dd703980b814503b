"""AllowedFiles: how the files that a config names are opened, by who wrote the config.

Whoever writes a config on this machine may name any file that they may read: :class:`AnyFile`.
A config that comes over the network may name files below a few folders only, its *roots*:
:class:`FilesUnder`. What it may not have is refused with one sentence, the same whether there is
such a file, whether it may be read, and what it is.

A file is opened once, and what is open is looked at: a name that means another file a moment later
changes nothing. Where a library opens a model by its path itself, that cannot be: there the path
is resolved and looked at beforehand, and the resolved one is handed over.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Protocol

from safelight.durable_file import open_regular_file
from safelight.errors import FileRefused
from safelight.operating_system import path_of_open

__all__ = [
    "ANY_FILE",
    "PICKLED",
    "PICKLED_RULE",
    "RULE",
    "AllowedFiles",
    "AnyFile",
    "FilesUnder",
    "is_hub_name",
    "is_pickled",
]

RULE = (
    "is no file that a page may name: that takes one below the archive's images/, below a folder"
    " that safelight serve --allow DIR names, or below one of safelight folders"
)
"""Why a file is refused; it tells nothing of the file."""

PICKLED = frozenset((".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle"))
"""Endings of models that may run code when they are loaded."""

PICKLED_RULE = (
    "is of a kind that can run code when it is loaded, and never comes from a page: convert it to"
    " .safetensors"
)

_LONGEST = 4096
"""Characters of a name; to follow the links in one of a megabyte takes for ever."""

_HUB_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)
_MODEL_ENDINGS = frozenset((*PICKLED, ".safetensors", ".gguf", ".onnx", ".json"))


def is_hub_name(name: str) -> bool:
    """Return whether *name* has the form of a repository of a hub, ``owner/name``.

    The form decides, and not whether there is a folder of that name: what a text means must not
    depend on that, and whoever sends it must not learn it. What ends like a model is a file.
    """
    is_form = _HUB_NAME.fullmatch(name) is not None
    return is_form and Path(name).suffix.lower() not in _MODEL_ENDINGS


def is_pickled(name: str | Path) -> bool:
    """Return whether a model of that *name* may run code when it is loaded."""
    return Path(name).suffix.lower() in PICKLED


class AllowedFiles(Protocol):
    """Opens what a config names, or refuses."""

    @property
    def is_confined(self) -> bool:
        """Whether only some files may be named."""
        ...

    def place(self, name: str, folder: Path = Path()) -> Path:
        """Return where the file or folder *name* is, which need not be there.

        Args:
            name: As the config has it.
            folder: Where relative names start.

        Raises:
            FileRefused: It may not be named.
        """
        ...

    def open(self, name: str, folder: Path = Path()) -> BufferedReader:
        """Return the file *name*, open for reading.

        Args:
            name: As the config has it.
            folder: Where relative names start.

        Raises:
            FileRefused: It may not be named.
            OSError: It may, and cannot be opened.
        """
        ...

    def below(self, folder: Path) -> Iterator[Path]:
        """Yield the files below *folder*, hidden folders left out, that :meth:`open` would open.

        Raises:
            FileRefused: *folder* may not be named.
        """
        ...

    def model(self, name: str, folder: Path = Path()) -> Path:
        """Return the path of a model, a file or a folder of files, for a library to open.

        Args:
            name: As the config has it.
            folder: Where relative names start.

        Raises:
            FileRefused: It may not be named, or is one that can run code.
        """
        ...


@dataclass(frozen=True, slots=True)
class AnyFile:
    """Every file that this process may read: for what was written on this machine."""

    is_confined = False

    def place(self, name: str, folder: Path = Path()) -> Path:
        """Return the path as it is."""
        return folder / name

    def open(self, name: str, folder: Path = Path()) -> BufferedReader:
        """Open it."""
        return (folder / name).open("rb")

    def below(self, folder: Path) -> Iterator[Path]:
        """Yield every file, those behind links included."""
        for path, folders, names in os.walk(folder, followlinks=True):
            folders[:] = [name for name in folders if not name.startswith(".")]
            yield from (Path(path, name) for name in names)

    def model(self, name: str, folder: Path = Path()) -> Path:
        """Return the path as it is."""
        return folder / name


ANY_FILE = AnyFile()


@dataclass(frozen=True, slots=True)
class FilesUnder:
    """The regular files below a few folders, with links followed.

    Attributes:
        roots: The folders.
        named: Files and folders that the owner has named; models among the files may be of any
            kind, and what is below the folders is as what is below the roots.
    """

    roots: tuple[Path, ...]
    named: tuple[Path, ...] = ()
    is_confined = True

    def place(self, name: str, folder: Path = Path()) -> Path:
        """Return the path with every link in it followed."""
        place = _resolved(name, folder, self._resolved_roots())
        if place is None:
            raise FileRefused(RULE)
        return Path(place)

    def open(self, name: str, folder: Path = Path()) -> BufferedReader:
        """Open it once, and look at what is open."""
        roots = self._resolved_roots()
        place = _resolved(name, folder, roots)
        file = None if place is None else _opened(place, roots)
        if file is None:
            raise FileRefused(RULE)
        return file

    def below(self, folder: Path) -> Iterator[Path]:
        """Yield the files below a root, wherever links lead; each folder is entered once."""
        roots = self._resolved_roots()
        first = _resolved(str(folder), Path(), roots)
        if first is None or not os.path.isdir(first):  # noqa: PTH112 - a text is what it is
            raise FileRefused(RULE)
        pending, entered = [(folder, first)], {first}
        while pending:
            path, real = pending.pop()
            below: list[tuple[Path, str]] = []
            for entry in _listed(path):
                # Only a link can lead elsewhere: to follow every name costs a look at each folder.
                is_link = entry.is_symlink()
                inside = os.path.join(real, entry.name)  # noqa: PTH118 - as above
                place = _resolved(entry.name, path, roots) if is_link else inside
                if place is None:
                    continue
                if _is_file(entry):
                    yield path / entry.name
                elif _is_folder(entry) and not entry.name.startswith(".") and place not in entered:
                    entered.add(place)
                    below.append((path / entry.name, place))
            pending += reversed(below)

    def model(self, name: str, folder: Path = Path()) -> Path:
        """Return the path with every link followed; nothing in it may run code.

        The library opens it again, so that whoever may write below a root could put another file
        there in between.
        """
        if is_pickled(name) and Path(folder, name) not in self.named:
            raise FileRefused(PICKLED_RULE)
        place = self.place(name, folder)
        if place in map(_real, self.named) and place.is_file():
            return place
        if place.is_dir():
            self._refuse_unsafe_below(place)
        else:
            self.open(str(place)).close()
            if is_pickled(place):
                raise FileRefused(RULE)
        return place

    def _refuse_unsafe_below(self, folder: Path) -> None:
        roots = self._resolved_roots()
        for path, folders, names in os.walk(folder):
            for name in (*folders, *names):
                real = _resolved(name, Path(path), roots)
                leads_away = name in folders and Path(path, name).is_symlink()
                if real is None or leads_away:
                    raise FileRefused(RULE)
                if is_pickled(name) or is_pickled(real):
                    raise FileRefused(PICKLED_RULE)

    def _resolved_roots(self) -> tuple[str, ...]:
        return tuple(str(_real(root)) for root in (*self.roots, *self.named))


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _resolved(name: str, folder: Path, roots: tuple[str, ...]) -> str | None:
    """Return *name* with every link followed where that is below one of *roots*, else None.

    ``..`` goes first, as text: what ``link/..`` is depends on where a link leads, and a name that
    goes out through one and comes back would tell that. Nothing is opened.
    """
    if not name or "\0" in name or len(name) > _LONGEST:
        return None
    lexical = os.path.normpath(os.path.abspath(Path(folder, name)))  # noqa: PTH100 - no links yet
    if _is_elsewhere(lexical, roots):
        return None
    try:
        real = os.path.realpath(lexical)
    except (OSError, ValueError):  # too long, or no name of this system
        return None
    return real if _is_below(real, roots) else None


def _is_elsewhere(path: str, roots: tuple[str, ...]) -> bool:
    """Return whether *path* is on another machine than every root: to ask there tells who asks."""
    drive = os.path.splitdrive(path)[0]
    return drive.startswith(("\\\\", "//")) and not any(root.startswith(drive) for root in roots)


def _is_below(path: str, roots: tuple[str, ...]) -> bool:
    return any(Path(path).is_relative_to(root) for root in roots)


def _opened(place: str, roots: tuple[str, ...]) -> BufferedReader | None:
    """Return the regular file *place*, resolved, where what is open lies below one of *roots*."""
    try:
        file = open_regular_file(place, follow=False)
    except (OSError, ValueError):
        return None
    with suppress(OSError):
        if _is_below(_path_of(file.fileno(), place, os.fstat(file.fileno())), roots):
            return file
    file.close()
    return None


def _path_of(handle: int, place: str, status: os.stat_result) -> str:
    """Return where the file that is open lies, with every link followed.

    Raises:
        OSError: That cannot be told.
    """
    told = path_of_open(handle)
    if told is not None:
        return told
    # Elsewhere the name is followed once more, and must still mean the file that is open.
    again = os.path.realpath(place)
    if not os.path.samestat(os.stat(again), status):  # noqa: PTH116 - as above
        raise OSError(errno.ESTALE, "another file has the name by now", place)
    return again
