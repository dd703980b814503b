"""views: packs and loose records as one set of tables, each run once."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from safelight.archive.columns import (
    INTERNAL,
    OF_THE_RUN,
    PLACED,
    RATINGS,
    TABLES,
    Batch,
    Run,
    columns_of,
    numpy_columns,
)
from safelight.archive.packs import Pack, pack_name
from safelight.archive.places import Places
from safelight.archive.run_copies import RANK_IN_SQL
from safelight.archive.said_tables import SaidTables
from safelight.filters import RATED_TEXTS, Filter
from safelight.learning.ratings import PictureScore
from safelight.learning.ratings.followed_ratings import NOTHING_SAID, RatingChange
from safelight.recorded_settings import LORA

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "SHOWN_ONCE",
    "VIEWS",
    "PassedOver",
    "Selection",
    "Views",
    "find_passed_over",
    "find_reuse",
    "newest_first",
    "packs_at",
    "quoted_name",
    "registered_scores",
    "selection",
]

VIEWS = ("runs", "images", "loras", "settings")
"""What may be asked."""

_FIRST_LOOK = 30_000
_GROWTH = 8

_LORAS = (
    f"SELECT run_id, place, substr(name, {len(LORA) + 1}) AS name, number AS weight FROM settings"
    f" WHERE starts_with(name, '{LORA}')"
)
_SCORES = " UNION ".join(
    "SELECT i.run_id, i.place, s.name, s.number, s.unit, s.version FROM plain_run_images i"
    f" JOIN given_scores s ON s.hash = i.{column}"
    for column in ("sha256", "image_sha256", "pixel_sha256")
)
_RATED_TEXT = (
    "(run_id, place) IN (SELECT run_id, place FROM run_images WHERE contains(lower({}), ?))"
)
_IN_PROMPTS = "prompt_id IN (SELECT prompt_id FROM prompts WHERE contains(lower_prompt, ?))"


class Views:
    """The views over some packs and the loose records, in one database.

    A run that is in several places counts once, in the earliest pack, and a picture that later
    runs used again counts once, as who drew it has it. Besides those that may be asked there are
    ``scores``, a row for each number that a scorer gave a picture; ``plain_images``, without what
    people say and with the columns for searching; ``prompts``; and
    ``run_images`` and ``plain_run_images``, where such a picture is there once for each run.

    Attributes:
        packs: All that have tables.
        doubled: Runs of which there are several records, but for imported pictures.
        older_readings: How many records of imported pictures do not count any more.
        reuse: Whether any picture is used again.
        searched: Column of ``plain_images`` -> SQL that looks for a text in it, for
            :func:`.compile_filter`.

    Args:
        connection: Where they are made.
        packs: Those of the archive that have tables of today.
        loose: The records that are in no such pack.
        ratings: What people say now, joined to pictures by either of their hashes.
        places: SHA-256 of a picture -> where it lies now, when it was met elsewhere.
        scores: What scorers say, joined likewise.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        packs: Sequence[Pack],
        loose: Batch,
        ratings: RatingChange = NOTHING_SAID,
        places: Mapping[str, str] | None = None,
        scores: Iterable[PictureScore] = (),
    ) -> None:
        self._connection = connection
        self.packs = packs
        found = find_passed_over(connection, packs, {"": loose.runs})
        self.doubled = loose.doubled | found.doubled
        self.older_readings = loose.older_readings + found.older_readings
        self._doubled = found.sources
        loose.create_tables(connection)
        if "" in self._doubled:
            for table in ("runs", "images", "settings"):
                connection.execute(
                    f"DELETE FROM batch_{table} WHERE run_id IN"
                    " (SELECT run_id FROM passed_over WHERE pack = '')"
                )
        self._rated = _load_ratings(connection, ratings)
        said = [*ratings.ratings, *(each.rating for each in ratings.alike if each.rating)]
        # Without a join where nobody wrote anything.
        written = {"tags": any(r.tags for r in said), "notes": any(r.notes for r in said)}
        self.searched: Mapping[str, str] = {
            "prompt": _IN_PROMPTS,
            **{name: _RATED_TEXT.format(name) if written[name] else "FALSE"
               for name in RATED_TEXTS},
        }  # fmt: skip
        _load_scores(connection, list(scores))
        self._placed = _load_places(connection, {} if places is None else places)
        self.reuse = self._find_reuse()

    def show(self, packs: Sequence[Pack] | None = None, *, loose: bool = True) -> None:
        """Make the views show *packs*, all when None, and the loose records or not."""
        shown = self.packs if packs is None else packs
        for table, view in (
            ("prompts", "prompts"), ("runs", "runs"), ("settings", "settings"),
            ("images", "plain_run_images"),
        ):  # fmt: skip
            every = self._every(table, shown, loose=loose)
            if table == "images":
                every = self._placed.format(images=every)
            self._connection.execute(f"CREATE OR REPLACE VIEW {view} AS {every}")
        self._connection.execute(f"CREATE OR REPLACE VIEW loras AS {_LORAS}")
        once = f" WHERE {SHOWN_ONCE}" if self.reuse else ""
        self._connection.execute(
            f"CREATE OR REPLACE VIEW plain_images AS SELECT * FROM plain_run_images{once}"
        )
        self._connection.execute(f"CREATE OR REPLACE VIEW scores AS {_SCORES}")
        for view in ("images", "run_images"):
            rated = self._rated.format(images=f"plain_{view}")
            self._connection.execute(f"CREATE OR REPLACE VIEW {view} AS {rated}")

    def _every(self, table: str, packs: Sequence[Pack], *, loose: bool = True) -> str:
        """Return SQL for all rows of *table*, of those of *packs* and of the loose records."""
        parts = [f"SELECT * FROM batch_{table}" + ("" if loose else " WHERE FALSE")]
        parts += self._packed(table, packs)
        return " UNION ALL BY NAME ".join(parts)

    def _packed(self, table: str, packs: Sequence[Pack]) -> Iterator[str]:
        """Yield SQL for each part of *packs*."""
        doubled = self._doubled if table != "prompts" else set()
        clean = [_file(pack, table) for pack in packs if pack.path.name not in doubled]
        if clean:
            yield f"SELECT * FROM read_parquet([{', '.join(clean)}])"
        for pack in packs:
            if pack.path.name in doubled:
                yield (
                    f"SELECT * FROM read_parquet({_file(pack, table)})"
                    " WHERE run_id NOT IN (SELECT run_id FROM passed_over"
                    f" WHERE pack = {_text(pack.path.name)})"
                )

    def _find_reuse(self) -> bool:
        """Find the pictures that are used again and whose own record is not here."""
        self._connection.execute(
            f"CREATE TEMP VIEW every_image AS {self._every('images', self.packs)}"
        )
        self._connection.execute(f"CREATE TEMP VIEW every_run AS {self._every('runs', self.packs)}")
        reuse = find_reuse(self._connection, "every_image", "every_run")
        self._connection.execute("DROP VIEW every_image")
        self._connection.execute("DROP VIEW every_run")
        return reuse


