"""suggested: settings worth trying, as plain values that :mod:`.suggest` works out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from safelight.recorded_settings import LORA

__all__ = [
    "FEWEST_ALIKE",
    "Contenders",
    "Difference",
    "Known",
    "Nearest",
    "Suggestion",
    "Suggestions",
    "setting_words",
]

FEWEST_ALIKE = 10
"""Rated pictures of settings like it that a best setting needs to be called known, as many as a
figure of effects needs on either side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A setting that was drawn and rated, and what is known of its score.

    Attributes:
        setting: Knob -> value.
        pictures: Rated pictures with exactly this setting.
        mean: Expected score.
        low: Lower end of its 95 % interval.
        high: Upper end.
        alike: Rated pictures of settings like it, its own among them.
    """

    setting: Mapping[str, Any]
    pictures: int
    mean: float
    low: float
    high: float
    alike: int = 0

    @property
    def title(self) -> str:
        """What it may be called: known, or only the best so far."""
        return "best known" if self.alike >= FEWEST_ALIKE else "best so far"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contenders:
    """Which tried values of one knob may be best, all else being as the best known setting has it.

    Models are compared at the tried setting that is best with each.

    Attributes:
        knob: Its name.
        value: That of the best known setting.
        equal: Others that may be as good or better, the best expected first.
        worse: Those than which another is better for sure, the best expected first.
    """

    knob: str
    value: Any
    equal: tuple[Any, ...]
    worse: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A setting worth drawing, and why.

    Attributes:
        setting: Knob -> value.
        mean: Expected score; None in an exploring plan, like all that follow.
        low: Lower end of the 95 % interval of the setting's own score.
        high: Upper end.
        gain: Expected score less that of the best known setting.
        gain_low: Lower end of its 95 % interval.
        gain_high: Upper end.
        pictures: Rated pictures of settings like it.
        why: One sentence.
    """

    setting: Mapping[str, Any]
    why: str
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    pictures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What a picture has of one knob, where a setting has something else.

    Attributes:
        knob: Its name.
        value: The picture's; None where it has none.
        wanted: The setting's.
    """

    knob: str
    value: Any
    wanted: Any

    @property
    def text(self) -> str:
        """What it is in a few words."""
        value, wanted = _plain(self.value), _plain(self.wanted)
        if self.knob.startswith(LORA):
            name = self.knob.removeprefix(LORA)
            if not self.value:
                return f"without {name}"
            return f"{name} at {value}" + (f", not {wanted}" if self.wanted else "")
        if self.value is None:
            return f"{self.knob} not known, {wanted} wanted"
        return f"{self.knob} {value}, not {wanted}"


def setting_words(setting: Mapping[str, Any]) -> str:
    """Return *setting* as people would say it."""
    return ", ".join(
        (f"without {name[len(LORA) :]}" if not value else f"{name[len(LORA) :]} at {_plain(value)}")
        if name.startswith(LORA)
        else f"{name} {_plain(value)}"
        for name, value in setting.items()
    )


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """A picture that comes near to a setting.

    Attributes:
        digest: SHA-256 of its file.
        differences: What of the setting it does not have.
    """

    digest: str
    differences: tuple[Difference, ...] = ()

    @property
    def text(self) -> str:
        """How it differs, in a few words."""
        return "; ".join(one.text for one in self.differences) or "the same settings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestions:
    """What to try next.

    Attributes:
        suggestions: The best expected first; evenly spread when *exploring*.
        exploring: There was too little evidence; the notes say why.
        best: The setting that is known to be best; None when *exploring*.
        pictures: Rated pictures that this rests on.
        settings: Different settings among them.
        fixed: Knob -> value of the knobs that never varied, or too rarely are known.
        notes: What else a person should know, one sentence each.
        contenders: What *best* is better than and what may be as good, by knob.
    """

    suggestions: tuple[Suggestion, ...]
    exploring: bool
    best: Known | None
    pictures: int
    settings: int
    fixed: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    contenders: tuple[Contenders, ...] = ()
