"""The page about effects leads to the pictures that its figures are of."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qs

from starlette.testclient import TestClient

from gui_v2.test_facets import record
from safelight.application.effects_answer import spans_of
from safelight.application.rated_pictures import rated_trials
from safelight.application.scorer_comparison import compare_scorer
from safelight.archive import Archive
from safelight.learning import LearningRecord
from safelight.learning.evidence.effects import find_effects
from safelight.learning.ratings import SCORE, Identity, RatingEvent
from safelight.web import create_app, learn


def rated(folder: Path, records: Sequence[LearningRecord]) -> Archive:
    archive = Archive(folder)
    archive.add_pack([each.to_document() for each in records])
    with archive.ratings() as store:
        for number, each in enumerate(records):
            digest = each.outputs[0].sha256
            store.add(
                RatingEvent.now("stars", Identity(sha256=digest), value=1 + number % 4, rater="ann")
            )
    return archive


def varied(number: int) -> LearningRecord:
    """Numbers of many digits, few and many of them, texts, LoRAs and an extra of a knob's name."""
    extra = {
        "big": 1234567 + number % 2, "tiny": 0.123456789 + number * 1e-9, "opt": "xy"[number % 2],
        "guidance": ("auto", "off")[number % 2], "mixed": ("a", 0.5)[number % 2],
    }  # fmt: skip
    return record(
        number, extra, ["ink"] if number % 3 else [], prompt=f"thing {number // 8}", seed=1,
        steps=20 + number % 2, cfg_scale=5 + number / 7, sampler=("Euler", "Heun")[number % 2],
    )  # fmt: skip


def test_every_dot_leads_to_as_many_pictures_as_it_is_of(tmp_path: Path) -> None:
    """To the last digit, and those without a LoRA among those of weight 0."""
    archive = rated(tmp_path, [varied(number) for number in range(48)])
    _, trials, _ = rated_trials(archive, "")
    followed = set()
    for plot in learn._plots(find_effects(trials), spans_of(trials), ""):
        for row in plot["rows"]:
            if row.href is not None:
                (q,) = parse_qs(row.href.removeprefix("/?"))["q"]
                found = archive.query(q, limit=None).rows
                assert len(found) == row.comparison.pictures, (plot["knob"].knob, q)
                followed.add(plot["knob"].knob)
    assert followed >= {
        "steps", "cfg_scale", "sampler", "lora.ink", "extra.big", "extra.tiny", "extra.opt",
        "extra.guidance", "extra.mixed",
    }  # fmt: skip


def test_values_that_are_called_like_none_lead_to_their_own_pictures(tmp_path: Path) -> None:
    """Somebody's negative prompt may be the very word that the table has for its absence."""
    texts = [None, "(none)", "", "(empty)", "'(none)'", "all others", "it's"]
    records = [
        record(number, {}, [], prompt=f"thing {number // 7}", seed=1, negative_prompt=text)
        for number in range(70)
        for text in [texts[number % len(texts)]]
    ]
    archive = rated(tmp_path, records)
    _, trials, _ = rated_trials(archive, "")
    (plot,) = (
        plot for plot in learn._plots(find_effects(trials), spans_of(trials), "")
        if plot["knob"].knob == "negative_prompt"
    )  # fmt: skip
    followed = set()
    for row in plot["rows"]:
        (q,) = parse_qs(row.href.removeprefix("/?"))["q"]
        found = archive.query(q, columns=["negative_prompt"], limit=None).rows
        assert len(found) == row.comparison.pictures == 10
        followed |= set(found)
    assert len(followed) == len(plot["rows"]) >= len(texts) - 1


def test_scorers_stand_beside_people_as_the_command_has_them(tmp_path: Path) -> None:
    """With n and interval, of all pictures and of each model; the server works nothing out."""
    chance = random.Random(4)
    records = [
        record(n, {}, [], prompt=f"thing {n // 8}", seed=n, model=("oil", "ink")[n % 2])
        for n in range(64)
    ]
    archive = rated(tmp_path, records)
    with archive.scores() as store:
        for number, each in enumerate(records):
            store.add(
                RatingEvent.now(
                    SCORE, Identity(sha256=each.outputs[0].sha256), rater="looks", version="2",
                    number=number % 4 + chance.gauss(0, 1), unit="points", source="automatic:looks",
                )
            )  # fmt: skip
    overall = compare_scorer(archive, "looks").agreement.overall
    assert overall.tau is not None
    assert overall.low is not None
    with TestClient(create_app(archive), base_url="http://127.0.0.1") as client:
        headers = {"accept": "text/html", "prefer": "wait=300"}
        told = client.get("/learn", headers=headers).text
    assert "looks 2</h2>" in told
    for figure in (f"{overall.tau:+.2f}", f"{overall.low:+.2f} to {overall.high:+.2f}"):
        assert f"<td>{figure}</td>" in told
    assert '<th scope="row">oil</th>' in told
    assert "In points; 64 pictures have a number, 64 of them" in told


def test_what_is_not_there_to_leave_out_is_told_on_the_page(tmp_path: Path) -> None:
    """A link of yesterday, or one with another filter, still shows the page."""
    archive = rated(tmp_path, [varied(number) for number in range(16)])
    with TestClient(create_app(archive), base_url="http://127.0.0.1") as client:
        asked = {"ignore": ["extra.gone", "extra.opt", "extra.OPT"]}
        headers = {"accept": "text/html", "prefer": "wait=300"}
        answer = client.get("/learn", params=asked, headers=headers)
        assert answer.status_code == 200
        assert "so nothing of it could be left out: extra.gone." in answer.text
        assert "Left out: extra.opt, extra.OPT." in answer.text
        assert "ignore=extra.gone" not in answer.text
