"""What other tools executed without a picture is found at both doors, and only what did."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from PIL import Image, PngImagePlugin
from safelight_spool import Spool
from starlette.testclient import TestClient

from command_line import Safelight
from gui_v2.light_table import SWEEP, draw, served
from safelight.application.blanks import Blanks
from safelight.archive import Archive
from safelight.errors import FilterError
from safelight.imports.folder_import import import_folders
from safelight.web import create_app

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SECONDS = 1.25
AXE = (Path(__file__).parents[1] / "gui_v2" / "axe.min.js").read_text("utf-8")


def graph(seed: int, steps: int = 20, prompt: str = "a cat") -> dict[str, Any]:
    return {
        "4": {"class_type": "LoraLoader", "inputs": {
            "lora_name": "ink.safetensors", "strength_model": 0.5, "strength_clip": 0.5,
            "model": ["1", 0], "clip": ["1", 1]}},
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "m.safetensors"}},
        "5": {"class_type": "EmptyLatentImage",
              "inputs": {"width": 64, "height": 48, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": prompt, "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "fog", "clip": ["4", 1]}},
        "3": {"class_type": "KSampler", "inputs": {
            "seed": seed, "steps": steps, "cfg": 7.0, "sampler_name": "euler",
            "scheduler": "karras", "denoise": 1.0, "model": ["4", 0], "positive": ["6", 0],
            "negative": ["7", 0], "latent_image": ["5", 0]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["1", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}},
    }  # fmt: skip


def saved(path: Path, seed: int) -> Path:
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", json.dumps(graph(seed)))
    Image.new("RGB", (64, 48), (seed, 0, 0)).save(path, pnginfo=info)
    return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Every way in which an execution can end, and a run of safelight itself."""
    folder = tmp_path_factory.mktemp("blanks")
    output = folder / "output"
    output.mkdir()
    spool = Spool(output / ".safelight-spool", tool="comfyui", tool_version="0.3.75")
    drawn = saved(output / "a.png", 1)

    def ended(name: str, minute: int, **told: Any) -> None:
        spool.append(execution=name, began=f"2026-11-01T10:{minute:02}:00Z", seconds=SECONDS,
                     **told)  # fmt: skip

    ended("drew", 0, graph=graph(1), outputs=[drawn])
    ended("again", 1, graph=graph(1), outputs=[drawn], cached=["3", "8", "9"])
    ended("broke", 2, graph=graph(2, 30, "a <b>red</b> fox"), status="failed",
          error="node 3 (KSampler): OutOfMemoryError: no room for a lighthouse")  # fmt: skip
    ended("stop", 3, graph=graph(2**63), status="cancelled")
    ended("late", 4, graph=graph(5), status="failed", outputs=[saved(output / "b.png", 5)],
          error="node 12 (Upscale): ValueError: no")  # fmt: skip
    ended("shown", 5, graph=graph(6), outputs=[folder / "temp" / "preview.png"])
    spool.append(execution="mute", began="2026-11-01T10:06:00Z", status="failed", error="odd")
    draw(folder / "archive", {**SWEEP, "randomizer": {"mode": "off"}})
    kept = Archive(folder / "archive")
    import_folders([output], kept)
    return kept


@pytest.fixture(scope="module")
def page(archive: Archive) -> Iterator[TestClient]:
    with TestClient(create_app(archive), base_url="http://127.0.0.1") as client:
        yield client


def test_each_says_how_it_ended_and_why(archive: Archive) -> None:
    found = {blank.run_id: blank for blank in Blanks(archive).find().blanks}
    assert list(found) == [f"spool-{name}" for name in
                           ("mute", "shown", "late", "stop", "broke", "again")]  # fmt: skip
    broke = found["spool-broke"]
    assert (broke.status, broke.node, broke.node_kind) == ("failed", "3", "KSampler")
    assert broke.error == "OutOfMemoryError: no room for a lighthouse"
    assert broke.facts == ("m.safetensors", "Euler", "Karras", "30 steps", "CFG 7", "seed 2")
    assert (broke.tool, broke.version, broke.seconds) == ("ComfyUI", "0.3.75", SECONDS)
    settings = {one.label: one.value for one in broke.settings.settings}
    assert (settings["LoRA ink.safetensors"], settings["Size"]) == ("0.5", "64 × 48")
    assert found["spool-stop"].facts[-1] == f"seed {2**63}"
    again = found["spool-again"]
    assert (again.ended, again.cached) == ("no new picture", 3)
    assert again.why == "It came through, and its picture was there already."
    late = found["spool-late"]
    assert [(one.name, len(one.sha256)) for one in late.pictures] == [("b.png", 64)]
    assert "or is gone: preview.png" in found["spool-shown"].why
    assert found["spool-mute"].facts == ()