SHOWN_ONCE = "(drawn_by IS NULL OR (run_id, place) IN (SELECT run_id, place FROM shown_reuse))"
"""Keeps one row of each picture, where ``shown_reuse`` is what :func:`find_reuse` made."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which pictures a question is about, as parts of SQL.

    Attributes:
        source: What to select from.
        where: What must hold.
        parameters: The values of both, in order.
    """

    source: str
    where: str
    parameters: tuple[Any, ...]


def selection(wanted: Filter, *, reuse: bool, once: str, every: str) -> Selection:
    """Return the pictures that meet *wanted*, each once.

    Where the condition is about runs, a picture that was used again is among those of each; one
    that is found several times is shown as who drew it has it, or the earliest of those found.

    Args:
        wanted: The condition.
        reuse: Whether any picture is used again.
        once: Name of the view that has each picture once.
        every: Name of the view that has it for each run.
    """
    if not reuse or not wanted.columns & OF_THE_RUN:
        return Selection(once, wanted.sql, wanted.parameters)
    chosen = f"SELECT * FROM {every} WHERE {wanted.sql}"
    source = (
        f"({chosen} AND drawn_by IS NULL UNION ALL SELECT * FROM ({chosen} AND drawn_by IS NOT NULL"
        " QUALIFY row_number() OVER (PARTITION BY sha256, path ORDER BY timestamp, run_id, place)"
        f" = 1) again WHERE NOT EXISTS (SELECT 1 FROM ({chosen} AND drawn_by IS NULL) first"
        " WHERE first.run_id = again.drawn_by AND first.sha256 = again.sha256))"
    )
    return Selection(source, "TRUE", wanted.parameters * 3)


