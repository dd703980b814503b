"""timestamps: moments as records write them, those from outside, and spans of time in words.

A time that somebody else wrote is data: it may be wrong, or no time at all. It never becomes a
name or an order without having been read as one.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

__all__ = [
    "as_utc", "compact", "day_words", "duration", "epoch_seconds", "read_compact", "utc_timestamp",
]  # fmt: skip

_FORM = "%Y-%m-%dT%H:%M:%S.%fZ"
_CANONICAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\.\d{6})?Z", re.ASCII)


def utc_timestamp(moment: datetime | None = None) -> str:
    """Return *moment*, or now, as UTC in ISO 8601: ``2026-01-31T12:00:00.000000Z``."""
    moment = datetime.now(UTC) if moment is None else moment.astimezone(UTC)
    return _written(moment)


def as_utc(text: str) -> str | None:
    """Return the moment that *text* tells in ISO 8601, as :func:`utc_timestamp` writes it.

    None when it tells none. Without an offset it is taken to be UTC. Texts of this form sort as
    their moments do.
    """
    try:
        moment = datetime.fromisoformat(text)
        if _CANONICAL.fullmatch(text):  # nearly always
            return text
        if moment.tzinfo is None:
            return _written(moment)
        return _written(moment.astimezone(UTC))
    except (ValueError, OverflowError):  # also beyond the years 1 to 9999
        return None


def epoch_seconds(timestamp: str) -> float:
    """Return the seconds since 1970 of what :func:`utc_timestamp` wrote; 0 of what tells none."""
    told = as_utc(timestamp)
    return 0.0 if told is None else datetime.fromisoformat(told).timestamp()


def compact(timestamp: str) -> str:
    """Return ``20260131T120000.000000Z`` for a text that :func:`utc_timestamp` wrote."""
    return timestamp.replace("-", "").replace(":", "")


def read_compact(name: str) -> str | None:
    """Return the moment that *name* begins with, as :func:`compact` wrote it; None without one."""
    match = _COMPACT.match(name)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction = match.groups()
    return as_utc(f"{year}-{month}-{day}T{hour}:{minute}:{second}{fraction or ''}Z")


def _written(moment: datetime) -> str:
    # Not %Y: on Linux it writes the year 800 with three digits.
    return f"{moment.year:04d}{moment.strftime(_FORM[2:])}"


def day_words(timestamp: str) -> str:
    """Return the day of *timestamp* as people say it: ``31 January 2026``."""
    try:
        told = date.fromisoformat(timestamp[:10])
    except ValueError:
        return timestamp[:10]
    return f"{told.day} {told:%B %Y}"


def duration(seconds: float) -> str:
    """Return *seconds* as people say it: ``4.2 s``, ``45 s``, ``12 min``, ``1.8 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
