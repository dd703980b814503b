"""Discarding is moving: whatever happens, a picture is in its place or can be brought back."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from archives import held_in_memory, verified
from command_line import Safelight
from safelight.application.discarding import (
    discard,
    empty_trash,
    in_trash,
    restore,
    settle_trash,
    to_discard,
)
from safelight.application.open_archive import run
from safelight.application.to_rate import next_to_rate
from safelight.archive import Archive, trash
from safelight.archive.folder_copy import merge_archives
from safelight.archive_layout import TRASH, pictures_folder
from safelight.durable_file import AppendOnlyFile, move_file
from safelight.errors import RequestError, StorageError
from safelight.imports.folder_import import import_folders
from safelight.learning.ratings import Identity, RatingEvent

NOW = datetime(2026, 5, 17, 12, 0, tzinfo=UTC)
DRAWN = """
backend = "fake"
[txt2img]
prompt = "a {red|green|blue|grey|white} hill"
steps = 2
width = 32
height = 32
[randomizer]
mode = "fanout"
"""
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has none of that")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of five pictures that nobody writes to."""
    folder = tmp_path_factory.mktemp("drawn")
    (folder / "c.toml").write_text(DRAWN, "utf-8")
    run(folder / "c.toml", folder / "archive", {}, seed=1)
    return folder / "archive"


@pytest.fixture
def archive(drawn: Path, tmp_path: Path) -> Archive:
    """The same, of the test's own."""
    shutil.copytree(drawn, tmp_path / "archive", symlinks=True)
    return Archive(tmp_path / "archive")


def pictures(archive: Archive) -> dict[Path, bytes]:
    """Return every picture that is in its place, and its bytes."""
    found = sorted(pictures_folder(archive.path).rglob("0*.png"))
    return {path: path.read_bytes() for path in found if path.is_file()}


def discarded(archive: Archive, condition: str = "") -> trash.Moved:
    return discard(archive, to_discard(archive, condition), NOW)


def reasons(moved: trash.Moved) -> list[str]:
    return [fault.reason for fault in moved.left]


def test_what_is_discarded_can_be_restored(archive: Archive) -> None:
    before = pictures(archive)
    moved = discarded(archive)
    assert (moved.files, moved.size) == (5, sum(map(len, before.values())))
    assert pictures(archive) == {}
    assert {file.now.read_bytes() for file in in_trash(archive)} == {*before.values()}
    assert all(file.day == "2026-05-17" for file in in_trash(archive, "2026-05-17"))
    assert in_trash(archive, "2026-05-18") == []
    assert len(in_trash(archive, "blue")) == 1
    (blue,) = in_trash(archive, "blue")
    for named in (blue.place, str(blue.path), blue.path.name, blue.sha256):
        assert in_trash(archive, named) == [blue]
    assert restore(archive, in_trash(archive, moved.name)).files == 5
    assert pictures(archive) == before
    assert in_trash(archive) == []
    assert [path.name for path in (archive.path / TRASH).iterdir()] == []


def test_records_and_ratings_know_that_it_was_discarded(archive: Archive) -> None:
    """Evidence stays; what cannot be seen is not shown to be rated, nor damaged, nor lost."""
    sha256 = archive.query("red", columns=["sha256"]).rows[0][0]
    with archive.ratings() as store:
        store.add(RatingEvent.now("stars", Identity(sha256=sha256), value=1, rater="ann"))
    with held_in_memory(archive.path) as held:
        discarded(archive, "red")
        for asked in (archive, held):
            rows = list(
                asked.query("discarded = true", columns=["sha256", "stars", "gone"]).dicts()
            )
            assert rows == [{"sha256": sha256, "stars": 1.0, "gone": True}]
            assert len(asked.query("discarded is missing").rows) == 4
        sets = next_to_rate(archive, archive.ratings().events(), together=1, count=9, rater="bob")
        assert sha256 not in {row["sha256"] for group in sets for row in group}
        assert verified(archive) == (1, [])
        restore(archive, in_trash(archive))
        for asked in (archive, held):
            assert asked.query("discarded = true").rows == ()


