"""What was drawn is found, compared and drawn again from the command line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import duckdb
import pytest
from click.testing import Result
from PIL import Image
from starlette.testclient import TestClient

from command_line import Safelight
from safelight.application import packing_up
from safelight.learning import LearningRecord
from safelight.web import create_app

CONFIG = """
backend = "fake"
[txt2img]
prompt = "a {red|green} lighthouse, 灯台"
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
    assert command("run", "c.toml", "--seed", "1").exit_code == 0
    return command


def test_a_picture_is_found_by_what_it_was_made_with(safelight: Safelight) -> None:
    """The first line of each is its file, which is there."""
    result = safelight("find", "prompt has 'GREEN' and cfg_scale > 5")
    (path, knobs, *_) = result.stdout.splitlines()
    assert Path(path).is_file()
    assert "a green lighthouse, 灯台 · fake · Euler · 2 steps · cfg 7 · seed 7" in knobs
    assert safelight("find", "cfg_scale > 50").stdout == "nothing found\n"


def test_a_plain_word_finds_pictures_at_both_doors(safelight: Safelight, tmp_path: Path) -> None:
    """A person types what they remember, not a language."""
    for text, count in (
        ("LIGHTHOUSE", 4), ("green", 2), ('"green lighthouse" cfg_scale > 5', 1), ("ship", 0)
    ):  # fmt: skip
        rows = json.loads(safelight("find", text, "--json").stdout)["rows"]
        with TestClient(create_app(tmp_path / "safelight"), base_url="http://127.0.0.1") as page:
            shown = page.get("/api/pictures", params={"q": text}).json()["rows"]
            assert page.get("/api/facets", params={"q": text}).json()["total"] == count
        assert [row["sha256"] for row in rows] == [row["sha256"] for row in shown]
        assert len(rows) == count
        assert safelight("find", text, "--view", "runs").exit_code == 0


def test_rows_come_as_json_and_csv_and_page_by_page(safelight: Safelight) -> None:
    """For scripts; a page says where the next one begins."""
    page = json.loads(safelight("find", "--limit", "3", "--json").stdout)
    assert len(page["rows"]) == 3
    assert page["rows"][0]["seed"] == 7
    rest = json.loads(safelight("find", "--limit", "3", "--json", "--after", page["after"]).stdout)
    assert (len(rest["rows"]), rest["after"]) == (1, None)
    text = safelight("find", "--csv", "--columns", "cfg_scale,prompt", "--sort", "cfg_scale").stdout
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == ["cfg_scale", "prompt"]
    assert [row[0] for row in rows[1:]] == ["3.0", "3.0", "7.0", "7.0"]
    counted = safelight("find", "--sql", "--csv", "SELECT count(*) AS n FROM images")
    assert counted.stdout.split() == ["n", "4"]


def test_a_filter_that_cannot_be_read_is_said(safelight: Safelight) -> None:
    """With the place and a near name."""
    wrong = safelight("find", "promt has 'a'")
    assert wrong.exit_code == 2
    assert "no column 'promt'; did you mean 'prompt'?" in wrong.output


def test_a_question_says_what_it_left_out(safelight: Safelight, tmp_path: Path) -> None:
    """Seven files that are no records cost the answer nothing but themselves."""
    records = tmp_path / "safelight" / "records"
    for number in range(7):
        (records / f"torn{number}.json").write_text('{"run_id": "x"', "utf-8")
    for command, of in (("find", "rows"), ("stats", "groups")):
        answer = json.loads(safelight(command, "--json").stdout)
        assert answer[of]
        assert [Path(left["path"]).name for left in answer["left_out"]] == [
            f"torn{number}.json" for number in range(7)
        ]
        assert all(left["told"] for left in answer["left_out"])


def test_packing_changes_no_answer(safelight: Safelight, tmp_path: Path) -> None:
    """And verify, stats and show read packs as they read files."""
    before = safelight("find", "--json").stdout
    shown = safelight("show", "--json").stdout
    assert "1 records packed" in safelight("archive", "pack").stdout
    assert not list((tmp_path / "safelight" / "records").glob("*.json"))
    assert safelight("find", "--json").stdout == before
    assert safelight("show", "--json").stdout == shown
    verified = json.loads(safelight("archive", "verify", "--json").stdout)
    assert (verified["whole"], verified["faults"]) == (1, [])
    stats = json.loads(safelight("archive", "stats", "--json").stdout)
    assert (stats["runs"], stats["pictures"], stats["groups"][0]["backend"]) == (1, 4, "fake")
    assert "1 run, 4 pictures" in safelight("archive", "stats").stdout
    (tmp_path / "safelight" / "records" / "x.json").write_text("{}", "utf-8")
    result = safelight("archive", "verify")
    assert result.exit_code == 1
    assert "x.json" in result.stdout


