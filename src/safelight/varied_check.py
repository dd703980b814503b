"""varied_check: every rule that sweeps, settings and sub-sweeps of a config can break."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, cast

from safelight.config_tables import StagesReader, plain
from safelight.knobs import EXTRA, KNOBS, STAGES, Knob, KnobKind, Stage, did_you_mean, knob_fault
from safelight.lora_tags import lora_of
from safelight.value_ranges import values_of
from safelight.varied_names import dotted, extra_fault, first_drawing, lora_fault, plain_name

__all__ = ["VariedReader"]

_VARIED_BESIDE = "is in a sub-sweep, and in randomizer.sweep or randomizer.settings{}, too"
_STARTS = (*STAGES, "lora")
"""What the name of anything that varies begins with."""


class VariedReader(StagesReader):
    """Reads what varies knobs."""

    def sub_sweeps(
        self,
        value: object,
        beside: Sequence[Mapping[str, Any]],
    ) -> Iterator[Mapping[str, str | tuple[Any, ...]]]:
        """Yield each sub-sweep; *beside* are the sweep and the settings, which vary other knobs."""
        if not isinstance(value, (list, tuple)):
            self._fault("randomizer.sub_sweeps", f"must be a list of tables, got {value!r}")
            return
        first = first_drawing(self._stages)
        taken = {plain_name(key, first): key for table in beside for key in table}
        for place, entry in enumerate(value):
            path = f"randomizer.sub_sweeps[{place}]"
            faults = len(self.faults)
            sub_sweep = self.sweep(entry, path, taken)
            if not sub_sweep and len(self.faults) == faults:
                self._fault(path, "must sweep at least one stage.knob, got an empty table")
            yield sub_sweep

    def sweep(
        self,
        value: object,
        where: str = "randomizer.sweep",
        taken: Mapping[str, str] | None = None,
    ) -> Mapping[str, str | tuple[Any, ...]]:
        """Return ``stage.knob`` -> values; *taken*, of a sub-sweep only, is varied beside it."""
        table = self._table(value, where)
        sweep: dict[str, str | tuple[Any, ...]] = {}
        names: dict[str, str] = {}
        for written, spec in dotted(table or {}):
            path = f"{where}.{written}"
            key = plain_name(written)
            name = key.partition(".")[2]
            lora = lora_of(key, "")
            again = _again("is swept already{}", key, names, self._stages)
            if taken is not None:
                again = again or _again(_VARIED_BESIDE, key, taken, self._stages)
                again = again or _stated_prompt("a sub-sweep", key, self._stages)
            names[plain_name(key, first_drawing(self._stages))] = key
            if again:
                self._fault(path, again)
            elif lora and lora[0] in ("", *STAGES):
                fault = partial(lora_fault, key, stages=self._stages)
                self._swept(sweep, key, spec, path, "number", fault)
            elif message := _name_fault("sweeps", key, self._stages):
                self._fault(path, message)
            elif name.startswith(EXTRA):
                self._swept_extra(sweep, key, spec, path)
            else:
                self._swept(sweep, key, spec, path, KNOBS[name].kind, partial(_every, KNOBS[name]))
        return MappingProxyType(sweep)

    def settings(self, value: object, sweep: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """Yield each setting, ``stage.knob`` -> value; *sweep* varies other knobs."""
        if not isinstance(value, (list, tuple)):
            self._fault("randomizer.settings", f"must be a list of tables, got {value!r}")
            return
        first = first_drawing(self._stages)
        swept = {plain_name(key, first): key for key in sweep}
        for place, entry in enumerate(value):
            path = f"randomizer.settings[{place}]"
            table = self._table(entry, path)
            if table is None:
                continue
            setting: dict[str, Any] = {}
            names: dict[str, str] = {}
            for written, item in _settings_of(table):
                key = plain_name(written)
                message = (
                    _setting_fault(key, item, self._stages)
                    or _again("is in this setting already{}", key, names, self._stages)
                    or _again("is in a setting, and swept{}, too", key, swept, self._stages)
                )
                if message:
                    self._fault(f"{path}.{written}", message)
                names[plain_name(key, first)] = key
                setting[key] = plain(item)
            if not setting:
                self._fault(path, "must set at least one stage.knob, got an empty table")
            yield MappingProxyType(setting)

    def _swept_extra(self, sweep: dict[str, Any], key: str, spec: object, path: str) -> None:
        if isinstance(spec, (list, tuple)) and spec:
            sweep[key] = tuple(spec)
        else:
            self._fault(path, f"must be a list of values, got {spec!r}")

    def _swept(
        self,
        sweep: dict[str, Any],
        key: str,
        spec: object,
        path: str,
        kind: KnobKind,
        fault: Callable[[Any], str | None],
    ) -> None:
        """Take the values of *spec*, of which *fault* says why one may not be."""
        try:
            values = values_of(spec, kind)
        except ValueError as error:
            self._fault(path, str(error))
            return
        if not len(values):
            self._fault(path, f"must hold at least one value, got {spec!r}")
            return
        for value in _ends(values):
            if message := fault(value):
                self._fault(path, message)
                return
        sweep[key] = spec if isinstance(spec, str) else tuple(cast("Sequence[Any]", spec))


def _settings_of(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield ``stage.knob`` -> value, whether keys are quoted or not; what is quoted stays whole."""
    for key, value in table.items():
        if isinstance(value, Mapping) and key in _STARTS:
            yield from dotted({key: value})
        else:
            yield key, value


