"""``safelight serve``: whom it lets in, what it tells, and that it ends when it is told."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from safelight.cli.serve_command import _listening

TOKEN = "a very secret token"


def started(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "safelight", "serve", "--port", "0", *arguments],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize("again", [1, 3])
def test_it_tells_its_address_answers_and_ends(archive: Path, again: int) -> None:
    with started("--archive", str(archive)) as server:
        assert server.stderr is not None
        line = server.stderr.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert address
        assert httpx.get(address[0] + "login", timeout=120).status_code == 200
        for _ in range(again):
            server.send_signal(signal.SIGINT)
        rest = server.stderr.read()
        assert server.wait(120) == 0
        assert "Traceback" not in rest


def test_an_answer_does_not_wait_for_the_browser_to_confirm_its_head() -> None:
    """Asyncio leaves that on, at 40 ms an answer, for sockets that do not say they are TCP."""
    with _listening("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP


def test_an_empty_archive_is_served_and_says_how_to_begin(tmp_path: Path) -> None:
    with started("--archive", str(tmp_path / "nothing yet"), "--no-token") as server:
        assert server.stderr is not None
        address = re.search(r"http://\S+", server.stderr.readline())
        assert address
        for path in ("", "rate", "learn", "runs", "sheet", "compare", "api/facets", "runs/new"):
            assert httpx.get(address[0] + path, timeout=120).status_code == 200, path
        server.terminate()
        server.stderr.read()


def read_link(server: subprocess.Popen[str]) -> tuple[str, str]:
    """Return the page's address and the secret of the link that leads to it."""
    assert server.stderr is not None
    for line in server.stderr:
        found = re.search(r"(http://\S+/)login#(\S+)", line)
        if found:
            return found[1], found[2]
    raise AssertionError("it wrote no link")


def test_the_link_lets_in_and_the_session_outlives_the_server(archive: Path) -> None:
    arguments = ["--archive", str(archive)]
    with httpx.Client(timeout=120) as client:
        with started(*arguments) as server:
            address, secret = read_link(server)
            assert client.get(address + "api/pictures").status_code == 401
            assert client.post(address + "login", json={"link": secret}).status_code == 200
            assert client.get(address + "api/session").json() == {"role": "owner"}
            server.kill()
        port = str(httpx.URL(address).port)
        with started(*arguments, "--port", port) as again:
            assert read_link(again)[0] == address
            assert client.get(address + "api/session").json() == {"role": "owner"}
            assert client.post(address + "login", json={"link": secret}).status_code == 401
            again.terminate()


def test_enter_writes_another_link(archive: Path) -> None:
    """In a terminal; who reads from a pipe or a file meant something else."""
    pty = pytest.importorskip("pty")
    terminal, inside = pty.openpty()
    command = [sys.executable, "-m", "safelight", "serve", "--port", "0", "--archive", str(archive)]
    with subprocess.Popen(command, stdin=inside, stderr=subprocess.PIPE, text=True) as server:
        address, first = read_link(server)
        os.write(terminal, b"\n")
        _, second = read_link(server)
        assert first != second
        for secret in (first, second):
            answer = httpx.post(address + "login", json={"link": secret}, timeout=120)
            assert answer.status_code == 200
        server.terminate()
    os.close(terminal)
    os.close(inside)


def test_a_browser_is_opened_without_telling_the_secret(archive: Path, tmp_path: Path) -> None:
    """Command lines can be read by everybody on the machine; a file of the user's own cannot."""
    told = tmp_path / "told"
    browser = tmp_path / "bin" / "browser"
    browser.parent.mkdir()
    browser.write_text(f'#!/bin/sh\nls -l "$@" > "{told}.new"; cat "$@" >> "{told}.new"\n'
                       f'mv "{told}.new" "{told}"\n')  # fmt: skip
    browser.chmod(0o755)
    (tmp_path / "bin" / "xdg-open").symlink_to(browser)
    path = f"{browser.parent}{os.pathsep}{os.environ['PATH']}"
    with started("--archive", str(archive), "--open", PATH=path) as server:
        _, secret = read_link(server)
        deadline = time.monotonic() + 60
        while not told.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        listed, _, content = told.read_text().partition("\n")
        assert listed.startswith("-rw-------")
        assert f"login#{secret}" in content
        file = Path(listed.split()[-1])
        assert file.is_file()
        server.send_signal(signal.SIGINT)
        assert server.wait(120) == 0
    assert not file.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--no-token", "--host", "0.0.0.0"], "--no-token lets everyone in"),
        (["--no-token", "--token-file", "TOKEN"], "leave it out, or the token"),
        (["--token", "correct horse battery"], "everyone on this machine can read"),
        (["--token-file", "SHORT"], "16 characters or more"),
        (["--token-file", "EMPTY"], "16 characters or more"),
        (["--token-file", "TOKEN", "--owner-token-file", "TOKEN"], "different tokens"),
    ],
)
def test_what_would_let_in_too_many_is_refused(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    for name, text in {"TOKEN": TOKEN, "SHORT": "x" * 15, "EMPTY": " "}.items():
        (tmp_path / name).write_text(text)
    real = [str(tmp_path / word) if word.isupper() else word for word in arguments]
    with started("--archive", str(tmp_path / "archive"), *real) as server:
        assert server.stderr is not None
        told = server.stderr.read()
        assert words in " ".join(told.replace("│", " ").split())
        assert TOKEN not in told
        assert server.wait(120) == 2


def test_everyone_is_let_in_on_this_machine_when_that_is_said(archive: Path) -> None:
    with started("--archive", str(archive), "--no-token") as server:
        assert server.stderr is not None
        address = re.search(r"http://\S+", server.stderr.readline())
        assert address
        assert "everyone with an account on this machine" in server.stderr.readline()
        assert httpx.get(address[0] + "api/session", timeout=120).json() == {"role": "owner"}
        server.terminate()


@pytest.mark.parametrize("source", ["file", "variable"])
def test_a_token_makes_guests_and_is_never_told(archive: Path, tmp_path: Path, source: str) -> None:
    arguments, environment = ["--archive", str(archive), "--host", "0.0.0.0"], {}
    if source == "file":
        (tmp_path / "token").write_text(f"{TOKEN}\n")
        arguments += ["--token-file", str(tmp_path / "token")]
    else:
        environment["SAFELIGHT_TOKEN"] = TOKEN
    with started(*arguments, **environment) as server:
        address, secret = read_link(server)
        assert httpx.get(address + "api/pictures", timeout=120).status_code == 401
        bearer = {"authorization": f"Bearer {TOKEN}"}
        answer = httpx.get(address + "api/session", headers=bearer, timeout=120)
        assert answer.json() == {"role": "guest"}
        assert httpx.get(address + "api/runs", headers=bearer, timeout=120).status_code == 403
        assert httpx.post(address + "login", json={"link": secret}, timeout=120).is_success
        server.terminate()
        assert server.stderr is not None
        assert TOKEN not in server.stderr.read()
