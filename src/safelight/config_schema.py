"""config_schema: the JSON Schema of a config, so that editors complete and check it.

It says what :mod:`safelight.config` checks, as far as JSON Schema can; the config's own
check says more (near names, range texts, 20.0 where 20 is meant) and has the last word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from safelight.config_check import PATIENCE, RETRIES
from safelight.knobs import KNOBS, PROMPT_KNOBS, STAGES, Knob, Stage, TextMeaning
from safelight.lora_tags import MOST_WEIGHT
from safelight.picture_names import SHEET_CELLS, SHEET_SIDES
from safelight.randomizer_config import (
    MODE_ALIASES,
    PartsPlace,
    PromptFormat,
    PromptMode,
    RandomizerMode,
    SeedPolicy,
    SourceMode,
)

__all__ = ["FILE_SETTINGS", "TEXTS", "config_schema"]

TEXTS: Mapping[str, TextMeaning] = {
    "name": "words",
    "backend": "name",
    "backend.name": "name",
    "output.name": "words",
    "randomizer.part": "words",
    "randomizer.wildcards_dir": "file",
    "randomizer.prompts.file": "file",
    "randomizer.prompt_sr.rules": "words",
    "randomizer.prompt_sr.rules.search": "words",
    "randomizer.prompt_sr.rules.replacements": "words",
    "randomizer.prompt_sr.mode": "name",
    "randomizer.wildcards.tokens": "words",
    "randomizer.wildcards.tokens.token": "words",
    "randomizer.wildcards.tokens.values": "words",
    "randomizer.wildcards.mode": "name",
    "randomizer.matrix.slots": "words",
    "randomizer.matrix.slots.name": "words",
    "randomizer.matrix.slots.values": "words",
    "randomizer.matrix.mode": "name",
    "randomizer.matrix.base_prompt": "words",
    "randomizer.prompt_matrix.separator": "words",
    "randomizer.exclude.where": "words",
}
"""What every text of a config is that is no knob; of an engine's options the engine says it."""

FILE_SETTINGS = tuple(path for path, meaning in TEXTS.items() if meaning == "file")
"""Those that name a file or a folder, as ``table.key``."""

_TEXTS = {"type": "array", "items": {"type": "string"}}
_PROMPTS = {
    "type": "array",
    "items": {"enum": [f"{stage}.{knob}" for stage in STAGES[:2] for knob in PROMPT_KNOBS]},
    "minItems": 1,
}
_SOURCE_MODES = [*get_args(SourceMode), *MODE_ALIASES]


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a config."""
    backend = {"type": "string", "description": "Engine: bundled, fake, ..."}
    properties: dict[str, Any] = {
        "name": {"type": "string", "description": "What you call this config."},
        "backend": {
            "description": "The engine, by name, or as a table with its options.",
            "anyOf": [
                {**backend, "minLength": 1},
                {"type": "object", "properties": {"name": backend}},
            ],
        },
        **{stage: _stage_schema(stage) for stage in STAGES},
        "randomizer": _randomizer_schema(),
        "output": _output_schema(),
        "retry": _retry_schema(),
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
        "anyOf": [_runs(stage) for stage in STAGES],
        "allOf": [
            *(_input_rule(stage) for stage in STAGES[1:]),
            *(_sweep_needs(stage) for stage in STAGES),
            _loras_need_a_prompt(),
            *(_one_prompt(stage) for stage in STAGES[:2]),
            *(
                _companion_rule(stage, knob)
                for knob in KNOBS.values()
                if knob.needs
                for stage in knob.stages
            ),
        ],
        "$defs": {
            **{f"swept_{knob.name}": _swept_knob(knob) for knob in KNOBS.values()},
            "sweep": _sweep_schema(),
            "swept_weight": {"anyOf": [*_WEIGHTS, _LORA_WEIGHTS]},
            "set_weight": {"anyOf": [_WEIGHT, _SET_LORAS]},
            "nothing": _NOTHING,
            "column_names": {
                "type": "object",
                "additionalProperties": {"anyOf": [{"type": "string"}, _ref("column_names")]},
            },
            "swept_extra": {
                "anyOf": [
                    {"type": "array", "minItems": 1},
                    {"type": "object", "additionalProperties": _ref("swept_extra")},
                ]
            },
        },
    }


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


def _runs(stage: Stage) -> dict[str, Any]:
    disabled = {"required": ["enabled"], "properties": {"enabled": {"const": False}}}
    return {"required": [stage], "properties": {stage: {"not": disabled}}}


def _input_rule(stage: Stage) -> dict[str, Any]:
    """Return the rule that *stage* states an init_image if it runs first, and only then."""
    stated = _stated(stage, "init_image")
    earlier = [_runs(before) for before in STAGES[: STAGES.index(stage)]]
    given = {"anyOf": [stated, _from_file()]}
    rule = {"if": {"anyOf": earlier}, "then": {"not": stated}, "else": given}
    return {"if": _runs(stage), "then": rule}


def _companion_rule(stage: Stage, knob: Knob) -> dict[str, Any]:
    """Return the rule that *knob* is stated only beside the knob that it needs."""
    assert knob.needs
    given = {"anyOf": [_stated(stage, knob.needs), _from_file()]}
    rule = {"if": _stated(stage, knob.name), "then": given}
    return {"if": _runs(stage), "then": rule}


def _from_file() -> dict[str, Any]:
    """Return the test whether a file of prompts may set knobs: only its rows say which."""
    used = {
        "required": ["prompts"],
        "properties": {"enabled": {"not": {"const": False}}, "mode": {"not": {"const": "off"}}},
    }
    return {"required": ["randomizer"], "properties": {"randomizer": used}}


def _stated(stage: Stage, name: str) -> dict[str, Any]:
    """Return the test whether a knob is in its stage's table or swept."""
    here = {"required": [stage], "properties": {stage: {"required": [name]}}}
    swept = {"anyOf": [{"required": [f"{stage}.{name}"]}, here]}
    randomizer = {"required": ["sweep"], "properties": {"sweep": swept}}
    there = {"required": ["randomizer"], "properties": {"randomizer": randomizer}}
    listed = {"contains": _in_setting(stage, name)}
    together = {"anyOf": [
        {"required": [source], "properties": {source: listed}}
        for source in ("settings", "sub_sweeps")
    ]}  # fmt: skip
    either = {"required": ["randomizer"], "properties": {"randomizer": together}}
    return {"anyOf": [here, there, either]}


