"""contents: what is in an archive, before anybody has rated: who made it, when, and what varied.

Pictures are alike but for a knob as evidence has it (:mod:`.knob_levels`): in prompt, engine,
every other knob and recorded setting that may change pixels. Grids, which show several, are counted
and are in no group. Rows are told apart by sums of 64-bit hashes, so that one pass over them serves
every knob.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from safelight.archive.answer import columns_of_view, without_discarded
from safelight.archive.archive import Archive
from safelight.archive.columns import DOUBTS
from safelight.archive.grids import OF_GRIDS
from safelight.archive.model_families import family_of_model
from safelight.archive.search import fetched_rows
from safelight.archive.views import Selection, Views, quoted_name, selection
from safelight.filters import SETTING_KEY, compile_filter
from safelight.knobs import COMPARED, FILE_KNOBS
from safelight.recorded_settings import LORA, changes_no_pixels, hashed_knob, model_spellings

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "PAIRS_WANTED",
    "Contents",
    "Count",
    "Counts",
    "Question",
    "Varied",
    "contents_of",
    "count_of_pictures",
]

PAIRS_WANTED = 12
"""Pairs, both rated, that tell a difference of a star from chance: ratings of one person for
pictures of equal worth differ by 1.2 stars or so, and (2.8 x 1.2 / 1) squared is about 12."""

_NO_QUESTION = frozenset({"prompt", "negative_prompt", "seed", "model_hash"})
"""Knobs of which nobody asks which value is better in general."""

_LISTED, _LORAS = 12, 12
_MOST_MONTHS = 600
_RATED = "coalesce(stars IS NOT NULL OR favourite OR rejected OR picks_won + picks_lost > 0, FALSE)"
_SURE = " AND ".join(
    (*(f"coalesce({status}, '') IN ('', 'seed')" for status in DOUBTS[1:]),
     f"(run_id, place) NOT IN ({OF_GRIDS})")
)  # fmt: skip
"""Nothing is in doubt but a seed, which is chance whatever it was, and it is one picture."""

_UNTAGGED = (
    r"trim(regexp_replace(regexp_replace(prompt, '<lora:[^<>]*>', '', 'g'), '\s+', ' ', 'g'))"
)


@dataclass(frozen=True, slots=True)
class Count:
    """How many pictures have one value.

    Attributes:
        name: The value as a text; empty where there is none.
        pictures: That have it.
        spelled: How the value is spelled in them, where that is in several ways.
    """

    name: str
    pictures: int
    spelled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The values of one kind.

    Attributes:
        listed: Some, the most frequent first; months in their order.
        different: How many there are.
    """

    listed: tuple[Count, ...] = ()
    different: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Two values of a knob, and pictures that are alike in all else: ratings would tell.

    Attributes:
        values: The two, as texts.
        pairs: Pairs of pictures that differ in nothing else.
        rated: Of these, how many have both pictures rated.
        pictures: SHA-256 of those to rate, two and two; :data:`PAIRS_WANTED` pairs at most.
    """

    values: tuple[str, str]
    pairs: int
    rated: int = 0
    pictures: tuple[str, ...] = ()

    @property
    def ratings(self) -> int:
        """Ratings that are still wanted, about."""
        return len(self.pictures)


@dataclass(frozen=True, slots=True, kw_only=True)
class Varied:
    """A knob that has more than one value.

    Attributes:
        knob: Its name, or ``lora.NAME`` for the weight of a LoRA.
        values: Those used most, and how many there are.
        groups: Groups of pictures that are alike in all but this knob, and differ in it.
        pictures: In these groups.
        question: The two values that most of these groups have; None where nobody would ask.
    """

    knob: str
    values: Counts
    groups: int
    pictures: int
    question: Question | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What is in an archive.

    Attributes:
        pictures: Different ones.
        rated: Of these, how many somebody rated or picked.
        discarded: How many more were discarded, which are in no other count.
        first: When the earliest was made, ISO 8601; empty without pictures.
        last: When the latest was.
        made_by: Engines and tools; an empty name where nothing tells.
        months: ``2026-11``, in order.
        models: By name, as it is spelled most often; folder, ending, case and hash tell none apart.
        families: Of models, as far as their names tell; an empty name where they do not.
        loras: By name; a picture with several counts for each.
        outcomes: How well imported pictures were read: ``full``, ``partly``, ``none``.
        doubts: What is not known of imported pictures: ``seed unresolved``.
        varied: Knobs that vary, those with most groups first.
    """

    pictures: int = 0
    rated: int = 0
    discarded: int = 0
    first: str = ""
    last: str = ""
    made_by: Counts = Counts()
    months: Counts = Counts()
    models: Counts = Counts()
    families: Counts = Counts()
    loras: Counts = Counts()
    outcomes: Counts = Counts()
    doubts: Counts = Counts()
    varied: tuple[Varied, ...] = ()

    @property
    def questions(self) -> tuple[tuple[str, Question], ...]:
        """Knobs whose question ratings could answer, those with most pairs first."""
        asked = [(one.knob, one.question) for one in self.varied if one.question is not None]
        return tuple(sorted(asked, key=lambda pair: -pair[1].pairs))


