"""Pictures are called as the config says, and no name can do harm."""

from __future__ import annotations

import unicodedata
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from command_line import Safelight
from safelight.application.config_text import toml_text
from safelight.archive import Archive
from safelight.archive.transfer import oddity_of
from safelight.archive_layout import FileKind, kind_of
from safelight.backends.fake import FakeBackend
from safelight.config import PipelineConfig
from safelight.errors import ConfigError
from safelight.imports.lost_records import rebuild_lost_records
from safelight.learning import LearningRecordWriter, read_records
from safelight.picture_names import PictureNames, pattern_faults, safe_stem
from safelight.pipeline import PipelineRunner, RunResult
from safelight.pipeline.run_sheet import write_contact_sheet
from safelight.randomizer import plan_variants

SMALL = {"steps": 1, "width": 64, "height": 64, "seed": 7}


def name(pattern: str, prompt: str = "a cat, red", **knobs: Any) -> str:
    config = {"txt2img": {"prompt": prompt, **knobs}}
    return PictureNames(pattern, {"name": "cats", "date": "2026-01-31"}).name(
        3, "txt2img", 7, config
    )


@pytest.mark.parametrize(
    ("pattern", "shown"),
    [
        ("", "00003-txt2img-7"),
        ("{prompt:40}-{seed}", "a_cat,_red-7"),
        ("{prompt:5}", "a_cat"),
        ("{prompt:4}", "a_ca"),
        ("{index:3} {stage} {date} {name}", "003_txt2img_2026-01-31_cats"),
        ("{{{cfg_scale}}} {steps}", "{7}_none"),
        ("{negative_prompt}", "none"),
    ],
)
def test_a_pattern_is_filled_with_what_was_drawn(pattern: str, shown: str) -> None:
    """A knob that nobody knows is told as none; blanks would have to be quoted everywhere."""
    assert name(pattern, cfg_scale=7.0) == shown


def test_every_fault_of_a_pattern_is_told_before_the_run() -> None:
    """All at once; a name that can be none must not be found out at the first picture."""
    assert list(pattern_faults("{prompt:40}-{seed}{{x}}", ["txt2img"])) == []
    wrong = "../{promt}-{scale}-{seed:0}-{steps:x}-{init_image}?}"
    messages = list(pattern_faults(wrong, ["txt2img"]))
    assert [message.partition(";")[0].partition(",")[0] for message in messages] == [
        "{promt} is not known",
        "{scale} is a knob of no stage that runs",
        "{seed:0} must be {seed} or {seed:N}",
        "{steps:x} must be {steps} or {steps:N}",
        "{init_image} is a knob of no stage that runs",
        "has a '}' without its other half",
        "has signs that not every system takes in a name: '/?'",
        "begins with a dot",
    ]
    assert "did you mean 'prompt'?" in messages[0]
    with pytest.raises(ConfigError) as caught:
        PipelineConfig.from_mapping(
            {"txt2img": {"prompt": "a"}, "output": {"name": "", "sheets": 1, "sheet_side": 9}}
        )
    assert [fault.path for fault in caught.value.faults] == [
        "output.sheets", "output.name", "output.sheet_side",
    ]  # fmt: skip


_HARMFUL = [
    "../../etc/passwd", "..", ".hidden", "CON", "nul.txt", "com¹", "a\0b", "a/b\\c:d", "-rf *", " ",
    "",
    "contact_sheet of cats", "Contact_Sheet", "x~y", "\u202egnp.exe", "\ud83d", "e\u0301" * 90,
    "🐈" * 90, "trailing. . .", "a\nb\tc", "%00", "LPT9 . x", "\\xff",
]  # fmt: skip


@pytest.mark.parametrize("prompt", _HARMFUL)
@pytest.mark.parametrize("pattern", ["{prompt:100}", "{prompt:100}.{prompt:100}{prompt:100}"])
def test_known_harmful_texts_make_harmless_names(prompt: str, pattern: str) -> None:
    """Of folders, systems, terminals and archives."""
    assert is_harmless(name(pattern, prompt))


@given(st.text(st.characters(), max_size=200), st.integers(1, 100))
@example("contact_sheet", 50)
def test_any_text_makes_a_harmless_name(prompt: str, most: int) -> None:
    """The prompt is anybody's."""
    assert is_harmless(name(f"{{prompt:{most}}}", prompt))
    stem = safe_stem(prompt)
    assert safe_stem(stem) == stem or stem.startswith("_")


def is_harmless(stem: str) -> bool:
    file = f"{stem}-00003-txt2img-18446744073709551615-22.png"
    place = PurePosixPath("images", "2026-01-31", "run", f"{stem}.png")
    word = stem.partition(".")[0].lower()
    numbered = {f"{device}{number}" for device in ("com", "lpt") for number in range(10)}
    return (
        len(file.encode()) <= 200
        and len(place.parts) == 4
        and place.name == f"{stem}.png"
        and kind_of(place) is FileKind.UNCHANGING
        and oddity_of(str(place)) is None
        and word not in {"con", "prn", "aux", "nul", *numbered}
        and not stem.startswith((".", "-", " "))
        and not stem.endswith((".", " "))
        and not set(stem) & set('<>:"/\\|?*~')
        and all(unicodedata.category(sign)[0] not in "CZ" for sign in stem)
        and unicodedata.is_normalized("NFC", stem)
    )


