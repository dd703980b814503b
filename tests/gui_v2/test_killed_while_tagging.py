"""A server that is killed while it tags very many pictures has tagged all of them, or none."""

from __future__ import annotations

from pathlib import Path

from gui_v2.killed_server import fill_with, kill_while_tagging
from safelight.learning.ratings.rating_event import PER_LINE


def test_never_half_of_them(tmp_path: Path) -> None:
    """Answered or not; who was not says it again. The bench ``many_at_once`` kills fifty."""
    outcomes = kill_while_tagging(fill_with(tmp_path / "archive", 2 * PER_LINE + 20), 2, seed=1)
    assert sum(outcomes.values()) == 2
