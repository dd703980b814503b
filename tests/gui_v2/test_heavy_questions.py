"""What takes long is worked out once, beside the server, and only while somebody waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from gui_v2.test_light_table_page import eventually
from safelight.errors import ArchiveError, FilterError, SafelightError
from safelight.web.heavy_questions import GRACE, Answers, Asked, TooManyQuestions
from safelight.web.questions import NextQuestion, NextSets, Question, Reply, packed


class SlowWorker:
    """Works on a question until the test says what comes of it."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended = 0
        self._next = threading.Semaphore(0)
        self._outcomes: list[Reply | SafelightError] = []

    def begin(self, question: Question) -> None:
        self.begun.append(question.q)

    def reply(self, seconds: float) -> Reply | None:
        if not self._next.acquire(timeout=0.005):
            return None
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, SafelightError):
            raise outcome
        return outcome

    def end(self) -> None:
        self.ended += 1

    def finish(self, outcome: Reply | SafelightError | None = None) -> None:
        """Let what is worked on come to *outcome*; to an answer named after it without one."""
        named = NextSets(columns=(self.begun[-1],))
        self._outcomes.append(outcome or Reply(answer=packed(named)))
        self._next.release()


class Table:
    """Questions, a worker, an archive that changes when a test says so, and its clock."""

    def __init__(self, idle: float = 60.0) -> None:
        self.worker = SlowWorker()
        self.state = 0
        self.now = 100.0
        self.answers = Answers(
            self.worker, lambda: self.state, clock=lambda: self.now, look=0.005, idle=idle
        )

    def ask(self, q: str = "", asker: str = "", **how: bool | int) -> Asked:
        return self.answers.ask(NextQuestion(q=q), asker, **how)  # type: ignore[arg-type]

    def answered(self, q: str = "", asker: str = "") -> Asked:
        """Return how it stands when *q* was worked out."""
        before = len(self.worker.begun)
        asked = self.ask(q, asker)
        eventually(lambda: len(self.worker.begun) > before)
        done = heard(self.answers, asked.key)
        self.worker.finish()
        assert done.wait(60)
        return self.ask(q, asker, only_kept=True)


def heard(answers: Answers, key: str) -> threading.Event:
    event = threading.Event()
    answers.listen(key, event.set)
    return event


def has_begun(table: Table, number: int) -> None:
    """Wait until as many questions were begun."""
    eventually(lambda: len(table.worker.begun) == number)


def name_of(asked: Asked) -> str:
    return cast("NextSets", asked.answer).columns[0]


@pytest.fixture
def table() -> Iterator[Table]:
    made = Table()
    yield made
    made.answers.close()


def test_many_who_ask_share_one_computation(table: Table) -> None:
    """And all of them hear of it."""
    asked = [table.ask("x", f"guest {number}") for number in range(50)]
    assert {one.waiting for one in asked} == {True}
    assert {one.answer for one in asked} == {None}
    events = [heard(table.answers, one.key) for one in asked]
    eventually(lambda: table.worker.begun == ["x"])
    assert table.ask("x", "one who comes late").waiting
    table.worker.finish()
    assert all(event.wait(60) for event in events)
    again = table.ask("x")
    assert (again.fresh, again.waiting, name_of(again)) == (True, False, "x")
    table.answered("y")
    assert table.worker.begun == ["x", "y"]


def test_the_last_answer_is_given_at_once_with_its_age(table: Table) -> None:
    """While the new one, of the archive as it is now, is worked out."""
    table.answered("x")
    table.state, table.now = 1, table.now + 180
    old = table.ask("x")
    assert (old.fresh, old.waiting, old.age, name_of(old)) == (False, True, 180, "x")
    eventually(lambda: len(table.worker.begun) == 2)
    done = heard(table.answers, old.key)
    table.worker.finish()
    assert done.wait(60)
    new = table.ask("x")
    assert (new.fresh, new.waiting, new.age) == (True, False, 0)
    assert new.number > old.number


