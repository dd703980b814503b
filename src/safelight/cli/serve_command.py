"""``safelight serve``."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from safelight.cli.options import archive_option
from safelight.cli.terminal import tell
from safelight.machine_folders import configuration_folder, state_folder
from safelight.operating_system import claim_address

if TYPE_CHECKING:
    from safelight.web.admission import Admission

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_TURN = 0.0005
"""Seconds that one thread may keep the others waiting: a rating passes through several."""
_ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - named to be told apart, not to be bound


@click.command("serve")
@archive_option
@click.option("--port", type=click.IntRange(0, 65535), default=7321, show_default=True,
              help="0 takes a free one.")  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True,
              help="Address to listen at; any but this machine's lets others knock.")  # fmt: skip
@click.option("--token-file", type=_FILE, metavar="FILE",
              help="Holds the token that lets guests in: they look, rate, tag and export. Or set"
              " SAFELIGHT_TOKEN.")  # fmt: skip
@click.option("--owner-token-file", type=_FILE, metavar="FILE",
              help="Holds a token for programs of yours, which may do everything. Or set"
              " SAFELIGHT_OWNER_TOKEN.")  # fmt: skip
@click.option("--no-token", is_flag=True,
              help="Let everyone in as an owner; on this machine's own address only.")  # fmt: skip
@click.option("--token", "typed", hidden=True)
@click.option("--behind-proxy", is_flag=True,
              help="Believe X-Forwarded-For of a proxy on this machine: who guesses tokens is"
              " made to wait by address.")  # fmt: skip
@click.option("--allow", multiple=True, metavar="DIR",
              type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="A folder below which configs from the page may name files; may be"
              " repeated.")  # fmt: skip
@click.option("--env", "variables", multiple=True, metavar="NAME", hidden=True,
              help="Not needed any more: safelight engines says which variables are"
              " used.")  # fmt: skip
@click.option("--watch", multiple=True, metavar="DIR", type=click.Path(path_type=Path),
              help="Take in pictures of other tools as they come to this folder, as safelight watch"
              " does; may be repeated.")  # fmt: skip
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
@click.option("--page", default="", hidden=True, help="Which page of it, from its first slash.")
def command(
    archive: Path,
    port: int,
    host: str,
    token_file: Path | None,
    owner_token_file: Path | None,
    no_token: bool,
    typed: str | None,
    behind_proxy: bool,
    allow: tuple[Path, ...],
    variables: tuple[str, ...],
    watch: tuple[Path, ...],
    opens: bool,
    page: str,
) -> None:
    """Open the light table: a local page to browse, compare, rate and run.

    It listens on this machine only, unless --host says otherwise, and lets in who opens the link
    that it writes: once, within ten minutes; Enter writes another. Ctrl-C ends it; a run that goes
    on is stopped with its record written.
    """
    if typed is not None:
        raise click.UsageError(
            "--token is not taken: everyone on this machine can read a command line; put it into a"
            " file for --token-file, or into SAFELIGHT_TOKEN"
        )
    tokens = _tokens({"guest": token_file, "owner": owner_token_file})
    if no_token and (host not in _LOOPBACK or tokens):
        raise click.UsageError(
            "--no-token lets everyone in who can reach the page, so it needs the address of this"
            f" machine, got --host {host}"
            if host not in _LOOPBACK
            else "--no-token lets everyone in; leave it out, or the token"
        )
    if variables:
        tell("--env has no effect any more: engines of your list name what they take from the"
             " environment; see safelight engines")  # fmt: skip
    import uvicorn

    from safelight.application.carrying_out import EngineRunner
    from safelight.archive import Archive
    from safelight.cli.links import Links
    from safelight.cli.serving import TableServer
    from safelight.controller import PipelineController
    from safelight.web import create_app

    sys.setswitchinterval(_TURN)
    listening = _listening(host, port)
    number = listening.getsockname()[1]
    admission = None if no_token else _admission(archive, number, tokens)
    runner = EngineRunner(archive, os.environ)
    controller = PipelineController(runner)
    hosts = () if host in _ANYWHERE else tuple(dict.fromkeys((*_LOOPBACK, host)))
    app = create_app(
        Archive(archive), controller, admission=admission, hosts=hosts, allow=allow,
        settings=configuration_folder(), home=Path.home(), environ=os.environ, watch=watch,
    )  # fmt: skip
    shown = "127.0.0.1" if host in _ANYWHERE else f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{number}/"
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, lifespan="on",
        timeout_graceful_shutdown=2, proxy_headers=behind_proxy,
        h11_max_incomplete_event_size=65_536,
    )  # fmt: skip
    server = TableServer(config)
    new = "" if archive.is_dir() else ", which is new"
    tell(f"light table over {archive}{new}: {address}  (Ctrl-C ends it)")
    links = Links(address, admission, state_folder())
    links.tell(opens=opens, page=page)
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        pass
    finally:
        links.close()
        controller.cancel()
        controller.wait(30)
        runner.close()


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named a TCP socket, or asyncio leaves Nagle's algorithm on: every answer of a head and a
    # body could wait 40 ms for the browser's acknowledgement of the head.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    claim_address(listening)
    try:
        listening.bind((host, port))
    except (OSError, TypeError, ValueError) as error:  # also a name that can be none
        listening.close()
        raise click.ClickException(
            f"{host}:{port} cannot be listened at: {error}; choose another --port, or 0"
        ) from error
    listening.listen(128)
    return listening


def _tokens(files: Mapping[str, Path | None]) -> dict[str, str]:
    """Return the token of each role that has one, from a file or the environment.

    Raises:
        click.UsageError: One is not fit to be a token.
    """
    from safelight.web.admission import SHORTEST_TOKEN

    variables = {"guest": "SAFELIGHT_TOKEN", "owner": "SAFELIGHT_OWNER_TOKEN"}
    tokens = {}
    for role, file in files.items():
        source = str(file) if file is not None else variables[role]
        try:
            text = os.environ.get(source, "") if file is None else file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise click.UsageError(f"{source} cannot be read: {error}") from error
        token = text.strip()
        if len(token) < SHORTEST_TOKEN and (token or file is not None):
            raise click.UsageError(
                f"a token must have {SHORTEST_TOKEN} characters or more, and the one in {source}"
                f" has {len(token)}; this one is new: {secrets.token_urlsafe(24)}"
            )
        if token:
            tokens[role] = token
    if len(set(tokens.values())) < len(tokens):
        raise click.UsageError("owners and guests must have different tokens")
    return tokens


def _admission(archive: Path, port: int, tokens: Mapping[str, str]) -> Admission:
    from safelight.web.admission import Admission
    from safelight.web.sessions import Role, Sessions, sessions_file, token_of_tools

    sessions = Sessions(sessions_file(state_folder(), archive, port))
    return Admission(
        sessions, {Role(role): token for role, token in tokens.items()},
        of_tools=token_of_tools(state_folder(), archive),
    )  # fmt: skip
