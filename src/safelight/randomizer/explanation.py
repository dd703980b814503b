"""Where the words of one variant come from, and its knobs.

The prompt is made once more, with marks around what each source puts in. What rules, tokens and
slots do is done step by step on traced text; the template that comes of it is read with the marks
in it, as far as they change nothing: whoever explains a text must not make another one of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from safelight.config import PipelineConfig
from safelight.knobs import PROMPT_KNOBS, loose_name
from safelight.lora_tags import lora_of, with_lora
from safelight.randomizer.knob_origins import (
    WITH_PROMPT,
    KnobOrigin,
    knob_origins,
    shown_path,
    stated_origin,
    swept_origin,
)
from safelight.randomizer.made_variant import Made
from safelight.randomizer.plan import Variant
from safelight.randomizer.planner import Planner
from safelight.randomizer.replayed_rules import BASE, PARTS, Replay, explained_text
from safelight.randomizer.text_spaces import Moment
from safelight.randomizer.traced_text import Marks, Span, TracedText
from safelight.varied_names import first_drawing

__all__ = ["ExplainedPrompt", "Explanation", "KnobOrigin", "Piece", "explain_variant"]

_WILDCARD = re.compile(r"__(.+)__\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a prompt and what put it there.

    Attributes:
        start: Where it begins in the prompt, in characters.
        end: Where it ends.
        text: What stands there.
        source: Its name as in ``choices`` of a variant, or what else it is called; "" for words
            that are as written.
        origin: Where that comes from: a part of the config, a file.
        inside: Its parts, in order, where other sources put something into it; they cover it.
    """

    start: int
    end: int
    text: str
    source: str = ""
    origin: str = ""
    inside: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedPrompt:
    """One prompt or negative prompt.

    Attributes:
        where: ``stage.knob``.
        text: What the engine gets.
        written: The template as written; None where the config has none for it.
        origin: Where that comes from.
        pieces: The text in parts, which cover all of it.
    """

    where: str
    text: str
    written: str | None
    origin: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One variant, explained.

    Attributes:
        index: Its place in the plan, from 0.
        plan_size: Number of variants.
        plan_seed: The seed of the plan.
        label: As the variant has it.
        prompts: Its prompts, in the order of the stages.
        knobs: Everything else.
    """

    index: int
    plan_size: int
    plan_seed: int
    label: str | None
    prompts: tuple[ExplainedPrompt, ...]
    knobs: tuple[KnobOrigin, ...]


def explain_variant(config: PipelineConfig, seed: int = 0, index: int = 0) -> Explanation:
    """Return where the words and the knobs of one variant come from.

    Args:
        config: The checked config.
        seed: The plan's, as for :func:`~safelight.randomizer.plan_variants`.
        index: The variant's place in the plan, from 0.

    Raises:
        IndexError: The plan has no such variant.
        TemplateError: As for the plan.
        PlanError: As for the plan.
    """
    planner = Planner(config, seed)
    plan = planner.result()
    variant = plan.variants[index]
    made = planner.made(planner.first + variant.index)
    return Explanation(
        index=variant.index,
        plan_size=plan.plan_size,
        plan_seed=plan.seed,
        label=variant.label,
        prompts=tuple(_Prompts(config, made).explained(variant)),
        knobs=tuple(knob_origins(config, made, variant)),
    )


@dataclass(slots=True)
class _Traced:
    """A prompt on its way: the text so far, what its sources are called, and where it is from."""

    text: TracedText
    marks: Marks
    origin: str = ""


class _Prompts:
    def __init__(self, config: PipelineConfig, made: Made) -> None:
        self._config, self._made = config, made
        self._first = first_drawing(config.stages)
        self._templates = made.templates and made.templates.naming()
        self._of_rules = dict(self._rule_origins())

    def _rule_origins(self) -> Iterator[tuple[str, str]]:
        """Yield the name of every rule, token and slot, and where that is in the config."""
        sources = self._made.rules.sources
        for rule in sources.rules:
            (hole,) = rule.axis.holes
            kind = "prompt_sr" if hole.name.endswith("->") else "wildcards"
            yield hole.name, f"randomizer.{kind}"
        for slot in sources.slots:
            yield slot, "randomizer.matrix.slots"
        for where in sources.swept:
            yield where, f"randomizer.sweep.{where}"
        yield BASE, "randomizer.matrix.base_prompt"
        yield PARTS, "randomizer.prompt_matrix"

    def explained(self, variant: Variant) -> Iterator[ExplainedPrompt]:
        traced = dict(self._of_templates())
        for stage, knobs in variant.config.items():
            for knob in PROMPT_KNOBS:
                where, text = f"{stage}.{knob}", knobs.get(knob)
                if isinstance(text, str):
                    found = traced[where] = traced.get(where) or self._other(where, text, traced)
                    self._with_loras(where, found, text)
                    yield self._of(where, found, text)

    def _of_templates(self) -> Iterator[tuple[str, _Traced]]:
        """Yield the prompts that templates and rules lead to, and their names."""
        made, moment = self._made, self._made.moment()
        replay = Replay(made.rules, made.written.texts, moment.values)
        for where, expected in moment.texts.items():
            marks = Marks()
            render = partial(self._rendered, where, moment.filled[where], marks)
            ruled, written = replay.of(where, marks), made.written.texts.get(where, "")
            found = explained_text((ruled, TracedText(written)), expected, render, marks)
            yield where, _Traced(found, marks)

    def _rendered(self, where: str, ranked: tuple[int, int], marks: Marks, template: str) -> str:
        """Return what comes of a template in this variant, marked."""
        if self._templates is None or not self._made.rules.reads(where):
            return template
        moment = Moment(self._made.seed, self._made.number, marks=marks)
        return self._templates.read(template, where).text(*ranked, moment)

    def _other(self, where: str, text: str, traced: Mapping[str, _Traced]) -> _Traced:
        """Return a prompt that has no template: a swept one, or that of the stage before."""
        usual = f"txt2img.{where.partition('.')[2]}"
        before = traced.get(usual)
        if before is None or where in self._made.swept:
            marks = Marks()
            return _Traced(TracedText(text, [(marks.number(where),)] * len(text)), marks)
        taken = TracedText(before.text.text, before.text.sources)
        return _Traced(taken, Marks([*before.marks.names]), f"taken over from {usual}")

    def _with_loras(self, where: str, found: _Traced, text: str) -> None:
        """Put the LoRAs that are swept, or come with the prompt, in, one by one."""
        stage, _, knob = where.partition(".")
        weights = {**self._made.written.knobs, **self._made.swept}
        for key, weight in weights.items() if knob == "prompt" else ():
            lora = lora_of(key, self._first)
            if lora is not None and lora[0] == stage:
                changed = with_lora(found.text.text, lora[1], weight)
                found.text.become(changed, found.marks.number(key))
        if found.text.text != text:
            found.text.become(text, found.marks.number(where))

    def _of(self, where: str, found: _Traced, text: str) -> ExplainedPrompt:
        written = self._made.written.texts.get(where)
        origin = found.origin or self._origin(where, text)
        if not found.origin and written is not None:
            origin = stated_origin(self._config, where, written)
        pieces = tuple(self._piece(text, span, found.marks) for span in found.text.spans())
        return ExplainedPrompt(
            where=where, text=text, written=written, origin=origin, pieces=pieces
        )

    def _piece(self, text: str, span: Span, marks: Marks) -> Piece:
        put = text[span.start : span.end]
        source = "" if span.number is None else marks.names[span.number]
        inside = span.inside
        names = [marks.names[each.number] for each in inside if each.number is not None]
        if "${" in source and len(inside) == 1 and names[0].endswith("}"):
            inside = inside[0].inside  # the braces of the variable's value say the same once more
        return Piece(
            start=span.start,
            end=span.end,
            text=put,
            source=source,
            origin=self._origin(source, put),
            inside=tuple(self._piece(text, each, marks) for each in inside),
        )

    def _origin(self, source: str, text: str) -> str:
        """Return where the source is that put *text* in."""
        if not source:
            return ""
        if origin := self._of_rules.get(source) or (
            source.startswith("[") and self._of_rules.get(loose_name(source[1:-1]))
        ):
            return origin
        if source in self._made.swept:
            return swept_origin(self._config, self._made, source)
        if source in self._made.written.knobs:
            return WITH_PROMPT
        *around, name = source.split(" > ")
        if match := _WILDCARD.search(name):
            return self._files(match[1], text)
        if around and (match := _WILDCARD.search(around[-1])):
            return f"a value of {self._files(match[1], text)}"
        return "the template"

    def _files(self, wildcard: str, text: str) -> str:
        files = self._made.files.files_of(wildcard, text)
        return ", ".join(shown_path(self._config, path) for path in files)
