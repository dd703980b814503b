"""Pipes and devices in place of an archive's files: nothing waits for them or reads them."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

import safelight
from command_line import call
from safelight.archive import Archive
from safelight.archive_layout import JOURNAL_NAME
from safelight.durable_file import (
    AppendOnlyFile,
    NotRegularFile,
    held_file,
    is_held,
    open_regular_file,
    read_regular_file,
    remove_abandoned,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it has no pipes in folders")

PATIENCE = 240
"""Seconds until what hangs is ended: a bound, and no measure."""

CONFIG = """
backend = "fake"
[txt2img]
prompt = "a lighthouse"
steps = 2
seed = 7
width = 64
height = 64
[randomizer]
mode = "fanout"
[randomizer.sweep]
"txt2img.cfg_scale" = [3, 7]
"""


def put(path: Path, kind: str) -> Path:
    """Put a pipe, or a link to a file without end, at *path*."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    return path


def special(archive: Path, kind: str) -> tuple[list[Path], list[str]]:
    """Put one in place of every kind of file; return where, and the pictures that are whole."""
    first, second = sorted(archive.glob("images/*/*"))
    digests = [hashlib.sha256(p.read_bytes()).hexdigest() for p in second.glob("*.png")
               if not p.name.startswith("contact")]  # fmt: skip
    (pack,) = (path for path in archive.glob("packs/*") if path.is_dir())
    places = [
        archive / "running" / "0",
        archive / "records" / "x.json",
        archive / "records" / "20260101T000000.000000Z_x.json",
        archive / "records" / ".x.json.tmp",
        archive / "ratings" / "x.jsonl",
        archive / "imports" / "seen-x.jsonl",
        archive / "imports" / "places-x.jsonl",
        archive / "packs" / "0" / "manifest.json",
        archive / "presets" / "x.toml",
        archive / "searches.json",
        first / JOURNAL_NAME,
        archive / "images" / "2026-01-01" / "000000-killed" / JOURNAL_NAME,
        *(path.with_name(f"{path.name}.xmp") for path in second.glob("*.png")),
        *(path for path in first.glob("*.png")),
        *(archive / ".thumbnails" / "256" / d[:2] / f"{d}.webp" for d in digests),
    ]
    for number, table in enumerate(("runs", "images", "documents"), start=1):
        shutil.copytree(pack, pack.parent / f"{number}")
        places.append(pack.parent / f"{number}" / f"{table}.parquet")
    (archive / "running").mkdir(exist_ok=True)
    (archive / "running" / "killed").write_text("images/2026-01-01/000000-killed")
    return [put(place, kind) for place in places], digests


