"""Owners and guests: what each may ask, and what guests are not told."""

from __future__ import annotations

import base64
import json
import secrets
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from safelight.application.carrying_out import EngineRunner
from safelight.archive import Archive
from safelight.controller import PipelineController
from safelight.learning.learning_record import ImageOutput, LearningRecord, utc_timestamp
from safelight.learning.ratings import RatingEvent, current_ratings
from safelight.web import create_app
from safelight.web.admission import Admission
from safelight.web.allowance import Allowance
from safelight.web.held_archive import HeldArchive
from safelight.web.roles import GuestRoute, is_place, without_places
from safelight.web.sessions import Role

GUESTS, OWNERS = "correct horse battery", "a token of the owner"
BASE = "http://127.0.0.1:7860"
FOR_GUESTS = {
    "GET": {
        "/", "/rate", "/sheet", "/learn", "/learn/report", "/contents", "/compare",
        "/look/{digest}", "/events",
        "/pictures/{digest}", "/thumbnails/{digest}",
        "/api/pictures", "/api/pictures/{digest}", "/api/pictures/{digest}/metadata",
        "/api/pictures/{digest}/kindred", "/api/pictures/{digest}/settings",
        "/api/facets", "/api/complete", "/api/changes", "/api/being-made", "/api/searches",
        "/api/next-to-rate",
        "/api/session", "/api/openapi.json", "/api/chosen", "/api/albums", "/api/tags",
        "/api/hand-over/progress",
    },
    "POST": {
        "/api/ratings", "/api/ratings/many", "/logout", "/api/hand-over", "/hand-over",
        "/api/hand-over/cancel",  # of a download that one knows the name of
    },
}  # fmt: skip
"""All that guests may ask. A route that is not here answers owners only."""

PLACE = "/home/ann/models/dreamA.safetensors"
ADDRESS = "http://192.168.7.9:7860"


@pytest.fixture
def archive(archive: Path) -> Path:
    """With a record that names places of its machine wherever a record can."""
    config = {"prompt": "a harbour", "model": PLACE, "steps": 3, "init_image": "/home/ann/in.png",
              "extra": {"lora_dir": "/srv/ann/loras/", "mirror": f"{ADDRESS}/a/b"}}  # fmt: skip
    output = ImageOutput(
        variant=0, stage="txt2img", sha256="e" * 64, pixel_sha256="f" * 64, width=8, height=8,
        path="/home/ann/pictures/harbour.png",
    )  # fmt: skip
    record = LearningRecord.from_pipeline_context(
        {"txt2img": config}, [{"txt2img": config}], outputs=(output,),
        backend={"name": "webui", "url": ADDRESS}, error=f"{ADDRESS} does not answer",
        warnings=(f"{ADDRESS}/sdapi is slow", f"{PLACE} was read"), status="partial",
        metadata={"import": {"folder": "/home/ann/pictures"}},
    )  # fmt: skip
    with Archive(archive).writer() as writer:
        writer.write(record)
    return archive


@pytest.fixture
def asked(archive: Path) -> Iterator[dict[str, TestClient]]:
    """A client of each role, and one of a stranger."""
    admission = Admission(tokens={Role.GUEST: GUESTS, Role.OWNER: OWNERS})
    runner = EngineRunner(archive, {})
    app = create_app(archive, PipelineController(runner), admission=admission)
    with TestClient(app, base_url=BASE) as stranger:
        clients = {"stranger": stranger}
        for role, token in (("guest", GUESTS), ("owner", OWNERS)):
            clients[role] = TestClient(app, base_url=BASE)
            clients[role].headers["authorization"] = f"Bearer {token}"
        yield clients
    runner.close()


def routes_of(client: TestClient) -> Iterator[tuple[str, str, Route]]:
    for route in client.app.routes:  # type: ignore[attr-defined]
        if isinstance(route, Mount):
            assert route.path == "/static"
            continue
        for method in sorted((route.methods or set()) - {"HEAD"}):
            yield method, route.path, route


def body_for(method: str) -> dict[str, Any]:
    return {"json": {"events": []}} if method in ("POST", "PUT") else {}


def test_guests_may_ask_what_is_listed_here_and_nothing_else(
    asked: dict[str, TestClient],
) -> None:
    seen: dict[str, set[str]] = {}
    for method, path, route in routes_of(asked["guest"]):
        if path == "/login":
            continue
        if isinstance(route, GuestRoute):
            seen.setdefault(method, set()).add(path)
            continue
        real = path.replace("{digest}", "e" * 64).replace("{run_id}", "x")
        answer = asked["guest"].request(method, real, follow_redirects=False, **body_for(method))
        assert answer.status_code == 403, (method, path)
        assert "owner" in answer.text
    assert seen == FOR_GUESTS


