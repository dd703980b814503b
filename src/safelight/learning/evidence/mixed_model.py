"""mixed_model: what a knob does, with errors that know how much else was fitted.

A linear mixed model of the readings for each knob asked about (Henderson 1975, *Best linear
unbiased estimation and prediction under a selection model*). With y the readings (n,), w their
weights of mean 1, and matrices Z_k (n, m_k) that say what pictures share::

    y = X beta + sum_k Z_k u_k + e       u_k ~ N(0, v_k I)      e ~ N(0, v_0 diag(1/w))
    V = v_0 diag(1/w) + sum_k v_k Z_k Z_k'

X (n, p) is a column of ones, then 0 or 1 per level of the knob but its base: these are estimated
as they are. Every other knob, the prompt, the prompt with the knob's level, and the prompt with
its seed are random, and their variances v, in squared score units, are estimated (REML: Patterson
and Thompson 1971, *Recovery of inter-block information when block sizes are unequal*). So many
knobs that do nothing cost next to nothing, and one that does much is held in mind. Variances of
what must be allowed for, whatever the readings say, are held. With C = (X' V^-1 X)^-1 and a
contrast c (p,)::

    difference = c' C X' V^-1 y         error^2 = c' C c
    freedom    = 2 error^4 / (g' S g)   g_k = d error^2 / d v_k,  S the covariance of the v

which is Satterthwaite's (1946, *An approximate distribution of estimates of variance components*)
as Giesbrecht and Burns have it (1985, *Two-stage analysis based on a mixed model*). The variances
are found by average information (Gilmour, Thompson and Cullis 1995, *Average information REML: an
efficient algorithm for variance parameter estimation in linear mixed models*), and held at 0 or
above.

What is shared within a prompt makes V of blocks B, one for each prompt, and the rest T T' of few
columns, T = Z diag(sqrt v): V^-1 = B^-1 - M S^-1 M' with M = B^-1 T and S = I + T' M (Woodbury).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MixedFit", "fit_mixed"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_ROUNDS, _HALVINGS, _CLOSE, _MOST = 30, 6, 2e-3, 10.0
_LEAST = 1e-6
"""Of the spread of readings: a variance below this is none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MixedFit:
    """What was fitted.

    Attributes:
        beta: Of each column of X, float64[p], in score units.
        covariance: C, float64[p, p].
        pull: V^-1 X C: what each reading adds to beta, float64[n, p].
        variances: v_0, those within prompts, those across them, float64[1 + k].
        gradient: d C / d v of each variance that was sought, float64[j, p, p]: one that was found
            to be 0 is no surer to be.
        spread: S, the covariance of these, float64[j, j].
    """

    beta: Floats
    covariance: Floats
    pull: Floats
    variances: Floats
    gradient: Floats
    spread: Floats

    def contrast(self, weights: Floats) -> tuple[float, float, float]:
        """Return difference, error and freedom of the contrast with *weights* c, float64[p]."""
        square = float(weights @ self.covariance @ weights)
        slopes = np.einsum("i,kij,j->k", weights, self.gradient, weights)
        noise = float(slopes @ self.spread @ slopes)
        freedom = 2 * square**2 / noise if noise > 0 else np.inf
        return float(weights @ self.beta), float(np.sqrt(square)), max(float(freedom), 1.0)


