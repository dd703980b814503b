"""``safelight effects``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from safelight.archive import Archive
from safelight.cli.options import (
    archive_words,
    condition_argument,
    existing_archive_option,
    json_option,
)
from safelight.cli.terminal import say, say_text, tell_next

if TYPE_CHECKING:
    from rich.table import Table

    from safelight.learning.evidence.effects import Comparison, Effects, KnobEffect
    from safelight.learning.evidence.scores import ImageScores

_MOST_LEVELS, _MOST_UNDONE, _MOST_UNDECIDED = 8, 3, 6
_MOST_CONSTANT = 12


@click.command("effects")
@condition_argument(metavar="[FILTER]...")
@existing_archive_option
@click.option("--knob", "knobs", multiple=True, help="Show only this knob; may be repeated.")
@click.option("--all", "every", is_flag=True, help="Show the figures of every setting.")
@click.option("--rater", "raters", multiple=True, help="Only ratings by this rater; repeatable.")
@click.option(
    "--ignore", "ignored", multiple=True, metavar="extra.NAME",
    help="A recorded setting that cannot change pixels: pictures that differ in it are alike.",
)  # fmt: skip
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also draw dots with intervals into this file: .png or .svg.",
)
@click.option(
    "--failures",
    is_flag=True,
    help="Show instead which settings fail, and how often; no ratings are needed.",
)
@click.option(
    "--parents",
    is_flag=True,
    help="Show instead which settings' pictures were gone on with; no ratings are needed.",
)
@json_option
def command(
    condition: str,
    archive: Path,
    knobs: tuple[str, ...],
    every: bool,
    raters: tuple[str, ...],
    ignored: tuple[str, ...],
    plot: Path | None,
    failures: bool,
    parents: bool,
    as_json: bool,
) -> None:
    """Show what each knob does to ratings, how sure that is, and what it rests on.

    The answer comes first, in a few sentences; then the figures behind it, and what is undecided.

    FILTER chooses the pictures, for example: model = 'x' and prompt has 'lighthouse'. Ratings
    that a program gave are used only where no person rated, or when --rater names it.
    """
    if plot is not None and plot.suffix.lower() not in (".png", ".svg"):
        raise click.UsageError(f"--plot must end in .png or .svg, got {plot.name!r}")
    if failures:
        if parents or condition or raters or ignored or plot is not None:
            raise click.UsageError("--failures is about what has no picture: it takes --knob only")
        from safelight.cli.shown_failures import show_failures

        show_failures(Archive(archive), knobs, as_json=as_json)
        return
    if parents:
        if raters or ignored or plot is not None:
            raise click.UsageError("--parents is about no ratings: it takes FILTER, --knob, --all")
        from safelight.cli.shown_parents import show_parents

        show_parents(Archive(archive), condition, knobs, every=every, as_json=as_json)
        return
    from safelight.application.rated_pictures import only_knobs, rated_trials
    from safelight.learning.evidence.effects import find_effects

    scores, trials, rated_by = rated_trials(Archive(archive), condition, raters, ignored)
    effects = find_effects(trials)
    if knobs:
        effects = only_knobs(effects, knobs)
    if plot is not None:
        _draw(effects, plot, condition, rated_by)
    if as_json:
        say_text(json.dumps(_document(effects, scores, rated_by), ensure_ascii=False, indent=2))
    else:
        _print(effects, scores, rated_by, every=every or bool(knobs), every_level=bool(knobs))
        if condition and effects.knobs:
            say("This is about the pictures of the filter; each filter is a question of its own.")
        if plot is not None:
            say(f"plot: {plot}")
        is_open = bool(effects.reason or effects.undecided) or not any(
            effect.settled for effect in effects.knobs
        )
        rates = effects.reason or (effects.unrated and is_open)
        step = "rate --next" if rates else "suggest --write next.toml"
        tell_next(f"{step}{archive_words(archive)}")


def _draw(effects: Effects, plot: Path, condition: str, rated_by: str) -> None:
    from safelight.durable_file import replace_file
    from safelight.learning.evidence.effect_plot import draw_effects

    title = f"What works: {condition}" if condition else "What works"
    drawing = draw_effects(effects, title=title, rated_by=rated_by)
    try:
        replace_file(plot, drawing.svg() if plot.suffix.lower() == ".svg" else drawing.png())
    except OSError as error:
        raise click.ClickException(f"{plot} cannot be written: {error}") from error


def _document(effects: Effects, scores: ImageScores, rated_by: str) -> Mapping[str, Any]:
    raters = {
        name: {"stars": rater.stars, "picks": rater.picks, "contradictions": rater.contradictions}
        for name, rater in scores.raters.items()
    }
    agreement = asdict(scores.agreement)
    document = _keyed(asdict(effects), "reason")
    document["sentences"] = [asdict(sentence) for sentence in effects.sentences]
    document["undecided"] = list(effects.undecided)
    document["knobs"] = [_keyed(knob, "summary") for knob in document["knobs"]]
    return {**document, "rated_by": rated_by, "raters": raters, "agreement": agreement}


def _keyed(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return *values* with *name* under the key that ``--json`` has for it."""
    return {"told" if key == name else key: value for key, value in values.items()}


