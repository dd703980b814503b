"""failed_settings: what the records say of variants that failed, by setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safelight.archive import Archive
from safelight.imports.told_pictures import OF_LINES
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
    it had a picture did not fail. Of a tool whose spool told of failures, only what its spool told
    counts, once for all pictures of an execution: what failed before it had one is not known.

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
    attempts: dict[tuple[object, ...], dict[str, Any]] = {}
    errors: dict[tuple[object, ...], str] = {}
    for record in archive.records(runs):
        for failure in record.failures:
            key: tuple[object, ...] = (record.run_id, failure.variant)
            errors.setdefault(key, failure.error)
            attempts[key] = _knobs_of(record.variant_configs[failure.variant])
    if not attempts:
        return FailedSettings(begun=0, failed=0, shares=())
    columns = ", ".join(f'any_value("{name}" ORDER BY place)' for name in _KNOBS)
    backends = sorted({backend for backend in runs.values() if backend})
    told = sorted({b for run_id, b in runs.items() if b and run_id.startswith(OF_LINES)})
    drawn = archive.rows(
        f"SELECT run_id, variant, {columns} FROM images"  # noqa: S608 - names of our own columns
        " WHERE backend IN (SELECT unnest(?::VARCHAR[]))"
        " AND NOT (status = 'imported' AND backend IN (SELECT unnest(?::VARCHAR[])))"
        " GROUP BY run_id, variant ORDER BY run_id, variant",
        [backends, told],
        rated=False,
    )
    # Pictures of one execution have its beginning and its length, which no other pictures have.
    drawn += archive.rows(
        f"SELECT timestamp, seconds, {columns} FROM images"  # noqa: S608
        " WHERE status = 'imported' AND seconds > 0 AND backend IN (SELECT unnest(?::VARCHAR[]))"
        " GROUP BY timestamp, seconds, backend ORDER BY timestamp, seconds, backend",
        [told],
        rated=False,
    )
    for one, other, *values in drawn:
        attempts.setdefault((one, other), dict(zip(_KNOBS, values, strict=True)))
    alone = archive.rows(
        "SELECT run_id FROM runs WHERE status = 'completed' AND pictures = 0"
        " AND starts_with(run_id, ?) AND backend IN (SELECT unnest(?::VARCHAR[]))",
        [OF_LINES, told],
        rated=False,
    )
    for record in archive.records(run_id for (run_id,) in alone):
        key = (record.timestamp, next(iter(record.seconds.values()), 0.0))
        attempts.setdefault(key, _knobs_of(record.variant_configs[0]))
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
