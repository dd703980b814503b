"""ComfyUI's graphs as nodes and links, and what each output of a node means.

A walk wants one thing: the model, the text encoder, the positive or the negative conditioning.
Nodes that carry several of them (basic pipes, contexts, loaders) are gone through by what the
slot means; where that cannot be told the walk ends, and says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from safelight.imports.reading import as_number, as_whole

__all__ = ["MODEL_KEYS", "Graph", "Link", "Role", "Walk"]

Link = tuple[str, int]
Role = Literal["model", "clip", "positive", "negative"]
_POSITIVE: Role = "positive"
_NEGATIVE: Role = "negative"

MODEL_KEYS = ("ckpt_name", "unet_name", "base_ckpt_name", "model_name", "diffusion_model",
              "gguf_name", "model_path", "checkpoint", "ckpt", "transformer_name",
              "model")  # fmt: skip
"""Inputs in which loaders name the file of a model."""

_MAX_NODES = 20_000
_MAX_WALK = 5_000
_MAX_DEPTH = 60
_NUMBER_KEYS = ("value", "number", "int", "float", "float_value", "int_value", "Number", "Value",
                "seed", "noise_seed", "seed_num")  # fmt: skip
_CONDITIONING = r"|conditioning(?:_?\w+)?|cond(?:_?\d)?"
_KEYS: Mapping[Role, re.Pattern[str]] = {
    "model": re.compile(
        r"(?:base_|any_|opt_)?model(?:_opt|_in|_override|_?\d{1,2}|_[a-d]|_(?:high|low)(?:_noise)?)?"
        r"|unet|transformer|model_stack"
    ),
    "clip": re.compile(r"(?:base_|any_|opt_)?clip(?:_opt|_in|_override|_?\d{1,2}|_[ab])?"),
    "positive": re.compile(r"(?:base_)?positive" + _CONDITIONING),
    "negative": re.compile(r"(?:base_)?negative" + _CONDITIONING),
}
_PIPE = re.compile(
    r"(?:basic_|detailer_|in_|opt_)?pipe|base_ctx|context|guider|sdxl_tuple|text_embeds|ctx_\d+"
)
_ANYTHING = re.compile(r"any(?:thing|_\d+)?|input_?\d*|value_?\d*|source|data", re.IGNORECASE)
_CHOICES = re.compile(r"[a-z_]*?0*(\d{1,3})", re.IGNORECASE)
_FIRST = re.compile(r"Any Switch|Context Switch")
_MERGED = re.compile(r"Context Merge")
_PIPE_SLOTS = ("pipe", "model", "clip", "vae", "positive", "negative")
_EASY_SLOTS = ("pipe", "model", "positive", "negative", "latent", "vae", "clip", "image", "seed")
_SLOTS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (re.compile(r"From(?:Basic|Detailer)Pipe"), _PIPE_SLOTS[1:]),
    (re.compile(r"From(?:Basic|Detailer)Pipe_\w+"), _PIPE_SLOTS),
    (re.compile(r"Context\b.*\(rgthree\)"), _PIPE_SLOTS),
    (re.compile(r"easy pipe(?:Out|Edit\w*)|ttN pipe(?:OUT|EDIT)"), _EASY_SLOTS),
    (re.compile(r"easy fullkSampler"), ("pipe", "image", *_EASY_SLOTS[1:])),
    (
        re.compile(r"easy (?:full|hunyuanDiT|pixArt|kolors|flux|mochi)Loader"),
        ("pipe", "model", "vae", "clip", "positive", "negative", "latent"),
    ),
    (re.compile(r"Efficient Loader"), ("model", "positive", "negative", "latent", "vae", "clip")),
    (re.compile(r"KSampler.*\(Efficient\)"), ("model", "positive", "negative", "latent", "vae")),
)
"""Class -> what its outputs are, where they are not told by its inputs."""


@dataclass(frozen=True, slots=True)
class Walk:
    """Where a walk for one thing went.

    Attributes:
        nodes: What was passed, nearest first, the ends included.
        ends: Nodes that make the thing: they take nothing of its kind.
        mixes: Nodes into which several of its kind go.
        whole: False where the walk was too long, so that there may be more.
    """

    nodes: tuple[str, ...]
    ends: tuple[str, ...]
    mixes: tuple[str, ...]
    whole: bool


@dataclass(slots=True)
class Graph:
    """An API graph: node id -> class and inputs, with links told from values.

    Attributes:
        nodes: Node id -> ``inputs``.
        classes: Node id -> ``class_type``.
    """

    nodes: dict[str, dict[str, Any]]
    classes: dict[str, str]
    _visits: int = field(default=0, init=False)

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Graph:
        """Take what is a node; the rest of the mapping is passed over."""
        nodes: dict[str, dict[str, Any]] = {}
        classes: dict[str, str] = {}
        for key, node in list(value.items())[:_MAX_NODES]:
            if isinstance(node, dict) and isinstance(node.get("inputs"), dict):
                kind = node.get("class_type")
                nodes[str(key)] = node["inputs"]
                classes[str(key)] = kind if isinstance(kind, str) else ""
        return cls(nodes, classes)

    def linked(self, value: object) -> Link | None:
        """Return (node, slot) when *value* is a link."""
        if (
            isinstance(value, list)
            and len(value) == 2
            and isinstance(value[0], str | int)
            and isinstance(value[1], int)
            and not isinstance(value[0], bool)
        ):
            return str(value[0]), value[1]
        return None

    def link(self, node: str, key: str) -> Link | None:
        """Return (node, slot) that an input is connected to, or None."""
        return self.linked(self.nodes.get(node, {}).get(key))

    def links(self, node: str) -> Iterator[tuple[str, Link]]:
        """Yield (input, (node, slot)) of every connected input."""
        for key, value in self.nodes.get(node, {}).items():
            if target := self.linked(value):
                yield key, target

    def number(self, node: str, *keys: str) -> float | int | None:
        """Return the number of the first input of *keys* that has one, through its links."""
        for key in keys:
            value = self.scalar(self.nodes.get(node, {}).get(key), _NUMBER_KEYS)
            if as_number(value) is not None:
                return as_whole(value) if as_whole(value) is not None else as_number(value)
        return None

    def text(self, node: str, *keys: str) -> str | None:
        """Return the text of the first input of *keys* that has one, through its links."""
        for key in keys:
            value = self.scalar(
                self.nodes.get(node, {}).get(key), (key, *MODEL_KEYS, "value", "string")
            )
            if isinstance(value, str) and value:
                return value
        return None

    def scalar(self, value: object, keys: tuple[str, ...]) -> object:
        """Return the plain value behind *value*, looking in linked nodes at *keys*; else None."""
        self._visits = 0
        return self._scalar(value, keys, 0)

    def _scalar(self, value: object, keys: tuple[str, ...], depth: int) -> object:
        if isinstance(value, dict) and "__value__" in value:
            value = value["__value__"]
        link = self.linked(value)
        if link is None:
            return value if isinstance(value, str | int | float) else None
        self._visits += 1
        if depth >= _MAX_DEPTH or self._visits > _MAX_WALK:
            return None
        inputs = self.nodes.get(link[0], {})
        chosen, switches = self.switched(link[0])
        if switches:
            return self._scalar(chosen, keys, depth + 1)
        for key in keys:
            if key in inputs:
                scalar = self._scalar(inputs[key], keys, depth + 1)
                if scalar is not None:
                    return scalar
        if len(inputs) == 1:
            return self._scalar(next(iter(inputs.values())), keys, depth + 1)
        return None

    def switched(self, node: str) -> tuple[object, bool]:
        """Return what a switch lets through, and whether the node is a switch at all.

        What it lets through is None where nothing tells which side that is.
        """
        inputs, kind = self.nodes.get(node, {}), self.classes.get(node, "")
        if "on_true" in inputs and "on_false" in inputs:
            state = self._boolean(inputs.get("switch", inputs.get("boolean", inputs.get("value"))))
            return (None if state is None else inputs["on_true" if state else "on_false"]), True
        if _FIRST.match(kind):  # those that are muted are not in the graph
            numbered = sorted(key for key, _ in self.links(node) if _CHOICES.fullmatch(key))
            return (inputs[numbered[0]] if numbered else None), True
        choice = next((k for k in ("select", "index", "Input", "input") if k in inputs), None)
        sides = {
            int(match[1]): key
            for key in inputs
            if key != choice and (match := _CHOICES.fullmatch(key))
        }
        if choice is None or not sides:
            return None, False
        number = self._choice(inputs[choice])
        if number is None:
            return None, True
        return inputs.get(sides.get(number, "")), True

    def _choice(self, value: object) -> int | None:
        """Return the number that a switch was set to; one that another switch sets is not told."""
        for _ in range(_MAX_DEPTH):
            link = self.linked(value)
            if link is None:
                return as_whole(value)
            inputs = self.nodes.get(link[0], {})
            value = next((inputs[key] for key in _NUMBER_KEYS if key in inputs), None)
        return None

    def _boolean(self, value: object) -> bool | None:
        if link := self.linked(value):
            inputs = self.nodes.get(link[0], {})
            value = inputs.get("value", inputs.get("boolean"))
        return value if isinstance(value, bool) else None

    def upstream(self, start: str, *only: str) -> Iterator[str]:
        """Yield the nodes behind *start*, nearest first, through inputs called *only*, or all."""
        seen, wave = {start}, [start] if start in self.nodes else []
        while wave and len(seen) < _MAX_WALK:
            following: list[str] = []
            for node in wave:
                yield node
                for key, (target, _) in self.links(node):
                    if (not only or key in only) and target not in seen and target in self.nodes:
                        seen.add(target)
                        following.append(target)
            wave = following

    def slot_role(self, node: str, slot: int, role: Role) -> Role:
        """Return what an output is when a walk for *role* comes to it: roles can be crossed."""
        inputs, kind = self.nodes.get(node, {}), self.classes.get(node, "")
        slots = next((names for pattern, names in _SLOTS if pattern.fullmatch(kind)), None)
        if slots is None and "positive" in inputs and "negative" in inputs:
            carries_more = any(
                _KEYS["model"].fullmatch(key) or _PIPE.fullmatch(key) for key, _ in self.links(node)
            )
            linked = self.linked(inputs["positive"]) is not None
            slots = ("positive", "negative") if linked and not carries_more else None
        meant = slots[slot] if slots and 0 <= slot < len(slots) else role
        return {"positive": _POSITIVE, "negative": _NEGATIVE}.get(meant, role)

    def behind(self, node: str, role: Role) -> list[Link]:
        """Return what a node takes of *role*: several links where it mixes them.

        Empty where the node makes the thing itself, and where nothing tells which input it is.
        """
        chosen, switches = self.switched(node)
        if switches:
            link = self.linked(chosen)
            return [link] if link else []
        links = dict(self.links(node))
        ordered = sorted(links, key=lambda key: (key.endswith("_from"), key))  # goes behind "_to"
        own = [links[key] for key in ordered if _KEYS[role].fullmatch(key)]
        if role == "negative" and "guider" not in links and self._guides(node):
            own = [links[key] for key in ("negative", "cond2") if key in links][:1]
        if own:
            exact = f"{role}_override" if role == "model" else role
            return [links[exact]] if exact in links else own
        if pipes := sorted(key for key in links if _PIPE.fullmatch(key)):
            if _MERGED.match(self.classes.get(node, "")):  # the last that has it
                pipes = [p for p in pipes[::-1] if self._carries(links[p][0], role)]
            return [links[pipes[0]]] if pipes else []
        passing = [link for key, link in links.items() if _ANYTHING.fullmatch(key)]
        return passing if len(passing) == 1 else []

    def pipe(self, node: str) -> Link | None:
        """Return the pipe or context that a node takes, guiders apart."""
        keys = sorted(k for k, _ in self.links(node) if _PIPE.fullmatch(k) and k != "guider")
        return self.link(node, keys[0]) if keys else None

    def takes(self, node: str, role: Role) -> bool:
        """Whether a node has an input of its own for *role*."""
        return any(_KEYS[role].fullmatch(key) for key, _ in self.links(node))

    def _guides(self, node: str) -> bool:
        """Tell a guider: its conditioning is the positive one."""
        return "guider" in self.classes.get(node, "").lower()

    def _carries(self, start: str, role: Role) -> bool:
        """Whether a context has what is wanted, itself or from those that it is built on."""
        seen, waiting = {start}, [start]
        while waiting and len(seen) < _MAX_WALK:
            links = dict(self.links(waiting.pop()))
            if role in links:
                return True
            behind = {link[0] for key, link in links.items() if _PIPE.fullmatch(key)} - seen
            seen |= behind
            waiting += behind
        return False

    def walk(self, start: str, role: Role) -> Walk:
        """Go from *start* to what makes its model or text encoder."""
        nodes, ends, mixes = [start], list[str](), list[str]()
        seen, at = {start}, 0
        while at < len(nodes) and len(nodes) < _MAX_WALK:
            links = [link for link in self.behind(nodes[at], role) if link[0] in self.nodes]
            if len(links) > 1:
                mixes.append(nodes[at])
            elif not links:
                ends.append(nodes[at])
            for target, _ in links:
                if target not in seen:
                    seen.add(target)
                    nodes.append(target)
            at += 1
        return Walk(tuple(nodes), tuple(ends), tuple(mixes), at == len(nodes))
