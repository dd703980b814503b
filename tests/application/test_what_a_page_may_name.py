"""A config from the page names no file and no address but those that the owner allows."""

from __future__ import annotations

import http.server
import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from command_line import Safelight
from safelight.allowed_files import RULE
from safelight.application.allowed_folders import AllowedFolders
from safelight.application.carrying_out import EngineRunner
from safelight.application.page_configs import PageConfigs
from safelight.config import PipelineConfig
from safelight.config_schema import TEXTS, config_schema
from safelight.controller import PipelineController
from safelight.knobs import KNOBS, STAGES
from safelight.learning import read_records
from safelight.line_checksums import with_checksum
from safelight.pipeline import CancelToken, RunProgress
from safelight.web import create_app

posix = pytest.mark.skipif(sys.platform == "win32", reason="links and pipes of POSIX")
DRAWN = {"prompt": "x", "steps": 1, "width": 64, "height": 64, "seed": 1}


class Place:
    """An archive with a page over it, and things beside it that are nobody's business."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.archive = folder / "archive"
        self.pictures = self.archive / "images"
        self.pictures.mkdir(parents=True)
        self.settings = folder / "settings"
        self.outside = folder / "outside"
        self.outside.mkdir()
        for name in (self.pictures / "in.png", self.outside / "out.png"):
            Image.new("RGB", (64, 64), "red").save(name)
        (self.outside / "keys.txt").write_text("TOP-SECRET-LINE-1\nTOP-SECRET-LINE-2\n", "utf-8")
        (self.outside / "flow.json").write_text("{}", "utf-8")
        self.runner = EngineRunner(self.archive, {"SECRET": "TOP-SECRET"})
        self.controller = PipelineController(self.runner)
        app = create_app(
            self.archive, self.controller, allow=[folder / "shared"], settings=self.settings
        )
        self.client = TestClient(app, base_url="http://127.0.0.1")

    def plan(self, **config: Any) -> Any:
        return self.client.post("/api/plan", json={"config": config})

    def start(self, **config: Any) -> Any:
        return self.client.post("/api/runs", json={"config": config})

    def refusal(self, **config: Any) -> str:
        """Return why *config* is refused, the same whether it is planned or started."""
        told = {
            (a.status_code, a.json()["error"]) for a in (self.plan(**config), self.start(**config))
        }
        ((status, message),) = told
        assert status == 400
        assert "TOP-SECRET" not in message
        return str(message)

    def drawn(self, **config: Any) -> dict[str, Any]:
        """Start *config* and return how it ended."""
        answer = self.start(**config)
        assert answer.status_code == 202, answer.text
        assert self.controller.wait(60)
        runs = self.client.get("/api/runs").json()["runs"]
        return next(run for run in runs if run["number"] == answer.json()["number"])


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    with made.client, closing(made.runner):
        yield made
        made.controller.cancel()
        made.controller.wait(60)


class _Listener(http.server.BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(f"{self.path} {self.headers.get('Authorization')}")
        self.send_response(404)
        self.end_headers()

    do_POST = do_GET  # noqa: N815 - http.server's name

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """A server that writes down who asked it."""
    asked: list[str] = []
    handler = type("Handler", (_Listener,), {"asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()
        thread.join()


def with_picture(name: str, knob: str = "init_image") -> dict[str, Any]:
    names = {"init_image": "in.png", knob: name} if knob == "mask" else {knob: name}
    return {"backend": "fake", "img2img": {**DRAWN, **names}}


# -- every text says what it is ------------------------------------------------------------


def texts_of(schema: Any, path: str, root: dict[str, Any]) -> Iterator[str]:
    """Yield the dotted path of everything in *schema* that may be text, lists without a number."""
    if not isinstance(schema, dict):
        return
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if schema.get("type") == "string":
        yield path
    for key in ("anyOf", "allOf", "oneOf"):
        for each in schema.get(key, ()):
            if path:
                yield from texts_of(each, path, root)
    yield from texts_of(schema.get("items"), path, root)
    for name, each in schema.get("properties", {}).items():
        below = f"{path}.{name}" if path else name
        if not below.startswith(KNOBS_AGAIN):
            yield from texts_of(each, below, root)


KNOBS_AGAIN = ("randomizer.sweep.", "randomizer.settings.", "randomizer.sub_sweeps.")


def test_every_text_of_a_config_says_what_it_is() -> None:
    """A new one that names a file would else be read from wherever a page says."""
    schema = config_schema()
    found = set(texts_of(schema, "", schema))
    knobs = {f"{stage}.{k.name}" for k in KNOBS.values() for stage in k.stages if k.means}
    assert knobs <= found
    assert found - knobs == set(TEXTS)
    for path, meaning in TEXTS.items():
        assert not path.endswith(("_dir", "_file", "_path")) or meaning == "file", path


# -- files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("knob", ["init_image", "mask"])
def test_pictures_of_the_archive_may_be_named(
    place: Place, knob: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.pictures)
    for name in ("in.png", str(place.pictures / "in.png"), "../images/in.png"):
        assert place.plan(**with_picture(name, knob)).status_code == 200
        assert place.drawn(**with_picture(name, knob))["status"] == "completed"


@posix
@pytest.mark.parametrize("knob", ["init_image", "mask"])
def test_other_pictures_are_refused_and_nobody_learns_whether_they_are_there(
    place: Place, knob: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.pictures)
    (place.pictures / "link.png").symlink_to(place.outside / "out.png")
    (place.pictures / "folder").symlink_to(place.outside)
    os.mkfifo(place.pictures / "pipe.png")
    (place.outside / "closed.png").write_bytes(b"x")
    (place.outside / "closed.png").chmod(0)
    for name in (
        "link.png", "folder/out.png", "folder/none.png", "pipe.png", "none.png", "../../outside",
        "../../outside/out.png", "../../outside/none.png", str(place.outside / "out.png"),
        str(place.outside / "closed.png"), str(place.outside / "none.png"), "/etc/passwd",
        "/dev/zero", "/proc/self/environ", str(place.archive / "records"), "a\0b", "~/x.png",
    ):  # fmt: skip
        told = place.refusal(**with_picture(name, knob))
        assert told == f"img2img.{knob}: {name!r} {RULE}"


def test_a_name_of_any_length_is_refused_at_once(place: Place) -> None:
    """To follow the links in a megabyte of folders would take for ever."""
    told = place.refusal(**with_picture("a/" * 400_000))
    assert told.endswith(RULE)
    assert len(told) < 1100
    assert len(place.refusal(backend="b" * 400_000, txt2img=DRAWN)) < 1100


@posix
def test_what_varies_is_looked_at_as_well(place: Place) -> None:
    out, none = str(place.outside / "out.png"), str(place.outside / "none.png")
    good = str(place.pictures / "in.png")
    stated = {"backend": "fake", "img2img": DRAWN}
    swept = {"mode": "fanout", "sweep": {"img2img.init_image": [good, out, none]}}
    both = place.refusal(
        **{**stated, "backend": {"name": "comfyui", "workflow": none}}, randomizer=swept
    )
    assert both.count(RULE) == 3  # everything is told at once
    message = place.refusal(**stated, randomizer=swept)
    assert message.count(RULE) == 2
    together = {
        "mode": "fanout",
        "settings": [{"img2img.init_image": each} for each in (good, out)],
    }
    assert place.refusal(**stated, randomizer=together).startswith(
        f"randomizer.settings[1].img2img.init_image: {out!r} "
    )
    apart = {"sub_sweeps": [{"img2img.init_image": [good]}, {"img2img.init_image": [out]}]}
    assert place.refusal(**stated, randomizer=apart).startswith(
        f"randomizer.sub_sweeps[1].img2img.init_image: {out!r} "
    )


@posix
def test_wildcards_are_read_from_allowed_folders_only(place: Place) -> None:
    """And a file in one that leads out of it is not there."""
    shared = place.folder / "shared"
    shared.mkdir()
    (shared / "colour.txt").write_text("red\nblue\n", "utf-8")
    (shared / "keys.txt").symlink_to(place.outside / "keys.txt")
    (shared / "more").symlink_to(place.outside)
    os.mkfifo(shared / "pipe.txt")

    def wild(folder: Path, prompt: str) -> dict[str, Any]:
        randomizer = {"mode": "fanout", "wildcards_dir": str(folder)}
        return {"backend": "fake", "txt2img": {**DRAWN, "prompt": prompt}, "randomizer": randomizer}

    assert place.plan(**wild(shared, "__colour__")).json()["plan_size"] == 2
    for folder in (place.outside, place.outside / "none", Path("/etc"), shared / "more",
                   shared / "none", shared / "colour.txt", place.archive / "records"):  # fmt: skip
        told = place.refusal(**wild(folder, "__keys__"))
        assert told == f"randomizer.wildcards_dir: {str(folder)!r} {RULE}"
    for prompt in ("__keys__", "__more/keys__", "__pipe__"):
        assert "unknown wildcard" in place.refusal(**wild(shared, prompt))


@posix
def test_prompts_are_read_from_allowed_files_only_and_so_are_pictures_in_their_rows(
    place: Place,
) -> None:
    """A fault quotes the line that it is in: whoever may name any file could read it so."""
    shared = place.folder / "shared"
    shared.mkdir()
    (shared / "p.txt").write_text("red\nblue\n", "utf-8")
    (shared / "link.txt").symlink_to(place.outside / "keys.txt")
    os.mkfifo(shared / "pipe.txt")

    def from_file(name: Path | str, stage: str = "txt2img") -> dict[str, Any]:
        drawn = {knob: value for knob, value in DRAWN.items() if knob != "prompt"}
        randomizer = {"prompts": {"file": str(name), "format": "lines"}}
        return {"backend": "fake", stage: drawn, "randomizer": randomizer}

    assert place.plan(**from_file(shared / "p.txt")).json()["plan_size"] == 2
    assert place.drawn(**from_file(shared / "p.txt"))["status"] == "completed"
    for name in ("link.txt", "pipe.txt", "none.txt", "../outside/keys.txt"):
        told = place.refusal(**from_file(shared / name))
        assert told == f"randomizer.prompts.file: {str(shared / name)!r} {RULE}"
    for path in (place.outside / "keys.txt", "/etc/passwd", "/root/x", shared):
        told = place.refusal(**from_file(path))
        assert told == f"randomizer.prompts.file: {str(path)!r} {RULE}"

    both = from_file("/etc/passwd") | {"backend": {"name": "comfyui", "workflow": "/etc/x"}}
    assert place.refusal(**both).count(RULE) == 2  # everything is told at once
    good = place.pictures / "in.png"
    for picture in (place.outside / "out.png", place.outside / "none.png", "/etc/passwd",
                    shared / "none.png", shared / "pipe.txt"):  # fmt: skip
        (shared / "p.txt").write_text(f"--init_image {good}\n--init_image {picture}\n", "utf-8")
        told = place.refusal(**from_file(shared / "p.txt", "img2img"))
        assert told == (
            f"randomizer.prompts: {shared / 'p.txt'}, line 2, --init_image: {str(picture)!r} {RULE}"
        )


@posix
@pytest.mark.parametrize(
    ("backend", "option"),
    [("comfyui", "workflow"), ("bundled", "model_dir"), ("diffusers", "lora_dir"),
     ("diffusers", "upscaler_dir"), ("diffusers", "single_file_config"), ("diffusers", "model")],
)  # fmt: skip
def test_files_of_engines_are_refused_alike(place: Place, backend: str, option: str) -> None:
    for name in ("/etc/passwd", "/etc/no-such-file", str(place.outside / "flow.json"),
                 str(place.outside), "/root/x", "../outside/flow.json"):  # fmt: skip
        told = place.refusal(backend={"name": backend, option: name}, txt2img=DRAWN)
        assert told == f"backend.{option}: {name!r} {RULE}"


def test_a_model_that_can_run_code_is_refused_by_its_name(place: Place) -> None:
    for name in ("/etc/none.ckpt", str(place.pictures / "m.pt")):
        told = place.refusal(backend={"name": "diffusers", "model": name}, txt2img=DRAWN)
        assert "never comes from a page" in told or RULE in told


@posix
def test_a_picture_that_is_swapped_after_the_plan_is_not_read(place: Place) -> None:
    """It is opened anew when it is drawn, and looked at anew."""
    picture = place.pictures / "in.png"
    configs = PageConfigs(archive=place.archive)
    config = configs.read(with_picture(str(picture)))
    picture.unlink()
    picture.symlink_to(place.outside / "out.png")
    result = place.runner.run(config)
    assert result.status == "failed"
    assert RULE in result.failures[0].error
    assert place.runner.run(PipelineConfig.as_stated(with_picture(str(picture)))).images


# -- engines -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["webui", "comfyui", "openai-images"])
def test_a_page_sends_requests_nowhere(
    place: Place, listener: tuple[str, list[str]], name: str
) -> None:
    url, asked = listener
    is_keyed = name == "openai-images"
    secrets = {"api_key": "plain"} if is_keyed else {"password": "env:SECRET", "user": "u"}
    for option in ({"url": url}, {"url": url, **secrets}):
        told = place.refusal(backend={"name": name, **option}, txt2img=DRAWN)
        assert told.count("never comes from a page: name the engine in your list") == len(option)
    assert asked == []


def test_a_variable_is_taken_for_an_engine_of_the_list_only(
    place: Place, listener: tuple[str, list[str]]
) -> None:
    url, asked = listener
    assert "fail_on: never comes" in place.refusal(
        backend={"name": "fake", "fail_on": "env:SECRET"}, txt2img=DRAWN
    )
    place.settings.mkdir(mode=0o700)
    (place.settings / "engines.toml").write_text(
        f'[engines.mine]\nbackend = "webui"\nurl = "{url}"\nuser = "u"\npassword = "env:SECRET"\n'
    )
    (place.settings / "engines.toml").chmod(0o600)
    assert place.plan(backend="mine", txt2img=DRAWN).json()["backend"] == "mine"
    ended = place.drawn(backend="mine", txt2img=DRAWN)
    assert ended["status"] == "failed"
    assert asked
    assert all(each.endswith("Basic dTpUT1AtU0VDUkVU") for each in asked)
    for answer in (place.client.get("/api/engines"), place.client.get("/runs/new")):
        assert "mine" in answer.text
        assert not any(secret in answer.text for secret in (url, "SECRET"))


def stopped_run(place: Place, backend: Any) -> str:
    """Draw a part of a plan on the fake engine; return its run, which says *backend*."""
    cancel = CancelToken()

    def stop(progress: RunProgress) -> None:
        if progress.event == "variant" and progress.variant >= 1:
            cancel.cancel()

    config = {"backend": {"name": "fake", "seconds_per_step": 0.01}, "txt2img": {
        **DRAWN, "steps": 2}, "randomizer": {"mode": "fanout", "seeds_per_variant": 4}}  # fmt: skip
    result = place.runner.run(config, cancel=cancel, on_progress=stop)
    assert result.status == "cancelled"
    (journal,) = place.pictures.rglob("journal.jsonl")
    lines = [json.loads(line) for line in journal.read_bytes().splitlines()]
    stated = json.dumps(config["backend"])
    assert stated in lines[0]["resume"]["config"]
    lines[0]["resume"]["config"] = lines[0]["resume"]["config"].replace(stated, json.dumps(backend))
    for line in lines:
        line.pop("check")
    checked = [with_checksum(json.dumps(line).encode()) for line in lines]
    journal.write_bytes(b"".join(line + b"\n" for line in checked))
    return result.run_id


@pytest.mark.parametrize("door", ["page", "command"])
def test_a_record_sends_requests_nowhere(
    place: Place, listener: tuple[str, list[str]], door: str, command: Safelight
) -> None:
    """Going on with a foreign run is no way to give away what is in the environment."""
    url, asked = listener
    foreign = {"name": "webui", "url": url, "user": "u", "password": "env:SECRET"}
    run = stopped_run(place, foreign)
    if door == "page":
        answer = place.client.post(f"/api/runs/{run}/go-on", json={})
        assert answer.status_code == 400
        told = answer.json()["error"]
        assert "Go on with this run" not in place.client.get(f"/runs/{run}").text
    else:
        done = command("run", "--resume", run, "--archive", str(place.archive))
        assert done.exit_code == 2
        told = done.output
    assert "your list has none there" in told
    assert f"safelight engines add NAME {url}" in told
    assert asked == []
    assert len(list(read_records(place.archive / "records"))) == 1


def test_a_record_of_an_engine_of_the_list_goes_on(
    place: Place, listener: tuple[str, list[str]]
) -> None:
    """With the login of the list, and not that of the record."""
    url, asked = listener
    run = stopped_run(place, {"name": "webui", "url": url, "user": "x", "password": "env:HOME"})
    place.settings.mkdir(mode=0o700)
    (place.settings / "engines.toml").write_text(
        f'[engines.mine]\nbackend = "webui"\nurl = "{url}/"\nuser = "u"\npassword = "env:SECRET"\n'
    )
    (place.settings / "engines.toml").chmod(0o600)
    assert place.client.post(f"/api/runs/{run}/go-on", json={}).status_code == 202
    assert place.controller.wait(60)
    assert asked
    assert all(each.endswith("Basic dTpUT1AtU0VDUkVU") for each in asked)


# -- what the owner adds -------------------------------------------------------------------


@posix
def test_folders_that_the_owner_adds_count_at_once(place: Place) -> None:
    out = str(place.outside / "out.png")
    place.refusal(**with_picture(out))
    added = place.client.post("/api/folders", json={"folder": str(place.outside)})
    assert (added.status_code, added.json()["added"]) == (201, [str(place.outside)])
    assert place.plan(**with_picture(out)).status_code == 200
    assert (place.settings / "folders.toml").stat().st_mode & 0o777 == 0o600
    for folder in ("relative", "/", "/no/such/folder", "", "a\0b", out):
        assert place.client.post("/api/folders", json={"folder": folder}).status_code == 400
    gone = place.client.request("DELETE", "/api/folders", json={"folder": str(place.outside)})
    assert (gone.status_code, gone.json()["added"]) == (200, [])
    place.refusal(**with_picture(out))
    again = place.client.request("DELETE", "/api/folders", json={"folder": str(place.outside)})
    assert again.status_code == 400
    assert place.client.get("/api/folders").json() == {
        "pictures": str(place.pictures), "allowed": [str(place.folder / "shared")], "added": [],
    }  # fmt: skip


@posix
def test_folders_are_added_at_both_doors(
    place: Place, command: Safelight, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(place.folder / "home"))
    page = AllowedFolders(place.folder / "home" / "safelight")
    (place.folder / "alias").symlink_to(place.outside)
    added = command("folders", "add", "alias")
    assert (added.exit_code, str(place.outside) in added.output) == (0, True)
    assert page.read() == (place.outside,)
    assert json.loads(command("folders", "--json").stdout) == [str(place.outside)]
    absent = command("folders", "add", "no-such-folder")
    assert (absent.exit_code, "is no folder that there is" in absent.output) == (2, True)
    page.remove(place.outside)
    assert command("folders").stdout == ""
    assert command("folders", "remove", "alias").exit_code == 2


def test_an_engine_is_added_by_name_once_it_answers(
    place: Place, listener: tuple[str, list[str]]
) -> None:
    url, asked = listener
    none = place.client.post("/api/engines", json={"name": "mine", "url": url})
    assert none.status_code == 400
    assert "no engine that safelight knows" in none.text
    assert asked
    port = place.client.post("/api/engines", json={"name": "mine", "url": f"{url}/401"})
    assert "no engine that safelight knows" in port.text  # a number of an address is no answer
    for name, other in (("mine", "file:///etc/passwd"), ("fake", url), ("", ""), ("a", "x" * 9999)):
        answer = place.client.post("/api/engines", json={"name": name, "url": other})
        assert answer.status_code == 400
    assert place.client.get("/api/engines").json()["engines"] == []


@pytest.mark.parametrize("stage", STAGES)
def test_every_form_field_can_still_be_planned(place: Place, stage: str) -> None:
    """What is refused is refused for files and addresses only."""
    stated = {"prompt": "x"} if stage != "upscale" else {}
    if stage != "txt2img":
        stated["init_image"] = str(place.pictures / "in.png")
    answer = place.plan(backend="fake", **{stage: stated})
    assert answer.status_code == 200, answer.text
