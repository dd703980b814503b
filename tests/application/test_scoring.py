"""What scorers say is kept beside ratings and never among them; nothing stops it for good."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from application.scored_pictures import MeanRed, archive_of, flat, textured
from archives import held_in_memory, verified
from command_line import Safelight
from safelight.application import scorers as scorers_module
from safelight.application.open_archive import OpenArchive
from safelight.application.rated_pictures import whose
from safelight.application.rating import rate
from safelight.application.scorer_comparison import compare_scorer
from safelight.application.scorers import PictureToScore, Scorer, create_scorer
from safelight.application.scoring import score_pictures
from safelight.archive import Archive
from safelight.archive.folder_copy import FolderCopy
from safelight.archive.transfer import carry
from safelight.errors import FilterError, RequestError, ScorerError
from safelight.learning.ratings import Identity, RatingEvent, current_ratings
from safelight.web import create_app
from safelight.web.held_archive import HeldArchive

REDS = (10, 60, 110, 160, 210, 250)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return archive_of(tmp_path / "safelight", [("a fox", flat(red)) for red in REDS])


def said(archive: Archive, condition: str = "", name: str = "mean_red") -> list[float | None]:
    rows = archive.query(condition, columns=[f"score.{name}"], sort="timestamp", limit=None).rows
    return [number for (number,) in rows]


def fail_at(*reds: int, error: Exception | None = None) -> Callable[..., None]:
    def before(pictures: Sequence[PictureToScore]) -> None:
        if any(picture.pixels()[0, 0, 0] in reds for picture in pictures):
            raise error or RuntimeError("out of paper")

    return before


def test_every_picture_has_a_number_once(archive: Archive) -> None:
    """Asking again scores what has none of this version."""
    done = score_pictures(archive, MeanRed(), batch=4)
    assert (done.scored, done.before, done.failed) == (6, 0, {})
    assert said(archive) == list(map(float, REDS))
    again = MeanRed()
    done = score_pictures(archive, again)
    assert (done.scored, done.before, again.batches) == (0, 6, [])
    anew = score_pictures(archive, MeanRed(), again=True)
    assert (anew.scored, anew.before) == (6, 0)
    assert said(archive) == list(map(float, REDS))


def test_a_filter_chooses_the_pictures(archive: Archive) -> None:
    assert score_pictures(archive, MeanRed(), "path has '3.png'").scored == 1
    assert said(archive) == [None, None, None, 160.0, None, None]


def test_another_version_scores_anew_and_its_numbers_are_shown(archive: Archive) -> None:
    """Numbers of two versions are not compared, so that none of the older is among the newer."""
    score_pictures(archive, MeanRed())
    done = score_pictures(archive, MeanRed(version="2"), "path has '3.png'")
    assert (done.scored, done.before) == (1, 0)
    assert said(archive) == [None, None, None, 160.0, None, None]
    assert len(archive.picture_scores().every) == 7


def test_batches_are_as_large_as_asked_and_progress_counts_pictures(archive: Archive) -> None:
    scorer, seen = MeanRed(), []
    score_pictures(archive, scorer, batch=4, on_progress=lambda *told: seen.append(told))
    assert scorer.batches == [4, 2]
    assert seen == [(0, 6), (4, 6), (6, 6)]


def test_a_batch_is_on_the_disk_before_the_next_begins(archive: Archive) -> None:
    """Whatever happens then, it need not be made again."""
    kept = []
    scorer = MeanRed(lambda _: kept.append(len(Archive(archive.path).picture_scores().every)))
    score_pictures(archive, scorer, batch=2)
    assert kept == [0, 2, 4]


# -- what goes wrong costs itself only ---------------------------------------------------------


def test_a_picture_on_which_the_scorer_fails_costs_itself(archive: Archive) -> None:
    done = score_pictures(archive, MeanRed(fail_at(110)), batch=6)
    assert (done.scored, done.failed) == (5, {"the scorer failed": 1})
    assert done.told == [("images/2.png", "RuntimeError: out of paper")]
    assert said(archive) == [10.0, 60.0, None, 160.0, 210.0, 250.0]
    assert score_pictures(archive, MeanRed()).scored == 1  # only that one


def test_a_file_that_is_gone_or_bad_or_another_costs_itself(archive: Archive) -> None:
    """And what stands in its place is never scored in its name."""
    folder = archive.path / "images"
    (folder / "0.png").unlink()
    (folder / "1.png").write_bytes(b"none")
    (folder / "2.png").write_bytes((folder / "3.png").read_bytes())
    done = score_pictures(archive, MeanRed())
    assert done.failed == {
        "the file is not there, or cannot be read": 1,
        "the file is another than its record says": 2,
    }
    assert said(archive) == [None, None, None, 160.0, 210.0, 250.0]


def test_a_scorer_that_always_fails_is_given_up(tmp_path: Path) -> None:
    """A card without memory would fail on every one of a million pictures."""
    many = archive_of(tmp_path / "many", [("a fox", flat(red)) for red in range(60)])
    scorer = MeanRed(fail_at(*range(3, 60)))
    with pytest.raises(ScorerError, match="'mean_red' 1 raised on 20 pictures in a row.*paper"):
        score_pictures(many, scorer, batch=3)
    assert sorted(number for number in said(many) if number is not None) == [0.0, 1.0, 2.0]


class Answers:
    """Answers what it is told to."""

    name, version, unit = "answers", "0.1", "1"

    def __init__(self, answer: Callable[[int], Any]) -> None:
        self._answer = answer

    def score(self, pictures: Sequence[PictureToScore]) -> Any:
        return self._answer(len(pictures))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda n: [float("nan")] * n, "a finite number, or None, got nan for images/0.png"),
        (lambda n: np.full(n, np.inf), "a finite number, or None, got .*inf"),
        (lambda n: np.zeros((n, 1)), r"one number for each of 6 .*an array of the shape \(6, 1\)"),
        (lambda n: [0.5] * (n + 1), "one number for each of 6 pictures, got \\[0.5"),
        (lambda n: [[0.5]] * n, "a finite number, or None, got \\[0.5\\]"),
        (lambda n: ["0.5"] * n, "a finite number, or None, got '0.5'"),
        (lambda n: [True] * n, "a finite number, or None, got True"),
        (lambda _: 0.5, "one number for each of 6 pictures, got 0.5"),
        (lambda _: None, "one number for each of 6 pictures, got None"),
        (lambda n: "x" * n, "one number for each of 6 pictures, got 'xxxxxx'"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused_by_name(
    archive: Archive, answer: Callable[[int], Any], told: str
) -> None:
    """Half a truth in the log would be there for ever."""
    with pytest.raises(ScorerError, match=f"the scorer 'answers' 0.1 must answer {told}"):
        score_pictures(archive, Answers(answer))
    assert archive.scores().events() == ()


def test_numbers_of_numpy_and_none_are_answers(archive: Archive) -> None:
    done = score_pictures(archive, Answers(lambda n: np.arange(n, dtype=np.float32) / 4))
    assert said(archive, name="answers") == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]
    done = score_pictures(archive, MeanRed(), "path has '0.png'")
    none = Answers(lambda n: [None] * n)
    none.version = "2"
    done = score_pictures(archive, none)
    assert (done.scored, done.without) == (0, 6)


CHILD = """
import sys
from pathlib import Path
from application.scored_pictures import MeanRed
from safelight.application.scoring import score_pictures
from safelight.archive import Archive
seen = []
def before(pictures):
    seen.append(len(pictures))
    if len(seen) == 3:
        print("third", flush=True)
        sys.stdin.read()  # for ever: nobody writes
