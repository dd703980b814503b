"""What was drawn before, and where it is found."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from safelight.allowed_files import FilesUnder
from safelight.archive_layout import pictures_folder
from safelight.errors import FileRefused
from safelight.learning.learning_record import ImageOutput
from safelight.pipeline.backend import BackendDescription

__all__ = [
    "DrawnBefore",
    "PictureLibrary",
    "outputs_are_whole",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnBefore:
    """A variant that some run has drawn, every stage of it.

    Attributes:
        run_id: The run that drew it.
        config: Stage -> effective knobs.
        outputs: Its pictures.
        identity: Of the variant; empty where it is not known.
        environment: What its run says of the engine that drew it.
    """

    run_id: str
    config: Mapping[str, Mapping[str, Any]]
    outputs: tuple[ImageOutput, ...]
    identity: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)


class PictureLibrary(Protocol):
    """Knows what was drawn before; an archive is one."""

    def find(
        self, identities: Sequence[str], engine: BackendDescription
    ) -> Mapping[str, DrawnBefore]:
        """Return identity -> a variant that was drawn whole, for those that are known.

        Args:
            identities: What is looked for.
            engine: Its version must agree where both are known.
        """
        ...


def outputs_are_whole(archive: Path, outputs: Sequence[ImageOutput]) -> bool:
    """Return whether every one of *outputs* is in its file below the pictures, byte for byte.

    Records come from anywhere, and what one says of a file elsewhere is not looked at.
    """
    files = FilesUnder((pictures_folder(archive),))
    for output in outputs:
        if output.path is None:
            return False
        try:
            with files.open(output.path, archive) as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except (FileRefused, OSError):
            return False
        if digest != output.sha256:
            return False
    return bool(outputs)
