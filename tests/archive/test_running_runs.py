"""A run is followed while it goes on: its pictures count at once, and only once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from safelight.application.live_runs import LiveRuns
from safelight.archive import Archive, pictures_in_memory, running_runs
from safelight.archive.running_runs import GrowingJournal
from safelight.archive_layout import JOURNAL_NAME, records_folder, run_folder, running_folder
from safelight.backends.fake import FakeBackend
from safelight.durable_file import AppendOnlyFile
from safelight.errors import FileRefused
from safelight.learning import LearningRecord, LearningRecordWriter
from safelight.learning.ratings import Identity, RatingEvent
from safelight.pipeline import PipelineRunner
from safelight.web import held_archive
from safelight.web.held_archive import HeldArchive

SWEEP: dict[str, Any] = {
    "name": "going",
    "txt2img": {"prompt": "a {red|blue} fox <lora:ink:0.4>", "seed": 7, "width": 64, "height": 64},
    "randomizer": {"sweep": {"txt2img.steps": [1, 2, 3]}},
}
ALL, RED, STEPS, LORA = "", "prompt has 'red fox'", "steps = 2", "lora.ink = 0.4"


def drawn(archive: Path, config: dict[str, Any], **options: Any) -> LearningRecord:
    with LearningRecordWriter(records_folder(archive)) as writer:
        runner = PipelineRunner(
            FakeBackend(**options), archive_dir=archive, learning_record_writer=writer
        )
        run_id = runner.run(config).run_id
    return Archive(archive).record(run_id)


class Again:
    """A run that has ended, to be carried out once more: a line of its journal at a time."""

    def __init__(self, archive: Path, record: LearningRecord) -> None:
        self.record = record
        self.folder = archive / run_folder(record.timestamp, record.run_id)
        self.journal = self.folder / JOURNAL_NAME
        self.marker = running_folder(archive) / record.run_id
        (self._file,) = records_folder(archive).glob(f"*{record.run_id}.json")
        self._document = self._file.read_bytes()
        header, *self._lines = self.journal.read_bytes().splitlines(keepends=True)
        self._file.unlink()
        self.journal.write_bytes(header)
        self.marker.write_text(self.folder.relative_to(archive).as_posix())

    def variants(self) -> Iterator[int]:
        """Finish one variant after another, and yield how many there are."""
        for number, line in enumerate(self._lines[:-1], start=1):
            with self.journal.open("ab") as file:
                file.write(line)
            yield number

    def write_half_a_line(self) -> None:
        with self.journal.open("ab") as file:
            file.write(b'{"config":{"txt2im')

    def end(self) -> None:
        self._file.write_bytes(self._document)
        self.marker.unlink()


def test_pictures_of_a_run_that_goes_on_count_at_once_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By words, settings, LoRAs and stars; when the run has ended, the counts are the archive's."""
    monkeypatch.setattr(held_archive, "_LOOK_AT_RUNS", 0.0)
    monkeypatch.setattr(running_runs, "_MOST_BYTES", 6000)  # some lines at a time
    monkeypatch.setattr(pictures_in_memory, "_NEWEST", 1)  # those that are asked first
    earlier = {**SWEEP["txt2img"], "prompt": "a grey hare <lora:ink:0.4>"}
    drawn(tmp_path, {**SWEEP, "name": "before", "txt2img": earlier})
    again = Again(tmp_path, drawn(tmp_path, SWEEP))
    with closing(HeldArchive(tmp_path, rest=0, running=True)) as held:
        held.hold()

        def count(q: str) -> int:
            found = len(held.query(q, limit=None).rows)
            assert held.facets(q)[0] == found
            return found

        for made in again.variants():
            rows = held.query("status = 'running'", columns=["place", "sha256", "variant"]).rows
            assert sorted(row[0] for row in rows) == sorted(row[2] for row in rows)
            assert [row[0] for row in rows] == list(range(made - 1, -1, -1))
            assert (count(ALL), count(LORA)) == (made + 3, made + 3)
            assert held.query("prompt has 'ink'", limit=1).rows == held.query(limit=1).rows
            if made == 4:
                assert (count(RED), count(STEPS)) == (3, 2)
                with Archive(tmp_path).ratings() as store:
                    store.add(RatingEvent.now("stars", Identity(sha256=rows[0][1]), value=5))
                assert count("stars = 5 and status = 'running'") == 1
                so_far = held.record(again.record.run_id)
                assert (so_far.status, len(so_far.outputs)) == ("running", 4)
        again.write_half_a_line()
        assert count("status = 'running'") == 6
        again.end()
        assert count("status = 'running'") == 0
        assert held.record(again.record.run_id) == again.record
        for q in (ALL, RED, STEPS, LORA, "stars = 5", f"run_id = '{again.record.run_id}'"):
            disk = Archive(tmp_path).query(q, limit=None).rows
            assert held.query(q, limit=None).rows == disk
            assert count(q) == len(disk) > 0