def find_reuse(connection: duckdb.DuckDBPyConnection, images: str, runs: str) -> bool:
    """Create the table ``shown_reuse``; return whether any picture is used again.

    A picture that a run used again is not counted again. One whose own record is not here is
    counted as the earliest of those that used it has it.

    Args:
        connection: The database.
        images: Name of a view of all pictures of all runs.
        runs: Name of a view of all runs.
    """
    connection.execute("CREATE TABLE IF NOT EXISTS shown_reuse (run_id VARCHAR, place BIGINT)")
    drawn_by = connection.execute(
        f"SELECT DISTINCT drawn_by FROM {images} WHERE drawn_by IS NOT NULL"
    ).fetchall()
    if not drawn_by:
        return False
    connection.execute(
        f"INSERT INTO shown_reuse SELECT arg_min(run_id, (timestamp, run_id, place)),"
        f" arg_min(place, (timestamp, run_id, place)) FROM {images} WHERE drawn_by IS NOT NULL"
        f" AND drawn_by NOT IN (SELECT run_id FROM {runs}) GROUP BY sha256, path"
    )
    return True


def newest_first(
    packs: Sequence[Pack], *, oldest: bool = False
) -> Iterator[tuple[list[Pack], str | None]]:
    """Yield *packs* in groups that grow, from the newest on, or from the *oldest*.

    With each comes a time that no record of a later group lies
    beyond, None with the last: who has found enough beyond it needs no further group.
    """
    ordered = sorted(packs, key=lambda pack: pack.first if oldest else pack.last)
    if not oldest:
        ordered.reverse()
    start, most = 0, _FIRST_LOOK
    while True:
        end, records = start, 0
        while end < len(ordered) and (end == start or records + ordered[end].records <= most):
            records += ordered[end].records
            end += 1
        if end == len(ordered):
            yield ordered[start:], None
            return
        yield ordered[start:end], ordered[end].first if oldest else ordered[end].last
        start, most = end, most * _GROWTH


def packs_at(packs: Sequence[Pack], times: Sequence[str]) -> list[Pack]:
    """Return those of *packs* that span one of *times*, which are sorted."""
    return [
        pack for pack in packs if bisect_left(times, pack.first) < bisect_right(times, pack.last)
    ]


def _load_ratings(connection: duckdb.DuckDBPyConnection, said: RatingChange) -> str:
    """Return SQL of the pictures with the columns of their ratings."""
    held = {**TABLES["images"], **PLACED}
    own = ", ".join(f'i."{name}"' for name in held if name not in INTERNAL)
    if not said.ratings and not said.alike:
        none = ", ".join(f'CAST(NULL AS {kind}) AS "{name}"' for name, kind in RATINGS.items())
        return f"SELECT {own}, {none} FROM {{images}} i"
    tables = SaidTables("memory.main")
    tables.create(connection)
    tables.say(connection, said.ratings, said.alike)
    connection.execute(
        "CREATE VIEW rated AS SELECT s.key_, o.* FROM said s JOIN opinions o ON o.said_ = s.said_"
    )
    # A hash of one kind is never one of another, so one table serves for all.
    rating_columns = ", ".join(
        f'coalesce(d."{name}", b."{name}", p."{name}") AS "{name}"' for name in RATINGS
    )
    return (
        f"SELECT {own}, {rating_columns} FROM {{images}} i"
        " LEFT JOIN rated b ON b.key_ = hash(i.sha256)"
        " LEFT JOIN rated d ON d.key_ = hash(i.image_sha256)"
        " LEFT JOIN rated p ON p.key_ = hash(i.pixel_sha256)"
    )


_SCORE_KINDS = {
    "hash": "VARCHAR", "name": "VARCHAR", "number": "DOUBLE", "unit": "VARCHAR",
    "version": "VARCHAR",
}  # fmt: skip


def _load_scores(connection: duckdb.DuckDBPyConnection, scores: Sequence[PictureScore]) -> None:
    """Create the table ``given_scores``: a row for each number and hash of its picture."""
    columns = ", ".join(f"{name} {kind}" for name, kind in _SCORE_KINDS.items())
    connection.execute(f"CREATE TABLE given_scores ({columns})")
    if scores:
        with registered_scores(connection, scores) as rows:
            connection.execute(f"INSERT INTO given_scores {rows}")


@contextmanager
def registered_scores(
    connection: duckdb.DuckDBPyConnection, scores: Sequence[PictureScore]
) -> Iterator[str]:
    """Give SQL that selects hash, name, number, unit and version of *scores*, of each hash."""
    rows = [(digest, one.scorer, one.number, one.unit, one.version)
            for one in scores for digest in one.digests]  # fmt: skip
    connection.register("registered_scores", numpy_columns(_SCORE_KINDS, columns_of(rows)))
    casts = ", ".join(f"{name}::{kind}" for name, kind in _SCORE_KINDS.items())
    yield f"SELECT {casts} FROM registered_scores"
    connection.unregister("registered_scores")


