"""readings_compared: whether two readings of a picture say the same, and where they do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from safelight.learning.learning_record import LearningRecord
from safelight.recorded_settings import CUT_SHORT

__all__ = ["about_import", "changes_between", "is_told", "says_the_same", "superseding"]

_NOT_SAID = frozenset(
    (
        "reader",
        "reading",
        "safelight",
        "file",
        "image_sha256",
        "image_is",
        "file_warnings",
        "raw",
        "spool",
    )
)


def about_import(record: LearningRecord) -> Mapping[str, Any]:
    """Return what a record holds of the file that it was read from; nothing where that is odd."""
    imported = record.metadata.get("import")
    return imported if isinstance(imported, Mapping) else {}


def is_told(record: LearningRecord) -> bool:
    """Return whether a line of a spool says of the picture how it came about."""
    return isinstance(about_import(record).get("spool"), Mapping)


def says_the_same(one: LearningRecord, other: LearningRecord) -> bool:
    """Return whether two readings are alike in all that was understood."""
    return _said(one) == _said(other)


def _said(record: LearningRecord) -> tuple[Any, ...]:
    own = {key: value for key, value in about_import(record).items() if key not in _NOT_SAID}
    sizes = [(output.width, output.height) for output in record.outputs]
    return list(record.variant_configs), dict(record.backend), sizes, own


def superseding(new: LearningRecord, old: LearningRecord) -> LearningRecord:
    """Return *new* as the reading of *old*'s picture that counts from now on.

    What only the line of a spool could say of it stays: a file does not know that.
    """
    about, before = about_import(new), about_import(old)
    reader, known = _whole(about.get("reader")), _whole(before.get("reader"))
    # A reader that is older than the last one still knows what the file says now; and what a newer
    # one makes of other texts counts more than what one like it makes of those of before.
    says_other = known >= reader or about.get("raw") != before.get("raw")
    number = _whole(before.get("reading")) + says_other
    own = {**about, "reader": max(reader, known), "reading": number}
    kept: dict[str, Any] = {}
    if is_told(old) and not is_told(new):
        own["spool"] = before["spool"]
        if CUT_SHORT in (extra := _mapping(before.get("extra"))):
            own["extra"] = {**_mapping(about.get("extra")), CUT_SHORT: extra[CUT_SHORT]}
        took = next((output.seconds for output in old.outputs), 0.0)
        kept = {
            "timestamp": old.timestamp, "seconds": old.seconds, "environment": old.environment,
            "outputs": tuple(msgspec.structs.replace(o, seconds=took) for o in new.outputs),
            "backend": {
                **new.backend,
                **{name: new.backend.get(name) or old.backend.get(name) or ""
                   for name in ("name", "version")},
            },
        }  # fmt: skip
    return replace(new, run_id=old.run_id, metadata={**new.metadata, "import": own}, **kept)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _whole(value: Any) -> int:
    return value if type(value) is int and value >= 0 else 0


def changes_between(old: LearningRecord, new: LearningRecord) -> Iterator[tuple[str, str]]:
    """Yield (knob, ``now read``, ``no more read`` or ``changed``) of each that differs."""
    before, after = _values(old), _values(new)
    for name in dict.fromkeys((*before, *after)):
        was, now = before.get(name), after.get(name)
        if was != now:
            how = "now read" if was is None else "no more read" if now is None else "changed"
            yield name, how


def _values(record: LearningRecord) -> dict[str, Any]:
    """Return what is known of a picture, by the names of knobs whatever their stage."""
    values: dict[str, Any] = {"tool": record.backend.get("name") or None}
    for config in record.variant_configs[:1]:
        for own in config.values():
            if isinstance(own, Mapping):
                values |= {name: value for name, value in own.items() if value is not None}
    about = about_import(record)
    for name in ("extra", "hashes", "fields"):
        values[{"extra": "other settings", "fields": "how knobs were learned"}.get(name, name)] = (
            about.get(name) or None
        )
    return values
