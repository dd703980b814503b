"""``safelight suggest``."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from safelight.archive_layout import presets_folder
from safelight.cli.options import existing_archive_option, json_option
from safelight.durable_file import make_folder
from safelight.errors import ConfigError, PlanError

if TYPE_CHECKING:
    from safelight.archive import Archive
    from safelight.learning.knob_space import SpaceKnob
    from safelight.learning.plan_cost import PlanCost
    from safelight.learning.suggest import Suggestions, Verdict
    from safelight.learning.trials import Trials

_BASE_PROMPT = "a red apple"


@click.command("suggest")
@click.option("--model", help="The model to suggest settings for.  [default: the only rated one]")
@click.option("--lora", help="Learn only from pictures with this LoRA; its weight is a knob.")
@click.option("--where", "condition", default="", help="Learn only from pictures that meet this.")
@click.option("--prompt", "prompts", multiple=True, help="Draw this; may be repeated."
              "  [default: the two prompts that were rated most]")  # fmt: skip
@click.option("--n", "count", type=click.IntRange(1, 200), default=8, show_default=True,
              help="How many settings.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(1, 100), default=2, show_default=True,
              help="Pictures of every setting and prompt.")  # fmt: skip
@click.option("--knob", "knobs", multiple=True, metavar="KNOB=VALUES",
              help="Vary this knob between these values, as --knob steps=4,40 or"
              " --knob sampler=Euler,Heun; may be repeated.")  # fmt: skip
@click.option("--rater", "raters", multiple=True, help="Only ratings by this rater; repeatable.")
@click.option("--write", "written", type=click.Path(dir_okay=False, path_type=Path),
              help="Write the suggestions as a config for safelight run.")  # fmt: skip
@click.option("--preset", metavar="NAME",
              help="Keep the best known setting as presets/NAME.toml in the archive.")  # fmt: skip
@existing_archive_option
@json_option
def command(
    model: str | None,
    lora: str | None,
    condition: str,
    prompts: tuple[str, ...],
    count: int,
    seeds: int,
    knobs: tuple[str, ...],
    raters: tuple[str, ...],
    written: Path | None,
    preset: str | None,
    archive: Path,
    as_json: bool,
) -> None:
    """Suggest settings worth drawing, from what was rated, each with its evidence.

    Nothing is drawn: --write makes a config that you may look at and run. With too little
    evidence it says so, and the plan explores instead.
    """
    evidence = _evidence(archive, model, lora, condition, raters)
    if preset is not None:
        _keep_preset(evidence, preset, archive, prompts, as_json)
    else:
        _suggest(evidence, prompts, count, seeds, knobs, written, archive, as_json)


@dataclass(frozen=True, kw_only=True)
class _Evidence:
    """What was rated, and where settings come from that are not varied.

    Attributes:
        trials: The rated pictures of one model.
        model: Its name; empty when nothing is known at all.
        lora: The LoRA that all of them have, if one was asked for.
        prompts: Prompts with their LoRA tags taken out, the most rated first.
        seed: The seed that was rated most.
        base: A config of a picture of the model; only stages.
        stage: The stage whose pictures these are.
        backend: The engine that drew it.
        timings: Rows for the cost.
        rated_by: Who rated, in words.
    """

    trials: Trials
    model: str
    lora: str | None
    prompts: tuple[str, ...]
    seed: int
    base: dict[str, dict[str, Any]]
    stage: str
    backend: str
    timings: Sequence[Sequence[Any]]
    rated_by: str

    @property
    def title(self) -> str:
        return (self.model or "any model") + (f" with the LoRA {self.lora}" if self.lora else "")


def _evidence(
    folder: Path, model: str | None, lora: str | None, condition: str, raters: Sequence[str]
) -> _Evidence:
    """Return what the archive knows.

    Raises:
        PlanError: Several models were rated and none is named, or there is none of that name.
    """
    from safelight.archive import Archive
    from safelight.cli.effects_command import whose
    from safelight.knobs import did_you_mean
    from safelight.learning.plan_cost import TIMING_COLUMNS
    from safelight.learning.ratings import Identity
    from safelight.learning.scores import fit_scores
    from safelight.learning.trials import TRIAL_COLUMNS, join_trials

    archive = Archive(folder)
    columns = (*TRIAL_COLUMNS, "run_id", "variant", "seconds")
    rows = archive.query(condition, columns=columns, limit=None).rows if folder.is_dir() else ()
    at = {name: place for place, name in enumerate(columns)}
    timings = [tuple(row[at[name]] for name in TIMING_COLUMNS) for row in rows]
    with archive.ratings() as store:
        events = store.events()
    counted, rated_by = whose(events, raters)
    known = (Identity(sha256=r[at["sha256"]], pixel_sha256=r[at["pixel_sha256"]]) for r in rows)
    scores = fit_scores(counted, known)
    rated = [
        row
        for row in rows
        if scores.place(row[at["sha256"]], row[at["pixel_sha256"]]) is not None
        and (lora is None or re.search(rf"<lora:\s*{re.escape(lora)}\s*[:>]", _text(row, at)))
    ]
    models = Counter(str(row[at["model"]]) for row in rated if row[at["model"]])
    drawn = Counter(str(row[at["model"]]) for row in rows if row[at["model"]])
    if model is None:
        if len(models) > 1:
            listed = ", ".join(f"{name} ({n:,} rated)" for name, n in models.most_common(8))
            raise PlanError(f"pictures of several models were rated; choose one with --model:"
                            f" {listed}")  # fmt: skip
        model = next(iter(models or drawn), "")
    elif model not in drawn and rows and drawn:
        hint = did_you_mean(model, drawn) or f"; there are: {', '.join(sorted(drawn)[:8])}"
        raise PlanError(f"no picture in {folder} was drawn with the model {model!r}{hint}")
    rated = [row for row in rated if row[at["model"]] == model] if model else rated
    stages = Counter(row[at["stage"]] for row in rated)
    stage = stages.most_common(1)[0][0] if stages else "txt2img"
    rated = [row for row in rated if row[at["stage"]] == stage]
    table = {name: [row[at[name]] for row in rated] for name in TRIAL_COLUMNS}
    seeds = Counter(row[at["seed"]] for row in rated if row[at["seed"]] is not None)
    like = rated or [row for row in rows if row[at["model"]] == model] or list(rows)
    return _Evidence(
        trials=join_trials(table, scores),
        model=model,
        lora=lora,
        prompts=_prompts([_text(row, at) for row in like]),
        seed=int(seeds.most_common(1)[0][0]) if seeds else 1,
        base=_base(archive, like[0][at["run_id"]], like[0][at["variant"]], stage) if like else {},
        stage=stage,
        backend=str(like[0][at["backend"]] or "bundled") if like else "bundled",
        timings=timings,
        rated_by=rated_by,
    )


def _text(row: Sequence[Any], at: Mapping[str, int]) -> str:
    return str(row[at["prompt"]] or "")


def _prompts(texts: Sequence[str]) -> tuple[str, ...]:
    from safelight.lora_tags import split_loras

    counted = Counter(text for text in texts if text)
    plain = Counter[str]()
    for text, times in counted.items():
        plain[split_loras(text)[0]] += times
    return tuple(text for text, _ in plain.most_common() if text)


def _base(archive: Archive, run_id: str, variant: int, stage: str) -> dict[str, dict[str, Any]]:
    """Return the stages up to *stage* of a variant, as a config may state them."""
    from safelight.knobs import KNOBS, STAGES, knob_fault

    configs = archive.record(run_id).variant_configs
    config = configs[variant] if 0 <= variant < len(configs) else {}
    base: dict[str, dict[str, Any]] = {}
    for each in STAGES[: STAGES.index(stage) + 1]:
        knobs = config.get(each)
        if isinstance(knobs, Mapping) and knobs.get("enabled", True):
            base[each] = {
                name: value
                for name, value in knobs.items()
                if name in KNOBS
                and each in KNOBS[name].stages
                and name not in ("seed", "batch_size")
                and knob_fault(KNOBS[name], value) is None
            }
    return base


def _suggest(
    evidence: _Evidence,
    prompts: Sequence[str],
    count: int,
    seeds: int,
    knobs: Sequence[str],
    written: Path | None,
    archive: Path,
    as_json: bool,
) -> None:
    from safelight.application.config_text import write_config
    from safelight.learning.plan_cost import Timing, plan_cost, timings_of
    from safelight.learning.suggest import suggest

    found = suggest(evidence.trials, count, knobs=[_knob(text) for text in knobs])
    config = _config(evidence, [s.setting for s in found.suggestions], found.fixed, prompts, seeds)
    each = seeds * max(1, len(prompts or evidence.prompts[:2]))
    planned = [
        Timing(backend=evidence.backend, model=evidence.model or None,
               sampler=s.setting.get("sampler"), steps=s.setting.get("steps"))
        for s in found.suggestions
        for _ in range(each)
    ]  # fmt: skip
    cost = plan_cost(planned, timings_of(evidence.timings))
    if written is not None:
        write_config(written, config, _comments(evidence, found, cost))
    if as_json:
        click.echo(json.dumps(_as_json(evidence, found, cost, config, written),
                              ensure_ascii=False, indent=2))  # fmt: skip
    else:
        _print(evidence, found, cost, written, archive)


def _knob(text: str) -> SpaceKnob:
    """Return the knob that ``name=values`` stands for.

    Raises:
        ConfigError: It cannot be read, or has one value only.
    """
    from safelight.knobs import KNOBS, did_you_mean, knob_fault
    from safelight.learning.knob_space import knob_of_values
    from safelight.value_ranges import values_of

    name, found, spec = text.partition("=")
    name = name.strip()
    if not found or not name:
        raise ConfigError(f"--knob must look like steps=4,40, got {text!r}")
    knob = KNOBS.get(name)
    if knob is None and not name.startswith("lora:"):
        raise ConfigError(f"--knob: there is no knob {name!r}{did_you_mean(name, KNOBS)}")
    if name in ("prompt", "model"):
        raise ConfigError(f"--knob: a {name} is not suggested; choose it with --{name}")
    if name == "seed":
        raise ConfigError("--knob: every setting is drawn with the same seeds; see --seeds")
    try:
        values = values_of(spec, knob.kind if knob else "number")
    except ValueError as error:
        raise ConfigError(f"--knob {name}: {error}") from error
    if len(values) > 10_000:
        raise ConfigError(f"--knob {name}: name at most 10,000 values, got {len(values):,}")
    for value in values:
        fault = knob_fault(knob, value) if knob else None
        if fault:
            raise ConfigError(f"--knob {name}: every value {fault}")
    space = knob_of_values(name, values)
    if space is None:
        raise ConfigError(
            f"--knob {name}: name at least two values to choose between, got {spec!r}"
        )
    return space


def _config(
    evidence: _Evidence,
    settings: Sequence[Mapping[str, Any]],
    fixed: Mapping[str, Any],
    prompts: Sequence[str],
    seeds: int,
    **more: Any,
) -> dict[str, Any]:
    """Return the config that draws *settings*, checked.

    Raises:
        ConfigError: It would not be one.
    """
    from safelight.config import PipelineConfig

    base = {stage: dict(knobs) for stage, knobs in evidence.base.items()} or {"txt2img": {}}
    first = next((stage for stage in base if stage != "upscale"), None)
    texts = list(prompts or evidence.prompts[:2]) or [_BASE_PROMPT]
    if first is None:
        raise ConfigError("the rated pictures were only enlarged; name those that were drawn"
                          " with --where")  # fmt: skip
    for stage in base:
        base[stage].pop("prompt", None)
    if evidence.model:
        base[first]["model"] = evidence.model
    listed: list[dict[str, Any]] = []
    for setting in settings:
        knobs = {f"{_stage_of(name, base)}.{name}": value
                 for name, value in setting.items() if not name.startswith("lora:")}  # fmt: skip
        loras = {n: v for n, v in {**fixed, **setting}.items() if n.startswith("lora:") and v}
        tags = "".join(f" <lora:{name[5:]}:{value:g}>" for name, value in loras.items())
        if loras or any(name.startswith("lora:") for name in setting):
            listed += [{f"{first}.prompt": text + tags, **knobs} for text in texts]
        else:
            listed.append(knobs)
    if not any(f"{first}.prompt" in one for one in listed):
        base[first]["prompt"] = texts if len(texts) > 1 else texts[0]
    varied = {path for one in listed for path in one}
    for path in varied:
        stage, _, name = path.partition(".")
        base[stage].pop(name, None)
    base[first]["seed"] = evidence.seed
    config: dict[str, Any] = {"backend": evidence.backend, **more, **base}
    if len(listed) == 1:
        for path, value in listed[0].items():
            stage, _, name = path.partition(".")
            base[stage][name] = value
    config["randomizer"] = {"mode": "fanout", "templates": False, "seeds_per_variant": seeds}
    if len(listed) > 1:
        config["randomizer"]["settings"] = listed
    PipelineConfig.from_mapping(config)
    return config


def _stage_of(name: str, base: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the stage that decides *name*: the last one that states it, else the first it has."""
    from safelight.knobs import KNOBS

    stating = [stage for stage, knobs in base.items() if name in knobs]
    if stating:
        return stating[-1]
    knob = KNOBS.get(name)
    having = [stage for stage in base if knob is not None and stage in knob.stages]
    return having[0] if having else next(iter(base))


