"""One sampler of a ComfyUI graph as knobs: what it was set to, fed with and steered by."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from safelight.formats.comfyui_nodes import node_knobs
from safelight.imports.comfyui_controls import steers
from safelight.imports.comfyui_links import MODEL_KEYS, Graph, Link, Role, Walk
from safelight.imports.comfyui_loras import node_loras
from safelight.imports.comfyui_settings import settings, settings_by_class
from safelight.imports.comfyui_texts import Conditioning, read_conditioning
from safelight.imports.reading import FieldStatus

__all__ = ["LATENTS", "SamplerPass", "read_pass"]

LATENTS = ("latent_image", "latent", "samples", "latents", "optional_latent", "image_embeds")
"""Inputs in which samplers take what they begin with."""

_OF_THE_MODEL = ("cfg_rescale", "shift", "weight_dtype", "cache")
_OF_THE_TEXT = ("guidance", "text_encoders")
_DISTILLED = re.compile(r"flux|hunyuan|framepack|chroma", re.IGNORECASE)
_NO_CLIP = re.compile(r"(?:t5|text_encoder|qwen|gemma|llm|bert)\w*")
_SAID = re.compile(r"lora|\b(?:steps|positive|negative|ckpt_name)\b", re.IGNORECASE)
_TEXT_LOADER = re.compile(r"clip_name\d*|text_encoder\w*|t5_name|" + "|".join(MODEL_KEYS[:-1]))


@dataclass(slots=True)
class SamplerPass:
    """One sampler and what stands behind it.

    Attributes:
        node: Its id.
        knobs: What was understood, our names; ``denoising_strength``, ``start_at_step`` and
            ``end_at_step`` too.
        statuses: How each knob was learned.
        loras: (name, weight) on the way to its model.
        walked: The nodes between it and its model and texts.
        extra: What is no knob of ours, in the tool's words.
        warnings: What was odd.
    """

    node: str
    knobs: dict[str, Any] = field(default_factory=dict)
    statuses: dict[str, FieldStatus] = field(default_factory=dict)
    loras: list[tuple[str, Any]] = field(default_factory=list)
    walked: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def put(self, knob: str, value: object, *, asked: bool = True) -> None:
        """Take a value; one that was *asked* for and is not there is unresolved."""
        if value is not None:
            self.knobs[knob], self.statuses[knob] = value, "read"
        elif asked:
            self.statuses[knob] = "unresolved"

    def default(self, knob: str, value: object) -> None:
        """Take what leaving the knob out means."""
        self.knobs[knob], self.statuses[knob] = value, "defaulted"


def read_pass(graph: Graph, node: str) -> SamplerPass:
    """Read the sampler *node*."""
    sampling = SamplerPass(node)
    _read_schedule(sampling, graph)
    _read_noise(sampling, graph)
    _read_guidance(sampling, graph)
    _read_model(sampling, graph)
    _read_steering(sampling, graph)
    return sampling


def _read_schedule(sampling: SamplerPass, graph: Graph) -> None:
    node, sigmas = sampling.node, graph.link(sampling.node, "sigmas")
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
    if sampler:
        own = settings_by_class(graph, sampler[:1], without=("sampler", "sampler_name"))
        sampling.extra |= own
    seed = graph.number(node, "seed", "noise_seed")
    sampling.put(
        "seed", graph.number(noise[0], "noise_seed", "seed") if noise and seed is None else seed
    )
    strength = graph.number(node, "denoise")
    if sigmas and strength is None:
        strength = _read_sigmas(sampling, graph, sigmas)
    sampling.put("denoising_strength", strength, asked=False)
    sampling.put("start_at_step", graph.number(node, "start_at_step"), asked=False)
    sampling.put("end_at_step", graph.number(node, "end_at_step"), asked=False)


def _read_sigmas(sampling: SamplerPass, graph: Graph, link: Link) -> float | int | None:
    """Read what changed the noise levels on their way from the scheduler; return the strength.

    A sampler that runs a part of them draws no whole picture, whatever the scheduler's steps are.
    """
    changes: list[str] = []
    strength: float | int | None = None
    at: Link | None = link
    for place in graph.upstream(link[0], "sigmas"):
        slot, at = at[1] if at else 0, graph.link(place, "sigmas")
        kind = graph.classes[place]
        lower = kind == "SplitSigmasDenoise" and slot == 1
        if at is None or lower:
            strength = graph.number(place, "denoise") if strength is None else strength
        if at is not None and not lower:
            half = f", {('high_sigmas', 'low_sigmas')[slot]}" if slot < 2 else ""
            half = half if kind.startswith("SplitSigmas") else ""
            changes.append(f"{kind} {settings(graph, place)}{half}".strip())
        if at is None:
            said = ("steps", "denoise", "scheduler", "scheduler_name", "sigmas", "width", "height")
            sampling.extra |= settings_by_class(graph, [place], without=said)
    if changes:
        sampling.knobs["changed_sigmas"] = "; ".join(changes)[:500]
    return strength


def _read_noise(sampling: SamplerPass, graph: Graph) -> None:
    """Read that no noise was added, so that the seed alone draws nothing."""
    noise = graph.link(sampling.node, "noise")
    kind = graph.classes.get(noise[0], "") if noise else ""
    given = graph.scalar(graph.nodes[sampling.node].get("add_noise"), ("value",))
    if kind == "DisableNoise" or given in (False, "disable"):
        sampling.knobs["add_noise"] = "disable"


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


def _sampler(graph: Graph, node: str, link: Link | None) -> str | None:
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


def _read_guidance(sampling: SamplerPass, graph: Graph) -> None:
    """Read the true guidance weight and the distilled one, which are two things."""
    node, guider = sampling.node, graph.link(sampling.node, "guider")
    inputs, kind = graph.nodes[node], graph.classes[node]
    distilled = bool(_DISTILLED.search(kind)) or "cfg" in inputs
    cfg = graph.number(node, "cfg", "cfg_scale", "true_gs", "true_cfg_scale")
    guidance = graph.number(node, "guidance", "embedded_guidance_scale")
    if (scale := graph.number(node, "guidance_scale")) is not None:
        cfg, guidance = (cfg, scale) if distilled else (cfg if cfg is not None else scale, guidance)
    sampling.put("guidance", guidance, asked=False)
    if guider:
        holder = _behind_switches(graph, guider[0])
        sampling.extra |= settings_by_class(graph, [holder], without=("cfg", "cfg_scale"))
        cfg = cfg if cfg is not None else graph.number(holder, "cfg", "cfg_scale")
        if cfg is None and "conditioning" in graph.nodes.get(holder, {}):
            sampling.default("cfg_scale", 1)
            return
    if cfg is None and guidance is not None and "cfg" not in inputs:
        sampling.default("cfg_scale", 1)
        return
    sampling.put("cfg_scale", cfg)


def _read_model(sampling: SamplerPass, graph: Graph) -> None:
    """Read the model's file, and the LoRAs and patches on the way to it."""
    walk = graph.walk(sampling.node, "model")
    names = {end: graph.text(end, *MODEL_KEYS) for end in walk.ends}
    told = list(dict.fromkeys(name for name in names.values() if name))
    unknown = not walk.whole or not all(names.values())
    if len(told) == 1 and not walk.mixes and not unknown:
        sampling.put("model", told[0])
    else:
        inputs = graph.nodes[sampling.node]
        sampling.put("model", None, asked="model" in inputs or len(walk.nodes) > 1)
        if walk.mixes and told:
            merge = _merge(graph, walk, told)
            sampling.extra["model_merge"] = merge
            sampling.warnings.append(f"the model is a mixture and no single file: {merge}")
    sampling.walked += walk.nodes
    for place in walk.nodes:
        _read_loras(sampling, graph, place)
    _read_bending(sampling, graph, walk.nodes, _OF_THE_MODEL)
    for place in walk.nodes:
        for key in ("max_shift", "base_shift"):  # of FLUX.1, from the size of the picture
            shift = graph.number(place, key) if "ModelSampling" in graph.classes[place] else None
            if shift is not None:
                sampling.extra.setdefault(key, shift)
    patches = [
        place for place in walk.nodes if _patches(graph, place, walk) and not steers(graph, place)
    ]
    sampling.extra |= settings_by_class(graph, patches)


