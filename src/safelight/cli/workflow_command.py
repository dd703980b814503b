"""``safelight workflow``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from safelight.cli.options import json_option
from safelight.cli.terminal import say, say_text, say_wrapped, tell
from safelight.operating_system import quoted

if TYPE_CHECKING:
    from safelight.application.workflow_config import WorkflowKnobs


@click.command("workflow")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--url", help="A ComfyUI server, which tells what it lacks of the workflow.")
@click.option(
    "--write",
    "written",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the config there; else it is printed.",
)
@json_option
def command(file: Path, url: str | None, written: Path | None, as_json: bool) -> None:
    """Show the knobs of a ComfyUI workflow, and make a config that maps them.

    FILE is a workflow as ComfyUI exports it (API format) or saves it (then with --url), or a
    picture that ComfyUI saved. The config draws with it what it draws now, and its knobs can be
    swept like those of any other; what could be several things is told, and stands in it as a
    comment.
    """
    from safelight.application.config_text import write_config, write_config_text

    found = _found(file, url)
    folder = written.parent if written else Path()
    if written and written.suffix.lower() == ".json":
        write_config(written, found.config(folder))
    elif written:
        write_config_text(written, found.toml(folder))
    if as_json:
        say_text(json.dumps(_as_json(found, folder), ensure_ascii=False, indent=2))
        return
    _show(found, err=written is None)
    if written is None:
        say_text(found.toml(folder))
        tell("nothing was written; this makes it a file:")
        tell(f"  safelight workflow {quoted(str(file))} --write my.toml")
    elif found.lacks:
        say_wrapped(
            f"written: {written}; before it can draw, it needs {' and '.join(found.lacks)}",
            err=True,
        )
    else:
        tell(f"written: {written}; draw with it: safelight run {written}")
        if any(knob.mapped and knob.name == "steps" for knob in found.knobs):
            sweep = 'randomizer.sweep."txt2img.steps"=[10, 20]'.replace("txt2img", found.stage)
            tell("and with several steps:")
            tell(f"  safelight run {written} --set '{sweep}'")


def _found(file: Path, url: str | None) -> WorkflowKnobs:
    from safelight.application.workflow_config import workflow_knobs
    from safelight.backends.engine_server import EngineServer

    if url is None:
        return workflow_knobs(str(file))
    server = EngineServer("ComfyUI", url, next_step="start ComfyUI, or leave --url out")
    try:
        return workflow_knobs(str(file), server=server)
    finally:
        server.close()


def _show(found: WorkflowKnobs, *, err: bool) -> None:
    from safelight.cli.headed_table import Column, headed_table, terminal_width

    columns = [Column("knob"), Column("now", widest=40), Column("where")]
    mapped = [knob for knob in found.knobs if knob.mapped]
    rows = [(knob.name, _now(knob.value), knob.where) for knob in mapped]
    for line in headed_table(columns, rows, terminal_width()):
        say(line.text.rstrip(), err=err, styled=line.styled)
    if others := len(found.knobs) - len(mapped):
        say(f"{others} further inputs can be mapped; the config lists them", err=err)
    for note in found.notes:
        say_wrapped(f"- {note}", hanging=2, err=err)


def _now(value: object) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _as_json(found: WorkflowKnobs, folder: Path) -> dict[str, object]:
    nodes = found.file.graph
    return {
        "workflow": found.file.path,
        "kind": found.file.kind,
        "stage": found.stage,
        "output": found.output,
        "knobs": [
            {
                "name": knob.entry,
                "value": knob.value,
                "mapped": knob.mapped,
                "places": [
                    {
                        "node": node,
                        "class": nodes[node]["class_type"],
                        "title": (nodes[node].get("_meta") or {}).get("title", ""),
                        "input": name,
                    }
                    for node, name in knob.places
                ],
            }
            for knob in found.knobs
        ],
        "notes": list(found.notes),
        "config": found.config(folder),
    }
