"""A tree that is as it was costs a look at its files; what is otherwise is seen all the same."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from safelight.archive import Archive
from safelight.archive.folder_copy import merge_archives
from safelight.errors import StorageError
from safelight.imports import folder_import, import_journal
from safelight.imports.folder_import import ImportSummary, import_folders
from safelight.imports.import_journal import ImportJournal
from safelight.imports.import_log import ImportLog
from safelight.imports.imported_picture import import_picture
from safelight.imports.remembered_walks import REMEMBERED_WALKS


def _picture(path: Path, seed: int) -> Path:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", f"a cat\nSteps: 20, Sampler: Euler a, Seed: {seed:03}, Size: 8x8")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (seed, 0, 0)).save(path, pnginfo=info, compress_level=0)
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in range(6):
        _picture(tmp_path / "pictures" / "abc"[seed % 3] / f"{seed}.png", seed)
    (tmp_path / "pictures" / "film.mp4").write_bytes(b"")
    return tmp_path / "pictures"


def _counts(summary: ImportSummary) -> dict[str, int]:
    named = ("files", "unchanged", "known", "imported", "superseded", "gone", "taken_in")
    return {name: count for name in named if (count := getattr(summary, name))}


def _gone(archive: Archive) -> dict[str, str]:
    answer = archive.query("gone = true", columns=("path", "sha256"), limit=None)
    return dict(answer.rows)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count what an import does beyond looking at files."""
    done: list[str] = []

    def counted(owner: object, name: str) -> None:
        real = getattr(owner, name)

        def count(*given: object, **named: object) -> object:
            done.append(name)
            return real(*given, **named)

        monkeypatch.setattr(owner, name, count)

    counted(folder_import, "import_picture")
    counted(folder_import, "KnownPictures")
    counted(ImportLog, "seen")
    counted(Archive, "asked")
    return done


def test_a_tree_that_is_as_it_was_opens_no_picture_and_asks_nothing(
    archive: Archive, folder: Path, asked: list[str]
) -> None:
    """Also the first time after the import, and with another folder imported in between."""
    other = _picture(folder.parent / "other" / "9.png", 9).parent
    first = import_folders([folder], archive)
    assert asked
    import_folders([other], archive)
    asked.clear()
    for folders in ([folder], [other], [str(folder)]):
        again = import_folders(folders, archive)
        assert _counts(again) == dict.fromkeys(("files", "unchanged"), again.files)
    assert again.files == 6
    assert again.other_kinds == first.other_kinds == {"video": 1}
    assert asked == []
    assert len(archive.query("", limit=None).rows) == 7


def _written_anew(folder: Path) -> None:
    """Leave name, size and time of writing as they are: only the disk knows."""
    path = folder / "a" / "0.png"
    before = path.stat()
    _picture(path, 77)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def _put_in_its_place(folder: Path) -> None:
    path, other = folder / "a" / "0.png", folder.parent / "other.png"
    shutil.copystat(path, _picture(other, 77))
    other.replace(path)


def _longer(folder: Path) -> None:
    with (folder / "a" / "0.png").open("ab") as file:
        file.write(b"x")


_CHANGES: dict[str, tuple[Callable[[Path], object], dict[str, int]]] = {
    "other bytes of the same size and time": (
        _written_anew, {"files": 6, "unchanged": 5, "imported": 1, "gone": 1}),
    "another file in its place": (
        _put_in_its_place, {"files": 6, "unchanged": 5, "imported": 1, "gone": 1}),
    "longer": (_longer, {"files": 6, "unchanged": 5, "superseded": 1}),
    "written again": (
        lambda f: os.utime(f / "b" / "1.png"), {"files": 6, "unchanged": 5, "known": 1}),
    "new": (lambda f: _picture(f / "c" / "8.png", 8), {"files": 7, "unchanged": 6, "imported": 1}),
    "new, in a new folder": (
        lambda f: _picture(f / "d" / "e" / "8.png", 8),
        {"files": 7, "unchanged": 6, "imported": 1}),
    "gone": (lambda f: (f / "c" / "2.png").unlink(), {"files": 5, "unchanged": 5, "gone": 1}),
    "a folder that is gone": (
        lambda f: shutil.rmtree(f / "b"), {"files": 4, "unchanged": 4, "gone": 2}),
    "renamed": (
        lambda f: (f / "a" / "0.png").rename(f / "a" / "z.png"),
        {"files": 6, "unchanged": 5, "known": 1}),
    "cut": (
        lambda f: (f / "a" / "0.png").write_bytes((f / "a" / "0.png").read_bytes()[:-20]),
        {"files": 6, "unchanged": 5, "imported": 1, "gone": 1}),
}  # fmt: skip


