"""Who may ask the light table, and what hostile texts and names can do: nothing."""

from __future__ import annotations

import base64
import html
import json
import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from archives import verified
from gui_v2.light_table import HOSTILE
from safelight.application.carrying_out import EngineRunner
from safelight.archive import Archive
from safelight.controller import PipelineController
from safelight.errors import sentence_of
from safelight.learning.learning_record import ImageOutput, LearningRecord, utc_timestamp
from safelight.learning.ratings import Identity, RatingEvent, current_ratings
from safelight.web import create_app
from safelight.web.admission import Admission
from safelight.web.guard import LARGEST_BODY, Guard, asker_of
from safelight.web.held_archive import HeldArchive
from safelight.web.pictures import OpenPicture, Pictures
from safelight.web.sessions import Role

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)
TOKEN = "correct horse battery"
BASE = "http://127.0.0.1:7860"
WAIT = {"prefer": "wait=300"}


@pytest.fixture
def client(archive: Path) -> Iterator[TestClient]:
    with TestClient(create_app(archive), base_url=BASE) as made:
        yield made


def rows_of(client: TestClient, q: str = "") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = client.get("/api/pictures", params={"q": q}).json()["rows"]
    return rows


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def elements(text: str) -> list[tuple[str, dict[str, str | None]]]:
    seen = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.append((tag, dict(attrs)))

    Reader().feed(text)
    return seen


def stars(sha256: str, value: Any = 4, **fields: Any) -> dict[str, Any]:
    return {
        "event_id": uuid.uuid4().hex, "timestamp": utc_timestamp(), "kind": "stars",
        "image": {"sha256": sha256}, "value": value, **fields,
    }  # fmt: skip


# -- who may ask -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", ""]
)
def test_a_name_that_was_rebound_to_this_machine_is_refused(client: TestClient, host: str) -> None:
    """DNS rebinding makes a stranger's page the same origin as ours, but not the same host."""
    answer = client.get("/api/pictures", headers={"host": host})
    assert answer.status_code == 421
    assert "rows" not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:1234", "[::1]:7860", "LOCALHOST"])
def test_this_machines_own_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/api/pictures", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_another_sites_post_is_refused(client: TestClient, headers: dict[str, str]) -> None:
    sha256 = rows_of(client)[0]["sha256"]
    answer = client.post("/api/ratings", json={"events": [stars(sha256)]}, headers=headers)
    assert answer.status_code == 403
    assert client.app.state.table.ratings.events() == ()  # type: ignore[attr-defined]


def test_a_form_of_another_site_cannot_rate(client: TestClient) -> None:
    """A form needs no permission of the browser, but cannot send JSON."""
    body = json.dumps({"events": [stars(rows_of(client)[0]["sha256"])]})
    answer = client.post("/api/ratings", content=body, headers={"content-type": "text/plain"})
    assert answer.status_code == 400


def test_another_site_cannot_embed_a_picture(client: TestClient) -> None:
    sha256 = rows_of(client)[0]["sha256"]
    strange = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert client.get(f"/pictures/{sha256}", headers=strange).status_code == 403
    opened = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/", headers=opened).status_code == 200


def test_every_answer_carries_the_policy(client: TestClient) -> None:
    sha256 = rows_of(client)[0]["sha256"]
    for path in ("/", f"/look/{sha256}", f"/pictures/{sha256}", "/nowhere", "/static/style.css"):
        policy = client.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_the_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    for path in ("/", "/rate", "/runs", "/runs/new", "/learn", "/sheet", "/compare"):
        for tag, attributes in elements(client.get(path).text):
            for name, value in attributes.items():
                assert not name.startswith("on")
                assert name != "style"
                if name in ("src", "href", "action"):
                    assert re.match(r"/(?!/)|#", value or "")
            if tag == "script":
                assert "src" in attributes or attributes["type"] == "application/json"


@pytest.mark.parametrize("view", ["/learn", "/sheet", "/contents", "/runs"])
def test_a_filter_that_cannot_be_read_is_there_to_be_put_right(
    client: TestClient, view: str
) -> None:
    wrong = client.get(view, params={"q": "steps > '<"}, headers={"accept": "text/html"})
    assert wrong.status_code == 400
    found = elements(wrong.text)
    assert any(tag == "form" and one.get("action") == view for tag, one in found)
    assert any(one.get("name") == "q" and one.get("value") == "steps > '<" for _, one in found)


