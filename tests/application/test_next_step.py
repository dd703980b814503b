"""What to do next follows from what is in the archive."""

from __future__ import annotations

from pathlib import Path

import pytest

from gui_v2.light_table import draw
from safelight.application.next_step import next_step, pictures_of
from safelight.application.rating import rate
from safelight.archive import Archive
from safelight.archive.contents import PAIRS_WANTED, contents_of
from safelight.archive.model_families import family_of_model
from safelight.learning.evidence.comparing import FEWEST_PAIRS
from safelight.learning.ratings import Identity


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Fourteen seeds with two samplers each, and one picture of another model."""
    folder = tmp_path_factory.mktemp("swept") / "archive"
    stage = {"prompt": "a hill", "steps": 2, "width": 32, "height": 32, "seed": 5}
    draw(folder, {
        "name": "two", "txt2img": {**stage, "model": "dreamshaperXL_v2"},
        "randomizer": {"mode": "fanout", "seeds_per_variant": 14,
                       "sweep": {"txt2img.sampler": ["Euler", "DDIM"]}},
    })  # fmt: skip
    draw(folder, {"name": "one", "txt2img": {**stage, "model": "something"}})
    return Archive(folder)


def test_the_question_with_most_pairs_is_asked_first(swept: Archive) -> None:
    contents = contents_of(swept)
    knob, question = contents.questions[0]
    assert (knob, question.values, question.pairs) == ("sampler", ("DDIM", "Euler"), 14)
    step = next_step(contents)
    assert step.act == "rate"
    assert step.sentence == (
        "sampler: DDIM or Euler? 14 pairs differ in nothing else. Rate 24 pictures to know."
    )
    rows = swept.query(step.q, columns=["sha256", "sampler", "seed"]).dicts()
    seeds: dict[int, set[str]] = {}
    for row in rows:
        seeds.setdefault(row["seed"], set()).add(row["sampler"])
    assert len(seeds) == PAIRS_WANTED
    assert all(samplers == {"Euler", "DDIM"} for samplers in seeds.values())


def test_what_was_rated_need_not_be_rated_again(swept: Archive, tmp_path: Path) -> None:
    _, question = contents_of(swept).questions[0]
    done = question.pictures[:6]
    rate(swept, [Identity(sha256=digest) for digest in done], stars=4)
    _, left = contents_of(swept).questions[0]
    assert (left.rated, left.ratings) == (3, 2 * (PAIRS_WANTED - 3))
    assert not set(done) & set(left.pictures)
    rate(swept, [Identity(sha256=digest) for digest in left.pictures], stars=3)
    contents = contents_of(swept)
    assert (contents.questions[0][1].ratings, pictures_of(contents.questions[0][1])) == (0, "")
    assert next_step(contents).act == "learn"


def test_an_archive_without_pictures_wants_some(tmp_path: Path) -> None:
    assert next_step(contents_of(Archive(tmp_path))).act == "import"


def test_as_many_pairs_are_wanted_as_evidence_needs() -> None:
    assert PAIRS_WANTED >= FEWEST_PAIRS


@pytest.mark.parametrize(("name", "family"), [
    ("ponyDiffusionV6XL_v6StartWithThisOne", "Pony"), ("v1-5-pruned-emaonly", "SD 1.5"),
    ("waiIllustriousSDXL_v160.safetensors", "Illustrious"), ("sd_xl_base_1.0", "SDXL"),
    ("flux1-dev-fp8.safetensors", "FLUX"), ("models/sd3.5_large", "SD 3"),
    ("novaAnimeIL_v5", ""), ("dreamshaper_8", ""), ("", ""),
])  # fmt: skip
def test_a_family_is_told_only_where_the_name_tells_it(name: str, family: str) -> None:
    assert family_of_model(name) == family


def test_families_are_counted(swept: Archive) -> None:
    counted = {one.name: one.pictures for one in contents_of(swept).families.listed}
    assert counted == {"SDXL": 28, "": 1}
