"""PictureNames: what the files of a run are called, by a pattern that is checked beforehand.

A pattern is text with placeholders in braces: ``{prompt:40}-{seed}``. All of them are known before
anything is drawn, and whatever stands in them, a name is one that every system takes: no folder, no
hidden file, no sign and no word that some system keeps for itself, at most 200 bytes. No two names
of a run are the same, also where capitals do not count: the second one gets its variant's number.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from safelight.knobs import FILE_KNOBS, KNOBS, did_you_mean

__all__ = [
    "MOST_CELLS",
    "SHEET_CELLS",
    "SHEET_PIXELS",
    "SHEET_SIDE",
    "SHEET_SIDES",
    "OutputConfig",
    "PictureNames",
    "pattern_faults",
    "safe_stem",
]

MOST_CELLS = 400
"""Pictures of a sheet, when nothing is said of it."""

SHEET_SIDE = 256
"""The longer side of a large picture on a sheet, in pixels, when nothing is said of it."""

SHEET_CELLS, SHEET_SIDES = (1, 2_500), (32, 1_024)
"""The least and the most of both."""

SHEET_PIXELS = 2**26
"""What the pictures of a sheet may have together; it is held in memory."""

_OWN = ("index", "stage", "seed", "name", "date", "time", "run")
"""Placeholders beside the knobs."""

_LONGEST = 150
"""Bytes of a stem; a number, a stage and an ending come after it."""

_MOST_SIGNS = 100
_DIGITS = 5
_NONE = "none"
_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|([{}])")
_PLACEHOLDER = re.compile(r"([A-Za-z_]+)(?::(\d{1,3}))?")
_REFUSED = re.compile(r'[<>:"/\\|?*~\x00-\x1f\x7f]')
_RESERVED = re.compile(
    r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$|contact_sheet.*|journal)(\..*)?",
    re.IGNORECASE | re.DOTALL,
)
"""Words that Windows keeps for itself, and those of files beside the pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputConfig:
    """How a run's files are laid down.

    Attributes:
        name: The pattern of the pictures' names; empty for ``{index:5}-{stage}-{seed}``.
        sheet: Whether a plan of several variants gets a contact sheet.
        sheet_cells: Most pictures of a sheet.
        sheet_side: The longer side of a large picture on it, in pixels.
    """

    name: str = ""
    sheet: bool = True
    sheet_cells: int = MOST_CELLS
    sheet_side: int = SHEET_SIDE


def pattern_faults(pattern: str, stages: Iterable[str]) -> Iterator[str]:
    """Yield in a sentence each why *pattern* can be none of names.

    Args:
        pattern: As the config has it.
        stages: Those that run.
    """
    known = _placeholders(stages)
    for part in _PART.finditer(pattern):
        if part[2]:
            yield f"has a {part[2]!r} without its other half; write {part[2] * 2!r} for the sign"
        elif part[1] is not None:
            yield from _placeholder_faults(part[1], known)
    literal = _PART.sub("", pattern)
    refused = "".join(dict.fromkeys(_REFUSED.findall(literal)))
    if refused:
        yield f"has signs that not every system takes in a name: {refused!r}"
    if pattern.startswith("."):
        yield "begins with a dot, which hides a file"
    if not pattern.strip():
        yield "must not be empty; leave it out for the usual names"
    if len(literal.encode("utf-8", "replace")) > _LONGEST // 2:
        yield f"may have {_LONGEST // 2} bytes beside its placeholders, and has more"


def _placeholder_faults(text: str, known: Sequence[str]) -> Iterator[str]:
    found = _PLACEHOLDER.fullmatch(text)
    name = text.partition(":")[0]
    if name in KNOBS and name not in known:
        yield f"{{{text}}} is a knob of no stage that runs"
    elif name not in known:
        yield f"{{{text}}} is not known{did_you_mean(name, known)}; known are: {', '.join(known)}"
    elif found is None or (found[2] is not None and not 1 <= int(found[2]) <= _MOST_SIGNS):
        yield f"{{{text}}} must be {{{name}}} or {{{name}:N}}, N from 1 to {_MOST_SIGNS}"


def _placeholders(stages: Iterable[str]) -> list[str]:
    running = set(stages)
    knobs = (knob.name for knob in KNOBS.values() if running & set(knob.stages))
    return list(dict.fromkeys((*_OWN, *(name for name in knobs if name not in FILE_KNOBS))))


class PictureNames:
    """Gives the pictures of one run their names.

    Args:
        pattern: A checked one; empty for ``{index:5}-{stage}-{seed}``.
        about: Placeholder -> value, for those that are the same all over the run: ``name``,
            ``date``, ``time``, ``run``.
    """

    def __init__(self, pattern: str = "", about: Mapping[str, str] | None = None) -> None:
        self._pattern, self._about = pattern, about or {}
        self._taken: set[str] = set()

    def name(
        self, index: int, stage: str, seed: object, config: Mapping[Any, Mapping[str, Any]]
    ) -> str:
        """Return the name of a picture, without its ending; it is given away once.

        Args:
            index: Place of its variant in the plan.
            stage: That drew it.
            seed: Of it; none when it is no whole number.
            config: Stage -> knobs of the stages that led to it, its own last.
        """
        usual = f"{index:0{_DIGITS}d}-{stage}" + (f"-{seed}" if isinstance(seed, int) else "")
        if not self._pattern:
            return usual
        values: dict[str, Any] = {}
        for knobs in config.values():
            values |= knobs
        values |= {**self._about, "index": index, "stage": stage}
        if isinstance(seed, int):  # what enlarges has none of its own
            values["seed"] = seed
        stem = safe_stem(_filled(self._pattern, values)) or usual
        for candidate in (stem, f"{stem}-{index:0{_DIGITS}d}", f"{stem}-{usual}"):
            folded = unicodedata.normalize("NFC", candidate.casefold())
            if folded not in self._taken:
                break
        self._taken.add(folded)
        return candidate


def _filled(pattern: str, values: Mapping[str, Any]) -> str:
    def fill(part: re.Match[str]) -> str:
        found = None if part[1] is None else _PLACEHOLDER.fullmatch(part[1])
        if found is None:
            return part[0][0]
        value, most = values.get(found[1]), int(found[2] or 0)
        if found[1] == "index":
            return f"{value:0{most}d}"
        text = _NONE if value is None else _text(value)
        return _cut(text, most or _MOST_SIGNS)

    return _PART.sub(fill, pattern)


def _text(value: object) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return " ".join(str(value).split())


def _cut(text: str, most: int) -> str:
    """Return the first *most* characters of *text*, and no half of the last word where it can."""
    if len(text) <= most:
        return text
    cut = text[:most]
    whole = cut.rpartition(" ")[0] if text[most] not in " ,." else cut
    return (whole if len(whole) > most // 2 else cut).rstrip(" ,.;-")


def safe_stem(text: str) -> str:
    """Return *text* as part of a file's name that every system takes; it may be empty.

    Nothing of a system's or an archive's own is in it: no separator, no hidden or reserved name, no
    sign that is not shown.
    """
    text = unicodedata.normalize("NFC", text)
    signs = ("_" if _is_unfit(sign) else sign for sign in text)
    stem = re.sub(r"_{2,}", "_", "".join(signs))
    stem = stem.encode("utf-8", "replace")[:_LONGEST].decode("utf-8", "ignore")
    stem = stem.strip("_. ").lstrip("-")
    return f"_{stem}" if _RESERVED.fullmatch(stem) else stem


def _is_unfit(sign: str) -> bool:
    return unicodedata.category(sign)[0] in "CZ" or _REFUSED.match(sign) is not None