def test_what_is_not_there_is_told_in_a_sentence(client: TestClient) -> None:
    page = {"accept": "text/html"}
    assert "<p>There is no such page.</p>" in client.get("/nowhere", headers=page).text
    assert "<p>No picture has the identity" in client.get("/look/0000", headers=page).text
    assert "What differs" not in client.get("/compare", headers=page).text


def test_large_requests_are_refused(client: TestClient) -> None:
    body = b'{"events": [' + b" " * LARGEST_BODY + b"]}"
    headers = {"content-type": "application/json"}
    assert client.post("/api/ratings", content=body, headers=headers).status_code == 413

    def parts() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 65_536

    assert client.post("/api/ratings", content=parts(), headers=headers).status_code >= 400
    assert client.get("/api/pictures", params={"q": "x" * 20_000}).status_code == 414
    assert client.get("/api/pictures", params={"q": "x" * 5000}).status_code == 400


# -- signing in --------------------------------------------------------------------------


def test_strangers_are_shown_nothing_but_the_way_in(archive: Path, drawn: Path) -> None:
    sha256 = next(iter(Archive(drawn).query(columns=["sha256"], limit=1).rows))[0]
    archive = archive.rename(archive.with_name("holiday"))
    with TestClient(create_app(archive, admission=Admission()), base_url=BASE) as client:
        for path in ("/api/pictures", f"/pictures/{sha256}", f"/thumbnails/{sha256}", "/events"):
            assert client.get(path).status_code == 401
        assert client.post("/api/ratings", json={"events": []}).status_code == 401
        wants_page = {"accept": "text/html"}
        page = client.get("/", headers=wants_page, follow_redirects=False)
        assert (page.status_code, page.headers["location"]) == (303, "/login")
        page = client.get("/?q=fog&sort=seed", headers=wants_page)
        assert page.status_code == 200
        assert "Sign in" in page.text
        assert "/?q=fog\\u0026sort=seed" in page.text
        assert "holiday" not in page.text


def test_a_link_lets_an_owner_in_and_only_once(archive: Path) -> None:
    admission = Admission()
    with TestClient(create_app(archive, admission=admission), base_url=BASE) as client:
        link = {"link": admission.new_link()}
        answer = client.post("/login", json=link)
        assert answer.status_code == 200
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("safelight_7860=")
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert client.get("/api/session").json() == {"role": "owner"}
        second = TestClient(client.app, base_url=BASE)
        assert second.post("/login", json=link).status_code == 401
        assert second.get("/api/session").status_code == 401


