"""The oracle: what could be found by somebody who knows all but the effects themselves.

It knows which knobs matter, every variance component, and what the scores are that go with each
star, and tests by generalised least squares. Nothing that must learn these can do better for long.

With z the true scores, m the mean of z and y of those ratings that have the same stars as this
one, rho = var y / var z over one scale, a rating is read as::

    reading  = m + (y - m) / rho = z + error,   error of variance var z (1 - rho) / rho

which is what stars say of z in a straight line. Chances are corrected as effects are: Holm over
knobs of Bonferroni within a knob, at 3 %.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import ndtr

from learning.evidence.simulated_archive import Secret, SimulatedArchive
from safelight.learning.evidence.blas_threads import one_blas_thread

__all__ = ["Question", "oracle_answers", "oracle_finds"]

Floats = NDArray[np.float64]
Question = tuple[str, str, str]
"""A knob, its level, and the level that is compared with."""

_RISK = 0.03
_UNTELLABLE = 1e-6


def oracle_finds(
    archive: SimulatedArchive, questions: Sequence[Question], knobs: int
) -> set[Question]:
    """Return those of *questions* that an oracle answers rightly, among *knobs* looked at.

    Questions about knobs that do not matter are none to it, but knobs are counted all the same.
    """
    answers = oracle_answers(archive.secret, questions)
    if not answers:
        return set()
    chances: dict[str, list[tuple[float, Question, float]]] = {}
    for question, (difference, error) in answers.items():
        chance = 2 * float(ndtr(-abs(difference) / error))
        chances.setdefault(question[0], []).append((chance, question, difference))
    found, floor = set(), 0.0
    order = sorted(chances.values(), key=lambda own: len(own) * min(own)[0])
    for place, own in enumerate(order):
        looks = len(own) * (knobs - place)
        for chance, question, difference in own:
            truth = archive.true_difference(*question) or 0.0
            if max(chance * looks, floor) <= _RISK and difference * truth > 0:
                found.add(question)
        floor = max(floor, looks * min(own)[0])
    return found


@one_blas_thread("scipy.linalg")
def oracle_answers(
    secret: Secret, questions: Sequence[Question]
) -> dict[Question, tuple[float, float]]:
    """Return difference and error of every question that can be told."""
    asked = [question for question in questions if question[0] in secret.matters]
    readings = _readings(secret)
    if readings is None or not asked:
        return {}
    values, noise = readings
    rows = secret.judgements.pictures
    variance = np.diag(noise)
    for codes, own in secret.parts:
        mine = codes[rows]
        variance += own * (mine[:, None] == mine[None, :])
    columns, place = _design(secret)
    design = columns[rows]
    factor = cho_factor(variance)
    weighted = cho_solve(factor, design)
    information = design.T @ weighted
    spread = np.linalg.pinv(information, rcond=1e-9, hermitian=True)
    fitted = spread @ (weighted.T @ values)
    answers = {}
    for question in asked:
        contrast = _contrast(question, secret, place, len(fitted))
        if contrast is None:
            continue
        told = np.abs(contrast - information @ spread @ contrast).max() < _UNTELLABLE
        if told and (error := float(contrast @ spread @ contrast)) > 0:
            answers[question] = float(contrast @ fitted), error**0.5
    return answers


def _readings(secret: Secret) -> tuple[Floats, Floats] | None:
    """Return every rating's reading and its variance; None where ratings say nothing."""
    judged = secret.judgements
    if not len(judged.pictures):  # picks alone are no readings of his
        return None
    truth = secret.scores[judged.pictures]
    values, noise = np.zeros(len(truth)), np.zeros(len(truth))
    for scale in np.unique(judged.scales):
        mine = np.flatnonzero(judged.scales == scale)
        _, stars = np.unique(judged.values[mine], return_inverse=True)
        own = truth[mine]
        means = (np.bincount(stars, weights=own) / np.bincount(stars))[stars]
        rho = means.var() / own.var()
        if rho < 1e-6:
            return None
        values[mine] = own.mean() + (means - own.mean()) / rho
        noise[mine] = max(own.var() * (1 - rho) / rho, 1e-6)
    return values, noise


def _design(secret: Secret) -> tuple[Floats, dict[tuple[str, str], int]]:
    """Return the columns of all rows, and in which each level's is."""
    columns = [np.ones(len(secret.scores)), *(known - known.mean() for known in secret.known)]
    place = {}
    for knob, levels in secret.matters.items():
        for name in sorted(set(levels)):
            place[knob, name] = len(columns)
            columns.append(np.array([level == name for level in levels], np.float64))
    return np.column_stack(columns), place


def _contrast(
    question: Question, secret: Secret, place: dict[tuple[str, str], int], width: int
) -> Floats | None:
    knob, level, against = question
    contrast = np.zeros(width)
    if (knob, level) not in place:
        return None
    contrast[place[knob, level]] = 1
    if (knob, against) in place:
        contrast[place[knob, against]] = -1
        return contrast
    if against != "all others":
        return None
    others = [name for name in secret.matters[knob] if name != level]
    for name in others:
        contrast[place[knob, name]] -= 1 / len(others)
    return contrast
