"""blanks: what other tools executed that ended without a picture.

It failed, was stopped, drew nothing new or saved nothing. Such an execution (a *blank*) is known by
the line that its tool left in a spool, or by InvokeAI's queue. Pictures are found by browsing; a
blank is found here, by the page as by the command, with the same filters.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from safelight.application.configs_again import stages_of_picture
from safelight.application.picture_settings import PictureSettings, settings_of_picture
from safelight.archive import Archive
from safelight.archive.blanks import BlankTable
from safelight.archive.columns import Decoded, decoded
from safelight.archive.run_copies import IMPORTED
from safelight.archive_layout import packs_folder, records_folder
from safelight.errors import RecordError
from safelight.filter_tokens import quoted
from safelight.imports.told_pictures import OF_LINES, run_of_line
from safelight.knobs import STAGES
from safelight.learning.learning_record import ImageOutput, LearningRecord

__all__ = ["DRAWN_HERE", "ENDINGS", "Blank", "BlankPage", "Blanks", "NamedPicture", "blank_of",
           "count_words", "tool_name"]  # fmt: skip

Status = Literal["failed", "cancelled", "completed"]

ENDINGS: Mapping[Status, str] = {
    "failed": "failed", "cancelled": "stopped", "completed": "no new picture",
}  # fmt: skip
"""How a blank ended -> in words."""

_NAMES = {
    "a1111": "AUTOMATIC1111", "comfyui": "ComfyUI", "forge": "Forge", "forge-neo": "Forge Neo",
    "reforge": "reForge", "sdnext": "SD.Next",
}  # fmt: skip
_OF_OTHERS = (OF_LINES, "import-")
"""How the names of runs begin that other tools have carried out."""

DRAWN_HERE = "status != 'imported' and not (pictures = 0 and ({}))".format(
    " or ".join(f"run_id has '{own}'" for own in _OF_OTHERS)
)
"""Chooses the runs of safelight itself, in the filter language of the view ``runs``."""

_AT_NODE = re.compile(r"node (\S+) \(([^()]*)\): ", re.DOTALL)
_WHOLE_SECOND = ".000000Z"
_MOST_NAMED = 20
_LOOK_ANYWAY = 60.0
"""Seconds after which the archive is asked, whatever its folders say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPicture:
    """A picture that a blank speaks of.

    Attributes:
        name: Its file's; empty where it was in memory only.
        path: Where the tool had it.
        sha256: Of the picture of the archive that lies there, or has its pixels; empty for none.
    """

    name: str
    path: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Blank:
    """One execution that ended without a picture.

    Attributes:
        run_id: Its record's.
        began: UTC, ISO 8601.
        seconds: How long it took; 0 where nobody says.
        status: How it ended.
        tool: What ran, as people call it.
        version: Of it.
        error: Why it failed, without the node; empty for others.
        node: Where, ``20`` of ComfyUI's graph; empty where no node is told.
        node_kind: What that node is.
        settings: What it was asked for.
        cached: How many nodes did not run again.
        pictures: Those that it speaks of, 20 at most.
        record: All of it.
    """

    run_id: str
    began: str
    seconds: float
    status: Status
    tool: str
    version: str
    error: str
    node: str
    node_kind: str
    settings: PictureSettings
    cached: int
    pictures: tuple[NamedPicture, ...]
    record: LearningRecord

    @property
    def ended(self) -> str:
        """How it ended, in a word or three."""
        return ENDINGS[self.status]

    @property
    def words(self) -> str:
        """What was asked for, in words."""
        return self.settings.words or "(no prompt)"

    @property
    def why(self) -> str:
        """Why there is no picture: a sentence, or the tool's words; empty where it was stopped."""
        if self.status == "failed":
            where = f"{self.node_kind or 'node'} (node {self.node}): " if self.node else ""
            return where + self.error
        if self.status == "cancelled":
            return ""  # nobody says more
        if any(one.sha256 for one in self.pictures):
            return "It came through, and its picture was there already."
        if any(one.path for one in self.pictures):
            names = ", ".join(one.name for one in self.pictures if one.path)
            return f"It came through; its picture lies where nobody looks, or is gone: {names}."
        if self.pictures:
            return "It came through; its picture was not saved, or not where somebody looks."
        return "It came through, and saved no picture."

    @property
    def facts(self) -> tuple[str, ...]:
        """The settings that people name first, short: ``2 steps``, ``CFG 7``."""
        told = {one.name: one.value for one in self.settings.settings}
        short = {"steps": "{} steps", "cfg_scale": "CFG {}", "seed": "seed {}"}
        return tuple(
            short.get(name, "{}").format(told[name])
            for name in ("model", "sampler", "scheduler", "steps", "cfg_scale", "seed")
            if told.get(name)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BlankPage:
    """Some blanks, and how many there are of the condition.

    Attributes:
        blanks: The newest first.
        after: Where the next page begins.
        count: All that meet the condition.
        by_status: Status -> how many, in the order of ``ENDINGS``; those that are none are absent.
    """

    blanks: tuple[Blank, ...]
    after: str | None
    count: int
    by_status: Mapping[Status, int]


class Blanks:
    """The executions of an archive that ended without a picture; asked again, it reads what is new.

    Args:
        archive: Their archive.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._lock = threading.Lock()
        self._known: dict[str, Decoded] = {}
        self._table: BlankTable | None = None
        self._seen: tuple[object, ...] = ()
        self._look_anyway = 0.0
        self._may_be_saved = False

    def find(self, condition: str = "", *, limit: int = 50, after: str | None = None) -> BlankPage:
        """Return the blanks that meet *condition*.

        Args:
            condition: In the language of ``safelight find``, of what they were asked for; besides
                there is ``error``, in which words are looked for, too.
            limit: Most of a page; 0 where only the numbers are wanted.
            after: ``BlankPage.after`` of the page before.

        Raises:
            FilterError: *condition* or *after* cannot be read.
            ArchiveError: The archive cannot answer.
        """
        table = self._caught_up()
        counted = table.count(condition, "status")
        runs, following = table.find(condition, limit=limit, after=after) if limit else ([], None)
        records = {record.run_id: record for record in self._archive.records(runs)}
        shown = [records[run_id] for run_id in runs if run_id in records]
        return BlankPage(
            blanks=tuple(_blanks_of(self._archive, shown)), after=following,
            count=sum(counted.values()),
            by_status={status: counted[status] for status in ENDINGS if counted.get(status)},
        )  # fmt: skip

    def _caught_up(self) -> BlankTable:
        """Return the table with what the archive has now."""
        with self._lock:
            seen, now = self._looked_at(), time.monotonic()
            if self._table is not None and seen == self._seen and now < self._look_anyway:
                return self._table
            runs = _blank_runs(self._archive) if self._archive.path.is_dir() else set()
            if self._table is None or runs != self._known.keys():
                new = self._archive.documents(runs - self._known.keys())
                self._known = {name: one for name, one in self._known.items() if name in runs}
                for run_id, document in new:
                    with suppress(RecordError):  # what is damaged is told by the archive
                        self._known.setdefault(run_id, decoded(document))
                self._may_be_saved = any(
                    one.status == "completed" and b'"pixel_sha256"' in bytes(one.metadata)
                    for one in self._known.values()
                )
                self._table = BlankTable(list(self._known.values()))
            self._seen, self._look_anyway = seen, now + _LOOK_ANYWAY
            return self._table

    def _looked_at(self) -> tuple[object, ...]:
        """Return what changes when blanks do, at a small cost: pictures come by the second.

        A blank is a file by its name until it is packed. Other records matter only while a picture
        that was in memory may still be saved.
        """
        records, packs = records_folder(self._archive.path), packs_folder(self._archive.path)
        try:
            names = frozenset(name for name in os.listdir(records) if f"_{OF_LINES}" in name)
            change = records.stat().st_mtime_ns if self._may_be_saved else 0
        except OSError:
            names, change = frozenset(), 0
        return names, change, packs.stat().st_mtime_ns if packs.is_dir() else 0


def blank_of(archive: Archive, record: LearningRecord) -> Blank | None:
    """Return the blank that *record* tells of; None when it is another record.

    Raises:
        ArchiveError: The archive cannot answer.
    """
    if not record.run_id.startswith(_OF_OTHERS) or record.outputs or record.status not in ENDINGS:
        return None
    return next(_blanks_of(archive, [record]))


def count_words(by_status: Mapping[Status, int]) -> str:
    """Return how many ended how: ``1 failed, 2 stopped``."""
    return ", ".join(f"{count:,} {ENDINGS[status]}" for status, count in by_status.items())


def tool_name(tool: str) -> str:
    """Return what people call a tool."""
    return _NAMES.get(tool, tool or "a tool that gave no name")


def _blank_runs(archive: Archive) -> set[str]:
    """Return the runs that are blanks.

    A script tells of its pictures before it saves them. Once one is found, its record has the
    beginning and the length of the execution, which no other picture has; where clocks go by whole
    seconds, others may, and the record is asked for the execution's name.
    """
    told = archive.rows(
        "SELECT run_id, status, timestamp, seconds FROM runs"
        " WHERE pictures = 0 AND (starts_with(run_id, ?) OR starts_with(run_id, ?))",
        [*_OF_OTHERS], rated=False,
    )  # fmt: skip
    through = [timestamp for _, status, timestamp, _ in told if status == "completed"]
    pictures = archive.rows(
        "SELECT DISTINCT timestamp, seconds, run_id FROM images WHERE status = 'imported'"
        " AND seconds > 0 AND timestamp IN (SELECT unnest(?::VARCHAR[]))",
        [through], rated=False,
    ) if through else []  # fmt: skip
    found = {(timestamp, seconds) for timestamp, seconds, _ in pictures}
    coarse = [run_id for timestamp, _, run_id in pictures if timestamp.endswith(_WHOLE_SECOND)]
    spools = [_spool(record) for record in archive.records(coarse)]
    named = {run_of_line(str(spool["id"])) for spool in spools if "id" in spool}
    return {
        run_id for run_id, status, timestamp, seconds in told
        if status in ENDINGS and not (
            status == "completed" and (timestamp, seconds) in found
            and (run_id in named or not timestamp.endswith(_WHOLE_SECOND))
        )
    }  # fmt: skip


def _blanks_of(archive: Archive, records: Iterable[LearningRecord]) -> Iterator[Blank]:
    """Yield what each of some records tells."""
    told = [(record, _spool(record)) for record in records]
    named = [one for _, spool in told for one in _outputs(spool)]
    at: dict[str, str] = {}
    for column in ("path", "pixel_sha256"):
        wanted = sorted({str(one[column]) for one in named if isinstance(one.get(column), str)})
        if wanted:
            which = f"{column} in ({', '.join(map(quoted, wanted))})"
            answer = archive.query(which, columns=[column, "sha256"], limit=None)
            at |= {str(key): str(sha256) for key, sha256 in answer.rows}
    for record, spool in told:
        yield _blank(record, spool, at)


def _blank(record: LearningRecord, spool: Mapping[str, Any], at: Mapping[str, str]) -> Blank:
    error, cached = record.error or "", spool.get("cached")
    node = _AT_NODE.match(error)
    return Blank(
        run_id=record.run_id, began=record.timestamp, seconds=sum(record.seconds.values()),
        status=cast("Status", record.status),
        tool=tool_name(str(record.backend.get("name") or "")),
        version=str(record.backend.get("version") or ""),
        error=error[node.end() :] if node else error,
        node=node[1] if node else "", node_kind=node[2] if node else "",
        settings=_asked_for(record), cached=len(cached) if isinstance(cached, list) else 0,
        pictures=tuple(_named(one, at) for one in _outputs(spool)), record=record,
    )  # fmt: skip


def _named(output: Mapping[str, Any], at: Mapping[str, str]) -> NamedPicture:
    path = output.get("path")
    path = path if isinstance(path, str) else ""
    name = re.split(r"[/\\]", path)[-1]
    return NamedPicture(
        name=name, path=path, sha256=at.get(path) or at.get(str(output.get("pixel_sha256")), "")
    )


def _asked_for(record: LearningRecord) -> PictureSettings:
    """Return the settings of a blank, read as those of an imported picture are."""
    config = record.variant_configs[0] if record.variant_configs else {}
    stage = next((stage for stage in reversed(STAGES) if stage in config), STAGES[0])
    read = replace(record, status=IMPORTED)
    nothing = ImageOutput(
        variant=0, stage=stage, sha256="", pixel_sha256="", width=0, height=0
    )  # fmt: skip
    return settings_of_picture(nothing, stages_of_picture(config, stage, read), read)


def _spool(record: LearningRecord) -> Mapping[str, Any]:
    notes = record.metadata.get("import")
    spool = notes.get("spool") if isinstance(notes, Mapping) else None
    return spool if isinstance(spool, Mapping) else {}


def _outputs(spool: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    outputs = spool.get("outputs")
    listed = outputs if isinstance(outputs, (list, tuple)) else ()
    return [one for one in listed if isinstance(one, Mapping)][:_MOST_NAMED]
