"""The light table: a local web page over the archive and the controller; the only GUI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from safelight.web.app import create_app

__all__ = ["create_app"]


def __getattr__(name: str) -> Any:
    """Import the server only where there is one: the process that answers beside it is none."""
    if name == "create_app":
        from safelight.web.app import create_app

        return create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
