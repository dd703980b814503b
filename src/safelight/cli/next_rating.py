"""``safelight rate --next``: rate what teaches most, without seeing how it was made."""

from __future__ import annotations

import json
import os
import secrets
import string
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from safelight.archive import Archive
from safelight.errors import ArchiveError
from safelight.learning.ratings import Identity, RatingEvent

__all__ = ["rate_next"]

_COLUMNS = (
    "sha256", "pixel_sha256", "prompt", "seed", "stage", "model", "vae", "sampler", "scheduler",
    "steps", "cfg_scale", "eta", "clip_skip", "width", "height", "denoising_strength",
    "hires_scale", "hires_upscaler", "upscaler", "scale",
)  # fmt: skip
_LETTERS = string.ascii_uppercase
_STAGES = {"txt2img": 0, "img2img": 1, "upscale": 2}


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
    groups = _chosen(archive, count, pairs, rater, condition,
                     secrets.randbits(32) if seed is None else seed)  # fmt: skip
    if as_json:
        click.echo(json.dumps(_as_json(groups, pairs), indent=2))
    elif pairs:
        _ask_pairs(archive, groups, rater)
    else:
        _ask_stars(archive, groups[0], rater)


def _chosen(
    archive: Archive, count: int, pairs: bool, rater: str, condition: str, seed: int
) -> list[tuple[_Picture, ...]]:
    """Return the pairs, or one group of pictures.

    Raises:
        ArchiveError: There is nothing left to rate.
    """
    from safelight.learning.next_to_rate import next_pairs, next_pictures, rating_pool
    from safelight.learning.rating_event import Pictures, events_in_force
    from safelight.learning.scores import fit_scores, is_automatic

    columns = (*_COLUMNS, "path", "run_id", "variant")
    answer = archive.query(condition, columns=columns, limit=None)
    rows = _last_stages([row for row in answer.dicts() if row["path"]])
    if not rows:
        raise ArchiveError(f"there is no picture to rate in {archive.path}"
                           + (" that meets the filter" if condition else
                              "; draw some with: safelight run CONFIG"))  # fmt: skip
    with archive.ratings() as store:
        events = [event for event in store.events() if not is_automatic(event)]
    identities = [Identity(sha256=r["sha256"], pixel_sha256=r["pixel_sha256"]) for r in rows]
    known = Pictures([*identities, *(one for event in events for one in _seen(event))])
    place_of = {known.key(identity): place for place, identity in enumerate(identities)}
    judged: set[int] = set()
    compared: set[frozenset[int]] = set()
    for event in events_in_force(events):
        if event.rater != rater:
            continue
        places = {place_of.get(known.key(one), -1) for one in _seen(event)} - {-1}
        if event.kind in ("stars", "reject") and event.value:
            judged |= places
        elif event.kind == "pick":
            compared |= {frozenset((a, b)) for a in places for b in places if a < b}
    pool = rating_pool(
        {name: [row[name] for row in rows] for name in _COLUMNS}, fit_scores(events, identities)
    )
    # The same picture may lie in several runs; one of them is enough.
    first = {place_of[known.key(identity)] for identity in identities}
    doubles = set(range(len(rows))) - first

    def shown(place: int) -> _Picture:
        return _Picture(path=archive.path / rows[place]["path"], identity=identities[place])

    gone = doubles
    for _ in range(20):  # a file that was moved or deleted cannot be shown; choose another
        if pairs:
            found = next_pairs(pool, count, leave_out=gone, compared=compared, seed=seed)
        else:
            whole = next_pictures(pool, count, leave_out=gone | judged, seed=seed)
            found = (whole,) if whole else ()  # type: ignore[assignment]
        groups = [tuple(shown(place) for place in group) for group in found]
        missing = {
            place
            for group, files in zip(found, groups, strict=True)
            for place, file in zip(group, files, strict=True)
            if not os.path.isfile(file.path)  # noqa: PTH113 - one that may not be looked at, too
        }
        if not missing:
            break
        gone |= missing
    if not found or missing:
        what = "two pictures to compare" if pairs else "picture that you have not rated"
        raise ArchiveError(f"there is no {what} among the {len(rows):,} in {archive.path}"
                           " whose files are there")  # fmt: skip
    return groups


