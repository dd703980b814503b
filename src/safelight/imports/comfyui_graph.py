"""ComfyUI's graphs: the samplers behind a picture, found by the shape of their inputs.

Node classes are not looked up: there are thousands, and a pack that is installed tomorrow is
read as well. A node samples when it takes conditioning and a latent (or a guider, or a pipe with
both) together with a seed, steps or sigmas. Every sampler on the way to the saved picture is kept
as a pass.

One graph can save several pictures. Which of them a file is, only its size can tell; what they
disagree on is conflicting where it does not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from safelight.formats.comfyui_nodes import reads_as_words
from safelight.imports.comfyui_controls import control_settings
from safelight.imports.comfyui_links import Graph
from safelight.imports.comfyui_passes import LATENTS, SamplerPass, read_pass
from safelight.imports.comfyui_sizes import (
    Beginning,
    Resizing,
    Size,
    beginning,
    places_behind,
    resizing,
    samplers_behind,
)
from safelight.imports.comfyui_workflow import EditorGraph
from safelight.imports.reading import Draft, as_number
from safelight.lora_tags import has_tags_of

__all__ = ["Graph", "read_graph"]

_MAX_ENDS = 50
_MAX_COMPARED = 12
_MAX_PASSES = 50
_SAVES = re.compile("save|output|sender|upload", re.IGNORECASE)
_SHOWS = re.compile("preview|show|compar", re.IGNORECASE)
_MOVES = re.compile("anim|video|vhs|gif|frames", re.IGNORECASE)
_CARRIES = re.compile(r"Context\b.*\(rgthree\)|.*(?:pipeIn|pipeEdit|BasicPipe_v2)", re.IGNORECASE)
_MAY_SAMPLE = re.compile(r"sampl|detail|upscale|workflow[>/]", re.IGNORECASE)
_OF_A_PASS = ("sampler", "scheduler", "steps", "cfg_scale", "seed", "denoising_strength",
              "start_at_step", "end_at_step", "model", "prompt", "negative_prompt", "guidance",
              "shift", "cfg_rescale", "wildcard", "add_noise", "changed_sigmas")  # fmt: skip
_OF_PART = ("start_at_step", "end_at_step", "add_noise", "changed_sigmas")
"""What a sampler says that does not draw a whole picture from its seed."""
_SAID_BY_HIRES = frozenset({"steps", "denoising_strength"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """The way to one saved picture.

    Attributes:
        end: The node that saves it.
        places: The nodes that it came through, first to run first.
        samplers: Those of them that sample; never empty.
    """

    end: str
    places: tuple[str, ...]
    samplers: tuple[str, ...]

    def between(self, number: int) -> tuple[str, ...]:
        """Return the nodes from sampler *number* to the next one, which may enlarge, or the end."""
        places, samplers = self.places, self.samplers
        last = number + 1 == len(samplers)
        stop = len(places) if last else places.index(samplers[number + 1]) + 1
        return places[places.index(samplers[number]) + 1 : stop]


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
    unnamed: Sequence[str] = ()
    if not graph.nodes and isinstance(workflow, dict):
        editor = EditorGraph(workflow)
        graph, unnamed = Graph.of(editor.api()), editor.unnamed
        if graph.nodes:
            draft.warnings.append(
                "only the editor's graph is there; its widgets were matched by order"
            )
    if not graph.nodes:
        return False
    draft.generator = draft.generator or "comfyui"
    ways = _ways(graph)
    if not ways:
        _read_upscale(draft, graph, unnamed)
        return True
    first, *others = _possible(graph, ways, size)
    _read_way(draft, graph, first, size)
    for way in others[:_MAX_COMPARED]:
        other = Draft()
        _read_way(other, graph, way, size)
        _compare(draft, other)
    return True


def _ways(graph: Graph) -> list[_Way]:
    """Return the way to each saved picture; to shown or unfinished ones only without any."""
    followed = {target for node in graph.nodes for _, (target, _) in graph.links(node)}
    last = [node for node in graph.nodes if node not in followed]
    saves = [
        node for node, kind in graph.classes.items()
        if _SAVES.search(kind) and not _SHOWS.search(kind)
        and (node not in followed or re.search("save", kind, re.IGNORECASE))
    ]  # fmt: skip
    shows = [n for n in last if _SHOWS.search(graph.classes[n])]
    for ends in (saves, shows, last):
        ways = [way for end in ends[:_MAX_ENDS] if (way := _way(graph, end))]
        if ways:
            return list({(way.samplers, way.places[:-1]): way for way in ways[::-1]}.values())[::-1]
    return []


def _way(graph: Graph, end: str) -> _Way | None:
    places = places_behind(graph, end)
    samplers = [place for place in places if _samples(graph, place)]
    if samplers and (earlier := _earlier_stage(graph, samplers[0])):
        before = [p for p in places_behind(graph, earlier) if p not in places]
        places, samplers = before + places, [p for p in before if _samples(graph, p)] + samplers
    samplers = samplers[-_MAX_PASSES:]
    if not samplers:
        return None
    return _Way(end=end, places=tuple(places), samplers=tuple(samplers))


def _samples(graph: Graph, node: str) -> bool:
    inputs = graph.nodes[node]
    if _CARRIES.fullmatch(graph.classes[node]):
        return False
    steered = graph.takes(node, "positive") or "positive" in inputs or "guider" in inputs
    steered = steered or graph.pipe(node) is not None
    latent = any(key in inputs for key in (*LATENTS, "image"))
    timed = any(k in inputs for k in ("seed", "noise_seed", "noise", "steps", "sigmas"))
    named = any(k in inputs for k in ("sampler_name", "sampler", "cfg"))
    return (steered and (timed or named) and (latent or named)) or (
        timed and named and "steps" in inputs and (latent or "model" in inputs)
    )


def _earlier_stage(graph: Graph, node: str) -> str | None:
    """Return the sampler whose latent conditions this one, as in Stable Cascade."""
    for place in graph.upstream(node, "positive", "conditioning", "negative"):
        if (link := graph.link(place, "stage_c")) and link[0] in graph.nodes:
            return link[0]
    return None


def _possible(graph: Graph, ways: list[_Way], size: Size) -> list[_Way]:
    """Return the ways that can have led to a picture of *size*, the longest first.

    All of them where none can: then somebody cut or enlarged the file afterwards.
    """
    possible = [way for way in ways if _may_be(graph, way, size)]
    return sorted(possible or ways, key=lambda way: len(way.samplers), reverse=True)


def _may_be(graph: Graph, way: _Way, size: Size) -> bool:
    made = beginning(graph, way.samplers[0]).size
    for number in range(len(way.samplers)):
        change = resizing(graph, way.between(number))
        if change.grows and change.of(made) is None and made:
            return size[0] > made[0]
        made = change.of(made)
    # Latents are whole multiples of eight pixels, and nodes round in ways of their own.
    return made is None or all(abs(a - b) < 8 for a, b in zip(made, size, strict=True))


def _read_way(draft: Draft, graph: Graph, way: _Way, size: Size) -> None:
    passes = [read_pass(graph, node) for node in way.samplers]
    start = beginning(graph, way.samplers[0])
    changes = [resizing(graph, way.between(number)) for number in range(len(passes))]
    _read_base(draft, passes[0], start)
    _read_size(draft, start, changes, size)
    _read_batch(draft, graph, way, start.batch)
    _read_around(draft, graph, way, passes)
    beside, where = _beside(graph, way)
    _read_later(draft, passes, changes, beside=beside)
    _read_enlarged(draft, changes, size)
    _read_beside(draft, graph, way, passes, beside)
    if beside:
        draft.unresolved("passes")
        many = f"pictures of {len(beside) + 1} samplers went into this one by way of {where}"
        draft.warnings.append(many)
    _read_altered(draft, changes)
    draft.passes = [_as_pass(sampling) for sampling in passes]


def _as_pass(sampling: SamplerPass) -> dict[str, Any]:
    loras = [{"name": name, "weight": weight} for name, weight in sampling.loras]
    return {**sampling.knobs, **({"loras": loras} if loras else {})}


def _read_base(draft: Draft, first: SamplerPass, start: Beginning) -> None:
    strength = first.knobs.get("denoising_strength")
    partial = isinstance(strength, int | float) and strength < 1
    if start.image or (partial and not start.empty):
        draft.stage = "img2img"
        draft.also("init_image", start.image)
        draft.also("mask", start.mask)
    for knob, status in first.statuses.items():
        if knob in ("denoising_strength", *_OF_PART):
            continue
        if status == "unresolved":
            draft.unresolved(knob)
        else:
            draft.read(knob, first.knobs[knob], status=status)
    if draft.stage == "img2img" and _begins_late(first):
        draft.unresolved("denoising_strength")
    elif draft.stage == "img2img":
        draft.read("denoising_strength", strength)
        draft.default("denoising_strength", 1)
    elif partial:  # steps that were left out at the beginning; no txt2img of ours does that
        draft.also("denoise", strength)
        draft.unresolved("denoising_strength")


def _read_size(draft: Draft, start: Beginning, changes: Sequence[Resizing], size: Size) -> None:
    """Read the size of the first pass; the picture's own, when nothing changed it after that."""
    drawn = start.size
    if drawn is None and not any(change.changes for change in changes):
        drawn = size if all(side > 0 and side % 8 == 0 for side in size) else None
    for knob, value in zip(("width", "height"), drawn or (None, None), strict=True):
        if value is None:
            draft.unresolved(knob)
        else:
            draft.read(knob, value)


