"""trials: what was rated beside what made it, as columns: the table that effects are read from.

Whoever has an archive asks it for the rows of its pictures (``TRIAL_COLUMNS`` of the view
``images``) and hands them in as plain columns; this module knows no archive. LoRAs, the
terms of a prompt and the other settings that are recorded become knobs of their own.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from safelight.knobs import COMPARED
from safelight.learning.evidence.findings import ABSENT
from safelight.learning.evidence.picture_kinds import PictureKind
from safelight.learning.evidence.scores import ImageScores, Judgements
from safelight.learning.evidence.setting_columns import setting_columns
from safelight.learning.evidence.value_columns import Levels, levels_of, numbers_of
from safelight.lora_tags import split_loras
from safelight.recorded_settings import (
    CUT_SHORT,
    EXTRA,
    GRID,
    LORA,
    Setting,
    comparable_model,
    comparable_name,
    model_spellings,
)
from safelight.timestamps import as_utc

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
    "unresolved", "conflicting", "timestamp", "path", "status", "parent",
    "seconds",
)  # fmt: skip
"""Columns of the view ``images`` that :func:`join_trials` reads."""

_DOUBTS = ("unresolved", "conflicting")
_NO_KNOBS = frozenset(
    ("sha256", "pixel_sha256", "prompt", "seed", *_DOUBTS, "timestamp", "path", "status", "parent",
     "seconds", "run_id")
)  # fmt: skip
_MODELS = ("model", "vae")
_OF_DRAWS = frozenset(("prompt", "seed"))
_IMPORTED = "imported"
_NOT_PLANNED = (_IMPORTED, "cancelled", "interrupted")
_MOST_TERMS, _TERM_PICTURES, _TERM_PROMPTS, _SLOT_TERMS = 40, 5, 3, 6
_SIGN = re.compile(r"[,()\[\]{}]")


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
        doubtful: Knob -> which rows do not tell its value, bool[n]: the picture names it in a way
            that could not be followed, or two places in it disagree. Such a value is absent above.
        scores: float64[n]; see :class:`~safelight.learning.evidence.scores.ImageScores`.
        deviations: Of the scores, float64[n].
        readings: Scores without the prior, float64[n].
        ratings: How many judgements bear on the picture, int64[n].
        judgements: Of stars and flags, who gave which and when; pictures are rows.
        made: When each picture was made, in seconds of the epoch, float64[n]; NaN = not known.
        folders: Folder of pictures that were imported.
        kin: What a picture was made from, or itself where others were made from it.
        seconds: What drawing each picture took, float64[n]; NaN = not known.
        finished: Run of pictures of which every one was rated: how many there would be was decided
            before the first of them was. Not one that was ended early, or imported.
        gone: Rated pictures that have no row: their record is gone, or a filter left them out.
        unrated: Rows that nobody rated.
        marks: As in :class:`~safelight.learning.evidence.scores.ImageScores`, float64[n].
        compared: Likewise, int64[n].
        kinds: What people made of pictures, beside what is recorded.
        digests: SHA-256 of a file that shows each picture, by which it can be shown; empty where
            only its pixels are known.
    """

    identities: tuple[str, ...]
    prompts: Levels
    seeds: Levels
    backends: Levels
    numbers: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    levels: Mapping[str, Levels] = field(default_factory=dict)
    settings: Mapping[str, Levels] = field(default_factory=dict)
    doubtful: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    scores: NDArray[np.float64]
    deviations: NDArray[np.float64]
    readings: NDArray[np.float64]
    ratings: NDArray[np.int64]
    judgements: Judgements
    made: NDArray[np.float64]
    folders: Levels
    kin: Levels
    seconds: NDArray[np.float64]
    finished: Levels
    gone: int = 0
    unrated: int = 0
    marks: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    compared: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    kinds: tuple[PictureKind, ...] = ()
    digests: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.identities)

    def of_rows(self, rows: Sequence[int]) -> Trials:
        """Return some rows, in this order."""
        at = np.asarray(rows, np.int64)

        def some(levels: Levels) -> Levels:
            return replace(levels, codes=levels.codes[at])

        return replace(
            self,
            identities=tuple(self.identities[row] for row in at.tolist()),
            prompts=some(self.prompts), seeds=some(self.seeds), backends=some(self.backends),
            numbers={name: column[at] for name, column in self.numbers.items()},
            levels={name: some(levels) for name, levels in self.levels.items()},
            settings={name: some(levels) for name, levels in self.settings.items()},
            doubtful={name: doubts[at] for name, doubts in self.doubtful.items()},
            scores=self.scores[at], deviations=self.deviations[at], readings=self.readings[at],
            ratings=self.ratings[at], judgements=self.judgements.of_images(at.tolist()),
            made=self.made[at], folders=some(self.folders), kin=some(self.kin),
            seconds=self.seconds[at], finished=some(self.finished),
            marks=self.marks[at] if len(self.marks) else self.marks,
            compared=self.compared[at] if len(self.compared) else self.compared,
            kinds=tuple(kind.of_rows(at) for kind in self.kinds),
            digests=tuple(self.digests[row] for row in at.tolist()) if self.digests else (),
        )  # fmt: skip

    @property
    def knobs(self) -> tuple[str, ...]:
        """Names of all knobs, those that never varied included."""
        return (*self.numbers, *self.levels)


