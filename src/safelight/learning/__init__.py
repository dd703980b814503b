"""Learning: the record of what ran, and plans that find something out. Headless and offline."""

from safelight.learning.learning_record import (
    ImageOutput,
    LearningRecord,
    LearningRecordWriter,
    Mismatch,
    VariantFailure,
    read_record,
    read_records,
)
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
