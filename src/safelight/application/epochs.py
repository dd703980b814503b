"""epochs: what samples of a training say of its epochs, and what would tell more.

A trainer draws the same prompts from the same seeds every few epochs: a paired design that nobody
had to plan. So epochs (or steps) are compared as any setting is, in pairs of one prompt and one
seed. What no file tells of all samples alike (the sampler, say) is taken to be the same in all
epochs: one training drew them.
"""

from __future__ import annotations

import glob
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from safelight.archive import Archive
from safelight.errors import ConfigError
from safelight.lora_tags import LORA_ENDING, lora_family
from safelight.recorded_settings import EXTRA, LORA, comparable_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from safelight.learning.evidence.findings import Comparison
    from safelight.learning.evidence.trials import Trials

__all__ = [
    "TRAINERS",
    "Answer",
    "Better",
    "Missing",
    "Training",
    "answer_of",
    "files_of",
    "prompts_of",
    "trainings_in",
]

TRAINERS = frozenset({"kohya", "ai-toolkit", "onetrainer"})
"""What imports call the makers of samples."""

EPOCH, STEP = "Training epoch", "Training step"
_UNITS = {EPOCH: "epoch", STEP: "step"}
_SAMPLES = f'(extra("{EPOCH}") >= 0 or extra("{STEP}") >= 0)'
_NUMBER, _MODEL, _EMA = "Sample prompt", "Trained model", "EMA"
_FOLDER_PER_PROMPT = "Epoch of training step"  # told of OneTrainer's samples alone
_READING_STEP = 1e-6
_MOST_NAMED = 8


