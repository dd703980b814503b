"""Progress, cancelling, and the servers' lanes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from backends.backend_contract import Steps, pixels
from backends.webui.replay_server import (
    Handler,
    ReplayServer,
    drop,
    html,
    refuse,
    reply,
    silence,
    truncated,
    wait_for,
)
from safelight.backends.webui import WebuiBackend
from safelight.errors import (
    BackendError,
    BackendUnavailable,
    BackendUnreachable,
    GenerationCancelled,
)
from safelight.pipeline.backend import Img2ImgRequest, Txt2ImgRequest, UpscaleRequest

Serve = Callable[..., ReplayServer]
Connect = Callable[..., WebuiBackend]

FOX = Txt2ImgRequest(prompt="a red fox", seed=3, steps=20, width=64, height=64)


class Doing(Steps):
    """Does something at the first step."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self._act = act
        self.threads: set[int] = set()

    def __call__(self, step: int, steps: int, preview: bytes | None = None) -> None:
        super().__call__(step, steps, preview)
        self.threads.add(threading.get_ident())
        if len(self.seen) == 1:
            self._act()


@pytest.mark.parametrize("dialect", ["forge", "sdnext"])
def test_steps_and_previews_come_while_it_draws_in_the_callers_thread(
    serve: Serve, connect: Connect, dialect: str
) -> None:
    """A progress bar that moves, drawn by whoever asked for the picture."""
    server = serve(dialect)
    server.polls, server.previews = 3, True
    steps = Doing(lambda: None)
    connect(server).generate(FOX, steps)
    assert len(steps.seen) >= 3
    assert steps.seen[0][0] < steps.seen[-1][0] == steps.seen[-1][1] == 20
    assert steps.threads == {threading.get_ident()}
    assert steps.previews
    for preview in steps.previews:
        assert pixels(preview).shape == (16, 16, 3)


def test_previews_can_be_left_out(serve: Serve, connect: Connect) -> None:
    """They cost the server work."""
    server = serve("forge")
    server.polls, server.previews = 2, True
    steps = Steps()
    connect(server, previews=False).generate(FOX, steps)
    assert len(steps.seen) >= 2
    assert not steps.previews


def test_a_cancelled_job_is_interrupted_and_its_picture_thrown_away(
    serve: Serve, connect: Connect
) -> None:
    """It comes back with 200, half-done, and an infotext that says otherwise."""
    server = serve("forge")
    backend = connect(server)
    server.polls = 1000
    with pytest.raises(GenerationCancelled) as stop:
        backend.generate(FOX, Steps(stop_after=1))
    assert server.interrupts == 1
    assert "was interrupted" in stop.value.__notes__[0]
    server.polls = 0
    assert backend.generate(FOX, Steps()).images


@pytest.mark.parametrize("tasks", [None, {}])
def test_another_clients_job_is_never_interrupted(
    serve: Serve, connect: Connect, tasks: dict[str, str] | None
) -> None:
    """Ours waits behind it; to interrupt is global there."""
    server = serve("forge")
    server.tasks = tasks
    backend = connect(server, timeout=0.8)
    server._one_at_a_time.acquire()
    server.begin_someone_elses()
    steps = Steps()
    with pytest.raises(BackendUnavailable, match="timeout = 0.8 s.*was not interrupted"):
        backend.generate(FOX, steps)
    assert server.interrupts == 0
    assert steps.seen == [], "the other's steps are not ours"
    server._one_at_a_time.release()


def test_a_task_id_tells_when_ours_has_its_turn(serve: Serve, connect: Connect) -> None:
    """Where the server keeps a queue by name, ours is known although another ran before."""
    server = serve("forge")
    server.tasks, server.polls = {}, 1000
    backend = connect(server)
    server._one_at_a_time.acquire()
    server.begin_someone_elses()

    def let_ours_run() -> None:
        wait_for(lambda: bool(server.posts))
        server._one_at_a_time.release()

    threading.Thread(target=let_ours_run).start()
    with pytest.raises(GenerationCancelled):
        backend.generate(FOX, Steps(stop_after=1))
    assert server.interrupts == 1


def test_a_job_that_another_client_interrupts_is_no_picture(serve: Serve, connect: Connect) -> None:
    """Nothing in the answer marks it; progress does."""
    server = serve("forge")
    server.polls = 1000
    with pytest.raises(BackendUnavailable, match="another client interrupted"):
        connect(server).generate(FOX, Doing(server.interrupt))


def test_sd_server_cannot_be_interrupted_and_says_so(serve: Serve, connect: Connect) -> None:
    """Its one step is reported at the end."""
    server = serve("sdcpp")
    steps = Steps()
    connect(server).generate(FOX, steps)
    assert steps.seen == [(20, 20)]
    assert "POST /sdapi/v1/interrupt" not in server.asked
    slow = serve("sdcpp")
    slow.seconds = 60
    with pytest.raises(BackendUnavailable, match="cannot be interrupted"):
        connect(slow, timeout=0.3).generate(FOX, Steps())