@pytest.mark.parametrize("change", _CHANGES)
def test_what_was_changed_is_seen(archive: Archive, folder: Path, change: str) -> None:
    """Also by an import that comes after one that was spared all asking."""
    how, expected = _CHANGES[change]
    import_folders([folder], archive)
    assert import_folders([folder], archive).unchanged == 6
    how(folder)
    assert _counts(import_folders([folder], archive)) == expected


def test_a_link_that_leads_elsewhere_is_seen(archive: Archive, folder: Path) -> None:
    """Where it leads was walked under another name, and no folder of the tree has changed."""
    away = _picture(folder.parent / "away" / "9.png", 9).parent
    (folder / "z").symlink_to(away)
    import_folders([folder], archive)
    assert import_folders([folder], archive).unchanged == 7
    (folder / "y").symlink_to(folder / "a")
    (folder / "y").rename(folder / "z2")
    (folder / "z").unlink()
    (folder / "z2").rename(folder / "z")
    assert _counts(import_folders([folder], archive)) == {"files": 6, "unchanged": 6, "gone": 1}


def test_what_was_met_half_written_or_could_not_be_read_is_read_again(
    archive: Archive, folder: Path
) -> None:
    """Nothing is remembered of a walk that met such a file."""
    whole = (folder / "a" / "0.png").read_bytes()
    half = folder / "a" / "half.png"
    half.write_bytes(whole[:-20])
    (folder / "a" / "0.png").unlink()
    import_folders([folder], archive)
    for _ in range(2):
        assert _counts(import_folders([folder], archive))["known"] == 1
    half.write_bytes(whole)
    assert _counts(import_folders([folder], archive)) == {
        "files": 6, "unchanged": 5, "superseded": 1,
    }  # fmt: skip
    (folder / "b" / "empty.png").write_bytes(b"")
    for _ in range(2):
        assert import_folders([folder], archive).fault_count == 1


