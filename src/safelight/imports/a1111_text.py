"""The ``parameters`` text of AUTOMATIC1111 and of the many tools that write the same.

Source: ``parse_generation_parameters`` of AUTOMATIC1111 1.10 for the grammar. Where it loses
something (JSON cut at its first comma, a parameter line that is not the last one, another case
of ``Negative prompt``) this reader does not.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

from safelight.imports.bounded_json import json_value, whole_text
from safelight.imports.reading import Draft, as_number, as_whole

__all__ = ["Infotext", "parse_infotext", "read_infotext"]

_KEY = re.compile(r"\s*(\w[\w \-/]{0,60}):[ \t]*")
_QUOTED = re.compile(r'"(?:\\.|[^\\"])+"(?=\s*(?:,|$))')
_NEGATIVE = re.compile(r"\s*negative prompt:[ \t]?", re.IGNORECASE)
_STEPS = re.compile(r"\s*Steps: *\d+ *(?:,|$)")
_INLINE_STEPS = re.compile(r"(?<=[\s.,;)])Steps: \d+, Sampler: ")
_SIZE = re.compile(r"\s*(\d{1,6})\s*[xX×]\s*(\d{1,6})\s*")
_MAX_TEXT = 2 * 2**20
_MAX_PAIRS = 500
_LONGEST_LINE = 256 * 2**10
_MODEL_ENDINGS = (".safetensors", ".ckpt", ".gguf", ".pt")
_KNOWN = frozenset({
    "Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Model hash", "Model",
    "Denoising strength", "Clip skip", "Version",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Infotext:
    """A parameters text taken apart.

    Attributes:
        prompt: Without the line break at its ends.
        negative_prompt: The same; None when the text has no such line.
        pairs: Key -> value, unquoted, in their order; a key that stands twice keeps the last.
    """

    prompt: str
    negative_prompt: str | None
    pairs: dict[str, str]


def parse_infotext(text: str) -> Infotext:
    """Take a parameters text apart; one without a parameter line is all prompt."""
    lines = text[:_MAX_TEXT].replace("\r\n", "\n").replace("\r", "\n").strip("\n\0 ").split("\n")
    place, pairs = _parameter_line(lines)
    if place < 0:
        lines, pairs = _split_inline(lines)
        place = len(lines)
    later = "\n".join(lines[place + 1 :])
    for match in re.finditer(r"^(Template|Negative Template): ?", later, re.MULTILINE):
        end = re.search(r"^(?:Template|Negative Template): ", later[match.end() :], re.MULTILINE)
        until = match.end() + end.start() if end else len(later)
        pairs.setdefault(match[1], later[match.end() : until].strip())
    return _prompts(lines[:place], pairs)


def _parameter_line(lines: list[str]) -> tuple[int, dict[str, str]]:
    """Find the last line that holds parameters; the very last needs no ``Steps`` to be one."""
    for place in range(len(lines) - 1, max(-1, len(lines) - 200), -1):
        line = lines[place]
        if len(line) > _LONGEST_LINE:
            continue
        if _STEPS.match(line):
            return place, _pairs(line)
        if place == len(lines) - 1 and ":" in line and not _INLINE_STEPS.search(line):
            pairs = _pairs(line)
            if len(pairs) >= 3 and len(pairs.keys() & _KNOWN) >= min(3, len(pairs)):
                return place, pairs
    return -1, {}


def _split_inline(lines: list[str]) -> tuple[list[str], dict[str, str]]:
    """Find parameters that some tools glue to the prompt's last line."""
    last = lines[-1] if lines else ""
    found = list(_INLINE_STEPS.finditer(last)) if len(last) <= _LONGEST_LINE else []
    if not found:
        return lines, {}
    start = found[-1].start()
    return [*lines[:-1], last[:start]], _pairs(last[start:])


