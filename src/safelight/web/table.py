"""LightTable: what every part of the page works with, and how answers are written."""

from __future__ import annotations

import functools
import hashlib
import platform
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jinja2
import msgspec
from anyio import fail_after
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from safelight.application.blanks import Blanks
from safelight.application.engine_facts import EngineFacts
from safelight.application.jobs import secret_options
from safelight.application.live_runs import LiveRuns
from safelight.application.page_configs import PageConfigs
from safelight.application.picture_settings import label_of
from safelight.application.posted_lines import PostedLines
from safelight.archive.answer import columns_of_view, without_discarded
from safelight.archive.running_runs import RUNNING
from safelight.config import BackendChoice
from safelight.controller import PipelineController
from safelight.errors import ArchiveError, FilterError
from safelight.filters import compile_filter
from safelight.learning.learning_record import LearningRecord
from safelight.learning.ratings import RatingStore, ratings_folder
from safelight.version import __version__
from safelight.web.answering_process import AnsweringProcess
from safelight.web.guard import role_of
from safelight.web.heavy_questions import Answers
from safelight.web.held_archive import HeldArchive
from safelight.web.import_queue import ImportQueue
from safelight.web.pictures import Pictures
from safelight.web.roles import without_places
from safelight.web.run_queue import RunQueue
from safelight.web.sessions import Role
from safelight.web.turns import Turns

__all__ = [
    "HERE",
    "LightTable",
    "NotThere",
    "body_of",
    "checked_filter",
    "json_answer",
    "read_body",
    "sent_body",
    "whole_body",
    "without_discarded",
]

HERE = Path(__file__).parent
LONGEST_FILTER = 4000
"""Characters of a filter; longer ones are refused before they are read."""

STALLED = 20.0
"""Seconds without a byte after which nobody waits for the rest of a body."""

_RECORDS_KEPT, _PICTURES_KEPT = 64, 5_000
"""Records that were read last, and pictures that they name together: one may name thousands."""


class NotThere(ArchiveError):
    """The archive has no such picture or run."""


@dataclass(frozen=True, kw_only=True)
class LightTable:
    """One archive on the table.

    Attributes:
        archive: Held open.
        blanks: What other tools executed and that ended without a picture.
        pictures: Its files.
        ratings: Where what people say goes.
        answers: What takes long, and is worked out elsewhere.
        answering: Where.
        imports: Folders that are imported from here.
        posted: What tools tell of their executions.
        of_tools: The token with which they may; empty where everybody is an owner.
        home: The owner's; None where nobody says.
        live: Runs that go on, whoever started them.
        runs: What was started from here; its controller is None where nothing can be run.
        configs: Reads configs that come from here.
        facts: Which engines are ready, and what they have.
        turns: In which those who ask are answered.
        signs_in: Whether people are let in, and may sign out.
        closing: Set when the server stops, so that pages that listen are let go.
    """

    archive: HeldArchive
    blanks: Blanks
    pictures: Pictures
    ratings: RatingStore
    answers: Answers
    answering: AnsweringProcess
    live: LiveRuns
    runs: RunQueue
    imports: ImportQueue
    posted: PostedLines
    of_tools: str
    configs: PageConfigs
    facts: EngineFacts
    home: Path | None = None
    signs_in: bool = False
    turns: Turns = field(default_factory=Turns, repr=False)
    closing: threading.Event = field(default_factory=threading.Event, repr=False)
    _records: dict[str, tuple[object, LearningRecord]] = field(default_factory=dict, repr=False)
    _keeping: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _pages: jinja2.Environment = field(repr=False)

    @staticmethod
    def of(
        archive: Path,
        controller: PipelineController | None,
        *,
        signs_in: bool,
        configs: PageConfigs | None = None,
        home: Path | None = None,
        environ: Mapping[str, str] = MappingProxyType({}),
        watch: Sequence[Path] = (),
        of_tools: str = "",
    ) -> LightTable:
        """Return the table over the archive folder *archive*."""
        told = configs or PageConfigs(archive=archive)

        def engine(name: str) -> BackendChoice:
            choice = told.engines.of_page(BackendChoice(name=name))
            return replace(choice, options=secret_options(choice.options, environ))

        held = HeldArchive(archive, running=True)
        answering = AnsweringProcess(archive)
        pages = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        pages.filters["json_block"] = _json_block
        pages.filters["setting_label"] = label_of
        ratings = RatingStore(ratings_folder(archive), root=archive)
        return LightTable(
            archive=held,
            blanks=Blanks(held),
            pictures=Pictures(held),
            ratings=ratings,
            answers=Answers(answering, held.signature_now, ratings=ratings.judgements),
            answering=answering,
            live=LiveRuns(archive, host=platform.node()),
            runs=RunQueue(controller),
            imports=ImportQueue(archive),
            posted=PostedLines(archive, watched=watch, environ=environ),
            of_tools=of_tools,
            home=home,
            configs=told,
            facts=EngineFacts(engine),
            signs_in=signs_in,
            _pages=pages,
        )

    @functools.cached_property
    def archive_key(self) -> str:
        """What tells this archive from another at the same address, in the browser's memory."""
        return hashlib.sha256(str(self.archive.path.resolve()).encode()).hexdigest()[:16]

    def page(self, request: Request, name: str, *, status: int = 200, **values: Any) -> Response:
        """Return the page of template *name*."""
        role = role_of(request.scope)
        if role is Role.GUEST:
            values = without_places(values)
        text = self._pages.get_template(f"{name}.html").render(
            view=name,
            role=role,
            version=__version__,
            archive_key="" if role is None else self.archive_key,
            archive_name="" if role is None else self.archive.path.resolve().name,
            can_run=self.runs.controller is not None and role is Role.OWNER,
            signs_in=self.signs_in,
            left_out=0 if role is None else len(self.archive.left_out()),
            here=request.url.path,
            **values,
        )
        return HTMLResponse(text, status_code=status)

    def record(self, run_id: str) -> LearningRecord:
        """Return the record of a run.

        Raises:
            NotThere: There is none.
        """
        # Read again when the records have changed: a better one of the run may be there.
        signature = self.archive.records_signature()
        kept = self._records.get(run_id)
        if kept is not None and kept[0] == signature:
            return kept[1]
        try:
            record = self.archive.record(run_id)
        except ArchiveError as error:
            raise NotThere(str(error)) from error
        if record.status == RUNNING:
            return record
        with self._keeping:
            self._records.pop(run_id, None)
            self._records[run_id] = signature, record
            pictures = sum(len(each.outputs) for _, each in self._records.values())
            while len(self._records) > _RECORDS_KEPT or pictures > _PICTURES_KEPT:
                pictures -= len(self._records.pop(next(iter(self._records)))[1].outputs)
        return record

    def __hash__(self) -> int:
        return id(self)


