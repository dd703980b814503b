"""A folder that safelight makes is for its owner; in one that was there, files take after it."""

from __future__ import annotations

import ast
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import safelight
from archives import held_in_memory
from command_line import call
from safelight.durable_file import (
    AppendOnlyFile,
    copy_new_file,
    flush_file,
    held_file,
    hidden_folder,
    make_folder,
    replace_file,
    write_new_file,
)
from safelight.learning import LearningRecordWriter
from safelight.object_archive import _Obstore
from safelight.web.pictures import THUMBNAIL_SIDES, Pictures

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")

PACKAGE = Path(safelight.__file__).parent

CONFIG = """
backend = "fake"
[txt2img]
prompt = "a {red|green} hill"
steps = 2
width = 32
height = 32
[randomizer]
mode = "fanout"
"""


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Whatever the user has set, the rule is the same."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def other_group() -> int:
    """Return a group that files may be given to, and do not have by themselves."""
    own = [group for group in os.getgroups() if group != os.getegid()]
    if os.geteuid() == 0:
        return 54321
    if not own:
        pytest.skip("this account is in one group only")
    return own[0]


def folder_of(tmp_path: Path, mode: int, group: int | None = None) -> Path:
    folder = tmp_path / "there"
    folder.mkdir()
    if group is not None:
        os.chown(folder, -1, group)
    folder.chmod(mode)
    return folder


def all_below(folder: Path) -> list[Path]:
    return [Path(above, name) for above, dirs, files in os.walk(folder) for name in dirs + files]


def every_kind_of_file(folder: Path) -> list[Path]:
    """Write into *folder* in each way that there is."""
    (folder / "foreign").write_bytes(b"x")
    (folder / "foreign").chmod(0o640)
    flush_file(folder / "foreign")
    replace_file(folder / "replaced", b"x")
    copy_new_file(folder / "foreign", folder / "copied")
    with AppendOnlyFile(folder / "lines") as lines, held_file(folder / ".held.tmp", b"") as _:
        lines.append(b"x")
        held = mode_of(folder / ".held.tmp")
    assert held == mode_of(folder / "lines")
    with hidden_folder(folder) as hidden:
        replace_file(hidden / "inner", b"x")
        hidden.rename(folder / "named")
    written = write_new_file(folder, "new", ".bin", b"x")
    names = ("foreign", "replaced", "copied", "lines", "named/inner")
    return [written, *(folder / name for name in names)]


def test_what_is_made_is_for_its_owner(tmp_path: Path, umask: int) -> None:
    """Prompts, notes and the names of raters are nobody else's on a shared machine."""
    make_folder(tmp_path / "new" / "archive" / "images", root=tmp_path / "new" / "archive")
    for folder in ("new", "new/archive", "new/archive/images"):
        assert mode_of(tmp_path / folder) & 0o777 == 0o700
    for path in every_kind_of_file(tmp_path / "new"):
        assert mode_of(path) == 0o600, path
    assert mode_of(tmp_path / "new" / "named") & 0o777 == 0o700


@pytest.mark.parametrize(
    ("folder_mode", "file_mode"), [(0o755, 0o644), (0o2775, 0o664), (0o2770, 0o660), (0o750, 0o640)]
)
def test_in_a_folder_that_was_there_files_take_its_mode_and_group(
    tmp_path: Path, umask: int, folder_mode: int, file_mode: int
) -> None:
    """Whoever made it has decided who may read and write there."""
    group = other_group()
    folder = folder_of(tmp_path, folder_mode, group)
    for path in every_kind_of_file(folder):
        assert (oct(mode_of(path)), path.stat().st_gid) == (oct(file_mode), group), path
    make_folder(folder / "images" / "day", root=folder)
    for below in ("images", "images/day", "named"):
        assert oct(mode_of(folder / below)) == oct(folder_mode)
        assert (folder / below).stat().st_gid == group


