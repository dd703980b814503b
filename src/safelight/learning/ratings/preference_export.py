"""Preference pairs from ratings, in the layouts that trainers of other projects read.

Only pictures of one prompt and one size are compared. Which of the two comes first is decided
by their hashes, so that the place says nothing about the winner. A pair says what *one* rater
said: raters who disagree give two pairs.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal

import msgspec

from safelight.durable_file import replace_file
from safelight.errors import StorageError
from safelight.learning.ratings.rating_event import Identity, Pictures, RatingEvent, events_in_force

__all__ = [
    "FileCopy",
    "PreferencePair",
    "RatedPicture",
    "card_markdown",
    "hpd_test_rows",
    "hpd_train_rows",
    "image_reward_rows",
    "kohya_layout",
    "pickapic_rows",
    "preference_card",
    "preference_pairs",
    "write_jsonl",
]

Origin = Literal["pick", "stars"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedPicture:
    """A picture that may be compared.

    Attributes:
        identity: Its hashes.
        path: Where it is, as the export shall name it.
        prompt: What was asked for, as the engine got it.
        width: In pixels.
        height: In pixels.
    """

    identity: Identity
    path: str
    prompt: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferencePair:
    """What one rater said about two pictures of one prompt and size.

    Attributes:
        prompt: Of both.
        first: The picture with the smaller hash.
        second: The other.
        preference: 1.0 the first is better, 0.0 the second is, 0.5 a tie.
        rater: Who said it; empty when nobody gave a name.
        timestamp: When: UTC, ISO 8601; of two ratings the later.
        origin: ``pick`` (shown together) or ``stars`` (rated by themselves).
        judgement: Same for all pairs that come from one pick or from one rater's stars.
    """

    prompt: str
    first: RatedPicture
    second: RatedPicture
    preference: float
    rater: str
    timestamp: str
    origin: Origin
    judgement: str

    @property
    def tie(self) -> bool:
        """Neither is better."""
        return self.preference == 0.5

    @property
    def winner(self) -> RatedPicture:
        """The better one; the first of a tie."""
        return self.second if self.preference < 0.5 else self.first

    @property
    def loser(self) -> RatedPicture:
        """The worse one; the second of a tie."""
        return self.first if self.preference < 0.5 else self.second


def preference_pairs(
    events: Iterable[RatingEvent],
    pictures: Iterable[RatedPicture],
    *,
    origins: Sequence[Origin] = ("pick", "stars"),
) -> Iterator[PreferencePair]:
    """Yield all pairs that *events* decide among *pictures*: picks first, then stars.

    In a pick, each winner beats each loser, winners tie with each other, and losers are not
    compared. Stars compare each rater's pictures of one prompt and size, and equal stars tie.
    Rejects and favourites are no comparison. Skips, pictures that are not among *pictures*,
    and pairs across prompts or sizes give nothing.

    Args:
        events: In any order; what is undone does not count.
        pictures: Where each picture is and what was asked for. Of several copies of one
            picture the first counts.
        origins: Which judgements to use.
    """
    events = events_in_force(events)
    listed = tuple(pictures)
    same = Pictures([rated.identity for rated in listed] + [i for e in events for i in e.pictures])
    by_key: dict[tuple[str, str], RatedPicture] = {}
    for rated in listed:
        by_key.setdefault(same.key(rated.identity), rated)

    def find(identity: Identity) -> RatedPicture | None:
        return by_key.get(same.key(identity))

    if "pick" in origins:
        for event in events:
            if event.kind == "pick" and event.won:
                yield from _pick_pairs(event, [find(identity) for identity in event.shown])
    if "stars" in origins:
        latest: dict[tuple[str, str], dict[RatedPicture, RatingEvent]] = defaultdict(dict)
        for event in events:
            if event.kind == "stars" and event.image and (starred := find(event.image)):
                latest[event.rater, _group(starred)][starred] = event
        for (rater, group), stars in sorted(latest.items()):
            yield from _star_pairs(stars, hashlib.sha256(f"{rater}\0{group}".encode()).hexdigest())


def _group(picture: RatedPicture) -> str:
    return f"{picture.width}x{picture.height} {picture.prompt}"


def _pick_pairs(
    event: RatingEvent, shown: Sequence[RatedPicture | None]
) -> Iterator[PreferencePair]:
    won = [shown[place] for place in event.won]
    lost = [picture for place, picture in enumerate(shown) if place not in event.won]
    for a, b in itertools.product(won, lost):
        if a and b:
            yield from _pair(a, b, 1.0, event, "pick", event.event_id)
    for a, b in itertools.combinations(won, 2):
        if a and b:
            yield from _pair(a, b, 0.5, event, "pick", event.event_id)


def _star_pairs(
    stars: Mapping[RatedPicture, RatingEvent], judgement: str
) -> Iterator[PreferencePair]:
    given = sorted(
        ((picture, event) for picture, event in stars.items() if event.value),
        key=lambda item: item[0].identity.keys,
    )
    for (a, of_a), (b, of_b) in itertools.combinations(given, 2):
        x, y = int(of_a.value or 0), int(of_b.value or 0)
        later = max(of_a, of_b, key=lambda event: event.moment)
        yield from _pair(a, b, 0.5 + 0.5 * ((x > y) - (x < y)), later, "stars", judgement)


def _pair(
    a: RatedPicture,
    b: RatedPicture,
    preference: float,
    event: RatingEvent,
    origin: Origin,
    judgement: str,
) -> Iterator[PreferencePair]:
    if a is b or _group(a) != _group(b):
        return
    if b.identity.keys < a.identity.keys:
        a, b, preference = b, a, 1.0 - preference
    yield PreferencePair(
        prompt=a.prompt,
        first=a,
        second=b,
        preference=preference,
        rater=event.rater,
        timestamp=event.timestamp,
        origin=origin,
        judgement=judgement,
    )


# --- Layouts ---------------------------------------------------------------------------------


def pickapic_rows(
    pairs: Iterable[PreferencePair], *, ties: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield the rows of Pick-a-Pic, with paths where that data set holds JPEG bytes.

    Args:
        pairs: What to write.
        ties: Whether to keep ties (0.5 and 0.5). Trainers of Diffusion-DPO stop at them.
    """
    kept = [pair for pair in pairs if ties or not pair.tie]
    rows_per_prompt = Counter(pair.prompt for pair in kept)
    for pair in kept:
        uids = [_uid(pair.first), _uid(pair.second)]
        yield {
            "caption": pair.prompt,
            "jpg_0": pair.first.path,
            "jpg_1": pair.second.path,
            "label_0": pair.preference,
            "label_1": 1.0 - pair.preference,
            "are_different": True,
            "has_label": True,
            "num_example_per_prompt": rows_per_prompt[pair.prompt],
            "image_0_uid": uids[0],
            "image_1_uid": uids[1],
            "best_image_uid": "tie" if pair.tie else _uid(pair.winner),
            "user_id": _rater_hash(pair.rater),
            "created_at": pair.timestamp,
        }


