"""Image files: A1111 ``parameters`` text, our own chunk, identity, and whole-or-absent writing.

An engine's PNG is never decoded and encoded again to add metadata: chunks are spliced in
behind the header, so what the engine wrote, pixels and chunks alike, stays as it was.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safelight.errors import ImageError
from safelight.knobs import STAGES
from safelight.version import __version__

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "ImageIdentity",
    "embed_metadata",
    "encode_png",
    "identify",
    "open_rgb",
    "parameters_text",
    "png_texts",
]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_FOREIGN_KEYS = ("parameters", "prompt", "workflow")
"""Text keys that say the engine described the picture itself; adding A1111 text beside
ComfyUI's graph makes ComfyUI open a rebuilt graph instead of the stored one."""

_MAX_TEXT_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageIdentity:
    r"""What makes an image the same image wherever its file goes.

    Attributes:
        sha256: SHA-256 of the file's bytes, hex.
        pixel_sha256: SHA-256 over ``"{width}x{height} RGB\n"`` (``RGBA`` where the picture
            has transparency) in ASCII, then the rows of 8-bit samples from the top left.
        width: In pixels.
        height: In pixels.
    """

    sha256: str
    pixel_sha256: str
    width: int
    height: int


def identify(data: bytes) -> ImageIdentity:
    """Decode an image file and return its identity.

    Raises:
        ImageError: The bytes are no image, or a damaged one.
    """
    with _opened(data) as image:
        mode = "RGBA" if image.has_transparency_data else "RGB"
        pixels = image.convert(mode)
    digest = hashlib.sha256(f"{pixels.width}x{pixels.height} {mode}\n".encode("ascii"))
    digest.update(pixels.tobytes())
    return ImageIdentity(
        sha256=hashlib.sha256(data).hexdigest(),
        pixel_sha256=digest.hexdigest(),
        width=pixels.width,
        height=pixels.height,
    )


def open_rgb(data: bytes) -> Image.Image:
    """Decode an image file and return it as an RGB picture.

    Raises:
        ImageError: The bytes are no image, or a damaged one.
    """
    with _opened(data) as image:
        return image.convert("RGB")


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """Open an image file; what Pillow says of a bad one comes as an ImageError."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            yield image
    except UnidentifiedImageError:
        raise ImageError(f"these {len(data)} bytes are not an image") from None
    except (OSError, ValueError, SyntaxError, zlib.error, Image.DecompressionBombError) as error:
        raise ImageError(f"the image cannot be decoded: {error}") from error


def encode_png(pixels: Any) -> bytes:
    """Return a PNG file of *pixels*.

    Args:
        pixels: uint8 array of shape (height, width, 3).
    """
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def embed_metadata(png: bytes, parameters: str, safelight: Mapping[str, Any]) -> bytes:
    """Return *png* with one ``safelight`` chunk and, where the engine left none, A1111 text.

    Args:
        png: The engine's file.
        parameters: A1111 infotext; left out when the engine wrote its own metadata.
        safelight: Plain JSON: schema, run_id, variant, stage, parent.

    Raises:
        ImageError: *png* is not a PNG file.
    """
    chunks = list(_chunks(png))
    if not chunks or chunks[0][0] != b"IHDR":
        raise ImageError("a PNG file must begin with its header chunk")
    header_end = chunks[0][2]
    present = {key for kind, start, end in chunks if (key := _text_key(png, kind, start, end))}
    texts = [("safelight", json.dumps(safelight, sort_keys=True, ensure_ascii=False))]
    if not present.intersection(_FOREIGN_KEYS):
        texts.insert(0, ("parameters", parameters))
    addition = b"".join(_text_chunk(key, text) for key, text in texts if key not in present)
    return png[:header_end] + addition + png[header_end:]


def png_texts(png: bytes) -> dict[str, str]:
    """Return the text chunks of a PNG file, those after the pixels included.

    Raises:
        ImageError: *png* is not a PNG file.
    """
    texts: dict[str, str] = {}
    for kind, start, end in _chunks(png):
        key = _text_key(png, kind, start, end)
        if key and key not in texts:
            texts[key] = _text(kind, png[start + 8 : end - 4])
    return texts


def _chunks(png: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, start, end) of every whole chunk; *start* is where its length stands."""
    if not png.startswith(_SIGNATURE):
        raise ImageError("not a PNG file")
    place = len(_SIGNATURE)
    while place + 12 <= len(png):
        (length,) = struct.unpack_from(">I", png, place)
        end = place + 12 + length
        if end > len(png):
            return
        yield png[place + 4 : place + 8], place, end
        place = end