@pytest.fixture(params=["pipe", "device"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[Path], list[str]]:
    """An archive of two runs, one packed, with something special beside or in place of all."""
    path = tmp_path / "safelight"
    (tmp_path / "c.toml").write_text(CONFIG)
    drawn = ("run", str(tmp_path / "c.toml"), "--archive", str(path), "--again")
    assert call(*drawn).exit_code == 0
    assert call("archive", "pack", "--archive", str(path)).exit_code == 0
    assert call(*drawn).exit_code == 0
    rated = ("rate", "--where", "cfg_scale > 0", "--stars", "4", "--archive", str(path))
    assert call(*rated).exit_code == 0
    return path, *special(path, request.param)


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Give *process*, which is killed when it takes too long; then what it says ends."""
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()
    try:
        with process:
            yield process
    finally:
        timer.cancel()


BOUNDED = """
import faulthandler, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
faulthandler.dump_traceback_later(%d, exit=True)
""" % (PATIENCE - 20)  # noqa: UP031 - braces are the program's

COMMANDS = (
    BOUNDED
    + """
import json
from command_line import call
archive, other, target, config = sys.argv[1:]
said = {}
for words in (
    ["find", "", "--json"], ["show", "last"], ["archive", "stats"],
    ["rate", "--where", "cfg_scale > 5", "--stars", "5"], ["export", target, "--xmp"],
    ["archive", "verify", "--pictures", "--json"], ["archive", "recover"],
    ["archive", "pack", "--json"], ["run", config, "--again"], ["suggest", "--json"],
):
    result = call(*words, "--archive", archive)
    said[" ".join(words[:2])] = [result.exit_code, result.stdout]
result = call("archive", "merge", archive, "--archive", other)
said["archive merge"] = [result.exit_code, result.stdout]
print(json.dumps(said))
"""
)

PAGE = (
    BOUNDED
    + """
import json
from starlette.testclient import TestClient
from safelight.web import create_app
archive, *digests = sys.argv[1:]
with TestClient(create_app(archive), base_url="http://127.0.0.1") as page:
    paths = ["/", "/rate", "/learn", "/runs", "/sheet", "/api/searches", "/api/being-made",
             "/api/facets", "/api/runs", "/api/pictures"]
    for digest in digests:
        paths += [f"/thumbnails/{digest}?side=256", f"/pictures/{digest}", f"/look/{digest}",
                  f"/api/pictures/{digest}/metadata"]
    answers = {path: page.get(path) for path in paths}
print(json.dumps([{path: answer.status_code for path, answer in answers.items()},
                  answers["/api/pictures"].json()]))
"""
)


def said_by(program: str, *arguments: object) -> str:
    """Return what *program* prints; it must come to its end."""
    search = os.pathsep.join(path for path in sys.path if path)
    with ended(subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], text=True,
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": search},
    )) as process:  # fmt: skip
        out, _ = process.communicate()
        assert process.returncode == 0
    return out.splitlines()[-1]


def test_every_command_comes_to_its_end(
    archive: tuple[Path, list[Path], list[str]], tmp_path: Path
) -> None:
    """What is whole is found, and verify tells of each that is no file."""
    path, places, digests = archive
    out = said_by(COMMANDS, path, tmp_path / "other", tmp_path / "t.jsonl", tmp_path / "c.toml")
    said = json.loads(out)
    answer = json.loads(said["find "][1])
    assert {row["sha256"] for row in answer["rows"]} >= set(digests)
    left_out = {Path(fault["path"]) for fault in answer["left_out"]}
    assert path / "records" / "x.json" in left_out
    assert path / "ratings" / "x.jsonl" in left_out
    assert {path / "packs" / name for name in "0123"} <= left_out
    for words in ("show last", "archive stats", "rate --where", "archive recover", "run"):
        (code,) = (code for name, (code, _) in said.items() if name.startswith(words))
        assert code == 0, (words, said)
    status, verified = said["archive verify"]
    assert status == 1
    told = {Path(fault["path"]) for fault in json.loads(verified)["faults"]}
    hidden = {p for p in places if any(part.startswith(".") for part in p.relative_to(path).parts)}
    assert {p for p in places if p not in hidden and not told & {p, p.parent}} == set()
    status, merged = said["archive merge"]
    assert status == 1
    assert "no regular file" in merged
    found = Archive(tmp_path / "other").query("", columns=["sha256"], limit=None).rows
    assert {sha256 for (sha256,) in found} >= set(digests)


def test_the_page_answers(archive: tuple[Path, list[Path], list[str]]) -> None:
    path, _, digests = archive
    codes, pictures = json.loads(said_by(PAGE, path, *digests))
    assert set(codes.values()) == {200}
    assert len(pictures["rows"]) >= len(digests)


def test_serve_begins(archive: tuple[Path, list[Path], list[str]]) -> None:
    """At its start it looks for runs that were killed."""
    path, _, _ = archive
    with ended(subprocess.Popen(
        [sys.executable, "-m", "safelight", "serve", "--port", "0", "--archive", str(path)],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )) as server:  # fmt: skip
        assert server.stderr is not None
        lines = iter(server.stderr.readline, "")
        addresses = (re.search(r"http://127\.0\.0\.1:\d+/", line) for line in lines)
        address = next((address[0] for address in addresses if address), None)
        assert address is not None
        assert httpx.get(f"{address}login", timeout=PATIENCE).status_code == 200
        server.send_signal(signal.SIGINT)
        server.stderr.read()
        assert server.wait(PATIENCE) == 0


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_refused_whatever_it_is_opened_for(kind: str, tmp_path: Path) -> None:
    path = put(tmp_path / ".x.tmp", kind)
    for use in (
        open_regular_file, read_regular_file, AppendOnlyFile, is_held,
        lambda path: held_file(path, b"").__enter__(),
    ):  # fmt: skip
        with pytest.raises(NotRegularFile, match="no regular file"):
            use(path)
    assert remove_abandoned(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_read_as_far_as_it_was_when_it_was_opened(tmp_path: Path) -> None:
    path = tmp_path / "grows"
    path.write_bytes(b"one\ntwo\n")
    with open_regular_file(path) as file, path.open("ab") as more:
        more.write(b"three\n")
        more.flush()
        assert list(file) == [b"one\n", b"two\n"]
        file.seek(4)
        assert file.read() == b"two\n"
        assert file.read(10) == b""
    assert read_regular_file(path) == b"one\ntwo\nthree\n"
    with pytest.raises(NotRegularFile, match="14 bytes, of which 13 are allowed"):
        read_regular_file(path, most=13)
    with pytest.raises(IsADirectoryError):
        read_regular_file(tmp_path)


OPENED_OTHERWISE = {
    "archive/answer.py": "file.read_bytes()",  # a file that it has just made
    "web/accounts.py": "table.read_text('ascii')",  # the system's
    "web/sessions.py": "file.read_text('ascii')",  # this user's, beside no archive
}
"""What reads a file of no archive."""


def test_files_of_an_archive_are_opened_in_one_place() -> None:
    """Whoever opens one otherwise may wait for a pipe, or read a device for ever."""
    sources = Path(safelight.__file__).parent
    found = {}
    for room in ("archive", "learning", "pipeline", "web", "imports"):
        for source in sorted((sources / room).rglob("*.py")):
            for node in ast.walk(ast.parse(source.read_text("utf-8"))):
                if isinstance(node, ast.Call) and _opens(node.func):
                    found[source.relative_to(sources).as_posix()] = ast.unparse(node)
    assert found == OPENED_OTHERWISE


def _opens(function: ast.expr) -> bool:
    """Return whether it opens a file by its name; allowed files and decoders look themselves."""
    if isinstance(function, ast.Name):
        return function.id == "open"
    if not isinstance(function, ast.Attribute):
        return False
    if function.attr in ("read_bytes", "read_text"):
        return True
    receiver = ast.unparse(function.value).rpartition(".")[2]
    return function.attr == "open" and receiver not in ("files", "_files", "Image")
