"""Runs as they go on and as they ended, and the form that begins one, in a real browser."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest
from PIL import Image, PngImagePlugin

from backends.webui.replay_server import ReplayServer
from command_line import call
from gui_v2.light_table import SWEEP, draw, served
from safelight.application.carrying_out import EngineRunner
from safelight.archive import Archive
from safelight.pipeline import CancelToken, RunProgress

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

AXE = Path(__file__).with_name("axe.min.js").read_text("utf-8")
LARGE = 2**64 - 1
IMPORTED = (
    "a lighthouse\nNegative prompt: fog\nSteps: 20, Sampler: Euler a, Schedule type: Karras,"
    " CFG scale: 7, Seed: 18446744073709551615, Size: 512x512, Model: random-sd15, Version: v1.10.1"
)
COMMENTED = f"""# what I like
name = "mine"

[txt2img]
prompt = "a fox" # or a hare
negative_prompt = "fog\\r\\nrain"
seed = {LARGE}
cfg_scale = 7.0

[randomizer.sweep]
"txt2img.steps" = [4, 8]

[[randomizer.exclude]]
where = "steps = 4"
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    draw(folder / "archive", SWEEP)
    stop = CancelToken()

    def stopped(progress: RunProgress) -> None:
        if progress.event == "variant":
            stop.cancel()

    runner = EngineRunner(folder / "archive", {})
    slow = {"name": "fake", "seconds_per_step": 0.02}
    prompted = {**SWEEP["txt2img"], "prompt": "a jetty"}
    unfinished = {**SWEEP, "name": "unfinished", "txt2img": prompted, "backend": slow}
    runner.run(unfinished, cancel=stop, on_progress=stopped)
    runner.close()
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", IMPORTED)
    (folder / "pictures").mkdir()
    Image.new("RGB", (512, 512), "teal").save(folder / "pictures" / "a.png", pnginfo=info)
    assert (
        call("import", str(folder / "pictures"), "--archive", str(folder / "archive")).exit_code
        == 0
    )
    return folder


@pytest.fixture(scope="module")
def rig(place: Path) -> Iterator[ReplayServer]:
    with ReplayServer("forge") as server:
        (place / "settings").mkdir(mode=0o700)
        listed = place / "settings" / "engines.toml"
        listed.write_text(f'[engines.rig]\nbackend = "webui"\nurl = "{server.url}"\n')
        listed.chmod(0o600)
        yield server


@pytest.fixture(scope="module")
def table(place: Path, rig: ReplayServer) -> Iterator[str]:
    with served(place / "archive", settings=place / "settings") as url:
        yield url


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": 1280, "height": 800}, reduced_motion="reduce", bypass_csp=True
    )
    opened = context.new_page()
    opened.set_default_timeout(180_000)
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    yield opened
    context.close()
    assert faults == []


