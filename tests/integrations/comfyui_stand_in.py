"""What the pack sees of a ComfyUI: modules in ``sys.modules``, a queue, and in newer ones the hook.

The queue is that of 0.3.75 as far as the pack goes; the hook is built from facts
(tests/data/comfyui_newest).
"""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

__all__ = ["ComfyuiStandIn"]


class CacheProvider:
    """As ``comfy_api.latest._caching.CacheProvider``."""

    async def on_lookup(self, context: Any) -> Any:
        raise NotImplementedError

    async def on_store(self, context: Any, value: Any) -> None:
        raise NotImplementedError

    def should_cache(self, context: Any, value: Any = None) -> bool:
        return True

    def on_prompt_start(self, prompt_id: str) -> None:
        pass

    def on_prompt_end(self, prompt_id: str) -> None:
        pass


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
            "prompt": item, "outputs": {}, "status": copy.deepcopy(status), **history_result,
        }  # fmt: skip
        return "its own answer"

    def get_history(
        self,
        prompt_id: str | None = None,
        max_items: int | None = None,
        offset: int = -1,
        map_function: Callable[[Any], Any] | None = None,
    ) -> dict[str, Any]:
        assert map_function is not None, "a copy is made under the queue's lock"
        if prompt_id not in self.history:
            return {}
        return {str(prompt_id): map_function(self.history[str(prompt_id)])}


class ComfyuiStandIn:
    """Stands in for a ComfyUI until the test ends.

    Attributes:
        queue: Of its server.
        providers: What registered for the hook.
    """

    def __init__(self, patch: pytest.MonkeyPatch, base: Path, *, hook: bool) -> None:
        self.queue = Queue()
        self.providers: list[Any] = []
        server = ModuleType("server")
        server.PromptServer = type("PromptServer", (), {"instance": self})  # type: ignore[attr-defined]
        folders = ModuleType("folder_paths")
        folders.get_directory_by_type = lambda kind: str(base / kind)  # type: ignore[attr-defined]
        version = ModuleType("comfyui_version")
        version.__version__ = "0.36.0"  # type: ignore[attr-defined]
        modules: dict[str, ModuleType | None] = {
            "server": server, "folder_paths": folders, "comfyui_version": version,
            "comfy_api.latest._caching": None, "comfy_execution.cache_provider": None,
        }  # fmt: skip
        if hook:
            caching, registry = ModuleType("_caching"), ModuleType("cache_provider")
            caching.CacheProvider = CacheProvider  # type: ignore[attr-defined]
            registry.register_cache_provider = self.providers.append  # type: ignore[attr-defined]
            modules.update({
                "comfy_api": ModuleType("comfy_api"), "comfy_api.latest": ModuleType("latest"),
                "comfy_api.latest._caching": caching,
                "comfy_execution": ModuleType("comfy_execution"),
                "comfy_execution.cache_provider": registry,
            })  # fmt: skip
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        (base / "output").mkdir(parents=True, exist_ok=True)

    @property
    def prompt_queue(self) -> Queue:
        return self.queue

    def execute(self, prompt: dict[str, Any]) -> Any:
        """Do what ``prompt_worker`` does for one prompt; return what ``task_done`` answered."""
        item = (*prompt["item"], {"secret": "sensitive"})
        self.queue.currently_running[prompt["item"][0]] = item
        answer = None
        for event in prompt["events"]:
            if event == "task_done":
                answer = self.queue.task_done(
                    prompt["item"][0], {"outputs": prompt["outputs"], "meta": {}},
                    status=prompt["status"], process_item=lambda item: item[:5],
                )  # fmt: skip
                continue
            for provider in self.providers:
                try:
                    getattr(provider, event)(prompt["item"][1])
                except Exception:
                    logging.getLogger(__name__).exception("as ComfyUI does")
        return answer
