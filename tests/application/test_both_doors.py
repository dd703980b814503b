"""What the command line and the page both do is one thing: asked at both doors, it is equal."""

from __future__ import annotations

import html
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin
from starlette.testclient import TestClient

from command_line import Safelight
from safelight.application.carrying_out import EngineRunner
from safelight.application.configs_again import engine_of
from safelight.application.to_rate import next_to_rate
from safelight.archive import Archive
from safelight.backends import backend_names
from safelight.config import PipelineConfig
from safelight.controller import PipelineController
from safelight.errors import ConfigError
from safelight.learning.ratings import Identity, RatingEvent
from safelight.web import create_app

WAIT = {"prefer": "wait=300"}
SWEPT = """
name = "foxes"
[backend]
name = "fake"
seconds_per_step = 0.0
[txt2img]
prompt = "a {red|blue} fox <lora:ink:0.2>"
steps = 2
width = 64
height = 64
seed = 5
[randomizer]
mode = "fanout"
seeds_per_variant = 2
[randomizer.sweep]
"txt2img.sampler" = ["Euler", "Heun"]
"""


@pytest.fixture
def safelight(command: Safelight, tmp_path: Path) -> Safelight:
    (tmp_path / "c.toml").write_text(SWEPT, "utf-8")
    return command


@pytest.fixture
def page(safelight: Safelight, tmp_path: Path) -> Iterator[TestClient]:
    app = create_app(tmp_path / "safelight", allow=[tmp_path / "project"])
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


def rows(safelight: Safelight, *more: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(safelight("find", "--json", *more).stdout)["rows"]
    return listed


def rate(archive: Path, score: Callable[[dict[str, Any]], int]) -> None:
    """Rate all pictures in an order that goes with nothing; else it could be the order."""
    opened = Archive(archive)
    with opened.ratings() as store:
        for row in sorted(opened.query(limit=None).dicts(), key=lambda row: str(row["sha256"])):
            image = Identity(sha256=row["sha256"], pixel_sha256=row["pixel_sha256"])
            store.add(RatingEvent.now("stars", image, value=score(row), rater="ann"))


def begins_with(text: str) -> dict[str, Any]:
    """Return the config that the page's form begins with."""
    match = re.search(r'<script[^>]*id="first"[^>]*>(.*?)</script>', text, re.DOTALL)
    assert match is not None
    begin: dict[str, Any] = json.loads(match[1])["config"]
    return begin


def test_a_run_is_shown_as_it_was_stated(safelight: Safelight, page: TestClient) -> None:
    """Its randomizer and its engine's options with it; run again, it is the same plan."""
    assert safelight("run", "c.toml").exit_code == 0
    (run,) = rows(safelight, "--view", "runs")
    text = page.get(f"/runs/{run['run_id']}").text
    shown = re.search(r'<pre class="toml"[^>]*>(.*?)</pre>', text, re.DOTALL)
    assert shown is not None
    toml = html.unescape(shown[1])
    assert tomllib.loads(toml) == tomllib.loads(SWEPT)
    plan = page.post("/api/plan", json={"toml": toml}).json()
    assert plan["plan_size"] == 8
    Path("again.toml").write_text(toml, "utf-8")
    planned = json.loads(safelight("plan", "again.toml", "--json").stdout)
    assert planned["plan_size"] == 8


@pytest.mark.parametrize(
    ("tool", "engine"),
    [
        ("a1111", "webui"), ("forge-neo", "webui"), ("sd.cpp", "webui"), ("swarmui", "comfyui"),
        ("comfyui", "comfyui"), ("fake", "fake"), ("novelai", None), ("", None),
    ],
)  # fmt: skip
def test_who_made_a_picture_has_an_engine_or_none(tool: str, engine: str | None) -> None:
    assert engine_of(tool) == engine
    assert engine is None or engine in backend_names()


def test_an_imported_picture_is_run_again_on_an_engine_that_there_is(
    safelight: Safelight, page: TestClient, tmp_path: Path
) -> None:
    """The tool that made it is no engine: the web UI that speaks its language is."""
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", (
        "a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 3, Size: 8x8, Model: m,"
        " Version: v1.10.1"
    ))  # fmt: skip
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "pictures" / "a.png", pnginfo=info)
    assert safelight("import", "pictures").exit_code == 0
    (row,) = rows(safelight)
    assert row["backend"] == "a1111"
    begin = begins_with(page.get(f"/runs/new?like={row['sha256']}").text)
    assert begin["backend"] == "webui"
    assert begin["txt2img"]["prompt"] == "a cat"
    plan = page.post("/api/plan", json={"config": begin}).json()
    assert (plan["plan_size"], plan["backend"]) == (1, "webui")
    rate(tmp_path / "safelight", lambda _: 5)
    assert json.loads(safelight("suggest", "--json").stdout)["config"]["backend"] == "webui"


