"""The extension of the web UIs, on a harness of their hooks: each run is a record."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safelight_spool import Spool

from command_line import call
from imports.spool_lines import lines_of
from integrations.comfyui_pack import wait_for
from integrations.webui_harness import EXTENSION, WebUI
from safelight.archive import Archive
from safelight.backends.fake import FakeBackend
from safelight.errors import BackendError
from safelight.imports.folder_import import import_folders
from safelight.pipeline import PipelineRunner
from safelight.pipeline.backend import (
    GeneratedImage,
    Generation,
    ImageRequest,
    StepCallback,
    Txt2ImgRequest,
)


@pytest.fixture
def webui(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> WebUI:
    return WebUI(monkeypatch, tmp_path)


def spool_of(webui: WebUI) -> list[dict[str, Any]]:
    return lines_of(webui.outputs / ".safelight-spool")


def lines(webui: WebUI, count: int) -> list[dict[str, Any]]:
    """Wait for so many lines, and until nothing is open that could become one."""
    wait_for(lambda: len(spool_of(webui)) >= count and not webui.runs._open, seconds=20)
    told = spool_of(webui)
    assert len(told) == count
    assert webui.printed == []
    return told


def records_of(webui: WebUI, tmp_path: Path) -> list[Any]:
    archive = tmp_path / "archive"
    result = call("import", str(webui.outputs), "--archive", str(archive))
    assert result.exit_code == 0, result.output
    opened = Archive(archive)
    return list(opened.records(run for (run,) in opened.rows("SELECT run_id FROM runs")))


def seeds_and_statuses(records: list[Any]) -> list[tuple[int | None, str]]:
    return sorted((record.base_config["txt2img"].get("seed"), record.status) for record in records)


def fails(batch: int) -> None:
    raise RuntimeError("CUDA out of memory at https://me:hidden@example.org")


def test_a_run_of_the_page_is_a_line(webui: WebUI, tmp_path: Path) -> None:
    """With its file, its text, how long it took, and what texts do not say."""
    webui.draw(seed=5)
    (line,) = lines(webui, 1)
    (output,) = line["outputs"]
    assert Path(output["path"]) == webui.outputs / "txt2img-images" / "2026-11-30" / "00000-1.png"
    assert output["bytes"] > 0
    assert "Seed: 5" in line["infotexts"][0]
    assert (line["status"], line["tool"], line["tool_version"]) == ("completed", "a1111", "v1.10.1")
    environment = line["environment"]
    assert environment["model_file"] == "tiny.safetensors"
    assert environment["model_sha256"] == "ab" * 32
    assert (environment["randn_source"], environment["no_half"]) == ("CPU", True)
    assert "xformers" not in environment

    (record,) = records_of(webui, tmp_path)
    assert record.status == "imported"
    assert record.variant_configs[0]["txt2img"]["seed"] == 5
    assert record.outputs[0].seconds > 0
    assert record.environment["model_hash"] == "6ce0161689"


def test_batches_are_one_line_without_their_grid(webui: WebUI, tmp_path: Path) -> None:
    webui.draw(seed=10, batch_size=2, n_iter=2)
    (line,) = lines(webui, 1)
    assert len(line["outputs"]) == 4
    assert [f"Seed: {seed}," in text for seed, text in zip(range(10, 14), line["infotexts"],
            strict=True)] == [True] * 4  # fmt: skip
    told = [record for record in records_of(webui, tmp_path)
            if "spool" in record.metadata["import"]]  # fmt: skip
    assert seeds_and_statuses(told) == [(seed, "imported") for seed in range(10, 14)]


def test_what_is_saved_before_hires_fix_is_no_result(webui: WebUI) -> None:
    webui.opts.save_images_before_highres_fix = True
    webui.draw(enable_hr=True)
    (line,) = lines(webui, 1)
    (output,) = line["outputs"]
    assert not output["path"].endswith("-before-highres-fix.png")
    with Image.open(output["path"]) as image:
        assert image.size == (128, 128)


@pytest.mark.parametrize("sdnext", [False, True])
def test_a_grid_in_the_folder_of_the_pictures_is_none_of_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sdnext: bool
) -> None:
    """SD.Next does not even call it a grid."""
    webui = WebUI(monkeypatch, tmp_path, sdnext=sdnext)
    folder = str(webui.outputs / "txt2img-images")
    webui.processing = lambda **fields: _with_grids_in(webui, folder, fields)  # type: ignore[method-assign]
    webui.draw(batch_size=2)
    (line,) = lines(webui, 1)
    assert len(line["outputs"]) == 2


def _with_grids_in(webui: WebUI, folder: str, fields: dict[str, Any]) -> Any:
    p = WebUI.processing(webui, **fields)
    p.outpath_grids = folder
    return p


@pytest.mark.parametrize("masks", [False, True])
def test_a_call_of_the_api_that_saves_nothing_is_known_by_its_pixels(
    webui: WebUI, tmp_path: Path, masks: bool
) -> None:
    """Who called saves it without a word; masks among the pictures are none."""
    webui.opts.return_mask = masks
    processed = webui.api(seed=3, batch_size=2)
    (line,) = lines(webui, 1)
    assert [sorted(output) for output in line["outputs"]] == [
        ["height", "pixel_sha256", "width"]
    ] * 2  # fmt: skip
    assert ["Seed: 3," in line["infotexts"][0], "Seed: 4," in line["infotexts"][1]] == [True, True]
    bare = Image.new("RGB", (64, 64))
    bare.paste(processed.images[-2 if masks else -1])
    bare.save(webui.outputs / "second.png")
    records = {r.status: r for r in records_of(webui, tmp_path)}
    assert records["imported"].base_config["txt2img"]["seed"] == 4


def test_a_call_of_the_api_that_saves_is_a_line(webui: WebUI) -> None:
    webui.api(seed=3, save_images=True)
    (line,) = lines(webui, 1)
    assert line["outputs"][0]["path"].endswith(".png")


def test_each_cell_of_a_plot_is_a_line_also_one_that_fails(webui: WebUI, tmp_path: Path) -> None:
    """The grid is none; the cell that raised is told although the plot goes on."""

    def sampling(batch: int) -> None:
        cell = next(run.p for run in webui.runs._open)
        if cell.steps == 900:
            fails(batch)

    webui.plot("steps", [10, 900, 30], seed=7, sampling=sampling)
    told = lines(webui, 3)
    assert [line["status"] for line in told] == ["completed", "failed", "completed"]
    assert told[1]["parameters"]["steps"] == 900
    assert told[1]["parameters"]["seed"] == 7
    assert told[1]["error"] == "CUDA out of memory at https://example.org"
    records = [r for r in records_of(webui, tmp_path) if "spool" in r.metadata["import"]]
    assert sorted((r.primary_steps, r.status) for r in records) == [
        (10, "imported"), (30, "imported"), (900, "failed"),
    ]  # fmt: skip
    (failed,) = (r for r in records if r.status == "failed")
    assert failed.base_config["txt2img"] == {
        **failed.base_config["txt2img"], "prompt": "a cat", "sampler": "Euler a",
        "scheduler": "Karras", "model": "tiny", "width": 64,
    }  # fmt: skip


def test_a_run_that_raised_is_told_although_nothing_follows(webui: WebUI, tmp_path: Path) -> None:
    """The web UI calls nobody when sampling raised."""
    webui.draw(seed=8, sampling=fails, enable_hr=True)
    (line,) = lines(webui, 1)
    assert (line["status"], line["parameters"]["seed"]) == ("failed", 8)
    assert line["error"] == "CUDA out of memory at https://example.org"
    (record,) = records_of(webui, tmp_path)
    asked = record.base_config["txt2img"]
    assert {name: asked.get(name) for name in ("hires_scale", "hires_steps", "hires_upscaler",
            "hires_denoising_strength", "clip_skip", "denoising_strength")} == {
        "hires_scale": 2, "hires_steps": 20, "hires_upscaler": "Latent",
        "hires_denoising_strength": 0.75, "clip_skip": 1, "denoising_strength": None,
    }  # fmt: skip
    webui.draw(seed=9)
    assert [told["status"] for told in lines(webui, 2)] == ["failed", "completed"]


@pytest.mark.parametrize("forge", [True, False])
@pytest.mark.parametrize("way", ["draw", "api"])
def test_what_ended_a_run_is_told_wherever_the_web_ui_tells_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, forge: bool, way: str
) -> None:
    """Forge reports nothing: its page keeps the last error, calls of its API leave it to the log.

    Another extension's error, which was reported meanwhile, is not it.
    """
    webui = WebUI(monkeypatch, tmp_path, forge=forge)

    def sampling(batch: int) -> None:
        try:
            raise ValueError("of another extension")
        except ValueError:
            webui._report()
        fails(batch)

    for _ in range(2):
        getattr(webui, way)(sampling=sampling)
    assert [line["error"] for line in lines(webui, 2)] == [
        "CUDA out of memory at https://example.org"
    ] * 2


def test_an_error_is_waited_for_though_the_next_call_begins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a thread of its own, before the server has told what ended the first."""
    webui = WebUI(monkeypatch, tmp_path, forge=True)

    def next_one() -> None:
        thread = threading.Thread(target=webui.api, kwargs={"seed": 2})
        thread.start()
        thread.join()

    webui.before_telling = next_one
    webui.api(sampling=fails)
    told = sorted(lines(webui, 2), key=lambda line: str(line["status"]))
    assert [(line["status"], line.get("error")) for line in told] == [
        ("completed", None), ("failed", "CUDA out of memory at https://example.org"),
    ]  # fmt: skip


