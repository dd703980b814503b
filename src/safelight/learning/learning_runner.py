"""LearningPlan and LearningRunner: which runs to make in order to learn what knobs do.

Every combination of values (all of them, or the few that a design chooses) is a run of its own,
and every run uses the same prompts and the same seeds, so that pictures can be compared in pairs
that differ in nothing else.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from safelight.config import plain
from safelight.errors import ConfigError, ConfigFault, GenerationCancelled, SafelightError
from safelight.knobs import KNOBS, STAGES, Stage, did_you_mean, knob_fault
from safelight.learning.learning_record import ImageOutput, LearningRecord
from safelight.learning.plans.designs import Design, choose_settings
from safelight.learning.plans.keyword_arguments import accepted
from safelight.recorded_settings import EXTRA, LORA
from safelight.value_ranges import scalars_of, values_of
from safelight.varied_names import dotted, extra_fault, lora_fault, plain_name

__all__ = [
    "LearningOutcome",
    "LearningPlan",
    "LearningResult",
    "LearningRunner",
    "LearningVariable",
]

_MOST_VALUES = 10_000
"""Most values of a range text; a plan is carried out value by value, so more is a slip."""

_NO_RECORD = (
    "the run made no record; give whatever runs a learning_record_writer or on_learning_record,"
    " or let it take on_learning_record as an argument"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningVariable:
    """One knob to vary.

    Attributes:
        stage: The stage that has it.
        name: The knob.
        values: What to try, at least one value.
    """

    stage: Stage
    name: str
    values: tuple[Any, ...]

    @property
    def path(self) -> str:
        """``stage.knob``."""
        return plain_name(f"{self.stage}.{self.name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningPlan:
    """What to vary, and how many pictures to draw per combination of values.

    Attributes:
        base_config: Stage -> knobs that stay the same; it may hold a ``randomizer`` table,
            whose variants are then drawn for every combination.
        variables: The knobs to vary; several make every combination, the first outermost.
        settings: The combinations to run, each ``stage.knob`` -> value of every variable; empty
            for all of them. See :meth:`designed`.
        prompts: Prompts that every combination is drawn with, taken as they are; empty leaves
            the base's own. Only for a base without a ``randomizer`` table.
        images_per_value: Pictures per combination, with the same seeds for every one.
        first_seed: Their seeds are first_seed, first_seed + 1, ...

    Raises:
        ConfigError: A variable is no knob of its stage, its stage does not run, a value breaks
            the knob's rule, or the base has no room for images_per_value; all faults are
            reported.
    """

    base_config: Mapping[str, Any]
    variables: tuple[LearningVariable, ...]
    images_per_value: int = 1
    first_seed: int = 0
    settings: tuple[Mapping[str, Any], ...] = ()
    prompts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        faults = list(self._faults())
        if faults:
            raise ConfigError(faults)
        object.__setattr__(self, "base_config", plain(self.base_config))
        object.__setattr__(self, "settings", tuple(plain(s) for s in self.settings))

    @staticmethod
    def single(
        base_config: Mapping[str, Any],
        *,
        stage: Stage,
        variable: str,
        values: Sequence[Any] | str,
        images_per_value: int = 1,
        first_seed: int = 0,
    ) -> LearningPlan:
        """Return the plan that varies one knob.

        Args:
            base_config: As in the plan.
            stage: The stage that has the knob.
            variable: The knob.
            values: What to try; a text is a range such as ``10-30 (+5)``, read as in sweeps.
            images_per_value: As in the plan.
            first_seed: As in the plan.
        """
        if isinstance(values, str):
            values = _values_of_range(values, stage, variable)
        return LearningPlan(
            base_config=base_config,
            variables=(LearningVariable(stage=stage, name=variable, values=tuple(values)),),
            images_per_value=images_per_value,
            first_seed=first_seed,
        )

    @staticmethod
    def designed(
        base_config: Mapping[str, Any],
        variables: Sequence[LearningVariable],
        *,
        design: Design = "grid",
        runs: int | None = None,
        prompts: Sequence[str] = (),
        images_per_value: int = 1,
        first_seed: int = 0,
    ) -> LearningPlan:
        """Return the plan that varies several knobs at once, in fewer runs where the design can.

        Args:
            base_config: As in the plan; ``single`` starts from its values.
            variables: As in the plan.
            design: See :func:`~safelight.learning.plans.designs.choose_settings`.
            runs: How many combinations, for designs that can have any number.
            prompts: As in the plan.
            images_per_value: As in the plan.
            first_seed: As in the plan; it is the design's seed, too.

        Raises:
            ConfigError: As for the plan.
            PlanError: The design cannot have that many combinations.
        """
        whole = LearningPlan(
            base_config=base_config, variables=tuple(variables), prompts=tuple(prompts),
            images_per_value=images_per_value, first_seed=first_seed,
        )  # fmt: skip
        start = {
            v.path: whole.base_config[v.stage][v.name]
            for v in whole.variables
            if v.name in whole.base_config.get(v.stage, {})
        }
        levels = {v.path: v.values for v in whole.variables}
        chosen = choose_settings(levels, design, runs=runs, start=start, seed=first_seed)
        return replace(whole, settings=chosen)

    @property
    def size(self) -> int:
        """Runs that the plan takes."""
        if self.settings:
            return len(self.settings)
        size = 1
        for variable in self.variables:
            size *= len(variable.values)
        return size

    def configs(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Yield (``stage.knob`` -> value, the config to run) for every combination."""
        for setting in self._combinations():
            config = plain(self.base_config)
            for path, value in setting.items():
                stage, _, name = path.partition(".")
                if name.startswith((EXTRA, LORA)):  # one value is a sweep, too
                    randomizer = config.setdefault("randomizer", {"templates": False})
                    randomizer.setdefault("sweep", {})[path] = [value]
                else:
                    config.setdefault(stage, {})[name] = value
            self._share_seeds(config)
            self._share_prompts(config)
            yield setting, config

    def as_config(self) -> dict[str, Any]:
        """Return one config that draws every picture of the plan.

        Raises:
            ConfigError: The base has a ``randomizer`` table; its variants and the plan's
                cannot be told in one.
        """
        if "randomizer" in self.base_config:
            raise ConfigError("a base with a randomizer table cannot be written as one config;"
                              " leave the table out, and name the prompts")  # fmt: skip
        config: dict[str, Any] = plain(self.base_config)
        self._share_seeds(config)
        self._share_prompts(config)
        randomizer = config.setdefault("randomizer", {"templates": False})
        randomizer["mode"] = "fanout"
        randomizer["settings"] = list(self._combinations())
        return config

    def _combinations(self) -> Iterator[dict[str, Any]]:
        if self.settings:
            yield from (dict(setting) for setting in self.settings)
            return
        paths = [variable.path for variable in self.variables]
        for values in itertools.product(*(variable.values for variable in self.variables)):
            yield dict(zip(paths, values, strict=True))

    def _share_prompts(self, config: dict[str, Any]) -> None:
        drawing = _first_drawing(config)
        if self.prompts and drawing is not None:
            config[drawing]["prompt"] = list(self.prompts)

    def _share_seeds(self, config: dict[str, Any]) -> None:
        drawing = _first_drawing(config)
        if drawing is None:
            return
        if f"{drawing}.seed" not in (variable.path for variable in self.variables):
            config[drawing]["seed"] = self.first_seed
            # Without a randomizer prompts stay as written; they must here, too.
            randomizer = config.setdefault("randomizer", {"templates": False})
            randomizer["seeds_per_variant"] = self.images_per_value
            randomizer.setdefault("seed", self.first_seed)

    def _faults(self) -> Iterator[ConfigFault]:
        if not self.variables:
            yield ConfigFault(path="variables", message="must hold at least one variable")
        paths = {variable.path for variable in self.variables}
        for place, setting in enumerate(self.settings):
            if set(setting) != paths:
                message = f"must set {', '.join(sorted(paths))}; got {', '.join(sorted(setting))}"
                yield ConfigFault(path=f"settings[{place}]", message=message)
        if self.prompts and "randomizer" in self.base_config:
            message = "cannot be given beside a randomizer table, which makes prompts itself"
            yield ConfigFault(path="prompts", message=message)
        if self.images_per_value < 1:
            message = f"must be at least 1, got {self.images_per_value}"
            yield ConfigFault(path="images_per_value", message=message)
        unfit = [key for key in (*STAGES, "randomizer") if not _is_table(self.base_config, key)]
        for key in unfit:
            message = f"must be a table, got {self.base_config[key]!r}"
            yield ConfigFault(path=f"base_config.{key}", message=message)
        if not unfit and self.images_per_value > 1:
            yield from self._faults_of_several_images()
        randomizer = {} if "randomizer" in unfit else self.base_config.get("randomizer", {})
        drawing = _first_drawing(self.base_config) or ""
        swept = [plain_name(name, drawing) for name in _swept(randomizer)]
        names: list[str] = []
        for variable in self.variables:
            yield from _variable_faults(variable, self.base_config)
            again: str | None = None
            if variable.path in names:
                again = "is varied twice; name all its values once"
            elif variable.path in swept:
                again = "is varied, and swept by the base, too; leave one of them out"
            elif not unfit:
                again = extra_fault(variable.path, [*names, *swept], self.base_config)
            if again:
                yield ConfigFault(path=variable.path, message=again)
            names.append(variable.path)

    def _faults_of_several_images(self) -> Iterator[ConfigFault]:
        """Yield what would make the run ignore images_per_value."""
        randomizer = self.base_config.get("randomizer", {})
        seed = f"{_first_drawing(self.base_config)}.seed"
        rule = f"when images_per_value is {self.images_per_value}"
        for key, off in (("mode", "off"), ("enabled", False)):
            if randomizer.get(key) == off:
                message = f"must not be {'off' if off else 'false'} {rule}; leave the table out"
                yield ConfigFault(path=f"base_config.randomizer.{key}", message=message)
        if seed in _swept(randomizer):
            message = f"must not sweep the seed {rule}; images_per_value does"
            yield ConfigFault(path=f"base_config.randomizer.sweep.{seed}", message=message)
        if seed in (variable.path for variable in self.variables):
            message = f"must not be varied {rule}; every value has several seeds already"
            yield ConfigFault(path=seed, message=message)


