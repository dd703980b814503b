"""A config is checked whole, and nothing in it is coerced or dropped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.config import PipelineConfig, plain
from safelight.errors import ConfigError
from safelight.knobs import KNOBS, STAGES, knob_fault
from safelight.randomizer import plan_variants

MINIMAL: dict[str, Any] = {"txt2img": {"prompt": "a cat"}}


def faults(data: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        PipelineConfig.from_mapping(data)
    return {fault.path: fault.message for fault in caught.value.faults}


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_a_small_toml_file_becomes_a_config(tmp_path: Path) -> None:
    """What the file says is what the config holds, numbers as they were."""
    config = PipelineConfig.from_file(
        write(
            tmp_path / "c.toml",
            """
            name = "first"
            backend = "fake"
            [txt2img]
            prompt = "ein Leuchtturm, 灯台 🗼"
            cfg_scale = 7
            seed = -1
            [txt2img.extra]
            hr_additional_modules = []
            [upscale]
            scale = 1.5
            [img2img]
            enabled = false
            denoising_strength = 0.5
            [metadata]
            project = "towers"
            """,
        )
    )
    assert config.to_mapping() == {
        "txt2img": {
            "prompt": "ein Leuchtturm, 灯台 🗼",
            "cfg_scale": 7,
            "seed": -1,
            "extra": {"hr_additional_modules": []},
        },
        "upscale": {"scale": 1.5},
    }
    assert isinstance(config.stages["txt2img"]["cfg_scale"], int)
    assert (config.name, config.backend.name, config.folder) == ("first", "fake", tmp_path)
    assert config.metadata == {"project": "towers"}
    assert config.randomizer.mode == "off"


def test_json_means_the_same_as_toml(tmp_path: Path) -> None:
    """Programs write JSON, people write TOML."""
    toml = write(tmp_path / "c.toml", '[txt2img]\nprompt = "a"\nsteps = 3\n')
    same = write(tmp_path / "c.json", '{"txt2img": {"prompt": "a", "steps": 3}}')
    assert PipelineConfig.from_file(toml) == PipelineConfig.from_file(same)


def test_every_fault_is_reported_at_once_with_its_path() -> None:
    """Nobody should have to run a config six times to hear of six mistakes."""
    reported = faults(
        {
            "txt2img": {"prompt": 3, "stpes": 20, "scale": 2, "width": 65, "steps": "20 "},
            "img2img": {"denoising_strength": 1.5, "seed": True},
            "upsacle": {},
            "backend": {"name": 7},
            "metadata": [],
            "randomizer": {
                "mode": "fanuot",
                "draws": 0,
                "prompt_sr": {"rules": [{"serach": "a"}, "no arrow"]},
                "matrix": {"slots": [{"name": "a", "values": "x"}], "prompt_mode": "apend"},
                "sweep": {
                    "txt2img.steps": [10, 0],
                    "txt2img.cfg": [1],
                    "upscale.scale": [2],
                    "steps": [1],
                    "txt2img.cfg_scale": [],
                },
            },
        }
    )
    assert reported.keys() == {
        "upsacle", "txt2img.prompt", "txt2img.stpes", "txt2img.scale", "txt2img.width",
        "txt2img.steps", "img2img.denoising_strength", "img2img.seed", "backend.name", "metadata",
        "randomizer.mode", "randomizer.draws", "randomizer.prompt_sr.rules[0].serach",
        "randomizer.prompt_sr.rules[1]", "randomizer.matrix.slots[0].values",
        "randomizer.matrix.prompt_mode", "randomizer.sweep.txt2img.steps",
        "randomizer.sweep.txt2img.cfg", "randomizer.sweep.upscale.scale",
        "randomizer.sweep.steps", "randomizer.sweep.txt2img.cfg_scale",
    }  # fmt: skip
    assert reported["txt2img.stpes"] == "is not a knob of txt2img; did you mean 'steps'?"
    assert reported["txt2img.scale"] == "is not a knob of txt2img; it belongs to upscale"
    assert reported["txt2img.steps"] == "must be an integer from 1 to 10000, got '20 '"
    assert reported["txt2img.width"] == "must be an integer multiple of 8 from 8 to 16384, got 65"
    assert reported["upsacle"] == "is not a known stage or key; did you mean 'upscale'?"
    assert "did you mean 'fanout'?" in reported["randomizer.mode"]
    assert "does not run" in reported["randomizer.sweep.upscale.scale"]


def test_a_value_of_any_size_is_told_in_a_message_that_can_be_read() -> None:
    """The rule stands before the value, and is there whole."""
    with pytest.raises(ConfigError) as caught:
        PipelineConfig.from_mapping({"txt2img": {"prompt": 1, "steps": [*range(100_000)]}})
    assert "txt2img.steps: must be an integer" in str(caught.value)
    assert len(str(caught.value)) < 3000


def test_the_message_lists_every_fault_under_the_files_name(tmp_path: Path) -> None:
    """What a person sees on the terminal is the whole list."""
    path = write(tmp_path / "c.toml", "[txt2img]\nsteps = 0\nwidth = 1\n")
    with pytest.raises(ConfigError) as caught:
        PipelineConfig.from_file(path)
    assert str(caught.value).splitlines() == [
        f"{path}: 2 faults",
        "  txt2img.steps: must be an integer from 1 to 10000, got 0",
        "  txt2img.width: must be an integer multiple of 8 from 8 to 16384, got 1",
    ]


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("missing.toml", None, "no such file"),
        ("empty.toml", " \n", "the file is empty; it needs at least one stage"),
        ("bad.toml", "[txt2img", "is not TOML"),
        ("bad.json", "{", "is not JSON"),
        ("list.json", "[]", "must be an object"),
        ("none.toml", "name = 'x'", "has no stage"),
        ("off.toml", "[txt2img]\nenabled = false", "every stage is disabled"),
        ("first.toml", "[upscale]\nscale = 2", "upscale.init_image: is missing"),
    ],
)
def test_what_is_no_config_is_refused(
    tmp_path: Path, name: str, text: str | None, complaint: str
) -> None:
    """Each with the file's name, the rule, and what to do."""
    path = tmp_path / name
    if text is not None:
        write(path, text)
    with pytest.raises(ConfigError, match=complaint) as caught:
        PipelineConfig.from_file(path)
    assert name in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """A picture given by mistake is an error, not a stack trace."""
    path = tmp_path / "c.toml"
    path.write_bytes(b"\x89PNG\r\n\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        PipelineConfig.from_file(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        PipelineConfig.from_file(tmp_path)


def test_a_prompt_of_a_megabyte_is_a_prompt(tmp_path: Path) -> None:
    """Length is no fault."""
    prompt = "very long 灯 " * 90_000
    path = write(tmp_path / "c.json", json.dumps({"txt2img": {"prompt": prompt}}))
    assert PipelineConfig.from_file(path).stages["txt2img"]["prompt"] == prompt


def test_a_later_stage_must_not_name_its_input() -> None:
    """It starts from the picture before it; a file that is silently ignored would be a lie."""
    reported = faults({**MINIMAL, "img2img": {"init_image": "x.png"}})
    assert reported.keys() == {"img2img.init_image"}
    assert "has no effect" in reported["img2img.init_image"]


def test_an_input_that_is_not_there_is_said_before_anything_runs(tmp_path: Path) -> None:
    """With the place where it was looked for: beside the config."""
    path = write(tmp_path / "c.toml", '[upscale]\ninit_image = "missing.png"\n')
    with pytest.raises(ConfigError, match="no such file: .*missing.png"):
        PipelineConfig.from_file(path)
    (tmp_path / "missing.png").write_bytes(b"here")
    assert PipelineConfig.from_file(path).stages["upscale"]["init_image"] == "missing.png"


def test_a_swept_input_is_an_input() -> None:
    """Redrawing ten files is a sweep over their names."""
    PipelineConfig.from_mapping(
        {"img2img": {}, "randomizer": {"sweep": {"img2img.init_image": ["a.png", "b.png"]}}}
    )


@pytest.mark.parametrize(
    ("override", "stage", "knob", "value"),
    [
        ("txt2img.steps=30", "txt2img", "steps", 30),
        ("txt2img.cfg_scale = 7.5", "txt2img", "cfg_scale", 7.5),
        ("txt2img.sampler=Euler a", "txt2img", "sampler", "Euler a"),
        ('txt2img.prompt="30"', "txt2img", "prompt", "30"),
        ("txt2img.prompt=a=b, c", "txt2img", "prompt", "a=b, c"),
        ("txt2img.prompt=", "txt2img", "prompt", ""),
        ("upscale.scale=2", "upscale", "scale", 2),
        ("txt2img.extra.x=[1, 2]", "txt2img", "extra", {"x": [1, 2]}),
    ],
)
def test_an_override_goes_over_the_file(
    tmp_path: Path, override: str, stage: Any, knob: str, value: object
) -> None:
    """Trying one value must not need an editor; what is no TOML value is plain text."""
    path = write(tmp_path / "c.toml", '[txt2img]\nprompt = "a"\nsteps = 3\n')
    config = PipelineConfig.from_file(path, [override])
    assert plain(config.stages[stage][knob]) == value


@pytest.mark.parametrize("override", ["steps", "=3", "a b=3", ""])
def test_an_override_that_is_none_is_refused(tmp_path: Path, override: str) -> None:
    """With an example of a right one."""
    path = write(tmp_path / "c.toml", '[txt2img]\nprompt = "a"\n')
    with pytest.raises(ConfigError, match=r"must look like txt2img\.steps=30"):
        PipelineConfig.from_file(path, [override])


def test_sweeps_may_be_nested_or_dotted() -> None:
    """TOML's two ways to write a dotted key mean the same."""
    nested = {**MINIMAL, "randomizer": {"sweep": {"txt2img": {"steps": [1, 2]}}}}
    dotted = {**MINIMAL, "randomizer": {"sweep": {"txt2img.steps": [1, 2]}}}
    first, second = PipelineConfig.from_mapping(nested), PipelineConfig.from_mapping(dotted)
    assert first.randomizer.sweep == second.randomizer.sweep == {"txt2img.steps": (1, 2)}


def test_existing_randomizer_presets_read_as_they_are() -> None:
    """Presets of other tools: their mode names, text entries, and incomplete rules."""
    config = PipelineConfig.from_mapping(
        {
            **MINIMAL,
            "randomizer": {
                "enabled": True,
                "prompt_sr": {
                    "enabled": True,
                    "mode": "ROUND_ROBIN",
                    "rules": ["x y => p q | r", {"search": "", "replacements": ["x"]}],
                },
                "wildcards": {"mode": "random", "tokens": ["_mood_: happy | sad", "___: x"]},
                "matrix": {"mode": "grid", "limit": -1, "slots": ["time: 10:30 | 11:45"]},
            },
        }
    ).randomizer
    assert (config.mode, config.prompt_sr.mode) == ("fanout", "sequential")
    assert [(r.search, r.replacements) for r in config.prompt_sr.rules] == [("x y", ("p q", "r"))]
    assert [(t.token, t.values) for t in config.wildcards.tokens] == [
        ("__mood__", ("happy", "sad"))
    ]
    assert (config.matrix.mode, config.matrix.limit) == ("fanout", 0)
    assert config.matrix.slots[0].values == ("10:30", "11:45")


def test_a_config_is_cut_off_from_the_mapping_it_was_made_of() -> None:
    """Later changes to the caller's dicts do not reach it, and nobody can change it."""
    data: dict[str, Any] = {
        "txt2img": {"prompt": "a", "extra": {"list": [1]}},
        "metadata": {"m": [1]},
    }
    config = PipelineConfig.from_mapping(data)
    data["txt2img"]["prompt"] = "b"
    data["txt2img"]["extra"]["list"].append(2)
    data["metadata"]["m"].append(2)
    assert config.to_mapping() == {"txt2img": {"prompt": "a", "extra": {"list": [1]}}}
    assert config.metadata == {"m": [1]}
    with pytest.raises(TypeError):
        config.stages["txt2img"]["prompt"] = "c"  # type: ignore[index]


@given(
    st.sampled_from(sorted(KNOBS)),
    st.none()
    | st.booleans()
    | st.integers(-10, 20_000)
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.integers(), max_size=2),
)
def test_a_knob_is_accepted_exactly_when_its_rule_allows_it(name: str, value: Any) -> None:
    """The config check and the knob table never disagree, whatever the value is."""
    stage = KNOBS[name].stages[0]
    data: dict[str, Any] = {"txt2img": {"prompt": "a"}, stage: {"prompt": "a", name: value}}
    if stage == "upscale":
        data[stage].pop("prompt")
    if name == "init_image":
        data.pop("txt2img")  # only the first stage may have one
    if needed := KNOBS[name].needs:
        data[stage][needed] = 2 if KNOBS[needed].kind == "number" else "mask.png"
    rule_broken = knob_fault(KNOBS[name], value) is not None
    if name == "prompt" and isinstance(value, list):
        rule_broken = True  # a pack of prompts must hold texts
    if rule_broken:
        assert faults(data)
    else:
        config = PipelineConfig.from_mapping(data)
        assert config.stages[stage][name] == value


