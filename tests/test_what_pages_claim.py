"""Figures that README and docs quote can be measured again, and what they link to is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FIGURE = re.compile(r"\d[\d.,]*\s?(?:ms|µs|s|[kKMG]i?B|x|%|times as fast|a second)(?![\w/])")
COMMAND = re.compile(r"python (bench/\w+\.py)")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)[^)\s]*\)")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def statements(page: str) -> Iterator[str]:
    """Yield what stands for itself: rows of tables and paragraphs; code is none."""
    prose = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
    for paragraph in re.split(r"\n\s*\n", prose):
        yield from paragraph.split("\n") if paragraph.startswith("|") else [paragraph]


def unmeasured(page: str) -> list[str]:
    """Return the statements with a figure for which no command is named that is there."""
    found, command = [], False
    for statement in statements(page):
        named = COMMAND.findall(statement)
        if named or "| the same |" not in statement:
            command = bool(named) and all((ROOT / name).is_file() for name in named)
        if FIGURE.search(statement) and not command:
            found.append(statement)
    return found


@pytest.mark.parametrize("page", ["README.md", "docs/performance.md"])
def test_every_figure_has_the_command_that_measures_it(page: str) -> None:
    """A figure that nobody can measure again is an advertisement."""
    assert unmeasured((ROOT / page).read_text("utf-8")) == []


@pytest.mark.parametrize(
    "claim",
    [
        "Importing reads 1,500 a second.",
        "| counting | 1.2 ms | `python bench/no_such.py` |",
        "Where `python bench/startup.py` measures, all is well.\n\nIt is 1.3 x as fast.",
    ],
)
def test_a_figure_without_a_command_is_found(claim: str) -> None:
    """Or the test above would prove nothing."""
    assert len(unmeasured(claim)) == 1


def test_every_page_that_is_linked_to_is_there() -> None:
    """Also pictures; addresses of the web are not asked."""
    missing = [
        f"{page.name}: {target}"
        for page in PAGES
        for target in LINK.findall(page.read_text("utf-8"))
        if not (page.parent / target).exists()
    ]
    assert missing == []
