"""Nothing is drawn twice: runs go on, failures are retried, and what is there is reused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import safelight as package
from safelight.cli import main
from safelight.learning import LearningRecord, read_records

CONFIG = """
name = "towers"
[backend]
name = "fake"
[txt2img]
prompt = "a {red|green} lighthouse"
steps = 2
seed = 7
width = 64
height = 64
[randomizer]
mode = "fanout"
[randomizer.sweep]
"txt2img.cfg_scale" = [3, 7]
"""

Safelight = Callable[..., Result]


@pytest.fixture
def safelight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Safelight:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text(CONFIG, "utf-8")

    def call(*arguments: str) -> Result:
        result = CliRunner().invoke(main, arguments)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


def newest(folder: Path) -> LearningRecord:
    return list(read_records(folder / "safelight" / "records"))[-1]


def origins(record: LearningRecord) -> list[str | None]:
    return [about.get("drawn_by") for about in record.template["variants"]]


def files(folder: Path) -> set[str]:
    return {path.name for path in (folder / "safelight").rglob("0*.png")}


def test_a_second_run_draws_nothing_and_says_where_its_pictures_are_from(
    safelight: Safelight, tmp_path: Path
) -> None:
    """Also when the records are in a pack by then."""
    safelight("run", "c.toml")
    first = newest(tmp_path)
    before = sorted((tmp_path / "safelight").rglob("0*.png"))
    for _ in range(2):
        again = safelight("run", "c.toml")
        assert "completed: 4 pictures" in again.stdout
        assert "4 variants drawn before" in again.stdout
        second = newest(tmp_path)
        assert sorted((tmp_path / "safelight").rglob("0*.png")) == before
        assert [o.sha256 for o in second.outputs] == [o.sha256 for o in first.outputs]
        assert [o.path for o in second.outputs] == [o.path for o in first.outputs]
        assert origins(second) == [first.run_id] * 4
        assert second.variant_configs == first.variant_configs
        assert safelight("archive", "pack").exit_code == 0
        (tmp_path / "safelight" / "images").joinpath("x").mkdir(exist_ok=True)


def test_a_longer_sweep_draws_what_is_new(safelight: Safelight, tmp_path: Path) -> None:
    """Plots are extended, not redone; what is 7 or 7.0 is the same."""
    safelight("run", "c.toml")
    first = newest(tmp_path)
    safelight("run", "c.toml", "--set", 'randomizer.sweep."txt2img.cfg_scale"=[3, 5, 7.0]')
    longer = newest(tmp_path)
    assert [o is None for o in origins(longer)] == [False, True, False] * 2
    scales = [config["txt2img"]["cfg_scale"] for config in longer.variant_configs]
    assert scales == [3, 5, 7, 3, 5, 7]
    assert {o for o in origins(longer) if o} == {first.run_id}


@pytest.mark.parametrize("override", ["txt2img.steps=3", "txt2img.seed=8", "txt2img.model='other'"])
def test_another_setting_is_another_picture(
    safelight: Safelight, tmp_path: Path, override: str
) -> None:
    """Only what is equal in every knob is reused."""
    safelight("run", "c.toml")
    assert "drawn before" not in safelight("run", "c.toml", "--set", override).stdout


def test_again_draws_anew(safelight: Safelight, tmp_path: Path) -> None:
    """For engines that changed without a new version."""
    safelight("run", "c.toml")
    assert "drawn before" not in safelight("run", "c.toml", "--again").stdout
    assert len(sorted((tmp_path / "safelight").rglob("0*.png"))) == 8


def test_a_damaged_picture_is_drawn_again(safelight: Safelight, tmp_path: Path) -> None:
    """One that is gone, and one that is not what it was."""
    safelight("run", "c.toml")
    gone, torn, *_ = sorted((tmp_path / "safelight").rglob("0*.png"))
    gone.unlink()
    torn.write_bytes(torn.read_bytes()[:-9])
    again = safelight("run", "c.toml")
    assert "completed: 4 pictures" in again.stdout
    assert "2 variants drawn before" in again.stdout


def test_only_failures_are_retried(safelight: Safelight, tmp_path: Path) -> None:
    """And the new record says which run it goes on from."""
    refuse = 'backend={name="fake", fail_on=["red"]}'
    assert safelight("run", "c.toml", "--set", refuse).exit_code == 3
    first = newest(tmp_path)
    retried = safelight("run", "c.toml", "--retry-failed", first.run_id)
    assert "completed: 4 pictures" in retried.stdout
    second = newest(tmp_path)
    assert second.template["continues"] == first.run_id
    assert (second.plan_id, second.plan_seed) == (first.plan_id, first.plan_seed)
    assert origins(second) == [None, None, first.run_id, first.run_id]
    assert "nothing is missing" in safelight("run", "--resume", second.run_id).stdout


def test_a_run_goes_on_in_the_order_of_its_plan(safelight: Safelight, tmp_path: Path) -> None:
    """A sweep's axes vary in the order in which they are written, also when it is continued."""
    (tmp_path / "c.toml").write_text(CONFIG.replace("[3, 7]", "[3, 7]\n'txt2img.steps' = [2, 4]")
                                     .replace('"txt2img.cfg_scale"', '"txt2img.eta" = [0, 1]\n'
                                              '"txt2img.cfg_scale"'))  # fmt: skip
    whole = safelight("run", "c.toml", "--set", 'backend={name="fake", fail_on=["red"]}')
    first = newest(tmp_path)
    assert whole.exit_code == 3
    resumed = safelight("run", "--resume", first.run_id, "--set", 'backend={name="fake"}')
    assert resumed.exit_code in (0, 3), resumed.output
    second = newest(tmp_path)
    assert len(second.variant_configs) == second.randomizer_plan_size == 16
    order = [
        (c["txt2img"]["eta"], c["txt2img"]["cfg_scale"], c["txt2img"]["steps"])
        for c in second.variant_configs
        if "green" in c["txt2img"]["prompt"]
    ]
    assert order == [(e, g, s) for e in (0, 1) for g in (3, 7) for s in (2, 4)]


