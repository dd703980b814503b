"""safelight for AUTOMATIC1111's web UI and its heirs: each run leaves a line for safelight.

A run is one call of ``process_images``: of the page, of the API, of one cell of an X/Y/Z plot. It
begins with ``before_process`` and is through with ``postprocess``, which is not called where it
raised, and by SD.Next not where it was interrupted or its pipeline raised: a run whose
``process_images`` is no longer on its thread's stack, and that was not through, has failed, or was
cancelled. Nothing that goes wrong here reaches the web UI.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import logging
import os
import re
import sys
import threading
import time
from types import CodeType, FrameType
from typing import Any, Callable, NamedTuple

from modules import script_callbacks, scripts, shared  # of the web UI

SETTING = "safelight_spool"
"""Of the web UI: folder of the spool, where it is not ``.safelight-spool`` beside the pictures."""

_LOOK_EVERY = 0.25
"""Seconds between two looks at what is open, while something is."""

_OUR_OWN = "task(safelight-"
"""How jobs are called that safelight itself sends and records."""

_OF_ALL_OUTPUTS = ("txt2img-images", "img2img-images", "extras-images", "text", "image", "control")
"""What web UIs call the folders of their kinds of pictures, below one for all."""

_IN_BETWEEN = re.compile(r"(-before-[a-z-]+|-mask|-mask-composite|-init-image)(-\d+)?$")
"""Ends the names of files that are no result: from before hires fix, masks."""

_SETTINGS = (
    "CLIP_stop_at_last_layers", "always_discard_next_to_last_sigma", "comma_padding_backtrack",
    "cross_attention_optimization", "cross_attention_options", "cuda_dtype", "emphasis",
    "eta_ancestral", "eta_ddim", "eta_noise_seed_delta", "forge_additional_modules",
    "forge_unet_storage_dtype", "img2img_color_correction", "initial_noise_multiplier",
    "jpeg_quality", "randn_source", "s_churn", "s_min_uncond", "s_noise", "samples_format",
    "sd_vae", "sd_vae_decode_method", "sgm_noise_multiplier", "token_merging_ratio", "upcast_attn",
)  # fmt: skip
"""That change pixels or files, and of which infotexts say nothing, or only sometimes."""

_ARGUMENTS = (
    "precision", "no_half", "no_half_vae", "upcast_sampling", "all_in_fp32", "all_in_fp16",
    "unet_in_bf16", "unet_in_fp8_e4m3fn", "xformers", "opt_sdp_attention", "medvram", "lowvram",
    "use_cpu",
)  # fmt: skip

_log = logging.getLogger("safelight")


def _part(name: str) -> Any:
    """Load a file of this extension: not by name, which another one may have."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    spec = importlib.util.spec_from_file_location(
        f"safelight_extension_{name}", os.path.join(root, f"{name}.py")
    )
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_spool = _part("safelight_spool")


def _harmless(hook: Callable[..., None]) -> Callable[..., None]:
    """Keep what goes wrong in a hook from the web UI; told once for each kind."""

    @functools.wraps(hook)
    def called(*args: Any, **options: Any) -> None:
        try:
            hook(*args, **options)
        except Exception as problem:  # noqa: BLE001 - the web UI goes on without
            kind = f"{hook.__name__}: {type(problem).__name__}"
            if kind not in _told:
                _told.add(kind)
                _log.warning("safelight: a run was not noted: %s: %s", kind, problem)

    return called


_told: set[str] = set()


