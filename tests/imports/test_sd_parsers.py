"""What sd-parsers makes of every picture of the tests, beside what ours makes of it.

Every difference stands in ``sd_parsers_differences.json``, with its reason; one that is not listed
fails, and so does a listed one that is none any more. Samplers and schedules are compared by what
they mean, not by how they are spelled; long texts by their beginning, end and length. The large
collection of real pictures lies beside this repository, and is compared where it is there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from safelight.imports.picture_reader import read_picture
from safelight.imports.reading import Reading, as_number, as_whole
from safelight.sampler_names import canonical_name

sd_parsers = pytest.importorskip("sd_parsers", reason="the dependency group dev")

_TABLE = Path(__file__).with_name("sd_parsers_differences.json")
_DATA = Path(__file__).parents[1] / "data"
_BESIDE = Path(__file__).parents[3] / "shared" / "data" / "images"
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".gif")

REASONS = {
    "blanks": "they cut blanks at the ends of prompts, which reach the text encoder",
    "cloud": "a model in a cloud tells no steps and no scale, and its seed is told elsewhere",
    "editor beside": "they read a graph only where it and the editor's are both there",
    "fields count": "they read the text; the fields of the same tool beside it say otherwise",
    "final size": "their size is that of the finished picture, ours that of the first pass",
    "glued schedule": "they take sampler and schedule, written as one name, for the sampler",
    "graph counts": "they read the text beside a graph, or need it; ours reads the graph",
    "grid": "a grid has no seed",
    "Latin": "they read UTF-8 in a chunk that is called Latin-1 as what it is called",
    "link": "they give a link of the graph in place of a model's file",
    "model keys": "they know the model by other keys only",
    "no file": "Pillow does not open it",
    "no number": "it is no number",
    "no reader": "they have no reader of this tool, or of this form of its text",
    "no sampler": "they read nothing without a key that is called Sampler",
    "one line": "prompt and parameters stand in one line",
    "one node": "they know samplers only as one node with name, steps and scale",
    "other keys": "they know a prompt of a graph only as text, positive or negative",
    "other places": "they look into chunks of PNG and comments of EXIF alone: no XMP, no file"
    " beside, no graph in EXIF",
    "roles": "they give all texts behind a node that has both prompts for either",
    "schedule keys": "they know the schedule by AUTOMATIC1111's key only",
    "sizes": "they leave the size of a graph, and Fooocus's, among what they do not read",
    "spelling": "the key is spelled otherwise",
    "weights": "they leave out the weights of a prompt's parts",
}
"""Short name of a reason -> what it means; in none of these are they right and we are not."""

Difference = tuple[str, str, str, str]
"""File, setting, what they say, what ours says."""


def pictures() -> dict[str, Path]:
    """Return name -> picture of the tests; what lies in both collections is there once.

    Those that ComfyUI drew for the tests have the values that were sent, which is more than a peer
    can tell: test_comfyui_drawn.
    """
    found: dict[str, Path] = {}
    for root in (_BESIDE, _DATA, _DATA / "imports"):
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root)
            own = root != _DATA or name.parts[0] not in ("imports", "comfyui_drawn")
            if own and path.suffix.lower() in _SUFFIXES:
                found[name.as_posix()] = path
    return found


_HELD: list[Image.Image] = []
"""Pictures that were asked of. sd-parsers remembers the last one by its place in memory: where the
next one comes to lie in the same, it answers with what the last one said."""


def theirs_of(path: Path) -> dict[str, Any] | None:
    """Return what sd-parsers says; None when it says nothing at all."""
    try:
        with Image.open(path) as image:
            _HELD.append(image)
            read = sd_parsers.ParserManager().parse(image)
    except (OSError, SyntaxError):  # Pillow knows no such file
        return None
    if read is None or not read.samplers:
        return None
    first, told = read.samplers[0], read.metadata
    width, _, height = str(told.get("Size", "")).partition("x")
    return {
        "prompt": " ".join(prompt.value for prompt in first.prompts),
        "negative_prompt": " ".join(prompt.value for prompt in first.negative_prompts),
        "sampler": first.name,
        "steps": first.parameters.get("steps", told.get("steps")),
        "cfg_scale": first.parameters.get("cfg_scale"),
        "seed": first.parameters.get("seed", first.parameters.get("noise_seed")),
        "scheduler": first.parameters.get("scheduler"),
        "model": first.model.name if first.model else None,
        "hash": first.model.hash if first.model else None,
        "width": width or told.get("width"), "height": height or told.get("height"),
    }  # fmt: skip


def ours_of(reading: Reading) -> tuple[dict[str, Any], set[str]]:
    """Return what ours says, and what of that it only fills in."""
    stage, knobs = next(iter(reading.config.items()), ("", {}))
    said = dict(knobs)
    said["hash"] = next((digest for _, digest in reading.hashes), None)
    filled = {k for k in knobs if reading.fields.get(f"{stage}.{k}") == "defaulted"}
    return said, filled


def same(setting: str, theirs: Any, ours: Any) -> bool:
    """Return whether both mean the same."""
    if setting in ("sampler", "scheduler") and isinstance(theirs, str):
        return ours in (theirs, canonical_name(setting, theirs))
    number = as_whole(theirs) if as_whole(theirs) is not None else as_number(theirs)
    return theirs == ours or (number is not None and number == ours)


def shown(value: Any) -> str:
    """Return a value as the table has it."""
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:40]} ... {text[-20:]} ({len(text)})"


def differences(name: str, path: Path) -> Iterator[Difference]:
    """Yield what they and we say otherwise of one picture."""
    theirs, reading = theirs_of(path), read_picture(path)
    ours, filled = ours_of(reading)
    if theirs is None:
        if ours.get("sampler") or reading.config:
            yield name, "all", "", reading.generator
        return
    for setting, value in theirs.items():
        own = ours.get(setting)
        if not value and (own is None or own == "" or setting in filled):
            continue
        if not same(setting, value, own):
            yield name, setting, shown(value), shown(own)


_LISTED: list[list[str]] = json.loads(_TABLE.read_text("utf-8"))
_PICTURES = pictures()


@pytest.mark.parametrize("name", sorted(_PICTURES))
def test_every_difference_is_listed_and_every_listed_one_is_there(name: str) -> None:
    listed = [tuple(row[:4]) for row in _LISTED if row[0] == name]
    assert list(differences(name, _PICTURES[name])) == listed


def test_the_table_names_pictures_and_reasons_that_there_are() -> None:
    assert {row[4] for row in _LISTED} == set(REASONS)
    if _BESIDE.is_dir():
        assert {row[0] for row in _LISTED} <= set(_PICTURES)
