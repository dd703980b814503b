"""Plans of 10^9 variants: time to count, to the first variant and to 10,000, and peak memory.

The peer is the ``dynamicprompts`` library listing 10,000 prompts of the same template in the
same run; it has neither a count nor random access, tokens or sweeps.

    python bench/plan_space.py
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from itertools import islice
from typing import Any

from dynamicprompts.generators import CombinatorialPromptGenerator

from safelight.config import PipelineConfig
from safelight.randomizer import plan_variants

WALKED = 10_000

BRACES = " ".join("{" + "|".join(f"w{i}.{j}" for j in range(10)) + "}" for i in range(9))
TOKENS = [
    {"token": f"__t{n}__", "values": [f"v{n}.{value}" for value in range(32)]} for n in range(6)
]
TOKEN_PROMPT = " ".join(str(token["token"]) for token in TOKENS)

SPACES: dict[str, dict[str, Any]] = {
    "template of 10^9": {"txt2img": {"prompt": BRACES}, "randomizer": {}},
    "six tokens of 32": {
        "txt2img": {"prompt": TOKEN_PROMPT},
        "randomizer": {"wildcards": {"tokens": TOKENS}},
    },
    "sweep of 10^9": {
        "txt2img": {"prompt": "a cat"},
        "randomizer": {"sweep": {"txt2img.seed": "1-1000000000"}},
    },
    "all three": {
        "txt2img": {"prompt": f"{BRACES} {TOKEN_PROMPT}"},
        "randomizer": {
            "wildcards": {"tokens": TOKENS},
            "sweep": {"txt2img.seed": "1-1000000000"},
        },
    },
    "without a quarter": {
        "txt2img": {"prompt": TOKEN_PROMPT},
        "randomizer": {
            "wildcards": {"tokens": TOKENS},
            "sweep": {"txt2img.steps": "1-900"},
            "exclude": [{"where": "steps > 675 and token('t0') has 'v' and token('t5') has 'v'"}],
        },
    },
}


def seconds(work: Callable[[], object]) -> float:
    """Return how long *work* takes, in seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(name: str, data: dict[str, Any], mode: str, peer: float) -> None:
    """Print one row; memory is traced in a second pass, because tracing takes time."""
    data = {**data, "randomizer": {**data["randomizer"], "mode": mode, "draws": WALKED}}
    config = PipelineConfig.from_mapping(data)
    count = seconds(lambda: plan_variants(config))
    plan = plan_variants(config)
    first = seconds(lambda: plan.variants[0])
    walk = seconds(lambda: sum(1 for _ in plan.variants[:WALKED]))
    tracemalloc.start()
    again = plan_variants(config)
    for _ in again.variants[:WALKED]:
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(
        f"{name:18} {mode:8} {float(plan.plan_size):8.0e} {count * 1e3:9.1f} {first * 1e3:9.2f} "
        f"{walk:9.2f} {peak / 1e6:9.1f} {walk / peer:9.2f}"
    )


def main() -> None:
    """Print a row for every space and mode."""
    peer = seconds(
        lambda: list(islice(CombinatorialPromptGenerator().generate(BRACES, WALKED), WALKED))
    )
    print(f"dynamicprompts lists {WALKED:,} prompts of the template in {peer:.2f} s")
    for heads in (
        ("", "", "plan", "count", "first", "10,000", "peak", "ratio"),
        ("", "", "", "ms", "ms", "s", "MB", "to peer"),
    ):
        print("{:18} {:8} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9}".format(*heads))
    for mode in ("fanout", "random"):
        for name, data in SPACES.items():
            measure(name, data, mode, peer)


if __name__ == "__main__":
    main()
