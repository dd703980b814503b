"""answers: what a server sent back as pictures, and what of it anybody has confirmed."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

from safelight.backends.answered_picture import png_file
from safelight.backends.engine_server import Answer, EngineServer
from safelight.backends.openai_images.dialects import Abilities
from safelight.backends.openai_images.payloads import Payload
from safelight.backends.webui.infotext import infotext_knobs
from safelight.errors import BackendError, ImageError
from safelight.formats.infotext import parse_infotext
from safelight.formats.png_chunks import png_texts
from safelight.pipeline.backend import DrawingRequest, GeneratedImage, Generation, Img2ImgRequest

__all__ = ["read_drawing"]

_CHOSEN_THERE = ("quality", "background")
"""What some answers say beside their pictures that changes pixels."""

_WITNESSED = frozenset({"width", "height", "prompt", "extra"})
"""Knobs that need no confirmation: the file shows its size, and the rest is told apart."""


def read_drawing(
    server: EngineServer,
    abilities: Abilities,
    request: DrawingRequest,
    payload: Payload,
    answer: Answer,
    fetch: Callable[[str], bytes],
) -> Generation:
    """Return the pictures of *answer*.

    Args:
        server: Who answered.
        abilities: What it is.
        request: What was asked, its seed that of the first picture.
        payload: What was sent.
        answer: What came.
        fetch: Returns what lies at the address that an answer names.

    Raises:
        BackendError: There are not as many pictures as asked for, or they are damaged.
    """
    body = server.json(answer)
    listed = body.get("data") if isinstance(body, dict) else None
    if not isinstance(listed, list):
        raise BackendError(f"{server} answered {answer.path} without data; is it the right one?")
    items = [item for item in listed if isinstance(item, dict)]
    if len(items) < payload.number:
        raise BackendError(
            f"{server} sent {len(items)} of {payload.number} pictures; its own log says why"
        )
    warnings = list(payload.warnings)
    if len(items) > payload.number:
        warnings.append(f"{server} sent {len(items)} pictures, {payload.number} were asked for.")
    images, confirmed = [], set(_WITNESSED)
    for place, item in enumerate(items[: payload.number]):
        png, kind = png_file(server, _content(server, item, fetch))
        if kind:
            warnings.append(f"{abilities.dialect.title} sent {kind}, which was converted to PNG.")
        told = _told(png, request) if abilities.dialect.tells else {}
        revised = item.get("revised_prompt")
        if isinstance(revised, str) and revised:
            told["prompt"] = revised
        confirmed |= set(told)
        effective = _effective(body, place, abilities, request, payload, told)
        images.append(GeneratedImage(png=png, effective=effective, unused=payload.unused))
    if len(abilities.models) == 1:
        confirmed.add("model")
    warnings += _unconfirmed(abilities, request, payload, confirmed)
    return Generation(images=tuple(images), warnings=tuple(dict.fromkeys(warnings)))


def _content(server: EngineServer, item: Mapping[str, Any], fetch: Callable[[str], bytes]) -> bytes:
    encoded, url = item.get("b64_json"), item.get("url")
    if not encoded and isinstance(url, str) and url and not url.startswith("data:"):
        return fetch(url)
    try:
        content = str(encoded or url or "").rpartition(",")[2]
        data = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BackendError(f"{server} sent a picture that is no base64 ({error})") from error
    if not data:
        raise BackendError(f"{server} sent an answer without a picture; its own log says why")
    return data


def _told(png: bytes, request: DrawingRequest) -> dict[str, Any]:
    """Return what sd-server's text in *png* says; nothing where it has none."""
    try:
        text = png_texts(png).get("parameters", "")
    except ImageError:
        return {}
    told = infotext_knobs(parse_infotext(text)) if text else {}
    for knob in ("width", "height", "model_hash"):
        told.pop(knob, None)
    if not isinstance(request, Img2ImgRequest):
        told.pop("denoising_strength", None)
    for knob in ("guidance", "shift", "sigmas", "cache"):
        if knob not in request.others:  # it tells the defaults of other models with every model
            told.pop(knob, None)
    for knob in ("prompt", "negative_prompt"):
        if knob in told and str(told[knob]).strip() == getattr(request, knob).strip():
            told[knob] = getattr(request, knob)
    return told


def _effective(
    body: Mapping[str, Any],
    place: int,
    abilities: Abilities,
    request: DrawingRequest,
    payload: Payload,
    told: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what is known of picture *place* of an answer: what it tells, else what was sent."""
    effective = {**payload.sent, **told}
    if place and "seed" in effective and "seed" not in told:
        effective["seed"] += place
    same = abilities.called(str(effective.get("model", "")))
    if request.model is not None and same is not None and abilities.called(request.model) == same:
        effective["model"] = request.model  # the user's spelling of the same one
    chosen = {n: body[n] for n in _CHOSEN_THERE if isinstance(body.get(n), str) and body[n]}
    if chosen or request.extra:
        effective["extra"] = {**request.extra, **chosen}
    if request.batch_size is not None:
        effective["batch_size"] = request.batch_size
    return effective


def _unconfirmed(
    abilities: Abilities, request: DrawingRequest, payload: Payload, confirmed: set[str]
) -> list[str]:
    """Return a sentence about what was sent and not confirmed, the same for alike requests."""
    silent = [knob for knob in payload.sent if knob not in confirmed]
    silent += [f"extra.{name}" for name in request.extra]
    if abilities.dialect.mask in payload.files and not abilities.dialect.tells:
        silent.append("mask")
    if not silent:
        return []
    return [
        f"{abilities.dialect.title} does not say which {', '.join(silent)} it used; recorded is"
        " what was asked."
    ]
