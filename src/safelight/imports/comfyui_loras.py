"""LoRAs in the nodes of ComfyUI's graphs, by the shape of their inputs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from safelight.imports.comfyui_links import Graph
from safelight.imports.reading import as_number
from safelight.lora_tags import split_loras

__all__ = ["node_loras"]

_NUMBERED = re.compile(r"lora_name_?(\d+)|lora_?(\d+)(?:_name)?", re.IGNORECASE)


def node_loras(inputs: Mapping[str, Any], graph: Graph) -> Iterator[tuple[str, Any]]:
    """Yield (name, weight on the image network) of every LoRA that a node switches on.

    The shapes: one name and strength; ``lora_N = {on, lora, strength}`` (rgthree); numbered
    names and weights (efficiency, easy-use); lists under ``__value__`` (LoRA manager); tags in
    a text; and a link to a stack, which is followed.
    """
    yield from _node(inputs, graph, 0)


def _node(inputs: Mapping[str, Any], graph: Graph, depth: int) -> Iterator[tuple[str, Any]]:
    if isinstance(name := graph.scalar(inputs.get("lora_name"), ("lora_name", "value")), str):
        yield name, _first(inputs, graph, "strength_model", "lora_model_strength", "strength",
                           "weight", "lora_strength")  # fmt: skip
    count = as_number(inputs.get("lora_count", inputs.get("num_loras")))
    for key, value in inputs.items():
        if isinstance(value, Mapping) and isinstance(value.get("lora"), str):
            if value.get("on", True):
                yield value["lora"], value.get("strength", value.get("strength_model"))
        elif (match := _NUMBERED.fullmatch(key)) and isinstance(value, str):
            number = match[1] or match[2]
            if (count is None or int(number) <= count) and _is_on(inputs, number):
                yield value, _first(
                    inputs, graph, f"lora_wt_{number}", f"model_str_{number}",
                    f"strength_model_{number}", f"lora_{number}_strength", f"strength_{number}",
                    f"lora_{number}_model_strength", f"model_weight_{number}", f"weight_{number}",
                )  # fmt: skip
        elif key in ("loras", "lora_stack", "lora_list", "stack"):
            yield from _listed(value)
        elif isinstance(value, str) and "<lora:" in value and not _same_in_list(inputs):
            for lora in split_loras(value[:100_000])[1]:
                yield lora.name, lora.unet
    for key in ("lora_stack", "optional_lora_stack", "lora_stack_1", "loras"):
        link = graph.linked(inputs.get(key))
        if link and depth < 20 and link[0] in graph.nodes:
            yield from _node(graph.nodes[link[0]], graph, depth + 1)


def _is_on(inputs: Mapping[str, Any], number: str) -> bool:
    switch = inputs.get(f"switch_{number}", inputs.get(f"lora_{number}_enabled", True))
    return switch not in (False, "Off", "off", 0)


def _same_in_list(inputs: Mapping[str, Any]) -> bool:
    """The LoRA manager writes its list as tags as well; the list knows what is switched off."""
    return isinstance(inputs.get("loras"), Mapping | list) and bool(
        list(_listed(inputs["loras"], every=True))
    )


def _listed(value: object, *, every: bool = False) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        value = value.get("__value__", ())
    for item in value if isinstance(value, list) else ():
        if isinstance(item, Mapping):
            name = item.get("name", item.get("lora", item.get("lora_name")))
            if isinstance(name, str) and (every or item.get("active", item.get("on", True))):
                yield name, item.get("strength", item.get("weight", item.get("strength_model")))
        elif (
            isinstance(item, list)
            and len(item) >= 2
            and isinstance(item[0], str)
            and as_number(item[1]) is not None
        ):
            yield item[0], item[1]


def _first(inputs: Mapping[str, Any], graph: Graph, *keys: str) -> Any:
    for key in keys:
        if key in inputs:
            return as_number(graph.scalar(inputs[key], ("value", "float", "number")))
    return None
