"""runs: make a config, see what it amounts to, run it, and what ran before."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.application.blanks import DRAWN_HERE, blank_of
from safelight.application.config_text import comments_of, toml_text
from safelight.application.configs_again import config_of_picture, config_of_run
from safelight.application.engine_list import own_engine
from safelight.application.time_estimate import estimate_time
from safelight.config import BackendChoice, PipelineConfig, plain, read_toml
from safelight.config_schema import config_schema
from safelight.errors import ConfigError, RecordError, SafelightError
from safelight.filter_tokens import quoted
from safelight.knobs import KNOBS, STAGES
from safelight.learning.learning_record import LearningRecord
from safelight.pipeline.continuation import stated_config
from safelight.pipeline.engine_choices import unknown_choices, unknown_in_draft
from safelight.randomizer import plan_variants, repeated_variants
from safelight.randomizer_config import LARGE_PLAN
from safelight.timestamps import day_words, duration
from safelight.web.exact_numbers import exact
from safelight.web.executions import config_again, lines_of
from safelight.web.live import archive_seen
from safelight.web.look import known_picture
from safelight.web.places import engine_states, has_engine
from safelight.web.run_queue import live_state
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

_MOST_COMPARED, _LONGEST_ENGINE, _FIRST_SHOWN = 1000, 64, 4
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
    except ConfigError as error:  # what the engine lacks is told with it
        engine = data.get("backend", BackendChoice().name)
        if not isinstance(engine, str) or not has_engine(table, engine):
            raise
        state = table.facts.of(engine)
        choices = state.choices if state.state == "ready" else {}
        raise ConfigError([*error.faults, *unknown_in_draft(engine, choices, data)]) from error


def _planned(table: LightTable, given: _Config) -> dict[str, Any]:
    config, data = _read(table, given)
    plan = plan_variants(config, 0)
    engine = config.backend.listed or config.backend.name
    state = table.facts.of(engine)
    if state.state == "ready" and not _states_options(data):
        faults = unknown_choices(engine, state.choices, config, plan)
        if faults:
            raise ConfigError(faults)
    first = list(itertools.islice(plan.variants, _FIRST_SHOWN))
    told = estimate_time(table.archive, config, plan)
    repeated = repeated_variants(plan, _MOST_COMPARED)
    return {
        "title": config.name or "unnamed config",
        "backend": engine,
        "engine": {"state": state.state, "message": state.message},
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
        "cost": {
            "pictures": plan.plan_size * len(config.stages),
            "seconds": told.seconds,
            "told_by": told.told_by,
        },
        "asks": plan.plan_size > LARGE_PLAN,
        "toml": toml_text(data),
    }


def _states_options(data: Mapping[str, Any]) -> bool:
    """Return whether a config gives its engine options, which may change what that has."""
    backend = data.get("backend")
    return isinstance(backend, Mapping) and len(backend) > 1


def _both_forms(given: _Config) -> dict[str, Any]:
    """Return a config as a tree and as TOML, whatever is wrong in it.

    Raises:
        ConfigError: It is no TOML.
    """
    text = given.toml
    data = read_toml(text) if text.strip() else given.config
    comments, more = comments_of(text)
    return {
        "config": exact(json.loads(json.dumps(plain(data), default=str))),
        "toml": toml_text(data), "comments": comments, "more_comments": more,
    }  # fmt: skip


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
    config = config_of_picture(known.config, known.record, name)
    if known.record is None or known.record.status != "imported":
        return config
    try:
        own = own_engine(table.configs.engines, config.get("backend"))
    except ConfigError:  # starting a run on one of them says what is wrong with the list
        own = None
    return config if own is None else {**config, "backend": own}


def _config_of_past_run(table: LightTable, run_id: str) -> dict[str, Any]:
    record = table.record(run_id)
    blank = blank_of(table.archive, record)
    if blank is not None:
        return config_again(table, blank)
    return config_of_run(record, table.archive, table.configs.shown_files())


def _engines(table: LightTable) -> list[dict[str, Any]]:
    try:
        return engine_states(table)
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


def _gone_on_with(table: LightTable, record: LearningRecord) -> list[dict[str, Any]]:
    """Return the runs that went on with *record*'s part of its plan, the last one first."""
    if record.status not in _UNFINISHED or not record.plan_id:
        return []
    answer = table.archive.query(
        f"plan_id = {quoted(record.plan_id)} and part = {record.part}"
        f" and timestamp > {quoted(record.timestamp)}",
        view="runs", columns=["run_id", "timestamp", "status"], limit=20,
    )  # fmt: skip
    return list(answer.dicts())


def _row_of(record: LearningRecord) -> dict[str, Any]:
    """Return what the list of runs knows of one."""
    return {
        "run_id": record.run_id, "name": record.name, "timestamp": record.timestamp,
        "status": record.status, "part": record.part, "parts": record.parts,
        "variants": len(record.variant_configs), "plan_size": record.randomizer_plan_size,
        "pictures": len(record.outputs), "seconds": sum(record.seconds.values()),
    }  # fmt: skip