score_pictures(Archive(Path(sys.argv[1])), MeanRed(before), batch=2)
"""


def test_who_was_killed_goes_on_where_that_was(archive: Archive) -> None:
    """Kill -9 in the third batch: four numbers are there, whole, and two are left to make."""
    tests = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", CHILD, str(archive.path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=tests) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "third\n"
        finally:
            child.kill()
    assert child.returncode == -signal.SIGKILL
    scorer = MeanRed()
    done = score_pictures(archive, scorer)
    assert (done.before, done.scored, scorer.batches) == (4, 2, [2])
    assert len(archive.scores().events()) == 6
    assert said(archive) == list(map(float, REDS))
    assert verified(archive) == (6, [])


# -- kept apart from people's --------------------------------------------------------------


def identities(archive: Archive) -> list[Identity]:
    rows = archive.query(columns=["sha256", "pixel_sha256"], sort="timestamp", limit=None).rows
    return [Identity(sha256=one, pixel_sha256=other) for one, other in rows]


def test_numbers_are_never_ratings(archive: Archive) -> None:
    """They change no star, no flag, no list of raters and nobody's evidence."""
    pictures = identities(archive)
    with archive.ratings() as store:
        store.add(RatingEvent.now("stars", pictures[0], value=4, rater="ann"))
    before = archive.query(limit=None), archive.ratings().events()
    score_pictures(archive, MeanRed())
    assert (archive.query(limit=None), archive.ratings().events()) == before
    events = [*archive.ratings().events(), *archive.scores().events()]
    assert whose(events) == ([before[1][0]], "ann")
    assert whose(archive.scores().events()) == ([], "nobody")
    assert [rating.raters for rating in current_ratings(events).values()] == [("ann",)]


