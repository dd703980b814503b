"""Sample pictures that trainers draw while they train: kohya's scripts, ai-toolkit, OneTrainer.

They hold no text. Their names tell step or epoch, which prompt it was, and kohya's the seed; what
the prompt is stands in a file beside, which may have been changed since. So it is asked whether
it fits: to the seed and the size, to the name of OneTrainer's folder, and to the times of both
files as long as they were not copied. What does not fit is not read.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safelight.formats.safetensors_header import safetensors_metadata
from safelight.imports.reading import Draft, as_number, as_whole
from safelight.imports.sample_prompts import (
    ai_toolkit_prompts,
    kohya_prompts,
    onetrainer_prompts,
    plain_file,
)

__all__ = ["read_training_sample"]

_PICTURE = r"\.(?:png|jpe?g|webp)"
_KOHYA = re.compile(
    r"(?:(?P<model>.+)_)?(?:e(?P<epoch>\d{6})|(?P<step>\d{6,9}))_(?P<number>\d{2,4})"
    rf"_(?P<time>\d{{14}})(?:_(?P<seed>\d{{1,20}}))?{_PICTURE}", re.IGNORECASE,
)  # fmt: skip
_AI_TOOLKIT = re.compile(
    rf"(?P<time>\d{{13}})__(?P<step>\d{{9}})_(?P<number>\d{{1,4}}){_PICTURE}", re.IGNORECASE
)
_ONETRAINER = re.compile(
    r".*?(?P<time>\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)-training-sample-(?P<step>\d{1,9})-(?P<epoch>\d{1,6})"
    rf"-\d{{1,9}}{_PICTURE}", re.IGNORECASE,
)  # fmt: skip
_ONETRAINER_FOLDER = re.compile(r"(?P<number>\d{1,4}) - (?P<prompt>.*?)(?P<ema> - no-ema)?")
_PROMPT_FILES = tuple(
    stem + ending
    for stem in ("sample_prompts", "sample_prompt", "prompts", "prompt")
    for ending in (".txt", ".toml", ".json")
)
_TIMES_KEPT = 26 * 3600
"""Seconds between what a name says, in any time zone, and when its file was written; a copy, which
may have times of its own, is further away."""

_ROUNDED = 64
"""Pixels by which trainers make what they were told smaller."""

_MOST_WEIGHTS = 64
_ABOUT_WEIGHTS = {
    "ss_network_dim": "Network dim", "ss_network_alpha": "Network alpha",
    "ss_base_model_version": "Base model version", "ss_num_epochs": "Planned epochs",
    "ss_max_train_steps": "Planned steps",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Sample:
    """A sample picture: its name's parts, and whether texts in it say how it was drawn."""

    path: Path
    name: Mapping[str, str]
    size: tuple[int, int]
    has_texts: bool

    @property
    def number(self) -> int:
        return int(self.name["number"])

    def changed_since(self, beside: Path) -> bool:
        """Return whether *beside* was written after the picture, as far as times were kept."""
        drawn, written = self.path.stat().st_mtime, beside.stat().st_mtime
        told = _moment(self.name["time"])
        return told is not None and abs(told - drawn) < _TIMES_KEPT and written > drawn + 60


def read_training_sample(draft: Draft, path: Path, size: tuple[int, int]) -> None:
    """Read a picture into *draft* when its name is a trainer's; what texts said of it stays.

    Args:
        draft: With what was read so far.
        path: Of the picture.
        size: Width and height in pixels.
    """
    for tool, pattern, read in _TOOLS:
        match = pattern.fullmatch(path.name)
        if match is None or _moment(match["time"]) is None:
            continue
        told = {key: value for key, value in match.groupdict().items() if value is not None}
        sample = _Sample(path, told, size, has_texts=bool(draft.knobs))
        try:
            read(draft, sample)
        except OSError as error:
            draft.warnings.append(f"files beside it cannot be read: {error.strerror or error}")
        if not sample.has_texts:
            draft.read("width", size[0])
            draft.read("height", size[1])
        draft.generator = draft.generator or tool
        return


