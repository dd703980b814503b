"""suggest: settings worth trying, from what was rated, each with the evidence it rests on.

Pictures that share a setting are one point, after what their prompt and their seed do to every
score is taken out as far as the evidence tells; a model over all knobs then says what to expect
of settings nobody tried (:mod:`.surrogate`), and how surely. Nothing is
guessed without evidence: below :data:`FEWEST_PICTURES` rated pictures, or where all scores are
alike, the answer is a plan that explores.

Scores are in units of the spread of taste (:mod:`.scores`): +1 is about what
tells a good picture of the archive from a middling one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safelight.errors import PlanError
from safelight.learning.evidence.blas_threads import one_blas_thread
from safelight.learning.evidence.trials import Trials
from safelight.learning.plans.contenders import contenders_of
from safelight.learning.plans.knob_space import KnobSpace, SpaceKnob
from safelight.learning.plans.proposals import (
    Tried,
    all_alike,
    model_of,
    most_rated,
    propose,
    spread_settings,
)
from safelight.learning.plans.space_of_trials import EXPLORED, knob_values, space_of
from safelight.learning.plans.suggested import Contenders, Known, Suggestion, Suggestions
from safelight.learning.plans.surrogate import Surrogate

__all__ = [
    "EXPLORED",
    "FEWEST_PICTURES",
    "Known",
    "Suggestion",
    "Suggestions",
    "Verdict",
    "suggest",
    "verdict",
]

Floats = NDArray[np.float64]

FEWEST_PICTURES = 12
"""Rated pictures below which nothing is concluded."""

_PROMPT_VARIANCE = _SEED_VARIANCE = 0.25
"""What prompts and seeds do to scores before any evidence; the spread of taste is 1."""

_SURE = 2.4
"""Deviations by which a recommended setting must beat the usual one, more than the 1.96 of
one comparison, because it is the best of many and was chosen for that. Where nothing matters
a preset is then kept in fewer than one archive in twenty (``bench/suggest_truth.py --nothing``)."""

_ALIKE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a setting may be recommended.

    Attributes:
        best: The best known setting.
        gain: Its score less that of what was usually drawn.
        gain_low: Lower end of the 95 % interval.
        gain_high: Upper end.
        pictures: Rated pictures that this rests on.
        settings: Different settings among them.
        fixed: As in :class:`Suggestions`.
        enough: The gain is above 0 also for the best of many, and the setting itself was rated
            three times or more.
        missing: About how many more ratings would settle it; 0 when *enough*.
        contenders: What it is better than and what may be as good, by knob.
    """

    best: Known
    gain: float
    gain_low: float
    gain_high: float
    pictures: int
    settings: int
    fixed: Mapping[str, Any]
    enough: bool
    missing: int
    contenders: tuple[Contenders, ...] = ()


@one_blas_thread()
def suggest(
    trials: Trials,
    count: int = 8,
    *,
    knobs: Sequence[SpaceKnob] = (),
    seed: int = 0,
) -> Suggestions:
    """Return *count* settings to draw next.

    Args:
        trials: The rated pictures, perhaps of one prompt. Where they are of several models, the
            model is one more choice (:mod:`.space_of_trials`).
        count: How many; at least 1.
        knobs: What may be varied and between which values; knobs not named here are varied
            as widely as they were so far.
        seed: The same evidence and seed give the same suggestions.

    Raises:
        PlanError: *count* is not positive.
    """
    if count < 1:
        raise PlanError(f"at least 1 setting must be asked for, got {count}")
    space, fixed, notes = space_of(trials, knobs)
    tried = _gathered(trials, space)
    pictures = sum(rated.pictures for rated in tried)
    model = model_of(space, tried) if pictures >= FEWEST_PICTURES else None
    if model is None:
        why = _why_exploring(trials, tried, pictures)
        spread = spread_settings(space, count, seed=seed, avoid=[rated.setting for rated in tried])
        return Suggestions(
            suggestions=tuple(
                Suggestion(setting=s, why="explores; spread evenly, no ratings behind it")
                for s in spread
            ),
            exploring=True, best=None, pictures=pictures, settings=len(tried), fixed=fixed,
            notes=(why, *notes),
        )  # fmt: skip
    settings = len(tried)
    tried = most_rated(tried)
    if len(tried) < settings:
        notes.append(f"the model rests on {len(tried):,} of the {settings:,} settings, those with"
                     " most pictures")  # fmt: skip
    best = _best(space, model, tried)
    asked = propose(space, tried, count, model=model, seed=seed)
    suggestions = tuple(
        _explained(space, model, tried, best, proposal.setting) for proposal in asked
    )
    return Suggestions(
        suggestions=suggestions, exploring=False, best=best, pictures=pictures, settings=settings,
        fixed=fixed, notes=tuple(notes),
        contenders=contenders_of(space, model, tried, best.setting),
    )  # fmt: skip


