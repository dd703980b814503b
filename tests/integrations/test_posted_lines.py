"""SwarmUI and other tools tell the page what they have drawn, over real HTTP; nobody else does."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from PIL import Image, PngImagePlugin
from safelight_spool import Spool
from starlette.testclient import TestClient

from imports.spool_lines import lines_of
from integrations.swarmui_hook import Generation, filled, send
from safelight import durable_file
from safelight.application.posted_lines import SWARMUI_TEMPLATE
from safelight.archive import Archive
from safelight.imports.folder_import import import_folders
from safelight.web import create_app
from safelight.web.admission import Admission
from safelight.web.guard import LARGEST_PICTURE
from safelight.web.sessions import Role

OWNER = "a token of the owner's"
GUEST = "a token of the guests'"
PATIENCE = 60.0
LINE = {"spool": 1, "tool": "mine", "status": "failed", "error": "out of memory"}
VALUES = {
    "prompt": 'a "cat" on a wall\n50% off, <lora:x>', "negativeprompt": "fog",
    "model": "SDXL/dream_er.safetensors", "seed": 7, "steps": 20, "cfgscale": 7.5, "width": 64,
    "height": 48, "sampler": "dpmpp_2m", "scheduler": "karras", "loras": ["ink", "a-b"],
    "loraweights": ["0.8", "1"],
}  # fmt: skip


def png(seed: int, *, text: str = "") -> bytes:
    data, info = io.BytesIO(), PngImagePlugin.PngInfo()
    if text:
        info.add_text("parameters", text)
    Image.new("RGB", (64, 48), (seed % 256, seed // 256, 9)).save(data, "PNG", pnginfo=info)
    return data.getvalue()


def data_address(seed: int) -> str:
    return "data:image/png;base64," + base64.b64encode(png(seed)).decode()


class Server:
    """``safelight serve`` in a process of its own.

    Attributes:
        owner: Asks as the owner.
        to: Where tools post.
    """

    def __init__(self, archive: Path, *words: str) -> None:
        state = {name: str(archive.parent / name) for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME")}
        environ = {**os.environ, **state, "SAFELIGHT_OWNER_TOKEN": OWNER, "SAFELIGHT_TOKEN": GUEST,
                   "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}  # fmt: skip
        self.said = (archive.parent / "said").open("a+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "safelight", "serve", "--archive", str(archive), "--port", "0",
             *words],
            env=environ, stdin=subprocess.DEVNULL, stdout=self.said, stderr=self.said,
        )  # fmt: skip
        self.address = self._told(r"http://127\.0\.0\.1:\d+/login")[: -len("login")]
        self.owner = httpx.Client(
            base_url=self.address, headers={"authorization": f"Bearer {OWNER}"}, timeout=PATIENCE
        )
        until(lambda: self._listens(), "the server listens")
        told = self.owner.get("/api/spool").raise_for_status().json()
        self.to, self.template = told["address"], told["swarmui"]

    def _told(self, pattern: str) -> str:
        start = self.said.seek(0, os.SEEK_END)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self.said.seek(max(0, start - 4000))
            found = re.findall(pattern, self.said.read())
            if found and self.process.poll() is None:
                last = str(found[-1])
                with contextlib.suppress(httpx.TransportError):
                    httpx.get(last)
                    return last
            time.sleep(0.05)
        raise AssertionError("the server does not say where it listens")

    def _listens(self) -> bool:
        try:
            return self.owner.get("/api/session").status_code == 200
        except httpx.TransportError:
            return False

    def output(self) -> str:
        self.said.seek(0)
        return self.said.read()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.owner.close()
        self.said.close()


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@contextlib.contextmanager
def serving(archive: Path, *words: str) -> Iterator[Server]:
    server = Server(archive, *words)
    try:
        yield server
    finally:
        server.kill()


def images(archive: Path) -> list[dict[str, Any]]:
    return list(Archive(archive).query(limit=None).dicts())


def runs(archive: Path) -> list[dict[str, Any]]:
    return list(Archive(archive).query(view="runs", limit=None).dicts())


def test_swarmui_tells_of_its_pictures_and_no_kill_loses_or_doubles_one(
    archive: Path, tmp_path: Path
) -> None:
    """A picture that it does not save comes along; one that it saves is found where it lies."""
    output = tmp_path / "SwarmUI" / "Output"
    day = output / "local" / "raw" / "2026-11-30"
    day.mkdir(parents=True)
    with serving(archive, "--watch", str(output)) as server:
        status, told = send(server.to, server.template, Generation(VALUES), data_address(1))
        assert (status, told["notes"]) == (202, [])
        server.process.kill()  # right after the answer
        server.process.wait()
    saved = Generation({**VALUES, "seed": 8})
    with serving(archive, "--watch", str(output)) as server:
        began = time.monotonic()
        status, told = send(
            server.to, server.template, saved, "View/local/raw/2026-11-30/a cat.png"
        )
        assert (status, told["notes"]) == (202, [])
        assert time.monotonic() - began < 5
        # SwarmUI writes the file while, or after, it posts.
        text = json.dumps({"sui_image_params": {**saved.values, "swarm_version": "0.9.7"}})
        (day / "a cat.png").write_bytes(png(8, text=text))
        until(lambda: [_is_told(archive, row) for row in images(archive)] == [True] * 2, "both")
        rows = {row["seed"]: row for row in images(archive)}
        page = server.owner.get("/api/pictures").json()["rows"]
        assert {row["sha256"] for row in page} == {row["sha256"] for row in rows.values()}
    assert rows[8]["path"] == str(day / "a cat.png")
    assert str(rows[7]["path"]).startswith("images/posted/")
    record = Archive(archive).record(str(rows[7]["run_id"]))
    knobs = record.variant_configs[0]["txt2img"]
    expected = {"prompt": VALUES["prompt"], "negative_prompt": "fog", "model": "SDXL/dream_er",
                "seed": 7, "steps": 20, "cfg_scale": 7.5, "width": 64, "height": 48,
                "sampler": "DPM++ 2M", "scheduler": "Karras"}  # fmt: skip
    assert {name: knobs[name] for name in expected} == expected
    assert [(x["name"], x["weight"]) for x in knobs["loras"]] == [("ink", 0.8), ("a-b", 1)]
    assert record.metadata["import"]["spool"]["tool"] == "swarmui"
    assert len(runs(archive)) == 2, "no execution without a picture"


def _is_told(archive: Path, row: dict[str, Any]) -> bool:
    return "spool" in Archive(archive).record(str(row["run_id"])).metadata["import"]


def test_a_server_that_is_killed_while_tools_post_loses_and_doubles_nothing(archive: Path) -> None:
    sent, answered = list[str](), list[str]()

    def post(server: Server) -> None:
        with contextlib.suppress(httpx.TransportError):
            while True:
                sent.append(f"n{len(sent)}")
                told = httpx.post(server.to, json={**LINE, "id": sent[-1]})
                answered.extend(told.raise_for_status().json()["kept"])

    with serving(archive) as server:
        tool = threading.Thread(target=post, args=(server,))
        tool.start()
        until(lambda: len(answered) > 20, "some are answered")
        server.process.kill()
        tool.join()
    with serving(archive):
        until(lambda: len(runs(archive)) >= len(answered), "all that was answered")
    names = [str(row["run_id"]).removeprefix("spool-") for row in runs(archive)]
    assert len(names) == len(set(names))
    assert set(answered) <= set(names) <= set(sent)


@pytest.fixture
def asked(archive: Path) -> Iterator[Callable[..., httpx.Response]]:
    """Post a body as somebody."""
    admission = Admission(tokens={Role.OWNER: OWNER, Role.GUEST: GUEST}, of_tools="t" * 43)
    app = create_app(archive, admission=admission)
    app.state.table.posted._watch = lambda: None  # no process beside
    with TestClient(app, base_url="http://127.0.0.1") as client:

        def ask(body: Any, token: str = "t" * 43, bearer: str = "", **headers: str) -> Any:
            if bearer:
                headers["authorization"] = f"Bearer {bearer}"
            headers.setdefault("content-type", "application/json")
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            params = {"token": token} if token else {}
            return client.post("/api/spool", params=params, content=content, headers=headers)

        ask.client = client  # type: ignore[attr-defined]
        yield ask


def test_owners_and_tools_post_and_nobody_else(asked: Any, archive: Path) -> None:
    assert asked(LINE).status_code == 202
    assert asked(LINE, token="", bearer=OWNER).status_code == 202
    assert asked(LINE, token="", bearer="t" * 43).status_code == 202
    assert asked(LINE, token="", bearer=GUEST).status_code == 403
    assert asked(LINE, token="").status_code == 401
    refused = asked(LINE, token="u" * 43)
    assert refused.status_code == 401
    assert "take the address anew" in refused.json()["error"]
    assert len(lines_of(archive / ".safelight-spool")) == 3


def test_another_site_cannot_post(asked: Any, archive: Path) -> None:
    """Not even where it has found out the address."""
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"},
                    {"content-type": "text/plain"}, {"host": "evil.example"},
                    {"content-type": "application/x-www-form-urlencoded"}):  # fmt: skip
        assert asked(LINE, **headers).status_code in (400, 403, 421), headers
    assert not (archive / ".safelight-spool").exists()


def test_the_token_of_tools_lets_in_nowhere_else(asked: Any) -> None:
    client: TestClient = asked.client
    for path in ("/", "/api/pictures", "/api/spool", "/api/session", "/events", "/imports"):
        for options in ({"params": {"token": "t" * 43}},
                        {"headers": {"authorization": "Bearer " + "t" * 43}}):  # fmt: skip
            answer = client.get(path, follow_redirects=False, **options)
            assert answer.status_code in (401, 303, 429), path
    assert client.post("/login", data={"token": "t" * 43}).status_code != 303


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "SwarmUI posts {} where its field for data is empty"),
        ({"spool": 2, "tool": "x"}, "2"),
        ({"spool": 1, "tool": " "}, "tool must name what ran"),
        ({**LINE, "status": "done"}, "done"),
        ({**LINE, "seconds": -1}, "seconds must be 0 or more, got -1"),
        ({**LINE, "began": "noon"}, "began must be ISO 8601, got 'noon'"),
        ({"spool": 1, "tool": "x"}, "has neither"),
        ([LINE, {**LINE, "tool": 3}], "line 2: Expected `str`, got `int`"),
        ([], "one line or up to 1,000"),
        ([LINE] * 1001, "got 1,001"),
        ({**LINE, "outputs": [{"image": "data:image/png;base64,@@"}]}, "bytes in base64"),
        ({**LINE, "outputs": [{"image": "%image%"}]}, "EveryGenWebhook"),
        (b"{", "must be JSON"),
        (b"\xff", "UTF-8"),
        (b"[" * 100_000, "deep"),
        (b'{"spool":1,"tool":"x","outputs":[' + b"{}," * 500_000 + b"{}]}", "post it in several"),
    ],
)
def test_a_bad_line_is_told_what_is_wrong_and_keeps_nothing(
    asked: Any, archive: Path, body: Any, says: str
) -> None:
    answer = asked(body)
    assert answer.status_code == 400
    assert says in answer.json()["error"]
    assert not (archive / ".safelight-spool").exists()


def test_what_is_too_large_is_refused_before_it_is_read(asked: Any) -> None:
    answer = asked(LINE, **{"content-length": str(LARGEST_PICTURE + 1)})
    assert answer.status_code == 413


def test_lines_of_a_file_and_secrets(asked: Any, archive: Path) -> None:
    """A spool's file can be posted as it is; what is secret in it is not written."""
    line = {**LINE, "parameters": {"api_key": "sk-12345", "seed": 1}, "check": "00000000"}
    body = b"\n".join(json.dumps({**line, "id": name}).encode() for name in "ab")
    answer = asked(body, **{"content-type": "application/x-ndjson"})
    assert answer.json() == {"kept": ["a", "b"], "notes": []}
    kept = lines_of(archive / ".safelight-spool")
    assert [each["id"] for each in kept] == ["a", "b"]
    assert "sk-12345" not in json.dumps(kept)