def test_a_new_root_is_for_its_owner_wherever_it_is(tmp_path: Path) -> None:
    """A project's folder is often readable by all; the archive in it need not be."""
    folder = folder_of(tmp_path, 0o755)
    make_folder(folder / "safelight" / "images", root=folder / "safelight")
    make_folder(folder / "without" / "root")
    for below in ("safelight", "safelight/images", "without", "without/root"):
        assert mode_of(folder / below) == 0o700
    LearningRecordWriter(folder / "records").write(safelight_record())
    (written,) = (folder / "records").iterdir()
    assert (mode_of(folder / "records"), mode_of(written)) == (0o700, 0o600)


def safelight_record() -> safelight.learning.LearningRecord:
    return safelight.learning.LearningRecord.from_pipeline_context({}, [])


def test_in_a_folder_of_everybodys_files_are_for_their_owner(tmp_path: Path) -> None:
    """In ``/tmp`` everybody may write, and nobody means to share."""
    folder = folder_of(tmp_path, 0o1777)
    for path in every_kind_of_file(folder):
        if path.name != "foreign":
            assert mode_of(path) == 0o600, path


def test_a_group_that_cannot_be_given_gets_no_more_than_everybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the writer's own group would get what was meant for another; nothing is said."""

    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError

    folder = folder_of(tmp_path, 0o770, other_group())
    monkeypatch.setattr(os, "chown", refused)
    replace_file(folder / "closed", b"x")
    folder.chmod(0o775)
    replace_file(folder / "open", b"x")
    assert [oct(mode_of(folder / name)) for name in ("closed", "open")] == ["0o600", "0o644"]


@pytest.mark.parametrize("function", ["chown", "chmod", "stat"])
def test_a_file_system_without_modes_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    """Such as that of a camera's card."""
    folder = folder_of(tmp_path, 0o775, other_group())
    real = getattr(os, function)

    def refused(path: Any, *arguments: Any, **options: Any) -> Any:
        if sys._getframe(1).f_code.co_name == "_take_after":
            raise PermissionError
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, function, refused)
    replace_file(folder / "file", b"x")
    make_folder(folder / "a" / "b", root=folder)
    assert (folder / "file").read_bytes() == b"x"


def use_everything(archive: Path, beside: Path) -> None:
    """Let the program write all that it writes."""
    (beside / "c.toml").write_text(CONFIG, "utf-8")
    where = ("--archive", str(archive))
    assert call("run", str(beside / "c.toml"), *where).exit_code == 0
    first, second = sorted(map(str, archive.rglob("0*.png")))
    assert call("rate", first, "--stars", "4", "--note", "mine", *where).exit_code == 0
    assert call("rate", first, "--over", second, *where).exit_code == 0
    pictures = beside / "pictures"
    pictures.mkdir()
    shutil.copyfile(first, pictures / "a.png")
    (pictures / "b.png").write_bytes(Path(second).read_bytes() + b"more")
    assert call("import", str(pictures), "--jobs", "1", *where).exit_code == 0
    assert call("archive", "pack", *where).exit_code == 0
    assert call("run", str(beside / "c.toml"), "--again", *where).exit_code == 0
    assert call("export", str(archive / "out.csv"), "--xmp", *where).exit_code == 0
    assert call("export", str(beside / "pairs"), "--pairs", "kohya", *where).exit_code == 0
    with held_in_memory(archive) as held:
        digest = held.query("", columns=["sha256"], limit=1).rows[0][0]
        assert Pictures(held).thumbnail(digest, min(THUMBNAIL_SIDES))


KINDS = (
    "records/*.json", "images/*/*/*.png", "images/*/*/journal.jsonl", "images/*/*/*.xmp",
    "packs/*/*.parquet", "packs/*/manifest.json", "ratings/*.jsonl", "imports/*.jsonl",
    ".thumbnails/*/*/*.webp", "running", "out.csv",
)  # fmt: skip


def test_a_new_archive_shows_nothing_to_others(tmp_path: Path, umask: int) -> None:
    """Not one file or folder, whatever wrote it."""
    archive = tmp_path / "archive"
    use_everything(archive, tmp_path)
    assert call("archive", "merge", str(archive), "--archive", str(tmp_path / "b")).exit_code == 0
    made = [archive, tmp_path / "b", tmp_path / "pairs"]
    everything = made + [path for folder in made for path in all_below(folder)]
    assert [kind for kind in KINDS if not list(archive.glob(kind))] == []
    assert [path for path in everything if mode_of(path) & 0o077] == []


