"""What it costs to hash a picture's image data beside its bytes, in one reading.

    python bench/picture_hashes.py [--megabytes 0.012 1.0] [--rounds 60]

The floor opens the same file, reads it once and hashes its bytes twice, which is what both hashes
come to; a ratio of 1.00 is free, and what finding the image data costs is the rest. PNG with the
chunks of libpng (8 KiB) and of Pillow (64 KiB), JPEG and WebP, of noise; files are warm in memory,
rounds alternate, the median of the processor time counts.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import statistics
import struct
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from safelight.formats.image_data import hash_picture

_BUFFER = 2**18


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(pixels: bytes, together: int) -> bytes:
    header = struct.pack(">IIBBBBB", 512, 512, 8, 2, 0, 0, 0)
    parts = [pixels[place : place + together] for place in range(0, len(pixels), together)]
    text = _chunk(b"tEXt", b"parameters\0a lighthouse\nSteps: 20")
    start = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + text
    return start + b"".join(_chunk(b"IDAT", part) for part in parts) + _chunk(b"IEND", b"")


def _jpeg(pixels: bytes) -> bytes:
    scan = pixels.replace(b"\xff", b"\xfe")
    return b"\xff\xd8\xff\xe0\0\4ab\xff\xda\0\4ab" + scan + b"\xff\xd9"


def _webp(pixels: bytes) -> bytes:
    body = b"WEBPVP8L" + struct.pack("<I", len(pixels)) + pixels
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _twice(file: BinaryIO) -> None:
    one, other = hashlib.sha256(), hashlib.sha256()
    while data := file.read(_BUFFER):
        one.update(data)
        other.update(data)


def _seconds(work: Callable[[BinaryIO], object], path: Path, times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        with path.open("rb") as file:
            work(file)
    return (time.process_time() - began) / times


def _compare(megabytes: float, rounds: int, folder: Path) -> None:
    pixels = random.Random(0).randbytes(2 * round(megabytes * 5e5))
    files = {
        "PNG, chunks of 8 KiB": _png(pixels, 2**13), "PNG, chunks of 64 KiB": _png(pixels, 2**16),
        "JPEG": _jpeg(pixels), "WebP": _webp(pixels),
    }  # fmt: skip
    print(f"{megabytes:g} MB each, {rounds} rounds")
    for name, data in files.items():
        path = folder / "picture"
        path.write_bytes(data)
        with path.open("rb") as file:
            assert hash_picture(file).is_split
        times = max(1, round(2 / megabytes))
        pairs = [(_seconds(_twice, path, times), _seconds(hash_picture, path, times))
                 for _ in range(rounds)]  # fmt: skip
        floor, ours = (statistics.median(times) for times in zip(*pairs, strict=True))
        print(f"  {name:22} {floor / ours:5.2f} of hashing the same bytes twice "
              f"({ours * 1000:.3f} ms)")  # fmt: skip


def main() -> None:
    """Hash, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, nargs="+", default=[0.012, 1.0])
    parser.add_argument("--rounds", type=int, default=60)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for megabytes in asked.megabytes:
            _compare(megabytes, asked.rounds, Path(folder))


if __name__ == "__main__":
    main()
