"""Until there is a graphical side, this proves that what it will stand on stays headless."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import safelight

PACKAGE = Path(safelight.__file__).parent

GUI = frozenset(
    ("tkinter", "turtle", "PyQt5", "PyQt6", "PySide2", "PySide6", "wx", "gi", "kivy", "pygame")
)
NETWORK = frozenset(
    ("socket", "ssl", "http", "urllib", "ftplib", "asyncio", "requests", "httpx", "aiohttp")
)
HEADLESS = ["learning", "pipeline", "controller", "randomizer", "config.py", "knobs.py"]
OFFLINE = ["learning", "randomizer", "config.py", "knobs.py", "config_schema.py"]


def imports(place: str) -> Iterator[tuple[str, str]]:
    """Yield (file, imported module) of every import statement in *place*, nested ones too."""
    path = PACKAGE / place
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((file.name, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield file.name, node.module or ""


@pytest.mark.parametrize("place", HEADLESS)
def test_no_gui_module_is_imported(place: str) -> None:
    """Not even inside a function."""
    faults = [pair for pair in imports(place) if pair[1].partition(".")[0] in GUI]
    assert faults == []


@pytest.mark.parametrize("place", OFFLINE)
def test_no_network_module_is_imported(place: str) -> None:
    """Learning happens on the user's own machine, from the user's own files."""
    faults = [pair for pair in imports(place) if pair[1].partition(".")[0] in NETWORK]
    assert faults == []


def test_the_layers_work_where_no_gui_can_be_imported() -> None:
    """A run goes through, record and all, in an interpreter that refuses every GUI module."""
    program = f"""
import sys
for name in {sorted(GUI)!r}:
    sys.modules[name] = None
from safelight.backends.fake import FakeBackend
from safelight.controller import PipelineController
from safelight.pipeline import PipelineRunner
records = []
controller = PipelineController(
    runner_factory=lambda **hooks: PipelineRunner(FakeBackend(), **hooks),
    on_learning_record=records.append,
)
controller.run({{"txt2img": {{"prompt": "a cat", "width": 64, "height": 64, "steps": 2}}}})
print(records[0].status)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "completed"
