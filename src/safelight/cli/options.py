"""Options that several commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from safelight.config_source import STANDARD_INPUT
from safelight.operating_system import quoted
from safelight.randomizer_config import LARGE_PLAN

if TYPE_CHECKING:
    from safelight.application.engine_list import EngineList

__all__ = [
    "archive_option",
    "archive_words",
    "ask_for_large_plan",
    "check_archive",
    "condition_argument",
    "config_text",
    "config_words",
    "engine_choice_options",
    "engine_list",
    "engine_option",
    "existing_archive_option",
    "json_option",
    "override_option",
    "part_option",
    "seed_option",
    "with_part",
    "yes_option",
]


_STANDARD_INPUT = "-"
_VARIABLE, _USUAL = "SAFELIGHT_ARCHIVE", Path("safelight")
_Command = TypeVar("_Command", bound=Callable[..., Any])


def _archive_option(
    callback: Callable[[click.Context, click.Parameter, Path], Path] | None = None,
) -> Callable[[_Command], _Command]:
    def opened(context: click.Context, parameter: click.Parameter, path: Path) -> Path:
        if callback is not None:
            path = callback(context, parameter, path)
        if not context.resilient_parsing:
            _tell_of_versions(path)
        return path

    return click.option(
        "--archive",
        type=click.Path(file_okay=False, path_type=Path),
        envvar=_VARIABLE,
        default=_USUAL,
        show_default="./safelight",
        show_envvar=True,
        callback=opened,
        help="Folder that holds records and images.",
    )


def _tell_of_versions(archive: Path) -> None:
    from safelight.application.version_note import version_note
    from safelight.cli.terminal import tell

    note = version_note(archive)
    if note is not None:
        tell(f"note: {note}")


def archive_words(path: Path) -> str:
    """Return what a command needs to be told to find the archive at *path*, a blank before it."""
    usual = Path(os.environ.get(_VARIABLE) or _USUAL)
    if path == usual:
        return ""
    return f" --archive {quoted(str(path))}"


def config_text(path: Path) -> bytes | None:
    """Return what standard input holds where *path* is ``-``; None for a file."""
    return sys.stdin.buffer.read() if str(path) == _STANDARD_INPUT else None


def config_words(source: str) -> str:
    """Return what a command needs to be told to find the config of a job, a blank after it."""
    return f"{_STANDARD_INPUT if source == STANDARD_INPUT else quoted(source)} "


def check_archive(path: Path) -> Path:
    """Return *path*, which must be there and be an archive, or empty.

    Raises:
        click.ClickException: It is none: to answer "nothing found" would be wrong.
    """
    from safelight.archive_layout import ARCHIVE_FOLDERS

    if not path.is_dir():
        raise click.ClickException(
            f"there is no archive at {path}; safelight import and run make one,"
            " --archive names another"
        )
    names = {entry.name for entry in path.iterdir() if not entry.name.startswith(".")}
    if names and not names & ARCHIVE_FOLDERS:
        raise click.ClickException(
            f"{path} is no archive: it has none of {', '.join(sorted(ARCHIVE_FOLDERS))}"
        )
    return path


def engine_list() -> EngineList:
    """Return this user's list of engines."""
    from safelight.application.engine_list import EngineList
    from safelight.machine_folders import configuration_folder

    return EngineList(configuration_folder())


archive_option = _archive_option()
"""For commands that make an archive where there is none."""

existing_archive_option = _archive_option(lambda _context, _parameter, path: check_archive(path))
"""For commands that only ask, or carry."""


def condition_argument(name: str = "condition", **settings: Any) -> Callable[[_Command], _Command]:
    """Return the argument for a filter, of however many words that the shell makes of it."""
    return click.argument(
        name,
        nargs=-1,
        callback=lambda _context, _parameter, words: " ".join(words),
        shell_complete=_completed,
        **settings,
    )


def _completed(context: click.Context, parameter: click.Parameter, word: str) -> list[str]:
    """Return what the word of a filter may become; faults offer nothing."""
    from safelight.archive import Archive
    from safelight.errors import SafelightError
    from safelight.filter_completion import complete
    from safelight.web.completing import MOST_KNOWN, known_from
    from safelight.web.facets import facets_on_disk

    given = context.params.get(parameter.name or "") or ""
    before = f"{given if isinstance(given, str) else ' '.join(given)} ".lstrip()
    folder = context.params.get("archive") or _USUAL
    try:
        facets = facets_on_disk(Archive(folder), "", MOST_KNOWN)[1] if folder.is_dir() else ()
    except SafelightError:
        facets = ()
    completion = complete(before + word, known_from(facets, shows_places=True))
    if completion.start < len(before):
        return []
    kept = word[: completion.start - len(before)]
    return [kept + one.text.rstrip() for one in completion.candidates]


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
override_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Put a value over the config's, as --set txt2img.steps=30; may be repeated. What is no"
    " value of TOML is plain text.",
)
part_option = click.option(
    "--part",
    metavar="I/N",
    help="Only part I of N of the plan: each machine draws its own, and archives merge afterwards.",
)


def with_part(overrides: tuple[str, ...], part: str | None) -> tuple[str, ...]:
    """Return *overrides* with what ``--part`` says."""
    return overrides if part is None else (*overrides, f"randomizer.part={part}")


engine_option = click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the engine, as --option url=http://127.0.0.1:8188; may be repeated.",
)
seed_option = click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="Seed of everything the plan draws; a new one is drawn without it.",
)
yes_option = click.option(
    "--yes", is_flag=True, help=f"Draw also a plan of more than {LARGE_PLAN:,} variants unasked."
)


def engine_choice_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that :class:`.engine_choice.EngineChoice` holds to a command."""
    options = [
        click.option(
            "--on", default="local", show_default=True, metavar="local|ray[:ADDRESS]",
            help="Where variants are drawn.",
        ),
        click.option(
            "--server", "servers", multiple=True, metavar="URL",
            help="A server of the config's engine; give several to share the work.",
        ),
        click.option(
            "--ray-actors", type=click.IntRange(min=1), metavar="N",
            help="Engines on Ray; as many as fit when not given.",
        ),
        click.option(
            "--ray-gpus", type=click.FloatRange(min=0), default=0.0, metavar="GPUS",
            help="GPUs of each, also a part of one, such as 0.5.",
        ),
        click.option(
            "--ray-resource", "ray_resources", multiple=True, metavar="NAME=AMOUNT",
            help="Another resource that each needs; may be repeated.",
        ),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def ask_for_large_plan(size: int, *, yes: bool) -> None:
    """Ask whether a plan of *size* variants is meant to be drawn, when it is a large one.

    Raises:
        click.Abort: It is not.
        click.UsageError: There is nobody to ask.
    """
    if size <= LARGE_PLAN or yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError(
            f"the plan has {size:,} variants, which is more than {LARGE_PLAN:,}: say --yes if that"
            " is meant, or set randomizer.max_variants"
        )
    click.confirm(f"The plan has {size:,} variants. Draw them all?", abort=True, err=True)