def _moment(text: str) -> float | None:
    """Return the time in a name, of whichever zone, in seconds since 1970; None when it is none."""
    if len(text) == 13:
        return int(text) / 1000
    form = "%Y%m%d%H%M%S" if text.isdigit() else "%Y-%m-%d_%H-%M-%S"
    try:
        return datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _read_kohya(draft: Draft, sample: _Sample) -> None:
    name = sample.name
    if "epoch" in name:
        draft.also("Training epoch", int(name["epoch"]))
    else:
        draft.also("Training step", int(name["step"]))
    model = name.get("model", "")
    folders = (sample.path.parent, sample.path.parent.parent)
    is_lora = bool(model) and _read_weights(draft, sample, folders)
    _name_model(draft, model, 1.0 if is_lora else None)
    if sample.has_texts:
        return
    draft.read("seed", name.get("seed"))
    fitting, odd = [], []
    for file in (folder / one for folder in folders for one in _PROMPT_FILES):
        if not file.is_file():
            continue
        prompts = kohya_prompts(plain_file(file))
        said = prompts[sample.number] if sample.number < len(prompts) else {}
        seed = as_whole(said.get("seed"))
        if fault := _misfit(sample, said, file, certain=seed is not None):
            odd.append(fault)
        elif seed != as_whole(name.get("seed")):
            odd.append(f"{file.name} says another seed")
        else:
            fitting.append(said)
    if fitting and all(one == fitting[0] for one in fitting):
        _take(draft, fitting[0])
    else:
        _leave(draft, sample, odd + ["the files beside it say different ones"][: len(fitting)])


def _read_ai_toolkit(draft: Draft, sample: _Sample) -> None:
    draft.also("Training step", int(sample.name["step"]))
    folder = sample.path.parent
    folder = folder.parent if folder.name == "samples" else folder
    for file in (folder / "config.yaml", folder / ".job_config.json"):
        config = _table(_table(plain_file(file)).get("config")) if file.is_file() else {}
        listed = config.get("process")
        for process in listed if isinstance(listed, list) else ():
            if not isinstance(process, Mapping) or "sample" not in process:
                continue
            prompts = ai_toolkit_prompts(process)
            said = prompts[sample.number] if sample.number < len(prompts) else {}
            weight = as_number(said.pop("weight", 1.0))
            _read_job(draft, sample, process, str(config.get("name") or ""), weight)
            if sample.has_texts:
                return
            if fault := _misfit(sample, said, file, certain=False):
                _leave(draft, sample, [fault])
            else:
                _take(draft, said)
            return
    _leave(draft, sample, [])


def _read_job(
    draft: Draft, sample: _Sample, process: Mapping[str, Any], name: str, weight: float | None
) -> None:
    network = _table(process.get("network"))
    if network.get("type"):
        _read_base(draft, sample, _table(process.get("model")).get("name_or_path"))
        draft.also("Network dim", as_whole(network.get("linear", network.get("rank"))))
        draft.also("Network alpha", as_number(network.get("linear_alpha")))
    _name_model(draft, name, weight if network.get("type") else None)


def _read_base(draft: Draft, sample: _Sample, name: object) -> None:
    """Read what a LoRA was trained on, and drawn with."""
    if isinstance(name, str) and name not in ("", "None") and not sample.has_texts:
        draft.read("model", name)


def _read_onetrainer(draft: Draft, sample: _Sample) -> None:
    draft.also("Training step", int(sample.name["step"]))
    draft.also("Epoch of training step", int(sample.name["epoch"]))
    folder = _ONETRAINER_FOLDER.fullmatch(sample.path.parent.name)
    if folder is None:
        return
    if folder["ema"]:
        draft.also("EMA", "no")
    workspace = sample.path.parent.parent.parent
    config = _onetrainer_config(workspace / "config", sample.name["time"])
    lora = config.get("training_method") == "LORA"
    if lora:
        _read_base(draft, sample, config.get("base_model_name"))
        draft.also("Network dim", as_whole(config.get("lora_rank")))
        draft.also("Network alpha", as_number(config.get("lora_alpha")))
    _name_model(draft, Path(str(config.get("output_model_destination") or "")).stem,
                1.0 if lora else None)  # fmt: skip
    if sample.has_texts:
        return
    samples: Any = config.get("samples")
    for file in (workspace / "samples.json", workspace / "samples" / "samples.json"):
        if samples is None and file.is_file():
            samples = plain_file(file)
    prompts = onetrainer_prompts(samples, str(config.get("model_type") or ""))
    number = int(folder["number"])
    said = prompts[number] if number < len(prompts) else {}
    if said and _safe_name(str(said.get("prompt", ""))) == folder["prompt"]:
        _take(draft, said)
    else:
        draft.also("Sample prompt", sample.path.parent.name)