class _Blocks:
    """The part of V within prompts, as stacks of blocks of one size.

    Args:
        noise: 1/w, float64[n].
        blocks: Prompt of each row, int64[n].
        within: Groups of rows inside prompts, each int64[n].
    """

    def __init__(self, noise: Floats, blocks: Integers, within: Sequence[Integers]) -> None:
        from scipy import sparse

        order = np.argsort(blocks, kind="stable")
        _, starts, sizes = np.unique(blocks[order], return_index=True, return_counts=True)
        self.noise, self.within = noise, within
        self._stacks: list[tuple[Integers, list[NDArray[np.bool_]]]] = []
        for size in np.unique(sizes):
            rows = order[starts[sizes == size][:, None] + np.arange(size)]
            same = [codes[rows][:, :, None] == codes[rows][:, None, :] for codes in within]
            self._stacks.append((rows, same))
        ones, every = np.ones(len(order)), np.arange(len(order))
        self._sums = [sparse.csr_array((ones, (own, every))) for own in within]
        self._inverses: list[Floats] = []
        self.log_size = 0.0

    def invert(self, variances: Floats) -> None:
        """Set B^-1 for *variances*: of noise, then of each of the groups."""
        self._inverses, self.log_size = [], 0.0
        for rows, same in self._stacks:
            whole = np.zeros((*rows.shape, rows.shape[1]))
            for variance, mask in zip(variances[1:], same, strict=True):
                whole += variance * mask
            at = np.arange(rows.shape[1])
            whole[:, at, at] += variances[0] * self.noise[rows]
            self._inverses.append(np.linalg.inv(whole))
            self.log_size += float(np.linalg.slogdet(whole)[1].sum())

    def solved(self, columns: Floats) -> Floats:
        """Return B^-1 times *columns*, float64[n, k]."""
        result = np.empty_like(columns)
        for (rows, _), inverse in zip(self._stacks, self._inverses, strict=True):
            result[rows] = inverse @ columns[rows]
        return result

    def traces(self) -> Floats:
        """Return the traces of B^-1 times each part, float64[1 + groups]."""
        traces = np.zeros(1 + len(self.within))
        for (rows, same), inverse in zip(self._stacks, self._inverses, strict=True):
            traces[0] += float((np.einsum("kii->ki", inverse) * self.noise[rows]).sum())
            for place, mask in enumerate(same, 1):
                traces[place] += float(inverse[mask].sum())
        return traces

    def summed(self, part: int, columns: Floats) -> Floats:
        """Return F' times *columns*, where F F' is one part: noise, or a group's Z."""
        if part == 0:
            return np.asarray(columns * np.sqrt(self.noise)[:, None])
        return np.asarray(self._sums[part - 1] @ columns)

    def applied(self, part: int, columns: Floats) -> Floats:
        """Return one part of V, of variance 1, times *columns*."""
        if part == 0:
            return np.asarray(columns * self.noise[:, None])
        return self.summed(part, columns)[self.within[part - 1]]


class _Solved:
    """V^-1 and P of one set of variances, P = V^-1 - V^-1 X C X' V^-1."""

    def __init__(
        self, blocks: _Blocks, across: Floats, of: Integers, variances: Floats, fixed: Floats
    ) -> None:
        first = 1 + len(blocks.within)
        blocks.invert(variances[:first])
        self._blocks, self._across = blocks, across
        scale = np.sqrt(variances[first:])[of]
        self._moved = blocks.solved(across)
        small = np.eye(across.shape[1]) + (across * scale).T @ (self._moved * scale)
        root = np.linalg.cholesky(small)
        self._reduced = _divided(self._moved * scale, root)  # N N' = M S^-1 M'
        self.fixed = self.inverse(fixed)
        inside = fixed.T @ self.fixed
        self.covariance = np.asarray(np.linalg.inv(inside), np.float64)
        self._log_size = blocks.log_size + 2 * float(np.log(np.diag(root)).sum())
        self._log_size += float(np.linalg.slogdet(inside)[1])

    def likelihood(self, y: Floats) -> float:
        """Return the restricted log-likelihood of *y*, float64[n, 1], but for a constant."""
        return -(self._log_size + float((y * self.projected(y)).sum())) / 2

    def inverse(self, columns: Floats) -> Floats:
        """Return V^-1 times *columns*."""
        return np.asarray(
            self._blocks.solved(columns) - self._reduced @ (self._reduced.T @ columns)
        )

    def projected(self, columns: Floats) -> Floats:
        """Return P times *columns*."""
        part = self.fixed @ (self.covariance @ (self.fixed.T @ columns))
        return np.asarray(self.inverse(columns) - part)

    def traces(self, of: Integers, count: int) -> Floats:
        """Return the traces of P times each part of V, float64[1 + within + across]."""
        first = 1 + len(self._blocks.within)
        traces = np.zeros(first + count)
        traces[:first] = self._blocks.traces()
        root = np.linalg.cholesky(self.covariance)
        for part in range(first):
            for columns in (self._reduced, self.fixed @ root):
                traces[part] -= float(np.square(self._blocks.summed(part, columns)).sum())
        own = np.einsum("ij,ij->j", self._across, self._moved)
        for columns in (self._reduced, self.fixed @ root):
            own -= np.square(columns.T @ self._across).sum(axis=0)
        np.add.at(traces, first + of, own)
        return traces


