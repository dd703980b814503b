"""Settings that are stated and change nothing, one sentence each."""

from __future__ import annotations

from collections.abc import Iterator

from safelight.randomizer_config import RandomizerConfig

__all__ = ["without_effect"]

_DEFAULTS = RandomizerConfig()
_MOVING = ("sequential", "rotate")


def without_effect(options: RandomizerConfig) -> Iterator[str]:
    """Yield a warning for each setting that the mode makes no use of: its key, and what to do."""
    mode = options.mode
    if mode != "random" and options.draws != _DEFAULTS.draws:
        yield (
            f"randomizer.draws = {options.draws} has no effect in mode {mode}; "
            'set randomizer.mode = "random", or leave draws out'
        )
    if options.start != _DEFAULTS.start and not _uses_start(options):
        yield (
            f"randomizer.start = {options.start} has no effect in mode {mode} without a source "
            'that moves; set randomizer.mode, or the mode of a source, to "rotate", or leave '
            "start out"
        )
    if mode == "off":
        for key in ("seeds_per_variant", "max_variants"):
            if (value := getattr(options, key)) != getattr(_DEFAULTS, key):
                yield (
                    f"randomizer.{key} = {value} has no effect in mode off; "
                    f'set randomizer.mode = "fanout", or leave {key} out'
                )


def _uses_start(options: RandomizerConfig) -> bool:
    rules, tokens, matrix = options.prompt_sr, options.wildcards, options.matrix
    moving = (
        source.enabled and bool(listed) and source.mode in _MOVING
        for source, listed in (
            (rules, rules.rules),
            (tokens, tokens.tokens),
            (matrix, matrix.slots),
        )
    )
    return options.mode == "rotate" or (options.mode != "off" and any(moving))
