"""suggestions: what was rated -> settings worth trying, as a config, each with its evidence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from safelight.application.configs_again import stages_of_picture
from safelight.application.contenders_text import Seconds, seconds_taken
from safelight.application.people_kinds import people_kinds
from safelight.application.rated_pictures import rated_settings, whose
from safelight.archive import Archive
from safelight.archive.grids import grid_files
from safelight.archive.run_copies import IMPORTED
from safelight.errors import ConfigError, PlanError
from safelight.knobs import KNOBS, did_you_mean, knob_fault
from safelight.learning import LearningRecord
from safelight.learning.evidence.scores import fit_scores
from safelight.learning.evidence.trials import TRIAL_COLUMNS, Trials, join_trials
from safelight.learning.plans.knob_space import MOST_LEVELS, SpaceKnob, knob_of_values
from safelight.learning.plans.plan_cost import (
    TIMING_COLUMNS,
)
from safelight.learning.plans.space_of_trials import MODEL
from safelight.learning.plans.suggested import Known, Suggestion
from safelight.learning.ratings import Identity
from safelight.lora_tags import split_loras
from safelight.recorded_settings import LORA, model_spellings
from safelight.value_ranges import values_of
from safelight.varied_names import lora_fault, plain_name

__all__ = [
    "Evidence",
    "Origin",
    "find_evidence",
    "gain_text",
    "knob_to_vary",
    "score_text",
    "setting_text",
    "signed",
]

_BOX = "bundled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What pictures of one model were drawn with.

    Attributes:
        base: A config of one of them; only stages.
        backend: The engine that drew it.
    """

    base: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    backend: str = _BOX


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was rated, and where settings come from that are not varied.

    Attributes:
        trials: The rated pictures, of one model or of several.
        model: Its name; empty when there are several, or when nothing is known at all.
        models: Those of the rated pictures, the most rated first.
        lora: The LoRA that all of them have, if one was asked for.
        condition: What all of them meet, in the filter language.
        prompts: Prompts with their LoRA tags taken out, the most rated first.
        seed: The seed that was rated most.
        origin: Of the model; of the most rated one where there are several.
        origins: The same of each model.
        stage: The stage whose pictures these are.
        timings: Rows for the cost.
        rated_by: Who rated, in words.
        seconds: What pictures took, of that stage, by knob and value: of one model and one
            engine, or of several models by model only.
        paths: SHA-256 of a rated picture -> its file, as the archive has it.
    """

    trials: Trials
    model: str
    models: tuple[str, ...]
    lora: str | None
    condition: str
    prompts: tuple[str, ...]
    seed: int
    origin: Origin
    origins: Mapping[str, Origin]
    stage: str
    timings: Sequence[Sequence[Any]]
    rated_by: str
    seconds: Seconds = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def title(self) -> str:
        """What it is about."""
        several = f"any of {len(self.models)} models" if len(self.models) > 1 else "any model"
        return (self.model or several) + (f" with the LoRA {self.lora}" if self.lora else "")

    @property
    def scope(self) -> str:
        """Which pictures it rests on, where a filter says it; with a blank before it."""
        return f" (only pictures with {self.condition})" if self.condition.strip() else ""

    def origin_of(self, setting: Mapping[str, Any]) -> Origin:
        """Return what pictures of the model in *setting* were drawn with."""
        return self.origins.get(setting.get(MODEL, self.model), self.origin)


def find_evidence(
    archive: Archive,
    *,
    model: str | None = None,
    lora: str | None = None,
    condition: str = "",
    raters: Sequence[str] = (),
) -> Evidence:
    """Return what *archive* knows of its models, or of one.

    Args:
        archive: Whose pictures and ratings.
        model: Which; None is every one that was rated.
        lora: Only pictures with this LoRA.
        condition: Only pictures that meet this, in the filter language.
        raters: As in :func:`.rated_pictures.rated_trials`.

    Raises:
        PlanError: There is no model of that name.
    """
    columns = (*TRIAL_COLUMNS, "image_sha256", "run_id", "place", "variant")
    there = archive.path.is_dir()
    rows = archive.query(condition, columns=columns, limit=None).rows if there else ()
    at = {name: place for place, name in enumerate(columns)}
    timings = [tuple(row[at[name]] for name in TIMING_COLUMNS) for row in rows]
    with archive.ratings() as store:
        events = store.events()
    counted, rated_by = whose(events, raters)
    digests = ("sha256", "pixel_sha256", "image_sha256")
    known = (Identity(**{name: row[at[name]] for name in digests}) for row in rows)
    scores = fit_scores(counted, known)
    imported = any(row[at["status"]] == IMPORTED for row in rows)  # which alone has grids
    grids = grid_files(archive) if imported else frozenset()
    rated = [
        row
        for row in rows
        if row[at["sha256"]] not in grids
        and scores.place(row[at["sha256"]], row[at["pixel_sha256"]]) is not None
        and (lora is None or re.search(rf"<lora:\s*{re.escape(lora)}\s*[:>]", _text(row, at)))
    ]
    names = Counter(str(row[at["model"]]) for row in rows if row[at["model"]])
    usual = model_spellings(names)
    models = Counter(usual[str(row[at["model"]])] for row in rated if row[at["model"]])
    drawn = Counter(usual[str(row[at["model"]])] for row in rows if row[at["model"]])
    model = model if model is None else usual.get(model, model)
    if model is not None and model not in drawn and rows and drawn:
        hint = did_you_mean(model, drawn) or f"; there are: {', '.join(sorted(drawn)[:8])}"
        raise PlanError(f"no picture in {archive.path} was drawn with the model {model!r}{hint}")
    if model is None:
        model = next(iter(models or drawn), "") if len(models) < 2 else ""
    if model or models:
        rated = [
            row
            for row in rated
            if usual.get(str(row[at["model"]])) in ([model] if model else models)
        ]
    stages = Counter(row[at["stage"]] for row in rated)
    stage = stages.most_common(1)[0][0] if stages else "txt2img"
    rated = [row for row in rated if row[at["stage"]] == stage]
    table = {name: [row[at[name]] for row in rated] for name in TRIAL_COLUMNS}
    table[MODEL] = [usual.get(str(name), name) for name in table[MODEL]]
    keys = [(row[at["run_id"]], row[at["place"]]) for row in rated]
    settings = rated_settings(archive, keys, table, scores)
    table_of_kinds = {**table, "image_sha256": [row[at["image_sha256"]] for row in rated]}
    kinds = people_kinds(archive, events, table_of_kinds, scores) if rated else ()
    seeds = Counter(row[at["seed"]] for row in rated if row[at["seed"]] is not None)
    like = rated or [row for row in rows if row[at["model"]] == model] or list(rows)
    first_of: dict[str, Sequence[Any]] = {}
    for row in rated:
        first_of.setdefault(usual.get(str(row[at["model"]]), ""), row)
    first_of = {
        name: first_of[name] for name, _ in models.most_common(MOST_LEVELS) if name in first_of
    }
    origins = _origins(archive, first_of or ({"": like[0]} if like else {}), at, stage)
    several = not model and len(first_of) > 1
    same = [
        row
        for row in rows
        if row[at["stage"]] == stage
        and (several or all(row[at[name]] == like[0][at[name]] for name in ("model", "backend")))
    ]
    seconds = seconds_taken(same, at)
    return Evidence(
        trials=join_trials(table, scores, settings, kinds),
        paths={str(row[at["sha256"]]): str(row[at["path"]] or "") for row in rated},
        model=next(iter(first_of), "") if len(first_of) == 1 and not model else model,
        models=tuple(first_of),
        lora=lora,
        condition=condition,
        prompts=_prompts([_text(row, at) for row in like]),
        seed=min(seeds, key=lambda seed: (-seeds[seed], seed), default=1),
        origin=next(iter(origins.values()), Origin()),
        origins=origins,
        stage=stage,
        timings=timings,
        rated_by=rated_by,
        seconds={name: taken for name, taken in seconds.items() if name == MODEL or not several},
    )


def _origins(
    archive: Archive, first_of: Mapping[str, Sequence[Any]], at: Mapping[str, int], stage: str
) -> dict[str, Origin]:
    """Return what each model's first picture was drawn with, where its record can be read."""
    runs = {row[at["run_id"]] for row in first_of.values()}
    records = [archive.record(run) for run in runs] if len(runs) == 1 else archive.records(runs)
    record_of = {record.run_id: record for record in records}
    return {
        model: Origin(
            base=_base(record_of[row[at["run_id"]]], row[at["variant"]], stage),
            backend=str(row[at["backend"]] or _BOX),
        )
        for model, row in first_of.items()
        if row[at["run_id"]] in record_of
    }