class _Run:
    """A run that is not through.

    Attributes:
        p: What is processed; held until the run is through or has failed.
        began: Seconds of the epoch.
        thread: On which it runs.
        frame: Address of the frame of its ``process_images``, and its code: the frame itself
            would keep all that was in it. Another one may have the address when it is gone.
        overrides: Settings of this run alone. A plot's cells share the dictionary that they are in,
            and by then another cell's value may be in it.
        files: What was saved: path, infotext, picture, and number of its batch.
        cut_short: Numbers of the batches during which it was interrupted or skipped: their pictures
            have texts that tell of steps which were not taken.
        error: Why it failed, where its error was met.
        has_failed: It has, although the web UI (SD.Next) goes on as if a user had interrupted it.
        reported_before: The last error that the web UI had reported.
        is_interrupted: It was, when it was looked at last.
        looks: How often it was found neither running nor through.
    """

    def __init__(self, p: Any) -> None:
        self.p = p
        self.began = time.time()
        self.start = time.perf_counter()
        self.thread = threading.get_ident()
        self.frame = _place_of(_frame_of_processing())
        self.overrides: dict[str, Any] = dict(getattr(p, "override_settings", None) or {})
        self.files: list[tuple[str, str, Any, int]] = []
        self.cut_short: set[int] = set()
        self.error, self.has_failed = "", False
        self.reported_before = _last_reported()
        self.is_interrupted = False
        self.looks = 0

    def is_running(self) -> bool:
        frame: FrameType | None = sys._current_frames().get(self.thread)
        while frame is not None:
            if _place_of(frame) == self.frame:
                return True
            frame = frame.f_back
        return False

    def has_raised(self, error: BaseException) -> bool:
        """Return whether *error* came out of this run; its frames are there as long as it is."""
        passed = error.__traceback__
        while passed is not None:
            if _place_of(passed.tb_frame) == self.frame:
                return True
            passed = passed.tb_next
        return False


def _place_of(frame: FrameType) -> tuple[int, CodeType]:
    return id(frame), frame.f_code


def _frame_of_processing() -> FrameType:
    """Return the frame of the ``process_images`` that called the hook that called us."""
    frame = sys._getframe(1)
    own = frame.f_code.co_filename
    beyond: FrameType | None = None
    here: FrameType | None = frame
    while here is not None:
        if here.f_code.co_name == "process_images":
            return here
        is_between = here.f_code.co_filename == own or here.f_code.co_name == "before_process"
        if beyond is None and not is_between:
            beyond = here
        here = here.f_back
    return beyond or frame


