"""The table of knobs, and the names of samplers and schedules, whatever engines call them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.knobs import FILE_KNOBS, KNOBS, Knob, knob_fault, knobs_and_extras
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
    hint = name_hint("sampler", "euler a karras", known)
    assert hint == "; did you mean sampler 'Euler a' and scheduler 'Karras'?"
    assert name_hint("sampler", "zzz", known) == "; it has: Euler, Euler a, Heun"
    many = name_hint("sampler", "zzz", [f"Sampler {number}" for number in range(42)])
    assert many.startswith("; it has 42, among them Sampler 0, Sampler 1,")
    assert many.endswith(" Sampler 4; safelight backends ENGINE lists all")


@pytest.mark.parametrize(
    ("knobs", "own", "extras"),
    [
        ({"steps": 20, "extra": {"distilled CFG scale": "3.5"}},
         {"steps": 20, "guidance": 3.5}, {}),
        ({"extra": {"SHIFT": "3.0", "RNG": "CPU"}}, {"shift": 3}, {"RNG": "CPU"}),
        ({"extra": {"Diffusion in Low Bits": "nf4"}}, {"weight_dtype": "nf4"}, {}),
        ({"guidance": 3, "extra": {"guidance": 4}}, {"guidance": 3}, {"guidance": 4}),
        ({"extra": {"Shift": 2, "sigmashift": 3}}, {"shift": 2}, {"sigmashift": 3}),
        ({"extra": {"cfg_rescale": 7}}, {}, {"cfg_rescale": 7}),
        ({"extra": {"Shift": "nan"}}, {}, {"Shift": "nan"}),
        ({"extra": {"Shift": "1_0"}}, {}, {"Shift": "1_0"}),
        ({"extra": {"Shift": True, "TE": 3}}, {}, {"Shift": True, "TE": 3}),
        ({"extra": {"sigmas": [1, 0]}}, {}, {"sigmas": [1, 0]}),
        ({"extra": {"TE": ""}}, {}, {"TE": ""}),
        ({"enabled": True, "loras": [], "odd": 1, "extra": "none"}, {}, {}),
    ],
)  # fmt: skip
def test_an_extra_that_a_knob_stands_for_is_that_knob(
    knobs: Mapping[str, Any], own: Mapping[str, Any], extras: Mapping[str, Any]
) -> None:
    """What was recorded before a knob was in the table counts beside what is recorded since."""
    assert knobs_and_extras(knobs) == (own, extras)


@pytest.mark.parametrize("odd", [None, "text", 3, [1]])
def test_what_is_no_mapping_has_no_knobs(odd: Any) -> None:
    """Records come from anywhere, and one odd record stops no question."""
    assert knobs_and_extras(odd) == ({}, {})
    assert knobs_and_extras({"steps": 3, "extra": odd}) == ({"steps": 3}, {})


def test_no_alias_means_two_knobs() -> None:
    """The second would never be found."""
    aliases = [alias.lower() for knob in KNOBS.values() for alias in knob.aliases]
    assert len(aliases) == len(set(aliases))


_NAMES = st.sampled_from(
    [case(alias) for knob in KNOBS.values() for alias in knob.aliases for case in (str, str.upper)]
) | st.text(max_size=8)  # fmt: skip
_VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.floats(0, 40).map(str) | st.lists(st.integers(), max_size=2)
)  # fmt: skip


@given(
    st.dictionaries(st.sampled_from([*KNOBS, "enabled", "loras"]), _VALUES, max_size=6),
    st.dictionaries(_NAMES, _VALUES, max_size=6),
)
def test_nothing_recorded_is_lost_or_overruled(
    stated: dict[str, Any], extra: dict[str, Any]
) -> None:
    """Every stated knob stays as it is, and every extra is a knob by its rule or an extra still."""
    own, rest = knobs_and_extras({**stated, "extra": extra})
    assert all(own[k] is v for k, v in stated.items() if k in KNOBS and v is not None)
    assert all(value is extra[name] for name, value in rest.items())
    gained = {k: v for k, v in own.items() if v is not stated.get(k)}
    assert len(gained) + len(rest) == len(extra)
    assert all(knob_fault(KNOBS[name], value) is None for name, value in gained.items())


def test_every_text_says_what_it_is() -> None:
    """One that names a file and does not say so could be used to read any file from a page."""
    with pytest.raises(ValueError, match="every text says what it means"):
        Knob(name="face", kind="text", stages=("img2img",), summary="A picture file of a face.")
    with pytest.raises(ValueError, match="and no number does"):
        Knob(name="x", kind="number", stages=("img2img",), summary="X.", means="words")
    assert set(FILE_KNOBS) == {"init_image", "mask"}
    for knob in KNOBS.values():
        is_file = "file" in knob.summary.lower()
        assert not is_file or knob.means == "file", knob.name