def test_a_knob_without_the_one_it_needs_is_refused() -> None:
    """What would have no effect is said before anything is drawn; a sweep may state it, too."""
    alone = {"txt2img": {"prompt": "a", "hires_steps": 5}}
    assert list(faults(alone)) == ["txt2img.hires_steps"]
    PipelineConfig.from_mapping(
        {**alone, "randomizer": {"sweep": {"txt2img.hires_scale": [1.5, 2]}}}
    )
    swept = {"randomizer": {"sweep": {"txt2img.hires_steps": [5]}}}
    assert list(faults({**MINIMAL, **swept})) == ["txt2img.hires_steps"]


def test_stages_run_in_their_order_whatever_the_file_says() -> None:
    """The order of tables in a file carries no meaning."""
    config = PipelineConfig.from_mapping({"upscale": {}, "img2img": {}, **MINIMAL})
    assert tuple(config.stages) == STAGES


def test_a_config_as_stated_holds_what_was_said() -> None:
    """What a run's journal keeps, so that the run can be gone on with."""
    data = {"txt2img": {"prompt": "a", "steps": 4}}
    config = PipelineConfig.as_stated(data, folder=Path("there"), continues="r1")
    assert config == PipelineConfig.from_mapping(data, folder=Path("there"))
    assert (config.stated, config.continues) == (data, "r1")
    assert PipelineConfig.from_mapping(data).stated == {}


