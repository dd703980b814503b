"""sign_in: the page that lets people in and out."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_plus

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from safelight.web.admission import Admission, TooManyGuesses
from safelight.web.guard import account_of_asker, cookie_name, role_of, session_of
from safelight.web.roles import GuestRoute
from safelight.web.sessions import SESSION_LIFE
from safelight.web.table import LightTable, body_of, json_answer

__all__ = ["routes"]


_MOST_FIELDS = 10


class _Link(msgspec.Struct):
    link: str = ""


def routes(table: LightTable, admission: Admission | None) -> tuple[list[Route], list[Route]]:
    """Return what strangers may ask, and what only who is in may ask."""

    def form(request: Request, fault: str = "", status: int = 200) -> Response:
        takes_token = admission is not None and bool(admission.tokens)
        role = role_of(request.scope)
        return table.page(
            request, "login", fault=fault, status=status, takes_token=takes_token,
            first={"role": role, "next": _within(request.query_params.get("next", ""))},
        )  # fmt: skip

    async def enter(request: Request) -> Response:
        """Take a link's secret as JSON, or a token from the form; begin a session."""
        if admission is None:
            return RedirectResponse("/", status_code=303)
        account = account_of_asker(request.scope)
        if request.headers.get("content-type", "").startswith("application/json"):
            given: _Link = await body_of(request, _Link)
            session = await run_in_threadpool(admission.by_link, given.link, account)
            if session is None:
                return json_answer({"error": "this link was used, or is older than ten minutes"},
                                   401)  # fmt: skip
            return _signed_in(request, json_answer({"signed_in": True}), session)
        text = (await request.body()).decode("utf-8", "replace")
        fields = dict(part.partition("=")[::2] for part in text.split("&", _MOST_FIELDS))
        token = unquote_plus(fields.get("token", ""))
        address = request.client.host if request.client else ""
        try:
            session = await run_in_threadpool(admission.by_token, token, address, account)
        except TooManyGuesses as error:
            answer = form(request, f"{str(error).capitalize()}.", 429)
            answer.headers["Retry-After"] = str(error.seconds)
            return answer
        if session is None:
            return form(request, "That is not the token.", 401)
        to = _within(request.query_params.get("next", ""))
        return _signed_in(request, RedirectResponse(to, status_code=303), session)

    async def leave(request: Request) -> Response:
        if admission is not None:
            await run_in_threadpool(admission.sessions.end, session_of(request.scope))
        return _signed_out(request)

    async def leave_everywhere(request: Request) -> Response:
        if admission is not None:
            await run_in_threadpool(admission.sessions.end_all)
        return _signed_out(request)

    def session(request: Request) -> Response:
        return json_answer({"role": role_of(request.scope)})

    strangers = [Route("/login", form), Route("/login", enter, methods=["POST"])]
    known: list[Route] = [
        GuestRoute("/logout", leave, methods=["POST"]),
        Route("/logout/everywhere", leave_everywhere, methods=["POST"]),
        GuestRoute("/api/session", session),
    ]
    return strangers, known


def _signed_in(request: Request, answer: Response, session: str) -> Response:
    answer.set_cookie(
        cookie_name(request.scope), session, httponly=True, samesite="strict",
        max_age=SESSION_LIFE, secure=request.url.scheme == "https",
    )  # fmt: skip
    return answer


def _signed_out(request: Request) -> Response:
    answer = RedirectResponse("/login", status_code=303)
    answer.delete_cookie(cookie_name(request.scope), httponly=True, samesite="strict")
    return answer


def _within(path: str) -> Any:
    r"""Return *path* where it is one of this server; browsers read ``/\`` as ``//``, too."""
    plain = path.startswith("/") and path[1:2] not in ("/", "\\") and path.isprintable()
    return path if plain and not path.startswith("/login") else "/"