def hpd_train_rows(pairs: Iterable[PreferencePair]) -> Iterator[dict[str, Any]]:
    """Yield the rows of HPD v2's ``train.json``; it knows no ties, which are left out.

    The paths are given under both names that are in use, ``file_path`` and ``image_path``.
    """
    for pair in pairs:
        if not pair.tie:
            paths = [pair.first.path, pair.second.path]
            better = int(pair.preference)
            yield {
                "prompt": pair.prompt,
                "file_path": paths,
                "image_path": paths,
                "human_preference": [better, 1 - better],
                "user_hash": _rater_hash(pair.rater),
            }


def hpd_test_rows(pairs: Iterable[PreferencePair]) -> Iterator[dict[str, Any]]:
    """Yield the rows of HPD v2's ``test.json``: a ranking from 1 each, ties on one rank."""
    for rater, prompt, paths, ranks in _rankings(pairs):
        rank = list(ranks)
        yield {
            "prompt": prompt,
            "image_path": list(paths),
            "rank": rank,
            "raw_annotations": [{"rank": rank, "user_hash": _rater_hash(rater)}],
        }


def image_reward_rows(pairs: Iterable[PreferencePair]) -> Iterator[dict[str, Any]]:
    """Yield the rows of ImageReward: a ranking each, 1 is best, ties share a rank."""
    for rater, prompt, paths, ranks in _rankings(pairs):
        text = "\0".join([rater, prompt, *paths, *map(str, ranks)])
        name = hashlib.sha256(text.encode()).hexdigest()[:16]
        yield {"id": name, "prompt": prompt, "generations": list(paths), "ranking": list(ranks)}


