from __future__ import annotations

import gzip
import io
import json
import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from safelight.formats import hidden_text as module
from safelight.formats.hidden_text import HIDDEN_PLACES, hidden_text
from safelight.imports.imported_picture import import_picture
from safelight.imports.picture_reader import read_picture

_TEXT = "a barn, 猫\nNegative prompt: x\nSteps: 9, Sampler: DDIM, CFG scale: 7, Seed: 77, Model: m"


def _hiding(text: str | bytes, place: str, *, side: tuple[int, int] = (96, 128)) -> bytes:
    """Return a PNG file of noise with *text* in its pixels, as the web UIs write it."""
    body = text.encode() if isinstance(text, str) else text
    if place.endswith("comp"):
        body = gzip.compress(body)
    message = place.encode() + struct.pack(">I", 8 * len(body)) + body
    bits = np.unpackbits(np.frombuffer(message, np.uint8))
    each, (width, height) = (1 if "png" in place else 3), side
    chance = np.random.default_rng(0)
    pixels = chance.integers(0, 256, (height, width, 4 if each == 1 else 3), np.uint8)
    columns = pixels.transpose(1, 0, 2)[:, :, -each:].reshape(-1)  # a copy
    columns[: len(bits)] = columns[: len(bits)] & 254 | bits
    pixels[:, :, -each:] = columns.reshape(width, height, each).transpose(1, 0, 2)
    return _encoded(Image.fromarray(pixels))


def _encoded(image: Image.Image, **kept: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **kept)
    return buffer.getvalue()


