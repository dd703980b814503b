"""answers: what a server sent back as pictures, each with the knobs that were really used."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from safelight.backends.answered_picture import png_file
from safelight.backends.engine_server import Answer, EngineServer
from safelight.backends.noise_levels import noise_levels
from safelight.backends.server_group import NotBegun
from safelight.backends.webui.dialects import SDCPP, SDNEXT, Abilities, Model
from safelight.backends.webui.infotext import infotext_knobs, unread_pairs
from safelight.backends.webui.server_settings import shaping_settings, untold_knobs
from safelight.errors import BackendError, ImageError
from safelight.formats.bounded_json import json_object
from safelight.formats.infotext import Infotext, parse_infotext
from safelight.formats.png_chunks import png_texts
from safelight.pipeline.backend import (
    DrawingRequest,
    GeneratedImage,
    Generation,
    Img2ImgRequest,
    Txt2ImgRequest,
)
from safelight.sampler_names import canonical_name

__all__ = ["Png", "decoded_png", "read_drawing"]

_MAYBE_IGNORED = ("model", "vae", "scheduler", "clip_skip", "eta")
"""Knobs that a server may pass over: what it does not report is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Png:
    """A picture as it came.

    Attributes:
        data: A PNG file.
        width: In pixels, from its header.
        height: In pixels, from its header.
        text: What the server wrote into it about itself; empty when nothing.
        warning: What had to be done to it, or empty.
    """

    data: bytes
    width: int
    height: int
    text: str = ""
    warning: str = ""


def decoded_png(server: EngineServer, encoded: Any) -> Png:
    """Return the picture in *encoded*, base64 with or without a ``data:`` prefix.

    Raises:
        BackendError: It is no whole picture.
    """
    try:
        data = base64.b64decode(str(encoded).rpartition(",")[2], validate=True)
    except (binascii.Error, ValueError) as error:
        raise BackendError(f"{server} sent a picture that is no base64 ({error})") from error
    data, kind = png_file(server, data)
    warning = ""
    if kind:
        warning = (
            f"{server} sent {kind}, which was converted; set its option samples_format to png to"
            " keep what it writes into its pictures."
        )
    width, height = struct.unpack(">II", data[16:24])
    try:
        text = png_texts(data).get("parameters", "")
    except ImageError:
        text = ""
    return Png(data=data, width=width, height=height, text=text, warning=warning)


def read_drawing(
    server: EngineServer,
    abilities: Abilities,
    request: DrawingRequest,
    sent: Mapping[str, Any],
    answer: Answer,
    settings: Mapping[str, Any],
) -> Generation:
    """Return the pictures of a txt2img or img2img answer.

    Args:
        server: Who answered.
        abilities: What it has.
        request: What was asked.
        sent: How it was asked.
        answer: What came back.
        settings: The server's, as they were before the run; they tell what its texts do not.

    Raises:
        NotBegun: There are none because no model is loaded yet.
        BackendError: There are not as many as asked for, or they are damaged.
    """
    body = server.json(answer)
    images = body.get("images") if isinstance(body, dict) else None
    if not isinstance(images, list):
        raise BackendError(f"{server} answered {answer.path} without images; is it the right one?")
    info = _info(body.get("info"))
    wanted = request.batch_size or 1
    first = info.get("index_of_first_image")
    first = first if isinstance(first, int) and 0 <= first <= len(images) - wanted else 0
    if len(images) - first < wanted:
        raise _too_few(server, info, len(images), wanted)
    pictures = [decoded_png(server, image) for image in images[first : first + wanted]]
    warnings = [p.warning for p in pictures[:1] if p.warning]
    if len(images) - first > wanted:
        warnings.append(f"{server} sent {len(images) - first} pictures, {wanted} were asked for.")
    reading = _Reading(abilities, request, sent, info, first, settings)
    effective = [reading.knobs(picture, number) for number, picture in enumerate(pictures)]
    warnings += reading.warnings(effective[0], pictures[0])
    warnings += _extra_warnings(abilities, request, body.get("parameters"))
    return Generation(
        images=tuple(
            GeneratedImage(png=picture.data, effective=knobs)
            for picture, knobs in zip(pictures, effective, strict=True)
        ),
        warnings=tuple(warnings),
    )


