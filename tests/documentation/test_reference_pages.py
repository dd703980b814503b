"""The pages that are made from the code hold what they are about."""

from __future__ import annotations

import re

import reference
from safelight.archive.answer import columns_of_view
from safelight.cli import main
from safelight.knobs import KNOBS


def test_every_command_and_every_knob_is_in_them() -> None:
    pages = reference.pages()
    for name in main.list_commands(None):  # type: ignore[arg-type]
        assert f"## safelight {name}\n" in pages["commands.md"]
    assert "safelight archive merge\n" in pages["commands.md"]
    for knob in KNOBS:
        assert f"| `{knob}` |" in pages["config.md"], knob
    assert all(f"| `{column}` |" in pages["columns.md"] for column in columns_of_view("images"))


def test_the_python_page_says_how_each_is_called() -> None:
    page = reference.pages()["python.md"]
    assert 'view: str = "images"' in page.replace("'", '"')
    assert "### import_folders" in page
    assert "PipelineController(" in page
    assert not re.search(r":(?:func|class|data|meth):`", re.sub(r"(?s)```.*?```", "", page))


def test_pages_keep_to_what_a_table_can_hold() -> None:
    for name, page in reference.pages().items():
        for line in page.split("\n"):
            if line.startswith("| ") and "`" not in line:
                assert line.replace("\\|", "").count("|") in (3, 4), f"{name}: {line}"