def _read_batch(draft: Draft, graph: Graph, way: _Way, batch: int) -> None:
    """Read how many were drawn from one seed: a picture of several has no seed of its own."""
    if batch < 2:
        return
    draft.read("batch_size", batch)
    if _MOVES.search(graph.classes[way.end]) or "seed" not in draft.knobs:
        return  # its frames are the batch
    draft.also("batch_seed", draft.knobs["seed"])
    draft.unresolved("seed")
    draft.warnings.append(
        f"one of {batch} pictures that were drawn together from one seed, kept as batch_seed;"
        " nothing tells which of them"
    )


def _read_around(draft: Draft, graph: Graph, way: _Way, passes: Sequence[SamplerPass]) -> None:
    """Read LoRAs, VAE and what is no knob of ours."""
    for number, sampling in enumerate(passes, 1):
        for name, weight in sampling.loras:
            draft.add_lora(name, weight)
        for key, value in sampling.extra.items():
            if key not in draft.extra:
                draft.also(key, value)
            elif value != passes[0].extra.get(key, value):
                draft.also(f"pass_{number}_{key}", value)
        draft.warnings += sampling.warnings
    if tags := has_tags_of(str(draft.knobs.get("prompt", ""))):
        nodes = {n: {"class_type": graph.classes[n], "inputs": i} for n, i in graph.nodes.items()}
        draft.tags_are_words = reads_as_words(nodes, tags)
    draft.add_prompt_loras()
    walked = (node for sampling in passes for node in sampling.walked if node in graph.nodes)
    for key, value in control_settings(graph, walked, way.places).items():
        draft.also(key, value)
    vaes: dict[str, None] = {}
    for place in graph.upstream(way.end):
        vae = graph.nodes[place].get("vae_name")
        if isinstance(vae, str) and vae not in ("", "Baked VAE", "None"):
            vaes[vae] = None
    names = list(vaes)
    draft.read("vae", names[0] if names else None)
    if len(names) > 1:
        draft.conflicting("vae", *names[1:])