def test_a_job_over_its_time_is_interrupted(serve: Serve, connect: Connect) -> None:
    """Nobody waits for it any more; the message names the option."""
    server = serve("forge")
    server.polls = 1000
    with pytest.raises(BackendUnavailable, match=r"timeout = 0\.6 s.*was interrupted"):
        connect(server, timeout=0.6).generate(FOX, Steps())
    assert server.interrupts == 1


def test_a_server_killed_in_the_middle_is_told_as_such(serve: Serve, connect: Connect) -> None:
    """What is known of the job is in the message, and the POST is not repeated."""
    server = serve("forge")
    server.polls = 1000
    with pytest.raises(BackendUnavailable, match="does not answer at all") as caught:
        connect(server).generate(FOX, Doing(server.kill))
    assert not isinstance(caught.value, BackendUnreachable), "the picture may be what killed it"
    assert len(server.posts) == 1


def test_a_server_restarted_in_the_middle_is_told_as_such(serve: Serve, connect: Connect) -> None:
    """It is back, knows nothing of the job, and the engine draws on."""
    server = serve("forge")
    server.polls = 1000
    backend = connect(server)
    with pytest.raises(BackendUnavailable, match="draws nothing, so the job is gone"):
        backend.generate(FOX, Doing(server.restart))
    assert len(server.posts) == 1
    server.polls = 0
    assert backend.generate(FOX, Steps()).images


def test_a_dropped_connection_does_not_stop_the_job_and_is_not_repeated(
    serve: Serve, connect: Connect
) -> None:
    """A1111 draws on after its client has gone."""

    def drop_and_draw_on(handler: Handler) -> None:
        handler.server.replay.begin_someone_elses()
        drop(handler)

    server = serve("forge")
    server.script["txt2img"] = [drop_and_draw_on]
    with pytest.raises(BackendUnavailable, match=r"still draws \(step .* of 30\)"):
        connect(server).generate(FOX, Steps())
    assert len(server.posts) == 1
    assert server.interrupts == 0


@pytest.mark.parametrize(
    ("task", "said", "interrupts"),
    [
        ("active", "it drew on, and .* cannot be fetched.*was interrupted", 1),
        ("queued", "waits in its queue and will be drawn", 0),
        ("completed", "has finished the job, but gave its picture out in the lost answer only", 0),
    ],
)
def test_of_a_lost_answer_a_task_id_tells_what_became_of_the_job(
    serve: Serve, connect: Connect, task: str, said: str, interrupts: int
) -> None:
    """Nothing gives the picture out again; one that is drawn in vain is not waited for."""

    def lose(handler: Handler) -> None:
        replay = handler.server.replay
        replay.begin_someone_elses()  # which is ours, by its id
        replay.tasks = {replay.posts[-1][1]["force_task_id"]: task}
        drop(handler)

    server = serve("forge")
    server.tasks = {}
    server.script["txt2img"] = [lose]
    with pytest.raises(BackendUnavailable, match=said):
        connect(server).generate(FOX, Steps())
    assert (len(server.posts), server.interrupts) == (1, interrupts)


def corrupt(images: list[str]) -> Callable[[Handler], None]:
    return reply(200, {"images": images, "info": "{}", "parameters": {}})


BROKEN_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAA"

FAULTS: list[tuple[str, Callable[[Handler], None], type[BackendError], str]] = [
    ("forge", reply(401, {"detail": "Not authenticated"}), BackendError, "user name or password"),
    ("forge", reply(404, {"detail": "Not Found"}), BackendError, "--api"),
    ("forge", refuse("txt2img_cfg_str"), BackendError, "cfg_scale: .*valid number.*'x'"),
    ("forge", refuse("txt2img_steps_zero"), BackendError, "ZeroDivisionError"),
    ("forge", refuse("hires_latent"), BackendError, "TypeError"),
    ("forge", refuse("hires_bad_upscaler"), BackendError, "hires_upscaler"),
    ("forge", refuse("txt2img_override_bad_key"), BackendError, "KeyError: 'no_such_option'"),
    ("sdnext", refuse("txt2img_bad_sampler"), BackendError, "set sampler"),
    ("sdnext", refuse("img2img_no_init"), BackendError, "Init image is none"),
    ("sdcpp", refuse("hires_bad"), BackendError, "invalid params"),
    ("sdcpp", refuse("txt2img_width_str"), BackendError, "must be number"),
    ("forge", reply(500, b"oops", "text/plain"), BackendError, "oops"),
    ("forge", reply(503, {"detail": "loading"}), BackendUnavailable, "starting"),
    ("forge", html(200), BackendError, "HTML"),
    ("forge", html(502), BackendUnavailable, "HTML"),
    ("forge", truncated, BackendUnavailable, "broke off"),
    ("forge", drop, BackendUnavailable, "draws nothing"),
    ("sdcpp", drop, BackendUnavailable, "may still be drawing"),
    ("forge", reply(200, [1]), BackendError, "without images"),
    ("forge", reply(200, {"images": None}), BackendError, "without images"),
    ("forge", corrupt(["%%%"]), BackendError, "base64"),
    ("forge", corrupt([BROKEN_PNG]), BackendError, "breaks off"),
    ("forge", corrupt(["aGVsbG8="]), BackendError, "no picture"),
    ("sdnext", corrupt([]), BackendUnavailable, "still loading"),
    ("sdnext", refuse("img2img_denoise_2"), BackendError, "skipped"),
]


