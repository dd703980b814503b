"""ProgressSocket: what ComfyUI tells over its websocket while it works.

Only for progress and previews, never for the truth: another client may take the messages over,
a proxy may not let them through, and a picture must be drawn all the same. So nothing here
raises, and a broken socket is just silent.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

__all__ = ["Event", "Login", "ProgressSocket"]

_PREVIEW = 1
_OPEN_SECONDS = 3.0
_MOST_KEPT = 1000
"""Messages that wait to be asked for; what is lost beyond is found by looking at the server."""

_SILENT = logging.Logger("safelight.comfyui.websocket", logging.CRITICAL + 1)
"""The websockets package would log the request's headers, and a login is one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Who asks, and whom to trust.

    Attributes:
        user: For Basic authentication; empty for none.
        password: Belongs to *user*.
        verify: Whether a TLS certificate must be valid, or a file of authorities to trust.
        more: Headers that are sent beside.
    """

    user: str = ""
    password: str = ""
    verify: bool | str = True
    more: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return "Login(...)"

    def headers(self) -> dict[str, str]:
        """Return the headers that say so."""
        if not self.user:
            return dict(self.more)
        pair = f"{self.user}:{self.password}".encode()
        basic = {"Authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}
        return {**self.more, **basic}

    def trust(self) -> ssl.SSLContext:
        """Return what decides over a server's certificate."""
        cafile = self.verify if isinstance(self.verify, str) else None
        context = ssl.create_default_context(cafile=cafile)
        if self.verify is False:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One message about one job.

    Attributes:
        prompt_id: The job.
        node: Which node works; empty when none does any more.
        value: How many of its steps are done.
        ended: Whether the job has ended, well or badly.
        preview: What the picture looks like by now, an encoded picture.
    """

    prompt_id: str
    node: str = ""
    value: float = 0.0
    ended: bool = False
    preview: bytes | None = None


class ProgressSocket:
    """A connection that outlasts requests: to open one costs more than all messages of a job.

    As a context manager it is there for one request: opened where there is none, and what came
    since the last one is passed over.

    Args:
        url: The server's address, ``http://127.0.0.1:8188``.
        client_id: Whose messages to get.
        login: Who asks.
    """

    def __init__(self, url: str, client_id: str, login: Login) -> None:
        self._url, self._client_id, self._login = url, client_id, login
        self._open = ExitStack()
        self._inbox: _Inbox | None = None

    @property
    def listens(self) -> bool:
        """Whether messages come; what comes is no promise that all do."""
        return self._inbox is not None

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        self._inbox = None
        with suppress(Exception):  # it is closed one way or the other
            self._open.close()

    def next(self, seconds: float) -> Event | None:
        """Return the next message about a job, or None after *seconds*."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self._inbox is None:
                time.sleep(left)
                return None
            event = self._inbox.next(left)
            if event is None and self._inbox.over:
                self.close()
            elif event is not None and event.preview is not None:
                if (png := _png(event.preview)) is not None:
                    return replace(event, preview=png)
            elif event is not None:
                return event
        return None

    def __enter__(self) -> ProgressSocket:
        if self._inbox is not None and not self._inbox.over:
            self._inbox.clear()
            return self
        self.close()
        try:
            connection = _connect(self._open, self._url, self._client_id, self._login)
            self._inbox = _Inbox(connection.recv)
        except Exception:  # noqa: BLE001 - without it there is only no progress
            self.close()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:  # what it still has to say is about a job that nobody follows
            self.close()