def _json_block(value: Any) -> str:
    """Return *value* as JSON that can stand inside a script element of data."""
    import markupsafe

    text = msgspec.json.encode(value).decode()
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return markupsafe.Markup(text)  # noqa: S704 - escaped above


def json_answer(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return *value* as JSON."""
    return Response(
        msgspec.json.encode(value), status, media_type="application/json", headers=headers
    )


def checked_filter(text: str) -> str:
    """Return *text* when it can be read as a condition for pictures.

    Raises:
        FilterError: It cannot, or is too long.
    """
    compile_filter(short_filter(text), columns_of_view("images"))
    return text


def short_filter(text: str) -> str:
    """Return *text*, which is read as a filter by whoever is asked with it.

    Raises:
        FilterError: It is too long.
    """
    if len(text) > LONGEST_FILTER:
        raise FilterError(f"a filter may have {LONGEST_FILTER:,} characters, got {len(text):,}")
    return text


async def body_of(request: Request, form: type[Any]) -> Any:
    """Return the request's JSON body as a *form*.

    Raises:
        msgspec.ValidationError: It does not fit.
        msgspec.DecodeError: It is no JSON.
    """
    return read_body(await sent_body(request), form)


async def sent_body(request: Request) -> bytes:
    """Return the request's JSON body as it came, for :func:`read_body`.

    Raises:
        msgspec.ValidationError: It is said to be something else.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise msgspec.ValidationError("the body must be JSON, with Content-Type application/json")
    return await request.body()


async def whole_body(request: Request) -> bytes:
    """Return the request's body, for which others wait: who sends nothing for long is sent away.

    Raises:
        HTTPException: Nothing came for :data:`STALLED` seconds.
    """
    body, parts = bytearray(), request.stream()
    try:
        while True:
            with fail_after(STALLED):
                body += await anext(parts)
    except StopAsyncIteration:
        return bytes(body)
    except TimeoutError as error:
        raise HTTPException(408, f"nothing came for {STALLED:g} s; send it again") from error


def read_body(body: bytes, form: type[Any]) -> Any:
    """Return *body* as a *form*; what was read of a megabyte may take thirty.

    Raises:
        msgspec.ValidationError: It does not fit.
        msgspec.DecodeError: It is no JSON.
    """
    try:
        return msgspec.json.decode(body, type=form)
    except RecursionError as error:
        raise msgspec.ValidationError("the body nests too deep") from error
    except UnicodeDecodeError as error:
        raise msgspec.ValidationError(f"the body is no UTF-8: {error}") from error
