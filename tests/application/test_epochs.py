"""Which epoch of a training is best: from samples as trainers name them, and planted ratings."""

from __future__ import annotations

import html
import json
import os
import random
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image
from starlette.testclient import TestClient

from command_line import call
from safelight.application.epochs import Training, answer_of, trainings_in
from safelight.application.to_rate import identity_of, next_to_rate
from safelight.archive import Archive
from safelight.imports.folder_import import import_folders
from safelight.learning.ratings import RatingEvent
from safelight.web import create_app

_DRAWN = datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp()
STATES = (4, 8, 12)


def _picture(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 64), (shade % 256, shade // 256, 7)).save(path)
    os.utime(path, (_DRAWN, _DRAWN))


def _beside(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (_DRAWN - 3600, _DRAWN - 3600))


def kohya(
    folder: Path, *, prompts: int = 12, states: Sequence[int] = STATES, name: str = "ink",
    seed: int | None = None,
) -> None:  # fmt: skip
    seeds = [42 + n if seed is None else seed for n in range(prompts)]
    lines = [f"a lighthouse, view {n} --w 64 --h 64 --d {seeds[n]}" for n in range(prompts)]
    _beside(folder / "sample_prompts.txt", "\n".join(lines))
    for n in range(prompts):
        for state in states:
            file = f"{name}_e{state:06}_{n:02}_202601011200{state:02}_{seeds[n]}.png"
            _picture(folder / "sample" / file, 16 * state + n + 300 * (ord(name[0]) - ord("i")))


def ai_toolkit(folder: Path, *, prompts: int = 12) -> None:
    sample = {"width": 64, "height": 64, "seed": 42, "sample_steps": 20, "guidance_scale": 4,
              "prompts": [f"a lighthouse, view {n}" for n in range(prompts)]}  # fmt: skip
    process = {"type": "sd_trainer", "sample": sample, "network": {"type": "lora"}}
    job = {"config": {"name": "ink", "process": [process]}}
    _beside(folder / ".job_config.json", json.dumps(job))
    for n in range(prompts):
        for state in STATES:
            name = f"{round(_DRAWN * 1000) + state}__{state:09}_{n}.png"
            _picture(folder / "samples" / name, 16 * state + n)


def onetrainer(folder: Path, *, prompts: int = 12) -> None:
    samples = [{"prompt": f"a lighthouse view {n}", "width": 64, "height": 64, "seed": 42,
                "random_seed": False} for n in range(prompts)]  # fmt: skip
    config = {"training_method": "LORA", "output_model_destination": "models/ink.safetensors",
              "samples": samples}  # fmt: skip
    _beside(folder / "config" / "2026-01-01_10-00-00.json", json.dumps(config))
    for n in range(prompts):
        for state in STATES:
            name = f"2026-01-01_12-00-00-training-sample-{state}-{state // 4}-0.png"
            place = folder / "samples" / f"{n} - a lighthouse view {n}" / name
            _picture(place, 16 * state + n)


def imported(tmp_path: Path) -> tuple[Archive, list[Training]]:
    archive = Archive(tmp_path / "archive")
    import_folders([tmp_path / "training"], archive)
    return archive, trainings_in(archive, tmp_path / "training")


def rate(archive: Archive, training: Training, stars: Mapping[int, int] | None) -> None:
    """Give each state its stars, in an order that tells nothing; without any, by chance."""
    columns = ("sha256", "pixel_sha256", "image_sha256", training.setting)
    rows = sorted(
        archive.query(training.condition, columns=columns, limit=None).dicts(),
        key=lambda row: str(row["sha256"]),
    )
    chance = random.Random(3)
    chance.shuffle(rows)
    with archive.ratings() as store:
        for row in rows:
            value = stars[round(row[training.setting])] if stars else chance.randint(1, 5)
            store.add(RatingEvent.now("stars", identity_of(row), value=value, rater="ann"))


@pytest.mark.parametrize(
    ("make", "unit"), [(kohya, "epoch"), (ai_toolkit, "step"), (onetrainer, "step")]
)
def test_the_best_epoch_is_told_with_its_pairs_and_interval(
    tmp_path: Path, make: Callable[[Path], None], unit: str
) -> None:
    """Whatever samples leave out, as the sampler: one training drew them all."""
    make(tmp_path / "training")
    archive, (training,) = imported(tmp_path)
    assert (training.name, training.unit, training.states) == ("ink", unit, STATES)
    assert (len(training.prompts), training.seeds, training.pictures) == (12, 1, 36)
    assert (training.missing, training.pairs) == ((), 36)
    assert "; 36 pairs that differ in the " in answer_of(archive, training).sentence
    rate(archive, training, {4: 2, 8: 5, 12: 3})
    answer = answer_of(archive, training)
    assert answer.sentence == f"{unit} 8: better than 4 and 12, 24 of 24 pairs"
    assert (answer.best, answer.rated, answer.rated_by) == ("8", 36, "ann")
    first = answer.better[0]
    assert (first.state, first.than, first.n, first.basis) == ("8", "4", 12, "pairs")
    assert 0 < first.low < first.difference < first.high


def test_chance_makes_no_epoch_the_best(tmp_path: Path) -> None:
    kohya(tmp_path / "training")
    archive, (training,) = imported(tmp_path)
    rate(archive, training, None)
    answer = answer_of(archive, training)
    assert answer.sentence.startswith("no epoch is known to be better than another: ")
    assert "12 pairs; about " in answer.sentence
    assert (answer.best, answer.better) == ("", ())
    assert answer.more


def test_picks_between_two_are_enough(tmp_path: Path) -> None:
    """As the command proposes them: of one prompt and one seed."""
    kohya(tmp_path / "training")
    archive, (training,) = imported(tmp_path)
    better = (4, 12, 8)
    with archive.ratings() as store:
        shown = next_to_rate(
            archive, store.events(), together=2, count=36, condition=training.condition, seed=1
        )
        for pair in shown:
            names = [str(row["path"]).rpartition("ink_e")[2] for row in pair]
            worth = [better.index(int(name[:6])) for name in names]
            won = worth.index(max(worth))
            store.add(RatingEvent.now("pick", shown=tuple(map(identity_of, pair)), won=(won,)))
    assert len({frozenset(row["path"] for row in pair) for pair in shown}) == 36
    assert all(a["prompt"] == b["prompt"] for a, b in shown)
    answer = answer_of(archive, training)
    assert answer.sentence == "epoch 8: better than 4 and 12, 24 of 24 pairs"


def test_pairs_rated_alike_are_counted_as_such(tmp_path: Path) -> None:
    """Three of fourteen alike are no defeats, and no victories."""
    kohya(tmp_path / "training", states=(4, 8), prompts=14)
    archive, (training,) = imported(tmp_path)
    columns = ("sha256", "pixel_sha256", "image_sha256", "prompt", training.setting)
    rows = list(archive.query(training.condition, columns=columns, limit=None).dicts())
    rows.sort(key=lambda row: str(row["sha256"]))
    random.Random(5).shuffle(rows)
    with archive.ratings() as store:
        for row in rows:
            alike = str(row["prompt"]).endswith((" 3", " 5", " 7"))
            value = 4 if row[training.setting] == 8 or alike else 1
            store.add(RatingEvent.now("stars", identity_of(row), value=value, rater="ann"))
    answer = answer_of(archive, training)
    assert answer.sentence in {
        f"epoch 8: {sure}better than 4, 11 of 14 pairs, 3 alike" for sure in ("", "likely ")
    }
    told = call("epochs", str(tmp_path / "training"), "--archive", str(archive.path))
    assert ", 14 pairs, better in 11 of 14, alike in 3\n" in told.stdout


def test_one_epoch_rated_after_the_other_is_not_told(tmp_path: Path) -> None:
    """It may be the rater who changed."""
    kohya(tmp_path / "training", states=(4, 8))
    archive, (training,) = imported(tmp_path)
    for state, stars in ((4, 2), (8, 5)):
        told = call("rate", "--archive", str(archive.path), "--stars", str(stars), "--where",
                    f'extra("Training epoch") = {state}')  # fmt: skip
        assert told.exit_code == 0
    assert "cannot be told: it may be the order of rating" in answer_of(archive, training).sentence


def test_two_that_beat_the_third_are_told_as_such(tmp_path: Path) -> None:
    kohya(tmp_path / "training")
    archive, (training,) = imported(tmp_path)
    rate(archive, training, {4: 2, 8: 5, 12: 5})
    answer = answer_of(archive, training)
    assert answer.best == ""
    assert {(one.state, one.than) for one in answer.better} == {("8", "4"), ("12", "4")}
    assert answer.sentence.startswith("some epochs are better than others, and none is known")


def test_contents_lead_to_pairs_of_samples(tmp_path: Path) -> None:
    """No knob tells them apart, and they differ in one thing alone all the same."""
    kohya(tmp_path / "training")
    archive, _ = imported(tmp_path)
    told = call("contents", "--archive", str(archive.path)).output
    assert "Samples of a training that share prompt and seed differ in the epoch" in told
    assert "No two pictures differ" not in told
    assert "next: safelight rate --next --pairs" in told
    with TestClient(create_app(archive), base_url="http://127.0.0.1") as client:
        headers = {"accept": "text/html", "prefer": "wait=300"}
        page = html.unescape(client.get("/contents", headers=headers).text)
    (href,) = re.findall(r'<a class="button" href="(/rate[^"]*)">Rate pairs</a>', page)
    asked = parse_qs(urlsplit(href).query)
    assert asked["mode"] == ["pair"]
    assert "Training epoch" in asked["q"][0]


def test_of_two_that_likely_beat_the_third_no_more_is_said(tmp_path: Path) -> None:
    """It was said as if it were sure."""
    kohya(tmp_path / "training", prompts=8)
    archive, (training,) = imported(tmp_path)
    columns = ("sha256", "pixel_sha256", "image_sha256", "prompt", training.setting)
    rows = list(archive.query(training.condition, columns=columns, limit=None).dicts())
    rows.sort(key=lambda row: str(row["sha256"]))
    random.Random(5).shuffle(rows)
    with archive.ratings() as store:
        for row in rows:
            number = int(str(row["prompt"]).rpartition(" ")[2])
            value = (number % 3 // 2 + 1) if row[training.setting] == 4 else 3 + number % 2
            store.add(RatingEvent.now("stars", identity_of(row), value=value, rater="ann"))
    answer = answer_of(archive, training)
    assert [one.sure for one in answer.better] == [False, False]
    assert "8 likely better than 4" in answer.sentence
    assert "12 likely better than 4" in answer.sentence


@pytest.mark.parametrize(
    ("apart", "stars", "told"),
    [((1, 2), 1, {"1 and 2 worse than all others together"}),
     ((9, 10), 5, {f"{state} better than all others together" for state in (9, 10)})],
)  # fmt: skip
def test_of_many_epochs_the_others_are_no_epoch(
    tmp_path: Path, apart: Sequence[int], stars: int, told: set[str]
) -> None:
    """Each is compared with the mean of all others: who beats it may be worse than some."""
    states = range(1, 15)
    kohya(tmp_path / "training", states=states, prompts=8)
    archive, (training,) = imported(tmp_path)
    rate(archive, training, {state: stars if state in apart else 3 for state in states})
    answer = answer_of(archive, training)
    assert told <= set(answer.sentence.partition(": ")[2].split("; "))
    assert answer.best == ""


def test_many_epochs_stay_single_ones(tmp_path: Path) -> None:
    """Numbers of other settings become ranges where there are many."""
    kohya(tmp_path / "training", states=range(1, 11), prompts=8)
    archive, (training,) = imported(tmp_path)
    rate(archive, training, {state: 5 if state == 7 else 2 for state in range(1, 11)})
    answer = answer_of(archive, training)
    assert answer.sentence.startswith("epoch 7: better than ")
    assert all(one.state == "7" for one in answer.better)


def test_what_is_missing_and_which_training_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "training"
    kohya(folder, prompts=3)
    kohya(folder, prompts=3, states=(4, 8), name="oil")
    next((folder / "sample").glob("ink_e000012_01_*")).unlink()
    _picture(folder / "sample" / "ink_000000_00_20260101120000_42.png", 999)
    _, (ink, oil) = imported(tmp_path)
    assert (ink.name, ink.pictures, ink.left_out) == ("ink", 8, 1)
    assert ink.missing == ((12, "a lighthouse, view 1", 43),)
    assert (oil.name, oil.pictures, oil.missing) == ("oil", 6, ())
    archive = Archive(tmp_path / "archive")
    assert len(archive.query(oil.condition, limit=None).rows) == 6


def test_the_command_takes_in_answers_and_says_how_to_rate(tmp_path: Path) -> None:
    kohya(tmp_path / "training", prompts=3)
    words = ("epochs", str(tmp_path / "training" / "sample"), "--archive", str(tmp_path / "a"))
    told = call(*words)
    assert told.exit_code == 0
    assert "ink: 9 pictures of 3 prompts x 3 epochs x 1 seed" in told.stdout
    assert "which epoch is best is not known" in told.stdout
    (training,) = json.loads(call(*words, "--json").stdout)["trainings"]
    asked = parse_qs(urlsplit(training["sheet"]).query)
    assert (asked["x"], asked["y"]) == (["extra.Training epoch"], ["prompt"])
    assert f"--pairs --n 10 --where '{asked['q'][0]}'" in told.stdout
    pairs: Any = json.loads(call("rate", "--next", "--pairs", "--json", "--archive",
                                 str(tmp_path / "a"), "--where", asked["q"][0]).stdout)  # fmt: skip
    assert pairs["pairs"]
    (tmp_path / "empty").mkdir()
    nothing = call("epochs", str(tmp_path / "empty"), "--archive", str(tmp_path / "a"))
    assert nothing.exit_code == 1
    assert "no sample of a training lies in" in nothing.stderr