@pytest.mark.parametrize("named", ["private.png", "../private.png", "sub/../../private.png"])
def test_no_file_outside_of_watched_folders_is_opened(
    asked: Any, tmp_path: Path, archive: Path, named: str
) -> None:
    """Whoever has the address could otherwise have any picture of the machine shown to guests."""
    watched, private = tmp_path / "watched", tmp_path / "private.png"
    watched.mkdir()
    private.write_bytes(png(1, text="a secret\nSteps: 20, Seed: 1, Size: 64x48"))
    own = archive / "images" / "drawn.png"
    own.parent.mkdir(parents=True)
    own.write_bytes(private.read_bytes())
    given = str(private) if named == private.name else f"{watched}/{named}"
    outputs = [{"path": given}, {"path": str(own)}, {"path": "relative.png"},
               {"image": f"http://localhost:7801/View/x/../../{named}"},
               {"image": f"file://{private}"}]  # fmt: skip
    line = {"spool": 1, "tool": "x", "outputs": outputs, "parameters": {"prompt": "a dog"}}
    asked.client.app.state.table.posted._watched = [str(watched)]
    notes = asked(line).json()["notes"]
    assert len(notes) == 5
    assert "below no folder that is watched" in notes[0]
    import_folders([watched, archive / ".safelight-spool"], Archive(archive))
    assert (len(runs(archive)), images(archive)) == (1, [])


