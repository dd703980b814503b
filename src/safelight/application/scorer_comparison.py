"""scorer_comparison: a scorer's numbers beside what people say of the same pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from safelight.archive import Archive
from safelight.errors import RequestError
from safelight.knobs import did_you_mean
from safelight.learning.evidence.rank_agreement import ScorerComparison
from safelight.learning.evidence.scorer_agreement import scorer_agreement
from safelight.learning.evidence.scores import ImageScores, fit_scores, is_automatic
from safelight.learning.ratings import Identity, PictureScore, PictureScores

__all__ = ["ScorerComparison", "compare_scorer", "compare_scorers"]


def compare_scorer(archive: Archive, name: str, condition: str = "") -> ScorerComparison:
    """Put the numbers of the scorer *name* beside people's scores; nothing is scored for it.

    People's scores are those of :mod:`safelight.learning.evidence.scores`, from stars, flags and
    picks; what programs rated is left out.

    Args:
        archive: Whose.
        name: Of a scorer that has given numbers here; it need not be installed.
        condition: In the filter language: which pictures.

    Raises:
        RequestError: It has given none.
        FilterError: The condition cannot be read.
        ArchiveError: The archive cannot answer.
    """
    told = archive.picture_scores()
    if name not in told.newest:
        there = ", ".join(map(repr, told.newest)) or "none"
        hint = did_you_mean(name, told.newest) or f"; there are: {there}"
        raise RequestError(
            f"no scorer called {name!r} has given numbers here{hint}; score pictures with:"
            f" safelight score {name}"
        )
    return _compared(archive, told, [name], condition)[0]


def compare_scorers(archive: Archive, condition: str = "") -> tuple[ScorerComparison, ...]:
    """Put the numbers of every scorer that has given any beside people's, as one by one.

    Raises:
        FilterError: The condition cannot be read.
        ArchiveError: The archive cannot answer.
    """
    told = archive.picture_scores()
    return tuple(_compared(archive, told, sorted(told.newest), condition)) if told.newest else ()


def _compared(
    archive: Archive, told: PictureScores, names: Sequence[str], condition: str
) -> list[ScorerComparison]:
    columns = ("sha256", "pixel_sha256", "image_sha256", "prompt", "model")
    rows = archive.query(condition, columns=columns, sort="timestamp", limit=None).rows
    known = (Identity(sha256=a, pixel_sha256=b, image_sha256=c) for a, b, c, *_ in rows)
    people = [event for event in archive.ratings().events() if not is_automatic(event)]
    scores = fit_scores(people, known)
    compared = []
    for name in names:
        mine = [one for one in told.current if one.scorer == name]
        scored, pairs = _paired(rows, mine, scores)
        agreement = scorer_agreement(
            np.array([number for number, *_ in pairs], np.float64),
            np.array([score for _, score, *_ in pairs], np.float64),
            [prompt for *_, prompt, _ in pairs],
            [model for *_, model in pairs],
        )
        compared.append(
            ScorerComparison(
                scorer=name, version=told.newest[name], unit=mine[-1].unit if mine else "",
                scored=scored, rated=len(pairs), agreement=agreement,
            )
        )  # fmt: skip
    return compared


def _paired(
    rows: Sequence[tuple[Any, ...]], mine: Sequence[PictureScore], scores: ImageScores
) -> tuple[int, list[tuple[float, float, str, str]]]:
    """Return how many of *rows* have a number; (number, score, prompt, model) of those rated."""
    place_of = {digest: place for place, one in enumerate(mine) for digest in one.digests}
    seen: set[int] = set()
    pairs = []
    for *digests, prompt, model in rows:
        place = next((place_of[each] for each in digests if each in place_of), None)
        if place is None or place in seen:
            continue
        seen.add(place)
        rated = scores.place(*digests)
        if rated is not None and prompt:
            number, score = mine[place].number, float(scores.scores[rated])
            pairs.append((number, score, prompt, model or ""))
    return len(seen), pairs