def test_a_number_is_taken_back_like_a_rating(archive: Archive) -> None:
    """Undo is an event, undo of undo brings it back, and what is undone is scored again."""
    score_pictures(archive, MeanRed())
    name = next(one.event_id for one in archive.picture_scores().every if one.number == 110.0)
    (undo,) = rate(archive, [], undo=name[:12])
    assert said(archive) == [10.0, 60.0, None, 160.0, 210.0, 250.0]
    rate(archive, [], undo=undo.event_id)
    assert said(archive)[2] == 110.0
    rate(archive, [], undo=name)
    assert score_pictures(archive, MeanRed()).scored == 1
    assert said(archive)[2] == 110.0


def test_numbers_travel_pack_and_stay_whole(archive: Archive, tmp_path: Path) -> None:
    """Merged both ways, packed and verified, as ratings are."""
    score_pictures(archive, MeanRed(), "path has '0.png' or path has '1.png'")
    other = Archive(tmp_path / "other")
    carry(FolderCopy(archive.path), FolderCopy(other.path))
    score_pictures(other, MeanRed(), batch=3)
    score_pictures(archive, create_scorer("exposure"))
    carry(FolderCopy(other.path), FolderCopy(archive.path))
    carry(FolderCopy(archive.path), FolderCopy(other.path))
    for one in (archive, other):
        assert len(one.scores().events()) == 12
        one.pack()
        assert said(one) == list(map(float, REDS))
        assert verified(one) == (6, [])


def test_two_copies_that_scored_the_same_agree_on_one_number(
    archive: Archive, tmp_path: Path
) -> None:
    """A picture has one number of a scorer and version, however often it was scored."""
    other = Archive(tmp_path / "other")
    carry(FolderCopy(archive.path), FolderCopy(other.path))
    for one in (archive, other):
        score_pictures(one, MeanRed())
    carry(FolderCopy(other.path), FolderCopy(archive.path))
    assert len(archive.scores().events()) == 12
    assert len(archive.picture_scores().current) == 6


# -- looking back --------------------------------------------------------------------------


def test_near_duplicates_are_told_from_all_earlier_pictures_of_the_prompt(tmp_path: Path) -> None:
    """Also from those that the filter leaves out, or that were scored before; not of others."""
    one, other = textured(1), textured(2)
    nearly = one.copy()
    nearly[0, 0] ^= 1
    made = [("a fox", one), ("a boat", nearly), ("a fox", other), ("a fox", one ^ np.uint8(2))]
    archive = archive_of(tmp_path / "a", made)
    near = create_scorer("near_duplicate")
    done = score_pictures(archive, near, "path has '3.png'", batch=1)
    assert (done.scored, done.without) == (1, 0)
    done = score_pictures(archive, create_scorer("near_duplicate"), batch=2)
    assert (done.scored, done.without, done.before) == (1, 2, 1)
    first, boat, far, close = said(archive, name="near_duplicate")
    assert first is boat is None
    assert far is not None
    assert close is not None
    assert close < 8 < far


