"""What to try next across models and kinds of prompts: by command, by Python, on the page."""

from __future__ import annotations

import html
import json
import random
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from starlette.testclient import TestClient

import safelight
from command_line import Safelight
from gui_v2.test_facets import record
from safelight.application import suggested_kinds
from safelight.archive import Archive
from safelight.config import PipelineConfig
from safelight.learning.ratings import Identity, RatingEvent
from safelight.web import create_app

WIDTHS = {"dream": 512, "real": 768, "turbo": 512}
LIKED = {"dream": 1.1, "real": -1.1, "turbo": 0.0}
WAIT = {"accept": "text/html", "prefer": "wait=300"}


def made(
    folder: Path, models: Sequence[str] = tuple(WIDTHS), engines: Mapping[str, str] | None = None,
    *, count: int = 240, kinds: float = 1.0, liked: Mapping[str, float] = LIKED,
) -> Archive:  # fmt: skip
    """Return an archive of rated pictures; portraits and views want other models by *kinds*."""
    rng = random.Random(7)
    archive = Archive(folder)
    records, events = [], []
    for number in range(count):
        model = rng.choice(models)
        kind = rng.choice(["portrait", "view"])
        turbo = model == "turbo"
        pictured = record(
            number + 1, {}, ["ink"] if model == "dream" and rng.random() < 0.5 else [],
            prompt=f"a {kind} of {rng.choice(['a fox', 'a boat', 'a man'])} {rng.choice('abcd')}",
            model=model, steps=rng.choice([4, 6, 8] if turbo else [15, 20, 30]),
            cfg_scale=rng.choice([1.0, 1.5, 2.0] if turbo else [5.0, 7.0, 9.0]),
            sampler=rng.choice(["Euler", "Heun"]), seed=number % 3, width=WIDTHS[model],
            height=512,
        )  # fmt: skip
        records.append(replace(pictured, backend={"name": (engines or {}).get(model, "fake")}))
        likes = kinds * liked[model] * (1 if kind == "portrait" else -1)
        stars = min(5, max(1, round(3 + likes + (1 - kinds) * liked[model] + rng.gauss(0, 0.5))))
        image = Identity(sha256=pictured.outputs[0].sha256)
        events.append(RatingEvent.now("stars", image, value=stars, rater="ann"))
    archive.add_pack([each.to_document() for each in records])
    with archive.ratings() as store:
        store.add(*events)
    return archive


@pytest.fixture
def command(command: Safelight, tmp_path: Path) -> Safelight:
    """The command line, in a folder with such an archive."""
    made(tmp_path / "safelight")
    return command


