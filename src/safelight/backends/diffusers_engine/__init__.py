"""DiffusersBackend: models of the diffusers library, in this process.

torch and diffusers are imported at the first use; ``pip install "safelight[diffusers]"``
brings them.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from safelight.allowed_files import ANY_FILE, AllowedFiles
from safelight.backends import OptionKind
from safelight.backends.diffusers_engine.drawing import Drawing
from safelight.backends.diffusers_engine.families import side_multiple_of_folder
from safelight.backends.diffusers_engine.loaded_model import (
    LoadedModel,
    ModelSource,
    libraries,
    pick_device,
)
from safelight.backends.diffusers_engine.loras import lora_content
from safelight.backends.diffusers_engine.schedules import SAMPLER_NAMES, SCHEDULE_NAMES
from safelight.backends.file_contents import content_of
from safelight.backends.upscalers import own_upscalers, upscaled, upscaler_contents
from safelight.errors import BackendError, FileRefused
from safelight.pipeline.backend import (
    BackendDescription,
    EngineSetup,
    Generation,
    ImageRequest,
    Named,
    StepCallback,
    UpscaleRequest,
)

__all__ = ["DiffusersBackend"]

_DTYPES = ("auto", "float32", "float16", "bfloat16")
_BATCHES = ("auto", "together", "apart")
_READING = 2
"""Which meaning of knobs pictures were drawn by: with 1, ``cfg_scale`` was each pipeline's own."""