@pytest.mark.parametrize(
    ("condition", "runs"),
    [
        ("lighthouse", ["broke"]),
        ("fox", ["broke"]),
        ("steps > 20 and status = 'failed'", ["broke"]),
        ("error has 'no room'", ["broke"]),
        ("lora.ink = 0.5 not fox", ["shown", "late", "stop", "again"]),
        (f"seed = {2**63}", ["stop"]),
        ("model is missing", ["mute"]),
        ("width = 64 status in ('cancelled', 'completed')", ["shown", "stop", "again"]),
        ("stars >= 1", []),
        ("timestamp < '2026-11-01T10:02'", ["again"]),
    ],
)
def test_filters_of_pictures_find_them(archive: Archive, condition: str, runs: list[str]) -> None:
    found = Blanks(archive).find(condition)
    assert [blank.run_id for blank in found.blanks] == [f"spool-{name}" for name in runs]
    assert found.count == sum(found.by_status.values()) == len(runs)


def test_an_import_of_failures_alone_says_where_they_are(
    tmp_path: Path, command: Safelight
) -> None:
    Spool(tmp_path / "output" / ".safelight-spool", tool="forge").append(status="failed", error="x")
    told = command("import", "output", "--archive", "archive").output
    assert "1 execution told by tools: 1 failed" in told
    assert "next: safelight find --no-picture --archive archive" in told
    assert "1 execution ended without a picture: 1 failed" in command(
        "find", "--no-picture", "--archive", "archive"
    ).output  # fmt: skip


def test_pages_follow_and_a_wrong_filter_is_said(archive: Archive) -> None:
    blanks, seen, after = Blanks(archive), list[str](), None
    for _ in range(3):
        found = blanks.find(limit=2, after=after)
        seen, after = [*seen, *(blank.run_id for blank in found.blanks)], found.after
    assert after is None
    assert len(seen) == len(set(seen)) == found.count == 6
    with pytest.raises(FilterError, match="no column 'stepps'; did you mean 'steps'"):
        blanks.find("stepps > 3")


def test_a_picture_of_another_execution_of_the_same_second_hides_none(tmp_path: Path) -> None:
    """Two cards draw side by side, their clock goes by seconds, and one picture is saved."""
    output, archive = tmp_path / "output", Archive(tmp_path / "archive")
    spool = Spool(output / ".safelight-spool", tool="diffusers")
    pixels = {name: Image.new("RGB", (20, 20), name) for name in ("teal", "navy")}
    for name, picture in pixels.items():
        spool.append(execution=name, parameters={"prompt": name}, outputs=[picture], seconds=5,
                     began="2026-11-01T11:00:00Z")  # fmt: skip
    import_folders([output], archive)
    blanks = Blanks(archive)
    assert blanks.find().count == 2
    pixels["teal"].save(output / "teal.png")
    import_folders([output], archive)
    assert [blank.run_id for blank in blanks.find().blanks] == ["spool-navy"]


def test_what_comes_later_is_found_by_who_asks_again(archive: Archive, tmp_path: Path) -> None:
    """A script saves its picture after its line was read: it is a picture then, and no blank."""
    archive = Archive(shutil.copytree(archive.path, tmp_path / "archive"))
    output = tmp_path / "output"
    output.mkdir()
    blanks = Blanks(archive)
    assert blanks.find(limit=0).count == 6
    pixels = Image.new("RGB", (20, 20), "teal")
    spool = Spool(output / ".safelight-spool", tool="diffusers")
    spool.append(execution="script", parameters={"prompt": "a teal"},
                 outputs=[pixels], seconds=2.5, began="2026-11-01T11:00:00Z")  # fmt: skip
    import_folders([output], archive)
    told = blanks.find("teal").blanks[0]
    assert told.why == "It came through; its picture was not saved, or not where somebody looks."
    pixels.save(output / "teal.png")
    import_folders([output], archive)
    assert blanks.find("teal").count == 0
    assert archive.query("teal").rows