def _is_table(config: Mapping[str, Any], key: str) -> bool:
    return isinstance(config.get(key, {}), Mapping)


def _runs(config: Mapping[str, Any], stage: str) -> bool:
    return stage in config and (
        not _is_table(config, stage) or config[stage].get("enabled", True) is not False
    )


def _first_drawing(config: Mapping[str, Any]) -> Stage | None:
    return next((stage for stage in STAGES[:2] if _runs(config, stage)), None)


def _swept(randomizer: Mapping[str, Any]) -> list[str]:
    """Return ``stage.knob`` of every sweep and sub-sweep."""
    listed = randomizer.get("sub_sweeps", ())
    tables = [randomizer.get("sweep", {}), *(listed if isinstance(listed, (list, tuple)) else ())]
    return [name for table in tables if isinstance(table, Mapping) for name, _ in dotted(table)]


def _values_of_range(text: str, stage: str, variable: str) -> Sequence[Any]:
    knob = KNOBS.get(variable)
    if knob is None and not variable.startswith((EXTRA, LORA)):
        return (text,)  # the plan tells that there is no such knob
    try:
        if knob is None and variable.startswith(EXTRA):
            values = scalars_of(text)
        else:
            values = values_of(text, "number" if knob is None else knob.kind)
        if len(values) > _MOST_VALUES:
            raise ValueError(
                f"must stand for at most {_MOST_VALUES:,} values, got {len(values):,} in {text!r}"
            )
    except ValueError as error:
        fault = ConfigFault(path=f"{stage}.{variable}", message=str(error))
        raise ConfigError([fault]) from error
    return values