# -- asked for -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "reds"),
    [
        ("score.mean_red > 150", (160, 250)),
        ("score.mean_red between 60 and 110", (60, 110)),
        ("score('mean_red') = 10 or score.MEAN_RED in (60, 250)", (10, 60, 250)),
        ("score.mean_red is missing", (210,)),
        ("score.mean_red and not score.mean_red < 200", (250,)),
        ("not score.nobody", (10, 60, 110, 160, 210, 250)),
    ],
)
def test_numbers_are_found_with_the_filter_language(
    archive: Archive, condition: str, reds: Sequence[int]
) -> None:
    score_pictures(archive, MeanRed(), "not path has '4.png'")
    for _ in range(2):
        rows = archive.query(condition, columns=["path"], sort="timestamp", limit=9).rows
        assert [path for (path,) in rows] == [f"images/{REDS.index(red)}.png" for red in reds]
        archive.pack()


def test_what_a_scorer_says_is_a_number(archive: Archive) -> None:
    for condition in ("score.mean_red = 'x'", "score.mean_red has 'x'"):
        with pytest.raises(FilterError, match="what a scorer says is a number"):
            archive.query(condition)


def test_words_of_prompts_that_look_like_it_stay_words(archive: Archive) -> None:
    """``score_9`` begins many prompts."""
    for words in ("score_9", "score", "score (fox)"):
        assert archive.query(words).rows == ()


@pytest.mark.parametrize(
    "condition",
    ["", "score.mean_red > 1", "score('mean_red') < 240", "not score.mean_red is missing"],
)
@pytest.mark.parametrize("sort", ["score.mean_red", "-score.mean_red", "-timestamp"])
def test_the_page_finds_and_sorts_by_them_as_the_command_does(
    archive: Archive, condition: str, sort: str
) -> None:
    """In memory and on the disk, page by page; what has no number comes last."""
    score_pictures(archive, MeanRed(), "not path has '4.png'")
    with held_in_memory(archive.path) as held:
        for asked in (archive, held):
            found: list[tuple[str, ...]] = []
            after = None
            while not found or after is not None:
                answer = asked.query(condition, columns=["path"], sort=sort, limit=2, after=after)
                found += answer.rows
                after = answer.after
            whole = archive.query(condition, columns=["path", "score.mean_red"], limit=None).rows
            assert sorted(found) == sorted((path,) for path, _ in whole)
            if "score" in sort:
                sign = -1 if sort.startswith("-") else 1
                key = {path: (red is None, sign * (red or 0)) for path, red in whole}
                assert [key[path] for (path,) in found] == sorted(key.values())
        total, _ = held.facets(condition)
        assert total == len(whole)


def test_what_is_held_in_memory_hears_of_new_numbers_and_of_those_taken_back(
    archive: Archive,
) -> None:
    with closing(HeldArchive(archive.path, rest=0)) as held:
        held.hold()
        assert held.scorers() == ()
        score_pictures(archive, MeanRed(), "path has '0.png' or path has '1.png'")
        (digest,) = archive.query("path has '1.png'", columns=["sha256"]).rows[0]
        assert held.scorers() == ("mean_red",)
        assert len(held.query("score.mean_red >= 0", columns=["path"]).rows) == 2
        assert held.scores_of([digest]) == [("mean_red", float(REDS[1]), MeanRed.unit)]
        one = next(e for e in archive.scores().events() if e.image and e.image.sha256 == digest)
        OpenArchive(archive.path).undo(one)
        assert held.scores_of([digest]) == []
        assert len(held.query("score.mean_red >= 0", columns=["path"]).rows) == 1
        score_pictures(archive, MeanRed())
        assert len(held.query("score.mean_red >= 0", columns=["path"]).rows) == len(REDS)


