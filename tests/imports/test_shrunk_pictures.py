"""A file that claims to be a picture costs a bounded memory, whatever it claims."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from safelight.errors import ImageError
from safelight.formats import shrunk_pictures
from safelight.formats.png_chunks import PNG_SIGNATURE
from safelight.formats.shrunk_pictures import MOST_DECODED, shrunk

SIGNS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp", "GIF": "gif"}


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png_of_zeros(width: int, height: int, color: int = 6, *, rows: int | None = None) -> bytes:
    """Return a small file that stands for many pixels, of which it has *rows* or all."""
    packed = zlib.compressobj(9)
    row = b"\0" * (1 + width * {6: 4, 2: 3, 0: 1}[color])
    pixels = (
        b"".join(packed.compress(row) for _ in range(height if rows is None else rows))
        + packed.flush()
    )
    header = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    return PNG_SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _file(picture: Image.Image, kind: str = "PNG", **options: object) -> io.BytesIO:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file


def _gradient(width: int, height: int) -> Image.Image:
    across = Image.linear_gradient("L").resize((width, height))
    return Image.merge("RGB", (across, across.transpose(Image.Transpose.ROTATE_180), across))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Sizes of all pictures that were decoded."""
    sizes: list[tuple[int, int]] = []
    made_small = shrunk_pictures._made_small

    def noted(opened: Image.Image, factor: int) -> Image.Image:
        sizes.append(opened.size)
        return made_small(opened, factor)

    monkeypatch.setattr(shrunk_pictures, "_made_small", noted)
    return sizes


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_small_file_of_very_many_pixels_is_not_decoded(decoded: list[tuple[int, int]]) -> None:
    """A few hundred kilobytes would take gigabytes, in two threads at once."""
    with pytest.raises(ImageError, match=r"13,300 x 13,300 pixels .* 708 MB .* 400 MB are allowed"):
        shrunk(io.BytesIO(_png_of_zeros(13_300, 13_300, rows=1)), 384)
    assert not decoded


def test_a_picture_of_64_megapixels_is_shown() -> None:
    """Pictures that were made larger are as large as that."""
    assert MOST_DECODED > 8192 * 8192 * 4
    assert shrunk(io.BytesIO(_png_of_zeros(8192, 8192, color=2)), 384).size == (384, 384)


def test_the_memory_of_a_large_picture_is_given_back() -> None:
    """Allocators keep what is smaller than 32 MiB, in every thread: two kept a gigabyte."""
    shrunk(_file(_gradient(64, 64)), 16)
    assert Image.core.get_block_size() > 32 * 2**20  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["WEBP", "GIF", "PNG"])
