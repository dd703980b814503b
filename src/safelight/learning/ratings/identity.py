"""Identity: what a picture is, wherever it lies; and which identities are one picture."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

__all__ = ["Identity", "Pictures"]

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Identity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a picture is, wherever it lies: at least one of three hashes.

    Attributes:
        sha256: SHA-256 of the file's bytes, 64 lower-case hex digits; None when unknown.
        pixel_sha256: SHA-256 of the decoded pixels (``docs/records.md`` says which bytes).
        image_sha256: SHA-256 of the image data without the texts of its file
            (:mod:`safelight.formats.image_data`).
    """

    sha256: str | None = None
    pixel_sha256: str | None = None
    image_sha256: str | None = None

    def __post_init__(self) -> None:
        if self.sha256 is None and self.pixel_sha256 is None and self.image_sha256 is None:
            raise ValueError("an identity needs sha256, pixel_sha256 or image_sha256, got neither")
        for digest in (self.sha256, self.pixel_sha256, self.image_sha256):
            if digest is not None and not _DIGEST.fullmatch(digest):
                raise ValueError(f"a hash must be 64 lower-case hex digits, got {digest[:80]!r}")

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """The known hashes, each with its kind; the hash of the bytes comes first."""
        if self.image_sha256 is None:  # nearly all, and there are many
            if self.pixel_sha256 is None:
                return (("bytes", self.sha256),) if self.sha256 is not None else ()
            if self.sha256 is None:
                return (("pixels", self.pixel_sha256),)
            return (("bytes", self.sha256), ("pixels", self.pixel_sha256))
        named = (
            ("bytes", self.sha256),
            ("pixels", self.pixel_sha256),
            ("image", self.image_sha256),
        )
        return tuple((name, digest) for name, digest in named if digest is not None)


class Pictures:
    """Which identities are one picture: those that share a hash, along any chain."""

    def __init__(self, identities: Iterable[Identity]) -> None:
        self._above: dict[tuple[str, str], tuple[str, str]] = {}
        for identity in identities:
            keys = identity.keys
            if len(keys) == 1:
                self._above.setdefault(keys[0], keys[0])
                continue
            for key in keys[1:]:
                first, second = self._root(keys[0]), self._root(key)
                self._above[first] = self._above[second] = min(first, second)

    def _root(self, key: tuple[str, str]) -> tuple[str, str]:
        above = self._above.setdefault(key, key)
        while above is not key and above != key:
            self._above[key] = self._above[above]
            key, above = above, self._above[above]
        return key

    def key(self, identity: Identity) -> tuple[str, str]:
        """Return what is the same for all identities of one picture.

        The hash of the bytes decides; that of the pixels is asked when no one knows the bytes.
        """
        keys = identity.keys
        for key in keys:
            if key in self._above:
                return self._root(key)
        return keys[0]

    def members(self) -> Mapping[tuple[str, str], tuple[tuple[str, str], ...]]:
        """Return the hashes of each picture, sorted, by its key."""
        keys_of = defaultdict(list)
        for key in list(self._above):
            keys_of[self._root(key)].append(key)
        return {root: tuple(sorted(keys)) for root, keys in keys_of.items()}
