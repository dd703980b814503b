"""What ratings say as one page in one file, which somebody else can open."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import safelight
from command_line import call
from safelight.application.reporting import made_report, report_page
from safelight.archive import Archive
from safelight.errors import RequestError
from safelight.web.answering import replied
from safelight.web.held_archive import HeldArchive
from safelight.web.questions import ReportPage, ReportQuestion, packed, unpacked

CONFIG = {
    "backend": "fake",
    "txt2img": {"prompt": "<b>a {fox|owl|cat|elk|bat|hen}</b> & co", "seed": 7,
                "width": 64, "height": 64},
    "randomizer": {
        "mode": "fanout",
        "seeds_per_variant": 3,
        "sweep": {"txt2img.steps": [4, 30]},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "archive"
    safelight.run(CONFIG, path, seed=1)
    opened = safelight.open(path)
    for place, row in enumerate(opened.find(columns=["sha256", "steps"], sort="seed").dicts()):
        stars = (4 if row["steps"] == 30 else 2) + (place % 3 == 0)
        opened.rate(row["sha256"], stars=stars, rater="ann")
    return path


def test_the_page_says_what_effects_says_with_its_pictures_and_method(archive: Path) -> None:
    report = made_report(Archive(archive), made="today")
    page = report_page(report).decode("utf-8")
    for sentence in report.effects.sentences:
        assert sentence.claim
        assert sentence.claim in page
    (better, *_) = report.effects.knobs
    assert better.knob == "steps"
    (row,) = [c for c in better.comparisons if c.level == "30"]
    assert f"{row.difference:+.2f}" in page
    assert f"{row.low:+.2f} to {row.high:+.2f}" in page
    assert "<th scope=row>ann</th><td class=number>36</td>" in page
    assert "linear mixed model" in page
    assert page.count("data:image/webp;base64,") >= len(report.pictures) > 10


def test_texts_of_pictures_are_text_and_nothing_is_fetched(archive: Path) -> None:
    page = report_page(made_report(Archive(archive), "steps > 0", title="<i>x</i>")).decode("utf-8")
    assert "<b>a " not in page
    assert "&lt;b&gt;a " in page
    assert "<title>&lt;i&gt;x&lt;/i&gt;</title>" in page
    assert not re.search(r"(?:src|href|url)\s*[=(]\s*['\"]?(?!data:)[a-z]+:", page)
    assert "default-src 'none'" in page


def test_a_picture_that_is_gone_is_told_and_costs_nothing_else(
    archive: Path, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(archive, tmp_path / "copy")
    for file in (tmp_path / "copy" / "images").rglob("*.png"):
        file.unlink()
    page = report_page(made_report(Archive(tmp_path / "copy"))).decode("utf-8")
    assert "Not there any more" in page
    assert "data:image/webp" not in page
    assert "+" in page.partition("<tbody>")[2]


def test_what_was_never_rated_is_said_so(tmp_path: Path) -> None:
    safelight.run({**CONFIG, "randomizer": {"mode": "fanout"}}, tmp_path / "archive", seed=1)
    page = report_page(made_report(Archive(tmp_path / "archive"))).decode("utf-8")
    assert "0 ratings" in page
    assert "<ol>" not in page


def test_the_command_writes_it_and_a_rater_who_is_not_there_is_named(
    archive: Path, tmp_path: Path
) -> None:
    target = tmp_path / "report.html"
    done = call("report", "steps > 0", "--archive", str(archive), "--write", str(target), "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["rated_pictures"] == 36
    assert told["bytes"] == target.stat().st_size
    assert target.read_text("utf-8").startswith("<!doctype html>")
    with pytest.raises(RequestError, match="bob"):
        made_report(Archive(archive), raters=["bob"])


def test_a_guests_report_tells_no_place_of_the_machine(tmp_path: Path) -> None:
    """And its pictures are whole, whose letters look like paths, too."""
    model = "/home/ann/models/dreamA.safetensors"
    stage = {**CONFIG["txt2img"], "model": model}  # type: ignore[dict-item]
    safelight.run({**CONFIG, "txt2img": stage}, tmp_path / "archive", seed=1)
    opened = safelight.open(tmp_path / "archive")
    for row in opened.find(columns=["sha256", "steps"]).dicts():
        opened.rate(row["sha256"], stars=row["steps"] // 10 + 1, note=model)
    archive = HeldArchive(tmp_path / "archive", rest=0)
    pages = {}
    for guest in (True, False):
        question = ReportQuestion(told=f"model = '{model}'", guest=guest)
        answer = unpacked(question, replied(archive, packed(question)))
        assert isinstance(answer, ReportPage)
        pages[guest] = answer.html.decode("utf-8")
    assert "/home/ann" in pages[False]
    assert "/home/ann" not in pages[True]
    assert "dreamA.safetensors" in pages[True]
    drawn = re.compile(r"data:image/webp;base64,[^\"]+")
    assert drawn.findall(pages[True]) == drawn.findall(pages[False]) != []
