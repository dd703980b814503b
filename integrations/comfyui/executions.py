"""executions: what ComfyUI has executed, a line of the spool for each.

That a prompt has ended is told by the queue's ``task_done``, which is wrapped on the one instance:
it is given all that a line says. On the prompt's thread no more happens than that references are
put aside; a thread of ours makes the line.

ComfyUI's own hook (``CacheProvider.on_prompt_end``, since March 2026) is not taken. As soon as
anybody is registered there, ComfyUI hashes the cache key of every node, up to three times: once
through the keys of a graph of 36 nodes took 36 ms, of 124 nodes 400 ms. And it calls before the
history is written, where an earlier prompt of the same id may still stand.

ComfyUI's modules are taken as they are loaded, never imported: who imports ``server`` before
ComfyUI does breaks it.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from .safelight_spool import FOLDER, Spool

__all__ = ["SETTING", "Executions", "note_executions"]

SETTING = "SAFELIGHT_SPOOL"
"""Environment variable: folder of the spool, where it is not ``<output>/.safelight-spool``."""

_OUR_OWN = "safelight"
"""In ``extra_data`` of what safelight itself sends and records."""

_LAST_WAIT = 2.0
"""Seconds that the end of ComfyUI waits for lines that are not written yet."""

_MOST_NAMES = 10_000
_HOW_IT_ENDED = {
    "execution_success": "completed",
    "execution_error": "failed",
    "execution_interrupted": "cancelled",
}

_log = logging.getLogger("safelight")


def note_executions() -> None:
    """Note what this process's ComfyUI executes from now on; nothing where none is loaded."""
    server = getattr(sys.modules.get("server"), "PromptServer", None)
    prompt_queue = getattr(getattr(server, "instance", None), "prompt_queue", None)
    if prompt_queue is None:
        _log.info("safelight: no ComfyUI server runs here, nothing is noted")
        return
    executions = Executions()
    if not _listen(executions, prompt_queue):
        return
    atexit.register(executions.finish)
    _log.info("safelight: what is executed is noted in %s", executions.folder)


class Executions:
    """Makes lines of executions, one after another, on a thread of its own."""

    def __init__(self) -> None:
        self.folder = _folder()
        self._spool: Spool | None = None
        self._environment: dict[str, Any] = {}
        self._waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._names: dict[str, None] = {}

    def is_done(self, item: Any, result: Any, status: Any) -> None:
        """Note a prompt: the queue's item, and what ``task_done`` was told of it."""
        self._waiting.put(_Done(item, result, status))
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="safelight", daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """Write what waits; no longer than a moment."""
        thread = self._thread
        if thread is not None:
            self._waiting.put(None)
            thread.join(_LAST_WAIT)

    def _work(self) -> None:
        while True:
            done = self._waiting.get()
            if done is None:
                return
            try:
                self._write(done)
            except Exception as problem:  # noqa: BLE001 - one line is lost, and said to be
                _log.warning(
                    "safelight: an execution could not be noted: %s: %s",
                    type(problem).__name__, problem,
                )  # fmt: skip
            del done  # what ComfyUI drops is not kept until the next one

    def _write(self, done: _Done) -> None:
        _, prompt_id, graph, extra_data = done.item[:4]
        if isinstance(extra_data, Mapping) and extra_data.get(_OUR_OWN):
            return
        messages = list(_messages(done.status))
        moments = [told["timestamp"] / 1000 for _, told in messages if "timestamp" in told]
        ends = [_HOW_IT_ENDED[event] for event, _ in messages if event in _HOW_IT_ENDED]
        said = _field(done.status, "status_str")
        status = ends[-1] if ends else "failed" if said == "error" else "completed"
        cached = [node for event, told in messages if event == "execution_cached"
                  for node in told.get("nodes", ())]  # fmt: skip
        if self._spool is None:
            self._environment = _environment()
            self._spool = Spool(self.folder, "comfyui", tool_version=_version())
        outputs = _field(done.result, "outputs")
        self._spool.append(
            execution=self._name_of(str(prompt_id), moments),
            status=status,
            began=moments[0] if moments else None,
            ended=moments[-1] if moments else None,
            error=_error(messages) if status == "failed" else None,
            graph=graph,
            outputs=list(_files(outputs if isinstance(outputs, Mapping) else {})),
            cached=cached,
            environment=self._environment,
        )

    def _name_of(self, prompt_id: str, moments: list[float]) -> str:
        """Return the prompt's id; a client may send one again."""
        if prompt_id in self._names:
            return f"{prompt_id}-{int(1000 * (moments[0] if moments else time.time()))}"
        self._names[prompt_id] = None
        if len(self._names) > _MOST_NAMES:
            del self._names[next(iter(self._names))]
        return prompt_id


