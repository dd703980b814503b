from __future__ import annotations

import io
import random
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from safelight.formats.containers import file_texts
from safelight.formats.content_credentials import credentials_told, jumbf_of_segments
from safelight.imports.picture_reader import read_picture

_BARE = "content credentials (C2PA) are there; nothing of them was verified"
_WHOLE = (
    "content credentials (C2PA) are there, which say made by Loom/2.0 and signed by Seaworthy"
    " Pictures; nothing of them was verified"
)


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content) + 8, kind) + content


def _described(label: str, *contents: bytes) -> bytes:
    about = _box(b"jumd", b"c2pa" + bytes(12) + b"\3" + label.encode() + b"\0")
    return _box(b"jumb", about + b"".join(contents))


def _der(kind: int, content: bytes) -> bytes:
    length = len(content)
    told = bytes([length]) if length < 128 else b"\x82" + struct.pack(">H", length)
    return bytes([kind]) + told + content


def _name(common: str, organisation: str) -> bytes:
    parts = [
        _der(0x31, _der(0x30, b"\x06\x03\x55\x04" + kind + _der(0x0C, text.encode())))
        for kind, text in ((b"\x03", common), (b"\x0a", organisation))
        if text
    ]
    return _der(0x30, b"".join(parts))


def _certificate(common: str, organisation: str) -> bytes:
    validity = _der(0x30, _der(0x17, b"260101000000Z") + _der(0x17, b"360101000000Z"))
    told = _name("Root", "Root Authority") + validity + _name(common, organisation)
    return _der(0x30, _der(0x30, bytes(200) + told) + bytes(100))


def _signature(common: str, organisation: str, *, key: bytes = b"\x67x5chain") -> bytes:
    chain = [_certificate(common, organisation), _certificate("Middle", "Middle Authority")]
    listed = b"".join(b"\x59" + struct.pack(">H", len(one)) + one for one in chain)
    # A certificate of whoever vouches for the time stands before the signer's.
    return b"\xd2\x84\x43" + _certificate("Clock", "Clock Authority") + key + b"\x82" + listed


def _store(claim: bytes, signature: bytes) -> bytes:
    def manifest(name: str, claim: bytes, signature: bytes) -> bytes:
        return _described(
            name,
            _described("c2pa.assertions", _described("c2pa.actions", _box(b"cbor", bytes(30)))),
            _described("c2pa.claim", _box(b"cbor", claim)),
            _described("c2pa.signature", _box(b"cbor", signature)),
        )

    first = manifest("urn:a", b"\xa1\x6fclaim_generator\x63Old", _signature("Old", "Old"))
    return _described("c2pa", first, manifest("urn:b", claim, signature))


_CLAIM = b"\xa2\x6fclaim_generator\x68Loom/2.0\x63alg"
_JUMBF = _store(_CLAIM, _signature("Loom", "Seaworthy Pictures"))


def _jpeg(jumbf: bytes, *, part: int = 60_000) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG")
    plain, segments = buffer.getvalue(), b""
    for number, start in enumerate(range(0, len(jumbf), part), 1):
        body = b"JP" + struct.pack(">HI", 1, number) + (jumbf[:8] if start else b"")
        body += jumbf[start : start + part]
        segments += b"\xff\xeb" + struct.pack(">H", len(body) + 2) + body
    return plain[:2] + segments + plain[2:]


def _png(jumbf: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "PNG")
    png = buffer.getvalue()
    chunk = b"caBX" + jumbf
    return (
        png[:33] + struct.pack(">I", len(jumbf)) + chunk
        + struct.pack(">I", zlib.crc32(chunk)) + png[33:]
    )  # fmt: skip


def _webp(jumbf: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "WEBP")
    webp = buffer.getvalue() + b"C2PA" + struct.pack("<I", len(jumbf)) + jumbf
    webp += b"\0" * (len(jumbf) & 1)
    return webp[:4] + struct.pack("<I", len(webp) - 8) + webp[8:]


@pytest.mark.parametrize(
    "file",
    [_png(_JUMBF), _jpeg(_JUMBF), _jpeg(_JUMBF, part=200), _webp(_JUMBF)],
    ids=["png", "jpeg", "in parts", "webp"],
)
def test_credentials_are_told_and_never_read_as_settings(tmp_path: Path, file: bytes) -> None:
    path = tmp_path / "picture"
    path.write_bytes(file)
    reading = read_picture(path)
    assert reading.warnings == (_WHOLE,)
    assert (reading.outcome, reading.config, reading.raw) == ("none", {}, {})
    assert (reading.width, reading.height) == (16, 16)


@pytest.mark.parametrize(("claim", "signature", "told"), [
    (b"\xa1\x74claim_generator_info\xa2\x64name\x64Loom\x67version\x632.0",
     _signature("Loom", "", key=b"\x18\x21"), ", which say made by Loom 2.0 and signed by Loom"),
    (b"\xa1\x74claim_generator_info\x81\xa1\x64name\x78\x04Loom", b"", ", which say made by Loom"),
    (b"\xa1\x63alg", b"x5chain", ""),
    (b"\xa1\x6fclaim_generator\x78", _signature("", ""), ""),
    (b"\xa1\x6fclaim_generator\x65a\x1b[2J", b"", ", which say made by a [2J"),
])  # fmt: skip
def test_what_is_plain_is_told(claim: bytes, signature: bytes, told: str) -> None:
    assert credentials_told(_store(claim, signature)) == _BARE.replace(";", f"{told};")


def test_other_boxes_in_a_jpeg_are_no_credentials() -> None:
    about = _box(b"jumd", b"json" + bytes(12) + b"\3com.example.panorama\0")
    jpeg = _jpeg(_box(b"jumb", about + _box(b"json", b"{}")))
    assert file_texts(io.BytesIO(jpeg)).warnings == []


def test_random_bytes_are_never_an_error() -> None:
    chance = random.Random(6)
    for _ in range(3000):
        data = bytearray(_JUMBF)
        for _ in range(chance.randrange(1, 30)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        told = credentials_told(bytes(data[: chance.randrange(len(data))]))
        assert told.startswith("content credentials (C2PA) are there")
        credentials_told(chance.randbytes(200))
        jumbf_of_segments([chance.randbytes(chance.randrange(30)) for _ in range(3)])


def test_boxes_without_end_are_left() -> None:
    """Neither half a million boxes side by side nor thousands in one another are gone through."""
    assert credentials_told(_box(b"free", b"") * 500_000) == _BARE
    nested = b""
    for _ in range(3000):
        nested = _box(b"jumb", nested)
    assert credentials_told(nested) == _BARE
