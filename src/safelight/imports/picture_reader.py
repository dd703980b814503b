"""One picture file -> a :class:`Reading`: which tool made it, and what it says.

Tools are tried in the order of :data:`FILE_READERS`, on comments in that of
:data:`COMMENT_READERS`; the reason for each place stands there. How to add one:
``docs/writing-a-reader.md``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from safelight.durable_file import open_regular_file
from safelight.errors import ImageError
from safelight.formats.bounded_json import json_object, json_value
from safelight.formats.containers import file_texts, sidecar_texts
from safelight.formats.file_texts import FileTexts
from safelight.formats.hidden_text import hidden_text
from safelight.imports.a1111_text import read_infotext
from safelight.imports.comfyui_graph import read_graph
from safelight.imports.comfyui_savers import by_saver_node, compare_with_text, differing
from safelight.imports.contact_grids import tell_grid
from safelight.imports.control_nets import tell_controls
from safelight.imports.fooocus import read_fooocus, read_ruined_fooocus
from safelight.imports.invokeai import read_invokeai
from safelight.imports.novelai import is_novelai, read_novelai
from safelight.imports.other_tools import (
    read_civitai_extra,
    read_draw_things,
    read_easy_diffusion,
    read_hf_space,
    read_image_meta_hub,
    read_imaginairy,
    read_stability_matrix,
    read_tensorart,
)
from safelight.imports.own_pictures import read_own
from safelight.imports.reading import Draft, Given, Reader, Reading
from safelight.imports.swarmui import read_swarmui
from safelight.imports.told_pictures import read_parameters
from safelight.imports.training_samples import read_training_sample
from safelight.imports.xmp_texts import xmp_texts
from safelight.recorded_settings import comparable_model

__all__ = ["COMMENT_READERS", "FILE_READERS", "SUFFIXES", "TOLD", "read_picture", "read_texts",
           "read_told"]  # fmt: skip

TOLD = "told"
"""Place of a text that a spool's line has of a picture whose file says nothing."""

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".webp", ".avif", ".gif", ".apng"})
"""Names of files that are looked at; what a file really is, its first bytes tell."""

_INVOKEAI = ("invokeai_metadata", "invokeai_graph", "invokeai_workflow", "sd-metadata", "Dream")
_COMMENTS = ("parameters", "exif:UserComment", "comment", "exif:XPComment", "Comment",
             "exif:ImageDescription", "Description", "description", "xmp:description")  # fmt: skip
_COMPARED = ("prompt", "seed", "steps", "cfg_scale", "sampler", "model")
_WITHIN = frozenset({"parameters", "workflow", "Comment", "Description", "Software"})
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
        return read_texts(
            texts,
            digest,
            sidecars=sidecar_texts(path),
            path=path,
            hidden=lambda: hidden_text(file),
        )


