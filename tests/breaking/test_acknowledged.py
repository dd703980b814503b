"""What was acknowledged survives a power cut: the short form.

``bench/breaking_archives.py power`` cuts it two hundred times.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from breaking.acknowledged import WORKS, cut_through

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc")


@pytest.mark.parametrize("name", WORKS)
def test_file_and_folder_are_flushed_before_it_is_told(name: str, tmp_path: Path) -> None:
    """Twenty cuts, as the seed decides, and one at the end."""
    outcome = cut_through(name, tmp_path, 20, seed=20261129)
    assert outcome.faults == []
    assert outcome.acknowledged
    assert outcome.cuts >= 2
