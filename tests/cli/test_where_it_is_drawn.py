"""One config, drawn where the command line says, and told as JSON lines when asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from backends.webui.replay_server import ReplayServer
from safelight.cli import main

CONFIG = """
[backend]
name = "webui"
url = "http://127.0.0.1:9"
timeout = 5
[txt2img]
prompt = "a hill"
seed = 1
steps = 2
width = 64
height = 64
[randomizer]
mode = "fanout"
seeds_per_variant = 6
"""


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ReplayServer]]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text(CONFIG)
    with ReplayServer("forge") as first, ReplayServer("forge") as two:
        yield [first, two]


def test_servers_share_the_work_and_one_that_is_off_costs_nothing(
    servers: list[ReplayServer],
) -> None:
    """The config's own address is not asked when others are given."""
    for server in servers:
        server.seconds = 0.1
    addresses = [server.url for server in servers]
    off = "http://user:hunter2@127.0.0.1:9"
    given = [word for url in (off, *addresses) for word in ("--server", url)]
    result = CliRunner().invoke(main, ["run", "c.toml", "--log-json", "--json", *given])
    assert result.exit_code == 0, result.output
    assert "hunter2" not in result.output
    events = [json.loads(line) for line in result.stderr.splitlines()]
    assert [event["event"] for event in events].count("variant") == 6
    (ended,) = [event for event in events if event["event"] == "run"]
    assert (ended["status"], ended["pictures"]) == ("completed", 6)
    assert set(ended["workers"]) == {"http://127.0.0.1:9", *addresses}
    drew = {name: share["pictures"] for name, share in ended["workers"].items()}
    assert drew["http://127.0.0.1:9"] == 0
    assert all(drew[address] > 0 for address in addresses)
    assert sum(len(server.posts) for server in servers) == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--on", "mars"], "--on must be local, ray or ray:ADDRESS, got 'mars'"),
        (["--ray-actors", "2"], "need --on ray"),
        (["--on", "ray", "--server", "http://x"], "every actor has an engine"),
        (["--on", "ray", "--ray-resource", "gold"], "must look like name=1, got 'gold'"),
        (["--resume", "a", "--retry-failed", "b"], "give one of the two"),
        (["--resume", "a", "--seed", "1"], "with the seed that it began with"),
    ],
)
def test_a_choice_that_is_none_is_told(
    words: list[str], message: str, servers: list[ReplayServer]
) -> None:
    """With what to do instead, and nothing is drawn."""
    result = CliRunner().invoke(main, ["run", "c.toml", *words])
    assert result.exit_code == 2
    assert message in result.output
    assert not Path("safelight").exists()


def test_a_run_needs_a_config_or_a_run() -> None:
    """As it always did."""
    result = CliRunner().invoke(main, ["run"])
    assert (result.exit_code, "Missing argument" in result.output) == (2, True)
