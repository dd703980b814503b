"""What was acknowledged on one side arrives on the other, whichever way archives are carried."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive.memory_store import MemoryStore
from archive.test_archive import cut_short, filled, record, run_ids
from archives import verified
from safelight.archive import Archive
from safelight.archive.folder_copy import FolderCopy, merge_archives
from safelight.archive.packs import read_packs, write_pack
from safelight.archive.transfer import Carried, Entry, carry
from safelight.archive_layout import packs_folder, ratings_folder, records_folder, searches_file
from safelight.backends.fake import FakeBackend
from safelight.durable_file import AppendOnlyFile
from safelight.errors import StorageError
from safelight.learning import LearningRecordWriter
from safelight.learning.ratings import Identity, RatingEvent, RatingStore, current_ratings
from safelight.object_archive import pull_archive, push_archive
from safelight.pipeline import PipelineRunner, recover_interrupted_runs

A, B = Identity(sha256="a" * 64), Identity(sha256="b" * 64)


def stars(archive: Path, *values: int, picture: Identity = A) -> None:
    with RatingStore(ratings_folder(archive)) as store:
        store.add(*(RatingEvent.now("stars", picture, value=value) for value in values))


def ids(archive: Path) -> set[str]:
    return {event.event_id for event in RatingStore(ratings_folder(archive)).events()}


def write(path: Path, data: bytes, modified: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if modified:
        os.utime(path, (modified, modified))
    return path


class TransferContract(ABC):
    """Subclass it, and carry in one more way."""

    @abstractmethod
    def carry(self, source: Path, target: Path) -> list[Carried]:
        """Carry from *source* to *target*; return what each step did."""

    @pytest.fixture
    def one(self, tmp_path: Path) -> Path:
        return tmp_path / "one"

    @pytest.fixture
    def two(self, tmp_path: Path) -> Path:
        return tmp_path / "two"

    def whole(self, source: Path, target: Path) -> int:
        """Carry without any trouble; return how many files were written at the end."""
        done = self.carry(source, target)
        for step in done:
            assert (step.bad, step.conflicts) == ([], [])
        return done[-1].files

    def test_a_rating_given_later_arrives_with_the_next_transfer(
        self, one: Path, two: Path
    ) -> None:
        """A light table writes one file all day: it grows, and is never the same twice."""
        with RatingStore(ratings_folder(one)) as table:
            for turn in range(1, 4):
                event = RatingEvent.now("stars", A, value=turn)
                table.add(*(RatingEvent.now("stars", B, value=3) for _ in range(5)), event)
                assert self.whole(one, two) == 1
                assert ids(two) == ids(one)
                assert current_ratings(RatingStore(ratings_folder(two)).events())[A].stars == turn
                assert self.whole(one, two) == 0, "nothing is carried twice"
        assert len(ids(two)) == 18
        assert verified(Archive(two)) == (0, [])

    def test_everything_of_an_archive_arrives(self, one: Path, two: Path) -> None:
        """Records, packs, pictures, journals, ratings, logs, presets and searches."""
        filled(one, range(5)).pack()
        filled(one, range(5, 8))
        files = {
            "images/2026-01-01/000000-ab/00000-txt2img-1.png": b"png",
            "images/2026-01-01/000000-ab/journal.jsonl": b'{"run_id":"ab"}\n{"position":0}\n',
            "images/2026-01-01/000000-ab/contact_sheet.png": b"sheet",
            "imports/seen-1.jsonl": b'{"path":"x"}\n',
            "presets/good.toml": b"name = 'good'",
            "searches.json": b"[]",
        }
        for key, data in files.items():
            write(one / key, data, modified=1_700_000_000)
        stars(one, 4)
        write(one / "notes.txt", b"mine")
        write(one / "images" / "2026-01-01" / "virus.exe", b"MZ")
        write(one / ".thumbnails" / "x.webp", b"small")
        first = self.carry(one, two)[0]
        assert sorted(first.unknown) == ["images/2026-01-01/virus.exe", "notes.txt"]
        assert first.unknown_count == 2
        for key, data in files.items():
            assert (two / key).read_bytes() == data
        assert ids(two) == ids(one)
        assert run_ids(Archive(two)) == run_ids(Archive(one))
        assert not (two / "notes.txt").exists()
        assert verified(Archive(two)) == (8, [])
        assert self.whole(one, two) == 0

    def test_ratings_of_both_sides_are_united(self, one: Path, two: Path) -> None:
        """Two people rated while they were apart, and the files went to and fro before."""
        stars(one, 1, 2)
        self.whole(one, two)
        stars(two, 3)
        stars(one, 4, picture=B)
        self.whole(two, one)
        self.whole(one, two)
        assert ids(one) == ids(two)
        assert len(ids(one)) == 4

    def test_a_file_that_somebody_holds_is_extended_beside_it(self, one: Path, two: Path) -> None:
        """A light table is open on its own segment, of which a copy knows more than it does."""
        with RatingStore(ratings_folder(two)) as table:
            table.add(RatingEvent.now("stars", A, value=1))
            self.whole(two, one)
            (copy,) = ratings_folder(one).iterdir()
            more = RatingEvent.now("stars", B, value=5)
            with AppendOnlyFile(copy) as file:
                file.append(more.to_json())
            assert self.whole(one, two) == 1
            table.add(RatingEvent.now("stars", A, value=2))
            assert len(ids(two)) == 3
            assert more.event_id in ids(two)
            assert self.whole(one, two) == 0
        self.whole(two, one)
        assert ids(one) == ids(two)

    def test_the_newest_of_what_is_replaced_stays_and_the_other_lies_beside_it(
        self, one: Path, two: Path
    ) -> None:
        """Nobody's saved searches are lost, whichever archive is carried where."""
        for first, second in ((one, two), (two, one)):
            for folder in (one, two):
                shutil.rmtree(folder, ignore_errors=True)
            write(searches_file(first), b"old", modified=1_700_000_000)
            write(searches_file(second), b"new", modified=1_700_000_100)
            self.whole(one, two)
            assert searches_file(two).read_bytes() == b"new"
            kept = {path.read_bytes() for path in two.glob("searches~*.json")}
            assert kept == {b"old"}
            before = sorted(path.name for path in two.iterdir())
            self.whole(one, two)
            assert sorted(path.name for path in two.iterdir()) == before
            assert verified(Archive(two)) == (0, [])

    def test_a_damaged_record_is_told_and_costs_itself_only(self, one: Path, two: Path) -> None:
        filled(one, range(3))
        bad = sorted(records_folder(one).iterdir())[1]
        data = bytearray(bad.read_bytes())
        data[200] ^= 1
        bad.write_bytes(data)
        (first, *_) = self.carry(one, two)
        assert [name for name, _ in first.bad] == [f"records/{bad.name}"]
        assert run_ids(Archive(two)) == [f"{n:016x}" for n in (2, 0)]

    def test_a_record_that_is_damaged_here_comes_whole_from_there(
        self, one: Path, two: Path
    ) -> None:
        """The damaged file stays; the whole one lies beside it."""
        filled(one, range(3))
        self.whole(one, two)
        bad = sorted(records_folder(two).iterdir())[1]
        data = bytearray(bad.read_bytes())
        data[200] ^= 1
        bad.write_bytes(data)
        assert len(run_ids(Archive(two))) == 2
        assert self.whole(one, two) == 1
        assert Archive(two).record(f"{1:016x}") == record(1)
        assert len(run_ids(Archive(two))) == 3
        assert bad.read_bytes() == bytes(data)
        assert self.whole(one, two) == 0

    def test_a_pack_that_is_damaged_here_comes_whole_from_there(self, one: Path, two: Path) -> None:
        """It is set aside, not deleted; every run is there once, with its own record."""
        filled(one, range(5)).pack()
        self.whole(one, two)
        (pack,), _ = read_packs(packs_folder(two))
        file = pack.path / "documents.parquet"
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
        assert verified(Archive(two))[1] != []
        assert self.whole(one, two) == 6
        assert verified(Archive(two)) == (5, [])
        assert run_ids(Archive(two)) == run_ids(Archive(one))
        assert len(list((packs_folder(two) / ".damaged").iterdir())) == 1
        assert self.whole(one, two) == 0

    def test_a_pack_that_is_damaged_there_is_told_and_the_rest_arrives(
        self, one: Path, two: Path
    ) -> None:
        filled(one, range(4)).pack(per_pack=2)
        (bad, good), _ = read_packs(packs_folder(one))
        file = bad.path / "images.parquet"
        data = bytearray(file.read_bytes())
        data[30] ^= 1
        file.write_bytes(data)
        (first, *_) = self.carry(one, two)
        ((name, why),) = first.bad
        assert name == f"packs/{bad.path.name}"
        assert "images.parquet is not what was written" in why
        assert [p.path.name for p in read_packs(packs_folder(two))[0]] == [good.path.name]
        assert len(run_ids(Archive(two))) == 2

    def test_a_pack_that_rotted_there_is_not_asked_for_when_it_is_whole_here(
        self, one: Path, two: Path
    ) -> None:
        """A backup that is whole is no bad news, whatever became of the archive since."""
        filled(one, range(5)).pack()
        self.whole(one, two)
        (pack,), _ = read_packs(packs_folder(one))
        file = pack.path / "images.parquet"
        data = bytearray(file.read_bytes())
        data[30] ^= 1
        file.write_bytes(data)
        assert self.whole(one, two) == 0
        assert verified(Archive(two)) == (5, [])

    def test_of_very_many_unknown_files_a_hundred_are_named_and_all_are_counted(
        self, one: Path, two: Path
    ) -> None:
        """Somebody keeps his letters there; nobody reads thousands of names."""
        for number in range(103):
            write(one / f"letter {number:03}.txt", b"dear")
        first = self.carry(one, two)[0]
        assert first.unknown == [f"letter {number:03}.txt" for number in range(100)]
        assert first.unknown_count == 103
        assert first.bad == []

    def test_a_damaged_line_is_left_out_and_told(self, one: Path, two: Path) -> None:
        stars(one, 1, 2, 3)
        (segment,) = ratings_folder(one).iterdir()
        lines = segment.read_bytes().split(b"\n")
        lines[1] = lines[1].replace(b'"value":2', b'"value":3')
        segment.write_bytes(b"\n".join(lines))
        (first, *_) = self.carry(one, two)
        assert "1 lines are not what was written" in first.bad[0][1]
        assert len(ids(two)) == 2

    def test_a_run_that_goes_on_is_left_for_later(self, one: Path, two: Path) -> None:
        """Half a journal would look like a run that was killed."""
        seen: list[list[Carried]] = []

        def while_it_runs(_: object) -> None:
            if not seen:
                seen.append(self.carry(one, two))

        config = {"txt2img": {"prompt": "{a|b}", "steps": 2, "width": 64, "height": 64}}
        with LearningRecordWriter(records_folder(one)) as writer:
            PipelineRunner(
                FakeBackend(), archive_dir=one, learning_record_writer=writer,
                on_progress=while_it_runs,
            ).run({**config, "randomizer": {"mode": "fanout"}})  # fmt: skip
        assert seen[0][0].going_on == 1
        assert list(two.rglob("*.png")) == []
        self.whole(one, two)
        assert len(list(two.rglob("0*.png"))) == 2
        assert len(run_ids(Archive(two))) == 1

    def test_what_is_in_the_way_of_one_file_stops_no_other(self, one: Path, two: Path) -> None:
        """A folder that has the name of a picture, a picture of another size."""
        for name in "abc":
            write(one / "images" / f"{name}.png", b"png")
        (two / "images" / "a.png").mkdir(parents=True)
        write(two / "images" / "b.png", b"another")
        done = self.carry(one, two)
        assert (two / "images" / "c.png").read_bytes() == b"png"
        assert (two / "images" / "b.png").read_bytes() == b"another"
        assert done[-1].conflicts == ["images/b.png"]
        assert "images/a.png" in {key for step in done for key, _ in step.bad}

    def test_a_picture_that_is_not_its_records_stays_behind(self, one: Path, two: Path) -> None:
        """So that a whole copy of it can still come, and nobody trusts this one."""
        config = {"txt2img": {"prompt": "a", "steps": 2, "width": 64, "height": 64}}
        with LearningRecordWriter(records_folder(one)) as writer:
            PipelineRunner(FakeBackend(), archive_dir=one, learning_record_writer=writer).run(
                config
            )
        (picture,) = one.glob("images/*/*/0*.png")
        good = picture.read_bytes()
        picture.write_bytes(good[:-30] + bytes(30))
        passed_over = [bad for step in self.carry(one, two) for bad in step.bad]
        assert passed_over
        assert all("is not the picture of its record" in why for _, why in passed_over)
        assert not (two / picture.relative_to(one)).exists()
        assert len(Archive(two).query(view="runs").rows) == 1
        picture.write_bytes(good)
        self.whole(one, two)
        assert (two / picture.relative_to(one)).read_bytes() == good

    def test_however_many_damaged_pictures_stop_nobody(self, one: Path, two: Path) -> None:
        """They are no sign that nothing works any more, however many lie side by side."""
        bad = [record(number) for number in range(25)]
        with LearningRecordWriter(records_folder(one)) as writer:
            for number, whole in enumerate(bad):
                outputs = tuple(msgspec.structs.replace(o, path=f"images/{number:02}.png")
                                for o in whole.outputs[:1])  # fmt: skip
                writer.write(replace(whole, outputs=outputs))
                write(one / f"images/{number:02}.png", b"rotten")
        write(one / "images" / "99.png", b"png")
        done = self.carry(one, two)
        assert done[0].bad_count == 25
        assert (two / "images" / "99.png").read_bytes() == b"png"
        assert sorted(run_ids(Archive(two))) == [r.run_id for r in bad]

    def test_a_hash_that_is_none_says_nothing_of_a_picture(self, one: Path, two: Path) -> None:
        odd = record(1)
        outputs = tuple(msgspec.structs.replace(o, sha256="ABC?") for o in odd.outputs)
        with LearningRecordWriter(records_folder(one)) as writer:
            writer.write(replace(odd, outputs=outputs))
        write(one / "images" / "1-txt2img.png", b"png")
        write(one / "images" / "2.png", b"png")
        self.whole(one, two)
        assert len(list(two.glob("images/*.png"))) == 2

    def test_where_the_records_cannot_be_asked_pictures_are_carried_unread(
        self, one: Path, two: Path
    ) -> None:
        write(one / "packs", b"no folder")
        for name in "abc":
            write(one / "images" / f"{name}.png", b"png")
        carried = self.carry(one, two)[0]
        ((name, why),) = carried.bad
        assert (name, carried.bad_count) == ("records", 1)
        assert "cannot be asked" in why
        assert why.endswith("; pictures are carried unread")
        assert len(list(two.glob("images/*.png"))) == 3

    def test_a_picture_is_whole_if_any_record_says_so(self, one: Path, two: Path) -> None:
        """Two records may name one file."""
        data = b"png"
        digest = hashlib.sha256(data).hexdigest()
        with LearningRecordWriter(records_folder(one)) as writer:
            for number, recorded in enumerate(("0" * 64, digest, "f" * 64)):
                (output, _) = record(number).outputs
                output = msgspec.structs.replace(output, sha256=recorded, path="images/a.png")
                writer.write(replace(record(number), outputs=(output,)))
        write(one / "images" / "a.png", data)
        self.whole(one, two)
        assert (two / "images" / "a.png").read_bytes() == data

    def test_a_picture_that_only_the_record_names_that_does_not_count_is_checked_too(
        self, one: Path, two: Path
    ) -> None:
        """A copy from while the run went on may have drawn what the whole one drew elsewhere."""
        whole, data = record(1), b"png"
        (output,) = cut_short(whole).outputs
        output = msgspec.structs.replace(
            output, path="images/elsewhere.png", sha256=hashlib.sha256(data).hexdigest()
        )
        for folder, own in ((one, whole), (two, replace(cut_short(whole), outputs=(output,)))):
            with LearningRecordWriter(records_folder(folder)) as writer:
                writer.write(own)
        merge_archives(one, two)
        assert Archive(one).record("last") == whole
        picture = write(one / "images" / "elsewhere.png", b"rotten")
        assert "images/elsewhere.png" in {k for step in self.carry(one, two) for k, _ in step.bad}
        assert not (two / "images" / "elsewhere.png").exists()
        picture.write_bytes(data)
        self.carry(one, two)
        assert (two / "images" / "elsewhere.png").read_bytes() == data

    @pytest.mark.parametrize("turned", [False, True])
    def test_of_two_records_of_one_name_both_are_kept(
        self, one: Path, two: Path, turned: bool
    ) -> None:
        """A copy was made while the run went on, and recovered there."""
        whole = record(1)
        for folder, own in zip((one, two), (whole, cut_short(whole))[:: -1 if turned else 1],
                               strict=True):  # fmt: skip
            with LearningRecordWriter(records_folder(folder)) as writer:
                writer.write(own)
        assert [p.name for p in records_folder(one).iterdir()] == [
            p.name for p in records_folder(two).iterdir()
        ]
        assert self.whole(one, two) == 1
        assert Archive(two).record("last") == whole
        assert self.whole(two, one) == 1
        assert Archive(one).record("last") == whole
        for folder in (one, two):
            assert len(list(records_folder(folder).iterdir())) == 2
            assert len(Archive(folder).query(limit=None).rows) == 2
            assert verified(Archive(folder)) == (2, [])
        assert self.whole(one, two) == 0
        assert self.whole(two, one) == 0

    def test_a_second_record_that_is_damaged_here_comes_whole_again(
        self, one: Path, two: Path
    ) -> None:
        """The one beside the first, whose name is made of what it held."""
        for folder, own in ((one, record(1)), (two, cut_short(record(1)))):
            with LearningRecordWriter(records_folder(folder)) as writer:
                writer.write(own)
        self.whole(one, two)
        (beside,) = records_folder(two).glob("*~*")
        data = bytearray(beside.read_bytes())
        data[len(data) // 2] ^= 1
        beside.write_bytes(data)
        assert Archive(two).record("last").status == "interrupted"
        assert self.whole(one, two) == 1
        assert Archive(two).record("last") == record(1)
        assert self.whole(one, two) == 0

    def test_what_has_two_names_by_a_link_is_carried_by_both(self, one: Path, two: Path) -> None:
        """A record may name a picture by either."""
        write(one / "images" / "real" / "a.png", b"png")
        (one / "images" / "0-newest").symlink_to("real")
        (one / "images" / "2026-01-01").symlink_to("real")
        self.whole(one, two)
        for name in ("real", "0-newest", "2026-01-01"):
            assert (two / "images" / name / "a.png").read_bytes() == b"png"

    def test_what_lies_behind_a_link_is_carried(self, one: Path, two: Path) -> None:
        """Pictures on a second disk; a link that leads nowhere, or in a circle, is told."""
        filled(one, range(3)).pack()
        stars(one, 4)
        write(one / "images" / "day" / "a.png", b"png")
        away = one.parent / "away"
        for name in ("packs", "images", "ratings"):
            away.mkdir(exist_ok=True)
            (one / name).rename(away / name)
            (one / name).symlink_to(away / name)
        self.whole(one, two)
        assert run_ids(Archive(two)) == run_ids(Archive(one))
        assert (two / "images" / "day" / "a.png").read_bytes() == b"png"
        assert ids(two) == ids(one)
        assert self.whole(one, two) == 0
        (one / "images" / "gone.png").symlink_to(one / "nowhere.png")
        (one / "images" / "again").symlink_to(one / "images")
        reasons = {key: why for step in self.carry(one, two) for key, why in step.bad}
        assert reasons == {
            "images/gone.png": "leads nowhere",
            "images/again/": "is a link to a folder that has another name here",
        }

    def test_a_last_line_without_its_end_is_carried_if_it_is_whole(
        self, one: Path, two: Path
    ) -> None:
        """Questions count it, so it must arrive; half a line is nobody's."""
        stars(one, 1, 5)
        (segment,) = ratings_folder(one).iterdir()
        whole = segment.read_bytes()
        segment.write_bytes(whole[:-1])
        assert len(ids(one)) == 2
        self.whole(one, two)
        assert ids(two) == ids(one)
        segment.write_bytes(whole[:-9])
        self.whole(one, two)
        assert len(ids(two)) == 2

    def test_searches_of_one_moment_end_alike(self, one: Path, two: Path) -> None:
        """Neither is newer: both sides choose the same."""
        write(searches_file(one), b'[{"name": "mine"}]', modified=10**9)
        write(searches_file(two), b'[{"name": "yours"}]', modified=10**9)
        for _ in range(2):
            self.carry(one, two)
            self.carry(two, one)
        assert searches_file(one).read_bytes() == searches_file(two).read_bytes()

    def test_events_of_a_later_schema_are_carried_along(self, one: Path, two: Path) -> None:
        """An old program must not lose what it cannot read."""
        unheard = {"event_id": "x", "timestamp": "later", "kind": "smell", "value": {"n": 1}}
        data = (json.dumps(unheard) + "\n").encode()
        write(ratings_folder(one) / "new.jsonl", data + b"[1]\n\xff\n" + data[:20])
        self.whole(one, two)
        assert (ratings_folder(two) / "new.jsonl").read_bytes() == data


class TestMerge(TransferContract):
    """``archive merge``."""

    def carry(self, source: Path, target: Path) -> list[Carried]:
        return [merge_archives(target, source, follow_links=True)]

    def test_a_run_that_was_killed_there_gets_its_record_here(self, one: Path, two: Path) -> None:
        """Who deletes the other archive then loses nothing."""
        config = {"txt2img": {"prompt": "a", "steps": 2, "width": 64, "height": 64}}

        class Broken:
            def write(self, _: object) -> None:
                raise OSError("the disk is gone")

        PipelineRunner(FakeBackend(), archive_dir=one, learning_record_writer=Broken()).run(config)
        assert len(list((one / "running").iterdir())) == 1
        self.whole(one, two)
        with LearningRecordWriter(records_folder(two)) as writer:
            (recovered,) = recover_interrupted_runs(two, writer)
        assert recovered.status == "completed"
        assert len(Archive(two).query().rows) == 1

    def test_links_that_lead_out_are_left_out_and_told(self, one: Path, two: Path) -> None:
        """Whoever made the other archive chose them; what they lead to is this user's."""
        filled(one, range(2))
        private = write(one.parent / "private" / "passport.png", b"mine")
        write(one / "images" / "real" / "a.png", b"png")
        (one / "images" / "inside").symlink_to(one / "images" / "real")
        (one / "images" / "b.png").symlink_to(Path("real", "a.png"))
        outside = {
            "images/day": private.parent, "images/c.png": private, "presets": private.parent,
            "records/x.json": private, "ratings/x.jsonl": private, "packs/x": private.parent,
            "images/up": Path("..", "..", "private"),
        }  # fmt: skip
        for place, leads_to in outside.items():
            (one / place).parent.mkdir(exist_ok=True)
            (one / place).symlink_to(leads_to)
        done = merge_archives(two, one)
        assert (sorted(done.links_out), done.links_out_count) == (sorted(outside), len(outside))
        assert done.bad == []
        copied = {path for path in two.rglob("*") if path.is_file()}
        assert not [path for path in copied if path.read_bytes() == b"mine"]
        for name in ("real/a.png", "inside/a.png", "b.png"):
            assert (two / "images" / name).read_bytes() == b"png"
        assert run_ids(Archive(two)) == run_ids(Archive(one))
        done = merge_archives(two, one, follow_links=True)
        assert (done.links_out, done.links_out_count) == ([], 0)
        for name in ("day/passport.png", "c.png", "up/passport.png"):
            assert (two / "images" / name).read_bytes() == b"mine"

    def test_an_archive_that_is_reached_by_a_link_is_in_itself(self, one: Path, two: Path) -> None:
        write(one / "images" / "a.png", b"png")
        (one / "images" / "b.png").symlink_to("a.png")
        by_link = one.parent / "by-link"
        by_link.symlink_to(one)
        assert merge_archives(two, by_link).links_out == []
        assert (two / "images" / "b.png").read_bytes() == b"png"

    def test_what_is_carried_keeps_its_time(self, one: Path, two: Path) -> None:
        """Whoever sorts his files by it finds them as they were."""
        filled(one, range(2))
        write(one / "images" / "a.png", b"png")
        files = [path.relative_to(one) for path in one.rglob("*.*") if path.is_file()]
        for number, file in enumerate(files):
            os.utime(one / file, (1_700_000_000 + number, 1_700_000_000 + number))
        self.whole(one, two)
        for number, file in enumerate(files):
            assert (two / file).stat().st_mtime == 1_700_000_000 + number

    def test_what_is_listed_but_gone_is_told_once_and_stops_nobody(
        self, one: Path, two: Path
    ) -> None:
        """Whoever deletes while others carry; it may have moved, so it is looked for again."""
        gone = ("images/gone.png", "records/gone.json")
        rounds = []

        class Late(FolderCopy):
            def entries(self) -> Mapping[str, Entry]:
                rounds.append(self)
                return {**super().entries(), **dict.fromkeys(gone, Entry(3, 10**9))}

        write(one / "images" / "a.png", b"png")
        done = carry(Late(one), FolderCopy(two))
        assert len(rounds) > 1
        assert sorted(key for key, _ in done.bad) == sorted(gone)
        assert all(reason.startswith("is not there any more: ") for _, reason in done.bad)
        assert (two / "images" / "a.png").read_bytes() == b"png"

    def test_an_archive_that_cannot_be_asked_afterwards_is_told_so(
        self, one: Path, two: Path
    ) -> None:
        """What was carried is there all the same."""
        write(two / "packs", b"no folder")
        write(one / "images" / "a.png", b"png")
        with pytest.raises(StorageError, match="^what was carried is whole, but cannot be asked: "):
            self.carry(one, two)
        assert (two / "images" / "a.png").read_bytes() == b"png"

    def test_a_full_disk_stops_it_and_merging_again_goes_on(
        self, one: Path, two: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(50):
            write(one / "images" / f"{number}.png", b"png")
        filled(one, range(3))
        stars(one, 4)

        def no_room(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as full_disk:
            full_disk.setattr(os, "fsync", no_room)
            with pytest.raises(StorageError, match="No space left"):
                self.carry(one, two)
        assert [path for path in two.rglob("*") if path.is_file()] == []
        assert self.whole(one, two) == 54

    def test_a_disk_that_fails_now_and_then_costs_those_files(
        self, one: Path, two: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(9):
            write(one / "images" / f"{number}.png", b"png")
        real = os.rename
        monkeypatch.setattr(
            os, "rename",
            lambda a, b: fail(errno.EIO) if str(b).endswith(("3.png", "5.png")) else real(a, b),
        )  # fmt: skip
        (done,) = self.carry(one, two)
        assert (done.files, done.bad_count) == (7, 2)
        monkeypatch.undo()
        assert self.whole(one, two) == 2

    def test_a_segment_is_carried_to_its_last_whole_line(self, one: Path, two: Path) -> None:
        """Somebody is writing it at this moment."""
        stars(one, 1, 2)
        (segment,) = ratings_folder(one).iterdir()
        data = segment.read_bytes()
        segment.write_bytes(data[:-30])
        self.whole(one, two)
        segment.write_bytes(data)
        self.whole(one, two)
        assert (ratings_folder(two) / segment.name).read_bytes() == data

    def test_lines_are_not_glued_to_half_a_line(self, one: Path, two: Path) -> None:
        """A crash left it here."""
        stars(one, 1, 2)
        (segment,) = ratings_folder(one).iterdir()
        data = segment.read_bytes()
        write(ratings_folder(two) / segment.name, data[: data.index(b"\n") + 20])
        self.whole(one, two)
        assert ids(two) == ids(one)

    def test_a_rating_that_rotted_here_comes_back_from_there(self, one: Path, two: Path) -> None:
        stars(one, 5)
        self.whole(one, two)
        (segment,) = ratings_folder(two).iterdir()
        segment.write_bytes(segment.read_bytes().replace(b'"value":5', b'"value":1'))
        assert ids(two) == set()
        self.whole(one, two)
        assert ids(two) == ids(one)
        assert current_ratings(RatingStore(ratings_folder(two)).events())[A].stars == 5

    def test_lines_that_another_merge_added_a_moment_ago_are_not_added_again(
        self, two: Path
    ) -> None:
        """Both had looked before either wrote; a line is the same only as a whole."""
        one, other, new = b'{"path": "a b.png"}', b'{"path": "b a.png"}', b'{"path": "a c.png"}'
        file = write(two / "imports/seen-1.jsonl", one + b"\n")
        part = write(two / "imports/seen-1~0123456789ab.jsonl", other + b"\n")
        copy = FolderCopy(two)
        copy.extend("imports/seen-1.jsonl", [one, other])
        assert (file.read_bytes(), part.read_bytes()) == (one + b"\n", other + b"\n")
        copy.extend("imports/seen-1.jsonl", [one, other, new])
        assert (file.read_bytes(), part.read_bytes()) == (
            one + b"\n" + new + b"\n", other + b"\n",
        )  # fmt: skip

    def test_a_part_has_the_hash_of_what_it_holds_in_its_name(self, two: Path) -> None:
        """So that the same lines are the same part, whoever brings them."""
        old, new = b'{"path": "a.png"}', b'{"path": "b.png"}'
        file = write(two / "imports/seen-1.jsonl", old + b"\n")
        with AppendOnlyFile(file):
            FolderCopy(two).extend("imports/seen-1.jsonl", [old, new])
        (part,) = file.parent.glob("*~*")
        assert part.read_bytes() == new + b"\n"
        assert part.name == f"seen-1~{hashlib.sha256(new + bytes([10])).hexdigest()[:12]}.jsonl"

    def test_two_merges_at_once_leave_everything_once(self, one: Path, two: Path) -> None:
        """Any number of processes may write to one archive."""
        for number in range(60):
            write(one / "images" / f"{number}.png", os.urandom(20_000))
        filled(one, range(20)).pack(per_pack=5)
        filled(one, range(20, 25))
        for _ in range(20):
            stars(one, 3)
        program = (
            "import sys; from pathlib import Path\n"
            "from safelight.archive.folder_copy import merge_archives\n"
            "print('ready', flush=True); sys.stdin.readline()\n"
            "done = merge_archives(Path(sys.argv[1]), Path(sys.argv[2]))\n"
            "assert not done.bad and not done.conflicts, done\n"
            "print(done.lines)\n"
        )
        command = [sys.executable, "-c", program, str(two), str(one)]
        pipe = subprocess.PIPE
        merges = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(3)]
        for process in merges:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in merges:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        counts = [int(process.communicate(timeout=120)[0]) for process in merges]
        assert [process.returncode for process in merges] == [0, 0, 0]
        assert sum(counts) >= 20
        assert self.whole(one, two) == 0
        assert verified(Archive(two)) == (25, [])
        assert [p.name for p in two.rglob(".*.tmp")] == []
        files = [path.read_bytes() for path in ratings_folder(two).iterdir()]
        lines = [line for data in files for line in data.splitlines()]
        assert len(lines) == len(set(lines)) == 20

    def test_what_was_copied_is_on_the_disk_when_it_is_told(
        self, one: Path, two: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Files before their names, pictures before records, everything before the end."""
        write(one / "images" / "day" / "a.png", b"png")
        filled(one, range(1))
        order: list[str] = []
        real_fsync, real_rename = os.fsync, os.rename

        def fsync(handle: int) -> None:
            order.append(f"flush {Path(f'/proc/self/fd/{handle}').readlink().name}")
            real_fsync(handle)

        def rename(old: str, new: str) -> None:
            order.append(f"name {Path(new).name}")
            real_rename(old, new)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "rename", rename)
        self.whole(one, two)
        (name,) = (path.name for path in records_folder(two).iterdir())
        assert order == [
            one.parent.name, "two", "images", "flush .a.png.tmp", "name a.png", "flush day",
            "flush two", f"flush .{name}.tmp", f"name {name}", "flush records",
        ] or [step for step in order if step.startswith(("name", "flush ."))] == [
            "flush .a.png.tmp", "name a.png", f"flush .{name}.tmp", f"name {name}",
        ]  # fmt: skip
        assert order.index("flush day") < order.index(f"flush .{name}.tmp")
        assert order[-1] == "flush records"


def fail(code: int) -> None:
    raise OSError(code, os.strerror(code))


class TestThroughAStore(TransferContract):
    """``sync``: put there by one machine, fetched by another."""

    @pytest.fixture(autouse=True)
    def _store(self) -> None:
        self.store = MemoryStore()

    def carry(self, source: Path, target: Path) -> list[Carried]:
        return [push_archive(source, self.store), pull_archive(target, self.store)]

    def test_the_newest_of_what_is_replaced_stays_and_the_other_lies_beside_it(
        self, one: Path, two: Path
    ) -> None:
        """Of three machines, too; nothing on the store is ever overwritten."""
        three = one.parent / "three"
        for number, folder in enumerate((two, three, one)):
            write(searches_file(folder), f"{number}".encode(), modified=1_700_000_000 + number)
        for folder in (one, two, three, one):
            self.carry(folder, folder)
        for folder in (one, two, three):
            assert searches_file(folder).read_bytes() == b"2"
        assert {path.read_bytes() for path in two.glob("searches~*")} == {b"0"}
        assert {path.read_bytes() for path in three.glob("searches~*")} == {b"1"}
        before = dict(self.store.objects)
        self.carry(one, two)
        assert self.store.objects == before

    def test_a_file_that_somebody_holds_is_extended_beside_it(self, one: Path, two: Path) -> None:
        """On a store nothing is extended: every growth is a part."""
        with RatingStore(ratings_folder(two)) as table:
            for _ in range(3):
                table.add(RatingEvent.now("stars", A, value=1))
                push_archive(two, self.store)
        assert len(self.store.objects) == 3
        pull_archive(one, self.store)
        assert len(list(ratings_folder(one).iterdir())) == 1
        assert ids(one) == ids(two)

    def test_names_that_lead_anywhere_are_told_and_passed_over(
        self, one: Path, tmp_path: Path
    ) -> None:
        """A store belongs to several people, and one of them may be nobody's friend."""
        for key in (
            "../evil", "a/../../evil.png", "/images/a.png", "images//a.png", ".hidden",
            "images/.a.png", "images/a\0b.png", "C:/w.png", "images\\a.png",
            f"images/{'x' * 300}.png", "images/n\nl.png",
        ):  # fmt: skip
            self.store.objects[key] = b"boo"
        for key in ("evil.sh", "running/deadbeef", "records/x.exe", "packs/a/b/c.parquet"):
            self.store.objects[key] = b"boo"
        self.store.objects["images/good.png"] = b"png"
        done = pull_archive(one, self.store)
        assert (done.files, done.bad_count, done.unknown_count) == (1, 11, 3)
        assert [p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file()] == [
            Path("one/images/good.png")
        ]

    @pytest.mark.parametrize(
        "key",
        [
            "images/" + "d/" * 600 + "{}.png", "images/" + f"{'d' * 200}/" * 30 + "{}.png",
            "images/\ud800{}.png", "images/a.png/{}.png",
            "packs/{}/manifest.json", "packs/{}/runs.parquet", "records/{}.json",
        ],
    )  # fmt: skip
    def test_many_that_are_at_fault_themselves_stop_nobody(self, one: Path, key: str) -> None:
        """One hostile driver would else keep all others from what comes after."""
        self.store.objects["images/a.png"] = b"png"
        for number in range(40):
            self.store.objects[key.format(number)] = b"\xff"
        self.store.objects["images/z.png"] = b"png"
        done = pull_archive(one, self.store)
        assert (done.files, done.bad_count) == (2, 40)
        assert (one / "images" / "z.png").exists()

    def test_a_store_that_gives_no_answer_any_more_is_given_up(self, one: Path) -> None:
        """And not asked a hundred thousand times."""
        asked = []
        for number in range(200):
            write(one / "images" / f"{number}.png", b"png")

        class Away(MemoryStore):
            def put_new(self, key: str, data: bytes) -> bool:
                asked.append(key)
                raise StorageError("connection refused")

        with pytest.raises(StorageError, match=r"connection refused.*carrying again goes on"):
            push_archive(one, Away())
        assert len(asked) == 20

    def test_a_pack_on_the_store_that_is_not_what_it_says_is_not_taken(
        self, one: Path, two: Path
    ) -> None:
        filled(one, range(3)).pack()
        push_archive(one, self.store)
        (key,) = (key for key in self.store.objects if key.endswith("runs.parquet"))
        data = bytearray(self.store.objects[key])
        data[len(data) // 2] ^= 4
        self.store.objects[key] = bytes(data)
        done = pull_archive(two, self.store)
        assert "runs.parquet is not what was written" in done.bad[0][1]
        assert read_packs(packs_folder(two)) == ([], {})
        assert pull_archive(two, self.store).bad_count == 1

    def test_a_store_of_an_earlier_version_is_read(self, one: Path) -> None:
        """Its objects have the names of files, also where those would have changed since."""
        self.store.put_new("searches.json", b"[]")
        self.store.put_new(
            "ratings/a.jsonl", RatingEvent.now("stars", A, value=3).to_json() + b"\n"
        )
        assert pull_archive(one, self.store).files == 2
        assert len(ids(one)) == 1
        assert push_archive(one, self.store).files == 0
        stars(one, 4)
        assert push_archive(one, self.store).files == 1


def test_packed_while_it_is_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that go into a pack in between are looked for again."""
    here, there = tmp_path / "here", tmp_path / "there"
    archive = filled(there, range(6))
    listed = FolderCopy.entries

    def entries(self: FolderCopy) -> Any:
        before = listed(self)
        if self.path == there and list(records_folder(there).iterdir()):
            archive.pack()
        return before

    monkeypatch.setattr(FolderCopy, "entries", entries)
    done = merge_archives(here, there)
    assert done.bad == []
    assert len(run_ids(Archive(here))) == 6


_pictures = st.sampled_from([Identity(sha256=letter * 64) for letter in "abc"])
_rated = st.lists(st.tuples(_pictures, st.integers(0, 5)), max_size=4)


@settings(max_examples=30)
@given(mine=st.lists(_rated, max_size=3), theirs=st.lists(_rated, max_size=3), steps=st.data())
def test_any_to_and_fro_ends_in_the_union(
    tmp_path_factory: pytest.TempPathFactory,
    mine: list[list[tuple[Identity, int]]],
    theirs: list[list[tuple[Identity, int]]],
    steps: st.DataObject,
) -> None:
    """Whoever rates when, and whatever is carried in between, and how."""
    base = tmp_path_factory.mktemp("union")
    archives, store = (base / "a", base / "b"), MemoryStore()
    given_: list[RatingEvent] = []
    for number, sessions in enumerate((mine, theirs)):
        for session in sessions:
            with RatingStore(ratings_folder(archives[number])) as ratings:
                for picture, value in session:
                    given_ += ratings.add(RatingEvent.now("stars", picture, value=value))
                    how = steps.draw(st.sampled_from(["", "", "merge", "push", "pull"]))
                    here, there = archives[number], archives[1 - number]
                    if how == "merge":
                        merge_archives(there, here)
                    elif how == "push":
                        push_archive(here, store)
                    elif how == "pull":
                        pull_archive(here, store)
    for archive in (*archives, *archives):
        push_archive(archive, store)
        pull_archive(archive, store)
    for archive in archives:
        assert ids(archive) == {event.event_id for event in given_}
        events = RatingStore(ratings_folder(archive)).events()
        assert dict(current_ratings(events)) == dict(current_ratings(given_))
        assert push_archive(archive, store).files == pull_archive(archive, store).files == 0
    assert merge_archives(archives[0], archives[1]).files == 0


def test_a_pack_without_hashes_is_carried_when_it_reads(tmp_path: Path) -> None:
    """Archives of before have no others."""
    here, there = tmp_path / "here", tmp_path / "there"
    for number in range(2):
        pack = write_pack(packs_folder(there), [record(number).to_json().encode()])
        manifest = json.loads((pack.path / "manifest.json").read_bytes())
        for name in ("sha256", "digest"):
            del manifest[name]
        (pack.path / "manifest.json").write_text(json.dumps(manifest))
    file = pack.path / "documents.parquet"
    data = bytearray(file.read_bytes())
    data[4:200] = bytes(196)
    file.write_bytes(data)
    done = merge_archives(here, there)
    assert [name for name, _ in done.bad] == [f"packs/{pack.path.name}"]
    assert run_ids(Archive(here)) == [f"{0:016x}"]
