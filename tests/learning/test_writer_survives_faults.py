"""Whatever happens to the disk, the run goes on, and no record is lost, torn or overwritten."""

from __future__ import annotations

import contextlib
import enum
import errno
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safelight.learning import LearningRecord, LearningRecordWriter, read_records

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="tmpfs, resource limits, fork")


def record(run_id: str, **fields: Any) -> LearningRecord:
    fields.setdefault("timestamp", "2026-01-31T12:00:00.000000Z")
    config = {"txt2img": {"prompt": "a lighthouse, 灯台", "steps": 20, "sampler": "Euler a"}}
    return LearningRecord.from_pipeline_context(config, [config], run_id=run_id, **fields)


def unfinished(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if not name.endswith(".json")]


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start *code* in a Python of its own, with pipes in both directions."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


class FailingCall:
    """One function of ``os`` that fails from its *first* call on until it is healed."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, function: str, first: int, code: int
    ) -> None:
        self._real: Callable[..., Any] = getattr(os, function)
        self._left = first - 1
        self._function = function
        self._code = code
        self.broken = True
        monkeypatch.setattr(os, function, self)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        if self.broken and self._left <= 0:
            if self._function == "close":
                self._real(*arguments)
            raise OSError(self._code, os.strerror(self._code))
        self._left -= 1
        return self._real(*arguments, **options)


# -- the disk --------------------------------------------------------------------------

EVERY_SYSTEM_CALL = [
    pytest.param("open", 1, id="open of the file"),
    pytest.param("write", 1, id="write"),
    pytest.param("write", 2, id="write after a short write"),
    pytest.param("fsync", 1, id="fsync of the file"),
    pytest.param("close", 1, id="close of the file"),
    pytest.param("rename", 1, id="rename"),
    pytest.param("open", 2, id="open of the folder"),
    pytest.param("fsync", 2, id="fsync of the folder"),
]


@pytest.mark.parametrize(("function", "first"), EVERY_SYSTEM_CALL)
@pytest.mark.parametrize("then", ["the next write", "close"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
def test_a_full_disk_costs_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    function: str,
    first: int,
    then: str,
    code: int,
) -> None:
    """The run goes on, old records stay whole, and the new one is written once there is room."""
    writer = LearningRecordWriter(tmp_path)
    writer.write(old := record("old"))
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real_write(handle, data[:500]))
    disk = FailingCall(monkeypatch, function, first, code)

    writer.write(new := record("new"))  # does not raise
    assert (writer.failures, writer.pending) == (1, (new,))
    assert unfinished(tmp_path) == []
    [message] = [entry.getMessage() for entry in caplog.records]
    assert message.startswith("learning record new is not written yet, the run goes on: ")
    assert os.strerror(code) in message

    disk.broken = False
    assert old in list(read_records(tmp_path))
    if then == "close":
        writer.close()
        expected = [new, old]
    else:
        writer.write(third := record("third"))
        expected = [new, old, third]
    assert (writer.failures, writer.pending) == (1, ())
    assert list(read_records(tmp_path)) == expected
    assert unfinished(tmp_path) == []


def test_a_night_on_a_full_disk_loses_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each record is counted and logged once, however often it is tried."""
    writer = LearningRecordWriter(tmp_path)
    disk = FailingCall(monkeypatch, "write", 1, errno.ENOSPC)
    records = [record(f"r{number}") for number in range(5)]
    for each in records:
        writer.write(each)
    writer.close()
    assert (writer.failures, writer.pending) == (5, tuple(records))
    assert [entry.levelno for entry in caplog.records] == [*[logging.WARNING] * 5, logging.ERROR]
    assert "r0, r1, r2, r3, r4" in caplog.messages[-1]

    disk.broken = False
    writer.close()
    writer.close()
    assert (writer.failures, writer.pending) == (5, ())
    assert list(read_records(tmp_path)) == records


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A real disk of 64 KB at *folder*; skips where nobody may mount one."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "safelight-test", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@linux_only
@pytest.mark.skipif(shutil.which("mount") is None, reason="needs mount")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """The same with no trick: the disk has no room, and then it has."""
    with small_disk(tmp_path / "disk") as disk:
        writer = LearningRecordWriter(disk / "records")
        writer.write(old := record("old"))
        with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(1024))
        writer.write(new := record("new", metadata={"long": "x" * 9000}))
        assert (writer.failures, writer.pending) == (1, (new,))
        assert unfinished(disk / "records") == []
        assert list(read_records(disk / "records")) == [old]

        (disk / "ballast").unlink()
        writer.close()
        assert list(read_records(disk / "records")) == [new, old]


