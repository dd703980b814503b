"""ComfyUI's graphs: the samplers behind a picture, found by the shape of their inputs.

Node classes are not looked up: there are thousands, and a pack that is installed tomorrow is
read as well. A node samples when it takes conditioning and a latent (or a guider) together
with a seed, steps or sigmas. Every sampler on the way to the saved picture is kept as a pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from safelight.formats.comfyui_nodes import node_knobs
from safelight.imports.comfyui_loras import node_loras
from safelight.imports.comfyui_texts import GraphTexts
from safelight.imports.comfyui_workflow import api_graph
from safelight.imports.reading import Draft, FieldStatus, as_number, as_whole

__all__ = ["Graph", "read_graph"]

_MAX_NODES = 20_000
_MAX_WALK = 5_000
_MAX_ENDS = 50
_SAVES = re.compile("save|output|sender|upload", re.IGNORECASE)
_SHOWS = re.compile("preview|show", re.IGNORECASE)
_MODEL_KEYS = ("ckpt_name", "unet_name", "base_ckpt_name", "model_name", "diffusion_model",
               "gguf_name", "model_path", "checkpoint", "ckpt", "transformer_name")  # fmt: skip
_SEED_KEYS = ("seed", "noise_seed", "value", "seed_num", "int", "number", "int_value")
_NUMBER_KEYS = ("value", "number", "int", "float", "float_value", "int_value", "Number", "Value")
_LATENTS = ("latent_image", "latent", "samples", "latents", "optional_latent")


@dataclass(slots=True)
class Graph:
    """An API graph: node id -> class and inputs, with links told from values.

    Attributes:
        nodes: Node id -> ``inputs``.
        classes: Node id -> ``class_type``.
    """

    nodes: dict[str, dict[str, Any]]
    classes: dict[str, str]
    texts: GraphTexts = field(init=False)

    def __post_init__(self) -> None:
        self.texts = GraphTexts(self.nodes, self.classes)

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

    def link(self, node: str, key: str) -> tuple[str, int] | None:
        """Return (node, slot) that an input is connected to, or None."""
        return self.texts.link(self.nodes.get(node, {}).get(key))

    def links(self, node: str) -> Iterator[tuple[str, tuple[str, int]]]:
        """Yield (input, (node, slot)) of every connected input."""
        for key, value in self.nodes.get(node, {}).items():
            if target := self.texts.link(value):
                yield key, target

    def number(self, node: str, *keys: str) -> float | int | None:
        """Return the number of the first input of *keys* that has one, through its links."""
        for key in keys:
            value = self.texts.scalar(self.nodes.get(node, {}).get(key), _NUMBER_KEYS + _SEED_KEYS)
            if as_number(value) is not None:
                return as_whole(value) if as_whole(value) is not None else as_number(value)
        return None

    def text(self, node: str, *keys: str) -> str | None:
        """Return the text of the first input of *keys* that has one, through its links."""
        for key in keys:
            inputs = self.nodes.get(node, {})
            value = self.texts.scalar(inputs.get(key), (key, *_MODEL_KEYS, "value", "string"))
            if isinstance(value, str) and value:
                return value
        return None

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


def read_graph(
    draft: Draft, prompt: object, workflow: object = None, *, size: tuple[int, int] = (0, 0)
) -> bool:
    """Read a graph into *draft*; False when there is no node in it.

    Args:
        draft: What to fill in.
        prompt: The API graph, or anything else when there is none.
        workflow: The editor graph, used when there is no API graph.
        size: Of the picture in pixels; tells apart the pictures that one graph saves.
    """
    graph = Graph.of(prompt) if isinstance(prompt, dict) else Graph({}, {})
    if not graph.nodes and isinstance(workflow, dict):
        graph = Graph.of(api_graph(workflow))
        if graph.nodes:
            draft.warnings.append(
                "only the editor's graph is there; its widgets were matched by order"
            )
    if not graph.nodes:
        return False
    draft.generator = draft.generator or "comfyui"
    chains = _chains(graph)
    if not chains:
        _read_upscale(draft, graph)
        return True
    chains.sort(key=lambda chain: _size_fits(graph, chain, size), reverse=True)
    passes = [[_read_pass(graph, node) for node in chain] for chain in chains]
    _read_base(draft, graph, chains[0], passes[0])
    for other in passes[1:]:
        _compare(draft, passes[0][0], other[0])
    draft.passes = [dict(sampling.knobs) for sampling in passes[0]]
    return True


def _size_fits(graph: Graph, chain: list[str], size: tuple[int, int]) -> tuple[bool, int]:
    """Rank chains: one that ends in the picture's size first, then the longest."""
    latent, _ = _size_node(graph, chain[0])
    fits = (
        latent is not None
        and len(chain) == 1
        and size
        == (
            graph.number(latent, "width", "empty_latent_width"),
            graph.number(latent, "height", "empty_latent_height"),
        )
    )
    return fits, len(chain)