def contents_of(archive: Archive, condition: str = "") -> Contents:
    """Return what is in *archive*, of the pictures that meet *condition*.

    Pictures that were discarded are counted apart, as where pictures are shown.

    Args:
        archive: Which.
        condition: In the filter language; empty is everything. One that speaks of what was
            discarded decides itself.

    Raises:
        FilterError: The condition cannot be read.
        ArchiveError: The archive cannot answer.
    """
    # Its faults are told before any work.
    asked = compile_filter(condition, columns_of_view("images"))

    def counted(connection: duckdb.DuckDBPyConnection, views: Views) -> Contents:
        return _Counting(connection, views, condition).contents()

    return archive.asked(counted, rated=True, scored=bool(asked.scorers))


def _selected(views: Views, condition: str) -> Selection:
    wanted = compile_filter(condition, columns_of_view("images"))
    return selection(wanted, reuse=views.reuse, once="images", every="run_images")


def count_of_pictures(archive: Archive, condition: str) -> int:
    """Return how many pictures of *archive* meet *condition*, each counted once.

    Raises:
        FilterError: The condition cannot be read.
        ArchiveError: The archive cannot answer.
    """

    def counted(connection: duckdb.DuckDBPyConnection, views: Views) -> int:
        views.show()
        asked = _selected(views, condition)
        statement = f"SELECT count(DISTINCT sha256) FROM {asked.source} WHERE {asked.where}"
        ((count,),) = fetched_rows(connection, statement, asked.parameters)
        return int(count)

    scorers = compile_filter(condition, columns_of_view("images")).scorers
    return archive.asked(counted, rated=True, scored=bool(scorers))


