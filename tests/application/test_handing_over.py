"""Pictures for somebody else: settings inside or out, and what is seen stays as it is."""

from __future__ import annotations

import io
import os
import shutil
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from command_line import Safelight
from safelight.application.handing_over import (
    HandOver,
    hand_over,
    handed_over,
    to_hand_over,
    zipped,
)
from safelight.application.open_archive import run
from safelight.archive import Archive
from safelight.archive_layout import pictures_folder
from safelight.errors import ImageError, RequestError
from safelight.formats.containers import file_texts
from safelight.formats.image_data import hash_picture
from safelight.formats.infotext import parse_infotext
from safelight.formats.told_settings import with_settings, without_texts
from safelight.imports.folder_import import import_folders

DRAWN = {
    "backend": "fake",
    "txt2img": {"prompt": "a {red|green|blue} fjørd <b>", "steps": 2, "width": 32, "height": 32},
    "randomizer": {"mode": "fanout"},
}
TEXT = "a fjørd, <b>\nSteps: 4, Sampler: Euler a, Seed: 7"


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    run(DRAWN, tmp_path / "safelight", {}, seed=1)
    return Archive(tmp_path / "safelight")


def picture(kind: str, **options: object) -> bytes:
    written = io.BytesIO()
    colours = Image.linear_gradient("L").resize((40, 24)).convert("RGB")
    colours.save(written, kind, **options)
    return written.getvalue()


PICTURES = {
    "png": picture("PNG"),
    "jpeg": picture("JPEG"),
    "progressive": picture("JPEG", progressive=True),
    "webp": picture("WEBP"),
    "lossless": picture("WEBP", lossless=True),
}


@pytest.mark.parametrize("data", PICTURES.values(), ids=PICTURES)
def test_settings_go_in_and_out_and_the_image_data_stays(data: bytes) -> None:
    told = with_settings(data, TEXT)
    before, after = hash_picture(io.BytesIO(data)), hash_picture(io.BytesIO(told))
    assert after.is_split
    assert not after.is_cut
    assert after.image_sha256 == before.image_sha256
    assert TEXT in file_texts(io.BytesIO(told)).texts.values()
    with Image.open(io.BytesIO(told)) as shown, Image.open(io.BytesIO(data)) as was:
        assert shown.convert("RGB").tobytes() == was.convert("RGB").tobytes()
        assert shown.size == was.size
    silent = without_texts(told)
    assert file_texts(io.BytesIO(silent)).texts == {}
    assert b"Euler" not in silent
    assert b"E\0u\0l\0e\0r" not in silent
    assert hash_picture(io.BytesIO(silent)).image_sha256 == before.image_sha256
    with Image.open(io.BytesIO(silent)) as shown, Image.open(io.BytesIO(data)) as was:
        assert shown.convert("RGB").tobytes() == was.convert("RGB").tobytes()


def test_what_says_more_than_can_be_kept_is_refused() -> None:
    for kind in ("GIF", "BMP"):
        with pytest.raises(ImageError, match="PNG, JPEG and WebP only"):
            without_texts(picture(kind))
        with pytest.raises(ImageError, match="PNG, JPEG and WebP only"):
            with_settings(picture(kind), TEXT)
    for data in (PICTURES["jpeg"], PICTURES["webp"]):
        with pytest.raises(ImageError, match="other EXIF already"):
            with_settings(with_settings(data, TEXT), "other")
    with pytest.raises(ImageError, match="64 KiB"):
        with_settings(PICTURES["jpeg"], "x" * 40_000)


@pytest.mark.parametrize("name", PICTURES)
def test_a_file_that_ends_early_is_refused_and_not_made_worse(name: str) -> None:
    data = PICTURES[name]
    for end in range(64, len(data) - 1, 13):
        try:
            silent = without_texts(data[:end])
        except ImageError:
            continue
        assert len(silent) <= end + 1