def test_the_token_opens_by_header_and_by_form(
    archive: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And it is in no log, no URL and not in the cookie."""
    caplog.set_level(logging.DEBUG)
    admission = Admission(tokens={Role.GUEST: TOKEN})
    with TestClient(create_app(archive, admission=admission), base_url=BASE) as client:
        bearer = {"authorization": f"Bearer {TOKEN}"}
        assert client.get("/api/pictures", headers=bearer).status_code == 200
        answer = client.post("/login?next=/rate", data={"token": TOKEN}, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/rate")
        cookie = answer.headers["set-cookie"]
        assert TOKEN not in cookie
        assert client.get("/api/session").json() == {"role": "guest"}
        wrong = {"authorization": "Bearer wrong"}
        stranger = TestClient(client.app, base_url=BASE)
        assert stranger.get("/api/pictures", headers=wrong).status_code == 401
        for waits in (
            stranger.get("/api/pictures", headers=bearer),
            stranger.post("/login", data={"token": TOKEN}),
        ):
            assert waits.status_code == 429
            assert int(waits.headers["retry-after"]) >= 1
        assert client.get("/api/pictures").status_code == 200
    messages = [
        r.getMessage() for r in caplog.records if not r.name.startswith(("httpx", "httpcore"))
    ]
    assert not any(TOKEN in line for line in messages)


@pytest.mark.parametrize(
    "body", [b'{"link":"\xff"}', b"&" * 5000, b"a=b&" * 5000, b"token=%ff%00", b"token", b"", b"[]"]
)
@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
def test_whatever_is_sent_to_sign_in_is_answered(archive: Path, body: bytes, kind: str) -> None:
    admission = Admission(tokens={Role.GUEST: TOKEN})
    with TestClient(create_app(archive, admission=admission), base_url=BASE) as client:
        answer = client.post("/login", content=body, headers={"content-type": kind})
        assert answer.status_code in (400, 401)


def test_signing_out_ends_the_session_itself(archive: Path) -> None:
    """Not only the browser's memory of it; guests end their own, owners all."""
    admission = Admission(tokens={Role.GUEST: TOKEN})
    with TestClient(create_app(archive, admission=admission), base_url=BASE) as client:

        def signed_in(**given: Any) -> dict[str, str]:
            answer = TestClient(client.app, base_url=BASE).post(
                "/login", follow_redirects=False, **given
            )
            return {"cookie": answer.headers["set-cookie"].partition(";")[0]}

        def is_in(headers: dict[str, str]) -> bool:
            return bool(client.get("/api/session", headers=headers).is_success)

        owner, other = (signed_in(json={"link": admission.new_link()}) for _ in range(2))
        guest, guests = (signed_in(data={"token": TOKEN}) for _ in range(2))
        client.post("/logout", headers=guest, follow_redirects=False)
        assert [is_in(who) for who in (owner, other, guest, guests)] == [True, True, False, True]
        refused = client.post("/logout/everywhere", headers=guests, follow_redirects=False)
        assert refused.status_code == 403
        client.post("/logout", headers=owner, follow_redirects=False)
        assert [is_in(who) for who in (owner, other, guests)] == [False, True, True]
        client.post("/logout/everywhere", headers=other, follow_redirects=False)
        assert not any(is_in(who) for who in (other, guests))


@pytest.mark.parametrize(
    "path", ["//evil.example", "/\\evil.example", "http://evil.example", "javascript:x", "/a\nb",
             "/login?next=/login"],
)  # fmt: skip
def test_signing_in_leads_to_no_other_site(archive: Path, path: str) -> None:
    admission = Admission(tokens={Role.GUEST: TOKEN})
    with TestClient(create_app(archive, admission=admission), base_url=BASE) as client:
        page = client.get("/login", params={"next": path}).text
        assert '"next":"/"' in page
        answer = client.post(
            "/login", params={"next": path}, data={"token": TOKEN}, follow_redirects=False
        )
        assert answer.headers["location"] == "/"


def test_every_name_is_let_through_only_where_people_are_let_in(archive: Path) -> None:
    with pytest.raises(ValueError, match="admission"):
        create_app(archive, hosts=())


def test_a_length_that_is_no_number_is_refused(client: TestClient) -> None:
    for length in ("9" * 5000, "²", "-1", "1e3"):
        answer = client.post("/api/ratings", headers={"content-length": length.encode("latin-1")})
        assert answer.status_code == 413


# -- pictures ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/records", "0" * 63, "0" * 64, "G" * 64, "A" * 64,
     "images", "%00", "'" + "0" * 63],
)  # fmt: skip
def test_a_picture_has_no_path(client: TestClient, name: str) -> None:
    for path in ("pictures", "thumbnails", "look", "api/pictures"):
        assert client.get(f"/{path}/{name}").status_code == 404


@pytest.mark.parametrize(
    "path", ["../secret.png", "/etc/passwd", "images/../../secret.png", "link"]
)
def test_a_record_cannot_lead_out_of_the_archive(archive: Path, path: str) -> None:
    """Records come from strangers, too: merged archives, shared folders."""
    (archive.parent / "secret.png").write_bytes(b"secret")
    (archive / "link").symlink_to(archive.parent / "secret.png")
    output = ImageOutput(
        variant=0, stage="txt2img", sha256="a" * 64, pixel_sha256="b" * 64, width=8, height=8,
        path=path,
    )  # fmt: skip
    with Archive(archive).writer() as writer:
        writer.write(LearningRecord.from_pipeline_context({}, [{}], outputs=(output,)))
    with TestClient(create_app(archive), base_url=BASE) as client:
        assert client.get(f"/api/pictures/{'a' * 64}").json()["has_file"] is False
        assert client.get(f"/pictures/{'a' * 64}").status_code == 404
        assert client.get(f"/thumbnails/{'a' * 64}").status_code == 404


def with_record_of(archive: Path, path: str, sha256: str) -> TestClient:
    """Return the page over *archive*, in which a record names a picture at *path*."""
    output = ImageOutput(
        variant=0, stage="txt2img", sha256=sha256, pixel_sha256="d" * 64, width=8, height=8,
        path=path,
    )  # fmt: skip
    with Archive(archive).writer() as writer:
        writer.write(LearningRecord.from_pipeline_context({}, [{}], outputs=(output,)))
    return TestClient(create_app(archive), base_url=BASE)