def test_an_answer_of_an_archive_that_changed_meanwhile_is_not_called_fresh(table: Table) -> None:
    asked = table.ask("x")
    eventually(lambda: table.worker.begun == ["x"])
    table.state = 1
    done = heard(table.answers, asked.key)
    table.worker.finish()
    assert done.wait(60)
    looked = table.ask("x", only_kept=True)
    assert (looked.fresh, looked.waiting, name_of(looked)) == (False, False, "x")
    assert table.worker.begun == ["x"]  # who only looks begins nothing


def test_what_nobody_waits_for_is_ended(table: Table) -> None:
    """Neither listening nor asking again: the other process is let go at once."""
    asked = table.ask("x")
    eventually(lambda: table.worker.begun == ["x"])
    stop = table.answers.listen(asked.key, lambda: None)
    table.now += 10 * GRACE
    assert table.ask("y").waiting  # something happens meanwhile, and who listens still waits
    assert table.worker.ended == 0
    stop()
    table.now += 0.9 * GRACE
    assert table.worker.ended == 0
    done = heard(table.answers, table.ask("y").key)
    table.now += 2 * GRACE
    eventually(lambda: table.worker.begun == ["x", "y"])
    assert table.worker.ended == 1
    table.worker.finish()
    assert done.wait(60)
    ended = table.ask("x", only_kept=True)
    assert ended.waiting  # it was never answered, so looking begins it again


def test_who_waits_in_the_queue_and_is_gone_costs_nothing(table: Table) -> None:
    first = table.ask("x")
    eventually(lambda: table.worker.begun == ["x"])
    done = heard(table.answers, first.key)
    table.ask("gone")
    table.now += 2 * GRACE
    stays = heard(table.answers, table.ask("stays").key)
    table.worker.finish()
    assert done.wait(60)
    eventually(lambda: len(table.worker.begun) == 2)
    table.worker.finish()
    assert stays.wait(60)
    assert table.worker.begun == ["x", "stays"]


def test_one_who_asks_a_thousand_things_does_not_stand_before_the_owner(table: Table) -> None:
    """Those who ask take turns, and nobody has more than a few that wait."""
    table.ask("running", "guest")
    eventually(lambda: table.worker.begun == ["running"])
    keys = [table.ask(f"filter {number}", "guest").key for number in range(1000)]
    heard(table.answers, table.ask("mine", "owner").key)
    for key in keys[-4:]:
        heard(table.answers, key)
    with pytest.raises(TooManyQuestions, match="4 questions wait already"):
        table.ask("one more", "guest")
    for number in range(2, 7):
        table.worker.finish()
        has_begun(table, number)
    assert "mine" in table.worker.begun[1:3]
    assert len(table.worker.begun) == 6
    table.worker.finish()


def test_guests_who_come_as_many_do_not_stand_before_the_owner(table: Table) -> None:
    """A guest may sign in as often as they like: owners have places, and every other turn."""
    table.ask("running", "guest", guest=True)
    eventually(lambda: table.worker.begun == ["running"])
    for number in range(64):
        table.ask(f"filter {number}", f"guest {number}", guest=True)
    with pytest.raises(TooManyQuestions):
        table.ask("one more", "one more guest", guest=True)
    assert table.ask("mine", "owner").waiting
    assert table.ask("mine, too", "owner").waiting
    for number in range(2, 5):
        table.worker.finish()
        has_begun(table, number)
    assert table.worker.begun == ["running", "mine", "filter 0", "mine, too"]
    table.worker.finish()


def test_a_question_that_fails_is_told_in_its_own_words(table: Table) -> None:
    """And not tried again by everyone who looks; the old answer stays."""
    table.answered("x")
    table.state = 1
    asked = table.ask("x")
    eventually(lambda: len(table.worker.begun) == 2)
    done = heard(table.answers, asked.key)
    table.worker.finish(Reply(error="no such column", kind="FilterError"))
    assert done.wait(60)
    told = table.ask("x")
    assert isinstance(told.failure, FilterError)
    assert str(told.failure) == "no such column"
    assert (name_of(told), told.waiting) == ("x", False)
    table.now += 60
    assert table.ask("x").waiting
    assert len(table.worker.begun) == 2 or table.worker.begun[2] == "x"


