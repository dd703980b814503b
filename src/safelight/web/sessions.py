"""Sessions: who is signed in, remembered on this machine and nowhere else.

A session is a random secret that the browser holds. What is kept is its SHA-256, so that whoever
reads the file cannot come in with it, and it is kept beside no archive: archives are shared.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path

import msgspec

from safelight.durable_file import make_folder, replace_file

__all__ = ["SESSION_LIFE", "Role", "Sessions", "sessions_file", "token_of_tools"]

SESSION_LIFE = 30 * 24 * 3600
"""Seconds without a request after which a session ends."""

_A_DAY = 24 * 3600
_MOST = 500
"""Sessions of each role; beyond that the one that was used longest ago ends."""

_log = logging.getLogger(__name__)


class Role(StrEnum):
    """What somebody at the page may do.

    Owners may do everything. Guests look, rate, tag and export what the archive holds. Tools tell
    what they have drawn, and are told nothing.
    """

    OWNER = "owner"
    GUEST = "guest"
    TOOL = "tool"


class _Session(msgspec.Struct, frozen=True):
    """One session as it is kept.

    Attributes:
        role: What who has it may do.
        used: When it was used last, in seconds since 1970.
        token: HMAC-SHA-256 of the token that it was begun with, keyed with the session's secret;
            empty when a link began it. Another token ends it, and it says nothing about the token
            to who does not have the secret.
        account: User id of the account of this machine that it was begun from, and that alone may
            use it; None where it came from elsewhere, or the system does not tell.
    """

    role: Role
    used: int
    token: str = ""
    account: int | None = None


class Sessions:
    """Sessions of one port, which outlive the process.

    Another server may have the same file, at the same port of another address of this machine.
    Whoever changes it changes it for both: a session that ended at one has ended.

    Args:
        file: Where they are kept; None keeps them in memory only.
        clock: Seconds since 1970.
    """

    def __init__(self, file: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._clock = clock
        self._lock = threading.Lock()
        self._seen = self._stamp()
        self._known = self._read()
        self._written = self._clock()

    def begin(self, role: Role, token: str = "", account: int | None = None) -> str:
        """Begin a session; return its secret: 256 random bits, for a header or a cookie.

        Args:
            role: What who has it may do.
            token: What they gave, when it was a token: another one in its place ends the session.
            account: Of this machine, where they sit at it: a session that another account gets
                hold of is of no use to it.
        """
        secret = secrets.token_urlsafe(32)
        with self._lock:
            self._catch_up()
            own = [key for key, session in self._known.items() if session.role is role]
            for key in sorted(own, key=lambda k: self._known[k].used)[
                : max(0, len(own) - _MOST + 1)
            ]:
                del self._known[key]
            proof = _proof(secret, token) if token else ""
            self._known[_key(secret)] = _Session(role, int(self._clock()), proof, account)
            self._write()
        return secret

    def role_of(
        self, secret: str, tokens: Mapping[Role, str], account: int | None = None
    ) -> Role | None:
        """Return what who has *secret* may do; None when there is no such session any more.

        Args:
            secret: What :meth:`begin` returned.
            tokens: The token of each role that has one, today.
            account: Of this machine that shows it; None for who is elsewhere.
        """
        key, now = _key(secret), self._clock()
        with self._lock:
            self._catch_up()
            session = self._known.get(key)
            if session is None or session.account not in (None, account):
                return None
            today = tokens.get(session.role, "")
            changed = session.token and not (
                today and hmac.compare_digest(session.token, _proof(secret, today))
            )
            if changed or now - session.used > SESSION_LIFE:
                del self._known[key]
                return None
            self._known[key] = msgspec.structs.replace(session, used=int(now))
            if now - self._written > _A_DAY:
                self._write()
        return session.role

    def end(self, secret: str) -> None:
        """End one session."""
        with self._lock:
            self._catch_up()
            if self._known.pop(_key(secret), None) is not None:
                self._write()

    def end_all(self) -> None:
        """End every session, of owners and guests."""
        with self._lock:
            self._known = {}
            self._write()

    def close(self) -> None:
        """Keep when each was used last."""
        with self._lock:
            self._catch_up()
            if self._known:
                self._write()

    def _stamp(self) -> tuple[int, ...]:
        """Return what changes when the file does; empty when there is none."""
        try:
            status = None if self._file is None else self._file.stat()
        except OSError:
            return ()
        return () if status is None else (status.st_ino, status.st_mtime_ns, status.st_size)

    def _catch_up(self) -> None:
        """Read the file again when another server has written it."""
        stamp = self._stamp()
        if stamp and stamp != self._seen:
            self._seen = stamp
            self._known = self._read()

    def _read(self) -> dict[str, _Session]:
        if self._file is None:
            return {}
        try:
            known = msgspec.json.decode(self._file.read_bytes(), type=dict[str, _Session])
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            _log.warning("sessions cannot be read, so everybody signs in again: %s", error)
            return {}
        oldest = self._clock() - SESSION_LIFE
        return {key: session for key, session in known.items() if session.used >= oldest}

    def _write(self) -> None:
        if self._file is None:
            return
        self._written = self._clock()
        try:
            make_folder(self._file.parent)
            replace_file(self._file, msgspec.json.encode(self._known), private=True)
            self._seen = self._stamp()
        except OSError as error:
            _log.warning("sessions cannot be kept, and end with this server: %s", error)


def sessions_file(folder: Path, archive: Path, port: int) -> Path:
    """Return where the sessions of *archive* at *port* are kept in the machine's *folder*.

    Another archive at the same port has others: who was let in to one is not let in to the next.
    """
    return folder / "sessions" / f"{_key(str(archive.resolve()))[:16]}-{port}.json"


def token_of_tools(folder: Path, archive: Path) -> str:
    """Return the token with which tools tell of what they draw into *archive*, new or kept.

    It stands in settings of theirs, so that it outlives the server; whoever removes its file makes
    it void. Where it cannot be kept, it is good as long as this server.

    Args:
        folder: The machine's, of what outlives a command.
        archive: Which.
    """
    file = folder / "sessions" / f"{_key(str(archive.resolve()))[:16]}-tools.token"
    try:
        if token := file.read_text("ascii").strip():
            return token
    except (OSError, ValueError):
        pass
    token = secrets.token_urlsafe(32)
    try:
        make_folder(file.parent)
        replace_file(file, token.encode(), private=True)
    except OSError as error:
        _log.warning("the address for other tools cannot be kept, and is new each time: %s", error)
    return token


def _key(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _proof(secret: str, token: str) -> str:
    return hmac.new(secret.encode("utf-8", "surrogateescape"), token.encode(), "sha256").hexdigest()
