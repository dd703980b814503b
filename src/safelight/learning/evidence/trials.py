"""trials: what was rated beside what made it, as columns: the table that effects are read from.

Whoever has an archive asks it for the rows of its pictures (``TRIAL_COLUMNS`` of the view
``images``) and hands them in as plain columns; this module knows no archive. LoRAs, the
terms of a prompt and the other settings that are recorded become knobs of their own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from safelight.knobs import COMPARED
from safelight.learning.evidence.findings import ABSENT
from safelight.learning.evidence.scores import ImageScores
from safelight.learning.evidence.setting_columns import setting_columns
from safelight.learning.evidence.value_columns import Levels, levels_of, numbers_of
from safelight.lora_tags import split_loras
from safelight.recorded_settings import LORA, Setting, comparable_name

__all__ = [
    "ABSENT",
    "TRIAL_COLUMNS",
    "Levels",
    "Trials",
    "join_trials",
    "prompt_terms",
]

TRIAL_COLUMNS = (
    "sha256", "pixel_sha256", "prompt", "seed", "backend", "stage",
    *(name for name in COMPARED if name not in ("prompt", "seed")),
)  # fmt: skip
"""Columns of the view ``images`` that :func:`join_trials` reads."""

_NO_KNOBS = frozenset(("sha256", "pixel_sha256", "prompt", "seed"))
_MOST_TERMS, _TERM_PICTURES, _TERM_PROMPTS, _SLOT_TERMS = 40, 5, 3, 6
_BREAK = re.compile(r",(?![^()\[\]{}]*[)\]}])")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trials:
    """One row per rated picture whose record is known.

    Attributes:
        identities: As in :class:`~safelight.learning.evidence.scores.ImageScores`, each once.
        prompts: Without LoRA tags.
        seeds: As texts.
        backends: Engines.
        numbers: Knob -> its values, float64[n]; NaN = absent. ``lora.NAME`` is a LoRA's weight,
            0 where there is none; ``extra.NAME`` any other recorded setting.
        levels: Knob -> its values, for texts. ``term:TEXT`` (levels ``with`` and ``without``)
            is a part of the prompt between commas that three prompts have or more;
            ``term:A|B`` (levels ``A`` and ``B``) are parts of which every prompt has one.
        settings: What was recorded beside knobs and varies: pictures are alike in all else only
            if they agree in it. What a column of a knob says is not said again.
        scores: float64[n]; see :class:`~safelight.learning.evidence.scores.ImageScores`.
        deviations: Of the scores, float64[n].
        readings: Scores without the prior, float64[n].
        ratings: How many judgements bear on the picture, int64[n].
        gone: Rated pictures that have no row: their record is gone, or a filter left them out.
        unrated: Rows that nobody rated.
    """

    identities: tuple[str, ...]
    prompts: Levels
    seeds: Levels
    backends: Levels
    numbers: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    levels: Mapping[str, Levels] = field(default_factory=dict)
    settings: Mapping[str, Levels] = field(default_factory=dict)
    scores: NDArray[np.float64]
    deviations: NDArray[np.float64]
    readings: NDArray[np.float64]
    ratings: NDArray[np.int64]
    gone: int = 0
    unrated: int = 0

    def __len__(self) -> int:
        return len(self.identities)

    @property
    def knobs(self) -> tuple[str, ...]:
        """Names of all knobs, those that never varied included."""
        return (*self.numbers, *self.levels)


def join_trials(
    columns: Mapping[str, Sequence[object]],
    scores: ImageScores,
    settings: Mapping[str, Mapping[int, Sequence[Setting]]] = MappingProxyType({}),
) -> Trials:
    """Return the rated rows of *columns*, each picture once: the first row that shows it.

    Args:
        columns: Name -> values, all of one length: ``sha256`` or ``pixel_sha256`` (or both),
            and what else there is. Columns other than those of a picture, prompt and seed are
            knobs: of numbers where every value is one, else of texts. None, NaN and
            infinity are absent.
        scores: Of the same pictures.
        settings: Name -> row -> what was recorded, for rows that have it; see
            :func:`.setting_columns.setting_columns`.

    Raises:
        ValueError: Columns differ in length, or none says which picture a row is.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns must be of one length, got {lengths}")
    count = next(iter(lengths.values()), 0)
    if count and not {"sha256", "pixel_sha256"} & set(columns):
        raise ValueError("columns need sha256 or pixel_sha256 to say which picture a row is")
    empty = [None] * count
    digests = zip(columns.get("sha256", empty), columns.get("pixel_sha256", empty), strict=True)
    places = [scores.place(*(d if isinstance(d, str) else None for d in pair)) for pair in digests]
    first: dict[int, int] = {}
    for row, place in enumerate(places):
        if place is not None:
            first.setdefault(place, row)
    kept = list(first.values())
    at = np.array(list(first), np.int64)
    given = {name: [values[row] for row in kept] for name, values in columns.items()}
    texts = [text if isinstance(text, str) else None for text in given.get("prompt", [])]
    prompts, loras = _without_loras(levels_of(texts or [None] * len(kept)))
    numbers: dict[str, NDArray[np.float64]] = {}
    levels: dict[str, Levels] = {}
    for name, values in given.items():
        if name in _NO_KNOBS:
            continue
        column = numbers_of(values)
        if column is not None:
            numbers[name] = column
        else:
            levels[name] = levels_of(values)
    of_models = {name: given.get(name, [None] * len(kept)) for name in ("model", "vae")}
    recorded = setting_columns(settings, kept, of_models)
    known = {row for by_row in settings.values() for row in by_row}
    loras = _with_weights(recorded.weights, loras, known, kept)
    for name, extra in recorded.knobs.items():
        if isinstance(extra, Levels):
            levels[name] = extra
        else:
            numbers[name] = extra
    return Trials(
        identities=tuple(scores.identities[place] for place in first),
        prompts=prompts,
        seeds=levels_of(given.get("seed", [None] * len(kept))),
        backends=levels_of(given.get("backend", [None] * len(kept))),
        numbers=numbers | loras,
        levels=levels | _terms(prompts),
        settings=recorded.apart,
        scores=scores.scores[at] if len(at) else np.zeros(0),
        deviations=scores.deviations[at] if len(at) else np.zeros(0),
        readings=scores.readings[at] if len(at) else np.zeros(0),
        ratings=scores.ratings[at] if len(at) else np.zeros(0, np.int64),
        gone=len(scores.identities) - len(kept),
        unrated=sum(place is None for place in places),
    )