def _divided(columns: Floats, root: NDArray[Any]) -> Floats:
    """Return *columns* times the inverse of L', with *root* the triangle L."""
    from scipy.linalg import solve_triangular

    return np.asarray(solve_triangular(root, columns.T, lower=True, check_finite=False).T)


def fit_mixed(
    readings: Floats,
    weights: Floats,
    fixed: Floats,
    blocks: Integers,
    within: Sequence[Integers],
    across: Sequence[Floats],
    *,
    held: Floats | None = None,
    beliefs: Floats | None = None,
    least: Floats | None = None,
    start: Floats | None = None,
) -> MixedFit:
    """Fit the model of the module.

    Args:
        readings: y, float64[n], in score units.
        weights: w, float64[n], above 0.
        fixed: X, float64[n, p], of full rank.
        blocks: Number of each row's prompt, int64[n].
        within: Groups of rows that lie inside one prompt, of one variance each: its rows, its
            rows of one level, of one seed; int64[n] each.
        across: Z of what is shared by rows of any prompt, of one variance each, float64[n, m].
        held: The variances of parts that are not to be found, NaN for the others,
            float64[1 + within + across]; none are held without.
        beliefs: How large each variance may well be, in squared score units: a half-normal prior
            of that deviation, infinity for none, float64[1 + within + across].
        least: What each variance is at least, float64[1 + within + across]; 0 without.
        start: Variances to start from, float64[1 + within + across]; equal without.
    """
    count = 1 + len(within) + len(across)
    known = np.full(count, np.nan) if held is None else held
    search = _Search(
        readings, weights.mean() / weights, fixed, blocks, within, across,
        doubt=np.zeros(count) if beliefs is None else 1 / np.square(beliefs),
        sought=np.isnan(known), least=np.zeros(count) if least is None else least,
    )  # fmt: skip
    search.climb(np.where(np.isnan(known), search.first_guess(start), known))
    return search.fit()