class _Inbox:
    """What a connection brings, read as it comes by a thread of its own, and kept in bounds.

    Servers send to all who listen, run or no run, and one that is not read from holds up the
    others. Of what is not asked for in time only the newest is kept: the last step of a node, the
    last preview. That a job has ended is kept before all else.

    Attributes:
        over: Whether no more comes.

    Args:
        receive: Returns the next message, and raises when there are no more.
    """

    def __init__(self, receive: Callable[[], str | bytes]) -> None:
        self.over = False
        self._receive = receive
        self._kept: dict[tuple[str, ...], Event] = {}
        self._changed = threading.Condition()
        self._prompt_id = self._node = ""
        threading.Thread(target=self._read_all, name="safelight comfyui", daemon=True).start()

    def next(self, seconds: float) -> Event | None:
        """Return the oldest message that is kept, or None after *seconds* or when all is over.

        A preview is as the server sent it.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._kept or self.over, seconds)
            return self._kept.pop(next(iter(self._kept))) if self._kept else None

    def clear(self) -> None:
        """Forget what is kept."""
        with self._changed:
            self._kept.clear()

    def _read_all(self) -> None:
        try:
            while True:
                message = self._receive()
                event = self._frame(message) if isinstance(message, bytes) else self._read(message)
                if event is not None:
                    self._keep(event)
        except Exception:  # noqa: BLE001 - closed, or broken
            with self._changed:
                self.over = True
                self._changed.notify_all()

    def _keep(self, event: Event) -> None:
        kind = "end" if event.ended else "step" if event.preview is None else "preview"
        key = (kind,) if kind == "preview" else (kind, event.prompt_id, event.node)
        with self._changed:
            self._kept.pop(key, None)
            self._kept[key] = event
            if len(self._kept) > _MOST_KEPT:
                spare = (key for key in self._kept if key[0] != "end")
                del self._kept[next(spare, next(iter(self._kept)))]
            self._changed.notify_all()

    def _read(self, message: str) -> Event | None:
        try:
            event = json.loads(message)
            kind, data = str(event["type"]), event["data"]
            prompt_id = str(data.get("prompt_id", ""))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        if not prompt_id:
            return None
        self._prompt_id = prompt_id
        node = data.get("node")
        if kind in ("execution_error", "execution_interrupted") or (
            kind == "executing" and node is None
        ):
            self._node = ""
            return Event(prompt_id=prompt_id, ended=True)
        if kind == "executing":
            self._node = str(node)
        value = data.get("value")
        if kind == "progress" and isinstance(value, (int, float)):
            return Event(prompt_id=prompt_id, node=str(node), value=float(value))
        return None

    def _frame(self, frame: bytes) -> Event | None:
        """Read a preview; it names no job, so it belongs to the last one that was named."""
        if len(frame) < 9 or int.from_bytes(frame[:4], "big") != _PREVIEW or not self._node:
            return None
        return Event(prompt_id=self._prompt_id, node=self._node, preview=frame[8:])


def _connect(opened: ExitStack, url: str, client_id: str, login: Login) -> Any:
    from websockets.exceptions import InvalidHandshake

    path = urlsplit(url).path
    if not path.endswith("/api"):
        return _connect_at(opened, url, f"{path}/ws?clientId={client_id}", login)
    try:
        return _connect_at(opened, url, f"{path}/ws?clientId={client_id}", login)
    except InvalidHandshake:
        # Hosted servers have it beside their API, and take the key as browsers can send it.
        keys = [value for name, value in login.more.items() if name.lower() == "x-api-key"]
        token = "".join(f"&token={quote(key, safe='')}" for key in keys[:1])
        beside = f"{path.removesuffix('/api')}/ws?clientId={client_id}{token}"
        return _connect_at(opened, url, beside, login)


def _connect_at(opened: ExitStack, url: str, place: str, login: Login) -> Any:
    from websockets.sync.client import connect

    parts = urlsplit(url)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    # A socket of our own keeps proxies of the environment out, as the HTTP client does.
    plain = opened.enter_context(
        socket.create_connection((parts.hostname or "", port), timeout=_OPEN_SECONDS)
    )
    return opened.enter_context(
        connect(
            f"{'wss' if secure else 'ws'}://{parts.netloc}{place}",
            sock=plain,
            ssl=login.trust() if secure else None,
            additional_headers=login.headers(),
            open_timeout=_OPEN_SECONDS,
            close_timeout=1.0,
            max_size=64 * 2**20,
            max_queue=16,  # it is emptied at once, so that a closing handshake is never held up
            logger=_SILENT,
        )
    )


def _png(data: bytes) -> bytes | None:
    """Return a JPEG or PNG preview as a PNG file, None when it is neither."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as picture:
            buffer = io.BytesIO()
            picture.convert("RGB").save(buffer, "PNG", compress_level=1)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return buffer.getvalue()
