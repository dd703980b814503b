"""Folders are found, listed and counted before anything is imported; no file is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from safelight.application.picture_folders import count_pictures, list_folder, usual_folders
from safelight.errors import RequestError


def test_folders_of_known_tools_are_offered_first(tmp_path: Path) -> None:
    places = ("ComfyUI/output", "AI/stable-diffusion-webui/outputs", "Downloads", "Bilder")
    for place in places:
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / ".config").mkdir()
    (tmp_path / ".config" / "user-dirs.dirs").write_text(
        '# mine\nXDG_PICTURES_DIR="$HOME/Bilder"\nXDG_DESKTOP_DIR="$HOME/"\n'
    )
    (tmp_path / "link").symlink_to(tmp_path / "ComfyUI")
    offered = [each for each in usual_folders(tmp_path) if each.path.is_relative_to(tmp_path)]
    assert [(each.name, str(each.path.relative_to(tmp_path))) for each in offered] == [
        ("A1111", "AI/stable-diffusion-webui/outputs"), ("ComfyUI", "ComfyUI/output"),
        ("Pictures", "Bilder"), ("Downloads", "Downloads"),
    ]  # fmt: skip


def test_folders_that_the_environment_names_are_offered(tmp_path: Path) -> None:
    """InvokeAI's root may lie anywhere; programs of macOS and Windows have places of their own."""
    for place in ("disk/outputs/images", "Roaming/StabilityMatrix/Images", "Pictures/Draw Things",
                  "OneDrive/Pictures"):  # fmt: skip
        (tmp_path / place).mkdir(parents=True)
    environ = {"INVOKEAI_ROOT": str(tmp_path / "disk"), "APPDATA": str(tmp_path / "Roaming")}
    offered = usual_folders(tmp_path, environ)
    names = [each.name for each in offered if each.path.is_relative_to(tmp_path)]
    assert names == [
        "Draw Things", "InvokeAI", "Stability Matrix", "Pictures", "Pictures in OneDrive",
    ]  # fmt: skip


def test_a_folder_lists_the_folders_in_it(tmp_path: Path) -> None:
    for name in ("b", "A", ".hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / "file.png").write_bytes(b"")
    listed = list_folder(tmp_path)
    assert (listed.path, listed.parent, listed.folders) == (tmp_path, tmp_path.parent, ("A", "b"))
    assert list_folder(Path("/")).parent is None


@pytest.mark.parametrize("name", ["not/there", "file.png", "a\0b"])
def test_what_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.png").write_bytes(b"")
    with pytest.raises(RequestError):
        list_folder(tmp_path / name)
    with pytest.raises(RequestError, match="named wholly"):
        list_folder(Path("pictures"))


def test_pictures_are_counted_as_an_import_meets_them(tmp_path: Path) -> None:
    archive = tmp_path / "pictures" / "archive"
    for place in ("a.png", "deep/er/b.JPG", "deep/c.mp4", "thumbnails/d.png", "archive/e.png"):
        path = tmp_path / "pictures" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "pictures" / "dead.png").symlink_to(tmp_path / "gone.png")
    counted = count_pictures(tmp_path / "pictures", archive)
    assert (counted.pictures, counted.other_kinds, counted.is_whole) == (2, {"video": 1}, True)
    assert counted.fault_count == 1
    assert count_pictures(tmp_path / "pictures" / "deep" / "er", archive).pictures == 1
