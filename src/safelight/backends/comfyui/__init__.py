"""ComfyuiBackend: a ComfyUI server, with our stages as graphs or a workflow of the user's own.

Every value that is reported is read from the graph that the server says it ran, and sizes from
the picture itself.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

from safelight.allowed_files import ANY_FILE, AllowedFiles
from safelight.backends import OptionKind
from safelight.backends.comfyui.bound_graph import BoundGraph
from safelight.backends.comfyui.graph_map import GraphMap
from safelight.backends.comfyui.job_list import Job, ran_graph
from safelight.backends.comfyui.jobs import ComfyJobs, JobTookTooLong
from safelight.backends.comfyui.model_files import KINDS, ModelFiles
from safelight.backends.comfyui.native_names import (
    LATENT_METHODS,
    PIXEL_METHODS,
    canonical_names,
)
from safelight.backends.comfyui.node_classes import NodeClasses
from safelight.backends.comfyui.progress_socket import Event, Login, ProgressSocket
from safelight.backends.comfyui.server_arguments import shaping_arguments
from safelight.backends.comfyui.workflow_files import is_edited
from safelight.backends.comfyui.workflows import MOST_TEXT_ENCODERS, Loaders, StageWorkflows
from safelight.backends.engine_server import EngineServer, checked_timeout
from safelight.backends.input_picture import input_picture
from safelight.errors import BackendError, BackendUnavailable, BackendUnreachable
from safelight.pipeline.backend import (
    ALWAYS_LOADED,
    BackendDescription,
    EngineSetup,
    GeneratedImage,
    Generation,
    ImageRequest,
    Named,
    StepCallback,
    UpscaleRequest,
)

__all__ = ["ComfyuiBackend"]

_LISTED_KNOBS = ("model", "vae", "sampler", "scheduler", "upscaler", "hires_upscaler")
_EMPTY: Mapping[str, Any] = MappingProxyType({})


class ComfyuiBackend:
    """Draws on a ComfyUI server.

    Args:
        url: Where it listens; may carry ``user:password@``.
        user: For Basic authentication, where a proxy asks for it.
        password: Belongs to *user*.
        verify: Whether a TLS certificate must be valid, or a file of authorities to trust.
        headers: Sent with every question, such as a proxy's token.
        timeout: Seconds that one picture may take, waiting in the queue included.
        workflow: File of a workflow of the user's own, in the API format or the editor's, or a
            picture that ComfyUI saved; the editor's is converted when the server is first asked
            for something.
        map: Where knobs stand in it: ``"txt2img.steps"`` -> ``"3.inputs.steps"``.
        output: Node whose pictures are taken, by id or title.
        unet: Diffusion model to load apart from its text encoders and VAE.
        clip: Its text encoder, or two to four of them.
        clip_type: What ComfyUI's CLIPLoader calls their kind; three or four are told by their
            files.
        vae: VAE, where a request names none.
        files: How the workflow is opened.

    Raises:
        BackendError: An option is wrong.
    """

    name = "comfyui"
    option_kinds: ClassVar[Mapping[str, OptionKind]] = {
        "url": "owner", "user": "owner", "password": "owner", "verify": "owner",
        "headers": "owner", "timeout": "plain", "workflow": "file", "map": "plain",
        "output": "plain", "unet": "plain", "clip": "plain", "clip_type": "plain", "vae": "plain",
    }  # fmt: skip

    def __init__(
        self,
        *,
        url: str = "http://127.0.0.1:8188",
        user: str | None = None,
        password: str | None = None,
        verify: bool | str = True,
        headers: Mapping[str, str] = _EMPTY,
        timeout: float = 600.0,
        workflow: str | None = None,
        map: Mapping[str, Any] = _EMPTY,  # noqa: A002 - what a config calls it
        output: str = "",
        unet: str = "",
        clip: str | Sequence[str] = (),
        clip_type: str = "stable_diffusion",
        vae: str = "",
        files: AllowedFiles = ANY_FILE,
    ) -> None:
        timeout = checked_timeout(timeout)
        self._server = EngineServer(
            "ComfyUI",
            url,
            user=user,
            password=password,
            verify=verify,
            headers=headers,
            timeout=min(30.0, timeout),
            next_step="start ComfyUI, or set url in the backend's table",
        )
        self._nodes = NodeClasses(self._server)
        self._client_id = str(uuid.uuid4())
        self._login = _login(url, user, password, verify, headers)
        self._socket = ProgressSocket(self._server.url, self._client_id, self._login)
        self._jobs = ComfyJobs(self._server, self._client_id, timeout, self._nodes.values)
        self._own = (workflow, map, output, files)
        self._unsaid: tuple[str, ...] = ()
        try:
            edited = isinstance(workflow, str) and is_edited(workflow, files)
            self._read_map = None if edited else self._graph_map()
            loaders = _loaders(unet, clip, clip_type, vae)
        except BaseException:
            self._server.close()
            raise
        self._loaders = loaders
        self._workflows = StageWorkflows(loaders, self._nodes.values, self._upload)

    def __repr__(self) -> str:
        return f"ComfyuiBackend(url={self._server.url!r})"

    def close(self) -> None:
        """Close the connections; nothing can be drawn afterwards."""
        self._socket.close()
        self._server.close()

    def describe(self) -> BackendDescription:
        """Return the server's versions and its device; a workflow of one's own is read again."""
        stats, system = self._stats()
        self._read_map = None
        _ = self._map  # faults of the file are told here, before a plan is drawn
        environment = {
            "python": str(system.get("python_version", "")).partition(" ")[0],
            "pytorch": system.get("pytorch_version"),
            "os": system.get("os"),
        }
        devices = stats.get("devices")
        if isinstance(devices, list) and devices and isinstance(devices[0], dict):
            environment["device"] = devices[0].get("name")
        return BackendDescription(
            name=self.name,
            version=str(system.get("comfyui_version", "")),
            environment={key: value for key, value in environment.items() if value},
        )

    def setup(self, named: Named) -> EngineSetup:
        """Return how the server was started, and all of the graphs that no knob decides.

        The names in *named* mean what they mean at this address: ComfyUI tells no hashes, only how
        large files are and when they were changed, and older ones not even that. Of pictures that
        a workflow loads itself it gives out the content.
        """
        _, system = self._stats()
        facts: dict[str, Any] = {
            "address": self._server.url, "arguments": shaping_arguments(system.get("argv")),
        }  # fmt: skip
        own, defaults = self._workflows.setup()
        facts |= own
        if self._map is not None:
            facts["workflow"] = self._map.revision
            drawing = [stage for stage in ("txt2img", "img2img") if not self._map.covers(stage)]
            defaults = {f"{stage}.{k}": v for stage in drawing for k, v in defaults.items()}
            defaults |= self._map.defaults()
        loaded = {} if self._map is None else self._loaded(self._map.loaded_pictures())
        if loaded:  # whoever puts another one there under the same name changes the workflow
            facts["loaded_pictures"] = {
                name: content for name, content in loaded.items() if content
            }
        untold = [f"the picture {name!r} of its workflow" for name in loaded if not loaded[name]]
        files = ModelFiles(self._server)
        if not files.tells:
            facts["files"] = "by name"
        known = {
            kind: files.of_kind(kind, {*named.get(kind, ()), *_names_of(kind, defaults)})
            for kind in KINDS
        }
        known[ALWAYS_LOADED] = files.anywhere(self._always_loaded())
        told = {kind: states for kind, states in known.items() if states}
        return EngineSetup(
            facts=facts,
            defaults=defaults,
            contents={k: {n: f"{s.size} bytes" for n, s in told[k].items()} for k in told},
            states={k: {n: f"changed {s.changed!r}" for n, s in told[k].items()} for k in told},
            untold=tuple(untold),
        )

    def _always_loaded(self) -> set[str]:
        """Return the files that are loaded whatever a config says."""
        loaders = self._loaders
        names = {loaders.unet, *loaders.clip, loaders.vae} - {""}
        return names if self._map is None else names | self._map.model_files()

    def choices(self) -> Mapping[str, Sequence[str]]:
        """Return what the server lists, samplers and schedulers in AUTOMATIC1111's spelling."""
        if self._map is not None:
            choices = {
                knob: _canonical(knob, self._nodes.values(*where))
                for knob, where in self._map.combos().items()
                if knob in _LISTED_KNOBS
            }
            if not self._map.covers("upscale"):
                choices["upscaler"] = self._upscalers()
            return {knob: values for knob, values in choices.items() if values}
        model = (
            ("UNETLoader", "unet_name")
            if self._loaders.unet
            else ("CheckpointLoaderSimple", "ckpt_name")
        )
        upscalers = self._upscalers()
        choices = {
            "model": tuple(self._nodes.values(*model)),
            "vae": tuple(self._nodes.values("VAELoader", "vae_name")),
            "sampler": _canonical("sampler", self._nodes.values("KSampler", "sampler_name")),
            "scheduler": _canonical("scheduler", self._nodes.values("KSampler", "scheduler")),
        }
        listed = {knob: values for knob, values in choices.items() if values}
        return {**listed, "upscaler": upscalers, "hires_upscaler": (*LATENT_METHODS, *upscalers)}

    def knob_faults(self, stage: str, knobs: Mapping[str, Any]) -> Mapping[str, str]:
        """Return what of *knobs* the map of a workflow of one's own lacks.

        Raises:
            BackendUnavailable: It is in the editor's format, and the server does not answer.
        """
        own = self._map
        return {} if own is None or not own.covers(stage) else own.unmapped(stage, knobs)

    def loras(self) -> Sequence[str]:
        """Return the LoRAs that the server lists; none for a workflow of one's own.

        Raises:
            BackendUnavailable: It does not answer.
        """
        if self._map is not None:  # there a tag in the prompt is only text
            return ()
        return tuple(self._nodes.values("LoraLoader", "lora_name"))

    def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
        """Carry out *request*, several pictures as several jobs, each with its seed."""
        return Generation.joined(self.generate_rest(request, on_step, 0))

    def generate_rest(
        self, request: ImageRequest, on_step: StepCallback, done: int
    ) -> Iterator[Generation]:
        """Yield what each job of *request* gives, behind its first *done* jobs."""
        graph = self._graph(request)
        graphs = [graph]
        if (count := self._copies(request)) > 1:
            seed = getattr(request, "seed", 0)
            graphs = [graph.with_seed((seed + number) % 2**64) for number in range(count)]
        report = _StepReport(on_step, graph, count, done)
        named: list[str] = []
        prompt_ids: list[str] = []
        with self._socket as socket:
            try:
                for number, bound in list(enumerate(graphs))[done:]:
                    job_id = request.job_id
                    prompt_ids.append(self._jobs.submit(bound, job_id, number, named.append))
                for bound, prompt_id in zip(graphs[done:], prompt_ids, strict=True):
                    job = self._jobs.wait(prompt_id, socket, report)
                    images = self._images(job, bound, request, count)
                    said, self._unsaid = self._unsaid, ()  # once is enough, with the first picture
                    yield Generation(images=tuple(images), warnings=(*said, *graph.warnings))
                    report.picture_done()  # it may raise, and the picture is there
            except BaseException as error:
                # What is only out of reach is left to be found by the next attempt.
                if not isinstance(error, BackendUnavailable) or isinstance(error, JobTookTooLong):
                    self._jobs.stop(tuple(dict.fromkeys(named)))
                if isinstance(error, BackendUnreachable) and prompt_ids:
                    # It was there when it took the job, which may be what it is gone for.
                    raise BackendUnavailable(str(error)) from error
                raise

    # -- parts of a request --------------------------------------------------------------

    def _graph_map(self) -> GraphMap | None:
        workflow, mapping, output, files = self._own
        if workflow is None:
            if mapping or output:
                raise BackendError("map and output belong to a workflow of your own; set workflow")
            return None
        if not isinstance(workflow, str) or not isinstance(mapping, Mapping):
            raise BackendError("workflow must be a file name and map a table")
        if not isinstance(output, str):
            raise BackendError(f"output must be a node's id or title in quotes, got {output!r}")
        return GraphMap(
            workflow, mapping, output, files, self._nodes.gives_pictures, self._nodes.converted
        )

    @property
    def _map(self) -> GraphMap | None:
        """Where knobs stand in the workflow; one in the editor's format is converted first."""
        if self._read_map is None:
            self._read_map = self._graph_map()
            self._unsaid = () if self._read_map is None else self._read_map.notes
        return self._read_map

    def _graph(self, request: ImageRequest) -> BoundGraph:
        if self._map is not None and self._map.covers(request.stage):
            return self._map.graph(request, self._upload)
        return self._workflows.graph(request)

    def _copies(self, request: ImageRequest) -> int:
        if isinstance(request, UpscaleRequest):
            return 1
        mapped = self._map is not None and self._map.covers(request.stage)
        if mapped and self._map is not None and not self._map.repeats_by_seed(request.stage):
            return 1
        return request.batch_size or 1

    def _images(
        self, job: Job, graph: BoundGraph, request: ImageRequest, count: int
    ) -> list[GeneratedImage]:
        if fault := self._jobs.fault(job):
            raise BackendError(f"{self._server}: {fault}")
        used = graph.effective(ran_graph(job))
        if count > 1:
            used["batch_size"] = count
        return [
            GeneratedImage(png=png, effective=_with_real_size(used, png, request, self._server))
            for png in self._jobs.pictures(job, graph)
        ]

    def _stats(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Return what the server says of itself, and the part about the whole system."""
        stats = self._server.json(self._server.get("/system_stats"))
        system = stats.get("system") if isinstance(stats, dict) else None
        if not isinstance(system, dict):
            raise BackendError(f"{self._server} answered /system_stats without a system")
        return stats, system

    def _upscalers(self) -> tuple[str, ...]:
        return (*PIXEL_METHODS, *self._nodes.values("UpscaleModelLoader", "model_name"))

    def _loaded(self, names: Sequence[str]) -> dict[str, str]:
        """Return the hash of each picture on the server; empty where it does not give it out."""
        import hashlib

        contents = {}
        for name in names:
            path, _, folder = name.removesuffix("]").partition(" [")
            subfolder, _, file = path.rpartition("/")
            where = {"filename": file, "subfolder": subfolder, "type": folder or "input"}
            try:
                answer = self._server.get("/view", params=where, follow=True)
            except BackendUnavailable:
                raise
            except BackendError:
                contents[name] = ""
            else:
                contents[name] = hashlib.sha256(answer.content).hexdigest()
        return contents

    def _upload(self, png: bytes) -> str:
        """Put a picture on the server, under a name that says what it holds."""
        import hashlib

        name = f"safelight-{hashlib.sha256(png).hexdigest()[:24]}.png"
        answer = self._server.ask(
            "POST",
            "/upload/image",
            files={"image": (name, png, "image/png")},
            data={"overwrite": "true", "type": "input"},
        )
        body = self._server.json(answer)
        if not isinstance(body, dict) or not body.get("name"):
            raise BackendError(f"{self._server} answered /upload/image without a name")
        folder = body.get("subfolder") or ""
        return f"{folder}/{body['name']}" if folder else str(body["name"])


class _StepReport:
    """Turns what nodes say of themselves into steps of the whole request."""

    def __init__(
        self, on_step: StepCallback, graph: BoundGraph, pictures: int, done: int = 0
    ) -> None:
        self._on_step = on_step
        self._steps_of = graph.sampling_steps()
        self._each = max(1, sum(self._steps_of.values()))
        self._total = self._each * pictures
        self._before = self._each * done
        self._done: dict[str, float] = {}
        self._last = 1

    def __call__(self, event: Event | None) -> None:
        """Tell a step, or that there is still nothing new, so that a stop can be asked for."""
        if event is not None and event.node in self._steps_of:
            done = min(event.value, self._steps_of[event.node])
            self._done[event.node] = max(done, self._done.get(event.node, 0))
        here = min(int(sum(self._done.values())), self._each)
        self._last = max(self._last, self._before + here)
        self._on_step(self._last, self._total, event.preview if event else None)

    def picture_done(self) -> None:
        """Tell that one more picture is there."""
        self._before += self._each
        self._done.clear()
        self._last = max(self._last, self._before)
        self._on_step(self._last, self._total)


def _names_of(kind: str, defaults: Mapping[str, Any]) -> Iterator[str]:
    """Yield the files of *kind* that are loaded where a config names none."""
    for path, name in defaults.items():
        if path.rpartition(".")[2].removeprefix("hires_") == kind and isinstance(name, str):
            yield name


def _canonical(knob: str, values: Sequence[str]) -> tuple[str, ...]:
    if knob in ("sampler", "scheduler") and values:
        return canonical_names(knob, values)
    return tuple(values)


def _with_real_size(
    used: Mapping[str, Any], png: bytes, request: ImageRequest, server: EngineServer
) -> dict[str, Any]:
    """Return *used* with the size that the picture has; what is no whole PNG is refused."""
    if not png.startswith(b"\x89PNG\r\n\x1a\n") or len(png) < 45:
        raise BackendError(
            f"{server} gave a picture that is no PNG file (it begins {png[:8]!r});"
            " take the pictures of a SaveImage or PreviewImage node"
        )
    if b"IEND" not in png[-12:]:
        raise BackendError(f"{server} gave a PNG file that breaks off after {len(png)} bytes")
    width, height = struct.unpack(">II", png[16:24])
    if not isinstance(request, UpscaleRequest):
        return {**used, **_real_sides(used, width, height)}
    before = input_picture(request.init_image)
    scale = used.get("scale")
    if scale is not None and (width, height) != (
        max(1, round(before.width * scale)),
        max(1, round(before.height * scale)),
    ):
        return {**used, "scale": width / before.width}
    return dict(used)


def _real_sides(used: Mapping[str, Any], width: int, height: int) -> dict[str, Any]:
    """Return the size as the knobs tell it: before the hires fix, and how much that added."""
    scale, first = used.get("hires_scale"), used.get("width")
    if not scale:
        return {"width": width, "height": height}
    if first and round(first * scale) != width:
        scale = width / first
    sides = {"width": round(width / scale), "height": round(height / scale)}
    return {**sides, "hires_scale": scale}


def _loaders(unet: str, clip: str | Sequence[str], clip_type: str, vae: str) -> Loaders:
    clips = (clip,) if isinstance(clip, str) and clip else tuple(clip)
    if bool(unet) != bool(clips) or (unet and not vae):
        raise BackendError(
            "a diffusion model loaded apart needs all of unet, clip and vae,"
            f" got unet = {unet!r}, clip = {list(clips)!r}, vae = {vae!r}"
        )
    if len(clips) > MOST_TEXT_ENCODERS:
        raise BackendError(f"clip takes 1 to {MOST_TEXT_ENCODERS} text encoders, got {len(clips)}")
    return Loaders(unet=unet, clip=clips, clip_type=clip_type, vae=vae)


def _login(
    url: str,
    user: str | None,
    password: str | None,
    verify: bool | str,
    headers: Mapping[str, str],
) -> Login:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return Login(
        user=user if user is not None else parts.username or "",
        password=password if password is not None else parts.password or "",
        verify=verify,
        more=headers,
    )
