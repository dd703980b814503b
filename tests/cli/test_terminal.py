"""Whatever pictures, files, raters and servers say, it steers no terminal and forges no line."""

from __future__ import annotations

import ast
import http.server
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import safelight.cli
from command_line import Safelight
from safelight.application.examples import EXAMPLES
from safelight.application.watching import Watcher
from safelight.archive import Archive
from safelight.cli import main
from safelight.cli.rich_console import Console, Progress
from safelight.cli.serving import TableServer
from safelight.escaped_output import behind, escape_standard_streams, escaped_line, escaped_text
from safelight.learning import LearningRecord
from safelight.learning.learning_record import ImageOutput
from safelight.learning.ratings import Identity, RatingEvent

CLEAR, OWNED, RED, TURNED = "\x1b[2J", "\x1b]0;owned\x07", "\x9b31m", "\u202e"
EVIL = f"{CLEAR}{OWNED}{RED}{TURNED}\r\x7f\u2028\x1b[5;35mX\nFORGED 1 of 1 done\tend"
"""Clears, names the window, colours, turns about, goes back, and begins a line."""

MOST_EVIL_NAME = EVIL.replace("\n", "") + "\nFORGED"
STEERING = re.compile(
    "[\\x00-\\x09\\x0b-\\x1f\\x7f-\\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff]"
)
OUR_STYLES = re.compile(r"\x1b\[(?!5;35m)[0-9;]*m")
OF_BARS = re.compile(rb"\x1b\[\?25[lh]|\x1b\[[0-9]*[AK]|\x1b\[2K")
BESIDE = {"TERM": "xterm-256color", "COLUMNS": "100"}
COLOURED = BESIDE | {"FORCE_COLOR": "1"}
SECOND = ("--archive", "second")

