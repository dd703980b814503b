"""Prompts in ComfyUI's graphs: followed through the nodes that hand texts on unchanged.

A text that a language model, a captioner or a translator makes is not what was typed in. Those
nodes look like any other, and new ones appear every week; so the rule is turned round: a text
comes through a node only if every word of its class is one for holding, joining, showing or
choosing texts (``ShowText``, ``Text Concatenate``, ``easy positive``), never through
``TextGenerate``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from safelight.imports.comfyui_links import MODEL_KEYS, Graph, Role
from safelight.imports.comfyui_settings import settings

__all__ = ["Conditioning", "read_conditioning"]

_MAX_DEPTH = 60
_MAX_VISITS = 3_000
_SEVERAL = (("text_g", "text_l"), ("prompt_g", "prompt_l"),
            ("bert", "mt5xl"), ("clip_l", "clip_g", "t5xxl", "llama", "qwen25_7b"))  # fmt: skip
_TEXT_KEYS = ("populated_text", "text", "prompt", "user_prompt", "positive_prompt", "prompt_text",
              "STRING", "Text", "text1")  # fmt: skip
_HELD_KEYS = ("string", "value", "source", "anything", "any_01")
_ASKED_KEYS = ("positive", "negative", "system", "user", "instruction", "wildcard_text")
_NEGATIVE_KEYS = ("text_negative", "negative_prompt", "negative")
_COMBINED = re.compile(r"combine", re.IGNORECASE)
_CONCAT = re.compile(r"concat", re.IGNORECASE)
_LIMITS = re.compile(r"Conditioning(?:Set|TimestepsRange)")
_NO_LIMITS = frozenset({"start 0, end 1", "strength 1", "start_percent 0, end_percent 1"})
_JOINED = re.compile(r"(?:string|text|text_|string_|input|prompt)_?([a-z]|\d{1,2})", re.IGNORECASE)
_PACK = re.compile(r"\s*(?:[(\[|].*|//.*|\+)$")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_HOLDING = frozenset({
    "primitive", "string", "str", "text", "texts", "multiline", "multi", "line", "literal",
    "constant", "const", "input", "box", "textbox", "node", "value", "as", "strings", "concat",
    "concatenate", "concatenation", "join", "joiner", "combine", "combiner", "append", "merge",
    "show", "display", "preview", "view", "any", "anything", "switch", "select", "selector",
    "index", "reroute", "prompt", "prompts", "positive", "negative", "simple", "area", "widget",
    "field", "if", "else", "conditional", "boolean", "lazy", "comfy", "impact", "easy", "cr",
    "jw", "jps", "kj", "was", "tt", "ttn", "n", "power", "user", "stash", "saver",
})  # fmt: skip
_CHANGING = re.compile(
    r"translat|generat|llm|gpt|ollama|caption|interrogat|enhanc|rewrit|styl", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioning:
    """What a sampler was steered with.

    Attributes:
        text: The prompt; parts that are combined are joined with ``AND`` and parts that are
            concatenated with ``BREAK``, which mean the same in AUTOMATIC1111. None where the
            way did not arrive at a text, or one that came to be while the graph ran.
        given: What a node was given that made a text of its own, or the texts that are mixed in a
            way which no single text says; empty otherwise.
        maker: The class of the node that made a text.
        mixes: Class of nodes that mix or limit (to an area, to a range of steps) -> settings.
        nodes: What was passed, encoders included.
        encoders: The nodes that made conditioning of a text.
    """

    text: str | None
    given: str = ""
    maker: str = ""
    mixes: Mapping[str, str] = field(default_factory=dict)
    nodes: tuple[str, ...] = ()
    encoders: tuple[str, ...] = ()


def read_conditioning(graph: Graph, value: object, role: Role) -> Conditioning:
    """Return what conditioning is made of.

    Args:
        graph: Where it stands.
        value: An input of a sampler: a link, or the text itself in all-in-one nodes.
        role: ``positive`` or ``negative``.
    """
    walk = _Texts(graph)
    text = walk.conditioning(value, role, 0)
    if walk.mixes and not walk.maker:
        text = None
        walk.given = "\n".join(dict.fromkeys(walk.texts))[:2000]
    return Conditioning(
        text=text,
        given=walk.given if text is None else "",
        maker=walk.maker if text is None else "",
        mixes={kind: "; ".join(said) for kind, said in walk.mixes.items()},
        nodes=tuple(walk.nodes),
        encoders=tuple(walk.encoders),
    )


def _hands_on(kind: str) -> bool:
    """Whether a node of this class gives out the text that it was given."""
    words = _WORD.findall(_PACK.sub("", kind))
    return (
        bool(words)
        and not re.search(r"[A-Za-z]2[A-Za-z]", kind)
        and all(word.lower() in _HOLDING for word in words)
    )


class _Texts:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._visits = 0
        self.nodes: list[str] = []
        self.encoders: list[str] = []
        self.given = self.maker = ""
        self.texts: list[str] = []
        self.mixes: dict[str, list[str]] = {}

    def _may_visit(self, depth: int) -> bool:
        self._visits += 1
        return depth < _MAX_DEPTH and self._visits < _MAX_VISITS

    def conditioning(self, value: object, role: Role, depth: int) -> str | None:
        if isinstance(value, str):
            return value
        link = self._graph.linked(value)
        if link is None or not self._may_visit(depth) or link[0] not in self._graph.nodes:
            return None
        node, kind = link[0], self._graph.classes[link[0]]
        inputs = self._graph.nodes[node]
        self.nodes.append(node)
        if "ZeroOut" in kind:
            return ""
        if _LIMITS.search(kind):
            self._limited(node)
        role = self._graph.slot_role(node, link[1], role)
        behind = self._graph.behind(node, role)
        if role in inputs and self._loads(inputs):
            self.encoders.append(node)
            return self._string(inputs[role], role, depth + 1)
        if len(behind) > 1:
            return self._mixed(node, [[*part] for part in behind], role, depth)
        if not (self._graph.takes(node, role) or self._graph.switched(node)[1]):
            text = self._encoded(node, role, depth)
            if text is not None or self.maker:
                return text
        return self.conditioning([*behind[0]], role, depth + 1) if behind else None

    def _loads(self, inputs: Mapping[str, Any]) -> bool:
        """All-in-one loaders take texts where others take conditioning."""
        return any(isinstance(inputs.get(key), str) for key in MODEL_KEYS)

    def _limited(self, node: str) -> None:
        said = settings(self._graph, node)
        if said not in _NO_LIMITS:
            self.mixes.setdefault(self._graph.classes[node], []).append(said)

    def _mixed(self, node: str, parts: list[list[Any]], role: Role, depth: int) -> str | None:
        kind = self._graph.classes[node]
        read = [self.conditioning(part, role, depth + 1) for part in parts]
        if any(text is None for text in read):
            return None
        texts = [text for text in read if text]
        if not _COMBINED.search(kind) and not _CONCAT.search(kind) and len(set(texts)) > 1:
            self.mixes.setdefault(kind, []).append(settings(self._graph, node))
            return None
        word = " BREAK " if _CONCAT.search(kind) else " AND "
        return word.join(dict.fromkeys(texts))

    def _encoded(self, node: str, role: Role, depth: int) -> str | None:
        """Return the text that a node makes conditioning of; None when it does no such thing."""
        inputs = self._graph.nodes[node]
        keys = self._own_keys(inputs, role, _TEXT_KEYS)
        if not keys:
            return None
        self.encoders.append(node)
        kind = self._graph.classes[node]
        more = self._graph.link(node, "trigger_words")
        if _CHANGING.search(kind) or more:
            self._made(node)
            return None
        texts = [self._string(inputs[key], role, depth + 1) for key in keys]
        if any(text is None for text in texts):
            return None
        said = " BREAK ".join(dict.fromkeys(text for text in texts if text))
        self.texts += [said] if said else []
        return said

    def _own_keys(self, inputs: Mapping[str, Any], role: Role, names: tuple[str, ...]) -> list[str]:
        """Return the inputs with the text of *role*: several where encoders have one each."""
        first = _NEGATIVE_KEYS if role == "negative" else ("positive",)
        several = next((group for group in _SEVERAL if group[0] in inputs), ())
        keys = [key for key in several if key in inputs]
        for key in (*first, *keys[:1], *names):
            if key in inputs and (
                isinstance(inputs[key], str | dict) or self._graph.linked(inputs[key])
            ):
                return keys if key in keys else [key]
        return []

    def _made(self, node: str) -> None:
        """Keep what a node was given that makes a text of its own."""
        if self.maker:
            return
        self.maker = self._graph.classes[node] or "an unknown node"
        several = (key for group in _SEVERAL for key in group)
        wanted = {*_TEXT_KEYS, *_HELD_KEYS, *several, *_ASKED_KEYS}
        texts = [
            value
            for place in self._graph.upstream(node)
            for key, value in self._graph.nodes[place].items()
            if isinstance(value, str)
            and value.strip()
            and (key in wanted or _JOINED.fullmatch(key))
        ]
        self.given = "\n".join(dict.fromkeys(texts))[:2000]

    def _string(self, value: object, role: Role, depth: int) -> str | None:
        if isinstance(value, dict) and "__value__" in value:
            value = value["__value__"]
        if isinstance(value, str):
            return value
        link = self._graph.linked(value)
        if link is None or not self._may_visit(depth) or link[0] not in self._graph.nodes:
            return None
        inputs = self._graph.nodes[link[0]]
        if isinstance(populated := inputs.get("populated_text"), str):
            return populated
        if not _hands_on(self._graph.classes[link[0]]):
            self._made(link[0])
            return None
        text = self._held(link[0], role, depth)
        if text and "\n" in text and inputs.get("strip_newlines") is True:
            self._made(link[0])
            return None
        return text

    def _held(self, node: str, role: Role, depth: int) -> str | None:
        """Return the text of a node that holds, joins, shows or chooses texts."""
        inputs = self._graph.nodes[node]
        chosen, switches = self._graph.switched(node)
        if switches:
            return self._string(chosen, role, depth + 1)
        joined = self._joined(inputs, role, depth)
        if joined is not None:
            return joined
        if keys := self._own_keys(inputs, role, (*_TEXT_KEYS, *_HELD_KEYS)):
            return self._string(inputs[keys[0]], role, depth + 1)
        return self._only(inputs, role, depth)

    def _only(self, inputs: Mapping[str, Any], role: Role, depth: int) -> str | None:
        """Return the text of a node that has nothing else."""
        values = [v for v in inputs.values() if isinstance(v, str) or self._graph.linked(v)]
        return self._string(values[0], role, depth + 1) if len(values) == 1 else None

    def _joined(self, inputs: Mapping[str, Any], role: Role, depth: int) -> str | None:
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
        if inputs.get("clean_whitespace") in (True, "true"):
            parts = [part and part.strip() for part in parts]
        between = inputs.get("delimiter", inputs.get("separator", ""))
        between = between if isinstance(between, str) else ""
        return between.replace("\\n", "\n").join(part for part in parts if part)
