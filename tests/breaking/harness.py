"""Breaks real processes in the middle of their work, and checks what is left.

A *trial* runs ``safelight run`` in a process of its own, does one bad thing at a random moment,
and then demands of the archive: every picture that was acknowledged (told as done, or in the
journal) is there, whole, once, and in a record that says how the run ended. Then the trouble is
over, the run goes on with ``--resume``, and nothing may be missing or there twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

import safelight
from breaking.rough_server import FAULTS
from safelight.learning import LearningRecord, read_records
from safelight.pipeline.journal import read_journal

__all__ = ["CONFIG", "TRIALS", "Finding", "ray_cluster", "trial"]

VARIANTS = 24
_HERE = Path(__file__).parent
_STATUSES = {"completed", "partial", "failed", "cancelled", "interrupted"}

CONFIG = """
[backend]
name = "{engine}"
{options}
[txt2img]
prompt = "a hill"
seed = 1
steps = 2
width = 64
height = 64
[randomizer]
mode = "fanout"
seeds_per_variant = {variants}
"""

_BACKWARDS = """
import itertools, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from safelight.config import PipelineConfig
from safelight.backends.fake import FakeBackend
from safelight.learning import LearningRecordWriter
from safelight.pipeline import PipelineRunner
count = itertools.count()
clock = lambda: datetime.now(UTC) - timedelta(hours=next(count))
with LearningRecordWriter(Path("a/records")) as writer:
    runner = PipelineRunner(FakeBackend(), archive_dir="a", learning_record_writer=writer,
                            clock=clock, variants_per_run=int(sys.argv[1]))
    for result in runner.runs(PipelineConfig.from_file(Path("c.toml"))):
        assert result.status == "completed", result
