"""Many drivers share one archive on a store that speaks S3: nothing is lost, torn or doubled."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner

obstore = pytest.importorskip("obstore", reason="the extra s3: make test-s3")
pytest.importorskip("moto", reason="the server: make test-s3")

import boto3  # noqa: E402
import httpx  # noqa: E402

import safelight  # noqa: E402
from breaking.killed import make_other  # noqa: E402
from safelight.archive import Archive  # noqa: E402
from safelight.archive.verification import verify_archive  # noqa: E402
from safelight.cli import main  # noqa: E402
from safelight.errors import StorageError  # noqa: E402
from safelight.learning import LearningRecord, read_records  # noqa: E402
from safelight.learning.ratings import Identity, RatingEvent, RatingStore  # noqa: E402
from safelight.object_archive import open_store, pull_archive, push_archive  # noqa: E402
from safelight.pipeline.drawn_before import outputs_are_whole  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
URL = "s3://pictures/team"
CONFIG = """
backend = "fake"
[txt2img]
prompt = "a hill"
width = 32
height = 32
[randomizer]
mode = "fanout"
seeds_per_variant = 5
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    address = ""
    while "Running on" not in address:
        address = process.stdout.readline()
        assert address, "the server did not begin"
    # It tells of every request, and stands still when nobody listens.
    listener = threading.Thread(target=process.stdout.read)
    listener.start()
    yield address.split()[-1]
    process.kill()
    process.wait()
    listener.join()
    process.stdout.close()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT": server, "AWS_ALLOW_HTTP": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    httpx.post(f"{server}/moto-api/reset")
    client: Any = boto3.client("s3", endpoint_url=server, region_name="us-east-1")
    client.create_bucket(Bucket="pictures")
    return URL


def drive(folder: Path, *more: str) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "c.toml").write_text(CONFIG)
    return subprocess.Popen(
        [sys.executable, "-m", "safelight", "run", "c.toml", "--push-to", URL, *more],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(safelight.__file__).parents[1])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def records_of(archive: Path) -> list[LearningRecord]:
    records = list(read_records(archive / "records"))
    for record in records:
        assert outputs_are_whole(archive, record.outputs)
    return records


def test_several_drivers_write_at_once_and_everybody_gets_everything(
    bucket: str, tmp_path: Path
) -> None:
    """Four processes that know nothing of each other, three runs each."""
    drivers = [drive(tmp_path / str(number), "c.toml", "c.toml") for number in range(4)]
    assert [driver.wait(120) for driver in drivers] == [0] * 4
    everything = tmp_path / "all"
    pull_archive(everything, open_store(bucket))
    records = records_of(everything)
    assert len({record.run_id for record in records}) == len(records) == 12
    assert Archive(everything).query(view="images", limit=None).rows
    assert len(list(everything.rglob("*.png"))) == 60
    again = pull_archive(everything, open_store(bucket))
    assert (again.files, again.conflicts, again.bad) == (0, [], [])


def test_a_driver_that_is_killed_while_it_pushes_leaves_no_half_truth(
    bucket: str, tmp_path: Path
) -> None:
    """A record on the store has its pictures there; a later sync brings the rest."""
    for turn in range(4):
        driver = drive(tmp_path / "one", "--again")
        time.sleep(0.8 + 0.25 * turn)
        driver.kill()
        driver.wait()
        seen = tmp_path / f"seen{turn}"
        pull_archive(seen, open_store(bucket))
        records_of(seen)
    archive = str(tmp_path / "one" / "safelight")
    result = CliRunner().invoke(main, ["show", "--archive", archive])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    synced = CliRunner().invoke(main, ["sync", bucket, "--archive", archive])
    assert synced.exit_code == 0, synced.output
    everything = tmp_path / "all"
    pull_archive(everything, open_store(bucket))
    here = {record.run_id for record in records_of(tmp_path / "one" / "safelight")}
    assert {record.run_id for record in records_of(everything)} == here


def test_what_is_there_is_never_overwritten(bucket: str, tmp_path: Path) -> None:
    """The first stays, whoever comes; the second is told."""
    store = open_store(bucket)
    path = tmp_path / "images" / "a.png"
    path.parent.mkdir()
    path.write_bytes(b"mine")
    assert store.put_new("images/a.png", b"theirs, longer")
    assert not store.put_new("images/a.png", b"again")
    pushed = push_archive(tmp_path, store)
    assert (pushed.files, pushed.conflicts) == (0, ["images/a.png"])
    assert store.get("images/a.png") == b"theirs, longer"
    assert path.read_bytes() == b"mine"


