"""Servers of 2026: a list of jobs that can be cancelled by id, and hosts that keep files elsewhere.

The fakes answer as ComfyUI's server.py and Comfy Cloud's OpenAPI description say.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from backends.backend_contract import Steps, pixels
from backends.comfyui.comfyui_contract import ComfyuiContract
from backends.comfyui.fake_server import FakeComfyUI
from safelight.backends.comfyui import ComfyuiBackend
from safelight.backends.engine_server import EngineServer
from safelight.errors import BackendError, GenerationCancelled
from safelight.pipeline.backend import Generation, Txt2ImgRequest

FIELDS: dict[str, Any] = {"prompt": "a", "seed": 3, "steps": 2, "width": 64, "height": 64}
KEY = "canary-Qx3"


@pytest.fixture
def server() -> Iterator[FakeComfyUI]:
    with FakeComfyUI(jobs=True) as server:
        yield server


@pytest.fixture
def backend(server: FakeComfyUI) -> Iterator[ComfyuiBackend]:
    backend = ComfyuiBackend(url=server.url)
    yield backend
    backend.close()


def draw(backend: ComfyuiBackend, **changes: Any) -> Generation:
    return backend.generate(Txt2ImgRequest(**{**FIELDS, **changes}), Steps())


class TestComfyuiWithAJobList(ComfyuiContract):
    @pytest.fixture
    def backend(self, server: FakeComfyUI) -> Iterator[ComfyuiBackend]:
        backend = ComfyuiBackend(url=server.url)
        yield backend
        backend.close()

    @pytest.fixture
    def request_fields(self) -> dict[str, Any]:
        return FIELDS


def asked(server: FakeComfyUI, start: str) -> list[tuple[str, str]]:
    return [(method, path) for method, path in server.asked if path.startswith(start)]


def test_a_job_is_asked_for_in_one_question(server: FakeComfyUI, backend: ComfyuiBackend) -> None:
    """And found again by its name, without being posted twice."""
    first = draw(backend, job_id="run/0")
    assert not asked(server, "/history")
    assert not asked(server, "/queue")
    again = draw(backend, job_id="run/0")
    assert again.images[0].png == first.images[0].png
    assert len(server.posted) == 1


def test_a_waiting_job_is_found_by_its_name_though_the_list_leaves_out_its_graph(
    server: FakeComfyUI, backend: ComfyuiBackend
) -> None:
    """A request that is repeated while its job runs is not posted twice, nor is a lost answer's."""
    server.drop_answer_to.add("/prompt")
    go, running = threading.Event(), threading.Event()

    def hold(server: FakeComfyUI, step: int) -> None:
        running.set()
        go.wait(10)

    server.mid_step = hold
    request = Txt2ImgRequest(**FIELDS, job_id="run/0")
    thread = threading.Thread(target=lambda: backend.generate(request, Steps()))
    thread.start()
    assert running.wait(10)
    again = ComfyuiBackend(url=server.url)
    assert again.generate(request, lambda *_: go.set()).images
    thread.join(10)
    again.close()
    assert len(server.posted) == 1


@pytest.mark.parametrize("cancels", [True, False])
def test_a_stop_is_by_id_and_leaves_the_others(server: FakeComfyUI, cancels: bool) -> None:
    """At once where the server can, else as older servers do it."""
    server.cancels = cancels
    go, running = threading.Event(), threading.Event()

    def hold(server: FakeComfyUI, step: int) -> None:
        running.set()
        go.wait(10)

    server.mid_step = hold
    ours, theirs = (ComfyuiBackend(url=server.url) for _ in range(2))
    drawn: list[Generation] = []
    thread = threading.Thread(target=lambda: drawn.append(draw(theirs, seed=1)))
    thread.start()
    assert running.wait(10)
    with pytest.raises(GenerationCancelled):
        ours.generate(Txt2ImgRequest(**FIELDS), Steps(stop_after=1))
    assert server.queue()["queue_pending"] == []
    go.set()
    thread.join(10)
    assert len(drawn) == 1
    assert not asked(server, "/interrupt")
    ours.close()
    theirs.close()


def test_a_running_job_is_cancelled_and_not_interrupted(
    server: FakeComfyUI, backend: ComfyuiBackend
) -> None:
    """An interrupt could hit what began meanwhile."""
    go = threading.Event()
    cancel = server.cancel

    def cancelled(prompt_ids: list[str]) -> bool:
        assert prompt_ids == [server.posted[0]["prompt_id"]]
        done = cancel(prompt_ids)
        go.set()
        return done

    server.cancel = cancelled  # type: ignore[method-assign]
    server.mid_step = lambda server, step: go.wait(10) if step == 2 else None
    with pytest.raises(GenerationCancelled):
        backend.generate(Txt2ImgRequest(**FIELDS), Steps(stop_after=1))
    assert go.is_set()
    assert not asked(server, "/interrupt")


def test_how_a_job_ended_badly_is_told(server: FakeComfyUI, backend: ComfyuiBackend) -> None:
    """In the words of the history."""
    with pytest.raises(BackendError, match="ran out of memory"):
        draw(backend, width=8192, height=8192)
    server.mid_step = lambda server, step: server.interrupt(None)
    with pytest.raises(BackendError, match="interrupted on the server, and not by this run"):
        draw(backend)


