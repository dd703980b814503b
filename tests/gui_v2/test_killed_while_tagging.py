"""A server that is killed while people do things has done each whole or not at all."""

from __future__ import annotations

from pathlib import Path

from gui_v2.killed_server import fill_with, kill_among_acts, kill_while_tagging
from safelight.learning.ratings.rating_event import PER_LINE


def test_never_half_of_them(tmp_path: Path) -> None:
    """Answered or not; who was not says it again. The bench ``many_at_once`` kills fifty."""
    outcomes = kill_while_tagging(fill_with(tmp_path / "archive", 2 * PER_LINE + 20), 2, seed=1)
    assert sum(outcomes.values()) == 2


def test_whatever_was_acknowledged_is_kept(archive: Path) -> None:
    """Stars, tags, notes, albums, undos, discards. The bench ``killed_server`` kills fifty."""
    told = kill_among_acts(archive, 2, seed=3, seconds=0.6)
    assert sum(told.values()) > 0
