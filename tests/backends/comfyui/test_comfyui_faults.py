"""What servers do wrong arrives as a sentence, and never as a picture that is not there."""

from __future__ import annotations

import io
import json
import logging
import signal
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from PIL import Image

from backends.backend_contract import Steps
from backends.comfyui.fake_server import FailedNode, FakeComfyUI, load_exchange
from backends.webui.replay_server import wait_for
from safelight.backends.comfyui import ComfyuiBackend, jobs, progress_socket
from safelight.backends.comfyui.bound_graph import BoundGraph, Place
from safelight.backends.comfyui.node_errors import execution_fault, refusal
from safelight.backends.engine_server import Answer
from safelight.config import PipelineConfig
from safelight.errors import (
    BackendError,
    BackendUnavailable,
    BackendUnreachable,
    GenerationCancelled,
)
from safelight.pipeline import PipelineRunner
from safelight.pipeline.backend import GeneratedImage, Txt2ImgRequest, UpscaleRequest
from safelight.pipeline.retry import RetryPolicy

FIELDS: dict[str, Any] = {"prompt": "a", "seed": 3, "steps": 2, "width": 64, "height": 64}
CANARY = "canary-Zq7"


@pytest.fixture
def server() -> Iterator[FakeComfyUI]:
    with FakeComfyUI() as server:
        yield server


@pytest.fixture
def backend(server: FakeComfyUI) -> Iterator[ComfyuiBackend]:
    backend = ComfyuiBackend(url=server.url)
    yield backend
    backend.close()


def draw(backend: ComfyuiBackend, **changes: Any) -> tuple[GeneratedImage, ...]:
    return backend.generate(Txt2ImgRequest(**{**FIELDS, **changes}), Steps()).images


def posts(server: FakeComfyUI) -> int:
    return server.asked.count(("POST", "/prompt"))


def test_a_server_that_is_not_there_is_unavailable() -> None:
    """With the next step."""
    backend = ComfyuiBackend(url="http://127.0.0.1:9")
    for ask in (backend.describe, backend.choices, lambda: draw(backend)):
        with pytest.raises(BackendUnavailable, match=r"127\.0\.0\.1:9.*start ComfyUI"):
            ask()
    backend.close()


def test_a_server_that_dies_while_it_draws_is_unavailable(
    server: FakeComfyUI, backend: ComfyuiBackend
) -> None:
    """Trying again may help, and the picture is one that was begun: it may be what kills it."""
    server.mid_step = lambda server, step: threading.Thread(target=server.kill).start()
    with pytest.raises(BackendUnavailable) as caught:
        draw(backend)
    assert not isinstance(caught.value, BackendUnreachable)
    with pytest.raises(BackendUnreachable):
        draw(backend)


def test_a_restarted_server_has_lost_the_job(server: FakeComfyUI, backend: ComfyuiBackend) -> None:
    """Neither in the queue nor in the history is lost, not done."""
    server.mid_step = lambda server, step: server.forget()
    with pytest.raises(BackendUnavailable, match="has lost the job"):
        draw(backend)


def test_a_lost_job_is_drawn_again_under_its_name(
    server: FakeComfyUI, backend: ComfyuiBackend
) -> None:
    """The id is free again."""
    server.mid_step = lambda server, step: server.forget()
    with pytest.raises(BackendUnavailable):
        draw(backend, job_id="run-0")
    server.mid_step = lambda server, step: None
    assert draw(backend, job_id="run-0")
    assert server.posted[0]["prompt_id"] == server.posted[1]["prompt_id"]


def test_a_post_whose_answer_is_lost_is_not_posted_twice(
    server: FakeComfyUI, backend: ComfyuiBackend
) -> None:
    """The id is ours, so the job is found."""
    server.drop_answer_to.add("/prompt")
    assert draw(backend, job_id="run-1")
    assert posts(server) == 1


