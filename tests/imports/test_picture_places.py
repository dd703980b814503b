"""Where an imported picture lies, when it and others come and go in the same places."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from safelight.application.exporting import mirror_ratings
from safelight.application.rating import identity_of_file, rate
from safelight.application.to_rate import NothingToRate, next_to_rate
from safelight.archive import Archive
from safelight.imports import import_log
from safelight.imports.folder_import import import_folders

_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="{}"/></rdf:RDF></x:xmpmeta>'
)


def _picture(path: Path, seed: int, *, stars: int = 0, word: str = "") -> Path:
    info = PngImagePlugin.PngInfo()
    info.add_text(
        "parameters", f"a cat\nSteps: 20, Sampler: Euler a, Seed: {seed}, Size: 8x8, Model: m"
    )
    if stars:
        info.add_itxt("XML:com.adobe.xmp", _XMP.format(stars))
    if word:
        info.add_text("Keywords", word)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (seed, 0, 0)).save(path, pnginfo=info)
    return path


def _changed(path: Path) -> None:
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 60 * 10**9))


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    _picture(tmp_path / "p" / "other.png", 9)  # a folder without pictures tells nothing
    return tmp_path / "p"


def _places(archive: Archive) -> dict[int, tuple[str, bool]]:
    """Return seed -> name of the file, and whether the picture is gone from there."""
    answer = archive.query("seed < 9", columns=("seed", "path", "gone"), limit=None)
    places = {seed: (Path(path).name, bool(gone)) for seed, path, gone in answer.rows}
    assert len(places) == len(answer.rows)
    return places


def test_a_picture_that_was_moved_and_moved_back_is_there(archive: Archive, folder: Path) -> None:
    """The file is as it was when it was read, so that nothing but its absence elsewhere tells."""
    path = _picture(folder / "a.png", 1)
    import_folders([folder], archive)
    path.rename(folder / "b.png")
    import_folders([folder], archive)
    (folder / "b.png").rename(path)
    summary = import_folders([folder], archive)
    assert (summary.files, summary.unchanged, summary.known, summary.gone) == (2, 1, 1, 0)
    assert _places(archive) == {1: ("a.png", False)}
    assert import_folders([folder], archive).unchanged == 2


@pytest.mark.parametrize("word", ["", "holiday"])
def test_a_picture_of_which_a_copy_is_left_is_not_gone(
    archive: Archive, folder: Path, word: str
) -> None:
    """Also a copy into which another program wrote a word: the picture is what it is now."""
    path = _picture(folder / "a.png", 1)
    _picture(folder / "b.png", 1, word=word)
    import_folders([folder], archive)
    path.unlink()
    assert import_folders([folder], archive).gone == 0
    assert _places(archive) == {1: ("b.png", False)}
    ((sha256,),) = archive.query("seed = 1", columns=("sha256",)).rows
    assert sha256 == identity_of_file(folder / "b.png").sha256
    (folder / "b.png").unlink()
    assert import_folders([folder], archive).gone == 1
    shutil.copy2(_picture(folder / "sub" / "c.png", 1), path)
    import_folders([folder], archive)
    assert not _places(archive)[1][1]


def test_a_picture_in_whose_place_another_one_lies_is_gone(archive: Archive, folder: Path) -> None:
    """Else the new file would be rated, exported and tagged as the old picture."""
    path = _picture(folder / "a.png", 1)
    import_folders([folder], archive)
    rate(archive, [identity_of_file(path)], stars=5)
    _changed(_picture(path, 2))
    summary = import_folders([folder], archive)
    assert (summary.imported, summary.gone) == (1, 1)
    assert _places(archive) == {1: ("a.png", True), 2: ("a.png", False)}
    with pytest.raises(NothingToRate):
        next_to_rate(archive, [], together=1, count=1, condition="seed = 1")
    assert mirror_ratings(archive, "") == (0, 0)
    _picture(folder / "kept" / "again.png", 1)
    assert import_folders([folder], archive).known == 1
    assert _places(archive) == {1: ("again.png", False), 2: ("a.png", False)}


@pytest.mark.parametrize("kept", ["0/a.png", "z/a.png"])
def test_a_picture_that_made_room_for_another_one_is_where_it_was_put(
    archive: Archive, folder: Path, kept: str
) -> None:
    """Whichever of the two is met first: names of generators begin anew."""
    path = _picture(folder / "out" / "a.png", 1)
    import_folders([folder], archive)
    (folder / kept).parent.mkdir()
    path.rename(folder / kept)
    _changed(_picture(path, 2))
    assert import_folders([folder], archive).gone == 0
    paths = archive.query("seed < 9", columns=("path",), sort="seed").rows
    assert [name for (name,) in paths] == [(folder / kept).as_posix(), path.as_posix()]


def test_a_picture_that_was_overwritten_by_a_copy_of_another_one_is_gone(
    archive: Archive, folder: Path
) -> None:
    path = _picture(folder / "a.png", 1)
    shutil.copy(_picture(folder / "b.png", 2), path.with_name("c.png"))
    import_folders([folder], archive)
    shutil.copy(folder / "b.png", path)
    _changed(path)
    assert import_folders([folder], archive).gone == 1
    assert _places(archive) == {1: ("a.png", True), 2: ("b.png", False)}


def test_a_picture_that_was_moved_and_written_to_keeps_what_was_said_here(
    archive: Archive, folder: Path
) -> None:
    """A rating that its file only says again undoes nothing, and its bytes are those of now."""
    path = _picture(folder / "a.png", 1, stars=2)
    import_folders([folder], archive)
    rate(archive, [identity_of_file(path)], stars=5)
    path.unlink()
    _changed(moved := _picture(folder / "sub" / "b.png", 1, stars=2, word="holiday"))
    import_folders([folder], archive)
    ((sha256, stars, place),) = archive.query("seed = 1", columns=("sha256", "stars", "path")).rows
    assert (sha256, stars, place) == (identity_of_file(moved).sha256, 5, moved.as_posix())
    shutil.copy(moved, folder / "copy.png")
    import_folders([folder], archive, again=True)
    assert archive.query("seed = 1", columns=("stars",)).rows[0] == (5,)


def test_a_clock_that_was_ahead_does_not_say_for_ever_where_pictures_are(
    archive: Archive, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: object = None) -> Ahead:
            return cls.fromtimestamp(datetime.now(UTC).timestamp(), UTC) + timedelta(days=300)

    path = _picture(folder / "a.png", 1)
    import_folders([folder], archive)
    with monkeypatch.context() as wrong:
        wrong.setattr(import_log, "datetime", Ahead)
        path.rename(folder / "b.png")
        import_folders([folder], archive)
    (folder / "b.png").rename(folder / "c.png")
    assert import_folders([folder], archive).gone == 0
    assert _places(archive) == {1: ("c.png", False)}


def test_a_picture_that_is_put_back_takes_the_place_of_the_one_that_replaced_it(
    archive: Archive, folder: Path
) -> None:
    path = _picture(folder / "a.png", 1)
    import_folders([folder], archive)
    shutil.copy2(path, folder.with_name("kept.png"))
    _changed(_picture(path, 2))
    import_folders([folder], archive)
    shutil.copy2(folder.with_name("kept.png"), path)
    assert import_folders([folder], archive).gone == 1
    assert _places(archive) == {1: ("a.png", False), 2: ("a.png", True)}


def test_a_copy_with_a_text_beside_it_tells_what_the_first_one_did_not(
    archive: Archive, folder: Path
) -> None:
    """And one without takes nothing back, also where a newer reader reads it first."""
    for name in ("0.png", "a.png", "z.png"):
        Image.new("RGB", (8, 8)).save(folder / name)
    (folder / "a.txt").write_text("a dog\nSteps: 9, Sampler: Euler a, Seed: 4, Model: m")
    summary = import_folders([folder], archive)
    assert (summary.imported, summary.superseded, summary.known) == (2, 1, 1)
    assert _places(archive) == {4: ("a.png", False)}
    for again in (False, True):
        assert import_folders([folder], archive, again=again).superseded == 0
    assert archive.query("seed = 4", columns=("steps",)).rows[0] == (9,)


def test_a_disk_that_is_linked_and_not_there_says_nothing(archive: Archive, folder: Path) -> None:
    """As one that was named and is not there: neither of its pictures nor of the others."""
    disk = folder.with_name("disk")
    _picture(disk / "a.png", 1)
    _picture(folder / "b.png", 2)
    (folder / "linked").symlink_to(disk)
    import_folders([folder], archive)
    disk.rename(folder.with_name("unmounted"))
    (folder / "b.png").unlink()
    for _ in range(2):
        summary = import_folders([folder], archive)
        assert (summary.files, summary.gone) == (1, 0)
        assert [fault.path for fault in summary.faults] == [str(folder / "linked")]
    folder.with_name("unmounted").rename(disk)
    assert import_folders([folder], archive).gone == 1
    assert _places(archive) == {1: ("a.png", False), 2: ("b.png", True)}
