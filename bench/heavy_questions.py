"""What questions that take long cost everybody else at the light table.

Makes an archive of PICTURES pictures, some of them loose and some rated, serves it with ``safelight
serve``, and lets a crowd at it: readers who ask for pages of pictures, filters, facets,
thumbnails and files without a pause, and raters who wait for each answer, while a run goes on and
records come and are packed. In every other stretch of time Learn and the next pictures to rate
are asked for, too, once a second each. What counts is the ratio of what readers got with and
without these, from stretches side by side. At the end the server is killed: what raters were told
is kept must be there.

Usage: ``python bench/heavy_questions.py [--pictures 20000] [--seconds 60] [--stretch 3]
[--readers 50] [--raters 5]``
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image

from safelight.archive import Archive
from safelight.learning.learning_record import LearningRecord, LearningRecordWriter
from safelight.learning.ratings import Identity, RatingEvent
from safelight.timestamps import utc_timestamp

FILES = 100
PATIENCE = 40
"""Seconds after which a request counts as unanswered."""

FILTERS = ("", "steps > 20", "prompt has 'frog'", "stars >= 3", "model = 'm' and sampler = 'Heun'")
HEAVY = ("/learn", "/api/next-to-rate?mode=pair")
RUN = """
name = "meanwhile"
backend = {name = "fake", seconds_per_step = 0.02}
[txt2img]
prompt = "x"
steps = 5
width = 64
height = 64
seed = 1
[randomizer]
mode = "fanout"
seeds_per_variant = 2000
"""


def record(number: int, chance: random.Random) -> LearningRecord:
    """Return the record of one picture."""
    config = {
        "txt2img": {
            "prompt": f"{chance.choice(['red frog', 'blue rocket', 'ball'])} {number % 500}",
            "steps": chance.randrange(4, 40), "cfg_scale": 1 + 9 * chance.random(),
            "sampler": chance.choice(["Euler", "Heun", "DDIM"]), "model": chance.choice("mnop"),
        }
    }  # fmt: skip
    output: dict[str, Any] = {
        "variant": 0, "stage": "txt2img", "path": f"images/f/{number % FILES}.png",
        "sha256": f"{number:064x}", "pixel_sha256": f"{number + 10**9:064x}", "width": 256,
        "height": 256, "seed": number, "seconds": 0.1,
    }  # fmt: skip
    moment = (
        f"2026-{number % 9 + 1:02d}-{number % 28 + 1:02d}T{number % 24:02d}:00:00.{number:06d}Z"
    )
    return LearningRecord.from_pipeline_context(
        config, [config], run_id=f"{number:016x}", timestamp=moment, backend={"name": "fake"},
        outputs=[output],
    )  # fmt: skip


def fill(archive: Path, pictures: int) -> None:
    """Pack most records, leave some loose, and rate one in fourteen."""
    chance = random.Random(3)
    (archive / "images" / "f").mkdir(parents=True)
    for number in range(FILES):
        noise = np.random.default_rng(number).integers(0, 255, (32, 32, 3), np.uint8)
        Image.fromarray(noise).resize((256, 256)).save(archive / f"images/f/{number}.png")
    packed = pictures * 37 // 40
    Archive(archive).add_pack([record(n, chance).to_document() for n in range(packed)])
    with LearningRecordWriter(archive / "records") as writer:
        for number in range(packed, pictures):
            writer.write(record(number, chance))
    rated = [f"{chance.randrange(pictures):064x}" for _ in range(pictures // 14)]
    with Archive(archive).ratings() as store:
        store.add(*(
            RatingEvent.now("stars", Identity(sha256=digest), value=chance.randint(1, 5),
                            rater=f"rater {n % 5}")
            for n, digest in enumerate(rated)
        ))  # fmt: skip


@dataclass
class Crowd:
    """What the crowd got.

    Attributes:
        light: Answers to readers in the present stretch.
        heavy: Seconds that each heavy question waited for an answer, whatever that was.
        statuses: How they were answered.
        acknowledged: Ids of the ratings that the server said it has.
        faults: What was no answer.
    """

    light: int = 0
    heavy: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    acknowledged: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)
    asks_heavy: threading.Event = field(default_factory=threading.Event)


class Asker:
    """One connection that is opened again when it was lost."""

    def __init__(self, port: int, crowd: Crowd) -> None:
        self._port, self._crowd = port, crowd
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, path: str, body: Any = None) -> tuple[int, bytes] | None:
        """Return status and body; None when there was no answer, which is noted."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            if body is None:
                self._connection.request("GET", path)
            else:
                headers = {"Content-Type": "application/json"}
                self._connection.request("POST", path, json.dumps(body), headers)
            answer = self._connection.getresponse()
            told = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection = None
            if not self._crowd.over.is_set():
                with self._crowd.lock:
                    self._crowd.faults[f"{path.partition('?')[0][:12]} {type(error).__name__}"] += 1
            return None
        if told[0] >= 400:
            with self._crowd.lock:
                self._crowd.faults[f"{path.partition('?')[0][:12]} {told[0]}"] += 1
        return told


