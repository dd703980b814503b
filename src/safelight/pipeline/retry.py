"""RetryPolicy: how often an engine that did not answer is asked again, and after how long."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NEVER", "RetryPolicy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, and after how long.

    Only where the error says that it may help (:class:`~safelight.errors.BackendUnavailable`);
    an engine that refuses would refuse again.

    Attributes:
        retries: How often a variant is tried again, at most; also how often in a row one engine
            may fall silent before it is left out. 0 is never.
        first_wait: Seconds before the first of them; each further wait is twice as long.
        longest_wait: Seconds that no wait exceeds.
        patience: Seconds that the last engine of a run is waited for while nobody listens at its
            address: one that starts again loads its models for minutes.
        unknown: Whether that counts, too, of which nobody knows whether it was drawn
            (:class:`~safelight.errors.BackendOutcomeUnknown`): it may be drawn twice.
    """

    retries: int = 4
    first_wait: float = 1.0
    longest_wait: float = 30.0
    patience: float = 300.0
    unknown: bool = False

    def wait(self, failures: int) -> float:
        """Return the seconds to wait after *failures* in a row, at least 1."""
        return float(min(self.first_wait * 2 ** min(failures - 1, 30), self.longest_wait))


NEVER = RetryPolicy(retries=0, patience=0)
"""Every variant is tried once."""