def _text(row: Sequence[Any], at: Mapping[str, int]) -> str:
    return str(row[at["prompt"]] or "")


def _prompts(texts: Sequence[str]) -> tuple[str, ...]:
    counted = Counter(text for text in texts if text)
    plain = Counter[str]()
    for text, times in counted.items():
        plain[split_loras(text)[0]] += times
    return tuple(text for text, _ in plain.most_common() if text)


def _base(record: LearningRecord, variant: int, stage: str) -> dict[str, dict[str, Any]]:
    """Return the stages up to *stage* of a variant, as a config may state them."""
    configs = record.variant_configs
    config = configs[variant] if 0 <= variant < len(configs) else {}
    base: dict[str, dict[str, Any]] = {}
    for each, knobs in stages_of_picture(config, stage, record).items():
        if knobs.get("enabled", True):
            base[each] = {
                name: value
                for name, value in knobs.items()
                if name in KNOBS
                and each in KNOBS[name].stages
                and name not in ("seed", "batch_size")
                and knob_fault(KNOBS[name], value) is None
            }
            # What another tool calls its settings no engine of ours may understand.
            if record.status != "imported" and isinstance(extra := knobs.get("extra"), Mapping):
                base[each]["extra"] = dict(extra)
    return base


def knob_to_vary(text: str) -> SpaceKnob:
    """Return the knob that ``name=values`` stands for.

    Raises:
        ConfigError: It cannot be read, or has one value only.
    """
    name, separator, spec = text.partition("=")
    name = name.strip()
    if name.startswith("lora:"):  # as suggestions of before called it
        name = LORA + name[len("lora:") :]
    name = plain_name(name)
    if not separator or not name:
        raise ConfigError(f"--knob must look like steps=4,40, got {text!r}")
    knob = KNOBS.get(name)
    if knob is None and not name.startswith(LORA):
        raise ConfigError(f"--knob: there is no knob {name!r}{did_you_mean(name, KNOBS)}")
    if name in ("prompt", "model"):
        raise ConfigError(f"--knob: a {name} is not suggested; choose it with --{name}")
    if name == "seed":
        raise ConfigError("--knob: every setting is drawn with the same seeds; see --seeds")
    try:
        values = values_of(spec, knob.kind if knob else "number")
    except ValueError as error:
        raise ConfigError(f"--knob {name}: {error}") from error
    if len(values) > 10_000:
        raise ConfigError(f"--knob {name}: name at most 10,000 values, got {len(values):,}")
    for value in values:
        if knob is not None and (fault := knob_fault(knob, value)):
            raise ConfigError(f"--knob {name}: every value {fault}")
        if knob is None and (fault := lora_fault(name, value, ("txt2img",))):
            raise ConfigError(f"--knob {name}: {fault}")
    space = knob_of_values(name, values)
    if space is None:
        raise ConfigError(
            f"--knob {name}: name at least two values to choose between, got {spec!r}"
        )
    return space


def setting_text(setting: Mapping[str, Any]) -> str:
    """Return a setting in words."""
    return ", ".join(f"{name}={value}" for name, value in setting.items())


def signed(value: float | None) -> str:
    """Return *value* with its sign and two decimals; ``?`` for None."""
    return "?" if value is None else f"{value:+.2f}"


def score_text(best: Known) -> str:
    """Return how good the best known setting is, with interval and n."""
    return (
        f"score {signed(best.mean)}, 95 % {signed(best.low)} to {signed(best.high)},"
        f" n = {best.pictures}, {best.alike} like it"
    )


def gain_text(suggestion: Suggestion, best: Known | None) -> str:
    """Return what a suggestion is believed to gain; empty where nothing is known."""
    if suggestion.gain is None or best is None:
        return ""
    low, high = signed(suggestion.gain_low), signed(suggestion.gain_high)
    return (
        f"; {signed(suggestion.gain)} over the {best.title}, 95 % {low} to {high},"
        f" n = {suggestion.pictures} like it"
    )
