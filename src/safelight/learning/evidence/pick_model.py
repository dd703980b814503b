"""pick_model: what picks say about pictures, on top of what is believed already.

Of the pictures S shown, the winner i is chosen with the first probability (Plackett-Luce); of two
pictures i and j, with the second, and they tie with the third (Bradley-Terry with ties)::

    P(i of S)      = exp(b s_i) / sum_(j in S) exp(b s_j)
    P(i before j)  = exp(b s_i) / Z
    P(i ties j)    = nu exp(b (s_i + s_j) / 2) / Z
    Z              = exp(b s_i) + exp(b s_j) + nu exp(b (s_i + s_j) / 2)
    nu             = 2 (ties + 1/2) / (pairs with a winner + 1/2), by weight; 0 without ties

s (n,) are the scores in units of the spread of taste, b is the sharpness per unit, nu has no unit.
Several winners each win against the losers. A tie of all m is a tie of each two, of weight 2 / m:
together m - 1 comparisons. What climbs, with w_c the weight of choice c (1 but for ties) and mu, v
(n,) the means and variances believed before, is the log posterior::

    F(s) = sum_c w_c log P(c) - sum_i (s_i - mu_i)^2 / (2 v_i)

Newton's method finds its top s*. There the means are s* and the variances those of Laplace, the
diagonal of H^-1 with H (n, n) the negated Hessian of F.

Sources: Luce 1959, *Individual choice behavior*; Plackett 1975, *The analysis of permutations*,
of which only the first choice is used, so that several winners are read as choices of their own;
Bradley and Terry 1952; Davidson 1970, *On extending the Bradley-Terry model to accommodate ties*,
whose nu is fitted with the scores, where ours is counted beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.star_model import SHARPNESS

__all__ = ["Choice", "PickFit", "fit_picks"]

Floats = NDArray[np.float64]

PICK_SHARPNESS = SHARPNESS / 2**0.5
"""``b`` where picks are too few to tell it; two pictures' noise is in one comparison, which makes
the deviation sqrt(2) times that of one rating."""

_SHARPNESS_GRID = PICK_SHARPNESS * 2.0 ** np.arange(-2.0, 2.1, 0.5)
_CHOICES_FOR_SHARPNESS = 50
_GRID_SPREAD = 0.4
_EXACT_UP_TO = 600
_STEPS = 60


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing that a pick says.

    Attributes:
        winner: Row of the picture that won; for a tie, of one of the two.
        losers: Rows of the others that were there; one for a tie.
        tie: Neither won.
        weight: As how many comparisons it counts.
    """

    winner: int
    losers: tuple[int, ...]
    tie: bool = False
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PickFit:
    """Scores after picks.

    Attributes:
        means: float64[n].
        variances: float64[n].
        rows: Pictures that occur in choices, int64[k].
        readings: Of those, what the evidence says without the prior, float64[k].
        sharpness: ``b``.
        ties: Davidson's nu: how readily ties are given.
    """

    means: Floats
    variances: Floats
    rows: NDArray[np.int64]
    readings: Floats
    sharpness: float
    ties: float


def fit_picks(
    choices: Sequence[Choice], means: Floats, variances: Floats, sharpness: float | None = None
) -> PickFit:
    """Return *means* and *variances* after *choices*.

    Args:
        choices: In an order that the events decide; the sums depend on it in the last bit.
        means: What is believed before, float64[n].
        variances: float64[n], each above 0.
        sharpness: ``b``; fitted by its evidence where picks are many, when it is None.
    """
    problem = _Problem(choices, means, variances)
    if sharpness is None:
        sharpness = PICK_SHARPNESS
        if len(choices) >= _CHOICES_FOR_SHARPNESS:
            sharpness = max(_SHARPNESS_GRID, key=problem.evidence)
    scores, hessian = problem.solve(float(sharpness))
    after_means, after_variances = means.copy(), variances.copy()
    after_means[problem.rows] = scores
    after_variances[problem.rows] = _inverse_diagonal(hessian)
    return PickFit(
        means=after_means,
        variances=after_variances,
        rows=problem.rows,
        readings=_readings(scores, hessian),
        sharpness=float(sharpness),
        ties=problem.nu,
    )


