"""Nothing is drawn twice: runs go on, failures are retried, and what is there is reused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import safelight as package
from command_line import Safelight, call
from safelight.application.config_text import toml_text
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


@pytest.fixture
def safelight(command: Safelight, tmp_path: Path) -> Safelight:
    (tmp_path / "c.toml").write_text(CONFIG, "utf-8")
    return command


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


def test_a_finished_run_whose_pictures_are_gone_goes_on(
    safelight: Safelight, tmp_path: Path
) -> None:
    """It says that nothing is missing only when nothing is."""
    safelight("run", "c.toml")
    gone, torn, *_ = sorted((tmp_path / "safelight").rglob("0*.png"))
    gone.unlink()
    torn.write_bytes(b"")
    again = safelight("run", "--resume", "last")
    assert "completed: 4 pictures" in again.output
    assert origins(newest(tmp_path)).count(None) == 2
    assert "nothing is missing" in safelight("run", "--resume", "last").stdout


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


WILD = """
backend = "fake"
[txt2img]
prompt = "a __beast__"
steps = 2
seed = 7
width = 64
height = 64
[randomizer]
mode = "fanout"
wildcards_dir = "wild"
[randomizer.sweep]
"txt2img.cfg_scale" = [3, 7]
"""


def without_its_plan(folder: Path) -> None:
    """Make the newest record one of those from before records held their plan."""
    path = max((folder / "safelight" / "records").iterdir())
    record = LearningRecord.from_json(path.read_bytes())
    path.write_bytes(dataclasses.replace(record, plan={}).to_document())


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("txt2img.steps=9", "txt2img.steps is 9, and was 2"),
        (
            'randomizer.sweep."txt2img.cfg_scale"=[3, 9]',
            "txt2img.cfg_scale is swept over 3, 9, and was over 3, 7",
        ),
        ("randomizer.seeds_per_variant=2", "randomizer.seeds_per_variant is 2, and was 1"),
        ("wildcard", "wildcard beast has other content"),
    ],
)
def test_a_config_of_another_plan_is_refused(
    safelight: Safelight, tmp_path: Path, change: str, message: str, old: bool
) -> None:
    """Half of one plan and half of another would be neither; what differs is told."""
    (tmp_path / "wild").mkdir()
    (tmp_path / "wild" / "beast.txt").write_text("cat\nhen\n")
    (tmp_path / "c.toml").write_text(WILD)
    safelight("run", "c.toml", "--set", 'backend={name="fake", fail_on=["hen"]}')
    run_id = newest(tmp_path).run_id
    if old:
        without_its_plan(tmp_path)
    if change == "wildcard":
        (tmp_path / "wild" / "beast.txt").write_text("cat\nCOW\n")
    overrides = () if change == "wildcard" else ("--set", change)
    other = safelight("run", "c.toml", *overrides, "--resume", run_id)
    assert other.exit_code == 1
    assert f"the config is not that of run {run_id}:" in other.output
    if not old or ("swept" not in message and "seeds" not in message):
        assert message in other.output
    assert newest(tmp_path).run_id == run_id


ROWS = """
name = "rows"
backend = { name = "fake", fail_on = ["hen"] }
[txt2img]
width = 64
height = 64
seed = 7
[randomizer.prompts]
file = "p.csv"
"""


def test_a_run_goes_on_with_the_same_file_of_prompts_only(
    safelight: Safelight, tmp_path: Path
) -> None:
    """Its rows are the plan; one more in front, and half of another plan would be drawn."""
    rows = "prompt,steps\ncat,2\nhen,3\n"
    (tmp_path / "p.csv").write_text(rows)
    (tmp_path / "c.toml").write_text(ROWS)
    safelight("run", "c.toml")
    first = newest(tmp_path)
    digest = hashlib.sha256(rows.encode()).hexdigest()
    assert first.plan["prompt_files"] == {"p.csv": {"prompts": 2, "sha256": digest}}
    (tmp_path / "p.csv").write_text(rows.replace("hen", "owl"))
    for words in (("c.toml",), ()):
        other = safelight("run", *words, "--resume", first.run_id)
        assert other.exit_code == 1
        assert "the file of prompts p.csv has other content" in other.output
    (tmp_path / "p.csv").write_text(rows)
    on = safelight("run", "--resume", first.run_id, "--set", 'backend.fail_on=["fox"]')
    assert on.exit_code == 0, on.output
    assert origins(newest(tmp_path)) == [first.run_id, None]
    drawn = [config["txt2img"] for config in newest(tmp_path).variant_configs]
    assert [(knobs["prompt"], knobs["steps"]) for knobs in drawn] == [("cat", 2), ("hen", 3)]


def test_a_picture_that_the_plan_starts_from_may_not_change(
    safelight: Safelight, tmp_path: Path
) -> None:
    """Its name is the same and its content is not."""
    Image.new("RGB", (64, 64), "red").save(tmp_path / "in.png")
    (tmp_path / "c.toml").write_text(
        'backend = "fake"\n[img2img]\nprompt = "{a|b}"\ninit_image = "in.png"\nsteps = 1\n'
        '[randomizer]\nmode = "fanout"\n'
    )
    safelight("run", "c.toml", "--set", 'backend={name="fake", fail_on=["b"]}')
    Image.new("RGB", (64, 64), "blue").save(tmp_path / "in.png")
    other = safelight("run", "c.toml", "--resume", "last")
    assert other.exit_code == 1
    assert "the picture of img2img.init_image has other content" in other.output


def test_a_run_that_was_resumed_can_be_resumed_again(safelight: Safelight, tmp_path: Path) -> None:
    """As often as it dies; and one that lacks nothing says so."""
    refuse = ("--set", 'backend={name="fake", fail_on=["red"]}')
    assert safelight("run", "c.toml", *refuse).exit_code == 3
    first = newest(tmp_path)
    for _ in range(3):
        again = safelight("run", "--resume", "last")
        assert "partial: 2 pictures" in again.output
        record = newest(tmp_path)
        assert (record.plan_id, record.status) == (first.plan_id, "partial")
        assert "go on     safelight run --resume" in again.output
    finished = safelight("run", "c.toml", "--resume", "last")
    assert "completed: 4 pictures" in finished.output
    assert "nothing is missing" in safelight("run", "--resume", "last").output


def test_a_plan_with_holes_goes_on(safelight: Safelight, tmp_path: Path) -> None:
    """Sub-sweeps and what conditions leave out are the plan's: records say it, and runs keep it."""
    holes = """[[randomizer.sub_sweeps]]
"txt2img.eta" = [0, 1]
[[randomizer.sub_sweeps]]
"txt2img.clip_skip" = [2]
[[randomizer.exclude]]
where = "{1} = 'red' and cfg_scale = 7"
"""
    (tmp_path / "c.toml").write_text(CONFIG + holes)
    shown = safelight("plan", "c.toml").stdout
    assert "9 variants" in shown
    assert "3 combinations left out" in shown
    assert json.loads(safelight("plan", "c.toml", "--json").stdout)["left_out"] == 3
    assert safelight(
        "run", "c.toml", "--set", 'backend={name="fake", fail_on=["green"]}'
    ).exit_code == 3  # fmt: skip
    first = newest(tmp_path)
    assert (first.plan["left_out"], first.plan["full_size"]) == (3, 9)
    assert first.plan["randomizer"]["exclude"] == [{"where": "{1} = 'red' and cfg_scale = 7"}]
    assert "3 left out by conditions" in " ".join(safelight("show", "last").stdout.split())
    other = 'randomizer.exclude=[{where="eta = 1"}]'
    refused = safelight("run", "c.toml", "--set", other, "--resume", "last")
    assert "randomizer.exclude is eta = 1, and was {1} = 'red' and" in refused.output
    again = safelight("run", "--resume", "last", "--set", "backend.fail_on=[]")
    assert "completed: 9 pictures" in again.output
    record = newest(tmp_path)
    assert origins(record).count(first.run_id) == 3
    drawn = [(c["txt2img"]["cfg_scale"], c["txt2img"].get("eta"), c["txt2img"].get("clip_skip"))
             for c in record.variant_configs]  # fmt: skip
    assert drawn == [
        (cfg, eta, skip)
        for cfg in (3, 3, 7) for eta, skip in ((0, None), (1, None), (None, 2))
    ]  # fmt: skip


