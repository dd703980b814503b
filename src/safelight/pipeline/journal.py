"""RunJournal: a run's account while it runs, beside its images, a line per finished variant.

The run's learning record is folded from the journal's lines, by the run itself when it ends
and by :func:`recover_interrupted_runs` when the process was killed: one piece of code, so
that both tell the same story. A marker in ``running/`` names each journal whose record is
not safe yet; recovery therefore looks at open runs only, however large the archive is. The
journal is locked while its run lives, so a journal that can be locked belongs to no one.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from safelight.archive_layout import JOURNAL_NAME, marked_folder, records_folder, running_folder
from safelight.durable_file import (
    AppendOnlyFile,
    make_folder,
    read_regular_file,
    remove_file,
    write_new_file,
)
from safelight.errors import RecordError, sentence_of
from safelight.learning.learning_record import (
    ImageOutput,
    LearningRecord,
    LearningRecordWriter,
    VariantFailure,
    record_stem,
)
from safelight.learning.snapshot import plain_snapshot
from safelight.line_checksums import line_state, with_checksum

__all__ = [
    "RunJournal",
    "VariantEntry",
    "fold",
    "journal_of",
    "read_journal",
    "recover_interrupted_runs",
    "seconds_per_stage",
]

_log = logging.getLogger(__name__)


class VariantEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one variant.

    Attributes:
        position: Place among the variants of the run, from 0.
        config: Stage -> effective knobs.
        label: What was chosen, or None.
        choices: Source -> chosen value.
        templates: ``stage.knob`` -> the prompt as written, for prompts that were expanded.
        outputs: Its images.
        failures: At most one: the stage that failed.
        warnings: What the engine wants the user to know.
        seconds: Stage -> seconds in the engine.
        finished: Whether every stage was tried; False when the run was cancelled in between.
        identity: What makes it the same as another variant; empty when that is not known.
        drawn_by: The run that drew it, when this run took it from there.
        worker: Who drew it, where several engines do.
        lost_seconds: Time spent on tries that came to nothing.
    """

    position: int
    config: dict[str, dict[str, Any]]
    label: str | None = None
    choices: dict[str, Any] = {}
    templates: dict[str, str] = {}
    outputs: tuple[ImageOutput, ...] = ()
    failures: tuple[VariantFailure, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: dict[str, float] = {}
    finished: bool = True
    identity: str = ""
    drawn_by: str | None = None
    worker: str = ""
    lost_seconds: float = 0.0


_encoder = msgspec.json.Encoder(order="sorted")
_entry_decoder = msgspec.json.Decoder(VariantEntry)


class _Ending(msgspec.Struct, kw_only=True):
    status: str
    error: str | None = None


_ending_decoder = msgspec.json.Decoder(_Ending)
_ENDING = (b'{"error":', b'{"status":')
"""How the last line begins: its keys are sorted, and no variant has them."""


class RunJournal:
    """The lines of one run: in memory, and in a file when the run has a folder.

    Trouble with the file is logged once and shown by :attr:`trouble`; the run goes on and
    its record is made from memory.

    Attributes:
        header: The fields of the record that are known when the run begins, plain JSON.
        entries: The finished variants.
        trouble: Why the file is incomplete, or None.
    """

    def __init__(self, header: Mapping[str, Any]) -> None:
        self.header = header
        self.entries: list[VariantEntry] = []
        self.trouble: str | None = None
        self._file: AppendOnlyFile | None = None
        self._marker: Path | None = None

    def open_file(self, archive: Path, folder: Path, *, recorded: bool) -> None:
        """Begin the file in *folder*, below *archive*.

        Args:
            archive: The archive folder.
            folder: The run's folder, which exists.
            recorded: Whether the run will have a record; only then can it be recovered.
        """
        try:
            self._file = AppendOnlyFile(folder / JOURNAL_NAME)
            self._file.append(with_checksum(_encoder.encode(self.header)))
            if recorded:
                running = running_folder(archive)
                make_folder(running, root=archive)
                content = folder.relative_to(archive).as_posix().encode()
                self._marker = write_new_file(running, self.header["run_id"], "", content)
        except OSError as error:
            self._note(error)

    def add(self, entry: VariantEntry, *, flush: bool = True) -> bool:
        """Add a finished variant, whose images must be safe by now; return whether it is, too.

        Args:
            entry: The variant.
            flush: Whether to wait for the disk; what another run has drawn can be found again.
        """
        self.entries.append(entry)
        self._append(_encoder.encode(entry), flush=flush)
        return self.trouble is None

    def end(self, status: str, error: str | None) -> None:
        """Note how the run ended, and let go of the file."""
        self._append(_encoder.encode(plain_snapshot({"status": status, "error": error})))
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def recoverable(self) -> bool:
        """Whether the next command can make the record from the file."""
        return self._marker is not None and self.trouble is None

    def record_is_safe(self) -> None:
        """Take the marker away: there is nothing left to recover."""
        if self._marker is not None:
            with contextlib.suppress(OSError):
                remove_file(self._marker)

    def _append(self, line: bytes, *, flush: bool = True) -> None:
        if self._file is None or self.trouble:
            return
        try:
            self._file.append(with_checksum(line), flush=flush)
        except OSError as error:
            self._note(error)

    def _note(self, error: OSError) -> None:
        self.trouble = f"the run's journal is incomplete: {error}"
        _log.warning("%s", self.trouble)


def fold(
    header: Mapping[str, Any], entries: Iterable[VariantEntry], status: str, error: str | None
) -> LearningRecord:
    """Return the learning record that a run's journal amounts to.

    Raises:
        RecordError: The header is not that of a run.
    """
    try:
        return _folded(header, list(entries), status, error)
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise RecordError(f"the journal does not begin as a run's does: {problem!r}") from problem


def seconds_per_stage(entries: Iterable[VariantEntry]) -> dict[str, float]:
    """Return stage -> seconds in the engine, all *entries* together."""
    seconds: dict[str, float] = {}
    for entry in entries:
        for stage, spent in entry.seconds.items():
            seconds[stage] = round(seconds.get(stage, 0.0) + spent, 6)
    return seconds


def _prompts(entries: Iterable[VariantEntry]) -> dict[str, Any]:
    """Return ``stage.knob`` -> the prompt as written; of a pack the list of all prompts."""
    written: dict[str, dict[str, None]] = {}
    for entry in entries:
        for place, text in entry.templates.items():
            written.setdefault(place, {})[text] = None
    return {
        place: list(texts) if len(texts) > 1 else next(iter(texts))
        for place, texts in written.items()
    }


_Of = TypeVar("_Of", ImageOutput, VariantFailure)


def _placed(item: _Of, places: Mapping[int, int]) -> _Of:
    """Return *item* with its place in ``variant_configs``.

    That is its variant's place in the run unless an earlier variant left nothing, which
    happens when several are drawn at a time and the run is stopped.
    """
    place = places.get(item.variant, item.variant)
    return item if place == item.variant else msgspec.structs.replace(item, variant=place)


def _folded(
    header: Mapping[str, Any], entries: list[VariantEntry], status: str, error: str | None
) -> LearningRecord:
    entries.sort(key=lambda entry: entry.position)
    places = {entry.position: place for place, entry in enumerate(entries)}
    warnings = [*header.get("warnings", ()), *(w for entry in entries for w in entry.warnings)]
    template = {
        "prompts": _prompts(entries),
        **header.get("template", {}),
        "variants": [_about(entry, header.get("first_variant", 0)) for entry in entries],
    }
    given = {
        key: value
        for key, value in header.items()
        if key not in ("base_config", "randomizer_mode", "randomizer_plan_size", "resume")
    }
    given.update(
        status=status,
        error=error,
        outputs=tuple(_placed(o, places) for entry in entries for o in entry.outputs),
        failures=tuple(_placed(f, places) for entry in entries for f in entry.failures),
        warnings=tuple(dict.fromkeys(warnings)),
        template=template,
        seconds=seconds_per_stage(entries),
    )
    return LearningRecord.from_pipeline_context(
        header["base_config"],
        [entry.config for entry in entries],
        {"mode": header["randomizer_mode"], "plan_size": header["randomizer_plan_size"]},
        None,
        **given,
    )


def _about(entry: VariantEntry, first: int) -> dict[str, Any]:
    """Return what a record's template says of one variant."""
    about: dict[str, Any] = {"label": entry.label, "choices": entry.choices}
    if entry.identity:
        about |= {"identity": entry.identity, "place": first + entry.position}
    if entry.drawn_by:
        about["drawn_by"] = entry.drawn_by
    return about


def read_journal(
    path: Path,
) -> tuple[dict[str, Any], list[VariantEntry], dict[str, Any] | None]:
    """Return the header, the finished variants, and how the run ended (None: it did not).

    A torn last line, which a power cut can leave, is passed over, and so is a damaged one.

    Raises:
        RecordError: The file is missing or does not begin as a journal does.
    """
    try:
        lines = read_regular_file(path).split(b"\n")
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error}") from error
    try:
        header = msgspec.json.decode(lines[0], type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise RecordError(f"{path}: has no readable first line: {error}") from error
    if line_state(lines[0]) == "damaged":
        raise RecordError(f"{path}: has a damaged first line")
    header.pop("check", None)
    entries: list[VariantEntry] = []
    for number, line in enumerate(lines[1:], start=2):
        if not line:
            continue
        try:
            if line_state(line) == "damaged":
                raise ValueError("it is damaged")
            if line.startswith(_ENDING):
                return header, entries, msgspec.structs.asdict(_ending_decoder.decode(line))
            entries.append(_entry_decoder.decode(line))
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            _log.warning("%s: line %d is passed over: %s", path, number, error)
    return header, entries, None


def recover_interrupted_runs(
    archive: Path, writer: LearningRecordWriter
) -> tuple[LearningRecord, ...]:
    """Write the record of every run that ended without one, and return those records.

    A run that was killed gets status ``interrupted``; one that ended but whose record could
    not be written gets the status that it had. Runs that are still alive are left alone.
    Any number of processes may recover at once. Never raises.
    """
    recovered = []
    try:
        markers = sorted(running_folder(archive).iterdir())
    except OSError:
        return ()
    for marker in markers:
        if marker.name.startswith("."):
            continue
        try:
            record = _recover(archive, marker, writer)
        except Exception as error:  # noqa: BLE001 - one damaged journal must stop nobody
            _log.warning(
                "run %s cannot be recovered: %s; its record can be made from its pictures with:"
                " safelight archive recover",
                marker.name,
                sentence_of(error),
            )
            continue
        if record is not None:
            recovered.append(record)
    return tuple(recovered)


def journal_of(archive: Path, marker: Path) -> Path:
    """Return the journal of the run that *marker* stands for.

    Raises:
        OSError: The marker cannot be read.
        ValueError: It is no text, or leads out of the archive.
    """
    return archive / marked_folder(marker) / JOURNAL_NAME


def _recover(archive: Path, marker: Path, writer: LearningRecordWriter) -> LearningRecord | None:
    journal = journal_of(archive, marker)
    try:
        held = AppendOnlyFile(journal, create=False)
    except BlockingIOError:
        return None
    except FileNotFoundError:
        _log.warning(
            "run %s was interrupted, and its folder is gone: nothing is left to record", marker.name
        )
        remove_file(marker, missing_ok=True)
        return None
    with held:
        header, entries, ending = read_journal(journal)
        status = ending["status"] if ending else "interrupted"
        record = fold(header, entries, status, ending.get("error") if ending else None)
        stem = record_stem(record.timestamp, record.run_id)
        if (records_folder(archive) / f"{stem}.json").exists():
            remove_file(marker, missing_ok=True)
            return None
        writer.write(record)
        if record in writer.pending:
            return None
        remove_file(marker, missing_ok=True)
        return record
