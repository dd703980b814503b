"""sheets: pictures laid out over two settings that vary, with what ratings say of each value.

A sheet begins with pictures, whatever varies: its axes are the two settings that fill most cells,
and the others are held at values that pictures have together.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.application.effects_answer import EffectsAnswer
from safelight.application.level_filters import Spans, exact_number
from safelight.application.picture_settings import label_of
from safelight.filter_tokens import quoted
from safelight.knobs import COMPARED, EXTRA
from safelight.learning.evidence.findings import Comparison, level_of_text
from safelight.lora_tags import LORA
from safelight.web.browse import ROW_COLUMNS, picture_row
from safelight.web.heavy_questions import Asked, asked
from safelight.web.learn import reach_of
from safelight.web.pictures import is_digest
from safelight.web.questions import EffectsQuestion
from safelight.web.roles import GuestRoute, has_place, is_owner, may_ask, without_places
from safelight.web.table import LightTable, short_filter, without_discarded

__all__ = ["AXES", "routes"]

Picture = Mapping[str, Any]
Cell = tuple[Any, Any]
"""The value across, and that down."""

_FIRST_AXES = ("model", "sampler", "scheduler", "steps", "cfg_scale", "seed", "prompt")
AXES = tuple(dict.fromkeys((*_FIRST_AXES, *COMPARED, "stage")))
_MOST_PICTURES = 2000
_MOST_VALUES = 60
_AXES_TRIED, _PICTURES_TRIED = 8, 1000
_OF_CHANCE = frozenset({"seed", "prompt"})
"""What is an axis only where nothing else fills a sheet."""

_FEW_CELLS = 4
"""Fewer pictures on a sheet of many compare nothing: then nothing is held."""

_MOSTLY = 0.5
_LONGEST_PROMPT = 300
_CHIPS = 6
_WIDTH = 88
"""Of the line of an interval, in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """How pictures lie.

    Attributes:
        varying: Settings that vary.
        x: The one across; empty where nothing varies.
        y: The one down.
        held: The others -> the value they are held at, as a text; empty for any.
        choices: The others -> all their values, as texts.
        pictures: Those that are left, the oldest first.
    """

    varying: Sequence[str]
    x: str
    y: str
    held: Mapping[str, str]
    choices: Mapping[str, Sequence[str]]
    pictures: Sequence[Picture]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """What ratings say of a value: a dot and an interval, on the scale of the whole sheet.

    Attributes:
        dot: Place of the difference, in pixels; None of the value that others are compared with.
        low: Where the interval begins.
        high: Where it ends.
        text: The figure and n.
        told: All of it, in a sentence.
        likely: Whether a difference is told.
    """

    dot: float | None = None
    low: float | None = None
    high: float | None = None
    text: str
    told: str = ""
    likely: bool = False


def _sorted(values: Iterable[Any]) -> list[Any]:
    return sorted(values, key=lambda v: (v is None, isinstance(v, str), v if v is not None else 0))


def _shown(value: Any) -> str:
    if value is None:
        return "(none)"
    if value == "":
        return "(empty)"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _laid_out(pictures: Sequence[Picture], wanted: Mapping[str, str]) -> _Layout:
    """Return how *pictures* lie.

    Args:
        pictures: Of them all, with their values.
        wanted: ``x`` and ``y``; ``only.NAME``, what another is held at; ``around``, the SHA-256 of
            a picture whose values others are held at.
    """
    axes = (*_recorded(wanted), *AXES)
    values = {axis: {p[axis] for p in pictures} for axis in axes}
    varying = [axis for axis in axes if 1 < len(values[axis]) <= _MOST_VALUES]
    x, y = _axes(pictures, varying, wanted)
    others = [axis for axis in varying if axis not in (x, y)]
    usual = _usual(pictures, x, y, others, wanted)
    held, choices = dict[str, str](), dict[str, list[str]]()
    for axis in others:
        choices[axis] = [_shown(v) for v in _sorted(values[axis])]
        chosen = wanted.get(f"only.{axis}", usual.get(axis, ""))
        held[axis] = chosen if chosen in choices[axis] else ""
        if held[axis]:
            pictures = [p for p in pictures if _shown(p[axis]) == held[axis]]
    return _Layout(varying=varying, x=x, y=y, held=held, choices=choices, pictures=pictures)


