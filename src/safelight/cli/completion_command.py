"""``safelight completion``."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path, PurePath

import click
from click.shell_completion import get_completion_class

from safelight.cli.terminal import say, say_text, say_wrapped, tell
from safelight.durable_file import make_folder, replace_file
from safelight.knobs import did_you_mean
from safelight.operating_system import quoted

_PROGRAM, _VARIABLE = "safelight", "_SAFELIGHT_COMPLETE"
__all__ = ["SHELLS", "command", "completion_file"]

SHELLS = ("bash", "zsh", "fish")
_PLACES = {
    "bash": ("XDG_DATA_HOME", ".local/share", "bash-completion/completions/safelight"),
    "zsh": ("XDG_DATA_HOME", ".local/share", "safelight/_safelight"),
    "fish": ("XDG_CONFIG_HOME", ".config", "fish/completions/safelight.fish"),
}
"""Shell -> variable that names a folder, that folder in the home folder, and where in it the shell
looks by itself; zsh must be told, and bash looks there only with the package bash-completion."""

_START_FILES = {
    "bash": "~/.bashrc", "zsh": "~/.zshrc, below compinit", "fish": "~/.config/fish/config.fish",
}  # fmt: skip
_PATIENCE = 20
"""Seconds that a shell may take to start, with all that its user has it do then."""

_ASKED, _FOUND, _OLD, _BARE = (
    f"safelight-{one}" for one in ("was-asked-for", "is-completed", "needs-bash-4.4", "no-compinit")
)
_QUESTIONS = {
    "bash": f"""echo {_ASKED}
        [[ ${{BASH_VERSINFO[0]}}${{BASH_VERSINFO[1]}} -ge 44 ]] || echo {_OLD}
        for load in _comp_load __load_completion; do
            complete -p {_PROGRAM} &>/dev/null || $load {_PROGRAM} &>/dev/null
        done
        complete -p {_PROGRAM} &>/dev/null && echo {_FOUND}""",
    "zsh": f"""echo {_ASKED}
        (( $+functions[compdef] )) || echo {_BARE}
        (( $+_comps[{_PROGRAM}] )) && echo {_FOUND}""",
    "fish": f"""echo {_ASKED}
        complete -C '{_PROGRAM} ' >/dev/null 2>&1
        complete -c {_PROGRAM} | string match -q '*_{_PROGRAM}_completion*'; and echo {_FOUND}""",
}
"""What a shell that has read its user's files is asked."""


@click.command("completion")
@click.argument("shell", default="", metavar="[bash|zsh|fish]")
@click.option(
    "--install", is_flag=True, help="Write it to your home, and see if the shell finds it."
)
def command(shell: str, install: bool) -> None:
    """Print what lets Tab complete commands, options and filters, or install it.

    Without --install it is only printed: eval "$(safelight completion bash)" tries it. Which shell
    is meant need not be said where $SHELL tells. --install writes one file, changes none of yours,
    and says what is missing where a new shell would not find it.
    """
    shell = shell or _shell_of_user()
    if shell not in _PLACES:
        hint = did_you_mean(shell, _PLACES) or f"; there are: {', '.join(_PLACES)}"
        raise click.UsageError(f"no completion for {shell!r}{hint}")
    text = _script(shell)
    if not install:
        say_text(text)
        return
    place = completion_file(shell)
    try:
        make_folder(place.parent)
        replace_file(place, f"{text}\n".encode())
    except OSError as error:
        raise click.ClickException(f"{place} cannot be written: {error}") from error
    say(str(place))
    _tell_what_is_missing(shell, place)


def completion_file(shell: str) -> Path:
    """Return where the completion of *shell* is written."""
    variable, usual, below = _PLACES[shell]
    return Path(os.environ.get(variable) or Path.home() / usual) / below


def _shell_of_user() -> str:
    path = os.environ.get("SHELL", "")
    name = PurePath(path).name
    if name not in _PLACES:
        why = f"there is none for {path}, your $SHELL" if path else "$SHELL says no shell"
        raise click.UsageError(f"name a shell: {', '.join(_PLACES)}; {why}")
    return name


def _tell_what_is_missing(shell: str, place: Path) -> None:
    """Say whether a new *shell* will find what is at *place*; it is asked, not guessed."""
    if shutil.which(_PROGRAM) is None:  # called by its path, or as a module
        tell(f"no folder of your PATH has {_PROGRAM}, and Tab completes it by that name alone")
    answer = _answer(shell)
    if _OLD in answer:
        tell("this bash is too old for it; bash 4.4 or newer completes")
        return
    if _FOUND in answer:
        tell(f"a new {shell} finds it: open another terminal, type safelight, a blank and Tab")
        return
    if _ASKED not in answer:
        told = f"{shell} could not be asked whether it finds that. If Tab does nothing in a new"
        told += " terminal, add"
    elif shell == "bash":
        told = "bash does not look there: the package bash-completion is missing, or nothing loads"
        told += " it. Install it, or add"
    else:
        told = f"{shell} does not look there by itself. Add"
    lines = ["autoload -Uz compinit && compinit"] if _BARE in answer else []
    lines.append(f"source {quoted(str(place))}")
    where = "~/.zshrc" if _BARE in answer else _START_FILES[shell]
    number = "this line" if len(lines) == 1 else "these lines"
    say_wrapped(f"{told} {number} to {where}, and open another terminal:", err=True)
    for line in lines:
        tell(f"  {line}")


def _answer(shell: str) -> str:
    """Return what a new *shell* of this user answers; nothing where it cannot be asked.

    It reads the user's files, which may start anything: it has no terminal, and little time.
    """
    program = shutil.which(shell)
    if program is None:
        return ""
    try:
        done = subprocess.run(  # noqa: S603 - a shell, a question of ours
            [program, "-i", "-c", _QUESTIONS[shell]], stdin=subprocess.DEVNULL, text=True,
            capture_output=True, timeout=_PATIENCE, start_new_session=True, errors="replace",
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _script(shell: str) -> str:
    from safelight.cli import main

    kind = get_completion_class(shell)
    assert kind is not None  # click has one for each of them
    made = kind(main, {}, _PROGRAM, _VARIABLE)
    return (made.source_template % made.source_vars()).strip()
