"""suggestions: what was rated -> settings worth trying, as a config, each with its evidence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safelight.application.config_text import write_config
from safelight.application.configs_again import engine_of, stages_of_picture
from safelight.application.rated_pictures import rated_settings, whose
from safelight.archive import Archive
from safelight.archive_layout import presets_folder
from safelight.config import PipelineConfig
from safelight.durable_file import make_folder
from safelight.errors import ConfigError, PlanError
from safelight.knobs import KNOBS, did_you_mean, knob_fault
from safelight.learning.evidence.scores import fit_scores
from safelight.learning.evidence.trials import TRIAL_COLUMNS, Trials, join_trials
from safelight.learning.plans.knob_space import SpaceKnob, knob_of_values
from safelight.learning.plans.plan_cost import (
    TIMING_COLUMNS,
    PlanCost,
    Timing,
    plan_cost,
    timings_of,
)
from safelight.learning.plans.suggest import Known, Suggestion, Suggestions, Verdict, verdict
from safelight.learning.ratings import Identity
from safelight.lora_tags import split_loras, with_lora
from safelight.recorded_settings import LORA
from safelight.value_ranges import values_of
from safelight.varied_names import lora_fault, plain_name

__all__ = [
    "Evidence",
    "Preset",
    "comments_of",
    "cost_of_suggestions",
    "find_evidence",
    "gain_text",
    "keep_preset",
    "knob_to_vary",
    "score_text",
    "setting_text",
    "suggestion_config",
]

_BASE_PROMPT = "a red apple"
_BOX = "bundled"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was rated, and where settings come from that are not varied.

    Attributes:
        trials: The rated pictures of one model.
        model: Its name; empty when nothing is known at all.
        lora: The LoRA that all of them have, if one was asked for.
        prompts: Prompts with their LoRA tags taken out, the most rated first.
        seed: The seed that was rated most.
        base: A config of a picture of the model; only stages.
        stage: The stage whose pictures these are.
        backend: The engine that drew it.
        timings: Rows for the cost.
        rated_by: Who rated, in words.
    """

    trials: Trials
    model: str
    lora: str | None
    prompts: tuple[str, ...]
    seed: int
    base: dict[str, dict[str, Any]]
    stage: str
    backend: str
    timings: Sequence[Sequence[Any]]
    rated_by: str

    @property
    def title(self) -> str:
        """What it is about."""
        return (self.model or "any model") + (f" with the LoRA {self.lora}" if self.lora else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A setting that was kept.

    Attributes:
        path: Its file.
        setting: Knob -> value.
        summary: What it rests on, in sentences.
        evidence: The same in figures.
    """

    path: Path
    setting: Mapping[str, Any]
    summary: tuple[str, ...]
    evidence: Mapping[str, Any]


def find_evidence(
    archive: Archive,
    *,
    model: str | None = None,
    lora: str | None = None,
    condition: str = "",
    raters: Sequence[str] = (),
) -> Evidence:
    """Return what *archive* knows of one model.

    Args:
        archive: Whose pictures and ratings.
        model: Which; None is the only one that was rated.
        lora: Only pictures with this LoRA.
        condition: Only pictures that meet this, in the filter language.
        raters: As in :func:`.rated_pictures.rated_trials`.

    Raises:
        PlanError: Several models were rated and none is named, or there is none of that name.
    """
    columns = (*TRIAL_COLUMNS, "run_id", "place", "variant", "seconds")
    there = archive.path.is_dir()
    rows = archive.query(condition, columns=columns, limit=None).rows if there else ()
    at = {name: place for place, name in enumerate(columns)}
    timings = [tuple(row[at[name]] for name in TIMING_COLUMNS) for row in rows]
    with archive.ratings() as store:
        events = store.events()
    counted, rated_by = whose(events, raters)
    known = (Identity(sha256=r[at["sha256"]], pixel_sha256=r[at["pixel_sha256"]]) for r in rows)
    scores = fit_scores(counted, known)
    rated = [
        row
        for row in rows
        if scores.place(row[at["sha256"]], row[at["pixel_sha256"]]) is not None
        and (lora is None or re.search(rf"<lora:\s*{re.escape(lora)}\s*[:>]", _text(row, at)))
    ]
    models = Counter(str(row[at["model"]]) for row in rated if row[at["model"]])
    drawn = Counter(str(row[at["model"]]) for row in rows if row[at["model"]])
    if model is None:
        if len(models) > 1:
            listed = ", ".join(f"{name} ({n:,} rated)" for name, n in models.most_common(8))
            raise PlanError(f"pictures of several models were rated; choose one with --model:"
                            f" {listed}")  # fmt: skip
        model = next(iter(models or drawn), "")
    elif model not in drawn and rows and drawn:
        hint = did_you_mean(model, drawn) or f"; there are: {', '.join(sorted(drawn)[:8])}"
        raise PlanError(f"no picture in {archive.path} was drawn with the model {model!r}{hint}")
    rated = [row for row in rated if row[at["model"]] == model] if model else rated
    stages = Counter(row[at["stage"]] for row in rated)
    stage = stages.most_common(1)[0][0] if stages else "txt2img"
    rated = [row for row in rated if row[at["stage"]] == stage]
    table = {name: [row[at[name]] for row in rated] for name in TRIAL_COLUMNS}
    keys = [(row[at["run_id"]], row[at["place"]]) for row in rated]
    settings = rated_settings(archive, keys, table, scores)
    loras = {name: by_row for name, by_row in settings.items() if name.startswith(LORA)}
    seeds = Counter(row[at["seed"]] for row in rated if row[at["seed"]] is not None)
    like = rated or [row for row in rows if row[at["model"]] == model] or list(rows)
    return Evidence(
        trials=join_trials(table, scores, loras),
        model=model,
        lora=lora,
        prompts=_prompts([_text(row, at) for row in like]),
        seed=min(seeds, key=lambda seed: (-seeds[seed], seed), default=1),
        base=_base(archive, like[0][at["run_id"]], like[0][at["variant"]], stage) if like else {},
        stage=stage,
        backend=str(like[0][at["backend"]] or _BOX) if like else _BOX,
        timings=timings,
        rated_by=rated_by,
    )


def _text(row: Sequence[Any], at: Mapping[str, int]) -> str:
    return str(row[at["prompt"]] or "")


def _prompts(texts: Sequence[str]) -> tuple[str, ...]:
    counted = Counter(text for text in texts if text)
    plain = Counter[str]()
    for text, times in counted.items():
        plain[split_loras(text)[0]] += times
    return tuple(text for text, _ in plain.most_common() if text)


def _base(archive: Archive, run_id: str, variant: int, stage: str) -> dict[str, dict[str, Any]]:
    """Return the stages up to *stage* of a variant, as a config may state them."""
    record = archive.record(run_id)
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


def suggestion_config(
    evidence: Evidence,
    settings: Sequence[Mapping[str, Any]],
    fixed: Mapping[str, Any],
    prompts: Sequence[str],
    seeds: int,
    **more: Any,
) -> dict[str, Any]:
    """Return the config that draws *settings*, checked.

    Raises:
        ConfigError: It would not be one.
    """
    base = {stage: dict(knobs) for stage, knobs in evidence.base.items()} or {"txt2img": {}}
    first = next((stage for stage in base if stage != "upscale"), None)
    texts = list(prompts or evidence.prompts[:2]) or [_BASE_PROMPT]
    if first is None:
        raise ConfigError("the rated pictures were only enlarged; name those that were drawn"
                          " with --where")  # fmt: skip
    for stage in base:
        base[stage].pop("prompt", None)
    if evidence.model:
        base[first]["model"] = evidence.model
    listed: list[dict[str, Any]] = []
    for setting in settings:
        knobs = {f"{_stage_of(name, base)}.{name}": value
                 for name, value in setting.items() if not name.startswith(LORA)}  # fmt: skip
        loras = {n: v for n, v in {**fixed, **setting}.items() if n.startswith(LORA)}
        if any(loras.values()) or any(name.startswith(LORA) for name in setting):
            prompts_with = [_with_loras(text, loras) for text in texts]
            listed += [{f"{first}.prompt": text, **knobs} for text in prompts_with]
        else:
            listed.append(knobs)
    if not any(f"{first}.prompt" in each for each in listed):
        base[first]["prompt"] = texts if len(texts) > 1 else texts[0]
    varied = {path for each in listed for path in each}
    for path in varied:
        stage, _, name = path.partition(".")
        base[stage].pop(name, None)
    base[first]["seed"] = evidence.seed
    engine = engine_of(evidence.backend)
    config: dict[str, Any] = {**({} if engine is None else {"backend": engine}), **more, **base}
    if len(listed) == 1:
        for path, value in listed[0].items():
            stage, _, name = path.partition(".")
            base[stage][name] = value
    config["randomizer"] = {"mode": "fanout", "templates": False, "seeds_per_variant": seeds}
    if len(listed) > 1:
        config["randomizer"]["settings"] = listed
    PipelineConfig.from_mapping(config)
    return config


def _with_loras(prompt: str, weights: Mapping[str, Any]) -> str:
    for name, weight in weights.items():
        prompt = with_lora(prompt, name[len(LORA) :], weight)
    return prompt


def _stage_of(name: str, base: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the stage that decides *name*: the last one that states it, else the first it has."""
    stating = [stage for stage, knobs in base.items() if name in knobs]
    if stating:
        return stating[-1]
    knob = KNOBS.get(name)
    having = [stage for stage in base if knob is not None and stage in knob.stages]
    return having[0] if having else next(iter(base))


def setting_text(setting: Mapping[str, Any]) -> str:
    """Return a setting in words."""
    return ", ".join(f"{name}={value}" for name, value in setting.items())


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:+.2f}"


