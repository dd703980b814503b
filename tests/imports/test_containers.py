from __future__ import annotations

import io
import json
import random
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin, features

from safelight.errors import ImageError
from safelight.formats.containers import file_texts, sidecar_texts
from safelight.formats.file_texts import MAX_TEXT_BYTES, MOST_WARNINGS, FileTexts
from safelight.formats.picture_kinds import LONGEST_BEGINNING, media_type
from safelight.imports.imported_picture import LEFT_OUT, import_picture
from safelight.imports.picture_reader import read_picture, read_texts
from safelight.learning.learning_record import LearningRecord

_DATA = Path(__file__).parents[1] / "data" / "imports"
_TEXT = (
    "a cat, 猫\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Model: m"
)
_REAL = sorted(p for p in _DATA.rglob("*") if p.suffix in (".png", ".jpg", ".webp"))


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(*chunks: bytes, width: int = 8, height: int = 8) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = _chunk(b"IDAT", zlib.compress(b"\0" * 200))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + b"".join(chunks) + _chunk(b"IEND", b"")


def _texts(data: bytes) -> FileTexts:
    return file_texts(io.BytesIO(data))


def _exif(text: str, *, order: str = "big", code: bytes = b"UNICODE\0") -> Image.Exif:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = code + text.encode(f"utf-16-{order[0]}e")
    return exif


@pytest.mark.parametrize(("kind", "body"), [
    (b"tEXt", b"parameters\0" + _TEXT.encode()),
    (b"tEXt", b"parameters\0" + b"caf\xe9 \nSteps: 1, Sampler: Euler, Seed: 1"),
    (b"zTXt", b"parameters\0\0" + zlib.compress(_TEXT.encode())),
    (b"iTXt", b"parameters\0\0\0\0\0" + _TEXT.encode()),
    (b"iTXt", b"parameters\0\1\0\0\0" + zlib.compress(_TEXT.encode())),
], ids=["tEXt utf-8", "tEXt latin-1", "zTXt", "iTXt", "iTXt compressed"])  # fmt: skip
def test_every_kind_of_text_chunk_behind_the_pixels(kind: bytes, body: bytes) -> None:
    text = _texts(_png(_chunk(kind, body))).texts["parameters"]
    assert text.startswith(("a cat, 猫", "café"))


@pytest.mark.parametrize("order", ["big", "little"])
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
def test_the_comment_of_exif_in_either_byte_order(tmp_path: Path, kind: str, order: str) -> None:
    path = tmp_path / "picture"
    Image.new("RGB", (16, 24)).save(path, kind, exif=_exif(_TEXT, order=order).tobytes())
    reading = read_picture(path)
    assert reading.config["txt2img"]["prompt"] == "a cat, 猫"
    assert (reading.width, reading.height) == (16, 24)


def test_avif(tmp_path: Path) -> None:
    path = tmp_path / "a.avif"
    try:
        Image.new("RGB", (32, 16)).save(path, "AVIF", exif=_exif(_TEXT).tobytes())
    except (KeyError, OSError):
        pytest.skip("this Pillow writes no AVIF")
    reading = read_picture(path)
    assert (reading.width, reading.height) == (32, 16)
    assert reading.config["txt2img"]["steps"] == 20


