"""safelight_spool: one JSON line for each execution of an image tool, for safelight to read later.

It runs inside other people's programs, so it is one file of the standard library, never raises,
waits for nobody and changes nothing of theirs. A process has a file of its own, to which a line is
added in one write; what safelight has read of it stands in a small file beside it. A line that
:meth:`Spool.append` returned the name of survives the death of its process.

The form of a line: ``docs/spool.schema.json`` of safelight.

For diffusers there is more: :func:`observe` notes each call of a pipeline, :func:`record` those of
all pipelines in a block, :func:`autolog` those of all from then on.
"""

from __future__ import annotations

import contextlib
import datetime
import enum
import functools
import hashlib
import importlib
import inspect
import json
import logging
import math
import os
import re
import sys
import threading
import time
import uuid
import weakref
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Callable, Union

__all__ = ["FOLDER", "SPOOL", "SUFFIX", "Spool", "autolog", "observe", "record"]

SPOOL = 1
"""Number of the form of a line; a reader passes over lines of a higher one, and says so."""

FOLDER = ".safelight-spool"
"""What a spool's folder is called where nobody names another: safelight finds it below others."""

SUFFIX = ".spool.jsonl"
_READ = ".read"
"""Ends the name of the file that says how far a spool file was read: ``{"read": BYTES}``."""

_LARGEST_FILE = 64 * 2**20
_MOST_UNREAD = 2 * 2**30
_LOOK_EVERY_LINES, _LOOK_EVERY_BYTES = 256, 16 * 2**20
_LARGEST_LINE = 8 * 2**20
_LONGEST_ERROR = 4000
_LONGEST_TEXT = 2**20
_DEEPEST = 100
_MOST_VALUES = 200_000
_MOST_OUTPUTS = 1000
_LARGEST_WHOLE, _SMALLEST_WHOLE = 2**64 - 1, -(2**63)
_LONGEST_WAIT = 1.0
"""Seconds that a thread waits for another one's line before its own is given up."""

_STATUSES = ("completed", "failed", "cancelled")
_REMOVED = "(removed)"
_BINARY = getattr(os, "O_BINARY", 0)
_log = logging.getLogger("safelight_spool")

_CAMEL_CASE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SECRET_KEY = re.compile(
    r"^(.*[-_ .])?(password|passwd|passphrase|pwd|token|secret|(api|access|private)[-_ ]?key"
    r"|auth|authorization|signature|cookies?|credentials?|apikey)$"
)
_URL_CREDENTIALS = re.compile(r"(?<=[a-z0-9+.-]://)[^/\s?#\"']+@", re.IGNORECASE)
_URL_SECRET = re.compile(
    r"([?&;][^=&;?\s]*(?:token|key|secret|passw(?:or)?d|signature|sig)=)[^&;#\s\"']+", re.IGNORECASE
)
_MAY_HIDE_ONE = re.compile(
    r"\"[^\"]*(?:pass|pwd|token|secret|key|auth|sign|cookie|credential)[^\"]*\"\s*:", re.IGNORECASE
)

PathText = Union[str, "os.PathLike[str]"]


