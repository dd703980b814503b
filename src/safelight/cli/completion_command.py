"""``safelight completion``."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

import click
from click.shell_completion import get_completion_class

from safelight.cli.terminal import say, say_text, tell
from safelight.durable_file import make_folder, replace_file
from safelight.knobs import did_you_mean

_SHELLS = ("bash", "zsh", "fish")
_PROGRAM, _VARIABLE = "safelight", "_SAFELIGHT_COMPLETE"
_PLACES = {
    "bash": ("XDG_DATA_HOME", ".local/share", "bash-completion/completions/safelight"),
    "zsh": ("XDG_DATA_HOME", ".local/share", "safelight/_safelight"),
    "fish": ("XDG_CONFIG_HOME", ".config", "fish/completions/safelight.fish"),
}
"""Shell -> variable that names a folder, that folder in the home folder, and where in it the shell
looks by itself; zsh must be told."""


@click.command("completion")
@click.argument("shell", default="", metavar="[bash|zsh|fish]")
@click.option("--install", is_flag=True, help="Write it where the shell finds it.")
def command(shell: str, install: bool) -> None:
    """Print what lets Tab complete commands, options and filters, or install it.

    Without --install it is only printed: eval "$(safelight completion bash)" tries it. Which shell
    is meant need not be said where $SHELL tells.
    """
    shell = shell or PurePath(os.environ.get("SHELL", "")).name
    if shell not in _SHELLS:
        hint = did_you_mean(shell, _SHELLS) or f"; there are: {', '.join(_SHELLS)}"
        raise click.UsageError(f"no completion for {shell!r}{hint}" if shell else
                               f"name the shell{hint}")  # fmt: skip
    text = _script(shell)
    if not install:
        say_text(text)
        return
    variable, usual, below = _PLACES[shell]
    place = Path(os.environ.get(variable) or Path.home() / usual) / below
    try:
        make_folder(place.parent)
        replace_file(place, f"{text}\n".encode())
    except OSError as error:
        raise click.ClickException(f"{place} cannot be written: {error}") from error
    say(str(place))
    if shell == "zsh":
        tell("add this line to ~/.zshrc, after compinit:")
        tell(f"  source {place}")
    elif shell == "bash":
        tell("new terminals have it, where the package bash-completion is installed;")
        tell(f"elsewhere add this line to ~/.bashrc: source {place}")
    else:
        tell("new terminals have it")


def _script(shell: str) -> str:
    from safelight.cli import main

    kind = get_completion_class(shell)
    assert kind is not None  # click has one for each of them
    made = kind(main, {}, _PROGRAM, _VARIABLE)
    return (made.source_template % made.source_vars()).strip()