def _filtered(png: bytes, kinds: list[int]) -> bytes:
    """Return a PNG file of noise whose rows are stored by the filters *kinds*, in turn."""
    with Image.open(io.BytesIO(png)) as image:
        pixels = np.asarray(image).astype(int)
    height, width, samples = pixels.shape
    padded = np.zeros((height + 1, width + 1, samples), int)
    padded[1:, 1:] = pixels
    left, up, corner = padded[1:, :-1], padded[:-1, 1:], padded[:-1, :-1]
    near = [abs(left + up - corner - at) for at in (left, up, corner)]
    paeth = np.where(
        (near[0] <= near[1]) & (near[0] <= near[2]), left, np.where(near[1] <= near[2], up, corner)
    )
    guesses = [0 * left, left, up, (left + up) // 2, paeth]
    rows = b"".join(
        bytes([kind]) + ((pixels[y] - guesses[kind][y]) & 255).astype(np.uint8).tobytes()
        for y, kind in zip(range(height), kinds * height, strict=False)
    )
    data = zlib.compress(rows)
    idat = struct.pack(">I", len(data)) + b"IDAT" + data
    end = struct.pack(">I", zlib.crc32(idat[4:])) + b"\0\0\0\0IEND\xaeB`\x82"
    return png[:33] + idat + end


@pytest.mark.parametrize("side", [(96, 128), (300, 16), (1500, 1)])
@pytest.mark.parametrize("place", HIDDEN_PLACES)
def test_text_in_pixels_is_read_when_nothing_else_speaks(
    tmp_path: Path, place: str, side: tuple[int, int]
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(_hiding(_TEXT, place, side=side))
    reading = read_picture(path)
    assert reading.config["txt2img"]["prompt"] == "a barn, 猫"
    assert (reading.config["txt2img"]["seed"], reading.outcome) == (77, "full")
    assert reading.raw == {place: _TEXT}
    assert import_picture(str(path)).outcome == "full"


@pytest.mark.parametrize("kinds", [[0], [1], [2], [3], [4], [4, 0, 3, 1, 2]])
@pytest.mark.parametrize("place", ["stealth_pngcomp", "stealth_rgbinfo"])
def test_every_way_to_store_a_row(place: str, kinds: list[int]) -> None:
    png = _filtered(_hiding("short", place, side=(40, 40)), kinds)
    assert hidden_text(io.BytesIO(png)) == (place, "short")


def test_novelai_says_in_pixels_what_it_says_in_chunks(tmp_path: Path) -> None:
    comment = {"prompt": "a fox", "uc": "fog", "steps": 28, "scale": 5, "seed": 7,
               "sampler": "k_euler", "noise_schedule": "karras"}  # fmt: skip
    said = {"Software": "NovelAI", "Source": "NovelAI Diffusion V4 37442FCA",
            "Description": "a fox", "Comment": json.dumps(comment)}  # fmt: skip
    path = tmp_path / "a.png"
    path.write_bytes(_hiding(json.dumps(said), "stealth_pngcomp"))
    reading = read_picture(path)
    assert (reading.generator, reading.config["txt2img"]["seed"]) == ("novelai", 7)


def test_graphs_in_pixels_are_read_as_graphs(tmp_path: Path) -> None:
    nodes = {
        "1": ("CheckpointLoaderSimple", {"ckpt_name": "m.safetensors"}),
        "2": ("CLIPTextEncode", {"text": "a harbour", "clip": ["1", 1]}),
        "3": ("EmptyLatentImage", {"width": 512, "height": 512}),
        "4": ("KSampler", {"seed": 5, "steps": 8, "cfg": 1.5, "sampler_name": "euler",
              "scheduler": "simple", "denoise": 1, "model": ["1", 0], "positive": ["2", 0],
              "negative": ["2", 0], "latent_image": ["3", 0]}),
        "5": ("SaveImage", {"images": ["4", 0]}),
    }  # fmt: skip
    path = tmp_path / "a.png"
    prompt = {key: {"class_type": kind, "inputs": given} for key, (kind, given) in nodes.items()}
    path.write_bytes(_hiding(json.dumps({"prompt": prompt}), "stealth_pnginfo"))
    reading = read_picture(path)
    assert (reading.generator, reading.config["txt2img"]["steps"]) == ("comfyui", 8)


def test_a_text_in_a_chunk_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at pixels costs: no picture that says how it was made pays for it."""
    looked: list[str] = []
    monkeypatch.setattr(module, "_signature", lambda *_: looked.append("looked"))
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", _TEXT)
    with Image.open(io.BytesIO(_hiding("x", "stealth_pngcomp"))) as image:
        (tmp_path / "a.png").write_bytes(_encoded(image, pnginfo=info))
        (tmp_path / "b.png").write_bytes(_encoded(image))
    assert read_picture(tmp_path / "a.png").raw == {"parameters": _TEXT}
    assert looked == []
    read_picture(tmp_path / "b.png")
    assert looked == ["looked"]


def test_only_the_first_rows_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture without a signature is never decoded."""
    inflated: list[int] = []
    whole = module._rows

    def rows(*given: Any) -> Iterator[bytes]:
        for row in whole(*given):
            inflated.append(len(row))
            yield row

    monkeypatch.setattr(module, "_rows", rows)
    monkeypatch.setattr(module, "_text", lambda *_: pytest.fail("the picture was decoded"))
    noise = np.random.default_rng(1).integers(0, 256, (900, 700, 4), np.uint8)
    assert hidden_text(io.BytesIO(_encoded(Image.fromarray(noise)))) is None
    assert len(inflated) == 120
    inflated.clear()
    assert hidden_text(io.BytesIO(_encoded(Image.fromarray(noise[:, :, :3])))) is None
    assert len(inflated) == 40


@pytest.mark.parametrize("change", [
    lambda png: png[:20] + b"\x7f\xff" + png[22:],  # 2 thousand million pixels
    lambda png: png[: len(png) // 2],
    lambda png: png[:24] + b"\x10" + png[25:],  # 16 bits
    lambda png: png[:28] + b"\1" + png[29:],  # interlaced
    lambda png: png[:60] + b"\0" * 40 + png[100:],
], ids=["too many pixels", "cut", "16 bits", "interlaced", "damaged"])  # fmt: skip
def test_other_files_are_passed_over(change: Any) -> None:
    png = change(_hiding(_TEXT, "stealth_pngcomp", side=(600, 400)))
    assert hidden_text(io.BytesIO(png)) is None


def test_a_bomb_in_pixels_does_not_go_off() -> None:
    bomb = gzip.compress(b"a" * 100_000_000)
    png = _hiding(bomb, "stealth_pnginfo", side=(1000, 1000))
    hidden = hidden_text(io.BytesIO(png))
    assert hidden == ("stealth_pnginfo", bomb.decode("latin-1"))
    pressed = np.unpackbits(np.frombuffer(b"stealth_pngcomp", np.uint8))
    with Image.open(io.BytesIO(png)) as image:
        pixels = np.array(image)
    pixels[:120, 0, 3] = pixels[:120, 0, 3] & 254 | pressed
    assert hidden_text(io.BytesIO(_encoded(Image.fromarray(pixels)))) is None


def test_random_bytes_are_never_an_error() -> None:
    """Files come from anywhere; whatever they hold, a picture is read or passed over."""
    chance = random.Random(4)
    seeds = [_hiding("x" * 40, place, side=(24, 24)) for place in HIDDEN_PLACES]
    for _ in range(1500):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(1, 8)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        cut = chance.randrange(len(data)) if chance.random() < 0.3 else len(data)
        hidden_text(io.BytesIO(bytes(data[:cut])))
        hidden_text(io.BytesIO(bytes(data[:33]) + chance.randbytes(200)))


def test_a_random_text_in_pixels_is_never_an_error(tmp_path: Path) -> None:
    chance = random.Random(5)
    for number in range(60):
        text = chance.randbytes(chance.randrange(1, 300))
        if number % 3 == 0:
            text = b'{"prompt": ' + text
        path = tmp_path / f"{number}.png"
        path.write_bytes(_hiding(text, HIDDEN_PLACES[number % 4]))
        assert import_picture(str(path)).fault == ""