def comments_of(evidence: Evidence, result: Suggestions, cost: PlanCost) -> list[str]:
    """Return what a config of suggestions says of itself, in lines."""
    lines = [
        f"Settings worth trying with {evidence.title}, from {result.pictures:,} rated pictures of"
        f" {result.settings:,} settings, rated by {evidence.rated_by}. Nothing runs by itself.",
        cost.sentence(),
        *result.notes,
    ]
    if engine_of(evidence.backend) is None:
        lines.append(f"No engine here draws what {evidence.backend} did: add one, backend = NAME.")
    if result.best is not None:
        lines.append(f"best known: {setting_text(result.best.setting)} ({score_text(result.best)})")
    for number, suggestion in enumerate(result.suggestions, start=1):
        lines.append(
            f"{number}. {setting_text(suggestion.setting)}: {suggestion.why}{gain_text(suggestion)}"
        )
    return lines


def score_text(best: Known) -> str:
    """Return how good the best known setting is, with interval and n."""
    return (
        f"score {_number(best.mean)}, 95 % {_number(best.low)} to {_number(best.high)},"
        f" n = {best.pictures}"
    )


def gain_text(suggestion: Suggestion) -> str:
    """Return what a suggestion is believed to gain; empty where nothing is known."""
    if suggestion.gain is None:
        return ""
    return (
        f"; {_number(suggestion.gain)} over the best known, 95 % {_number(suggestion.gain_low)} to"
        f" {_number(suggestion.gain_high)}, n = {suggestion.pictures} like it"
    )


