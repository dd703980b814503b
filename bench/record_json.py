"""What a learning record's JSON costs: to_json and from_json against the standard library.

The record is a realistic one of about 4 KB. The peer is ``json.dumps(sort_keys=True)`` and
``json.loads`` on plain dicts: the same text, and neither a type nor a check behind it. Both
are timed in turn within one run, in batches; the best batch counts, since what is slower
than that is the machine's other work.

Bar: 30 microseconds for to_json and from_json together.

Usage: ``python bench/record_json.py``
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from record_writer import realistic_record
from safelight.learning import LearningRecord

BAR = 30.0
BATCH, ROUNDS = 200, 60


def microseconds(call: Callable[[], object]) -> float:
    """Return how long one *call* took on average in one batch."""
    began = time.perf_counter()
    for _ in range(BATCH):
        call()
    return (time.perf_counter() - began) / BATCH * 1e6


def main() -> None:
    """Print both directions, their sum, and the ratio to the peer."""
    record = realistic_record(0)
    text = record.to_json()
    data = json.loads(text)
    assert LearningRecord.from_json(text) == record
    calls: dict[str, Callable[[], object]] = {
        "to_json": record.to_json,
        "from_json": lambda: LearningRecord.from_json(text),
        "json.dumps": lambda: json.dumps(data, sort_keys=True, ensure_ascii=False),
        "json.loads": lambda: json.loads(text),
        "make a record": lambda: realistic_record(0),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            times[name].append(microseconds(call))
    best = {name: min(values) for name, values in times.items()}
    ours = best["to_json"] + best["from_json"]
    peer = best["json.dumps"] + best["json.loads"]
    print(f"a record of {len(text.encode())} bytes, best of {ROUNDS} batches of {BATCH}")
    for name, value in best.items():
        print(f"  {name:14} {value:8.1f} us")
    print(f"to_json + from_json: {ours:.1f} us (bar: {BAR:.0f} us)")
    print(f"json.dumps + json.loads on dicts: {peer:.1f} us; ours is {ours / peer:.2f} of it")


if __name__ == "__main__":
    main()
