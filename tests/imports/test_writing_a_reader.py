"""The page on writing a reader is true: its tool is read when one does what it says."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from safelight.formats.containers import file_texts
from safelight.formats.file_texts import FileTexts
from safelight.imports import picture_reader
from safelight.imports.reading import Draft, Given, Reader

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-reader.md"


def texts_of(key: str, text: str) -> FileTexts:
    info = PngImagePlugin.PngInfo()
    info.add_text(key, text)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=info)
    file.seek(0)
    return file_texts(file)


def test_the_tool_of_the_page_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    text = PAGE.read_text("utf-8")
    listings, _ = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    function, line = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {"Reader": Reader}
    exec(compile(function, str(PAGE), "exec"), names)
    reader = eval(line, names)
    metadata = texts_of("pixelloom", listings)
    assert picture_reader.read_texts(metadata, "0" * 64).outcome == "none"
    monkeypatch.setattr(picture_reader, "FILE_READERS", (reader, *picture_reader.FILE_READERS))
    reading = picture_reader.read_texts(metadata, "0" * 64)
    assert reading.generator == "pixelloom"
    assert reading.config == {
        "txt2img": {
            "prompt": "a lighthouse", "negative_prompt": "fog", "model": "sea-xl", "steps": 24,
            "cfg_scale": 6.5, "seed": 77,
        }
    }  # fmt: skip
    assert reading.outcome == "partly", "nothing tells the sampler"
    other = texts_of("pixelloom", json.dumps({"who": "knows"}))
    assert picture_reader.read_texts(other, "0" * 64).outcome == "none"


def test_every_reader_lets_others_be() -> None:
    """Nothing is everybody's: an empty file has no maker."""
    for reader in (*picture_reader.FILE_READERS, *picture_reader.COMMENT_READERS):
        draft = Draft()
        assert not reader.read(draft, Given(texts={})), reader.name