def _read_loras(sampling: SamplerPass, graph: Graph, place: str) -> None:
    inputs = graph.nodes[place]
    for name, weight in node_loras(inputs, graph):
        sampling.loras.append((name, weight))
        on_texts = graph.number(place, "strength_clip") if "lora_name" in inputs else None
        if on_texts is not None and on_texts != weight:
            sampling.extra[f"strength_clip {name}"] = on_texts


def _patches(graph: Graph, place: str, walk: Walk) -> bool:
    """Whether a node changes the model on its way, in a manner that no knob and no LoRA says."""
    inputs = graph.nodes[place]
    return (
        graph.takes(place, "model")
        and place not in (*walk.mixes, walk.nodes[0])
        and not graph.switched(place)[1]
        and not graph.pipe(place)
        and not _SAID.search(" ".join(inputs))
        and not _knobs_at(graph, place)
        and not {"max_shift", "base_shift"} & inputs.keys()
    )


def _merge(graph: Graph, walk: Walk, names: list[str]) -> str:
    settings = [
        f"{graph.classes[node]} "
        + ", ".join(
            f"{key} {value:g}"
            for key, value in graph.nodes[node].items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        )
        for node in walk.mixes[:5]
    ]
    return f"{' + '.join(names[:10])} ({'; '.join(part.strip() for part in settings)})"[:1000]


