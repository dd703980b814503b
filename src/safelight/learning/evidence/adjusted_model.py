"""adjusted_model: what a knob does when all other knobs are held in mind.

One regression of the scores on the levels of all knobs at once, with a common offset for the
pictures of a prompt (a random intercept), a weak ridge so that what the data cannot tell stays
finite, and errors that allow the pictures of a prompt to be alike. It is weaker evidence than
pairs: it is right as far as the knobs act side by side, and as far as what matters is a knob.

Sources: random intercepts by quasi-demeaning, Fuller and Battese 1973; cluster-robust errors,
Liang and Zeger 1986; fewer degrees of freedom for unequal clusters, Carter, Schnepel and
Steigerwald 2017, *Asymptotic behavior of a t-test robust to cluster heterogeneity*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.knob_levels import KnobLevels
from safelight.learning.evidence.paired_comparisons import FEWEST_PROMPTS, Estimate

__all__ = ["AdjustedModel"]

FEWEST_ROWS = 5
"""Levels with fewer pictures share one column."""

_RIDGE = 1 / 3.0**2  # a level's effect of 3 is still no surprise
_UNTOLD = 0.3  # of the prior variance left: the data cannot tell the levels apart
_CHUNK = 32

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class AdjustedModel:
    """The fitted regression.

    Args:
        levels: All knobs; constant ones are passed over.
        readings: Unshrunk scores, float64[n].
        weights: How much each tells, float64[n], above 0.
        prompts: Number of each row's prompt, int64[n].
        draws: Number of each row's prompt and seed together, int64[n].

    Attributes:
        residuals: What the model leaves, after the prompts' offsets, float64[n].
    """

    def __init__(
        self,
        levels: Mapping[str, KnobLevels],
        readings: Floats,
        weights: Floats,
        prompts: Integers,
        draws: Integers,
    ) -> None:
        self._levels = {knob: one for knob, one in levels.items() if not one.constant}
        self._weights = weights / weights.mean()
        self._columns: dict[str, Integers] = {}
        self._design = self._made_design(len(readings))
        names, self._prompt = np.unique(prompts, return_inverse=True)
        few = len(names) < FEWEST_PROMPTS
        self._cluster = np.unique(draws, return_inverse=True)[1] if few else self._prompt
        self._prompt_count = len(names)
        self._size = np.bincount(self._prompt, weights=self._weights)
        self._drawn = np.ones(len(names)) if few else np.zeros(len(names))
        self._fit(readings)
        if not few:
            self._drawn = self._drawn_to_prompt()
            if self._drawn.any():
                self._fit(readings)

    def _made_design(self, count: int) -> Any:
        """Return the sparse design: the offset, then a column per level but each knob's base."""
        from scipy import sparse

        rows, columns = [np.arange(count)], [np.zeros(count, np.int64)]
        width = 1
        for knob, one in self._levels.items():
            base = one.reference if one.reference is not None else int(np.argmax(one.counts))
            rare = int((one.codes < 0).sum()) + int(one.counts[one.counts < FEWEST_ROWS].sum())
            column = np.full(len(one.names) + 1, -1, np.int64)
            for level, used in enumerate(one.counts):
                if level != base and used >= FEWEST_ROWS:
                    column[level], width = width, width + 1
            lost = np.append(one.counts < FEWEST_ROWS, True)  # the last is for code -1
            lost[base] = False
            if rare >= FEWEST_ROWS:
                column[lost], width = width, width + 1
            own = column[one.codes]
            at = np.flatnonzero(own >= 0)
            rows.append(at)
            columns.append(own[at])
            self._columns[knob] = column
        place = (np.concatenate(rows), np.concatenate(columns))
        return sparse.csr_array((np.ones(len(place[0])), place), shape=(count, width))

    def _fit(self, readings: Floats) -> None:
        from scipy import sparse
        from scipy.linalg import cho_factor, cho_solve

        count, width = self._design.shape
        weighted = sparse.diags_array(self._weights) @ self._design
        into = sparse.csr_array(
            (self._weights, (self._prompt, np.arange(count))), shape=(len(self._size), count)
        )
        self._sums = sparse.csr_array(into @ self._design)  # of each column, per prompt
        pulled = (2 * self._drawn - self._drawn**2) / self._size
        normal = (self._design.T @ weighted).toarray()
        normal -= (self._sums.T @ (sparse.diags_array(pulled) @ self._sums)).toarray()
        moved = readings - self._drawn[self._prompt] * self._prompt_means(readings)
        noise = float(np.average(np.square(moved), weights=self._weights)) or 1.0
        ridge = np.full(width, _RIDGE * noise)
        ridge[0] = 1e-6 * noise
        self._noise = noise
        self._factor = cho_factor(normal + np.diag(ridge))
        self._beta = cho_solve(self._factor, self._starred_sum(moved * self._weights))
        self._moved = moved
        self._left = moved - self._starred(self._beta)
        spare = max(count - width, 1)
        self._left_noise = float(self._weights @ np.square(self._left)) / spare
        self.residuals = readings - np.asarray(self._design @ self._beta)
        self.residuals = self.residuals - self._drawn[self._prompt] * self._prompt_means(
            self.residuals
        )

    def _prompt_means(self, column: Floats) -> Floats:
        total = np.bincount(self._prompt, weights=self._weights * column)
        return np.asarray((total / self._size)[self._prompt], np.float64)

    def _starred(self, beta: Floats) -> Floats:
        """Return the quasi-demeaned design times *beta*, float64[n] or [n, k]."""
        whole = self._design @ beta
        means = self._sums @ beta
        pull = self._drawn / self._size
        means = means * (pull if beta.ndim == 1 else pull[:, None])
        return np.asarray(whole - means[self._prompt], np.float64)

    def _starred_sum(self, column: Floats) -> Floats:
        """Return the transposed quasi-demeaned design times *column*."""
        per_prompt = np.bincount(self._prompt, weights=column, minlength=len(self._size))
        pulled = self._sums.T @ (per_prompt * self._drawn / self._size)
        return np.asarray(self._design.T @ column - pulled, np.float64)

    def _drawn_to_prompt(self) -> Floats:
        """Return how far each prompt's pictures are moved to their mean: 0 not, 1 wholly."""
        left = self._left
        size = np.bincount(self._prompt)
        total = np.bincount(self._prompt, weights=left)
        squares = np.bincount(self._prompt, weights=left**2)
        pairs = float((size * (size - 1.0)).sum())
        if pairs < FEWEST_ROWS:
            return np.zeros(len(size))
        between = max(float((total**2 - squares).sum()) / pairs, 0.0)
        within = max(float(squares.sum()) / len(left) - between, 1e-9)
        return np.asarray(1 - np.sqrt(within / (within + size * between)), np.float64)

    def estimates(self, knob: str) -> Mapping[int, Estimate]:
        """Return an estimate for each level of *knob* that the data can tell apart."""
        if knob not in self._columns:
            return {}
        one, column = self._levels[knob], self._columns[knob]
        usable = [
            level
            for level, used in enumerate(one.counts)
            if level != one.reference and used >= FEWEST_ROWS
        ]
        found: dict[int, Estimate] = {}
        for start in range(0, len(usable), _CHUNK):
            part = usable[start : start + _CHUNK]
            found |= self._some(one, part, self._contrasts(one, column, part))
        return found

    def _contrasts(self, one: KnobLevels, column: Integers, part: Sequence[int]) -> Floats:
        contrasts = np.zeros((self._design.shape[1], len(part)))
        for place, level in enumerate(part):
            if one.reference is None:
                share = np.where(one.counts >= FEWEST_ROWS, one.counts, 0).astype(np.float64)
                share[level] = 0
                share /= max(share.sum(), 1.0)
                has = column[:-1] >= 0
                np.subtract.at(contrasts[:, place], column[:-1][has], share[has])
            if column[level] >= 0:
                contrasts[column[level], place] += 1
        return contrasts

    def _some(self, one: KnobLevels, part: Sequence[int], contrasts: Floats) -> dict[int, Estimate]:
        from scipy.linalg import cho_solve

        solved = cho_solve(self._factor, contrasts)
        left_over = np.einsum("ij,ij->j", contrasts, solved) * _RIDGE * self._noise
        told = left_over < _UNTOLD * np.square(contrasts).sum(axis=0)
        reach = self._starred(solved)
        found = {}
        for place, level in enumerate(part):
            if not told[place]:
                continue
            pull = self._weights * reach[:, place]
            difference = float(pull @ self._moved)
            share = np.bincount(self._cluster, weights=pull * reach[:, place])
            effective = float(share.sum() ** 2 / np.square(share).sum())
            error = float("inf")
            if effective > 1.5:
                error = self._robust_error(pull, self._left, effective)
            at = one.codes == level
            found[level] = Estimate(
                difference=difference,
                error=error,
                freedom=max(effective - 1, 1.0),
                comparisons=int(one.counts[level]),
                prompts=int(np.count_nonzero(np.bincount(self._prompt[at]))),
            )
        return found

    def leanings(self, columns: Floats) -> Floats:
        """Return roughly how many errors each column's coefficient is from zero, or fewer.

        Args:
            columns: float64[n, k].
        """
        size = np.sqrt(self._weights @ np.square(columns) * self._left_noise) + 1e-12
        return np.asarray((self._weights * self._left) @ columns / size, np.float64)

    def coefficient(self, column: Floats) -> Estimate | None:
        """Return the coefficient of one more column beside all knobs; None when they imply it.

        Args:
            column: float64[n].
        """
        from scipy.linalg import cho_solve

        starred = column - self._drawn[self._prompt] * self._prompt_means(column)
        implied = cho_solve(self._factor, self._starred_sum(starred * self._weights))
        own = starred - self._starred(implied)
        scale = float(self._weights @ own**2)
        if scale < 0.02 * float(self._weights @ (starred - starred.mean()) ** 2) + 1e-9:
            return None
        pull = self._weights * own / scale
        share = np.bincount(self._cluster, weights=self._weights * own**2)
        effective = float(share.sum() ** 2 / np.square(share).sum())
        if effective < 2:
            return None
        difference = float(pull @ self._left)
        return Estimate(
            difference=difference,
            error=self._larger_error(pull, self._left - difference * own, effective),
            freedom=max(effective - 1, 1.0),
            comparisons=int(np.count_nonzero(column)),
            prompts=self._prompt_count,
        )

    def _robust_error(self, pull: Floats, left: Floats, effective: float) -> float:
        """Return the error of a sum with weights *pull*, whose prompts may be alike."""
        off = np.bincount(self._cluster, weights=pull * left)
        return float(np.sqrt(np.square(off).sum() * effective / (effective - 1)))

    def _larger_error(self, pull: Floats, left: Floats, effective: float) -> float:
        """Return the robust error, or the model's if that is larger.

        The best of many looks is found where the robust one happens to be too small.
        """
        model = self._left_noise * float(pull @ (pull / self._weights))
        return max(self._robust_error(pull, left, effective), float(np.sqrt(model)))