def test_a_date_in_the_metadata_hinders_nobody(safelight: Safelight, tmp_path: Path) -> None:
    """TOML has dates, times and both; a journal has their text."""
    dates = "[metadata]\nmade = 2026-01-01\nat = 07:32:00\nboth = 1979-05-27T07:32:00Z\n"
    (tmp_path / "c.toml").write_text(CONFIG + dates)
    safelight("run", "c.toml", "--set", 'backend={name="fake", fail_on=["red"]}')
    first = newest(tmp_path)
    again = safelight("run", "--resume", "last")
    assert "partial" in again.output, again.output
    assert newest(tmp_path).metadata == first.metadata


def test_a_plan_is_carried_out_by_one_at_a_time(safelight: Safelight, tmp_path: Path) -> None:
    """The second is refused with who the first is, whether it names its run or its plan."""
    slow = 'backend={name="fake", seconds_per_step=0.05}'
    many = "randomizer.seeds_per_variant=10"
    environment = {**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1])}

    def begun(*arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "safelight", "run", *arguments],
            stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment,
        )  # fmt: skip
        before = len(files(tmp_path))
        while len(files(tmp_path)) < before + 3:
            assert process.poll() is None
            time.sleep(0.01)
        return process

    first = begun("c.toml", "--set", slow, "--set", many)
    try:
        (run_id,) = (p.name for p in (tmp_path / "safelight" / "running").iterdir()
                     if not p.name.startswith("."))  # fmt: skip
        for name in (run_id, run_id[:6], "last"):
            second = safelight("run", "--resume", name)
            assert second.exit_code == 1
            assert f"run {run_id} goes on: process {first.pid} on" in second.output
    finally:
        first.kill()
        first.wait()
    resumed = begun("--resume", "last", "--set", slow)
    try:
        third = safelight("run", "--resume", run_id)
        assert third.exit_code == 1
        assert f"this plan goes on already: process {resumed.pid} on" in third.output
    finally:
        resumed.kill()
        resumed.wait()
    assert "completed: 40 pictures" in safelight("run", "--resume", "last").output
    assert not list((tmp_path / "safelight" / "running").iterdir())