@linux_only
@pytest.mark.skipif(shutil.which("mount") is None, reason="needs mount")
def test_a_disk_that_is_really_read_only(tmp_path: Path) -> None:
    """A disk with errors is often made read-only under a running program."""
    with small_disk(tmp_path / "disk") as disk:
        writer = LearningRecordWriter(disk / "records")
        writer.write(old := record("old"))
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        writer.write(new := record("new"))
        assert (writer.failures, writer.pending) == (1, (new,))
        assert list(read_records(disk / "records")) == [old]

        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        writer.close()
        assert list(read_records(disk / "records")) == [new, old]


FILE_SIZE_CHILD = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from test_writer_survives_faults import record
from safelight.learning import LearningRecordWriter
writer = LearningRecordWriter(sys.argv[1])
writer.write(record("old"))
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, most))
writer.write(record("new", metadata={"long": "x" * 9000}))
print(writer.failures, len(writer.pending), flush=True)
sys.stdin.readline()
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
writer.close()
print(writer.failures, len(writer.pending), flush=True)
"""


@linux_only
def test_a_file_size_limit_tears_no_record(tmp_path: Path) -> None:
    """The kernel itself cuts the write short here: a whole record or none."""
    process = child(FILE_SIZE_CHILD, tmp_path, Path(__file__).parent)
    assert process.stdout is not None
    assert process.stdout.readline() == "1 1\n"
    assert list(read_records(tmp_path)) == [record("old")]
    assert unfinished(tmp_path) == []
    rest, _ = process.communicate("go\n", timeout=120)
    assert rest == "1 0\n"
    new = record("new", metadata={"long": "x" * 9000})
    assert list(read_records(tmp_path)) == [new, record("old")]


# -- the folder ------------------------------------------------------------------------


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    """Nobody has to prepare anything; nothing is made before there is a record."""
    writer = LearningRecordWriter(tmp_path / "a" / "b" / "records")
    assert not (tmp_path / "a").exists()
    writer.write(record("r1"))
    assert list(read_records(tmp_path / "a" / "b" / "records")) == [record("r1")]
    assert writer.failures == 0


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    """Somebody tidied up while the program was running."""
    writer = LearningRecordWriter(tmp_path / "records")
    writer.write(record("r1"))
    shutil.rmtree(tmp_path / "records")
    writer.write(record("r2"))
    assert list(read_records(tmp_path / "records")) == [record("r2")]
    assert writer.failures == 0


@pytest.mark.parametrize("base", ["records", "records/below/it"])
def test_a_folder_replaced_by_a_file_keeps_the_record_in_memory(tmp_path: Path, base: str) -> None:
    """Once the file is out of the way, the record is written."""
    (tmp_path / "records").write_text("mine")
    writer = LearningRecordWriter(tmp_path / base)
    writer.write(record("r1"))
    assert (writer.failures, writer.pending) == (1, (record("r1"),))
    assert (tmp_path / "records").read_text() == "mine"

    (tmp_path / "records").unlink()
    writer.close()
    assert list(read_records(tmp_path / base)) == [record("r1")]


def test_a_folder_without_permission_keeps_the_record_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The kernel's refusal is injected, because chmod does not stop root."""
    writer = LearningRecordWriter(tmp_path)
    folder = FailingCall(monkeypatch, "open", 1, errno.EACCES)
    writer.write(record("r1"))
    assert (writer.failures, writer.pending) == (1, (record("r1"),))
    assert "Permission denied" in caplog.text

    folder.broken = False
    writer.close()
    assert list(read_records(tmp_path)) == [record("r1")]


@pytest.mark.parametrize(
    "run_id", ["../../escape", "a/b", "a\\b", "", ".", "x" * 5000, "灯" * 300, "a\0b", "con:1|?*"]
)
def test_any_run_id_makes_a_file_in_the_folder(tmp_path: Path, run_id: str) -> None:
    """Records of other tools bring their own names, longer and stranger than ours."""
    writer = LearningRecordWriter(tmp_path / "records")
    writer.write(record(run_id))
    assert writer.failures == 0
    assert list(read_records(tmp_path / "records")) == [record(run_id)]
    assert os.listdir(tmp_path) == ["records"]


