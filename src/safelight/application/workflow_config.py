"""workflow_config: a ComfyUI workflow of anybody's -> its knobs, and a config that maps them.

The graph is read as an imported picture's is, and every knob's place with it
(``imports/comfyui_places.py``). What could be one knob or another is told and stands in the config
as a comment; nothing is guessed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safelight.allowed_files import ANY_FILE, AllowedFiles
from safelight.application.config_text import toml_text
from safelight.backends.comfyui.bound_graph import called
from safelight.backends.comfyui.native_names import named_by_us
from safelight.backends.comfyui.node_classes import NodeClasses
from safelight.backends.comfyui.saving_nodes import other_format, saving_nodes
from safelight.backends.comfyui.workflow_files import WorkflowFile, is_edited, read_workflow
from safelight.backends.engine_server import EngineServer
from safelight.errors import BackendError
from safelight.escaped_output import escaped_line
from safelight.imports.comfyui_places import PlacedKnob, placed_reading
from safelight.knobs import KNOBS, STAGES, Stage, did_you_mean, knob_fault

__all__ = ["USUAL_URL", "WorkflowKnob", "WorkflowKnobs", "workflow_knobs"]

USUAL_URL = "http://127.0.0.1:8188"
_UPLOADED = ("init_image", "mask")
_LONGEST_SHOWN = 60
_SIGNS = re.compile(r"[{}$]|__")
"""Of templates, which a prompt that was written for ComfyUI has by chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowKnob:
    """One input that a config could set, or several that are one knob.

    Attributes:
        entry: What it is called in a map: ``txt2img.steps``, ``txt2img.extra.lora_ink``.
        value: What the workflow has there, in our spelling.
        places: (node, input) of each.
        where: The same in words.
        mapped: Whether the config maps it; else it is offered in a comment.
    """

    entry: str
    value: Any
    places: tuple[tuple[str, str], ...]
    where: str
    mapped: bool

    @property
    def name(self) -> str:
        """What it is called without its stage."""
        return self.entry.partition(".")[2]

    @property
    def addresses(self) -> str | list[str]:
        """Where it stands, as a map says it."""
        listed = [f"{node}.inputs.{name}" for node, name in self.places]
        return listed[0] if len(listed) == 1 else listed


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowKnobs:
    """What a workflow has.

    Attributes:
        file: The workflow.
        stage: What it does: ``txt2img``, ``img2img`` or ``upscale``.
        output: The node whose pictures are taken.
        knobs: What the config maps, then what it offers.
        notes: What is not clear or not usual, whole sentences.
        url: Where the server is.
        names_output: Whether the config must name the output.
    """

    file: WorkflowFile
    stage: Stage
    output: str
    knobs: tuple[WorkflowKnob, ...]
    notes: tuple[str, ...]
    url: str = USUAL_URL
    names_output: bool = False

    @property
    def lacks(self) -> tuple[str, ...]:
        """The knobs that the config needs before it can be run, and that a person must add."""
        mapped = {knob.name for knob in self.knobs if knob.mapped}
        seed = ("seed",) if self.stage != "upscale" and "seed" not in mapped else ()
        return (*seed, "init_image") if "init_image" in mapped else seed

    def config(self, folder: Path) -> dict[str, Any]:
        """Return the config that maps the knobs and states what the workflow has.

        Args:
            folder: Where the config will be.
        """
        backend: dict[str, Any] = {
            "name": "comfyui", "url": self.url, "workflow": _from(folder, self.file.path),
        }  # fmt: skip
        if self.names_output:
            backend["output"] = self.output
        mapped = [knob for knob in self.knobs if knob.mapped]
        backend["map"] = {knob.entry: knob.addresses for knob in mapped}
        stage: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for knob in mapped:
            into, name = (extra, knob.name[6:]) if ".extra." in knob.entry else (stage, knob.name)
            if name not in _UPLOADED and (into is extra or _is_sound(name, knob.value)):
                into[name] = knob.value
        config: dict[str, Any] = {
            "name": Path(self.file.path).stem, "backend": backend, self.stage: stage,
        }  # fmt: skip
        if extra:
            stage["extra"] = extra
        config["randomizer"] = {"mode": "fanout"}
        if any(_SIGNS.search(str(stage.get(name, ""))) for name in ("prompt", "negative_prompt")):
            config["randomizer"]["templates"] = False
        return config

    def toml(self, folder: Path) -> str:
        """Return that config as TOML, with what is offered and told in comments."""
        config = self.config(folder)
        head = {key: config.pop(key) for key in ("name", "backend")}
        comments = [f"The knobs of {_shown(Path(self.file.path).name)[1:-1]}.", *self.notes]
        lines = [
            f"# {json.dumps(knob.entry, ensure_ascii=False)} ="
            f" {json.dumps(knob.addresses, ensure_ascii=False)}  # {_shown(knob.value)},"
            f" {knob.where}"
            for knob in self.knobs
            if not knob.mapped
        ]
        offered = ["# Further inputs that can be mapped:", *lines] if lines else []
        first = [
            f'# {name} = "FILE"  # the picture that is loaded: {_shown(knob.value)} on the server'
            for name in _UPLOADED
            for knob in self.knobs
            if knob.mapped and knob.name == name
        ]
        rest = toml_text(config)
        heading = f"[{self.stage}]\n"
        rest = rest.replace(heading, heading + "".join(f"{_line(each)}\n" for each in first), 1)
        middle = "".join(f"{_line(each)}\n" for each in offered)
        return f"{toml_text(head, [_line(each) for each in comments])}{middle}\n{rest}"


