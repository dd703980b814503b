"""engine_facts: which engines are ready, and what each of them has, without waiting for any.

Each is asked by a thread of its own, with a limit; whoever wants to know has the last answer at
once, and asks again.
"""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from safelight.backends import create_backend, engine_factory
from safelight.config import BackendChoice
from safelight.errors import (
    BackendError,
    BackendLoginRefused,
    BackendUnavailable,
    SafelightError,
    sentence_of,
)
from safelight.pipeline.backend import Backend, Closes, ListsChoices, ListsLoras

__all__ = ["EngineFacts", "EngineState"]

_LIMIT = 8.0
_GOOD_FOR = {"ready": 60.0, "off": 4.0, "missing": 60.0, "slow": 4.0}
"""State -> seconds until the engine is asked again by who wants to know."""

_MOST_NAMES = 5000
_LORA = "lora"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineState:
    """What is known of one engine.

    Attributes:
        state: ``asking``; ``ready``; ``off``, it does not answer or refuses; ``missing``, a package
            is not installed; ``slow``, it has not said anything within the limit.
        choices: Knob -> the names that it has; ``lora`` among them.
        message: Why it is not ready, and what to do.
    """

    state: Literal["asking", "ready", "off", "missing", "slow"]
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    message: str = ""


@dataclass(slots=True)
class _Asked:
    """One engine: the last answer, when that was, and since when it is being asked."""

    last: EngineState = EngineState(state="asking")
    at: float = 0.0
    since: float | None = None


class EngineFacts:
    """Asks engines in the background.

    Args:
        choice_of: Returns what a name means, secrets put in; it may raise a `SafelightError`.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        choice_of: Callable[[str], BackendChoice],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._choice_of, self._clock = choice_of, clock
        self._asked: dict[str, _Asked] = {}
        self._lock = threading.Lock()

    def of(self, name: str, *, again: bool = False) -> EngineState:
        """Return what is known of the engine *name* now, and see to it that more will be.

        Args:
            name: As configs have it.
            again: Whether to ask it even if it was asked a moment ago.
        """
        with self._lock:
            asked = self._asked.setdefault(name, _Asked())
            now = self._clock()
            if asked.since is None:
                is_old = now - asked.at > _GOOD_FOR.get(asked.last.state, 0.0)
                if asked.last.state == "asking" or is_old or again:
                    asked.since = now
                    threading.Thread(target=self._ask, args=(name, asked), daemon=True).start()
            elif now - asked.since > _LIMIT and asked.last.state in ("asking", "ready"):
                message = f"it has said nothing for {_LIMIT:.0f} seconds; look at its own window"
                return replace(asked.last, state="slow", message=message)
            return asked.last

    def _ask(self, name: str, asked: _Asked) -> None:
        state = self._answer(name)
        with self._lock:
            asked.last, asked.at, asked.since = state, self._clock(), None

    def _answer(self, name: str) -> EngineState:
        try:
            choice = self._choice_of(name)
        except SafelightError:
            message = "your list of engines is at fault, or a secret that it names is not set"
            return EngineState(state="off", message=message)
        try:
            for package in getattr(engine_factory(choice.name), "packages", ()):
                if importlib.util.find_spec(package) is None:
                    extra = f"safelight[{choice.name}]"
                    message = f"{package} is missing; install it with: pip install '{extra}'"
                    return EngineState(state="missing", message=message)
            backend = create_backend(choice.name, choice.options)
        except BackendError as error:
            return EngineState(state="missing", message=_told(error, choice))
        try:
            return EngineState(state="ready", choices=_choices(backend))
        except Exception as error:  # noqa: BLE001 - an engine may raise anything
            return EngineState(state="off", message=_told(error, choice))
        finally:
            if isinstance(backend, Closes):
                backend.close()


def _told(error: Exception, choice: BackendChoice) -> str:
    """Return why an engine is not ready, without the address that the owner's list has of it."""
    if isinstance(error, BackendLoginRefused):
        return "it refuses the login that your list has for it"
    if isinstance(error, BackendUnavailable):
        # What a config could say comes behind a semicolon.
        return "it does not answer" if choice.listed else str(error).partition(";")[0]
    told = sentence_of(error)
    urls = choice.options.get("urls")
    for url in (choice.options.get("url"), *(urls if isinstance(urls, (list, tuple)) else ())):
        if isinstance(url, str) and url:
            told = told.replace(url, "it").replace(url.rpartition("@")[2], "it")
    return told


def _choices(backend: Backend) -> dict[str, tuple[str, ...]]:
    choices: dict[str, Sequence[str]] = {}
    if isinstance(backend, ListsChoices):
        choices |= backend.choices()
    else:
        backend.describe()
    if isinstance(backend, ListsLoras):
        try:
            choices[_LORA] = backend.loras()
        except BackendUnavailable:
            raise
        except BackendError:
            choices[_LORA] = ()  # it draws without telling which it has
    return {knob: tuple(map(str, names))[:_MOST_NAMES] for knob, names in choices.items()}