def test_many_loose_records_are_packed_by_themselves(
    safelight: Safelight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a run, never within one; a failure harms nothing."""
    monkeypatch.setattr(packing_up, "PACK_FROM", 3)
    safelight("run", "c.toml")
    assert len(list((tmp_path / "safelight" / "records").glob("*.json"))) == 2
    result = safelight("run", "c.toml")
    assert "3 records packed" in result.stderr
    assert json.loads(safelight("archive", "stats", "--json").stdout)["runs"] == 3
    (tmp_path / "safelight" / "packs").rename(tmp_path / "elsewhere")
    (tmp_path / "safelight" / "packs").write_text("in the way", "utf-8")
    safelight("run", "c.toml")
    safelight("run", "c.toml")
    harmless = safelight("run", "c.toml")
    assert harmless.exit_code == 0
    assert "the records were not packed" in harmless.stderr


def test_one_difference_is_evidence_and_two_are_not(safelight: Safelight) -> None:
    """So that nobody credits the wrong knob."""
    (first,) = csv_column(safelight("find", "--view", "runs", "--columns", "run_id", "--csv"))
    safelight("run", "c.toml", "--set", "txt2img.steps=3", "--seed", "1")
    output = safelight("diff", first, "last").stdout
    assert output == "txt2img.steps  2 -> 3\nexactly one thing differs: txt2img.steps\n"
    same = safelight("diff", first, first).stdout
    assert same == "nothing differs but the runs themselves\n"
    differences = json.loads(safelight("diff", first, "last", "--json").stdout)
    assert {"what": "txt2img.steps", "first": 2, "second": 3} in differences
    safelight("run", "c.toml", "--set", "txt2img.steps=3")
    output = safelight("diff", first, "last").stdout
    assert "exactly one thing differs: txt2img.steps" in output, "nothing hung on the plan's seed"
    safelight("run", "c.toml", "--set", "txt2img.seed=-1", "--seed", "8")
    safelight("run", "c.toml", "--set", "txt2img.seed=-1", "--seed", "9")
    runs = csv_column(safelight("find", "--view", "runs", "--columns", "run_id", "--csv"))
    assert "plan.seed  8 -> 9" in safelight("diff", runs[1], runs[0]).stdout


def test_a_run_is_drawn_again_to_the_pixel(safelight: Safelight) -> None:
    """With what was really used, braces and all; other pixels are told and are a failure."""
    again = safelight("replay", "last")
    assert again.exit_code == 0
    assert "4 of 4 pictures that it drew came out the same to the pixel" in again.stdout
    assert json.loads(safelight("stats", "--json").stdout)["runs"] == 2, "one run again, not four"
    replayed = json.loads(safelight("show", "last", "--json").stdout)
    assert len(replayed["variant_configs"]) == 4
    assert "4 of 4 pictures" in safelight("replay", "last").stdout, "and so can be that one"
    other = safelight("replay", "last", "--option", "substitute={steps=9}")
    assert other.exit_code == 1
    assert "OTHER PIXELS" in other.stdout


def test_archives_are_merged(safelight: Safelight, tmp_path: Path) -> None:
    """What another machine drew is found here."""
    safelight("run", "c.toml", "--archive", "other")
    assert "files copied" in safelight("archive", "merge", "other").stdout
    assert json.loads(safelight("archive", "stats", "--json").stdout)["runs"] == 2


def test_pairs_that_are_all_ties_say_why_they_make_no_rows(safelight: Safelight) -> None:
    safelight("rate", "--where", "width > 0", "--stars", "3")
    told = safelight("export", "pairs.jsonl", "--pairs", "pickapic").stdout
    assert told.startswith("0 rows from ")
    assert "all pairs are ties" in told


def test_a_rating_follows_the_picture_wherever_its_file_goes(
    safelight: Safelight, tmp_path: Path
) -> None:
    """Moved, renamed, even saved again by another program: it is the same picture."""
    first = safelight("find", "--limit", "1").stdout.splitlines()[0]
    moved = tmp_path / "elsewhere.png"
    Path(first).rename(moved)
    event = safelight("rate", str(moved), "--stars", "4", "--tag", "keep").stdout.split()[0]
    assert safelight("find", "stars >= 4 and tags has 'keep'").stdout.splitlines()[0] == first
    told = safelight("rate", "--where", "stars is missing", "--reject", "--rater", "ann").stdout
    assert "reject yes: " in told
    assert len(json.loads(safelight("find", "rejected = true", "--json").stdout)["rows"]) == 3
    safelight("archive", "pack")
    with Image.open(moved) as picture:
        picture.save(tmp_path / "again.png")
    safelight("rate", str(tmp_path / "again.png"), "--stars", "5", "--rater", "bob")
    (row,) = json.loads(safelight("find", "stars > 4", "--json").stdout)["rows"]
    assert (row["stars"], row["path"]) == (4.5, first.removeprefix("safelight/"))
    wrong = safelight("rate", "--undo", "zzzz")
    assert (wrong.exit_code, "begins with 'zzzz'" in wrong.stderr) == (1, True)
    undone = safelight("rate", "--undo", event[:12])
    assert undone.stdout.split(None, 1)[1] == f"undo of {event}\n"
    (row,) = json.loads(safelight("find", "stars = 5", "--json").stdout)["rows"]
    assert safelight("rate", str(moved)).exit_code == 2
    assert safelight("rate", "--stars", "3").exit_code == 2


def test_what_is_found_is_exported(safelight: Safelight, tmp_path: Path) -> None:
    """The same rows in each format, large seeds whole."""
    assert "2 pictures written" in safelight("export", "a.jsonl", "cfg_scale = 3").stdout
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text("utf-8").splitlines()]
    safelight("export", "a.csv", "cfg_scale = 3")
    listed = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text("utf-8"))))
    assert [row["path"] for row in listed] == [row["path"] for row in rows]
    safelight("export", "a.parquet", "cfg_scale = 3")
    with duckdb.connect() as connection:
        exported = connection.execute("SELECT path, seed FROM read_parquet('a.parquet')").fetchall()
    assert exported == [(row["path"], row["seed"]) for row in rows]
    assert safelight("export", "a.xlsx").exit_code == 2


def test_preference_pairs_are_exported_with_a_card(safelight: Safelight, tmp_path: Path) -> None:
    """Only within one prompt and size; the card says what they rest on."""
    safelight("rate", "--where", "cfg_scale = 3", "--stars", "2", "--rater", "ann")
    safelight("rate", "--where", "cfg_scale = 7", "--stars", "5", "--rater", "ann")
    output = safelight("export", "pairs.jsonl", "--pairs", "pickapic").stdout
    assert "2 rows from 2 pairs" in output
    rows = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text("utf-8").splitlines()]
    assert len({row["caption"] for row in rows}) == 2
    assert "2" in (tmp_path / "pairs.md").read_text("utf-8")


def test_pairs_for_kohya_are_copied_side_by_side(safelight: Safelight, tmp_path: Path) -> None:
    safelight("rate", "--where", "cfg_scale = 3", "--stars", "2", "--rater", "ann")
    safelight("rate", "--where", "cfg_scale = 7", "--stars", "5", "--rater", "ann")
    assert "4 pictures of 2 pairs" in safelight("export", "pairs", "--pairs", "kohya").stdout
    winners = {path.stem: path for path in (tmp_path / "pairs" / "w").glob("*.png")}
    losers = {path.stem: path for path in (tmp_path / "pairs" / "l").glob("*.png")}
    assert winners.keys() == losers.keys()
    assert len(winners) == 2
    for stem, path in winners.items():
        assert path.with_suffix(".txt").read_text() == losers[stem].with_suffix(".txt").read_text()
        assert path.read_bytes() != losers[stem].read_bytes()
    assert "2" in (tmp_path / "pairs" / "card.md").read_text("utf-8")
    assert safelight("export", "pairs", "--pairs", "kohya").exit_code == 2, "not into a full folder"


def test_good_and_bad_pictures_are_exported_for_kto(safelight: Safelight, tmp_path: Path) -> None:
    safelight("rate", "--where", "cfg_scale = 3", "--stars", "2", "--rater", "ann")
    safelight("rate", "--where", "cfg_scale = 7", "--stars", "5", "--rater", "ann")
    safelight("rate", "--where", "cfg_scale = 7 and prompt has red", "--reject", "--rater", "bob")
    told = safelight("export", "k.jsonl", "--rated", "kto").stdout
    assert "3 good and bad pictures" in told
    assert "1 contradicted" in told
    rows = [json.loads(line) for line in (tmp_path / "k.jsonl").read_text("utf-8").splitlines()]
    assert sorted(row["label"] for row in rows) == [False, False, True]
    assert all(Path(row["image"]).is_file() and "lighthouse" in row["prompt"] for row in rows)
    assert "1 of which good and bad were said" in (tmp_path / "k.md").read_text("utf-8")
    assert safelight("export", "k.jsonl", "--rated", "kto", "--pairs", "hf").exit_code == 2


def test_an_image_folder_holds_its_pictures_and_names_only_those(
    safelight: Safelight, tmp_path: Path
) -> None:
    """As load_dataset reads it: what ends in file_name is a picture beside metadata.jsonl."""
    safelight("rate", "--where", "cfg_scale = 3", "--stars", "2")
    safelight("rate", "--where", "cfg_scale = 7", "--stars", "5")

    def rows(name: str) -> list[dict[str, object]]:
        text = (tmp_path / name / "train" / "metadata.jsonl").read_text("utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def files(name: str) -> set[str]:
        return {path.name for path in (tmp_path / name / "train").glob("*.png")}

    assert "2 pairs with 4 files" in safelight("export", "pairs", "--pairs", "hf").stdout
    pairs = rows("pairs")
    assert {row[side] for row in pairs for side in ("chosen_file_name", "rejected_file_name")} == (
        files("pairs")
    )
    assert (tmp_path / "pairs" / "README.md").read_text("utf-8").startswith("---\npretty_name:")
    for row in pairs:
        (found,) = json.loads(
            safelight("find", f"sha256 = '{str(row['chosen_file_name'])[:64]}'", "--json").stdout
        )["rows"]
        assert (found["stars"], found["prompt"]) == (5, row["prompt"])
        there = tmp_path / "pairs" / "train" / str(row["chosen_file_name"])
        assert there.read_bytes() == (tmp_path / "safelight" / found["path"]).read_bytes()
    (tmp_path / "safelight" / found["path"]).write_bytes(b"another")
    told = safelight("export", "rated", "--rated", "hf").stdout
    assert "3 rated pictures with 3 files" in told
    assert "1 pictures are no longer what the archive knows" in told
    singles = rows("rated")
    assert {row["file_name"] for row in singles} == files("rated")
    assert sorted((row["stars"], row["label"]) for row in singles) == [
        (2, False), (2, False), (5, True)
    ]  # fmt: skip
    assert safelight("export", "rated", "--rated", "hf").exit_code == 2, "not into a full folder"
    safelight("rate", "--where", "cfg_scale > 0", "--stars", "4", "--rater", "bob")  # ties
    assert "1 pairs with 3 files" in safelight("export", "tied", "--pairs", "hf").stdout


def test_ratings_are_mirrored_only_when_asked_and_never_over_others(
    safelight: Safelight, tmp_path: Path
) -> None:
    safelight("rate", "--where", "cfg_scale = 3", "--stars", "4")
    safelight("rate", "--where", "cfg_scale = 7", "--reject")
    safelight("export", "a.csv")
    assert list(tmp_path.rglob("*.xmp")) == []
    assert "4 XMP sidecars" in safelight("export", "a.csv", "--xmp").stdout
    sidecars = sorted(tmp_path.rglob("*.png.xmp"))
    ratings = sorted(path.read_text("utf-8").split('xmp:Rating="')[1][:2] for path in sidecars)
    assert ratings == ["-1", "-1", '4"', '4"']
    sidecars[0].write_text('<x:xmpmeta x:xmptk="darktable" xmp:Rating="1"/>')
    output = safelight("export", "a.csv", "--xmp").stdout
    assert "3 XMP sidecars written, 1 of other programs left alone" in output
    assert "darktable" in sidecars[0].read_text()


@pytest.mark.parametrize("journal", [True, False])
def test_lost_records_are_made_again_from_their_journal_or_pictures(
    safelight: Safelight, tmp_path: Path, journal: bool
) -> None:
    """The journal knows all that the record did."""
    (record,) = (tmp_path / "safelight" / "records").iterdir()
    lost = LearningRecord.from_json(record.read_bytes())
    if not journal:
        (beside,) = (tmp_path / "safelight" / "images").rglob("journal.jsonl")
        beside.unlink()
    asked = ("find", "--json", "--sort", "path")
    before = json.loads(safelight(*asked).stdout)["rows"]
    for record in (tmp_path / "safelight" / "records").iterdir():
        record.unlink()
    assert json.loads(safelight(*asked).stdout)["rows"] == []
    answer = json.loads(safelight("archive", "recover", "--json").stdout)
    assert len(answer["rebuilt"]) == len({row["run_id"] for row in before})
    after = json.loads(safelight(*asked).stdout)["rows"]
    kept = ("run_id", "timestamp", "variant", "stage", "path", "sha256", "seed", "width", "prompt",
            "model", "sampler", "steps", "cfg_scale", "parent")  # fmt: skip
    assert [[row[k] for k in kept] for row in after] == [[row[k] for k in kept] for row in before]
    assert {row["status"] for row in after} == {"completed" if journal else "interrupted"}
    if journal:
        (record,) = (tmp_path / "safelight" / "records").iterdir()
        assert LearningRecord.from_json(record.read_bytes()) == lost
    assert json.loads(safelight("archive", "recover", "--json").stdout)["rebuilt"] == []


def test_what_a_crash_left_beside_its_pack_is_removed(safelight: Safelight, tmp_path: Path) -> None:
    records = tmp_path / "safelight" / "records"
    kept = {path.name: path.read_bytes() for path in records.iterdir()}
    safelight("archive", "pack")
    for name, document in kept.items():
        (records / name).write_bytes(document)
    assert json.loads(safelight("archive", "recover", "--json").stdout)["doubled"] == len(kept)
    assert list(records.iterdir()) == []
    assert safelight("archive", "verify").exit_code == 0


def csv_column(result: Result) -> list[str]:
    return [row[0] for row in csv.reader(io.StringIO(result.stdout))][1:]


def test_an_archive_that_is_not_there_is_said(safelight: Safelight, tmp_path: Path) -> None:
    """To answer "all is whole" of a disk that is not mounted would be wrong."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.txt").write_text("no archive")
    for words in (
        ("archive", "verify"), ("archive", "stats"), ("archive", "pack"), ("archive", "recover"),
        ("find",), ("show", "last"), ("diff", "a", "b"), ("effects",), ("suggest",),
        ("export", "x.csv"),
    ):  # fmt: skip
        for place, message in (
            ("nowhere", "there is no archive at"),
            ("pictures", "is no archive"),
        ):
            done = safelight(*words, "--archive", place)
            assert (done.exit_code, message in done.output) == (1, True), (words, done.output)
    done = safelight("archive", "merge", "pictures")
    assert (done.exit_code, "is no archive" in done.output) == (1, True)
    (tmp_path / "empty").mkdir()
    for name in (".DS_Store", ".hidden"):
        (tmp_path / "empty" / name).write_bytes(b"")
        assert safelight("find", "--archive", "empty").stdout == "nothing found\n"


