"""examples: the configs of the package that ``safelight demo`` and the page draw."""

from __future__ import annotations

from pathlib import Path

__all__ = ["EXAMPLES", "FIRST_EXAMPLE"]

EXAMPLES = Path(__file__).parents[1] / "examples"
"""Where they are."""

FIRST_EXAMPLE = EXAMPLES / "first_sheet.toml"
"""A dozen little pictures by the model in the box: offline, without a GPU, in seconds."""
