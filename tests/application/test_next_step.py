"""What to do next follows from what is in the archive."""

from __future__ import annotations

from pathlib import Path

import pytest

from gui_v2.light_table import draw
from safelight.application.effects_answer import effects_answer
from safelight.application.next_step import NextStep, next_step, pictures_of, step_after
from safelight.application.rating import rate
from safelight.archive import Archive
from safelight.archive.contents import PAIRS_WANTED, Contents, contents_of
from safelight.archive.model_families import family_of_model
from safelight.learning.evidence.comparing import FEWEST_PAIRS
from safelight.learning.evidence.findings import Comparison, Effects, KnobEffect
from safelight.learning.ratings import Identity


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Fourteen seeds with two samplers each, and one picture of another model."""
    return drawn_into(tmp_path_factory.mktemp("swept") / "archive")


def drawn_into(folder: Path) -> Archive:
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
        "Sampler: DDIM or Euler? 14 pairs differ in nothing else. Rate 24 pictures to know."
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


def after(archive: Archive, condition: str = "") -> NextStep | None:
    return effects_answer(archive, ["dreamshaperXL_v2"], condition=condition).step


def test_after_what_is_known_the_open_question_comes_before_anything_is_drawn(
    tmp_path: Path,
) -> None:
    """Then what would be better still; and where nothing is left, that is said."""
    archive = drawn_into(tmp_path / "archive")
    _, question = contents_of(archive).questions[0]
    wanted = list(dict.fromkeys(question.pictures))
    first = after(archive)
    assert first is not None
    assert (first.act, first.count) == ("rate", len(wanted))
    assert first.sentence.startswith("Sampler: DDIM or Euler? 14 pairs differ in nothing else.")
    assert len(archive.query(first.q, limit=None).rows) == first.count
    rate(archive, [Identity(sha256=digest) for digest in wanted], stars=3)
    left = after(archive)
    assert left is not None
    assert (left.act, left.q == "") in (("rate", False), ("draw", True))
    assert "Sampler:" not in left.sentence
    nothing = after(archive, "steps > 1000")
    assert nothing is not None
    assert (nothing.act, nothing.sentence) == ("nothing", "No picture meets this filter.")


def test_ratings_that_would_settle_most_are_asked_for_by_what_the_pictures_have() -> None:
    """Settings that people choose come first, and no more pictures than there are."""
    effects = Effects(pictures=20, ratings=20, prompts=9, gone=0, knobs=(
        KnobEffect(knob="width", status="open", summary="", comparisons=(
            Comparison(level="32", against="64", status="open", more=2),)),
        KnobEffect(knob="sampler", status="open", summary="", comparisons=(
            Comparison(level="Euler", against="DDIM", status="open", more=12),)),
    ))  # fmt: skip
    contents = Contents(pictures=29, rated=20)

    def step(count: int) -> NextStep:
        return step_after(effects, contents, None, spans={}, count_of=lambda _: count)

    assert step(50).count == 12
    assert step(50).q.startswith("(sampler = 'Euler' or sampler = 'DDIM') and (stars is missing")
    assert step(50).sentence == (
        "Rate 12 pictures with sampler Euler or DDIM: about 12 more are wanted to settle which is"
        " better."
    )
    assert step(3).count == 3
    assert step(0).act == "nothing"


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