class _Search:
    """The search for the variances that are likeliest.

    Args:
        readings: y, float64[n].
        noise: 1/w, float64[n], of mean about 1.
        fixed: X, float64[n, p].
        blocks: Number of each row's prompt, int64[n].
        within: Groups of rows inside prompts.
        across: Z of what is shared by rows of any prompt.
        doubt: One over the square of what each variance may well be, float64[1 + k].
        sought: Which variances are to be found, bool[1 + k].
        least: What each variance is at least, float64[1 + k].
    """

    def __init__(
        self,
        readings: Floats,
        noise: Floats,
        fixed: Floats,
        blocks: Integers,
        within: Sequence[Integers],
        across: Sequence[Floats],
        *,
        doubt: Floats,
        sought: NDArray[np.bool_],
        least: Floats,
    ) -> None:
        self._y, self._fixed, self._across = readings[:, None], fixed, across
        self._blocks = _Blocks(noise, blocks, within)
        self._first = 1 + len(within)
        self._wide = np.concatenate(across, axis=1) if across else np.zeros((len(noise), 0))
        widths = [columns.shape[1] for columns in across]
        self._of = np.repeat(np.arange(len(across)), widths).astype(np.int64)
        self._sizes = np.array([len(noise), *(int(own.max()) + 1 for own in within), *widths])
        self._doubt, self._sought = doubt, sought
        self._spread = float(np.var(readings)) or 1.0
        self._least = np.maximum(least, 0.0)
        self._least[0] = max(1e-3 * self._spread, least[0])
        self._lowest = np.maximum(self._least, _LEAST * self._spread)

    def first_guess(self, start: Floats | None) -> Floats:
        """Return variances to start from, float64[1 + k]."""
        count = len(self._sought)
        guess = np.full(count, self._spread / count) if start is None else np.maximum(start, 0.0)
        guess[0] = max(guess[0], 0.05 * self._spread)
        return np.maximum(guess, self._least)

    def climb(self, variances: Floats) -> None:
        """Find the variances, from *variances* on."""
        self._take(variances)
        for _ in range(_ROUNDS):
            before = self._variances
            if not self._step_up() or np.abs(self._variances - before).max() < self._close:
                break

    def fit(self) -> MixedFit:
        """Return what was found."""
        solved, found = self._solved, np.flatnonzero(self._sought).tolist()
        slopes = [
            solved.covariance
            @ (solved.fixed.T @ self._applied(part, solved.fixed))
            @ solved.covariance
            for part in found
        ]
        information = self._slope()[1][np.ix_(found, found)]
        return MixedFit(
            beta=(solved.covariance @ (solved.fixed.T @ self._y))[:, 0],
            covariance=solved.covariance,
            pull=solved.fixed @ solved.covariance,
            variances=self._variances,
            gradient=np.array(slopes),
            spread=np.asarray(np.linalg.pinv(information), np.float64),
        )

    @property
    def _close(self) -> float:
        return _CLOSE * self._spread

    def _take(self, variances: Floats) -> None:
        self._variances = variances
        self._solved = _Solved(self._blocks, self._wide, self._of, variances, self._fixed)
        self._reached = self._solved.likelihood(self._y)
        self._reached -= float(self._doubt @ np.square(variances)) / 2

    def _step_up(self) -> bool:
        """Take a step, a shorter one where that falls; return whether one was found."""
        before, reached = self._variances, self._reached
        score, information = self._slope()
        some = self._sought
        new = before.copy()
        stepped = _stepped(
            before[some], score[some], information[np.ix_(some, some)], self._sizes[some],
            self._lowest[some], nothing=self._close,
        )  # fmt: skip
        new[some] = np.minimum(stepped, _MOST * self._spread)
        low = new < self._lowest
        new[low] = self._least[low]
        for _ in range(_HALVINGS):
            self._take(new)
            if self._reached >= reached - 1e-6:
                return True
            new = (new + before) / 2
        self._take(before)
        return False

    def _slope(self) -> tuple[Floats, Floats]:
        """Return the slope of the likelihood and its average information."""
        left = self._solved.projected(self._y)
        parts = range(len(self._sought))
        pulled = np.concatenate([self._applied(part, left) for part in parts], axis=1)
        traces = self._solved.traces(self._of, len(self._across))
        score = ((pulled.T @ left)[:, 0] - traces) / 2 - self._doubt * self._variances
        information = pulled.T @ self._solved.projected(pulled) / 2 + np.diag(self._doubt)
        return score, np.asarray(information, np.float64)

    def _applied(self, part: int, columns: Floats) -> Floats:
        """Return one part of V, of variance 1, times *columns*."""
        if part < self._first:
            return self._blocks.applied(part, columns)
        own = self._across[part - self._first]
        return np.asarray(own @ (own.T @ columns))


def _stepped(
    v: Floats,
    score: Floats,
    information: Floats,
    sizes: Integers,
    lowest: Floats,
    *,
    nothing: float,
) -> Floats:
    """Return the next variances: a Newton step, or a gentle one where that would leave 0 behind.

    What is at its lowest and would go below takes no part in the step.
    """
    free = np.flatnonzero((v > lowest * (1 + 1e-9)) | (score > 0))
    some = information[np.ix_(free, free)]
    ridge = 1e-9 * np.trace(some) / max(len(free), 1) * np.eye(len(free))
    new = v.copy()
    new[free] += np.linalg.solve(some + ridge, score[free])
    gentle = np.minimum(v + 2 * np.square(v) * score / sizes, v / 4)  # EM, which never overshoots
    return np.where(new < lowest, np.where(gentle < nothing, 0.0, gentle), new)
