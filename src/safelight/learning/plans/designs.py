"""designs: which combinations of knob values to draw when every combination would be too many.

A design is chosen so that what each knob does can be told apart from what the others do with few
pictures: every value comes (nearly) equally often, and every pair of values of two knobs, too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from safelight.errors import PlanError

__all__ = ["DESIGNS", "Design", "choose_settings", "grid_size"]

Design = Literal["single", "grid", "factorial", "lhs", "sobol"]
DESIGNS: tuple[Design, ...] = ("single", "grid", "factorial", "lhs", "sobol")

MOST_SETTINGS = 100_000
"""Settings of one design; a person could not look at more."""

Setting = dict[str, Any]


def grid_size(levels: Mapping[str, Sequence[Any]]) -> int:
    """Return how many combinations there are."""
    return math.prod(len(values) for values in levels.values())


def choose_settings(
    levels: Mapping[str, Sequence[Any]],
    design: Design,
    *,
    runs: int | None = None,
    start: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> tuple[Setting, ...]:
    """Return the settings of a design, each once.

    Args:
        levels: Knob -> the values to try, without repeats.
        design: ``grid``: every combination, the first knob outermost. ``single``: each knob by
            itself while the others stay at *start*. ``factorial``: a balanced fraction of the
            grid, a quarter or an eighth of it where that can be balanced. ``lhs`` and ``sobol``:
            *runs* settings spread evenly.
        runs: How many settings; None for the fewest that tell the knobs apart (``factorial``)
            or twice as many as there is to learn (``lhs``, ``sobol``). Not for grid and single.
        start: Where ``single`` starts from; the first value of a knob that it lacks.
        seed: The same seed gives the same design.

    Raises:
        PlanError: There is nothing to vary, or the number of settings cannot be had.
    """
    levels = {name: list(values) for name, values in levels.items()}
    if not levels or any(not values for values in levels.values()):
        raise PlanError("a design needs at least one knob, each with at least one value")
    if design in ("grid", "single") and runs is not None:
        raise PlanError(f"a {design} design has as many settings as its values make; leave out"
                        " how many, or choose factorial, lhs or sobol")  # fmt: skip
    if runs is not None and not 1 <= runs <= MOST_SETTINGS:
        raise PlanError(f"a design must have 1 to {MOST_SETTINGS:,} settings, got {runs:,}")
    if design == "single":
        return tuple(_one_at_a_time(levels, start or {}))
    whole = grid_size(levels)
    if design == "grid" or (runs is not None and runs >= whole):
        if whole > MOST_SETTINGS:
            raise PlanError(
                f"the grid has {whole:,} settings, more than {MOST_SETTINGS:,};"
                " try fewer values, or a factorial, lhs or sobol design"
            )
        return tuple(dict(zip(levels, row, strict=True))
                     for row in itertools.product(*levels.values()))  # fmt: skip
    sizes = [len(values) for values in levels.values()]
    if design == "factorial":
        rows = _fraction(sizes, runs or _fewest_runs(sizes), seed)
    else:
        wanted = runs or min(whole, 2 * _to_learn(sizes))
        rows = _spread(sizes, wanted, design, seed)
    settings = [
        {name: values[place] for (name, values), place in zip(levels.items(), row, strict=True)}
        for row in rows
    ]
    return tuple(_once(settings))


def _once(settings: Sequence[Setting]) -> Iterator[Setting]:
    seen = set()
    for setting in settings:
        key = tuple(map(repr, setting.values()))
        if key not in seen:
            seen.add(key)
            yield setting


def _one_at_a_time(
    levels: Mapping[str, Sequence[Any]], start: Mapping[str, Any]
) -> Iterator[Setting]:
    centre = {name: start.get(name, values[0]) for name, values in levels.items()}
    varied = [
        {**centre, name: value} for name, values in levels.items() for value in values
    ]  # fmt: skip
    yield from _once([centre, *varied] if len(levels) > 1 else varied)


def _to_learn(sizes: Sequence[int]) -> int:
    """Return how many numbers the main effects are: a level of all, and one per further value."""
    return 1 + sum(size - 1 for size in sizes)


def _fewest_runs(sizes: Sequence[int]) -> int:
    """Return the fewest runs in which all values, and if possible all pairs, come equally often.

    With s_k values of knob k, at most prod_k s_k, and E runs in which that is so::

        F = max(1 + sum_k (s_k - 1), 2)                         numbers to learn
        N = E ceil(F / E)                                       E = lcm of s_a s_b of all pairs

    Where E is above 2 F and above every s_a s_b, it is the lcm of all s_k, for values alone; and
    where that is above 2 F, the largest s_k, and nothing but that knob is surely even.
    """
    whole = math.prod(sizes)
    pairs = [a * b for a, b in itertools.combinations([s for s in sizes if s > 1], 2)]
    fewest = max(_to_learn(sizes), 2)
    even = math.lcm(*pairs) if pairs else 1
    if even > max(2 * fewest, max(pairs, default=1)):
        even = math.lcm(*sizes) if math.lcm(*sizes) <= 2 * fewest else max(sizes)
    return min(whole, even * math.ceil(fewest / even))


def _fraction(sizes: Sequence[int], runs: int, seed: int) -> NDArray[np.int64]:
    """Return (runs, knobs) places of values, balanced in every knob and every pair of knobs.

    Each column holds its values equally often; columns are then reordered, swap by swap, while
    that makes the pairs of values more even (:func:`_improve`), from up to 12 random starts.
    Where an orthogonal array exists it is mostly found.

    Source: the J2 criterion and interchange of Xu 2002, *An algorithm for constructing orthogonal
    and nearly-orthogonal arrays with mixed levels and small runs*, Technometrics 44(4). He adds
    column after column; here all are there from the start and improved in turns.
    """
    best: NDArray[np.int64] | None = None
    least = math.inf
    for attempt in range(12):
        rng = np.random.default_rng((seed, attempt))
        rows = np.column_stack([rng.permutation(np.arange(runs) % size) for size in sizes])
        cost = _improve(rows, sizes)
        if cost < least - 1e-9:
            best, least = rows, cost
        if least < 1e-9:
            break
    assert best is not None
    return best[np.lexsort(best.T[::-1])]


def _improve(rows: NDArray[np.int64], sizes: Sequence[int]) -> float:
    """Swap values within columns of *rows* while that helps; return how uneven pairs still are.

    With x_ik the value of knob k in run i of N, and s_k how many values it has, swaps lower::

        J2 = sum over pairs of runs i < j of (sum_k s_k [x_ik = x_jk])^2

    which is least when the pairs of values are even. A swap of i and j in column c alters J2 by
    2 s_c times, with O_ij = sum_(k not c) s_k [x_ik = x_jk] and A_ij the sum of O_il over the runs
    l with x_lc = x_jc::

        A_ij + A_ji - A_ii - A_jj + O_ii + O_jj - 2 O_ij

    The largest fall is taken. How uneven pairs are, n_uv runs having u of knob a and v of b, is::

        sum over pairs of knobs a < b of sum_uv (n_uv - N / (s_a s_b))^2

    Source: Xu 2002, with his natural weights s_k: J2 is then a constant and N times the sum of the
    chi squares of all pairs of knobs, each of which weighs its unevenness with s_a s_b / N.

    Args:
        rows: Places of values, int64[N, knobs]; changed in place.
        sizes: s.
    """
    held = [(rows[:, [k]] == np.arange(size)).astype(float) for k, size in enumerate(sizes)]
    improved = True
    while improved:
        improved = False
        for column, size in enumerate(sizes):
            others = sum(
                (s * h @ h.T for k, (s, h) in enumerate(zip(sizes, held, strict=True))
                 if k != column), np.zeros((len(rows), len(rows))),
            )  # fmt: skip
            for _ in range(len(rows)):
                sums = others @ held[column]
                own = sums @ held[column].T  # [i, j]: agreement of i with the runs like j
                stay = np.diag(own)
                itself = np.diag(others)
                change = own + own.T - stay[:, None] - stay[None, :]
                change += itself[:, None] + itself[None, :] - 2 * others
                change[rows[:, column][:, None] == rows[:, column]] = 0.0
                row, other = np.unravel_index(np.argmin(change), change.shape)
                if change[row, other] > -1e-9:
                    break
                rows[[row, other], column] = rows[[other, row], column]
                held[column] = (rows[:, [column]] == np.arange(size)).astype(float)
                improved = True
    uneven = 0.0
    for a, b in itertools.combinations(range(len(sizes)), 2):
        counts = held[a].T @ held[b]
        uneven += float(((counts - len(rows) / counts.size) ** 2).sum())
    return uneven


def _spread(sizes: Sequence[int], runs: int, design: Design, seed: int) -> NDArray[np.int64]:
    """Return (about *runs*, knobs) places of values, spread evenly over all combinations.

    Source: Latin hypercube of McKay et al. 1979 and Sobol' 1967, from ``scipy.stats.qmc``.
    """
    from scipy.stats import qmc

    rng = np.random.default_rng(seed)
    rows: dict[tuple[int, ...], None] = {}
    for _ in range(16):  # coarse values fall together; draw on until there are enough
        missing = runs - len(rows)
        if missing <= 0:
            break
        if design == "sobol":
            points = qmc.Sobol(len(sizes), rng=rng).random_base2(math.ceil(math.log2(runs + 1)))
        else:
            points = qmc.LatinHypercube(len(sizes), rng=rng).random(missing)
        for point in points:
            if len(rows) < runs:
                rows[tuple(int(u * s) for u, s in zip(point, sizes, strict=True))] = None
    return np.array(list(rows), np.int64)
