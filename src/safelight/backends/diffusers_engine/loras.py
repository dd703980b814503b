"""LoRAs named in a prompt: found as files, loaded, weighed, and taken off again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safelight.allowed_files import ANY_FILE, AllowedFiles, is_pickled
from safelight.backends.diffusers_engine.loaded_model import LoadedModel
from safelight.backends.file_contents import content_of
from safelight.errors import BackendError, FileRefused
from safelight.knobs import did_you_mean
from safelight.lora_tags import Lora

__all__ = ["find_lora", "is_path", "lora_content", "use_loras"]

_SUFFIXES = (".safetensors", ".pt", ".bin")


def is_path(name: str, files: AllowedFiles) -> bool:
    """Return whether the LoRA *name* is the path of a file.

    Of a prompt from a page its form decides, so that nobody learns which files there are.
    """
    if files.is_confined:
        return Path(name).suffix in _SUFFIXES and ("/" in name or "\\" in name)
    direct = Path(name).expanduser()
    return direct.suffix in _SUFFIXES and direct.is_file()


def find_lora(name: str, folder: Path | None, files: AllowedFiles = ANY_FILE) -> Path:
    """Return the file of the LoRA *name*: a path, or a file somewhere under *folder*.

    Args:
        name: As prompts have it.
        folder: Of the user's LoRAs; None is none.
        files: Which files may be used.

    Raises:
        BackendError: There is none; the message names the nearest.
    """
    if is_path(name, files):
        return _allowed(name, name if files.is_confined else str(Path(name).expanduser()), files)
    there = _there(folder, files)
    for path in there:
        if name in (path.stem, path.name) or (
            folder is not None and name == path.relative_to(folder).with_suffix("").as_posix()
        ):
            return _allowed(name, str(path), files)
    known = [path.stem for path in there]
    hint = did_you_mean(name, known) or (f"; it has: {', '.join(known[:20])}" if known else "")
    raise BackendError(f"there is no LoRA {name!r} in lora_dir{hint}")


def _there(folder: Path | None, files: AllowedFiles) -> list[Path]:
    """Return the files of LoRAs under *folder* that may be used."""
    if folder is None:
        return []
    there = files.below(folder) if files.is_confined else folder.rglob("*")
    known = [path for path in sorted(there) if path.suffix in _SUFFIXES]
    return [path for path in known if not (files.is_confined and is_pickled(path))]


def _allowed(name: str, path: str, files: AllowedFiles) -> Path:
    try:
        return files.model(path)
    except FileRefused as error:
        raise BackendError(f"the LoRA {name!r} {error}") from error


def lora_content(name: str, folder: Path | None, files: AllowedFiles = ANY_FILE) -> str | None:
    """Return the hash of the file of the LoRA *name*; None where there is none."""
    try:
        return content_of(find_lora(name, folder, files))
    except BackendError:  # drawing with it will say so
        return None


def use_loras(
    model: LoadedModel,
    loras: Sequence[Lora],
    folder: Path | None,
    files: AllowedFiles = ANY_FILE,
) -> None:
    """Put exactly *loras* on *model*; none takes off what an earlier request put on.

    Raises:
        BackendError: A file is missing, damaged, or made for another kind of model.
    """
    wanted = tuple(loras)
    if wanted == model.loras and _contents(model.lora_files) == model.lora_contents:
        return
    found = tuple(find_lora(lora.name, folder, files) for lora in wanted)
    contents = _contents(found)
    if model.loras:
        model.pipe.unload_lora_weights()
        model.loras = model.lora_files = model.lora_contents = ()
    if not wanted:
        return
    try:
        _load(model.pipe, wanted, found)
    except BaseException as error:
        model.pipe.unload_lora_weights()
        if isinstance(error, BackendError) or not isinstance(error, Exception):
            raise
        names = ", ".join(lora.name for lora in wanted)
        raise BackendError(f"the LoRA {names} cannot be used: {error}") from error
    model.loras, model.lora_files, model.lora_contents = wanted, found, contents


def _contents(files: Sequence[Path]) -> tuple[str | None, ...]:
    """Return the hash of each file, which may have been trained on since it was loaded."""
    return tuple(map(content_of, files))


def _load(pipe: Any, loras: Sequence[Lora], files: Sequence[Path]) -> None:
    names = [f"lora_{number}" for number in range(len(loras))]
    weights = []
    for name, lora, file in zip(names, loras, files, strict=True):
        pipe.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=name)
        parts = [part for part, adapters in pipe.get_list_adapters().items() if name in adapters]
        if not parts:  # diffusers takes a file of which nothing fits, and says nothing
            raise BackendError(f"nothing in the LoRA {lora.name!r} fits this kind of model")
        encoder = {part: lora.text_encoder for part in parts if part.startswith("text_encoder")}
        weights.append(dict.fromkeys(parts, lora.unet) | encoder)
    pipe.set_adapters(names, adapter_weights=weights)
