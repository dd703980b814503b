"""What a picture of the model in the box costs: time, start-up and memory.

* A picture of 20 steps with guidance, against the floor: the same 20 calls of the network with
  nothing around them, in turn. Bar: a median under 0.5 s.
* ``safelight run`` of one picture as a process of its own, from its start to the file and the
  record on disk, against a process that only imports numpy, onnxruntime and Pillow. Bars: under
  1.5 s, and under 250 MB at its peak.

Usage: ``python bench/bundled_model.py``
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from safelight.backends.bundled import BundledBackend
from safelight.backends.bundled.text_to_image_model import TextToImageModel
from safelight.pipeline.backend import Txt2ImgRequest

ROUNDS, STEPS = 9, 20
PEAK = """
lines = open("/proc/self/status").read().splitlines()
open("peak", "w").write(next(line for line in lines if line.startswith("VmHWM")))
"""
CONFIG = '[txt2img]\nprompt = "rocket"\nsteps = 20\ncfg_scale = 3\nseed = 1\n'


def timed(work: Callable[[], object]) -> float:
    """Return the wall seconds of *work*."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def picture_and_floor() -> tuple[list[float], list[float]]:
    """Return seconds of whole pictures and of bare network calls, measured in turn."""
    backend = BundledBackend()
    model = TextToImageModel(
        Path(sys.modules[BundledBackend.__module__].__file__ or "").parent / "model"
    )
    denoise = model.denoiser(model.encode("rocket"), model.encode(""), 3.0)
    x = np.zeros((1, 3, model.image_size, model.image_size), np.float32)
    request = Txt2ImgRequest(prompt="rocket", seed=1, steps=STEPS, cfg_scale=3)

    def floor() -> None:
        for _ in range(STEPS):
            denoise(x, 1.0)

    def picture() -> None:
        backend.generate(request, lambda *_: None)

    picture()
    floor()
    pairs = [(timed(picture), timed(floor)) for _ in range(ROUNDS)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def process(code: str, folder: Path) -> tuple[float, float]:
    """Run *code* in a Python of its own; return its wall seconds and its peak memory in MB."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", code + PEAK],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    seconds = time.perf_counter() - began
    return seconds, int((folder / "peak").read_text().split()[1]) / 1024


def main() -> None:
    """Measure and print."""
    pictures, floors = picture_and_floor()
    ratio = statistics.median(a / b for a, b in zip(pictures, floors, strict=True))
    print(f"one picture, {STEPS} steps with guidance, one thread, median of {ROUNDS}; bar 0.5 s")
    print(f"  bare network calls {statistics.median(floors):.3f} s")
    print(f"  BundledBackend     {statistics.median(pictures):.3f} s, ratio {ratio:.3f}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "one.toml").write_text(CONFIG)
        run = "from safelight.cli import main; main(['run', 'one.toml'], standalone_mode=False)"
        imports = "import numpy, onnxruntime, PIL.Image"
        runs, bare = [], []
        for _ in range(5):
            bare.append(process(imports, folder))
            runs.append(process(run, folder))
    seconds = [statistics.median(s for s, _ in rows) for rows in (bare, runs)]
    memory = [max(m for _, m in rows) for rows in (bare, runs)]
    print("a process that draws one picture, writes it and its record; bars 1.5 s, 250 MB")
    print(f"  imports alone      {seconds[0]:.2f} s, {memory[0]:.0f} MB")
    print(f"  safelight run      {seconds[1]:.2f} s, {memory[1]:.0f} MB")


if __name__ == "__main__":
    main()