CONFIG = f"""
name = {json.dumps(EVIL).replace(chr(127), "")}
backend = {{ name = "fake", fail_on = ["red"] }}
[txt2img]
prompt = {
    json.dumps(
        ["a red hill " + EVIL.replace("[", "("), "a boat " + EVIL.replace("[", "(")]
    ).replace(chr(127), "")
}
model = {json.dumps("m" + EVIL).replace(chr(127), "")}
steps = 2
width = 32
height = 32
[randomizer]
mode = "fanout"
[randomizer.sweep]
"txt2img.cfg_scale" = [3, 7]
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """An engine's server that says the worst in every answer."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"detail": EVIL, "error": EVIL, "message": EVIL}).encode()
            self.send_response(500 if "sdapi" in self.path else 404)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - its library's name

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_address[1]}"
        served.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a hostile archive, and what makes more of it."""
    folder = tmp_path_factory.mktemp("hostile")
    before = Path.cwd()
    os.chdir(folder)
    try:
        (folder / "c.toml").write_text(CONFIG, "utf-8", newline="")
        archive = folder / "safelight"
        assert told("run", "c.toml").exit_code == 3
        pictures = folder / "pictures"
        pictures.mkdir()
        for name, prompt in (("plain", EVIL), (MOST_EVIL_NAME[:200], f"={EVIL}")):
            made = PngInfo()
            made.add_text("parameters", f"{prompt}\nSteps: 2, Sampler: {EVIL[:9]}, Seed: 1")
            made.add_text("Software", EVIL)
            Image.new("RGB", (8, 8), (len(name), 1, 2)).save(pictures / f"{name}.png", pnginfo=made)
        (pictures / f"{MOST_EVIL_NAME[:200]}.jpg").write_bytes(b"none")
        graph = json.loads((EXAMPLES / "workflows" / "own_graph.json").read_text("utf-8"))
        for node in graph.values():
            node["_meta"] = {"title": EVIL}
            node["inputs"][EVIL] = EVIL
            node["inputs"] |= {"text": EVIL} if "text" in node["inputs"] else {}
        (folder / "evil.json").write_text(json.dumps(graph))
        assert told("import", "pictures", "--jobs", "1").exit_code == 0
        opened = Archive(archive)
        rows = list(opened.query(columns=["sha256", "pixel_sha256"], limit=None).dicts())
        with opened.ratings() as store:
            for place, row in enumerate(rows):
                picture = Identity(sha256=row["sha256"], pixel_sha256=row["pixel_sha256"])
                store.add(
                    RatingEvent.now("stars", picture, value=1 + place % 5, rater=EVIL),
                    RatingEvent.now("note", picture, value=EVIL, rater=EVIL),
                    RatingEvent.now("tags", picture, added=(EVIL,), rater=EVIL),
                )
                with opened.scores() as scores:
                    scores.add(
                        RatingEvent.now("score", picture, number=1.5, version=EVIL, unit=EVIL,
                                        rater=EVIL, source=f"automatic:{EVIL}")
                    )  # fmt: skip
        second = Archive(folder / "second")
        record = opened.record("last")
        with second.writer() as writer:
            writer.write(record)
        (folder / "second" / "records" / f"x{MOST_EVIL_NAME[:150]}.json").write_text("none")
        (folder / "second" / f"foreign{MOST_EVIL_NAME[:150]}").write_text("none")
        (folder / "second" / "ratings").mkdir()
        (folder / "second" / "ratings" / f"x{MOST_EVIL_NAME[:99]}.jsonl").write_text("none\n")
    finally:
        os.chdir(before)
    return folder


def told(*arguments: str, env: dict[str, str] | None = None, typed: str = "") -> Result:
    return CliRunner().invoke(main, arguments, input=typed, env=BESIDE if env is None else env)


def steering(output: bytes) -> list[str]:
    """Return what of *output* is no text, but for ends of lines and our styles."""
    text = OUR_STYLES.sub("", output.decode("utf-8", "surrogateescape"))
    return [text[max(0, found.start() - 40) :][:60] for found in STEERING.finditer(text)]


def forged(output: bytes) -> list[str]:
    """Return the lines that what was quoted begins; far to the right nothing of ours begins."""
    text = OUR_STYLES.sub("", output.decode("utf-8", "replace"))
    return [line for line in text.split("\n") if re.match(r" {0,8}FORGED", line)]


CASES: dict[str, list[list[str]]] = {
    "albums": [[], ["--json"], ["--archive", EVIL]],
    "albums add": [["an album", "pictures/plain.png"], [EVIL, "--where", ""],
                   ["an album", "--where", EVIL],
                   ["an album", EVIL], ["an album", "--where", "steps > 0", "--rater", EVIL]],
    "albums delete": [[EVIL], ["an album"]],
    "albums remove": [[EVIL, "--where", ""], ["an album", "--where", ""]],
    "albums rename": [[EVIL, "x"], ["an album", EVIL]],
    "albums show": [[EVIL], ["an album"], ["an album", "--json"]],
    "archive discard": [[EVIL], ["steps > 0", "--dry-run"], ["steps > 0", "--json", "--yes"]],
    "archive empty-trash": [["--yes"], [EVIL, "--json"]],
    "archive merge": [["second"], ["second", "--json"], [EVIL]],
    "archive pack": [[], ["--json"], [*SECOND]],
    "archive recover": [[], ["--json"], [*SECOND, "--pictures"]],
    "archive reread": [[], ["--json"], [*SECOND]],
    "archive restore": [["--dry-run"], [EVIL, "--json"], ["--yes"]],
    "archive stats": [[], ["--json"], [*SECOND]],
    "archive verify": [[], ["--pictures"], ["--json"], [*SECOND]],
    "backends": [[], ["--json"], [EVIL], ["fake", "--option", EVIL],
                 ["webui", "--option", "url={server}"], ["comfyui", "--option", "url={server}"]],
    "completion": [["bash"], ["fish"], [EVIL], ["zsh", "--install"]],
    "contents": [[], ["--json"], ["prompt", "has", f"'{EVIL}'"], [EVIL]],
    "demo": [["--list"], ["--list", "--json"], [EVIL], ["hires", "--copy", f"to{EVIL}"],
             ["--into", "second"], ["--archive", f"new{EVIL}"]],
    "diff": [["last", "{run}"], ["last", "{run}", "--json"], [EVIL, EVIL]],
    "doctor": [[], ["--archive", EVIL], ["{server}"], ["webui", "--option", "url={server}"],
               ["fake", "--prompt", EVIL], [EVIL],
               ["comfyui", "--option", "url={server}", "--json"]],
    "engines": [[], ["--json"]],
    "engines add": [[EVIL, EVIL], ["x", EVIL, "--no-test", "--backend", "webui"],
                    ["mine", "{server}"]],
    "engines remove": [[EVIL]],
    "folders": [[], ["--json"]],
    "folders add": [[EVIL], ["second"]],
    "folders remove": [[EVIL]],
    "effects": [[], ["--json"], ["--rater", EVIL], ["--knob", EVIL], [f"prompt has '{EVIL}'"],
                ["--ignore", f"extra.{EVIL}"], ["--plot", f"x{EVIL}"]],
    "epochs": [["pictures"], ["pictures", "--json"], [EVIL], ["pictures", "--rater", EVIL],
               ["pictures", "--archive", f"new{MOST_EVIL_NAME[:150]}"]],
    "export": [["to.zip", "--page", "--sheet"], ["to", "--names", EVIL],
               [f"x{EVIL}.csv"], [f"x{EVIL}.jsonl"], [EVIL], ["pairs", "--pairs", "kohya"],
               ["p.jsonl", "--pairs", "pickapic"],
               ["k.jsonl", "--rated", "kto"], ["hf", "--rated", "hf"], ["hp", "--pairs", "hf"],
               ["x.csv", "--xmp"], ["x.csv", EVIL]],
    "find": [[], ["--json"], ["--view", "runs"], ["--view", "settings"], ["--view", "loras"],
             ["--columns", "prompt,seed,path,notes,tags"], ["--columns", EVIL], [EVIL],
             ["--sql", f"SELECT prompt AS \"{EVIL}\" FROM images"], ["--sql", EVIL],
             ["--limit", "1"], ["--after", EVIL], ["--archive", EVIL], ["--no-picture"],
             ["--no-picture", "--json"], ["--no-picture", "--csv"], ["--no-picture", EVIL]],
    "import": [["pictures", "--again"], ["pictures", "--again", "--json", "--jobs", "2"], [EVIL],
               ["--summary"], ["--summary", "--json"], ["--history"], ["--history", "--json"],
               ["pictures", "--archive", f"new{MOST_EVIL_NAME[:150]}"]],
    "init": [["--no-import"], ["--json"], ["--yes", "--archive", f"new{MOST_EVIL_NAME[:150]}"]],
    "learn": [["c.toml", "--knob", "steps=1,2", "--dry-run"], ["c.toml", "--knob", EVIL],
              ["c.toml", "--knob", "steps=1,2", "--dry-run", "--json"],
              ["c.toml", "--knob", "steps=1,2", "--yes"], [EVIL, "--knob", "steps=1,2"],
              ["c.toml", "--epochs", EVIL]],
    "plan": [["c.toml"], ["c.toml", "--json"], [EVIL], ["c.toml", "--set", EVIL],
             ["c.toml", "--set", f"txt2img.{EVIL}=1"], ["bad{evil}.toml"],
             ["c.toml", "--set", f"txt2img.steps='{EVIL}'"]],
    "rate": [["--where", "stars >= 1", "--note", EVIL, "--rater", EVIL], ["--undo", EVIL],
             ["pictures/plain.png", "--tag", EVIL], [EVIL, "--stars", "1"], ["--where", EVIL],
             ["--where", "stars > 7", "--tag", EVIL], ["--next"], ["--next", "--json"],
             ["bad{evil}.toml", "--note", EVIL]],
    "replay": [["{run}"], [EVIL], ["{run}", "--option", EVIL]],
    "report": [["--write", "r.html"], ["--write", "r.html", "--json"], [EVIL, "--write", "r.html"],
               ["--write", f"{MOST_EVIL_NAME[:150]}.html", "--title", EVIL],
               ["--rater", EVIL, "--write", "r.html"]],
    "run": [["c.toml", "--again"], ["c.toml", "--again", "--json"], ["c.toml", "--dry-run"],
            ["c.toml", "--again", "--log-json"], ["c.toml", "--set", "backend='webui'", "--server",
             "{server}", "--retries", "0"], ["--resume", EVIL], ["c.toml", "--push-to", EVIL],
            ["c.toml", "--set", f"backend='{EVIL[3:9]}'"], ["--retry-failed", "{run}"],
            ["c.toml", "--again", "--archive", f"new{MOST_EVIL_NAME[:150]}"], ["bad{evil}.toml"]],
    "schema": [[]],
    "score": [[], ["--json"], [EVIL], ["sharpness"], ["sharpness", "--again", "--json"],
              ["exposure", EVIL], ["sharpness", "--option", EVIL], ["sharpness", "--compare"],
              ["sharpness", "--compare", "--json"], [EVIL, "--compare"],
              [EVIL, "--compare", "--json"], ["none", "--compare"],
              ["near_duplicate", "--batch", "1"], ["sharpness", "--archive", "second"]],
    "serve": [["--archive", f"new{MOST_EVIL_NAME[:150]}", "--port", "0"], ["--host", EVIL],
              ["--env", EVIL]],
    "show": [[], ["--json"], ["{run}"], ["{imported}"], [EVIL]],
    "stats": [[], ["--json"], ["--archive", EVIL]],
    "suggest": [[], ["--json"], ["--model", EVIL], ["--prompt", EVIL, "--write", "next.toml"],
                ["--rater", EVIL], ["--knob", EVIL], ["--preset", EVIL], ["--lora", EVIL]],
    "sync": [[EVIL], [f"s3://{EVIL}"], ["file:///nowhere"]],
    "watch": [["pictures", "--jobs", "1"], [EVIL, "--json"], ["pictures", "--poll", EVIL],
              ["pictures", "--jobs", "1", "--archive", f"new{MOST_EVIL_NAME[:150]}"]],
    "workflow": [[EVIL], ["evil.json"], ["evil.json", "--json"], ["pictures/plain.png"],
                 ["evil.json", "--write", "evil.toml"], ["evil.json", "--url", "{server}"],
                 ["evil.json", "--url", EVIL]],
}  # fmt: skip
"""Every command -> what it is given; a new command needs a line here."""


def commands(group: click.Group = main, above: str = "") -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        path = f"{above}{name}"
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} ")
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield path


def test_no_command_is_left_out() -> None:
    """A new one is asked the same."""
    assert sorted(CASES) == sorted(commands())


def carried_out(
    folder: Path, server: str, name: str, case: list[str], monkeypatch: pytest.MonkeyPatch,
    env: dict[str, str],
) -> Result:  # fmt: skip
    monkeypatch.chdir(folder)
    monkeypatch.setattr(TableServer, "run", lambda _, sockets: sockets[0].close())
    monkeypatch.setattr(Watcher, "_follow", lambda *_: None)  # or it would not end
    bad = folder / f"bad{MOST_EVIL_NAME[:150]}.toml"
    bad.write_text(f"{json.dumps('a' + EVIL).replace(chr(127), '')} = 1\nbackend = 3\n", "utf-8")
    rows = Archive("safelight").query(view="runs", columns=["run_id", "status"], limit=None).rows
    runs = {status: run for run, status in rows}
    filled = {
        "{server}": server, "{run}": runs["partial"], "{imported}": runs["imported"],
        "{evil}": MOST_EVIL_NAME[:150],
    }  # fmt: skip
    words = []
    for word in case:
        for hole, value in filled.items():
            word = word.replace(hole, value)
        words.append(word)
    return told(*name.split(), *words, env=env, typed="1\nq\n")


@pytest.mark.parametrize("coloured", [False, True], ids=["plain", "coloured"])
@pytest.mark.parametrize("name", CASES)
def test_nothing_that_is_printed_steers_or_forges(
    folder: Path, server: str, name: str, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On standard output and standard error of every command, whether it succeeds or not."""
    for case in CASES[name]:
        result = carried_out(
            folder, server, name, case, monkeypatch, COLOURED if coloured else BESIDE
        )
        assert result.output, case
        for output in (result.stdout_bytes, result.stderr_bytes):
            assert steering(output) == [], case
            assert forged(output) == [], case
        if not coloured:
            assert b"\x1b" not in result.output.encode()
        assert "Traceback" not in result.output, case
        assert "not foreseen" not in result.output, case


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["show"], r"\x1b[2J\x1b]0;owned\x07\u009b31m\u202e"),
        (["find", "--columns", "prompt"], r"\x1b(2J\x1b]0;owned\x07\u009b31m\u202e"),
        (["find"], r"\x1b[2J\x1b]0;owned\x07\u009b31m\u202e"),
        (["plan", "c.toml"], r"\x1b(2J"),
        (
            ["find", "--archive", EVIL + "nowhere"],
            r"no archive at \x1b[2J\x1b]0;owned\x07\u009b31m\u202e\r",
        ),
    ],
)
def test_what_would_steer_is_shown_escaped(
    folder: Path, words: list[str], shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left out: a name that is shown can be found."""
    monkeypatch.chdir(folder)
    result = told(*words)
    assert shown in "".join(line.strip() for line in result.output.splitlines())


def test_json_holds_all_of_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Escaped as JSON escapes, so that programs read what was written."""
    monkeypatch.chdir(folder)
    rows = json.loads(told("find", "--json", "--limit", "100").stdout)["rows"]
    assert {row["notes"][0] if isinstance(row["notes"], list) else row["notes"] for row in rows}
    assert any(row["model"] == "m" + EVIL for row in rows) or any(
        RED in (row["model"] or "") for row in rows
    )
    lines = told("run", "c.toml", "--again", "--log-json").stderr.splitlines()
    assert [json.loads(line)["event"] for line in lines].count("failure") == 2


def test_markup_is_text(command: Safelight) -> None:
    """What styles a text in our own libraries is no more than that in a prompt."""
    prompt = "[red]a[/red] [link=http://evil]hill[/link] [/b] :boom:"
    config = {"txt2img": {"prompt": prompt, "model": prompt, "sampler": prompt}}
    output = ImageOutput(
        variant=0, stage="txt2img", sha256="", pixel_sha256="", width=8, height=8, path="a.png"
    )
    with Archive("safelight").writer() as writer:
        writer.write(
            LearningRecord.from_pipeline_context(
                config, [config], outputs=(output,), name=prompt, warnings=(prompt,)
            )
        )
    for words in (["find", "--columns", "prompt"], ["show"], ["stats"], ["find", "--view", "runs"]):
        result = told(*words, env={"COLUMNS": "400"})
        assert prompt in result.output, words


# -- the last net --------------------------------------------------------------------------


@contextmanager
def escaped_streams() -> Iterator[tuple[io.StringIO, io.StringIO]]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        escape_standard_streams()
        yield out, err


def test_what_any_library_writes_is_escaped() -> None:
    """Print, click, logging, warnings, and Python's own last words."""
    with escaped_streams() as (out, err):
        print(EVIL)  # noqa: T201
        click.echo(EVIL, color=True)
        click.secho(EVIL, color=True)
        sys.stdout.writelines([EVIL])
        logging.StreamHandler().emit(logging.makeLogRecord({"msg": EVIL}))
        sys.stderr.write(warnings.formatwarning(EVIL, UserWarning, "a.py", 1))
        sys.excepthook(ValueError, ValueError(EVIL), None)
    written = out.getvalue() + err.getvalue()
    assert STEERING.findall(written) == []
    assert written.count(r"\x1b[2J") == 7


def test_it_stands_once_and_has_no_way_past() -> None:
    """A buffer is what libraries look for that know better which encoding to use."""
    with escaped_streams() as (out, _):
        before = sys.stdout
        escape_standard_streams()
        assert sys.stdout is before
        assert behind(sys.stdout) is out
        assert not hasattr(sys.stdout, "buffer")


def test_it_goes_when_a_command_that_returns_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever calls the command line from Python keeps their own streams."""
    before = sys.stdout, sys.stderr
    main(["schema"], standalone_mode=False)
    assert (sys.stdout, sys.stderr) == before
    assert json.loads(capsys.readouterr().out)


@given(st.text())
def test_letters_stay_and_nothing_that_steers_does(text: str) -> None:
    """Of any text there is."""
    line = escaped_line(text)
    assert STEERING.findall(line) == []
    assert "\n" not in line
    assert escaped_text(text).count("\n") == text.count("\n")
    assert STEERING.sub("", text).replace("\n", "") == "".join(
        letter for letter in _unescaped(text, line)
    )


def _unescaped(text: str, line: str) -> Iterator[str]:
    """Yield the letters of *text* that *line* shows as they are, and prove it shows all others."""
    for letter in text:
        if letter == "\n" or STEERING.match(letter):
            named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(letter)
            form = f"\\x{ord(letter):02x}" if ord(letter) < 32 else f"\\u{ord(letter):04x}"
            assert line.startswith(named or form)
            line = line[len(named or form) :]
        else:
            assert line.startswith(letter)
            line = line[1:]
            yield letter


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_stays_json(document: Any) -> None:
    """Of any document there is, with line ends and without."""
    for indent in (None, 2):
        text = json.dumps(document, ensure_ascii=False, indent=indent)
        assert json.loads(escaped_text(text)) == document
        assert STEERING.findall(escaped_text(text)) == []


def test_what_is_printed_beside_a_bar_is_escaped() -> None:
    """Rich puts streams of its own in the place of ours, which take colours from what they get."""
    with escaped_streams() as (_, err):
        with Progress(console=Console(stderr=True, force_terminal=True, width=200)) as bar:
            bar.add_task(EVIL)
            print(EVIL)  # noqa: T201
            click.echo(EVIL, err=True, color=True)
            sys.stderr.write(f"\x1b]8;;http://evil\x1b\\{EVIL}\n")
        assert type(sys.stdout).__name__ == "_EscapedStream"
    written = OF_BARS.sub(b"", err.getvalue().encode()).replace(b"\r", b"")
    assert steering(written) == []
    assert written.count(rb"\x1b[2J") >= 4


_NOISY = """
import logging, sys, threading, warnings
from safelight.archive import Archive
from safelight.cli import main

def noisy(*_, **__):
    print({evil!r})
    warnings.warn({evil!r})
    thread = threading.Thread(target=dying)
    thread.start()
    thread.join()
    logging.getLogger("x").warning("%s", {evil!r}, exc_info=ValueError({evil!r}))
    raise {error}

def dying():
    raise ValueError({evil!r})

Archive.query = noisy
main({words})
"""


@pytest.mark.parametrize("words", [["find"], ["-v", "find"]], ids=" ".join)
@pytest.mark.parametrize("error", ["KeyError(noisy)", "OSError({evil!r})", "SystemExit({evil!r})"])
def test_it_stands_behind_every_command(tmp_path: Path, words: list[str], error: str) -> None:
    """To a program's last words, with where they were said and without."""
    (tmp_path / "safelight").mkdir()
    code = _NOISY.format(evil=EVIL, words=words, error=error.format(evil=EVIL))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=False
    )
    output = done.stdout + done.stderr
    assert steering(output) == []
    assert output.count(rb"\x1b[2J") >= 4


