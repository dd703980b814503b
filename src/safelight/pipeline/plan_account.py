"""plan_account: what a record says of the plan that its run is part of, and how two plans differ.

The account holds what decides which variants there are: what varies, with its values; the rules,
slots, tokens, seeds and caps of the randomizer as far as they are stated; the hashes of the
wildcard files, of the file of prompts and of the pictures that the config names; and the config as
it was written, secrets removed. One that is larger than :data:`LARGEST` keeps counts and hashes
instead.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import msgspec

from safelight.config import PipelineConfig
from safelight.errors import StorageError, shortened
from safelight.knobs import FILE_KNOBS
from safelight.learning.snapshot import plain_snapshot, plain_values
from safelight.pipeline.input_files import InputFiles
from safelight.randomizer import RandomizerPlanResult
from safelight.randomizer_config import RandomizerConfig

__all__ = ["FIRST_PART", "LARGEST", "plan_account", "plan_differences"]

LARGEST = 65_536
"""Bytes of JSON that an account may have."""

FIRST_PART = "first_part"
"""In the account of a later part: the run whose account is that of the whole plan."""

_MOST_VALUES = 2000
"""Values of axes that are listed at most; the config and the hashes decide the others."""

_UNSTATED = RandomizerConfig()
_encoder = msgspec.json.Encoder(order="sorted")


def plan_account(
    config: PipelineConfig, plan: RandomizerPlanResult, files: InputFiles
) -> dict[str, Any]:
    """Return what is to be recorded of *plan*, plain values.

    Args:
        config: What the plan was made of.
        plan: The plan.
        files: Where the pictures that *config* names are.
    """
    randomizer = {
        entry.name: value
        for entry in fields(config.randomizer)
        if (value := getattr(config.randomizer, entry.name)) != getattr(_UNSTATED, entry.name)
    }
    account: dict[str, Any] = plain_snapshot(
        {
            "axes": list(_axes(plan)),
            "full_size": plan.full_size,
            **({"left_out": plan.left_out} if plan.left_out else {}),
            "randomizer": randomizer,
            "wildcard_files": plan.wildcard_files,
            "prompt_files": plan.prompt_file.to_metadata() if plan.prompt_file else {},
            "input_files": _contents(config, files),
        }
    )
    if config.stated:
        # As text: records sort keys, and the order of a sweep's axes is that of the file.
        account["config"] = json.dumps(plain_snapshot(config.stated), ensure_ascii=False)
    return _shortened({key: value for key, value in account.items() if value not in ({}, [])})


def _axes(plan: RandomizerPlanResult) -> Iterator[dict[str, Any]]:
    left = _MOST_VALUES
    for axis in plan.axes:
        account: dict[str, Any] = {"name": axis.name, "size": axis.size}
        if axis.values is not None and axis.size <= left:
            account["values"] = list(axis.values)
            left -= axis.size
        yield account


def _contents(config: PipelineConfig, files: InputFiles) -> dict[str, str]:
    """Return ``stage.knob`` -> SHA-256 of the picture that it names, for all that can be read."""
    contents = {}
    for stage, knobs in config.stages.items():
        for knob in FILE_KNOBS:
            try:
                digest = files.sha256(knob, knobs)
            except StorageError:  # the run will say so
                continue
            if digest is not None:
                contents[f"{stage}.{knob}"] = digest
    return contents


def _digest(value: Any) -> str:
    return hashlib.sha256(_encoder.encode(value)).hexdigest()


def _shortened(account: dict[str, Any]) -> dict[str, Any]:
    """Put counts and hashes in place of the largest parts until *account* is small enough."""
    sizes = {key: len(_encoder.encode(value)) for key, value in account.items()}
    for key in sorted(sizes, key=lambda name: -sizes[name]):
        if sum(sizes.values()) <= LARGEST:
            break
        value = account[key]
        account[key] = {"count": len(value), "sha256": _digest(value)}
        sizes[key] = len(_encoder.encode(account[key]))
    return account


def plan_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return in which ways the plan *now* draws other variants than the one *before*.

    Args:
        before: An account as a record holds it; empty where it holds none.
        now: The other one.
    """
    if not before:
        return []
    sentences: list[str] = []
    for part, what, name_of in (
        ("randomizer", "the [randomizer] table", "{}"),
        ("wildcard_files", "the wildcard files", "wildcard {}"),
        ("prompt_files", "the file of prompts", "the file of prompts {}"),
        ("input_files", "the pictures that the config names", "the picture of {}"),
    ):
        first, second = before.get(part, {}), now.get(part, {})
        if _is_short(first) or _is_short(second):
            if _digest_of(first) != _digest_of(second):
                sentences.append(f"{what} changed")
        elif part == "randomizer":
            sentences += _settings_differences(first, second)
        else:
            sentences += _content_differences(first, second, name_of)
    first, second = before.get("full_size"), now.get("full_size")
    if not sentences and first != second:
        sentences.append(f"there are {second:,} combinations, and were {first:,}")
    return sentences


def _is_short(part: Mapping[str, Any]) -> bool:
    return set(part) == {"count", "sha256"}


def _digest_of(part: Mapping[str, Any]) -> str:
    return str(part["sha256"]) if _is_short(part) else _digest(part)


def _content_differences(
    before: Mapping[str, Any], now: Mapping[str, Any], name_of: str
) -> Iterator[str]:
    for name in dict.fromkeys((*before, *now)):
        if before.get(name) == now.get(name):
            continue
        what = name_of.format(name)
        if name not in now:
            yield f"{what} is gone"
        else:
            yield f"{what} has other content" if name in before else f"{what} is new"


def _settings_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys((*before, *now)):
        unstated = plain_values({name: getattr(_UNSTATED, name, None)})[name]
        first, second = before.get(name, unstated), now.get(name, unstated)
        if name != "sweep":
            if first != second:
                yield f"randomizer.{name} is {_values(second)}, and was {_values(first)}"
            continue
        for knob in dict.fromkeys((*first, *second)):
            if first.get(knob) != second.get(knob):
                values, earlier = _values(second.get(knob)), _values(first.get(knob))
                yield f"{knob} is swept over {values}, and was over {earlier}"


def _is_condition(value: object) -> bool:
    return isinstance(value, Mapping) and set(value) == {"where"}


def _values(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Sequence) and not isinstance(value, str):
        shown = [str(each["where"] if _is_condition(each) else each) for each in value[:20]]
        value = ", ".join(shown) + (", ..." if len(value) > 20 else "")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shortened(text, 200)
