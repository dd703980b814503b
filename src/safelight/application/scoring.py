"""scoring: let a scorer go over an archive's pictures, and keep what it says.

What a scorer says is an event of the kind ``score`` with the source ``automatic:NAME``, beside
ratings and never among them. A batch is on the disk before the next one begins, so that whoever is
stopped goes on where that was; what is wrong with one picture costs its number only.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from numbers import Real
from typing import Any, overload

from safelight.application.scorers import PictureToScore, Scorer, looks_back
from safelight.archive import Archive
from safelight.archive_layout import picture_file
from safelight.durable_file import read_regular_file
from safelight.errors import ImageError, ScorerError, sentence_of
from safelight.formats.image_data import hash_picture
from safelight.learning.ratings import AUTOMATIC, SCORE, Identity, Pictures, RatingEvent

__all__ = ["BATCH", "Scored", "score_pictures"]

BATCH = 16
"""Pictures that a scorer is handed at once, where nobody says otherwise."""

_PATIENCE = 20
"""Pictures on which a scorer may raise one after the other before it is given up."""

_MOST_TOLD = 5
_COLUMNS = ("sha256", "pixel_sha256", "image_sha256", "path", "prompt")
_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Scored:
    """What came of it.

    Attributes:
        scored: Pictures that have a number now.
        before: Pictures that had one of this scorer and version.
        without: Pictures for which the scorer has none.
        failed: Why others have none -> how many.
        told: (path, reason) of the first few of these.
    """

    scored: int = 0
    before: int = 0
    without: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    told: list[tuple[str, str]] = field(default_factory=list)


def score_pictures(
    archive: Archive,
    scorer: Scorer,
    condition: str = "",
    *,
    batch: int = BATCH,
    again: bool = False,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> Scored:
    """Have *scorer* score the pictures that meet *condition*, the oldest first.

    Args:
        archive: Whose pictures, and where the numbers are kept.
        scorer: Who scores.
        condition: In the filter language.
        batch: Pictures that it is handed at once.
        again: Score also those of which this scorer and version has said a number.
        on_progress: Told how many of how many pictures are done; what it raises ends the whole.

    Raises:
        FilterError: *condition* cannot be read.
        ArchiveError: The archive cannot answer.
        ScorerError: The scorer answered what is no answer, or raised on 20 pictures in a row.
        StorageError: Numbers could not be written; those before are there.
    """
    every = archive.picture_scores().every
    mine = [one for one in every if (one.scorer, one.version) == (scorer.name, scorer.version)]
    known = set() if again else {digest for one in mine for digest in one.digests}
    rows = _distinct(_rows(archive, condition))
    wanted = [row for row in rows if known.isdisjoint(_digests(row))]
    done = Scored(before=len(rows) - len(wanted))
    asked = _Asked(scorer, done)
    everything = _distinct(_rows(archive, "")) if looks_back(scorer) else ()
    places = _Places(archive, everything)
    on_progress(done.before, len(rows))
    with archive.scores() as store:
        for start in range(0, len(wanted), batch):
            some = wanted[start : start + batch]
            pictures = [(row, places.picture(row)) for row in some]
            events = [_event(scorer, row, number) for row, number in asked.numbers(pictures)]
            store.add(*events)
            done.scored += len(events)
            on_progress(done.before + start + len(some), len(rows))
    return done


_Row = Mapping[str, Any]


def _rows(archive: Archive, condition: str) -> list[_Row]:
    answer = archive.query(condition, columns=_COLUMNS, sort="timestamp", limit=None)
    return list(answer.dicts())


def _digests(row: _Row) -> list[str]:
    return [row[name] for name in ("sha256", "pixel_sha256", "image_sha256") if row[name]]


def _identity(row: _Row) -> Identity:
    return Identity(**{n: row[n] or None for n in ("sha256", "pixel_sha256", "image_sha256")})


def _distinct(rows: Sequence[_Row]) -> list[_Row]:
    """Return the first row of every picture."""
    pictures = Pictures(map(_identity, rows))
    first: dict[tuple[str, str], _Row] = {}
    for row in rows:
        first.setdefault(pictures.key(_identity(row)), row)
    return list(first.values())


def _event(scorer: Scorer, row: _Row, number: float) -> RatingEvent:
    return RatingEvent.now(
        SCORE, _identity(row), number=number, version=scorer.version, unit=scorer.unit,
        rater=scorer.name, source=AUTOMATIC + scorer.name,
    )  # fmt: skip


class _Places:
    """Makes pictures of rows, and knows which came before which.

    Args:
        archive: Whose.
        rows: All of the archive, the oldest first; none where nobody looks back.
    """

    def __init__(self, archive: Archive, rows: Sequence[_Row]) -> None:
        self._archive = archive
        self._of_prompt: defaultdict[str, list[PictureToScore]] = defaultdict(list)
        self._before: dict[str, int] = {}
        for row in rows:
            of_prompt = self._of_prompt[row["prompt"] or ""]
            for digest in _digests(row):
                self._before.setdefault(digest, len(of_prompt))
            of_prompt.append(self._plain(row))

    def _plain(self, row: _Row) -> PictureToScore:
        load = partial(_load, self._archive, row)
        return PictureToScore(sha256=row["sha256"] or "", prompt=row["prompt"] or "", load=load)

    def picture(self, row: _Row) -> PictureToScore:
        """Return the picture of *row*, with those of its prompt that came before it."""
        plain = self._plain(row)
        places = [self._before[digest] for digest in _digests(row) if digest in self._before]
        if not places or not plain.prompt:
            return plain
        earlier = _Beginning(self._of_prompt[plain.prompt], places[0])
        return PictureToScore(
            sha256=plain.sha256, prompt=plain.prompt, load=plain.load, earlier=earlier
        )


class _Beginning(Sequence[PictureToScore]):
    """The first few of a list that all share."""

    def __init__(self, whole: Sequence[PictureToScore], count: int) -> None:
        self._whole, self._count = whole, count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> PictureToScore: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[PictureToScore]: ...
    def __getitem__(self, place: int | slice) -> PictureToScore | Sequence[PictureToScore]:
        if isinstance(place, slice):
            return [self._whole[each] for each in range(*place.indices(self._count))]
        return self._whole[range(self._count)[place]]

    def __iter__(self) -> Iterator[PictureToScore]:
        return islice(self._whole, self._count)


class _AnotherPicture(ImageError):
    """A file is not the picture that its record says."""


def _load(archive: Archive, row: _Row) -> bytes:
    """Return the file of *row*.

    Raises:
        OSError: It cannot be read.
        ImageError: It is another picture.
    """
    data = read_regular_file(picture_file(archive.path, row["path"] or ""))
    if hashlib.sha256(data).hexdigest() != row["sha256"]:  # other texts, or another picture
        image = row["image_sha256"]
        if not image or hash_picture(io.BytesIO(data)).image_sha256 != image:
            raise _AnotherPicture("it is not what its record says: safelight archive verify")
    return data


class _Asked:
    """Asks a scorer, counts what it cannot do, and refuses what is no answer."""

    def __init__(self, scorer: Scorer, done: Scored) -> None:
        self._scorer, self._done = scorer, done
        self._raised = 0

    def numbers(
        self, pictures: Sequence[tuple[_Row, PictureToScore]]
    ) -> Iterator[tuple[_Row, float]]:
        """Yield the rows that have a number, and it; count the others.

        Raises:
            ScorerError: The scorer answered what is no answer, or raised too often.
        """
        readable = [(row, read) for row, each in pictures if (read := self._read(row, each))]
        for row, number in self._ask(readable):
            if number is None:
                self._done.without += 1
            else:
                yield row, number

    def _read(self, row: _Row, picture: PictureToScore) -> PictureToScore | None:
        """Return *picture* with its file in memory; None when it has none that can be read."""
        try:
            data = picture.data()
        except OSError as error:
            self._fails(row, "the file is not there, or cannot be read", error)
            return None
        except ImageError as error:
            self._fails(row, "the file is another than its record says", error)
            return None
        return PictureToScore(
            sha256=picture.sha256, prompt=picture.prompt, load=lambda: data,
            earlier=picture.earlier,
        )  # fmt: skip

    def _ask(
        self, pictures: Sequence[tuple[_Row, PictureToScore]]
    ) -> list[tuple[_Row, float | None]]:
        if not pictures:
            return []
        try:
            answer = self._scorer.score([picture for _, picture in pictures])
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told and counted
            if len(pictures) > 1:  # one of them is to blame, and costs itself only
                return [pair for each in pictures for pair in self._ask([each])]
            self._blame(pictures[0][0], error)
            return []
        numbers = _checked(self._scorer, answer, [row for row, _ in pictures])
        self._raised = 0
        return [(row, number) for (row, _), number in zip(pictures, numbers, strict=True)]

    def _blame(self, row: _Row, error: Exception) -> None:
        if isinstance(error, ImageError):
            self._fails(row, "the file is no picture that can be read", error)
            return
        _log.info("the scorer %s raised", self._scorer.name, exc_info=error)
        self._fails(row, "the scorer failed", error)
        self._raised += 1
        if self._raised >= _PATIENCE:
            raise ScorerError(
                f"the scorer {self._scorer.name!r} {self._scorer.version} raised on {_PATIENCE}"
                f" pictures in a row, at last: {sentence_of(error)}; the numbers before are kept"
            ) from error

    def _fails(self, row: _Row, reason: str, error: Exception) -> None:
        self._done.failed[reason] = self._done.failed.get(reason, 0) + 1
        if len(self._done.told) < _MOST_TOLD:
            self._done.told.append((row["path"] or row["sha256"], sentence_of(error)))


def _checked(scorer: Scorer, answer: Any, rows: Sequence[_Row]) -> list[float | None]:
    """Return *answer* as plain numbers.

    Raises:
        ScorerError: It is not one finite number, or None, for each of *rows*.
    """
    who = f"the scorer {scorer.name!r} {scorer.version}"
    shape = tuple(getattr(answer, "shape", ()))
    try:
        count = len(answer)
    except TypeError:
        count = -1
    if count != len(rows) or len(shape) > 1 or isinstance(answer, (str, bytes, Mapping)):
        got = f"an array of the shape {shape}" if shape else f"{answer!r:.80}"
        raise ScorerError(
            f"{who} must answer one number for each of {len(rows)} pictures, got {got}"
        )
    numbers: list[float | None] = []
    for row, number in zip(rows, answer, strict=True):
        is_number = isinstance(number, Real) and not isinstance(number, bool)
        if number is not None and (not is_number or not math.isfinite(number)):
            raise ScorerError(
                f"{who} must answer a finite number, or None, got {number!r:.80} for"
                f" {row['path'] or row['sha256']}"
            )
        numbers.append(None if number is None else float(number))
    return numbers
