"""What the light table is served with: its engine, and a server that lets listeners go."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvicorn

from safelight.archive import Archive
from safelight.archive_layout import records_folder
from safelight.backends import create_backend
from safelight.cli.archived_pictures import ArchivedPictures, continuation_of
from safelight.cli.continuing import resume_note
from safelight.config import PipelineConfig
from safelight.errors import SafelightError
from safelight.learning import LearningRecordWriter
from safelight.pipeline import (
    Backend,
    CancelToken,
    PipelineRunner,
    ProgressCallback,
    RunResult,
    recover_interrupted_runs,
)
from safelight.pipeline.retry import RetryPolicy

__all__ = ["EngineRunner", "TableServer"]

_PACK_FROM = 1000
_log = logging.getLogger(__name__)
_ACCEPTED = 0.01
"""Seconds after which a connection that was accepted is known to the server."""


class EngineRunner:
    """Runs each config on the engine that it names; the last engine stays ready.

    Args:
        archive: Where pictures and records go.
    """

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._lock = threading.Lock()
        self._named = ""
        self._backend: Backend | None = None
        self._writer = LearningRecordWriter(records_folder(archive))
        recover_interrupted_runs(archive, self._writer)

    def run(
        self,
        config: PipelineConfig | Mapping[str, Any],
        *,
        cancel: CancelToken | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> RunResult:
        """Carry out *config*.

        Raises:
            SafelightError: It could not begin.
        """
        if not isinstance(config, PipelineConfig):
            config = replace(PipelineConfig.from_mapping(config), stated=config)
        continues = None
        if config.continues:
            continues = continuation_of(Archive(self._archive), config.continues, only_failed=False)
        runner = PipelineRunner(
            self._engine(config),
            archive_dir=self._archive,
            learning_record_writer=self._writer,
            retry=RetryPolicy(),
            library=ArchivedPictures(Archive(self._archive)),
        )
        result = runner.run(
            config, cancel=cancel, on_progress=on_progress, continues=continues,
            resume=resume_note(config),
        )  # fmt: skip
        try:
            Archive(self._archive).pack(at_least=_PACK_FROM)
        except (SafelightError, OSError) as error:
            _log.warning("the records were not packed: %s", error)
        return result

    def _engine(self, config: PipelineConfig) -> Backend:
        chosen = config.backend
        named = json.dumps([chosen.name, dict(chosen.options)], default=str, sort_keys=True)
        with self._lock:
            if self._backend is None or named != self._named:
                self._let_go()
                made = create_backend(chosen.name, chosen.options, folder=config.folder)
                self._backend, self._named = made, named
            return self._backend

    def _let_go(self) -> None:
        close = getattr(self._backend, "close", None)
        if close is not None:
            close()
        self._backend = None

    def close(self) -> None:
        """Let the engine go, and write what is still to be written."""
        with self._lock:
            self._let_go()
        self._writer.close()


class TableServer(uvicorn.Server):
    """Ends the streams that pages listen to, and leaves no connection behind."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop serving."""
        app: Any = self.config.app
        app.state.table.closing.set()
        # For some turns of the loop a connection that was just accepted is not among uvicorn's,
        # which would wait for it in vain, and asyncio loses it when the server is closed in them.
        self._accept_no_more()
        await asyncio.sleep(_ACCEPTED)
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):  # who does not read its answer
            if connection.transport is not None:
                connection.transport.abort()
        await asyncio.sleep(0)

    def _accept_no_more(self) -> None:
        loop = asyncio.get_running_loop()
        for server in self.servers:
            for listening in server.sockets:
                with contextlib.suppress(NotImplementedError, RuntimeError):  # not every loop's way
                    loop.remove_reader(listening.fileno())
