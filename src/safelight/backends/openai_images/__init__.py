"""OpenAiImagesBackend: draws with any server of ``/v1/images``, or with several.

vLLM-Omni, SGLang, LocalAI, stable-diffusion.cpp's ``sd-server``, NVIDIA Dynamo and OpenAI itself
take the same request and add fields of their own; :mod:`.dialects` knows which.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

from safelight.backends import OptionKind
from safelight.backends.engine_server import EngineServer, checked_timeout
from safelight.backends.openai_images.dialects import DIALECTS, Abilities
from safelight.backends.openai_images.openai_server import OpenAiServer
from safelight.backends.server_group import ServerGroup, one_or_all, shared_choices
from safelight.backends.upscalers import own_upscalers
from safelight.errors import BackendError
from safelight.pipeline.backend import (
    BackendDescription,
    EngineSetup,
    Generation,
    ImageRequest,
    Named,
    StepCallback,
)

__all__ = ["OpenAiImagesBackend"]

_UNTOLD = "its model's weights, precision and defaults"


class OpenAiImagesBackend:
    """Draws over ``/v1/images/generations`` and ``/v1/images/edits``.

    Args:
        url: Where the server listens, with or without ``/v1``.
        urls: Several servers instead; as many requests are carried out at a time.
        api_key: Sent as a bearer token.
        server: What it is, one of :data:`.DIALECTS`; empty where it is to be found out.
        cfg_field: Where ``cfg_scale`` goes: ``guidance_scale`` or ``true_cfg_scale``; empty where
            the model's name decides.
        verify: Whether a TLS certificate must be valid, or a file of authorities to trust.
        headers: Sent with every request, such as a proxy's token.
        timeout: Seconds that one request may take.
        at_once: Requests that each server is given at a time: one that batches them, or a router
            before several, draws faster so.

    Raises:
        BackendError: An option is wrong.
    """

    name = "openai-images"
    takes_loras: ClassVar[bool] = False
    option_kinds: ClassVar[Mapping[str, OptionKind]] = {
        "url": "owner", "urls": "owner", "api_key": "owner", "verify": "owner", "headers": "owner",
        "server": "plain", "cfg_field": "plain", "timeout": "plain", "at_once": "plain",
    }  # fmt: skip

    def __init__(
        self,
        *,
        url: str = "http://127.0.0.1:8000",
        urls: Sequence[str] = (),
        api_key: str | None = None,
        server: str = "",
        cfg_field: str = "",
        verify: bool | str = True,
        headers: Mapping[str, str] = MappingProxyType({}),
        timeout: float = 600.0,
        at_once: int = 1,
    ) -> None:
        if isinstance(urls, str) or not all(isinstance(each, str) for each in urls):
            raise BackendError("urls must be a list of addresses")
        timeout = checked_timeout(timeout)
        if isinstance(at_once, bool) or not isinstance(at_once, int) or not 1 <= at_once <= 64:
            raise BackendError(f"at_once must be a whole number from 1 to 64, got {at_once!r}")
        if not isinstance(verify, (bool, str)):
            raise BackendError(f"verify must be true, false or a file, got {verify!r}")
        if server not in ("", *DIALECTS):
            raise BackendError(f"server must be one of {', '.join(DIALECTS)}, got {server!r}")
        if cfg_field not in ("", "guidance_scale", "true_cfg_scale"):
            raise BackendError(
                f"cfg_field must be guidance_scale or true_cfg_scale, got {cfg_field!r}"
            )
        if api_key is not None and not isinstance(api_key, str):
            raise BackendError("api_key must be text")
        bearer = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        sent = {**headers, **bearer} if isinstance(headers, Mapping) else headers
        self._group = ServerGroup(
            [
                OpenAiServer(
                    EngineServer(
                        "the images server",
                        _without_v1(address),
                        verify=verify,
                        headers=sent,
                        next_step="start it, or check url in the backend's table",
                        keeps_connections=False,  # a lost one would leave a picture unknown
                    ),
                    named=server,
                    timeout=timeout,
                    cfg_field=cfg_field,
                )
                for address in tuple(dict.fromkeys(urls)) or (url,)
            ],
            at_once=at_once,
        )

    def __repr__(self) -> str:
        return f"OpenAiImagesBackend({', '.join(each.server.url for each in self._group.servers)})"

    @property
    def lanes(self) -> int:
        """As many requests at a time as its servers are given."""
        return self._group.lanes

    def close(self) -> None:
        """Close the connections."""
        for each in self._group.servers:
            each.server.close()

    def describe(self) -> BackendDescription:
        """Return which servers answer, what they are, and what of their pictures they confirm.

        Raises:
            BackendUnavailable: None of them answers.
            BackendError: One wants a key, or does not say what it is.
        """
        answering = self._answering()
        kinds = list(dict.fromkeys(abilities.dialect.name for _, abilities in answering))
        tell = all(abilities.dialect.tells for _, abilities in answering)
        environment: dict[str, Any] = {
            "dialect": one_or_all(kinds),
            "servers": [each.server.url for each, _ in answering],
            "confirms": "what its pictures say" if tell else "only the size",
        }
        loaded = list(dict.fromkeys(a.models[0] for _, a in answering if len(a.models) == 1))
        if loaded:
            environment["loaded_model"] = one_or_all(loaded)
        versions = list(dict.fromkeys(a.version for _, a in answering if a.version))
        return BackendDescription(
            name=self.name, version=", ".join(versions), environment=environment
        )

    def setup(self, named: Named) -> EngineSetup:
        """Return what pictures depend on besides the knobs; most of it no server tells.

        Raises:
            BackendUnavailable: None of them answers.
        """
        del named  # no server tells what is in a file
        answering = self._answering()
        seeded = all(abilities.dialect.batches != "unseeded" for _, abilities in answering)
        return EngineSetup(
            facts={
                "address": " ".join(sorted(each.server.url for each, _ in answering)),
                "dialect": " ".join(sorted({a.dialect.name for _, a in answering})),
            },
            untold=(_UNTOLD,) if seeded else (_UNTOLD, "its seeds"),
        )

    def choices(self) -> Mapping[str, Sequence[str]]:
        """Return what every server that answers has.

        Raises:
            BackendUnavailable: None of them answers.
        """
        return shared_choices([_choices(abilities) for _, abilities in self._answering()])

    def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
        """Carry out *request* on the server that is free, or on another that begins it."""
        return Generation.joined(self.generate_rest(request, on_step, 0))

    def generate_rest(
        self, request: ImageRequest, on_step: StepCallback, done: int
    ) -> Iterator[Generation]:
        """Yield the answers to *request* behind the first *done*."""
        wanted = getattr(request, "batch_size", None) or 1
        while done < wanted:
            answer = partial(OpenAiServer.generate, request=request, on_step=on_step, done=done)
            generation = self._group.draw(answer)
            done += len(generation.images)
            yield generation

    def _answering(self) -> list[tuple[OpenAiServer, Abilities]]:
        return self._group.answers(lambda each: each.abilities())


def _choices(abilities: Abilities) -> dict[str, tuple[str, ...]]:
    """Return knob -> values; a knob whose values the server does not list is absent."""
    choices: dict[str, tuple[str, ...]] = {"upscaler": own_upscalers()}
    if abilities.models:
        choices["model"] = abilities.spellings
    if abilities.samplers:
        choices["sampler"] = tuple(abilities.samplers)
    if abilities.schedulers:
        choices["scheduler"] = ("Automatic", *abilities.schedulers)
    return choices


def _without_v1(url: str) -> str:
    """Clients of OpenAI's are given the address with ``/v1``; here every path begins with it."""
    return url.rstrip("/").removesuffix("/v1") if isinstance(url, str) else url
