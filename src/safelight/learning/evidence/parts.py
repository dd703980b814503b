"""parts: what a difference is in parts of the pictures, where it depends on them.

An interaction says that a knob does not do the same everywhere. Where it does the opposite, or
nothing, in one of two parts, an average of both is true of neither: then each part has a figure of
its own, and the difference is never told for all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safelight.filter_tokens import quoted
from safelight.learning.evidence.comparing import FEWEST_PICTURES, MATTERS, Comparing, Draft
from safelight.learning.evidence.findings import ABSENT, Interaction, Part, text_of_level
from safelight.learning.evidence.knob_levels import KnobLevels
from safelight.learning.evidence.picture_kinds import PictureKind
from safelight.recorded_settings import LORA

__all__ = ["Changed", "differences_in_parts"]

_RISK = 0.05
_MOST = 6
"""So many interactions are looked into, those found first."""

Changed = tuple[str, str, str]
"""A knob, one of its levels, and what that is compared with."""


@dataclass(frozen=True, slots=True, eq=False)
class _Some:
    """Some of the pictures: what tells them from others, and a filter that says so."""

    knob: str
    value: str
    condition: str
    rows: NDArray[np.int64]


def differences_in_parts(
    comparing: Comparing,
    interactions: Sequence[Interaction],
    drafts: Sequence[Draft],
    kinds: Mapping[str, PictureKind],
) -> Mapping[Changed, tuple[Part, ...]]:
    """Return the comparisons that are not the same in both parts of the pictures.

    In one of them the difference is sure by itself (95 %, corrected for both parts and the
    comparisons that an interaction is about: of numbers these are all), and in the other it has
    the other sign, or is less than :data:`.comparing.MATTERS` and not sure.

    Args:
        comparing: The knobs.
        interactions: What was found to depend on what.
        drafts: The comparisons of all pictures.
        kinds: Those that interactions may name.
    """
    found: dict[Changed, tuple[Part, ...]] = {}
    for interaction in interactions[:_MOST]:
        for knob, other in (
            (interaction.knob, interaction.other), (interaction.other, interaction.knob)
        ):  # fmt: skip
            if knob not in comparing.levels:
                continue
            some = list(_split(comparing, interaction, other, kinds.get(other)))
            concerned = list(_concerned(interaction, knob, drafts))
            for changed in concerned:
                if changed in found:
                    continue
                both = [part for own in some if (part := _part(comparing, own, changed))]
                parts = tuple(part for part, _ in both)
                looks = len(both) * len(concerned)
                sure = min((chance for _, chance in both), default=1.0) * looks <= _RISK
                if sure and _differ(parts):
                    found[changed] = parts
    return found


def _concerned(interaction: Interaction, knob: str, drafts: Sequence[Draft]) -> Iterator[Changed]:
    """Yield the comparisons of *knob* that an interaction is about."""
    change = interaction.change if knob == interaction.knob else interaction.other_change
    own = [draft for draft in drafts if draft.knob == knob]
    named = [draft for draft in own if {draft.level, draft.against} == set(change)]
    # Numbers are changed from little to much, which need not be levels.
    for draft in named or own:
        yield knob, draft.level, draft.against


def _split(
    comparing: Comparing, interaction: Interaction, other: str, kind: PictureKind | None
) -> Iterator[_Some]:
    change = interaction.other_change if other == interaction.other else interaction.change
    if kind is not None:
        for side, has in ((1, kind.has), (0, ~kind.has)):
            yield _Some(other, kind.parts[side], kind.conditions[side], np.flatnonzero(has))
        return
    levels = comparing.levels[other]
    if all(name in levels.names for name in change):
        for name in change:
            rows = np.flatnonzero(levels.codes == levels.names.index(name))
            yield _Some(other, name, _condition(levels, name), rows)
    elif levels.values is not None:
        column = levels.values[levels.codes]
        middle = float(np.median(column))
        yield _Some(other, f"up to {middle:.4g}", "", np.flatnonzero(column <= middle))
        yield _Some(other, f"above {middle:.4g}", "", np.flatnonzero(column > middle))


def _condition(levels: KnobLevels, name: str) -> str:
    """Return the filter for the level *name*; empty where none says it."""
    plain = levels.knob.replace(".", "_").isidentifier() and not levels.knob.startswith(LORA)
    if name == ABSENT or not plain:
        return ""
    if levels.values is None:
        return f"{levels.knob} = {quoted(text_of_level(name))}"
    exact = float(name) == levels.values[levels.names.index(name)] if " " not in name else False
    return f"{levels.knob} = {name}" if exact else ""


def _part(comparing: Comparing, some: _Some, changed: Changed) -> tuple[Part, float] | None:
    """Return the difference in a part, and its chance where there is none."""
    if len(some.rows) < 2 * FEWEST_PICTURES:
        return None
    inside = Comparing(comparing.trials.of_rows(some.rows.tolist()))
    draft = inside.draft(*changed)
    if draft is None or draft.estimate is None:
        return None
    reach = draft.quantile * draft.estimate.error
    part = Part(
        knob=some.knob, value=some.value, condition=some.condition,
        difference=draft.estimate.difference, low=draft.estimate.difference - reach,
        high=draft.estimate.difference + reach, n=draft.n, basis=draft.basis,
    )  # fmt: skip
    return part, draft.chance


def _differ(parts: Sequence[Part]) -> bool:
    if len(parts) < 2:
        return False
    sure = [part for part in parts if part.sure]
    for one in sure:
        for other in parts:
            apart = one.difference * other.difference < 0
            nothing = other not in sure and abs(other.difference) < MATTERS
            if other is not one and (apart or nothing):
                return True
    return False