def _read_later(
    draft: Draft, passes: Sequence[SamplerPass], changes: Sequence[Resizing],
    *, beside: Sequence[int],
) -> None:  # fmt: skip
    """Read what came after the first pass: hires fix where it is one, else as what it is."""
    first = passes[0]
    larger = [number for number in range(1, len(passes)) if _enlarges(passes, changes, number)]
    hires = larger[0] if len(larger) == 1 else None
    if hires is not None:
        _read_hires(draft, passes[hires], changes[hires - 1])
    whole = len(passes) == 1 or (hires == 1 and len(passes) == 2)
    for number, later in enumerate(passes[1:], 1):
        said = _SAID_BY_HIRES if number == hires else frozenset()
        for knob in _OF_A_PASS if number not in beside else ():
            value = later.knobs.get(knob)
            if knob not in said and value != first.knobs.get(knob):
                draft.also(f"pass_{number + 1}_{knob}", value)
                whole = False
        if number in larger and hires is None:
            draft.also(f"pass_{number + 1}_upscaler", changes[number - 1].upscaler)
            draft.also(f"pass_{number + 1}_scale", as_number(_scale(changes[number - 1], None)))
        whole = whole and later.loras == first.loras
    if _leaves_steps_out(first):
        whole = False
        for knob in _OF_PART:
            draft.also(knob, first.knobs.get(knob))
    if not whole:
        draft.unresolved("passes")


