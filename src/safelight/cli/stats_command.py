"""``safelight stats``."""

from __future__ import annotations

from safelight.cli.archive_command import stats as command

__all__ = ["command"]
