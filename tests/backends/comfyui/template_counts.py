"""How many of ComfyUI's official templates a real server takes after conversion.

By hand, with a folder that ``real_server.py`` has prepared::

    PYTHONPATH=tests python tests/backends/comfyui/template_counts.py FOLDER
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from backends.comfyui.real_pictures import node_classes
from backends.comfyui.real_server import RealServer, templates
from safelight.backends.comfyui.editor_workflow import api_workflow, is_editor_workflow
from safelight.errors import BackendError

__all__ = ["TemplateCounts", "counted", "editor_templates"]


@dataclass
class TemplateCounts:
    """What became of templates.

    Attributes:
        all: How many there are.
        converted: Names of those that were converted.
        lacking: Node class that the server lacks -> how many templates need it.
        lacked: How many templates need such a class.
        refused: Name -> sentence, of those that were refused for another reason.
        taken: How many the server would have run.
        files: How many it refused for missing models and pictures alone.
        paid: How many were not posted, because they have nodes that cost money.
        other: Name -> what else the server complained of.
    """

    all: int = 0
    converted: list[str] = field(default_factory=list)
    lacking: Counter[str] = field(default_factory=Counter)
    lacked: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    taken: int = 0
    files: int = 0
    paid: int = 0
    other: dict[str, list[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [
            f"{self.all} templates in the editor's format",
            f"{len(self.converted)} converted; {self.lacked} need classes that the server lacks",
            f"{self.taken} taken, {self.files} lack files only, {self.paid} not posted: paid nodes",
            *(f"refused: {sentence}" for sentence in self.refused.values()),
            *(f"complaint: {name}: {'; '.join(said)}" for name, said in self.other.items()),
            *(f"{count:4} {kind}" for kind, count in self.lacking.most_common()),
        ]
        return "\n".join(lines)


def editor_templates(folder: Path, name: str = "*") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (name, workflow) of the official templates in a prepared folder."""
    for path in sorted(templates(folder).glob(f"{name}.json")):
        workflow = json.loads(path.read_text("utf-8"))
        if is_editor_workflow(workflow):
            yield path.stem, workflow


def counted(url: str, folder: Path) -> TemplateCounts:
    """Convert every template, and post what was converted; nothing is left to run."""
    known = node_classes(url)
    counts = TemplateCounts()
    for name, workflow in editor_templates(folder):
        counts.all += 1
        try:
            nodes = api_workflow(workflow, known, name).nodes
        except BackendError as error:
            lacking = re.search(r"that the server lacks: (.+);", str(error))
            if lacking is None:
                counts.refused[name] = str(error)
            else:
                counts.lacked += 1
                counts.lacking.update(re.sub(r" \(\d+ times\)| of \S+", "", lacking[1]).split(", "))
            continue
        counts.converted.append(name)
        if any(known[node["class_type"]].get("api_node") for node in nodes.values()):
            counts.paid += 1
        else:
            _post(url, name, nodes, counts)
    return counts


def _post(url: str, name: str, nodes: Mapping[str, Any], counts: TemplateCounts) -> None:
    answer = httpx.post(f"{url}/prompt", json={"prompt": nodes}, timeout=60)
    if answer.status_code == 200:
        httpx.post(f"{url}/queue", json={"clear": True})
        httpx.post(f"{url}/interrupt", json={})
        counts.taken += 1
        return
    told = answer.json()
    faults = [
        f"{at['class_type']}: {fault['details'][:80]}"
        for at in told["node_errors"].values()
        for fault in at["errors"]
        if not _is_missing_file(fault)
    ]
    if faults or not told["node_errors"]:
        counts.other[name] = faults or [told["error"]["message"]]
    else:
        counts.files += 1


def _is_missing_file(fault: Mapping[str, Any]) -> bool:
    """Whether a fault is that a model or a picture is not on the server."""
    given = str(fault.get("extra_info", {}).get("received_value"))
    if fault["type"] == "value_not_in_list":
        return bool(re.search(r"\.\w{2,12}$", given)) or "not in []" in fault["details"]
    return fault["type"] == "custom_validation_failed" and "file" in fault["details"]


def main() -> None:
    folder = Path(sys.argv[1])
    with RealServer(folder, front_end=True) as server:
        sys.stdout.write(f"{counted(server.url, folder)}\n")


if __name__ == "__main__":
    main()
