"""A server that is gone, busy, slow or silent; and what may have been drawn is not sent again."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backends.backend_contract import Steps
from backends.openai_images.openai_server import ImagesServer, drop, refuse, silence
from command_line import Safelight
from safelight.backends.openai_images import OpenAiImagesBackend
from safelight.backends.server_group import NotBegun
from safelight.errors import (
    BackendError,
    BackendLoginRefused,
    BackendOutcomeUnknown,
    BackendUnavailable,
    GenerationCancelled,
)
from safelight.learning import LearningRecord
from safelight.pipeline.backend import Generation, Txt2ImgRequest

Serve = Callable[..., ImagesServer]
Connect = Callable[..., OpenAiImagesBackend]
PATH = "/v1/images/generations"
FOX: dict[str, Any] = {"prompt": "a red fox", "seed": 7, "width": 64, "height": 64}


def draw(backend: OpenAiImagesBackend, **fields: Any) -> Generation:
    return backend.generate(Txt2ImgRequest(**{**FOX, **fields}), Steps())


@pytest.mark.parametrize(
    ("status", "error"),
    [(429, NotBegun), (503, NotBegun), (502, BackendOutcomeUnknown), (504, BackendOutcomeUnknown)],
)
def test_only_what_a_server_refused_at_the_door_was_not_begun(
    serve: Serve, connect: Connect, status: int, error: type[BackendError]
) -> None:
    """A gateway's 502 and 504 say nothing of the server behind it."""
    server = serve("vllm-omni")
    server.script[PATH] = [refuse(status, {"error": {"message": "not now"}})]
    with pytest.raises(BackendUnavailable, match="not now") as refused:
        draw(connect(server))
    assert type(refused.value) is error
    assert ("may have been drawn" in str(refused.value)) == (error is BackendOutcomeUnknown)
    assert len(server.posts) == 1


@pytest.mark.parametrize("said", ["[" * 100_000, '{"detail": [{"loc": 5, "msg": "no"}]}'])
def test_whatever_a_refusal_says_it_is_one(serve: Serve, connect: Connect, said: str) -> None:
    """Words that cannot be read must not hide that a server refused."""
    server = serve("vllm-omni")
    server.script[PATH] = [lambda handler: handler.send(400, said.encode())]
    with pytest.raises(BackendError, match="refused /v1/images/generations"):
        draw(connect(server))


def test_an_answer_of_endless_brackets_is_no_json(serve: Serve, connect: Connect) -> None:
    server = serve("vllm-omni")
    server.script[PATH] = [lambda handler: handler.send(200, b"[" * 100_000)]
    with pytest.raises(BackendError, match="something that is not JSON"):
        draw(connect(server))


def test_a_picture_is_of_a_kind_that_starts_no_program(serve: Serve, connect: Connect) -> None:
    """Pillow hands PostScript to Ghostscript, whoever sent it."""
    server = serve("vllm-omni")
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"

    def tweak(answer: dict[str, Any]) -> None:
        answer["data"] = [{"b64_json": base64.b64encode(script).decode()}]

    server.tweak = tweak
    with pytest.raises(BackendError, match="no picture") as refused:
        draw(connect(server))
    assert "not an image" in str(refused.value.__cause__)


def test_who_is_out_of_money_is_not_asked_again(serve: Serve, connect: Connect) -> None:
    server = serve("openai")
    about = {"message": "You exceeded your current quota", "code": "insufficient_quota"}
    server.script[PATH] = [refuse(429, {"error": about})]
    with pytest.raises(BackendError, match="exceeded your current quota") as refused:
        draw(connect(server), model="gpt-image-1")
    assert not isinstance(refused.value, BackendUnavailable)


