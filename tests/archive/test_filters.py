"""The filter language says what it means, and lets nothing else through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.archive.filters import compile_filter
from safelight.errors import FilterError

COLUMNS = {"steps": "BIGINT", "prompt": "VARCHAR", "cfg_scale": "DOUBLE", "kept": "BOOLEAN"}


@pytest.mark.parametrize(
    ("text", "sql", "parameters"),
    [
        ("", "TRUE", ()),
        ("steps = 20", '"steps" = ?', (20,)),
        ("cfg_scale >= 7.5", '"cfg_scale" >= ?', (7.5,)),
        ("prompt has 'It''s'", 'contains("lower", ?)', ("it's",)),
        ('prompt != "a \\"\\" b"'.replace("\\", ""), '"prompt" <> ?', ('a " b',)),
        ("steps between 5 and 8 and kept = true", '("steps" BETWEEN ? AND ? AND "kept" = ?)',
         (5, 8, True)),
        ("steps in (1, 2)", '"steps" IN (?, ?)', (1, 2)),
        ("prompt is missing or prompt is not missing",
         '("prompt" IS NULL OR "prompt" IS NOT NULL)', ()),
        ("not steps = 1", '(NOT coalesce("steps" = ?, FALSE))', (1,)),
        ("(steps=1 or steps=2) AND NOT prompt HAS 'x'",
         '(("steps" = ? OR "steps" = ?) AND (NOT coalesce(contains("lower", ?), FALSE)))',
         (1, 2, "x")),
    ],
)  # fmt: skip
def test_a_filter_becomes_sql_with_bound_values(
    text: str, sql: str, parameters: tuple[object, ...]
) -> None:
    """No value is ever part of the SQL."""
    made = compile_filter(text, COLUMNS, {"prompt": 'contains("lower", ?)'})
    assert (made.sql, made.parameters) == (sql, parameters)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("stpes = 1", "no column 'stpes'; did you mean 'steps'., at 'stpes' \\(character 1\\)"),
        ("steps = 'a'", "steps is compared with a number, at \"'a'\""),
        ("prompt = 3", "prompt is compared with a text in quotes"),
        ("steps has 'x'", "'has' looks into texts, and steps is a number"),
        ("steps =", "ends where a value is expected"),
        ("steps = 1 2", "expected 'and', 'or' or the end, at '2' \\(character 11\\)"),
        ("(steps = 1", "ends where '\\)' is expected"),
        ("prompt = 'open", "texts stand in quotes"),
        ("steps ; drop", "cannot read"),
        ("steps like 3", "expected =, !="),
        ("and", "expected a column"),
        ("(" * 80 + "steps=1" + ")" * 80, "nest 50 deep"),
        ("not " * 80 + "steps=1", "nest 50 deep"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(text: str, told: str) -> None:
    """The rule, the value, and where it stands."""
    with pytest.raises(FilterError, match=told):
        compile_filter(text, COLUMNS)


@given(st.text(max_size=60) | st.text(alphabet="steps=<>()'\",andornthi 019.-;", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing of it gets into the SQL but the names of columns."""
    try:
        made = compile_filter(text, COLUMNS)
    except FilterError:
        return
    assert made.sql.count("?") == len(made.parameters)
    assert "'" not in made.sql
    assert ";" not in made.sql
