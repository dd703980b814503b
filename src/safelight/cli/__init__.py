"""The command line: parse, build, call one function, print. The only place that chooses.

Commands are imported when they are called, so that ``safelight --help`` is instant.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import click

from safelight.cli.grouped_help import write_groups
from safelight.errors import ConfigError, FilterError, RequestError, SafelightError, sentence_of
from safelight.escaped_output import escape_standard_streams, escaped_line
from safelight.version import __version__

__all__ = ["main"]

_log = logging.getLogger(__name__)
_INTERRUPTED = 130
_UNFORESEEN = "That was not foreseen; what was written before it is safe. safelight -v tells more."

_COMMANDS = {
    "albums": "List albums, fill, rename and empty them.",
    "archive": "Pack, verify, recover, merge and clean up an archive.",
    "backends": "Show the installed engines, and what each can do.",
    "completion": "Let Tab complete commands, options and filters.",
    "contents": "Show what is in an archive, and what varied.",
    "demo": "See in a minute what this is: draws, rates and tells, offline.",
    "diff": "Show what differs between two runs.",
    "doctor": "Find out what works on an engine, by asking it.",
    "effects": "Say which settings made the good pictures, and how surely.",
    "engines": "List, add and remove the engines that you have named.",
    "epochs": "Say which epoch of a training is best, from its samples.",
    "export": "Write pictures, their data or preference pairs to a file.",
    "find": "Find pictures by words and by what they were made with.",
    "folders": "List and change the folders in which the page may name files.",
    "import": "Read the pictures of other tools, with their settings.",
    "init": "Set up: find engines and pictures here, write a first config.",
    "learn": "Draw what it takes to find out what settings do.",
    "plan": "Show what a config would draw, without drawing it.",
    "rate": "Say what a picture is worth.",
    "replay": "Draw a run again, and compare the pixels.",
    "report": "Write what ratings say as one page in one file.",
    "run": "Draw what a config asks for, and record what ran.",
    "schema": "Print the JSON Schema of a config, for editors.",
    "score": "Let a program give pictures numbers, kept apart from ratings.",
    "serve": "Open the page: browse, compare, rate and run.",
    "show": "Show the record of a run, or what a picture says of itself.",
    "stats": "Count runs and pictures, by engine, model and sampler.",
    "suggest": "Suggest settings worth drawing, from what was rated.",
    "sync": "Make an archive and one on an object store equal.",
    "watch": "Take in pictures as they come, whoever makes them.",
    "workflow": "Find the knobs of a ComfyUI workflow, and write a config of it.",
}

_GROUPS = {
    "Begin": ("demo", "init", "completion"),
    "Look at pictures": ("import", "watch", "serve", "find", "contents", "show", "diff", "stats"),
    "Rate and learn": ("rate", "effects", "epochs", "report", "suggest", "learn", "score"),
    "Draw": ("plan", "run", "replay", "schema"),
    "Engines": ("engines", "doctor", "backends", "workflow", "folders"),
    "Keep and hand on": ("albums", "export", "archive", "sync"),
}
"""What a person does -> commands."""


class _LazyGroup(click.Group):
    """Knows its commands by name and imports one only when it is called."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Carry a command line out; from here on nothing that is printed can steer a terminal.

        That stays so when it ends in an exception: a program's last words may quote anything.
        """
        before = sys.stdout, sys.stderr
        escape_standard_streams()
        answer = super().main(*args, **extra)
        sys.stdout, sys.stderr = before
        return answer

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"safelight.cli.{cmd_name}_command")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_groups(formatter, _GROUPS, _COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from safelight.knobs import did_you_mean

            raise click.UsageError(f"no command {args[0]!r}{did_you_mean(args[0], _COMMANDS)}")
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Read the command line."""
        with _stops_quietly():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Carry the command out; whatever it ends in is a sentence, never a traceback."""
        try:
            with _stops_quietly():
                return super().invoke(ctx)
        except (click.Abort, click.exceptions.Exit, click.exceptions.NoArgsIsHelpError):
            raise  # the last is a help of several lines
        except click.ClickException as error:
            vars(error)["message"] = _folded(escaped_line(error.message))  # final for who reads it
            raise
        except SafelightError as error:
            at_fault = isinstance(error, (ConfigError, FilterError, RequestError))
            kind = _AskedWrongly if at_fault else click.ClickException
            raise kind(_folded(_indented(str(error)))) from error
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # nobody reads on, which click ends quietly
            _log.info("where it happened", exc_info=True)
            raise click.ClickException(_folded(escaped_line(sentence_of(error)))) from error
        except Exception as error:
            _log.info("where it happened", exc_info=True)
            told = escaped_line(sentence_of(error))
            raise click.ClickException(_folded(f"{told}\n{_UNFORESEEN}")) from error


def _folded(message: str) -> str:
    """Return *message*, for a person in lines that are no longer than the terminal is wide.

    Click puts "Error: " before it.
    """
    from safelight.cli.terminal import folded, is_terminal

    if not is_terminal(err=True):
        return message
    first, *others = message.split("\n")
    lines = folded(first, hanging=2, beside=len("Error: "))
    return "\n".join([*lines, *(part for line in others for part in folded(line, hanging=4))])


def _indented(message: str) -> str:
    """Return *message* with blanks before all lines but its first.

    Some say their faults in lines, and what others quote may have line ends: it must not look as if
    the program said something else.
    """
    first, *others = message.split("\n")
    return "\n".join([first, *(f"  {line.removeprefix('  ')}" for line in others)])


@contextlib.contextmanager
def _stops_quietly() -> Iterator[None]:
    """End with one line and the status of what was interrupted, where no command has a better."""
    try:
        yield
    except KeyboardInterrupt:
        from safelight.cli.terminal import tell

        tell("stopped")
        raise click.exceptions.Exit(_INTERRUPTED) from None


_SETTINGS = {
    "help_option_names": ["-h", "--help"],
    "color": True,  # or click would take out of errors what looks like styles, unseen
}


class _AskedWrongly(click.ClickException):
    exit_code = 2


class _Sentences(logging.Formatter):
    """Tells an error in a sentence, and where it came from only when asked to be verbose."""

    def __init__(self, verbose: bool) -> None:
        super().__init__("%(levelname)s: %(message)s")
        self._verbose = verbose

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return what *record* says, in one line: whatever it quotes begins no other."""
        return escaped_line(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """Return it with its error."""
        error = record.exc_info[1] if record.exc_info else None
        if self._verbose or error is None:
            return super().format(record)
        return escaped_line(f"{record.levelname}: {record.getMessage()}: {sentence_of(error)}")


@contextlib.contextmanager
def _dead_threads_logged() -> Iterator[None]:
    def log_dead_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            what = args.thread.name if args.thread else "a thread"
            _log.error("%s ended early", what, exc_info=args.exc_value)

    before, threading.excepthook = threading.excepthook, log_dead_thread
    try:
        yield
    finally:
        threading.excepthook = before


@click.group(cls=_LazyGroup, context_settings=_SETTINGS)
@click.version_option(__version__, prog_name="safelight")
@click.option("-v", "--verbose", is_flag=True, help="Log what goes on behind the scenes.")
@click.pass_context
def main(ctx: click.Context, verbose: bool) -> None:
    """Find out which settings made your good pictures, and draw more of them.

    Start with: safelight demo
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Sentences(verbose))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])
    ctx.with_resource(_dead_threads_logged())