def read(port: int, crowd: Crowd, pictures: int, seed: int) -> None:
    """Leaf through the archive until it is over."""
    chance = random.Random(seed)
    asker = Asker(port, crowd)
    while not crowd.over.is_set():
        digest = f"{chance.randrange(pictures):064x}"
        path = chance.choice([
            f"/api/pictures?q={quote(chance.choice(FILTERS))}", "/api/facets?q=", "/runs",
            f"/thumbnails/{digest}?side=192", f"/look/{digest}", f"/pictures/{digest}",
            f"/api/pictures/{digest}",
        ])  # fmt: skip
        told = asker.ask(path)
        if told is not None and told[0] < 400:
            with crowd.lock:
                crowd.light += 1


def rate(port: int, crowd: Crowd, pictures: int, rater: int) -> None:
    """Rate until it is over."""
    chance = random.Random(rater)
    asker = Asker(port, crowd)
    while not crowd.over.is_set():
        event = {
            "event_id": uuid.uuid4().hex, "timestamp": utc_timestamp(), "kind": "stars",
            "image": {"sha256": f"{chance.randrange(pictures):064x}"},
            "value": chance.randint(1, 5), "rater": f"rater {rater}",
        }  # fmt: skip
        told = asker.ask("/api/ratings", {"events": [event]})
        if told is not None and told[0] == 200:
            with crowd.lock:
                crowd.acknowledged += json.loads(told[1])["accepted"]
        crowd.over.wait(0.05)


def ask_heavy(port: int, crowd: Crowd, path: str) -> None:
    """Ask once a second, in the stretches in which that is done."""
    while not crowd.over.wait(1):
        if crowd.asks_heavy.is_set():
            begun = time.perf_counter()
            told = Asker(port, crowd).ask(path)
            with crowd.lock:
                crowd.heavy.append(time.perf_counter() - begun)
                crowd.statuses[told[0] if told else 0] += 1


def keep_packing(archive: Path, crowd: Crowd, pictures: int) -> None:
    """Let records come, and pack them, as programs of their own would."""
    chance = random.Random(4)
    number = 2 * pictures
    command = [sys.executable, "-m", "safelight", "archive", "pack", "--archive", str(archive)]
    while not crowd.over.is_set():
        subprocess.run(command, capture_output=True, check=True)
        with LearningRecordWriter(archive / "records") as writer:
            for _ in range(20):
                writer.write(record(number, chance))
                number += 1
        crowd.over.wait(5)