def test_an_archive_that_was_made_for_a_group_is_the_groups(tmp_path: Path, umask: int) -> None:
    """Its members write into each other's folders, for years, with whatever umask they have."""
    group = other_group()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, -1, group)
        (tmp_path / name).chmod(0o2775)
    archive, other = tmp_path / "a", tmp_path / "b"
    use_everything(archive, tmp_path)
    assert call("archive", "merge", str(archive), "--archive", str(other)).exit_code == 0
    assert [kind for kind in KINDS if not list(archive.glob(kind))] == []
    for path in all_below(archive) + all_below(other):
        wanted = 0o2775 if path.is_dir() else 0o664
        assert (oct(mode_of(path)), path.stat().st_gid) == (oct(wanted), group), path


def test_a_store_in_a_folder_takes_after_it(tmp_path: Path) -> None:
    """The package that writes there knows nothing of it."""
    folder = folder_of(tmp_path, 0o2770, other_group())

    def put(_store: object, key: str, data: bytes, **_: object) -> None:
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(data)

    store = _Obstore(SimpleNamespace(put=put, exceptions=_Exceptions), None, "file://", folder)
    store.put_new("images/day/a.png", b"x")
    assert oct(mode_of(folder / "images" / "day")) == oct(0o2770)
    assert oct(mode_of(folder / "images" / "day" / "a.png")) == oct(0o660)


class _Exceptions:
    AlreadyExistsError = KeyError
    BaseError = KeyError


MAKING = frozenset(
    ("mkdir", "makedirs", "write_text", "write_bytes", "touch", "umask", "mknod", "symlink_to",
     "hardlink_to")
)  # fmt: skip
OF_SHUTIL = frozenset(("copy", "copytree", "copy2", "copyfile", "copymode", "move"))


def made_by_hand(file: Path) -> Iterator[str]:
    """Yield where *file* makes a file or a folder by itself."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        name = getattr(called, "attr", getattr(called, "id", ""))
        owner = getattr(getattr(called, "value", None), "id", "")
        places = node.args[:1] if isinstance(called, ast.Attribute) else node.args[1:2]
        modes = [*places, *(word.value for word in node.keywords if word.arg == "mode")]
        words = [str(mode.value) for mode in modes if isinstance(mode, ast.Constant)]
        by_mode = any(re.fullmatch(r"(?=.*[wax+])[rwaxbt+]{1,3}", word) for word in words)
        opens = "O_CREAT" in ast.unparse(node) if owner == "os" else by_mode
        by_shutil = owner == "shutil" and name in OF_SHUTIL
        if name in MAKING or by_shutil or (name == "open" and opens):
            yield f"{file.relative_to(PACKAGE)}:{node.lineno} {ast.unparse(called)}"


def test_only_one_module_makes_files_and_folders() -> None:
    """Whoever else did would have to know whose they are. What it asks is in file_system.

    The spool is a copy of what runs in other programs, where none of ours is.
    """
    faults = [
        fault
        for file in sorted(PACKAGE.rglob("*.py"))
        if file.name not in ("durable_file.py", "file_system.py", "spool.py")
        for fault in made_by_hand(file)
    ]
    assert faults == []


def test_what_makes_files_by_itself_is_seen(tmp_path: Path, monkeypatch: Any) -> None:
    """The guard looks at all of these."""
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    lines = (
        "open('a', 'w')", "open('a', mode='xb')", "p.open('ab')", "os.open('a', os.O_CREAT)",
        "p.mkdir()", "os.makedirs('a')", "p.write_text('')", "shutil.copy('a', 'b')", "p.touch()",
        "shutil.move('a', 'b')", "os.umask(0)",
    )  # fmt: skip
    (tmp_path / "a.py").write_text("\n".join(lines))
    assert len(list(made_by_hand(tmp_path / "a.py"))) == len(lines)
    (tmp_path / "b.py").write_text("open('a')\nopen('a', 'rb')\nd.copy()\nos.open('a', O_RDONLY)")
    assert list(made_by_hand(tmp_path / "b.py")) == []
