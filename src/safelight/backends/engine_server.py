"""EngineServer: one engine's HTTP server, asked politely.

Connections are reused, answers are bounded, and every trouble arrives as a sentence that names
the server, the rule and the next step, never a password. Only questions that change nothing
are asked again by themselves; whoever posts a job decides what repeating it would mean.
"""

from __future__ import annotations

import ipaddress
import json
import re
import time
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

import httpx

from safelight.errors import (
    BackendError,
    BackendLoginRefused,
    BackendUnavailable,
    BackendUnreachable,
)

__all__ = ["Answer", "EngineServer", "checked_timeout"]

_LARGEST_ANSWER = 512 * 2**20
_LONGEST_TIMEOUT = 86_400
_THE_FILE = "the file"
"""What messages call one whose address is not told."""
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_MOST_REDIRECTS = 3
_PAUSES = (0.2, 0.8)
"""Seconds before a question is asked the second and the third time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server answered, read whole.

    Attributes:
        path: What was asked.
        status: The HTTP status.
        content_type: Without its parameters, lower case; empty when the server sent none.
        content: The body.
    """

    path: str
    status: int
    content_type: str = ""
    content: bytes = field(default=b"", repr=False)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.content.decode("utf-8", "replace")


def checked_timeout(timeout: object) -> float:
    """Return the option *timeout*, in seconds.

    Raises:
        BackendError: It is none.
    """
    is_number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if not is_number or not 0 < timeout <= _LONGEST_TIMEOUT:  # type: ignore[operator]
        raise BackendError(
            f"timeout must be a number of seconds above 0, at most {_LONGEST_TIMEOUT},"
            f" got {timeout!r}"
        )
    return float(timeout)  # type: ignore[arg-type]


