"""``safelight doctor``."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

import click

import safelight
from safelight import __version__
from safelight.application.engine_at import engine_at
from safelight.application.jobs import engine_options, secret_options
from safelight.backends import backend_names, create_backend
from safelight.cli.completion_command import SHELLS, completion_file
from safelight.cli.options import archive_option, engine_list, engine_option, json_option
from safelight.cli.terminal import say, say_text, say_wrapped, tell_next
from safelight.config import BackendChoice
from safelight.machine_folders import configuration_folder, state_folder
from safelight.pipeline import Backend
from safelight.pipeline.engine_check import Finding, check_engine

_PATIENCE = 120
"""Seconds that one tiny picture of a server may take; ``--option timeout=600`` for slow ones."""

_HANGING = 18
_MOST_FILES = 8
_PROGRAM = Path(safelight.__file__).parent
_SIGNS = {"works": "ok", "differs": "~", "fails": "x"}


@click.command("doctor")
@click.argument("engine", default="", metavar="[ENGINE|URL]")
@archive_option
@engine_option
@click.option("--prompt", default="a red apple", help="What the little pictures show.")
@click.option("--report", is_flag=True, help="Print a short report at the end, to paste.")
@json_option
def command(
    engine: str, archive: Path, options: Sequence[str], prompt: str, report: bool, as_json: bool
) -> None:
    """Find out what works on an engine, by drawing a few tiny pictures; or where everything is.

    ENGINE is the name of an installed engine, or of one of your list, or the address of a server,
    such as http://127.0.0.1:7860. Exit status: 0 everything works, 1 something fails.
    Without ENGINE it says where safelight keeps what on this machine, and which engines there are.
    """
    if not engine:
        if options or report:
            raise click.UsageError("--option and --report are about an engine: name one")
        _print_places(archive, as_json=as_json)
        return
    backend = _backend(engine, options)
    findings = []
    for finding in check_engine(backend, prompt):
        findings.append(finding)
        if not as_json:
            say_wrapped(_line(finding), hanging=_HANGING)
    fails = any(finding.verdict == "fails" for finding in findings)
    if as_json:
        shown = [
            {"question": f.question, "verdict": f.verdict, "told": f.message, "seconds": f.seconds}
            for f in findings
        ]
        told = {"engine": backend.name, "findings": shown}
        say_text(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        if report:
            say_text(_report(backend.name, findings))
        if not fails:
            _tell_next(engine, backend.name)
        elif not report:
            tell_next(
                f"doctor {engine.rpartition('@')[2]} --report, to paste where help is asked for"
            )
    if fails:
        raise SystemExit(1)


def _print_places(archive: Path, *, as_json: bool) -> None:
    """Print every place of this machine that safelight writes to, and who could draw."""
    engines = engine_list().read()
    folders = {"configuration": configuration_folder(), "state": state_folder()}
    completion = [str(place) for place in map(completion_file, SHELLS) if place.is_file()]
    if as_json:
        told = {
            "version": __version__, "system": _system(), "program": str(_PROGRAM),
            "archive": str(archive.absolute()),
            **{name: str(folder) for name, folder in folders.items()},
            "completion": completion, "engines": list(engines), "built_in": list(backend_names()),
        }  # fmt: skip
        say_text(json.dumps(told, ensure_ascii=False, indent=2))
        return
    is_there = archive.is_dir()
    rows = [
        ("safelight", f"{__version__} on {_system()}, in {_PROGRAM}"),
        ("archive", f"{archive.absolute()}{'' if is_there else ' (not there yet)'}"),
        *((name, f"{folder}: {_files_in(folder)}") for name, folder in folders.items()),
        *(("completion", place) for place in completion),
        *(("engine", f"{one.name}, {one.backend} of your list") for one in engines.values()),
        ("built in", ", ".join(backend_names())),
    ]
    for name, words in rows:
        say_wrapped(f"{name:15}{words}", hanging=15)
    tell_next(f"doctor {next(iter(engines), 'bundled')}")


def _files_in(folder: Path) -> str:
    try:
        names = sorted(one.name for one in folder.iterdir() if not one.name.startswith("."))
    except OSError:
        names = []
    return ", ".join(names[:_MOST_FILES]) + (", ..." if len(names) > _MOST_FILES else "") or "empty"


def _system() -> str:
    return f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"


def _tell_next(engine: str, backend: str) -> None:
    """Say how to use *engine*, which was asked, in a config."""
    if "://" in engine:
        listed = engine_list().at(engine, backend)
        if listed is None:
            tell_next(f"engines add NAME {engine.rpartition('@')[2]}")
            return
        engine = listed.name
    config = Path("safelight.toml")
    tell_next(f"run {config} --set backend={engine}" if config.exists() else "init")


def _line(finding: Finding) -> str:
    message = f"  {finding.message}" if finding.message else ""
    return f"{_SIGNS[finding.verdict]:>2}  {finding.question:14}{finding.seconds:7.2f} s{message}"


def _report(engine: str, findings: Sequence[Finding]) -> str:
    """Return what to paste where help is asked for; it names no address."""
    lines = [f"safelight {__version__} on {_system()}, engine {engine}", ""]
    for finding in findings:
        message = re.sub(r"\w+://\S+", "(address)", finding.message)
        sign = _SIGNS[finding.verdict]
        lines.append(f"{sign:>2} {finding.question}{': ' if message else ''}{message[:300]}")
    return "\n".join(["", "```", *lines, "```"])


def _backend(engine: str, options: Sequence[str]) -> Backend:
    given = engine_options(options, os.environ)
    if engine in backend_names() or "://" not in engine:
        chosen = engine_list().of_command(BackendChoice(name=engine, options=given))
        return create_backend(chosen.name, secret_options(chosen.options, os.environ))
    name = engine_at(engine, given)
    say(f"{name} at {engine.rpartition('@')[2]}", err=True)
    return create_backend(name, {"url": engine, "timeout": _PATIENCE, **given})
