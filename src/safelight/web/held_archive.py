"""HeldArchive: an archive whose database stays open between questions.

Opening it costs a look at every loose record and rating; a page that asks several times a
second cannot pay that each time. What changed on the disk is noticed by the folders' times and
the rating segments' sizes: records are read anew at once, ratings for a fifth of the time at
most, because while people rate they change all the time.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safelight.archive import Answer, Archive
from safelight.archive.filters import compile_filter
from safelight.archive_layout import packs_folder, records_folder, running_folder
from safelight.errors import ArchiveError
from safelight.learning.ratings import ratings_folder

if TYPE_CHECKING:
    import duckdb

__all__ = ["Facet", "FacetValue", "HeldArchive"]

_REST = 4
"""Seconds of rest after reading for one second, so that raters do not wait for readers."""

_AT_ONCE = 3
"""Questions that are worked on at the same time; more would only take from each other."""

_ANSWERS_KEPT, _LARGEST_KEPT = 64, 500

Signature = tuple[object, ...]


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


@dataclass(frozen=True, slots=True)
class _Kept:
    """An answer, and until when it may be given again."""

    records: Signature
    ratings: Signature
    rests_until: float
    answer: Answer


class HeldArchive(Archive):
    """One archive folder, held open.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self._lock = threading.Lock()
        self._held: duckdb.DuckDBPyConnection | None = None
        self._signature: Signature = ()
        self._rest_until = 0.0
        self._answers: OrderedDict[tuple[object, ...], _Kept] = OrderedDict()
        self._keeping = threading.Lock()
        self._asking = threading.BoundedSemaphore(_AT_ONCE)

    def query(
        self,
        condition: str = "",
        *,
        view: str = "images",
        columns: Sequence[str] = (),
        sort: str = "-timestamp",
        limit: int | None = 50,
        after: str | None = None,
    ) -> Answer:
        """Return what :meth:`Archive.query` does, which many may ask at once.

        An answer is given again while the records are the same; to ratings it may be late by
        as long as :data:`_REST` times what it cost, so that raters do not wait for readers.
        """
        key = (condition, view, tuple(columns), sort, limit, after)
        records, ratings = self.signature()[:2], self.signature()[2:]
        kept = self._answers.get(key)
        if (
            kept is not None
            and kept.records == records
            and (kept.ratings == ratings or time.monotonic() < kept.rests_until)
        ):
            return kept.answer
        with self._asking:
            now_kept = self._answers.get(key)
            if now_kept is not None and now_kept is not kept and now_kept.records == records:
                return now_kept.answer  # somebody asked the same meanwhile
            begun = time.monotonic()
            answer = super().query(
                condition, view=view, columns=columns, sort=sort, limit=limit, after=after
            )
            cost = time.monotonic() - begun
        if limit is not None and limit <= _LARGEST_KEPT:
            rests_until = begun + cost + min(_REST * cost, 2.0)
            with self._keeping:
                self._answers[key] = _Kept(records, ratings, rests_until, answer)
                while len(self._answers) > _ANSWERS_KEPT:
                    self._answers.popitem(last=False)
        return answer

    def connect(self) -> duckdb.DuckDBPyConnection:
        """Return a cursor of the held database; closing it leaves the database open."""
        with self._lock:
            signature = self.signature()
            if (
                self._held is None
                or signature[:2] != self._signature[:2]
                or (signature != self._signature and time.monotonic() >= self._rest_until)
            ):
                begun = time.monotonic()
                self._held = super().connect()
                self._signature = signature
                ended = time.monotonic()
                self._rest_until = ended + min(_REST * (ended - begun), 10.0)
            return self._held.cursor()

    def signature(self) -> Signature:
        """Return what changes when records, packs or ratings do."""
        times = [_changed(folder(self.path)) for folder in (records_folder, packs_folder)]
        return (*times, *sorted(_sizes(ratings_folder(self.path))))

    def running(self) -> Signature:
        """Return what changes when a run that is going on finishes a variant."""
        folder = running_folder(self.path)
        found = []
        for name, _ in _sizes(folder):
            try:
                place = self.path / (folder / name).read_text("utf-8")
                found.append((name, (place / "journal.jsonl").stat().st_size))
            except (OSError, UnicodeDecodeError, ValueError):
                continue
        return tuple(sorted(found))

    def facets(self, condition: str, *, most: int = 40) -> tuple[int, tuple[Facet, ...]]:
        """Return how many pictures meet *condition*, and how they part.

        Args:
            condition: In the filter language.
            most: Values per facet.

        Raises:
            FilterError: The condition cannot be read.
            ArchiveError: The archive cannot answer.
        """
        import duckdb

        with self._asking, self.connect() as connection:
            wanted = compile_filter(condition, _columns(connection))
            try:
                rows = connection.execute(_FACETS.format(wanted.sql), wanted.parameters).fetchall()
                loras: list[tuple[str, int]] = []
                if connection.execute("SELECT 1 FROM loras LIMIT 1").fetchone():
                    statement = _LORAS.format(wanted.sql)
                    loras = connection.execute(statement, wanted.parameters).fetchall()
            except duckdb.Error as error:
                raise ArchiveError(f"the archive cannot answer: {error}") from error
        total = 0
        found: dict[str, list[FacetValue]] = {name: [] for name in _NAMES}
        for group, count, *values in rows:
            if group == _WHOLE:
                total = count
                continue
            place = next(p for p in range(len(_NAMES)) if not group >> (len(_NAMES) - 1 - p) & 1)
            name, value = _NAMES[place], values[place]
            text = "" if value is None else str(value)
            found[name].append(FacetValue(value=text, count=count, clause=_clause(name, value)))
        for name, values_ in found.items():
            if name in ("date", "size"):
                values_.sort(key=lambda one: one.value, reverse=True)
            elif name == "rating":  # the best first, and what has no stars at the end
                values_.sort(key=lambda one: (one.value.isdigit(), one.value), reverse=True)
            else:
                values_.sort(key=lambda one: one.count, reverse=True)
        found["lora"] = [
            FacetValue(value=name, count=count, clause=f"prompt has {_quoted(f'<lora:{name}')}")
            for name, count in loras
        ]
        facets = (Facet(name=name, values=tuple(v[:most])) for name, v in found.items() if v)
        return total, tuple(facets)

    def models_rated(self) -> tuple[str, ...]:
        """Return the models whose pictures were rated, the most rated first."""
        with self.connect() as connection:
            rows = connection.execute(
                "SELECT model FROM images WHERE model IS NOT NULL AND"
                " (stars IS NOT NULL OR picks_won > 0 OR picks_lost > 0) GROUP BY model"
                " ORDER BY count(*) DESC LIMIT 100"
            ).fetchall()
        return tuple(row[0] for row in rows)


