"""A sheet of pictures that differ in more than two settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.testclient import TestClient

from application.test_epochs import kohya
from gui_v2.light_table import served
from gui_v2.test_facets import record
from safelight.application.epochs import trainings_in
from safelight.archive import Archive
from safelight.imports.folder_import import import_folders
from safelight.web import create_app
from safelight.web.sheets import AXES, _laid_out

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_a_sheet_begins_with_pictures(tmp_path: Path) -> None:
    """However they differ: what is held is what most of them have together."""
    archive = Archive(tmp_path)
    sets = [(steps, seed, cfg) for steps in (4, 8) for seed, cfg in ((1, 9.0), (2, 3.0), (2, 3.0))]
    made = [
        record(n, {}, model="b" if n % 2 else "a", sampler="Euler", steps=s, seed=seed, cfg_scale=c)
        for n, (s, seed, c) in enumerate(sets)
    ]
    archive.add_pack([each.to_document() for each in made])

    def shown(client: TestClient, **query: str) -> int:
        told = re.search(r"(\d+) pictures", client.get("/sheet", params=query).text)
        assert told
        return int(told[1])

    with TestClient(create_app(archive), base_url="http://127.0.0.1") as client:
        chosen = {"x": "model", "y": "steps"}
        assert shown(client, **chosen) > 0
        assert shown(client, **chosen, **{"only.prompt": "p0"}) == 1
        assert shown(client, **chosen, **{"only.prompt": "", "only.cfg_scale": "9"}) > 0


def pictures_of(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{**dict.fromkeys(AXES), "sha256": f"{n:064x}", **row} for n, row in enumerate(rows)]


def test_axes_are_the_two_settings_that_fill_a_sheet() -> None:
    """Before seeds, which only repeat it; what comes with a sampler is not held against it."""
    rows = [
        {"sampler": sampler, "eta": 1.0 if sampler == "Euler a" else None, "steps": steps,
         "seed": seed}
        for sampler in ("Euler", "Euler a") for steps in (4, 8) for seed in (1, 2)
    ]  # fmt: skip
    laid = _laid_out(pictures_of(rows), {"x": "", "y": ""})
    assert (laid.x, laid.y) == ("sampler", "steps")
    assert laid.held == {"seed": "1", "eta": ""}
    assert len(laid.pictures) == 4
    around = _laid_out(pictures_of(rows), {"x": "sampler", "y": "steps", "around": f"{1:064x}"})
    assert around.held["seed"] == "2"
    turned = _laid_out(pictures_of(rows), {"x": "", "y": "sampler"})
    assert (turned.x, turned.y) == ("steps", "sampler")


def test_pictures_that_share_little_are_laid_out_whatever_else_differs() -> None:
    """As those of other tools are: no two of them differ in two settings only."""
    rows = [
        {"model": f"m{n % 3}", "sampler": f"s{n % 2}", "prompt": f"p{n}", "seed": n, "eta": n % 2}
        for n in range(12)
    ]
    laid = _laid_out(pictures_of(rows), {"x": "", "y": ""})
    assert (laid.x, laid.y) == ("model", "sampler")
    assert len(laid.pictures) == 12
    assert set(laid.held.values()) == {""}


def test_a_training_s_sheet_is_walked_by_epoch_and_prompt(page: Page, tmp_path: Path) -> None:
    """A seed for each prompt holds nothing; what ratings say stands over the epochs."""
    kohya(tmp_path / "training", prompts=4, states=range(2, 12, 2))
    archive = Archive(tmp_path / "archive")
    import_folders([tmp_path / "training"], archive)
    (training,) = trainings_in(archive, tmp_path / "training")
    with served(tmp_path / "archive") as address:
        page.goto(address + "/contents")
        page.click("text=ink: 4 prompts, 5 epochs, 20 pictures. >> .. >> text=Sheet")
        page.wait_for_url("**/sheet?**")
        assert page.url.removeprefix(address) == training.sheet
        across = page.locator(".sheet thead th .value").all_inner_texts()
        assert across == ["2", "4", "6", "8", "10"]
        down = page.locator(".sheet tbody th .value").all_inner_texts()
        assert down == [f"a lighthouse, view {n}" for n in range(4)]
        assert page.locator(".sheet td img").count() == 20

        def at() -> str:
            return str(page.evaluate("document.activeElement.querySelector('img').alt"))

        page.focus(".sheet a.cell >> nth=0")
        page.keyboard.press("ArrowRight")
        assert at() == "Training epoch 4, Prompt a lighthouse, view 0"
        page.keyboard.press("ArrowDown")
        assert at() == "Training epoch 4, Prompt a lighthouse, view 1"
