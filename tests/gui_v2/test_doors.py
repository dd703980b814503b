"""Ways in: a folder, an engine's address, a first sheet; and a picture that is dropped."""

from __future__ import annotations

import base64
import contextlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from starlette.testclient import TestClient

from gui_v2.light_table import running_server
from gui_v2.test_light_table_page import AXE
from safelight.application.allowed_folders import AllowedFolders
from safelight.application.carrying_out import EngineRunner
from safelight.application.engine_list import EngineList
from safelight.application.posted_lines import SWARMUI_TEMPLATE
from safelight.archive import Archive
from safelight.archive_layout import pictures_folder
from safelight.cli.serving import TableServer
from safelight.controller import PipelineController
from safelight.imports.folder_import import import_folders
from safelight.web import create_app
from safelight.web.guard import LARGEST_BODY, LARGEST_PICTURE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BASE = "http://127.0.0.1"
BYTES = {"content-type": "application/octet-stream"}
TEXT = """a lighthouse at dusk
Negative prompt: blurry
Steps: 24, Sampler: Euler a, Schedule type: Automatic, CFG scale: 6, Seed: {seed}, Size: 32x32, \
Model: dreamshaper_8, Version: v1.10.1"""


def picture(path: Path, seed: int = 1, text: str = TEXT) -> Path:
    info = PngInfo()
    info.add_text("parameters", text.format(seed=seed))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32), (seed % 256, 40, 90)).save(path, pnginfo=info)
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """With ten pictures where ComfyUI puts them, a broken one and a film."""
    output = tmp_path / "home" / "ComfyUI" / "output"
    for seed in range(10):
        picture(output / f"{seed}.png", seed)
    (output / "broken.png").write_bytes(b"not a picture")
    (output / "film.mp4").write_bytes(b"")
    return tmp_path / "home"


@pytest.fixture
def table(tmp_path: Path, home: Path) -> Iterator[TestClient]:
    """A client of an archive without anything in it."""
    runner = EngineRunner(tmp_path / "archive", {})
    controller = PipelineController(runner)
    app = create_app(tmp_path / "archive", controller, settings=tmp_path / "settings", home=home)
    with TestClient(app, base_url=BASE) as client:
        yield client
    controller.cancel()
    controller.wait(60)
    runner.close()


def ended(table: TestClient, number: int) -> dict[str, Any]:
    assert table.app.state.table.imports.wait(number, 300)  # type: ignore[attr-defined]
    states = table.get("/api/imports").json()["imports"]
    return next(state for state in states if state["number"] == number)


# -- a folder ----------------------------------------------------------------------------


def test_usual_folders_are_offered_and_counted(table: TestClient, home: Path) -> None:
    told = table.get("/api/machine/places").json()
    output = str(home / "ComfyUI" / "output")
    assert {"name": "ComfyUI", "path": output} in told["usual"]
    counted = table.get("/api/machine/count", params={"path": output}).json()
    assert (counted["pictures"], counted["other_kinds"], counted["may"]) == (
        11,
        {"video": 1},
        False,
    )
    assert table.get("/api/machine/folder", params={"path": f"{output}/x"}).status_code == 400


def test_a_folder_is_asked_about_once_and_allowed_from_then_on(
    table: TestClient, tmp_path: Path, home: Path
) -> None:
    folder = str(home / "ComfyUI")
    asked = table.post("/api/imports", json={"folder": folder})
    assert folder in asked.json()["asks"]
    assert AllowedFolders(tmp_path / "settings").read() == ()
    assert table.get("/api/imports").json() == {"imports": []}
    begun = table.post("/api/imports", json={"folder": folder, "yes": True})
    state = ended(table, begun.json()["number"])
    assert (state["status"], state["summary"]["imported"]) == ("done", 10)
    assert AllowedFolders(tmp_path / "settings").read() == (Path(folder).resolve(),)
    again = table.post("/api/imports", json={"folder": f"{folder}/output"})
    assert "asks" not in again.json()
    assert ended(table, again.json()["number"])["summary"]["unchanged"] == 10


@pytest.mark.parametrize("folder", ["relative", "/", "/not/there", "a\nb", ""])
def test_what_may_not_be_imported_is_refused(table: TestClient, folder: str) -> None:
    assert table.post("/api/imports", json={"folder": folder, "yes": True}).status_code == 400
    assert table.get("/api/imports").json() == {"imports": []}


