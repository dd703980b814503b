"""Our own upscalers: exact sizes everywhere, Real-ESRGAN where it is installed."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from backends.backend_contract import Steps, pixels
from safelight.allowed_files import FilesUnder
from safelight.backends.upscalers import own_upscalers, upscale, upscaled
from safelight.backends.upscalers.ncnn_networks import find_networks
from safelight.backends.upscalers.spandrel_networks import find_network_files
from safelight.errors import BackendError, GenerationCancelled
from safelight.pipeline.backend import UpscaleRequest

needs_networks = pytest.mark.skipif(
    not find_networks(), reason='needs pip install "safelight[ncnn]"'
)
FAST = "R-ESRGAN AnimeVideo"


def drawing(width: int, height: int) -> Image.Image:
    picture = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((2, 2, width - 3, height - 3), fill=(240, 160, 20), outline="black", width=2)
    draw.line((0, 0, width, height), fill=(20, 40, 200), width=3)
    return picture


def as_png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("scale", [0.5, 1, 1.37, 3])
@pytest.mark.parametrize("name", ["Lanczos", "Bicubic", "Nearest"])
def test_the_size_is_right_to_the_pixel(name: str, scale: float) -> None:
    """For every scale, the ones that do not divide included."""
    assert upscale(drawing(30, 21), name, scale).size == (round(30 * scale), round(21 * scale))


def test_an_unknown_upscaler_is_refused_with_what_there_is() -> None:
    """With the nearest name, or all of them."""
    with pytest.raises(BackendError, match="'Lanczo'.*Lanczos"):
        upscale(drawing(8, 8), "Lanczo", 2)


def test_a_request_reports_what_was_used() -> None:
    """The defaults above all."""
    steps = Steps()
    answer = upscaled(UpscaleRequest(init_image=as_png(drawing(10, 8))), steps)
    assert pixels(answer.images[0].png).shape == (32, 40, 3)
    assert answer.images[0].effective == {"upscaler": "Lanczos", "scale": 4}
    assert steps.seen == [(1, 1)]


def test_a_file_whose_name_tells_no_factor_is_no_upscaler(tmp_path: Path) -> None:
    """And half a pair is none either."""
    for file in ("soft.param", "soft.bin", "half-x2.param"):
        (tmp_path / file).write_bytes(b"")
    assert own_upscalers(tmp_path) == own_upscalers()


@needs_networks
def test_the_field_names_are_there() -> None:
    """A config written for AUTOMATIC1111 works."""
    assert {"R-ESRGAN 4x+", "R-ESRGAN 4x+ Anime6B", FAST} <= set(own_upscalers())


@needs_networks
@pytest.mark.parametrize("scale", [1, 1.5, 2, 3, 5])
def test_a_network_gives_the_exact_size_and_the_same_picture(scale: float) -> None:
    """In one pass or several; enlarged, it looks like what it was."""
    before = drawing(40, 32)
    after = upscale(before, FAST, scale)
    assert after.size == (round(40 * scale), round(32 * scale))
    back = np.asarray(after.resize(before.size, Image.Resampling.LANCZOS), np.int16)
    assert np.abs(back - np.asarray(before, np.int16)).mean() < 20


@needs_networks
def test_edges_are_sharper_than_lanczos_makes_them() -> None:
    """What it is for: fewer pixels lie between black and white."""
    picture = Image.new("RGB", (48, 48), "white")
    ImageDraw.Draw(picture).rectangle((12, 12, 35, 35), fill="black")

    def between(name: str) -> int:
        grey = np.asarray(upscale(picture, name, 4).convert("L"))
        return int(((grey > 40) & (grey < 215)).sum())

    assert between(FAST) < between("Lanczos")


@needs_networks
def test_parts_join_without_a_seam() -> None:
    """A picture of several parts is close to what each part's surroundings make of it."""
    picture = drawing(200, 40)
    whole = np.asarray(upscale(picture, FAST, 2), np.int16)
    middle = np.asarray(upscale(picture.crop((64, 0, 192, 40)), FAST, 2), np.int16)
    seam = np.abs(whole[:, 2 * 104 : 2 * 152] - middle[:, 2 * 40 : 2 * 88])
    assert seam.max() <= 2


@needs_networks
def test_a_stop_between_parts_passes_through() -> None:
    """A large picture takes minutes."""
    steps = Steps(stop_after=1)
    request = UpscaleRequest(init_image=as_png(drawing(200, 40)), upscaler=FAST, scale=2)
    with pytest.raises(GenerationCancelled):
        upscaled(request, steps)
    assert steps.seen == [(1, 2)]


@needs_networks
def test_a_damaged_network_is_refused(tmp_path: Path) -> None:
    """Not a crash, not a grey picture."""
    for file in ("bad-x2.param", "bad-x2.bin"):
        (tmp_path / file).write_bytes(b"no network")
    with pytest.raises(BackendError, match="damaged"):
        upscale(drawing(16, 16), "bad-x2", 2, networks_dir=tmp_path)


@pytest.fixture
def tiny_network(tmp_path: Path) -> Path:
    """A folder with an ESRGAN of random weights, as people pass them around, and a broken one."""
    torch = pytest.importorskip("torch", reason="needs torch and spandrel")
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        # A torchvision built for GPUs beside a torch for processors lacks two operators, and
        # neither is used here: to declare them is enough.
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    except ImportError:
        pass
    pytest.importorskip("spandrel", reason="needs torch and spandrel")
    from spandrel.architectures.ESRGAN import ESRGAN

    torch.manual_seed(0)
    network = ESRGAN(num_filters=8, num_blocks=1, scale=2)
    torch.save(network.state_dict(), tmp_path / "tiny.pth")
    (tmp_path / "torn.safetensors").write_bytes(b"no network")
    (tmp_path / "readme.txt").write_text("not one, either", "utf-8")
    return tmp_path


@pytest.mark.filterwarnings("ignore")
def test_a_network_of_the_users_own_enlarges(tiny_network: Path) -> None:
    """By its file's name, to the exact size, the same in parts as whole."""
    assert own_upscalers(tiny_network)[3:5] == ("tiny", "torn")
    small = drawing(40, 30)
    assert upscale(small, "tiny", 3, networks_dir=tiny_network).size == (120, 90)
    steps_told: list[tuple[int, int]] = []
    large = drawing(300, 140)
    upscale(large, "tiny", 2, networks_dir=tiny_network, on_tile=lambda *at: steps_told.append(at))
    assert steps_told == [(number, len(steps_told)) for number in range(1, len(steps_told) + 1)]
    assert len(steps_told) > 1
    with pytest.raises(BackendError, match="upscaler torn.safetensors cannot be loaded"):
        upscale(small, "torn", 2, networks_dir=tiny_network)


def test_networks_that_a_page_may_use_are_those_that_run_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And lie, links followed, where the page may name files."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: object())
    folder = tmp_path / "networks"
    folder.mkdir()
    for name in ("4x.safetensors", "2x.pth", "x4.param", "x4.bin"):
        (folder / name).write_bytes(b"x")
    (tmp_path / "8x.safetensors").write_bytes(b"x")
    (folder / "8x.safetensors").symlink_to(tmp_path / "8x.safetensors")
    assert set(find_network_files(folder)) == {"4x", "2x", "8x"}
    assert set(find_network_files(folder, FilesUnder((folder,)))) == {"4x"}
    monkeypatch.setattr("safelight.backends.upscalers.ncnn_networks._wheel_folder", lambda: None)
    assert set(find_networks(folder, FilesUnder((folder,)))) == {"x4"}
    assert not find_networks(folder, FilesUnder((tmp_path / "other",)))
