"""FakeBackend: no model, the same little picture for the same request, in milliseconds.

For tests, documentation and rehearsals. Every picture says that it is fake, and shows prompt,
seed and knobs: its colours come from the prompt, its discs from the seed.
"""

from __future__ import annotations

import colorsys
import hashlib
import io
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from safelight.backends import OptionKind
from safelight.backends.input_picture import input_picture
from safelight.errors import BackendError, BackendUnavailable
from safelight.knobs import KNOBS
from safelight.pipeline.backend import (
    BackendDescription,
    EngineSetup,
    GeneratedImage,
    Generation,
    ImageRequest,
    Img2ImgRequest,
    Named,
    StepCallback,
    Txt2ImgRequest,
    UpscaleRequest,
    requested_knobs,
)
from safelight.sampler_names import SAMPLERS, SCHEDULERS
from safelight.version import __version__

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

__all__ = ["FakeBackend"]

_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "model": "fake",
        "sampler": "Euler",
        "scheduler": "Normal",
        "steps": 20,
        "cfg_scale": 7,
    }
)
_SIDE = 512
_UPSCALERS = ("Lanczos", "Nearest")


def _others(knobs: Mapping[str, Any]) -> list[Any]:
    """Return the values of knobs that requests have no field for; they colour the bars."""
    own = {field.name for kind in (Txt2ImgRequest, Img2ImgRequest) for field in fields(kind)}
    return [knobs[name] for name in KNOBS if name in knobs and name not in own]


