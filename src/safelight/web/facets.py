"""facets: how many pictures meet a condition, and how they part by what is asked for most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safelight.archive.filters import SETTING_KEY
from safelight.archive.pictures_in_memory import DAY, KEY, SIZE
from safelight.archive.search import fetched_rows
from safelight.archive.views import Selection
from safelight.knobs import knob_of_extra
from safelight.recorded_settings import (
    EXTRA,
    LORA,
    MOST_EXACT,
    changes_no_pixels,
    comparable_name,
)

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "FACET_RATINGS",
    "IN_MEMORY",
    "ON_DISK",
    "Facet",
    "FacetValue",
    "Source",
    "count_facets",
    "exact_number",
    "quoted",
    "setting_clause",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class FacetValue:
    """One value of a facet.

    Attributes:
        value: What it is called; empty where it is missing.
        count: Pictures that have it.
        clause: The condition that chooses it, in the filter language.
    """

    value: str
    count: int
    clause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facet:
    """One way to part what was found.

    Attributes:
        name: ``model``, ``sampler``, ...
        values: The most frequent, by count; dates and sizes by themselves.
    """

    name: str
    values: tuple[FacetValue, ...]


_MOST_SETTINGS = 12
"""So many settings beside knobs are facets, of those that vary and have few values."""

_FACET_SQL = {
    "date": "{day}",
    "rating": "CASE WHEN rejected THEN 'rejected' WHEN stars IS NULL THEN 'not rated'"
    " ELSE CAST(floor(stars) AS INTEGER)::VARCHAR END",
    "favourite": "CASE WHEN favourite THEN 'favourite' END",
    "model": "model",
    "sampler": "sampler",
    "scheduler": "scheduler",
    "size": "{size}",
    "stage": "stage",
    "backend": "backend",
    "status": "status",
}
FACET_RATINGS = ("stars", "favourite", "rejected")
"""What of ratings is counted."""

_NAMES = tuple(_FACET_SQL)
_WHOLE = 2 ** len(_NAMES) - 1
_QUOTED = ", ".join(f'"{name}_"' for name in _NAMES)
_FACETS = (
    "SELECT GROUPING(" + _QUOTED + "), count(*), " + _QUOTED + " FROM (SELECT "  # noqa: S608
    + ", ".join(f'{sql} AS "{name}_"' for name, sql in _FACET_SQL.items())
    + " FROM {images} WHERE {where}) GROUP BY GROUPING SETS ((), "
    + ", ".join(f'("{name}_")' for name in _NAMES)
    + ")"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """How the columns of facets are had from where they are counted.

    Attributes:
        day: SQL for the day of a picture.
        size: SQL for its width and height.
        picture: Columns that tell pictures apart.
        key: SQL for that by which a setting is found.
    """

    day: str
    size: str
    picture: str
    key: str


ON_DISK = Source("timestamp[1:10]", "width || '×' || height", "run_id, place", SETTING_KEY)
IN_MEMORY = Source(DAY, SIZE, "row_", KEY)

_MOST_VALUES = 40
"""A setting with more values among what was found is no facet."""

_SAMPLE = 2000
"""Pictures of which a few hundred milliseconds are saved: see :data:`_SETTINGS`."""

_IS_LORA = f"starts_with(name, '{LORA}')"
_EXACT = f"abs(number) < {MOST_EXACT}"
_VALUE = f"CASE WHEN {_EXACT} THEN CAST(number + 0 AS VARCHAR) ELSE text END"
"""One text for however a number is spelled, and one zero: as filters compare them."""

_SETTINGS = (
    "WITH found AS MATERIALIZED (SELECT {picture} FROM {images} WHERE {where}),"  # noqa: S608
    f" looked_at AS MATERIALIZED (SELECT * FROM found USING SAMPLE reservoir({_SAMPLE} ROWS)"
    " REPEATABLE (1)), many AS MATERIALIZED (SELECT {key} AS key FROM settings WHERE ({picture})"
    f" IN (SELECT ({{picture}}) FROM looked_at) AND NOT {_IS_LORA} GROUP BY 1"
    f" HAVING count(DISTINCT {_VALUE}) > {_MOST_VALUES})"
    f" SELECT {{key}} AS key, CASE WHEN {_IS_LORA} THEN '' ELSE {_VALUE} END AS value, min(name),"
    f" min(CASE WHEN {_EXACT} THEN number END), count(DISTINCT ({{picture}})) FROM settings"
    " WHERE {key} NOT IN (SELECT key FROM many) AND ({picture}) IN (SELECT ({picture}) FROM found)"
    f" GROUP BY 1, 2 QUALIFY starts_with(key, '{LORA}') OR count(*) OVER (PARTITION BY key)"
    f" <= {_MOST_VALUES} ORDER BY 5 DESC, 1, 2"
)
"""What has too many values in a sample has so in all, and need not be counted there."""


def count_facets(
    connection: duckdb.DuckDBPyConnection, asked: Selection, most: int, source: Source
) -> tuple[int, tuple[Facet, ...]]:
    """Return how many pictures are *asked* for, and how they part.

    Args:
        connection: With the views of *asked*, and ``settings``.
        asked: Which pictures.
        most: Values per facet.
        source: What the views are made of.

    Raises:
        ArchiveError: The archive cannot answer.
    """
    which = {"images": asked.source, "where": asked.where}
    statement = _FACETS.format(day=source.day, size=source.size, **which)
    rows = fetched_rows(connection, statement, asked.parameters)
    settings: list[tuple[Any, ...]] = []
    if fetched_rows(connection, "SELECT 1 FROM settings LIMIT 1", ()):
        statement = _SETTINGS.format(picture=source.picture, key=source.key, **which)
        settings = fetched_rows(connection, statement, asked.parameters)
    total = 0
    values_of: dict[str, list[FacetValue]] = {name: [] for name in _NAMES}
    for group, count, *values in rows:
        if group == _WHOLE:
            total = count
            continue
        place = next(p for p in range(len(_NAMES)) if not group >> (len(_NAMES) - 1 - p) & 1)
        name, value = _NAMES[place], values[place]
        text = "" if value is None else str(value)
        values_of[name].append(FacetValue(value=text, count=count, clause=_clause(name, value)))
    for name, values_ in values_of.items():
        if name in ("date", "size"):
            values_.sort(key=lambda facet_value: facet_value.value, reverse=True)
        elif name == "rating":  # the best first, and what has no stars at the end
            values_.sort(
                key=lambda facet_value: (facet_value.value.isdigit(), facet_value.value),
                reverse=True,
            )
        else:
            values_.sort(key=lambda facet_value: (-facet_value.count, facet_value.value))
    values_of |= _of_settings(settings, asked.parameters)
    facets = (Facet(name=name, values=tuple(v[:most])) for name, v in values_of.items() if v)
    return total, tuple(facets)


def _of_settings(
    rows: Sequence[tuple[Any, ...]], chosen: Sequence[Any]
) -> dict[str, list[FacetValue]]:
    """Return LoRAs as one facet, and of the other settings those that vary, the most used first.

    Args:
        rows: Key, text, name, number and count of each value, as :data:`_SETTINGS` gives them.
        chosen: The values of the condition, among them the names of settings that it is about.
    """
    values = Counter(key for key, *_ in rows)
    names: dict[str, str] = {}
    for key, _, name, *_ in rows:
        names[key] = min(name, names.get(key, name))
    asked = {comparable_name(value) for value in chosen if isinstance(value, str)}
    values_of: dict[str, list[FacetValue]] = {"lora": []}
    for key, text, _, number, count in rows:
        name = _without_ending(names[key], key)
        if name.startswith(LORA):
            plain = name[len(LORA) :]
            value = FacetValue(value=plain, count=count, clause=f"lora({quoted(plain)})")
            values_of["lora"].append(value)
        elif (values[key] > 1 or comparable_name(name) in asked) and not changes_no_pixels(name):
            shown = text if number is None else exact_number(number)
            clause = f"{setting_clause(name)} = {quoted(text) if number is None else shown}"
            if name in values_of or len(values_of) <= _MOST_SETTINGS:
                values_of.setdefault(name, []).append(
                    FacetValue(value=shown, count=count, clause=clause)
                )
    return values_of


def _without_ending(name: str, key: str) -> str:
    """Return the setting *name* without its file's ending, unless another one comes before that."""
    short = name[: len(key)]
    return short if comparable_name(short) == key else name