def _in_setting(stage: Stage, name: str) -> dict[str, Any]:
    nested = {"required": [stage], "properties": {stage: {"required": [name]}}}
    return {"anyOf": [{"required": [f"{stage}.{name}"]}, nested]}


def _sweep_needs(stage: Stage) -> dict[str, Any]:
    """Return the rule that knobs of *stage* are swept only when it runs."""
    unswept = {"patternProperties": {rf"^{stage}(\.|$)": _ref("nothing")}}
    unset = {"items": {"propertyNames": {"not": {"pattern": rf"^{stage}(\.|$)"}}}}
    left_out = {"sweep": unswept, "settings": unset, "sub_sweeps": {"items": unswept}}
    return {
        "if": {"not": _runs(stage)},
        "then": {"properties": {"randomizer": {"properties": left_out}}},
    }


def _loras_need_a_prompt() -> dict[str, Any]:
    """Return the rule that weights of LoRAs are varied only when a stage that draws runs."""
    unswept = {"patternProperties": {r"^lora(\.|$)": _ref("nothing")}}
    unset = {"items": {"propertyNames": {"not": {"pattern": r"^lora(\.|$)"}}}}
    left_out = {"sweep": unswept, "settings": unset, "sub_sweeps": {"items": unswept}}
    return {
        "if": {"not": {"anyOf": [_runs("txt2img"), _runs("img2img")]}},
        "then": {"properties": {"randomizer": {"properties": left_out}}},
    }


def _one_prompt(stage: Stage) -> dict[str, Any]:
    """Return the rule that a prompt is stated by *stage*, or varied by what sets several knobs."""
    listed = {"contains": _in_setting(stage, "prompt")}
    together = {"anyOf": [
        {"required": [source], "properties": {source: listed}}
        for source in ("settings", "sub_sweeps")
    ]}  # fmt: skip
    stated = {"required": [stage], "properties": {stage: {"required": ["prompt"]}}}
    return {
        "if": {"required": ["randomizer"], "properties": {"randomizer": together}},
        "then": {"not": {"allOf": [stated, _runs(stage)]}},
    }


_LORA_NAME = r"lora\.[^<>:]+$"
_WEIGHT = {
    "type": "number", "minimum": -MOST_WEIGHT, "maximum": MOST_WEIGHT,
    "description": "Weight of a LoRA; at 0 the prompt does not name it.",
}  # fmt: skip
_WEIGHTS = [{"type": "array", "items": _WEIGHT, "minItems": 1}, {"type": "string", "minLength": 1}]
_LORA_WEIGHTS = {
    "type": "object",
    "description": "NAME = weights; a name with dots may nest.",
    "patternProperties": {"^[^<>:]*$": {"$ref": "#/$defs/swept_weight"}},
    "additionalProperties": {"$ref": "#/$defs/nothing"},
}
_SET_LORAS = {
    "type": "object",
    "description": "NAME = weight; a name with dots may nest.",
    "patternProperties": {"^[^<>:]*$": {"$ref": "#/$defs/set_weight"}},
    "additionalProperties": False,
    "minProperties": 1,
}
_NOTHING = {"type": "object", "additionalProperties": {"$ref": "#/$defs/nothing"}}
"""Tables that hold tables, and nothing in the end."""


