"""guard: who may ask the light table for what, decided before anything else happens.

A page that a browser has open elsewhere must not reach it: names that were re-bound to this
machine fail at Host, posts from other sites fail at Origin, and pictures cannot be embedded.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["COOKIE", "LARGEST_BODY", "LOOPBACK", "Guard", "cookie_value", "token_fits"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Names of this machine for itself."""

COOKIE = "safelight_session"
LARGEST_BODY = 1024 * 1024
"""Bytes that a request may carry."""

_LONGEST_QUERY = 16_384
_READING = ("GET", "HEAD", "OPTIONS")
_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:;"
        " connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'none'; manifest-src 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer, our own forms have no Origin
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def cookie_value(token: str) -> str:
    """Return what the cookie holds: proof of the token, not the token."""
    return hmac.new(token.encode(), b"safelight light table", hashlib.sha256).hexdigest()


def token_fits(given: str, token: str) -> bool:
    """Return whether *given* is the token, in a time that tells nothing."""
    return hmac.compare_digest(given.encode(), token.encode())


class Guard:
    """Lets a request through to *app*, or answers it.

    Args:
        app: What is guarded.
        hosts: Names in ``Host`` that are ours; empty lets every name through, which is safe
            only behind a token.
        token: Asked of everyone; None asks nobody.
    """

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str], token: str | None) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def send_headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send_headed)
            return
        await self._app(scope, _Limited(receive), send_headed)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        method = scope["method"]
        host = headers.get("host", "")
        if self._hosts and _name(host) not in self._hosts:
            return _refused(421, f"this server is not called {host[:80]!r}")
        if len(scope.get("query_string", b"")) > _LONGEST_QUERY:
            return _refused(414, f"a query may have {_LONGEST_QUERY:,} bytes at most")
        site = headers.get("sec-fetch-site", "none")
        opened = headers.get("sec-fetch-mode") == "navigate" and method in _READING
        if site not in ("same-origin", "none") and not opened:
            return _refused(403, "another site may not ask")
        if method not in _READING:
            origin = headers.get("origin")
            if origin is not None and urlsplit(origin).netloc != host:
                return _refused(403, f"another site may not write: {origin[:80]!r}")
            length = headers.get("content-length", "0")
            if not length.isdigit() or int(length) > LARGEST_BODY:
                return _refused(413, f"a request may carry {LARGEST_BODY:,} bytes at most")
        if self._token is None or self._is_known(headers):
            return None
        path = scope["path"]
        if path == "/login" or path.startswith("/static/"):
            return None
        if method == "GET" and "text/html" in headers.get("accept", ""):
            return RedirectResponse("/login", status_code=303)
        return _refused(401, "send the token as 'Authorization: Bearer …', or sign in at /login")

    def _is_known(self, headers: Headers) -> bool:
        assert self._token is not None
        given = headers.get("authorization", "")
        if given.startswith("Bearer ") and token_fits(given[7:], self._token):
            return True
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return morsel is not None and token_fits(morsel.value, cookie_value(self._token))


class _Limited:
    """Receives a body that has no length of its own no further than it may go."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._taken = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._taken += len(message.get("body", b""))
        if self._taken > LARGEST_BODY:
            return {"type": "http.disconnect"}
        return message


def _name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _refused(status: int, reason: str) -> Response:
    return JSONResponse({"error": reason}, status_code=status)
