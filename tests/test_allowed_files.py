"""Which files a config from a page may name, and that a refusal tells nothing of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from safelight import allowed_files
from safelight.allowed_files import ANY_FILE, PICKLED_RULE, RULE, FilesUnder
from safelight.errors import FileRefused

posix = pytest.mark.skipif(sys.platform == "win32", reason="links, pipes and devices of POSIX")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("secret", "utf-8")
    (tmp_path / "root" / "deep").mkdir(parents=True)
    (tmp_path / "root" / "deep" / "a.txt").write_text("allowed", "utf-8")
    return tmp_path / "root"


def content(files: FilesUnder, name: str, folder: Path = Path()) -> bytes:
    with files.open(name, folder) as file:
        return file.read()


def refusal(files: FilesUnder, name: str, folder: Path) -> str:
    with pytest.raises(FileRefused) as caught:
        files.open(name, folder)
    assert type(caught.value) is FileRefused
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_a_file_below_a_root_is_read_however_it_is_named(root: Path) -> None:
    files = FilesUnder((root,))
    for name in ("deep/a.txt", "./deep/../deep/a.txt", str(root / "deep" / "a.txt")):
        with files.open(name, root) as file:
            assert file.read() == b"allowed"
    with files.open("../deep/a.txt", root / "deep") as file:
        assert file.read() == b"allowed"


@pytest.mark.parametrize(
    "name",
    [
        "../outside/secret.txt", "../outside/none.txt", "../outside", "../none/none", "/etc/passwd",
        "/etc/no-such-file", "/root/x", "/dev/zero", "/", "", ".", "..", "deep", "none.txt", "a\0b",
        "x" * 5000, "deep/a.txt/", "deep/a.txt/b", "~/a", "/proc/self/environ", "\ud800",
        "//host/share/a.png",
    ],
)  # fmt: skip
def test_every_other_is_refused_with_one_sentence(root: Path, name: str) -> None:
    """Whether there is such a file, whether it may be read, and what it is."""
    if name == "deep/a.txt/":  # the same file, as text
        FilesUnder((root,)).open(name, root).close()
        return
    assert refusal(FilesUnder((root,)), name, root) == RULE


@posix
def test_links_are_followed_before_it_is_decided(root: Path) -> None:
    (root / "out.txt").symlink_to(root.parent / "outside" / "secret.txt")
    (root / "dangling.txt").symlink_to(root.parent / "outside" / "none.txt")
    (root / "folder").symlink_to(root.parent / "outside")
    (root / "loop").symlink_to(root / "loop")
    (root / "in.txt").symlink_to(root / "deep" / "a.txt")
    (root.parent / "alias").symlink_to(root)
    files = FilesUnder((root,))
    for name in ("out.txt", "dangling.txt", "folder/secret.txt", "folder/none", "loop"):
        assert refusal(files, name, root) == RULE
    assert content(files, "in.txt", root) == b"allowed"
    assert content(files, str(root.parent / "alias" / "deep" / "a.txt")) == b"allowed"


@posix
def test_a_way_out_and_back_tells_nothing_of_what_lies_on_it(root: Path) -> None:
    """By what ``link/..`` means, whoever asks could find out which links there are."""
    other = root.parent / "other" / "far" / "away"
    other.mkdir(parents=True)
    (root.parent / "link").symlink_to(other)
    for on_the_way in ("link", "outside", "none", "outside/secret.txt/.."):
        name = f"{root.parent}/{on_the_way}/../root/deep/a.txt"
        assert content(FilesUnder((root,)), name) == b"allowed"


@posix
def test_pipes_and_devices_are_no_files_and_nobody_waits_for_them(root: Path) -> None:
    os.mkfifo(root / "pipe")
    assert refusal(FilesUnder((root,)), "pipe", root) == RULE
    assert refusal(FilesUnder((Path("/dev"),)), "/dev/null", root) == RULE


@posix
def test_what_is_open_is_looked_at_and_not_its_name(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder becomes a link to outside after the name was resolved, and before it is opened."""
    secret = root.parent / "outside"
    (secret / "a.txt").write_text("secret", "utf-8")
    resolved = allowed_files._resolved

    def swapped(name: str, folder: Path, roots: tuple[str, ...]) -> str | None:
        place = resolved(name, folder, roots)
        (root / "deep").rename(root / "moved")
        (root / "deep").symlink_to(secret)
        return place

    monkeypatch.setattr(allowed_files, "_resolved", swapped)
    assert refusal(FilesUnder((root,)), "deep/a.txt", root) == RULE


