"""Knob names, their rules, and the primary knobs of a config.

One table, :data:`KNOBS`, is the only place that says which knobs exist: the config check, the JSON
Schema, sweeps, requests, records, the columns of archives, imports, evidence, comparisons and the
texts in pictures are all derived from it. Names are the field's; what samplers and schedulers are
called is in :mod:`safelight.sampler_names`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = [
    "COMPARED",
    "EXTRA",
    "FILE_KNOBS",
    "INHERITED_BY_IMG2IMG",
    "KNOBS",
    "PLAIN_NUMBER",
    "STAGES",
    "Knob",
    "KnobKind",
    "PrimaryKnobs",
    "Stage",
    "TextMeaning",
    "did_you_mean",
    "knob_fault",
    "knob_of_extra",
    "knobs_and_extras",
    "loose_name",
    "primary_knobs",
    "reading_rules",
]

Stage = Literal["txt2img", "img2img", "upscale"]
STAGES: tuple[Stage, ...] = ("txt2img", "img2img", "upscale")
"""The stages in the order in which they run."""

KnobKind = Literal["text", "integer", "number"]
TextMeaning = Literal["words", "name", "file"]
"""What a text is: anything, the engine's name of something, or a file of this machine."""

MAX_SEED = 2**64 - 1
"""ComfyUI's limit, the widest in the field; drawn seeds stay under 2**32, A1111's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """One setting and its rule.

    Attributes:
        name: The field's name for it.
        kind: ``text``, ``integer`` or ``number`` (an integer is a number, too).
        stages: The stages that have it.
        summary: What it does, with its unit.
        minimum: Lowest value allowed.
        maximum: Highest value allowed.
        above: The value must be greater than this.
        multiple_of: The value must be a multiple of this.
        needs: The knob without which it means nothing.
        infotext: Its key in the ``parameters`` text of pictures, A1111's; empty when it has none.
        means: What its text is, said of every text: the content of a picture ``file`` counts,
            not its name, and who writes a config on a page may not name every file.
        has_column: Whether archives have a column of it.
        is_compared: Whether evidence, comparisons and what to rate look at it.
        is_inherited: Whether img2img takes it from txt2img when it does not state its own.
        aliases: Names under which tools and engines put it among their own settings (``extra``),
            compared without case.
    """

    name: str
    kind: KnobKind
    stages: tuple[Stage, ...]
    summary: str
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    multiple_of: int | None = None
    needs: str | None = None
    infotext: str = ""
    means: TextMeaning | None = None
    has_column: bool = True
    is_compared: bool = True
    is_inherited: bool = False
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.kind == "text") != (self.means is not None):
            raise ValueError(f"{self.name}: every text says what it means, and no number does")

    @property
    def rule(self) -> str:
        """The rule in words: ``an integer from 1 to 10000``."""
        noun = {"text": "text", "integer": "an integer", "number": "a number"}[self.kind]
        if self.multiple_of:
            noun = f"an integer multiple of {self.multiple_of}"
        lower = f"above {self.above:g}" if self.above is not None else ""
        if self.minimum is not None and self.maximum is not None:
            return f"{noun} from {_plain(self.minimum)} to {_plain(self.maximum)}"
        if self.maximum is not None:
            return f"{noun} {lower}, at most {_plain(self.maximum)}".replace(" ,", ",")
        return f"{noun} {lower}".strip()


def _plain(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:g}"


PROMPT_KNOBS = ("prompt", "negative_prompt")
"""Knobs that may be lists, which go together one by one."""

_DRAWING: tuple[Stage, ...] = ("txt2img", "img2img")
_LAST_TWO: tuple[Stage, ...] = ("img2img", "upscale")
_FIRST: tuple[Stage, ...] = ("txt2img",)

_KNOBS = (
    Knob(
        name="prompt", kind="text", means="words", stages=_DRAWING, is_inherited=True,
        summary="What to show.",
    ),
    Knob(
        name="negative_prompt", kind="text", means="words", stages=_DRAWING, is_inherited=True,
        summary="What not to show.",
    ),
    Knob(
        name="model", kind="text", stages=_DRAWING, infotext="Model", is_inherited=True,
        means="name", summary="Checkpoint, as the engine names it.",
    ),
    Knob(
        name="vae", kind="text", means="name", stages=_DRAWING, infotext="VAE", is_inherited=True,
        summary="VAE, as the engine names it.",
    ),
    Knob(
        name="sampler", kind="text", stages=_DRAWING, infotext="Sampler", is_inherited=True,
        means="name", summary="Sampler, A1111 spelling.",
    ),
    Knob(
        name="scheduler", kind="text", stages=_DRAWING, infotext="Schedule type", is_inherited=True,
        means="name", summary="Schedule type, A1111 spelling.",
    ),
    Knob(
        name="steps", kind="integer", stages=_DRAWING, minimum=1, maximum=10_000,
        infotext="Steps", is_inherited=True, summary="Denoising steps.",
    ),
    Knob(
        name="cfg_scale", kind="number", stages=_DRAWING, minimum=0, maximum=1000,
        infotext="CFG scale", is_inherited=True,
        summary="Classifier-free guidance weight; 1 means no guidance.",
    ),
    Knob(
        name="eta", kind="number", stages=_DRAWING, minimum=0, maximum=1,
        infotext="Eta", is_inherited=True, aliases=("Eta",),
        summary="Noise put back at each step by samplers that can (DDIM, ancestral).",
    ),
    Knob(
        name="guidance", kind="number", stages=_DRAWING, minimum=0, maximum=1000,
        infotext="Distilled CFG Scale", is_inherited=True,
        aliases=(
            "guidance", "Distilled CFG Scale", "distilled_cfg_scale", "fluxguidancescale",
            "guidance_embed",
        ),
        summary="Distilled guidance that models such as FLUX.1 were trained with; not cfg_scale.",
    ),
    Knob(
        name="cfg_rescale", kind="number", stages=_DRAWING, minimum=0, maximum=1,
        infotext="CFG rescale", is_inherited=True,
        aliases=("CFG rescale", "cfg_rescale", "cfg_rescale_multiplier", "guidance_rescale"),
        summary="How far guidance is scaled back to the contrast without it, 0 to 1.",
    ),
    Knob(
        name="shift", kind="number", stages=_DRAWING, minimum=0, maximum=1000,
        infotext="Shift", is_inherited=True,
        aliases=("Shift", "Sampler shift", "sigmashift"),
        summary="Timestep shift of flow models; higher spends more steps where noise is strong.",
    ),
    Knob(
        name="sigmas", kind="text", stages=_DRAWING, infotext="Sigmas", is_inherited=True,
        means="words", aliases=("sigmas",),
        summary="Noise levels from high to low, comma-separated; instead of scheduler and steps.",
    ),
    Knob(
        name="text_encoders", kind="text", stages=_DRAWING, infotext="TE", is_inherited=True,
        means="name", aliases=("TE", "text_encoders"),
        summary="Text encoders, as the engine names them, comma-separated.",
    ),
    Knob(
        name="weight_dtype", kind="text", means="name", stages=_DRAWING,
        infotext="Diffusion in Low Bits", is_inherited=True,
        aliases=("Diffusion in Low Bits", "weight_dtype"),
        summary="Number format that the model's weights are held in, as the engine names it.",
    ),
    Knob(
        name="cache", kind="text", stages=_DRAWING, infotext="Cache", is_inherited=True,
        means="words", aliases=("Cache",),
        summary="What skips steps that change little, and its threshold, such as TeaCache 0.4.",
    ),
    Knob(
        name="seed", kind="integer", stages=_DRAWING, minimum=-1, maximum=MAX_SEED,
        infotext="Seed", is_inherited=True,
        summary="Seed of the starting noise; -1 is drawn once, when the plan is made.",
    ),
    Knob(
        name="width", kind="integer", stages=_DRAWING, minimum=8, maximum=16_384, multiple_of=8,
        summary="Image width in pixels.",
    ),
    Knob(
        name="height", kind="integer", stages=_DRAWING, minimum=8, maximum=16_384, multiple_of=8,
        summary="Image height in pixels.",
    ),
    Knob(
        name="clip_skip", kind="integer", stages=_DRAWING, minimum=1, maximum=12,
        infotext="Clip skip", is_inherited=True,
        summary="Text-encoder layers to stop before the end; 1 uses all.",
    ),
    Knob(
        name="batch_size", kind="integer", stages=_DRAWING, minimum=1, maximum=64,
        has_column=False, is_compared=False,
        summary="Pictures drawn together, with the seeds seed, seed + 1, and so on.",
    ),
    Knob(
        name="denoising_strength", kind="number", stages=("img2img",), minimum=0, maximum=1,
        infotext="Denoising strength",
        summary="How much of the input is redrawn: 0 keeps it, 1 replaces it.",
    ),
    Knob(
        name="hires_scale", kind="number", stages=_FIRST, above=1, maximum=8,
        infotext="Hires upscale",
        summary="Hires fix: factor by which both sides grow before the picture is redrawn.",
    ),
    Knob(
        name="hires_upscaler", kind="text", means="name", stages=_FIRST,
        needs="hires_scale",
        infotext="Hires upscaler", summary="Hires fix: what enlarges, A1111 spelling.",
    ),
    Knob(
        name="hires_steps", kind="integer", stages=_FIRST, minimum=1, maximum=10_000,
        needs="hires_scale",
        infotext="Hires steps",
        summary="Hires fix: steps of the second pass; left out, as many as steps.",
    ),
    Knob(
        name="hires_denoising_strength", kind="number", stages=_FIRST, minimum=0, maximum=1,
        needs="hires_scale",
        summary="Hires fix: how much of the enlarged picture is redrawn.",
    ),
    Knob(
        name="init_image", kind="text", stages=_LAST_TWO,
        means="file", has_column=False, is_compared=False,
        summary="Input image file, when no earlier stage makes one.",
    ),
    Knob(
        name="mask", kind="text", stages=("img2img",),
        means="file", has_column=False, is_compared=False,
        summary="Image file as large as the input: white is redrawn, black is kept.",
    ),
    Knob(
        name="mask_blur", kind="integer", stages=("img2img",), minimum=0, maximum=64,
        needs="mask",
        infotext="Mask blur", summary="How far the mask's edge is softened, in pixels.",
    ),
    Knob(
        name="upscaler", kind="text", means="name", stages=("upscale",),
        summary="Upscaler, A1111 spelling.",
    ),
    Knob(
        name="scale", kind="number", stages=("upscale",), above=0, maximum=16,
        summary="Factor by which both sides grow.",
    ),
)  # fmt: skip

KNOBS: Mapping[str, Knob] = {knob.name: knob for knob in _KNOBS}
"""Every knob by name."""

INHERITED_BY_IMG2IMG = tuple(knob.name for knob in _KNOBS if knob.is_inherited)
"""Knobs that img2img takes from txt2img when it does not state its own."""

FILE_KNOBS = tuple(knob.name for knob in _KNOBS if knob.means == "file")
"""Knobs that name a picture file."""

COMPARED = tuple(knob.name for knob in _KNOBS if knob.is_compared and knob.has_column)
"""Knobs that evidence, comparisons and what to rate look at."""

_ALIASES: Mapping[str, Knob] = {alias.lower(): knob for knob in _KNOBS for alias in knob.aliases}
EXTRA = "extra."
"""What names of settings begin with that no knob stands for."""

PLAIN_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
"""A text that is a number, whoever wrote it."""

_LONGEST_NUMBER = 64


def reading_rules() -> str:
    """Return by which rules :func:`knobs_and_extras` reads, for whoever keeps what it returned."""
    return repr(sorted(
        (alias, knob.name, knob.rule) for alias, knob in _ALIASES.items()
    ))  # fmt: skip


def knob_of_extra(name: str) -> str | None:
    """Return the knob that stands for an extra of that name; None where none does."""
    knob = _ALIASES.get(name.lower())
    return None if knob is None else knob.name


def knobs_and_extras(knobs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what one stage's recorded knobs amount to, and the extras that no knob stands for.

    Pictures and records of before a knob was in the table hold it among the engine's own settings;
    read here, they can be compared with those of after. An extra whose value breaks the rule of
    its knob, or whose knob is stated already, stays an extra: nothing is lost, nothing overruled.

    Args:
        knobs: As records have it; ``extra`` may be anything, and so may the whole.

    Returns:
        Knob -> value, of this module's table only (``enabled``, ``loras`` and names that are no
        knobs are left out), and name -> value of the extras that remain.
    """
    recorded: Any = knobs
    if not isinstance(recorded, Mapping):
        return {}, {}
    own = {name: value for name, value in recorded.items() if name in KNOBS}
    extra = recorded.get("extra")
    if not extra or not isinstance(extra, Mapping):
        return own, {}
    rest: dict[str, Any] = {}
    for name, value in extra.items():
        knob = _ALIASES.get(name.lower()) if isinstance(name, str) else None
        if knob is not None and own.get(knob.name) is None:
            fitting = _of_kind(knob, value)
            if fitting is not None:
                own[knob.name] = fitting
                continue
        rest[name] = value
    return own, rest


