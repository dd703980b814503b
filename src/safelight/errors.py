"""Every error that safelight raises on purpose.

::

    SafelightError
    ├── ConfigError            a config breaks one or more rules; carries every fault
    ├── TemplateError          a prompt template cannot be read or expanded
    ├── PlanError              a plan cannot be made, or has no variant at that place
    ├── RecordError            a learning record cannot be read
    ├── RequestError           what was asked for is not there, or cannot be
    ├── FilterError            a filter text cannot be read
    ├── ArchiveError           an archive cannot answer
    ├── ImageError             image bytes are not what they claim to be
    ├── StorageError           a file could not be written whole
    ├── ScorerError            a scorer is not there, or is not what a scorer must be
    ├── FileRefused            a file may not be named there; tells nothing of the file
    ├── ControllerError        a run was asked for in a state that does not allow it
    ├── BackendError           the engine answered and refused, or answered nonsense
    │   ├── BackendUnavailable the engine did not answer; trying again may help
    │   │   ├── BackendUnreachable nothing of what was asked has begun
    │   │   └── BackendOutcomeUnknown it may have been carried out all the same
    │   ├── BackendLoginRefused the engine wants another user name or password
    │   └── BackendNotInstalled the engine's package is missing
    └── GenerationCancelled    somebody asked to stop; not a fault

A message states the rule, the value and, where there is one, the next step.
This module imports nothing from the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "ArchiveError",
    "BackendError",
    "BackendLoginRefused",
    "BackendNotInstalled",
    "BackendOutcomeUnknown",
    "BackendUnavailable",
    "ConfigError",
    "ConfigFault",
    "ControllerError",
    "FileRefused",
    "FilterError",
    "GenerationCancelled",
    "ImageError",
    "PlanError",
    "RecordError",
    "RequestError",
    "SafelightError",
    "ScorerError",
    "StorageError",
    "TemplateError",
    "UnknownSettingError",
    "sentence_of",
    "shortened",
]


def shortened(text: str, most: int) -> str:
    """Return *text* with *most* characters at the most, the sign of a cut included."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


class SafelightError(Exception):
    """The root: catch this to catch everything that safelight raises on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFault:
    """One broken rule of a config.

    Attributes:
        path: Where in the file, dotted: ``txt2img.steps``; empty for the file itself.
        message: The rule, the value, and the next step where there is one.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


_MOST_FAULTS = 100
"""Faults that are told; nobody reads more of them at once."""


class ConfigError(SafelightError):
    """A config breaks one or more rules.

    Attributes:
        faults: Every broken rule, in the order of the file.
        source: What was read: a file name, or empty.
    """

    def __init__(self, faults: Sequence[ConfigFault] | str, *, source: str = "") -> None:
        if isinstance(faults, str):
            faults = [ConfigFault(path="", message=faults)]
        self.faults = tuple(faults)
        self.source = source
        # A fault may quote line ends, and is one line all the same.
        where = "{}: ".format(source.replace("\n", "\\n")) if source else ""
        lines = [str(fault).replace("\n", "\\n") for fault in self.faults[:_MOST_FAULTS]]
        if len(self.faults) > len(lines):
            lines.append(f"and {len(self.faults) - len(lines):,} more")
        if len(self.faults) != 1:
            lines.insert(0, f"{len(self.faults)} faults")
        super().__init__(where + "\n  ".join(lines))


class TemplateError(SafelightError):
    """A prompt template cannot be read or expanded; the message names the place."""


class PlanError(SafelightError):
    """A plan cannot be made, or has no variant at the place asked for."""


class RecordError(SafelightError):
    """A learning record cannot be read; the file is left as it is."""


class RequestError(SafelightError):
    """What was asked for is not there or cannot be; the message says what is."""


class ChosenOthers(RequestError):
    """A condition chooses other pictures than when they were counted; nothing was said of any.

    Attributes:
        count: How many it chooses now.
        snapshot: The name of just these.
    """

    def __init__(self, count: int, snapshot: str) -> None:
        super().__init__(
            f"the archive has changed meanwhile: it is {count:,} pictures now, and nothing was"
            " done; look at them, and do it again"
        )
        self.count, self.snapshot = count, snapshot


class UnknownSettingError(RequestError):
    """Settings are to be passed over that no rated picture has; the message says which there are.

    Attributes:
        names: All of these.
    """

    def __init__(self, message: str, names: tuple[str, ...]) -> None:
        super().__init__(message)
        self.names = names


class FilterError(SafelightError):
    """A filter text cannot be read; the message says where and what was expected."""


class ArchiveError(SafelightError):
    """An archive cannot answer; the message says why, and nothing was changed."""


class ImageError(SafelightError):
    """Image bytes are not what they claim to be."""


class StorageError(SafelightError):
    """A file could not be written whole; nothing half-written was left behind."""


class ScorerError(SafelightError):
    """A scorer is not installed, cannot be made, or answered what is no answer; it is named."""


class FileRefused(SafelightError):
    """A file may not be named there; the message is the same whether there is one."""


class ControllerError(SafelightError):
    """A run was asked for in a state that does not allow it."""


class BackendError(SafelightError):
    """The engine answered and refused, or answered nonsense; asking again will not help."""


class BackendUnavailable(BackendError):
    """The engine did not answer; trying again may help."""


class BackendUnreachable(BackendUnavailable):
    """Nobody listens there, or it says that it is starting: nothing of what was asked has begun."""


class BackendOutcomeUnknown(BackendUnavailable):
    """What was asked may have been carried out, and cannot be fetched or told from here.

    To ask again may draw, and where drawing costs money may cost, twice: nobody does it unasked.
    """


class BackendLoginRefused(BackendError):
    """The engine wants another user name or password than it was sent."""


class BackendNotInstalled(BackendError):
    """The engine's package is missing; the message prints the install line."""


class GenerationCancelled(SafelightError):
    """Somebody asked to stop; raised through the engine by the step callback."""


def sentence_of(error: BaseException) -> str:
    """Return what *error* says, never empty and always printable.

    Ours speak for themselves; of foreign ones the type is told, too, because many say little.
    """
    try:
        words = str(error).encode("utf-8", "backslashreplace").decode().strip()
    except Exception:  # noqa: BLE001 - an error that cannot even say what it is
        words = ""
    kind = type(error).__name__
    if isinstance(error, SafelightError):
        return words or kind
    return f"{kind}: {words}" if words else kind
