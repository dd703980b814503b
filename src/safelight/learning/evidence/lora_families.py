"""lora_families: the states of one training as levels of one setting.

Of the epochs and steps of one training a picture has one or none. As a knob each, none of them
could be told from the others; as one knob they are compared with each other, and with none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from safelight.learning.evidence.trials import Trials
from safelight.learning.evidence.value_columns import Levels, levels_of
from safelight.lora_tags import lora_family
from safelight.recorded_settings import LORA

__all__ = ["with_families"]

Floats = NDArray[np.float64]


def with_families(trials: Trials) -> Trials:
    """Return *trials* where LoRAs of one training that are never together are one knob.

    It is called ``lora.FAMILY`` and has the LoRAs' names as levels. What they weighed only tells
    pictures apart.
    """
    families: dict[str, list[str]] = {}
    for knob in trials.numbers:
        if knob.startswith(LORA):
            families.setdefault(lora_family(knob.removeprefix(LORA)).name, []).append(knob)
    numbers, levels = dict(trials.numbers), dict(trials.levels)
    settings, doubtful = dict(trials.settings), dict(trials.doubtful)
    for family, members in families.items():
        columns = {knob: np.nan_to_num(numbers[knob], nan=1.0) for knob in members}
        if len(members) < 2 or not _exclude_each_other(columns):
            continue
        knob = f"{LORA}{family}"
        for member in members:
            del numbers[member]
        doubts = [doubtful.pop(member) for member in members if member in doubtful]
        if doubts:
            doubtful[knob] = np.any(doubts, axis=0)
        levels[knob] = _which(columns)
        settings[f"{knob} weight"] = levels_of(sum(columns.values(), np.zeros(len(trials))))
    return replace(trials, numbers=numbers, levels=levels, settings=settings, doubtful=doubtful)


def _exclude_each_other(columns: Mapping[str, Floats]) -> bool:
    return bool((np.count_nonzero(np.stack(list(columns.values())), axis=0) <= 1).all())


def _which(columns: Mapping[str, Floats]) -> Levels:
    """Return which of the LoRAs each row has, in the order of their training."""

    def state(knob: str) -> tuple[bool, int, str]:
        number = lora_family(knob.removeprefix(LORA)).number
        return number is None, number or 0, knob  # the last file of a training has no number

    ordered = sorted(columns, key=state)
    there = np.stack([columns[knob] != 0 for knob in ordered])
    codes = np.where(there.any(axis=0), there.argmax(axis=0), -1).astype(np.int64)
    return Levels(names=tuple(knob.removeprefix(LORA) for knob in ordered), codes=codes)
