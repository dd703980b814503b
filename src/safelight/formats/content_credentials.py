"""content_credentials: that a file has content credentials (C2PA), and what they plainly say.

Only two things are looked for, and nothing is verified: which program made the claim, and whose
certificate signed it. They say where a picture comes from, never with which settings.

Source: C2PA specification 2.1 (boxes and claims), ISO 19566-5 (JUMBF), RFC 9360 (x5chain).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

__all__ = ["MOST_CREDENTIALS", "credentials_told", "jumbf_of_segments"]

MOST_CREDENTIALS = 4 * 2**20
"""Bytes of them that are looked at; thumbnails of earlier versions can make them large."""

_DEEPEST, _MOST_BOXES = 8, 2000
_LONGEST_NAME = 100
_CERTIFICATE = re.compile(rb"(?:x5chain|\x18\x21)[\x81-\x97]?\x59..\x30\x82", re.DOTALL)
_VALIDITY = re.compile(rb"\x30.\x17\x0d\d{12}Z(?:\x17\x0d\d{12}|\x18\x0f\d{14})Z", re.DOTALL)
_SUBJECT = {b"\x0a": "organisation", b"\x03": "common name"}
_NAME = re.compile(rb"\x06\x03\x55\x04([\x03\x0a])[\x0c\x13\x14](.)", re.DOTALL)
_LONGEST_CERTIFICATE = 2**13


def credentials_told(jumbf: bytes) -> str:
    """Return a sentence about the credentials in *jumbf*; whatever it holds, nothing is raised."""
    boxes = list(_boxes(jumbf[:MOST_CREDENTIALS]))
    claims = [content for label, content in boxes if label.startswith("c2pa.claim")]
    signatures = [content for label, content in boxes if label == "c2pa.signature"]
    # The last manifest is that of the file as it is; those before it are of what it was made of.
    program = _program(claims[-1]) if claims else ""
    signer = _signer(signatures[-1]) if signatures else ""
    said = [f"made by {program}"] if program else []
    said += [f"signed by {signer}"] if signer else []
    told = f", which say {' and '.join(said)}" if said else ""
    return f"content credentials (C2PA) are there{told}; nothing of them was verified"


def jumbf_of_segments(segments: list[bytes]) -> bytes:
    """Return the JUMBF bytes of a JPEG's APP11 segments, which repeat the first box's header."""
    first, *others = segments or [b""]
    return b"".join((first[8:], *(segment[16:] for segment in others)))


def _boxes(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (label of the box around it, content) of all boxes that hold no boxes, in order."""
    open_ones: list[tuple[int, int, str]] = [(0, len(data), "")]
    for _ in range(_MOST_BOXES):
        if not open_ones:
            return
        place, end, label = open_ones.pop()
        if place + 8 > end:
            continue
        length, kind = struct.unpack_from(">I4s", data, place)
        start = place + 8
        if length == 1 and place + 16 <= end:
            (length,) = struct.unpack_from(">Q", data, start)
            start += 8
        after = end if length == 0 else min(end, place + length)
        if after < start:
            continue
        if kind == b"jumd":
            label = _label(data[start:after])
        open_ones.append((after, end, label))
        if kind == b"jumb" and len(open_ones) < _DEEPEST:
            open_ones.append((start, after, ""))
        elif kind not in (b"jumb", b"jumd"):
            yield label, data[start:after]


def _label(description: bytes) -> str:
    text, zero, _ = description[17:].partition(b"\0")
    return text[:_LONGEST_NAME].decode("utf-8", "replace") if zero else ""


def _program(claim: bytes) -> str:
    """Return the claim's generator, of either version of the claim."""
    if told := _text_behind(claim, b"\x6fclaim_generator"):
        return told
    _, key, rest = claim.partition(b"claim_generator_info")
    if not key:
        return ""
    name, version = _text_behind(rest, b"\x64name"), _text_behind(rest, b"\x67version")
    return f"{name} {version}".strip() if name else ""


def _text_behind(cbor: bytes, key: bytes) -> str:
    """Return the text that is the value of *key* in a CBOR map, found without parsing it."""
    _, found, rest = cbor.partition(key)
    start = {0x78: 2, 0x79: 3}.get(rest[0], 1) if found and rest else 0
    if not start or not (0x60 <= rest[0] <= 0x77 or start > 1):
        return ""
    length = rest[0] - 0x60 if start == 1 else int.from_bytes(rest[1:start], "big")
    return _printable(rest[start : start + length])


def _signer(signature: bytes) -> str:
    """Return whose the first certificate of the chain is: its organisation, else its name."""
    chain = _CERTIFICATE.search(signature)
    if chain is None:
        return ""
    certificate = signature[chain.end() : chain.end() + _LONGEST_CERTIFICATE]
    validity = _VALIDITY.search(certificate)
    if validity is None:
        return ""
    subject = certificate[validity.end() : validity.end() + 4]
    if len(subject) < 4 or subject[0] != 0x30:
        return ""
    long = {0x81: 1, 0x82: 2}.get(subject[1], 0)  # how DER tells a length of 128 and more
    length = int.from_bytes(subject[2 : 2 + long], "big") if long else subject[1]
    start = validity.end() + 2 + long
    names: dict[str, str] = {}
    for part in _NAME.finditer(certificate, start, start + length):
        text = _printable(certificate[part.end() : part.end() + part[2][0]])
        names.setdefault(_SUBJECT[part[1]], text)
    return names.get("organisation") or names.get("common name", "")


def _printable(text: bytes) -> str:
    plain = text[: 4 * _LONGEST_NAME].decode("utf-8", "replace")
    return "".join(sign if sign.isprintable() else " " for sign in plain).strip()[:_LONGEST_NAME]
