"""The table "family x feature" of ``docs/backends.md``, made from what the tests drew.

``tests/data/families/families.json`` holds, for the engine diffusers, what came of each family and
feature (``family_pipelines.py`` draws it and writes it), and for the other engines what was run and
what was not, by hand. Run by itself this writes the table again from that file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["DRAWN", "FEATURES", "read_families", "table", "write_families", "write_table",
           "written_table"]  # fmt: skip

ROOT = Path(__file__).parents[2]
DRAWN = ROOT / "tests" / "data" / "families" / "families.json"
DOCS = ROOT / "docs" / "backends.md"
FEATURES = (
    "txt2img", "cfg_scale", "another sampler", "batch_size", "img2img", "mask", "hires fix",
)  # fmt: skip
_BEGIN = "<!-- written by tests/backends/family_table.py; do not edit -->\n"
_END = "<!-- end of the table -->\n"


def read_families() -> dict[str, Any]:
    """Return engine -> family -> what works."""
    families: dict[str, Any] = json.loads(DRAWN.read_text("utf-8"))
    return families


def write_families(families: dict[str, Any]) -> None:
    """Write what :func:`read_families` reads."""
    DRAWN.write_text(json.dumps(families, indent=1, ensure_ascii=False) + "\n", "utf-8")


def table(families: dict[str, Any]) -> str:
    """Return the table, with each sentence of refusal once below it."""
    sentences: dict[str, int] = {}
    others = [engine for engine in families if engine != "diffusers"]
    heads = ("family", *FEATURES, *(f"`{engine}`" for engine in others))
    rows = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for family, drawn in families["diffusers"].items():
        cells = []
        for feature in FEATURES:
            said = drawn[feature]
            number = 0 if said == "works" else sentences.setdefault(said, len(sentences) + 1)
            cells.append("yes" if not number else f"no ({number})")
        cells += [families[engine].get(family, "untried") for engine in others]
        rows.append(f"| {' | '.join((family, *cells))} |")
    notes = [f"{number}. {' '.join(said.split())}" for said, number in sentences.items()]
    return "\n".join([*rows, "", *notes]) + "\n"


def write_table(families: dict[str, Any]) -> None:
    """Put the table into its place in the documentation."""
    before, _, rest = DOCS.read_text("utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    DOCS.write_text(f"{before}{_BEGIN}\n{table(families)}\n{_END}{after}", "utf-8")


def written_table() -> str:
    """Return the table that stands in the documentation."""
    return DOCS.read_text("utf-8").partition(_BEGIN)[2].partition(_END)[0].strip("\n") + "\n"


if __name__ == "__main__":
    write_table(read_families())
