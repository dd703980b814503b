"""The pack inside of ComfyUI itself: every execution is in the archive, however it ended.

``make test-comfyui`` sets one up and runs this; by hand, name a folder that ``real_server.py`` has
prepared in ``SAFELIGHT_COMFYUI_DIR``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from backends.backend_contract import Steps
from backends.comfyui.real_server import RealServer
from command_line import call
from imports.spool_lines import lines_of
from integrations.comfyui_pack import base_of, graph, posted, wait_for
from safelight.archive import Archive
from safelight.backends.comfyui import ComfyuiBackend
from safelight.pipeline.backend import Txt2ImgRequest

FOLDER = os.environ.get("SAFELIGHT_COMFYUI_DIR", "")
_RUN = "[data-testid=queue-button] button, button[data-testid=queue-button]"
"""The button in pages 1.32 and 1.49."""

if not FOLDER:
    pytest.skip(
        "no real ComfyUI: run `make test-comfyui`, or set SAFELIGHT_COMFYUI_DIR",
        allow_module_level=True,
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_of(Path(FOLDER), tmp_path_factory.mktemp("comfyui") / "base")


@pytest.fixture(scope="module")
def server(base: Path) -> Iterator[RealServer]:
    with RealServer(Path(FOLDER), base=base, front_end=True) as server:
        yield server


def told(base: Path) -> dict[str, dict[str, Any]]:
    return {line["id"]: line for line in lines_of(base / "output" / ".safelight-spool")}


def records_of(base: Path, tmp_path: Path) -> list[Any]:
    archive = tmp_path / "archive"
    result = call("import", str(base / "output"), "--archive", str(archive))
    assert result.exit_code == 0, result.output
    opened = Archive(archive)
    return list(opened.records(run for (run,) in opened.rows("SELECT run_id FROM runs")))


def by_execution(records: list[Any]) -> dict[str, Any]:
    told = [(record.metadata["import"].get("spool"), record) for record in records]
    named = {spool["id"]: record for spool, record in told if spool}
    assert len(named) == sum(bool(spool) for spool, _ in told)
    return named


def test_every_execution_is_in_the_archive(server: RealServer, base: Path, tmp_path: Path) -> None:
    """Two at once, one that is cached, one that raises, one that is interrupted."""
    secret = {"api_key_comfy_org": "sk-never-told", "auth_token_comfy_org": "also-not-told"}
    first = posted(server.url, graph(1))
    second = posted(server.url, graph(2, steps=3), extra_data=secret)
    again = posted(server.url, graph(2, steps=3), client_id="a-client")
    broken = posted(server.url, graph(3, through="Raises"))
    waiting = posted(server.url, graph(4, through="Waits"))
    wait_for(lambda: {first, second, again, broken} <= told(base).keys())
    wait_for(lambda: any(
        item[1] == waiting for item in httpx.get(f"{server.url}/queue").json()["queue_running"]
    ))  # fmt: skip
    wait_for(
        lambda: httpx.post(f"{server.url}/interrupt").status_code == 200 and waiting in told(base)
    )
    lines = told(base)

    assert list(lines) == [first, second, again, broken, waiting]
    assert [line["status"] for line in lines.values()] == [
        "completed", "completed", "completed", "failed", "cancelled",
    ]  # fmt: skip
    assert sorted(lines[again]["cached"]) == ["3", "4", "5", "6", "7", "8", "9"]
    assert lines[broken]["error"].startswith("node 20 (Raises): ValueError: no room at https://exa")
    assert all(line["graph"] for line in lines.values())
    spool = b"".join(p.read_bytes() for p in (base / "output" / ".safelight-spool").iterdir())
    assert not any(word in spool for word in (b"sk-never-told", b"also-not-told", b"hidden-word"))
    assert not [name for name in server.open_files() if name.endswith(".png")]

    records = by_execution(every := records_of(base, tmp_path))
    assert len(every) == 5
    assert {name: record.status for name, record in records.items()} == {
        first: "imported", second: "imported", again: "completed",
        broken: "failed", waiting: "cancelled",
    }  # fmt: skip
    for name, seed, steps in ((first, 1, 2), (second, 2, 3)):
        (drawn,) = records[name].variant_configs
        assert (drawn["txt2img"]["seed"], drawn["txt2img"]["steps"]) == (seed, steps)
        assert records[name].outputs[0].seconds > 0
        assert records[name].environment["pytorch"]
        assert records[name].backend["version"] == lines[name]["tool_version"]
    asked = records[broken].base_config["txt2img"]
    assert (asked["seed"], asked["sampler"], asked["scheduler"]) == (3, "Euler", "Karras")
    assert records[broken].failures[0].error == lines[broken]["error"]


def test_an_id_that_is_sent_again_is_another_execution(server: RealServer, base: Path) -> None:
    """The history holds the first one, as it ended, until the second has ended."""
    one = "0f8fad5b-d9cb-469f-a165-70867728950e"
    before = len(told(base))
    posted(server.url, graph(1), prompt_id=one)
    posted(server.url, graph(1, through="Raises"), prompt_id=one)
    wait_for(lambda: len(told(base)) == before + 2)
    first, second = list(told(base).values())[before:]
    assert (first["id"], first["status"], second["status"]) == (one, "completed", "failed")


def test_what_safelight_draws_itself_is_not_noted(server: RealServer, base: Path) -> None:
    """Its own record says more, and one execution has one record."""
    before = len(told(base))
    backend = ComfyuiBackend(url=server.url)
    backend.generate(Txt2ImgRequest(prompt="ours", seed=9, steps=1, width=32, height=32), Steps())
    backend.close()
    other = posted(server.url, graph(10, prefix="other"))
    wait_for(lambda: other in told(base))
    assert len(told(base)) == before + 1


def test_a_sweep_from_its_own_page_is_found(server: RealServer, base: Path, tmp_path: Path) -> None:
    """A user sweeps steps by hand, runs each, and does nothing else."""
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    before = set(told(base))
    httpx.post(f"{server.url}/settings", json={"Comfy.TutorialCompleted": True})  # not a new user

    def has_news(runs: int) -> bool:
        return len(told(base).keys() - before) >= runs

    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(server.url)
        page.wait_for_function("window.app && window.app.graph && window.app.extensionManager")
        page.get_by_test_id("queue-button").first.wait_for()
        for steps in (1, 2, 3):
            page.evaluate(
                "prompt => window.app.loadApiJson(prompt, 'sweep')",
                graph(77, steps=steps, prefix="sweep"),
            )
            page.locator(_RUN).first.click()
            wait_for(partial(has_news, steps))
        browser.close()

    new = [line for name, line in told(base).items() if name not in before]
    records = by_execution(records_of(base, tmp_path))
    steps_of = [records[line["id"]].primary_steps for line in new]
    assert steps_of == [1, 2, 3]