def _recorded(wanted: Mapping[str, str]) -> list[str]:
    """Return those of the axes *wanted* that are no columns, but settings beside knobs."""
    return [name for name in (wanted["x"], wanted["y"]) if name.startswith((EXTRA, LORA))]


def _axes(
    pictures: Sequence[Picture], varying: Sequence[str], wanted: Mapping[str, str]
) -> tuple[str, str]:
    """Return the settings across and down: those wanted, or those that fill most of a sheet."""
    x = wanted["x"] if wanted["x"] in varying else ""
    y = wanted["y"] if wanted["y"] in varying and wanted["y"] != x else ""
    if len(varying) < 2:
        return (varying[0] if varying else ""), ""
    if x and y:
        return x, y
    tried = list(dict.fromkeys(filter(None, (x, y, *varying[:_AXES_TRIED]))))
    pairs = [pair for pair in itertools.combinations(tried, 2) if {x, y} - {""} <= set(pair)]
    some = pictures[-_PICTURES_TRIED:]
    across, down = _best(some, pairs, varying)
    if down == x or across == y:
        return down, across
    return across, down


def _best(
    pictures: Sequence[Picture], pairs: Sequence[tuple[str, str]], varying: Sequence[str]
) -> tuple[str, str]:
    """Return the pair that makes the best sheet.

    That is the one with most cells, less where many stay empty; where no two pictures differ in so
    few settings that it is a sheet, that of all pictures, whatever else they differ in.
    """

    def worth(cells: Mapping[Cell, int], pair: tuple[str, str], fullness: float = 1.0) -> float:
        across, down = ({cell[place] for cell in cells} for place in (0, 1))
        share = len(cells) / (len(across) * len(down))
        return float(len(cells) * share**fullness * 0.4 ** len(_OF_CHANCE.intersection(pair)))

    def held(pair: tuple[str, str]) -> Mapping[Cell, int]:
        others = [name for name in varying if name not in pair and not follows[name] & {*pair}]
        return max(_cells(pictures, pair[0], pair[1], others).values(), key=len)

    follows = _follows(pictures, varying, {name for pair in pairs for name in pair})
    best = max(pairs, key=lambda pair: worth(held(pair), pair))
    if not _is_sheet(len(held(best)), len(pictures)):
        usual = [pair for pair in pairs if set(pair) <= set(_FIRST_AXES)] or pairs
        best = max(
            usual,
            key=lambda pair: worth(_cells(pictures, pair[0], pair[1], ())[()], pair, 0.5),
        )
    return best


def _follows(
    pictures: Sequence[Picture],
    names: Iterable[str],
    axes: Collection[str],
    of_chance: Collection[str] = _OF_CHANCE,
) -> dict[str, set[str]]:
    """Return name -> those of *axes* of which each value has but one value of it.

    What is *of_chance* neither follows nor is followed: where axes were chosen, that is nothing,
    as prompts with a seed each are.
    """
    return {
        name: {
            axis for axis in axes
            if axis not in (name, *of_chance) and name not in of_chance
            and len({(p[axis], p[name]) for p in pictures}) == len({p[axis] for p in pictures})
        }
        for name in names
    }  # fmt: skip


def _is_sheet(cells: int, pictures: int) -> bool:
    return cells >= _FEW_CELLS or pictures < 2 * _FEW_CELLS


