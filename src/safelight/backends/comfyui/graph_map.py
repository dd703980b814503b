"""GraphMap: a workflow of the user's own, in the API format, with knobs mapped into it.

Inputs that no knob is mapped to keep the values of the file. A knob that is asked for and not
mapped is refused: a sweep over it would draw the same picture again and again.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from safelight.allowed_files import ANY_FILE, AllowedFiles
from safelight.backends.comfyui.bound_graph import (
    BoundGraph,
    Nodes,
    Place,
    called,
    is_link,
    title_of,
)
from safelight.backends.comfyui.model_files import model_names
from safelight.backends.comfyui.native_names import (
    named_by_us,
    native_name,
    resolved_scheduler,
)
from safelight.backends.comfyui.saving_nodes import other_format, saving_nodes
from safelight.backends.comfyui.uploaded_pictures import encoded_picture, mask_picture
from safelight.backends.comfyui.workflow_files import Convert, read_workflow
from safelight.backends.input_picture import input_picture
from safelight.errors import BackendError
from safelight.escaped_output import escaped_line
from safelight.formats.comfyui_nodes import reads_as_words
from safelight.knobs import KNOBS, STAGES, did_you_mean
from safelight.lora_tags import has_tags_of
from safelight.pipeline.backend import ImageRequest, Img2ImgRequest, requested_knobs
from safelight.recorded_settings import LORA_TAGS, WORDS

__all__ = ["GraphMap"]

_NAMES = ("sampler", "scheduler")
_PICTURE = re.compile(r"\.(png|jpe?g|webp|gif|bmp|tiff?|avif)( \[\w+\])?$", re.IGNORECASE)
_ALWAYS_STATED = ("prompt", "negative_prompt", "seed", "init_image", "mask")
Spot = tuple[str, str]


class GraphMap:
    """One workflow file, and where each knob stands in it.

    Args:
        path: The file, as ComfyUI writes it (*Export (API)*, or the editor's own *Save*), or a
            picture that it saved.
        mapping: ``"txt2img.steps"`` -> ``"3.inputs.steps"``, ``"KSampler.steps"``,
            ``"@My sampler.steps"``, or a list of such.
        output: Id or title of the node whose pictures are taken; empty: the only one there is.
        files: How the file is opened.
        is_output: Whether nodes of a class give pictures, which the server knows; asked only
            where no node's name tells.
        convert: Makes of the editor's format what a server runs; needed for such a file only.

    Attributes:
        notes: What the user should know of the conversion, whole sentences.

    Raises:
        BackendError: The file is no such workflow, or the map does not fit it.
    """

    def __init__(
        self,
        path: str,
        mapping: Mapping[str, Any],
        output: str = "",
        files: AllowedFiles = ANY_FILE,
        is_output: Callable[[str], bool] = lambda _: False,
        convert: Convert | None = None,
    ) -> None:
        self._path = escaped_line(path)
        file = read_workflow(path, files, convert)
        self._nodes, self.notes = file.graph, file.notes
        if not mapping:
            raise BackendError(
                f"workflow {self._path} needs a map of knobs, such as"
                ' map = { "txt2img.prompt" = "6.inputs.text" }'
            )
        self._spots: dict[str, dict[str, tuple[Spot, ...]]] = {}
        for entry, target in mapping.items():
            stage, knob = _stage_and_knob(entry)
            targets = target if isinstance(target, list) else [target]
            spots = tuple(self._spot(entry, named) for named in targets)
            self._spots.setdefault(stage, {})[knob] = spots
        self._output = self._output_node(output, is_output)
        formats = {name for node, name in self._mapped() if node == self._output}
        kept = {
            name: v
            for name, v in self._nodes[self._output]["inputs"].items()
            if name not in formats
        }
        self._refuse_format({self._output: {**self._nodes[self._output], "inputs": kept}})

    def covers(self, stage: str) -> bool:
        """Return whether any knob of *stage* is mapped."""
        return stage in self._spots

    @property
    def revision(self) -> str:
        """A hash of all of the workflow that no knob is mapped to, and of where they are mapped."""
        kept = {
            node: {
                "class_type": known["class_type"],
                "inputs": {
                    name: value
                    for name, value in known["inputs"].items()
                    if (node, name) not in self._mapped()
                },
            }
            for node, known in self._nodes.items()
        }
        about = json.dumps([kept, self._spots, self._output], sort_keys=True)
        return hashlib.sha256(about.encode()).hexdigest()

    def defaults(self) -> dict[str, Any]:
        """Return ``stage.knob`` -> what the workflow itself has where a knob is mapped."""
        defaults: dict[str, Any] = {}
        for stage, knobs in self._spots.items():
            for knob, spots in knobs.items():
                values = [self._nodes[node]["inputs"][name] for node, name in spots]
                if knob not in _ALWAYS_STATED:
                    defaults[f"{stage}.{knob}"] = values[0] if len(values) == 1 else values
        return defaults

    def loaded_pictures(self) -> tuple[str, ...]:
        """Return the names of the server's pictures that the workflow loads itself."""
        given = {spot for knobs in self._spots.values() for spot in knobs.get("init_image", ())}
        return tuple(sorted({
            value
            for node, known in self._nodes.items()
            for name, value in known["inputs"].items()
            if isinstance(value, str) and _PICTURE.search(value) and (node, name) not in given
        }))  # fmt: skip

    def model_files(self) -> set[str]:
        """Return the names of the server's models that the workflow loads whatever knobs say."""
        mapped = self._mapped()
        return model_names(
            value
            for node, known in self._nodes.items()
            for name, value in known["inputs"].items()
            if (node, name) not in mapped
        )

    def _mapped(self) -> set[Spot]:
        return {
            spot for knobs in self._spots.values() for spots in knobs.values() for spot in spots
        }

    def repeats_by_seed(self, stage: str) -> bool:
        """Return whether several pictures are drawn by posting several seeds."""
        return "batch_size" not in self._spots[stage]

    def combos(self) -> Mapping[str, tuple[str, str]]:
        """Return knob -> (node class, input), for the mapped knobs whose values are names."""
        combos = {}
        for knobs in self._spots.values():
            for knob, ((node, name), *_) in knobs.items():
                if knob in KNOBS and isinstance(self._nodes[node]["inputs"][name], str):
                    combos[knob] = (str(self._nodes[node]["class_type"]), name)
        return combos

    def graph(self, request: ImageRequest, upload: Callable[[bytes], str]) -> BoundGraph:
        """Return the workflow with the values of *request* in their places.

        Raises:
            BackendError: A knob is asked for that is not mapped, or its value does not fit.
        """
        spots = self._spots[request.stage]
        values, warnings = self._values(request, upload)
        nodes = copy.deepcopy(self._nodes)
        places: dict[str, tuple[Place, ...]] = {}
        for knob, where in spots.items():
            entry = f"{request.stage}.{knob}"
            parts = _apart(entry, values.get(knob), len(where))
            put = [
                self._put(nodes, entry, spot, part) for spot, part in zip(where, parts, strict=True)
            ]
            if knob not in ("init_image", "mask"):
                places[knob] = tuple(put)
        self._refuse_format(nodes)
        tags = has_tags_of(str(getattr(request, "prompt", "")))
        are_words = tags is not None and reads_as_words(nodes, tags)
        if are_words:
            warnings.append(
                "A workflow of your own takes the prompt as it is; <lora:...> is only text there."
            )
        elif tags is not None:
            warnings.append(
                "Whether <lora:...> in the prompt does anything is up to the nodes of your"
                " workflow; recorded is that it does."
            )
        return BoundGraph(
            beside={LORA_TAGS: WORDS} if are_words else {},
            stage=request.stage,
            nodes=nodes,
            places=places,
            output=self._output,
            warnings=tuple(warnings),
        )

    # -- values --------------------------------------------------------------------------

    def _values(
        self, request: ImageRequest, upload: Callable[[bytes], str]
    ) -> tuple[dict[str, tuple[Any, Any]], list[str]]:
        """Return knob -> (value as ComfyUI says it, as we say it), and warnings."""
        asked = self._needing_places(request.stage, requested_knobs(request))
        self._refuse_unmapped(request.stage, asked)
        values = {knob: (value, value) for knob, value in asked.items()}
        warnings: list[str] = []
        for knob in _NAMES:
            if knob in asked:
                name = resolved_scheduler(asked[knob], asked.get("sampler"))
                native, nearly = _native_or_own(knob, name)
                values[knob] = (native, name)
                warnings.extend(nearly)
        values.update(self._files(request, upload))
        if asked.get("batch_size", 1) > 1:
            warnings.append(
                "ComfyUI draws a whole batch from one seed; the later pictures of a batch cannot"
                " be drawn again alone."
            )
        return values, warnings

    def _needing_places(self, stage: str, stated: Mapping[str, Any]) -> dict[str, Any]:
        """Return what of *stated* knobs must stand somewhere in the workflow."""
        spots = self._spots[stage]
        asked = dict(stated)
        asked.update({f"extra.{name}": v for name, v in asked.pop("extra", {}).items()})
        if asked.get("batch_size") is not None and "batch_size" not in spots:
            asked.pop("batch_size")  # carried out by posting several seeds
        if "mask_blur" not in spots:
            asked.pop("mask_blur", None)  # the mask is softened before it is uploaded
        for knob in ("prompt", "negative_prompt"):
            if not asked.get(knob) and knob not in spots:
                asked.pop(knob, None)
        return asked

    def _refuse_unmapped(self, stage: str, asked: Mapping[str, Any]) -> None:
        unmapped = [knob for knob in asked if knob not in self._spots[stage]]
        if unmapped:
            names = ", ".join(f"{stage}.{knob}" for knob in unmapped)
            raise BackendError(f"{names}: {self._why_unmapped(stage, unmapped[0])}")

    def unmapped(self, stage: str, stated: Mapping[str, Any]) -> dict[str, str]:
        """Return knob -> what is wrong, for those of *stated* knobs that are not mapped.

        A stage that draws has a seed, whether it is stated or not.
        """
        asked = self._needing_places(stage, stated)
        if stage != "upscale":
            asked["seed"] = None
        if stage != "txt2img":
            asked["init_image"] = None
        missing = [knob for knob in asked if knob not in self._spots[stage]]
        return {knob: self._why_unmapped(stage, knob) for knob in missing}

    def _why_unmapped(self, stage: str, knob: str) -> str:
        entry, place = f"{stage}.{knob}", "NODE.inputs.INPUT"
        why, otherwise = "asked for, but", ", or leave the knob out of the config"
        if knob == "init_image":
            why, otherwise = "the stage starts from a picture, but", ""
        elif knob == "seed":
            why, otherwise = "pictures that differ in it only would be one picture:", ""
            seeds = [
                f"{node}.inputs.{name}"
                for node, known in self._nodes.items()
                for name, value in known["inputs"].items()
                if name in ("seed", "noise_seed") and not is_link(value)
            ]
            place = seeds[0] if seeds else place
            if not seeds:
                otherwise = (
                    "; the workflow has no input seed or noise_seed that can be set, so give it one"
                    " in ComfyUI and save it again"
                )
                if stage == "img2img":
                    otherwise += ", or map it to the stage upscale, which needs none"
        return (
            f"{why} the map of {self._path} does not say where it stands; add"
            f' map."{entry}" = "{place}"{otherwise}'
        )

    def _files(
        self, request: ImageRequest, upload: Callable[[bytes], str]
    ) -> dict[str, tuple[str, str]]:
        """Upload the input picture and the mask; return what they are called there."""
        given = getattr(request, "init_image", None)
        if given is None:
            return {}
        files = {"init_image": encoded_picture(input_picture(given))}
        if isinstance(request, Img2ImgRequest) and request.mask is not None:
            size = input_picture(given).size
            files["mask"] = mask_picture(request.mask, size, request.mask_blur)
        self._refuse_unmapped(request.stage, files)
        names = {knob: upload(data) for knob, data in files.items()}
        return {knob: (name, name) for knob, name in names.items()}

    def _put(
        self, nodes: Mapping[str, Any], entry: str, spot: Spot, value: tuple[Any, Any] | None
    ) -> Place:
        node, name = spot
        literal = nodes[node]["inputs"][name]
        if value is None:
            ours = named_by_us(entry.partition(".")[2], literal)
            return Place(node=node, input=name, native=literal, value=ours)
        native, ours = value
        if entry.endswith(".clip_skip") and isinstance(literal, int) and literal < 0:
            native = -native  # ComfyUI counts layers from the end
        if isinstance(literal, str) != isinstance(native, str):
            raise BackendError(
                f'map."{entry}": {self._called(node)} has {literal!r} at {name},'
                f" which {native!r} cannot replace"
            )
        nodes[node]["inputs"][name] = native
        return Place(node=node, input=name, native=native, value=ours)

    # -- addresses -----------------------------------------------------------------------

    def _spot(self, entry: str, address: Any) -> Spot:
        """Return (node, input) of *address*, which stands in the map under *entry*."""
        where = f'map."{entry}"'
        if not isinstance(address, str) or "." not in address:
            raise BackendError(f"{where} must look like '3.inputs.steps', got {address!r}")
        named, inputs, name = address.rpartition(".inputs.")
        if not inputs:
            named, name = self._parted(address)
        node = self._node(where, named)
        inputs_of = self._nodes[node]["inputs"]
        if name not in inputs_of:
            hint = did_you_mean(name, inputs_of) or f"; it has: {', '.join(inputs_of)}"
            raise BackendError(f"{where}: {self._called(node)} has no input {name!r}{hint}")
        if is_link(inputs_of[name]):
            source = self._called(inputs_of[name][0])
            raise BackendError(
                f"{where}: {name} of {self._called(node)} comes from {source};"
                " map an input of that node instead"
            )
        return node, name

    def _parted(self, address: str) -> tuple[str, str]:
        """Return what names the node and what the input; both may have dots in them."""
        parts = address.split(".")
        for at in range(1, len(parts)):
            node = self._nodes.get(".".join(parts[:at]))
            if node and ".".join(parts[at:]) in node["inputs"]:
                return ".".join(parts[:at]), ".".join(parts[at:])
        named, _, name = address.rpartition(".")
        return named, name

    def _node(self, where: str, named: str) -> str:
        """Return the id of the node that *named* means: an id, a title, or a class."""
        if named in self._nodes and not named.startswith("@"):
            return named
        ways: list[dict[str, list[str]]] = [self._by(title_of)]
        if not named.startswith("@"):
            ways.append(self._by(_class))
        for way in ways:
            matching = way.get(named.removeprefix("@"), [])
            if len(matching) > 1:
                several = ", ".join(self._called(node) for node in matching)
                raise BackendError(f"{where}: {named!r} is several nodes ({several}); name an id")
            if matching:
                return matching[0]
        known = [*self._nodes, *(name for way in ways for name in way)]
        hint = did_you_mean(named, known)
        nodes = ", ".join(self._called(node) for node in self._nodes)
        raise BackendError(
            f"{where}: {self._path} has no node {named!r}{hint or '; it has: ' + nodes}"
        )

    def _by(self, name_of: Callable[[Mapping[str, Any]], str]) -> dict[str, list[str]]:
        names: dict[str, list[str]] = {}
        for node_id, node in self._nodes.items():
            names.setdefault(name_of(node), []).append(node_id)
        names.pop("", None)
        return names

    def _called(self, node: str) -> str:
        return called(self._nodes, node)

    def _output_node(self, output: str, is_output: Callable[[str], bool]) -> str:
        if output:
            return self._node("output", output)
        saving = saving_nodes(self._nodes, is_output)
        if len(saving) == 1:
            return saving[0]
        if not saving:
            raise BackendError(
                f"{self._path} has no node that saves a picture; add a SaveImage node, or name in"
                " output the node whose pictures are taken"
            )
        several = ", ".join(self._called(node) for node in saving)
        raise BackendError(f"{self._path} gives pictures at {several}; name one in output")

    def _refuse_format(self, nodes: Nodes) -> None:
        """Refuse an output whose files are not taken, before anything is drawn for it."""
        if kind := other_format(nodes, self._output):
            raise BackendError(
                f"{self._called(self._output)} of {self._path} writes {kind} files, and only PNG"
                " files are taken; set it to PNG (8 or 16 bit), or add a SaveImage node beside it"
                " and name that one in output"
            )


def _apart(
    entry: str, value: tuple[Any, Any] | None, places: int
) -> Sequence[tuple[Any, Any] | None]:
    """Return what is put into each place of a knob: the same, but of text encoders one each."""
    if value is None or places == 1 or not entry.endswith(".text_encoders"):
        return [value] * places
    names = [part.strip() for part in str(value[0]).split(",")]
    if len(names) != places:
        raise BackendError(
            f'map."{entry}" has {places} places, so {places} text encoders must be named,'
            f" got {value[0]!r}"
        )
    return [(name, name) for name in names]


def _class(node: Mapping[str, Any]) -> str:
    return str(node.get("class_type", ""))


def _stage_and_knob(entry: str) -> tuple[str, str]:
    stage, _, knob = entry.partition(".")
    extra, _, name = knob.partition(".")
    known = extra == "extra" and bool(name)
    if stage not in STAGES or not (known or knob in KNOBS):
        knobs: Sequence[str] = [f"{each}.{name}" for each in STAGES for name in KNOBS]
        hint = did_you_mean(entry, knobs) or '; it must be stage.knob, such as "txt2img.steps"'
        raise BackendError(f"map: there is no knob {entry!r}{hint}")
    if not known and stage not in KNOBS[knob].stages:
        raise BackendError(f"map: {stage} has no knob {knob!r}")
    return stage, knob


def _native_or_own(knob: str, name: str) -> tuple[str, tuple[str, ...]]:
    """As :func:`native_name`; a node of one's own may know what ComfyUI does not."""
    try:
        return native_name(knob, name)
    except BackendError:
        return name, ()
