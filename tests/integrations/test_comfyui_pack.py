"""The ComfyUI pack on a stand-in, which replays what ComfyUI itself was recorded to call."""

from __future__ import annotations

import json
import logging
import os
import stat
import sys
import tomllib
import weakref
from pathlib import Path
from typing import Any

import pytest

import safelight
import safelight.spool
from imports.spool_lines import lines_of
from integrations.comfyui_pack import PACK, graph, load_pack, wait_for
from integrations.comfyui_stand_in import ComfyuiStandIn, recorded

INTEGRATIONS = PACK.parent
FILES = {
    ".comfyignore", "LICENSE", "README.md", "__init__.py", "executions.py", "pyproject.toml",
    "safelight_spool.py",
}  # fmt: skip


@pytest.fixture
def comfyui(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ComfyuiStandIn:
    monkeypatch.delenv("SAFELIGHT_SPOOL", raising=False)
    stand_in = ComfyuiStandIn(monkeypatch, tmp_path)
    assert load_pack().NODE_CLASS_MAPPINGS == {}
    return stand_in


def spool_of(base: Path) -> list[dict[str, Any]]:
    return lines_of(base / "output" / ".safelight-spool")


def lines(base: Path, number: int) -> list[dict[str, Any]]:
    wait_for(lambda: len(spool_of(base)) >= number)
    return spool_of(base)


def test_each_prompt_has_a_line(comfyui: ComfyuiStandIn, tmp_path: Path) -> None:
    """In order, as it ended, and without what it was signed in with."""
    cases = recorded()
    (tmp_path / "output" / "day").mkdir()
    (tmp_path / "output" / "day" / "p_00001_.png").write_bytes(b"a picture")
    for prompt in cases.values():
        assert comfyui.execute(prompt) == "its own answer"

    told = dict(zip(cases, lines(tmp_path, len(cases)), strict=True))

    assert {
        case: line["status"] for case, line in told.items() if line["status"] != "completed"
    } == {
        "a node raises": "failed",
        "out of memory": "failed",
        "interrupted": "cancelled",
        "cancelled by /api/jobs": "cancelled",
        "a node expands into one that raises": "failed",
        "client gone": "cancelled",
        "the same id again, and a node raises": "failed",
    }
    for case, line in told.items():
        assert line["graph"] == cases[case]["item"][2]
        assert (line["tool"], line["tool_version"]) == ("comfyui", "0.33.0")
        started, *_, ended = (said["timestamp"] for _, said in cases[case]["status"]["messages"])
        assert line["seconds"] == pytest.approx((ended - started) / 1000, abs=1e-5)
    assert told["all of it cached"]["cached"] == ["4", "5", "6", "7", "3", "8", "9"]
    assert told["out of memory"]["error"].startswith(
        "node 20 (OutOfMemory): torch.OutOfMemoryError: Allocation on device"
    )
    assert told["a node expands into one that raises"]["error"].startswith(
        "node 20 (ExpandsAndRaises): ValueError: no room at https://example.org/"
    )
    (saved,) = told["first of two in the queue"]["outputs"]
    assert saved["path"] == str(tmp_path / "output" / "day" / "p_00001_.png")
    assert saved["bytes"] == 9
    (shown,) = told["only shown"]["outputs"]
    assert Path(shown["path"]).parent == tmp_path / "temp"
    text = json.dumps(told)
    assert not any(word in text for word in ("sk-never-told", "hidden-word", "LEFT OUT"))


def test_what_is_sent_twice_is_noted_twice(comfyui: ComfyuiStandIn, tmp_path: Path) -> None:
    """A client may give two prompts one id: the second is told as it ended itself."""
    cases = recorded()
    for case in ("an id", "the same id again, and a node raises"):
        comfyui.execute(cases[case])
    first, second = lines(tmp_path, 2)
    assert cases["an id"]["item"][1] == first["id"] != second["id"]
    assert (first["status"], second["status"]) == ("completed", "failed")


def test_comfyui_does_nothing_more_for_us(comfyui: ComfyuiStandIn) -> None:
    """It hashes the cache key of each node, several times, as soon as anybody is registered."""
    assert comfyui.providers == []
    cases = recorded().values()
    assert all(prompt["calls"][-1][0] == "task_done" for prompt in cases)
    assert max(prompt["keys_hashed"] for prompt in cases) == 3 * 7


def test_what_safelight_draws_itself_is_not_noted(comfyui: ComfyuiStandIn, tmp_path: Path) -> None:
    ours, other = (recorded()[case] for case in ("only shown", "blocked"))
    ours["item"][3]["safelight"] = True
    comfyui.execute(ours)
    comfyui.execute(other)
    (line,) = lines(tmp_path, 1)
    assert line["id"] == other["item"][1]


def test_nothing_that_is_not_as_expected_reaches_comfyui(
    comfyui: ComfyuiStandIn, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One odd prompt costs its own line."""
    odd, broken, other = list(recorded().values())[:3]
    odd["result"] = {"outputs": {"9": {"images": [{"filename": 3}, None]}, "8": None}}
    odd["status"]["messages"] = [["execution_start"], None, 7]
    broken["item"] = [2, "an-id"]
    for prompt in (odd, broken, other):
        assert comfyui.execute(prompt) == "its own answer"

    first, second = lines(tmp_path, 2)
    assert (first["status"], first["outputs"]) == ("completed", [])
    assert second["id"] == other["item"][1]
    assert caplog.text.count("an execution could not be noted") == 1


def test_what_was_noted_is_let_go_of(comfyui: ComfyuiStandIn, tmp_path: Path) -> None:
    """A graph may hold much, and the next prompt may be tomorrow's."""

    class Graph(dict[str, Any]):
        pass

    prompt = recorded()["blocked"]
    prompt["item"][2] = Graph(prompt["item"][2])
    held = weakref.ref(prompt["item"][2])
    comfyui.execute(prompt)
    lines(tmp_path, 1)
    del prompt
    comfyui.queue.history.clear()
    wait_for(lambda: held() is None, 5)


def test_what_waits_is_written_when_comfyui_ends(tmp_path: Path, comfyui: ComfyuiStandIn) -> None:
    """The last prompt before Ctrl-C is an execution too."""
    executions = sys.modules["safelight_pack.executions"].Executions()
    for number in range(50):
        executions.is_done((number, f"id-{number}", graph(number), {}), {}, None)
    executions.finish()
    assert len(spool_of(tmp_path)) == 50


def test_a_folder_that_cannot_be_written_costs_nothing(
    comfyui: ComfyuiStandIn, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "output" / ".safelight-spool").write_text("a file")
    with caplog.at_level(logging.WARNING):
        for prompt in recorded().values():
            assert comfyui.execute(prompt) == "its own answer"
        wait_for(lambda: "could not be noted" in caplog.text)
    assert caplog.text.count("could not be noted") == 1


def test_loading_it_again_notes_nothing_twice(comfyui: ComfyuiStandIn, tmp_path: Path) -> None:
    load_pack()
    cases = recorded()
    comfyui.execute(cases["blocked"])
    comfyui.execute(cases["a node raises"])
    wait_for(lambda: any(line["status"] == "failed" for line in spool_of(tmp_path)))
    assert len(spool_of(tmp_path)) == 2


def test_the_setting_names_another_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SAFELIGHT_SPOOL", str(tmp_path / "elsewhere"))
    stand_in = ComfyuiStandIn(monkeypatch, tmp_path)
    load_pack()
    stand_in.execute(recorded()["blocked"])
    wait_for(lambda: lines_of(tmp_path / "elsewhere"))
    assert not (tmp_path / "output" / ".safelight-spool").exists()


def test_where_no_comfyui_is_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tools load packs to list their nodes; ``server`` must not be loaded by us."""
    monkeypatch.delitem(sys.modules, "server", raising=False)
    assert load_pack().NODE_CLASS_MAPPINGS == {}
    assert "server" not in sys.modules


def test_a_comfyui_that_is_otherwise_starts_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in = ComfyuiStandIn(monkeypatch, tmp_path)
    monkeypatch.delattr(type(stand_in.queue), "task_done")
    with caplog.at_level(logging.WARNING, logger="safelight"):
        assert load_pack().NODE_CLASS_MAPPINGS == {}
    assert "notes nothing here" in caplog.text


def test_the_pack_is_what_the_registry_asks_for() -> None:
    """Its files and no more, no dependency, no byte code; the publisher is for the publisher."""
    files = {path.name for path in PACK.iterdir() if path.name != "__pycache__"}
    assert files == FILES
    assert not any(path.is_symlink() for path in PACK.iterdir())
    told = tomllib.loads((PACK / "pyproject.toml").read_text())
    assert told["project"]["dependencies"] == []
    assert "comfyui" not in told["project"]["name"].lower()
    assert len(told["project"]["version"].split(".")) == 3
    assert told["tool"]["comfy"]["PublisherId"] == "REPLACE-ME"
    assert "__pycache__/" in (PACK / ".comfyignore").read_text()
    source = (PACK / "executions.py").read_text() + (PACK / "__init__.py").read_text()
    assert not any(word in source for word in ("subprocess", "eval(", "exec(", "import server"))


def test_the_copies_are_the_original() -> None:
    original = (INTEGRATIONS / "spool" / "safelight_spool.py").read_bytes()
    assert (PACK / "safelight_spool.py").read_bytes() == original
    assert Path(safelight.spool.__file__).read_bytes() == original
    assert safelight.observe is safelight.spool.observe
    with pytest.raises(AttributeError, match="no attribute 'observed'"):
        _ = safelight.observed
    assert (PACK / "LICENSE").read_bytes() == (INTEGRATIONS.parent / "LICENSE").read_bytes()
    assert stat.S_ISREG(os.lstat(PACK / "safelight_spool.py").st_mode)
