"""columns: what of a record is always asked for, as rows of flat tables.

One table, :data:`TABLES`, says which columns there are; packing, queries, the filter language
and the documentation all read it. A column is added at the end, never changed: packs of
earlier versions lack it, and read as NULL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from safelight.errors import RecordError
from safelight.knobs import STAGES
from safelight.lora_tags import split_loras

__all__ = ["RATINGS", "TABLES", "rows_of"]

_RUNS = {
    "run_id": "VARCHAR", "timestamp": "VARCHAR", "name": "VARCHAR", "status": "VARCHAR",
    "backend": "VARCHAR", "backend_version": "VARCHAR", "mode": "VARCHAR",
    "plan_size": "BIGINT", "plan_id": "VARCHAR", "part": "BIGINT", "parts": "BIGINT",
    "model": "VARCHAR", "sampler": "VARCHAR", "scheduler": "VARCHAR", "steps": "BIGINT",
    "cfg_scale": "DOUBLE", "prompt": "VARCHAR", "variants": "BIGINT", "pictures": "BIGINT",
    "failures": "BIGINT", "warnings": "BIGINT", "seconds": "DOUBLE", "error": "VARCHAR",
}  # fmt: skip

_IMAGES = {
    "run_id": "VARCHAR", "place": "BIGINT", "timestamp": "VARCHAR", "variant": "BIGINT",
    "stage": "VARCHAR", "path": "VARCHAR", "sha256": "VARCHAR", "pixel_sha256": "VARCHAR",
    "parent": "VARCHAR", "width": "BIGINT", "height": "BIGINT", "seed": "UBIGINT",
    "seconds": "DOUBLE", "mismatches": "BIGINT", "backend": "VARCHAR", "status": "VARCHAR",
    "name": "VARCHAR", "prompt": "VARCHAR", "negative_prompt": "VARCHAR", "model": "VARCHAR",
    "vae": "VARCHAR", "sampler": "VARCHAR", "scheduler": "VARCHAR", "steps": "BIGINT",
    "cfg_scale": "DOUBLE", "eta": "DOUBLE", "clip_skip": "BIGINT", "denoising_strength": "DOUBLE",
    "hires_scale": "DOUBLE", "hires_upscaler": "VARCHAR", "hires_steps": "BIGINT",
    "hires_denoising_strength": "DOUBLE", "upscaler": "VARCHAR", "scale": "DOUBLE",
    "lower_prompt": "VARCHAR", "identity": "VARCHAR",
}  # fmt: skip

_LORAS = {"run_id": "VARCHAR", "place": "BIGINT", "name": "VARCHAR", "weight": "DOUBLE"}

_DOCUMENTS = {"run_id": "VARCHAR", "json": "VARCHAR"}

TABLES: Mapping[str, Mapping[str, str]] = {
    "runs": _RUNS, "images": _IMAGES, "loras": _LORAS, "documents": _DOCUMENTS
}  # fmt: skip
"""Table -> column -> SQL type. ``documents`` holds each record's canonical JSON text."""

RATINGS: Mapping[str, str] = {
    "stars": "DOUBLE", "favourite": "BOOLEAN", "rejected": "BOOLEAN", "tags": "VARCHAR",
    "notes": "VARCHAR", "picks_won": "BIGINT", "picks_lost": "BIGINT",
}  # fmt: skip
"""What the view ``images`` adds of ratings: column -> SQL type; NULL where nobody said anything."""

_KNOBS = tuple(name for name in _IMAGES if name not in (
    "run_id", "place", "timestamp", "variant", "stage", "path", "sha256", "pixel_sha256", "parent",
    "width", "height", "seed", "seconds", "mismatches", "backend", "status", "name",
    "lower_prompt", "identity",
))  # fmt: skip
_TEXTS = frozenset(name for name in _KNOBS if _IMAGES[name] == "VARCHAR")


class _Output(msgspec.Struct, gc=False):
    variant: int
    stage: str
    sha256: str
    pixel_sha256: str
    width: int
    height: int
    path: str | None = None
    seed: int | None = None
    seconds: float = 0.0
    mismatches: list[Any] = []
    parent: str | None = None


class _About(msgspec.Struct, gc=False):
    identity: str | None = None


class _Template(msgspec.Struct, gc=False):
    variants: list[_About] = []


