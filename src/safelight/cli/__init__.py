"""The command line: parse, build, call one function, print. The only place that chooses.

Commands are imported when they are called, so that ``safelight --help`` is instant.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import logging
import threading
from collections.abc import Iterator
from typing import Any

import click

from safelight.errors import ConfigError, RequestError, SafelightError, sentence_of
from safelight.version import __version__

__all__ = ["main"]

_log = logging.getLogger(__name__)
_UNFORESEEN = "That was not foreseen; what was written before it is safe. safelight -v tells more."

_COMMANDS = {
    "archive": "Pack, verify, recover, merge and count an archive.",
    "backends": "Show the installed engines, and what each can do.",
    "demo": "Draw an example with the model in the box.",
    "diff": "Show what differs between two runs.",
    "doctor": "Find out what works on an engine, by asking it.",
    "effects": "Show what each knob does to ratings, and how sure that is.",
    "engines": "List, add and remove the engines that you have named.",
    "export": "Write pictures' data or preference pairs to a file.",
    "find": "Find pictures by what they were made with.",
    "folders": "List, add and remove folders below which the page may name files.",
    "import": "Take in the pictures of other tools, with what they say about themselves.",
    "learn": "Draw what it takes to find out what knobs do.",
    "plan": "Show what a config would draw, without drawing it.",
    "rate": "Say what a picture is worth.",
    "replay": "Draw a run again, and compare the pixels.",
    "run": "Draw what a config asks for, and record what ran.",
    "schema": "Print the JSON Schema of a config, for editors.",
    "serve": "Open the light table: browse, compare, rate and run in a local page.",
    "show": "Show the learning record of a run.",
    "stats": "Count runs and pictures, by engine, model and sampler.",
    "suggest": "Suggest settings worth drawing, from what was rated.",
    "sync": "Make an archive and one on an object store equal.",
}


class _LazyGroup(click.Group):
    """Knows its commands by name and imports one only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"safelight.cli.{cmd_name}_command")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from safelight.knobs import did_you_mean

            raise click.UsageError(f"no command {args[0]!r}{did_you_mean(args[0], _COMMANDS)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Carry the command out; whatever it ends in is a sentence, never a traceback."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except SafelightError as error:
            at_fault = isinstance(error, (ConfigError, RequestError))
            raise (_ConfigFault if at_fault else click.ClickException)(str(error)) from error
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # nobody reads on, which click ends quietly
            _log.info("where it happened", exc_info=True)
            raise click.ClickException(sentence_of(error)) from error
        except Exception as error:
            _log.info("where it happened", exc_info=True)
            raise click.ClickException(f"{sentence_of(error)}\n{_UNFORESEEN}") from error


class _ConfigFault(click.ClickException):
    exit_code = 2


class _Sentences(logging.Formatter):
    """Tells an error in a sentence, and where it came from only when asked to be verbose."""

    def __init__(self, verbose: bool) -> None:
        super().__init__("%(levelname)s: %(message)s")
        self._verbose = verbose

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        if self._verbose or error is None:
            return super().format(record)
        return f"{record.levelname}: {record.getMessage()}: {sentence_of(error)}"


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


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="safelight")
@click.option("-v", "--verbose", is_flag=True, help="Log what goes on behind the scenes.")
@click.pass_context
def main(ctx: click.Context, verbose: bool) -> None:
    """Run text-to-image pipelines headlessly, and keep a record of what actually ran.

    Start with: safelight demo
    """
    import sys

    for stream in (sys.stdout, sys.stderr):
        # A prompt that the terminal's encoding lacks is shown escaped; it is no error.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler()
    handler.setFormatter(_Sentences(verbose))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])
    ctx.with_resource(_dead_threads_logged())