@posix
def test_where_the_system_does_not_tell_names_the_file_is_found_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowed_files, "path_of_open", lambda _: None)
    test_what_is_open_is_looked_at_and_not_its_name(root, monkeypatch)
    monkeypatch.undo()
    monkeypatch.setattr(allowed_files, "path_of_open", lambda _: None)
    (root.parent / "outside" / "deep").mkdir()
    assert content(FilesUnder((root,)), "moved/a.txt", root) == b"allowed"


@posix
def test_a_root_may_be_a_link_and_come_later(tmp_path: Path) -> None:
    files = FilesUnder((tmp_path / "root",))
    assert refusal(files, "a.txt", tmp_path / "root") == RULE
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "a.txt").write_text("allowed", "utf-8")
    (tmp_path / "root").symlink_to(tmp_path / "disk")
    assert content(files, "a.txt", tmp_path / "root") == b"allowed"


@posix
def test_folders_are_walked_no_further_than_the_roots(root: Path) -> None:
    (root / "out.txt").symlink_to(root.parent / "outside" / "secret.txt")
    (root / "folder").symlink_to(root.parent / "outside")
    (root / "again").symlink_to(root)
    (root / "same").symlink_to(root / "deep")
    (root / ".hidden").mkdir()
    (root / ".hidden" / "b.txt").write_text("b", "utf-8")
    os.mkfifo(root / "pipe.txt")
    names = [path.name for path in FilesUnder((root,)).below(root)]
    assert names == ["a.txt"]
    for folder in (root.parent / "outside", root.parent / "none", root / "none"):
        with pytest.raises(FileRefused, match="is no file that a page may name"):
            list(FilesUnder((root,)).below(folder))


@posix
def test_models_that_can_run_code_never_come_from_a_page(root: Path) -> None:
    (root / "m.ckpt").write_bytes(b"x")
    (root / "m.safetensors").write_bytes(b"x")
    (root / "hidden.safetensors").symlink_to(root / "m.ckpt")
    files = FilesUnder((root,))
    assert files.model("m.safetensors", root) == (root / "m.safetensors").resolve()
    for name in ("m.ckpt", "m.CKPT", "none.pt", "/etc/none.pth"):
        with pytest.raises(FileRefused) as caught:
            files.model(name, root)
        assert str(caught.value) == PICKLED_RULE
    for name in ("hidden.safetensors", "none.safetensors", "../outside/secret.txt"):
        with pytest.raises(FileRefused) as caught:
            files.model(name, root)
        assert str(caught.value) == RULE
    named = FilesUnder((root,), named=(root / "m.ckpt",))
    assert named.model("m.ckpt", root) == (root / "m.ckpt").resolve()  # the owner named it
    assert ANY_FILE.model("m.ckpt", root) == root / "m.ckpt"


@posix
def test_a_model_of_several_files_is_looked_through(root: Path) -> None:
    files = FilesUnder((root,))
    (root / "model" / "unet").mkdir(parents=True)
    (root / "model" / "model_index.json").write_text("{}", "utf-8")
    (root / "blob").write_text("weights", "utf-8")
    weights = root / "model" / "unet" / "w.safetensors"
    weights.symlink_to(root / "blob")
    assert files.model("model", root) == (root / "model").resolve()
    pickled = root / "model" / "unet" / "w.bin"
    pickled.write_bytes(b"x")
    with pytest.raises(FileRefused, match="can run code"):
        files.model("model", root)
    pickled.unlink()
    for leads in (root.parent / "outside" / "secret.txt", root / "none", root.parent / "outside"):
        weights.unlink()
        weights.symlink_to(leads)
        if leads == root / "none":
            continue  # loading it will say so
        with pytest.raises(FileRefused, match="is no file that a page may name"):
            files.model("model", root)
