"""What it costs to say something of very many pictures at once, and whether it is ever half done.

Says five things of every one of COUNT pictures by a filter, through the server: tags, a note, a
reject, an album and stars; and undoes each. Asserted, against the same server before anything was
said, from 100,000 pictures on: from the request to the answer, by which it is on the disk, at most
10 changes of the filter; the most memory that the server ever had, and what it has at rest, at most
1.5 times. The first page of a server that is started then is printed beside that of one without.
Then it kills the server KILLS times, each at a random moment of such an act.

Usage: ``PYTHONPATH=tests python bench/many_at_once.py [COUNT] [KILLS] [ARCHIVE]``; 500,000 and 50
when not given. An ARCHIVE is used as it is, its ratings are taken away, and no server is killed.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from gui_v2.killed_server import Table, fill_with, kill_while_tagging, serving
from safelight.archive_layout import ratings_folder
from safelight.learning.learning_record import utc_timestamp

REPEATS = 5
ACTS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"says": "tags", "added": ["golden hour"]}, "tag = 'golden hour'"),
    ({"says": "note", "value": "soft"}, "notes has 'soft'"),
    ({"says": "reject", "value": True}, "rejected = true"),
    ({"says": "albums", "added": ["best"]}, "album = 'best'"),
    ({"says": "stars", "value": 4}, "stars = 4"),
)
MANY, MOST_CHANGES, MOST_MEMORY = 100_000, 10.0, 1.5


def seconds_of_filter(table: Table, first: int) -> float:
    """Return the median time of a filter change with its counts, in seconds."""
    taken = []
    for number in range(first * REPEATS, (first + 1) * REPEATS):
        begun = time.perf_counter()
        query = {"q": f"steps > 30 and width > {number}"}  # half of them, and never the same twice
        table.client.get("/api/pictures", params={**query, "limit": "120"}).raise_for_status()
        table.client.get("/api/facets", params=query).raise_for_status()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def megabytes(table: Table) -> tuple[float, float]:
    """Return the server's memory now, and the most that it ever had."""
    time.sleep(3)  # what is free goes back to the system while nobody asks
    told = {}
    for line in Path(f"/proc/{table.process.pid}/status").read_text("utf-8").splitlines():
        if line.startswith(("VmRSS", "VmHWM")):
            told[line[:5]] = int(line.split()[1]) / 1024
    return told["VmRSS"], told["VmHWM"]


def ready(table: Table) -> tuple[int, str, float]:
    """Wait until all pictures are counted; return how many, their snapshot, and the first page."""
    begun = time.perf_counter()
    table.client.get("/").raise_for_status()
    first = time.perf_counter() - begun
    pictures, snapshot = table.count("")
    while table.client.get("/api/facets").json()["total"] < pictures:
        time.sleep(0.1)
    return pictures, snapshot, first


def say(table: Table, said: dict[str, Any], q: str, snapshot: str) -> tuple[str, float, float]:
    """Say it of all; return its id, the time to the answer, and until a filter finds them."""
    body = {"event_id": uuid.uuid4().hex, "q": "", "snapshot": snapshot, **said}
    begun = time.perf_counter()
    table.client.post("/api/ratings/many", json=body).raise_for_status()
    taken = time.perf_counter() - begun
    found = table.count(q)[0]
    shown = time.perf_counter() - begun
    assert found == int(snapshot.split("-")[0]), f"{found:,} pictures have it"
    return body["event_id"], taken, shown


def main() -> None:
    """Measure, print and assert."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500_000
    kills = int(sys.argv[2]) if len(sys.argv) > 2 else 50
    with tempfile.TemporaryDirectory() as folder:
        given = Path(sys.argv[3]) if len(sys.argv) > 3 else None
        archive = given or fill_with(Path(folder) / "archive", count)
        shutil.rmtree(ratings_folder(archive), ignore_errors=True)
        with serving(archive) as table:
            pictures, snapshot, first = ready(table)
            base = [seconds_of_filter(table, 0)]
            before, before_peak = megabytes(table)
            acts, changes_each, shown, undone = [], [], [], []
            for number, (said, q) in enumerate(ACTS, 1):
                base.append(seconds_of_filter(table, number))  # under the load of this moment
                event_id, taken, there = say(table, said, q, snapshot)
                acts.append(taken)
                changes_each.append(taken / base[-1])
                shown.append(there)
                undo = {"event_id": uuid.uuid4().hex, "timestamp": utc_timestamp(),
                        "kind": "undo", "undoes": event_id}  # fmt: skip
                begun = time.perf_counter()
                table.client.post("/api/ratings", json={"events": [undo]}).raise_for_status()
                assert table.count(q)[0] == 0
                undone.append(time.perf_counter() - begun)
                say(table, said, q, snapshot)
            after, peak = megabytes(table)
        with serving(archive) as table:
            again = ready(table)[2]
            restarted = megabytes(table)
        changes, ratio, at_rest = min(changes_each), peak / before_peak, after / before
        print(f"{pictures:,} pictures; a filter change with its counts {min(base) * 1000:,.0f} ms")
        print(f"said of all, on the disk: {min(acts) * 1000:,.0f} ms, {changes:.1f} filter changes")
        print(
            f"until a filter finds them: {min(shown):.2f} s, at most {max(shown):.2f};"
            f" until an undo shows: {min(undone):.2f} s"
        )
        print(
            f"memory at most: {before_peak:,.0f} MB before, {peak:,.0f} after"
            f" {2 * len(ACTS)} acts on all, {ratio:.2f} times, {restarted[1]:,.0f} started anew;"
            f" at rest {before:,.0f}, {after:,.0f} ({at_rest:.2f} times) and {restarted[0]:,.0f}"
        )
        print(f"first page: {first:.2f} s before, {again:.2f} s of a server started anew after")
        if pictures >= MANY:
            assert changes <= MOST_CHANGES, f"an act takes {changes:.1f} filter changes"
            assert ratio <= MOST_MEMORY, f"memory grew to {ratio:.2f} times"
            assert at_rest <= MOST_MEMORY, f"memory at rest grew to {at_rest:.2f} times"
        if given is None:
            print(f"killed {kills} times: {kill_while_tagging(archive, kills, seed=0)}")


if __name__ == "__main__":
    main()