def _load_places(connection: duckdb.DuckDBPyConnection, places: Mapping[str, str]) -> str:
    """Return SQL that puts the places where pictures lie now over those of their records."""
    known = places if isinstance(places, Places) else Places()
    rows = [
        (digest, places.get(digest), known.gone.get(digest), digest in known.discarded)
        for digest in {**places, **known.gone}
    ]
    if not rows:
        return "SELECT *, NULL::BOOLEAN AS discarded FROM ({images})"
    kinds = {"sha256": "VARCHAR", "place_now": "VARCHAR", "gone_from": "VARCHAR",
             "is_discarded": "BOOLEAN"}  # fmt: skip
    connection.register("given_places", numpy_columns(kinds, columns_of(rows)))
    casts = ", ".join(f"{name}::{kind} AS {name}" for name, kind in kinds.items())
    connection.execute(f"CREATE TABLE moved AS SELECT {casts} FROM given_places")
    connection.unregister("given_places")
    gone = "nullif(coalesce(m.gone_from = coalesce(m.place_now, i.path), FALSE), FALSE)"
    return (
        f"SELECT i.* REPLACE (coalesce(m.place_now, i.path) AS path, {gone} AS gone),"
        f" nullif({gone} AND m.is_discarded, FALSE) AS discarded"
        " FROM ({images}) i LEFT JOIN moved m ON m.sha256 = i.sha256"
    )


class PassedOver(NamedTuple):
    """What does not count.

    Attributes:
        sources: Where any such record is.
        doubled: Runs of which there are several records, but for imported pictures.
        older_readings: How many are older readings of imported pictures.
    """

    sources: set[str]
    doubled: set[str]
    older_readings: int


def find_passed_over(
    connection: duckdb.DuckDBPyConnection,
    packs: Sequence[Pack],
    taken: Mapping[str, Sequence[Run]],
) -> PassedOver:
    """Create the table ``passed_over``: ``pack`` and ``run_id`` of each record that counts not.

    Of several records of a run the one of highest rank counts (:func:`.run_copies.rank_of`), of
    equal ones, which are the same, that of the earliest pack, and a loose one last. Imported
    pictures that have the same image data and the same settings are one picture: of their runs,
    which only differ in what else the files said, the one of highest rank counts.

    A run has one time, so only packs whose times overlap are looked into, which serial packing
    never makes. Records whose time is that of a file are looked for everywhere.

    Args:
        connection: A database that may read the packs.
        packs: Those with tables.
        taken: Where records are that are in no table of a pack -> their runs; loose ones are in
            ``""``, the last of them.
    """
    runs = [run for own in taken.values() for run in own]
    looks = [look for look in _looks(packs, runs) if look[0]]
    columns = (
        "run_id, coalesce(status, '') AS status, coalesce(pictures, 0) AS pictures, digest,"
        " coalesce(reader, 0) AS reader, coalesce(reading, 0) AS reading, picture_key"
    )
    parts = [
        f"SELECT filename AS source, {columns} FROM {_runs_of(some)} WHERE {which}"
        for some, which, _ in looks
    ]
    parts.append(f"SELECT source, {columns} FROM given_runs")
    rows = [(source, r.run_id, r.status, r.pictures, r.digest, *r.reading, r.picture_key)
            for source, own in taken.items() for r in own]  # fmt: skip
    connection.register("given_runs", numpy_columns(_VERSIONS, columns_of(rows)))
    connection.execute(
        f"CREATE TABLE versions AS SELECT {_CAST_VERSIONS} FROM ({' UNION '.join(parts)})",
        [value for _, _, parameters in looks for value in parameters],
    )
    connection.unregister("given_runs")
    places = {name: place for place, name in enumerate([*(p.path.name for p in packs), *taken])}
    found = connection.execute("SELECT DISTINCT source FROM versions").fetchall()
    names = [(s, name := s if s in taken else pack_name(s), places[name]) for (s,) in found]
    kinds = {"source": "VARCHAR", "pack": "VARCHAR", "place": "BIGINT"}
    connection.register("given_sources", numpy_columns(kinds, columns_of(names)))
    connection.execute(
        "CREATE TABLE ranked AS SELECT v.*, s.pack::VARCHAR AS pack,"
        " row_number() OVER of_run AS number, first_value(s.pack::VARCHAR) OVER of_run AS counts,"
        " rank() OVER (PARTITION BY run_id ORDER BY {RANK}) AS rank FROM versions v"
        " JOIN given_sources s ON s.source = v.source"
        " WINDOW of_run AS (PARTITION BY run_id ORDER BY {RANK}, s.place)".replace(
            "{RANK}", RANK_IN_SQL
        )
    )
    connection.unregister("given_sources")
    connection.execute(
        "CREATE TABLE passed_over AS SELECT DISTINCT pack, run_id FROM ranked WHERE pack <> counts"
        " UNION SELECT pack, run_id FROM (SELECT pack, run_id, row_number() OVER (PARTITION BY"
        f" picture_key ORDER BY {RANK_IN_SQL}, run_id DESC) AS number FROM ranked"
        " WHERE number = 1 AND picture_key IS NOT NULL) WHERE number > 1"
    )
    sources, doubled, ((older,),) = (connection.execute(statement).fetchall() for statement in (
        "SELECT DISTINCT pack FROM passed_over",
        "SELECT DISTINCT run_id FROM ranked WHERE pack <> counts AND status <> 'imported'",
        "SELECT count(*) FROM ranked WHERE rank > 1 AND status = 'imported'",
    ))  # fmt: skip
    for table in ("versions", "ranked"):
        connection.execute(f"DROP TABLE {table}")
    return PassedOver({name for (name,) in sources}, {run_id for (run_id,) in doubled}, older)


