"""Range texts of sweeps: exact, lazy, and refused with an example when they lead nowhere."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.value_ranges import distinct, scalars_of, values_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5-1 (-1)", [5, 4, 3, 2, 1]),
        ("1-3, 10, 20-22", [1, 2, 3, 10, 20, 21, 22]),
        ("-5-5 (+5)", [-5, 0, 5]),
        ("5-1", [5, 4, 3, 2, 1]),
        ("10..1 step 3", [10, 7, 4, 1]),
        ("1, 2, .., 10", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ("1, 3, .., 10", [1, 3, 5, 7, 9, 10]),
        ("5, .., 8", [5, 6, 7, 8]),
        ("10-1 [4]", [10, 7, 4, 1]),
        ("3-9 [1]", [3]),
    ],
)
def test_whole_numbers_come_in_ranges_of_every_spelling(text: str, expected: list[int]) -> None:
    """One axis may mix the spellings of several tools."""
    assert list(values_of(text, "integer")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.4..0.8 step 0.1", [0.4, 0.5, 0.6, 0.7, 0.8]),
        ("0.1-0.5 (+0.1)", [0.1, 0.2, 0.3, 0.4, 0.5]),
        ("1.0-2.0 (+0.3)", [1.0, 1.3, 1.6, 1.9]),
        ("0-1 [5]", [0, 0.25, 0.5, 0.75, 1]),
        ("7, 7.5", [7, 7.5]),
    ],
)
def test_fractions_are_what_was_written(text: str, expected: list[float]) -> None:
    """A cfg_scale of 0.30000000000000004 in a record would never be found again by 0.3."""
    values = list(values_of(text, "number"))
    assert values == expected
    assert [type(value) for value in values] == [type(value) for value in expected]


@given(
    start=st.integers(-300, 300), step=st.integers(1, 50), count=st.integers(1, 40),
    descending=st.booleans(),
)  # fmt: skip
def test_a_range_has_every_step_and_both_ends(
    start: int, step: int, count: int, descending: bool
) -> None:
    """Descending ranges used to lose their last values, stepped ones their end."""
    signed = -step if descending else step
    cents = [start + signed * place for place in range(count)]
    first, last = Decimal(cents[0]) / 100, Decimal(cents[-1]) / 100
    if count == 1 and descending:
        signed = step
    text = f"{first:.2f}-{last:.2f} ({'+' if signed > 0 else ''}{Decimal(signed) / 100:.2f})"
    assert list(values_of(text, "number")) == [float(Decimal(cent) / 100) for cent in cents]


def test_a_range_of_a_thousand_million_is_not_held() -> None:
    """Sweeping all seeds must cost nothing before the first picture."""
    values = values_of("1-1000000000", "integer")
    assert len(values) == 10**9
    assert (values[0], values[-1], values[123_456_788]) == (1, 10**9, 123_456_789)
    assert list(values[5:8]) == [6, 7, 8]


def test_a_list_is_kept_as_it_is() -> None:
    """Checking single values is the config's business; texts in a list are no ranges."""
    assert values_of([1, 2.5, "1-3"], "number") == (1, 2.5, "1-3")


def test_texts_are_one_csv_line() -> None:
    """Sampler names hold blanks and signs; a comma needs quotes, as in a spreadsheet."""
    assert values_of('Euler a, DPM++ 2M, "a, b"', "text") == ("Euler a", "DPM++ 2M", "a, b")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("1.5", "must be integers, such as 20 or 10-30 (+5); got '1.5'"),
        ("1-5 (+0.5)", "must be integers, such as 20 or 10-30 (+5); got '1-5 (+0.5)'"),
        ("1-5 (-1)", "the step must lead from 1 to 5, as in 10-30 (+5) or 30-10 (-5); got"),
        ("1-5 (+0)", "the step must lead from 1 to 5, as in 10-30 (+5) or 30-10 (-5); got"),
        ("10-1 (+2)", "got '10-1 (+2)'; use (-2)"),
        ("1-5 (-1)", "got '1-5 (-1)'; use (+1)"),
        ("10-1 (2)", "got '10-1 (2)'; use (-2)"),
        ("1..5 step -2", "got '1..5 step -2'; use step 2"),
        ("1-5 [0]", "a range must hold at least one value, as in 1-10 [5]; got '1-5 [0]'"),
        ("..", "'..' must stand between two numbers, as in 1, 2, .., 10; got '..'"),
        ("1-99999999999999999999", "must stand for at most 2**63 - 1 values, got"),
        (20, "must be a list of values or a range text, got 20"),
    ],
)
def test_a_range_that_leads_nowhere_says_why_and_what_would_lead_there(
    spec: object, message: str
) -> None:
    """An empty axis would silently make an empty plan."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is the test
        values_of(spec, "integer")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("true, false", [True, False]),
        ("1-3, 2.5", [1, 2, 3, 2.5]),
        ("1, a", [1, "a"]),
        ("1e2, -1.5E-3, x", [100.0, -0.0015, "x"]),
        ("1e400, NaN, Infinity, null, True, 01, a-b, [1", [
            "1e400", "NaN", "Infinity", "null", "True", "01", "a-b", "[1",
        ]),
        ('"a, b", """1""", ""', ["a, b", "1", ""]),
        (f"x, {'9' * 5000}", ["x", "9" * 5000]),
        (f"x, {'[' * 100_000}", ["x", "[" * 100_000]),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_values_of_no_known_kind_are_what_they_are_in_json(text: str, values: list[Any]) -> None:
    """All else is text: a config can hold no null and no NaN."""
    assert list(map(repr, scalars_of(text))) == list(map(repr, values))


def test_each_value_is_kept_once_and_a_flag_is_no_number() -> None:
    assert repr(distinct([1, True, 1.0, [1], [1], [True], 0, False, "1"])) == repr(
        (1, True, [1], [True], 0, False, "1")
    )