def test_pictures_go_into_a_folder_or_a_zip_with_their_settings(
    archive: Archive, command: Safelight, tmp_path: Path
) -> None:
    assert "3 pictures written" in command("export", "best.zip", "--page", "--sheet").stdout
    assert "3 pictures written" in command("export", "best", "--names", "{prompt:12}-{seed}").stdout
    assert sorted(path.name for path in (tmp_path / "best").iterdir())[0].startswith("a_blue_fj")
    with zipfile.ZipFile(tmp_path / "best.zip") as file:
        assert file.testzip() is None
        names = file.namelist()
        assert names[-2:] == ["contact_sheet.png", "pictures.html"]
        for name in names[:3]:
            text = file_texts(io.BytesIO(file.read(name))).texts["parameters"]
            assert "fjørd" in parse_infotext(text).prompt
        page = file.read("pictures.html").decode()
    assert page.count("data:image/webp") == 3
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_nothing_is_told_when_nothing_is_to_be_told(
    archive: Archive, command: Safelight, tmp_path: Path
) -> None:
    """Neither in the files, nor by their names, nor on the page, nor by their times."""
    command("export", "quiet.zip", "--strip", "--page", "--sheet")
    seeds = [str(seed) for (seed,) in archive.query(columns=["seed"]).rows]
    with zipfile.ZipFile(tmp_path / "quiet.zip") as file:
        assert {info.date_time[0] for info in file.infolist()} == {1980}
        everything = "\n".join(file.namelist()).encode() + b"".join(map(file.read, file.namelist()))
    for word in ("fj", "Euler", "safelight", "steps", *seeds):
        assert word.encode() not in everything, word


def test_nothing_is_replaced_and_nothing_leaves_the_folder(
    archive: Archive, command: Safelight, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.png").write_bytes(b"mine")
    (tmp_path / "there.zip").write_bytes(b"mine")
    assert "new or empty folder" in command("export", "there").output
    assert "is there already" in command("export", "there.zip").output
    assert "pattern of names" in command("export", "new", "--names", "../{seed}").output
    assert (tmp_path / "there.zip").read_bytes() == b"mine"
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["mine.png"]
    assert not (tmp_path / "new").exists()
    with pytest.raises(RequestError):
        HandOver(names="{nothing}")


def test_only_what_the_archive_knows_is_handed_over(archive: Archive, tmp_path: Path) -> None:
    changed, gone, whole = sorted(pictures_folder(archive.path).rglob("0*.png"))
    chosen = to_hand_over(archive)
    changed.write_bytes(PICTURES["png"])
    gone.unlink()
    hand_over(archive, chosen, tmp_path / "out", HandOver())
    assert [path.name for path in (tmp_path / "out").iterdir()] == [whole.name]
    assert chosen.files == 1
    assert "has changed" in " ".join(fault.reason for fault in chosen.left)
    assert len(chosen.left) == 2
    assert len(to_hand_over(archive).rows) == 2


def test_imported_pictures_that_say_nothing_are_told_apart(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, name in enumerate(("a.jpeg", "b/a.jpeg", "B.webp")):
        (folder / name).parent.mkdir(exist_ok=True)
        own = Image.new("RGB", (20, 20), (number * 9, 7, 7))
        own.save(folder / name)
    archive = Archive(tmp_path / "safelight")
    import_folders([folder], archive)
    chosen = to_hand_over(archive)
    names = {name for name, _ in handed_over(archive, chosen, HandOver())}
    assert len(names) == 3
    assert {name.rpartition(".")[2] for name in names} == {"jpg", "webp"}
    assert chosen.without_settings == {"nobody knows how they were made": 3}


def test_a_zip_of_many_takes_no_more_memory_than_one_of_few(tmp_path: Path) -> None:
    """Ten times as many pictures, the same memory, within what their rows take."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(40):
        Image.frombytes("RGB", (200, 200), os.urandom(120_000)).save(folder / f"{number}.png")
    archive = Archive(tmp_path / "safelight")
    import_folders([folder], archive)
    whole = to_hand_over(archive)
    peaks = []
    for few in (4, 40):
        chosen = to_hand_over(archive)
        chosen.rows = whole.rows[:few]
        how = HandOver(strip=True)
        tracemalloc.start()
        size = sum(len(part) for part in zipped(handed_over(archive, chosen, how), chosen, how))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert size > few * 110_000
    assert peaks[1] < 1.5 * peaks[0]


def test_who_is_killed_leaves_no_half_zip(archive: Archive, tmp_path: Path) -> None:
    chosen = to_hand_over(archive)
    chosen.rows = [*chosen.rows, {}]  # what is not foreseen comes after three pictures
    with pytest.raises(KeyError):
        hand_over(archive, chosen, tmp_path / "best.zip", HandOver())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["safelight"]
    shutil.rmtree(tmp_path / "safelight")
