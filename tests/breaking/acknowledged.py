"""Cuts the power while something is being written, and checks what had been acknowledged.

A *work* writes to an archive in this process, on a disk that keeps only what was flushed
(:class:`~breaking.power_cuts.PowerCuts`), and says what a user has been told so far. Whatever the
disk holds when the power is back, everything that was told must be there, nothing that was there
before may be gone, and nothing but hidden files and torn lines may be unfinished.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from breaking.folder_store import FolderStore
from breaking.killed import (
    command_quietly,
    make_other,
    make_pictures,
    record,
    reported_variants,
    small_config,
    write_records,
)
from breaking.power_cuts import Cut, PowerCuts
from safelight.archive import Archive
from safelight.archive.recovery import recover_archive
from safelight.archive.verification import verify_archive
from safelight.archive_layout import ratings_folder, records_folder
from safelight.learning import LearningRecordWriter
from safelight.learning.ratings import Identity, RatingEvent, RatingStore
from safelight.object_archive import pull_archive, push_archive
from safelight.pipeline import recover_interrupted_runs

__all__ = ["WORKS", "Outcome", "cut_through"]


@dataclass(slots=True)
class Outcome:
    """What came of cutting the power.

    Attributes:
        flushes: Calls of ``fsync`` that the work made.
        cuts: How often the power was cut, at the end included.
        acknowledged: What was acknowledged in the end.
        faults: What must not be.
    """

    flushes: int = 0
    cuts: int = 0
    acknowledged: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Work:
    """Something that writes to an archive.

    Attributes:
        prepare: Makes the archive that it begins with.
        carry_out: Does it; adds what was told to the set.
        missing: Returns what of the told an archive lacks.
        begins_empty: Whether there is no archive before.
    """

    prepare: Callable[[Path], None]
    carry_out: Callable[[Path, set[str]], None]
    missing: Callable[[Path, frozenset[str]], set[str]]


def cut_through(name: str, folder: Path, cuts: int, seed: int) -> Outcome:
    """Carry out the work *name*, cutting the power about *cuts* times.

    The first time counts the flushes; the second one is cut.
    """
    work = WORKS[name]
    kept = folder / "kept"
    work.prepare(kept / "a")
    outcome = Outcome()
    odds = 0.0
    for turn in ("count", "cut"):
        live = folder / turn
        shutil.copytree(kept, live, symlinks=True)
        with PowerCuts(live, folder / f"{turn}-cuts", random.Random(seed), odds) as power:
            work.carry_out(live / "a", power.acknowledged)
        outcome.flushes = power.flushes
        odds = min(1.0, cuts / max(1, power.flushes))
    outcome.cuts, outcome.acknowledged = len(power.cuts), len(power.acknowledged)
    before = _held(kept / "a")
    for cut in power.cuts:
        outcome.faults += [f"cut at flush {cut.number}: {it}" for it in _faults(work, cut, before)]
        shutil.rmtree(cut.folder)
    return outcome


def _faults(work: Work, cut: Cut, before: Counter[str]) -> list[str]:
    archive = cut.folder / "a"
    faults = []
    if archive.exists():
        opened = Archive(archive)
        with opened.writer() as writer:
            recover_interrupted_runs(archive, writer)
        recover_archive(opened)
        faults += [
            f"{fault.path.name}: {fault.reason}"
            for fault in verify_archive(opened, pictures=True).faults
        ]
    now = _held(archive)
    if gone := before - now:
        faults.append(f"{len(gone)} that were there before are gone: {sorted(gone)[:3]}")
    if doubled := [name for name, many in now.items() if many > max(1, before[name])]:
        faults.append(f"doubled: {doubled[:3]}")
    if lost := work.missing(archive, cut.acknowledged):
        faults.append(
            f"{len(lost)} of {len(cut.acknowledged)} that were told are gone: {sorted(lost)[:3]}"
        )
    return faults


def _held(archive: Path) -> Counter[str]:
    """Return the runs, ratings and files with names of people that *archive* holds."""
    if not archive.exists():
        return Counter()
    opened = Archive(archive)
    rows = opened.query(view="runs", columns=["run_id"], limit=None).rows
    held = Counter(f"run {row[0]}" for row in rows)
    with RatingStore(ratings_folder(archive)) as store:
        held.update(f"rating {event.event_id}" for event in store.events())
    return held


def _missing_of_held(archive: Path, acknowledged: frozenset[str]) -> set[str]:
    return set(acknowledged) - set(_held(archive))


# -- works -------------------------------------------------------------------------------


def _write(archive: Path, acknowledged: set[str]) -> None:
    with LearningRecordWriter(records_folder(archive)) as writer:
        for number in range(500, 516):
            made = record(number)
            writer.write(made)
            if not writer.pending:
                acknowledged.add(f"run {made.run_id}")


def _rate(archive: Path, acknowledged: set[str]) -> None:
    for rater in ("a", "b"):
        with RatingStore(ratings_folder(archive)) as store:
            for number in range(12):
                image = Identity(sha256=f"{number:064x}")
                event = RatingEvent.now("stars", image=image, value=2, rater=rater)
                store.add(event)
                acknowledged.add(f"rating {event.event_id}")


def _run(archive: Path, acknowledged: set[str]) -> None:
    class Told(io.StringIO):
        def write(self, text: str) -> int:
            written = super().write(text)
            acknowledged.update(
                f"{run} {variant}" for run, variant in reported_variants(self.getvalue())
            )
            return written

    config = str(archive.parent / "few.toml")
    command_quietly("run", config, "--archive", str(archive), "--log-json", out=Told())


def _prepare_run(archive: Path) -> None:
    write_records(archive, 5)
    (archive.parent / "few.toml").write_text(small_config(5))


def _variants_missing(archive: Path, acknowledged: frozenset[str]) -> set[str]:
    rows = Archive(archive).query(columns=["run_id", "variant"], limit=None).rows
    return set(acknowledged) - {f"{run_id} {variant}" for run_id, variant in rows}


def _import(archive: Path, acknowledged: set[str]) -> None:
    command_quietly(
        "import", str(archive.parent / "pictures"), "--archive", str(archive), "--jobs", "1"
    )
    acknowledged.add("all imported")


def _import_again(archive: Path) -> None:
    pictures = str(archive.parent / "pictures")
    command_quietly("import", pictures, "--archive", str(archive), "--jobs", "1")


def _prepare_import(archive: Path) -> None:
    write_records(archive, 5)
    make_pictures(archive.parent / "pictures", 12)


def _imported_missing(archive: Path, acknowledged: frozenset[str]) -> set[str]:
    """Import again, whatever was told: what a log says is imported must be."""
    ended = "all imported" in acknowledged
    wanted = (17, 4)  # five were there before; every third is rated
    if ended and _pictures_and_ratings(archive) != wanted:
        return {"all imported"}
    command_quietly(
        "import", str(archive.parent / "pictures"), "--archive", str(archive), "--jobs", "1"
    )
    return set() if _pictures_and_ratings(archive) == wanted else {"imported again"}


def _pictures_and_ratings(archive: Path) -> tuple[int, int]:
    pictures = Archive(archive).query(columns=["sha256"], limit=None).rows
    with RatingStore(ratings_folder(archive)) as store:
        return len(pictures), len(store.events())


def _pack(archive: Path, acknowledged: set[str]) -> None:
    Archive(archive).pack(per_pack=15)
    acknowledged.update(f"run {number:016x}" for number in range(40))


def _prepare_pack(archive: Path) -> None:
    write_records(archive, 40)


def _merge(archive: Path, acknowledged: set[str]) -> None:
    command_quietly("archive", "merge", str(archive.parent / "other"), "--archive", str(archive))
    acknowledged.update(_held(archive.parent / "other"))


def _prepare_merge(archive: Path) -> None:
    write_records(archive, 10, first=900)
    make_other(archive.parent / "other")


def _pull(archive: Path, acknowledged: set[str]) -> None:
    pull_archive(archive, FolderStore(archive.parent / "store"))
    acknowledged.update(_held(archive.parent / "other"))


def _prepare_pull(archive: Path) -> None:
    _prepare_merge(archive)
    push_archive(archive.parent / "other", FolderStore(archive.parent / "store"))


def _export(archive: Path, acknowledged: set[str]) -> None:
    for number in range(6):
        name = f"out-{number}.csv"
        command_quietly("export", str(archive.parent / name), "", "--archive", str(archive))
        acknowledged.add(name)


def _export_missing(archive: Path, acknowledged: frozenset[str]) -> set[str]:
    """A file that nobody was told of may be there as well; it is whole."""
    there = {path.name: path.read_text() for path in archive.parent.glob("out-*.csv")}
    torn = {name for name, text in there.items() if text.count("\n") != 41}
    return (set(acknowledged) - set(there)) | torn


def _recover(archive: Path, acknowledged: set[str]) -> None:
    recover_archive(Archive(archive))
    acknowledged.update(f"run {number:016x}" for number in range(40))


def _prepare_recover(archive: Path) -> None:
    """Damage a table of a pack; its documents are whole."""
    write_records(archive, 40)
    Archive(archive).pack(per_pack=40)
    (table,) = archive.glob("packs/*/runs.parquet")
    table.write_bytes(table.read_bytes()[:-40] + bytes(40))


def _page(archive: Path, acknowledged: set[str]) -> None:
    from starlette.testclient import TestClient

    from safelight.web.app import create_app

    with TestClient(create_app(archive), base_url="http://127.0.0.1") as page:
        for number in range(4):
            mine = {"searches": [{"name": f"mine {number}", "q": "seed = 1"}]}
            assert page.put("/api/searches", json=mine).status_code == 200
            acknowledged.clear()
            acknowledged.add(f"search mine {number}")


def _searches_missing(archive: Path, acknowledged: frozenset[str]) -> set[str]:
    """A later one that nobody was told of may be there as well."""
    if not acknowledged:
        return set()
    (name,) = acknowledged
    with contextlib.suppress(OSError, ValueError):
        there = json.loads((archive / "searches.json").read_bytes())[0]["name"]
        if f"search {there}" >= name:
            return set()
    return {name}


WORKS: dict[str, Work] = {
    "record writer": Work(_prepare_pack, _write, _missing_of_held),
    "rating": Work(_prepare_pack, _rate, _missing_of_held),
    "run": Work(_prepare_run, _run, _variants_missing),
    "import": Work(_prepare_import, _import, _imported_missing),
    "pack": Work(_prepare_pack, _pack, _missing_of_held),
    "merge": Work(_prepare_merge, _merge, _missing_of_held),
    "pull": Work(_prepare_pull, _pull, _missing_of_held),
    "export": Work(_prepare_pack, _export, _export_missing),
    "recover": Work(_prepare_recover, _recover, _missing_of_held),
    "saved search": Work(_prepare_pack, _page, _searches_missing),
}
"""Name -> what is done."""
