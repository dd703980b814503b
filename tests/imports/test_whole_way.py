"""The whole way of pictures that people have: imported, rated, moved, written to, merged.

Real ones and made ones, as many of these as ``SAFELIGHT_MADE_PICTURES`` says (1,900 for the figures
of ``docs/imports.md``).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from safelight.application.rated_pictures import rated_trials
from safelight.archive import Archive
from safelight.archive.folder_copy import merge_archives
from safelight.imports.folder_import import import_folders
from safelight.learning.evidence.effects import find_effects
from safelight.learning.ratings import Identity, RatingEvent

_REAL = Path(__file__).parents[1] / "data" / "imports"
_MADE = int(os.environ.get("SAFELIGHT_MADE_PICTURES", "240"))
_PACKET = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Label="Seen"/></rdf:RDF></x:xmpmeta>'
)


def write(path: Path, number: int, packet: str = "") -> None:
    """Write made picture *number*: pairs of 20 and 30 steps, with what another program adds."""
    info = PngImagePlugin.PngInfo()
    info.add_text(
        "parameters",
        f"thing {number // 2 % 40}, by hand\nNegative prompt: blurry\n"
        f"Steps: {20 if number % 2 else 30}, Sampler: Euler a, CFG scale: 7, Seed: {number // 2},"
        " Size: 16x16, Model: painted, Version: v1.10.1",
    )
    if packet:
        info.add_itxt("XML:com.adobe.xmp", packet)
    pixels = np.random.default_rng(number).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, pnginfo=info)


def counts(archive: Archive) -> tuple[int, int, int]:
    """Return how many pictures there are, how many are rated, and how many places they have."""
    rows = list(archive.query("", columns=("path", "stars"), limit=None).dicts())
    return len(rows), sum(row["stars"] is not None for row in rows), len({r["path"] for r in rows})


def difference(archive: Archive) -> tuple[str, float]:
    """Return what is known of 30 steps against 20 of the made pictures, and by how much."""
    _, trials, _ = rated_trials(archive, "model = 'painted'")
    (steps,) = (knob for knob in find_effects(trials).knobs if knob.knob == "steps")
    (comparison,) = steps.comparisons
    assert comparison.difference is not None
    sign = 1 if comparison.level == "30" else -1
    return steps.status, sign * comparison.difference


def test_each_picture_is_one_with_one_rating_and_teaches_what_it_did(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    shutil.copytree(_REAL, here / "real")
    (here / "made").mkdir()
    for number in range(_MADE):
        write(here / "made" / f"{number:05d}.png", number)
    shutil.copytree(here, there)
    for path in there.rglob("*"):
        os.utime(path, (1_600_000_000, 1_600_000_000))
    mine, theirs = Archive(tmp_path / "mine"), Archive(tmp_path / "theirs")
    imported = import_folders([here], mine).imported
    assert import_folders([there], theirs).imported == imported > _MADE + 20

    chance = np.random.default_rng(1)
    rows = mine.query("", columns=("sha256", "image_sha256", "steps"), limit=None)
    events = [
        RatingEvent.now(
            "stars", Identity(sha256=sha256, image_sha256=image), rater="ann",
            value=int(np.clip(round(3 + (steps == 30) - 0.5 * (steps == 20) + luck), 1, 5)),
        )
        for (sha256, image, steps), luck in zip(
            rows.rows, chance.normal(0, 0.7, len(rows.rows)), strict=True
        )
    ]  # fmt: skip
    with mine.ratings() as store:
        store.add(*events)
    assert counts(mine) == (imported, imported, imported)
    before = difference(mine)
    assert before[0] == "clear"

    (here / "moved").mkdir()
    for number in range(0, _MADE, 3):
        (here / "made" / f"{number:05d}.png").rename(here / "moved" / f"{number}.png")
    for number in range(1, _MADE, 3):
        write(here / "made" / f"{number:05d}.png", number, _PACKET)
    again = import_folders([here], mine)
    assert (again.imported, again.gone, again.superseded) == (0, 0, len(range(1, _MADE, 3)))

    merged: list[Archive] = []
    for order in ((mine, theirs), (theirs, mine)):
        both = Archive(tmp_path / f"both {len(merged)}")
        for archive in order:
            merge_archives(both.path, archive.path)
        merged.append(both)
    import_folders([here, there], merged[0])
    for archive in (mine, *merged):
        assert counts(archive) == (imported, imported, imported)
        status, by_how_much = difference(archive)
        assert status == "clear"
        assert abs(by_how_much - before[1]) < 1e-6
