"""What an archive costs at scale: packing, the size of a record, and questions.

Makes an archive of COUNT records of about 4 KB, packs it, and asks it: a filter with the newest
50, a grouping by model and sampler, a word in prompts, each beside DuckDB on the same Parquet
files without our views; and ``safelight find`` as a process of its own, cold. Bars at 1,000,000:
150, 200 and 500 ms, the process under 1 s, under 1 GB of memory, under 1 KB a record, at least
20,000 records packed a second.

Usage: ``python bench/archive_scale.py [COUNT]``; 100,000 when not given
"""

from __future__ import annotations

import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import duckdb

from safelight.archive import Archive
from safelight.archive.packs import read_packs, write_pack
from safelight.archive_layout import packs_folder
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


def main() -> None:
    """Print everything."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    chance = random.Random(1)
    with tempfile.TemporaryDirectory() as place:
        archive = Archive(place)
        packing, bytes_in = 0.0, 0
        for start in range(0, count, BATCH):
            documents = [document(chance, n) for n in range(start, min(start + BATCH, count))]
            bytes_in += sum(map(len, documents))
            began = time.perf_counter()
            write_pack(packs_folder(archive.path), documents)
            packing += time.perf_counter() - began
        size = sum(path.stat().st_size for path in archive.path.rglob("*") if path.is_file())
        print(f"{count:,} records of {bytes_in / count:,.0f} bytes")
        print(f"packed: {count / packing:,.0f} records/s, {size / count:,.0f} bytes a record")
        packs, _ = read_packs(packs_folder(archive.path))
        images, runs = (
            [str(pack.path / f"{table}.parquet") for pack in packs] for table in ("images", "runs")
        )
        bare = duckdb.connect()
        groups = "SELECT model, sampler, count(*) AS n FROM {} GROUP BY ALL"
        where = "cfg_scale BETWEEN 5 AND 8 AND model = 'model-3' ORDER BY timestamp DESC LIMIT 50"
        questions: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
            "filter, newest 50": (
                lambda: archive.query(FILTER),
                lambda: bare.execute(
                    f"SELECT * FROM read_parquet(?) WHERE {where}", [images]
                ).fetchall(),
            ),
            "group by": (
                lambda: archive.sql(groups.format("runs")),
                lambda: bare.execute(groups.format("read_parquet(?)"), [runs]).fetchall(),
            ),
            "word in prompt": (
                lambda: archive.query("prompt has 'lighthouse cliff fog'"),
                lambda: bare.execute(
                    "SELECT * FROM read_parquet(?) WHERE contains(lower_prompt, 'lighthouse cliff"
                    " fog') ORDER BY timestamp DESC LIMIT 50", [images],
                ).fetchall(),
            ),
        }  # fmt: skip
        for name, (ours, floor) in questions.items():
            mine, theirs = median_ms(ours), median_ms(floor)
            print(f"{name:18}{mine:8.0f} ms   {mine / theirs:.2f} of bare DuckDB ({theirs:.0f} ms)")
        command = [sys.executable, "-m", "safelight", "find", FILTER, "--archive", place]
        cold = median_ms(lambda: subprocess.run(command, check=True, capture_output=True), 3)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"{'safelight find':18}{cold:8.0f} ms   a process of its own, {peak:.0f} MB")


if __name__ == "__main__":
    main()
