"""roles: which routes guests may take, and what of an answer is not for them.

A route is the owner's unless it says otherwise, so that a new one shows guests nothing by mistake.
What guests are told has no place on this machine in it: a path becomes the name at its end.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import unicodedata
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from pathlib import PurePath
from typing import Any
from urllib.parse import unquote_plus

import msgspec
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, request_response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from safelight.archive.answer import columns_of_view
from safelight.errors import FilterError
from safelight.filter_tokens import quoted
from safelight.filters import compile_filter
from safelight.knobs import FILE_KNOBS, KNOBS
from safelight.recorded_settings import EARLIER, EXTRA
from safelight.web.guard import role_of
from safelight.web.sessions import Role
from safelight.web.turns import Turns

__all__ = [
    "GuestRoute", "ToolRoute", "guarded", "has_place", "is_owner", "is_place", "may_ask",
    "without_places",
]  # fmt: skip

_OWN_WORDS = ("q", "clause")
"""Keys of what the asker, or a link of the page, says; it must stay what was said."""

_ROOT = r"(?:/+|~\w*[/\\]|[A-Za-z]:[\\/]|\\\\)"
_PLACE = re.compile(rf"{_ROOT}[^/\\\s][^/\\\n]*[/\\]|[A-Za-z]:[\\/]\S")
_BEGINNING = rf"{_ROOT}[^/\\\s]+[/\\]"
_END = r"\s\"',;<>{}|`“”‘’"
_PLACE_INSIDE = re.compile(
    rf"(?<=')(?:{_BEGINNING})[^'\n]*(?=')|(?<=\")(?:{_BEGINNING})[^\"\n]*(?=\")"
    rf"|(?<![\w./\\)\]~%]){_ROOT}[^/\\{_END}][^{_END}]*[/\\][^{_END}]*"
)
"""In quotes a path goes on to their end; elsewhere it begins where no word, and no relative path
such as ``./a/b``, goes on, and it ends with a blank."""
_PLACE_IN_QUOTES = re.compile(rf"'(?:{_PLACE.pattern})")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_LONGEST_PATH = 4096
_FILES = {name for knob in FILE_KNOBS for name in (EXTRA + knob, EARLIER + knob)}
_NAMES = {name for name, knob in KNOBS.items() if knob.means == "name" and knob.has_column}
_COLUMN_IS_PLACE = (
    "({0} >= '/' and {0} < '0') or ({0} >= '~' and {0} < '\x7f') or {0} has '\\' or {0} has ':/'"
)
"""A name such as ``owner/name`` is none."""

_SETTING_IS_PLACE = "recorded({0}) has '/' or recorded({0}) has '\\'"


class GuestRoute(Route):
    """A route that guests may take, too."""


class ToolRoute(Route):
    """A route that tools may take, and owners, who may do everything."""


def guarded(routes: Sequence[Route], turns: Turns) -> list[Route]:
    """Return *routes*: only each :class:`GuestRoute` answers guests, :class:`ToolRoute` tools.

    Args:
        routes: What may be asked.
        turns: In which those are answered that need a thread.
    """
    for route in routes:
        if not inspect.iscoroutinefunction(route.endpoint):
            route.app = request_response(_in_turn(route.endpoint, turns))
        if isinstance(route, GuestRoute):
            route.app = _WithoutPlaces(route.app)
        else:
            others = frozenset({Role.TOOL}) if isinstance(route, ToolRoute) else frozenset()
            route.app = _OwnersOnly(route.app, others)
    return list(routes)


def _in_turn(
    endpoint: Callable[[Request], Response], turns: Turns
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return await turns.take(request, endpoint)

    return answer


def is_owner(request: Request) -> bool:
    """Return whether an owner asks."""
    return role_of(request.scope) is Role.OWNER


def may_ask(request: Request, q: str, sort: str = "") -> str:
    """Return the filter that is asked with *q*; a guest's could guess places on this machine.

    So it finds no picture of which what it names is a path: neither by a name that is one, nor by
    what is not that name.

    Raises:
        FilterError: *q* or *sort* of a guest names the column or a setting of files, or cannot
            be read.
    """
    if is_owner(request):
        return q
    known = {name: kind for name, kind in columns_of_view("images").items() if name != "path"}
    asked = compile_filter(q, known)
    if _FILES & {_plain(name) for name in asked.settings} or sort.removeprefix("-") == "path":
        raise FilterError("where files lie is known to the owner of the archive only")
    places = [
        *(_COLUMN_IS_PLACE.format(name) for name in sorted(asked.columns & _NAMES)),
        *(_SETTING_IS_PLACE.format(quoted(name)) for name in sorted(asked.settings)),
    ]
    return f"({q}) and not ({' or '.join(places)})" if places else q


def _plain(name: str) -> str:
    """Return *name* as databases may compare it: without case, and without any letter's marks."""
    letters = unicodedata.normalize("NFKD", name)
    return "".join(each for each in letters if not unicodedata.combining(each)).lower()


def is_place(text: str) -> bool:
    """Return whether *text* is a path from the root of a disk, or from somebody's home."""
    return len(text) <= _LONGEST_PATH and _PLACE.match(text) is not None


def has_place(text: str) -> bool:
    """Return whether guests are told something else than *text*."""
    return bool(without_places(text) != text)


def without_places(value: Any) -> Any:
    """Return *value* with the name at its end for every path, and no address."""
    if isinstance(value, str):
        if is_place(value):
            return _last_name(value)
        text = _ADDRESS.sub("(address)", value)
        return _PLACE_INSIDE.sub(lambda found: _last_name(found[0]), text)
    if isinstance(value, PurePath):
        return value.name
    if isinstance(value, Mapping):
        return {without_places(key): _inner(key, inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_places(inner) for inner in value]
    if isinstance(value, msgspec.Struct):
        own = {name: _inner(name, getattr(value, name)) for name in value.__struct_fields__}
        return msgspec.structs.replace(value, **own)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.init]
        own = {name: _inner(name, getattr(value, name)) for name in names}
        return dataclasses.replace(value, **own)
    return value


def _inner(key: Any, value: Any) -> Any:
    if key == "href" and isinstance(value, str):  # a filter in it may name a place
        return None if _PLACE_IN_QUOTES.search(unquote_plus(value)) else value
    return value if key in _OWN_WORDS else without_places(value)


def _last_name(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]


class _OwnersOnly:
    """Answers owners, and *others*; everybody else is told that it is not for them."""

    def __init__(self, app: ASGIApp, others: Set[Role]) -> None:
        self._app = app
        self._may = {Role.OWNER, *others}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if role_of(scope) not in self._may:
            raise HTTPException(403, "this is for the owner of the archive; guests look, rate, tag"
                                     " and export")  # fmt: skip
        await self._app(scope, receive, send)


class _WithoutPlaces:
    """Takes places out of what guests are answered as JSON."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if role_of(scope) is Role.OWNER:
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        parts: list[bytes] = []

        async def masked(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type") == "application/json":
                    start = message
                    return
            if start is None:
                await send(message)
                return
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                told = without_places(msgspec.json.decode(b"".join(parts)))
                body = msgspec.json.encode(told)
                MutableHeaders(scope=start)["content-length"] = str(len(body))
                await send(start)
                await send({"type": "http.response.body", "body": body})

        await self._app(scope, receive, masked)
