"""facets: how many pictures meet a condition, and how they part by what is asked for most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safelight.archive.pictures_in_memory import DAY, MOST_VALUES, SIZE
from safelight.archive.search import fetched_rows
from safelight.archive.views import Selection
from safelight.recorded_settings import LORA, changes_no_pixels

if TYPE_CHECKING:
    import duckdb

__all__ = ["FACET_RATINGS", "IN_MEMORY", "ON_DISK", "Facet", "FacetValue", "Source", "count_facets"]


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
    """How the columns of facets are had from where they are counted."""

    day: str
    size: str
    picture: str
    few: str


ON_DISK = Source("timestamp[1:10]", "width || '×' || height", "(run_id, place)", "TRUE")
IN_MEMORY = Source(
    DAY, SIZE, "row_", "(starts_with(name, 'lora.') OR name IN (SELECT name FROM few_values))"
)
_SETTINGS = (
    "SELECT name, CASE WHEN starts_with(name, 'lora.') THEN '' ELSE coalesce(text,"  # noqa: S608
    " CAST(number AS VARCHAR)) END AS value, any_value(number), count(DISTINCT {picture})"
    " FROM settings WHERE {few} AND {picture} IN (SELECT {picture} FROM {images} WHERE {where})"
    " GROUP BY 1, 2 QUALIFY starts_with(name, 'lora.') OR count(*) OVER (PARTITION BY name)"
    f" <= {MOST_VALUES} ORDER BY 4 DESC, 1, 2"
)


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
        statement = _SETTINGS.format(picture=source.picture, few=source.few, **which)
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
        rows: Name, text, number and count of each value.
        chosen: The values of the condition, among them the names of settings that it is about.
    """
    values_of: dict[str, list[FacetValue]] = {"lora": []}
    values = Counter(name for name, *_ in rows)
    for name, text, number, count in rows:
        plain = name.partition(".")[2]
        if name.startswith(LORA):
            value = FacetValue(value=plain, count=count, clause=f"lora({_quoted(plain)})")
            values_of["lora"].append(value)
        elif (values[name] > 1 or name.lower() in chosen) and not changes_no_pixels(name):
            whole = f"{number:g}" if text is None or number is not None else _quoted(text)
            shown = text if number is None else f"{number:g}"
            clause = f"extra({_quoted(plain)}) = {whole}"
            if name in values_of or len(values_of) <= _MOST_SETTINGS:
                values_of.setdefault(name, []).append(
                    FacetValue(value=shown, count=count, clause=clause)
                )
    return values_of


def _clause(name: str, value: object) -> str:
    if name == "date":
        return f"timestamp has {_quoted(value)}"
    if name == "rating":
        if value == "rejected":
            return "rejected = true"
        if value == "not rated":
            return "stars is missing"
        return f"(stars >= {value} and stars < {int(str(value)) + 1})"
    if name == "favourite":
        return "favourite = true" if value else "(favourite is missing or favourite = false)"
    if value is None:
        return f"{name} is missing" if name != "size" else "width is missing"
    if name == "size":
        width, _, height = str(value).partition("×")
        return f"(width = {width} and height = {height})"
    return f"{name} = {_quoted(value)}"


def _quoted(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"
