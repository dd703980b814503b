"""The JSON Schema that editors use agrees with the config's own check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from safelight.application.examples import EXAMPLES
from safelight.config import PipelineConfig
from safelight.config_schema import config_schema
from safelight.errors import ConfigError
from safelight.knobs import KNOBS, STAGES
from safelight.randomizer_config import PromptMatrix, RandomizerConfig

ROOT = Path(__file__).parent.parent
SCHEMA = Draft202012Validator(config_schema())


def test_the_schema_is_a_schema() -> None:
    """An editor must be able to load it."""
    Draft202012Validator.check_schema(config_schema())


def test_the_committed_schema_is_the_one_that_the_code_makes() -> None:
    """Configs in the repository point at this file."""
    committed = json.loads((ROOT / "docs" / "safelight.schema.json").read_text("utf-8"))
    assert committed == config_schema()


def test_the_schema_knows_every_key() -> None:
    """A key that is added to the config is added to the schema."""
    properties = config_schema()["properties"]["randomizer"]["properties"]
    assert set(properties) == {"enabled", *RandomizerConfig.__slots__}
    assert set(properties["matrix"]["properties"]) == set(PromptMatrix.__slots__)


def test_comments_among_rules_tokens_and_slots_are_no_fault_of_the_schema() -> None:
    """The check takes them for what they are, too."""
    listed = {"prompt_sr": "rules", "wildcards": "tokens", "matrix": "slots"}
    for entries in (["# none", " ##", "#"], ["#none"]):
        data = {
            "txt2img": {"prompt": "a"},
            "randomizer": {source: {key: entries} for source, key in listed.items()},
        }
        if is_comment := entries != ["#none"]:
            PipelineConfig.from_mapping(data)
        assert SCHEMA.is_valid(data) == is_comment


_values = st.booleans() | st.integers(-2, 12_000) | st.floats(-2, 2000) | st.text(max_size=3)


@given(st.dictionaries(st.sampled_from([*sorted(KNOBS), "enabled", "stpes"]), _values, max_size=3))
def test_schema_and_check_agree_on_every_stage(knobs: dict[str, Any]) -> None:
    """What the editor underlines is what the command refuses, and nothing else.

    JSON Schema cannot tell 20.0 from 20; the check can, and says so.
    """
    data = {"txt2img": {"prompt": "a", **knobs}}
    integers = [k for k, v in knobs.items() if isinstance(v, float) and k in KNOBS]
    if any(KNOBS[name].kind == "integer" for name in integers) or knobs.get("enabled") is False:
        return
    try:
        PipelineConfig.from_mapping(data)
    except ConfigError:
        assert not SCHEMA.is_valid(data)
    else:
        assert SCHEMA.is_valid(data)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"txt2img": {"prompt": []}},
        {"txt2img": {}, "randomizer": {"mode": "x"}},
        {"txt2img": {}, "randomizer": {"matrix": {"slot": []}}},
        {"txt2img": {}, "backend": ""},
        {"txt2img": {}, "metadata": 3},
        {"upscale": {"scale": 0}},
        {"txt2img": {"enabled": False}},
        {"img2img": {"prompt": "a"}},
        {"upscale": {"scale": 2}},
        {"txt2img": {"enabled": False}, "img2img": {}},
        {"txt2img": {"enabled": False}, "img2img": {"enabled": False}, "upscale": {}},
        {"img2img": {"enabled": False, "init_image": "a.png"}, "upscale": {}},
        {"txt2img": {}, "img2img": {"init_image": "a.png"}},
        {"img2img": {"init_image": "a.png"}, "upscale": {"init_image": "a.png"}},
        {"txt2img": {}, "upscale": {}, "randomizer": {"sweep": {"upscale.init_image": ["a"]}}},
        *({"txt2img": {}, "randomizer": randomizer} for randomizer in [
            {"prompt_sr": {"rules": ["a -> b"]}},
            {"prompt_sr": {"rules": ["a: b"]}},
            {"wildcards": {"tokens": ["animal = cat | dog"]}},
            {"matrix": {"slots": ["animal cat"]}},
            {"matrix": {"mode": "Grids"}},
            {"matrix": {"applies_to": []}},
            {"wildcards": {"applies_to": ["txt2img.promt"]}},
            {"prompt_sr": {"applies_to": "txt2img.prompt"}},
            {"templates": []},
            {"prompt_matrix": {"place": "middle"}},
            {"prompt_matrix": {"separator": 1}},
            {"prompt_matrix": {"parts": []}},
            {"prompt_matrix": True},
            {"templates": "yes"},
            {"matrix": {"mode": "a grid"}},
            {"matrix": {"mode": 3}},
            {"matrix": {"limit": -(2**31) - 1}},
            {"sweep": []},
            {"sweep": {"steps": [1]}},
            {"sweep": {"txt2img": [1]}},
            {"sweep": {"txt2mig.steps": [1]}},
            {"sweep": {"txt2img.stpes": [1]}},
            {"sweep": {"txt2img.scale": [2]}},
            {"sweep": {"txt2img.steps": []}},
            {"sweep": {"txt2img.steps": 20}},
            {"sweep": {"txt2img.steps": ""}},
            {"sweep": {"txt2img.steps": [0]}},
            {"sweep": {"txt2img.steps": ["20"]}},
            {"sweep": {"txt2img.prompt": [["a", "b"]]}},
            {"sweep": {"txt2img": {"steps": [0]}}},
            {"sweep": {"txt2img": {"stpes": [1]}}},
            {"sweep": {"txt2img.extra.clip": []}},
            {"sweep": {"txt2img.extra.clip": "1-3"}},
            {"sweep": {"txt2img.extra": [1]}},
            {"sweep": {"txt2img": {"extra": {"clip": 1}}}},
            {"sweep": {"upscale.scale": [2]}},
            {"sweep": {"upscale": {"scale": [2]}}},
            {"sweep": {"upscale.extra.tile": [2]}},
            {"sweep": {"lora.ink": []}},
            {"sweep": {"lora.ink": ["a"]}},
            {"sweep": {"lora.ink": [101]}},
            {"sweep": {"lora.": [1]}},
            {"sweep": {"lora.a<b": [1]}},
            {"sweep": {"lora": [1]}},
            {"sweep": {"lora": {"a:b": [1]}}},
            {"sweep": {"img2img.lora.ink": [1]}},
            {"sweep": {"txt2img": {"lora": {"ink": ["a"]}}}},
            {"sweep": {"upscale.lora.ink": [1]}},
            {"sweep": {"foo.lora.ink": [1]}},
            {"sweep": {"lora": {"v1": {"2": ["a"]}}}},
            {"sweep": {"lora": {"v1": {"a:b": [1]}}}},
            {"sweep": {"txt2img.lora": [1]}},
            {"sweep": {"img2img": {"lora": {"v1": {"2": [1]}}}}},
            {"sub_sweeps": {}},
            {"sub_sweeps": [{}]},
            {"sub_sweeps": [{"img2img.steps": [3]}]},
            {"sub_sweeps": [{"txt2img": {"steps": [0]}}]},
            {"settings": [{"lora.ink": "a"}]},
            {"settings": [{"lora": {"ink": "a"}}]},
            {"settings": [{"txt2img": {"steps": 0}}]},
            {"settings": [{"txt2img": {}}]},
            {"settings": [{"img2img": {"steps": 3}}]},
            {"settings": [{}]},
            {"settings": [{"foo.lora.ink": 1}]},
        ]),
        *({"upscale": {"scale": 2, "init_image": "a.png"}, "randomizer": one} for one in [
            {"sweep": {"lora.ink": [1]}},
            {"sweep": {"lora": {"ink": [1]}}},
            {"settings": [{"lora.ink": 1}]},
            {"sub_sweeps": [{"lora.ink": [1]}]},
        ]),
    ],
    ids=str,
)  # fmt: skip
def test_both_refuse(data: dict[str, Any]) -> None:
    """Faults outside the knobs."""
    assert not SCHEMA.is_valid(data)
    with pytest.raises(ConfigError):
        PipelineConfig.from_mapping(data)


@pytest.mark.parametrize(
    "data",
    [
        {"txt2img": {}, "backend": {"name": "fake", "delay": 1}},
        {"img2img": {"init_image": "a.png"}},
        {"img2img": {"init_image": "a.png"}, "upscale": {}},
        {"img2img": {"enabled": False}, "upscale": {"init_image": "a.png"}},
        {"img2img": {}, "randomizer": {"sweep": {"img2img.init_image": ["a", "b"]}}},
        {"upscale": {}, "randomizer": {"sweep": {"upscale": {"init_image": "a, b"}}}},
        {"txt2img": {"enabled": True}, "img2img": {}, "upscale": {}},
        *({"txt2img": {}, "randomizer": randomizer} for randomizer in [
            {"prompt_sr": {"rules": ["a => b | c", {"search": "a", "replacements": ["b"]}]}},
            {"wildcards": {"tokens": ["animal: cat | dog"]}},
            *({"matrix": {"slots": ["animal: cat"], "mode": mode}}
              for mode in ("grid", "Grid", "GRID", "Round_Robin", "PER_PROMPT", "fanOut")),
            {"matrix": {"limit": -1}},
            {"prompt_matrix": {"enabled": False, "place": "start", "separator": " "}},
            {"matrix": {"applies_to": ["txt2img.negative_prompt"]}},
            {"templates": ["txt2img.prompt", "txt2img.negative_prompt"]},
            {"sweep": {"txt2img.steps": "10-30 (+5)", "txt2img.cfg_scale": [1, 2.5]}},
            {"sweep": {"txt2img": {"steps": [1], "sampler": "Euler, Heun"}}},
            {"sweep": {"txt2img.extra.clip": [1, "a"], "txt2img.extra": {"a": {"b": [1]}}}},
            {"sweep": {"txt2img": {"extra": {"clip": [1]}, "extra.b": [2]}}},
            {"sweep": {"upscale": {}}},
            {"sweep": {"lora": {"v1": {"2": [1]}}}},
            {"sweep": {"txt2img": {"lora": {"v1": {"2": "0-1"}}}}},
            {"sweep": {"txt2img": {"lora.v1": {"2": {"1": [1]}}}}},
            {"sweep": {"txt2img.lora": {"ink": [1]}}},
            {"sweep": {"lora.a": {}, "lora": {}}},
            {"sweep": {"img2img": {"lora": {}}, "img2img.lora": {}}},
            {"sweep": {"lora. ink": [1]}},
            {"settings": [{"txt2img": {"steps": 3, "extra": {"a": {"b": 1}}, "lora.ink": 1}}]},
            {"settings": [{"txt2img.extra.a": {"b": 1}, "lora": {"v1": {"2": 0.5}}}]},
        ]),
        {"img2img": {}, "randomizer": {"settings": [{"img2img": {"init_image": "a.png"}}]}},
    ],
    ids=str,
)  # fmt: skip
def test_both_accept(data: dict[str, Any]) -> None:
    """An editor must not underline what the command carries out."""
    PipelineConfig.from_mapping(data)
    assert SCHEMA.is_valid(data)


def test_the_schema_knows_every_sweep() -> None:
    """A knob that is added to the table can be swept, in either spelling, and is completed."""
    sweep = config_schema()["$defs"]["sweep"]["properties"]
    for knob in KNOBS.values():
        for stage in knob.stages:
            assert sweep[f"{stage}.{knob.name}"] == sweep[stage]["properties"][knob.name]


_specs = st.lists(_values, max_size=3) | _values
_places = st.sampled_from([f"{stage}.{name}" for stage in STAGES for name in (*KNOBS, "extra.a")])


@given(st.dictionaries(_places, _specs, max_size=2), st.booleans())
def test_schema_and_check_agree_on_every_sweep(sweep: dict[str, Any], nested: bool) -> None:
    """Swept values obey the rules of their knobs, whether keys are dotted or tables nest.

    Range texts are read by the check alone.
    """
    values = [v for spec in sweep.values() for v in (spec if isinstance(spec, list) else [spec])]
    ranges = [key for key, spec in sweep.items() if isinstance(spec, str) and "extra" not in key]
    if ranges or any(isinstance(value, float) for value in values):
        return
    if nested:
        tables: dict[str, Any] = {}
        for key, spec in sweep.items():
            stage, _, name = key.partition(".")
            tables.setdefault(stage, {})[name] = spec
        sweep = tables
    data = {"txt2img": {}, "upscale": {}, "randomizer": {"sweep": sweep}}
    try:
        PipelineConfig.from_mapping(data)
    except ConfigError:
        assert not SCHEMA.is_valid(data)
    else:
        assert SCHEMA.is_valid(data)


_levels = st.sampled_from(["lora", "txt2img", "img2img", "ink", "v1.2", "2", "a:b", "lora.x"])
_weights = st.sampled_from([[1], [0.5, -101], ["a"], [], "0-1", 1])
_weight_tables = st.recursive(_weights, lambda inner: st.dictionaries(_levels, inner, max_size=2))


@given(st.sampled_from(["lora", "lora.ink", "txt2img", "txt2img.lora"]), _weight_tables)
def test_schema_and_check_agree_on_weights_of_loras(key: str, spec: Any) -> None:
    """However tables nest. What is named twice the check alone tells."""
    data = {"txt2img": {}, "randomizer": {"sweep": {key: spec}}}
    try:
        PipelineConfig.from_mapping(data)
    except ConfigError as error:
        assert not SCHEMA.is_valid(data) or "already" in str(error)
    else:
        assert SCHEMA.is_valid(data)


@pytest.mark.parametrize("mode", ["fanout", "off"])
@pytest.mark.parametrize("prompts", [None, {}, {"file": ""}, {"file": "p.csv", "format": "cvs"},
                                     {"file": "p.csv", "columns": {"txt2img": {"steps": 5}}},
                                     {"file": "p.csv"}])  # fmt: skip
@pytest.mark.parametrize("stages", [{"img2img": {}}, {"txt2img": {"hires_steps": 5}}])
def test_schema_and_check_agree_on_files_of_prompts(
    stages: dict[str, Any], prompts: dict[str, Any] | None, mode: str
) -> None:
    """Whose rows may set what the stages lack, unless the mode is off."""
    table = {} if prompts is None else {"prompts": prompts}
    data = {**stages, "randomizer": {"mode": mode, **table}}
    try:
        PipelineConfig.from_mapping(data)
    except ConfigError:
        assert not SCHEMA.is_valid(data)
    else:
        assert SCHEMA.is_valid(data)
        assert (mode, prompts) == ("fanout", {"file": "p.csv"})


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda p: p.name)
def test_every_example_is_valid(path: Path) -> None:
    """Examples are what people copy."""
    import tomllib

    assert SCHEMA.is_valid(tomllib.loads(path.read_text("utf-8")))
    PipelineConfig.from_file(path)