def test_the_archive_itself_is_no_folder_to_import(table: TestClient, tmp_path: Path) -> None:
    pictures_folder(tmp_path / "archive").mkdir(parents=True)
    answer = table.post("/api/imports", json={"folder": str(tmp_path / "archive"), "yes": True})
    assert (answer.status_code, "archive itself" in answer.text) == (400, True)


def test_imports_have_a_list_of_their_own_and_are_no_runs(
    table: TestClient, tmp_path: Path, home: Path
) -> None:
    import_folders([home], Archive(tmp_path / "archive"))
    headers = {"accept": "text/html"}
    told = table.get("/imports", headers=headers).text
    assert str(home) in told
    assert "<b>10</b> new" in told
    assert "1 could not be read" in told
    assert "not a PNG" in told
    runs = table.get("/runs", headers=headers).text
    assert "No run yet" in runs
    assert str(home) not in runs


# -- an engine ---------------------------------------------------------------------------


@contextlib.contextmanager
def comfyui() -> Iterator[str]:
    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            there = self.path == "/system_stats"
            self.send_response(200 if there else 404)
            self.end_headers()
            self.wfile.write(b'{"system": {}}' if there else b"")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_an_address_becomes_an_engine_of_the_list_once(table: TestClient, tmp_path: Path) -> None:
    with comfyui() as first, comfyui() as second:
        answers = [
            table.post("/api/engines/connect", json={"url": url}).json()
            for url in (first, f"http://{first}/", second)
        ]
    assert [answer["name"] for answer in answers] == ["my-comfyui", "my-comfyui", "my-comfyui-2"]
    assert set(EngineList(tmp_path / "settings").read()) == {"my-comfyui", "my-comfyui-2"}
    form = table.get("/runs/new", params={"engine": "my-comfyui"}).text
    assert '"backend":"my-comfyui"' in form


def test_where_nobody_answers_that_is_said_and_nothing_kept(
    table: TestClient, tmp_path: Path
) -> None:
    with comfyui() as address:
        pass
    answer = table.post("/api/engines/connect", json={"url": address})
    assert answer.status_code == 400
    assert address in answer.json()["error"]
    assert EngineList(tmp_path / "settings").read() == {}


# -- a picture that is handed over ---------------------------------------------------------


def handed(table: TestClient, data: bytes, where: str = "", **more: Any) -> Any:
    name = more.pop("name", "a.png")
    return table.post(
        f"/api/dropped{where}", params={"name": name}, content=data, headers=BYTES | more
    )


def test_a_dropped_picture_is_told_and_nothing_of_it_is_kept(
    table: TestClient, tmp_path: Path
) -> None:
    data = picture(tmp_path / "a.png", seed=18446744073709551615).read_bytes()
    told = handed(table, data).json()
    assert [one["name"] for one in told["settings"]][:3] == ["model", "sampler", "scheduler"]
    assert (told["tool"], told["engine"], told["known"]) == ("a1111", "webui", False)
    assert told["config"]["backend"] == "webui"
    assert "18446744073709551615" in told["toml"]
    assert told["alike"] is None
    assert not (tmp_path / "archive").exists()


def test_others_are_found_by_as_many_settings_as_are_shared(
    table: TestClient, tmp_path: Path, home: Path
) -> None:
    import_folders([home], Archive(tmp_path / "archive"))
    data = picture(tmp_path / "a.png", seed=77).read_bytes()
    alike = handed(table, data).json()["alike"]
    assert (alike["count"], alike["by"][-1]) == (10, "size")
    found = table.get("/api/pictures", params={"q": alike["q"]}).json()["rows"]
    assert len(found) == 10
    other = picture(tmp_path / "b.png", 78, TEXT.replace("Steps: 24", "Steps: 8")).read_bytes()
    alike = handed(table, other).json()["alike"]
    assert (alike["count"], alike["by"][-1]) == (10, "scheduler")
    known = handed(table, (home / "ComfyUI/output/3.png").read_bytes()).json()
    assert (known["known"], known["alike"]["count"]) == (True, 9)
    found = table.get("/api/pictures", params={"q": known["alike"]["q"]}).json()["rows"]
    assert len(found) == 9  # what is shown is what was told: that picture is none of its others