def test_a_suggestion_is_the_same_config_at_both_doors(
    safelight: Safelight, page: TestClient, tmp_path: Path
) -> None:
    """With the LoRA's suggested weight, the rated prompts as they are, and the rated seed."""
    for weight in ("0.2", "0.4", "0.7", "1.0"):
        prompt = f"a fox {{deep|pale}} <lora:ink:{weight}>"
        done = safelight(
            "run", "c.toml", "--set", f'txt2img.prompt="{prompt}"', "--set",
            'randomizer.templates=false',
        )  # fmt: skip
        assert done.exit_code == 0, done.output
    rate(tmp_path / "safelight", lambda row: 5 if "1.0" in row["prompt"] else 2)
    answer = json.loads(safelight("suggest", "--n", "4", "--seeds", "2", "--json").stdout)
    shown = re.findall(r"<summary>Write as config</summary><pre[^>]*>(.*?)</pre>",
                       page.get("/learn", headers=WAIT).text, re.DOTALL)  # fmt: skip
    configs = [tomllib.loads(html.unescape(text)) for text in shown]
    assert len(configs) == len(answer["suggestions"])
    for suggestion, config in zip(answer["suggestions"], configs, strict=True):
        PipelineConfig.from_mapping(config)
        assert config["backend"] == answer["config"]["backend"]
        assert config["randomizer"] == {
            "mode": "fanout", "templates": False, "seeds_per_variant": 2,
        }  # fmt: skip
        assert config["txt2img"]["seed"] == answer["config"]["txt2img"]["seed"] == 5
        assert config["txt2img"]["steps"] == 2
        if weight := suggestion["setting"].get("lora.ink"):
            assert f"<lora:ink:{weight:g}>" in config["txt2img"]["prompt"]
            assert config["txt2img"]["prompt"].startswith("a fox {deep|pale}")


