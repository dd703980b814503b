"""model_facts: what ``model.json`` says of the model in the box, read without loading it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safelight.errors import BackendError

__all__ = ["damaged", "model_facts", "read_facts"]

_FACTS: Mapping[str, type] = {
    "name": str,
    "image_size": int,
    "largest_side": int,
    "max_tokens": int,
    "sigma_data": float,
    "sigma_min": float,
    "sigma_max": float,
    "mean": list,
    "std": list,
    "vocabulary": list,
    "concepts": list,
    "stop_words": list,
}


def model_facts(folder: Path) -> dict[str, Any]:
    """Return what ``model.json`` in *folder* says.

    Raises:
        BackendError: It is missing, or a fact is missing or of the wrong kind.
    """
    return read_facts(folder / "model.json", _FACTS)


def read_facts(path: Path, kinds: Mapping[str, type]) -> dict[str, Any]:
    """Return what the JSON object in *path* says, once every fact in *kinds* has its kind.

    Raises:
        BackendError: It is missing, or a fact is missing or of the wrong kind.
    """
    try:
        facts = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BackendError(damaged(path, error)) from error
    for name, kind in kinds.items():
        value = facts.get(name) if isinstance(facts, dict) else None
        if not isinstance(value, kind):
            raise BackendError(damaged(path, f"{name} must be a {kind.__name__}, got {value!r}"))
    return dict(facts)


def damaged(path: Path, error: object) -> str:
    """Return what to say of a model file that cannot be used."""
    told = " ".join(str(error).split())
    return (
        f"the bundled model's file {path.name} is missing or damaged ({told}); install safelight"
        " again: pip install --force-reinstall --no-deps WHEEL"
    )
