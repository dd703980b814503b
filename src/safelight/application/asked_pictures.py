"""asked_pictures: a set of pictures that somebody acts on, by a filter or one by one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from safelight.archive import Archive
from safelight.errors import RequestError

__all__ = ["asked_pictures"]

_DIGEST = re.compile(r"[0-9a-f]{64}")
_TOGETHER = 200


def asked_pictures(
    archive: Archive,
    columns: Sequence[str],
    condition: str = "",
    sha256s: Sequence[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield *columns* of the pictures that meet *condition*, or, where given, are of *sha256s*.

    Args:
        archive: Whose.
        columns: Of the view ``images``.
        condition: In the filter language.
        sha256s: Of the bytes of their files; then *condition* narrows them.

    Raises:
        FilterError: The condition cannot be read.
        RequestError: One of *sha256s* is none.
        ArchiveError: The archive cannot answer.
    """
    if sha256s is None:
        yield from archive.query(condition, columns=columns, limit=None).dicts()
        return
    bad = next((digest for digest in sha256s if not _DIGEST.fullmatch(digest)), None)
    if bad is not None:
        raise RequestError(f"a picture is named by its SHA-256, got {bad[:80]!r}")
    asked = list(dict.fromkeys(sha256s))
    narrowed = f"({condition}) and " if condition else ""
    for start in range(0, len(asked), _TOGETHER):
        some = ", ".join(f"'{digest}'" for digest in asked[start : start + _TOGETHER])
        yield from archive.query(
            f"{narrowed}sha256 in ({some})", columns=columns, limit=None
        ).dicts()
