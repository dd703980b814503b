"""A Ray cluster that is told on standard input what to break; it answers with ``= ...`` lines."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=2) for _ in range(2)]
    for line in sys.stdin:
        word, answer = line.strip(), "done"
        if word == "address":
            answer = cluster.address
        elif word == "kill worker":
            workers = [pid for pid in _below(os.getpid()) if "_Worker" in _name(pid)]
            if workers:
                os.kill(random.choice(workers), signal.SIGKILL)
            answer = f"{len(workers)} workers"
        elif word == "kill node":
            cluster.remove_node(nodes.pop(0), allow_graceful=False)
        elif word == "add node":
            nodes.append(cluster.add_node(num_cpus=2))
        elif word == "end":
            cluster.shutdown()
        sys.stdout.write(f"= {answer}\n")
        sys.stdout.flush()
        if word == "end":
            return


def _below(parent: int) -> set[int]:
    """Return the processes that *parent* has begun, and theirs: nobody else's are broken."""
    above = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                stat = (path / "stat").read_text()
                above[int(path.name)] = int(stat.rpartition(")")[2].split()[1])
    processes = {parent}
    while more := {pid for pid, owner in above.items() if owner in processes} - processes:
        processes |= more
    return processes


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


if __name__ == "__main__":
    main()