def test_the_page_shows_them_and_offers_to_sort_by_them(archive: Archive) -> None:
    """Guests, too: they say nothing of where anything is."""
    score_pictures(archive, MeanRed())
    with TestClient(create_app(archive), base_url="http://127.0.0.1") as client:
        assert '<option value="-score.mean_red">most mean_red</option>' in client.get("/").text
        asked = {"q": "score.mean_red >= 0", "sort": "-score.mean_red", "limit": "3"}
        first = client.get("/api/pictures", params=asked).json()
        rest = client.get("/api/pictures", params={**asked, "after": first["after"]}).json()
        rows = [*first["rows"], *rest["rows"]]
        numbers = []
        for row in rows:
            (told,) = client.get(f"/api/pictures/{row['sha256']}").json()["scores"]
            assert (told["scorer"], told["unit"]) == ("mean_red", MeanRed.unit)
            numbers.append(told["number"])
        assert numbers == sorted(map(float, REDS), reverse=True)
        around = {"around": "1", "sort": "-score.mean_red"}
        seen = client.get(f"/api/pictures/{rows[1]['sha256']}", params=around).json()["around"]
        assert (seen["previous"], seen["next"]) == (rows[0]["sha256"], rows[2]["sha256"])


def test_a_column_of_numbers_is_one_in_frames(archive: Archive) -> None:
    """Not texts: who asks for it wants to draw it."""
    opened = OpenArchive(archive.path)
    assert opened.score(MeanRed(), "path has '0.png'").scored == 1
    assert opened.score("sharpness").scored == 6
    frame = opened.find(columns=["path", "score.mean_red", "score.sharpness"]).pandas()
    assert str(frame["score.mean_red"].dtype) == "float64"
    assert frame["score.sharpness"].tolist() == [0.0] * 6


def test_a_view_has_them_all(archive: Archive) -> None:
    score_pictures(archive, MeanRed())
    answer = archive.sql(
        "SELECT name, version, unit, count(*), max(number) FROM scores GROUP BY ALL"
    )
    assert answer.rows == (("mean_red", "1", MeanRed.unit, 6, 250.0),)


# -- beside people ---------------------------------------------------------------------------


def rated_archive(tmp_path: Path) -> Archive:
    """Seven prompts with three pictures; people like red ones, but for one prompt."""
    reds = [(prompt, red) for prompt in range(7) for red in (10 + prompt, 100, 200)]
    archive = archive_of(tmp_path / "rated", [(f"p{prompt}", flat(red, 8 + prompt))
                                              for prompt, red in reds])  # fmt: skip
    with archive.ratings() as store:
        for picture, (prompt, red) in zip(identities(archive), reds, strict=True):
            stars = 1 + red // 50 if prompt else 5 - red // 50
            store.add(RatingEvent.now("stars", picture, value=stars, rater="ann"))
    return archive


def test_a_scorer_is_put_beside_people(tmp_path: Path) -> None:
    """By hand: 21 pairs, three of them the other way round."""
    archive = rated_archive(tmp_path)
    with archive.ratings() as store:  # of programs, which are no people
        for picture in identities(archive):
            store.add(RatingEvent.now("stars", picture, value=1, source="automatic:x", rater="x"))
    score_pictures(archive, MeanRed())
    found = compare_scorer(archive, "mean_red")
    assert (found.scored, found.rated, found.version) == (21, 21, "1")
    overall = found.agreement.overall
    assert (overall.pictures, overall.prompts) == (21, 7)
    assert overall.tau == pytest.approx((18 - 3) / 21)
    assert overall.low is not None
    assert -1 <= overall.low < (18 - 3) / 21
    assert [model for model, _ in found.agreement.by_model] == ["m"]
    some = compare_scorer(archive, "mean_red", "prompt in ('p1', 'p2')").agreement.overall
    assert (some.prompts, some.tau, some.low) == (2, 1.0, None)


def test_a_scorer_that_said_nothing_is_not_compared(archive: Archive) -> None:
    score_pictures(archive, MeanRed())
    with pytest.raises(RequestError, match="no scorer called 'mean_rad'.*did you mean"):
        compare_scorer(archive, "mean_rad")


# -- at the command line ---------------------------------------------------------------------