def _read_bending(
    sampling: SamplerPass, graph: Graph, places: Iterable[str], wanted: tuple[str, ...]
) -> None:
    for place in places:
        for knob, value in _knobs_at(graph, place).items():
            if knob in wanted and knob not in sampling.statuses:
                sampling.put(knob, value)


def _read_steering(sampling: SamplerPass, graph: Graph) -> None:
    """Read the prompts, and what stands between them and the text encoder."""
    positive = _steered(graph, sampling.node, "positive") or Conditioning(text=None)
    negative = _steered(graph, sampling.node, "negative")
    sampling.walked += [*positive.nodes, *(negative.nodes if negative else ())]
    _put_prompt(sampling, "prompt", positive)
    if negative is None:
        sampling.default("negative_prompt", "")
    else:
        _put_prompt(sampling, "negative_prompt", negative)
    _read_wildcard(sampling, graph)
    encoders = positive.encoders + (negative.encoders if negative else ())
    ways = [graph.walk(encoder, "clip") for encoder in dict.fromkeys(encoders)]
    _read_clip_skip(sampling, graph, ways)
    places = list(dict.fromkeys(place for way in ways for place in way.nodes))
    _read_bending(sampling, graph, (*positive.nodes, *places), _OF_THE_TEXT)
    _read_text_encoder(sampling, graph, ways)
    for place in places:
        _read_lora_of_texts(sampling, graph, place)


def _read_text_encoder(sampling: SamplerPass, graph: Graph, ways: Sequence[Walk]) -> None:
    """Read a checkpoint that only the text encoder is of."""
    ends = [end for way in ways for end in way.ends]
    names = {graph.text(end, *MODEL_KEYS) for end in ends if graph.nodes[end].get("ckpt_name")}
    model = sampling.knobs.get("model")
    other = model and len(names) == 1 and model not in names
    if other and "text_encoders" not in sampling.statuses:
        sampling.put("text_encoders", names.pop())


