"""What commands print fits a usual terminal, whole, and has no colours where none are wanted."""

from __future__ import annotations

import os
import re
import shutil
import struct
import sys
from pathlib import Path

import pytest

from safelight.application.examples import EXAMPLES
from safelight.archive.contents import Contents, Count, Counts, Varied
from safelight.cli.contents_command import print_contents

pty = pytest.importorskip("pty")

COMMANDS = (
    "demo --list", "demo first_sheet --copy .", "init --no-import", "engines", "folders",
    "folders add pictures", "folders", "backends", "backends fake", "completion bash --install",
    "doctor", "doctor fake", "doctor fake --report",
    "plan long.toml", "plan long.toml --explain 1", "plan long.toml --set txt2img.steps=30",
    "run long.toml", "run long.toml", "run long.toml --dry-run",
    "find lighthouse", "find --view runs", "find --view settings", "find --view loras",
    "find --columns run_id,prompt,model,sampler,path", "find no-such-word", "find --limit 2",
    "contents", "show", "stats", "archive stats", "replay last",
    "import pictures", "import pictures", "import --history",
    "show pictures/comfyui/tile_upscale.png", "show pictures/a1111/00017-2302659950.png",
    "show pictures/a1111/00017-2302659950.png --as infotext",
    "rate --where steps=3 --stars 2", "rate --where steps=9 --stars 4",
    "rate --where steps=9 --tag lovely", "effects", "effects --all", "effects --failures",
    "suggest", "suggest --write next.toml", "report --write report.html", "score",
    "score sharpness", "score sharpness --compare",
    "learn long.toml --knob cfg_scale=3,9 --dry-run",
    "albums", "albums add best --where steps=9", "albums", "albums show best",
    "export pairs --pairs kohya", "export all.csv", "export some.zip steps=9 --sheet",
    "workflow pictures/comfyui/tile_upscale.png", "workflow pictures/comfyui/tile_upscale.png"
    " --write flow.toml", "archive pack", "archive verify", "archive recover", "archive reread",
    "archive discard steps=3 --dry-run", "archive discard steps=3 --yes", "archive restore --yes",
    "archive empty-trash --yes",
    "stats --help",
)  # fmt: skip
WHOLE = (
    "plan long.toml", "find lighthouse", "find --view runs", "find --view settings",
    "find --columns run_id,prompt,model,sampler,path", "contents", "show", "stats",
)  # fmt: skip
REFUSED = (
    "show no-such-run", "run no-such-file.toml", "find steps >> 3", "run long.toml --set a.b=3",
    "doctor nonsense", "rate nothing.png --stars 9", "engines remove nobody", "epochs pictures",
    "diff last long", "archive merge other", "import pictures --summary", "suggest --preset best",
    "run failing.toml", "learn long.toml --knob steps=3,9 --dry-run", "find promt = 'a'",
)  # fmt: skip
FAILING = """
backend = { name = "fake", fail_on = ["dusk"] }
[txt2img]
prompt = "a lighthouse on a cliff in the {dawn|dusk} of a long and stormy day in the north"
steps = 3
[randomizer]
mode = "fanout"
"""
CONFIG = """
name = "a run with a name that is rather long for what it does, as people give them"
backend = "fake"
[txt2img]
prompt = "a lighthouse on a cliff, {dawn|dusk}, volumetric light, highly detailed, sharp focus, 8k"
model = "aVeryLongModelName_thatSaysItsVersion_v160Final_pruned_fp16.safetensors"
seed = 1
[randomizer]
mode = "fanout"
[randomizer.sweep]
"txt2img.steps" = [3, 9]
"txt2img.sampler" = ["Euler a", "DPM++ 2M"]
"""
ALL_AT_ONCE = """
import sys
from safelight.cli import main
for line in {commands!r}:
    print("$ " + line, flush=True)
    try:
        main(line.split(), prog_name="safelight")
    except SystemExit as ended:
        print("$? " + str(ended.code or 0), flush=True)
"""
STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7])m")


