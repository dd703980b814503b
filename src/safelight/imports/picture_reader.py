"""One picture file -> a :class:`Reading`: which tool made it, and what it says.

The order in which tools are tried avoids the known traps: InvokeAI and NovelAI have keys of
their own; ``parameters`` may hold JSON of three tools or AUTOMATIC1111's text; an img2img
picture of AUTOMATIC1111 can carry the stale graph of its source, so that its text wins.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safelight.errors import ImageError
from safelight.formats.bounded_json import json_object, json_value
from safelight.formats.file_texts import FileTexts
from safelight.imports.a1111_text import read_infotext
from safelight.imports.comfyui_graph import read_graph
from safelight.imports.containers import file_texts, sidecar_text
from safelight.imports.fooocus import read_fooocus, read_ruined_fooocus
from safelight.imports.invokeai import read_invokeai
from safelight.imports.novelai import is_novelai, read_novelai
from safelight.imports.other_tools import (
    Reader,
    read_civitai_extra,
    read_draw_things,
    read_easy_diffusion,
    read_hf_space,
    read_imaginairy,
    read_stability_matrix,
    read_tensorart,
)
from safelight.imports.reading import Draft, Reading
from safelight.imports.swarmui import read_swarmui
from safelight.imports.xmp_texts import xmp_texts

__all__ = ["SUFFIXES", "read_picture", "read_texts"]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".webp", ".avif", ".gif", ".apng"})
"""Names of files that are looked at; what a file really is, its first bytes tell."""

_INVOKEAI = ("invokeai_metadata", "invokeai_graph", "invokeai_workflow", "sd-metadata", "Dream")
_COMMENTS = ("parameters", "exif:UserComment", "comment", "exif:XPComment", "Comment",
             "exif:ImageDescription", "Description", "description", "xmp:description")  # fmt: skip
_PRIVATE = frozenset({"xmp", "XML:com.adobe.xmp", "Raw profile type exif"})


def read_picture(path: Path) -> Reading:
    """Read what a picture file says about how it was made. Nothing is written or executed.

    Raises:
        ImageError: It is no picture of a known kind, or its header is damaged.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        texts = file_texts(file)
    return read_texts(texts, digest, sidecar=sidecar_text(path))


def read_texts(found: FileTexts, digest: str, *, sidecar: str = "") -> Reading:
    """Read the texts of a file, and those of its sidecar where the file has none.

    Raises:
        ImageError: The header says a size of nothing.
    """
    if found.width <= 0 or found.height <= 0:
        raise ImageError(f"its header says {found.width} x {found.height} pixels")
    texts = dict(found.texts)
    for place in ("xmp", "XML:com.adobe.xmp"):
        if place in texts:
            for key, value in xmp_texts(texts[place]).items():
                texts.setdefault(key, value)
    draft = Draft()
    try:
        _read(draft, texts, (found.width, found.height))
        if not draft.knobs and sidecar:
            texts["sidecar"] = sidecar
            if not read_infotext(draft, sidecar):
                draft.warnings.append("a text file lies beside the picture and holds no parameters")
    except RecursionError:
        draft = Draft(warnings=["the metadata nests too deep to be read"])
    return _reading(draft, found, texts, digest)


def _read(draft: Draft, texts: Mapping[str, str], size: tuple[int, int]) -> None:
    if "safelight" in texts and json_object(texts["safelight"]):
        draft.extra["safelight"] = texts["safelight"][:2000]
    if any(key in texts for key in _INVOKEAI) and _whole(draft, read_invokeai, texts):
        return
    if is_novelai(texts) and _whole(draft, read_novelai, texts):
        return
    if data := json_object(texts.get("imagemetahub_data", "")):
        read_graph(draft, data.get("prompt_api"), data.get("workflow"), size=size)
        return
    if "generation_data" in texts:
        _graph(draft, texts, size)
        read_tensorart(draft, texts["generation_data"])
        return
    if "parameters-json" in texts and _graph(draft, texts, size):
        read_stability_matrix(draft, texts["parameters-json"])
        return
    if read_easy_diffusion(draft, texts):
        return
    for place in _COMMENTS:
        if place in texts and _comment(draft, texts[place], texts):
            if place != "parameters" and "prompt" in texts and draft.generator != "comfyui":
                draft.warnings.append(f"a graph is there too; {place} was read")
            _leftover(draft, texts)
            return
    _graph(draft, texts, size)


