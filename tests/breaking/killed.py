"""Kills whatever writes to an archive at a random moment, and checks what is left.

Each trial begins a process, kills it (``kill -9``, with all that it started) at a moment that
chance decides, and then demands: what was acknowledged is there, whole and once; nothing else is
torn; and doing the same again, or going on, ends where it would have ended without the trouble.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import itertools
import json
import logging
import os
import random
import re
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from breaking.children import Child, began, children
from breaking.folder_store import FolderStore
from breaking.harness import CONFIG
from safelight.archive import Archive
from safelight.archive.recovery import recover_archive
from safelight.archive.verification import verify_archive
from safelight.archive_layout import ratings_folder, records_folder
from safelight.durable_file import TEMPORARY_SUFFIX
from safelight.learning import LearningRecord, LearningRecordWriter, read_records
from safelight.learning.ratings import Identity, RatingEvent, RatingStore
from safelight.pipeline import recover_interrupted_runs

__all__ = ["KILLED", "Trial", "killed_once"]

Begin = Callable[..., Child]


@dataclass(slots=True)
class Trial:
    """What came of one trial.

    Attributes:
        faults: What must not be; empty is well.
        acknowledged: What was acknowledged when it was killed: records, ratings, pictures.
        before: Whether it ended before it could be killed.
    """

    faults: list[str] = field(default_factory=list)
    acknowledged: int = 0
    before: bool = False


def killed_once(name: str, folder: Path, seed: int) -> Trial:
    """Make one trial of *name* in the empty *folder*."""
    trial = Trial()
    with children(folder) as begin:
        KILLED[name](Scene(folder, random.Random(seed), begin, trial))
    return trial


class Scene:
    """One trial's folder, its chance, and its processes."""

    def __init__(self, folder: Path, chance: random.Random, begin: Begin, trial: Trial) -> None:
        self.folder, self.chance, self.begin, self.trial = folder, chance, begin, trial
        self.archive = folder / "a"

    def kill(
        self, child: Child, longest: float, *, holds: Callable[[], bool] | None = None
    ) -> None:
        """Kill *child* within *longest* seconds after *holds*."""
        began(child, holds or (lambda: True))
        time.sleep(self.chance.random() * longest)
        self.trial.before = child.ended
        child.kill()

    def fault(self, text: str) -> None:
        self.trial.faults.append(text)

    def check_sound(self, archive: Path | None = None) -> None:
        """Demand that everything is as it was written, and that nothing unfinished stays."""
        archive = archive or self.archive
        opened = Archive(archive)
        with opened.writer() as writer:
            recover_interrupted_runs(archive, writer)
        recover_archive(opened)
        sound = verify_archive(opened, pictures=True)
        for fault in sound.faults:
            self.fault(f"not as it was written: {fault.path.name}: {fault.reason}")
        left = [p for p in archive.rglob(f".*{TEMPORARY_SUFFIX}") if ".safelight" not in p.parts]
        if left:
            self.fault(f"unfinished and not removed: {[p.name for p in left][:3]}")

    def runs(self, archive: Path | None = None) -> Counter[str]:
        """Return how often each run is found."""
        rows = Archive(archive or self.archive).query(view="runs", columns=["run_id"], limit=None)
        return Counter(row[0] for row in rows.rows)

    def check_runs(self, wanted: set[str], archive: Path | None = None) -> None:
        """Demand that exactly the runs *wanted* are found, each once."""
        there = self.runs(archive)
        for what, names in (
            ("lost", wanted - set(there)),
            ("from nowhere", set(there) - wanted),
            ("doubled", {name for name, n in there.items() if n > 1}),
        ):
            if names:
                self.fault(f"{len(names)} runs are {what}")

    def check_ratings(self, wanted: set[str], archive: Path | None = None) -> None:
        """Demand that every rating *wanted* is there, once."""
        with RatingStore(ratings_folder(archive or self.archive)) as store:
            there = Counter(event.event_id for event in store.events())
        if lost := wanted - set(there):
            self.fault(f"{len(lost)} ratings are lost")
        if doubled := [name for name, n in there.items() if n > 1]:
            self.fault(f"{len(doubled)} ratings are doubled")


# -- what is killed ----------------------------------------------------------------------


def record(number: int) -> LearningRecord:
    config = {"txt2img": {"prompt": f"frog {number} " + "x" * 500, "steps": 4}}
    output = {
        "variant": 0, "stage": "txt2img", "path": None, "sha256": f"{number:064x}",
        "pixel_sha256": f"{number + 10**9:064x}", "width": 64, "height": 64, "seed": number,
    }  # fmt: skip
    return LearningRecord.from_pipeline_context(
        config, [config], run_id=f"{number:016x}", outputs=[output]
    )


