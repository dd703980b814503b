"""Settings that are stated and change nothing, or other than they seem, one sentence each."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping

from safelight.knobs import PROMPT_KNOBS
from safelight.randomizer_config import RandomizerConfig

__all__ = ["literal_texts", "shorter_sweeps", "without_effect", "without_text"]

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


def literal_texts(options: RandomizerConfig, acts_in: Callable[[str, str], bool]) -> Iterator[str]:
    """Yield a warning where prompts of settings or sub-sweeps look as if they were worked on.

    Args:
        options: What has them.
        acts_in: Whether a text would be changed in place of the prompt ``stage.knob``.
    """
    for source in ("settings", "sub_sweeps"):
        found = [
            (place, key)
            for place, table in enumerate(getattr(options, source))
            for key, value in table.items()
            if key.partition(".")[2] in PROMPT_KNOBS
            and any(acts_in(text, key) for text in ([value] if isinstance(value, str) else value))
        ]
        if found:
            place, key = found[0]
            more = f" (and {len(found) - 1:,} more)" if len(found) > 1 else ""
            yield (
                f"randomizer.{source}[{place}]: {key}{more} is taken as it is, although it holds a"
                " template, or what a rule, token or slot looks for; sweep the prompt to have that"
                " worked on"
            )


def without_text(options: RandomizerConfig, texts: Container[str]) -> Iterator[str]:
    """Yield a warning for each prompt that a source is to act on and that has no text of its own.

    Args:
        options: The sources.
        texts: ``stage.knob`` of all that is stated, swept or of a file.
    """
    rules, tokens, matrix = options.prompt_sr, options.wildcards, options.matrix
    named = {"templates": options.templates if isinstance(options.templates, tuple) else ()}
    for key, source, listed in (
        ("prompt_sr", rules, rules.rules),
        ("wildcards", tokens, tokens.tokens),
        ("matrix", matrix, matrix.slots),
    ):
        named[f"{key}.applies_to"] = source.applies_to if source.enabled and listed else ()
    for key, names in named.items():
        for name in names:
            if name not in texts:
                taken = name.replace("img2img", "txt2img", 1)
                yield f"randomizer.{key}: {name} has no text of its own" + (
                    f" and takes that of {taken} as it is drawn; name that, or state {name}"
                    if taken in texts
                    else ", so nothing acts there; state it, or leave it out"
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
