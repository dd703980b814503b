"""Admission: who is let in to the page, and as what.

Three things let people in. The link that the terminal printed makes an owner, once, within ten
minutes; a token makes what it is the token of; and a session that either of them began goes on.
Only tokens can be guessed, so only who guesses tokens is made to wait, and nobody else is. A fourth
lets tools tell what they have drawn, and nothing else: it stands in the address that they are
given, because there are some that can send no header.
"""

from __future__ import annotations

import hmac
import ipaddress
import math
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import MappingProxyType

from safelight.errors import SafelightError
from safelight.web.sessions import Role, Sessions

__all__ = ["LINK_LIFE", "SHORTEST_TOKEN", "Admission", "TooManyGuesses"]

LINK_LIFE = 600
"""Seconds for which a link is good."""

SHORTEST_TOKEN = 16
"""Characters that a chosen token has at least."""

_MOST_LINKS = 8
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0
"""Seconds to wait after the first wrong token, and at most; each doubles the last."""

_FORGOTTEN = 3600.0
"""Seconds after which a wrong token is forgotten."""

_MOST_ADDRESSES = 10_000
_NO_TOKENS: Mapping[Role, str] = MappingProxyType({})


class TooManyGuesses(SafelightError):
    """Wrong tokens came from this address; the next one is looked at later.

    Attributes:
        seconds: Until then.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = math.ceil(seconds)
        super().__init__(
            f"wrong tokens came from your address: the next is looked at in {self.seconds} s"
        )


class Admission:
    """Lets people in.

    Args:
        sessions: Where it is kept who is in.
        tokens: The token of each role that has one, 16 characters or more.
        clock: Seconds, monotonic.
        of_tools: The token of tools; empty where none may tell anything.

    Raises:
        ValueError: A token is too short, or two roles share one.
    """

    def __init__(
        self,
        sessions: Sessions | None = None,
        tokens: Mapping[Role, str] = _NO_TOKENS,
        clock: Callable[[], float] = time.monotonic,
        *,
        of_tools: str = "",
    ) -> None:
        if any(len(token) < SHORTEST_TOKEN for token in tokens.values()):
            raise ValueError(f"a token must have {SHORTEST_TOKEN} characters or more")
        if len(set(tokens.values())) < len(tokens):
            raise ValueError("owners and guests must have different tokens")
        self.sessions = sessions or Sessions()
        self.tokens = dict(tokens)
        self.of_tools = of_tools
        self._clock = clock
        self._lock = threading.Lock()
        self._links: dict[str, float] = {}
        self._guesses: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def new_link(self) -> str:
        """Return a secret that lets an owner in once, within :data:`LINK_LIFE` seconds."""
        now, secret = self._clock(), secrets.token_urlsafe(32)
        with self._lock:
            good = [(link, until) for link, until in self._links.items() if until > now]
            self._links = {**dict(good[-_MOST_LINKS + 1 :]), secret: now + LINK_LIFE}
        return secret

    def by_link(self, given: str, account: int | None = None) -> str | None:
        """Return the secret of a new session of an owner; None when the link is not good.

        Args:
            given: The link's secret.
            account: Of this machine that it is opened from; None for who is elsewhere.
        """
        with self._lock:
            used = [link for link in self._links if _same(given, link)]
            good = any(self._links.pop(link) > self._clock() for link in used)
        return self.sessions.begin(Role.OWNER, account=account) if good else None

    def by_token(self, given: str, address: str, account: int | None = None) -> str | None:
        """Return the secret of a new session; None when *given* is no token.

        Args:
            given: The token.
            address: Where it comes from.
            account: As of :meth:`by_link`.

        Raises:
            TooManyGuesses: Wrong ones came from *address* just now.
        """
        role = self._role_of_token(given, address)
        return None if role is None else self.sessions.begin(role, given, account)

    def is_tool(self, given: str) -> bool:
        """Return whether *given* is the token of tools, which nobody guesses: 256 random bits."""
        return bool(self.of_tools) and _same(given, self.of_tools)

    def role_of(
        self, cookie: str, bearer: str, address: str, account: int | None = None
    ) -> Role | None:
        """Return what a request may do; None when it has nothing that lets in.

        Args:
            cookie: The session that its cookie holds, or nothing.
            bearer: What its header holds: a session or a token, or nothing.
            address: Where it comes from.
            account: Of this machine that it comes from; None for who is elsewhere.

        Raises:
            TooManyGuesses: *bearer* is no session, and wrong tokens came from *address* just now.
        """
        return self.let_in(cookie, bearer, address, account)[0]

    def let_in(
        self, cookie: str, bearer: str, address: str, account: int | None = None
    ) -> tuple[Role | None, str]:
        """Return what a request may do, and the session that says so; empty when none does.

        Args:
            cookie: As for :meth:`role_of`, like the others.
            bearer: As there.
            address: As there.
            account: As there.

        Raises:
            TooManyGuesses: As there.
        """
        for secret in (cookie, bearer):
            role = self.sessions.role_of(secret, self.tokens, account) if secret else None
            if role is not None:
                return role, secret
        return (self._role_of_token(bearer, address) if bearer else None), ""

    def _role_of_token(self, given: str, address: str) -> Role | None:
        address, now = _network(address), self._clock()
        with self._lock:  # a guess is counted before the next one is looked at
            wrong, until = self._guesses.get(address, (0, 0.0))
            if now < until:
                raise TooManyGuesses(until - now)
            for role, token in self.tokens.items():
                if _same(given, token):
                    return role
            wrong = 0 if now - until > _FORGOTTEN else wrong
            wait = min(_FIRST_WAIT * 2.0 ** min(wrong, 20), _LONGEST_WAIT)
            self._guesses[address] = wrong + 1, now + wait
            self._guesses.move_to_end(address)
            while len(self._guesses) > _MOST_ADDRESSES:
                self._guesses.popitem(last=False)
        return None


def _network(address: str) -> str:
    """Return *address*, or the network of it of which one person has every address."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv6Address) and known.ipv4_mapped is None:
        return str(ipaddress.ip_network((known, 64), strict=False))
    return str(known)


def _same(given: str, wanted: str) -> bool:
    """Return whether the two are the same, in a time that tells nothing."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())