def _evidence_of(evidence: Evidence, result: Verdict) -> dict[str, Any]:
    return {
        "model": evidence.model,
        "rated_by": evidence.rated_by,
        **({"lora": evidence.lora} if evidence.lora else {}),
        "setting": dict(result.best.setting),
        "gain": round(result.gain, 4),
        "gain_low": round(result.gain_low, 4),
        "gain_high": round(result.gain_high, 4),
        "rated_pictures_of_this_setting": result.best.pictures,
        "rated_pictures": result.pictures,
        "settings": result.settings,
    }


def keep_preset(
    archive: Archive, evidence: Evidence, name: str, prompts: Sequence[str] = ()
) -> Preset:
    """Write the best known setting as a config, when the evidence carries it.

    Args:
        archive: Where presets are kept.
        evidence: What it rests on.
        name: Of the preset.
        prompts: What it draws; the most rated prompt when there is none.

    Raises:
        PlanError: The evidence does not carry it, or the name is no file name.
        StorageError: There is one of that name, or it cannot be written.
    """
    if not re.fullmatch(r"[\w][\w .+-]{0,79}", name):
        raise PlanError(
            f"a preset's name must be letters, digits, blanks and . + - _, got {name!r}"
        )
    result = verdict(evidence.trials)
    if isinstance(result, str):
        raise PlanError(
            f"no preset for {evidence.title}: {result.replace('; this plan explores', '')}"
        )
    if not result.enough:
        raise PlanError(
            f"no preset for {evidence.title}: not enough evidence. The best setting so far,"
            f" {setting_text(result.best.setting)}, is {_number(result.gain)} over what was"
            f" usually drawn (95 % {_number(result.gain_low)} to {_number(result.gain_high)},"
            f" n = {result.best.pictures} of {result.pictures:,}); about {result.missing:,} more"
            " ratings would settle it"
        )
    facts = _evidence_of(evidence, result)
    config = suggestion_config(
        evidence, [result.best.setting], result.fixed, prompts[:1] or evidence.prompts[:1], 1,
        name=name, metadata={"preset": name, "evidence": facts},
    )  # fmt: skip
    path = presets_folder(archive.path) / f"{name}.toml"
    make_folder(path.parent, root=archive.path)
    comments = (
        f"What is known to work best with {evidence.title}: {_number(result.gain)} over what was"
        f" usually drawn, 95 % {_number(result.gain_low)} to {_number(result.gain_high)},",
        f"from {result.best.pictures} rated pictures of this setting, {result.pictures:,} in all,"
        f" rated by {evidence.rated_by}.",
    )
    write_config(path, config, comments)
    return Preset(path=path, setting=result.best.setting, summary=comments, evidence=facts)


def cost_of_suggestions(
    evidence: Evidence, result: Suggestions, prompts: Sequence[str], seeds: int
) -> PlanCost:
    """Return what drawing *result* will take, arguments as those of :func:`suggestion_config`."""
    each = seeds * max(1, len(prompts or evidence.prompts[:2]))
    planned = [
        Timing(backend=evidence.backend, model=evidence.model or None,
               sampler=s.setting.get("sampler"), steps=s.setting.get("steps"))
        for s in result.suggestions
        for _ in range(each)
    ]  # fmt: skip
    return plan_cost(planned, timings_of(evidence.timings))