def _chains(graph: Graph) -> list[list[str]]:
    """Return the samplers behind each saved picture; shown or unfinished ones only without any."""
    followed = {target for node in graph.nodes for _, (target, _) in graph.links(node)}
    last = [node for node in graph.nodes if node not in followed]
    saves = [n for n in last if _SAVES.search(graph.classes[n])
             and not _SHOWS.search(graph.classes[n])]  # fmt: skip
    shows = [n for n in last if _SHOWS.search(graph.classes[n])]
    for ends in (saves, shows, last):
        if chains := [chain for end in ends[:_MAX_ENDS] if (chain := _chain(graph, end))]:
            return chains
    return []


def _samples(graph: Graph, node: str) -> bool:
    inputs = graph.nodes[node]
    steered = "positive" in inputs or "guider" in inputs or "conditioning" in inputs
    latent = any(key in inputs for key in _LATENTS)
    timed = any(k in inputs for k in ("seed", "noise_seed", "noise", "steps", "sigmas"))
    named = any(k in inputs for k in ("sampler_name", "sampler", "cfg"))
    return (steered and (timed or named) and (latent or named)) or (
        timed and named and "steps" in inputs and (latent or "model" in inputs)
    )


def _chain(graph: Graph, end: str) -> list[str]:
    """Return the samplers behind *end*, the first to run first."""
    near: list[str] = []
    place, seen = end, set[str]()
    for _ in range(50):
        sampler = next(
            (n for n in graph.upstream(place) if _samples(graph, n) and n not in seen), None
        )
        if sampler is None:
            break
        near.append(sampler)
        seen.add(sampler)
        behind = next((t for k, (t, _) in graph.links(sampler) if k in (*_LATENTS, "image")), None)
        earlier = _earlier_stage(graph, sampler)
        if behind is None and earlier is None:
            break
        place = earlier or behind or end
    return near[::-1]


def _earlier_stage(graph: Graph, node: str) -> str | None:
    """Return the sampler whose latent conditions this one, as in Stable Cascade."""
    for place in graph.upstream(node, "positive", "conditioning", "negative"):
        if (link := graph.link(place, "stage_c")) and link[0] in graph.nodes:
            return link[0]
    return None


@dataclass(slots=True)
class _Pass:
    node: str
    knobs: dict[str, Any] = field(default_factory=dict)
    statuses: dict[str, FieldStatus] = field(default_factory=dict)

    def put(self, knob: str, value: object, *, asked: bool = True) -> None:
        if value is not None:
            self.knobs[knob], self.statuses[knob] = value, "read"
        elif asked:
            self.statuses[knob] = "unresolved"