TWINS = """
backend = "fake"
[txt2img]
prompt = "a cat and a dog"
steps = 1
seed = 7
width = 64
height = 64
[randomizer]
mode = "fanout"
[randomizer.prompt_sr]
rules = ["cat => cat | dog | bird", "dog => dog | cat | bird"]
"""


def test_equal_variants_of_a_plan_are_drawn_once(safelight: Safelight, tmp_path: Path) -> None:
    """Each place has its picture, each picture is one file, and is counted once."""
    (tmp_path / "t.toml").write_text(TWINS)
    answer = json.loads(safelight("run", "t.toml", "--json").stdout.splitlines()[-1])
    record = newest(tmp_path)
    prompts = [config["txt2img"]["prompt"] for config in record.variant_configs]
    assert len(prompts) == record.randomizer_plan_size > len(set(prompts))
    assert len(files(tmp_path)) == len(set(prompts))
    assert len(answer["images"]) == len(prompts)
    by_prompt = {prompts[o.variant]: o.sha256 for o in record.outputs}
    assert all(by_prompt[prompts[o.variant]] == o.sha256 for o in record.outputs)
    twins = len(prompts) - len(set(prompts))
    assert origins(record).count(record.run_id) == twins
    assert f"{twins} variants are equal to others of the plan" in " ".join(answer["warnings"])
    rows = json.loads(safelight("find", "--json").stdout)["rows"]
    assert sorted(row["prompt"] for row in rows) == sorted(set(prompts))
    assert json.loads(safelight("stats", "--json").stdout)["pictures"] == len(set(prompts))
    assert safelight("archive", "pack").exit_code == 0
    assert json.loads(safelight("stats", "--json").stdout)["pictures"] == len(set(prompts))
    again = json.loads(safelight("run", "t.toml", "--json").stdout.splitlines()[-1])
    assert again["reused"] == len(prompts)


