"""keeping: mend what crashes left of an archive, and keep it equal to one on a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from safelight.application.discarding import settle_trash
from safelight.archive import Archive, Fault
from safelight.archive.recovery import Recovery, recover_archive, set_pictures_aside
from safelight.archive.transfer import Carried
from safelight.imports.folder_import import mend_places
from safelight.imports.lost_records import rebuild_lost_records
from safelight.object_archive import open_store, pull_archive, push_archive
from safelight.pipeline import recover_interrupted_runs

__all__ = ["Mended", "Progress", "mend", "sync_with"]

Progress = Callable[[int, int], None]
"""Told how many of how many are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """What was done.

    Attributes:
        interrupted: Killed runs that got their record.
        rebuilt: Runs whose lost record was made again from journals or pictures.
        places: Pictures that are again where their records say.
        archive: Packs and loose records.
        pictures_aside: Damaged pictures that were moved out of the way, where that was asked for.
        left: What was left as it is, and why.
    """

    interrupted: tuple[str, ...]
    rebuilt: tuple[str, ...]
    places: int
    archive: Recovery
    pictures_aside: tuple[str, ...] = ()
    left: tuple[Fault, ...] = field(default=())


def mend(
    archive: Archive, *, pictures: bool = False, on_progress: Progress = lambda *_: None
) -> Mended:
    """Finish what crashes interrupted, and repair what can be repaired.

    Args:
        archive: Which.
        pictures: Whether to read every picture, too, and to set damaged ones aside.
        on_progress: Told how far that is.

    Raises:
        ArchiveError: Something cannot be read or written.
        StorageError: The same of the imports' log, or the trash.
        RequestError: Somebody is moving pictures.
    """
    settle_trash(archive)
    with archive.writer() as writer:
        interrupted = [record.run_id for record in recover_interrupted_runs(archive.path, writer)]
    done = recover_archive(archive)
    rebuilt = [record.run_id for record in rebuild_lost_records(archive)]
    places = mend_places(archive)
    aside: list[str] = []
    unmoved: list[Fault] = []
    if pictures:
        aside, unmoved = set_pictures_aside(
            archive, lambda _what, number, total: on_progress(number, total)
        )
    return Mended(
        interrupted=tuple(interrupted), rebuilt=tuple(rebuilt), places=places, archive=done,
        pictures_aside=tuple(aside), left=(*done.left, *unmoved),
    )  # fmt: skip


def sync_with(
    archive: Archive,
    url: str,
    *,
    push: bool = True,
    pull: bool = True,
    showing: Callable[[str], AbstractContextManager[Progress]] = lambda _: nullcontext(
        lambda *_: None
    ),
) -> Iterator[tuple[str, Carried]]:
    """Make *archive* and the one on a store equal; yield ``put`` and ``fetched`` as they end.

    Args:
        archive: The one here.
        url: Of the store.
        push: Whether to put what the store lacks.
        pull: Whether to fetch what the archive lacks.
        showing: Gives, for either, what is told how far it is.

    Raises:
        StorageError: The store cannot be opened, listed or written to.
    """
    store = open_store(url)
    with archive.writer() as writer:
        recover_interrupted_runs(archive.path, writer)  # a store has no journals to go on from
    for wanted, move, word in ((push, push_archive, "put"), (pull, pull_archive, "fetched")):
        if wanted:
            with showing(word) as on_progress:
                carried = move(archive.path, store, on_progress=on_progress)
            yield word, carried
