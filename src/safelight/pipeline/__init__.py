"""The pipeline: a config's plan carried out on one engine."""

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
from safelight.pipeline.journal import recover_interrupted_runs
from safelight.pipeline.picture_saver import RunImage
from safelight.pipeline.pipeline_runner import (
    LearningRecordSink,
    PipelineRunner,
    refuse_unknown_choices,
)
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