def test_settings_of_one_run_are_told_though_they_are_put_back(webui: WebUI) -> None:
    """A plot's cells share them: the next one has begun when a cell that raised is noted."""
    webui.plot("CLIP_stop_at_last_layers", [2, 3, 4], sampling=fails)
    told = [(line["parameters"]["clip_skip"], line["environment"]["CLIP_stop_at_last_layers"])
            for line in lines(webui, 3)]  # fmt: skip
    assert told == [(2, 2), (3, 3), (4, 4)]


@pytest.mark.parametrize("hash_then", ["6ce0161689", "0123456789"])
def test_a_model_that_was_put_back_is_not_told_of_a_run_that_raised(
    webui: WebUI, hash_then: str
) -> None:
    """What is loaded when a failure is noted may be another one."""

    def sampling(batch: int) -> None:
        for run in webui.runs._open:
            run.p.sd_model_hash = hash_then
        fails(batch)

    webui.draw(sampling=sampling)
    (line,) = lines(webui, 1)
    assert ("model_file" in line["environment"]) == (hash_then == "6ce0161689")


def test_a_seed_that_was_not_drawn_yet_is_not_told(webui: WebUI) -> None:
    """-1 is none: the model could not even be loaded."""

    def missing() -> None:
        raise FileNotFoundError("no checkpoint")

    webui.draw(seed=-1, loading=missing)
    (line,) = lines(webui, 1)
    assert (line["status"], line["error"]) == ("failed", "no checkpoint")
    assert "seed" not in line["parameters"]


