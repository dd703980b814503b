"""A variant is made once and written down once for each document that holds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from safelight.backends.fake import FakeBackend
from safelight.learning import LearningRecordWriter
from safelight.pipeline import PipelineRunner
from safelight.randomizer.plan import Variants


class Counted:
    """A knob that notes how often somebody makes it plain."""

    times = 0

    def __str__(self) -> str:
        type(self).times += 1
        return "counted"


def run(archive: Path, variants: int) -> None:
    """Draw *variants* pictures with that knob into *archive*."""
    config = {
        "txt2img": {
            "prompt": "a", "seed": 1, "width": 64, "height": 64, "steps": 1,
            "extra": {"knob": Counted()},
        },
        "randomizer": {"mode": "fanout", "seeds_per_variant": variants},
    }  # fmt: skip
    with LearningRecordWriter(archive / "records") as writer:
        runner = PipelineRunner(FakeBackend(), archive_dir=archive, learning_record_writer=writer)
        result = runner.run(config, seed=1)
    assert (result.status, len(result.images)) == ("completed", variants)


def test_a_variants_knobs_are_made_plain_three_times(tmp_path: Path) -> None:
    """For its identity, for the picture's own text, and for the journal, which the record is."""
    counts = []
    for variants in (3, 8):
        Counted.times = 0
        run(tmp_path / str(variants), variants)
        counts.append(Counted.times)
    assert counts[1] - counts[0] == 3 * (8 - 3)


def test_a_run_makes_each_variant_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it asks for one: to find twins, to draw it, to tell of it."""
    made: list[Any] = []
    make = Variants.__getitem__

    def noted(self: Variants, place: Any) -> Any:
        made.append(place)
        return make(self, place)

    monkeypatch.setattr(Variants, "__getitem__", noted)
    run(tmp_path, 6)
    assert sorted(made) == list(range(6))