def _leaves_steps_out(first: SamplerPass) -> bool:
    """Whether a sampler runs a part of its steps only, or begins without noise of its own."""
    steps = first.knobs.get("steps")
    return _begins_late(first) or "add_noise" in first.knobs or _ends_early(first, steps)


def _begins_late(first: SamplerPass) -> bool:
    return bool(first.knobs.get("start_at_step")) or "changed_sigmas" in first.knobs


def _ends_early(first: SamplerPass, steps: object) -> bool:
    return isinstance(steps, int) and first.knobs.get("end_at_step", steps) < steps


def _enlarges(passes: Sequence[SamplerPass], changes: Sequence[Resizing], number: int) -> bool:
    """Tell a second pass over an enlarged picture; a refiner or a detailer is no such pass."""
    later, change = passes[number], changes[number - 1]
    strength = later.knobs.get("denoising_strength")
    if later.knobs.get("start_at_step") or not isinstance(strength, int | float) or strength >= 1:
        return False
    return (change.changes or bool(change.upscaler)) and not change.altered


def _read_hires(draft: Draft, second: SamplerPass, change: Resizing) -> None:
    scale = _scale(change, _drawn(draft))
    draft.read("hires_denoising_strength", second.knobs.get("denoising_strength"))
    draft.read("hires_steps", second.knobs.get("steps"))
    draft.read("hires_upscaler", change.upscaler)
    if scale is None:
        draft.unresolved("hires_scale")
    else:
        draft.read("hires_scale", scale)


def _beside(graph: Graph, way: _Way) -> tuple[tuple[int, ...], str]:
    """Return the samplers that begin without what an earlier one drew, and where they all meet.

    Those are numbers, and that is the class of a node.
    """
    behind = samplers_behind(graph, way.places, way.samplers)
    beside = tuple(
        number
        for number, node in enumerate(way.samplers)
        if number and not behind[node] and not _earlier_stage(graph, node)
    )
    apart = {way.samplers[number] for number in (0, *beside)}
    met = (graph.classes[p] for p in way.places if len(apart & behind[p]) > 1)
    return beside, next(met, "nodes that cannot be followed")[:80]


def _read_beside(
    draft: Draft, graph: Graph, way: _Way, passes: Sequence[SamplerPass], beside: Sequence[int]
) -> None:
    """Read the samplers whose pictures were put together with the first one's: none counts more."""
    for number in beside:
        other = Draft()
        _read_base(other, passes[number], beginning(graph, way.samplers[number]))
        for knob, value in other.knobs.items():
            if draft.knobs.get(knob) != value:
                draft.conflicting(knob, value)


