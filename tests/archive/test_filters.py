"""The filter language says what it means, and lets nothing else through."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.test_archive import record
from archives import held_in_memory
from safelight.archive import Archive
from safelight.archive.answer import columns_of_view
from safelight.errors import FilterError
from safelight.filters import compile_filter

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
    ("text", "looked_for"),
    [
        ("lighthouse", ["lighthouse"]),
        ("Red, FOX's", ["red", "fox's"]),
        ("'at night' storm", ["at night", "storm"]),
        ("1girl 8k sci-fi 灯台 don't! 4:3", ["1girl", "8k", "sci-fi", "灯台", "don't!", "4:3"]),
        ("<lora:ink:0.7> ink", ["<lora:ink:0.7>", "ink"]),
        ("(masterpiece:1.2)", ["masterpiece:1.2"]),
        (
            "cat in a hat is between two chairs",
            ["cat", "in", "a", "hat", "is", "between", "two", "chairs"],
        ),
        ("50", ["50"]),
        ("steps ; drop", ["steps", ";", "drop"]),
        ("rock'n'roll", ["rock", "n", "roll"]),
    ],
)
def test_a_word_is_looked_for_in_prompts(text: str, looked_for: list[str]) -> None:
    """Whatever prompts have is no error; a phrase stands in quotes."""
    made = compile_filter(text, COLUMNS)
    assert list(made.parameters) == looked_for
    assert made.sql.count('contains(lower("prompt"), ?)') == len(looked_for)
    assert made.columns == {"prompt"}


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("fox steps > 10", "prompt has 'fox' and steps > 10"),
        ("steps > 10 fox or kept = true", "steps > 10 and prompt has 'fox' or kept = true"),
        ("not fox, (kept = true or cat)",
         "not prompt has 'fox' and (kept = true or prompt has 'cat')"),
    ],
)  # fmt: skip
def test_words_and_conditions_go_together(text: str, same: str) -> None:
    """What stands side by side must hold as well."""
    assert compile_filter(text, COLUMNS) == compile_filter(same, COLUMNS)


def test_words_are_looked_for_in_the_text_that_a_view_has() -> None:
    """LoRAs have a name and no prompt."""
    made = compile_filter("ink", {"name": "VARCHAR", "weight": "DOUBLE"})
    assert made.sql == 'contains(lower("name"), ?)'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stpes = 1", "no column 'stpes'; did you mean 'steps'., at 'stpes' \\(character 1\\)"),
        ("lighthouse = 1", 'often asked: prompt, steps, cfg_scale; .* in quotes: "lighthouse"'),
        ("steps = 'a'", "steps is compared with a number, at \"'a'\""),
        ("prompt = 3", "prompt is compared with a text in quotes: prompt = 'Euler a'"),
        ("steps has 'x'", "'has' looks into texts, and steps is a number"),
        ("fox steps >> 3", "no sign '>>' \\(character 11\\); did you mean: fox steps > 3$"),
        ("steps==3 fox", "no sign '==' \\(character 6\\); did you mean: steps=3 fox$"),
        ("kept => true", "did you mean: kept >= true$"),
        ("steps > 3 && steps < 9", "no sign '&&' .*; did you mean: steps > 3 and steps < 9$"),
        ("steps >< 3", "no sign '><' \\(character 7\\); a comparison is one of = != < <= > >=$"),
        ("steps =", "ends where a value is expected"),
        ("steps = 1 2", "expected 'and', 'or' or the end, at '2' \\(character 11\\)"),
        ("(steps = 1", "ends where '\\)' is expected"),
        ("prompt = 'open", "texts stand in quotes"),
        ("steps = 1, 2", "expected 'and', 'or' or the end, at '2'"),
        ("and", "expected a word or a column"),
        ("fox or", "ends where a word or a column is expected"),
        ("fox >", "there is no column 'fox'"),
        ("= 3", "expected a word or a column"),
        ("(" * 80 + "steps=1" + ")" * 80, "nest 50 deep"),
        ("not " * 80 + "steps=1", "nest 50 deep"),
        (" ".join(["fox"] * 151), "150 conditions at most"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(text: str, message: str) -> None:
    """The rule, the value, and where it stands."""
    with pytest.raises(FilterError, match=message):
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


# -- LoRAs ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_loras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights in prompts, a name that begins as another does, and one that a graph named."""
    folder = tmp_path_factory.mktemp("loras")
    archive = Archive(folder)
    for number, prompt in enumerate((
        "a <lora:ink:0.2>", "b <lora:ink:0.7>", "c <lora:ink_v2:0.7> <lora:my style:1>", "d", "e",
    )):  # fmt: skip
        drawn = record(number, prompt=prompt)
        if number == 4:
            named = [{"name": "Depth.safetensors", "weight": 0.5}]
            stages = dict(drawn.variant_configs[0])
            stages["txt2img"] = {**stages["txt2img"], "loras": named}
            drawn = replace(drawn, variant_configs=[stages])
        with archive.writer() as writer:
            writer.write(drawn)
        if number == 2:
            archive.pack()
    return folder


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ("lora.ink", "ab"), ("lora.INK > 0.5", "b"), ("lora.ink between 0.1 and 0.3", "a"),
        ("lora = 'ink'", "ab"), ("lora = 'ink.safetensors'", "ab"), ("lora has 'ink'", "abc"),
        ("lora('my style') >= 1", "c"), ("lora('my style')", "c"), ("lora.depth = 0.5", "e"),
        ("lora is missing", "d"), ("lora is not missing", "abce"), ("lora.ink is missing", "cde"),
        ("lora != 'ink'", "cde"), ("not lora.ink and lora is not missing", "ce"),
        ("lora.ink < 0.5 or lora.depth", "ae"), ("lora.nobody", ""),
    ],
)  # fmt: skip
def test_loras_are_asked_by_name_and_weight_at_both_doors(
    with_loras: Path, text: str, prompts: str
) -> None:
    """On the disk and in memory; a name is not taken for another that begins with it."""
    answer = Archive(with_loras).query(text, columns=["prompt"], limit=None)
    assert {row[0][0] for row in answer.rows} == set(prompts)
    with held_in_memory(with_loras) as held:
        rows = held.query(text, columns=["prompt"], limit=None)
    assert sorted(rows.rows) == sorted(answer.rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lora.ink > 'a'", "is a number"), ("lora.ink has 'a'", "is a number"),
        ("lora > 0.5", "lora.NAME > 0.5"), ("lora(ink", "')' is expected"), ("lora(", "ends where"),
    ],
)  # fmt: skip
def test_what_is_no_condition_about_loras_is_told(text: str, message: str) -> None:
    with pytest.raises(FilterError, match=re.escape(message)):
        compile_filter(text, columns_of_view("images"))


def test_lora_is_a_word_like_others() -> None:
    """Where nothing is compared it is looked for in prompts."""
    for text in ("lora", "a lora", "lora ink"):
        assert "prompt" in compile_filter(text, columns_of_view("images")).columns


def test_conditions_about_settings_have_an_end() -> None:
    """Each is a question of its own, and holds the pictures that it found."""
    columns = {"sha256": "VARCHAR"}
    twelve = " or ".join(f"lora.ink > {number}" for number in range(12))
    assert compile_filter(twelve, columns).sql.count("SELECT") == 12
    with pytest.raises(FilterError, match="12 conditions at most that are about LoRAs and extras"):
        compile_filter(f"{twelve} or extra.tiling", columns)