def setting_clause(name: str) -> str:
    """Return what a filter calls the setting *name*, and nothing else by."""
    plain = name.removeprefix(EXTRA)
    if name.startswith(EXTRA) and knob_of_extra(plain) is None:
        return f"extra({quoted(plain)})"
    if name.startswith(LORA):
        return f"lora({quoted(name[len(LORA) :])})"
    return f"recorded({quoted(name)})"


def exact_number(number: float) -> str:
    """Return *number* as a filter reads it back, to the last digit."""
    return str(int(number)) if number.is_integer() and abs(number) < MOST_EXACT else repr(number)


def _clause(name: str, value: object) -> str:
    if name == "date":
        return f"timestamp has {quoted(value)}"
    if name == "rating":
        if value == "rejected":
            return "rejected = true"
        if value == "not rated":
            return "(stars is missing and not rejected = true)"
        more = int(str(value)) + 1
        return f"(stars >= {value} and stars < {more} and not rejected = true)"
    if name == "favourite":
        return "favourite = true" if value else "(favourite is missing or favourite = false)"
    if value is None:
        return f"{name} is missing" if name != "size" else "width is missing"
    if name == "size":
        width, _, height = str(value).partition("×")
        return f"(width = {width} and height = {height})"
    return f"{name} = {quoted(value)}"


def quoted(value: object) -> str:
    """Return *value* as a text of the filter language."""
    return "'" + str(value).replace("'", "''") + "'"
