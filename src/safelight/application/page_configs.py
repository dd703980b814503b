"""PageConfigs: a config that comes from a page, checked for what only this machine's owner may say.

It may name files below a few folders only, and engines of the owner's list or those that need no
address. Everything that it may not is told at once, and nothing of what it is told says whether
there is a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safelight.allowed_files import RULE, AllowedFiles, FilesUnder, is_hub_name
from safelight.application.allowed_folders import NO_FOLDERS, AllowedFolders
from safelight.application.engine_list import NO_ENGINES, EngineList
from safelight.archive_layout import pictures_folder
from safelight.backends import option_kinds
from safelight.config import BackendChoice, PipelineConfig
from safelight.errors import ConfigError, ConfigFault, FileRefused

__all__ = ["PageConfigs"]

_LONGEST_MESSAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PageConfigs:
    """Reads configs that come from the page over one archive.

    Attributes:
        archive: The archive folder.
        allow: Folders below which files may be named, beside the archive's pictures and those
            that the owner has added.
        engines: The owner's list of engines.
        folders: The owner's list of folders.
    """

    archive: Path
    allow: tuple[Path, ...] = ()
    engines: EngineList = NO_ENGINES
    folders: AllowedFolders = NO_FOLDERS

    def files(self, named: tuple[Path, ...] = ()) -> FilesUnder:
        """Return which files may be named by now.

        Args:
            named: What the owner's list names for the engine.

        Raises:
            ConfigError: The list of folders is at fault.
        """
        roots = (pictures_folder(self.archive), *self.allow, *self.folders.read())
        return FilesUnder(tuple(root.absolute() for root in roots), named)

    def shown_files(self) -> FilesUnder:
        """Return the same, without the list of folders when that is at fault."""
        try:
            return self.files()
        except ConfigError:
            return FilesUnder((pictures_folder(self.archive).absolute(),))

    def read(self, data: Mapping[str, Any]) -> PipelineConfig:
        """Check what was sent, and return it as a config.

        Raises:
            ConfigError: It breaks rules, or says what a page may not; all of that is told.
        """
        return self._allowed(PipelineConfig.as_stated(data))

    def going_on(self, data: Mapping[str, Any], folder: Path, run_id: str) -> PipelineConfig:
        """Return the config of a record, to go on with its run.

        Args:
            data: What the record says was stated.
            folder: Where its relative paths start.
            run_id: The run.

        Raises:
            ConfigError: As :meth:`read`, or its engine is not in the owner's list.
        """
        config = PipelineConfig.as_stated(data, folder=folder, continues=run_id)
        return self._allowed(replace(config, backend=self.engines.as_listed(config.backend)))

    def _allowed(self, config: PipelineConfig) -> PipelineConfig:
        faults: list[ConfigFault] = []
        choice: BackendChoice | None = None
        try:
            choice = self.engines.of_page(config.backend)
        except ConfigError as error:
            faults += error.faults
        files = self.files(choice.named if choice is not None else ())
        faults += _file_faults(config, files)
        if choice is not None:
            faults += _option_faults(config.backend, choice, files, config.folder)
        if faults or choice is None:
            raise ConfigError([_short(fault) for fault in faults])
        return replace(config, backend=choice, files=files)


def _short(fault: ConfigFault) -> ConfigFault:
    """Return *fault* without most of a value of any size that may stand in it."""
    if len(fault.message) <= _LONGEST_MESSAGE:
        return fault
    return replace(fault, message=f"… {fault.message[-_LONGEST_MESSAGE:]}")


def _file_faults(config: PipelineConfig, files: AllowedFiles) -> Iterator[ConfigFault]:
    """Yield a fault for every picture, file of prompts and folder that may not be named."""
    prompts = config.randomizer.prompts
    named = [("randomizer.prompts.file", prompts.file)] if prompts is not None else []
    for path, name in (*config.named_pictures(), *named):
        try:
            files.open(name, config.folder).close()
        except FileRefused as error:
            yield ConfigFault(path=path, message=f"{name!r} {error}")
    wildcards = config.randomizer.wildcards_dir
    if wildcards is not None and not _may_be_folder(wildcards, config.folder, files):
        yield ConfigFault(path="randomizer.wildcards_dir", message=f"{wildcards!r} {RULE}")


def _option_faults(
    stated: BackendChoice, choice: BackendChoice, files: AllowedFiles, folder: Path
) -> Iterator[ConfigFault]:
    """Yield a fault for every option that names what it may not; those of the list may."""
    kinds = option_kinds(choice.name)
    for option, value in stated.options.items():
        kind = kinds.get(option)
        is_file = kind == "file" or (kind == "model" and not is_hub_name(str(value)))
        if not is_file or not isinstance(value, str):
            continue
        try:
            if not files.place(value, folder).exists():
                raise FileRefused(RULE)
            if kind == "model":
                files.model(value, folder)
        except (FileRefused, OSError) as error:
            message = str(error) if isinstance(error, FileRefused) else RULE
            yield ConfigFault(path=f"backend.{option}", message=f"{value!r} {message}")


def _may_be_folder(name: str, folder: Path, files: AllowedFiles) -> bool:
    try:
        return files.place(name, folder).is_dir()
    except (FileRefused, OSError):
        return False
