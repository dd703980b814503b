"""What PipelineRunner adds to each picture: a whole recorded run against a bare loop.

The backend answers at once with one finished PNG, so that neither drawing nor encoding is
measured. The floor is a loop that calls the same backend and writes the same bytes whole:
temporary file, write, fsync, rename. The runner also decodes the picture to identify its
pixels, embeds metadata, keeps the journal (an fsync per variant) and writes the record; all
of that happens while the engine works on the next picture, which is why it is measured twice:
with an engine that takes no time, where nothing can be hidden, and with one that takes 20 ms
(few engines are faster), where a variant should cost the engine's time and little more.
Runner and floor take turns within one run.

Bar: 1 ms per variant above the floor, with the engine that takes 20 ms.

Usage: ``python bench/runner_overhead.py [ROUNDS]``
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from safelight.learning import LearningRecordWriter
from safelight.pipeline import (
    BackendDescription,
    GeneratedImage,
    Generation,
    ImageRequest,
    PipelineRunner,
    StepCallback,
    Txt2ImgRequest,
)

BAR = 1.0
SIDE = 512


class FixedBackend:
    """Answers every request with the same picture."""

    name = "fixed"

    def __init__(self, png: bytes, seconds: float) -> None:
        self._png, self._seconds = png, seconds

    def describe(self) -> BackendDescription:
        """Return a name."""
        return BackendDescription(name=self.name)

    def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
        """Sleep, and answer."""
        time.sleep(self._seconds)
        on_step(1, 1)
        effective = {"seed": getattr(request, "seed", 0), "sampler": "Euler", "steps": 20}
        return Generation(images=(GeneratedImage(png=self._png, effective=effective),))


def picture() -> bytes:
    """Return a PNG of a smooth picture, about as large as a drawn one compresses to."""
    import io

    from PIL import Image

    gradient = Image.linear_gradient("L").resize((SIDE, SIDE))
    noise = Image.effect_noise((SIDE, SIDE), 12)
    buffer = io.BytesIO()
    Image.merge("RGB", (gradient, noise, gradient.rotate(90))).save(buffer, "PNG")
    return buffer.getvalue()


def no_listener(step: int, steps: int, preview: bytes | None = None) -> None:
    """Take the place of the runner's step callback."""


def bare_loop(backend: FixedBackend, folder: Path, variants: int) -> None:
    """Draw and write *variants* pictures with nothing else."""
    for number in range(variants):
        request = Txt2ImgRequest(prompt="a lighthouse", seed=number)
        (image,) = backend.generate(request, no_listener).images
        temporary = f"{folder}/.{number}.tmp"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        os.write(handle, image.png)
        os.fsync(handle)
        os.close(handle)
        os.rename(temporary, f"{folder}/{number:05d}.png")  # noqa: PTH104


def recorded_run(backend: FixedBackend, folder: Path, variants: int) -> None:
    """Let the runner do the same, with journal and record."""
    config = {
        "txt2img": {"prompt": "a lighthouse", "seed": 0, "width": SIDE, "height": SIDE},
        "randomizer": {"mode": "fanout", "seeds_per_variant": variants},
    }
    with LearningRecordWriter(folder / "records") as writer:
        runner = PipelineRunner(backend, archive_dir=folder, learning_record_writer=writer)
        result = runner.run(config, seed=1)
    assert (result.status, len(result.images)) == ("completed", variants), result
    assert writer.failures == 0


def milliseconds(
    work: Callable[[FixedBackend, Path, int], None], backend: FixedBackend, variants: int
) -> float:
    """Return what one variant cost in one run of *work*."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        began = time.perf_counter()
        work(backend, Path(folder), variants)
        return (time.perf_counter() - began) / variants * 1e3


def main() -> None:
    """Print milliseconds per variant for both engines."""
    png = picture()
    print(f"pictures of {SIDE} x {SIDE} px, {len(png) / 1e3:.0f} kB; bar {BAR} ms at 20 ms")
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    for seconds, variants, usual in ((0.0, 200, 7), (0.02, 100, 5)):
        rounds = min(usual, most)
        backend = FixedBackend(png, seconds)
        bare: list[float] = []
        runner: list[float] = []
        for number in range(rounds):
            turns = [(bare, bare_loop), (runner, recorded_run)]
            for times, work in turns if number % 2 else reversed(turns):
                times.append(milliseconds(work, backend, variants))
        floor, ours = statistics.median(bare), statistics.median(runner)
        print(f"engine of {seconds * 1e3:.0f} ms, {rounds} rounds of {variants} variants")
        print(f"  floor  {floor:7.3f} ms per variant")
        print(f"  runner {ours:7.3f} ms per variant, ratio {ours / floor:.3f}")
        print(f"  difference {ours - floor:.3f} ms; above the engine {ours - seconds * 1e3:.3f} ms")


if __name__ == "__main__":
    main()
