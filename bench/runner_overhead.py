"""What PipelineRunner adds to each picture: a whole recorded run against a bare loop.

The backend answers at once with one finished PNG, so that neither drawing nor encoding is
measured. Runner and floor take turns within one run, three times:

* an engine that takes no time, by processor time: the floor decodes each picture, hashes its
  pixels and its file, and writes it whole (temporary file, write, fsync, rename);
* an engine that takes 20 ms (few are faster), by the clock: the runner works while the engine
  does, so that a variant should cost the engine's time and little more; the floor is a loop that
  calls the engine and writes the files, and does not even decode them;
* one picture of 1 MB, by the clock, with the flushes counted: the floor is a picture, a line of a
  journal and a record, each written and flushed, with the folders of the two files.

Bars: 1.35 times the floor's processor time with the engine that takes none (1 ms per picture
above it is meant); 1 ms per variant above the floor with the engine that takes 20 ms (printed); and
no more flushes than :data:`FLUSHES`.

Usage: ``python bench/runner_overhead.py [ROUNDS]``
"""

from __future__ import annotations

import hashlib
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
PROCESSOR_BAR = 1.35
SIDE = 512
FLUSHES = 11
"""Of a run of one picture into an archive that has its folders; docs/performance.md names them."""
FLOOR_FLUSHES = 5


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
        written(folder, f"{number:05d}.png", image.png)


def identifying_loop(backend: FixedBackend, folder: Path, variants: int) -> None:
    """Draw, decode, hash and write *variants* pictures with nothing else."""
    from PIL import Image

    for number in range(variants):
        request = Txt2ImgRequest(prompt="a lighthouse", seed=number)
        (image,) = backend.generate(request, no_listener).images
        with Image.open(io.BytesIO(image.png)) as opened:
            pixels = opened.convert("RGB").tobytes()
        names = hashlib.sha256(pixels).hexdigest(), hashlib.sha256(image.png).hexdigest()
        assert names[0] != names[1]
        written(folder, f"{number:05d}.png", image.png)


def written(folder: Path, name: str, data: bytes) -> None:
    """Write a file whole: temporary file, write, fsync, rename."""
    temporary = f"{folder}/.{name}.tmp"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    os.write(handle, data)
    os.fsync(handle)
    os.close(handle)
    os.rename(temporary, f"{folder}/{name}")  # noqa: PTH104


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