def test_page_and_command_tell_the_same(
    archive: Archive, page: TestClient, command: Safelight
) -> None:
    here = ("--archive", str(archive.path))
    told = json.loads(command("find", "--no-picture", "--json", *here).output)
    listed = page.get("/executions").text
    assert re.findall(r'href="/runs/spool-(\w+)"', listed) == [
        row["run_id"].removeprefix("spool-") for row in told["rows"]
    ]
    text = html.unescape(listed)
    assert all(row["why"] in text for row in told["rows"])
    assert list(told["by_status"].items()) == [("failed", 3), ("cancelled", 1), ("completed", 2)]
    assert page.get("/api/executions", params={"q": "fox or cat"}).json() == {
        "count": 5, "words": "2 failed, 1 stopped, 2 no new picture",
    }  # fmt: skip
    assert "a <b>red</b> fox" in text
    assert "<b>red</b>" not in listed
    failed = page.get("/executions", params={"q": "cat", "ended": "failed"}).text
    assert re.findall(r'href="/runs/spool-(\w+)"', failed) == ["late"]
    wrong = page.get("/executions", params={"q": "stepps > 3"})
    assert wrong.status_code == 400
    assert "did you mean" in wrong.text
    shown = command("show", "spool-broke", *here).output
    for words in ("KSampler, node 3", "OutOfMemoryError: no room", "red", "30", "ink"):
        assert words in shown


def test_the_page_of_one_has_its_settings_and_asks_again(page: TestClient) -> None:
    broke = html.unescape(page.get("/runs/spool-broke").text)
    for words in ("Failed in ComfyUI", "KSampler, node 3", "no room for a lighthouse",
                  "LoRA ink.safetensors", "64 × 48"):  # fmt: skip
        assert words in broke
    assert "spool-broke" not in re.sub(r"<[^>]*>", "", broke), "a name for machines is shown"
    form = page.get("/runs/new", params={"run": "spool-broke"}).text
    begun = json.loads(re.findall(r'id="first">(.*?)</script>', form, re.DOTALL)[0])["config"]
    assert begun["txt2img"]["steps"] == 30
    assert begun["backend"] == "comfyui"
    late = page.get("/runs/spool-late").text
    assert "What it had saved before" in late
    assert re.search(r'href="/look/[0-9a-f]{64}"', late)
    assert "What was there already" in page.get("/runs/spool-again").text


def test_runs_are_those_of_safelight(page: TestClient) -> None:
    """Hundreds of executions of ComfyUI would hide them."""
    listed = page.get("/runs").text
    assert "sweep" in listed
    assert "spool-" not in listed
    assert "sweep" not in page.get("/executions").text


def test_browse_counts_them_by_its_filter_and_everybody_can_read_them(
    archive: Archive, browser: Browser
) -> None:
    with served(archive.path) as address:
        schemes: tuple[tuple[Literal["light", "dark"], int], ...] = (("light", 360), ("dark", 1280))
        for scheme, width in schemes:
            context = browser.new_context(
                viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True,
                reduced_motion="reduce",
            )  # fmt: skip
            page = context.new_page()
            page.set_default_timeout(180_000)
            page.goto(f"{address}/?q=fox")
            page.locator("#blanks:visible").wait_for()
            assert page.inner_text("#blanks") == "1 execution without a picture: 1 failed"
            page.goto(f"{address}/?q=cat")
            page.locator("#blanks:visible").wait_for()
            assert "4 executions without a picture: 1 failed, 1 stopped" in page.inner_text(
                "#blanks"
            )
            page.click("#blanks")
            page.wait_for_url("**/executions?q=cat")
            assert page.locator(".blank-list li").count() == 4
            for path in ("/executions", "/runs/spool-broke", "/runs/spool-again"):
                page.goto(address + path)
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                page.evaluate(AXE)
                found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
                assert [(one["id"], one["nodes"][0]["html"][:140]) for one in found] == []
            context.close()
