"""safelight: run text-to-image pipelines headlessly and keep a durable record of what ran.

::

    import safelight

    archive = safelight.open("safelight")
    safelight.run({"txt2img": {"prompt": "a red apple", "steps": 4}}, archive)
    archive.find("apple and steps < 10").pandas()
    archive.effects()

What is named here is imported when it is used: ``import safelight`` itself costs nothing.
"""

from __future__ import annotations

from safelight.version import __version__

TYPE_CHECKING = False  # ``typing`` takes as long as all of Python's own start
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from safelight.application.open_archive import OpenArchive
    from safelight.config import PipelineConfig
    from safelight.pipeline import RunResult
    from safelight.spool import autolog as autolog
    from safelight.spool import observe as observe
    from safelight.spool import record as record

__all__ = ["__version__", "autolog", "observe", "open", "record", "run"]

_OF_THE_SPOOL = ("autolog", "observe", "record")


def __getattr__(name: str) -> Any:
    """Return what notes the calls of diffusers' pipelines, which is read when it is asked for."""
    if name in _OF_THE_SPOOL:
        from safelight import spool

        return getattr(spool, name)
    raise AttributeError(f"module 'safelight' has no attribute {name!r}")


def open(path: Path | str) -> OpenArchive:  # noqa: A001 - as one opens a file
    """Return the archive in the folder *path*, which is made when something is written."""
    from safelight.application.open_archive import OpenArchive

    return OpenArchive(path)


def run(
    config: PipelineConfig | Mapping[str, Any] | Path | str,
    archive: OpenArchive | Path | str,
    **settings: Any,
) -> RunResult:
    """Draw what *config* asks for into *archive*, as ``safelight run`` does.

    Args:
        config: A file, a mapping such as ``{"txt2img": {"prompt": "a cat"}}``, or a checked config.
        archive: Where pictures and records go: an opened archive, or its folder.
        **settings: Those of :func:`.application.open_archive.run`: ``seed``, ``again``,
            ``strict``, ``cancel`` and ``on_progress``.

    Raises:
        ConfigError: The config is at fault; all of it is told.
        SafelightError: The run could not begin.
    """
    import os

    from safelight.application import open_archive
    from safelight.application.engine_list import EngineList
    from safelight.machine_folders import configuration_folder

    engines = EngineList(configuration_folder())
    return open_archive.run(config, archive, os.environ, engines=engines, **settings)
