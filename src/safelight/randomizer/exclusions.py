"""Combinations that conditions leave out, found without listing the others.

Of each prompt only the parts that conditions name are multiplied out, and looked at by DuckDB;
parts that conditions tie together become one group of the ranks that are left. All else multiplies
as before.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from operator import add, mul
from typing import TYPE_CHECKING, Any, TypeVar

from safelight.condition_names import ConditionNames, condition_names
from safelight.config import PipelineConfig
from safelight.errors import FilterError, PlanError
from safelight.filters import Filter, quoted
from safelight.knobs import loose_name
from safelight.randomizer.condition_columns import Column, Part, PromptColumns, parts_of
from safelight.randomizer.plan_bounds import PlanWork
from safelight.randomizer.prompt_pack import PackPrompt
from safelight.randomizer.restricted_space import Kept, Restricted
from safelight.randomizer.rule_spaces import RuledSpace
from safelight.randomizer.spaces import Product
from safelight.randomizer.sub_sweeps import space_of_values
from safelight.randomizer.text_spaces import numbered
from safelight.stopped_queries import stopped_as_asked
from safelight.varied_names import first_drawing

if TYPE_CHECKING:
    import duckdb

__all__ = ["MOST_LOOKED_AT", "Exclusions"]

MOST_LOOKED_AT = 1_000_000
"""Combinations of the parts that conditions name, of one prompt, and turns of a plan that steps."""

_QUESTION, _ANSWERED = 1_000, 2
"""What a question to the database, and a row of its answer, count of the work of a plan."""
_ROW = 10
_MOST_REMEMBERED = 1_000
_FETCHED = 10_000


class Exclusions:
    """What the conditions of a plan leave.

    Attributes:
        spaces: Of each prompt what is left; None where that is nothing.
        warnings: Conditions that leave out nothing.

    Args:
        config: The checked config.
        pack: The prompts.
        texts: Of each prompt, what its texts come to.
        sweeps: Name of a sweep -> its values.
        work: Counts what it takes.

    Raises:
        PlanError: A condition cannot be read, names what there is not, or what moves along with
            the combinations; too many would have to be looked at; or none is left.
    """

    def __init__(
        self,
        config: PipelineConfig,
        pack: Sequence[PackPrompt],
        texts: Sequence[RuledSpace],
        sweeps: Mapping[str, Sequence[Any]],
        work: PlanWork,
    ) -> None:
        import duckdb

        self._config, self._pack, self._sweeps, self._work = config, pack, sweeps, work
        self._where = [each.where for each in config.randomizer.exclude]
        spaces = {name: space_of_values(values) for name, values in sweeps.items()}
        self._parts = [parts_of(each, spaces) for each in texts]
        self._wholes = [Product([each, *spaces.values()]) for each in texts]
        self._types: Mapping[str, str] = {}
        self._conditions = self._compiled(texts)
        self._hits = [0] * len(self._conditions)
        self._passed = [False] * len(self._conditions)
        self._known: dict[object, _Answer] = {}
        self._tables: dict[object, _Table] = {}
        with stopped_as_asked(), duckdb.connect(":memory:") as database:
            self._groups = [self._groups_of(place, database) for place in range(len(pack))]
        self.spaces = [self._space(place) for place in range(len(pack))]
        self._refuse_nothing()
        self.warnings = [
            f"{self._named(number)} leaves out nothing; correct it, or leave it out"
            for number, hits in enumerate(self._hits)
            if not hits
        ]

    @property
    def places(self) -> list[int]:
        """Of the prompts of which something is left."""
        return [place for place, space in enumerate(self.spaces) if space is not None]

    @property
    def left_out(self) -> int:
        """Number of combinations that are left out."""
        left = sum(space.size for space in self.spaces if space is not None)
        return sum(whole.size for whole in self._wholes) - left

    def turns(self, longest: int) -> Sequence[int]:
        """Return the turns of a plan whose sources step together that are left.

        Args:
            longest: How many there are.

        Raises:
            PlanError: There are too many to be looked at, or none is left.
        """
        if longest > MOST_LOOKED_AT:
            raise PlanError(
                f"randomizer.exclude: a plan whose sources step together is looked at turn by turn,"
                f" and this one has {longest:,}; {MOST_LOOKED_AT:,} can be; use fewer values, or"
                " another randomizer.mode"
            )
        self._work.spend(_ROW * longest, "randomizer.exclude")
        left = array("Q", (turn for turn in range(longest) if self._is_left(turn)))
        if not left:
            raise PlanError("randomizer.exclude leaves out every turn of the plan; correct it")
        return left

    def _is_left(self, turn: int) -> bool:
        place = turn % len(self._pack)
        if self.spaces[place] is None:
            return False
        parts = self._parts[place]
        for group in self._groups[place]:
            rank = 0
            for each in group.places:
                rank = rank * parts[each].space.size + parts[each].space.step(turn)
            at = bisect_left(group.ranks, rank)
            if at == len(group.ranks) or group.ranks[at] != rank:
                return False
        return True

    # -- conditions ---------------------------------------------------------------------

    def _named(self, number: int) -> str:
        return f"randomizer.exclude[{number}] ({self._where[number]})"

    def _compiled(self, texts: Sequence[RuledSpace]) -> list[Filter]:
        first = first_drawing(self._config.stages)
        names = condition_names(self._config.stages, self._config.randomizer)
        moving: set[str] = set()
        for name, moves in _names_of(texts):
            slot = name[:1] == "["
            column = names.forms["slot"].get(loose_name(name[1:-1]), name) if slot else name
            moving |= {column} if moves else set()
            if column not in names.columns:
                names.add_choice(column, f"{first}.prompt")
        self._types = names.columns
        return [self._condition(n, text, names, moving) for n, text in enumerate(self._where)]

    def _condition(self, number: int, text: str, names: ConditionNames, moving: set[str]) -> Filter:
        try:
            compiled = names.compile(text)
        except FilterError as error:
            raise PlanError(f"randomizer.exclude[{number}].where: {error}") from error
        for name in sorted(compiled.columns & moving):
            raise PlanError(
                f"{self._named(number)}: {name} goes along with the combinations (~, @, or a source"
                " that does not multiply), so none can be left out for it; let it multiply"
            )
        return compiled

    def _refuse_nothing(self) -> None:
        if self.places:
            return
        for number, passed in enumerate(self._passed):
            if not passed:
                raise PlanError(f"{self._named(number)} leaves out every combination; correct it")
        raise PlanError("the conditions of randomizer.exclude together leave out every combination")

    # -- one prompt ---------------------------------------------------------------------

    def _space(self, place: int) -> Product | Restricted | None:
        parts, groups = self._parts[place], self._groups[place]
        if not all(group.ranks for group in groups):
            return None
        groups = [
            group for group in groups
            if len(group.ranks) < prod(parts[each].space.size for each in group.places)
        ]  # fmt: skip
        whole = self._wholes[place]
        return Restricted(whole, [part.space for part in parts], groups) if groups else whole

    def _groups_of(self, place: int, database: duckdb.DuckDBPyConnection) -> list[Kept]:
        columns = PromptColumns(
            config=self._config, pack=self._pack[place], parts=self._parts[place],
            sweeps=self._sweeps, types=self._types,
        )  # fmt: skip
        named = {name: columns.column(name) for each in self._conditions for name in each.columns}
        decided = {
            number: {part for name in each.columns for part in named[name].parts}
            for number, each in enumerate(self._conditions)
        }
        groups = []
        for tied, numbers in _tied(decided):
            places, numbers = tuple(tied), sorted(numbers)
            self._refuse_many(place, numbers, places)
            asked = {name: named[name] for number in numbers
                     for name in sorted(self._conditions[number].columns)}  # fmt: skip
            ranks = self._kept(place, numbers, places, asked, database)
            groups.append(Kept(places=places, ranks=ranks))
        return groups

    def _refuse_many(self, place: int, numbers: Sequence[int], places: Sequence[int]) -> None:
        parts = self._parts[place]
        size = prod(parts[each].space.size for each in places)
        if size > MOST_LOOKED_AT:
            sizes = ", ".join(f"{_shown(parts[n])} ({parts[n].space.size:,})" for n in places)
            names = " and ".join(map(self._named, numbers))
            raise PlanError(
                f"{names} would take a look at {size:,} combinations of {sizes}; {MOST_LOOKED_AT:,}"
                " can be looked at; use fewer values, or name fewer sources"
            )

    def _kept(
        self,
        place: int,
        numbers: Sequence[int],
        places: Sequence[int],
        columns: Mapping[str, Column],
        database: duckdb.DuckDBPyConnection,
    ) -> Sequence[int]:
        """Return the ranks of a group that no condition holds for, and note what each does."""
        tables = [
            self._table(place, together, places, {n: columns[n] for n in names})
            for together, names in _tied({name: each.parts for name, each in columns.items()})
        ]
        keys = [table.key for table in tables]
        key = (tuple(numbers), *keys)
        answer = self._known.get(key) if None not in keys else None
        if answer is None:
            rows = prod(len(table.offsets) for table in tables)
            self._work.spend(_QUESTION + _ANSWERED * rows, "randomizer.exclude")
            answer = self._asked(numbers, tables, database)
            if None not in keys:
                self._known[key] = answer
        size = prod(self._parts[place][each].space.size for each in places)
        for number, hits in zip(numbers, answer.hits, strict=True):
            self._hits[number] += hits
            self._passed[number] |= hits < size
        return answer.ranks

    def _table(
        self,
        place: int,
        together: Sequence[int],
        places: Sequence[int],
        columns: Mapping[str, Column],
    ) -> _Table:
        """Return the rows of parts that columns depend on together."""
        parts, pack = self._parts[place], self._pack[place]
        sizes = [parts[each].space.size for each in places]
        strides = [prod(sizes[places.index(each) + 1 :]) for each in together]
        steps = tuple((parts[n].source, parts[n].space.size, s)
                      for n, s in zip(together, strides, strict=True))  # fmt: skip
        of_sweeps = all(parts[each].node is None for each in together)
        knobs = {name.partition(".")[2] for name in columns}
        own = (*pack.texts.items(), *pack.knobs.items())
        stated = [(name, repr(each)) for name, each in own if name.partition(".")[2] in knobs]
        key = (steps, tuple(columns), tuple(stated))
        if of_sweeps and (known := self._tables.get(key)):
            return known
        self._work.spend(_ROW * prod(size for _, size, _ in steps), "randomizer.exclude")
        offsets: list[int] = []
        rows: list[list[Any]] = [[] for _ in columns]
        for ranks in product(*(range(parts[each].space.size) for each in together)):
            chosen = dict(zip(together, ranks, strict=True))
            offsets.append(sum(map(mul, ranks, strides)))
            for values, column in zip(rows, columns.values(), strict=True):
                values.append(column.value(chosen))
        told: object = key
        if not of_sweeps:
            few = len(offsets) <= _MOST_REMEMBERED
            told = (tuple(offsets), tuple(columns), *map(tuple, rows)) if few else None
        table = _Table(offsets, dict(zip(columns, rows, strict=True)), told)
        if of_sweeps:
            self._tables[key] = table
        return table

    def _asked(
        self,
        numbers: Sequence[int],
        tables: Sequence[_Table],
        database: duckdb.DuckDBPyConnection,
    ) -> _Answer:
        """Return what DuckDB says of the combinations of the rows of *tables*."""
        given: list[Any] = []
        froms: list[str] = []
        for number, table in enumerate(tables):
            listed = [f"unnest(?::UBIGINT[]) AS r{number}"]
            given.append(table.offsets)
            for name, values in table.columns.items():
                listed.append(f"unnest(?::{self._types[name]}[]) AS {quoted(name)}")
                given.append(values)
            froms.append(f"(SELECT {', '.join(listed)})")
        rank = " + ".join(f"r{number}" for number in range(len(tables)))
        conditions = [self._conditions[number] for number in numbers]
        marks = [f"coalesce({each.sql}, FALSE) AS h{n}" for n, each in enumerate(conditions)]
        given[:0] = [value for each in conditions for value in each.parameters]
        # Names are quoted as identifiers, and values are parameters.
        question = f"SELECT {rank} AS r, {', '.join(marks)} FROM {' CROSS JOIN '.join(froms)}"  # noqa: S608
        database.execute(f"{question} ORDER BY r", given)
        ranks, hits = array("Q"), [0] * len(conditions)
        while rows := database.fetchmany(_FETCHED):
            for rank_of_row, *marked in rows:
                if True in marked:
                    hits = list(map(add, hits, marked))
                else:
                    ranks.append(rank_of_row)
        return _Answer(ranks, hits)


@dataclass(frozen=True, slots=True)
class _Table:
    """Rows of parts that columns depend on together.

    Attributes:
        offsets: What each row adds to the rank within its group.
        columns: Column -> its values.
        key: What tells the table from others; None where that is too long to be remembered.
    """

    offsets: Sequence[int]
    columns: Mapping[str, Sequence[Any]]
    key: object


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is left of a group, and for how many combinations each condition holds."""

    ranks: Sequence[int]
    hits: Sequence[int]


def _names_of(texts: Sequence[RuledSpace]) -> Iterator[tuple[str, bool]]:
    for each in texts:
        noted = list(each.names())
        names = numbered([name for name, _ in noted])
        yield from zip(names, (moves for _, moves in noted), strict=True)


Named = TypeVar("Named")


def _tied(deciding: Mapping[Named, Collection[int]]) -> list[tuple[list[int], list[Named]]]:
    """Return (parts, names) for names that share parts, together; *deciding* are each one's."""
    groups: list[tuple[set[int], list[Named]]] = []
    for name, parts in deciding.items():
        own = set(parts)
        tied = [group for group in groups if group[0] & own or not (group[0] or own)]
        groups = [group for group in groups if group not in tied]
        names = [*(each for group in tied for each in group[1]), name]
        groups.append((own.union(*(group[0] for group in tied)), names))
    return [(sorted(parts), names) for parts, names in groups]


def _shown(part: Part) -> str:
    return ", ".join(sorted(part.names)) or part.source
