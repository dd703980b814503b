"""What is in an archive is counted as evidence counts, before anybody has rated."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safelight.application.rated_pictures import rated_settings
from safelight.archive import Archive
from safelight.archive.contents import Contents, contents_of
from safelight.errors import FilterError
from safelight.learning import LearningRecord
from safelight.learning.evidence.knob_levels import likeness
from safelight.learning.evidence.scores import ImageScores
from safelight.learning.evidence.trials import TRIAL_COLUMNS, join_trials
from safelight.learning.learning_record import ImageOutput
from safelight.learning.ratings import Identity, RatingEvent


def archive_of(path: Path, configs: list[dict[str, Any]]) -> Archive:
    """Return an archive of one run, which drew a picture of each of *configs*."""
    archive = Archive(path)
    outputs = [
        ImageOutput(
            variant=place, stage="txt2img", sha256=f"{place + 1:064x}",
            pixel_sha256=f"{place + 9_000:064x}", width=8, height=8, seed=config.get("seed"),
        )
        for place, config in enumerate(configs)
    ]  # fmt: skip
    record = LearningRecord.from_pipeline_context(
        {"txt2img": configs[0]}, [{"txt2img": config} for config in configs],
        outputs=tuple(outputs), backend={"name": "fake"}, timestamp="2026-03-04T05:06:07Z",
    )  # fmt: skip
    with archive.writer() as writer:
        writer.write(record)
    return archive


def groups_by_evidence(archive: Archive) -> dict[str, int]:
    """Return knob -> groups that differ in it alone, as effects looks for them."""
    answer = archive.query("", columns=(*TRIAL_COLUMNS, "run_id", "place"), limit=None)
    columns = dict(zip(answer.columns, zip(*answer.rows, strict=True), strict=True))
    digests = tuple(str(digest) for digest in columns["sha256"])
    zeros = np.zeros(len(digests))
    scores = ImageScores(
        identities=digests, scores=zeros, deviations=zeros, readings=zeros,
        ratings=np.ones(len(digests), np.int64), places={d: p for p, d in enumerate(digests)},
    )  # fmt: skip
    keys = list(zip(columns.pop("run_id"), columns.pop("place"), strict=True))
    trials = join_trials(columns, scores, rated_settings(archive, keys, columns, scores))
    groups = {}
    for knob, alike in likeness(trials).items():
        if knob.startswith(("term:", "extra.")):
            continue
        column = trials.numbers[knob] if knob in trials.numbers else trials.levels[knob].codes
        together: dict[int, set[object]] = {}
        for row, key in enumerate(alike):
            together.setdefault(int(key), set()).add(str(column[row]))
        groups[knob] = sum(len(values) > 1 for values in together.values())
    return groups


@settings(max_examples=25)
@given(st.lists(
    st.fixed_dictionaries(
        {"prompt": st.sampled_from(["a", "b <lora:ink:0.5>", "b <lora:ink:1>", "a  <lora:ink:1>"])},
        optional={
            "steps": st.sampled_from([5, 9]), "sampler": st.sampled_from(["Euler", "Heun"]),
            "cfg_scale": st.sampled_from([1, 7.5]), "seed": st.sampled_from([1, 2]),
            "extra": st.sampled_from([{"tiling": True}, {"time": 4}, {"time": 5}]),
        },
    ),
    min_size=1, max_size=14,
))  # fmt: skip
def test_groups_are_those_that_effects_learns_from(
    tmp_path_factory: pytest.TempPathFactory, configs: list[dict[str, Any]]
) -> None:
    archive = archive_of(tmp_path_factory.mktemp("archive"), configs)
    counted = {one.knob: one.groups for one in contents_of(archive).varied}
    expected = groups_by_evidence(archive)
    assert {k: n for k, n in counted.items() if n and k in expected} == {
        knob: groups for knob, groups in expected.items() if groups
    }


@pytest.fixture
def sweep(tmp_path: Path) -> Archive:
    """Return three prompts with each of two steps, and one more of another model."""
    configs: list[dict[str, Any]] = [
        {"prompt": prompt, "steps": steps, "model": "m", "seed": 1}
        for prompt, steps in product("abc", (5, 9))
    ]
    return archive_of(tmp_path / "archive", [*configs, {"prompt": "z", "model": "n", "seed": 2}])


def test_what_varied_is_told_with_its_groups(sweep: Archive) -> None:
    contents = contents_of(sweep)
    assert (contents.pictures, contents.rated, contents.first[:7]) == (7, 0, "2026-03")
    assert [(one.name, one.pictures) for one in contents.models.listed] == [("m", 6), ("n", 1)]
    by_knob = {one.knob: one for one in contents.varied}
    assert (by_knob["steps"].groups, by_knob["steps"].pictures) == (3, 6)
    assert by_knob["steps"].values.different == 3  # 5, 9 and none
    assert (by_knob["prompt"].groups, by_knob["prompt"].pictures) == (2, 6)
    assert contents.varied[0].knob == "steps"
    assert "cfg_scale" not in by_knob


def test_a_condition_chooses_and_is_checked(sweep: Archive) -> None:
    assert contents_of(sweep, "steps = 5").pictures == 3
    assert contents_of(sweep, "steps = 77") == Contents()
    with pytest.raises(FilterError):
        contents_of(sweep, "stpes = 5")


def test_a_picture_counts_once_and_ratings_are_counted(sweep: Archive) -> None:
    sweep.ratings().add(
        RatingEvent.now("stars", Identity(sha256=f"{1:064x}"), value=4, rater="ann"),
        RatingEvent.now("note", Identity(sha256=f"{2:064x}"), value="dull", rater="ann"),
    )
    contents = contents_of(sweep)
    assert (contents.pictures, contents.rated) == (7, 1)