def test_a_dropped_picture_is_kept_when_that_is_asked_for(
    table: TestClient, tmp_path: Path
) -> None:
    data = picture(tmp_path / "a.png").read_bytes()
    begun = handed(table, data, "/keep", name="../../ev\u202eil.png").json()
    assert ended(table, begun["number"])["summary"]["imported"] == 1
    (row,) = table.get("/api/pictures").json()["rows"]
    assert row["sha256"] == begun["sha256"]
    assert table.get(f"/pictures/{row['sha256']}").content == data
    kept = [path for path in pictures_folder(tmp_path / "archive").rglob("*") if path.is_file()]
    assert [path.suffix for path in kept] == [".png"]
    assert "dropped" in kept[0].parts
    assert handed(table, data, "/keep").json()["number"] is None


def test_what_is_no_picture_or_far_too_large_is_refused(table: TestClient, tmp_path: Path) -> None:
    refused = handed(table, b"MZ no picture", name="setup.exe")
    assert (refused.status_code, "setup.exe" in refused.json()["error"]) == (422, True)
    assert handed(table, b"MZ no picture", "/keep").status_code == 422
    data = picture(tmp_path / "a.png").read_bytes()
    padded = data + bytes(LARGEST_BODY)
    assert handed(table, padded).status_code == 200
    too_large = {"content-length": str(LARGEST_PICTURE + 1)}
    assert handed(table, data, **too_large).status_code == 413
    assert table.post("/api/ratings", content=padded).status_code == 413
    plain = table.post("/api/dropped", content=data, headers={"content-type": "text/plain"})
    assert plain.status_code == 400
    assert not (tmp_path / "archive").exists()


# -- in a browser ------------------------------------------------------------------------


@pytest.fixture
def address(tmp_path: Path, home: Path) -> Iterator[str]:
    """An empty archive, served."""
    archive = tmp_path / "archive"
    runner = EngineRunner(archive, {})
    controller = PipelineController(runner)
    app = create_app(archive, controller, settings=tmp_path / "settings", home=home)
    config = uvicorn.Config(app, log_level="error", lifespan="on", timeout_graceful_shutdown=1)
    with running_server(TableServer(config)) as (host, port):
        yield f"http://{host}:{port}"
    controller.cancel()
    controller.wait(60)
    runner.close()


DROP = """([data, name]) => {
  const bytes = Uint8Array.from(atob(data), (sign) => sign.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name, {type: "image/png"}));
  const event = new DragEvent("drop", {dataTransfer, cancelable: true, bubbles: true});
  document.body.dispatchEvent(event);
  return event.defaultPrevented;
}"""


def test_an_empty_archive_has_three_doors_and_a_folder_comes_in(page: Page, address: str) -> None:
    page.goto(address)
    assert page.locator(".door h2").all_inner_texts() == [
        "My pictures", "My web UI or ComfyUI", "Show me",
    ]  # fmt: skip
    assert not page.locator("#facets").is_visible()
    page.get_by_role("button", name="Choose a folder").click()
    page.get_by_role("button", name="Import 11 pictures").wait_for()
    page.fill("[name=folder]", "/not/there")
    begin, told = page.locator(".choose-folder .dialog-acts button").first, ".folder-told"
    assert begin.is_disabled(), "another folder than the field says would be imported"
    assert page.inner_text(told) == "Press Open to count what is in it."
    page.keyboard.press("Enter")
    page.locator(".choose-folder .fault:not(:empty)").wait_for()
    assert begin.is_disabled()
    assert page.inner_text(told) == ""
    page.locator(".usual button", has_text="ComfyUI").click()
    page.get_by_role("button", name="Import 11 pictures").click()
    page.get_by_role("button", name="Yes, import").click()
    page.locator(".import-done").wait_for(timeout=300_000)
    told = page.locator(".import-done").inner_text()
    assert "ComfyUI/output is in" in told
    assert "10 new" in told
    assert "1 could not be read" in told
    page.locator(".tile").first.wait_for()
    assert page.locator(".door").count() == 0
    assert page.get_by_role("button", name="Import pictures").is_visible()
    page.get_by_role("link", name="What is in here").click()
    page.locator(".next-step").wait_for(timeout=300_000)
    page.goto(f"{address}/imports")
    assert page.locator(".import-list > li").count() == 1