_AS_WRITTEN = [
    "a cat 🐈 and 𝄞",
    "a house # red",
    'a mug that says "tea"',
    "a 'quoted' one",
    "a = b == c",
    "C:\\new\\table \\U0001F408 \\",
    "two\nlines\n\n[txt2img]\nsteps = 9",
    "[red, blue]",
    "{a|b}, {c",
    "1984",
    "2024-01-01",
    "true",
    "3, steps = 4",
    "3} # {",
    '"tea" # and cakes',
    '"one", "two"',
    " blanks around\t",
    "nul \0 and escape \x1b",
    '""',
]


@pytest.mark.parametrize("text", _AS_WRITTEN)
def test_a_text_that_is_put_over_a_config_arrives_as_it_is(tmp_path: Path, text: str) -> None:
    """Sign by sign, whatever it would be in TOML; only what TOML quotes as a whole is unquoted."""
    path = write(tmp_path / "c.toml", '[txt2img]\nprompt = "a"\nsteps = 3\n')
    config = PipelineConfig.from_file(path, [f"txt2img.prompt={text}"])
    assert config.stages["txt2img"]["prompt"] == ("" if text == '""' else text)
    assert config.stages["txt2img"]["steps"] == 3


@given(st.text(), st.sampled_from(["txt2img.prompt", "metadata.note"]))
def test_no_text_is_changed_on_the_way_into_a_config(text: str, key: str) -> None:
    """What was dropped would be gone without a word."""
    quoted = json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
    for written in (f"{text} (as it is)", quoted):
        config = PipelineConfig.from_text(b'[txt2img]\nprompt = "a"', [f"{key}={written}"])
        stage, knob = key.split(".")
        found = config.metadata[knob] if stage == "metadata" else config.stages["txt2img"][knob]
        assert found == (text if written is quoted else written)