@pytest.fixture
def with_mean_red(monkeypatch: pytest.MonkeyPatch, archive: Archive) -> type[MeanRed]:
    """The command finds the fake, as if it were one of ours."""
    assert archive.path.is_dir()
    ours = {**scorers_module._BUILT_IN, "mean_red": "application.scored_pictures:MeanRed"}
    monkeypatch.setattr(scorers_module, "_BUILT_IN", ours)
    return MeanRed


def test_the_command_scores_tells_and_compares(command: Safelight, archive: Archive) -> None:
    listed = command("score")
    assert [line.split()[0] for line in listed.output.splitlines()] == [
        "exposure", "near_duplicate", "sharpness",
    ]  # fmt: skip
    done = command("score", "exposure", "path has '0.png'")
    assert done.exit_code == 0
    assert "1 pictures scored by exposure 1, in stops from middle grey" in done.output
    (archive.path / "images" / "1.png").unlink()
    done = command("score", "exposure", "--json", "--batch", "2")
    assert done.exit_code == 3
    about = json.loads(done.stdout)
    assert (about["scored"], about["before"], about["unit"]) == (4, 1, "stops from middle grey")
    assert about["failed"] == {"the file is not there, or cannot be read": 1}
    compared = command("score", "exposure", "--compare")
    assert "5 pictures have a number, 0 of them people's ratings" in compared.output
    assert "not enough evidence" in compared.output
    shown = command("show", "run0").output
    assert "scores by programs:" in shown
    assert "exposure -" in shown
    shown = command("show", "safelight/images/0.png").output
    assert "exposure -" in shown
    found = command("find", "score.exposure < 9", "--columns", "path,score.exposure", "--json")
    assert len(json.loads(found.stdout)["rows"]) == 5


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--compare",), "name a scorer"),
        (("exposure", "--compare", "--again"), "--compare scores nothing"),
        (("nobody",), "there is no scorer 'nobody'"),
        (("exposure", "--archive", "none"), "there is no archive at none"),
        (("exposure", "nothing.of = 3"), "there is no column"),
    ],
)
@pytest.mark.usefixtures("archive")
def test_what_cannot_be_is_said(command: Safelight, words: tuple[str, ...], told: str) -> None:
    done = command("score", *words)
    assert done.exit_code in (1, 2)
    assert told in done.output


def test_ctrl_c_ends_with_what_is_kept(
    command: Safelight,
    archive: Archive,
    with_mean_red: type[MeanRed],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """130, one line, and the next call goes on."""

    def interrupted(self: MeanRed, pictures: Sequence[PictureToScore]) -> list[float]:
        if self.batches:
            raise KeyboardInterrupt
        self.batches.append(len(pictures))
        return [0.0 for _ in pictures]

    with monkeypatch.context() as patched:
        patched.setattr(with_mean_red, "score", interrupted)
        done = command("score", "mean_red", "--batch", "2")
    assert done.exit_code == 130
    assert "stopped: 2 of 6 pictures are done" in done.output
    done = command("score", "mean_red")
    assert done.exit_code == 0
    assert len(archive.scores().events()) == 6


def test_nothing_scored_at_all_is_a_failure(
    command: Safelight, archive: Archive, with_mean_red: type[MeanRed]
) -> None:
    for number in range(6):
        (archive.path / "images" / f"{number}.png").unlink()
    assert with_mean_red.name == "mean_red"
    assert command("score", "mean_red").exit_code == 1


def test_the_fidelity_rating_is_what_it_was(command: Safelight, archive: Archive) -> None:
    """``rate --by`` gives stars, and neither door opens the other."""
    assert archive.path.is_dir()
    done = command("rate", "--by", "fidelity")
    assert done.exit_code == 0
    assert "as 'fidelity' (automatic:fidelity)" in done.output
    assert archive.scores().events() == ()


def test_a_scorer_is_a_scorer_for_the_type_checker() -> None:
    """The fake and the shipped ones fit the port."""
    scorers: list[Scorer] = [MeanRed(), create_scorer("sharpness")]
    assert [scorer.name for scorer in scorers] == ["mean_red", "sharpness"]
