"""An image describes itself to every tool, and is the same image wherever its file goes."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from safelight import __version__
from safelight.errors import ImageError
from safelight.formats.infotext import parameters_text
from safelight.formats.png_chunks import png_texts
from safelight.pipeline.images import embed_metadata, identify, identify_pixels

PAIR = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
"""How AUTOMATIC1111 and everybody after it reads the last line of an infotext."""


def picture(size: tuple[int, int] = (8, 4), texts: dict[str, str] | None = None) -> bytes:
    info = PngImagePlugin.PngInfo()
    for key, value in (texts or {}).items():
        info.add_text(key, value)
    buffer = io.BytesIO()
    Image.radial_gradient("L").resize(size).convert("RGB").save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def read_infotext(text: str) -> tuple[str, str, dict[str, str]]:
    *lines, last = text.split("\n")
    joined = "\n".join(lines)
    prompt, _, negative = joined.partition("\nNegative prompt: ")
    pairs = dict(PAIR.findall(last))
    return (
        prompt,
        negative,
        {
            key: json.loads(value) if value.startswith('"') else value
            for key, value in pairs.items()
        },
    )


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60))
def test_any_text_is_embedded_and_read_back(text: str) -> None:
    """Ours and Pillow's reader agree, in every script, and the pixels stay the same file bytes."""
    png = picture()
    embedded = embed_metadata(png, text, {"run_id": text})
    assert png_texts(embedded)["parameters"] == text
    assert json.loads(png_texts(embedded)["safelight"]) == {"run_id": text}
    with Image.open(io.BytesIO(embedded)) as image:
        assert image.info["parameters"] == text
    assert identify(embedded).pixel_sha256 == identify(png).pixel_sha256
    assert png[png.index(b"IDAT") :] == embedded[embedded.index(b"IDAT") :]


def test_what_the_engine_wrote_is_kept_and_not_doubled() -> None:
    """A1111 text beside ComfyUI's graph would make ComfyUI open another graph."""
    for key in ("parameters", "prompt", "workflow"):
        embedded = embed_metadata(picture(texts={key: "the engine's own"}), "ours", {"schema": 1})
        assert png_texts(embedded).keys() == {key, "safelight"}
        assert png_texts(embedded)[key] == "the engine's own"


def test_texts_behind_the_pixels_are_found_and_compressed_ones_read() -> None:
    """Some writers put them there."""
    png = picture()
    body = b"late\0" + b"\0" + zlib.compress(b"squeezed")
    chunk = len(body).to_bytes(4, "big") + b"zTXt" + body
    chunk += zlib.crc32(b"zTXt" + body).to_bytes(4, "big")
    end = png.rindex(b"IEND") - 4
    assert png_texts(png[:end] + chunk + png[end:]) == {"late": "squeezed"}


def test_an_image_is_known_by_its_pixels_when_its_file_has_changed() -> None:
    """Metadata stripped, other compression, opaque alpha: still the same picture."""
    first = picture()
    with Image.open(io.BytesIO(first)) as image:
        buffer = io.BytesIO()
        image.save(buffer, "PNG", compress_level=0)
        rgba = io.BytesIO()
        image.convert("RGBA").convert("RGB").save(rgba, "PNG")
    second = identify(buffer.getvalue())
    assert identify(first).sha256 != second.sha256
    assert identify(first).pixel_sha256 == second.pixel_sha256
    assert (second.width, second.height) == (8, 4)
    assert identify(picture(size=(4, 8))).pixel_sha256 != second.pixel_sha256


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (300, 700), (70_000, 2)])
def test_samples_are_those_of_the_whole_picture(
    mode: str, transparent: bool, size: tuple[int, int]
) -> None:
    """They are hashed band by band; any picture keeps the identity that records have of it."""
    drawn = Image.linear_gradient("L").resize(size).rotate(90)
    image = Image.merge("RGBA", (drawn, drawn.rotate(90), drawn.rotate(180), drawn)).convert(
        {"I;16": "L"}.get(mode, mode)
    )
    image = image.convert("I;16") if mode == "I;16" else image
    keyed: dict[str, Any] = {"transparency": 3} if transparent and mode in "LP" else {}
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **keyed)
    with Image.open(io.BytesIO(buffer.getvalue())) as read:
        kind = "RGBA" if read.has_transparency_data else "RGB"
        whole = read.convert(kind)
    said = f"{size[0]}x{size[1]} {kind}\n".encode() + whole.tobytes()
    assert identify_pixels(buffer.getvalue()).pixel_sha256 == hashlib.sha256(said).hexdigest()


@pytest.mark.parametrize("data", [b"", b"not an image", picture()[:60], picture()[:-30] + b"x" * 9])
def test_damaged_images_are_refused(data: bytes) -> None:
    """A half-written answer is not a picture."""
    with pytest.raises(ImageError):
        identify(data)


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n"])
def test_only_png_files_take_metadata(data: bytes) -> None:
    """Anything else is said, not broken."""
    with pytest.raises(ImageError):
        embed_metadata(data, "x", {})


def test_the_infotext_is_what_other_tools_read() -> None:
    """Keys, order and quoting are AUTOMATIC1111's."""
    text = parameters_text(
        {
            "txt2img": {
                "prompt": "a cat,\nsitting",
                "negative_prompt": "blurry",
                "steps": 20,
                "sampler": "DPM++ 2M",
                "scheduler": "Karras",
                "cfg_scale": 7,
                "seed": 42,
                "model": "folder: a, b",
            }
        },
        512,
        768,
    )
    assert text == (
        "a cat,\nsitting\nNegative prompt: blurry\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 42,"
        f' Size: 512x768, Model: "folder: a, b", Version: safelight {__version__}'
    )
    prompt, negative, fields = read_infotext(text)
    assert (prompt, negative) == ("a cat,\nsitting", "blurry")
    assert (fields["Model"], fields["Size"]) == ("folder: a, b", "512x768")


def test_later_stages_tell_the_whole_way() -> None:
    """img2img's knobs go over txt2img's; an upscale is told as postprocessing."""
    config = {
        "txt2img": {"prompt": "a", "steps": 20, "seed": 1, "width": 64, "height": 64},
        "img2img": {"prompt": "a", "steps": 10, "seed": 2, "denoising_strength": 0.5},
        "upscale": {"upscaler": "R-ESRGAN 4x+", "scale": 2},
    }
    _, _, fields = read_infotext(parameters_text(config, 128, 128))
    assert fields == {
        "Steps": "10",
        "Seed": "2",
        "Size": "64x64",
        "Denoising strength": "0.5",
        "Postprocess upscale by": "2",
        "Postprocess upscaler": "R-ESRGAN 4x+",
        "Version": f"safelight {__version__}",
    }
