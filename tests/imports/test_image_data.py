"""Which picture a file is does not depend on what is written into it, and on every pixel."""

from __future__ import annotations

import hashlib
import io
import random
import struct
import sys
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from safelight.formats import image_data
from safelight.formats.image_data import PictureHashes, hash_picture

_TEXTS = st.lists(
    st.tuples(
        st.sampled_from((b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME", b"caBX", b"iCCP")),
        st.binary(max_size=300),
        st.integers(0, 5),
    ),
    max_size=6,
)
_NOISE = random.Random(3).randbytes(3 * 40 * 40)
_XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"


def _hashes(data: bytes) -> PictureHashes:
    hashes = hash_picture(io.BytesIO(data))
    assert hashes.sha256 == hashlib.sha256(data).hexdigest()
    return hashes


def _image(data: bytes) -> str:
    hashes = _hashes(data)
    assert hashes.is_split
    assert not hashes.is_cut
    return hashes.image_sha256


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(parts: list[bytes], texts: list[tuple[bytes, bytes, int]]) -> bytes:
    chunks = [_chunk(b"IHDR", b"\0\0\0\4\0\0\0\4\x08\2\0\0\0"), _chunk(b"PLTE", b"abc")]
    chunks += [_chunk(b"IDAT", part) for part in parts]
    for kind, body, place in texts:
        chunks.insert(max(1, min(place, len(chunks))), _chunk(kind, body))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + _chunk(b"IEND", b"")


def _saved(kind: str, **more: object) -> bytes:
    buffer = io.BytesIO()
    Image.frombytes("RGB", (40, 40), _NOISE).save(buffer, kind, **more)
    return buffer.getvalue()


def _exif(text: str = "said") -> bytes:
    exif = Image.Exif()
    exif[0x010E] = text
    return exif.tobytes()


@given(st.binary(min_size=1, max_size=400), _TEXTS, _TEXTS, st.data())
def test_texts_of_a_png_are_not_its_image(
    pixels: bytes, texts: list[tuple[bytes, bytes, int]], others: list[tuple[bytes, bytes, int]],
    data: st.DataObject,
) -> None:  # fmt: skip
    """Nor is where its pixels were cut into chunks."""
    cut = data.draw(st.integers(0, len(pixels)))
    one = _png([pixels], texts)
    other = _png([part for part in (pixels[:cut], pixels[cut:]) if part], others)
    assert _image(one) == _image(other)
    place = data.draw(st.integers(0, len(pixels) - 1))
    changed = bytearray(pixels)
    changed[place] ^= data.draw(st.integers(1, 255))
    assert _image(_png([bytes(changed)], texts)) != _image(one)


@given(st.sampled_from((b"IHDR", b"PLTE", b"tRNS", b"acTL", b"fcTL", b"fdAT")), st.binary())
def test_every_chunk_that_is_drawn_with_counts(kind: bytes, body: bytes) -> None:
    png = _png([b"pixels"], [])
    assert _image(_png([b"pixels"], [(kind, body, 2)])) != _image(png)


@pytest.mark.parametrize("progressive", [False, True])
def test_texts_of_a_jpeg_are_not_its_image(progressive: bool) -> None:
    plain = _saved("JPEG", progressive=progressive)
    for said in ({"exif": _exif()}, {"comment": b"said"}, {"xmp": _XMP}, {"dpi": (7, 7)}):
        assert _image(_saved("JPEG", progressive=progressive, **said)) == _image(plain)
    extra = b"\xff\xe1\0\6abcd\xff\xfe\0\3a\xff\xff\xff\xe5\0\2"
    assert _image(plain[:2] + extra + plain[2:]) == _image(plain)


@pytest.mark.parametrize("lossless", [False, True])
def test_texts_of_a_webp_are_not_its_image(lossless: bool) -> None:
    """The first text makes the file an extended one, which says so in flags."""
    plain = _saved("WEBP", lossless=lossless)
    assert b"VP8X" not in plain
    for said in ({"exif": _exif()}, {"xmp": _XMP}, {"exif": _exif("x"), "xmp": _XMP}):
        extended = _saved("WEBP", lossless=lossless, **said)
        assert b"VP8X" in extended
        assert _image(extended) == _image(plain)


def test_an_animation_is_the_same_whatever_is_said_in_it() -> None:
    frames = [Image.new("RGB", (20, 20), (n * 40, 0, 0)) for n in range(4)]
    for kind in ("WEBP", "PNG"):
        made = []
        for said in ({}, {"exif": _exif()}):
            buffer = io.BytesIO()
            frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], **said)
            made.append(buffer.getvalue())
        assert made[0] != made[1]
        assert _image(made[0]) == _image(made[1])


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow writes no AVIF")
def test_texts_of_an_avif_are_not_its_image() -> None:
    plain = _saved("AVIF")
    for said in ({"exif": _exif()}, {"xmp": _XMP}):
        assert _image(_saved("AVIF", **said)) == _image(plain)