@one_blas_thread()
def verdict(trials: Trials) -> Verdict | str:
    """Return the best known setting and whether it may be recommended; a text if none is known.

    With gain and sd the mean and deviation of the best's score less that of all settings, by
    their pictures, in score units, N pictures, and N_best of the best itself::

        interval = gain -+ 1.96 sd
        enough   = gain > 2.4 sd and N_best >= 3
        missing  = max(3 - N_best, ceil(N clip((2.4 sd / gain)^2 - 1, 0.1, 20))), 0 if enough

    since sd falls about with the root of the ratings; with a gain of 0.05 or less it is 20 N.
    """
    space, fixed, _ = space_of(trials, ())
    tried = _gathered(trials, space)
    pictures = sum(rated.pictures for rated in tried)
    model = model_of(space, tried) if pictures >= FEWEST_PICTURES else None
    if model is None:
        return _why_exploring(trials, tried, pictures)
    settings = len(tried)
    tried = most_rated(tried)
    best = _best(space, model, tried)
    points = np.array([space.point(rated.setting) for rated in tried])
    counts = np.array([float(rated.pictures) for rated in tried])
    usual, sd = model.difference(np.array(space.point(best.setting)), points, counts)
    low = usual - 1.96 * sd
    enough = usual > _SURE * sd and best.pictures >= 3
    missing = 0
    if not enough:
        ratio = (_SURE * sd / usual) ** 2 - 1 if usual > 0.05 else 20.0
        missing = max(3 - best.pictures, math.ceil(pictures * min(max(ratio, 0.1), 20.0)))
    return Verdict(
        best=best, gain=usual, gain_low=low, gain_high=usual + 1.96 * sd, pictures=pictures,
        settings=settings, fixed=fixed, enough=enough, missing=missing,
        contenders=contenders_of(space, model, tried, best.setting),
    )  # fmt: skip


def _best(space: KnobSpace, model: Surrogate, tried: Sequence[Tried]) -> Known:
    """Return the tried setting that is best for sure: highest mean less one deviation.

    Its interval is mean -+ 1.96 deviations, in score units, as is every one here.
    """
    inside = [rated for rated in tried if np.isfinite(space.point(rated.setting)).all()]
    means, deviations = model.predict(np.array([space.point(rated.setting) for rated in inside]))
    place = int(np.argmax(means - deviations))
    mean, sd = float(means[place]), float(deviations[place])
    alike = _alike(space, model, tried, np.array(space.point(inside[place].setting)))
    return Known(setting=inside[place].setting, pictures=inside[place].pictures, mean=mean,
                 low=mean - 1.96 * sd, high=mean + 1.96 * sd, alike=alike)  # fmt: skip


def _alike(space: KnobSpace, model: Surrogate, tried: Sequence[Tried], point: Floats) -> int:
    """Return how many pictures of *tried* have a setting like *point*."""
    near = model.likeness(point, np.array([space.point(rated.setting) for rated in tried]))
    return sum(rated.pictures for rated, like in zip(tried, near, strict=True) if like >= _ALIKE)


def _explained(
    space: KnobSpace,
    model: Surrogate,
    tried: Sequence[Tried],
    best: Known,
    setting: Mapping[str, Any],
) -> Suggestion:
    point = np.array(space.point(setting))
    means, deviations = model.predict(point[None, :])
    mean, sd = float(means[0]), float(deviations[0])
    gain, gain_sd = model.difference(point, np.array([space.point(best.setting)]))
    pictures = _alike(space, model, tried, point)
    changed = [name for name, value in setting.items() if value != best.setting.get(name)]
    change = _change(best.setting, setting, changed)
    if not changed:
        why = f"the {best.title} again: more of its ratings would settle how good it is"
    elif gain - 1.96 * gain_sd > 0:
        why = f"surely better than the {best.title} ({change})"
    elif gain > 0.84 * gain_sd:  # four in five
        why = f"likely better than the {best.title} ({change})"
    elif pictures == 0:
        why = "nothing like it was rated; it may be better than all that is known"
    else:
        why = f"may be better: {change} is not settled yet"
    return Suggestion(
        setting=setting, why=why, mean=mean, low=mean - 1.96 * sd, high=mean + 1.96 * sd,
        gain=gain, gain_low=gain - 1.96 * gain_sd, gain_high=gain + 1.96 * gain_sd,
        pictures=pictures,
    )  # fmt: skip


def _change(before: Mapping[str, Any], after: Mapping[str, Any], names: Sequence[str]) -> str:
    return ", ".join(f"{name} {before.get(name)} to {after[name]}" for name in names[:4])


