"""demo_story: a small finished story for who has nothing yet: drawn, imported, rated, answered.

It lives in a folder of its own, beside no archive of anybody: the config that is drawn, some
pictures of other tools, and the archive. All that it needs is in the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safelight.application.examples import EXAMPLES
from safelight.archive import Archive
from safelight.durable_file import copy_new_file, make_folder, read_regular_file
from safelight.errors import RequestError, StorageError

if TYPE_CHECKING:
    from safelight.archive.contents import Count

__all__ = ["DRAWN", "DemoFolder", "DemoStory", "Varied", "ready_folder", "story_of"]

DRAWN = "which_settings"
"""The example that is drawn."""

_CONFIG, _PICTURES, _ARCHIVE = "demo.toml", "pictures", "safelight"
_SIGN = "# Made by safelight demo"
_SHOWN = ("prompt", "sampler", "scheduler", "steps", "cfg_scale", "seed")
_CHOSEN = ("sampler", "steps")
_OF_THE_SWEEP = "name = 'which settings' and status = 'completed'"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoFolder:
    """Where a story is.

    Attributes:
        folder: All of it.
        config: What is drawn.
        pictures: Of other tools.
        archive: What came of both.
    """

    folder: Path
    config: Path
    pictures: Path
    archive: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Varied:
    """A setting that was varied, and its values in their order."""

    knob: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoStory:
    """What there is to tell.

    Attributes:
        pictures: Different ones in the archive.
        made_by: Who made them -> how many.
        rated: Of these, how many have stars.
        varied: Settings that the sweep varied.
        sentences: What the stars say about them.
        rated_by: Who gave the stars, in words.
        best: The file of a picture with the most stars; None where none has any.
        best_stars: How many it has.
        equals: How many pictures have as many.
        best_settings: Knob -> value, of that picture.
    """

    pictures: int
    made_by: dict[str, int]
    rated: int
    varied: tuple[Varied, ...]
    sentences: tuple[str, ...]
    rated_by: str
    best: Path | None
    best_stars: int
    equals: int
    best_settings: dict[str, str | int | float]


def ready_folder(folder: Path) -> DemoFolder:
    """Return the folder of a story, made where it is not there; what is in it stays as it is.

    Raises:
        RequestError: There is something else of that name.
        StorageError: It cannot be written.
    """
    there = DemoFolder(
        folder=folder, config=folder / _CONFIG, pictures=folder / _PICTURES,
        archive=folder / _ARCHIVE,
    )  # fmt: skip
    if not _is_free(folder) and not _is_story(there.config):
        raise RequestError(
            f"{folder} is there already, and safelight demo did not make it: nothing is put into"
            " it; name another folder with --into"
        )
    try:
        make_folder(folder)
        text = f"{_SIGN}, which draws it with the model in the box.\n#\n".encode()
        copy_new_file(text + (EXAMPLES / f"{DRAWN}.toml").read_bytes(), there.config)
        source = EXAMPLES / _PICTURES
        for file in sorted(path for path in source.rglob("*") if path.is_file()):
            target = there.pictures / file.relative_to(source)
            if not target.exists():
                make_folder(target.parent, root=folder)
                copy_new_file(file.read_bytes(), target)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error}") from error
    return there


def _is_free(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())
    except FileNotFoundError:
        return not folder.is_symlink()
    except OSError:
        return False


def _is_story(config: Path) -> bool:
    try:
        return read_regular_file(config).startswith(_SIGN.encode())
    except OSError:
        return False


def story_of(archive: Archive) -> DemoStory:
    """Return what the pictures and ratings of *archive* have to tell.

    Raises:
        ArchiveError: The archive cannot answer.
    """
    from safelight.application.rated_pictures import rated_trials
    from safelight.archive.contents import contents_of
    from safelight.learning.evidence.effects import find_effects

    contents = contents_of(archive)
    varied = {one.knob: one.values.listed for one in contents_of(archive, _OF_THE_SWEEP).varied}
    _, trials, rated_by = rated_trials(archive, _OF_THE_SWEEP)
    sentences = find_effects(trials).sentences
    columns = ["stars", "path", *_SHOWN]
    rated = list(archive.query("stars >= 1", columns=columns, sort="-stars", limit=None).dicts())
    first = rated[0] if rated else None
    return DemoStory(
        pictures=contents.pictures,
        made_by={one.name: one.pictures for one in contents.made_by.listed},
        rated=len(rated),
        varied=tuple(
            Varied(knob=knob, values=tuple(sorted(_names(varied[knob]), key=_order)))
            for knob in _CHOSEN if knob in varied
        ),
        sentences=tuple(one.text for one in sentences),
        rated_by=rated_by,
        best=None if first is None else archive.path / first["path"],
        best_stars=0 if first is None else int(first["stars"]),
        equals=sum(row["stars"] == rated[0]["stars"] for row in rated),
        best_settings={} if first is None else {knob: first[knob] for knob in _SHOWN},
    )  # fmt: skip


def _names(counts: Sequence[Count]) -> list[str]:
    return [one.name for one in counts]


def _order(value: str) -> tuple[float, str]:
    return (float(value) if value.isdecimal() else 0.0, value)