def _rankings(
    pairs: Iterable[PreferencePair],
) -> Iterator[tuple[str, str, tuple[str, ...], tuple[int, ...]]]:
    """Yield rater, prompt, paths and ranks of each judgement.

    A picture's rank is 1 and the number of pictures that beat it, so that those that were
    never compared (the losers of a pick) share a rank.
    """
    judgements: dict[tuple[str, str], list[PreferencePair]] = defaultdict(list)
    for pair in pairs:
        judgements[pair.judgement, _group(pair.first)].append(pair)
    for group in judgements.values():
        beaten = {picture.path: 0 for pair in group for picture in (pair.first, pair.second)}
        for pair in group:
            if not pair.tie:
                beaten[pair.loser.path] += 1
        ranks = tuple(count + 1 for count in beaten.values())
        yield group[0].rater, group[0].prompt, tuple(beaten), ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCopy:
    """One file of a folder layout.

    Attributes:
        target: Where it goes, relative to the export folder, ``/`` between its parts.
        source: File to copy; None when *text* is the content.
        text: Content of a caption file.
    """

    target: str
    source: str | None = None
    text: str | None = None


def kohya_layout(pairs: Iterable[PreferencePair]) -> Iterator[FileCopy]:
    """Yield the files of ``w/`` (winners) and ``l/`` (losers): one name for both of a pair.

    Beside each picture is its caption, the prompt. Ties have no place there and are left out.
    A picture keeps its suffix: where those of a pair differ, only the stems are the same.
    """
    decided = (pair for pair in pairs if not pair.tie)
    for number, pair in enumerate(decided, 1):
        for folder, picture in (("w", pair.winner), ("l", pair.loser)):
            stem = f"{folder}/{number:06d}"
            yield FileCopy(target=stem + PurePath(picture.path).suffix.lower(), source=picture.path)
            yield FileCopy(target=f"{stem}.txt", text=pair.prompt)


def _uid(picture: RatedPicture) -> str:
    return picture.identity.keys[0][1]


def _rater_hash(rater: str) -> str:
    """A rater's name does not leave the archive."""
    return hashlib.sha256(rater.encode()).hexdigest()[:16] if rater else ""


# --- Card and files --------------------------------------------------------------------------


def preference_card(pairs: Iterable[PreferencePair], *, query: str, layout: str) -> dict[str, Any]:
    """Return what a reader of the export must know, as plain JSON values."""
    listed = tuple(pairs)
    moments = sorted(pair.timestamp for pair in listed)
    raters = Counter(_rater_hash(pair.rater) for pair in listed)
    shown = {_uid(picture) for pair in listed for picture in (pair.first, pair.second)}
    return {
        "layout": layout,
        "pairs": len(listed),
        "ties": sum(pair.tie for pair in listed),
        "pairs_from_picks": sum(pair.origin == "pick" for pair in listed),
        "pairs_from_stars": sum(pair.origin == "stars" for pair in listed),
        "pictures": len(shown),
        "prompts": len({pair.prompt for pair in listed}),
        "raters": len(raters),
        "pairs_by_rater": dict(sorted(raters.items())),
        "first_rated": moments[0] if moments else None,
        "last_rated": moments[-1] if moments else None,
        "query": query,
        "query_sha256": hashlib.sha256(query.encode()).hexdigest(),
    }


def card_markdown(card: Mapping[str, Any]) -> str:
    """Return *card* for a person: a Markdown text."""
    query = str(card["query"]).replace("```", "'''")
    return (
        f"# Preference pairs ({card['layout']})\n\n"
        f"- {card['pairs']} pairs ({card['ties']} ties) of {card['pictures']} pictures and"
        f" {card['prompts']} prompts; each pair within one prompt and size\n"
        f"- {card['pairs_from_picks']} from picks, {card['pairs_from_stars']} from stars\n"
        f"- {card['raters']} raters, their names replaced by hashes\n"
        f"- rated from {card['first_rated']} to {card['last_rated']}\n\n"
        f"Query (SHA-256 {card['query_sha256']}):\n\n```\n{query}\n```\n"
    )


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write one JSON object a line, the file whole or not at all, and return their number.

    Raises:
        StorageError: The file could not be written; what was there before stays.
    """
    try:
        lines = [msgspec.json.encode(row) + b"\n" for row in rows]
        replace_file(path, b"".join(lines))
    except (OSError, UnicodeEncodeError) as error:
        raise StorageError(f"{path} could not be written: {error}") from error
    return len(lines)
