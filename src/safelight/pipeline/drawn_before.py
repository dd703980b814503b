"""What was drawn before: a variant's identity, and where an equal one is found.

Two variants are the same when every knob, every picture they start from, the engine and the
model that it takes by default are the same. The engine's version is compared beside it, because
some engines tell theirs only with their first picture: an unknown version differs from none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from safelight.learning.learning_record import ImageOutput
from safelight.learning.snapshot import plain_values
from safelight.pipeline.backend import BackendDescription
from safelight.pipeline.input_files import FILE_KNOBS, InputFiles

__all__ = [
    "DrawnBefore",
    "PictureLibrary",
    "outputs_are_whole",
    "variant_identity",
]

_MODEL_FACTS = ("model_sha256", "loaded_model")
"""What an engine's environment says of the model that it takes when none is asked for."""

_encoder = msgspec.json.Encoder(order="sorted")


def variant_identity(
    config: Mapping[Any, Mapping[str, Any]], engine: BackendDescription, files: InputFiles
) -> str:
    """Return what makes a variant the same as another one: 32 hex digits.

    Args:
        config: Stage -> knobs, fully decided.
        engine: Its name counts, and the model that it has loaded where *config* names none.
        files: Where the pictures that *config* names are; their content counts, not their name.

    Raises:
        StorageError: A picture cannot be read.
    """
    stages: dict[str, dict[str, Any]] = {}
    for stage, knobs in config.items():
        own = {name: value for name, value in knobs.items() if value is not None}
        stages[stage] = own | {n: files.sha256(n, knobs) for n in FILE_KNOBS if n in own}
    settings: dict[str, Any] = {"engine": engine.name, "stages": _canonical(plain_values(stages))}
    if not all("model" in knobs for stage, knobs in stages.items() if stage != "upscale"):
        facts = {name: engine.environment.get(name) for name in _MODEL_FACTS}
        settings["model"] = plain_values({k: v for k, v in facts.items() if v})
    return hashlib.sha256(_encoder.encode(settings)).hexdigest()[:32]


def _canonical(value: Any) -> Any:
    """Return *value* with whole floats as integers: a cfg_scale of 7 and of 7.0 are one."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnBefore:
    """A variant that some run has drawn, every stage of it.

    Attributes:
        run_id: The run that drew it.
        config: Stage -> effective knobs.
        outputs: Its pictures.
        identity: Of the variant; empty in accounts that are older than identities.
    """

    run_id: str
    config: Mapping[str, Mapping[str, Any]]
    outputs: tuple[ImageOutput, ...]
    identity: str = ""


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
    """Return whether every one of *outputs* is in its file, byte for byte."""
    for output in outputs:
        if output.path is None:
            return False
        try:
            data = (archive / output.path).read_bytes()
        except OSError:
            return False
        if hashlib.sha256(data).hexdigest() != output.sha256:
            return False
    return bool(outputs)