def test_ratings_that_are_given_later_arrive_with_the_next_sync(
    bucket: str, tmp_path: Path
) -> None:
    """One segment grows all day; each sync brings what was added."""
    picture = Identity(sha256="a" * 64)
    with RatingStore(tmp_path / "one" / "ratings") as table:
        for turn in range(3):
            for _ in range(4):
                table.add(RatingEvent.now("stars", picture, value=turn + 1))
            for name in ("one", "two"):
                synced = CliRunner().invoke(
                    main, ["sync", bucket, "--archive", str(tmp_path / name), "--json"]
                )
                assert synced.exit_code == 0, synced.output
            there = RatingStore(tmp_path / "two" / "ratings").events()
            assert there == table.events()
            assert len(there) == 4 * (turn + 1)
    answer = json.loads(synced.stdout)
    assert (answer["fetched"]["files"], answer["fetched"]["lines"]) == (1, 4)


class _BreakingProxy(http.server.BaseHTTPRequestHandler):
    """Passes requests on; refuses some, swallows the answers of some, cuts the bodies of some."""

    protocol_version = "HTTP/1.1"
    server_address = ""
    chance = random.Random(20261129)
    broken: ClassVar[Counter[str]] = Counter()

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        kept = {k: v for k, v in self.headers.items() if k.lower() != "connection"}
        trouble = self.chance.choices(("none", "refused", "swallowed", "cut"), (90, 4, 3, 3))[0]
        self.broken[trouble] += 1
        if trouble == "refused":
            self._answer(503, {}, b"")
            return
        given = httpx.request(self.command, f"{self.server_address}{self.path}", content=body,
                              headers=kept)  # fmt: skip
        if trouble == "swallowed":
            self.close_connection = True
            return
        self._answer(given.status_code, dict(given.headers), given.content, cut=trouble == "cut")

    def _answer(
        self, status: int, headers: dict[str, str], body: bytes, *, cut: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "date"):
                self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on  # noqa: N815

    def log_message(self, *about: object) -> None:
        """Say nothing."""


def test_a_store_that_breaks_what_passes_tears_nothing(
    bucket: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Syncing again and again until one goes well: then everything is there, whole, once."""
    other, archive = tmp_path / "a", tmp_path / "b"
    make_other(other)
    _BreakingProxy.server_address = server
    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _BreakingProxy)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT", f"http://127.0.0.1:{proxy.server_port}")
    try:
        for folder in (other, archive):
            for _ in range(30):
                done = CliRunner().invoke(main, ["sync", URL, "--archive", str(folder)])
                assert "Traceback" not in done.output
                assert done.exception is None or isinstance(done.exception, SystemExit)
                if folder.exists():
                    faults = verify_archive(Archive(folder), pictures=True).faults
                    assert [f for f in faults if f.reason != "is not there"] == []
                if done.exit_code == 0:
                    break
            else:
                pytest.fail(done.output)
    finally:
        proxy.shutdown()
        proxy.server_close()
    assert sum(_BreakingProxy.broken[kind] for kind in ("refused", "swallowed", "cut")) > 5
    assert verify_archive(Archive(archive), pictures=True).faults == []
    for view, column in (("runs", "run_id"), ("images", "sha256")):
        there, wanted = (
            sorted(Archive(folder).query(view=view, columns=[column], limit=None).rows)
            for folder in (archive, other)
        )
        assert there == wanted
    with RatingStore(archive / "ratings") as mine, RatingStore(other / "ratings") as theirs:
        assert mine.events() == theirs.events()


def test_names_that_lead_out_of_the_archive_are_passed_over(bucket: str, tmp_path: Path) -> None:
    """A store belongs to several people, and one of them may be nobody's friend."""
    client: Any = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT"])
    for key in ("team/../../evil", "team/.hidden", "team/a/./../../b", "team//x"):
        client.put_object(Bucket="pictures", Key=key, Body=b"boo")
    with contextlib.suppress(StorageError):  # obstore may refuse to list such names at all
        pull_archive(tmp_path / "in" / "a", open_store(bucket))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_store_that_is_away_costs_no_run(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is in the archive folder; the store gets it later."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text(CONFIG)
    away = CliRunner().invoke(main, ["run", "c.toml", "--push-to", "s3://nobodys/team"])
    assert away.exit_code == 0
    assert "is not on the store yet" in away.output
    assert CliRunner().invoke(main, ["sync", bucket]).exit_code == 0
    other = tmp_path / "other"
    fetched = CliRunner().invoke(main, ["sync", bucket, "--archive", str(other)])
    assert fetched.exit_code == 0
    assert len(records_of(other)) == 1


def test_a_url_that_is_none_is_told(tmp_path: Path) -> None:
    """With what is wrong with it, and what to write instead."""
    for url, message in (
        ("nonsense://x", "cannot be opened"),
        ("nonsense", "write s3://bucket/folder, or file:///folder"),
        (f"file://{tmp_path}/gone", "there is no folder .*gone"),
    ):
        with pytest.raises(StorageError, match=message):
            open_store(url)
    assert list(open_store(f"file://{tmp_path}").entries()) == []
