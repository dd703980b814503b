from __future__ import annotations

import io
import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image, PngImagePlugin

from archives import verified
from imports import killed_import
from safelight.archive import Archive
from safelight.archive.folder_copy import merge_archives
from safelight.cli import main
from safelight.imports.folder_import import ImportSummary, import_folders, mend_places
from safelight.imports.import_log import ImportLog
from safelight.imports.imported_picture import run_id_of
from safelight.imports.picture_walk import walk_pictures
from safelight.learning.learning_record import LearningRecord

_DATA = Path(__file__).parents[1] / "data" / "imports"
_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/></rdf:RDF></x:xmpmeta>'
)


def _picture(path: Path, seed: int, *, xmp: str = "", model: str = "m") -> Path:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", (
        f"a cat <lora:ink:0.5>\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: {seed}, "
        f"Size: 8x8, Model: {model}, Version: v1.10.1"
    ))  # fmt: skip
    if xmp:
        info.add_itxt("XML:com.adobe.xmp", xmp)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (seed % 256, 0, 0)).save(path, pnginfo=info)
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in range(5):
        _picture(tmp_path / "pictures" / f"{seed}.png", seed)
    return tmp_path / "pictures"


def _images(archive: Archive, condition: str = "") -> list[dict[str, object]]:
    return list(archive.query(condition, limit=None).dicts())


def test_each_picture_becomes_a_record(archive: Archive, folder: Path) -> None:
    summary = import_folders([folder], archive)
    assert (summary.files, summary.imported, summary.fault_count) == (5, 5, 0)
    assert summary.read == {"a1111": {"full": 5}}
    (image,) = _images(archive, "seed = 3")
    assert image["path"] == str(folder / "3.png")
    assert (image["status"], image["model"], image["sampler"]) == ("imported", "m", "Euler a")
    record = archive.record(str(image["run_id"]))
    kept = record.metadata["import"]
    assert kept["raw"]["parameters"].startswith("a cat <lora:ink:0.5>\nSteps: 20")
    assert kept["fields"]["txt2img.clip_skip"] == "defaulted"
    loras = archive.query("", view="loras", sort="run_id", limit=None)
    assert {tuple(row[-2:]) for row in loras.rows} == {("ink", 0.5)}
    assert LearningRecord.from_json(record.to_json()) == record


def test_a_second_import_reads_only_what_is_new(archive: Archive, folder: Path) -> None:
    import_folders([folder], archive)
    _picture(folder / "deeper" / "new.png", 77)
    summary = import_folders([folder], archive)
    assert (summary.files, summary.unchanged, summary.imported) == (6, 5, 1)
    assert len(_images(archive)) == 6


def test_a_moved_picture_is_the_same_picture_with_its_rating(
    archive: Archive, folder: Path, tmp_path: Path
) -> None:
    import_folders([folder], archive)
    runner = CliRunner()
    rated = runner.invoke(
        main, ["rate", str(folder / "2.png"), "--stars", "5", "--archive", str(archive.path)]
    )
    assert rated.exit_code == 0, rated.output
    target = tmp_path / "elsewhere" / "best one.png"
    target.parent.mkdir()
    (folder / "2.png").rename(target)
    summary = import_folders([tmp_path / "elsewhere", folder], archive)
    assert (summary.imported, summary.known, summary.unchanged) == (0, 1, 4)
    (image,) = _images(archive, "stars = 5")
    assert image["seed"] == 2
    assert image["path"] == str(target), "the archive knows where the picture lies now"
    assert len(_images(archive)) == 5


def test_a_copy_is_not_where_the_picture_went(
    archive: Archive, folder: Path, tmp_path: Path
) -> None:
    """Whoever imports a backup and deletes it finds every picture where it was."""
    import_folders([folder], archive)
    shutil.copytree(folder, tmp_path / "backup")
    summary = import_folders([tmp_path / "backup"], archive)
    assert (summary.imported, summary.known) == (0, 5)
    shutil.rmtree(tmp_path / "backup")
    assert {Path(str(image["path"])).parent for image in _images(archive)} == {folder}


def test_pictures_that_an_earlier_version_lost_sight_of_are_found_again(
    archive: Archive, folder: Path, tmp_path: Path
) -> None:
    """It believed that a copy was where a picture had gone, and the copy is gone."""
    import_folders([folder], archive)
    (lost, *_) = _images(archive)
    log = ImportLog(archive.path / "imports")
    log.add_places([(str(lost["sha256"]), str(tmp_path / "backup" / "1.png"))])
    log.close()
    assert lost["path"] not in {image["path"] for image in _images(archive)}
    assert mend_places(archive) == 1
    assert lost["path"] in {image["path"] for image in _images(archive)}
    assert mend_places(archive) == 0


