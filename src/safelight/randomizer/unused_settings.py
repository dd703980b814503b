"""Settings that are stated and change nothing, or other than they seem, one sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from safelight.randomizer_config import RandomizerConfig

__all__ = ["shorter_sweeps", "without_effect"]

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


def shorter_sweeps(sizes: Mapping[str, int]) -> Iterator[str]:
    """Yield a warning where sweeps that step together are not of one length.

    Args:
        sizes: What is swept -> how many values it has.
    """
    several = {name: size for name, size in sizes.items() if size > 1}
    if len(set(several.values())) > 1:
        listed = ", ".join(f"{name} has {size:,}" for name, size in several.items())
        yield (
            f"sweeps of unequal length step together: {listed} values, and the shorter ones begin"
            " again; what belongs together is safer in randomizer.settings"
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
