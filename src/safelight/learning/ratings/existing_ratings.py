"""Ratings that other programs left in pictures, as events; reading them twice is harmless.

An event's id is made of what it says about which picture (by the hash of the bytes, when that
is known), so that a second import of the same rating is the same event. When the file says
when it was changed, that date counts and is part of the id; otherwise the caller gives one
(the file's modification time is a good one).

Zero stars and a missing star are no statement and give no event.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from xml.parsers import expat

from safelight.learning.learning_record import utc_timestamp
from safelight.learning.ratings.rating_event import Identity, RatingEvent

__all__ = [
    "ratings_from_exif",
    "ratings_from_invokeai",
    "ratings_from_sdnext",
    "ratings_from_swarmui",
    "ratings_from_xmp",
]

_XMP = ("http://ns.adobe.com/xap/1.0/",)
_MICROSOFT = ("http://ns.microsoft.com/photo/1.0/", "http://ns.microsoft.com/photo/1.0")
_LONGEST_PACKET = 4_000_000
_PERCENT_STARS = ((13, 1), (38, 2), (63, 3), (88, 4), (101, 5))


def ratings_from_xmp(
    text: str, image: Identity, *, timestamp: str, rater: str = ""
) -> tuple[RatingEvent, ...]:
    """Return the stars or the reject of an XMP packet or sidecar; nothing when it has none.

    ``xmp:Rating`` counts (-1 rejects, half stars are rounded up), else ``MicrosoftPhoto:Rating``
    (a percentage). A packet that is no XML, longer than 4,000,000 characters, or that declares
    entities gives nothing.

    Args:
        text: The packet.
        image: The picture that it belongs to.
        timestamp: Taken when the packet has no ``xmp:MetadataDate``: UTC, ISO 8601.
        rater: Whose ratings these are.
    """
    values = _xmp_values(text)
    stated = _utc_or_none(values.get("MetadataDate", ""))
    number = _number(values.get("Rating"))
    if number is None and (percent := _number(values.get("Percent"))) is not None:
        number = _stars_of_percent(percent)
    return _of_number(
        number, image, source="imported:xmp", timestamp=timestamp, stated=stated, rater=rater
    )


def ratings_from_exif(
    rating: Any = None,
    percent: Any = None,
    *,
    image: Identity,
    timestamp: str,
    rater: str = "",
) -> tuple[RatingEvent, ...]:
    """Return the stars of EXIF ``Rating`` (0x4746), else of ``RatingPercent`` (0x4749)."""
    number = _number(rating)
    if number is None and (given := _number(percent)) is not None:
        number = _stars_of_percent(given)
    return _of_number(
        number, image, source="imported:exif", timestamp=timestamp, stated=None, rater=rater
    )


def ratings_from_sdnext(
    pairs: Mapping[str, Any], image: Identity, *, timestamp: str, rater: str = ""
) -> tuple[RatingEvent, ...]:
    """Return the stars of the ``Rating`` that SD.Next can write into its text."""
    number = _number(pairs.get("Rating"))
    return _of_number(
        number, image, source="imported:sdnext", timestamp=timestamp, stated=None, rater=rater
    )


def ratings_from_swarmui(
    metadata: Mapping[str, Any], image: Identity, *, timestamp: str, rater: str = ""
) -> tuple[RatingEvent, ...]:
    """Return the favourite that SwarmUI's ``is_starred`` stands for."""
    return _favourite(metadata.get("is_starred"), image, "imported:swarmui", timestamp, rater)


def ratings_from_invokeai(
    row: Mapping[str, Any], image: Identity, *, timestamp: str, rater: str = ""
) -> tuple[RatingEvent, ...]:
    """Return the favourite that the ``starred`` of InvokeAI's image table stands for."""
    return _favourite(row.get("starred"), image, "imported:invokeai", timestamp, rater)


def _favourite(
    value: Any, image: Identity, source: str, timestamp: str, rater: str
) -> tuple[RatingEvent, ...]:
    if str(value).strip().lower() not in ("true", "1"):
        return ()
    return (_event("favourite", True, image, source, timestamp, None, rater),)


def _of_number(
    number: float | None,
    image: Identity,
    *,
    source: str,
    timestamp: str,
    stated: str | None,
    rater: str,
) -> tuple[RatingEvent, ...]:
    if number == -1:
        return (_event("reject", True, image, source, timestamp, stated, rater),)
    if number is None or not 0 < number <= 5:
        return ()
    stars = max(1, math.floor(number + 0.5))
    return (_event("stars", stars, image, source, timestamp, stated, rater),)


def _event(
    kind: str,
    value: bool | int,
    image: Identity,
    source: str,
    timestamp: str,
    stated: str | None,
    rater: str,
) -> RatingEvent:
    parts = (kind, repr(value), repr(image.keys[0]), source, stated or "", rater)
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return RatingEvent(
        event_id=hashlib.sha256(text).hexdigest()[:32],
        timestamp=stated or timestamp,
        kind=kind,
        image=image,
        value=value,
        rater=rater,
        source=source,
    )


def _stars_of_percent(percent: float) -> float | None:
    if not 0 < percent <= 100:
        return None
    return next(stars for below, stars in _PERCENT_STARS if percent < below)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _utc_or_none(text: str) -> str | None:
    try:
        moment = datetime.fromisoformat(text.strip())
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return utc_timestamp(aware) if aware.year > 1000 else None
    except (ValueError, OverflowError):
        return None


class _EntityDeclared(Exception):
    """The packet declares entities, which no XMP does and bombs do."""


def _xmp_values(text: str) -> dict[str, str]:
    """Return ``Rating``, ``Percent`` and ``MetadataDate`` where the packet has them."""
    start = text.find("<")  # a byte order mark, and padding of sidecars
    if start < 0 or len(text) > _LONGEST_PACKET:
        return {}
    values: dict[str, str] = {}
    names = {f"{space} Rating": "Rating" for space in _XMP}
    names |= {f"{space} MetadataDate": "MetadataDate" for space in _XMP}
    names |= {f"{space} Rating": "Percent" for space in _MICROSOFT}
    inside: list[str] = []

    def begin(tag: str, attributes: Mapping[str, str]) -> None:
        inside.append(names.get(tag, ""))
        for name, value in attributes.items():
            if name in names:
                values.setdefault(names[name], value)

    def end(_tag: str) -> None:
        inside.pop()

    def characters(data: str) -> None:
        if inside and inside[-1]:
            values[inside[-1]] = values.get(inside[-1], "") + data

    def refuse(*_details: Any) -> None:
        raise _EntityDeclared

    parser = expat.ParserCreate("utf-8", " ")
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.CharacterDataHandler, parser.EntityDeclHandler = characters, refuse
    try:
        parser.Parse(text[start:].rstrip("\0 \r\n\t").encode(), True)
    except (expat.ExpatError, _EntityDeclared, UnicodeEncodeError):
        return {}
    return values
