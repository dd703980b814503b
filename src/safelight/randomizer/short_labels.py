"""ShortLabels: what tells variants apart, in few words.

A label of a plan says all that was chosen, by its full name and in the order of the plan. Where
variants stand side by side, what they share says nothing: here the names are short, what all share
is left out, and of long texts that part is shown in which they differ:
``cfg 7 · Euler a · … red …``.
Settings come first and prompts last, because whatever has to be cut is cut at the end.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import PurePosixPath
from typing import Any

from safelight.knobs import EXTRA, KNOBS, STAGES
from safelight.lora_tags import LORA

__all__ = ["BETWEEN", "ShortLabels", "headings", "told_apart"]

BETWEEN = " · "
"""Stands between the parts of a label."""

_LONGEST = 40
_SHORT_RUN = 8
"""Characters of words in a row that all texts share and that are shown all the same."""

_MOST_COMPARED, _MOST_WORDS = 100, 400
"""Of how many texts, and how many words of each, it is found out what all have."""

_WORDS = {
    "cfg_scale": "cfg", "denoising_strength": "denoise", "batch_size": "batch",
    "negative_prompt": "negative", "cfg_rescale": "rescale", "init_image": "from",
}  # fmt: skip
_BARE = frozenset(
    (
        "prompt",
        "sampler",
        "scheduler",
        "model",
        "vae",
        "upscaler",
        "hires_upscaler",
        "text_encoders",
    )
)
"""Knobs whose values need no name before them."""

_INSIDE = " > "
"""In the name of what was chosen inside another choice, whose text shows it."""


class ShortLabels:
    """The labels of variants that are shown together.

    Args:
        choices: Of each variant, name -> value, as :attr:`.Variant.choices` has them.
    """

    def __init__(self, choices: Sequence[Mapping[str, Any]]) -> None:
        self._choices = choices
        names = dict.fromkeys(name for one in choices for name in one if _INSIDE not in name)
        differing = [name for name in names if len(choices) == 1 or self._differs(name)]
        knobs = Counter(_knob(name)[1] for name in differing if _knob(name)[1])
        self._sizes = {
            name.replace(".width", ".height"): name
            for name in differing
            if name.endswith(".width") and name.replace(".width", ".height") in differing
        }
        self._names = sorted((n for n in differing if n not in self._sizes), key=_rank)
        self._parts = {
            name: _parts(name, self._values(name), with_stage=knobs[_knob(name)[1]] > 1)
            for name in self._names
        }

    def _differs(self, name: str) -> bool:
        return len({_key(one.get(name)) for one in self._choices}) > 1

    def _values(self, name: str) -> list[Any]:
        return [one[name] for one in self._choices if name in one]

    def of(self, place: int) -> str:
        """Return the label of the variant at *place*; empty when nothing tells it apart."""
        chosen = self._choices[place]
        heights = {width: height for height, width in self._sizes.items()}
        parts = []
        for name in self._names:
            if name not in chosen:
                continue
            if name in heights:
                parts.append(f"{chosen[name]}×{chosen.get(heights[name])}")
            else:
                parts.append(self._parts[name][_key(chosen[name])])
        return BETWEEN.join(parts)


def headings(name: str, values: Sequence[Any]) -> list[str]:
    """Return what stands above columns or beside rows that differ in one choice.

    Args:
        name: Of the choice.
        values: What was chosen, in order; a mapping holds settings that come together.
    """
    if values and all(isinstance(value, Mapping) for value in values) and not _knob(name)[1]:
        labels = ShortLabels(values)
        return [labels.of(place) for place in range(len(values))]
    parts = _parts(name, values)
    return [parts[_key(value)] for value in values]


def told_apart(texts: Iterable[str], most: int = _LONGEST) -> dict[str, str]:
    """Return text -> a form of it that is no other's and has about *most* characters at most.

    Words that all have are left out first, then what all begin and end with, and what is still
    too long is shortened in its middle.
    """
    short = _told_apart(list(dict.fromkeys(texts)), most)
    taken: set[str] = set()
    for text, form in short.items():
        numbered = (f"{form} ({number})" for number in itertools.count(2))
        short[text] = next(one for one in itertools.chain([form], numbered) if one not in taken)
        taken.add(short[text])
    return short


def _told_apart(texts: list[str], most: int) -> dict[str, str]:
    if all(len(text) <= most for text in texts):
        return {text: text for text in texts}
    short = _by_words(texts, most)
    if len(set(short.values())) < len(texts):
        short = _by_ends(texts, most)
    alike: dict[str, list[str]] = {}
    for text, form in short.items():
        alike.setdefault(form, []).append(text)
    for same in alike.values():
        if 1 < len(same) < len(texts):
            short |= _told_apart(same, most)
    return short


def _by_words(texts: Sequence[str], most: int) -> dict[str, str]:
    """Return each of *texts* with a sign in place of words that all of them have in this order."""
    several = 1 < len(texts) <= _MOST_COMPARED
    common = list(texts[0].split()[:_MOST_WORDS]) if several else []
    for text in texts[1:] if several else ():
        blocks = SequenceMatcher(None, common, text.split()[:_MOST_WORDS], autojunk=False)
        common = [word for at, _, size in blocks.get_matching_blocks()
                  for word in common[at : at + size]]  # fmt: skip
    return {text: text if len(text) <= most else _middle(_without(text, common), most)
            for text in texts}  # fmt: skip


def _without(text: str, common: Sequence[str]) -> str:
    """Return *text* with a sign in place of each longer run of words that are in *common*."""
    kept: list[str] = []
    run: list[str] = []
    left = iter(common)
    awaited = next(left, None)
    for word in text.split():
        if word == awaited:
            run.append(word)
            awaited = next(left, None)
        else:
            kept += _run(run)
            kept.append(word)
            run = []
    return " ".join([*kept, *_run(run)])


def _run(words: Sequence[str]) -> Sequence[str]:
    return words if len(" ".join(words)) <= _SHORT_RUN else ["…"]


def _by_ends(texts: Sequence[str], most: int) -> dict[str, str]:
    """Return each of *texts* with that part in which they differ, and as much around as fits."""
    start = _alike(texts) if len(texts) > 1 else 0
    end = _alike([text[start:][::-1] for text in texts]) if len(texts) > 1 else 0
    return {text: text if len(text) <= most else _around(text, start, end, most) for text in texts}


def _around(text: str, start: int, end: int, most: int) -> str:
    inner = text[start : len(text) - end]
    spare = max(most - len(inner), 0)
    before = min(start, max(spare // 2, spare - end))
    first, last = start - before, len(text) - end + min(end, spare - before)
    inner = _middle(text[first:last], most)
    return f"{'…' if first else ''}{inner}{'…' if last < len(text) else ''}"


def _alike(texts: Sequence[str]) -> int:
    """Return with how many equal characters all *texts* begin."""
    least, greatest = min(texts), max(texts)
    return next((n for n, pair in enumerate(zip(least, greatest, strict=False))
                 if pair[0] != pair[1]), min(len(least), len(greatest)))  # fmt: skip


def _middle(text: str, most: int) -> str:
    """Return *text* with so much of its middle left out that it has *most* characters."""
    if len(text) <= most:
        return text
    head = most * 2 // 3
    return f"{text[:head].rstrip()}…{text[head - most + 1 :].lstrip()}"


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _knob(name: str) -> tuple[str, str]:
    """Return stage and knob of a choice that is one; empty texts for any other."""
    stage, _, knob = name.partition(".")
    if name.startswith(LORA):
        return "", name
    if stage in STAGES and (knob in KNOBS or knob.startswith((EXTRA, LORA))):
        return stage, knob
    return "", ""


def _rank(name: str) -> int:
    knob = _knob(name)[1]
    if not knob:
        return 2 if ".negative_prompt" in name else 1
    return {"seed": 3, "negative_prompt": 4, "prompt": 5}.get(knob, 0)


def _parts(name: str, values: Sequence[Any], *, with_stage: bool = False) -> dict[str, str]:
    """Return what a label says of each of *values*, which are those of one choice, by its key."""
    stage, knob = _knob(name)
    texts = {_key(value): _text(value) for value in values}
    if knob in ("model", "vae"):
        texts = _without_folders(texts)
    short = told_apart(texts.values())
    if not knob:
        nothing = "(nothing)" if "{" in name else f"no {name.strip('->[]_| ')}"
        before = "negative " if ".negative_prompt" in name else ""
        return {key: f"{before}{short[text] or nothing}" for key, text in texts.items()}
    word = knob.removeprefix(EXTRA).removeprefix(LORA)
    word = "" if knob in _BARE else _WORDS.get(knob, word.replace("_", " "))
    before = " ".join(part for part in (stage if with_stage else "", word) if part)
    return {key: f"{before} {short[text] or '(nothing)'}".lstrip() for key, text in texts.items()}


def _text(value: Any) -> str:
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _without_folders(texts: Mapping[str, str]) -> dict[str, str]:
    """Return *texts* without folders, where that leaves them different."""
    names = {
        key: PurePosixPath(text.replace("\\", "/")).name or text for key, text in texts.items()
    }
    is_apart = len(set(names.values())) == len(set(texts.values()))
    return names if is_apart else dict(texts)
