"""The first commands that somebody types: demo and init."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from command_line import call
from safelight.application.examples import EXAMPLES
from safelight.application.picture_settings import read_picture_file
from safelight.archive import Archive


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return the folder in which the first command of the help was typed, and what it said."""
    folder = tmp_path_factory.mktemp("newcomer")
    (first,) = re.findall(r"Start with: safelight (.+)", call("--help").stdout)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SAFELIGHT_ARCHIVE", str(folder / "mine"))
        result = call(*first.split())
    assert result.exit_code == 0, result.output
    return folder, result.stdout


def test_the_first_command_of_the_help_tells_a_finished_story(story: tuple[Path, str]) -> None:
    """Drawn, taken in, rated, answered; whose archive there is has nothing to do with it."""
    folder, told = story
    assert [path.name for path in folder.iterdir()] == ["safelight-demo"]
    archive = Archive(folder / "safelight-demo" / "safelight")
    assert len(archive.query("status = 'completed' and stars >= 1", limit=None).rows) == 48
    imported = archive.query("status = 'imported'", columns=["backend"], limit=None).rows
    assert {row[0] for row in imported} >= {"a1111-like", "comfyui", "imaginairy", "sdnext"}
    assert "sampler Euler a is better than DPM++ 2M" in " ".join(told.split())
    assert re.search(r"Steps 12 is better than 3: \+\d", told)
    (best,) = re.findall(r"^safelight-demo\S+\.png$", told, re.MULTILINE)
    assert (folder / best).is_file()
    assert "safelight serve --open --archive safelight-demo/safelight" in told


def test_a_story_is_told_again_and_never_put_into_what_is_somebodys(
    story: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second time nothing is drawn anew; another folder stays as it is."""
    folder, _ = story
    monkeypatch.chdir(folder)
    archive = Archive(folder / "safelight-demo" / "safelight")
    pictures = sorted(archive.path.rglob("*.png"))
    again = call("demo", "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["rated"] == 48
    assert [p for p in sorted(archive.path.rglob("*-txt2img-*.png")) if p not in pictures] == []
    for there in (archive.path, Path.cwd()):
        before = sorted(there.rglob("*"))
        refused = call("demo", "--into", str(there))
        assert (refused.exit_code, "did not make it" in refused.output) == (2, True)
        assert sorted(there.rglob("*")) == before
    assert call("demo", "--archive", "mine").exit_code == 2


def test_pictures_of_other_tools_in_the_package_are_few_and_licensed() -> None:
    """Small enough to ship, each named with where it is from, each read."""
    folder = EXAMPLES / "pictures"
    licences = (folder / "LICENCES.txt").read_text("utf-8")
    pictures = [path for path in folder.rglob("*") if path.suffix in (".png", ".jpg")]
    assert 4 <= len(pictures) <= 6
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 1_000_000
    for path in pictures:
        assert path.relative_to(folder).as_posix() in licences
        record = read_picture_file(path).record
        assert record is not None
        assert record.backend["name"], path
