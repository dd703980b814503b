"""Syncing through a store that refuses, loses answers and cuts bodies: the short form.

``make test-s3`` does it with a real server behind a proxy that breaks what passes.
"""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from breaking.folder_store import BadDayStore, FolderStore
from breaking.killed import make_other
from safelight.archive import Archive
from safelight.archive.verification import verify_archive
from safelight.archive_layout import ratings_folder
from safelight.errors import StorageError
from safelight.learning.ratings import RatingStore
from safelight.object_archive import pull_archive, push_archive

TRIALS = 10
AT_MOST = 60
"""Syncs until one goes well."""


def _held(archive: Path) -> Counter[str]:
    opened = Archive(archive)
    rows = opened.query(columns=["sha256"], limit=None).rows
    with RatingStore(ratings_folder(archive)) as store:
        return Counter([*(f"picture {row[0]}" for row in rows),
                        *(f"rating {event.event_id}" for event in store.events())])  # fmt: skip


def _sync(archive: Path, store: FolderStore, *, pushing: bool, pulling: bool) -> bool:
    """Return whether everything was carried, as it says itself."""
    try:
        each = []
        if pushing:
            each.append(push_archive(archive, store))
        if pulling:
            each.append(pull_archive(archive, store))
    except StorageError as error:
        assert str(error)
        return False
    return not any(carried.bad_count for carried in each)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    archive = tmp_path_factory.mktemp("other") / "a"
    make_other(archive)
    return archive


@pytest.mark.parametrize("seed", range(TRIALS))
def test_nothing_is_torn_and_in_the_end_all_is_there(
    seed: int, other: Path, tmp_path: Path
) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    shutil.copytree(other, source)
    wanted = _held(other)
    store = BadDayStore(tmp_path / "store", 0.03, seed)
    sound = FolderStore(tmp_path / "store")
    told_bad = 0
    for archive, ways in (
        (source, {"pushing": True, "pulling": False}), (target, {"pushing": False, "pulling": True})
    ):  # fmt: skip
        for _ in range(AT_MOST):
            ended_well = _sync(archive, store, **ways)
            told_bad += not ended_well
            # Every third time will do: verifying takes ten times as long as syncing.
            if archive.exists() and (ended_well or not told_bad % 3):
                faults = verify_archive(Archive(archive), pictures=True).faults
                torn = [it for it in faults if it.reason != "is not there" or ended_well]
                assert torn == []  # it has said that something is missing
                assert not set(_held(archive)) - set(wanted)
            if ended_well:
                break
        else:
            pytest.fail(f"{AT_MOST} syncs, and none went well")
    assert told_bad
    assert _held(source) == wanted
    assert _held(target) == wanted
    assert _sync(target, sound, pushing=True, pulling=True)
    assert _held(target) == wanted