def _swept_knob(knob: Knob) -> dict[str, Any]:
    values = {"type": "array", "items": _knob_schema(knob), "minItems": 1}
    return {"description": knob.summary, "anyOf": [values, {"type": "string", "minLength": 1}]}


def _sweep_schema() -> dict[str, Any]:
    knobs = {
        stage: {knob.name: _ref(f"swept_{knob.name}") for knob in KNOBS.values()
                if stage in knob.stages}
        for stage in STAGES
    }  # fmt: skip
    extras = {"type": "object", "additionalProperties": _ref("swept_extra")}
    nested = {
        stage: {
            "type": "object",
            "properties": {
                **own,
                "extra": extras,
                **({} if stage == "upscale" else {"lora": _LORA_WEIGHTS}),
            },
            "patternProperties": {
                r"^extra\.": _ref("swept_extra"),
                **({} if stage == "upscale" else {f"^{_LORA_NAME}": _ref("swept_weight")}),
            },
            "additionalProperties": _ref("nothing"),
        }
        for stage, own in knobs.items()
    }
    dotted = {f"{stage}.{name}": ref for stage, own in knobs.items() for name, ref in own.items()}
    return {
        "type": "object",
        "description": '"stage.knob" = [values] or a range text such as "10-30 (+5)".',
        "properties": {
            **dotted,
            **{f"{stage}.extra": extras for stage in STAGES},
            **nested,
            **dict.fromkeys(("lora", "txt2img.lora", "img2img.lora"), _LORA_WEIGHTS),
        },
        "patternProperties": {
            rf"^({'|'.join(STAGES)})\.extra\.": _ref("swept_extra"),
            rf"^((txt2img|img2img)\.)?{_LORA_NAME}": _ref("swept_weight"),
        },
        "additionalProperties": _ref("nothing"),
    }


def _stage_schema(stage: Stage) -> dict[str, Any]:
    properties = {knob.name: _knob_schema(knob) for knob in KNOBS.values() if stage in knob.stages}
    texts = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    for knob, meaning in zip(PROMPT_KNOBS, ("makes a pack", "goes with the prompts'"), strict=True):
        if knob in properties:
            properties[knob] = {
                "description": f"{KNOBS[knob].summary} A list {meaning}, one by one.",
                "anyOf": [{"type": "string"}, texts],
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


def _output_schema() -> dict[str, Any]:
    cells, sides = (
        {"type": "integer", "minimum": least, "maximum": most}
        for least, most in (SHEET_CELLS, SHEET_SIDES)
    )
    return {
        "type": "object",
        "properties": {
            "name": {
                "type": "string",
                "minLength": 1,
                "description": "Pattern of the pictures' names, such as {prompt:40}-{seed}.",
            },
            "sheet": {"type": "boolean", "description": "false makes no contact sheet."},
            "sheet_cells": {**cells, "description": "Most pictures of a contact sheet."},
            "sheet_side": {**sides, "description": "Longer side of its pictures, in pixels."},
        },
        "additionalProperties": False,
    }


def _retry_schema() -> dict[str, Any]:
    retries, patience = (
        {"type": "integer", "minimum": least, "maximum": most}
        for least, most in (RETRIES, PATIENCE)
    )
    return {
        "type": "object",
        "description": "What is done when an engine does not answer.",
        "properties": {
            "retries": {**retries, "description": "How often a variant is tried again."},
            "patience": {
                **patience,
                "description": "Seconds that the last engine is waited for while it is not there.",
            },
            "unknown": {
                "type": "boolean",
                "description": "true tries again what may have been drawn already.",
            },
        },
        "additionalProperties": False,
    }


def _randomizer_schema() -> dict[str, Any]:
    count = {"type": "integer", "minimum": 1}
    place = {"type": "integer", "minimum": 0}
    modes = list(get_args(RandomizerMode))
    properties: dict[str, Any] = {
        "enabled": {"type": "boolean"},
        "mode": {"enum": modes, "description": "How the sources combine."},
        "seed": {**place, "description": "Seed of everything drawn."},
        "draws": {**count, "description": "Variants that mode = random makes."},
        "start": {**place, "description": "Combination that mode = rotate begins with."},
        "max_variants": {**place, "description": "Most variants to keep; 0 keeps all."},
        "part": {
            "type": "string",
            "pattern": "^[0-9]{1,6}/[0-9]{1,6}$",
            "description": "Which part of how many this machine draws, such as 2/8.",
        },
        "seeds_per_variant": {**count, "description": "Pictures per combination."},
        "seed_policy": {"enum": list(get_args(SeedPolicy))},
        "templates": {
            "anyOf": [{"type": "boolean"}, _PROMPTS],
            "description": "Expand {a|b} and __wildcards__, or the prompts in which to.",
        },
        "wildcards_dir": {"type": "string", "description": "Folder with wildcard files."},
        "prompt_sr": _source_schema("rules", "search", "replacements", "=>"),
        "wildcards": _source_schema("tokens", "token", "values", ":"),
        "matrix": _source_schema("slots", "name", "values", ":"),
        "prompt_matrix": {
            "type": "object",
            "description": "base|part 1|part 2 is the base with any of its parts.",
            "properties": {
                "enabled": {"type": "boolean"},
                "place": {
                    "enum": list(get_args(PartsPlace)),
                    "description": "Where the parts stand.",
                },
                "separator": {"type": "string"},
            },
            "additionalProperties": False,
        },
        "sweep": _ref("sweep"),
        "settings": {
            "type": "array",
            "items": _setting_schema(),
            "description": "Values that come together, each stage.knob = value.",
        },
        "prompts": _prompt_file_schema(),
        "exclude": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"where": {"type": "string", "pattern": r"\S"}},
                "required": ["where"],
                "additionalProperties": False,
            },
            "description": "Conditions; combinations for which one holds are left out.",
        },
        "sub_sweeps": {
            "type": "array",
            "items": {**_ref("sweep"), "minProperties": 1},
            "description": "Sweeps that come one after the other, each as sweep.",
        },
    }
    properties["matrix"]["properties"] |= {
        "limit": {
            "type": "integer",
            "minimum": -(2**31),
            "description": "Most combinations of slots; 0 or less is all.",
        },
        "base_prompt": {"type": "string"},
        "prompt_mode": {"enum": list(get_args(PromptMode))},
    }
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _prompt_file_schema() -> dict[str, Any]:
    return {
        "type": "object",
        "description": "A file of prompts, each with the knobs that go with it.",
        "properties": {
            "file": {
                "type": "string",
                "minLength": 1,
                "description": "The file, relative to the config.",
            },
            "format": {
                "enum": list(get_args(PromptFormat)),
                "description": "What it holds; .txt is lines unless this says otherwise.",
            },
            "columns": {
                "description": "stage.knob = the column that holds it.",
                **_ref("column_names"),
            },
        },
        "required": ["file"],
        "additionalProperties": False,
    }