def _whole(draft: Draft, reader: Any, texts: Mapping[str, str]) -> bool:
    attempt = Draft()
    if not reader(attempt, texts):
        return False
    _adopt(draft, attempt)
    return True


def _adopt(draft: Draft, attempt: Draft) -> None:
    extra, warnings = {**draft.extra, **attempt.extra}, [*draft.warnings, *attempt.warnings]
    for name in Draft.__slots__:
        setattr(draft, name, getattr(attempt, name))
    draft.extra, draft.warnings = extra, warnings


def _comment(draft: Draft, text: str, texts: Mapping[str, str]) -> bool:
    if not text.lstrip().startswith("{"):
        return read_infotext(draft, text)
    data = json_object(text)
    if not data:
        return False
    for reader in _json_readers(data, texts):
        attempt = Draft()
        if reader(attempt, data):
            _adopt(draft, attempt)
            return True
    return False


def _json_readers(data: Mapping[str, Any], texts: Mapping[str, str]) -> list[Reader]:
    if data.get("software") == "RuinedFooocus":
        return [read_ruined_fooocus]  # type: ignore[list-item]
    if "sui_image_params" in data:
        return [read_swarmui]  # type: ignore[list-item]
    spoken = "base_model" in data or "Base Model" in data or "fooocus_scheme" in texts
    if spoken or str(texts.get("exif:Software", "")).startswith("Fooocus"):
        return [read_fooocus]  # type: ignore[list-item]
    return [read_imaginairy, read_draw_things, read_easy_diffusion, read_hf_space, _bare_graph]


def _bare_graph(draft: Draft, data: Mapping[str, Any]) -> bool:
    """Read a graph that stands alone in a comment, as Civitai's generator writes it."""
    if not any(isinstance(node, dict) and "class_type" in node for node in data.values()):
        return False
    read_graph(draft, data)
    extra = data.get("extraMetadata")
    if isinstance(extra, str):
        read_civitai_extra(draft, extra)
    elif "extra" in data and "airs" in str(data["extra"])[:200]:
        draft.generator = "civitai"
    return True


def _graph(draft: Draft, texts: Mapping[str, str], size: tuple[int, int] = (0, 0)) -> bool:
    prompt, workflow = texts.get("prompt", ""), texts.get("workflow", "")
    if not (prompt.lstrip().startswith("{") or workflow.lstrip().startswith("{")):
        return False
    graph = json_value(prompt)
    editor = json_value(workflow) if not isinstance(graph, dict) else None
    read = read_graph(draft, graph, editor, size=size)
    if not read:
        draft.warnings.append("the graph cannot be read as JSON")
    extra = graph.get("extraMetadata") if isinstance(graph, dict) else None
    if isinstance(extra, str):
        read_civitai_extra(draft, extra)
    return read


def _leftover(draft: Draft, texts: Mapping[str, str]) -> None:
    """Say what of a graph beside the text disagrees with it: it may be the source's."""
    if "prompt" not in texts or draft.generator in ("comfyui", "swarmui"):
        return
    other = Draft()
    if _graph(other, texts) and other.knobs:
        differing = [k for k in ("prompt", "seed", "steps") if other.knobs.get(k) not in (
            None, draft.knobs.get(k))]  # fmt: skip
        if differing:
            draft.warnings.append(
                f"a ComfyUI graph is there too and says another {', '.join(differing)}"
            )


def _reading(draft: Draft, found: FileTexts, texts: dict[str, str], digest: str) -> Reading:
    warnings = list(dict.fromkeys([*found.warnings, *draft.warnings]))[:50]
    stem = re.compile(r"Raw profile type (?:exif|icc|8bim)")
    return Reading(
        generator=draft.generator,
        config={draft.stage: dict(draft.knobs)} if draft.knobs else {},
        native=dict(draft.native),
        extra=dict(draft.extra),
        fields=draft.fields(),
        passes=tuple(draft.passes),
        loras=tuple(draft.loras),
        hashes=tuple(dict.fromkeys(draft.hashes)),
        raw={
            key: text for key, text in texts.items() if key not in _PRIVATE and not stem.match(key)
        },
        width=found.width,
        height=found.height,
        sha256=digest,
        warnings=tuple(warnings),
        outcome=draft.outcome(),
    )
