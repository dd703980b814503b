"""kindred: pictures that belong to one: those made from it, and those that compare with it.

What differs in one setting alone is what a person wants to see beside a picture: the same seed, the
same prompt, another sampler.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from safelight.application.picture_settings import label_of
from safelight.archive import Archive
from safelight.archive.answer import without_discarded
from safelight.filter_tokens import quoted
from safelight.knobs import COMPARED

__all__ = [
    "Beside",
    "Children",
    "SameSeed",
    "children_of",
    "same_prompt",
    "same_seed",
]

_OF_SAMPLERS = frozenset({"scheduler", "eta"})
"""What a sampler brings along where nobody chose it."""

_MOST_ASKED, _MOST_CHILDREN = 500, 60
_MOST_COMPARED = 4
_LONGEST_PROMPT = 3_000
"""Characters of a prompt that a filter can name; of a longer one its beginning is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Pictures that differ from one in a single setting.

    Attributes:
        name: The setting's.
        label: What people call it.
        values: Its other values, as texts.
        pictures: SHA-256 of that one, then of one of each other value.
    """

    name: str
    label: str
    values: tuple[str, ...]
    pictures: tuple[str, ...]

    @property
    def fits_compare(self) -> bool:
        """Whether all can be seen side by side."""
        return len(self.pictures) <= _MOST_COMPARED


@dataclass(frozen=True, slots=True, kw_only=True)
class SameSeed:
    """Pictures of the seed and prompt of one.

    Attributes:
        q: The condition that finds them, that one included.
        count: How many others there are.
        pictures: SHA-256 of that one and up to three others.
        beside: Those that differ in one setting alone, by the setting.
    """

    q: str
    count: int
    pictures: tuple[str, ...]
    beside: tuple[Beside, ...]


Children = tuple[Mapping[str, Any], ...]
"""``sha256``, ``stage``, ``width`` and ``height`` of each."""


def same_prompt(row: Mapping[str, Any]) -> str:
    """Return the condition for pictures of the prompt of *row*; empty where it has none."""
    prompt = row.get("prompt")
    if not prompt:
        return ""
    if len(quoted(prompt)) > _LONGEST_PROMPT:
        return f"prompt has {quoted(prompt[: _LONGEST_PROMPT // 3])}"
    return f"prompt = {quoted(prompt)}"


def _seed_and_prompt(row: Mapping[str, Any]) -> str:
    prompt = same_prompt(row)
    if row.get("seed") is None or not prompt:
        return ""
    stage = f" and stage = {quoted(row['stage'])}" if row.get("stage") else ""
    return f"seed = {row['seed']} and {prompt}{stage}"


def same_seed(archive: Archive, sha256: str) -> SameSeed | None:
    """Return the pictures that have the seed and the prompt of one; None where it has no seed.

    Args:
        archive: Which.
        sha256: Of the bytes of the one.

    Raises:
        ArchiveError: The archive cannot answer.
    """
    columns = ["sha256", "stage", *COMPARED]
    own = list(archive.query(f"sha256 = {quoted(sha256)}", columns=columns, limit=1).dicts())
    q = _seed_and_prompt(own[0]) if own else ""
    if not q:
        return None
    found = archive.query(
        without_discarded(q), columns=columns, sort="timestamp", limit=_MOST_ASKED
    )
    others = {row["sha256"]: row for row in found.dicts() if row["sha256"] != sha256}
    return SameSeed(
        q=q, count=len(others), pictures=(sha256, *list(others)[: _MOST_COMPARED - 1]),
        beside=tuple(_beside(own[0], list(others.values()))),
    )  # fmt: skip


def _beside(one: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> Iterator[Beside]:
    found: dict[str, dict[Any, str]] = {}
    unlike = [({name for name in COMPARED if each[name] != one[name]}, each) for each in others]
    for names, other in sorted(unlike, key=lambda pair: len(pair[0])):
        if "sampler" in names:
            names = names - _OF_SAMPLERS
        if len(names) == 1:
            (name,) = names
            found.setdefault(name, {}).setdefault(other[name], other["sha256"])
    for name in COMPARED:
        if name in found:
            yield Beside(
                name=name, label=label_of(name),
                values=tuple("none" if v is None else str(v) for v in found[name]),
                pictures=(one["sha256"], *found[name].values()),
            )  # fmt: skip


def children_of(archive: Archive, sha256: str) -> Children:
    """Return the pictures that were made from one, in whichever run.

    Raises:
        ArchiveError: The archive cannot answer.
    """
    found = archive.query(
        without_discarded(f"parent = {quoted(sha256)}"),
        columns=["sha256", "stage", "width", "height"], sort="timestamp", limit=_MOST_CHILDREN,
    )  # fmt: skip
    return tuple(found.dicts())