_FACET_SQL = {
    "date": "timestamp[1:10]",
    "rating": "CASE WHEN rejected THEN 'rejected' WHEN stars IS NULL THEN 'not rated'"
    " ELSE CAST(floor(stars) AS INTEGER)::VARCHAR END",
    "favourite": "CASE WHEN favourite THEN 'favourite' END",
    "model": "model",
    "sampler": "sampler",
    "scheduler": "scheduler",
    "size": "CASE WHEN width IS NOT NULL THEN width || '×' || height END",
    "stage": "stage",
    "backend": "backend",
    "status": "status",
}
_NAMES = tuple(_FACET_SQL)
_WHOLE = 2 ** len(_NAMES) - 1
_QUOTED = ", ".join(f'"{name}_"' for name in _NAMES)
_FACETS = (
    "SELECT GROUPING(" + _QUOTED + "), count(*), " + _QUOTED + " FROM (SELECT "  # noqa: S608
    + ", ".join(f'{sql} AS "{name}_"' for name, sql in _FACET_SQL.items())
    + " FROM images WHERE {}) GROUP BY GROUPING SETS ((), "
    + ", ".join(f'("{name}_")' for name in _NAMES)
    + ")"
)  # fmt: skip
_LORAS = (
    "SELECT name, count(DISTINCT (run_id, place)) FROM loras WHERE (run_id, place) IN"
    " (SELECT (run_id, place) FROM images WHERE {}) GROUP BY name ORDER BY 2 DESC LIMIT 40"
)


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


def _columns(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    rows = connection.execute("DESCRIBE images").fetchall()
    return {row[0]: row[1] for row in rows if row[0] not in ("lower_prompt", "prompt_id")}


def _changed(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _sizes(folder: Path) -> Iterator[tuple[str, int]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    yield entry.name, entry.stat().st_size
    except OSError:
        return
