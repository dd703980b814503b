"""Break whatever writes to an archive, and count what was lost, torn or doubled.

``kill``: processes are killed (``kill -9``) at random moments: a writer of records, a packer, an
import, a light table while four people rate, a merge, a sync, a run that was resumed before.
``calls``: every call of the operating system that a command makes below the archive fails once
with each of three errors. ``power``: the power is cut at calls of ``fsync``, on a disk that keeps
only what was flushed. ``flips``: single bits of packs, records and pictures flip, and every bit of
three lines of each kind of file that grows.

Usage: ``python bench/breaking_archives.py kill|calls|power|flips [TRIALS] [SEED] [WORD]``; of those
whose name holds WORD, TRIALS of each (``calls``: all of them when it is 0). Ends with status 1
when anything was lost or not found.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from breaking.acknowledged import WORKS, cut_through
from breaking.failing_calls import COMMANDS, TROUBLES, Bench
from breaking.flips import flip_lines, flip_unchanging
from breaking.killed import KILLED, kept_for_all_trials, killed_once


def kill(trials: int, seed: int, word: str) -> int:
    """Kill each *trials* times, and print a table."""
    print("| killed | times | before it ended | acknowledged | lost, torn or doubled |")
    print("|---|---:|---:|---:|---:|")
    lost = 0
    with kept_for_all_trials():
        for name in _matching(KILLED, word):
            ended = acknowledged = bad = 0
            for number in range(trials):
                with tempfile.TemporaryDirectory(prefix="breaking-") as folder:
                    trial = killed_once(name, Path(folder), seed + number)
                ended += trial.before
                acknowledged += trial.acknowledged
                bad += bool(_report(name, seed + number, trial.faults))
            lost += bad
            print(
                f"| {name} | {trials} | {trials - ended} | {acknowledged:,} | {bad} |", flush=True
            )
    return lost


def calls(trials: int, seed: int, word: str) -> int:
    """Let calls fail, and print a table."""
    print(f"| command | calls below the archive | trials ({', '.join(TROUBLES)}) | faults |")
    print("|---|---:|---:|---:|")
    lost = 0
    for name in _matching(COMMANDS, word):
        with tempfile.TemporaryDirectory(prefix="breaking-") as folder:
            bench = Bench(name, Path(folder))
            injections = bench.injections(trials or 10**9, seed)
            kinds: Counter[str] = Counter()
            for injection in injections:
                faults = bench.trial(injection)
                lost += bool(faults)
                for fault in faults:
                    kinds[fault.partition(": ")[2][:60]] += 1
                    print(f"FAULT {name}: {fault}", file=sys.stderr, flush=True)
        total = sum(bench.counts.values())
        print(f"| {name} | {total} | {len(injections)} | {sum(kinds.values())} |", flush=True)
    return lost


def power(trials: int, seed: int, word: str) -> int:
    """Cut the power while each work is done again and again, and print a table."""
    print("| work | times done | cuts | acknowledged | lost, torn or doubled |")
    print("|---|---:|---:|---:|---:|")
    lost = 0
    for name in _matching(WORKS, word):
        times = cuts = acknowledged = bad = 0
        while cuts < trials:
            with tempfile.TemporaryDirectory(prefix="breaking-") as folder:
                outcome = cut_through(name, Path(folder), trials, seed + times)
            bad += _report(name, seed + times, outcome.faults)
            times, cuts, acknowledged = (
                times + 1,
                cuts + outcome.cuts,
                acknowledged + outcome.acknowledged,
            )
        lost += bad
        print(f"| {name} | {times} | {cuts:,} | {acknowledged:,} | {bad} |", flush=True)
    return lost


def flips(trials: int, seed: int, word: str) -> int:
    """Flip bits, and print a table."""
    print("| one bit of | flipped, each alone | not found |")
    print("|---|---:|---:|")
    unseen = 0
    with tempfile.TemporaryDirectory(prefix="breaking-") as folder:
        for flips_made in chain(
            flip_unchanging(Path(folder), trials, seed), flip_lines(Path(folder), lines=3)
        ):
            if word in flips_made.what:
                print(
                    f"| {flips_made.what} | {flips_made.made:,} | {len(flips_made.unseen)} |",
                    flush=True,
                )
                for place in flips_made.unseen:
                    print(f"NOT FOUND {place}", file=sys.stderr)
                unseen += len(flips_made.unseen)
    return unseen


def _matching(names: Iterable[str], word: str) -> list[str]:
    return [name for name in names if word in name]


def _report(name: str, seed: int, faults: Sequence[str]) -> int:
    """Print *faults*, and return how many there are."""
    for fault in faults:
        print(f"LOST {name}, seed {seed}: {fault}", file=sys.stderr)
    return len(faults)


def main(given: list[str]) -> int:
    """Do what is asked for, and return the exit status."""
    what = given[0] if given else "kill"
    trials = int(given[1]) if len(given) > 1 else 20
    seed = int(given[2]) if len(given) > 2 else 1
    word = given[3] if len(given) > 3 else ""
    logging.disable(logging.CRITICAL)  # what is damaged or torn is told thousands of times
    ways = {"kill": kill, "calls": calls, "power": power, "flips": flips}
    return int(bool(ways[what](trials, seed, word)))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