def test_records_of_one_run_id_and_moment_are_all_kept(tmp_path: Path) -> None:
    """The same record twice is one file; different ones never overwrite each other."""
    writer = LearningRecordWriter(tmp_path)
    for name in ("a", "b", "a", "c", "b"):
        writer.write(record("same", name=name))
    assert sorted(each.name for each in read_records(tmp_path)) == ["a", "b", "c"]
    assert writer.failures == 0


# -- the values ------------------------------------------------------------------------


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Hostile:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no attribute")


class BrokenMapping(Mapping[str, int]):
    def __getitem__(self, key: str) -> int:
        raise RuntimeError("no item")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no keys")

    def __len__(self) -> int:
        return 1


class BrokenPath:
    def __fspath__(self) -> str:
        raise RuntimeError("no path")


class Colour(enum.Enum):
    RED = "red"
    PAIR = (1, 2)


class Text(str):
    __slots__ = ()


class Count(int):
    __slots__ = ()


class Share(float):
    __slots__ = ()


def circle() -> dict[str, Any]:
    inside: dict[str, Any] = {"steps": 1}
    inside["itself"] = inside
    return inside


def bottomless() -> list[Any]:
    inside: list[Any] = []
    for _ in range(3000):
        inside = [inside]
    return inside


ANYTHING = object()
PLAIN = [
    pytest.param(Unprintable(), "<Unprintable>", id="str raises"),
    pytest.param({Unprintable()}, ["<Unprintable>"], id="str raises in a set"),
    pytest.param({Unprintable(): 1}, {"<Unprintable>": 1}, id="str raises in a key"),
    pytest.param(Hostile(), ANYTHING, id="getattr raises"),
    pytest.param(BrokenMapping(), ANYTHING, id="mapping that raises"),
    pytest.param(BrokenPath(), ANYTHING, id="path that raises"),
    pytest.param(circle(), {"steps": 1, "itself": "<circular>"}, id="cycle"),
    pytest.param(bottomless(), ANYTHING, id="3,000 levels"),
    pytest.param("\ud83d", "\\ud83d", id="lone surrogate"),
    pytest.param({"\ud83d": 1}, {"\\ud83d": 1}, id="lone surrogate in a key"),
    pytest.param(float("nan"), None, id="nan"),
    pytest.param(float("-inf"), None, id="infinity"),
    pytest.param(10**400, 10**400, id="400 digits"),
    pytest.param(10**5000, ANYTHING, id="5,000 digits"),
    pytest.param(b"\xff\x00", "/wA=", id="bytes"),
    pytest.param({1}, [1], id="set"),
    pytest.param((1, (2,)), [1, [2]], id="tuple"),
    pytest.param(range(3), [0, 1, 2], id="range"),
    pytest.param(np.float32(0.5), 0.5, id="float32"),
    pytest.param(np.float64("nan"), None, id="float64 nan"),
    pytest.param(np.int64(3), 3, id="int64"),
    pytest.param(np.bool_(True), True, id="numpy bool"),
    pytest.param(np.str_("x"), "x", id="numpy text"),
    pytest.param(np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]], id="array"),
    pytest.param(np.array([None, 1.5], dtype=object), [None, 1.5], id="array of objects"),
    pytest.param(Colour.RED, "red", id="enum"),
    pytest.param(Colour.PAIR, [1, 2], id="enum of a tuple"),
    pytest.param(Path("a/b"), "a/b", id="path"),
    pytest.param(Path("\udcff"), "\\udcff", id="path that is no text"),
    pytest.param({1: "a", None: "b", (2, 3): "c"}, ANYTHING, id="keys that are no text"),
    pytest.param({Colour.RED: 1}, ANYTHING, id="enum key"),
    pytest.param(Text("tall"), "tall", id="subclass of str"),
    pytest.param({Text("k"): Text("v")}, {"k": "v"}, id="subclass of str in a key"),
    pytest.param(Count(3), 3, id="subclass of int"),
    pytest.param(Share(1.5), 1.5, id="subclass of float"),
    pytest.param(object, "<class 'object'>", id="class"),
    pytest.param(1j, "1j", id="complex"),
]