def _print(
    effects: Effects, scores: ImageScores, rated_by: str, *, every: bool, every_level: bool
) -> None:
    from safelight.cli.rich_console import Console

    console = Console(highlight=False, soft_wrap=False)
    unrated = f" of {effects.pictures + effects.unrated:,}" if effects.unrated else ""
    by = f" by {rated_by}" if effects.ratings else ""
    console.print(
        f"{effects.pictures:,} rated pictures{unrated}, {effects.ratings:,} ratings{by},"
        f" {effects.prompts:,} prompt{'' if effects.prompts == 1 else 's'}",
    )
    _print_agreement(console, scores)
    if effects.reason:
        say(effects.reason)
        return
    if effects.gone:
        console.print(
            f"{effects.gone:,} rated pictures are not counted: they have no record here, are"
            " grids, or the filter leaves them out"
        )
    varied = [effect for effect in effects.knobs if effect.status != "constant"]
    for sentence in effects.sentences:
        console.print()
        console.print(sentence.text)
    shown = [effect for effect in varied if every or effect.settled]
    if shown:
        console.print()
        console.print(_table(shown, every_level=every_level))
    _print_undecided(console, effects.undecided, whole=every)
    _print_rest(console, effects)


def _print_undecided(console: Any, lines: Sequence[str], *, whole: bool) -> None:
    if not lines:
        return
    shown = lines if whole else lines[:_MOST_UNDECIDED]
    console.print("undecided:")
    from rich.padding import Padding

    from safelight.cli.rich_console import cell

    for line in shown:
        console.print(Padding(cell(line, "dim"), (0, 0, 0, 2)))
    if len(lines) > len(shown):
        console.print(f"  and {len(lines) - len(shown)} more settings: --all", style="dim")


def _print_agreement(console: Any, scores: ImageScores) -> None:
    agreement = scores.agreement
    if agreement.alpha is not None:
        console.print(
            f"agreement of raters: alpha {agreement.alpha:.2f}; 1 is perfect, 0 is chance"
            f" (Krippendorff, ordinal;"
            f" n = {agreement.alpha_pictures:,} pictures that several gave stars)"
        )
    if agreement.tau is not None:
        console.print(
            f"agreement of two raters in order: tau {agreement.tau:.2f}; 1 is the same order"
            f" (Kendall;"
            f" n = {agreement.tau_pairs:,} pairs of raters,"
            f" {agreement.tau_pictures:,} shared pictures)"
        )
    for rater in scores.raters.values():
        if rater.contradictions:
            name = rater.rater or "one without a name"
            console.print(
                f"{name} picked {rater.contradictions:,} pairs both ways round"
                f" (n = {rater.picks:,} picks); both count, and cancel out",
            )