class _Slim(msgspec.Struct, gc=False):
    """The fields that are asked for; the rest of a record is not even decoded."""

    run_id: str
    timestamp: str
    variant_configs: list[dict[str, dict[str, Any]]]
    randomizer_mode: str = ""
    randomizer_plan_size: int = 0
    primary_model: str = ""
    primary_sampler: str = ""
    primary_scheduler: str = ""
    primary_steps: int = 0
    primary_cfg_scale: float = 0.0
    schema: int = 1
    status: str = "completed"
    error: str | None = None
    name: str = ""
    plan_id: str | None = None
    part: int = 1
    parts: int = 1
    outputs: list[_Output] = []
    failures: list[msgspec.Raw] = []
    warnings: list[msgspec.Raw] = []
    backend: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    template: msgspec.Raw = msgspec.Raw(b"{}")


_decoder = msgspec.json.Decoder(_Slim)
_template_decoder = msgspec.json.Decoder(_Template)

Row = tuple[Any, ...]


def rows_of(json: bytes) -> Iterator[tuple[str, Row]]:
    """Yield (table, row) for one record, the row of ``runs`` first.

    Args:
        json: The record's file.

    Raises:
        RecordError: It is no record.
    """
    try:
        record = _decoder.decode(json)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordError(f"is no learning record: {error}") from error
    drawn = [_drawn(config) for config in record.variant_configs]
    backend, version = (_text(record.backend.get(key)) for key in ("name", "version"))
    yield "runs", (
        record.run_id, record.timestamp, record.name, record.status, backend, version,
        record.randomizer_mode, record.randomizer_plan_size, record.plan_id, record.part,
        record.parts, record.primary_model, record.primary_sampler, record.primary_scheduler,
        record.primary_steps, record.primary_cfg_scale,
        _text(drawn[0].get("prompt")) if drawn else None, len(record.variant_configs),
        len(record.outputs), len(record.failures), len(record.warnings),
        sum(record.seconds.values()), record.error,
    )  # fmt: skip
    identities = _identities(record.template)
    known: dict[tuple[int, str], tuple[Any, ...]] = {}
    for place, output in enumerate(record.outputs):
        knobs = known.get((output.variant, output.stage))
        if knobs is None:
            knobs = _knobs(record.variant_configs, output)
            known[output.variant, output.stage] = knobs
        prompt = knobs[0]
        seed = output.seed if output.seed is not None and 0 <= output.seed < 2**64 else None
        yield "images", (
            record.run_id, place, record.timestamp, output.variant, output.stage, output.path,
            output.sha256, output.pixel_sha256, output.parent, output.width, output.height, seed,
            output.seconds, len(output.mismatches), backend, record.status, record.name,
            *knobs, None if prompt is None else prompt.lower(),
            identities[output.variant] if 0 <= output.variant < len(identities) else None,
        )  # fmt: skip
        if prompt is not None and "<lora:" in prompt:
            for lora in split_loras(prompt)[1]:
                yield "loras", (record.run_id, place, lora.name, lora.unet)
    yield "documents", (record.run_id, json.decode())


def _identities(template: msgspec.Raw) -> list[str | None]:
    """Return the identity of each variant; empty for records that say none."""
    if b'"identity"' not in bytes(template):
        return []
    try:
        return [about.identity for about in _template_decoder.decode(template).variants]
    except msgspec.DecodeError:
        return []  # somebody else's template


def _knobs(configs: list[dict[str, dict[str, Any]]], output: _Output) -> tuple[Any, ...]:
    """Return the effective knobs that led to a picture, in the order of the columns."""
    config: Mapping[str, Any] = {}
    if 0 <= output.variant < len(configs):
        config = _drawn(configs[output.variant], output.stage)
    return tuple(_plain(name, config.get(name)) for name in _KNOBS)


def _drawn(config: Mapping[str, Any], last: str = "upscale") -> dict[str, Any]:
    """Return the knobs that led to a picture of stage *last*, later stages over earlier ones."""
    knobs: dict[str, Any] = {}
    for stage in STAGES:
        own = config.get(stage)
        if isinstance(own, Mapping):
            knobs.update(own)
        if stage == last:
            break
    return knobs


def _plain(name: str, value: Any) -> Any:
    """Return *value* when it is of its column's kind; what an engine invented stays out."""
    if name in _TEXTS:
        return _text(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if _IMAGES[name] != "BIGINT" or abs(value) < 2**63 else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
