"""An import is one entry, with its folder, counts and reasons, and no run of any list."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from starlette.testclient import TestClient

from safelight.archive import Archive
from safelight.cli import main
from safelight.imports.folder_import import ComingPictures, import_folders
from safelight.imports.import_accounts import import_accounts
from safelight.learning import LearningRecord
from safelight.web import create_app


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return three pictures and a file that is none."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(pictures / f"{number}.png")
    (pictures / "broken.png").write_bytes(b"")
    return pictures


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive")


def test_each_import_that_changes_something_is_one_account(archive: Archive, folder: Path) -> None:
    summary = import_folders([folder], archive)
    (account,) = import_accounts(archive.path)
    assert account.folders == (folder.as_posix(),)
    assert account.began <= account.ended
    assert (account.count("imported"), account.count("fault_count")) == (3, 1)
    assert account.summary == summary.to_dict()
    (folder / "broken.png").unlink()
    import_folders([folder], archive)
    assert import_accounts(archive.path) == [account]
    Image.new("RGB", (8, 8), (9, 9, 9)).save(folder / "new.png")
    import_folders([folder], archive)
    newest, _ = import_accounts(archive.path)
    assert newest.count("imported") == 1


def test_an_import_that_was_ended_has_an_account_that_says_so(
    archive: Archive, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("safelight.imports.folder_import.MetFiles.all_of", end)
    with pytest.raises(KeyboardInterrupt):
        import_folders([folder], archive)
    (account,) = import_accounts(archive.path)
    assert (account.ended, account.folders) == ("", (folder.as_posix(),))
    assert len(archive.query("").rows) == 3


def test_imported_pictures_are_no_runs_of_lists(archive: Archive, folder: Path) -> None:
    record = LearningRecord.from_pipeline_context(
        {"txt2img": {"prompt": "a cat"}}, [{"txt2img": {"prompt": "a cat"}}],
        run_id="drawn", timestamp="2020-01-01T00:00:00Z", name="the drawn one",
    )  # fmt: skip
    with archive.writer() as writer:
        writer.write(record)
    import_folders([folder], archive)
    assert archive.record("last").run_id == "drawn"
    told = CliRunner().invoke(main, ["stats", "--archive", str(archive.path)]).output
    assert told.startswith("1 run, 3 pictures (3 imported)")
    history = CliRunner().invoke(main, ["import", "--history", "--archive", str(archive.path)])
    assert "3 imported, 1 could not be read" in history.output
    as_json = CliRunner().invoke(
        main, ["import", "--history", "--json", "--archive", str(archive.path)]
    )
    assert json.loads(as_json.output)[0]["summary"]["imported"] == 3
    with TestClient(create_app(archive), base_url="http://127.0.0.1") as client:
        page = client.get("/runs", headers={"accept": "text/html"}).text
        assert (page.count('href="/runs/import-'), page.count("the drawn one")) == (0, 2)
        assert folder.as_posix() not in page
        assert folder.as_posix() in client.get("/imports", headers={"accept": "text/html"}).text
        asked = client.get("/runs", params={"q": "status = 'imported'"}).text
        assert asked.count('href="/runs/import-') == 3


def test_one_that_goes_on_or_was_killed_is_told_as_not_ended(
    archive: Archive, folder: Path
) -> None:
    """A folder that is watched has such an account for as long as it is."""
    coming = ComingPictures([folder], archive)
    coming.take([str(folder / "2.png")])
    told = CliRunner().invoke(main, ["import", "--history", "--archive", str(archive.path)]).output
    with TestClient(create_app(archive), base_url="http://127.0.0.1") as client:
        page = client.get("/imports", headers={"accept": "text/html"}).text
    coming.close()
    assert "has not ended" in told
    assert "has not ended" in page
    assert folder.as_posix() in page


def test_an_archive_of_imports_alone_shows_the_newest(archive: Archive, folder: Path) -> None:
    import_folders([folder], archive)
    assert archive.record("last").status == "imported"


def test_an_import_that_is_told_to_stop_keeps_what_it_read_and_goes_on_later(
    archive: Archive, folder: Path
) -> None:
    """It met part of the folder only, so that nothing is called gone."""
    first = import_folders([folder], archive)
    assert (first.imported, first.stopped) == (3, False)
    for number in range(40):
        Image.new("RGB", (8, 8), (number, 50, 0)).save(folder / f"more-{number:02}.png")
    (folder / "2.png").unlink()
    asked = 0

    def after_ten() -> bool:
        nonlocal asked
        asked += 1
        return asked > 10

    stopped = import_folders([folder], archive, stop=after_ten)
    assert stopped.stopped
    assert stopped.gone == 0
    assert 0 < stopped.imported < 40
    newest = import_accounts(archive.path)[0]
    assert newest.ended
    assert newest.summary["stopped"] is True
    again = import_folders([folder], archive)
    assert stopped.imported + again.imported == 40
    assert (again.gone, again.stopped) == (1, False)
    assert len(archive.query(columns=["sha256"], limit=None).rows) == 43
