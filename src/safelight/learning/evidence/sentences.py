"""sentences: what is known, in the few sentences that somebody reads first.

Each says what is better than what, by how much, with its interval and what that rests on. What is
undecided is one line for each setting, with what would settle it soonest; why something cannot be
told is said once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from safelight.learning.evidence.findings import (
    ALL_OTHERS,
    Comparison,
    Effects,
    KnobEffect,
    Part,
    one_line,
)
from safelight.learning.evidence.picture_kinds import WORD
from safelight.recorded_settings import LORA

__all__ = ["About", "Sentence", "sentences_of", "short_reason", "undecided_of", "untold_of"]

About = Literal["difference", "best", "nothing", "untold", "warning"]
"""What a sentence is about: one value against another; which may be best; that nothing is known;
what cannot be told; what may be wrong with all figures."""

_MOST, _MOST_DEPENDING, _MOST_OF_A_KNOB, _MOST_NAMED, _MOST_REASONS = 5, 3, 2, 6, 4
_MAY_BE = "it may be "
_LEAST_SECONDS = 0.05
"""Less than that is no reason to choose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One of them.

    Attributes:
        text: With its full stop.
        about: What kind of sentence it is.
        claim: The beginning of *text* that says what is so, where figures follow.
        knob: What it is about; empty for several.
        level: Which level of it; empty for several.
        better: Which level it calls better; empty where it calls none so.
        worse: Than which.
        condition: The pictures behind it in the filter language, where a part of all is meant.
        part: Which part that is, as :attr:`.Part.knob` and :attr:`.Part.value`; empty for all.
    """

    text: str
    about: About = "difference"
    claim: str = ""
    knob: str = ""
    level: str = ""
    better: str = ""
    worse: str = ""
    condition: str = ""
    part: tuple[str, str] | tuple[()] = ()


def sentences_of(effects: Effects) -> tuple[Sentence, ...]:
    """Return the sentences, the most important first: at most five, and what cannot be told."""
    if effects.reason:
        text = f"{effects.reason[0].upper()}{effects.reason[1:]}."
        return (Sentence(text=text, about="nothing"),)
    told = [*_told(effects), *_best(effects)]
    found = [*[*_depending(effects)][: max(_MOST_DEPENDING, _MOST - len(told))], *told][:_MOST]
    if not found:
        found = [Sentence(text=_nothing(effects), about="nothing")]
    warning = Sentence(text=f"{effects.warning}.", about="warning")
    warned = [warning] if effects.warning else []
    return (*found, *_untold(effects), *warned)


def _nothing(effects: Effects) -> str:
    constant = [knob for knob in effects.knobs if knob.status == "constant"]
    if len(constant) < len(effects.knobs):
        return "Nothing is known yet: no difference is sure enough to be told."
    if len(constant) == 1:
        return f"{one_line(constant[0].summary)}."
    return "No setting varied in the rated pictures: there is nothing to compare."


def undecided_of(effects: Effects) -> tuple[str, ...]:
    """Return a line for each setting that is undecided, those first that are settled soonest."""
    lines = []
    for knob in effects.knobs:
        if knob.status not in ("open", "few"):
            continue
        lacking = [c for c in knob.comparisons if c.more is not None]
        if not lacking:
            lines.append((2, 0, knob.summary))
            continue
        # Too few for any figure is a beginning, and settles nothing.
        soonest = min(lacking, key=lambda c: (c.status == "few", c.more or 0))
        few = soonest.status == "few"
        about = f"about {soonest.more:,} more rating{'s' if soonest.more != 1 else ''} of"
        if knob.knob.startswith("term:") and {soonest.level, soonest.against} == {
            "with",
            "without",
        }:
            about += " prompts with and without it"
        else:
            about += f" {_value(knob.knob, soonest.level)}"
            if soonest.against != ALL_OTHERS:
                about += f" and {_value(knob.knob, soonest.against)}"
        about += " before there is any figure" if few else ""
        lines.append((int(few), soonest.more or 0, f"{one_line(knob.knob)}: {about}"))
    return tuple(line for *_, line in sorted(lines, key=lambda one: one[:2]))


def _depending(effects: Effects) -> Iterator[Sentence]:
    said: dict[str, list[set[str]]] = {}
    for knob, comparison in _by_size(effects, ("depends",)):
        own, pair = said.setdefault(knob.knob, []), {comparison.level, comparison.against}
        if pair in own or len(own) >= _MOST_OF_A_KNOB:
            continue
        own.append(pair)
        first, *rest = sorted(
            comparison.parts, key=lambda part: (not part.sure, -abs(part.difference))
        )
        if first.difference < 0 and comparison.against != ALL_OTHERS:
            comparison = _turned(comparison)
            first, *rest = (_turned(part) for part in (first, *rest))
        claim = _claim(knob.knob, comparison, first.difference)
        claim = f"For {first.name}, {claim}"
        better, worse = _order(comparison, first.difference)
        texts = [f"{claim}: {_figure(first)}"]
        for part in rest:
            what = "no difference is known"
            if part.sure:
                same = part.difference * first.difference > 0
                what = "it is the same way" if same else "it is the other way round"
            texts.append(f"for {part.name} {what}: {_figure(part)}")
        yield Sentence(
            text=f"{'; '.join(texts)}{_notes(comparison)}.", claim=claim, knob=knob.knob,
            level=comparison.level, better=better, worse=worse, condition=first.condition,
            part=(first.knob, first.value),
        )  # fmt: skip


def _told(effects: Effects) -> Iterator[Sentence]:
    of_knob: dict[str, int] = {}
    for knob, comparison in _by_size(effects, ("clear", "likely")):
        of_knob[knob.knob] = of_knob.get(knob.knob, 0) + 1
        if of_knob[knob.knob] > _MOST_OF_A_KNOB:
            continue
        likely = comparison.status == "likely"
        is_turned = (comparison.difference or 0.0) < 0 and not knob.knob.startswith("term:")
        if is_turned and comparison.against != ALL_OTHERS:
            comparison = _turned(comparison)  # what is better comes first
        claim = _claim(knob.knob, comparison, comparison.difference or 0.0, likely=likely)
        claim = f"{claim[0].upper()}{claim[1:]}"
        better, worse = _order(comparison, comparison.difference or 0.0)
        yield Sentence(
            text=f"{claim}: {_figure(comparison)}{_notes(comparison)}.", claim=claim,
            knob=knob.knob, level=comparison.level, better=better, worse=worse,
        )  # fmt: skip


def _order(comparison: Comparison, difference: float) -> tuple[str, str]:
    """Return which of both levels is better, and which is worse."""
    both = comparison.level, comparison.against
    return both if difference > 0 else both[::-1]


def _best(effects: Effects) -> Iterator[Sentence]:
    for knob in effects.knobs:
        known = len({c.level for c in knob.comparisons} | {c.against for c in knob.comparisons})
        if not knob.may_be_best or len(knob.may_be_best) >= known:
            continue
        timed = {level for level, seconds in knob.seconds.items() if seconds >= _LEAST_SECONDS}
        named = [
            one_line(level) + (f" ({knob.seconds[level]:.1f} s)" if level in timed else "")
            for level in knob.may_be_best
        ]
        shown = ", ".join(named[:_MOST_NAMED])
        if len(named) > _MOST_NAMED:
            shown += f" and {len(named) - _MOST_NAMED} more"
        only = "" if len(named) > 1 else "only "
        yield Sentence(
            text=f"Of the values of {one_line(knob.knob)} that were rated enough, {only}{shown} may"
            " be best; each of the rest is likely worse than some other.",
            about="best", knob=knob.knob,
        )  # fmt: skip


def untold_of(effects: Effects) -> tuple[str, ...]:
    """Return why some things cannot be told, a sentence each: one reason of every setting."""
    by_reason = _reasons(effects)
    shown = _one_of_each(by_reason)
    lines = [f"{_capital(_because(by_reason[reason], reason))}." for reason in shown]
    left = len(by_reason) - len(shown)
    more = f"And {left:,} more reason{'s' if left > 1 else ''} of the kind."
    return (*lines, *([more] if left else []))


def _reasons(effects: Effects) -> dict[str, list[str]]:
    """Return reason -> the settings that cannot be told for it, those of most settings first."""
    by_reason: dict[str, list[str]] = {}
    for knob in effects.knobs:
        for comparison in knob.comparisons:
            if comparison.status == "confounded":
                for note in comparison.notes:
                    own = by_reason.setdefault(short_reason(note), [])
                    if knob.knob not in own:
                        own.append(knob.knob)
    return {
        reason: by_reason[reason]
        for reason in sorted(by_reason, key=lambda reason: -len(by_reason[reason]))
    }


def _untold(effects: Effects) -> Iterator[Sentence]:
    """Yield one sentence of what cannot be told."""
    by_reason = _reasons(effects)
    if by_reason:
        shown = _one_of_each(by_reason)[:_MOST_REASONS]
        said = "; ".join(_because(by_reason[reason], reason) for reason in shown)
        left = len(by_reason) - len(shown)
        more = f"; and {left:,} more reason{'s' if left > 1 else ''} of the kind" if left else ""
        yield Sentence(text=f"What cannot be told: {said}{more}.", about="untold")


def _one_of_each(by_reason: Mapping[str, Sequence[str]]) -> list[str]:
    """Return some reasons: of the levels of a setting, each of which went with something, one."""
    reasons = list(by_reason)
    first = {
        reason if reason.startswith(_MAY_BE) else by_reason[reason][0]: reason
        for reason in reversed(reasons)
    }
    return sorted(first.values(), key=reasons.index)


def _capital(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def _because(knobs: Sequence[str], reason: str) -> str:
    return reason if reason.startswith(one_line(knobs[0])) else f"{_listed(knobs)}: {reason}"


def _notes(comparison: Comparison) -> str:
    return f" ({'; '.join(comparison.notes)})" if comparison.notes else ""


def short_reason(note: str) -> str:
    """Return what a circumstance is, of a note that says how it was found."""
    return note.partition(":")[0] if note.startswith(_MAY_BE) else note


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(one_line, names[:_MOST_NAMED]))
    return shown + (f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else "")


def _by_size(effects: Effects, statuses: Sequence[str]) -> Sequence[tuple[KnobEffect, Comparison]]:
    found = [
        (knob, comparison)
        for knob in effects.knobs
        for comparison in knob.comparisons
        if comparison.status in statuses
    ]
    return sorted(
        found,
        key=lambda one: (one[1].status != "clear", -abs(one[1].expected or one[1].difference or 0)),
    )


def _claim(knob: str, comparison: Comparison, difference: float, *, likely: bool = False) -> str:
    word = ("likely " if likely else "") + ("better" if difference > 0 else "worse")
    against = comparison.against
    # Their mean: what is better than that may be worse than some of them.
    other = f"{against} together" if against == ALL_OTHERS else _value(knob, against)
    if knob.startswith("term:") and comparison.level == "with":
        return f"a prompt with {one_line(knob.partition(':')[2])!r} is {word} than one without"
    are = "are" if knob.startswith("term:") else "is"
    return f"{_named(knob, comparison.level)} {are} {word} than {other}"


_Told = TypeVar("_Told", Comparison, Part)


def _turned(told: _Told) -> _Told:
    """Return the same the other way round."""
    assert told.difference is not None
    assert told.low is not None
    assert told.high is not None
    turned = replace(told, difference=-told.difference, low=-told.high, high=-told.low)
    if isinstance(turned, Comparison):
        return replace(turned, level=turned.against, against=turned.level)
    return turned


def _named(knob: str, level: str) -> str:
    value = _value(knob, level)
    return value if knob.startswith("term:") else f"{one_line(knob)} {value}"


def _value(knob: str, level: str) -> str:
    if knob.startswith("term:") and level in ("with", "without"):
        return f"prompts {level} {one_line(knob.partition(':')[2])!r}"
    if knob.startswith(LORA) and level == "0":
        return "0 (without it)"
    shown = one_line(level)
    return f"prompts with {shown!r}" if knob.startswith((WORD, "term:")) else shown


def _figure(told: Comparison | Part) -> str:
    unit = "pairs" if told.basis == "pairs" else "pictures"
    between = f"between {told.low:+.2f} and {told.high:+.2f}"
    return f"{told.difference:+.2f}, {between}, from {told.n:,} {unit}"
