"""The light table: a local web page over the archive and the controller; the only GUI."""

from safelight.web.app import create_app

__all__ = ["create_app"]
