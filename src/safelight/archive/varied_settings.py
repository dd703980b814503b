"""varied_settings: what the pictures of a run differ in."""

from __future__ import annotations

from safelight.archive.answer import columns_of_view
from safelight.knobs import KNOBS

__all__ = ["MAY_VARY", "varied_settings"]


MAY_VARY = tuple(
    name for name, knob in KNOBS.items() if knob.has_column and name in columns_of_view("images")
)
"""Settings in which pictures of a run may differ."""


def varied_settings(source: str) -> str:
    """Return SQL for each run of *source*, and whether its pictures differ in each of `MAY_VARY`.

    They are compared with those of the same stage.
    """
    any_stage = ", ".join(f"bool_or({name})" for name in MAY_VARY)
    within = ", ".join(
        f"min({name}) IS DISTINCT FROM max({name}) OR count({name}) NOT IN (0, count(*)) AS {name}"
        for name in MAY_VARY
    )
    return (
        f"SELECT run_id, {any_stage} FROM"
        f" (SELECT run_id, stage, {within} FROM {source} GROUP BY run_id, stage) GROUP BY run_id"
    )