def _variable_faults(
    variable: LearningVariable, base_config: Mapping[str, Any]
) -> Iterator[ConfigFault]:
    if variable.stage not in STAGES:
        hint = did_you_mean(variable.stage, STAGES)
        yield ConfigFault(path=variable.path, message=f"{variable.stage!r} is not a stage{hint}")
        return
    if not _runs(base_config, variable.stage):
        message = f"varies a knob of {variable.stage}, which does not run; add it to base_config"
        yield ConfigFault(path=variable.path, message=message)
    own = [knob.name for knob in KNOBS.values() if variable.stage in knob.stages]
    other = variable.name.startswith((EXTRA, LORA))
    if variable.name not in own and not other:
        hint = did_you_mean(variable.name, own)
        message = f"{variable.name!r} is not a knob of {variable.stage}{hint}"
        yield ConfigFault(path=variable.path, message=message)
        return
    values: object = variable.values
    if not isinstance(values, (tuple, list)):
        hint = "LearningPlan.single reads range texts"
        message = f"must be a tuple of values, got {values!r}; {hint}"
        yield ConfigFault(path=variable.path, message=message)
        return
    if not variable.values:
        yield ConfigFault(path=variable.path, message="must have at least one value")
    running = [stage for stage in STAGES if _runs(base_config, stage)]
    for value in variable.values:
        fault = None
        if variable.name.startswith(LORA):
            fault = lora_fault(variable.path, value, running)
        elif not other:
            fault = knob_fault(KNOBS[variable.name], value)
            fault = fault and f"every value {fault}"
        if fault:
            yield ConfigFault(path=variable.path, message=fault)


