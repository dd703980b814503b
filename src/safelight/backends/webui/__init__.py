"""WebuiBackend: draws with any server that speaks AUTOMATIC1111's API, or with several.

AUTOMATIC1111, Forge, reForge, SD.Next and stable-diffusion.cpp's ``sd-server`` say the same
words and mean slightly different things; :mod:`.dialects` knows the differences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

from safelight.backends import OptionKind
from safelight.backends.engine_server import EngineServer, checked_timeout
from safelight.backends.server_group import ServerGroup, one_or_all, shared_choices
from safelight.backends.webui.dialects import Abilities, listed_loras
from safelight.backends.webui.server_settings import joined
from safelight.backends.webui.webui_server import WebuiServer
from safelight.errors import BackendError
from safelight.pipeline.backend import (
    BackendDescription,
    EngineSetup,
    Generation,
    ImageRequest,
    Named,
    StepCallback,
)

__all__ = ["WebuiBackend"]


class WebuiBackend:
    """Draws with AUTOMATIC1111, Forge, SD.Next, sd-server and their kin.

    Args:
        url: Where the server listens; may carry ``user:password@``.
        urls: Several servers instead; as many requests are carried out at a time.
        user: For servers started with ``--api-auth``.
        password: Belongs to *user*.
        verify: Whether a TLS certificate must be valid, or a file of authorities to trust.
        headers: Sent with every request, such as a proxy's token.
        timeout: Seconds that one request may take.
        previews: Whether to fetch half-done pictures while drawing.

    Raises:
        BackendError: An option is wrong.
    """

    name = "webui"
    option_kinds: ClassVar[Mapping[str, OptionKind]] = {
        "url": "owner", "urls": "owner", "user": "owner", "password": "owner", "verify": "owner",
        "headers": "owner", "timeout": "plain", "previews": "plain",
    }  # fmt: skip

    def __init__(
        self,
        *,
        url: str = "http://127.0.0.1:7860",
        urls: Sequence[str] = (),
        user: str | None = None,
        password: str | None = None,
        verify: bool | str = True,
        headers: Mapping[str, str] = MappingProxyType({}),
        timeout: float = 600.0,
        previews: bool = True,
    ) -> None:
        if isinstance(urls, str) or not all(isinstance(each, str) for each in urls):
            raise BackendError("urls must be a list of addresses")
        timeout = checked_timeout(timeout)
        if not isinstance(previews, bool):
            raise BackendError(f"previews must be true or false, got {previews!r}")
        if not isinstance(verify, (bool, str)):
            raise BackendError(f"verify must be true, false or a file, got {verify!r}")
        if not all(value is None or isinstance(value, str) for value in (user, password)):
            raise BackendError("user and password must be text")
        addresses = tuple(dict.fromkeys(urls)) or (url,)
        self._group = ServerGroup(
            [
                WebuiServer(
                    EngineServer(
                        "the web UI",
                        address,
                        user=user,
                        password=password,
                        verify=verify,
                        headers=headers,
                        next_step="start it with --api, or check url in the backend's table",
                    ),
                    timeout=timeout,
                    previews=previews,
                )
                for address in addresses
            ]
        )

    def __repr__(self) -> str:
        return f"WebuiBackend({', '.join(webui.server.url for webui in self._group.servers)})"

    @property
    def lanes(self) -> int:
        """One request at a time for every server: they draw one after the other themselves."""
        return self._group.lanes

    def close(self) -> None:
        """Close the connections."""
        for webui in self._group.servers:
            webui.server.close()

    def describe(self) -> BackendDescription:
        """Return which servers answer, and what they are.

        Their version is known from the first picture on: no server tells it by itself.

        Raises:
            BackendUnavailable: None of them answers.
        """
        answering = self._answering()
        kinds = list(dict.fromkeys(abilities.dialect.name for _, abilities in answering))
        environment: dict[str, Any] = {
            "dialect": one_or_all(kinds),
            "servers": [webui.server.url for webui, _ in answering],
        }
        settings = [webui.options() or {} for webui, _ in answering]  # they change without us
        models = [str(each.get("sd_model_checkpoint") or "") for each in settings]
        loaded = [model for model in dict.fromkeys(models) if model]
        if loaded:
            environment["loaded_model"] = one_or_all(loaded)
        versions = list(dict.fromkeys(webui.version for webui, _ in answering if webui.version))
        return BackendDescription(
            name=self.name, version=", ".join(versions), environment=environment
        )

    def setup(self, named: Named) -> EngineSetup:
        """Return what pictures depend on besides the knobs: the settings of its servers.

        Raises:
            BackendUnavailable: None of them answers.
        """
        return joined({webui.server.url: webui.setup(named) for webui, _ in self._answering()})

    def choices(self) -> Mapping[str, Sequence[str]]:
        """Return what every server that answers has.

        Raises:
            BackendUnavailable: None of them answers.
        """
        return shared_choices([_choices(abilities) for _, abilities in self._answering()])

    def loras(self) -> Sequence[str]:
        """Return the LoRAs that every server that answers has.

        Raises:
            BackendUnavailable: None of them answers.
        """
        lists = [listed_loras(webui.server) for webui, _ in self._answering()]
        return tuple(name for name in lists[0] if all(name in other for other in lists))

    def generate(self, request: ImageRequest, on_step: StepCallback) -> Generation:
        """Carry out *request* on the server that is free.

        A server that does not answer is set aside for a minute, and the request goes to
        another one, but only if it certainly was not begun.
        """
        return self._group.draw(lambda webui: webui.generate(request, on_step))

    def _answering(self) -> list[tuple[WebuiServer, Abilities]]:
        return self._group.answers(lambda webui: webui.abilities())


def _choices(abilities: Abilities) -> dict[str, tuple[str, ...]]:
    """Return knob -> values; a knob whose values the server does not list is absent."""
    choices: dict[str, tuple[str, ...]] = {"sampler": tuple(abilities.samplers)}
    if abilities.models:
        choices["model"] = _spellings(abilities.models)
    if abilities.vaes is not None:
        choices["vae"] = ("Automatic", "None", *_spellings(abilities.vaes))
    if abilities.schedulers is not None:
        choices["scheduler"] = tuple(abilities.schedulers)
    if abilities.hires_upscalers is not None:
        choices["hires_upscaler"] = abilities.hires_upscalers
    if not abilities.enlarges:
        choices["upscaler"] = ("Lanczos",)
    elif abilities.upscalers is not None:
        choices["upscaler"] = abilities.upscalers
    return choices


def _spellings(models: Sequence[Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for m in models for name in (m.name, m.title) if name))