def _seen(event: RatingEvent) -> tuple[Identity, ...]:
    return event.shown if event.image is None else (event.image,)


def _last_stages(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the pictures of each variant's last stage; earlier ones are not its result."""
    last: dict[tuple[str, int], int] = {}
    for row in rows:
        key = (row["run_id"], row["variant"])
        last[key] = max(last.get(key, 0), _STAGES.get(row["stage"], 0))
    return [r for r in rows if _STAGES.get(r["stage"], 0) == last[r["run_id"], r["variant"]]]


def _as_json(groups: Sequence[Sequence[_Picture]], pairs: bool) -> dict[str, Any]:
    told = [
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
    return {"pairs": told} if pairs else {"pictures": told[0] if told else []}


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
    path.write_bytes(contact_sheet(cells, title=title))
    return path


def _readable(path: Path) -> bytes | None:
    """Return the file, or None, which is shown crossed out, when it is no picture any more."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
        return path.read_bytes()
    except (OSError, ValueError, SyntaxError):
        return None


def _ask_stars(archive: Archive, pictures: Sequence[_Picture], rater: str) -> None:
    folder = Path(tempfile.mkdtemp(prefix="safelight-rate-"))
    click.echo(f"look at    {_sheet(pictures, folder, 'sheet.png', 'What are these worth?')}")
    click.echo("then type  1 to 5 stars, r reject, f favourite, s skip, u undo, q quit")
    beside = tuple(picture.identity for picture in pictures)
    made: list[list[RatingEvent]] = []
    with archive.ratings() as store:
        place = 0
        while place < len(pictures):
            picture = pictures[place]
            others = tuple(one for one in beside if one != picture.identity)
            key = _key(_label(place), ("1", "2", "3", "4", "5", "r", "f", "s", "u", "q"))
            if key == "q":
                break
            if key == "u":
                place -= _taken_back(store.add, made, rater)
                continue
            events: list[RatingEvent] = []
            if key != "s":
                kind = {"r": "reject", "f": "favourite"}.get(key, "stars")
                value: bool | int = True if kind != "stars" else int(key)
                events = [RatingEvent.now(kind, picture.identity, value=value, rater=rater,
                                          shown_beside=others)]  # fmt: skip
                store.add(*events)
            made.append(events)
            place += 1
    click.echo(f"{sum(1 for events in made if events):,} rated, of {len(pictures):,} shown")


def _ask_pairs(archive: Archive, pairs: Sequence[Sequence[_Picture]], rater: str) -> None:
    folder = Path(tempfile.mkdtemp(prefix="safelight-rate-"))
    click.echo("type a or b for the better one, = for a tie, s skip, u undo, q quit")
    made: list[list[RatingEvent]] = []
    with archive.ratings() as store:
        place = 0
        while place < len(pairs):
            name = f"pair-{place + 1:03}.png"
            click.echo(f"look at    {_sheet(pairs[place], folder, name, 'Which is better?')}")
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
    click.echo(f"{len(made):,} of {len(pairs):,} pairs compared")


def _taken_back(add: Callable[..., object], made: list[list[RatingEvent]], rater: str) -> int:
    """Take the last answer back; return by how many places to go back."""
    if not made:
        click.echo("  there is nothing to take back")
        return 0
    for event in made.pop():
        add(RatingEvent.now("undo", undoes=event.event_id, rater=rater))
    return 1


def _key(question: str, keys: Sequence[str]) -> str:
    """Return one of *keys*; at the end of the input, ``q``."""
    while True:
        try:
            said = click.prompt(question, default="", show_default=False).strip().lower()
        except click.Abort:
            click.echo()
            return "q"
        if said in keys:
            return str(said)
        click.echo(f"  type one of {' '.join(keys)}, got {said[:20]!r}")