class EngineServer:
    """One server.

    Args:
        engine: What the engine is called in messages.
        url: Where it listens: ``http://127.0.0.1:7860``; may carry ``user:password@``.
        user: For Basic authentication, instead of in the URL.
        password: Belongs to *user*.
        verify: Whether a TLS certificate must be valid, or a file of authorities to trust.
        headers: Sent with every question, such as a proxy's token.
        timeout: Seconds that a quick question may take.
        next_step: What to try when nobody answers, a whole clause.
        keeps_connections: Whether one connection is used for several questions. An idle one may be
            closed by the server in the moment in which the next question is sent on it.

    Raises:
        BackendError: *url* is not an http or https URL.
    """

    def __init__(
        self,
        engine: str,
        url: str,
        *,
        user: str | None = None,
        password: str | None = None,
        verify: bool | str = True,
        headers: Mapping[str, str] = MappingProxyType({}),
        timeout: float = 10.0,
        next_step: str = "start it, or check the address",
        keeps_connections: bool = True,
    ) -> None:
        parts = _parts(url) if isinstance(url, str) else None
        if parts is None:
            raise BackendError(
                f"url must look like http://127.0.0.1:7860, got {_behind_login(str(url))!r}; what a"
                " password has of / ? # [ and @ is written %2F %3F %23 %5B and %40"
            )
        _check_headers(headers)
        self.engine = engine
        self.url = _without_login(url).rstrip("/")
        self._next_step = next_step
        user = user if user is not None else parts.username
        password = password if password is not None else parts.password
        auth = httpx.BasicAuth(user, password or "") if user else None
        try:
            self._here, self._elsewhere = _trusted(verify), _trusted(verify, others=True)
            self._client = httpx.Client(
                base_url=self.url,
                auth=auth,
                headers=dict(headers),
                verify=self._here,
                timeout=httpx.Timeout(timeout, connect=min(timeout, 5.0)),
                limits=httpx.Limits(
                    max_connections=100, max_keepalive_connections=20 if keeps_connections else 0
                ),
                trust_env=False,
                follow_redirects=False,
            )
        except httpx.InvalidURL as error:  # whose words may be a part of a password
            raise BackendError(
                f"url must look like http://127.0.0.1:7860, got {_behind_login(url)!r}"
            ) from error
        except OSError as error:
            raise BackendError(f"verify {verify!r} cannot be read: {error}") from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str, **options: Any) -> Answer:
        """Ask a question that changes nothing; it is asked up to three times.

        Raises:
            BackendUnavailable: The server did not answer, or says that it cannot yet.
            BackendError: It answered anything but 2xx.
        """
        for pause in _PAUSES:
            try:
                return self.ask("GET", path, **options)
            except BackendUnavailable:
                time.sleep(pause)
        return self.ask("GET", path, **options)

    def ask(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        files: Mapping[str, Any] | None = None,
        data: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        explain: Callable[[Answer], str | None] | None = None,
        accept: Container[int] = (),
        follow: bool = False,
    ) -> Answer:
        """Send one request, once, and return its answer.

        Args:
            method: ``GET`` or ``POST``.
            path: From the server's root, with a leading slash.
            json: Body as JSON.
            files: Body as a form's files.
            data: The form's other fields.
            params: The query.
            timeout: Seconds that the answer may take, instead of the server's own.
            explain: Turns an answer that is not 2xx into what to say of it.
            accept: Statuses beside 2xx that are an answer.
            follow: Whether to go where the answer says that the file is, as storage does. What is
                elsewhere is asked for without login and headers, and never from https by http.

        Raises:
            BackendUnavailable: The server did not answer, or says that it cannot yet (503).
            BackendError: It answered anything else.
        """
        options: dict[str, Any] = {"json": json, "files": files, "data": data, "params": params}
        if timeout is not None:
            options["timeout"] = httpx.Timeout(timeout, connect=5.0)
        with self._told(path), self._client.stream(method, path, **options) as response:
            answer = self._read(path, response)
        if follow and response.has_redirect_location:
            there = response.headers["location"]
            return self._followed(path, response.url, there, _MOST_REDIRECTS, explain=explain)
        if not 200 <= answer.status < 300 and answer.status not in accept:
            self._refuse(answer, explain)
        return answer

    def fetch(self, address: str, *, timeout: float) -> Answer:
        """Return the file at *address*, which an answer of this server names.

        Args:
            address: Here or elsewhere; relative ones begin here. It may be signed, and stands in
                no message and no log. What is elsewhere is asked for without login and headers.
            timeout: Seconds for all of it.

        Raises:
            BackendUnavailable: Nobody gives it out.
            BackendError: It is nowhere that is gone to, or refused.
        """
        begin = self._client.base_url
        return self._followed(_THE_FILE, begin, address, _MOST_REDIRECTS + 1, timeout=timeout)

    def _followed(
        self,
        path: str,
        at: httpx.URL,
        there: str,
        moves: int,
        *,
        timeout: float | None = None,
        explain: Callable[[Answer], str | None] | None = None,
    ) -> Answer:
        """Go from *at* to *there*, and on from there, at most *moves* times in all."""
        deadline = None if timeout is None else time.monotonic() + timeout
        elsewhere = False
        for _ in range(moves):
            at = self._target(at, there)
            elsewhere = elsewhere or _origin(at) != _origin(self._client.base_url)
            with (
                self._told(path, elsewhere=elsewhere),
                self._stream(at, own=not elsewhere, timeout=timeout) as response,
            ):
                answer = self._read(path, response, deadline)
            if not response.has_redirect_location:
                break
            there = response.headers["location"]
        else:
            raise BackendError(f"{self} sends {path} on more than {_MOST_REDIRECTS} times")
        if not 200 <= answer.status < 300:
            if elsewhere:
                raise BackendError(f"{self._storage} refused {path} ({answer.status})")
            self._refuse(answer, explain)
        return answer

    @contextmanager
    def _told(self, path: str, *, elsewhere: bool = False) -> Iterator[None]:
        """Turn trouble on the way into a sentence."""
        try:
            yield
        except httpx.HTTPError as error:
            if elsewhere:
                raise BackendUnavailable(
                    f"{self._storage} does not answer {path} ({_reason(error)})"
                ) from error
            raise self._trouble(path, error) from error

    def _trouble(self, path: str, error: httpx.HTTPError) -> BackendError:
        if isinstance(error, httpx.TimeoutException):
            return BackendUnavailable(f"{self} did not answer {path} in time")
        if isinstance(error, httpx.ConnectError):
            return BackendUnreachable(
                f"{self} does not answer ({_reason(error)}); {self._next_step}"
            )
        return BackendUnavailable(f"{self} broke off while answering {path} ({_reason(error)})")

    @property
    def _storage(self) -> str:
        return f"where {self} keeps its files"

    def _target(self, at: httpx.URL, there: str) -> httpx.URL:
        """Return the address *there*, seen from *at*.

        Raises:
            BackendError: It is nowhere that is gone to. The address may be signed, and is not told.
        """
        try:
            target = httpx.URL(urljoin(str(at), there))
            target.host.encode("idna")
            fits = target.scheme in ("https", at.scheme) and target.host != ""
            fits = fits and not target.userinfo
            fits = fits and not _leads_inside(target.host, self._client.base_url.host)
        except (httpx.InvalidURL, ValueError):
            fits = False
        if not fits:
            raise BackendError(
                f"{self} names an address that is not followed: it must be https, or http from"
                " http, without a login, and on this machine or its link only if the server is"
            )
        return target

    @contextmanager
    def _stream(
        self, target: httpx.URL, *, own: bool, timeout: float | None = None
    ) -> Iterator[httpx.Response]:
        # A client would log the address, which may be signed for whoever holds it.
        limits = self._client.timeout if timeout is None else httpx.Timeout(timeout, connect=5.0)
        about = {"timeout": limits.as_dict()}
        request = httpx.Request(
            "GET", target, headers=self._client.headers if own else None, extensions=about
        )
        if own and self._client.auth is not None:
            request = next(self._client.auth.sync_auth_flow(request))
        verify = self._here if own else self._elsewhere
        with httpx.HTTPTransport(verify=verify, trust_env=False) as transport:
            response = transport.handle_request(request)
            response.request = request
            try:
                yield response
            finally:
                response.close()

    def json(self, answer: Answer) -> Any:
        """Return the JSON that *answer* holds.

        Raises:
            BackendError: It holds something else.
        """
        try:
            return json.loads(answer.content)
        except (ValueError, RecursionError) as error:
            kind = answer.content_type or "no type"
            what = "HTML" if "html" in kind else "something that is not JSON"
            raise BackendError(
                f"{self} answered {answer.path} with {what} ({kind});"
                f" is that the {self.engine} API?"
            ) from error

    def __str__(self) -> str:
        return f"{self.engine} at {self.url}"

    def _read(self, path: str, response: httpx.Response, deadline: float | None = None) -> Answer:
        """Read the answer whole; give up on one that no picture explains, or that comes too late.

        Args:
            path: What was asked.
            response: As it comes.
            deadline: By the monotonic clock; each part of it may come in time.
        """
        length, parts = 0, []
        for part in response.iter_bytes():
            length += len(part)
            if length > _LARGEST_ANSWER:
                raise BackendError(
                    f"{self} sent more than {_LARGEST_ANSWER // 2**20} MiB in one answer"
                )
            if deadline is not None and time.monotonic() > deadline:
                raise BackendUnavailable(f"{self} gives {path} out too slowly")
            parts.append(part)
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        return Answer(
            path=path, status=response.status_code, content_type=kind, content=b"".join(parts)
        )

    def _refuse(self, answer: Answer, explain: Callable[[Answer], str | None] | None) -> None:
        if answer.status == 401:
            raise BackendLoginRefused(
                f"{self} wants another user name or password (401 on {answer.path});"
                " set user and password in the backend's table"
            )
        reason = (explain(answer) if explain else None) or _excerpt(answer)
        message = f"{self} refused {answer.path} ({answer.status}{': ' + reason if reason else ''})"
        if answer.status in (502, 503, 504):
            raise BackendUnreachable(f"{message}; it may still be starting")
        if answer.status == 429:
            raise BackendUnavailable(f"{message}; it has too much to do")
        raise BackendError(message)


