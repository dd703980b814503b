"""Links, tokens and sessions: who is let in, for how long, and who has to wait."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest

from safelight.web.admission import LINK_LIFE, Admission, TooManyGuesses
from safelight.web.sessions import SESSION_LIFE, Role, Sessions, sessions_file

GUESTS, OWNERS = "correct horse battery", "a token of the owner"
TOKENS = {Role.GUEST: GUESTS, Role.OWNER: OWNERS}


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_link_lets_in_once(clock: Clock) -> None:
    admission = Admission(clock=clock)
    link = admission.new_link()
    assert len(link) >= 43  # 256 bits
    assert admission.by_link("") is None
    assert admission.by_link(link[:-1]) is None
    session = admission.by_link(link)
    assert session is not None
    assert admission.role_of(session, "", "10.0.0.1") is Role.OWNER
    assert admission.by_link(link) is None


def test_a_link_is_good_for_ten_minutes(clock: Clock) -> None:
    admission = Admission(clock=clock)
    early, late = admission.new_link(), admission.new_link()
    clock.now += LINK_LIFE - 1
    assert admission.by_link(early)
    clock.now += 1
    assert admission.by_link(late) is None


def test_links_that_nobody_opened_are_few(clock: Clock) -> None:
    admission = Admission(clock=clock)
    links = [admission.new_link() for _ in range(1000)]
    assert [link for link in links if admission.by_link(link)] == links[-8:]


def test_a_token_says_what_somebody_may_do() -> None:
    admission = Admission(tokens=TOKENS)
    for role, token in TOKENS.items():
        session = admission.by_token(token, "10.0.0.1")
        assert session
        assert admission.role_of(session, "", "10.0.0.1") is role
        assert admission.role_of("", token, "10.0.0.1") is role
        assert admission.role_of("", session, "10.0.0.1") is role
    assert admission.role_of("", "", "10.0.0.1") is None


@pytest.mark.parametrize(
    "tokens", [{Role.GUEST: "x" * 15}, {Role.GUEST: GUESTS, Role.OWNER: GUESTS}]
)
def test_tokens_that_are_none(tokens: dict[Role, str]) -> None:
    with pytest.raises(ValueError, match="token"):
        Admission(tokens=tokens)


def test_who_guesses_waits_longer_each_time_and_nobody_else_does(clock: Clock) -> None:
    """At the form and in headers alike, and a right token is not looked at meanwhile, either."""
    admission = Admission(tokens=TOKENS, clock=clock)
    waits = []
    for number in range(10):
        if number % 2:
            assert admission.by_token("wrong", "10.0.0.1") is None
        else:
            assert admission.role_of("", "wrong", "10.0.0.1") is None
        with pytest.raises(TooManyGuesses):
            admission.by_token(GUESTS, "10.0.0.1")
        with pytest.raises(TooManyGuesses) as refused:
            admission.role_of("", OWNERS, "10.0.0.1")
        waits.append(refused.value.seconds)
        assert admission.role_of("", GUESTS, "10.0.0.2") is Role.GUEST
        clock.now += refused.value.seconds
    assert waits == [1, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert admission.by_token(GUESTS, "10.0.0.1")
    assert admission.by_token("wrong", "10.0.0.1") is None
    with pytest.raises(TooManyGuesses) as refused:  # knowing one token helps to guess no other
        admission.by_token(GUESTS, "10.0.0.1")
    assert refused.value.seconds == 60


def test_a_session_and_a_link_never_wait(clock: Clock) -> None:
    """They cannot be guessed, so that a guesser on this machine locks nobody of it out."""
    admission = Admission(tokens=TOKENS, clock=clock)
    session = admission.by_link(admission.new_link())
    assert session
    admission.by_token("wrong", "127.0.0.1")
    assert admission.role_of(session, "", "127.0.0.1") is Role.OWNER
    assert admission.role_of("", session, "127.0.0.1") is Role.OWNER
    assert admission.by_link(admission.new_link())


def test_one_person_has_every_address_of_a_network_of_six(clock: Clock) -> None:
    admission = Admission(tokens=TOKENS, clock=clock)
    admission.by_token("wrong", "2001:db8::1")
    with pytest.raises(TooManyGuesses):
        admission.by_token(GUESTS, "2001:db8::ffff:2")
    assert admission.by_token(GUESTS, "2001:db8:0:1::1")


def test_who_guessed_is_forgotten_in_time_and_memory(clock: Clock) -> None:
    admission = Admission(tokens=TOKENS, clock=clock)
    for number in range(12_000):
        admission.by_token("wrong", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(admission._guesses) == 10_000
    for _ in range(5):
        clock.now += 7200
        assert admission.by_token("wrong", "10.0.0.1") is None
        with pytest.raises(TooManyGuesses) as refused:
            admission.by_token(GUESTS, "10.0.0.1")
        assert refused.value.seconds == 1


# -- sessions ----------------------------------------------------------------------------


def test_a_session_outlives_the_server_and_its_file_lets_nobody_in(tmp_path: Path) -> None:
    file = sessions_file(tmp_path, tmp_path / "archive", 7321)
    first = Admission(Sessions(file), TOKENS)
    owner, guest = first.by_link(first.new_link()), first.by_token(GUESTS, "")
    assert owner
    assert guest
    text = file.read_text()
    assert not any(secret in text for secret in (owner, guest, GUESTS, OWNERS))
    again = Admission(Sessions(file), TOKENS)
    assert again.role_of(owner, "", "") is Role.OWNER
    assert again.role_of(guest, "", "") is Role.GUEST
    for key, kept in json.loads(text).items():
        assert again.role_of(key, "", "") is None
        assert again.role_of(kept["token"], "", "") is None
    other = sessions_file(tmp_path, tmp_path / "another archive", 7321)
    assert Admission(Sessions(other), TOKENS).role_of(owner, "", "") is None


@pytest.mark.skipif(os.name != "posix", reason="modes")
def test_only_its_user_reads_the_file(tmp_path: Path) -> None:
    file = sessions_file(tmp_path / "state", tmp_path, 1)
    Sessions(file).begin(Role.OWNER)
    assert file.stat().st_mode & 0o077 == 0
    assert file.parent.stat().st_mode & 0o077 == 0


def test_another_token_ends_the_sessions_of_the_last(tmp_path: Path) -> None:
    """Who was let in with the old one is a stranger; who came by a link stays."""
    file = tmp_path / "sessions.json"
    first = Admission(Sessions(file), TOKENS)
    owner, guest = first.by_link(first.new_link()), first.by_token(GUESTS, "")
    for tokens in ({Role.GUEST: "another token of guests"}, {}):
        again = Admission(Sessions(file), tokens)
        assert again.role_of(owner or "", "", "") is Role.OWNER
        assert again.role_of(guest or "", "", "") is None


def test_signing_out_ends_one_session_or_all() -> None:
    sessions = Sessions()
    one, two, guest = (sessions.begin(role) for role in (Role.OWNER, Role.OWNER, Role.GUEST))
    sessions.end(one)
    assert [sessions.role_of(s, {}) for s in (one, two, guest)] == [None, "owner", "guest"]
    sessions.end_all()
    assert [sessions.role_of(s, {}) for s in (two, guest)] == [None, None]


def test_what_one_server_ends_has_ended_at_another_of_the_same_port(tmp_path: Path) -> None:
    """One may listen at 127.0.0.1 and one at the address in the network, over one archive."""
    file = tmp_path / "sessions.json"
    first = Sessions(file)
    secrets = [first.begin(Role.OWNER) for _ in range(3)]
    second = Sessions(file)
    assert [second.role_of(each, {}) for each in secrets] == [Role.OWNER] * 3
    first.end(secrets[0])
    assert second.role_of(secrets[0], {}) is None
    later = second.begin(Role.OWNER)  # writes the file, and brings nothing back
    assert Sessions(file).role_of(secrets[0], {}) is None
    assert first.role_of(later, {}) is Role.OWNER
    second.end_all()
    assert [first.role_of(each, {}) for each in (*secrets, later)] == [None] * 4
    first.close()
    assert [Sessions(file).role_of(each, {}) for each in (*secrets, later)] == [None] * 4


def test_a_session_that_is_not_used_ends(tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "sessions.json"
    sessions = Sessions(file, clock)
    used, unused = sessions.begin(Role.OWNER), sessions.begin(Role.OWNER)
    for _ in range(3):
        clock.now += SESSION_LIFE / 2
        assert sessions.role_of(used, {}) is Role.OWNER
    assert sessions.role_of(unused, {}) is None
    # A killed server has written it too, a day late at most.
    assert Sessions(file, clock).role_of(used, {}) is Role.OWNER
    clock.now += SESSION_LIFE + 1
    assert Sessions(file, clock).role_of(used, {}) is None


def test_guests_cannot_push_owners_out(clock: Clock) -> None:
    sessions = Sessions(clock=clock)
    owner = sessions.begin(Role.OWNER)
    guests = []
    for _ in range(600):
        clock.now += 1
        guests.append(sessions.begin(Role.GUEST))
    assert sessions.role_of(owner, {}) is Role.OWNER
    assert [g for g in guests if sessions.role_of(g, {})] == guests[100:]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": 1}', b"\xff\xfe", None])
def test_trouble_with_the_file_lets_nobody_in_and_stops_nothing(
    tmp_path: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    file = tmp_path / "sessions.json"
    if content is None:
        (tmp_path / "a file").touch()
        file = tmp_path / "a file" / "sessions.json"
    else:
        file.write_bytes(content)
    sessions = Sessions(file)
    secret = sessions.begin(Role.OWNER)
    assert sessions.role_of(secret, {}) is Role.OWNER
    assert caplog.messages
