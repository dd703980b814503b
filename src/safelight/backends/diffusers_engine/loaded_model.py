"""A model of diffusers in memory, and the pipelines that share its weights."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safelight.allowed_files import (
    ANY_FILE,
    PICKLED_RULE,
    AllowedFiles,
    is_hub_name,
    is_pickled,
)
from safelight.backends.diffusers_engine.families import Task, family_of
from safelight.backends.diffusers_engine.schedules import is_flow
from safelight.backends.file_contents import content_of
from safelight.errors import BackendError, BackendNotInstalled, FileRefused

__all__ = [
    "INSTALL",
    "LoadedModel",
    "ModelSource",
    "auto_dtype",
    "libraries",
    "pick_device",
    "quiet",
]

INSTALL = 'pip install "safelight[diffusers]"'
_FILES = (".safetensors", ".ckpt")
_FILE_CLASSES = {
    "v1": "StableDiffusionPipeline",
    "v2": "StableDiffusionPipeline",
    "inpainting": "StableDiffusionInpaintPipeline",
    "inpainting_v2": "StableDiffusionInpaintPipeline",
    "xl_base": "StableDiffusionXLPipeline",
    "xl_inpaint": "StableDiffusionXLInpaintPipeline",
    "xl_refiner": "StableDiffusionXLImg2ImgPipeline",
    "playground-v2-5": "StableDiffusionXLPipeline",
    "sd3": "StableDiffusion3Pipeline",
    "sd35_medium": "StableDiffusion3Pipeline",
    "sd35_large": "StableDiffusion3Pipeline",
    "flux-dev": "FluxPipeline",
    "flux-schnell": "FluxPipeline",
}


def libraries() -> tuple[Any, Any]:
    """Return the modules torch and diffusers.

    Raises:
        BackendNotInstalled: One of them, or what they need, is missing.
    """
    try:
        with quiet():
            import diffusers
            import torch
            import transformers  # noqa: F401 - the text encoders; its absence is told here
    except ImportError as error:
        raise BackendNotInstalled(
            f"the engine 'diffusers' needs a package that is missing ({error});"
            f" install it with: {INSTALL}"
        ) from error
    return torch, diffusers


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' notices and progress bars off the terminal."""
    import logging
    import warnings

    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers", "peft")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def pick_device(torch: Any, wanted: str) -> str:
    """Return the device to draw on.

    Raises:
        BackendError: The one that was asked for is not there.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except (RuntimeError, ValueError) as error:
        raise BackendError(f"device {wanted!r} is unknown to torch: {error}") from error
    gone = device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()
    if gone or (device.type == "mps" and not torch.backends.mps.is_available()):
        raise BackendError(f"there is no device {wanted!r} here; set device to auto or cpu")
    return wanted


def auto_dtype(torch: Any, device: str, *, flow: bool, unet: bool) -> tuple[str, str]:
    """Return the name of the dtype to draw with, and why, where that must be said.

    Flows overflow in float16, and their pictures are black; UNets were published in it.

    Args:
        torch: The module.
        device: As torch names it.
        flow: Whether the model's own scheduler moves along a flow.
        unet: Whether its network is a UNet.
    """
    if device == "cpu":
        return "float32", ""
    if unet and not flow:
        return "float16", ""
    if device.startswith("cuda"):
        has_it = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_it = device != "mps" or torch.backends.mps.is_macos_or_newer(14, 0)
    if has_it:
        return "bfloat16", ""
    return "float32", (
        "this device has no bfloat16, and float16 makes this kind of model's pictures black:"
        " drawn in float32, which takes twice the memory"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """Where models come from; see the options of the engine.

    Attributes:
        dtype: ``auto`` or the name of a torch dtype.
        device: As torch names it.
        local_files_only: Never download.
        variant: Such as ``fp16``; None is the plain files.
        revision: Of a hub repository; None is its newest.
        single_file_config: Folder or repository that tells how single files are built.
        files: Which models may be named by their path.
    """

    dtype: str
    device: str
    local_files_only: bool
    variant: str | None
    revision: str | None
    single_file_config: str | None
    files: AllowedFiles = ANY_FILE

    def content(self, name: str) -> str | None:
        """Return a hash of what is in the model *name*; None where only loading it can tell.

        Of a repository of the hub it is the commit that is in the cache, unless a newer one may
        be downloaded.
        """
        try:
            path = self._path(name)
        except BackendError:  # loading it will say so
            return None
        if path is not None and path.exists():
            return content_of(path)
        if not self.local_files_only and self.revision is None:
            return None
        cached = self._cached(name)
        return None if cached is None else f"commit {cached.name}"

    def folder(self, name: str) -> Path | None:
        """Return the folder of the model *name* on this machine; None where it is none."""
        try:
            path = self._path(name)
        except BackendError:  # loading it will say so
            return None
        return path if path is not None and path.is_dir() else None

    def _cached(self, name: str) -> Path | None:
        """Return the folder of a repository of the hub, when it is on this machine."""
        import huggingface_hub

        try:
            index = huggingface_hub.try_to_load_from_cache(
                name, "model_index.json", revision=self.revision
            )
        except ValueError:  # no name of a repository
            return None
        return Path(index).parent if isinstance(index, str) else None

    def _path(self, name: str) -> Path | None:
        """Return the file or folder *name*; None where that is a repository of the hub.

        In a config from a page its form decides, and not what there is.

        Raises:
            BackendError: It may not be used.
        """
        if not self.files.is_confined:
            return Path(name).expanduser()
        if is_hub_name(name):
            return None
        try:
            return self.files.model(name)
        except FileRefused as error:
            raise BackendError(f"model {name!r} {error}") from error

    def load(self, name: str) -> LoadedModel:
        """Load the model *name*: a folder, a single file, or a repository of the hub.

        Raises:
            BackendError: There is none, or it cannot be read.
        """
        torch, diffusers = libraries()
        import transformers

        for library in (diffusers, transformers):
            library.utils.logging.disable_progress_bar()
        path = self._path(name)
        if path is not None:
            self._refuse_absent(name, path)
        content = self.content(name)
        try:
            with quiet():
                single = path is not None and path.suffix in _FILES and path.is_file()
                if path is not None and single:
                    pipe, note = self._from_file(path)
                else:
                    pipe, note = self._from_folder(name, path)
                pipe.to(pick_device(torch, self.device))
        except BackendError:
            raise
        except Exception as error:
            raise BackendError(f"model {name!r} cannot be loaded: {error}{self._hint()}") from error
        pipe.set_progress_bar_config(disable=True)
        model_hash = f"autov2:{str(content_of(path))[:10]}" if path and single else None
        return LoadedModel(
            name=name, content=content or self.content(name), pipe=pipe, own=pipe.scheduler,
            model_hash=model_hash, notes=(note,) if note else (),
        )  # fmt: skip

    def _refuse_absent(self, name: str, path: Path) -> None:
        looks_local = path.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1
        if not path.exists() and (looks_local or path.suffix in _FILES):
            raise BackendError(
                f"model must be a folder, a .safetensors file or a hub id such as owner/name;"
                f" there is no {name!r}"
            )
        if path.is_dir() and not (path / "model_index.json").is_file():
            raise BackendError(f"model {name!r} is no diffusers folder: it has no model_index.json")

    def _hint(self) -> str:
        return "; set local_files_only = false to download" if self.local_files_only else ""

    def _from_folder(self, name: str, path: Path | None) -> tuple[Any, str]:
        _, diffusers = libraries()
        if path is None:
            path = self._from_hub(name)
        where = str(path) if path.is_dir() else name
        shared = {"local_files_only": self.local_files_only, "revision": self.revision}
        dtype, note = self.dtype_of(where)
        pipe = diffusers.DiffusionPipeline.from_pretrained(
            where,
            torch_dtype=dtype,
            variant=self.variant,
            use_safetensors=True if self.files.is_confined else None,
            **shared,
        )
        return pipe, note

    def _from_hub(self, name: str) -> Path:
        """Return the folder of a repository that a page names, in which nothing can run code.

        Raises:
            BackendError: It is not on this machine, or holds what can.
        """
        folder = self._cached(name)
        if folder is None and not self.local_files_only:
            _, diffusers = libraries()
            folder = Path(
                diffusers.DiffusionPipeline.download(
                    name, revision=self.revision, variant=self.variant, use_safetensors=True
                )
            )
        if folder is None:
            raise BackendError(f"the model {name!r} of the hub is not on this machine")
        if any(map(is_pickled, folder.rglob("*"))):
            raise BackendError(f"model {name!r} {PICKLED_RULE}")
        return folder

    def _from_file(self, path: Path) -> tuple[Any, str]:
        _, diffusers = libraries()
        from diffusers.loaders import single_file_utils

        checkpoint = single_file_utils.load_single_file_checkpoint(str(path))
        kind = single_file_utils.infer_diffusers_model_type(checkpoint)
        config = self.single_file_config or _cached_config(
            single_file_utils.fetch_diffusers_config(checkpoint)["pretrained_model_name_or_path"],
            self.local_files_only,
        )
        del checkpoint
        if kind not in _FILE_CLASSES:
            raise BackendError(
                f"model {path.name!r} is of the kind {kind}, which is not drawn from a single file;"
                " convert it to a diffusers folder"
            )
        dtype, note = self.dtype_of(config)
        pipe = getattr(diffusers, _FILE_CLASSES[kind]).from_single_file(
            str(path),
            config=config,
            torch_dtype=dtype,
            local_files_only=self.local_files_only,
        )
        return pipe, note

    def odd_auto_dtype(self) -> str | None:
        """Return what ``auto`` is for flows on a device of a kind that usually has bfloat16.

        None where it is what that kind of device makes of it; cards of one kind differ in this.
        """
        torch, _ = libraries()
        device = pick_device(torch, self.device)
        name, note = auto_dtype(torch, device, flow=True, unet=False)
        return name if note and self.dtype == "auto" else None

    def dtype_of(self, where: str) -> tuple[Any, str]:
        """Return the torch dtype for a model, and a sentence where the device lacks the right one.

        What kind of model it is, is read from its own files.

        Args:
            where: Folder or repository in diffusers' layout.
        """
        torch, diffusers = libraries()
        if self.dtype != "auto":
            return getattr(torch, self.dtype), ""
        shared = {"local_files_only": self.local_files_only, "revision": self.revision}
        parts = diffusers.DiffusionPipeline.load_config(where, **shared)
        _, scheduler = parts.get("scheduler") or (None, None)
        config: Any = {}
        if scheduler is not None:
            config = diffusers.DDIMScheduler.load_config(where, subfolder="scheduler", **shared)
        _, unet = parts.get("unet") or (None, None)
        name, note = auto_dtype(
            torch,
            pick_device(torch, self.device),
            flow=is_flow(str(scheduler), config),
            unet=unet is not None,
        )
        return getattr(torch, name), note


def _cached_config(repository: str, local_files_only: bool) -> str:
    """Return where the configuration for a single file is.

    ``from_single_file`` downloads it even where that is forbidden, so it is fetched here.
    """
    import huggingface_hub

    try:
        return str(
            huggingface_hub.snapshot_download(
                repository,
                local_files_only=local_files_only,
                allow_patterns=["*.json", "*.txt", "*.model"],
            )
        )
    except (OSError, ValueError) as error:
        raise BackendError(
            f"a single file needs the configuration of {repository}, which is not on this"
            " machine; set single_file_config to a diffusers folder of that kind,"
            " or local_files_only = false to download it"
        ) from error


@dataclass(slots=True, kw_only=True)
class LoadedModel:
    """A model in memory.

    Attributes:
        name: As it was asked for.
        content: Hash of what is in it; None where that is not known.
        pipe: The pipeline that it was loaded as.
        own: The scheduler that it came with.
        model_hash: ``autov2:...`` of a single file, None of a folder.
        notes: What whoever draws with it should know.
        loras: What is loaded on top of it.
        lora_files: Their files.
        lora_contents: Hashes of these.
    """

    name: str
    content: str | None
    pipe: Any
    own: Any
    model_hash: str | None
    notes: tuple[str, ...] = ()
    loras: tuple[Any, ...] = ()
    lora_files: tuple[Path, ...] = ()
    lora_contents: tuple[str | None, ...] = ()
    _pipes: dict[Task, Any] = field(default_factory=dict)

    def pipe_for(self, task: Task) -> Any:
        """Return the pipeline for *task*, which shares this model's weights.

        For ``Image2Image`` it may be one that edits: it takes ``image`` and no ``strength``.

        Raises:
            BackendError: diffusers has none for this kind of model.
        """
        if task not in self._pipes:
            made = self._made(task)
            made.set_progress_bar_config(disable=True)
            self._pipes[task] = made
        return self._pipes[task]

    def _made(self, task: Task) -> Any:
        _, diffusers = libraries()
        kind, family = type(self.pipe).__name__, family_of(self.pipe)
        if family is not None:
            wanted = family.class_for(task)
            if wanted is None:
                raise BackendError(f"diffusers has no {_SAID[task]} for a {kind}")
            if wanted == kind.replace("PAG", ""):
                return self.pipe
            return _rebuilt(getattr(diffusers, wanted), self.pipe)
        if _does(self.pipe, task):
            return self.pipe
        try:
            with quiet():
                return getattr(diffusers, f"AutoPipelineFor{task}").from_pipe(self.pipe)
        except (ValueError, AttributeError, TypeError) as error:
            if task == "Text2Image" and _may_draw(self.pipe):
                return self.pipe
            raise BackendError(f"diffusers has no {_SAID[task]} for a {kind}: {error}") from error

    def facts(self) -> dict[str, Any]:
        """Return kind and precision, as plain values."""
        return {"pipeline": type(self.pipe).__name__, "dtype": str(self.pipe.dtype)[6:]}


_SAID: Mapping[Task, str] = {
    "Text2Image": "txt2img", "Image2Image": "img2img", "Inpainting": "img2img with a mask",
}  # fmt: skip


def _does(pipe: Any, task: Task) -> bool:
    """Whether the signature of a pipeline that no table knows says that it does *task*."""
    taken = inspect.signature(pipe.__call__).parameters.keys()
    if task == "Inpainting":
        return {"image", "mask_image", "strength"} <= taken
    if task == "Image2Image":
        return "image" in taken and not {"mask_image", "control_image"} & taken
    return _may_draw(pipe) and not {"image", "images", "input_images"} & taken


def _may_draw(pipe: Any) -> bool:
    """Whether a pipeline takes a prompt, and anything else only if it is given."""
    taken = dict(inspect.signature(pipe.__call__).parameters)
    stated = [p for p in taken.values() if p.kind is not p.VAR_KEYWORD]
    needed = {p.name for p in stated if p.default is p.empty}
    others = {"strength", "mask_image", "control_image", "video", "num_frames", "audio_length_in_s"}
    return "prompt" in taken and needed <= {"prompt"} and not others & taken.keys()


def _rebuilt(cls: Any, pipe: Any) -> Any:
    """Return a pipeline of *cls* around the parts of *pipe*.

    ``from_pipe`` of diffusers would convert them, which both share, to one dtype.
    """
    names = [name for name in inspect.signature(cls.__init__).parameters if name != "self"]
    own = {name: pipe.config[name] for name in names if name in pipe.config}
    parts = {name: pipe.components[name] for name in names if name in pipe.components}
    with quiet():
        return cls(**{**own, **parts})
