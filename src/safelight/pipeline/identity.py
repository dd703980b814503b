"""Identity: what makes a variant the same picture as another one.

Two variants are the same when everything that may change their pixels is: every knob, the content
of every picture that they start from, the engine, and its setup: options, precision, the content of
a workflow, what a server takes where a config states nothing, the files behind the names of models,
VAEs, LoRAs and upscalers, and the address at which those names mean something. What an engine does
not tell before it draws is not known, and then a variant has no identity. The engine's version is
compared beside it, because some engines tell theirs only with their first picture: an unknown
version differs from none.

An identity begins with the number of the rule that it was made by. What was recorded by an earlier
rule is looked up by that rule, and then counts only if its record holds what this one asks for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from safelight.errors import StorageError
from safelight.knobs import FILE_KNOBS
from safelight.learning.snapshot import plain_values
from safelight.lora_tags import split_loras
from safelight.pipeline.backend import ALWAYS_LOADED, BackendDescription, EngineSetup, Named
from safelight.pipeline.input_files import InputFiles

__all__ = ["Identities", "named_files", "setup_differences"]

_RULE = "2-"
_KINDS: Mapping[str, str] = {
    "model": "model", "vae": "vae", "upscaler": "upscaler", "hires_upscaler": "upscaler",
}  # fmt: skip
"""Knob -> what kind of file it names."""

_EARLIER_FACTS = ("model_sha256", "loaded_model")
"""What the first rule took from an engine's environment where a config named no model."""

Config = Mapping[Any, Mapping[str, Any]]
_encoder = msgspec.json.Encoder(order="sorted")


def named_files(configs: Iterable[Config]) -> Named:
    """Return which files *configs* name, by kind: ``model``, ``vae``, ``upscaler``, ``lora``."""
    names_of: dict[str, dict[str, None]] = {}
    for config in configs:
        for kind, names in _names_in(config).items():
            names_of.setdefault(kind, {}).update(dict.fromkeys(names))
    return {kind: tuple(names) for kind, names in names_of.items()}


def _names_in(config: Config) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for knobs in config.values():
        for knob, kind in _KINDS.items():
            if isinstance(name := knobs.get(knob), str):
                names.setdefault(kind, []).append(name)
        if isinstance(prompt := knobs.get("prompt"), str) and "<lora:" in prompt:
            loras = names.setdefault("lora", [])
            loras += [lora.name for lora in split_loras(prompt)[1]]
    return names


class Identities:
    """The identities that variants have on the engines of a pool.

    Args:
        engine: Its name counts.
        setups: Worker -> its setup.
        ask: Returns the setups again, for a worker that was not there before.
        files: Where the pictures are that configs name.
    """

    def __init__(
        self,
        engine: BackendDescription,
        setups: Mapping[str, EngineSetup],
        ask: Callable[[], Mapping[str, EngineSetup]],
        files: InputFiles,
    ) -> None:
        self._engine = engine
        self._setups = dict(setups)
        self._ask = ask
        self._silent: set[str] = set()
        self._files = files

    def of(self, config: Config, worker: str, settings: str) -> str:
        """Return the identity of a variant that *worker* draws; empty when it has none.

        Args:
            config: The variant's.
            worker: Who draws it.
            settings: :meth:`settings` of the same.
        """
        if worker not in self._setups and worker not in self._silent:
            self._setups = {**self._ask(), **self._setups}
            self._silent.add(worker)  # if it does not tell now, it never will
        setup = self._setups.get(worker)
        return _identity(settings, config, setup) if setup is not None and settings else ""

    def everywhere(self, config: Config, settings: str) -> tuple[str, ...]:
        """Return every identity that the variant may have been drawn with, on these engines."""
        if not settings:
            return ()
        identities = (_identity(settings, config, setup) for setup in self._setups.values())
        return tuple(identity for identity in dict.fromkeys(identities) if identity)

    def settings(self, config: Config) -> str:
        """Return what is equal for variants of equal knobs and input pictures, hexadecimal.

        It is empty when one of the pictures cannot be read.
        """
        try:
            stages = _stages(config, self._files)
        except StorageError:  # drawing it will say so
            return ""
        return _digest({"engine": self._engine.name, "stages": stages})

    def earlier(self, config: Config) -> str:
        """Return the identity that the first rule gave; empty when it gave none."""
        try:
            stages = _stages(config, self._files)
        except StorageError:
            return ""
        settings: dict[str, Any] = {"engine": self._engine.name, "stages": stages}
        if not all("model" in knobs for stage, knobs in stages.items() if stage != "upscale"):
            facts = {name: self._engine.environment.get(name) for name in _EARLIER_FACTS}
            settings["model"] = plain_values({k: v for k, v in facts.items() if v})
        return _digest(settings)

    def held_by(self, environment: Mapping[str, Any], config: Config) -> bool:
        """Return whether a record's *environment* holds, unchanged, all that counts by now."""
        return any(_holds(environment, config, setup) for setup in self._setups.values())

    @property
    def untold(self) -> tuple[str, ...]:
        """What may change pixels and no engine tells, in words."""
        unknown = (what for setup in self._setups.values() for what in setup.untold)
        return tuple(dict.fromkeys(unknown))