def _of_kind(knob: Knob, value: object) -> Any:
    """Return *value* as the knob has it, numbers also from their text; None when it cannot be."""
    if knob.kind != "text" and isinstance(value, str):
        text = value.strip()
        if len(text) > _LONGEST_NUMBER or not PLAIN_NUMBER.fullmatch(text):
            return None
        number = float(text)
        is_whole = number.is_integer() and abs(number) < 2**53
        value = int(text) if text.isdigit() else int(number) if is_whole else number
    if value == "" or knob_fault(knob, value) is not None:
        return None
    return value


def knob_fault(knob: Knob, value: object) -> str | None:
    """Return why *value* breaks the rule of *knob*, or None when it does not.

    Nothing is coerced: ``"20 "`` is not 20, 20.0 is not an integer, True is not 1.
    """
    wanted: dict[KnobKind, tuple[type, ...]] = {
        "text": (str,),
        "integer": (int,),
        "number": (int, float),
    }
    right_type = isinstance(value, wanted[knob.kind]) and not isinstance(value, bool)
    if not right_type or (isinstance(value, float) and value != value):
        return f"must be {knob.rule}, got {value!r}"
    if isinstance(value, str):
        return None
    assert isinstance(value, (int, float))
    too_low = knob.minimum is not None and value < knob.minimum
    too_high = knob.maximum is not None and value > knob.maximum
    not_above = knob.above is not None and value <= knob.above
    uneven = knob.multiple_of is not None and value % knob.multiple_of != 0
    if too_low or too_high or not_above or uneven:
        return f"must be {knob.rule}, got {value!r}"
    return None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'steps'?"``, or an empty text when nothing is near."""
    lower = {candidate.lower(): candidate for candidate in known}
    import difflib  # only what is misspelt needs it

    near = difflib.get_close_matches(name.lower(), list(lower), n=3, cutoff=0.6)
    if not near:
        return ""
    return "; did you mean " + " or ".join(repr(lower[match]) for match in near) + "?"


