"""selection: how many of the pictures were rated, and whether these look picked.

Who rates only what he likes at first sight keeps from view what tells settings apart: a setting
that mostly fails shows its few successes. Differences then come out too small, and their intervals
do not know. That less was rated than there is, is a fact; whether it was picked, only the rater
knows. It looks so where less than half was rated and the rated are mostly liked::

    rated / pictures < 1/2    and    mean of marks > 3.5

A mark is the mean of the stars of a picture; where it has none, a favourite counts as five, a
reject as one and what was passed over as three. A generous rater of pictures that came by chance
looks picky, too; that is why it is said as an "if".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safelight.learning.evidence.trials import Trials

__all__ = ["Selection", "selection_of"]

_MUCH, _LIKED = 0.5, 3.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which part of the pictures was rated.

    Attributes:
        rated: How many were.
        pictures: How many there are that meet the filter, the rated ones among them.
        mean_mark: Mean of the rated pictures' marks, 1 to 5; None where none has any.
        warning: What may be wrong with the figures because of it; empty where nothing looks so.
    """

    rated: int
    pictures: int
    mean_mark: float | None
    warning: str

    @property
    def sentence(self) -> str:
        """How many of how many, such as ``300 of 1,500 pictures rated``."""
        if self.rated == self.pictures:
            return f"all {self.pictures:,} pictures rated"
        return f"{self.rated:,} of {self.pictures:,} pictures rated"


def selection_of(trials: Trials) -> Selection:
    """Return how many pictures of *trials* were rated, with a warning if they look picked."""
    rated, pictures = len(trials), len(trials) + trials.unrated
    marks = trials.marks[np.isfinite(trials.marks)]
    mean = float(marks.mean()) if len(marks) else None
    warning = ""
    if mean is not None and mean > _LIKED and rated < _MUCH * pictures:
        warning = (
            f"{rated:,} of {pictures:,} pictures are rated, and with {mean:.1f} stars on average:"
            " if they were picked because they are good, differences come out too small, and their"
            " intervals too narrow; rate what comes next, liked or not"
        )
    return Selection(rated=rated, pictures=pictures, mean_mark=mean, warning=warning)