class Spool:
    """Appends lines to a folder; whatever goes wrong is logged once, and nothing is raised.

    Args:
        folder: Where; made when the first line is written.
        tool: What runs, in a word: ``comfyui``, ``forge``, ``diffusers``.
        tool_version: Of it.
        largest_file: Bytes after which another file is begun.
        most_unread: Bytes that may wait to be read in the folder; no more are written then.
        durable: Wait for the disk, so that a line survives the death of the machine, too.
    """

    def __init__(
        self, folder: PathText, tool: str, *, tool_version: str = "",
        largest_file: int = _LARGEST_FILE, most_unread: int = _MOST_UNREAD, durable: bool = False,
    ) -> None:  # fmt: skip
        self.folder = os.path.abspath(os.fspath(folder))
        self.tool, self.tool_version = tool, tool_version
        self._largest, self._most_unread = largest_file, most_unread
        self._durable = durable
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._handle = -1
        self._size = 0
        self._lines_since = self._bytes_since = 0
        self._is_full = False
        self._told: set[str] = set()

    def append(
        self,
        *,
        status: str = "completed",
        began: object = None,
        ended: object = None,
        seconds: float | None = None,
        error: object = None,
        graph: object = None,
        parameters: Mapping[str, Any] | None = None,
        infotexts: Iterable[str] | None = None,
        outputs: Iterable[Any] = (),
        cached: Iterable[Any] | None = None,
        environment: Mapping[str, Any] | None = None,
        execution: str | None = None,
    ) -> str | None:
        """Add the line of one execution; return its name, None where it could not be written.

        Args:
            status: ``completed``, ``failed`` or ``cancelled``.
            began: When: seconds of the epoch, a datetime, or ISO 8601.
            ended: When; now without.
            seconds: How long it took; the time between both without.
            error: Why it failed: an exception or a text.
            graph: ComfyUI's API graph.
            parameters: Name -> value, as the tool calls them.
            infotexts: AUTOMATIC1111's texts, one for each of *outputs*, or one for all.
            outputs: Files, as paths or as ``{"path": ...}``, or pictures of PIL.
            cached: Nodes that did not run again.
            environment: What else changes pixels: device, precision, versions.
            execution: A name that the tool has for it, unique everywhere; one is made without.
        """
        try:
            name = str(execution) if execution else uuid.uuid4().hex
            now = time.time()
            first, last = _seconds_of(began), _seconds_of(ended)
            last = now if last is None else last
            took = _duration(seconds)
            if took is None and first is not None:
                took = max(0.0, last - first)
            if first is None:
                first = last - (took or 0.0)
            told: dict[str, Any] = {
                "spool": SPOOL, "id": name[:200], "tool": self.tool,
                "tool_version": self.tool_version, "began": _moment(first), "ended": _moment(last),
                "seconds": took,
                "status": status if isinstance(status, str) and status in _STATUSES else "failed",
                "error": _error(error), "graph": graph, "parameters": parameters,
                "infotexts": None if infotexts is None else list(_texts(infotexts)),
                "outputs": [_output(o) for o, _ in zip(outputs, range(_MOST_OUTPUTS))],
                "cached": None if cached is None else list(_texts(cached)),
                "environment": environment, "process": os.getpid(),
            }  # fmt: skip
            line = _encoded(told)
            return name[:200] if self._write(line) else None
        except Exception as problem:  # noqa: BLE001 - nothing of ours may end what others do
            self._tell(f"an execution could not be noted: {type(problem).__name__}: {problem}")
            return None

    def close(self) -> None:
        """Let go of the file; the next line begins another one."""
        with contextlib.suppress(Exception):
            self._let_go()

    # -- the file ------------------------------------------------------------------------

    def _write(self, line: bytes) -> bool:
        if os.getpid() != self._process:  # after a fork: neither file nor lock is this process's
            self._lock = threading.Lock()
            self._process = os.getpid()
            self._let_go()
        if not self._lock.acquire(timeout=_LONGEST_WAIT):
            self._tell("an execution could not be noted: another one's line takes too long")
            return False
        try:
            if not self._has_room(len(line)):
                return False
            if self._handle >= 0 and (
                self._size + len(line) > self._largest or os.fstat(self._handle).st_nlink == 0
            ):
                self._let_go()
            if self._handle < 0:
                self._begin()
            written = os.write(self._handle, line)
            if written != len(line):  # a full disk
                with contextlib.suppress(OSError):
                    os.ftruncate(self._handle, self._size)
                self._let_go()
                raise OSError(f"only {written} of {len(line)} bytes could be written")
            self._size += written
            self._lines_since += 1
            self._bytes_since += written
            if self._durable:
                os.fsync(self._handle)
            return True
        finally:
            self._lock.release()

    def _begin(self) -> None:
        os.makedirs(self.folder, exist_ok=True)
        self._sweep()
        tool = re.sub(r"[^A-Za-z0-9_.]+", "_", self.tool)[:40] or "tool"
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        name = f"{tool}-{moment}-{os.getpid()}-{uuid.uuid4().hex[:8]}{SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | _BINARY
        self._handle = os.open(os.path.join(self.folder, name), flags, 0o600)
        self._size = 0
        if sys.platform != "win32":
            with contextlib.suppress(OSError):  # who may read the pictures reads this
                os.fchmod(self._handle, (os.stat(self.folder).st_mode & 0o666) | 0o600)
            if self._durable:  # nor may its name be lost
                with contextlib.suppress(OSError):
                    _flush_folder(self.folder)
        _hold(self._handle)

    def _let_go(self) -> None:
        handle, self._handle = self._handle, -1
        if handle >= 0:
            with contextlib.suppress(OSError):
                os.close(handle)

    def _has_room(self, more: int) -> bool:
        due = self._lines_since >= _LOOK_EVERY_LINES or self._bytes_since >= min(
            _LOOK_EVERY_BYTES, self._most_unread // 4
        )
        if self._handle < 0 or self._is_full or due:
            self._lines_since = self._bytes_since = 0
            unread = sum(size - read for _, size, read in _files(self.folder))
            self._is_full = unread + more > self._most_unread
        if self._is_full:
            self._tell(
                f"{self.folder} holds {self._most_unread:,} bytes that safelight has not read:"
                " nothing more is noted there until it has (safelight import, or safelight watch)"
            )
        else:
            self._told.discard(self.folder)
        return not self._is_full

    def _sweep(self) -> None:
        """Remove files that were read to their end and that no process holds."""
        for path, size, read in _files(self.folder):
            with contextlib.suppress(OSError):
                if size and (read >= size or not _whole_lines(path, read)):
                    _remove_unheld(path, size)

    def _tell(self, sentence: str) -> None:
        """Log a warning, each kind of it once."""
        kind = sentence[:40]
        if kind not in self._told:
            self._told.add(kind)
            with contextlib.suppress(Exception):
                _log.warning("%s", sentence)


