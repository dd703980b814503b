"""PictureAnswer: a picture's file that is open already, sent as it is."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import formatdate
from urllib.parse import quote

from anyio import to_thread
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from safelight.web.pictures import OpenPicture

__all__ = ["PictureAnswer"]

_CHUNK = 256 * 1024


class PictureAnswer(Response):
    """Sends what is open and not what its name means by now, and closes it.

    Args:
        opened: The picture.
        headers: Sent with it.
        disposition: ``inline`` or ``attachment``.
    """

    def __init__(self, opened: OpenPicture, headers: Mapping[str, str], disposition: str) -> None:
        self._opened = opened
        self.status_code = 200
        self.media_type = opened.kind
        self.background = None
        self.body = b""
        name = opened.name
        quoted = quote(name, errors="replace")
        shown = f'filename="{name}"' if quoted == name else f"filename*=utf-8''{quoted}"
        self.init_headers({
            **headers,
            "content-length": str(opened.status.st_size),
            "content-disposition": f"{disposition}; {shown}",
            "last-modified": formatdate(opened.status.st_mtime, usegmt=True),
        })  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        with self._opened.file as file:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            left = 0 if scope["method"] == "HEAD" else self._opened.status.st_size
            while left > 0:
                chunk = await to_thread.run_sync(file.read, min(left, _CHUNK))
                if not chunk:  # it was cut meanwhile, and the server says so by closing
                    return
                left -= len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": left > 0})
            if scope["method"] == "HEAD" or self._opened.status.st_size == 0:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