@pytest.mark.parametrize(
    ("dialect", "fault", "kind", "message"), FAULTS, ids=[f"{i}" for i in range(len(FAULTS))]
)
def test_every_fault_is_told_in_a_sentence(
    serve: Serve,
    connect: Connect,
    dialect: str,
    fault: Callable[[Handler], None],
    kind: type[BackendError],
    message: str,
) -> None:
    """Which server, what it said, and whether trying again may help; then it draws on."""
    server = serve(dialect)
    server.script["txt2img"] = [fault]
    backend = connect(server)
    with pytest.raises(BackendError, match=message) as caught:
        backend.generate(FOX, Steps())
    assert isinstance(caught.value, BackendUnavailable) == (kind is BackendUnavailable)
    assert server.url in str(caught.value)
    assert len(server.posts) == 1
    assert backend.generate(FOX, Steps()).images


def test_fewer_pictures_than_asked_for_are_refused_and_more_are_told(
    serve: Serve, connect: Connect
) -> None:
    """A batch of two is two pictures."""
    server = serve("forge")
    server.tweak = lambda answer: answer["images"].pop()
    two = Txt2ImgRequest(prompt="a fox", batch_size=2, steps=1)
    with pytest.raises(BackendError, match="1 of 2"):
        connect(server).generate(two, Steps())
    server.tweak = lambda answer: answer["images"].append(answer["images"][0])
    generation = connect(server).generate(two, Steps())
    assert len(generation.images) == 2
    assert any("3 pictures" in w for w in generation.warnings)


def test_nobody_at_home_is_unavailable_and_says_what_to_do(connect: Connect, serve: Serve) -> None:
    """Before the first question, and for each of them."""
    server = serve("forge")
    server.kill()
    backend = connect(server)
    for ask in (backend.describe, backend.choices, lambda: backend.generate(FOX, Steps())):
        with pytest.raises(BackendUnavailable, match="start it with --api"):
            ask()


def test_a_server_without_the_interface_is_told(serve: Serve, connect: Connect) -> None:
    """AUTOMATIC1111 without --api serves its page and nothing else."""
    server = serve("forge")
    server.script["samplers"] = [reply(404, {"detail": "Not Found"})]
    with pytest.raises(BackendError, match="--api") as caught:
        connect(server).choices()
    assert not isinstance(caught.value, BackendUnavailable)
    server.script["samplers"] = [html(200)]
    with pytest.raises(BackendError, match="HTML"):
        connect(server).choices()


def test_a_server_that_hangs_on_a_question_is_unavailable(serve: Serve, connect: Connect) -> None:
    """Progress before the job: nothing was posted, so nothing runs."""
    server = serve("sdcpp")
    server.script["txt2img"] = [silence]
    with pytest.raises(BackendUnavailable, match="timeout = 0.3 s"):
        connect(server, timeout=0.3).generate(FOX, Steps())


SECRET = "hunter2-canary"