def test_strangers_are_answered_nothing(asked: dict[str, TestClient]) -> None:
    for method, path, _ in routes_of(asked["stranger"]):
        if path == "/login":
            continue
        real = path.replace("{digest}", "e" * 64).replace("{run_id}", "x")
        answer = asked["stranger"].request(method, real, follow_redirects=False)
        assert answer.status_code == 401, (method, path)


def test_guests_see_no_place_of_the_machine(asked: dict[str, TestClient]) -> None:
    """In any answer; the owner sees them, so that the test looks where they are."""
    told = {"guest": "", "owner": ""}
    for role in told:
        for path in sorted(FOR_GUESTS["GET"] - {"/events", "/api/openapi.json"}):
            real = path.replace("{digest}", "e" * 64)
            query = {"/compare": "?pictures=" + "e" * 64, "/api/changes": "?pictures=" + "e" * 64
                     + "," + "e" * 64, "/api/next-to-rate": "?fair=0"}.get(path, "")  # fmt: skip
            told[role] += asked[role].get(real + query, headers={"accept": "*/*"}).text
    for place in ("home/ann", "srv/ann", "192.168.7.9"):
        assert place not in told["guest"]
    assert "home/ann/models" in told["owner"]
    assert "192.168.7.9" in told["owner"]
    assert "dreamA.safetensors" in told["guest"]


@pytest.mark.parametrize(
    "q",
    ["path has 'ann'", "path = '/home/ann/pictures/harbour.png'", "not (PATH is missing)",
     "extra.init_image has 'ann'", "extra('init_image') = 'x'", "recorded('extra.init_image')",
     "fog and path > '/home/a'"],
)  # fmt: skip
def test_guests_cannot_guess_places_by_filters(asked: dict[str, TestClient], q: str) -> None:
    for path in ("/api/pictures", "/api/facets", "/api/next-to-rate", "/learn", "/sheet",
                 f"/look/{'e' * 64}"):  # fmt: skip
        answer = asked["guest"].get(path, params={"q": q})
        assert answer.status_code == 400, path
        assert "harbour" not in answer.text
    assert asked["guest"].get("/api/pictures", params={"sort": "path"}).status_code == 400
    assert asked["guest"].get("/api/pictures", params={"q": "harbour"}).json()["rows"]


@pytest.mark.parametrize(
    "name", ["extra('İnit_image')", "recorded('EXTRA.İNİT_IMAGE')",
             "recorded('extra.masK')", "recorded('earlier.init_image')"],
)  # fmt: skip
def test_letters_of_other_alphabets_name_no_other_setting(
    asked: dict[str, TestClient], name: str
) -> None:
    """A database takes some for the letters that they are in lower case."""
    assert asked["guest"].get("/api/pictures", params={"q": name}).status_code == 400


@pytest.mark.parametrize(
    "q",
    ["model has 'home'", "model > '/home/a'", "model between '/home/a' and '/home/b'",
     f"model = '{PLACE}'", f"model in ('x', '{PLACE}')", "steps = 3 and model has '/'",
     "extra('lora_dir') has 'srv'", "extra.lora_dir > '/srv/a'", "extra.mirror has '192.168'",
     "recorded('extra.lora_dir') = '/srv/ann/loras/'"],
)  # fmt: skip
def test_a_guests_filter_finds_no_picture_by_a_path_in_what_it_names(
    asked: dict[str, TestClient], q: str
) -> None:
    """Nor by what that path is not, so that nothing of it can be guessed, letter by letter."""
    for which in (q, f"not ({q})"):
        rows = asked["guest"].get("/api/pictures", params={"q": which}).json()["rows"]
        assert "e" * 64 not in {row["sha256"] for row in rows}
    assert asked["owner"].get("/api/pictures", params={"q": q}).json()["rows"]


def test_guests_filter_by_names_that_are_no_paths(
    asked: dict[str, TestClient], archive: Path
) -> None:
    config = {"prompt": "a bridge", "model": "owner/name", "extra": {"tiling": "yes"}}
    output = ImageOutput(
        variant=0, stage="txt2img", sha256="d" * 64, pixel_sha256="d" * 64, width=8, height=8
    )
    with Archive(archive).writer() as writer:
        writer.write(LearningRecord.from_pipeline_context(
            {"txt2img": config}, [{"txt2img": config}], outputs=(output,), status="completed",
        ))  # fmt: skip
    for q in ("model = 'owner/name'", "model has 'name'", "extra.tiling = 'yes'",
              "not (model = 'x') and bridge"):  # fmt: skip
        answer = asked["guest"].get("/api/pictures", params={"q": q})
        assert [row["sha256"] for row in answer.json()["rows"]] == ["d" * 64], q
    assert asked["guest"].get("/api/pictures", params={"q": "mask"}).json()["rows"] == []