class FakeBackend:
    """Draws labelled stand-ins; every option is for rehearsing what real engines do.

    Args:
        seconds_per_step: Sleeps this long in every step.
        fail_on: A prompt that contains one of these texts is refused.
        unavailable_on: A prompt that contains one of these texts finds no engine.
        substitute: Knob -> the value that is used and reported instead of what was asked.
    """

    name = "fake"
    option_kinds: ClassVar[Mapping[str, OptionKind]] = {
        "seconds_per_step": "plain", "fail_on": "plain", "unavailable_on": "plain",
        "substitute": "plain",
    }  # fmt: skip

    def __init__(
        self,
        *,
        seconds_per_step: float = 0.0,
        fail_on: Sequence[str] = (),
        unavailable_on: Sequence[str] = (),
        substitute: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        if isinstance(seconds_per_step, bool) or not isinstance(seconds_per_step, (int, float)):
            raise BackendError(f"seconds_per_step must be a number, got {seconds_per_step!r}")
        if not 0 <= seconds_per_step < 3600:
            raise BackendError(f"seconds_per_step must lie in 0 to 3600, got {seconds_per_step!r}")
        self._seconds_per_step = seconds_per_step
        self._fail_on = (fail_on,) if isinstance(fail_on, str) else tuple(fail_on)
        gone = unavailable_on
        self._unavailable_on = (gone,) if isinstance(gone, str) else tuple(gone)
        self._substitute = dict(substitute)

    def describe(self) -> BackendDescription:
        """Return the engine's name and version."""
        return BackendDescription(name=self.name, version=__version__)

    def setup(self, named: Named) -> EngineSetup:
        """Return what it substitutes; all else that shapes its pictures are knobs."""
        del named  # it has no files
        facts = {"substitute": dict(self._substitute)} if self._substitute else {}
        return EngineSetup(facts=facts)

    def choices(self) -> Mapping[str, Sequence[str]]:
        """Return every sampler and scheduler of the table: it pretends to have them all."""
        return {
            "sampler": tuple(SAMPLERS),
            "scheduler": tuple(SCHEDULERS),
            "upscaler": _UPSCALERS,
            "hires_upscaler": _UPSCALERS,
        }

    def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
        """Draw the stand-in for *request*."""
        self._rehearse_trouble(request)
        if isinstance(request, UpscaleRequest):
            return self._upscale(request, on_step)
        asked = requested_knobs(request)
        swapped = {k: v for k, v in self._substitute.items() if k in _DEFAULTS or k in asked}
        knobs = {**_DEFAULTS, **asked, **swapped}
        given = input_picture(request.init_image) if isinstance(request, Img2ImgRequest) else None
        knobs.setdefault("width", given.width if given else _SIDE)
        knobs.setdefault("height", given.height if given else _SIDE)
        extra = knobs.pop("extra", {})
        warnings = (f"the fake engine ignores extra knobs: {', '.join(extra)}",) if extra else ()
        if given is not None:
            knobs.setdefault("denoising_strength", 0.75)
        elif "hires_scale" in knobs:
            knobs = {"hires_denoising_strength": 0.7, "hires_upscaler": "Lanczos", **knobs}
        for step in range(1, knobs["steps"] + 1):
            time.sleep(self._seconds_per_step)
            on_step(step, knobs["steps"])
        images = []
        for number in range(knobs.get("batch_size", 1)):
            own = {**knobs, "seed": knobs["seed"] + number}
            picture = _picture(own)
            if isinstance(request, Img2ImgRequest) and given is not None:
                picture = _redrawn(given, picture, request.mask, own)
            images.append(GeneratedImage(png=_encoded(picture), effective=own))
        return Generation(images=tuple(images), warnings=warnings)

    def _upscale(self, request: UpscaleRequest, on_step: StepCallback) -> Generation:
        from PIL import Image

        knobs = {"upscaler": "Lanczos", "scale": 2, **requested_knobs(request), **self._substitute}
        if knobs["upscaler"] not in _UPSCALERS:
            raise BackendError(
                f"upscaler must be one of {', '.join(_UPSCALERS)}, got {knobs['upscaler']!r}"
            )
        picture = input_picture(request.init_image)
        size = tuple(max(1, round(side * knobs["scale"])) for side in picture.size)
        lanczos = knobs["upscaler"] == "Lanczos"
        how = Image.Resampling.LANCZOS if lanczos else Image.Resampling.NEAREST
        time.sleep(self._seconds_per_step)
        on_step(1, 1)
        effective = {name: knobs[name] for name in ("upscaler", "scale")}
        png = _encoded(picture.resize((size[0], size[1]), how))
        return Generation(images=(GeneratedImage(png=png, effective=effective),))

    def _rehearse_trouble(self, request: ImageRequest) -> None:
        prompt = getattr(request, "prompt", "")
        for text in self._unavailable_on:
            if text in prompt:
                raise BackendUnavailable(f"the fake engine does not answer to {text!r}, as asked")
        for text in self._fail_on:
            if text in prompt:
                raise BackendError(f"the fake engine refuses prompts with {text!r}, as asked")
        steps = getattr(request, "steps", None)
        if steps is not None and steps < 1:
            raise BackendError(f"steps must be at least 1, got {steps}")
        for knob, table in (("sampler", SAMPLERS), ("scheduler", SCHEDULERS)):
            value = getattr(request, knob, None)
            if value is not None and value not in table:
                raise BackendError(f"{knob} must be one of {', '.join(table)}, got {value!r}")


def _encoded(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _bytes(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode("utf-8", "backslashreplace")).digest()


def _picture(knobs: Mapping[str, Any]) -> Image.Image:
    from PIL import Image, ImageDraw

    grown = knobs.get("hires_scale", 1)
    width, height = round(knobs["width"] * grown), round(knobs["height"] * grown)
    prompt_bytes = _bytes(knobs.get("prompt", ""), knobs.get("negative_prompt", ""))
    hue = prompt_bytes[0] / 256
    picture = Image.new("RGB", (width, height), _colour(hue, 0.30, 0.96))
    draw = ImageDraw.Draw(picture)
    knobs = {**knobs, "width": width, "height": height}
    _draw_discs(draw, knobs, hue)
    if min(width, height) >= 128:
        _draw_texts(draw, knobs, hue)
    _draw_knob_bars(draw, knobs, hue)
    return picture


def _redrawn(
    given: Image.Image, drawn: Image.Image, mask: bytes | None, knobs: Mapping[str, Any]
) -> Image.Image:
    from PIL import Image

    before = given.resize(drawn.size)
    after = Image.blend(before, drawn, knobs["denoising_strength"])
    if mask is None:
        return after
    return Image.composite(after, before, input_picture(mask).convert("L").resize(drawn.size))


def _colour(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _draw_discs(draw: ImageDraw.ImageDraw, knobs: Mapping[str, Any], hue: float) -> None:
    """Scatter discs by seed, in shades of the prompt's colour."""
    width, height = knobs["width"], knobs["height"]
    side = min(width, height)
    for number in range(7):
        chance = _bytes(knobs.get("seed"), number)
        x, y = chance[0] / 255 * width, (0.15 + 0.6 * chance[1] / 255) * height
        radius = side * (0.06 + 0.12 * chance[2] / 255)
        fill = _colour(hue + 0.04 + chance[3] / 255 * 0.2, 0.45, 0.88)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def _draw_knob_bars(draw: ImageDraw.ImageDraw, knobs: Mapping[str, Any], hue: float) -> None:
    """Show steps and cfg_scale as the lengths of two bars at the foot of the picture."""
    width, height = knobs["width"], knobs["height"]
    thick = max(2, height // 64)
    models = (knobs.get(name) for name in ("sampler", "scheduler", "model"))
    mark = _bytes(*models, *_others(knobs))
    shares = (min(1.0, knobs["steps"] / 50), min(1.0, float(knobs["cfg_scale"]) / 20))
    for row, share in enumerate(shares):
        top = height - (2 - row) * thick - row
        fill = _colour(hue + 0.5 + mark[row] / 1024, 0.6, 0.55)
        draw.rectangle((0, top, max(1, share * (width - 1)), top + thick - 1), fill=fill)


def _draw_texts(draw: ImageDraw.ImageDraw, knobs: Mapping[str, Any], hue: float) -> None:
    from PIL import ImageFont

    width, height = knobs["width"], knobs["height"]
    side = min(width, height)
    small, large = ImageFont.load_default(max(10, side // 24)), ImageFont.load_default(side // 6)
    ink = _colour(hue + 0.5, 0.55, 0.25)
    middle = (width / 2, height * 0.52)
    draw.text(middle, "FAKE", fill="white", font=large, anchor="mm", stroke_width=side // 90)
    draw.text(middle, "FAKE", fill=_colour(hue, 0.7, 0.6), font=large, anchor="mm")
    columns = max(12, int(width / (small.getlength("n") * 1.02)) - 2)
    lines = textwrap.wrap(str(knobs.get("prompt", ""))[:400], columns)[:4]
    line_height = int(small.size * 1.3) if hasattr(small, "size") else 14
    for number, line in enumerate(lines):
        draw.text((line_height // 2, line_height * (0.4 + number)), line, fill=ink, font=small)
    parts = [
        f"steps {knobs['steps']}",
        f"cfg {knobs['cfg_scale']}",
        str(knobs["sampler"]),
        str(knobs["scheduler"]),
        f"seed {knobs.get('seed', 0)}",
    ]
    foot = textwrap.wrap(" · ".join(parts), columns)[:3]
    for number, line in enumerate(reversed(foot)):
        y = height - max(4, height // 20) - line_height * (number + 1)
        draw.text((line_height // 2, y), line, fill=ink, font=small)
