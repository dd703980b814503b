"""Every command that a page shows is one, and those of the tutorials do what their page says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from application.test_epochs import kohya
from command_line import call
from fences import Fence, commands_of, fault_of, fences_of, plain_fences

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PICTURES = ROOT / "tests" / "data" / "imports"
CARRIED_OUT = [
    page for page in PAGES if any(fence.kind in ("run", "fake") for fence in fences_of(page))
]
FAKE = ["--set", 'backend={name="fake"}']


def commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    for fence in fences_of(page):
        if fence.kind in ("run", "fake", "parsed"):
            for words in commands_of(fence.text):
                yield fence.place, words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_is_one_that_the_command_line_takes(page: Path) -> None:
    faults = [f"{place}: {fault}" for place, words in commands(page) if (fault := fault_of(words))]
    assert not faults


def test_every_page_is_in_the_contents_of_the_site() -> None:
    contents = (ROOT / "mkdocs.yml").read_text("utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        assert f" {page.relative_to(ROOT / 'docs').as_posix()}\n" in contents


def test_there_are_many_of_them() -> None:
    assert sum(1 for page in PAGES for _ in commands(page)) > 100


def test_the_recipe_for_trackers_reads_what_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trackers are not installed here: what calls them is Python, and the table fits."""
    files = {
        fence.title: fence.text
        for fence in fences_of(ROOT / "docs" / "trackers.md")
        if fence.language == "python"
    }
    assert files.keys() == {"settings.py", "to_mlflow.py", "to_wandb.py"}
    code = {name: compile(text, name, "exec") for name, text in files.items()}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text(
        'backend = "fake"\n[txt2img]\nprompt = "a hill"\nseed = 5\nwidth = 64\nheight = 64\n'
        '[randomizer]\nmode = "fanout"\nseeds_per_variant = 2\nsweep."txt2img.steps" = [2, 3]\n'
    )
    assert call("run", "c.toml").exit_code == 0
    assert call("rate", "--where", "steps = 3 and seed = 5", "--stars", "4").exit_code == 0
    assert call("rate", "--where", "steps = 2", "--reject").exit_code == 0
    assert call("export", "all.csv", "--csv-raw").exit_code == 0
    names: dict[str, Any] = {}
    exec(code["settings.py"], names)
    told = {
        knobs["steps"]: (knobs, rest, files) for knobs, rest, files in names["settings"]("all.csv")
    }
    assert told.keys() == {"2", "3"}
    knobs, rest, pictures = told["3"]
    assert (knobs["sampler"], rest["pictures"], rest["rated"], rest["stars"]) == ("Euler", 2, 1, 4)
    assert all((tmp_path / "safelight" / picture).is_file() for picture in pictures)
    assert "stars" not in told["2"][1]
    assert told["2"][1]["rejected"] == 2


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("safelight ru my.toml", "no command 'ru'"),
        ("safelight run my.toml --sed 1", "No such option"),
        ("safelight show one two", "two is too much"),
        ("safelight workflow", "is missing"),
        ("safelight archive merg other", "merg"),
        ("safelight archive merge", "is missing"),
    ],
)
def test_what_the_command_line_would_refuse_is_seen(line: str, fault: str) -> None:
    (words,) = commands_of(line)
    assert fault in fault_of(words)


def test_commands_are_read_as_a_shell_reads_them() -> None:
    text = (
        "A=1 safelight find 'a b' > out.txt && safelight stats | head  # safelight none\n"
        "safelight run x.toml \\\n  --seed 1\necho safelight\n"
    )
    assert list(commands_of(text)) == [
        ["find", "a b"], ["stats"], ["run", "x.toml", "--seed", "1"],
    ]  # fmt: skip


def test_readers_of_a_page_see_no_classes(tmp_path: Path) -> None:
    assert plain_fences("```sh run\nls\n```\n```toml title=\"a\"\n") == (
        "```sh\nls\n```\n```toml title=\"a\"\n"
    )  # fmt: skip
    page = tmp_path / "page.md"
    page.write_text("```sh ran\nls\n```\n", "utf-8")
    with pytest.raises(ValueError, match=r"page.md:1: commands are one of run, fake, parsed"):
        list(fences_of(page))


def test_pages_are_carried_out() -> None:
    assert {page.stem for page in CARRIED_OUT} >= {
        "engines", "folder-to-answer", "slurm", "three-raters", "which-epoch",
    }  # fmt: skip


@pytest.mark.parametrize("page", CARRIED_OUT, ids=lambda page: page.stem)
def test_a_page_does_what_it_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From an empty folder, as a user without any settings, in the order of the page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for picture in sorted(PICTURES.rglob("*.png"))[:40]:
        place = tmp_path / "outputs" / picture.parent.name / picture.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, place)
    kohya(tmp_path / "training" / "ink", prompts=6)
    (tmp_path / "loras").mkdir()
    for epoch in (4, 8, 12):
        (tmp_path / "loras" / f"ink-{epoch:06}.safetensors").touch()
    for fence in fences_of(page):
        carry_out(fence, tmp_path)


def carry_out(fence: Fence, folder: Path) -> None:
    if fence.kind == "file":
        (folder / fence.title).write_text(fence.text, "utf-8")
    if fence.kind not in ("run", "fake"):
        return
    for words in commands_of(fence.text):
        engine = FAKE if fence.kind == "fake" and words[0] in ("learn", "plan", "run") else []
        done = call(*words, *engine)
        assert done.exit_code == 0, f"{fence.place}: safelight {' '.join(words)}\n{done.output}"
