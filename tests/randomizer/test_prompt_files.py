"""Prompts that come from a file: every format, every fault, and what a plan makes of rows."""

from __future__ import annotations

import csv
import io
import json
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from command_line import Safelight
from safelight.application.configs_again import with_whole_paths
from safelight.backends.fake import FakeBackend
from safelight.config import PipelineConfig
from safelight.errors import ConfigError
from safelight.knobs import KNOBS, Knob
from safelight.pipeline import PipelineRunner
from safelight.pipeline.run_sheet import plan_table
from safelight.randomizer import RandomizerPlanResult, Variant, plan_variants
from safelight.randomizer.prompt_files import MOST_ROWS

PACKS = [
    ("p.txt", "a cat\nneg: blurry\n\na dog", [("a cat", "blurry"), ("a dog", "")]),
    ("p.txt", "# comment\na\n\n# only comment\n\nb", [("a", ""), ("b", "")]),
    ("p.txt", "a\n\n\n\nb", [("a", ""), ("b", "")]),
    ("p.txt", "a\nneg: x\nb\nneg:y\r\n\r\nc", [("a b", "x y"), ("c", "")]),
    ("p.txt", "NEG: upper is not recognised", [("NEG: upper is not recognised", "")]),
    ("p.tsv", "pos\tneg\n# c\nonly pos\na\tb\tc",
     [("pos", "neg"), ("only pos", ""), ("a", "b\tc")]),
]  # fmt: skip
"""File, text, and what StableNew makes of it."""


def plan_of(
    folder: Path,
    name: str,
    content: str | bytes,
    *,
    stages: dict[str, Any] | None = None,
    table: dict[str, Any] | None = None,
    seed: int = 0,
    **options: Any,
) -> RandomizerPlanResult:
    """Return the plan of a config whose prompts are in the file *name*."""
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    prompts = {"file": name, **(table or {})}
    config = {**(stages or {"txt2img": {"seed": 1}}), "randomizer": {"prompts": prompts, **options}}
    return plan_variants(PipelineConfig.from_mapping(config, folder=folder), seed)


def drawn(variant: Variant) -> dict[str, Any]:
    return {name: value for name, value in variant.config["txt2img"].items() if name != "seed"}


def every(plan: RandomizerPlanResult) -> list[dict[str, Any]]:
    return [drawn(variant) for variant in plan.variants]


