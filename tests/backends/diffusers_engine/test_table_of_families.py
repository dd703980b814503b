"""The page about the diffusers engine shows the table that the engine goes by."""

from __future__ import annotations

from pathlib import Path

from safelight.backends.diffusers_engine.families import FAMILIES, Family

_PAGE = Path(__file__).parents[3] / "docs" / "backend-diffusers.md"
_GUIDANCE = {
    "off at 1": "`{}`, off at 1", "off at 0": "`{}` + 1, off at 0", "always": "`{}`, always",
    "taught": "`{}`, taught", "guider": "its guider's, always", "none": "none",
}  # fmt: skip
_HEAD = (
    "| family | diffusers class | `cfg_scale` is | `guidance` is | img2img | mask | hires fix"
    " | edits | sides |\n|---|---|---|---|---|---|---|---|---|\n"
)


def _row(family: Family) -> str:
    cells = (
        family.name,
        f"`{family.draws or family.edits}`",
        _GUIDANCE[family.guidance].format(family.argument),
        f"`{family.distilled}`" if family.distilled else "",
        "yes" if family.redraws else "",
        "yes" if family.inpaints else "",
        "yes" if family.redraws and family.draws else "",
        "yes" if family.edits else "",
        "a few sizes" if family.sides is None else str(family.sides),
    )
    return f"| {' | '.join(cells)} |\n".replace("|  |", "| |").replace("|  |", "| |")


def test_the_page_lists_every_family() -> None:
    """Word for word; the row to write is in the message."""
    page = _PAGE.read_text("utf-8")
    table = _HEAD + "".join(map(_row, FAMILIES))
    assert table in page, f"docs/backend-diffusers.md must hold this table:\n{table}"
