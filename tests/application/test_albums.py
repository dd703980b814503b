"""Albums are names for pictures: they merge, are renamed in one step, and every step is undone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from command_line import call as safelight
from gui_v2.light_table import SWEEP, draw
from safelight.application.albums import (
    Album,
    add_to_album,
    albums,
    delete_album,
    remove_from_album,
    rename_album,
)
from safelight.application.rating import rate, rate_chosen
from safelight.archive import Archive
from safelight.archive.folder_copy import merge_archives
from safelight.errors import ChosenOthers, RequestError


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    draw(tmp_path / "archive", SWEEP)
    return Archive(tmp_path / "archive")


def listed(archive: Archive) -> dict[str, int]:
    return {album.name: album.pictures for album in albums(archive)}


def test_an_album_is_filled_renamed_emptied_and_all_of_it_undone(archive: Archive) -> None:
    add_to_album(archive, "best of may", "steps = 2")
    add_to_album(archive, "Ångström", "cfg_scale = 3")
    assert albums(archive) == [
        Album(name="best of may", pictures=3),
        Album(name="Ångström", pictures=2),
    ]
    (renamed,) = rename_album(archive, "best of may", "may")
    assert listed(archive) == {"may": 3, "Ångström": 2}
    rate(archive, (), undo=renamed.event_id)
    assert listed(archive) == {"best of may": 3, "Ångström": 2}
    remove_from_album(archive, "best of may", "cfg_scale > 1")
    assert listed(archive) == {"best of may": 1, "Ångström": 2}
    (deleted,) = delete_album(archive, "Ångström")
    assert listed(archive) == {"best of may": 1}
    rate(archive, (), undo=deleted.event_id)
    assert listed(archive) == {"best of may": 1, "Ångström": 2}


def test_what_there_is_not_is_told(archive: Archive) -> None:
    add_to_album(archive, "may", "steps = 2")
    add_to_album(archive, "june", "steps = 4")
    with pytest.raises(RequestError, match="there is no album 'mai'; did you mean 'may'"):
        rename_album(archive, "mai", "x")
    with pytest.raises(RequestError, match="there is an album 'june' already"):
        rename_album(archive, "may", "june")
    with pytest.raises(RequestError, match="name of an album"):
        add_to_album(archive, "a;b", "steps = 2")
    assert add_to_album(archive, "none", "steps = 99") == ()


def test_albums_of_two_archives_are_united(archive: Archive, tmp_path: Path) -> None:
    """Both were filled apart; what both hold is one album, and merging twice changes nothing."""
    other = Archive(shutil.copytree(archive.path, tmp_path / "other"))
    add_to_album(archive, "may", "steps = 2")
    add_to_album(other, "may", "cfg_scale = 3")
    for _ in range(2):
        merge_archives(archive.path, other.path)
        merge_archives(other.path, archive.path)
    assert listed(archive) == listed(other) == {"may": 4}


def test_only_what_was_counted_is_touched(archive: Archive) -> None:
    counted = archive.chosen("steps = 2")
    draw(archive.path, {**SWEEP, "txt2img": {**SWEEP["txt2img"], "seed": 8}})
    with pytest.raises(ChosenOthers, match="6 pictures now"):
        rate_chosen(archive, "steps = 2", snapshot=counted.snapshot, reject=True)
    assert archive.ratings().events() == ()


def test_commands_say_one_thing_of_many_in_one_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "safelight", SWEEP)
    rated = safelight("rate", "--where", "steps = 2", "--tag", "fog")
    assert "tags fog: 3 pictures" in rated.stdout
    added = safelight("albums", "add", "may", "--where", "tags has 'fog'")
    assert "into 'may': 3 pictures" in added.stdout
    assert [event.kind for event in Archive("safelight").ratings().events()] == ["many", "many"]
    assert '"pictures": 3' in safelight("albums", "--json").stdout
    assert len(safelight("albums", "show", "may").stdout.splitlines()) == 3
    assert safelight("rate", "--undo", added.stdout.split()[0]).exit_code == 0
    assert safelight("albums").stdout == ""
    assert safelight("albums", "add", "may").exit_code == 2
