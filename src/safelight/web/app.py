"""create_app: the light table as an ASGI application, testable without a port."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from safelight.application.allowed_folders import AllowedFolders
from safelight.application.engine_list import EngineList
from safelight.application.page_configs import PageConfigs
from safelight.archive import Archive
from safelight.controller import PipelineController
from safelight.errors import (
    ArchiveError,
    ConfigError,
    ControllerError,
    ImageError,
    SafelightError,
    StorageError,
    sentence_of,
)
from safelight.web import (
    browse,
    compare,
    completing,
    contents,
    doors,
    dropped,
    executions,
    hand_over,
    importing,
    learn,
    live,
    look,
    places,
    posting,
    rating,
    runs,
    selection,
    sheets,
    sign_in,
    trash,
)
from safelight.web.admission import Admission
from safelight.web.description import description
from safelight.web.guard import LOOPBACK, Guard, most_of, role_of
from safelight.web.roles import GuestRoute, guarded, without_places
from safelight.web.sessions import Role
from safelight.web.table import HERE, LightTable, NotThere, json_answer
from safelight.web.turns import THREADS

__all__ = ["create_app"]

_log = logging.getLogger(__name__)
_THIS_MACHINE = ("127.0.0.1", "::1")
_OF_THE_ASKER = (SafelightError, msgspec.MsgspecError, ClientDisconnect, RecursionError)
_ErrorHandler = Callable[[Request, Exception], Response]
_PARTS = (
    browse, completing, look, compare, sheets, runs, contents, learn, live, places, trash,
    hand_over, doors, importing, dropped, posting, executions,
)  # fmt: skip


def create_app(
    archive: Archive | Path | str,
    controller: PipelineController | None = None,
    *,
    admission: Admission | None = None,
    hosts: Sequence[str] = LOOPBACK,
    allow: Sequence[Path] = (),
    settings: Path | None = None,
    home: Path | None = None,
    environ: Mapping[str, str] = MappingProxyType({}),
    watch: Sequence[Path] = (),
) -> Starlette:
    """Return the light table over *archive*.

    Args:
        archive: The archive or its folder.
        controller: Runs what people start from the page; without it nothing can be run.
        admission: Lets people in, as owners or as guests; without it everybody is an owner.
        hosts: Names under which browsers may call it; empty for every name, which is safe
            only where people are let in.
        allow: Folders below which configs from the page may name files, beside the archive's
            pictures.
        settings: The folder of the owner's lists of engines and of folders; None is no such list.
        home: The owner's, where folders of pictures are looked for.
        environ: The environment, for secrets that engines of the list take from there.
        watch: Folders that are watched beside it while it is served.

    Raises:
        ValueError: Every name is let through, and everybody is.
    """
    if not hosts and admission is None:
        raise ValueError("hosts may be empty only where an admission says who is let in")
    folder = archive.path if isinstance(archive, Archive) else Path(archive)
    configs = PageConfigs(
        archive=folder, allow=tuple(allow), engines=EngineList(settings),
        folders=AllowedFolders(settings),
    )  # fmt: skip
    table = LightTable.of(
        folder, controller, signs_in=admission is not None, configs=configs, home=home,
        environ=environ, watch=watch, of_tools="" if admission is None else admission.of_tools,
    )  # fmt: skip
    allowance = rating.guests_allowance()
    strangers, known = sign_in.routes(table, admission)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = THREADS
        # The first rating should not have to wait until all others were read.
        threading.Thread(target=table.ratings.catch_up, daemon=True).start()
        await to_thread.run_sync(table.posted.begin)
        yield
        table.ratings.close()
        await to_thread.run_sync(table.posted.close)
        await to_thread.run_sync(table.imports.close)
        await to_thread.run_sync(table.answers.close)
        await to_thread.run_sync(table.archive.close)
        if admission is not None:
            await to_thread.run_sync(admission.sessions.close)

    app = Starlette(
        routes=[
            *strangers,
            *guarded(
                [
                    *known,
                    *rating.routes(table, allowance),
                    *selection.routes(table, allowance),
                    *(route for part in _PARTS for route in part.routes(table)),
                ],
                table.turns,
            ),
            GuestRoute("/api/openapi.json", lambda request: json_answer(description())),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
        middleware=[
            Middleware(Guard, hosts=hosts, admission=admission),
            Middleware(_Squeezed, minimum_size=2000, compresslevel=5),
            Middleware(_Unforeseen, handler=_error_handler(table)),
        ],
        exception_handlers={
            SafelightError: _error_handler(table),
            msgspec.MsgspecError: _error_handler(table),
            ClientDisconnect: _error_handler(table),
            HTTPException: _error_handler(table),
        },
        lifespan=lifespan,
    )
    app.state.table = table
    return app


class _Squeezed(GZipMiddleware):
    """Compresses what goes over a network; on this machine that would only cost time."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        client = scope.get("client")
        if client is not None and client[0] in _THIS_MACHINE:
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class _Unforeseen:
    """Answers what nobody foresaw with a sentence; the terminal is told, and nothing else stops."""

    def __init__(self, app: ASGIApp, handler: _ErrorHandler) -> None:
        self._app = app
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        began = False

        async def sent(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self._app(scope, receive, sent)
        except Exception as error:
            if scope["type"] != "http":
                raise
            _log.info("%s: where it happened", scope["path"], exc_info=True)
            request = Request(scope, receive)
            answer = await to_thread.run_sync(self._handler, request, error)
            if not began:  # otherwise the server closes what was cut short
                await answer(scope, receive, send)


def _error_handler(table: LightTable) -> _ErrorHandler:
    def answer(request: Request, error: Exception) -> Response:
        status = _status(error)
        message = str(error)
        if isinstance(error, HTTPException):
            message = error.detail
        elif isinstance(error, RecursionError):
            message = "what was sent nests too deep"
        elif isinstance(error, ClientDisconnect):  # who did go hears nothing of it
            message = f"a request may carry {most_of(request.scope):,} bytes at most"
        elif status >= 500:
            message = sentence_of(error)
            _log.warning("%s: %s", request.url.path, message)
        if role_of(request.scope) is not Role.OWNER:
            message = without_places(message)
        wants_page = "text/html" in request.headers.get("accept", "")
        if wants_page and not request.url.path.startswith("/api/"):
            # What was typed is there to be put right, unless something else was wrong.
            typed = request.query_params.get("q", "") if status == 400 else ""
            told_as: dict[str, Any] = {"message": message, "code": status, "q": typed}
            return table.page(request, "fault", status=status, **told_as)
        headers = getattr(error, "headers", None)
        told: dict[str, Any] = {"error": message}
        if isinstance(error, ConfigError) and role_of(request.scope) is Role.OWNER:
            told["faults"] = [{"path": f.path, "message": f.message} for f in error.faults]
        return json_answer(told, status, headers)

    return answer


def _status(error: Exception) -> int:
    if isinstance(error, HTTPException):
        return error.status_code
    if isinstance(error, NotThere):
        return 404
    if isinstance(error, ControllerError):
        return 409
    if isinstance(error, ClientDisconnect):
        return 413
    if isinstance(error, ImageError):
        return 422
    if isinstance(error, (StorageError, ArchiveError)):
        return 503
    return 400 if isinstance(error, _OF_THE_ASKER) else 500
