"""presets: the best known setting, kept as a config with its evidence."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safelight.application.config_text import write_config
from safelight.application.contenders_text import contenders_text
from safelight.application.suggestion_config import suggestion_config
from safelight.application.suggestions import Evidence, setting_text, signed
from safelight.archive import Archive
from safelight.archive_layout import presets_folder
from safelight.durable_file import make_folder
from safelight.errors import PlanError
from safelight.learning.plans.space_of_trials import MODEL
from safelight.learning.plans.suggest import Verdict, verdict

__all__ = ["Preset", "keep_preset"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A setting that was kept.

    Attributes:
        path: Its file.
        setting: Knob -> value.
        summary: What it rests on, in sentences.
        evidence: The same in figures.
    """

    path: Path
    setting: Mapping[str, Any]
    summary: tuple[str, ...]
    evidence: Mapping[str, Any]


def _evidence_of(evidence: Evidence, result: Verdict) -> dict[str, Any]:
    return {
        "model": _model(evidence, result),
        "rated_by": evidence.rated_by,
        **({"lora": evidence.lora} if evidence.lora else {}),
        **({"condition": evidence.condition} if evidence.condition.strip() else {}),
        **({"models": list(evidence.models)} if len(evidence.models) > 1 else {}),
        "setting": dict(result.best.setting),
        "gain": round(result.gain, 4),
        "gain_low": round(result.gain_low, 4),
        "gain_high": round(result.gain_high, 4),
        "rated_pictures_of_this_setting": result.best.pictures,
        "rated_pictures": result.pictures,
        "settings": result.settings,
        "contenders": [
            {"knob": knob.knob, "may_be_as_good": list(knob.equal), "worse": list(knob.worse)}
            for knob in result.contenders
        ],
    }


def keep_preset(
    archive: Archive, evidence: Evidence, name: str, prompts: Sequence[str] = ()
) -> Preset:
    """Write the best known setting as a config, when the evidence carries it.

    Args:
        archive: Where presets are kept.
        evidence: What it rests on.
        name: Of the preset.
        prompts: What it draws; the most rated prompt when there is none.

    Raises:
        PlanError: The evidence does not carry it, or the name is no file name.
        StorageError: There is one of that name, or it cannot be written.
    """
    if not re.fullmatch(r"[\w][\w .+-]{0,79}", name):
        raise PlanError(
            f"a preset's name must be letters, digits, blanks and . + - _, got {name!r}"
        )
    result = verdict(evidence.trials)
    of = f"{evidence.title}{evidence.scope}"
    if isinstance(result, str):
        raise PlanError(f"no preset for {of}: {result.replace('; this plan explores', '')}")
    if not result.enough:
        raise PlanError(
            f"no preset for {of}: not enough evidence. The best setting so far,"
            f" {setting_text(result.best.setting)}, is {signed(result.gain)} over what was"
            f" usually drawn (95 % {signed(result.gain_low)} to {signed(result.gain_high)},"
            f" n = {result.best.pictures} of {result.pictures:,}); about {result.missing:,} more"
            " ratings would settle it"
        )
    facts = _evidence_of(evidence, result)
    config = suggestion_config(
        evidence, [result.best.setting], result.fixed, prompts[:1] or evidence.prompts[:1], 1,
        name=name, metadata={"preset": name, "evidence": facts},
    )  # fmt: skip
    path = presets_folder(archive.path) / f"{name}.toml"
    make_folder(path.parent, root=archive.path)
    tied = any(knob.equal for knob in result.contenders)
    title = "One of the settings that may be best" if tied else "What is known to work best"
    comments = (
        f"{title} with {_title(evidence, result)}: {signed(result.gain)} over what was"
        f" usually drawn, 95 % {signed(result.gain_low)} to {signed(result.gain_high)},",
        f"from {result.best.pictures} rated pictures of this setting, {result.pictures:,} in all,"
        f" rated by {evidence.rated_by}.",
        *contenders_text(result.contenders, evidence.seconds),
    )
    write_config(path, config, comments)
    return Preset(path=path, setting=result.best.setting, summary=comments, evidence=facts)


def _model(evidence: Evidence, result: Verdict) -> str:
    return str(result.best.setting.get(MODEL, evidence.model))


def _title(evidence: Evidence, result: Verdict) -> str:
    """Return what a preset is of: its model, where it was compared, and for which pictures."""
    model = _model(evidence, result) or "any model"
    among = f", of {len(evidence.models)} models" if len(evidence.models) > 1 else ""
    lora = f" with the LoRA {evidence.lora}" if evidence.lora else ""
    return f"{model}{lora}{among}{evidence.scope}"
