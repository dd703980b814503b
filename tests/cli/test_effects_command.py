"""``safelight effects`` and ``rate --by fidelity``, as a person calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from command_line import Safelight
from safelight import open as open_archive
from safelight.application.rated_pictures import rated_trials
from safelight.archive import Archive
from safelight.learning.ratings import Identity, RatingEvent

CONFIG = """
backend = "{backend}"
[txt2img]
prompt = "{{{prompts}}}"
seed = 7
[randomizer]
mode = "fanout"
[randomizer.sweep]
"txt2img.steps" = {steps}
"""


@pytest.fixture
def safelight(command: Safelight) -> Safelight:
    return command


def drawn(safelight: Safelight, backend: str, prompts: int, steps: list[int]) -> None:
    names = ["cat", "dog", "pizza", "car", "tree", "house", "rocket", "banana", "guitar", "burger"]
    config = CONFIG.format(backend=backend, prompts="|".join(names[:prompts]), steps=steps)
    Path("c.toml").write_text(config, "utf-8")
    assert safelight("run", "c.toml", "--seed", "1").exit_code == 0


def rate_by_steps(
    rater: str = "ann", source: str = "safelight", *, by_chance: bool = False
) -> None:
    archive = Archive(Path("safelight"))
    found = archive.query("", columns=["sha256", "steps", "prompt"], limit=None).dicts()
    rows = sorted(found, key=lambda row: row["sha256"]) if by_chance else list(found)
    with archive.ratings() as store:
        for row in rows:
            value = (4 if row["steps"] > 5 else 2) + (len(row["prompt"]) % 2)
            image = Identity(sha256=row["sha256"])
            store.add(RatingEvent.now("stars", image, value=value, rater=rater, source=source))


def test_a_sweep_that_somebody_rated_shows_what_steps_do(safelight: Safelight) -> None:
    """As a table, as JSON, and as plots; every figure has its n."""
    drawn(safelight, "fake", 10, [2, 10])
    rate_by_steps()
    shown = safelight("effects", "steps > 1", "--plot", "e.png")
    assert "20 rated pictures, 20 ratings by ann, 10 prompts" in shown.stdout
    assert "10 pairs" in shown.stdout
    with Image.open("e.png") as picture:
        assert picture.format == "PNG"
    document = json.loads(safelight("effects", "--json", "--plot", "e.svg").stdout)
    (steps,) = (knob for knob in document["knobs"] if knob["knob"] == "steps")
    (comparison,) = steps["comparisons"]
    assert (comparison["status"], comparison["basis"], comparison["n"]) == ("clear", "pairs", 10)
    assert comparison["low"] <= comparison["difference"] <= comparison["high"]
    assert Path("e.svg").read_text("utf-8").startswith("<svg")


def test_a_filter_of_what_was_rated_finishes_no_run(safelight: Safelight) -> None:
    """What it leaves out waits to be rated all the same."""
    drawn(safelight, "fake", 4, [2, 10])
    rate_by_steps()
    archive = Archive(Path("safelight"))
    rated = "stars is not missing"
    for condition in (rated, "steps > 5", ""):
        assert {*rated_trials(archive, condition)[1].finished.codes} == {0}
    with archive.ratings() as store:
        image = next(event.image for event in store.events() if event.image)
        store.add(RatingEvent.now("stars", image, value=0, rater="ann"))
    for condition in (rated, ""):
        assert {*rated_trials(archive, condition)[1].finished.codes} == {-1}


def test_one_knob_may_be_asked_for_and_a_wrong_name_is_corrected(safelight: Safelight) -> None:
    """The others are not shown; a slip of the pen is told."""
    drawn(safelight, "fake", 10, [2, 10])
    rate_by_steps()
    document = json.loads(safelight("effects", "--knob", "steps", "--json").stdout)
    assert [knob["knob"] for knob in document["knobs"]] == ["steps"]
    wrong = safelight("effects", "--knob", "step")
    assert wrong.exit_code == 2
    assert "did you mean 'steps'" in wrong.stderr


def test_without_ratings_it_says_so(safelight: Safelight) -> None:
    """Of an archive, of an empty one, and of a filter that meets nothing."""
    Path("safelight").mkdir()
    assert "no rated pictures: rate some" in safelight("effects").stdout
    drawn(safelight, "fake", 2, [2, 10])
    assert "no rated pictures: rate some" in safelight("effects", "--plot", "e.png").stdout
    rate_by_steps()
    shown = safelight("effects", "steps > 1000").stdout
    assert "4 rated pictures have no record here, are grids, or the filter leaves them out" in shown
    wrong = safelight("effects", "stepps > 1")
    assert wrong.exit_code == 2
    assert "did you mean 'steps'" in wrong.stderr


def test_a_programs_ratings_are_used_only_where_no_person_rated(safelight: Safelight) -> None:
    """They are never mixed, and always labelled."""
    drawn(safelight, "fake", 4, [2, 10])
    rate_by_steps("judge", "automatic:judge")
    assert "by a program, not people (judge, automatic)" in safelight("effects").stdout
    rate_by_steps("ann")
    assert "ratings by ann," in safelight("effects").stdout
    assert "(judge, automatic)" in safelight("effects", "--rater", "judge").stdout
    mixed = safelight("effects", "--rater", "judge", "--rater", "ann")
    assert "not mixed" in mixed.stderr
    unknown = safelight("effects", "--rater", "bob")
    assert "nobody called 'bob' rated here; there are: 'ann', 'judge'" in unknown.stderr


def test_the_fidelity_measure_rates_what_it_knows(safelight: Safelight) -> None:
    """Once per picture, as a program; lost files are counted, and told."""
    drawn(safelight, "bundled", 2, [1, 8])
    ((lost,),) = Archive(Path("safelight")).query(columns=["path"], limit=1).rows
    (Path("safelight") / lost).unlink()
    output = safelight("rate", "--by", "fidelity").stdout
    assert "3 pictures rated by a program, as 'fidelity' (automatic:fidelity)" in output
    assert "1 passed over: the file is not there" in output
    again = safelight("rate", "--by", "fidelity").stdout
    assert "3 passed over: rated before" in again
    events = Archive(Path("safelight")).ratings().events()
    assert {(event.rater, event.source) for event in events} == {("fidelity", "automatic:fidelity")}
    refused = safelight("rate", "--by", "fidelity", "--stars", "3")
    assert refused.exit_code == 2


def test_which_settings_fail_is_told_without_ratings(safelight: Safelight) -> None:
    """By command and in Python; a knob that is shared alike by all is not blamed."""
    config = """
