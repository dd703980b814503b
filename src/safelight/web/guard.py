"""guard: who may ask the light table for what, decided before anything else happens.

A page that a browser has open elsewhere must not reach it: names that were re-bound to this
machine fail at Host, posts from other sites fail at Origin, and pictures cannot be embedded.
"""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from safelight.web.admission import Admission, TooManyGuesses
from safelight.web.sessions import Role

__all__ = [
    "LARGEST_BODY",
    "LARGEST_PICTURE",
    "LINES",
    "LOOPBACK",
    "Guard",
    "account_of_asker",
    "asker_of",
    "cookie_name",
    "is_still_in",
    "most_of",
    "role_of",
    "session_of",
]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Names of this machine for itself."""

LARGEST_BODY = 1024 * 1024
"""Bytes that a request may carry."""

LARGEST_PICTURE = 64 * 1024 * 1024
"""Bytes of a picture that is handed over."""

PICTURES = "/api/dropped"
"""Where pictures are handed over."""

LINES = "/api/spool"
"""Where tools tell what they have drawn, with pictures of theirs in base64."""

_log = logging.getLogger(__name__)
_NOT_OF_TOOLS = (
    "the token in this address is another one: take the address anew from the page, Runs, Imports,"
    " What other tools draw"
)
_LONGEST_QUERY = 16_384
_LENGTH_DIGITS = 12
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


def cookie_name(scope: Scope) -> str:
    """Return the name of the session's cookie.

    Browsers share cookies among the ports of a machine; with the port in its name, each server
    has its own.
    """
    server = scope.get("server")
    return f"safelight_{server[1] if server else 0}"


def session_of(scope: Scope) -> str:
    """Return the session that a request's cookie holds; empty when it holds none."""
    try:
        morsel = SimpleCookie(Headers(scope=scope).get("cookie", "")).get(cookie_name(scope))
    except CookieError:
        return ""
    return morsel.value if morsel is not None else ""


def asker_of(scope: Scope) -> str:
    """Return what tells those who are let in apart: where they are, and the session they came with.

    A cookie that lets nobody in is anything that somebody wrote into it.
    """
    client = scope.get("client")
    host = client[0] if client else ""
    session = scope.get("state", {}).get("session", "")
    return hashlib.sha256(f"{host} {session}".encode("utf-8", "surrogateescape")).hexdigest()


def role_of(scope: Scope) -> Role | None:
    """Return what who sent a request may do; None before they are let in."""
    role: Role | None = scope.get("state", {}).get("role")
    return role


def account_of_asker(scope: Scope) -> int | None:
    """Return the account of this machine that a request comes from, where that is known."""
    asked: Callable[[], int | None] | None = scope.get("state", {}).get("account")
    return asked() if asked is not None else None


def is_still_in(scope: Scope) -> bool:
    """Return whether who began this request is let in still, for answers that take their time."""
    asked: Callable[[], Role | None] | None = scope.get("state", {}).get("still")
    try:
        return asked is None or asked() is not None
    except TooManyGuesses:  # of others at this address, whom it does not have to wait for
        return True


class Guard:
    """Lets a request through to *app*, or answers it.

    Args:
        app: What is guarded.
        hosts: Names in ``Host`` that are ours; empty lets every name through, which is safe
            only behind a token.
        admission: Lets people in, and says as what; None lets everyone in as an owner.
    """

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str], admission: Admission | None) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._admission = admission
        self._has_told = False

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

        refusal = self._refusal(scope) or self._stranger(scope)
        if refusal is not None:
            await refusal(scope, receive, send_headed)
            return
        await self._app(scope, _Limited(receive, most_of(scope)), send_headed)

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
            if (
                not (length.isascii() and length.isdecimal())
                or len(length) > _LENGTH_DIGITS
                or (int(length) > most_of(scope))
            ):
                return _refused(413, f"a request may carry {most_of(scope):,} bytes at most")
        return None

    def _stranger(self, scope: Scope) -> Response | None:
        """Note who asks; return what a stranger is told."""
        headers, path = Headers(scope=scope), scope["path"]
        role: Role | None = Role.OWNER
        if self._admission is not None:
            kind, _, bearer = headers.get("authorization", "").partition(" ")
            bearer = bearer.strip() if kind.lower() == "bearer" else ""
            client = scope.get("client")
            cookie, address = session_of(scope), client[0] if client else ""
            account = account_of_asker(scope) if cookie or bearer else None
            if path == LINES and scope["method"] == "POST":
                given = QueryParams(scope.get("query_string", b"")).get("token", "")
                if any(map(self._admission.is_tool, (bearer, given))):
                    scope.setdefault("state", {})["role"] = Role.TOOL
                    return None
                if given:
                    if not self._has_told:  # most senders show nobody what they are answered
                        self._has_told = True
                        _log.warning("something was posted to %s: %s", LINES, _NOT_OF_TOOLS)
                    return _refused(401, _NOT_OF_TOOLS)
            shown = cookie, bearer, address, account
            try:
                role, session = self._admission.let_in(*shown)
            except TooManyGuesses as error:
                return _refused(429, str(error), {"Retry-After": str(error.seconds)})
            if role is not None:
                still = functools.partial(self._admission.role_of, *shown)
                scope.setdefault("state", {}).update(still=still, session=session)
        scope.setdefault("state", {})["role"] = role
        if role is not None or path == "/login" or path.startswith("/static/"):
            return None
        if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
            query = scope.get("query_string", b"").decode("latin-1")
            wanted = quote(path + (f"?{query}" if query else ""))
            return RedirectResponse(
                "/login" if wanted == "/" else f"/login?next={wanted}", status_code=303
            )
        return _refused(
            401,
            "sign in: open the link that safelight serve printed (Enter there"
            " prints another), or send a token as 'Authorization: Bearer TOKEN'",
            {"WWW-Authenticate": "Bearer"},
        )


class _Limited:
    """Receives a body that has no length of its own no further than it may go."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive, self._most = receive, most
        self._taken = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._taken += len(message.get("body", b""))
        if self._taken > self._most:
            return {"type": "http.disconnect"}
        return message


def most_of(scope: Scope) -> int:
    """Return the bytes that a request may carry; who may not hand over pictures is not read."""
    path = scope["path"]
    is_picture = path in (PICTURES, LINES) or path.startswith(f"{PICTURES}/")
    return LARGEST_PICTURE if is_picture else LARGEST_BODY


def _name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _refused(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": reason}, status_code=status, headers=headers)
