"""BundledBackend: a real, tiny text-to-image diffusion model in the wheel.

Offline, without a GPU, well under a second a picture. It draws emoji-like pictures of the
things whose words it knows, at one size; every knob it takes truly acts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from safelight.allowed_files import ANY_FILE, AllowedFiles
from safelight.backends import OptionKind
from safelight.errors import BackendError, FileRefused
from safelight.lora_tags import split_loras
from safelight.pipeline.backend import (
    BackendDescription,
    DrawingRequest,
    EngineSetup,
    Generation,
    ImageRequest,
    Named,
    StepCallback,
    UpscaleRequest,
    unused_knobs,
)
from safelight.version import __version__

if TYPE_CHECKING:
    from safelight.backends.bundled.text_to_image_model import EncodedPrompt, TextToImageModel

__all__ = ["MODEL_FOLDER", "BundledBackend"]

MODEL_FOLDER = Path(__file__).parent / "model"
"""Where the model of the wheel is."""


class BundledBackend:
    """The model in the box.

    Args:
        model_dir: Another folder with ``model.json``, ``text.onnx`` and ``unet.onnx``.
        files: Which folders it may be.
    """

    name = "bundled"
    packages: ClassVar[tuple[str, ...]] = ("numpy", "onnxruntime")
    """What it cannot draw without."""

    takes_loras: ClassVar[bool] = False
    option_kinds: ClassVar[Mapping[str, OptionKind]] = {"model_dir": "file"}

    def __init__(
        self, *, model_dir: Path | str | None = None, files: AllowedFiles = ANY_FILE
    ) -> None:
        self._folder = MODEL_FOLDER
        if model_dir is not None:
            try:
                self._folder = files.model(str(model_dir))
            except FileRefused as error:
                raise BackendError(f"model_dir {str(model_dir)!r} {error}") from error
        self._loaded: TextToImageModel | None = None

    def describe(self) -> BackendDescription:
        """Return versions, device, and the hash of the model's files."""
        import numpy

        from safelight.backends.bundled.quiet_runtime import onnxruntime

        environment: dict[str, Any] = {
            "device": "cpu",
            "numpy": numpy.__version__,
            "onnxruntime": onnxruntime.__version__,
            "model_sha256": self._model().sha256,
        }
        return BackendDescription(name=self.name, version=__version__, environment=environment)

    def setup(self, named: Named) -> EngineSetup:
        """Return the hashes of the model's files, and of those of the upscalers that are named."""
        from safelight.backends.upscalers import upscaler_contents

        return EngineSetup(
            facts={"model_sha256": self._model().sha256},
            contents={"upscaler": upscaler_contents(named.get("upscaler", ()))},
        )

    def choices(self) -> Mapping[str, Sequence[str]]:
        """Return the samplers, schedulers, upscalers and the model that it has."""
        from safelight.backends.bundled.model_facts import model_facts
        from safelight.backends.bundled.names import SAMPLER_NAMES, SCHEDULE_NAMES
        from safelight.backends.upscalers import own_upscalers

        return {
            "model": (model_facts(self._folder)["name"],),
            "sampler": SAMPLER_NAMES,
            "scheduler": ("Automatic", *SCHEDULE_NAMES),
            "upscaler": own_upscalers(),
            "hires_upscaler": own_upscalers(),
        }

    def words(self) -> Sequence[str]:
        """Return the words that the model understands, sorted."""
        from safelight.backends.bundled.model_facts import model_facts

        return sorted(word for word in model_facts(self._folder)["vocabulary"] if word.isalnum())

    def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
        """Draw, redraw or enlarge."""
        if isinstance(request, UpscaleRequest):
            from safelight.backends.upscalers import upscaled

            return upscaled(request, on_step)
        return self._draw(request, on_step)

    def _model(self) -> TextToImageModel:
        if self._loaded is None:
            from safelight.backends.bundled.text_to_image_model import TextToImageModel

            self._loaded = TextToImageModel(self._folder)
        return self._loaded

    def _draw(self, request: DrawingRequest, on_step: StepCallback) -> Generation:
        from safelight.backends.bundled.drawing import Drawing

        if loras := split_loras(request.prompt)[1]:
            raise BackendError(
                f"the bundled model takes no LoRA; leave <lora:{loras[0].name}:…> out of the"
                " prompt, or draw with another engine"
            )
        model = self._model()
        drawing = Drawing(model, request)
        images = tuple(drawing.pictures(on_step))
        warnings = [
            *_word_warnings(drawing.prompt, model, ""),
            *_knob_warnings(request, drawing.knobs),
        ]
        if request.negative_prompt and drawing.knobs["cfg_scale"] == 1:
            warnings.append("the negative prompt has no effect at cfg_scale 1")
        else:
            warnings += _word_warnings(drawing.negative, model, "negative prompt: ")
        return Generation(images=images, warnings=tuple(warnings))


def _word_warnings(prompt: EncodedPrompt, model: TextToImageModel, where: str) -> list[str]:
    """Return a sentence for each word that had no effect."""
    import difflib  # only words without effect need it

    warnings = []
    for word in prompt.unknown[:10]:
        near = difflib.get_close_matches(word, model.vocabulary, n=1, cutoff=0.75)
        nearest = f"; nearest: {near[0]}" if near else ""
        warnings.append(f"{where}{word!r} is not in the bundled model's vocabulary{nearest}")
    if len(prompt.unknown) > 10:
        more = len(prompt.unknown) - 10
        warnings.append(f"{where}{more:,} more words are not in the bundled model's vocabulary")
    if prompt.left_out:
        warnings.append(
            f"{where}too long for the bundled model: {prompt.left_out:,} words had no effect"
        )
    return warnings


def _knob_warnings(request: DrawingRequest, effective: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each knob that was stated and had no effect."""
    return [
        f"{effective['sampler'] if knob == 'eta' else 'the bundled model'} has no {knob};"
        " it had no effect"
        for knob in unused_knobs(request, (*effective, "mask"))
    ]
