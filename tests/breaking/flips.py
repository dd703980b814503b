"""Flips single bits of what an archive holds, and checks that each is found.

A bit that rots on a disk says nothing of itself: what was written must carry enough to see it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from breaking.killed import make_other
from safelight.archive import Archive
from safelight.archive.verification import verify_archive
from safelight.archive_layout import FileKind, files_below, kind_of, ratings_folder
from safelight.learning.ratings import RatingEvent, RatingStore

__all__ = ["Flips", "flip_lines", "flip_unchanging"]


@dataclass(slots=True)
class Flips:
    """What came of flipping bits.

    Attributes:
        what: Whose bits.
        made: How many were flipped, each alone.
        unseen: Those that nothing was said of.
    """

    what: str
    made: int = 0
    unseen: list[str] = field(default_factory=list)


def flip_unchanging(folder: Path, many: int, seed: int) -> Iterator[Flips]:
    """Flip *many* bits of packs, as chance has it, and as many of loose records and pictures."""
    archive = _archive(folder)
    chance = random.Random(seed)
    for what, first, pictures in (
        ("packs", "packs", False), ("loose records", "records", False), ("pictures", "images", True)
    ):  # fmt: skip
        result = Flips(what)
        paths = [
            Path(entry.path) for key, entry in files_below(archive)
            if key.startswith(first) and kind_of(PurePosixPath(key)) is FileKind.UNCHANGING
        ]  # fmt: skip
        weights = [path.stat().st_size for path in paths]
        for _ in range(many):
            path = chance.choices(paths, weights)[0]
            bit = chance.randrange(path.stat().st_size * 8)
            with _Flipped(path, bit):
                result.made += 1
                about = verify_archive(Archive(archive), pictures=pictures)
                if not any(fault.path in (path, path.parent) for fault in about.faults):
                    result.unseen.append(f"{path.name}, bit {bit}")
        yield result


def flip_lines(folder: Path, lines: int, most: int | None = None) -> Iterator[Flips]:
    """Flip every bit of the last *lines* lines of each kind of file that grows, newlines too.

    Of files of which that is more than *most* bits, as many that are spread evenly.
    """
    archive = _archive(folder)
    kinds = {"ratings": "ratings", "imports": "logs of imports", "images": "journals"}
    for first, what in kinds.items():
        result = Flips(what)
        for key, entry in files_below(archive):
            place, path = PurePosixPath(key), Path(entry.path)
            if place.parts[0] != first or kind_of(place) is not FileKind.GROWING:
                continue
            if result.made:
                break
            alone = folder / f"{first}-alone"
            _flip_each(
                alone, place, b"".join(path.read_bytes().splitlines(True)[-lines:]), result, most
            )
        yield result


def _flip_each(
    archive: Path, place: PurePosixPath, data: bytes, result: Flips, most: int | None
) -> None:
    path = archive / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    is_rating = place.parts[0] == "ratings"
    sound = {event.event_id: event for event in _events(archive)} if is_rating else {}
    assert not verify_archive(Archive(archive)).fault_count
    bits = len(data) * 8
    stride = 1 if most is None else -(-bits // most) | 1  # odd: every place within a byte comes
    for bit in range(0, bits, stride):
        with _Flipped(path, bit):
            result.made += 1
            if not verify_archive(Archive(archive)).fault_count:
                result.unseen.append(f"{place}, bit {bit}")
            elif is_rating and any(sound.get(e.event_id) != e for e in _events(archive)):
                result.unseen.append(f"{place}, bit {bit}: read as another rating")


def _events(archive: Path) -> list[RatingEvent]:
    with RatingStore(ratings_folder(archive)) as store:
        return list(store.events())


class _Flipped:
    """A file with one bit flipped, as long as the context lasts."""

    def __init__(self, path: Path, bit: int) -> None:
        self._path, self._bit = path, bit
        self._data = path.read_bytes()

    def __enter__(self) -> None:
        changed = bytearray(self._data)
        changed[self._bit // 8] ^= 1 << self._bit % 8
        self._path.write_bytes(changed)

    def __exit__(self, *details: object) -> None:
        self._path.write_bytes(self._data)


def _archive(folder: Path) -> Path:
    archive = folder / "a"
    if not archive.exists():
        make_other(archive)
        assert not verify_archive(Archive(archive), pictures=True).fault_count
    return archive
