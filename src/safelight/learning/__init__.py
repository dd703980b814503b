"""Learning: the record of what ran, and plans that find something out. Headless and offline."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from safelight.learning.learning_record import (
    ImageOutput,
    LearningRecord,
    LearningRecordWriter,
    Mismatch,
    VariantFailure,
    read_record,
    read_records,
)

if TYPE_CHECKING:
    from safelight.learning.learning_runner import (
        LearningOutcome,
        LearningPlan,
        LearningResult,
        LearningRunner,
        LearningVariable,
    )

__all__ = [
    "ImageOutput",
    "LearningOutcome",
    "LearningPlan",
    "LearningRecord",
    "LearningRecordWriter",
    "LearningResult",
    "LearningRunner",
    "LearningVariable",
    "Mismatch",
    "VariantFailure",
    "read_record",
    "read_records",
]


def __getattr__(name: str) -> Any:
    """Import what plans and runs only when it is asked for: most commands never do."""
    if name.startswith("Learning") and name in __all__:
        return getattr(importlib.import_module("safelight.learning.learning_runner"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
