"""prompts_from_file: the prompts of a file, with the knobs of its rows.

The file opens only as :class:`~safelight.allowed_files.AllowedFiles` has it. Its rows are checked
whole, by the rules of a config, and every fault is reported at once; nothing of it is coerced.
Names of pictures in rows start where the file is.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from safelight.config import PipelineConfig
from safelight.errors import ConfigError, ConfigFault, FileRefused
from safelight.knobs import (
    EXTRA,
    FILE_KNOBS,
    KNOBS,
    PLAIN_NUMBER,
    PROMPT_KNOBS,
    Knob,
    did_you_mean,
    knob_fault,
)
from safelight.lora_tags import lora_of
from safelight.randomizer.plan import PromptFileRead
from safelight.randomizer.plan_bounds import LONGEST_PROMPT, MOST_LORAS, MOST_SOURCES
from safelight.randomizer.prompt_formats import FileRow, Findings, rows_of, shown
from safelight.randomizer.prompt_pack import PackPrompt
from safelight.randomizer.sweeps import decided_seed
from safelight.randomizer.wildcard_values import Unreadable, decoded
from safelight.randomizer_config import PromptFile
from safelight.varied_names import (
    extra_fault,
    first_drawing,
    lora_fault,
    meant_by,
    plain_name,
    same_word,
    unmet_needs,
)

__all__ = ["MOST_ROWS", "prompts_from_file"]

MOST_ROWS = 50_000
"""Rows of a file of prompts."""

_LARGEST = 8 * 2**20
"""Bytes of one."""

_LONGEST_NUMBER = 64
_PATH = "randomizer.prompts"
_NOT_OURS: Mapping[str, str] = {
    "n_iter": "; say randomizer.seeds_per_variant instead",
    "tiling": "; put it into the stage's extra, or name it extra.tiling",
    **dict.fromkeys(
        ("styles", "subseed", "subseed_strength", "seed_resize_from_h", "seed_resize_from_w",
         "sampler_index", "restore_faces"),
        "; take it out",
    ),
}  # fmt: skip
"""Options of AUTOMATIC1111's script that change pictures and that no knob stands for."""

_NO_HEAD = ' (one without a head is format = "pack" in a .tsv file)'
_NO_OBJECT = (
    "must be a text, got an object; JSON in a prompt is a text, too: put it into quotes, with a"
    " backslash before each of its own"
)
_OF_FILES = frozenset(
    ("outpath_samples", "outpath_grids", "prompt_for_display", "do_not_save_samples",
     "do_not_save_grid")
)  # fmt: skip
"""Those that change none."""


def prompts_from_file(
    config: PipelineConfig,
    source: PromptFile,
    stated: Sequence[PackPrompt],
    seed: int,
    warnings: list[str],
) -> tuple[list[PackPrompt], PromptFileRead]:
    """Return the prompts of *source*, each row over each of those that are *stated*.

    Args:
        config: The config that names it.
        source: The file.
        stated: The prompts of the config.
        seed: The plan's, for seeds of -1.
        warnings: Where to tell what is not used, or may be meant otherwise.

    Raises:
        ConfigError: The file cannot be read, or it breaks rules; all of them are told.
    """
    content = _content(config, source)
    rows = _Rows(config, source)
    settings = rows.read(_text_of(content, source), len(stated))
    if faults := rows.found.faults():
        raise ConfigError([ConfigFault(path=_PATH, message=each) for each in faults])
    warnings += rows.found.warnings()
    pack = list(_over(stated, settings, config, seed))
    first = f"{first_drawing(config.stages)}.prompt"
    lacking = sum(first not in prompt.texts for prompt in pack)
    if lacking and any(first in row for row in settings):
        warnings.append(
            f"{source.file}: {lacking:,} of {len(settings):,} rows have no prompt, and are drawn"
            " without one"
        )
    return pack, PromptFileRead(
        file=source.file,
        sha256=sha256(content).hexdigest(),
        prompts=len(settings),
        knobs=_names_in(settings),
    )


