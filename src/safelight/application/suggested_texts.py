"""suggested_texts: what a config of suggestions says of itself, what it costs and leaves out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from safelight.application.configs_again import engine_of
from safelight.application.contenders_text import contenders_text
from safelight.application.suggested_kinds import ToTry
from safelight.application.suggestion_config import left_out_models, prompts_of
from safelight.application.suggestions import Evidence, gain_text, score_text, setting_text
from safelight.learning.plans.plan_cost import PlanCost, Timing, plan_cost, timings_of
from safelight.learning.plans.space_of_trials import MODEL
from safelight.learning.plans.suggested import Suggestions

__all__ = ["comments_of", "cost_of", "left_out_text"]


def comments_of(evidence: Evidence, found: ToTry, cost: PlanCost) -> list[str]:
    """Return what a config of suggestions says of itself, in lines."""
    lines = [
        f"Settings worth trying with {evidence.title}{evidence.scope}, from"
        f" {found.suggestions.pictures:,} rated pictures of {found.suggestions.settings:,}"
        f" settings, rated by {evidence.rated_by}. Nothing runs by itself.",
        cost.sentence(),
        *found.depends,
        *left_out_text(evidence, found),
    ]
    if engine_of(evidence.origin.backend) is None:
        lines.append(f"No engine here draws what {evidence.origin.backend} did: add one, backend ="
                     " NAME.")  # fmt: skip
    for kind in found.kinds:
        lines.append(f"For {kind.kind.name}:")
        lines += _lines(kind.evidence, kind.suggestions)
    return lines if found.kinds else [*lines, *_lines(evidence, found.suggestions)]


def _lines(evidence: Evidence, result: Suggestions) -> Iterator[str]:
    yield from result.notes
    if result.best is not None:
        best = result.best
        yield f"{best.title}: {setting_text(best.setting)} ({score_text(best)})"
        yield from contenders_text(result.contenders, evidence.seconds)
    for number, suggestion in enumerate(result.suggestions, start=1):
        yield (
            f"{number}. {setting_text(suggestion.setting)}: {suggestion.why}"
            f"{gain_text(suggestion, result.best)}"
        )


def left_out_text(evidence: Evidence, found: ToTry) -> list[str]:
    """Return which models one config cannot draw beside the others, a line each."""
    return [
        f"not in the config: {model}, which {backend} drew in another way than the others; write"
        f" that one with --model '{model}'"
        for model, backend in left_out_models(evidence, found.settings(evidence)).items()
    ]


def cost_of(evidence: Evidence, found: ToTry, prompts: Sequence[str], seeds: int) -> PlanCost:
    """Return what drawing *found* will take, arguments as those of :meth:`.ToTry.config`."""
    planned = [
        Timing(backend=own.origin_of(s.setting).backend,
               model=s.setting.get(MODEL, own.model) or None,
               sampler=s.setting.get("sampler"), steps=s.setting.get("steps"))
        for own, result in found.by_evidence(evidence)
        for s in result.suggestions
        for _ in range(seeds * len(prompts_of(own, prompts)))
    ]  # fmt: skip
    return plan_cost(planned, timings_of(evidence.timings))