def write_records(archive: Path, many: int, first: int = 0) -> None:
    with LearningRecordWriter(records_folder(archive)) as writer:
        for number in range(first, first + many):
            writer.write(record(number))


def write_for_ever(archive: str) -> None:
    """Write records, and tell of each when it is safe."""
    with LearningRecordWriter(records_folder(Path(archive))) as writer:
        for number in itertools.count():
            made = record(number)
            writer.write(made)
            if not writer.pending:
                sys.stdout.write(f"={made.run_id}\n")


def acknowledged(child: Child) -> set[str]:
    """Return the ids that *child* has printed, whole lines only."""
    lines = child.text().split("\n")[:-1]
    return {line[1:] for line in lines if line.startswith("=")}


def writer(scene: Scene) -> None:
    child = scene.begin(write_for_ever, str(scene.archive))
    scene.kill(child, 0.08, holds=lambda: bool(acknowledged(child)))
    run_ids = acknowledged(child)
    scene.trial.acknowledged = len(run_ids)
    whole = Counter(each.run_id for each in read_records(records_folder(scene.archive)))
    if lost := run_ids - set(whole):
        scene.fault(f"{len(lost)} acknowledged records are lost")
    if doubled := [name for name, n in whole.items() if n > 1]:
        scene.fault(f"{len(doubled)} records are doubled")
    scene.check_sound()
    if set(scene.runs()) < run_ids:
        scene.fault("an acknowledged record is not found")


def pack(archive: str, per_pack: int) -> None:
    Archive(Path(archive)).pack(per_pack=per_pack)


RECORDS = 240


def packer(scene: Scene) -> None:
    kept = _kept(scene, "records", lambda archive: write_records(archive, RECORDS))
    _linked(kept, scene.archive)
    wanted = {f"{number:016x}" for number in range(RECORDS)}
    scene.trial.acknowledged = RECORDS
    child = scene.begin(pack, str(scene.archive), 60)
    other = scene.begin(pack, str(scene.archive), 40) if scene.chance.random() < 0.3 else None
    scene.kill(child, 0.35)
    if other is not None and other.wait():
        scene.fault(f"a packer beside it ended badly: {other.text()[-300:]}")
    scene.check_runs(wanted)
    scene.check_sound()
    Archive(scene.archive).pack()
    scene.check_runs(wanted)


PICTURES, RATED = 36, 12
_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    'syntax-ns#"><rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/>'
    "</rdf:RDF></x:xmpmeta>"
)