class HasLearningRecord(Protocol):
    """What a run returns, as far as learning is concerned.

    ``records``, ``status``, ``images`` and ``error``, as a
    :class:`~safelight.pipeline.RunResult` has them, are read, too, where there are any.
    """

    @property
    def learning_record(self) -> LearningRecord | None:
        """The record of the run, or None when it made none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningOutcome:
    """What one combination of values led to.

    Attributes:
        setting: ``stage.knob`` -> value.
        records: The records of its run, one per part; none when it made none or could not
            begin.
        error: Why the run could not begin or has no record, or None.
    """

    setting: Mapping[str, Any]
    records: tuple[LearningRecord, ...] = ()
    error: str | None = None

    @property
    def record(self) -> LearningRecord | None:
        """The last of the records, or None."""
        return self.records[-1] if self.records else None

    @property
    def images(self) -> tuple[ImageOutput, ...]:
        """The pictures of the run, every part, every stage."""
        return tuple(image for record in self.records for image in record.outputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningResult:
    """Every value of a plan tied to what it led to.

    Attributes:
        plan: The plan.
        outcomes: One per combination of values, in the plan's order; fewer when stopped.
    """

    plan: LearningPlan
    outcomes: tuple[LearningOutcome, ...] = field(default=())

    def of(self, **setting: Any) -> tuple[LearningOutcome, ...]:
        """Return the outcomes whose knobs have these values, as ``of(steps=20)``."""
        return tuple(
            outcome
            for outcome in self.outcomes
            if all(
                any(path.partition(".")[2] == name and value == wanted
                    for path, value in outcome.setting.items())
                for name, wanted in setting.items()
            )
        )  # fmt: skip


class LearningRunner:
    """Carries out learning plans through a callable that runs one config.

    Args:
        run: For example ``PipelineController.run`` or ``PipelineRunner.run``. One that takes
            ``on_learning_record`` is given one, so that runs have records whatever hooks the
            runner was made with.
        on_outcome: Called after every combination with the outcome and how many are done.
    """

    def __init__(
        self,
        run: Callable[..., HasLearningRecord],
        *,
        on_outcome: Callable[[LearningOutcome, int, int], object] | None = None,
    ) -> None:
        self._run = run
        self._on_outcome = on_outcome

    def run(self, plan: LearningPlan) -> LearningResult:
        """Carry out *plan*; a combination that cannot be run is noted, the others go on.

        Returns:
            One outcome per combination. A run that was cancelled ends the plan early.
        """
        outcomes: list[LearningOutcome] = []
        for setting, config in plan.configs():
            outcome, cancelled = self._outcome(setting, config)
            outcomes.append(outcome)
            if self._on_outcome is not None:
                self._on_outcome(outcome, len(outcomes), plan.size)
            if cancelled:
                break
        return LearningResult(plan=plan, outcomes=tuple(outcomes))

    def _outcome(
        self, setting: dict[str, Any], config: dict[str, Any]
    ) -> tuple[LearningOutcome, bool]:
        """Return what *config* led to, and whether its run was cancelled."""
        try:
            hook = {"on_learning_record": _taken}
            result = self._run(config, **accepted(self._run, hook, named=hook))
        except SafelightError as problem:
            cancelled = isinstance(problem, GenerationCancelled)
            return LearningOutcome(setting=setting, error=str(problem)), cancelled
        records = _records(result)
        error: str | None = None
        if not records:
            error = _NO_RECORD if getattr(result, "images", ()) else getattr(result, "error", None)
        statuses = {getattr(result, "status", None), *(record.status for record in records)}
        outcome = LearningOutcome(setting=setting, records=records, error=error)
        return outcome, "cancelled" in statuses


def _taken(record: LearningRecord) -> None:
    """Take a record that the result has, too; somebody must ask for it, or none is made."""


def _records(result: HasLearningRecord) -> tuple[LearningRecord, ...]:
    several = getattr(result, "records", None)
    if several is not None:
        return tuple(several)
    return () if result.learning_record is None else (result.learning_record,)