def test_not_even_by_a_line_that_somebody_else_wrote_there(tmp_path: Path, archive: Path) -> None:
    """The archive's own spool may name what came with a line, and no other picture of it."""
    drawn = archive / "images" / "drawn.png"
    drawn.parent.mkdir(parents=True)
    drawn.write_bytes(png(1))
    Spool(archive / ".safelight-spool", "x").append(outputs=[drawn], parameters={"seed": 1})
    import_folders([archive / ".safelight-spool"], Archive(archive))
    assert images(archive) == []


def test_a_video_costs_itself_and_a_batch_has_no_seed(asked: Any, archive: Path) -> None:
    """SwarmUI tells all pictures of a batch the first one's seed."""
    values = {**VALUES, "batchsize": 2}
    line = filled(SWARMUI_TEMPLATE, Generation(values, frozenset({"batchsize"})), data_address(5))
    video = "data:video/mp4;base64," + base64.b64encode(b"\0\0\0\x18ftypmp42").decode()
    line["outputs"].append({"image": video})
    assert asked(line).json()["notes"] == ["video/mp4 is no kind of picture that is kept"]
    import_folders([archive / ".safelight-spool"], Archive(archive))
    (row,) = images(archive)
    assert (row["seed"], row["steps"], row["sampler"], row["vae"]) == (None, 20, None, None)
    assert row["stage"] == "txt2img"