def _read_lora_of_texts(sampling: SamplerPass, graph: Graph, place: str) -> None:
    """Read a LoRA on the text encoder that is not on the model."""
    inputs = graph.nodes[place]
    on_texts = graph.number(place, "strength_clip")
    if on_texts is None or not isinstance(inputs.get("lora_name"), str):
        return
    name = inputs["lora_name"]
    if name not in [lora for lora, _ in sampling.loras]:
        sampling.loras.append((name, 0))
        sampling.extra[f"strength_clip {name}"] = on_texts


def _read_wildcard(sampling: SamplerPass, graph: Graph) -> None:
    """Detailers put a text of their own, with wildcards in it, in the place of the prompt."""
    for place in graph.upstream(sampling.node, "detailer_pipe", "basic_pipe"):
        text = graph.nodes[place].get("wildcard")
        if isinstance(text, str) and text.strip():
            sampling.knobs.pop("prompt", None)
            sampling.put("prompt", None)
            sampling.knobs["wildcard"] = text
            return


def _steered(graph: Graph, node: str, role: Role) -> Conditioning | None:
    """Return what steers a sampler; None when it takes nothing of the kind, as some guiders."""
    guider = graph.link(node, "guider")
    holder = _behind_switches(graph, guider[0]) if guider else node
    inputs = graph.nodes.get(holder, {})
    if role in inputs:
        return read_conditioning(graph, inputs[role], role)
    if role == "positive":
        behind = graph.behind(holder, role)
        if len(behind) > 1:
            return read_conditioning(graph, [holder, 0], role)
        return read_conditioning(graph, [*behind[0]], role) if behind else None
    if pipe := graph.pipe(holder):
        return read_conditioning(graph, [*pipe], role)
    return None if graph.takes(holder, "positive") else Conditioning(text=None)


def _behind_switches(graph: Graph, node: str) -> str:
    for _ in range(20):
        link = graph.linked(graph.switched(node)[0])
        if link is None:
            return node
        node = link[0]
    return node


def _put_prompt(sampling: SamplerPass, knob: str, steered: Conditioning) -> None:
    sampling.put(knob, steered.text)
    if steered.text is None and steered.mixes:
        sampling.extra[f"{knob}_given"] = steered.given
        sampling.extra |= {kind: said for kind, said in steered.mixes.items() if said}
        sampling.warnings.append(
            f"the {knob.replace('_', ' ')} is made of texts by {', '.join(steered.mixes)[:200]},"
            " which no single text says; they are kept"
        )
    if steered.maker:
        sampling.extra[f"{knob}_given"] = steered.given
        sampling.warnings.append(
            f"the {knob.replace('_', ' ')} came to be in {steered.maker[:80]} while the graph ran;"
            " what that was given is kept"
        )


def _read_clip_skip(sampling: SamplerPass, graph: Graph, ways: Sequence[Walk]) -> None:
    """Read clip skip of the ways from the texts to the loaders of their encoders."""
    skips: list[int | None] = []
    for way in ways:
        told = next((skip for node in way.nodes if (skip := _clip_skip(graph, node))), None)
        arrived = way.whole and all(
            any(_TEXT_LOADER.fullmatch(key) for key in graph.nodes[end]) for end in way.ends
        )
        skips.append(told or (1 if arrived else None))
    plain = all(_clip_skip(graph, node) is None for way in ways for node in way.nodes)
    first = skips[0] if skips else None
    if plain and ways and None not in skips:
        sampling.default("clip_skip", 1)
    elif not plain and first is not None:
        sampling.put("clip_skip", first)
        sampling.statuses["clip_skip"] = "read" if len(set(skips)) == 1 else "conflicting"
    elif not any(_NO_CLIP.fullmatch(k) for way in ways for k, _ in graph.links(way.nodes[0])):
        sampling.put("clip_skip", None)


def _clip_skip(graph: Graph, node: str) -> int | None:
    for key in ("stop_at_clip_layer", "clip_skip"):
        raw = graph.scalar(graph.nodes[node].get(key), ("value", "number", "int", key))
        if isinstance(raw, int) and not isinstance(raw, bool) and raw:
            return abs(raw)
    return None
