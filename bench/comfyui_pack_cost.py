"""What the ComfyUI pack costs an execution, inside ComfyUI itself, with it and without in pairs.

Two servers on one machine, one with the pack, draw the same small pictures in turns; what counts
is the time that ComfyUI states for each, from ``execution_start`` to the next prompt's start, so
that the end of a prompt is in it. Needs a folder that ``tests/backends/comfyui/real_server.py`` has
prepared::

    python bench/comfyui_pack_cost.py build/comfyui [PAIRS]
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from backends.comfyui.real_server import RealServer
from integrations.comfyui_pack import base_of, posted, wait_for

_TOGETHER = 20
"""Prompts that are queued at once: what a prompt costs after its end delays the next one."""


def small(seed: int, prefix: str) -> dict[str, object]:
    """Return a graph that takes milliseconds, so that the pack's share can be seen."""
    return {
        "1": {"class_type": "EmptyImage",
              "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": seed}},
        "2": {"class_type": "SaveImage",
              "inputs": {"images": ["1", 0], "filename_prefix": prefix}},
    }  # fmt: skip


def seconds_each(url: str, seed: int) -> float:
    """Draw some prompts that were queued at once; return seconds from one's start to the next's."""
    ids = [posted(url, small(seed + n, f"p{seed}")) for n in range(_TOGETHER)]
    last = ids[-1]
    wait_for(lambda: last in httpx.get(f"{url}/history/{last}", timeout=60).json())
    history = httpx.get(f"{url}/history", params={"max_items": _TOGETHER}, timeout=60).json()
    starts = sorted(history[name]["status"]["messages"][0][1]["timestamp"] for name in ids)
    return float(starts[-1] - starts[0]) / 1000 / (_TOGETHER - 1)


def main() -> None:
    """Print what the pack costs."""
    prepared = Path(sys.argv[1])
    pairs = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    with tempfile.TemporaryDirectory() as folder:
        bases = [base_of(prepared, Path(folder) / name, with_pack=name == "with")
                 for name in ("without", "with")]  # fmt: skip
        with (
            RealServer(prepared, base=bases[0]) as bare,
            RealServer(prepared, base=bases[1]) as noting,
        ):
            for server in (bare, noting):
                seconds_each(server.url, 0)  # what only the first one costs
            costs: list[float] = []
            worked = {server.url: -server.processor_seconds() for server in (bare, noting)}
            for pair in range(1, pairs + 1):
                order = [bare, noting]
                random.Random(pair).shuffle(order)
                took = {server.url: seconds_each(server.url, pair * 1000) for server in order}
                costs.append(1000 * (took[noting.url] - took[bare.url]))
            time.sleep(1)
            for server in (bare, noting):
                worked[server.url] += server.processor_seconds()
            more = worked[noting.url] - worked[bare.url]
            lines = sum(
                path.read_bytes().count(b"\n")
                for path in (bases[1] / "output" / ".safelight-spool").glob("*.jsonl")
            )
            pictures = [name for name in noting.open_files() if name.endswith(".png")]
    quarters = statistics.quantiles(costs, n=4)
    print(f"{pairs} pairs of {_TOGETHER} executions, with the pack less without:"
          f" median {statistics.median(costs):+.2f} ms per execution"
          f" (quarters {quarters[0]:+.2f} to {quarters[2]:+.2f})")  # fmt: skip
    print(f"processor time of the whole process, the same way:"
          f" {1000 * more / pairs / _TOGETHER:+.2f} ms per execution"
          f" of {1000 * worked[bare.url] / pairs / _TOGETHER:.1f} ms")  # fmt: skip
    print(f"lines: {lines} of {(pairs + 1) * _TOGETHER}; pictures held open: {len(pictures)}")


if __name__ == "__main__":
    main()
