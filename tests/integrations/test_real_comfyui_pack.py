"""The pack inside of ComfyUI itself: every execution is in the archive, however it ended.

``make test-comfyui`` sets one up and runs this; by hand, name a folder that ``real_server.py`` has
prepared in ``SAFELIGHT_COMFYUI_DIR``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx
import pytest

from backends.backend_contract import Steps
from backends.comfyui.real_server import CHECKPOINT, RealServer
from command_line import call
from imports.spool_lines import lines_of
from integrations.comfyui_pack import base_of, graph, posted, wait_for
from integrations.watched_table import LONG, beside, settings_of_all
from safelight.archive import Archive
from safelight.backends.comfyui import ComfyuiBackend
from safelight.learning.learning_record import utc_timestamp
from safelight.pipeline.backend import Txt2ImgRequest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FOLDER = os.environ.get("SAFELIGHT_COMFYUI_DIR", "")
_RUN = "[data-testid=queue-button] button, button[data-testid=queue-button]"
"""The button in pages 1.32 and 1.49."""

if not FOLDER:
    pytest.skip(
        "no real ComfyUI: run `make test-comfyui`, or set SAFELIGHT_COMFYUI_DIR",
        allow_module_level=True,
    )

sync_api = pytest.importorskip("playwright.sync_api")


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


class ComfyuiPage:
    """ComfyUI's own page, used with mouse and keys as a person uses it."""

    def __init__(self, page: Page, url: str, folder: Path) -> None:
        self.page, self._folder = page, folder
        page.set_default_timeout(LONG)
        httpx.post(f"{url}/settings", json={"Comfy.TutorialCompleted": True})  # not a new user
        page.goto(url)
        page.wait_for_function("window.app && window.app.graph && window.app.extensionManager")
        page.get_by_test_id("queue-button").first.wait_for()

    def open(self, name: str, workflow: dict[str, Any]) -> None:
        """Open a workflow's file."""
        path = self._folder / f"{name}.json"
        path.write_text(json.dumps(workflow))
        self.page.locator("#comfy-file-input").set_input_files(path)
        self.page.wait_for_function(
            "kinds => app.graph.nodes.map(node => node.type).sort().join() === kinds.join()"
            " && app.graph.nodes.find(node => node.type === 'KSampler').widgets[0].last_y",
            arg=sorted(node["class_type"] for node in workflow.values()),
        )

    def choose(self, widget: str, value: str) -> None:
        """Choose *value* of a widget of the sampler from its list."""
        self.page.mouse.click(*self._place(widget))
        self.page.locator(".litecontextmenu .litemenu-entry").get_by_text(value, exact=True).click()

    def type(self, widget: str, value: float) -> None:
        """Type *value* into a widget of the sampler."""
        self.page.mouse.dblclick(*self._place(widget))
        self.page.locator(".graphdialog input").fill(str(value))
        self.page.keyboard.press("Enter")

    def run(self, times: int = 1) -> None:
        """Say how often, and press Run."""
        self.page.locator(".batch-count input").click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(str(times))
        self.page.keyboard.press("Tab")
        self.page.locator(_RUN).first.click()

    def read_error(self) -> str:
        """Return what it says of what failed, and close that."""
        dialog = self.page.get_by_role("dialog")
        text = dialog.inner_text()
        self.page.keyboard.press("Escape")
        dialog.wait_for(state="hidden")
        return text

    def stop(self) -> None:
        self.page.get_by_role("button", name="Cancel current run").click()

    def _place(self, widget: str) -> tuple[float, float]:
        x, y = self.page.evaluate(
            "name => { const node = app.graph.nodes.find(node => node.type === 'KSampler'),"
            " widget = node.widgets.find(each => each.name === name), at = app.canvas.ds;"
            " return [(node.pos[0] + node.size[0] * 0.7 + at.offset[0]) * at.scale,"
            " (node.pos[1] + widget.last_y + 10 + at.offset[1]) * at.scale]; }",
            widget,
        )
        return x, y


