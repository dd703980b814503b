"""The process beside the server: it answers the same, ends with the server, and is bounded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from gui_v2.test_learn_page import rated, varied
from gui_v2.test_light_table_page import eventually
from safelight.application.effects_answer import EffectsAnswer, effects_answer
from safelight.archive import Archive
from safelight.errors import ArchiveError, FilterError
from safelight.web import answering, create_app
from safelight.web.answering_process import AnsweringProcess
from safelight.web.held_archive import HeldArchive
from safelight.web.questions import (
    Answer,
    EffectsQuestion,
    NextQuestion,
    NextSets,
    packed,
    unpacked,
    write_message,
)

BASE = "http://127.0.0.1"
WAIT = {"prefer": "wait=300"}
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what this asks")


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = rated(tmp_path / "archive", [varied(number) for number in range(48)])
    for (path,) in made.query(columns=["path"], limit=None).rows:
        file = made.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return made


@pytest.fixture
def process(archive: Archive) -> Iterator[AnsweringProcess]:
    made = AnsweringProcess(archive.path)
    yield made
    made.end()


def answer(process: AnsweringProcess, question: EffectsQuestion | NextQuestion) -> Answer:
    process.begin(question)
    while (reply := process.reply(300)) is not None and reply.doing:
        pass
    assert reply is not None
    return unpacked(question, reply)


def is_running(number: int) -> bool:
    """Return whether there is such a process, and it is not only left to be reaped."""
    try:
        status = Path(f"/proc/{number}/stat").read_text("ascii")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_it_answers_what_would_be_answered_here(
    process: AnsweringProcess, archive: Archive
) -> None:
    """Figure for figure, infinities included; and of what was said a moment before."""
    models = HeldArchive(archive.path).models_rated()
    of_some = EffectsQuestion(q="steps = 20", ignored=("extra.opt", "extra.none"))
    for question in (EffectsQuestion(), of_some):
        here = effects_answer(archive, models, condition=question.q, ignored=question.ignored)
        assert answer(process, question) == here
        assert isinstance(here, EffectsAnswer)
        assert here.effects.knobs
    first = answer(process, NextQuestion(count=3, rater="bob"))
    assert isinstance(first, NextSets)
    assert [len(group) for group in first.sets] == [1, 1, 1]
    assert first.after == ((1,), (1,), (1,))


def test_what_cannot_be_asked_is_refused_as_it_is_here(process: AnsweringProcess) -> None:
    with pytest.raises(FilterError, match="nonsense"):
        answer(process, EffectsQuestion(q="nonsense = 1"))
    assert isinstance(answer(process, EffectsQuestion()), EffectsAnswer)


def test_one_that_died_is_told_and_another_is_started(process: AnsweringProcess) -> None:
    process.begin(EffectsQuestion())
    first = process.process_id
    assert first is not None
    os.kill(first, signal.SIGKILL)
    with pytest.raises(ArchiveError, match="ended with -9; ask again and another is started"):
        process.reply(300)
    assert isinstance(answer(process, EffectsQuestion()), EffectsAnswer)
    second = process.process_id
    assert second not in (None, first)
    os.kill(second or 0, signal.SIGKILL)  # while it has nothing to do
    assert isinstance(answer(process, EffectsQuestion()), EffectsAnswer)
    assert process.process_id != second


PARENT = """
import sys
from pathlib import Path
from safelight.web.answering_process import AnsweringProcess
from safelight.web.questions import EffectsQuestion, NextQuestion
process = AnsweringProcess(Path(sys.argv[1]))
process.begin(NextQuestion())
process.reply(300)
if sys.argv[2] == "busy":
    for _ in range(500):
        process.begin(EffectsQuestion())
print(process.process_id, flush=True)
sys.stdin.read()
"""


@linux
@pytest.mark.parametrize("state", ["idle", "busy"])
def test_a_server_that_is_killed_leaves_no_orphan(archive: Archive, state: str) -> None:
    """Not even one that is in the middle of something."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(archive.path), state],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        number = int(parent.stdout.readline())
        assert is_running(number)
        parent.kill()
        eventually(lambda: not is_running(number), 300)


