"""What the pack sees of a ComfyUI: modules in ``sys.modules``, and a queue.

It replays what ComfyUI was recorded to call (tests/data/comfyui_calls).
"""

from __future__ import annotations

import copy
import json
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

__all__ = ["ComfyuiStandIn", "recorded"]

_CALLS = Path(__file__).resolve().parents[1] / "data" / "comfyui_calls" / "calls.json"
_ExecutionStatus = namedtuple("_ExecutionStatus", "status_str completed messages")


def recorded() -> dict[str, dict[str, Any]]:
    """Return what was recorded: case -> item, result and status of the queue, in order."""
    prompts: list[dict[str, Any]] = json.loads(_CALLS.read_text())["prompts"]
    return {prompt["case"]: prompt for prompt in prompts}


class Queue:
    """As ``execution.PromptQueue``: what runs, and a history of what ran."""

    def __init__(self) -> None:
        self.currently_running: dict[int, Any] = {}
        self.history: dict[str, Any] = {}

    def task_done(
        self,
        item_id: int,
        history_result: dict[str, Any],
        status: Any,
        process_item: Callable[[Any], Any] | None = None,
    ) -> str:
        item = self.currently_running.pop(item_id)
        if process_item is not None:
            item = process_item(item)
        self.history[item[1]] = {
            "prompt": item, "outputs": {}, "status": copy.deepcopy(status._asdict()),
            **history_result,
        }  # fmt: skip
        return "its own answer"


class ComfyuiStandIn:
    """Stands in for a ComfyUI until the test ends.

    Attributes:
        queue: Of its server.
        providers: What registered for the hook, for which ComfyUI hashes the key of every node.
    """

    def __init__(self, patch: pytest.MonkeyPatch, base: Path) -> None:
        self.queue = Queue()
        self.providers: list[Any] = []
        self._items = 0
        server = ModuleType("server")
        server.PromptServer = type("PromptServer", (), {"instance": self})  # type: ignore[attr-defined]
        folders = ModuleType("folder_paths")
        folders.get_directory_by_type = lambda kind: str(base / kind)  # type: ignore[attr-defined]
        version = ModuleType("comfyui_version")
        version.__version__ = "0.33.0"  # type: ignore[attr-defined]
        caching, registry = ModuleType("_caching"), ModuleType("cache_provider")
        caching.CacheProvider = type("CacheProvider", (), {})  # type: ignore[attr-defined]
        registry.register_cache_provider = self.providers.append  # type: ignore[attr-defined]
        modules = {
            "server": server, "folder_paths": folders, "comfyui_version": version,
            "comfy_api": ModuleType("comfy_api"), "comfy_api.latest": ModuleType("latest"),
            "comfy_api.latest._caching": caching, "comfy_execution": ModuleType("comfy_execution"),
            "comfy_execution.cache_provider": registry,
        }  # fmt: skip
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        (base / "output").mkdir(parents=True, exist_ok=True)

    @property
    def prompt_queue(self) -> Queue:
        return self.queue

    def execute(self, prompt: dict[str, Any]) -> Any:
        """Do what ``prompt_worker`` does for one prompt; return what ``task_done`` answered."""
        item_id, self._items = self._items, self._items + 1
        self.queue.currently_running[item_id] = tuple(prompt["item"])
        return self.queue.task_done(
            item_id, prompt["result"], status=_ExecutionStatus(**prompt["status"]),
            process_item=lambda item: item[:5] + item[6:],
        )  # fmt: skip