# -- hosted ------------------------------------------------------------------------------


class Storage:
    """Where a hosted server keeps its files; remembers what it was asked with."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.status = 200
        self.moves = 0
        self.heard: list[str] = []
        storage = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                storage.heard.append(f"{self.path} {self.headers}")
                name = self.path[1:].partition("?")[0]
                storage.moves -= 1
                if storage.moves >= 0:
                    self.send_response(302)
                    self.send_header("Location", self.path)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                data = storage.files[name] if storage.status == 200 else b"signed=secret"
                self.send_response(storage.status)
                self.send_header("Content-Type", "image/png")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


def test_a_job_that_ends_while_it_is_looked_for_is_not_posted_again(
    server: FakeComfyUI, backend: ComfyuiBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ran when the list was asked, and was gone from the queue when that was asked."""
    (first,) = draw(backend, job_id="run-1").images
    told, late = server.job, [{"id": "", "status": "in_progress"}]
    monkeypatch.setattr(server, "job", lambda prompt_id: late.pop() if late else told(prompt_id))
    (second,) = draw(backend, job_id="run-1").images
    assert not late
    assert second.png == first.png
    assert len(server.posted) == 1


@pytest.fixture
def storage() -> Iterator[Storage]:
    storage = Storage()
    yield storage
    storage.close()


@pytest.fixture
def host(storage: Storage) -> Iterator[FakeComfyUI]:
    with FakeComfyUI(jobs=True, hosted=True, key=KEY, storage=storage.url) as host:
        host.files = storage.files
        yield host


@pytest.fixture
def hosted(host: FakeComfyUI) -> Iterator[ComfyuiBackend]:
    backend = ComfyuiBackend(url=f"{host.url}/api", headers={"X-API-Key": KEY})
    yield backend
    backend.close()


def test_a_hosted_server_is_drawn_on_by_its_key(
    host: FakeComfyUI, hosted: ComfyuiBackend, storage: Storage
) -> None:
    """All below /api, files elsewhere, progress beside: as Comfy Cloud documents itself."""
    shown = threading.Event()

    def on_step(step: int, steps: int, preview: bytes | None = None) -> None:
        if preview is not None:
            shown.set()

    host.mid_step = lambda server, step: step == 2 and shown.wait(10)
    (image,) = hosted.generate(Txt2ImgRequest(**FIELDS), on_step).images
    assert pixels(image.png).shape == (64, 64, 3)
    assert image.effective["seed"] == 3
    assert shown.is_set(), "the websocket is beside the API"
    assert "DPM++ 2M" in hosted.choices()["sampler"]
    assert "signed=secret" in storage.heard[0]


def test_secrets_stay_with_the_host_and_in_it(
    host: FakeComfyUI,
    hosted: ComfyuiBackend,
    storage: Storage,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Storage gets no key, no login and no cookie; nobody is told an address that is signed."""
    caplog.set_level(logging.INFO)
    draw(hosted)
    storage.status = 403
    with pytest.raises(BackendError, match=r"keeps its files refused /view \(403\)$") as caught:
        draw(hosted, seed=4)
    heard = "".join(storage.heard).lower()
    assert KEY.lower() not in heard
    assert "authorization" not in heard
    told = f"{caplog.text}{caught.value!r}{caught.value.__cause__!r}{hosted!r}"
    assert KEY not in told
    assert "signed=secret" not in told


def test_a_file_that_moves_for_ever_is_not_followed_for_ever(
    host: FakeComfyUI, hosted: ComfyuiBackend, storage: Storage
) -> None:
    """Three times, and then it is told."""
    storage.moves = 2
    assert draw(hosted).images
    storage.moves = 1000
    with pytest.raises(BackendError, match="sends /view on more than 3 times"):
        draw(hosted, seed=4)


@pytest.mark.parametrize(
    "place",
    ["http://storage.example/a.png", "file:///etc/passwd", "http://"],
)
def test_no_file_is_followed_out_of_https(place: str) -> None:
    """Nor to what is no address."""
    server = EngineServer("ComfyUI", "https://cloud.example/api")
    moved = httpx.MockTransport(lambda _: httpx.Response(302, headers={"location": place}))
    server._client = httpx.Client(base_url=server.url, transport=moved)
    with pytest.raises(BackendError, match="not followed: it must be https") as caught:
        server.get("/view", follow=True)
    assert "storage.example" not in str(caught.value)
    server.close()


def test_only_files_are_followed(host: FakeComfyUI, hosted: ComfyuiBackend) -> None:
    """What else is moved is a wrong address in the config."""
    host.canned["/api/system_stats"] = (302, "text/html", b"moved")
    with pytest.raises(BackendError, match="302"):
        hosted.describe()


def test_a_hosted_server_is_never_interrupted(host: FakeComfyUI, hosted: ComfyuiBackend) -> None:
    """There an interrupt stops whatever else the same account runs."""
    host.cancels = False
    go = threading.Event()
    host.mid_step = lambda server, step: go.wait(10)
    with pytest.raises(GenerationCancelled):
        hosted.generate(Txt2ImgRequest(**FIELDS), Steps(stop_after=1))
    go.set()
    assert asked(host, "/api/jobs/cancel")
    assert not asked(host, "/api/interrupt")
