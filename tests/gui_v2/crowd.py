"""A crowd at the light table: readers who leaf through it, and raters who wait for answers."""

from __future__ import annotations

import random
import threading
import time
import uuid
from dataclasses import dataclass, field

import httpx

from safelight.learning.learning_record import utc_timestamp


@dataclass
class Crowd:
    """What happened to the crowd.

    Attributes:
        pages: Answers that readers got.
        acknowledged: Ids of the ratings that the server said it has.
        waited: Seconds that each rating waited.
        faults: Everything that was no success.
    """

    pages: int = 0
    acknowledged: list[str] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """Return the wait that *share* of the ratings did not exceed."""
        return sorted(self.waited)[min(len(self.waited) - 1, int(share * len(self.waited)))]


def visit(address: str, *, readers: int, raters: int, seconds: float, think: float = 0.2) -> Crowd:
    """Let a crowd at the table for *seconds*, each pausing about *think* seconds in between."""
    crowd = Crowd()
    lock = threading.Lock()
    begin = threading.Barrier(readers + raters)
    with httpx.Client(base_url=address, timeout=60, verify=False) as client:
        rows = client.get("/api/pictures", params={"limit": 500}).json()["rows"]

    def read(number: int) -> None:
        chance = random.Random(number)
        with httpx.Client(base_url=address, timeout=60, verify=False) as client:
            begin.wait()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                row = chance.choice(rows)
                path = chance.choice(
                    ["/", "/api/pictures?limit=120", f"/thumbnails/{row['sha256']}?side=192",
                     f"/thumbnails/{row['sha256']}?side=192", "/api/pictures?q=steps%20%3E%202",
                     f"/api/pictures/{row['sha256']}"]
                )  # fmt: skip
                answer = client.get(path)
                with lock:
                    crowd.pages += 1
                    if answer.status_code >= 500:
                        crowd.faults.append(f"{answer.status_code} {path}")
                time.sleep(chance.uniform(0, 2 * think))

    def rate(number: int) -> None:
        chance = random.Random(number)
        with httpx.Client(base_url=address, timeout=60, verify=False) as client:
            begin.wait()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                event = {
                    "event_id": uuid.uuid4().hex, "timestamp": utc_timestamp(), "kind": "stars",
                    "image": {"sha256": chance.choice(rows)["sha256"]},
                    "value": chance.randint(1, 5), "rater": f"rater {number}",
                }  # fmt: skip
                begun = time.monotonic()
                answer = client.post("/api/ratings", json={"events": [event]})
                waited = time.monotonic() - begun
                with lock:
                    crowd.waited.append(waited)
                    if answer.status_code == 200:
                        crowd.acknowledged += answer.json()["accepted"]
                    else:
                        crowd.faults.append(f"{answer.status_code} rating")
                time.sleep(chance.uniform(0, 2 * think))

    threads = [threading.Thread(target=read, args=(n,)) for n in range(readers)]
    threads += [threading.Thread(target=rate, args=(n,)) for n in range(raters)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return crowd
