"""``safelight engines``."""

from __future__ import annotations

import json
from typing import Any

import click

from safelight.application.engine_at import engine_at
from safelight.application.engine_list import ListedEngine
from safelight.cli.grouped_help import NamedCommands
from safelight.cli.options import engine_list, json_option
from safelight.cli.terminal import say, say_text, say_wrapped, tell, tell_next


@click.group("engines", cls=NamedCommands, invoke_without_command=True)
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List the engines that you have named: addresses and secrets, apart from any archive.

    A config says backend = "NAME". Passwords and headers are added by hand, best as "env:VARIABLE".
    """
    if context.invoked_subcommand is not None:
        return
    engines = engine_list()
    listed = [_shown(engine) for engine in engines.read().values()]
    if as_json:
        say_text(json.dumps(listed, ensure_ascii=False, indent=2))
        return
    for engine in listed:
        secrets = [f"takes {', '.join(engine['variables'])}"] if engine["variables"] else []
        words = [engine["name"], engine["backend"], *engine["addresses"], *secrets]
        say("  ".join(words))
    if not listed:
        tell("no engine is named yet; add one with: safelight engines add NAME URL")
    say_wrapped(f"the list is {engines.path}", hanging=2, err=True)


@command.command("add")
@click.argument("name")
@click.argument("url")
@click.option("--backend", type=click.Choice(["webui", "comfyui", "openai-images"]),
              help="What listens there; it is asked when this is not given.")  # fmt: skip
@click.option("--no-test", is_flag=True, help="Do not ask whether an engine listens there.")
@json_option
def add(name: str, url: str, backend: str | None, no_test: bool, as_json: bool) -> None:
    """Add the engine at URL under NAME."""
    if no_test and backend is None:
        raise click.UsageError("--no-test needs --backend: nobody is asked what listens there")
    if not no_test:
        found = engine_at(url, {})
        if backend not in (None, found):
            raise click.ClickException(f"{found} listens there, not {backend}")
        backend = found
    assert backend is not None
    engines = engine_list()
    engine = engines.add(name, url, backend)
    if as_json:
        say_text(json.dumps(_shown(engine), ensure_ascii=False, indent=2))
        return
    addresses = " ".join(sorted(engine.addresses))
    say(f'{name} is {backend} at {addresses}; use it with: backend = "{name}"')
    tell_next(f"doctor {name}")


@command.command("remove")
@click.argument("name")
@json_option
def remove(name: str, as_json: bool) -> None:
    """Take NAME out of the list."""
    engine_list().remove(name)
    if as_json:
        say_text(json.dumps({"removed": name}, ensure_ascii=False))
        return
    say(f"{name} is no engine of the list any more")


def _shown(engine: ListedEngine) -> dict[str, Any]:
    return {
        "name": engine.name,
        "backend": engine.backend,
        "addresses": sorted(engine.addresses),
        "variables": list(engine.variables),
    }
