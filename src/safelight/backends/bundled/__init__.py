"""BundledBackend: a real, tiny text-to-image diffusion model in the wheel.

Offline, without a GPU, well under a second a picture. It draws emoji-like pictures of the
things whose words it knows, at one size; every knob it takes truly acts.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safelight import __version__
from safelight.backends.input_picture import input_picture
from safelight.errors import BackendError
from safelight.pipeline.backend import (
    BackendDescription,
    DrawingRequest,
    GeneratedImage,
    Generation,
    ImageRequest,
    Img2ImgRequest,
    StepCallback,
    UpscaleRequest,
)
from safelight.pipeline.images import encode_png
from safelight.sampler_names import name_hint

if TYPE_CHECKING:
    from safelight.backends.bundled.text_to_image_model import EncodedPrompt, TextToImageModel

__all__ = ["MODEL_FOLDER", "BundledBackend"]

MODEL_FOLDER = Path(__file__).parent / "model"
"""Where the model of the wheel is."""

_SAMPLER, _SCHEDULER, _STEPS, _CFG_SCALE, _DENOISING = "DPM++ 2M", "Karras", 20, 3.0, 0.75
_MOST_STEPS = 1000
_UPSCALERS = ("Lanczos", "Bicubic", "Nearest")


class BundledBackend:
    """The model in the box.

    Args:
        model_dir: Another folder with ``model.json``, ``text.onnx`` and ``unet.onnx``.
    """

    name = "bundled"

    def __init__(self, *, model_dir: Path | str | None = None) -> None:
        self._folder = Path(model_dir) if model_dir is not None else MODEL_FOLDER
        self._loaded: TextToImageModel | None = None

    def describe(self) -> BackendDescription:
        """Return versions, device, and the hash of the model's files."""
        import numpy
        import onnxruntime

        environment: dict[str, Any] = {
            "device": "cpu",
            "numpy": numpy.__version__,
            "onnxruntime": onnxruntime.__version__,
            "model_sha256": self._model().sha256,
        }
        return BackendDescription(name=self.name, version=__version__, environment=environment)

    def choices(self) -> Mapping[str, Sequence[str]]:
        """Return the samplers, schedulers, upscalers and the model that it has."""
        from safelight.backends.bundled.model_facts import model_facts
        from safelight.backends.bundled.samplers import SAMPLERS
        from safelight.backends.bundled.schedules import SCHEDULES

        return {
            "model": (model_facts(self._folder)["name"],),
            "sampler": tuple(SAMPLERS),
            "scheduler": tuple(SCHEDULES),
            "upscaler": _UPSCALERS,
        }

    def words(self) -> Sequence[str]:
        """Return the words that the model understands, sorted."""
        from safelight.backends.bundled.model_facts import model_facts

        return sorted(word for word in model_facts(self._folder)["vocabulary"] if word.isalnum())

    def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
        """Draw, redraw or enlarge."""
        if isinstance(request, UpscaleRequest):
            return _upscaled(request, on_step)
        return self._draw(request, on_step)

    def _model(self) -> TextToImageModel:
        if self._loaded is None:
            from safelight.backends.bundled.text_to_image_model import TextToImageModel

            self._loaded = TextToImageModel(self._folder)
        return self._loaded

    def _draw(self, request: DrawingRequest, on_step: StepCallback) -> Generation:
        import numpy as np

        from safelight.backends.bundled.samplers import SAMPLERS, Walk
        from safelight.backends.bundled.schedules import SCHEDULES

        model = self._model()
        _one_of("model", request.model, (model.name,))
        sampler_name = _one_of("sampler", request.sampler, SAMPLERS) or _SAMPLER
        scheduler_name = _one_of("scheduler", request.scheduler, SCHEDULES) or _SCHEDULER
        self._check_size(request, model)
        steps = _STEPS if request.steps is None else request.steps
        if not 1 <= steps <= _MOST_STEPS:
            raise BackendError(f"steps must be an integer from 1 to {_MOST_STEPS}, got {steps}")
        if not 0 <= request.seed < 2**64:
            raise BackendError(f"seed must lie in 0 to 2**64 - 1, got {request.seed}")
        cfg_scale = _CFG_SCALE if request.cfg_scale is None else request.cfg_scale
        if not np.isfinite(cfg_scale):
            raise BackendError(f"cfg_scale must be a finite number, got {cfg_scale}")
        sampler = SAMPLERS[sampler_name]
        eta = sampler.eta if request.eta is None or sampler.eta is None else request.eta
        prompt, negative = model.encode(request.prompt), model.encode(request.negative_prompt)
        chance = np.random.Generator(np.random.PCG64(request.seed))
        shape = (1, 3, model.image_size, model.image_size)
        sigmas = SCHEDULES[scheduler_name](steps, model.sigma_min, model.sigma_max)
        start = np.zeros(shape, np.float32)
        effective: dict[str, Any] = {
            "prompt": request.prompt,
            "negative_prompt": request.negative_prompt,
            "model": model.name,
            "sampler": sampler_name,
            "scheduler": scheduler_name,
            "steps": steps,
            "cfg_scale": cfg_scale,
            "seed": request.seed,
            "width": model.image_size,
            "height": model.image_size,
        }
        if eta is not None:
            effective["eta"] = eta
        if isinstance(request, Img2ImgRequest):
            given = request.denoising_strength
            strength = _DENOISING if given is None else given
            effective["denoising_strength"] = strength
            start = model.from_pixels(_pixels(request.init_image, model.image_size))
            sigmas = sigmas[_first_level(strength, steps) :]
        x = start + chance.standard_normal(shape, np.float32) * sigmas[0]

        def report(step: int, denoised: Any) -> None:
            on_step(step, max(len(sigmas) - 1, 1), encode_png(model.to_pixels(denoised)))

        if len(sigmas) > 1:
            walk = Walk(
                denoise=model.denoiser(prompt, negative, cfg_scale),
                sigmas=sigmas,
                noise=lambda: chance.standard_normal(shape, np.float32),
                eta=eta or 0.0,
                on_step=report,
            )
            x = sampler.run(walk, x)
        else:
            report(1, start)
        image = GeneratedImage(png=encode_png(model.to_pixels(x)), effective=effective)
        warnings = [*_word_warnings(prompt, model, ""), *_knob_warnings(request, effective)]
        if request.negative_prompt and cfg_scale == 1:
            warnings.append("the negative prompt has no effect at cfg_scale 1")
        else:
            warnings += _word_warnings(negative, model, "negative prompt: ")
        return Generation(images=(image,), warnings=tuple(warnings))

    def _check_size(self, request: DrawingRequest, model: TextToImageModel) -> None:
        for side, pixels in (("width", request.width), ("height", request.height)):
            if pixels is not None and pixels != model.image_size:
                raise BackendError(
                    f"{side} must be {model.image_size} px for the bundled model, got {pixels};"
                    " leave it out, and enlarge with an [upscale] stage"
                )


