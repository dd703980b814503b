"""A light table to test: an archive with fake pictures, and a server that can be restarted."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn

from safelight.application.carrying_out import EngineRunner
from safelight.archive import Archive
from safelight.archive_layout import records_folder
from safelight.backends.fake import FakeBackend
from safelight.cli.serving import TableServer
from safelight.controller import PipelineController
from safelight.learning import LearningRecordWriter
from safelight.pipeline import PipelineRunner
from safelight.web import create_app
from safelight.web.admission import Admission

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'`{{7*7}}</script><!--"

SWEEP: dict[str, Any] = {
    "name": "sweep",
    "txt2img": {"prompt": "a lighthouse", "seed": 7, "steps": 4, "cfg_scale": 3,
                "width": 64, "height": 64},
    "randomizer": {"mode": "fanout", "sweep": {"txt2img.cfg_scale": [1, 3, 6],
                                               "txt2img.steps": [2, 4]}},
}  # fmt: skip
STAGED: dict[str, Any] = {
    "name": "staged",
    "txt2img": {"prompt": "a red fox", "seed": 1, "steps": 2, "width": 64, "height": 64},
    "img2img": {"denoising_strength": 0.5},
    "upscale": {"upscaler": "Lanczos", "scale": 2},
}
HOSTILE_CONFIG: dict[str, Any] = {
    "name": HOSTILE,
    "txt2img": {"prompt": HOSTILE, "negative_prompt": HOSTILE, "seed": 3, "steps": 2,
                "width": 64, "height": 64},
}  # fmt: skip


def draw(archive: Path, config: dict[str, Any], **options: Any) -> None:
    """Draw *config* on the fake engine into *archive*."""
    with LearningRecordWriter(records_folder(archive)) as writer:
        runner = PipelineRunner(
            FakeBackend(**options), archive_dir=archive, learning_record_writer=writer
        )
        # fanout expands templates; hostile braces are text in other modes
        assert runner.run(config).status in ("completed", "partial")
    assert writer.failures == 0


def fill(archive: Path) -> Path:
    """Draw a sweep, three stages, a mismatch and hostile texts; return the folder."""
    draw(archive, SWEEP)
    draw(archive, STAGED)
    draw(archive, {**HOSTILE_CONFIG, "randomizer": {"templates": False}})
    drawn = {**SWEEP["txt2img"], "sampler": "Euler"}
    swapped = {"name": "swapped", "txt2img": drawn}
    draw(archive, swapped, substitute={"sampler": "Euler a"})
    return archive


@contextlib.contextmanager
def running_server(server: TableServer, *, port: int = 0) -> Iterator[tuple[str, int]]:
    """Let *server* listen on this machine, and yield where."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen(128)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        yield listening.getsockname()
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()


@contextlib.contextmanager
def served(
    archive: Path,
    *,
    port: int = 0,
    admission: Admission | None = None,
    settings: Path | None = None,
) -> Iterator[str]:
    """Serve *archive* as ``safelight serve`` does, and yield its address."""
    runner = EngineRunner(archive, {})
    controller = PipelineController(runner)
    app = create_app(Archive(archive), controller, admission=admission, settings=settings)
    config = uvicorn.Config(app, log_level="error", lifespan="on", timeout_graceful_shutdown=1)
    try:
        with running_server(TableServer(config), port=port) as (host, listens_at):
            yield f"http://{host}:{listens_at}"
    finally:
        controller.cancel()
        controller.wait(60)
        runner.close()