def test_only_the_trash_is_emptied_and_only_of_what_was_put_there(archive: Archive) -> None:
    moved = discarded(archive, "red or blue")
    stranger = archive.path / TRASH / moved.name / "stranger.png"
    stranger.write_bytes(b"mine")
    changed, other = in_trash(archive)
    changed.now.write_bytes(b"something else")
    emptied = empty_trash(archive, in_trash(archive))
    assert (emptied.files, reasons(emptied)) == (1, ["is another file than was put here"])
    assert not other.now.exists()
    assert changed.now.read_bytes() == b"something else"
    assert stranger.read_bytes() == b"mine"
    assert len(archive.query("discarded = true").rows) == 2
    assert len(pictures(archive)) == 3


def test_a_picture_that_was_changed_or_taken_away_stays_and_is_told(archive: Archive) -> None:
    chosen = to_discard(archive)
    changed, gone, *_ = chosen.files
    changed.path.write_bytes(b"edited by hand")
    gone.path.unlink()
    moved = discard(archive, chosen, NOW)
    assert moved.files == 3
    assert reasons(moved) == ["has changed since the archive took it in", "is not there"]
    assert changed.path.read_bytes() == b"edited by hand"
    assert "is not there" in reasons(discarded(archive))


def test_one_that_is_replaced_at_that_very_moment_is_put_back(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is moved is what was looked at: between the two another program may save a file."""
    chosen = to_discard(archive, "red")

    def replaced_just_before(source: Path, target: Path) -> None:
        if source == chosen.files[0].path:
            source.unlink()
            source.write_bytes(b"new work")
        move_file(source, target)

    monkeypatch.setattr(trash, "move_file", replaced_just_before)
    moved = discard(archive, chosen, NOW)
    assert reasons(moved) == ["was changed by another program at that moment"]
    assert chosen.files[0].path.read_bytes() == b"new work"
    assert in_trash(archive) == []


@posix
def test_links_are_left_alone(archive: Archive, tmp_path: Path) -> None:
    chosen = to_discard(archive)
    link, behind, *_ = (file.path for file in chosen.files)
    elsewhere = tmp_path / "elsewhere.png"
    link.rename(elsewhere)
    link.symlink_to(elsewhere)
    os.link(behind, tmp_path / "hard.png")
    assert to_discard(archive).linked == 1
    moved = discard(archive, chosen, NOW)
    assert reasons(moved) == ["is a link; what it leads to would stay"]
    assert elsewhere.is_file()
    assert (tmp_path / "hard.png").is_file()
    assert moved.files == 4


@posix
def test_nothing_is_moved_from_or_to_behind_links_that_lead_out(
    archive: Archive, tmp_path: Path
) -> None:
    """Who made an archive chose what its links lead to."""
    (day,) = pictures_folder(archive.path).iterdir()
    outside = tmp_path / "outside"
    day.rename(outside)
    day.symlink_to(outside)
    chosen = to_discard(archive)
    assert chosen.files == ()
    assert {f.reason for f in chosen.left} == {"lies behind a link that leads out of the archive"}
    day.unlink()
    outside.rename(day)
    (archive.path / TRASH).symlink_to(tmp_path)
    with pytest.raises(StorageError, match="is a link"):
        discarded(archive)
    assert len(pictures(archive)) == 5


@posix
def test_a_folder_that_may_not_be_written_keeps_its_pictures(archive: Archive) -> None:
    chosen = to_discard(archive)
    folder = chosen.files[0].path.parent
    folder.chmod(0o500)
    try:
        if os.access(folder, os.W_OK):
            pytest.skip("this account may write everywhere")
        moved = discard(archive, chosen, NOW)
    finally:
        folder.chmod(0o700)
    assert moved.files == 0
    assert {*reasons(moved)} == {"cannot be moved: Permission denied"}
    assert len(pictures(archive)) == 5


def test_a_picture_on_another_file_system_is_never_copied(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def across(source: Path, _target: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(source))

    monkeypatch.setattr(trash, "move_file", across)
    moved = discarded(archive)
    assert {*reasons(moved)} == {
        "is on another file system than its folder; files are never copied"
    }
    assert len(pictures(archive)) == 5
    assert in_trash(archive) == []


def test_restoring_never_replaces_what_is_there_now(archive: Archive) -> None:
    discarded(archive, "red or blue")
    there, free = in_trash(archive)
    there.path.write_bytes(b"drawn since")
    moved = restore(archive, in_trash(archive))
    assert (moved.files, len(moved.left)) == (1, 1)
    assert "another file is at" in reasons(moved)[0]
    assert there.path.read_bytes() == b"drawn since"
    assert free.path.is_file()
    assert [file.now for file in in_trash(archive)] == [there.now]


def test_a_folder_that_went_meanwhile_is_made_again(archive: Archive) -> None:
    before = pictures(archive)
    discarded(archive)
    for folder in pictures_folder(archive.path).iterdir():
        shutil.rmtree(folder)
    restore(archive, in_trash(archive))
    assert pictures(archive) == before


@pytest.mark.parametrize("now", [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59)])
def test_a_wrong_clock_makes_another_name_and_nothing_else(archive: Archive, now: datetime) -> None:
    before = pictures(archive)
    moved = [discard(archive, to_discard(archive, word), now) for word in ("red", "blue")]
    discarded(archive, "green")
    assert len({each.name for each in moved}) == 2
    restore(archive, in_trash(archive, moved[0].name))
    assert len(archive.query("discarded = true").rows) == 2
    restore(archive, in_trash(archive))
    assert pictures(archive) == before
    assert archive.query("discarded = true").rows == ()


def test_two_at_once_do_not_disturb_each_other(archive: Archive) -> None:
    chosen = to_discard(archive)
    with trash.open_trash(archive.path, lambda _: None, lambda _: None):
        with pytest.raises(RequestError, match="are being moved by process"):
            discard(archive, chosen, NOW)
        assert len(pictures(archive)) == 5
    assert discard(archive, chosen, NOW).files == 5
    again = discard(archive, chosen, NOW)
    assert (again.files, len(again.left)) == (0, 5)
    assert to_discard(archive).already == 5


def test_a_full_disk_loses_nothing(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever line is the one that does not fit any more."""
    before, append = pictures(archive), AppendOnlyFile.append
    chosen = to_discard(archive)
    for fits in range(3):
        room = fits

        def full(self: AppendOnlyFile, line: bytes, *, flush: bool = True) -> None:
            nonlocal room
            room -= 1
            if room < 0:
                os.write(self._handle, line[: len(line) // 2])  # torn
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            append(self, line, flush=flush)

        with monkeypatch.context() as patched:
            patched.setattr(AppendOnlyFile, "append", full)
            with pytest.raises((StorageError, OSError), match="No space left"):
                discard(archive, chosen, NOW)
        settle_trash(archive)
        accounts = [trash._entries(archive.path, a) for a in trash._accounts(archive.path)]
        assert not any(entry.is_unsettled for entries in accounts for entry in entries)
        assert len(archive.query("discarded = true").rows) == 5 - len(pictures(archive))
        restore(archive, in_trash(archive))
        assert pictures(archive) == before


def killed_at(step: int, work: Callable[[], Any]) -> bool:
    """Do *work* in a process that is killed before its step; return whether it came so far."""
    child = os.fork()
    if child == 0:
        left = step

        def counted(act: Callable[..., Any]) -> Callable[..., Any]:
            def stepping(*given: Any, **named: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return act(*given, **named)

            return stepping

        AppendOnlyFile.append = counted(AppendOnlyFile.append)  # type: ignore[method-assign]
        for name in ("move_file", "make_folder", "sync_folder", "remove_file"):
            setattr(trash, name, counted(getattr(trash, name)))
        trash._TOGETHER = 2
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@posix
def test_who_is_killed_while_discarding_loses_nothing(archive: Archive) -> None:
    """At every step of it: each picture is in its place or in the trash, and is known to be."""
    before, chosen = pictures(archive), to_discard(archive)
    step = 0
    while killed_at(step, lambda: discard(archive, chosen, NOW)):
        settle_trash(archive)
        here, away = pictures(archive), in_trash(archive)
        assert {**here, **{f.path: f.now.read_bytes() for f in away}} == before
        assert len(here) + len(away) == 5
        known = {path for (path,) in archive.query("discarded = true", columns=["path"]).rows}
        assert known == {file.place for file in away}
        if step % 2:  # either of both is the way out
            discard(archive, chosen, NOW)
            assert len(in_trash(archive)) == 5
        restore(archive, in_trash(archive))
        assert pictures(archive) == before
        assert archive.query("discarded = true").rows == ()
        step += 1
    assert step > 20


@posix
def test_who_is_killed_while_restoring_loses_nothing(archive: Archive) -> None:
    before = pictures(archive)
    step = 0
    while True:
        discarded(archive)
        if not killed_at(step, lambda: restore(archive, in_trash(archive))):
            break
        settle_trash(archive)
        here, away = pictures(archive), in_trash(archive)
        assert {**here, **{f.path: f.now.read_bytes() for f in away}} == before
        assert len(archive.query("discarded = true").rows) == len(away)
        restore(archive, in_trash(archive))
        assert pictures(archive) == before
        step += 1
    assert step > 15


@posix
def test_who_is_killed_while_emptying_can_go_on(archive: Archive) -> None:
    discarded(archive)
    step = 0
    while killed_at(step, lambda: empty_trash(archive, in_trash(archive))):
        settle_trash(archive)
        assert all(file.now.is_file() for file in in_trash(archive))
        step += 3
    assert step > 5
    assert in_trash(archive) == []
    assert len(archive.query("discarded = true").rows) == 5


@pytest.fixture
def imported(drawn: Path, tmp_path: Path) -> tuple[Archive, Path]:
    """An archive that imported three pictures from a folder, and that folder."""
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    for path in sorted(drawn.rglob("0*.png"))[:3]:
        shutil.copy(path, folder / "below")
    archive = Archive(tmp_path / "other")
    import_folders([folder], archive)
    return archive, folder


def test_imported_pictures_go_to_the_trash_of_their_own_folder(
    imported: tuple[Archive, Path],
) -> None:
    archive, folder = imported
    moved = discarded(archive)
    assert moved.files == 3
    assert len([*(folder / TRASH / moved.name / "below").iterdir()]) == 3
    again = import_folders([folder, folder / TRASH], archive)
    assert (again.imported, again.gone) == (0, 0)
    assert again.passed_over == [str(folder / TRASH)]
    restore(archive, in_trash(archive))
    assert len([*(folder / "below").iterdir()]) == 3
    assert not (folder / TRASH).exists()
    assert archive.query("discarded = true or gone = true").rows == ()


@posix
def test_a_name_that_is_no_text_comes_back_as_it_was(drawn: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    name = Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9 \n.png"))
    try:
        shutil.copy(next(drawn.rglob("0*.png")), name)
    except OSError:
        pytest.skip("this file system takes texts only")
    archive = Archive(tmp_path / "other")
    import_folders([folder], archive)
    assert discarded(archive).files == 1
    assert [path.name for path in folder.iterdir()] == [TRASH]
    assert restore(archive, in_trash(archive)).files == 1
    assert [*folder.iterdir()] == [name]


def test_files_outside_of_what_was_imported_stay(imported: tuple[Archive, Path]) -> None:
    """Also when a record, which anybody may have made, names them."""
    archive, folder = imported
    for account in (archive.path / "imports").glob("account-*"):
        account.unlink()
    chosen = to_discard(archive)
    assert chosen.files == ()
    assert all("in no folder that this archive imported from" in f.reason for f in chosen.left)
    assert len([*(folder / "below").iterdir()]) == 3


def test_what_was_discarded_does_not_come_back_by_a_merge(archive: Archive, tmp_path: Path) -> None:
    shutil.copytree(archive.path, tmp_path / "second")
    discarded(archive, "red")
    assert merge_archives(archive.path, tmp_path / "second").bad_count == 0
    assert len(pictures(archive)) == 4
    assert len(archive.query("discarded = true").rows) == 1
    second = Archive(tmp_path / "second")
    merge_archives(second.path, archive.path)
    assert discarded(second, "discarded = true").files == 1


def test_the_commands_tell_before_they_do(command: Safelight, drawn: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn, tmp_path / "safelight")
    assert "nobody to ask" in command("archive", "discard", "red").output
    assert "1 file" in command("archive", "discard", "red", "--dry-run").stdout
    assert len(pictures(Archive(tmp_path / "safelight"))) == 5
    told = command("archive", "discard", "red", "--yes").stdout
    assert "undo it with: safelight archive restore" in told
    assert "(discarded)" in command("find", "red").stdout
    assert "1 file restored" in command("archive", "restore", "red", "--yes").stdout
    command("archive", "discard", "red", "--yes")
    assert "1 file deleted" in command("archive", "empty-trash", "--yes").stdout
    assert "nothing" in command("archive", "restore").stdout
