"""What is printed without rich looks as rich would have it."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from safelight.cli.headed_table import Column, headed_table, terminal_width, wrapped

COLUMNS = (
    Column("#", right=True),
    Column("chosen", widest=60),
    Column("prompt"),
    Column("seed", right=True),
)
texts = st.lists(
    st.sampled_from(["apple", "a", " ", "  ", "\n", "wood,stone", "x" * 70, "é", "東京", "-", "["])
).map("".join)
rows = st.lists(st.tuples(st.sampled_from("07"), texts, texts, st.sampled_from(["", "12345"])))


@given(texts, st.integers(10, 130))
def test_lines_break_where_those_of_rich_do(text: str, width: int) -> None:
    """Also within words that are too long, and where letters take two columns."""
    assert "\n".join(wrapped(text, width)) + "\n" == by_rich(Text(text), width)


@given(rows, st.integers(50, 200))
def test_a_table_is_laid_out_as_that_of_rich(rows: list[tuple[str, ...]], width: int) -> None:
    """Which columns give when there is too little room, and by how much."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in COLUMNS:
        table.add_column(
            column.heading,
            justify="right" if column.right else "left",
            overflow="fold",
            max_width=column.widest or None,
        )
    for row in rows:
        table.add_row(*map(Text, row))
    assert shown(rows, width) == by_rich(table, width)


@pytest.mark.parametrize("width", [1, 5, 20])
def test_a_narrow_terminal_gets_a_table_all_the_same(width: int) -> None:
    """Wider than it is, but with every letter."""
    lines = shown([("0", "a=b", "apple", "1")], width)
    assert sorted("".join(lines.split()).replace("─", "")) == sorted("#chosenpromptseed0a=bapple1")


def test_the_width_is_the_stated_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in every other tool, COLUMNS goes before what the terminal says."""
    monkeypatch.setenv("COLUMNS", "123")
    assert terminal_width() == 123


def test_a_plan_is_shown_without_what_takes_long_to_import(tmp_path: Path) -> None:
    """A small config's plan costs about three imports of click; each of these costs one more."""
    config = tmp_path / "c.toml"
    config.write_text('[txt2img]\nprompt = "a {red|green} apple on __wood__"\n', "utf-8")
    code = (
        "import sys\n"
        "from safelight.cli import main\n"
        f"main(['plan', {str(config)!r}], standalone_mode=False)\n"
        "print(sorted({'rich', 'pyparsing', 'numpy', 'duckdb'} & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def shown(rows: Sequence[Sequence[str]], width: int) -> str:
    """Return our table as text."""
    return "".join(f"{line.text}\n" for line in headed_table(COLUMNS, rows, width))


def by_rich(what: Table | Text, width: int) -> str:
    """Return what rich prints."""
    file = io.StringIO()
    Console(file=file, width=width, color_system=None).print(what)
    return file.getvalue()
