"""learning_plans: a config and the knobs to vary -> one plan that is drawn like any other run."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from safelight.application.jobs import Job
from safelight.archive import Archive
from safelight.config import plain
from safelight.errors import BackendError, BackendUnavailable, ConfigError
from safelight.knobs import KNOBS, STAGES, Stage, did_you_mean
from safelight.learning import LearningPlan, LearningVariable
from safelight.learning.plans.designs import Design, grid_size
from safelight.learning.plans.plan_cost import (
    TIMING_COLUMNS,
    PlanCost,
    Timing,
    plan_cost,
    timings_of,
)
from safelight.lora_tags import LORA, LORA_ENDING, lora_family, lora_of, lora_stem
from safelight.pipeline import RunResult
from safelight.pipeline.backend import Backend, ListsLoras, TellsWhetherLoras
from safelight.randomizer import RandomizerPlanResult, Variant, plan_variants
from safelight.recorded_settings import EXTRA
from safelight.value_ranges import distinct
from safelight.varied_names import first_drawing, plain_name

__all__ = [
    "FEWEST_PROMPTS",
    "Combination",
    "Combinations",
    "cost_of",
    "describe_plan",
    "epochs_plan",
    "learning_config",
    "learning_plan",
    "plan_timings",
    "scope_of_plan",
]

FEWEST_PROMPTS = 6
"""Prompts from which on an effect is told of prompts in general, not of these alone."""


_MOST_LOOKED_AT = 2000
_MOST_TIMED = 100_000
_TEMPLATE = re.compile(r"\{.*\}|__\S.*__")
_GRID = 24
"""Combinations up to which all are drawn when no design is named."""


def learning_plan(
    job: Job,
    knobs: Sequence[str],
    *,
    design: Design | None = None,
    runs: int | None = None,
    prompts: int = FEWEST_PROMPTS,
    seeds: int | None = None,
) -> LearningPlan:
    """Return the plan that varies *knobs*, with the config's own prompts and seeds for all.

    What the config sweeps is varied, too, so that nothing of it is left out.

    Args:
        job: The config.
        knobs: ``knob=values`` or ``stage.knob=values`` texts.
        design: Which combinations; None chooses by how many there are.
        runs: How many combinations.
        prompts: Most prompts; those of the config, drawn where they have wildcards.
        seeds: Pictures of each combination and prompt; None is 1 where there are six prompts or
            more, else 2.

    Raises:
        ConfigError: A knob cannot be varied; all that is wrong is told.
        PlanError: The design cannot have that many combinations.
    """
    stages = job.config.to_mapping()
    variants = list(itertools.islice(_plan_of_texts(job).variants, _MOST_LOOKED_AT))
    _share_other_prompts(job, stages, variants)
    variables = _variables(job, stages, knobs)
    if design is None:
        size = grid_size({v.path: v.values for v in variables})
        design = "lhs" if runs else "grid" if size <= _GRID or len(variables) == 1 else "factorial"
    varied = any(variable.name == "prompt" for variable in variables)
    texts = () if varied else _prompts(job, variants, prompts)
    seed = next((stages[s].get("seed", -1) for s in stages if s != "upscale"), -1)
    return LearningPlan.designed(
        stages,
        variables,
        design=design,
        runs=runs,
        prompts=texts,
        images_per_value=seeds or (1 if len(texts) >= FEWEST_PROMPTS else 2),
        first_seed=seed if isinstance(seed, int) and seed >= 0 else 1,
    )


def epochs_plan(
    job: Job,
    loras: Sequence[str],
    *,
    texts: Sequence[str] = (),
    prompts: int = FEWEST_PROMPTS,
    seeds: int | None = None,
    first_seed: int | None = None,
) -> LearningPlan:
    """Return the plan that draws with each of some LoRAs by itself, at weight 1.

    They are the states of one training, one setting with their names as values: a picture has one
    of them.

    Args:
        job: The config.
        loras: Their names, as prompts write them.
        texts: Prompts; with none, those of the config.
        prompts: Most of the config's prompts.
        seeds: As :func:`learning_plan` has it.
        first_seed: The first seed; None is the config's, or 1.

    Raises:
        ConfigError: Two trainings, a config that sweeps, or an engine that takes no LoRAs or does
            not have these.
    """
    families = sorted({lora_family(name).name for name in loras})
    if len(families) > 1:
        raise ConfigError(
            f"--epochs: these are files of {len(families)} trainings ({', '.join(families[:5])}):"
            " ask about one at a time"
        )
    if len(loras) < 2:
        raise ConfigError(f"--epochs: one file alone ({', '.join(loras)}) cannot be compared")
    loras = _known_loras(job.backend, loras)
    stages = job.config.to_mapping()
    randomizer = job.config.randomizer
    if randomizer.mode != "off" and (
        randomizer.sweep or randomizer.settings or randomizer.sub_sweeps or randomizer.exclude
    ):
        raise ConfigError(
            "--epochs: the config varies something itself, which cannot be crossed with epochs:"
            " leave [randomizer] out of it"
        )
    variants = list(itertools.islice(job.plan.variants, _MOST_LOOKED_AT))
    _share_other_prompts(job, stages, variants)
    stage = cast("Stage", first_drawing(stages))
    paths = [f"{stage}.{LORA}{name}" for name in loras]
    seed = stages[stage].get("seed", -1) if first_seed is None else first_seed
    shared = tuple(texts) or _prompts(job, variants, prompts)
    return LearningPlan(
        base_config=stages,
        variables=tuple(
            LearningVariable(stage=stage, name=LORA + name, values=(0, 1)) for name in loras
        ),
        settings=tuple({path: int(path == own) for path in paths} for own in paths),
        prompts=shared,
        images_per_value=seeds or (1 if len(shared) >= FEWEST_PROMPTS else 2),
        first_seed=seed if isinstance(seed, int) and seed >= 0 else 1,
    )


def _known_loras(engine: Backend, loras: Sequence[str]) -> list[str]:
    """Return *loras* as *engine* calls them.

    Raises:
        ConfigError: It takes none, or lacks some.
    """
    if isinstance(engine, TellsWhetherLoras) and not engine.takes_loras:
        raise ConfigError(f"--epochs: {engine.name} takes no LoRAs as it is set up here; draw with"
                          " another engine")  # fmt: skip
    if not isinstance(engine, ListsLoras):
        return list(loras)
    try:
        listed = list(engine.loras())
    except BackendUnavailable:  # drawing tells, or another server draws
        return list(loras)
    except BackendError as error:
        raise ConfigError(f"--epochs: {engine.name} cannot tell its LoRAs: {error}") from error
    if not listed:
        raise ConfigError(f"--epochs: {engine.name} takes no LoRAs in prompts as it is set up here,"
                          " or has none")  # fmt: skip
    called = {lora_stem(re.split(r"[\\/]", name)[-1]): name for name in listed}
    lacking = [name for name in loras if lora_stem(name) not in called]
    if lacking:
        raise ConfigError(
            f"--epochs: {engine.name} does not have {', '.join(lacking[:5])}: put the files into"
            " its folder of LoRAs, and let it list them anew"
        )
    return [re.sub(LORA_ENDING, "", called[lora_stem(name)]) for name in loras]


def _variables(job: Job, stages: Mapping[str, Any], knobs: Sequence[str]) -> list[LearningVariable]:
    """Return what varies: the knobs that were named, then what the config sweeps."""
    variables: list[LearningVariable] = []
    for text in knobs:
        variable = _variable(text, stages)
        if any(variable.path == other.path for other in variables):
            raise ConfigError(f"--knob: {variable.path} is varied twice; name all its values once")
        variables.append(variable)
    randomizer = job.config.randomizer
    if randomizer.mode == "off":
        return variables
    for source in ("settings", "sub_sweeps"):
        if getattr(randomizer, source):
            raise ConfigError(
                f"[[randomizer.{source}]] of the config cannot be crossed with --knob: leave it"
                " out, or name its values with --knob"
            )
    if randomizer.exclude:
        raise ConfigError(
            "[[randomizer.exclude]] of the config has no effect beside --knob, which chooses its"
            " own combinations: leave it out"
        )
    first = f"{first_drawing(stages)}.prompt"
    read = job.plan.prompt_file
    others = [] if read is None else [name for name in read.knobs if name != first]
    if read is not None and others:
        raise ConfigError(
            f"the rows of {read.file} set {', '.join(others[:5])}, which cannot be crossed with"
            " --knob: leave these columns out"
        )
    named = {other.path for other in variables}
    for path, values in randomizer.sweep.items():
        stage, _, knob = path.partition(".")
        if path.startswith(LORA):
            stage, knob = first_drawing(stages), path
        if f"{stage}.{knob}" in named:
            raise ConfigError(f"--knob: {path} is swept by the config, too; leave one of them out")
        if knob == "seed":
            raise ConfigError(
                f"--knob: the config sweeps {path}, and everything that is compared shares its"
                " seeds: leave the sweep out, and say how many with --seeds"
            )
        drawn_by_prompts = knob == "prompt" and stage == first_drawing(stages)
        if stage in stages and not drawn_by_prompts:
            texts = values if isinstance(values, str) else tuple(values)
            if any(isinstance(text, str) and _TEMPLATE.search(text) for text in texts):
                raise ConfigError(
                    f"--knob: the config sweeps {path} over templates, which cannot be crossed"
                    " with knobs: write the texts that are meant"
                )
            variables.append(_checked(stages, stage, knob, texts))
    return variables


def _plan_of_texts(job: Job) -> RandomizerPlanResult:
    """Return the config's plan, its prompts without what varies the weights of LoRAs.

    Those are varied beside the prompts, each of which they would make several of.
    """
    randomizer = job.config.randomizer
    sweep = {path: values for path, values in randomizer.sweep.items() if not lora_of(path, "")}
    together = (*randomizer.settings, *randomizer.sub_sweeps)
    if len(sweep) == len(randomizer.sweep) and not together:
        return job.plan
    texts = replace(
        job.config,
        randomizer=replace(randomizer, sweep=sweep, settings=(), sub_sweeps=(), exclude=()),
    )
    return plan_variants(texts, job.seed)


def _share_other_prompts(job: Job, stages: dict[str, Any], variants: Sequence[Variant]) -> None:
    """Put what is drawn for the texts beside the first prompt into *stages*; there is one of each.

    Raises:
        ConfigError: There are several.
    """
    drawing = [stage for stage in stages if stage != "upscale"]
    for number, stage in enumerate(drawing):
        for knob in ("prompt", "negative_prompt"):
            swept = f"{stage}.{knob}" in job.config.randomizer.sweep
            if (number == 0 and knob == "prompt") or swept or knob not in stages[stage]:
                continue
            texts = {str(dict(variant.config[stage]).get(knob, "")) for variant in variants}  # type: ignore[index]
            if len(texts) > 1:
                some = ", ".join(repr(text) for text in sorted(texts)[:3])
                raise ConfigError(
                    f"--knob: {stage}.{knob} is drawn in {len(texts):,} ways ({some}, ...), and"
                    " everything that is compared shares it: write one of them"
                )
            stages[stage][knob] = next(iter(texts))


def _variable(text: str, stages: Mapping[str, Any]) -> LearningVariable:
    name, separator, values = text.partition("=")
    name = plain_name(name.strip())
    if not separator or not name or not values.strip():
        raise ConfigError(f"--knob must look like steps=4,8,16, got {text!r}")
    stage, dot, knob = name.partition(".")
    if name.startswith((LORA, EXTRA)):
        stage, knob = first_drawing(stages), name
        if not stage:
            raise ConfigError(f"--knob: {name} belongs to txt2img or img2img, which the config"
                              " does not run")  # fmt: skip
    elif not dot:
        knob = name
        if knob not in KNOBS:
            raise ConfigError(f"--knob: there is no knob {knob!r}{did_you_mean(knob, KNOBS)}")
        having = [each for each in stages if each in KNOBS[knob].stages]
        if not having:
            needed = " or ".join(KNOBS[knob].stages)
            raise ConfigError(f"--knob: {knob} belongs to {needed}, which the config does not run")
        stage = having[0]
    if knob in ("prompt", "seed"):
        raise ConfigError(f"--knob: the {knob}s are shared by everything that is compared;"
                          " choose others in the config")  # fmt: skip
    return _checked(stages, stage, knob, values)


def _checked(
    stages: Mapping[str, Any], stage: str, knob: str, values: str | Sequence[Any]
) -> LearningVariable:
    """Return the variable, its values each once."""
    plan = LearningPlan.single(stages, stage=stage, variable=knob, values=values)  # type: ignore[arg-type]
    (variable,) = plan.variables
    return replace(variable, values=distinct(variable.values))


def _prompts(job: Job, variants: Sequence[Variant], most: int) -> tuple[str, ...]:
    """Return the first prompts of *variants*, each once."""
    first = first_drawing(job.config.stages)
    texts: dict[str, None] = {}
    for variant in variants:
        prompt = variant.config.get(cast("Stage", first), {}).get("prompt")
        if isinstance(prompt, str):
            texts[prompt] = None
        if len(texts) == most:
            break
    return tuple(texts)


def learning_config(job: Job, plan: LearningPlan) -> dict[str, Any]:
    """Return *plan* as one config, for the engine of *job*."""
    varied = ", ".join(variable.name for variable in plan.variables)
    chosen = job.config.backend
    backend = {"name": chosen.name, **chosen.options} if chosen.options else chosen.name
    if chosen.listed:  # what the list says of it, secrets perhaps, stays there
        backend = job.config.stated.get("backend", chosen.listed)
    title = f"{job.config.name + ': ' if job.config.name else ''}what {varied} do"
    output = {k: v for k, v in job.config.stated.items() if k in ("output", "retry")}
    return {**plan.as_config(), **output, "backend": backend, "name": title}


def describe_plan(plan: LearningPlan) -> str:
    """Return what *plan* draws, in words."""
    prompts = max(1, len(plan.prompts))
    varied = ", ".join(f"{v.path} ({len(v.values)} values)" for v in plan.variables)
    what = f"{plan.size:,} combinations of {varied}"
    if _one_at_a_time(plan):
        what = f"{plan.size:,} LoRAs, one at a time ({', '.join(v.name for v in plan.variables)})"
    return (
        f"{what}, each with {prompts} prompt"
        f"{'' if prompts == 1 else 's'} and {plan.images_per_value} seed"
        f"{'' if plan.images_per_value == 1 else 's'}"
    )


def _one_at_a_time(plan: LearningPlan) -> bool:
    """Return whether each combination has one of several LoRAs, as those of a training."""
    loras = len(plan.variables) > 1 and all(v.name.startswith(LORA) for v in plan.variables)
    each = [sum(map(bool, setting.values())) for setting in plan.settings]
    return loras and bool(each) and set(each) == {1}


def scope_of_plan(plan: LearningPlan) -> str:
    """Return for what the answer of *plan* holds, if not for prompts in general; else nothing."""
    prompts = max(
        [1, len(plan.prompts), *(len(v.values) for v in plan.variables if v.name == "prompt")]
    )
    if prompts >= FEWEST_PROMPTS:
        return ""
    which = "this prompt" if prompts == 1 else f"these {prompts} prompts"
    return (
        f"with fewer than {FEWEST_PROMPTS} prompts the answer is for {which}; --prompts takes more,"
        " where the config has them"
    )


def plan_timings(plan: LearningPlan, backend: str) -> list[Timing]:
    """Return one for every picture of *plan*: each stage of each variant draws a batch."""
    each = max(1, len(plan.prompts)) * plan.images_per_value
    planned: list[Timing] = []
    for _, config in plan.configs():
        batch = 1
        for stage in STAGES:
            knobs = config.get(stage)
            if isinstance(knobs, Mapping) and knobs.get("enabled", True):
                size = knobs.get("batch_size")
                batch = size if isinstance(size, int) and size > 0 else batch
                kept = {name: knobs.get(name) for name in TIMING_COLUMNS[1:-1]}
                planned += [Timing(backend=backend, **kept)] * (each * batch)
    return planned


def cost_of(planned: Sequence[Timing], archive: Archive) -> PlanCost:
    """Return what *planned* pictures will take, told by those that *archive* has."""
    rows: Sequence[Sequence[Any]] = ()
    if archive.path.is_dir():
        rows = archive.query(columns=TIMING_COLUMNS, limit=_MOST_TIMED).rows
    return plan_cost(planned, timings_of(rows))


@dataclass(slots=True, kw_only=True)
class Combination:
    """What one combination of values came to.

    Attributes:
        setting: ``stage.knob`` -> value.
        pictures: That were drawn, or taken over.
        run_ids: Runs that drew it.
        errors: Why variants of it failed.
    """

    setting: Mapping[str, Any]
    pictures: int = 0
    run_ids: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class Combinations:
    """What every combination of a plan's values came to, counted part by part.

    Attributes:
        error: Why the run as a whole ended early, or None.

    Args:
        plan: The plan.
        job: Draws it.
    """

    def __init__(self, plan: LearningPlan, job: Job) -> None:
        self._job = job
        self._paths = sorted(variable.path for variable in plan.variables)
        self._known = {
            self._key(setting): Combination(setting=setting) for setting, _ in plan.configs()
        }
        self.error: str | None = None

    def add(self, result: RunResult) -> None:
        """Count the pictures and failures of one part."""
        for image in result.images:
            self._of(image.variant, result).pictures += 1
        for failure in result.failures:
            message = f"#{failure.variant} in {failure.stage}: {failure.error}"
            self._of(failure.variant, result).errors.append(message)
        self.error = self.error or result.error

    def _of(self, variant: int, result: RunResult) -> Combination:
        choices = self._job.plan.variants[variant].choices
        combination = self._known[self._key(choices)]
        if result.run_id not in combination.run_ids:
            combination.run_ids.append(result.run_id)
        return combination

    def _key(self, values: Mapping[str, Any]) -> str:
        return repr([plain(values[path]) for path in self._paths])  # lists cannot be keys

    def __iter__(self) -> Iterator[Combination]:
        return iter(self._known.values())