def workflow_knobs(
    path: str, *, server: EngineServer | None = None, files: AllowedFiles = ANY_FILE
) -> WorkflowKnobs:
    """Return what the workflow in the file *path* has.

    Args:
        path: A workflow, or a picture that ComfyUI saved.
        server: Asked which nodes give pictures, and whether it has all that the workflow names.
        files: How the file is opened.

    Raises:
        BackendError: It holds no workflow that gives pictures, or *server* does not answer.
    """
    if server is None and is_edited(path, files):
        raise BackendError(
            f"workflow {escaped_line(path)} is in the editor's format, which only a server can"
            " read: name one with --url"
        )
    classes = None if server is None else NodeClasses(server)
    file = read_workflow(path, files, None if classes is None else classes.converted)
    output, notes = _output(file, classes)
    notes = [*file.notes, *notes]
    reading = placed_reading(file.graph, output)
    placed = frozenset(knob.name for knob in reading.knobs if knob.of == 1 and knob.places)
    knobs = _Sorted(file, reading.stage, placed)
    for knob in reading.knobs:
        knobs.add(knob)
    notes += [*reading.warnings, *knobs.notes(), *_first_steps(reading.stage, knobs)]
    if classes is not None:
        notes += _lacking(file, output, classes)
    return WorkflowKnobs(
        file=file,
        stage=next(stage for stage in STAGES if stage == reading.stage),
        output=output,
        knobs=(*knobs.mapped, *knobs.offered, *knobs.others(output)),
        notes=tuple(dict.fromkeys(map(_sentence, notes))),
        url=USUAL_URL if server is None else server.url,
        names_output=saving_nodes(file.graph, lambda _: False) != [output],
    )


def _output(file: WorkflowFile, classes: NodeClasses | None) -> tuple[str, list[str]]:
    """Return the node whose pictures are taken, and what there is to say of the choice."""
    saving = saving_nodes(file.graph, classes.gives_pictures if classes else lambda _: False)
    if not saving:
        ask = "" if classes else "; --url lets a server tell which of its nodes gives pictures"
        raise BackendError(f"{escaped_line(file.path)} has no node that saves a picture{ask}")
    usable = [node for node in saving if not other_format(file.graph, node)]
    output, *others = usable or saving
    notes = []
    if not usable:
        notes.append(
            f"{called(file.graph, output)} writes {other_format(file.graph, output)} files, and"
            " only PNG files are taken: set it to PNG in the workflow, or add a SaveImage node"
        )
    if others:
        several = ", ".join(called(file.graph, node) for node in others)
        notes.append(
            f"pictures are taken from {called(file.graph, output)}; the workflow also saves some at"
            f" {several}, and output in the config may name another"
        )
    return output, notes


