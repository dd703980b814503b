"""The command line does what it says, and says what it did."""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from PIL import Image

from backends.comfyui.fake_server import FakeComfyUI
from command_line import Safelight
from safelight import __version__
from safelight.cli import main
from safelight.learning import read_records

CONFIG = """
name = "towers"
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
    return command


def test_a_run_ends_by_saying_where_everything_is(safelight: Safelight, tmp_path: Path) -> None:
    """Pictures, contact sheet and record are where the last lines say."""
    result = safelight("run", "c.toml")
    assert result.exit_code == 0
    places = dict(re.findall(r"^  (pictures|sheet|record) +(.+)$", result.stdout, re.MULTILINE))
    assert len(list(Path(places["pictures"]).glob("0*.png"))) == 4
    with Image.open(places["sheet"]) as sheet:
        assert sheet.width > 300
    assert [record.name for record in read_records(Path(places["record"]).parent)] == ["towers"]
    assert Path(places["record"]).is_relative_to("safelight/records")


def test_json_output_is_one_object_per_run(safelight: Safelight) -> None:
    """Scripts read it; nothing else is on standard output."""
    result = safelight("run", "c.toml", "--json", "--set", "txt2img.steps=3")
    data = json.loads(result.stdout)
    assert (data["status"], len(data["images"])) == ("completed", 4)
    record = json.loads(Path(data["record"]).read_text("utf-8"))
    assert record["base_config"]["txt2img"]["steps"] == 3
    assert {image["path"] for image in data["images"]} == {
        f"safelight/{output['path']}" for output in record["outputs"]
    }


def test_a_dry_run_draws_nothing(safelight: Safelight, tmp_path: Path) -> None:
    """It shows the plan, and leaves no trace."""
    result = safelight("run", "c.toml", "--dry-run")
    assert "4 variants" in result.stdout
    assert not (tmp_path / "safelight").exists()


def test_without_record_there_are_pictures_and_no_record(
    safelight: Safelight, tmp_path: Path
) -> None:
    """Recording is optional."""
    result = safelight("run", "c.toml", "--no-record", "--archive", "elsewhere")
    assert result.exit_code == 0
    assert "record" not in result.stdout
    assert len(list(Path("elsewhere").rglob("0*.png"))) == 4
    assert not (tmp_path / "elsewhere" / "records").exists()
    assert safelight("show", "--archive", "elsewhere").exit_code == 1


def test_the_archive_may_come_from_the_environment(
    safelight: Safelight, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user who keeps all pictures in one place says so once."""
    monkeypatch.setenv("SAFELIGHT_ARCHIVE", "everything")
    safelight("run", "c.toml")
    assert len(list(read_records(Path("everything/records")))) == 1


def test_all_faults_of_a_config_are_shown(safelight: Safelight, tmp_path: Path) -> None:
    """And the exit status tells a script that the config is to blame."""
    (tmp_path / "bad.toml").write_text("[txt2img]\nstpes = 3\nsteps = 0\n")
    result = safelight("run", "c.toml", "bad.toml")
    assert result.exit_code == 2
    assert "bad.toml: 2 faults" in result.output
    assert "did you mean 'steps'?" in result.output
    assert not (tmp_path / "safelight").exists(), "nothing runs while any config is at fault"


def test_an_engine_that_does_not_exist_is_named_with_near_ones(safelight: Safelight) -> None:
    """A typo in one word must not need a search through the documentation."""
    for command in ("run", "plan"):
        result = safelight(command, "c.toml", "--set", "backend=fkae")
        assert result.exit_code == 2
        assert "c.toml: backend: there is no engine 'fkae'; did you mean 'fake'?" in result.output


def test_failed_variants_show_in_output_and_exit_status(safelight: Safelight) -> None:
    """Some failed: 3. All failed: 1."""
    some = safelight("run", "c.toml", "--set", 'backend={name="fake", fail_on=["red"]}')
    assert some.exit_code == 3
    assert "partial: 2 pictures" in some.stdout
    refuse = 'backend={name="fake", fail_on=["tower", "house"]}'
    every = safelight("run", "c.toml", "--again", "--set", refuse)
    assert every.exit_code == 1
    assert "failed: 0 pictures" in every.stdout


