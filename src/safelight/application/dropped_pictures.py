"""dropped_pictures: pictures that somebody hands over, which lie nowhere on this machine yet.

They are looked at in memory. Only who asks for it has them kept, below the archive's pictures, from
where they are imported like any others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from safelight.application.picture_settings import ALIKE, PictureSettings
from safelight.archive import Archive
from safelight.archive.answer import without_discarded
from safelight.archive_layout import pictures_folder
from safelight.durable_file import copy_new_file, make_folder, read_regular_file
from safelight.errors import StorageError
from safelight.filter_tokens import quoted
from safelight.formats.picture_kinds import LONGEST_BEGINNING, media_type
from safelight.imports.picture_reader import SUFFIXES
from safelight.lora_tags import lora_stem
from safelight.picture_names import safe_stem
from safelight.recorded_settings import comparable_model

__all__ = ["Alike", "keep_picture", "pictures_alike"]

_DROPPED = "dropped"
_SUFFIX_OF = {"image/jpeg": ".jpg", "image/webp": ".webp", "image/avif": ".avif",
              "image/gif": ".gif"}  # fmt: skip
_MOST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """Pictures of an archive that have settings of another one.

    Attributes:
        q: The condition that finds them, and never that picture itself.
        by: The settings that they share, of :data:`.picture_settings.ALIKE`.
        count: How many; a hundred may be more.
    """

    q: str
    by: tuple[str, ...]
    count: int


def pictures_alike(archive: Archive, told: PictureSettings) -> Alike | None:
    """Return the pictures that share most of the settings of *told*; None when none shares any.

    The setting that counts least is let go first.

    Args:
        archive: Where to look.
        told: The settings.

    Raises:
        ArchiveError: The archive cannot answer.
    """
    clauses = dict(_clauses(told, archive))
    while clauses:
        q = " and ".join(clauses.values())
        found = archive.query(without_discarded(q), columns=["sha256"], limit=_MOST + 1).rows
        others = [row for row in found if row[0] != told.sha256]
        if others:
            if len(others) < len(found):  # what is counted is what is shown
                q = f"{q} and sha256 != {quoted(told.sha256)}"
            return Alike(q=q, by=tuple(clauses), count=min(len(others), _MOST))
        clauses.popitem()
    return None


def _clauses(told: PictureSettings, archive: Archive) -> Iterator[tuple[str, str]]:
    known = {one.name: one for one in told.settings if one.value and one.status != "conflicting"}
    loras = [name.removeprefix("lora.") for name in known if name.startswith("lora.")]
    for name in ALIKE:
        if name == "model" and name in known:
            yield name, _of_model(archive, known[name].value)
        elif name == "lora" and loras:
            yield name, " and ".join(f"lora({quoted(lora_stem(each))})" for each in loras)
        elif name == "size" and told.settings:
            yield name, f"(width = {told.width} and height = {told.height})"
        elif name in ("steps", "cfg_scale") and name in known:
            yield name, f"{name} = {known[name].value}"
        elif name in known:
            yield name, f"{name} = {quoted(known[name].value)}"


def _of_model(archive: Archive, model: str) -> str:
    """Return the condition for *model*, however it is spelled in *archive*."""
    rows = archive.rows("SELECT DISTINCT model FROM images WHERE model IS NOT NULL", rated=False)
    here = comparable_model(model)
    names = sorted({name for (name,) in rows if comparable_model(name) == here} | {model})
    return f"model in ({', '.join(map(quoted, names))})"


def keep_picture(
    archive: Path, data: bytes, name: str, day: str, *, within: Path | None = None
) -> Path:
    """Put a picture below the archive's pictures, and return where it is.

    Args:
        archive: Its folder.
        data: The file.
        name: What it was called; what no file may be called is left out.
        day: ISO 8601, for the folder.
        within: The folder below the archive's pictures; that of dropped ones without.

    Raises:
        StorageError: It could not be written.
    """
    plain = PurePath(PurePath(name.replace("\\", "/")).name)
    stem = safe_stem(plain.stem) or "picture"
    kind = media_type(data[:LONGEST_BEGINNING]) or ""
    suffix = plain.suffix.lower()
    if suffix not in SUFFIXES:
        suffix = _SUFFIX_OF.get(kind, ".png")
    folder = (within or pictures_folder(archive) / _DROPPED) / day
    try:
        make_folder(folder, root=archive)
        for number in range(1, 10_000):
            target = folder / f"{stem}{'' if number == 1 else f'-{number}'}{suffix}"
            if copy_new_file(data, target) is not None or read_regular_file(target) == data:
                return target
    except OSError as error:
        raise StorageError(f"the picture could not be kept: {error}") from error
    raise StorageError(f"{folder} has ten thousand pictures called {stem}{suffix}; rename this one")
