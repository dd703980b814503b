"""Pictures that a real ComfyUI saves for graphs that are posted to it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import httpx

__all__ = ["Job", "node_classes", "post", "put_in"]


def node_classes(url: str) -> dict[str, Any]:
    """Return what the server knows of its nodes: class -> inputs and outputs."""
    told: dict[str, Any] = httpx.get(f"{url}/object_info", timeout=60).json()
    return told


def put_in(url: str, name: str, png: bytes) -> None:
    """Put a picture into the folder that LoadImage reads."""
    files = {"image": (name, png, "image/png")}
    answer = httpx.post(f"{url}/upload/image", files=files, data={"overwrite": "true"})
    answer.raise_for_status()


class Job:
    """A graph that the server was given.

    Args:
        url: Of the server.
        number: The server's for the job.
    """

    def __init__(self, url: str, number: str) -> None:
        self._url = url
        self._number = number

    def picture(self, node: str) -> bytes:
        """Wait until the graph ran, and return the last file that *node* saved.

        Raises:
            AssertionError: It failed.
        """
        entry = self._finished()
        assert entry["status"]["status_str"] == "success", entry["status"]
        image = entry["outputs"][node]["images"][-1]
        answer = httpx.get(f"{self._url}/view", params=image)
        answer.raise_for_status()
        return answer.content

    def _finished(self) -> dict[str, Any]:
        for _ in range(6000):
            told = httpx.get(f"{self._url}/history/{self._number}").json()
            if entry := told.get(self._number):
                return dict(entry)
            time.sleep(0.1)
        raise AssertionError(f"job {self._number} is not done after ten minutes")


def post(url: str, graph: Mapping[str, Any], workflow: Mapping[str, Any] | None = None) -> Job:
    """Give the server a graph, with the editor's graph that it puts beside it.

    Raises:
        AssertionError: It refused the graph.
    """
    # A name of its own: a server that ran the same graph before saves nothing.
    named = {
        name: {
            **node,
            "inputs": {**node["inputs"], "filename_prefix": f"safelight{time.time_ns()}"},
        }
        if "filename_prefix" in node["inputs"]
        else node
        for name, node in graph.items()
    }
    body: dict[str, Any] = {"prompt": named}
    if workflow is not None:
        body["extra_data"] = {"extra_pnginfo": {"workflow": workflow}}
    answer = httpx.post(f"{url}/prompt", json=body)
    assert answer.status_code == 200, answer.text[:2000]
    return Job(url, answer.json()["prompt_id"])