def test_strict_fails_what_was_made_otherwise_than_asked(safelight: Safelight) -> None:
    """The pictures are kept, and the exit status tells."""
    swap = """--set=backend={name="fake", substitute={cfg_scale=5}}"""
    assert safelight("run", "c.toml", swap).exit_code == 0
    strict = safelight("run", "c.toml", swap, "--strict")
    assert strict.exit_code == 1
    assert "asked for txt2img.cfg_scale = 3, the engine used 5" in strict.stdout
    assert "failed: 4 pictures" in strict.stdout


def test_a_secret_may_come_from_the_environment(
    safelight: Safelight, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a config can be shared; a variable that is not set is named."""
    option = """--set=backend={name="fake", fail_on="env:SECRET_WORD"}"""
    missing = safelight("run", "c.toml", option)
    assert missing.exit_code == 2
    assert "SECRET_WORD is not set in the environment" in missing.output
    monkeypatch.setenv("SECRET_WORD", "lighthouse")
    assert safelight("run", "c.toml", option).exit_code == 1


def test_the_doctor_says_where_everything_is(
    safelight: Safelight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left after an uninstallation is in these places, and there is no other."""
    if sys.platform != "linux":
        pytest.skip("places of Linux")
    home, work = tmp_path / "home", tmp_path / "work"
    work.mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    root = Path(__file__).parents[2]
    kept["PYTHONPATH"] = ":".join(
        str(root / one) for one in kept.get("PYTHONPATH", "").split(":") if one
    )
    (work / "c.toml").write_text('backend = "fake"\n[txt2img]\nprompt = "a"\n', "utf-8")

    def typed(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "safelight", *words], cwd=work, check=True, text=True,
            env={**kept, "HOME": str(home), "SHELL": "/bin/bash"}, stdout=subprocess.PIPE,
        )  # fmt: skip
        return done.stdout

    for command in (
        "run c.toml", "import .", "folders add .", "completion --install",
        "rate --where a --stars 4", "engines add box http://127.0.0.1:9 --no-test --backend webui",
        "effects",
    ):  # fmt: skip
        typed(*command.split())
    told = json.loads(typed("doctor", "--json"))
    assert told["engines"] == ["box"]
    places = [told[name] for name in ("archive", "configuration", "state")] + told["completion"]
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "c.toml"]
    beside = [path for path in written if not any(path.is_relative_to(one) for one in places)]
    assert len(written) > 5
    assert beside == []
    shown = typed("doctor")
    assert all(place in shown for place in places)
    assert safelight("doctor", "--report").exit_code == 2


def test_the_doctor_tells_what_works(safelight: Safelight) -> None:
    """By name, with options, as JSON, and of an address where nobody is."""
    well = safelight("doctor", "fake")
    assert well.exit_code == 0
    assert re.search(r"^ok  txt2img ", well.stdout, re.MULTILINE)
    ill = safelight("doctor", "fake", "--option", 'fail_on=["apple"]', "--json")
    assert ill.exit_code == 1
    report = json.loads(ill.stdout)
    assert report["engine"] == "fake"
    findings = {finding["question"]: finding for finding in report["findings"]}
    assert "refuses prompts with 'apple'" in findings["txt2img"]["told"]
    assert findings["img2img"]["told"].startswith("not tried")
    asked = safelight("doctor", "fake", "--option", 'fail_on=["apple"]')
    assert "next: safelight doctor fake --report" in asked.stderr, "and not: draw with it"
    nobody = safelight("doctor", "http://me:canary@127.0.0.1:9")
    assert nobody.exit_code == 1
    assert "127.0.0.1:9 does not answer" in nobody.output
    assert "canary" not in nobody.output
    assert "key=value" in safelight("doctor", "fake", "--option", "nothing").output


