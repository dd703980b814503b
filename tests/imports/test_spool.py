"""The spool: what tools write of their executions, whatever they hand over."""

from __future__ import annotations

import ast
import enum
import json
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import safelight_spool
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safelight_spool import Spool

from imports.spool_lines import lines_of
from safelight.pipeline.images import encode_png, identify

_ROOT = Path(__file__).parents[2]
_SCHEMA = json.loads((_ROOT / "docs" / "spool.schema.json").read_text("utf-8"))


class _Hostile:
    def __repr__(self) -> str:
        return "hostile"  # for who tells what failed

    @property
    def shape(self) -> Any:
        raise RuntimeError("not to be looked at")

    def __str__(self) -> str:
        raise RuntimeError("nor printed")


class _Kind(enum.Enum):
    ONE = "one"


class _HostileText(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError

    def __getitem__(self, place: Any) -> str:
        raise RuntimeError


_anything = st.recursive(
    st.builds(_Hostile) | st.none() | st.booleans() | st.integers() | st.floats()
    | st.integers(2**63, 2**80) | st.builds(_HostileText) | st.text(st.characters())
    | st.text(st.characters(categories=["Cs"])) | st.binary()
    | st.sampled_from([_Kind.ONE, Path("a"), -(10**30)]) | st.builds(lambda: 16**6000),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner)
    | st.frozensets(st.integers() | st.text()),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=_anything, odd=_anything)
def test_whatever_a_tool_hands_over_its_line_is_valid(
    tmp_path_factory: pytest.TempPathFactory, value: Any, odd: Any
) -> None:
    """A tool must not lose an execution because one of its values is odd."""
    folder = tmp_path_factory.mktemp("spool")
    spool = Spool(folder, tool="t")
    told = spool.append(
        status=odd, began=odd, seconds=odd, error=odd, graph=value, parameters={"x": value},
        outputs=[odd], environment={"a": value},
    )  # fmt: skip
    (line,) = lines_of(folder)
    jsonschema.validate(line, _SCHEMA)
    assert line["id"] == told
    spool.close()


def test_a_line_says_what_ran(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    Image.new("RGB", (4, 4)).save(picture)
    spool = Spool(tmp_path / "spool", tool="comfyui", tool_version="0.36")
    began = datetime(2026, 11, 30, 4, tzinfo=UTC)
    name = spool.append(
        began=began, seconds=2.5, ended=began.timestamp() + 2.5, outputs=[picture], cached=["4"],
        graph={"3": {"class_type": "KSampler", "inputs": {"seed": 2**64 - 1}}},
        execution="5b2f",
    )  # fmt: skip
    assert name == "5b2f"
    (line,) = lines_of(tmp_path / "spool")
    assert line.pop("check")
    assert line == {
        "spool": 1, "id": "5b2f", "tool": "comfyui", "tool_version": "0.36",
        "began": "2026-11-30T04:00:00.000000Z", "ended": "2026-11-30T04:00:02.500000Z",
        "seconds": 2.5, "status": "completed", "cached": ["4"], "process": os.getpid(),
        "graph": {"3": {"class_type": "KSampler", "inputs": {"seed": 2**64 - 1}}},
        "outputs": [{"path": str(picture), "bytes": picture.stat().st_size,
                     "mtime_ns": picture.stat().st_mtime_ns}],
    }  # fmt: skip


def test_no_secret_enters_a_line(tmp_path: Path) -> None:
    spool = Spool(tmp_path, tool="t")
    spool.append(
        graph={"1": {"inputs": {"api_key": "hush", "apiKey": "hush", "hf_token": "hush",
                                "text": "a cat", "Authorization": "hush", "cookies": ["hush"],
                                "url": "https://me:hush@host/x?size=3&token=hush",
                                "nested": json.dumps({"a": [{"password": "hush"}]})}}},
        error="403 for https://me:hush@host/?api_key=hush",
        parameters={"client_secret": {"deep": "hush"}},
    )  # fmt: skip
    (path,) = tmp_path.glob("*.spool.jsonl")
    assert b"hush" not in path.read_bytes()
    assert lines_of(tmp_path)[0]["graph"]["1"]["inputs"]["text"] == "a cat"


def test_a_picture_in_memory_is_known_by_its_pixels(tmp_path: Path) -> None:
    """It is how a file that says nothing is found to be the one that a line tells of."""
    spool = Spool(tmp_path, tool="diffusers")
    pictures = [Image.new("RGB", (5, 3), "red"), Image.new("RGBA", (3, 5), (1, 2, 3, 4)),
                Image.new("L", (4, 4), 7)]  # fmt: skip
    spool.append(outputs=pictures)
    (line,) = lines_of(tmp_path)
    assert [output["pixel_sha256"] for output in line["outputs"]] == [
        identify(encode_png(np.asarray(picture))).pixel_sha256 for picture in pictures
    ]


def test_files_that_grow_are_followed_by_others(tmp_path: Path) -> None:
    spool = Spool(tmp_path, tool="t", largest_file=2000)
    names = [spool.append(parameters={"x": "y" * 300}) for _ in range(20)]
    paths = sorted(tmp_path.glob("*.spool.jsonl"))
    assert len(paths) > 2
    assert all(path.stat().st_size <= 2000 for path in paths)
    assert sorted(line["id"] for line in lines_of(tmp_path)) == sorted(filter(None, names))


def test_what_is_unread_is_never_dropped_and_bounded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(tmp_path, tool="t", largest_file=2000, most_unread=6000)
    with caplog.at_level(logging.WARNING):
        names = [spool.append(parameters={"x": "y" * 300}) for _ in range(40)]
    kept = [line["id"] for line in lines_of(tmp_path)]
    assert sorted(filter(None, names)) == sorted(kept)
    assert 5 < len(kept) < 14
    assert len(caplog.records) == 1
    for path in tmp_path.glob("*.spool.jsonl"):
        path.with_name(path.name + ".read").write_text(json.dumps({"read": path.stat().st_size}))
    assert spool.append(), "there is room again once it was read"
    spool.close()
    assert Spool(tmp_path, tool="other").append()
    left = len(list(tmp_path.glob("*.spool.jsonl")))
    assert left == 2, "what was read and nobody holds is removed, what has one more line is not"


def test_a_file_that_a_process_holds_is_not_removed(tmp_path: Path) -> None:
    spool = Spool(tmp_path, tool="t")
    spool.append()
    (path,) = tmp_path.glob("*.spool.jsonl")
    path.with_name(path.name + ".read").write_text(json.dumps({"read": path.stat().st_size}))
    Spool(tmp_path, tool="other").append()
    second = spool.append()
    assert second in [line["id"] for line in lines_of(tmp_path)]


def test_a_full_disk_breaks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(tmp_path, tool="t")
    spool.append()
    write = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda handle, data: write(handle, data[:20]))
        assert spool.append() is None
    assert len(lines_of(tmp_path)) == 1
    assert "could be written" in caplog.text
    assert spool.append()
    assert Spool(tmp_path / "\0", tool="t").append() is None


