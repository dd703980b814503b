"""The pipeline: a config's plan carried out on one engine.

What is named here is imported when it is asked for: most commands need a part of it only.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from safelight.pipeline.backend import (
        Backend,
        BackendDescription,
        EngineSetup,
        GeneratedImage,
        Generation,
        ImageRequest,
        Img2ImgRequest,
        ListsChoices,
        StepCallback,
        Txt2ImgRequest,
        UpscaleRequest,
        unused_knobs,
    )
    from safelight.pipeline.engine_choices import refuse_unknown_choices
    from safelight.pipeline.journal import recover_interrupted_runs
    from safelight.pipeline.picture_saver import RunImage
    from safelight.pipeline.pipeline_runner import LearningRecordSink, PipelineRunner
    from safelight.pipeline.progress import CancelToken, ProgressCallback, RunProgress
    from safelight.pipeline.run_result import RunFailure, RunResult

__all__ = [
    "Backend",
    "BackendDescription",
    "CancelToken",
    "EngineSetup",
    "GeneratedImage",
    "Generation",
    "ImageRequest",
    "Img2ImgRequest",
    "LearningRecordSink",
    "ListsChoices",
    "PipelineRunner",
    "ProgressCallback",
    "RunFailure",
    "RunImage",
    "RunProgress",
    "RunResult",
    "StepCallback",
    "Txt2ImgRequest",
    "UpscaleRequest",
    "recover_interrupted_runs",
    "refuse_unknown_choices",
    "unused_knobs",
]

_HOMES = {
    "Backend": "backend",
    "BackendDescription": "backend",
    "EngineSetup": "backend",
    "GeneratedImage": "backend",
    "Generation": "backend",
    "ImageRequest": "backend",
    "Img2ImgRequest": "backend",
    "ListsChoices": "backend",
    "StepCallback": "backend",
    "Txt2ImgRequest": "backend",
    "UpscaleRequest": "backend",
    "unused_knobs": "backend",
    "recover_interrupted_runs": "journal",
    "RunImage": "picture_saver",
    "LearningRecordSink": "pipeline_runner",
    "PipelineRunner": "pipeline_runner",
    "CancelToken": "progress",
    "ProgressCallback": "progress",
    "RunProgress": "progress",
    "RunFailure": "run_result",
    "RunResult": "run_result",
    "refuse_unknown_choices": "engine_choices",
}


def __getattr__(name: str) -> Any:
    """Import a name from where it is at home."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"safelight.pipeline.{home}"), name)