def start(archive: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start the server as a user would; return it and its port when it answers."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
    command = [sys.executable, "-m", "safelight", "serve", "--no-token", "--port", str(port)]
    server = subprocess.Popen([*command, "--archive", str(archive)], stderr=subprocess.DEVNULL)
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        try:
            connection.request("GET", "/")
            if connection.getresponse().read():
                return server, port
        except OSError:
            time.sleep(0.05)


def answering(archive: Path) -> list[int]:
    """Return the processes that work things out about *archive*."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"safelight.web.answering" in words and str(archive).encode() in words:
            found.append(int(folder.name))
    return found


def still_there(processes: list[int]) -> list[int]:
    """Return those that have not ended by themselves in a while; they are in no hurry."""
    end = time.monotonic() + PATIENCE
    left = processes
    while left and time.monotonic() < end:
        time.sleep(0.1)
        left = [number for number in left if Path(f"/proc/{number}/exe").exists()]
    return left


def stretches(archive: Path, crowd: Crowd, seconds: float, stretch: float) -> list[float]:
    """Return what readers got with heavy questions, over what they got without, pair by pair.

    In stretches without, what is being worked out is held, so that nothing of it costs there.
    """
    ratios = []
    for _ in range(max(1, round(seconds / stretch / 2))):
        got = []
        for heavy in random.sample([True, False], 2):
            (crowd.asks_heavy.set if heavy else crowd.asks_heavy.clear)()
            for number in answering(archive):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGCONT if heavy else signal.SIGSTOP)
            before, begun = crowd.light, time.perf_counter()
            time.sleep(stretch)
            got.append((heavy, (crowd.light - before) / (time.perf_counter() - begun)))
        rates = dict(got)
        ratios.append(rates[True] / max(rates[False], 1e-9))
    return ratios


def main() -> None:
    """Print the numbers; anything that is lost or unanswered is an error."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--stretch", type=float, default=3.0)
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--raters", type=int, default=5)
    given = parser.parse_args()
    random.seed(1)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "archive"
        fill(archive, given.pictures)
        server, port = start(archive)
        crowd = Crowd()
        Asker(port, crowd).ask("/api/runs", {"toml": RUN})
        threads = [
            threading.Thread(target=read, args=(port, crowd, given.pictures, n))
            for n in range(given.readers)
        ]
        threads += [
            threading.Thread(target=rate, args=(port, crowd, given.pictures, n))
            for n in range(given.raters)
        ]
        threads += [threading.Thread(target=ask_heavy, args=(port, crowd, path)) for path in HEAVY]
        threads.append(threading.Thread(target=keep_packing, args=(archive, crowd, given.pictures)))
        for thread in threads:
            thread.start()
        time.sleep(min(2.0, given.stretch))
        ratios = stretches(archive, crowd, given.seconds, given.stretch)
        memory = json.loads((Asker(port, crowd).ask("/api/memory") or (0, b"{}"))[1])
        others = answering(archive)
        for number in others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGCONT)
        crowd.over.set()
        server.kill()
        server.wait()
        for thread in threads:
            thread.join()
        kept = {event.event_id for event in Archive(archive).ratings().events()}
        lost = set(crowd.acknowledged) - kept
        left = still_there(others)
        server, port = start(archive)
        again = {event.event_id for event in Archive(archive).ratings().events()}
        server.kill()
        server.wait()
    waited = sorted(crowd.heavy) or [float("nan")]
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    print(
        f"{given.pictures:,} pictures, {given.readers} readers and {given.raters} raters, a run and"
        f" packs; {load:.1f} processes wait for each processor of this machine"
    )
    print(
        f"  light answers with heavy questions to those without: {statistics.median(ratios):.2f}"
        f" (median of {len(ratios)}; {min(ratios):.2f} to {max(ratios):.2f}), of {crowd.light:,}"
    )
    print(
        f"  {len(crowd.heavy)} heavy questions, answered after {waited[len(waited) // 2] * 1e3:.0f}"
        f" ms in the middle, {waited[-1] * 1e3:.0f} at most: {dict(crowd.statuses)}"
    )
    print(f"  not answered within {PATIENCE} s, or with an error: {dict(crowd.faults) or 'none'}")
    print(
        f"  {len(crowd.acknowledged)} ratings acknowledged, {len(lost)} lost by kill -9,"
        f" {len(set(crowd.acknowledged) - again)} after a restart; processes left: {len(left)}"
    )
    print(f"  memory of the server {memory.get('server_mb')} MB, of the other process"
          f" {memory.get('answering_mb')} MB")  # fmt: skip
    if lost or left or crowd.faults:
        sys.exit("something was lost, left or not answered")


if __name__ == "__main__":
    main()
