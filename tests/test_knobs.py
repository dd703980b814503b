"""Samplers and schedules are found by whatever name an engine or an old infotext gives them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from safelight.sampler_names import (
    SAMPLERS,
    SCHEDULERS,
    SamplerName,
    SchedulerName,
    canonical_name,
    name_hint,
)


@pytest.mark.parametrize(
    ("knob", "name", "canonical"),
    [
        ("sampler", "euler_ancestral", "Euler a"),
        ("sampler", "k_euler_a", "Euler a"),
        ("sampler", "dpmpp_2m", "DPM++ 2M"),
        ("sampler", "dpm++ 2m sde", "DPM++ 2M SDE"),
        ("scheduler", "sgm_uniform", "SGM Uniform"),
        ("scheduler", "karras", "Karras"),
        ("sampler", "karras", None),
        ("sampler", "no such", None),
        ("model", "euler", None),
    ],
)
def test_foreign_spellings_lead_to_automatic1111s(
    knob: str, name: str, canonical: str | None
) -> None:
    """One spelling in every record, whatever people are used to."""
    assert canonical_name(knob, name) == canonical


@pytest.mark.parametrize("knob", ["sampler", "scheduler"])
def test_no_foreign_name_means_two_things(knob: str) -> None:
    """An ambiguous table would translate wrongly, and in silence.

    Only Uniform shares its foreign names with Normal, which comes first.
    """
    table: Mapping[str, SamplerName | SchedulerName]
    table = SAMPLERS if knob == "sampler" else SCHEDULERS
    for canonical, engine in table.items():
        for name in (canonical, engine.comfyui, engine.sdcpp, *engine.aliases):
            if name is not None:
                shared = canonical == "Uniform" and name != canonical
                assert canonical_name(knob, name) == ("Normal" if shared else canonical)


def test_a_hint_knows_foreign_names_first() -> None:
    """Then near ones, then all that there are."""
    known = ("Euler", "Euler a", "Heun")
    assert name_hint("sampler", "euler_ancestral", known) == "; did you mean 'Euler a'?"
    assert "'Heun'" in name_hint("sampler", "Huen", known)
    assert name_hint("sampler", "zzz", known) == "; it has: Euler, Euler a, Heun"
