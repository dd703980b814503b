"""The automatic fidelity score sees what a picture shows, and says nothing where it cannot know."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from backends.backend_contract import Steps
from safelight.backends.bundled import MODEL_FOLDER, BundledBackend
from safelight.backends.bundled.fidelity import FidelityScorer
from safelight.errors import BackendError, ImageError
from safelight.pipeline.backend import Txt2ImgRequest


@pytest.fixture(scope="module")
def scorer() -> FidelityScorer:
    return FidelityScorer()


@pytest.fixture(scope="module")
def bundled() -> BundledBackend:
    return BundledBackend()


def drawn(backend: BundledBackend, prompt: str) -> bytes:
    request = Txt2ImgRequest(prompt=prompt, seed=0, steps=12)
    return backend.generate(request, Steps()).images[0].png


@pytest.mark.parametrize("prompt", ["umbrella", "guitar", "banana", "a yellow star", "red heart"])
def test_a_good_picture_scores_high(
    scorer: FidelityScorer, bundled: BundledBackend, prompt: str
) -> None:
    """The concept of the prompt comes first, and is probable."""
    fidelity = scorer.score(drawn(bundled, prompt), prompt)
    assert fidelity is not None
    assert fidelity.hit
    assert -1.5 < fidelity.log_probability <= 0


def test_the_wrong_picture_scores_low(scorer: FidelityScorer, bundled: BundledBackend) -> None:
    """An umbrella is no guitar, and noise is nothing."""
    umbrella = scorer.score(drawn(bundled, "umbrella"), "guitar")
    assert umbrella is not None
    assert (umbrella.first, umbrella.hit) == ("umbrella", False)
    assert umbrella.log_probability < -4
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    noise = scorer.score(buffer.getvalue(), "guitar")
    assert noise is not None
    assert not noise.hit


@pytest.mark.parametrize(
    ("prompt", "concept"),
    [
        ("car", "automobile"),
        ("a blue car, noto style", "automobile"),
        ("coffee on red background", "hot beverage"),
        ("heart", "red heart"),
        ("birthday cake", "birthday cake"),
        ("Crying Face!", "crying face"),
        ("zeppelin", None),
        ("", None),
        ("red on blue background", None),
    ],
)
def test_the_wanted_concept_is_read_from_the_prompt(
    scorer: FidelityScorer, prompt: str, concept: str | None
) -> None:
    """By name or synonym, whatever colour, style and background are asked for."""
    assert scorer.wanted(prompt) == concept


def test_a_prompt_without_a_known_concept_has_no_score(
    scorer: FidelityScorer, bundled: BundledBackend
) -> None:
    """No number is better than a number without meaning."""
    assert scorer.score(drawn(bundled, "umbrella"), "zeppelin") is None


def test_blur_and_grain_show_in_the_detail(scorer: FidelityScorer, bundled: BundledBackend) -> None:
    """The classifier looks through both; the second figure does not."""
    png = drawn(bundled, "umbrella")
    plain = scorer.score(png, "umbrella")
    with Image.open(io.BytesIO(png)) as picture:
        blurred = picture.filter(ImageFilter.GaussianBlur(1.5))
        noise = np.random.default_rng(1).normal(0, 20, (64, 64, 3))
        grain = Image.fromarray((np.asarray(picture) + noise).clip(0, 255).astype(np.uint8))
    assert plain is not None
    for changed, sign in ((blurred, -1), (grain, 1)):
        buffer = io.BytesIO()
        changed.save(buffer, "PNG")
        fidelity = scorer.score(buffer.getvalue(), "umbrella")
        assert fidelity is not None
        assert fidelity.hit
        assert sign * (fidelity.detail - plain.detail) > 0.5


def test_more_steps_give_more_detail_up_to_a_point(
    scorer: FidelityScorer, bundled: BundledBackend
) -> None:
    """Two steps leave a blur that eight have not; 32 add little to 16."""

    def detail(steps: int) -> float:
        total = 0.0
        for prompt in ("umbrella", "guitar", "rocket", "house"):
            request = Txt2ImgRequest(prompt=prompt, seed=1, steps=steps, cfg_scale=1)
            fidelity = scorer.score(bundled.generate(request, Steps()).images[0].png, prompt)
            assert fidelity is not None
            total += fidelity.detail / 4
        return total

    two, eight, sixteen, thirty_two = map(detail, (2, 8, 16, 32))
    assert eight - two > 0.3
    assert abs(thirty_two - sixteen) < 0.15


def test_what_is_no_picture_is_refused(scorer: FidelityScorer) -> None:
    """As everywhere."""
    with pytest.raises(ImageError):
        scorer.score(b"no picture", "umbrella")


@pytest.mark.parametrize("file", ["judge.json", "judge.onnx"])
def test_a_damaged_judge_is_said_clearly(tmp_path: Path, file: str) -> None:
    """Which file, and how to get a whole one."""
    folder = tmp_path / "model"
    shutil.copytree(MODEL_FOLDER, folder)
    (folder / file).write_bytes(b"{}")
    with pytest.raises(BackendError, match=f"{file} is missing or damaged"):
        FidelityScorer(folder)