def _over(
    stated: Sequence[PackPrompt],
    settings: Sequence[Mapping[str, Any]],
    config: PipelineConfig,
    seed: int,
) -> Iterator[PackPrompt]:
    """Yield each of *settings* over each prompt that is *stated*.

    What only some rows set is in the others as the config states it, and every seed is decided.
    """
    usual = {}
    for key in dict.fromkeys(key for row in settings for key in row):
        stage, _, knob = key.partition(".")
        if knob in config.stages[stage] and knob not in ("seed", *PROMPT_KNOBS):  # type: ignore[index]
            usual[key] = config.stages[stage][knob]  # type: ignore[index]
    for place, row in enumerate(settings):
        texts = {key: value for key, value in row.items() if _is_prompt(key)}
        knobs = {key: value for key, value in row.items() if key not in texts}
        for key in knobs:
            if key.endswith(".seed") and key.count(".") == 1:
                knobs[key] = decided_seed(knobs[key], seed, f"{key} of a file", place)
        for prompt in stated:
            yield PackPrompt(texts={**prompt.texts, **texts}, knobs={**usual, **knobs})


def _is_prompt(key: str) -> bool:
    return key.partition(".")[2] in PROMPT_KNOBS


def _names_in(settings: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    names: dict[str, dict[str, None]] = {}
    for row in settings:
        for key, value in row.items():
            knob = KNOBS.get(key.partition(".")[2])
            is_name = knob is not None and knob.means == "name"
            names.setdefault(key, {}).update({value: None} if is_name else {})
    return {key: tuple(values) for key, values in names.items()}


def _content(config: PipelineConfig, source: PromptFile) -> bytes:
    try:
        with config.files.open(source.file, config.folder) as file:
            content = file.read(_LARGEST + 1)
    except FileRefused as error:
        raise _refusal(f"{source.file!r} {error}") from error
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise _refusal(f"{reason}: {config.folder / source.file}") from error
    except ValueError as error:  # a zero byte in its name
        raise _refusal(f"{source.file!r} is no name of a file") from error
    if len(content) > _LARGEST:
        raise _refusal(f"a file of prompts may have {_LARGEST:,} bytes, {source.file} has more;"
                       " split it")  # fmt: skip
    return content


def _text_of(content: bytes, source: PromptFile) -> str:
    try:
        text = decoded(content, Path(source.file))
    except Unreadable as error:
        raise _refusal(str(error)) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise _refusal(
            f"{source.file}, line {line}: a zero byte is no text; save the file as UTF-8"
        )
    return text


def _refusal(message: str) -> ConfigError:
    return ConfigError([ConfigFault(path=f"{_PATH}.file", message=message)])


class _Rows:
    """Reads and checks the rows of one file.

    Attributes:
        found: What is wrong with them, and what is told.
    """

    def __init__(self, config: PipelineConfig, source: PromptFile) -> None:
        self._config, self._source = config, source
        self.found = Findings(source.file)
        self._varied = config.randomizer.varied()
        self._mapped = {same_word(column): key for key, column in source.columns.items()}
        self._keys: dict[str, str | None] = {}
        self._pictures: dict[str, str | None] = {}

    def read(self, text: str, stated: int) -> list[dict[str, Any]]:
        """Return ``stage.knob`` -> value of every row.

        Args:
            text: Of the file.
            stated: How many prompts each row goes over.
        """
        settings: list[dict[str, Any]] = []
        shapes: dict[frozenset[str], int] = {}
        for row in rows_of(text, self._source, self.found):
            if (len(settings) + 1) * stated > MOST_ROWS:
                self.found.fault(row.line, f"a plan may have {MOST_ROWS:,} prompts; split the file")
                break
            settings.append(self._setting(row))
            shapes.setdefault(frozenset(settings[-1]), row.line)
        if not settings and not self.found.faults():
            self.found.fault(0, "has no prompts")
        self._check_columns(stated, set().union(*shapes))
        for keys, line in shapes.items():
            for message in self._shape_faults(keys):
                self.found.fault(line, message)
        return settings

    def _setting(self, row: FileRow) -> dict[str, Any]:
        setting: dict[str, Any] = {}
        for name, cell in row.cells.items():
            if (key := self._key(name, row.line)) is None:
                continue
            value = self._as_its_kind(key, cell)
            if key in setting:
                self.found.fault(row.line, f"sets {key} twice; leave one out", self._called(name))
            elif message := self._value_fault(key, value):
                self.found.fault(row.line, message, self._called(name))
            setting[key] = self._from_here(key, value)
        return setting

    # -- columns -------------------------------------------------------------------------

    def _called(self, name: str) -> str:
        if self._source.format == "lines":
            return "" if name == "prompt" else f"--{name}"
        return "" if self._source.format == "pack" else f"column {shown(name)}"

    def _key(self, name: str, line: int) -> str | None:
        """Return the ``stage.knob`` of a column; None where it has none, which is told once."""
        if name not in self._keys:
            if len(self._keys) == MOST_SOURCES:
                self.found.fault(line, f"a file may have {MOST_SOURCES:,} columns, got another")
                return None
            self._keys[name] = None
            try:
                self._keys[name] = self._meant_by(name)
            except ValueError as error:
                if whole := self._prompt_around(name):
                    self.found.fault(line, _NO_OBJECT, self._called(whole))
                    return None
                is_option = self._source.format == "lines" and name not in _OF_FILES
                note = self.found.fault if is_option else self.found.tell
                note(line if is_option else 0, str(error), self._called(name))
        return self._keys[name]

    def _prompt_around(self, name: str) -> str:
        """Return the prompt that *name*, of no knob, is a part of, as an object of JSON has it."""
        parts = name.split(".") if self._source.format == "jsonl" else []
        for end in range(1, len(parts)):
            whole = ".".join(parts[:end])
            try:
                if _is_prompt(self._meant_by(whole)):
                    return whole
            except ValueError:
                continue
        return ""

    def _meant_by(self, name: str) -> str:
        if key := self._mapped.get(same_word(name)):
            return key
        if self._source.format == "lines" and name in _NOT_OURS:
            raise ValueError(f"has no knob that stands for it{_NOT_OURS[name]}")
        if self._source.format == "lines" and name in _OF_FILES:
            raise ValueError("is not used: safelight says where files go")
        try:
            key = meant_by(name, self._config.stages)
        except ValueError as error:
            told = "" if self._source.format == "lines" else "is not used: it "
            raise ValueError(f"{told}{error}") from None
        if key in self._source.columns:
            other = shown(self._source.columns[key])
            raise ValueError(f"is not used: {_PATH}.columns takes {key} from {other}")
        return key

    def _check_columns(self, stated: int, keys: set[str]) -> None:
        """See that columns that are named are there, and that nothing is said twice."""
        head = self.found.head or tuple(self._keys)
        there = set(map(same_word, head))
        for meant, column in self._source.columns.items():
            if same_word(column) not in there:
                self.found.fault(0, f"has no column {shown(column)}, which {_PATH}.columns names"
                                    f" for {meant}{did_you_mean(column, head)}")  # fmt: skip
        first = first_drawing(self._config.stages)
        varied = {plain_name(key, first) for key in self._varied}
        for name, key in self._keys.items():
            stage, _, knob = (key or "").partition(".")
            if key in varied and key in keys:
                self.found.fault(0, f"{key} is swept, too; leave one of them out",
                                 self._called(name))  # fmt: skip
            elif knob == "prompt" and knob in self._config.stages.get(stage, {}) and key in keys:  # type: ignore[call-overload]
                self.found.fault(0, f"{key} is stated in the config, too; leave one of them out",
                                 self._called(name))  # fmt: skip
            elif stated > 1 and _is_prompt(key or "") and key in keys:
                self.found.fault(0, f"the config has {stated:,} prompts, which cannot go with those"
                                    " of a file one by one; put them into the file")  # fmt: skip
        if self._keys and not any(self._keys.values()) and not self.found.faults():
            some = shown(list(self._keys)[:9])
            self.found.fault(0, "has no column that is a knob; its first row names them, such as"
                                f" prompt or steps{_NO_HEAD}, got {some}")  # fmt: skip
        loras = {key for key in keys if lora_of(key, "")}
        if len(loras) > MOST_LORAS:
            self.found.fault(0, f"may give weights to {MOST_LORAS} LoRAs, got {len(loras):,}")

    def _shape_faults(self, keys: frozenset[str]) -> Iterator[str]:
        """Yield what rules the set of *keys* of a row breaks, whatever their values."""
        stages = self._config.stages
        varied = sorted((*self._varied, *keys))
        for path, needs in unmet_needs(stages, varied):
            yield f"{path} {needs}"
        for key in sorted(keys):
            if message := extra_fault(key, varied, stages):
                yield f"{key} {message}"
        stated = {*self._config.randomizer.always_varied(), *keys}
        for place, (stage, knobs) in enumerate(stages.items()):
            path = f"{stage}.init_image"
            if place == 0 and stage != "txt2img" and not ("init_image" in knobs or path in stated):
                yield f"{path} is missing: {stage} runs first, so it needs an image to start from"
            elif place > 0 and path in keys:
                yield f"{path} has no effect: {stage} starts from the stage before it; leave it out"

    # -- values --------------------------------------------------------------------------

    def _as_its_kind(self, key: str, cell: Any) -> Any:
        """Return a cell as the knob has it; of JSON it is already what it is."""
        if self._source.format == "jsonl":
            return cell
        name = key.partition(".")[2]
        knob = KNOBS.get(name)
        if knob is not None and knob.kind == "text":
            return cell if knob.means == "words" else cell.strip()
        text = cell.strip()
        if len(text) <= _LONGEST_NUMBER and PLAIN_NUMBER.fullmatch(text):
            number = int(text) if text.lstrip("+-").isdigit() else float(text)
            return number if math.isfinite(number) else text
        if name.startswith(EXTRA):
            return {"true": True, "false": False}.get(text, cell)
        return text

    def _value_fault(self, key: str, value: Any) -> str | None:
        if isinstance(value, str) and len(value) > LONGEST_PROMPT:
            return f"a text may have {LONGEST_PROMPT:,} characters, got {len(value):,}"
        if not _can_be_written(value):
            return "a text may have no zero and no half of a character in it"
        knob = KNOBS.get(key.partition(".")[2])
        if knob is not None:
            return knob_fault(knob, value) or self._picture_fault(knob, key, value)
        if lora_of(key, ""):
            return lora_fault(key, value, self._config.stages)
        return None

    def _from_here(self, key: str, value: Any) -> Any:
        """Return *value*, with the name of a picture as one that starts where the config is."""
        is_picture = key.partition(".")[2] in FILE_KNOBS and isinstance(value, str)
        return str(Path(self._source.file).parent / value) if is_picture else value

    def _picture_fault(self, knob: Knob, key: str, value: str) -> str | None:
        """Return why a picture cannot be drawn from, or None; each is looked at once."""
        if knob.means != "file":
            return None
        if value not in self._pictures:
            self._pictures[value] = self._looked_at(self._from_here(key, value))
        return self._pictures[value]

    def _looked_at(self, name: str) -> str | None:
        files, folder = self._config.files, self._config.folder
        try:
            if files.is_confined:
                files.open(name, folder).close()
            elif not os.path.isfile(place := files.place(name, folder)):  # noqa: PTH113 - any length
                return f"no such file, got {str(place)!r}"
        except FileRefused as error:
            return f"{name!r} {error}"
        return None


def _can_be_written(value: Any) -> bool:
    """Return whether records can hold *value*, of JSON: halves of characters have no UTF-8."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text and "\\u0000" not in text