def test_twins_of_one_that_failed_are_tried_themselves(
    safelight: Safelight, tmp_path: Path
) -> None:
    """Nothing is left out because another one failed."""
    (tmp_path / "t.toml").write_text(TWINS)
    refuse = 'backend={name="fake", fail_on=["a cat and a cat"]}'
    answer = json.loads(
        safelight("run", "t.toml", "--json", "--set", refuse).stdout.splitlines()[-1]
    )
    record = newest(tmp_path)
    assert answer["status"] == "partial"
    assert len(answer["failures"]) > 1
    assert len(answer["images"]) + len(answer["failures"]) == record.randomizer_plan_size


def test_a_large_plan_is_drawn_when_somebody_says_so(safelight: Safelight, tmp_path: Path) -> None:
    """A typo would fill the disk; how many there are is told."""
    many = ("--set", "randomizer.seeds_per_variant=5000")
    for command in (("run",), ("learn", "--knob", "steps=1,2", "--seeds", "6000")):
        asked = safelight(command[0], "c.toml", *command[1:], *many)
        assert asked.exit_code == 2
        assert "variants, which is more than 10,000: say --yes" in asked.output
        assert not files(tmp_path)
    assert "20,000 variants" in safelight("plan", "c.toml", *many).output
    assert "20,000 variants" in safelight("run", "c.toml", "--dry-run", *many).output


def test_a_config_with_a_secret_is_in_no_journal(safelight: Safelight, tmp_path: Path) -> None:
    """Then it must be given again."""
    (tmp_path / "w.toml").write_text(CONFIG + '[metadata]\napi_key = "hunter2"')
    assert safelight("run", "w.toml").exit_code == 0
    record = newest(tmp_path)
    leaks = [path for path in tmp_path.rglob("*.json*") if b"hunter2" in path.read_bytes()]
    assert not leaks
    going_on = safelight("run", "--resume", record.run_id)
    assert (going_on.exit_code, "does not hold its config" in going_on.output) == (2, True)


def test_a_table_of_tokens_is_no_secret(safelight: Safelight, tmp_path: Path) -> None:
    """The journal holds such a config, so the run goes on without its file."""
    (tmp_path / "w.toml").write_text(
        'backend = "fake"\n[txt2img]\nprompt = "a X"\nwidth = 64\nheight = 64\nsteps = 1\n'
        '[randomizer.wildcards]\ntokens = [{ token = "X", values = ["cat", "dog"] }]'
    )
    assert safelight("run", "w.toml").exit_code == 0
    assert "nothing is missing" in safelight("run", "--resume", "last").stdout


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
    until = time.monotonic() + 60
    while len(files(tmp_path)) < 5 and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(how)
    process.wait(timeout=120)
    result = safelight("run", "--resume", "last", "--json")
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    assert answer["status"] == "completed"
    assert len(answer["images"]) == 40
    assert answer["reused"] >= 4
    record = newest(tmp_path)
    interrupted = next(read_records(tmp_path / "safelight" / "records"))
    assert interrupted.status == ("interrupted" if how == signal.SIGKILL else "cancelled")
    assert record.template["continues"] == interrupted.run_id
    assert origins(record).count(interrupted.run_id) == answer["reused"]
    seeds = [(c["txt2img"]["prompt"], c["txt2img"]["cfg_scale"], c["txt2img"]["seed"])
             for c in record.variant_configs]  # fmt: skip
    assert len(set(seeds)) == 40


