"""A thousand GPUs and a hundred million pictures a day: what becomes the limit, and when.

An event simulation of drivers and GPUs, and arithmetic for what they write. A driver hands out
variants one at a time and takes in their pictures one at a time, each at a cost that was measured
(``bench/pool_overhead.py``); a run ends when its last variant does, and the next one begins then.
GPUs differ in speed, and so do variants.

Assumptions are the constants below; ``docs/scale.md`` tells what follows from the figures.

Usage: ``python bench/scale_simulation.py``
"""

from __future__ import annotations

import heapq
import random

GPUS = 1000
PICTURES_A_DAY = 100_000_000
DRIVER_SECONDS = 0.005
"""That a driver is busy with one variant: handing out, fetching, saving, journal."""
PICTURE_BYTES = 1_500_000
"""A PNG of 1024 x 1024 with its metadata."""
RECORD_BYTES_PER_VARIANT = 1_300
SPREAD = 0.15
"""Standard deviation of a variant's time, as a share of it."""
LOOSE_RECORDS = 1000
PACKED_TOGETHER = 20_000


def gpu_share(
    gpus: int, seconds: float, per_run: int, driver_seconds: float, runs: int, seed: int = 1
) -> float:
    """Return the share of its time that a GPU draws.

    Args:
        gpus: Of one driver.
        seconds: That a variant takes on a GPU.
        per_run: Variants of one run; the next run waits for all of them.
        driver_seconds: That the driver is busy with one variant.
        runs: How many are simulated.
        seed: Of all chance.
    """
    chance = random.Random(seed)
    speeds = [chance.gauss(1.0, SPREAD / 2) for _ in range(gpus)]
    now, driver_free, drawing = 0.0, 0.0, 0.0
    for _ in range(runs):
        free = [(now, gpu) for gpu in range(gpus)]
        heapq.heapify(free)
        last = now
        for _ in range(per_run):
            at, gpu = heapq.heappop(free)
            begins = driver_free = max(at, driver_free) + driver_seconds
            takes = seconds * max(0.2, chance.gauss(1.0, SPREAD)) * speeds[gpu]
            drawing += takes
            heapq.heappush(free, (begins + takes, gpu))
            last = max(last, begins + takes)
        now = last
    return drawing / (now * gpus)


def main() -> None:
    """Print what the limits are."""
    seconds = GPUS * 86_400 / PICTURES_A_DAY
    rate = PICTURES_A_DAY / 86_400
    print(f"{GPUS:,} GPUs, {PICTURES_A_DAY:,} pictures a day: {rate:,.0f} a second,")
    print(f"one every {seconds:.2f} s from each GPU\n")
    print("| drivers | GPUs each | pictures per variant | variants per run | GPUs draw |")
    print("|---:|---:|---:|---:|---:|")
    for drivers, batch, per_run in (
        (1, 1, 1000), (10, 1, 1000), (20, 1, 1000), (20, 1, 5000), (20, 8, 1000), (20, 8, 5000),
        (5, 8, 1000), (5, 8, 10_000), (50, 1, 1000), (50, 8, 1000),
    ):  # fmt: skip
        gpus = GPUS // drivers
        runs = max(3, 20_000 // per_run)
        share = gpu_share(gpus, seconds * batch, per_run, DRIVER_SECONDS, runs)
        print(f"| {drivers} | {gpus} | {batch} | {per_run:,} | {share:.0%} |")
    records = PICTURES_A_DAY / 1000
    bytes_a_day = PICTURES_A_DAY * PICTURE_BYTES
    print(f"\npictures: {rate * PICTURE_BYTES / 1e9:.1f} GB/s, {bytes_a_day / 1e12:.0f} TB a day")
    print(f"files flushed: {rate:,.0f} pictures and {rate:,.0f} journal lines a second")
    print(
        f"run folders and records: {records:,.0f} a day,"
        f" {PICTURES_A_DAY * RECORD_BYTES_PER_VARIANT / 1e9:.0f} GB of JSON before packing"
    )
    print(
        f"packing: {LOOSE_RECORDS} loose records come together every"
        f" {86_400 / records * LOOSE_RECORDS / 60:.0f} minutes;"
        f" {records / LOOSE_RECORDS:.0f} packs a day, {records / PACKED_TOGETHER:.0f} when packed"
        f" {PACKED_TOGETHER:,} at a time"
    )


if __name__ == "__main__":
    main()