@pytest.mark.parametrize("start", [b"", b"<svg onload=alert(1)>", b"\x89PNX", b"RIFF____WAVE"])
def test_a_file_that_is_no_picture_is_not_served(archive: Path, start: bytes) -> None:
    """Whatever its name is."""
    (archive / "images" / "broken.png").write_bytes(start)
    with with_record_of(archive, "images/broken.png", "c" * 64) as client:
        assert client.get(f"/thumbnails/{'c' * 64}").status_code == 404
        assert client.get(f"/pictures/{'c' * 64}").status_code == 404
        assert client.get(f"/api/pictures/{'c' * 64}/metadata").status_code == 404


def test_a_picture_that_is_cut_off_says_so(archive: Path) -> None:
    (archive / "images" / "broken.png").write_bytes(PNG[:20])
    with with_record_of(archive, "images/broken.png", "c" * 64) as client:
        assert client.get(f"/thumbnails/{'c' * 64}").status_code == 422
        answer = client.get(f"/pictures/{'c' * 64}")
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    ["ratings/private.jsonl", "ratings/picture.png", "records/picture.png", "picture.png",
     "images/link.png", "images/folder/picture.png", "images/pipe.png", "images/../picture.png",
     "images", "images/none.png", "images/a\0.png", "OUTSIDE/picture.png", "OUTSIDE/pipe.png"],
)  # fmt: skip
def test_only_pictures_below_the_archives_pictures_are_served(archive: Path, path: str) -> None:
    """And a pipe keeps nobody waiting."""
    outside = archive.parent / "outside"
    outside.mkdir()
    (archive / "ratings").mkdir(exist_ok=True)
    (archive / "ratings" / "private.jsonl").write_text('{"rater":"ann"}')
    for folder in (archive, archive / "ratings", archive / "records", outside):
        (folder / "picture.png").write_bytes(PNG)
    (archive / "images" / "link.png").symlink_to(outside / "picture.png")
    (archive / "images" / "folder").symlink_to(outside)
    for folder in (archive / "images", outside):
        os.mkfifo(folder / "pipe.png")
    path = path.replace("OUTSIDE", str(outside))
    with with_record_of(archive, path, "c" * 64) as client:
        assert client.get(f"/api/pictures/{'c' * 64}").json()["has_file"] is False
        for asked in ("pictures", "thumbnails"):
            assert client.get(f"/{asked}/{'c' * 64}").status_code == 404


def test_what_is_served_is_what_was_looked_at(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name means another file by the time that the picture is sent."""
    picture = archive / "images" / "mine.png"
    picture.write_bytes(PNG)
    secret = archive.parent / "secret.png"
    secret.write_bytes(b"secret")
    opened = Pictures.opened

    def swapped(pictures: Pictures, digest: str) -> OpenPicture | None:
        found = opened(pictures, digest)
        picture.unlink()
        picture.symlink_to(secret)
        return found

    with with_record_of(archive, "images/mine.png", "c" * 64) as client:
        monkeypatch.setattr(Pictures, "opened", swapped)
        answer = client.get(f"/pictures/{'c' * 64}?download")
        assert answer.content == PNG
        assert answer.headers["content-length"] == str(len(PNG))
        assert answer.headers["content-disposition"] == 'attachment; filename="mine.png"'
        monkeypatch.undo()
        assert client.get(f"/pictures/{'c' * 64}").status_code == 404
        assert client.head("/api/runs").status_code == 200


@pytest.mark.parametrize("name", ["page.html", "page.hta", "page.svg", "page.PNG.exe", "page"])
def test_a_picture_is_saved_under_the_name_of_one(archive: Path, name: str) -> None:
    """What begins like a picture may go on as a page, which would run from the owner's disk."""
    (archive / "images" / name).write_bytes(PNG + b"<script>alert(1)</script>")
    with with_record_of(archive, f"images/{name}", "c" * 64) as client:
        answer = client.get(f"/pictures/{'c' * 64}?download")
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}.png"'


