"""plan_bounds: how long a prompt may become, and how much the making of a plan may take.

A few hundred bytes of rules that feed each other stand for gigabytes of text, and a template of a
few lines for more choices than any memory holds. Lengths are added up before a text is made, and
work is counted, not timed: a plan that is refused is refused on every machine.
"""

from __future__ import annotations

from safelight.errors import PlanError, SafelightError

__all__ = [
    "LONGEST_PROMPT",
    "LONGEST_SEARCH",
    "MOST_LORAS",
    "MOST_PARTS",
    "MOST_PICKED",
    "MOST_PICKING",
    "MOST_SIGNS",
    "MOST_SOURCES",
    "PlanWork",
    "refuse_long",
    "refuse_uncountable",
]

LONGEST_PROMPT = 100_000
"""Characters that a prompt may have once everything is put in; people write a few thousand. One
that is written longer, and has nothing put in, stays as it is."""

LONGEST_SEARCH = 1_000
"""Characters of what a rule looks for, and of the name of a wildcard."""

MOST_SOURCES = 1_000
"""Rules, tokens and slots together, or swept knobs."""

MOST_LORAS = 100
"""LoRAs that a plan gives weights to."""

MOST_PARTS = 200_000
"""Literals, choices and what holds them together, of one text."""

MOST_PICKED = 100
"""Options that ``{N$$...}`` may take at once."""

MOST_PICKING = 200_000
"""Options times options taken at once, and half of options times its square where they differ."""

MOST_SIGNS = 20_000
"""Signs of templates in one plan that only the ``dynamicprompts`` library reads, slowly."""

_MOST_WORK = 30_000_000
_LARGEST_PLAN = 10**3_000


class PlanWork:
    """Counts what the making of one plan takes, in about microseconds and in characters held."""

    def __init__(self, most: int = _MOST_WORK) -> None:
        self._most = most
        self._done = 0

    def spend(self, amount: int, what: str) -> None:
        """Count *amount* more.

        Args:
            amount: Of work.
            what: For the message: where the plan grows.

        Raises:
            PlanError: That is more than a plan may take.
        """
        self._done += amount
        if self._done > self._most:
            raise PlanError(
                f"{what}: the plan takes too much to be made, more than {self._most:,} steps; use"
                " fewer or shorter values, or let fewer of them stand inside others"
            )


def refuse_long(characters: int, source: str, error: type[SafelightError] = PlanError) -> None:
    """Refuse a prompt that may have so many *characters*.

    Args:
        characters: Counted before the text is made.
        source: The prompt, rule or choice that makes it so long.
        error: What is raised.

    Raises:
        PlanError: It is longer than a prompt may be; or *error*.
    """
    if characters > LONGEST_PROMPT:
        raise error(
            f"{source} may make a prompt of {_shown(characters)} characters; {LONGEST_PROMPT:,} are"
            " allowed; use shorter values, or use it less often"
        )


def refuse_uncountable(combinations: int, what: str) -> None:
    """Refuse a plan that cannot even be written down as a number.

    Raises:
        PlanError: It has more than 10**3,000 *combinations*.
    """
    if combinations > _LARGEST_PLAN:
        raise PlanError(
            f"{what} come to more than 10**3,000 combinations; use fewer choices, or draw from each"
            " with ~"
        )


def _shown(number: int) -> str:
    return f"{number:,}" if number < 10**15 else f"about 2**{number.bit_length()}"