class _Problem:
    """Choices as arrays over the pictures that occur in them."""

    def __init__(self, choices: Sequence[Choice], means: Floats, variances: Floats) -> None:
        members = [place for c in choices for place in (c.winner, *c.losers)]
        self.rows = np.unique(np.array(members, np.int64))
        self._means, self._precisions = means[self.rows], 1 / variances[self.rows]
        decided = [c for c in choices if not c.tie]
        self._sets = self._columns(decided)
        self._ties = self._columns([c for c in choices if c.tie])
        pairs = [c for c in decided if len(c.losers) == 1]
        drawn = sum(c.weight for c in choices if c.tie)
        won = sum(c.weight for c in pairs)
        # Where scores are equal a tie has the odds nu / 2: counted, half of each added.
        self.nu = 2 * (drawn + 0.5) / (won + 0.5) if drawn else 0.0
        self._warm = self._means.copy()

    def _columns(self, choices: Sequence[Choice]) -> tuple[Any, ...]:
        sizes = np.array([1 + len(c.losers) for c in choices], np.int64)
        flat = np.array([p for c in choices for p in (c.winner, *c.losers)], np.int64)
        members = np.searchsorted(self.rows, flat)
        starts = (np.cumsum(sizes) - sizes).astype(np.int64)
        weights = np.array([c.weight for c in choices], np.float64)
        return members, starts, sizes, weights

    def _value(self, scores: Floats, sharpness: float) -> float:
        """Return F of the module at *scores*, float64[n]."""
        off = scores - self._means
        total = -0.5 * float(off @ (self._precisions * off))
        for tied, (members, starts, sizes, weights) in ((False, self._sets), (True, self._ties)):
            if not len(starts):
                continue
            power = sharpness * scores[members]
            top = np.maximum.reduceat(power, starts)
            whole = np.add.reduceat(np.exp(power - np.repeat(top, sizes)), starts)
            middle = (power[starts] + power[starts + 1]) / 2
            if self.nu:
                tie_power = np.where(sizes == 2, self.nu * np.exp(middle - top), 0.0)
                whole = whole + tie_power
            won = middle + np.log(self.nu) if tied else power[starts]
            total += float(weights @ (won - top - np.log(whole)))
        return total

    def _slope(self, scores: Floats, sharpness: float) -> tuple[Floats, Any]:
        """Return the gradient of F, (n,), and its negated Hessian H, (n, n) and sparse.

        Each choice c has a statistic T_i per picture in it: 1 for the winner, 1/2 for each of two
        that tie, else 0. F has E and covariances of T under P(c), all 0 outside c::

            dF / ds_i = b sum_c w_c (T_i - E[T_i]) - (s_i - mu_i) / v_i
            H_ij      = b^2 sum_c w_c (E[T_i T_j] - E[T_i] E[T_j]) + [i = j] / v_i

        With p_i the chance that i wins and q that two tie, E[T_i] = p_i + q / 2,
        E[T_i^2] = p_i + q / 4, and E[T_i T_j] = q / 4.
        """
        from scipy import sparse

        count = len(scores)
        gradient = -self._precisions * (scores - self._means)
        places, values = [np.arange(count)], [self._precisions]
        columns = [np.arange(count)]
        for tied, (members, starts, sizes, weights) in ((False, self._sets), (True, self._ties)):
            if not len(starts):
                continue
            power = sharpness * scores[members]
            top = np.repeat(np.maximum.reduceat(power, starts), sizes)
            raised = np.exp(power - top)
            whole = np.add.reduceat(raised, starts)
            middle = np.exp((power[starts] + power[starts + 1]) / 2 - top[starts])
            tie = np.where(sizes == 2, self.nu * middle, 0.0)
            whole = whole + tie
            share = raised / np.repeat(whole, sizes)
            tie_share = tie / whole
            mean = share + np.repeat(tie_share, sizes) / 2  # expected statistic of each member
            won = np.full(len(members), 0.5 if tied else 0.0)
            if not tied:
                won[starts] = 1.0
            weight = np.repeat(weights, sizes)
            np.add.at(gradient, members, weight * sharpness * (won - mean))
            # The Hessian is the covariance of the statistics.
            places.append(members)
            columns.append(members)
            values.append(weight * sharpness**2 * (share + np.repeat(tie_share, sizes) / 4))
            for size in np.unique(sizes):
                block = starts[sizes == size][:, None] + np.arange(size)
                first, second = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
                left, right = block[:, first.ravel()], block[:, second.ravel()]
                product = -mean[left] * mean[right]
                if size == 2:
                    off = first.ravel() != second.ravel()
                    product[:, off] += tie_share[sizes == size][:, None] / 4
                places.append(members[left].ravel())
                columns.append(members[right].ravel())
                values.append((weight[left] * sharpness**2 * product).ravel())
        triples = (np.concatenate(values), (np.concatenate(places), np.concatenate(columns)))
        return gradient, sparse.csc_array(triples, shape=(count, count))

    def solve(self, sharpness: float) -> tuple[Floats, Any]:
        """Return the most likely scores, (n,), and the negated Hessian H there, (n, n).

        Newton's steps ``H^-1 dF/ds``, each halved until F does not fall: 60 steps, or until one
        moves no score by 1e-8.
        """
        scores = self._warm.copy()
        value = self._value(scores, sharpness)
        for _ in range(_STEPS):
            gradient, hessian = self._slope(scores, sharpness)
            step = _solved(hessian, gradient)
            length = 1.0
            while length > 1e-6:
                tried = self._value(scores + length * step, sharpness)
                if tried >= value:
                    break
                length /= 2
            scores, value = scores + length * step, max(value, tried)
            if np.abs(length * step).max() < 1e-8:
                break
        self._warm = scores
        return scores, self._slope(scores, sharpness)[1]

    def evidence(self, sharpness: float) -> float:
        """Return the log evidence of the sharpness b, by Laplace, with its prior.

        But for what is the same for every b, with b_0 = 2.2 / sqrt(2)::

            F(s*) - log|H| / 2 - (log(b / b_0) / 0.4)^2 / 2
        """
        self._warm = self._means.copy()
        scores, hessian = self.solve(float(sharpness))
        log_determinant = _log_determinant(hessian)
        prior = np.log(sharpness / PICK_SHARPNESS) / _GRID_SPREAD
        return float(self._value(scores, float(sharpness)) - log_determinant / 2 - 0.5 * prior**2)


