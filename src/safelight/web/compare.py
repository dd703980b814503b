"""compare: pictures side by side, and a sheet over any two knobs that vary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.knobs import COMPARED
from safelight.web.browse import picture_rows
from safelight.web.look import known_picture
from safelight.web.roles import GuestRoute, is_owner, may_ask, without_places
from safelight.web.table import LightTable, without_discarded

__all__ = ["routes"]

_FIRST_AXES = ("model", "sampler", "scheduler", "steps", "cfg_scale", "seed", "prompt")
AXES = tuple(dict.fromkeys((*_FIRST_AXES, *COMPARED, "stage")))
_MOST_PICTURES = 2000
_MOST_VALUES = 60


def _sorted(values: set[Any]) -> list[Any]:
    return sorted(values, key=lambda v: (v is None, isinstance(v, str), v if v is not None else 0))


def _shown(value: Any) -> str:
    if value is None:
        return "(none)"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _sheet(
    table: LightTable, q: str, wanted: dict[str, str], *, with_places: bool
) -> dict[str, Any]:
    """Return the cells of a sheet: rows of the y knob, columns of the x knob.

    Args:
        table: Whose pictures.
        q: Which.
        wanted: What is at the axes, and at what the others are held.
        with_places: Whether values may be paths; otherwise the names at their ends are.
    """
    answer = table.archive.query(
        q, columns=["sha256", "path", "timestamp", "run_id", "place", *AXES],
        limit=_MOST_PICTURES, sort="-timestamp",
    )  # fmt: skip
    table.pictures.remember((row[0], row[1]) for row in answer.rows)
    pictures = list(answer.dicts())[::-1]
    if not with_places:
        pictures = without_places(pictures)
    values = {axis: {p[axis] for p in pictures} for axis in AXES}
    varying = [axis for axis in AXES if 1 < len(values[axis]) <= _MOST_VALUES]
    x = wanted["x"] if wanted["x"] in varying else (varying[0] if varying else "")
    rest = [axis for axis in varying if axis != x]
    y = wanted["y"] if wanted["y"] in varying and wanted["y"] != x else (rest[0] if rest else "")
    held = []
    others = [axis for axis in varying if axis not in (x, y)]
    usual = _usual(pictures, others, wanted)
    for axis in others:
        choices = [_shown(v) for v in _sorted(values[axis])]
        chosen = wanted.get(f"only.{axis}", usual.get(axis, ""))  # one thing at a time
        chosen = chosen if chosen in choices else ""
        if chosen:
            pictures = [p for p in pictures if _shown(p[axis]) == chosen]
        held.append({"name": axis, "values": choices, "chosen": chosen})
    columns = [_shown(v) for v in _sorted({p[x] for p in pictures})] if x else [""]
    lines = [_shown(v) for v in _sorted({p[y] for p in pictures})] if y else [""]
    cells: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for picture in pictures:
        place = (_shown(picture[y]) if y else "", _shown(picture[x]) if x else "")
        cells.setdefault(place, []).append(picture)
    return {
        "varying": varying, "x": x, "y": y, "held": held, "columns": columns,
        "lines": [(line, [cells.get((line, column), []) for column in columns]) for line in lines],
        "count": len(pictures), "cut": answer.after is not None,
    }  # fmt: skip


def _usual(
    pictures: Sequence[Mapping[str, Any]], axes: Sequence[str], wanted: Mapping[str, str]
) -> dict[str, str]:
    """Return the values of *axes* that most pictures have together, of those that are *wanted*.

    So a sheet begins with pictures, whatever else varies.
    """
    shown = (tuple(_shown(picture[axis]) for axis in axes) for picture in pictures)
    asked = [wanted.get(f"only.{axis}", "") for axis in axes]
    fitting = Counter(
        own
        for own in shown
        if all(not want or want == value for want, value in zip(asked, own, strict=True))
    )
    return dict(zip(axes, fitting.most_common(1)[0][0], strict=True)) if fitting else {}


def routes(table: LightTable) -> list[Route]:
    """Return what the browser asks when it compares."""

    def compare(request: Request) -> Response:
        digests = [d for d in request.query_params.get("pictures", "").split(",") if d][:4]
        rows = [known_picture(table, digest).row for digest in digests]
        return table.page(
            request, "compare", rows=rows, digests=digests,
            slider=request.query_params.get("as") == "slider" and len(rows) == 2,
        )  # fmt: skip

    async def sheet(request: Request) -> Response:
        return await table.turns.take_slow(request, lambda: sheet_of(request))

    def sheet_of(request: Request) -> Response:
        asked = request.query_params
        q = asked.get("q", "")
        if asked.get("run"):
            q = f"run_id = '{asked['run'].replace(chr(39), '')}'"
        about = may_ask(request, q)
        picture_rows(table, about, sort="-timestamp", limit=1)
        wanted = {"x": asked.get("x", ""), "y": asked.get("y", "")}
        wanted |= {name: value for name, value in asked.items() if name.startswith("only.")}
        sheet = _sheet(table, without_discarded(about), wanted, with_places=is_owner(request))
        return table.page(request, "sheet", q=q, **sheet)

    return [GuestRoute("/compare", compare), GuestRoute("/sheet", sheet)]