def test_the_end_of_its_input_is_its_own(archive: Archive) -> None:
    """On every system, and whatever it is busy with."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "safelight.web.answering", str(archive.path), "0", "9999"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdin is not None
        for _ in range(50):
            write_message(process.stdin, packed(EffectsQuestion()))
        process.stdin.close()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


@linux
def test_memory_is_bounded_and_the_server_goes_on(archive: Archive) -> None:
    process = AnsweringProcess(archive.path, megabytes=30)
    for _ in range(2):
        with pytest.raises(ArchiveError, match="takes more than 30 MB of memory; ask about fewer"):
            answer(process, EffectsQuestion())
    process.end()


@linux
def test_it_lets_everything_else_go_first(process: AnsweringProcess) -> None:
    """All of its threads, also those that are told to let raters go first."""
    answer(process, EffectsQuestion())
    tasks = list(Path(f"/proc/{process.process_id}/task").iterdir())
    niceness = {os.getpriority(os.PRIO_PROCESS, int(task.name)) for task in tasks}
    assert niceness == {19}


def test_what_lies_in_the_folder_is_no_module_of_ours(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may serve from a folder of downloads."""
    for name in ("numpy", "msgspec", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not ours')", "utf-8")
    monkeypatch.chdir(tmp_path)
    process = AnsweringProcess(archive.path)
    assert isinstance(answer(process, EffectsQuestion()), EffectsAnswer)
    process.end()


SERVING = """
import sys
from starlette.testclient import TestClient
from safelight.web import create_app
with TestClient(create_app(sys.argv[1]), base_url="http://127.0.0.1") as client:
    shown = client.get("/learn", headers={"prefer": "wait=300"}).text
    sets = client.get("/api/next-to-rate", headers={"prefer": "wait=300"}).json()["sets"]
    memory = client.get("/api/memory").json()
print("of 48 pictures" in shown, len(sets), "scipy" in sys.modules, "numpy" in sys.modules)
print(memory["server_mb"], memory["answering_mb"])
"""


def test_the_server_itself_works_nothing_out(archive: Archive) -> None:
    """It imports no arithmetic for it, and tells its memory from that of the other process."""
    done = subprocess.run(
        [sys.executable, "-c", SERVING, str(archive.path)],
        capture_output=True, text=True, check=True, timeout=600,
    )  # fmt: skip
    shown, memory = done.stdout.splitlines()
    assert shown.split() == ["True", "40", "False", "False"]
    if sys.platform == "linux":
        assert all(float(size) > 20 for size in memory.split())


@linux
def test_the_process_comes_with_the_first_question_and_goes_with_the_server(
    archive: Archive,
) -> None:
    with TestClient(create_app(archive), base_url=BASE) as client:
        assert client.get("/").status_code == 200
        assert client.get("/api/memory").json()["answering_mb"] is None
        client.get("/learn", headers=WAIT)
        number = client.app.state.table.answering.process_id  # type: ignore[attr-defined]
        assert is_running(number)
    eventually(lambda: not is_running(number), 300)


def test_programs_are_told_that_it_takes_a_while(archive: Archive) -> None:
    """At once, with how to ask for more; then with the age of what they get."""
    with TestClient(create_app(archive), base_url=BASE) as client:
        first = client.get("/api/next-to-rate")
        assert (first.status_code, first.headers["retry-after"]) == (202, "2")
        told = first.json()
        assert (told["sets"], told["state"], told["waiting"]) == ([], "computing", True)
        then = client.get("/api/next-to-rate", headers=WAIT)
        assert then.status_code == 200
        answered = then.json()
        assert (answered["state"], answered["fresh"], len(answered["sets"])) == (
            "answered", True, 40,
        )  # fmt: skip
        assert answered["age_s"] >= 0
        assert answered["key"] == told["key"]
        for path in ("/learn?q=nonsense+%3D+1", "/api/next-to-rate?q=nonsense+%3D+1"):
            refused = client.get(path, headers={"accept": "application/json"})
            assert refused.status_code == 400
            assert "nonsense" in refused.json()["error"]
        assert client.get("/api/next-to-rate?after=x").status_code == 400


def test_what_somebody_rated_meanwhile_is_not_among_older_sets(archive: Archive) -> None:
    """The last sets are given at once, but for what was said since they were chosen."""
    with TestClient(create_app(archive), base_url=BASE) as client:

        def sets(**headers: str) -> list[str]:
            told = client.get("/api/next-to-rate", params={"rater": "bob"}, headers=headers).json()
            return [group[0]["sha256"] for group in told["sets"]]

        before = sets(**WAIT)
        assert before
        event = (
            b'{"event_id": "%s", "timestamp": "2026-01-01T00:00:00Z", "kind": "stars",'
            b' "image": {"sha256": "%s"}, "value": 3, "rater": "bob"}'
        ) % (b"a" * 32, before[0].encode())
        posted = client.post(
            "/api/ratings", content=b'{"events": [' + event + b"]}",
            headers={"content-type": "application/json"},
        )  # fmt: skip
        assert posted.json()["refused"] == []
        assert sets() == before[1:]
        assert before[0] not in sets(**WAIT)


def test_the_stream_tells_when_an_answer_is_there(archive: Archive) -> None:
    from gui_v2.light_table import served

    with served(archive.path) as address, httpx.Client(base_url=address, timeout=300) as client:
        key = client.get("/api/next-to-rate").json()["key"]
        with client.stream("GET", "/events", params={"wait": key}) as stream:
            for line in stream.iter_lines():
                if line == "event: answer":
                    break
        assert client.get("/api/next-to-rate").status_code == 200
        with client.stream("GET", "/events", params={"wait": ["nobody", "asked"]}) as stream:
            told = 0
            for line in stream.iter_lines():
                told += line == "event: answer"
                if told == 2:
                    break


@pytest.mark.parametrize(
    ("message", "is_want"),
    [
        ("_multiarray_umath.so: cannot map zero-fill pages", True),
        ("libscipy.so: failed to map segment from shared object", True),
        ("No module named 'scipy'", False),
    ],
)
def test_a_library_that_finds_no_room_is_want_of_memory(message: str, is_want: bool) -> None:
    """What cannot be loaded for another reason is told as it is."""
    assert answering._has_no_room(ImportError(message)) is is_want
