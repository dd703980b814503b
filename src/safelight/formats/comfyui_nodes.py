"""comfyui_nodes: what nodes that bend a model in ComfyUI say, as knobs.

They are told by their class and the inputs that they have, and so are the nodes of packs that
do the same under names of their own (``ModelSamplingAuraFlow``, ``TeaCacheForVidGen``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from safelight.knobs import KNOBS, knob_fault

__all__ = ["BENDING_KNOBS", "node_knobs"]

BENDING_KNOBS = (
    "guidance", "cfg_rescale", "shift", "sigmas", "text_encoders", "weight_dtype", "cache",
)  # fmt: skip
"""What :func:`node_knobs` knows of."""

_GUIDES = re.compile(r"FluxGuidance|CLIPTextEncodeFlux")
_RESCALES = re.compile(r"RescaleCFG")
_SHIFTS = re.compile(r"ModelSampling(?!.*(Cascade|Flux|LTXV))")
_CACHES = re.compile(
    r"TeaCache|EasyCache|LazyCache|MagCache|FirstBlockCache|FBCache|WaveSpeed|CacheDiT", re.I
)
_THRESHOLDS = (
    "rel_l1_thresh", "reuse_threshold", "residual_diff_threshold", "magcache_thresh", "threshold",
)  # fmt: skip


def node_knobs(
    kind: str,
    inputs: Mapping[str, Any],
    number: Callable[[str], float | None],
    text: Callable[[str], str | None],
) -> dict[str, Any]:
    """Return the knobs that one node says: ``ModelSamplingSD3`` -> ``{"shift": 3.0}``.

    A value that breaks the knob's rule is left out.

    Args:
        kind: Its class.
        inputs: As the graph has them.
        number: Input -> its number, through its links as far as the caller follows them.
        text: Input -> its text, in the same way.
    """
    knobs: dict[str, Any] = {}
    if _GUIDES.search(kind):
        knobs["guidance"] = number("guidance")
    if _RESCALES.search(kind):
        knobs["cfg_rescale"] = number("multiplier" if "multiplier" in inputs else "cfg_rescale")
    if _SHIFTS.match(kind):
        knobs["shift"] = number("shift")
    if kind.endswith("Sigmas") and "sigmas" in inputs:
        knobs["sigmas"] = text("sigmas")
    if "weight_dtype" in inputs:
        knobs["weight_dtype"] = text("weight_dtype")
    if "CLIP" in kind and (names := [key for key in inputs if re.fullmatch(r"clip_name\d*", key)]):
        encoders = [text(name) for name in sorted(names)]
        knobs["text_encoders"] = ", ".join(n for n in encoders if n) if all(encoders) else None
    if _CACHES.search(kind):
        limit = next((number(key) for key in _THRESHOLDS if key in inputs), None)
        knobs["cache"] = kind if limit is None else f"{kind} {limit:g}"
    return {
        knob: value
        for knob, value in knobs.items()
        if value not in (None, "") and knob_fault(KNOBS[knob], value) is None
    }
