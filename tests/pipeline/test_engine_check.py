"""The doctor asks an engine everything, and tells what it saw."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from safelight.backends.fake import FakeBackend
from safelight.errors import BackendUnavailable, GenerationCancelled
from safelight.pipeline.backend import (
    BackendDescription,
    Generation,
    ImageRequest,
    StepCallback,
    Txt2ImgRequest,
    UpscaleRequest,
)
from safelight.pipeline.engine_check import check_engine


def verdicts(backend: Any) -> dict[str, str]:
    return {finding.question: finding.verdict for finding in check_engine(backend)}


def test_a_whole_engine_passes() -> None:
    """Every question is answered by the engine that does everything."""
    answers = verdicts(FakeBackend())
    assert set(answers.values()) == {"works"}
    assert len(answers) == 15


class Sloppy(FakeBackend):
    """Does what real servers were seen to do."""

    def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
        if isinstance(request, UpscaleRequest):
            raise RuntimeError("html_info is None")
        if isinstance(request, Txt2ImgRequest) and request.sampler:
            return super().generate(Txt2ImgRequest(prompt="x", width=64, height=64), _deaf)
        return super().generate(request, _deaf)


def _deaf(*_step: object, **_more: object) -> None:
    pass


def test_what_fails_is_told_and_the_rest_is_asked_all_the_same() -> None:
    """A sampler that does not exist, an upscaler that crashes, a stop that nobody hears."""

    class Renamed(Sloppy):
        choices = None  # type: ignore[assignment]

    answers = verdicts(Renamed())
    assert answers["upscale"] == "fails"
    assert answers["stop"] == "fails"
    assert answers["txt2img"] == "works"


def test_a_substitution_is_seen() -> None:
    """Replacing an unknown sampler is worse than refusing it, and better than hiding it."""
    answers = verdicts(FakeBackend(substitute={"sampler": "DPM++ 2M"}))
    assert answers["unknown names"] == "works", "it refuses before it substitutes"


@pytest.mark.parametrize("answers", [False, True])
def test_an_engine_that_is_gone_is_asked_nothing_more(answers: bool) -> None:
    """One clear line, not eleven."""

    class Gone(FakeBackend):
        def describe(self) -> BackendDescription:
            if not answers:
                raise BackendUnavailable("nobody there")
            return super().describe()

        def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
            raise BackendUnavailable("nobody there")

    findings = list(check_engine(Gone()))
    assert findings[-1].verdict == "fails"
    assert findings[-1].message == "nobody there"
    assert len(findings) == (3 if answers else 1)


def test_a_stop_is_obeyed_and_the_next_picture_drawn() -> None:
    """The question is whether the engine lives on."""

    class Dies(FakeBackend):
        stopped = False

        def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
            if self.stopped:
                raise RuntimeError("still interrupted")
            try:
                return super().generate(request, on_step)
            except GenerationCancelled:
                self.stopped = True
                raise

    findings = {finding.question: finding for finding in check_engine(Dies())}
    assert findings["stop"].verdict == "fails"
    assert "still interrupted" in findings["stop"].message


class Cached(FakeBackend):
    """Hands out what it drew last; its LoRA fits nothing, its guidance is ignored."""

    def loras(self) -> list[str]:
        return ["ink"]

    def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
        if isinstance(request, Txt2ImgRequest):
            plain = request.prompt.replace(" <lora:ink:1>", "")
            request = replace(request, prompt=plain, cfg_scale=None)
        for _ in range(3):
            on_step(0, 4)  # a sign of life is no step
        return super().generate(request, on_step)


def test_what_has_no_effect_is_told() -> None:
    """Pixels are compared: what an engine says of itself is not enough."""
    findings = {finding.question: finding for finding in check_engine(Cached())}
    assert findings["LoRA"].verdict == "differs"
    assert "changes no pixel" in findings["LoRA"].message
    assert findings["cfg scale"].verdict == "differs"
    assert "the same pixels" in findings["cfg scale"].message
    assert findings["txt2img"].message.startswith("4 steps were told")


def test_a_server_that_names_a_sampler_otherwise_is_told() -> None:
    findings = {f.question: f for f in check_engine(FakeBackend(substitute={"sampler": "euler_a"}))}
    assert findings["sampler"].verdict == "differs"
    assert "it used 'euler_a'" in findings["sampler"].message
