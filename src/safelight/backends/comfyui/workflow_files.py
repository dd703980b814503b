"""WorkflowFile: a workflow of the user's own, read from whatever file it stands in.

A file in the API format or the editor's, or a picture that ComfyUI saved, which holds the graph
that drew it in its ``prompt`` text. What the file is, its first bytes tell. Only what a node does
is taken (``class_type``, ``inputs``) and what it is called (``_meta``): ComfyUI notes more in
pictures than in files, and the same graph must be the same workflow wherever it stands.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from safelight.allowed_files import ANY_FILE, AllowedFiles
from safelight.backends.comfyui.bound_graph import Nodes
from safelight.backends.comfyui.editor_workflow import ApiWorkflow, is_editor_workflow
from safelight.errors import BackendError, FileRefused, ImageError
from safelight.escaped_output import escaped_line
from safelight.formats.bounded_json import MAX_JSON, json_value
from safelight.formats.containers import file_texts
from safelight.formats.picture_kinds import LONGEST_BEGINNING, media_type

__all__ = ["Convert", "WorkflowFile", "is_edited", "read_workflow"]

Convert = Callable[[Mapping[str, Any], str], ApiWorkflow]
"""(what the editor saved, what messages call it) -> the same in the API format."""

_EXPORT = "export it from ComfyUI with Save (API Format), called Export (API) in newer versions"
_PARTS = ("class_type", "inputs", "_meta")
_DEEPEST = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowFile:
    """One workflow.

    Attributes:
        path: The file, as it was named.
        graph: In the API format; never empty.
        kind: ``json`` or ``picture``.
        notes: Of one that was converted from the editor's format, what the user should know of
            that, whole sentences; else none.
    """

    path: str
    graph: Nodes
    kind: Literal["json", "picture"]
    notes: tuple[str, ...] = ()


def read_workflow(
    path: str, files: AllowedFiles = ANY_FILE, convert: Convert | None = None
) -> WorkflowFile:
    """Read the workflow that *path* holds.

    Args:
        path: A JSON file, or a picture that ComfyUI saved.
        files: How it is opened.
        convert: Used where only the editor's format is there; without it that is refused.

    Raises:
        BackendError: It cannot be read, or holds no workflow.
    """
    kind, api, editor = _held(path, files)
    told = f"workflow {escaped_line(path)}"
    notes: tuple[str, ...] = ()
    if api is None and editor is not None:
        if convert is None:
            raise BackendError(f"{told} is in the editor's format, which only a server can read")
        converted = convert(editor, told)
        said = f"{told} was converted from the editor's format, as this server has it."
        api, notes = converted.nodes, (said, *converted.notes)
    return WorkflowFile(path=path, graph=_nodes(escaped_line(path), api), kind=kind, notes=notes)


def is_edited(path: str, files: AllowedFiles = ANY_FILE) -> bool:
    """Return whether *path* holds the editor's format alone, so that a server must be asked.

    Raises:
        BackendError: It cannot be read, or is neither JSON nor a picture.
    """
    _, api, editor = _held(path, files)
    return api is None and editor is not None


def _held(
    path: str, files: AllowedFiles
) -> tuple[Literal["json", "picture"], object, Mapping[str, Any] | None]:
    """Return what the file is, the API graph in it, or None and the editor's."""
    told = escaped_line(path)
    try:
        with files.open(path) as file:
            is_picture = media_type(file.read(LONGEST_BEGINNING)) is not None
            file.seek(0)
            if is_picture:
                return "picture", *_of_picture(told, file)
            return "json", *_of_json(told, file)
    except FileRefused as error:
        raise BackendError(f"workflow {path!r} {error}") from error
    except OSError as error:
        raise BackendError(f"workflow {told} cannot be read: {error.strerror}") from error


def _of_json(path: str, file: BinaryIO) -> tuple[object, Mapping[str, Any] | None]:
    """Return the API graph of a JSON file, or None and the editor's."""
    data = file.read(MAX_JSON + 1)
    if len(data) > MAX_JSON:
        raise BackendError(f"workflow {path} is larger than {MAX_JSON // 2**20} MiB")
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BackendError(
            f"workflow {path} is neither JSON nor a picture (it begins {data[:8]!r}); {_EXPORT},"
            " or name a picture that ComfyUI saved"
        ) from error
    except RecursionError as error:
        raise BackendError(f"workflow {path} nests too deep to be read") from error
    except ValueError as error:
        raise BackendError(f"workflow {path} is not JSON: {error}") from error
    if is_editor_workflow(value):
        return None, value
    if isinstance(value, dict) and isinstance(value.get("prompt"), dict):
        return value["prompt"], None
    return value, None


def _of_picture(path: str, file: BinaryIO) -> tuple[object, Mapping[str, Any] | None]:
    """Return the API graph in a picture, or None and the editor's."""
    try:
        texts = file_texts(file).texts
    except ImageError as error:
        raise BackendError(f"workflow {path} is a damaged picture: {error}") from error
    api, editor = (json_value(texts.get(key, "")) for key in ("prompt", "workflow"))
    if isinstance(api, dict) and api:
        return api, None
    if is_editor_workflow(editor):
        return None, editor
    raise BackendError(
        f"workflow {path} is a picture without a ComfyUI graph: another tool made it, or a program"
        " or site that it went through took the graph out; take the file as ComfyUI saved it, or"
        " export the workflow with Save (API Format)"
    )


def _nodes(path: str, graph: object) -> Nodes:
    if not isinstance(graph, Mapping) or not graph or not all(map(_is_node, graph.values())):
        raise BackendError(
            f"workflow {path} must hold nodes with class_type and inputs, as ComfyUI's"
            " Export (API) writes them, or be what the editor saves"
        )
    nodes = {
        str(name): {part: node[part] for part in _PARTS if part in node}
        for name, node in graph.items()
    }
    if _depth(nodes) > _DEEPEST:
        raise BackendError(f"workflow {path} nests deeper than {_DEEPEST} values, as no node does")
    try:
        json.dumps(nodes, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:
        raise BackendError(
            f"workflow {path} holds what JSON cannot carry to a server, such as NaN or half a"
            f" character: {error}"
        ) from error
    return nodes


def _depth(value: object) -> int:
    """Return how deep *value* nests, at most one more than is taken."""
    level, depth = [value], 0
    while level and depth <= _DEEPEST:
        within: list[object] = []
        for each in level:
            if isinstance(each, (list, Mapping)):
                within.extend(each.values() if isinstance(each, Mapping) else each)
        level, depth = within, depth + 1
    return depth


def _is_node(node: object) -> bool:
    return (
        isinstance(node, Mapping)
        and isinstance(node.get("class_type"), str)
        and isinstance(node.get("inputs"), dict)
    )