def until(page: Page, holds: Callable[[], Any], seconds: float = 120.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (outcome := holds()) and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    assert outcome
    return outcome


def can_start(page: Page) -> None:
    until(page, lambda: page.is_enabled("#start"))


def violations(page: Page) -> list[Any]:
    page.evaluate(AXE)
    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    return [(each["id"], node["html"][:140]) for each in found for node in each["nodes"][:2]]


def test_a_sweep_from_an_imported_picture_takes_four_clicks(
    tab: Page, table: str, rig: ReplayServer
) -> None:
    """Its tool speaks the language of the only web UI of the list, which draws it."""
    tab.goto(f"{table}/?q={quote('status = ' + repr('imported'))}")
    clicks = 0

    def click(selector: str) -> None:
        nonlocal clicks
        clicks += 1
        tab.click(selector)

    click(".tile:visible")
    click(".info a:text('Run again')")
    tab.wait_for_selector("[name=backend]")
    until(tab, lambda: tab.input_value("[name=backend]") == "rig")
    assert tab.input_value("[name='txt2img.seed']") == str(LARGE)
    can_start(tab)
    assert tab.locator("#names-sampler option").count() > 10, "searchable lists"
    assert tab.get_attribute("[name='txt2img.model']", "list") == "names-model"
    assert tab.locator("#plan li").count() == 1
    click("[name='txt2img.cfg_scale']")
    tab.keyboard.press("Control+a")
    tab.keyboard.type("4; 6; 8")
    until(tab, lambda: "3 pictures" in tab.inner_text("#plan"))
    can_start(tab)
    click("#start")
    tab.wait_for_url("**/runs")
    assert clicks <= 4
    until(tab, lambda: len(rig.posts) == 3)
    assert sorted(body["cfg_scale"] for _, body in rig.posts) == [4, 6, 8]
    assert {body["seed"] for _, body in rig.posts} == {LARGE}
    until(tab, lambda: "3 pictures" in tab.inner_text("#history"))
    assert "steps, CFG" in tab.locator("#history li", has_text="sweep").inner_text()


def test_the_form_and_the_toml_stay_one(tab: Page, table: str) -> None:
    """What is edited in either is in both; what the form has no field for is kept, and told."""
    tab.goto(f"{table}/runs/new")
    tab.click("#as-toml")
    tab.wait_for_selector("#toml:visible")
    tab.fill("#toml", COMMENTED)
    tab.click("#as-form")
    tab.wait_for_selector("#config:visible")
    assert tab.input_value("[name='txt2img.prompt']") == "a fox"
    assert tab.input_value("[name='txt2img.negative_prompt']") == "fog\nrain"
    assert tab.input_value("[name='txt2img.seed']") == str(LARGE)
    assert tab.input_value("[name='txt2img.cfg_scale']") == "7.0"
    assert tab.input_value("[name='txt2img.steps']") == "4; 8"
    assert "randomizer.exclude" in tab.inner_text("#kept")
    until(tab, lambda: "1 picture" in tab.inner_text("#plan"))
    tab.click("#as-toml")
    tab.wait_for_selector("#toml:visible")
    assert tab.input_value("#toml") == COMMENTED, "comments and all"
    tab.click("#as-form")
    tab.fill("[name='txt2img.prompt']", "a hare")
    tab.click("#as-toml")
    tab.wait_for_selector("#toml:visible")
    text = tab.input_value("#toml")
    assert text.startswith("# what I like\n")
    for kept in ('prompt = "a hare"', f"seed = {LARGE}", "cfg_scale = 7.0", "exclude = [",
                 '"fog\\r\\nrain"',
                 '"txt2img.steps" = [4, 8]'):  # fmt: skip
        assert kept in text
    assert "comments within it are gone" in tab.inner_text("#notices")
    tab.fill("#toml", "[txt2img\nprompt = 'x'")
    tab.click("#as-form")
    until(tab, lambda: "stays as TOML" in tab.inner_text("#notices"))
    assert tab.input_value("#toml").startswith("[txt2img\n")


def test_faults_stand_at_their_fields_before_anything_starts(tab: Page, table: str) -> None:
    """All at once; what the engine does not have is one of them."""
    tab.goto(f"{table}/runs/new")
    tab.fill("[name=backend]", "fake")
    wrong = {"prompt": "x", "width": "63", "steps": "0", "cfg_scale": "a; 4", "sampler": "Euler b"}
    for name, value in wrong.items():
        tab.fill(f"[name='txt2img.{name}']", value)
    until(tab, lambda: "4 things are wrong" in tab.inner_text("#plan"))
    for name, rule in {"width": "multiple of 8", "steps": "from 1", "cfg_scale": "number",
                       "sampler": "does not know"}.items():  # fmt: skip
        field = tab.locator(f"[name='txt2img.{name}']")
        told = field.get_attribute("aria-describedby")
        assert rule in tab.inner_text(f"#{told}")
    assert tab.is_disabled("#start")
    assert "wrong" in tab.inner_text("#start-status")
    assert violations(tab) == []
    for name, value in {"width": "64", "steps": "2", "cfg_scale": "4", "sampler": ""}.items():
        tab.fill(f"[name='txt2img.{name}']", value)
    can_start(tab)
    tab.fill("[name='txt2img.sampler']", "Euler b")
    until(tab, lambda: "does not know 'Euler b'" in tab.inner_text("#plan"))
    assert tab.is_disabled("#start")
    assert tab.inner_text("#start") == "Start", "as many as the plan before was of"
    tab.fill("[name='txt2img.sampler']", "")
    tab.fill("[name=backend]", "nonsense")
    until(tab, lambda: "nonsense" in tab.inner_text("#plan"))
    assert tab.is_disabled("#start")
    tab.click("[data-engine=webui]")  # at its own address nobody listens
    until(tab, lambda: "Ask it again" in tab.inner_text("#plan"))
    assert tab.is_disabled("#start")
    assert "Start it, or connect another" in tab.inner_text("#engine-state")


def test_a_run_of_a_terminal_is_seen_as_it_goes_and_killed_it_is_told(
    tab: Page, table: str, place: Path
) -> None:
    """Its pictures meet filters before it ends, and are counted once when it has."""
    config = place / "slow.toml"
    config.write_text(
        'name = "of a rig"\nbackend = {name = "fake", seconds_per_step = 0.1}\n'
        '[txt2img]\nprompt = "a zebra"\nsteps = 1\nwidth = 64\nheight = 64\n'
        "[randomizer]\nseeds_per_variant = 400\n"
    )
    tab.goto(f"{table}/runs")
    program = [sys.executable, "-m", "safelight", "run", str(config), "--archive",
               str(place / "archive")]  # fmt: skip
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        card = tab.locator("#queue article", has_text="of a rig")
        card.locator("img").nth(3).wait_for()
        text = card.inner_text()
        assert "of 400" in text
        assert f"process {run.pid}" in text
        until(tab, lambda: "a minute" in card.inner_text() and "left" in card.inner_text())
        assert violations(tab) == []

        def zebras() -> int:
            answer = httpx.get(
                f"{table}/api/facets", params={"q": "prompt has 'zebra'"}, timeout=30
            )
            return int(answer.json()["total"])

        until(tab, lambda: zebras() >= 4)
        assert run.poll() is None
        run.send_signal(signal.SIGKILL)
        run.wait()
    line = tab.locator("#history li", has_text="of a rig")
    line.wait_for()
    assert "cut off" in line.inner_text()
    assert "of 400 pictures" in line.inner_text()
    card.wait_for(state="detached")
    rows = Archive(place / "archive").query("prompt has 'zebra'", limit=None).rows
    until(tab, lambda: zebras() == len(rows))
    assert len(rows) >= 4


def test_a_run_again_keeps_its_randomizer_and_one_gone_on_with_says_so(
    tab: Page, table: str, place: Path
) -> None:
    """One button is the next thing to do."""
    runs = {row[0]: row[1] for row in Archive(place / "archive").query(
        view="runs", columns=["name", "run_id"]).rows}  # fmt: skip
    tab.goto(f"{table}/runs/{runs['sweep']}")
    assert tab.locator(".page-head .button").all_inner_texts() == ["Run again with changes"]
    assert violations(tab) == []
    tab.click("#again")
    tab.wait_for_selector("[name='txt2img.steps']")
    until(tab, lambda: tab.input_value("[name='txt2img.cfg_scale']") == "1; 3; 6")
    until(tab, lambda: "6 pictures" in tab.inner_text("#plan"))
    assert tab.locator("#plan li").count() == 4
    assert "About" in tab.inner_text("#plan")
    tab.goto(f"{table}/runs/{runs['unfinished']}")
    assert tab.locator(".page-head .button").count() == 1
    assert tab.get_by_role("button", name="Go on with this run").count() == 1
    tab.click("#go-on")
    tab.wait_for_url("**/runs")
    until(tab, lambda: tab.locator("#history li", has_text="unfinished").count() == 2)
    tab.goto(f"{table}/runs/{runs['unfinished']}")
    assert "This run was gone on with" in tab.inner_text("main")
    assert tab.locator("#go-on").count() == 0


def test_on_a_phone_a_line_shows_what_matters(tab: Page, table: str) -> None:
    """Name, how many, how it ended: nothing is cut, and no date wraps."""
    tab.set_viewport_size({"width": 390, "height": 844})
    tab.goto(f"{table}/runs")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    line = tab.locator("#history li", has_text="sweep").first
    for part in (".run-name", ".run-count", ".run-ended", "time"):
        box = line.locator(part).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    box = line.locator("time").bounding_box()
    assert box is not None
    assert box["height"] < 30
    assert violations(tab) == []
