"""Pictures that ComfyUI drew of graphs of its core nodes say what the server was sent.

``make test-comfyui`` draws them anew; ``SAFELIGHT_COMFYUI_DRAWN`` names the folder to keep them in.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backends.comfyui.core_shapes import Shape, differences
from backends.comfyui.editor_shapes import EDITOR_SHAPES
from backends.comfyui.sampler_shapes import SAMPLER_SHAPES
from backends.comfyui.stage_shapes import STAGE_SHAPES
from imports.test_comfyui_graph import _read
from safelight.imports.picture_reader import read_picture

_DRAWN = Path(__file__).parents[1] / "data" / "comfyui_drawn"
_SHAPES = (*SAMPLER_SHAPES, *STAGE_SHAPES, *EDITOR_SHAPES)


@pytest.mark.parametrize("shape", _SHAPES, ids=lambda shape: shape.name)
def test_a_drawn_picture_says_what_was_sent(shape: Shape) -> None:
    assert differences(shape, read_picture(_DRAWN / f"{shape.name}.png")) == {}


def test_every_shape_was_drawn_and_nothing_else() -> None:
    index = json.loads((_DRAWN / "index.json").read_text())
    assert {path.stem for path in _DRAWN.glob("*.png")} == {shape.name for shape in _SHAPES}
    assert (index["tool"], index["licence"]) == ("ComfyUI 0.3.75", "MIT")


@pytest.mark.parametrize("shape", EDITOR_SHAPES, ids=lambda shape: shape.name)
def test_the_editors_graph_alone_says_the_same(shape: Shape) -> None:
    """As after a program that kept only one of the two texts."""
    alone, posted = _read(None, shape.workflow, (32, 48)), _read(shape.graph, None, (32, 48))
    assert (alone.knobs, alone.statuses, alone.loras) == (
        posted.knobs, posted.statuses, posted.loras,
    )  # fmt: skip
    assert [len(draft.passes) for draft in (alone, posted)] == [1, 1]