# -- on a terminal -------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="pseudo-terminals")
@pytest.mark.parametrize(
    "words",
    [
        ["run", "c.toml", "--again"],
        ["import", "pictures", "--again", "--jobs", "1"],
        ["find"],
        ["find", "--csv"],
        ["find", "--csv-raw", "--columns", "prompt,notes"],
        ["find", "--view", "runs"],
        ["archive", "verify"],
        ["show"],
        ["effects"],
        ["plan", "c.toml"],
    ],
    ids=" ".join,
)
def test_a_terminal_gets_styles_and_bars_of_ours_only(folder: Path, words: list[str]) -> None:
    """There is one, with everything on."""
    import pty
    import termios

    ours, theirs = pty.openpty()
    settings = termios.tcgetattr(theirs)
    settings[1] &= ~termios.OPOST  # line ends stay what was written
    termios.tcsetattr(theirs, termios.TCSANOW, settings)
    with subprocess.Popen(
        [sys.executable, "-m", "safelight", *words], cwd=folder, env={**os.environ, **COLOURED},
        stdin=theirs, stdout=theirs, stderr=theirs,
    ):  # fmt: skip
        os.close(theirs)
        output = b""
        try:
            while piece := os.read(ours, 65_536):
                output += piece
        except OSError:  # its end, on Linux
            pass
    os.close(ours)
    assert (b"FORGED" in output) or words[0] == "archive" or "--view" in words
    assert steering(OF_BARS.sub(b"", output).replace(b"\r", b"")) == []
    assert b"\r" not in re.sub(rb"\r(?=\x1b\[|$)|(?<=[lh])\r", b"", output)


