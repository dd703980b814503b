"""nearest_files: the files of the pictures that come nearest to what is suggested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from safelight.application.suggestions import Evidence
from safelight.archive import Archive
from safelight.filter_tokens import quoted
from safelight.learning.plans.nearest import nearest_pictures
from safelight.learning.plans.suggested import Suggestion

__all__ = ["NearFile", "nearest_files"]

_AT_ONCE = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class NearFile:
    """A picture that comes near to a setting.

    Attributes:
        path: As the archive has it.
        sha256: Of the file.
        differs: What of the setting it does not have, in words.
    """

    path: str
    sha256: str
    differs: str

    @property
    def name(self) -> str:
        """The file's own name."""
        return PurePath(self.path.replace("\\", "/")).name or self.sha256[:12]


def nearest_files(
    archive: Archive, evidence: Evidence, suggestions: Sequence[Suggestion], count: int = 3
) -> tuple[tuple[NearFile, ...], ...]:
    """Return for each of *suggestions* the *count* rated pictures that are nearest to it.

    Raises:
        ArchiveError: The archive cannot answer.
    """
    found = nearest_pictures(evidence.trials, [one.setting for one in suggestions], count)
    digests = list(dict.fromkeys(one.digest for near in found for one in near))
    paths: dict[str, str] = {}
    for start in range(0, len(digests), _AT_ONCE):
        listed = ", ".join(map(quoted, digests[start : start + _AT_ONCE]))
        answer = archive.query(f"sha256 in ({listed})", columns=["sha256", "path"], limit=None)
        paths |= {str(digest): str(path or "") for digest, path in answer.rows}
    return tuple(
        tuple(
            NearFile(path=paths.get(one.digest, ""), sha256=one.digest, differs=one.text)
            for one in near
        )
        for near in found
    )