def _cells(
    pictures: Sequence[Picture], x: str, y: str, others: Sequence[str]
) -> dict[tuple[str, ...], dict[Cell, int]]:
    """Return the values of *others* -> the cells that pictures with them fill, and how many do."""
    groups: dict[tuple[str, ...], dict[Cell, int]] = {}
    for picture in pictures:
        cells = groups.setdefault(tuple(_shown(picture[axis]) for axis in others), {})
        cell = (picture[x] if x else None, picture[y] if y else None)
        cells[cell] = cells.get(cell, 0) + 1
    return groups


def _usual(
    pictures: Sequence[Picture], x: str, y: str, others: Sequence[str], wanted: Mapping[str, str]
) -> Mapping[str, str]:
    """Return the values at which *others* are held, of those that are *wanted*.

    They are those that fill most cells, together; none where that is hardly any.
    """
    around = wanted.get("around", "")
    one = next((p for p in pictures if p["sha256"] == around), None) if around else None
    if one is not None:
        return {axis: _shown(one[axis]) for axis in others}
    ends = [axis for axis in (x, y) if axis]
    both = bool(wanted["x"] and wanted["y"])
    follows = _follows(pictures, others, ends, () if both else _OF_CHANCE)
    others = [name for name in others if not follows[name] or f"only.{name}" in wanted]
    only = [wanted.get(f"only.{axis}", "") for axis in others]
    fitting = {
        own: cells
        for own, cells in _cells(pictures, x, y, others).items()
        if all(not want or want == value for want, value in zip(only, own, strict=True))
    }
    if not fitting:
        return {}
    best = max(fitting, key=lambda own: (len(fitting[own]), sum(fitting[own].values())))
    is_begun = any(name.startswith("only.") for name in wanted)
    if not _is_sheet(len(fitting[best]), len(pictures)) and not is_begun:
        return {}
    held = dict(zip(others, best, strict=True))
    return {**held, **dict.fromkeys(_followers(pictures, x, y, held, wanted), "")}


def _followers(
    pictures: Sequence[Picture], x: str, y: str, held: Mapping[str, str], wanted: Mapping[str, str]
) -> list[str]:
    """Return those of *held* that go along with an axis, as eta does with a sampler.

    Without holding one, further cells are filled and no cell has more pictures than before.
    """
    strays = [(picture, [axis for axis in held if _shown(picture[axis]) != held[axis]])
              for picture in pictures]  # fmt: skip
    free: set[str] = set()
    for axis in reversed(list(held)):
        if f"only.{axis}" in wanted or axis in _OF_CHANCE:
            continue
        before, after = set[Cell](), list[Cell]()
        for picture, unlike in strays:
            cell = (picture[x] if x else None, picture[y] if y else None)
            if free.issuperset(unlike):
                before.add(cell)
            elif (free | {axis}).issuperset(unlike):
                after.append(cell)
        if after and len(set(after)) == len(after) and before.isdisjoint(after):
            free.add(axis)
    return list(free)


def _clause(name: str, value: Any) -> str:
    if name.startswith((EXTRA, LORA)):
        kind, own = name.split(".", 1)
        name = f"{kind}({quoted(own)})"
    if value is None:
        return f"{name} is missing"
    if isinstance(value, float):
        return f"{name} = {exact_number(value)}"
    return f"{name} = {value}" if isinstance(value, int) else f"{name} = {quoted(value)}"


