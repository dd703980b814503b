"""What the index of real pictures expects, in this project's terms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from safelight.imports.reading import Reading, as_number, as_whole
from safelight.sampler_names import canonical_name

_PLAIN = {"steps": "steps", "cfg": "cfg_scale", "seed": "seed", "clip_skip": "clip_skip",
          "model": "model", "width": "width", "height": "height", "prompt": "prompt",
          "negative_prompt": "negative_prompt"}  # fmt: skip
_HIRES = {"scale": "hires_scale", "upscaler": "hires_upscaler", "steps": "hires_steps",
          "denoise": "hires_denoising_strength"}  # fmt: skip


def differences(reading: Reading, values: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a reading lacks or says otherwise than expected."""
    knobs = next(iter(reading.config.values()), {})
    if "samplers" in values:
        values = _from_samplers(values)
    if values.get("model") == "Illustrious":  # a family of models; the file is not named
        values = {key: value for key, value in values.items() if key != "model"}
    for key, knob in _PLAIN.items():
        if key in values and not _same(knobs.get(knob), values[key]):
            yield f"{knob}: {knobs.get(knob)!r}, expected {values[key]!r}"
    for key, knob in _HIRES.items():
        if key in values.get("hires", {}) and not _same(knobs.get(knob), values["hires"][key]):
            yield f"{knob}: {knobs.get(knob)!r}, expected {values['hires'][key]!r}"
    for knob in ("sampler", "scheduler"):
        if knob in values:
            named = reading.native.get(knob, knobs.get(knob))
            if values[knob] not in (named, knobs.get(knob)) and (
                canonical_name(knob, str(values[knob])) != knobs.get(knob)
            ):
                yield f"{knob}: {named!r}, expected {values[knob]!r}"
    if "model_hash" in values and values["model_hash"] not in {h for _, h in reading.hashes}:
        yield f"hash: {reading.hashes!r}, expected {values['model_hash']!r}"


def _same(actual: object, expected: object) -> bool:
    if isinstance(expected, str) and isinstance(actual, str):
        return _lines(actual) == _lines(expected)
    exact = as_whole(expected) if as_whole(expected) is not None else as_number(expected)
    return actual == exact


def _lines(text: str) -> list[str]:
    """AUTOMATIC1111 strips every line, other tools none."""
    return [line.strip() for line in text.strip().splitlines()]


def _from_samplers(values: Mapping[str, Any]) -> dict[str, Any]:
    sampler = values["samplers"][0]
    flat = {
        key: sampler["parameters"][key] for key in ("steps", "seed") if key in sampler["parameters"]
    }
    flat["cfg"] = sampler["parameters"].get("cfg_scale")
    flat["sampler"] = sampler["name"]
    if "scheduler" in sampler["parameters"]:
        flat["scheduler"] = sampler["parameters"]["scheduler"]
    flat["model"] = sampler["model"]["name"]
    if sampler["model"]["hash"]:
        flat["model_hash"] = sampler["model"]["hash"]
    flat["prompt"] = " ".join(part["value"] for part in sampler["prompts"])
    if sampler.get("negative_prompts"):
        flat["negative_prompt"] = " ".join(part["value"] for part in sampler["negative_prompts"])
    return flat