@pytest.mark.parametrize(("value", "plain"), PLAIN)
def test_a_value_that_json_cannot_hold_becomes_plain(
    tmp_path: Path, value: Any, plain: Any
) -> None:
    """What people put into metadata must never cost a record."""
    made = record("r1", metadata={"value": value, "beside": "whole"})
    writer = LearningRecordWriter(tmp_path)
    writer.write(made)
    assert writer.failures == 0
    [read] = read_records(tmp_path)
    assert read == made
    assert read.metadata["beside"] == "whole"
    if plain is not ANYTHING:
        assert read.metadata["value"] == plain
        assert type(read.metadata["value"]) is type(plain)


def test_a_record_that_was_bent_afterwards_breaks_nothing(tmp_path: Path) -> None:
    """The type is frozen, the dicts in it are not; the others are written all the same."""
    writer = LearningRecordWriter(tmp_path)
    bent = record("bent")
    bent.metadata["late"] = object()  # type: ignore[index]
    writer.write(bent)
    writer.write(record("r2"))
    writer.close()
    assert (writer.failures, len(writer.pending)) == (1, 1)
    assert list(read_records(tmp_path)) == [record("r2")]


@pytest.mark.parametrize("not_a_record", [None, {"run_id": "x"}, 7])
def test_what_is_no_record_breaks_nothing(tmp_path: Path, not_a_record: Any) -> None:
    """Never means never, also for a caller's mistake."""
    with LearningRecordWriter(tmp_path) as writer:
        writer.write(not_a_record)
        writer.write(record("r2"))
    assert writer.failures == 1
    assert list(read_records(tmp_path)) == [record("r2")]


# -- secrets ---------------------------------------------------------------------------

CANARY = "c4n4ry-h7q2"
SECRET_KEYS = [
    "password", "Password", "webui_password", "db-password", "dbPassword", "DBPassword",
    "WebUIPassword", "passwd", "passphrase",
    "token", "HF_TOKEN", "access_token", "accessToken", "authToken", "secret", "clientSecret",
    "client_secret", "api_key", "apikey", "apiKey", "x-api-key", "Authorization", "credentials",
]  # fmt: skip
SECRET_TEXTS = [
    f"https://me:{CANARY}@host:7860/sdapi",
    f"http://{CANARY}@host/",
    f"redis+tls://:{CANARY}@host/0",
    f"the proxy http://me:{CANARY}@proxy:3128 did not answer",
    f"https://me:p@{CANARY}@host/",
    f"https://civitai.com/api/download/models/1?type=Model&token={CANARY}",
    f"https://host/x?api_key={CANARY}&y=1",
    f"https://maps.host/x?y=1&key={CANARY}",
    f"https://account.blob.host/model.safetensors?sv=1&sig={CANARY}",
    f"https://bucket.host/model.bin?X-Amz-Expires=60&X-Amz-Signature={CANARY}",
]


def everywhere(value: Any) -> LearningRecord:
    """A record that holds *value* wherever a caller or an engine can put something."""
    config = {"txt2img": {"prompt": "a cat", "extra": {"script": [value]}}}
    return LearningRecord.from_pipeline_context(
        config,
        [config],
        backend={"name": "webui", "options": value},
        environment={"device": "cpu", "engine": [value]},
        metadata={"mine": {"deep": [{"deeper": value}]}},
        template={"prompts": {"x": value}},
    )


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_what_is_called_a_secret_never_enters(key: str) -> None:
    """Records are shared; a password in one would be, too."""
    for value in (CANARY, [CANARY], {"value": CANARY}, CANARY.encode(), Text(CANARY)):
        assert CANARY not in everywhere({key: value, "beside": 1}).to_json()
        top = record("r1", metadata={key: value}, backend={key: value}, environment={key: value})
        assert CANARY not in top.to_json()


@pytest.mark.parametrize("text", SECRET_TEXTS)
def test_what_opens_a_door_inside_a_url_never_enters(text: str) -> None:
    """A pasted address is where most leaked passwords stood."""
    assert CANARY not in everywhere(text).to_json()
    assert CANARY not in everywhere({"url": text}).to_json()
    assert CANARY not in record("r1", error=text, warnings=(text,)).to_json()


