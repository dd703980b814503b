"""The lines of a spool, each checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safelight.line_checksums import line_state


def lines_of(folder: Path) -> list[dict[str, Any]]:
    lines = []
    for path in sorted(folder.glob("*.spool.jsonl")):
        data = path.read_bytes()
        assert data.endswith(b"\n") or not data
        for line in data.splitlines():
            assert line_state(line) == "whole"
            lines.append(json.loads(line))
    return lines