def test_a_secret_of_the_environment_reaches_the_engine_at_both_doors(
    safelight: Safelight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFUSED", "fox")
    Path("c.toml").write_text(SWEPT.replace("seconds_per_step = 0.0", 'fail_on = "env:REFUSED"'))
    done = safelight("run", "c.toml")
    assert "refuses prompts with 'fox'" in done.output
    config = tomllib.loads(Path("c.toml").read_text("utf-8"))
    runner = EngineRunner(tmp_path / "other", {"REFUSED": "fox"})
    try:
        result = PipelineController(runner).run(PipelineConfig.from_mapping(config))
        assert result.status == "failed"
        assert "refuses prompts with 'fox'" in result.failures[0].error
    finally:
        runner.close()


def test_a_variable_that_is_not_set_is_told_at_both_doors(
    safelight: Safelight, tmp_path: Path
) -> None:
    runner = EngineRunner(tmp_path / "other", {})
    config = {"backend": {"name": "webui", "url": "env:SECRET"}, "txt2img": {"prompt": "x"}}
    try:
        with pytest.raises(ConfigError, match="SECRET is not set in the environment"):
            PipelineController(runner).run(PipelineConfig.from_mapping(config))
    finally:
        runner.close()
    Path("c.toml").write_text(SWEPT.replace("seconds_per_step = 0.0", 'fail_on = "env:SECRET"'))
    assert "SECRET is not set in the environment" in safelight("run", "c.toml").output


def test_a_run_from_another_folder_is_shown_so_that_it_plans_the_same(
    safelight: Safelight, page: TestClient, tmp_path: Path
) -> None:
    """Its wildcards lie beside its file."""
    folder = tmp_path / "project"
    (folder / "words").mkdir(parents=True)
    (folder / "words" / "animal.txt").write_text("cat\ndog\n", "utf-8")
    stated = SWEPT.replace("{red|blue} fox", "__animal__")
    stated = stated.replace('mode = "fanout"', 'mode = "fanout"\nwildcards_dir = "words"')
    (folder / "q.toml").write_text(stated, "utf-8")
    assert safelight("run", "project/q.toml").exit_code == 0
    (run,) = rows(safelight, "--view", "runs")
    shown = re.search(
        r'<pre class="toml"[^>]*>(.*?)</pre>', page.get(f"/runs/{run['run_id']}").text, re.DOTALL
    )
    assert shown is not None
    plan = page.post("/api/plan", json={"toml": html.unescape(shown[1])})
    assert (plan.status_code, plan.json()["plan_size"]) == (200, 8)


def test_a_page_and_a_command_reuse_what_the_other_drew(
    safelight: Safelight, tmp_path: Path
) -> None:
    """And both write the sheet that shows it."""
    assert safelight("run", "c.toml").exit_code == 0
    runner = EngineRunner(tmp_path / "safelight", {})
    try:
        stated = tomllib.loads(SWEPT)
        result = PipelineController(runner).run(PipelineConfig.from_mapping(stated))
    finally:
        runner.close()
    assert (result.status, result.reused) == ("completed", 8)
    assert len(rows(safelight)) == 8
    assert len(list((tmp_path / "safelight").glob("images/*/*/contact_sheet.png"))) == 2


def test_pictures_to_rate_come_from_the_whole_archive_at_both_doors(
    safelight: Safelight, page: TestClient, tmp_path: Path
) -> None:
    """Also from what is older than the newest few thousand; those that are gone do not come."""
    for number in range(4):
        more = ("--set", f"txt2img.seed={100 * number}", "--set", "txt2img.steps=1")
        assert safelight("run", "c.toml", *more).exit_code == 0
    newest = Archive(tmp_path / "safelight").query(sort="timestamp", limit=None)
    everything = {row["sha256"]: row for row in newest.dicts()}
    assert len(everything) == 32
    old = {row["sha256"] for row in list(newest.dicts())[:16]}
    gone = {row["sha256"] for row in list(newest.dicts())[::4]}
    for digest in gone:
        (tmp_path / "safelight" / everything[digest]["path"]).unlink()
    met = set[str]()
    for seed in range(8):
        events = Archive(tmp_path / "safelight").ratings().events()
        sets = next_to_rate(
            Archive(tmp_path / "safelight"), events, together=2, count=4, seed=seed, most=12
        )
        assert sets
        met |= {row["sha256"] for group in sets for row in group}
    assert met & old
    assert not met & gone
    for mode, size in (("one", 1), ("pair", 2), ("four", 4)):
        shown = page.get(f"/api/next-to-rate?mode={mode}", headers=WAIT).json()["sets"]
        assert {len(identity) for identity in shown} == {size}
        assert not {picture["sha256"] for some in shown for picture in some} & gone
    listed = json.loads(safelight("rate", "--next", "--n", "9", "--json").stdout)["pictures"]
    assert len(listed) == 9
    assert not {picture["sha256"] for picture in listed} & gone


def test_what_another_tool_calls_a_knob_is_the_knob_and_the_rest_is_shown(
    safelight: Safelight, page: TestClient, tmp_path: Path
) -> None:
    """In the view of a picture, in what is found, and in the config that draws it again."""
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", (
        "a cat\nSteps: 20, Sampler: Euler a, Seed: 3, Size: 8x8, Distilled CFG Scale: 3.5,"
        " RNG: CPU, Version: f2.0.1v1.10.1"
    ))  # fmt: skip
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "pictures" / "a.png", pnginfo=info)
    assert safelight("import", "pictures").exit_code == 0
    (row,) = rows(safelight, "extra.rng = 'CPU' and guidance = 3.5")
    answer = page.get(f"/api/pictures/{row['sha256']}").json()
    shown = {one["name"]: one["value"] for one in answer["rest"]}
    assert (shown["guidance"], shown["RNG"]) == ("3.5", "CPU")
    begin = begins_with(page.get(f"/runs/new?like={row['sha256']}").text)
    assert begin["txt2img"]["guidance"] == 3.5
    assert "extra" not in begin["txt2img"]


