"""RunTraces: what a run does, as OpenTelemetry spans: one for the run, one for each variant.

Where they go is for the usual variables to say (``OTEL_EXPORTER_OTLP_ENDPOINT``, ``..._HEADERS``,
``OTEL_SERVICE_NAME``; https://opentelemetry.io/docs/specs/otel/protocol/exporter/). They are sent
in the background; a collector that is gone costs spans, never pictures.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any, Self

from safelight.errors import ConfigError
from safelight.pipeline import RunProgress, RunResult

__all__ = ["RunTraces"]

_MOST_WAIT = 5_000
"""Milliseconds that the end of a run waits for a collector."""


@dataclass(slots=True)
class _Open:
    """A span that has not ended."""

    span: Any
    stage: str = ""


@dataclass(slots=True)
class _Run:
    """The spans of one run: its own, those of variants at work, and when each worker was free."""

    span: Any
    began: int
    variants: dict[int, _Open] = field(default_factory=dict)
    free: dict[str, int] = field(default_factory=dict)


class RunTraces:
    """Makes the spans; a progress view, and a context manager around runs.

    Raises:
        ConfigError: OpenTelemetry is not installed.
    """

    def __init__(self) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise ConfigError(
                f'--traces needs OpenTelemetry ({error}): pip install "safelight[otel]"'
            ) from error
        name = os.environ.get("OTEL_SERVICE_NAME") or "safelight"
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": name}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("safelight")
        self._runs: dict[str, _Run] = {}
        self._since = time.time_ns()

    def __call__(self, progress: RunProgress) -> None:
        """Take *progress* into the spans."""
        from opentelemetry.trace import Status, StatusCode

        run = self._run(progress.run_id)
        now = time.time_ns()
        open_ = run.variants.get(progress.variant) or self._variant(run, progress)
        if progress.event == "retry":
            open_.span.add_event("retry", {"message": progress.message, "stage": progress.stage})
        elif progress.event == "step":
            if progress.stage != open_.stage:
                open_.stage = progress.stage
                open_.span.add_event("stage", {"stage": progress.stage})
        else:
            if progress.event == "failure":
                description = f"{progress.stage}: {progress.message}"
                open_.span.set_status(Status(StatusCode.ERROR, description))
            open_.span.end(now)
            del run.variants[progress.variant]
            run.free[progress.worker] = now

    def ended(self, result: RunResult) -> None:
        """Close the spans of a run."""
        from opentelemetry.trace import Status, StatusCode

        run = self._run(result.run_id)
        for open_ in run.variants.values():
            open_.span.set_status(Status(StatusCode.ERROR, "the run ended first"))
            open_.span.end()
        for key, value in (
            ("status", result.status), ("pictures", len(result.images)), ("reused", result.reused),
            ("failures", len(result.failures)), ("plan_size", result.plan_size),
            ("part", result.part), ("parts", result.parts),
            ("recording_failures", result.recording_failures),
        ):  # fmt: skip
            run.span.set_attribute(f"safelight.{key}", value)
        if result.status not in ("completed", "partial"):
            run.span.set_status(Status(StatusCode.ERROR, result.error or result.status))
        run.span.end()
        del self._runs[result.run_id]
        self._since = time.time_ns()

    def _run(self, run_id: str) -> _Run:
        run = self._runs.get(run_id)
        if run is None:
            span = self._tracer.start_span(
                "run", start_time=self._since, attributes={"safelight.run_id": run_id}
            )
            run = self._runs[run_id] = _Run(span, self._since)
        return run

    def _variant(self, run: _Run, progress: RunProgress) -> _Open:
        """Begin a variant's span when its worker was done with the one before it."""
        from opentelemetry.trace import set_span_in_context

        attributes = {"safelight.variant": progress.variant - 1}
        named = {"safelight.label": progress.label, "safelight.worker": progress.worker}
        span = self._tracer.start_span(
            "variant",
            context=set_span_in_context(run.span),
            start_time=run.free.get(progress.worker, run.began),
            attributes={**attributes, **{name: value for name, value in named.items() if value}},
        )
        open_ = run.variants[progress.variant] = _Open(span)
        return open_

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        for run in self._runs.values():  # the program was stopped in the middle of them
            for open_ in run.variants.values():
                open_.span.end()
            run.span.end()
        self._provider.force_flush(_MOST_WAIT)
        self._provider.shutdown()