def test_what_follows_a_value_is_not_dropped() -> None:
    """A comment, a second key: the value is then a text, and the knob says what it wants."""
    for written in ("3 # quick", "3\ntxt2img.seed = 4", "3, seed = 4", "3,"):
        with pytest.raises(ConfigError, match=r"txt2img\.steps: must be an integer"):
            PipelineConfig.from_text(b'[txt2img]\nprompt = "a"', [f"txt2img.steps={written}"])


@pytest.mark.parametrize("stated", ['backend = "webui"', '[backend]\nname = "webui"\nurl = "x"'])
def test_a_part_of_the_backend_that_is_put_keeps_its_engine(stated: str) -> None:
    """Another address must not mean another engine."""
    text = f'{stated}\n[txt2img]\nprompt = "a"'.encode()
    for override in ("backend.url=http://gpu:7860", 'backend={url = "http://gpu:7860"}'):
        backend = PipelineConfig.from_text(text, [override]).backend
        assert (backend.name, dict(backend.options)) == ("webui", {"url": "http://gpu:7860"})


def test_an_engine_that_is_put_again_keeps_its_options() -> None:
    """Another engine has none of them."""
    text = b'[txt2img]\nprompt = "a"\n[backend]\nname = "webui"\nurl = "x"'
    assert PipelineConfig.from_text(text, ["backend=webui"]).backend.options == {"url": "x"}
    assert PipelineConfig.from_text(text, ["backend=fake"]).backend.options == {}