class _Sorted:
    """The knobs of one workflow, as they are mapped and offered.

    Args:
        file: The workflow.
        stage: What it does.
        placed: The knobs that stand somewhere: what a knob needs, a map must have, too.
    """

    def __init__(self, file: WorkflowFile, stage: str, placed: Collection[str]) -> None:
        self._file = file
        self._stage = stage
        self._placed = placed
        self._taken: dict[tuple[str, str], str] = {}
        self._later: dict[int, list[tuple[str, str]]] = {}
        self._notes: list[str] = []
        self.mapped: list[WorkflowKnob] = []
        self.offered: list[WorkflowKnob] = []

    def add(self, knob: PlacedKnob) -> None:
        """Take what the reader told."""
        if knob.of > 1:
            self._offer_later(knob)
        elif not knob.places:
            self._tell_parts(knob)
        elif knob.of == 0:
            stem = re.split(r"[\\/]", knob.name)[-1].rpartition(".")[0] or knob.name
            self._map(f"extra.lora_{_slug(stem)}", knob.value, knob.places)
        elif knob.name == "batch_size":
            self._offer_batch(knob)
        elif not self._has(knob.name):
            self._map(f"extra.{_slug(knob.name)}", knob.value, knob.places)
        else:
            self._map(knob.name, named_by_us(knob.name, knob.value), knob.places)

    def notes(self) -> Iterator[str]:
        """Yield what there is to say, whole sentences."""
        yield from self._notes
        for places in self._later.values():
            yield (
                f"One sampler more: {self._where(places)} stay as they are unless a commented line"
                " of the config is mapped; a list maps a knob to several places"
            )

    def others(self, output: str) -> Iterator[WorkflowKnob]:
        """Yield the inputs behind *output* that no knob is."""
        names: dict[str, list[tuple[str, str, Any]]] = {}
        for node in _behind(self._file, output):
            for name, value in self._file.graph[node]["inputs"].items():
                if isinstance(value, str | int | float) and (node, name) not in self._taken:
                    names.setdefault(_slug(name), []).append((node, name, value))
        for slug, found in names.items():
            for node, name, value in found:
                entry = slug if len(found) == 1 else f"{slug}_{_slug(node)}"
                yield self._made(f"extra.{entry}", value, ((node, name),), mapped=False)

    def _has(self, name: str) -> bool:
        known = KNOBS.get(name)
        if known is None or self._stage not in known.stages:
            return False
        return known.needs is None or known.needs in self._placed

    def _map(self, name: str, value: Any, places: Sequence[tuple[str, str]]) -> None:
        if said := next((self._taken[place] for place in places if place in self._taken), None):
            self._notes.append(
                f"{name} is the same input as {said} ({self._where(places)}) and is left to it"
            )
            return
        if any(knob.name == name for knob in self.mapped):
            name = f"{name}_{_slug(places[0][0])}"
        self._taken |= dict.fromkeys(places, name)
        self.mapped.append(self._made(name, value, places, mapped=True))

    def _offer(self, name: str, value: Any, places: Sequence[tuple[str, str]]) -> None:
        self._taken |= dict.fromkeys(places, name)
        self.offered.append(self._made(name, value, places, mapped=False))

    def _offer_later(self, knob: PlacedKnob) -> None:
        free = [place for place in knob.places if place not in self._taken]
        if free:
            self._later.setdefault(knob.of, []).extend(free)
            self._offer(f"extra.pass_{knob.of}_{_slug(knob.name)}", knob.value, free)

    def _offer_batch(self, knob: PlacedKnob) -> None:
        self._offer("batch_size", knob.value, knob.places)
        if knob.value > 1:
            self._notes.append(
                f"the workflow draws {knob.value} pictures from one seed at a time"
                f" ({self._where(knob.places)}); set that to 1, and batch_size in the config draws"
                " several with a seed each"
            )

    def _tell_parts(self, knob: PlacedKnob) -> None:
        if knob.parts:
            self._notes.append(
                f"{knob.name} is put together from {self._where(knob.parts)}; map the one that is"
                " to be set"
            )

    def _where(self, places: Sequence[tuple[str, str]]) -> str:
        names: dict[str, list[str]] = {}
        for node, name in places:
            names.setdefault(node, []).append(name)
        return ", ".join(
            f"{' and '.join(inputs)} of {called(self._file.graph, node)}"
            for node, inputs in names.items()
        )

    def _made(
        self, name: str, value: Any, places: Sequence[tuple[str, str]], *, mapped: bool
    ) -> WorkflowKnob:
        return WorkflowKnob(
            entry=f"{self._stage}.{name}",
            value=value,
            places=tuple(places),
            where=self._where(places),
            mapped=mapped,
        )


def _first_steps(stage: str, knobs: _Sorted) -> Iterator[str]:
    """Yield what is to be done before the config can be run."""
    names = {knob.name for knob in knobs.mapped}
    if stage != "upscale" and "seed" not in names:
        yield "no seed was found, and a stage that draws needs one: map it to the input that it is"
    if stage != "upscale" and "prompt" not in names:
        yield "no prompt was found that stands in one place: it stays the workflow's own"
    if "init_image" in names:
        yield f"the workflow begins with a picture: say in [{stage}] which, as init_image"


def _lacking(file: WorkflowFile, output: str, classes: NodeClasses) -> Iterator[str]:
    """Yield what the workflow names and the server lacks."""
    for node in _behind(file, output):
        kind = str(file.graph[node]["class_type"])
        if not classes.about(kind):
            yield f"the server has no {kind} for {called(file.graph, node)}: install its pack there"
            continue
        for name, value in file.graph[node]["inputs"].items():
            known = classes.values(kind, name)
            if isinstance(value, str) and known and value not in known and name != "image":
                where = f"{name} of {called(file.graph, node)}"
                yield f"the server has no {value!r} for {where}{did_you_mean(value, known)}"


def _behind(file: WorkflowFile, output: str) -> list[str]:
    """Return the nodes that *output* needs, in the order of the file."""
    from safelight.imports.comfyui_links import Graph

    behind = set(Graph.of(file.graph).upstream(output))
    return [node for node in file.graph if node in behind]


def _is_sound(name: str, value: Any) -> bool:
    """Whether a config may state *value*; else the workflow's own stays."""
    return knob_fault(KNOBS[name], value) is None


def _from(folder: Path, path: str) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # on another drive
        return str(Path(path).absolute())


def _slug(name: str) -> str:
    return re.sub(r"\W+", "_", name).strip("_") or "input"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_SHOWN else f'{text[: _LONGEST_SHOWN - 4]}..."'


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?')) else '.'}"


def _line(text: str) -> str:
    """Return *text* as it may stand in a comment, which ends with its line."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