def _read_altered(draft: Draft, changes: Sequence[Resizing]) -> None:
    """Read what made another picture of a drawn one, which no knob of ours does."""
    altered = {kind: said for change in changes for kind, said in change.altered.items()}
    for kind, said in altered.items():
        draft.also(kind, said)
    if altered:
        draft.unresolved("passes")
        kinds = ", ".join(altered)[:200]
        draft.warnings.append(f"behind a sampler the picture was changed by {kinds}")


def _drawn(draft: Draft) -> Size | None:
    width, height = draft.knobs.get("width"), draft.knobs.get("height")
    return (width, height) if width and height else None


def _scale(change: Resizing, before: Size | None, after: Size | None = None) -> float | None:
    """Return the factor of both sides; None where it is not told, or they grow unlike."""
    if change.factor is not None and change.size is None:
        return round(change.factor, 4)
    made = change.size or after
    if made is None or before is None:
        return None
    factor = made[0] / before[0]
    return round(factor, 4) if abs(before[1] * factor - made[1]) < 8 else None


def _read_enlarged(draft: Draft, changes: Sequence[Resizing], size: Size) -> None:
    """Read what enlarged the finished picture; its own size tells by how much."""
    last = changes[-1]
    if not last.upscaler and (last.altered or not last.changes):
        return
    before = _drawn(draft)
    for change in changes[:-1]:
        before = change.of(before)
    enlarged = Draft(stage="upscale")
    scale = _scale(last, before, None if last.altered else size)
    if scale == 1 and not last.upscaler:
        return
    if last.upscaler:
        enlarged.read("upscaler", last.upscaler)
    else:
        enlarged.unresolved("upscaler")
    if scale is None or scale <= 0:
        enlarged.unresolved("scale")
    else:
        enlarged.read("scale", scale)
    draft.then = enlarged


def _compare(draft: Draft, other: Draft) -> None:
    """Say what another picture that this may be was made with."""
    for knob in dict.fromkeys((*draft.knobs, *other.knobs)):
        if draft.knobs.get(knob) != other.knobs.get(knob):
            draft.conflicting(knob, other.knobs.get(knob))
    own, others = _named(draft), _named(other)
    if own != others:
        draft.conflicts.setdefault("loras", (own,))
        draft.conflicting("loras", others)
    more = (draft.passes[1:], draft.extra) != (other.passes[1:], other.extra)
    if more or len(draft.passes) != len(other.passes):
        draft.conflicting("passes")
    if _controls(draft) != _controls(other):
        draft.conflicting("controls")
    if draft.then and (other.then is None or other.then.knobs != draft.then.knobs):
        for knob in draft.then.knobs:
            draft.then.conflicting(knob)
    elif other.then and not draft.then:
        draft.conflicting("passes")
    for lora in other.loras:
        draft.add_lora(lora.name, lora.weight, lora.hash)
    draft.warnings.append("the graph saves several pictures; this may be any of them")


def _controls(draft: Draft) -> dict[str, str]:
    return {key: value for key, value in draft.extra.items() if key.startswith("control_")}


def _named(draft: Draft) -> list[dict[str, Any]]:
    return [{"name": lora.name, "weight": lora.weight} for lora in draft.loras]


def _read_upscale(draft: Draft, graph: Graph, unnamed: Sequence[str]) -> None:
    """Read a graph that only enlarges a picture."""
    for node in graph.nodes:
        if (link := graph.link(node, "upscale_model")) and (
            name := graph.text(link[0], "model_name")
        ):
            draft.stage = "upscale"
            draft.read("upscaler", name)
            draft.unresolved("scale")
            images = [graph.nodes[place].get("image") for place in graph.upstream(node)]
            draft.also("init_image", next((i for i in images if isinstance(i, str)), None))
            return
    sampling = [
        kind
        for kind in unnamed
        if re.search(r"sampl|detail|upscale|workflow[>/]", kind, re.IGNORECASE)
    ]
    if sampling:
        kinds = ", ".join(sampling[:5])
        draft.warnings.append(f"the editor's graph holds the values of {kinds} without their names")
    else:
        draft.warnings.append("the graph has no sampler on the way to a picture")
