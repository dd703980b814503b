"""What a run of safelight adds to each picture of a ComfyUI, beside a bare loop.

The bare loop posts the very graph that safelight posts, asks ``/history`` every 10 ms until the job
is there, fetches the file and flushes it to the disk. Both draw one picture in turn on the same
server within one run, so that each pair meets the same machine; what safelight needs for a picture
counts from the end of the bare one before to the answer, what the runner does with the picture
before (identity, metadata, flushed file, journal) included. What a run costs once, from the
engine's questions before it to the record at its end, is told beside.

``SAFELIGHT_COMFYUI_URL`` names a server, or ``SAFELIGHT_COMFYUI_DIR`` a folder that
``real_server.py`` has prepared. Without them the server of the tests stands in, whose pictures cost
nothing: then only what is added means something.

Bar: at most 10 ms a picture, median of the paired differences, of 200 pictures of 50 ms or more.

Usage: ``python bench/comfyui_overhead.py [PICTURES] [SIDE] [STEPS]``
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx

from backends.comfyui.fake_server import FakeComfyUI
from backends.comfyui.real_server import RealServer
from safelight.backends.comfyui import ComfyuiBackend
from safelight.learning import LearningRecordWriter
from safelight.pipeline import PipelineRunner
from safelight.pipeline.backend import (
    BackendDescription,
    EngineSetup,
    Generation,
    ImageRequest,
    Named,
    StepCallback,
)

PICTURES, SIDE, STEPS, POLL = 200, 64, 2, 0.01


@contextmanager
def server() -> Iterator[tuple[str, str]]:
    """Yield the address of a ComfyUI, and what it is."""
    if url := os.environ.get("SAFELIGHT_COMFYUI_URL"):
        yield url, url
    elif folder := os.environ.get("SAFELIGHT_COMFYUI_DIR"):
        with RealServer(Path(folder)) as real:
            yield real.url, "ComfyUI itself"
    else:
        with FakeComfyUI() as fake:
            yield fake.url, "the server of the tests"


class BareLoop:
    """Draws with as little as it takes."""

    def __init__(self, url: str, file: Path) -> None:
        self._client = httpx.Client(base_url=url, timeout=60, trust_env=False)
        self._file = file

    def draw(self, graph: Mapping[str, Any], seed: int) -> float:
        """Draw *graph* with another seed; return the seconds that it took."""
        began = time.perf_counter()
        nodes = {
            name: {**node, "inputs": {k: seed if k == "seed" else v
                                      for k, v in node["inputs"].items()}}
            for name, node in graph.items()
        }  # fmt: skip
        job = self._client.post("/prompt", json={"prompt": nodes}).json()["prompt_id"]
        while not (entry := self._client.get(f"/history/{job}").json().get(job)):
            time.sleep(POLL)
        (image,) = (i for output in entry["outputs"].values() for i in output["images"])
        with self._file.open("wb") as file:
            file.write(self._client.get("/view", params=image).content)
            file.flush()
            os.fsync(file.fileno())
        return time.perf_counter() - began


class InTurn:
    """The engine, with one bare picture after each of its own."""

    name = "comfyui"

    def __init__(self, engine: ComfyuiBackend, bare: BareLoop) -> None:
        self._engine, self._bare = engine, bare
        self.ours: list[float] = []
        self.floor: list[float] = []
        self._since = 0.0

    def describe(self) -> BackendDescription:
        """As the engine does."""
        return self._engine.describe()

    def setup(self, named: Named) -> EngineSetup:
        """As the engine does."""
        return self._engine.setup(named)

    def choices(self) -> Any:
        """As the engine does."""
        return self._engine.choices()

    def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
        """Draw one by the engine, and the same with another seed by the bare loop."""
        generation = self._engine.generate(request, on_step)
        if self._since:
            self.ours.append(time.perf_counter() - self._since)
        seed = 10**6 + getattr(request, "seed", 0)
        seconds = self._bare.draw(self._engine._graph(request).nodes, seed)
        if self._since:
            self.floor.append(seconds)
        self._since = time.perf_counter()
        return generation


def main() -> None:
    """Print what is added, beside its bar."""
    given = [int(argument) for argument in sys.argv[1:]]
    pictures, side, steps = (*given, *(PICTURES, SIDE, STEPS)[len(given) :])
    seed = int(time.time()) % 10**5 * 1000  # a server that draws on has none of these in its cache
    config = {
        "txt2img": {"prompt": "a fox", "seed": seed, "steps": steps, "width": side, "height": side},
        "randomizer": {"mode": "fanout", "seeds_per_variant": pictures + 1},
    }
    with server() as (url, what), tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with closing(ComfyuiBackend(url=url)) as engine:
            in_turn = InTurn(engine, BareLoop(url, folder / "bare.png"))
            began = time.perf_counter()
            with LearningRecordWriter(folder / "records") as writer:
                runner = PipelineRunner(in_turn, archive_dir=folder, learning_record_writer=writer)
                result = runner.run(config)
            whole = time.perf_counter() - began
        assert result.status == "completed", result.failures
    pairs = [own - bare for own, bare in zip(in_turn.ours, in_turn.floor, strict=True)]
    low, mid = statistics.median(in_turn.floor), statistics.median(in_turn.ours)
    added = statistics.median(pairs) * 1000
    quarters = [1000 * q for q in statistics.quantiles(pairs, n=4)] if len(pairs) > 1 else [added]
    once = whole - sum(in_turn.ours) - sum(in_turn.floor)
    print(f"{len(pairs)} pictures of {side}x{side} on {what}, in turn with a bare loop")
    print(f"bare loop      {low * 1000:7.1f} ms a picture")
    print(f"safelight      {mid * 1000:7.1f} ms a picture, {mid / low:.2f} of bare")
    print(f"added          {added:7.1f} ms, the middle half {quarters[0]:.1f} to {quarters[-1]:.1f}"
          "   (bar 10)")  # fmt: skip
    print(f"once a run     {once * 1000:7.0f} ms")


if __name__ == "__main__":
    main()
