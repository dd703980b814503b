"""first_steps: what this machine has that a newcomer would begin with, and a first config for it.

Only this machine is asked, at the ports that AUTOMATIC1111, Forge and ComfyUI listen at by
themselves; of folders only names and counts are told, and no picture is opened.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from safelight.application.engine_at import engine_at
from safelight.application.engine_list import EngineList, ListedEngine
from safelight.application.picture_folders import count_pictures, usual_folders
from safelight.backends import opened_backend
from safelight.errors import (
    BackendError,
    BackendLoginRefused,
    BackendUnavailable,
    RequestError,
    SafelightError,
)
from safelight.pipeline.backend import ListsChoices

__all__ = ["ASKED_PORTS", "FoundEngine", "FoundFolder", "NextCommand", "find_engines",
           "find_folders", "first_config", "keep_engine", "next_commands"]  # fmt: skip

ASKED_PORTS = (7860, 7861, 8188, 8000)
"""Of AUTOMATIC1111 and Forge, then of ComfyUI and of its desktop program."""

_LOOPBACK = "127.0.0.1"
_KNOCK, _PATIENCE = 0.5, 3.0
"""Seconds until somebody must have opened the door, and have answered a question."""

_OF_ANYBODY = frozenset(("Pictures", "Pictures in OneDrive", "Downloads"))
_MOST_MODELS = 5
_SMALL = ("", "SD 1.5", "SD 2")
_SLOW = (
    "That engine draws on the processor, without a graphics card: few steps of small pictures, so",
    "that eight take minutes instead of an hour. With a card: steps [12, 24], and these sizes.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundEngine:
    """Who listens at a port of this machine.

    Attributes:
        url: Where.
        backend: Which engine it is; empty where it is none that is known.
        told: Why it is none, in a sentence; empty where it is one.
        models: That it has.
        on_processor: Whether it says that it draws without a graphics card.
    """

    url: str
    backend: str = ""
    told: str = ""
    models: tuple[str, ...] = ()
    on_processor: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFolder:
    """A folder that may have pictures.

    Attributes:
        name: The tool that keeps its pictures there, or what the folder is called.
        path: Where.
        pictures: How many are in it; None where nobody counted.
        is_whole: Whether all were counted; otherwise there are more.
        is_of_tool: Whether what lies there was surely made by a tool, and is no photo.
    """

    name: str
    path: Path
    pictures: int | None = None
    is_whole: bool = True
    is_of_tool: bool = True


class NextCommand(NamedTuple):
    """What to type next, without the program's name, and what for."""

    words: str
    why: str
    takes_archive: bool = True


def find_engines(ports: Sequence[int] = ASKED_PORTS) -> tuple[FoundEngine, ...]:
    """Return who listens at *ports* of this machine; ports where nobody does are left out."""
    with ThreadPoolExecutor(max(len(ports), 1)) as pool:
        return tuple(one for one in pool.map(_at_port, ports) if one is not None)


def _at_port(port: int) -> FoundEngine | None:
    try:
        socket.create_connection((_LOOPBACK, port), timeout=_KNOCK).close()
    except OSError:
        return None
    url = f"http://{_LOOPBACK}:{port}"
    try:
        backend = engine_at(url, {}, patience=_PATIENCE)
    except BackendUnavailable:
        return FoundEngine(url=url, told="listens and does not answer in time")
    except BackendLoginRefused:
        told = "wants a login: put user and password into your list of engines (docs/backends.md)"
        return FoundEngine(url=url, told=told)
    except BackendError:
        told = "is no engine that is known; A1111 and Forge answer when started with --api"
        return FoundEngine(url=url, told=told)
    try:
        return _asked(url, backend)
    except SafelightError as error:
        if backend == "openai-images":  # servers of language models answer so, too
            told = f"may draw or only write texts, and is not taken unasked: {error}"
            return FoundEngine(url=url, told=told)
    return FoundEngine(url=url, backend=backend)


def _asked(url: str, backend: str) -> FoundEngine:
    """Return what an engine has.

    Raises:
        SafelightError: It does not say.
    """
    with opened_backend(backend, {"url": url}) as engine:
        models = engine.choices().get("model", ()) if isinstance(engine, ListsChoices) else ()
        device = engine.describe().environment.get("device")
    return FoundEngine(url=url, backend=backend, models=tuple(models), on_processor=device == "cpu")