def _files(folder: str) -> list[tuple[str, int, int]]:
    """Return (path, bytes, bytes that were read) of each spool file."""
    files = []
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(folder)):
            if name.endswith(SUFFIX):
                path = os.path.join(folder, name)
                with contextlib.suppress(OSError):
                    size = os.stat(path).st_size
                    files.append((path, size, min(size, _read_until(path))))
    return files


def _read_until(path: str) -> int:
    with contextlib.suppress(Exception), open(path + _READ, "rb") as file:
        read = json.loads(file.read(1000))["read"]
        if isinstance(read, int) and not isinstance(read, bool) and read >= 0:
            return read
    return 0


def _whole_lines(path: str, start: int) -> bool:
    with open(path, "rb") as file:
        file.seek(start)
        return b"\n" in file.read(_LARGEST_FILE)


def _flush_folder(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _hold(handle: int) -> None:
    """Lock a file as long as this process has it; where that cannot be, it is not removed."""
    if sys.platform != "win32":
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _remove_unheld(path: str, size: int) -> None:
    """Remove *path* unless a process has it, or it has grown."""
    if sys.platform != "win32":  # where a file that is open cannot be removed
        import fcntl

        handle = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_size == size:
                os.unlink(path)
        finally:
            os.close(handle)
    else:
        os.unlink(path)
    with contextlib.suppress(OSError):
        os.unlink(path + _READ)


# -- the line ----------------------------------------------------------------------------


def _encoded(told: dict[str, Any]) -> bytes:
    """Return the line, with its checksum and its end; what is too long for one is left out."""
    left_out: list[str] = []
    while True:
        plain = {key: _Plain().of(value) for key, value in told.items() if value is not None}
        if left_out:
            plain["left_out"] = left_out
        text = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        body = text.encode("utf-8", "backslashreplace")[:-1]
        if len(body) <= _LARGEST_LINE:
            return b'%b,"check":"%08x"}\n' % (body, zlib.crc32(body))
        sizes = {
            key: len(json.dumps(plain[key]))
            for key in ("graph", "parameters", "infotexts", "environment", "cached", "outputs")
            if key in plain
        }
        largest = max(sizes, key=lambda key: sizes[key])
        told = {**told, largest: None}
        left_out.append(largest)


class _Plain:
    """Plain JSON of anything: bounded, without secrets; never raises."""

    def __init__(self) -> None:
        self._left = _MOST_VALUES

    def of(self, value: Any, above: tuple[int, ...] = ()) -> Any:
        """Return *value*, which lies within the objects *above*, as plain JSON."""
        self._left -= 1
        if self._left < 0:
            return "<left out>"
        try:
            return self._value(value, above)
        except Exception:  # noqa: BLE001 - foreign values may do anything when looked at
            return f"<{type(value).__name__}>"

    def _value(self, value: Any, above: tuple[int, ...]) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, enum.Enum):
            return self.of(value.value, above)
        if isinstance(value, str):
            return _without_secrets(_text(value))
        if isinstance(value, int):
            return _whole(int(value))
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else None
        if isinstance(value, (bytes, bytearray, memoryview)):
            return f"<{len(value)} bytes>"
        if isinstance(value, os.PathLike):
            return _without_secrets(_text(os.fsdecode(value)))
        if id(value) in above or len(above) >= _DEEPEST:
            return "<circular>" if id(value) in above else "<too deep>"
        return self._several(value, (*above, id(value)))

    def _several(self, value: Any, above: tuple[int, ...]) -> Any:
        if isinstance(value, Mapping):
            kept: dict[str, Any] = {}
            for key, item in value.items():
                if self._left <= 0:
                    break
                name = _text(key if isinstance(key, str) else str(self.of(key, above)))
                is_said = item is not None and not (isinstance(item, str) and not item)
                kept[name] = _REMOVED if is_said and _is_secret(name) else self.of(item, above)
            return kept
        if isinstance(value, (list, tuple, set, frozenset)):
            items = [self.of(item, above) for item, _ in zip(value, range(self._left))]
            return items if isinstance(value, (list, tuple)) else sorted(items, key=repr)
        if getattr(value, "shape", None) == () and callable(getattr(value, "item", None)):
            return self.of(value.item(), above)  # a number of numpy or torch
        kind = type(value)
        return f"<{kind.__module__}.{kind.__qualname__}>"