def _sheet(table: LightTable, q: str, wanted: Mapping[str, str], *, owner: bool) -> dict[str, Any]:
    """Return what the page shows of the pictures that meet *q*.

    Args:
        table: Whose pictures.
        q: Which.
        wanted: As :func:`_laid_out` takes it.
        owner: Whether values may be paths; otherwise the names at their ends are.
    """
    columns = list(dict.fromkeys((*ROW_COLUMNS, *AXES, *_recorded(wanted))))
    answer = table.archive.query(q, columns=columns, limit=_MOST_PICTURES, sort="-timestamp")
    table.pictures.remember((row[0], row[4]) for row in answer.rows)
    told = list(answer.dicts())[::-1]
    pictures: list[Picture] = list(told if owner else without_places(told))
    layout = _laid_out(pictures, wanted)
    x, y = layout.x, layout.y
    across, down = _ends(layout)
    cells: dict[Cell, list[Picture]] = {}
    for picture in layout.pictures:
        place = (picture[y] if y else None, picture[x] if x else None)
        cells.setdefault(place, []).append(picture)
    held = [
        _clause(axis, next(p[axis] for p in layout.pictures))
        for axis, value in layout.held.items() if value and layout.pictures
    ]  # fmt: skip
    rows: list[dict[str, Any]] = []
    lines = []
    for line in down:
        shown = []
        for column in across:
            own = cells.get((line, column), [])
            parts = [f"({q})", *held]
            parts += [_clause(axis, value) for axis, value in ((x, column), (y, line)) if axis]
            here = " and ".join(parts)
            if own:
                rows.append(_row(table, own[0]))
            shown.append({
                "at": len(rows) - 1 if own else None, "count": len(own),
                "href": None if not owner and has_place(here) else "/?" + urlencode({"q": here}),
                "sha256": own[0]["sha256"] if own else "",
            })  # fmt: skip
        lines.append((_shown(line) if y else "", shown))
    chips = [
        {"name": axis, "label": label_of(axis), "values": layout.choices[axis],
         "chosen": layout.held[axis]}
        for axis in layout.held
    ]  # fmt: skip
    return {
        "axes": [(axis, label_of(axis)) for axis in layout.varying], "x": x, "y": y,
        "x_label": label_of(x), "y_label": label_of(y),
        "chips": chips[:_CHIPS], "more_chips": chips[_CHIPS:],
        "across": across, "down": down, "columns": [_shown(v) if x else "" for v in across],
        "lines": lines, "count": len(layout.pictures), "of": len(pictures),
        "cut": answer.after is not None,
        "rated": any(p["stars"] or p["favourite"] or p["rejected"] for p in pictures),
        "first": {"rows": rows, "cells": [[cell["at"] for cell in own] for _, own in lines]},
    }  # fmt: skip


def _ends(layout: _Layout) -> tuple[list[Any], list[Any]]:
    """Return the values across and down; where most cells are empty, the fullest come first."""
    filled = {
        tuple(p[axis] if axis else None for axis in (layout.x, layout.y)) for p in layout.pictures
    }
    counts = [Counter(cell[place] for cell in filled) for place in (0, 1)]
    ends = [_sorted(values) for values in counts]
    if len(filled) < len(ends[0]) * len(ends[1]) * _MOSTLY:
        ends = [
            sorted(values, key=counted.__getitem__, reverse=True)
            for values, counted in zip(ends, counts, strict=True)
        ]
    return ends[0], ends[1]


def _row(table: LightTable, picture: Picture) -> dict[str, Any]:
    """Return what the page is given of the picture of a cell."""
    row = picture_row(table, ROW_COLUMNS, [picture[name] for name in ROW_COLUMNS])
    if isinstance(row.get("prompt"), str):
        row["prompt"] = row["prompt"][:_LONGEST_PROMPT]
    return row


# -- evidence ----------------------------------------------------------------------------


def _evidence(sheet: Mapping[str, Any], state: Asked | None) -> dict[str, Any]:
    """Return the line of each value across and down; None where ratings say nothing of it."""
    answer = state.answer if state is not None else None
    known = answer if isinstance(answer, EffectsAnswer) else None
    sides = (("across", "x"), ("down", "y"))
    found = {
        side: [_comparison(known, sheet[axis], value) for value in sheet[side]]
        for side, axis in sides
    }
    reach = reach_of(
        end
        for one in itertools.chain(*found.values())
        if one is not None
        for end in (one.difference, one.low, one.high)
    )
    return {
        side: [
            _line(one, reach) or _against(known, sheet[axis], value)
            for one, value in zip(found[side], sheet[side], strict=True)
        ]
        for side, axis in sides
    }


