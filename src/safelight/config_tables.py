"""config_tables: tables of a config, read rule by rule; every fault is gathered with its path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from safelight.errors import ConfigFault, shortened
from safelight.knobs import Stage, did_you_mean

__all__ = [
    "MISSING",
    "Check",
    "StagesReader",
    "TableReader",
    "a_flag",
    "a_text",
    "at_least",
    "between",
    "one_of",
    "plain",
]

MISSING = object()
"""Stands for a table that is not there."""

_LONGEST_MESSAGE = 1000

Check = Callable[[object], str | None]
"""Returns why a value may not be, or None."""


def plain(value: Any) -> Any:
    """Return *value* with every mapping a fresh dict and every sequence a fresh list."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def a_text(value: object) -> str | None:
    """Return why *value* is no text, or None."""
    return None if isinstance(value, str) else f"must be text, got {value!r}"


def a_flag(value: object) -> str | None:
    """Return why *value* is neither true nor false, or None."""
    return None if isinstance(value, bool) else f"must be true or false, got {value!r}"


def at_least(minimum: int) -> Check:
    """Return the check for an integer of at least *minimum*."""

    def check(value: object) -> str | None:
        if isinstance(value, int) and not isinstance(value, bool) and value >= minimum:
            return None
        return f"must be an integer of at least {minimum}, got {value!r}"

    return check


def between(least: int, most: int) -> Check:
    """Return the check for an integer from *least* to *most*."""

    def check(value: object) -> str | None:
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return None
        return f"must be an integer from {least} to {most}, got {value!r}"

    return check


def one_of(*names: str) -> Check:
    """Return the check for one of *names*."""

    def check(value: object) -> str | None:
        if value in names:
            return None
        choices = ", ".join(names)
        near = did_you_mean(value, names) if isinstance(value, str) else ""
        return f"must be one of {choices}; got {value!r}{near}"

    return check


class TableReader:
    """Reads tables, gathering every fault on the way.

    Attributes:
        faults: The broken rules.
        warnings: What the user should know beside these.
    """

    def __init__(self, faults: list[ConfigFault], warnings: list[str]) -> None:
        self.faults, self.warnings = faults, warnings

    def _fault(self, path: str, message: str) -> None:
        # A value of any size may stand in it.
        message = shortened(message, _LONGEST_MESSAGE)
        self.faults.append(ConfigFault(path=path, message=message))

    def _table(self, value: object, path: str) -> Mapping[str, Any] | None:
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return value
        self._fault(path, f"must be a table, got {value!r}")
        return None

    def _refuse_unknown(self, table: Mapping[str, Any], known: Sequence[str], path: str) -> None:
        for key in table:
            if key not in known:
                kind = "key" if path else "stage or key"
                where = f"{path}.{key}" if path else str(key)
                hint = did_you_mean(str(key), known) or f"; known here: {', '.join(known)}"
                self._fault(where, f"is not a known {kind}{hint}")

    def _value(
        self, table: Mapping[str, Any], key: str, default: Any, check: Check, path: str
    ) -> Any:
        if key not in table:
            return default
        message = check(table[key])
        if message:
            self._fault(f"{path}.{key}" if path else key, message)
            return default
        return table[key]


class StagesReader(TableReader):
    """Reads tables whose rules depend on the stages that run.

    Args:
        faults: Where to add broken rules.
        warnings: Where to add what the user should know beside these.
        stages: Those that run -> their knobs, as stated.
    """

    def __init__(
        self,
        faults: list[ConfigFault],
        warnings: list[str],
        stages: Mapping[Stage, Mapping[str, Any]],
    ) -> None:
        super().__init__(faults, warnings)
        self._stages = stages