class _Counting:
    def __init__(self, connection: duckdb.DuckDBPyConnection, views: Views, condition: str) -> None:
        self._connection = connection
        views.show()
        kept = without_discarded(condition)
        self._discarded = 0
        if kept != condition:
            there, all_ = self._counted(views, kept), self._counted(views, condition)
            self._discarded = all_ - there
        asked = _selected(views, kept)
        knobs = ", ".join(quoted_name(name) for name in COMPARED if name != "prompt")
        self._ask(
            "CREATE TEMP TABLE told AS SELECT run_id, place, sha256, timestamp, backend, outcome,"
            f" unresolved, conflicting, {_RATED} AS rated, {_UNTAGGED} AS prompt, {knobs},"
            f" {_SURE} AS sure FROM {asked.source} WHERE {asked.where} QUALIFY"
            " row_number() OVER (PARTITION BY sha256 ORDER BY timestamp, run_id, place) = 1",
            asked.parameters,
        )
        names = self._ask("SELECT model, count(*) FROM told WHERE model IS NOT NULL GROUP BY 1")
        self._spelled: dict[str, list[str]] = {}
        for name, usual in model_spellings(dict(names)).items():
            self._spelled.setdefault(usual, []).append(name)
            if name != usual:
                self._ask("UPDATE told SET model = ? WHERE model = ?", [usual, name])

    def _ask(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return fetched_rows(self._connection, statement, parameters)

    def _counted(self, views: Views, condition: str) -> int:
        asked = _selected(views, condition)
        ((count,),) = self._ask(
            f"SELECT count(DISTINCT sha256) FROM {asked.source} WHERE {asked.where}",
            asked.parameters,
        )
        return int(count)

    def contents(self) -> Contents:
        ((pictures, rated, first, last),) = self._ask(
            "SELECT count(*), count(*) FILTER (rated), min(timestamp), max(timestamp) FROM told"
        )
        if not pictures:
            return Contents(discarded=self._discarded)
        return Contents(
            pictures=pictures,
            rated=rated,
            discarded=self._discarded,
            first=first,
            last=last,
            made_by=self._counts("backend"),
            months=self._counts("left(timestamp, 7)", by="name", most=_MOST_MONTHS),
            models=self._counts("model"),
            families=self._families(),
            loras=self._loras(),
            outcomes=self._counts("outcome", where="outcome IS NOT NULL"),
            doubts=self._doubts(),
            varied=tuple(sorted(self._varied(), key=lambda one: (-one.groups, -one.pictures))),
        )

    def _counts(
        self,
        value: str,
        *,
        where: str = "TRUE",
        by: str = "pictures DESC, name",
        most: int = _LISTED,
    ) -> Counts:
        rows = self._ask(
            f"SELECT coalesce(CAST({value} AS VARCHAR), '') AS name, count(*) AS pictures,"
            f" count(*) OVER () FROM told WHERE {where} GROUP BY 1 ORDER BY {by} LIMIT {most}"
        )
        counts = _listed(rows)
        if value.strip('"') != "model":
            return counts
        return replace(counts, listed=tuple(map(self._with_spellings, counts.listed)))

    def _with_spellings(self, model: Count) -> Count:
        names = self._spelled.get(model.name, [])
        return replace(model, spelled=tuple(sorted(names)) if len(names) > 1 else ())

    def _families(self) -> Counts:
        names = self._ask("SELECT model, count(*) FROM told WHERE model IS NOT NULL GROUP BY 1")
        counts = Counter[str]()
        for name, pictures in names:
            counts[family_of_model(name)] += pictures
        listed = sorted(counts.items(), key=lambda pair: (not pair[0], -pair[1], pair[0]))
        return Counts(
            listed=tuple(Count(name, pictures) for name, pictures in listed), different=len(counts)
        )

    def _loras(self) -> Counts:
        rows = self._ask(
            f"SELECT substr(min(name), {len(LORA) + 1}) AS name,"
            " count(DISTINCT (run_id, place)) AS pictures,"
            " count(*) OVER () FROM settings JOIN told USING (run_id, place)"
            f" WHERE starts_with(name, '{LORA}')"
            f" GROUP BY {SETTING_KEY} ORDER BY pictures DESC, name LIMIT {_LISTED}"
        )
        return _listed(rows)

    def _doubts(self) -> Counts:
        parts = " UNION ALL ".join(
            f"SELECT unnest(string_split({status}, ', ')) || ' {status}' AS name FROM told"
            f" WHERE {status} IS NOT NULL"
            for status in DOUBTS[1:]
        )
        rows = self._ask(
            f"SELECT name, count(*) AS pictures, count(*) OVER () FROM ({parts})"
            " GROUP BY 1 ORDER BY pictures DESC, name"
        )
        return _listed(rows)

    # -- what varied ---------------------------------------------------------------------

    def _varied(self) -> Iterator[Varied]:
        columns = (*(name for name in COMPARED if name != "prompt"), "prompt")
        distinct = ", ".join(
            f"count(DISTINCT {quoted_name(name)})"
            f" + CAST(count(*) > count({quoted_name(name)}) AS INTEGER)"
            for name in columns
        )
        ((*counts,),) = self._ask(f"SELECT {distinct} FROM told")
        several = [name for name, count in zip(columns, counts, strict=True) if count > 1]
        self._hash(several)
        for name in several:
            groups, pictures = self._groups(f"h_{name}", "hashed")
            is_asked = groups and name not in _NO_QUESTION and name not in FILE_KNOBS
            yield Varied(
                knob=name, values=self._counts(quoted_name(name)), groups=groups, pictures=pictures,
                question=self._question(f"h_{name}", f"v_{name}", "hashed") if is_asked else None,
            )  # fmt: skip
        yield from self._varied_loras()

    def _hash(self, knobs: Sequence[str]) -> None:
        """Make ``hashed``: for each picture a hash of each of *knobs*, and the sum of all."""
        names = [name for (name,) in self._ask("SELECT DISTINCT name FROM settings")]
        passed = [n for n in names if changes_no_pixels(n) or hashed_knob(n) is not None]
        self._ask(
            "CREATE TEMP TABLE said AS SELECT run_id, place, key AS name,"
            " min(name) AS named,"
            " sum(hash(key, stage, number, text)) AS h, max(number) AS number"
            f" FROM (SELECT *, {SETTING_KEY} AS key FROM settings)"
            " JOIN (SELECT run_id, place FROM told) USING (run_id, place)"
            " WHERE name NOT IN (SELECT unnest(?::VARCHAR[])) GROUP BY run_id, place, key",
            [passed],
        )
        each = [
            f", hash('{name}', {quoted_name(name)})::HUGEINT AS h_{name},"
            f" coalesce(CAST({quoted_name(name)} AS VARCHAR), '') AS v_{name}"
            for name in knobs
            if name != "prompt"
        ] + [", hash('prompt', prompt)::HUGEINT AS h_prompt" for name in knobs if name == "prompt"]
        total = " + ".join(["coalesce(s.h, 0)", "hash(backend)", *(f"h_{name}" for name in knobs)])
        self._ask(
            f"CREATE TEMP TABLE hashed AS SELECT *, {total} AS whole FROM"
            f" (SELECT run_id, place, sha256, backend, rated, sure{''.join(each)} FROM told)"
            " LEFT JOIN (SELECT run_id, place, sum(h) AS h FROM said GROUP BY ALL) s"
            " USING (run_id, place)"
        )

    def _groups(self, own: str, source: str) -> tuple[int, int]:
        """Return the groups that differ in the knob hashed as *own* alone, and their pictures."""
        ((groups, pictures),) = self._ask(
            "SELECT count(*), coalesce(sum(pictures), 0)::BIGINT FROM"
            f" (SELECT count(*) AS pictures FROM {source} WHERE sure"
            f" GROUP BY whole - {own} HAVING count(DISTINCT {own}) > 1)"
        )
        return groups, pictures

    def _question(self, own: str, value: str, source: str) -> Question:
        """Return the two values that stand beside each other most often, of groups that differ.

        In a group every value is stood for by one picture, a rated one if there is one.
        """
        cells = (
            f"SELECT whole - {own} AS one_group, {value} AS value,"
            " arg_min(sha256, (NOT rated, sha256)) AS picture, bool_or(rated) AS is_rated"
            f" FROM {source} WHERE sure GROUP BY ALL"
        )
        pairs = (
            f"WITH cells AS MATERIALIZED ({cells}) SELECT a.value AS low, b.value AS high,"
            " a.picture AS first, b.picture AS second, a.is_rated AND b.is_rated AS done,"
            " a.is_rated OR b.is_rated AS begun, one_group"
            " FROM cells a JOIN cells b USING (one_group) WHERE a.value < b.value"
        )
        ((low, high, count, done, pictures),) = self._ask(
            "SELECT low, high, count(*), count(*) FILTER (done),"
            " list([first, second] ORDER BY NOT begun, one_group) FILTER (NOT done)"
            f" FROM ({pairs}) GROUP BY low, high ORDER BY count(*) DESC, low, high LIMIT 1"
        )
        wanted = (pictures or [])[: max(0, PAIRS_WANTED - done)]
        return Question(
            values=(_plain(low), _plain(high)), pairs=count, rated=done,
            pictures=tuple(picture for pair in wanted for picture in pair),
        )  # fmt: skip

    def _varied_loras(self) -> Iterator[Varied]:
        names = self._ask(
            f"SELECT name, count(*), min(named) FROM said WHERE starts_with(name, '{LORA}')"
            f" GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {_LORAS}"
        )
        for name, _, spelled in names:
            self._ask(
                "CREATE OR REPLACE TEMP TABLE of_lora AS SELECT whole, sure, rated, sha256,"
                " coalesce(o.h, 0) AS own, coalesce(o.number, 0) AS weight,"
                " CAST(coalesce(o.number, 0) AS VARCHAR) AS value FROM hashed LEFT JOIN"
                " (SELECT run_id, place, h, number FROM said WHERE name = ?) o"
                " USING (run_id, place)",
                [name],
            )
            values = _listed(
                self._ask(
                    "SELECT CAST(weight AS VARCHAR), count(*), count(*) OVER () FROM of_lora"
                    f" GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {_LISTED}"
                )
            )
            if values.different > 1:
                groups, pictures = self._groups("own", "of_lora")
                question = self._question("own", "value", "of_lora") if groups else None
                yield Varied(
                    knob=spelled, values=values, groups=groups, pictures=pictures,
                    question=question,
                )  # fmt: skip


def _listed(rows: Sequence[tuple[Any, ...]]) -> Counts:
    return Counts(
        listed=tuple(Count(_plain(name), pictures) for name, pictures, _ in rows),
        different=rows[0][2] if rows else 0,
    )


def _plain(name: object) -> str:
    """Return a value as a text, whole numbers without a fraction."""
    text = str(name)
    return text.removesuffix(".0") if text.removesuffix(".0").lstrip("-").isdigit() else text