def read_texts(
    metadata: FileTexts,
    digest: str,
    *,
    sidecars: Iterable[str] = (),
    told: Iterable[str] = (),
    name: str = "",
    path: Path | None = None,
    hidden: Callable[[], tuple[str, str] | None] = lambda: None,
) -> Reading:
    """Read the texts of a file, and other places where the file itself says nothing.

    Args:
        metadata: The file's.
        digest: SHA-256 of its bytes, hex.
        sidecars: Texts of files beside it, which are tried in their order, if need be.
        told: Texts that the line of a spool has of it, tried in their order before those.
        name: The file's, which may tell a grid; that of *path* without.
        path: Where it lies, for what only its name and the files beside it say.
        hidden: Called for the place and the text in its pixels where no text says anything.

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
        if not draft.knobs and (found := hidden()):
            texts[found[0]] = found[1]
            _read(draft, _texts_within(found[1]), (metadata.width, metadata.height))
        if path is not None:
            read_training_sample(draft, path, (metadata.width, metadata.height))
        size = (metadata.width, metadata.height)
        if not draft.knobs and not _read_beside(draft, texts, told, TOLD, size):
            _read_sidecars(draft, texts, sidecars)
        name = name or (path.name if path else "")
        tell_grid(draft, texts, name, (metadata.width, metadata.height))
        tell_controls(draft)
    except RecursionError:
        draft = Draft(warnings=["the metadata nests too deep to be read"])
    return _reading(draft, metadata, texts, digest)


def _read(draft: Draft, texts: Mapping[str, str], size: tuple[int, int]) -> None:
    _first_that_reads(FILE_READERS, draft, Given(texts=texts, size=size))


def read_told(told: Iterable[str]) -> Reading:
    """Read what a line says of an execution that left no picture."""
    draft, texts = Draft(), dict[str, str]()
    try:
        _read_beside(draft, texts, told, TOLD)
        tell_controls(draft)
    except RecursionError:
        draft = Draft(warnings=["what the line says nests too deep to be read"])
    return _reading(draft, FileTexts(), texts, "")


def _read_beside(
    draft: Draft,
    texts: dict[str, str],
    several: Iterable[str],
    place: str,
    size: tuple[int, int] = (0, 0),
) -> bool:
    """Read the first of *several* texts that a reader knows; keep it, or the last, as *place*."""
    for text in several:
        texts[place] = text
        given = Given(texts=texts, size=size, comment=text, data=json_object(text))
        if _first_that_reads(COMMENT_READERS, draft, given):
            return True
    return False


def _read_sidecars(draft: Draft, texts: dict[str, str], sidecars: Iterable[str]) -> None:
    if not _read_beside(draft, texts, sidecars, "sidecar") and "sidecar" in texts:
        draft.warnings.append("a text file lies beside the picture and holds no parameters")


def _texts_within(text: str) -> dict[str, str]:
    """Return the texts that one hidden in pixels stands for: one, or several in a JSON object."""
    parts = {} if read_infotext(Draft(), text) else json_object(text)
    if not (_WITHIN & parts.keys() or isinstance(parts.get("prompt"), dict)):
        return {"parameters": text}
    return {
        key: part if isinstance(part, str) else json.dumps(part, ensure_ascii=False)
        for key, part in parts.items()
    }


def _first_that_reads(readers: Sequence[Reader], draft: Draft, given: Given) -> bool:
    """Put what the first of *readers* that can read *given* says into *draft*.

    One that knows its tool and reads nothing counts where none of the others reads something.
    """
    silent: Draft | None = None
    for reader in readers:
        attempt = Draft()
        if reader.read(attempt, given):
            if attempt.says_something():
                _adopt(draft, attempt)
                return True
            silent = silent or attempt
        elif attempt.warnings and not attempt.knobs:
            draft.warnings += attempt.warnings
    if silent is not None:
        silent.knobs, silent.statuses = {}, {}  # what a tool means by silence
        _adopt(draft, silent)
    return silent is not None


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
        read_image_meta_hub(draft, data)
        _disagreeing(draft, given.texts.get("parameters", ""))
    return bool(data)


def _disagreeing(draft: Draft, text: str) -> None:
    """Mark what a text beside the fields of the same tool says otherwise."""
    other = Draft()
    if draft.passes or not read_infotext(other, text):
        return
    for knob in _COMPARED:
        pair = [draft.knobs.get(knob), other.knobs.get(knob)]
        if knob == "model":
            pair = [comparable_model(name) if name else None for name in pair]
        if None not in pair and pair[0] != pair[1]:
            draft.conflicting(knob, other.knobs[knob])
            draft.warnings.append(f"the parameters beside it say another {knob}")


def _tensorart(draft: Draft, given: Given) -> bool:
    text = given.texts.get("generation_data", "")
    if not json_object(text):
        return False
    _graph(draft, given.texts, given.size)
    return read_tensorart(draft, text)


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
            if not _graph_that_ran(draft, given):
                _leftover(draft, given, place)
            return True
    return False


def _comfyui(draft: Draft, given: Given) -> bool:
    return _graph(draft, given.texts, given.size)


FILE_READERS: Sequence[Reader] = (
    # Engines describe their pictures, too, in fewer words than we do.
    Reader("safelight", read_own),
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
    return not given.data and read_infotext(draft, given.comment)


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


def _parameters(draft: Draft, given: Given) -> bool:
    return read_parameters(draft, given.data)


def _draw_things(draft: Draft, given: Given) -> bool:
    return read_draw_things(draft, given.data)


def _hf_space(draft: Draft, given: Given) -> bool:
    return read_hf_space(draft, given.data)


def _bare_graph(draft: Draft, given: Given) -> bool:
    """Read a graph that stands alone in a comment, as Civitai's generator writes it.

    Savers of WebP and JPEG files put ComfyUI's two texts into one object there.
    """
    data = given.data
    inner = {key: data[key] for key in ("prompt", "workflow") if isinstance(data.get(key), str)}
    if inner and _graph(draft, inner, given.size):
        return True
    if not any(isinstance(node, dict) and "class_type" in node for node in data.values()):
        return False
    read_graph(draft, data, size=given.size)
    extra = data.get("extraMetadata")
    if isinstance(extra, str):
        read_civitai_extra(draft, extra)
    elif "extra" in data and "airs" in str(data["extra"])[:200]:
        draft.generator = "civitai"
    return True


COMMENT_READERS: Sequence[Reader] = (
    Reader("infotext", _infotext),  # the only one that is no JSON
    # Said by a key of their own.
    Reader("spool", _parameters),
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


def _graph_that_ran(draft: Draft, given: Given) -> bool:
    """Take the graph beside a text that a saver node wrote, which only retells it."""
    if "prompt" not in given.texts or not by_saver_node(draft):
        return False
    ran = Draft()
    if not (_graph(ran, given.texts, given.size) and ran.passes):
        return False
    compare_with_text(ran, draft, given.size)
    _adopt(draft, ran)
    return True


def _leftover(draft: Draft, given: Given, place: str) -> None:
    """Say what of a graph beside a text disagrees with it: it may be the source's."""
    if "prompt" not in given.texts or draft.generator in ("comfyui", "swarmui"):
        return
    if place != "parameters":
        draft.warnings.append(f"a graph is there too; {place} was read")
    other = Draft()
    unlike = differing(draft, other, given.size) if _graph(other, given.texts, given.size) else []
    if unlike:
        draft.warnings.append(f"a ComfyUI graph is there too and says another {', '.join(unlike)}")


def _reading(draft: Draft, metadata: FileTexts, texts: dict[str, str], digest: str) -> Reading:
    draft.name_extras()
    warnings = list(dict.fromkeys([*metadata.warnings, *draft.warnings]))[:50]
    stem = re.compile(r"Raw profile type (?:exif|icc|8bim)")
    return Reading(
        generator=draft.generator,
        config=draft.config(),
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
        conflicts={f"{draft.stage}.{knob}": values for knob, values in draft.conflicts.items()},
        own=draft.own,
    )
