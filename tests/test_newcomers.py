"""Three newcomers type what the README says, as it stands there, and each comes to an answer.

Each has an empty home and an empty folder, and nothing but the commands of one of the README's
three ways in. The browser of theirs is a script that takes the link down.
"""

from __future__ import annotations

import contextlib
import html
import io
import json
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from backends.comfyui.fake_server import FakeComfyUI
from command_line import call
from safelight.application.first_steps import ASKED_PORTS
from safelight.archive import Archive
from safelight.timestamps import utc_timestamp

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
MOST_COMMANDS, MOST_WORDS_BEFORE, MOST_WORDS = 3, 330, 900
DOOR = re.compile(r"^\*\*(I have [^*]+)\*\*.*?^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOORS = {found[1]: found for found in DOOR.finditer(README)}

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="its browser is Linux's")


@dataclass
class Newcomer:
    """Somebody who has a home and types commands.

    Attributes:
        home: Theirs; the folder that they type in is inside.
        read: Words that they were told.
        typed: Commands.
        told: What the commands said, but for the page's.
    """

    home: Path
    read: int = 0
    typed: int = 0
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder = self.home / "work"
        programs = self.home / "bin"
        for folder in (self.folder, programs):
            folder.mkdir(parents=True)
        page = shlex.quote(str(self.home / "page"))
        texts = {
            "safelight": f'exec {shlex.quote(sys.executable)} -m safelight "$@"',
            "xdg-open": f"cp \"$1\" {page}.new && mv {page}.new {page}",
        }  # fmt: skip
        for name, text in texts.items():
            (programs / name).write_text(f"#!/bin/sh\n{text}\n", "utf-8")
            (programs / name).chmod(0o755)
        kept = {k: v for k, v in os.environ.items() if k in ("PYTHONPATH", "LANG", "TMPDIR")}
        path = [str(Path(one).resolve()) for one in kept.get("PYTHONPATH", "").split(":") if one]
        self.environ = {
            **kept, "HOME": str(self.home), "PYTHONPATH": ":".join(path),
            "PATH": f"{programs}:{os.environ['PATH']}", "COLUMNS": "80",
        }  # fmt: skip

    def goes_in(self, door: str, at_the_page: Callable[[httpx.Client], object]) -> str:
        """Type what the README has for *door*; return what was told."""
        found = DOORS[door]
        self.read += len(README[: found.end()].split())
        for line in found[2].splitlines():
            command = line.partition("  #")[0].strip()
            if not command:
                continue
            self.typed += 1
            program, *words = shlex.split(command)
            if program == "cd":
                self.folder /= words[0]
                assert self.folder.is_dir()
            elif words[:1] == ["serve"]:
                self._look(command, at_the_page)
            else:
                done = subprocess.run(
                    command, shell=True, cwd=self.folder, env=self.environ, text=True,
                    stdin=subprocess.DEVNULL, capture_output=True, timeout=300,
                )  # fmt: skip
                assert done.returncode == 0, (command, done.stdout, done.stderr)
                self.told.append(done.stdout)
                self.read += len((done.stdout + done.stderr).split())
        return "\n".join(self.told)

    def _look(self, command: str, act: Callable[[httpx.Client], object]) -> None:
        """Open the page by *command*, do something there, and end it by Ctrl-C."""
        with contextlib.closing(socket.socket()) as usual:
            usual.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                usual.bind(("127.0.0.1", 7321))
            except OSError:  # somebody else's, on a machine that is shared
                command += " --port 0"
        opened = self.home / "page"
        with subprocess.Popen(
            ["sh", "-c", f"exec {command}"], cwd=self.folder, env=self.environ,
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        ) as server:  # fmt: skip
            until = time.monotonic() + 120
            while not opened.exists():
                assert server.poll() is None, server.stderr and server.stderr.read()
                assert time.monotonic() < until, "no browser was opened"
                time.sleep(0.02)
            link = re.search(r"(http://[^/]+)/login#([\w-]+)", html.unescape(opened.read_text()))
            assert link is not None
            with httpx.Client(base_url=link[1], timeout=120, trust_env=False) as client:
                assert client.post("/login", json={"link": link[2]}).status_code == 200
                assert client.get("/").status_code == 200
                act(client)
            server.send_signal(signal.SIGINT)
            assert server.stderr is not None
            server.stderr.read()
            assert server.wait(120) == 0

    def check_effort(self) -> None:
        """It must stay short."""
        effort = f"{self.typed} commands, {self.read} words"
        print(effort)  # noqa: T201 - shown by pytest -s
        assert self.typed <= MOST_COMMANDS, effort
        assert self.read <= MOST_WORDS, effort


@pytest.fixture
def newcomer(tmp_path: Path) -> Newcomer:
    return Newcomer(tmp_path / "home")


def pictures_at(client: httpx.Client, q: str = "") -> list[dict[str, object]]:
    rows: list[dict[str, object]] = client.get("/api/pictures", params={"q": q}).json()["rows"]
    return rows