def test_a_place_that_may_not_be_looked_at_is_one_where_nothing_is(
    archive: Archive, folder: Path, tmp_path: Path
) -> None:
    """A name that this disk does not take stands for a folder that one has no right to."""
    import_folders([folder], archive)
    (lost, *_) = _images(archive)
    log = ImportLog(archive.path / "imports")
    log.add_places([(str(lost["sha256"]), str(tmp_path / ("x" * 300) / "1.png"))])
    log.close()
    shutil.copytree(folder, tmp_path / "backup")
    assert import_folders([tmp_path / "backup"], archive).known == 5
    assert str(tmp_path / "backup" / Path(str(lost["path"])).name) in {
        image["path"] for image in _images(archive)
    }
    shutil.rmtree(tmp_path / "backup")
    assert mend_places(archive) == 1


def test_a_fresh_archive_makes_the_same_record_and_a_merge_counts_it_once(
    archive: Archive, folder: Path, tmp_path: Path
) -> None:
    other = Archive(tmp_path / "other")
    for each in (archive, other):
        import_folders([folder], each)
    merge_archives(archive.path, other.path)
    archive.pack()
    assert len(_images(archive)) == 5


def test_many_pictures_become_a_pack_and_processes_change_nothing(
    archive: Archive, tmp_path: Path
) -> None:
    for seed in range(150):
        _picture(tmp_path / "many" / f"{seed // 50}" / f"{seed}.png", seed)
    summary = import_folders([tmp_path / "many"], archive, jobs=2)
    assert (summary.imported, len(list((archive.path / "packs").iterdir()))) == (150, 1)
    assert sorted(int(str(i["seed"])) for i in _images(archive)) == list(range(150))
    assert verified(archive) == (150, [])


def test_ratings_of_other_programs_come_along_once(archive: Archive, tmp_path: Path) -> None:
    _picture(tmp_path / "p" / "inside.png", 1, xmp=_XMP)
    _picture(tmp_path / "p" / "adobe.png", 2)
    (tmp_path / "p" / "adobe.xmp").write_text(_XMP.replace('"4"', '"-1"'))
    _picture(tmp_path / "p" / "darktable.png", 3)
    (tmp_path / "p" / "darktable.png.xmp").write_text(_XMP.replace('"4"', '"2"'))
    exif = Image.Exif()
    exif[0x4746] = 3
    Image.new("RGB", (8, 8)).save(tmp_path / "p" / "windows.jpg", exif=exif)
    for found in (4, 0):
        summary = import_folders([tmp_path / "p"], archive, again=True)
        assert summary.ratings == found
    ratings = {Path(str(i["path"])).name: (i["stars"], i["rejected"]) for i in _images(archive)}
    assert ratings["inside.png"][0] == 4
    assert ratings["adobe.png"][1] is True
    assert ratings["darktable.png"][0] == 2
    assert ratings["windows.jpg"][0] == 3


def test_what_cannot_be_read_is_told_and_the_rest_is_imported(
    archive: Archive, folder: Path
) -> None:
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("no picture")
    (folder / "cut.webp").write_bytes(b"RIFF\0\0\0\0WEBPVP8 ")
    os.mkfifo(folder / "pipe.png")
    (folder / "gone.png").symlink_to(folder / "nowhere")
    summary = import_folders([folder], archive)
    assert summary.imported == 5
    reasons = {Path(fault.path).name: fault.reason for fault in summary.faults}
    assert reasons["empty.png"] == "the file is empty"
    assert "no" in reasons["text.jpg"]
    assert {"cut.webp", "gone.png"} <= reasons.keys()
    assert "pipe.png" not in reasons, "a pipe would block for ever; it is no picture"


def test_a_name_that_is_no_text_is_kept(archive: Archive, tmp_path: Path) -> None:
    name = b"caf\xe9.png"
    place = os.fsencode(tmp_path) + b"/p"
    source = _picture(tmp_path / "p" / "source.png", 9)
    source.rename(os.fsdecode(place + b"/" + name))
    summary = import_folders([tmp_path / "p"], archive, jobs=2)
    assert summary.imported == 1, summary.faults
    (image,) = _images(archive)
    assert str(image["path"]).endswith("caf\\xe9.png")
    file = archive.record(str(image["run_id"])).metadata["import"]["file"]
    assert bytes.fromhex(file["name_bytes"]) == name
    assert import_folders([tmp_path / "p"], archive).unchanged == 1


def test_links_that_loop_and_previews_are_passed_over(folder: Path) -> None:
    (folder / "loop").symlink_to(folder)
    (folder / "again.png").symlink_to(folder / "1.png")
    _picture(folder / "thumbnails" / "t.png", 1)
    _picture(folder / "x.swarmpreview.png", 1)
    _picture(folder / "archive" / "own.png", 1)
    (folder / "notes.txt").write_text("no picture")
    walked = walk_pictures([folder, folder / "1.png"], without=folder / "archive")
    names = [Path(path).name for path, *_ in walked]
    assert names == ["0.png", "1.png", "2.png", "3.png", "4.png", "again.png", "1.png"]


