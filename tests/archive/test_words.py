"""Words without a language, in prompts, names of files, tags and notes, at every door."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from click.shell_completion import ShellComplete

from archive.test_archive import record
from archives import held_in_memory
from command_line import call
from safelight.archive import Archive
from safelight.archive.answer import columns_of_view
from safelight.cli import main
from safelight.errors import FilterError
from safelight.filters import compile_filter
from safelight.learning.ratings import Identity, RatingEvent

PAGE = Path(__file__).parents[2] / "docs" / "archive.md"
PICTURES = (
    ("a Lighthouse at dusk, golden hour", "images/2026-01-01/run/00000-txt2img.png"),
    ("lighthouse in a golden field, happy hour", "images/2026-01-01/run/00001-txt2img.png"),
    ("a harbour", "/home/ann/lighthouse trip/Keeper_Portrait.PNG"),
    ("a harbour at night", "C:\\pictures\\lighthouse\\storm.png"),
)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures, two of them in a pack; people wrote something of two."""
    folder = tmp_path_factory.mktemp("words")
    archive = Archive(folder)
    for number, (prompt, path) in enumerate(PICTURES):
        drawn = record(number, prompt=prompt)
        outputs = tuple(msgspec.structs.replace(output, path=path) for output in drawn.outputs)
        with archive.writer() as writer:
            writer.write(replace(drawn, outputs=outputs))
        if number == 1:
            archive.pack()
    digests = dict(archive.query("", columns=["prompt", "sha256"], limit=None).rows)
    with archive.ratings() as store:
        of = Identity(sha256=digests[PICTURES[2][0]])
        store.add(RatingEvent.now("tags", of, added=("Moody", "keep", "low sun"), rater="ann"))
        of = Identity(sha256=digests[PICTURES[0][0]])
        store.add(RatingEvent.now("note", of, value="The HANDS are odd", rater="ann"))
    return folder


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("lighthouse", {0, 1}), ("LIGHTHOUSE dusk", {0}), ("lighthouse at dusk", {0}),
        ('"golden hour"', {0}), ("golden hour", {0, 1}), ("keeper_portrait", {2}),
        ("keeper_portrait.png harbour", {2}), ("storm", {3}), ("trip", set()), ("ann", set()),
        ("moody", {2}), ("'moody keep'", set()), ("hands", {0}), ("not hands", {1, 2, 3}),
        ("harbour and not keep", {3}), ("hands or moody or storm", {0, 2, 3}), ("stepz", set()),
        ('"golden hour" steps > 1', {0}), ("lighthouse and model = 'nobody'", set()),
        ("'low sun'", {2}), ("tag = 'low sun'", {2}), ("tag = 'sun'", set()),
        ("note has 'hands'", {0}), ("has note", {0}), ("has albums", set()),
        ("hands tags is missing", {0}), ("keep and tags has 'moody'", {2}),
    ],
)  # fmt: skip
def test_words_find_prompts_files_tags_and_notes_at_every_door(
    told: Path, text: str, found: set[int]
) -> None:
    """On the disk whole and by pages, in memory, and where facets are counted."""
    archive = Archive(told)
    for limit in (None, 10):
        answer = archive.query(text, columns=["prompt"], limit=limit)
        assert {row[0] for row in answer.rows} == {PICTURES[number][0] for number in found}
    with held_in_memory(told) as held:
        assert held.query(text, columns=["prompt"]).rows == answer.rows
        assert held.facets(text)[0] == len(answer.rows)


def test_a_comparison_with_no_column_is_still_told() -> None:
    """A word is one; what is compared must be a column."""
    columns = columns_of_view("images")
    compile_filter("stepz", columns)
    with pytest.raises(FilterError, match="did you mean 'steps'"):
        compile_filter("lighthouse stepz > 20", columns)


def test_the_words_of_a_command_are_one_filter(told: Path) -> None:
    """Nobody quotes three words for a shell."""
    for command in (("find",), ("contents",), ("effects",), ("export", str(told / "x.jsonl"))):
        joined = call(*command, "lighthouse", "at", "dusk", "--archive", str(told))
        assert joined.stdout == call(*command, "lighthouse at dusk", "--archive", str(told)).stdout
        assert joined.exit_code == 0
    assert "golden hour" in call("find", "lighthouse", "dusk", "--archive", str(told)).stdout


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("cfg_", ""), {"cfg_scale", "cfg_rescale"}), (("lighthouse", "samp"), {"sampler"}),
        (("sampler = 'Eu",), {"sampler = 'Euler a'"}), (("tag", "=", "kee"), {"'keep'"}),
        (("nothing-like-it",), set()),
    ],
)  # fmt: skip
def test_a_shell_completes_filters(told: Path, words: tuple[str, ...], offered: set[str]) -> None:
    """What the field of the page offers, for the word where the cursor is."""
    words = tuple(filter(None, words))
    completion = ShellComplete(main, {}, "safelight", "_SAFELIGHT_COMPLETE")
    arguments = ["find", "--archive", str(told), *words[:-1]]
    assert {item.value for item in completion.get_completions(arguments, words[-1])} == offered


def test_every_example_of_the_documentation_is_read(
    told: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the page has them, one line after the other."""
    section = PAGE.read_text("utf-8").split("\n## Find\n")[1].split("\n## ")[0]
    block = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert block is not None
    monkeypatch.setenv("SAFELIGHT_ARCHIVE", str(told))
    lines = [shlex.split(line, comments=True)[1:] for line in block[1].splitlines()]
    assert len(lines) > 6
    for line in lines:
        assert call(*line).exit_code == 0, line