@pytest.mark.parametrize("kind", ["jobs", "queue", "own ids"])
def test_a_stop_between_the_post_and_its_answer_leaves_no_job_behind(kind: str) -> None:
    """The job has its name before the server hears of it; ^C may come at any moment."""
    gone = threading.Event()

    def interrupt(server: FakeComfyUI) -> bool:
        threading.Thread(
            target=lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        ).start()
        return gone.wait(30)

    def step(server: FakeComfyUI, step: int) -> None:
        while not (server.stopped or server.running is None or server.running.interrupted):
            time.sleep(0.01)

    own_ids = kind == "own ids"
    with FakeComfyUI(
        jobs=kind == "jobs", own_ids=own_ids, taken=interrupt, mid_step=step
    ) as server:
        with closing(ComfyuiBackend(url=server.url)) as backend:
            with pytest.raises(KeyboardInterrupt):
                draw(backend, job_id="run-3")
            gone.set()
            wait_for(lambda: server.running is None and not server.pending)
        assert posts(server) == 1


@pytest.mark.parametrize("named", [True, False])
def test_a_server_that_gives_ids_of_its_own_is_asked_by_our_name(named: bool) -> None:
    """A lost answer has its id in it; what was posted with the job stands in the queue."""
    lost = iter([True])

    def lose(server: FakeComfyUI) -> bool:
        return next(lost, False)

    with FakeComfyUI(own_ids=True, taken=lose, mid_step=lambda *_: time.sleep(0.2)) as server:
        with closing(ComfyuiBackend(url=server.url)) as backend:
            assert draw(backend, job_id="run-4" if named else "")
        assert posts(server) == 1


