"""media_type: what kind of picture a file is, told by how it begins and never by its name."""

from __future__ import annotations

from safelight.formats.png_chunks import PNG_SIGNATURE

__all__ = ["LONGEST_BEGINNING", "media_type"]

LONGEST_BEGINNING = 64
"""Bytes of a file that tell its kind."""


def media_type(start: bytes) -> str | None:
    """Return the media type of a file that begins with *start*; None when that is no picture.

    Known are the kinds that are imported: PNG, JPEG, WebP, AVIF and GIF.
    """
    if start.startswith(PNG_SIGNATURE):
        return "image/png"
    if start.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "image/webp"
    if start[:6] in (b"GIF87a", b"GIF89a"):
        return "image/gif"
    if start[4:8] == b"ftyp":
        brands = start[8 : min(int.from_bytes(start[:4]), LONGEST_BEGINNING)]
        if any(brand in brands for brand in (b"avif", b"avis")):
            return "image/avif"
    return None
