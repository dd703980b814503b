"""config_schema: the JSON Schema of a config, so that editors complete and check it.

It says what :mod:`safelight.config` checks, as far as JSON Schema can; the config's own
check says more (near names, range texts, stages that need a picture) and has the last word.
"""

from __future__ import annotations

from typing import Any

from safelight.knobs import KNOBS, STAGES, Knob, Stage

__all__ = ["config_schema"]

_TEXTS = {"type": "array", "items": {"type": "string"}}
_SOURCE_MODES = [
    "fanout", "random", "sequential", "rotate", "grid", "all", "round_robin", "per_prompt",
]  # fmt: skip


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a config."""
    backend = {"type": "string", "minLength": 1, "description": "Engine: bundled, fake, ..."}
    properties: dict[str, Any] = {
        "name": {"type": "string", "description": "What you call this config."},
        "backend": {
            "description": "The engine, by name, or as a table with its options.",
            "anyOf": [backend, {"type": "object", "properties": {"name": backend}}],
        },
        **{stage: _stage_schema(stage) for stage in STAGES},
        "randomizer": _randomizer_schema(),
        "metadata": {
            "type": "object",
            "description": "Yours; goes into the learning record as it is.",
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "safelight config",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "anyOf": [{"required": [stage]} for stage in STAGES],
    }


def _stage_schema(stage: Stage) -> dict[str, Any]:
    properties = {knob.name: _knob_schema(knob) for knob in KNOBS.values() if stage in knob.stages}
    if "prompt" in properties:
        prompts = {"type": "array", "items": {"type": "string"}, "minItems": 1}
        properties["prompt"] = {
            "description": f"{KNOBS['prompt'].summary} A list makes a pack of prompts.",
            "anyOf": [{"type": "string"}, prompts],
        }
    properties["enabled"] = {"type": "boolean", "description": "false leaves the stage out."}
    properties["extra"] = {
        "type": "object",
        "description": "Knobs that only the engine knows, passed on untouched.",
    }
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _knob_schema(knob: Knob) -> dict[str, Any]:
    kinds = {"text": "string", "integer": "integer", "number": "number"}
    schema: dict[str, Any] = {"type": kinds[knob.kind], "description": knob.summary}
    limits = {
        "minimum": knob.minimum,
        "maximum": knob.maximum,
        "exclusiveMinimum": knob.above,
        "multipleOf": knob.multiple_of,
    }
    return schema | {key: value for key, value in limits.items() if value is not None}


def _randomizer_schema() -> dict[str, Any]:
    count = {"type": "integer", "minimum": 1}
    place = {"type": "integer", "minimum": 0}
    modes = ["off", "fanout", "random", "sequential", "rotate"]
    properties: dict[str, Any] = {
        "enabled": {"type": "boolean"},
        "mode": {"enum": modes, "description": "How the sources combine."},
        "seed": {**place, "description": "Seed of everything drawn."},
        "draws": {**count, "description": "Variants that mode = random makes."},
        "start": {**place, "description": "Combination that mode = rotate begins with."},
        "max_variants": {**place, "description": "Most variants to keep; 0 keeps all."},
        "seeds_per_variant": {**count, "description": "Pictures per combination."},
        "seed_policy": {"enum": ["per_iteration", "per_prompt"]},
        "templates": {"type": "boolean", "description": "Expand {a|b} and __wildcards__."},
        "wildcards_dir": {"type": "string", "description": "Folder with wildcard files."},
        "prompt_sr": _source_schema("rules", "search", "replacements"),
        "wildcards": _source_schema("tokens", "token", "values"),
        "matrix": _source_schema("slots", "name", "values"),
        "sweep": {
            "type": "object",
            "description": '"stage.knob" = [values] or a range text such as "10-30 (+5)".',
        },
    }
    properties["matrix"]["properties"] |= {
        "limit": {"type": "integer", "description": "Most combinations of slots; 0 is all."},
        "base_prompt": {"type": "string"},
        "prompt_mode": {"enum": ["replace", "append", "prepend"]},
    }
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _source_schema(entries: str, name: str, values: str) -> dict[str, Any]:
    entry = {
        "type": "object",
        "properties": {name: {"type": "string"}, values: _TEXTS},
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {
            entries: {"type": "array", "items": {"anyOf": [{"type": "string"}, entry]}},
            "mode": {"enum": _SOURCE_MODES},
            "enabled": {"type": "boolean"},
        },
        "additionalProperties": False,
    }
