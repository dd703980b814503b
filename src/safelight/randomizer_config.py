"""RandomizerConfig: how one base config becomes many variants, as the config states it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

__all__ = [
    "LARGE_PLAN",
    "MatrixSlot",
    "PromptMatrix",
    "PromptMode",
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

RandomizerMode = Literal["off", "fanout", "random", "sequential", "rotate"]
SourceMode = Literal["fanout", "random", "sequential", "rotate"]
SeedPolicy = Literal["per_iteration", "per_prompt"]
PromptMode = Literal["replace", "append", "prepend"]


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
            ``sequential`` takes the next one per prompt; ``rotate`` the next one per variant.
        enabled: False leaves prompts untouched.
    """

    rules: tuple[SearchReplaceRule, ...] = ()
    mode: SourceMode = "fanout"
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenValues:
    """Put each of *values* where *token* (any text, by convention ``__name__``) stands."""

    token: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WildcardTokens:
    """Inline wildcard lists; modes as in :class:`PromptSearchReplace`."""

    tokens: tuple[TokenValues, ...] = ()
    mode: SourceMode = "fanout"
    enabled: bool = True


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
        mode: ``fanout`` (every combination), ``rotate`` (next combination per variant),
            ``sequential`` (next per prompt) or ``random`` (each slot drawn per variant).
        limit: Most combinations of slots to use, the first ones; 0 means all.
        base_prompt: Prompt that is put in place of, after or before the stage's own.
        prompt_mode: ``replace``, ``append`` (``prompt, base``) or ``prepend``.
        enabled: False leaves prompts untouched.
    """

    slots: tuple[MatrixSlot, ...] = ()
    mode: SourceMode = "fanout"
    limit: int = 0
    base_prompt: str = ""
    prompt_mode: PromptMode = "replace"
    enabled: bool = True


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
        seeds_per_variant: Pictures per combination, with seeds s, s+1, ...; of batches of b
            with seeds s, s+b, ..., because each takes b seeds in a row.
        seed_policy: ``per_iteration`` gives every combination the same seeds (comparisons
            are then fair); ``per_prompt`` gives each its own.
        templates: Whether dynamic-prompt syntax in prompts is expanded.
        wildcards_dir: Folder with wildcard files, absolute or relative to the config file.
        prompt_sr: Search/replace rules.
        wildcards: Inline wildcard lists.
        matrix: Matrix slots.
        sweep: ``stage.knob`` -> values, a list or a range text such as ``10-30 (+5)``.
        settings: Values that come together, each ``stage.knob`` -> value; one source, which
            combines with the others like a sweep.
    """

    mode: RandomizerMode = "off"
    seed: int | None = None
    draws: int = 8
    start: int = 0
    max_variants: int = 0
    seeds_per_variant: int = 1
    seed_policy: SeedPolicy = "per_iteration"
    templates: bool = True
    wildcards_dir: str | None = None
    prompt_sr: PromptSearchReplace = PromptSearchReplace()
    wildcards: WildcardTokens = WildcardTokens()
    matrix: PromptMatrix = PromptMatrix()
    sweep: Mapping[str, str | tuple[Any, ...]] = field(default_factory=lambda: MappingProxyType({}))
    settings: tuple[Mapping[str, Any], ...] = ()
