"""answered_picture: a picture as a server sent it, made the PNG file that engines answer with."""

from __future__ import annotations

from safelight.backends.engine_server import EngineServer
from safelight.errors import BackendError, ImageError
from safelight.pipeline.images import as_png

__all__ = ["png_file"]


def png_file(server: EngineServer, data: bytes) -> tuple[bytes, str]:
    """Return a whole PNG file, and what it was before; empty where it came as PNG.

    Args:
        server: Who sent it; messages name it.
        data: A PNG file is returned as it is, with all that it says of itself.

    Raises:
        BackendError: It is no whole picture.
    """
    kind = ""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        try:
            data, kind = as_png(data)
        except ImageError as error:
            raise BackendError(f"{server} sent {len(data)} bytes that are no picture") from error
    if len(data) < 45 or not data.rstrip(b"\0").endswith(b"IEND\xaeB`\x82"):
        raise BackendError(f"{server} sent a PNG file that breaks off after {len(data)} bytes")
    return data, kind
