"""settings_texts: settings in the words of other tools, to be taken along.

As A1111's text, which its family and Civitai read, as a graph that ComfyUI loads (API format), or
as a config of ours in JSON. What is not known is never filled in silently: a graph has to state
values, and each that was not known is told.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from safelight.application.configs_again import replayable
from safelight.application.picture_settings import (
    PictureSettings,
    read_picture_file,
    settings_in_archive,
)
from safelight.archive import Archive
from safelight.errors import BackendError, ConfigError, RequestError
from safelight.formats.infotext import parameters_text
from safelight.knobs import STAGES
from safelight.lora_tags import split_loras
from safelight.recorded_settings import LORA_TAGS, WORDS

__all__ = [
    "FORMS",
    "Form",
    "Settings",
    "SettingsText",
    "settings_in_file",
    "settings_of_config",
    "settings_told",
    "texts_of_config",
]

Form = Literal["infotext", "comfyui", "json"]
FORMS: tuple[Form, ...] = get_args(Form)
_CALLED: Mapping[Form, str] = {"infotext": "A1111 text", "comfyui": "ComfyUI graph", "json": "JSON"}

_VARIES_NOTHING = {"mode", "templates", "seeds_per_variant", "seed"}
_STATED_BY_A_GRAPH = ("seed", "steps", "cfg_scale", "sampler", "scheduler", "width", "height")
_SUFFIXES = (".toml", ".json")
_TEMPLATE = re.compile(r"[{}]|__")


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsText:
    """Settings as one text.

    Attributes:
        form: One of :data:`FORMS`.
        text: To be copied.
        notes: What does not fit into it, or had to be put there; whole sentences.
    """

    form: Form
    text: str
    notes: tuple[str, ...] = ()

    @property
    def called(self) -> str:
        """What people call it."""
        return _CALLED[self.form]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How one picture was made, or is to be made.

    Attributes:
        stages: Stage -> effective knobs, in the order in which the stages run.
        width: Of the picture in pixels, where it is known.
        height: The same.
    """

    stages: Mapping[str, Mapping[str, Any]]
    width: int | None = None
    height: int | None = None

    def text(self, form: Form) -> SettingsText:
        """Return them in the words of *form*.

        Raises:
            RequestError: Nothing is known, or it cannot be said so.
        """
        if not any(self.stages.values()):
            raise RequestError("nothing is known of how it was made")
        if form == "comfyui":
            return self._graph()
        if form == "json":
            text = json.dumps(replayable(self.stages), ensure_ascii=False, indent=2)
            return SettingsText(form=form, text=text + "\n")
        return SettingsText(form=form, text=parameters_text(self.stages, self.width, self.height))

    def _graph(self) -> SettingsText:
        # Only here: an engine's module takes longer to import than the rest takes to answer.
        from safelight.backends.comfyui.workflows import Loaders, StageWorkflows
        from safelight.pipeline.stages import stage_request

        stages = [stage for stage in STAGES if stage in self.stages]
        if stages[0] != "txt2img":
            raise RequestError(
                f"a graph is made of txt2img, and this began with {stages[0]}, from a picture:"
                " choose another form"
            )
        own = {name: value for name, value in self.stages["txt2img"].items() if value is not None}
        if not own.get("model"):
            raise RequestError("a graph must name a model, and none is known: choose another form")
        loras = [lora.name for lora in split_loras(str(own.get("prompt", "")))[1]]
        workflows = StageWorkflows(Loaders(), lambda _node, _input: loras, _no_upload)
        try:
            graph = workflows.graph(stage_request("txt2img", own, None))
        except (BackendError, ConfigError, TypeError, ValueError) as error:
            raise RequestError(f"ComfyUI's own nodes cannot do this: {error}") from error
        notes = [*graph.warnings, "Models and LoRAs are called as they were where this was drawn;"
                 " choose your files in the loaders where yours are called otherwise."]  # fmt: skip
        if own.get(LORA_TAGS) == WORDS:
            notes.append(
                "Tags of LoRAs were only words where this was drawn; the graph loads them."
            )
        if put := [name for name in _STATED_BY_A_GRAPH if name not in own]:
            notes.append(f"Not known, so ComfyUI's usual value stands there: {', '.join(put)}.")
        if later := stages[1:]:
            notes.append(f"Left out: {', '.join(later)}, which followed.")
        text = json.dumps(graph.nodes, ensure_ascii=False, indent=2)
        return SettingsText(form="comfyui", text=text + "\n", notes=tuple(notes))


def settings_of_config(config: Mapping[str, Any]) -> Settings:
    """Return the settings of a config that draws one picture, such as a preset's.

    Raises:
        RequestError: It varies something, so that it is of several pictures.
    """
    randomizer = config.get("randomizer") or {}
    stages = _stages_in(config)
    lists = any(isinstance(value, list) for own in stages.values() for value in own.values())
    plain = randomizer.get("templates") is False or randomizer.get("mode") == "off"
    prompts = "".join(str(own.get("prompt", "")) for own in stages.values())
    if randomizer.keys() - _VARIES_NOTHING or lists or (not plain and _TEMPLATE.search(prompts)):
        raise RequestError("this config varies what it draws: name a picture of it, or a preset")
    drawn = stages.get("txt2img", {})
    return Settings(stages=stages, width=drawn.get("width"), height=drawn.get("height"))


def texts_of_config(config: Mapping[str, Any]) -> tuple[SettingsText, ...]:
    """Return the settings of a config in each form in which they can be said.

    Raises:
        RequestError: It is of several pictures.
    """
    settings, texts = settings_of_config(config), list[SettingsText]()
    for form in FORMS:
        with suppress(RequestError):  # another form says it
            texts.append(settings.text(form))
    return tuple(texts)


def settings_told(told: PictureSettings) -> Settings:
    """Return the settings of a picture of which this is known."""
    return Settings(stages=_stages_in(told.config), width=told.width, height=told.height)


def settings_in_file(path: Path, archive: Path) -> Settings:
    """Return the settings of a picture's file, or of a config's whose name ends as one's.

    Args:
        path: A picture, or a preset.
        archive: Where the record of the run that made the picture is looked for.

    Raises:
        ImageError: It cannot be read as a picture.
        RequestError: It cannot be read as a config, or is of several pictures.
        OSError: It cannot be read.
    """
    if path.suffix.lower() in _SUFFIXES:
        try:
            text = path.read_text("utf-8")
            is_toml = path.suffix.lower() == ".toml"
            config = tomllib.loads(text) if is_toml else json.loads(text)
        except ValueError as error:
            raise RequestError(f"{path} cannot be read as a config: {error}") from error
        if not isinstance(config, dict):
            raise RequestError(f"{path} must be a config: a table, got {type(config).__name__}")
        return settings_of_config(config)
    told = read_picture_file(path)
    if archive.is_dir():
        told = settings_in_archive(Archive(archive), told.sha256) or told
    return settings_told(told)


def _stages_in(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {str(stage): dict(config[stage]) for stage in STAGES if stage in config}


def _no_upload(_: bytes) -> str:
    raise RequestError("a graph that is copied cannot carry a picture")
