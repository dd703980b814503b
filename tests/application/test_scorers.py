"""Scorers keep their contract, and say what their formulas say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from application.scored_pictures import MeanRed, flat, png_of, textured
from application.scorer_contract import ScorerContract, picture, unreadable
from safelight.application.scorers import (
    BUILT_IN,
    GROUP,
    PictureToScore,
    Scorer,
    create_scorer,
    scorer_names,
)
from safelight.errors import ImageError, ScorerError


class TestFake(ScorerContract):
    @pytest.fixture
    def scorer(self) -> Scorer:
        return MeanRed()


@pytest.mark.parametrize("name", BUILT_IN)
class TestShipped(ScorerContract):
    @pytest.fixture
    def scorer(self, name: str) -> Scorer:
        return create_scorer(name)


def numbers(name: str, *pixels: NDArray[np.uint8]) -> list[float | None]:
    pictures = [picture(png_of(each), str(place)) for place, each in enumerate(pixels)]
    return list(create_scorer(name).score(pictures))


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    """One grey step in a flat picture: D is 4 c once, -c at its four neighbours."""
    pixels = np.full((7, 7, 3), 100, np.uint8)
    pixels[3, 3] = 110
    expected = (40**2 + 4 * 10**2) / 25  # their sum is 0
    assert numbers("sharpness", pixels, flat(5)) == pytest.approx([expected, 0], abs=1e-3)


def test_blur_lowers_sharpness_and_light_does_not() -> None:
    fine = textured(1, 64)
    blurred = np.asarray(Image.fromarray(fine).resize((16, 16)).resize((64, 64)))
    darker = (fine // 4).astype(np.uint8)
    sharp, soft, dark = numbers("sharpness", fine, blurred, darker + np.uint8(190))
    assert sharp is not None
    assert soft is not None
    assert soft < sharp / 10
    assert dark == pytest.approx(sharp / 16, rel=0.1)


def test_a_picture_without_an_inside_has_no_sharpness() -> None:
    assert numbers("sharpness", textured(1, 2)) == [None]


def grey(value: int) -> NDArray[np.uint8]:
    return np.full((4, 6, 3), value, np.uint8)


def test_exposure_is_in_stops_from_middle_grey() -> None:
    """0.18 of linear light is grey 118 in sRGB."""
    white, middle, black = numbers("exposure", grey(255), grey(118), grey(0))
    assert white == pytest.approx(np.log2(1 / 0.18))
    assert middle == pytest.approx(0, abs=0.02)
    assert black == pytest.approx(-9.21, abs=0.005)


def test_exposure_is_a_mean_of_light_and_not_of_grey() -> None:
    """Half white, half black is half the light, one stop less."""
    pixels = grey(255)
    pixels[:2] = 0
    (number,) = numbers("exposure", pixels)
    assert number == pytest.approx(np.log2(1 / 0.18) - 1)


def test_a_near_duplicate_is_near_what_came_before() -> None:
    """Noise and light change little, another picture much, and the order is that of time."""
    first = np.asarray(Image.fromarray(textured(1, 9)).resize((72, 72), Image.Resampling.BICUBIC))
    grain = np.random.default_rng(5).integers(-3, 4, first.shape)
    again = np.clip(first.astype(int) + grain + 6, 0, 255).astype(np.uint8)
    other = np.asarray(Image.fromarray(textured(9, 9)).resize((72, 72), Image.Resampling.BICUBIC))
    made: list[PictureToScore] = []
    for place, pixels in enumerate((first, again, other)):
        made.append(picture(png_of(pixels), str(place), made))
    none, near, far = create_scorer("near_duplicate").score(made)
    assert none is None
    assert near is not None
    assert far is not None
    assert near <= 4
    assert far >= 20
    assert create_scorer("near_duplicate").score([made[2]]) == [far]


def test_the_bits_of_a_near_duplicate_are_counted() -> None:
    """A row that runs the other way has all its eight bits otherwise."""
    rising = np.repeat(np.tile(np.arange(9, dtype=np.uint8) * 20, (8, 1))[..., None], 3, axis=2)
    turned = rising.copy()
    turned[2] = rising[2, ::-1]
    before = picture(png_of(rising), "1")
    after = picture(png_of(turned), "2", [before])
    assert create_scorer("near_duplicate").score([after]) == [8.0]


def test_an_earlier_picture_that_is_gone_is_passed_over() -> None:
    """It costs the comparison with it, and no number of another."""
    after = picture(png_of(textured(1)), "2", [unreadable("1")])
    assert create_scorer("near_duplicate").score([after]) == [None]


def test_transparent_parts_lie_on_black() -> None:
    import io

    clear = Image.new("RGBA", (4, 4), (255, 255, 255, 0))
    file = io.BytesIO()
    clear.save(file, "PNG")
    assert picture(file.getvalue(), "1").pixels().max() == 0


def test_a_picture_of_gigabytes_is_refused() -> None:
    """A few kilobytes may stand for more pixels than there is memory."""
    import io

    file = io.BytesIO()
    Image.new("1", (40_000, 40_000)).save(file, "PNG")
    with pytest.raises(ImageError, match="limit|allowed"):
        picture(file.getvalue(), "1").pixels()


# -- how they are found ----------------------------------------------------------------------


class Nameless:
    """Has no version."""

    name = "nameless"
    unit = "1"

    def score(self, pictures: Sequence[PictureToScore]) -> list[float]:
        return [0.0 for _ in pictures]


class WithWeights(MeanRed):
    """Wants a file."""

    name = "weighty"

    def __init__(self, weights: str = "") -> None:
        if not weights:
            raise FileNotFoundError("no weights: --option weights=FILE")
        super().__init__(version=weights)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with scorers, as pip would leave it."""
    metadata = tmp_path / "packages" / "darkroom-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: darkroom\nVersion: 1.0\n")
    own, fakes = "application.test_scorers", "application.scored_pictures"
    (metadata / "entry_points.txt").write_text(
        f"[{GROUP}]\nmean_red = {fakes}:MeanRed\nlost = darkroom_lost:Scorer\n"
        f"nameless = {own}:Nameless\nweighty = {own}:WithWeights\nother = {fakes}:MeanRed\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))


@pytest.mark.usefixtures("installed")
def test_a_scorer_of_another_package_is_found_by_its_entry_point() -> None:
    assert {"mean_red", *BUILT_IN} <= set(scorer_names())
    assert create_scorer("mean_red").unit == MeanRed.unit
    assert create_scorer("weighty", {"weights": "w7"}).version == "w7"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("sharpnes", {}, "there is no scorer 'sharpnes'.*did you mean 'sharpness'"),
        ("zzz", {}, "installed: exposure, .*sharpness"),
        ("lost", {}, "'lost' of the package darkroom cannot be loaded: .*darkroom_lost"),
        ("nameless", {}, "'nameless' must say its version"),
        ("other", {}, "'other' must have that name.* got 'mean_red'"),
        ("weighty", {}, "'weighty' cannot be made: FileNotFoundError: no weights"),
        ("weighty", {"weight": 1}, "'weighty' has no option 'weight'.*did you mean 'weights'"),
        ("sharpness", {"weights": 1}, "'sharpness' has no option 'weights'; it has: none"),
    ],
)
def test_what_is_no_scorer_is_refused_by_name(
    name: str, options: dict[str, object], told: str
) -> None:
    """With what to do, where there is something."""
    with pytest.raises(ScorerError, match=told):
        create_scorer(name, options)