@pytest.mark.parametrize("sort", ["model", "-model", "name", "-timestamp"])
def test_a_guests_cursor_holds_no_value_and_every_page_follows(
    asked: dict[str, TestClient], sort: str
) -> None:
    """A cursor holds what is sorted by, and whoever makes one up asks for what is behind it."""
    pages = {"guest": list[str](), "owner": list[str]()}
    for role, seen in pages.items():
        after = ""
        while True:
            given = {"sort": sort, "limit": "2", **({"after": after} if after else {})}
            answer = asked[role].get("/api/pictures", params=given).json()
            seen += [row["sha256"] for row in answer["rows"]]
            after = answer["after"]
            if after is None:
                break
            if role == "guest":
                assert b"home" not in base64.urlsafe_b64decode(after)
                assert len(json.loads(base64.urlsafe_b64decode(after))) == 2
    assert pages["guest"] == pages["owner"]
    assert len(pages["guest"]) == len(set(pages["guest"])) > 4


@pytest.mark.parametrize(
    "after", [["/home/a", "x", 0], ["none", 0], ["none", "0"], ["x' or 1 = 1 --", 0], [], {}, "x"]
)
def test_a_cursor_that_a_guest_made_up_is_refused(asked: dict[str, TestClient], after: Any) -> None:
    made = base64.urlsafe_b64encode(json.dumps(after).encode()).decode()
    answer = asked["guest"].get("/api/pictures", params={"sort": "model", "after": made})
    assert answer.status_code == 400


def test_facets_and_searches_tell_guests_no_place(asked: dict[str, TestClient]) -> None:
    """Conditions stay as they were said, so that those with a place in them are left out."""
    given = [{"name": "mine", "q": f"model = '{PLACE}'"}, {"name": "path", "q": "path has 'ann'"},
             {"name": "at /home/ann/x", "q": "fog"}, {"name": "fog", "q": "fog"}]  # fmt: skip
    assert asked["owner"].put("/api/searches", json={"searches": given}).status_code == 200
    assert len(asked["owner"].get("/api/searches").json()["searches"]) == len(given)
    told = asked["guest"].get("/api/searches").json()["searches"]
    assert [search["name"] for search in told] == ["fog"]
    for q in ("", "extra.mirror", "extra('mirror') and harbour"):
        facets = {role: asked[role].get("/api/facets", params={"q": q}).text
                  for role in ("owner", "guest")}  # fmt: skip
        assert "192.168.7.9" not in facets["guest"]
        assert "home/ann" not in facets["guest"]
        assert "192.168.7.9" in facets["owner"] or not q


def test_a_sheet_confirms_no_path_to_guests(asked: dict[str, TestClient]) -> None:
    told = {}
    for model in (PLACE, "/home/ann/models/dreamB.safetensors"):
        params = {"x": "steps", "y": "prompt", "only.model": model}
        page = asked["guest"].get("/sheet", params=params, headers={"accept": "text/html"})
        told[model] = page.text.replace(model, "")
    assert len(set(told.values())) == 1