def _info(info: Any) -> Mapping[str, Any]:
    return json_object(info) if isinstance(info, str) else {}


def _too_few(server: EngineServer, info: Mapping[str, Any], got: int, wanted: int) -> BackendError:
    texts = info.get("infotexts")
    text = parse_infotext(str(texts[0])) if isinstance(texts, list) and texts else None
    if got == 0 and (text is None or not text.pairs.get("Model")):
        return NotBegun(
            f"{server} sent no picture, as it does while its model is still loading; try again"
            " in a while, or choose a model there"
        )
    return BackendError(
        f"{server} sent {got} of {wanted} pictures: the job failed there, or was skipped by"
        " another client; its own log says why"
    )


class _Reading:
    """What one answer says of the knobs of each of its pictures."""

    def __init__(
        self,
        abilities: Abilities,
        request: DrawingRequest,
        sent: Mapping[str, Any],
        info: Mapping[str, Any],
        first: int,
        settings: Mapping[str, Any],
    ) -> None:
        self._abilities, self._request, self._sent = abilities, request, sent
        self._info, self._first, self._settings = info, first, settings

    def knobs(self, picture: Png, number: int) -> dict[str, Any]:
        """Return knob -> value of picture *number* of the batch."""
        infotext = picture.text or _nth(self._info, "infotexts", self._first + number)
        text = parse_infotext(str(infotext or ""))
        knobs = infotext_knobs(text)
        self._take_info(knobs, number)
        if not infotext:
            knobs = {**untold_knobs(self._settings, self._abilities.dialect), **knobs}
        self._name_the_prompts(knobs)
        self._name_the_model(knobs)
        self._sort_out_strength(knobs)
        self._measure(knobs, picture)
        self._name_the_others(knobs, text)
        overridden = (*self._request.extra, *self._request.extra.get("override_settings", ()))
        others = shaping_settings(self._settings, overridden, has_text=bool(infotext))
        if others := {**others, **unread_pairs(text)}:
            knobs["extra"] = {**self._request.extra, **others}
        if not self._abilities.dialect.has_schedulers:
            knobs.pop("scheduler", None)
        else:
            self._take_the_asked_twin(knobs)
        return knobs

    def _take_info(self, knobs: dict[str, Any], number: int) -> None:
        """The JSON beside the pictures knows more than the text, and knows it exactly."""
        names = {
            "sampler_name": "sampler", "cfg_scale": "cfg_scale", "steps": "steps",
            "sd_model_name": "model", "sd_vae_name": "vae", "clip_skip": "clip_skip",
            "denoising_strength": "denoising_strength",
        }  # fmt: skip
        for name, knob in names.items():
            value = self._info.get(name)
            if value is None or (name == "sampler_name" and value == "Default"):
                continue
            if knob == "sampler" and value not in (self._abilities.samplers or ()):
                value = canonical_name("sampler", str(value)) or value  # sd-server says euler_a
            knobs[knob] = value
        for name, knob in (
            ("all_seeds", "seed"),
            ("all_prompts", "prompt"),
            ("all_negative_prompts", "negative_prompt"),
        ):
            value = _nth(self._info, name, number)
            if value is not None:
                knobs[knob] = value
        stated_hash = self._info.get("sd_model_hash")
        if isinstance(stated_hash, str) and re.fullmatch(r"[0-9a-f]{10}", stated_hash):
            knobs["model_hash"] = f"autov2:{stated_hash}"
        if self._request.batch_size is not None:
            size = self._info.get("batch_size")
            knobs["batch_size"] = size if isinstance(size, int) else self._request.batch_size

    def _name_the_prompts(self, knobs: dict[str, Any]) -> None:
        """What was rewritten for this server only was no change of the prompt."""
        for knob in ("prompt", "negative_prompt"):
            sent = re.sub(r"<sd_cpp_extra_args>.*?</sd_cpp_extra_args>", "", str(self._sent[knob]))
            if knob in knobs and str(knobs[knob]).strip() == sent.strip():
                knobs[knob] = getattr(self._request, knob)

    def _name_the_model(self, knobs: dict[str, Any]) -> None:
        """Report the user's spelling where it is the same model, else the server's."""
        for knob, listed in (
            ("model", self._abilities.models),
            ("vae", self._abilities.vaes or ()),
        ):
            if (name := knobs.get(knob)) is None:
                continue
            asked: str | None = getattr(self._request, knob)
            known = [m for m in listed if m.is_called(str(name))]
            known = known or [Model(title=str(name), name=str(name))]
            if asked is not None and any(m.is_called(asked) for m in known):
                knobs[knob] = asked
            else:
                knobs[knob] = known[0].name
            if knob == "model" and known[0].hash not in ("", self._abilities.dialect.invented_hash):
                knobs.setdefault("model_hash", f"autov2:{known[0].hash}")
        if _hashes_the_name(knobs):
            del knobs["model_hash"]

    def _name_the_others(self, knobs: dict[str, Any], text: Infotext) -> None:
        """Report what the server has no own words for as it was asked, where it is the same."""
        asked, dialect = self._request.others, self._abilities.dialect
        if dialect is SDCPP:
            # It tells the defaults of distilled models with every model.
            for knob in dialect.others:
                if knob not in asked:
                    knobs.pop(knob, None)
            for knob, same in (("sigmas", _same_levels), ("cache", _same_words)):
                if knob in knobs and same(str(knobs[knob]), str(asked[knob])):
                    knobs[knob] = asked[knob]
        if "text_encoders" in dialect.others:
            self._sort_out_modules(knobs, text)

    def _sort_out_modules(self, knobs: dict[str, Any], text: Infotext) -> None:
        """Tell Forge's modules apart: which is the VAE, which are text encoders."""
        modules = [v for k, v in text.pairs.items() if re.fullmatch(r"Module \d+", k)]
        if not modules:
            return
        asked = [n.strip() for n in str(self._request.others.get("text_encoders", "")).split(",")]
        encoders = []
        for name in modules:
            known = [m for m in self._abilities.vaes or () if m.is_called(name)]
            known = known or [Model(title=name, name=name)]
            vae = self._request.vae
            called = next((n for n in asked if n and known[0].is_called(n)), None)
            if called or "text_encoder" in known[0].filename:
                encoders.append(called or known[0].name)
            elif vae is not None and known[0].is_called(vae):
                knobs["vae"] = vae
            elif "VAE" in known[0].filename:
                knobs["vae"] = known[0].name
        if encoders:
            in_order = sorted(encoders) == sorted(n for n in asked if n)
            knobs["text_encoders"] = (
                self._request.others["text_encoders"] if in_order else ", ".join(encoders)
            )

    def _sort_out_strength(self, knobs: dict[str, Any]) -> None:
        strength = knobs.pop("denoising_strength", None)
        if strength is None:
            return
        if isinstance(self._request, Img2ImgRequest):
            knobs["denoising_strength"] = strength
        elif isinstance(self._request, Txt2ImgRequest) and self._request.hires_scale is not None:
            knobs.setdefault("hires_denoising_strength", strength)

    def _measure(self, knobs: dict[str, Any], picture: Png) -> None:
        """The file is the witness of its size, and with hires fix of how much it grew."""
        request = self._request
        asked = request.hires_scale if isinstance(request, Txt2ImgRequest) else None
        if asked is None:
            knobs.update(width=picture.width, height=picture.height)
            return
        width = request.width or knobs.get("width") or round(picture.width / asked)
        height = request.height or knobs.get("height") or round(picture.height / asked)
        grown = picture.width / width
        near = abs(picture.width - width * asked) < 8 and abs(picture.height - height * asked) < 8
        knobs["hires_scale"] = asked if near else round(grown, 4)
        knobs["width"] = round(picture.width / knobs["hires_scale"])
        knobs["height"] = round(picture.height / knobs["hires_scale"])

    def _take_the_asked_twin(self, knobs: dict[str, Any]) -> None:
        """Two of our names may be one of the server's: then the asked one was used."""
        for knob, known in (
            ("sampler", self._abilities.samplers),
            ("scheduler", self._abilities.schedulers or {}),
        ):
            asked = getattr(self._request, knob)
            field = "sampler_name" if knob == "sampler" else "scheduler"
            if asked is None or knob not in knobs or knobs[knob] == asked:
                continue
            if known.get(str(knobs[knob])) == self._sent.get(field) != asked:
                knobs[knob] = asked

    def warnings(self, knobs: Mapping[str, Any], picture: Png) -> list[str]:
        """Return what the user should know about the first picture, whole sentences."""
        dialect, request = self._abilities.dialect, self._request
        silent = [
            knob
            for knob in _MAYBE_IGNORED
            if getattr(request, knob) is not None and knob not in knobs
            if not dialect.tells_nothing
        ]
        others = [knob for knob in request.others if knob not in knobs]
        silent = [k for k in silent if not (k == "scheduler" and not dialect.has_schedulers)]
        silent = [k for k in silent if not (k == "vae" and (not dialect.vae or _is_own(request)))]
        warnings = [
            f"{dialect.title} does not say whether {knob} {getattr(request, knob)!r} had an effect."
            for knob in silent
        ]
        warnings += [
            f"{dialect.title} does not say whether {knob} {request.others[knob]!r} had an effect."
            if knob in dialect.others
            else f"{dialect.title} has no {knob} that a request can set;"
            f" {request.others[knob]!r} had no effect."
            for knob in others
        ]
        if dialect.tells_nothing:
            warnings.append(
                f"{dialect.title} does not say what it used: all but the size is recorded as it was"
                " asked for."
            )
        sides = (self._sent.get("width"), self._sent.get("height"))
        if (
            isinstance(request, Img2ImgRequest)
            and (request.width, request.height) == (None, None)
            and sides != (picture.width, picture.height)
        ):
            warnings.append(
                f"The input is {sides[0]}x{sides[1]} pixels, and {dialect.title} made"
                f" {picture.width}x{picture.height} of it."
            )
        if dialect is SDNEXT and getattr(request, "mask_blur", None) is not None:
            warnings.append("SD.Next does not say whether mask_blur had an effect.")
        return warnings