def _comparisons(known: EffectsAnswer | None, knob: str) -> Sequence[Comparison]:
    """Return what is known of the values of a knob, as far as there are figures.

    All with one value, that which most are compared with: figures beside each other are compared.
    """
    effects = () if known is None else known.effects.knobs
    found = [
        one for effect in effects if effect.knob == knob
        for one in effect.comparisons if one.difference is not None
    ]  # fmt: skip
    usual = Counter(one.against for one in found).most_common(1)
    return [one for one in found if one.against == usual[0][0]]


def _comparison(known: EffectsAnswer | None, knob: str, value: Any) -> Comparison | None:
    spans = known.spans.get(knob) if known is not None else None
    some = _comparisons(known, knob)
    return next((one for one in some if _is_level(one.level, value, spans)), None)


def _against(known: EffectsAnswer | None, knob: str, value: Any) -> _Line | None:
    spans = known.spans.get(knob) if known is not None else None
    if any(_is_level(one.against, value, spans) for one in _comparisons(known, knob)):
        return _Line(text="the others against it")
    return None


def _is_level(level: str, value: Any, spans: Spans | None) -> bool:
    if value is None:
        return False
    if spans is None:
        return level == level_of_text(str(value))
    if level not in spans or isinstance(value, str):
        return False
    low, high = spans[level]
    return bool(low <= value <= high)


def _line(one: Comparison | None, reach: float) -> _Line | None:
    if one is None or one.difference is None:
        return None

    def at(value: float | None, otherwise: float) -> float:
        if value is None or math.isnan(value):
            value = otherwise
        clipped = max(-reach, min(reach, value))
        return round(3 + (clipped + reach) / (2 * reach) * (_WIDTH - 6), 1)

    unit = "pairs" if one.basis == "pairs" else "pictures"
    figure = f"{one.difference:+.2f}"
    between = ""
    if one.low is not None and one.high is not None:
        between = f", between {one.low:+.2f} and {one.high:+.2f}"
    return _Line(
        dot=at(one.difference, 0.0), low=at(one.low, one.difference),
        high=at(one.high, one.difference), text=f"{figure}, {one.n} {unit}",
        told=f"Against {one.against}: {figure}{between}, from {one.n} {unit}; {one.verdict}.",
        likely=one.told,
    )  # fmt: skip


def routes(table: LightTable) -> list[Route]:
    """Return what the browser asks about sheets."""

    async def sheet(request: Request) -> Response:
        """Show pictures at once, and what ratings said of their settings when it was last asked."""
        given = request.query_params
        q = given.get("q", "")
        if given.get("run"):
            q = f"run_id = '{given['run'].replace(chr(39), '')}'"
        about = may_ask(request, short_filter(q))
        laid = await table.turns.take_slow(request, lambda: laid_out(request, about))
        state: Asked | None = None
        if laid["rated"]:
            try:
                question = EffectsQuestion(q=about)
                state = await asked(table.answers, request, question, only_kept="kept" in given)
            except HTTPException as error:  # one asks too much at once; the pictures are there
                if error.status_code != HTTPStatus.TOO_MANY_REQUESTS:
                    raise
        return await run_in_threadpool(
            table.page, request, "sheet", q=q, line_width=_WIDTH,
            evidence=_evidence(laid, state),
            waiting=state.key if state is not None and state.waiting else "", **laid,
        )  # fmt: skip

    def laid_out(request: Request, about: str) -> dict[str, Any]:
        given = request.query_params
        wanted = {"x": given.get("x", ""), "y": given.get("y", "")}
        wanted |= {name: value for name, value in given.items() if name.startswith("only.")}
        if is_digest(given.get("around", "")):
            wanted["around"] = given["around"]
        return _sheet(table, without_discarded(about), wanted, owner=is_owner(request))

    return [GuestRoute("/sheet", sheet)]