class _Done(NamedTuple):
    """An item of the queue that is done.

    Attributes:
        item: Number, prompt id, graph, ``extra_data`` and more.
        result: Under ``outputs``: node -> what it shows.
        status: ``ExecutionStatus``; None where nobody said.
    """

    item: Any
    result: Any
    status: Any


# -- when a prompt has ended -------------------------------------------------------------


def _listen(executions: Executions, prompt_queue: Any) -> bool:
    """Wrap ``task_done`` of this queue; False where that is done, or cannot be."""
    original = prompt_queue.task_done
    if hasattr(original, "_safelight"):
        return False

    @functools.wraps(original)
    def task_done(*args: Any, **options: Any) -> Any:
        item = None
        with contextlib.suppress(Exception):
            item_id = args[0] if args else options["item_id"]
            item = prompt_queue.currently_running.get(item_id)
        answer = original(*args, **options)
        with contextlib.suppress(Exception):
            told = dict(zip(("item_id", "history_result", "status"), args), **options)
            if item is not None:
                executions.is_done(item, told.get("history_result"), told.get("status"))
        return answer

    task_done._safelight = True  # type: ignore[attr-defined]
    prompt_queue.task_done = task_done
    return True


# -- what a line says --------------------------------------------------------------------


def _folder() -> str:
    named = os.environ.get(SETTING, "").strip()
    if named:
        return os.path.abspath(os.path.expanduser(named))
    return os.path.join(os.path.abspath(_directory("output") or "output"), FOLDER)


def _directory(kind: str) -> str | None:
    """Return where ComfyUI has files of a kind: ``output``, ``temp``, ``input``."""
    folders = sys.modules.get("folder_paths")
    directory = folders.get_directory_by_type(kind) if folders is not None else None
    return None if directory is None else str(directory)


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _messages(status: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for message in _field(status, "messages") or ():
        if isinstance(message, (list, tuple)) and len(message) == 2:
            event, told = message
            if isinstance(told, Mapping):
                yield str(event), told


def _error(messages: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    for event, told in messages:
        if event == "execution_error":
            kind, text = told.get("exception_type", ""), str(told.get("exception_message", ""))
            node = f"node {told.get('node_id', '?')} ({told.get('node_type', '?')})"
            return f"{node}: {kind}: {text.strip()}"
    return "it failed; ComfyUI did not say why"


def _files(outputs: Mapping[str, Any]) -> Iterator[str]:
    """Yield the files that nodes have saved, or only shown where none was saved."""
    met: dict[str, dict[str, None]] = {"output": {}, "temp": {}}
    for shown in outputs.values():
        for several in shown.values() if isinstance(shown, Mapping) else ():
            for one in several if isinstance(several, (list, tuple)) else ():
                if not isinstance(one, Mapping) or not isinstance(one.get("filename"), str):
                    continue
                kind = one.get("type", "output")
                directory = _directory(kind) if kind in met else None
                if directory is not None:
                    path = os.path.join(directory, str(one.get("subfolder") or ""), one["filename"])
                    met[kind][os.path.abspath(path)] = None
    yield from met["output"] or met["temp"]


def _version() -> str:
    return str(getattr(sys.modules.get("comfyui_version"), "__version__", ""))


def _environment() -> dict[str, Any]:
    """Return what ComfyUI's ``/system_stats`` calls these, where it says so."""
    told: dict[str, Any] = {"python": sys.version.partition(" ")[0]}
    torch = sys.modules.get("torch")
    if torch is not None:
        told["pytorch"] = str(getattr(torch, "__version__", ""))
    with contextlib.suppress(Exception):
        management = sys.modules["comfy.model_management"]
        device = management.get_torch_device_name(management.get_torch_device())
        told["device"] = str(device)
    return told
