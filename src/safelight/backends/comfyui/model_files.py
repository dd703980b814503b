"""model_files: what a server tells of the files that it loads models from.

ComfyUI tells no hashes. Since the end of 2024 it lists sizes and when files were changed
(``/experiment/models/FOLDER``), which tells a file that was replaced under its name from the old
one. Older servers, and those that list names only, know their files by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from safelight.backends.engine_server import EngineServer

__all__ = ["KINDS", "FileState", "ModelFiles", "model_names"]

_FOLDERS: Mapping[str, tuple[str, ...]] = {
    "model": ("checkpoints", "diffusion_models"),
    "vae": ("vae",),
    "lora": ("loras",),
    "upscaler": ("upscale_models",),
}
"""Kind of file -> where ComfyUI has it."""

KINDS = tuple(_FOLDERS)
"""What configs name."""

_OTHERS = (
    "text_encoders", "controlnet", "clip_vision", "style_models", "model_patches", "gligen",
    "hypernetworks", "photomaker", "audio_encoders",
)  # fmt: skip
_MODEL = re.compile(r"\.(safetensors|sft|ckpt|pth?|pt2|bin|gguf)$", re.IGNORECASE)
_NO_LIST = frozenset((*range(400, 500), 501)) - {401, 408, 429}
"""Of a server that has no such list; others only cannot tell it now, and then it is not known."""


@dataclass(frozen=True, slots=True)
class FileState:
    """What is known of a file.

    Attributes:
        size: In bytes.
        changed: When it was changed, seconds since 1970.
    """

    size: int
    changed: float


class ModelFiles:
    """The model files of one server as they are now; each folder is asked for once."""

    def __init__(self, server: EngineServer) -> None:
        self._server = server
        self._folders: dict[str, Mapping[str, FileState]] = {}

    @property
    def tells(self) -> bool:
        """Whether the server tells anything of its files but their names.

        Raises:
            BackendUnavailable: It does not answer.
        """
        return any(self._listed(folder) for folder in _FOLDERS["model"])

    def of_kind(self, kind: str, names: Iterable[str]) -> dict[str, FileState]:
        """Return name -> its state, for those of *names* that are known; LoRAs by stems, too."""
        return self._in(_FOLDERS.get(kind, ()), names, stems=kind == "lora")

    def anywhere(self, names: Iterable[str]) -> dict[str, FileState]:
        """Return the same of files of any kind."""
        folders = (*(folder for some in _FOLDERS.values() for folder in some), *_OTHERS)
        return self._in(folders, names)

    def _in(
        self, folders: Iterable[str], names: Iterable[str], *, stems: bool = False
    ) -> dict[str, FileState]:
        left, found = set(names), dict[str, FileState]()
        for folder in folders:
            if not left:
                break
            for path, state in self._listed(folder).items():
                for name in left & ({path, *_called(path)} if stems else {path}):
                    found.setdefault(name, state)
            left -= found.keys()
        return found

    def _listed(self, folder: str) -> Mapping[str, FileState]:
        if folder not in self._folders:
            answer = self._server.get(f"/experiment/models/{folder}", accept=_NO_LIST)
            listed: Any = None
            if answer.status == 200 and answer.content_type == "application/json":
                listed = self._server.json(answer)
            entries = listed if isinstance(listed, list) else ()
            self._folders[folder] = {
                str(entry["name"]): FileState(entry["size"], entry["modified"])
                for entry in entries
                if isinstance(entry, dict) and "name" in entry
                if type(entry.get("size")) is int
                if type(entry.get("modified")) in (int, float)
            }
        return self._folders[folder]


def model_names(values: Iterable[object]) -> set[str]:
    """Return those of the *values* in a graph's inputs that name model files."""
    return {value for value in values if isinstance(value, str) and _MODEL.search(value)}


def _called(path: str) -> tuple[str, str, str]:
    """Return what a prompt may call a LoRA: its path, without its ending, and its stem."""
    plain = path.replace("\\", "/")
    stem = plain.rsplit(".", 1)[0]
    return plain, stem, stem.rsplit("/", 1)[-1]