def _text_key(png: bytes, kind: bytes, start: int, end: int) -> str | None:
    if kind not in (b"tEXt", b"iTXt", b"zTXt"):
        return None
    zero = png.find(b"\0", start + 8, min(end - 4, start + 8 + 80))
    return png[start + 8 : zero].decode("latin-1") if zero > 0 else None


def _text(kind: bytes, body: bytes) -> str:
    _, _, rest = body.partition(b"\0")
    if kind == b"tEXt":
        return _decode(rest)
    if kind == b"zTXt":
        return _decode(_inflate(rest[1:]))
    compressed, after = rest[:1] == b"\1", rest[2:]
    value = after.split(b"\0", 2)[-1]
    return (_inflate(value) if compressed else value).decode("utf-8", "replace")


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8")  # many writers break the rule that tEXt is Latin-1
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _inflate(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, _MAX_TEXT_BYTES)
    except zlib.error as error:
        raise ImageError(f"a text chunk cannot be inflated: {error}") from error


def _text_chunk(key: str, text: str) -> bytes:
    try:
        # tEXt cannot tell Latin-1 from UTF-8, and readers guess: ASCII is the only safe use.
        kind, body = b"tEXt", key.encode("ascii") + b"\0" + text.encode("ascii")
    except UnicodeEncodeError:
        kind = b"iTXt"
        body = key.encode("ascii") + b"\0\0\0\0\0" + text.encode("utf-8", "backslashreplace")
    crc = zlib.crc32(body, zlib.crc32(kind))
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


_INFOTEXT_KEYS = (
    ("steps", "Steps"),
    ("sampler", "Sampler"),
    ("scheduler", "Schedule type"),
    ("cfg_scale", "CFG scale"),
    ("seed", "Seed"),
    ("size", "Size"),
    ("model_hash", "Model hash"),
    ("model", "Model"),
    ("vae", "VAE"),
    ("denoising_strength", "Denoising strength"),
    ("clip_skip", "Clip skip"),
    ("eta", "Eta"),
    ("mask_blur", "Mask blur"),
    ("hires_scale", "Hires upscale"),
    ("hires_steps", "Hires steps"),
    ("hires_upscaler", "Hires upscaler"),
)
"""Knob -> key, in the order in which AUTOMATIC1111 writes them."""


def parameters_text(config: Mapping[Any, Mapping[str, Any]], width: int, height: int) -> str:
    """Return the A1111 ``parameters`` text of a picture.

    Args:
        config: Stage -> effective knobs of the stages that led to the picture, itself last.
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.

    Source: ``create_infotext`` of AUTOMATIC1111 1.10 for keys, order and quoting.
    """
    drawn: dict[str, Any] = {}
    for stage in STAGES:
        if stage != "upscale":
            drawn.update(config.get(stage, {}))
    if "denoising_strength" not in drawn:
        drawn["denoising_strength"] = drawn.get("hires_denoising_strength")
    upscale = config.get("upscale", {})
    first_pass = (drawn.get("width"), drawn.get("height"))
    sides = first_pass if upscale or drawn.get("hires_scale") else (width, height)
    drawn["size"] = f"{sides[0]}x{sides[1]}" if None not in sides else None
    pairs = [(key, drawn[knob]) for knob, key in _INFOTEXT_KEYS if drawn.get(knob) is not None]
    if upscale:
        pairs.append(("Postprocess upscale by", upscale.get("scale")))
        pairs.append(("Postprocess upscaler", upscale.get("upscaler")))
    pairs.append(("Version", f"safelight {__version__}"))
    last = ", ".join(f"{key}: {_quoted(value)}" for key, value in pairs if value is not None)
    negative = drawn.get("negative_prompt")
    lines = [str(drawn.get("prompt", ""))]
    lines += [f"Negative prompt: {negative}"] if negative else []
    return "\n".join([*lines, last])


def _quoted(value: object) -> str:
    text = str(value)
    if any(sign in text for sign in ",\n:"):
        return json.dumps(text, ensure_ascii=False)
    return text