def _setting_text(setting: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in setting.items())


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:+.2f}"


def _comments(evidence: _Evidence, found: Suggestions, cost: PlanCost) -> list[str]:
    lines = [
        f"Settings worth trying with {evidence.title}, from {found.pictures:,} rated pictures of"
        f" {found.settings:,} settings, rated by {evidence.rated_by}. Nothing runs by itself.",
        cost.sentence(),
        *found.notes,
    ]
    if found.best is not None:
        lines.append(f"best known: {_setting_text(found.best.setting)} ({_score(found.best)})")
    for number, one in enumerate(found.suggestions, start=1):
        lines.append(f"{number}. {_setting_text(one.setting)}: {one.why}{_gain(one)}")
    return lines


def _score(best: Any) -> str:
    return (
        f"score {_number(best.mean)}, 95 % {_number(best.low)} to {_number(best.high)},"
        f" n = {best.pictures}"
    )


def _gain(one: Any) -> str:
    if one.gain is None:
        return ""
    return (
        f"; {_number(one.gain)} over the best known, 95 % {_number(one.gain_low)} to"
        f" {_number(one.gain_high)}, n = {one.pictures} like it"
    )


def _print(
    evidence: _Evidence, found: Suggestions, cost: PlanCost, written: Path | None, archive: Path
) -> None:
    click.echo(
        f"{evidence.title}: {found.pictures:,} rated pictures of {found.settings:,} settings,"
        f" rated by {evidence.rated_by}"
    )
    for note in found.notes:
        click.echo(f"  {note}")
    if found.best is not None:
        click.echo(f"best known  {_setting_text(found.best.setting)}")
        click.echo(f"            {_score(found.best)}")
    click.echo("worth trying" if not found.exploring else "to explore")
    for number, one in enumerate(found.suggestions, start=1):
        click.echo(f"{number:3}. {_setting_text(one.setting)}")
        click.echo(f"     {one.why}{_gain(one)}")
    if not found.suggestions:
        click.echo("  nothing new: every setting between these values was tried")
    click.echo(cost.sentence())
    if written is not None:
        click.echo(f"written to {written}; nothing was drawn. Draw it with: safelight run"
                   f" {written} --archive {archive}")  # fmt: skip
    else:
        click.echo("nothing was drawn; --write next.toml makes a config of these")


