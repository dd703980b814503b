"""How fast pictures are imported, beside a peer that only reads their metadata.

    python bench/import_speed.py [--pictures 4000] [--megabytes 1.0] [--jobs 2]
    python bench/import_speed.py --pictures 16000 --megabytes 0.012  # many small ones

Makes PNG files of the given size with AUTOMATIC1111's text (and a ComfyUI graph in every fifth),
imports them with the files warm in memory, and prints pictures a second: bytes hashed, metadata
read, records packed and verified. The floor is SHA-256 of the same files in as many processes;
the peer is that and sd-parsers (of the dependency group ``dev``), which keeps nothing. The import
of the tree as it was is told in processor time beside a bare walk: every file's name, size and
times read, and compared with those of before.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import statistics
import struct
import tempfile
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from safelight.archive import Archive
from safelight.imports.folder_import import import_folders

_WORDS = ("lighthouse", "storm", "portrait", "oil painting", "ink", "forest", "robot", "harbour")
_GRAPH: dict[str, dict[str, Any]] = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "model.safetensors"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a harbour", "clip": ["1", 1]}},
    "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["1", 1]}},
    "4": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512}},
    "5": {"class_type": "KSampler", "inputs": {
        "seed": 1, "steps": 20, "cfg": 7, "sampler_name": "euler", "scheduler": "karras",
        "denoise": 1, "model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0],
        "latent_image": ["4", 0]}},
    "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0]}},
}  # fmt: skip


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _picture(number: int, side: int, pixels: bytes) -> bytes:
    chance = random.Random(number)
    if number % 5 == 0:
        graph = json.dumps(
            {
                **_GRAPH,
                "5": {
                    "class_type": "KSampler",
                    "inputs": {**_GRAPH["5"]["inputs"], "seed": number},
                },
            }
        )
        text = _chunk(b"tEXt", b"prompt\0" + graph.encode())
    else:
        words = ", ".join(chance.choices(_WORDS, k=6))
        steps, cfg = chance.choice((20, 30)), chance.choice((5, 7))
        text = _chunk(b"tEXt", (
            f"parameters\0{words}\nNegative prompt: blurry, signature\nSteps: {steps}, "
            f"Sampler: Euler a, Schedule type: Karras, CFG scale: {cfg}, Seed: {number}, "
            f"Size: 512x512, Model hash: 6ce0161689, Model: v1-5-pruned, "
            "Version: v1.10.1").encode())  # fmt: skip
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    own = _chunk(b"PLTE", number.to_bytes(3, "big"))  # no two have the same image data
    start = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + own
    return start + text + pixels + _chunk(b"IEND", b"")


def _noise(side: int) -> bytes:
    chance = random.Random(0)
    rows = b"".join(b"\0" + chance.randbytes(3 * side) for _ in range(side))
    return _chunk(b"IDAT", zlib.compress(rows, 0))


def _hash(paths: list[str]) -> int:
    total = 0
    for path in paths:
        with Path(path).open("rb") as file:
            total += len(hashlib.file_digest(file, "sha256").digest())
    return total


def _peer(paths: list[str]) -> int:
    from sd_parsers import ParserManager

    manager = ParserManager()
    return _hash(paths) + sum(manager.parse(path) is not None for path in paths)


def _bare_walk(folder: str) -> dict[str, tuple[int, int, int]]:
    met: dict[str, tuple[int, int, int]] = {}
    pending = [folder]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    pending.append(entry.path)
                else:
                    status = entry.stat()
                    met[entry.path] = status.st_size, status.st_mtime_ns, status.st_ctime_ns
    return met


def _tell_unchanged(folder: Path, archive: Archive, rounds: int = 7) -> None:
    before = _bare_walk(str(folder))
    floors, ours = [], []
    for _ in range(rounds):
        began = time.process_time()
        assert _bare_walk(str(folder)) == before
        walked = time.process_time()
        assert import_folders([folder], archive).unchanged == len(before)
        floors.append(walked - began)
        ours.append(time.process_time() - walked)
    floor, own = statistics.median(floors), statistics.median(ours)
    print(f"  the same again        {own * 1000:8,.0f} ms of processor time, {own / floor:.2f} x a "
          f"bare walk ({floor * 1000:,.0f} ms)")  # fmt: skip


def _timed(work: Callable[[list[str]], int], paths: list[str], jobs: int) -> float:
    batches = [paths[place : place + 32] for place in range(0, len(paths), 32)]
    with ProcessPoolExecutor(jobs) as pool:
        list(pool.map(work, batches[:jobs]))
        began = time.perf_counter()
        list(pool.map(work, batches))
        return time.perf_counter() - began


def main() -> None:
    """Make, import and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=4000)
    parser.add_argument("--megabytes", type=float, default=1.0)
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    side = round((asked.megabytes * 1e6 / 3) ** 0.5)
    pixels = _noise(side)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "pictures"
        for number in range(asked.pictures):
            path = folder / f"{number // 1000:03}" / f"{number:06}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_picture(number, side, pixels))
        paths = sorted(str(path) for path in folder.rglob("*.png"))
        _hash(paths)
        floor = _timed(_hash, paths, asked.jobs)
        archive = Archive(Path(place) / "archive")
        summary = import_folders([folder], archive, jobs=asked.jobs)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        full = sum(counts["full"] for counts in summary.read.values())
        print(f"{asked.pictures:,} PNG files of {asked.megabytes:g} MB, {asked.jobs} processes, "
              f"{os.cpu_count()} cores")  # fmt: skip
        print(f"  floor, SHA-256 only   {asked.pictures / floor:8,.0f} pictures/s")
        rate = asked.pictures / summary.seconds
        print(f"  safelight import      {rate:8,.0f} pictures/s, {floor / summary.seconds:.2f} of "
              f"the floor; {full:,} read fully")  # fmt: skip
        _tell_unchanged(folder, archive)
        try:
            import sd_parsers  # noqa: F401
        except ImportError:
            print("  sd-parsers is not installed: it is in the dependency group dev")
        else:
            peer = _timed(_peer, paths, asked.jobs)
            print(f"  SHA-256 + sd-parsers {asked.pictures / peer:8,.0f} pictures/s, "
                  f"import is {peer / summary.seconds:.2f} x as fast")  # fmt: skip
        print(f"  peak memory of the importing process {peak:,.0f} MiB")


if __name__ == "__main__":
    main()
