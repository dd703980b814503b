"""Pictures that safelight drew, wherever they were met: what their ``safelight`` text says.

It holds the knobs of every stage as they were really used, so that nothing has to be read out of
words. Tools that draw from a picture copy its texts into theirs, so what stands beside is asked,
too: what says another seed is another picture's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from safelight.formats.bounded_json import json_object
from safelight.imports.a1111_text import read_infotext
from safelight.imports.reading import Draft, Given
from safelight.knobs import FILE_KNOBS, KNOBS, STAGES, knob_fault

__all__ = ["read_own"]

_RUN_ID = re.compile(r"[0-9A-Za-z]{1,64}")
_DIGEST = re.compile(r"[0-9A-Za-z.:_-]{1,128}")


def read_own(draft: Draft, given: Given) -> bool:
    """Read the ``safelight`` text into *draft*; False when it is none, or another picture's."""
    about = json_object(given.texts.get("safelight", ""))
    run_id, stage, config = (about.get(key) for key in ("run_id", "stage", "config"))
    if not isinstance(run_id, str) or not _RUN_ID.fullmatch(run_id) or stage not in STAGES:
        return False
    config = config if isinstance(config, dict) else {}
    staged: dict[str, Any] = {
        name: config[name] for name in STAGES if isinstance(config.get(name), dict)
    }
    if staged and (differing := _differing(staged, given.texts.get("parameters", ""))):
        draft.warnings.append(
            f"the text of a picture of safelight's run {run_id} is there, too, and says another"
            f" {', '.join(differing)}: it was drawn from that picture"
        )
        return False
    if stage in staged:
        _read_stages(draft, staged, stage)
        _compare_size(draft, about, given.size)
    elif not read_infotext(draft, given.texts.get("parameters", "")):
        return False
    draft.generator = "safelight"
    draft.own = _facts(about, run_id)
    draft.also("safelight run", run_id)
    draft.also("safelight variant", about.get("variant"))
    return True


def _differing(staged: Mapping[str, Mapping[str, Any]], text: str) -> list[str]:
    """Return what the text beside says otherwise, as that of another tool's picture does."""
    beside = Draft()
    if not read_infotext(beside, text):
        return []
    drawn = {**staged.get("txt2img", {}), **staged.get("img2img", {})}
    differing = [
        knob for knob in ("seed", "steps")
        if None not in (beside.knobs.get(knob), drawn.get(knob))
        and beside.knobs[knob] != drawn[knob]
    ]  # fmt: skip
    if beside.stage == "img2img" and "img2img" not in staged:
        differing.append("stage")
    return differing


def _read_stages(draft: Draft, staged: Mapping[str, Mapping[str, Any]], last: str) -> None:
    """Take every knob as it stands; what is none goes to what is said beyond knobs."""
    draft.earlier = {name: _read_stage(draft, name, staged[name]) for name in staged}
    draft.knobs = draft.earlier.pop(last)
    draft.stage, draft.says_all = last, True
    draft.statuses = dict.fromkeys(draft.knobs, "read")
    for knob in (knob for knob in FILE_KNOBS if knob in staged[last]):
        draft.unresolved(knob)


def _read_stage(draft: Draft, stage: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    knobs: dict[str, Any] = {}
    extras = settings.get("extra")
    for key, value in (*settings.items(), *(extras.items() if isinstance(extras, dict) else ())):
        known = KNOBS.get(key)
        if known is None or stage not in known.stages or known.means == "file":
            if value is not extras:  # whose file it is, nobody knows here
                draft.also(key, value)
        elif fault := knob_fault(known, value):
            draft.warnings.append(f"{stage}.{key} {fault[:200]}")
        else:
            knobs[key] = value
    return knobs


def _compare_size(draft: Draft, about: Mapping[str, Any], size: tuple[int, int]) -> None:
    sides = about.get("width"), about.get("height")
    if all(isinstance(side, int) for side in sides) and sides != size:
        draft.warnings.append(
            f"it was drawn {sides[0]}x{sides[1]} and is {size[0]}x{size[1]}: changed since"
        )


def _facts(about: Mapping[str, Any], run_id: str) -> dict[str, Any]:
    """Return what says which picture it is, as far as it has the form of that."""
    facts: dict[str, Any] = {"run_id": run_id}
    if isinstance(about.get("variant"), int):
        facts["variant"] = about["variant"]
    for key in ("parent", "pixel_sha256", "identity"):
        if isinstance(about.get(key), str) and _DIGEST.fullmatch(about[key]):
            facts[key] = about[key]
    engine = about.get("engine")
    if isinstance(engine, dict):
        named = {key: str(engine.get(key) or "")[:200] for key in ("name", "version")}
        facts["engine"] = named
    return facts
