"""What an extension sees of AUTOMATIC1111's web UI: built from facts, it draws squares.

The order of hooks, of saving and of errors is that of ``modules/processing.py``, ``scripts.py``,
``script_callbacks.py``, ``shared_state.py``, ``call_queue.py`` and ``scripts/xyz_grid.py`` of A1111
1.10 and Forge; SD.Next's differences are said where they are. Nothing was copied or recorded; it
does what a real Forge (dfdcbab of 2025-06), reForge (3b56b26 of 2026-03) and SD.Next (058a7f0 of
2026-07) were seen to do with the extension.
"""

from __future__ import annotations

import copy
import importlib.util
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

__all__ = ["Processing", "WebUI"]

EXTENSION = Path(__file__).resolve().parents[2] / "integrations" / "webui"


@dataclass(repr=False)
class Processing:
    """As ``StableDiffusionProcessing``: compared by value, so that it has no hash."""

    prompt: str = "a cat"
    negative_prompt: str = "fog"
    seed: int = 1
    steps: int = 20
    sampler_name: str = "Euler a"
    scheduler: str = "Karras"
    cfg_scale: float = 7.0
    width: int = 64
    height: int = 64
    batch_size: int = 1
    n_iter: int = 1
    enable_hr: bool = False
    hr_scale: float = 2.0
    hr_upscaler: str = "Latent"
    denoising_strength: float = 0.75
    do_not_save_samples: bool = False
    outpath_samples: str = ""
    outpath_grids: str = ""
    styles: list[str] = field(default_factory=list)
    override_settings: dict[str, Any] = field(default_factory=dict)
    extra_generation_params: dict[str, Any] = field(default_factory=dict)
    scripts: Any = None
    sampling: Callable[[int], None] = lambda n: None
    """Called for each batch, as the sampler is: may raise, or interrupt."""
    loading: Callable[[], None] = lambda: None
    """Called before seeds are drawn, as the model is loaded: may raise."""


class Processed:
    """As ``modules.processing.Processed``, as far as it is read."""

    def __init__(self, p: Processing, images: list[Any], texts: list[str], first: int) -> None:
        self.images, self.infotexts, self.index_of_first_image = images, texts, first
        self.outpath_samples, self.outpath_grids = p.outpath_samples, p.outpath_grids


class _State:
    def __init__(self) -> None:
        self.interrupted = self.skipped = self.stopping_generation = False
        self.job = ""
        self.time_start = 0.0

    def begin(self, job: str) -> None:
        self.interrupted = self.skipped = self.stopping_generation = False
        self.job, self.time_start = job, time.time()

    def end(self) -> None:
        self.job = ""