_VERSIONS = {
    "source": "VARCHAR", "run_id": "VARCHAR", "status": "VARCHAR", "pictures": "BIGINT",
    "digest": "VARCHAR", "reader": "BIGINT", "reading": "BIGINT", "picture_key": "UBIGINT",
}  # fmt: skip
_CAST_VERSIONS = ", ".join(f"{name}::{kind} AS {name}" for name, kind in _VERSIONS.items())


def _looks(
    packs: Sequence[Pack], loose: Sequence[Run]
) -> Iterator[tuple[Sequence[Pack], str, list[Any]]]:
    """Yield packs and a condition, for all their records that may not be the only ones."""
    timely = [run for run in loose if not run.untimely]
    untimely = [run for run in loose if run.untimely]
    times = sorted(run.timestamp for run in timely)
    if near := packs_at(packs, times):
        which = "timestamp BETWEEN ? AND ? AND run_id IN (SELECT unnest(?::VARCHAR[]))"
        yield near, which, [times[0], times[-1], [run.run_id for run in timely]]
    if untimely and packs:
        pictures = [run.picture_key for run in untimely if run.picture_key is not None]
        which = (
            "run_id IN (SELECT unnest(?::VARCHAR[]) UNION ALL SELECT run_id FROM"
            f" {_runs_of(packs)} WHERE picture_key IN (SELECT unnest(?::UBIGINT[])))"
        )
        yield packs, which, [[run.run_id for run in untimely], pictures]
    several = " GROUP BY {0} HAVING count(*) > 1"
    for some, which in (
        *((cluster, "TRUE") for cluster in _clusters(packs)),
        (packs, "status = 'imported'"), (packs, "stated_time IS NOT NULL"),
    ):  # fmt: skip
        if len(some) > 1:
            doubled = f"SELECT run_id FROM {_runs_of(some)} WHERE {which}{several.format('run_id')}"
            yield some, f"{which} AND run_id IN ({doubled})", []
    if packs:
        runs, known = _runs_of(packs), "picture_key IS NOT NULL"
        keys = f"SELECT picture_key FROM {runs} WHERE {known}{several.format('picture_key')}"
        doubled = f"SELECT run_id FROM {runs} WHERE {known} AND picture_key IN ({keys})"
        yield packs, f"run_id IN ({doubled})", []


def _clusters(packs: Sequence[Pack]) -> Iterator[list[Pack]]:
    """Yield the packs that hang together by overlapping times, two or more each."""
    cluster: list[Pack] = []
    end = ""
    for pack in sorted(packs, key=lambda pack: (pack.first, pack.last)):
        if cluster and pack.first > end:
            if len(cluster) > 1:
                yield cluster
            cluster = []
        end = max(end, pack.last) if cluster else pack.last
        cluster.append(pack)
    if len(cluster) > 1:
        yield cluster


def _runs_of(packs: Sequence[Pack]) -> str:
    files = ", ".join(_file(pack, "runs") for pack in packs)
    return f"read_parquet([{files}], filename = true)"


def _file(pack: Pack, table: str) -> str:
    assert pack.tables is not None
    return _text(str(pack.tables.absolute() / f"{table}.parquet"))


def quoted_name(column: str) -> str:
    """Return *column* as SQL names it."""
    return '"' + column.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
