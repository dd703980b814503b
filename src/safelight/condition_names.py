"""condition_names: what a condition on the combinations of a plan may name.

``stage.knob`` of every stage that runs, the knob alone where one stage has it; rules, tokens and
slots as they are called in a variant's choices, or as ``rule('cat')``, ``token('mood')`` and
``slot('style')``. What templates choose is known only once they are read, and added then.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from safelight.filters import Filter, OtherNames, compile_filter
from safelight.knobs import EXTRA, KNOBS, PROMPT_KNOBS, loose_name
from safelight.lora_tags import LORA, lora_stem
from safelight.randomizer_config import RandomizerConfig
from safelight.varied_names import dotted, first_drawing, plain_name

__all__ = ["ConditionNames", "column_value", "condition_names", "names_a_template"]

_TYPES = {"text": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE"}
_OF_TEMPLATES = ("choice", "wildcard")
_TEMPLATE = re.compile(r"[{}]|__|\b(choice|wildcard)\b", re.IGNORECASE)


@dataclass(slots=True, kw_only=True)
class ConditionNames:
    """The columns of a condition, and what else they are called.

    Attributes:
        columns: Column -> SQL type.
        aliases: Name -> column.
        forms: Word -> name -> column, for ``word('name')``.
        refused: Name -> why nothing can be said of it.
    """

    columns: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    forms: dict[str, dict[str, str]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def add(self, column: str, kind: str, *aliases: str, **forms: str) -> None:
        """Add *column*; what is there already keeps its name.

        Args:
            column: Its name in a variant's choices, or of a knob.
            kind: SQL type.
            aliases: What else it may be called.
            forms: Word -> name, for ``word('name')``.
        """
        self.columns.setdefault(column, kind)
        for alias in aliases:
            self.aliases.setdefault(alias, column)
        for word, name in forms.items():
            known = self.forms.setdefault(word, {})
            known.setdefault(name, column)
            known.setdefault(loose_name(name), column)

    def add_choice(self, name: str, where: str) -> None:
        """Add what a template chooses.

        Args:
            name: In a variant's choices, ``stage.knob`` of its prompt first.
            where: That of the prompt whose choices need no such beginning.
        """
        short = name.removeprefix(where)
        self.add(name, "VARCHAR", short, choice=short)
        self.add(name, "VARCHAR", choice=name)
        if short.startswith("__") and " > " not in short:
            self.add(name, "VARCHAR", wildcard=short.strip("_"))

    def compile(self, text: str) -> Filter:
        """Return the condition that *text* states.

        Raises:
            FilterError: It cannot be read, or names what there is not.
        """
        names = OtherNames(
            aliases=self.aliases, forms=self.forms, refused=self.refused, noun="axis or knob"
        )
        return compile_filter(text, self.columns, names=names)


def condition_names(
    stages: Mapping[Any, Mapping[str, Any]], randomizer: RandomizerConfig
) -> ConditionNames:
    """Return what a condition may name, but for what templates choose.

    Args:
        stages: Stage that runs -> its knobs, as stated.
        randomizer: What varies.
    """
    names = ConditionNames(forms={word: {} for word in ("rule", "token", "slot", *_OF_TEMPLATES)})
    first = first_drawing(stages)
    varied = {plain_name(name, first) for name in randomizer.varied()}
    for rule in randomizer.prompt_sr.rules if randomizer.prompt_sr.enabled else ():
        names.add(f"{rule.search}->", "VARCHAR", rule=rule.search)
    for token in randomizer.wildcards.tokens if randomizer.wildcards.enabled else ():
        names.add(token.token, "VARCHAR", token=token.token)
        names.add(token.token, "VARCHAR", token=token.token.strip("_"))
    for slot in randomizer.matrix.slots if randomizer.matrix.enabled else ():
        names.add(f"[{slot.name}]", "VARCHAR", slot=slot.name)
    _add_knobs(names, stages, varied)
    _add_settings(names, stages, randomizer, varied)
    return names


def names_a_template(text: str) -> bool:
    """Return whether the condition *text* may name what a template chooses, not yet read."""
    return bool(_TEMPLATE.search(text))


def _add_knobs(
    names: ConditionNames, stages: Mapping[Any, Mapping[str, Any]], varied: Collection[str]
) -> None:
    for knob in KNOBS.values():
        having = [stage for stage in stages if stage in knob.stages]
        stating = [s for s in having if knob.name in stages[s] or f"{s}.{knob.name}" in varied]
        for stage in having:
            column = f"{stage}.{knob.name}"
            if knob.name == "seed" and column not in varied:
                why = "every combination has the same seeds: sweep the seed to leave out some"
                names.refused[column] = why
                names.refused.setdefault("seed", why)
                continue
            names.add(column, "UBIGINT" if knob.name == "seed" else _TYPES[knob.kind])
        said = stating or having
        if len(said) == 1 or (said and knob.name in PROMPT_KNOBS) or (having and not stating):
            if f"{said[0]}.{knob.name}" in names.columns:
                names.aliases[knob.name] = f"{said[0]}.{knob.name}"
                names.refused.pop(knob.name, None)
        elif said:
            full = " or ".join(f"{stage}.{knob.name}" for stage in said)
            names.refused[knob.name] = f"several stages have {knob.name}: write {full}"


def _add_settings(
    names: ConditionNames,
    stages: Mapping[Any, Mapping[str, Any]],
    randomizer: RandomizerConfig,
    varied: Collection[str],
) -> None:
    """Add weights of LoRAs and what only the engine knows."""
    found: dict[str, list[Any]] = {}
    for stage, knobs in stages.items():
        for path, value in dotted(knobs.get("extra", {})):
            found.setdefault(f"{stage}.{EXTRA}{path}", []).append(value)
    for table in (randomizer.sweep, *randomizer.sub_sweeps):
        for name, values in table.items():
            found.setdefault(name, []).extend(() if isinstance(values, str) else values)
    for setting in randomizer.settings:
        for name, stated in setting.items():
            found.setdefault(name, []).append(stated)
    first = first_drawing(stages)
    extras = {name: listed for name, listed in found.items() if _is_extra(name)}
    paths = [name.partition(".")[2] for name in extras]
    for name, listed in extras.items():
        path = name.partition(".")[2]
        alias = (path,) if paths.count(path) == 1 else ()
        names.add(name, _type_of(listed), *alias)
        names.add(name, "VARCHAR", extra=path.removeprefix(EXTRA))
    for name in varied:
        stage, _, path = name.partition(".")
        if path.startswith(LORA):
            alias = (path,) if stage == first else ()
            names.add(name, "DOUBLE", *alias, lora=path.removeprefix(LORA))
            names.add(name, "DOUBLE", lora=lora_stem(path.removeprefix(LORA)))


def _is_extra(name: str) -> bool:
    return name.partition(".")[2].startswith(EXTRA)


def _type_of(values: Sequence[Any]) -> str:
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    return "DOUBLE" if values and numbers else "VARCHAR"


def column_value(value: Any, kind: str) -> Any:
    """Return *value* as a column of SQL type *kind* holds it."""
    if value is None or kind != "VARCHAR" or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)
