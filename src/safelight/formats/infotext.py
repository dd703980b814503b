"""infotext: the ``parameters`` text of AUTOMATIC1111's family: its grammar, and how we write it.

Source: ``parse_generation_parameters`` and ``create_infotext`` of AUTOMATIC1111 1.10. Where the
first loses something (JSON cut at its first comma, a parameter line that is not the last one,
another case of ``Negative prompt``) this reader does not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from safelight.formats.bounded_json import whole_text
from safelight.knobs import KNOBS, STAGES
from safelight.version import __version__

__all__ = ["Infotext", "parameters_text", "parse_infotext"]

_KEY = re.compile(r"\s*(\w[\w \-/]{0,60}):[ \t]*")
_QUOTED = re.compile(r'"(?:\\.|[^\\"])+"(?=\s*(?:,|$))')
_NEGATIVE = re.compile(r"\s*negative prompt:[ \t]?", re.IGNORECASE)
_STEPS = re.compile(r"\s*Steps: *\d+ *(?:[,|]|$)", re.IGNORECASE)
_PIPED = re.compile(r"\s*Steps: *\d+ *\|", re.IGNORECASE)
_LABEL = re.compile(r"\s*prompt: ?")
_INLINE_STEPS = re.compile(r"(?<=[\s.,;)])Steps: \d+, Sampler: ")
_MAX_TEXT = 2 * 2**20
_MAX_PAIRS = 500
_FEWEST_PAIRS = 3
_LONGEST_LINE = 256 * 2**10
_KNOWN = frozenset({
    "steps", "sampler", "schedule type", "cfg scale", "seed", "size", "model hash", "model",
    "denoising strength", "clip skip", "version",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Infotext:
    """A parameters text taken apart.

    Attributes:
        prompt: Without the line breaks at its ends; blanks there are for the encoder to see.
        negative_prompt: The same; None when the text has no such line.
        pairs: Key -> value, unquoted, in their order; a key that stands twice keeps the last.
    """

    prompt: str
    negative_prompt: str | None
    pairs: dict[str, str]


def parse_infotext(text: str) -> Infotext:
    """Take a parameters text apart; one without a parameter line is all prompt."""
    lines = text[:_MAX_TEXT].replace("\r\n", "\n").replace("\r", "\n").strip("\n\0").split("\n")
    place, pairs = _parameter_line(lines)
    if place < 0:
        lines, pairs = _split_inline(lines)
        place = len(lines)
    later = "\n".join(lines[place + 1 :])
    for match in re.finditer(r"^(Template|Negative Template): ?", later, re.MULTILINE):
        end = re.search(r"^(?:Template|Negative Template): ", later[match.end() :], re.MULTILINE)
        until = match.end() + end.start() if end else len(later)
        pairs.setdefault(match[1], later[match.end() : until].strip())
    piped = place < len(lines) and _PIPED.match(lines[place])
    if piped and place and (label := _LABEL.match(lines[0])):
        lines[0] = lines[0][label.end() :]  # SD.Next of 2023
    return _prompts(lines[:place], pairs)


def _parameter_line(lines: list[str]) -> tuple[int, dict[str, str]]:
    """Find the last line that holds parameters; the very last needs no ``Steps`` to be one."""
    for place in range(len(lines) - 1, max(-1, len(lines) - 200), -1):
        line = lines[place]
        if len(line) > _LONGEST_LINE:
            continue
        if _STEPS.match(line):
            pairs = _pairs(line)
            known = {key.lower(): value for key, value in pairs.items()}
            counted = all(known.get(key, "0").strip().isdigit() for key in ("steps", "seed"))
            sure = counted and place == len(lines) - 1 and known.keys() <= _KNOWN
            if len(pairs) >= (_FEWEST_PAIRS - sure):
                return place, pairs
        if place == len(lines) - 1 and ":" in line and not _INLINE_STEPS.search(line):
            pairs = _pairs(line)
            if len({key.lower() for key in pairs} & _KNOWN) >= _FEWEST_PAIRS:
                return place, pairs
    return -1, {}


def _split_inline(lines: list[str]) -> tuple[list[str], dict[str, str]]:
    """Find parameters that some tools glue to the prompt's last line."""
    last = lines[-1] if lines else ""
    steps = list(_INLINE_STEPS.finditer(last)) if len(last) <= _LONGEST_LINE else []
    if not steps:
        return lines, {}
    start = steps[-1].start()
    return [*lines[:-1], last[:start].rstrip()], _pairs(last[start:])