def keep_engine(engines: EngineList, url: str, backend: str) -> ListedEngine:
    """Return the engine of the list that is at *url*, put there under a free name if it is new.

    Raises:
        ConfigError: The list is at fault.
        StorageError: It cannot be written.
    """
    there = engines.at(url, backend)
    if there is not None:
        return there
    taken = engines.read()
    names = (f"my-{backend}{'' if n == 1 else f'-{n}'}" for n in itertools.count(1))
    return engines.add(next(name for name in names if name not in taken), url, backend)


def find_folders(
    home: Path, environ: Mapping[str, str], archive: Path, *, counts: bool
) -> tuple[FoundFolder, ...]:
    """Return the folders of known tools on this machine, then those of everybody's pictures.

    Args:
        home: The user's.
        environ: The environment, where systems and tools say where their folders are.
        archive: Not entered.
        counts: Whether to count, which takes some seconds at most for each; folders without a
            picture are left out then.
    """
    found = []
    for one in usual_folders(home, environ):
        told = FoundFolder(name=one.name, path=one.path, is_of_tool=one.name not in _OF_ANYBODY)
        if counts:
            try:
                count = count_pictures(one.path, archive)
            except RequestError:
                continue
            if not count.pictures:
                continue
            told = FoundFolder(
                name=one.name, path=one.path, is_of_tool=told.is_of_tool,
                pictures=count.pictures, is_whole=count.is_whole,
            )  # fmt: skip
        found.append(told)
    return tuple(found)


def first_config(
    engine: ListedEngine | None, models: Sequence[str], *, on_processor: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """Return a first config and the comments at its top: eight pictures that tell something.

    Args:
        engine: Which is to draw; None for the model in the box.
        models: That it has.
        on_processor: Whether it is slow, being without a graphics card.
    """
    comments = [
        "A first config: two prompts, two numbers of steps, two seeds each; 8 pictures.",
        "  safelight plan safelight.toml     what it would draw",
        "  safelight run safelight.toml      draw it",
        "  safelight learn safelight.toml --knob cfg_scale=2,4,8   find out what a setting does",
        "{a|b} in the prompt is a choice; [randomizer.sweep] takes any setting.",
    ]
    stage: dict[str, Any] = {"prompt": "{red apple|rocket}", "cfg_scale": 3}
    config: dict[str, Any] = {"name": "first pictures"}
    if engine is not None:
        stage = {"prompt": "{a lighthouse at dawn|a robot in a garden}", "cfg_scale": 6}
        config["backend"] = engine.name
        comments += _SLOW if on_processor else ()
        comments.append("Sizes: 512 for SD 1.5, 1024 for SDXL and what came after it.")
        if models and engine.backend == "comfyui":  # a web UI has one loaded, which is meant
            stage |= {"model": models[0]} | _size(models[0], on_processor=on_processor)
            others = ", ".join(models[1:_MOST_MODELS])
            more = f" and {len(models) - _MOST_MODELS:,} more" if len(models) > _MOST_MODELS else ""
            if others:
                comments.append(f"Other models there: {others}{more}")
        elif on_processor:
            stage |= _size("", on_processor=True)
    config["txt2img"] = {**stage, "seed": 1}
    steps = [4, 12] if engine is None else [6, 12] if on_processor else [12, 24]
    config["randomizer"] = {
        "mode": "fanout", "seeds_per_variant": 2,
        "sweep": {"txt2img.steps": steps},
    }  # fmt: skip
    return config, comments


def _size(model: str, *, on_processor: bool) -> dict[str, int]:
    from safelight.archive.model_families import family_of_model

    side = 512 if family_of_model(model) in _SMALL else 1024
    if on_processor:  # the least that a model draws anything recognizable at
        side = 384 if side == 512 else 512
    return {"width": side, "height": side}


def next_commands(
    *, imported: bool, engine: str | None, folder: str | None, config: str
) -> list[NextCommand]:
    """Return three commands for what there is.

    Args:
        imported: Whether pictures were taken in.
        engine: The name of one; None where there is none.
        folder: One with pictures that were not taken in, as it is typed; None where there is none.
        config: The first config, as it is typed.
    """
    look = NextCommand("serve --open", "find, compare and rate them in a local page")
    effects = NextCommand("effects", "what each setting does to ratings, and how sure that is")
    draw = NextCommand(f"run {config}", "draw 8 pictures, and record what ran")
    if imported:
        rate = NextCommand("rate --next", "rate what teaches most, settings hidden")
        return [look, rate if engine is None else draw, effects]
    if engine is not None:
        ask = NextCommand(f"doctor {engine}", "find out what works there", takes_archive=False)
        return [ask, draw, look]
    if folder is not None:
        return [NextCommand(f"import {folder}", "take these pictures in"), look, effects]
    return [NextCommand("demo", "see in a minute what this is", takes_archive=False), draw, look]