def test_a_request_that_is_repeated_finds_its_finished_job(
    server: FakeComfyUI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that broke after the server was done costs no second drawing.

    Nor does it wait for messages: those about the job were sent long ago.
    """
    monkeypatch.setattr(jobs, "_UNASKED", 3600)
    with closing(ComfyuiBackend(url=server.url, timeout=5)) as backend:
        (first,) = draw(backend, job_id="run-2")
        (second,) = draw(backend, job_id="run-2")
    assert second.png == first.png
    assert posts(server) == 1


def test_a_job_that_fails_costs_the_pictures_of_no_other_job(server: FakeComfyUI) -> None:
    """A batch is several jobs; those that were drawn are recorded."""
    steps = iter(range(100))

    def fail(server: FakeComfyUI, step: int) -> None:
        if next(steps) >= 2 * FIELDS["steps"]:
            raise FailedNode("3", "KSampler", "OutOfMemoryError", "out of memory")

    server.mid_step = fail
    config = PipelineConfig.from_mapping({"txt2img": {**FIELDS, "batch_size": 4}})
    with closing(ComfyuiBackend(url=server.url)) as backend:
        result = PipelineRunner(backend).run(config)
    assert [image.output.seed for image in result.images] == [3, 4]
    assert "ran out of memory" in result.failures[0].error


class _ThreeTimes(dict[str, tuple[int, str, bytes]]):
    """Answers that are given three times together."""

    left = 3

    def get(self, path: str, default: Any = None) -> Any:
        self.left -= path in self
        return super().get(path, default) if self.left >= 0 else default


def test_a_run_that_lost_sight_of_its_job_finds_it(server: FakeComfyUI) -> None:
    """Whoever tries again asks for the same job: it was drawn while nobody could look."""
    server.canned = _ThreeTimes({"/view": (502, "text/plain", b"the proxy restarts")})
    config = PipelineConfig.from_mapping({"txt2img": FIELDS})
    with closing(ComfyuiBackend(url=server.url)) as backend:
        result = PipelineRunner(backend, retry=RetryPolicy(retries=1, first_wait=0.01)).run(config)
    assert (result.status, posts(server)) == ("completed", 1)


def test_a_job_of_the_same_name_that_failed_or_differs_is_not_taken(
    server: FakeComfyUI, backend: ComfyuiBackend
) -> None:
    """Another graph is another job, whatever it is called."""
    draw(backend, job_id="run-3")
    (image,) = draw(backend, job_id="run-3", steps=1)
    assert image.effective["steps"] == 1
    assert server.posted[0]["prompt_id"] != server.posted[1]["prompt_id"]


def test_a_job_that_never_ends_is_taken_back(server: FakeComfyUI) -> None:
    """And the message says how to allow more time."""
    go = threading.Event()
    server.mid_step = lambda server, step: go.wait(30)
    backend = ComfyuiBackend(url=server.url, timeout=0.3)
    threading.Timer(0.6, go.set).start()
    with pytest.raises(BackendUnavailable, match=r"within 0\.3 s.*timeout"):
        draw(backend)
    assert ("POST", "/interrupt") in server.asked
    backend.close()


def test_a_job_that_was_taken_back_is_not_waited_for_again(
    server: FakeComfyUI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends with its step, which may take minutes; whoever tries again draws anew."""
    again, submit = threading.Event(), server.submit

    def submitted(body: Any) -> Any:
        if server.posted:
            again.set()
        return submit(body)

    monkeypatch.setattr(server, "submit", submitted)
    server.mid_step = lambda server, step: again.wait(20)
    with closing(ComfyuiBackend(url=server.url, timeout=1.5)) as backend:
        with pytest.raises(jobs.JobTookTooLong):
            draw(backend, job_id="run-5")
        assert draw(backend, job_id="run-5")
    assert posts(server) == 2


@pytest.mark.parametrize(
    ("path", "canned", "message"),
    [
        ("/prompt", (500, "text/plain", b"500 Internal Server Error"), "500 Internal Server"),
        ("/prompt", (200, "text/html", b"<html>login</html>"), "HTML.*is that the ComfyUI API"),
        ("/prompt", (200, "application/json", b"{}"), "without a prompt_id"),
        ("/prompt", (400, "application/json", b"[1]"), "400"),
        ("/queue", (200, "application/json", b"{}"), "without a queue"),
        ("/object_info/CheckpointLoaderSimple", (200, "application/json", b"{}"), "no checkpoint"),
        ("/view", (200, "image/png", b""), "no PNG file"),
        ("/view", (200, "image/webp", b"RIFF" + b"x" * 60), "no PNG file"),
        ("/view", (404, "", b""), "is gone"),
    ],
)
def test_a_senseless_answer_is_an_error(
    server: FakeComfyUI,
    backend: ComfyuiBackend,
    path: str,
    canned: tuple[int, str, bytes],
    message: str,
) -> None:
    """Never a picture."""
    server.canned[path] = canned
    if path == "/queue":
        server.websocket = False
        server.mid_step = lambda server, step: threading.Event().wait(0.2)
    with pytest.raises(BackendError, match=message):
        draw(backend)


def test_a_picture_that_breaks_off_is_refused(server: FakeComfyUI, backend: ComfyuiBackend) -> None:
    """A proxy may cut it and say nothing."""
    server.png = lambda png: png[: len(png) // 2]
    with pytest.raises(BackendError, match="breaks off"):
        draw(backend)


def test_a_picture_of_another_size_is_told(server: FakeComfyUI, backend: ComfyuiBackend) -> None:
    """What the file is, is what the record says."""

    def halved(png: bytes) -> bytes:
        with Image.open(io.BytesIO(png)) as picture:
            buffer = io.BytesIO()
            picture.resize((picture.width // 2, picture.height // 2)).save(buffer, "PNG")
        return buffer.getvalue()

    server.png = halved
    (image,) = draw(backend)
    assert (image.effective["width"], image.effective["height"]) == (32, 32)
    request = UpscaleRequest(init_image=image.png, scale=3)
    (larger,) = backend.generate(request, Steps()).images
    assert larger.effective["scale"] == 1.5


def test_a_job_without_pictures_is_an_error(server: FakeComfyUI, backend: ComfyuiBackend) -> None:
    """From the cache, too, with what to do."""
    draw(backend)
    server.cache_outputs = False
    with pytest.raises(BackendError, match="served from the cache; change the seed"):
        draw(backend)


def test_a_cached_picture_that_was_deleted_is_told(
    server: FakeComfyUI, backend: ComfyuiBackend
) -> None:
    """The server repeats the name of a file that is gone."""
    draw(backend)
    server.files.clear()
    with pytest.raises(BackendError, match="has been deleted; POST /free"):
        draw(backend)


def test_a_damaged_input_on_the_server_names_the_node(
    server: FakeComfyUI, backend: ComfyuiBackend
) -> None:
    """As it was recorded."""
    (given,) = draw(backend)
    server.inputs = _Forgetful()
    with pytest.raises(BackendError, match=r"node 14 \(LoadImage\) failed: PIL.Unidentified"):
        backend.generate(UpscaleRequest(init_image=given.png, scale=2), Steps())


class _Forgetful(dict[str, bytes]):
    def __setitem__(self, name: str, data: bytes) -> None:
        """Keep nothing."""


def test_a_full_memory_is_told_with_what_to_do(backend: ComfyuiBackend) -> None:
    """Not with a traceback."""
    with pytest.raises(BackendError, match="ran out of memory.*smaller picture"):
        draw(backend, width=8192, height=8192)


def test_a_websocket_that_breaks_costs_only_progress(
    server: FakeComfyUI, backend: ComfyuiBackend
) -> None:
    """The history is the truth."""
    server.mid_step = lambda server, step: server.close_sockets()
    assert draw(backend)


def test_a_picture_costs_five_questions_and_no_connection(
    server: FakeComfyUI, backend: ComfyuiBackend
) -> None:
    """Of a tiny picture they are most of the time; a socket that breaks is opened again."""
    draw(backend, job_id="run-1")
    before = len(server.asked)
    draw(backend, job_id="run-2", seed=9)
    asked = [f"{method} /{path.split('/')[1]}" for method, path in server.asked[before:]]
    drawing = [question for question in asked if "object_info" not in question]
    assert drawing == ["GET /queue", "GET /history", "POST /prompt", "GET /history", "GET /view"]
    server.close_sockets()
    for seed in range(10, 30):  # that it is closed may arrive while a picture is drawn
        draw(backend, job_id=f"run-{seed}", seed=seed)
        if [path for _, path in server.asked].count("/ws") == 2:
            break
    else:
        pytest.fail("the socket is not opened again")


def test_a_second_client_with_our_id_costs_only_progress(server: FakeComfyUI) -> None:
    """It gets our messages; the picture is ours all the same."""
    backend = ComfyuiBackend(url=server.url)
    other = ComfyuiBackend(url=server.url)
    other._client_id = other._socket._client_id = backend._client_id

    def take_over(server: FakeComfyUI, step: int) -> None:
        server.mid_step = lambda server, step: None
        thread = threading.Thread(target=draw, args=(other,), kwargs={"seed": 99})
        thread.start()
        threads.append(thread)

    threads: list[threading.Thread] = []
    server.mid_step = take_over
    assert draw(backend)
    for thread in threads:
        thread.join(10)
    backend.close()
    other.close()


def test_a_stop_interrupts_our_running_job(server: FakeComfyUI, backend: ComfyuiBackend) -> None:
    """By its id: an interrupt without one would stop whoever runs."""
    go = threading.Event()
    interrupt = server.interrupt

    def interrupted(prompt_id: str | None) -> None:
        assert prompt_id == server.posted[0]["prompt_id"]
        interrupt(prompt_id)
        go.set()

    server.interrupt = interrupted  # type: ignore[method-assign]
    server.mid_step = lambda server, step: go.wait(10) if step == 2 else None
    with pytest.raises(GenerationCancelled):
        backend.generate(Txt2ImgRequest(**FIELDS), Steps(stop_after=1))
    assert go.is_set()
    assert server.queue() == {"queue_running": [], "queue_pending": []}


def test_a_stop_takes_our_waiting_job_out_and_leaves_the_others(server: FakeComfyUI) -> None:
    """Another client's job runs on, and so does the one behind it."""
    go, running = threading.Event(), threading.Event()

    def hold(server: FakeComfyUI, step: int) -> None:
        running.set()
        go.wait(10)

    server.mid_step = hold
    ours, theirs = (ComfyuiBackend(url=server.url) for _ in range(2))
    drawn: list[tuple[GeneratedImage, ...]] = []
    thread = threading.Thread(target=lambda: drawn.append(draw(theirs, seed=1)))
    thread.start()
    assert running.wait(10)
    with pytest.raises(GenerationCancelled):
        ours.generate(Txt2ImgRequest(**FIELDS), Steps(stop_after=1))
    assert server.queue()["queue_pending"] == []
    assert ("POST", "/interrupt") not in server.asked
    go.set()
    thread.join(10)
    assert len(drawn) == 1
    ours.close()
    theirs.close()


def test_an_interrupt_by_somebody_else_is_told(
    server: FakeComfyUI, backend: ComfyuiBackend
) -> None:
    """It is not our stop."""
    server.mid_step = lambda server, step: server.interrupt(None)
    with pytest.raises(BackendError, match="interrupted on the server, and not by this run"):
        draw(backend)


def test_a_partly_valid_graph_is_refused_and_taken_back(
    server: FakeComfyUI, backend: ComfyuiBackend
) -> None:
    """The server answers 200 and draws the good half."""
    submit = server.submit

    def in_part(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        status, answer = submit(body)
        (exchange, *_) = load_exchange("partially_invalid_two_outputs")
        return status, {**answer, "node_errors": exchange["response"]["json"]["node_errors"]}

    server.submit = in_part  # type: ignore[method-assign,assignment]
    with pytest.raises(BackendError, match=r"only in part: node 18 \(VAEDecode\) vae"):
        draw(backend)


def bound(places: dict[str, tuple[str, str, Any, Any]]) -> BoundGraph:
    (exchange, *_) = load_exchange("err_bad_sampler")
    return BoundGraph(
        stage="txt2img",
        nodes=exchange["request"]["json"]["prompt"],
        output="9",
        places={
            knob: (Place(node=node, input=name, native=native, value=value),)
            for knob, (node, name, native, value) in places.items()
        },
    )


def listed(kind: str, name: str) -> tuple[str, ...]:
    return {"sampler_name": ("euler", "heun"), "scheduler": ("normal", "karras")}.get(name, ())


@pytest.mark.parametrize(
    ("recording", "places", "message"),
    [
        (
            "err_bad_sampler",
            {"sampler": ("3", "sampler_name", "nosuch", "No Such")},
            "txt2img.sampler: the server has no 'No Such'; it has: Euler, Heun",
        ),
        (
            "err_bad_scheduler",
            {"scheduler": ("3", "scheduler", "nosuch", "nosuch")},
            "txt2img.scheduler: the server has no 'nosuch'; it has: Automatic, Normal",
        ),
        ("err_bad_checkpoint", {}, "node 4 (CheckpointLoaderSimple) ckpt_name: the server has no"),
        (
            "err_width_below_min",
            {"width": ("5", "width", 8, 8)},
            "txt2img.width: Value 8 smaller than min of 16",
        ),
        ("err_steps_not_int", {"steps": ("3", "steps", "abc", "abc")}, "txt2img.steps: Failed to"),
        ("err_missing_input", {}, "node 3 (KSampler) cfg: Required input is missing"),
        ("err_unknown_node", {}, "node NoSuchNode does not exist. Node ID '#3'; install the"),
        ("err_loadimage_missing", {}, "Invalid image file: nosuch.png"),
        ("err_no_outputs", {}, "Prompt has no outputs"),
        ("err_type_mismatch", {}, "received_type(CLIP) mismatch input_type(MODEL)"),
        ("err_dangling_link", {}, "node 3 (KSampler)"),
    ],
)
def test_recorded_refusals_are_told_in_our_knobs(
    recording: str, places: dict[str, tuple[str, str, Any, Any]], message: str
) -> None:
    """Word for word as ComfyUI 0.3.75 sent them."""
    import json

    response = load_exchange(recording)[0]["response"]
    content = json.dumps(response["json"]).encode()
    answer = Answer(path="/prompt", status=response["status"], content=content)
    assert message in str(refusal(answer, bound(places), listed))


@pytest.mark.parametrize(
    ("recording", "message"),
    [
        ("exec_error_corrupt_image", "node 10 (LoadImage) failed: PIL.UnidentifiedImageError"),
        ("interrupt_by_prompt_id", "interrupted"),
        ("txt2img_cached_identical", None),
    ],
)
def test_recorded_ends_are_told_apart(recording: str, message: str | None) -> None:
    """status_str is error for a job that was interrupted, too."""
    (entry,) = next(
        exchange["response"]["json"].values()
        for exchange in load_exchange(recording)
        if exchange["request"]["path"].startswith("/history")
    )
    fault = execution_fault(entry["status"]["messages"])
    assert (message in fault) if message and fault else fault is message


@pytest.mark.parametrize("place", ["options", "url"])
def test_a_login_is_sent_and_never_told(
    server: FakeComfyUI, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    """Not in errors, not in descriptions, not in logs, in no encoding."""
    import base64

    caplog.set_level(logging.DEBUG)
    server.login = f"me:{CANARY}"
    url = server.url.replace("//", f"//me:{CANARY}@") if place == "url" else server.url
    options: dict[str, Any] = {"user": "me", "password": CANARY} if place == "options" else {}
    backend = ComfyuiBackend(url=url, **options)
    texts = [repr(backend), repr(backend._login), repr(backend.describe())]
    assert draw(backend)
    assert server.asked[-1][1] == "/view"
    server.login = "me:other"
    with pytest.raises(BackendError, match="401") as caught:
        draw(backend)
    texts += [str(caught.value), repr(caught.value.__cause__), caplog.text]
    encoded = base64.b64encode(f"me:{CANARY}".encode()).decode()
    assert not [text for text in texts if CANARY in text or encoded in text]
    backend.close()


def test_an_uploaded_picture_that_is_refused_is_told(
    server: FakeComfyUI, backend: ComfyuiBackend
) -> None:
    """A full disk, a folder that is not writable."""
    (given,) = draw(backend)
    server.canned["/upload/image"] = (400, "text/plain", b"no space")
    with pytest.raises(BackendError, match="/upload/image"):
        backend.generate(UpscaleRequest(init_image=given.png, scale=2), Steps())


def test_a_broken_preview_is_left_out(server: FakeComfyUI, backend: ComfyuiBackend) -> None:
    """The picture does not depend on it."""
    send = server._send_frame

    def broken(client_id: str, opcode: int, payload: bytes) -> None:
        send(client_id, opcode, struct.pack(">II", 1, 1) + b"\xff\xd8" if opcode == 2 else payload)

    server._send_frame = broken  # type: ignore[method-assign]
    steps = Steps()
    assert backend.generate(Txt2ImgRequest(**FIELDS), steps).images
    assert steps.previews == []


def test_messages_that_nobody_asks_for_are_kept_in_bounds_and_the_ends_of_jobs_kept() -> None:
    """Packs send what a machine does to all who listen, day and night; previews are large."""
    messages: list[str | bytes] = [json.dumps({"type": "executing", "data": {
        "node": "3", "prompt_id": "ours"}})]  # fmt: skip
    jpeg = struct.pack(">II", 1, 1) + b"\xff\xd8" + bytes(100_000)
    for number in range(20_000):
        about = {"prompt_id": "ours", "node": f"{number % 5000}", "value": number}
        messages += [json.dumps({"type": "progress", "data": about}), jpeg]
        messages.append(json.dumps({"type": "crystools.monitor", "data": {"ram": number}}))
        if number % 2_000 == 0:
            over = {"node": None, "prompt_id": f"job {number}"}
            messages.append(json.dumps({"type": "executing", "data": over}))
    given = iter(messages)
    inbox = progress_socket._Inbox(lambda: next(given))
    wait_for(lambda: inbox.over)
    kept = []
    while (event := inbox.next(0)) is not None:
        kept.append(event)
    assert len(kept) <= 1000
    assert sum(event.preview is not None for event in kept) <= 1
    assert [event.prompt_id for event in kept if event.ended] == [
        f"job {number}" for number in range(0, 20_000, 2_000)
    ]
    steps = [event.value for event in kept if not event.ended and event.preview is None]
    assert steps == sorted(steps)
    assert steps[-1] == 19_999
