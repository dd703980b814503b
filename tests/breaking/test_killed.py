"""Whatever is killed, nothing acknowledged is lost, torn or doubled: the short form.

``bench/breaking_archives.py`` does the same two hundred times.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from breaking.killed import KILLED, kept_for_all_trials, killed_once

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kill -9, fork")
TRIALS = 6


@pytest.fixture(scope="module", autouse=True)
def _kept() -> Iterator[None]:
    with kept_for_all_trials():
        yield


@pytest.mark.parametrize("name", KILLED)
def test_what_was_acknowledged_survives_a_kill(name: str, tmp_path: Path) -> None:
    """At moments that the seed decides."""
    faults, acknowledged = [], 0
    for number in range(TRIALS):
        folder = tmp_path / str(number)
        folder.mkdir()
        trial = killed_once(name, folder, seed=20261128 + number)
        acknowledged += trial.acknowledged
        faults += [f"trial {number}: {fault}" for fault in trial.faults]
    assert faults == []
    assert acknowledged > 0
