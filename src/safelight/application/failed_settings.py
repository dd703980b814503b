"""failed_settings: what the records say of variants that failed, by setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safelight.archive import Archive
from safelight.knobs import KNOBS, STAGES

if TYPE_CHECKING:
    from safelight.learning.evidence.failures import FailureShare

__all__ = ["FailedSettings", "failed_settings"]

_KNOBS = tuple(
    name for name, knob in KNOBS.items()
    if knob.has_column and name not in ("prompt", "negative_prompt", "seed")
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedSettings:
    """Which settings fail.

    Attributes:
        begun: Variants that were begun, by engines of which one failed at least.
        failed: Those of them that failed.
        shares: By knob and value.
    """

    begun: int
    failed: int
    shares: tuple[FailureShare, ...]


def failed_settings(archive: Archive) -> FailedSettings:
    """Return how often each setting failed, of all variants that engines with failures began.

    A variant that failed and was drawn in a later run was begun twice. What was cancelled before
    it had a picture did not fail.

    Raises:
        ArchiveError: The archive cannot answer.
    """
    if not archive.path.is_dir():
        return FailedSettings(begun=0, failed=0, shares=())
    runs = dict(
        archive.rows(
            "SELECT run_id, backend FROM runs WHERE failures > 0"
            " AND NOT (status = 'cancelled' AND pictures = 0)",
            rated=False,
        )
    )
    attempts: dict[tuple[str, int], dict[str, Any]] = {}
    errors: dict[tuple[str, int], str] = {}
    for record in archive.records(runs):
        for failure in record.failures:
            key = (record.run_id, failure.variant)
            errors.setdefault(key, failure.error)
            attempts[key] = _knobs_of(record.variant_configs[failure.variant])
    if not attempts:
        return FailedSettings(begun=0, failed=0, shares=())
    columns = ", ".join(f'any_value("{name}" ORDER BY place)' for name in _KNOBS)
    drawn = archive.rows(
        f"SELECT run_id, variant, {columns} FROM images"  # noqa: S608 - names of our own columns
        " WHERE backend IN (SELECT unnest(?::VARCHAR[])) GROUP BY run_id, variant"
        " ORDER BY run_id, variant",
        [sorted({backend for backend in runs.values() if backend})],
        rated=False,
    )
    for run_id, variant, *values in drawn:
        attempts.setdefault((run_id, variant), dict(zip(_KNOBS, values, strict=True)))
    from safelight.learning.evidence.failures import failure_shares

    table = {name: [knobs.get(name) for knobs in attempts.values()] for name in _KNOBS}
    return FailedSettings(
        begun=len(attempts), failed=len(errors),
        shares=failure_shares(table, [errors.get(key) for key in attempts]),
    )  # fmt: skip


def _knobs_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the knobs of the first stage of *config* that has them."""
    knobs: dict[str, Any] = {}
    for stage in STAGES:
        if isinstance(own := config.get(stage), Mapping):
            for name in _KNOBS:
                if own.get(name) is not None:
                    knobs.setdefault(name, own[name])
    return knobs
