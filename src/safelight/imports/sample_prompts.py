"""sample_prompts: what trainers were told to draw, from the files that lie about their samples.

Each reader returns one table of our knobs (and ``weight``, of the trained LoRA) for each prompt, in
the trainer's order. Files come from anywhere: they are bounded, and what is no such file is empty.

Source: ``line_to_prompt_dict`` and ``load_prompts`` of kohya-ss/sd-scripts; ``SampleConfig`` and
``BaseSDTrainProcess.sample`` of ostris/ai-toolkit; ``SampleConfig`` of Nerogar/OneTrainer.
"""

from __future__ import annotations

import functools
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safelight.durable_file import read_regular_file
from safelight.formats.bounded_json import json_value

__all__ = ["ai_toolkit_prompts", "kohya_prompts", "onetrainer_prompts", "plain_file"]

_LARGEST_FILE = 2**20
_LARGEST_YAML = 2**18
_MOST_PROMPTS = 1000
_KOHYA_FLAGS = {
    "w": "width", "h": "height", "d": "seed", "s": "steps", "l": "cfg_scale", "g": "guidance",
    "n": "negative_prompt", "ss": "sampler",
}  # fmt: skip
_KOHYA_KEYS = {
    "prompt": "prompt", "negative_prompt": "negative_prompt", "width": "width", "height": "height",
    "seed": "seed", "sample_steps": "steps", "scale": "cfg_scale", "guidance_scale": "guidance",
    "sample_sampler": "sampler",
}  # fmt: skip
_ONETRAINER_KEYS = {
    "prompt": "prompt", "negative_prompt": "negative_prompt", "width": "width", "height": "height",
    "diffusion_steps": "steps", "noise_scheduler": "sampler",
}  # fmt: skip


def plain_file(path: Path) -> Any:
    """Return what a ``.json``, ``.toml``, ``.yaml`` or ``.txt`` file says; None for no such file.

    Raises:
        OSError: There is none, it cannot be read or is too large.
    """
    status = os.stat(path)
    return _plain_file(str(path), status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=32)
def _plain_file(path: str, _changed: int, _size: int) -> Any:
    """Read a file once for all the samples that lie beside it."""
    ending = os.path.splitext(path)[1]
    most = _LARGEST_YAML if ending == ".yaml" else _LARGEST_FILE
    text = read_regular_file(path, most=most).decode("utf-8", "replace").removeprefix("\ufeff")
    try:
        if ending == ".toml":
            return tomllib.loads(text)
        if ending == ".yaml":
            return _yaml(text)
    except (ValueError, RecursionError):
        return None
    return json_value(text) if ending == ".json" else text


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError:
        return None
    if "<<" in text:  # merged tables can stand for any number of keys
        return None
    try:
        return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - safe
    except yaml.YAMLError:
        return None


def kohya_prompts(said: object) -> list[dict[str, Any]]:
    """Return the prompts of a text of lines with flags, or of its TOML or JSON form."""
    if isinstance(said, str):
        lines = [line.strip() for line in said.splitlines() if not line.startswith("#")]
        return [_kohya_line(line) for line in lines if line][:_MOST_PROMPTS]
    if isinstance(said, Mapping):
        shared = said.get("prompt")
        shared = dict(shared) if isinstance(shared, Mapping) else {}
        subsets = shared.pop("subset", None)
        said = [{**shared, **one} for one in _tables(subsets)]
    return [_renamed(one, _KOHYA_KEYS) for one in _tables(said)]


def _kohya_line(line: str) -> dict[str, Any]:
    prompt, *flags = line.split(" --")
    knobs: dict[str, Any] = {"prompt": prompt}
    for flag in flags:
        name, _, value = flag.strip().partition(" ")
        if knob := _KOHYA_FLAGS.get(name.lower()):
            knobs[knob] = value.strip()
    return knobs


def ai_toolkit_prompts(process: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the prompts of one process of a job's config."""
    sample = process.get("sample")
    sample = sample if isinstance(sample, Mapping) else {}
    listed = _tables(sample.get("samples"))
    if not listed:
        prompts = sample.get("prompts")
        listed = [{"prompt": one} for one in prompts] if isinstance(prompts, list) else []
    model = process.get("model")
    model = model if isinstance(model, Mapping) else {}
    distilled = bool(model.get("is_flux")) or str(model.get("arch", "")).startswith("flux")
    scale = "guidance" if distilled else "cfg_scale"
    keys = {
        "neg": "negative_prompt", "width": "width", "height": "height", "sampler": "sampler",
        "sample_steps": "steps", "guidance_scale": scale, "network_multiplier": "weight",
    }  # fmt: skip
    found = []
    for number, one in enumerate(listed[:_MOST_PROMPTS]):
        knobs = _renamed({**sample, **one}, keys)
        prompt = _with_trigger(one.get("prompt"), process.get("trigger_word"))
        if prompt is not None and " --" not in prompt:  # flags, which change more than they say
            knobs["prompt"] = prompt
        seed = one.get("seed")
        if seed is None and isinstance(sample.get("seed"), int):
            seed = sample["seed"] + (number if sample.get("walk_seed") else 0)
        if seed != -1:
            knobs["seed"] = seed
        found.append(knobs)
    return found


def _with_trigger(prompt: object, word: object) -> str | None:
    if not isinstance(prompt, str):
        return None
    if isinstance(word, str) and word:
        prompt = prompt.replace("[trigger]", word).replace("[name]", word)
    return prompt


def onetrainer_prompts(samples: object, model_type: str) -> list[dict[str, Any]]:
    """Return the prompts of a list of samples.

    Args:
        samples: As ``samples.json`` or the config of a training has them.
        model_type: What is trained; of some models the scale is the distilled guidance.
    """
    found = []
    for one in _tables(samples):
        knobs = _renamed(one, _ONETRAINER_KEYS)
        if one.get("random_seed") is False:
            knobs["seed"] = one.get("seed")
        if model_type:
            scale = "guidance" if model_type.startswith("FLUX") else "cfg_scale"
            knobs[scale] = one.get("cfg_scale")
        found.append(knobs)
    return found


def _tables(said: object) -> Sequence[Mapping[str, Any]]:
    listed = said if isinstance(said, list) else []
    return [one if isinstance(one, Mapping) else {} for one in listed[:_MOST_PROMPTS]]


def _renamed(said: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, Any]:
    plain = (str, int, float)
    return {knob: said[key] for key, knob in keys.items() if isinstance(said.get(key), plain)}