def _pairs(line: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    place = 0
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
            return Infotext("\n".join(lines[:place]).strip(), negative.strip(), pairs)
    return Infotext("\n".join(lines).strip(), None, pairs)


def read_infotext(draft: Draft, text: str) -> bool:
    """Read a parameters text into *draft*; False when it is none."""
    info = parse_infotext(text)
    pairs = info.pairs
    if not pairs:
        return False
    draft.generator = _generator(pairs)
    draft.read("prompt", info.prompt)
    if info.negative_prompt is None:
        draft.default("negative_prompt", "")
    else:
        draft.read("negative_prompt", info.negative_prompt)
    taken = {"Steps", "CFG scale", "Seed", "Version"}
    draft.read("steps", pairs.get("Steps"))
    draft.read("cfg_scale", pairs.get("CFG scale"))
    draft.read("seed", pairs.get("Seed"))
    taken |= _read_sampler(draft, pairs)
    taken |= _read_model(draft, pairs)
    taken |= _read_passes(draft, pairs)
    taken |= _read_loras(draft, pairs)
    for key, value in pairs.items():
        if key not in taken:
            draft.also(key, value)
    draft.also("Version", pairs.get("Version"))
    return True


def _generator(pairs: dict[str, str]) -> str:
    version = pairs.get("Version", "")
    if "SD.Next" in pairs.get("App", "") or "Parser" in pairs:
        return "sdnext"
    if version.startswith("Fooocus"):
        return "fooocus"
    if version == "stable-diffusion.cpp" or "SDCPP" in pairs:
        return "sd.cpp"
    if version == "ComfyUI":
        return "comfyui"
    if "classic" in version:
        return "forge-classic"
    if "neo" in version:
        return "forge-neo"
    if re.match(r"f\d[\w.]*-v\d", version):
        return "reforge"
    if re.match(r"f\d[\d.]*v\d", version):
        return "forge"
    if re.match(r"v1\.|1\.\d", version):
        return "a1111"
    if "Civitai resources" in pairs or "Civitai metadata" in pairs:
        return "civitai"
    return "a1111-like"


def _read_sampler(draft: Draft, pairs: dict[str, str]) -> set[str]:
    sampler = pairs.get("Sampler", "")
    named = pairs.get("Schedule type") or (
        pairs.get("Sampler sigma") if draft.generator == "sdnext" else None
    )
    draft.read("scheduler", named)
    if sampler in ("Undefined", "Default"):
        draft.unresolved("sampler")
        draft.warnings.append(f"the sampler is called {sampler!r}, which names none")
    else:
        draft.read("sampler", sampler or None)
    if sampler not in ("Undefined", "Default") and draft.generator not in ("sdnext", "sd.cpp"):
        draft.default("scheduler", "Automatic")
    undefined = sampler == "Undefined"
    if "Clip skip" in pairs and not undefined:
        draft.read("clip_skip", pairs["Clip skip"])
    elif draft.generator not in ("sd.cpp", "sdnext", "comfyui"):
        draft.default("clip_skip", 1)
    return {"Sampler", "Schedule type", "Clip skip"} | (
        {"Sampler sigma"} if draft.generator == "sdnext" else set()
    )


def _read_model(draft: Draft, pairs: dict[str, str]) -> set[str]:
    digest = pairs.get("Model hash", "")
    model = pairs.get("Model") or pairs.get("Unet")
    hashes = json_value(pairs.get("Hashes", ""))
    hashes = hashes if isinstance(hashes, dict) else {}
    digest = digest or str(hashes.get("model", ""))
    if not model:
        model = _civitai_model(pairs)
    draft.read("model", model)
    draft.read("vae", pairs.get("VAE"))
    if digest:
        draft.add_hash(_hash_kind(digest, model or ""), digest)
    return {"Model", "Model hash", "VAE"} | ({"Unet"} if not pairs.get("Model") else set())


def _civitai_model(pairs: dict[str, str]) -> str | None:
    resources = json_value(pairs.get("Civitai resources", ""))
    for resource in resources if isinstance(resources, list) else ():
        if isinstance(resource, dict) and str(resource.get("type", "")).lower() in (
            "checkpoint", "model",
        ):  # fmt: skip
            name = resource.get("modelName") or resource.get("air")
            if isinstance(name, str) and name:
                return name
    return None


def _hash_kind(digest: str, model: str) -> str:
    """Name the kind of a model hash, which its length tells, but for Forge's hash of the name.

    Forge hashed file names from 2024-08-10 to 2025-02-17 (and from its cache for longer).
    """
    if not re.fullmatch(r"[0-9a-fA-F]+", digest):
        return "unknown"
    short = digest.lower()
    stem = model.rpartition("/")[2].rpartition("\\")[2]
    for ending in ("", *_MODEL_ENDINGS):
        if hashlib.sha256((stem + ending).encode()).hexdigest()[:10] == short[:10] and stem:
            return "forge-name-hash"
    return {8: "autov1", 10: "autov2", 12: "autov3", 64: "sha256"}.get(len(short), "unknown")


def _read_passes(draft: Draft, pairs: dict[str, str]) -> set[str]:
    """Read size, hires fix and the img2img strength."""
    size = _size(pairs.get("Size"))
    first, final = _size(pairs.get("First pass size")), _size(pairs.get("Hires resize"))
    taken = {"Size", "Denoising strength", "Hires upscale", "Hires scale", "Hires upscaler",
             "Hires steps", "First pass size"}  # fmt: skip
    scale = pairs.get("Hires upscale") or pairs.get("Hires scale")
    hires = bool(scale or "Hires upscaler" in pairs or final)
    if first and size:  # before 2023 ``Size`` was the final size
        hires, final, size = True, size, first if all(first) else size
    if size:
        draft.read("width", size[0])
        draft.read("height", size[1])
    strength = pairs.get("Denoising strength")
    if not hires:
        if strength is not None:
            draft.stage = "img2img"
            draft.read("denoising_strength", strength)
        return taken
    if scale:
        draft.read("hires_scale", scale)
    elif (
        final
        and size
        and all(size)
        and final != size
        and (final[0] * size[1] == final[1] * size[0])
    ):
        draft.read("hires_scale", final[0] / size[0])
    else:
        draft.unresolved("hires_scale")
    draft.read("hires_upscaler", pairs.get("Hires upscaler"))
    draft.read("hires_denoising_strength", strength)
    steps = as_whole(pairs.get("Hires steps"))
    if steps:
        draft.read("hires_steps", steps)
    elif draft.generator != "sdnext":
        draft.default("hires_steps", draft.knobs.get("steps"))
    return taken


def _size(text: str | None) -> tuple[int, int] | None:
    match = _SIZE.fullmatch(text or "")
    return (int(match[1]), int(match[2])) if match else None


def _read_loras(draft: Draft, pairs: dict[str, str]) -> set[str]:
    hashes: dict[str, str] = {}
    for part in pairs.get("Lora hashes", "").split(","):
        name, colon, digest = part.rpartition(":")
        if colon:
            hashes[name.strip()] = digest.strip()
    civitai = json_value(pairs.get("Hashes", ""))
    for key, digest in civitai.items() if isinstance(civitai, dict) else ():
        if isinstance(key, str) and key.startswith("lora:") and isinstance(digest, str):
            hashes.setdefault(key.removeprefix("lora:"), digest)
    draft.add_prompt_loras(hashes)
    named = {lora.name for lora in draft.loras}
    for name, digest in hashes.items():
        if name not in named:
            draft.add_lora(name, None, digest)
    resources = json_value(pairs.get("Civitai resources", ""))
    for resource in resources if isinstance(resources, list) else ():
        if isinstance(resource, dict) and str(resource.get("type", "")).lower() in (
            "lora", "lycoris", "locon", "dora",
        ):  # fmt: skip
            called = resource.get("modelName") or resource.get("air")
            if isinstance(called, str) and not named:
                draft.add_lora(called, as_number(resource.get("weight")))
    return {"Lora hashes"}