def test_paths_among_an_engines_options_start_at_the_config(
    safelight: Safelight, tmp_path: Path
) -> None:
    """As every other path in a config does, wherever the command is called."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "d.toml").write_text(
        '[txt2img]\nprompt = "a"\n[backend]\nname = "bundled"\nmodel_dir = "mine"\n', "utf-8"
    )
    result = safelight("run", "deep/d.toml")
    assert result.exit_code == 2
    assert f"{Path('deep') / 'mine' / 'model.json'}" in result.output


def test_a_plan_is_shown_without_drawing(safelight: Safelight) -> None:
    """Size, how it comes about, and the first variants."""
    shown = safelight("plan", "c.toml")
    assert "4 variants through txt2img" in shown.stdout
    assert "a red lighthouse" in shown.stdout
    data = json.loads(safelight("plan", "c.toml", "--json", "--first", "2").stdout)
    assert (data["plan_size"], data["mode"], len(data["variants"])) == (4, "fanout", 2)
    assert data["variants"][1]["config"]["txt2img"]["cfg_scale"] == 7


def test_a_variant_is_explained(safelight: Safelight) -> None:
    """Each prompt whole, each piece with its source, each knob with its own."""
    told = safelight("plan", "c.toml", "--explain", "2").stdout
    assert "variant 2 of 4 (plan seed" in told
    assert "\n  written: a {red" in told
    assert re.search(r"\n    green +\{1\}, the template\n", told)
    assert "\ntxt2img.cfg_scale = 3 (randomizer.sweep, value 1)\n" in told
    data = json.loads(safelight("plan", "c.toml", "--explain", "2", "--json").stdout)
    (prompt, *_) = data["prompts"]
    assert "".join(piece["text"] for piece in prompt["pieces"]) == prompt["text"]
    beyond = safelight("plan", "c.toml", "--explain", "4")
    assert beyond.exit_code == 2
    assert "the plan has variants 0 to 3, got 4" in beyond.output


def test_a_plan_of_a_billion_is_shown_at_once(safelight: Safelight) -> None:
    """Counting is not listing."""
    ten = "|".join("abcdefghij")
    prompt = " ".join(["{" + ten + "}"] * 9)
    result = safelight("plan", "c.toml", "--set", f"txt2img.prompt={prompt}")
    assert "2,000,000,000 variants" in result.stdout


def test_a_record_is_shown_by_id_by_prefix_and_as_json(safelight: Safelight) -> None:
    """``safelight show`` after a run shows that run."""
    run = json.loads(safelight("run", "c.toml", "--json").stdout)
    for name in ("last", run["run_id"], run["run_id"][:6]):
        shown = safelight("show", name)
        assert shown.exit_code == 0
        assert run["run_id"] in shown.stdout
        assert "fanout, 4 variants" in shown.stdout
    assert json.loads(safelight("show", "--json").stdout)["run_id"] == run["run_id"]
    missing = safelight("show", "zzz")
    assert missing.exit_code == 1
    assert "has an id that begins with" in missing.output


def test_the_schema_is_printed(safelight: Safelight) -> None:
    """For an editor's settings."""
    assert json.loads(safelight("schema").stdout)["title"] == "safelight config"


def test_an_example_says_how_to_go_on_in_its_archive(safelight: Safelight) -> None:
    """What it says to type works as it stands."""
    told = safelight("demo", "first_sheet", "--archive", "another one").output
    assert "completed: 12 pictures" in told
    for hint in ("safelight serve --open", r"safelight show [0-9a-f]{16}"):
        assert re.search(f"{hint} --archive 'another one'\n", told), told


def test_every_example_is_listed_and_can_be_copied(safelight: Safelight, tmp_path: Path) -> None:
    """With the files that it names, so that the copy makes its plan; nothing is overwritten."""
    listed = safelight("demo", "--list").stdout.splitlines()
    assert len(listed) == len({line.split()[0] for line in listed}) >= 8
    for line in listed:
        name, about = line.split(maxsplit=1)
        assert about.endswith((".", "?"))
        assert safelight("demo", name, "--copy", name).exit_code == 0
        plan = safelight("plan", f"{name}/{name}.toml", "--json")
        assert plan.exit_code == 0, plan.output
    again = safelight("demo", "hires", "--copy", "hires")
    assert (again.exit_code, "is there already" in again.output) == (1, True)
    wrong = safelight("demo", "hiers")
    assert (wrong.exit_code, "did you mean 'hires'?" in wrong.output) == (2, True)


@pytest.mark.parametrize("name", ["run", "plan", "show", "schema", "backends", "demo"])
def test_every_command_has_help_and_is_in_the_list(safelight: Safelight, name: str) -> None:
    """What ``--help`` lists is what exists."""
    assert name in safelight("--help").stdout
    text = safelight(name, "--help").stdout
    assert text.startswith(f"Usage: main {name}")
    assert "--help" in text


