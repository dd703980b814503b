"""The command line as tests call it."""

from __future__ import annotations

from collections.abc import Callable

from click.testing import CliRunner, Result

from safelight.cli import main

__all__ = ["Safelight", "call"]

Safelight = Callable[..., Result]


def call(*arguments: str, typed: str | None = None) -> Result:
    """Call it in the current folder; what it did not foresee is raised."""
    result = CliRunner().invoke(main, arguments, input=typed)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result
