"""Runs that were killed, on the way of a question: who asks wants their pictures, too."""

from __future__ import annotations

from pathlib import Path

from safelight.archive_layout import records_folder, running_folder

__all__ = ["finish_killed_runs"]


def finish_killed_runs(archive: Path) -> None:
    """Write the record of every run that was killed; what is in the way is logged."""
    try:
        marked = any(not path.name.startswith(".") for path in running_folder(archive).iterdir())
    except OSError:
        return
    if marked:  # hardly ever: importing the pipeline takes longer than most questions
        from safelight.learning import LearningRecordWriter
        from safelight.pipeline import recover_interrupted_runs

        with LearningRecordWriter(records_folder(archive), root=archive) as writer:
            recover_interrupted_runs(archive, writer)
