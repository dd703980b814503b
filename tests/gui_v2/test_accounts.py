"""A session is of no use to another account of the machine that gets hold of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gui_v2.light_table import served
from safelight.web.accounts import account_of
from safelight.web.admission import Admission
from safelight.web.sessions import Role, Sessions

TOKEN = "correct horse battery"
pytestmark = pytest.mark.skipif(
    not Path("/proc/net/tcp").exists(), reason="only Linux tells whose a connection is"
)

ASKING = """
import encodings.idna, http.client, os, sys
os.setgid(65534), os.setuid(65534)
asked = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=60)
asked.request("GET", "/api/session", headers={sys.argv[2]: sys.argv[3]})
print(asked.getresponse().status)
"""


@pytest.fixture(params=["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def connected(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection within this machine."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.socket(family) as listening:
        if family is socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            listening.bind((request.param, 0))
        except OSError:
            pytest.skip(f"this machine has no {request.param}")
        listening.listen()
        with socket.create_connection(listening.getsockname()[:2]) as client:
            server, _ = listening.accept()
            with server:
                yield client, server


def test_a_connection_is_of_the_account_that_made_it(
    connected: tuple[socket.socket, socket.socket],
) -> None:
    _, server = connected
    ends = server.getpeername()[:2], server.getsockname()[:2]
    assert account_of(*ends) == os.getuid()
    assert account_of((ends[0][0], ends[0][1] + 1), ends[1]) is None
    assert account_of(("192.0.2.1", ends[0][1]), ends[1]) is None
    assert account_of(None, ends[1]) is None
    assert account_of(("no address", 1), ends[1]) is None


def test_a_session_is_bound_to_its_account_also_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "sessions.json"
    first = Sessions(file)
    here, elsewhere = first.begin(Role.OWNER, account=1000), first.begin(Role.OWNER)
    for sessions in (first, Sessions(file)):
        assert sessions.role_of(here, {}, 1000) is Role.OWNER
        assert sessions.role_of(here, {}, 1001) is None
        assert sessions.role_of(here, {}, None) is None
        for account in (None, 0, 1000):
            assert sessions.role_of(elsewhere, {}, account) is Role.OWNER


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs another account")
def test_a_stolen_session_opens_nothing_from_another_account(archive: Path) -> None:
    """Whoever serves another port of this machine is sent the cookie, but has another account."""
    admission = Admission(tokens={Role.GUEST: TOKEN})
    with served(archive, admission=admission) as address:
        port = address.rpartition(":")[2]
        with httpx.Client(base_url=address, timeout=60) as client:
            client.post("/login", json={"link": admission.new_link()})
            assert client.get("/api/session").json() == {"role": "owner"}
            ((name, secret),) = client.cookies.items()

            def status_for_another(header: str, value: str) -> str:
                command = [sys.executable, "-c", ASKING, port, header, value]
                return subprocess.run(
                    command, capture_output=True, text=True, check=True
                ).stdout.strip()

            assert status_for_another("Authorization", f"Bearer {TOKEN}") == "200"
            assert status_for_another("Cookie", f"{name}={secret}") == "401"
            assert status_for_another("Authorization", f"Bearer {secret}") == "401"
            assert client.get("/api/session").json() == {"role": "owner"}
