"""adjusted_model: what a knob does when all other knobs are held in mind.

One regression of the scores on the levels of all knobs at once, with a common offset for the
pictures of a prompt (a random intercept), a weak ridge so that what the data cannot tell stays
finite, and errors that allow the pictures of a prompt to be alike. It is weaker evidence than
pairs: it is right as far as the knobs act side by side, and as far as what matters is a knob.

With picture i of prompt g, means over g weighted with w, and pull_g from 0 to 1::

    y*_i = y_i - pull_g mean_g(y)          X*_i = X_i - pull_g mean_g(X)
    A    = X*' W X* + R                    beta = A^-1 X*' W y*             e = y* - X* beta
    s2   = sum_i w_i y*_i^2 / n            R = s2 diag(1e-6, 1/9, ..., 1/9)

y (n,) readings and beta (p,) effects in score units, s2 and R in their squares; X (n, p) a column
of ones, then 0 or 1 per level but each knob's base; W (n, n) = diag(w), w (n,) of mean 1. R is the
prior that effects are normal of deviation 3, where s2, all of the spread, is taken for the noise.
:meth:`AdjustedModel._drawn_to_prompt` has pull.

An estimate is a contrast c (p,) of the effects, with r = X* A^-1 c (n,), and k the clusters::

    difference = c' beta = sum_i w_i r_i y*_i
    G          = (sum_k q_k)^2 / sum_k q_k^2                    q_k = sum_(i in k) w_i r_i^2
    error^2    = G / (G - 1) n / (n - p) sum_k (sum_(i in k) w_i r_i e_i)^2
    freedom    = G - 1, at least 1

Clusters are prompts. With fewer than :data:`~.paired_comparisons.FEWEST_PROMPTS` they are prompt
and seed, and pull is 1. With G of 1.5 or less the error is infinite.

Sources: random intercepts by quasi-demeaning, Fuller and Battese 1973, *Transformations for
estimation of linear models with nested-error structure*; cluster-robust errors, Liang and Zeger
1986, without the factors, of which n / (n - p) allows for what was fitted; G, the effective number
of clusters, Carter, Schnepel and Steigerwald 2017, *Asymptotic behavior of a t-test robust to
cluster heterogeneity*, with pictures that are independent in the place of a covariance that nobody
knows. They judge by G whether a normal distribution will do; here it gives the freedom.
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
_INSEPARABLE = 0.3  # of the prior variance left: the data cannot tell the levels apart
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
        beside: What stands beside the knobs, float64[n, k].
        least_noise: Variance of a reading that there is at least, in squared score units.

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
        beside: Floats | None = None,
        *,
        least_noise: float = 0.0,
    ) -> None:
        from scipy import sparse

        self._least_noise = least_noise
        self._levels = {
            knob: its_levels for knob, its_levels in levels.items() if not its_levels.constant
        }
        self._weights = weights / weights.mean()
        self._columns: dict[str, Integers] = {}
        self._design = self._made_design(len(readings), beside)
        names, self._prompt = np.unique(prompts, return_inverse=True)
        few = len(names) < FEWEST_PROMPTS
        self._cluster = np.unique(draws, return_inverse=True)[1] if few else self._prompt
        self._by_cluster = sparse.csr_array(
            (np.ones(len(readings)), (self._cluster, np.arange(len(readings))))
        )
        self._prompt_count = len(names)
        self._size = np.bincount(self._prompt, weights=self._weights)
        self._drawn = np.ones(len(names)) if few else np.zeros(len(names))
        self._sums, self._products = self._summed_up()
        self._fit(readings)
        if not few:
            self._drawn = self._drawn_to_prompt()
            if self._drawn.any():
                self._fit(readings)

    def _made_design(self, count: int, beside: Floats | None) -> Any:
        """Return the sparse design: the offset, a column per level but each base, and *beside*."""
        from scipy import sparse

        rows, columns = [np.arange(count)], [np.zeros(count, np.int64)]
        width = 1
        for knob, levels in self._levels.items():
            base = (
                levels.reference if levels.reference is not None else int(np.argmax(levels.counts))
            )
            rare = int((levels.codes < 0).sum()) + int(
                levels.counts[levels.counts < FEWEST_ROWS].sum()
            )
            column = np.full(len(levels.names) + 1, -1, np.int64)
            for level, used in enumerate(levels.counts):
                if level != base and used >= FEWEST_ROWS:
                    column[level], width = width, width + 1
            lost = np.append(levels.counts < FEWEST_ROWS, True)  # the last is for code -1
            lost[base] = False
            if rare >= FEWEST_ROWS:
                column[lost], width = width, width + 1
            own = column[levels.codes]
            at = np.flatnonzero(own >= 0)
            rows.append(at)
            columns.append(own[at])
            self._columns[knob] = column
        place = (np.concatenate(rows), np.concatenate(columns))
        design = sparse.csr_array((np.ones(len(place[0])), place), shape=(count, width))
        return design if beside is None else sparse.hstack([design, beside], format="csr")

    def _summed_up(self) -> tuple[Any, Floats]:
        """Return the weighted sums of each column per prompt, S, and X' W X."""
        from scipy import sparse

        count = len(self._weights)
        into = sparse.csr_array(
            (self._weights, (self._prompt, np.arange(count))), shape=(len(self._size), count)
        )
        weighted = sparse.diags_array(self._weights) @ self._design
        products = np.asarray((self._design.T @ weighted).toarray(), np.float64)
        return sparse.csr_array(into @ self._design), products

    def _fit(self, readings: Floats) -> None:
        """Set beta, e and the factor of A as the module has them, of *readings* y, float64[n].

        X* is dense where X is not, so that its products are made of X and of S, its weighted sums
        per prompt (prompts, p), with N_g the sum of weights::

            X*' W X* = X' W X - S' diag((2 pull_g - pull_g^2) / N_g) S

        The noise of what is left, in squared score units, is sum_i w_i e_i^2 / (n - p).
        """
        from scipy import sparse
        from scipy.linalg import cho_factor, cho_solve

        count, width = self._design.shape
        normal = self._products.copy()
        if self._drawn.any():
            pulled = (2 * self._drawn - self._drawn**2) / self._size
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
        """Return how far each prompt's pictures are moved to their mean: 0 not, 1 wholly.

        From e (n,) of the fit with pull 0, with n_g pictures in prompt g::

            between = sum over pairs i != j of one prompt of e_i e_j / sum_g n_g (n_g - 1), or 0
            within  = sum_i e_i^2 / n - between
            pull_g  = 1 - sqrt(within / (within + n_g between))              float64[prompts]

        Fuller and Battese have other estimates of both variances (squared score units), and all
        weights alike: pull is only about right where pictures tell unequally much.
        """
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

    def estimates(
        self, knob: str, pairs: Sequence[tuple[int, int | None]]
    ) -> Mapping[tuple[int, int | None], Estimate]:
        """Return an estimate for each of *pairs* of levels that the data can tell apart.

        It can where less than 0.3 of the prior variance of the contrast c is left, as if all of
        the spread were noise: ``s2 c' A^-1 c / (9 c' c) < 0.3``, the module's symbols.

        Args:
            knob: Which.
            pairs: A level, and what it is compared with; None is all others together.
        """
        if knob not in self._columns:
            return {}
        levels, column = self._levels[knob], self._columns[knob]
        often = levels.counts >= FEWEST_ROWS
        usable = [
            (level, against)
            for level, against in pairs
            if often[level] and (against is None or often[against])
        ]
        estimates: dict[tuple[int, int | None], Estimate] = {}
        for start in range(0, len(usable), _CHUNK):
            part = usable[start : start + _CHUNK]
            estimates |= self._some(levels, part, self._contrasts(levels, column, part))
        return estimates

    def _contrasts(
        self, levels: KnobLevels, column: Integers, part: Sequence[tuple[int, int | None]]
    ) -> Floats:
        """Return the contrast c of each of *part*, float64[p, pairs].

        It is 1 for the level and -1 for what it is compared with; or -n_l / sum n for every other
        level l with n_l pictures, of those with five or more. Bases have no column.
        """
        contrasts = np.zeros((self._design.shape[1], len(part)))
        has = column[:-1] >= 0
        for place, (level, against) in enumerate(part):
            share = np.zeros(len(levels.names))
            if against is not None:
                share[against] = 1
            else:
                share = np.where(levels.counts >= FEWEST_ROWS, levels.counts, 0).astype(np.float64)
                share[level] = 0
                share /= max(share.sum(), 1.0)
            share[level] -= 1
            np.subtract.at(contrasts[:, place], column[:-1][has], share[has])
        return contrasts

    def _some(
        self, levels: KnobLevels, part: Sequence[tuple[int, int | None]], contrasts: Floats
    ) -> dict[tuple[int, int | None], Estimate]:
        from scipy.linalg import cho_solve

        solved = cho_solve(self._factor, contrasts)
        left_over = np.einsum("ij,ij->j", contrasts, solved) * _RIDGE * self._noise
        separable = left_over < _INSEPARABLE * np.square(contrasts).sum(axis=0)
        reach = self._starred(solved)
        pulls = self._weights[:, None] * reach
        differences = pulls.T @ self._moved
        share = self._by_cluster @ (pulls * reach)
        off = self._by_cluster @ (pulls * self._left[:, None])
        total = share.sum(axis=0)
        shared = np.square(share).sum(axis=0)  # 0 where the knobs leave nothing of the contrast
        effective = np.divide(np.square(total), shared, out=np.zeros_like(total), where=shared > 0)
        variances = np.square(off).sum(axis=0)
        estimates = {}
        for place in np.flatnonzero(separable).tolist():
            clusters, error = float(effective[place]), float("inf")
            if clusters > 1.5:
                least = float(total[place])  # pull @ (pull / weights)
                error = self._error(float(variances[place]), least, clusters)
            at = levels.codes == part[place][0]
            estimates[part[place]] = Estimate(
                difference=float(differences[place]),
                error=error,
                freedom=max(clusters - 1, 1.0),
                comparisons=int(levels.counts[part[place][0]]),
                prompts=int(np.count_nonzero(np.bincount(self._prompt[at]))),
            )
        return estimates

    def leanings(self, columns: Floats) -> Floats:
        """Return roughly how many errors each column's coefficient is from zero, or fewer.

        With x a column, the module's w and e, and noise that of what is left (:meth:`_fit`)::

            sum_i w_i e_i x_i / sqrt(noise sum_i w_i x_i^2)

        Fewer, because x is not freed of what the knobs imply.

        Args:
            columns: float64[n, k].
        """
        size = np.sqrt(self._weights @ np.square(columns) * self._left_noise) + 1e-12
        return np.asarray((self._weights * self._left) @ columns / size, np.float64)

    def coefficient(self, column: Floats) -> Estimate | None:
        """Return the coefficient of one more column beside all knobs; None when they imply it.

        With x* the column less pull_g times its mean per prompt, and the module's symbols::

            u          = x* - X* A^-1 X*' W x*                  what knobs leave of it, (n,)
            difference = sum_i w_i u_i e_i / sum_i w_i u_i^2
            error      of sum_i a_i (e_i - difference u_i),     a_i = w_i u_i / sum_i w_i u_i^2

        in score units per unit of the column; the error is that of :meth:`_larger_error`, and G
        has q_k = sum_(i in k) w_i u_i^2. Nothing is told where the sum of w u^2 is below 0.02 of
        that of x* about its mean, or G below 2.

        Source: Frisch and Waugh 1933, Lovell 1963; exact but for the weak ridge.

        Args:
            column: x, float64[n].
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
        """Return the error of a sum with weights *pull*, whose prompts may be alike.

        With a the weights, e what is left and G the effective number of clusters k::

            error = sqrt(G / (G - 1) n / (n - p) sum_k (sum_(i in k) a_i e_i)^2)

        but not less than the least noise gives.

        Args:
            pull: a, float64[n].
            left: e, float64[n], in score units.
            effective: G, above 1.
        """
        off = np.bincount(self._cluster, weights=pull * left)
        return self._error(float(off @ off), float(pull @ (pull / self._weights)), effective)

    def _error(self, squares: float, noise: float, effective: float) -> float:
        """Return the error of *squares*, the sum over k, not less than the least noise gives."""
        count, width = self._design.shape
        fitted = count / max(count - width, 1)
        variance = squares * fitted * effective / (effective - 1)
        return float(np.sqrt(max(variance, self._least_noise * noise)))

    def _larger_error(self, pull: Floats, left: Floats, effective: float) -> float:
        """Return the robust error, or the model's if that is larger.

        The model's is sqrt(noise sum_i a_i^2 / w_i), noise that of what is left (:meth:`_fit`).
        The best of many looks is found where the robust one happens to be too small.
        """
        model = self._left_noise * float(pull @ (pull / self._weights))
        return max(self._robust_error(pull, left, effective), float(np.sqrt(model)))