def _whole(number: int) -> Any:
    if _SMALLEST_WHOLE <= number <= _LARGEST_WHOLE:
        return number
    return str(number) if number.bit_length() < 10_000 else hex(number)[:_LONGEST_ERROR]


def _text(value: str) -> str:
    text = str.__str__(value)
    if len(text) > _LONGEST_TEXT:
        text = f"{text[:_LONGEST_TEXT]}..."
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _is_secret(key: str) -> bool:
    return bool(_SECRET_KEY.match(_CAMEL_CASE.sub("_", key).lower()))


def _without_secrets(text: str) -> str:
    """Return a text without user:password@ and keys in its addresses, and in JSON within it."""
    if text.lstrip()[:1] in ("{", "[") and _MAY_HIDE_ONE.search(text):
        with contextlib.suppress(ValueError, RecursionError):
            return json.dumps(_Plain().of(json.loads(text)), ensure_ascii=False)
    if "://" in text:
        text = _URL_SECRET.sub(rf"\1{_REMOVED}", _URL_CREDENTIALS.sub("", text))
    return text


def _texts(texts: Iterable[Any]) -> Iterable[str]:
    """Yield some values as texts, as far as they can be had."""
    with contextlib.suppress(Exception):
        for text, _ in zip([texts] if isinstance(texts, str) else texts, range(_MOST_OUTPUTS)):
            yield str(text)


def _error(error: object) -> str | None:
    if error is None:
        return None
    kind = f"{type(error).__name__}: " if isinstance(error, BaseException) else ""
    try:
        return _without_secrets(_text(f"{kind}{error}"))[:_LONGEST_ERROR]
    except Exception:  # noqa: BLE001 - an error of others that cannot be told
        return type(error).__name__


