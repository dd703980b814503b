"""paging: where the next page begins, as a text that can be handed around.

A cursor holds the values of the last row, so a page costs the same wherever it is, and rows
that come in between move nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

from safelight.archive.views import quoted_name
from safelight.errors import FilterError
from safelight.filters import Filter

__all__ = ["cursor", "cursor_values", "page_condition"]

_LONGEST_SHOWN = 200


def page_condition(
    order: Sequence[str], down: bool, after: str | None, types: Mapping[str, str]
) -> Filter:
    """Return the condition for the rows behind the cursor *after*.

    Args:
        order: The columns that are sorted by, a unique key at their end.
        down: Whether from the largest to the smallest.
        after: A cursor, or None for the first page.
        types: The columns' SQL types; a value of another type belongs to another order.

    Raises:
        FilterError: *after* is no cursor, or belongs to another order.
    """
    if after is None:
        return Filter(sql="TRUE")
    values = cursor_values(after)
    fit = len(values) == len(order) and all(
        _fits(value, types[name]) for name, value in zip(order, values, strict=True)
    )
    if not fit:
        raise FilterError(f"--after belongs to another --sort, got {_shown(after)}")
    sign = "<" if down else ">"
    parts, parameters = [], list[Any]()
    for place, (name, value) in enumerate(zip(order, values, strict=True)):
        same = [f"{quoted_name(n)} IS NOT DISTINCT FROM ?" for n in order[:place]]
        step = f"{quoted_name(name)} {sign} ?" if value is not None else "FALSE"
        if value is not None and place == 0:
            step = f"({step} OR {quoted_name(name)} IS NULL)"
        parts.append("(" + " AND ".join([*same, step]) + ")")
        parameters += [*values[:place], *([value] if value is not None else [])]
    return Filter(sql="(" + " OR ".join(parts) + ")", parameters=tuple(parameters))


def cursor_values(after: str) -> list[Any]:
    """Return the values of the columns that are sorted by, of the last row before *after*.

    Raises:
        FilterError: *after* is no cursor.
    """
    try:
        values = json.loads(base64.urlsafe_b64decode(after.encode()))
    except (ValueError, RecursionError, binascii.Error) as error:
        raise FilterError(
            f"--after must be what the page before ended with, got {_shown(after)}"
        ) from error
    if not isinstance(values, list):
        raise FilterError(f"--after must be what the page before ended with, got {_shown(after)}")
    return values


def _fits(value: object, sql_type: str) -> bool:
    """Return whether a column of *sql_type* can hold *value*."""
    if value is None:
        return True
    if sql_type == "VARCHAR":
        return isinstance(value, str) and _is_unicode(value)
    if sql_type == "BOOLEAN" or isinstance(value, bool):
        return sql_type == "BOOLEAN" and isinstance(value, bool)
    if isinstance(value, float):
        return sql_type == "DOUBLE"
    return isinstance(value, int) and abs(value) < 2**64


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a pair, which no database keeps
        return False
    return True


def _shown(after: str) -> str:
    return repr(after) if len(after) <= _LONGEST_SHOWN else f"{after[:_LONGEST_SHOWN]!r}…"


def cursor(values: Sequence[Any]) -> str:
    """Return the cursor behind a row with these *values* of the columns that are sorted by."""
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()