"""


@dataclass(slots=True)
class Finding:
    """What came of a trial.

    Attributes:
        name: What was broken.
        faults: What must not be; empty is well.
        acknowledged: Pictures that were acknowledged when it broke.
        status: How the broken run ended, as its record says; empty when it left no record.
        seconds: What the trial took.
        skipped: Why it could not be made here, or empty.
    """

    name: str
    faults: list[str] = field(default_factory=list)
    acknowledged: int = 0
    status: str = ""
    seconds: float = 0.0
    skipped: str = ""


class Skipped(Exception):
    """This machine does not let the trial be made."""


class Scene:
    """One trial's folder, its processes, and its chance."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self.archive = folder / "a"
        self.seed = seed
        self._processes: list[subprocess.Popen[str]] = []
        self.arguments: list[str] = []
        self.resumed: list[str] = []

    def config(self, engine: str = "fake", options: str = "seconds_per_step = 0.02") -> None:
        text = CONFIG.format(engine=engine, options=options, variants=VARIANTS)
        (self.folder / "c.toml").write_text(text)

    def start(self, *command: str, **options: Any) -> subprocess.Popen[str]:
        paths = [str(Path(safelight.__file__).parents[1]), str(_HERE.parent)]
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            text=True,
            **options,
        )
        self._processes.append(process)
        return process

    def server(self, fault: str = "", odds: float = 0.0, port: int = 0) -> tuple[Any, int]:
        """Start a web UI; return its process and port."""
        process = self.start(
            str(_HERE / "rough_server.py"), str(port), fault, str(odds), str(self.seed),
            stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        return process, int(process.stdout.readline())

    def driver(self, *more: str, **options: Any) -> subprocess.Popen[str]:
        """Start the run, its log in ``log``."""
        with (self.folder / "log").open("a") as log:
            return self.start(
                "-m", "safelight", "run", "c.toml", "--archive", "a", "--log-json",
                *self.arguments, *more, stdout=subprocess.DEVNULL, stderr=log, **options,
            )  # fmt: skip

    def wait_for_pictures(self, least: int, process: subprocess.Popen[str]) -> None:
        until = time.monotonic() + 60
        while len(list(self.archive.rglob("0*.png"))) < least and process.poll() is None:
            if time.monotonic() > until:
                raise AssertionError("the run does not come forward")
            time.sleep(0.005)

    def some_moment(self, process: subprocess.Popen[str]) -> None:
        """Wait for a random moment of the run."""
        self.wait_for_pictures(self.chance.randint(0, VARIANTS // 2), process)
        time.sleep(self.chance.uniform(0, 0.1))

    def end(self, process: subprocess.Popen[str], seconds: float = 90) -> int:
        return process.wait(timeout=seconds)

    def log_events(self) -> list[dict[str, Any]]:
        """Return what the driver's log says, whole lines only."""
        events = []
        for line in (self.folder / "log").read_text("utf-8").splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and "event" in event:
                    events.append(event)
        return events

    def close(self) -> None:
        for process in self._processes:
            with contextlib.suppress(OSError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
            for pipe in (process.stdout, process.stdin):
                if pipe is not None:
                    pipe.close()


# -- what is broken ------------------------------------------------------------------------

Break = Callable[[Scene], None]


def driver_killed(scene: Scene) -> None:
    scene.config()
    process = scene.driver()
    scene.some_moment(process)
    process.kill()
    scene.end(process)


def driver_killed_beside_servers(scene: Scene) -> None:
    _, first = scene.server()
    _, second = scene.server()
    _two_servers(scene, first, second)
    process = scene.driver()
    scene.some_moment(process)
    process.kill()
    scene.end(process)


def server_killed(scene: Scene) -> None:
    victim, first = scene.server()
    _, second = scene.server()
    _two_servers(scene, first, second)
    process = scene.driver()
    scene.some_moment(process)
    victim.kill()
    assert scene.end(process) == 0, "the other server had to do it"
    scene.server(port=first)


def every_server_killed(scene: Scene) -> None:
    victims = [scene.server(), scene.server()]
    _two_servers(scene, victims[0][1], victims[1][1])
    process = scene.driver()
    scene.some_moment(process)
    for victim, _ in victims:
        victim.kill()
    time.sleep(scene.chance.uniform(0.1, 1.0))
    for _, port in victims:
        scene.server(port=port)
    assert scene.end(process) == 0, "they came back in time"


def server_hangs(scene: Scene) -> None:
    victim, first = scene.server()
    _, second = scene.server()
    _two_servers(scene, first, second)
    process = scene.driver()
    scene.some_moment(process)
    victim.send_signal(signal.SIGSTOP)
    assert scene.end(process) == 0, "the other server had to do it"
    victim.send_signal(signal.SIGCONT)


def server_says(fault: str) -> Break:
    def breaking(scene: Scene) -> None:
        victim, first = scene.server(fault, odds=0.3)
        _, second = scene.server()
        _two_servers(scene, first, second)
        process = scene.driver()
        scene.end(process)
        victim.kill()
        victim.wait()
        scene.server(port=first)

    return breaking


def _two_servers(scene: Scene, first: int, second: int) -> None:
    scene.config("webui", f'url = "http://127.0.0.1:{first}"\ntimeout = 2')
    scene.arguments = [
        *("--server", f"http://127.0.0.1:{first}", "--server", f"http://127.0.0.1:{second}"),
    ]
    scene.resumed = scene.arguments


def disk_full(scene: Scene) -> None:
    scene.config()
    with _small_disk(scene, f"{scene.chance.randint(2, 40) * 4}k"):
        scene.end(scene.driver())
        # The disk is copied to one with room, as a person would.
        shutil.copytree(scene.archive, scene.folder / "roomy")
    shutil.copytree(scene.folder / "roomy", scene.archive, dirs_exist_ok=True)


def disk_read_only(scene: Scene) -> None:
    scene.config()
    with _small_disk(scene, "20m"):
        process = scene.driver()
        scene.some_moment(process)
        # A mount over itself: files that are open stay as they are, nothing new can be written.
        for how in (["--bind", "a", "a"], ["-o", "remount,bind,ro", "a"]):
            subprocess.run(["mount", *how], check=True, cwd=scene.folder)
        scene.end(process)
        shutil.copytree(scene.archive, scene.folder / "roomy")
    shutil.copytree(scene.folder / "roomy", scene.archive, dirs_exist_ok=True)


@contextlib.contextmanager
def _small_disk(scene: Scene, size: str) -> Iterator[None]:
    scene.archive.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(scene.archive)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        raise Skipped("no disk may be mounted here")
    try:
        yield
    finally:
        while not subprocess.run(
            ["umount", "-l", str(scene.archive)], check=False, capture_output=True
        ).returncode:
            pass


def clock_goes_back(scene: Scene) -> None:
    scene.config(options="")
    process = scene.start("-c", _BACKWARDS, "5", stderr=subprocess.PIPE)
    _, trouble = process.communicate(timeout=60)
    assert process.returncode == 0, trouble
    (scene.folder / "log").touch()


def ten_thousand_open_files(scene: Scene) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 < most < 10_200:
        raise Skipped(f"only {most} files may be open here")

    def opened() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        first = os.open("/dev/null", os.O_RDONLY)
        for number in range(10, 10_010):
            os.dup2(first, number, inheritable=True)

    scene.config()
    process = scene.driver(preexec_fn=opened, close_fds=False)
    assert scene.end(process) == 0


def no_more_open_files(scene: Scene) -> None:
    scene.config()
    process = scene.driver()
    scene.some_moment(process)
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            _, most = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (3, most))
            time.sleep(scene.chance.uniform(0.05, 0.3))
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (1000, most))
    scene.end(process)


# -- Ray -----------------------------------------------------------------------------------


class RayHost:
    """A cluster in a process of its own, which breaks when it is told to."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(_HERE / "ray_host.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.address = self.ask("address")

    def ask(self, word: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        while not (line := self._process.stdout.readline()).startswith("= "):
            if not line:
                raise RuntimeError("the cluster is gone")
        return line[2:].strip()

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.ask("end")
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def ray_cluster() -> Iterator[RayHost]:
    """Start a cluster for trials that need one."""
    host = RayHost()
    try:
        yield host
    finally:
        host.close()


def ray_driver_killed(scene: Scene, host: RayHost) -> None:
    _on_ray(scene, host)
    process = scene.driver()
    scene.some_moment(process)
    process.kill()
    scene.end(process)


def ray_worker_killed(scene: Scene, host: RayHost) -> None:
    _on_ray(scene, host)
    process = scene.driver()
    scene.some_moment(process)
    host.ask("kill worker")
    assert scene.end(process) == 0, "another actor had to do it"


def ray_node_killed(scene: Scene, host: RayHost) -> None:
    _on_ray(scene, host)
    process = scene.driver()
    scene.some_moment(process)
    host.ask("kill node")
    host.ask("add node")
    assert scene.end(process, 150) == 0, "another node had to do it"


def _on_ray(scene: Scene, host: RayHost) -> None:
    scene.config()
    scene.arguments = ["--on", f"ray:{host.address}", "--ray-actors", "2"]


TRIALS: dict[str, Callable[..., None]] = {
    "driver killed": driver_killed,
    "driver killed beside two servers": driver_killed_beside_servers,
    "one of two servers killed": server_killed,
    "both servers killed, then back": every_server_killed,
    "a server stops dead": server_hangs,
    **{f"a server answers: {fault}": server_says(fault) for fault in FAULTS},
    "disk full": disk_full,
    "disk turns read-only": disk_read_only,
    "clock goes back": clock_goes_back,
    "10,000 open files": ten_thousand_open_files,
    "no more files may be opened": no_more_open_files,
    "Ray: driver killed": ray_driver_killed,
    "Ray: worker killed": ray_worker_killed,
    "Ray: node killed": ray_node_killed,
}
"""Name -> what is done; those that begin with ``Ray`` take a cluster as well."""


# -- what must hold ------------------------------------------------------------------------


def trial(name: str, seed: int, host: RayHost | None = None) -> Finding:
    """Break *name* once, at a moment that *seed* decides, and say what was found."""
    finding = Finding(name)
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="breaking-"))
    scene = Scene(folder, seed)
    try:
        breaking = TRIALS[name]
        breaking(scene, host) if name.startswith("Ray") else breaking(scene)
        _check_broken(scene, finding)
        _check_resumed(scene, finding)
    except Skipped as reason:
        finding.skipped = str(reason)
    except Exception as problem:  # noqa: BLE001 - a trial that falls over is a finding
        finding.faults.append(f"{type(problem).__name__}: {problem}")
    finally:
        scene.close()
        finding.seconds = time.monotonic() - began
        if not finding.faults:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            finding.faults.append(f"left in {folder}")
    return finding


def _check_broken(scene: Scene, finding: Finding) -> None:
    acknowledged = {
        (event["run_id"], event["variant"])
        for event in scene.log_events()
        if event["event"] == "variant" and event.get("recorded", True)
    }
    firsts: dict[str, int] = {}
    for journal in scene.archive.rglob("journal.jsonl"):
        try:
            header, entries, _ = read_journal(journal)
        except Exception:  # noqa: BLE001 - killed before its first line: nothing was promised
            continue
        firsts[header["run_id"]] = header["first_variant"]
        acknowledged |= {
            (header["run_id"], header["first_variant"] + entry.position)
            for entry in entries
            if entry.finished and not entry.failures
        }
    finding.acknowledged = len(acknowledged)
    recovered = scene.start(
        "-m", "safelight", "show", "--archive", "a", stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    recovered.wait(timeout=60)
    records = list(read_records(scene.archive / "records"))
    finding.status = records[-1].status if records else ""
    _check_records(scene.archive, records, finding)
    recorded = {
        (record.run_id, record.first_variant + _place(record, output.variant))
        for record in records
        for output in record.outputs
    }
    missing = acknowledged - recorded
    if missing:
        finding.faults.append(f"acknowledged and in no record: {sorted(missing)}")
    _check_files(scene.archive, finding)


def _place(record: LearningRecord, variant: int) -> int:
    about = record.template["variants"][variant]
    return int(about.get("place", record.first_variant + variant)) - record.first_variant


def _check_records(archive: Path, records: list[LearningRecord], finding: Finding) -> None:
    runs = Counter(record.run_id for record in records)
    finding.faults += [f"run {run} has {n} records" for run, n in runs.items() if n > 1]
    paths: Counter[str] = Counter()
    for record in records:
        if record.status not in _STATUSES:
            finding.faults.append(f"status {record.status!r}")
        failed = {failure.variant for failure in record.failures}
        if record.status == "completed" and failed:
            finding.faults.append("a completed run has failures")
        reused = [bool(about.get("drawn_by")) for about in record.template["variants"]]
        for output in record.outputs:
            assert output.path is not None
            if not reused[output.variant]:
                paths[output.path] += 1
            try:
                data = (archive / output.path).read_bytes()
            except OSError as error:
                finding.faults.append(f"recorded and not there: {error}")
                continue
            if hashlib.sha256(data).hexdigest() != output.sha256:
                finding.faults.append(f"recorded and torn: {output.path}")
    finding.faults += [f"recorded twice: {path}" for path, n in paths.items() if n > 1]


def _check_files(archive: Path, finding: Finding) -> None:
    for path in archive.rglob("*.png"):
        if path.name.startswith("."):
            continue
        try:
            with Image.open(io.BytesIO(path.read_bytes())) as image:
                image.load()
        except (OSError, SyntaxError) as error:
            finding.faults.append(f"a torn picture: {path.name}: {error}")
    for path in (archive / "records").glob("*.json"):
        try:
            LearningRecord.from_json(path.read_bytes())
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it
            finding.faults.append(f"a torn record: {path.name}: {error}")


def _check_resumed(scene: Scene, finding: Finding) -> None:
    """The trouble is over: the run goes on, and everything is there once."""
    before = list(read_records(scene.archive / "records"))
    scene.arguments = scene.resumed
    more = ("--resume", before[-1].run_id) if before else ()
    status = scene.end(scene.driver(*more))
    if status:
        finding.faults.append(
            f"the run could not go on: exit status {status}: {scene.log_events()[-3:]}"
        )
        return
    records = list(read_records(scene.archive / "records"))
    _check_records(scene.archive, records, finding)
    drawn: Counter[int] = Counter()
    for record in records:
        for output in record.outputs:
            if not record.template["variants"][output.variant].get("drawn_by"):
                drawn[record.first_variant + _place(record, output.variant)] += 1
    if sorted(drawn) != list(range(VARIANTS)):
        finding.faults.append(f"missing in the end: {set(range(VARIANTS)) - set(drawn)}")
    twice = {place: n for place, n in drawn.items() if n > 1}
    if twice:
        finding.faults.append(f"drawn twice: {twice}")
