"""machine_folders: where this machine keeps what belongs to its user and to no archive."""

from __future__ import annotations

from pathlib import Path

import platformdirs

__all__ = ["state_folder"]


def state_folder() -> Path:
    """Return where state that outlives a command is kept: who is signed in to the page, say."""
    return platformdirs.user_state_path("safelight", appauthor=False)
