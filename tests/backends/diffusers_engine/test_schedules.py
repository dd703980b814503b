"""Names of samplers and schedules into diffusers' classes, and back."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch", reason='needs pip install "safelight[diffusers]"')
pytest.importorskip("diffusers", reason='needs pip install "safelight[diffusers]"')

import diffusers

from safelight.backends.diffusers_engine.loaded_model import quiet
from safelight.backends.diffusers_engine.schedules import (
    SAMPLER_NAMES,
    SCHEDULE_NAMES,
    make_schedule,
)
from safelight.errors import BackendError


@pytest.fixture
def own() -> Any:
    return diffusers.PNDMScheduler(
        beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )


@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
def test_a_pair_is_made_as_asked_or_refused(own: Any, sampler: str) -> None:
    """What is made says the names that were asked for, and can lay out its steps."""
    made = []
    for schedule in SCHEDULE_NAMES:
        try:
            with quiet():
                answer = make_schedule(own, sampler, schedule)
                answer.scheduler.set_timesteps(5)
        except BackendError as error:
            assert repr(sampler) in str(error)
            continue
        made.append(schedule)
        assert answer.effective["sampler"] == sampler
        if schedule != "Automatic":
            assert answer.effective["scheduler"] == schedule
    assert "Automatic" in made


def test_a_models_own_flags_do_not_leak_into_another_schedule() -> None:
    """Its Karras sigmas are its own choice, not that of who asks for Normal."""
    own = diffusers.EulerDiscreteScheduler(use_karras_sigmas=True)
    answer = make_schedule(own, "Euler", "Normal")
    assert not answer.scheduler.config.use_karras_sigmas
    assert make_schedule(own, None, None).effective == {"sampler": "Euler", "scheduler": "Karras"}
    assert own.config.use_karras_sigmas


def test_a_flow_keeps_its_own_scheduler() -> None:
    """One made for noise draws noise with it."""
    own = diffusers.FlowMatchEulerDiscreteScheduler()
    assert make_schedule(own, "Euler", None).effective == {"sampler": "Euler", "shift": 1.0}
    karras = make_schedule(own, None, "Karras")
    assert karras.effective == {"sampler": "Euler", "scheduler": "Karras", "shift": 1.0}
    assert karras.scheduler.config.use_karras_sigmas
    with pytest.raises(BackendError, match="flow-matching"):
        make_schedule(own, "DPM++ 2M", None)
    with pytest.raises(BackendError, match="flow-matching"):
        make_schedule(own, None, "Normal")


def test_what_is_only_nearly_the_same_is_said(own: Any) -> None:
    """So that nobody compares pixels across engines by mistake."""
    warnings = make_schedule(own, "DPM++ 2S a", None).warnings
    assert "not ancestral" in warnings[0]
    assert "leaves out the last" in make_schedule(own, "DPM++ 2M", "Normal").warnings[0]