class WebUI:
    """A web UI with the extension, until the test ends.

    Attributes:
        outputs: Where pictures go.
        extension: The extension's module.
        printed: What the web UI reported of errors in extensions.
        opts: Its settings.
        state: What runs.
        before_telling: Called when a call of Forge's API has raised, and the server has yet to log
            it: what waits for its turn begins meanwhile.
    """

    def __init__(
        self, patch: pytest.MonkeyPatch, folder: Path, *, sdnext: bool = False, forge: bool = False
    ) -> None:
        self.outputs = folder / "outputs"
        self.printed: list[str] = []
        self.state = _State()
        self.opts = SimpleNamespace(
            grid_save=True, return_grid=True, save_images_before_highres_fix=False,
            enable_pnginfo=True, return_mask=False, randn_source="CPU", data_labels={},
            save_incomplete_images=False, CLIP_stop_at_last_layers=1,
            outdir_txt2img_samples=str(self.outputs / "txt2img-images"),
        )  # fmt: skip
        self._sdnext, self._forge = sdnext, forge
        self.before_telling: Callable[[], None] = lambda: None
        self._saved: list[Callable[[Any], None]] = []
        self._settings: list[Callable[[], None]] = []
        self._numbers: dict[str, int] = {}
        self.errors = ModuleType("modules.errors")
        self.errors.exception_records = []  # type: ignore[attr-defined]
        self.progress = ModuleType("modules.progress")
        self.progress.current_task = None  # type: ignore[attr-defined]
        self._install(patch, forge)
        module = self._load()
        self.extension = module
        self.script = module.SafelightScript()
        self.runs = module._runs
        for callback in self._settings:
            callback()

    # -- what extensions import ------------------------------------------------------------

    def _install(self, patch: pytest.MonkeyPatch, forge: bool) -> None:
        scripts, callbacks = ModuleType("modules.scripts"), ModuleType("modules.script_callbacks")
        scripts.Script = type("Script", (), {})  # type: ignore[attr-defined]
        scripts.AlwaysVisible = object()  # type: ignore[attr-defined]
        callbacks.on_image_saved = self._saved.append  # type: ignore[attr-defined]
        callbacks.on_ui_settings = self._settings.append  # type: ignore[attr-defined]
        shared = ModuleType("modules.shared")
        shared.opts, shared.state = self.opts, self.state  # type: ignore[attr-defined]
        shared.cmd_opts = SimpleNamespace(no_half=True, xformers=False)  # type: ignore[attr-defined]
        shared.OptionInfo = lambda default, label, section: SimpleNamespace(  # type: ignore[attr-defined]
            default=default, label=label, section=section
        )
        self.opts.add_option = self._add_option
        models = ModuleType("modules.sd_models")
        info = SimpleNamespace(filename="/models/tiny.safetensors", shorthash="6ce0161689",
                               sha256="ab" * 32, model_name="tiny")  # fmt: skip
        models.model_data = SimpleNamespace(  # type: ignore[attr-defined]
            sd_model=SimpleNamespace(sd_checkpoint_info=info, use_distilled_cfg_scale=forge)
        )
        root = ModuleType("modules")
        root.__path__ = []
        for name in ("modules.scripts_manager", "modules_forge"):
            patch.delitem(sys.modules, name, raising=False)
        if self._sdnext:
            patch.setitem(sys.modules, "modules.scripts_manager", ModuleType("scripts_manager"))
        self.main_thread = ModuleType("modules_forge.main_thread")
        self.main_thread.last_exception = None  # type: ignore[attr-defined]
        patch.delitem(sys.modules, "modules_forge.main_thread", raising=False)
        if forge:
            patch.setitem(sys.modules, "modules_forge", ModuleType("modules_forge"))
            patch.setitem(sys.modules, "modules_forge.main_thread", self.main_thread)
        for module in (root, scripts, callbacks, shared, models, self.errors, self.progress):
            patch.setitem(sys.modules, module.__name__, module)
            setattr(root, module.__name__.rpartition(".")[2], module)

    def _add_option(self, name: str, info: Any) -> None:
        self.opts.data_labels[name] = info
        setattr(self.opts, name, info.default)

    def _load(self) -> Any:
        """Load the script as ``script_loading.load_module`` does."""
        path = EXTENSION / "scripts" / "safelight_extension.py"
        spec = importlib.util.spec_from_file_location(path.name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def _report(self) -> None:
        error = sys.exc_info()[1]
        self.errors.exception_records.append({"exception": str(error), "traceback": []})

    # -- what users do ---------------------------------------------------------------------

    def draw(self, **fields: Any) -> Any:
        """Press Generate: the error, where there is one, is shown in the page.

        Forge draws on a thread for all, which keeps the last error and reports none.
        """
        self.state.begin("task(page)")
        try:
            return process_images(self.processing(**fields), self)
        except Exception as error:  # noqa: BLE001 - as it does
            self.state.end()
            if self._forge:
                self.main_thread.last_exception = error  # type: ignore[attr-defined]
            else:
                self._report()
            return None
        finally:
            self.state.end()

    def api(self, *, save_images: bool = False, task: str = "", **fields: Any) -> Any:
        """``POST /sdapi/v1/txt2img``: pictures go back, and to files only where that is asked.

        What it raises is reported; of Forge, nobody but the server's own log tells it.
        """
        self.progress.current_task = task or "task(txt2img-abc)"  # type: ignore[attr-defined]
        self.state.begin("scripts_txt2img")
        try:
            return process_images(
                self.processing(do_not_save_samples=not save_images, **fields), self
            )
        except Exception as error:
            if self._forge:
                self.before_telling()
                log = logging.getLogger("uvicorn.error")
                log.error("Exception in ASGI application\n", exc_info=error)
            else:
                self._report()
            return None
        finally:
            self.state.end()
            self.progress.current_task = None  # type: ignore[attr-defined]

    def plot(self, axis: str, values: list[Any], **fields: Any) -> None:
        """Draw an X/Y/Z plot: a cell that raises is printed, and left blank."""
        self.state.begin("task(page)")
        p = self.processing(**fields)
        cells = []
        for value in values:
            cell = copy.copy(p)
            if hasattr(cell, axis):
                setattr(cell, axis, value)
            else:
                cell.override_settings[axis] = value  # which all cells share
            try:
                cells += process_images(cell, self).images[-1:]
            except Exception:  # noqa: BLE001 - as it does
                self._report()
        if cells:
            whole = Processed(p, cells, [], 0)
            self.save(cells[0], p.outpath_grids, "xyz_grid", text(p, 0), whole)
        self.state.end()

    def processing(self, **fields: Any) -> Processing:
        paths = {kind: str(self.outputs / f"txt2img-{kind}") for kind in ("images", "grids")}
        return Processing(
            outpath_samples=paths["images"], outpath_grids=paths["grids"], scripts=self, **fields
        )

    # -- what it does ----------------------------------------------------------------------

    def hook(self, name: str, *args: Any, **options: Any) -> None:
        """Call a script's hook, as ``ScriptRunner`` does; an error is printed."""
        try:
            getattr(self.script, name)(*args, **options)
        except Exception as error:  # noqa: BLE001 - as it does
            self.printed.append(f"{name}: {error!r}")

    def before_process(self, p: Processing) -> None:
        self.hook("before_process", p)

    def postprocess_batch(self, p: Processing, number: int) -> None:
        self.hook("postprocess_batch", p, batch_number=number)

    def postprocess(self, p: Processing, processed: Processed) -> None:
        self.hook("postprocess", p, processed)

    def save(
        self, image: Image.Image, folder: str, basename: str, infotext: str, p: Any,
        suffix: str = "",
    ) -> None:  # fmt: skip
        """As ``images.save_image``: a number, the file, and then the callbacks."""
        today = Path(folder) / "2026-11-30"
        today.mkdir(parents=True, exist_ok=True)
        number = self._numbers[folder] = self._numbers.get(folder, -1) + 1
        name = f"{basename}-{number:04}" if basename else f"{number:05}-1"
        path = today / f"{name}{suffix}.png"
        info = PngImagePlugin.PngInfo()
        if self.opts.enable_pnginfo:
            info.add_text("parameters", infotext)
        image.save(path, pnginfo=info)
        params = SimpleNamespace(
            image=image, p=p, filename=str(path), pnginfo={"parameters": infotext}
        )
        for callback in self._saved:
            try:
                callback(params)
            except Exception as error:  # noqa: BLE001 - as it does
                self.printed.append(f"image_saved: {error!r}")


def text(p: Processing, place: int) -> str:
    """As ``create_infotext``."""
    hires = (f", Denoising strength: {p.denoising_strength}, Hires upscale: {p.hr_scale},"
             f" Hires upscaler: {p.hr_upscaler}" if p.enable_hr else "")  # fmt: skip
    return (
        f"{p.prompt}\nNegative prompt: {p.negative_prompt}\nSteps: {p.steps},"
        f" Sampler: {p.sampler_name}, Schedule type: {p.scheduler}, CFG scale: {p.cfg_scale},"
        f" Seed: {p.seed + place}, Size: {p.width}x{p.height}, Model hash: 6ce0161689,"
        f" Model: tiny{hires}, Version: v1.10.1"
    )


def process_images(p: Processing, webui: WebUI) -> Processed:
    """As ``modules.processing.process_images``: with the run's own settings while it goes on."""
    p.scripts.before_process(p)
    kept = {name: getattr(webui.opts, name) for name in p.override_settings}
    try:
        vars(webui.opts).update(p.override_settings)
        return process_images_inner(p, webui)
    finally:
        vars(webui.opts).update(kept)


def process_images_inner(p: Processing, webui: WebUI) -> Processed:
    opts, state = webui.opts, webui.state
    p.loading()
    if not webui._sdnext:
        p.sd_model_name, p.sd_model_hash = "tiny", "6ce0161689"  # type: ignore[attr-defined]
    p.all_seeds = [p.seed + n for n in range(p.n_iter * p.batch_size)]  # type: ignore[attr-defined]
    p.all_prompts = [p.prompt] * len(p.all_seeds)  # type: ignore[attr-defined]
    images: list[Any] = []
    texts: list[str] = []
    for batch in range(p.n_iter):
        p.iteration = batch  # type: ignore[attr-defined]
        was_skipped, state.skipped = state.skipped, False
        if webui._sdnext and was_skipped:
            continue  # SD.Next leaves out the batch after the one that was skipped, too
        if state.interrupted or state.stopping_generation:
            break
        try:
            p.sampling(batch)
        except Exception as error:
            if not webui._sdnext:
                raise
            state.interrupted = True
            logging.getLogger("sd").error(f"Processing: step=base args={{}} {error}")
            break  # SD.Next goes on without pictures
        p.scripts.postprocess_batch(p, batch)
        is_whole = not state.interrupted and not state.skipped
        is_saved = not p.do_not_save_samples and (is_whole or opts.save_incomplete_images)
        for place in range(p.batch_size):
            number = batch * p.batch_size + place
            side = int(p.width * (p.hr_scale if p.enable_hr else 1))
            image = Image.new("RGB", (side, side), (p.seed % 256, number, p.steps))
            infotext = text(p, number)
            if p.enable_hr and is_saved and opts.save_images_before_highres_fix:
                webui.save(image.resize((p.width, p.width)), p.outpath_samples, "", infotext, p,
                           "-before-highres-fix")  # fmt: skip
            if is_saved:
                webui.save(image, p.outpath_samples, "", infotext, p)
            texts.append(infotext)
            if opts.enable_pnginfo:
                image.info["parameters"] = infotext
            images.append(image)
            if opts.return_mask:
                images.append(Image.new("RGB", image.size))
    first = 0
    if len(images) > 1 and not p.do_not_save_samples:
        grid = Image.new("RGB", (images[0].width * 2, images[0].height))
        if opts.return_grid:
            texts.insert(0, text(p, 0))
            images.insert(0, grid)
            first = 1
        if opts.grid_save:
            name = "" if webui._sdnext else "grid"
            webui.save(grid, p.outpath_grids, name, text(p, 0), p)
    if not webui._sdnext:
        texts[0]  # an A1111 that was interrupted before its first picture raises here
    processed = Processed(p, images, texts, first)
    if not webui._sdnext or not (state.interrupted or state.skipped):
        p.scripts.postprocess(p, processed)
    return processed