def _duration(value: object) -> float | None:
    """Return a number of seconds; None of what is none."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e12:
        return value  # NaN is not
    return None


def _seconds_of(moment: object) -> float | None:
    """Return seconds of the epoch; None of what is no moment."""
    with contextlib.suppress(Exception):
        if isinstance(moment, str):
            moment = datetime.datetime.fromisoformat(moment.replace("Z", "+00:00"))
        if isinstance(moment, datetime.datetime):
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=datetime.timezone.utc)
            return moment.timestamp()
        if isinstance(moment, (int, float)) and 0 <= moment < 1e11:
            return float(moment)
    return None


def _moment(seconds: float) -> str:
    told = datetime.datetime.fromtimestamp(max(0.0, seconds), datetime.timezone.utc)
    return told.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# -- pictures ----------------------------------------------------------------------------


def _output(output: Any) -> dict[str, Any]:
    """Return what a line says of one picture; whoever reads it hashes files, not we."""
    try:
        if isinstance(output, Mapping):
            told = {str(key): value for key, value in output.items()}
            return {**told, **_file(told["path"])} if told.get("path") else told
        if isinstance(output, (str, os.PathLike)):
            return _file(output)
        if callable(getattr(output, "tobytes", None)) and hasattr(output, "mode"):
            return {"pixel_sha256": _pixel_sha256(output),
                    "width": int(output.size[0]), "height": int(output.size[1])}  # fmt: skip
    except Exception as problem:  # noqa: BLE001 - it is a picture, and no more can be said
        return {"unknown": f"{type(output).__name__}: {problem}"[:200]}
    return {"unknown": type(output).__name__}


def _file(path: Any) -> dict[str, Any]:
    whole = os.path.abspath(os.fsdecode(path))
    shown = whole.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    told: dict[str, Any] = {"path": shown}
    with contextlib.suppress(OSError, ValueError):
        status = os.stat(whole)
        told["bytes"], told["mtime_ns"] = status.st_size, status.st_mtime_ns
    return told


def _pixel_sha256(image: Any) -> str:
    r"""Return SHA-256 over ``"{width}x{height} RGB\n"`` (or ``RGBA``) and the rows of samples.

    It is how safelight knows a picture whose file says nothing: the same in any lossless file.
    """
    transparent = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    mode = "RGBA" if transparent else "RGB"
    digest = hashlib.sha256(f"{image.size[0]}x{image.size[1]} {mode}\n".encode("ascii"))
    digest.update((image if image.mode == mode else image.convert(mode)).tobytes())
    return digest.hexdigest()


# -- diffusers ---------------------------------------------------------------------------

_patched: dict[type, Any] = {}
"""Class -> its own ``__call__`` from before; None where it had none of its own."""

_observed: weakref.WeakKeyDictionary[Any, Spool] = weakref.WeakKeyDictionary()
_all: list[Spool] = []
_calling = threading.local()
_patching = threading.RLock()
_BATCHED = ("prompt", "negative_prompt", "prompt_2", "negative_prompt_2", "prompt_3")
_OF_PIPELINE = ("scheduler", "guider")
_SAYS_NOTHING = ("return_dict", "output_type", "callback_on_step_end_tensor_inputs")
"""Arguments that say how the answer is given, and not what it is."""


def observe(pipeline: Any, folder: PathText = ".") -> Any:
    """Note each call of one pipeline of diffusers, of any class; return the pipeline.

    Args:
        pipeline: Loaded.
        folder: Where its pictures are saved: the spool lies there, and ``safelight watch`` or
            ``safelight import`` of that folder finds both.
    """
    with contextlib.suppress(Exception):
        _observed[pipeline] = _spool_in(folder)
        _patch(type(pipeline))
    return pipeline


@contextlib.contextmanager
def record(folder: PathText = ".") -> Iterator[None]:
    """Note each call of any pipeline of diffusers in a ``with`` block."""
    spool = _spool_in(folder)
    _note_all(spool)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            _all.remove(spool)


def autolog(folder: PathText = ".") -> None:
    """Note each call of any pipeline of diffusers from now on, also of classes that come later."""
    if not _all:
        _note_all(_spool_in(folder))


def _spool_in(folder: PathText) -> Spool:
    version = str(getattr(sys.modules.get("diffusers"), "__version__", ""))
    return Spool(os.path.join(os.fspath(folder), FOLDER), tool="diffusers", tool_version=version)


def _note_all(spool: Spool) -> None:
    try:
        base = importlib.import_module("diffusers").DiffusionPipeline
        pending = [base]
        while pending:
            cls = pending.pop()
            pending += cls.__subclasses__()
            if "__call__" in cls.__dict__:
                _patch(cls)
        _patch_as_they_load(base)
    except Exception as problem:  # noqa: BLE001 - the script goes on without
        _log.warning("pipelines of diffusers are not noted: %s: %s",
                     type(problem).__name__, problem)  # fmt: skip
    _all.append(spool)


def _patch_as_they_load(base: Any) -> None:
    """Patch classes that are imported later when a pipeline of theirs is made."""
    original = getattr(base, "register_modules", None)
    if original is None or hasattr(original, "_safelight"):
        return

    @functools.wraps(original)
    def register_modules(self: Any, *args: Any, **options: Any) -> Any:
        with contextlib.suppress(Exception):
            _patch(type(self))
        return original(self, *args, **options)

    register_modules._safelight = True  # type: ignore[attr-defined]
    base.register_modules = register_modules


def _patch(cls: type) -> None:
    with _patching:
        if cls in _patched or not callable(getattr(cls, "__call__", None)):  # noqa: B004
            return
        original: Any = cls.__call__
        if hasattr(original, "_safelight"):
            return  # the class above is patched, which is called
        _patched[cls] = cls.__dict__.get("__call__")

        @functools.wraps(original)
        def call(self: Any, *args: Any, **options: Any) -> Any:
            return _called(original, self, args, options)

        call._safelight = True  # type: ignore[attr-defined]
        type.__setattr__(cls, "__call__", call)


def _called(
    original: Callable[..., Any], pipeline: Any, args: tuple[Any, ...], options: dict[str, Any]
) -> Any:
    """Call a pipeline and note it; its answer or its error is given on as it is."""
    spool = None
    with contextlib.suppress(Exception):
        spool = _observed.get(pipeline) or (_all[-1] if _all else None)
    if spool is None or getattr(_calling, "is_within", False):
        return original(pipeline, *args, **options)
    told: dict[str, Any] = {}
    with contextlib.suppress(Exception):
        told = _told_of(original, pipeline, args, options)
    began, start = time.time(), time.perf_counter()
    _calling.is_within = True
    try:
        answer = original(pipeline, *args, **options)
    except BaseException as error:
        stopped = isinstance(error, (KeyboardInterrupt, GeneratorExit))
        spool.append(
            status="cancelled" if stopped else "failed", error=error, began=began,
            seconds=time.perf_counter() - start, parameters=told.get("parameters"),
            environment=told.get("environment"),
        )  # fmt: skip
        raise
    finally:
        _calling.is_within = False
    seconds = time.perf_counter() - start
    with contextlib.suppress(Exception):
        if getattr(pipeline, "interrupt", False) is True:
            told["status"] = "cancelled"
        outputs = _with_own_parameters(_pictures_of(answer), told)
        spool.append(
            status=told.get("status", "completed"), began=began, seconds=seconds, outputs=outputs,
            parameters=told.get("parameters"), environment=told.get("environment"),
        )  # fmt: skip
    return answer


def _told_of(
    original: Callable[..., Any], pipeline: Any, args: tuple[Any, ...], options: dict[str, Any]
) -> dict[str, Any]:
    """Return what a call is made of: its arguments, the defaults included, and the pipeline."""
    bound = inspect.signature(original).bind(pipeline, *args, **options)
    bound.apply_defaults()
    parameters: dict[str, Any] = {}
    for number, (name, value) in enumerate(bound.arguments.items()):
        kind = bound.signature.parameters[name].kind
        if number == 0 or value is None or (callable(value) and not hasattr(value, "shape")):
            continue
        for key, one in value.items() if kind is inspect.Parameter.VAR_KEYWORD else [(name, value)]:
            if key not in _SAYS_NOTHING:
                parameters[key] = one if key == "generator" else _known_again(one)
    generators = parameters.pop("generator", None)
    several = isinstance(generators, (list, tuple))
    seeds = [_seed_of(each) for each in (generators if several else [generators])]
    told: dict[str, Any] = {"parameters": parameters, "seeds": seeds if several else []}
    if not several and generators is not None:
        parameters["seed" if seeds[0][1] else "generator_seed_before"] = seeds[0][0]
    for each in (generators if several else [generators])[:1]:
        device = getattr(each, "device", None)
        if device is not None:
            parameters["generator_device"] = str(device)
    parameters["pipeline"] = type(pipeline).__name__
    config = getattr(pipeline, "config", None)
    model = config.get("_name_or_path") if isinstance(config, Mapping) else None
    model = model or getattr(pipeline, "name_or_path", None)
    if model and isinstance(model, (str, os.PathLike)):
        parameters["model"] = os.fspath(model)
    for part in _OF_PIPELINE:
        _tell_part(parameters, part, getattr(pipeline, part, None))
    for network in ("transformer", "unet"):
        _tell_network(parameters, getattr(pipeline, network, None))
    with contextlib.suppress(Exception):
        adapters = pipeline.get_active_adapters()
        if adapters:
            parameters["loras"] = [{"name": str(adapter)} for adapter in adapters]
    told["environment"] = _environment(pipeline)
    return told


def _known_again(value: Any) -> Any:
    """Return a picture as its pixels' hash, and what cannot be told as what is like nothing else.

    Two calls with other latents must not seem alike because both had some.
    """
    if isinstance(value, (list, tuple)) and len(value) <= _MOST_OUTPUTS:
        return [_known_again(item) for item in value]
    if hasattr(value, "tobytes") and hasattr(value, "mode"):
        return f"pixels {_pixel_sha256(value)}"
    if getattr(value, "shape", ()) != () and not isinstance(value, (str, Mapping)):
        return f"<{type(value).__name__} {uuid.uuid4().hex[:12]}, not recorded>"
    return value


def _seed_of(generator: Any) -> tuple[Any, bool]:
    """Return a generator's seed, and whether nothing was drawn from it since."""
    with contextlib.suppress(Exception):
        seed = int(generator.initial_seed())
        fresh = type(generator)(device=generator.device)
        fresh.manual_seed(seed)
        same = generator.get_state() == fresh.get_state()
        return seed, bool(same.all() if hasattr(same, "all") else same)
    with contextlib.suppress(Exception):
        return int(generator.initial_seed()), False
    return None, False


