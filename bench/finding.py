"""What words and completion cost at the page, beside a change of a filter by columns.

Makes an archive of COUNT pictures as ``light_table.py`` does, serves it as a process of its own,
and asks it in turn, over HTTP, never the same twice: filters by columns, each with its pictures
and its counts; words likewise; and what the field offers while one is typed, a key at a time.
A word is in most of these pictures, so that more is counted than for a filter: the same by ``prompt
has`` stands beside it. Each is asked three times, and the least time of a question counts, as
machines do other things, too. Asserted from 100,000 pictures on: a word takes at most twice a
filter change, and 1.5 times the same by ``prompt has``; a key half of a filter change.

Usage: ``PYTHONPATH=tests python bench/finding.py [COUNT] [ROUNDS] [ARCHIVE]``; 500,000 and 10 when
not given. An ARCHIVE that is there already is used again.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx

import archive_scale
import light_table

MANY = 100_000
TYPED = ("lighthouse mod", "model = 'mod", "sampler = 'eu", "lora", "steps > ", "dusk")


def seconds(page: httpx.Client, *paths: tuple[str, str]) -> float:
    """Return how long the answers to *paths*, each with its filter, take together."""
    begun = time.perf_counter()
    for path, q in paths:
        page.get(path, params={"q": q}, timeout=60).raise_for_status()
    return time.perf_counter() - begun


def change(page: httpx.Client, q: str, number: int) -> float:
    """Return the least time that pictures and counts of *q* take, asked in three ways."""
    ways = [f"{q} seed != {3 * number + way}" for way in range(3)]
    return min(seconds(page, ("/api/pictures", way), ("/api/facets", way)) for way in ways)


def main() -> None:
    """Print the numbers."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(sys.argv[3] if len(sys.argv) > 3 else Path(folder) / "archive")
        if not archive.exists():
            light_table.fill(archive, count)
        port = light_table.free_port()
        process = light_table.start(archive, port)
        try:
            light_table.answered(f"http://127.0.0.1:{port}/")
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as page:
                seconds(page, ("/api/facets", ""), ("/api/complete", "a"))  # all is in memory
                measure(page, rounds, asserted=count >= MANY)
        finally:
            process.terminate()
            process.wait()


def measure(page: httpx.Client, rounds: int, *, asserted: bool) -> None:
    """Print what is asked for *rounds* times costs, in the middle."""
    columns, prompts, words = list[float](), list[float](), list[float]()
    two, keys = list[float](), list[float]()
    for number in range(rounds):
        q = light_table.FILTERS[number % len(light_table.FILTERS)]
        columns.append(change(page, f"{q} and", number))
        word, other = (archive_scale.WORDS[(number + n) % len(archive_scale.WORDS)] for n in (0, 5))
        prompts.append(change(page, f"prompt has '{word}' and", number))
        words.append(change(page, word, number))
        two.append(change(page, f"{word} {other}", number))
        text = TYPED[number % len(TYPED)]
        keys += [seconds(page, ("/api/complete", text[:end])) for end in range(1, len(text) + 1)]
    usual = statistics.median(columns)
    print(f"  a filter by columns         {usual * 1000:8.1f} ms")
    for name, taken in (
        ("the same, prompt has 'word'", prompts),
        ("a word", words),
        ("two words", two),
        ("a key that completes", keys),
    ):
        middle = statistics.median(taken)
        print(f"  {name:27} {middle * 1000:8.1f} ms, {middle / usual:.3f} of it")
    of_word, key, same = map(statistics.median, (words, keys, prompts))
    if not asserted:
        return
    assert of_word <= 2 * usual, "a word takes more than two filter changes"
    assert of_word <= 1.5 * same, "a word takes more than 1.5 times the same by prompt has"
    assert key <= 0.5 * usual, "a key takes more than half of a filter change"


if __name__ == "__main__":
    main()