def _holds(environment: Mapping[str, Any], config: Config, setup: EngineSetup) -> bool:
    if setup.untold or _defaults(config, setup) or _contents(config, setup):
        return False
    return all(environment.get(name) == value for name, value in setup.facts.items())


def _identity(settings: str, config: Config, setup: EngineSetup) -> str:
    if setup.untold:
        return ""
    about = {
        "settings": settings,
        "facts": plain_values(setup.facts),
        "defaults": plain_values(_defaults(config, setup)),
        "contents": _contents(config, setup),
    }
    return _RULE + _digest(about)


def _defaults(config: Config, setup: EngineSetup) -> dict[str, Any]:
    """Return ``stage.knob`` -> what *setup* takes there, for all that *config* leaves to it."""
    defaults = {}
    for path, value in setup.defaults.items():
        first, dot, rest = path.partition(".")
        stages = [first] if dot else [stage for stage in config if stage != "upscale"]
        knob = rest if dot else first
        for stage in stages:
            if stage in config and _stated(config[stage], knob) is None:
                defaults[f"{stage}.{knob}"] = value
    return defaults


def _stated(knobs: Mapping[str, Any], knob: str) -> Any:
    extra, dot, name = knob.partition(".")
    return (knobs.get(extra) or {}).get(name) if dot else knobs.get(knob)


def _contents(config: Config, setup: EngineSetup) -> dict[str, str]:
    """Return ``kind name`` -> hash or state, for all that *setup* knows and *config* uses."""
    used = _names_in(config)
    for path, value in _defaults(config, setup).items():
        kind = _KINDS.get(path.rpartition(".")[2])
        if kind is not None and isinstance(value, str):
            used.setdefault(kind, []).append(value)
    used[ALWAYS_LOADED] = list(setup.contents.get(ALWAYS_LOADED, ()))
    return {
        f"{kind} {name}{what}": told
        for what, known in (("", setup.contents), (" state", setup.states))
        for kind, names in used.items()
        for name in names
        if (told := known.get(kind, {}).get(name))
    }


def _stages(config: Config, files: InputFiles) -> Any:
    stages: dict[str, dict[str, Any]] = {}
    for stage, knobs in config.items():
        own = {name: value for name, value in knobs.items() if value is not None}
        stages[stage] = own | {n: files.sha256(n, knobs) for n in FILE_KNOBS if n in own}
    return _canonical(plain_values(stages))


def _canonical(value: Any) -> Any:
    """Return *value* with whole floats as integers: a cfg_scale of 7 and of 7.0 are one."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return value


def _digest(value: Any) -> str:
    return hashlib.sha256(_encoder.encode(value)).hexdigest()[:32]


def setup_differences(setups: Mapping[str, EngineSetup]) -> list[str]:
    """Return in what the workers of a pool differ that may change pixels, a sentence each.

    Args:
        setups: Worker -> its setup.
    """
    sentences = []
    (first, known), *others = setups.items() or [("", EngineSetup())]
    for worker, setup in others:
        pairs = [
            (known.facts, setup.facts, "{}"),
            (known.defaults, setup.defaults, "what it takes for {}"),
        ]
        pairs += [
            (known.contents.get(kind, {}), setup.contents.get(kind, {}), f"the {kind} {{}}")
            for kind in dict.fromkeys((*known.contents, *setup.contents))
        ]
        for mine, theirs, name_of in pairs:
            for name in dict.fromkeys((*mine, *theirs)):
                if name == "address" or mine.get(name) == theirs.get(name):
                    continue
                what = name_of.format(name)
                sentences += _differences_of(what, first, mine.get(name), worker, theirs.get(name))
    return sentences


def _differences_of(what: str, first: str, mine: Any, worker: str, theirs: Any) -> list[str]:
    if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
        names = [n for n in dict.fromkeys((*mine, *theirs)) if mine.get(n) != theirs.get(n)]
        return [_differences_of(n, first, mine.get(n), worker, theirs.get(n))[0] for n in names]
    return [f"{what} is {theirs!r} on {worker}, and {mine!r} on {first}"]