def test_what_is_put_over_a_run_that_goes_on_is_not_dropped(
    safelight: Safelight, tmp_path: Path
) -> None:
    """The engine may be told otherwise; another plan is refused, as it is with the file."""
    safelight("run", "c.toml", "--set", 'backend={name="fake", fail_on=["red"]}')
    other = safelight("run", "--resume", "last", "--set", "txt2img.steps=9")
    assert other.exit_code == 1
    assert "the config is not that of run" in other.output
    resumed = safelight("run", "--resume", "last", "--set", "backend.fail_on=[]")
    assert "completed: 4 pictures" in resumed.output


@pytest.mark.parametrize("form", ["toml", "json"])
def test_a_config_from_standard_input_runs_and_goes_on(
    safelight: Safelight, tmp_path: Path, form: str
) -> None:
    """Its names start in the current folder, and the run needs it no second time."""
    Image.new("RGB", (64, 64), "red").save(tmp_path / "in.png")
    config = {
        "backend": {"name": "fake", "fail_on": ["b"]},
        "img2img": {"prompt": ["a", "b"], "steps": 1, "init_image": "in.png"},
        "randomizer": {},
    }
    text = json.dumps(config) if form == "json" else toml_text(config)
    planned = call("plan", "-", typed=text)
    assert "2 variants through img2img" in planned.output, planned.output
    drawn = call("run", "-", typed=text)
    assert drawn.exit_code == 3, drawn.output
    assert "go on     safelight run --resume" in drawn.output
    resumed = call("run", "--resume", "last", "--set", "backend.fail_on=[]")
    assert "completed: 2 pictures" in resumed.output, resumed.output
    again = call("run", "-", "--resume", "last", typed=text)
    assert "nothing is missing" in again.output, again.output


def test_a_config_with_a_secret_from_standard_input_is_asked_for_by_its_name(
    safelight: Safelight,
) -> None:
    """What is said of going on can be typed as it is."""
    text = 'backend = {name = "fake", fail_on = ["b"]}\n[txt2img]\nprompt = ["a", "b"]\n'
    text += 'steps = 1\nextra = {api_key = "abc"}\n[randomizer]\n'
    drawn = call("run", "-", typed=text)
    assert "go on     safelight run - --resume" in drawn.output, drawn.output


def test_standard_input_holds_one_config(safelight: Safelight) -> None:
    """To read it twice would find nothing; its faults are told under its name."""
    assert "give - once" in call("run", "-", "-", typed="").output
    assert "standard input: the file is empty" in call("plan", "-", typed="").output
    faulty = call("plan", "-", typed="[txt2img]\nsteps = 0")
    assert faulty.exit_code == 2
    assert "standard input: txt2img.steps: must be" in faulty.output


def test_show_tells_first_what_differs_and_where_every_picture_is(
    safelight: Safelight, tmp_path: Path
) -> None:
    """The negative prompt by its name, and all folders where a run took pictures over."""
    safelight("run", "c.toml")
    wider = 'randomizer.sweep."txt2img.cfg_scale"=[3, 7, 9]'
    negative = ("--set", "txt2img.negative_prompt={low|bad}")
    safelight("run", "c.toml", "--set", wider)
    shown = safelight("show").output
    folders = [path.name for path in sorted((tmp_path / "safelight" / "images").glob("*/*"))]
    assert len(folders) == 2
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    pictures = next(n for n, line in enumerate(lines) if line.startswith("pictures "))
    assert {lines[pictures + n].rpartition("/")[2] for n in (0, 1)} == set(folders)
    assert any(line.startswith("0 cfg 3 · red txt2img 64x64 7 ") for line in lines), shown
    assert all(f"{name}/" in "".join(shown.split()) for name in folders), shown
    safelight("run", "c.toml", *negative)
    words = " ".join(safelight("show").output.split())
    assert "prompt a {red|green} lighthouse negative {low|bad}" in words


def test_show_says_nothing_of_steps_where_nothing_was_drawn(safelight: Safelight) -> None:
    """A nought is no number of steps."""
    safelight("run", "c.toml", "--set", 'backend={name="fake", fail_on=["a"]}')
    assert "steps, cfg" not in safelight("show").output
