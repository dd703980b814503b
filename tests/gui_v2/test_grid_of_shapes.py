"""The grid stands in rows: landscape beside portrait, without bars, and in squares where wanted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gui_v2.light_table import draw, served

if TYPE_CHECKING:
    from playwright.sync_api import Page

BOXES = """[...document.querySelectorAll('.line:not([hidden])')]
  .sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top).map((line) =>
  [...line.querySelectorAll('.cell-box:not([hidden])')].map((box) => {
    const { x, width, height, right } = box.getBoundingClientRect();
    return { x, width, height, right, digest: box.querySelector('a').pathname.slice(6) };
  }))"""
PLACE = "document.querySelector('#scroller').getBoundingClientRect().right"


def test_landscape_stands_beside_portrait_without_bars(page: Page, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    for name, width, height in (("wide", 128, 64), ("tall", 64, 128), ("even", 64, 64)):
        draw(archive, {
            "name": name,
            "txt2img": {"prompt": name, "seed": 1, "steps": 1, "width": width, "height": height},
            "randomizer": {"mode": "fanout", "seeds_per_variant": 8},
        })  # fmt: skip
    page.set_viewport_size({"width": 1000, "height": 1400})
    with served(archive) as address:
        page.goto(f"{address}/?sort=seed")
        page.wait_for_selector(".tile:visible")
        lines = page.evaluate(BOXES)
        assert sum(map(len, lines)) == 24
        shapes = {round(box["width"] / box["height"], 1) for line in lines for box in line}
        assert shapes == {2.0, 0.5, 1.0}
        edge = page.evaluate(PLACE)
        for line in lines[:-1]:
            assert len({box["height"] for box in line}) == 1
            assert edge - 6 - len(line) <= line[-1]["right"] <= edge

        # Down goes to the picture under this one, not so many pictures on.
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        at = page.evaluate("document.activeElement.pathname.slice(6)")
        first, second = lines[0][1], next(box for box in lines[1] if box["digest"] == at)
        middle = first["x"] + first["width"] / 2
        others = [abs(box["x"] + box["width"] / 2 - middle) for box in lines[1]]
        assert abs(second["x"] + second["width"] / 2 - middle) == min(others)

        page.get_by_role("button", name="Squares").click()
        squares = [box for line in page.evaluate(BOXES) for box in line]
        assert {round(box["width"] / box["height"], 1) for box in squares} == {1.0}
        page.reload()
        page.wait_for_selector(".tile:visible")
        assert page.get_attribute("#squares", "aria-pressed") == "true"
