"""``safelight serve``: this machine only, unless there is a token; and it ends when it is told."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from safelight.cli.serve_command import _listening

TOKEN = "a very secret token"


def started(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "safelight", "serve", "--port", "0", *arguments],
        stderr=subprocess.PIPE, text=True, env={**os.environ, **environment},
    )  # fmt: skip


def test_it_tells_its_address_answers_and_ends(archive: Path) -> None:
    with started("--archive", str(archive)) as server:
        assert server.stderr is not None
        line = server.stderr.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert address
        assert httpx.get(address[0], timeout=120).status_code == 200
        server.send_signal(signal.SIGINT)
        rest = server.stderr.read()
        assert server.wait(120) == 0
        assert "Traceback" not in rest


def test_an_answer_does_not_wait_for_the_browser_to_confirm_its_head() -> None:
    """Asyncio leaves that on, at 40 ms an answer, for sockets that do not say they are TCP."""
    with _listening("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP


def test_an_empty_archive_is_served_and_says_how_to_begin(tmp_path: Path) -> None:
    with started("--archive", str(tmp_path / "nothing yet")) as server:
        assert server.stderr is not None
        address = re.search(r"http://\S+", server.stderr.readline())
        assert address
        for path in ("", "rate", "learn", "runs", "sheet", "compare", "api/facets", "runs/new"):
            assert httpx.get(address[0] + path, timeout=120).status_code == 200, path
        server.terminate()
        server.stderr.read()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1"])
def test_others_are_let_in_only_with_a_token(archive: Path, host: str) -> None:
    with started("--archive", str(archive), "--host", host) as server:
        assert server.stderr is not None
        assert "--token" in server.stderr.read()
        assert server.wait(120) == 2


def test_the_token_is_never_told(archive: Path) -> None:
    arguments = ("--archive", str(archive), "--host", "0.0.0.0")
    with started(*arguments, SAFELIGHT_TOKEN=TOKEN) as server:
        assert server.stderr is not None
        line = server.stderr.readline()
        address = re.search(r"http://\S+", line)
        assert address
        assert httpx.get(address[0] + "api/pictures", timeout=120).status_code == 401
        bearer = {"authorization": f"Bearer {TOKEN}"}
        answer = httpx.get(address[0] + "api/pictures", headers=bearer, timeout=120)
        assert answer.status_code == 200
        server.terminate()
        assert TOKEN not in line + server.stderr.read()
