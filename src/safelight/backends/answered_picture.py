"""answered_picture: a picture as a server sent it, made the PNG file that engines answer with."""

from __future__ import annotations

import io

from safelight.backends.engine_server import EngineServer
from safelight.errors import BackendError

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
        data, kind = _converted(server, data)
    if len(data) < 45 or not data.rstrip(b"\0").endswith(b"IEND\xaeB`\x82"):
        raise BackendError(f"{server} sent a PNG file that breaks off after {len(data)} bytes")
    return data, kind


def _converted(server: EngineServer, data: bytes) -> tuple[bytes, str]:
    from PIL import Image

    buffer = io.BytesIO()
    try:
        with Image.open(io.BytesIO(data)) as picture:
            kind = picture.format or "an unknown format"
            picture.save(buffer, "PNG")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise BackendError(f"{server} sent {len(data)} bytes that are no picture") from error
    return buffer.getvalue(), kind