def _onetrainer_config(folder: Path, drawn: str) -> Mapping[str, Any]:
    """Return the config of the training that had begun last when a sample was drawn."""
    begun: list[tuple[str, Path]] = []
    for file in folder.glob("*.json") if folder.is_dir() else ():
        match = re.search(r"(\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)\.json$", file.name)
        if match and match[1] <= drawn:
            begun.append((match[1], file))
    return _table(plain_file(max(begun)[1])) if begun else {}


def _safe_name(prompt: str) -> str:
    """Return *prompt* as OneTrainer names folders."""
    kept = "".join(sign for sign in prompt if sign.isalnum() or sign in " ._-#")
    return kept.strip()[:32].strip()


def _misfit(sample: _Sample, said: Mapping[str, Any], file: Path, *, certain: bool) -> str:
    """Return why what *file* says is not certain to be what the sample was drawn from."""
    if not said:
        return f"{file.name} has no prompt number {sample.number}"
    for side, actual in zip(("width", "height"), sample.size, strict=True):
        told = as_whole(said.get(side))
        if told is not None and not 0 <= told - actual < _ROUNDED:
            return f"{file.name} says a {side} of {told}, and it has {actual}"
    if not certain and sample.changed_since(file):
        return f"{file.name} was written after the picture"
    return ""


def _take(draft: Draft, said: Mapping[str, Any]) -> None:
    for knob, value in said.items():
        if knob not in ("width", "height"):
            draft.read(knob, value)
    if "prompt" in draft.knobs:
        draft.default("negative_prompt", "")


def _leave(draft: Draft, sample: _Sample, reasons: list[str]) -> None:
    """Keep which prompt it was, where the prompt itself is not certain."""
    draft.also("Sample prompt", sample.number)
    if reasons:
        draft.warnings.append(f"the prompt is not certain: {'; '.join(reasons)}")


def _name_model(draft: Draft, name: str, weight: float | None) -> None:
    """Say what was trained: a LoRA and its weight, or what is known by name only."""
    if name and weight is not None:
        draft.add_lora(name, weight)
    else:
        draft.also("Trained model", name)


def _read_weights(draft: Draft, sample: _Sample, folders: tuple[Path, ...]) -> bool:
    """Read what all weights saved beside agree in; return whether they are a LoRA's."""
    name = sample.name["model"]
    headers = [
        header
        for path, changed, size in _weights(name, folders)
        if (header := _metadata(path, changed, size)).get("ss_output_name") == name
    ]
    if not headers:
        return False
    same = {key: v for key, v in headers[0].items() if all(h.get(key) == v for h in headers)}
    is_lora = bool(same.get("ss_network_module")) and same["ss_network_module"] != "None"
    if is_lora:
        _read_base(draft, sample, same.get("ss_sd_model_name"))
    for key, called in _ABOUT_WEIGHTS.items():
        if same.get(key) not in (None, "None"):
            draft.also(called, same[key])
    return is_lora


@functools.lru_cache(maxsize=2 * _MOST_WEIGHTS)
def _metadata(path: str, _changed: int, _size: int) -> Mapping[str, str]:
    """Read a header once for all the samples that lie beside it."""
    return safetensors_metadata(path)


def _weights(name: str, folders: tuple[Path, ...]) -> Iterator[tuple[str, int, int]]:
    found = 0
    for folder in folders:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(name) and entry.name.endswith(".safetensors"):
                    found += 1
                    status = entry.stat()
                    yield entry.path, status.st_mtime_ns, status.st_size
                if found == _MOST_WEIGHTS:
                    return


def _table(said: object) -> Mapping[str, Any]:
    return said if isinstance(said, Mapping) else {}


_TOOLS: tuple[tuple[str, re.Pattern[str], Callable[[Draft, _Sample], None]], ...] = (
    ("kohya", _KOHYA, _read_kohya),
    ("ai-toolkit", _AI_TOOLKIT, _read_ai_toolkit),
    ("onetrainer", _ONETRAINER, _read_onetrainer),
)
