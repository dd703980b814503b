"""LearningPlan and LearningRunner: which runs to make in order to learn what a knob does.

Every combination of values is a run of its own, and every run uses the same prompts and the
same seeds, so that pictures can be compared in pairs that differ in nothing else.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from safelight.config import plain
from safelight.errors import ConfigError, ConfigFault
from safelight.knobs import KNOBS, STAGES, Stage, did_you_mean, knob_fault
from safelight.learning.learning_record import ImageOutput, LearningRecord

__all__ = [
    "LearningOutcome",
    "LearningPlan",
    "LearningResult",
    "LearningRunner",
    "LearningVariable",
]


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
        return f"{self.stage}.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningPlan:
    """What to vary, and how many pictures to draw per combination of values.

    Attributes:
        base_config: Stage -> knobs that stay the same; it may hold a ``randomizer`` table,
            whose variants are then drawn for every combination.
        variables: The knobs to vary; several make every combination, the first outermost.
        images_per_value: Pictures per combination, with the same seeds for every one.
        first_seed: Their seeds are first_seed, first_seed + 1, ...

    Raises:
        ConfigError: A variable is no knob of its stage, or a value breaks the knob's rule;
            all faults are reported.
    """

    base_config: Mapping[str, Any]
    variables: tuple[LearningVariable, ...]
    images_per_value: int = 1
    first_seed: int = 0

    def __post_init__(self) -> None:
        faults = list(self._faults())
        if faults:
            raise ConfigError(faults)
        object.__setattr__(self, "base_config", plain(self.base_config))

    @staticmethod
    def single(
        base_config: Mapping[str, Any],
        *,
        stage: Stage,
        variable: str,
        values: Sequence[Any],
        images_per_value: int = 1,
        first_seed: int = 0,
    ) -> LearningPlan:
        """Return the plan that varies one knob."""
        return LearningPlan(
            base_config=base_config,
            variables=(LearningVariable(stage=stage, name=variable, values=tuple(values)),),
            images_per_value=images_per_value,
            first_seed=first_seed,
        )

    @property
    def size(self) -> int:
        """Runs that the plan takes."""
        size = 1
        for variable in self.variables:
            size *= len(variable.values)
        return size

    def configs(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Yield (``stage.knob`` -> value, the config to run) for every combination."""
        for values in itertools.product(*(variable.values for variable in self.variables)):
            config = plain(self.base_config)
            setting: dict[str, Any] = {}
            for variable, value in zip(self.variables, values, strict=True):
                config.setdefault(variable.stage, {})[variable.name] = value
                setting[variable.path] = value
            self._share_seeds(config)
            yield setting, config

    def _share_seeds(self, config: dict[str, Any]) -> None:
        drawing = next((s for s in ("txt2img", "img2img") if s in config), None)
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
        if self.images_per_value < 1:
            message = f"must be at least 1, got {self.images_per_value}"
            yield ConfigFault(path="images_per_value", message=message)
        for variable in self.variables:
            yield from _variable_faults(variable)


def _variable_faults(variable: LearningVariable) -> Iterator[ConfigFault]:
    if variable.stage not in STAGES:
        hint = did_you_mean(variable.stage, STAGES)
        yield ConfigFault(path=variable.path, message=f"{variable.stage!r} is not a stage{hint}")
        return
    if not variable.values:
        yield ConfigFault(path=variable.path, message="must have at least one value")
    own = [knob.name for knob in KNOBS.values() if variable.stage in knob.stages]
    if variable.name not in own:
        hint = did_you_mean(variable.name, own)
        message = f"{variable.name!r} is not a knob of {variable.stage}{hint}"
        yield ConfigFault(path=variable.path, message=message)
        return
    for value in variable.values:
        fault = knob_fault(KNOBS[variable.name], value)
        if fault:
            yield ConfigFault(path=variable.path, message=f"every value {fault}")


class HasLearningRecord(Protocol):
    """What a run returns, as far as learning is concerned."""

    @property
    def learning_record(self) -> LearningRecord | None:
        """The record of the run, or None when it made none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningOutcome:
    """What one combination of values led to.

    Attributes:
        setting: ``stage.knob`` -> value.
        record: The record of its run; None when the run made none or could not begin.
        error: Why the run could not begin, or None.
    """

    setting: Mapping[str, Any]
    record: LearningRecord | None = None
    error: str | None = None

    @property
    def images(self) -> tuple[ImageOutput, ...]:
        """The pictures of the run, every stage."""
        return self.record.outputs if self.record else ()


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
        run: For example ``PipelineController.run`` or ``PipelineRunner.run``, with a writer
            or a callback so that runs have records.
        on_outcome: Called after every combination with the outcome and how many are done.
    """

    def __init__(
        self,
        run: Callable[[dict[str, Any]], HasLearningRecord],
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
            outcome = self._outcome(setting, config)
            outcomes.append(outcome)
            if self._on_outcome is not None:
                self._on_outcome(outcome, len(outcomes), plan.size)
            if outcome.record is not None and outcome.record.status == "cancelled":
                break
        return LearningResult(plan=plan, outcomes=tuple(outcomes))

    def _outcome(self, setting: dict[str, Any], config: dict[str, Any]) -> LearningOutcome:
        try:
            result = self._run(config)
        except ConfigError as error:
            return LearningOutcome(setting=setting, error=str(error))
        return LearningOutcome(setting=setting, record=result.learning_record)