def _read_pass(graph: Graph, node: str) -> _Pass:
    sampling, inputs = _Pass(node), graph.nodes[node]
    guider = graph.link(node, "guider")
    sigmas = graph.link(node, "sigmas")
    noise, sampler = graph.link(node, "noise"), graph.link(node, "sampler")
    sampling.put("sigmas", _levels(graph, sigmas[0]) if sigmas else None, asked=False)
    if levels := sampling.knobs.get("sigmas"):  # their number is that of the steps, and one more
        sampling.put("steps", max(1, len(re.findall(r"[^,\s]+", levels)) - 1))
    else:
        steps = graph.number(node, "steps") if sigmas is None else _sigma_steps(graph, sigmas[0])
        sampling.put("steps", steps)
        scheduler = graph.text(node, "scheduler") if sigmas is None else _schedule(graph, sigmas[0])
        sampling.put("scheduler", scheduler)
    sampling.put("sampler", _sampler(graph, node, sampler))
    seed = graph.number(node, "seed", "noise_seed")
    sampling.put(
        "seed", graph.number(noise[0], "noise_seed", "seed") if noise and seed is None else seed
    )
    cfg = graph.number(node, "cfg", "cfg_scale", "guidance_scale")
    if guider and cfg is None:
        cfg = graph.number(guider[0], "cfg", "cfg_conds", "cfg_scale")
        if cfg is None and "conditioning" in graph.nodes.get(guider[0], {}):
            sampling.knobs["cfg_scale"], sampling.statuses["cfg_scale"] = 1, "defaulted"
    if "cfg_scale" not in sampling.knobs:
        sampling.put("cfg_scale", cfg)
    strength = graph.number(node, "denoise")
    if sigmas and strength is None:
        strength = next((v for n in graph.upstream(sigmas[0], "sigmas")
                         if (v := graph.number(n, "denoise")) is not None), None)  # fmt: skip
    sampling.put("denoising_strength", strength, asked=False)
    sampling.put("start_at_step", graph.number(node, "start_at_step"), asked=False)
    sampling.put("end_at_step", graph.number(node, "end_at_step"), asked=False)
    sampling.put("model", _model(graph, node), asked="model" in inputs or guider is not None)
    return sampling


def _levels(graph: Graph, node: str) -> str | None:
    """Return noise levels that were typed in, unless a node in between changes them."""
    if "steps" in graph.nodes.get(node, {}) or graph.link(node, "sigmas"):
        return None
    return _knobs_at(graph, node).get("sigmas")


def _knobs_at(graph: Graph, node: str) -> dict[str, Any]:
    """Return what one node says of guidance, shift and their like."""

    def number(name: str) -> float | None:
        value = graph.number(node, name)
        return None if value is None else round(value, 6)  # sliders write 3.1000000000000005

    inputs = graph.nodes.get(node, {})
    kind = graph.classes.get(node, "")
    return node_knobs(kind, inputs, number, lambda name: graph.text(node, name))


def _sigma_steps(graph: Graph, node: str) -> float | int | None:
    for place in graph.upstream(node, "sigmas"):
        if (steps := graph.number(place, "steps")) is not None:
            return steps
    return None


def _schedule(graph: Graph, node: str) -> str | None:
    for place in graph.upstream(node, "sigmas"):
        if name := graph.text(place, "scheduler", "scheduler_name"):
            return name
        if "steps" in graph.nodes[place]:
            kind = re.sub(r"Scheduler$|Sigmas$", "", graph.classes[place])
            return _snake(kind) or None
    return None


def _sampler(graph: Graph, node: str, link: tuple[str, int] | None) -> str | None:
    if name := graph.text(node, "sampler_name"):
        return name
    if link is None:
        return graph.text(node, "sampler")
    for place in graph.upstream(link[0], "sampler"):
        if name := graph.text(place, "sampler_name", "sampler"):
            return name
        if kind := re.match(r"Sampler(\w+)", graph.classes[place]):
            return _snake(kind[1])
    return None


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _model(graph: Graph, node: str) -> str | None:
    for place in _model_path(graph, node):
        if name := graph.text(place, *_MODEL_KEYS):
            return name
    return None


def _model_path(graph: Graph, node: str) -> Iterator[str]:
    """Yield the nodes that the sampler's model comes through."""
    wanted = ("model", "guider", "base_model", "pipe", "basic_pipe", "model1", "model_opt",
              "transformer", "unet", "any_01", "anything", "source", "model_stack")  # fmt: skip
    for place in graph.upstream(node, *wanted):
        if place == node and not graph.text(place, *_MODEL_KEYS):
            continue
        yield place