def _why_exploring(trials: Trials, tried: Sequence[Tried], pictures: int) -> str:
    gone = f"; {trials.gone:,} more were rated whose record is gone or filtered out" * bool(
        trials.gone
    )
    if outside := len(trials) - pictures:
        gone = f"; {outside:,} more have settings that cannot be compared{gone}"
    if pictures < FEWEST_PICTURES:
        noun = "picture is" if pictures == 1 else "pictures are"
        return (
            f"not enough evidence: {pictures} {noun} rated, at least {FEWEST_PICTURES} are"
            f" needed{gone}; this plan explores"
        )
    if len(tried) > 1 and all_alike(tried):
        return (
            f"all {pictures:,} rated pictures have the same score, so nothing tells settings"
            f" apart{gone}; this plan explores"
        )
    settings = "one setting was" if len(tried) == 1 else f"{len(tried)} different settings were"
    return f"not enough evidence: only {settings} rated{gone}; this plan explores"


def _gathered(trials: Trials, space: KnobSpace) -> Sequence[Tried]:
    """Return each setting once, with the mean score of its pictures.

    What a prompt and a seed do to all their pictures is taken out
    (:func:`_of_prompts_and_seeds`), so that a setting is not praised for its prompt. With y the
    readings, w their weights and z that part, over the pictures i of a setting::

        score = sum_i w_i (y_i - z_i) / sum_i w_i               variance = 1 / sum_i w_i

    in score units and their square; the variance leaves out that z is not known for sure.
    """
    if not len(trials) or any(knob.name not in trials.knobs for knob in space.knobs):
        return ()
    columns = [knob_values(trials, knob.name) for knob in space.knobs]
    points = np.array(
        [[knob.place(v) for v in column] for knob, column in zip(space.knobs, columns, strict=True)]
    ).T
    usable = np.isfinite(points).all(axis=1) & np.isfinite(trials.readings)
    rows = np.flatnonzero(usable)
    if not len(rows):
        return ()
    first: dict[tuple[Any, ...], int] = {}
    cells = np.array([
        first.setdefault(tuple(column[row] for column in columns), len(first)) for row in rows
    ])  # fmt: skip
    weights = _weights(trials.deviations[rows])
    readings = trials.readings[rows]
    adjusted = readings - _of_prompts_and_seeds(trials, rows, cells, readings, weights)
    precision = np.bincount(cells, weights)
    means = np.bincount(cells, weights * adjusted) / precision
    counts = np.bincount(cells)
    return tuple(
        Tried(
            setting={knob.name: value for knob, value in zip(space.knobs, values, strict=True)},
            score=float(means[cell]), pictures=int(counts[cell]),
            variance=float(1 / precision[cell]),
        )
        for values, cell in first.items()
    )  # fmt: skip


def _weights(deviations: Floats) -> Floats:
    """Return how much each reading tells: one over its variance, the prior's part taken out.

    ``w = 1 / deviation^2 - 1``, from 0.001 to 10,000, float64[n], per squared score unit. The
    noise of one rating is in it, the score's own spread is not.
    """
    precision = 1 / np.clip(deviations, 1e-3, 0.999) ** 2 - 1
    return np.asarray(np.clip(precision, 1e-3, 1e4))


def _of_prompts_and_seeds(
    trials: Trials, rows: NDArray[np.intp], cells: NDArray[Any], readings: Floats, weights: Floats
) -> Floats:
    """Return what prompt and seed do to each reading, as far as that can be told, float64[n].

    Of reading i, with its setting s, its prompt p and its seed q within that prompt::

        y_i = mean + a_s + b_p + c_q + e_i      mean = sum_i w_i y_i / sum_i w_i
        a ~ N(0, 1), b ~ N(0, 0.25), c ~ N(0, 0.25), e_i ~ N(0, 1 / w_i)

    in score units. 25 times over, each of a, b and c is set from the two others, here b::

        b_p = sum_(i in p) w_i (y_i - mean - a_s - c_q) / (sum_(i in p) w_i + 1 / 0.25)

    and b + c comes back. At rest that is the BLUP of Henderson 1975, *Best linear unbiased
    estimation and prediction under a selection model*, but that the mean is not fitted with it.
    """
    prompts = trials.prompts.codes[rows] + 1
    _, seeds = np.unique(
        np.column_stack([prompts, trials.seeds.codes[rows]]), axis=0, return_inverse=True
    )
    parts = (
        (cells, 1.0), (prompts, _PROMPT_VARIANCE), (seeds.ravel(), _SEED_VARIANCE)
    )  # fmt: skip
    mean = float(np.average(readings, weights=weights))
    effects = [np.zeros(int(codes.max()) + 1) for codes, _ in parts]
    for _ in range(25):
        for place, (codes, variance) in enumerate(parts):
            rest = readings - mean
            for other, (its, _) in enumerate(parts):
                if other != place:
                    rest = rest - effects[other][its]
            precision = np.bincount(codes, weights, minlength=len(effects[place]))
            weighted = np.bincount(codes, weights * rest, minlength=len(effects[place]))
            effects[place] = weighted / (precision + 1 / variance)
    return np.asarray(effects[1][parts[1][0]] + effects[2][parts[2][0]])
