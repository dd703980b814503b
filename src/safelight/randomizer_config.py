"""RandomizerConfig: how one base config becomes many variants, as the config states it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

__all__ = [
    "LARGE_PLAN",
    "MODE_ALIASES",
    "Exclusion",
    "MatrixSlot",
    "PartsPlace",
    "PromptFile",
    "PromptFormat",
    "PromptMatrix",
    "PromptMode",
    "PromptParts",
    "PromptSearchReplace",
    "RandomizerConfig",
    "RandomizerMode",
    "SearchReplaceRule",
    "SeedPolicy",
    "SourceMode",
    "TokenValues",
    "WildcardTokens",
]

LARGE_PLAN = 10_000
"""A plan of more variants is carried out only when somebody said so."""

MODE_ALIASES = {
    "grid": "fanout", "all": "fanout", "round_robin": "sequential", "per_prompt": "random",
}  # fmt: skip
"""Spellings of source modes in existing randomizer presets."""

RandomizerMode = Literal["off", "fanout", "random", "sequential", "rotate"]
SourceMode = Literal["fanout", "random", "sequential", "rotate"]
SeedPolicy = Literal["per_iteration", "per_prompt"]
PartsPlace = Literal["end", "start"]
PromptMode = Literal["replace", "append", "prepend"]
PromptFormat = Literal["lines", "pack", "csv", "tsv", "jsonl"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchReplaceRule:
    """Replace every occurrence of *search* (plain text, case-sensitive) by each replacement."""

    search: str
    replacements: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSearchReplace:
    """Prompt search/replace rules, applied in order; later rules see what earlier ones wrote.

    Attributes:
        rules: The rules, outermost loop first.
        mode: ``fanout`` tries every replacement; ``random`` draws one per variant;
            ``sequential`` takes the next one per prompt, ``rotate`` the next one per variant, those
            counted in which the rule finds something.
        enabled: False leaves prompts untouched.
        applies_to: ``stage.knob`` of the prompts and negative prompts that the rules act on; empty
            for all.
    """

    rules: tuple[SearchReplaceRule, ...] = ()
    mode: SourceMode = "fanout"
    enabled: bool = True
    applies_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenValues:
    """Put each of *values* where *token* (any text, by convention ``__name__``) stands."""

    token: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WildcardTokens:
    """Inline wildcard lists; the rest is as in :class:`PromptSearchReplace`."""

    tokens: tuple[TokenValues, ...] = ()
    mode: SourceMode = "fanout"
    enabled: bool = True
    applies_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixSlot:
    """Put each of *values* where ``[[name]]`` stands; case, blanks, ``-`` and ``_`` are ignored."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptMatrix:
    """Matrix slots and the base prompt that carries them.

    Attributes:
        slots: The slots, outermost loop first.
        mode: ``fanout`` (every combination), ``rotate`` (next combination with every variant),
            ``sequential`` (next with every prompt) or ``random`` (each slot drawn per variant).
        limit: Most combinations of slots to use, the first ones; 0 means all.
        base_prompt: Prompt that is put in place of, after or before the stage's own.
        prompt_mode: ``replace``, ``append`` (``prompt, base``) or ``prepend``.
        enabled: False leaves prompts untouched.
        applies_to: As in :class:`PromptSearchReplace`; without the first prompt, *base_prompt* is
            not used.
    """

    slots: tuple[MatrixSlot, ...] = ()
    mode: SourceMode = "fanout"
    limit: int = 0
    base_prompt: str = ""
    prompt_mode: PromptMode = "replace"
    enabled: bool = True
    applies_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptParts:
    """AUTOMATIC1111's prompt matrix: ``base|part 1|part 2`` is the base with any of its parts.

    Attributes:
        enabled: Whether a ``|`` separates parts of a prompt.
        place: Whether parts follow the base (``end``) or precede it (``start``).
        separator: What stands between the parts and the base.
    """

    enabled: bool = False
    place: PartsPlace = "end"
    separator: str = ", "


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFile:
    """A file of prompts, each with the knobs that go with it.

    Attributes:
        file: Absolute or relative to the config file.
        format: ``lines``: a prompt on each. ``pack``: blocks between blank lines, ``neg:`` lines
            their negative; of a .tsv file, the prompt and the negative on each line. ``csv``,
            ``tsv``: a head of columns, a prompt in each row. ``jsonl``: an object on each line.
        columns: ``stage.knob`` -> the column that holds it, where its name does not say so.
    """

    file: str
    format: PromptFormat
    columns: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """Leave out the combinations for which *where*, in the language of filters, holds."""

    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomizerConfig:
    """How one base config becomes many variants.

    Attributes:
        mode: How the sources combine. ``off``: not at all, prompts stay as written.
            ``fanout``: every combination. ``random``: *draws* combinations, none twice while
            there are new ones. ``sequential``: all sources step together. ``rotate``: the next
            combination for every prompt, beginning at *start*.
        seed: Seed of everything drawn, or None: whoever makes the plan draws one.
        draws: How many variants ``random`` makes.
        start: Which combination ``rotate`` and the moving source modes begin with, from 0.
        max_variants: Most variants to keep, or 0 for all; a cut is always reported.
        part: Which part of them this is, such as ``2/8``; empty for all. Parts of one config are
            the same on every machine, share nothing, and are together the whole.
        seeds_per_variant: Pictures per combination, with seeds s, s+1, ...; of batches of b
            with seeds s, s+b, ..., because each takes b seeds in a row.
        seed_policy: ``per_iteration`` gives every combination the same seeds (comparisons
            are then fair); ``per_prompt`` gives each its own.
        templates: Whether dynamic-prompt syntax in prompts is expanded, or ``stage.knob`` of the
            prompts and negative prompts in which it is.
        wildcards_dir: Folder with wildcard files, absolute or relative to the config file.
        prompt_sr: Search/replace rules.
        wildcards: Inline wildcard lists.
        matrix: Matrix slots.
        prompt_matrix: Parts of prompts that are there or not.
        sweep: ``stage.knob`` -> values, a list or a range text such as ``10-30 (+5)``.
        settings: Values that come together, each ``stage.knob`` -> value; one source, which
            combines with the others like a sweep.
        prompts: The file that prompts come from, or None.
        sub_sweeps: Sweeps that come one after the other, each ``stage.knob`` -> values as in
            *sweep*; together one source.
        exclude: Which combinations are left out.
    """

    mode: RandomizerMode = "off"
    seed: int | None = None
    draws: int = 8
    start: int = 0
    max_variants: int = 0
    part: str = ""
    seeds_per_variant: int = 1
    seed_policy: SeedPolicy = "per_iteration"
    templates: bool | tuple[str, ...] = True
    wildcards_dir: str | None = None
    prompt_sr: PromptSearchReplace = PromptSearchReplace()
    wildcards: WildcardTokens = WildcardTokens()
    matrix: PromptMatrix = PromptMatrix()
    prompt_matrix: PromptParts = PromptParts()
    sweep: Mapping[str, str | tuple[Any, ...]] = field(default_factory=lambda: MappingProxyType({}))
    settings: tuple[Mapping[str, Any], ...] = ()
    prompts: PromptFile | None = None
    sub_sweeps: tuple[Mapping[str, str | tuple[Any, ...]], ...] = ()
    exclude: tuple[Exclusion, ...] = ()

    @property
    def multiplies(self) -> bool:
        """Whether sources combine, so that a value that comes again makes nothing new."""
        return self.mode in ("fanout", "random")

    def varied(self) -> dict[str, None]:
        """Return every ``stage.knob`` that a sweep, a setting or a sub-sweep varies, each once."""
        tables = (self.sweep, *self.settings, *self.sub_sweeps)
        return dict.fromkeys(knob for table in tables for knob in table)

    def always_varied(self) -> set[str]:
        """Return those that are varied whichever sub-sweep a variant is of."""
        within = [set(table) for table in self.sub_sweeps]
        beside = {*self.sweep, *(knob for setting in self.settings for knob in setting)}
        return beside | (set.intersection(*within) if within else set())
