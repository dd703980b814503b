"""CSV as we write it: no text of a picture becomes a formula of the spreadsheet that opens it.

Spreadsheets take a cell for a formula by its first character, in quotes or not, and a formula may
send what is in other cells elsewhere. An apostrophe before it makes it a text, and the first of a
text is not shown. Numbers are left alone, negative ones too: what is no text cannot be a formula.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from numbers import Number
from typing import Any, Protocol

__all__ = ["WritesText", "csv_cell", "write_csv"]

_FORMULA = frozenset("=+-@\t\r\n＝＋－＠")
"""What a formula begins with, and what some spreadsheets pass over before one; the wide forms are
those of East Asian keyboards, which some take for the same."""


class WritesText(Protocol):
    """What text can be written to."""

    def write(self, text: str, /) -> object:
        """Write *text*."""
        ...


def csv_cell(value: Any) -> Any:
    """Return *value* as it may stand in a cell: a text that begins like a formula quoted."""
    if value is None or isinstance(value, Number):
        return value
    text = str(value)
    return f"'{text}" if text[:1] in _FORMULA else text


def write_csv(
    file: WritesText, columns: Iterable[str], rows: Iterable[Sequence[Any]], *, raw: bool = False
) -> None:
    """Write a head of *columns*, and *rows*.

    Args:
        file: Where to.
        columns: Their names, which may be a user's.
        rows: As many values each.
        raw: Leave every cell as it is, for programs that take none for a formula.
    """
    writer = csv.writer(file)
    if raw:
        writer.writerow(columns)
        writer.writerows(rows)
    else:
        writer.writerow(map(csv_cell, columns))
        writer.writerows(map(csv_cell, row) for row in rows)