def test_the_readme_has_three_ways_in() -> None:
    """And each of them begins before somebody has read a page."""
    assert [name.split()[2].strip(",.") for name in DOORS] == [
        "pictures", "AUTOMATIC1111", "nothing",
    ]  # fmt: skip
    for found in DOORS.values():
        assert len(README[: found.end()].split()) <= MOST_WORDS_BEFORE
    assert "make" not in "".join(found[2] for found in DOORS.values())


@on_linux
def test_who_has_pictures_learns_which_settings_made_the_good_ones(newcomer: Newcomer) -> None:
    """Two pictures of each prompt that differ in steps alone; more steps are liked better."""
    folder = newcomer.home / "stable-diffusion" / "outputs"
    folder.mkdir(parents=True)
    for number in range(12):
        for steps in (10, 30):
            info = PngImagePlugin.PngInfo()
            info.add_text(
                "parameters", f"a lighthouse {number}\nSteps: {steps}, Sampler: Euler a, CFG scale:"
                f" 7, Seed: {number}, Size: 512x512, Model: v1-5, Version: v1.10.1",
            )  # fmt: skip
            noise = np.random.default_rng([number, steps]).integers(0, 256, (16, 16, 3), np.uint8)
            text = io.BytesIO()
            Image.fromarray(noise).save(text, "PNG", pnginfo=info)
            (folder / f"{number:05}-{steps}.png").write_bytes(text.getvalue())

    def rate(client: httpx.Client) -> None:
        rows = pictures_at(client)
        few = {row["sha256"] for row in pictures_at(client, "steps < 20")}
        assert (len(rows), len(few)) == (24, 12)
        random.Random(1).shuffle(rows)  # or it might be the order of rating, as effects would say
        for row in rows:
            event = {
                "event_id": uuid.uuid4().hex, "timestamp": utc_timestamp(), "kind": "stars",
                "image": {"sha256": row["sha256"]}, "value": 2 if row["sha256"] in few else 5,
            }  # fmt: skip
            assert client.post("/api/ratings", json={"events": [event]}).json()["accepted"]

    told = newcomer.goes_in("I have pictures.", rate)
    assert "24 imported" in told
    assert "Steps 30 is better than 10" in told
    newcomer.check_effort()


@on_linux
def test_who_has_an_engine_draws_and_sees_a_first_sweep(newcomer: Newcomer) -> None:
    """It is found where it listens by itself, and the config that is written runs there."""
    for port in ASKED_PORTS:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
            pytest.skip(f"somebody listens at port {port} of this machine: an engine, perhaps")
    with FakeComfyUI(port=8188):
        seen: list[int] = []
        (door,) = (name for name in DOORS if "ComfyUI" in name)
        told = newcomer.goes_in(door, lambda client: seen.append(len(pictures_at(client))))
    assert 'backend = "my-comfyui"' in told
    assert "completed: 8 pictures" in told
    assert seen == [8]
    newcomer.check_effort()


@dataclass
class Story:
    """What the first command of the help came to: what it told, and what the page shows."""

    folder: Path
    told: str
    at_the_page: int


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    newcomer = Newcomer(tmp_path_factory.mktemp("nothing") / "home")
    folder, seen = newcomer.folder, [48]
    if sys.platform == "linux":
        seen.clear()
        told = newcomer.goes_in(
            "I have nothing yet.",
            lambda client: seen.append(len(pictures_at(client, "stars >= 1"))),
        )
        newcomer.check_effort()
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            told = call("demo").stdout
    return Story(folder=folder, told=told, at_the_page=seen[0])


def test_who_has_nothing_sees_a_finished_story(story: Story) -> None:
    """Drawn, taken in, rated, answered; the page shows what the answer rests on."""
    assert "Start with: safelight demo" in call("--help").stdout
    assert [path.name for path in story.folder.iterdir()] == ["safelight-demo"]
    archive = Archive(story.folder / "safelight-demo" / "safelight")
    imported = archive.query("status = 'imported'", columns=["backend"], limit=None).rows
    assert {row[0] for row in imported} >= {"a1111-like", "comfyui", "imaginairy", "sdnext"}
    assert "sampler Euler a is better than DPM++ 2M" in " ".join(story.told.split())
    assert re.search(r"Steps 12 is better than 3: \+\d", story.told)
    (best,) = re.findall(r"^safelight-demo\S+\.png$", story.told, re.MULTILINE)
    assert (story.folder / best).is_file()
    assert "safelight serve --open --archive safelight-demo/safelight" in story.told
    assert story.at_the_page == 48


def test_a_story_is_told_again_and_never_put_into_what_is_somebodys(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second time nothing is drawn anew; other folders and archives stay as they are."""
    monkeypatch.chdir(story.folder)
    monkeypatch.setenv("SAFELIGHT_ARCHIVE", str(story.folder / "mine"))
    archive = story.folder / "safelight-demo" / "safelight"
    pictures = sorted(archive.rglob("*-txt2img-*.png"))
    again = call("demo", "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["rated"] == 48
    assert sorted(archive.rglob("*-txt2img-*.png")) == pictures
    for there in (archive, story.folder):
        before = sorted(there.rglob("*"))
        refused = call("demo", "--into", str(there))
        assert (refused.exit_code, "did not make it" in refused.output) == (2, True)
        assert sorted(there.rglob("*")) == before
    assert call("demo", "--archive", "mine").exit_code == 2