def _append_in_a_child(spool: Spool) -> None:
    spool.append()


def test_after_a_fork_each_process_has_a_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path, tool="t")
    spool.append()
    child = multiprocessing.get_context("fork").Process(target=_append_in_a_child, args=(spool,))
    child.start()
    child.join()
    spool.append()
    processes = [{line["process"] for line in map(json.loads, path.read_bytes().splitlines())}
                 for path in tmp_path.glob("*.spool.jsonl")]  # fmt: skip
    assert len(processes) == 2
    assert all(len(each) == 1 for each in processes)


def test_threads_do_not_tear_lines(tmp_path: Path) -> None:
    spool = Spool(tmp_path, tool="t")
    work = [threading.Thread(target=lambda: [spool.append() for _ in range(50)]) for _ in range(4)]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert len({line["id"] for line in lines_of(tmp_path)}) == 200


def test_it_is_one_small_file_of_the_standard_library_for_old_pythons() -> None:
    """It runs inside other programs, whose Python and packages are theirs."""
    source = Path(safelight_spool.__file__).read_text("utf-8")
    tree = ast.parse(source, feature_version=(3, 9))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )
    }  # fmt: skip
    assert imported - {"__future__"} <= sys.stdlib_module_names
    asked = "import sys, safelight_spool; print(sorted(m for m in sys.modules if 'safelight' in m))"
    done = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(Path(safelight_spool.__file__).parent)},
    )  # fmt: skip
    assert done.stdout.strip() == "['safelight_spool']"


def test_a_value_without_end_is_cut(tmp_path: Path) -> None:
    shared: list[Any] = ["x"]
    for _ in range(60):
        shared = [shared, shared]
    spool = Spool(tmp_path, tool="t")
    assert spool.append(
        parameters={"x": shared, "long": "y" * (9 * 2**20), "n": list(range(10**6))}
    )
    assert spool.append(graph=[["z" * 2**20]] * 20, parameters={"steps": 3})
    first, second = lines_of(tmp_path)
    assert second["parameters"] == {"steps": 3}
    assert second["left_out"] == ["graph"]
    assert max(len(json.dumps(line)) for line in (first, second)) < 9 * 2**20