def _check_headers(headers: Mapping[str, str]) -> None:
    """Refuse headers that are none; what they say may be secret, and is not told."""
    if not isinstance(headers, Mapping):
        raise BackendError("headers must be a table of texts")
    for name, value in headers.items():
        fits = isinstance(name, str) and isinstance(value, str) and _HEADER.fullmatch(name)
        if not fits or not value.isascii() or not value.isprintable():
            raise BackendError(f"headers.{name} must be a text without line breaks")


def _parts(url: str) -> SplitResult | None:
    """Return the parts of an address of http or https; None when *url* is none.

    Nor is one with an ``@`` behind its host: a password that is written wrong ends there.
    """
    try:
        parts = urlsplit(url)
        fits = parts.port is None or parts.port > 0
    except ValueError:
        return None
    is_one = fits and parts.scheme in ("http", "https") and parts.hostname
    return parts if is_one and url.count("@") == parts.netloc.count("@") else None


def _behind_login(url: str) -> str:
    """Return what can be told of a *url* that is no address: a login may be anywhere before."""
    return url.rpartition("@")[2]


def _without_login(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def _leads_inside(host: str, home: str) -> bool:
    """Return whether *host* is this machine or its own network link, and *home* is not.

    Where files lie a server says, and another machine's server has none at such an address: what
    listens there would be asked by us, from behind every wall. Names are not looked up.
    """
    return _is_inside(host) and not _is_inside(home)


def _is_inside(host: str) -> bool:
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_link_local or mapped.is_unspecified)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.host, port


def _trusted(verify: bool | str, *, others: bool = False) -> Any:
    """Return whom to trust; with *others* whoever the system does beside those of a file."""
    import ssl

    if isinstance(verify, bool):
        return verify
    context = ssl.create_default_context(cafile=verify)
    if others:
        context.load_default_certs()
    return context


def _reason(error: Exception) -> str:
    """Return why, in words: the number of an error of the system says nothing more."""
    return re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__


def _excerpt(answer: Answer) -> str:
    """Return what an answer says in words, at most 300 characters, none of it HTML."""
    return "an HTML page" if "html" in answer.content_type else " ".join(answer.text.split())[:300]
