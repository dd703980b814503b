"""Whatever call of the operating system fails, nothing is torn or lost: the short form.

``bench/breaking_archives.py`` lets every one of them fail.
"""

from __future__ import annotations

import sys

import pytest

from breaking.failing_calls import COMMANDS, TROUBLES, Bench, Injection

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="fork, /proc")
TRIALS = 8


@pytest.mark.parametrize("name", COMMANDS)
def test_a_call_that_fails_tears_nothing(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Some of them, as the seed decides."""
    bench = Bench(name, tmp_path_factory.mktemp("calls"))
    assert sum(bench.counts.values()) > 5
    faults = [
        fault
        for injection in bench.injections(TRIALS, seed=20261128)
        for fault in bench.trial(injection)
    ]
    assert faults == []


@pytest.mark.parametrize("name", ["run", "rate", "import"])
def test_a_folder_that_cannot_be_listed_is_told_in_a_sentence(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each of the few times that one is."""
    bench = Bench(name, tmp_path_factory.mktemp("listings"))
    injections = [
        Injection(call, number, trouble)
        for call in ("listdir", "scandir")
        for number in range(1, bench.counts[call] + 1)
        for trouble in list(TROUBLES)[1:2]
    ]
    assert injections
    assert [fault for injection in injections for fault in bench.trial(injection)] == []
