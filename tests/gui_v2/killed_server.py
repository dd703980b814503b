"""A server as a process of its own that is killed while it writes down what people do."""

from __future__ import annotations

import contextlib
import hashlib
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from safelight.application.discarding import in_trash, settle_trash
from safelight.archive import Archive
from safelight.archive.packs import write_pack
from safelight.archive_layout import packs_folder, ratings_folder
from safelight.learning import LearningRecord
from safelight.learning.learning_record import ImageOutput, utc_timestamp
from safelight.learning.ratings import current_ratings

__all__ = ["Table", "fill_with", "kill_among_acts", "kill_while_tagging", "serving"]

_PER_RECORD = 1000


def fill_with(archive: Path, count: int) -> Path:
    """Pack *count* pictures, of which there are no files; return the archive."""
    packs_folder(archive).mkdir(parents=True)
    documents = []
    for first in range(0, count, _PER_RECORD):
        steps = first // _PER_RECORD % 60 + 1  # a filter finds a part of them
        outputs = [
            ImageOutput(
                variant=0, stage="txt2img", path=f"images/{number}.png", width=64, height=64,
                sha256=f"b{number:063x}", pixel_sha256=f"f{number:063x}",
            )
            for number in range(first + 1, min(first + _PER_RECORD, count) + 1)
        ]  # fmt: skip
        record = LearningRecord(
            run_id=f"run-{first}", timestamp="2026-01-01T00:00:00Z",
            base_config={"txt2img": {"steps": steps}},
            variant_configs=[{"txt2img": {"steps": steps}}],
            randomizer_mode="off", randomizer_plan_size=1, primary_model="m", primary_sampler="s",
            primary_scheduler="", primary_steps=steps, primary_cfg_scale=1.0,
            outputs=tuple(outputs),
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


# -- every kind of act -------------------------------------------------------------------

_KINDS = ("stars", "tag", "note", "album", "undo", "discard", "restore")


@dataclass(slots=True)
class _Act:
    """Something that somebody asked for, and whether the server said that it was done."""

    kind: str
    name: str
    pictures: tuple[str, ...] = ()
    value: int = 0
    acknowledged: bool = False


@dataclass(slots=True)
class _Account:
    """What was asked for, in order, and the files as they were at first: SHA-256 -> path."""

    files: dict[str, Path]
    acts: list[_Act] = field(default_factory=list)

    def of(self, *kinds: str) -> list[_Act]:
        return [act for act in self.acts if act.kind in kinds]


def kill_among_acts(
    archive: Path, rounds: int, seed: int, *, seconds: float = 1.0
) -> dict[str, int]:
    """Kill the server so often, each time while somebody rates, tags, collects and discards.

    Args:
        archive: With pictures of its own, of which nothing is said and none is discarded.
        rounds: How many kills.
        seed: Of what is done, and of when.
        seconds: At most until a kill, from the first act on.

    Returns:
        Kind of act -> how many were acknowledged; ``cut short`` -> how many were not.

    Raises:
        AssertionError: What was acknowledged is lost, or something is half done.
    """
    chance = random.Random(seed)
    rows = Archive(archive).query(columns=["sha256", "path"], limit=None).rows
    account = _Account({sha256: archive / path for sha256, path in rows})
    for _ in range(rounds):
        with serving(archive) as table:
            acting = threading.Thread(target=_act_on, args=(table, account, chance.random()))
            acting.start()
            time.sleep(chance.uniform(0.02, seconds))
            table.process.kill()
            acting.join()
        settle_trash(Archive(archive))
        _check(archive, account)
    told = {kind: sum(act.acknowledged for act in account.of(kind)) for kind in _KINDS}
    return {**told, "cut short": sum(not act.acknowledged for act in account.acts)}


def _act_on(table: Table, account: _Account, seed: float) -> None:
    """Do one thing after the other until the server is gone."""
    chance = random.Random(seed)
    with contextlib.suppress(httpx.HTTPError):
        while True:
            _one_act(table, account, chance)


def _one_act(table: Table, account: _Account, chance: random.Random) -> None:
    kind, name = chance.choice(_KINDS), f"{chance.getrandbits(128):032x}"
    some = tuple(chance.sample(sorted(account.files), 6))
    if kind in ("tag", "album"):
        act = _Act(kind, name)
        account.acts.append(act)
        _, snapshot = table.count("")
        says = {"tag": "tags", "album": "albums"}[kind]
        told = {"event_id": name, "q": "", "snapshot": snapshot, "says": says, "added": [name]}
        act.acknowledged = table.client.post("/api/ratings/many", json=told).status_code == 200
        if not act.acknowledged:  # others are chosen meanwhile: nothing was to be done
            account.acts.remove(act)
    elif kind in ("stars", "note", "undo"):
        earlier = [act for act in account.of("tag", "album", "stars") if act.acknowledged]
        undone = {act.pictures[0] for act in account.of("undo")}
        free = [act for act in earlier if act.name not in undone]
        if kind == "undo" and not free:
            return
        act = _Act(kind, name, (chance.choice(free).name,) if kind == "undo" else some[:1])
        act.value = chance.randint(1, 5)
        said: dict[str, Any] = {"event_id": name, "timestamp": utc_timestamp(), "kind": kind}
        if kind == "undo":
            said["undoes"] = act.pictures[0]
        else:
            said["image"] = {"sha256": act.pictures[0]}
            said["value"] = act.value if kind == "stars" else name
        account.acts.append(act)
        answer = table.client.post("/api/ratings", json={"events": [said]}).json()
        act.acknowledged = name in answer["accepted"]
    elif kind == "discard":
        plan = table.client.post("/api/trash/plan", json={"sha256s": list(some)}).json()
        act = _Act(kind, name, some)
        account.acts.append(act)
        told = {"sha256s": list(some), "snapshot": plan["snapshot"]}
        act.acknowledged = table.client.post("/api/trash", json=told).status_code == 200
    else:
        act = _Act(kind, name)
        account.acts.append(act)
        answer = table.client.post("/api/trash/restore", json={"which": "", "files": -1})
        act.acknowledged = answer.status_code == 200


def _check(archive: Path, account: _Account) -> None:
    """See that nothing acknowledged is lost, and nothing is half done."""
    opened = Archive(archive)
    events = {event.event_id: event for event in opened.ratings().events()}
    undone = {event.undoes for event in events.values() if event.kind == "undo"}
    ratings = current_ratings(events.values())
    for act in account.of("stars", "note", "tag", "album", "undo"):
        assert act.name in events or not act.acknowledged, f"{act} is lost"
    for kind, attribute in (("tag", "tags"), ("album", "albums")):
        for act in account.of(kind):
            having = {i for i, rating in ratings.items() if act.name in getattr(rating, attribute)}
            there = act.name in events and act.name not in undone
            many = events[act.name].many if there else None
            about = [] if many is None else list(many.identities())  # twins have one rating
            lacking = [i for i in about if act.name not in getattr(ratings[i], attribute)]
            assert not lacking, f"{len(lacking)} lack {act}"
            assert bool(having) is bool(about), f"{len(having)} have {act}"
    discarded = {file.sha256: file.now for file in in_trash(opened)}
    for sha256, place in account.files.items():
        now = discarded.get(sha256, place)
        other = place if now != place else None
        assert now.is_file(), f"{place} is lost"
        assert other is None or not other.exists(), f"{place} is in the trash, and is not"
        assert hashlib.sha256(now.read_bytes()).hexdigest() == sha256
    told = opened.query("discarded = true", columns=["sha256"], limit=None).rows
    assert {row[0] for row in told} == discarded.keys()
    _check_trash(account, discarded)


def _check_trash(account: _Account, discarded: dict[str, Path]) -> None:
    """See that what was acknowledged last of each file is so: in the trash, or back."""
    expected: dict[str, bool | None] = {}
    for act in account.of("discard", "restore"):
        of = act.pictures or tuple(account.files)
        for sha256 in of:
            if act.acknowledged:
                expected[sha256] = act.kind == "discard"
            elif expected.get(sha256, False) is not (act.kind == "discard"):
                expected[sha256] = None  # it may have been done before the kill, or not
    for sha256, is_there in expected.items():
        assert is_there is None or (sha256 in discarded) is is_there, f"{sha256}: {is_there}"
