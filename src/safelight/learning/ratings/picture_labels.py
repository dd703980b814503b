"""Good or bad, of single pictures: what trainers on unpaired preferences (KTO) read.

Each rater's stars are read on that rater's own scale: above the middle of all stars that they
gave is good, below it is bad, the middle itself says nothing. A favourite is good, a reject bad.
Where anybody contradicts themselves or another, the picture has no label, and is counted.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from safelight.learning.ratings.preference_export import RatedPicture
from safelight.learning.ratings.rating_event import Pictures, RatingEvent, events_in_force

__all__ = [
    "PictureLabel",
    "PictureLabels",
    "kto_rows",
    "label_card",
    "label_card_markdown",
    "picture_labels",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureLabel:
    """What all raters who said something clear of one picture agree in.

    Attributes:
        picture: Which.
        good: Whether it is good; else it is bad.
        raters: How many said so.
        said: By what: of ``stars``, ``favourite`` and ``reject``.
        timestamp: When the last of it was said: UTC, ISO 8601.
    """

    picture: RatedPicture
    good: bool
    raters: int
    said: tuple[str, ...]
    timestamp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureLabels:
    """Labels, and what was rated but has none.

    Attributes:
        labels: By the hash of the picture.
        middle: Pictures of which nobody said more than the middle of their scale.
        contradicting: Pictures of which good and bad were said, by one rater or by two.
        raters: How many raters the labels rest on.
    """

    labels: tuple[PictureLabel, ...]
    middle: int
    contradicting: int
    raters: int


def picture_labels(
    events: Iterable[RatingEvent], pictures: Iterable[RatedPicture]
) -> PictureLabels:
    """Return which of *pictures* are good and which are bad, by what is in force of *events*.

    Args:
        events: All, in any order: a rater's scale is that of everything they rated.
        pictures: Which may get a label; of several copies of one picture the first counts.
    """
    events = events_in_force(events)
    listed = tuple(pictures)
    same = Pictures([rated.identity for rated in listed] + [i for e in events for i in e.pictures])
    by_key: dict[tuple[str, str], RatedPicture] = {}
    for rated in listed:
        by_key.setdefault(same.key(rated.identity), rated)
    last: dict[tuple[str, str], dict[tuple[str, str], RatingEvent]] = defaultdict(dict)
    for event in events:
        if event.kind in ("stars", "favourite", "reject") and event.image:
            last[same.key(event.image)][event.rater, event.kind] = event
    middles = _middles(last)
    labels, raters = list[PictureLabel](), set[str]()
    middle = contradicting = 0
    for key, picture in by_key.items():
        given = [event for event in last.get(key, {}).values() if event.value]
        clear = [(event, good) for event in given if (good := _good(event, middles)) is not None]
        if not clear:
            middle += bool(given)
        elif len({good for _, good in clear}) > 1:
            contradicting += 1
        else:
            those = {event.rater for event, _ in clear}
            raters |= those
            labels.append(PictureLabel(
                picture=picture, good=clear[0][1], raters=len(those),
                said=tuple(sorted({event.kind for event, _ in clear})),
                timestamp=max(event.timestamp for event, _ in clear),
            ))  # fmt: skip
    labels.sort(key=lambda label: label.picture.identity.keys)
    return PictureLabels(
        labels=tuple(labels), middle=middle, contradicting=contradicting, raters=len(raters)
    )


def _middles(
    last: Mapping[tuple[str, str], Mapping[tuple[str, str], RatingEvent]],
) -> dict[str, float]:
    """Return the middle of each rater's stars: of one who gave but one number, that number."""
    given: dict[str, list[int]] = defaultdict(list)
    for of_one in last.values():
        for (rater, kind), event in of_one.items():
            if kind == "stars" and event.value:
                given[rater].append(int(event.value))
    return {rater: median(stars) for rater, stars in given.items()}


def _good(event: RatingEvent, middles: Mapping[str, float]) -> bool | None:
    """Return whether *event* says good; None for what says neither good nor bad."""
    if event.kind != "stars":
        return event.kind == "favourite"
    stars, middle = int(event.value or 0), middles[event.rater]
    return None if stars == middle else stars > middle


def kto_rows(labels: PictureLabels) -> Iterator[dict[str, Any]]:
    """Yield ``prompt``, ``image`` (a path) and ``label`` (true is good) of each picture."""
    for one in labels.labels:
        yield {
            "prompt": one.picture.prompt,
            "image": one.picture.path,
            "label": one.good,
            "raters": one.raters,
            "said": list(one.said),
            "created_at": one.timestamp,
        }


def label_card(labels: PictureLabels, *, query: str, layout: str) -> dict[str, Any]:
    """Return what a reader of the export must know, as plain JSON values."""
    moments = sorted(one.timestamp for one in labels.labels)
    said = Counter(kind for one in labels.labels for kind in one.said)
    return {
        "layout": layout,
        "pictures": len(labels.labels),
        "good": sum(one.good for one in labels.labels),
        "bad": sum(not one.good for one in labels.labels),
        "prompts": len({one.picture.prompt for one in labels.labels}),
        "said": dict(sorted(said.items())),
        "raters": labels.raters,
        "left_out_middle": labels.middle,
        "left_out_contradicting": labels.contradicting,
        "first_rated": moments[0] if moments else None,
        "last_rated": moments[-1] if moments else None,
        "query": query,
        "query_sha256": hashlib.sha256(query.encode()).hexdigest(),
    }


def label_card_markdown(card: Mapping[str, Any]) -> str:
    """Return *card* for a person: a Markdown text."""
    query = str(card["query"]).replace("```", "'''")
    said = ", ".join(f"{count} by {kind}" for kind, count in card["said"].items()) or "none"
    return (
        f"# Good and bad pictures ({card['layout']})\n\n"
        f"- {card['pictures']} pictures of {card['prompts']} prompts: {card['good']} good (true),"
        f" {card['bad']} bad (false)\n"
        f"- {said}: stars above or below the middle (median) of all that the same rater gave;"
        " a favourite is good, a reject bad\n"
        f"- left out: {card['left_out_middle']} with no more than a rater's middle,"
        f" {card['left_out_contradicting']} of which good and bad were said\n"
        f"- {card['raters']} raters, without their names\n"
        f"- rated from {card['first_rated']} to {card['last_rated']}\n\n"
        f"Query (SHA-256 {card['query_sha256']}):\n\n```\n{query}\n```\n"
    )
