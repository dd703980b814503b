"""One sampler has one name, whichever tool writes it."""

from __future__ import annotations

from collections import Counter

import pytest

from safelight.imports.reading import Draft
from safelight.sampler_names import SAMPLERS, SCHEDULERS, canonical_name

_COMFYUI = (
    "euler euler_cfg_pp euler_ancestral euler_ancestral_cfg_pp heun heunpp2 exp_heun_2_x0"
    " exp_heun_2_x0_sde dpm_2 dpm_2_ancestral lms dpm_fast dpm_adaptive dpmpp_2s_ancestral"
    " dpmpp_2s_ancestral_cfg_pp dpmpp_sde dpmpp_sde_gpu dpmpp_2m dpmpp_2m_cfg_pp dpmpp_2m_sde"
    " dpmpp_2m_sde_gpu dpmpp_2m_sde_heun dpmpp_2m_sde_heun_gpu dpmpp_3m_sde dpmpp_3m_sde_gpu ddpm"
    " lcm ipndm ipndm_v deis res_multistep res_multistep_cfg_pp res_multistep_ancestral"
    " res_multistep_ancestral_cfg_pp gradient_estimation gradient_estimation_cfg_pp er_sde seeds_2"
    " seeds_3 sa_solver sa_solver_pece ddim uni_pc uni_pc_bh2"
)
_COMFYUI_SCHEDULERS = (
    "simple sgm_uniform karras exponential ddim_uniform beta normal linear_quadratic kl_optimal"
    " bong_tangent beta57"
)
_NEO = ("ER SDE", "Res Multistep", "DPM++ 2s a RF", "Kohaku LoNyu Yog", "Restart")
_NEO_SCHEDULERS = ("Linear Quadratic", "Phi", "Align Your Steps Beta", "Bong Tangent", "SGMUniform",
                   "FlowMatchEulerDiscrete", "Flux2", "Turbo", "Beta 57")  # fmt: skip


def test_every_name_of_today_is_in_the_table() -> None:
    assert [n for n in (*_COMFYUI.split(), *_NEO) if canonical_name("sampler", n) is None] == []
    schedules = (*_COMFYUI_SCHEDULERS.split(), *_NEO_SCHEDULERS)
    assert [n for n in schedules if canonical_name("scheduler", n) is None] == []


@pytest.mark.parametrize(("canonical", "others"), [
    ("Euler", ("euler", "k_euler", "Euler FlowMatch", "FlowMatchEulerDiscreteScheduler",
               "EulerDiscreteScheduler", "linear/euler", "sample_euler")),
    ("Res Multistep", ("res_multistep", "Res Multistep", "RES-Multistep 2M", "RES multistep")),
    ("res_2s", ("res_2s", "exponential/res_2s", "RES-Singlestep 2S")),
    ("res_3m", ("multistep/res_3m", "RES-Multistep 3M")),
    ("ER SDE", ("er_sde", "ER-SDE", "ER-SDE FlowMatch", "Extended Reverse SDE")),
    ("DPM++ 2M SDE", ("dpmpp_2m_sde_gpu", "DPM2++ 2M SDE FlowMatch", "k_dpmpp_2m_sde")),
    ("UniPC", ("uni_pc", "UniPC FlowMatch", "UniPCMultistepScheduler")),
    ("res_7s", ("exponential/res_7s", "fully_implicit/res_7s")),
])  # fmt: skip
def test_families_are_joined(canonical: str, others: tuple[str, ...]) -> None:
    assert {name: canonical_name("sampler", name) for name in others} == dict.fromkeys(
        others, canonical
    )


@pytest.mark.parametrize(
    "name", ["uni_pc_bh2", "res_2m", "euler_cfg_pp", "DPMSolverMultistepScheduler"]
)
def test_what_is_another_method_stays_another(name: str) -> None:
    """A class whose options are not told may be any of several samplers."""
    assert canonical_name("sampler", name) not in ("UniPC", "Res Multistep", "Euler", "DPM++ 2M")


def test_no_spelling_means_two_things() -> None:
    for table in (SAMPLERS, SCHEDULERS):
        spelled = Counter(
            spelling for name, names in table.items()
            for spelling in {name.lower(), *names.aliases, *filter(None, (names.comfyui,))}
        )  # fmt: skip
        assert {s for s, count in spelled.items() if count > 1} <= {"normal"}


def test_a_record_keeps_the_tools_own_spelling() -> None:
    draft = Draft()
    draft.read("sampler", "exponential/res_2s")
    assert (draft.knobs["sampler"], draft.native["sampler"]) == ("res_2s", "exponential/res_2s")
