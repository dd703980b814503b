"""Wildcard files as people have them: marks, scripts, weights, numbers; nothing is lost unsaid."""

from __future__ import annotations

from pathlib import Path

import pytest

from randomizer.small_plans import plan_of, prompts_of
from safelight.errors import TemplateError
from safelight.randomizer import RandomizerPlanResult
from safelight.randomizer.wildcard_files import WildcardFiles, WildcardValue


def plan_with(
    folder: Path, name: str, content: bytes | str, template: str = ""
) -> RandomizerPlanResult:
    raw = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(raw)
    stem = name.rpartition(".")[0]
    return plan_of(template or f"__{stem}__", wildcards_dir=str(folder))


@pytest.mark.parametrize("name", ["w.txt", "w.yaml", "w.json"])
def test_a_byte_order_mark_is_no_value(tmp_path: Path, name: str) -> None:
    """Notepad of Windows writes one."""
    pytest.importorskip("yaml")
    content = {
        "w.txt": "first\nsecond\n",
        "w.yaml": "w: [first, second]",
        "w.json": '["first", "second"]',
    }
    plan = plan_with(tmp_path, name, "\ufeff" + content[name])
    assert prompts_of(plan) == ["first", "second"]


def test_files_put_together_have_marks_inside(tmp_path: Path) -> None:
    """``copy a.txt+b.txt all.txt`` keeps every mark."""
    assert prompts_of(plan_with(tmp_path, "w.txt", "\ufeffb\r\n\ufeffa\r\n")) == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"tea\ncaf\xe9\n", "w.txt, line 2: byte 0xe9 is not UTF-8; save the file as UTF-8"),
        ("tea\n".encode("utf-16"), "w.txt, line 1: byte 0xff is UTF-16; save the file as UTF-8"),
        ("茶\n".encode("gbk"), "w.txt, line 1: byte 0xb2 is not UTF-8; save the file as UTF-8"),
    ],
)
def test_other_bytes_are_refused_with_their_place(
    tmp_path: Path, content: bytes, found: str
) -> None:
    """``café`` was drawn as ``caf``."""
    with pytest.raises(TemplateError, match=r"wildcard __w__: .*") as refused:
        plan_with(tmp_path, "w.txt", content)
    assert found in str(refused.value)


def test_a_file_that_nobody_asks_for_may_be_anything(tmp_path: Path) -> None:
    """Folders hold thousands of files; a plan is about those that it names."""
    (tmp_path / "good.txt").write_text("a\n", "utf-8")
    (tmp_path / "other.txt").write_bytes(b"\xe9")
    (tmp_path / "broken.json").write_bytes(b'{"x": [\xe9]}')
    plan = plan_of("__good__", wildcards_dir=str(tmp_path))
    assert prompts_of(plan) == ["a"]
    assert plan.warnings == ()
    with pytest.raises(
        TemplateError, match=r"unknown wildcard __x__ .*broken\.json, line 1: byte 0xe9"
    ):
        plan_of("__x__", wildcards_dir=str(tmp_path))
    (tmp_path / "other.txt").unlink()
    (warning,) = plan_of("__*__", wildcards_dir=str(tmp_path)).warnings
    assert "broken.json, line 1: byte 0xe9 is not UTF-8" in warning


def test_weights_work_in_every_file(tmp_path: Path) -> None:
    """Impact Pack and WAS users write them in .txt files."""
    pytest.importorskip("yaml")
    (tmp_path / "t.txt").write_text(
        "3::heavy\n.5::\n2.:: light\n5\\::4\n[a:b:3]\n1:2::c\n", "utf-8"
    )
    (tmp_path / "s.yaml").write_text("s: ['3::heavy', 1.5::light]\n", "utf-8")
    files = WildcardFiles(tmp_path)
    assert files.values("t") == (
        WildcardValue("", 0.5),
        WildcardValue("1:2::c"),
        WildcardValue("5\\::4"),
        WildcardValue("[a:b:3]"),
        WildcardValue("heavy", 3.0),
        WildcardValue("light", 2.0),
    )
    assert files.values("s") == (WildcardValue("heavy", 3.0), WildcardValue("light", 1.5))
    assert prompts_of(plan_of("__t__", wildcards_dir=str(tmp_path)))[2] == "5::4"


