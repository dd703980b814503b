"""What a plan takes is told by what was drawn, and grows with what is asked for."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from safelight.application import engine_facts
from safelight.application.config_text import comments_of
from safelight.application.engine_facts import EngineFacts
from safelight.application.time_estimate import estimate_time
from safelight.archive import Archive
from safelight.config import BackendChoice, PipelineConfig
from safelight.errors import BackendUnavailable
from safelight.learning import LearningRecord
from safelight.learning.learning_record import ImageOutput
from safelight.randomizer import plan_variants


def keep(archive: Archive, taken: Mapping[tuple[int, int], float]) -> None:
    """Keep a picture for each (steps, side) that took so many seconds."""
    chance = random.Random(1)
    with archive.writer() as writer:
        for number, ((steps, side), seconds) in enumerate(taken.items()):
            config: dict[str, Any] = {"txt2img": {"prompt": "x", "steps": steps}}
            output = ImageOutput(
                variant=0, stage="txt2img", sha256=f"{number:064x}", pixel_sha256="", width=side,
                height=side, path=f"images/{number}.png",
                seconds=seconds * chance.uniform(0.9, 1.1),
            )  # fmt: skip
            writer.write(
                LearningRecord.from_pipeline_context(
                    config,
                    [config],
                    run_id=f"r{number}",
                    outputs=(output,),
                    timestamp=f"2026-01-01T00:00:{number:02d}Z",
                    backend={"name": "fake"},
                )
            )


def asked(archive: Archive, steps: Any, side: int = 512) -> float | None:
    drawn = {"prompt": "x", "width": side, "height": side}
    sweep = {"txt2img.steps": steps} if isinstance(steps, list) else {}
    config = PipelineConfig.as_stated({
        "backend": "fake", "txt2img": {**drawn, **({} if sweep else {"steps": steps})},
        "randomizer": {"sweep": sweep},
    })  # fmt: skip
    return estimate_time(archive, config, plan_variants(config, 0)).seconds


def test_more_steps_and_more_pixels_take_longer(tmp_path: Path) -> None:
    """A second of each picture goes to what its steps do not change."""
    archive = Archive(tmp_path)
    assert asked(archive, 20) is None, "nothing tells"
    keep(archive, {(steps, 512): 1 + steps / 10 for steps in range(10, 40, 2)})
    assert asked(archive, 5) == pytest.approx(1.5, rel=0.25)
    assert asked(archive, 50) == pytest.approx(6, rel=0.25)
    assert asked(archive, [5, 50]) == pytest.approx(7.5, rel=0.25)
    assert asked(archive, 20, 1024) == pytest.approx(9, rel=0.25)


def test_one_kind_of_picture_tells_of_others_by_their_share(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    keep(archive, {(20, 512): 2.0})
    few, many = asked(archive, 5), asked(archive, 50)
    assert few is not None
    assert many == pytest.approx(10 * few)
    config = PipelineConfig.as_stated({"backend": "fake", "txt2img": {"prompt": "x"}})
    told = estimate_time(archive, config, plan_variants(config, 0))
    assert told.seconds == pytest.approx(4 * few), "what is not stated is as it was before"


class _Slow:
    """An engine that answers when it is let."""

    name = "slow"

    def __init__(self, may: threading.Event, error: Exception | None = None) -> None:
        self._may, self._error = may, error

    def choices(self) -> Mapping[str, Sequence[str]]:
        self._may.wait(20)
        if self._error is not None:
            raise self._error
        return {"sampler": ("Euler",)}

    def describe(self) -> None: ...

    def generate(self) -> None: ...


@pytest.mark.parametrize("error", [None, BackendUnavailable("x at http://h:1 is off; set url")])
def test_an_engine_is_asked_behind_whoever_wants_to_know(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    """Nobody waits; what says nothing for long is slow; what is off says so without a config."""
    may, clock = threading.Event(), 0.0
    monkeypatch.setattr(engine_facts, "create_backend", lambda *_: _Slow(may, error))
    facts = EngineFacts(lambda name: BackendChoice(name="fake"), clock=lambda: clock)
    assert facts.of("rig").state == "asking"
    clock = 9.0
    assert facts.of("rig").state == "slow"
    may.set()
    deadline = time.monotonic() + 20
    while (state := facts.of("rig")).state in ("asking", "slow") and time.monotonic() < deadline:
        time.sleep(0.01)
    if error is None:
        assert (state.state, state.choices) == ("ready", {"sampler": ("Euler",)})
    else:
        assert (state.state, state.message) == ("off", "x at http://h:1 is off")


def test_comments_are_those_outside_of_texts() -> None:
    text = '# top\n#two\n\n[a] # x\nb = "# no"\nc = """\n# no\n"""\nd = \'#\'\n# yes\n'
    assert comments_of(text) == (("top", "two"), 2)
