"""What commands print fits a usual terminal, whole, and has no colours where none are wanted."""

from __future__ import annotations

import os
import re
import struct
import sys
from pathlib import Path

import pytest

from safelight.archive.contents import Contents, Count, Counts, Varied
from safelight.cli.contents_command import print_contents

pty = pytest.importorskip("pty")

COMMANDS = (
    "plan long.toml", "run long.toml", "find lighthouse", "find --view runs",
    "find --view settings",
    "find --columns run_id,prompt,model,sampler,path", "contents", "show", "stats",
    "rate --where steps=3 --stars 2", "rate --where steps=9 --stars 4", "effects", "effects --all",
    "suggest", "import --history", "doctor fake", "archive --help",
)  # fmt: skip
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
        assert not ended.code, (line, ended.code)
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
            environ = {**os.environ, "NO_COLOR": "1", "TERM": "xterm", "PYTHONPATH": whole}
            environ.pop("COLUMNS", None)
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


def test_every_answer_fits_eighty_columns_whole(tmp_path: Path) -> None:
    """Long names of models and prompts go below or are folded; the rest of them is not lost."""
    (tmp_path / "long.toml").write_text(CONFIG, "utf-8")
    told = in_a_terminal(tmp_path, ALL_AT_ONCE.format(commands=COMMANDS))
    assert COLOUR.findall(told) == []
    plain = STYLE.sub("", told).replace("\r\n", "\n")
    shown = [line.rpartition("\r")[2] for line in plain.split("\n")]
    # A file's name, and where the next page begins, are to be copied whole.
    long = [line for line in shown if len(line) > 80 and len(line.split()) > 2]
    assert long == []
    for part in re.split(r"^\$ ", plain, flags=re.MULTILINE)[1:]:
        command = part.partition("\n")[0]
        if command.startswith(("find", "show", "plan", "contents", "stats")):
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
