"""LargeSets: what is said of very many pictures at once, without a look at each of them.

Pictures of which nothing was said but within the same large sets have the same rating: it is
worked out once for each such class of pictures, and arrays tell which belong to it.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from safelight.learning.ratings.current_ratings import Rating, current_ratings
from safelight.learning.ratings.identity import Identity
from safelight.learning.ratings.picture_set import COLUMNS, HashTable, PictureSet, join_sets
from safelight.learning.ratings.rating_event import MANY, RatingEvent, all_pictures

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["AlikeRated", "LargeSets", "Taken", "without_pictures"]

Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlikeRated:
    """Pictures of which the same is said.

    Attributes:
        rating: What; without hashes. None when nothing is said any more.
        pictures: Which. Half a million are some tens of megabytes here, and as texts ten times
            that.
    """

    rating: Rating | None
    pictures: PictureSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What comes of one event.

    Attributes:
        event: It, with hardly any of its pictures, as these need not be kept twice.
        changed: The ids of the sets about which more is known now.
        odd: Pictures that sets know by different hashes: they are to be looked at one by one.
    """

    event: RatingEvent
    changed: Set[str] = frozenset()
    odd: Set[Identity] = frozenset()


class _Pictures:
    """Very many pictures, with tables that find them by each hash."""

    def __init__(self, pictures: PictureSet, tables: dict[str, HashTable]) -> None:
        self.pictures, self.tables = pictures, tables

    def places(self, columns: Mapping[str, bytes]) -> NDArray[np.intp]:
        """Return for each picture of *columns* its place here by any hash, -1 if it is not here."""
        import numpy as np

        found = np.full(max(map(len, columns.values())) // 32, -1)
        for kind, column in columns.items():
            if kind in self.tables:
                found = np.maximum(found, self.tables[kind].places(column))
        return found

    def known_otherwise(self, other: _Pictures) -> set[Identity]:
        """Return the pictures here and in *other* that share a hash, and not all they have."""
        import numpy as np

        odd: set[Identity] = set()
        for kind, column in self.pictures.columns.items():
            if kind not in other.tables:
                continue
            if other is self and not self.tables[kind].may_repeat:
                continue
            there = other.tables[kind].places(column)
            mine = np.flatnonzero(there >= 0)
            theirs = there[mine]
            differ = np.zeros(len(mine), bool)
            for each in COLUMNS:
                differ |= (self.pictures.rows(each, mine) != other.pictures.rows(each, theirs)).any(
                    axis=1
                )
            if differ.any():
                odd.update(self.pictures.only(mine[differ]).identities())
                odd.update(other.pictures.only(theirs[differ]).identities())
        return odd


class _Set(_Pictures):
    """One event about very many pictures."""

    def __init__(self, event: RatingEvent, shared: _Pictures) -> None:
        super().__init__(shared.pictures, shared.tables)
        self.event = event

    def about(self, places: NDArray[np.intp]) -> RatingEvent:
        """Return what is said, of the pictures at *places* only."""
        return msgspec.structs.replace(
            self.event, many=self.pictures.only(places), parts=(), same_pictures=()
        )


class LargeSets:
    """Events about very many pictures, and the parts of these, as they come."""

    def __init__(self) -> None:
        self._parts: dict[str, RatingEvent] = {}
        self._sets: dict[str, _Set] = {}
        self._whole_of: dict[str, str] = {}
        self._same_as: defaultdict[str, dict[str, RatingEvent]] = defaultdict(dict)
        self._seen: dict[str, bytes] = {}
        self._shared: dict[bytes, _Pictures] = {}

    def __contains__(self, event: RatingEvent) -> bool:
        """Whether an event of that id was taken."""
        return event.event_id in self._seen

    def is_known(self, event: RatingEvent) -> bool:
        """Return whether just this event was taken."""
        return self._seen.get(event.event_id) == _fingerprint(event)

    def take(self, event: RatingEvent) -> Taken:
        """Take *event*."""
        self._seen[event.event_id] = _fingerprint(event)
        few = without_pictures(event)
        if event.same_pictures:
            for name in event.same_pictures:
                self._same_as[name][event.event_id] = event
            return Taken(event=few, changed=self._let_know(event))
        if event.kind == MANY:
            self._whole_of |= dict.fromkeys(event.parts, event.event_id)
            parts = {name: self._parts.pop(name) for name in event.parts if name in self._parts}
            odd = self._hold(event, all_pictures(event, parts))
            return Taken(event=few, changed=self._share(event.event_id), odd=odd)
        name = self._whole_of.get(event.event_id, "")
        whole = self._sets.get(name)
        if whole is None or event.many is None:
            self._parts[event.event_id] = event
            return Taken(event=few)
        # A part may come after what it belongs to, where archives were merged.
        odd = self._hold(whole.event, join_sets([whole.pictures, event.many]))
        return Taken(event=few, changed=self._share(name), odd=odd)

    def _share(self, name: str) -> set[str]:
        """Let all that is said of the pictures of the event *name* know them; return the ids.

        They are none before such an event is there, and more with each part that comes late.
        """
        others = (self._let_know(event) for event in self._same_as[name].values())
        return {name}.union(*others)

    def _let_know(self, event: RatingEvent) -> set[str]:
        """Give *event* the pictures of others, of which most is there; return its id if any is."""
        there = [each for name in event.same_pictures if (each := self._sets.get(name)) is not None]
        holding = [each for each in there if not each.event.same_pictures]
        if not holding:
            return set()
        most = max(holding, key=lambda each: (len(each.pictures), each.event.event_id))
        self._sets[event.event_id] = _Set(event, most)
        return {event.event_id}

    def _hold(self, event: RatingEvent, pictures: PictureSet) -> set[Identity]:
        """Keep a set; what was said of the same pictures before shares them."""
        columns, name = pictures.columns, pictures.digest
        odd: set[Identity] = set()
        if name not in self._shared:
            tables = {kind: HashTable(column) for kind, column in columns.items()}
            new = _Pictures(pictures, tables)
            self._shared[name] = new
            for other in self._shared.values():
                odd |= new.known_otherwise(other)
        shared = self._shared[name]
        few = without_pictures(event)
        self._sets[event.event_id] = _Set(few, shared)
        return odd

    def about(self, keys: Iterable[Key]) -> list[RatingEvent]:
        """Return what the sets say of those pictures only whose hashes are among *keys*."""
        if not self._sets:
            return []
        columns = _columns(keys)
        said: list[RatingEvent] = []
        for each in self._sets.values():
            places = {place for kind, column in columns.items()
                      for place in each.places({kind: column}).tolist() if place >= 0}  # fmt: skip
            if places:
                said.append(each.about(_array(sorted(places))))
        return said

    def known_by_themselves(self, names: Iterable[str] | None, keys: Iterable[Key]) -> set[Key]:
        """Return the hashes of those pictures of sets *names* of which one is among *keys*.

        Args:
            names: The ids of their events; all when None.
            keys: Hashes of pictures.
        """
        chosen = self._sets if names is None else self._sets.keys() & names
        columns = _columns(keys) if chosen else {}
        found: set[Key] = set()
        for name in chosen:
            each = self._sets[name]
            for kind, column in columns.items():
                places = each.places({kind: column})
                places = places[places >= 0]
                if len(places):
                    for identity in each.pictures.only(places).identities():
                        found.update(identity.keys)
        return found

    def alike(
        self,
        names: Iterable[str],
        keys: Iterable[Key],
        with_undos: Callable[[Iterable[str]], Iterable[RatingEvent]],
    ) -> Iterator[AlikeRated]:
        """Yield what is said of the pictures of sets *names*, but for those that *keys* name.

        Args:
            names: The ids of their events.
            keys: Hashes of pictures of which something else was said.
            with_undos: Returns what takes back events of some ids.
        """
        import numpy as np

        others = {kind: HashTable(column) for kind, column in _columns(keys).items()}
        told: dict[int, _Set] = {}
        for each in [self._sets[name] for name in names if name in self._sets]:
            mine = each.pictures
            if id(mine) in told:
                continue
            columns = mine.columns
            alone = np.ones(len(mine), bool)
            for earlier in told.values():
                alone &= earlier.places(columns) < 0
            told[id(mine)] = each
            for kind, column in columns.items():
                if kind in others:
                    alone &= others[kind].places(column) < 0
            classes = np.zeros(len(mine), np.intp)
            for other in self._shared.values():
                if other.pictures is not mine:  # of those that have the same all are inside
                    inside = other.places(columns) >= 0
                    classes = np.unique(2 * classes + inside, return_inverse=True)[1]
            for number in np.unique(classes[alone]):
                places = np.flatnonzero(alone & (classes == number))
                first = list(mine.only(places[:1]).identities())
                said = self.about(key for identity in first for key in identity.keys)
                undos = with_undos([event.event_id for event in said])
                rating = next(iter(current_ratings([*said, *undos]).values()), None)
                same = mine if len(places) == len(mine) else mine.only(places)
                yield AlikeRated(rating=rating and _without_hashes(rating), pictures=same)


def without_pictures(event: RatingEvent) -> RatingEvent:
    """Return *event* with hardly any of its pictures, as these need not be kept twice."""
    if event.many is None:
        return event
    return msgspec.structs.replace(event, many=event.many.first())


def _fingerprint(event: RatingEvent) -> bytes:
    digest = hashlib.sha256(without_pictures(event).to_json())
    if event.many is not None:
        digest.update(event.many.digest)
    return digest.digest()


def _without_hashes(rating: Rating) -> Rating:
    return replace(rating, sha256s=(), pixel_sha256s=(), image_sha256s=())


def _columns(keys: Iterable[Key]) -> dict[str, bytes]:
    """Return kind -> the hashes of that kind, one behind the other."""
    of_kind: dict[str, list[str]] = {kind: [] for kind in COLUMNS}
    for kind, digest in keys:
        of_kind[kind].append(digest)
    return {kind: bytes.fromhex("".join(found)) for kind, found in of_kind.items() if found}


def _array(places: Sequence[int]) -> NDArray[np.intp]:
    import numpy as np

    return np.asarray(places, np.intp)
