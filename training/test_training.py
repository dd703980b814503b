"""The rules that the training relies on, checked without artwork or long computing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("resvg_py")

import torch

from training.captions import (
    BEGIN,
    COLOURS,
    MAX_TOKENS,
    PADDING,
    CaptionSettings,
    Concept,
    Vocabulary,
    caption_words,
    draw_caption,
    read_concepts,
    wanted_concept,
)
from training.dataset import Normalisation
from training.evaluate import fixed_prompts
from training.export import to_int8, write_graphs
from training.judge import fine_detail
from training.network import Denoiser, NetworkSettings
from training.prepare import hue_saturation_value, over, recolour, render, rgb_of
from training.sampling import (
    Pictures,
    dpmpp_2m,
    guidance_captions,
    guided,
    karras_sigmas,
    starting_noise,
)
from training.train import TrainingSettings, learning_rate_factor

CONCEPTS = read_concepts(Path(__file__).parent / "concepts.toml")
CAR = Concept(name="automobile", synonyms=("car", "red car"))
ALWAYS = CaptionSettings(style=0.0, no_caption=0.0)


def caption(concept: Concept, seed: int, settings: CaptionSettings = ALWAYS, **given: str) -> str:
    """Draw one caption as a sentence."""
    words = draw_caption(
        concept,
        style="noto",
        colour=given.get("colour"),
        background=given.get("background"),
        settings=settings,
        rng=np.random.default_rng(seed),
    )
    return " ".join(words)


def test_every_fixed_prompt_wants_exactly_one_concept() -> None:
    """The bars are only fair if all 40 prompts are in the vocabulary."""
    assert len(fixed_prompts()) == 40
    wanted = [wanted_concept(prompt, CONCEPTS) for prompt in fixed_prompts()]
    assert None not in wanted
    assert len({concept.name for concept in wanted if concept}) == 40


def test_a_word_for_two_things_is_refused(tmp_path: Path) -> None:
    """A synonym shared by two concepts would teach the model a mixture."""
    path = tmp_path / "concepts.toml"
    path.write_text('[x]\n"cat face" = ["pet"]\n"dog face" = ["pet"]\n', encoding="utf-8")
    with pytest.raises(ValueError, match="'pet' names both"):
        read_concepts(path)


def test_synonyms_are_drawn_as_often_as_the_name() -> None:
    """Rare synonyms are words the model does not know."""
    drawn = Counter(caption(CAR, seed) for seed in range(2_000))
    assert set(drawn) == {"automobile", "car", "red car"}
    assert 0.45 < drawn["automobile"] / 2_000 < 0.55
    assert abs(drawn["car"] - drawn["red car"]) < 120


def test_one_caption_in_ten_is_dropped() -> None:
    """Guidance needs the model to know pictures without a caption."""
    drawn = [caption(CAR, seed, CaptionSettings()) for seed in range(3_000)]
    assert 0.08 < drawn.count("") / 3_000 < 0.12


def test_a_recoloured_picture_has_one_colour_word() -> None:
    """A blue car is never called a blue red car."""
    drawn = {caption(CAR, seed, colour="blue", background="pink") for seed in range(50)}
    assert drawn == {"blue automobile on pink background", "blue car on pink background"}


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("car", "automobile"),
        ("A blue car, on white background", "automobile"),
        ("green apple fluent", "red apple"),
        ("purple heart", "red heart"),
        ("the moon", "crescent moon"),
    ],
)
def test_a_prompt_leads_to_its_concept(prompt: str, name: str) -> None:
    """Colour, style and background words do not change what the judge looks for."""
    concept = wanted_concept(prompt, CONCEPTS)
    assert concept is not None
    assert concept.name == name


def test_tokens_have_one_length_and_skip_unknown_words() -> None:
    """The empty caption is BEGIN alone: that is what guidance calls unconditional."""
    vocabulary = Vocabulary.of_concepts([CAR])
    assert vocabulary.encode(()) == [BEGIN] + [PADDING] * (MAX_TOKENS - 1)
    ids = vocabulary.encode(caption_words("The CAR's zeppelin car " * 20))
    assert len(ids) == MAX_TOKENS
    assert {vocabulary.words[number] for number in ids} == {"<bos>", "car"}


def test_hue_conversion_goes_both_ways() -> None:
    """Recolouring must not shift the colours it leaves alone."""
    rgb = np.random.default_rng(0).random((100, 3))
    np.testing.assert_allclose(rgb_of(*hue_saturation_value(rgb)), rgb, atol=1e-6)


def test_recolouring_changes_the_main_colour_only() -> None:
    """A red disc with a white spot becomes a blue disc with a white spot."""
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">'
        '<circle cx="32" cy="32" r="30" fill="#d22"/>'
        '<circle cx="32" cy="32" r="6" fill="#fff"/></svg>'
    )
    picture = render(svg)
    assert picture.shape == (64, 64, 4)
    variants = recolour(picture)
    assert variants is not None
    assert len(variants) == len(COLOURS)
    blue = variants[COLOURS.index("blue")]
    assert blue[32, 12, 2] > 150 > blue[32, 12, 0]
    assert tuple(blue[32, 32, :3]) == (255, 255, 255)
    assert tuple(over(blue)[0, 0]) == (255.0, 255.0, 255.0)


def test_normalising_goes_both_ways() -> None:
    """What the network draws comes back as the bytes it learned from."""
    normalisation = Normalisation((0.6, 0.4, 0.3), (0.5, 0.6, 0.7))
    rgb = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    assert (normalisation.decode(normalisation.encode(rgb.astype(np.float32))) == rgb).all()


def test_the_learning_rate_rises_and_ends_at_zero() -> None:
    """The schedule is a function of samples alone."""
    settings = TrainingSettings(seed=0, samples=100_000)
    assert learning_rate_factor(settings, 0) < 0.01
    assert learning_rate_factor(settings, 20_000) == 1.0
    assert 0 < learning_rate_factor(settings, 99_968) < 0.001
    assert learning_rate_factor(settings, 120_000) == learning_rate_factor(settings, 20_000)


def test_sampling_a_known_distribution_finds_it() -> None:
    """With the exact denoiser of one picture, every step count ends at that picture."""
    target = np.full((1, 3, 8, 8), 0.25, np.float32)
    for steps in (1, 2, 20):
        drawn = dpmpp_2m(lambda *_: target, starting_noise([3], 8), karras_sigmas(steps))
        np.testing.assert_allclose(drawn, target)


def test_guidance_extrapolates() -> None:
    """Weight 3 goes three times as far from "no caption" as the caption does."""
    assert guidance_captions(["x"], 3.0) == ["x", ""]
    assert guidance_captions(["x"], 1.0) == ["x"]

    def estimate(pictures: Pictures, _: float) -> Pictures:
        return np.concatenate([pictures[:1] * 0 + 1, pictures[1:] * 0])

    guided_estimate = guided(estimate, 3.0)(np.zeros((1, 3, 2, 2), np.float32), 1.0)
    assert (guided_estimate == 3).all()


def test_int8_is_off_by_half_a_step_at_most() -> None:
    """Each output channel has its own scale."""
    values = np.random.default_rng(0).normal(size=(4, 50)).astype(np.float32)
    values[2] *= 1000
    integers, scale = to_int8(values, axis=0)
    error = np.abs(integers * scale[:, None] - values)
    assert (error <= scale[:, None] * 0.501).all()


def test_exported_graphs_agree_with_torch(tmp_path: Path) -> None:
    """What ships is what was trained."""
    torch.manual_seed(0)
    settings = NetworkSettings(
        vocabulary=40, image_size=32, channels=(32, 32, 32), embedding=32, context=32
    )
    model = Denoiser(settings)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    parity = write_graphs(model, tmp_path)
    assert parity["float32_max"] < 1e-4 * max(1.0, parity["output_std"])
    assert parity["int8_rms"] < 0.05 * parity["output_std"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.onnx", "unet.onnx"]


def test_fine_detail_sees_blur_and_grain() -> None:
    """A flat picture has none; a chessboard has eight times its contrast."""
    flat = np.full((8, 8, 3), 200, np.uint8)
    board = np.where(np.indices((8, 8)).sum(0) % 2, 10, 0).astype(np.uint8)[..., None].repeat(3, -1)
    assert fine_detail(np.stack([flat, board])).tolist() == [0, 40]
