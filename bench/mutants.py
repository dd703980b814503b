"""How many small changes of the code the tests see: mutants of mutmut, drawn with a fixed seed.

Mutants of what figures and durability rest on: evidence, record, journal, transfer. Each is run
against the tests that reach it, in a copy of the tree below ``build``. It takes a quarter of an
hour, so it is no part of CI; ``make mutants`` sets it up.

    python bench/mutants.py [--count 300] [--seed 20261129] [--only NAME ...]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPY = ROOT / "build" / "mutants"
MUTATED = {
    "evidence/": (
        "adjusted_model", "confounding", "effects", "interactions", "knob_levels", "next_to_rate",
        "paired_comparisons", "pick_model", "scores", "star_model", "trials",
    ),
    "plans/": ("proposals", "suggest", "surrogate"),
    "": ("learning_record", "snapshot"),
}  # fmt: skip
FILES = [
    *(
        f"src/safelight/learning/{group}{name}.py"
        for group, names in MUTATED.items()
        for name in names
    ),
    "src/safelight/pipeline/journal.py",
    "src/safelight/archive/transfer.py",
    "src/safelight/archive/folder_copy.py",
]
KILLED = {1, 3, 24, -24, 36, 152, 255}
"""Exit statuses of mutmut: a test failed, or did not come to an end."""

TESTS = ["tests/learning", "tests/pipeline", "tests/archive/test_transfer.py"]
SETTINGS = f"""
[tool.mutmut]
source_paths = ["src"]
only_mutate = {json.dumps(FILES)}
also_copy = ["bench", "docs", "README.md"]
pytest_add_cli_args = ["-p", "no:cacheprovider"]
pytest_add_cli_args_test_selection = {json.dumps(TESTS)}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print how many die, and what the survivors are; return 1 when fewer than 85 % die."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300, help="how many mutants")
    parser.add_argument("--seed", type=int, default=20261129, help="which of them")
    parser.add_argument("--only", nargs="*", default=[], help="these, by name")
    parser.add_argument("--children", type=int, default=2, help="processes")
    given = parser.parse_args(arguments)
    _copy_tree()
    everything = _outcomes(given.children, ["nothing-is-called-so"])
    chosen = given.only or sorted(everything)
    if not given.only and len(chosen) > given.count:
        chosen = sorted(sorted(chosen, key=partial(_place, given.seed))[: given.count])
    outcomes = _outcomes(given.children, chosen)
    dead = [name for name in chosen if outcomes.get(name) in KILLED]
    for name in sorted(set(chosen) - set(dead)):
        print(f"\nsurvives: {name}")
        print(_mutmut("show", name))
    share = len(dead) / max(1, len(chosen))
    print(
        f"{len(dead):,} of {len(chosen):,} mutants die ({share:.1%}), of {len(everything):,} in"
        f" {len(FILES)} files"
    )
    return 0 if share >= 0.85 else 1


def _place(seed: int, name: str) -> bytes:
    """Return by what mutants are drawn: a change of the code changes the draw little."""
    # The draw goes by what is changed, not by where its module lies.
    plain = re.sub(r"\.learning\.(evidence|plans)\.", ".learning.", name)
    return hashlib.sha256(f"{seed} {plain}".encode()).digest()


def _copy_tree() -> None:
    """Copy what git tracks, as it stands now, to below ``build``."""
    shutil.rmtree(COPY, ignore_errors=True)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        source, target = ROOT / name, COPY / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    with (COPY / "pyproject.toml").open("a") as settings:
        settings.write(SETTINGS)


def _outcomes(children: int, names: Sequence[str]) -> dict[str, int | None]:
    """Run the mutants called *names*; return mutant -> exit status of its tests, of all."""
    _mutmut("run", "--max-children", str(children), *names)
    exit_codes: dict[str, int | None] = {}
    for path in (COPY / "mutants").rglob("*.meta"):
        exit_codes |= json.loads(path.read_bytes())["exit_code_by_key"]
    return exit_codes


def _mutmut(*arguments: str) -> str:
    command = [sys.executable, "-m", "mutmut", *arguments]
    done = subprocess.run(command, cwd=COPY, capture_output=True, check=False)
    return done.stdout.decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