def _coded(kind: str) -> tuple[bytes, range]:
    """Return a picture and where its coded pixels lie."""
    data = _saved(kind, **({"lossless": True} if kind == "WEBP" else {}))
    start = {
        "PNG": lambda: data.index(b"IDAT") + 4, "JPEG": lambda: data.index(b"\xff\xda") + 14,
        "WEBP": lambda: data.index(b"VP8L") + 8, "AVIF": lambda: data.index(b"mdat") + 4,
    }[kind]()  # fmt: skip
    end = {"PNG": 16, "JPEG": 2, "WEBP": 1, "AVIF": 0}[kind]
    return data, range(start, len(data) - end)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF"])
def test_every_bit_of_the_coded_pixels_counts(kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    data, coded = _coded(kind)
    known = _hashes(data).image_sha256
    for place in coded:
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        assert _hashes(bytes(changed)).image_sha256 != known, place


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_file_that_is_still_being_written_is_cut(kind: str) -> None:
    data, coded = _coded(kind)
    for end in (coded[0] + 1, coded[len(coded) // 2], coded[-1]):
        assert _hashes(data[:end]).is_cut
    assert not _hashes(data).is_cut


def test_what_cannot_be_split_is_taken_whole() -> None:
    for data in (_saved("GIF"), b"", b"\0\0\0\x20ftypavif", b"no picture"):
        hashes = _hashes(data)
        assert not hashes.is_split
        assert hashes.image_sha256 == hashes.sha256


@pytest.mark.parametrize("made", [_png, None])
@given(st.binary(max_size=200), st.sampled_from(("PNG", "JPEG", "WEBP")))
def test_nothing_that_lies_in_a_file_stops_it(
    made: Callable[..., bytes] | None, noise: bytes, kind: str
) -> None:
    start = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff", "WEBP": b"RIFF\0\0\0\0WEBP"}[
        kind
    ]
    _hashes(start + noise)
    _hashes((_saved(kind) if made is None else _png([noise], [])) + noise)
    _hashes(b"\0\0\0\x14ftypavif\0\0\0\0avif" + noise)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF"])
@given(at_once=st.integers(90, 400), behind=st.binary(max_size=80))
def test_in_what_pieces_a_file_is_read_changes_nothing(
    kind: str, at_once: int, behind: bytes
) -> None:
    """Chunks, and what stands behind a picture, lie across the pieces wherever these end."""
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    texts = [(b"tEXt", b"said" * 9, 2), (b"tIME", b"", 3)]
    parts = [_NOISE[:7], b"", _NOISE[7:600], _NOISE[600:604]]
    data = (_png(parts, texts) if kind == "PNG" else _saved(kind, exif=_exif())) + behind
    at_one_time = [_hashes(data), _hashes(data[:-5])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_data, "_FIRST", at_once)
        patch.setattr(image_data, "_BUFFER", at_once)
        assert [_hashes(data), _hashes(data[:-5])] == at_one_time
    assert kind == "WEBP" or not at_one_time[0].is_cut


def test_a_chunk_of_a_png_costs_no_call() -> None:
    """Small pictures are mostly chunks: both hashes come of them at the cost of hashing alone."""
    calls = []
    for number in (1, 1000):
        file = io.BytesIO(_png([b"pixels"] * number, []))
        made = 0

        def count(_frame: object, event: str, _about: object) -> None:
            nonlocal made
            made += event == "call"

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            hash_picture(file)
        finally:
            sys.setprofile(before)
        calls.append(made)
    assert calls[0] == calls[1] <= 12