def prompt_terms(prompt: str) -> tuple[str, ...]:
    """Return the parts of *prompt* between commas, trimmed and lower-cased, each once."""
    parts = (" ".join(part.split()).lower() for part in _BREAK.split(prompt))
    return tuple(dict.fromkeys(part for part in parts if part))


def _without_loras(prompts: Levels) -> tuple[Levels, dict[str, NDArray[np.float64]]]:
    """Return the prompts without LoRA tags, and each LoRA's weights."""
    rests, weights = [], []
    for text in prompts.names:
        rest, loras = split_loras(text)
        rests.append(rest)
        weights.append({lora.name: lora.unet for lora in loras})
    merged = levels_of(rests)
    names = sorted({name for each in weights for name in each})
    weights_of = {}
    for name in names:
        table = np.array([*(each.get(name, 0.0) for each in weights), 0.0])
        weights_of[f"{LORA}{name}"] = table[prompts.codes]
    codes = np.append(merged.codes, -1)[prompts.codes]
    return Levels(names=merged.names, codes=codes), weights_of


def _with_weights(
    recorded: Mapping[str, NDArray[np.float64]],
    tagged: Mapping[str, NDArray[np.float64]],
    known: Collection[int],
    rows: Sequence[int],
) -> dict[str, NDArray[np.float64]]:
    """Return the weights of LoRAs: as *recorded* where rows are *known*, else as *tagged*."""
    from_record = np.array([row in known for row in rows], bool)
    spelled = {comparable_name(name): name for name in (*tagged, *recorded)}
    weights: dict[str, NDArray[np.float64]] = {}
    for name, column in (*tagged.items(), *recorded.items()):
        own = weights.setdefault(spelled[comparable_name(name)], np.zeros(len(rows)))
        if name in recorded and column is recorded[name]:
            own[from_record] = column[from_record]
        else:
            own[~from_record] = column[~from_record]
    return weights


def _terms(prompts: Levels) -> dict[str, Levels]:
    """Return the terms that some prompts have and others lack, the most balanced ones."""
    counts = np.bincount(prompts.codes[prompts.codes >= 0], minlength=len(prompts.names))
    total = int(counts.sum())
    own = [prompt_terms(text) for text in prompts.names]
    pictures: Counter[str] = Counter()
    prompts_with: Counter[str] = Counter()
    for terms, count in zip(own, counts, strict=True):
        if len(terms) > 1:  # the only term of a prompt is the prompt, not a part of it
            for term in terms:
                pictures[term] += int(count)
                prompts_with[term] += 1
    balance = {term: min(count, total - count) for term, count in pictures.items()}
    usual = [
        term
        for term in sorted(balance)
        if balance[term] >= _TERM_PICTURES and prompts_with[term] >= _TERM_PROMPTS
    ]
    chosen = sorted(usual, key=lambda term: -balance[term])[:_MOST_TERMS]
    has = {
        term: np.array([*(int(term in terms) for terms in own), -1], np.int64) for term in chosen
    }
    parts: dict[str, Levels] = {}
    for slot in _slots(has):
        if len(slot) == 1:
            codes = has[slot[0]][prompts.codes]
            parts[f"term:{slot[0]}"] = Levels(names=("without", "with"), codes=codes)
        else:
            which = np.argmax([has[term] for term in slot], axis=0)
            which[-1] = -1
            parts[f"term:{'|'.join(slot)}"] = Levels(names=slot, codes=which[prompts.codes])
    return parts


def _slots(has: Mapping[str, NDArray[np.int64]]) -> list[tuple[str, ...]]:
    """Return the terms, those together of which every prompt has exactly one: a wildcard's."""
    left, slots = sorted(has), []
    while left:
        first = left.pop(0)
        slot, covered = [first], has[first][:-1].copy()
        for other in left:
            if len(slot) < _SLOT_TERMS and not (covered & has[other][:-1]).any():
                slot.append(other)
                covered |= has[other][:-1]
        if covered.all() and len(slot) > 1:
            left = [term for term in left if term not in slot]
            slots.append(tuple(slot))
        else:
            slots.append((first,))
    return slots