def test_a_run_at_the_place_of_one_that_failed_is_another_one(
    webui: WebUI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames that are gone leave their address to the next one."""
    monkeypatch.setattr(webui.extension, "_place_of", lambda frame: (1, fails.__code__))
    webui.draw(seed=1, sampling=fails)
    webui.draw(seed=2)
    assert [line["status"] for line in lines(webui, 2)] == ["failed", "completed"]


def test_what_was_drawn_before_it_raised_is_told_with_it(webui: WebUI) -> None:
    def second_fails(batch: int) -> None:
        if batch == 1:
            fails(batch)

    webui.draw(n_iter=3, sampling=second_fails)
    (line,) = lines(webui, 1)
    assert (line["status"], len(line["outputs"])) == ("failed", 1)


def test_a_web_ui_that_goes_on_as_if_it_was_interrupted_has_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """SD.Next logs the error, says of itself that it was interrupted, and calls nobody."""
    webui = WebUI(monkeypatch, tmp_path, sdnext=True)
    webui.draw(sampling=fails)
    (line,) = lines(webui, 1)
    assert (line["status"], line["error"]) == (
        "failed",
        "CUDA out of memory at https://example.org",
    )
    assert line["parameters"]["steps"] == 20
    assert line["parameters"]["model"] == "tiny"


@pytest.mark.parametrize("drawn", [0, 1])
def test_an_interrupted_run_is_cancelled(webui: WebUI, drawn: int) -> None:
    """Before its first picture, which raises in A1111, or after one."""

    def interrupt(batch: int) -> None:
        if batch == drawn:
            webui.state.interrupted = True
            raise RuntimeError("interrupted")

    if drawn:
        webui.draw(n_iter=2, sampling=lambda batch: setattr(webui.state, "interrupted", True))
    else:
        webui.draw(sampling=interrupt)
    (line,) = lines(webui, 1)
    assert (line["status"], len(line["outputs"]), line.get("error")) == ("cancelled", drawn, None)


@pytest.mark.parametrize("is_saved", [False, True])
@pytest.mark.parametrize("keeps_incomplete", [False, True])
def test_what_was_drawn_while_it_was_skipped_is_told_apart(
    webui: WebUI, tmp_path: Path, is_saved: bool, keeps_incomplete: bool
) -> None:
    """Its text tells of all steps, and nothing is left of the skip when the run is through."""
    webui.opts.save_incomplete_images = keeps_incomplete

    def skip(batch: int) -> None:
        webui.state.skipped = batch == 1

    webui.api(seed=3, n_iter=3, save_images=is_saved, sampling=skip)
    (line,) = lines(webui, 1)
    left_out = is_saved and not keeps_incomplete
    assert line["status"] == "cancelled"
    assert [output.get("cut_short", False) for output in line["outputs"]] == (
        [False, False] if left_out else [False, True, False]
    )
    if is_saved:
        told = [record for record in records_of(webui, tmp_path) if record.status == "imported"
                and "spool" in record.metadata["import"]]  # fmt: skip
        cut_short = {
            record.base_config["txt2img"]["seed"]: record.metadata["import"]["extra"].get(
                "cut short"
            )
            for record in told
        }
        assert cut_short == {3: None, **({} if left_out else {4: "true"}), 5: None}


def test_a_skip_of_the_only_picture_of_sdnext_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It leaves out the next batch as well, and forgets the skip with it."""
    webui = WebUI(monkeypatch, tmp_path, sdnext=True)

    def skip(batch: int) -> None:
        webui.state.skipped = True

    webui.draw(n_iter=2, sampling=skip)
    (line,) = lines(webui, 1)
    assert (line["status"], line.get("error")) == ("cancelled", None)


@pytest.mark.parametrize("how", ["interrupted", "skipped"])
def test_a_run_of_sdnext_that_was_cut_short_is_cancelled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    """It calls no postprocess then, which is not to be taken for a failure."""
    webui = WebUI(monkeypatch, tmp_path, sdnext=True)
    webui.opts.save_incomplete_images = True
    webui.draw(sampling=lambda batch: setattr(webui.state, how, True))
    (line,) = lines(webui, 1)
    assert (line["status"], line.get("error")) == ("cancelled", None)
    assert [output["cut_short"] for output in line["outputs"]] == [True]


def test_a_run_within_a_run_does_not_end_the_other(webui: WebUI) -> None:
    """Extensions draw details anew while a run goes on."""

    def inner(batch: int) -> None:
        from integrations.webui_harness import process_images

        process_images(webui.processing(seed=99), webui)

    webui.draw(seed=1, sampling=inner)
    told = lines(webui, 2)
    assert [line["status"] for line in told] == ["completed", "completed"]
    assert ["Seed: 99," in told[0]["infotexts"][0], "Seed: 1," in told[1]["infotexts"][0]] == [
        True, True,
    ]  # fmt: skip


def test_a_long_run_is_not_taken_for_a_failed_one(webui: WebUI) -> None:
    """However often it is looked at meanwhile, and whatever the state says (SD.Next's flickers)."""

    def looked_at(batch: int) -> None:
        webui.state.end()
        for _ in range(5):
            webui.runs._note_failures(patience=0)

    webui.draw(sampling=looked_at)
    (line,) = lines(webui, 1)
    assert line["status"] == "completed"


def test_what_safelight_draws_itself_is_not_noted(webui: WebUI) -> None:
    webui.api(task="task(safelight-job1)")
    webui.api(seed=2)
    (line,) = lines(webui, 1)
    assert "Seed: 2," in line["infotexts"][0]


def test_the_setting_names_another_folder(webui: WebUI, tmp_path: Path) -> None:
    assert list(webui.opts.data_labels) == ["safelight_spool"]
    assert webui.opts.data_labels["safelight_spool"].default == ""
    webui.opts.safelight_spool = str(tmp_path / "elsewhere")
    webui.draw()
    assert len(lines_of(tmp_path / "elsewhere")) == 1
    assert not (webui.outputs / ".safelight-spool").exists()


def test_nothing_that_goes_wrong_reaches_the_web_ui(
    webui: WebUI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Pictures are drawn as without it, and it is said once."""
    monkeypatch.setattr(type(webui.runs), "_of", lambda *args: 1 / 0)
    for _ in range(3):
        assert webui.draw() is not None
    assert webui.printed == []
    assert caplog.text.count("postprocess: ZeroDivisionError") == 1


@pytest.mark.parametrize(
    ("forge", "told"), [(True, ("forge", 3.5)), (False, ("a1111", None))], ids=["forge", "a1111"]
)
def test_distilled_guidance_is_told_of_models_that_have_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, forge: bool, told: tuple[str, float | None]
) -> None:
    """Forge's field has a value for every model."""
    webui = WebUI(monkeypatch, tmp_path, forge=forge)
    p = webui.processing(sampling=fails)
    p.distilled_cfg_scale = 3.5  # type: ignore[attr-defined]
    webui.processing = lambda **fields: p  # type: ignore[method-assign]
    webui.draw()
    (line,) = lines(webui, 1)
    assert (line["tool"], line["parameters"].get("distilled_cfg_scale")) == told


def test_reforge_is_told_from_forge(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By one of its own settings, as the engine tells it; the folder of modules has one name."""
    webui = WebUI(monkeypatch, tmp_path, forge=True)
    webui.opts.reforge_karras_rho = 7.0
    webui.draw()
    assert lines(webui, 1)[0]["tool"] == "reforge"


def test_the_extension_is_small_and_its_copy_the_original() -> None:
    files = {str(path.relative_to(EXTENSION)) for path in EXTENSION.rglob("*")
             if path.is_file() and "__pycache__" not in path.parts}  # fmt: skip
    assert files == {
        "LICENSE", "README.md", "safelight_spool.py", "scripts/safelight_extension.py",
    }  # fmt: skip
    original = EXTENSION.parent / "spool" / "safelight_spool.py"
    assert (EXTENSION / "safelight_spool.py").read_bytes() == original.read_bytes()


class SdNext(FakeBackend):
    """Draws with an SD.Next, which cannot be told what a job is called."""

    def __init__(self, webui: WebUI, *, is_lossy: bool = False) -> None:
        super().__init__()
        self.webui, self.is_lossy = webui, is_lossy
        self.meanwhile: list[Callable[[], object]] = []

    def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
        assert isinstance(request, Txt2ImgRequest)
        asked: dict[str, Any] = {"prompt": request.prompt, "seed": request.seed,
                                 "steps": request.steps, "width": 64, "height": 64}  # fmt: skip
        failing: dict[str, Any] = {"sampling": fails} if request.seed == 3 else {}
        drawn = self.webui.api(**asked, **failing).images
        for step in self.meanwhile:  # the line is there, and the run's own account is not
            step()
        if not drawn:
            raise BackendError("SD.Next sent no picture")
        picture, data = drawn[0], io.BytesIO()
        if self.is_lossy:  # as where samples are JPEG files
            picture = picture.point(lambda value: value ^ 1)
        picture.save(data, "PNG")
        return Generation(images=(GeneratedImage(png=data.getvalue(), effective=asked),))


def drawn_by_us(
    engine: SdNext, archive: Path, knobs: Mapping[str, Any], **tables: Mapping[str, Any]
) -> None:
    """Draw a harbour of four steps in a run that leaves its record."""
    txt2img = {"prompt": "a harbour", "steps": 4, **knobs}
    with Archive(archive).writer() as writer:
        runner = PipelineRunner(engine, archive_dir=archive, learning_record_writer=writer)
        runner.run({"txt2img": txt2img, **tables})


@pytest.mark.parametrize("known_by", ["pixels", "settings"])
def test_what_safelight_drew_has_one_record_although_the_tool_takes_no_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, known_by: str
) -> None:
    """That of the run, also where lines are read while it goes on; of SD.Next failures, too."""
    webui = WebUI(monkeypatch, tmp_path, sdnext=known_by == "settings")
    archive, seeds = tmp_path / "archive", [1, 2, 4] if known_by == "pixels" else [1, 2, 3, 4]
    engine = SdNext(webui, is_lossy=known_by == "settings")
    engine.meanwhile.append(lambda: import_folders([webui.outputs], Archive(archive)))
    sweep = {"mode": "fanout", "sweep": {"txt2img.seed": seeds}}
    drawn_by_us(engine, archive, {"width": 64, "height": 64}, randomizer=sweep)
    told = lines(webui, len(seeds))
    assert [line["status"] for line in told].count("completed") == 3
    (run,) = records_of(webui, tmp_path)
    assert (len(run.outputs), len(run.failures)) == (3, len(seeds) - 3)


def test_the_same_picture_at_another_time_is_another_execution(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Somebody drew it by a call of the API, an hour before a run of ours drew the like of it."""
    webui = WebUI(monkeypatch, tmp_path, sdnext=True)
    drawn_by_us(SdNext(webui), tmp_path / "archive", {"seed": 1})
    (line,) = lines(webui, 1)
    earlier = datetime.fromisoformat(line["began"]) - timedelta(hours=1)
    Spool(webui.outputs / ".safelight-spool", "sdnext").append(
        outputs=line["outputs"], infotexts=line["infotexts"], began=earlier, ended=earlier
    )
    told = [record.run_id for record in records_of(webui, tmp_path)]
    assert len(told) == 2
    assert sum(run_id.startswith("spool-") for run_id in told) == 1


def test_what_somebody_draws_in_the_page_meanwhile_stays_theirs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The same prompt, seed and steps, while a run goes on: other settings, or a file that is."""
    webui = WebUI(monkeypatch, tmp_path, sdnext=True)
    engine = SdNext(webui, is_lossy=True)
    saved, drawn = webui.outputs / "mine.png", Image.new("RGB", (64, 64), (1, 2, 3))
    spool = Spool(webui.outputs / ".safelight-spool", "sdnext")
    same = {"prompt": "a harbour", "seed": 1, "steps": 4, "sampler": "Euler a", "cfg_scale": 7.0,
            "width": 64, "height": 64, "negative_prompt": "fog"}  # fmt: skip

    def draw() -> None:
        for name, other in (("size", {"width": 2048}), ("cfg", {"cfg_scale": 3.0}),
                            ("negative", {"negative_prompt": "rain"})):  # fmt: skip
            spool.append(status="failed", parameters={**same, **other}, execution=name)
        spool.append(outputs=[drawn], parameters={**same, "sampler": "Heun"}, execution="sampler")
        drawn.save(saved)
        spool.append(outputs=[saved], parameters=same, execution="saved")

    engine.meanwhile.append(draw)
    drawn_by_us(engine, tmp_path / "archive", same)
    lines(webui, 6)
    told = {record.run_id for record in records_of(webui, tmp_path)}
    assert {name for name in told if name.startswith("spool-")} == {
        "spool-size", "spool-cfg", "spool-negative", "spool-sampler",
    }  # fmt: skip
    assert len(told) == 6


def test_a_job_of_ours_takes_nothing_along_that_has_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    webui = WebUI(monkeypatch, tmp_path, sdnext=True)
    drawn_by_us(SdNext(webui), tmp_path / "archive", {"seed": 1})
    (line,) = lines(webui, 1)
    Spool(webui.outputs / ".safelight-spool", "comfyui").append(
        status="failed", error="out of memory", execution=line["id"]
    )
    told = {record.run_id: record.error for record in records_of(webui, tmp_path)}
    assert told[f"spool-{line['id']}"] == "out of memory"