def _readings(scores: Floats, hessian: Any) -> Floats:
    """Return the scores without the standard normal prior, float64[n].

    With s* (n,) the scores and H (n, n) their precision, the prior's 1 in it::

        readings = (H - 0.98 I)^-1 H s*

    Picks tell only differences. So that their sum, of which nothing is known, stays at zero, a
    fiftieth of the prior is kept.
    """
    from scipy import sparse

    likelihood = sparse.csc_array(hessian - 0.98 * sparse.eye_array(len(scores)))
    return _solved(likelihood, hessian @ scores)


def _solved(matrix: Any, right: Floats) -> Floats:
    """Return the solution of a positive definite system.

    A graph of chance comparisons has no sparse factors, so that large systems are solved by
    conjugate gradients: the prior keeps them well conditioned.
    """
    from scipy.sparse.linalg import LinearOperator, cg

    if len(right) <= _EXACT_UP_TO:
        return np.asarray(np.linalg.solve(matrix.toarray(), right), np.float64)
    diagonal = matrix.diagonal()
    scaled = LinearOperator(matrix.shape, matvec=lambda x: x / diagonal, dtype=np.float64)
    solution, _ = cg(matrix, right, rtol=1e-10, atol=0.0, maxiter=2_000, M=scaled)
    return np.asarray(solution, np.float64)


def _log_determinant(hessian: Any) -> float:
    """Return the logarithm of the determinant; of large problems to the second order.

    With H = D + O (n, n), D its diagonal::

        log|H| ~ sum_i log D_i - sum_ij O_ij^2 / (2 D_i D_j)
    """
    if hessian.shape[0] <= _EXACT_UP_TO:
        return float(np.linalg.slogdet(hessian.toarray())[1])
    diagonal = hessian.diagonal()
    off = hessian - type(hessian)(_diagonal_matrix(diagonal))
    pairs = float((1 / diagonal) @ (off.multiply(off) @ (1 / diagonal)))
    return float(np.log(diagonal).sum()) - pairs / 2


def _inverse_diagonal(hessian: Any) -> Floats:
    """Return the diagonal of the inverse; of large problems to the second order, from below.

    With H = D + O (n, n), D its diagonal; below D_i / 2 the lower side is D_i / 2::

        (H^-1)_ii ~ 1 / (D_i - sum_j O_ij^2 / D_j)
    """
    count = hessian.shape[0]
    if count <= _EXACT_UP_TO:
        return np.asarray(np.diag(np.linalg.inv(hessian.toarray())), np.float64).copy()
    diagonal = hessian.diagonal()
    off = hessian - type(hessian)(_diagonal_matrix(diagonal))
    lent = (off.multiply(off)) @ (1 / diagonal)
    return np.asarray(1 / np.maximum(diagonal - lent, diagonal / 2), np.float64)


def _diagonal_matrix(diagonal: Floats) -> Any:
    from scipy import sparse

    return sparse.diags_array(diagonal)