def test_what_nobody_foresaw_tells_guests_no_place(
    asked: dict[str, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied", "/home/ann/my pictures/x.db")

    monkeypatch.setattr(HeldArchive, "query", broken)
    assert "home/ann" in asked["owner"].get("/api/pictures").text
    answer = asked["guest"].get("/api/pictures")
    assert answer.status_code == 500
    assert "ann" not in answer.text
    assert "Permission denied" in answer.json()["error"]


def test_what_a_guest_says_is_never_the_owners(asked: dict[str, TestClient], archive: Path) -> None:
    event = {"timestamp": utc_timestamp(), "kind": "stars", "value": 1,
             "image": {"sha256": "e" * 64}}  # fmt: skip
    for role, rater in (("owner", ""), ("guest", ""), ("guest", "ben")):
        body = {"events": [{**event, "event_id": uuid.uuid4().hex, "rater": rater}]}
        assert asked[role].post("/api/ratings", json=body).status_code == 200
    kept: list[RatingEvent] = list(Archive(archive).ratings().events())
    assert sorted(each.rater for each in kept) == ["", "ben", "guest"]


def test_a_guest_takes_back_nothing_but_their_own(
    asked: dict[str, TestClient], archive: Path
) -> None:
    """And albums, which are one for everybody, stay the owner's."""

    def say(role: str, **event: Any) -> dict[str, Any]:
        whole = {"event_id": secrets.token_hex(16), "timestamp": utc_timestamp(), **event}
        answer = asked[role].post("/api/ratings", json={"events": [whole]}).json()
        return {"event_id": whole["event_id"], "refused": answer["refused"]}

    picture = {"sha256": "e" * 64}
    owners = say("owner", kind="stars", image=picture, value=5)
    ann = say("guest", kind="stars", image=picture, value=1, rater="ann")
    assert say("guest", kind="undo", undoes=owners["event_id"])["refused"]
    assert say("guest", kind="undo", undoes=ann["event_id"], rater="bob")["refused"]
    assert say("guest", kind="albums", image=picture, added=["mine"])["refused"]
    assert not say("guest", kind="undo", undoes=ann["event_id"], rater="ann")["refused"]
    assert not say("owner", kind="albums", image=picture, added=["mine"])["refused"]
    (rating,) = current_ratings(Archive(archive).ratings().events()).values()
    assert rating.stars_by_rater == {"": 5}
    assert rating.albums == ("mine",)


def test_a_guest_says_something_of_many_in_their_own_name(
    asked: dict[str, TestClient], archive: Path
) -> None:
    chosen = asked["guest"].get("/api/chosen").json()
    body = {"event_id": "a" * 32, "q": "", "snapshot": chosen["snapshot"]}
    albums = {**body, "says": "albums", "added": ["mine"]}
    assert asked["guest"].post("/api/ratings/many", json=albums).status_code == 403
    stars = {**body, "says": "stars", "value": 3}
    assert asked["guest"].post("/api/ratings/many", json=stars).json()["count"] == chosen["count"]
    ratings = current_ratings(Archive(archive).ratings().events()).values()
    assert {rater for rating in ratings for rater in rating.stars_by_rater} == {"guest"}


def test_guests_cannot_fill_the_disk_with_ratings(asked: dict[str, TestClient]) -> None:
    """What is said is never thrown away; the owner's goes on, and the guests' a while later."""

    def say(role: str, note: str) -> httpx.Response:
        event = {"event_id": uuid.uuid4().hex, "timestamp": utc_timestamp(), "kind": "note",
                 "value": note, "image": {"sha256": "e" * 64}}  # fmt: skip
        answer: httpx.Response = asked[role].post("/api/ratings", json={"events": [event] * 80})
        return answer

    answers = [say("guest", "x" * 9_000) for _ in range(40)]
    codes = [answer.status_code for answer in answers]
    assert 20 <= codes.count(200) <= 24  # 16 MiB
    assert codes == sorted(codes)
    assert codes[-1] == 429
    assert int(answers[-1].headers["retry-after"]) > 0
    assert say("owner", "x" * 9_000).status_code == 200


def test_an_allowance_comes_back_slowly() -> None:
    now = [100.0]
    allowance = Allowance(1000, 10, lambda: now[0])
    assert allowance.take(900) == 0
    assert allowance.take(200) == 10
    now[0] += 10
    assert allowance.take(200) == 0
    now[0] += 1_000_000
    assert allowance.take(1001) > 0
    assert allowance.take(1000) == 0


def test_guests_are_told_nothing_of_runs(asked: dict[str, TestClient]) -> None:
    assert "/runs" not in asked["guest"].get("/", headers={"accept": "text/html"}).text
    assert '"/runs"' in asked["owner"].get("/", headers={"accept": "text/html"}).text


@pytest.mark.parametrize(
    "text",
    [PLACE, "~/pictures/x.png", "C:\\Users\\ann\\x.png", "d:/models/x", "\\\\server\\share\\x"],
)
def test_paths_are_known_by_their_beginning(text: str) -> None:
    assert is_place(text)
    assert "ann" not in without_places({"a": [text]})["a"][0]


@pytest.mark.parametrize(
    "text",
    [f"see <{PLACE}>", f"`{PLACE}`", f"{{{PLACE}|x}}", f"“{PLACE}”", f"x|{PLACE}",
     "no '/home/ann/my pictures/of ann/x.png'", "~ann/x/y", "//server/ann/x", "+/home/ann/x"],
)  # fmt: skip
def test_paths_are_found_within_a_text(text: str) -> None:
    assert "ann" not in without_places(text)
    assert "ann" not in str(without_places({text: 1}))


@pytest.mark.parametrize(
    "text",
    [
        "a fox / a dog",
        "and/or",
        "(red/blue:1.2)",
        "a cat, a/b/c",
        "12/24/2026",
        "/imagine a fox",
        "16:9",
        "images/2026/x.png",
        "./a/b/c",
        "(a:1.2)/b/c",
        "</lora>a/b",
        'say "/imagine a/b"',
        "",
        "/",
    ],
)
def test_what_is_no_path_stays(text: str) -> None:
    assert without_places([text]) == [text]
