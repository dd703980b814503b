"""``safelight backends``."""

from __future__ import annotations

import json
import os
from typing import Any

import click

from safelight.application.jobs import engine_options, secret_options
from safelight.backends import backend_names, opened_backend
from safelight.cli.options import engine_list, engine_option, json_option
from safelight.cli.terminal import say, say_text, say_wrapped, tell_next
from safelight.config import BackendChoice
from safelight.errors import BackendError
from safelight.pipeline.backend import Backend, KnowsWords, ListsChoices


@click.command("backends")
@click.argument("name", required=False)
@click.option("--words", is_flag=True, help="List the words that the engine's model knows.")
@engine_option
@json_option
def command(name: str | None, words: bool, options: tuple[str, ...], as_json: bool) -> None:
    """Show the installed engines, or what the engine NAME can do."""
    if name is None:
        if words or options:
            raise click.UsageError(
                "--words and --option need an engine: safelight backends bundled --words"
            )
        _show_all(as_json)
        return
    chosen = engine_list().of_command(
        BackendChoice(name=name, options=engine_options(options, os.environ))
    )
    with opened_backend(chosen.name, secret_options(chosen.options, os.environ)) as backend:
        if words:
            _show_words(backend, as_json)
        else:
            _show_one(backend, as_json)


def _show_all(as_json: bool) -> None:
    states = {name: _state(name) for name in backend_names()}
    if as_json:
        say_text(json.dumps(states, indent=2))
        return
    width = max(map(len, states), default=0)
    for name, state in states.items():
        summary = state.get("error") or f"{state['version']}  ready"
        say_wrapped(f"{name:{width}}  {summary}", hanging=width + 2)
    tell_next("backends NAME")


def _state(name: str) -> dict[str, Any]:
    try:
        with opened_backend(name) as backend:
            description = backend.describe()
    except BackendError as error:
        return {"error": str(error)}
    return {"version": description.version, "environment": dict(description.environment)}


def _show_one(backend: Backend, as_json: bool) -> None:
    description = backend.describe()
    choices = backend.choices() if isinstance(backend, ListsChoices) else {}
    facts = {
        "name": description.name,
        "version": description.version,
        "environment": dict(description.environment),
        "choices": {knob: list(values) for knob, values in choices.items()},
    }
    if as_json:
        say_text(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    say(f"{description.name} {description.version}")
    for key, value in description.environment.items():
        say(f"  {key}: {value}")
    for knob, values in choices.items():
        say(f"{knob}:")
        for value in values:
            say(f"  {value}")


def _show_words(backend: Backend, as_json: bool) -> None:
    if not isinstance(backend, KnowsWords):
        raise BackendError(
            f"the engine {backend.name!r} takes any word; only bundled lists its own"
        )
    words = list(backend.words())
    for line in [json.dumps(words, ensure_ascii=False)] if as_json else words:
        say_text(line)