def _setting_schema() -> dict[str, Any]:
    own = {
        stage: {knob.name: _knob_schema(knob) for knob in KNOBS.values()
                if stage in knob.stages and knob.name != "seed"}
        for stage in STAGES
    }  # fmt: skip
    weights = {f"^{_LORA_NAME}": _WEIGHT}
    nested = {
        stage: {
            "type": "object",
            "properties": {
                **knobs,
                "extra": {"type": "object"},
                **({} if stage == "upscale" else {"lora": _SET_LORAS}),
            },
            "patternProperties": {r"^extra\.": {}, **({} if stage == "upscale" else weights)},
            "minProperties": 1,
            "additionalProperties": False,
        }
        for stage, knobs in own.items()
    }
    return {
        "type": "object",
        "properties": {
            **{f"{stage}.{name}": rule for stage, knobs in own.items()
               for name, rule in knobs.items()},
            **nested,
            "lora": _SET_LORAS,
        },
        "patternProperties": {
            rf"^({'|'.join(STAGES)})\.extra\.": {},
            rf"^((txt2img|img2img)\.)?{_LORA_NAME}": _WEIGHT,
        },
        "minProperties": 1,
        "additionalProperties": False,
    }  # fmt: skip


def _source_schema(entries: str, name: str, values: str, separator: str) -> dict[str, Any]:
    entry = {
        "type": "object",
        "properties": {name: {"type": "string"}, values: _TEXTS},
        "additionalProperties": False,
    }
    any_case = f"^({'|'.join(map(_in_any_case, _SOURCE_MODES))})$"
    written = rf"{separator}|^\s*#([\s#]|$)"
    return {
        "type": "object",
        "properties": {
            entries: {
                "type": "array",
                "items": {"anyOf": [{"type": "string", "pattern": written}, entry]},
            },
            "mode": {"anyOf": [{"enum": _SOURCE_MODES}, {"type": "string", "pattern": any_case}]},
            "enabled": {"type": "boolean"},
            "applies_to": {**_PROMPTS, "description": "Prompts that it acts on; all if unstated."},
        },
        "additionalProperties": False,
    }


def _in_any_case(word: str) -> str:
    """Return a pattern; JSON Schema has no flag for it."""
    return "".join(f"[{c.upper()}{c}]" if c.isalpha() else c for c in word)
