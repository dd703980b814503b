"""Whether effects tell the truth in worlds whose truth is planted: archives as people have them.

``tests/learning/evidence/worlds.py`` lists the worlds. Of each so many archives are drawn and
judged; every archive is decided by its world's name and its number. What came of an archive is one
line of JSON in a file: what is there already, of the same code and worlds, is not worked out again,
so that a run that was stopped goes on.

* coverage: how many 95 % intervals hold the truth, of all that are about one (bar: 93 to 97 %);
* false clear: in how many archives anything is called clear that is not so (bar: at most 5 %);
  the same of likely or clear; and how many clear differences have the wrong sign (bar: none);
* false small: how many differences of 0.2 or more are said to make none that matters;
* named: how many knobs that cannot be told from something, by design, have that named and are
  not claimed (bar: all);
* found: how many of the true differences are called likely or clear, how many clear, and how many
  an oracle finds that knows all but the differences themselves;
* pairs: how many planted pairs of knobs that depend on each other are named;
* seconds: of one processor, an archive's judgement, the oracle's included.

Usage: ``PYTHONPATH=tests python bench/evidence_worlds.py [--runs N] [--worlds NAME ...]
[--out FILE]``; 400 archives of all worlds when not given
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import learning.evidence
from learning.evidence.judgement import outcome
from learning.evidence.worlds import WORLDS, archive_of
from safelight.learning import evidence

Line = dict[str, Any]
_CHUNK = 4
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def code_digest() -> str:
    """Return what tells this code of effects, and of worlds, from another."""
    whole = hashlib.sha256()
    for folder in (*evidence.__path__, *learning.evidence.__path__):
        for path in sorted(Path(folder).glob("*.py")):
            if not path.name.startswith("test_"):
                whole.update(path.name.encode() + path.read_bytes())
    return whole.hexdigest()[:16]


def judged(world: str, runs: Sequence[int], code: str) -> list[Line]:
    """Return what becomes of those archives; an error becomes a line, too."""
    lines: list[Line] = []
    for run in runs:
        line: Line = {"world": world, "run": run, "code": code}
        archive, began = archive_of(world, run), time.process_time()
        try:
            line |= asdict(outcome(archive))
            line["seconds"] = time.process_time() - began
        except Exception as error:  # noqa: BLE001 - one broken archive must not hide the others
            line["error"] = f"{type(error).__name__}: {error}"
        lines.append(line)
    return lines


def known_lines(out: Path, code: str) -> dict[tuple[str, int], Line]:
    """Return the lines of *out* that this code wrote, by world and run."""
    if not out.exists():
        return {}
    text = out.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]  # a run that was killed may have left half a line
    if whole != text:
        out.write_text(whole, encoding="utf-8")
    lines = [json.loads(line) for line in whole.splitlines()]
    mine = {(line["world"], line["run"]): line for line in lines if line["code"] == code}
    if others := sum(line["code"] != code for line in lines):
        print(f"{others:,} lines of {out} are of other code or worlds and do not count")
    return mine


def run_worlds(worlds: Sequence[str], runs: int, out: Path) -> dict[tuple[str, int], Line]:
    """Judge what is lacking in *out*, add it there, and return all lines."""
    code = code_digest()
    lines = known_lines(out, code)
    left = [(w, [r for r in range(runs) if (w, r) not in lines]) for w in worlds]
    # Read by every process when it loads its arithmetic: one thread each.
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    pool = ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn"))
    with pool, out.open("a", encoding="utf-8") as file:
        waiting = [  # some of each world first: a run that is stopped has as many of all
            pool.submit(judged, world, missing[start : start + _CHUNK], code)
            for start in range(0, runs, _CHUNK)
            for world, missing in left
            if missing[start : start + _CHUNK]
        ]
        for done in as_completed(waiting):
            for line in done.result():
                lines[line["world"], line["run"]] = line
                file.write(json.dumps(line) + "\n")
            file.flush()
    return lines


def table(worlds: Iterable[str], runs: int, lines: Mapping[tuple[str, int], Line]) -> list[str]:
    """Return the rows of a table in Markdown."""
    heads = (
        "world", "runs", "coverage (n)", "false clear", "false likely or clear", "wrong signs",
        "false small", "named", "likely", "clear", "oracle", "of", "pairs", "seconds",
    )  # fmt: skip
    rows = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for world in worlds:
        every = [lines[world, run] for run in range(runs) if (world, run) in lines]
        whole = [line for line in every if "error" not in line]
        rows.append(f"| {' | '.join([world, *_cells(whole, len(every) - len(whole))])} |")
    return rows


def _cells(lines: Sequence[Line], broken: int) -> list[str]:
    def total(name: str) -> float:
        return float(sum(line[name] for line in lines))

    def share(name: str, of: str) -> str:
        return f"{total(name) / total(of):.3f}" if total(of) else ""

    def archives(name: str) -> str:
        count = sum(bool(line[name]) for line in lines)
        return f"{count / max(len(lines), 1):.4f} ({count:,})"

    runs = f"{len(lines)}" + (f", {broken} broken" if broken else "")
    coverage = share("held", "intervals")
    return [
        runs, f"{coverage} ({total('intervals'):,.0f})" if coverage else "",
        archives("false_clear"), archives("false_likely"),
        f"{total('wrong_sign'):.0f}", f"{total('false_small'):.0f}", share("named", "untold"),
        share("likely", "effects"), share("clear", "effects"), share("oracle", "effects"),
        f"{total('effects'):,.0f}" if total("effects") else "", share("found", "planted"),
        f"{total('seconds') / max(len(lines), 1):.2f}",
    ]  # fmt: skip


def main() -> None:
    """Judge worlds and print the table."""
    parser = argparse.ArgumentParser(description="Whether effects tell the truth.")
    parser.add_argument("--runs", type=int, default=400, help="archives of each world")
    parser.add_argument(
        "--worlds", nargs="+", choices=list(WORLDS), metavar="WORLD", default=list(WORLDS)
    )
    parser.add_argument("--out", type=Path, default=Path("evidence_worlds.jsonl"))
    asked = parser.parse_args()
    lines = run_worlds(asked.worlds, asked.runs, asked.out)
    print("\n".join(table(asked.worlds, asked.runs, lines)))
    broken = [line for line in lines.values() if "error" in line]
    print("\n".join(sorted({f"{line['world']}: {line['error']}" for line in broken})))


if __name__ == "__main__":
    main()