def _table(knobs: Sequence[KnobEffect], *, every_level: bool) -> Table:
    from rich import box
    from rich.table import Table

    from safelight.cli.rich_console import cell

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("setting", overflow="fold", max_width=36)
    table.add_column("difference, 95 %", justify="right", no_wrap=True)
    table.add_column("expect", justify="right", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for knob in knobs:
        chosen = _chosen(knob, every_level=every_level)
        head = cell(knob.knob, "bold")
        table.add_row(head.append(cell(f" against {knob.comparisons[0].against}", "not bold dim")))
        for comparison in chosen:
            sign, style = _verdict(comparison, whole=every_level)
            figure, expected = "", ""
            if (
                comparison.difference is not None
                and comparison.low is not None
                and comparison.high is not None
            ):
                figure = (
                    f"{comparison.difference:+.2f} [{comparison.low:+.2f}, {comparison.high:+.2f}]"
                )
                expected = f"{comparison.expected:+.2f}"
            unit = "pairs" if comparison.basis == "pairs" else "pictures"
            name = comparison.level
            if comparison.against != knob.comparisons[0].against:
                name += f" against {comparison.against}"
            table.add_row(
                cell(f"  {name}"), cell(figure, style),
                cell(expected, style),
                cell(f"{comparison.n:,} {unit}"), cell(sign, style),
            )  # fmt: skip
        left = len(knob.comparisons) - len(chosen) + knob.unused
        if left > 0:
            hint = "used too rarely" if every_level else "more with --knob"
            table.add_row(cell(f"  and {left:,} values"), "", "", "", cell(hint, "dim"))
        table.add_section()
    return table


def _chosen(knob: KnobEffect, *, every_level: bool) -> Sequence[Comparison]:
    if every_level or len(knob.comparisons) <= _MOST_LEVELS:
        return knob.comparisons
    order = ("clear", "likely", "depends", "confounded", "open", "small", "few")
    by_worth = sorted(
        knob.comparisons, key=lambda c: (order.index(c.status), -abs(c.expected or 0), -c.n)
    )
    return by_worth[:_MOST_LEVELS]


def _verdict(comparison: Comparison, *, whole: bool) -> tuple[str, str]:
    """Return what is said of a comparison, and how it is printed.

    Args:
        comparison: Which.
        whole: Whether why something cannot be told is said here, too, and not above alone.
    """
    sign = comparison.verdict
    if comparison.told:
        better = (comparison.difference or 0) > 0
        notes = f"; {'; '.join(comparison.notes)}" if comparison.notes else ""
        return f"{sign}{notes}", "green" if better else "red"
    if comparison.status == "depends":
        return sign, "yellow"
    if comparison.status == "confounded" and not whole:
        return sign, "yellow"
    if comparison.status == "confounded":
        return f"{sign}: {'; '.join(comparison.notes)}", "yellow"
    if comparison.more is not None:
        sign += f", about {comparison.more:,} more ratings"
    if comparison.notes:
        sign += f"; {'; '.join(comparison.notes)}"
    return sign, "dim"


def _print_rest(console: Any, effects: Effects) -> None:
    in_parts = {
        frozenset((knob.knob, part.knob))
        for knob in effects.knobs for comparison in knob.comparisons for part in comparison.parts
    }  # fmt: skip
    for interaction in effects.interactions:
        if frozenset((interaction.knob, interaction.other)) not in in_parts:
            console.print(f"depends: {interaction.summary}")
    for undone in effects.undone[:_MOST_UNDONE]:
        console.print(
            f"{undone.message}; if it cannot change pixels: --ignore '{undone.setting}'",
        )
    if effects.left_alone:
        console.print(effects.left_alone, style="dim")
    constant = []
    for knob in effects.knobs:
        if knob.status == "constant" and knob.follows:
            console.print(knob.summary, style="dim")
        elif knob.status == "constant":
            constant.append(knob.knob)
    if constant:
        shown = constant[:_MOST_CONSTANT]
        more = f" and {len(constant) - len(shown)} more" if len(constant) > len(shown) else ""
        console.print(f"never varied: {', '.join(shown)}{more}", style="dim")
    console.print(
        "1 is the spread of the rated pictures' scores. n in pairs: alike in all else; n in"
        " pictures: the other settings taken into account.",
        style="dim",
    )