def in_a_terminal(folder: Path, program: str) -> str:
    """Return what a terminal of 80 columns is told by a Python program in *folder*."""
    import fcntl
    import termios

    root = Path(__file__).parents[2]
    child, terminal = pty.fork()
    if child == 0:
        try:
            os.chdir(folder)
            path = os.environ.get("PYTHONPATH", "")
            whole = ":".join(str(root / one) for one in path.split(":") if one)
            gone = ("COLUMNS", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
            environ = {name: value for name, value in os.environ.items() if name not in gone}
            environ |= {"NO_COLOR": "1", "TERM": "xterm", "PYTHONPATH": whole, "SHELL": "/bin/bash"}
            environ["HOME"] = str(folder / "home")
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
            os.execve(sys.executable, [sys.executable, "-c", program], environ)
        finally:
            os._exit(127)
    told = b""
    while True:
        try:
            part = os.read(terminal, 65_536)
        except OSError:  # so ends a terminal on Linux
            break
        if not part:
            break
        told += part
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, told.decode()
    return told.decode()


TO_COPY = ("--as infotext", "--report", "workflow pictures/comfyui/tile_upscale.png\n")
"""What ends in a text that goes elsewhere as it is."""


def test_every_answer_fits_eighty_columns_whole(tmp_path: Path) -> None:
    """Long names of models and prompts go below or are folded; the rest of them is not lost."""
    (tmp_path / "long.toml").write_text(CONFIG, "utf-8")
    (tmp_path / "failing.toml").write_text(FAILING, "utf-8")
    shutil.copytree(EXAMPLES / "pictures", tmp_path / "pictures")
    told = in_a_terminal(tmp_path, ALL_AT_ONCE.format(commands=COMMANDS + REFUSED))
    assert COLOUR.findall(told) == []
    plain = STYLE.sub("", told).replace("\r\n", "\n")
    parts = re.split(r"^\$ ", plain, flags=re.MULTILINE)[1:]
    assert [part.partition("\n")[0] for part in parts] == [*COMMANDS, *REFUSED]
    shown = (
        line.rpartition("\r")[2].replace(str(tmp_path), "/home/ann")
        for part in parts
        if not any(words in part.partition("\n")[0] + "\n" for words in TO_COPY)
        for line in part.split("\n")
    )
    # A file's name, and where the next page begins, are to be copied whole.
    long = [line for line in shown if len(line) > 80 and len(line.split()) > 2]
    excessive = [line for line in long if not line.startswith("more: --after")]
    assert not excessive, "\n".join(excessive)
    ended = {part.partition("\n")[0]: re.findall(r"^\$\? (\d+)$", part, re.M) for part in parts}
    assert [command for command in COMMANDS if ended[command] != ["0"]] == []
    assert [command for command in REFUSED if ended[command] == ["0"]] == []
    for part in parts:
        command = part.partition("\n")[0]
        if command in WHOLE:
            folded = re.sub(r"\s+", "", part)
            if "settings" not in command and command != "find --view runs":
                assert "sharpfocus,8k" in folded or "aVeryLongModelName" in folded, command
            assert "…" not in part or command == "contents", command
    assert plain.count("next: safelight") >= 7


def test_a_long_name_of_a_lora_leaves_the_values_their_room(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The values were eight letters wide, and one archive's contents 250 lines long."""
    monkeypatch.setenv("COLUMNS", "80")
    models = tuple(Count("waiIllustrious_v160", 9 - number) for number in range(3))
    knobs = ("lora.a-detail-tweaker-by-somebody-v11.safetensors", "hires_denoising_strength")
    varied = tuple(
        Varied(knob=knob, values=Counts(listed=models, different=3), groups=0, pictures=0)
        for knob in knobs
    )
    contents = Contents(pictures=24, first="2026-11-01", last="2026-11-30", varied=varied)
    print_contents(contents, tmp_path)
    told = capsys.readouterr().out
    assert told.count("waiIllustrious_v160") == 6, "no name is torn"
    assert knobs[1] in told
    assert knobs[0] in re.sub(r"[^\w.-]|waiIllustrious_v160|\b\d\b|×", "", told)