def test_a_config_of_another_plan_is_refused(safelight: Safelight, tmp_path: Path) -> None:
    """Half of one plan and half of another would be neither."""
    safelight("run", "c.toml", "--set", 'backend={name="fake", fail_on=["red"]}')
    run_id = newest(tmp_path).run_id
    other = safelight("run", "c.toml", "--set", "txt2img.steps=9", "--resume", run_id)
    assert other.exit_code == 1
    assert "is not the one of run" in other.output


def test_a_config_with_a_secret_is_in_no_journal(safelight: Safelight, tmp_path: Path) -> None:
    """Then it must be given again."""
    (tmp_path / "w.toml").write_text(CONFIG + '[metadata]\napi_key = "hunter2"')
    assert safelight("run", "w.toml").exit_code == 0
    record = newest(tmp_path)
    found = [path for path in tmp_path.rglob("*.json*") if b"hunter2" in path.read_bytes()]
    assert not found
    going_on = safelight("run", "--resume", record.run_id)
    assert (going_on.exit_code, "does not hold its config" in going_on.output) == (2, True)


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_was_stopped_goes_on_where_it_was(
    safelight: Safelight, tmp_path: Path, how: signal.Signals
) -> None:
    """Killed or cancelled: what was finished is not drawn again, and nothing is missing."""
    slow = 'backend={name="fake", seconds_per_step=0.02}'
    many = "randomizer.seeds_per_variant=10"
    process = subprocess.Popen(
        [sys.executable, "-m", "safelight", "run", "c.toml", "--set", slow, "--set", many],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1])},
    )
    until = time.monotonic() + 30
    while len(files(tmp_path)) < 5 and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(how)
    process.wait(timeout=30)
    result = safelight("run", "--resume", "last", "--json")
    assert result.exit_code == 0, result.output
    told: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    assert told["status"] == "completed"
    assert len(told["images"]) == 40
    assert told["reused"] >= 4
    record = newest(tmp_path)
    interrupted = next(read_records(tmp_path / "safelight" / "records"))
    assert interrupted.status == ("interrupted" if how == signal.SIGKILL else "cancelled")
    assert record.template["continues"] == interrupted.run_id
    assert origins(record).count(interrupted.run_id) == told["reused"]
    seeds = [(c["txt2img"]["prompt"], c["txt2img"]["cfg_scale"], c["txt2img"]["seed"])
             for c in record.variant_configs]  # fmt: skip
    assert len(set(seeds)) == 40