def test_a_thumbnail_is_made_once_and_small(client: TestClient, archive: Path) -> None:
    sha256 = rows_of(client, "stage = 'upscale'")[0]["sha256"]
    first = client.get(f"/thumbnails/{sha256}?side=192")
    assert first.headers["content-type"] == "image/webp"
    kept = list((archive / ".thumbnails").rglob("*.webp"))
    assert [path.stem for path in kept] == [sha256]
    assert client.get(f"/thumbnails/{sha256}?side=192").content == first.content
    whole, faults = verified(Archive(archive))
    assert (whole > 0, faults) == (True, [])


def test_hostile_texts_reach_the_page_as_text_only(client: TestClient) -> None:
    row = rows_of(client, "prompt has 'onerror'")[0]
    assert row["prompt"] == HOSTILE
    for path in ("/", f"/look/{row['sha256']}", f"/runs/{row['run_id']}", "/runs", "/sheet",
                 f"/compare?pictures={row['sha256']},{row['sha256']}",
                 f"/runs/new?like={row['sha256']}"):  # fmt: skip
        text = client.get(path).text
        assert "<img src=x" not in text
        assert "<script>alert" not in text
        assert "49" not in re.findall(r"`(\d+)", text)


@pytest.mark.parametrize(
    "q", ["<script>alert(1)</script>", "prompt has '\"><img src=x onerror=1>'"]
)
def test_a_hostile_filter_in_a_link_is_shown_as_text(client: TestClient, q: str) -> None:
    for path in ("/", "/sheet", "/rate", "/runs"):
        answer = client.get(path, params={"q": q}, headers={"accept": "text/html"})
        assert answer.status_code in (200, 400)
        assert "<script>alert" not in answer.text
        assert "<img src=x" not in answer.text


# -- saying things -----------------------------------------------------------------------


def test_a_rating_is_on_the_disk_when_it_is_answered(client: TestClient, archive: Path) -> None:
    row = rows_of(client)[0]
    event = stars(row["sha256"], 5)
    answer = client.post("/api/ratings", json={"events": [event]}).json()
    assert answer == {"accepted": [event["event_id"]], "refused": []}
    kept = current_ratings(Archive(archive).ratings().events())
    assert kept[Identity(sha256=row["sha256"])].stars == 5


def test_a_clock_that_is_ahead_is_kept_and_not_believed(client: TestClient, archive: Path) -> None:
    """The server's own counts; a few minutes are within what clocks are wrong by."""
    sha256 = rows_of(client)[0]["sha256"]
    soon = utc_timestamp(datetime.now(UTC) + timedelta(minutes=4))
    wrong = stars(sha256, 1, timestamp="9999-01-01T00:00:00.000000Z")
    for event in (wrong, stars(sha256, 2, timestamp=soon), stars(sha256, 5)):
        answer = client.post("/api/ratings", json={"events": [event]})
        assert answer.json()["accepted"] == [event["event_id"]]
    kept = {each.event_id: each for each in Archive(archive).ratings().events()}
    taken = kept[wrong["event_id"]]
    assert taken.client_timestamp == wrong["timestamp"]
    assert taken.timestamp <= utc_timestamp()
    assert soon in {each.timestamp for each in kept.values()}
    assert sorted(each.after for each in kept.values()) == [1, 2, 3]
    assert current_ratings(kept.values())[Identity(sha256=sha256)].stars == 5


def test_a_row_says_what_a_rating_of_it_follows(client: TestClient, archive: Path) -> None:
    """Also what others said meanwhile; a browser that was away follows what it had read."""
    digests = [row["sha256"] for row in rows_of(client)[:2]]
    assert {row["after"] for row in rows_of(client)} == {0}
    with Archive(archive).ratings() as others:
        for value in (1, 2):
            others.add(RatingEvent.now("stars", Identity(sha256=digests[0]), value=value))
    wait_until(lambda: rows_of(client)[0]["after"] == 2)
    assert client.get(f"/api/pictures/{digests[0]}").json()["after"] == 2
    late = stars(digests[0], 5, after=1, timestamp="2026-01-01T00:00:00.000000Z")
    client.post("/api/ratings", json={"events": [late, stars(digests[1], after=77)]})
    kept = current_ratings(Archive(archive).ratings().events())
    assert kept[Identity(sha256=digests[0])].stars == 2
    assert {row["after"] for row in rows_of(client)} == {0, 1, 2}


