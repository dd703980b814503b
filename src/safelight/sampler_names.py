"""What samplers and schedulers are called, engine by engine.

The canonical spelling is AUTOMATIC1111's. One table says what ComfyUI, diffusers and
stable-diffusion.cpp call the same thing, and where theirs is only nearly the same: an engine
that uses such a name says so in a warning, and the record keeps it.

A sampler that AUTOMATIC1111's family has no name for keeps ComfyUI's. Flow matching is a matter of
the model, so that SD.Next's ``Euler FlowMatch`` is Euler; what RES4LYF puts before a slash
(``exponential/res_2s``) names a family of methods, and where the noise comes from (``_gpu``) is
another matter, too. Records keep the tool's own spelling beside ours.

Names were compared with the live lists of Forge 2.0.1, SD.Next 2026-07, ComfyUI 0.3.75 and
stable-diffusion.cpp (stable-diffusion-cpp-python 0.4.7), and with the sources of ComfyUI 0.36,
Forge Neo, RES4LYF and stable-diffusion.cpp of 2026; sigma sequences of ComfyUI and
diffusers 0.42.1 with each other, for 4, 10 and 20 steps of Stable Diffusion 1.5's betas.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
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
        aliases=("k_euler", "euler flowmatch", "flowmatcheulerdiscretescheduler"),
    ),
    "Euler a": SamplerName(
        comfyui="euler_ancestral", diffusers=_scheduler("EulerAncestralDiscreteScheduler"),
        sdcpp="euler_a", aliases=("k_euler_a", "euler_a", "k_euler_ancestral"),
    ),
    "Heun": SamplerName(
        comfyui="heun", diffusers=_scheduler("HeunDiscreteScheduler"), sdcpp="heun",
        aliases=("k_heun", "heun flowmatch", "flowmatchheundiscretescheduler"),
    ),
    "HeunPP2": SamplerName(comfyui="heunpp2"),
    "LMS": SamplerName(
        comfyui="lms", diffusers=_scheduler("LMSDiscreteScheduler"), sdcpp="lms",
        aliases=("k_lms", "lmsd"),
    ),
    "DPM2": SamplerName(
        comfyui="dpm_2", diffusers=_scheduler("KDPM2DiscreteScheduler"), sdcpp="dpm2",
        scheduler="Karras", aliases=("k_dpm_2", "kdpm2", "dpm2 flowmatch"),
    ),
    "DPM2 a": SamplerName(
        comfyui="dpm_2_ancestral", diffusers=_scheduler("KDPM2AncestralDiscreteScheduler"),
        scheduler="Karras", aliases=("k_dpm_2_a", "kdpm2 a", "dpm2a flowmatch"),
    ),
    "DPM++ 2S a": SamplerName(
        comfyui="dpmpp_2s_ancestral", diffusers=_scheduler("DPMSolverSinglestepScheduler"),
        sdcpp="dpm++2s_a", scheduler="Karras", aliases=("k_dpmpp_2s_a",),
        approximate={"diffusers": "DPMSolverSinglestepScheduler is not ancestral"},
    ),
    "DPM++ 2M": SamplerName(
        comfyui="dpmpp_2m", diffusers=_multistep("dpmsolver++", 2), sdcpp="dpm++2m",
        scheduler="Karras", aliases=("k_dpmpp_2m", "dpm2++ 2m flowmatch"),
    ),
    "DPM++ SDE": SamplerName(
        comfyui="dpmpp_sde", diffusers=_scheduler("DPMSolverSDEScheduler"),
        scheduler="Karras", aliases=("k_dpmpp_sde", "dpm2++ sde flowmatch"),
    ),
    "DPM++ 2M SDE": SamplerName(
        comfyui="dpmpp_2m_sde", diffusers=_multistep("sde-dpmsolver++", 2),
        sdcpp="dpm++2m_sde", scheduler="Exponential",
        aliases=("k_dpmpp_2m_sde", "dpm2++ 2m sde flowmatch"),
        approximate={"diffusers": _OTHER_NOISE, "sdcpp": _OTHER_NOISE},
    ),
    "DPM++ 2M SDE Heun": SamplerName(
        comfyui="dpmpp_2m_sde_heun",
        diffusers=_multistep("sde-dpmsolver++", 2, solver_type="heun"),
        scheduler="Exponential", aliases=("k_dpmpp_2m_sde_heun",),
        approximate={"diffusers": _OTHER_NOISE},
    ),
    "DPM++ 3M SDE": SamplerName(
        comfyui="dpmpp_3m_sde", diffusers=_multistep("sde-dpmsolver++", 3),
        scheduler="Exponential", aliases=("k_dpmpp_3m_sde", "dpm2++ 3m sde flowmatch"),
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
        aliases=("unipc flowmatch", "flowunipcmultistepscheduler", "unipcmultistepscheduler"),
        approximate={"diffusers": "its solver is of type bh2, ComfyUI's uni_pc_bh2"},
    ),
    "LCM": SamplerName(
        comfyui="lcm", diffusers=_scheduler("LCMScheduler"), sdcpp="lcm",
        aliases=("k_lcm", "lcm flowmatch", "flowmatchlcmscheduler"),
    ),
    "PLMS": SamplerName(
        diffusers=_scheduler("PNDMScheduler", skip_prk_steps=True),
        aliases=("pndm", "pndmscheduler"),
    ),
    "DDPM": SamplerName(comfyui="ddpm", diffusers=_scheduler("DDPMScheduler")),
    "DEIS": SamplerName(comfyui="deis", diffusers=_scheduler("DEISMultistepScheduler")),
    "IPNDM": SamplerName(comfyui="ipndm", sdcpp="ipndm"),
    "IPNDM_V": SamplerName(comfyui="ipndm_v", sdcpp="ipndm_v"),
    "Restart": SamplerName(scheduler="Karras"),
    "Euler CFG++": SamplerName(comfyui="euler_cfg_pp", sdcpp="euler_cfg_pp"),
    "Euler a CFG++": SamplerName(comfyui="euler_ancestral_cfg_pp", sdcpp="euler_a_cfg_pp"),
    "DPM++ 2S a CFG++": SamplerName(comfyui="dpmpp_2s_ancestral_cfg_pp"),
    "DPM++ 2M CFG++": SamplerName(comfyui="dpmpp_2m_cfg_pp"),
    "DPM++ 2s a RF": SamplerName(aliases=("flux realistic",)),
    "Kohaku LoNyu Yog": SamplerName(aliases=("kohaku_lonyu_yog", "kohaku lonyu")),
    "Res Multistep": SamplerName(
        comfyui="res_multistep", sdcpp="res_multistep",
        aliases=("res-multistep 2m", "res_2m_ode"),
    ),
    "Res Multistep CFG++": SamplerName(comfyui="res_multistep_cfg_pp"),
    "Res Multistep Ancestral": SamplerName(comfyui="res_multistep_ancestral"),
    "Res Multistep Ancestral CFG++": SamplerName(comfyui="res_multistep_ancestral_cfg_pp"),
    "Gradient Estimation": SamplerName(comfyui="gradient_estimation", sdcpp="euler_ge"),
    "Gradient Estimation CFG++": SamplerName(comfyui="gradient_estimation_cfg_pp"),
    "ER SDE": SamplerName(
        comfyui="er_sde", sdcpp="er_sde",
        aliases=("er-sde", "er-sde flowmatch", "extended reverse sde", "er_side"),
    ),
    "SA Solver": SamplerName(comfyui="sa_solver", aliases=("sasolverscheduler",)),
    "TCD": SamplerName(sdcpp="tcd", aliases=("tcdscheduler",)),
    "DPM++ 2M v2": SamplerName(sdcpp="dpm++2mv2"),
    **{name: SamplerName(comfyui=name, aliases=aliases) for name, aliases in {
        "exp_heun_2_x0": (), "exp_heun_2_x0_sde": (), "cfgpp_ud10_ab": (), "seeds_2": (),
        "seeds_3": (), "sa_solver_pece": (), "uni_pc_bh2": (), "rk_beta": (),
        "res_2m": (), "res_3m": ("res-multistep 3m",), "res_3m_ode": (), "res_2s_ode": (),
        "res_3s": ("res-singlestep 3s",), "res_3s_ode": (), "res_5s": ("res-singlestep 5s",),
        "res_5s_ode": (), "res_6s": ("res-singlestep 6s",), "res_6s_ode": (), "deis_2m": (),
        "deis_3m": (), "deis_2m_ode": (), "deis_3m_ode": (),
    }.items()},
    "res_2s": SamplerName(
        comfyui="res_2s", sdcpp="res_2s", aliases=("res-singlestep 2s",),
        approximate={"sdcpp": "RES4LYF's adds noise at each step unless told otherwise"},
    ),
}  # fmt: skip
"""Canonical sampler names (AUTOMATIC1111 1.10, Forge, else ComfyUI) and what others call them."""

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
        aliases=("sgmuniform",),
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
        comfyui="beta", diffusers={"use_beta_sigmas": True, **_LINSPACE}, sdcpp="beta",
        approximate={
            "comfyui": "ComfyUI's beta spaces timesteps, AUTOMATIC1111's spaces sigmas",
            "sdcpp": "its beta spaces timesteps, AUTOMATIC1111's spaces sigmas",
        },
    ),
    "Turbo": SchedulerName(aliases=("sd turbo", "sdturbo")),
    "Align Your Steps GITS": SchedulerName(sdcpp="gits"),
    "Align Your Steps 11": SchedulerName(),
    "Align Your Steps 32": SchedulerName(),
    "Align Your Steps Beta": SchedulerName(),
    "Linear Quadratic": SchedulerName(comfyui="linear_quadratic"),
    "Bong Tangent": SchedulerName(comfyui="bong_tangent", sdcpp="bong_tangent"),
    "Beta 57": SchedulerName(comfyui="beta57"),
    "Phi": SchedulerName(),
    "Flux2": SchedulerName(sdcpp="flux2"),
    "FlowMatchEulerDiscrete": SchedulerName(),
    "Variance Preserving": SchedulerName(aliases=("vp",)),
    **{name: SchedulerName(sdcpp=name) for name in
       ("smoothstep", "ltx2", "lcm", "flux", "logit_normal")},
}  # fmt: skip
"""Canonical schedule types (AUTOMATIC1111 1.10 and Forge) and what other engines call them."""


_FAMILY = re.compile(
    r"(?:multistep|exponential|hybrid|linear|explicit|diag_implicit|fully_implicit)/(.+)"
)


_MOST_TOLD, _FEW_TOLD = 12, 5


def canonical_name(knob: str, name: str) -> str | None:
    """Return AUTOMATIC1111's spelling of a sampler or scheduler known by another one, or None.

    A name of RES4LYF that the table lacks comes back without its family.

    Args:
        knob: ``sampler`` or ``scheduler``; any other knob has no table.
        name: As some engine or old infotext spells it, for example ``euler_ancestral``.
    """
    wanted, spellings = name.strip().lower(), _spellings(knob)
    if wanted in spellings:
        return spellings[wanted]
    family = _FAMILY.fullmatch(wanted) if knob == "sampler" else None
    wanted = family[1] if family else wanted.removeprefix("sample_")
    for spelling in (wanted, wanted.removesuffix("_gpu"), wanted.replace(" ", "_")):
        if known := spellings.get(spelling):
            return known
    return wanted if family else None


@cache
def _spellings(knob: str) -> Mapping[str, str]:
    """Return every spelling, in lower case -> ours; of two that share one the first has it."""
    tables: Mapping[str, Mapping[str, SamplerName | SchedulerName]] = {
        "sampler": SAMPLERS,
        "scheduler": SCHEDULERS,
    }
    spellings: dict[str, str] = {}
    for canonical, names in tables.get(knob, {}).items():
        for spelling in (canonical.lower(), names.comfyui, names.sdcpp, *names.aliases):
            if spelling is not None:
                spellings.setdefault(spelling, canonical)
    for canonical, names in SAMPLERS.items() if knob == "sampler" else ():
        made = names.diffusers
        if made is not None and not made.options and "diffusers" not in names.approximate:
            spellings.setdefault(made.cls.lower(), canonical)
    return MappingProxyType(spellings)


def name_hint(knob: str, name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'Euler a'?"`` for a value that *known* lacks, or what is in *known*.

    A ComfyUI has 42 samplers; of so many a few are named, and how to list them.
    """
    known = tuple(known)
    canonical = canonical_name(knob, name)
    if canonical in known:
        return f"; did you mean {canonical!r}?"
    if joined := _joined(name) if knob == "sampler" else None:
        sampler, scheduler = joined
        if sampler in known:
            return f"; did you mean sampler {sampler!r} and scheduler {scheduler!r}?"
    if near := did_you_mean(name, known):
        return near
    if len(known) <= _MOST_TOLD:
        return f"; it has: {', '.join(known)}"
    few = ", ".join(known[:_FEW_TOLD])
    return f"; it has {len(known)}, among them {few}; safelight backends ENGINE lists all"


def _joined(name: str) -> tuple[str, str] | None:
    """Return sampler and schedule of a name that holds both, as A1111 before 1.9 has them."""
    for scheduler in SCHEDULERS:
        head = name[: -len(scheduler)]
        if name.lower().endswith(f" {scheduler.lower()}"):
            return canonical_name("sampler", head.strip()) or head.strip(), scheduler
    return None
