"""Break runs at random moments, and count what was lost.

Every trial runs real processes, does one bad thing to them (``kill -9``, a full disk, a server
that answers half a picture, ...), and checks what is left: no acknowledged picture or record
missing, none torn, none doubled, and a record that says how the run ended. Then the run goes on
with ``--resume`` and must end whole.

Usage: ``python bench/breaking_runs.py [TRIALS] [SEED] [WORD]``; one of each
unless told otherwise, of those whose name holds WORD. Ends with status 1 when anything was lost.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from breaking.harness import TRIALS, Finding, ray_cluster, trial


def main(number: int, seed: int, word: str) -> int:
    """Make *number* trials, print a table, and return the exit status."""
    names = [name for name in TRIALS if word in name]
    findings: list[Finding] = []
    with contextlib.ExitStack() as stack:
        host = None
        try:
            import ray  # noqa: F401
        except ImportError:
            names = [name for name in names if not name.startswith("Ray")]
        else:
            if any(name.startswith("Ray") for name in names):
                host = stack.enter_context(ray_cluster())
        order = sorted(range(number), key=lambda n: names[n % len(names)])
        for turn in order:
            finding = trial(names[turn % len(names)], seed + turn, host)
            findings.append(finding)
            if finding.faults:
                print(f"LOST {finding.name}, seed {seed + turn}: {finding.faults}", flush=True)
    print("| broken | times | pictures acknowledged | how the run ended | lost, torn or doubled |")
    print("|---|---:|---:|---|---:|")
    for name in names:
        own = [finding for finding in findings if finding.name == name]
        made = [finding for finding in own if not finding.skipped]
        ended = Counter(finding.status or "no record" for finding in made)
        summary = ", ".join(f"{status} {n}" for status, n in ended.most_common())
        if own and not made:
            summary = f"not made: {own[0].skipped}"
        faults = sum(bool(finding.faults) for finding in own)
        acknowledged = sum(finding.acknowledged for finding in made)
        print(f"| {name} | {len(made)} | {acknowledged:,} | {summary} | {faults} |")
    made = [finding for finding in findings if not finding.skipped]
    lost = sum(bool(finding.faults) for finding in made)
    print(f"\n{len(made)} trials, {lost} with a loss, {sum(f.seconds for f in made):.0f} s")
    return 1 if lost else 0


if __name__ == "__main__":
    given = sys.argv[1:]
    number = int(given[0]) if given else len(TRIALS)
    seed = int(given[1]) if len(given) > 1 else 1
    raise SystemExit(main(number, seed, given[2] if len(given) > 2 else ""))
