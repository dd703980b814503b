"""ComfyUI's editor graphs, turned into the API form that the server runs.

The editor's file lists nodes with their widgets' values in order, without names in old
versions; names come from the node's own inputs where they are told, else from a small table of
the nodes that everyone uses. Muted nodes fall away, bypassed ones are passed through, and
subgraphs are unfolded, all as the editor does it when it queues a prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["api_graph"]

_MAX_NODES = 20_000
_MAX_DEPTH = 8
_CONTROL = frozenset({"fixed", "increment", "decrement", "randomize"})
_WIDGETS: Mapping[str, tuple[str, ...]] = {
    "KSampler": ("seed", "*", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": (
        "add_noise", "noise_seed", "*", "steps", "cfg", "sampler_name", "scheduler",
        "start_at_step", "end_at_step", "return_with_leftover_noise",
    ),
    "SamplerCustom": ("add_noise", "noise_seed", "*", "cfg"),
    "RandomNoise": ("noise_seed", "*"),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "KSamplerSelect": ("sampler_name",),
    "CFGGuider": ("cfg",),
    "FluxGuidance": ("guidance",),
    "RescaleCFG": ("multiplier",),
    "ModelSamplingSD3": ("shift",),
    "ModelSamplingAuraFlow": ("shift",),
    "ModelSamplingFlux": ("max_shift", "base_shift", "width", "height"),
    "EasyCache": ("reuse_threshold", "start_percent", "end_percent", "verbose"),
    "ManualSigmas": ("sigmas",),
    "CLIPLoader": ("clip_name", "type", "device"),
    "DualCLIPLoader": ("clip_name1", "clip_name2", "type", "device"),
    "TripleCLIPLoader": ("clip_name1", "clip_name2", "clip_name3"),
    "QuadrupleCLIPLoader": ("clip_name1", "clip_name2", "clip_name3", "clip_name4"),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "CheckpointLoader": ("config_name", "ckpt_name"),
    "UNETLoader": ("unet_name", "weight_dtype"),
    "UnetLoaderGGUF": ("unet_name",),
    "VAELoader": ("vae_name",),
    "CLIPTextEncode": ("text",),
    "CLIPSetLastLayer": ("stop_at_clip_layer",),
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "EmptySD3LatentImage": ("width", "height", "batch_size"),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "LoadImage": ("image", "upload"),
    "SaveImage": ("filename_prefix",),
    "EmptyMochiLatentVideo": ("width", "height", "length", "batch_size"),
    "EmptyHunyuanLatentVideo": ("width", "height", "length", "batch_size"),
    "EmptyLTXVLatentVideo": ("width", "height", "length", "batch_size"),
    "WanImageToVideo": ("width", "height", "length", "batch_size"),
    "SVD_img2vid_Conditioning": ("width", "height", "video_frames"),
    "StableCascade_EmptyLatentImage": ("width", "height", "compression", "batch_size"),
    "CLIPTextEncodeHunyuanDiT": ("bert", "mt5xl"),
    "CLIPTextEncodeSDXL": (
        "width", "height", "crop_w", "crop_h", "target_width", "target_height", "text_g", "text_l",
    ),
    "TextEncodeQwenImageEdit": ("prompt",),
    "unCLIPCheckpointLoader": ("ckpt_name",),
    "ImageOnlyCheckpointLoader": ("ckpt_name",),
    "LTXVScheduler": ("steps", "max_shift", "base_shift", "stretch", "terminal"),
    "OptimalStepsScheduler": ("model_type", "steps", "denoise"),
    "KarrasScheduler": ("steps", "sigma_max", "sigma_min", "rho"),
    "LatentUpscale": ("upscale_method", "width", "height", "crop"),
    "LatentUpscaleBy": ("upscale_method", "scale_by"),
    "ImageScale": ("upscale_method", "width", "height", "crop"),
    "ImageScaleBy": ("upscale_method", "scale_by"),
    "UpscaleModelLoader": ("model_name",),
    "PrimitiveNode": ("value", "*"),
    "PrimitiveStringMultiline": ("value",),
    "PrimitiveInt": ("value", "*"),
    "PrimitiveFloat": ("value",),
    "String Literal": ("string",),
}  # fmt: skip


def api_graph(workflow: Mapping[str, Any]) -> dict[str, Any]:
    """Return the API form of an editor graph; what cannot be understood is left out."""
    definitions = workflow.get("definitions")
    listed = definitions.get("subgraphs") if isinstance(definitions, Mapping) else None
    subgraphs = {
        graph["id"]: graph
        for graph in (listed if isinstance(listed, list) else ())
        if isinstance(graph, Mapping) and isinstance(graph.get("id"), str)
    }
    maker = _Maker(subgraphs)
    maker.add(workflow, "", {}, 0)
    return maker.resolved()


class _Maker:
    def __init__(self, subgraphs: Mapping[str, Mapping[str, Any]]) -> None:
        self._subgraphs = subgraphs
        self._graph: dict[str, dict[str, Any]] = {}
        self._through: dict[tuple[str, int], Any] = {}

    def resolved(self) -> dict[str, Any]:
        """Replace links to what passes through by links to what is behind it."""
        for node in self._graph.values():
            for key, value in list(node["inputs"].items()):
                if isinstance(value, list) and len(value) == 2:
                    target = self._behind(value)
                    if target is None:
                        del node["inputs"][key]
                    else:
                        node["inputs"][key] = target
        return dict(self._graph)

    def _behind(self, link: Any) -> Any:
        for _ in range(100):
            if not (isinstance(link, list) and len(link) == 2):
                return link
            place = (str(link[0]), link[1])
            if place not in self._through:
                return link if place[0] in self._graph else None
            link = self._through[place]
        return None

    def add(
        self, graph: Mapping[str, Any], prefix: str, given: Mapping[int, Any], depth: int
    ) -> None:
        """Add the nodes of a graph; *given* holds what a subgraph's inputs are connected to."""
        links = _links(graph)
        nodes = graph.get("nodes")
        for node in (nodes if isinstance(nodes, list) else ())[:_MAX_NODES]:
            if isinstance(node, Mapping) and isinstance(node.get("id"), int | str):
                self._add_node(node, links, prefix, given, depth)

    def _add_node(
        self, node: Mapping[str, Any], links: Mapping[Any, tuple[Any, int]], prefix: str,
        given: Mapping[int, Any], depth: int,
    ) -> None:  # fmt: skip
        name, kind = f"{prefix}{node['id']}", str(node.get("type", ""))
        inputs: dict[str, Any] = {}
        order: list[str] = []
        ports = node.get("inputs")
        for port in ports if isinstance(ports, list) else ():
            if not isinstance(port, Mapping) or not isinstance(port.get("name"), str):
                continue
            if isinstance(port.get("widget"), Mapping):
                order.append(port["name"])
            source = links.get(port.get("link")) if isinstance(port.get("link"), int) else None
            if source is not None:
                inputs[port["name"]] = (
                    given.get(source[1])
                    if source[0] == -10
                    else [f"{prefix}{source[0]}", source[1]]
                )
        mode = node.get("mode", 0)
        if mode == 2 or len(self._graph) >= _MAX_NODES:
            return
        if mode == 4 or kind == "Reroute":
            self._pass_through(name, node, inputs)
            return
        for key, value in _widgets(kind, node.get("widgets_values"), order).items():
            inputs.setdefault(key, value)
        if kind in self._subgraphs and depth < _MAX_DEPTH:
            self._unfold(self._subgraphs[kind], name, inputs, depth)
            return
        self._graph[name] = {
            "class_type": kind,
            "inputs": {k: v for k, v in inputs.items() if v is not None},
        }

    def _pass_through(self, name: str, node: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
        """Connect each output to the first input of its type."""
        outputs, ports = node.get("outputs"), node.get("inputs")
        for slot, output in enumerate(outputs if isinstance(outputs, list) else ()):
            kind = output.get("type") if isinstance(output, Mapping) else None
            for port in ports if isinstance(ports, list) else ():
                if (
                    isinstance(port, Mapping)
                    and port.get("name") in inputs
                    and (port.get("type") == kind or "*" in (port.get("type"), kind))
                ):
                    self._through[name, slot] = inputs[port["name"]]
                    break

    def _unfold(
        self, graph: Mapping[str, Any], name: str, inputs: Mapping[str, Any], depth: int
    ) -> None:
        ports = graph.get("inputs")
        names = (
            [p.get("name") for p in ports if isinstance(p, Mapping)]
            if isinstance(ports, list)
            else []
        )
        given = {slot: inputs.get(port) for slot, port in enumerate(names) if isinstance(port, str)}
        self.add(graph, f"{name}:", given, depth + 1)
        for origin, slot, target, target_slot in _raw_links(graph):
            if target == -20:
                self._through[name, target_slot] = [f"{name}:{origin}", slot]


def _raw_links(graph: Mapping[str, Any]) -> list[tuple[Any, int, Any, int]]:
    listed = graph.get("links")
    raw: list[tuple[Any, int, Any, int]] = []
    for link in listed if isinstance(listed, list) else ():
        if isinstance(link, Mapping):
            row = [link.get(k) for k in ("origin_id", "origin_slot", "target_id", "target_slot")]
        elif isinstance(link, list) and len(link) >= 5:
            row = link[1:5]
        else:
            continue
        if isinstance(row[1], int) and isinstance(row[3], int):
            raw.append((row[0], row[1], row[2], row[3]))
    return raw


def _links(graph: Mapping[str, Any]) -> dict[Any, tuple[Any, int]]:
    listed = graph.get("links")
    sources: dict[Any, tuple[Any, int]] = {}
    for link in listed if isinstance(listed, list) else ():
        if isinstance(link, Mapping):
            if isinstance(link.get("id"), int) and isinstance(link.get("origin_slot"), int):
                sources[link["id"]] = (link.get("origin_id"), link["origin_slot"])
        elif isinstance(link, list) and len(link) >= 5 and isinstance(link[0], int):
            sources[link[0]] = (link[1], link[2] if isinstance(link[2], int) else 0)
    return sources


def _widgets(kind: str, values: object, order: list[str]) -> dict[str, Any]:
    """Name a node's widget values."""
    if isinstance(values, Mapping):
        return {key: value for key, value in values.items() if isinstance(key, str)}
    if not isinstance(values, list):
        return {}
    named: dict[str, Any] = {}
    table = _WIDGETS.get(kind)
    if table:
        return {n: v for n, v in zip(table, values, strict=False) if n != "*"}
    if kind.startswith("Power Lora Loader"):
        rows = [v for v in values if isinstance(v, Mapping) and "lora" in v]
        return {f"lora_{number}": row for number, row in enumerate(rows, 1)}
    rest = list(values)
    for name in order:
        if not rest:
            break
        named[name] = rest.pop(0)
        if name in ("seed", "noise_seed") and rest and rest[0] in _CONTROL:
            rest.pop(0)
    return named