def test_the_record_so_far_is_read_once_for_all_pictures_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_archive, "_LOOK_AT_RUNS", 0.0)
    again = Again(tmp_path, drawn(tmp_path, SWEEP))
    run_id = again.record.run_id
    with closing(HeldArchive(tmp_path, running=True)) as held:
        held.hold()
        for made in again.variants():
            so_far = held.record(run_id)
            assert len(so_far.outputs) == made
            assert held.record(run_id) is so_far
        again.end()
        held.query(limit=1)
        assert held._so_far is None, "nobody needs it when the run has ended"
        assert held.record(run_id) == again.record


def test_acts_on_all_of_a_filter_know_what_was_said_while_a_run_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture that was just taken back from the rejected ones must not be among them."""
    monkeypatch.setattr(held_archive, "_LOOK_AT_RUNS", 0.0)
    again = Again(tmp_path, drawn(tmp_path, SWEEP))
    with closing(HeldArchive(tmp_path, running=True)) as held, Archive(tmp_path).ratings() as store:
        held.hold()
        for made, value in zip(again.variants(), (True, False), strict=False):
            assert held.chosen("rejected = true").count == made - 1
            picture = Identity(sha256=again.record.outputs[0].sha256)
            store.add(RatingEvent.now("reject", picture, value=value))
        next(again.variants())  # the journal has grown, too
        assert held.chosen("rejected = true").count == 0


def test_a_run_is_told_by_its_growing_journal(tmp_path: Path) -> None:
    """How far, how fast, what failed and why; and that nobody draws any more, with its record."""
    config = {**SWEEP, "txt2img": {**SWEEP["txt2img"], "prompt": "a {blue|red} fox"}}
    again = Again(tmp_path, drawn(tmp_path, config, fail_on=["blue"]))
    began = datetime.fromisoformat(again.record.timestamp).timestamp()
    clock = 0.0
    live = LiveRuns(tmp_path, host="here", clock=lambda: clock, now=lambda: began)
    with AppendOnlyFile(again.journal, create=False):
        for made in again.variants():
            os.utime(again.journal, (began + 10 * made, began + 10 * made))
            clock += 10
            (run,) = live.look()
            assert (run.done, run.state) == (made, "drawing")
            assert run.per_minute == pytest.approx(6, rel=0.01)
            assert run.seconds_left == pytest.approx(10 * (6 - made), abs=0.1)
            if made == 4:
                break
    assert (run.name, run.engine, run.variants) == ("going", "fake", 6)
    assert (run.failed, run.pictures, len(run.newest)) == (3, 1, 1)
    assert "blue" in run.last_failure
    clock += 10
    (run,) = live.look()
    assert run.state == "stopped"
    assert Archive(tmp_path).query(view="runs").rows == (), "who ends needs a moment for its record"
    clock += 10
    live.look()
    clock += 10
    assert live.look() == ()
    assert Archive(tmp_path).record(again.record.run_id).status == "interrupted"


@pytest.mark.parametrize(
    ("place", "fault"), [("../outside", ValueError), ("images/link", FileRefused)]
)
def test_a_marker_that_leads_out_of_the_archive_is_not_followed(
    tmp_path: Path, place: str, fault: type[Exception]
) -> None:
    """Archives come from anywhere."""
    archive = tmp_path / "archive"
    running_folder(archive).mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / JOURNAL_NAME).write_text('{"run_id": "x"}\n')
    (archive / "images").mkdir()
    (archive / "images" / "link").symlink_to(outside)
    (running_folder(archive) / "x").write_text(place)
    with pytest.raises(fault):
        GrowingJournal(archive, "x").new_lines()
    assert LiveRuns(archive).look() == ()


def test_of_very_many_markers_the_newest_runs_are_followed(tmp_path: Path) -> None:
    """Runs that were killed long ago may have left theirs."""
    folder = running_folder(tmp_path)
    folder.mkdir(parents=True)
    for number in range(203):
        mark = folder / f"{'z' if number < 202 else 'a'}{number:04d}"
        mark.write_text("")
        os.utime(mark, (number, number))
    names = running_runs.running_names(tmp_path)
    assert len(names) == 200
    assert names[0] == "a0202"
    assert "z0002" not in names
