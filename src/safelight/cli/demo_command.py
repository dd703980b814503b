"""``safelight demo``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import click

from safelight.application.examples import EXAMPLES
from safelight.cli.options import archive_option, archive_words, seed_option
from safelight.cli.run_command import command as run_command
from safelight.cli.terminal import say
from safelight.durable_file import copy_new_file, make_folder
from safelight.knobs import did_you_mean


@click.command("demo")
@click.argument("name", default="first_sheet")
@click.option("--list", "lists", is_flag=True, help="List the examples, and draw nothing.")
@click.option("--copy", "folder", type=click.Path(file_okay=False, path_type=Path),
              help="Copy the example into this folder to change it, and draw nothing.")  # fmt: skip
@archive_option
@seed_option
@click.pass_context
def command(
    ctx: click.Context,
    name: str,
    lists: bool,
    folder: Path | None,
    archive: Path,
    seed: int | None,
) -> None:
    """Draw an example with the model in the box: offline, without a GPU, in seconds."""
    known = {path.stem: path for path in sorted(EXAMPLES.glob("*.toml"))}
    if lists:
        for stem, path in known.items():
            say(f"{stem:<22} {_about(path)}")
        return
    config = known.get(name.removesuffix(".toml"))
    if config is None:
        hint = did_you_mean(name, known) or f"; there are: {', '.join(known)}"
        raise click.UsageError(f"there is no example {name!r}{hint}")
    if folder is not None:
        for source in (config, *_files_of(config)):
            say(str(_copied(source, folder)))
        return
    ctx.invoke(run_command, configs=(config,), archive=archive, seed=seed)
    say()
    say(f"look      safelight serve --open{archive_words(archive)}")
    say(f"change    safelight demo {config.stem} --copy .")


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
