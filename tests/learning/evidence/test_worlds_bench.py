"""The long form of :mod:`.test_worlds` goes on where it was stopped, and never mixes code."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "bench"))

from evidence_worlds import code_digest, judged, known_lines, table


def test_a_run_that_was_killed_goes_on_from_its_last_whole_line(tmp_path: Path) -> None:
    out = tmp_path / "lines.jsonl"
    assert known_lines(out, "a") == {}
    whole = [{"world": "few_50", "run": run, "code": "a"} for run in range(2)]
    text = "".join(json.dumps(line) + "\n" for line in whole)
    out.write_text(text + '{"world": "few_50", "ru', encoding="utf-8")
    assert list(known_lines(out, "a").values()) == whole
    assert out.read_text(encoding="utf-8") == text, "the next line would go on in that half one"


def test_what_other_code_said_does_not_count(tmp_path: Path) -> None:
    out = tmp_path / "lines.jsonl"
    out.write_text('{"world": "few_50", "run": 0, "code": "b"}\n', encoding="utf-8")
    assert known_lines(out, "a") == {}
    assert len(code_digest()) == 16


def test_an_archive_that_breaks_the_code_is_counted_apart() -> None:
    """It must be seen in the table, and hide no other."""
    lines = {("few_50", line["run"]): line for line in judged("few_50", [0, 1], "a")}
    lines["few_50", 1] = {"world": "few_50", "run": 1, "code": "a", "error": "ValueError: no"}
    (row,) = table(["few_50"], 2, lines)[2:]
    assert row.startswith("| few_50 | 1, 1 broken | ")