def _read_base(draft: Draft, graph: Graph, chain: list[str], passes: list[_Pass]) -> None:
    first = passes[0]
    latent, image = _size_node(graph, chain[0])
    if image is not None or (first.knobs.get("denoising_strength", 1) < 1 and latent is None):
        draft.stage = "img2img"
        if image:
            draft.also("init_image", image)
    for knob in ("sigmas", "steps", "scheduler", "sampler", "seed", "cfg_scale", "model"):
        if knob in first.knobs:
            draft.read(knob, first.knobs[knob], status=first.statuses[knob])
        elif knob != "sigmas" and not (knob == "scheduler" and "sigmas" in first.knobs):
            draft.unresolved(knob)
    if draft.stage == "img2img":
        draft.read("denoising_strength", first.knobs.get("denoising_strength"))
        draft.default("denoising_strength", 1)
    if latent is not None:
        draft.read("width", graph.number(latent, "width", "empty_latent_width"))
        draft.read("height", graph.number(latent, "height", "empty_latent_height"))
    _read_conditioning(draft, graph, chain[0])
    _read_around(draft, graph, chain[0], set(chain))
    if len(passes) > 1:
        _read_hires(draft, graph, chain, passes)


def _size_node(graph: Graph, node: str) -> tuple[str | None, str | None]:
    """Return the node that sizes the empty latent, and the picture that it starts from."""
    start = next((t for k, (t, _) in graph.links(node) if k in _LATENTS), None)
    if start is None:
        inputs = graph.nodes[node]
        return (node if "width" in inputs and "height" in inputs else None), None
    keys = (*_LATENTS, "pixels", "image", "vae_encode", "input", "images", "original_image")
    for place in graph.upstream(start, *keys):
        inputs = graph.nodes[place]
        name = inputs.get("image")
        if isinstance(name, str) and re.search("load", graph.classes[place], re.I):
            return None, name
        if (
            "width" in inputs
            and "height" in inputs
            and not (
                graph.link(place, "image")
                or graph.link(place, "pixels")
                or graph.link(place, "samples")
            )
        ):
            return place, None
        if "empty_latent_width" in inputs:
            return place, None
    return None, None


def _read_conditioning(draft: Draft, graph: Graph, node: str) -> None:
    guider = graph.link(node, "guider")
    holder = guider[0] if guider else node
    inputs = graph.nodes.get(holder, {})
    for knob, keys in (("prompt", ("positive", "conditioning", "cond1")),
                       ("negative_prompt", ("negative", "cond2"))):  # fmt: skip
        key = next((key for key in keys if key in inputs), None)
        if key is None:
            if knob == "negative_prompt" and inputs:
                draft.default(knob, "")
            else:
                draft.unresolved(knob)
            continue
        text = graph.texts.prompt(inputs[key], "positive" if knob == "prompt" else "negative")
        if text is None:
            draft.unresolved(knob)
        else:
            draft.read(knob, text)


def _read_around(draft: Draft, graph: Graph, node: str, chain: set[str]) -> None:
    """Read LoRAs, clip skip, VAE and what is no knob of ours."""
    for place in _model_path(graph, node):
        for name, weight in node_loras(graph.nodes[place], graph.texts):
            draft.add_lora(name, weight)
    prompt = str(draft.knobs.get("prompt", ""))
    if "<lora:" in prompt:
        draft.add_prompt_loras()
    skip = None
    for place in graph.upstream(node, *_TO_TEXT):
        skip = graph.number(place, "clip_skip", "stop_at_clip_layer")
        raw = graph.nodes[place].get("stop_at_clip_layer", graph.nodes[place].get("clip_skip"))
        if isinstance(raw, int) and not isinstance(raw, bool) and raw < 0:
            skip = -raw
        if skip is not None:
            break
    if skip:
        draft.read("clip_skip", skip)
    else:
        draft.default("clip_skip", 1)
    for place in graph.nodes:
        vae = graph.nodes[place].get("vae_name")
        if isinstance(vae, str) and vae not in ("", "Baked VAE", "None"):
            draft.read("vae", vae)
            break
    _read_bending(draft, graph, node, chain)
    for place in graph.upstream(node):
        control = graph.nodes[place].get("control_net_name")
        if isinstance(control, str):
            draft.also("control_net_name", control)