def _as_json(
    evidence: _Evidence,
    found: Suggestions,
    cost: PlanCost,
    config: Mapping[str, Any],
    written: Path | None,
) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "model": evidence.model,
        "lora": evidence.lora,
        "rated_by": evidence.rated_by,
        **asdict(found),
        "cost": asdict(cost),
        "config": config,
        "written": None if written is None else str(written),
    }


def _keep_preset(
    evidence: _Evidence, name: str, archive: Path, prompts: Sequence[str], as_json: bool
) -> None:
    """Write the best known setting as a config, when the evidence carries it.

    Raises:
        PlanError: It does not, or the name is no file name.
    """
    from safelight.application.config_text import write_config
    from safelight.learning.suggest import verdict

    if not re.fullmatch(r"[\w][\w .+-]{0,79}", name):
        raise PlanError(
            f"a preset's name must be letters, digits, blanks and . + - _, got {name!r}"
        )
    found = verdict(evidence.trials)
    if isinstance(found, str):
        raise PlanError(
            f"no preset for {evidence.title}: {found.replace('; this plan explores', '')}"
        )
    if not found.enough:
        raise PlanError(
            f"no preset for {evidence.title}: not enough evidence. The best setting so far,"
            f" {_setting_text(found.best.setting)}, is {_number(found.gain)} over what was usually"
            f" drawn (95 % {_number(found.gain_low)} to {_number(found.gain_high)}, n ="
            f" {found.best.pictures} of {found.pictures:,}); about {found.missing:,} more ratings"
            " would settle it"
        )
    told = _evidence_of(evidence, found)
    metadata = {"preset": name, "evidence": told}
    config = _config(
        evidence, [found.best.setting], found.fixed, prompts[:1] or evidence.prompts[:1], 1,
        name=name, metadata=metadata,
    )  # fmt: skip
    path = presets_folder(archive) / f"{name}.toml"
    make_folder(path.parent)
    said = [
        f"What is known to work best with {evidence.title}: {_number(found.gain)} over what was"
        f" usually drawn, 95 % {_number(found.gain_low)} to {_number(found.gain_high)},",
        f"from {found.best.pictures} rated pictures of this setting, {found.pictures:,} in all,"
        f" rated by {evidence.rated_by}.",
    ]
    write_config(path, config, said)
    if as_json:
        click.echo(json.dumps({"preset": str(path), **told}, ensure_ascii=False, indent=2))
    else:
        click.echo("\n".join(said))
        click.echo(_setting_text(found.best.setting))
        click.echo(f"kept as {path}; use it with: safelight run '{path}' --set txt2img.prompt=...")


def _evidence_of(evidence: _Evidence, found: Verdict) -> dict[str, Any]:
    return {
        "model": evidence.model,
        "rated_by": evidence.rated_by,
        **({"lora": evidence.lora} if evidence.lora else {}),
        "setting": dict(found.best.setting),
        "gain": round(found.gain, 4),
        "gain_low": round(found.gain_low, 4),
        "gain_high": round(found.gain_high, 4),
        "rated_pictures_of_this_setting": found.best.pictures,
        "rated_pictures": found.pictures,
        "settings": found.settings,
    }