def test_gif_comments(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    Image.new("P", (9, 5)).save(path, comment=_TEXT.encode())
    assert read_picture(path).config["txt2img"]["seed"] == 1


def test_a_text_file_beside_the_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(_png())
    (tmp_path / "a.txt").write_text(_TEXT)
    assert read_picture(tmp_path / "a.png").raw["sidecar"] == _TEXT
    (tmp_path / "b.png").write_bytes(_png())
    (tmp_path / "b.txt").write_text("a caption of a training set")
    reading = read_picture(tmp_path / "b.png")
    assert (reading.config, len(reading.warnings)) == ({}, 1)
    (tmp_path / "c.txt").write_bytes(b"x" * 2_000_000)
    assert not list(sidecar_texts(tmp_path / "c.png")), "too large to be a sidecar"


def test_the_first_bytes_tell_what_a_file_is(tmp_path: Path) -> None:
    path = tmp_path / "really.jpg"
    path.write_bytes(_png(_chunk(b"tEXt", b"parameters\0" + _TEXT.encode())))
    assert read_picture(path).config["txt2img"]["steps"] == 20


@pytest.mark.parametrize("data", [
    b"", b"x", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"\xff\xd8\xff",
    b"\0\0\0\x18ftypavif", b"<html>", b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
])  # fmt: skip
def test_what_is_no_picture_is_told(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(ImageError):
        read_picture(path)


def test_a_header_of_a_hundred_megapixels_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(_png(width=100_000, height=100_000))
    assert read_picture(path).width == 100_000


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """A gigabyte of zeros, deflated to a megabyte."""
    packer = zlib.compressobj(1)
    return b"".join([packer.compress(bytes(2**20)) for _ in range(1024)]) + packer.flush()


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
def test_a_text_that_inflates_to_a_gigabyte_is_refused(kind: bytes, bomb: bytes) -> None:
    body = b"parameters\0\0" + bomb if kind == b"zTXt" else b"parameters\0\1\0\0\0" + bomb
    data = _png(_chunk(kind, body), _chunk(b"tEXt", b"parameters\0" + _TEXT.encode()))
    tracemalloc.start()
    metadata = _texts(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "parameters" not in metadata.texts
    assert peak < 200 * 2**20, "the reader inflates no more than a file may say in all"
    assert any("too large" in warning for warning in metadata.warnings)


class _Inflated:
    """Counts what is inflated."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes = 0
        make: Callable[..., Any] = zlib.decompressobj

        class Counting:
            def __init__(self, *args: int) -> None:
                self._inflate = make(*args)

            def decompress(inner, data: bytes, most: int = 0) -> bytes:  # noqa: N805
                try:
                    piece: bytes = inner._inflate.decompress(data, most)
                except zlib.error:
                    self.bytes += most
                    raise
                self.bytes += len(piece)
                return piece

        monkeypatch.setattr(zlib, "decompressobj", Counting)


@pytest.mark.parametrize(
    ("letter", "place", "is_damaged"),
    [(b"x", b"a", False), (b"\0", b"a%d", False), (b"x", b"a%d", True)],
)
def test_texts_that_are_not_kept_are_inflated_within_the_allowance_too(
    letter: bytes, place: bytes, is_damaged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second text of a place, zeros alone, a stream that ends wrong: minutes for a small file."""
    packed = zlib.compress(letter * (MAX_TEXT_BYTES // 4), 9)
    if is_damaged:
        packed = packed[:-4] + b"none"
    keys = [place % number if b"%" in place else place for number in range(40)]
    data = _png(*(_chunk(b"zTXt", key + b"\0\0" + packed) for key in keys))
    inflated = _Inflated(monkeypatch)
    texts = _texts(data)
    assert inflated.bytes <= 3 * MAX_TEXT_BYTES
    assert len(texts.warnings) <= MOST_WARNINGS


def test_a_stretch_of_exif_that_is_named_a_thousand_times_is_taken_once() -> None:
    size, count = 2**20, 1000
    entries = b"".join(struct.pack("<HHII", 0x010E, 2, size, 12 * count + 14) for _ in range(count))
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", count) + entries + b"\0" * 4 + b"a" * size
    tracemalloc.start()
    texts = _texts(_png(_chunk(b"eXIf", block)))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert texts.texts["exif:ImageDescription"] == "a" * size
    assert most < 20 * size


def test_a_record_keeps_a_bounded_part_of_a_hundred_thousand_texts(tmp_path: Path) -> None:
    chunks = [_chunk(b"tEXt", b"k%d\0" % n + b"x" * 900) for n in range(5_000)]
    chunks += [_chunk(b"tEXt", b"same\0%d" % n) for n in range(95_000)]
    (tmp_path / "a.png").write_bytes(_png(*chunks))
    read = import_picture(str(tmp_path / "a.png"))
    assert not read.fault
    about = LearningRecord.from_json(read.document).metadata["import"]
    assert len(read.document) < 2.5 * 2**20
    assert "k4999" in about["raw"][LEFT_OUT] or len(about["raw"][LEFT_OUT]) == 1000


def test_many_texts_together_stay_within_the_allowance() -> None:
    chunks = [_chunk(b"zTXt", f"k{n}".encode() + b"\0\0" + zlib.compress(b"x" * 2**24))
              for n in range(20)]  # fmt: skip
    assert sum(map(len, _texts(_png(*chunks)).texts.values())) <= 64 * 2**20


@pytest.mark.parametrize("path", _REAL, ids=lambda p: p.name[:40])
def test_a_file_cut_anywhere_or_with_flipped_bits_is_read_or_refused(path: Path) -> None:
    whole = path.read_bytes()
    chance = random.Random(path.name)
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(chance.randrange(4)):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        cut = bytes(damaged[: chance.randrange(len(damaged) + 1)])
        try:
            metadata = _texts(cut)
            read_texts(metadata, "")
        except ImageError as error:
            assert str(error)


@pytest.mark.parametrize("text", [
    "[" * 200_000, '{"a":' * 100_000, json.dumps({"sui_image_params": {"seed": "x" * 100_000}}),
    json.dumps({"sui_image_params": 5, "base_model": []}), '{"prompt": null, "resolution": 1}',
    '{"c": "x", "uc": 5, "seed": 1e400}', '{"Comment": "{"}',
])  # fmt: skip
@pytest.mark.parametrize("place", [
    "parameters", "prompt", "workflow", "Comment", "invokeai_metadata", "sd-metadata",
    "exif:UserComment", "generation_data", "parameters-json", "Dream", "imagemetahub_data",
])  # fmt: skip
def test_hostile_texts_in_every_place(place: str, text: str) -> None:
    began = time.monotonic()
    for software in ("", "NovelAI"):
        texts = {place: text, "Software": software}
        read_texts(FileTexts(texts=texts, width=1, height=1), "")
    assert time.monotonic() - began < 5, "a text of this size took longer than any picture may"


def test_xmp_of_draw_things() -> None:
    info = PngImagePlugin.PngInfo()
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description>'
        "<xmp:CreatorTool>Draw Things</xmp:CreatorTool><exif:UserComment><rdf:Alt>"
        '<rdf:li xml:lang="x-default">{&quot;c&quot;:&quot;a cat&quot;,'
        "&quot;uc&quot;:&quot;bad&quot;,&quot;steps&quot;:20,&quot;seed&quot;:7,&quot;scale&quot;:4,&quot;model&quot;:&quot;m&quot;,"
        "&quot;sampler&quot;:&quot;Euler a&quot;,&quot;size&quot;:&quot;512x640&quot;}</rdf:li>"
        "</rdf:Alt></exif:UserComment></rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    info.add_itxt("XML:com.adobe.xmp", packet)
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=info)
    reading = read_texts(_texts(buffer.getvalue()), "")
    assert reading.generator == "draw-things"
    knobs = reading.config["txt2img"]
    assert (knobs["prompt"], knobs["steps"], knobs["height"]) == ("a cat", 20, 640)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "gif", "avif"])
def test_what_can_be_imported_can_be_shown(kind: str) -> None:
    """By its content: a name would let anything be served."""
    if kind == "avif" and not features.check("avif"):
        pytest.skip("Pillow without AVIF")
    written = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(written, kind)
    assert media_type(written.getvalue()[:LONGEST_BEGINNING]) == f"image/{kind}"
    assert media_type(b"\0" + written.getvalue()[: LONGEST_BEGINNING - 1]) is None