@pytest.mark.parametrize(
    ("fault", "message"),
    [(drop, "broke off while answering.*may have been drawn"),
     (silence, "drew for longer than timeout = 0.3 s.*may have been drawn")],
)  # fmt: skip
def test_of_a_lost_answer_nobody_knows(
    serve: Serve, connect: Connect, fault: Any, message: str
) -> None:
    server, other = serve("vllm-omni"), serve("vllm-omni")
    server.script[PATH] = other.script[PATH] = [fault]
    with pytest.raises(BackendOutcomeUnknown, match=message):
        draw(connect(server, other, timeout=0.3))
    assert len(server.posts) + len(other.posts) == 1  # nor did it go to the other one


def test_an_answer_that_trickles_in_is_given_up(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte comes in time, so that the connection itself never times out."""

    def trickle(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        while not handler.server.images.over.wait(0.05):
            handler.wfile.write(b" ")

    monkeypatch.setattr("safelight.backends.openai_images.openai_server._QUICK", 0.2)
    monkeypatch.setattr("safelight.backends.openai_images.openai_server._BEAT", 0.05)
    server = serve("vllm-omni")
    server.script[PATH] = [trickle]
    with pytest.raises(BackendOutcomeUnknown, match="drew for longer than timeout"):
        draw(connect(server, timeout=0.4))


@pytest.mark.parametrize("gone", ["refused", "busy"])
def test_another_server_draws_what_one_did_not_begin(
    serve: Serve, connect: Connect, gone: str
) -> None:
    there = serve("vllm-omni")
    if gone == "busy":
        busy = serve("vllm-omni")
        busy.script[PATH] = [refuse(503, {"detail": "loading"})]
        backend = connect(busy, there)
    else:
        backend = OpenAiImagesBackend(urls=["http://127.0.0.1:9", there.url])
    assert len(draw(backend).images) == 1
    assert len(draw(backend).images) == 1  # the first one is passed over for a while
    assert len(there.posts) == 2
    backend.close()


def test_a_wrong_key_is_told_once_and_the_key_never(serve: Serve, connect: Connect) -> None:
    server = serve("openai", key="right")
    for options in ({}, {"api_key": "wrong-key"}):
        with pytest.raises(BackendLoginRefused, match="wants another key.*set api_key") as refused:
            draw(connect(server, **options), model="gpt-image-1")
        assert "wrong-key" not in str(refused.value)
    assert draw(connect(server, api_key="right"), model="gpt-image-1").images


def test_a_run_can_be_stopped_while_a_server_draws(serve: Serve, connect: Connect) -> None:
    """Nobody can tell the server, and that is said."""
    server = serve("vllm-omni")
    server.hold = threading.Event()
    with pytest.raises(GenerationCancelled) as stopped:
        connect(server).generate(Txt2ImgRequest(**FOX), Steps(stop_after=1))
    assert "may draw the picture to its end" in stopped.value.__notes__[0]
    server.hold.set()


CONFIG = """
backend = {{ name = "openai-images", url = "{url}" }}

[txt2img]
prompt = "a fox"
seed = 5
width = 64
height = 64
{retry}
[randomizer]
mode = "fanout"
[randomizer.sweep]
"txt2img.steps" = [2, 3]
"""


@pytest.mark.parametrize(
    ("options", "retry", "posts", "status"),
    [((), "", 2, 3), (("--retry-unknown",), "", 3, 0), ((), "[retry]\nunknown = true\n", 3, 0)],
)  # fmt: skip
def test_what_may_have_been_drawn_is_sent_again_only_when_asked(
    serve: Serve, command: Safelight, options: tuple[str, ...], retry: str, posts: int, status: int
) -> None:
    """It may have cost money, and two pictures of one variant are not told apart."""
    server = serve("vllm-omni")
    server.script[PATH] = [drop]
    Path("c.toml").write_text(CONFIG.format(url=server.url, retry=retry), "utf-8")
    done = command("run", "c.toml", *options)
    assert (done.exit_code, len(server.posts)) == (status, posts), done.output
    told = "may have been drawn there; it was not sent again (--retry-unknown sends it again)"
    assert (told in done.output) == bool(status)


def test_who_is_busy_is_asked_again_unasked(serve: Serve, command: Safelight) -> None:
    server = serve("vllm-omni")
    server.script[PATH] = [refuse(429, {"error": {"message": "slow down"}})]
    Path("c.toml").write_text(CONFIG.format(url=server.url, retry=""), "utf-8")
    done = command("run", "c.toml")
    assert (done.exit_code, len(server.posts)) == (0, 3), done.output


def test_a_server_is_added_to_the_list_and_its_key_by_hand(
    serve: Serve, command: Safelight, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve("vllm-omni")
    added = command("engines", "add", "team", f"{server.url}/v1")
    assert f"team is openai-images at {server.url}/v1" in added.output
    server.key = "canary"
    (path,) = Path().rglob("engines.toml")
    path.write_text(path.read_text("utf-8") + 'api_key = "env:TEAM_KEY"\n', "utf-8")
    monkeypatch.setenv("TEAM_KEY", "canary")
    Path("c.toml").write_text('backend = "team"\n[txt2img]\nprompt = "a fox"\n', "utf-8")
    done = command("run", "c.toml")
    assert (done.exit_code, "canary" in done.output) == (0, False), done.output
    shown = command("backends", "team", "--json")
    assert '"dialect": "vllm-omni"' in shown.output
    assert "canary" not in shown.output
    checked = command("doctor", server.url, "--option", "api_key=env:TEAM_KEY")
    assert "openai-images at" in checked.output
    assert "gives the same pixels" in checked.output


BATCH = """
backend = {{ name = "openai-images", url = "{url}" }}

[txt2img]
prompt = "a fox"
seed = 5
width = 64
height = 64
batch_size = 4
"""


def let(handler: Any) -> None:
    """Draw as if there were no script."""
    images = handler.server.images
    handler.reply(200, images.answer(images.posts[-1][1], {}))


@pytest.mark.parametrize(
    ("trouble", "options", "seeds", "kept", "status"),
    [
        (refuse(429, {"error": {"message": "slow down"}}), (), [5, 6, 7, 7, 8], 4, 0),
        (drop, ("--retry-unknown",), [5, 6, 7, 7, 8], 4, 0),
        (drop, (), [5, 6, 7], 2, 1),
        (refuse(400, {"error": {"message": "no such word"}}), (), [5, 6, 7], 2, 1),
    ],
)
def test_pictures_that_are_drawn_apart_stay_when_a_later_one_fails(
    serve: Serve,
    command: Safelight,
    trouble: Any,
    options: tuple[str, ...],
    seeds: list[int],
    kept: int,
    status: int,
) -> None:
    """They may have cost money: only what is missing is asked for again, and they are recorded."""
    server = serve("vllm-omni")
    server.script[PATH] = [let, let, trouble]
    Path("c.toml").write_text(BATCH.format(url=server.url), "utf-8")
    done = command("run", "c.toml", *options)
    assert [body["seed"] for body in server.sent] == seeds, done.output
    (path,) = Path("safelight/records").rglob("*.json")
    outputs = LearningRecord.from_json(path.read_text("utf-8")).outputs
    assert [output.seed for output in outputs] == [5, 6, 7, 8][:kept]
    assert all((Path("safelight") / str(output.path)).is_file() for output in outputs)
    assert not any(output.mismatches for output in outputs)
    assert bool(done.exit_code) == bool(status), done.output


def test_what_one_server_did_not_begin_another_goes_on_with(serve: Serve, connect: Connect) -> None:
    first, second = serve("vllm-omni"), serve("vllm-omni")
    first.script[PATH] = [let, refuse(503, {"detail": "restarting"})]
    steps = Steps()
    backend = connect(first, second)
    images = backend.generate(Txt2ImgRequest(**FOX, batch_size=3), steps).images
    assert [image.effective["seed"] for image in images] == [7, 8, 9]
    assert len(first.posts) + len(second.posts) == 4
