"""rank_agreement: how a scorer's numbers and people's scores agree, as plain values to be shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["RankAgreement", "ScorerAgreement", "ScorerComparison"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankAgreement:
    """Rank correlation within prompts.

    Attributes:
        pictures: How many have a number and a score of people and share their prompt with another.
        prompts: How many prompts these have.
        tau: 1 is the same order, 0 as by chance, -1 the opposite; None where there is no order.
        low: Of the 95 % interval; None below 6 prompts.
        high: Likewise.
    """

    pictures: int
    prompts: int
    tau: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerAgreement:
    """How a scorer's numbers agree with people's scores.

    Attributes:
        overall: Of all pictures.
        by_model: (model, of the pictures of it alone), those with most pictures first.
    """

    overall: RankAgreement
    by_model: Sequence[tuple[str, RankAgreement]] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerComparison:
    """What a scorer and people say of the same pictures.

    Attributes:
        scorer: Its name.
        version: The one that spoke last; only its numbers are compared.
        unit: Of its numbers.
        scored: Pictures that have a number.
        rated: Those of them of which people say something.
        agreement: How far both have the same order within prompts.
    """

    scorer: str
    version: str
    unit: str
    scored: int
    rated: int
    agreement: ScorerAgreement