def test_no_credential_is_ever_told(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in errors, their causes, repr, describe, choices or logs, wherever it was given."""
    caplog.set_level("DEBUG")
    server = serve("forge", login=("alice", SECRET))
    host = server.url.removeprefix("http://")
    good = [
        WebuiBackend(url=server.url, user="alice", password=SECRET),
        WebuiBackend(url=f"http://alice:{SECRET}@{host}"),
    ]
    texts: list[str] = []
    for backend in good:
        assert backend.generate(FOX, Steps()).images
        texts += [repr(backend), repr(backend.describe()), repr(backend.choices())]
        server.script["txt2img"] = [html(500)]
        with pytest.raises(BackendError) as caught:
            backend.generate(FOX, Steps())
        texts += _everything(caught.value)
    bad = WebuiBackend(url=server.url, user="alice", password=f"{SECRET}-wrong")
    with pytest.raises(BackendError, match="user name or password") as caught:
        bad.generate(FOX, Steps())
    texts += _everything(caught.value)
    server.kill()
    for backend in (*good, bad):
        with pytest.raises(BackendUnavailable) as caught:
            backend.generate(FOX, Steps())
        texts += _everything(caught.value)
        backend.close()
    with pytest.raises(BackendError) as caught:
        WebuiBackend(url=f"ftp://alice:{SECRET}@{host}")
    texts += [*_everything(caught.value), caplog.text]
    assert SECRET not in "\n".join(texts)


def _everything(error: BaseException | None) -> list[str]:
    texts = []
    while error is not None:
        texts += [str(error), repr(error), *getattr(error, "__notes__", [])]
        error = error.__cause__ or error.__context__
    return texts


@pytest.mark.parametrize(
    "options",
    [
        {"url": "localhost:7860"},
        {"urls": "http://a:1"},
        {"urls": [1]},
        {"timeout": 0},
        {"timeout": "10"},
        {"timeout": float("nan")},
        {"previews": 1},
        {"verify": "/no/such/file"},
        {"verify": 3},
        {"password": 3},
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_asked(options: dict[str, Any]) -> None:
    """By name."""
    with pytest.raises(BackendError, match=next(iter(options))):
        WebuiBackend(**options)


def test_several_servers_draw_at_the_same_time(serve: Serve, connect: Connect) -> None:
    """Each gets one request at a time, from whatever thread."""
    servers = [serve("forge"), serve("forge")]
    backend = connect(*servers)
    assert backend.lanes == 2
    together = threading.Barrier(2, timeout=60)
    for server in servers:
        server.tweak = lambda answer: (together.wait(), None)[1]
    requests = [Txt2ImgRequest(prompt="a fox", seed=n, steps=1) for n in range(6)]
    with ThreadPoolExecutor(2) as pool:
        drawn = list(pool.map(lambda request: backend.generate(request, Steps()), requests))
    assert [d.images[0].effective["seed"] for d in drawn] == list(range(6))
    assert [len(server.posts) for server in servers] == [3, 3]


def test_a_server_that_is_gone_is_set_aside_and_its_job_goes_elsewhere(
    serve: Serve, connect: Connect
) -> None:
    """It was not begun there, so drawing it elsewhere is no repetition."""
    gone, here = serve("forge"), serve("forge")
    backend = connect(gone, here)
    backend.generate(FOX, Steps())
    gone.kill()
    for _ in range(3):
        assert backend.generate(FOX, Steps()).images
    assert len(here.posts) == 3
    assert backend.describe().environment["servers"] == [here.url]
    here.kill()
    with pytest.raises(BackendUnreachable):  # nobody listens: a run waits for it
        backend.generate(FOX, Steps())


def test_a_job_that_may_have_begun_is_not_repeated_elsewhere(
    serve: Serve, connect: Connect
) -> None:
    """The caller decides; it may be half-drawn there."""
    first, second = serve("forge"), serve("forge")
    first.script["txt2img"] = [drop]
    with pytest.raises(BackendUnavailable):
        connect(first, second).generate(FOX, Steps())
    assert second.posts == []
    first.script["txt2img"] = [reply(503, {"detail": "loading"})]
    assert connect(first, second).generate(FOX, Steps()).images
    assert len(second.posts) == 1


def test_choices_are_what_every_server_has(serve: Serve, connect: Connect) -> None:
    """A name that is offered can be drawn wherever the request ends up."""
    backend = connect(serve("forge"), serve("sdcpp"))
    choices = backend.choices()
    assert "Euler a" in choices["sampler"]
    assert "UniPC" not in choices["sampler"], "sd-server has none"
    assert choices["upscaler"] == ("Lanczos",)
    assert "vae" not in choices, "sd-server cannot choose one"
    assert backend.describe().environment["dialect"] == ["forge", "sdcpp"]


def test_every_stage_is_one_post(serve: Serve, connect: Connect) -> None:
    """And nothing is asked twice: lists once, progress once before and once after."""
    server = serve("forge")
    backend = connect(server)
    drawn = backend.generate(FOX, Steps()).images[0].png
    server.asked.clear()
    backend.generate(Img2ImgRequest(prompt="a", init_image=drawn, steps=2), Steps())
    backend.generate(UpscaleRequest(init_image=drawn), Steps())
    posts = [asked for asked in server.asked if asked.startswith("POST")]
    assert posts == ["POST /sdapi/v1/img2img", "POST /sdapi/v1/extra-single-image"]
    assert set(server.asked) - set(posts) == {"GET /sdapi/v1/progress"}
    assert json.loads(json.dumps(dict(backend.describe().environment)))
