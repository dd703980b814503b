"""Texts that ComfyUI's saver nodes write in AUTOMATIC1111's form, beside the graph that ran.

A saver is told what to write by hand or by guesswork, and often wrongly; the graph is what the
server drew with. So the graph counts, what the text says otherwise is conflicting, and what only
the text knows (a prompt that a language model wrote) is taken from it.
"""

from __future__ import annotations

import re

from safelight.imports.reading import Draft
from safelight.lora_tags import split_loras

__all__ = ["by_saver_node", "compare_with_text", "differing"]

_NO_WEB_UI = frozenset({"comfyui", "a1111-like", "civitai"})
_ONLY_TOLD = ("prompt", "negative_prompt", "model", "sampler", "scheduler")
_SAYS_NOTHING = frozenset({"", "unknown", "none", "undefined", "n/a"})


def by_saver_node(text: Draft) -> bool:
    """Whether a parameters text names no web UI's version: those write none beside graphs."""
    return text.generator in _NO_WEB_UI


def differing(text: Draft, graph: Draft, size: tuple[int, int]) -> list[str]:
    """Return the knobs that both say, and say otherwise.

    Args:
        text: What the text says.
        graph: What the graph says.
        size: Of the picture in pixels, which savers write for that of the first pass.
    """
    return [
        knob
        for knob, value in text.knobs.items()
        if text.statuses[knob] == "read"
        and knob in graph.knobs
        and not _same(knob, value, graph.knobs[knob], size)
    ]


def compare_with_text(graph: Draft, text: Draft, size: tuple[int, int]) -> None:
    """Mark in *graph* what *text* says otherwise, and fill in what only the text says."""
    unlike = differing(text, graph, size)
    for knob in unlike:
        graph.conflicting(knob, text.knobs[knob])
    told = {_stem(lora.name) for lora in text.loras}
    if told and told != {_stem(lora.name) for lora in graph.loras}:
        own = [{"name": lora.name, "weight": lora.weight} for lora in graph.loras]
        graph.conflicts.setdefault("loras", (own,))
        graph.conflicting(
            "loras", [{"name": lora.name, "weight": lora.weight} for lora in text.loras]
        )
        unlike.append("loras")
    if unlike:
        graph.warnings.append(
            f"a text beside the graph says another {', '.join(unlike)}; the graph was read"
        )
    for knob in _ONLY_TOLD:
        value = text.knobs.get(knob)
        said = isinstance(value, str) and value.strip().lower() not in _SAYS_NOTHING
        mixed = knob == "model" and "model_merge" in graph.extra
        if said and text.statuses[knob] == "read" and knob not in graph.knobs and not mixed:
            graph.read(knob, text.native.get(knob, value))
    if "model" in graph.knobs and "model" not in unlike:
        graph.hashes += text.hashes


def _same(knob: str, told: object, drawn: object, size: tuple[int, int]) -> bool:
    if isinstance(told, str) and isinstance(drawn, str):
        if knob in ("prompt", "negative_prompt"):
            return _words(told) == _words(drawn)
        return _stem(told) == _stem(drawn)
    if isinstance(told, int | float) and isinstance(drawn, int | float):
        final = dict(zip(("width", "height"), size, strict=True)).get(knob)
        return abs(told - drawn) < 1e-6 or told == final
    return told == drawn


def _words(prompt: str) -> list[str]:
    return split_loras(prompt)[0].replace(",", " ").split()


def _stem(name: str) -> str:
    """Savers leave out folders and endings, and write blanks for underscores."""
    file = re.split(r"[\\/]", name.strip())[-1]
    return re.sub(r"\.(safetensors|ckpt|gguf|pt|pth|bin|sft)$", "", file.lower()).replace("_", " ")
