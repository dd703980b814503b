"""A server as a process of its own that is killed while it writes down what is said of many."""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from safelight.archive.packs import write_pack
from safelight.archive_layout import packs_folder, ratings_folder
from safelight.learning import LearningRecord
from safelight.learning.learning_record import ImageOutput

__all__ = ["Table", "fill_with", "kill_while_tagging", "serving"]

_PER_RECORD = 1000


def fill_with(archive: Path, count: int) -> Path:
    """Pack *count* pictures, of which there are no files; return the archive."""
    packs_folder(archive).mkdir(parents=True)
    documents = []
    for first in range(0, count, _PER_RECORD):
        outputs = [
            ImageOutput(
                variant=0, stage="txt2img", path=f"images/{number}.png", width=64, height=64,
                sha256=f"b{number:063x}", pixel_sha256=f"f{number:063x}",
            )
            for number in range(first + 1, min(first + _PER_RECORD, count) + 1)
        ]  # fmt: skip
        record = LearningRecord(
            run_id=f"run-{first}", timestamp="2026-01-01T00:00:00Z",
            base_config={"txt2img": {"steps": 4}}, variant_configs=[{"txt2img": {"steps": 4}}],
            randomizer_mode="off", randomizer_plan_size=1, primary_model="m", primary_sampler="s",
            primary_scheduler="", primary_steps=4, primary_cfg_scale=1.0, outputs=tuple(outputs),
        )  # fmt: skip
        documents.append(record.to_document())
    write_pack(packs_folder(archive), documents)
    return archive


class Table:
    """A running server.

    Attributes:
        process: It.
        client: Asks it.
    """

    def __init__(self, process: subprocess.Popen[bytes], client: httpx.Client) -> None:
        self.process = process
        self.client = client

    def count(self, q: str) -> tuple[int, str]:
        """Return how many pictures *q* finds, and their snapshot."""
        told = self.client.get("/api/chosen", params={"q": q}).raise_for_status().json()
        return told["count"], told["snapshot"]

    def tag(self, event_id: str, snapshot: str, tag: str) -> httpx.Response:
        """Tag every picture."""
        body = {"event_id": event_id, "q": "", "snapshot": snapshot, "says": "tags", "added": [tag]}
        return self.client.post("/api/ratings/many", json=body)


@contextmanager
def serving(archive: Path) -> Iterator[Table]:
    """Serve *archive* in a process, which is killed in the end."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port = asked.getsockname()[1]
    command = [sys.executable, "-m", "safelight", "serve", "--no-token", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--archive", str(archive)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) as client:
            while process.poll() is None:
                try:
                    client.get("/api/session")
                    break
                except httpx.TransportError:
                    time.sleep(0.02)
            yield Table(process, client)
    finally:
        process.kill()
        process.wait()


def kill_while_tagging(archive: Path, rounds: int, seed: int) -> dict[str, int]:
    """Kill the server so often, each time at a random moment of tagging all pictures.

    Returns:
        How often it had acknowledged the tags, had not and they were there, or were not.

    Raises:
        AssertionError: A part of the pictures was tagged, what was acknowledged is lost, or what
            was not cannot be said again.
    """
    chance = random.Random(seed)
    outcomes = {"acknowledged": 0, "whole": 0, "nothing": 0}
    with serving(archive) as table:
        pictures, snapshot = table.count("")
        begun = time.monotonic()
        table.tag(uuid.uuid4().hex, snapshot, "measured").raise_for_status()
        takes = time.monotonic() - begun
    for number in range(rounds):
        shutil.rmtree(ratings_folder(archive))
        event_id, tag = uuid.uuid4().hex, f"round{number}"
        acknowledged = threading.Event()
        with serving(archive) as table:
            assert table.count("")[1] == snapshot

            told = (table, event_id, snapshot, tag, acknowledged)
            saying = threading.Thread(target=_say, args=told)
            saying.start()
            time.sleep(chance.uniform(0.3, 1.3) * takes)
            table.process.kill()
            saying.join()
        with serving(archive) as table:
            tagged = table.count(f"tags has '{tag}'")[0]
            assert tagged in (0, pictures), f"{tagged:,} of {pictures:,} are tagged"
            assert tagged == pictures or not acknowledged.is_set()
            table.tag(event_id, snapshot, tag).raise_for_status()
            assert table.count(f"tags has '{tag}'")[0] == pictures
        outcome = "acknowledged" if acknowledged.is_set() else "whole" if tagged else "nothing"
        outcomes[outcome] += 1
    return outcomes


def _say(
    table: Table, event_id: str, snapshot: str, tag: str, acknowledged: threading.Event
) -> None:
    with contextlib.suppress(httpx.HTTPError):
        if table.tag(event_id, snapshot, tag).status_code == 200:
            acknowledged.set()