def test_what_a_killed_import_has_read_is_taken_in(
    archive: Archive, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_folders([folder], archive)
    monkeypatch.setattr(import_journal, "_TOGETHER", 1)
    journal = ImportJournal(archive.path / "imports", "killed")
    journal.add(import_picture(str(_picture(folder.parent / "other" / "9.png", 9))))
    journal.close()
    assert _counts(import_folders([folder], archive)) == {
        "files": 6, "unchanged": 6, "imported": 1, "taken_in": 1,
    }  # fmt: skip


def test_an_import_that_fails_leaves_nothing_remembered(
    archive: Archive, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(Archive, "add_loose", fails)
        with pytest.raises(StorageError):
            import_folders([folder], archive)
    assert not (archive.path / "imports" / REMEMBERED_WALKS).exists()
    assert import_folders([folder], archive).files == 6
    assert len(archive.query("", limit=None).rows) == 6


def test_pictures_that_a_merge_brings_are_looked_for(archive: Archive, folder: Path) -> None:
    """They were in this tree on another machine: here they are gone."""
    import_folders([folder], archive)
    other = Archive(folder.parent / "other")
    theirs = _picture(folder / "a" / "theirs.png", 9)
    import_folders([folder], other)
    theirs.unlink()
    assert import_folders([folder], archive).gone == 0
    merge_archives(archive.path, other.path)
    assert import_folders([folder], archive).gone == 1


def test_a_picture_that_is_gone_is_looked_for_in_trees_that_are_as_they_were(
    archive: Archive, folder: Path
) -> None:
    """A copy was met there when nothing was missing."""
    away = folder.parent / "away"
    away.mkdir()
    shutil.copy2(folder / "a" / "0.png", away / "copy.png")
    for folders in ([folder], [away], [away]):
        import_folders(folders, archive)
    (folder / "a" / "0.png").unlink()
    assert import_folders([folder], archive).gone == 1
    assert import_folders([away], archive).known == 1
    assert _gone(archive) == {}
    assert import_folders([away], archive).unchanged == 1


def test_a_folder_that_was_away_and_is_back_has_its_pictures(
    archive: Archive, folder: Path, asked: list[str]
) -> None:
    """No time of its files has changed; and what is remembered of before they went is not good."""
    import_folders([folder], archive)
    (folder / "b").rename(folder.parent / "b")
    assert import_folders([folder], archive).gone == 2
    (folder.parent / "b").rename(folder / "b")
    for _ in range(2):
        assert _counts(import_folders([folder], archive)) == {"files": 6, "unchanged": 6}
        assert _gone(archive) == {}
    asked.clear()
    assert import_folders([folder], archive).unchanged == 6
    assert asked == []


def test_a_picture_that_makes_room_for_one_that_is_back_is_looked_for(
    archive: Archive, folder: Path
) -> None:
    """The walk that saw the one come back met a copy of the other, and had not missed it yet."""
    was, other = folder / "a", folder.parent / "other"
    import_folders([folder], archive)
    was.rename(other)
    _picture(was / "0.png", 77)
    import_folders([folder], archive)
    shutil.copy2(was / "0.png", folder / "copy.png")
    import_folders([folder], archive)
    was.rename(folder.parent / "away")
    other.rename(was)
    for _ in range(2):
        import_folders([folder], archive)
    ((place,),) = archive.query("seed = 77", columns=("path",), limit=None).rows
    assert place == (folder / "copy.png").as_posix()
    assert _gone(archive) == {}


def test_a_tree_is_as_it_was_also_where_a_picture_of_it_is_gone_for_good(
    archive: Archive, folder: Path, asked: list[str]
) -> None:
    import_folders([folder], archive)
    _written_anew(folder)
    assert import_folders([folder], archive).gone == 1
    asked.clear()
    assert import_folders([folder], archive).unchanged == 6
    assert asked == []
    assert list(_gone(archive)) == [(folder / "a" / "0.png").as_posix()]


def test_ratings_that_lie_in_pictures_do_not_undo_what_is_remembered(
    archive: Archive, folder: Path, asked: list[str]
) -> None:
    (folder / "a" / "0.xmp").write_text(
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF'
        ' xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/></rdf:RDF></x:xmpmeta>'
    )
    assert import_folders([folder], archive).ratings == 1
    asked.clear()
    assert import_folders([folder], archive).unchanged == 6
    assert asked == []


@pytest.mark.parametrize("rot", [lambda text: text[:-9], lambda text: text[:30] + b"0" + text[31:],
                                 lambda _: b"\xff{", lambda _: None])  # fmt: skip
def test_what_is_remembered_may_be_damaged_or_lost(
    archive: Archive, folder: Path, asked: list[str], rot: Callable[[bytes], bytes | None]
) -> None:
    """It costs time only, once."""
    import_folders([folder], archive)
    kept = archive.path / "imports" / REMEMBERED_WALKS
    text = rot(kept.read_bytes())
    kept.unlink()
    if text is not None:
        kept.write_bytes(text)
    _picture(folder / "a" / "8.png", 8)
    assert _counts(import_folders([folder], archive))["imported"] == 1
    asked.clear()
    assert import_folders([folder], archive).unchanged == 7
    assert asked == []


def _forget_times(archive: Archive) -> None:
    """Let the log be as earlier versions wrote it."""
    (log,) = (archive.path / "imports").glob("seen-*.jsonl")
    lines = [json.loads(line) for line in log.read_bytes().splitlines()]
    kept = [{key: line[key] for key in ("path", "size", "modified", "sha256")} for line in lines]
    log.write_text("".join(f"{json.dumps(line)}\n" for line in kept))


def test_lines_of_earlier_versions_spare_the_reading_as_they_did(
    archive: Archive, folder: Path
) -> None:
    import_folders([folder], archive)
    _forget_times(archive)
    assert _counts(import_folders([folder], archive)) == {"files": 6, "unchanged": 6}
    (folder / "b").rename(folder.parent / "b")
    assert import_folders([folder], archive).gone == 2
    (folder.parent / "b").rename(folder / "b")
    assert _counts(import_folders([folder], archive)) == {"files": 6, "unchanged": 6}
    assert _gone(archive) == {}


def test_what_was_said_last_of_a_file_counts_where_an_earlier_version_said_less(
    archive: Archive, folder: Path
) -> None:
    """By size and time of writing alone it is both pictures, and only one of them is there."""
    import_folders([folder], archive)
    _forget_times(archive)
    ((was, _),) = archive.query("seed = 0", columns=("sha256", "path"), limit=None).rows
    _written_anew(folder)
    assert import_folders([folder], archive, again=True).gone == 1
    for _ in range(2):
        import_folders([folder], archive)
        assert list(_gone(archive).values()) == [was]