def test_a_picture_of_ours_is_drawn_again_with_what_only_its_engine_knows(
    safelight: Safelight, page: TestClient
) -> None:
    assert safelight("run", "c.toml", "--set", "txt2img.extra.tiling=true").exit_code == 0
    begin = begins_with(page.get(f"/runs/new?like={rows(safelight)[0]['sha256']}").text)
    assert begin["txt2img"]["extra"] == {"tiling": True}


def test_a_suggestion_keeps_what_only_the_engine_knows(safelight: Safelight) -> None:
    """With it the rated pictures were drawn; what a knob stands for is the knob."""
    extra = "txt2img.extra={ tiling = true, guidance = 3.5 }"
    assert safelight("run", "c.toml", "--set", extra).exit_code == 0
    rate(Path("safelight"), lambda row: 5 if row["sampler"] == "Heun" else 2)
    config = json.loads(safelight("suggest", "--json").stdout)["config"]
    assert config["txt2img"]["extra"] == {"tiling": True}
    assert config["txt2img"]["guidance"] == 3.5
    # A prompt that names the LoRA keeps its tag, and that its weight on the text encoder.
    more = ("--prompt", "a boat <lora:ink:1:2>", "--knob", "lora. ink=0.1,0.2", "--n", "4")
    config = json.loads(safelight("suggest", *more, "--json").stdout)["config"]
    prompts = {setting["txt2img.prompt"] for setting in config["randomizer"]["settings"]}
    assert all(re.fullmatch(r"a boat <lora:ink:1:0\.[12]\d*>", prompt) for prompt in prompts)
    beyond = safelight("suggest", "--knob", "lora.ink=0.2,200")
    assert (beyond.exit_code, "from -100 to 100, got 200" in beyond.output) == (2, True)


def test_a_suggestion_from_another_tool_has_its_knobs_and_not_its_words(
    safelight: Safelight, tmp_path: Path
) -> None:
    """No engine of ours may understand those."""
    (tmp_path / "pictures").mkdir()
    for name, guidance in (("a", 3.5), ("b", 4.5)):
        info = PngImagePlugin.PngInfo()
        info.add_text("parameters", (
            f"a cat\nSteps: 20, Sampler: Euler a, Seed: 3, Size: 8x8, Distilled CFG Scale:"
            f" {guidance}, Shift: 3, RNG: CPU, Version: f2.0.1v1.10.1"
        ))  # fmt: skip
        picture = Image.new("RGB", (8, 8), (int(guidance), 0, 0))
        picture.save(tmp_path / "pictures" / f"{name}.png", pnginfo=info)
    assert safelight("import", "pictures").exit_code == 0
    rate(Path("safelight"), lambda row: 5 if row["guidance"] == 4.5 else 2)
    config = json.loads(safelight("suggest", "--json").stdout)["config"]
    assert config["txt2img"]["shift"] == 3
    assert "extra" not in config["txt2img"]


def test_an_unknown_setting_that_undoes_pairs_is_told_and_left_out_on_request(
    safelight: Safelight, page: TestClient, tmp_path: Path
) -> None:
    """At the command line and on the page; other settings of that name are refused with a hint."""
    (tmp_path / "c.toml").write_text(SWEPT.replace("{red|blue}", "{a|b|c|d|e|f}"), "utf-8")
    for sampler, turbo in (("Euler", 1), ("Heun", 2)):
        one = f'randomizer.sweep."txt2img.sampler"=["{sampler}"]'
        done = safelight("run", "c.toml", "--set", one, "--set", f"txt2img.extra.turbo={turbo}")
        assert done.exit_code == 0
    rate(tmp_path / "safelight", lambda row: 4 if row["sampler"] == "Heun" else 2)
    answer = json.loads(safelight("effects", "--json").stdout)
    (undone,) = answer["undone"]
    assert (undone["setting"], undone["pairs"]) == ("extra.turbo", 12)
    assert "--ignore 'extra.turbo'" in safelight("effects").output
    shown = html.unescape(page.get("/learn", headers=WAIT).text)
    assert "extra.turbo alone undoes 12 pairs" in shown
    again = json.loads(safelight("effects", "--json", "--ignore", "extra.turbo").stdout)
    assert again["undone"] == []
    sampler = next(knob for knob in again["knobs"] if knob["knob"] == "sampler")
    assert [(c["basis"], c["n"]) for c in sampler["comparisons"]] == [("pairs", 12)]
    left_out = html.unescape(page.get("/learn?ignore=extra.turbo", headers=WAIT).text)
    assert "Left out: extra.turbo" in left_out
    assert "alone undoes" not in left_out
    wrong = safelight("effects", "--ignore", "extra.trubo")
    assert (wrong.exit_code, "did you mean 'extra.turbo'" in wrong.output) == (2, True)