# -- nobody prints by another way ----------------------------------------------------------

PACKAGE = Path(safelight.cli.__file__).parent
ALLOWED = {"terminal.py", "rich_console.py"}
PRINTING = frozenset(("echo", "secho", "echo_via_pager", "progressbar", "print"))


def printing(file: Path) -> Iterator[str]:
    """Yield where *file* prints by itself."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        words = ast.unparse(node) if isinstance(node, (ast.Call, ast.Attribute)) else ""
        if isinstance(node, ast.Call):
            name = words.partition("(")[0]
            if name == "print" or (name.startswith("click.") and name[6:] in PRINTING):
                yield f"{file.name}:{node.lineno} {name}"
        elif isinstance(node, ast.Attribute):
            if re.fullmatch(r"sys\.(__)?std(out|err)(__)?\.(write|writelines|buffer)", words):
                yield f"{file.name}:{node.lineno} {words}"
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if f"{node.module}.{alias.name}" in (
                    "rich.console.Console", "rich.text.Text", "rich.progress.Progress",
                    "rich.live.Live", "rich.print", "click.echo", "click.secho",
                ):  # fmt: skip
                    yield f"{file.name}:{node.lineno} {alias.name}"


def test_all_that_is_printed_goes_one_way() -> None:
    """What is escaped by the last net alone may still begin lines."""
    files = [file for file in sorted(PACKAGE.glob("*.py")) if file.name not in ALLOWED]
    assert [fault for file in files for fault in printing(file)] == []


def test_printing_by_another_way_is_seen(tmp_path: Path) -> None:
    """The guard looks at all of these."""
    lines = ("print(1)", "click.echo(1)", "click.progressbar()", "sys.stderr.write('')",
             "sys.stdout.buffer", "from rich.console import Console",
             "from click import echo")  # fmt: skip
    (tmp_path / "a.py").write_text("\n".join(lines))
    assert len(list(printing(tmp_path / "a.py"))) == len(lines)
    (tmp_path / "b.py").write_text("say('')\nfingerprint(1)\nconsole.print(1)")
    assert list(printing(tmp_path / "b.py")) == []
