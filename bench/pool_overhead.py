"""What a pool adds to each variant, on this machine and on Ray, and whether memory stays flat.

Three measurements, each against what the engines themselves took in the same run:

- *local*: engines that take 20 ms, one in the caller's thread and two in threads of their own;
  what there is beside them is planning, handing out, saving and the journal. Bar: two cost no
  more than 1 ms per variant above one.
- *Ray*: engines that sleep 200 ms, one actor and two. Bars: two are 1.9 times as fast as one,
  and 10 ms per variant beside the engine's time.
- *memory*: many tiny variants through two actors; the driver's resident memory after a tenth of
  them and at the end. Bar: 10 % more.

Usage: ``python bench/pool_overhead.py [VARIANTS]``; 20,000 for the memory unless told otherwise.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from safelight.backends.fake import FakeBackend
from safelight.learning import LearningRecordWriter
from safelight.pipeline import PipelineRunner
from safelight.pipeline.backend import Generation, ImageRequest, StepCallback, Txt2ImgRequest
from safelight.pipeline.engine_pool import EnginePool, LocalPool

SIDE = 64


def config(variants: int, steps: int) -> dict[str, Any]:
    """Return a config of *variants* small pictures."""
    return {
        "txt2img": {"prompt": "a", "seed": 1, "steps": steps, "width": SIDE, "height": SIDE},
        "randomizer": {"mode": "fanout", "seeds_per_variant": variants, "templates": False},
    }


def _writer(folder: str) -> LearningRecordWriter:
    return LearningRecordWriter(Path(folder) / "records")


def _runner(pool: EnginePool, folder: str, writer: LearningRecordWriter) -> PipelineRunner:
    return PipelineRunner(
        FakeBackend(), pool=pool, archive_dir=folder, learning_record_writer=writer
    )


def timed(pool: EnginePool, variants: int, workers: int) -> tuple[float, float]:
    """Return seconds for all, and milliseconds per variant beside the engines' own."""
    pool.describe()
    with tempfile.TemporaryDirectory() as folder, _writer(folder) as writer:
        runner = _runner(pool, folder, writer)
        runner.run(config(2 * workers, 1))
        began = time.perf_counter()
        result = runner.run(config(variants, 1))
        spent = time.perf_counter() - began
    assert result.status == "completed", result
    drawing = sum(result.seconds.values())
    return spent, (spent * workers - drawing) / variants * 1e3


class Fixed(FakeBackend):
    """Answers every request with the same picture, so that drawing takes no processor."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        asked = Txt2ImgRequest(prompt="a", seed=1, steps=1, width=SIDE, height=SIDE)
        self._answer = super().generate(asked, lambda *_, **__: None)

    def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:  # noqa: ARG002
        """Sleep, and answer."""
        time.sleep(self._seconds)
        on_step(1, 1)
        return self._answer


def local() -> None:
    """One engine, and two in threads."""
    best = {}
    for engines in (1, 2):
        times = []
        for _ in range(3):
            before = time.process_time()
            beside = timed(LocalPool([Fixed(0.02) for _ in range(engines)]), 150 * engines, engines)
            busy = (time.process_time() - before) / (152 * engines) * 1e3
            times.append((beside[1], busy))
        best[engines] = [min(column) for column in zip(*times, strict=True)]
        print(
            f"local, {engines} of 20 ms: {best[engines][0]:.2f} ms per variant beside them,"
            f" {best[engines][1]:.2f} ms of processor time"
        )
    above = [two - one for one, two in zip(best[1], best[2], strict=True)]
    print(f"local, 2 above 1: {above[0]:.2f} ms per variant (bar 1), {above[1]:.2f} of processor")


def on_ray(number: int) -> None:
    """One actor, two actors, and many variants."""
    from safelight.backends.ray_pool import ActorResources, RayPool

    few = ActorResources(cpus=0.5)
    seconds = {}
    for actors in (1, 2):
        pool = RayPool("fake", {"seconds_per_step": 0.2}, actors=actors, resources=few)
        while not all(pool.ready(name) for name in pool._actors):
            time.sleep(0.05)
        seconds[actors], beside = timed(pool, 60, actors)
        pool.close()
        print(f"Ray, {actors} of 200 ms: {beside:.1f} ms per variant beside them (bar 10)")
    print(f"Ray, 2 against 1: {seconds[1] / seconds[2]:.2f} times as fast (bar 1.9)")
    pool = RayPool("fake", actors=2, resources=few)
    pool.describe()
    grew(pool, number)
    pool.close()


def grew(pool: EnginePool, number: int) -> None:
    """Tell how the driver's memory grew over *number* variants."""
    first, done, began = 0, 0, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, _writer(folder) as writer:
        runner = _runner(pool, folder, writer)
        tiny = config(number, 1)
        tiny["txt2img"] |= {"width": 16, "height": 16}
        for result in runner.runs(tiny):
            done += len(result.images)
            if not first and done >= number / 10:
                first = _resident()
    last = _resident()
    each = (time.perf_counter() - began) / number * 1e3
    print(
        f"Ray, {number:,} variants, {each:.1f} ms each: the driver holds {first / 1024:.0f} MiB"
        f" after a tenth, {last / 1024:.0f} MiB at the end: {last / first:.3f} times (bar 1.1)"
    )


def _resident() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0


if __name__ == "__main__":
    local()
    try:
        import ray  # noqa: F401
    except ImportError:
        print("Ray is not installed: pip install safelight[ray]")
    else:
        on_ray(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
