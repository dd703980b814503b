"""machine_folders: where this machine keeps what belongs to its user and to no archive."""

from __future__ import annotations

from pathlib import Path

__all__ = ["configuration_folder", "state_folder"]

_NAME = "safelight"


def configuration_folder() -> Path:
    """Return where what this user decided for all archives is, by the habit of the system."""
    import platformdirs

    return platformdirs.user_config_path(_NAME, appauthor=False, roaming=True)


def state_folder() -> Path:
    """Return where state that outlives a command is kept: who is signed in to the page, say."""
    import platformdirs

    return platformdirs.user_state_path(_NAME, appauthor=False)
