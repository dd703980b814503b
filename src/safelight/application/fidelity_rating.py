"""fidelity_rating: stars by the automatic measure of the model in the box."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from safelight.archive import Archive
from safelight.archive_layout import picture_file
from safelight.durable_file import read_regular_file
from safelight.errors import ImageError
from safelight.learning.ratings import Identity, RatingEvent

if TYPE_CHECKING:
    from safelight.backends.bundled.fidelity import Fidelity

__all__ = ["RATER", "SOURCE", "fidelity_stars", "rate_by_fidelity"]

RATER = "fidelity"
SOURCE = "automatic:fidelity"

_PROBABILITIES = (0.5, 0.8, 0.95)
_DETAIL = 0.8
_BATCH = 200


def fidelity_stars(fidelity: Fidelity) -> int:
    """Return 1 to 5 stars: how surely a picture shows what it should, and how sharply.

    Two stars, and one more each where the probability of what was wanted is at least 0.5, 0.8
    and 0.95; one less where the picture has less than 0.57 or more than 1.74 times the fine
    detail of the artwork (blur, or grain).
    """
    sure = sum(fidelity.log_probability >= _log(chance) for chance in _PROBABILITIES)
    return max(2 + sure - (abs(fidelity.detail) > _DETAIL), 1)


def _log(chance: float) -> float:
    import math

    return math.log(chance)


def rate_by_fidelity(
    archive: Archive,
    condition: str,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> Mapping[str, int]:
    """Rate the pictures that meet *condition* and were not rated so before.

    Args:
        archive: Whose pictures.
        condition: In the filter language.
        on_progress: Told how many of how many are done.

    Returns:
        ``rated``, and each reason why some were passed over -> how many.
    """
    from safelight.backends.bundled.fidelity import FidelityScorer

    columns = ["sha256", "pixel_sha256", "path", "prompt", "gone"]
    outcomes: Counter[str] = Counter()
    rows = list(archive.query(condition, columns=columns, limit=None).dicts())
    scorer = FidelityScorer()
    with archive.ratings() as store:
        done = {
            digest
            for event in store.events()
            if event.source == SOURCE and event.image is not None
            for _, digest in event.image.keys
        }
        events: list[RatingEvent] = []
        for number, row in enumerate(rows, start=1):
            if row["sha256"] in done:
                outcomes["rated before"] += 1
            elif (event := _event(archive, scorer, row, outcomes)) is not None:
                events.append(event)
            if len(events) >= _BATCH:
                store.add(*events)
                events = []
            on_progress(number, len(rows))
        store.add(*events)
    return {"rated": 0, **outcomes}


def _event(
    archive: Archive, scorer: object, row: dict[str, str | None], outcomes: Counter[str]
) -> RatingEvent | None:
    from safelight.backends.bundled.fidelity import FidelityScorer

    assert isinstance(scorer, FidelityScorer)
    try:
        if row["gone"]:
            raise FileNotFoundError("another picture may lie in its place")
        image = read_regular_file(picture_file(archive.path, row["path"] or ""))
        fidelity = scorer.score(image, row["prompt"] or "")
    except OSError:
        outcomes["the file is not there"] += 1
        return None
    except ImageError:
        outcomes["the file is no image"] += 1
        return None
    if fidelity is None:
        outcomes["the prompt names nothing that the measure knows"] += 1
        return None
    outcomes["rated"] += 1
    identity = Identity(sha256=row["sha256"], pixel_sha256=row["pixel_sha256"])
    return RatingEvent.now(
        "stars", identity, value=fidelity_stars(fidelity), rater=RATER, source=SOURCE
    )
