"""Whatever goes wrong, the user reads a sentence; where it was is told to who asks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_COMMAND = """
import threading
from safelight.archive import Archive
from safelight.cli import main

def broken(*_, **__):
    raise {error}

def broken_in_a_thread(*_, **__):
    thread = threading.Thread(target=broken, name="asker")
    thread.start()
    thread.join()
    raise KeyError("and then")

Archive.query = {what}
main({words})
"""


def ended(folder: Path, error: str, *words: str, what: str = "broken") -> tuple[int, str]:
    """Return the exit status and what was said when a question ends in *error*."""
    (folder / "a").mkdir(exist_ok=True)
    code = _COMMAND.format(error=error, words=[*words, "find", "--archive", "a"], what=what)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("OSError(24, 'Too many open files', 'a')", "OSError: [Errno 24] Too many open files"),
        ("RecursionError('maximum recursion depth')", "RecursionError: maximum recursion depth"),
        ("MemoryError()", "MemoryError"),
        ("KeyError('prompt')", "KeyError: 'prompt'"),
    ],
)
def test_a_command_ends_in_a_sentence(tmp_path: Path, error: str, message: str) -> None:
    """Also where nobody foresaw the error; ``-v`` tells where it was."""
    status, output = ended(tmp_path, error)
    assert status == 1
    assert f"Error: {message}" in output
    assert "Traceback" not in output

    status, output = ended(tmp_path, error, "-v")
    assert status == 1
    assert "Traceback" in output
    assert f"Error: {message}" in output


def test_a_thread_ends_in_a_sentence(tmp_path: Path) -> None:
    """Python would print where it died, whoever is looking."""
    _, output = ended(tmp_path, "ValueError('no')", what="broken_in_a_thread")
    assert "ERROR: asker ended early: ValueError: no" in output
    assert "Traceback" not in output
