"""Whoever opens an archive of another version is told so once, in words that are true."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from command_line import Safelight
from safelight import __version__
from safelight.application import version_note as module
from safelight.application.version_note import NEWS, version_note

BEFORE = Path(__file__).parents[1] / "data" / "archive_before_hashes"


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return shutil.copytree(BEFORE, tmp_path / "old")


def test_an_archive_of_0_1_opens_and_says_once_what_is_new(old: Path, command: Safelight) -> None:
    """And everything that was in it stays to the byte, so that 0.1 finds what it left."""
    before = content(old)
    first = command("find", "hill", "--archive", str(old)).output
    assert first.count(f"last written by safelight 0.1.0, and this is {__version__}") == 1
    assert NEWS[(0, 2)] in first
    assert ".png" in first
    assert "last written" not in command("find", "hill", "--archive", str(old)).output
    after = content(old)
    assert after.pop(".version") == f"{__version__}\n".encode()
    assert after == before


def test_a_packed_archive_is_known_by_its_journals(old: Path) -> None:
    shutil.rmtree(old / "records")
    assert "0.1.0" in (version_note(old) or "")


def test_what_a_later_version_wrote_is_told(old: Path) -> None:
    (record,) = (old / "records").glob("*_5770cd4a9caa4be7.json")
    said = json.loads(record.read_text())
    said["environment"]["safelight"] = "9.1.0"
    (old / "records" / "29990101T000000.000000Z_a.json").write_text(json.dumps(said))
    assert "safelight 9.1.0 has written in this archive" in (version_note(old) or "")


def test_an_archive_of_this_version_says_nothing(command: Safelight, tmp_path: Path) -> None:
    Path("a.toml").write_text('backend = "fake"\n[txt2img]\nprompt = "frog"\n')
    outputs = [command("run", "a.toml").output, command("find", "frog").output]
    assert not any("written" in output for output in outputs)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "nonsense", '{"environment": 3}', '{"environment": {"safelight": "0.1.dev3"}}',
     '{"metadata": 1}'],
)  # fmt: skip
def test_records_that_tell_no_version_are_in_nobodys_way(tmp_path: Path, text: str) -> None:
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "a.json").write_text(text)
    assert version_note(tmp_path) is None


def test_where_nothing_may_be_written_nothing_is_told(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be told each time."""

    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "replace", refused)
    assert version_note(old) is None
    assert not (old / ".version").exists()


def test_a_folder_that_is_no_archive_gets_no_file(tmp_path: Path) -> None:
    assert version_note(tmp_path) is None
    assert version_note(tmp_path / "nowhere") is None
    assert os.listdir(tmp_path) == []


def test_this_version_has_said_what_it_brought() -> None:
    numbers = tuple(map(int, re.findall(r"\d+", __version__)[:2]))
    assert numbers in NEWS
    assert set(module.CHANGES) <= set(NEWS)
