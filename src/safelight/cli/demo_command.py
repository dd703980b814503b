"""``safelight demo``."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from safelight.application.examples import EXAMPLES
from safelight.cli.options import archive_option, archive_words, json_option, seed_option
from safelight.cli.run_command import command as run_command
from safelight.cli.terminal import progress_of, say, say_text, say_wrapped, tell
from safelight.durable_file import copy_new_file, make_folder
from safelight.errors import shortened
from safelight.knobs import did_you_mean

if TYPE_CHECKING:
    from safelight.application.demo_story import DemoFolder, DemoStory

_USUAL = Path("safelight-demo")
_PLAN_SEED = 1
_LONGEST_PROMPT = 60
_INTERRUPTED = 130


@click.command("demo")
@click.argument("name", default="", metavar="[EXAMPLE]")
@click.option("--into", "story", type=click.Path(file_okay=False, path_type=Path), default=_USUAL,
              show_default="./safelight-demo", help="Folder for the story.")  # fmt: skip
@click.option("--open", "opens", is_flag=True, help="Open the story in the page afterwards.")
@click.option("--list", "lists", is_flag=True, help="List the examples, and draw nothing.")
@click.option("--copy", "folder", type=click.Path(file_okay=False, path_type=Path),
              help="Copy EXAMPLE into this folder to change it, and draw nothing.")  # fmt: skip
@archive_option
@seed_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    name: str,
    story: Path,
    opens: bool,
    lists: bool,
    folder: Path | None,
    archive: Path,
    seed: int | None,
    as_json: bool,
) -> None:
    """See in a minute what this is: offline, without a GPU, with the model in the box.

    Without EXAMPLE it draws a small sweep, takes in a few pictures of other tools, lets a program
    give stars, and says which settings made the better pictures. All of that goes into a folder of
    its own; a second time draws nothing again.

    With EXAMPLE it draws that one into --archive; --list shows which there are.
    """
    known = {path.stem: path for path in sorted(EXAMPLES.glob("*.toml"))}
    if lists:
        _list_examples(known, as_json)
        return
    if not name and folder is None:
        if ctx.get_parameter_source("archive") is ParameterSource.COMMANDLINE or seed is not None:
            raise click.UsageError(
                "without an example, demo makes a folder of its own: --into names it; with one,"
                " such as first_sheet, it takes --archive and --seed"
            )
        _tell_story(ctx, story, opens=opens, as_json=as_json)
        return
    if opens or ctx.get_parameter_source("story") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--into and --open are about demo without an example")
    config = known.get(name.removesuffix(".toml"))
    if config is None:
        hint = did_you_mean(name, known) or f"; there are: {', '.join(known)}"
        raise click.UsageError(f"there is no example {name!r}{hint}" if name else
                               f"name the example to copy{hint}")  # fmt: skip
    if folder is not None:
        copied = [str(_copied(source, folder)) for source in (config, *_files_of(config))]
        if as_json:
            say_text(json.dumps({"copied": copied}, ensure_ascii=False))
            return
        for path in copied:
            say(path)
        tell(f"draw it  safelight run {copied[0]}")
        return
    ctx.invoke(run_command, configs=(config,), archive=archive, seed=seed, as_json=as_json)
    if as_json:
        return
    tell(f"to change it: safelight demo {config.stem} --copy .")


def _tell_story(ctx: click.Context, folder: Path, *, opens: bool, as_json: bool) -> None:
    """Make the story in *folder*, and tell it."""
    from safelight.application.demo_story import ready_folder, story_of
    from safelight.application.fidelity_rating import rate_by_fidelity
    from safelight.archive import Archive
    from safelight.imports.folder_import import import_folders

    there = ready_folder(folder)
    archive = Archive(there.archive)
    _draw(there, archive, as_json=as_json)
    imported = import_folders([there.pictures], archive)
    if not as_json:
        tell(f"took in {imported.files:,} pictures of other tools from {there.pictures}")
    with progress_of("rating by a program", hidden=as_json) as show_progress:
        rate_by_fidelity(archive, "status = 'completed'", show_progress)
    found = story_of(archive)
    where = archive_words(there.archive)
    if as_json:
        document = {
            **asdict(found), "best": None if found.best is None else str(found.best),
            "folder": str(there.folder), "archive": str(there.archive),
            "next": f"safelight serve --open{where}",
        }  # fmt: skip
        say_text(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        _print_story(found, there, where)
    if opens:
        from safelight.cli.serve_command import command as serve_command

        ctx.invoke(serve_command, archive=there.archive, opens=True)


def _draw(there: DemoFolder, archive: Any, *, as_json: bool) -> None:
    from safelight.application.carrying_out import carry_out
    from safelight.application.demo_story import DRAWN
    from safelight.application.jobs import ready_job
    from safelight.cli.run_progress import progress_view
    from safelight.cli.running import cancelled_by_interrupt
    from safelight.pipeline import CancelToken

    job = ready_job(EXAMPLES / f"{DRAWN}.toml", (), _PLAN_SEED, os.environ)
    size, cancel = job.plan.plan_size, CancelToken()
    try:
        if not as_json:
            tell(f"drawing {size:,} little pictures with the model in the box, into {there.folder}")
        with (nullcontext() if as_json else progress_view(size)) as view, \
                cancelled_by_interrupt(cancel):  # fmt: skip
            listeners = () if view is None else (view,)
            for result, _ in carry_out(job, archive, cancel=cancel, listeners=listeners):
                if result.status == "failed":
                    raise click.ClickException(result.error or "nothing could be drawn")
    finally:
        job.close()
    if cancel.cancelled:
        tell("stopped; what was drawn is kept, and safelight demo goes on from there")
        raise click.exceptions.Exit(_INTERRUPTED)


def _print_story(found: DemoStory, there: DemoFolder, where: str) -> None:
    from safelight.cli.headed_table import terminal_width, wrapped

    width = terminal_width()

    def print_part(name: str, text: str) -> None:
        for place, line in enumerate(wrapped(text, max(width - 11, 20))):
            say(f"{name if not place else '':<10} {line.rstrip()}")

    drawn = found.made_by.get("bundled", 0)
    makers = ", ".join(f"{name} {n}" for name, n in found.made_by.items() if name != "bundled")
    print_part(
        "pictures", f"{drawn:,} by the model in the box, {found.pictures - drawn:,} of other tools"
        f" with their settings ({makers})",
    )  # fmt: skip
    for one in found.varied:
        print_part("varied", f"{one.knob}: {', '.join(one.values)}")
    print_part("stars", f"{found.rated:,} pictures have some, by {found.rated_by}")
    say()
    say("What the stars say")
    for sentence in found.sentences:
        for line in wrapped(sentence, max(width - 2, 20)):
            say(f"  {line.rstrip()}")
    say("  (1 is the spread of all scores; two pictures of a pair differ in nothing else)")
    say()
    if found.best is not None:
        made = {k: v for k, v in found.best_settings.items() if k != "prompt" and v is not None}
        like = f", as {found.equals - 1:,} more have" if found.equals > 1 else ""
        prompt = shortened(" ".join(str(found.best_settings["prompt"]).split()), _LONGEST_PROMPT)
        shown = {k: f"{v:g}" if isinstance(v, float) else v for k, v in made.items()}
        settings = ", ".join(f"{knob} {value}" for knob, value in shown.items())
        print_part("best", f"{found.best_stars} stars{like}: {prompt}; {settings}")
        say(str(found.best))
        say()
    say(f"look   safelight serve --open{where}")
    say(f'find   safelight find "rocket steps > 3"{where}')
    say(f"draw   safelight run {there.config}{where}")
    say("yours  safelight init")


def _list_examples(known: dict[str, Path], as_json: bool) -> None:
    if as_json:
        told = [{"name": stem, "about": _about(path)} for stem, path in known.items()]
        say_text(json.dumps(told, ensure_ascii=False, indent=2))
        return
    for stem, path in known.items():
        say_wrapped(f"{stem:<22} {_about(path)}", hanging=23)
    tell("draw one: safelight demo NAME; to change it: safelight demo NAME --copy .")


def _about(config: Path) -> str:
    """Return the first sentence of the comment at the head of *config*."""
    lines = takewhile(lambda line: line.startswith("#"), config.read_text("utf-8").splitlines())
    return re.split(r"(?<=[.?!]) ", " ".join(line.lstrip("# ") for line in lines))[0]


def _files_of(config: Path) -> Iterator[Path]:
    """Yield the files that *config* names: wildcards, prompts and workflows."""
    text = tomllib.loads(config.read_text("utf-8"))
    randomizer = text.get("randomizer", {})
    if "wildcards_dir" in randomizer:
        yield from sorted((EXAMPLES / randomizer["wildcards_dir"]).iterdir())
    if "prompts" in randomizer:
        yield EXAMPLES / randomizer["prompts"]["file"]
    backend = text.get("backend", {})
    if isinstance(backend, dict) and "workflow" in backend:
        yield EXAMPLES / backend["workflow"]


def _copied(source: Path, folder: Path) -> Path:
    target = folder / source.relative_to(EXAMPLES)
    if target.exists():
        raise click.ClickException(f"{target} is there already; nothing is overwritten")
    try:
        make_folder(target.parent, root=folder)
        copy_new_file(source.read_bytes(), target)
    except OSError as error:
        raise click.ClickException(f"{target} cannot be written: {error}") from error
    return target