@given(st.lists(st.sampled_from(["Cat", "cat", "CAT", "Straße", "STRASSE", "é", "e\u0301", ""])))
def test_no_two_pictures_of_a_run_have_one_name(prompts: list[str]) -> None:
    """Also where capitals do not count; the second gets the number of its variant."""
    names = PictureNames("{prompt:30}")
    given = [
        names.name(place, stage, 7, {"txt2img": {"prompt": prompt}})
        for place, prompt in enumerate(prompts)
        for stage in ("txt2img", "upscale")
    ]
    folded = {unicodedata.normalize("NFC", one.casefold()) for one in given}
    assert len(folded) == len(given)


CONFIG: dict[str, Any] = {
    "name": "cats",
    "txt2img": {"prompt": ["a cat", "A cat", "../x"], **SMALL},
    "upscale": {"upscaler": "Nearest", "scale": 2},
    "randomizer": {},
    "output": {"name": "{prompt:40}-{seed}"},
}


def run(archive: Path, writer: LearningRecordWriter | None = None, **more: Any) -> RunResult:
    config = PipelineConfig.from_mapping({**CONFIG, **more})
    runner = PipelineRunner(FakeBackend(), archive_dir=archive, learning_record_writer=writer)
    return runner.run(config, seed=1)


def test_a_run_calls_its_pictures_by_the_pattern(tmp_path: Path) -> None:
    """And its record knows them; the journal beside them stays."""
    with LearningRecordWriter(tmp_path / "records") as writer:
        result = run(tmp_path, writer)
    names = [image.path.name for image in result.images if image.path is not None]
    assert names == [
        "a_cat-7.png", "a_cat-7-00000.png", "A_cat-7-00001.png",
        "A_cat-7-00001-upscale.png", "x-7.png", "x-7-00002.png",
    ]  # fmt: skip
    assert result.folder is not None
    assert sorted(p.name for p in result.folder.iterdir()) == sorted([*names, "journal.jsonl"])
    (record,) = read_records(tmp_path / "records")
    assert [PurePosixPath(str(output.path)).name for output in record.outputs] == names


def test_a_lost_record_is_made_again_from_pictures_of_any_name(tmp_path: Path) -> None:
    """What a picture is stands in it, and not in what it is called."""
    with LearningRecordWriter(tmp_path / "records") as writer:
        result = run(tmp_path, writer)
        assert result.folder is not None
        for gone in (*(tmp_path / "records").glob("*.json"), result.folder / "journal.jsonl"):
            gone.unlink()
    (again,) = rebuild_lost_records(Archive(tmp_path))
    assert again.run_id == result.run_id
    assert {o.sha256 for o in again.outputs} == {image.output.sha256 for image in result.images}


def test_what_has_a_name_of_its_own_goes_on_is_reused_and_is_imported(
    command: Safelight, tmp_path: Path
) -> None:
    """Whoever looks a picture up does so by the journal, the record or what stands in it."""
    config = {
        "backend": {"name": "fake", "fail_on": ["b"]},
        "txt2img": {"prompt": ["a", "b"], **SMALL},
        "output": {"name": "{prompt}", "sheet": False},
    }
    (tmp_path / "c.toml").write_text(toml_text(config), "utf-8")
    assert command("run", "c.toml").exit_code == 3
    assert (
        "completed: 2" in command("run", "--resume", "last", "--set", "backend.fail_on=[]").output
    )
    again = command("run", "c.toml", "--set", "output.name={prompt}_{seed}")
    assert "2 variants drawn before" in again.output, again.output
    names = sorted(path.name for path in (tmp_path / "safelight" / "images").rglob("*.png"))
    assert names == ["a.png", "b.png"]
    imported = command("import", "safelight/images", "--archive", "other")
    assert "2 pictures" in imported.output, imported.output
    found = command("find", "prompt='b'", "--archive", "other", "--json").output
    assert "b.png" in found


@pytest.mark.parametrize("side", [64, 512])
def test_the_sheet_is_as_large_as_the_config_says(tmp_path: Path, side: int) -> None:
    """Or is not made at all, which is what plans of thousands want."""
    paths = []
    for output in ({"sheet_side": side, "sheet_cells": 2}, {"sheet": False}):
        config = PipelineConfig.from_mapping({**CONFIG, "output": output})
        result = run(tmp_path, output=output)
        paths.append(write_contact_sheet(result, config, plan_variants(config, 1)))
    assert paths[0] is not None
    assert paths[1] is None
    with Image.open(paths[0]) as sheet:
        assert sheet.width == 16 + 2 * {64: 64, 512: 128}[side] + 8 + 16


def test_a_sheet_that_no_memory_holds_is_refused() -> None:
    """Large pictures are fewer, unless somebody says how many."""
    large = PipelineConfig.from_mapping({**CONFIG, "output": {"sheet_side": 1024}})
    assert large.output.sheet_cells == 64
    with pytest.raises(ConfigError, match="must be 64 at most where pictures have 1024 px"):
        PipelineConfig.from_mapping({**CONFIG, "output": {"sheet_side": 1024, "sheet_cells": 2000}})