class DiffusersBackend:
    """Stable Diffusion, FLUX, Qwen-Image, Z-Image, and what else diffusers draws from a text.

    Args:
        model: Folder, single file or hub id to use when a request states none.
        dtype: ``auto`` (float32 on a processor; elsewhere float16 for UNets and bfloat16 for
            others), ``float32``, ``float16`` or ``bfloat16``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        local_files_only: Never download; hub ids then mean what is already in the cache.
        variant: Of a model's files, such as ``fp16``.
        revision: Of a hub repository.
        single_file_config: A diffusers folder of the same kind, for single files offline.
        lora_dir: Where ``<lora:name:1>`` looks.
        upscaler_dir: A folder with more upscalers in ncnn's format.
        batches: ``together`` draws a batch in one call, ``apart`` picture by picture;
            ``auto`` is apart on a processor, where one call saves nothing.
        files: Which files options and requests may name.
    """

    name = "diffusers"
    packages: ClassVar[tuple[str, ...]] = ("torch", "diffusers", "transformers")
    """What it cannot draw without."""

    option_kinds: ClassVar[Mapping[str, OptionKind]] = {
        "model": "model", "dtype": "plain", "device": "plain", "local_files_only": "owner",
        "variant": "plain", "revision": "plain", "single_file_config": "file",
        "lora_dir": "file", "upscaler_dir": "file", "batches": "plain",
    }  # fmt: skip

    def __init__(
        self,
        *,
        model: str = "",
        dtype: str = "auto",
        device: str = "auto",
        local_files_only: bool = True,
        variant: str | None = None,
        revision: str | None = None,
        single_file_config: str | None = None,
        lora_dir: Path | str | None = None,
        upscaler_dir: Path | str | None = None,
        batches: str = "auto",
        files: AllowedFiles = ANY_FILE,
    ) -> None:
        _check_text("model", model)
        _check_text("device", device)
        for option, value in (
            ("variant", variant), ("revision", revision), ("single_file_config", single_file_config)
        ):  # fmt: skip
            _check_text(option, "" if value is None else value)
        _check_one_of("dtype", dtype, _DTYPES)
        _check_one_of("batches", batches, _BATCHES)
        if not isinstance(local_files_only, bool):
            raise BackendError(f"local_files_only must be true or false, got {local_files_only!r}")
        self._lora_dir = _folder("lora_dir", lora_dir)
        self._networks_dir = _folder("upscaler_dir", upscaler_dir)
        self._default, self._batches, self._files = model, batches, files
        if single_file_config is not None:
            try:
                single_file_config = str(files.model(single_file_config))
            except FileRefused as error:
                raise BackendError(f"single_file_config {single_file_config!r} {error}") from error
        self._source = ModelSource(
            dtype=dtype,
            device=device,
            local_files_only=local_files_only,
            variant=variant,
            revision=revision,
            single_file_config=single_file_config,
            files=files,
        )
        self._loaded: LoadedModel | None = None

    def describe(self) -> BackendDescription:
        """Return versions, device and precision; a model is not loaded for it."""
        torch, diffusers = libraries()
        import transformers

        device = pick_device(torch, self._source.device)
        on_processor = device == "cpu" and self._source.dtype == "auto"
        environment: dict[str, Any] = {
            "device": device,
            "dtype": "float32" if on_processor else self._source.dtype,
            "torch": str(torch.__version__),
            "transformers": transformers.__version__,
        }
        if device.startswith("cuda"):
            environment["gpu"] = torch.cuda.get_device_name(device)
        if self._source.revision is not None:
            environment["revision"] = self._source.revision
        if self._loaded is not None:
            environment |= self._loaded.facts()
        return BackendDescription(
            name=self.name, version=diffusers.__version__, environment=environment
        )

    def setup(self, named: Named) -> EngineSetup:
        """Return precision, device, and what is in the files that are named; loads no model."""
        torch, _ = libraries()
        device = torch.device(pick_device(torch, self._source.device)).type
        facts: dict[str, Any] = {
            "asked_dtype": self._source.dtype,
            "device_type": device,
            "variant": self._source.variant,
            "batches": self._batches,
            "reading": _READING,
            "auto_dtype": self._source.odd_auto_dtype(),
        }
        if self._source.single_file_config is not None:
            facts["single_file_config"] = content_of(Path(self._source.single_file_config))
        models = {name: self._source.content(name) for name in named.get("model", ())}
        defaults = {}
        if self._default:
            defaults["model"] = self._default
            models[self._default] = self._source.content(self._default)
        loras = {
            name: lora_content(name, self._lora_dir, self._files) for name in named.get("lora", ())
        }
        unknown = [f"what is in the model {name!r}" for name in models if not models[name]]
        unknown += [f"what is in the LoRA {name!r}" for name in loras if not loras[name]]
        return EngineSetup(
            facts={name: value for name, value in facts.items() if value is not None},
            defaults=defaults,
            contents={
                "model": {name: content for name, content in models.items() if content},
                "lora": {name: content for name, content in loras.items() if content},
                "upscaler": upscaler_contents(
                    named.get("upscaler", ()), self._networks_dir, self._files
                ),
            },
            untold=tuple(unknown),
        )

    def choices(self) -> Mapping[str, Sequence[str]]:
        """Return the samplers and schedules that diffusers has, and our upscalers."""
        upscalers = own_upscalers(self._networks_dir, self._files)
        return {
            "sampler": SAMPLER_NAMES,
            "scheduler": SCHEDULE_NAMES,
            "upscaler": upscalers,
            "hires_upscaler": upscalers,
        }

    def side_multiple(self, model: str | None) -> int | None:
        """Return what sides are multiples of, from the files of a model that is not loaded."""
        name = model or self._default
        folder = self._source.folder(name) if name else None
        return None if folder is None else side_multiple_of_folder(folder)

    @property
    def takes_loras(self) -> bool:
        """Whether there is a folder of LoRAs; without one their names have no effect."""
        return self._lora_dir is not None

    def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
        """Draw, redraw or enlarge."""
        if isinstance(request, UpscaleRequest):
            return upscaled(request, on_step, networks_dir=self._networks_dir, files=self._files)
        model = self._model(request.model or self._default)
        on_processor = model.pipe.device.type == "cpu"
        together = self._batches == "together" or (self._batches == "auto" and not on_processor)
        drawing = Drawing(
            model,
            request,
            on_step,
            lora_dir=self._lora_dir,
            networks_dir=self._networks_dir,
            files=self._files,
            together=together,
        )
        return drawing.carry_out()

    def _model(self, name: str) -> LoadedModel:
        if not name:
            raise BackendError(
                "model must be stated: a folder, a .safetensors file or a hub id, in the config's"
                ' stage or as an option: backend = { name = "diffusers", model = "..." }'
            )
        content = self._source.content(name)
        if self._loaded is None or (self._loaded.name, self._loaded.content) != (name, content):
            torch, _ = libraries()
            self._loaded = None  # two models at once may not fit in memory
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._loaded = self._source.load(name)
        return self._loaded


def _check_text(option: str, value: object) -> None:
    if not isinstance(value, str):
        raise BackendError(f"{option} must be text, got {value!r}")


def _check_one_of(option: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise BackendError(f"{option} must be one of {', '.join(known)}, got {value!r}")


def _folder(option: str, value: object) -> Path | None:
    if value is None:
        return None
    if not isinstance(value, (str, Path)) or not Path(value).expanduser().is_dir():
        raise BackendError(f"{option} must be a folder that exists, got {value!r}")
    return Path(value).expanduser()
