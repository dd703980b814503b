"""picture_folders: folders of this machine in which somebody may have pictures, to choose one.

Only names and counts are told; no file is opened.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from safelight.durable_file import read_regular_file
from safelight.errors import RequestError
from safelight.imports.picture_walk import WalkNotes, walk_pictures

__all__ = ["FolderCount", "FolderListing", "UsualFolder", "count_pictures", "list_folder",
           "usual_folders"]  # fmt: skip

_TOOLS = (
    ("A1111", ("stable-diffusion-webui", "automatic1111", "sd.webui/webui"), ("outputs", "output")),
    ("Forge", ("stable-diffusion-webui-forge", "sd-webui-forge-neo", "sd-webui-forge-classic",
               "webui_forge/webui", "forge/webui", "stable-diffusion-webui-reforge"),
     ("outputs", "output")),
    ("SD.Next", ("sdnext", "automatic"), ("outputs",)),
    ("ComfyUI", ("ComfyUI", "comfyui", "ComfyUI_windows_portable/ComfyUI",
                 "ComfyUI-Easy-Install/ComfyUI", "pinokio/api/comfy.git/app"), ("output",)),
    ("SwarmUI", ("SwarmUI", "StableSwarmUI"), ("Output",)),
    ("Fooocus", ("Fooocus", "Fooocus/Fooocus", "Fooocus_win64_2-5-0/Fooocus"), ("outputs",)),
    ("InvokeAI", ("invokeai", "InvokeAI"), ("outputs/images",)),
    ("Stability Matrix", ("StabilityMatrix", "StabilityMatrix/Data",
                          ".local/share/StabilityMatrix"), ("Images",)),
    ("Draw Things", ("Pictures/Draw Things", "Pictures/DrawThings", "Draw Things"), ("",)),
    ("Mochi Diffusion", ("MochiDiffusion",), ("images",)),
    ("DiffusionBee", (".diffusionbee",), ("images",)),
)  # fmt: skip
"""What a tool is called, where people put it, and its folders of pictures."""

_TOLD_BY = (
    ("InvokeAI", "INVOKEAI_ROOT", "outputs/images"),
    ("Stability Matrix", "APPDATA", "StabilityMatrix/Images"),
)
"""Tool, variable of the environment, and its folder of pictures below what that says."""

_BELOW_HOME = (
    "",
    "Documents",
    "Downloads",
    "Desktop",
    "AI",
    "ai",
    "git",
    "src",
    "Projects",
    "projects",
)
_BESIDE_HOME = ("/workspace", "/opt", "C:/", "D:/", "C:/AI", "D:/AI", "E:/", "E:/AI")
_OWN = (("Pictures", "XDG_PICTURES_DIR"), ("Pictures in OneDrive", ""),
        ("Downloads", "XDG_DOWNLOAD_DIR"))  # fmt: skip
_USUAL = {"Pictures in OneDrive": "OneDrive/Pictures"}
_XDG = re.compile(r'^(XDG_[A-Z]+_DIR)="\$HOME/([^"]*)"$', re.MULTILINE)
_MOST_COUNTED, _LONGEST = 200_000, 4.0
_MOST_LISTED = 2000


@dataclass(frozen=True, slots=True)
class UsualFolder:
    """A folder where pictures usually lie, and what it is called."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderListing:
    """The folders in a folder.

    Attributes:
        path: Whole.
        parent: The folder around it; None at the root.
        folders: Names, those that begin with a dot left out.
        more: How many are not listed.
    """

    path: Path
    parent: Path | None
    folders: tuple[str, ...]
    more: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderCount:
    """What an import of a folder would meet.

    Attributes:
        pictures: That are read.
        other_kinds: Kind -> files that are not.
        faults: Folders and files that cannot be looked at, and why; the first few.
        fault_count: How many there are.
        is_whole: Whether all was counted; otherwise there are more.
    """

    pictures: int
    other_kinds: dict[str, int]
    faults: tuple[tuple[str, str], ...]
    fault_count: int
    is_whole: bool


def usual_folders(
    home: Path, environ: Mapping[str, str] = MappingProxyType({})
) -> list[UsualFolder]:
    """Return the folders of known tools that are on this machine, then Pictures and Downloads.

    Args:
        home: The user's.
        environ: The environment, where tools and systems say where their folders are.
    """
    found = [*_of_tools(home), *_told(environ), *_of_user(home)]
    return list({os.path.realpath(each.path): each for each in reversed(found)}.values())[::-1]


def _of_tools(home: Path) -> Iterator[UsualFolder]:
    around = [*(home / below for below in _BELOW_HOME), *map(Path, _BESIDE_HOME)]
    for name, places, folders in _TOOLS:
        for folder in (a / place / own for a in around for place in places for own in folders):
            if folder.is_absolute() and _is_folder(folder):
                yield UsualFolder(name, folder)


def _told(environ: Mapping[str, str]) -> Iterator[UsualFolder]:
    for name, variable, below in _TOLD_BY:
        if root := environ.get(variable):
            folder = Path(root) / below
            if folder.is_absolute() and _is_folder(folder):
                yield UsualFolder(name, folder)


def _of_user(home: Path) -> Iterator[UsualFolder]:
    try:
        text = read_regular_file(home / ".config" / "user-dirs.dirs").decode()
    except (OSError, UnicodeDecodeError):
        text = ""
    named = dict(_XDG.findall(text))
    for name, key in _OWN:
        folder = home / named.get(key, _USUAL.get(name, name))
        if folder != home and _is_folder(folder):
            yield UsualFolder(name, folder)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def list_folder(path: Path) -> FolderListing:
    """Return the folders in *path*.

    Raises:
        RequestError: It is no folder, or cannot be looked into.
    """
    whole = _whole(path)
    try:
        with os.scandir(whole) as entries:
            names = sorted(
                (e.name for e in entries if not e.name.startswith(".") and _may_enter(e)),
                key=str.casefold,
            )
    except OSError as error:
        raise RequestError(f"{whole} cannot be looked into: {error.strerror or error}") from error
    return FolderListing(
        path=whole, parent=None if whole.parent == whole else whole.parent,
        folders=tuple(names[:_MOST_LISTED]), more=max(0, len(names) - _MOST_LISTED),
    )  # fmt: skip


def _may_enter(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.name.isprintable() and entry.is_dir()
    except OSError:
        return False


def count_pictures(path: Path, archive: Path) -> FolderCount:
    """Return what an import of the folder *path* would meet, counted for a few seconds at most.

    Args:
        path: Which.
        archive: The archive's, which is not entered.

    Raises:
        RequestError: It is no folder.
    """
    whole, notes = _whole(path), WalkNotes()
    faults: list[tuple[str, str]] = []
    until = time.monotonic() + _LONGEST
    pictures = 0
    walk = walk_pictures(
        [whole], without=archive, notes=notes,
        on_fault=lambda place, reason: faults.append((place, reason)),
    )  # fmt: skip
    is_whole = True
    for _ in walk:
        pictures += 1
        if pictures >= _MOST_COUNTED or time.monotonic() > until:
            is_whole = False
            break
    return FolderCount(
        pictures=pictures, other_kinds=dict(notes.other_kinds), faults=tuple(faults[:5]),
        fault_count=len(faults), is_whole=is_whole,
    )  # fmt: skip


def _whole(path: Path) -> Path:
    if "\0" in str(path) or not path.is_absolute():
        raise RequestError(f"a folder must be named wholly, got {str(path)!r}")
    whole = Path(os.path.normpath(path))
    if not _is_folder(whole):
        raise RequestError(f"{str(whole)!r} is no folder that there is, or may be looked into")
    return whole
