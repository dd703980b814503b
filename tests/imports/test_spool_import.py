"""Lines of spools become records: each execution once, each picture once, whatever fails."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image, PngImagePlugin
from safelight_spool import Spool

from archives import verified
from imports import killed_import
from safelight.application.failed_settings import failed_settings
from safelight.archive import Archive
from safelight.archive.folder_copy import merge_archives
from safelight.cli import main
from safelight.imports.folder_import import import_folders
from safelight.imports.readings_compared import about_import
from safelight.imports.rereading import reread_archive
from safelight.learning.learning_record import LearningRecord


def graph(seed: int, steps: int = 20) -> dict[str, Any]:
    return {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "m.safetensors"}},
        "5": {"class_type": "EmptyLatentImage",
              "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "fog", "clip": ["4", 1]}},
        "3": {"class_type": "KSampler", "inputs": {
            "seed": seed, "steps": steps, "cfg": 7.0, "sampler_name": "euler",
            "scheduler": "karras", "denoise": 1.0, "model": ["4", 0], "positive": ["6", 0],
            "negative": ["7", 0], "latent_image": ["5", 0]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}},
    }  # fmt: skip


def infotext(seed: int) -> str:
    return (f"a cat\nNegative prompt: fog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: {seed},"
            " Size: 64x64, Model: m, Version: v1.10.1")  # fmt: skip


def picture(path: Path, seed: int, *, told: bool = True) -> Path:
    """Draw a picture that says how it was made, as ComfyUI does, or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    info = PngImagePlugin.PngInfo()
    if told:
        info.add_text("prompt", json.dumps(graph(seed)))
    colours = (seed % 256, seed // 256 % 256, 0)
    Image.new("RGB", (64, 64), colours).save(path, pnginfo=info)
    return path


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "output"
    folder.mkdir()
    return folder


@pytest.fixture
def spool(output: Path) -> Spool:
    return Spool(output / ".safelight-spool", tool="comfyui", tool_version="0.36")


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive")


def images(archive: Archive) -> list[dict[str, Any]]:
    return list(archive.query(limit=None).dicts())


def runs(archive: Archive) -> list[dict[str, Any]]:
    return list(archive.query(view="runs", limit=None).dicts())


def record_of(archive: Archive, row: dict[str, Any]) -> LearningRecord:
    return archive.record(str(row["run_id"]))


def spool_of(record: LearningRecord) -> dict[str, Any]:
    told = record.metadata["import"].get("spool", {})
    assert isinstance(told, dict)
    return told


def executions(archive: Archive) -> list[str]:
    """Return the execution of each line that is in the archive, once for each record of it."""
    names = []
    for row in runs(archive):
        told = spool_of(record_of(archive, row))
        if told:
            names.append(str(told["id"]))
    return names


@pytest.mark.parametrize("order", ["line first", "picture first"])
def test_a_picture_and_its_line_are_one_picture(
    output: Path, spool: Spool, archive: Archive, order: str
) -> None:
    """What only the line knew stands in its record, and the picture is there once."""
    path = picture(output / "a.png", 7)
    if order == "picture first":
        import_folders([output], archive)
    name = spool.append(graph=graph(7), outputs=[path], seconds=2.5, cached=["4"],
                        began="2026-11-30T04:00:00Z", environment={"device": "cuda:0"})  # fmt: skip
    summary = import_folders([output], archive)
    assert (summary.lines, summary.alone, summary.twins, summary.fault_count) == (1, 0, 0, 0)
    assert (summary.files, summary.imported + summary.superseded) == (1, 1)
    assert (summary.unchanged, summary.known) == (0, 0), "it is counted once"
    for _ in range(2):  # also when it is read again, from its file alone
        (image,) = images(archive)
        assert (image["seed"], image["status"], image["seconds"]) == (7, "imported", 2.5)
        record = record_of(archive, image)
        told = spool_of(record)
        assert (told["id"], told["cached"], told["status"]) == (name, ["4"], "completed")
        assert record.environment == {"device": "cuda:0"}
        assert record.timestamp == "2026-11-30T04:00:00.000000Z"
        assert record.metadata["import"]["outcome"] == "full"
        assert len(runs(archive)) == 1
        assert import_folders([output], archive, again=True).fault_count == 0


def test_nothing_new_is_seen_without_asking_the_archive(
    output: Path, spool: Spool, archive: Archive
) -> None:
    picture(output / "a.png", 1)
    spool.append(status="failed", error="x", graph=graph(2))
    import_folders([output], archive)
    before = sorted(p.name for p in (archive.path / "imports").iterdir())
    assert import_folders([output], archive).unchanged == 1
    assert sorted(p.name for p in (archive.path / "imports").iterdir()) == before
    spool.append(status="failed", error="x", graph=graph(3))
    assert import_folders([output], archive).failed == 1


def test_what_failed_or_was_cancelled_is_a_record_without_pictures(
    output: Path, spool: Spool, archive: Archive
) -> None:
    spool.append(status="failed", error=MemoryError("CUDA out of memory"), seconds=4,
                 graph=graph(1, steps=900), execution="5b2f0a00-1111")  # fmt: skip
    spool.append(status="cancelled", graph=graph(2))
    summary = import_folders([output], archive)
    assert (summary.failed, summary.cancelled, summary.lines) == (1, 1, 2)
    assert images(archive) == []
    rows = {row["status"]: row for row in runs(archive)}
    record = record_of(archive, rows["failed"])
    assert record.run_id == "spool-5b2f0a00-1111"
    assert record.error == "MemoryError: CUDA out of memory"
    assert record.failures[0].error == record.error
    assert record.variant_configs[0]["txt2img"]["steps"] == 900
    assert record.primary_sampler == "Euler"
    assert (record.backend, record.seconds) == ({"name": "comfyui", "version": "0.36"},
                                                {"txt2img": 4})  # fmt: skip
    assert record_of(archive, rows["cancelled"]).failures == ()
    assert verified(archive) == (2, [])


def test_a_picture_that_says_nothing_is_read_from_its_line(
    output: Path, spool: Spool, archive: Archive
) -> None:
    """A JPEG whose text was stripped, or that a tool never gave one."""
    path = picture(output / "a.png", 9, told=False)
    other = output / "b.jpg"
    Image.new("RGB", (64, 64), "red").save(other)
    third = picture(output / "c.png", 10, told=False)
    import_folders([output], archive)
    spool.append(graph=graph(9), outputs=[path])
    spool.append(infotexts=[infotext(5)], outputs=[other])
    spool.append(parameters={"prompt": "a dog", "num_inference_steps": 4, "seed": 3,
                             "guidance_scale": 0.0, "odd": [1]}, outputs=[third])  # fmt: skip
    assert import_folders([output], archive).superseded == 3
    reread_archive(archive)
    import_folders([output], archive, again=True)
    found = {Path(str(row["path"])).name: row for row in images(archive)}
    assert len(found) == len(images(archive)) == 3
    assert (found["a.png"]["seed"], found["a.png"]["sampler"]) == (9, "Euler")
    assert (found["b.jpg"]["seed"], found["b.jpg"]["sampler"]) == (5, "Euler a")
    assert (found["c.png"]["prompt"], found["c.png"]["steps"]) == ("a dog", 4)
    assert record_of(archive, found["c.png"]).metadata["import"]["extra"] == {"odd": "[1]"}


def test_a_line_waits_a_little_for_a_picture_that_is_not_written_yet(
    output: Path, spool: Spool, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tools that write their files meanwhile; a line whose file never comes is an execution."""
    late = output / "late.png"
    spool.append(graph=graph(7), outputs=[late], seconds=2.5)
    spool.append(graph=graph(8), outputs=[output / "never.png"])
    for _ in range(2):
        assert import_folders([output], archive).lines == 0
    picture(late, 7, told=False)
    old = time.time() - 1
    os.utime(late, (old, old))  # no more of it comes
    summary = import_folders([output], archive)
    assert (summary.lines, summary.alone) == (1, 0)
    assert [(row["seed"], row["seconds"]) for row in images(archive)] == [(7, 2.5)]
    monkeypatch.setattr("safelight.imports.spool_import._PATIENCE", 0.0)
    assert import_folders([output], archive).alone == 1


def test_pictures_of_a_batch_have_texts_of_their_own(
    output: Path, spool: Spool, archive: Archive
) -> None:
    paths = [picture(output / f"{n}.png", n, told=False) for n in range(3)]
    spool.append(infotexts=[infotext(n) for n in range(3)], outputs=paths, seconds=6)
    import_folders([output], archive)
    assert sorted(row["seed"] for row in images(archive)) == [0, 1, 2]
    assert sum(sum(record_of(archive, row).seconds.values()) for row in images(archive)) == 6


def test_a_run_that_drew_what_is_there_already_is_not_lost(
    output: Path, spool: Spool, archive: Archive
) -> None:
    """All nodes cached, or the same seed again: another execution, no other picture."""
    path = picture(output / "a.png", 7)
    first = spool.append(graph=graph(7), outputs=[path])
    again = spool.append(graph=graph(7), outputs=[path], cached=["3", "8"])
    copy = spool.append(graph=graph(7), outputs=[picture(output / "b.png", 7)])
    for _ in range(2):
        import_folders([output], archive, again=True)
    assert len(images(archive)) == 1
    assert sorted(executions(archive)) == sorted(filter(None, [first, again, copy]))


def test_another_picture_in_the_place_of_a_line_is_not_taken_for_its_own(
    output: Path, spool: Spool, archive: Archive
) -> None:
    path = picture(output / "a.png", 7)
    name = spool.append(graph=graph(7), outputs=[path])
    Image.new("RGB", (64, 65), "blue").save(path)
    summary = import_folders([output], archive)
    assert (summary.alone, summary.imported) == (1, 1)
    (image,) = images(archive)
    assert image["seed"] is None
    assert executions(archive) == [name]


def test_a_picture_that_was_tagged_since_is_still_the_line_s(
    output: Path, spool: Spool, archive: Archive
) -> None:
    path = picture(output / "a.png", 7)
    name = spool.append(graph=graph(7), outputs=[path])
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", json.dumps(graph(7)))
    info.add_text("Keywords", "seen")
    Image.open(path).save(path, pnginfo=info)
    import_folders([output], archive)
    assert executions(archive) == [name]
    assert len(images(archive)) == len(runs(archive)) == 1


def test_nothing_outside_of_what_was_asked_for_is_opened(
    tmp_path: Path, output: Path, spool: Spool, archive: Archive
) -> None:
    """A spool may come with a folder from anywhere, and may name any file of this machine."""
    private = picture(tmp_path / "private" / "a.png", 7)
    name = spool.append(graph=graph(7), outputs=[private, {"path": f"{output}/../private/a.png"}])
    import_folders([output], archive)
    assert images(archive) == []
    assert executions(archive) == [name]
    spool.append(graph=graph(7), outputs=[private])
    import_folders([output, private.parent], archive)
    assert len(images(archive)) == 1


def test_spools_are_found_below_and_by_name(tmp_path: Path, archive: Archive) -> None:
    deep = tmp_path / "a" / "b"
    Spool(deep / ".safelight-spool", tool="t").append(status="failed", error="1")
    other = tmp_path / "elsewhere"
    Spool(other, tool="t").append(status="failed", error="2")
    assert import_folders([tmp_path / "a"], archive).failed == 1
    (file,) = other.glob("*.spool.jsonl")
    for place in (file, other, deep / ".safelight-spool"):
        import_folders([place], archive)
    assert sorted(str(row["error"]) for row in runs(archive)) == ["1", "2"]


def test_a_torn_line_waits_and_a_bad_one_costs_itself(
    output: Path, spool: Spool, archive: Archive
) -> None:
    for number in range(3):
        spool.append(status="failed", error=str(number))
    (file,) = (output / ".safelight-spool").glob("*.spool.jsonl")
    first, second, third = file.read_bytes().splitlines(keepends=True)
    rotten = second.replace(b'"error":"1"', b'"error":"7"')
    file.write_bytes(first + rotten + b"{}\n\xff\n" + third[:-20])
    summary = import_folders([output], archive)
    assert (summary.failed, summary.fault_count) == (1, 3)
    assert "checksum" in summary.faults[0].reason
    assert import_folders([output], archive).lines == 0
    with file.open("ab") as end:
        end.write(third[-20:])
    assert import_folders([output], archive).failed == 1
    assert sorted(str(row["error"]) for row in runs(archive)) == ["0", "2"]


def test_two_machines_make_the_same_of_a_line(
    tmp_path: Path, output: Path, spool: Spool, archive: Archive
) -> None:
    other = Archive(tmp_path / "other")
    path = picture(output / "a.png", 7)
    import_folders([output], other)
    spool.append(graph=graph(7), outputs=[path], execution="drawn")
    spool.append(status="failed", error="no", execution="failed")
    third = Archive(tmp_path / "third")
    for each in (archive, third):
        import_folders([output], each)
    for each in (other, third):
        merge_archives(archive.path, each.path)
        merge_archives(each.path, archive.path)
    for each in (archive, other):
        assert sorted(executions(each)) == ["drawn", "failed"], each.path
        assert len(images(each)) == 1
        assert import_folders([output], each).lines == 0, "how far it was read came along"


def test_what_was_read_is_told_to_the_tool(output: Path, spool: Spool, archive: Archive) -> None:
    spool.append()
    import_folders([output], archive)
    (file,) = (output / ".safelight-spool").glob("*.spool.jsonl")
    mark = file.with_name(f"{file.name}.read")
    assert json.loads(mark.read_text()) == {"read": file.stat().st_size}
    spool.close()
    Spool(output / ".safelight-spool", tool="comfyui").append()
    assert not file.exists()
    assert not mark.exists()


def test_an_import_that_is_killed_loses_and_doubles_no_execution(
    output: Path, spool: Spool, archive: Archive
) -> None:
    names = []
    for number in range(45):
        outputs = [picture(output / f"{number}.png", number)] if number % 3 else []
        status = "completed" if number % 3 else "failed"
        names.append(spool.append(graph=graph(number), outputs=outputs, status=status))
    chance = random.Random(5)
    for _ in range(3):
        child = multiprocessing.get_context("fork").Process(
            target=killed_import.run, args=(str(output), str(archive.path))
        )
        child.start()
        time.sleep(chance.uniform(0.02, 0.4))
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
    import_folders([output], archive)
    assert sorted(executions(archive)) == sorted(filter(None, names))
    assert len(images(archive)) == 30
    assert verified(archive)[1] == []


def test_what_fails_is_counted_among_what_was_told(
    tmp_path: Path, output: Path, spool: Spool, archive: Archive
) -> None:
    """Pictures of before say nothing of what failed then, and a batch is one execution."""
    for number in range(9):
        picture(output / "old" / f"{number}.png", number)
    batch = [picture(output / f"{number}.png", number) for number in range(10, 14)]
    spool.append(graph=graph(1, steps=5), outputs=batch, seconds=4)
    spool.append(graph=graph(1, steps=5), outputs=batch, seconds=1, cached=["3"])
    for _ in range(3):
        spool.append(graph=graph(2, steps=900), status="failed", error="out of memory", seconds=1)
    spool.append(graph=graph(2, steps=900), status="cancelled", seconds=1)
    import_folders([output], archive)
    failed = failed_settings(archive)
    assert (failed.begun, failed.failed) == (5, 3)
    shares = {share.level: (share.failed, share.begun)
              for share in failed.shares if share.knob == "steps"}  # fmt: skip
    assert shares["900"] == (3, 3)


def test_the_command_tells_of_lines(output: Path, spool: Spool, archive: Archive) -> None:
    spool.append(status="failed", error="no")
    spool.append(status="cancelled")
    done = CliRunner().invoke(main, ["import", str(output), "--archive", str(archive.path)])
    assert done.exit_code == 0, done.output
    assert "2 executions told by tools: 1 failed, 1 cancelled" in done.output


def test_what_a_line_alone_said_stays_so_however_often_its_file_is_read(
    output: Path, spool: Spool, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file tells of all steps and no version, and its line has been read already."""
    path = str(picture(output / "a.png", 1))
    spool.append(status="cancelled", outputs=[{"path": path, "cut_short": True}])
    import_folders([output], archive)
    records = archive.rows("SELECT count(*) FROM runs", rated=False)
    summary = import_folders([output], archive, again=True)
    assert (summary.superseded, summary.known) == (0, 1)
    for module in ("known_pictures", "rereading", "imported_picture"):
        monkeypatch.setattr(f"safelight.imports.{module}.READER", 99)
    assert import_folders([output], archive, again=True).superseded == 1
    assert reread_archive(archive).superseded == 0
    assert archive.rows("SELECT count(*) FROM runs", rated=False) == records
    (row,) = archive.query("recorded('extra.cut short') = 'true'", limit=None).dicts()
    record = record_of(archive, row)
    assert (row["steps"], record.backend["version"]) == (20, "0.36")
    assert about_import(record)["reader"] == 99
