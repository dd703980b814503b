"""facets: how many pictures meet a condition, and how they part by what is asked for most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safelight.application.level_filters import exact_number, setting_clause
from safelight.archive.answer import columns_of_view
from safelight.archive.archive import Archive
from safelight.archive.columns import DOUBTS
from safelight.archive.pictures_in_memory import DAY, IN_FOLDER, KEY, SIZE
from safelight.archive.search import fetched_rows
from safelight.archive.views import Selection, Views, selection
from safelight.filter_tokens import quoted
from safelight.filters import FOLDER, SETTING_KEY, TAGS_BETWEEN, compile_filter
from safelight.recorded_settings import (
    LORA,
    MOST_EXACT,
    changes_no_pixels,
    comparable_name,
    model_spellings,
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
    "WholeCounts",
    "count_facets",
    "facets_on_disk",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class FacetValue:
    """One value of a facet.

    Attributes:
        value: What it is called; empty where it is missing.
        count: Pictures that have it.
        clause: The condition that chooses it, in the filter language.
        parts: What else tells its pictures apart: the weights of a LoRA.
    """

    value: str
    count: int
    clause: str
    parts: tuple[FacetValue, ...] = ()


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
    "steps": "steps",
    "cfg_scale": "cfg_scale",
    "stage": "stage",
    "backend": "backend",
    "status": "status",
    "outcome": "outcome",
    "folder": "{folder}",
}
_NUMBERS = ("steps", "cfg_scale")
_OF_RESULTS = ("date", "size", *_NUMBERS)
FACET_RATINGS = ("stars", "favourite", "rejected", "tags")
"""What of ratings is counted."""

_GOOD = 4
"""Stars; so many and more are a value of their own."""

_SAID = {"tags": ("tag", TAGS_BETWEEN), "album": ("album", "; ")}
"""Column of ratings -> the facet of the names in it, and what stands between these. Texts are few
where pictures are many, so that pictures are counted by texts."""

_DOUBTS = (
    f"SELECT {', '.join(f'count({name})' for name in DOUBTS)}"  # noqa: S608
    " FROM {images} WHERE outcome IS NOT NULL AND {where}"
)
_NAMES = tuple(_FACET_SQL)


def _facets(names: Sequence[str]) -> str:
    """Return SQL that counts pictures by each of *names*, and looks for them once."""
    quoted_names = ", ".join(f'"{name}_"' for name in names)
    columns = ", ".join(f'{_FACET_SQL.get(name, name)} AS "{name}_"' for name in names)
    sets = ", ".join(f'("{name}_")' for name in names)
    return (
        f"SELECT GROUPING({quoted_names}), count(*), {quoted_names} FROM (SELECT {columns}"  # noqa: S608
        f" FROM {{images}} WHERE {{where}}) GROUP BY GROUPING SETS ((), {sets})"
    )


_PLAIN, _WITH_SAID = _facets(_NAMES), _facets((*_NAMES, *_SAID))


@dataclass(frozen=True, slots=True)
class Source:
    """How the columns of facets are had from where they are counted.

    Attributes:
        day: SQL for the day of a picture.
        size: SQL for its width and height.
        folder: SQL for the folder of its file.
        picture: Columns that tell pictures apart.
        key: SQL for that by which a setting is found.
        tagged: SQL for a picture that has tags or is in an album.
    """

    day: str
    size: str
    folder: str
    picture: str
    key: str
    tagged: str


ON_DISK = Source(
    "timestamp[1:10]",
    "width || '×' || height",
    FOLDER,
    "run_id, place",
    SETTING_KEY,
    "SELECT 1 FROM images WHERE tags IS NOT NULL OR album IS NOT NULL LIMIT 1",
)
IN_MEMORY = Source(
    DAY,
    SIZE,
    IN_FOLDER,
    "row_",
    KEY,
    "SELECT 1 FROM opinions WHERE tags IS NOT NULL OR album IS NOT NULL LIMIT 1",
)

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
    f" <= {_MOST_VALUES} UNION ALL SELECT {{key}}, NULL, min(name), number,"
    f" count(DISTINCT ({{picture}})) FROM settings WHERE {_IS_LORA} AND number IS NOT NULL AND"
    " ({picture}) IN (SELECT ({picture}) FROM found) GROUP BY 1, number ORDER BY 5 DESC, 1, 2, 4"
)
"""What has too many values in a sample has so in all, and need not be counted there. Weights of
LoRAs come without a text."""


def count_facets(
    connection: duckdb.DuckDBPyConnection,
    asked: Selection,
    most: int,
    source: Source,
    whole: WholeCounts | None = None,
    *,
    of_most: bool = False,
) -> tuple[int, tuple[Facet, ...]]:
    """Return how many pictures are *asked* for, and how they part.

    Args:
        connection: With the views of *asked*, and ``settings``.
        asked: Which pictures.
        most: Values per facet.
        source: What the views are made of.
        whole: Of all pictures, where they are held in memory.
        of_most: Whether those that are not asked for are likely fewer.

    Raises:
        ArchiveError: The archive cannot answer.
    """
    which = {"images": asked.source, "where": asked.where}

    def rows_of(statement: str) -> list[tuple[Any, ...]]:
        return fetched_rows(connection, statement, asked.parameters)

    total = 0
    values_of: dict[str, list[FacetValue]] = {name: [] for name in _NAMES}
    said: dict[str, Counter[str]] = {name: Counter() for name in _SAID}
    tagged = bool(fetched_rows(connection, source.tagged, ()))
    names = (*_NAMES, *_SAID) if tagged else _NAMES
    sql = _WITH_SAID if tagged else _PLAIN
    sql = sql.format(
        day=source.day, size=source.size, folder=source.folder, images=asked.source, where="{where}"
    )

    def counted(where: str) -> list[tuple[Any, ...]]:
        return rows_of(sql.replace("{where}", where))

    for group, count, *values in (
        counted(asked.where)
        if whole is None
        else whole.groups(connection, (asked.source, tagged), asked.where, counted, of_most=of_most)
    ):
        if group == 2 ** len(names) - 1:
            total = count
            continue
        place = next(p for p in range(len(names)) if not group >> (len(names) - 1 - p) & 1)
        name, value = names[place], values[place]
        if name in said:
            for one in dict.fromkeys((value or "").split(_SAID[name][1])):
                said[name][one] += count
            continue
        values_of[name].append(
            FacetValue(value=_shown(value), count=count, clause=_clause(name, value))
        )
    values_of["model"] = _one_each(values_of["model"])
    values_of["rating"] += _good(values_of["rating"])
    if any(read.value for read in values_of["outcome"]):
        ((*doubted,),) = rows_of(_DOUBTS.format(**which))
        values_of["outcome"] += [
            FacetValue(value=name, count=count, clause=f"{name} is not missing")
            for name, count in zip(DOUBTS, doubted, strict=True)
            if count
        ]
    for column, counts in said.items():
        name = _SAID[column][0]
        values_of[name] = [
            FacetValue(value=one, count=count, clause=f"{name} = {quoted(one)}")
            for one, count in counts.items()
            if one
        ]
    for name, values_ in values_of.items():
        values_.sort(key=_order_of(name), reverse=name in ("rating", *_OF_RESULTS))
    if fetched_rows(connection, "SELECT 1 FROM settings LIMIT 1", ()):
        sql = _SETTINGS.format(picture=source.picture, key=source.key, **which)
        values_of |= _of_settings(rows_of(sql), asked.parameters)
    facets = (Facet(name=name, values=tuple(v[:most])) for name, v in values_of.items() if v)
    return total, tuple(facets)


class WholeCounts:
    """How all pictures part, as they were counted last.

    Who asks for most of them is sooner told what the others have, taken from what all have.
    """

    def __init__(self) -> None:
        # One value: several ask at a time, and must not take one's moment for another's counts.
        self._last: tuple[tuple[object, ...], Sequence[tuple[Any, ...]]] = ((), ())
        self._missed: tuple[object, ...] = ()

    def groups(
        self,
        connection: duckdb.DuckDBPyConnection,
        how: tuple[object, ...],
        where: str,
        counted: Callable[[str], list[tuple[Any, ...]]],
        *,
        of_most: bool,
    ) -> list[tuple[Any, ...]]:
        """Return the groups of the pictures *where* holds, with their counts.

        Args:
            connection: In a moment of the pictures in memory.
            how: What *counted* looks at.
            where: The condition.
            counted: Returns the groups of a condition.
            of_most: Whether it likely holds of most.
        """
        ((version, every),) = fetched_rows(
            connection, "SELECT n, (SELECT count(*) FROM held) FROM changes", ()
        )
        now = (version, *how)
        known, whole = self._last
        if of_most and known != now and self._missed == now:
            # It pays where nothing changes between two questions, and not while people rate.
            known, whole = now, counted(f"({where} OR TRUE)")
            self._last = (known, whole)
        if of_most and known == now:
            rest = {
                (group, *values): count
                for group, count, *values in counted(f"NOT coalesce({where}, FALSE)")
            }
            left = ((row, row[1] - rest.get((row[0], *row[2:]), 0)) for row in whole)
            return [(row[0], count, *row[2:]) for row, count in left if count]
        self._missed = now
        groups = counted(where)
        if max((row[1] for row in groups), default=0) == every:
            self._last = (now, groups)
        return groups


def facets_on_disk(archive: Archive, condition: str, most: int) -> tuple[int, tuple[Facet, ...]]:
    """Return what :func:`count_facets` does, of the packs and records of *archive*.

    Raises:
        FilterError: *condition* cannot be read.
        ArchiveError: The archive cannot answer.
    """
    wanted = compile_filter(condition, columns_of_view("images"))

    def count(connection: duckdb.DuckDBPyConnection, views: Views) -> tuple[int, tuple[Facet, ...]]:
        views.show()
        asked = selection(wanted, reuse=views.reuse, once="images", every="run_images")
        return count_facets(connection, asked, most, ON_DISK)

    return archive.asked(count, rated=True, scored=bool(wanted.scorers))


def _shown(value: object) -> str:
    if isinstance(value, float):
        return exact_number(value)
    return "" if value is None else str(value)


def _order_of(name: str) -> Callable[[FacetValue], Any]:
    """Return what the values of the facet *name* are sorted by."""
    if name == "rating":  # the best first, and what has no stars at the end
        return lambda facet_value: (facet_value.value[:1].isdigit(), facet_value.value)
    if name in _NUMBERS:
        return lambda facet_value: float(facet_value.value or "-inf")
    if name in _OF_RESULTS:
        return lambda facet_value: facet_value.value
    return lambda facet_value: (-facet_value.count, facet_value.value)


def _good(ratings: Sequence[FacetValue]) -> list[FacetValue]:
    """Return what has :data:`_GOOD` stars or more as one value, ``4+``."""
    good = [each.count for each in ratings if each.value.isdigit() and int(each.value) >= _GOOD]
    clause = f"(stars >= {_GOOD} and not rejected = true)"
    return [FacetValue(value=f"{_GOOD}+", count=sum(good), clause=clause)] if good else []


def _one_each(models: Sequence[FacetValue]) -> list[FacetValue]:
    """Return *models* with one entry for all spellings of a model, which chooses all of them."""
    counts = {model.value: model.count for model in models}
    alike: dict[str, list[str]] = {}
    for name, usual in model_spellings(counts).items():
        alike.setdefault(usual, []).append(name)
    return [
        FacetValue(
            value=usual,
            count=sum(counts[name] for name in names),
            clause=f"model in ({', '.join(map(quoted, sorted(names)))})" if len(names) > 1
            else _clause("model", usual or None),
        )
        for usual, names in alike.items()
    ]  # fmt: skip


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
    weights: dict[str, list[tuple[float, int]]] = {}
    for key, text, _, number, count in rows:
        if text is None and key.startswith(LORA):
            weights.setdefault(key, []).append((number, count))
    for key, text, _, number, count in rows:
        name = _without_ending(names[key], key)
        if name.startswith(LORA):
            if text is None:
                continue
            values_of["lora"].append(_lora(name[len(LORA) :], count, weights.get(key, ())))
        elif (values[key] > 1 or comparable_name(name) in asked) and not changes_no_pixels(name):
            shown = text if number is None else exact_number(number)
            clause = f"{setting_clause(name)} = {quoted(text) if number is None else shown}"
            if name in values_of or len(values_of) <= _MOST_SETTINGS:
                values_of.setdefault(name, []).append(
                    FacetValue(value=shown, count=count, clause=clause)
                )
    return values_of


def _lora(name: str, count: int, weights: Sequence[tuple[float, int]]) -> FacetValue:
    """Return the LoRA *name* with its *weights*, each with its pictures; the least first."""
    clause = f"lora({quoted(name)})"
    parts = tuple(
        FacetValue(
            value=exact_number(weight), count=own, clause=f"{clause} = {exact_number(weight)}"
        )
        for weight, own in sorted(weights)
    )
    return FacetValue(value=name, count=count, clause=clause, parts=parts)


def _without_ending(name: str, key: str) -> str:
    """Return the setting *name* without its file's ending, unless another one comes before that."""
    short = name[: len(key)]
    return short if comparable_name(short) == key else name


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
    if isinstance(value, (int, float)):
        return f"{name} = {_shown(value)}"
    return f"{name} = {quoted(value)}"
