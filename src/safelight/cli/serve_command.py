"""``safelight serve``."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import click

from safelight.cli.options import archive_option

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_TURN = 0.0005
"""Seconds that one thread may keep the others waiting: a rating passes through several."""
_ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - named to be told apart, not to be bound


@click.command("serve")
@archive_option
@click.option("--port", type=click.IntRange(0, 65535), default=7321, show_default=True,
              help="0 takes a free one.")  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True,
              help="Address to listen at; any but this machine's own needs --token.")  # fmt: skip
@click.option("--token", envvar="SAFELIGHT_TOKEN", show_envvar=True,
              help="What everyone has to give before they see anything.")  # fmt: skip
@click.option("--env", "variables", multiple=True, metavar="NAME",
              help="A variable that configs may name as env:NAME; whoever may start runs can use"
              " it.")  # fmt: skip
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
def command(
    archive: Path,
    port: int,
    host: str,
    token: str | None,
    variables: tuple[str, ...],
    opens: bool,
) -> None:
    """Open the light table: a local page to browse, compare, rate and run.

    It listens on this machine only, unless a token is set. Ctrl-C ends it; a run that goes on
    is stopped with its record written.
    """
    if host not in _LOOPBACK and not token:
        raise click.UsageError(
            f"--host {host} lets others in, so it needs --token (or SAFELIGHT_TOKEN), got none"
        )
    if token is not None and len(token) < 8:
        raise click.UsageError("--token must have 8 characters at least")
    missing = [name for name in variables if name not in os.environ]
    if missing:
        raise click.UsageError(f"--env: {', '.join(missing)} is not set in the environment")
    import uvicorn

    from safelight.application.carrying_out import EngineRunner
    from safelight.archive import Archive
    from safelight.cli.serving import TableServer
    from safelight.controller import PipelineController
    from safelight.web import create_app

    sys.setswitchinterval(_TURN)
    listening = _listening(host, port)
    runner = EngineRunner(archive, {name: os.environ[name] for name in variables})
    controller = PipelineController(runner)
    hosts = () if host in _ANYWHERE else tuple(dict.fromkeys((*_LOOPBACK, host)))
    app = create_app(Archive(archive), controller, token=token, hosts=hosts)
    shown = "127.0.0.1" if host in _ANYWHERE else f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listening.getsockname()[1]}/"
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, lifespan="on",
        timeout_graceful_shutdown=2, h11_max_incomplete_event_size=65_536,
    )  # fmt: skip
    server = TableServer(config)
    click.echo(f"light table over {archive}: {address}  (Ctrl-C ends it)", err=True)
    if opens:
        _when_listening(lambda: click.launch(address))
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        pass
    finally:
        controller.cancel()
        controller.wait(30)
        runner.close()


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named a TCP socket, or asyncio leaves Nagle's algorithm on: every answer of a head and a
    # body could wait 40 ms for the browser's acknowledgement of the head.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise click.ClickException(
            f"{host}:{port} cannot be listened at: {error}; choose another --port, or 0"
        ) from error
    listening.listen(128)
    return listening


def _when_listening(act: Callable[[], object]) -> None:
    import threading

    threading.Timer(0.5, act).start()