def test_posts_from_many_at_once_are_all_kept(asked: Any, archive: Path) -> None:
    """SwarmUI has several backends, and posts from each."""
    answers: list[int] = []

    def post(number: int) -> None:
        answers.append(asked({**LINE, "id": f"n{number}"}).status_code)

    threads = [threading.Thread(target=post, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [202] * 12
    names = {line["id"] for line in lines_of(archive / ".safelight-spool")}
    assert names == {f"n{number}" for number in range(12)}


def test_a_full_disk_is_said_and_posting_again_counts_once(
    asked: Any, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr("safelight.spool.os.fsync", _no_space)
        answer = asked({**LINE, "id": "once"})
        assert answer.status_code == 503
        assert "post it again with the id once" in answer.json()["error"]
    assert asked({**LINE, "id": "once"}).status_code == 202
    import_folders([archive / ".safelight-spool"], Archive(archive))
    assert len(runs(archive)) == 1


def _no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_the_guide_says_what_the_page_says() -> None:
    guide = Path(__file__).parents[2].joinpath("docs", "integrations.md").read_text("utf-8")
    assert SWARMUI_TEMPLATE in guide.replace("   ", "")


def test_an_address_that_is_none_costs_itself(asked: Any, archive: Path) -> None:
    """A [ without a ] is no address to Python, which says so while it takes it apart."""
    line = {"spool": 1, "tool": "x", "outputs": [{"image": "http://[::1/View/x.png"}]}
    answer = asked([{**LINE, "id": "first"}, {**line, "id": "second"}])
    assert answer.json()["kept"] == ["first", "second"]
    assert "below no folder that is watched" in answer.json()["notes"][0]


@pytest.mark.parametrize("key", ["image", "path"])
def test_what_lets_somebody_in_at_an_address_is_not_told(
    asked: Any, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    address = "http://me:s3cr3t@box:7801/View/x.png?token=s3cr3t"
    answer = asked({"spool": 1, "tool": "x", "outputs": [{key: address}]})
    assert "http://box:7801/View/x.png is below no folder" in answer.json()["notes"][0]
    assert "s3cr3t" not in answer.text + caplog.text


def test_what_would_be_cut_is_refused(asked: Any, archive: Path) -> None:
    """Two ids of one beginning would be one execution, and a file too many is in no line."""
    for too_much, says in (
        ({**LINE, "id": "x" * 201}, "id may have 200 at most, got 201"),
        ({"spool": 1, "tool": "x", "outputs": [{"image": data_address(1)}] * 1001},
         "outputs may have 1,000 at most, got 1,001"),
    ):  # fmt: skip
        answer = asked(too_much)
        assert (answer.status_code, says in answer.json()["error"]) == (400, True)
    assert not archive.exists()


def test_a_picture_that_was_cut_short_is_not_taken_for_whole(asked: Any, archive: Path) -> None:
    line = {"spool": 1, "tool": "x", "status": "cancelled", "parameters": {"prompt": "x"},
            "outputs": [{"image": data_address(1), "cut_short": True},
                        {"image": data_address(2)}]}  # fmt: skip
    assert asked(line).status_code == 202
    import_folders([archive / ".safelight-spool"], Archive(archive))
    cut = Archive(archive).query("recorded('extra.cut short') = 'true'", limit=None)
    assert len(cut.rows) == 1


def test_pictures_of_one_line_do_not_wait_for_each_other(
    asked: Any, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a name of its own from the beginning: of a thousand, half a million were tried."""
    tried: list[Path] = []
    copy = durable_file.copy_new_file

    def counted(data: bytes, target: Path) -> Any:
        tried.append(target)
        return copy(data, target)

    monkeypatch.setattr("safelight.application.dropped_pictures.copy_new_file", counted)
    outputs = [{"image": data_address(seed)} for seed in range(20)]
    assert asked({"spool": 1, "tool": "x", "outputs": outputs}).status_code == 202
    assert len(tried) == 20


def test_of_several_lines_it_is_said_which_are_kept(
    asked: Any, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = iter([False, True])
    flush = os.fsync

    def flushed(handle: int) -> None:
        if stat.S_ISREG(os.fstat(handle).st_mode) and next(full):
            _no_space()
        flush(handle)

    monkeypatch.setattr("safelight.spool.os.fsync", flushed)
    answer = asked([{**LINE, "id": "one"}, {**LINE, "id": "two"}, {**LINE, "id": "three"}])
    assert answer.status_code == 503
    assert "line 2: " in answer.json()["error"]
    assert "the lines before it are kept: one" in answer.json()["error"]


def test_who_stops_in_the_middle_does_not_hold_up_the_others(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that falls asleep while it posts keeps its connection for hours."""
    monkeypatch.setattr("safelight.web.table.STALLED", 0.2)
    app = create_app(archive)
    app.state.table.posted._watch = lambda: None
    sleeps = threading.Event()
    answers: list[int] = []

    async def receive() -> dict[str, Any]:
        if not sleeps.is_set():
            sleeps.set()
            return {"type": "http.request", "body": b"{", "more_body": True}
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Any) -> None:
        answers.append(message.get("status", 0))

    with TestClient(app, base_url="http://127.0.0.1") as client:
        headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": "/api/spool", "raw_path": b"/api/spool",
                 "query_string": b"", "http_version": "1.1", "scheme": "http", "root_path": "",
                 "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1),
                 "headers": headers}  # fmt: skip
        assert client.portal is not None
        asleep = client.portal.start_task_soon(app, scope, receive, send)
        assert sleeps.wait(PATIENCE)
        assert client.post("/api/spool", json=LINE).status_code == 202
        asleep.result(PATIENCE)
    assert answers[0] == 408
