"""circumstances: what went with pictures beside their settings, and may be the cause instead.

Who judged a picture and when, in which month it was made, in which folder it lies, which words its
prompt has. Of these a comparison of two levels is held free in two ways. Where both levels are
found in the same circumstances, columns for them stand beside the settings (:attr:`~Circumstances.
steady`, :attr:`~Circumstances.loose`). Where they hardly ever are, nothing can be told, and the
circumstance is named (:meth:`Circumstances.instead`).

With a_g and b_g pictures of the two levels in group g of a circumstance, and m_g = a_g + b_g::

    met     = sum_g min(a_g, b_g)
    by luck = sum_g E min(X_g, m_g - X_g)        X_g binomial of m_g and sum a / sum m

The levels were kept apart when met is a tenth of what luck gives, or less, where that is three
pictures or more. So a level that was used in one month of many is compared in that month, and
prompts that were drawn once keep nothing apart.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.findings import one_line
from safelight.learning.evidence.knob_levels import KnobLevels
from safelight.learning.evidence.scores import Judgements
from safelight.learning.evidence.trials import Trials

__all__ = ["STEADY_SPREAD", "Circumstances", "Instead"]

STEADY_SPREAD = 2.0
"""Prior deviation of what a rater's scale, his drift or a trend may do, in score units: nothing
that people do is beyond it."""

_APART, _FEWEST_MET = 0.1, 3.0
_FOR_DRIFT, _IN_A_BLOCK, _MOST_BLOCKS = 20, 25, 12
_BY_LIKING = 0.5
_USUAL = (0.02, 0.98)
_SITTING_SPREAD, _IN_A_SITTING = 0.5, 5
_MOST_DRIFTING, _MOST_GROUPS = 8, 60
_COARSE, _IN_A_PART = 16, 10
_WORD = re.compile(r"[^\W\d_]{3,}")
_MOST_WORDS, _FEWEST_PROMPTS, _SHARE = 100, 3, 0.1
_MOST_KINDS = 12
_JUDGING = ("rater", "order")

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instead:
    """A circumstance that may be what a difference comes from.

    Attributes:
        what: ``order``, ``rater``, ``month``, ``folder``, ``prompt`` or ``words``.
        reason: What was found, a sentence without its full stop.
    """

    what: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class _Groups:
    """A circumstance in groups: number of each row of a table of pictures or judgements."""

    what: str
    images: Integers
    codes: Integers
    names: Sequence[str]


class Circumstances:
    """Those of rated pictures.

    Args:
        trials: The pictures.
        prompts: Number of each row's prompt, int64[n].
    """

    def __init__(self, trials: Trials, prompts: Integers) -> None:
        self._trials, self._prompts = trials, prompts
        self._count = len(trials)
        self._tables_of, self._tables = "", list[tuple[_Groups, Any]]()

    # -- columns beside the settings ---------------------------------------------------------

    @cached_property
    def judging(self) -> Floats:
        """Who judged, his drift, and his sittings: columns of prior deviation STEADY_SPREAD.

        Those of :attr:`_standards`, and one per sitting of five moments or more of a rater who sat
        down more than once: the share of judgements that he gave in it. What a mood does is held
        at a deviation of 0.5, so that the column is small. float64[n, k].
        """
        scale = _SITTING_SPREAD / STEADY_SPREAD
        return np.concatenate([self._standards, *(scale * own for own in self._sittings)], axis=1)

    @cached_property
    def _standards(self) -> Floats:
        """Who judged, and his drift: columns of prior deviation :data:`STEADY_SPREAD`.

        One per rater whose readings are centred on his own pictures, but the first: his share of
        the picture's judgements. One per rater of twenty moments or more: that share times the
        place in his order, from -1 to 1; and times the place in his sitting, which may tire him.
        float64[n, k].
        """
        judged, share = self._trials.judgements, self._share
        centred = np.flatnonzero(judged.own_scale & (self._moments > 0))
        columns = [
            self._summed(judged, np.where(judged.raters == rater, share, 0.0))
            for rater in (centred[1:] if self._all_centred else centred)
        ]
        for rater in self._drifting:
            mine = judged.raters == rater
            columns.append(self._summed(judged, np.where(mine, share * self._time, 0.0)))
            if np.ptp(judged.sittings[mine]):
                columns.append(self._summed(judged, np.where(mine, share * self._tired, 0.0)))
        return np.column_stack(columns) if columns else np.zeros((self._count, 0))

    @cached_property
    def steady(self) -> Floats:
        """:attr:`_standards`, and trends over the time and the order of making.

        From -1 to 1, float64[n, k].
        """
        made = self._trials.made
        known = np.isfinite(made)
        columns = [self._standards]
        if known.any() and np.ptp(made[known]) > 0:
            low, high = np.quantile(made[known], _USUAL)  # one wrong clock stretches no trend
            trends = np.zeros((self._count, 2))
            trends[known, 0] = 2 * (np.clip(made[known], low, high) - low) / max(high - low, 1) - 1
            trends[known, 1] = self._order_of_making[known]
            columns += [trends, known[:, None].astype(np.float64)]
        return np.concatenate(columns, axis=1)

    @cached_property
    def length(self) -> Floats:
        """Place of each prompt's length in words, from -1 to 1, float64[n, 1]; [n, 0] of one.

        Who learns to write prompts writes longer ones, and has other settings by then. What a
        part of the prompt does is told without: a prompt with it is longer.
        """
        prompts = self._trials.prompts
        words = np.array([*(len(_WORD.findall(text)) for text in prompts.names), 0])
        own = _places(words[prompts.codes])[:, None]
        return own[:, : int(np.ptp(own) > 0)]

    @cached_property
    def loose(self) -> Sequence[Floats]:
        """Groups that share something, of a spread that is to be found: float64[n, groups] each.

        Parts of the order in which a rater judged, his sittings, months and parts of the order
        of making, folders.
        """
        judged, share = self._trials.judgements, self._share
        parts = []
        for rater in self._drifting:
            own = np.flatnonzero(judged.raters == rater)
            block = self._block(rater, own)
            table = np.zeros((self._count, int(block.max()) + 1))
            np.add.at(table, (judged.images[own], block), share[own])
            parts.append(table)
        loose = [np.concatenate(parts, axis=1)] if parts else []
        loose += self._sittings
        for groups in (self._months, self._parts_of_making, self._folders):
            often = np.bincount(groups.codes, minlength=len(groups.names))
            most = np.argsort(-often, kind="stable")[:_MOST_GROUPS]
            if len(most) > 1:
                table = np.zeros((self._count, len(groups.names)))
                table[groups.images, groups.codes] = 1
                loose.append(table[:, most])
        return loose

    @cached_property
    def _sittings(self) -> Sequence[Floats]:
        """Return a column per sitting of raters of several, the longest: at most one array."""
        judged, columns = self._trials.judgements, list[Floats]()
        for rater in self._drifting:
            names, sat = np.unique(judged.sittings[judged.raters == rater], return_counts=True)
            if len(names) < 2:
                continue
            for sitting in names[np.argsort(-sat, kind="stable")][:_MOST_BLOCKS]:
                at = judged.sittings == sitting
                if np.ptp(judged.places[at]) >= _IN_A_SITTING - 1:
                    columns.append(self._summed(judged, np.where(at, self._share, 0.0)))
        return [np.column_stack(columns)] if columns else []

    def words(self) -> dict[str, NDArray[np.bool_]]:
        """Return the words of prompts that tell kinds of pictures apart: bool[n] each.

        Three prompts or more have it, and three or more have not; a tenth of the pictures, and
        not nine tenths; of words of the same prompts one.
        """
        words, has = self._words
        rows = self._prompts
        found: dict[bytes, str] = {}
        for place, word in enumerate(words):
            column = has[:, [place]].toarray()[:, 0].astype(np.bool_)
            if _FEWEST_PROMPTS <= column.sum() <= len(column) - _FEWEST_PROMPTS:
                found.setdefault(min(column.tobytes(), (~column).tobytes()), word)
        return {
            word: has[:, [words.index(word)]].toarray()[:, 0].astype(np.bool_)[rows]
            for word in list(found.values())[:_MOST_KINDS]
        }

    def opposite(self, word: str) -> str | None:
        """Return a word that just those prompts have which lack *word*, if there is one."""
        words, has = self._words
        own = has[:, [words.index(word)]].toarray()
        for place, other in enumerate(words):
            if (has[:, [place]].toarray() + own == 1).all():
                return other
        return None

    # -- what cannot be told -----------------------------------------------------------------

    def instead(
        self, levels: KnobLevels, level: int, against: int | None, *, paired: bool
    ) -> tuple[Instead, ...]:
        """Return the circumstances that kept a level apart from what it is compared with.

        Args:
            levels: The knob.
            level: Which.
            against: What it is compared with; None is all others together.
            paired: They are compared in pictures of one prompt and seed that are alike in all
                settings, so that only the judging is left.
        """
        if self._tables_of != levels.knob:
            self._tables_of, self._tables = levels.knob, list(self._made_tables(levels))
        knob = one_line(levels.knob)
        names = [f"{knob} {one_line(levels.names[level])}", "everything else"]
        if against is not None:
            names[1] = f"{knob} {one_line(levels.names[against])}"
        found: dict[str, Instead] = {}
        for groups, table in self._tables:
            if (paired and groups.what not in _JUDGING) or groups.what in found:
                continue
            mine, whole = _row(table, level), _row(table, None)
            theirs = whole - mine if against is None else _row(table, against)
            if _apart(mine, theirs):
                reason = _reason(groups, mine, theirs, *names)
                found[groups.what] = Instead(what=groups.what, reason=reason)
        if "rater" in found:  # he who judged another level judged at another time
            found.pop("order", None)
        if "prompt" in found:
            found.pop("words", None)
        return tuple(found.values())

    def _made_tables(self, levels: KnobLevels) -> Iterator[tuple[_Groups, Any]]:
        """Yield each circumstance with how often each level was in each of its groups."""
        from scipy import sparse

        height = len(levels.names)
        for groups in (self._raters, *self._orders, self._months, self._folders):
            code = levels.codes[groups.images]
            own = code >= 0
            cells = code[own] * len(groups.names) + groups.codes[own]
            table = np.bincount(cells, minlength=height * len(groups.names))
            yield groups, table.reshape(height, len(groups.names))
        if levels.knob.startswith("term:"):  # a part of the prompt goes with prompts
            return
        known = np.flatnonzero(levels.codes >= 0)
        ones = np.ones(len(known), np.int64)
        shape = (height, int(self._prompts.max(initial=-1)) + 1)
        by_prompt = sparse.csr_array((ones, (levels.codes[known], self._prompts[known])), shape)
        yield _Groups("prompt", known, self._prompts, ()), by_prompt
        words, has = self._words
        if not words:
            return
        with_word = (by_prompt @ has).toarray()
        total = np.asarray(by_prompt.sum(axis=1))[:, None] - with_word
        for place, word in enumerate(words):
            names = (f"without {word!r}", f"with {word!r}")
            table = np.column_stack([total[:, place], with_word[:, place]]).astype(np.int64)
            yield _Groups("words", known, self._prompts, names), table

    @cached_property
    def _raters(self) -> _Groups:
        judged = self._trials.judgements
        names = [name or "one without a name" for name in judged.rater_names]
        return _Groups("rater", judged.images, judged.raters, names)

    @cached_property
    def _orders(self) -> Sequence[_Groups]:
        """Return parts of each rater's order: sixteen of them, and such of ten moments."""
        judged = self._trials.judgements
        orders = []
        for each in (None, _IN_A_PART):
            many = np.full(len(self._moments), _COARSE)
            if each is not None:
                many = np.maximum(self._moments // each, 1)
            first = np.concatenate([[0], np.cumsum(many)])
            part = (self._time + 1) / 2 * many[judged.raters]
            part = np.minimum(part.astype(np.int64), many[judged.raters] - 1)
            names = ("",) * int(first[-1])
            orders.append(_Groups("order", judged.images, first[judged.raters] + part, names))
        return orders

    @cached_property
    def _months(self) -> _Groups:
        known = np.flatnonzero(np.isfinite(self._trials.made))
        months = [_month(float(self._trials.made[row])) for row in known]
        names, codes = np.unique(np.array(months, dtype=str), return_inverse=True)
        return _Groups("month", known, codes.astype(np.int64), names.tolist())

    @cached_property
    def _order_of_making(self) -> Floats:
        """Place of each picture in the order of making, from -1 to 1; NaN where not known."""
        made = self._trials.made
        known = np.isfinite(made)
        order = np.full(self._count, np.nan)
        order[known] = _places(made[known])
        return order

    @cached_property
    def _parts_of_making(self) -> _Groups:
        order = self._order_of_making
        known = np.flatnonzero(np.isfinite(order))
        many = min(max(len(known) // _IN_A_BLOCK, 1), _MOST_BLOCKS)
        part = np.minimum((order[known] + 1) / 2 * many, many - 1).astype(np.int64)
        return _Groups("", known, part, ("",) * many)

    @cached_property
    def _folders(self) -> _Groups:
        folders = self._trials.folders
        codes = np.where(folders.codes < 0, len(folders.names), folders.codes)
        used, codes = np.unique(codes, return_inverse=True)
        names = [*(name or "." for name in folders.names), "no folder of an import"]
        return _Groups(
            "folder", np.arange(self._count), codes.astype(np.int64), [names[n] for n in used]
        )

    @cached_property
    def _words(self) -> tuple[Sequence[str], Any]:
        """Return words of prompts, and which prompt has which, int64[prompts, words]."""
        from scipy import sparse

        prompts = self._trials.prompts
        own = [set(_WORD.findall(text.lower())) for text in prompts.names]
        pictures = np.bincount(prompts.codes[prompts.codes >= 0], minlength=len(own))
        total, with_word, in_prompts = int(pictures.sum()), Counter[str](), Counter[str]()
        for words, count in zip(own, pictures.tolist(), strict=True):
            for word in words:
                with_word[word] += count
                in_prompts[word] += 1
        fewest = max(_SHARE * total, _FEWEST_MET)
        usual = [
            word for word in sorted(with_word)
            if fewest <= with_word[word] <= total - fewest and in_prompts[word] >= _FEWEST_PROMPTS
        ]  # fmt: skip
        chosen = sorted(usual, key=lambda word: abs(with_word[word] - total / 2))[:_MOST_WORDS]
        number = {word: place for place, word in enumerate(chosen)}
        rows = np.flatnonzero(prompts.codes >= 0)
        text_of = np.full(int(self._prompts.max(initial=-1)) + 1, -1, np.int64)
        text_of[self._prompts[rows]] = prompts.codes[rows]
        pairs = [
            (prompt, number[word])
            for prompt, text in enumerate(text_of.tolist()) if text >= 0
            for word in own[text] if word in number
        ]  # fmt: skip
        at = np.array(pairs, np.int64).reshape(-1, 2)
        shape = (len(text_of), len(chosen))
        return chosen, sparse.csr_array((np.ones(len(at), np.int64), (at[:, 0], at[:, 1])), shape)

    # -- judging -----------------------------------------------------------------------------

    @cached_property
    def _moments(self) -> Integers:
        """How many different moments each rater has judged in, int64[raters]."""
        judged = self._trials.judgements
        last = np.full(len(judged.rater_names), -1, np.int64)
        np.maximum.at(last, judged.raters, judged.places)
        return last + 1

    @property
    def _all_centred(self) -> bool:
        judged = self._trials.judgements
        covered = np.zeros(self._count, np.bool_)
        covered[judged.images[judged.own_scale[judged.raters]]] = True
        return bool(covered.all())

    @cached_property
    def _drifting(self) -> Sequence[int]:
        """The raters whose order can tell a drift, those of the most moments.

        Not of one who gave a mark to all that earn it before he gave the next: favourites in one
        pass, rejects in another. There the order follows the judgements, and held in mind would
        leave nothing of what was judged.
        """
        many = np.flatnonzero(self._moments >= _FOR_DRIFT)
        order = sorted(many.tolist(), key=lambda rater: (-self._moments[rater], rater))
        return sorted(rater for rater in order[:_MOST_DRIFTING] if not self._by_liking(rater))

    def _by_liking(self, rater: int) -> bool:
        """Return whether parts of a rater's order are more than half of what his readings say."""
        judged = self._trials.judgements
        own = np.flatnonzero(judged.raters == rater)
        read = self._trials.readings[judged.images[own]]
        part = self._block(rater, own)
        mean = np.bincount(part, read) / np.maximum(np.bincount(part), 1)
        return bool(mean[part].var() > _BY_LIKING * read.var())

    def _block(self, rater: int, own: Integers) -> Integers:
        """Return which of up to twelve parts of his order each judgement is in."""
        many = min(max(int(self._moments[rater]) // _IN_A_BLOCK, 2), _MOST_BLOCKS)
        return np.minimum((self._time[own] + 1) / 2 * many, many - 1).astype(np.int64)

    @cached_property
    def _time(self) -> Floats:
        """Place of each judgement in its rater's order, from -1 to 1, float64[m]."""
        judged = self._trials.judgements
        last = np.maximum(self._moments - 1, 1)[judged.raters]
        return np.asarray(2 * judged.places / last - 1, np.float64)

    @cached_property
    def _tired(self) -> Floats:
        """Place of each judgement in its sitting, from -1 to 1, float64[m]."""
        judged = self._trials.judgements
        many = int(judged.sittings.max(initial=-1)) + 1
        first = np.full(many, np.iinfo(np.int64).max)
        last = np.zeros(many, np.int64)
        np.minimum.at(first, judged.sittings, judged.places)
        np.maximum.at(last, judged.sittings, judged.places)
        long = np.maximum(last - first, 1)[judged.sittings]
        return np.asarray(2 * (judged.places - first[judged.sittings]) / long - 1, np.float64)

    @cached_property
    def _share(self) -> Floats:
        """Part of each judgement in all of its picture, float64[m]."""
        images = self._trials.judgements.images
        return np.asarray(1 / np.bincount(images, minlength=self._count)[images], np.float64)

    def _summed(self, judged: Judgements, values: Floats) -> Floats:
        total = np.bincount(judged.images, weights=values, minlength=self._count)
        return np.asarray(total, np.float64)


def _places(values: NDArray[Any]) -> Floats:
    """Return the place of each value in their order, from -1 to 1; like values have one place."""
    _, value, many = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(many) - many / 2
    return np.asarray((2 * middle / max(len(values), 1) - 1)[value], np.float64)


def _row(table: Any, row: int | None) -> Integers:
    """Return one row of *table*, or the sum of all."""
    if row is None:
        return np.asarray(table.sum(axis=0), np.int64)
    if isinstance(table, np.ndarray):
        return np.asarray(table[row], np.int64)
    return np.asarray(table[[row]].toarray()[0], np.int64)


def _month(seconds: float) -> str:
    return str(np.datetime64(int(seconds), "s").astype("datetime64[M]"))


def _apart(mine: Integers, theirs: Integers) -> bool:
    """Return whether two levels were kept apart, as the module has it."""
    met = int(np.minimum(mine, theirs).sum())
    if met > _APART * min(mine.sum(), theirs.sum()):  # luck never gives more
        return False
    if not mine.sum() or not theirs.sum():
        return False
    share = mine.sum() / (mine.sum() + theirs.sum())
    sizes, how_many = np.unique(mine + theirs, return_counts=True)
    lucky = sum(
        int(many) * _least(int(size), float(share))
        for size, many in zip(sizes, how_many, strict=True)
    )
    return bool(lucky >= _FEWEST_MET and met <= _APART * lucky)


def _least(size: int, share: float) -> float:
    """Return E min(X, size - X) for X binomial of *size* and *share*."""
    if size > 60:
        return size * min(share, 1 - share)
    chances = np.zeros(size + 1)
    chances[0] = 1.0
    for _ in range(size):
        chances[1:] = chances[1:] * (1 - share) + chances[:-1] * share
        chances[0] *= 1 - share
    place = np.arange(size + 1)
    return float(chances @ np.minimum(place, size - place))


_MAY_BE = {
    "rater": "the rater: {mine} judged {level}, {theirs} judged {against}",
    "month": "the month: {level} was made in {mine}, {against} in {theirs}",
    "folder": "the folder: {level} lies in {mine}, {against} in {theirs}",
    "prompt": "the prompt: {level} and {against} have hardly a prompt in common",
    "words": "the prompt: {level} has prompts {mine}, {against} prompts {theirs}",
    "order": "the order of rating: {level} was judged when {against} was not",
}


def _reason(groups: _Groups, mine: Integers, theirs: Integers, level: str, against: str) -> str:
    may_be = _MAY_BE[groups.what].format(
        mine=_listed(groups, mine), theirs=_listed(groups, theirs), level=level, against=against
    )
    return f"it may be {may_be}"


def _listed(groups: _Groups, counts: Integers) -> str:
    used = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    most = used[: 1 if groups.what == "words" else 3]
    shown = " and ".join(one_line(groups.names[group]) for group in most if groups.names)
    return shown + (f" and {len(used) - len(most)} more" if len(used) > len(most) > 1 else "")
