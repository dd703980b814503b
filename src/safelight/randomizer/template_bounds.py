"""What a template may stand for at the most: counted before a text of it is made."""

from __future__ import annotations

from collections.abc import Sequence

from safelight.errors import TemplateError
from safelight.randomizer.plan_bounds import (
    LONGEST_PROMPT,
    MOST_PARTS,
    MOST_PICKED,
    MOST_PICKING,
    refuse_long,
)
from safelight.randomizer.text_spaces import Node, Slot

__all__ = ["picking_steps", "refuse_large"]


def refuse_large(node: Node, where: str) -> None:
    """Refuse what could never be in a prompt, before anybody asks for its text.

    Args:
        node: What a part of a template stands for.
        where: The prompt, for the message.

    Raises:
        TemplateError: A text of it may be too long, or made of too many parts.
    """
    if node.most_characters <= LONGEST_PROMPT and node.steps <= MOST_PARTS:
        return
    choices = sorted(node.choices(), key=lambda choice: choice[1].most_characters)
    largest = choices[-1] if choices else None
    name = where
    if largest is not None and 2 * largest[1].most_characters > node.most_characters:
        name = f"{where}: {largest[0].removeprefix(where)}"
    refuse_long(node.most_characters, name, TemplateError)
    raise TemplateError(
        f"{name} may be made of {node.steps:,} parts; {MOST_PARTS:,} are allowed; use its"
        " variables less often"
    )


def picking_steps(slot: Slot, nodes: Sequence[Node], high: int) -> int:
    """Return what it takes to count the ways to take up to *high* of *nodes*.

    Raises:
        TemplateError: They are too many to be counted.
    """
    picking = len(nodes) * high
    if len({node.size for node in nodes}) > 1:
        picking = max(picking, picking * high // 2)
    name = f"{slot.where}: {slot.name}"
    if high > MOST_PICKED:
        raise TemplateError(
            f"{name} takes {high:,} options at once; {MOST_PICKED} are allowed, as in"
            f" {{1-{MOST_PICKED}$$...}}"
        )
    if picking > MOST_PICKING:
        raise TemplateError(
            f"{name} takes {high:,} of {len(nodes):,} options at once, which are too many to be"
            " counted; take fewer, or of fewer"
        )
    return picking
