"""An imported picture is one picture, wherever it lies and whatever is written into its file."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from archives import verified
from safelight.application.rated_pictures import rated_trials
from safelight.application.rating import identity_of_file, rate, rate_chosen
from safelight.archive import Archive
from safelight.archive.folder_copy import merge_archives
from safelight.archive.pictures_in_memory import PicturesInMemory
from safelight.archive.run_copies import RANK_IN_SQL, Rank, rank_of
from safelight.cli import main
from safelight.imports import (
    folder_import,
    imported_picture,
    known_pictures,
    picture_reader,
    rereading,
)
from safelight.imports.folder_import import import_folders
from safelight.learning.learning_record import LearningRecord
from safelight.learning.ratings import Identity, RatingEvent

_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="{}"/></rdf:RDF></x:xmpmeta>'
)


def _picture(path: Path, seed: int, *, steps: int = 20, stars: int = 0, word: str = "") -> Path:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", (
        f"a cat\nSteps: {steps}, Sampler: Euler a, CFG scale: 7, Seed: {seed}, "
        "Size: 8x8, Model: m, Version: v1.10.1"
    ))  # fmt: skip
    if stars:
        info.add_itxt("XML:com.adobe.xmp", _XMP.format(stars))
    if word:
        info.add_text("Keywords", word)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (seed % 256, seed // 256, 0)).save(path, pnginfo=info)
    return path


def _later(path: Path, seconds: int) -> None:
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + seconds * 10**9))


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive")


def _images(archive: Archive, condition: str = "") -> list[dict[str, object]]:
    return list(archive.query(condition, limit=None, sort="seed").dicts())


def _everywhere(archive: Archive) -> list[tuple[object, ...]]:
    """Return what counts, which must be the same in files, packs and memory."""
    columns = ("run_id", "sha256", "image_sha256", "steps", "stars", "path", "gone")
    loose = sorted(archive.query("", columns=columns, limit=None).rows)
    held = PicturesInMemory(archive._opened(), archive.path)
    held.catch_up()
    with held.asked() as cursor:
        in_memory = cursor.execute(f"SELECT {', '.join(columns)} FROM images").fetchall()
    assert sorted(in_memory) == loose
    while archive.pack().records:
        assert sorted(archive.query("", columns=columns, limit=None).rows) == loose
    held.catch_up()
    with held.asked() as cursor:
        in_memory = cursor.execute(f"SELECT {', '.join(columns)} FROM images").fetchall()
    assert sorted(in_memory) == loose
    assert verified(archive)[1] == []
    return loose


def test_ratings_that_another_program_turned_round_have_the_right_effects(
    archive: Archive, tmp_path: Path
) -> None:
    """Before, the old reading and its rating counted beside the new ones, and cancelled them."""
    for seed in range(40):
        steps = (20, 30)[seed % 2]
        _picture(tmp_path / "p" / f"{seed}.png", seed, steps=steps, stars=4 if steps == 20 else 2)
    import_folders([tmp_path / "p"], archive)
    before = dict(_scores_by_steps(archive))
    assert before[20] > before[30]
    for seed in range(40):
        steps = (20, 30)[seed % 2]
        path = _picture(
            tmp_path / "p" / f"{seed}.png", seed, steps=steps, stars=2 if steps == 20 else 4
        )
        _later(path, 60)
    summary = import_folders([tmp_path / "p"], archive)
    assert (summary.imported, summary.superseded, summary.changes) == (0, 40, {})
    assert len(_images(archive)) == 40
    after = dict(_scores_by_steps(archive))
    assert after[20] == pytest.approx(before[30], abs=0.01)
    assert after[30] == pytest.approx(before[20], abs=0.01)
    _everywhere(archive)


def _scores_by_steps(archive: Archive) -> list[tuple[int, float]]:
    _, trials, _ = rated_trials(archive, "")
    assert len(trials) == 40
    assert trials.unrated == trials.gone == 0
    steps = trials.numbers["steps"]
    return [(n, float(trials.scores[steps == n].mean())) for n in (20, 30)]


def test_a_rating_goes_along_when_a_keyword_is_written_into_the_file(
    archive: Archive, tmp_path: Path
) -> None:
    """Also one of bytes alone, as of earlier versions; what the file said before undoes nothing."""
    path = _picture(tmp_path / "p" / "a.png", 1, stars=2)
    import_folders([tmp_path / "p"], archive)
    (image,) = _images(archive)
    with archive.ratings() as store:
        store.add(RatingEvent.now("stars", Identity(sha256=str(image["sha256"])), value=5))
    _later(_picture(path, 1, stars=2, word="holiday"), 60)
    assert import_folders([tmp_path / "p"], archive).superseded == 1
    (again,) = _images(archive)
    assert (again["stars"], again["run_id"]) == (5, image["run_id"])
    assert again["sha256"] != image["sha256"]
    assert again["image_sha256"] == image["image_sha256"]
    _picture(path, 1, stars=2)  # and back, to the letter
    assert import_folders([tmp_path / "p"], archive).superseded == 1
    ((*_, stars, _, _),) = _everywhere(archive)
    assert stars == 5
    rate(archive, [identity_of_file(path)], stars=1)
    assert [row["stars"] for row in _images(archive)] == [1]


def test_a_rating_of_old_bytes_that_a_merge_brings_counts(archive: Archive, tmp_path: Path) -> None:
    path = _picture(tmp_path / "p" / "a.png", 1)
    import_folders([tmp_path / "p"], archive)
    (image,) = _images(archive)
    _later(_picture(path, 1, word="x"), 60)
    import_folders([tmp_path / "p"], archive)
    other = Archive(tmp_path / "other")
    with other.ratings() as store:
        store.add(RatingEvent.now("stars", Identity(sha256=str(image["sha256"])), value=3))
    merge_archives(archive.path, other.path)
    import_folders([tmp_path / "p"], archive)
    assert [row["stars"] for row in _images(archive)] == [3]


def test_a_file_that_was_met_half_written_is_superseded(archive: Archive, tmp_path: Path) -> None:
    path = _picture(tmp_path / "p" / "a.png", 1)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"IDAT") + 6])
    assert import_folders([tmp_path / "p"], archive).imported == 1
    assert _images(archive)[0]["image_sha256"] is None
    path.write_bytes(whole)
    _later(path, 60)
    summary = import_folders([tmp_path / "p"], archive)
    assert (summary.imported, summary.superseded) == (0, 1)
    ((_, _, image, *_),) = _everywhere(archive)
    assert image is not None
    assert import_folders([tmp_path / "p"], archive).unchanged == 1


@pytest.mark.parametrize("word", ["", "holiday"])
@pytest.mark.parametrize("packed", [False, True])
def test_two_machines_have_one_picture_in_whatever_order_they_merge(
    tmp_path: Path, word: str, packed: bool
) -> None:
    """Other place, other time, other name, and even other texts beside the settings."""
    names = [str(number) for number in range(3)]
    for name in names:
        for seed in range(4):
            path = tmp_path / name / f"{name}-{seed}.png"
            _picture(path, seed, word=f"{word}{name}" if word else "")
            _later(path, int(name) * 100)
        made = Archive(tmp_path / f"archive{name}")
        import_folders([tmp_path / name], made)
        if packed:
            made.pack()
    states = []
    for number, order in enumerate(itertools.permutations(names)):
        merged = Archive(tmp_path / f"merged{number}")
        for name in order:
            merge_archives(merged.path, tmp_path / f"archive{name}")
        states.append(_everywhere(merged))
        stats = CliRunner().invoke(
            main, ["archive", "stats", "--json", "--archive", str(merged.path)]
        )
        told = json.loads(stats.output)
        assert (told["runs"], told["imported"], told["pictures"]) == (0, 4, 4)
    assert all(state == states[0] for state in states)
    assert len(states[0]) == 4


def test_the_same_image_with_other_settings_elsewhere_is_a_twin(
    archive: Archive, tmp_path: Path
) -> None:
    _picture(tmp_path / "p" / "a.png", 1, steps=20)
    import_folders([tmp_path / "p"], archive)
    _picture(tmp_path / "q" / "b.png", 1, steps=30)
    summary = import_folders([tmp_path / "q"], archive)
    assert (summary.imported, summary.twins) == (1, 1)
    assert summary.twin_places == [str(tmp_path / "q" / "b.png")]
    assert {row["steps"] for row in _images(archive)} == {20, 30}
    rate_chosen(archive, "steps = 20", stars=4)
    assert [row["stars"] for row in _images(archive)] == [4, 4], "ratings go by image data"
    _picture(tmp_path / "q" / "c.png", 1, steps=30, word="x")
    assert import_folders([tmp_path / "q"], archive).known == 1, "no third one"


def test_of_many_twins_it_is_said_how_many_are_not_listed(tmp_path: Path) -> None:
    for steps in range(22):
        _picture(tmp_path / "p" / f"{steps}.png", 1, steps=steps + 1)
    words = ["import", str(tmp_path / "p"), "--archive", str(tmp_path / "a")]
    told = CliRunner().invoke(main, words).output
    assert "21 of the new ones have the image of another" in told
    assert told.count(f"  {tmp_path / 'p'}") == 20
    assert "  ... and 1 more" in told


def test_other_settings_in_the_same_place_supersede(archive: Archive, tmp_path: Path) -> None:
    path = _picture(tmp_path / "p" / "a.png", 1, steps=20)
    import_folders([tmp_path / "p"], archive)
    _later(_picture(path, 1, steps=30), 60)
    summary = import_folders([tmp_path / "p"], archive)
    assert (summary.twins, summary.superseded) == (0, 1)
    assert summary.changes == {
        "steps": {"changed": 1},
    }
    ((_, _, _, steps, *_),) = _everywhere(archive)
    assert steps == 30


def _newer_reader(patch: pytest.MonkeyPatch, number: int = 99) -> None:
    for module in (imported_picture, known_pictures, rereading):
        patch.setattr(module, "READER", number)


def test_what_was_read_wrong_is_read_again(archive: Archive, tmp_path: Path) -> None:
    """A text beside a picture that came later, and nothing that was understood before."""
    plain = tmp_path / "p" / "a.png"
    plain.parent.mkdir()
    Image.new("RGB", (8, 8)).save(plain)
    import_folders([tmp_path / "p"], archive)
    plain.with_suffix(".txt").write_text("a cat\nSteps: 20, Sampler: Euler a, Seed: 3, Size: 8x8")
    assert import_folders([tmp_path / "p"], archive).unchanged == 1
    asked = [
        "import",
        str(tmp_path / "p"),
        "--again",
        "--jobs",
        "1",
        "--archive",
        str(archive.path),
    ]
    told = CliRunner().invoke(main, asked).output
    assert "1 known pictures say something else now" in told
    assert "sampler now read in 1 picture\n" in told
    assert [row["sampler"] for row in _images(archive)] == ["Euler a"]
    summary = import_folders([tmp_path / "p"], archive, again=True)
    assert (summary.known, summary.superseded) == (1, 0)
    _everywhere(archive)
    assert archive.older_readings() == 1
    verify = CliRunner().invoke(main, ["archive", "verify", "--archive", str(archive.path)])
    assert verify.exit_code == 0
    assert "1 older readings of imported pictures are kept" in verify.output


def test_a_newer_reader_counts_without_the_files(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(70):
        _picture(tmp_path / "p" / f"{seed}.png", seed)

    def misread(*given: object, **more: object) -> object:
        reading = picture_reader.read_texts(*given, **more)  # type: ignore[arg-type]
        config = {"txt2img": {k: v for k, v in reading.config["txt2img"].items() if k != "sampler"}}
        config["txt2img"]["negative_prompt"] = "wrong"
        return dataclasses.replace(reading, config=config)

    with monkeypatch.context() as patch:
        patch.setattr(imported_picture, "read_texts", misread)
        import_folders([tmp_path / "p"], archive)
    shutil.rmtree(tmp_path / "p")
    rate_chosen(archive, "seed = 3", stars=5)
    _newer_reader(monkeypatch)
    run = CliRunner().invoke(main, ["archive", "reread", "--json", "--archive", str(archive.path)])
    done = json.loads(run.output)
    assert (done["pictures"], done["superseded"], done["left"]) == (70, 70, 0)
    assert done["changes"]["sampler"] == {"now read": 70}
    assert done["changes"]["negative_prompt"] == {"changed": 70} or (
        done["changes"]["negative_prompt"] == {"no more read": 70}
    )
    images = _images(archive)
    assert [row["sampler"] for row in images] == ["Euler a"] * 70
    assert [row["seed"] for row in images if row["stars"] == 5] == [3]
    assert archive.record(str(images[0]["run_id"])).metadata["import"]["reader"] == 99
    again = CliRunner().invoke(main, ["archive", "reread", "--archive", str(archive.path)])
    assert "70 imported pictures, 0 read anew" in again.output
    _everywhere(archive)


def test_an_older_reader_does_not_win(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _picture(tmp_path / "p" / "a.png", 1)
    with monkeypatch.context() as patch:
        _newer_reader(patch)
        import_folders([tmp_path / "p"], archive)
    other = Archive(tmp_path / "other")
    import_folders([tmp_path / "p"], other)
    merge_archives(other.path, archive.path)
    for some in (other, archive):
        (image,) = _images(some)
        assert some.record(str(image["run_id"])).metadata["import"]["reader"] == 99
    assert rereading.reread_archive(other).superseded == 0


@pytest.mark.parametrize("steps", range(30, 38))
def test_what_a_file_says_now_counts_more_than_its_old_texts_read_as_well(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """Two machines with one newer reader: which digest is the higher one must not decide."""
    path = _picture(tmp_path / "p" / "a.png", 1)
    other = Archive(tmp_path / "other")
    for some in (archive, other):
        import_folders([tmp_path / "p"], some)
    _newer_reader(monkeypatch)
    assert rereading.reread_archive(archive).superseded == 1
    _later(_picture(path, 1, steps=steps), 60)
    import_folders([tmp_path / "p"], other)
    merge_archives(other.path, archive.path)
    merge_archives(archive.path, other.path)
    for some in (archive, other):
        assert [row["steps"] for row in _images(some)] == [steps]


def test_an_archive_of_before_gets_the_hash_at_its_next_walk(
    archive: Archive, tmp_path: Path
) -> None:
    """And a picture that was rewritten meanwhile is known by its place and settings."""
    for seed in range(3):
        _picture(tmp_path / "p" / f"{seed}.png", seed)
    import_folders([tmp_path / "p"], archive)
    for path in (archive.path / "records").iterdir():
        record = LearningRecord.from_json(path.read_bytes())
        own = {k: v for k, v in record.metadata["import"].items() if not k.startswith("image")}
        old = LearningRecord.from_json(record.to_json())
        object.__setattr__(old, "metadata", {"import": own})
        object.__setattr__(old, "digest", None)
        path.write_bytes(old.to_document())
    rated = str(_images(archive, "seed = 1")[0]["sha256"])
    with archive.ratings() as store:
        store.add(RatingEvent.now("stars", Identity(sha256=rated), value=4))
    _later(_picture(tmp_path / "p" / "1.png", 1, word="x"), 60)
    assert {row["image_sha256"] for row in _images(archive)} == {None}
    summary = import_folders([tmp_path / "p"], archive)
    assert (summary.imported, summary.superseded, summary.unchanged) == (0, 3, 0)
    rows = _everywhere(archive)
    assert len(rows) == 3
    assert None not in {row[2] for row in rows}
    assert [row["stars"] for row in _images(archive)] == [None, 4, None]
    assert import_folders([tmp_path / "p"], archive).unchanged == 3


def test_what_is_missing_is_noted_when_the_whole_folder_was_seen(
    archive: Archive, tmp_path: Path
) -> None:
    for seed in range(3):
        _picture(tmp_path / "p" / f"{seed}.png", seed)
    import_folders([tmp_path / "p"], archive)
    (tmp_path / "p" / "1.png").rename(tmp_path / "away.png")
    assert import_folders([tmp_path / "p" / "2.png"], archive).gone == 0, "no folder was walked"
    assert import_folders([tmp_path / "p"], archive).gone == 1
    assert [row["seed"] for row in _images(archive, "gone = true")] == [1]
    assert import_folders([tmp_path / "p"], archive).gone == 0, "it is told once"
    _everywhere(archive)
    (tmp_path / "away.png").rename(tmp_path / "p" / "1.png")
    import_folders([tmp_path / "p"], archive)
    assert _images(archive, "gone = true") == []
    (tmp_path / "p").rename(tmp_path / "unplugged")
    (tmp_path / "p").mkdir()
    assert import_folders([tmp_path / "p"], archive).gone == 0, "an empty folder says nothing"
    assert import_folders([tmp_path / "unplugged"], archive).known == 3
    assert _images(archive, "gone = true") == []


def test_everything_again_changes_nothing(archive: Archive, tmp_path: Path) -> None:
    """Copies, twins and all, in packs of a few: each run has one record that counts."""
    for seed in range(30):
        path = _picture(tmp_path / "p" / f"{seed}.png", seed)
        if seed % 3 == 0:
            shutil.copy(path, tmp_path / "p" / f"copy{seed}.png")
        if seed % 5 == 0:
            _picture(tmp_path / "p" / f"twin{seed}.png", seed, steps=9)
            _picture(tmp_path / "p" / f"same twin{seed}.png", seed, steps=9, word="y")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder_import, "_PER_PACK", 7)
        patch.setattr(folder_import, "_LOOSE", 4)
        first = import_folders([tmp_path / "p"], archive)
        state = _everywhere(archive)
        again = import_folders([tmp_path / "p"], archive, again=True)
    assert (first.imported, first.known, first.twins) == (36, 16, 6)
    assert (again.imported, again.superseded, again.known) == (0, 0, 52)
    assert _everywhere(archive) == state


_Ranked = tuple[str, int, str | None, int, int]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("imported", "interrupted", "completed", "partial")),
            st.integers(0, 3), st.sampled_from((None, "a", "b")), st.integers(0, 2),
            st.integers(0, 2),
        ),
        min_size=1,
    )
)  # fmt: skip
def test_tables_are_ranked_as_records_are(records: list[_Ranked]) -> None:
    """Records are compared in one place and tables in another: the rule is one."""

    def rank(record: _Ranked) -> Rank:
        status, pictures, digest, reader, reading = record
        return rank_of(status, pictures, digest, (reader, reading))

    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE t (status VARCHAR, pictures BIGINT, digest VARCHAR, reader BIGINT,"
            " reading BIGINT)"
        )
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", records)
        ranked = connection.execute(f"SELECT * FROM t ORDER BY {RANK_IN_SQL}").fetchall()
    assert [rank(row) for row in ranked] == sorted(map(rank, records), reverse=True)
