"""What an archive costs at scale: packing, the size of a record, and questions.

Makes an archive of COUNT records of about 4 KB with four pictures each, the last 100,000 of them
from loose files by ``Archive.pack``, which is timed. Asks it for a filter with the newest 50, a
grouping by model and sampler, and for words in prompts: one that is common, a phrase that hardly
any prompt has although its words are in all, and one that none has; each beside DuckDB on the same
Parquet files without our views. Then ``safelight find`` as a process of its own, there and in
10,000 records, loose and packed; and peers on the same records: SQLite with indexes and full-text
search, TinyDB (``pip install tinydb``) where it is installed.

Bars at 1,000,000: 150, 200 and 500 ms, the process under 1 s, under 1 GB of memory, under 1 KB a
record, 20,000 records packed a second; a process of its own at 10,000 under 300 ms.

Usage: ``python bench/archive_scale.py [COUNT] [--pictures N]``; 100,000 when not given
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import duckdb

from safelight.archive import Archive
from safelight.archive.packs import read_packs, write_pack
from safelight.archive_layout import packs_folder, records_folder
from safelight.learning import LearningRecord
from safelight.learning.learning_record import ImageOutput

WORDS = [
    "lighthouse", "storm", "cliff", "fog", "dawn", "dusk", "oil", "painting", "sharp", "soft",
    "light", "red", "green", "sea",
]  # fmt: skip
NEGATIVE = "blurry, low quality, watermark, text, bad anatomy, extra fingers"
ENVIRONMENT = {
    "gpu": "NVIDIA GeForce RTX 4090", "gpu_memory": 24_564, "driver": "580.65.06",
    "platform": "Linux-6.8.0-49-generic-x86_64-with-glibc2.39", "python": "3.11.9",
    "torch": "2.8.0+cu128", "xformers": "0.0.32", "precision": "float16",
    "attention": "scaled_dot_product", "device": "cuda:0", "safelight": "0.9.0",
    "numpy": "2.4.6", "pillow": "12.0.0", "settings": {
        "CLIP_stop_at_last_layers": 1, "eta_noise_seed_delta": 0, "emphasis": "Original",
        "upcast_attn": False, "randn_source": "GPU", "sd_vae": "Automatic",
        "sd_model_checkpoint": "model.safetensors [0123456789]", "samples_format": "png",
        "img2img_color_correction": False, "sdxl_crop_left": 0, "sdxl_crop_top": 0,
        "pad_cond_uncond": True, "batch_cond_uncond": True, "s_min_uncond": 0.0,
    },
}  # fmt: skip
BATCH = 20_000
SEARCHES = {
    "common words": "lighthouse cliff fog",
    "a phrase hardly there": "fog fog fog fog fog fog",
    "a word that is not": "zebra",
}
FILTER = "cfg_scale between 5 and 8 and model = 'model-3'"


def document(chance: random.Random, number: int, pictures: int = 4) -> bytes:
    """Return a record of one variant and *pictures* pictures; of four it has about 4 KB."""
    prompt = " ".join(chance.choices(WORDS, k=40))
    knobs = {
        "prompt": prompt, "negative_prompt": NEGATIVE, "steps": chance.randint(10, 50),
        "cfg_scale": chance.randint(2, 24) / 2, "sampler": chance.choice(["Euler a", "DPM++ 2M"]),
        "scheduler": "Karras", "model": f"model-{chance.randint(0, 9)}", "seed": number,
        "width": 512, "height": 512, "batch_size": pictures,
    }  # fmt: skip
    outputs = tuple(
        ImageOutput(
            variant=0, stage="txt2img", sha256=f"{chance.getrandbits(256):064x}",
            pixel_sha256=f"{chance.getrandbits(256):064x}", width=512, height=512,
            path=f"images/2026-01-01/{number}/{place}.png", seed=number + place, seconds=1.5,
        )
        for place in range(pictures)
    )  # fmt: skip
    day, second = divmod(number * 13, 86_400)
    stamp = f"2026-{day // 28 % 12 + 1:02d}-{day % 28 + 1:02d}T{second // 3600:02d}:"
    stamp += f"{second // 60 % 60:02d}:{second % 60:02d}.{number % 1_000_000:06d}Z"
    record = LearningRecord.from_pipeline_context(
        {"txt2img": knobs}, [{"txt2img": knobs}], outputs=outputs, timestamp=stamp,
        run_id=f"{chance.getrandbits(64):016x}", plan_id=f"{chance.getrandbits(64):016x}",
        backend={"name": "webui", "version": "1.10"}, environment=ENVIRONMENT,
        template={
            "prompts": {"txt2img.prompt": prompt, "txt2img.negative_prompt": NEGATIVE},
            "variants": [{"label": "", "choices": {}}],
        },
        seconds={"txt2img": 6.0},
    )  # fmt: skip
    return record.to_json().encode()


def median_ms(work: Callable[[], Any], rounds: int = 5) -> float:
    """Return the median time of *work*, after one to warm up."""
    work()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def documents(first: int, last: int, pictures: int) -> Iterator[bytes]:
    """Yield the records of some numbers; the same for the same *first*."""
    chance = random.Random(first)
    for number in range(first, last):
        yield document(chance, number, pictures)


def add_pack(place: Path, first: int, last: int, pictures: int) -> None:
    """Write some records as one pack."""
    write_pack(packs_folder(place), list(documents(first, last, pictures)))


def add_loose(place: Path, first: int, last: int, pictures: int) -> int:
    """Write some records as files, without waiting for the disk; return their bytes."""
    records_folder(place).mkdir(parents=True, exist_ok=True)
    size = 0
    for number, text in enumerate(documents(first, last, pictures), first):
        (records_folder(place) / f"{number:012d}_{number:016x}.json").write_bytes(text)
        size += len(text)
    return size


def fill(place: Path, count: int, loose: int, pictures: int) -> None:
    """Make *count* records, the last *loose* of them in files of their own."""
    starts = range(0, count, BATCH)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        waiting = [
            pool.submit(
                add_pack if start < count - loose else add_loose,
                place, start, min(start + BATCH, count), pictures,
            )
            for start in starts
        ]  # fmt: skip
        for future in waiting:
            future.result()


def cold(place: Path, condition: str) -> str:
    """Return what ``safelight find`` takes as a process of its own, and its memory."""
    command = [sys.executable, "-m", "safelight", "find", condition, "--archive", str(place)]
    took = median_ms(lambda: subprocess.run(command, check=True, capture_output=True), 5)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return f"{took:8.0f} ms   {peak:.0f} MB at most"


def questions_at_scale(place: Path) -> None:
    """Ask ours and bare DuckDB the same."""
    archive = Archive(place)
    packs, _ = read_packs(packs_folder(place))
    images, runs = (
        [str(pack.path / f"{table}.parquet") for pack in packs] for table in ("images", "runs")
    )
    bare = duckdb.connect()
    groups = "SELECT model, sampler, count(*) AS n FROM {} GROUP BY ALL"
    newest = "SELECT * FROM read_parquet(?) WHERE {} ORDER BY timestamp DESC LIMIT 50"
    where = "cfg_scale BETWEEN 5 AND 8 AND model = 'model-3'"
    asked: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "filter, newest 50": (
            lambda: archive.query(FILTER),
            lambda: bare.execute(newest.format(where), [images]).fetchall(),
        ),
        "group by": (
            lambda: archive.sql(groups.format("runs")),
            lambda: bare.execute(groups.format("read_parquet(?)"), [runs]).fetchall(),
        ),
    }
    for name, words in SEARCHES.items():
        asked[name] = (
            lambda words=words: archive.query(f"prompt has '{words}'"),  # type: ignore[misc]
            lambda words=words: bare.execute(  # type: ignore[misc]
                newest.format("contains(lower(prompt), ?)"), [images, words]
            ).fetchall(),
        )
    for name, (ours, floor) in asked.items():
        mine, theirs = median_ms(ours), median_ms(floor, 3)
        print(f"{name:24}{mine:8.0f} ms   {mine / theirs:.2f} of bare DuckDB ({theirs:.0f} ms)")


def sqlite_of(texts: list[bytes], file: Path) -> sqlite3.Connection:
    """Return a database of the same pictures, with indexes and full-text search of prompts."""
    base = sqlite3.connect(file)
    base.execute("CREATE TABLE images (timestamp, run_id, place, model, sampler, cfg_scale, steps,"
                 " seed, path, sha256, prompt)")  # fmt: skip
    base.execute("CREATE VIRTUAL TABLE words USING fts5(prompt, content='images')")
    rows = []
    for text in texts:
        record = LearningRecord.from_json(text)
        knobs = record.variant_configs[0]["txt2img"]
        rows += [
            (record.timestamp, record.run_id, place, knobs["model"], knobs["sampler"],
             knobs["cfg_scale"], knobs["steps"], output.seed, output.path, output.sha256,
             knobs["prompt"])
            for place, output in enumerate(record.outputs)
        ]  # fmt: skip
    base.executemany(f"INSERT INTO images VALUES ({', '.join('?' * 11)})", rows)
    base.execute("INSERT INTO words(words) VALUES ('rebuild')")
    base.execute("CREATE INDEX by_model ON images (model, timestamp)")
    base.execute("CREATE INDEX by_time ON images (timestamp)")
    base.execute("CREATE INDEX by_both ON images (model, sampler)")
    base.commit()
    return base


def against_sqlite(place: Path, count: int, pictures: int) -> None:
    """Ask ours and SQLite the same; a phrase of whole words, which is all that FTS5 finds."""
    texts = list(documents(0, count, pictures))
    for start in range(0, count, BATCH):
        write_pack(packs_folder(place), texts[start : start + BATCH])
    archive = Archive(place)
    began = time.perf_counter()
    base = sqlite_of(texts, place / "peer.sqlite")
    took, size = time.perf_counter() - began, (place / "peer.sqlite").stat().st_size
    print(f"SQLite {sqlite3.sqlite_version}, {count:,} records: {took:.0f} s to fill,"
          f" {size / count:,.0f} bytes a record")  # fmt: skip
    newest = "SELECT * FROM images WHERE {} ORDER BY timestamp DESC LIMIT 50"
    matching = "rowid IN (SELECT rowid FROM words WHERE words MATCH ?)"
    asked: list[tuple[str, Callable[[], Any], str, tuple[str, ...]]] = [
        ("filter, newest 50", lambda: archive.query(FILTER),
         newest.format("cfg_scale BETWEEN 5 AND 8 AND model = 'model-3'"), ()),
        ("group by", lambda: archive.sql(
            "SELECT model, sampler, count(*) FROM images GROUP BY ALL"),
         "SELECT model, sampler, count(*) FROM images GROUP BY model, sampler", ()),
    ]  # fmt: skip
    for name, words in SEARCHES.items():
        asked.append((
            name, lambda words=words: archive.query(f"prompt has '{words}'"),  # type: ignore[misc]
            newest.format(matching), (f'"{words}"',),
        ))  # fmt: skip
    for name, ours, theirs, values in asked:
        mine = median_ms(ours)
        peer = median_ms(lambda: base.execute(theirs, values).fetchall())  # noqa: B023
        print(f"{name:24}{mine:8.0f} ms   {mine / peer:.2f} of SQLite ({peer:.1f} ms)")


def against_tinydb(place: Path, texts: list[bytes]) -> None:
    """Ask ours and TinyDB the same."""
    try:
        import tinydb
    except ImportError:
        print("TinyDB is not installed: pip install tinydb")
        return
    import json

    file = place / "peer.json"
    began = time.perf_counter()
    with tinydb.TinyDB(file) as base:
        base.insert_multiple([json.loads(text) for text in texts])
    filling = time.perf_counter() - began
    print(f"TinyDB {tinydb.version.__version__}, {len(texts):,} records: {filling:.1f} s to fill,"
          f" {file.stat().st_size / len(texts):,.0f} bytes a record")  # fmt: skip

    def ask() -> list[Any]:
        with tinydb.TinyDB(file) as base:  # as a process that begins must
            test = (tinydb.where("primary_model") == "model-3") & tinydb.where(
                "primary_cfg_scale"
            ).test(lambda value: 5 <= value <= 8)
            return sorted(base.search(test), key=lambda row: str(row["timestamp"]))[-50:]

    archive = Archive(place)
    mine, peer = median_ms(lambda: archive.query(FILTER)), median_ms(ask, 3)
    print(f"{'filter, newest 50':24}{mine:8.0f} ms   {mine / peer:.2f} of TinyDB ({peer:.0f} ms)")


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser()
    parser.add_argument("count", nargs="?", type=int, default=100_000)
    parser.add_argument("--pictures", type=int, default=4)
    given = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    count, pictures = given.count, given.pictures
    loose = min(count, 100_000)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        fill(place, count, loose, pictures)
        mean = sum(path.stat().st_size for path in records_folder(place).iterdir()) / loose
        print(f"{count:,} records of {mean:,.0f} bytes, {count * pictures:,} pictures;"
              f" load of the machine {os.getloadavg()[0]:.1f}")  # fmt: skip
        began = time.perf_counter()
        report = Archive(place).pack()
        packing = time.perf_counter() - began
        used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        size = sum(path.stat().st_size for path in packs_folder(place).rglob("*") if path.is_file())
        print(f"packed {report.records:,} loose files: {report.records / packing:,.0f} records/s,"
              f" {used:.0f} MB a process; {size / count:,.0f} bytes a record")  # fmt: skip
        questions_at_scale(place)
        print(f"{'safelight find':24}{cold(place, FILTER)}")
    for folder in ("loose", "packed"):
        with tempfile.TemporaryDirectory() as name:
            fill(Path(name), 10_000, 10_000, pictures)
            if folder == "packed":
                Archive(name).pack()
            print(f"{'10,000 ' + folder:24}{cold(Path(name), FILTER)}")
    with tempfile.TemporaryDirectory() as name:
        against_sqlite(Path(name), min(count, 100_000), pictures)
    with tempfile.TemporaryDirectory() as name:
        texts = list(documents(0, 10_000, pictures))
        write_pack(packs_folder(Path(name)), texts)
        against_tinydb(Path(name), texts)


if __name__ == "__main__":
    main()