def _extra_warnings(abilities: Abilities, request: DrawingRequest, echo: Any) -> list[str]:
    """Return a sentence for each field that the server does not count among its own.

    It answers with every field that it knows; sd-server with whatever it was sent.
    """
    title, known = abilities.dialect.title, echo if isinstance(echo, dict) else {}
    if abilities.dialect is SDCPP or not known:
        return [
            f"{title} does not say whether extra.{name} had an effect." for name in request.extra
        ]
    return [
        f"{title} has no field {name}, so extra.{name} had no effect."
        for name in request.extra
        if name not in known
    ]


def _same_levels(used: str, asked: str) -> bool:
    """Whether the server's noise levels are those that were asked for, to single precision."""
    pairs = zip_longest(map(float, used.split(",")), noise_levels(asked), fillvalue=-1.0)
    return all(abs(level - other) <= 1e-4 * max(1.0, abs(other)) for level, other in pairs)


def _same_words(used: str, asked: str) -> bool:
    return used.lower().split() == asked.lower().split()


def _is_own(request: DrawingRequest) -> bool:
    return request.vae in ("Automatic", "None")


def _nth(info: Mapping[str, Any], name: str, place: int) -> Any:
    values = info.get(name)
    return values[place] if isinstance(values, list) and place < len(values) else None


def _hashes_the_name(knobs: Mapping[str, Any]) -> bool:
    """Whether the model's hash is that of its name, as in Forge from 2024-08 to 2025-02."""
    stated_hash = str(knobs.get("model_hash", "")).removeprefix("autov2:")
    if not stated_hash or "model" not in knobs:
        return False
    stem = re.sub(r"\.\w+( \[\w+\])?$", "", str(knobs["model"]).rpartition("/")[2])
    endings = (".safetensors", ".ckpt", ".gguf", ".pt")
    return any(
        hashlib.sha256((stem + end).encode()).hexdigest()[:10] == stated_hash for end in endings
    )