def test_readers_that_take_more_may_have_fewer_pixels(
    kind: str, decoded: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """WebP's holds the picture four times over."""
    picture = _file(Image.new("RGB", (300, 200)).convert("P" if kind == "GIF" else "RGB"), kind)
    each = {"WEBP": 17, "GIF": 2, "PNG": 4}[kind]
    monkeypatch.setattr(shrunk_pictures, "MOST_DECODED", 300 * 200 * each)
    assert shrunk(picture, 100).size == (100, 67)
    monkeypatch.setattr(shrunk_pictures, "MOST_DECODED", 300 * 200 * each - 1)
    with pytest.raises(ImageError, match="decoded"):
        shrunk(picture, 100)
    assert len(decoded) == 1


def test_a_jpeg_is_read_at_a_smaller_scale(decoded: list[tuple[int, int]]) -> None:
    """So a large one costs little, unless it has to be held while it is read."""
    shrunk(_file(_gradient(4000, 3000), "JPEG"), 384)
    assert decoded == [(1000, 750)]


def test_a_jpeg_in_scans_is_held_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its coefficients take six bytes a pixel at every scale, three where colours are halved."""
    picture = _gradient(1600, 1200)
    pixels = 1600 * 1200
    for subsampling, each in ((0, 6), (2, 3)):
        file = _file(picture, "JPEG", progressive=True, subsampling=subsampling)
        monkeypatch.setattr(shrunk_pictures, "MOST_DECODED", each * pixels + 200 * 150 * 4)
        assert shrunk(file, 100).size == (100, 75)
        monkeypatch.setattr(shrunk_pictures, "MOST_DECODED", each * pixels)
        assert shrunk(_file(picture, "JPEG"), 100).size == (100, 75)
        with pytest.raises(ImageError, match="decoded"):
            shrunk(file, 100)


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    """Each of a few bytes goes over all pixels again."""
    file = _file(_gradient(64, 64), "JPEG", progressive=True).getvalue()
    start = file.rindex(b"\xff\xda")
    many = file[:start] + file[start:-2] * 200 + b"\xff\xd9"
    with pytest.raises(ImageError, match="100 scans"):
        shrunk(io.BytesIO(many), 100)


def test_a_png_of_endless_chunks_is_refused() -> None:
    """Each would be an object in memory, before the header's size is known."""
    file = _file(_gradient(64, 64)).getvalue()
    with pytest.raises(ImageError, match="100,000 chunks"):
        shrunk(io.BytesIO(file[:33] + _chunk(b"abCd", b"") * 100_001 + file[33:]), 100)
    with pytest.raises(ImageError, match="that are not pixels"):
        shrunk(io.BytesIO(file[:33] + _chunk(b"tEXt", bytes(2**25)) + file[33:]), 100)


def test_a_jpeg_of_endless_segments_is_refused() -> None:
    """As above."""
    file = _file(_gradient(64, 64), "JPEG").getvalue()
    with pytest.raises(ImageError, match="10,000 segments"):
        shrunk(io.BytesIO(file[:2] + b"\xff\xe9\0\2" * 10_001 + file[2:]), 100)


@pytest.mark.parametrize("kind", ["EPS", "TIFF", "BMP", "PPM", "ICO", "TGA"])
def test_other_kinds_are_not_read(kind: str) -> None:
    """Pillow has readers for dozens; one of them starts a program."""
    with pytest.raises(ImageError, match="not a PNG, JPEG, WebP, AVIF or GIF file"):
        shrunk(_file(_gradient(32, 32), kind), 16)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    """Readers of some kinds take all of it into memory."""
    path = tmp_path / "large.webp"
    with path.open("wb") as file:
        file.write(_file(_gradient(32, 32), "WEBP").getvalue())
        file.truncate(32 * 2**20 + 1)
    with path.open("rb") as file, pytest.raises(ImageError, match="33,554,432 bytes"):
        shrunk(file, 16)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
@pytest.mark.parametrize("size", [(4000, 37), (37, 4000), (3001, 2003)])
def test_strips_make_the_same_picture_as_the_whole(mode: str, size: tuple[int, int]) -> None:
    """Nothing is lost, doubled or shifted where two strips meet."""
    picture = _gradient(*size).convert(mode)
    kind = "RGBA" if "A" in mode else "RGB"
    factor = max(1, max(size) // 200)
    whole = picture.convert(kind).reduce(factor)
    whole.thumbnail((100, 100), Image.Resampling.LANCZOS)
    small = shrunk(_file(picture), 100)
    assert small.mode == kind
    assert small.tobytes() == whole.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_stands_upright(orientation: int) -> None:
    """Cameras and editors say which way up it is."""
    from PIL import ImageOps

    picture = _gradient(60, 40)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = _file(picture, exif=exif)
    with Image.open(file) as opened:
        assert shrunk(file, 100).tobytes() == ImageOps.exif_transpose(opened).tobytes()


def test_of_an_animation_the_first_picture_is_taken() -> None:
    """However many there are."""
    frames = [Image.new("RGB", (40, 30), color) for color in ("red", "lime", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        options = {"save_all": True, "append_images": frames[1:]}
        options |= {"lossless": True} if kind == "WEBP" else {}
        file = _file(frames[0], kind, **options)
        assert shrunk(file, 100).convert("RGB").getpixel((3, 3)) == (255, 0, 0)


def _broken() -> st.SearchStrategy[bytes]:
    kinds = (("PNG", "RGBA"), ("JPEG", "RGB"), ("WEBP", "RGB"), ("GIF", "P"))
    whole = [_file(_gradient(40, 30).convert(mode), kind).getvalue() for kind, mode in kinds]

    def changed(data: bytes, place: int, inserted: bytes, cut: int) -> bytes:
        place %= len(data)
        return data[:place] + inserted + data[place + cut :]

    return st.builds(
        changed, st.sampled_from(whole), st.integers(0, 5000), st.binary(max_size=8),
        st.integers(0, 40),
    )  # fmt: skip


@given(_broken())
@pytest.mark.filterwarnings("ignore")
def test_a_broken_file_is_a_picture_or_an_image_error(data: bytes) -> None:
    """Nothing else comes out of Pillow's readers, so the page always gets a sentence."""
    try:
        assert max(shrunk(io.BytesIO(data), 16).size) <= 16
    except ImageError as error:
        assert str(error)
