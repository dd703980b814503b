"""noise_levels: the text of the knob ``sigmas`` as numbers, for engines that take a list."""

from __future__ import annotations

import itertools
import math
import re

from safelight.errors import BackendError

__all__ = ["noise_levels"]


def noise_levels(sigmas: str) -> tuple[float, ...]:
    """Return the noise levels that *sigmas* lists: ``"14.6, 2.1, 0"`` -> ``(14.6, 2.1, 0.0)``.

    Raises:
        BackendError: It is no list of at least two numbers, each lower than the one before,
            none below 0.
    """
    try:
        levels = tuple(float(part) for part in re.split(r"[,\s]+", sigmas.strip(" \t\n,")))
    except ValueError:
        levels = ()
    falls = all(before > after for before, after in itertools.pairwise(levels))
    if len(levels) < 2 or not falls or levels[-1] < 0 or not math.isfinite(levels[0]):
        raise BackendError(
            "sigmas must be two or more numbers, comma-separated, each lower than the one before"
            f" and none below 0, got {sigmas!r}"
        )
    return levels
