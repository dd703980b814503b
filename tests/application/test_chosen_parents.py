"""Which settings' pictures were gone on with: told apart from ratings, and only what was chosen."""

from __future__ import annotations

import html
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
from starlette.testclient import TestClient

import safelight
from command_line import Safelight
from gui_v2.test_facets import record
from safelight.application.chosen_parents import chosen_parents
from safelight.application.open_archive import run
from safelight.archive import Archive
from safelight.learning import LearningRecord
from safelight.learning.evidence.parent_shares import parent_shares
from safelight.learning.learning_record import ImageOutput
from safelight.learning.ratings import Identity, RatingEvent
from safelight.web import create_app

WAIT = {"accept": "text/html", "prefer": "wait=300"}


def run_of(number: int, pictures: Sequence[tuple[int, int | None]], **knobs: Any) -> LearningRecord:
    """Return a run of *pictures*: (number of each, of what it was made from)."""
    one = record(number, {}, **knobs)
    outputs = tuple(
        ImageOutput(
            variant=0, stage="txt2img", sha256=f"{digest:064x}", pixel_sha256=f"b{digest:063x}",
            width=64, height=64, path=f"images/{number}-{digest}.png",
            parent=None if parent is None else f"{parent:064x}",
        )
        for digest, parent in pictures
    )  # fmt: skip
    return replace(one, outputs=outputs)


def chosen_from(folder: Path, count: int = 400) -> Archive:
    """Return an archive in which a person goes on with pictures by dream three times as often."""
    chance = random.Random(3)
    archive = Archive(folder)
    records = []
    for number in range(1, count + 1):
        model = chance.choice(["dream", "real"])
        knobs = {"prompt": f"scene {number % 20}", "model": model, "seed": number}
        records.append(run_of(number, [(number, None)], steps=chance.choice([20, 30]), **knobs))
        if chance.random() < (0.45 if model == "dream" else 0.15):
            own = (10_000 + number, number)
            records.append(run_of(10_000 + number, [own], **{**knobs, "prompt": "larger"}))
    archive.add_pack([each.to_document() for each in records])
    return archive


def test_what_was_gone_on_with_is_told_at_every_door(command: Safelight, tmp_path: Path) -> None:
    archive = chosen_from(tmp_path / "safelight")
    found = safelight.open(archive.path).parents("not prompt has 'larger'")
    assert found.pictures == 400
    assert found.handed_on == 0
    dream = next(share for share in found.shares if share.level == "dream")
    assert (dream.knob, dream.likely, dream.more) == ("model", True, True)
    assert dream.low < dream.share < dream.high
    assert dream.expected < dream.low
    assert {share.knob for share in found.likely} == {"model"}
    told = " ".join(command("effects", "--parents", "not prompt has 'larger'").stdout.split())
    assert dream.summary in told
    assert f"{found.chosen} of 400 pictures were gone on with" in told
    assert "one budget of 5 % for all settings" in told
    page = json.loads(command("effects", "--parents", "--json").stdout)
    assert page["chosen"] == found.chosen
    assert len(page["sentences"]) == 2
    with TestClient(create_app(archive), base_url="http://127.0.0.1") as client:
        asked = {"q": "not prompt has 'larger'"}
        shown = html.unescape(client.get("/learn", params=asked, headers=WAIT).text)
    assert dream.summary in shown
    link = shown.split(dream.summary, 1)[1].split('href="/?', 1)[1].split('"', 1)[0]
    (q,) = parse_qs(link)["q"]
    assert len(archive.query(q, limit=None).rows) == dream.pictures


def test_it_counts_for_no_rating(tmp_path: Path) -> None:
    archive = chosen_from(tmp_path, 60)
    with archive.ratings() as store:
        for number in range(1, 41):
            image = Identity(sha256=f"{number:064x}")
            store.add(RatingEvent.now("stars", image, value=1 + number % 5, rater="ann"))
    before = safelight.open(tmp_path).effects()
    archive.add_pack([
        run_of(20_000 + n, [(20_000 + n, n)], prompt="larger").to_document() for n in range(1, 20)
    ])  # fmt: skip
    assert safelight.open(tmp_path).effects().knobs == before.knobs