def loose_name(name: str) -> str:
    """Return *name* without case, blanks, ``-`` and ``_``, in which it may be written otherwise."""
    return re.sub(r"[\s_-]", "", name).lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class PrimaryKnobs:
    """The knobs that people ask for first, taken from the stage that draws.

    Attributes:
        model: Checkpoint, or empty when not stated.
        sampler: Sampler, or empty when not stated.
        scheduler: Schedule type, or empty when not stated.
        steps: Denoising steps, or 0 when not stated.
        cfg_scale: Guidance weight, or 0.0 when not stated.
    """

    model: str = ""
    sampler: str = ""
    scheduler: str = ""
    steps: int = 0
    cfg_scale: float = 0.0


def primary_knobs(configs: Sequence[Mapping[str, Any]]) -> PrimaryKnobs:
    """Return the primary knobs of the first of *configs* that states each.

    Args:
        configs: Stage -> knobs mappings, the most truthful first (effective, then requested).

    Values of another type than the knob's are passed over: a record never fails on them.
    """
    values: dict[str, Any] = {}
    for config in configs:
        for stage in STAGES:
            knobs = config.get(stage)
            if not isinstance(knobs, Mapping):
                continue
            for name in ("model", "sampler", "scheduler", "steps", "cfg_scale"):
                value = knobs.get(name)
                if name not in values and value is not None and not _wrong_type(name, value):
                    values[name] = value
    return PrimaryKnobs(**values)


def _wrong_type(name: str, value: object) -> bool:
    kind = KNOBS[name].kind
    wanted = str if kind == "text" else int if kind == "integer" else (int, float)
    return isinstance(value, bool) or not isinstance(value, wanted)