_CALLED = {"cfg_scale": "CFG", "denoising_strength": "denoising"}
_ENDED = {
    "completed": "completed", "partial": "completed in part", "failed": "failed",
    "cancelled": "stopped", "interrupted": "cut off", "running": "going on", "imported": "imported",
}  # fmt: skip
"""How runs end -> in words."""


def _by_days(
    runs: Iterable[Mapping[str, Any]], varied: Mapping[str, Sequence[str]]
) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return each day, in words, and a line for each of its runs, in their order."""
    days = itertools.groupby(runs, key=lambda run: str(run["timestamp"])[:10])
    return [
        (day_words(day), [_line_of(run, varied.get(run["run_id"], ())) for run in own])
        for day, own in days
    ]


def _line_of(run: Mapping[str, Any], varied: Sequence[str]) -> dict[str, Any]:
    names = [_CALLED.get(name, name.replace("_", " ")) for name in varied]
    whole = run["part"] == 1 == run["parts"] and run["status"] != "imported"
    is_less = whole and run["variants"] < run["plan_size"]
    return {
        **run,
        "title": run["name"] or run["run_id"],
        "time": str(run["timestamp"])[11:16],
        "done": f"{run['variants']:,} of {run['plan_size']:,}" if is_less else "",
        "varied": ", ".join(names),
        "took": duration(run["seconds"] or 0),
        "ended": _ENDED.get(run["status"], run["status"]),
    }


def routes(table: LightTable) -> list[Route]:
    """Return what the browser asks about runs."""

    def history(request: Request) -> Response:
        q = request.query_params.get("q", "")[:LONGEST_FILTER]
        after = request.query_params.get("after") or None
        # An import has a record for each picture, and other tools' executions have a list of their
        # own: who asks for imported ones in so many words gets them.
        drawn = f"({q}) and {DRAWN_HERE}" if q.strip() else DRAWN_HERE
        seen = archive_seen(table.archive)  # before what is shown: what comes meanwhile is news
        answer = table.archive.query(
            q if "imported" in q else drawn, view="runs", limit=50, after=after
        )
        runs = list(answer.dicts())
        varied = table.archive.varied([run["run_id"] for run in runs])
        return table.page(
            request, "runs", days=_by_days(runs, varied), after=answer.after, q=q,
            queue={
                "runs": table.runs.state(), "live": live_state(table.live.look()), "archive": seen,
            },
        )  # fmt: skip

    def new(request: Request) -> Response:
        asked = request.query_params
        digest, run = asked.get("like", ""), asked.get("run", "")
        begin = _config_of_past_run(table, run) if run else _starting_config(table, digest)
        if engine := asked.get("engine", ""):
            begin = {**begin, "backend": engine[:_LONGEST_ENGINE]}
        toml = asked.get("toml", "")
        return table.page(
            request, "new_run", sections=list(_fields()), toml=toml, like=digest, run=run,
            first={
                "config": exact(json.loads(json.dumps(begin, default=str))), "toml": toml,
                "asks_engine": bool(digest and "backend" not in begin), "engines": _engines(table),
            },
        )  # fmt: skip

    def one_run(request: Request) -> Response:
        record = table.record(request.path_params["run_id"])
        if (blank := blank_of(table.archive, record)) is not None:
            return table.page(request, "execution", **lines_of(blank))
        table.pictures.remember((o.sha256, o.path) for o in record.outputs)
        config = config_of_run(record, table.archive, table.configs.shown_files())
        shown = [o for o in record.outputs if len(o.sha256) == 64]
        followers = _gone_on_with(table, record)
        return table.page(
            request, "run", record=record, outputs=shown[:200], toml=toml_text(config),
            line=_line_of(_row_of(record), table.archive.varied([record.run_id]).get(
                record.run_id, ())),
            followers=followers, can_go_on=not followers and _can_go_on(table, record),
        )  # fmt: skip

    async def plan(request: Request) -> Response:
        body = await sent_body(request)  # read when it is its turn: it takes far more then

        def planned() -> dict[str, Any]:
            return _planned(table, read_body(body, _Config))

        return json_answer(await table.turns.take_plan(request, planned))

    async def both_forms(request: Request) -> Response:
        body = await sent_body(request)
        return json_answer(
            await table.turns.take_plan(request, lambda: _both_forms(read_body(body, _Config)))
        )

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
        Route("/api/config", both_forms, methods=["POST"]),
        Route("/api/plan", plan, methods=["POST"]),
        Route("/api/runs", start, methods=["POST"]),
        Route("/api/runs/{run_id}/go-on", go_on, methods=["POST"]),
        Route("/api/runs/cancel", cancel, methods=["POST"]),
        Route("/api/runs", queue),
        Route("/api/preview", preview),
    ]
