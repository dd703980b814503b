"""What an imported picture's record says of each knob: its value, and how it was learned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from safelight.knobs import KNOBS
from safelight.learning.learning_record import LearningRecord

__all__ = ["ReadKnob", "import_notes", "knobs_read"]

_KNOWN = ("read", "defaulted", "unresolved", "conflicting")
_ORDER = {name: place for place, name in enumerate(KNOBS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadKnob:
    """One knob of an imported picture.

    Attributes:
        name: ``stage.knob``.
        value: As our names have it; None where it is not known.
        status: ``read``, ``defaulted``, ``unresolved`` or ``conflicting``.
        native: The tool's own spelling, where it is another one; else empty.
        others: What other places in the file say, where they disagree.
    """

    name: str
    value: Any
    status: str
    native: str = ""
    others: tuple[Any, ...] = ()


def import_notes(record: LearningRecord) -> Mapping[str, Any]:
    """Return what *record* says of how it was read; nothing for a record of a run."""
    notes = record.metadata.get("import")
    return notes if record.status == "imported" and isinstance(notes, Mapping) else {}


def knobs_read(record: LearningRecord) -> Iterator[ReadKnob]:
    """Yield each knob of an imported picture, in the order of the table of knobs."""
    notes = import_notes(record)
    fields, native = _table(notes.get("fields")), _table(notes.get("native"))
    conflicts = _table(notes.get("conflicts"))
    config = record.variant_configs[0] if record.variant_configs else {}
    for name in sorted(fields, key=lambda n: (_ORDER.get(n.rpartition(".")[2], len(_ORDER)), n)):
        stage, _, knob = name.partition(".")
        status = str(fields[name])
        value = _table(config.get(stage)).get(knob)
        told = conflicts.get(name)
        yield ReadKnob(
            name=name,
            value=value,
            status=status if status in _KNOWN else "unresolved",
            native=str(native.get(knob, "")),
            others=tuple(o for o in told if o != value) if isinstance(told, list) else (),
        )


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
