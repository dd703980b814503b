"""Whatever breaks, no acknowledged picture is lost, torn or doubled: the short form.

``bench/breaking_runs.py`` does the same two hundred times.
"""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("resource", reason="prlimit")

from breaking.harness import TRIALS, trial

_SHORT = [
    "driver killed",
    "both servers killed, then back",
    "a server stops dead",
    "a server answers: half an image",
    "a server answers: closes mid-body",
    "disk full",
    "disk turns read-only",
    "clock goes back",
    "10,000 open files",
    "no more files may be opened",
]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kill -9, prlimit, mount")


def test_the_short_form_names_trials() -> None:
    """A trial that was renamed would not be made any more."""
    assert set(_SHORT) <= set(TRIALS)


@pytest.mark.parametrize("name", _SHORT)
def test_what_was_acknowledged_survives(name: str) -> None:
    """And the run goes on afterwards, to its end."""
    finding = trial(name, seed=20260131)
    if finding.skipped:
        pytest.skip(finding.skipped)
    assert finding.faults == []
