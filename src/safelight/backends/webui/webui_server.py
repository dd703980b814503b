"""webui_server: one server of the family, from the first question to the finished picture."""

from __future__ import annotations

import io
import logging
import re
import threading
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from safelight.backends.engine_server import EngineServer
from safelight.backends.input_picture import input_picture
from safelight.backends.server_group import NotBegun
from safelight.backends.webui.answers import decoded_png, read_drawing
from safelight.backends.webui.dialects import (
    Abilities,
    listed_models,
    look_around,
    settings_of,
)
from safelight.backends.webui.jobs import Job
from safelight.backends.webui.payloads import (
    Payload,
    drawing_payload,
    encoded_picture,
    with_extra,
)
from safelight.backends.webui.server_settings import server_setup
from safelight.errors import BackendError, BackendUnavailable
from safelight.lora_tags import split_loras
from safelight.pipeline.backend import (
    DrawingRequest,
    EngineSetup,
    GeneratedImage,
    Generation,
    ImageRequest,
    Named,
    StepCallback,
    Txt2ImgRequest,
    UpscaleRequest,
)
from safelight.sampler_names import name_hint

__all__ = ["WebuiServer"]

_log = logging.getLogger(__name__)

_OWN = "Lanczos"


class WebuiServer:
    """Draws on one server, one request at a time.

    Attributes:
        server: Its address and connections.
        version: What its last picture said; empty before the first.

    Args:
        server: Its address and connections.
        timeout: Seconds that a picture may take.
        previews: Whether to fetch half-done pictures.
    """

    def __init__(self, server: EngineServer, *, timeout: float, previews: bool) -> None:
        self.server = server
        self.version = ""
        self._timeout, self._previews = timeout, previews
        self._abilities: Abilities | None = None
        self._settings: Mapping[str, Any] | None = None
        self._asking = threading.Lock()

    def abilities(self, *, fresh: bool = False) -> Abilities:
        """Return what the server has, asked once.

        Raises:
            BackendUnavailable: It does not answer.
        """
        with self._asking:
            if self._abilities is None or fresh:
                self._abilities = look_around(self.server)
            return self._abilities

    def options(self) -> Mapping[str, Any] | None:
        """Return the server's settings as they are now; None when it does not tell them.

        Raises:
            BackendUnavailable: It does not answer.
        """
        return settings_of(self.server)

    def setup(self, named: Named) -> EngineSetup:
        """Return what its pictures depend on besides the knobs, as it is now.

        Raises:
            BackendUnavailable: It does not answer.
        """
        abilities = self.abilities()
        loras = (self._loras() or ()) if named.get("lora") else ()
        models = listed_models(self.server)
        self._settings = self.options()
        return server_setup(
            self.server.url, abilities.dialect, self._settings, models, loras, named
        )

    def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
        """Carry out *request*.

        Raises:
            NotBegun: The server does not answer, so another one may be tried.
            BackendUnavailable: It fell silent in between.
            BackendError: It refused.
        """
        try:
            abilities = self.abilities()
        except BackendUnavailable as error:
            raise NotBegun(str(error)) from error
        try:
            if isinstance(request, UpscaleRequest):
                return self._upscale(request, abilities, on_step)
            return self._draw(request, abilities, on_step)
        except BackendUnavailable:
            self._abilities = None  # it may come back as another one
            raise

    def _draw(
        self, request: DrawingRequest, abilities: Abilities, on_step: StepCallback
    ) -> Generation:
        payload = self._payload(request, abilities)
        if self._settings is None:  # nobody asked for the setup
            self._settings = self.options() or {}
        # Of each try its own: one whose answer was lost may still go on under the other.
        task_id = f"task(safelight-{request.job_id}-{uuid.uuid4().hex[:12]})"
        body = dict(payload.body)
        if not abilities.dialect.tells_nothing:
            body["force_task_id"] = task_id
        hires_steps = request.hires_steps if isinstance(request, Txt2ImgRequest) else None
        job = self._job(
            abilities,
            "txt2img" if isinstance(request, Txt2ImgRequest) else "img2img",
            body,
            task_id=task_id,
            longest=max(request.steps or 0, hires_steps or 0) if request.steps else 0,
        )
        answer = job.carry_out(on_step)
        version = re.search(rb'"version\\": \\"([^"\\]+)', answer.content[-65536:])
        self.version = version[1].decode("utf-8", "replace") if version else self.version
        generation = read_drawing(
            self.server, abilities, request, payload.body, answer, self._settings
        )
        _, steps = job.last_step
        if job.last_step[0] < steps or steps == 1:
            used = generation.images[0].effective.get("steps", steps)
            steps = max(steps, used if isinstance(used, int) else 1)
            on_step(steps, steps)
        return Generation(
            images=generation.images, warnings=(*payload.warnings, *generation.warnings)
        )

    def _payload(self, request: DrawingRequest, abilities: Abilities) -> Payload:
        loras = self._loras() if split_loras(request.prompt)[1] else None
        try:
            return drawing_payload(request, abilities, loras)
        except BackendError:
            newer = self.abilities(fresh=True)  # a model or a LoRA may have been added since
            seen = None if loras is None else self._loras(fresh=True)
            if (newer, seen) == (abilities, loras):
                raise
            return drawing_payload(request, newer, seen)

    def _loras(self, *, fresh: bool = False) -> Sequence[Mapping[str, Any]] | None:
        if fresh:
            self._look_again_for_loras()
        try:
            listed = self.server.json(self.server.get("/sdapi/v1/loras"))
        except BackendUnavailable as error:
            raise NotBegun(str(error)) from error
        except BackendError:
            return None
        return [e for e in listed if isinstance(e, dict)] if isinstance(listed, list) else None

    def _look_again_for_loras(self) -> None:
        try:
            self.server.ask("POST", "/sdapi/v1/refresh-loras", json={})
        except BackendUnavailable as error:
            raise NotBegun(str(error)) from error
        except BackendError as error:  # not every server can
            _log.debug("LoRAs are not looked for again: %s", error)

    def _job(self, abilities: Abilities, name: str, body: dict[str, Any], **options: Any) -> Job:
        return Job(
            self.server,
            abilities,
            path=f"/sdapi/v1/{name}",
            body=body,
            timeout=self._timeout,
            previews=self._previews,
            **options,
        )

    def _upscale(
        self, request: UpscaleRequest, abilities: Abilities, on_step: StepCallback
    ) -> Generation:
        scale = 2 if request.scale is None else request.scale
        listed = abilities.upscalers or ()
        default = next((n for n in (_OWN, f"Resize {_OWN}") if n in listed), "")
        upscaler = request.upscaler or default
        own = upscaler in ("", _OWN, f"Resize {_OWN}")
        if not abilities.enlarges or not upscaler:
            if not own:
                raise BackendError(
                    f"upscaler must be {_OWN} on {abilities.dialect.title}, which enlarges no"
                    f" finished pictures itself, got {upscaler!r}"
                )
            return self._enlarge_here(request, scale, on_step)
        if upscaler not in listed:
            raise BackendError(
                f"upscaler {upscaler!r} is unknown to {abilities.dialect.title}"
                f"{name_hint('upscaler', upscaler, listed)}"
            )
        try:
            return self._enlarge_there(request, upscaler, scale, abilities, on_step)
        except BackendError as error:
            # A build of SD.Next fails over its own answer, whatever the upscaler.
            if not own or "html_info" not in str(error):
                raise
            return self._enlarge_here(request, scale, on_step)

    def _enlarge_there(
        self,
        request: UpscaleRequest,
        upscaler: str,
        scale: float,
        abilities: Abilities,
        on_step: StepCallback,
    ) -> Generation:
        body = {
            "image": encoded_picture(request.init_image),
            "upscaler_1": upscaler,
            "upscaling_resize": scale,
        }
        with_extra(body, request.extra)
        job = self._job(abilities, "extra-single-image", body)
        answer = job.carry_out(on_step)
        enlarged = self.server.json(answer)
        image = enlarged.get("image") if isinstance(enlarged, dict) else None
        if not image:
            raise BackendError(f"{self.server} sent no enlarged picture; its own log says why")
        picture = decoded_png(self.server, image)
        before = input_picture(request.init_image).size
        wanted = tuple(max(1, round(side * scale)) for side in before)
        real = scale
        if (picture.width, picture.height) != wanted:
            real = round(picture.width / before[0], 6)
        step, steps = job.last_step
        if step < steps or steps == 1:
            on_step(steps, steps)
        effective = {"upscaler": upscaler, "scale": real}
        return Generation(
            images=(GeneratedImage(png=picture.data, effective=effective),),
            warnings=(picture.warning,) if picture.warning else (),
        )

    def _enlarge_here(
        self, request: UpscaleRequest, scale: float, on_step: StepCallback
    ) -> Generation:
        from PIL import Image

        if request.extra:
            raise BackendError(
                f"{self.server} enlarges no finished pictures itself, so there is nothing that"
                f" could take extra.{next(iter(request.extra))}; leave it out"
            )
        picture = input_picture(request.init_image)
        width, height = (max(1, round(side * scale)) for side in picture.size)
        buffer = io.BytesIO()
        picture.resize((width, height), Image.Resampling.LANCZOS).save(buffer, "PNG")
        on_step(1, 1)
        image = GeneratedImage(png=buffer.getvalue(), effective={"upscaler": _OWN, "scale": scale})
        warning = f"{self.server} cannot enlarge it, so safelight did, with Pillow's {_OWN}."
        return Generation(images=(image,), warnings=(warning,))