def _every(knob: Knob, value: object) -> str | None:
    """Return why *value* may not be among those of *knob*, or None."""
    message = knob_fault(knob, value)
    return message and f"every value {message}"


def _setting_fault(
    key: str, value: object, stages: Mapping[Stage, Mapping[str, Any]]
) -> str | None:
    """Return why ``stage.knob`` *key* may not be *value* in a setting, or None."""
    name, lora = key.partition(".")[2], lora_of(key, "")
    if lora and lora[0] in ("", *STAGES):
        return lora_fault(key, value, stages)
    message = _name_fault("sets", key, stages)
    if message or name.startswith(EXTRA):
        return message
    if name == "seed":
        return "cannot be part of a setting; every setting has the same seeds"
    return _stated_prompt("a setting", key, stages) or knob_fault(KNOBS[name], value)


def _name_fault(doing: str, key: str, stages: Mapping[Stage, Mapping[str, Any]]) -> str | None:
    """Return why *key* is no ``stage.knob`` that can be varied, or None; *doing* is a verb."""
    stage, _, name = key.partition(".")
    if stage not in STAGES:
        return f"must be named stage.knob{did_you_mean(stage, _STARTS)}"
    if stage not in stages:
        return f"{doing} a knob of {stage}, which does not run"
    if name.startswith(EXTRA) or (name in KNOBS and stage in KNOBS[name].stages):
        return None
    own = [knob.name for knob in KNOBS.values() if stage in knob.stages]
    return f"{name!r} is not a knob of {stage}{did_you_mean(name, own)}"


def _stated_prompt(source: str, key: str, stages: Mapping[Stage, Mapping[str, Any]]) -> str | None:
    """Return why *source* may not have a prompt; None when *key* is none, or it may."""
    stage, _, name = key.partition(".")
    if name == "prompt" and "prompt" in stages.get(cast("Stage", stage), {}):
        return f"is in {source}, and stated in {stage}, too; leave one of them out"
    return None


def _again(
    told: str, key: str, names: Mapping[str, str], stages: Mapping[Stage, Mapping[str, Any]]
) -> str | None:
    """Return why *key* cannot be varied beside *names*, or at all where it lies; None if it can.

    Args:
        told: What is told when it is one of them, with room for how that is written.
        key: As :func:`plain_name` has it.
        names: Name with its stage -> as it is written.
        stages: As stated.
    """
    same = names.get(plain_name(key, first_drawing(stages)))
    if same is not None:
        written = "" if same == key else f" as {same!r}"
        return f"{told.format(written)}; leave one of them out"
    return extra_fault(key, names, stages)


def _ends(values: Sequence[Any]) -> Iterator[Any]:
    """Yield every value of a short sequence, and a spread of a long range."""
    if len(values) <= 10_000:
        yield from values
    else:
        stride = len(values) // 1000
        yield from (values[place] for place in range(0, len(values), stride))
        yield values[-1]
