"""Workflows of the editor, converted, are what ComfyUI's own page posts and its server takes.

Runs where ``test_real_comfyui.py`` does, on a folder that ``real_server.py`` has prepared; the page
is asked where there is a Chromium.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from backends.comfyui.editor_cases import EDITOR_CASES
from backends.comfyui.real_pictures import node_classes
from backends.comfyui.real_server import RealServer, templates
from backends.comfyui.template_counts import counted, editor_templates
from safelight.backends.comfyui.editor_workflow import api_workflow

FOLDER = os.environ.get("SAFELIGHT_COMFYUI_DIR", "")
NEWER = {"image_kandinsky5_t2i", "image_newbieimage_exp0_1-t2i", "image_ovis_text_to_image"}
"""Templates that choose a kind of text encoder of which ComfyUI 0.3.75 does not know."""
ASKED = (
    "api_recraft_image_gen_with_color_control", "basic_mask_operations_and_compositing",
    "flux1_krea_dev", "flux_depth_lora_example", "flux_fill_inpaint_example",
    "flux_kontext_dev_basic", "flux_redux_model_example", "flux_schnell", "hidream_e1_1",
    "hidream_e1_full", "Image_capybara_v0_1_text_to_image",
    "image-qwen_image_edit_2511_lora_inflation", "image_chroma1_radiance_text_to_image",
    "image_flux2_text_to_image_9b", "image_lotus_depth_v1_1", "image_netayume_lumina_t2i",
    "image_newbieimage_exp0_1-t2i", "image_omnigen2_image_edit",
    "image_qwen_image_instantx_controlnet", "image_sdxl_simple", "image_z_image_turbo",
    "sd3.5_large_depth", "sd3.5_simple_example", "sdxl_refiner_prompt_example",
    "sdxl_simple_example", "template_character_portrait_relighting",
    "templates-1_click_multiple_scene_angles-v1.0", "templates-photo_to_product_vid",
    "video_capybara_v0_1_image_to_video", "video_wan2_2_14B_fun_inpaint",
    "video_wan_vace_outpainting",
)  # fmt: skip
"""Subgraphs, also nested and several times; bypassed nodes, reroutes, primitive nodes, notes; files
of editors from 1.18 to 1.49 and of before they had numbers."""
ODD = {"bypassed", "muted", "primitive_inside", "shown_primitive", "shown_through_two"}
"""Cases in which page 1.32.9 is overtaken by newer ones. It posts what is inside of a bypassed
subgraph, drops a widget whose link comes from a muted node, and breaks off at a primitive node
inside of a subgraph."""

Ask = Callable[[Mapping[str, Any]], dict[str, Any]]

if not FOLDER or not templates(Path(FOLDER)).is_dir():
    pytest.skip(
        "no ComfyUI with its page: run `make test-comfyui`, or set SAFELIGHT_COMFYUI_DIR",
        allow_module_level=True,
    )


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with RealServer(Path(FOLDER), front_end=True) as server:
        yield server.url


@pytest.fixture(scope="module")
def known(url: str) -> dict[str, Any]:
    return node_classes(url)


@pytest.fixture(scope="module")
def page_posts(url: str) -> Iterator[Ask]:
    """The page: a workflow -> what it would post."""
    driver = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on this machine, so ComfyUI's page was not asked")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(120_000)
        page.goto(url)
        page.wait_for_function(
            "() => Boolean(window.app?.graph && window.LiteGraph?.registered_node_types.KSampler"
            " && window.LiteGraph.registered_node_types.PrimitiveNode)"
        )
        quiet = "{showMissingNodesDialog: false, showMissingModelsDialog: false}"
        asked = (
            f"async (file) => {{ await app.loadGraphData(file, true, true, null, {quiet});"
            " return JSON.parse(JSON.stringify((await app.graphToPrompt()).output)) }"
        )
        yield lambda workflow: dict(page.evaluate(asked, workflow))
        browser.close()


def test_every_template_whose_nodes_are_there_converts_and_lacks_only_files(url: str) -> None:
    """Models and input pictures; what it says of others is which classes they need."""
    counts = counted(url, Path(FOLDER))
    print(counts)  # noqa: T201 - shown by pytest -s, and beside a failure
    assert counts.refused == {}
    assert counts.other.keys() <= NEWER
    assert len(counts.converted) > 120
    assert counts.all == len(counts.converted) + counts.lacked


@pytest.mark.parametrize("name", sorted(EDITOR_CASES.keys() - ODD))
def test_the_page_posts_each_case_alike(name: str, page_posts: Ask, known: dict[str, Any]) -> None:
    """What the cases want is what the editor does."""
    workflow, _ = EDITOR_CASES[name]
    assert page_posts(workflow) == api_workflow(workflow, known, name).nodes


@pytest.mark.parametrize("name", ASKED)
def test_the_page_posts_a_template_alike(name: str, page_posts: Ask, known: dict[str, Any]) -> None:
    """To the last id, input and title."""
    workflow = dict(editor_templates(Path(FOLDER), name))[name]
    assert page_posts(workflow) == api_workflow(workflow, known, name).nodes
