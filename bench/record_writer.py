"""What a learning record costs on the disk: LearningRecordWriter.write against the bare work.

The floor is what no durable writer can leave out, written without safelight: open a temporary
file, write the same bytes, fsync, rename, fsync of the folder. Both are measured in pairs,
A B, B A, A B, ..., because a shared disk's fsync wanders by several times within a minute;
the ratio is taken pair by pair. First on the disk of the current folder, then on tmpfs
(``/dev/shm``), where there is no disk to wait for and the difference is our own code.

Bar: 1.1 times the floor on the disk (median and lower quartile of the pairwise ratios).

Usage: ``python bench/record_writer.py [PAIRS]``, 400 pairs when not given.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from safelight.learning import ImageOutput, LearningRecord, LearningRecordWriter

BAR = 1.1


def realistic_record(number: int) -> LearningRecord:
    """Return a record of about 4 KB: five variants of one stage, an image each."""
    knobs: dict[str, Any] = {
        "prompt": "a lighthouse on a cliff at dusk, calm sea, oil painting, detailed",
        "negative_prompt": "blurry, low quality, watermark",
        "model": "sd_xl_base_1.0",
        "sampler": "DPM++ 2M",
        "scheduler": "Karras",
        "steps": 30,
        "width": 1024,
        "height": 1024,
    }
    variants = [{"txt2img": {**knobs, "cfg_scale": 4.5 + n, "seed": 2**31 + n}} for n in range(5)]
    outputs = tuple(
        ImageOutput(
            variant=n,
            stage="txt2img",
            path=f"images/2026-01-31/120000-{number:016x}/{n:05d}-txt2img-{2**31 + n}.png",
            sha256=f"{number * 8 + n:064x}",
            pixel_sha256=f"{number * 8 + n + 1:064x}",
            width=1024,
            height=1024,
            seed=2**31 + n,
            seconds=1.25,
        )
        for n in range(5)
    )
    return LearningRecord.from_pipeline_context(
        {"txt2img": {**knobs, "cfg_scale": 7.0}},
        variants,
        {"mode": "fanout", "plan_size": 5},
        None,
        run_id=f"{number:016x}",
        timestamp="2026-01-31T12:00:00.000000Z",
        plan_id=f"{number:016x}",
        plan_seed=7,
        outputs=outputs,
        backend={"name": "webui", "version": "1.10.1"},
        environment={"torch": "2.4.0", "device": "cuda:0", "python": "3.11.9"},
        template={"variants": [{"label": f"cfg_scale {4.5 + n}", "choices": {}} for n in range(5)]},
        seconds={"txt2img": 7.5},
    )


def write_bare(folder: str, name: str, data: bytes) -> None:
    """Write *data* durably with system calls and nothing else."""
    temporary = f"{folder}/.{name}.tmp"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    os.write(handle, data)
    os.fsync(handle)
    os.close(handle)
    os.rename(temporary, f"{folder}/{name}")  # noqa: PTH104
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def measure(parent: Path, pairs: int) -> tuple[list[float], list[float]]:
    """Return the milliseconds of each bare write and of each write by the writer."""
    bare: list[float] = []
    ours: list[float] = []
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        bare_folder, our_folder = f"{folder}/bare", f"{folder}/ours"
        os.mkdir(bare_folder)  # noqa: PTH102
        with LearningRecordWriter(our_folder) as writer:
            writer.write(realistic_record(pairs))
            for number in range(pairs):
                record = realistic_record(number)  # just made, as at the end of a run
                name, data = (
                    f"20260131T120000.000000Z_{number:016x}.json",
                    record.to_json().encode(),
                )
                calls: dict[str, Callable[[], None]] = {
                    "bare": partial(write_bare, bare_folder, name, data),
                    "ours": partial(writer.write, record),
                }
                for which in ("bare", "ours") if number % 2 else ("ours", "bare"):
                    began = time.perf_counter()
                    calls[which]()
                    spent = (time.perf_counter() - began) * 1e3
                    (bare if which == "bare" else ours).append(spent)
            assert writer.failures == 0
        assert sorted(os.listdir(bare_folder)) == sorted(os.listdir(our_folder))[:-1]
    return bare, ours


def report(title: str, bare: list[float], ours: list[float], unit: str, factor: float) -> None:
    """Print medians and pairwise ratios."""
    ratios = [mine / floor for mine, floor in zip(ours, bare, strict=True)]
    quartile, middle, _ = statistics.quantiles(ratios, n=4)
    extra = statistics.median(m - f for m, f in zip(ours, bare, strict=True)) * factor
    print(title)
    for name, times in (("floor", bare), ("writer", ours)):
        median, best = statistics.median(times) * factor, min(times) * factor
        print(f"  {name:7} median {median:8.3f} {unit}, best {best:8.3f} {unit}")
    print(f"  pairwise ratio: median {middle:.3f}, lower quartile {quartile:.3f}")
    print(f"  pairwise difference: median {extra:.3f} {unit}")


def main() -> None:
    """Print the figures for the disk, then for tmpfs."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    size = len(realistic_record(0).to_json().encode())
    print(f"{pairs} pairs, records of {size} bytes; bar on the disk: {BAR}")
    report(f"disk ({Path.cwd()})", *measure(Path.cwd(), pairs), "ms", 1.0)
    tmpfs = Path("/dev/shm")
    if tmpfs.is_dir():
        report(f"tmpfs ({tmpfs})", *measure(tmpfs, pairs), "us", 1e3)


if __name__ == "__main__":
    main()
