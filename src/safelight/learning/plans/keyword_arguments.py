"""accepted: of several keyword arguments, those that a callable of somebody else's takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

__all__ = ["accepted"]


def accepted(
    function: Callable[..., Any], offered: Mapping[str, Any], *, named: Collection[str] = ()
) -> dict[str, Any]:
    """Return those of *offered* that *function* names, or all where it takes any.

    One whose signature nobody can tell gets none of them.

    Args:
        function: Which.
        offered: Name -> value.
        named: Names that it must name to get them, even where it takes any.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return {}
    any_other = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    taken = {
        parameter.name
        for parameter in parameters
        if parameter.kind
        in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    }
    if any_other:
        taken |= {name for name in offered if name not in named}
    return {name: value for name, value in offered.items() if name in taken}
