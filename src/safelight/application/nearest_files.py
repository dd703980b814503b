"""nearest_files: the files of the pictures that come nearest to what is suggested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from safelight.application.suggestions import Evidence
from safelight.learning.plans.nearest import nearest_pictures
from safelight.learning.plans.suggested import Suggestion

__all__ = ["NearFile", "nearest_files"]


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
    evidence: Evidence, suggestions: Sequence[Suggestion], count: int = 3
) -> tuple[tuple[NearFile, ...], ...]:
    """Return for each of *suggestions* the *count* rated pictures that are nearest to it."""
    found = nearest_pictures(evidence.trials, [one.setting for one in suggestions], count)
    return tuple(
        tuple(
            NearFile(path=evidence.paths.get(one.digest, ""), sha256=one.digest, differs=one.text)
            for one in near
        )
        for near in found
    )