def flushed_folder(folder: Path) -> None:
    """Flush the names in *folder*."""
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def picture_line_and_record(folder: Path, number: int, png: bytes) -> None:
    """Write what one picture's run leaves, flushed, with nothing else."""
    own = folder / "images" / f"{number}"
    own.mkdir(parents=True)
    written(own, "picture.png", png)
    flushed_folder(own)
    handle = os.open(own / "journal.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.write(handle, b"x" * 2000 + b"\n")
    os.fsync(handle)
    os.close(handle)
    records = folder / "records"
    records.mkdir(exist_ok=True)
    written(records, f"{number}.json", b"x" * 4000)
    flushed_folder(records)


@contextmanager
def counted_flushes() -> Iterator[list[Any]]:
    """Give a list that gets an entry for every flush meanwhile."""
    flushed: list[Any] = []
    fsync = os.fsync

    def counting(handle: Any) -> None:
        flushed.append(handle)
        fsync(handle)

    os.fsync = counting  # type: ignore[assignment]
    try:
        yield flushed
    finally:
        os.fsync = fsync


def one_picture(rounds: int) -> None:
    """Print and check what a run of one picture of 1 MB costs beside its floor."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.effect_noise((1024, 1024), 80).save(buffer, "PNG")
    png = buffer.getvalue()
    backend = FixedBackend(png, 0.0)
    times: dict[str, list[float]] = {"floor": [], "run": []}
    counts: dict[str, set[int]] = {"floor": set(), "run": set()}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        with LearningRecordWriter(folder / "archive" / "records") as writer:
            runner = PipelineRunner(
                backend, archive_dir=folder / "archive", learning_record_writer=writer
            )
            works: dict[str, Callable[[int], object]] = {
                "floor": lambda number: picture_line_and_record(folder / "bare", number, png),
                "run": lambda number: runner.run({"txt2img": {"prompt": "a", "seed": number}}),
            }
            for work in works.values():
                work(0)  # the folders are there from here on
            for number in range(1, rounds + 1):
                for what, work in works.items() if number % 2 else reversed(works.items()):
                    with counted_flushes() as flushed:
                        began = time.perf_counter()
                        work(number)
                        times[what].append((time.perf_counter() - began) * 1e3)
                    counts[what].add(len(flushed))
        assert writer.failures == 0
    floor, ours = statistics.median(times["floor"]), statistics.median(times["run"])
    ratios = [run / bare for run, bare in zip(times["run"], times["floor"], strict=True)]
    print(f"one picture of {len(png) / 1e6:.1f} MB, {rounds} rounds")
    print(f"  floor {floor:7.2f} ms, flushes {counts['floor']}")
    print(f"  run   {ours:7.2f} ms, flushes {counts['run']}; {statistics.median(ratios):.2f} x")
    assert counts["floor"] == {FLOOR_FLUSHES}, counts
    assert counts["run"] == {FLUSHES}, counts


def milliseconds(
    work: Callable[[FixedBackend, Path, int], None], backend: FixedBackend, variants: int
) -> tuple[float, float]:
    """Return what one variant cost in one run of *work*: by the clock, and of the processor."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        began, used = time.perf_counter(), time.process_time()
        work(backend, Path(folder), variants)
        spent = time.perf_counter() - began, time.process_time() - used
        return spent[0] / variants * 1e3, spent[1] / variants * 1e3


def in_turns(
    floor: Callable[[FixedBackend, Path, int], None],
    png: bytes,
    seconds: float,
    rounds: int,
    variants: int,
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Return what *rounds* of the floor and of the runner cost, per variant."""
    backend = FixedBackend(png, seconds)
    bare: list[tuple[float, float]] = []
    runner: list[tuple[float, float]] = []
    for number in range(rounds):
        turns = [(bare, floor), (runner, recorded_run)]
        for times, work in turns if number % 2 else reversed(turns):
            times.append(milliseconds(work, backend, variants))
    return bare, runner


def main() -> None:
    """Print milliseconds per variant for both engines, and of one picture."""
    png = picture()
    print(f"pictures of {SIDE} x {SIDE} px, {len(png) / 1e3:.0f} kB")
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    rounds, variants = max(2, min(7, most)), 200
    bare, runner = in_turns(identifying_loop, png, 0.0, rounds, variants)
    floor, ours = min(used for _, used in bare), min(used for _, used in runner)
    print(f"engine of 0 ms, best of {rounds} rounds of {variants} variants, processor time")
    print(f"  floor  {floor:7.3f} ms per variant (decoded, hashed, flushed)")
    print(f"  runner {ours:7.3f} ms per variant, {ours - floor:.3f} ms more: {ours / floor:.3f} x")
    assert ours / floor <= PROCESSOR_BAR, f"the runner takes {ours / floor:.2f} x its floor"
    rounds, variants = min(5, most), 100
    bare, runner = in_turns(bare_loop, png, 0.02, rounds, variants)
    floor = statistics.median(wall for wall, _ in bare)
    ours = statistics.median(wall for wall, _ in runner)
    print(f"engine of 20 ms, {rounds} rounds of {variants} variants, by the clock")
    print(f"  floor  {floor:7.3f} ms per variant")
    print(f"  runner {ours:7.3f} ms per variant, ratio {ours / floor:.3f} (bar: {BAR} ms more)")
    print(f"  difference {ours - floor:.3f} ms; above the engine {ours - 20:.3f} ms")
    one_picture(max(5, 10 * most))


if __name__ == "__main__":
    main()