def listed(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the settings of a config, each with what all have."""
    own = config["randomizer"].get("settings", [{}])
    shared = {f"txt2img.{name}": value for name, value in config["txt2img"].items()}
    return [{**shared, **each} for each in own]


def test_each_suggestion_names_its_model_and_is_drawn_as_its_pictures_were(
    command: Safelight,
) -> None:
    """With their size; and the file passes plan."""
    result = command("suggest", "--n", "12", "--write", "next.toml")
    assert result.exit_code == 0, result.output
    assert "any of 3 models: 240 rated pictures" in result.stdout
    config = tomllib.loads(Path("next.toml").read_text("utf-8"))
    assert "model" not in config["txt2img"]
    drawn = listed(config)
    assert len({setting["txt2img.model"] for setting in drawn}) > 1
    for setting in drawn:
        assert setting["txt2img.width"] == WIDTHS[setting["txt2img.model"]]
        assert ("<lora:ink" in setting["txt2img.prompt"]) <= (setting["txt2img.model"] == "dream")
    assert command("plan", "next.toml").exit_code == 0
    page = json.loads(command("suggest", "--n", "2", "--json").stdout)
    assert (page["model"], sorted(page["models"])) == ("", sorted(WIDTHS))
    assert all("model" in one["setting"] for one in page["suggestions"])
    one = json.loads(command("suggest", "--model", "real", "--n", "2", "--json").stdout)
    assert (one["model"], one["models"]) == ("real", ["real"])
    assert all("model" not in each["setting"] for each in one["suggestions"])
    assert one["config"]["txt2img"]["model"] == "real"
    assert one["config"]["txt2img"]["width"] == 768


def test_what_depends_on_the_kind_of_prompts_is_said_first(
    command: Safelight, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unasked only where that is quick."""
    told = command("suggest", "--n", "1").stdout
    first, about, _ = told.partition("--kinds suggests for each kind")
    assert about
    assert "for prompts with 'portrait'" in first.lower()
    assert "any of 3 models" not in first
    monkeypatch.setattr(suggested_kinds, "_MOST_UNASKED", 100)
    quick = command("suggest", "--n", "1").stdout
    assert "prompts with" not in quick
    assert "was not looked for among 240 pictures; --kinds does" in quick
    assert "for prompts with" in command("suggest", "--n", "1", "--kinds").stdout.lower()


def test_each_kind_has_its_suggestions_and_its_prompts(command: Safelight) -> None:
    """Portraits want one model, views another; the config keeps them apart."""
    result = command("suggest", "--kinds", "--n", "3", "--write", "next.toml")
    assert result.exit_code == 0, result.output
    page = json.loads(command("suggest", "--kinds", "--n", "3", "--json").stdout)
    best = {kind["name"]: kind["best"]["setting"]["model"] for kind in page["kinds"]}
    of_portraits = "prompts with 'portrait'"
    (of_views,) = best.keys() - {of_portraits}
    assert best == {of_portraits: "dream", of_views: "real"}
    assert all(f"for {name}" in result.stdout for name in best)
    drawn = listed(tomllib.loads(Path("next.toml").read_text("utf-8")))
    assert drawn == listed(page["config"])
    assert len(drawn) == 2 * 3 * 2
    for kind in page["kinds"]:
        asked = {one["setting"]["model"] for one in kind["suggestions"]}
        word = "portrait" if kind["name"] == of_portraits else "view"
        own = [setting for setting in drawn if word in setting["txt2img.prompt"]]
        assert len(own) == 6
        assert {setting["txt2img.model"] for setting in own} == asked
    assert "For prompts with 'portrait':" in Path("next.toml").read_text("utf-8")
    assert "settings x 12" in command("plan", "next.toml").stdout
    within = ("--where", "model = 'dream' or model = 'real'", "--kinds", "--json")
    narrowed = json.loads(command("suggest", *within).stdout)
    assert all("turbo" not in kind["models"] for kind in narrowed["kinds"])
    assert narrowed["kinds"]


def test_without_kinds_all_prompts_are_one(command: Safelight, tmp_path: Path) -> None:
    made(tmp_path / "alike", kinds=0.0)
    told = command("suggest", "--kinds", "--n", "1", "--archive", "alike")
    assert "No kind of pictures is known for which something else is good." in told.stdout
    assert "any of 3 models" in told.stdout
    refused = command("suggest", "--kinds", "--preset", "x")
    assert refused.exit_code == 2
    assert "--preset is of one kind" in refused.output


def test_a_preset_names_its_model_and_for_which_pictures_it_holds(command: Safelight) -> None:
    where = ("--where", "prompt has 'portrait'")
    # Three ratings of one setting are needed: one knob is left to vary beside the model.
    archive = made(Path("few"), count=12)
    rng = random.Random(3)
    records, events = [], []
    for number in range(100, 160):
        model = ("dream", "real")[number % 2]
        made_one = record(
            number, {}, prompt=f"a study of {number % 6}", model=model, seed=number % 2,
            steps=(15, 20, 30, 40)[number // 2 % 4],
        )  # fmt: skip
        records.append(replace(made_one, backend={"name": "fake"}))
        image = Identity(sha256=made_one.outputs[0].sha256)
        stars = min(5, max(1, round((4.2 if model == "dream" else 2.0) + rng.gauss(0, 0.4))))
        events.append(RatingEvent.now("stars", image, value=stars, rater="ann"))
    archive.add_pack([each.to_document() for each in records])
    with archive.ratings() as store:
        store.add(*events)
    more = ("--archive", "few", "--where", "prompt has 'study'")
    kept = command("suggest", "--preset", "faces", *more)
    assert kept.exit_code == 0, kept.output
    assert "with dream, of 2 models (only pictures with prompt has 'study')" in kept.stdout
    config = PipelineConfig.from_file(Path("few/presets/faces.toml"))
    assert config.stages["txt2img"]["model"] == "dream"
    facts = config.metadata["evidence"]
    assert (facts["model"], facts["condition"]) == ("dream", more[-1])
    assert sorted(facts["models"]) == ["dream", "real"]
    refused = command("suggest", "--preset", "x", *where, "--rater", "ann", "--lora", "ink")
    assert "(only pictures with prompt has 'portrait')" in refused.output


def test_a_model_that_another_engine_drew_is_left_out_of_the_file_and_told(
    command: Safelight, tmp_path: Path
) -> None:
    """One config has one engine."""
    engines = {"real": "bundled"}
    made(tmp_path / "two", engines=engines, kinds=0.0, liked=dict.fromkeys(WIDTHS, 0.0))
    result = command("suggest", "--n", "60", "--archive", "two", "--write", "next.toml")
    config = tomllib.loads(Path("next.toml").read_text("utf-8"))
    assert config["backend"] == "fake"
    assert "real" not in {setting["txt2img.model"] for setting in listed(config)}
    told = "not in the config: real, which bundled drew in another way than the others"
    assert told in result.stdout
    assert told in Path("next.toml").read_text("utf-8")


def test_in_python_kinds_are_asked_for_by_name(command: Safelight) -> None:
    archive = safelight.open("safelight")
    found = archive.suggest(count=2)
    assert (found.model, found.kinds) == ("", ())
    assert any("prompts with" in sentence for sentence in found.depends)
    of_kinds = archive.suggest(count=2, kinds=True)
    assert len(of_kinds.kinds) == 2
    assert [kind.suggestions.best is not None for kind in of_kinds.kinds] == [True, True]
    assert len(listed(of_kinds.config)) == 2 * 2 * 2


def test_the_page_offers_any_model_first_and_each_kind(command: Safelight) -> None:
    """A config of each suggestion has its model; a kind is a filter of the same page."""
    archive = Archive("safelight")
    with TestClient(create_app(archive), base_url="http://127.0.0.1") as client:
        text = client.get("/learn", headers=WAIT).text
        menu = re.search(r'<select name="model">(.*?)</select>', text, re.DOTALL)
        assert menu is not None
        options = re.findall(r"<option([^>]*)>([^<]*)", menu[1])
        assert options[0] == (' value="" selected', "any")
        assert sorted(name for _, name in options[1:]) == sorted(WIDTHS)
        shown = re.findall(r"<summary>Write as config</summary><pre[^>]*>(.*?)</pre>", text,
                           re.DOTALL)  # fmt: skip
        for config in (tomllib.loads(html.unescape(each)) for each in shown):
            for setting in listed(config):
                assert setting["txt2img.width"] == WIDTHS[setting["txt2img.model"]]
        links = {
            name: parse_qs(html.unescape(address))["q"][0]
            for address, name in re.findall(r'href="/learn\?(q=[^"]*)">for (prompts [^<]*)<', text)
        }
        assert len(links) == 2
        assert "prompt has 'portrait'" in links.values()
        one = client.get("/learn", params={"model": "turbo"}, headers=WAIT).text
        assert re.search("Worth (drawing|exploring), with turbo", one)
