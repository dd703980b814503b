"""The controller: runs in the background, one at a time. Headless."""

from safelight.controller.pipeline_controller import (
    ControllerState,
    PipelineController,
    Runner,
    RunnerFactory,
    RunTicket,
)

__all__ = ["ControllerState", "PipelineController", "RunTicket", "Runner", "RunnerFactory"]
