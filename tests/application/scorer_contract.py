"""What every scorer promises; a scorer's own test inherits ScorerContract."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from application.scored_pictures import flat, png_of, textured
from safelight.application.scorers import PictureToScore, Scorer, looks_back
from safelight.errors import ImageError


def picture(data: bytes, name: str, earlier: Sequence[PictureToScore] = ()) -> PictureToScore:
    return PictureToScore(
        sha256=f"{name:0>64}", prompt="a fox", load=lambda: data, earlier=tuple(earlier)
    )


def unreadable(name: str) -> PictureToScore:
    def load() -> bytes:
        raise FileNotFoundError(name)

    return PictureToScore(sha256=f"{name:0>64}", prompt="a fox", load=load)


class ScorerContract:
    """Inherit it, and give the fixture ``scorer``."""

    @pytest.fixture
    def scorer(self) -> Scorer:
        raise NotImplementedError

    @pytest.fixture
    def pictures(self, scorer: Scorer) -> list[PictureToScore]:
        files = [png_of(textured(1, 24)), png_of(flat(200, 24)), png_of(textured(2, 48))]
        made: list[PictureToScore] = []
        for number, data in enumerate(files):
            made.append(picture(data, str(number), made if looks_back(scorer) else ()))
        return made

    def test_it_says_who_it_is(self, scorer: Scorer) -> None:
        """These stand beside every number."""
        assert scorer.name
        assert scorer.version
        assert scorer.unit

    def test_it_answers_a_number_or_none_for_each(
        self, scorer: Scorer, pictures: list[PictureToScore]
    ) -> None:
        """In the order of the pictures."""
        numbers = scorer.score(pictures)
        assert len(numbers) == len(pictures)
        given = [number for number in numbers if number is not None]
        assert given
        assert all(math.isfinite(number) for number in given)

    def test_what_is_handed_in_together_changes_nothing(
        self, scorer: Scorer, pictures: list[PictureToScore]
    ) -> None:
        """A batch is cut anywhere when somebody goes on after a stop."""
        together = list(scorer.score(pictures))
        alone = [number for each in reversed(pictures) for number in scorer.score([each])]
        for one, other in zip(together, reversed(alone), strict=True):
            assert one is other is None or one == pytest.approx(other, rel=1e-5)

    def test_asked_again_it_says_the_same(
        self, scorer: Scorer, pictures: list[PictureToScore]
    ) -> None:
        """Or versions would mean nothing."""
        assert list(scorer.score(pictures)) == list(scorer.score(pictures))

    def test_what_is_no_picture_is_told(self, scorer: Scorer) -> None:
        """By an error, never by a number."""
        with pytest.raises(ImageError):
            scorer.score([picture(b"none", "9")])

    def test_the_prompt_may_be_empty(self, scorer: Scorer) -> None:
        """Of many imported pictures nobody knows it."""
        unnamed = PictureToScore(sha256="a" * 64, prompt="", load=lambda: png_of(textured(3)))
        assert len(scorer.score([unnamed])) == 1
