"""PictureSet: many pictures as one value, a few bytes each, for what is said of all of them.

An event that names half a million pictures is a line of some tens of megabytes that is written and
read in a fraction of a second; as many events would take minutes. Whoever needs the pictures one by
one asks for :meth:`PictureSet.identities`; whoever needs to know which of many are in it asks
:class:`HashTable`, which looks at arrays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from safelight.learning.ratings.identity import Identity

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["COLUMNS", "UNKNOWN", "HashKeys", "HashTable", "PictureSet", "hexadecimal", "join_sets"]

COLUMNS: Mapping[str, str] = {"bytes": "sha256", "pixels": "pixel_sha256", "image": "image_sha256"}
"""Kind of a hash, as in :attr:`.identity.Identity.keys` -> attribute that holds it."""

_SIZE = 32
"""Bytes of a hash."""

_ODD = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)

UNKNOWN = "0" * 2 * _SIZE
"""Stands for a hash that is not known."""


class PictureSet(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Pictures in an order, each by one to three hashes.

    Attributes:
        sha256: The hashes of their files' bytes, 32 bytes each one behind the other, and 32 zero
            bytes where it is not known; empty when none is.
        pixel_sha256: Likewise, of their pixels.
        image_sha256: Likewise, of their image data.

    Raises:
        ValueError: The lengths do not fit.
    """

    sha256: bytes = b""
    pixel_sha256: bytes = b""
    image_sha256: bytes = b""

    def __post_init__(self) -> None:
        lengths = {len(column) for column in self.columns.values()}
        if len(lengths) != 1 or any(length % _SIZE for length in lengths):
            raise ValueError(
                "the hashes of several pictures must be as many of each kind, 32 bytes each, got"
                f" {sorted(lengths) or 'none'} bytes"
            )

    @staticmethod
    def of(pictures: Iterable[Identity]) -> PictureSet:
        """Return *pictures* as one value.

        Raises:
            ValueError: There are none.
        """
        named = tuple(pictures)
        columns = {
            name: bytes.fromhex("".join(getattr(each, name) or UNKNOWN for each in named))
            for name in COLUMNS.values()
        }
        return PictureSet(**{name: column for name, column in columns.items() if any(column)})

    def __len__(self) -> int:
        return max(len(column) for column in self.columns.values()) // _SIZE

    @property
    def columns(self) -> dict[str, bytes]:
        """The kinds of hashes that are known -> the hashes of that kind."""
        named = ((kind, getattr(self, name)) for kind, name in COLUMNS.items())
        return {kind: column for kind, column in named if column}

    @property
    def digest(self) -> bytes:
        """What only the same pictures in the same order have."""
        mixed = hashlib.sha256()
        for kind, column in self.columns.items():
            mixed.update(f"{kind} {len(column)} ".encode())
            mixed.update(column)
        return mixed.digest()

    def identities(self) -> Iterator[Identity]:
        """Yield the pictures."""
        names = [COLUMNS[kind] for kind in self.columns]
        for hashes in zip(*map(hexadecimal, self.columns.values()), strict=True):
            known = {
                name: digest
                for name, digest in zip(names, hashes, strict=True)
                if digest != UNKNOWN
            }
            if known:
                yield Identity(**known)

    def first(self) -> PictureSet:
        """Return the first picture alone."""
        return PictureSet(**{COLUMNS[k]: column[:_SIZE] for k, column in self.columns.items()})

    def parts(self, most: int) -> list[PictureSet]:
        """Return the set in parts of *most* pictures."""
        return [
            PictureSet(**{
                COLUMNS[kind]: column[start * _SIZE : (start + most) * _SIZE]
                for kind, column in self.columns.items()
            })
            for start in range(0, len(self), most)
        ]  # fmt: skip

    def rows(self, kind: str, places: NDArray[np.intp]) -> NDArray[np.uint64]:
        """Return the hashes of one kind of the pictures at *places*: uint64[places, 4]."""
        import numpy as np

        column = self.columns.get(kind)
        if column is None:
            return np.zeros((len(places), _SIZE // 8), np.uint64)
        return np.asarray(_rows(column)[places])

    def may_repeat(self, kind: str) -> bool:
        """Return whether a hash of one kind may be there twice; hardly ever wrongly."""
        keys = _mixed(_rows(self.columns[kind]))
        keys.sort()
        return bool(((keys[1:] == keys[:-1]) & (keys[1:] > 0)).any())

    def numbers(self, kind: str) -> dict[str, NDArray[np.uint64]]:
        """Return the hashes of one kind as four columns, for who makes texts of them elsewhere."""
        import numpy as np

        rows = _rows(self.columns[kind])
        return {f"part{n}": rows[:, n].astype(np.uint64) for n in range(_SIZE // 8)}

    def only(self, places: NDArray[np.intp]) -> PictureSet:
        """Return those at *places*, one at least."""
        chosen = {COLUMNS[k]: _rows(column)[places].tobytes() for k, column in self.columns.items()}
        return PictureSet(**chosen)


def join_sets(sets: Sequence[PictureSet]) -> PictureSet:
    """Return all pictures of *sets*, one at least, in order."""
    if len(sets) == 1:
        return sets[0]
    kinds = {kind for each in sets for kind in each.columns}
    return PictureSet(**{
        COLUMNS[kind]: b"".join(
            each.columns.get(kind) or bytes(len(each) * _SIZE) for each in sets
        )
        for kind in kinds
    })  # fmt: skip


def hexadecimal(column: bytes) -> list[str]:
    """Return hashes that stand one behind the other, each as text."""
    text = column.hex()
    return [text[start : start + 2 * _SIZE] for start in range(0, len(text), 2 * _SIZE)]


def _rows(column: bytes) -> NDArray[np.uint64]:
    """Return hashes as uint64[pictures, 4]."""
    import numpy as np

    return np.frombuffer(column, ">u8").reshape(-1, _SIZE // 8)


def _mixed(rows: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a number for each hash by which it is looked for; 0 for zeros."""
    import numpy as np

    mixed = np.zeros(len(rows), np.uint64)
    for place, odd in enumerate(_ODD):  # one part at a time: no second copy of all hashes
        mixed += rows[:, place].astype(np.uint64) * np.uint64(odd)
    return mixed


class HashKeys:
    """Whether a hash is perhaps among many: never wrongly not, hardly ever wrongly. 8 bytes each.

    Args:
        column: Hashes one behind the other; it is not kept.
    """

    def __init__(self, column: bytes) -> None:
        self._unsorted = _mixed(_rows(column))

    @cached_property
    def _keys(self) -> NDArray[np.uint64]:
        self._unsorted.sort()
        return self._unsorted

    def may_hold(self, digest: str) -> bool:
        """Return whether *digest*, in hexadecimal, may be one of them."""
        key = _mixed(_rows(bytes.fromhex(digest)))[0]
        place = self._keys.searchsorted(key)
        return bool(key and place < len(self._keys) and self._keys[place] == key)


class HashTable:
    """Where each of many hashes of one kind stands among those of a set.

    They are found by a number made of each, then compared whole. Twelve bytes a hash.

    Args:
        column: Hashes one behind the other; zeros are none.
    """

    def __init__(self, column: bytes) -> None:
        self._column = column

    @cached_property
    def _sorted(self) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
        import numpy as np

        keys = _mixed(_rows(self._column))
        order = np.argsort(keys, kind="stable")
        order = order[np.searchsorted(keys, 1, sorter=order) :]
        return keys[order], order.astype(np.int32)

    @property
    def may_repeat(self) -> bool:
        """Whether a hash may be there twice; hardly ever wrongly."""
        keys, _ = self._sorted
        return bool((keys[1:] == keys[:-1]).any())

    def places(self, column: bytes) -> NDArray[np.intp]:
        """Return for each hash of *column* its place in the set, -1 where it is not in it."""
        import numpy as np

        asked = _rows(column)
        keys, order = self._sorted
        if not len(keys):
            return np.full(len(asked), -1)
        first = np.minimum(np.searchsorted(keys, _mixed(asked)), len(keys) - 1)
        places = order[first].astype(np.intp)
        same = (_rows(self._column)[places] == asked).all(axis=1) & asked.any(axis=1)
        return np.where(same, places, -1)
