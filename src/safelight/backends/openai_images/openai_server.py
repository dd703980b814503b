"""openai_server: one server of ``/v1/images``, from the first question to the finished picture.

A request has no name there and nothing tells how far it is, so it is posted once. Only what was
certainly not begun is asked again or elsewhere: nobody listened, or the answer was 429 or 503.
Of whatever else is lost nobody knows whether it was drawn, and that is what is said.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import httpx

from safelight.backends.engine_server import Answer, EngineServer
from safelight.backends.openai_images.answers import read_drawing
from safelight.backends.openai_images.dialects import Abilities, look_around
from safelight.backends.openai_images.payloads import Payload, drawing_payload
from safelight.backends.openai_images.refusals import is_out_of_money, refusal
from safelight.backends.server_group import NotBegun
from safelight.backends.upscalers import upscaled
from safelight.errors import (
    BackendError,
    BackendLoginRefused,
    BackendOutcomeUnknown,
    BackendUnavailable,
)
from safelight.pipeline.backend import (
    DrawingRequest,
    Generation,
    ImageRequest,
    StepCallback,
    UpscaleRequest,
)

__all__ = ["OpenAiServer"]

_BEAT = 1.0
"""Seconds between two signs of life while a server draws; at each a run may be stopped."""
_QUICK = 5.0


class OpenAiServer:
    """Draws on one server, one request at a time.

    Attributes:
        server: Its address and connections.

    Args:
        server: Its address and connections.
        named: What it is; empty where it is to be found out.
        timeout: Seconds that one request may take.
        cfg_field: Where ``cfg_scale`` goes; empty where the model's name decides.
    """

    def __init__(
        self,
        server: EngineServer,
        *,
        named: str,
        timeout: float,
        cfg_field: str,
    ) -> None:
        self.server = server
        self._named, self._timeout, self._cfg_field = named, timeout, cfg_field
        self._abilities: Abilities | None = None
        self._asking = threading.Lock()

    def abilities(self, *, fresh: bool = False) -> Abilities:
        """Return what the server has, asked once.

        Raises:
            BackendUnavailable: It does not answer.
            BackendError: It wants a key, or nothing says what it is.
        """
        with self._asking:
            if self._abilities is None or fresh:
                try:
                    self._abilities = look_around(self.server, self._named)
                except BackendLoginRefused as error:
                    raise self._wants_key() from error
            return self._abilities

    def generate(self, request: ImageRequest, on_step: StepCallback, done: int) -> Generation:
        """Return the next answer to *request*: one picture where they are drawn apart, else all.

        Args:
            request: What to carry out, whole.
            on_step: Told that the server draws, and when it has.
            done: How many of its first pictures are there already.

        Raises:
            NotBegun: The server certainly did not begin, so another one may be tried.
            BackendOutcomeUnknown: It may have drawn, and its answer is lost.
            BackendError: It refused.
        """
        if isinstance(request, UpscaleRequest):
            return upscaled(request, on_step)
        try:
            abilities = self.abilities()
        except BackendUnavailable as error:
            raise NotBegun(str(error)) from error
        try:
            generation = self._draw(request, abilities, on_step, done)
        except BackendUnavailable:
            self._abilities = None  # it may come back as another one
            raise
        steps = generation.images[0].effective.get("steps")
        steps = steps if isinstance(steps, int) and steps > 0 else 1
        wanted = request.batch_size or 1
        on_step((done + len(generation.images)) * steps, wanted * steps)
        return generation

    def _draw(
        self, request: DrawingRequest, abilities: Abilities, on_step: StepCallback, done: int
    ) -> Generation:
        rest = replace(request, seed=request.seed + done)
        wanted = request.batch_size or 1
        number = 1 if abilities.dialect.batches == "apart" else wanted - done
        payload = self._payload(rest, abilities, number)
        answer = self._carried_out(payload, partial(on_step, done, wanted))
        return read_drawing(self.server, abilities, rest, payload, answer, self._fetched)

    def _payload(self, request: DrawingRequest, abilities: Abilities, number: int) -> Payload:
        options: dict[str, Any] = {"number": number, "cfg_field": self._cfg_field}
        try:
            return drawing_payload(request, abilities, **options)
        except BackendError:
            try:
                newer = self.abilities(fresh=True)  # a model may have been loaded since
            except BackendUnavailable as error:
                raise NotBegun(str(error)) from error
            if newer == abilities:
                raise
            return drawing_payload(request, newer, **options)

    def _carried_out(self, payload: Payload, beat: Callable[[], None]) -> Answer:
        """Post *payload* from a thread of its own, and wait for what comes of it."""
        outcome: SimpleQueue[Answer | BaseException] = SimpleQueue()

        def post() -> None:
            try:
                outcome.put(self._posted(payload))
            except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
                outcome.put(error)

        threading.Thread(target=post, name="safelight images", daemon=True).start()
        deadline = time.monotonic() + self._timeout + _QUICK
        while True:
            try:
                ended = outcome.get(timeout=_BEAT)
            except Empty:
                if time.monotonic() > deadline:
                    raise self._too_slow() from None
                try:
                    beat()
                except BaseException as stop:
                    stop.add_note(f"{self.server} is not told, and may draw the picture to its end")
                    raise
                continue
            if isinstance(ended, Answer):
                return ended
            raise ended

    def _posted(self, payload: Payload) -> Answer:
        refused: list[Answer] = []

        def explain(answer: Answer) -> str | None:
            refused.append(answer)
            return refusal(answer)

        body: dict[str, Any] = {"json": payload.body}
        if payload.files:
            fields = {name: _form_text(value) for name, value in payload.body.items()}
            body = {"files": payload.files, "data": fields}
        try:
            return self.server.ask(
                "POST", payload.path, timeout=self._timeout, explain=explain, **body
            )
        except BackendLoginRefused as error:
            raise self._wants_key() from error
        except BackendUnavailable as error:
            raise self._lost(error, refused[0] if refused else None) from error

    def _lost(self, error: BackendUnavailable, refused: Answer | None) -> BackendError:
        """Return what is to be said of a request that *error* ended."""
        cause = error.__cause__
        if refused is not None and refused.status == 429 and is_out_of_money(refused):
            return BackendError(f"{self.server} refused: {refusal(refused)}")
        if refused is not None and refused.status in (429, 503):
            return NotBegun(str(error))
        if isinstance(cause, (httpx.ConnectError, httpx.ConnectTimeout)):
            return NotBegun(str(error))
        if isinstance(cause, httpx.TimeoutException):
            return self._too_slow()
        return BackendOutcomeUnknown(f"{error}; the picture may have been drawn there")

    def _too_slow(self) -> BackendOutcomeUnknown:
        return BackendOutcomeUnknown(
            f"{self.server} drew for longer than timeout = {self._timeout:g} s, which the backend's"
            " table sets; the picture may have been drawn there"
        )

    def _wants_key(self) -> BackendLoginRefused:
        return BackendLoginRefused(
            f"{self.server} wants another key (401); set api_key in the backend's table, best as"
            ' "env:NAME"'
        )

    def _fetched(self, url: str) -> bytes:
        try:
            return self.server.fetch(url, timeout=self._timeout).content
        except BackendUnavailable as error:
            raise BackendOutcomeUnknown(f"the picture was drawn, but {error}") from error
        except BackendError as error:
            raise BackendError(f"the picture was drawn, but {error}") from error


def _form_text(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value)
