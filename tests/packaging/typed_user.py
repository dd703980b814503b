"""What somebody writes who checks types strictly; ``make wheel-test`` checks it."""

from __future__ import annotations

from pathlib import Path

import safelight
from safelight.errors import SafelightError
from safelight.learning import LearningRecord
from safelight.pipeline.backend import Backend


def best(folder: Path, words: str, most: int = 10) -> list[str]:
    """Return where the best pictures with *words* in their prompts are."""
    archive = safelight.open(folder)
    rows = archive.find(words, limit=most).dicts()
    return [str(row["path"]) for row in rows if row["path"]]


def draw(prompt: str, archive: Path, engine: Backend | str = "fake") -> LearningRecord | None:
    """Draw one picture and return its record."""
    try:
        done = safelight.run(
            {"backend": "fake", "txt2img": {"prompt": prompt}}, safelight.open(archive)
        )
    except SafelightError as error:
        raise SystemExit(str(error)) from error
    return done.learning_record


def version() -> str:
    """Return the version that is installed."""
    return safelight.__version__


draw("a frog", 3)  # type: ignore[arg-type]  # must be refused, or this line is an error itself