def make_pictures(folder: Path, many: int = PICTURES) -> None:
    """Write pictures of another tool, every third of them rated."""
    folder.mkdir(parents=True)
    for number in range(many):
        about = PngInfo()
        about.add_text(
            "parameters",
            f"frog {number}\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: {number}, Size: 8x8",
        )
        picture = Image.new("RGB", (8, 8), (number % 256, number // 256, 7))
        picture.save(folder / f"{number}.png", pnginfo=about)
        if number % 3 == 0:
            (folder / f"{number}.xmp").write_text(_XMP)


def command(*arguments: str) -> None:
    """Carry out a command as the terminal does."""
    from safelight.cli import main

    main.main(list(arguments), standalone_mode=True)


def importer(scene: Scene) -> None:
    source = _kept(scene, "pictures", make_pictures)
    jobs = ("--jobs", "2") if scene.chance.random() < 0.2 else ("--jobs", "1")
    words = ("import", str(source), "--archive", str(scene.archive), "--json", *jobs)
    scene.kill(scene.begin(command, *words), 0.5)
    scene.check_sound()
    again = scene.begin(command, *words)
    if again.wait():
        scene.fault(f"importing again ended badly: {again.text()[-300:]}")
    rows = Archive(scene.archive).query(limit=None, columns=["sha256", "stars"]).rows
    scene.trial.acknowledged = len(rows)
    if len(rows) != PICTURES or len({row[0] for row in rows}) != PICTURES:
        scene.fault(f"{len(rows)} pictures were imported, of {PICTURES}")
    if sum(row[1] is not None for row in rows) != RATED:
        scene.fault("not every rating was imported")
    with RatingStore(ratings_folder(scene.archive)) as store:
        if len(store.events()) != RATED:
            scene.fault(f"{len(store.events())} ratings for {RATED}")
    scene.check_sound()


def serve(archive: str) -> None:
    command("serve", "--archive", archive, "--port", "0", "--no-token")


def rating_over_the_page(scene: Scene) -> None:
    kept = _kept(scene, "few", lambda archive: write_records(archive, 20))
    _linked(kept, scene.archive)
    child = scene.begin(serve, str(scene.archive))
    began(child, lambda: "http://" in child.text())
    port = int(re.search(r"http://127\.0\.0\.1:(\d+)/", child.text())[1])  # type: ignore[index]
    event_ids: list[str] = []
    over = threading.Event()

    def rate(rater: int) -> None:
        number = 0
        while not over.is_set():
            event = RatingEvent.now(
                "stars", image=Identity(sha256=f"{number % 20:064x}"), value=number % 5 + 1,
                rater=f"r{rater}",
            )  # fmt: skip
            number += 1
            body = json.dumps({"events": [{
                "event_id": event.event_id, "timestamp": event.timestamp, "kind": "stars",
                "image": {"sha256": f"{number % 20:064x}"}, "value": number % 5 + 1,
                "rater": f"r{rater}",
            }]})  # fmt: skip
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                connection.request(
                    "POST", "/api/ratings", body, {"Content-Type": "application/json"}
                )
                answer = connection.getresponse()
                if answer.status == 200 and event.event_id.encode() in answer.read():
                    event_ids.append(event.event_id)
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)
            finally:
                connection.close()

    raters = [threading.Thread(target=rate, args=(n,)) for n in range(4)]
    for rater in raters:
        rater.start()
    scene.kill(child, 0.3, holds=lambda: bool(event_ids))
    over.set()
    for rater in raters:
        rater.join()
    scene.trial.acknowledged = len(event_ids)
    scene.check_ratings(set(event_ids))
    scene.check_sound()


def make_other(archive: Path) -> None:
    """Fill an archive with everything that is carried: packs, records, ratings, pictures, logs."""
    write_records(archive, 60)
    Archive(archive).pack(per_pack=30)
    with LearningRecordWriter(records_folder(archive)) as late:
        for number in range(60, 80):
            late.write(record(number))
    make_pictures(archive.with_name(f"{archive.name}-pictures"), 10)
    command_quietly("import", str(archive.with_name(f"{archive.name}-pictures")),
                    "--archive", str(archive))  # fmt: skip
    with RatingStore(ratings_folder(archive)) as store:
        for number in range(50):
            image = Identity(sha256=f"{number:064x}")
            store.add(RatingEvent.now("stars", image=image, value=3, rater="other"))
    config = archive.with_name(f"{archive.name}.toml")
    config.write_text(small_config(6))
    command_quietly("run", str(config), "--archive", str(archive))
    (archive / "searches.json").write_text('[{"name": "mine", "query": "seed = 1"}]')


def small_config(variants: int, pause: float = 0) -> str:
    """Return a config of the stand-in engine; *pause*: seconds of each of its two steps."""
    options = f"seconds_per_step = {pause}"
    return CONFIG.format(engine="fake", options=options, variants=variants)


def command_quietly(*words: str, out: io.StringIO | None = None) -> None:
    """Carry out a command in this process, and demand that it ends well.

    Args:
        words: Of the command.
        out: Takes what it prints.
    """
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    output = out or io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            command(*words)
    except SystemExit as ended:
        assert not ended.code, output.getvalue()
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def merge(archive: str, other: str) -> None:
    command("archive", "merge", other, "--archive", archive)


def merger(scene: Scene) -> None:
    other = _kept(scene, "other", make_other)
    wanted = set(scene.runs(other))
    own = _kept(scene, "own", lambda archive: write_records(archive, 20, 1000))
    _linked(own, scene.archive)
    wanted |= set(scene.runs())
    events = _events(other)
    child = scene.begin(merge, str(scene.archive), str(other))
    beside = (
        scene.begin(merge, str(scene.archive), str(other)) if scene.chance.random() < 0.3 else None
    )
    scene.kill(child, 0.2)
    if beside is not None and beside.wait():
        scene.fault(f"a merge beside it ended badly: {beside.text()[-300:]}")
    scene.check_sound()
    again = scene.begin(merge, str(scene.archive), str(other))
    if again.wait():
        scene.fault(f"merging again ended badly: {again.text()[-300:]}")
    scene.trial.acknowledged = len(events)
    scene.check_runs(wanted)
    scene.check_ratings(events)
    scene.check_sound()


def sync(archive: str, store: str) -> None:
    """Push and pull, as ``safelight sync`` does."""
    from safelight.object_archive import pull_archive, push_archive

    push_archive(Path(archive), FolderStore(Path(store)))
    pull_archive(Path(archive), FolderStore(Path(store)))


def syncer(scene: Scene) -> None:
    other = _kept(scene, "other", make_other)
    wanted, events = set(scene.runs(other)), _events(other)
    shutil.copytree(other, scene.archive)
    store, third = scene.folder / "store", scene.folder / "b"
    child = scene.begin(sync, str(scene.archive), str(store))
    scene.kill(child, 0.12)
    again = scene.begin(sync, str(scene.archive), str(store))
    fetching = scene.begin(sync, str(third), str(store))
    scene.kill(fetching, 0.12)
    if again.wait():
        scene.fault(f"a sync ended badly: {again.text()[-300:]}")
    for archive in (scene.archive, third):
        last = scene.begin(sync, str(archive), str(store))
        if last.wait():
            scene.fault(f"a sync ended badly: {last.text()[-300:]}")
        scene.check_sound(archive)
        scene.check_runs(wanted, archive)
        scene.check_ratings(events, archive)
    scene.trial.acknowledged = len(events)


def run(config: str, archive: str, *more: str) -> None:
    command("run", config, "--archive", archive, "--log-json", *more)


def resumed_twice(scene: Scene) -> None:
    """A run is killed, goes on and is killed again, as often as it takes."""
    variants = 12
    config = scene.folder / "c.toml"
    config.write_text(small_config(variants, 0.008))
    words: tuple[str, ...] = (str(config), str(scene.archive))
    reported: set[tuple[str, int]] = set()
    for turn in range(4):
        child = scene.begin(run, *words)
        if turn < 3:
            scene.kill(child, 0.25, holds=lambda: _drawn(scene.archive) > 0)
        elif child.wait():
            scene.fault(f"it could not go on: {child.text()[-400:]}")
        reported |= reported_variants(child.text())
        with Archive(scene.archive).writer() as late:
            recover_interrupted_runs(scene.archive, late)
        records = list(read_records(records_folder(scene.archive)))
        words = (str(config), str(scene.archive))
        words += ("--resume", records[-1].run_id) if records else ()
    scene.trial.acknowledged = len(reported)
    records = list(read_records(records_folder(scene.archive)))
    drawn: Counter[int] = Counter()
    held = {(each.run_id, int(about.get("place", 0)))
            for each in records for about in each.template["variants"]}  # fmt: skip
    for each in records:
        for output in each.outputs:
            about = each.template["variants"][output.variant]
            if not about.get("drawn_by"):
                drawn[int(about["place"])] += 1
    if lost := reported - held:
        scene.fault(f"{len(lost)} acknowledged variants are in no record")
    if set(drawn) != set(range(variants)):
        scene.fault(f"missing in the end: {set(range(variants)) - set(drawn)}")
    if doubled := [place for place, n in drawn.items() if n > 1]:
        scene.fault(f"drawn twice: {doubled}")
    scene.check_sound()


def reported_variants(output: str) -> set[tuple[str, int]]:
    """Return (run, variant) of what ``--log-json`` told as recorded; whole lines only."""
    variants = set()
    for line in output.split("\n")[:-1]:
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            is_variant = isinstance(event, dict) and event.get("event") == "variant"
            if is_variant and event.get("recorded", True):
                variants.add((str(event["run_id"]), int(event["variant"])))
    return variants


def _drawn(archive: Path) -> int:
    return sum(1 for _ in archive.rglob("0*.png"))


def _events(archive: Path) -> set[str]:
    with RatingStore(ratings_folder(archive)) as store:
        return {event.event_id for event in store.events()}


_KEPT = Path(os.environ.get("TMPDIR", "/tmp")) / f"safelight-breaking-{os.getpid()}"


def _kept(scene: Scene, name: str, make: Callable[[Path], object]) -> Path:
    """Return what *make* makes, made once for all trials; nobody writes to it."""
    path = _KEPT / name
    if not path.exists():
        _KEPT.mkdir(exist_ok=True)
        make(path)
    return path


def _linked(source: Path, target: Path) -> None:
    """Copy a tree, its files as links: nothing in an archive is ever changed in place."""
    shutil.copytree(source, target, copy_function=os.link)


def _forget() -> None:
    shutil.rmtree(_KEPT, ignore_errors=True)


@contextlib.contextmanager
def kept_for_all_trials() -> Iterator[None]:
    """Remove at the end what trials share."""
    try:
        yield
    finally:
        _forget()


KILLED: dict[str, Callable[[Scene], None]] = {
    "writer": writer,
    "packer": packer,
    "import": importer,
    "rating over the page": rating_over_the_page,
    "merge": merger,
    "sync": syncer,
    "resume of a resumed run": resumed_twice,
}
"""Name -> one trial."""
