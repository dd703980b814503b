"""What ``safelight plan --explain`` prints: where words and knobs of one variant come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from safelight.cli.headed_table import emphasized, wrapped
from safelight.cli.terminal import say, say_wrapped
from safelight.config import plain
from safelight.errors import shortened
from safelight.escaped_output import escaped_line
from safelight.randomizer.explanation import Explanation, Piece

__all__ = ["explanation_as_json", "print_explanation"]

_WIDEST = 40
"""Columns of the words of a piece, whose origin stands beside them."""


def explanation_as_json(explanation: Explanation) -> dict[str, Any]:
    """Return what ``--json`` prints of a variant."""
    return {name: plain(value) for name, value in asdict(explanation).items()}


def print_explanation(explanation: Explanation, width: int) -> None:
    """Print each prompt whole, then its pieces, then the knobs."""
    head = (
        f"variant {explanation.index} of {explanation.plan_size:,}"
        f" (plan seed {explanation.plan_seed})"
    )
    for line in wrapped(f"{head}: {explanation.label}" if explanation.label else head, width):
        say(line, styled=emphasized)
    for prompt in explanation.prompts:
        say()
        say(f"{prompt.where} ({prompt.origin})", styled=emphasized)
        for line in wrapped(escaped_line(prompt.text), max(width - 2, 1)):
            say(f"  {line}")
        if prompt.written not in (None, prompt.text):
            for line in wrapped(f"written: {escaped_line(prompt.written or '')}", width - 2):
                say(f"  {line}")
        for row in _pieces(prompt.pieces, prompt.where):
            say(row)
    if explanation.knobs:
        say()
    for knob in explanation.knobs:
        say_wrapped(f"{knob.name} = {plain(knob.value)} ({knob.origin})", hanging=4)


def _pieces(pieces: tuple[Piece, ...], where: str, depth: int = 0) -> Iterator[str]:
    for piece in pieces:
        if not piece.source and not piece.text.strip(" ,"):
            continue
        text = shortened("    " + "  " * depth + escaped_line(piece.text), _WIDEST)
        written = "as written there" if depth else "as written"
        name = piece.source.removeprefix(where)
        yield f"{text:<{_WIDEST}}  {f'{name}, {piece.origin}' if name else written}"
        yield from _pieces(piece.inside, where, depth + 1)