def join_trials(
    columns: Mapping[str, Sequence[object]],
    scores: ImageScores,
    settings: Mapping[str, Mapping[int, Sequence[Setting]]] = MappingProxyType({}),
    kinds: Sequence[PictureKind] = (),
) -> Trials:
    """Return the rated rows of *columns*, each picture once: the first row that shows it.

    Args:
        columns: Name -> values, all of one length: ``sha256`` or ``pixel_sha256`` (or both),
            and what else there is. Columns other than those of a picture, prompt and seed are
            knobs: of numbers where every value is one, else of texts. None, NaN and
            infinity are absent. ``unresolved`` and ``conflicting`` list the knobs of a row, with
            commas between, whose values are not known.
        scores: Of the same pictures.
        settings: Name -> row -> what was recorded, for rows that have it; see
            :func:`.setting_columns.setting_columns`.
        kinds: Of all rows.

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
    for no_sample in (GRID, CUT_SHORT):
        for row in settings.get(f"{EXTRA}{no_sample}", ()):
            places[row] = None
    first: dict[int, int] = {}
    for row, place in enumerate(places):
        if place is not None:
            first.setdefault(place, row)
    kept = list(first.values())
    at = np.array(list(first), np.int64)
    given = {name: [values[row] for row in kept] for name, values in columns.items()}
    given |= {name: _one_spelling(given[name]) for name in _MODELS if name in given}
    numbers: dict[str, NDArray[np.float64]] = {}
    levels: dict[str, Levels] = {}
    doubtful = _doubtful([given.get(name, ()) for name in _DOUBTS], len(kept))
    for name, rows in _twins(columns, places, list(first)).items():
        if name in _OF_DRAWS:
            given[name] = [None if row in rows else v for row, v in enumerate(given[name])]
        else:
            doubts = doubtful.setdefault(name, np.zeros(len(kept), np.bool_))
            doubts[sorted(rows)] = True
    texts = [text if isinstance(text, str) else None for text in given.get("prompt", [])]
    prompts, loras = _without_loras(levels_of(texts or [None] * len(kept)))
    for name, values in given.items():
        if name in _NO_KNOBS:
            continue
        if name in doubtful:
            doubts = doubtful[name]
            values = [None if doubts[row] else value for row, value in enumerate(values)]
        column = numbers_of(values)
        if column is not None:
            numbers[name] = column
        else:
            levels[name] = levels_of(values)
    of_models = {name: given.get(name, [None] * len(kept)) for name in _MODELS}
    recorded = setting_columns(settings, kept, of_models)
    known = {row for by_row in settings.values() for row in by_row}
    loras = _with_weights(recorded.weights, loras, known, kept)
    if "loras" in doubtful:  # which there were is in doubt, so each of them
        doubtful |= dict.fromkeys(loras, doubtful["loras"])
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
        doubtful=doubtful,
        scores=scores.scores[at] if len(at) else np.zeros(0),
        deviations=scores.deviations[at] if len(at) else np.zeros(0),
        readings=scores.readings[at] if len(at) else np.zeros(0),
        ratings=scores.ratings[at] if len(at) else np.zeros(0, np.int64),
        judgements=scores.judgements.of_images(list(first)),
        made=_moments(given.get("timestamp", [None] * len(kept))),
        folders=levels_of(_folders(given, len(kept))),
        kin=levels_of(_kin(given, len(kept))),
        finished=_finished(_planned_runs(columns, count), places, kept),
        seconds=_seconds(given.get("seconds", [None] * len(kept))),
        gone=len(scores.identities) - len(kept),
        unrated=sum(place is None for place in places),
        marks=scores.marks[at] if len(scores.marks) else np.zeros(0),
        compared=scores.compared[at] if len(scores.compared) else np.zeros(0, np.int64),
        kinds=tuple(kind.of_rows(np.array(kept, np.int64)) for kind in kinds),
        digests=tuple(str(digest or "") for digest in given.get("sha256", [""] * len(kept))),
    )


def _moments(texts: Sequence[object]) -> NDArray[np.float64]:
    """Return the seconds of the epoch that *texts* tell in ISO 8601; NaN where one tells none."""
    known = (as_utc(text) if isinstance(text, str) else None for text in texts)
    seconds = [math.nan if t is None else datetime.fromisoformat(t).timestamp() for t in known]
    return np.array(seconds, np.float64)


def _planned_runs(columns: Mapping[str, Sequence[object]], count: int) -> Sequence[object]:
    """Return the run of each row; None of one that somebody ended when he had seen enough."""
    empty = [None] * count
    pairs = zip(columns.get("run_id", empty), columns.get("status", empty), strict=True)
    return [None if status in _NOT_PLANNED else run for run, status in pairs]


def _finished(runs: Sequence[object], places: Sequence[int | None], kept: Sequence[int]) -> Levels:
    """Return the runs of rows that are *kept*, of which no row lacks a place among the rated."""
    open_ones = {run for run, place in zip(runs, places, strict=True) if place is None}
    return levels_of([None if runs[row] in open_ones else runs[row] for row in kept])


def _seconds(values: Sequence[object]) -> NDArray[np.float64]:
    column = numbers_of(values)
    return np.full(len(values), math.nan) if column is None else column


def _folders(given: Mapping[str, Sequence[object]], count: int) -> list[str | None]:
    """Return where pictures lie that somebody put there; what was drawn here lies by its run."""
    paths, statuses = (given.get(name, [None] * count) for name in ("path", "status"))
    return [
        path.replace("\\", "/").rpartition("/")[0]
        if isinstance(path, str) and status == _IMPORTED
        else None
        for path, status in zip(paths, statuses, strict=True)
    ]


def _kin(given: Mapping[str, Sequence[object]], count: int) -> list[object]:
    parents, own = (given.get(name, [None] * count) for name in ("parent", "sha256"))
    roots = {parent for parent in parents if parent}
    return [
        parent or (digest if digest in roots else None)
        for parent, digest in zip(parents, own, strict=True)
    ]


def _doubtful(columns: Sequence[Sequence[object]], count: int) -> dict[str, NDArray[np.bool_]]:
    """Return knob -> the rows that one of *columns* lists it in."""
    rows: dict[str, NDArray[np.bool_]] = {}
    for column in columns:
        for row, listed in enumerate(column):
            for knob in listed.split(", ") if isinstance(listed, str) and listed else ():
                rows.setdefault(knob, np.zeros(count, np.bool_))[row] = True
    return rows


def _twins(
    columns: Mapping[str, Sequence[object]], places: Sequence[int | None], first: Sequence[int]
) -> dict[str, set[int]]:
    """Return the columns in which imported rows of one picture differ -> its place in *first*.

    Two files may have the same image and say otherwise how it was made: which of them is right
    nobody knows. What a run drew itself is known.
    """
    rows_of: dict[int, list[int]] = {}
    for row, place in enumerate(places):
        if place is not None:
            rows_of.setdefault(place, []).append(row)
    differing: dict[str, set[int]] = {}
    several = [(number, rows_of[place]) for number, place in enumerate(first)]
    statuses = columns.get("status", ())
    several = [
        (number, rows)
        for number, rows in several
        if len(rows) > 1 and statuses and all(statuses[row] == _IMPORTED for row in rows)
    ]
    for name, values in columns.items() if several else ():
        if name not in _NO_KNOBS or name in _OF_DRAWS:
            for number, rows in several:
                own = {repr(_comparable(name, values[row])) for row in rows}
                if len(own) > 1:
                    differing.setdefault(name, set()).add(number)
    return differing


def _comparable(name: str, value: object) -> object:
    return comparable_model(value) if name in _MODELS and isinstance(value, str) else value


def _one_spelling(values: Sequence[object]) -> list[object]:
    """Return names of models, each as it is spelled most often among those that name one model."""
    spelled = model_spellings(Counter(value for value in values if isinstance(value, str)))
    return [spelled[value] if isinstance(value, str) else value for value in values]


def prompt_terms(prompt: str) -> tuple[str, ...]:
    """Return the parts of *prompt* between commas, trimmed and lower-cased, each once."""
    parts = (" ".join(part.split()).lower() for part in _split(prompt))
    return tuple(dict.fromkeys(part for part in parts if part))


def _split(prompt: str) -> Iterator[str]:
    """Yield what stands between commas, but for those after which a bracket closes first."""
    start, commas = 0, list[int]()
    for sign in _SIGN.finditer(f"{prompt}("):
        if sign[0] == ",":
            commas.append(sign.start())
            continue
        if sign[0] in "([{":
            for comma in commas:
                yield prompt[start:comma]
                start = comma + 1
        commas.clear()
    yield prompt[start:]


def _without_loras(prompts: Levels) -> tuple[Levels, dict[str, NDArray[np.float64]]]:
    """Return the prompts without LoRA tags, and each LoRA's weights.

    Blanks, and commas at the end, are no part of a prompt: a tag that is gone leaves them.
    """
    rests, weights = [], []
    for text in prompts.names:
        rest, loras = split_loras(text)
        rests.append(" ".join(rest.split()).rstrip(" ,"))
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
