"""A time from outside is data: read when it is one, and never trusted to be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.timestamps import as_utc, compact, read_compact, utc_timestamp

offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(timezones=offsets)


@given(moments)
def test_a_moment_is_read_back_from_every_form(moment: datetime) -> None:
    """Of the file's name, too, which the order of records rests on."""
    try:
        written = utc_timestamp(moment)
    except OverflowError:
        return
    assert as_utc(written) == as_utc(moment.isoformat()) == written
    assert datetime.fromisoformat(written) == moment
    assert read_compact(f"{compact(written)}_run") == written
    assert compact(written).translate(str.maketrans("", "", "0123456789TZ.")) == ""


@given(moments, moments)
def test_texts_sort_as_their_moments_do(one: datetime, other: datetime) -> None:
    """Questions sort by text, whatever the time zones of those who wrote."""
    try:
        first, second = as_utc(one.isoformat()), as_utc(other.isoformat())
    except OverflowError:
        return
    if first and second:
        utc = (one.astimezone(UTC), other.astimezone(UTC))
        assert (first < second) == (utc[0] < utc[1])


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00.000000Z"),
        ("2026-01-31 12:00", "2026-01-31T12:00:00.000000Z"),
        ("2026-01-31", "2026-01-31T00:00:00.000000Z"),
        ("0800-01-31T00:00:00.5Z", "0800-01-31T00:00:00.500000Z"),
        ("", None),
        ("yesterday", None),
        ("../../../EVIL", None),
        ("01/05/2026 10:00:00", None),
        ("2026-13-45T99:00:00.000000Z", None),
        ("2020\0x", None),
        ("2" * 5000, None),
        ("9999-12-31T23:59:59-23:00", None),
        ("\ud800", None),
    ],
)
def test_what_is_no_time_is_told_apart(text: str, moment: str | None) -> None:
    assert as_utc(text) == moment


@pytest.mark.parametrize("name", ["", "2026_x", "99999999T999999.000000Z_x", "20260131T1200Z"])
def test_a_name_without_a_moment_has_none(name: str) -> None:
    assert read_compact(name) is None
