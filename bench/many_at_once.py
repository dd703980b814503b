"""What it costs to say something of very many pictures at once, and whether it is ever half done.

Tags every one of COUNT pictures by a filter, through the server, and undoes it: from the request to
the answer, by which it is on the disk, against the time that a change of the filter takes (of the
same server, to 120 new rows). Bar: 10 times that. Then it kills the server KILLS times, each at a
random moment of such an act.

Usage: ``PYTHONPATH=tests python bench/many_at_once.py [COUNT] [KILLS]``; 500,000 and 50 when not
given.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path

from gui_v2.killed_server import Table, fill_with, kill_while_tagging, serving
from safelight.learning.learning_record import utc_timestamp

REPEATS = 5


def seconds_of_filters(table: Table) -> float:
    """Return the median time of a filter change, in seconds."""
    taken = []
    for number in range(3 * REPEATS):
        begun = time.perf_counter()
        query = {"q": f"steps > 1 and width > {number}", "limit": "120"}
        table.client.get("/api/pictures", params=query).raise_for_status()
        table.client.get("/api/facets", params={"q": query["q"]}).raise_for_status()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500_000
    kills = int(sys.argv[2]) if len(sys.argv) > 2 else 50
    with tempfile.TemporaryDirectory() as folder:
        archive = fill_with(Path(folder) / "archive", count)
        with serving(archive) as table:
            pictures, snapshot = table.count("")
            while table.client.get("/api/facets").json()["total"] < pictures:
                time.sleep(0.1)
            base = seconds_of_filters(table)
            taken, shown = [], []
            for number in range(REPEATS):
                event_id = uuid.uuid4().hex
                begun = time.perf_counter()
                table.tag(event_id, snapshot, f"tag{number}").raise_for_status()
                taken.append(time.perf_counter() - begun)
                assert table.count(f"tags has 'tag{number}'")[0] == pictures
                shown.append(time.perf_counter() - begun)
                undo = {"event_id": uuid.uuid4().hex, "timestamp": utc_timestamp(),
                        "kind": "undo", "undoes": event_id}  # fmt: skip
                table.client.post("/api/ratings", json={"events": [undo]}).raise_for_status()
                assert table.count(f"tags has 'tag{number}'")[0] == 0
            told = table.client.get("/api/memory").json()
        act, there = statistics.median(taken), statistics.median(shown)
        print(f"{pictures:,} pictures; a filter change with its counts {base * 1000:,.0f} ms")
        print(
            f"tagged, on the disk: {act * 1000:,.0f} ms, {act / base:.1f} filter changes (bar 10)"
        )
        print(f"until a filter finds the tags: {there * 1000:,.0f} ms; memory {told}")
        print(f"killed {kills} times: {kill_while_tagging(archive, kills, seed=0)}")


if __name__ == "__main__":
    main()