def test_a_folder_that_may_not_be_read_is_told(folder: Path) -> None:
    if os.geteuid() == 0:
        faults: list[tuple[str, str]] = []
        list(walk_pictures([folder / "missing"], on_fault=lambda *fault: faults.append(fault)))
        assert faults == [(str(folder / "missing"), "No such file or directory")]
        return
    closed = folder / "closed"
    closed.mkdir(mode=0)
    faults = []
    walked = list(walk_pictures([folder], on_fault=lambda *fault: faults.append(fault)))
    assert len(walked) == 5
    assert faults == [(str(closed), "Permission denied")]


def test_pictures_of_safelight_itself_are_known(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('backend = "fake"\n[txt2img]\nprompt = "a cat"\nwidth = 64\nheight = 64\n')
    archive = tmp_path / "archive"
    ran = CliRunner().invoke(main, ["run", str(config), "--archive", str(archive)])
    assert ran.exit_code == 0, ran.output
    moved = tmp_path / "moved"
    (archive / "images").rename(moved)
    summary = import_folders([moved], Archive(archive))
    drawn = [image for image in _images(Archive(archive)) if image["status"] != "imported"]
    assert summary.known == len(drawn) > 0
    assert all(Path(str(image["path"])).is_file() for image in drawn)


def test_nothing_of_the_users_is_changed(archive: Archive, folder: Path) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    import_folders([folder], archive, jobs=2)
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()} == before


def test_progress_is_told(archive: Archive, folder: Path) -> None:
    met: list[int] = []

    def on_progress(summary: ImportSummary) -> None:
        met.append(summary.files)

    import_folders([folder], archive, on_progress=on_progress)
    assert met[-1] == 5


def test_the_command_tells_what_was_read_and_what_not(folder: Path, tmp_path: Path) -> None:
    _picture(folder / "partly.png", 8, model="")
    (folder / "empty.png").write_bytes(b"")
    asked = ["import", str(folder), str(_DATA), "--archive", str(tmp_path / "a"), "--jobs", "1"]
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 0, result.output
    assert "model unresolved" in result.output
    assert "the file is empty" in result.output
    answer = json.loads(CliRunner().invoke(main, [*asked, "--json"]).output)
    assert (answer["unchanged"], answer["fault_count"]) == (answer["files"] - 1, 1)


def test_a_torn_log_costs_time_and_nothing_else(archive: Archive, folder: Path) -> None:
    import_folders([folder], archive)
    (log,) = (archive.path / "imports").glob("seen-*.jsonl")
    log.write_bytes(log.read_bytes()[:-40] + b"\xff{")
    summary = import_folders([folder], archive)
    assert (summary.imported, summary.known, summary.unchanged) == (0, 1, 4)
    assert len(_images(archive)) == 5


def test_an_import_that_is_killed_goes_on_without_doubles(tmp_path: Path) -> None:
    """Eight times at random moments: nothing torn, nothing lost, nothing twice.

    ``bench/breaking_archives.py`` does it two hundred times.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["imports.killed_import", "duckdb", "numpy"])
    for seed in range(60):
        _picture(tmp_path / "many" / f"{seed}.png", seed)
    began = time.monotonic()
    whole_one = context.Process(
        target=killed_import.run, args=(str(tmp_path / "many"), str(tmp_path / "whole"))
    )
    whole_one.start()
    whole_one.join()
    taken = time.monotonic() - began
    chance = random.Random(5)
    kills = archives = 0
    while kills < 8:
        archive = Archive(tmp_path / f"archive {archives}")
        archives += 1
        whole = 0
        while whole < 60 and kills < 8:
            process = context.Process(
                target=killed_import.run, args=(str(tmp_path / "many"), str(archive.path))
            )
            process.start()
            time.sleep(chance.uniform(0.1, 1) * taken)
            process.kill()
            process.join()
            kills += process.exitcode == -signal.SIGKILL
            kept = len(_images(archive))
            assert kept >= whole, "what was imported stays"
            whole = kept
        assert verified(archive) == (whole, [])
        import_folders([tmp_path / "many"], archive)
        images = _images(archive)
        assert len(images) == len({image["run_id"] for image in images}) == 60


def test_a_run_is_named_after_its_picture() -> None:
    assert run_id_of("ab" * 32) == "import-" + "ab" * 20


def test_a_graph_of_ten_megabytes_is_left_in_the_picture(archive: Archive, tmp_path: Path) -> None:
    graph = {str(n): {"class_type": "X", "inputs": {"text": "y" * 100}} for n in range(80_000)}
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", json.dumps(graph))
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=info)
    path = tmp_path / "p" / "huge.png"
    path.parent.mkdir()
    path.write_bytes(buffer.getvalue())
    assert import_folders([path], archive).imported == 1
    (image,) = _images(archive)
    record = archive.record(str(image["run_id"]))
    assert record.metadata["import"]["raw"] == {"left in the picture": "prompt"}
    assert len(record.to_json()) < 20_000