def test_what_a_plan_hands_on_nobody_chose(tmp_path: Path) -> None:
    """Neither in a run, which may use an earlier one's pictures again, nor where all were taken."""
    archive = Archive(tmp_path)
    staged = run_of(1, [(1, None), (2, 1), (3, None), (4, 3)], prompt="a")
    again = run_of(2, [(1, None), (5, 1)], prompt="a")
    whole = run_of(3, [(6, None), (7, None)], prompt="b")
    larger = run_of(4, [(8, 6), (9, 7)], prompt="b larger")
    some = run_of(5, [(10, None), (11, None)], prompt="c")
    by_hand = run_of(6, [(12, 10)], prompt="c larger")
    runs = (staged, again, whole, larger, some, by_hand)
    archive.add_pack([each.to_document() for each in runs])
    found = chosen_parents(archive)
    assert found.chosen == 1
    assert found.handed_on == 4
    assert found.pictures == 8


def test_a_pipeline_of_our_own_chooses_nothing(tmp_path: Path) -> None:
    """A picture that is enlarged by a later config was chosen; what the stages made was not."""
    backend = {"name": "fake"}
    prompts = {"txt2img": {"prompt": "a cat", "steps": 2}, "upscale": {"scale": 2}}
    run({**prompts, "backend": backend}, tmp_path, {})
    run(
        {"txt2img": {"prompt": "a dog", "steps": 2, "batch_size": 2}, "backend": backend},
        tmp_path, {},
    )  # fmt: skip
    archive = Archive(tmp_path)
    assert chosen_parents(archive).chosen == 0
    assert chosen_parents(archive).handed_on == 1
    (path,), *_ = archive.query("prompt has 'dog'", columns=["path"]).rows
    input_picture = str(tmp_path / path)
    run({"upscale": {"scale": 2, "init_image": input_picture}, "backend": backend}, tmp_path, {})
    found = chosen_parents(archive)
    assert (found.chosen, found.handed_on) == (1, 1)


def drawn(seed: int, worth: float = 1.0) -> tuple[dict[str, list[str]], list[bool], list[int]]:
    """Return six settings, of which the first is worth choosing; prompts are liked unequally."""
    chance = np.random.default_rng(seed)
    groups = np.repeat(np.arange(60), 12)
    columns = {
        f"k{knob}": [f"v{v}" for v in chance.integers(0, 2 + knob, len(groups))]
        for knob in range(6)
    }
    often = 0.1 * np.exp(chance.normal(0, 1, 60))[groups]
    often = often * np.where(np.array(columns["k0"]) == "v0", worth, 1)
    chosen = chance.random(len(groups)) < np.clip(often, 0, 0.9)
    return columns, chosen.tolist(), groups.tolist()


def test_luck_is_told_of_in_at_most_one_archive_of_twenty() -> None:
    assert sum(any(s.likely for s in parent_shares(*drawn(seed))) for seed in range(60)) <= 6


def test_what_is_chosen_three_times_as_often_is_told() -> None:
    told = [[s.knob for s in parent_shares(*drawn(seed, 3.0)) if s.likely] for seed in range(10)]
    assert sum("k0" in knobs for knobs in told) >= 8


def test_a_prompt_that_is_liked_says_nothing_of_the_setting_it_came_with() -> None:
    """Ten prompts with one sampler each, one of them chosen from again and again."""
    groups = [prompt for prompt in range(10) for _ in range(20)]
    sampler = [f"s{prompt // 5}" for prompt in groups]
    chosen = [prompt < 5 and number % 2 == 0 for number, prompt in enumerate(groups)]
    shares = parent_shares({"sampler": sampler}, chosen, groups)
    assert [share.chance for share in shares] == [None, None]


def test_nothing_chosen_is_said(command: Safelight) -> None:
    Archive(Path("safelight")).add_pack([run_of(1, [(1, None)], prompt="a").to_document()])
    assert (
        "no picture was chosen to make a later one from" in command("effects", "--parents").stdout
    )
    refused = command("effects", "--parents", "--rater", "ann")
    assert refused.exit_code == 2
    assert "--parents is about no ratings" in refused.output
