"""From the command line: plans that find out, what to rate next, and suggestions."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from application.test_epochs import kohya
from command_line import Safelight
from safelight.application.config_text import toml_text
from safelight.application.learning_plans import FEWEST_PROMPTS
from safelight.archive import Archive
from safelight.config import PipelineConfig
from safelight.learning.evidence import paired_comparisons
from safelight.learning.ratings import Identity, RatingEvent

CONFIG = """
backend = "fake"
[txt2img]
prompt = ["a fox {at dawn|at dusk}", "a boat"]
steps = 2
seed = 7
width = 64
height = 64
[randomizer]
"""
KNOBS = ("--knob", "steps=1,2,3", "--knob", "sampler=Euler,Heun", "--knob", "cfg_scale=3,7")


@pytest.fixture
def safelight(command: Safelight, tmp_path: Path) -> Safelight:
    (tmp_path / "c.toml").write_text(CONFIG, "utf-8")
    return command


def rate_everything(archive: Path, seed: int = 1) -> int:
    """Heun is liked, and more steps; one person, noisy stars."""
    rng = random.Random(seed)
    opened = Archive(archive)
    columns = ["sha256", "pixel_sha256", "steps", "sampler", "cfg_scale"]
    rows = opened.query(columns=columns, sort="timestamp", limit=None).rows
    events = []
    for sha256, pixel, steps, sampler, _ in rows:
        score = 1.2 + 0.5 * steps + 1.3 * (sampler == "Heun") + rng.gauss(0, 0.4)
        picture = Identity(sha256=sha256, pixel_sha256=pixel)
        stars = min(5, max(1, round(score)))
        events.append(RatingEvent.now("stars", picture, value=stars, rater="ann"))
    with opened.ratings() as store:
        store.add(*events)
    return len(events)


# -- learn ---------------------------------------------------------------------------------


def test_a_plan_is_shown_with_its_cost_and_nothing_is_drawn(safelight: Safelight) -> None:
    """Three prompts of the pack, drawn out, are shared by all."""
    shown = safelight("learn", "c.toml", *KNOBS, "--dry-run")
    assert shown.exit_code == 0, shown.output
    assert "12 combinations" in shown.stdout
    assert "72 pictures; how long they take is not known" in shown.stdout
    assert not Path("safelight").exists()
    page = json.loads(safelight("learn", "c.toml", *KNOBS, "--dry-run", "--json").stdout)
    assert page["prompts"] == ["a fox at dawn", "a fox at dusk", "a boat"]
    assert page["seeds"] == [7, 8]


def test_six_prompts_are_planned_and_fewer_are_told(safelight: Safelight) -> None:
    """From six on an effect is one of prompts in general; as many pictures as with two seeds."""
    assert FEWEST_PROMPTS == paired_comparisons.FEWEST_PROMPTS
    six = CONFIG.replace("{at dawn|at dusk}", "at {dawn|dusk|noon|night|sea|home|work|rest}")
    Path("six.toml").write_text(six, "utf-8")
    plan = ("learn", "six.toml", "--knob", "steps=1,2", "--dry-run")
    page = json.loads(safelight(*plan, "--json").stdout)
    assert (len(page["prompts"]), len(page["seeds"]), page["pictures"]) == (6, 1, 12)
    assert page["scope"] == ""
    assert "fewer than 6" not in safelight(*plan).stdout
    page = json.loads(safelight(*plan, "--prompts", "4", "--json").stdout)
    assert (len(page["prompts"]), len(page["seeds"]), page["pictures"]) == (4, 2, 16)
    told = "with fewer than 6 prompts the answer is for these 4 prompts"
    assert page["scope"].startswith(told)
    assert told in safelight(*plan, "--prompts", "4").stdout
    assert safelight(*plan[:-1], "--prompts", "4", "--write", "p.toml").exit_code == 0
    assert f"# {told}" in Path("p.toml").read_text("utf-8")
    assert "for this prompt" in safelight(*plan, "--prompts", "1").stdout
    assert len(json.loads(safelight(*plan, "--seeds", "3", "--json").stdout)["seeds"]) == 3


def test_what_was_written_draws_what_was_planned(safelight: Safelight) -> None:
    """The file is a config like any other; the next cost rests on its timings."""
    arguments = (
        "learn",
        "c.toml",
        *KNOBS,
        "--design",
        "factorial",
        "--runs",
        "6",
        "--prompts",
        "1",
    )
    assert safelight(*arguments, "--write", "plan.toml").exit_code == 0
    assert "12 variants" in safelight("plan", "plan.toml").stdout
    assert safelight("run", "plan.toml").exit_code == 0
    output = safelight(*arguments, "--dry-run").stdout
    assert "from 12 timed pictures" in output or "from 6 timed pictures" in output
    again = safelight(*arguments, "--write", "plan.toml")
    assert again.exit_code == 1
    assert "is there already" in again.output


def test_a_plan_is_a_run_and_tells_what_each_combination_came_to(safelight: Safelight) -> None:
    """Asked for again, nothing is drawn again; more of it draws what is new."""
    for values, drawn in (("1,2", 6), ("1,2", 6), ("1,2,3", 9)):
        done = safelight("learn", "c.toml", "--knob", f"steps={values}", "--seeds", "1", "--json")
        assert done.exit_code == 0, done.output
        page = json.loads(done.stdout)
        assert ",".join(str(entry["setting"]["txt2img.steps"]) for entry in page) == values
        assert [entry["pictures"] for entry in page] == [3] * len(page)
        assert [entry["error"] for entry in page] == [None] * len(page)
        assert len({run_id for entry in page for run_id in entry["run_ids"]}) == 1
        assert len(json.loads(safelight("find", "--json").stdout)["rows"]) == drawn
    assert len(json.loads(safelight("find", "--view", "runs", "--json").stdout)["rows"]) == 3


def test_what_fails_in_a_plan_is_told_with_its_reason_and_tried_again(safelight: Safelight) -> None:
    """Some pictures of a combination, or all of everything."""
    plan = ("learn", "c.toml", "--knob", "steps=1,2", "--seeds", "1")
    option = ("--set", 'backend.name="fake"', "--set")
    refused = safelight(*plan, *option, 'backend.fail_on=["boat"]')
    assert refused.exit_code == 3
    assert "steps=1: 1 failed: #4 in txt2img: " in refused.output
    assert "4 pictures of 2 combinations" in refused.output
    page = json.loads(safelight(*plan, *option, 'backend.fail_on=["boat"]', "--json").stdout)
    assert [entry["pictures"] for entry in page] == [2, 2]
    assert all("txt2img" in entry["error"] for entry in page)
    assert safelight("run", "--retry-failed", "last").exit_code == 3
    silent = safelight(
        *plan, *option, 'backend.unavailable_on=["fox", "boat"]', "--retries", "0", "--again"
    )
    assert silent.exit_code == 1
    assert "nothing was drawn, so there is nothing to rate" in silent.output
    assert "rate them with" not in silent.output
    assert safelight(*plan, "--server", "http://127.0.0.1:9").exit_code != 0, "it takes servers"


def test_what_the_config_sweeps_is_crossed_with_the_knobs(safelight: Safelight) -> None:
    """Or refused; nothing of it is left out without a word."""
    swept = CONFIG + 'sweep = { "txt2img.cfg_scale" = [1, 2] }\n'
    Path("c.toml").write_text(swept)
    plan = ("learn", "c.toml", "--knob", "steps=1,2", "--seeds", "1", "--prompts", "1")
    page = json.loads(safelight(*plan, "--json").stdout)
    assert [tuple(entry["setting"].values()) for entry in page] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    rows = json.loads(safelight("find", "--json").stdout)["rows"]
    assert sorted((row["steps"], row["cfg_scale"]) for row in rows) == [
        (1, 1), (1, 2), (2, 1), (2, 2),
    ]  # fmt: skip
    Path("c.toml").write_text(CONFIG + 'sweep = { "txt2img.extra.tiling" = ["x", "y"] }\n')
    page = json.loads(safelight(*plan[:2], "--knob", "lora.ink=0,0.5", *plan[4:], "--json").stdout)
    assert [entry["setting"] for entry in page] == [
        {"txt2img.lora.ink": weight, "txt2img.extra.tiling": tiling}
        for weight in (0, 0.5) for tiling in "xy"
    ]  # fmt: skip
    assert all(entry["pictures"] == 1 for entry in page)
    result = safelight("find", "lora.ink = 0.5 and extra.tiling = 'y'", "--json")
    assert len(json.loads(result.stdout)["rows"]) == 1
    Path("c.toml").write_text(swept)
    twice = safelight(*plan, "--knob", "cfg_scale=3,4")
    assert (twice.exit_code, "is swept by the config, too" in twice.output) == (2, True)
    for source in (
        "settings = [{ txt2img.cfg_scale = 1 }]",
        "sub_sweeps = [{ txt2img.eta = [1] }]",
    ):
        Path("c.toml").write_text(f"{CONFIG}{source}\n")
        together = safelight(*plan)
        assert (together.exit_code, "cannot be crossed" in together.output) == (2, True)
    Path("c.toml").write_text(f"{swept}exclude = [{{ where = 'cfg_scale = 2' }}]\n")
    left_out = safelight(*plan)
    assert (left_out.exit_code, "leave it out" in left_out.output) == (2, True)


def test_prompts_of_a_file_are_shared_and_knobs_of_its_rows_are_refused(
    safelight: Safelight, tmp_path: Path
) -> None:
    """They would be lost: everything that is compared shares all but the knobs."""
    (tmp_path / "p.csv").write_text("prompt,steps\na cat,\na dog,\n")
    (tmp_path / "f.toml").write_text(
        'backend = "fake"\n[txt2img]\nwidth = 64\nheight = 64\nsteps = 1\nseed = 1\n'
        '[randomizer.prompts]\nfile = "p.csv"\n'
    )
    words = ("learn", "f.toml", "--knob", "cfg_scale=3,7", "--prompts", "2")
    shown = safelight(*words, "--dry-run", "--json")
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["prompts"] == ["a cat", "a dog"]
    (tmp_path / "p.csv").write_text("prompt,steps\na cat,5\n")
    refused = safelight(*words, "--dry-run")
    assert refused.exit_code == 2
    assert "the rows of p.csv set txt2img.steps, which cannot be crossed" in refused.output


def test_a_swept_lora_leaves_the_prompts_as_many_as_they_are(safelight: Safelight) -> None:
    """Its weights are varied beside them, also in what img2img draws."""
    redrawn = CONFIG.replace("[randomizer]", '[img2img]\nprompt = "more"\n[randomizer]')
    loras = 'sweep = { "lora.ink" = [0, 0.5], "img2img.lora.dry" = "0-1" }\nmax_variants = 3\n'
    Path("c.toml").write_text(redrawn + loras, "utf-8")
    plan = ("learn", "c.toml", "--knob", "steps=1,2", "--seeds", "1", "--json")
    page = json.loads(safelight(*plan, "--dry-run").stdout)
    assert page["prompts"] == ["a fox at dawn", "a fox at dusk", "a boat"]
    assert page["runs"] == 8
    done = safelight(*plan)
    assert done.exit_code == 0, done.output
    found = safelight("find", "stage = 'img2img' and steps = 2", "--json").stdout
    rows = json.loads(found)["rows"]
    assert sorted(row["prompt"] for row in rows) == 6 * ["more"] + 6 * ["more <lora:dry:1>"]


def test_a_lora_of_img2img_is_varied_in_the_prompt_that_it_inherits(safelight: Safelight) -> None:
    Path("c.toml").write_text(CONFIG.replace("[randomizer]", "[img2img]\n[randomizer]"), "utf-8")
    plan = ("learn", "c.toml", "--knob", "img2img.lora.ink=0,0.5", "--prompts", "1")
    assert safelight(*plan, "--seeds", "1").exit_code == 0
    rows = json.loads(safelight("find", "stage = 'img2img'", "--json").stdout)["rows"]
    assert sorted(row["prompt"] for row in rows) == [
        "a fox at dawn", "a fox at dawn <lora:ink:0.5>",
    ]  # fmt: skip


def test_files_of_a_training_are_drawn_one_at_a_time(safelight: Safelight, tmp_path: Path) -> None:
    """With the prompts of its samples, and the seed of all of them; then they are one setting."""
    for name in ("ink-000002.safetensors", "ink-000010.safetensors", "ink.safetensors", "ink.txt"):
        (tmp_path / "loras").mkdir(exist_ok=True)
        (tmp_path / "loras" / name).touch()
    plan = ("learn", "c.toml", "--epochs", "loras/ink*")
    shown = safelight(*plan, "--dry-run")
    assert shown.exit_code == 0, shown.output
    assert "3 LoRAs, one at a time (lora.ink-000002, lora.ink-000010, lora.ink)" in shown.stdout
    assert json.loads(safelight(*plan, "--dry-run", "--json").stdout)["prompts"][0].startswith("a ")
    kohya(tmp_path / "training", prompts=2, seed=42)
    assert safelight("epochs", "training").exit_code == 0
    page = json.loads(safelight(*plan, "--dry-run", "--json").stdout)
    assert page["prompts"] == ["a lighthouse, view 0", "a lighthouse, view 1"]
    assert page["seeds"] == [42, 43]
    assert [max(s, key=lambda path: s[path]) for s in page["combinations"]] == [
        f"txt2img.lora.{name}" for name in ("ink-000002", "ink-000010", "ink")
    ]
    done = safelight(*plan, "--prompt", "a barn", "--seeds", "1")
    assert done.exit_code == 0, done.output
    rows = json.loads(safelight("find", "status = 'completed'", "--json").stdout)["rows"]
    assert sorted((row["prompt"], row["seed"]) for row in rows) == [
        (f"a barn <lora:{name}:1>", 7) for name in ("ink-000002", "ink-000010", "ink")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--epochs", "loras/*"), "files of 2 trainings (ink, oil)"),
        (("--epochs", "loras/oil*"), "one file alone"),
        (("--epochs", "nowhere/*"), "no file of a LoRA is called 'nowhere/*'"),
        (("--epochs", "loras/ink*", "--set", "backend=bundled"), "bundled takes no LoRAs"),
        (("--epochs", "loras/ink*", "--set", "randomizer.sweep={'txt2img.steps'=[1,2]}"),
         "the config varies something itself"),
        (("--epochs", "loras/ink*", "--knob", "steps=1,2"), "or --epochs PATTERN alone"),
        (("--epochs", "loras/ink*", "--runs", "2"), "leave --design and --runs out"),
        (("--knob", "steps=1,2", "--prompt", "a"), "--prompt belongs to --epochs"),
        ((), "say what to vary"),
    ],
)  # fmt: skip
def test_epochs_that_cannot_be_drawn_are_refused_before(
    safelight: Safelight, tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    (tmp_path / "loras").mkdir()
    for name in ("ink-000002", "ink-000004", "oil"):
        (tmp_path / "loras" / f"{name}.safetensors").touch()
    refused = safelight("learn", "c.toml", "--dry-run", *words)
    assert refused.exit_code == 2
    assert told in " ".join(refused.output.split())


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        ("true,false,1", [True, False, 1]),
        ("1,2.5", [1, 2.5]),
        ("1-3", [1, 2, 3]),
        ("1e-3,a, null", [0.001, "a", "null"]),
        ('"""true""",true', ["true", True]),
    ],
)
def test_what_only_the_engine_knows_gets_flags_and_numbers(
    safelight: Safelight, spec: str, values: list[object]
) -> None:
    """As a config would state them; a text that looks like one is quoted in quotes."""
    plan = ("learn", "c.toml", "--knob", f"extra.flag={spec}", "--seeds", "1", "--prompts", "1")
    page = json.loads(safelight(*plan, "--dry-run", "--json", "--write", "p.toml").stdout)
    assert [repr(each["txt2img.extra.flag"]) for each in page["combinations"]] == [
        repr(value) for value in values
    ]
    planned = json.loads(safelight("plan", "p.toml", "--json").stdout)["variants"]
    drawn = [variant["config"]["txt2img"]["extra"]["flag"] for variant in planned]
    assert list(map(repr, drawn)) == list(map(repr, values))


def test_lists_of_an_engine_and_flags_beside_numbers_are_told_apart(safelight: Safelight) -> None:
    """Each combination has pictures of its own."""
    sweep = 'sweep = { "txt2img.extra.a" = [[1, 2], [3]], "txt2img.extra.b" = [true, 1] }\n'
    Path("c.toml").write_text(CONFIG + sweep, "utf-8")
    plan = ("learn", "c.toml", "--knob", "steps=1", "--seeds", "1", "--prompts", "1", "--json")
    done = safelight(*plan)
    assert done.exit_code == 0, done.output
    page = json.loads(done.stdout)
    assert [tuple(entry["setting"].values()) for entry in page] == [
        (1, [1, 2], True), (1, [1, 2], 1), (1, [3], True), (1, [3], 1),
    ]  # fmt: skip
    assert [entry["pictures"] for entry in page] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('sweep = { "txt2img.seed" = [1, 2, 3] }', "shares its seeds"),
        ('sweep = { "txt2img.negative_prompt" = ["{x|y}", "z"] }', "over templates"),
    ],
)
def test_what_cannot_be_shared_by_all_is_refused(
    safelight: Safelight, more: str, message: str
) -> None:
    """Nothing that the config draws is left out without a word."""
    Path("c.toml").write_text(CONFIG + more, "utf-8")
    done = safelight("learn", "c.toml", "--knob", "steps=1,2", "--dry-run")
    assert (done.exit_code, message in done.output) == (2, True), done.output


def test_the_texts_beside_the_prompt_are_drawn_not_sent_as_templates(
    safelight: Safelight,
) -> None:
    """Where there is one drawing of them; several are refused."""
    once = CONFIG.replace("[randomizer]", 'negative_prompt = "{bad} hands"\n[randomizer]')
    Path("c.toml").write_text(once, "utf-8")
    assert safelight("learn", "c.toml", "--knob", "steps=1,2", "--seeds", "1").exit_code == 0
    rows = json.loads(safelight("find", "--json").stdout)["rows"]
    assert {row["negative_prompt"] for row in rows} == {"bad hands"}
    Path("c.toml").write_text(once.replace("{bad}", "{bad|worse}"), "utf-8")
    refused = safelight("learn", "c.toml", "--knob", "steps=1,2")
    assert (refused.exit_code, "negative_prompt is drawn in 2 ways" in refused.output) == (2, True)


def test_a_plan_that_is_written_elsewhere_finds_its_pictures(
    safelight: Safelight, tmp_path: Path
) -> None:
    """What the config names from its own folder is named wholly."""
    from PIL import Image

    Image.new("RGB", (64, 64)).save("x.png")
    Path("i.toml").write_text(
        'backend = "fake"\n[img2img]\nprompt = "a"\ninit_image = "x.png"\nsteps = 2\n', "utf-8"
    )
    Path("sub").mkdir()
    plan = ("learn", "i.toml", "--knob", "steps=2,3", "--seeds", "1")
    assert safelight(*plan, "--write", "sub/plan.toml").exit_code == 0
    assert safelight("run", "sub/plan.toml").exit_code == 0
    assert safelight(*plan, "--write", "plan.toml").exit_code == 0
    assert 'init_image = "x.png"' in Path("plan.toml").read_text("utf-8")


def test_the_cost_of_a_plan_counts_pictures(safelight: Safelight) -> None:
    """Of batches; what is told is what is drawn."""
    plan = ("learn", "c.toml", "--knob", "steps=1,2", "--seeds", "3", "--prompts", "1")
    batch = ("--set", "txt2img.batch_size=3")
    assert "18 pictures" in safelight(*plan, *batch, "--dry-run").stdout
    assert safelight(*plan, *batch).exit_code == 0
    assert len(json.loads(safelight("find", "--json").stdout)["rows"]) == 18


@pytest.mark.parametrize(
    ("knob", "message"),
    [
        ("stesp=1", "did you mean 'steps'"),
        ("steps", "must look like steps=4,8,16"),
        ("steps=0", "must be an integer from 1"),
        ("scale=2,4", "belongs to upscale, which the config does not run"),
        ("seed=1,2", "seeds are shared"),
        ("steps=5,6 --knob txt2img.steps=7", "txt2img.steps is varied twice"),
        ("sampler=Eulre", "did you mean 'Euler'"),
        ("lora.ink=1 --knob txt2img.lora.ink=2", "txt2img.lora.ink is varied twice"),
        ("txt2mig.lora.ink=1", "did you mean 'txt2img'"),
        ("lora.ink=1,200", "every weight must be a number from -100 to 100, got 200"),
        ("lora.a:b=1", "must name a LoRA, as its tag in a prompt does, got 'a:b'"),
        ("extra.a=1 --knob extra.a.b=2", "lies in txt2img.extra.a, which is varied as a whole"),
        ("extra.a.b=2 --set txt2img.extra.a=1", "which must be a table for that, got 1"),
    ],
)
def test_a_knob_that_cannot_be_varied_is_told(
    safelight: Safelight, knob: str, message: str
) -> None:
    """Before anything is drawn, with exit status 2."""
    wrong = safelight("learn", "c.toml", "--knob", *knob.split(" "))
    assert wrong.exit_code == 2
    assert message in wrong.output
    assert not Path("safelight").exists()


# -- suggest -------------------------------------------------------------------------------


@pytest.fixture
def rated(safelight: Safelight) -> Safelight:
    arguments = ("learn", "c.toml", *KNOBS, "--seeds", "1", "--prompts", "2")
    assert safelight(*arguments).exit_code == 0
    assert rate_everything(Path("safelight")) == 24
    return safelight


def test_suggestions_come_with_their_evidence_and_can_be_run(rated: Safelight) -> None:
    """Each with n and an interval; the file passes plan and run, and nothing ran before."""
    result = rated("suggest", "--n", "4", "--write", "next.toml")
    assert result.exit_code == 0, result.output
    assert "24 rated pictures of 12 settings, rated by ann" in result.stdout
    assert result.stdout.count("95 %") == 5
    assert "nothing was drawn" in result.stdout
    assert len(json.loads(rated("find", "--json").stdout)["rows"]) == 24
    planned = rated("plan", "next.toml")
    assert planned.exit_code == 0
    assert "settings x 4" in planned.stdout
    assert rated("run", "next.toml").exit_code == 0
    page = json.loads(rated("suggest", "--n", "2", "--json").stdout)
    drawn = Archive(Path("safelight")).query(columns=["sha256", "path"], limit=None).rows
    for one in page["suggestions"]:
        assert 0 < len(one["nearest"]) <= 3
        assert {(near["sha256"], near["path"]) for near in one["nearest"]} <= set(drawn)
        assert all(near["differs"] for near in one["nearest"])
    nearest = page["suggestions"][0]["nearest"][0]
    assert f"nearest: {Path(nearest['path']).name} ({nearest['differs']})" in " ".join(
        rated("suggest", "--n", "2").stdout.split()
    )
    assert page["best"]["setting"]["sampler"] == "Heun"
    assert page["pictures"] == 24
    PipelineConfig.from_mapping(page["config"])


def test_a_preset_holds_its_evidence(rated: Safelight) -> None:
    """It is a config in the archive; what it rests on goes into the record of its runs."""
    kept = rated("suggest", "--preset", "good one")
    if kept.exit_code:  # 2 pictures per setting may not be enough, and then it says so
        assert "not enough evidence" in kept.output
        assert "more ratings would settle it" in kept.output
        return
    preset = Path("safelight/presets/good one.toml")
    assert rated("run", str(preset), "--set", "txt2img.prompt=a hill").exit_code == 0


def test_enough_ratings_make_a_preset(rated: Safelight) -> None:
    """With four pictures of every setting, all rated."""
    again = (
        "learn",
        "c.toml",
        *KNOBS,
        "--seeds",
        "3",
        "--prompts",
        "2",
        "--set",
        "txt2img.seed=50",
    )
    assert rated(*again).exit_code == 0
    rate_everything(Path("safelight"), 2)
    kept = rated("suggest", "--preset", "good", "--json")
    assert kept.exit_code == 0, kept.output
    page = json.loads(kept.stdout)
    assert page["setting"]["sampler"] == "Heun"
    assert page["gain_low"] > 0
    config = PipelineConfig.from_file(Path(page["preset"]))
    assert config.metadata["evidence"]["rated_pictures"] == page["rated_pictures"] == 96
    compared = {knob["knob"]: knob for knob in page["contenders"]}
    assert compared["sampler"] == {"knob": "sampler", "may_be_as_good": [], "worse": ["Euler"]}
    text = Path(page["preset"]).read_text("utf-8")
    assert "# sampler Heun (" in text
    assert " s): better than Euler (" in text
    told = rated("suggest", "--n", "1")
    assert "best known  " in told.stdout
    assert " s): better than Euler (" in told.stdout
    assert set(json.loads(rated("suggest", "--json").stdout)["seconds"]["sampler"]) == {
        "Euler", "Heun"
    }  # fmt: skip
    graph = json.loads(rated("show", page["preset"], "--as", "comfyui").stdout)
    assert (graph["3"]["inputs"]["sampler_name"], graph["3"]["inputs"]["cfg"]) == (
        "heun", config.stages["txt2img"]["cfg_scale"]
    )  # fmt: skip
    taken = rated("suggest", "--preset", "too", "--as", "infotext")
    assert "Sampler: Heun" in taken.stdout.splitlines()[-1]
    assert "kept as" in taken.stderr
    written = rated("suggest", "--preset", "three", "--as", "json", "--write", "three.json")
    assert written.stdout == ""
    assert PipelineConfig.from_file(Path("three.json")).stages["txt2img"]["sampler"] == "Heun"
    assert rated("suggest", "--as", "json").exit_code == 2
    assert rated("suggest", "--preset", "good").exit_code == 1
    assert "letters, digits" in rated("suggest", "--preset", "../out").output


def test_without_ratings_an_exploring_plan_is_proposed(safelight: Safelight) -> None:
    """In an empty archive, and in one where nothing was rated; it can be run, too."""
    Path("nothing").mkdir()
    empty = safelight("suggest", "--n", "3", "--archive", "nothing")
    assert empty.exit_code == 0, empty.output
    assert "not enough evidence: 0 pictures are rated" in empty.stdout
    assert safelight("learn", "c.toml", "--knob", "steps=1,2", "--seeds", "1").exit_code == 0
    result = safelight("suggest", "--write", "next.toml")
    assert "explores" in result.stdout
    assert safelight("plan", "next.toml").exit_code == 0
    refused = safelight("suggest", "--preset", "x")
    assert refused.exit_code == 1
    assert "not enough evidence" in refused.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "fakke"), "did you mean 'fake'"),
        (("--knob", "steps=5"), "at least two values"),
        (("--knob", "stpes=5,6"), "did you mean 'steps'"),
        (("--rater", "bob"), "nobody called 'bob'"),
        (("--where", "stesp > 3"), "did you mean 'steps'"),
    ],
)
def test_a_question_that_cannot_be_answered_is_told(
    rated: Safelight, arguments: tuple[str, ...], message: str
) -> None:
    """A sentence, and no trace."""
    wrong = rated("suggest", *arguments)
    assert wrong.exit_code in (1, 2)
    assert message in wrong.output


def test_ratings_whose_record_is_gone_are_told(rated: Safelight) -> None:
    """They are counted, not silently dropped."""
    for path in Path("safelight/records").iterdir():
        path.unlink()
    result = rated("suggest")
    assert "24 more were rated whose record is gone" in result.stdout


def test_a_lora_has_its_weight_suggested_and_a_preset_of_its_own(safelight: Safelight) -> None:
    """The weight goes into the prompt, together with the other knobs."""
    weights = "|".join(f"<lora:ink:{w}>" for w in ("0.2", "0.5", "0.8", "1.1"))
    Path("l.toml").write_text(CONFIG.replace("{at dawn|at dusk}", "{" + weights + "}"), "utf-8")
    sweep = '[randomizer.sweep]\n"txt2img.steps" = [1, 2, 3]\n"txt2img.seed" = [7, 8]\n'
    with Path("l.toml").open("a", encoding="utf-8") as file:
        file.write(sweep)
    assert safelight("run", "l.toml").exit_code == 0
    assert rate_everything(Path("safelight")) == 30
    result = safelight("suggest", "--lora", "ink", "--n", "3", "--write", "next.toml")
    assert result.exit_code == 0, result.output
    assert "fake with the LoRA ink: 24 rated pictures of 12 settings" in result.stdout
    planned = json.loads(safelight("plan", "next.toml", "--json").stdout)
    prompts = {variant["config"]["txt2img"]["prompt"] for variant in planned["variants"]}
    assert all(prompt.startswith("a fox <lora:ink:") for prompt in prompts)
    assert safelight("run", "next.toml").exit_code == 0
    kept = safelight("suggest", "--lora", "ink", "--preset", "ink")
    if kept.exit_code == 0:
        preset = PipelineConfig.from_file(Path("safelight/presets/ink.toml"))
        assert "<lora:ink:" in str(preset.stages["txt2img"]["prompt"])
    else:
        assert "LoRA ink: not enough evidence" in kept.output


# -- rate ----------------------------------------------------------------------------------


def test_what_to_rate_next_hides_how_it_was_made(rated: Safelight) -> None:
    """Neutral letters; no knob, prompt or run in what is printed."""
    page = json.loads(rated("rate", "--next", "--pairs", "--n", "3", "--json").stdout)
    assert len(page["pairs"]) == 3
    for pair in page["pairs"]:
        assert [picture["label"] for picture in pair] == ["A", "B"]
        assert all(set(picture) == {"label", "path", "sha256", "pixel_sha256"} for picture in pair)
        assert all(Path(picture["path"]).is_file() for picture in pair)
    page = json.loads(rated("rate", "--next", "--rater", "bob", "--json").stdout)
    assert [picture["label"] for picture in page["pictures"]] == list("ABCDEFGHIJ")


def test_stars_are_asked_for_by_letter_and_can_be_taken_back(safelight: Safelight) -> None:
    """The sheet is a picture; an unknown key is asked for again; undo goes one back."""
    assert safelight("learn", "c.toml", "--knob", "steps=1,2", "--seeds", "1").exit_code == 0
    asked = safelight("rate", "--next", "--n", "3", "--rater", "ann", typed="4\nx\n5\nu\nr\ns\n")
    assert asked.exit_code == 0, asked.output
    sheet = Path(asked.stdout.split("look at")[1].splitlines()[0].strip())
    assert sheet.is_file()
    assert "type one of" in asked.stdout
    assert "2 rated, of 3 shown" in asked.stdout
    rows = json.loads(safelight("find", "--json").stdout)["rows"]
    assert sum(r["stars"] == 4 for r in rows) == 1
    assert sum(bool(r["rejected"]) for r in rows) == 1
    assert not any(r["stars"] == 5 for r in rows)


def test_a_damaged_file_is_shown_crossed_out(safelight: Safelight) -> None:
    """It can be skipped; it ends nothing."""
    assert safelight("learn", "c.toml", "--knob", "steps=1,2", "--seeds", "1").exit_code == 0
    for path in Path("safelight/images").rglob("*.png"):
        path.write_bytes(path.read_bytes()[:60])
    asked = safelight("rate", "--next", "--n", "2", typed="s\ns\n")
    assert asked.exit_code == 0, asked.output
    assert "0 rated, of 2 shown" in asked.stdout
    assert "effects" not in asked.stderr, "nothing was rated: it would say the same"
    with Archive("safelight").ratings() as store:
        assert [event.kind for event in store.events()] == ["seen", "seen"]


def test_pairs_are_asked_for_until_the_input_ends(safelight: Safelight) -> None:
    """Better, tie and skip are picks; the pairs do not come again to the same person."""
    assert safelight("learn", "c.toml", "--knob", "steps=1,2", "--seeds", "1").exit_code == 0
    asked = safelight("rate", "--next", "--pairs", "--n", "3", typed="a\n=\n")
    assert asked.exit_code == 0, asked.output
    assert "2 of 3 pairs compared" in asked.stdout
    with Archive("safelight").ratings() as store:
        picks = [event for event in store.events() if event.kind == "pick"]
    assert sorted(len(pick.won) for pick in picks) == [1, 2]
    page = json.loads(safelight("rate", "--next", "--pairs", "--n", "9", "--json").stdout)
    seen = {frozenset(identity.sha256 for identity in pick.shown) for pick in picks}
    assert not seen & {frozenset(picture["sha256"] for picture in pair) for pair in page["pairs"]}


def test_nothing_to_rate_is_told(safelight: Safelight) -> None:
    """An empty archive, and one where all is rated."""
    empty = safelight("rate", "--next")
    assert empty.exit_code == 1
    assert "there is no picture to rate" in empty.output
    assert safelight("learn", "c.toml", "--knob", "steps=1,2", "--seeds", "1").exit_code == 0
    assert safelight("rate", "--where", "steps > 0", "--stars", "3").exit_code == 0
    assert "that you have not rated" in safelight("rate", "--next").output


def test_one_picture_is_picked_over_others(safelight: Safelight) -> None:
    """From files, wherever they lie."""
    assert safelight("learn", "c.toml", "--knob", "steps=1,2", "--seeds", "1").exit_code == 0
    a, b, c = sorted(str(path) for path in Path("safelight/images").rglob("*.png")
                     if "sheet" not in path.name)[:3]  # fmt: skip
    assert "pick 1 over 2" in safelight("rate", a, "--over", b, "--over", c).stdout
    assert "pick tie" in safelight("rate", a, b, "--tie").stdout
    assert "pick skip" in safelight("rate", a, b, "--skip").stdout
    rows = {r["path"]: r for r in json.loads(safelight("find", "--json").stdout)["rows"]}
    assert rows[a.removeprefix("safelight/")]["picks_won"] == 1
    assert rows[b.removeprefix("safelight/")]["picks_lost"] == 1
    for wrong in ((a, "--over", a), (a, "--tie"), (a, "--over", b, "--stars", "3"), ("--tie",)):
        assert safelight("rate", *wrong).exit_code == 2


def test_toml_that_is_written_reads_back() -> None:
    """Quotes, newlines, control characters, nested tables and lists of tables."""
    import tomllib

    data = {
        "name": 'a "b"\n\\ \x7f灯', "on": True, "n": 3, "x": 0.5, "none": None,
        "list": [1, "a", {"k": 1.0}], "txt2img": {"prompt": ["a", "b"], "extra": {"a b": 1}},
        "randomizer": {"settings": [{"txt2img.steps": 3}, {"txt2img.steps": 4}]},
    }  # fmt: skip
    text = toml_text(data, ["two\nlines"])
    assert 'prompt = ["a", "b"]' in text, "short lists are easier to read on one line"
    read = tomllib.loads(text)
    assert read == {key: value for key, value in data.items() if value is not None}