@pytest.mark.parametrize("path", ["/api/ratings", "/api/plan"])
def test_a_body_that_nests_too_deep_is_refused(client: TestClient, path: str) -> None:
    deep = b'{"events":' + b"[" * 100_000 + b"]" * 100_000 + b',"config":' + b'{"a":' * 50_000
    answer = client.post(path, content=deep, headers={"content-type": "application/json"})
    assert answer.status_code == 400


def test_a_number_of_three_thousand_digits_is_a_number(client: TestClient) -> None:
    """Larger than any that a picture has, and no fault of the archive."""
    for digits in (19, 20, 300, 3000):
        assert rows_of(client, f"steps > {'9' * digits}") == []
        assert rows_of(client, f"steps < {'9' * digits}")
        assert rows_of(client, f"steps > -{'9' * digits}")


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), KeyError("prompt")])
def test_what_nobody_foresaw_is_a_sentence(
    archive: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """To the script as JSON and to the reader as a page; the next request is answered again."""

    def broken(*_: Any, **__: Any) -> Any:
        raise error

    with TestClient(create_app(archive), base_url=BASE) as client:
        with monkeypatch.context() as patch:
            patch.setattr(HeldArchive, "query", broken)
            asked = client.get("/api/pictures")
            assert asked.status_code == 500
            assert asked.json()["error"] == sentence_of(error)
            patch.setattr(HeldArchive, "record", broken)
            shown = client.get("/runs/any", headers={"Accept": "text/html"})
            assert shown.status_code == 500
            assert sentence_of(error) in html.unescape(shown.text)
        assert rows_of(client)


def test_saying_the_same_twice_is_harmless(client: TestClient, archive: Path) -> None:
    event = stars(rows_of(client)[0]["sha256"])
    for _ in range(3):
        client.post("/api/ratings", json={"events": [event]})
    assert [each.event_id for each in Archive(archive).ratings().events()] == [event["event_id"]]


def test_one_bad_event_does_not_hold_up_the_others(client: TestClient) -> None:
    sha256 = rows_of(client)[0]["sha256"]
    good = stars(sha256)
    bad = [
        stars(sha256, 9), stars("../../etc"), stars(sha256, event_id="x"),
        stars(sha256, source="imported:xmp"), stars(sha256, kind="delete"), {"event_id": "y"},
        17, None, [], stars(sha256, timestamp="yesterday"), stars(sha256, rater="x" * 999),
    ]  # fmt: skip
    answer = client.post("/api/ratings", json={"events": [*bad, good]}).json()
    assert answer["accepted"] == [good["event_id"]]
    assert len(answer["refused"]) == len(bad)


def test_no_method_deletes(client: TestClient) -> None:
    row = rows_of(client)[0]
    for path in (
        "/",
        f"/pictures/{row['sha256']}",
        f"/api/records/{row['run_id']}",
        "/api/searches",
    ):
        assert client.delete(path).status_code in (404, 405)


def test_fair_mode_tells_nothing_about_a_picture(client: TestClient) -> None:
    for mode in ("one", "pair", "four"):
        sets = client.get("/api/next-to-rate", params={"mode": mode}, headers=WAIT).json()["sets"]
        assert sets
        for group in sets:
            for row in group:
                assert set(row) == {"sha256", "pixel_sha256", "width", "height", "after"}


def test_sets_to_choose_from_share_prompt_and_size(client: TestClient) -> None:
    sets = client.get(
        "/api/next-to-rate", params={"mode": "four", "fair": "0"}, headers=WAIT
    ).json()["sets"]
    for group in sets:
        assert len({(row["prompt"], row["width"], row["height"]) for row in group}) == 1
        assert len({row["sha256"] for row in group}) == 4


def test_facets_count_and_their_clauses_find_what_they_counted(client: TestClient) -> None:
    sha256 = rows_of(client)[0]["sha256"]
    client.post("/api/ratings", json={"events": [stars(sha256, 4)]})
    client.app.state.table.archive._rest_until = 0  # type: ignore[attr-defined]
    for q in ("", "width = 64", "steps = 2 or steps = 4"):
        answer = client.get("/api/facets", params={"q": q}).json()
        assert answer["total"] == len(rows_of(client, q))
        for facet in answer["facets"]:
            for value in facet["values"]:
                assert value["on"] is False
                rows = client.get("/api/pictures", params={"q": value["q"]}).json()["rows"]
                assert len(rows) == value["count"], value
                again = client.get("/api/facets", params={"q": value["q"]}).json()["facets"]
                back = [v for f in again for v in f["values"] if v["clause"] == value["clause"]]
                assert back[0]["on"]


def test_pages_follow_each_other_without_gap_or_double(client: TestClient) -> None:
    seen, after = [], None
    while True:
        asked = {"limit": 3, "sort": "cfg_scale"} | ({"after": after} if after else {})
        page = client.get("/api/pictures", params=asked).json()
        seen += [row["sha256"] for row in page["rows"]]
        after = page["after"]
        if after is None:
            break
    assert len(seen) == len(set(seen)) == len(rows_of(client))


def test_neighbours_are_those_of_the_grid(client: TestClient) -> None:
    rows = [row["sha256"] for row in rows_of(client)]
    for place, sha256 in enumerate(rows):
        around = client.get(f"/api/pictures/{sha256}", params={"around": ""}).json()["around"]
        assert around["previous"] == (rows[place - 1] if place else None)
        assert around["next"] == (rows[place + 1] if place + 1 < len(rows) else None)


def test_a_large_plan_is_started_when_somebody_says_so(archive: Path) -> None:
    """With its size, so that a yes to another plan is none."""
    runner = EngineRunner(archive, {})
    controller = PipelineController(runner)
    config = {
        "backend": "fake",
        "txt2img": {"prompt": "a", "seed": 1, "steps": 1},
        "randomizer": {"mode": "fanout", "seeds_per_variant": 10_001},
    }
    with TestClient(create_app(archive, controller), base_url=BASE) as client:
        assert client.post("/api/plan", json={"config": config}).json()["asks"]
        for yes in (0, 10_000):
            refused = client.post("/api/runs", json={"config": config, "yes": yes})
            assert refused.status_code == 400
            assert "yes = 10001" in refused.json()["error"]
        begun = client.post("/api/runs", json={"config": config, "yes": 10_001})
        assert begun.status_code == 202
        controller.cancel()
        controller.wait(60)
    runner.close()


def test_equal_variants_are_told_before_they_are_drawn(client: TestClient) -> None:
    """As the command line tells them."""
    rules = {"rules": ["a => x | b"]}
    config = {
        "txt2img": {"prompt": ["a", "b"]},
        "randomizer": {"mode": "fanout", "prompt_sr": rules},
    }
    warnings = client.post("/api/plan", json={"config": config}).json()["warnings"]
    assert "1 of 3 variants is equal to an earlier one: each is drawn once" in warnings


def test_what_conditions_leave_out_is_told_before_anything_is_drawn(client: TestClient) -> None:
    """So that the sizes of what varies do not surprise."""
    exclude = [{"where": "steps = 1"}]
    config = {
        "txt2img": {"prompt": "a"},
        "randomizer": {"sweep": {"txt2img.steps": [1, 2]}, "exclude": exclude},
    }
    planned = client.post("/api/plan", json={"config": config}).json()
    assert (planned["plan_size"], planned["left_out"]) == (1, 1)


def test_without_a_controller_nothing_can_be_run(client: TestClient) -> None:
    body = {"config": {"txt2img": {"prompt": "x"}}}
    assert client.post("/api/plan", json=body).json()["plan_size"] == 1
    assert client.post("/api/runs", json=body).status_code == 409


@pytest.mark.parametrize(
    "body", [{"config": {}}, {"toml": "x = ["}, {"config": {"txt2img": {"steps": -1}}}, {"toml": 4}]
)
def test_a_faulty_config_is_told(client: TestClient, body: dict[str, Any]) -> None:
    answer = client.post("/api/plan", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_an_invented_cookie_makes_nobody_another_asker() -> None:
    """Who may take turns with others must not be so many by writing down numbers."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(asker_of(scope))
        await PlainTextResponse("")(scope, receive, send)

    admission = Admission(tokens={Role.GUEST: TOKEN})
    client = TestClient(Guard(app, hosts=(), admission=admission), base_url=BASE)
    session = admission.by_token(TOKEN, "10.0.0.1")
    for cookie in ("", "one", "another", session):
        client.cookies.clear()
        headers = {"authorization": f"Bearer {TOKEN}", "cookie": f"safelight_7860={cookie}"}
        assert client.get("/", headers=headers).status_code == 200
    assert len(set(seen[:3])) == 1
    assert seen[3] not in seen[:3]
