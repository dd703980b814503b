"""The JSON Schema that editors use agrees with the config's own check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from safelight.config import PipelineConfig
from safelight.config_schema import config_schema
from safelight.errors import ConfigError
from safelight.knobs import KNOBS
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
    ],
)
def test_both_refuse(data: dict[str, Any]) -> None:
    """A few faults outside the knobs."""
    assert not SCHEMA.is_valid(data)
    with pytest.raises(ConfigError):
        PipelineConfig.from_mapping(data)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.toml")), ids=lambda p: p.name)
def test_every_example_is_valid(path: Path) -> None:
    """Examples are what people copy."""
    import tomllib

    assert SCHEMA.is_valid(tomllib.loads(path.read_text("utf-8")))
    PipelineConfig.from_file(path)