def test_a_worker_that_dies_is_told_and_the_next_question_begins_anew(table: Table) -> None:
    asked = table.ask("x")
    eventually(lambda: table.worker.begun == ["x"])
    done = heard(table.answers, asked.key)
    table.worker.finish(ArchiveError("the process that worked this out ended with -9"))
    assert done.wait(60)
    assert "ended with -9" in str(table.ask("x").failure)
    assert name_of(table.answered("y")) == "y"


def test_a_worker_that_is_stuck_is_given_up(table: Table) -> None:
    """However many wait."""
    done = heard(table.answers, table.ask("x").key)
    eventually(lambda: table.worker.begun == ["x"])
    table.now += 3601
    assert done.wait(60)
    assert table.worker.ended == 1
    assert "not there after 60 minutes" in str(table.ask("x").failure)


def test_sets_that_were_handed_out_are_not_handed_out_for_ever(table: Table) -> None:
    """Who has an answer and is done with it waits for another; so does the next who comes."""
    table.answered("x")
    first = table.ask("x", changing=True)
    assert (first.waiting, name_of(first)) == (False, "x")
    done_with = table.ask("x", changing=True, after=first.number)
    assert (done_with.answer, done_with.waiting) == (None, True)
    eventually(lambda: len(table.worker.begun) == 2)
    done = heard(table.answers, first.key)
    table.worker.finish()
    assert done.wait(60)
    second = table.ask("x", changing=True, after=first.number, only_kept=True)
    assert second.number > first.number
    assert not second.waiting
    another = table.ask("x", changing=True)
    assert (another.number, another.waiting) == (second.number, True)


def test_without_questions_the_other_process_goes() -> None:
    table = Table(idle=0.02)
    table.answered("x")
    eventually(lambda: table.worker.ended > 0)
    assert name_of(table.answered("y")) == "y"
    table.answers.close()


def test_closing_lets_those_who_listen_go(table: Table) -> None:
    """What is worked on and what waits in the queue."""
    keys = [table.ask(q).key for q in ("x", "y")]
    eventually(lambda: table.worker.begun == ["x"])
    events = [heard(table.answers, key) for key in keys]
    table.answers.close()
    assert all(event.wait(60) for event in events)
    assert table.worker.ended
    assert not table.ask("z").waiting


def test_listening_to_what_does_not_wait_tells_at_once(table: Table) -> None:
    """Also of what nobody ever asked."""
    assert heard(table.answers, "0" * 32).is_set()
    key = table.answered("x").key
    assert heard(table.answers, key).is_set()


def test_questions_that_are_never_answered_are_forgotten_before_answers(table: Table) -> None:
    """Each is one more filter; nobody waits for them, and there is no end to them."""
    table.answered("x")
    for number in range(300):
        table.ask(f"filter {number}", "guest", guest=True)
    assert len(table.answers._entries) < 100
    assert table.ask("x").answer is not None


def test_few_answers_are_kept(table: Table) -> None:
    for number in range(70):
        table.answered(f"filter {number}")
    kept: Callable[[int], Asked] = lambda n: table.ask(f"filter {n}", only_kept=True)  # noqa: E731
    assert kept(69).answer is not None
    assert kept(0).answer is None


def test_what_is_being_done_is_told_while_it_is_done(table: Table) -> None:
    """And nothing of it stays behind when it is done."""
    asked = table.ask("x")
    has_begun(table, 1)
    assert table.answers.doing(asked.key) == ""
    table.worker.finish(Reply(doing="Comparing 60 rated pictures"))
    eventually(lambda: table.answers.doing(asked.key) == "Comparing 60 rated pictures")
    assert table.ask("x").doing == "Comparing 60 rated pictures"
    done = heard(table.answers, asked.key)
    table.worker.finish()
    assert done.wait(60)
    assert (table.answers.doing(asked.key), table.ask("x").doing) == ("", "")
    assert table.answers.doing("of nobody") == ""


def test_an_answer_is_as_old_as_the_ratings_that_were_given_since() -> None:
    table = Table()
    given = [3]
    table.answers = Answers(
        table.worker, lambda: table.state, ratings=lambda: given[0], clock=lambda: table.now,
        look=0.005,
    )  # fmt: skip
    try:
        assert table.answered("x").since == 0
        given[0] += 4
        table.state += 1
        assert table.ask("x").since == 4
    finally:
        table.answers.close()