def test_a_picture_dropped_anywhere_shows_its_settings_and_runs_again(
    page: Page, address: str, tmp_path: Path
) -> None:
    data = picture(tmp_path / "mine.png", seed=18446744073709551615).read_bytes()
    for view in ("/", "/rate", "/learn", "/imports"):
        page.goto(address + view)
        page.wait_for_load_state("load")
        assert page.evaluate(DROP, [base64.b64encode(data).decode(), "mine.png"])
        page.locator("dialog.dropped .facts").first.wait_for()
        names = page.locator("dialog.dropped .facts dt").all_inner_texts()
        assert names[:3] == ["Model", "Sampler", "Scheduler"]
    page.get_by_role("button", name="Run again").click()
    page.wait_for_url("**/runs/new")
    page.get_by_role("heading", name="Run again with changes").wait_for()
    assert "18446744073709551615" in page.locator("#toml").input_value()
    page.reload()
    page.get_by_role("heading", name="New run").wait_for()


def test_a_tool_that_no_engine_speaks_to_makes_the_page_ask(
    page: Page, address: str, tmp_path: Path
) -> None:
    text = '{"prompt": "a hill", "steps": 28, "seed": 5, "sampler": "k_euler", "scale": 5}'
    info = PngInfo()
    info.add_text("Software", "NovelAI")
    info.add_text("Description", "a hill")
    info.add_text("Comment", text)
    Image.new("RGB", (32, 32)).save(tmp_path / "n.png", pnginfo=info)
    data = base64.b64encode((tmp_path / "n.png").read_bytes()).decode()
    page.goto(address)
    page.locator(".door").first.wait_for()
    page.evaluate(DROP, [data, "n.png"])
    page.get_by_role("button", name="Run again").click()
    page.wait_for_url("**/runs/new")
    page.get_by_text("Choose the engine that draws it.", exact=True).wait_for()
    assert page.locator("#start").is_disabled()
    page.locator("input[name=backend]").fill("bundled")
    page.locator("#start:enabled").wait_for()


def test_a_dozen_pictures_are_drawn_at_a_press(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("button", name="Draw a dozen").click()
    page.locator(".tile:visible").nth(11).wait_for(timeout=300_000)
    assert page.locator(".door").count() == 0


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1440, "light")])
def test_ways_in_are_legible_named_and_fit_the_screen(
    browser: Browser, address: str, tmp_path: Path, width: int, scheme: Any
) -> None:
    data = base64.b64encode(picture(tmp_path / "mine.png").read_bytes()).decode()
    context = browser.new_context(
        viewport={"width": width, "height": 844}, color_scheme=scheme, bypass_csp=True,
        reduced_motion="reduce",
    )  # fmt: skip
    page = context.new_page()
    found: list[tuple[str, str, str]] = []

    def look(what: str) -> None:
        page.evaluate(AXE)
        faults = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        found.extend((what, fault["id"], fault["nodes"][0]["html"][:140]) for fault in faults)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, what

    page.goto(address)
    page.locator(".door").first.wait_for()
    look("doors")
    page.get_by_role("button", name="Choose a folder").click()
    page.get_by_role("button", name="Import 11 pictures").wait_for()
    look("folder")
    page.get_by_role("button", name="Cancel").click()
    page.evaluate(DROP, [data, "mine.png"])
    page.locator("dialog.dropped .facts").first.wait_for()
    look("dropped")
    page.goto(f"{address}/imports")
    page.get_by_text("What other tools draw").click()
    look("imports")
    context.close()
    assert found == []


def test_the_page_hands_out_what_other_tools_post_with(page: Page, address: str) -> None:
    page.goto(f"{address}/imports")
    page.get_by_text("What other tools draw").click()
    for button, told in (("Copy the address", f"{address}/api/spool"),
                         ("Copy SwarmUI’s data", SWARMUI_TEMPLATE)):  # fmt: skip
        page.get_by_role("button", name=button).click()
        page.get_by_text("Copied.").last.wait_for()
        page.wait_for_function("t => navigator.clipboard.readText().then((c) => c === t)", arg=told)
