"""The ComfyUI pack on stand-ins: by the hook of newer ones, by the queue of older ones."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import safelight
import safelight.spool
from imports.spool_lines import lines_of
from integrations.comfyui_pack import PACK, graph, load_pack, wait_for
from integrations.comfyui_stand_in import ComfyuiStandIn

INTEGRATIONS = PACK.parent
LIFECYCLE = Path(__file__).resolve().parents[1] / "data" / "comfyui_newest" / "lifecycle.json"
FILES = {
    ".comfyignore", "LICENSE", "README.md", "__init__.py", "executions.py", "pyproject.toml",
    "safelight_spool.py",
}  # fmt: skip


def prompts() -> list[dict[str, Any]]:
    told: dict[str, Any] = json.loads(LIFECYCLE.read_text())
    assert told["from"] == "facts, not recorded"
    for number, prompt in enumerate(told["prompts"], 1):
        assert prompt["item"][2] == f"GRAPH {number}"
        prompt["item"][2] = graph(number)
    return list(told["prompts"])


@pytest.fixture(params=[True, False], ids=["hook", "task_done"])
def comfyui(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> ComfyuiStandIn:
    monkeypatch.delenv("SAFELIGHT_SPOOL", raising=False)
    stand_in = ComfyuiStandIn(monkeypatch, tmp_path, hook=request.param)
    pack = load_pack()
    assert pack.NODE_CLASS_MAPPINGS == {}
    assert len(stand_in.providers) == request.param
    return stand_in


def spool_of(base: Path) -> list[dict[str, Any]]:
    return lines_of(base / "output" / ".safelight-spool")


def test_each_prompt_has_a_line(comfyui: ComfyuiStandIn, tmp_path: Path) -> None:
    """In order, with what ComfyUI knows of it, and without what it was signed in with."""
    (tmp_path / "output" / "day").mkdir()
    (tmp_path / "output" / "day" / "a_00001_.png").write_bytes(b"a picture")
    for prompt in prompts():
        assert comfyui.execute(prompt) == "its own answer"

    first, second, third = wait_for(lambda: (lines := spool_of(tmp_path))[2:] and lines)

    assert first["id"] == "0f8fad5b-d9cb-469f-a165-70867728950e"
    assert (first["status"], first["cached"], first["seconds"]) == ("completed", ["4"], 2.5)
    assert (first["tool"], first["tool_version"]) == ("comfyui", "0.36.0")
    assert first["graph"] == graph(1)
    assert first["outputs"][0]["path"] == str(tmp_path / "output" / "day" / "a_00001_.png")
    assert first["outputs"][0]["bytes"] == 9
    assert second["status"] == "failed"
    assert second["error"] == ("node 3 (KSampler): torch.OutOfMemoryError: Allocation on device")
    assert (third["status"], third.get("error")) == ("cancelled", None)
    assert third["outputs"][0]["path"] == str(tmp_path / "temp" / "preview_00001_.png")
    text = json.dumps([first, second, third])
    assert "sk-never-told" not in text
    assert "sensitive" not in text


def test_what_is_sent_twice_is_noted_twice(comfyui: ComfyuiStandIn, tmp_path: Path) -> None:
    """A client may give two prompts one id: they are two executions."""
    first, second, *_ = prompts()
    second["item"][1] = first["item"][1]
    comfyui.execute(first)
    wait_for(lambda: spool_of(tmp_path))
    comfyui.execute(second)
    lines = wait_for(lambda: (lines := spool_of(tmp_path))[1:] and lines)
    assert len({line["id"] for line in lines}) == 2


def test_nothing_that_is_not_as_expected_reaches_comfyui(
    comfyui: ComfyuiStandIn, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One odd prompt costs its own line."""
    odd = {**prompts()[0], "outputs": {"9": {"images": [{"filename": 3}, None]}, "8": None}}
    odd["status"] = {"status_str": "success", "messages": [["execution_start"], None, 7]}
    assert comfyui.execute(odd) == "its own answer"
    broken = prompts()[1]
    broken["item"] = [2, "an-id"]
    assert comfyui.execute(broken) == "its own answer"
    assert comfyui.execute(prompts()[2]) == "its own answer"

    lines = wait_for(lambda: (lines := spool_of(tmp_path))[1:] and lines)
    assert [line["status"] for line in lines] == ["completed", "cancelled"]
    assert lines[0]["outputs"] == []


def test_what_waits_is_written_when_comfyui_ends(tmp_path: Path, comfyui: ComfyuiStandIn) -> None:
    """The last prompt before Ctrl-C is an execution too."""
    executions = sys.modules["safelight_pack.executions"].Executions(comfyui.queue)
    for number in range(50):
        executions.is_done((number, f"id-{number}", graph(number), {}), {}, None)
    executions.finish()
    assert len(spool_of(tmp_path)) == 50


def test_a_folder_that_cannot_be_written_costs_nothing(
    comfyui: ComfyuiStandIn, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "output" / ".safelight-spool").write_text("a file")
    with caplog.at_level(logging.WARNING):
        for prompt in prompts():
            assert comfyui.execute(prompt) == "its own answer"
        wait_for(lambda: "could not be noted" in caplog.text)
    assert caplog.text.count("could not be noted") == 1


def test_the_hook_caches_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Else each node's tensors would be offered to us."""
    stand_in = ComfyuiStandIn(monkeypatch, tmp_path, hook=True)
    load_pack()
    (provider,) = stand_in.providers
    assert provider.should_cache(None) is False
    assert provider.should_cache(None, "value") is False
    assert asyncio.run(provider.on_lookup(None)) is None
    assert asyncio.run(provider.on_store(None, "value")) is None
    assert not hasattr(stand_in.queue.task_done, "_safelight")


def test_loading_it_again_notes_nothing_twice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stand_in = ComfyuiStandIn(monkeypatch, tmp_path, hook=False)
    load_pack()
    load_pack()
    first, second, *_ = prompts()
    stand_in.execute(first)
    stand_in.execute(second)
    wait_for(lambda: any(line["status"] == "failed" for line in spool_of(tmp_path)))
    assert len(spool_of(tmp_path)) == 2


def test_the_setting_names_another_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SAFELIGHT_SPOOL", str(tmp_path / "elsewhere"))
    stand_in = ComfyuiStandIn(monkeypatch, tmp_path, hook=False)
    load_pack()
    stand_in.execute(prompts()[0])
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
    stand_in = ComfyuiStandIn(monkeypatch, tmp_path, hook=False)
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
