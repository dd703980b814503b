"""effects_answer: what settings do to ratings and what to try next, as plain values to be shown.

Working it out takes seconds and several libraries; showing it takes neither. So whoever shows it
may have it worked out in another process: nothing heavy is imported until something is asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from safelight.application.config_text import toml_text
from safelight.application.level_filters import RATED, Spans, within
from safelight.application.next_step import NextStep, step_after
from safelight.application.settings_texts import SettingsText
from safelight.errors import ConfigError, PlanError, RequestError, UnknownSettingError
from safelight.learning.evidence.findings import Behind, ChosenParents, Effects
from safelight.learning.evidence.rank_agreement import ScorerComparison
from safelight.learning.plans.kinds import Kind, kinds_of
from safelight.learning.plans.suggested import Nearest, Suggestion, Suggestions

if TYPE_CHECKING:
    from safelight.application.suggestions import Evidence
    from safelight.archive import Archive
    from safelight.learning.evidence.trials import Trials

__all__ = ["EffectsAnswer", "effects_answer", "sentences_behind", "spans_of"]

_SEEDS = 2
_SUGGESTIONS = 4
_NEAREST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectsAnswer:
    """What is known, for one filter and one model.

    Attributes:
        effects: What each knob does.
        rated_by: Who rated, in words.
        spans: Knob -> the spans of its levels, of knobs that are numbers.
        ignored: Settings that were left out, because somebody said that they cannot matter.
        unknown: Settings that were to be left out and are not there.
        models: Of which there are rated pictures, the most rated first.
        model: For which settings are suggested; empty for any of them.
        suggestions: What to try next with it; None when nothing is known of it.
        configs: Each suggestion as a config, the same that the command line writes.
        kinds: Kinds of pictures for which something else is good.
        scorers: What scorers say beside people of the same pictures.
        parents: Which settings' pictures were gone on with; None where none was.
        behind: Of each sentence of *effects*, pictures that it rests on; None where there are none.
        nearest: Of each suggestion, the pictures there are that come nearest to it.
        step: What to do next.
        best: The best setting in the words of other tools, with the prompt that was rated most.
    """

    effects: Effects
    rated_by: str
    spans: Mapping[str, Spans]
    ignored: tuple[str, ...]
    unknown: tuple[str, ...]
    models: tuple[str, ...]
    model: str
    suggestions: Suggestions | None
    configs: tuple[str, ...]
    kinds: tuple[Kind, ...] = ()
    scorers: tuple[ScorerComparison, ...] = ()
    parents: ChosenParents | None = None
    behind: tuple[Behind | None, ...] = ()
    nearest: tuple[tuple[Nearest, ...], ...] = ()
    step: NextStep | None = None
    best: tuple[SettingsText, ...] = ()


def effects_answer(
    archive: Archive,
    models: Sequence[str],
    *,
    condition: str = "",
    model: str = "",
    ignored: Sequence[str] = (),
    doing: Callable[[str], None] = lambda _: None,
) -> EffectsAnswer:
    """Return what the rated pictures of *archive* that meet *condition* say.

    Args:
        archive: Whose pictures and ratings.
        models: Of which there are rated pictures, the most rated first.
        condition: In the filter language.
        model: For which to suggest settings; any of them when it is none of *models*.
        ignored: Settings that do not count, because they cannot change pixels.
        doing: Is told what is being done, a few words that begin with a capital.

    Raises:
        FilterError: The condition cannot be read.
        ArchiveError: The archive cannot answer.
    """
    from safelight.application.chosen_parents import chosen_parents
    from safelight.application.rated_pictures import rated_trials
    from safelight.application.scorer_comparison import compare_scorers
    from safelight.application.suggestions import find_evidence
    from safelight.archive.contents import contents_of, count_of_pictures
    from safelight.learning.evidence.effects import find_effects
    from safelight.learning.plans.nearest import nearest_pictures
    from safelight.learning.plans.suggest import suggest

    doing("Reading ratings and settings")
    ignored, unknown = tuple(ignored), tuple[str, ...]()
    try:
        _, trials, rated_by = rated_trials(archive, condition, (), ignored)
    except UnknownSettingError as error:  # the page of yesterday, or another filter
        unknown = error.names
        ignored = tuple(name for name in ignored if name not in unknown)
        _, trials, rated_by = rated_trials(archive, condition, (), ignored)
    doing(f"Comparing {len(trials):,} rated pictures")
    effects = find_effects(trials)
    behind = sentences_behind(archive, trials, effects)
    doing("Looking for what to try next")
    model = model if model in models else ""
    suggestions, configs = None, tuple[str, ...]()
    nearest = tuple[tuple[Nearest, ...], ...]()
    best = tuple[SettingsText, ...]()
    if models and len(trials):
        with suppress(PlanError):  # none of the pictures that meet the filter has this model
            evidence = find_evidence(archive, model=model or None, condition=condition)
            suggestions = suggest(evidence.trials, _SUGGESTIONS)
            nearest = nearest_pictures(
                evidence.trials, [one.setting for one in suggestions.suggestions], _NEAREST
            )
            configs = tuple(
                _config_of(evidence, suggestions, suggestion)
                for suggestion in suggestions.suggestions
            )
            best = _best_texts(evidence, suggestions)
    parents = chosen_parents(archive, condition)
    spans = spans_of(trials)
    doing("Looking for what to rate next")
    step = step_after(
        effects, contents_of(archive, condition), suggestions, q=condition, spans=spans,
        count_of=lambda those: count_of_pictures(archive, those),
    )  # fmt: skip
    return EffectsAnswer(
        effects=effects, rated_by=rated_by, spans=spans, ignored=ignored,
        unknown=unknown, models=tuple(models), model=model, suggestions=suggestions,
        configs=configs, kinds=kinds_of(effects), scorers=compare_scorers(archive, condition),
        parents=parents if parents.chosen else None, behind=behind, nearest=nearest, step=step,
        best=best,
    )  # fmt: skip


def sentences_behind(
    archive: Archive, trials: Trials, effects: Effects
) -> tuple[Behind | None, ...]:
    """Return the pictures behind each sentence of *effects*; nothing where no setting is known."""
    from safelight.learning.evidence.comparing import Comparing
    from safelight.learning.evidence.pictures_behind import pictures_behind

    def digests_of(part: str) -> list[str]:
        rated = within(part, RATED)
        return [row[0] for row in archive.query(rated, columns=["sha256"], limit=None).rows]

    if not effects.knobs:
        return ()
    return pictures_behind(Comparing(trials), effects.knobs, effects.sentences, digests_of)


def spans_of(trials: Trials) -> dict[str, dict[str, tuple[float, float]]]:
    """Return knob -> level -> its least and largest value, of knobs that are numbers."""
    from safelight.learning.evidence.knob_levels import knob_levels

    spans: dict[str, dict[str, tuple[float, float]]] = {}
    for knob, levels in knob_levels(trials).items():
        if knob not in trials.numbers:
            continue
        own = spans.setdefault(knob, {})
        for place, level in enumerate(levels.names):
            inside = trials.numbers[knob][levels.codes == place]
            ends = [float(value) for value in inside if math.isfinite(value)]
            if ends:
                own[level] = min(ends), max(ends)
    return spans


def _config_of(evidence: Evidence, result: Suggestions, suggestion: Suggestion) -> str:
    from safelight.application.suggestion_config import suggestion_config

    config = suggestion_config(
        evidence, [suggestion.setting], result.fixed, (), _SEEDS, name="suggested"
    )
    return toml_text(config)


def _best_texts(evidence: Evidence, result: Suggestions) -> tuple[SettingsText, ...]:
    from safelight.application.settings_texts import texts_of_config
    from safelight.application.suggestion_config import suggestion_config

    if result.best is None:
        return ()
    with suppress(ConfigError, RequestError):  # then there is nothing that one could copy
        config = suggestion_config(
            evidence, [result.best.setting], result.fixed, evidence.prompts[:1], 1
        )
        return texts_of_config(config)
    return ()