def test_an_override_finds_a_key_in_either_spelling() -> None:
    """A sweep is written in quotes, and put over without."""
    text = b'[txt2img]\nprompt = "a"\n[randomizer.sweep]\n"txt2img.steps" = [1, 2]'
    config = PipelineConfig.from_text(text, ["randomizer.sweep.txt2img.steps=[9]"])
    assert config.randomizer.sweep == {"txt2img.steps": (9,)}


def test_bytes_that_are_no_utf8_are_not_put_into_a_config() -> None:
    """They come from the command line of a terminal with another encoding."""
    with pytest.raises(ConfigError, match="must be UTF-8"):
        PipelineConfig.from_text(b'[txt2img]\nprompt = "a"', ["txt2img.prompt=caf\udce9"])


def test_json_is_known_by_how_it_begins(tmp_path: Path) -> None:
    """Wherever it comes from; no TOML begins so."""
    text = ' {"txt2img": {"prompt": "a", "steps": 3}}'
    for config in (
        PipelineConfig.from_text(text.encode()),
        PipelineConfig.from_file(write(tmp_path / "config", text)),
    ):
        assert config.stages["txt2img"] == {"prompt": "a", "steps": 3}


def test_a_key_that_json_has_twice_is_refused_with_every_place() -> None:
    """To take the last one would drop what the first one says."""
    text = (
        '{"txt2img": {"prompt": "{\\"a\\": [1, 2]}", "steps": 3,\n  "prompt": "b"},\n'
        ' "randomizer": {"settings": [{}, {"a": 1,\n"a": 2, "\\u0061": 3}]}, "name": "steps"}'
    )
    with pytest.raises(ConfigError) as caught:
        PipelineConfig.from_text(text.encode())
    assert [(fault.path, fault.message) for fault in caught.value.faults] == [
        (
            "txt2img.prompt",
            "is there 2 times, in line 1, column 14 and line 2, column 3; leave one",
        ),
        (
            "randomizer.settings[1].a",
            "is there 3 times, in line 3, column 35 and line 4, column 1 and line 4, column 9;"
            " leave one",
        ),
    ]


def test_every_swept_picture_is_there_before_anything_runs(tmp_path: Path) -> None:
    """All that are missing are told at once, each once; none is opened for that."""
    (tmp_path / "there.png").mkdir()
    (tmp_path / "a.png").touch(mode=0)
    text = """
        [img2img]
        [[randomizer.settings]]
        "img2img.mask" = "m.png"
        [randomizer.sweep]
        "img2img.init_image" = ["a.png", "b.png", "b.png", "there.png"]
    """
    with pytest.raises(ConfigError) as caught:
        PipelineConfig.from_text(text.encode(), folder=tmp_path)
    assert [(fault.path, fault.message) for fault in caught.value.faults] == [
        ("randomizer.sweep.img2img.init_image", f"no such file: {tmp_path / name}")
        for name in ("b.png", "there.png")
    ] + [("randomizer.settings[0].img2img.mask", f"no such file: {tmp_path / 'm.png'}")]
    PipelineConfig.from_text(
        text.encode(), ['randomizer.mode="off"', "img2img.init_image=a.png"], folder=tmp_path
    )


