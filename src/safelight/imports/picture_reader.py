"""One picture file -> a :class:`Reading`: which tool made it, and what it says.

Tools are tried in the order of :data:`FILE_READERS`, on comments in that of
:data:`COMMENT_READERS`; the reason for each place stands there. How to add one:
``docs/writing-a-reader.md``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from safelight.durable_file import open_regular_file
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
    read_civitai_extra,
    read_draw_things,
    read_easy_diffusion,
    read_hf_space,
    read_imaginairy,
    read_stability_matrix,
    read_tensorart,
)
from safelight.imports.reading import Draft, Given, Reader, Reading
from safelight.imports.swarmui import read_swarmui
from safelight.imports.xmp_texts import xmp_texts

__all__ = ["COMMENT_READERS", "FILE_READERS", "SUFFIXES", "read_picture", "read_texts"]

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
    with open_regular_file(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        texts = file_texts(file)
    return read_texts(texts, digest, sidecar=sidecar_text(path))


def read_texts(metadata: FileTexts, digest: str, *, sidecar: str = "") -> Reading:
    """Read the texts of a file, and those of its sidecar where the file has none.

    Raises:
        ImageError: The header says a size of nothing.
    """
    if metadata.width <= 0 or metadata.height <= 0:
        raise ImageError(f"its header says {metadata.width} x {metadata.height} pixels")
    texts = dict(metadata.texts)
    for place in ("xmp", "XML:com.adobe.xmp"):
        if place in texts:
            for key, value in xmp_texts(texts[place]).items():
                texts.setdefault(key, value)
    draft = Draft()
    try:
        _read(draft, texts, (metadata.width, metadata.height))
        if not draft.knobs and sidecar:
            texts["sidecar"] = sidecar
            if not read_infotext(draft, sidecar):
                draft.warnings.append("a text file lies beside the picture and holds no parameters")
    except RecursionError:
        draft = Draft(warnings=["the metadata nests too deep to be read"])
    return _reading(draft, metadata, texts, digest)


def _read(draft: Draft, texts: Mapping[str, str], size: tuple[int, int]) -> None:
    if "safelight" in texts and json_object(texts["safelight"]):
        draft.extra["safelight"] = texts["safelight"][:2000]
    _first_that_reads(FILE_READERS, draft, Given(texts=texts, size=size))


def _first_that_reads(readers: Sequence[Reader], draft: Draft, given: Given) -> bool:
    """Put what the first of *readers* that can read *given* says into *draft*."""
    for reader in readers:
        attempt = Draft()
        if reader.read(attempt, given):
            _adopt(draft, attempt)
            return True
        if attempt.warnings and not attempt.knobs:
            draft.warnings += attempt.warnings
    return False


def _adopt(draft: Draft, attempt: Draft) -> None:
    extra, warnings = {**draft.extra, **attempt.extra}, [*draft.warnings, *attempt.warnings]
    for name in Draft.__slots__:
        setattr(draft, name, getattr(attempt, name))
    draft.extra, draft.warnings = extra, warnings


def _invokeai(draft: Draft, given: Given) -> bool:
    return any(key in given.texts for key in _INVOKEAI) and read_invokeai(draft, given.texts)


def _novelai(draft: Draft, given: Given) -> bool:
    return is_novelai(given.texts) and read_novelai(draft, given.texts)


def _image_meta_hub(draft: Draft, given: Given) -> bool:
    data = json_object(given.texts.get("imagemetahub_data", ""))
    if data:
        read_graph(draft, data.get("prompt_api"), data.get("workflow"), size=given.size)
    return bool(data)


def _tensorart(draft: Draft, given: Given) -> bool:
    if "generation_data" not in given.texts:
        return False
    _graph(draft, given.texts, given.size)
    read_tensorart(draft, given.texts["generation_data"])
    return True


def _stability_matrix(draft: Draft, given: Given) -> bool:
    read = "parameters-json" in given.texts and _graph(draft, given.texts, given.size)
    if read:
        read_stability_matrix(draft, given.texts["parameters-json"])
    return read


def _easy_diffusion(draft: Draft, given: Given) -> bool:
    return read_easy_diffusion(draft, given.data or given.texts)


def _comment(draft: Draft, given: Given) -> bool:
    """Read the first comment that one of :data:`COMMENT_READERS` understands."""
    for place in _COMMENTS:
        text = given.texts.get(place, "")
        own = replace(given, comment=text, data=json_object(text) if _is_json(text) else {})
        if text and _first_that_reads(COMMENT_READERS, draft, own):
            if place != "parameters" and "prompt" in given.texts and draft.generator != "comfyui":
                draft.warnings.append(f"a graph is there too; {place} was read")
            _leftover(draft, given.texts)
            return True
    return False


def _comfyui(draft: Draft, given: Given) -> bool:
    return _graph(draft, given.texts, given.size)


FILE_READERS: Sequence[Reader] = (
    # Keys that nobody else writes come first: these tools also write what others read wrongly.
    Reader("invokeai", _invokeai),
    Reader("novelai", _novelai),
    # A graph with more beside it: the graph alone would be read as ComfyUI's.
    Reader("image-meta-hub", _image_meta_hub),
    Reader("tensorart", _tensorart),
    Reader("stability-matrix", _stability_matrix),
    Reader("easy-diffusion", _easy_diffusion),
    # Comments before graphs: an img2img picture of AUTOMATIC1111 can carry its source's graph.
    Reader("comment", _comment),
    Reader("comfyui", _comfyui),
)
"""Tried one after the other on the texts of a file."""


def _infotext(draft: Draft, given: Given) -> bool:
    return not _is_json(given.comment) and read_infotext(draft, given.comment)


def _ruined_fooocus(draft: Draft, given: Given) -> bool:
    return given.data.get("software") == "RuinedFooocus" and read_ruined_fooocus(draft, given.data)


def _swarmui(draft: Draft, given: Given) -> bool:
    return "sui_image_params" in given.data and read_swarmui(draft, given.data)


def _fooocus(draft: Draft, given: Given) -> bool:
    spoken = "base_model" in given.data or "Base Model" in given.data
    signed = "fooocus_scheme" in given.texts or str(
        given.texts.get("exif:Software", "")
    ).startswith("Fooocus")
    return bool(given.data) and (spoken or signed) and read_fooocus(draft, given.data)


def _imaginairy(draft: Draft, given: Given) -> bool:
    return read_imaginairy(draft, given.data)


def _draw_things(draft: Draft, given: Given) -> bool:
    return read_draw_things(draft, given.data)


def _hf_space(draft: Draft, given: Given) -> bool:
    return read_hf_space(draft, given.data)


def _bare_graph(draft: Draft, given: Given) -> bool:
    """Read a graph that stands alone in a comment, as Civitai's generator writes it."""
    data = given.data
    if not any(isinstance(node, dict) and "class_type" in node for node in data.values()):
        return False
    read_graph(draft, data)
    extra = data.get("extraMetadata")
    if isinstance(extra, str):
        read_civitai_extra(draft, extra)
    elif "extra" in data and "airs" in str(data["extra"])[:200]:
        draft.generator = "civitai"
    return True


COMMENT_READERS: Sequence[Reader] = (
    Reader("infotext", _infotext),  # the only one that is no JSON
    # Said by a key of their own.
    Reader("ruined-fooocus", _ruined_fooocus),
    Reader("swarmui", _swarmui),
    # Keys that the generic ones below would take for theirs.
    Reader("fooocus", _fooocus),
    Reader("imaginairy", _imaginairy),
    Reader("draw-things", _draw_things),
    Reader("easy-diffusion", _easy_diffusion),
    # Any JSON with a prompt and steps, and last any graph.
    Reader("hf-space", _hf_space),
    Reader("civitai", _bare_graph),
)
"""Tried one after the other on each comment of a file."""


def _is_json(text: str) -> bool:
    return text.lstrip().startswith("{")


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


def _reading(draft: Draft, metadata: FileTexts, texts: dict[str, str], digest: str) -> Reading:
    draft.name_extras()
    warnings = list(dict.fromkeys([*metadata.warnings, *draft.warnings]))[:50]
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
        width=metadata.width,
        height=metadata.height,
        sha256=digest,
        warnings=tuple(warnings),
        outcome=draft.outcome(),
    )