def refusal(*args: Any, **options: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        plan_of(*args, **options)
    return str(refused.value)


# -- what is written is read -----------------------------------------------------------------


def values_of(knob: Knob) -> st.SearchStrategy[Any]:
    if knob.kind == "text":
        signs = st.characters(codec="utf-8", exclude_characters="\0", max_codepoint=0xFFFFF)
        texts = st.text(signs, min_size=1, max_size=20)
        return texts.filter(str.strip if knob.means == "words" else lambda t: t and t == t.strip())
    if knob.kind == "integer":
        step = knob.multiple_of or 1
        least, most = int(knob.minimum or 0), int(knob.maximum or 0)
        return st.integers(-(-least // step), most // step).map(lambda n: n * step)
    lowest = knob.minimum if knob.minimum is not None else knob.above
    numbers = st.floats(lowest, knob.maximum, allow_nan=False, allow_subnormal=False)
    return numbers.filter(lambda n: n != knob.above and abs(n) < 1e15)


SET = [k for k in KNOBS.values() if "txt2img" in k.stages and k.name != "seed" and not k.needs]
ROWS = st.lists(
    st.fixed_dictionaries({"prompt": values_of(KNOBS["prompt"])},
                          optional={k.name: values_of(k) for k in SET if k.name != "prompt"}),
    min_size=1, max_size=4,
)  # fmt: skip
plain = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@plain
@given(ROWS, st.sampled_from(["csv", "tsv", "jsonl"]))
def test_rows_that_are_written_are_read_back(
    tmp_path: Path, rows: list[dict[str, Any]], kind: str
) -> None:
    """Quotes, separators, line ends and every sign of every script arrive."""
    if kind == "jsonl":
        text = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        file = io.StringIO()
        names = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(file, names, delimiter="," if kind == "csv" else "\t")
        writer.writeheader()
        writer.writerows(rows)
        text = file.getvalue()
    plan = plan_of(tmp_path, f"p.{kind}", text, templates=False, mode="rotate")
    assert every(plan) == rows
    assert [{name: type(v) for name, v in row.items()} for row in every(plan)] == [
        {name: type(v) for name, v in row.items()} for row in rows
    ]


@pytest.mark.parametrize(("name", "text", "expected"), PACKS)
def test_packs_are_read_as_their_tool_reads_them(
    tmp_path: Path, name: str, text: str, expected: list[tuple[str, str]]
) -> None:
    plan = plan_of(tmp_path, name, text, table={"format": "pack"})
    assert expected == [(d.get("prompt", ""), d.get("negative_prompt", "")) for d in every(plan)]


def test_lines_are_prompts_and_those_of_the_script_have_options(tmp_path: Path) -> None:
    """Blank lines and comments are none; a colour is no comment, and that is told."""
    plan = plan_of(
        tmp_path, "p.txt",
        "  a cat\r\n\r\n# a comment\n## one more\n#\n#ff0000 sky\n"
        '--prompt "a dog" --negative_prompt bad, worse --steps 20 --cfg_scale 7'
        ' --sampler_name "Euler a" --width 512 --sd_model x --prompt_for_display q\n'
        '--steps 9 --prompt "it\'s \\(here\\)"',
    )  # fmt: skip
    assert every(plan) == [
        {"prompt": "a cat"},
        {"prompt": "#ff0000 sky"},
        {"prompt": "a dog", "negative_prompt": "bad, worse", "steps": 20, "cfg_scale": 7,
         "sampler": "Euler a", "width": 512, "model": "x"},
        {"prompt": "it's \\(here\\)", "steps": 9},
    ]  # fmt: skip
    colour, display = plan.warnings
    assert colour.startswith("p.txt, line 6: a line that begins with #")
    assert display == "p.txt, --prompt_for_display: is not used: safelight says where files go"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("neg: blurry", 'a line of a pack, read as a prompt; set format = "pack"'),
        ("a cat --steps 5", "options are read where a line begins with -- only"),
        ("--prompt \\(a\\)", "a backslash outside of quotes only says that the next sign is one"),
    ],
)
def test_what_may_be_meant_otherwise_is_told(tmp_path: Path, line: str, told: str) -> None:
    (warning,) = plan_of(tmp_path, "p.txt", f"{line}\n").warnings
    assert told in warning


def test_columns_are_named_as_people_name_them(tmp_path: Path) -> None:
    """Case, blanks and _ tell no columns apart; one without a stage is that of the first."""
    head = "Prompt,NEGATIVE PROMPT, Steps ,CFG scale,Schedule type,img2img.Denoising Strength"
    head += ",denoising strength of nothing,lora.ink,txt2img.extra.tile,extra.eta_noise"
    plan = plan_of(
        tmp_path, "p.csv", f"\ufeff{head}\r\na,b, 20 ,7.0,Karras,.5,x,0.5,true,1e-2\r\n",
        stages={"txt2img": {"seed": 1}, "img2img": {}},
    )  # fmt: skip
    (variant,) = plan.variants
    assert drawn(variant) == {
        "prompt": "a <lora:ink:0.5>", "negative_prompt": "b", "steps": 20, "cfg_scale": 7.0,
        "scheduler": "Karras", "extra": {"tile": True, "eta_noise": 0.01},
    }  # fmt: skip
    assert variant.config["img2img"]["denoising_strength"] == 0.5
    (warning,) = plan.warnings
    assert warning.startswith("p.csv, column 'denoising strength of nothing': is not used: it is")


def test_columns_are_mapped_where_their_names_differ(tmp_path: Path) -> None:
    table = {"columns": {"prompt": "Caption", "txt2img": {"steps": "n"}}}
    plan = plan_of(tmp_path, "p.csv", "caption,N,steps\na,5,9\n", table=table)
    assert every(plan) == [{"prompt": "a", "steps": 5}]
    (warning,) = plan.warnings
    assert "randomizer.prompts.columns takes txt2img.steps from 'n'" in warning
    told = refusal(tmp_path, "p.csv", "Capt,n\na,5\n", table=table)
    assert "has no column 'Caption', which randomizer.prompts.columns names" in told
    assert "did you mean 'Capt'?" in told


def test_tables_nest_in_json(tmp_path: Path) -> None:
    line = {"prompt": "a", "txt2img": {"steps": 5, "extra": {"t": {"u": [1, "x"]}}},
            "lora": {"v1.2": 0.5}, "negative_prompt": None}  # fmt: skip
    plan = plan_of(tmp_path, "p.ndjson", json.dumps(line))
    assert every(plan) == [
        {"prompt": "a <lora:v1.2:0.5>", "steps": 5, "extra": {"t": {"u": [1, "x"]}}}
    ]


# -- what a plan makes of it -----------------------------------------------------------------


def test_rows_go_over_the_config_and_empty_cells_leave_it(tmp_path: Path) -> None:
    stage = {"seed": 1, "steps": 9, "negative_prompt": "n", "width": 64}
    text = "prompt,steps,negative_prompt\na,5,\nb,,m\n"
    plan = plan_of(tmp_path, "p.csv", text, stages={"txt2img": stage})
    assert every(plan) == [
        {"prompt": "a", "steps": 5, "negative_prompt": "n", "width": 64},
        {"prompt": "b", "steps": 9, "negative_prompt": "m", "width": 64},
    ]
    assert [v.choices for v in plan.variants] == [
        {"txt2img.prompt": "a", "txt2img.steps": 5}, {"txt2img.prompt": "b", "txt2img.steps": 9},
    ]  # fmt: skip
    assert [v.label for v in plan.variants] == ["prompt=a; steps=5", "prompt=b; steps=9"]


def test_templates_rules_and_slots_act_in_rows_and_sweeps_cross_them(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path, "p.txt", "a {red|blue} T\n[[s]] hat\n",
        wildcards={"tokens": ["__T__: x", {"token": "T", "values": ["cat"]}]},
        matrix={"slots": ["s: old | new"]}, prompt_sr={"rules": ["hat => cap"]},
        sweep={"txt2img.steps": [3, 4]},
    )  # fmt: skip
    assert [d["prompt"] for d in every(plan)][::2] == [
        "a red cat", "a blue cat", "old cap", "new cap",
    ]  # fmt: skip
    assert [d["steps"] for d in every(plan)][:2] == [3, 4]


def test_rows_without_prompts_go_over_each_prompt_of_the_config(tmp_path: Path) -> None:
    stages = {"txt2img": {"prompt": ["p", "q"], "seed": 1}}
    plan = plan_of(tmp_path, "p.csv", "steps,cfg_scale\n5,7\n6,7\n", stages=stages)
    assert [(d["prompt"], d["steps"]) for d in every(plan)] == [
        ("p", 5), ("q", 5), ("p", 6), ("q", 6),
    ]  # fmt: skip
    assert plan.prompt_file is not None
    assert plan.prompt_file.prompts == 2


def test_seeds_of_rows_are_where_those_of_their_prompt_begin(tmp_path: Path) -> None:
    """A seed of -1 is drawn for each row; with batches the next ones begin after them."""
    text = "prompt,seed,batch_size\na,100,4\nb,,\nc,-1,\nd,-1,\n"
    plan = plan_of(tmp_path, "p.csv", text, seeds_per_variant=2, seed=7)
    seeds = [v.config["txt2img"]["seed"] for v in plan.variants]
    assert seeds[:4] == [100, 104, 1, 5]
    assert seeds[4] != seeds[6]
    assert [v.choices["txt2img.seed"] for v in plan.variants] == seeds
    again = plan_of(tmp_path, "p.csv", text, seeds_per_variant=2, seed=7)
    assert [v.config for v in again.variants] == [v.config for v in plan.variants]
    apart = plan_of(tmp_path, "p.csv", "prompt,seed\na,50\n{b|c},100\n", seed_policy="per_prompt")
    assert [v.config["txt2img"]["seed"] for v in apart.variants] == [50, 100, 101]


@pytest.mark.parametrize("mode", ["fanout", "random", "sequential", "rotate"])
def test_rows_are_whole_in_every_mode(tmp_path: Path, mode: str) -> None:
    text = "prompt,steps\n{a|b},5\nc,6\n"
    plan = plan_of(tmp_path, "p.csv", text, mode=mode, draws=6, sweep={"txt2img.cfg_scale": [1, 2]})
    for one in every(plan):
        assert one["steps"] == (6 if one["prompt"] == "c" else 5)


def test_off_does_not_use_the_file_and_tells(tmp_path: Path) -> None:
    config = {"txt2img": {"prompt": "x", "seed": 1},
              "randomizer": {"mode": "off", "prompts": {"file": "none.csv"}}}  # fmt: skip
    plan = plan_variants(PipelineConfig.from_mapping(config, folder=tmp_path))
    assert plan.warnings == ("randomizer.mode is off, so its sources were not used",)
    assert plan.prompt_file is None


def test_repeated_rows_come_once_and_rows_without_a_prompt_are_told(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "p.csv", "prompt,steps\na,5\na,5\n,7\n")
    assert plan.plan_size == 2
    assert plan.warnings == (
        "p.csv: 1 of 3 rows have no prompt, and are drawn without one",
        "1 repeated prompts were left out",
    )


def test_axes_and_sheets_know_rows(tmp_path: Path) -> None:
    """Rows that differ in the prompt are that axis; rows that differ in more are one axis."""
    sweep = {"txt2img.cfg_scale": [1, 2]}
    plain_rows = plan_of(tmp_path, "p.csv", "prompt,steps\na,5\nb,5\n", sweep=sweep)
    assert plain_rows.axes[0].name == "txt2img.prompt"
    assert list(plain_rows.axes[0].values or ()) == ["a", "b"]
    plan = plan_of(tmp_path, "p.csv", "prompt,steps\na,5\nb,5\na,6\n", sweep=sweep)
    assert plan.axes[0].name == "prompts"
    assert list(plan.axes[0].values or ())[2] == "prompt=a, steps=6"
    config = PipelineConfig.from_mapping({"txt2img": {}})
    table = plan_table(config, plan, plan.plan_size)
    assert table is not None
    assert [h.text for h in table.row_heads[0]] == ["steps 5 · a", "steps 5 · b", "steps 6 · a"]


def test_the_plan_says_where_prompts_come_from(
    tmp_path: Path, command: Safelight, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads the plan can tell whether the file is still the same."""
    rows = "prompt,sampler\na,Euler\nb,Heun\n"
    (tmp_path / "p.csv").write_text(rows)
    head = 'backend = "fake"\n[txt2img]\n[randomizer.prompts]\nfile = "p.csv"\n'
    (tmp_path / "c.toml").write_text(head)
    digest = sha256(rows.encode()).hexdigest()
    monkeypatch.setenv("COLUMNS", "200")
    assert f"  2 prompts from p.csv, SHA-256 {digest}" in command("plan", "c.toml").output
    told = json.loads(command("plan", "c.toml", "--json").stdout)
    assert told["prompt_files"] == {"p.csv": {"prompts": 2, "sha256": digest}}


def test_names_in_rows_must_be_the_engines(tmp_path: Path, command: Safelight) -> None:
    """Before anything is drawn, as those of the config and of sweeps."""
    (tmp_path / "p.csv").write_text("prompt,sampler\na,Euler\nb,Eulr\n")
    head = 'backend = "fake"\n[txt2img]\n[randomizer.prompts]\nfile = "p.csv"\n'
    (tmp_path / "c.toml").write_text(head)
    told = command("plan", "c.toml")
    assert told.exit_code == 2
    assert "txt2img.sampler: fake does not know 'Eulr'; did you mean" in told.output


def test_a_config_that_goes_elsewhere_names_its_file_wholly(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("prompt\na\n")
    config = {"randomizer": {"prompts": {"file": "p.csv", "columns": {"prompt": "p.csv"}}}}
    prompts = with_whole_paths(config, tmp_path)["randomizer"]["prompts"]
    assert prompts == {"file": str((tmp_path / "p.csv").resolve()), "columns": {"prompt": "p.csv"}}


def test_rows_of_one_model_are_drawn_together(tmp_path: Path) -> None:
    """Loading other weights costs an engine seconds."""
    (tmp_path / "p.csv").write_text("prompt,model\na,x\nb,y\nc,x\nd,y\n")
    stage = {"width": 64, "height": 64, "steps": 1, "seed": 1}
    config = {"txt2img": stage, "randomizer": {"prompts": {"file": "p.csv"}}}
    backend = FakeBackend()
    asked: list[str] = []
    draw = backend.generate

    def generate(request: Any, on_step: Any) -> Any:
        asked.append(request.prompt)
        return draw(request, on_step)

    backend.generate = generate  # type: ignore[method-assign]
    PipelineRunner(backend).run(PipelineConfig.from_mapping(config, folder=tmp_path), seed=1)
    assert asked == ["a", "c", "b", "d"]


# -- faults ----------------------------------------------------------------------------------

FAULTS = [
    ("p.txt", "--prompt it's", "p.txt, line 1: cannot be read, No closing quotation"),
    ("p.txt", "a\n--steps", "line 2: an option must have a value, got '--steps'"),
    ("p.txt", "--prompt a -- x", "--: is no knob"),
    ("p.txt", "--steps 5 x", "an option must begin with --, got 'x'"),
    ("p.txt", "--steps 5 --steps 6", "an option may be there once, got '--steps' twice"),
    ("p.txt", "--stps 5", "p.txt, line 1, --stps: is no knob; did you mean 'steps'?"),
    ("p.txt", "--n_iter 5", "no knob that stands for it; say randomizer.seeds_per_variant"),
    ("p.txt", "--steps x", "--steps: must be an integer from 1 to 10000, got 'x'"),
    ("p.txt", "# none\n\n", "p.txt: has no prompts"),
    ("p.csv", "prompt;steps\na;5\n", "columns are apart by commas"),
    ("p.csv", "a cat\na dog\n", "has no column that is a knob; its first row names them"),
    ("p.csv", "prompt,prompt\na,b\n", "a column may be there once, got 'prompt' twice"),
    ("p.csv", "Steps,S_teps\n5,6\n", "column 'S_teps': sets txt2img.steps twice"),
    ("p.csv", "prompt,steps\na,5,6\n", "line 2: a row may have 2 cells"),
    ("p.csv", 'prompt,steps\n"a" b,5\n', "p.csv, line 2: cannot be read, ',' expected after"),
    ("p.csv", 'prompt\na\n"b\n\nc\n', "line 3: cannot be read, unexpected end of data"),
    ("p.csv", "prompt,steps\na,20.0\n", "column 'steps': must be an integer from 1"),
    ("p.csv", 'cfg_scale\n"7,5"\n', "must be a number from 0 to 1000, got '7,5'"),
    ("p.csv", "width\n65\n", "must be an integer multiple of 8 from 8 to 16384, got 65"),
    ("p.csv", "lora.ink\n101\n", "every weight must be a number from -100 to 100, got 101"),
    ("p.csv", "prompt\n" + "a" * 100_001, "a text may have 100,000 characters, got 100,001"),
    ("p.csv", "init_image\nx.png\n", "p.csv: has no column that is a knob"),
    ("p.csv", "hires_steps\n5\n", "hires_steps has no effect without txt2img.hires_scale"),
    ("p.csv", "extra.a,extra.a.b\n1,2\n", "lies in txt2img.extra.a, which is varied as a whole"),
    ("p.jsonl", "[1]", "must be one JSON object on the line, got [1]"),
    ("p.jsonl", '{"steps": "5"}', "must be an integer from 1 to 10000, got '5'"),
    ("p.jsonl", '{"steps": 5,\n"x": 6}', "p.jsonl, line 1: cannot be read as JSON"),
    ("p.jsonl", '{"prompt": "a", "prompt": "b"}', "the key 'prompt' is there twice"),
    ("p.jsonl", '{"txt2img": {"steps": 1}, "txt2img.steps": 2}', "'txt2img.steps' is there twice"),
    ("p.jsonl", '{"steps": 5}\n{"prompt": {"a": 1}}', "line 2, column 'prompt': must be a text"),
    ("p.jsonl", '{"txt2img": {"prompt": {"a": 1}}}', "got an object; JSON in a prompt is a text"),
    ("p.jsonl", '{"cfg_scale": NaN}', "NaN is no number of JSON"),
    ("p.jsonl", '{"extra": {"x": 1e999}}', "'1e999' is too large a number"),
    ("p.jsonl", '{"prompt": "\\ud83d"}', "no half of a character in it"),
    ("p.jsonl", '{"prompt": "\\u0000"}', "a text may have no zero"),
    ("p.jsonl", '{"a":' * 60_000, "it nests too deep"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "told"), FAULTS, ids=[f[2][:40] for f in FAULTS])
def test_what_is_wrong_with_a_file_is_told_with_its_line(
    tmp_path: Path, name: str, content: str, told: str
) -> None:
    assert told in refusal(tmp_path, name, content)


def test_all_that_is_wrong_is_told_at_once_and_alike_faults_together(tmp_path: Path) -> None:
    rows = "".join(f"{n},20.0,65\n" for n in range(40))
    told = refusal(tmp_path, "p.csv", f"cfg_scale,steps,width\n{rows}x,5,8\n")
    assert told.splitlines()[0] == "3 faults"
    assert "line 2, column 'steps': must be an integer from 1 to 10000, got 20.0; so in 39" in told
    assert "line 42, column 'cfg_scale': must be a number" in told
    many = "".join(f"--x{n} 1\n" for n in range(500))
    assert refusal(tmp_path, "p.txt", many).endswith("p.txt: and 488 more faults")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("prompt\na\nä\n".encode("latin-1"), "p.csv, line 3: byte 0xe4 is not UTF-8"),
        ("prompt\na\n".encode("utf-16"), "p.csv, line 1: byte 0xff is UTF-16"),
        (b"prompt\na\0b\n", "p.csv, line 2: a zero byte is no text; save the file as UTF-8"),
        (b"prompt\n" + b"a" * 2**23, "a file of prompts may have 8,388,608 bytes"),
        (b"steps\n" + b"5\n" * (MOST_ROWS + 1), "a plan may have 50,000 prompts"),
    ],
)
def test_bytes_that_are_no_text_and_too_many_are_refused(
    tmp_path: Path, content: bytes, told: str
) -> None:
    assert told in refusal(tmp_path, "p.csv", content)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    config = {"txt2img": {}, "randomizer": {"prompts": {"file": "none.csv"}}}
    with pytest.raises(ConfigError, match=r"randomizer\.prompts\.file: no such file: .*none\.csv"):
        plan_variants(PipelineConfig.from_mapping(config, folder=tmp_path))


@pytest.mark.parametrize(
    ("stage", "options", "told"),
    [
        ({"prompt": "x"}, {}, "column 'prompt': txt2img.prompt is stated in the config, too"),
        ({"negative_prompt": ["x", "y"]}, {}, "the config has 2 prompts, which cannot go with"),
        ({}, {"sweep": {"txt2img.steps": [5]}}, "column 'steps': txt2img.steps is swept, too"),
        ({}, {"sweep": {"lora.ink": [1]}}, "column 'lora.ink': txt2img.lora.ink is swept, too"),
        ({}, {"settings": [{"txt2img.steps": 5}]}, "txt2img.steps is swept, too"),
        ({}, {"sub_sweeps": [{"txt2img.steps": [5]}]}, "txt2img.steps is swept, too"),
        ({}, {"sweep": {"txt2img.prompt": ["x"]}}, "txt2img.prompt is swept, too"),
        ({}, {"sweep": {"txt2img.seed": [1]}}, "txt2img.seed is swept, too"),
    ],
)
def test_what_is_said_twice_is_refused(
    tmp_path: Path, stage: dict[str, Any], options: dict[str, Any], told: str
) -> None:
    text = "prompt,steps,lora.ink,seed\na,5,1,7\n"
    assert told in refusal(tmp_path, "p.csv", text, stages={"txt2img": stage}, **options)


def test_pictures_in_rows_start_where_the_file_is_and_must_be_there(tmp_path: Path) -> None:
    """Each is looked at before anything is drawn; a row without one is told."""
    (tmp_path / "lists").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "lists" / "in.png")
    stages = {"img2img": {"prompt": "x"}}
    plan = plan_of(tmp_path, "lists/p.csv", "init_image,steps\nin.png,5\n", stages=stages)
    assert Path(plan.variants[0].config["img2img"]["init_image"]) == Path("lists/in.png")
    told = refusal(tmp_path, "lists/p.csv", "init_image,steps\nout.png,5\n,6\n", stages=stages)
    assert "line 2, column 'init_image': no such file" in told
    assert "line 3: img2img.init_image is missing" in told
    pictures = [{"img2img.init_image": ["lists/in.png"]}, {"img2img.steps": [5]}]
    text = "cfg_scale\n7\n"
    plan = plan_of(tmp_path, "lists/p.csv", text, stages=stages, sub_sweeps=pictures[:1])
    assert plan.variants[0].config["img2img"]["init_image"] == "lists/in.png"
    told = refusal(tmp_path, "lists/p.csv", text, stages=stages, sub_sweeps=pictures)
    assert "img2img.init_image is missing" in told
    both: dict[str, Any] = {"txt2img": {}, "img2img": {}}
    told = refusal(tmp_path, "lists/p.csv", "init_image\nin.png\n", stages=both)
    assert "img2img.init_image has no effect" in told


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({}, "randomizer.prompts.file: is missing"),
        ({"file": ""}, "randomizer.prompts.file: must name a file, got ''"),
        ({"file": "p.dat"}, "randomizer.prompts.format: is missing, and the name does not say it"),
        ({"file": "p.csv", "format": "cvs"}, "did you mean 'csv'?"),
        ({"file": "p.csv", "colums": {}}, "did you mean 'columns'?"),
        ({"file": "p.csv", "columns": {"stps": "s"}}, "columns.stps: is no knob; did you mean"),
        (
            {"file": "p.csv", "columns": {"img2img.steps": "s"}},
            "belongs to img2img, which does not",
        ),
        ({"file": "p.csv", "columns": {"steps": 5}}, "columns.steps: must be text, got 5"),
        (
            {"file": "p.csv", "columns": {"steps": "a", "Steps": "b"}},
            "another name of txt2img.steps",
        ),
        ({"file": "p.txt", "columns": {"steps": "a"}}, "has no effect: lines has no columns"),
    ],
)
def test_the_table_is_checked_with_the_config(table: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        PipelineConfig.from_mapping({"txt2img": {}, "randomizer": {"prompts": table}})


def test_negative_prompts_alone_are_an_axis(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "p.csv", "negative_prompt\na\nb\n")
    assert plan.axes[0].name == "txt2img.negative_prompt"


def test_what_is_wrong_with_a_file_as_a_whole_is_in_no_line(tmp_path: Path) -> None:
    """However often it is found."""
    stage = {"txt2img": {"negative_prompt": ["p", "q"]}}
    told = refusal(tmp_path, "p.csv", "prompt,negative_prompt\na,b\n", stages=stage)
    assert told.endswith("one by one; put them into the file")