backend = { name = "fake", fail_on = ["boat"] }
[txt2img]
prompt = "a {fox|boat}"
seed = 7
width = 64
height = 64
[randomizer]
mode = "fanout"
[randomizer.sweep]
"txt2img.steps" = [1, 2, 3, 4]
"""
    Path("f.toml").write_text(config, "utf-8")
    assert safelight("run", "f.toml").exit_code == 3
    Path("g.toml").write_text(
        config.replace("[1, 2, 3, 4]", "[50, 51, 52]").replace("{fox|boat}", "boat"), "utf-8"
    )
    assert safelight("run", "g.toml").exit_code == 1
    shown = safelight("effects", "--failures")
    assert "7 of 11 variants failed" in shown.stdout
    assert "  50: 100% [21%, 100%], 1 of 1" in shown.stdout
    assert "  1: 50% [9%, 91%], 1 of 2" in shown.stdout
    page = json.loads(safelight("effects", "--failures", "--knob", "steps", "--json").stdout)
    assert (page["failed"], page["begun"]) == (7, 11)
    found = open_archive("safelight").failures()
    assert [share.level for share in found.shares] == [share["level"] for share in page["shares"]]
    assert "did you mean 'steps'" in safelight("effects", "--failures", "--knob", "step").stderr
    assert safelight("effects", "--failures", "steps > 2").exit_code == 2


def test_where_nothing_failed_it_says_so(safelight: Safelight) -> None:
    """In an empty archive, and where all was drawn."""
    Path("safelight").mkdir()
    assert "no variant failed" in safelight("effects", "--failures").stdout
    drawn(safelight, "fake", 2, [2])
    assert json.loads(safelight("effects", "--failures", "--json").stdout)["shares"] == []


def test_the_answer_comes_first_and_the_rest_is_folded(
    safelight: Safelight, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 80 columns: a sentence, then figures; what is undecided is a few lines, --all has more.

    Why something cannot be told is said once, not beside every value of a table.
    """
    monkeypatch.setenv("COLUMNS", "80")
    config = CONFIG.format(backend="fake", prompts="cat|dog|car|tree|house|rocket|guitar|burger",
                           steps=[2, 10])  # fmt: skip
    Path("c.toml").write_text(f'{config}"txt2img.cfg_scale" = [3, 5]\n', "utf-8")
    assert safelight("run", "c.toml", "--seed", "1").exit_code == 0
    rate_by_steps(by_chance=True)
    lines = safelight("effects").stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].startswith("32 rated pictures, 32 ratings by ann")
    assert (lines[1], lines[2].startswith("Steps 10 is better than 2: +")) == ("", True)
    sentence = " ".join(lines[2 : lines.index("", 2)])
    assert ", between +" in sentence
    assert sentence.endswith(" pairs.")
    every = safelight("effects", "--all").stdout
    assert len(every.splitlines()) >= len(lines)
    assert "cfg_scale" in every
