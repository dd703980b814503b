"""Spans of a run arrive at a collector that speaks OTLP; one that does not answer harms nothing."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

CONFIG = """
name = "traced"
[backend]
name = "fake"
fail_on = "storm"
[txt2img]
prompt = "a lighthouse in {fog|storm|sun}"
steps = 3
width = 64
height = 64
[randomizer]
mode = "sequential"
"""


class Collector(ThreadingHTTPServer):
    """Takes what is exported; a real server on a real port."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        super().__init__(("127.0.0.1", 0), _Collect)

    def service_names(self) -> set[str]:
        return {
            attribute.value.string_value
            for request in self.requests
            for resource in request.resource_spans
            for attribute in resource.resource.attributes
            if attribute.key == "service.name"
        }

    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class _Collect(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        import gzip

        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.requests.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def run(tmp_path: Path, endpoint: str, *more: str) -> subprocess.CompletedProcess[str]:
    config = tmp_path / "config.toml"
    config.write_text(CONFIG, "utf-8")
    import os

    return subprocess.run(
        [sys.executable, "-m", "safelight", "run", str(config), "--archive", str(tmp_path / "a"),
         "--traces", *more],
        capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_SERVICE_NAME": "night"},
    )  # fmt: skip


def of(span: Span) -> dict[str, object]:
    """The attributes of a span."""
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes
    }


def test_a_run_and_its_variants_are_spans(tmp_path: Path, collector: Collector) -> None:
    before = time.time_ns()
    done = run(tmp_path, f"http://127.0.0.1:{collector.server_port}")
    assert done.returncode == 3, done.stderr
    assert collector.service_names() == {"night"}
    spans = collector.spans()
    (whole,) = [span for span in spans if span.name == "run"]
    variants = sorted(
        (span for span in spans if span.name == "variant"), key=lambda s: s.start_time_unix_nano
    )
    assert len(spans) == 4
    assert of(whole)["safelight.status"] == "partial"
    assert of(whole)["safelight.pictures"] == 2
    assert of(whole)["safelight.failures"] == 1
    assert {span.parent_span_id for span in variants} == {whole.span_id}
    assert sorted(str(of(span)["safelight.variant"]) for span in variants) == ["0", "1", "2"]
    for span in variants:
        assert before <= whole.start_time_unix_nano <= span.start_time_unix_nano
        assert span.start_time_unix_nano <= span.end_time_unix_nano <= whole.end_time_unix_nano
    (failed,) = [span for span in variants if span.status.code == Status.STATUS_CODE_ERROR]
    assert of(failed)["safelight.variant"] == 1
    assert "txt2img" in failed.status.message


def test_a_collector_that_is_gone_harms_nothing(tmp_path: Path) -> None:
    began = time.monotonic()
    done = run(tmp_path, "http://127.0.0.1:9")
    assert done.returncode == 3, done.stderr
    assert len(list((tmp_path / "a" / "images").rglob("*.png"))) >= 2
    assert "127.0.0.1" in done.stderr, "somebody hears of it"
    assert time.monotonic() - began < 30
