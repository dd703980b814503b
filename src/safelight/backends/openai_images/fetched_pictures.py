"""fetched_pictures: a picture that an answer names by its address, fetched in bounds.

An answer says where its pictures lie, and may say anything. Keys go to the server that they are
for and to nobody else, redirects are few and never leave TLS, and what comes is bounded. Addresses
of pictures are often signed, and then as good as keys: of one only the host is told.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import httpx

from safelight.backends.engine_server import leads_inside
from safelight.errors import BackendError, BackendOutcomeUnknown

__all__ = ["fetched_picture"]

_LARGEST = 256 * 2**20
_MOST_REDIRECTS = 3
_NO_ADDRESS = "the picture was drawn, but its address is none of http or https"


def fetched_picture(
    url: str, home: str, *, headers: Mapping[str, str], verify: Any, timeout: float
) -> bytes:
    """Return what lies at *url*.

    Args:
        url: As the answer has it; relative ones begin at *home*.
        home: The address of the server that answered.
        headers: Sent to that server only, such as its key.
        verify: As :class:`httpx.HTTPTransport` has it; for that server only.
        timeout: Seconds for all of it.

    Raises:
        BackendError: It may not be fetched, or is not to be had; the picture was drawn.
        BackendOutcomeUnknown: It was drawn, and nobody answers there now.
    """
    deadline = time.monotonic() + timeout
    whole = _joined(f"{home}/", url)
    for _ in range(_MOST_REDIRECTS + 1):
        parts = _parts(whole)
        if leads_inside(str(parts.hostname), urlsplit(home).hostname or ""):
            raise BackendError(
                "the picture was drawn, but its address is one of this machine or its link, and"
                " the server is elsewhere"
            )
        at_home = _origin(parts) == _origin(urlsplit(home))
        status, location, content = _got(
            whole, parts, headers if at_home else {}, verify if at_home else True, deadline
        )
        if status == 200:
            return content
        if not (300 <= status < 400 and location):
            raise BackendError(
                f"the picture was drawn, but {parts.hostname}, where it lies, answered {status}"
            )
        further = _joined(whole, location)
        if parts.scheme == "https" and urlsplit(further).scheme != "https":
            raise BackendError(f"the picture was drawn, but {parts.hostname} leads away from https")
        whole = further
    raise BackendError(
        f"the picture was drawn, but its address leads on more than {_MOST_REDIRECTS} times"
    )


def _got(
    url: str, parts: SplitResult, headers: Mapping[str, str], verify: Any, deadline: float
) -> tuple[int, str, bytes]:
    """Return status, where it leads, and body. No client: it would write the address to a log."""
    left = max(0.1, deadline - time.monotonic())
    timeouts = {"connect": min(left, 10.0), "read": left, "write": left, "pool": left}
    try:
        request = httpx.Request("GET", url, headers=dict(headers), extensions={"timeout": timeouts})
        with httpx.HTTPTransport(verify=verify, trust_env=False) as transport:
            response = transport.handle_request(request)
            try:
                return (
                    response.status_code,
                    response.headers.get("location", ""),
                    _read(response, parts, deadline),
                )
            finally:
                response.close()
    except (httpx.InvalidURL, UnicodeError) as error:
        raise BackendError(_NO_ADDRESS) from error
    except httpx.HTTPError as error:
        raise BackendOutcomeUnknown(
            f"the picture was drawn, but {parts.hostname}, where it lies, does not give it out"
            f" ({type(error).__name__})"
        ) from error


def _read(response: httpx.Response, parts: SplitResult, deadline: float) -> bytes:
    length, pieces = 0, []
    for piece in response.iter_bytes():
        length += len(piece)
        if length > _LARGEST:
            raise BackendError(
                f"{parts.hostname} sent more than {_LARGEST // 2**20} MiB as one picture"
            )
        if time.monotonic() > deadline:
            raise BackendOutcomeUnknown(
                f"the picture was drawn, but {parts.hostname}, where it lies, gives it out too"
                " slowly"
            )
        pieces.append(piece)
    return b"".join(pieces)


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or "@" in parts.netloc:
        raise BackendError(_NO_ADDRESS)
    return parts


def _joined(base: str, url: str) -> str:
    try:
        return urljoin(base, url)
    except ValueError as error:
        raise BackendError(_NO_ADDRESS) from error


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    usual = {"http": 80, "https": 443}
    return parts.scheme, parts.hostname, parts.port or usual.get(parts.scheme)
