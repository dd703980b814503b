"""LoadedModel: one model's pipelines, sharing their weights, and how they are loaded."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from safelight.errors import BackendError
from safelight.lora_tags import Lora
from safelight.sampler_names import name_hint

__all__ = ["LoadedModel", "ModelLoader"]

_log = logging.getLogger(__name__)
_TASKS = {
    "txt2img": "AutoPipelineForText2Image",
    "img2img": "AutoPipelineForImage2Image",
    "inpaint": "AutoPipelineForInpainting",
}


class ModelLoader:
    """Loads models onto one device.

    Args:
        device: ``auto`` or a torch device.
        dtype: ``auto`` or a torch type.
        local_files_only: Whether the hub is left alone.
        revision: Of a model on the hub.
        variant: Of a model's files.
        pipeline_class: For single files.

    Raises:
        BackendError: The device does not exist here.
    """

    def __init__(
        self,
        device: str,
        dtype: str,
        *,
        local_files_only: bool,
        revision: str | None,
        variant: str | None,
        pipeline_class: str,
    ) -> None:
        self._device = _device(device)
        half = torch.float32 if self._device.type == "cpu" else torch.float16
        self._dtype: torch.dtype = half if dtype == "auto" else getattr(torch, dtype)
        self._hub = {"local_files_only": local_files_only, "revision": revision}
        self._variant = variant
        self._class = pipeline_class
        diffusers.utils.logging.set_verbosity_error()
        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()

    @property
    def device_name(self) -> str:
        """The device, with the card's name where it is a GPU."""
        if self._device.type != "cuda":
            return str(self._device)
        return f"{self._device} ({torch.cuda.get_device_name(self._device)})"

    @property
    def dtype_name(self) -> str:
        """The precision, such as ``float32``."""
        return str(self._dtype).removeprefix("torch.")

    def load(self, name: str) -> LoadedModel:
        """Load a folder, a single file, or a model of the hub.

        Raises:
            BackendError: It is not there, or is no model that diffusers can read.
        """
        path = Path(name).expanduser()
        try:
            if path.is_file():
                pipeline = self._single_file(path)
            else:
                pipeline = diffusers.DiffusionPipeline.from_pretrained(
                    str(path) if path.exists() else name,
                    torch_dtype=self._dtype,
                    variant=self._variant,
                    **self._hub,
                )
            pipeline.to(self._device)
        except Exception as error:
            raise BackendError(_not_loaded(name, path, error, self._hub)) from error
        pipeline.set_progress_bar_config(disable=True)
        return LoadedModel(name, pipeline)

    def _single_file(self, path: Path) -> Any:
        cls: Any = getattr(diffusers, self._class, None)
        if not hasattr(cls, "from_single_file"):
            raise BackendError(
                f"pipeline_class must be a pipeline of diffusers that reads single files,"
                f" got {self._class!r}"
            )
        return cls.from_single_file(
            str(path), torch_dtype=self._dtype, local_files_only=self._hub["local_files_only"]
        )


class LoadedModel:
    """One model, with a pipeline for each task that it can do.

    Attributes:
        name: As the request spelt it.
        own_scheduler: The scheduler that it came with.
    """

    def __init__(self, name: str, pipeline: Any) -> None:
        self.name = name
        self.own_scheduler = pipeline.scheduler
        self._first = pipeline
        self._pipelines: dict[str, Any] = {}

    def pipeline(self, task: str) -> Any:
        """Return the pipeline for ``txt2img``, ``img2img`` or ``inpaint``.

        Raises:
            BackendError: diffusers has none of that kind for this model.
        """
        if task not in self._pipelines:
            maker = getattr(diffusers, _TASKS[task])
            try:
                made = maker.from_pipe(self._first)
            except Exception as error:
                raise BackendError(
                    f"diffusers has no {task} for this model"
                    f" ({type(self._first).__name__}): {error}"
                ) from error
            made.set_progress_bar_config(disable=True)
            self._pipelines[task] = made
        return self._pipelines[task]

    def put_on(self, loras: tuple[Lora, ...], folder: Path) -> None:
        """Load *loras* from *folder* with their weights.

        Raises:
            BackendError: One is not there, or does not fit the model.
        """
        if not loras:
            return
        weights: list[Any] = []
        names = [f"lora_{number}" for number in range(len(loras))]
        for adapter, lora in zip(names, loras, strict=True):
            path = _lora_file(lora.name, folder)
            try:
                self._first.load_lora_weights(
                    str(path.parent), weight_name=path.name, adapter_name=adapter
                )
            except Exception as error:
                raise BackendError(f"LoRA {lora.name!r} cannot be used: {error}") from error
            weights.append(_weight(lora))
        try:
            self._first.set_adapters(names, adapter_weights=weights)
        except Exception as error:
            raise BackendError(f"the LoRAs' weights cannot be set: {error}") from error

    def take_off(self) -> None:
        """Let go of every LoRA."""
        if hasattr(self._first, "unload_lora_weights"):
            self._first.unload_lora_weights()


def _weight(lora: Lora) -> Any:
    if lora.unet == lora.text_encoder:
        return lora.unet
    return {"unet": lora.unet, "text_encoder": lora.text_encoder}


def _lora_file(name: str, folder: Path) -> Path:
    known = {path.stem: path for path in sorted(folder.rglob("*.safetensors"))}
    if name not in known:
        raise BackendError(f"there is no LoRA {name!r} in {folder}{name_hint('lora', name, known)}")
    return known[name]


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BackendError(f"device must be auto, cpu, cuda or mps, got {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise BackendError(f"device is {name!r}, but torch sees no GPU here; use cpu or auto")
    return device


def _not_loaded(name: str, path: Path, error: Exception, hub: dict[str, Any]) -> str:
    if path.exists():
        return f"model {name!r} cannot be loaded: {error}"
    fetch = "" if not hub["local_files_only"] else (
        "; it is no file or folder here and not in the hub's cache: set local_files_only = false"
        " to fetch it"
    )  # fmt: skip
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return f"model {name!r} cannot be loaded: {first}{fetch}"