def test_a_rating_of_what_no_record_knows_is_kept_and_said(
    safelight: Safelight, tmp_path: Path
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "stranger.png")
    done = safelight("rate", "stranger.png", "--stars", "4")
    assert done.exit_code == 0
    assert "in no record here" in done.stderr
    known = safelight("find", "--limit", "1").stdout.splitlines()[0]
    told = safelight("rate", known, "--stars", "4").stderr
    back, following = told.splitlines()
    assert following == "next: safelight effects"
    assert safelight(*back.partition("safelight ")[2].split()).exit_code == 0
    assert safelight("find", "stars >= 1").stdout == "nothing found\n"
    none = safelight("rate", "--where", "steps > 1000", "--stars", "4")
    assert "no picture meets steps > 1000" in none.stderr


def test_a_table_that_is_piped_is_not_cut(safelight: Safelight) -> None:
    """Columns that find no room on a terminal of 80 characters are there for who reads them."""
    assert safelight("run", "c.toml").exit_code == 0
    names = ["prompt", "path", "sha256", "pixel_sha256", "model", "sampler", "seed"]
    lines = safelight("find", "--columns", ",".join(names)).stdout.splitlines()
    assert lines[1].split() == names
    assert len(lines[3].split()) >= len(names) - 1
    assert "…" not in "".join(lines)


def test_merging_tells_of_links_that_lead_out(safelight: Safelight, tmp_path: Path) -> None:
    """The exit status says that not everything of the other archive is here."""
    other, private = tmp_path / "other" / "images", tmp_path / "private"
    for folder in (other, private):
        folder.mkdir(parents=True)
    (private / "a.png").write_bytes(b"mine")
    (other / "day").symlink_to(private)
    (other / "b.png").symlink_to(private / "a.png")
    merged = safelight("archive", "merge", "other")
    assert merged.exit_code == 1
    told = "2 links lead out of OTHER and were left out; say --follow-links if they are yours:"
    assert [line.strip() for line in merged.stdout.splitlines()[1:]] == [
        told, "images/b.png", "images/day",
    ]  # fmt: skip
    (copied,) = json.loads(safelight("archive", "merge", "other", "--json").stdout).values()
    assert (copied["links_out"], copied["links_out_count"]) == (["images/b.png", "images/day"], 2)
    assert not (tmp_path / "safelight" / "images" / "day").exists()
    assert safelight("archive", "merge", "other", "--follow-links").exit_code == 0
    assert (tmp_path / "safelight" / "images" / "day" / "a.png").read_bytes() == b"mine"