def test_the_help_groups_every_command_by_what_one_does(safelight: Safelight) -> None:
    """On a usual terminal, one line each; none is left over, and no sentence is cut."""
    told = safelight("--help").stdout
    for group in ("Begin", "Look at pictures", "Rate and learn", "Draw", "Engines"):
        assert f"\n{group}:\n" in told
    listed = re.findall(r"^  ([a-z]+)  .*[.]$", told, re.MULTILINE)
    assert sorted(listed) == sorted(main.list_commands(click.Context(main)))
    for words in ([], ["archive"], ["albums", "--help"], ["engines", "--help"]):
        told = safelight(*words, *([] if words else ["--help"])).output
        assert "..." not in told.partition("Commands:")[2]
        assert "\\n" not in told
        assert max(map(len, told.splitlines())) <= 80


@pytest.mark.skipif(os.name == "nt", reason="bash")
def test_completion_is_installed_by_one_command(
    safelight: Safelight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the shell of the person looks for it; a shell that is none is told."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("SHELL", "/usr/bin/bash")
    done = safelight("completion", "--install")
    assert done.exit_code == 0, done.output
    (installed,) = (tmp_path / "data").rglob("safelight")
    assert str(installed) in done.stdout
    program = tmp_path / "bin" / "safelight"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m safelight "$@"\n', "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    script = (
        f"source {installed}; COMP_WORDS=(safelight eff); COMP_CWORD=1;"
        ' _safelight_completion safelight; echo "${COMPREPLY[@]}"'
    )
    done_by_bash = subprocess.run(
        ["bash", "-c", script], cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert done_by_bash.stdout.split() == ["effects"], done_by_bash
    assert "did you mean 'bash'?" in safelight("completion", "bahs").output
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert "/bin/tcsh, your $SHELL" in safelight("completion", "--install").stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_a_shell_lacks_for_completion_is_found_by_asking_it(
    safelight: Safelight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    """Where it says that nothing is missing, nothing is; what it says to add is enough."""
    if shutil.which(shell, path=os.defpath) is None:
        pytest.skip(f"no {shell} here")
    for variable in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(variable, raising=False)
    home = tmp_path / "a home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    start = home / f".{shell}rc"
    start.write_text("", "utf-8")
    monkeypatch.setenv("PATH", os.defpath)
    assert "no folder of your PATH" in safelight("completion", shell, "--install").stderr
    program = tmp_path / "bin" / "safelight"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n", "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.defpath}")
    told = safelight("completion", shell, "--install").stderr
    assert "no folder of your PATH" not in told
    if shell != "fish":  # looks there by itself
        assert str(start).replace(str(home), "~") in told
        lines = [line.strip() for line in told.splitlines() if line.startswith("  ")]
        assert lines
        start.write_text("\n".join(lines) + "\n", "utf-8")
        told = safelight("completion", shell, "--install").stderr
    assert f"a new {shell} finds it" in told
    if shell == "bash":
        start.write_text("exec true\n", "utf-8")
        assert "could not be asked" in safelight("completion", "bash", "--install").stderr


def test_a_command_that_does_not_exist_gets_a_hint(safelight: Safelight) -> None:
    """Typos happen."""
    result = safelight("shwo")
    assert result.exit_code == 2
    assert "did you mean 'show'?" in result.output


def test_the_version_is_told(safelight: Safelight) -> None:
    """Bug reports need it."""
    assert __version__ in safelight("--version").stdout


def test_the_engines_are_listed_with_what_they_can_do(safelight: Safelight) -> None:
    """Which there are, which samplers one has, and which words the model in the box knows."""
    assert re.search(r"^bundled +\S+  ready$", safelight("backends").stdout, re.MULTILINE)
    bundled = json.loads(safelight("backends", "bundled", "--json").stdout)
    assert {"DPM++ 2M", "Euler a"} <= set(bundled["choices"]["sampler"])
    words = safelight("backends", "bundled", "--words").stdout.split()
    assert {"apple", "rocket"} <= set(words)
    assert words == sorted(words)
    assert "takes any word" in safelight("backends", "fake", "--words").output
    assert safelight("backends", "--words").exit_code == 2


def test_an_engine_that_was_asked_is_let_go_of(safelight: Safelight) -> None:
    """A connection that stays open is an error of any test; and it would be one of a notebook."""
    with FakeComfyUI() as server:
        asked = safelight("backends", "comfyui", "--option", f"url={server.url}")
        assert asked.exit_code == 0, asked.output
        gc.collect()


def _start(
    tmp_path: Path, *arguments: str, program: Sequence[str] = ("-m", "safelight")
) -> subprocess.Popen[str]:
    (tmp_path / "slow.toml").write_text(
        CONFIG.replace('backend = "fake"', 'backend = {name = "fake", seconds_per_step = 0.05}')
        + "\n".join(f'"txt2img.{k}" = {v}' for k, v in {"seed": list(range(50))}.items()),
        "utf-8",
    )
    return subprocess.Popen(
        [sys.executable, *program, "run", "slow.toml", *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait_for_picture(tmp_path: Path) -> None:
    """Wait until a variant is finished: its line in the journal comes after its picture."""
    deadline = time.monotonic() + 60
    while not any(
        path.read_bytes().count(b"\n") > 1
        for path in tmp_path.glob("safelight/images/*/*/journal.jsonl")
    ):
        assert time.monotonic() < deadline, "no variant was finished"
        time.sleep(0.02)


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_ctrl_c_cancels_with_the_record_written(tmp_path: Path) -> None:
    """A real interrupt of a real process: exit status 130, everything safe."""
    process = _start(tmp_path)
    _wait_for_picture(tmp_path)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert "cancelled:" in out
    (record,) = read_records(tmp_path / "safelight" / "records")
    assert record.status == "cancelled"
    assert 0 < len(record.outputs) < 200
    assert all((tmp_path / "safelight" / str(output.path)).is_file() for output in record.outputs)


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
@pytest.mark.parametrize("words", [["show"], ["find"], ["archive", "stats"]])
def test_a_killed_run_is_an_interrupted_record_on_the_next_command(
    tmp_path: Path, words: list[str]
) -> None:
    """Kill -9 cannot be caught; the journal beside the pictures tells what was done."""
    process = _start(tmp_path)
    _wait_for_picture(tmp_path)
    process.kill()
    process.communicate(timeout=120)
    assert not list(read_records(tmp_path / "safelight" / "records"))
    asked = subprocess.run(
        [sys.executable, "-m", "safelight", *words, "--json"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (record,) = read_records(tmp_path / "safelight" / "records")
    assert record.status == "interrupted"
    assert record.outputs
    assert all((tmp_path / "safelight" / str(o.path)).is_file() for o in record.outputs)
    answer: dict[str, Any] = json.loads(asked.stdout)
    pictures = {"show": "outputs", "find": "rows", "archive": "pictures"}[words[0]]
    assert answer[pictures]


def _slow_plan(tmp_path: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start a plan of 1,500 fast variants: two runs, the first of a thousand."""
    (tmp_path / "two.toml").write_text(
        '[txt2img]\nprompt = "a"\nsteps = 1\nwidth = 8\nheight = 8\nseed = 1\n'
        "[randomizer]\nseeds_per_variant = 1500\n"
        '[metadata]\nname = "two"\n',
        "utf-8",
    )
    (tmp_path / "after.toml").write_text('[txt2img]\nprompt = "after"\nsteps = 1\n', "utf-8")
    return subprocess.Popen(
        [sys.executable, "-m", "safelight", "run", "two.toml", "after.toml",
         "--set", "backend=fake", *arguments],
        cwd=tmp_path, text=True, stdout=subprocess.PIPE,
        **{"stderr": subprocess.PIPE, **options},
    )  # fmt: skip


def _stop_mid_run(tmp_path: Path, process: subprocess.Popen[str], number: int) -> tuple[str, str]:
    _wait_for_picture(tmp_path)
    process.send_signal(number)
    return process.communicate(timeout=60)


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_stops_everything_that_was_asked_for(tmp_path: Path, number: int) -> None:
    """The rest of the plan, and the configs after it; the exit status says so."""
    process = _slow_plan(tmp_path)
    out, _ = _stop_mid_run(tmp_path, process, number)
    assert process.returncode == 130
    assert "part 2 of 2" not in out
    records = list(read_records(tmp_path / "safelight" / "records"))
    assert [record.status for record in records] == ["cancelled"]


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_a_stop_works_although_nobody_reads_what_is_said(tmp_path: Path) -> None:
    """A handler that cannot print must not strike the engine instead."""
    read, write = os.pipe()
    process = _slow_plan(tmp_path, stderr=write)
    os.close(write)
    _wait_for_picture(tmp_path)
    os.close(read)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    (record,) = read_records(tmp_path / "safelight" / "records")
    assert (record.status, record.failures) == ("cancelled", ())


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_a_second_ctrl_c_stops_at_once_and_still_leaves_a_record(tmp_path: Path) -> None:
    """Even in the middle of a step that takes a minute."""
    began = tmp_path / "began"
    process = _start(tmp_path, "--set", "backend.seconds_per_step=60", program=["-c", (
        "from pathlib import Path\n"
        "from safelight.__main__ import start\n"
        "from safelight.backends.fake import FakeBackend as Fake\n"
        "def generate(*given, draw=Fake.generate):\n"
        f"    Path({str(began)!r}).touch()\n"
        "    return draw(*given)\n"
        "Fake.generate = generate\n"
        "start()"
    )])  # fmt: skip
    deadline = time.monotonic() + 60
    while not began.exists():
        assert time.monotonic() < deadline, "no step was begun"
        time.sleep(0.02)
    assert process.stderr is not None
    process.send_signal(signal.SIGINT)
    assert any("again to stop at once" in line for line in process.stderr)  # it was heard
    process.send_signal(signal.SIGINT)
    assert any("stopped at once" in line for line in process.stderr)
    process.communicate(timeout=120)
    assert process.returncode == 130
    (record,) = read_records(tmp_path / "safelight" / "records")
    assert record.status == "cancelled"


def test_a_plan_of_several_runs_says_which_part_is_which(tmp_path: Path) -> None:
    """Two records, two sheets, and every part named."""
    process = _slow_plan(tmp_path)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "completed (part 1 of 2): 1,000 pictures" in out
    assert "completed (part 2 of 2): 500 pictures" in out
    assert len(list(read_records(tmp_path / "safelight" / "records"))) == 3


BAD_CONFIGS = {
    "wildcard": CONFIG.replace("{red|green}", "__nope__"),
    "sampler": CONFIG.replace("steps = 2", 'steps = 2\nsampler = "Eulr"'),
    "engine": CONFIG.replace('"fake"', '"fkae"'),
}


@pytest.mark.parametrize("fault", sorted(BAD_CONFIGS))
def test_every_config_is_checked_before_the_first_one_runs(
    safelight: Safelight, tmp_path: Path, fault: str
) -> None:
    """Templates, names and engines, too; and the message names the file."""
    (tmp_path / "bad.toml").write_text(BAD_CONFIGS[fault], "utf-8")
    result = safelight("run", "c.toml", "bad.toml")
    assert result.exit_code == 2
    assert "bad.toml: " in result.output
    assert not (tmp_path / "safelight").exists()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_prompt_that_the_terminal_cannot_show_is_escaped(tmp_path: Path, encoding: str) -> None:
    """It is no reason to fail."""
    (tmp_path / "c.toml").write_text(CONFIG, "utf-8")
    for arguments in (["plan", "c.toml"], ["run", "c.toml"], ["show"]):
        done = subprocess.run(
            [sys.executable, "-m", "safelight", *arguments],
            cwd=tmp_path, capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding},
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert b"\\u706f" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full and closed streams")
@pytest.mark.parametrize("redirection", ["2>&-", "> /dev/full"])
def test_streams_that_take_nothing_cost_no_picture(tmp_path: Path, redirection: str) -> None:
    """Cron jobs have no terminal, and disks run full."""
    (tmp_path / "c.toml").write_text(CONFIG, "utf-8")
    command = f"{sys.executable} -m safelight run c.toml {redirection}"
    subprocess.run(command, shell=True, cwd=tmp_path, check=False, capture_output=True)
    (record,) = read_records(tmp_path / "safelight" / "records")
    assert (record.status, len(record.outputs)) == ("completed", 4)
