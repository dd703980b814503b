"""places: which engines and folders configs from the page may name; the owner changes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.application.engine_at import engine_at
from safelight.archive_layout import pictures_folder
from safelight.backends import BUILT_IN
from safelight.errors import ConfigError, RequestError
from safelight.web.table import LightTable, body_of, json_answer

__all__ = ["engine_states", "has_engine", "routes", "short_text"]

_LONGEST = 4000


class _Engine(msgspec.Struct):
    """An engine to add: its name and where it listens."""

    name: str
    url: str


class _Folder(msgspec.Struct):
    """A folder to add or to take out again."""

    folder: str


def _backends(table: LightTable) -> dict[str, str]:
    """Return the engines that configs from the page may name, those of the list first."""
    listed = {name: engine.backend for name, engine in table.configs.engines.read().items()}
    return {**listed, **{name: name for name in sorted(BUILT_IN)}}


def has_engine(table: LightTable, name: str) -> bool:
    """Return whether a config from the page may name the engine *name*."""
    if name in BUILT_IN:
        return True
    try:
        return name in table.configs.engines.read()
    except ConfigError:
        return False


def engine_states(table: LightTable) -> list[dict[str, Any]]:
    """Return each engine and whether it is ready, as far as that is known; nothing is waited for.

    Raises:
        ConfigError: The list of engines is at fault.
    """
    told = [(name, backend, table.facts.of(name)) for name, backend in _backends(table).items()]
    return [
        {"name": name, "backend": backend, "state": state.state, "message": state.message}
        for name, backend, state in told
    ]


def routes(table: LightTable) -> list[Route]:
    """Return what the browser asks about engines and folders."""
    configs = table.configs

    def engines() -> dict[str, Any]:
        listed = [
            {"name": engine.name, "backend": engine.backend}
            for engine in configs.engines.read().values()
        ]
        return {"engines": listed, "built_in": sorted(BUILT_IN)}

    def folders() -> dict[str, Any]:
        return {
            "pictures": str(pictures_folder(configs.archive)),
            "allowed": [str(folder) for folder in configs.allow],
            "added": [str(folder) for folder in configs.folders.read()],
        }

    def add_engine(given: _Engine) -> dict[str, Any]:
        url = short_text(given.url, "an address")
        configs.engines.add(given.name, url, engine_at(url, {}))
        return engines()

    def add_folder(given: _Folder) -> dict[str, Any]:
        folder = Path(short_text(given.folder, "a folder"))
        if not folder.is_absolute():
            raise RequestError(f"a folder must be named wholly, got {given.folder!r}")
        configs.folders.add(folder)
        return folders()

    def remove_folder(given: _Folder) -> dict[str, Any]:
        configs.folders.remove(Path(short_text(given.folder, "a folder")))
        return folders()

    def states(request: Request) -> Response:
        """Tell which engines are ready, of one with what it has; nothing is waited for."""
        name, again = request.query_params.get("name", ""), "again" in request.query_params
        if not name:
            return json_answer({"engines": engine_states(table)})
        if name not in _backends(table):
            raise RequestError(f"there is no engine {name[:100]!r} here")
        state = table.facts.of(name, again=again)
        return json_answer(
            {"state": state.state, "message": state.message, "choices": state.choices}
        )

    def listed_engines(request: Request) -> Response:
        return json_answer(engines())

    def listed_folders(request: Request) -> Response:
        return json_answer(folders())

    async def post_engine(request: Request) -> Response:
        given = await body_of(request, _Engine)
        return json_answer(await run_in_threadpool(add_engine, given), 201)

    async def post_folder(request: Request) -> Response:
        given = await body_of(request, _Folder)
        return json_answer(await run_in_threadpool(add_folder, given), 201)

    async def delete_folder(request: Request) -> Response:
        given = await body_of(request, _Folder)
        return json_answer(await run_in_threadpool(remove_folder, given))

    return [
        Route("/api/engines", listed_engines),
        Route("/api/engines/states", states),
        Route("/api/engines", post_engine, methods=["POST"]),
        Route("/api/folders", listed_folders),
        Route("/api/folders", post_folder, methods=["POST"]),
        Route("/api/folders", delete_folder, methods=["DELETE"]),
    ]


def short_text(text: str, what: str) -> str:
    """Return *text*, of a length and signs that a name or an address may have.

    Raises:
        RequestError: It is none; *what* says what was wanted.
    """
    if not text or len(text) > _LONGEST or not text.isprintable():
        raise RequestError(f"{what} must be a text of at most {_LONGEST:,} characters")
    return text
