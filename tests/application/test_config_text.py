"""Configs that are written for people read back as they were."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from safelight.application.config_text import toml_text

_PLAIN = st.one_of(st.booleans(), st.integers(-(2**60), 2**60), st.text(max_size=12))
_VALUES: st.SearchStrategy[Any] = st.recursive(
    _PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=6), _VALUES, max_size=5), st.text(max_size=40))
def test_any_config_reads_back(config: dict[str, Any], comment: str) -> None:
    """Whatever is in its texts: brackets, quotes, line ends of every kind."""
    lines = [line for line in comment.splitlines() if line.isprintable()]
    assert tomllib.loads(toml_text(config, lines)) == config


def test_lists_that_fit_stand_on_one_line() -> None:
    """As a person writes them; long ones, and lists of tables, do not."""
    text = toml_text({"a": [1, 2], "b": ["x" * 60, "y" * 60], "c": [{"k": 1}, {"k": 2}]})
    assert "a = [1, 2]" in text
    assert '"y' in text.splitlines()[3]
    assert tomllib.loads(text)["c"] == [{"k": 1}, {"k": 2}]
