"""accounts: which account of this machine a connection comes from.

Browsers send a cookie to every port of the name that it is for. So a page that another account
serves at another port of this machine is sent the session of whoever opens it; but it cannot send
it from the account that the session began from.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path

__all__ = ["account_of"]

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_OURS, _THEIRS, _ACCOUNT = 1, 2, 7
"""Columns of Linux's tables of connections (man 5 proc): the two ends, and the user's id."""

End = tuple[str, int | None]


def account_of(client: End | None, server: End | None) -> int | None:
    """Return the user id of the account that holds the other end of a connection.

    None where that end is on another machine, and where the system does not tell.

    Args:
        client: Address and port of the other end.
        server: Address and port of this end.
    """
    if client is None or server is None:
        return None
    wanted = set(zip(_spelled(client), _spelled(server), strict=False))
    for table in _TABLES:
        try:
            rows = table.read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            columns = row.split()
            if len(columns) > _ACCOUNT and (columns[_OURS], columns[_THEIRS]) in wanted:
                return int(columns[_ACCOUNT])
    return None


def _spelled(end: End) -> Iterator[str]:
    """Yield an end as the tables spell it, as an address of either version."""
    try:
        address = ipaddress.ip_address(end[0].partition("%")[0])
    except ValueError:
        return
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else address
    port = end[1] or 0
    yield _hexadecimal(mapped.packed if mapped is not None else address.packed, port)
    if mapped is not None:
        yield _hexadecimal(b"\0" * 10 + b"\xff\xff" + mapped.packed, port)


def _hexadecimal(address: bytes, port: int) -> str:
    words = (address[place : place + 4][::-1] for place in range(0, len(address), 4))
    return f"{b''.join(words).hex().upper()}:{port:04X}"
