"""Ctrl-C ends the command line with one line and the status of what was interrupted."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module", ["click", "safelight.cli", "safelight.cli.plan_command", "safelight.randomizer"]
)
def test_who_is_interrupted_while_modules_are_imported_says_so_in_a_line(module: str) -> None:
    """The first half second is imports; nobody wants their traceback."""
    program = (
        "import sys\n"
        "from importlib.abc import MetaPathFinder\n"
        "class Interrupted(MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name == {module!r}:\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "from safelight.__main__ import start\n"
        "sys.argv = ['safelight', 'plan', 'nothing.toml']\n"
        "start()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")