_TO_TEXT = ("positive", "conditioning", "guider", "clip", "cond1", "conditioning_1",
            "conditioning_to", "pipe")  # fmt: skip


def _read_bending(draft: Draft, graph: Graph, node: str, chain: set[str]) -> None:
    """Read what changes how the model is sampled: each from the chain of nodes that carries it."""
    ways = (
        (("cfg_rescale", "shift", "weight_dtype", "cache"), _model_path(graph, node)),
        (("guidance", "text_encoders"), graph.upstream(node, *_TO_TEXT)),
    )
    for wanted, places in ways:
        for place in places:
            for knob, value in _knobs_at(graph, place).items():
                if knob in wanted and knob not in draft.statuses:
                    draft.read(knob, value)
            for key in ("max_shift", "base_shift"):  # of FLUX.1, from the size of the picture
                if "ModelSampling" in graph.classes[place]:
                    draft.also(key, graph.number(place, key))
    if "guidance" in draft.statuses:
        return
    for place in graph.upstream(node):
        if place not in chain and (guidance := graph.number(place, "guidance")) is not None:
            draft.also("guidance", guidance)


def _read_hires(draft: Draft, graph: Graph, chain: list[str], passes: list[_Pass]) -> None:
    """Read a second pass over an enlarged picture; a refiner is no such pass."""
    last, second = chain[-1], passes[-1]
    strength = second.knobs.get("denoising_strength")
    if second.knobs.get("start_at_step") or not isinstance(strength, int | float) or strength >= 1:
        return
    scale: float | int | None = None
    upscaler = None
    width = draft.knobs.get("width")
    behind = next((t for k, (t, _) in graph.links(last) if k in _LATENTS), last)
    keys = (*_LATENTS, "pixels", "image", "upscale_model", "images", "input")
    for place in graph.upstream(behind, *keys):
        if place in chain:
            break
        inputs = graph.nodes[place]
        if scale is None and graph.number(place, "scale_by", "upscale_by") is not None:
            scale = graph.number(place, "scale_by", "upscale_by")
        elif (
            scale is None
            and graph.number(place, "width")
            and width
            and "samples" not in (inputs if "pixels" in inputs else ())
        ):
            scale = round(float(graph.number(place, "width") or 0) / width, 4)
        upscaler = (
            graph.text(place, "model_name") or upscaler or graph.text(place, "upscale_method")
        )
    if scale is None and upscaler is None:
        return
    draft.stage = "txt2img" if draft.stage == "txt2img" else draft.stage
    draft.read("hires_denoising_strength", strength)
    draft.read("hires_steps", second.knobs.get("steps"))
    draft.read("hires_upscaler", upscaler)
    if scale is None:
        draft.unresolved("hires_scale")
    else:
        draft.read("hires_scale", scale)


def _compare(draft: Draft, first: _Pass, other: _Pass) -> None:
    for knob in ("steps", "scheduler", "sampler", "seed", "cfg_scale", "model"):
        if first.node != other.node and first.knobs.get(knob) != other.knobs.get(knob):
            draft.conflicting(knob)
    if first.node != other.node:
        draft.warnings.append(
            "the graph saves pictures of several samplers; this may be any of them"
        )


def _read_upscale(draft: Draft, graph: Graph) -> None:
    """Read a graph that only enlarges a picture."""
    for node in graph.nodes:
        if (link := graph.link(node, "upscale_model")) and (
            name := graph.text(link[0], "model_name")
        ):
            draft.stage = "upscale"
            draft.read("upscaler", name)
            return
    draft.warnings.append("the graph has no sampler on the way to a picture")