def test_a_sweep_from_its_own_page_is_found_on_the_light_table(
    server: RealServer, base: Path, tmp_path: Path, browser: Browser
) -> None:
    """A user sweeps in ComfyUI's page and does nothing else; every execution is on ours.

    What failed, was stopped, was drawn before or only looked at left no picture, and is told, too.
    """
    before, archive, drawn = len(told(base)), tmp_path / "archive", list[tuple[str, ...]]()
    since = f"timestamp >= '{utc_timestamp()}'"
    comfyui = ComfyuiPage(browser.new_page(viewport={"width": 1600, "height": 1000}), server.url,
                          tmp_path)  # fmt: skip
    table = browser.new_page(viewport={"width": 1440, "height": 900})
    table.set_default_timeout(LONG)

    def ends(runs: int) -> None:
        wait_for(lambda: len(told(base)) == before + runs, LONG / 1000)

    with beside(base / "output", archive) as address:
        table.goto(f"{address}/?{urlencode({'q': since})}")
        comfyui.open("sweep", graph(77, prefix="sweep"))
        comfyui.choose("control_after_generate", "fixed")
        for steps, cfg, sampler, canonical in (
            (1, 7, "euler", "Euler"), (2, 7, "euler", "Euler"), (2, 4.5, "euler", "Euler"),
            (2, 4.5, "dpmpp_2m", "DPM++ 2M"),
        ):  # fmt: skip
            comfyui.type("steps", steps)
            comfyui.type("cfg", cfg)
            comfyui.choose("sampler_name", sampler)
            comfyui.run()
            drawn.append((str(steps), f"{cfg:g}", canonical, "77"))
        ends(4)
        comfyui.run()  # of which everything is known already
        ends(5)
        comfyui.type("seed", 500)
        comfyui.choose("control_after_generate", "increment")
        comfyui.run(times=3)
        drawn += [("2", "4.5", "DPM++ 2M", str(seed)) for seed in (500, 501, 502)]
        ends(8)
        comfyui.open("fails", graph(600, through="Raises"))
        comfyui.run()
        ends(9)
        assert "no room at" in comfyui.read_error()
        comfyui.open("waits", graph(601, through="Waits"))
        comfyui.run()
        wait_for(lambda: httpx.get(f"{server.url}/queue").json()["queue_running"])
        comfyui.stop()
        ends(10)
        comfyui.open("looked-at", preview(graph(602)))
        comfyui.run()
        ends(11)

        told_of_blanks = "4 executions without a picture: 1 failed, 1 stopped, 2 no new picture"
        sync_api.expect(table.locator("#count")).to_have_text("7 pictures", timeout=LONG)
        sync_api.expect(table.locator("#blanks")).to_have_text(told_of_blanks, timeout=LONG)
        shown = settings_of_all(table)
        assert sorted(
            (one["Steps"], one["CFG"], one["Sampler"], one["Seed"]) for one in shown
        ) == sorted(drawn)
        assert {(one["Prompt"], one["Model"], one["Scheduler"], one["Size"]) for one in shown} == {
            ("a cat", CHECKPOINT, "Karras", "32 × 32")
        }

        table.goto(f"{address}/?{urlencode({'q': since})}")
        table.click("#blanks")
        lines = table.locator(".blank-list li")
        sync_api.expect(lines).to_have_count(4)
        for line, (ending, seed, why) in zip(lines.all(), (
            ("no new picture", 602, "or is gone: "), ("stopped", 601, ""),
            ("failed", 600, "Raises (node 20): ValueError"),
            ("no new picture", 77, "its picture was there already"),
        ), strict=True):  # fmt: skip
            text = line.inner_text()
            assert text.count(ending) == 1
            assert f"seed {seed}" in text
            assert why in text
        table.get_by_role("link", name="Failed 1").click()
        table.locator(".blank-list li a").click()
        for words in ("Failed in ComfyUI", "no room at https://example.org/models",
                      "Raises, node 20", f"ComfyUI {told_version(base)}"):  # fmt: skip
            sync_api.expect(table.locator("main")).to_contain_text(words)
        settings = table.locator(".settings").first.inner_text().split("\n")
        assert settings[settings.index("Seed") + 1] == "600"
        assert "spool-" not in table.locator("body").inner_text()

        again = call("find", "--no-picture", "--json", "--archive", str(archive), since)
        assert json.loads(again.output)["by_status"] == {
            "failed": 1, "cancelled": 1, "completed": 2
        }  # fmt: skip


def preview(workflow: dict[str, Any]) -> dict[str, Any]:
    """Return *workflow* with a node that only shows its picture."""
    images = workflow["9"]["inputs"]["images"]
    return {**workflow, "9": {"class_type": "PreviewImage", "inputs": {"images": images}}}


def told_version(base: Path) -> str:
    return str(next(iter(told(base).values()))["tool_version"])