def _first_level(strength: float, steps: int) -> int:
    """Return where in a schedule of *steps* redrawing begins, as AUTOMATIC1111 counts.

    Source: ``setup_img2img_steps`` and ``sample_img2img`` of AUTOMATIC1111 1.10, except that
    strength 0 is no step at all.
    """
    return steps if strength == 0 else steps - 1 - int(min(strength, 0.999) * steps)


def _one_of(knob: str, value: str | None, known: Sequence[str] | Mapping[str, Any]) -> str | None:
    if value is not None and value not in known:
        hint = name_hint(knob, value, known)
        raise BackendError(f"the bundled model has no {knob} {value!r}{hint}")
    return value


def _word_warnings(prompt: EncodedPrompt, model: TextToImageModel, where: str) -> list[str]:
    """Return a sentence for each word that had no effect."""
    found = []
    for word in prompt.unknown[:10]:
        near = difflib.get_close_matches(word, model.vocabulary, n=1, cutoff=0.75)
        nearest = f"; nearest: {near[0]}" if near else ""
        found.append(f"{where}{word!r} is not in the bundled model's vocabulary{nearest}")
    if len(prompt.unknown) > 10:
        more = len(prompt.unknown) - 10
        found.append(f"{where}{more:,} more words are not in the bundled model's vocabulary")
    if prompt.left_out:
        found.append(
            f"{where}too long for the bundled model: {prompt.left_out:,} words had no effect"
        )
    return found


def _knob_warnings(request: DrawingRequest, effective: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each knob that was stated and had no effect."""
    found = [
        f"the bundled model has no {knob}; it had no effect"
        for knob in ("vae", "clip_skip")
        if getattr(request, knob) is not None
    ]
    if request.eta is not None and "eta" not in effective:
        found.append(f"{effective['sampler']} has no eta; it had no effect")
    if request.extra:
        found.append(f"the bundled model ignores extra knobs: {', '.join(request.extra)}")
    return found


def _pixels(data: bytes, side: int) -> Any:
    import numpy as np
    from PIL import Image

    picture = input_picture(data)
    if picture.size != (side, side):
        picture = picture.resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def _upscaled(request: UpscaleRequest, on_step: StepCallback) -> Generation:
    import numpy as np
    from PIL import Image

    upscaler = _one_of("upscaler", request.upscaler, _UPSCALERS) or "Lanczos"
    scale = 4 if request.scale is None else request.scale
    picture = input_picture(request.init_image)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    resized = picture.resize(size, Image.Resampling[upscaler.upper()])
    on_step(1, 1)
    effective = {"upscaler": upscaler, "scale": scale}
    image = GeneratedImage(png=encode_png(np.asarray(resized)), effective=effective)
    return Generation(images=(image,))
