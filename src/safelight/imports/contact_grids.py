"""Grids of web UIs: one file of several pictures, whose text is that of the first.

Such a file is no sample of its settings. It stays in the archive and can be found, says what it
is in ``extra`` under :data:`~safelight.recorded_settings.GRID`, and evidence and what is to be
rated leave it out. Where nothing is read of a file, its name alone tells: those of AUTOMATIC1111's
grids and of our own contact sheets are nobody else's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from safelight.archive_layout import CONTACT_SHEET
from safelight.imports.reading import Draft
from safelight.recorded_settings import GRID

__all__ = ["tell_grid"]

_WEB_UIS = frozenset({"a1111", "forge", "forge-classic", "forge-neo", "reforge", "sdnext"})
_NAME = re.compile(r"(?:\w{1,10}_)?grid[-_]\d|.*[-_]grid\.", re.IGNORECASE)
_NAME_ALONE = re.compile(
    rf"(?:\w{{1,10}}_)?grid-\d{{4,}}(?:-\d+)?\.\w+|{CONTACT_SHEET}[^.]*\.png", re.IGNORECASE
)
_ENLARGED = re.compile(r"upscal|hires|resize|outpaint|poor man|tile|postprocess", re.IGNORECASE)
_AXIS = re.compile(r"([XYZ]) (Type|Values)")
_KNOB_OF_AXIS = {
    "seed": ("seed",), "var. seed": (), "steps": ("steps",), "cfg scale": ("cfg_scale",),
    "sampler": ("sampler", "scheduler"), "schedule type": ("scheduler",),
    "size": ("width", "height"),
    "checkpoint name": ("model",), "model": ("model",), "vae": ("vae",), "prompt s/r": ("prompt",),
    "prompt order": ("prompt",), "prompt": ("prompt",), "clip skip": ("clip_skip",),
    "denoising": ("denoising_strength", "hires_denoising_strength"), "eta": ("eta",),
    "hires steps": ("hires_steps",), "hires upscaler": ("hires_upscaler",),
    "distilled cfg scale": ("guidance",), "width": ("width",), "height": ("height",),
}  # fmt: skip


def tell_grid(draft: Draft, texts: Mapping[str, str], name: str, size: tuple[int, int]) -> None:
    """Say in *draft* that a picture is a grid, where it is one.

    It is one when its text holds the axes of an X/Y/Z plot or SD.Next's ``Grid``, when it is
    called so and is larger than its text says or holds none, or when it is so many cells wide and
    high, and nothing else says that it was enlarged. Twice as wide and twice as high is a grid of
    a web UI's own picture only: elsewhere it may have been enlarged by another program.

    Args:
        draft: What was read.
        texts: Of the file.
        name: The file's.
        size: Of the picture, in pixels.
    """
    cells = _cells(draft, texts, name, size)
    if not cells:
        return
    draft.also(GRID, cells)
    told = "its text is of the first alone" if draft.knobs else "its name says so"
    draft.warnings.append(f"it is a grid of pictures ({cells}); {told}")
    axes = [v for k, v in draft.extra.items() if (m := _AXIS.fullmatch(k)) and m[2] == "Type"]
    varied = [knob for axis in axes for knob in _KNOB_OF_AXIS.get(axis.strip().lower(), ())]
    for knob in dict.fromkeys(varied if axes else ("seed",)):
        if knob in draft.knobs:
            draft.unresolved(knob)


def _cells(draft: Draft, texts: Mapping[str, str], name: str, size: tuple[int, int]) -> str:
    width, height = draft.knobs.get("width"), draft.knobs.get("height")
    stated = draft.generator in _WEB_UIS or draft.generator in ("a1111-like", "sd.cpp", "fooocus")
    if not draft.knobs and not draft.generator:
        return "of unknown cells" if _NAME_ALONE.fullmatch(name) else ""
    if not draft.knobs or not stated:
        return ""
    if any(_AXIS.fullmatch(key) for key in draft.extra):
        return "X/Y/Z plot"
    if draft.generator == "sdnext" and draft.extra.get("Grid"):
        return draft.extra["Grid"]
    called = _NAME.match(name) is not None
    if not width or not height:
        return "of unknown cells" if called else ""
    scale = draft.knobs.get("hires_scale", 1)
    width, height = round(width * scale), round(height * scale)
    across, down = size[0] // width, size[1] // height
    if across * down < 2:
        return ""
    keys = (*draft.extra, *texts)
    whole = (across * width, down * height) == size
    if not called and (not whole or any(_ENLARGED.search(key) for key in keys)):
        return ""
    if not called and across == down and draft.generator not in _WEB_UIS:
        draft.warnings.append(
            f"it is {across} times as large as its text says: a grid, or enlarged elsewhere"
        )
        return ""
    return f"{across}x{down}"
