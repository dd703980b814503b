"""DiffusersBackend: Hugging Face's diffusers in this process, on whatever device torch has.

Everything that a picture was made with is read back from the pipeline's own objects.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safelight.errors import BackendError, BackendNotInstalled
from safelight.pipeline.backend import (
    BackendDescription,
    Generation,
    ImageRequest,
    StepCallback,
    UpscaleRequest,
)

if TYPE_CHECKING:
    from safelight.backends.diffusers_engine.loaded_model import LoadedModel, ModelLoader

__all__ = ["DiffusersBackend"]

_PACKAGES = ("diffusers", "torch", "transformers", "safetensors")


class DiffusersBackend:
    """Draws with diffusers.

    Args:
        model: Folder, single file or hub id, where a request names none.
        device: ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        dtype: ``auto`` (half precision on a GPU), ``float32``, ``float16`` or ``bfloat16``.
        local_files_only: False lets it fetch a model from the hub.
        revision: Of a model on the hub.
        variant: Of a model's files, such as ``fp16``.
        pipeline_class: Which pipeline a single file is for.
        lora_dir: Folder of the LoRAs that prompts name.

    Raises:
        BackendError: An option is wrong.
    """

    name = "diffusers"
    path_options = ("lora_dir",)

    def __init__(
        self,
        *,
        model: str = "",
        device: str = "auto",
        dtype: str = "auto",
        local_files_only: bool = True,
        revision: str | None = None,
        variant: str | None = None,
        pipeline_class: str = "StableDiffusionPipeline",
        lora_dir: str = "",
    ) -> None:
        if dtype not in ("auto", "float32", "float16", "bfloat16"):
            raise BackendError(
                f"dtype must be one of auto, float32, float16, bfloat16; got {dtype!r}"
            )
        if not isinstance(local_files_only, bool):
            raise BackendError(f"local_files_only must be true or false, got {local_files_only!r}")
        for option, value in (("model", model), ("device", device), ("lora_dir", lora_dir)):
            if not isinstance(value, str):
                raise BackendError(f"{option} must be text, got {value!r}")
        self._default_model = model
        self._device, self._dtype = device, dtype
        self._lora_dir = Path(lora_dir) if lora_dir else None
        self._options: dict[str, Any] = {
            "local_files_only": local_files_only,
            "revision": revision,
            "variant": variant,
            "pipeline_class": pipeline_class,
        }
        self._loader: ModelLoader | None = None
        self._loaded: LoadedModel | None = None

    def describe(self) -> BackendDescription:
        """Return versions, device and precision."""
        loader = self._models()
        versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
        return BackendDescription(
            name=self.name,
            version=versions.pop("diffusers"),
            environment={**versions, "device": loader.device_name, "dtype": loader.dtype_name},
        )

    def choices(self) -> Mapping[str, Sequence[str]]:
        """Return the samplers, schedulers and upscalers that it can do."""
        self._models()
        from safelight.backends.diffusers_engine.schedulers import samplers, schedulers
        from safelight.backends.upscalers import own_upscalers

        upscalers = own_upscalers()
        return {
            "sampler": samplers(),
            "scheduler": schedulers(),
            "upscaler": upscalers,
            "hires_upscaler": upscalers,
        }

    def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
        """Carry out *request*; the model stays loaded for the next one."""
        if isinstance(request, UpscaleRequest):
            from safelight.backends.upscalers import upscaled

            return upscaled(request, on_step)
        from safelight.backends.diffusers_engine.drawing import Drawing

        drawing = Drawing(self._model(request.model or self._default_model), request)
        return drawing.carry_out(on_step, self._lora_dir)

    def _models(self) -> ModelLoader:
        if self._loader is None:
            missing = [name for name in _PACKAGES if not _installed(name)]
            if missing:
                raise BackendNotInstalled(
                    f"the engine 'diffusers' needs {', '.join(missing)};"
                    ' install it with: pip install "safelight[diffusers]"'
                )
            from safelight.backends.diffusers_engine.loaded_model import ModelLoader

            self._loader = ModelLoader(self._device, self._dtype, **self._options)
        return self._loader

    def _model(self, name: str) -> LoadedModel:
        """Return the model *name*, loaded; the one before is let go first."""
        if not name:
            raise BackendError(
                "model must be stated: a folder, a .safetensors file or a hub id, as"
                " txt2img.model or as model in the backend's table"
            )
        loader = self._models()
        if self._loaded is None or self._loaded.name != name:
            self._loaded = None
            self._loaded = loader.load(name)
        return self._loaded


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