def test_a_rule_that_lacks_a_side_is_told() -> None:
    """It does nothing, as in presets of other tools, and nobody is left to find that out."""
    config = PipelineConfig.from_mapping(
        {
            **MINIMAL,
            "randomizer": {
                "prompt_sr": {"rules": ["a => ", {"search": "b", "replacements": []}, "=> x"]},
                "wildcards": {"tokens": ["mood:", {"token": "", "values": ["x"]}, "m: a | "]},
                "matrix": {"slots": [{"name": "x", "values": []}, {"name": "y", "values": [""]}]},
            },
        }
    )
    randomizer = "randomizer."
    assert [w.removeprefix(randomizer).partition(",")[0] for w in config.warnings] == [
        "prompt_sr.rules[0]: nothing stands after '=>'",
        "prompt_sr.rules[1]: has no replacements",
        "prompt_sr.rules[2]: has no search",
        "wildcards.tokens[0]: nothing stands after ':'",
        "wildcards.tokens[1]: has no token",
        "wildcards.tokens[2]: nothing stands beside a '|'",
        "matrix.slots[0]: has no values",
    ]
    assert '{ search = "a", replacements = [""] }' in config.warnings[0]
    assert [slot.values for slot in config.randomizer.matrix.slots] == [("",)]
    assert set(config.warnings) <= set(plan_variants(config).warnings)


def test_settings_may_be_nested_or_dotted() -> None:
    """As sweeps may; what a quoted key of an engine's own holds stays whole."""
    nested = {"txt2img": {"steps": 4, "extra": {"a": {"b": 1}}}, "lora": {"ink": 1}}
    dotted = {"txt2img.steps": 4, "txt2img.extra.a.b": 1, "lora.ink": 1}
    whole = {"txt2img.extra.a": {"b": 1}}
    read = [
        PipelineConfig.from_mapping({**MINIMAL, "randomizer": {"settings": [one]}}).randomizer
        for one in (nested, dotted, whole)
    ]
    assert [dict(config.settings[0]) for config in read] == [dotted, dotted, whole]


def test_what_a_value_must_be_is_said_whole() -> None:
    """A rule that names half of what it takes sends people away from what would work."""
    reported = faults({**MINIMAL, "backend": 3, "randomizer": {"matrix": {"limit": "x"}}})
    assert reported == {
        "backend": "must name an engine, or be a table with its name, got 3",
        "randomizer.matrix.limit": "must be an integer, 0 for all combinations, got 'x'",
    }


def test_a_comment_in_a_list_of_rules_is_no_rule() -> None:
    """Lists out of text files have comments; a rule that looks for a # is one all the same."""
    config = PipelineConfig.from_mapping(
        {
            "txt2img": {"prompt": "#tea, cat"},
            "randomizer": {
                "prompt_sr": {"rules": ["# cat => cow", "##", "#tea => #coffee", "cat => dog"]},
                "matrix": {"slots": ["# a: 1 | 2", "b: 1 | 2"]},
            },
        }
    )
    rules = config.randomizer.prompt_sr.rules
    assert [rule.search for rule in rules] == ["#tea", "cat"]
    assert [slot.name for slot in config.randomizer.matrix.slots] == ["b"]
    assert config.warnings == ()


def test_a_bar_inside_braces_or_brackets_separates_no_values() -> None:
    """A choice and prompt editing come whole out of the short form."""
    config = PipelineConfig.from_mapping(
        {
            "txt2img": {"prompt": "hair __a__ [[b]]"},
            "randomizer": {
                "prompt_sr": {"rules": ["hair => [black|gray] | {red|{blond|brown}}"]},
                "wildcards": {"tokens": [r"a: x\|y | z"]},
                "matrix": {"slots": ["b: [ | :]"]},
            },
        }
    ).randomizer
    assert config.prompt_sr.rules[0].replacements == ("[black|gray]", "{red|{blond|brown}}")
    assert config.wildcards.tokens[0].values == (r"x\|y", "z")
    assert config.matrix.slots[0].values == ("[ | :]",)


def test_what_is_tried_again_is_checked() -> None:
    """Of the table [retry]; what may cost money twice is no number."""
    stated = PipelineConfig.from_mapping({"txt2img": {}, "retry": {"unknown": True, "retries": 2}})
    assert (stated.retry.unknown, stated.retry.retries, stated.retry.patience) == (True, 2, None)
    for key, value in (("unknown", 1), ("retries", True), ("again", 1)):
        with pytest.raises(ConfigError, match=f"retry.{key}"):
            PipelineConfig.from_mapping({"txt2img": {}, "retry": {key: value}})