def test_numbers_in_yaml_are_values_as_they_are_written(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """``[18, 25]`` was no value at all, and standard error told so for every plan."""
    pytest.importorskip("yaml")
    plan = plan_with(
        tmp_path, "w.yaml", "w: [18, 1.50, 007, 1_000, yes, off, 2024-01-02, 0x10, null]\none: 18\n"
    )
    assert prompts_of(plan) == ["007", "0x10", "1.50", "18", "1_000", "2024-01-02", "off", "yes"]
    assert plan.warnings == ()
    assert prompts_of(plan_of("__one__", wildcards_dir=str(tmp_path))) == ["18"]
    assert capfd.readouterr() == ("", "")


def test_numbers_in_json_are_values_as_they_are_written(tmp_path: Path) -> None:
    """The same in the other format."""
    plan = plan_with(tmp_path, "w.json", '{"w": [18, 1.50, true, 1e3, null]}')
    assert prompts_of(plan) == ["1.50", "18", "1e3", "true"]


def test_what_is_no_value_is_told_where_it_is_used(tmp_path: Path) -> None:
    """A list inside a list has no meaning; other wildcards of the file have nothing to say."""
    plan = plan_with(tmp_path, "w.json", '{"w": ["a", ["b"], {"weight": 2}], "v": ["c"]}')
    assert prompts_of(plan) == ["a"]
    assert plan.warnings == (
        "wildcard __w__: w.json: \"['b']\" and 1 more is neither text nor number and was left out;"
        " write one text for each value",
    )
    assert plan_of("__v__", wildcards_dir=str(tmp_path)).warnings == ()


def test_lines_that_may_not_be_comments_are_told(tmp_path: Path) -> None:
    """A list of colours begins each line with ``#``."""
    plan = plan_with(tmp_path, "w.txt", "# colours\n#FF5733\n#00ff00\n\\#0000ff\n## more\n#\nred\n")
    assert prompts_of(plan) == ["#0000ff", "red"]
    assert plan.warnings == (
        "wildcard __w__: w.txt, line 2, '#FF5733' and 1 like it: a line that begins with # is a"
        " comment and no value; begin it with \\# for a value, or put a blank after the #",
    )
    with pytest.raises(TemplateError, match=r"has no values: .* only\.txt, line 1, '#FF5733'"):
        plan_with(tmp_path, "only.txt", "#FF5733\n")


def test_values_are_templates_as_prompts_are(tmp_path: Path) -> None:
    """Colours, JSON, editing and braces without a choice: the same rules, the same sentences."""
    plan = plan_with(
        tmp_path,
        "w.txt",
        'color #0239dc sky\n{"a": {"b": 1}}\n[black|gray]\n{{bold}}\n{x|[y|z]}\n\\{plain\\}\n',
    )
    assert sorted(prompts_of(plan)) == sorted(
        ["color #0239dc sky", '{"a": {"b": 1}}', "[black|gray]", "bold", "x", "[y|z]", "{plain}"]
    )
    assert [warning.partition(":")[0] for warning in plan.warnings] == [
        "txt2img.prompt, __w__ > '{x|[y|z]}'",
        "txt2img.prompt, __w__ > '{{bold}}'",
    ]


def test_a_wildcard_that_needs_itself_says_what_to_do(tmp_path: Path) -> None:
    """A plan counts every choice, and this one has no end."""
    with pytest.raises(TemplateError, match=r"needs itself: __w__ -> __w__; .* take out the line"):
        plan_with(tmp_path, "w.txt", "a\nb __w__\n")


def test_yaml_that_contains_itself_is_told_as_unreadable(tmp_path: Path) -> None:
    """An anchor inside what it names."""
    pytest.importorskip("yaml")
    with pytest.raises(TemplateError, match=r"unknown wildcard __w__ .*w\.yaml cannot be read"):
        plan_with(tmp_path, "w.yaml", "x: &x\n  y: *x\n")
