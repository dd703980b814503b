"""exact_numbers: configs for scripts of the page, which would round a large number.

JavaScript has one kind of number. What it would not give back as it was goes as ``{"$number":
"18446744073709551615"}``; the page keeps the text, and writes it as the number that it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["exact"]

_NUMBER = "$number"
_SAFE = 2**53 - 1


def exact(value: Any) -> Any:
    """Return *value*, as JSON has it, with the numbers that JavaScript does not keep as texts."""
    if isinstance(value, Mapping):
        return {str(key): exact(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [exact(each) for each in value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    if isinstance(value, int):
        return value if -_SAFE <= value <= _SAFE else {_NUMBER: str(value)}
    if math.isfinite(value) and value == round(value):
        return {_NUMBER: repr(value)}
    return value if math.isfinite(value) else str(value)
