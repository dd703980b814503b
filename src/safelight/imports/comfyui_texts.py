"""Texts and numbers in ComfyUI's graphs: followed through the nodes that pass them on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["GraphTexts"]

_MAX_DEPTH = 60
_MAX_VISITS = 3_000
_TEXT_KEYS = ("text", "populated_text", "prompt", "string", "value", "text_g", "clip_l", "t5xxl",
              "text_positive", "positive_prompt", "prompt_text", "wildcard_text", "text_0",
              "STRING", "Text", "caption", "instruction", "mt5xl", "bert", "result",
              "text1")  # fmt: skip
_NEGATIVE_KEYS = ("text_negative", "negative_prompt", "negative")
_COMBINED = re.compile(r"combine", re.IGNORECASE)
_CONCAT = re.compile(r"concat", re.IGNORECASE)
_JOINED = re.compile(r"(?:string|text|text_|string_|input|prompt)_?([a-z]|\d{1,2})", re.IGNORECASE)


class GraphTexts:
    """Follows values and conditioning through a graph; unknown ways end in None, not in a guess."""

    def __init__(self, nodes: Mapping[str, dict[str, Any]], classes: Mapping[str, str]) -> None:
        self.nodes = nodes
        self._classes = classes
        self._visits = 0

    def link(self, value: object) -> tuple[str, int] | None:
        """Return (node, slot) when *value* is a link to a node of the graph."""
        if (
            isinstance(value, list)
            and len(value) == 2
            and isinstance(value[0], str | int)
            and isinstance(value[1], int)
            and not isinstance(value[0], bool)
        ):
            return str(value[0]), value[1]
        return None

    def scalar(self, value: object, keys: tuple[str, ...]) -> object:
        """Return the plain value behind *value*, looking in linked nodes at *keys*; else None."""
        self._visits = 0
        return self._scalar(value, keys, 0)

    def _scalar(self, value: object, keys: tuple[str, ...], depth: int) -> object:
        if isinstance(value, dict) and "__value__" in value:
            value = value["__value__"]
        link = self.link(value)
        if link is None:
            return value if isinstance(value, str | int | float) else None
        if not self._may_visit(depth):
            return None
        inputs = self.nodes.get(link[0], {})
        if (chosen := self._switched(inputs)) is not None:
            return self._scalar(chosen, keys, depth + 1)
        for key in keys:
            if key in inputs:
                scalar = self._scalar(inputs[key], keys, depth + 1)
                if scalar is not None:
                    return scalar
        if len(inputs) == 1:
            return self._scalar(next(iter(inputs.values())), keys, depth + 1)
        return None

    def _may_visit(self, depth: int) -> bool:
        self._visits += 1
        return depth < _MAX_DEPTH and self._visits < _MAX_VISITS

    def _switched(self, inputs: Mapping[str, Any]) -> object:
        """Return the side that a switch node takes, or None when this is none."""
        if "on_true" in inputs and "on_false" in inputs:
            state = self._boolean(inputs.get("switch", inputs.get("boolean", inputs.get("value"))))
            return None if state is None else inputs["on_true" if state else "on_false"]
        number = inputs.get("select", inputs.get("index", inputs.get("Input")))
        if isinstance(number, int) and not isinstance(number, bool):
            return inputs.get(f"input{number}", inputs.get(f"text{number}"))
        return None

    def _boolean(self, value: object) -> bool | None:
        if link := self.link(value):
            inputs = self.nodes.get(link[0], {})
            value = inputs.get("value", inputs.get("boolean"))
        return value if isinstance(value, bool) else None

    def prompt(self, value: object, role: str) -> str | None:
        """Return the text that conditioning is made of.

        Args:
            value: An input of a sampler: a link, or the text itself in all-in-one nodes.
            role: ``positive`` or ``negative``.

        Returns:
            The text; parts that are combined are joined with ``AND`` and parts that are
            concatenated with ``BREAK``, which mean the same in AUTOMATIC1111. None when the
            way leads through a node that cannot be read.
        """
        self._visits = 0
        return self._prompt(value, role, 0)

    def _prompt(self, value: object, role: str, depth: int) -> str | None:
        if isinstance(value, str):
            return value
        link = self.link(value)
        if link is None or not self._may_visit(depth):
            return None
        node, slot = link
        inputs, kind = self.nodes.get(node), self._classes.get(node, "")
        if inputs is None:
            return None
        if "ZeroOut" in kind:
            return ""
        both = "positive" in inputs and "negative" in inputs
        if both:
            role = (
                ("positive", "negative")[slot]
                if slot in (0, 1) and self._is_conditioning(inputs["positive"])
                else role
            )
            return self._prompt(inputs[role], role, depth + 1)
        parts = [
            inputs[key]
            for key in sorted(inputs)
            if re.fullmatch(r"(?:conditioning|cond)_?\w*", key) and self.link(inputs[key])
        ]
        if len(parts) > 1:
            word = " BREAK " if _CONCAT.search(kind) else " AND "
            read = [self._prompt(part, role, depth + 1) for part in parts]
            if any(text is None for text in read):
                return None
            texts = [text for text in read if text]
            if not _COMBINED.search(kind) and not _CONCAT.search(kind) and len(set(texts)) > 1:
                return None
            return word.join(dict.fromkeys(texts))
        text = self._text_of(inputs, role, depth + 1)
        if text is not None:
            return text
        if parts:
            return self._prompt(parts[0], role, depth + 1)
        for key in (role, "basic_pipe", "pipe", "samples", "anything", "any_01", "input", "base"):
            if key in inputs and self.link(inputs[key]):
                return self._prompt(inputs[key], role, depth + 1)
        return None

    def _is_conditioning(self, value: object) -> bool:
        return self.link(value) is not None

    def _text_of(self, inputs: Mapping[str, Any], role: str, depth: int) -> str | None:
        """Return the text that a node encodes or passes on; None when it has none."""
        keys = (*_NEGATIVE_KEYS, *_TEXT_KEYS) if role == "negative" else ("positive", *_TEXT_KEYS)
        two = inputs.get("text_l")
        for key in keys:
            if key not in inputs:
                continue
            text = self._string(inputs[key], role, depth)
            if text is None:
                return None
            if not text and key in ("clip_l", "text_g"):
                continue
            if key == "text_g" and two is not None:
                second = self._string(two, role, depth)
                if second and second != text:
                    return f"{text} BREAK {second}"
            return text
        return None

    def _string(self, value: object, role: str, depth: int) -> str | None:
        if isinstance(value, dict) and "__value__" in value:
            value = value["__value__"]
        if isinstance(value, str):
            return value
        link = self.link(value)
        if link is None or not self._may_visit(depth):
            return None
        inputs = self.nodes.get(link[0])
        if inputs is None:
            return None
        if (chosen := self._switched(inputs)) is not None:
            return self._string(chosen, role, depth + 1)
        joined = self._joined(inputs, role, depth)
        if joined is not None:
            return joined
        text = self._text_of(inputs, role, depth + 1)
        if text is not None:
            return text
        strings = [v for v in inputs.values() if isinstance(v, str)]
        links = [v for v in inputs.values() if self.link(v)]
        if len(strings) == 1 and not links:
            return strings[0]
        if len(links) == 1 and not strings:
            return self._string(links[0], role, depth + 1)
        return None

    def _joined(self, inputs: Mapping[str, Any], role: str, depth: int) -> str | None:
        """Return what a node that joins several texts makes of them."""
        keys = sorted(key for key in inputs if _JOINED.fullmatch(key))
        if len(keys) < 1 or (
            not any(k in inputs for k in ("delimiter", "separator")) and len(keys) < 2
        ):
            return None
        if "text" in inputs or "prompt" in inputs:
            return None
        parts = [self._string(inputs[key], role, depth + 1) for key in keys]
        if any(part is None for part in parts):
            return None
        between = inputs.get("delimiter", inputs.get("separator", ""))
        between = between if isinstance(between, str) else ""
        return between.replace("\\n", "\n").join(part for part in parts if part)