class Missing(NamedTuple):
    """A picture that a whole training would have.

    Attributes:
        state: Epoch or step.
        prompt: Which.
        seed: Which; None where samples do not tell it.
    """

    state: int
    prompt: str
    seed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """The samples of one training that an archive has, as far as their files are there.

    Attributes:
        name: What was trained; empty where nobody says.
        folder: Where the samples lie.
        unit: ``epoch`` or ``step``.
        states: Epochs or steps, in order.
        prompts: Different prompts, in words or by their number.
        seeds: Different seeds of a prompt; 0 where samples do not tell them.
        pictures: How many there are.
        pairs: Pairs of them that differ in the state alone.
        missing: Those that would be there if every state had all that some state has.
        left_out: Samples that tell the other unit.
        condition: The pictures in the filter language.
        sheet: The page's address of them, from its first slash: prompts down, states across.
    """

    name: str
    folder: str
    unit: str
    states: tuple[int, ...]
    prompts: tuple[str, ...]
    seeds: int
    pictures: int
    pairs: int
    missing: tuple[Missing, ...]
    left_out: int
    condition: str
    sheet: str

    @property
    def setting(self) -> str:
        """The recorded setting that tells the state."""
        return EXTRA + next(name for name, unit in _UNITS.items() if unit == self.unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Better:
    """One state is known to be better than another.

    Attributes:
        state: The better one. Where states are many, each is compared with all others together,
            which are one of both here, as :data:`~.findings.ALL_OTHERS`.
        than: The other.
        sure: Whether that holds however often one looked; else it is likely.
        difference: In score units, as the next two.
        low: Of the 95 % interval.
        high: Of the 95 % interval.
        n: Pairs that it rests on, or rated pictures where there are too few.
        basis: ``pairs`` or ``adjusted``.
        won: In how many pairs it is the better one.
        pairs: Of how many that have been rated.
        alike: In how many of them both are rated alike.
    """

    state: str
    than: str
    sure: bool
    difference: float
    low: float
    high: float
    n: int
    basis: str
    won: int
    pairs: int
    alike: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What ratings say of the states of a training.

    Attributes:
        rated: Pictures of it that are rated.
        rated_by: Who did, in words.
        sentence: The answer.
        better: What is known, the best state's first.
        best: The state that none is known to beat and that beats some, if it is one; else empty.
        more: About how many more ratings would tell; None where something is told, or no number
            would tell.
    """

    rated: int
    rated_by: str
    sentence: str
    better: tuple[Better, ...] = ()
    best: str = ""
    more: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    state: int
    prompt: str
    seed: int | None
    ema: str


def trainings_in(archive: Archive, folder: Path | None = None) -> list[Training]:
    """Return the trainings whose samples lie in *folder*, or anywhere, those with most first.

    Raises:
        ArchiveError: The archive cannot answer.
    """
    columns = ("run_id", "place", "path", "prompt", "seed", "gone")
    condition = _SAMPLES
    root = None if folder is None else Path(os.path.abspath(folder))  # noqa: PTH100
    if root is not None:
        condition += f" and path has {_text(root.name)}"
    rows = [
        row for row in archive.query(condition, columns=columns, limit=None).dicts()
        if row["path"] and not row["gone"]
        and (root is None or Path(str(row["path"])).is_relative_to(root))
    ]  # fmt: skip
    told: dict[tuple[str, int], dict[str, Any]] = defaultdict(dict)
    for run, place, _, name, number, text in archive.settings(row["run_id"] for row in rows):
        told[run, place][name] = number if text is None else text
    groups: dict[tuple[str, str], list[tuple[Mapping[str, Any], Mapping[str, Any]]]] = {}
    for row in rows:
        own = told[row["run_id"], row["place"]]
        path = Path(str(row["path"]))
        beside = path.parent.parent if EXTRA + _FOLDER_PER_PROMPT in own else path.parent
        groups.setdefault((str(beside), _name_of(own)), []).append((row, own))
    in_folder = Counter(place for place, _ in groups)
    found = [
        _training(place, name, some, alone=in_folder[place] == 1)
        for (place, name), some in groups.items()
    ]
    return sorted(found, key=lambda one: (-one.pictures, one.folder, one.name))


def _text(value: str) -> str:
    """Return *value* as a text of the filter language, which a shell takes in single quotes."""
    return '"' + value.replace('"', '""') + '"'


def _name_of(own: Mapping[str, Any]) -> str:
    """Return what was trained: the LoRA, or the model that is known by its name."""
    lora = next((name[len(LORA) :] for name in own if name.startswith(LORA)), "")
    return lora or str(own.get(EXTRA + _MODEL, ""))


def _training(
    folder: str,
    name: str,
    found: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
    *,
    alone: bool,
) -> Training:
    by_unit = Counter(EPOCH if EXTRA + EPOCH in own else STEP for _, own in found)
    setting = by_unit.most_common(1)[0][0]
    samples = [
        _Sample(
            state=int(float(own[EXTRA + setting])),
            prompt=str(row["prompt"]) if row["prompt"] else _numbered(own),
            seed=row["seed"], ema=str(own.get(EXTRA + _EMA, "")),
        )
        for row, own in found if EXTRA + setting in own
    ]  # fmt: skip
    rows = [row for row, own in found if EXTRA + setting in own]
    condition = f'extra("{setting}") >= 0 and path has {_text(folder + os.sep)}'
    if not alone:
        is_lora = any(comparable_name(key) == comparable_name(LORA + name) for key in found[0][1])
        condition += (
            f" and lora({_text(name)}) != 0" if name and is_lora
            else f' and extra("{_MODEL}") = {_text(name)}' if name else ""
        )  # fmt: skip
    states = tuple(sorted({one.state for one in samples}))
    are_named = all(row["prompt"] for row in rows)
    query = {
        "q": condition, "x": EXTRA + setting, "y": "prompt" if are_named else EXTRA + _NUMBER,
    }  # fmt: skip
    seeds = Counter(prompt for prompt, seed in {(one.prompt, one.seed) for one in samples}
                    if seed is not None)  # fmt: skip
    return Training(
        name=name, folder=folder, unit=_UNITS[setting], states=states,
        prompts=tuple(sorted({one.prompt for one in samples})),
        seeds=max(seeds.values(), default=0), pictures=len(samples), pairs=_pairs(samples),
        missing=_missing(samples, states), left_out=len(found) - len(samples),
        condition=condition, sheet=f"/sheet?{urlencode(query)}",
    )  # fmt: skip


def _numbered(own: Mapping[str, Any]) -> str:
    number = own.get(EXTRA + _NUMBER)
    if number is None:
        return "(not told)"
    return f"prompt {number:g}" if isinstance(number, (int, float)) else str(number)


def _pairs(samples: Sequence[_Sample]) -> int:
    states = defaultdict(set)
    for one in samples:
        states[one.prompt, one.seed, one.ema].add(one.state)
    return sum(math.comb(len(some), 2) for some in states.values())


def _missing(samples: Sequence[_Sample], states: Sequence[int]) -> tuple[Missing, ...]:
    """Return the cells that some state has and another lacks.

    Where no seed comes twice, seeds are chance, and a cell is a prompt alone.
    """
    drawn = Counter((one.prompt, one.seed, one.ema) for one in samples)
    by_chance = len(states) > 1 and max(drawn.values(), default=0) <= 1
    cells = {(p, None if by_chance else s, e) for p, s, e in drawn}
    there = {(o.state, o.prompt, None if by_chance else o.seed, o.ema) for o in samples}
    return tuple(
        Missing(state, prompt, seed)
        for state in states
        for prompt, seed, ema in sorted(cells, key=lambda cell: (cell[0], cell[1] or 0, cell[2]))
        if (state, prompt, seed, ema) not in there
    )


def prompts_of(archive: Archive, name: str) -> tuple[tuple[str, ...], int | None]:
    """Return the prompts that samples of the training *name* have, and the seed of all of them.

    No prompts where there is no such training or its prompts are not certain; no seed where
    there are several.

    Raises:
        ArchiveError: The archive cannot answer.
    """
    if not archive.path.is_dir():
        return (), None
    called = [one for one in trainings_in(archive) if one.name.lower() == name.lower()]
    rows = [
        row for one in called
        for row in archive.query(one.condition, columns=("prompt", "seed"), limit=None).dicts()
        if row["prompt"]
    ]  # fmt: skip
    prompts = tuple(sorted({str(row["prompt"]) for row in rows}))
    seeds = {row["seed"] for row in rows}
    return prompts, next(iter(seeds)) if len(seeds) == 1 else None


def files_of(pattern: str) -> list[str]:
    """Return the names, as prompts write them, of LoRAs whose files *pattern* means, in order.

    Raises:
        ConfigError: It means none.
    """
    found = {
        re.sub(LORA_ENDING, "", os.path.basename(path), flags=re.IGNORECASE)  # noqa: PTH119
        for path in glob.glob(os.path.expanduser(pattern), recursive=True)  # noqa: PTH111
        if re.search(LORA_ENDING, path.lower())
    }
    if not found:
        raise ConfigError(
            f"--epochs: no file of a LoRA is called {pattern!r}; a pattern in quotes is meant, such"
            " as 'loras/ink-*.safetensors'"
        )

    def state(name: str) -> tuple[bool, int, str]:
        number = lora_family(name).number
        return number is None, number or 0, name  # the last file of a training has no number

    return sorted(found, key=state)


# -- what ratings say --------------------------------------------------------------------


def answer_of(archive: Archive, training: Training, raters: Sequence[str] = ()) -> Answer:
    """Return what ratings say of the states of *training*.

    Raises:
        RequestError: Nobody of that name rated, or people are to be mixed with programs.
        ArchiveError: The archive cannot answer.
    """
    from safelight.application.rated_pictures import rated_trials
    from safelight.learning.evidence.effects import find_effects
    from safelight.learning.evidence.findings import ALL_OTHERS

    _, trials, rated_by = rated_trials(archive, training.condition, raters)
    blank = Answer(rated=len(trials), rated_by=rated_by, sentence="")
    unit = training.unit
    if len(training.states) < 2:
        return replace(blank, sentence=f"there is one {unit} only: nothing to compare")
    if not len(trials):
        text = f"nobody has rated these: which {unit} is best is not known"
        alike = f"{training.pairs:,} pairs that differ in the {unit} alone can be judged"
        chance = "no two of them share prompt and seed, so it takes many ratings"
        return replace(blank, sentence=f"{text}; {alike if training.pairs else chance}")
    trials = _by_state(trials, training)
    effects = find_effects(trials)
    if effects.reason:
        return replace(blank, sentence=f"which {unit} is best is not known: {effects.reason}")
    found = next((one for one in effects.knobs if one.knob == unit), None)
    if found is None or found.status == "constant":
        return replace(
            blank, sentence=f"which {unit} is best is not known: only one {unit} is rated"
        )
    better = tuple(_better(one, trials, unit) for one in found.comparisons if one.told)
    if not better:
        return replace(blank, **_open(found.comparisons, training))
    wins = Counter(one.state for one in better if one.state != ALL_OTHERS)
    beaten = {one.than for one in better}
    unbeaten = sorted((s for s in wins if s not in beaten), key=lambda s: -wins[s])
    others = [str(state) for state in training.states if [str(state)] != unbeaten[:1]]
    best = unbeaten[0] if len(unbeaten) == 1 else ""
    ordered = tuple(sorted(better, key=lambda one: (one.state != best, -one.difference)))
    return replace(
        blank, better=ordered, best=best, sentence=_sentence(ordered, best, others, unit)
    )


def _by_state(trials: Trials, training: Training) -> Trials:
    """Return *trials* with the state as one setting, of one level each, beside what varies.

    Words of prompts, months and folders are no settings of a training. Nor are doubts: what is not
    told of samples is the same in all states.
    """
    import numpy as np

    from safelight.learning.evidence.trials import Levels
    from safelight.learning.evidence.value_columns import levels_of

    numbers, levels = dict(trials.numbers), dict(trials.levels)
    settings = dict(trials.settings)
    prompts = _prompts(trials)
    states = _column(trials, training.setting)
    gone = {EXTRA + name for name in (EPOCH, STEP, _NUMBER, _FOLDER_PER_PROMPT)}
    for table in (numbers, levels, settings):
        for name in [n for n in table if n in gone or n.startswith("term:")]:
            del table[name]
    known = [math.nan if value is None else float(value) for value in states]
    different = sorted({int(value) for value in known if not math.isnan(value)})
    place = {state: at for at, state in enumerate(different)}
    codes = np.array([-1 if math.isnan(v) else place[int(v)] for v in known], np.int64)
    levels[training.unit] = Levels(names=tuple(map(str, different)), codes=codes)
    return replace(
        trials, numbers=numbers, levels=levels, settings=settings, prompts=levels_of(prompts),
        doubtful={}, kinds=(), made=np.full(len(trials), math.nan),
        folders=levels_of([None] * len(trials)),
    )  # fmt: skip


def _column(trials: Trials, name: str) -> list[Any]:
    if name in trials.numbers:
        return [None if math.isnan(v) else v for v in trials.numbers[name].tolist()]
    some = trials.levels.get(name) or trials.settings.get(name)
    if some is None:
        return [None] * len(trials)
    return [some.names[code] if code >= 0 else None for code in some.codes.tolist()]


def _prompts(trials: Trials) -> list[str]:
    """Return the prompt of each row, or the number of it where the prompt is not certain."""
    numbered = _column(trials, EXTRA + _NUMBER)
    return [
        trials.prompts.names[code] if code >= 0 and trials.prompts.names[code]
        else f"sample prompt {number}"
        for code, number in zip(trials.prompts.codes.tolist(), numbered, strict=True)
    ]  # fmt: skip


def _better(one: Comparison, trials: Trials, unit: str) -> Better:
    from safelight.learning.evidence.findings import ALL_OTHERS

    ends = (one.difference or 0.0, one.low or 0.0, one.high or 0.0)  # there: a difference is told
    turned = ends[0] < 0
    state, than = (one.against, one.level) if turned else (one.level, one.against)
    low, high = (-ends[2], -ends[1]) if turned else ends[1:]
    is_one = ALL_OTHERS not in (state, than)
    won, alike, pairs = _won(trials, unit, state, than) if is_one else (0, 0, 0)
    return Better(
        state=state, than=than, sure=one.status == "clear", difference=abs(ends[0]),
        low=low, high=high, n=one.n, basis=one.basis, won=won, pairs=pairs, alike=alike,
    )  # fmt: skip


def _won(trials: Trials, unit: str, state: str, than: str) -> tuple[int, int, int]:
    """Return in how many pairs of one prompt and seed *state* reads higher, alike, and of all."""
    from safelight.learning.evidence.knob_levels import likeness

    levels = trials.levels[unit]
    alike = likeness(trials)[unit]
    means = [_means(alike, trials.readings, levels.codes == levels.names.index(name))
             for name in (state, than)]  # fmt: skip
    shared = means[0].keys() & means[1].keys()
    apart = [means[0][key] - means[1][key] for key in shared]
    won = sum(difference > _READING_STEP for difference in apart)
    even = sum(abs(difference) <= _READING_STEP for difference in apart)
    return won, even, len(shared)


def _counted(better: Sequence[Better]) -> str:
    """Return in how many pairs the better one is so; empty where not all of it rests on pairs."""
    won, alike, pairs = (
        sum(getattr(one, name) for one in better) for name in ("won", "alike", "pairs")
    )
    if not pairs or any(one.basis != "pairs" for one in better):
        return ""
    return f"{won:,} of {pairs:,} pairs" + (f", {alike:,} alike" if alike else "")


def _means(
    alike: NDArray[np.uint64], readings: NDArray[np.float64], rows: NDArray[np.bool_]
) -> dict[int, float]:
    some: dict[int, list[float]] = {}
    for key, value in zip(alike[rows].tolist(), readings[rows].tolist(), strict=True):
        some.setdefault(key, []).append(value)
    return {key: sum(values) / len(values) for key, values in some.items()}


def _sentence(better: Sequence[Better], best: str, others: Sequence[str], unit: str) -> str:
    if not best:
        return (
            f"some {unit}s are better than others, and none is known to be the best: "
            + "; ".join(_one_by_one(better)[:_MOST_NAMED])
        )
    own = [one for one in better if one.state == best]
    text = f"{unit} {best}: {_likely(own)}better than {_listed(one.than for one in own)}"
    if counted := _counted(own):
        text += f", {counted}"
    open_ones = [state for state in others if state not in {one.than for one in better}]
    if open_ones and len(own) and own[0].than.isdigit():
        text += f"; not known to be better than {_listed(open_ones)}"
    return text


def _one_by_one(better: Sequence[Better]) -> list[str]:
    """Return which is better than which; what is worse than all others together is told once."""
    from safelight.learning.evidence.findings import ALL_OTHERS

    worse = [one for one in better if one.state == ALL_OTHERS]
    are = f"{_listed(one.than for one in worse)} {_likely(worse)}worse than" if worse else ""
    found = [
        f"{are} {_listed([ALL_OTHERS])}" if one.state == ALL_OTHERS
        else f"{one.state} {_likely([one])}better than {_listed([one.than])}"
        for one in better
    ]  # fmt: skip
    return list(dict.fromkeys(found))


def _likely(told: Sequence[Better]) -> str:
    return "" if all(one.sure for one in told) else "likely "


def _listed(names: Iterable[str]) -> str:
    """Return states, and the mean of all but one as such: who beats it may be worse than some."""
    *some, last = sorted((name if name.isdigit() else f"{name} together" for name in names),
                         key=lambda name: (not name.isdigit(), int(name)
                                           if name.isdigit() else 0))  # fmt: skip
    if len(some) >= _MOST_NAMED:
        return f"{', '.join(some[:_MOST_NAMED])} and {len(some) + 1 - _MOST_NAMED:,} more"
    return f"{', '.join(some)} and {last}" if some else last


def _open(comparisons: Sequence[Comparison], training: Training) -> dict[str, Any]:
    """Return the sentence where nothing is told, and how many more ratings would."""
    unit = training.unit
    confounded = next((one for one in comparisons if one.status == "confounded"), None)
    if confounded is not None and confounded.notes:
        return {"sentence": f"which {unit} is best cannot be told: {'; '.join(confounded.notes)}"}
    small = [one for one in comparisons if one.status == "small"]
    if len(small) == len(comparisons):
        return {"sentence": f"no {unit} is better than another by anything that matters"}
    more = min((one.more for one in comparisons if one.more is not None), default=None)
    text = f"no {unit} is known to be better than another"
    figures = [one for one in comparisons if one.difference is not None]
    if figures:
        largest = max(figures, key=lambda one: abs(one.difference or 0))
        more = largest.more
        what = "pairs" if largest.basis == "pairs" else "pictures"
        text += (
            f": {largest.level} against {largest.against} {largest.difference:+.2f}"
            f" [{largest.low:+.2f}, {largest.high:+.2f}], {largest.n:,} {what}"
        )
    if more is not None:
        text += f"; about {more:,} more ratings would tell"
    return {"sentence": text, "more": more}
