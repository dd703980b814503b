"""runs: make a config, see what it amounts to, run it, and what ran before."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.application.config_text import toml_text
from safelight.application.configs_again import config_of_picture, config_of_run
from safelight.config import PipelineConfig, plain, read_toml
from safelight.config_schema import config_schema
from safelight.errors import ConfigError, RecordError, SafelightError
from safelight.filter_tokens import quoted
from safelight.knobs import KNOBS, STAGES
from safelight.learning.learning_record import LearningRecord
from safelight.pipeline.continuation import stated_config
from safelight.randomizer import RandomizerPlanResult, plan_variants, repeated_variants
from safelight.randomizer_config import LARGE_PLAN
from safelight.web.look import known_picture
from safelight.web.places import engine_names
from safelight.web.table import (
    LONGEST_FILTER,
    LightTable,
    NotThere,
    body_of,
    json_answer,
    read_body,
    sent_body,
)

__all__ = ["routes"]

_MOST_COMPARED, _LONGEST_ENGINE = 1000, 64
_FIRST = ("prompt", "negative_prompt", "model", "sampler", "scheduler", "steps", "cfg_scale",
          "seed", "width", "height", "denoising_strength", "upscaler", "scale")  # fmt: skip


class _Config(msgspec.Struct):
    """A config, as a tree or as TOML."""

    config: dict[str, Any] = {}
    toml: str = ""
    yes: int = 0


class _Number(msgspec.Struct):
    number: int


def _read(table: LightTable, given: _Config) -> tuple[PipelineConfig, dict[str, Any]]:
    """Return the checked config and the tree that it was made of.

    Raises:
        ConfigError: It breaks rules, or says what a page may not; all is told.
    """
    data = given.config
    if given.toml.strip():
        data = read_toml(given.toml)
    try:
        return table.configs.read(data), data
    except RecursionError as error:
        raise ConfigError("the config nests too deep") from error


def _cost(table: LightTable, config: PipelineConfig, plan: RandomizerPlanResult) -> dict[str, Any]:
    """Return what the plan will take, told by what the same engine took before."""
    rows = table.archive.query(
        f"backend = {quoted(config.backend.name)} and seconds > 0",
        columns=["stage", "seconds"],
        limit=400,
    ).rows
    per_stage: dict[str, list[float]] = {}
    for stage, seconds in rows:
        per_stage.setdefault(stage, []).append(seconds)
    known = [sorted(per_stage[s])[len(per_stage[s]) // 2] for s in config.stages if s in per_stage]
    pictures = plan.plan_size * len(config.stages)
    whole = len(known) == len(config.stages)
    return {
        "pictures": pictures,
        "seconds": sum(known) * plan.plan_size if whole else None,
        "told_by": len(rows),
    }


def _planned(table: LightTable, given: _Config) -> dict[str, Any]:
    config, data = _read(table, given)
    plan = plan_variants(config, 0)
    first = list(itertools.islice(plan.variants, 6))
    repeated = repeated_variants(plan, _MOST_COMPARED)
    return {
        "title": config.name or "unnamed config",
        "backend": config.backend.listed or config.backend.name,
        "stages": list(config.stages),
        "mode": plan.mode,
        "plan_size": plan.plan_size,
        "axes": [{"name": a.name, "size": a.size} for a in plan.axes if a.size > 1],
        "left_out": plan.left_out,
        "warnings": [*plan.warnings, *([repeated] if repeated else [])],
        "first": [
            {"label": v.label or "", "config": json.loads(json.dumps(plain(v.config), default=str))}
            for v in first
        ],
        "cost": _cost(table, config, plan),
        "asks": plan.plan_size > LARGE_PLAN,
        "toml": toml_text(data),
    }


def _fields() -> Iterator[dict[str, Any]]:
    """Yield the form's sections, made from the JSON Schema of a config."""
    schema = config_schema()["properties"]
    for stage in STAGES:
        properties = schema[stage]["properties"]
        names = [name for name in properties if name not in ("enabled", "extra")]
        names.sort(key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
        fields = []
        for name in names:
            rule = properties[name]
            knob = KNOBS[name]
            fields.append({
                "name": name, "kind": knob.kind, "rule": knob.rule,
                "summary": rule.get("description", knob.summary), "common": name in _FIRST,
                "long": name.endswith("prompt"),
            })  # fmt: skip
        yield {"stage": stage, "fields": fields}


def _starting_config(table: LightTable, digest: str | None) -> dict[str, Any]:
    """Return the config that the form begins with: that of a picture, or a small one."""
    if not digest:
        return {
            "name": "", "txt2img": {"prompt": "", "steps": 20, "cfg_scale": 3, "seed": -1},
        }  # fmt: skip
    known = known_picture(table, digest)
    name = f"{known.row.get('name') or ''} again".strip()
    return config_of_picture(known.config, known.record, name)


def _engines(table: LightTable) -> list[str]:
    try:
        return engine_names(table)
    except ConfigError:  # starting a run on one of them says what is wrong with the list
        return []


_UNFINISHED = ("partial", "failed", "cancelled", "interrupted")


def _config_to_go_on(table: LightTable, run_id: str) -> PipelineConfig:
    """Return the config of a run that did not get to its end, to go on with its plan.

    Raises:
        NotThere: The run got to its end, or its journal does not hold its config.
        ConfigError: The config is at fault by now, or says what a page may not.
    """
    record = table.record(run_id)
    try:
        stated = stated_config(record, table.archive.path)
    except RecordError:
        stated = None
    if record.status not in _UNFINISHED or stated is None or record.plan_seed is None:
        raise NotThere(f"run {record.run_id} cannot go on from here")
    config, folder = stated
    return table.configs.going_on(config, folder, record.run_id)


def _can_go_on(table: LightTable, record: LearningRecord) -> bool:
    try:
        _config_to_go_on(table, record.run_id)
    except (NotThere, SafelightError):
        return False
    return True


def routes(table: LightTable) -> list[Route]:
    """Return what the browser asks about runs."""

    def history(request: Request) -> Response:
        q = request.query_params.get("q", "")[:LONGEST_FILTER]
        after = request.query_params.get("after") or None
        # An import has a record for each picture: it is one entry of another list.
        drawn = f"({q}) and status != 'imported'" if q.strip() else "status != 'imported'"
        answer = table.archive.query(
            q if "imported" in q else drawn, view="runs", limit=50, after=after
        )
        return table.page(
            request, "runs", runs=list(answer.dicts()), after=answer.after, q=q,
            queue=table.runs.state(),
        )  # fmt: skip

    def new(request: Request) -> Response:
        begin = _starting_config(table, request.query_params.get("like"))
        if engine := request.query_params.get("engine", ""):
            begin = {**begin, "backend": engine[:_LONGEST_ENGINE]}
        toml = request.query_params.get("toml", "")
        return table.page(
            request, "new_run", sections=list(_fields()), begin=begin, toml=toml,
            like=request.query_params.get("like", ""), engines=_engines(table),
        )  # fmt: skip

    def one_run(request: Request) -> Response:
        record = table.record(request.path_params["run_id"])
        table.pictures.remember((o.sha256, o.path) for o in record.outputs)
        config = config_of_run(record, table.archive, table.configs.shown_files())
        shown = [o for o in record.outputs if len(o.sha256) == 64]
        return table.page(
            request, "run", record=record, outputs=shown[:200], toml=toml_text(config),
            can_go_on=_can_go_on(table, record),
        )  # fmt: skip

    async def plan(request: Request) -> Response:
        body = await sent_body(request)  # read when it is its turn: it takes far more then

        def planned() -> dict[str, Any]:
            return _planned(table, read_body(body, _Config))

        return json_answer(await table.turns.take_plan(request, planned))

    async def start(request: Request) -> Response:
        body = await sent_body(request)

        def begin() -> dict[str, Any]:
            given: _Config = read_body(body, _Config)
            config, _ = _read(table, given)
            size = plan_variants(config, 0).plan_size
            if size > LARGE_PLAN and given.yes != size:
                raise ConfigError(
                    f"the plan has {size:,} variants, which is more than {LARGE_PLAN:,}; if that"
                    f" is meant, say so with yes = {size}"
                )
            run = table.runs.start(config, size)
            return {"number": run.number, "title": run.title, "plan_size": run.plan_size}

        return json_answer(await table.turns.take_plan(request, begin), 202)

    async def go_on(request: Request) -> Response:
        def begin() -> dict[str, Any]:
            config = _config_to_go_on(table, request.path_params["run_id"])
            run = table.runs.start(config, plan_variants(config, 0).plan_size)
            return {"number": run.number, "title": run.title, "plan_size": run.plan_size}

        return json_answer(await table.turns.take_plan(request, begin), 202)

    async def cancel(request: Request) -> Response:
        given = await body_of(request, _Number)
        if not table.runs.cancel(given.number):
            raise NotThere(f"no run of this page has the number {given.number}")
        return json_answer({"cancelled": given.number})

    def queue(request: Request) -> Response:
        return json_answer(table.runs.state())

    def preview(request: Request) -> Response:
        data = table.runs.preview()
        if data is None:
            raise NotThere("nothing is being drawn that the engine shows")
        return Response(data, media_type="image/png")

    return [
        Route("/runs", history),
        Route("/runs/new", new),
        Route("/runs/{run_id}", one_run),
        Route("/api/plan", plan, methods=["POST"]),
        Route("/api/runs", start, methods=["POST"]),
        Route("/api/runs/{run_id}/go-on", go_on, methods=["POST"]),
        Route("/api/runs/cancel", cancel, methods=["POST"]),
        Route("/api/runs", queue),
        Route("/api/preview", preview),
    ]