def _pairs(line: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    place = 0
    if _PIPED.match(line):  # SD.Next of 2023
        line = re.sub(r" *\| *(?=\w[\w \-/]{0,60}:)", ", ", line)
    for _ in range(_MAX_PAIRS):
        match = _KEY.match(line, place)
        if match is None:
            comma = line.find(",", place)
            if comma < 0:
                break
            place = comma + 1
            continue
        value, place = _value(line, match.end())
        if value:
            pairs[match[1].strip()] = value
        if place >= len(line):
            break
    return pairs


def _value(line: str, place: int) -> tuple[str, int]:
    """Read one value and its comma: a JSON string, bare JSON, or text up to the comma."""
    if quoted := _QUOTED.match(line, place):
        try:
            value = whole_text(str(json.loads(quoted[0])))
        except ValueError:
            value = quoted[0].strip('"')
        return value, _behind_comma(line, quoted.end())
    if line[place : place + 1] in ("{", "["):
        try:
            _, end = json.JSONDecoder().raw_decode(line, place)
        except (ValueError, RecursionError):
            pass
        else:
            if not line[end : end + 1].strip(", "):
                return line[place:end], _behind_comma(line, end)
    comma = line.find(",", place)
    end = len(line) if comma < 0 else comma
    return line[place:end].strip(), end + 1


def _behind_comma(line: str, place: int) -> int:
    comma = line.find(",", place)
    return len(line) if comma < 0 else comma + 1


def _prompts(lines: list[str], pairs: dict[str, str]) -> Infotext:
    for place, line in enumerate(lines):
        if match := _NEGATIVE.match(line):
            negative = "\n".join([line[match.end() :], *lines[place + 1 :]])
            template = re.search(r"^(?:Negative )?Template: ", negative, re.MULTILINE)
            if template and pairs:
                pairs.setdefault("Template", negative[template.end() :].strip())
                negative = negative[: template.start()]
            return Infotext(_text(lines[:place]), negative.strip("\n"), pairs)
    return Infotext(_text(lines), None, pairs)


def _text(lines: list[str]) -> str:
    return "\n".join(lines).strip("\n")


_FIRST_KEYS = (
    "steps", "sampler", "scheduler", "cfg_scale", "seed", "size", "model_hash", "model", "vae",
    "denoising_strength", "clip_skip", "eta", "mask_blur", "hires_scale", "hires_steps",
    "hires_upscaler",
)  # fmt: skip
_KEYS = {
    **{knob.name: knob.infotext for knob in KNOBS.values() if knob.infotext},
    "size": "Size",
    "model_hash": "Model hash",
}
_INFOTEXT_KEYS = tuple((name, _KEYS[name]) for name in dict.fromkeys((*_FIRST_KEYS, *_KEYS)))
"""Knob -> key, in the order in which AUTOMATIC1111 writes them; its own come last."""


def parameters_text(
    config: Mapping[Any, Mapping[str, Any]], width: int | None, height: int | None
) -> str:
    """Return the A1111 ``parameters`` text of a picture.

    Args:
        config: Stage -> effective knobs of the stages that led to the picture, itself last.
        width: Of the picture, in pixels; None where it is not known.
        height: The same.

    Source: ``create_infotext`` of AUTOMATIC1111 1.10 for keys, order and quoting.
    """
    drawn: dict[str, Any] = {}
    for stage in STAGES:
        if stage != "upscale":
            drawn.update(config.get(stage, {}))
    if "denoising_strength" not in drawn:
        drawn["denoising_strength"] = drawn.get("hires_denoising_strength")
    upscale = config.get("upscale", {})
    first_pass = (drawn.get("width"), drawn.get("height"))
    sides = first_pass if upscale or drawn.get("hires_scale") else (width, height)
    drawn["size"] = f"{sides[0]}x{sides[1]}" if None not in sides else None
    pairs = [(key, drawn[knob]) for knob, key in _INFOTEXT_KEYS if drawn.get(knob) is not None]
    if upscale:
        pairs.append(("Postprocess upscale by", upscale.get("scale")))
        pairs.append(("Postprocess upscaler", upscale.get("upscaler")))
    pairs.append(("Version", f"safelight {__version__}"))
    last = ", ".join(f"{key}: {_quoted(value)}" for key, value in pairs if value is not None)
    negative = drawn.get("negative_prompt")
    lines = [str(drawn.get("prompt", ""))]
    lines += [f"Negative prompt: {negative}"] if negative else []
    return "\n".join([*lines, last])


def _quoted(value: object) -> str:
    text = str(value)
    if any(sign in text for sign in ",\n:"):
        return json.dumps(text, ensure_ascii=False)
    return text