class _Runs:
    """The runs of this web UI: begun, saved from, through, or failed."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._open: list[_Run] = []
        self._watcher: threading.Thread | None = None
        self._spools: dict[str, Any] = {}

    def begin(self, p: Any) -> None:
        run = _Run(p)
        self._note_failures(patience=0, next_one=run)  # a plot's cell raised, the next begins
        if _is_our_own():
            return
        _listen()
        with self._lock:
            self._open.append(run)
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="safelight", daemon=True)
                self._watcher.start()

    def saved(self, params: Any) -> None:
        run = self._of(params.p)
        if run is not None and _is_result(params, run.p):
            text = str((params.pnginfo or {}).get("parameters") or "")
            batch = int(getattr(run.p, "iteration", 0) or 0)
            run.files.append((os.path.abspath(params.filename), text, params.image, batch))

    def batch_is_drawn(self, p: Any, number: Any) -> None:
        """Note whether a batch was cut short: web UIs forget a skip when the next one begins."""
        run = self._of(p)
        if run is not None and _is_stopped(("interrupted", "skipped")):
            run.cut_short.add(int(number or 0))

    def is_through(self, p: Any, processed: Any) -> None:
        run = self._of(p)
        if run is None:
            return
        with self._lock:
            self._open.remove(run)
        seconds = time.perf_counter() - run.start
        drawn = _drawn(run, processed)
        if run.cut_short or _is_stopped():
            status = "cancelled"
        else:  # SD.Next may go on without a picture
            has_drawn = run.files or getattr(processed, "images", None)
            status = "completed" if has_drawn else "failed"
        texts = drawn.infotexts or _texts_of(processed)[:1]
        self._append(
            run, status=status, seconds=seconds, outputs=drawn.outputs,
            infotexts=texts or None, parameters=None if texts else _parameters(run),
            error=_why(run) if status == "failed" else None, version=_version_in(texts),
            environment=_environment(p),
        )  # fmt: skip

    def raised(self, error: BaseException, is_caught: bool) -> None:
        """Note an error that came out of a run, or that was caught in the one of this thread."""
        text = str(error) or type(error).__name__
        with self._lock:
            for run in reversed(self._open):
                if run.has_raised(error):
                    run.error = text
                elif is_caught and run.thread == threading.get_ident():
                    run.error, run.has_failed, is_caught = text, True, False

    def _of(self, p: Any) -> _Run | None:
        with self._lock:
            return next((run for run in reversed(self._open) if run.p is p), None)

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK_EVERY)
            with contextlib.suppress(Exception):
                self._note_failures(patience=1)  # the web UI records the error a moment later
            with self._lock:
                if not self._open:
                    self._watcher = None
                    return

    def _note_failures(self, patience: int, next_one: _Run | None = None) -> None:
        """Note what ended without a word, or of what ended only what *next_one* follows.

        The error of a call of the API is told a moment later, when another one may have begun.
        """
        with self._lock:
            if next_one is None:
                ended = [run for run in self._open if not run.is_running()]
            else:
                ended = [run for run in self._open if run.frame == next_one.frame
                         or (run.thread == next_one.thread and not run.is_running())]  # fmt: skip
            for run in ended:
                run.is_interrupted = run.is_interrupted or (not run.looks and _is_stopped())
                run.looks += 1
            failed = [run for run in ended if run.looks > patience]
            self._open = [run for run in self._open if run not in failed]
        for run in failed:
            is_cancelled = run.is_interrupted and not run.has_failed
            self._append(
                run, status="cancelled" if is_cancelled else "failed",
                seconds=time.perf_counter() - run.start, infotexts=None,
                outputs=[_named(run, path, batch) for path, _, _, batch in run.files],
                parameters=_parameters(run), version="", environment=_environment_of_failed(run),
                error=None if is_cancelled else _why(run),
            )  # fmt: skip

    def _append(self, run: _Run, *, version: str, **told: Any) -> None:
        folder = _folder(run.p)
        with self._lock:
            spool = self._spools.get(folder)
            if spool is None:
                spool = self._spools[folder] = _spool.Spool(folder, _tool())
        spool.tool_version = version or spool.tool_version
        spool.append(began=run.began, **told)


class _Drawn(NamedTuple):
    """What a run has drawn: files, or pictures where none was saved, and a text for each."""

    outputs: list[Any]
    infotexts: list[str]


def _drawn(run: _Run, processed: Any) -> _Drawn:
    first = int(getattr(processed, "index_of_first_image", 0) or 0)
    images = list(getattr(processed, "images", None) or ())
    if run.files:
        kept = [(_named(run, path, batch), text) for path, text, image, batch in run.files
                if not any(image is grid for grid in images[:first])]  # fmt: skip
        outputs: list[Any] = [output for output, _ in kept]
        texts = [text for _, text in kept]
        return _Drawn(outputs, texts if all(texts) else [])
    pictures = [p for p in images[first:] if hasattr(p, "tobytes") and hasattr(p, "info")]
    texts = _texts_of(processed)[first:]
    if len(texts) != len(pictures):  # masks stand among them, and have no text
        pictures = [picture for picture in pictures if picture.info.get("parameters")]
        texts = [str(picture.info["parameters"]) for picture in pictures]
    together = max(1, int(getattr(run.p, "batch_size", 1) or 1))
    outputs = [_named(run, picture, place // together) for place, picture in enumerate(pictures)]
    return _Drawn(outputs, texts)


def _named(run: _Run, output: Any, batch: int) -> Any:
    """Return a path or a picture as a line names it."""
    if batch not in run.cut_short:
        return output
    return {**_spool._output(output), "cut_short": True}


def _texts_of(processed: Any) -> list[str]:
    return [str(text) for text in getattr(processed, "infotexts", None) or () if text]


def _is_result(params: Any, p: Any) -> bool:
    """Return whether a file that was saved is one that was asked for: no grid, no mask."""
    folder, name = os.path.split(os.path.abspath(params.filename))
    if _IN_BETWEEN.search(os.path.splitext(name)[0]):
        return False
    grids, samples = (getattr(p, f"outpath_{kind}", None) or "" for kind in ("grids", "samples"))
    if grids and os.path.abspath(grids) != os.path.abspath(samples or grids):
        inside = os.path.abspath(grids) + os.sep
        if (folder + os.sep).startswith(inside):
            return False
    return not re.match(r"(xyz_)?grid-", name)


# -- what the web UI knows ---------------------------------------------------------------


def _is_stopped(how: tuple[str, ...] = ("interrupted", "skipped", "stopping_generation")) -> bool:
    """Return whether a user has; ``stopping_generation`` lets the batch be drawn to its end."""
    return any(getattr(shared.state, name, False) for name in how)


def _is_our_own() -> bool:
    progress = sys.modules.get("modules.progress")
    return str(getattr(progress, "current_task", "") or "").startswith(_OUR_OWN)


def _last_reported() -> Any:
    records = getattr(sys.modules.get("modules.errors"), "exception_records", None)
    return records[-1] if isinstance(records, list) and records else None


def _why(run: _Run) -> str:
    of_task = getattr(sys.modules.get("modules_forge.main_thread"), "last_exception", None)
    if isinstance(of_task, BaseException) and run.has_raised(of_task):  # of Forge's page
        return str(of_task) or type(of_task).__name__
    last = _last_reported()
    if not run.error and isinstance(last, dict) and last is not run.reported_before:
        return str(last.get("exception") or "it failed")
    return run.error or "it ended without a picture; the web UI's own log says why"


class _Listener(logging.Handler):
    """Hears of errors that web UIs do not report: of calls of Forge's API, and of SD.Next.

    SD.Next says ``Processing…`` where it catches what a pipeline raised, and goes on.
    """

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(Exception):
            error = (record.exc_info or sys.exc_info())[1]
            if error is not None:
                told = record.getMessage()
                _runs.raised(error, record.name == "sd" and told.startswith("Processing"))


def _listen() -> None:
    """Hear of errors; whoever sets up logging may have taken the listener away."""
    for name in ("uvicorn.error", "sd"):
        log = logging.getLogger(name)
        if _listener not in log.handlers:
            log.addHandler(_listener)


_listener = _Listener(logging.ERROR)


def _parameters(run: _Run) -> dict[str, Any]:
    """Return what was asked of a run that no infotext tells of."""
    p = run.p
    told = {name: getattr(p, name, None) for name in (
        "steps", "sampler_name", "scheduler", "cfg_scale", "width", "height", "batch_size",
        "n_iter", "clip_skip", "tiling", "restore_faces",
    )}  # fmt: skip
    for name, several in (("prompt", "all_prompts"), ("negative_prompt", "all_negative_prompts"),
                          ("seed", "all_seeds")):  # fmt: skip
        value = getattr(p, several, None) or getattr(p, name, None)
        told[name] = value[0] if isinstance(value, (list, tuple)) and value else value
    if told["seed"] == -1:
        told["seed"] = None  # it would have been drawn
    told["model"] = getattr(p, "sd_model_name", None) or getattr(
        _checkpoint_of_failed(run), "model_name", None
    )
    if told["clip_skip"] is None:  # of SD.Next alone it is no setting
        of_all = getattr(shared.opts, "CLIP_stop_at_last_layers", None)
        told["clip_skip"] = run.overrides.get("CLIP_stop_at_last_layers", of_all)
    model = _model()
    if getattr(model, "use_distilled_cfg_scale", False):
        told["distilled_cfg_scale"] = getattr(p, "distilled_cfg_scale", None)
    if getattr(p, "init_images", None):
        told["denoising_strength"] = getattr(p, "denoising_strength", None)
    elif getattr(p, "enable_hr", False):
        told["hires_denoising_strength"] = getattr(p, "denoising_strength", None)
        told["hires_upscaler"] = getattr(p, "hr_upscaler", None)
        told["hires_steps"] = getattr(p, "hr_second_pass_steps", None) or told["steps"]
        sides = {name: getattr(p, name, None) for name in ("hr_resize_x", "hr_resize_y")}
        told.update(sides if any(sides.values()) else {"hires_scale": getattr(p, "hr_scale", None)})
    return {name: value for name, value in told.items() if value not in (None, "")}


def _model() -> Any:
    """Return the model that is loaded; ``shared.sd_model`` would load one."""
    data = getattr(sys.modules.get("modules.sd_models"), "model_data", None)
    return getattr(data, "sd_model", None)


def _checkpoint_of_failed(run: _Run) -> Any:
    """Return what was loaded for a run, unless another one may be by now."""
    info = getattr(_model(), "sd_checkpoint_info", None)
    if hasattr(run.p, "sd_model_hash"):
        is_its_own = run.p.sd_model_hash and run.p.sd_model_hash == getattr(info, "shorthash", None)
    else:  # SD.Next does not say
        is_its_own = "sd_model_checkpoint" not in run.overrides
    return info if is_its_own else None


def _environment_of_failed(run: _Run) -> dict[str, Any]:
    """Return what else changes pixels, of a run whose settings and model may be put back."""
    told = _environment(run.p)
    told.update((name, run.overrides[name]) for name in _SETTINGS if name in run.overrides)
    if _checkpoint_of_failed(run) is None:
        for name in ("model_file", "model_hash", "model_sha256"):
            told.pop(name, None)
    return told


def _environment(p: Any) -> dict[str, Any]:
    told: dict[str, Any] = {"python": sys.version.partition(" ")[0]}
    torch = sys.modules.get("torch")
    if torch is not None:
        told["pytorch"] = str(getattr(torch, "__version__", ""))
        with contextlib.suppress(Exception):
            if torch.cuda.is_initialized():
                told["device"] = torch.cuda.get_device_name()
    info = getattr(_model(), "sd_checkpoint_info", None)
    for name, attribute in (("model_file", "filename"), ("model_hash", "shorthash"),
                            ("model_sha256", "sha256")):  # fmt: skip
        value = getattr(info, attribute, None)
        if isinstance(value, str) and value:
            told[name] = os.path.basename(value) if attribute == "filename" else value
    vae = getattr(p, "sd_vae_name", None)
    if isinstance(vae, str) and vae:
        told["vae"] = vae
    for source, names in ((shared.opts, _SETTINGS), (shared.cmd_opts, _ARGUMENTS)):
        for name in names:
            value = getattr(source, name, None)
            if isinstance(value, (str, int, float, list)) and value not in ("", False, []):
                told[name] = value
    if getattr(p, "clip_skip", None) is not None:  # SD.Next has both, and this one is nothing
        told.pop("CLIP_stop_at_last_layers", None)
    return told


def _version_in(texts: list[str]) -> str:
    found = re.search(r"\bVersion: ([^,\n]+)", texts[0]) if texts else None
    return found.group(1).strip() if found else ""


def _tool() -> str:
    if "modules_forge" in sys.modules:
        return "reforge" if hasattr(shared.opts, "reforge_karras_rho") else "forge"
    return "sdnext" if "modules.scripts_manager" in sys.modules else "a1111"


def _folder(p: Any) -> str:
    named = str(getattr(shared.opts, SETTING, "") or "").strip()
    if named:
        return os.path.abspath(os.path.expanduser(named))
    samples = getattr(p, "outpath_samples", None) or getattr(
        shared.opts, "outdir_txt2img_samples", None
    )
    folder = os.path.abspath(str(samples or "outputs"))
    if os.path.basename(folder) in _OF_ALL_OUTPUTS:
        folder = os.path.dirname(folder)
    return os.path.join(folder, str(_spool.FOLDER))


# -- the web UI's hooks ------------------------------------------------------------------

_runs = _Runs()


class SafelightScript(scripts.Script):  # type: ignore[misc, unused-ignore]
    """Is told of each run; there is nothing to see of it."""

    create_group = False

    def title(self) -> str:
        """Return its name."""
        return "safelight"

    def show(self, is_img2img: bool) -> Any:  # noqa: ARG002
        """Return that it takes part in each run."""
        return scripts.AlwaysVisible

    def ui(self, is_img2img: bool) -> list[Any]:  # noqa: ARG002
        """Return no controls."""
        return []

    @_harmless
    def before_process(self, p: Any, *args: Any) -> None:  # noqa: ARG002
        """Note that a run begins."""
        _runs.begin(p)

    @_harmless
    def postprocess_batch(self, p: Any, *args: Any, **told: Any) -> None:  # noqa: ARG002
        """Note how a batch of pictures was drawn."""
        _runs.batch_is_drawn(p, told.get("batch_number"))

    @_harmless
    def postprocess(self, p: Any, processed: Any, *args: Any) -> None:  # noqa: ARG002
        """Note that it is through."""
        _runs.is_through(p, processed)


@_harmless
def _on_image_saved(params: Any) -> None:
    _runs.saved(params)


@_harmless
def _on_ui_settings() -> None:
    shared.opts.add_option(SETTING, shared.OptionInfo(
        "", "Folder in which safelight's lines lie; empty: .safelight-spool beside the pictures",
        section=("safelight", "safelight"),
    ))  # fmt: skip


script_callbacks.on_image_saved(_on_image_saved)
script_callbacks.on_ui_settings(_on_ui_settings)
