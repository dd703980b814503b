"""Fuzzes the readers of other tools' pictures, guided by coverage.

    pip install atheris
    python bench/import_fuzz.py files  -max_total_time=600
    python bench/import_fuzz.py texts  -max_total_time=600
    python bench/import_fuzz.py graphs -max_total_time=600
    python bench/import_fuzz.py pixels -max_total_time=600
    python bench/import_fuzz.py credentials -max_total_time=600

``files`` mutates whole files, ``texts`` the text of every place that some tool writes to (one
byte picks the place), ``graphs`` the values and links inside of real ComfyUI graphs, ``pixels``
what is looked through for hidden text, ``credentials`` the boxes of content credentials. The seeds
are the real pictures of the tests. Anything but a reading or an ``ImageError``, and any input that
takes longer than five seconds, ends the run with the input kept in the current folder.
"""

from __future__ import annotations

import copy
import io
import json
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["safelight.imports", "safelight.formats"]):
    from safelight.errors import ImageError
    from safelight.formats.containers import file_texts
    from safelight.formats.content_credentials import credentials_told
    from safelight.formats.file_texts import FileTexts
    from safelight.formats.hidden_text import hidden_text
    from safelight.imports.picture_reader import read_texts
    from safelight.imports.reading import Reading

_PICTURES = Path(__file__).parents[1] / "tests" / "data" / "imports"
_PLACES = (
    "parameters", "prompt", "workflow", "exif:UserComment", "invokeai_metadata", "sd-metadata",
    "Dream", "Comment", "generation_data", "parameters-json", "imagemetahub_data", "xmp",
    "exif:ImageDescription", "safelight",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 2**70, 1.5, float("nan"), "", "x", "<lora:a:b:c>", [], {}, ["1", 0],
    ["5", 1], {"__value__": [["a", 1]]}, {"on": 1, "lora": "x"}, [["a"]], "é" * 50,
)  # fmt: skip


_NAMES = ("seed", "steps", "positive", "model", "text", "lora_name", "width", "cfg", "guider",
          "sigmas", "conditioning", "image", "inputs", "class_type")  # fmt: skip


def _file(data: bytes) -> None:
    try:
        _check(read_texts(file_texts(io.BytesIO(data)), ""))
    except ImageError:
        return


def _text(data: bytes) -> None:
    if not data:
        return
    text = data[1:].decode("utf-8", "replace")
    texts = {_PLACES[data[0] % len(_PLACES)]: text}
    if data[0] >= 128:
        texts["Software"] = "NovelAI"
    _check(read_texts(FileTexts(texts=texts, width=8, height=8), "", sidecars=(text,)))


def _pixels(data: bytes) -> None:
    hidden_text(io.BytesIO(data))


def _credentials(data: bytes) -> None:
    credentials_told(data)


def _check(reading: Reading) -> None:
    """Whatever was read can be kept."""
    kept = (dict(reading.config), dict(reading.extra), dict(reading.native), reading.warnings,
            [lora.name for lora in reading.loras], reading.hashes, reading.passes)  # fmt: skip
    json.dumps(kept, ensure_ascii=False, allow_nan=False).encode()


def _graph(data: bytes) -> None:
    chance = random.Random(data)
    prompt, workflow = chance.choice(_GRAPHS)
    use_workflow = chance.random() < 0.4
    graph = json.loads(workflow if use_workflow else prompt)
    for _ in range(chance.randrange(1, 12)):
        _change(graph, chance)
    place = "workflow" if use_workflow else "prompt"
    texts = {place: json.dumps(graph)}
    _check(read_texts(FileTexts(texts=texts, width=512, height=512), ""))


def _change(value: Any, chance: random.Random) -> None:
    """Change one value somewhere below *value*: replace, remove, copy or rename it."""
    for _ in range(30):
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = chance.choice(keys)
        child = value[key]
        if isinstance(child, dict | list) and child and chance.random() < 0.75:
            value = child
            continue
        kind = chance.randrange(4)
        if kind == 0:
            value[key] = copy.deepcopy(chance.choice(_VALUES))
        elif kind == 1:
            del value[key]
        elif kind == 2:
            value[key] = copy.deepcopy(value[chance.choice(keys)])
        elif isinstance(value, dict):
            value[chance.choice(_NAMES)] = value.pop(key)
        return


def _seeds() -> tuple[list[bytes], list[bytes], list[tuple[str, str]]]:
    files, texts, graphs = [], [], []
    for path in sorted(_PICTURES.rglob("*")):
        if path.suffix not in (".png", ".jpg", ".webp"):
            continue
        files.append(path.read_bytes())
        chunks = file_texts(io.BytesIO(files[-1])).texts
        for place, text in chunks.items():
            if place in _PLACES:
                number = _PLACES.index(place)
                texts.append(bytes([number]) + text.encode("utf-8", "replace"))
        if "prompt" in chunks and "workflow" in chunks:
            graphs.append((chunks["prompt"], chunks["workflow"]))
    return files, texts, graphs


_FILES, _TEXTS, _GRAPHS = _seeds()
_TARGETS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "files": (_file, _FILES),
    "texts": (_text, _TEXTS),
    "graphs": (_graph, [b"0", b"1"]),
    "pixels": (_pixels, _FILES),
    "credentials": (_credentials, _FILES),
}


def main() -> None:
    """Fuzz what the first argument names; the rest goes to libFuzzer."""
    if len(sys.argv) < 2 or sys.argv[1] not in _TARGETS:
        sys.exit(f"name one of: {', '.join(_TARGETS)}")
    target, seeds = _TARGETS[sys.argv.pop(1)]
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds):
            (Path(corpus) / f"{number}").write_bytes(seed)
        atheris.Setup([*sys.argv, "-timeout=5", "-max_len=200000", corpus], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
