"""posted_lines: executions that tools tell the page of, kept before they are answered.

A tool that cannot write a spool may post its lines: SwarmUI's webhooks. A line is on the disk when
its sender is answered, in a spool of the archive's own; the process that watches beside the server
makes a record of it, as of any other line. What a sender may have opened are files below the
folders that the server watches, and pictures that came with a line.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from safelight.application.dropped_pictures import keep_picture
from safelight.application.watching import WatchBeside
from safelight.archive_layout import posted_folder
from safelight.durable_file import make_folder
from safelight.errors import RequestError, StorageError
from safelight.formats.picture_kinds import LONGEST_BEGINNING, media_type
from safelight.imports.spools import SPOOL_FOLDER, unread_files
from safelight.spool import Spool
from safelight.timestamps import as_utc, utc_timestamp

__all__ = ["SWARMUI_TEMPLATE", "PostedLines", "ReceivedLines"]

_SWARM_PARAMETERS = (
    "prompt", "negativeprompt", "model", "seed", "steps", "cfgscale", "width", "height", "sampler",
    "scheduler", "vae", "batchsize", "initimagecreativity", "refinercontrolpercentage",
    "refinerupscale", "refinerupscalemethod", "refinersteps", "refinermodel", "clipstopatlayer",
    "fluxguidancescale", "sigmashift", "variationseed", "variationseedstrength", "loraweights",
)  # fmt: skip
SWARMUI_TEMPLATE = (
    '{"spool": 1, "tool": "swarmui", "outputs": [{"image": "%image%"}],\n'
    ' "parameters": {"sui_image_params": {\n'
    + ",\n".join(f'  "{name}": "%{name}%"' for name in _SWARM_PARAMETERS)
    + ',\n  "loras": "%LoRAs%"}}}'  # in lower case, their names are joined by hyphens
)
"""What SwarmUI is to send after each picture: it fills in what stands between two ``%``."""

_log = logging.getLogger(__name__)
_MOST_LINES = 1000
_MOST_OUTPUTS = 1000
_LONGEST_NAME = 200
"""Characters of an id; a longer one would be cut, and then be that of another execution, too."""

_LONGEST_NOTE = 300
_FORM = "docs/spool.schema.json says what a line holds"


class _Output(msgspec.Struct):
    path: str = ""
    image: str = ""
    pixel_sha256: str = ""
    width: int = 0
    height: int = 0
    parameters: dict[str, Any] = {}
    cut_short: bool = False


class _Line(msgspec.Struct):
    """What may be posted: a line of a spool, in which what the server knows may be missing."""

    spool: Literal[1]
    tool: str
    id: str = ""
    tool_version: str = ""
    status: Literal["completed", "failed", "cancelled"] = "completed"
    began: str = ""
    ended: str = ""
    seconds: float | None = None
    error: str = ""
    graph: dict[str, Any] = {}
    parameters: dict[str, Any] = {}
    infotexts: list[str] = []
    outputs: list[_Output] = []
    cached: list[str] | None = None
    environment: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class ReceivedLines:
    """What became of lines that were posted.

    Attributes:
        kept: The name of each execution, which is on the disk.
        notes: What of them could not be taken, in sentences.
    """

    kept: tuple[str, ...]
    notes: tuple[str, ...]


class PostedLines:
    """Takes the lines that tools post, of one archive.

    Args:
        archive: Its folder.
        watched: Folders that the server watches; files below them may be named.
        environ: Of the process that makes records of lines.
    """

    def __init__(
        self, archive: Path, *, watched: Sequence[Path] = (), environ: Mapping[str, str]
    ) -> None:
        self._archive = archive.absolute()
        self._folder = self._archive / SPOOL_FOLDER
        self._watched = [os.path.abspath(folder) for folder in watched]
        self._environ = environ
        self._lock = threading.Lock()
        self._spool = Spool(self._folder, "page", durable=True)
        self._beside: WatchBeside | None = None
        self._is_closed = False

    def begin(self) -> None:
        """Watch, if folders are to be watched, or if lines of before are not read yet."""
        if self._watched or unread_files(self._folder):
            self._watch()

    def receive(self, lines: Sequence[Any]) -> ReceivedLines:
        """Keep *lines*, which came as JSON; all or, where one is none, nothing.

        Raises:
            RequestError: One is no line.
            StorageError: They could not be kept; those before the first that could not, are.
        """
        if not 0 < len(lines) <= _MOST_LINES:
            raise RequestError(
                f"one line or up to {_MOST_LINES:,} may be posted at once, got {len(lines):,}"
            )
        read = [_read(line, number, len(lines)) for number, line in enumerate(lines, 1)]
        notes: list[str] = []
        kept: list[str] = []
        try:
            for line, sent in read:
                kept.append(self._keep(line, sent, notes))
        except StorageError as error:
            if not kept:
                raise
            raise StorageError(
                f"line {len(kept) + 1}: {error}; the lines before it are kept: {', '.join(kept)}"
            ) from error
        finally:
            self._watch()
        return ReceivedLines(tuple(kept), tuple(dict.fromkeys(notes)))

    def close(self) -> None:
        """Let what was kept become records, as far as it is read by now."""
        with self._lock:
            self._is_closed = True
            beside, self._beside = self._beside, None
            self._spool.close()
        if beside is not None:
            beside.close()

    def _watch(self) -> None:
        with self._lock:
            if self._beside is not None or self._is_closed:
                return
            folders: list[str | Path] = [*self._watched, self._folder]
            try:
                make_folder(self._folder, root=self._archive)
                self._beside = WatchBeside(folders, self._archive, self._environ)
            except OSError as error:  # what is kept is read when the server begins again
                _log.warning("nothing is taken in for now: %s", error)

    def _keep(self, line: _Line, sent: Sequence[bytes], notes: list[str]) -> str:
        name = line.id or uuid.uuid4().hex
        outputs = list(self._outputs(line, name, sent, notes))
        with self._lock:
            self._spool.tool, self._spool.tool_version = line.tool, line.tool_version
            kept = self._spool.append(
                status=line.status, began=line.began or None, ended=line.ended or None,
                seconds=line.seconds, error=line.error or None, graph=line.graph or None,
                parameters=line.parameters or None, infotexts=line.infotexts or None,
                outputs=outputs, cached=line.cached, environment=line.environment or None,
                execution=name,
            )  # fmt: skip
        if kept is None:
            raise StorageError(
                f"the line could not be written to {self._folder}; post it again with the id"
                f" {name} when there is room: it counts once"
            )
        return kept

    def _outputs(
        self, line: _Line, name: str, sent: Sequence[bytes], notes: list[str]
    ) -> Iterator[dict[str, Any]]:
        pictures = iter(sent)
        for number, output in enumerate(line.outputs, 1):
            told: dict[str, Any] = {"parameters": output.parameters} if output.parameters else {}
            told |= {"cut_short": True} if output.cut_short else {}
            if output.image.startswith("data:"):
                data = next(pictures)
                if media_type(data[:LONGEST_BEGINNING]) is None:
                    kind = output.image[5 : output.image.find(";")][:60]
                    notes.append(f"{kind} is no kind of picture that is kept")
                    told["unknown"] = kind
                else:
                    ending = f"-{number}" if len(line.outputs) > 1 else ""
                    path = keep_picture(
                        self._archive, data, f"{line.tool[:40]}-{name[:40]}{ending}",
                        utc_timestamp()[:10], within=posted_folder(self._archive),
                    )  # fmt: skip
                    told["path"] = os.fspath(path)
            elif named := output.path or output.image:
                path_of = self._watched_file if output.path else self._file_at
                place = path_of(named)
                told |= {"path": place} if place else {"unknown": _without_query(named)}
                if not place:
                    notes.append(
                        f"{_without_query(named)} is below no folder that is watched, so nothing"
                        " of it is opened: safelight serve --watch FOLDER names those that are"
                    )
            elif output.pixel_sha256:
                told |= {"pixel_sha256": output.pixel_sha256, "width": output.width,
                         "height": output.height}  # fmt: skip
            yield told

    def _watched_file(self, path: str) -> str:
        """Return *path* where a file below a watched folder may be meant; empty elsewhere."""
        whole = os.path.normpath(path) if os.path.isabs(path) and "\0" not in path else ""
        below = any(whole.startswith(root.rstrip(os.sep) + os.sep) for root in self._watched)
        return whole if below else ""

    def _file_at(self, address: str) -> str:
        """Return the file that a tool serves at *address*, if it lies in a watched folder.

        The folder that the end of the address names is there, below a folder that is watched; the
        file need not be yet. Nothing is fetched.
        """
        try:
            parts = urlsplit(address).path.replace("%20", " ").strip("/").split("/")
        except ValueError:  # [ without ], say
            return ""
        if any(part in ("", ".", "..") or "\0" in part or "\\" in part for part in parts):
            return ""
        for start in range(len(parts) - 1):
            for root in self._watched:
                path = os.path.join(root, *parts[start:])
                if os.path.isdir(os.path.dirname(path)):
                    return path
        return ""


def _read(line: Any, number: int, count: int) -> tuple[_Line, list[bytes]]:
    """Return a line that was posted, and the pictures that came with it.

    Raises:
        RequestError: It is none.
    """
    which = f"line {number}: " if count > 1 else ""
    try:
        read = msgspec.convert(line, _Line)
    except msgspec.ValidationError as error:
        asks = (line == {} and "; SwarmUI posts {} where its field for data is empty") or ""
        raise RequestError(f"{which}{error}{asks}; {_FORM}") from error
    if not read.tool.strip():
        raise RequestError(f"{which}tool must name what ran, got {read.tool!r}; {_FORM}")
    for field, count, most in (
        ("id", len(read.id), _LONGEST_NAME), ("outputs", len(read.outputs), _MOST_OUTPUTS)
    ):  # fmt: skip
        if count > most:
            raise RequestError(f"{which}{field} may have {most:,} at most, got {count:,}; {_FORM}")
    for field, moment in (("began", read.began), ("ended", read.ended)):
        if moment and as_utc(moment) is None:
            raise RequestError(f"{which}{field} must be ISO 8601, got {moment[:40]!r}; {_FORM}")
    if read.seconds is not None and not 0 <= read.seconds < 1e9:
        raise RequestError(f"{which}seconds must be 0 or more, got {read.seconds}; {_FORM}")
    if read.status == "completed" and not (
        read.graph or read.parameters or read.infotexts or read.outputs
    ):
        raise RequestError(
            f"{which}a completed execution says how it was made (graph, parameters or infotexts),"
            f" or what came of it (outputs); this line has neither; {_FORM}"
        )
    if any(output.image == "%image%" for output in read.outputs):
        raise RequestError(
            f"{which}image is still %image%, which SwarmUI fills in for each picture: the address"
            " belongs into EveryGenWebhook, or into ManualGenWebhook, and not for Manual At End"
        )
    sent = [_picture(o.image, which) for o in read.outputs if o.image.startswith("data:")]
    return read, sent


def _picture(address: str, which: str) -> bytes:
    head, _, text = address.partition(",")
    try:
        if not head.endswith(";base64"):
            raise ValueError(f"it begins with {head[:60]!r}")
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise RequestError(
            f"{which}a picture in a line is data:image/png;base64, and its bytes in base64: {error}"
        ) from error


def _without_query(address: str) -> str:
    """Return where something lies, without what may let somebody in there."""
    scheme, sign, rest = address.partition("?")[0].partition("#")[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{sign}{host.rpartition('@')[2]}{slash}{path}"[:_LONGEST_NOTE]