@pytest.mark.parametrize("key", ["user", "username", "User"])
def test_the_engines_user_never_enters(key: str) -> None:
    """It is half of the key to somebody's engine."""
    made = record("r1", backend={key: CANARY}, environment={"login": {key: CANARY}})
    assert CANARY not in made.to_json()


def test_words_that_only_sound_secret_stay() -> None:
    """Prompts and knobs are the point of a record."""
    config = {"txt2img": {"prompt": "secret garden, password, token", "extra": {"tokenizer": "x"}}}
    made = LearningRecord.from_pipeline_context(
        config, [config], metadata={"user": "alice", "max_tokens": 77, "mail": "alice@host.org"}
    )
    assert made.base_config == config
    assert made.metadata == {"user": "alice", "max_tokens": 77, "mail": "alice@host.org"}


# -- many writers ----------------------------------------------------------------------

MANY_RECORDS_CHILD = """
import sys
sys.path.insert(0, sys.argv[2])
from test_writer_survives_faults import record
from safelight.learning import LearningRecordWriter
name, different, same = sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
print("ready", flush=True); sys.stdin.readline()
with LearningRecordWriter(sys.argv[1]) as writer:
    for number in range(different):
        writer.write(record(f"{name}-{number}"))
    for number in range(same):
        writer.write(record("same", name=f"{name}-{number}"))
print(writer.failures, flush=True)
"""


def test_two_processes_write_a_thousand_records_each_into_one_folder(tmp_path: Path) -> None:
    """Nothing is lost, nothing torn, nothing overwritten, also under one name and moment."""
    here = Path(__file__).parent
    children = [child(MANY_RECORDS_CHILD, tmp_path, here, name, 950, 50) for name in "ab"]
    for process in children:
        assert process.stdout is not None
        process.stdout.readline()
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in children:
        assert process.communicate(timeout=120)[0] == "0\n"

    texts = [(tmp_path / name).read_bytes() for name in os.listdir(tmp_path)]
    wanted = {record(f"{name}-{n}").to_json().encode() for name in "ab" for n in range(950)}
    wanted |= {record("same", name=f"{x}-{n}").to_json().encode() for x in "ab" for n in range(50)}
    assert (len(texts), set(texts)) == (2000, wanted)


KILLED_CHILD = """
import os, random, signal, sys, time
sys.path.insert(0, sys.argv[2])
from test_writer_survives_faults import long_record
from safelight.learning import LearningRecordWriter
chance = random.Random(int(sys.argv[3]))
for round in range(200):
    pid = os.fork()
    if pid == 0:
        writer = LearningRecordWriter(sys.argv[1])
        number = 0
        while True:
            writer.write(long_record(f"{round}-{number}"))
            number += 1
    time.sleep(chance.uniform(0.002, 0.03))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
"""


LONG = record("RUN_ID", metadata={"long": "x" * 100_000}).to_json()
"""100 KB, so that a kill has a good chance to hit the middle of a write."""


def long_record(run_id: str) -> LearningRecord:
    return LearningRecord.from_json(LONG.replace("RUN_ID", run_id))


@linux_only
def test_two_hundred_killed_writers_leave_whole_records_only(tmp_path: Path) -> None:
    """``kill -9`` at any moment: what has its name is whole, what has not is in nobody's way."""
    process = child(KILLED_CHILD, tmp_path, Path(__file__).parent, 20260131)
    process.communicate(timeout=120)
    assert process.returncode == 0
    whole = [name for name in os.listdir(tmp_path) if name.endswith(".json")]
    assert whole
    for name in whole:
        document = (tmp_path / name).read_bytes()
        assert document == long_record(json.loads(document)["run_id"]).to_document()

    leftovers = [name for name in unfinished(tmp_path) if name.endswith(".tmp")]
    with LearningRecordWriter(tmp_path) as writer:
        for name in leftovers:
            writer.write(again := long_record(name.split("_")[1].removesuffix(".json.tmp")))
            assert again in list(read_only(tmp_path, again.run_id))
    assert writer.failures == 0


def read_only(folder: Path, run_id: str) -> Iterator[LearningRecord]:
    for path in folder.glob(f"[!.]*_{run_id}*.json"):
        yield LearningRecord.from_json(path.read_bytes())