def test_what_would_be_discarded_and_handed_over_is_the_same_at_both_doors(
    safelight: Safelight, page: TestClient
) -> None:
    safelight("run", "c.toml")
    about = "sampler = 'Heun'"
    told = json.loads(safelight("archive", "discard", about, "--dry-run", "--json").stdout)
    plan = page.post("/api/trash/plan", json={"q": about}).json()
    assert told["files"] == 4
    assert {name: plan[name] for name in ("files", "size", "led_to", "used_again")} == {
        name: told[name] for name in ("files", "size", "led_to", "used_again")
    }
    page.post("/api/trash", json={"q": about, "snapshot": plan["snapshot"]})
    listed = json.loads(safelight("archive", "restore", "--dry-run", "--json").stdout)["days"]
    (day,) = page.get("/api/trash").json()["days"]
    assert [(d["day"], d["files"], d["size"]) for d in listed] == [
        (day["day"], day["files"], day["size"])
    ]
    safelight("export", "left.zip")
    answer = page.post(
        "/hand-over", content="q=", headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert answer.content == Path("left.zip").read_bytes()


def test_a_report_is_the_same_file_from_both_doors(
    safelight: Safelight, page: TestClient, tmp_path: Path
) -> None:
    """But for the minute in which it was made; a filter is shown as it was typed."""
    safelight("run", "c.toml", "--seed", "1", "--set", 'randomizer.sweep."txt2img.steps"=[2, 3, 4]')
    safelight("rate", "--where", "sampler = 'Heun'", "--stars", "5", "--rater", "ann")
    safelight("rate", "--where", "sampler = 'Euler'", "--stars", "2", "--rater", "ann")
    asked = "prompt has red"
    assert safelight("report", asked, "--write", "report.html").exit_code == 0
    answer = page.get("/learn/report", params={"q": asked})
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == 'attachment; filename="report.html"'

    def plain(text: str) -> str:
        return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "now", text)

    assert "data:image/webp;base64," in answer.text
    assert plain(answer.text) == plain((tmp_path / "report.html").read_text("utf-8"))
    assert page.get("/learn/report", params={"q": "nonsense ="}).status_code == 400

    learn = page.get("/learn", headers={**WAIT, "accept": "text/html"}).text
    assert 'href="/learn/report" download' in learn
    copied = {
        what: html.unescape(text)
        for text, what in re.findall(r'data-copy="([^"]*)" data-what="([^"]*)"', learn)
    }
    assert list(copied) == ["A1111 text", "ComfyUI graph", "JSON"]
    Path("best.json").write_text(copied["JSON"], "utf-8")
    for form, what in (("infotext", "A1111 text"), ("comfyui", "ComfyUI graph")):
        told = json.loads(safelight("show", "best.json", "--as", form, "--json").stdout)
        assert told["text"] == copied[what]
    assert "Sampler: Heun" in copied["A1111 text"]


def test_settings_of_a_picture_are_copied_the_same_at_both_doors(
    safelight: Safelight, page: TestClient, tmp_path: Path
) -> None:
    safelight("run", "c.toml", "--seed", "1")
    row = json.loads(safelight("find", "sampler = 'Heun'", "--limit", "1", "--json").stdout)
    (found,) = row["rows"]
    for form in ("infotext", "comfyui", "json"):
        command = safelight("show", f"safelight/{found['path']}", "--as", form, "--json").stdout
        told = page.get(f"/api/pictures/{found['sha256']}/settings", params={"as": form}).json()
        assert told["text"] == json.loads(command)["text"]
        assert told["notes"] == json.loads(command)["notes"]
    place = f"/api/pictures/{found['sha256']}"
    assert (
        page.get(place).json()["parameters"]
        == (page.get(f"{place}/settings", params={"as": "infotext"}).json()["text"])
    )
    assert page.get(f"{place}/settings", params={"as": "x"}).status_code == 400
