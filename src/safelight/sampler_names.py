"""What samplers and schedulers are called, engine by engine.

The canonical spelling is AUTOMATIC1111's. One table says what ComfyUI, diffusers and
stable-diffusion.cpp call the same thing, and where theirs is only nearly the same: an engine
that uses such a name says so in a warning, and the record keeps it.

Names were compared with the live lists of Forge 2.0.1, SD.Next 2026-07, ComfyUI 0.3.75 and
stable-diffusion.cpp (stable-diffusion-cpp-python 0.4.7); sigma sequences of ComfyUI and
diffusers 0.42.1 with each other, for 4, 10 and 20 steps of Stable Diffusion 1.5's betas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from safelight.knobs import did_you_mean

__all__ = [
    "SAMPLERS",
    "SCHEDULERS",
    "DiffusersScheduler",
    "SamplerName",
    "SchedulerName",
    "canonical_name",
    "name_hint",
]

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusersScheduler:
    """The diffusers class that samples as a canonical sampler does.

    Attributes:
        cls: Name of the class.
        options: What to construct it with.
    """

    cls: str
    options: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerName:
    """How one canonical sampler is called elsewhere; None where there is none.

    Attributes:
        comfyui: ComfyUI's ``sampler_name``.
        diffusers: The scheduler class of diffusers.
        sdcpp: stable-diffusion.cpp's name.
        scheduler: What ``Automatic`` means for it in AUTOMATIC1111.
        aliases: Other spellings seen in the wild, lower case.
        approximate: Engine -> why its sampler is only nearly the same.
    """

    comfyui: str | None = None
    diffusers: DiffusersScheduler | None = None
    sdcpp: str | None = None
    scheduler: str = "Uniform"
    aliases: tuple[str, ...] = ()
    approximate: Mapping[str, str] = field(default_factory=lambda: _EMPTY)


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerName:
    """How one canonical schedule type is called elsewhere; None where there is none.

    Attributes:
        comfyui: ComfyUI's ``scheduler``.
        diffusers: Options of the scheduler class; a class that lacks one cannot do it.
        sdcpp: stable-diffusion.cpp's name.
        aliases: Other spellings seen in the wild, lower case.
        approximate: Engine -> why its schedule is only nearly the same.
    """

    comfyui: str | None = None
    diffusers: Mapping[str, Any] | None = None
    sdcpp: str | None = None
    aliases: tuple[str, ...] = ()
    approximate: Mapping[str, str] = field(default_factory=lambda: _EMPTY)


def _multistep(algorithm: str, order: int, **options: Any) -> DiffusersScheduler:
    return DiffusersScheduler(
        cls="DPMSolverMultistepScheduler",
        options={"algorithm_type": algorithm, "solver_order": order, **options},
    )


def _scheduler(cls: str, **options: Any) -> DiffusersScheduler:
    return DiffusersScheduler(cls=cls, options=options)


_OTHER_NOISE = "its noise comes from another source, so pixels differ"

SAMPLERS: Mapping[str, SamplerName] = {
    "Euler": SamplerName(
        comfyui="euler", diffusers=_scheduler("EulerDiscreteScheduler"), sdcpp="euler",
        aliases=("k_euler",),
    ),
    "Euler a": SamplerName(
        comfyui="euler_ancestral", diffusers=_scheduler("EulerAncestralDiscreteScheduler"),
        sdcpp="euler_a", aliases=("k_euler_a", "euler_a", "k_euler_ancestral"),
    ),
    "Heun": SamplerName(
        comfyui="heun", diffusers=_scheduler("HeunDiscreteScheduler"), sdcpp="heun",
        aliases=("k_heun",),
    ),
    "HeunPP2": SamplerName(comfyui="heunpp2"),
    "LMS": SamplerName(
        comfyui="lms", diffusers=_scheduler("LMSDiscreteScheduler"), aliases=("k_lms",)
    ),
    "DPM2": SamplerName(
        comfyui="dpm_2", diffusers=_scheduler("KDPM2DiscreteScheduler"), sdcpp="dpm2",
        scheduler="Karras", aliases=("k_dpm_2",),
    ),
    "DPM2 a": SamplerName(
        comfyui="dpm_2_ancestral", diffusers=_scheduler("KDPM2AncestralDiscreteScheduler"),
        scheduler="Karras", aliases=("k_dpm_2_a",),
    ),
    "DPM++ 2S a": SamplerName(
        comfyui="dpmpp_2s_ancestral", diffusers=_scheduler("DPMSolverSinglestepScheduler"),
        sdcpp="dpm++2s_a", scheduler="Karras", aliases=("k_dpmpp_2s_a",),
        approximate={"diffusers": "DPMSolverSinglestepScheduler is not ancestral"},
    ),
    "DPM++ 2M": SamplerName(
        comfyui="dpmpp_2m", diffusers=_multistep("dpmsolver++", 2), sdcpp="dpm++2m",
        scheduler="Karras", aliases=("k_dpmpp_2m",),
    ),
    "DPM++ SDE": SamplerName(
        comfyui="dpmpp_sde", diffusers=_scheduler("DPMSolverSDEScheduler"),
        scheduler="Karras", aliases=("k_dpmpp_sde",),
    ),
    "DPM++ 2M SDE": SamplerName(
        comfyui="dpmpp_2m_sde", diffusers=_multistep("sde-dpmsolver++", 2),
        scheduler="Exponential", aliases=("k_dpmpp_2m_sde",),
        approximate={"diffusers": _OTHER_NOISE},
    ),
    "DPM++ 2M SDE Heun": SamplerName(
        comfyui="dpmpp_2m_sde_heun",
        diffusers=_multistep("sde-dpmsolver++", 2, solver_type="heun"),
        scheduler="Exponential", aliases=("k_dpmpp_2m_sde_heun",),
        approximate={"diffusers": _OTHER_NOISE},
    ),
    "DPM++ 3M SDE": SamplerName(
        comfyui="dpmpp_3m_sde", diffusers=_multistep("sde-dpmsolver++", 3),
        scheduler="Exponential", aliases=("k_dpmpp_3m_sde",),
        approximate={"diffusers": _OTHER_NOISE},
    ),
    "DPM fast": SamplerName(comfyui="dpm_fast", aliases=("k_dpm_fast",)),
    "DPM adaptive": SamplerName(comfyui="dpm_adaptive", aliases=("k_dpm_ad",)),
    "DDIM": SamplerName(
        comfyui="ddim", diffusers=_scheduler("DDIMScheduler"), sdcpp="ddim_trailing",
        approximate={"sdcpp": "its DDIM always spaces steps trailing"},
    ),
    "DDIM CFG++": SamplerName(aliases=("ddim_cfgpp",)),
    "UniPC": SamplerName(
        comfyui="uni_pc", diffusers=_scheduler("UniPCMultistepScheduler"),
        approximate={"diffusers": "its solver is of type bh2, ComfyUI's uni_pc_bh2"},
    ),
    "LCM": SamplerName(
        comfyui="lcm", diffusers=_scheduler("LCMScheduler"), sdcpp="lcm", aliases=("k_lcm",)
    ),
    "PLMS": SamplerName(diffusers=_scheduler("PNDMScheduler", skip_prk_steps=True)),
    "DDPM": SamplerName(comfyui="ddpm", diffusers=_scheduler("DDPMScheduler")),
    "DEIS": SamplerName(comfyui="deis", diffusers=_scheduler("DEISMultistepScheduler")),
    "IPNDM": SamplerName(comfyui="ipndm", sdcpp="ipndm"),
    "IPNDM_V": SamplerName(comfyui="ipndm_v", sdcpp="ipndm_v"),
    "Restart": SamplerName(scheduler="Karras"),
}  # fmt: skip
"""Canonical sampler names (AUTOMATIC1111 1.10 and Forge) and what other engines call them."""

_LINSPACE = {"timestep_spacing": "linspace"}

SCHEDULERS: Mapping[str, SchedulerName] = {
    "Automatic": SchedulerName(sdcpp="default"),
    "Normal": SchedulerName(comfyui="normal", diffusers=_LINSPACE, sdcpp="discrete"),
    "Uniform": SchedulerName(
        comfyui="normal", diffusers=_LINSPACE, sdcpp="discrete",
        approximate={"comfyui": "ComfyUI has one name, normal, for Normal and Uniform"},
    ),
    "Karras": SchedulerName(
        comfyui="karras", diffusers={"use_karras_sigmas": True, **_LINSPACE}, sdcpp="karras"
    ),
    "Exponential": SchedulerName(
        comfyui="exponential", diffusers={"use_exponential_sigmas": True, **_LINSPACE},
        sdcpp="exponential",
    ),
    "Polyexponential": SchedulerName(diffusers={"use_exponential_sigmas": True, **_LINSPACE}),
    "SGM Uniform": SchedulerName(
        comfyui="sgm_uniform", diffusers={"timestep_spacing": "trailing"}, sdcpp="sgm_uniform",
        approximate={"diffusers": "its trailing spacing is within 1.1 % of SGM Uniform's sigmas"},
    ),
    "KL Optimal": SchedulerName(comfyui="kl_optimal", sdcpp="kl_optimal"),
    "Align Your Steps": SchedulerName(sdcpp="ays"),
    "Simple": SchedulerName(
        comfyui="simple", diffusers={"timestep_spacing": "trailing"}, sdcpp="simple"
    ),
    "DDIM": SchedulerName(
        comfyui="ddim_uniform", diffusers={"timestep_spacing": "leading", "steps_offset": 1},
        aliases=("ddim_uniform",),
    ),
    "Beta": SchedulerName(
        comfyui="beta", diffusers={"use_beta_sigmas": True, **_LINSPACE},
        approximate={
            "comfyui": "ComfyUI's beta spaces timesteps, AUTOMATIC1111's spaces sigmas"
        },
    ),
    "Turbo": SchedulerName(),
    "Align Your Steps GITS": SchedulerName(sdcpp="gits"),
    "Align Your Steps 11": SchedulerName(),
    "Align Your Steps 32": SchedulerName(),
}  # fmt: skip
"""Canonical schedule types (AUTOMATIC1111 1.10 and Forge) and what other engines call them."""


def canonical_name(knob: str, name: str) -> str | None:
    """Return AUTOMATIC1111's spelling of a sampler or scheduler known by another one, or None.

    Args:
        knob: ``sampler`` or ``scheduler``; any other knob has no table.
        name: As some engine or old infotext spells it, for example ``euler_ancestral``.
    """
    tables: Mapping[str, Mapping[str, SamplerName | SchedulerName]] = {
        "sampler": SAMPLERS,
        "scheduler": SCHEDULERS,
    }
    wanted = name.strip().lower()
    for canonical, names in tables.get(knob, {}).items():
        if wanted in (canonical.lower(), names.comfyui, names.sdcpp, *names.aliases):
            return canonical
    return None


def name_hint(knob: str, name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'Euler a'?"`` for a value that *known* lacks, or all of *known*."""
    known = tuple(known)
    canonical = canonical_name(knob, name)
    if canonical in known:
        return f"; did you mean {canonical!r}?"
    return did_you_mean(name, known) or f"; it has: {', '.join(known)}"
