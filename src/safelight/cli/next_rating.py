"""``safelight rate --next``: rate what teaches most, without seeing how it was made."""

from __future__ import annotations

import io
import json
import secrets
import string
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from safelight.application.to_rate import identity_of, next_to_rate
from safelight.archive import Archive
from safelight.archive_layout import picture_file
from safelight.cli.options import archive_words
from safelight.cli.terminal import say, say_text, tell_next
from safelight.durable_file import read_regular_file, replace_file
from safelight.learning.ratings import Identity, RatingEvent

__all__ = ["rate_next"]

_LETTERS = string.ascii_uppercase


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    """One that may be shown: where it is, and what it is; nothing of how it was made."""

    path: Path
    identity: Identity


def rate_next(
    archive: Archive,
    *,
    count: int,
    pairs: bool,
    rater: str,
    condition: str,
    as_json: bool,
    seed: int | None = None,
) -> None:
    """Show what to rate next and ask for it, or print it as JSON for others to ask.

    Args:
        archive: Whose pictures.
        count: How many pictures or pairs.
        pairs: Pairs to choose between, in place of pictures to give stars to.
        rater: Who will rate; what they rated already does not come.
        condition: Only pictures that meet this filter.
        as_json: Print names and files, and ask nothing.
        seed: Of what is drawn by chance; a new one when None.
    """
    with archive.ratings() as store:
        sets = next_to_rate(
            archive, store.events(), together=2 if pairs else 1, count=count, condition=condition,
            rater=rater, seed=secrets.randbits(32) if seed is None else seed,
        )  # fmt: skip
    groups = [
        tuple(
            _Picture(path=picture_file(archive.path, row["path"]), identity=identity_of(row))
            for row in pictures
        )
        for pictures in sets
    ]
    if not pairs:
        groups = [tuple(picture for group in groups for picture in group)]
    if as_json:
        say_text(json.dumps(_as_json(groups, pairs), indent=2))
        return
    if pairs:
        answered = _ask_pairs(archive, groups, rater)
    else:
        answered = _ask_stars(archive, groups[0], rater)
    if answered:
        tell_next(f"effects{archive_words(archive.path)}; or rate on with the same command")


def _as_json(groups: Sequence[Sequence[_Picture]], pairs: bool) -> dict[str, Any]:
    pages = [
        [
            {
                "label": _label(place),
                "path": str(picture.path),
                "sha256": picture.identity.sha256,
                "pixel_sha256": picture.identity.pixel_sha256,
            }
            for place, picture in enumerate(group)
        ]
        for group in groups
    ]
    return {"pairs": pages} if pairs else {"pictures": pages[0] if pages else []}


def _label(place: int) -> str:
    return _LETTERS[place] if place < 26 else f"{_LETTERS[place // 26 - 1]}{_LETTERS[place % 26]}"


def _sheet(pictures: Sequence[_Picture], folder: Path, name: str, title: str) -> Path:
    """Return a sheet of *pictures* under letters, in a file whose name says nothing either."""
    from safelight.pipeline.contact_sheet import SheetCell, contact_sheet

    cells = [
        SheetCell(image=_readable(picture.path), label=_label(place))
        for place, picture in enumerate(pictures)
    ]
    path = folder / name
    replace_file(path, contact_sheet(cells, title=title))
    return path


def _readable(path: Path) -> bytes | None:
    """Return the file, or None, which is shown crossed out, when it is no picture any more."""
    from PIL import Image

    try:
        data = read_regular_file(path)
        with Image.open(io.BytesIO(data)) as image:
            image.load()
        return data
    except (OSError, ValueError, SyntaxError):
        return None


def _ask_stars(archive: Archive, pictures: Sequence[_Picture], rater: str) -> int:
    """Return how many were rated."""
    folder = Path(tempfile.mkdtemp(prefix="safelight-rate-"))
    say(f"look at    {_sheet(pictures, folder, 'sheet.png', 'What are these worth?')}")
    say("then type  1 to 5 stars, r reject, f favourite, s skip, u undo, q quit")
    beside = tuple(picture.identity for picture in pictures)
    made: list[list[RatingEvent]] = []
    with archive.ratings() as store:
        place = 0
        while place < len(pictures):
            picture = pictures[place]
            others = tuple(identity for identity in beside if identity != picture.identity)
            key = _key(_label(place), ("1", "2", "3", "4", "5", "r", "f", "s", "u", "q"))
            if key == "q":
                break
            if key == "u":
                place -= _taken_back(store.add, made, rater)
                continue
            if key == "s":
                events = [RatingEvent.now("seen", shown=(picture.identity,), rater=rater)]
            else:
                kind = {"r": "reject", "f": "favourite"}.get(key, "stars")
                value: bool | int = True if kind != "stars" else int(key)
                events = [RatingEvent.now(kind, picture.identity, value=value, rater=rater,
                                          shown_beside=others)]  # fmt: skip
            store.add(*events)
            made.append(events)
            place += 1
    rated = sum(event.kind != "seen" for events in made for event in events)
    say(f"{rated:,} rated, of {len(pictures):,} shown")
    return rated


def _ask_pairs(archive: Archive, pairs: Sequence[Sequence[_Picture]], rater: str) -> int:
    """Return how many were compared."""
    folder = Path(tempfile.mkdtemp(prefix="safelight-rate-"))
    say("type a or b for the better one, = for a tie, s skip, u undo, q quit")
    made: list[list[RatingEvent]] = []
    with archive.ratings() as store:
        place = 0
        while place < len(pairs):
            name = f"pair-{place + 1:03}.png"
            say(f"look at    {_sheet(pairs[place], folder, name, 'Which is better?')}")
            key = _key(f"{place + 1} of {len(pairs)}", ("a", "b", "=", "s", "u", "q"))
            if key == "q":
                break
            if key == "u":
                place -= _taken_back(store.add, made, rater)
                continue
            won = {"a": (0,), "b": (1,), "=": (0, 1), "s": ()}[key]
            shown = tuple(picture.identity for picture in pairs[place])
            events = [RatingEvent.now("pick", shown=shown, won=won, rater=rater)]
            store.add(*events)
            made.append(events)
            place += 1
    say(f"{len(made):,} of {len(pairs):,} pairs compared")
    return len(made)


def _taken_back(add: Callable[..., object], made: list[list[RatingEvent]], rater: str) -> int:
    """Take the last answer back; return by how many places to go back."""
    if not made:
        say("  there is nothing to take back")
        return 0
    for event in made.pop():
        add(RatingEvent.now("undo", undoes=event.event_id, rater=rater))
    return 1


def _key(question: str, keys: Sequence[str]) -> str:
    """Return one of *keys*; at the end of the input, ``q``."""
    while True:
        try:
            key = click.prompt(question, default="", show_default=False).strip().lower()
        except click.Abort:
            say()
            return "q"
        if key in keys:
            return str(key)
        say(f"  type one of {' '.join(keys)}, got {key[:20]!r}")
