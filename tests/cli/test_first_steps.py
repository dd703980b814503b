"""Pictures that the package ships, and ``safelight init``; demo is in tests/test_newcomers.py."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from backends.comfyui.fake_server import FakeComfyUI
from command_line import call
from safelight.application.config_text import write_config
from safelight.application.engine_list import EngineList
from safelight.application.examples import EXAMPLES
from safelight.application.first_steps import find_engines, first_config, keep_engine
from safelight.application.jobs import ready_job
from safelight.application.picture_settings import read_picture_file
from safelight.archive import Archive


def test_pictures_of_other_tools_in_the_package_are_few_and_licensed() -> None:
    """Small enough to ship, each named with where it is from, each read."""
    folder = EXAMPLES / "pictures"
    licences = (folder / "LICENCES.txt").read_text("utf-8")
    pictures = [path for path in folder.rglob("*") if path.suffix in (".png", ".jpg")]
    assert 4 <= len(pictures) <= 6
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 1_000_000
    for path in pictures:
        assert path.relative_to(folder).as_posix() in licences
        record = read_picture_file(path).record
        assert record is not None
        assert record.backend["name"], path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has a folder of ComfyUI's and some photos, and is in an empty folder."""
    for place, picture in (("ComfyUI/output", "comfyui/tile_upscale.png"),
                           ("Pictures", "imaginairy/aqua-dog.jpg")):  # fmt: skip
        (tmp_path / "home" / place).mkdir(parents=True)
        copy = tmp_path / "home" / place / Path(picture).name
        copy.write_bytes((EXAMPLES / "pictures" / picture).read_bytes())
    (tmp_path / "work").mkdir()
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))

    def nobody_listens(*_: object, **__: object) -> socket.socket:
        raise ConnectionRefusedError  # whatever runs on the machine of who runs the tests

    monkeypatch.setattr(socket, "create_connection", nobody_listens)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


def test_init_without_a_terminal_asks_nothing_and_reads_no_picture(home: Path) -> None:
    """It may be a script that runs it: folders are named, a config is written, and that is all."""
    result = call("init")
    assert result.exit_code == 0, result.output
    assert str(home / "ComfyUI" / "output") in result.stdout
    assert f"safelight import {home / 'ComfyUI' / 'output'}\n" in result.stdout
    assert [path.name for path in Path.cwd().iterdir()] == ["safelight.toml"]
    assert call("plan", "safelight.toml", "--json").exit_code == 0
    written = Path("safelight.toml").read_text("utf-8")
    (finds_out,) = (line for line in written.splitlines() if "safelight learn" in line)
    words = finds_out.partition("   find out")[0].split()[2:]
    assert call(*words, "--dry-run").exit_code == 0


def test_init_takes_in_what_tools_made_and_keeps_a_config_that_is_there(home: Path) -> None:
    """Photos are not taken in unless somebody says so; a config is never written over."""
    Path("safelight.toml").write_text("# mine\n", "utf-8")
    told = json.loads(call("init", "--yes", "--json").stdout)
    assert Path("safelight.toml").read_text("utf-8") == "# mine\n"
    assert (told["config_written"], len(told["next"])) == (False, 3)
    assert told["import"]["imported"] == 1
    rows = Archive("safelight").query(columns=["path"], limit=None).rows
    assert [Path(str(path)).name for (path,) in rows] == ["tile_upscale.png"]
    for command in told["next"]:
        assert call(*command.split()[1:2], "--help").exit_code == 0
    assert call("init", "--yes", "--no-import").exit_code == 2


@pytest.mark.parametrize(("typed", "read"), [("n\nn\n", []), ("y\nn\n", ["tile_upscale.png"])])
def test_in_a_terminal_init_asks_before_it_reads(home: Path, typed: str, read: list[str]) -> None:
    """For each folder by itself; what somebody says no to is not read."""
    pty = pytest.importorskip("pty")
    root = Path(__file__).parents[2]
    path = ":".join(str(root / one) for one in os.environ.get("PYTHONPATH", "").split(":") if one)
    terminal, inside = pty.openpty()
    os.write(terminal, typed.encode())
    done = subprocess.run(
        [sys.executable, "-m", "safelight", "init"], stdin=inside, stderr=inside, timeout=120,
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    os.close(terminal)
    os.close(inside)
    assert done.returncode == 0
    assert Path("safelight").exists() == bool(read)
    if read:
        rows = Archive("safelight").query(columns=["path"], limit=None).rows
        assert [Path(str(place)).name for (place,) in rows] == read


class _SaysYes(BaseHTTPRequestHandler):
    """A server of somebody's own that answers anything with JSON."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"status": "ok"}')

    def log_message(self, *_: object) -> None:
        pass


def work(config: Mapping[str, Any]) -> int:
    """Return how many pixels the longest of its pictures draws, each as often as it has steps."""
    stage, sweep = config["txt2img"], config["randomizer"]["sweep"]
    size: int = stage["width"] * stage["height"]
    most: int = max(sweep["txt2img.steps"])
    return size * most


def test_engines_of_this_machine_are_found_kept_once_and_configured(tmp_path: Path) -> None:
    """One that is none is told of and not kept; the first config draws on the one that is."""
    other = ThreadingHTTPServer(("127.0.0.1", 0), _SaysYes)
    threading.Thread(target=other.serve_forever, args=(0.01,), daemon=True).start()
    with FakeComfyUI() as comfy, socket.create_server(("127.0.0.1", 0)) as free:
        closed = free.getsockname()[1]
        free.close()
        found = find_engines([other.server_address[1], comfy.port, closed])
        assert [(one.backend, bool(one.told)) for one in found] == [("", True), ("comfyui", False)]
        engines = EngineList(tmp_path)
        engine = keep_engine(engines, found[1].url, "comfyui")
        assert keep_engine(engines, found[1].url, "comfyui") == engine
        assert list(engines.read()) == [engine.name]
        config, comments = first_config(engine, found[1].models)
        write_config(tmp_path / "first.toml", config, comments)
        job = ready_job(tmp_path / "first.toml", (), 1, {}, engines=engines)
        assert (job.plan.plan_size, job.asked) == (8, True)
        job.close()
        assert found[1].on_processor
        slow, why = first_config(engine, ["sd_xl_base_1.0.safetensors"], on_processor=True)
        quick, _ = first_config(engine, ["sd_xl_base_1.0.safetensors"])
        assert "\n".join(why).count("without a graphics card") == 1
        assert 8 * work(slow) <= work(quick), "or a first run takes an hour"
    other.shutdown()
    other.server_close()