def _tell_part(parameters: dict[str, Any], name: str, part: Any) -> None:
    if part is None:
        return
    parameters[f"{name}_class"] = type(part).__name__
    config = getattr(part, "config", None)
    if isinstance(config, Mapping):
        plain = {str(k): v for k, v in config.items() if not str(k).startswith("_")}
        parameters[f"{name}_config"] = {
            key: value for key, value in plain.items() if isinstance(value, (bool, int, float, str))
        }


def _tell_network(parameters: dict[str, Any], network: Any) -> None:
    config = getattr(network, "config", None)
    if isinstance(config, Mapping) and isinstance(config.get("guidance_embeds"), bool):
        parameters["guidance_embeds"] = config["guidance_embeds"]
    if getattr(network, "is_cache_enabled", False) is True:
        parameters["cache"] = type(getattr(network, "_cache_config", None)).__name__


def _environment(pipeline: Any) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name in ("device", "dtype"):
        with contextlib.suppress(Exception):
            value = getattr(pipeline, name, None)
            if value is not None:
                told[name] = str(value)
    for library in ("diffusers", "torch", "transformers"):
        version = getattr(sys.modules.get(library), "__version__", None)
        if version is not None:
            told[library] = str(version)
    return told


def _pictures_of(answer: Any) -> list[Any]:
    images = getattr(answer, "images", None)
    if images is None and isinstance(answer, (list, tuple)) and answer:
        images = answer[0]
    if hasattr(images, "tobytes") and hasattr(images, "mode"):
        images = [images]
    if isinstance(images, (list, tuple)):
        return list(images)
    return [] if images is None else [images]


def _with_own_parameters(pictures: list[Any], told: dict[str, Any]) -> list[Any]:
    """Return what each picture of a batch is, with its own prompt and seed."""
    outputs = [_output(picture) for picture in pictures]
    parameters = told.get("parameters") or {}
    own: list[dict[str, Any]] = [{} for _ in outputs]
    for name in _BATCHED:
        texts = parameters.get(name)
        if isinstance(texts, (list, tuple)) and texts and not len(outputs) % len(texts):
            parameters.pop(name)
            for number, one in enumerate(own):
                one[name] = texts[number * len(texts) // len(outputs)]
    seeds = told.get("seeds") or []
    if len(seeds) == len(outputs):
        for one, (seed, is_fresh) in zip(own, seeds):
            one["seed" if is_fresh else "generator_seed_before"] = seed
    elif len(outputs) > 1 and "seed" in parameters:  # drawn from one generator, after one another
        for number, one in enumerate(own):
            one["batch_seed"], one["batch_size"] = parameters["seed"], len(outputs)
            one["batch_place"], one["seed"] = number, None
    return [{**o, "parameters": one} if one else o for o, one in zip(outputs, own)]
