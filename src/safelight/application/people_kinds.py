"""people_kinds: kinds of pictures that people made, by tags, albums and searches that they saved.

A further sort of kinds is one more generator here, and an entry of
:data:`safelight.learning.evidence.picture_kinds.SORTS`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safelight.application.saved_searches import saved_searches
from safelight.archive import Archive
from safelight.archive.answer import columns_of_view
from safelight.archive.columns import RATINGS
from safelight.errors import FilterError
from safelight.filter_tokens import album_condition, quoted
from safelight.filters import TAGS_BETWEEN, Filter, compile_filter
from safelight.learning.evidence.picture_kinds import ALBUM, SEARCH, TAG, PictureKind
from safelight.learning.evidence.scores import ImageScores
from safelight.learning.ratings import Identity, RatingEvent, current_ratings
from safelight.learning.ratings.rating_event import PART_OF_MANY, SAME

__all__ = ["people_kinds"]

_FEWEST, _MOST_SAID, _MOST_SEARCHES = 20, 50, 50
_SAYING = ("tags", "albums")
_OF_RATINGS = frozenset(RATINGS.keys() - {"tags", "album"}) | {"path"}
"""A search by what was rated would explain ratings by themselves; where files lie is no kind."""


def people_kinds(
    archive: Archive,
    events: Sequence[RatingEvent],
    columns: Mapping[str, Sequence[Any]],
    scores: ImageScores,
) -> tuple[PictureKind, ...]:
    """Return the kinds that people made of pictures: tags, then albums, then searches.

    Args:
        archive: Whose saved searches.
        events: All that people said.
        columns: ``sha256`` and ``pixel_sha256`` of each row, ``image_sha256`` where it is known.
        scores: Of what was rated: a tag or album is looked at that twenty of these have, or more.

    Raises:
        ArchiveError: The archive cannot answer.
    """
    return (*_of_said(events, columns, scores), *_of_searches(archive, columns))


def _of_said(
    events: Sequence[RatingEvent], columns: Mapping[str, Sequence[Any]], scores: ImageScores
) -> Iterator[PictureKind]:
    beside = (PART_OF_MANY, "undo", SAME)
    said = [event for event in events if event.statement in _SAYING or event.kind in beside]
    if not any(event.statement in _SAYING for event in said):
        return
    empty = [None] * len(columns["sha256"])
    digests = (columns.get(n, empty) for n in ("sha256", "pixel_sha256", "image_sha256"))
    rows = [
        Identity(sha256=sha256, pixel_sha256=pixels, image_sha256=image)
        for sha256, pixels, image in zip(*digests, strict=True)
    ]
    ratings = current_ratings(said, [identity for identity in rows if identity.keys])
    current = [ratings.get(identity) if identity.keys else None for identity in rows]
    rated = [scores.place(each.sha256, each.pixel_sha256) is not None for each in rows]
    tags = [each.tags if each else () for each in current]
    for tag, has in _often([[tag.lower() for tag in own] for own in tags], rated):
        # A filter looks into all tags of a picture as one text: it may find more.
        found = [tag in TAGS_BETWEEN.join(own).lower() for own in tags]
        condition = f"tags has {quoted(tag)}" if found == has else ""
        plain = TAGS_BETWEEN not in tag  # of earlier versions, which knew no such rule
        if plain and all(tag in own for own, one in zip(tags, has, strict=True) if one):
            condition = f"tag = {quoted(tag)}"
        yield PictureKind.of(f"{TAG}{tag}", np.array(has, np.bool_), condition)
    for album, has in _often([each.albums if each else () for each in current], rated):
        has_it = np.array(has, np.bool_)
        yield PictureKind.of(f"{ALBUM}{album}", has_it, album_condition(album))


def _often(
    named: Sequence[Sequence[str]], rated: Sequence[bool]
) -> Iterator[tuple[str, list[bool]]]:
    """Yield each name that twenty of the rated have, and which rows have it."""
    often = Counter(
        name for own, one in zip(named, rated, strict=True) if one for name in dict.fromkeys(own)
    )
    for name, count in often.most_common(_MOST_SAID):
        if count >= _FEWEST:
            yield name, [name in own for own in named]


def _of_searches(archive: Archive, columns: Mapping[str, Sequence[Any]]) -> Iterator[PictureKind]:
    wanted = dict[str, tuple[str, Filter]]()
    for search in saved_searches(archive.path)[:_MOST_SEARCHES]:
        if search.name and search.q.strip():
            try:
                compiled = compile_filter(search.q, columns_of_view("images"))
            except FilterError:
                continue
            if not compiled.columns & _OF_RATINGS and not compiled.scorers:
                wanted[search.name] = search.q, compiled
    if not wanted:
        return
    compiled_all = [compiled for _, compiled in wanted.values()]
    meets = ", ".join(f"coalesce({each.sql}, FALSE)" for each in compiled_all)
    answer = archive.rows(
        f"SELECT sha256, pixel_sha256, {meets} FROM images",  # noqa: S608 - compiled, values bound
        [value for each in compiled_all for value in each.parameters],
        rated=any({"tags", "album"} & each.columns for each in compiled_all),
    )
    told = {digest: found for *pair, found in _folded(answer) for digest in pair if digest}
    nothing = (False,) * len(wanted)
    keys = zip(columns["sha256"], columns["pixel_sha256"], strict=True)
    met: NDArray[np.bool_] = np.array(
        [told.get(sha256) or told.get(pixels) or nothing for sha256, pixels in keys], np.bool_
    ).reshape(-1, len(wanted))
    for place, (name, (q, _)) in enumerate(wanted.items()):
        yield PictureKind.of(f"{SEARCH}{name}", met[:, place].copy(), f"({q})")


def _folded(rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, Any, tuple[bool, ...]]]:
    return ((sha256, pixels, tuple(found)) for sha256, pixels, *found in rows)
